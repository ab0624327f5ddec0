/*
 * Handing over what a receiver has of messages that are not complete, and what it holds. Decoded by the next process, which may be of another version.
 */
#ifndef PLI_NET_RECEIVER_HANDOVER_H
#define PLI_NET_RECEIVER_HANDOVER_H

#include <plait/receiver.h>

/* Returns: 0, and a buffer of the caller's; PL_E_UNSUPPORTED: it is no receiver; -ENOMEM. */
PL_MUST int pli_receiver_save(const pl_protocol *self, pl_buf **ret_bytes);
/* Into one that has received nothing yet. Returns: 0; PL_E_UNSUPPORTED; PL_E_DAMAGED; -ENOMEM. */
PL_MUST int pli_receiver_restore(pl_protocol *self, pl_slice bytes);

#endif
