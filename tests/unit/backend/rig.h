/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Backends on running loops, with counters and a log in a directory of their own, and somebody who
 * listens. */
#ifndef TESTS_UNIT_BACKEND_RIG_H
#define TESTS_UNIT_BACKEND_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "backend/backend.h"
#include "shm/vsc.h"
#include "shm/vsl.h"

struct rig {
    char path[64];
    int dir_fd;
    struct vsm_set *shm;
    struct vsm_seg *main_seg;
    struct vsm_seg *objm_seg;
    struct vsc_main *main;
    struct vsc_objm *objm;
    struct params params;
    struct vsl *log;
    struct run *run;
    struct backends *set;
    /* A listening socket; connections complete without anybody who accepts them. */
    int listen_fd;
    char port[8];
};

void rig_open(struct rig *rig, unsigned loops);
void rig_close(struct rig *rig);
/* A spec of the listener; change what the test is about. */
struct backend_spec rig_spec(const struct rig *rig);
/* Made on this thread. */
struct backend *rig_backend(struct rig *rig, const struct backend_spec *spec);
/* Accepts one connection, blocking. */
int rig_accept(const struct rig *rig);

/* Runs fn(arg) on a fiber of the loop and returns when it has returned. */
void rig_on(struct rig *rig, unsigned loop, fiber_fn *fn, void *arg);
/* Starts it and returns; rig_join waits. */
struct rig_task;
struct rig_task *rig_start(struct rig *rig, unsigned loop, fiber_fn *fn, void *arg);
void rig_join(struct rig_task *task);

#endif
