/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What the files of ESI share: documents being delivered, and what they include.
 *
 *     request ── doc ──┬── child ── request ── doc ── ...      one fiber each level
 *                      ├── child
 *                      └── child
 *
 * All of them run on one loop and belong to one client's request.  A doc takes its children in
 * their order; the one that it takes from is at the front.  Others gather what they have, up to
 * esi_buffer bytes, and then wait.  A child's memory is its doc's, which frees it when the child's
 * fiber has ended, and ends itself only when it has no children any more. */
#ifndef ENGINE_ESI_PRIV_H
#define ENGINE_ESI_PRIV_H

#include "engine/esi_gzip.h"
#include "filter/chain.h"
#include "filter/esi.h"

/* Of one client's request. */
struct esi_family {
    unsigned children; /* that are there, whether they run or wait to be sent */
    struct list docs;
};

struct esi_child;

struct esi_doc {
    struct list link; /* in family->docs */
    struct esi_family *family;
    struct esi_family own; /* of the outermost one */
    struct request *req;
    struct esi_child *self; /* whose body it is; NULL: the client's */
    struct fiber *fiber;
    esi_sink_fn *sink;
    void *sink_arg;
    char *program;
    struct esi_reader at;    /* what has been delivered */
    struct esi_reader ahead; /* what has been started */
    uint64_t off;            /* of the stored body */
    uint64_t front_since_ns; /* when the child at the front got there */
    uint64_t patience_ns;    /* for waiting before others are started, too */
    bool is_impatient;       /* it is used up */
    struct list children;    /* started, in their order */
    bool is_gzip;
    bool is_inner; /* its blocks go into another gzip body */
    uint32_t crc;  /* of what was delivered, and ... */
    uint64_t text_len;
    enum rc rc; /* RC_OK until it ends: then nobody wants its children */
    char *out;  /* small pieces, gathered */
    size_t out_len;
};

/* How a child's bytes become its document's. */
enum esi_mode {
    ESI_MODE_PLAIN,  /* as they are */
    ESI_MODE_WRAP,   /* stored in blocks of gzip */
    ESI_MODE_UNZIP,  /* unpacked, then that */
    ESI_MODE_STITCH, /* its deflate blocks */
    ESI_MODE_INNER,  /* it is a document whose blocks come as they should */
};

struct esi_child {
    uint32_t magic;
    struct list link; /* in doc->children */
    struct esi_doc *doc;
    struct fiber *fiber;
    struct request req;
    struct arena arena;
    bool goes_on;   /* onerror="continue" */
    bool is_front;  /* the doc takes from it now */
    bool is_done;   /* its fiber has ended, or never began */
    bool is_broken; /* what it has sent cannot be part of anything */
    enum rc rc;
    /* What it has for the doc: first what is gathered, then what it offers where it lies. */
    char *buf;
    size_t len;
    size_t cap;
    const void *offer;
    size_t offer_len;
    /* How it is put there. */
    enum esi_mode mode;
    struct stitch stitch;
    struct chain *unzip;
    struct plan unzip_plan;
    struct plan_step unzip_step;
    struct filter_notes notes;
    uint32_t crc; /* of its bytes, unpacked, and ... */
    uint64_t text_len;
};
#define ESI_CHILD_MAGIC 0x4d6e02b7u

/* Starts it, linked into its doc; the strings are borrowed until it is freed.  Never NULL: one that
 * could not be started is done. */
struct esi_child *esi_child__start(struct esi_doc *doc, const struct esi_op *op);
/* It is done. */
void esi_child__free(struct esi_child **child);

/* Until somebody wakes this fiber; or, when it was cancelled, until others had their turn.  Yields.
 */
YIELDS void esi__wait(void);

#endif
