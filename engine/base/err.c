#include "engine/base/err.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/utf8.h"

enum err err_set(struct report *report, enum err code, const char *format, ...)
{
    if (report && report->code == ERR_OK) {
        va_list args;
        report->code = code;
        va_start(args, format);
        (void)vsnprintf(report->text, sizeof report->text, format, args);
        va_end(args);
        utf8_clean(report->text, strlen(report->text));
    }
    return code;
}

enum err err_prefix(struct report *report, const char *format, ...)
{
    char prefix[400];
    char text[sizeof report->text];
    va_list args;

    if (!report)
        return ERR_OK;
    if (report->code == ERR_OK)
        return ERR_OK;
    va_start(args, format);
    (void)vsnprintf(prefix, sizeof prefix, format, args);
    va_end(args);
    memcpy(text, report->text, sizeof text);
    size_t used = strlen(prefix);
    memcpy(report->text, prefix, used);
    (void)snprintf(report->text + used, sizeof report->text - used, ": %s", text);
    utf8_clean(report->text, strlen(report->text));
    return report->code;
}

const char *err_name(enum err code)
{
    switch (code) {
    case ERR_OK: return "ok";
    case ERR_MEMORY: return "out of memory";
    case ERR_IO: return "i/o error";
    case ERR_NOT_FOUND: return "not found";
    case ERR_INVALID: return "invalid";
    case ERR_UNSUPPORTED: return "not supported";
    case ERR_LIMIT: return "limit reached";
    case ERR_BUSY: return "busy";
    case ERR_DENIED: return "denied";
    case ERR_CANCELLED: return "cancelled";
    case ERR_TRAP: return "trap";
    }
    return "unknown error";
}
