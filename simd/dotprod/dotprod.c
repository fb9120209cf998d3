#if defined(__aarch64__)
#include <stdbool.h>

#include "simd/neon/lanes.h"
#include "simd/neon/lanes_forms.h"
#define FILL simd_fill_dotprod
#define LANES_ONLY_INT
#include "simd/lanes_kernels.h"
#endif
