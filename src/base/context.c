#include "base/context.h"

#ifdef PLI_FIBER_UCONTEXT

/* makecontext() passes integers only. */
static void begin(unsigned fn_high, unsigned fn_low, unsigned arg_high, unsigned arg_low)
{
    uint64_t fn = (uint64_t) fn_high << 32 | fn_low, arg = (uint64_t) arg_high << 32 | arg_low;

    ((void (*)(void *))(uintptr_t) fn)((void *) (uintptr_t) arg);
}

static void context_init(pli_context *self, char *low, size_t size, void (*fn)(void *), void *arg)
{
    uint64_t f = (uintptr_t) fn, a = (uintptr_t) arg;

    getcontext(&self->uc);
    self->uc.uc_stack.ss_sp = low;
    self->uc.uc_stack.ss_size = size;
    self->uc.uc_link = NULL;
    makecontext(&self->uc, (void (*)(void)) begin, 4, (unsigned) (f >> 32), (unsigned) f,
                (unsigned) (a >> 32), (unsigned) a);
}

#else

static void context_init(pli_context *self, char *low, size_t size, void (*fn)(void *), void *arg)
{
    uintptr_t top = ((uintptr_t) low + size) & ~(uintptr_t) 15;

#ifdef __x86_64__
    /* As after a call, whose return address is nowhere: a backtrace ends here. */
    top -= sizeof(void *);
    *(void **) top = NULL;
#endif
    self->sp = (void *) top;
    self->pc = (void *) (uintptr_t) fn;
    self->fp = NULL;
    self->arg = arg;
}

#endif

void pli_context_make(pli_context *self, char *low, size_t size, void (*fn)(void *), void *arg)
{
    *self = (pli_context){0};
#ifdef PLI_ASAN
    /* Whoever had the stack before never returned from its first function. */
    __asan_unpoison_memory_region(low, size);
    self->stack_low = low;
    self->stack_size = size;
#endif
#ifdef PLI_TSAN
    self->tsan = __tsan_create_fiber(0);
#endif
    context_init(self, low, size, fn, arg);
}

void pli_context_done(pli_context *self)
{
#ifdef PLI_TSAN
    __tsan_destroy_fiber(self->tsan);
#endif
    (void) self;
}
