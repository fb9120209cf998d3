/* What this machine lets us use: CPUs, memory, instruction set. */
#include "engine/base/mem.h"
#include "engine/engine.h"
#include "engine/forward/fwd.h"
#include "simd/simd.h"

struct engine_machine engine_machine(void)
{
    return (struct engine_machine){
        .threads = fwd_threads_default(),
        .memory_total = mem_machine_total(),
        .memory_available = mem_machine_available(),
        .simd = simd_table_get()->name,
    };
}
