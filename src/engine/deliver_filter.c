/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The filters between a body, stored or on its way, and a client.
 *
 * Who wants one: the body (it is encoded as this client does not take it), and VCL's candidates.
 * Each filter of the plan then says what it does for this response: what it ignores it does not
 * see, and a range is an offset and a length on any lane.  Only when one is left that has to see
 * the body does it go by the body lane, and the first of them is the reason.
 *
 * The head is that of a GET whoever asks, so for HEAD everything is done here but the body. */
#include "engine/filtering.h"

#include "base/cursor.h"
#include "http/http_list.h"

/* ---- what the client takes ---- */

static bool takes(const struct http *h, struct str coding)
{
    return http_qvalue(h, HDR_ACCEPT_ENCODING, coding) > 0;
}

/* As Varnish: x-gzip needs no weight. */
static bool takes_gzip(const struct http *h)
{
    return str_eq(http_get(h, HDR_ACCEPT_ENCODING), STR("gzip")) ||
           http_has_token(h, HDR_ACCEPT_ENCODING, STR("x-gzip")) || takes(h, STR("gzip"));
}

bool deliver_filter__is_welcome(const struct request *req, struct str format)
{
    if (str_eq(format, STR("gzip"))) {
        return takes_gzip(req->http);
    }
    struct http_hdr table[1];
    struct http before;
    http_init(&before, table, ARRAY_SIZE(table));
    bool was_washed = req->accept_encoding.ptr != NULL &&
                      http_add(&before, HDR_ACCEPT_ENCODING, req->accept_encoding) == RC_OK;
    return takes(was_washed ? &before : req->http, filter_encoding_of(format));
}

enum rc deliver_filter__wash(struct request *req)
{
    struct http *h = req->http;
    if (str_eq(http_get(h, HDR_ACCEPT_ENCODING), STR("gzip"))) {
        return RC_OK;
    }
    bool is_welcome = takes_gzip(h);
    if (req->accept_encoding.ptr == NULL) {
        if (http_join(h, HDR_ACCEPT_ENCODING, req->arena) != RC_OK) {
            return RC_LIMIT;
        }
        req->accept_encoding = http_get(h, HDR_ACCEPT_ENCODING);
    }
    vslb_header(&req->log, SLT_ReqUnset, STR("Accept-Encoding"), http_get(h, HDR_ACCEPT_ENCODING));
    http_unset(h, HDR_ACCEPT_ENCODING);
    if (!is_welcome) {
        return RC_OK;
    }
    vslb_header(&req->log, SLT_ReqHeader, STR("Accept-Encoding"), STR("gzip"));
    return http_add_own(h, HDR_ACCEPT_ENCODING, STR("gzip"));
}

/* ---- what there is ---- */

static struct str decoder_of(struct str format)
{
    return str_eq(format, STR("br"))     ? STR("unbrotli")
           : str_eq(format, STR("zstd")) ? STR("unzstd")
                                         : STR("gunzip");
}

static bool can_be_decoded(struct str format)
{
    const struct filter *filter = filter_find(FILTER_VDP, decoder_of(format));
    return filter != NULL && filter->codec != NULL;
}

enum rc deliver_filter__look_at(struct request *req)
{
    bool is_encoded =
        req->oc != NULL ? (obj_flags(req->oc) & OBJ_ENCODED) != 0 : req->fetch->is_encoded;
    req->body_format = filtering__format(http_get(req->resp, HDR_CONTENT_ENCODING));
    req->is_unwanted = is_encoded && param(req->engine->conf.params, http_gzip_support) &&
                       !deliver_filter__is_welcome(req, req->body_format) &&
                       can_be_decoded(req->body_format);
    return req->is_unwanted ? filtering__weaken(req->resp, req->arena, NULL, LOG_RESP) : RC_OK;
}

static struct str format_of(const struct request *req)
{
    return req->body_format.ptr == NULL ? STR("text") : req->body_format;
}

static bool has_esi(const struct request *req)
{
    return req->does_esi && req->oc != NULL && (obj_flags(req->oc) & OBJ_ESI) != 0;
}

/* ---- planning ---- */

static bool may_be_range(const struct request *req, const struct http *resp)
{
    return resp->status == 200 && http_has(req->http, HDR_RANGE);
}

static MUST_USE enum rc make_plan(struct request *req, struct plan *plan, struct str *unknown)
{
    struct filtering ask = {
        .side = FILTER_VDP,
        .from = format_of(req),
        .said = req->vdps,
        .known = filters__of_request(req),
    };
    *plan = (struct plan){.side = FILTER_VDP, .from = ask.from, .to = ask.from};
    if (req->filters.ptr != NULL) {
        return filtering__given(&ask, req->filters, req->arena, plan, unknown);
    }
    if (has_esi(req)) {
        filtering__want(&ask, STR("esi"));
    }
    if (req->is_unwanted) {
        filtering__want(&ask, decoder_of(ask.from));
    }
    return filtering__plan(req->wrk, &ask, req->arena, plan);
}

