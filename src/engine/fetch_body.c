/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The body of what was fetched, read and stored, or handed to a client.  It comes from the backend,
 * by whichever framing; from the object that a 304 renews; or is text that the policy made.
 *
 * A body that ends early is never taken for whole: length and chunked framing tell, and for those
 * that end with the connection a reset tells.  Then the core fails, and with it every reader. */
#include "base/cursor.h"
#include "engine/fetch_priv.h"
#include "engine/filtering.h"
#include "engine/rfc9111.h"

/* What is asked of a stevedore when nobody knows how much will come. */
#define UNKNOWN_STEP_BYTES ((uint64_t)16 << 10)

/* ---- reading ---- */

static YIELDS enum rc read_more(struct fetch *f, void *dst, size_t bytes, size_t *got)
{
    uint64_t idle_ns = fetch__between_bytes_ns(f);
    struct sock_limit lim = {NEVER, idle_ns};
    enum rc rc = sock_read(bconn_sock(f->conn), dst, bytes, lim, got);
    if (rc == RC_TIMEOUT) {
        vslb_str(&f->log, SLT_FetchError, STR("between bytes timeout"));
    }
    return rc;
}

/* The body came to an end, orderly or not: the log says what is wrong. */
static enum rc body_ended(struct fetch *f, enum rc rc)
{
    if (rc == RC_EOF) {
        rc = h1_reader_end(&f->reader);
        if (rc == RC_RESET) {
            vslb_str(&f->log, SLT_FetchError,
                     f->body.framing == H1_BODY_LENGTH ? STR("straight insufficient bytes")
                                                       : STR("chunked read err"));
        }
    } else if (rc == RC_MALFORMED || rc == RC_TOO_LONG) {
        vslb_printf(&f->log, SLT_FetchError, "chunked: %s",
                    h1_error_text(h1_reader_error(&f->reader)));
    }
    return rc;
}

/* What has to be looked at goes through our buffer, the rest straight to its place. */
static YIELDS enum rc read_some(struct fetch *f, void *dst, size_t bytes, size_t *got)
{
    size_t direct = h1_reader_direct(&f->reader, bytes);
    if (direct > 0) {
        enum rc rc = read_more(f, dst, direct, got);
        h1_reader_took(&f->reader, *got);
        return rc;
    }
    f->at = 0;
    f->fill = 0;
    enum rc rc = read_more(f, f->buf, f->cap, &f->fill);
    return rc == RC_OK ? RC_AGAIN : rc;
}

/* All of the answer is read.  What nobody sees before it is whole is filtered to its end first, so
 * that the log has what filters say of it where Varnish has it. */
static void give_back(struct fetch *f)
{
    if (f->filter == NULL || f->do_stream) {
        fetch__let_go(f);
    }
}

static YIELDS enum rc backend_body(struct fetch *f, void *dst, size_t bytes, size_t *got)
{
    for (;;) {
        size_t used = 0;
        struct str have = {f->buf + f->at, f->fill - f->at};
        enum rc rc = h1_reader_take(&f->reader, have, &used, dst, bytes, got);
        f->at += used;
        if (rc == RC_AGAIN) {
            rc = read_some(f, dst, bytes, got);
        } else if (rc == RC_EOF) {
            give_back(f);
            return rc;
        }
        if (rc == RC_OK) {
            f->body_got += *got;
            f->bytes.resp_body += *got;
            if (fetch__body_is_read(f)) {
                give_back(f);
            }
            return RC_OK;
        }
        if (rc != RC_AGAIN) {
            return body_ended(f, rc);
        }
    }
}

static enum rc synthetic_body(struct fetch *f, void *dst, size_t bytes, size_t *got)
{
    size_t left = f->synth.len - (size_t)f->body_got;
    if (left == 0) {
        return RC_EOF;
    }
    *got = left < bytes ? left : bytes;
    memcpy(dst, f->synth.ptr + f->body_got, *got);
    f->body_got += *got;
    return RC_OK;
}

