/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Loads modules that tests/modules/example.py has built against installed headers; without them
 * there is nothing to do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <unistd.h>

#include "fake_ctx.h"
#include "vcl/filters.h"
#include "vcl/modules.h"
#include "vcl/vcl.h"

static char folder_file[512];

static const char *built(const char *name)
{
    (void)snprintf(folder_file, sizeof folder_file, "%s/%s", getenv("OBJM_TEST_MODULES"), name);
    return folder_file;
}

static void the_example_works(void **state)
{
    (void)state;
    struct vcl_module_file *file;
    char buf[512];
    struct sb why = sb_of(buf, sizeof buf - 1);
    assert_int_equal(vcl_module_open(STR("example"), built("libvmod_example.so"), &file, &why),
                     RC_OK);
    const struct objm_module *m = vcl_module_table(file);
    struct fake *f = fake_new();
    union objm_value args[2] = {{.string = {"you", 3}}};
    struct objm_str text = fake_call(f, fake_func(m, "greet"), NULL, args, 1).string;
    assert_int_equal(text.len, 11);
    assert_memory_equal(text.ptr, "Hello, you!", 11);
    assert_int_equal(fake_call(f, fake_func(m, "first"), NULL, args, 1).string.len, 3);
    args[0].string = (struct objm_str){"other", 5};
    assert_int_equal(fake_call(f, fake_func(m, "first"), NULL, args, 1).string.len, 3);
    args[0].integer = 10;
    args[1].choice = 1;
    assert_int_equal(fake_call(f, fake_func(m, "half"), NULL, args, 3).integer, 5);
    args[0].integer = 7;
    (void)fake_call(f, fake_func(m, "half"), NULL, args, 3);
    assert_string_equal(f->failed, "example.half(): the number cannot be divided");
    const struct objm_object *counter = fake_object(m, "counter");
    args[0].integer = 5;
    void *self = fake_object_new(f, counter, "c", args, 1);
    assert_int_equal(fake_call(f, fake_method(counter, "next"), self, NULL, 0).integer, 5);
    assert_int_equal(fake_call(f, fake_method(counter, "next"), self, NULL, 0).integer, 6);
    counter->fini(&f->ctx, self);
    fake_free(&f);
    vcl_module_close(&file);
}

/* What a codec makes of this text, given and taken in pieces of these sizes. */
static enum rc run_codec(const struct filter *filter, const void *arg, const char *text, size_t in,
                         size_t room, char *out)
{
    struct filter_notes notes = {0};
    const struct filter_env env = {
        .filter = filter, .arg = arg, .notes = &notes, .body_len = SIZE_MAX};
    void *self = calloc(1, filter->codec->bytes);
    size_t left = strlen(text);
    enum rc rc = filter->codec->begin(self, &env);
    while (rc == RC_OK) {
        size_t piece = left < in ? left : in;
        struct codec_io io = {
            .in = text, .in_len = piece, .is_end = piece == left, .out = out, .room = room};
        rc = filter->codec->step(self, &io);
        text = io.in;
        left -= piece - io.in_len;
        out = io.out;
    }
    filter->codec->end(self);
    free(self);
    *out = '\0';
    return rc;
}

static struct vcl_program *import(void)
{
    char text[1024];
    (void)snprintf(text, sizeof text, "vcl 4.1; import example from \"%s\"; backend b none;",
                   built("libvmod_example.so"));
    const struct vcl_conf conf = {.unsafe_path = true};
    struct str str = str_of(text);
    struct vcl_program *prog = NULL;
    char *messages = NULL;
    assert_int_equal(vcl_compile(&conf, "test", &str, &prog, &messages), RC_OK);
    free(messages);
    return prog;
}

