/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
#include "rig.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/sema.h"

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void stop_loop(struct loop *loop, void *arg)
{
    struct rig *rig = arg;
    backends_loop_stop(rig->set, loop);
}

static void open_shm(struct rig *rig)
{
    (void)snprintf(rig->path, sizeof rig->path, "/tmp/objm_backend.XXXXXX");
    assert_non_null(mkdtemp(rig->path));
    rig->dir_fd = open(rig->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(rig->dir_fd >= 0);
    const struct vsm_place place = {
        .workdir_fd = rig->dir_fd, .name = VSM_CHILD_DIR, .uid = VSM_SAME_UID, .gid = VSM_SAME_GID};
    assert_int_equal(vsm_set_new(&place, &rig->shm), RC_OK);
    assert_int_equal(vsc_new(rig->shm, &vsc_class_main, "MAIN", &rig->main_seg), RC_OK);
    assert_int_equal(vsc_new(rig->shm, &vsc_class_objm, "OBJM", &rig->objm_seg), RC_OK);
    rig->main = vsc_of(rig->main_seg);
    rig->objm = vsc_of(rig->objm_seg);
    assert_int_equal(vsl_new(rig->shm, VSL_BYTES_MIN, &rig->params, NULL, &rig->log), RC_OK);
}

static void open_listener(struct rig *rig)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof sa;
    rig->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(rig->listen_fd >= 0);
    assert_int_equal(bind(rig->listen_fd, (struct sockaddr *)&sa, len), 0);
    assert_int_equal(listen(rig->listen_fd, 512), 0);
    assert_int_equal(getsockname(rig->listen_fd, (struct sockaddr *)&sa, &len), 0);
    (void)snprintf(rig->port, sizeof rig->port, "%u", (unsigned)ntohs(sa.sin_port));
}

void rig_open(struct rig *rig, unsigned loops)
{
    *rig = (struct rig){.dir_fd = -1};
    /* On threads that it does not know, cmocka swallows its message unless it may abort. */
    int err = setenv("CMOCKA_TEST_ABORT", "1", 1);
    CHECK(err == 0);
    param_defaults(&rig->params);
    open_shm(rig);
    open_listener(rig);
    const struct run_conf conf = {.loops = loops,
                                  .offload_threads = 1,
                                  .fibers_max = 1024,
                                  .on_stop = stop_loop,
                                  .hook_arg = rig};
    rig->run = run_new(&conf);
    const struct backends_conf set_conf = {.run = rig->run,
                                           .params = &rig->params,
                                           .shm = rig->shm,
                                           .log = rig->log,
                                           .main = rig->main,
                                           .objm = rig->objm};
    rig->set = backends_new(&set_conf);
    assert_int_equal(run_start(rig->run), RC_OK);
}

void rig_close(struct rig *rig)
{
    run_stop(rig->run);
    backends_free(&rig->set);
    run_free(&rig->run);
    assert_int_equal(vsc_get(&rig->main->n_backend), 0);
    (void)close(rig->listen_fd);
    vsl_free(&rig->log);
    vsm_set_free(&rig->shm, VSM_REMOVE);
    (void)close(rig->dir_fd);
    (void)nftw(rig->path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

struct backend_spec rig_spec(const struct rig *rig)
{
    return (struct backend_spec){
        .vcl = "boot", .name = "one", .host = "127.0.0.1", .port = rig->port};
}

struct backend *rig_backend(struct rig *rig, const struct backend_spec *spec)
{
    struct backend *b = NULL;
    assert_int_equal(backend_new(rig->set, spec, &b), RC_OK);
    backend_warm(b);
    return b;
}

int rig_accept(const struct rig *rig)
{
    int fd = accept4(rig->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    CHECK(fd >= 0);
    return fd;
}

struct rig_task {
    struct post post;
    fiber_fn *fn;
    void *arg;
    sem_t ended;
};

static void body(void *arg)
{
    struct rig_task *task = arg;
    task->fn(task->arg);
    sema_post(&task->ended);
}

static void begin(struct post *post, struct loop *loop)
{
    (void)loop;
    enum rc rc = fiber_start(body, CONTAINER_OF(post, struct rig_task, post), "test");
    CHECK(rc == RC_OK);
}

struct rig_task *rig_start(struct rig *rig, unsigned loop, fiber_fn *fn, void *arg)
{
    struct rig_task *task = xcalloc(1, sizeof *task);
    *task = (struct rig_task){.post.fn = begin, .fn = fn, .arg = arg};
    sema_init(&task->ended);
    loop_post(run_loop(rig->run, loop), &task->post);
    return task;
}

void rig_join(struct rig_task *task)
{
    sema_wait(&task->ended);
    sema_fini(&task->ended);
    free(task);
}

void rig_on(struct rig *rig, unsigned loop, fiber_fn *fn, void *arg)
{
    rig_join(rig_start(rig, loop, fn, arg));
}