enum rc fetch__raw_body(struct fetch *f, void *dst, size_t bytes, size_t *got)
{
    CHECK_OBJ(f, FETCH_MAGIC);
    if (f->is_synth) {
        return synthetic_body(f, dst, bytes, got);
    }
    return f->was_304 ? fetch__old_body(f, dst, bytes, got) : backend_body(f, dst, bytes, got);
}

/* All that was announced is there.  Filters that look at it may not like its end: then the last
 * bytes go to nobody, for with them it would look whole. */
static YIELDS enum rc expect_end(struct fetch *f)
{
    char more;
    size_t got = 0;
    enum rc rc = fetch_filter__pull(f, &more, sizeof more, &got);
    return rc == RC_EOF ? RC_OK : rc == RC_OK ? RC_MALFORMED : rc;
}

enum rc fetch__body(struct fetch *f, void *dst, size_t bytes, size_t *got)
{
    if (f->filter == NULL) {
        enum rc rc = fetch__raw_body(f, dst, bytes, got);
        f->body_out += rc == RC_OK ? *got : 0;
        return rc;
    }
    enum rc rc = fetch_filter__pull(f, dst, bytes, got);
    if (rc == RC_OK && f->body_out + *got == fetch__length(f)) {
        rc = expect_end(f);
    }
    f->body_out += rc == RC_OK ? *got : 0;
    return rc;
}

bool fetch__has_body(const struct fetch *f)
{
    if (f->is_synth || f->was_304) {
        return fetch__length(f) > 0;
    }
    return f->body.framing != H1_BODY_NONE;
}

bool fetch__body_is_read(const struct fetch *f)
{
    return f->reader.is_done || (f->body.framing == H1_BODY_LENGTH && f->reader.left == 0);
}

void fetch__skip_received(struct fetch *f)
{
    struct h1_reader *r = &f->reader;
    if (f->conn != NULL && f->body.framing == H1_BODY_LENGTH && r->left <= f->fill - f->at) {
        f->at += (size_t)r->left;
        f->body_got += r->left;
        f->bytes.resp_body += r->left;
        h1_reader_took(r, (size_t)r->left);
    }
}

/* ---- storing ---- */

static const char *framing_name(const struct fetch *f)
{
    static const char *const names[] = {
        [H1_BODY_NONE] = "0 none", [H1_BODY_LENGTH] = "3 length", [H1_BODY_CHUNKED] = "2 chunked",
        [H1_BODY_EOF] = "4 eof",   [H1_BODY_ERROR] = "0 error",
    };
    return names[f->body.framing];
}

void fetch__log_body(struct fetch *f)
{
    if (!f->is_synth && !f->was_304) {
        bool streams = f->do_stream && f->body.framing != H1_BODY_NONE;
        vslb_printf(&f->log, SLT_Fetch_Body, "%s %s", framing_name(f), streams ? "stream" : "-");
    }
}

/* What was learnt of a body that stays. */
static enum rc keep_attributes(struct fetch *f)
{
    static const enum obj_attr attrs[] = {OA_GZIPBITS, OA_ESI, OA_CODED};
    enum rc rc = RC_OK;
    for (size_t i = 0; i < ARRAY_SIZE(attrs) && rc == RC_OK; i++) {
        struct str value = obj_get(f->old, attrs[i]);
        rc = value.ptr == NULL ? RC_OK : obj_set(f->busy, attrs[i], value);
    }
    return rc;
}

static enum rc set_attributes(struct fetch *f)
{
    size_t mark = arena_mark(&f->arena);
    struct sb sb = arena_builder(&f->arena);
    enum rc rc = f->is_9111 ? vary__make_normalised(&sb, f->bereq, f->beresp)
                            : vary__make(&sb, f->bereq, f->beresp);
    if (rc == RC_UNSUPPORTED && f->is_uncacheable) {
        /* It varies by more than we can tell: nobody waits for such an object. */
        sb.len = 0;
        rc = RC_OK;
    }
    if (rc == RC_OK && sb.len > 0) {
        rc = obj_set(f->busy, OA_VARY, sb_str(&sb));
    }
    sb.len = 0;
    if (rc == RC_OK) {
        http_pack(&sb, f->beresp);
        rc = sb.overflow ? RC_LIMIT : obj_set(f->busy, OA_HTTP, sb_str(&sb));
    }
    sb.len = 0;
    if (rc == RC_OK) {
        put_u32(&sb, f->vxid);
        rc = sb.overflow ? RC_LIMIT : obj_set(f->busy, OA_XID, sb_str(&sb));
    }
    arena_rewind(&f->arena, mark);
    if (rc == RC_OK && f->coded.ptr != NULL) {
        rc = obj_set(f->busy, OA_CODED, f->coded);
    }
    return rc == RC_OK && f->was_304 ? keep_attributes(f) : rc;
}

