/*
 * What the companions of libplait (libplait-app, plaitd's services) use of its inside.
 *
 * Each function here is exported from libplait.so under the version PLAIT_PRIVATE (src/plait.map): for what is built and installed together with it, and for nobody else. It may
 * change from one release to the next. Included in front of each source of the library, since only a declaration that comes before the definition can make it visible.
 */
#ifndef PLI_OS_PRIVATE_H
#define PLI_OS_PRIVATE_H

#include "base/assert.h"
#include "base/memory.h"
#include "base/rand.h"
#include "base/text.h"
#include "os/channel.h"
#include "os/clock.h"
#include "os/daemon.h"
#include "os/fence.h"
#include "os/file.h"
#include "os/module.h"
#include "os/notify.h"
#include "os/socket.h"
#include "os/starter.h"
#include "os/stop_handler.h"
#include "os/thread.h"

#define EXPORT(function) extern __typeof__(function) function __attribute__((visibility("default")))

EXPORT(pli_alloc);
EXPORT(pli_alloc_zero);

EXPORT(pli_assert_failed);

EXPORT(pli_calls_can_be_fenced);
EXPORT(pli_calls_fence);

EXPORT(pli_channel_open);
EXPORT(pli_channel_receive);
EXPORT(pli_channel_send);

EXPORT(pli_clock_now);
EXPORT(pli_clock_seed);
EXPORT(pli_clock_sleep);
EXPORT(pli_clock_wall);
EXPORT(pli_condition_done);
EXPORT(pli_condition_init);
EXPORT(pli_condition_wait);
EXPORT(pli_condition_wake_all);

EXPORT(pli_daemon_await);
EXPORT(pli_daemon_fork);
EXPORT(pli_daemon_tell);

EXPORT(pli_environment);

EXPORT(pli_fence_allow);
EXPORT(pli_fence_close);
EXPORT(pli_fence_open);

EXPORT(pli_file_close);
EXPORT(pli_file_give);
EXPORT(pli_file_info_of);
EXPORT(pli_file_info_of_fd);
EXPORT(pli_file_is_locked);
EXPORT(pli_file_limit_raise);
EXPORT(pli_file_lock);
EXPORT(pli_file_open);
EXPORT(pli_file_open_append);
EXPORT(pli_file_open_as);
EXPORT(pli_file_open_nameless);
EXPORT(pli_file_read_at);
EXPORT(pli_file_rename);
EXPORT(pli_file_replace);
EXPORT(pli_file_sync);
EXPORT(pli_file_truncate);
EXPORT(pli_file_unlink);
EXPORT(pli_file_write);
EXPORT(pli_file_write_at);
EXPORT(pli_file_write_pieces_at);

EXPORT(pli_folder_enter);
EXPORT(pli_folder_enter_as_root);
EXPORT(pli_folder_hold);
EXPORT(pli_folder_list);
EXPORT(pli_folder_make);
EXPORT(pli_folder_remove);
EXPORT(pli_folder_return);
EXPORT(pli_folder_sync);
EXPORT(pli_folder_sync_of);

EXPORT(pli_free);

EXPORT(pli_identity_become);
EXPORT(pli_identity_set_group);
EXPORT(pli_identity_set_user);

EXPORT(pli_is_terminal);

EXPORT(pli_misuse);

EXPORT(pli_module_load);
EXPORT(pli_mutex_done);
EXPORT(pli_mutex_init);
EXPORT(pli_mutex_lock);
EXPORT(pli_mutex_unlock);

EXPORT(pli_notify_close);
EXPORT(pli_notify_file);
EXPORT(pli_notify_forget);
EXPORT(pli_notify_hush);
EXPORT(pli_notify_names);
EXPORT(pli_notify_open);

EXPORT(pli_path_folder);
EXPORT(pli_path_real);

EXPORT(pli_privileges_fix);

EXPORT(pli_process_await);
EXPORT(pli_process_end_by);
EXPORT(pli_process_id);
EXPORT(pli_process_leave);
EXPORT(pli_process_set_name);
EXPORT(pli_process_tell_itself);

EXPORT(pli_program_path);

EXPORT(pli_rand_next);
EXPORT(pli_rand_seed);

EXPORT(pli_realloc);

EXPORT(pli_signal_set_default);

EXPORT(pli_socket_file_give);

EXPORT(pli_started);
EXPORT(pli_starter_close);
EXPORT(pli_starter_end);
EXPORT(pli_starter_open);
EXPORT(pli_starter_start);

EXPORT(pli_stderr_write);

EXPORT(pli_stop_handler_pass_all);

EXPORT(pli_strdup);

EXPORT(pli_teller_open);
EXPORT(pli_teller_say);
EXPORT(pli_thread_join);
EXPORT(pli_thread_start);

EXPORT(pli_text_add);
EXPORT(pli_text_add_str);
EXPORT(pli_text_addf);
EXPORT(pli_text_done);

EXPORT(pli_umask);

#undef EXPORT

#endif
