#if defined(__x86_64__)
#include <stdbool.h>

#include "simd/avx512/lanes.h"
#include "simd/avx512/lanes_forms.h"
#define FILL simd_fill_vnni
#define LANES_ONLY_INT
#include "simd/lanes_kernels.h"
#endif