/* What the stored head says is what every later response says: no hop-by-hop fields. */
static enum rc strip_head(struct fetch *f)
{
    size_t cap = f->beresp->cap;
    struct http *stored = http_new(&f->arena, (unsigned)cap);
    if (stored == NULL) {
        return RC_LIMIT;
    }
    enum rc rc =
        http_copy(stored, f->beresp, f->is_uncacheable ? HTTP_COPY_STORE_PASS : HTTP_COPY_STORE);
    if (rc == RC_OK && f->is_9111 && !f->is_marker) {
        rc = rfc9111__withhold(f, stored);
    }
    if (rc == RC_OK) {
        f->beresp = stored;
        f->beresp->proto = STR("HTTP/1.1");
    }
    return rc;
}

uint64_t fetch__length(const struct fetch *f)
{
    if (f->is_synth) {
        return f->synth.len;
    }
    if (f->was_304) {
        return obj_len(f->old);
    }
    if (!fetch_filter__keeps_length(f)) {
        return UINT64_MAX;
    }
    switch (f->body.framing) {
    case H1_BODY_NONE:
        return 0;
    case H1_BODY_LENGTH:
        return f->body.bytes;
    default:
        return UINT64_MAX;
    }
}

static bool is_shortlived(const struct fetch *f)
{
    uint64_t life_ns = clock_after(f->times.ttl_ns, f->times.grace_ns);
    life_ns = clock_after(life_ns, f->times.keep_ns);
    return life_ns < param(f->engine->conf.params, shortlived);
}

/* The first that takes it. */
static enum rc store_anywhere(struct fetch *f, uint64_t len)
{
    const struct engine *engine = f->engine;
    enum rc rc = RC_NOSPACE;
    for (unsigned n = 0; n < engine->stores_count && rc != RC_OK; n++) {
        unsigned at = (f->first_store + n) % engine->stores_count;
        struct stevedore *const one[] = {engine->conf.stores[at], NULL};
        rc = obj_store(f->busy, one, len);
    }
    return rc;
}

static enum rc choose_store(struct fetch *f)
{
    struct vsc_main *main = &engine__wrk(f->engine)->main;
    struct stevedore *const one[] = {
        f->is_marker || is_shortlived(f) ? f->engine->conf.transient : f->store, NULL};
    main->beresp_uncacheable += f->is_marker;
    main->beresp_shortlived += !f->is_marker && one[0] == f->engine->conf.transient;
    uint64_t len = f->is_marker ? 0 : fetch__length(f);
    enum rc rc = one[0] == NULL ? store_anywhere(f, len) : obj_store(f->busy, one, len);
    if (rc == RC_OK) {
        vslb_printf(&f->log, SLT_Storage, "malloc %s", stv_name(obj_stevedore(f->busy)));
    } else {
        main->n_lru_limited += !f->is_marker;
        vslb_printf(&f->log, SLT_FetchError, "Could not get storage: %s", rc_text(rc));
    }
    return rc;
}

void fetch__fail_busy(struct fetch *f)
{
    obj_fail(f->busy);
    obj_release(&f->busy);
}

static unsigned flags_of(const struct fetch *f)
{
    if (f->is_hitpass) {
        return OBJ_HITPASS;
    }
    if (f->is_marker) {
        return OBJ_HITMISS;
    }
    bool is_never_fresh = f->is_9111 && f->times.ttl_ns == 0 && f->times.grace_ns == 0;
    unsigned kept = f->was_304 ? obj_flags(f->old) & (OBJ_ENCODED | OBJ_ESI) : 0;
    return f->obj_flags | kept | (is_never_fresh ? (unsigned)OBJ_NEVER_FRESH : 0) |
           (f->is_encoded ? (unsigned)OBJ_ENCODED : 0) | (f->has_esi ? (unsigned)OBJ_ESI : 0);
}

