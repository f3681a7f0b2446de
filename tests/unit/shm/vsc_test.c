/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Counters, read by name with Varnish's reader library. */
#include "shm_fixture.h"

#include <vapi/vsc.h>

#include "shm/vsc.h"

struct look {
    const char *name;
    struct VSC_point point;
    uint64_t value;
    unsigned found;
    unsigned total;
};

static int look_at(void *priv, const struct VSC_point *pt)
{
    struct look *look = priv;
    look->total++;
    if (look->name != NULL && strcmp(pt->name, look->name) == 0) {
        look->point = *pt;
        look->value = VSC_Value(pt);
        look->found++;
    }
    return 0;
}

struct reader {
    struct vsm *vsm;
    struct vsc *vsc;
};

static struct look look_up(struct reader *r, const char *name)
{
    struct look look = {.name = name};
    (void)VSM_Status(r->vsm);
    assert_int_equal(VSC_Iter(r->vsc, r->vsm, look_at, &look), 0);
    return look;
}

static uint64_t value_of(struct reader *r, const char *name)
{
    struct look look = look_up(r, name);
    assert_int_equal(look.found, 1);
    return look.value;
}

static struct reader reader_of(const struct workdir *dir)
{
    struct reader r = {open_reader(dir), VSC_New()};
    assert_non_null(r.vsc);
    return r;
}

static void reader_end(struct reader *r)
{
    VSC_Destroy(&r->vsc, r->vsm);
    VSM_Destroy(&r->vsm);
}

static void every_row_is_read_by_its_name(void **state)
{
    struct workdir *dir = *state;
    static const struct {
        const struct vsc_class *class;
        const char *ident;
        const char *set;
    } all[] = {
        {&vsc_class_mgt, "MGT", VSM_MGT_DIR},
        {&vsc_class_main, "MAIN", VSM_CHILD_DIR},
        {&vsc_class_objm, "OBJM", VSM_CHILD_DIR},
        {&vsc_class_sma, "SMA.s0", VSM_CHILD_DIR},
        {&vsc_class_sma, "SMA.Transient", VSM_CHILD_DIR},
        {&vsc_class_vbe, "VBE.boot.default", VSM_CHILD_DIR},
    };
    struct vsm_set *mgt = open_set(dir, VSM_MGT_DIR);
    struct vsm_set *child = open_set(dir, VSM_CHILD_DIR);
    unsigned total = 0;
    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        struct vsm_seg *seg;
        struct vsm_set *set = strcmp(all[i].set, VSM_MGT_DIR) == 0 ? mgt : child;
        assert_int_equal(vsc_new(set, all[i].class, all[i].ident, &seg), RC_OK);
        uint64_t *counters = vsc_of(seg);
        for (uint32_t c = 0; c < all[i].class->count; c++) {
            vsc_set(&counters[c], 1000 * (i + 1) + c);
        }
        total += all[i].class->count;
    }
    struct reader r = reader_of(dir);
    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        for (uint32_t c = 0; c < all[i].class->count; c++) {
            char name[128];
            const struct vsc_counter *row = &all[i].class->counters[c];
            (void)snprintf(name, sizeof name, "%s.%s", all[i].ident, row->name);
            struct look look = look_up(&r, name);
            assert_int_equal(look.found, 1);
            assert_int_equal(look.value, 1000 * (i + 1) + c);
            assert_int_equal(look.total, total);
            assert_string_equal(look.point.sdesc, row->oneliner);
            assert_string_equal(look.point.level->name, row->level);
            assert_int_equal(look.point.semantics, row->type[0]);
            int format = strcmp(row->format, "bytes") == 0 ? 'B' : row->format[0];
            assert_int_equal(look.point.format, format);
        }
    }
    reader_end(&r);
    vsm_set_free(&child, VSM_REMOVE);
    vsm_set_free(&mgt, VSM_REMOVE);
}