static void its_filters_work(void **state)
{
    (void)state;
    struct vcl_program *prog = import();
    static char block[4096];
    struct arena ws;
    arena_init(&ws, block, sizeof block);
    const struct vcl_env env = {.ws = &ws};
    struct vcl *vcl = NULL;
    char *messages = NULL;
    char out[64];
    assert_int_equal(vcl_load(prog, "test", &env, &vcl, &messages), RC_OK);
    const struct filter *upper = vcl_filter_find(vcl, FILTER_VFP, STR("upper"));
    const struct filter *mask = vcl_filter_find(vcl, FILTER_VDP, STR("mask"));
    const struct objm_str word = OBJM_STR("secret");
    for (size_t in = 1; in < 9; in++) {
        for (size_t room = 1; room < 9; room++) {
            assert_int_equal(run_codec(upper, NULL, "Hello you", in, room, out), RC_EOF);
            assert_string_equal(out, "HELLO YOU");
            assert_int_equal(run_codec(mask, &word, "a secret, sec secret", in, room, out), RC_EOF);
            assert_string_equal(out, "a ******, sec ******");
            assert_int_equal(run_codec(mask, &word, "at the end sec", in, room, out), RC_EOF);
            assert_string_equal(out, "at the end sec");
        }
    }
    assert_int_equal(run_codec(mask, NULL, "x", 1, 1, out), RC_INVALID);
    assert_null(vcl_filter_find(vcl, FILTER_VDP, STR("unrot13")));
    assert_true((upper->flags & FILTER_WEAKENS_ETAG) != 0);
    const struct vcl_filters *known = vcl_filters_of(vcl, FILTER_VFP);
    assert_int_equal(known->named_count, 3);
    assert_true(str_eq(known->fills[known->fills_count - 1]->name, STR("unrot13")));
    vcl_unload(&vcl);
    vcl_program_release(&prog);
    free(messages);
}

/* Each has a constructor that leaves a file behind. */
static void others_are_refused_before_they_run(void **state)
{
    (void)state;
    static const struct {
        const char *file, *text;
    } rows[] = {
        {"newer.so", "VMOD wants ABI version 1.99"},
        {"other.so", "VMOD wants ABI version 99."},
        {"none.so", "It is no module of objmapper (it has no version note)."},
        {"missing.so", "undefined symbol: no_such_function"},
    };
    for (size_t n = 0; n < ARRAY_SIZE(rows); n++) {
        struct vcl_module_file *file;
        char buf[1024];
        struct sb why = sb_of(buf, sizeof buf - 1);
        assert_int_equal(vcl_module_open(STR("example"), built(rows[n].file), &file, &why),
                         RC_INVALID);
        buf[why.len] = '\0';
        if (strstr(buf, rows[n].text) == NULL) {
            fail_msg("%s says: %s", rows[n].file, buf);
        }
        assert_int_not_equal(access(built("it_ran"), F_OK), 0);
    }
}

static void a_file_must_hold_what_it_is_named_for(void **state)
{
    (void)state;
    struct vcl_module_file *file;
    char buf[512];
    struct sb why = sb_of(buf, sizeof buf - 1);
    assert_int_equal(vcl_module_open(STR("wrong"), built("libvmod_example.so"), &file, &why),
                     RC_INVALID);
    buf[why.len] = '\0';
    assert_non_null(strstr(buf, "Contains vmod \"example\""));
}

static void files_are_found_along_the_path(void **state)
{
    (void)state;
    char path[600];
    char buf[600];
    (void)snprintf(path, sizeof path, "/nowhere:%s", getenv("OBJM_TEST_MODULES"));
    struct sb file = sb_of(buf, sizeof buf);
    assert_int_equal(vcl_module_locate(STR("example"), NULL, path, &file), RC_OK);
    assert_string_equal(buf, built("libvmod_example.so"));
    assert_int_equal(vcl_module_locate(STR("x"), "newer.so", path, &file), RC_OK);
    assert_string_equal(buf, built("newer.so"));
    assert_int_equal(vcl_module_locate(STR("nosuch"), NULL, path, &file), RC_NOT_FOUND);
}

int main(void)
{
    if (getenv("OBJM_TEST_MODULES") == NULL) {
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_works),
        cmocka_unit_test(its_filters_work),
        cmocka_unit_test(others_are_refused_before_they_run),
        cmocka_unit_test(a_file_must_hold_what_it_is_named_for),
        cmocka_unit_test(files_are_found_along_the_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
