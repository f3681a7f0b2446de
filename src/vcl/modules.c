/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Finding and opening modules.
 *
 * A built-in module and one in a file are the same kind of table, so all that is special about a
 * file is how it is found and believed: its ELF notes are read first (elf_note.c), then it is
 * opened with every symbol bound, so that one which is missing is an error now and not at the first
 * call, and then its table is checked as any other.  What follows trusts the table. */
#include "vcl/modules.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "filter/notation.h"
#include "vcl/mod.h"
#include "vcl/value.h"

enum { ARGS_MAX = 32, FILTER_BYTES_MAX = 64 << 10 };

struct vcl_module_file {
    void *handle;
    const struct objm_module *table;
};

static const struct objm_module *const builtin[] = {
    &vcl__mod_blob,  &vcl__mod_cookie,  &vcl__mod_directors, &vcl__mod_proxy, &vcl__mod_purge,
    &vcl__mod_regex, &vcl__mod_rewrite, &vcl__mod_std,       &vcl__mod_unix,  &vcl__mod_vtc,
};

const struct objm_module *vcl_module_nth(unsigned n)
{
    return n < ARRAY_SIZE(builtin) ? builtin[n] : NULL;
}

const struct objm_module *vcl_module_builtin(struct str name)
{
    for (size_t n = 0; n < ARRAY_SIZE(builtin); n++) {
        if (str_eq(str_of(builtin[n]->name), name)) {
            return builtin[n];
        }
    }
    return NULL;
}

/* ---- tables ---- */

static bool is_name(const char *name)
{
    if (name == NULL || *name == '\0') {
        return false;
    }
    for (const char *at = name; *at != '\0'; at++) {
        bool is_letter = (*at | 0x20) >= 'a' && (*at | 0x20) <= 'z';
        if (!is_letter && (at == name || !((*at >= '0' && *at <= '9') || *at == '_'))) {
            return false;
        }
    }
    return true;
}

static enum rc check_arg(const struct objm_func *func, const struct objm_arg *arg, struct sb *why)
{
    const char *fault = NULL;
    union objm_value value;
    if (arg->type == OBJM_VOID || (unsigned)arg->type >= OBJM_INSTANCE) {
        fault = "has a type that no argument can have";
    } else if (arg->name != NULL && !is_name(arg->name)) {
        fault = "has a name that is none";
    } else if ((arg->type == OBJM_ENUM) != (arg->values != NULL)) {
        fault = "has values and is no ENUM, or the other way round";
    } else if (arg->def != NULL && vcl_default_parse(arg, &value) != RC_OK) {
        fault = "has a default that does not fit its type";
    }
    if (fault == NULL) {
        return RC_OK;
    }
    sb_printf(why, "argument %s of %s %s\n", arg->name == NULL ? "(unnamed)" : arg->name,
              func->name == NULL ? "a constructor" : func->name, fault);
    return RC_INVALID;
}

static enum rc check_func(const struct objm_func *func, bool is_init, struct sb *why)
{
    if (!is_init && !is_name(func->name)) {
        sb_lit(why, "a function has no name\n");
        return RC_INVALID;
    }
    const char *name = is_init ? "a constructor" : func->name;
    if (func->fn == NULL || func->arg_count > ARGS_MAX ||
        (func->arg_count > 0 && func->args == NULL) || (unsigned)func->ret >= OBJM_INSTANCE) {
        sb_printf(why, "%s has no code, too many arguments, or a type that none can return\n",
                  name);
        return RC_INVALID;
    }
    for (unsigned n = 0; n < func->arg_count; n++) {
        enum rc rc = check_arg(func, &func->args[n], why);
        if (rc != RC_OK) {
            return rc;
        }
    }
    return RC_OK;
}

static enum rc check_object(const struct objm_object *object, struct sb *why)
{
    if (!is_name(object->name)) {
        sb_lit(why, "an object has no name\n");
        return RC_INVALID;
    }
    enum rc rc = check_func(&object->init, true, why);
    for (unsigned n = 0; rc == RC_OK && n < object->method_count; n++) {
        rc = check_func(&object->methods[n], false, why);
    }
    return rc;
}

static enum rc check_filter(const struct objm_filter *filter, struct sb *why)
{
    const char *fault = NULL;
    if (filter->name == NULL || !notation_is_name(str_of(filter->name)) ||
        strlen(filter->name) > NOTATION_NAME_MAX) {
        sb_lit(why, "a filter has no name\n");
        return RC_INVALID;
    }
    if (filter->in == NULL || !notation_is_formats(str_of(filter->in)) || filter->out == NULL ||
        !notation_is_formats(str_of(filter->out))) {
        fault = "has a list of formats that is none";
    } else if ((filter->flags & (unsigned)(OBJM_FILTER_IS_VFP | OBJM_FILTER_IS_VDP)) == 0) {
        fault = "is for neither side of the cache";
    } else if (filter->step == NULL) {
        fault = "has no code";
    } else if ((unsigned)filter->recommended > OBJM_POS_STEVEDORE) {
        fault = "has a position that is none";
    } else if (filter->bytes > FILTER_BYTES_MAX) {
        fault = "has a state that is too large";
    }
    if (fault == NULL) {
        return RC_OK;
    }
    sb_printf(why, "filter %s %s\n", filter->name, fault);
    return RC_INVALID;
}

enum rc vcl_module_check(const struct objm_module *module, struct sb *why)
{
    if (!is_name(module->name)) {
        sb_lit(why, "the module has no name\n");
        return RC_INVALID;
    }
    enum rc rc = RC_OK;
    for (unsigned n = 0; rc == RC_OK && n < module->func_count; n++) {
        rc = check_func(&module->funcs[n], false, why);
    }
    for (unsigned n = 0; rc == RC_OK && n < module->object_count; n++) {
        rc = check_object(&module->objects[n], why);
    }
    unsigned filters = module->abi_minor >= 1 ? module->filter_count : 0;
    for (unsigned n = 0; rc == RC_OK && n < filters; n++) {
        rc = check_filter(module->filters[n], why);
    }
    return rc;
}

