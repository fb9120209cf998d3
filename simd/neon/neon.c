#if defined(__aarch64__)
#include <stdbool.h>

#include "simd/neon/lanes.h"
#include "simd/neon/lanes_forms.h"
#define FILL simd_fill_neon
#include "simd/lanes_kernels.h"
#endif
