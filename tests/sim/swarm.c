/* The swarm: all scenarios, as ./dev sim runs them. */
#include "app/tap/sqlite_memory.h"
#include "tests/sim/gmp_memory.h"
#include "tests/sim/scenarios.h"

int main(int argc, char **argv)
{
    static const pl_scenario *const scenarios[] = {
        &datagrams_scenario,
        &echo_scenario,
        &fib_scenario,
        &lifecycle_scenario,
        &reconnect_scenario,
        &threads_scenario,
        &timers_scenario,
        &trees_scenario,
        &upgrade_scenario,
        &weblog_scenario,
        NULL,
    };

    gmp_memory_use();
    pli_sqlite_memory_use(); /* before any world: the first one is not to differ from the others */
    return pl_swarm_main(argc, argv, scenarios);
}
