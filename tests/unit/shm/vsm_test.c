/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What the producer publishes, Varnish's reader library finds: no more, no less, in order. */
#include "shm_fixture.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/sb.h"

enum { SEGS_MAX = 40 };

struct model {
    struct vsm_seg *seg[SEGS_MAX];
    unsigned serial[SEGS_MAX];
    unsigned count;
};

/* The reader's segments of class Test must be the model's, in its order, with its contents. */
static void check_against(struct vsm *vsm, const struct model *m)
{
    unsigned i = 0;
    struct vsm_fantom vf;
    unsigned status = VSM_Status(vsm);
    assert_true(status & VSM_MGT_RUNNING);
    VSM_FOREACH(&vf, vsm)
    {
        if (strcmp(vf.class, "Test") != 0) {
            continue;
        }
        assert_true(i < m->count);
        char ident[16];
        (void)snprintf(ident, sizeof ident, "s%u", m->serial[i]);
        assert_string_equal(vf.ident, ident);
        assert_int_equal(VSM_Map(vsm, &vf), 0);
        assert_string_equal((const char *)vf.b, ident);
        assert_int_equal((size_t)((char *)vf.e - (char *)vf.b), vsm_seg_len(m->seg[i]));
        assert_int_equal(VSM_Unmap(vsm, &vf), 0);
        i++;
    }
    assert_int_equal(i, m->count);
}

static void model_add(struct vsm_set *set, struct model *m, unsigned serial, size_t bytes)
{
    char ident[16];
    (void)snprintf(ident, sizeof ident, "s%u", serial);
    struct vsm_seg *seg;
    assert_int_equal(vsm_seg_new(set, "Test", ident, bytes, &seg), RC_OK);
    strcpy(vsm_seg_ptr(seg), ident);
    assert_int_equal(vsm_seg_publish(seg), RC_OK);
    m->seg[m->count] = seg;
    m->serial[m->count++] = serial;
}

static void model_remove(struct model *m, unsigned at)
{
    vsm_seg_free(&m->seg[at]);
    assert_null(m->seg[at]);
    m->count--;
    memmove(&m->seg[at], &m->seg[at + 1], (m->count - at) * sizeof m->seg[0]);
    memmove(&m->serial[at], &m->serial[at + 1], (m->count - at) * sizeof m->serial[0]);
}

static void reader_follows_adds_and_removals(void **state)
{
    struct workdir *dir = *state;
    struct vsm_set *mgt = open_set(dir, VSM_MGT_DIR);
    struct vsm *vsm = open_reader(dir);
    struct model m = {.count = 0};
    struct rng rng = {42};
    for (unsigned step = 0; step < 400; step++) {
        bool is_add = m.count == 0 || (m.count < SEGS_MAX && rng_below(&rng, 2) == 0);
        if (is_add) {
            model_add(mgt, &m, step, 16 + rng_below(&rng, 9000));
        } else {
            model_remove(&m, (unsigned)rng_below(&rng, m.count));
        }
        /* Not after each step, so that the reader meets several changes at once, too. */
        if (rng_below(&rng, 3) == 0) {
            check_against(vsm, &m);
        }
    }
    check_against(vsm, &m);
    struct vsm *fresh = open_reader(dir);
    check_against(fresh, &m);
    VSM_Destroy(&fresh);

    /* 400 steps made 200 removals or so; written anew now and then, the index stays short. */
    struct stat st;
    assert_int_equal(fstatat(dir->fd, VSM_MGT_DIR "/_.index", &st, 0), 0);
    assert_in_range(st.st_size, 1, 80 * 60);
    VSM_Destroy(&vsm);
    vsm_set_free(&mgt, VSM_REMOVE);
    assert_int_equal(faccessat(dir->fd, VSM_MGT_DIR, F_OK, 0), -1);
}

static void unpublished_is_unseen(void **state)
{
    struct workdir *dir = *state;
    struct vsm_set *mgt = open_set(dir, VSM_MGT_DIR);
    struct vsm *vsm = open_reader(dir);
    struct vsm_seg *seg;
    assert_int_equal(vsm_seg_new(mgt, "Test", "", 1, &seg), RC_OK);
    assert_int_equal(vsm_seg_len(seg), 8);
    struct vsm_fantom vf;
    (void)VSM_Status(vsm);
    assert_int_equal(VSM_Get(vsm, &vf, "Test", NULL), 0);
    assert_int_equal(vsm_seg_publish(seg), RC_OK);
    (void)VSM_Status(vsm);
    assert_int_equal(VSM_Get(vsm, &vf, "Test", NULL), 1);
    assert_ptr_equal(VSM_StillValid(vsm, &vf), VSM_valid);
    vsm_seg_free(&seg);
    (void)VSM_Status(vsm);
    assert_ptr_equal(VSM_StillValid(vsm, &vf), VSM_invalid);
    VSM_Destroy(&vsm);
    vsm_set_free(&mgt, VSM_KEEP);
}