static bool is_range_standard(const struct request *req, const struct http *resp)
{
    return may_be_range(req, resp) && param(req->engine->conf.params, http_range_support);
}

enum rc deliver_filter__names(struct request *req, struct sb *names)
{
    if (req->filters.ptr != NULL) {
        sb_put(names, req->filters);
        return RC_OK;
    }
    struct plan plan;
    struct str unknown;
    enum rc rc = make_plan(req, &plan, &unknown);
    if (rc == RC_OK) {
        plan_names(&plan, names);
        sb_put(names, is_range_standard(req, req->resp) ? STR(" range") : STR(""));
    }
    return rc;
}

/* ---- the handshake ---- */

static enum filter_use use_of(const struct filter *filter, const struct filter_about *about)
{
    return filter->use == NULL ? FILTER_CHANGES : filter->use(about);
}

/* Leaves out what has nothing to do here, and ranges, which need no filter. */
static MUST_USE enum rc shake_hands(struct request *req, const struct http *resp,
                                    struct delivery *delivery)
{
    struct plan *plan = &delivery->plan;
    struct plan_step *steps = arena_alloc(req->arena, (plan->steps_count + 1) * sizeof *steps);
    if (steps == NULL) {
        return RC_LIMIT;
    }
    const struct filter_about about = {
        .has_body = true,
        .has_range = may_be_range(req, resp),
        .is_esi = has_esi(req),
        .from = plan->from,
    };
    unsigned count = 0;
    for (unsigned i = 0; i < plan->steps_count; i++) {
        const struct plan_step *step = &plan->steps[i];
        enum filter_use use = use_of(step->filter, &about);
        if (use == FILTER_IGNORES || use == FILTER_RESTRICTS) {
            continue;
        }
        delivery->is_esi |= str_eq(step->filter->name, STR("esi"));
        if (count == 0) {
            delivery->reason = step->filter->counter_reason;
        }
        steps[count++] = *step;
    }
    plan->steps = steps;
    plan->steps_count = count;
    return RC_OK;
}

/* How long a gzip body is when it is unpacked, if it is all there; or UINT64_MAX. */
static uint64_t unpacked_length(const struct request *req)
{
    struct str bits = STR_NONE;
    if (req->oc != NULL && obj_is_complete(req->oc)) {
        bits = obj_get(req->oc, OA_GZIPBITS);
    }
    struct cursor c = cursor_of(bits.ptr, bits.len);
    (void)cursor_bytes(&c, 24);
    uint64_t len = cursor_u64(&c);
    return c.rc == RC_OK ? len : UINT64_MAX;
}

static uint64_t length_after(const struct request *req, const struct plan *plan, uint64_t before)
{
    uint64_t len = before;
    for (unsigned i = 0; i < plan->steps_count; i++) {
        const struct filter *filter = plan->steps[i].filter;
        if (i == 0 && str_eq(filter->name, STR("gunzip"))) {
            len = unpacked_length(req);
        } else if ((filter->flags & FILTER_NEW_LENGTH) != 0) {
            len = UINT64_MAX;
        }
    }
    return len;
}

static void log_names(struct request *req, const struct http *resp, const struct plan *plan)
{
    struct sb sb;
    if (req->filters.ptr != NULL) {
        vslb_str(&req->log, SLT_Filters, req->filters);
    } else if (vslb_claim(&req->log, SLT_Filters, &sb)) {
        plan_names(plan, &sb);
        sb_put(&sb, is_range_standard(req, resp) ? STR(" range") : STR(""));
        vslb_done(&req->log, SLT_Filters, &sb);
    }
}

static enum rc refuse(struct request *req, enum rc rc, struct str unknown)
{
    if (rc == RC_NOT_FOUND) {
        vslb_str(&req->log, SLT_Filters, req->filters);
        vslb_printf(&req->log, SLT_Error, "Filter '...%.*s' not found", STR_ARG(unknown));
    }
    vslb_str(&req->log, SLT_Error, STR("Failure to push processors"));
    return rc;
}

