/*
 * The stack switch.
 *
 * A context is where somebody stopped: a stack pointer, a place to go on, a frame pointer. Switching stores the one and goes to the other. All other registers are
 * the compiler's: the switch says that it destroys them, so only those that are in use are saved, and it leaves by a jump, which the processor
 * predicts by its place, where a `ret` to another stack's address would always be mispredicted (five times the cost). Nothing is pushed, so the red zone
 * below the stack pointer stays as it is. It is inline for this; the functions that contain it are few and must not be inlined themselves.
 *
 * Not switched: the floating-point control words (rounding, exception masks) and errno, which are the thread's; whoever changes a rounding mode
 * restores it before suspending. The signal mask, but for ucontext, which can't leave it alone.
 *
 * Shadow stacks: a thread that runs with one (x86 SHSTK, AArch64 GCS; off by default everywhere) would fault at the first return on another
 * stack. Build with -Dfiber_switch=ucontext there: glibc's switches the shadow stack, too. Branch tracking (IBT, BTI) is served by
 * landing pads.
 *
 * The sanitizers are told of each switch. ASan wants to know the bounds of the stack that is gone to; those of whoever resumes a fiber
 * it tells us itself, on arrival.
 */
#ifndef PLI_BASE_CONTEXT_H
#define PLI_BASE_CONTEXT_H

#include <plait/base.h>

#if defined(__SANITIZE_ADDRESS__)
#define PLI_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PLI_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define PLI_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define PLI_TSAN 1
#endif
#endif

#ifdef PLI_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef PLI_TSAN
#include <sanitizer/tsan_interface.h>
#endif

/* The assembly is for 64-bit pointers, and does not know APX's additional registers. */
#if !((defined(__x86_64__) || defined(__aarch64__)) && defined(__LP64__)) || defined(__APX_F__)
#undef PLI_FIBER_UCONTEXT
#define PLI_FIBER_UCONTEXT 1
#endif
#ifdef PLI_FIBER_UCONTEXT
#include <ucontext.h>
#endif

typedef struct pli_context {
#ifdef PLI_FIBER_UCONTEXT
    ucontext_t uc;
#else
    void *sp, *pc, *fp; /* the assembly knows the places */
    void *arg;          /* of the first function */
#endif
#ifdef PLI_ASAN
    void *fake_stack;
    const void *stack_low;
    size_t stack_size;
#endif
#ifdef PLI_TSAN
    void *tsan;
#endif
} pli_context;

/* A context that begins with `fn(arg)`, which never returns, on a stack of `size` bytes from `low`. */
void pli_context_make(pli_context *self, char *low, size_t size, void (*fn)(void *), void *arg);
/* Nobody is on it any more. */
void pli_context_done(pli_context *self);

#if defined(PLI_FIBER_UCONTEXT)

static inline void pli_context_jump(pli_context *from, pli_context *to)
{
    swapcontext(&from->uc, &to->uc);
}

#elif defined(__x86_64__)

#ifdef __CET__
#define PLI_LANDING "endbr64\n\t"
#else
#define PLI_LANDING
#endif
#ifdef __AVX512F__
#define PLI_CLOBBERS_MORE                                                                          \
    , "k0", "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24",       \
        "xmm25", "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31", "k1", "k2", "k3", "k4",     \
        "k5", "k6", "k7"
#else
#define PLI_CLOBBERS_MORE
#endif

static inline __attribute__((always_inline)) void pli_context_jump(pli_context *from,
                                                                   pli_context *to)
{
    __asm__ volatile("leaq 1f(%%rip), %%rax\n\t"
                     "movq %%rsp, 0(%%rdi)\n\t"
                     "movq %%rax, 8(%%rdi)\n\t"
                     "movq %%rbp, 16(%%rdi)\n\t"
                     "movq 0(%%rsi), %%rsp\n\t"
                     "movq 16(%%rsi), %%rbp\n\t"
                     "movq 24(%%rsi), %%rdi\n\t"
                     "jmpq *8(%%rsi)\n"
                     "1:\n\t" PLI_LANDING
                     : "+D"(from), "+S"(to)
                     :
                     : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
                       "r15", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
                       "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "st",
                       "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)", "memory",
                       "cc" PLI_CLOBBERS_MORE);
}

#else /* AArch64 */

#ifdef __ARM_FEATURE_SVE
#define PLI_CLOBBERS_MORE                                                                          \
    , "p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8", "p9", "p10", "p11", "p12", "p13",      \
        "p14", "p15"
#else
#define PLI_CLOBBERS_MORE
#endif

/* A jump by x16 may land where a call may. x18, which elsewhere is the platform's, is one as any other on Linux. */
static inline __attribute__((always_inline)) void pli_context_jump(pli_context *from,
                                                                   pli_context *to)
{
    register pli_context *x0 __asm__("x0") = from, *x1 __asm__("x1") = to;

    __asm__ volatile("adr x16, 1f\n\t"
                     "mov x10, sp\n\t"
                     "stp x10, x16, [x0]\n\t"
                     "str x29, [x0, #16]\n\t"
                     "ldp x10, x16, [x1]\n\t"
                     "ldp x29, x0, [x1, #16]\n\t"
                     "mov sp, x10\n\t"
                     "mov x30, xzr\n\t" /* the first function has no caller */
                     "br x16\n"
                     "1:\n\t"
                     "hint #36\n\t" /* bti j */
                     : "+r"(x0), "+r"(x1)
                     :
                     : "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13",
                       "x14", "x15", "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24",
                       "x25", "x26", "x27", "x28", "x30", "v0", "v1", "v2", "v3", "v4", "v5", "v6",
                       "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16", "v17",
                       "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28",
                       "v29", "v30", "v31", "memory", "cc" PLI_CLOBBERS_MORE);
}

#endif

/* To be called first on a new stack: by whom it was switched to. */
static inline __attribute__((always_inline)) void pli_context_arrive(pli_context *self,
                                                                     pli_context *from)
{
#ifdef PLI_ASAN
    __sanitizer_finish_switch_fiber(self->fake_stack, &from->stack_low, &from->stack_size);
#endif
    (void) self;
    (void) from;
}

/* Goes to `to`, until somebody goes to `from`. Whoever comes back comes from the same `to`. */
static inline __attribute__((always_inline)) void pli_context_switch(pli_context *from,
                                                                     pli_context *to)
{
#ifdef PLI_ASAN
    __sanitizer_start_switch_fiber(&from->fake_stack, to->stack_low, to->stack_size);
#endif
#ifdef PLI_TSAN
    from->tsan = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(to->tsan, 0);
#endif
    pli_context_jump(from, to);
    pli_context_arrive(from, to);
}

/* The same, never to return: the stack can be used anew once `to` goes on. */
static inline __attribute__((always_inline, noreturn)) void pli_context_leave(pli_context *from,
                                                                              pli_context *to)
{
#ifdef PLI_ASAN
    __sanitizer_start_switch_fiber(NULL, to->stack_low, to->stack_size);
#endif
#ifdef PLI_TSAN
    __tsan_switch_to_fiber(to->tsan, 0);
#endif
    pli_context_jump(from, to);
    __builtin_unreachable();
}

#endif