/* A file with holes would kill its writer when the disk has filled up meanwhile. */
static void space_is_there_from_the_start(void **state)
{
    struct workdir *dir = *state;
    struct vsm_set *mgt = open_set(dir, VSM_MGT_DIR);
    struct model m = {.count = 0};
    model_add(mgt, &m, 1, 1 << 20);
    char path[128];
    (void)snprintf(path, sizeof path, "%s/" VSM_MGT_DIR "/_.index", dir->path);
    FILE *index = fopen(path, "r");
    assert_non_null(index);
    char line[256];
    char file[64] = "";
    while (fgets(line, sizeof line, index) != NULL) {
        if (strstr(line, " Test s1") != NULL) {
            assert_int_equal(sscanf(line, "+ %63s 0 1048576 Test s1", file), 1);
        }
    }
    (void)fclose(index);
    (void)snprintf(path, sizeof path, VSM_MGT_DIR "/%s", file);
    struct stat st;
    assert_int_equal(fstatat(dir->fd, path, &st, 0), 0);
    assert_int_equal(st.st_size, 1 << 20);
    assert_true(st.st_blocks * 512 >= st.st_size);
    vsm_set_free(&mgt, VSM_REMOVE);
}

static void text_is_replaced(void **state)
{
    struct workdir *dir = *state;
    struct vsm_set *mgt = open_set(dir, VSM_MGT_DIR);
    assert_int_equal(vsm_text(mgt, "Arg", "-i", STR("first")), RC_OK);
    assert_int_equal(vsm_text(mgt, "Arg", "-T", STR("127.0.0.1 1\n")), RC_OK);
    assert_int_equal(vsm_text(mgt, "Arg", "-i", STR("second, longer than eight")), RC_OK);
    struct vsm *vsm = open_reader(dir);
    (void)VSM_Status(vsm);
    char *text = VSM_Dup(vsm, "Arg", "-i");
    assert_string_equal(text, "second, longer than eight");
    free(text);
    text = VSM_Dup(vsm, "Arg", "-T");
    assert_string_equal(text, "127.0.0.1 1\n");
    free(text);
    VSM_Destroy(&vsm);
    vsm_set_free(&mgt, VSM_REMOVE);
}

static void new_worker_is_a_new_set(void **state)
{
    struct workdir *dir = *state;
    struct vsm_set *mgt = open_set(dir, VSM_MGT_DIR);
    struct vsm *vsm = open_reader(dir);
    assert_false(VSM_Status(vsm) & VSM_WRK_RUNNING);
    struct vsm_fantom vf = VSM_FANTOM_NULL;
    for (unsigned worker = 0; worker < 3; worker++) {
        struct vsm_set *child = open_set(dir, VSM_CHILD_DIR);
        char name[2] = {(char)('a' + worker), 0};
        assert_int_equal(vsm_text(child, "Test", name, str_of(name)), RC_OK);
        unsigned status = VSM_Status(vsm);
        assert_true(status & VSM_WRK_RUNNING);
        if (worker > 0) {
            assert_ptr_equal(VSM_StillValid(vsm, &vf), VSM_invalid);
        }
        assert_int_equal(VSM_Get(vsm, &vf, "Test", NULL), 1);
        assert_string_equal(vf.ident, name);
        /* Killed, as in a crash: what it left stays readable until the next one begins. */
        vsm_set_free(&child, VSM_KEEP);
        assert_true(VSM_Status(vsm) & VSM_WRK_RUNNING);
        assert_ptr_equal(VSM_StillValid(vsm, &vf), VSM_valid);
    }
    vsm_set_free(&mgt, VSM_DROP_INDEX);
    assert_false(VSM_Status(vsm) & (VSM_MGT_RUNNING | VSM_WRK_RUNNING));
    VSM_Destroy(&vsm);
}

