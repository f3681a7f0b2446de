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
#include "vcl/modules.h"

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

/* Each has a constructor that leaves a file behind. */
static void others_are_refused_before_they_run(void **state)
{
    (void)state;
    static const struct {
        const char *file, *text;
    } rows[] = {
        {"newer.so", "VMOD wants ABI version 1.99"},
        {"other.so", "VMOD wants ABI version 99.0"},
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
        assert_non_null(strstr(buf, rows[n].text));
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
        cmocka_unit_test(others_are_refused_before_they_run),
        cmocka_unit_test(a_file_must_hold_what_it_is_named_for),
        cmocka_unit_test(files_are_found_along_the_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
