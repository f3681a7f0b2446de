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

#endif