enum rc deliver_filter__settle(struct request *req, struct http *resp, uint64_t *body_len,
                               bool *by_range)
{
    struct delivery *delivery = arena_alloc(req->arena, sizeof *delivery);
    if (delivery == NULL) {
        return refuse(req, RC_LIMIT, STR_NONE);
    }
    *delivery = (struct delivery){.reason = STR_NONE, .from_bytes = *body_len};
    struct str unknown = STR_NONE;
    enum rc rc = make_plan(req, &delivery->plan, &unknown);
    if (rc != RC_OK) {
        return refuse(req, rc, unknown);
    }
    log_names(req, resp, &delivery->plan);
    filtering__log_plan(&req->log, &delivery->plan, req->vdps, req->arena);
    *by_range = req->filters.ptr == NULL
                    ? is_range_standard(req, resp)
                    : may_be_range(req, resp) && filtering__has(&delivery->plan, STR("range"));
    rc = shake_hands(req, resp, delivery);
    if (rc == RC_OK && delivery->plan.steps_count > 0) {
        req->delivery = delivery;
        filtering__count(req->wrk, &delivery->plan);
        *body_len = length_after(req, &delivery->plan, *body_len);
        rc = filtering__head(&delivery->plan, resp, req->arena, &req->log, LOG_RESP);
    }
    return rc == RC_OK ? RC_OK : refuse(req, rc, STR_NONE);
}

/* ---- codecs ---- */

enum rc deliver_filter__open(struct request *req)
{
    struct delivery *delivery = req->delivery;
    struct filter_env env = filtering__env(req->wrk, req->arena, &delivery->notes, &req->log);
    env.body_len = (size_t)delivery->from_bytes;
    struct str failed = STR_NONE;
    enum rc rc =
        chain_new(&delivery->plan, 0, delivery->plan.steps_count, &env, &delivery->chain, &failed);
    if (rc != RC_OK) {
        vslb_printf(&req->log, SLT_Error, "Delivery filter %.*s failed to open: %s",
                    STR_ARG(failed), rc_text(rc));
    }
    return rc;
}

void deliver_filter__close(struct request *req)
{
    struct delivery *delivery = req->delivery;
    if (delivery->chain != NULL) {
        filtering__log_sums(&req->log, &delivery->plan, delivery->chain, delivery->calls);
        chain_free(&delivery->chain);
    }
}

/* ---- bytes ---- */

static bool is_full(const struct outlet *outlet)
{
    return outlet->part.is_range && outlet->sent == outlet->part.len;
}

/* What leaves the filters. */
static YIELDS enum rc emit(void *arg, const void *ptr, size_t bytes)
{
    struct outlet *outlet = arg;
    const struct part *part = &outlet->part;
    uint64_t skip = outlet->at < part->off ? part->off - outlet->at : 0;
    outlet->at += bytes;
    if (skip >= bytes) {
        return RC_OK;
    }
    uint64_t len = bytes - skip;
    if (len > part->len - outlet->sent) {
        len = part->len - outlet->sent;
        if (!part->is_range) {
            return RC_TOO_LONG; /* than the head says */
        }
    }
    if (len == 0) {
        return RC_OK;
    }
    union {
        const void *in;
        char *out; /* writev only reads, though its type cannot say so */
    } from = {.in = ptr};
    struct iovec iov = {from.out + skip, (size_t)len};
    outlet->sent += len;
    return outlet->req->transport->data(outlet->req, &iov, 1);
}

static enum rc codec_failed(struct request *req, enum rc rc)
{
    const struct delivery *delivery = req->delivery;
    struct str name = chain_failed(delivery->chain);
    const char *error = delivery->notes.error;
    if (name.len == 0) {
        return rc; /* it was the client */
    }
    vslb_printf(&req->log, SLT_Error, "Delivery filter %.*s: %s", STR_ARG(name),
                error[0] != '\0' ? error : rc_text(rc));
    return rc == RC_EOF ? RC_MALFORMED : rc;
}

static YIELDS enum rc push(struct outlet *outlet, const void *ptr, size_t len, bool is_end)
{
    struct request *req = outlet->req;
    struct delivery *delivery = req->delivery;
    if (delivery == NULL) {
        return is_end ? RC_OK : emit(outlet, ptr, len);
    }
    delivery->calls++;
    enum rc rc = chain_push(delivery->chain, ptr, len, is_end, emit, outlet);
    return rc == RC_OK ? rc : codec_failed(req, rc);
}

enum rc outlet__put(struct outlet *outlet, const void *ptr, size_t len)
{
    const struct delivery *delivery = outlet->req->delivery;
    enum rc rc = push(outlet, ptr, len, false);
    if (rc != RC_OK) {
        return rc;
    }
    bool is_done = delivery != NULL && chain_is_done(delivery->chain);
    return is_done || is_full(outlet) ? RC_EOF : RC_OK;
}

enum rc outlet__end(struct outlet *outlet)
{
    enum rc rc = is_full(outlet) ? RC_OK : push(outlet, NULL, 0, true);
    if (rc != RC_OK) {
        return rc;
    }
    const struct part *part = &outlet->part;
    if (part->len != UINT64_MAX && outlet->sent < part->len) {
        outlet->req->fault = part->is_range ? REQUEST_RANGE_SHORT : outlet->req->fault;
        return RC_RESET;
    }
    return outlet->req->transport->end(outlet->req);
}
