/* CHECK: a condition that only a bug of ours can break. Aborts with file, line and the words. */
#ifndef ENGINE_BASE_CHECK_H
#define ENGINE_BASE_CHECK_H

_Noreturn void check_fail(const char *file, int line, const char *what);

#define CHECK(condition)                                         \
    do {                                                         \
        if (__builtin_expect(!(condition), 0))                   \
            check_fail(__FILE__, __LINE__, #condition);          \
    } while (0)

#define UNREACHABLE() check_fail(__FILE__, __LINE__, "unreachable")

#endif
