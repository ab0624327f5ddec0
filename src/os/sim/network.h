/* The network between the hosts: who reaches whom, and after how long. */
#ifndef PLI_OS_SIM_NETWORK_H
#define PLI_OS_SIM_NETWORK_H

#include "os/sim/sim.h"

void pli_sim_network_init(pl_sim_host *host);
void pli_sim_network_done(pl_sim_host *host);
/* All connections are gone; their hosts follow. */
void pli_sim_network_end(pl_sim *sim);

/* Whether a packet gets through now: both are up, and nothing is cut. */
bool pli_sim_reaches(const pl_sim_host *from, const pl_sim_host *to);
/* When a packet of `bytes` that is sent now arrives. Takes its time on the link. */
int64_t pli_sim_arrival(pl_sim_host *from, pl_sim_host *to, size_t bytes);

#endif
