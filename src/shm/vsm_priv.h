/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
#ifndef SHM_VSM_PRIV_H
#define SHM_VSM_PRIV_H

#include <pthread.h>

#include "base/list.h"
#include "shm/vsm.h"

#define VSM__INDEX "_.index"

struct vsm_set {
    uint32_t magic;
    pthread_mutex_t doc_lock; /* makes one document a class (vsc.c); taken before `lock` */
    pthread_mutex_t lock;     /* of everything below */
    int dir_fd;
    int index_fd;
    off_t index_bytes; /* whole lines only */
    unsigned removals; /* lines `-` in the index */
    unsigned live;     /* published segments */
    bool must_rewrite; /* the index does not say what `segs` says: an append failed */
    struct list segs;  /* of struct vsm_seg, in the order of their making */
    struct vsm_place place;
    char name[32];
    char head_line[64];
};

/* The index, under the set's lock (vsm_index.c). */
MUST_USE enum rc vsm__index_create(struct vsm_set *set);
MUST_USE enum rc vsm__index_add(struct vsm_set *set, struct vsm_seg *seg);
void vsm__index_remove(struct vsm_set *set, struct vsm_seg *seg);

#define VSM__FILE_NAME_MAX 40

struct vsm_seg {
    uint32_t magic;
    struct vsm_set *set;
    struct list node;
    char *class;
    char *ident;
    char file[VSM__FILE_NAME_MAX];
    size_t bytes;
    size_t mapped_bytes;
    void *ptr;
    bool is_published;
    bool is_withdrawn; /* its name and file are gone */
    bool is_text;      /* made by vsm_text */
};

#define VSM__SET_MAGIC 0x3f1c5a77
#define VSM__SEG_MAGIC 0x8d20e6b1

/* Opens for writing a new file in the set's directory, with the set's mode and owner. */
MUST_USE enum rc vsm__file_create(const struct vsm_set *set, const char *file, int flags, int *fd);

/* The live segment of that name, or NULL; under the set's lock. */
struct vsm_seg *vsm__seg_find(struct vsm_set *set, const char *class, const char *ident);

#endif
