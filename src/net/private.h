/*
 * What the companions (libplait-testing, libplait-app) use of the floors above src/os, and all that is listed in os/private.h; how, is told there.
 */
#ifndef PLI_NET_PRIVATE_H
#define PLI_NET_PRIVATE_H

#include "base/rand.h"
#include "base/wheel.h"
#include "net/address.h"
#include "net/connection.h"
#include "net/handover.h"
#include "net/receiver/handover.h"
#include "net/walk.h"
#include "os/blocks.h"
#include "os/descriptors.h"
#include "os/fault.h"
#include "os/private.h"
#include "os/sim/guest.h"
#include "os/sim/socket.h"
#include "os/sim/world.h"

#define EXPORT(function) extern __typeof__(function) function __attribute__((visibility("default")))

EXPORT(pli_alloc_ask);
EXPORT(pli_alloc_count);
EXPORT(pli_alloc_fail_at);
EXPORT(pli_memory_set_watch);
EXPORT(pli_wheel_after);
EXPORT(pli_wheel_due);
EXPORT(pli_wheel_next);

EXPORT(pli_blocks_add);
EXPORT(pli_blocks_done);
EXPORT(pli_blocks_next);
EXPORT(pli_blocks_take);
EXPORT(pli_clock_now);
EXPORT(pli_descriptor_describe);
EXPORT(pli_descriptor_id);
EXPORT(pli_descriptors);
EXPORT(pli_descriptors_outside);
EXPORT(pli_call_name);
EXPORT(pli_fault_ask);
EXPORT(pli_fault_at);
EXPORT(pli_fault_count);
EXPORT(pli_fault_counted);

EXPORT(pli_sim_backend_is_ready);
EXPORT(pli_sim_enter);
EXPORT(pli_sim_fd_close);
EXPORT(pli_sim_is_busy);
EXPORT(pli_sim_leave);
EXPORT(pli_sim_make_exact);
EXPORT(pli_sim_memory_with_callers);
EXPORT(pli_sim_memory_blocks);
EXPORT(pli_sim_receive);
EXPORT(pli_sim_running);
EXPORT(pli_sim_send);
EXPORT(pli_sim_shutdown);
EXPORT(pli_sim_socket_reset_on_close);
EXPORT(pli_sim_stream_pair);
EXPORT(pli_sim_stream_set_name);
EXPORT(pli_sim_stream_set_window);

EXPORT(pli_log_guard);
EXPORT(pli_log_hold);
EXPORT(pli_log_release);
EXPORT(pli_log_unguard);
EXPORT(pli_reactor_turn);
EXPORT(pli_stop_signals_handle);

EXPORT(pli_address_to_sockaddr);
EXPORT(pli_connection_adopt);
EXPORT(pli_connection_leave);
EXPORT(pli_connection_new);
EXPORT(pli_connection_next);
EXPORT(pli_connection_origin_init);
EXPORT(pli_connection_save);
EXPORT(pli_connections_count);
EXPORT(pli_factory_start);
EXPORT(pli_factory_stop);
EXPORT(pli_heritage_done);
EXPORT(pli_port_clone);
EXPORT(pli_port_factory);
EXPORT(pli_port_next);
EXPORT(pli_ports_leave);
EXPORT(pli_reactor_freeze);
EXPORT(pli_reactor_rests);
EXPORT(pli_reactor_thaw);
EXPORT(pli_receiver_restore);
EXPORT(pli_receiver_save);
EXPORT(pli_thing_of);

#undef EXPORT

#endif
