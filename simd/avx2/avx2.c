#if defined(__x86_64__)
#include <stdbool.h>

#include "simd/avx2/lanes.h"
#include "simd/avx2/lanes_forms.h"
#define FILL simd_fill_avx2
#include "simd/lanes_kernels.h"
#endif
