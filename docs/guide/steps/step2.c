/* Step 2: state per connection, and a factory for what they share. Usage: step2 [ENDPOINT] */
#include "serve.h"

typedef struct visitor {
    pl_protocol base;
    unsigned number;
    size_t bytes;
} visitor;

typedef struct guestbook {
    pl_factory base;
    unsigned visitors, here;
} guestbook;

static int visitor_connection_made(pl_protocol *self)
{
    visitor *me = (visitor *) self;
    guestbook *book = (guestbook *) self->factory;
    char text[64];

    me->number = ++book->visitors;
    ++book->here;
    snprintf(text, sizeof text, "you are number %u, %u here\n", me->number, book->here);
    pl_write_str(self->transport, text);
    return 0;
}

static void visitor_data_received(pl_protocol *self, pl_slice in)
{
    ((visitor *) self)->bytes += in.len;
    pl_write(self->transport, in);
}

static void visitor_connection_lost(pl_protocol *self, const pl_failure *reason)
{
    const visitor *me = (visitor *) self;
    guestbook *book = (guestbook *) self->factory;

    --book->here;
    printf("number %u left after %zu bytes: %s\n", me->number, me->bytes,
           pl_error_text(pl_failure_code(reason)));
}

static const pl_protocol_ops visitor_ops = {
    PL_PROTOCOL(visitor),
    .connection_made = visitor_connection_made,
    .data_received = visitor_data_received,
    .connection_lost = visitor_connection_lost,
};

static void guestbook_stop_factory(pl_factory *self)
{
    printf("%u visitors\n", ((guestbook *) self)->visitors);
}

static const pl_factory_ops guestbook_ops = {
    PL_FACTORY(guestbook),
    .protocol = &visitor_ops,
    .stop_factory = guestbook_stop_factory,
};

int main(int argc, char **argv)
{
    guestbook book = {.base.ops = &guestbook_ops};

    return serve(argc > 1 ? argv[1] : "tcp:8007", &(pl_listen_options){.factory = &book.base});
}
