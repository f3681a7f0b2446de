/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Reference pages of modules, printed from the tables that the compiler uses, so that they cannot
 * say anything else.  Each is a manual page (man 3) of mdoc's older brother, since that is what the
 * daemon's other pages are. */
#include "vcl/modules.h"

#include "vcl/value.h"

static void put_values(struct sb *sb, const char *values)
{
    sb_lit(sb, "ENUM {");
    for (unsigned n = 0;; n++) {
        struct str value = vcl_enum_name(values, n);
        if (value.ptr == NULL) {
            break;
        }
        if (n > 0) {
            sb_lit(sb, ", ");
        }
        sb_put(sb, value);
    }
    sb_chr(sb, '}');
}

static void put_arg(struct sb *sb, const struct objm_arg *arg)
{
    if (arg->is_optional) {
        sb_chr(sb, '[');
    }
    if (arg->type == OBJM_ENUM) {
        put_values(sb, arg->values);
    } else {
        sb_put(sb, str_of(vcl_type_name(arg->type)));
    }
    if (arg->name != NULL) {
        sb_printf(sb, " %s", arg->name);
    }
    if (arg->def != NULL) {
        sb_printf(sb, " = %s", arg->def);
    }
    if (arg->is_optional) {
        sb_chr(sb, ']');
    }
}

static void put_args(struct sb *sb, const struct objm_func *func)
{
    sb_chr(sb, '(');
    for (unsigned n = 0; n < func->arg_count; n++) {
        if (n > 0) {
            sb_lit(sb, ", ");
        }
        put_arg(sb, &func->args[n]);
    }
    sb_chr(sb, ')');
}

void vcl_func_text(struct sb *sb, const struct objm_func *func, const char *object)
{
    sb_printf(sb, "%s %s%s%s", vcl_type_name(func->ret), object == NULL ? "" : object,
              object == NULL ? "" : ".", func->name);
    put_args(sb, func);
}

/* Text that man must not read as its own language. */
static void put_roff(struct sb *sb, struct str text)
{
    bool is_start = true;
    for (size_t n = 0; n < text.len; n++) {
        char c = text.ptr[n];
        if (is_start && (c == '.' || c == '\'')) {
            sb_lit(sb, "\\&");
        }
        if (c == '\\') {
            sb_lit(sb, "\\e");
        } else if (c == '-') {
            sb_lit(sb, "\\-");
        } else {
            sb_chr(sb, c);
        }
        is_start = c == '\n';
    }
}

/* Paragraphs are divided by empty lines; a line that begins with a blank stands as it is. */
static void put_doc(struct sb *sb, const char *doc)
{
    bool is_code = false;
    for (struct str rest = str_of(doc); rest.ptr != NULL;) {
        struct str line = str_cut(&rest, '\n');
        bool wants_code = line.len > 0 && *line.ptr == ' ';
        if (wants_code != is_code && (line.len > 0 || !is_code)) {
            sb_put(sb, is_code ? STR(".EE\n.RE\n") : STR(".RS 4\n.EX\n"));
            is_code = wants_code;
        }
        if (line.len == 0) {
            sb_put(sb, is_code ? STR("\n") : STR(".PP\n"));
            continue;
        }
        put_roff(sb, is_code ? str_trim(line) : line);
        sb_chr(sb, '\n');
    }
    if (is_code) {
        sb_lit(sb, ".EE\n.RE\n");
    }
}

static void put_func(struct sb *sb, const struct objm_func *func, const char *prefix)
{
    char buf[1024];
    struct sb text = sb_of(buf, sizeof buf);
    vcl_func_text(&text, func, prefix);
    sb_lit(sb, ".SS \"");
    /* Inside the quotes of a macro's argument, a quote is written twice. */
    for (size_t n = 0; n < text.len; n++) {
        sb_put(sb, buf[n] == '"' ? STR("\"\"") : (struct str){&buf[n], 1});
    }
    sb_lit(sb, "\"\n");
    put_doc(sb, func->doc);
}

static void put_object(struct sb *sb, const struct objm_module *module,
                       const struct objm_object *object)
{
    sb_printf(sb, ".SS \"new x = %s.%s", module->name, object->name);
    put_args(sb, &object->init);
    sb_lit(sb, "\"\n");
    put_doc(sb, object->doc);
    for (unsigned n = 0; n < object->method_count; n++) {
        put_func(sb, &object->methods[n], "x");
    }
}

void vcl_module_page(struct sb *sb, const struct objm_module *module)
{
    sb_printf(sb, ".TH OBJMAPPER-VMOD-%s 3\n.SH NAME\nobjmapper\\-vmod\\-%s \\- %s\n", module->name,
              module->name, module->title);
    sb_printf(sb, ".SH SYNOPSIS\n.B import %s;\n.SH DESCRIPTION\n", module->name);
    put_doc(sb, module->doc);
    if (module->func_count > 0) {
        sb_lit(sb, ".SH FUNCTIONS\n");
    }
    for (unsigned n = 0; n < module->func_count; n++) {
        put_func(sb, &module->funcs[n], module->name);
    }
    unsigned filters = module->abi_minor >= 1 ? module->filter_count : 0;
    if (filters > 0) {
        sb_lit(sb, ".SH FILTERS\n");
    }
    for (unsigned n = 0; n < filters; n++) {
        const struct objm_filter *filter = module->filters[n];
        sb_printf(sb, ".SS \"(%s)%s(%s)\"\n", filter->in, filter->name, filter->out);
        put_doc(sb, filter->doc == NULL ? "" : filter->doc);
    }
    if (module->object_count > 0) {
        sb_lit(sb, ".SH OBJECTS\n");
    }
    for (unsigned n = 0; n < module->object_count; n++) {
        put_object(sb, module, &module->objects[n]);
    }
    sb_lit(sb, ".SH SEE ALSO\n.BR objmapperd (1)\n");
}
