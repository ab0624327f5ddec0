/**
 * @file receiver.h
 * Basic receivers: protocols that cut a stream of bytes into lines, netstrings or length-prefixed strings.
 *
 * A receiver is a protocol to derive from. Embed it where a pl_protocol would stand, and begin its table with its macro:
 *
 *     typedef struct chat {
 *         pl_line_receiver base;
 *         unsigned lines;
 *     } chat;
 *
 *     static void chat_line_received(pl_line_receiver *self, pl_slice line)
 *     {
 *         ((chat *) self)->lines++;
 *         pl_line_send(self, line);
 *     }
 *
 *     static const pl_line_ops chat_ops = {
 *         PL_LINE_RECEIVER(chat), .line_received = chat_line_received,
 *     };
 *
 * `&chat_ops.protocol` is what a factory or pl_listen() wants; the other events of a protocol are set there too
 * (`.protocol.connection_lost = chat_connection_lost`), but for data_received, which is the receiver's. self->protocol.transport is
 * the transport.
 *
 * What is common to all three:
 *
 * - A message that arrived whole in one slice is handed over where it lies, without a copy. Only the beginning of one that is not complete
 *   yet is kept, in memory that grows with what has arrived (never with what a peer announces) up to the limit, and is given back as soon
 *   as the message is complete. Work is linear in the bytes however they are split. An idle connection keeps no memory.
 * - What a callback is given is valid until it returns.
 * - After pl_close() or pl_abort() within a callback nothing more is delivered. What of an incomplete message there is when the
 *   connection ends is dropped.
 * - pl_line_pause() and its like stop delivery at once, also in the midst of a slice, which pl_pause() cannot. What had arrived is kept, and is
 *   delivered from the loop after pl_line_resume(). What a paused one holds when the connection breaks is dropped. Do not mix them with pl_pause() and pl_resume() on the same connection. A protocol that
 *   writes much per message pauses when pl_write() answers PL_FULL and resumes in `drained`.
 * - When memory is out the connection is aborted with -ENOMEM.
 *
 * All of this runs on the reactor's thread. Since: 0.1
 */
#ifndef PLAIT_RECEIVER_H
#define PLAIT_RECEIVER_H

#include <plait/protocol.h>

PL_BEGIN

/** Plait's own: what a parser remembers from one slice to the next. All zero at the start. */
typedef struct pl_receiver_parser {
    char *ptr; /* the beginning of a message that is not complete; NULL when there is none */
    uint32_t len, cap;
    uint32_t want; /* the length that was announced */
    uint8_t phase; /* each parser's own; 0 between two messages */
    bool spent;    /* what stands at ptr was delivered */
} pl_receiver_parser;

/** Plait's own: what a receiver keeps besides. */
typedef struct pl_receiver {
    pl_receiver_parser parser;
    struct pli_held *held; /* what arrived and waits for a resume */
    pl_slice *current; /* what is left of the slice that is being delivered; NULL when none is */
    bool paused;
    bool scheduled; /* a timer will deliver what is held */
    bool hooked;    /* memory is given back when the connection's scope ends */
    bool ended;     /* that end has come */
} pl_receiver;

/* --- Lines ------------------------------------------------------------------------------------ */

typedef struct pl_line_receiver pl_line_receiver;

/** The kind of a line receiver. All zero is the default but for line_received. */
typedef struct pl_line_ops {
    pl_protocol_ops protocol; /**< PL_LINE_RECEIVER sets the sizes, the name and data_received */

    const char *delimiter;    /**< what ends a line, at most 64 bytes; NULL: "\r\n" */
    uint32_t delimiter_bytes; /**< its length, for one with a NUL in it; 0: strlen() of it */
    bool
        bare_newline; /**< lines end in "\n", and a "\r" before it is no part of the line; delimiter is NULL then */
    uint32_t line_bytes_max; /**< of a line without its end; 0: 16384; at most 2^31 - 1 */

    /** A line, without its end. May be empty. */
    void (*line_received)(pl_line_receiver *self, pl_slice line);

    /** What arrived in raw mode, as it came. NULL: it is discarded. */
    void (*raw_data_received)(pl_line_receiver *self, pl_slice in);

    /**
     * A line is longer than line_bytes_max; `start` is as much of it. Called once for it, as soon as that is certain; unless the
     * connection is closed here, what is left of the line is skipped and the next one is received. NULL: the connection is
     * aborted with PL_E_LIMIT.
     */
    void (*line_length_exceeded)(pl_line_receiver *self, pl_slice start);
} pl_line_ops;

/** What the protocol's own struct begins with. */
struct pl_line_receiver {
    pl_protocol protocol;
    pl_receiver receiver; /* Plait's own */
    bool raw;             /* Plait's own */
};

/** The first line of a table. */
#define PL_LINE_RECEIVER(type)                                                                     \
    .protocol.size = sizeof(pl_protocol_ops), .protocol.instance_size = sizeof(type),              \
    .protocol.name = #type, .protocol.data_received = pl_line_data_received

/** What the macro puts into data_received. A program that defines data_received itself may hand on to it. */
PL_API void pl_line_data_received(pl_protocol *self, pl_slice in);

/** What has arrived of a line that is not complete: in connection_lost, the last words of who did not end them. Empty within a line that was too long. Valid until the callback returns. Since: 0.1 */
PL_API pl_slice pl_line_partial(const pl_line_receiver *self);

