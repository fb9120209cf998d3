/* Time. Monotonic unless the name says otherwise. */
#ifndef ENGINE_BASE_CLOCK_H
#define ENGINE_BASE_CLOCK_H

#include <stdint.h>

uint64_t clock_now_ns(void);
uint64_t clock_wall_ns(void); /* since 1970-01-01 UTC */

#endif
