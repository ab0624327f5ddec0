#include <errno.h>

#include "base/assert.h"
#include "net/receiver/parser.h"
#include "net/receiver/receiver.h"

enum { line_bytes_default = 16384 };

static const pl_line_ops *line_ops_of(const pl_line_receiver *self)
{
    return pl_container_of(self->protocol.ops, const pl_line_ops, protocol);
}

static pl_slice delimiter_of(const pl_line_ops *ops)
{
    if (ops->delimiter)
        return ops->delimiter_bytes ? pl_slice_of(ops->delimiter, ops->delimiter_bytes)
                                    : pl_str(ops->delimiter);
    return ops->bare_newline ? pl_str("\n") : pl_str("\r\n");
}

/* Checked each time and not once: there is no moment at which a table is registered, and it costs two comparisons. */
static bool make_rules(const pl_line_ops *ops, pli_line_rules *ret)
{
    pl_slice delimiter = delimiter_of(ops);

    ret->delimiter = delimiter.ptr;
    ret->delimiter_len = delimiter.len;
    ret->line_max = pli_receiver_limit(ops->line_bytes_max, line_bytes_default);
    ret->strip_cr = ops->bare_newline;
    return delimiter.len > 0 && delimiter.len <= PLI_DELIMITER_MAX &&
           !(ops->delimiter && ops->bare_newline);
}

static void deliver_raw(pl_line_receiver *self, pl_slice *io_in)
{
    const pl_line_ops *ops = line_ops_of(self);
    pl_slice all = pli_take(io_in, io_in->len);

    if (ops->raw_data_received)
        ops->raw_data_received(self, all);
}

static void deliver_too_long(pl_line_receiver *self, pl_slice start)
{
    const pl_line_ops *ops = line_ops_of(self);

    if (ops->line_length_exceeded)
        ops->line_length_exceeded(self, start);
    else
        pli_receiver_fail(&self->protocol, PL_E_LIMIT, "receiving a line", NULL);
}

static void line_step(pl_protocol *protocol, pl_slice *io_in)
{
    pl_line_receiver *self = (pl_line_receiver *) protocol;
    const pl_line_ops *ops = line_ops_of(self);
    pli_line_rules rules;
    pl_slice line;
    int r;

    if (self->raw) {
        deliver_raw(self, io_in);
        return;
    }
    if (!make_rules(ops, &rules)) {
        pli_misuse("a line receiver's delimiter has 1 to 64 bytes, and none with bare_newline");
        pli_receiver_fail(protocol, -EINVAL, "receiving a line", NULL);
        return;
    }
    r = pli_line_next(&self->receiver.parser, &rules, io_in, &line);
    if (r == 1 && ops->line_received)
        ops->line_received(self, line);
    else if (r == PL_E_LIMIT)
        deliver_too_long(self, line);
    else if (r < 0)
        pli_receiver_fail(protocol, r, "receiving a line", NULL);
}

void pli_line_redeliver(void *self)
{
    pli_receiver_redeliver(self, line_step);
}

void pl_line_data_received(pl_protocol *self, pl_slice in)
{
    pli_receiver_feed(self, in, line_step);
}

pl_slice pl_line_partial(const pl_line_receiver *self)
{
    return pli_line_kept(&self->receiver.parser);
}

int pl_line_send(pl_line_receiver *self, pl_slice line)
{
    return pli_receiver_write(&self->protocol, pl_str(""), line, delimiter_of(line_ops_of(self)));
}

/* Within a delivery the parser keeps nothing but what was delivered just now, and the callback may still be looking at that. */
int pl_line_set_raw_mode(pl_line_receiver *self)
{
    pl_receiver *r = &self->receiver;
    pl_slice kept = r->current ? pl_slice_of(NULL, 0) : pli_line_kept(&r->parser);

    if (kept.len > 0 && pli_receiver_hold(&self->protocol, kept, pli_receiver_held(&self->protocol),
                                          pli_line_redeliver) < 0)
        return -ENOMEM;
    r->parser.phase = 0;
    r->parser.spent = true;
    if (!r->current)
        pli_parser_settle(&r->parser);
    self->raw = true;
    return 0;
}

/* `extra` within a delivery: the end of what was just given, to be delivered again. */
static int give_again(pl_line_receiver *self, pl_slice extra)
{
    pl_slice *current = self->receiver.current;

    if (!self->raw || current->len > 0 || extra.ptr + extra.len != current->ptr)
        return PL_E_STATE;
    *current = extra;
    return 0;
}

int pl_line_set_line_mode(pl_line_receiver *self, pl_slice extra)
{
    pl_protocol *protocol = &self->protocol;
    int r = 0;

    if (extra.len > 0 && self->receiver.current)
        r = give_again(self, extra);
    else if (extra.len > 0)
        r = pli_receiver_hold(protocol, pli_receiver_held(protocol), extra, pli_line_redeliver);
    if (r == 0)
        self->raw = false;
    return r;
}

void pl_line_pause(pl_line_receiver *self)
{
    pli_receiver_pause(&self->protocol);
}

void pl_line_resume(pl_line_receiver *self)
{
    pli_receiver_resume(&self->protocol, pli_line_redeliver);
}
