/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* A worker dies at every numbered store while a body changes hands: what its successor finds is
 * right, and at most one object has the body. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <unistd.h>

#include "model.h"
#include "store/mem_priv.h"
#include "store/vault_priv.h"

enum { OLD = 1, HEIR = 2 };
#define BODY_BYTES KIB(300)

struct left {
    int cat, slab, body;
    uint64_t body_id;
};

/* At the step that is to be the last, what the vault holds is what is left. */
struct death {
    struct mem *m;
    unsigned at, steps;
    char *cat_copy, *slab_copy;
    size_t cat_bytes, slab_bytes;
};

static char *copy_of(int fd, size_t *bytes)
{
    *bytes = (size_t)lseek(fd, 0, SEEK_END);
    char *copy = malloc(*bytes);
    assert_int_equal(pread(fd, copy, *bytes, 0), *bytes);
    return copy;
}

static void count(void *arg)
{
    struct death *d = arg;
    if (d->m != NULL && ++d->steps == d->at) {
        d->cat_copy = copy_of(d->m->cat.fd, &d->cat_bytes);
        d->slab_copy = copy_of(d->m->slabs.fd, &d->slab_bytes);
    }
}

static struct stv_obj *make(struct stevedore *stv, uint64_t revision)
{
    struct rng rng = {.state = revision};
    struct stv_obj *obj = NULL;
    assert_int_equal(model_fetch(stv, &rng, 1, OLD, BODY_BYTES, 0, &obj), RC_OK);
    struct stv_record record = model_record(1, revision);
    assert_int_equal(model_final(obj, 1, 100, &record), RC_OK);
    return obj;
}

/* The successor, from copies of what lay there at that moment. */
struct found {
    unsigned count;
    uint64_t revision;
};

static bool take(void *arg, const struct stv_found *f)
{
    struct found *found = arg;
    found->count++;
    found->revision = f->record.revision;
    assert_int_equal(f->body_len, BODY_BYTES);
    assert_int_equal(stv_verify(f->obj), RC_OK);
    struct stv_lease lease;
    assert_int_equal(stv_ref(f->obj, 0, true, &lease), RC_OK);
    assert_true(model_is(1, OLD, 0, lease.ptr, BODY_BYTES));
    stv_rel(&lease);
    return false;
}

static int file_of(const char *bytes, size_t len, int like)
{
    int fd = dup(like);
    assert_int_equal(pwrite(fd, bytes, len, 0), len);
    return fd;
}

static struct found succeed(const struct left *left, struct death *d)
{
    struct vault_link *link = vault_link__alone();
    vault_link__inherit(link, "s0", VAULT_CATALOG, 0,
                        file_of(d->cat_copy, d->cat_bytes, left->cat));
    vault_link__inherit(link, "s0", VAULT_SLAB, 0,
                        file_of(d->slab_copy, d->slab_bytes, left->slab));
    vault_link__inherit(link, "s0", VAULT_BODY, left->body_id, dup(left->body));
    struct stv_conf conf = {.name = "s0", .kind = STV_MEMORY, .bytes = MIB(8), .vault = link};
    struct stevedore *stv = NULL;
    assert_int_equal(stv_open(&conf, &stv), RC_OK);
    struct found found = {0};
    stv_resurrect(stv, take, &found);
    stv_close(&stv);
    vault_link_free(&link);
    return found;
}