static void set_flags(struct fetch *f)
{
    unsigned marks = flags_of(f);
    bool stands_for_failure = f->is_synth && !f->is_deliberate;
    obj_set_flags(f->busy, marks | (stands_for_failure ? (unsigned)OBJ_FAILED : 0));
}

/* Everything about the object but its body. */
static MUST_USE enum rc make_object(struct fetch *f)
{
    obj_set_times(f->busy, &f->times);
    set_flags(f);
    enum rc rc = strip_head(f);
    if (rc == RC_OK) {
        rc = set_attributes(f);
    }
    if (rc == RC_OK) {
        rc = choose_store(f);
    }
    if (rc != RC_OK) {
        vslb_printf(&f->log, SLT_Error, "Failed to create object: %s", rc_text(rc));
    }
    return rc;
}

/* An object without a TTL answers those who wait for it and nobody else, whatever its grace; as a
 * new truth it still ends what it was to replace.  RFC 9111 has its own use for such ones. */
static void show(struct fetch *f)
{
    bool is_hidden = f->times.ttl_ns == 0 && !f->is_9111;
    if (is_hidden) {
        obj_hide(f->busy, !f->is_always_miss);
    }
    if (!obj_ready(f->busy) && !is_hidden) {
        engine__wrk(f->engine)->objm.fetch_stale++;
    }
}

enum rc fetch__publish(struct fetch *f)
{
    CHECK_OBJ(f, FETCH_MAGIC);
    CHECK(f->busy != NULL);
    enum rc rc = make_object(f);
    if (rc != RC_OK) {
        fetch__fail_busy(f);
        return rc;
    }
    if (f->was_304 && !f->is_marker) {
        f->is_adopted = obj_adopt(f->busy, f->old) == RC_OK;
        engine__wrk(f->engine)->objm.fetch_adopted += f->is_adopted;
    }
    show(f);
    return RC_OK;
}

/* A marker has no body; failing to keep it only means that the next request asks again. */
void fetch__mark(struct fetch *f)
{
    CHECK_OBJ(f, FETCH_MAGIC);
    if (fetch__publish(f) != RC_OK) {
        return;
    }
    if (obj_finish(f->busy) != RC_OK) {
        engine__wrk(f->engine)->main.n_lru_limited++;
    }
    obj_release(&f->busy);
}

/* Fills one run of storage as far as it goes. RC_EOF at the end of the body. */
static YIELDS enum rc fill_space(struct fetch *f, char *ptr, size_t len)
{
    size_t done = 0;
    while (done < len) {
        size_t got = 0;
        enum rc rc = fetch__body(f, ptr + done, len - done, &got);
        if (rc != RC_OK) {
            return rc;
        }
        done += got;
        obj_grown(f->busy, got);
    }
    return RC_OK;
}

static YIELDS enum rc store_bytes(struct fetch *f)
{
    for (;;) {
        uint64_t len_all = fetch__length(f);
        uint64_t want = len_all == UINT64_MAX ? UNKNOWN_STEP_BYTES : len_all - f->body_out;
        if (want == 0 || f->is_adopted) {
            return RC_EOF;
        }
        void *ptr = NULL;
        size_t len = 0;
        enum rc rc = obj_space(f->busy, want, &ptr, &len);
        if (f->do_stream && (rc == RC_NOSPACE || rc == RC_NOFILES)) {
            vslb_printf(&f->log, SLT_FetchError, "Could not get storage: %s, streaming",
                        rc_text(rc));
            engine__wrk(f->engine)->main.n_lru_limited++;
            obj_relay(f->busy, param(f->engine->conf.params, relay_window));
            continue;
        }
        if (rc != RC_OK) {
            vslb_printf(&f->log, SLT_FetchError, "Not stored, and not read: %s", rc_text(rc));
            return rc;
        }
        rc = fill_space(f, ptr, len);
        if (rc != RC_OK) {
            return rc;
        }
    }
}