static void world_errors_have_codes(void **state)
{
    struct workdir *dir = *state;
    struct vsm_place place = {
        .workdir_fd = dir->fd, .name = VSM_MGT_DIR, .uid = VSM_SAME_UID, .gid = VSM_SAME_GID};
    struct vsm_set *set = NULL;
    assert_int_equal(vsm_set_open(&place, &set), RC_NOT_FOUND);
    assert_int_equal(vsm_dir_remove(&place), RC_OK);
    assert_int_equal(symlinkat("/tmp", dir->fd, VSM_MGT_DIR), 0);
    assert_int_equal(vsm_set_new(&place, &set), RC_OK); /* replaces the link, not /tmp */
    struct vsm_set *second = NULL;
    assert_int_equal(vsm_set_open(&place, &second), RC_EXISTS);
    struct vsm_seg *seg;
    static const char *const bad[] = {"a b", "a\"", "a\\", "a\n", "\x80"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_int_equal(vsm_seg_new(set, "Test", bad[i], 8, &seg), RC_INVALID);
    }
    assert_int_equal(vsm_seg_new(set, "Test", "x", 8, &seg), RC_OK);
    struct vsm_seg *twin;
    assert_int_equal(vsm_seg_new(set, "Test", "x", 8, &twin), RC_EXISTS);
    /* Who was withdrawn leaves its name, and keeps its memory. */
    assert_int_equal(vsm_seg_publish(seg), RC_OK);
    vsm_seg_withdraw(seg);
    assert_int_equal(vsm_seg_new(set, "Test", "x", 8, &twin), RC_OK);
    assert_int_equal(vsm_seg_publish(twin), RC_OK);
    memset(vsm_seg_ptr(seg), 1, 8);
    assert_int_equal(*(char *)vsm_seg_ptr(twin), 0);
    vsm_seg_withdraw(seg);
    vsm_seg_free(&seg);
    struct vsm_seg *third;
    assert_int_equal(vsm_seg_new(set, "Test", "x", 8, &third), RC_EXISTS);
    vsm_seg_free(&twin);
    vsm_set_free(&set, VSM_REMOVE);
}

static void modes_do_not_depend_on_umask(void **state)
{
    struct workdir *dir = *state;
    mode_t old = umask(0077);
    struct vsm_set *mgt = open_set(dir, VSM_MGT_DIR);
    assert_int_equal(vsm_text(mgt, "Arg", "-i", STR("x")), RC_OK);
    (void)umask(old);
    struct stat st;
    assert_int_equal(fstatat(dir->fd, VSM_MGT_DIR, &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0750);
    assert_int_equal(fstatat(dir->fd, VSM_MGT_DIR "/_.index", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    vsm_set_free(&mgt, VSM_REMOVE);
}

/* The file size limit stands for a full disk: the line is cut after five bytes. */
static void full_disk_never_leaves_half_a_line(void **state)
{
    struct workdir *dir = *state;
    struct vsm_set *mgt = open_set(dir, VSM_MGT_DIR);
    struct vsm *vsm = open_reader(dir);
    struct model m = {.count = 0};
    model_add(mgt, &m, 1, 16);
    check_against(vsm, &m);
    struct vsm_seg *seg;
    assert_int_equal(vsm_seg_new(mgt, "Test", "s2", 16, &seg), RC_OK);
    strcpy(vsm_seg_ptr(seg), "s2");

    struct stat before;
    assert_int_equal(fstatat(dir->fd, VSM_MGT_DIR "/_.index", &before, 0), 0);
    struct rlimit old;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    (void)signal(SIGXFSZ, SIG_IGN);
    struct rlimit low = {(rlim_t)before.st_size + 5, old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    enum rc rc = vsm_seg_publish(seg);
    struct vsm_seg *third = NULL;
    enum rc rc_new = vsm_seg_new(mgt, "Test", "s3", 100000, &third);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(rc, RC_NOSPACE);
    assert_int_equal(rc_new, RC_NOSPACE);

    struct stat after;
    assert_int_equal(fstatat(dir->fd, VSM_MGT_DIR "/_.index", &after, 0), 0);
    assert_int_equal(after.st_size, before.st_size);
    check_against(vsm, &m);
    assert_int_equal(vsm_seg_publish(seg), RC_OK);
    m.seg[m.count] = seg;
    m.serial[m.count++] = 2;
    check_against(vsm, &m);
    model_add(mgt, &m, 3, 16);
    check_against(vsm, &m);
    VSM_Destroy(&vsm);
    vsm_set_free(&mgt, VSM_REMOVE);
}

/* A removal that cannot be written: the entry goes with the next change. */
static void full_disk_at_a_removal(void **state)
{
    struct workdir *dir = *state;
    struct vsm_set *mgt = open_set(dir, VSM_MGT_DIR);
    struct vsm *vsm = open_reader(dir);
    struct model m = {.count = 0};
    model_add(mgt, &m, 1, 16);
    model_add(mgt, &m, 2, 16);
    check_against(vsm, &m);
    struct rlimit old;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    (void)signal(SIGXFSZ, SIG_IGN);
    struct rlimit low = {5, old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    model_remove(&m, 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    (void)VSM_Status(vsm);
    model_add(mgt, &m, 3, 16);
    check_against(vsm, &m);
    VSM_Destroy(&vsm);
    vsm_set_free(&mgt, VSM_REMOVE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SHM_TEST(reader_follows_adds_and_removals), SHM_TEST(unpublished_is_unseen),
        SHM_TEST(space_is_there_from_the_start),    SHM_TEST(text_is_replaced),
        SHM_TEST(new_worker_is_a_new_set),          SHM_TEST(world_errors_have_codes),
        SHM_TEST(modes_do_not_depend_on_umask),     SHM_TEST(full_disk_never_leaves_half_a_line),
        SHM_TEST(full_disk_at_a_removal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
