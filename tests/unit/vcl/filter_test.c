/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* add_vfp and the like reach the host as they were written, in the order in which they ran; and the
 * tables of modules' filters are checked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/mem.h"
#include "filter/notation.h"
#include "vcl/filters.h"
#include "vcl/modules.h"
#include "vcl/vcl.h"

enum { WS_BYTES = 64 << 10 };

/* What the host was told, one word each: "+gzip@FRONT". */
struct told {
    char text[512];
    struct sb sb;
    const void *arg;
    unsigned room; /* for how many more */
};

static bool host_add(struct vcl_task *task, enum filter_side side, const struct plan_want *want)
{
    struct told *told = task->arg;
    sb_printf(&told->sb, " +%.*s@%.*s", STR_ARG(want->filter->name),
              STR_ARG(filter_pos_name(side, want->pos)));
    told->arg = want->arg;
    return told->room-- > 0;
}

static bool host_remove(struct vcl_task *task, enum filter_side side, struct str name)
{
    struct told *told = task->arg;
    (void)side;
    sb_printf(&told->sb, " -%.*s", STR_ARG(name));
    return true;
}

static bool host_get(struct vcl_task *task, enum vcl_var var, union objm_value *value)
{
    (void)task;
    (void)var;
    *value = (union objm_value){0};
    return true;
}

static struct http *host_http(struct vcl_task *task, enum objm_http which)
{
    (void)task;
    (void)which;
    return NULL;
}

static const struct vcl_host host = {
    .http = host_http, .get = host_get, .add_filter = host_add, .remove_filter = host_remove};

/* Runs a sub of "vcl 4.1; backend default none;" and this; what the host was told. */
static enum vcl_return run(const char *text, enum vcl_sub sub, struct told *told)
{
    char *whole = xasprintf("vcl 4.1; backend default none; %s", text);
    struct str str = str_of(whole);
    struct vcl_program *prog = NULL;
    struct vcl *vcl = NULL;
    char *messages = NULL;
    char *more = NULL;
    char *block = xmalloc(WS_BYTES);
    struct arena ws;
    const struct vcl_conf conf = {.unsafe_path = true};
    arena_init(&ws, block, WS_BYTES);
    const struct vcl_env env = {.host = &host, .ws = &ws};
    assert_int_equal(vcl_compile(&conf, "test", &str, &prog, &messages), RC_OK);
    assert_int_equal(vcl_load(prog, "test", &env, &vcl, &more), RC_OK);
    struct vcl_task task = {.host = &host, .arg = told, .vcl = vcl, .ws = &ws};
    told->sb = sb_of(told->text, sizeof(told->text) - 1);
    enum vcl_return said = vcl_run(&task, sub);
    told->text[told->sb.len] = '\0';
    vcl_task_end(&task);
    vcl_unload(&vcl);
    vcl_program_release(&prog);
    free(more);
    free(messages);
    free(block);
    free(whole);
    return said;
}

static void the_host_is_told_in_order(void **state)
{
    (void)state;
    struct told told = {.room = 9};
    assert_int_equal(run("sub more { add_vfp(brotli, FRONT); }"
                         "sub vcl_backend_response { add_vfp(esi); call more; "
                         "add_vfp(gzip, STEVEDORE); remove_vfp(esi); return (deliver); }",
                         VCL_SUB_BACKEND_RESPONSE, &told),
                     VCL_RET_DELIVER);
    assert_string_equal(told.text, " +esi@DEFAULT +brotli@FRONT +gzip@STEVEDORE -esi");
    assert_int_equal(run("sub vcl_deliver { add_vdp(brotli, OBJECT); remove_vdp(gunzip); "
                         "return (deliver); }",
                         VCL_SUB_DELIVER, &told),
                     VCL_RET_DELIVER);
    assert_string_equal(told.text, " +brotli@OBJECT -gunzip");
}

static void too_many_filters_fail_the_task(void **state)
{
    (void)state;
    struct told told = {.room = 1};
    assert_int_equal(run("sub vcl_backend_response { add_vfp(esi); add_vfp(gzip); add_vfp(zstd); "
                         "return (deliver); }",
                         VCL_SUB_BACKEND_RESPONSE, &told),
                     VCL_RET_FAIL);
    assert_string_equal(told.text, " +esi@DEFAULT +gzip@DEFAULT");
}

/* ---- tables ---- */

static enum objm_filter_rc step(void *self, struct objm_filter_io *io)
{
    (void)self;
    (void)io;
    return OBJM_FILTER_END;
}

#define GOOD .name = "mine", .in = "text", .out = "text", .flags = OBJM_FILTER_IS_VFP, .step = step

static void tables_of_filters_are_checked(void **state)
{
    (void)state;
    static const struct objm_filter filters[] = {
        {GOOD},
        {.name = NULL},
        {.name = "a b"},
        {.name = "x", .in = "text", .out = "", .flags = OBJM_FILTER_IS_VFP, .step = step},
        {.name = "x", .in = "a,,b", .out = "a", .flags = OBJM_FILTER_IS_VFP, .step = step},
        {.name = "x", .in = "a", .out = "b", .step = step},
        {.name = "x", .in = "a", .out = "b", .flags = OBJM_FILTER_IS_VDP},
        {.name = "x",
         .in = "a",
         .out = "b",
         .flags = OBJM_FILTER_IS_VDP,
         .step = step,
         .bytes = 1 << 30},
    };
    static const char *const faults[] = {
        NULL,
        "a filter has no name\n",
        "a filter has no name\n",
        "filter x has a list of formats that is none\n",
        "filter x has a list of formats that is none\n",
        "filter x is for neither side of the cache\n",
        "filter x has no code\n",
        "filter x has a state that is too large\n",
    };
    for (size_t n = 0; n < ARRAY_SIZE(filters); n++) {
        const struct objm_filter *list[] = {&filters[n]};
        struct objm_module module = {OBJM_ABI, .name = "m", OBJM_FILTERS(list)};
        char text[128];
        struct sb why = sb_of(text, sizeof text - 1);
        assert_int_equal(vcl_module_check(&module, &why), n == 0 ? RC_OK : RC_INVALID);
        text[why.len] = '\0';
        assert_string_equal(text, n == 0 ? "" : faults[n]);
        /* A table of the version before has no such fields. */
        module.abi_minor = 0;
        assert_int_equal(vcl_module_check(&module, &why), RC_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_host_is_told_in_order),
        cmocka_unit_test(too_many_filters_fail_the_task),
        cmocka_unit_test(tables_of_filters_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