/* ---- files ---- */

static bool try_file(struct sb *file, struct str folder, const char *prefix, struct str name,
                     const char *suffix)
{
    file->len = 0;
    file->overflow = false;
    sb_put(file, folder);
    if (folder.len > 0) {
        sb_chr(file, '/');
    }
    sb_put(file, str_of(prefix));
    sb_put(file, name);
    sb_put(file, str_of(suffix));
    sb_chr(file, '\0');
    return !file->overflow && access(file->ptr, R_OK) == 0;
}

enum rc vcl_module_locate(struct str name, const char *from, const char *path, struct sb *file)
{
    if (from != NULL && try_file(file, STR_NONE, "", str_of(from), "")) {
        return RC_OK;
    }
    bool is_absolute = from != NULL && *from == '/';
    for (struct str rest = is_absolute ? STR_NONE : str_of(path); rest.ptr != NULL;) {
        struct str folder = str_cut(&rest, ':');
        bool found = from != NULL ? try_file(file, folder, "", str_of(from), "")
                                  : try_file(file, folder, "libvmod_", name, ".so") ||
                                        try_file(file, folder, "objm_", name, ".so");
        if (found) {
            return RC_OK;
        }
    }
    return file->overflow ? RC_TOO_LONG : RC_NOT_FOUND;
}

/* Reads the note of the file's bytes, which are mapped for as long as that takes. */
static enum rc read_note(const char *file, uint32_t *major, uint32_t *minor)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size == 0) {
        if (fd >= 0) {
            (void)close(fd);
        }
        return RC_MALFORMED;
    }
    size_t len = (size_t)st.st_size;
    void *bytes = mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);
    (void)close(fd);
    if (bytes == MAP_FAILED) {
        return RC_MALFORMED;
    }
    enum rc rc = vcl_elf_note(bytes, len, major, minor);
    (void)munmap(bytes, len);
    return rc;
}

static enum rc check_version(struct str name, const char *file, uint32_t major, uint32_t minor,
                             struct sb *why)
{
    if (major == OBJM_ABI_MAJOR && minor <= OBJM_ABI_MINOR) {
        return RC_OK;
    }
    sb_printf(why, "Incompatible VMOD %.*s\n\tFile name: %s\n", STR_ARG(name), file);
    sb_printf(why, "\tVMOD wants ABI version %u.%u\n", major, minor);
    sb_printf(why, "\tobjmapperd provides ABI version %u.%u\n", OBJM_ABI_MAJOR, OBJM_ABI_MINOR);
    return RC_INVALID;
}

static enum rc take_table(struct str name, const char *file, void *handle,
                          const struct objm_module **out, struct sb *why)
{
    const struct objm_module *const *entry = dlsym(handle, OBJM_ENTRY);
    if (entry == NULL || *entry == NULL) {
        sb_printf(why, "Malformed VMOD %.*s\n\tFile name: %s\n\t(no %s symbol)\n", STR_ARG(name),
                  file, OBJM_ENTRY);
        return RC_INVALID;
    }
    const struct objm_module *table = *entry;
    enum rc rc = check_version(name, file, table->abi_major, table->abi_minor, why);
    if (rc != RC_OK) {
        return rc;
    }
    char buf[256];
    struct sb fault = sb_of(buf, sizeof buf);
    if (vcl_module_check(table, &fault) != RC_OK) {
        sb_printf(why, "Mangled VMOD %.*s\n\tFile name: %s\n\tInconsistent metadata: %.*s",
                  STR_ARG(name), file, STR_ARG(sb_str(&fault)));
        return RC_INVALID;
    }
    if (!str_eq(str_of(table->name), name)) {
        sb_printf(why, "Wrong file for VMOD %.*s\n\tFile name: %s\n\tContains vmod \"%s\"\n",
                  STR_ARG(name), file, table->name);
        return RC_INVALID;
    }
    *out = table;
    return RC_OK;
}

enum rc vcl_module_open(struct str name, const char *file, struct vcl_module_file **out,
                        struct sb *why)
{
    *out = NULL;
    uint32_t major;
    uint32_t minor;
    enum rc rc = read_note(file, &major, &minor);
    if (rc != RC_OK) {
        sb_printf(why, "Could not open VMOD %.*s\n\tFile name: %s\n\t%s\n", STR_ARG(name), file,
                  rc == RC_NOT_FOUND ? "It is no module of objmapper (it has no version note)."
                                     : "It is no shared library for this machine.");
        return RC_INVALID;
    }
    rc = check_version(name, file, major, minor, why);
    if (rc != RC_OK) {
        return rc;
    }
    void *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) {
        sb_printf(why, "Could not open VMOD %.*s\n\tFile name: %s\n\tdlerror: %s\n", STR_ARG(name),
                  file, dlerror());
        return RC_INVALID;
    }
    const struct objm_module *table;
    rc = take_table(name, file, handle, &table, why);
    if (rc != RC_OK) {
        (void)dlclose(handle);
        return rc;
    }
    struct vcl_module_file *opened = xcalloc(1, sizeof *opened);
    opened->handle = handle;
    opened->table = table;
    *out = opened;
    return RC_OK;
}

const struct objm_module *vcl_module_table(const struct vcl_module_file *file)
{
    return file->table;
}

void vcl_module_close(struct vcl_module_file **file_of)
{
    if (*file_of == NULL) {
        return;
    }
    CHECK(dlclose((*file_of)->handle) == 0);
    XFREE(*file_of);
}
