#include "engine/base/check.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void check_fail(const char *file, int line, const char *what)
{
    (void)fprintf(stderr, "pie: bug at %s:%d: %s\n", file, line, what);
    abort();
}
