#include "tests/sim/numbers.h"

#include <errno.h>

/* The numbers modulo 2^64, which is enough to tell which one it is. The first that is given is 2. */
static uint64_t *all_numbers(void)
{
    static uint64_t table[NUMBERS_MAX];

    if (!table[0]) {
        table[0] = 2;
        table[1] = 3;
        for (int i = 2; i < NUMBERS_MAX; ++i)
            table[i] = table[i - 1] + table[i - 2];
    }
    return table;
}

/* Which of them a text is; NUMBERS_MAX: none. */
static unsigned number_of(const char *text)
{
    uint64_t value = 0;
    unsigned i = 0;

    for (; *text >= '0' && *text <= '9'; ++text)
        value = value * 10 + (uint64_t) (*text - '0');
    if (*text != '\n')
        return NUMBERS_MAX;
    while (i < NUMBERS_MAX && all_numbers()[i] != value)
        ++i;
    return i;
}

void numbers_see(pl_swarm_run *run, numbers *self, const char *line, unsigned least)
{
    unsigned n = number_of(line);

    if (n == NUMBERS_MAX)
        pl_swarm_fail(run, "this is no number of the sequence: %s", line);
    else if (self->seen[n])
        pl_swarm_fail(run, "number %u is given twice", n);
    else if (n < least)
        pl_swarm_fail(run, "number %u is given after number %u was seen", n, least - 1);
    else
        self->seen[n] = true;
    if (n < NUMBERS_MAX && n >= self->next)
        self->next = n + 1;
    ++self->count;
}

bool numbers_left(const numbers *self)
{
    return self->next < NUMBERS_MAX / 2;
}

int hear_line(pl_sim_peer *peer, char *line, size_t size)
{
    for (size_t n = 0; n < size - 1;) {
        ptrdiff_t got = pl_sim_hear(peer, line + n, 1);

        if (got <= 0)
            return got == 0 && n ? PL_E_CLOSED : (int) got;
        if (line[n++] == '\n') {
            line[n] = '\0';
            return 1;
        }
    }
    return -EMSGSIZE;
}
