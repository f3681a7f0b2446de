/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* A worker's last words.  A failed check or a fault writes a report into memory that the manager
 * shares, and then dies by the same signal as it would have without us: exit status and core file
 * tell the truth.
 *
 * Only the first report counts: what comes after it is a consequence.  The handler runs on a stack
 * of its own, since the fault may be that a fiber's stack is used up. */
#include <execinfo.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/sb.h"
#include "worker/worker_priv.h"

#define FRAMES_MAX 40
#define ALT_STACK_BYTES ((size_t)64 << 10)

static const int fault_signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};

/* Handlers take no argument, so this is one of the few globals: set once, before any thread. */
static struct panic_area *area;
static atomic_flag is_reported = ATOMIC_FLAG_INIT;
static _Thread_local void *alt_stack;

static void put_backtrace(struct sb *sb)
{
    void *frames[FRAMES_MAX];
    int count = backtrace(frames, FRAMES_MAX);
    sb_lit(sb, "Backtrace:\n");
    for (int i = 0; i < count; i++) {
        sb_lit(sb, "  0x");
        sb_hex(sb, (uint64_t)(uintptr_t)frames[i]);
        sb_chr(sb, '\n');
    }
}

static void report(struct str what)
{
    if (atomic_flag_test_and_set(&is_reported)) {
        return;
    }
    struct sb sb = sb_of(area->text, sizeof area->text);
    sb_lit(&sb, "Panic at: ");
    sb_seconds(&sb, clock_real_ns());
    sb_lit(&sb, "\n");
    sb_put(&sb, what);
    sb_lit(&sb, "\nprocess = ");
    sb_u64(&sb, (uint64_t)getpid());
    sb_lit(&sb, "\nat work = ");
    run_describe_self(&sb);
    sb_lit(&sb, "\n");
    put_backtrace(&sb);
    atomic_store_explicit(&area->len, (uint32_t)sb.len, memory_order_release);
    (void)!write(STDERR_FILENO, sb.ptr, sb.len);
}

static void on_check(const char *file, int line, const char *func, const char *cond)
{
    char text[512];
    int len =
        snprintf(text, sizeof text, "Assert error in %s(), %s line %d:\n  Condition(%s) not true.",
                 func, file, line, cond);
    report((struct str){text, len < 0 ? 0 : (size_t)len % sizeof text});
}

static void on_fault(int signo, siginfo_t *info, void *context)
{
    (void)context;
    char text[128];
    struct sb sb = sb_of(text, sizeof text);
    sb_lit(&sb, "Signal ");
    sb_u64(&sb, (uint64_t)signo);
    sb_lit(&sb, " (");
    const char *name = sigabbrev_np(signo);
    sb_put(&sb, str_of(name == NULL ? "?" : name));
    sb_lit(&sb, ") received at 0x");
    sb_hex(&sb, (uint64_t)(uintptr_t)info->si_addr);
    sb_lit(&sb, " si_code ");
    sb_u64(&sb, (uint64_t)(unsigned)info->si_code);
    report(sb_str(&sb));
    if (signo != SIGABRT) {
        stv_note_fault(fiber_subject());
    }
    /* SA_RESETHAND: the signal, raised again, now has its usual effect. */
    raise(signo);
}

void panic__install(struct panic_area *panic_area, bool catches_faults)
{
    CHECK(panic_area != NULL);
    area = panic_area;
    check_set_report(on_check);
    if (!catches_faults) {
        return;
    }
    /* The first call of backtrace loads a library: not in a handler. */
    void *frame[1];
    (void)backtrace(frame, 1);
    struct sigaction sa = {.sa_sigaction = on_fault,
                           .sa_flags = SA_SIGINFO | SA_ONSTACK | (int)SA_RESETHAND | SA_NODEFER};
    sigemptyset(&sa.sa_mask);
    for (size_t i = 0; i < ARRAY_SIZE(fault_signals); i++) {
        int err = sigaction(fault_signals[i], &sa, NULL);
        CHECK(err == 0);
    }
}

void panic__thread_start(void)
{
    alt_stack = malloc(ALT_STACK_BYTES);
    CHECK(alt_stack != NULL);
    const stack_t ss = {.ss_sp = alt_stack, .ss_size = ALT_STACK_BYTES};
    int err = sigaltstack(&ss, NULL);
    CHECK(err == 0);
}

void panic__thread_stop(void)
{
    const stack_t off = {.ss_flags = SS_DISABLE};
    int err = sigaltstack(&off, NULL);
    CHECK(err == 0);
    free(alt_stack);
    alt_stack = NULL;
}