/** Sends a line and the delimiter ("\n" with bare_newline), both or nothing. Returns: as pl_write(). */
PL_API int pl_line_send(pl_line_receiver *self, pl_slice line);

/**
 * From here on, what arrives goes to raw_data_received as it comes. Legal at any time: called in line_received it begins with the byte
 * behind that line's end, in line_length_exceeded with one behind `start`; called elsewhere, with what had arrived of an incomplete line, which is then delivered from the loop.
 * Returns: 0, or -ENOMEM: nothing was changed.
 */
PL_API int pl_line_set_raw_mode(pl_line_receiver *self);

/**
 * Back to lines, beginning with `extra`. In raw_data_received `extra` is the end of what was given that is not raw data any more (its
 * last bytes, in place; none when empty), and its lines are delivered when that returns. Outside of callbacks it may be any bytes; they
 * are copied and delivered from the loop.
 * Returns: 0; -ENOMEM; PL_E_STATE: called in a callback with an `extra` that is not the end of its slice. On errors nothing was changed.
 */
PL_API int pl_line_set_line_mode(pl_line_receiver *self, pl_slice extra);

/** Delivers nothing more until pl_line_resume(). Not counted. */
PL_API void pl_line_pause(pl_line_receiver *self);
/** Delivers again: what was kept, from the loop, then what arrives. */
PL_API void pl_line_resume(pl_line_receiver *self);

/* --- Netstrings: "5:hello,"  (Source: cr.yp.to/proto/netstrings.txt) --------------------------- */

typedef struct pl_netstring_receiver pl_netstring_receiver;

/** The kind of a netstring receiver. */
typedef struct pl_netstring_ops {
    pl_protocol_ops
        protocol; /**< PL_NETSTRING_RECEIVER sets the sizes, the name and data_received */

    uint32_t
        string_bytes_max; /**< 0: 99999; at most 2^31 - 1. A longer one aborts with PL_E_LIMIT as soon as it is announced */

    /**
     * A string, without its length and comma; not before its comma has arrived. May be empty. What is no netstring (a leading zero,
     * no digit, no comma) aborts the connection with PL_E_PROTOCOL and says what was found.
     */
    void (*string_received)(pl_netstring_receiver *self, pl_slice string);
} pl_netstring_ops;

/** What the protocol's own struct begins with. */
struct pl_netstring_receiver {
    pl_protocol protocol;
    pl_receiver receiver; /* Plait's own */
};

/** The first line of a table. */
#define PL_NETSTRING_RECEIVER(type)                                                                \
    .protocol.size = sizeof(pl_protocol_ops), .protocol.instance_size = sizeof(type),              \
    .protocol.name = #type, .protocol.data_received = pl_netstring_data_received

/** What the macro puts into data_received. */
PL_API void pl_netstring_data_received(pl_protocol *self, pl_slice in);

/** Sends `string` as a netstring, all of it or nothing; string_bytes_max does not apply. Returns: as pl_write(). */
PL_API int pl_netstring_send(pl_netstring_receiver *self, pl_slice string);

/** As pl_line_pause(). */
PL_API void pl_netstring_pause(pl_netstring_receiver *self);
/** As pl_line_resume(). */
PL_API void pl_netstring_resume(pl_netstring_receiver *self);

/* --- Strings behind a length of 8, 16 or 32 bits in network order -------------------------------- */

typedef struct pl_prefixed_receiver pl_prefixed_receiver;

/** The kind of a receiver of prefixed strings. */
typedef struct pl_prefixed_ops {
    pl_protocol_ops
        protocol; /**< PL_PREFIXED_RECEIVER sets the sizes, the name and data_received */

    uint8_t prefix_bytes; /**< 1, 2 or 4; PL_PREFIXED_RECEIVER sets it */
    uint32_t
        string_bytes_max; /**< 0: 99999; at most 2^31 - 1. A longer one aborts with PL_E_LIMIT as soon as it is announced */

    /** A string, without its prefix. May be empty. */
    void (*string_received)(pl_prefixed_receiver *self, pl_slice string);
} pl_prefixed_ops;

/** What the protocol's own struct begins with. */
struct pl_prefixed_receiver {
    pl_protocol protocol;
    pl_receiver receiver; /* Plait's own */
};

/** The first line of a table: PL_PREFIXED_RECEIVER(type, 2) for Twisted's Int16StringReceiver. */
#define PL_PREFIXED_RECEIVER(type, bytes)                                                          \
    .protocol.size = sizeof(pl_protocol_ops), .protocol.instance_size = sizeof(type),              \
    .protocol.name = #type, .protocol.data_received = pl_prefixed_data_received,                   \
    .prefix_bytes = (bytes)

/** What the macro puts into data_received. */
PL_API void pl_prefixed_data_received(pl_protocol *self, pl_slice in);

/**
 * Sends `string` behind its length, all of it or nothing; string_bytes_max does not apply.
 * Returns: as pl_write(); PL_E_LIMIT also when the length does not fit into the prefix.
 */
PL_API int pl_prefixed_send(pl_prefixed_receiver *self, pl_slice string);

/** As pl_line_pause(). */
PL_API void pl_prefixed_pause(pl_prefixed_receiver *self);
/** As pl_line_resume(). */
PL_API void pl_prefixed_resume(pl_prefixed_receiver *self);

PL_END

#endif
