/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The only file that switches stacks.
 *
 * Boost.Context's assembly saves the registers that a call must preserve, about 6 ns; swapcontext
 * would cost two system calls.  It has no C header, so its two functions are declared here.
 *
 * A context that leaves passes a struct handover, on its own stack, to the one that goes on.  The
 * latter writes down where the former stands: so `fctx` is right whenever its context does not run.
 *
 * AddressSanitizer has to know the stack that comes (else it takes frames of one fiber for
 * overflows of another), ThreadSanitizer the fiber (its happens-before and shadow call stack go
 * with it), valgrind the stacks' addresses. */
#include "run/run_priv.h"

#if RUN_ASAN
#include <sanitizer/common_interface_defs.h>
#endif
#if RUN_TSAN
#include <sanitizer/tsan_interface.h>
#endif
#if !RUN_ASAN && !RUN_TSAN && __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#define RUN_VALGRIND 1
#else
#define RUN_VALGRIND 0
#endif

struct transfer {
    void *fctx;
    void *data;
};

struct handover {
    struct context *from;
    struct context *to;
};

/* <boost/context/detail/fcontext.hpp>, in C. */
struct transfer jump_fcontext(void *to_fctx, void *data);
void *make_fcontext(void *stack_top, size_t stack_bytes, void (*entry)(struct transfer));

void context__of_thread(struct context *ctx)
{
    *ctx = (struct context){0};
#if RUN_ASAN
    pthread_attr_t attr;
    int err = pthread_getattr_np(pthread_self(), &attr);
    CHECK(err == 0);
    err = pthread_attr_getstack(&attr, &ctx->stack_low, &ctx->stack_bytes);
    CHECK(err == 0);
    (void)pthread_attr_destroy(&attr);
#endif
#if RUN_TSAN
    ctx->tsan_fiber = __tsan_get_current_fiber();
#endif
}

/* First thing on a new stack. */
static void trampoline(struct transfer came)
{
    struct handover *over = came.data;
    over->from->fctx = came.fctx;
    struct context *self = over->to;
#if RUN_ASAN
    __sanitizer_finish_switch_fiber(NULL, NULL, NULL);
#endif
    self->entry(self->arg);
    bool entry_returned = true;
    CHECK(!entry_returned);
}

void context__init(struct context *ctx, void *stack_low, size_t stack_bytes,
                   void (*entry)(void *arg), void *arg)
{
    CHECK(stack_low != NULL);
    *ctx = (struct context){
        .stack_low = stack_low,
        .stack_bytes = stack_bytes,
        .entry = entry,
        .arg = arg,
    };
    ctx->fctx = make_fcontext((char *)stack_low + stack_bytes, stack_bytes, trampoline);
    CHECK(ctx->fctx != NULL);
#if RUN_TSAN
    ctx->tsan_fiber = __tsan_create_fiber(0);
#endif
#if RUN_VALGRIND
    /* Never deregistered: stacks live as long as their loop. */
    (void)VALGRIND_STACK_REGISTER(stack_low, (char *)stack_low + stack_bytes);
#endif
}

void context__fini(struct context *ctx)
{
#if RUN_TSAN
    __tsan_destroy_fiber(ctx->tsan_fiber);
#endif
    ctx->tsan_fiber = NULL;
    ctx->fctx = NULL;
}

void context__switch(struct context *from, struct context *to)
{
    struct handover over = {.from = from, .to = to};
#if RUN_ASAN
    __sanitizer_start_switch_fiber(&from->asan_fake, to->stack_low, to->stack_bytes);
#endif
#if RUN_TSAN
    __tsan_switch_to_fiber(to->tsan_fiber, 0);
#endif
    struct transfer came = jump_fcontext(to->fctx, &over);
    struct handover *back = came.data;
    back->from->fctx = came.fctx;
#if RUN_ASAN
    __sanitizer_finish_switch_fiber(from->asan_fake, NULL, NULL);
#endif
}
