#if defined(__x86_64__)
#include <stdbool.h>

#include "simd/avx512/lanes.h"
#include "simd/avx512/lanes_forms.h"
#define FILL simd_fill_avx512
#include "simd/lanes_kernels.h"
#endif
