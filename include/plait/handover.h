/**
 * @file handover.h
 * Handing a running program over to a new process: what protocols and services put aside, and take up again.
 *
 * An upgrade (plaitd --upgrade, SIGUSR2, pl_upgrade()) starts the program anew, from the file as it is by then. The new process gets the listening sockets; and the connections of
 * those kinds of protocol that declare how to save themselves. So a server that is upgraded refuses nobody, and such a connection goes on in the middle of a sentence: what waits to be sent, what has come and was not
 * delivered, and what was asked of the transport (pauses, half-closing, the options of the socket) goes with it by itself. What the protocol knows goes by its save() and restore():
 *
 *     static int chat_save(pl_protocol *self, pl_handover *to)
 *     {
 *         return pl_handover_save(to, chat_fields, self);
 *     }
 *
 *     static int chat_restore(pl_protocol *self, const pl_handover *from)
 *     {
 *         return pl_handover_load(from, chat_fields, self);
 *     }
 *
 *     static const pl_protocol_ops chat_ops = {
 *         PL_PROTOCOL(chat), .data_received = chat_data_received, .save = chat_save, .restore = chat_restore,
 *     };
 *
 * The fields are those of a state (pl_state_field). Not taken along: timers, fibers and Deferreds of the connection's scope, its producer, and marks set with pl_set_marks(); restore() makes them anew.
 *
 * What connections share is saved by their factory (pl_factory_ops) or their service (pl_service_ops), in the same way. The order in the new process is: privileged_start() and start() of all services, which find what was committed last in
 * their states; restore() of services; of factories; of connections. Until all have answered 0 nothing is sent, received or accepted there, and no timer runs, so that a failure of any of them costs nothing: the old
 * process goes on as if nothing had been asked. After that connection_lost() is called in the old one, with PL_E_HANDED_OVER, for what has gone; then its services are stopped.
 *
 * All functions are called on the reactor's thread, within save() and restore(). Link with -lplait-app.
 */
#ifndef PLAIT_HANDOVER_H
#define PLAIT_HANDOVER_H

#include <plait/state.h>

PL_BEGIN

/**
 * The values of what is handed over, by name: to be set in save() with pl_state_set(), and got in restore() with pl_state_get(). Names that begin with "pl." are Plait's own.
 * Cost: none. Since: 0.1
 */
PL_API pl_state_record *pl_handover_record(const pl_handover *handover);

/** Sets a value for each of `fields`, out of `holder`. Returns: 0, -ENOMEM, or what a field's save() returned. Since: 0.1 */
PL_API PL_MUST int pl_handover_save(pl_handover *to, const pl_state_field *fields, void *holder);
/**
 * Fills `holder` with the values of `fields`. A value that is not there leaves what the holder has: so a new field can be added at any time.
 * Returns: 0; PL_E_DAMAGED: a value has another type; PL_E_LIMIT: a text is too long; what a field's load() returned. Since: 0.1
 */
PL_API PL_MUST int pl_handover_load(const pl_handover *from, const pl_state_field *fields,
                                    void *holder);

/** For a receiver of lines, netstrings or prefixed strings: what it has of a message that is not complete, and what it holds while it is paused. Returns: 0; PL_E_UNSUPPORTED: `self` is none; -ENOMEM. Since: 0.1 */
PL_API PL_MUST int pl_handover_save_receiver(pl_handover *to, const pl_protocol *self);
/** Takes that up, in restore(). Returns: 0; PL_E_UNSUPPORTED; PL_E_DAMAGED; -ENOMEM. Since: 0.1 */
PL_API PL_MUST int pl_handover_load_receiver(const pl_handover *from, pl_protocol *self);

/** A part of what is handed over, with values and descriptors of its own: for a list of things that are alike. Names of parts are unique. Returns: NULL when memory is out. Since: 0.1 */
PL_API pl_handover *pl_handover_add_part(pl_handover *to, const char *name);
/** The part of that name; NULL: there is none. Since: 0.1 */
PL_API const pl_handover *pl_handover_part(const pl_handover *from, const char *name);

/**
 * Hands over a copy of a descriptor, under a name. `fd` stays the caller's, and must stay open until save() of all has been called.
 * Returns: 0; -EEXIST: there is one of that name; -ENOMEM. Since: 0.1
 */
PL_API PL_MUST int pl_handover_put_fd(pl_handover *to, const char *name, int fd);
/** Takes the descriptor of that name, once: it is the caller's from then on, and close-on-exec. Returns: the descriptor, or PL_E_EMPTY. Since: 0.1 */
PL_API PL_MUST int pl_handover_take_fd(const pl_handover *from, const char *name);

PL_END

#endif
