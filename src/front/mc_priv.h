/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* One connection that speaks memcached's protocol, while it is being served. */
#ifndef FRONT_MC_PRIV_H
#define FRONT_MC_PRIV_H

#include <assert.h>

#include "engine/kv.h"
#include "front/front_priv.h"
#include "mc/mc.h"

/* memcached's whose protocol this is, by which clients know what they may ask; then ours. */
#define MC_VERSION "1.6.18-objmapper-" OBJM_VERSION

enum {
    MC_IN_BYTES = 16 << 10,
    MC_OUT_BYTES = 16 << 10,
    /* A body up to this is copied behind its line; a longer one is sent from where it lies. */
    MC_COPY_MAX = 4 << 10,
    MC_IOVS = 64,
    MC_ITEMS = 30,
    /* Bodies that are pinned for one write. */
    MC_PINNED_MAX = 1 << 20,
};
static_assert((int)MC_IN_BYTES > (int)MC_NEED_MAX, "a line and more");
static_assert((int)MC_OUT_BYTES > (int)MC_ANSWER_MAX, "a line and more");

struct mc {
    struct sess *sess;
    struct front *front;
    struct vsc_objm *count; /* of this loop */
    struct kv_session kv;
    struct mc_reader reader;
    struct mc_request req;
    enum sess_end end; /* how the connection ends; SESS__COUNT: it goes on */
    /* Received bytes: in[at..fill) are not used yet.  The request in use is in[line_at..line_end);
     * if its data block has not come yet, line_at is 0. */
    size_t line_at;
    size_t line_end;
    size_t at;
    size_t fill;
    uint64_t deadline_ns; /* for the rest of a request that has begun */
    uint64_t data_waited_ns;
    /* Answers that are not sent yet: parts of `out`, and bodies that `items` hold. */
    enum rc sent; /* why the client cannot be reached; RC_OK */
    size_t out_fill;
    unsigned iovs;
    unsigned items_count;
    uint64_t pinned_bytes;
    struct iovec iov[MC_IOVS];
    struct kv_item items[MC_ITEMS];
    char in[MC_IN_BYTES];
    char out[MC_OUT_BYTES];
};

/* What is kept of a connection between its turns, if it has to say who it is. */
struct mc_login {
    bool is_known;
    bool awaits_plain; /* SASL's first message said only the mechanism */
    unsigned failures;
    char user[AUTH_NAME_MAX];
    uint8_t user_len;
};

/* ---- sending (mc_out.c).  After a failure (mc->sent) nothing more is sent. ---- */

/* Room for an answer of at most `bytes` (<= MC_ANSWER_MAX), to be kept by mc__put.  Yields. */
YIELDS struct sb mc__room(struct mc *mc, size_t bytes);
void mc__put(struct mc *mc, const struct sb *sb);
/* Both, for short text.  Yields. */
YIELDS void mc__say(struct mc *mc, struct str text);
/* The body of an item, which it takes; `tail` (static) follows it.  Yields. */
YIELDS void mc__body(struct mc *mc, struct kv_item *take_item, struct str tail);
/* Sends what is waiting.  Yields. */
YIELDS void mc__flush(struct mc *mc);
/* A binary status, or an error line in text. Yields. */
YIELDS void mc__status(struct mc *mc, enum mc_status status);
/* What went wrong below, in the words of the dialect.  Yields. */
YIELDS void mc__fault(struct mc *mc, enum rc rc);

/* ---- reading (mc_data.c) ---- */

/* More bytes behind those that are there: within the request's deadline.  As sock_read.  Yields. */
YIELDS MUST_USE enum rc mc__more(struct mc *mc);
/* Reads a data block and throws it away.  Yields. */
YIELDS void mc__swallow(struct mc *mc);
/* The whole data block, in the buffer, in which it must have room.  False: the connection ends,
 * after an answer if its end of line is missing.  Yields. */
YIELDS bool mc__data(struct mc *mc, struct str *data);
/* Some bytes of it, to `dst`; never more than `most`.  False: the connection ends.  Yields. */
YIELDS bool mc__data_into(struct mc *mc, void *dst, size_t most, size_t *got);
/* What ends it.  As mc__data.  Yields. */
YIELDS bool mc__tail(struct mc *mc);

/* ---- what is asked ---- */

YIELDS void mc__get(struct mc *mc);
YIELDS void mc__store(struct mc *mc);  /* mc_store.c */
YIELDS void mc__delete(struct mc *mc); /* mc_change.c, as the next two */
YIELDS void mc__arith(struct mc *mc);
YIELDS void mc__touch(struct mc *mc);
YIELDS void mc__stats(struct mc *mc); /* mc_stats.c */
YIELDS void mc__debug(struct mc *mc); /* mc_get.c */

/* ---- who asks (mc_login.c) ---- */

/* False: the request must not be carried out, and has been answered.  Yields. */
YIELDS bool mc__may(struct mc *mc);
YIELDS void mc__sasl(struct mc *mc);

#endif