static YIELDS void finish(struct fetch *f)
{
    fetch_filter__close(f);
    fetch__let_go(f);
    enum rc rc = obj_finish(f->busy);
    if (rc != RC_OK) {
        vslb_printf(&f->log, SLT_Error, "Could not keep the object: %s", rc_text(rc));
        engine__wrk(f->engine)->main.n_lru_limited++;
    }
}

void fetch__store(struct fetch *f)
{
    CHECK_OBJ(f, FETCH_MAGIC);
    fetch__log_body(f);
    if (store_bytes(f) != RC_EOF) {
        engine__wrk(f->engine)->main.fetch_failed++;
        fetch__fail_busy(f);
        return;
    }
    finish(f);
    obj_release(&f->busy);
}

/* A body that may not be stored is kept aside in Transient until it is whole. */
enum rc fetch__store_hidden(struct fetch *f)
{
    struct objcore *marker = NULL;
    if (f->busy == NULL || f->is_marker) {
        marker = f->busy;
        f->busy = cache_private(f->engine->conf.cache);
        f->store = f->engine->conf.transient;
    }
    bool is_marker = f->is_marker;
    f->is_marker = false;
    enum rc rc = make_object(f);
    if (rc == RC_OK) {
        fetch__log_body(f);
        rc = store_bytes(f);
    }
    if (rc == RC_EOF) {
        set_flags(f);
    }
    f->is_marker = is_marker;
    if (rc != RC_EOF) {
        if (marker != NULL || f->kind == FETCH_PASS) {
            fetch__fail_busy(f);
            f->busy = marker;
        }
        return rc == RC_OK ? RC_IO : rc;
    }
    obj_hold_back(f->busy);
    show(f);
    finish(f);
    f->stored = f->busy;
    f->busy = marker;
    return RC_OK;
}

/* ---- in the background ---- */

static YIELDS void keep(struct fetch *f)
{
    if (f->is_marker) {
        fetch__mark(f);
    } else if (f->is_synth && f->times.ttl_ns == 0) {
        /* An error that nobody is to get again; what we have may still be good enough. */
        fetch__fail_busy(f);
    } else if (fetch__publish(f) == RC_OK) {
        fetch__store(f);
    }
}

static YIELDS void background_fiber(void *arg)
{
    struct fetch *f = arg;
    if (!fetch__head(f)) {
        fetch__fail_busy(f);
    } else if (f->stored != NULL) {
        obj_release(&f->stored);
        if (f->busy != NULL) {
            fetch__mark(f);
        }
    } else {
        keep(f);
    }
    fetch__free(&f);
}

/* The request is prepared while its client's head is still there; the rest needs only the copy. */
void fetch__background(struct engine *engine, struct request *req, struct objcore **take_busy)
{
    struct fetch *f = fetch__new(engine, req, FETCH_BACKGROUND, take_busy);
    enum rc rc = fetch__prepare(f);
    f->req = NULL;
    if (rc == RC_OK) {
        rc = fiber_start(background_fiber, f, "bgfetch");
    }
    if (rc != RC_OK) {
        engine__wrk(engine)->main.fetch_no_thread++;
        fetch__fail_busy(f);
        fetch__free(&f);
    }
}

static YIELDS void store_fiber(void *arg)
{
    struct fetch *f = arg;
    fetch__store(f);
    fetch__free(&f);
}

void fetch__store_apart(struct fetch **take_fetch)
{
    struct fetch *f = *take_fetch;
    *take_fetch = NULL;
    f->req = NULL;
    /* What has arrived whole needs no fiber: it is stored without waiting for anything. */
    bool is_here = f->is_synth || f->was_304 || f->body.framing == H1_BODY_NONE ||
                   (f->body.framing == H1_BODY_LENGTH && f->reader.left <= f->fill - f->at);
    if (!is_here) {
        enum rc rc = fiber_start(store_fiber, f, "fetch");
        if (rc == RC_OK) {
            return;
        }
        engine__wrk(f->engine)->main.fetch_no_thread++;
    }
    store_fiber(f);
}
