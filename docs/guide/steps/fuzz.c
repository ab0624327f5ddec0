/* A target for a fuzzer: however a stream is cut, the parrot of step 3 answers the same, and nothing is left of it. See testing.md. */
#include <plait/plait.h>
#include <plait/testing.h>

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parrot_line_received(pl_line_receiver *self, pl_slice line)
{
    pl_line_send(self, line);
    if (pl_slice_equal(line, pl_str("quit")))
        pl_close(self->protocol.transport);
}

/* Without it the connection would be aborted, and how much of the answers had left by then depends on the pieces. */
static void parrot_line_length_exceeded(pl_line_receiver *self, pl_slice start)
{
    (void) start;
    pl_line_send(self, pl_str("that line is too long"));
}

static const pl_line_ops parrot_ops = {
    PL_LINE_RECEIVER(pl_line_receiver),
    .bare_newline = true,
    .line_bytes_max = 80,
    .line_received = parrot_line_received,
    .line_length_exceeded = parrot_line_length_exceeded,
};

/* What it answers when `in` comes in pieces of so many bytes: a copy, by malloc() since nothing of Plait's outlives the kit. */
static pl_slice answers(pl_slice in, size_t piece)
{
    pl_testing kit;
    pl_string_transport *peer;
    pl_slice said;
    char *copy;

    pl_testing_open(&kit, &(pl_testing_options){.log_level = PL_SILENT});
    peer = pl_string_transport_open(&kit,
                                    &(pl_string_options){.listen.protocol = &parrot_ops.protocol});
    pl_string_transport_feed_pieces(peer, in, piece);
    pl_string_transport_end(peer);
    PL_EXPECT(pl_string_transport_lost(peer) != 0);
    said = pl_string_transport_bytes(peer);
    copy = malloc(said.len + 1);
    if (!copy)
        abort();
    memcpy(copy, said.ptr, said.len);
    pl_testing_close(&kit);
    return pl_slice_of(copy, said.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pl_slice in = pl_slice_from(pl_slice_of(data, size), 1);
    pl_slice whole, cut;

    if (!in.len)
        return 0;
    whole = answers(in, in.len);
    cut = answers(in, data[0] % 16 + 1);
    PL_EXPECT(pl_slice_equal(cut, whole));
    free((char *) whole.ptr);
    free((char *) cut.ptr);
    return 0;
}
