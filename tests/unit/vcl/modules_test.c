/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <elf.h>
#include <string.h>

#include "base/str.h"
#include "vcl/modules.h"

static void built_in_tables_keep_the_rules(void **state)
{
    (void)state;
    unsigned count = 0;
    for (const struct objm_module *m; (m = vcl_module_nth(count)) != NULL; count++) {
        char buf[256];
        struct sb why = sb_of(buf, sizeof buf);
        assert_int_equal(vcl_module_check(m, &why), RC_OK);
        assert_ptr_equal(vcl_module_builtin(str_of(m->name)), m);
        for (unsigned n = 0; n < m->func_count; n++) {
            assert_non_null(m->funcs[n].doc);
        }
    }
    assert_true(count >= 5);
    assert_null(vcl_module_builtin(STR("nosuch")));
}

static objm_fn nothing;
static void nothing(struct objm_ctx *ctx, struct objm_call *call)
{
    (void)ctx;
    (void)call;
}

static void broken_tables_are_refused(void **state)
{
    (void)state;
    static const struct objm_arg bad_args[] = {
        {OBJM_ARG(INT, "n"), .def = "x"},
        {OBJM_ARG(ENUM, "e")},
        {OBJM_ARG(INT, "n"), .values = "a b"},
        {OBJM_ARG(VOID, "v")},
        {OBJM_ARG(INT, "a b")},
    };
    for (size_t n = 0; n < ARRAY_SIZE(bad_args); n++) {
        struct objm_func func = {.name = "f", .fn = nothing, .args = &bad_args[n], .arg_count = 1};
        struct objm_module module = {OBJM_ABI, .name = "m", .funcs = &func, .func_count = 1};
        char buf[256];
        struct sb why = sb_of(buf, sizeof buf);
        assert_int_equal(vcl_module_check(&module, &why), RC_INVALID);
        assert_true(why.len > 0);
    }
    struct objm_func func = {.name = "f"};
    struct objm_module module = {OBJM_ABI, .name = "m", .funcs = &func, .func_count = 1};
    char buf[256];
    struct sb why = sb_of(buf, sizeof buf);
    assert_int_equal(vcl_module_check(&module, &why), RC_INVALID);
}

struct file {
    Elf64_Ehdr head;
    Elf64_Phdr part[2];
    struct {
        Elf64_Nhdr head;
        char name[4];
        uint32_t desc;
    } other;
    struct objm_note note;
};

static struct file elf_file(void)
{
    struct file f = {
        .head = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB},
                 .e_type = ET_DYN,
                 .e_phoff = offsetof(struct file, part),
                 .e_phentsize = sizeof(Elf64_Phdr),
                 .e_phnum = 2},
        .part = {{.p_type = PT_LOAD},
                 {.p_type = PT_NOTE,
                  .p_offset = offsetof(struct file, other),
                  .p_filesz = sizeof(struct file) - offsetof(struct file, other)}},
        .other = {.head = {.n_namesz = 4, .n_descsz = 4, .n_type = 3}, .name = "GNU"},
        .note = {10, 8, OBJM_NOTE_TYPE, OBJM_NOTE_NAME, 7, 3},
    };
    return f;
}

static void a_note_is_found_among_others(void **state)
{
    (void)state;
    struct file f = elf_file();
    uint32_t major = 0;
    uint32_t minor = 0;
    assert_int_equal(vcl_elf_note(&f, sizeof f, &major, &minor), RC_OK);
    assert_int_equal(major, 7);
    assert_int_equal(minor, 3);
    f.note.name[0] = 'x';
    assert_int_equal(vcl_elf_note(&f, sizeof f, &major, &minor), RC_NOT_FOUND);
}

/* Whatever a byte is changed to, and wherever the file ends. */
static void damaged_files_are_refused_at_most(void **state)
{
    (void)state;
    uint32_t major;
    uint32_t minor;
    struct file f = elf_file();
    for (size_t len = 0; len < sizeof f; len++) {
        assert_int_not_equal(vcl_elf_note(&f, len, &major, &minor), RC_OK);
    }
    for (size_t at = 0; at < sizeof f; at++) {
        struct file g = f;
        for (unsigned bit = 0; bit < 8; bit++) {
            ((unsigned char *)&g)[at] ^= (unsigned char)(1U << bit);
            (void)!vcl_elf_note(&g, sizeof g, &major, &minor);
        }
    }
}

static void pages_show_every_function(void **state)
{
    (void)state;
    static char buf[64 * 1024];
    for (unsigned n = 0; vcl_module_nth(n) != NULL; n++) {
        const struct objm_module *m = vcl_module_nth(n);
        struct sb sb = sb_of(buf, sizeof buf - 1);
        vcl_module_page(&sb, m);
        assert_false(sb.overflow);
        buf[sb.len] = '\0';
        for (unsigned k = 0; k < m->func_count; k++) {
            char name[64];
            (void)snprintf(name, sizeof name, "%s.%s(", m->name, m->funcs[k].name);
            assert_non_null(strstr(buf, name));
        }
    }
    struct sb sb = sb_of(buf, sizeof buf - 1);
    vcl_func_text(&sb, &vcl_module_builtin(STR("std"))->funcs[2], "std");
    buf[sb.len] = '\0';
    assert_string_equal(buf, "VOID std.collect(HEADER hdr, STRING sep = \", \")");
}

static void what_is_no_module_is_refused(void **state)
{
    (void)state;
    char buf[512];
    struct vcl_module_file *file;
    static const char *const files[] = {"/etc/passwd", "/nonexistent", "/", "/dev/null",
                                        "/proc/self/exe"};
    for (size_t n = 0; n < ARRAY_SIZE(files); n++) {
        struct sb why = sb_of(buf, sizeof buf);
        assert_int_equal(vcl_module_open(STR("x"), files[n], &file, &why), RC_INVALID);
        assert_null(file);
        assert_true(str_starts(sb_str(&why), STR("Could not open VMOD x\n")));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(built_in_tables_keep_the_rules),
        cmocka_unit_test(broken_tables_are_refused),
        cmocka_unit_test(a_note_is_found_among_others),
        cmocka_unit_test(damaged_files_are_refused_at_most),
        cmocka_unit_test(pages_show_every_function),
        cmocka_unit_test(what_is_no_module_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
