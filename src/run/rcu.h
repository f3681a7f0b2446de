/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Userspace RCU (QSBR flavour) for the threads of loops: each loop registers itself, is quiescent
 * at the end of every tick and offline while it waits.  So a pointer found under RCU is good until
 * the fiber suspends, and not longer.  Threads of loops never call synchronize_rcu; they free with
 * call_rcu.  Offload threads are registered and offline: a job that reads says rcu_thread_online
 * before and rcu_thread_offline after, and does not block in between.  Other threads that read must
 * register, and go offline before they block. */
#ifndef RUN_RCU_H
#define RUN_RCU_H

/* The flavour's header has to come before the table's. */
#include <urcu-qsbr.h>
#include <urcu/rculfhash.h>

/* ThreadSanitizer does not see grace periods.  So readers say when they are done (loops do, each
 * tick), and a callback of call_rcu begins with saying that it comes after them. */
#if defined(__SANITIZE_THREAD__)
#define RCU_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RCU_TSAN 1
#endif
#endif
#ifdef RCU_TSAN
#include <stdint.h>
void __tsan_acquire(void *addr);
void __tsan_release(void *addr);
extern const char rcu_grace; /* stands for all grace periods */
#define RCU_READER_DONE() __tsan_release((void *)(uintptr_t)&rcu_grace)
#define RCU_AFTER_READERS() __tsan_acquire((void *)(uintptr_t)&rcu_grace)
#else
#define RCU_READER_DONE() (void)0
#define RCU_AFTER_READERS() (void)0
#endif

#endif
