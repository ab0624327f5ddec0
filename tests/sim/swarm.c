/* The swarm: all scenarios, as ./dev sim runs them. */
#include "tests/sim/scenarios.h"

int main(int argc, char **argv)
{
    static const pl_scenario *const scenarios[] = {
        &datagrams_scenario, &echo_scenario,
        &fib_scenario,       &lifecycle_scenario,
        &reconnect_scenario, &threads_scenario,
        &timers_scenario,    &trees_scenario,
        &weblog_scenario,    NULL,
    };

    return pl_swarm_main(argc, argv, scenarios);
}
