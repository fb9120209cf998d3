/* Errors of the outside world: a code for the program, a sentence for the person.
 *
 * Bugs of ours abort (check.h). Everything else that can fail returns `enum err` and, where a
 * person may have to act, fills a `struct report`. The first message wins, so that the place
 * that knows most (the deepest) is the one that is heard. */
#ifndef ENGINE_BASE_ERR_H
#define ENGINE_BASE_ERR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

enum err {
    ERR_OK = 0,
    ERR_MEMORY,      /* an allocation failed or a memory limit was reached */
    ERR_IO,          /* a system call failed */
    ERR_NOT_FOUND,   /* a file, model, program or name does not exist */
    ERR_INVALID,     /* input that breaks its format's rules */
    ERR_UNSUPPORTED, /* well-formed, but not implemented in this build */
    ERR_LIMIT,       /* a configured or built-in bound was reached */
    ERR_BUSY,        /* try again later */
    ERR_DENIED,      /* policy forbids it */
    ERR_CANCELLED,   /* a person or a peer stopped it */
    ERR_TRAP,        /* a guest broke its rules */
};

#define ERR_MUST_USE __attribute__((warn_unused_result))

/* What went wrong, for a person: what was attempted, on what, what was found, what to do.
 * Zero-initialise before use (`struct report report = {0};`). */
struct report {
    enum err code;
    char text[1000];
};

/* Stores the message if `report` is not NULL and still empty, and returns `code`, so that one
 * can write `return err_set(report, ERR_INVALID, "...")`. Names from files and guests may be in
 * it: what is stored has passed utf8_clean. */
enum err err_set(struct report *report, enum err code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "context: " in front of a message that is already there; returns the report's code (or
 * `ERR_OK` without one). For callers that know on what file or name the work was done. */
enum err err_prefix(struct report *report, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The code as a lower-case word ("not found"); never NULL. */
const char *err_name(enum err code);

#endif