/* Returns false when there is no such step. */
static bool die_at(unsigned at)
{
    struct left left = {0};
    struct death d = {.at = at};
    struct stv_seam seam = {.step = count, .arg = &d};
    struct vault_link *link = vault_link__alone();
    struct stv_conf conf = {
        .name = "s0", .kind = STV_MEMORY, .bytes = MIB(8), .vault = link, .seam = &seam};
    struct stevedore *stv = NULL;
    assert_int_equal(stv_open(&conf, &stv), RC_OK);
    struct stv_obj *old = make(stv, OLD);
    d.m = mem_of(stv);
    struct mem_file *f = mem_file_of(mem_obj_of(old)->body);
    left = (struct left){dup(d.m->cat.fd), dup(d.m->slabs.fd), dup(f->fd), f->id};

    struct stv_obj *heir = NULL;
    assert_int_equal(stv_newobj(stv, 0, &heir), RC_OK);
    assert_int_equal(stv_adopt(heir, old), RC_OK);
    struct stv_record record = model_record(1, HEIR);
    assert_int_equal(model_final(heir, 1, 100, &record), RC_OK);
    unsigned steps = d.steps;
    stv_dead(old);
    stv_deleteobj(&old);
    assert_int_equal(stv_body_len(heir), BODY_BYTES);
    if (d.cat_copy == NULL) {
        d.cat_copy = copy_of(d.m->cat.fd, &d.cat_bytes);
        d.slab_copy = copy_of(d.m->slabs.fd, &d.slab_bytes);
    }
    bool is_last = at > steps;
    stv_close(&stv);
    vault_link_free(&link);
    struct found found = succeed(&left, &d);
    assert_true(found.count <= 1);
    if (is_last) {
        assert_int_equal(found.count, 1);
        assert_int_equal(found.revision, HEIR);
    }
    free(d.cat_copy);
    free(d.slab_copy);
    close(left.cat);
    close(left.slab);
    close(left.body);
    return !is_last;
}

static void killed_at_every_step(void **state)
{
    (void)state;
    unsigned at = 1;
    while (die_at(at)) {
        at++;
    }
    assert_true(at > 3);
}

/* What a reader holds stays, and the file is counted once. */
static void one_file_many_owners(void **state)
{
    (void)state;
    struct stv_conf conf = {.name = "s0", .kind = STV_MEMORY, .bytes = MIB(8)};
    struct stevedore *stv = NULL;
    assert_int_equal(stv_open(&conf, &stv), RC_OK);
    struct stv_obj *old = make(stv, OLD);
    struct stv_lease lease;
    assert_int_equal(stv_ref(old, 0, true, &lease), RC_OK);
    struct stv_stats before;
    stv_stat(stv, &before);
    for (unsigned i = 0; i < 20; i++) {
        struct stv_obj *heir = NULL;
        assert_int_equal(stv_newobj(stv, 0, &heir), RC_OK);
        assert_int_equal(stv_adopt(heir, old), RC_OK);
        struct stv_record record = model_record(1, HEIR + i);
        assert_int_equal(model_final(heir, 1, 100, &record), RC_OK);
        stv_dead(old);
        stv_deleteobj(&old);
        old = heir;
    }
    struct stv_stats after;
    stv_stat(stv, &after);
    assert_int_equal(after.files, 1);
    assert_int_equal(after.objects, 1);
    assert_true(after.bytes_used < before.bytes_used + KIB(64));
    stv_dead(old);
    stv_deleteobj(&old);
    assert_true(model_is(1, OLD, 0, lease.ptr, BODY_BYTES));
    stv_rel(&lease);
    stv_stat(stv, &after);
    assert_int_equal(after.files, 0);
    assert_int_equal(after.bytes_lent, 0);
    stv_close(&stv);
}

static void small_bodies_are_not_shared(void **state)
{
    (void)state;
    struct stv_conf conf = {.name = "s0", .kind = STV_MEMORY, .bytes = MIB(8)};
    struct stevedore *stv = NULL;
    assert_int_equal(stv_open(&conf, &stv), RC_OK);
    struct rng rng = {.state = 1};
    struct stv_obj *old = NULL;
    assert_int_equal(model_fetch(stv, &rng, 1, OLD, 100, 0, &old), RC_OK);
    struct stv_record record = model_record(1, OLD);
    assert_int_equal(model_final(old, 1, 100, &record), RC_OK);
    struct stv_obj *heir = NULL;
    assert_int_equal(stv_newobj(stv, 0, &heir), RC_OK);
    assert_int_equal(stv_adopt(heir, old), RC_UNSUPPORTED);
    stv_deleteobj(&heir);
    stv_dead(old);
    stv_deleteobj(&old);
    stv_close(&stv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_at_every_step),
        cmocka_unit_test(one_file_many_owners),
        cmocka_unit_test(small_bodies_are_not_shared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
