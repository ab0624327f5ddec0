/*
 * The stack switch by itself, for processors that the rest is not built for here: tests/fiber_switch_test.py compiles this with the two files that it is about.
 *
 * Stacks go round: each computes with values that a compiler keeps in registers over the switch, and must come to what a plain loop comes to.
 */
#include <stdio.h>
#include <string.h>

#include "base/context.h"
#include "os/stack.h"

enum { STACKS = 50, ROUNDS = 1000 };

typedef struct runner {
    pli_context context;
    pli_stack stack;
    int64_t seed, sum, bits;
    int rounds;
} runner;

static pli_context home;
static runner runners[STACKS];
static int wrong;

static void expect(int holds, const char *what)
{
    if (!holds) {
        printf("not so: %s\n", what);
        ++wrong;
    }
}

/* `from` NULL: without switching. */
static void compute(runner *self, pli_context *from)
{
    int64_t a = self->seed, b = a * 3, c = a * 5, d = a * 7, e = a * 11, f = a * 13, g = a * 17;
    double u = (double) a, v = u / 3, w = u / 5, x = u / 7, y = u / 11, z = u / 13;
    long double l = u, m = v;

    for (int i = 0; i < ROUNDS; ++i) {
        if (from)
            pli_context_switch(from, &home);
        a += b ^ c, b += c ^ d, c += d ^ e, d += e ^ f, e += f ^ g, f += g ^ a, g += i;
        l += m, m -= 1;
        u += v * 0.5, v += w * 0.25, w += x * 0.125, x -= y, y += z * 0.0625, z = -z;
        ++self->rounds;
    }
    self->sum = a + b + c + d + e + f + g;
    u += v + w + x + y + z + (double) l;
    memcpy(&self->bits, &u, sizeof u);
}

/* What a library does that trusts in the alignment of the stack. */
static void print_on_it(runner *self)
{
    char text[64], expected[64] = "";
    int64_t n = self->seed;

    snprintf(text, sizeof text, "%.3f %lld", (double) n / 8, (long long) n);
    for (int i = 0; text[i]; ++i)
        expected[i] = text[i];
    expect(strcmp(text, expected) == 0 && strchr(text, '.') != NULL, "printf works on the stack");
    expect((uintptr_t) __builtin_frame_address(0) - (uintptr_t) self->stack.low < self->stack.size,
           "the frame is on the stack");
}

static void run(void *arg)
{
    runner *self = arg;

    pli_context_arrive(&self->context, &home);
    print_on_it(self);
    compute(self, &self->context);
    pli_context_leave(&self->context, &home);
}

static void start(runner *self, int64_t seed)
{
    self->seed = seed;
    self->rounds = 0;
    if (!self->stack.low)
        expect(pli_stack_map_real(60000, &self->stack) == 0, "a stack is mapped");
    pli_context_make(&self->context, self->stack.low, self->stack.size, run, self);
}

/* One switch to each stack for each time that it switches back, and one for its end. */
static void go_round(void)
{
    for (int i = 0; i <= ROUNDS; ++i)
        for (int k = 0; k < STACKS; ++k)
            pli_context_switch(&home, &runners[k].context);
}

static void check(runner *self)
{
    runner plain = {.seed = self->seed};

    compute(&plain, NULL);
    expect(self->rounds == ROUNDS, "all rounds were run");
    expect(self->sum == plain.sum, "integers survive the switch");
    expect(self->bits == plain.bits, "floating-point numbers survive it");
    pli_context_done(&self->context);
}

int main(void)
{
    for (int again = 0; again < 2; ++again) {
        for (int k = 0; k < STACKS; ++k)
            start(&runners[k], k + 1 + again);
        go_round();
        for (int k = 0; k < STACKS; ++k)
            check(&runners[k]);
        for (int k = 0; k < STACKS; ++k)
            pli_stack_trim(&runners[k].stack);
    }
    for (int k = 0; k < STACKS; ++k)
        pli_stack_unmap_real(&runners[k].stack);
    if (!wrong)
        printf("all well\n");
    return wrong != 0;
}
