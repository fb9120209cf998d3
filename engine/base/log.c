#include "engine/base/log.h"

#include <stdarg.h>
#include <stdio.h>

static log_sink current_sink;
static void *current_user;
static enum log_level current_max;

void log_set_sink(log_sink sink, void *user, enum log_level level_max)
{
    current_sink = sink;
    current_user = user;
    current_max = level_max;
}

void log_line(enum log_level level, const char *format, ...)
{
    char line[1000];
    va_list args;
    if (!current_sink || level > current_max)
        return;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    current_sink(current_user, level, line);
}