static void struct_fields_are_the_named_counters(void **state)
{
    struct workdir *dir = *state;
    struct vsm_set *mgt = open_set(dir, VSM_MGT_DIR);
    struct vsm_seg *main_seg;
    struct vsm_seg *objm_seg;
    assert_int_equal(vsc_new(mgt, &vsc_class_main, "MAIN", &main_seg), RC_OK);
    assert_int_equal(vsc_new(mgt, &vsc_class_objm, "OBJM", &objm_seg), RC_OK);
    assert_int_equal(sizeof(struct vsc_main), 144 * 8);
    struct vsc_main *main_counters = vsc_of(main_seg);
    struct vsc_objm *objm = vsc_of(objm_seg);
    struct vsc_main local = {.cache_hit = 5, .n_object = (uint64_t)-1, .n_test_gunzip = 2};
    vsc_flush(&vsc_class_main, main_counters, &local);
    local.cache_hit = 2;
    vsc_flush(&vsc_class_main, main_counters, &local);
    vsc_flush(&vsc_class_main, main_counters, &local);
    vsc_add(&objm->delivery_fallback_gunzip, 3);
    vsc_sub(&objm->delivery_fallback_gunzip, 1);

    struct reader r = reader_of(dir);
    assert_int_equal(value_of(&r, "MAIN.cache_hit"), 7);
    assert_int_equal(value_of(&r, "MAIN.n_object"), 0); /* a gauge below 0 */
    assert_int_equal(value_of(&r, "MAIN.n_test_gunzip"), 2);
    assert_int_equal(value_of(&r, "OBJM.delivery.fallback_gunzip"), 2);
    local.n_object = 11;
    vsc_flush(&vsc_class_main, main_counters, &local);
    assert_int_equal(value_of(&r, "MAIN.n_object"), 10);
    reader_end(&r);
    vsm_set_free(&mgt, VSM_REMOVE);
}

static void backends_come_and_go(void **state)
{
    struct workdir *dir = *state;
    struct vsm_set *mgt = open_set(dir, VSM_MGT_DIR);
    struct vsm_set *child = open_set(dir, VSM_CHILD_DIR);
    struct reader r = reader_of(dir);
    struct vsm_seg *backend[30] = {NULL};
    struct rng rng = {7};
    unsigned live = 0;
    for (unsigned step = 0; step < 300; step++) {
        unsigned i = (unsigned)rng_below(&rng, ARRAY_SIZE(backend));
        char ident[32];
        char name[40];
        (void)snprintf(ident, sizeof ident, "VBE.v%u.b%u", i % 3, i);
        (void)snprintf(name, sizeof name, "%s.req", ident);
        if (backend[i] == NULL) {
            assert_int_equal(vsc_new(child, &vsc_class_vbe, ident, &backend[i]), RC_OK);
            struct vsc_vbe *vbe = vsc_of(backend[i]);
            vsc_add(&vbe->req, step);
            live++;
            struct vsm_seg *twin;
            assert_int_equal(vsc_new(child, &vsc_class_vbe, ident, &twin), RC_EXISTS);
            assert_int_equal(value_of(&r, name), step);
        } else {
            vsm_seg_free(&backend[i]);
            live--;
            assert_int_equal(look_up(&r, name).found, 0);
        }
        assert_int_equal(look_up(&r, NULL).total, live * vsc_class_vbe.count);
    }
    reader_end(&r);
    vsm_set_free(&child, VSM_REMOVE);
    vsm_set_free(&mgt, VSM_REMOVE);
}

static void *new_point(void *priv, const struct VSC_point *pt)
{
    (void)pt;
    ++*(int *)priv;
    return NULL;
}

static void end_point(void *priv, const struct VSC_point *pt)
{
    (void)pt;
    --*(int *)priv;
}

static void hidden_counters_are_not_listed(void **state)
{
    struct workdir *dir = *state;
    struct vsm_set *mgt = open_set(dir, VSM_MGT_DIR);
    struct vsm_seg *seg;
    assert_int_equal(vsc_new(mgt, &vsc_class_vbe, "VBE.a.b", &seg), RC_OK);
    struct reader r = reader_of(dir);
    int shown = 0;
    VSC_State(r.vsc, new_point, end_point, &shown);
    (void)look_up(&r, NULL);
    assert_int_equal(shown, vsc_class_vbe.count);
    vsc_show(seg, false);
    (void)look_up(&r, NULL);
    assert_int_equal(shown, 0);
    vsc_show(seg, true);
    (void)look_up(&r, NULL);
    assert_int_equal(shown, vsc_class_vbe.count);
    VSC_State(r.vsc, NULL, NULL, NULL);
    reader_end(&r);
    vsm_set_free(&mgt, VSM_REMOVE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SHM_TEST(every_row_is_read_by_its_name),
        SHM_TEST(struct_fields_are_the_named_counters),
        SHM_TEST(backends_come_and_go),
        SHM_TEST(hidden_counters_are_not_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
