/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* A working directory for each test, and Varnish's own reader looking at it. */
#ifndef TESTS_UNIT_SHM_SHM_FIXTURE_H
#define TESTS_UNIT_SHM_SHM_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>
#include <vapi/vsm.h>

#include "base/mem.h"
#include "base/rng.h"
#include "shm/vsm.h"

struct workdir {
    char path[64];
    int fd;
};

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int workdir_setup(void **state)
{
    struct workdir *dir = xcalloc(1, sizeof *dir);
    (void)snprintf(dir->path, sizeof dir->path, "/tmp/objm_shm.XXXXXX");
    assert_non_null(mkdtemp(dir->path));
    dir->fd = open(dir->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(dir->fd >= 0);
    *state = dir;
    return 0;
}

static int workdir_teardown(void **state)
{
    struct workdir *dir = *state;
    (void)close(dir->fd);
    (void)nftw(dir->path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(dir);
    return 0;
}

static inline struct vsm_set *open_set(const struct workdir *dir, const char *name)
{
    struct vsm_place place = {
        .workdir_fd = dir->fd, .name = name, .uid = VSM_SAME_UID, .gid = VSM_SAME_GID};
    struct vsm_set *set = NULL;
    assert_int_equal(vsm_set_new(&place, &set), RC_OK);
    if (strcmp(name, VSM_MGT_DIR) == 0) {
        /* The reader looks at the worker's segments only when the manager has some. */
        assert_int_equal(vsm_text(set, "Arg", "-i", STR("test")), RC_OK);
    }
    return set;
}

/* Varnish's reader, attached; needs a manager's set to be there. */
static inline struct vsm *open_reader(const struct workdir *dir)
{
    struct vsm *vsm = VSM_New();
    assert_non_null(vsm);
    assert_int_equal(VSM_Arg(vsm, 'n', dir->path), 1);
    assert_int_equal(VSM_Attach(vsm, -1), 0);
    return vsm;
}

#define SHM_TEST(name) cmocka_unit_test_setup_teardown(name, workdir_setup, workdir_teardown)

#endif
