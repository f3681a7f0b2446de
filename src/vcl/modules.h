/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Modules: those built in, those in files.  Nothing Yields; opening a file blocks. */
#ifndef VCL_MODULES_H
#define VCL_MODULES_H

#include "base/sb.h"
#include "objmapper/module.h"

/* The built-in modules, in order of their names; NULL behind the last. */
const struct objm_module *vcl_module_nth(unsigned n);
/* NULL: it is not built in. */
const struct objm_module *vcl_module_builtin(struct str name);

/* A module in a file, counted. */
struct vcl_module_file;

/* Where `import name` finds its file when it is not built in: the first libvmod_NAME.so (or
 * objm_NAME.so) in the folders of `path`, divided by colons.  `from` (may be NULL): the file itself
 * or its name in one of the folders.  Writes the file's path, NUL-terminated.  RC_NOT_FOUND,
 * RC_TOO_LONG. */
MUST_USE enum rc vcl_module_locate(struct str name, const char *from, const char *path,
                                   struct sb *file);

/* Opens a module's file.  What does not say in its ELF notes that it is a module of this version
 * is refused before any of its code runs; so are missing symbols.  After that its table is checked.
 * RC_INVALID: *why says what is wrong, in whole lines.  The caller owns *out. */
MUST_USE enum rc vcl_module_open(struct str name, const char *file, struct vcl_module_file **out,
                                 struct sb *why);
const struct objm_module *vcl_module_table(const struct vcl_module_file *file);
void vcl_module_close(struct vcl_module_file **file);

/* Looks for our note in an ELF file of this machine.  RC_MALFORMED: no such file; RC_NOT_FOUND: no
 * note.  Any bytes will do. */
MUST_USE enum rc vcl_elf_note(const void *bytes, size_t len, uint32_t *major, uint32_t *minor);

/* Whether a table keeps the rules of module.h; RC_INVALID: *why says which it breaks. */
MUST_USE enum rc vcl_module_check(const struct objm_module *module, struct sb *why);

/* The reference page of a module, in man's language; appends, sb may overflow. */
void vcl_module_page(struct sb *sb, const struct objm_module *module);
/* "STRING substr(STRING s, INT n, [REAL fallback], BOOL whole = true)": as a page or an error
 * shows a function; object (may be NULL): the name that stands before its methods. */
void vcl_func_text(struct sb *sb, const struct objm_func *func, const char *object);

#endif
