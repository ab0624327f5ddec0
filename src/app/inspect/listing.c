/*
 * Lists of what there is, in pieces: each looks at so many things and no more, however many of them it has to pass over.
 */
#include <stdio.h>

#include "app/inspect/command.h"

#define PIECE_MAX 256

static int walk_begin(pli_answer *answer, const char *member)
{
    answer->walk = pl_walk_new(pl_reactor_scope(answer->control->reactor));
    if (!answer->walk)
        return pli_answer_refuse(answer, "out of memory");
    pli_json_open_member(&answer->out, member, '[');
    return 0;
}

/* Calls `add` for those of the next things that are of the kind. */
static bool walk_more(pli_answer *answer, pl_thing_kind kind,
                      void (*add)(pli_json *out, const pl_thing *thing))
{
    pli_json *out = &answer->out;
    pl_thing thing;
    char path[256];

    for (unsigned i = 0; i < PIECE_MAX; ++i) {
        if (!pl_walk_next(answer->walk, &thing)) {
            pli_json_close(out, ']');
            return false;
        }
        if (thing.kind != kind)
            continue;
        pli_json_open(out, '{');
        add(out, &thing);
        pli_json_add_text(out, "scope", pl_walk_path(answer->walk, path, sizeof path));
        pli_json_close(out, '}');
    }
    return true;
}

/* ---- connections ---- */

static void add_connection(pli_json *out, const pl_thing *thing)
{
    pl_transport_id id = pl_transport_get_id(thing->transport);
    char text[PL_ADDRESS_TEXT + 32];
    pl_traffic traffic;
    pl_address peer;

    snprintf(text, sizeof text, "%u.%u", id.slot, id.gen);
    pli_json_add_text(out, "id", text);
    pl_peer(thing->transport, &peer);
    pli_json_add_text(out, "peer", pl_address_format(&peer, text, sizeof text));
    pli_json_add_text(out, "protocol", thing->name);
    pli_json_add_text(out, "state", thing->state);
    pl_transport_traffic(thing->transport, &traffic);
    pli_json_add_real(out, "age_s", traffic.age_s);
    pli_json_add_number(out, "bytes_in", traffic.bytes_in);
    pli_json_add_number(out, "bytes_out", traffic.bytes_out);
    pli_json_add_number(out, "queued", pl_queued(thing->transport));
}

int pli_connections_begin(pli_answer *answer)
{
    return walk_begin(answer, "connections");
}

bool pli_connections_more(pli_answer *answer)
{
    return walk_more(answer, PL_THING_CONNECTION, add_connection);
}

/* ---- Deferreds and fibers ---- */

static void add_deferred(pli_json *out, const pl_thing *thing)
{
    pli_json_add_text(out, "made_at", thing->name);
    pli_json_add_text(out, "state", thing->state);
    pli_json_add_text(out, "waits_for", thing->waits);
}

int pli_deferreds_begin(pli_answer *answer)
{
    return walk_begin(answer, "deferreds");
}

bool pli_deferreds_more(pli_answer *answer)
{
    return walk_more(answer, PL_THING_DEFERRED, add_deferred);
}

static void add_fiber(pli_json *out, const pl_thing *thing)
{
    char code[128];

    pli_json_add_text(out, "function", pl_code_name(thing->code, code, sizeof code));
    pli_json_add_text(out, "state", thing->state);
    pli_json_add_text(out, "waits_for", thing->waits);
}

int pli_fibers_begin(pli_answer *answer)
{
    return walk_begin(answer, "fibers");
}

bool pli_fibers_more(pli_answer *answer)
{
    return walk_more(answer, PL_THING_FIBER, add_fiber);
}

/* ---- timers ---- */

int pli_timers_begin(pli_answer *answer)
{
    answer->timer = (pl_timer){0, 0};
    pli_json_open_member(&answer->out, "timers", '[');
    return 0;
}

bool pli_timers_more(pli_answer *answer)
{
    pli_json *out = &answer->out;
    pl_timer_info info;
    char code[128];

    for (unsigned i = 0; i < PIECE_MAX; ++i) {
        if (!pl_timer_next(answer->control->reactor, &answer->timer, &info)) {
            pli_json_close(out, ']');
            return false;
        }
        pli_json_open(out, '{');
        pli_json_add_real(out, "due_s", info.due_s);
        pli_json_add_text(out, "function", pl_code_name(info.code, code, sizeof code));
        pli_json_add_text(out, "scope", info.owner);
        pli_json_close(out, '}');
    }
    return true;
}
