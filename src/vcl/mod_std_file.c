/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* std: files.
 *
 * Disks block, so files are read on an offload thread.  What was read stays with the place of the
 * call as long as the VCL: a list that only grows at its head, so that all loops read it without a
 * lock; a loop that lost the race to add an entry frees its own.  The name can come from a request,
 * so the list has a limit; what is beyond it lives in the task's workspace alone. */
#include "vcl/mod_std.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "vcl/value.h"

enum { KEPT_MAX = 64, FILE_MAX_BYTES = 64 << 20 };

struct kept_file {
    struct kept_file *next;
    unsigned number; /* in the list, from 1 */
    char *name;
    char *bytes;
    size_t len;
};

struct reading {
    const char *name;
    char *bytes; /* NULL: it could not be read */
    size_t len;
};

static void read_all(int fd, struct reading *r, size_t size)
{
    char *bytes = xmalloc(size + 1);
    size_t len = 0;
    ssize_t n = 1;
    while (len < size && n > 0) {
        n = fd_read(fd, bytes + len, size - len);
        len += n > 0 ? (size_t)n : 0;
    }
    if (n < 0) {
        free(bytes);
        return;
    }
    bytes[len] = '\0';
    r->bytes = bytes;
    r->len = len;
}

/* On an offload thread. */
static void read_file(void *arg)
{
    struct reading *r = arg;
    int fd = open(r->name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return;
    }
    struct stat st;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size >= 0 &&
        st.st_size <= FILE_MAX_BYTES) {
        read_all(fd, r, (size_t)st.st_size);
    }
    (void)close(fd);
}

static void free_kept(void *ptr)
{
    struct kept_file *f = ptr;
    while (f != NULL) {
        struct kept_file *next = f->next;
        free(f->name);
        free(f->bytes);
        free(f);
        f = next;
    }
}

static const struct kept_file *find(const struct kept_file *f, struct str name)
{
    while (f != NULL && !str_eq(str_of(f->name), name)) {
        f = f->next;
    }
    return f;
}

static _Atomic(struct kept_file *) *list_of(struct objm_priv *priv)
{
    _Static_assert(sizeof(_Atomic(struct kept_file *)) == sizeof priv->ptr, "one word");
    return (_Atomic(struct kept_file *) *)(void *)&priv->ptr;
}

/* Keeps what was read; or what another loop has kept meanwhile.  NULL: the list is full. */
static const struct kept_file *keep(struct objm_priv *priv, struct reading *r, struct str name)
{
    _Atomic(struct kept_file *) *list = list_of(priv);
    struct kept_file *f = xcalloc(1, sizeof *f);
    *f = (struct kept_file){.name = str_dup(name), .bytes = r->bytes, .len = r->len};
    const struct kept_file *there = NULL;
    struct kept_file *first = atomic_load(list);
    do {
        there = find(first, name);
        f->next = first;
        f->number = first == NULL ? 1 : first->number + 1;
    } while (there == NULL && f->number <= KEPT_MAX &&
             !atomic_compare_exchange_weak(list, &first, f));
    if (there == NULL && f->number <= KEPT_MAX) {
        priv->fini = free_kept;
        r->bytes = NULL;
        return f;
    }
    free(f->name);
    free(f);
    return there;
}

/* The file's bytes; {NULL, 0} when it cannot be read. */
static struct objm_str contents(struct objm_ctx *ctx, struct objm_call *call)
{
    struct str name = vcl_str(call->arg[0].string);
    if (name.len == 0) {
        return (struct objm_str){NULL, 0};
    }
    const struct kept_file *f = find(atomic_load(list_of(call->priv_call)), name);
    if (f != NULL) {
        return (struct objm_str){f->bytes, f->len};
    }
    struct reading r = {.name = objm_cstr(ctx, call->arg[0].string)};
    if (r.name == NULL) {
        return (struct objm_str){NULL, 0};
    }
    objm_offload(ctx, read_file, &r);
    if (r.bytes == NULL) {
        objm_log(ctx, OBJM_LOG_ERROR, objm_printf(ctx, "Could not read file '%s'", r.name));
        return (struct objm_str){NULL, 0};
    }
    f = keep(call->priv_call, &r, name);
    if (f != NULL) {
        free(r.bytes);
        return (struct objm_str){f->bytes, f->len};
    }
    char *copy = objm_alloc(ctx, r.len + 1);
    if (copy != NULL) {
        memcpy(copy, r.bytes, r.len);
    }
    free(r.bytes);
    return (struct objm_str){copy, copy == NULL ? 0 : r.len};
}

void vcl__std_fileread(struct objm_ctx *ctx, struct objm_call *call)
{
    struct objm_str text = contents(ctx, call);
    /* A text ends at its first NUL, as everywhere in VCL. */
    text.len = text.ptr == NULL ? 0 : strnlen(text.ptr, text.len);
    call->ret.string = text;
}

void vcl__std_blobread(struct objm_ctx *ctx, struct objm_call *call)
{
    struct objm_str text = contents(ctx, call);
    call->ret.blob = (struct objm_blob){text.ptr, text.len};
}

struct look {
    const char *name;
    bool exists;
};

static void look_for(void *arg)
{
    struct look *look = arg;
    struct stat st;
    look->exists = stat(look->name, &st) == 0;
}

void vcl__std_file_exists(struct objm_ctx *ctx, struct objm_call *call)
{
    struct look look = {.name = objm_cstr(ctx, call->arg[0].string)};
    if (look.name != NULL) {
        objm_offload(ctx, look_for, &look);
        call->ret.boolean = look.exists;
    }
}
