/*
 * Requests of the control socket: the first byte says where the input is split. However it is split, the same is asked for. What is asked for is done, and its answer is a line of JSON.
 */
#include <plait/testing.h>

#include "app/inspect/command.h"
#include "fuzz/lines.h"

#define LINE_BYTES_MAX 4096
#define PIECES_MAX     100

typedef struct session {
    pli_control control;
    unsigned stops, reloads;
    uint64_t story; /* a hash of what was asked for, and of what was wrong */
    bool answers;
    unsigned commands; /* that were asked for */
} session;

static void add_to_story(session *self, const char *text)
{
    do
        self->story = (self->story ^ (unsigned char) *text) * 1099511628211u;
    while (*text++);
}

/* ---- answers ---- */

static void begin(pli_answer *answer, bool ok)
{
    pli_json_open(&answer->out, '{');
    pli_json_add_bool(&answer->out, "ok", ok);
}

static void end(pli_answer *answer)
{
    const pli_text *out = &answer->out.text;
    json_t *read;

    pli_json_close(&answer->out, '}');
    pli_json_end(&answer->out);
    MUST(!out->failed && memchr(out->bytes, '\n', out->len) == out->bytes + out->len - 1);
    read = json_loadb(out->bytes, out->len, JSON_REJECT_DUPLICATES, NULL);
    MUST(json_is_object(read) && json_is_boolean(json_object_get(read, "ok")));
    json_decref(read);
    pli_answer_done(answer);
}

static void answer_error(const char *why)
{
    pli_answer answer = {.waits = NULL};

    MUST(*why);
    begin(&answer, false);
    pli_json_add_text(&answer.out, "error", why);
    end(&answer);
}

static void answer_command(session *self, const pli_command *command, const json_t *request)
{
    pli_answer answer = {.control = &self->control,
                         .scope = pl_reactor_scope(self->control.reactor),
                         .asked = request};
    unsigned pieces = 0;

    begin(&answer, true);
    if (command->begin(&answer) < 0) {
        pli_answer_done(&answer);
        answer_error(answer.why);
        return;
    }
    while (command->more && command->more(&answer))
        MUST(++pieces < PIECES_MAX);
    end(&answer);
}

/* ---- requests ---- */

static bool refuse(session *self, const char *why)
{
    add_to_story(self, why);
    answer_error(why);
    return false;
}

static bool take(void *arg, pl_slice line, bool too_long)
{
    session *self = arg;
    const char *none = "a line that is too long";
    const pli_command *command;
    char why[128] = "";
    json_t *request = too_long ? NULL : pli_request_read(line, &none);

    if (!request)
        return refuse(self, none);
    command = pli_request_command(request, why, sizeof why);
    add_to_story(self, command ? command->name : why);
    self->commands += command != NULL;
    if (!command)
        answer_error(why);
    else if (self->answers)
        answer_command(self, command, request);
    json_decref(request);
    return true;
}

/* ---- the target ---- */

static void stop(void *arg)
{
    ++((session *) arg)->stops;
}

static int reload(void *arg)
{
    return ++((session *) arg)->reloads % 2 ? 0 : PL_E_DAMAGED;
}

static void run_commands(pl_slice in)
{
    pl_service *root = NULL, *child = NULL;
    pl_testing kit;
    session self = {.answers = true};

    pl_testing_open(&kit, NULL);
    MUST(pl_service_new_root(kit.scope, NULL, "root", &root) == 0);
    MUST(pl_service_new(root, NULL, "child", &child) == 0);
    self.control = (pli_control){
        .reactor = kit.reactor,
        .options = {.name = "fuzzed", .root = root, .hooks = {&self, stop, reload, NULL}}};
    lines_of(in, LINE_BYTES_MAX, in.len, 1, take, &self);
    pl_testing_close(&kit);
}

static session story_of(pl_slice in, size_t first, size_t piece)
{
    session self = {.story = 14695981039346656037u};

    lines_of(in, LINE_BYTES_MAX, first, piece, take, &self);
    return self;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pl_slice in = pl_slice_of(data + 1, size ? size - 1 : 0);
    session whole;

    if (!size)
        return 0;
    whole = story_of(in, in.len, 1);
    MUST(story_of(in, 1, 1).story == whole.story);
    MUST(story_of(in, data[0], in.len + 1).story == whole.story);
    MUST(story_of(in, data[0] % 16 + 1, data[0] / 16 + 1).story == whole.story);
    if (whole.commands) /* a reactor is expensive */
        run_commands(in);
    return 0;
}
