/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What the files of this folder share: the table of operations behind which an engine stands, and
 * the heads of the structs that an engine extends. */
#ifndef STORE_STORE_PRIV_H
#define STORE_STORE_PRIV_H

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <unistd.h>

#include "store/store.h"

/* A seam for tests.  step: called before each store and each message that recovery depends on; a
 * test ends the process there.  fails: asked before each system call that can run out.  pause: in
 * place of the short waits of one who needs room. */
enum stv_call { STV_CALL_MEMFD, STV_CALL_FALLOCATE, STV_CALL_MMAP, STV_CALL_PUT };
struct stv_seam {
    void (*step)(void *arg);
    bool (*fails)(void *arg, enum stv_call call);
    void (*pause)(void *arg);
    void *arg;
};

static inline void seam_step(const struct stv_seam *seam)
{
    if (UNLIKELY(seam != NULL && seam->step != NULL)) {
        seam->step(seam->arg);
    }
}

static inline bool seam_fails(const struct stv_seam *seam, enum stv_call call)
{
    return UNLIKELY(seam != NULL && seam->fails != NULL) && seam->fails(seam->arg, call);
}

/* As fallocate(2), which a signal can interrupt before it has given anything. */
static inline bool store__fallocate(int fd, int mode, uint64_t off, uint64_t bytes)
{
    int err;
    do {
        err = fallocate(fd, mode, (off_t)off, (off_t)bytes);
    } while (err != 0 && errno == EINTR);
    return err == 0;
}

/* As ftruncate(2), in the same way. */
static inline bool store__ftruncate(int fd, uint64_t bytes)
{
    int err;
    do {
        err = ftruncate(fd, (off_t)bytes);
    } while (err != 0 && errno == EINTR);
    return err == 0;
}

struct stv_ops {
    void (*close)(struct stevedore *stv);
    enum rc (*newobj)(struct stevedore *stv, uint64_t estimate, struct stv_obj **out);
    YIELDS enum rc (*alloc)(struct stv_obj *obj, uint64_t want, void **ptr, size_t *len);
    void (*commit)(struct stv_obj *obj, size_t used);
    enum rc (*adopt)(struct stv_obj *to, struct stv_obj *from);
    enum rc (*ref)(struct stv_obj *obj, uint64_t body_off, bool map, struct stv_lease *out);
    void (*rel)(struct stv_seg *seg);
    YIELDS enum rc (*prepare)(struct stv_obj *obj, struct str oa, const struct stv_record *record);
    enum rc (*live)(struct stv_obj *obj, uint64_t revision);
    enum rc (*payload)(struct stv_obj *obj, struct obj_fd_payload *out);
    YIELDS enum rc (*verify)(struct stv_obj *obj);
    void (*retime)(struct stv_obj *obj, const struct stv_record *record);
    void (*dead)(struct stv_obj *obj);
    void (*deleteobj)(struct stv_obj *obj);
    void (*resurrect)(struct stevedore *stv, stv_found_fn *fn, void *arg);
    void (*entomb)(struct stevedore *stv, const struct digest *digest, stv_which_fn *which,
                   void *arg);
    uint64_t (*revision_next)(struct stevedore *stv);
    void (*revision_seen)(struct stevedore *stv, uint64_t revision);
    void (*stat)(struct stevedore *stv, struct stv_stats *out);
    uint64_t (*lent_max)(struct stevedore *stv, uint64_t bytes);
    void (*note_fault)(struct stv_obj *obj);
};

#define STEVEDORE_MAGIC 0x5be3a1f7u
struct stevedore {
    uint32_t magic;
    enum stv_kind kind;
    const struct stv_ops *ops;
    char name[32];
};

/* Counted: by its object while that uses it, and by each lease. */
struct stv_seg {
    _Atomic uint32_t refs;
    uint32_t kind; /* the engine's own numbering */
    struct stevedore *stv;
};

/* What every hit reads stands here, so that a hit costs no indirect call. */
#define STV_OBJ_MAGIC 0x0b7ec70fu
struct stv_obj {
    uint32_t magic;
    _Atomic uint8_t visited;
    _Atomic bool is_final; /* release: oa, body_ptr and the segments are set and stay */
    _Atomic bool is_verified;
    _Atomic bool is_dead;
    struct stevedore *stv;
    struct str oa;
    const void *body_ptr;
    _Atomic uint64_t body_len; /* committed so far */
    _Atomic(void *) owner;
};

/* The engines.  RC_NOSPACE, RC_NOFILES, RC_LIMIT. */
MUST_USE enum rc mem_open(const struct stv_conf *conf, struct stevedore **out);

/* Waiting, with or without a fiber.  Both Yield. */
YIELDS MUST_USE enum rc stv__wait_writable(int fd);
YIELDS void stv__pause(void);
/* Whether the thread may wait at all: not on a loop's thread outside a fiber. */
bool stv__may_wait(void);

#endif
