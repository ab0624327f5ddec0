/* Step 3: lines instead of bytes. Usage: step3 [ENDPOINT] */
#include "serve.h"

typedef struct parrot {
    pl_line_receiver base;
    unsigned lines;
} parrot;

static void parrot_line_received(pl_line_receiver *self, pl_slice line)
{
    parrot *me = (parrot *) self;
    char text[32];

    ++me->lines;
    if (pl_slice_equal(line, pl_str("count"))) {
        snprintf(text, sizeof text, "%u lines", me->lines);
        pl_line_send(self, pl_str(text));
    } else if (pl_slice_equal(line, pl_str("quit"))) {
        pl_line_send(self, pl_str("bye"));
        pl_close(self->protocol.transport);
    } else {
        pl_line_send(self, line);
    }
}

static void parrot_line_length_exceeded(pl_line_receiver *self, pl_slice start)
{
    (void) start;
    pl_line_send(self, pl_str("that line is too long"));
}

static const pl_line_ops parrot_ops = {
    PL_LINE_RECEIVER(parrot),
    .bare_newline = true,
    .line_bytes_max = 80,
    .line_received = parrot_line_received,
    .line_length_exceeded = parrot_line_length_exceeded,
};

int main(int argc, char **argv)
{
    return serve(argc > 1 ? argv[1] : "tcp:8007",
                 &(pl_listen_options){.protocol = &parrot_ops.protocol});
}
