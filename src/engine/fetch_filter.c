/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The filters between a backend and the storage.
 *
 * Who wants a filter: the answer itself (gzip is checked before it is stored), VCL's do_gzip,
 * do_gunzip and do_esi, and VCL's candidates.  The planner makes a chain of them; beresp.filters
 * overrides all of it.  The stored head is that of the body which leaves the chain.  What the
 * codecs learn on the way (where the parts of a gzip body lie, an ESI program) becomes attributes
 * at the body's end.
 *
 * A codec that fails fails the fetch: what it made of half a body is never taken for whole. */
#include "engine/filtering.h"

#include <stdlib.h>

struct fetch_filter {
    struct plan plan;
    struct filter_notes notes;
    struct chain *chain;
    uint64_t calls;
    bool makes_gzip;
};

/* ---- planning ---- */

/* Who asked for the head alone gets the one that the body would have. */
static bool is_head_alone(const struct fetch *f)
{
    return f->bereq->method_id == HTTP_M_HEAD && f->body.framing == H1_BODY_NONE;
}

static bool has_body(const struct fetch *f)
{
    if (is_head_alone(f)) {
        unsigned status = f->beresp->status;
        return status != 204 && status != 304 &&
               !str_eq(http_get(f->beresp, HDR_CONTENT_LENGTH), STR("0"));
    }
    bool is_empty = f->body.framing == H1_BODY_LENGTH && f->body.bytes == 0;
    return f->body.framing != H1_BODY_NONE && !is_empty;
}

/* What checks a body that goes into the cache as it came; "" where there is nothing to check. */
static struct str tester_of(struct str format)
{
    return str_eq(format, STR("gzip"))   ? STR("testgunzip")
           : str_eq(format, STR("br"))   ? STR("testunbrotli")
           : str_eq(format, STR("zstd")) ? STR("testunzstd")
                                         : STR("");
}

/* As Varnish: gzip is what says so, text what says nothing; of what says anything else, do_gzip and
 * do_gunzip keep their hands. */
static void add_defaults(const struct fetch *f, struct filtering *ask)
{
    bool is_on = param(f->engine->conf.params, http_gzip_support) != 0;
    bool is_opened = is_on && f->do_gunzip && str_eq(ask->from, STR("gzip"));
    /* Who opens it looks, too. */
    struct str first = is_opened ? STR("gunzip") : tester_of(ask->from);
    if (first.len > 0) {
        filtering__want(ask, first);
    }
    if (f->do_esi) {
        filtering__want(ask, STR("esi"));
    }
    if (is_on && f->do_gzip && !http_has(f->beresp, HDR_CONTENT_ENCODING)) {
        filtering__want(ask, STR("gzip"));
    }
}

static MUST_USE enum rc make_plan(struct fetch *f, struct plan *plan, struct str *unknown)
{
    struct filtering ask = {
        .side = FILTER_VFP,
        .from = filtering__format(http_get(f->beresp, HDR_CONTENT_ENCODING)),
        .said = f->vfps,
        .known = filters__of_fetch(f),
    };
    *plan = (struct plan){.side = FILTER_VFP, .from = ask.from, .to = ask.from};
    if (f->was_304 || f->is_synth || !has_body(f)) {
        return RC_OK;
    }
    if (f->filters.ptr != NULL) {
        return filtering__given(&ask, f->filters, &f->arena, plan, unknown);
    }
    if (f->beresp->status == 206) {
        /* Of a part, no filter can make sense. */
        return RC_OK;
    }
    add_defaults(f, &ask);
    return filtering__plan(engine__wrk(f->engine), &ask, &f->arena, plan);
}

enum rc fetch_filter__names(struct fetch *f, struct sb *names)
{
    if (f->filters.ptr != NULL) {
        sb_put(names, f->filters);
        return RC_OK;
    }
    struct plan plan;
    struct str unknown;
    enum rc rc = make_plan(f, &plan, &unknown);
    if (rc == RC_OK) {
        plan_names(&plan, names);
    }
    return rc;
}

/* ---- opening ---- */

static void log_names(struct fetch *f, const struct plan *plan)
{
    struct sb sb;
    if (f->filters.ptr != NULL) {
        vslb_str(&f->log, SLT_Filters, f->filters);
    } else if (vslb_claim(&f->log, SLT_Filters, &sb)) {
        plan_names(plan, &sb);
        vslb_done(&f->log, SLT_Filters, &sb);
    }
}

static enum rc refuse(struct fetch *f, enum rc rc, struct str name)
{
    if (rc == RC_NOT_FOUND) {
        vslb_str(&f->log, SLT_Filters, f->filters);
        vslb_printf(&f->log, SLT_FetchError, "Filter '...%.*s' not found", STR_ARG(name));
    } else if (name.ptr != NULL) {
        vslb_printf(&f->log, SLT_FetchError, "Fetch filter %.*s failed to open", STR_ARG(name));
    } else {
        vslb_str(&f->log, SLT_FetchError, STR("Workspace overflow"));
    }
    return rc;
}

/* What an object's readers have to know of its encoding. */
static void note_encoding(struct fetch *f, const struct plan *plan)
{
    /* What was not checked, as with beresp.filters, or since it is a part, is the clients' own
     * affair. */
    f->is_encoded = filter_encoding_of(plan->to).len > 0 && plan->steps_count > 0;
    if (!str_eq(plan->from, plan->to)) {
        struct sb sb = arena_builder(&f->arena);
        plan_names(plan, &sb);
        f->coded = arena_claim(&f->arena, &sb);
    }
}

static MUST_USE enum rc start(struct fetch *f, const struct plan *plan)
{
    struct fetch_filter *filter = arena_alloc(&f->arena, sizeof *filter);
    if (filter == NULL) {
        return refuse(f, RC_LIMIT, STR_NONE);
    }
    *filter = (struct fetch_filter){.plan = *plan, .makes_gzip = str_eq(plan->to, STR("gzip"))};
    struct filter_env env =
        filtering__env(engine__wrk(f->engine), &f->arena, &filter->notes, &f->log);
    if (f->body.framing == H1_BODY_LENGTH) {
        env.body_len = (size_t)f->body.bytes;
    }
    env.url = f->bereq->url;
    struct str failed = STR_NONE;
    enum rc rc = chain_new(&filter->plan, 0, plan->steps_count, &env, &filter->chain, &failed);
    if (rc != RC_OK) {
        return refuse(f, rc, failed);
    }
    f->filter = filter;
    filtering__count(engine__wrk(f->engine), plan);
    return RC_OK;
}

enum rc fetch_filter__open(struct fetch *f)
{
    CHECK_OBJ(f, FETCH_MAGIC);
    CHECK(f->filter == NULL);
    f->is_encoded = false;
    f->coded = STR_NONE;
    struct plan plan;
    struct str unknown = STR_NONE;
    enum rc rc = make_plan(f, &plan, &unknown);
    if (rc != RC_OK) {
        return refuse(f, rc, rc == RC_NOT_FOUND ? unknown : STR_NONE);
    }
    if (f->was_304) {
        return RC_OK;
    }
    if (!has_body(f)) {
        http_unset(f->beresp, HDR_CONTENT_ENCODING);
    }
    log_names(f, &plan);
    filtering__log_plan(&f->log, &plan, f->vfps, &f->arena);
    note_encoding(f, &plan);
    if (f->is_encoded && filtering__vary(f->beresp, &f->arena, &f->log, LOG_BERESP) != RC_OK) {
        return refuse(f, RC_LIMIT, STR_NONE);
    }
    if (plan.steps_count == 0) {
        return RC_OK;
    }
    rc = is_head_alone(f) ? RC_OK : start(f, &plan);
    if (rc == RC_OK) {
        rc = filtering__head(&plan, f->beresp, &f->arena, &f->log, LOG_BERESP);
        if (rc != RC_OK) {
            return refuse(f, rc, STR_NONE);
        }
    }
    if ((filtering__flags(&plan) & FILTER_NO_STREAM) != 0) {
        f->do_stream = false;
    }
    return rc;
}

bool fetch_filter__keeps_length(const struct fetch *f)
{
    return f->filter == NULL || (filtering__flags(&f->filter->plan) & FILTER_NEW_LENGTH) == 0;
}

/* ---- working ---- */

static YIELDS enum rc source(void *arg, void *dst, size_t bytes, size_t *got)
{
    return fetch__raw_body(arg, dst, bytes, got);
}

static enum rc codec_failed(struct fetch *f, enum rc rc)
{
    struct fetch_filter *filter = f->filter;
    struct str name = chain_failed(filter->chain);
    if (name.len == 0) {
        return rc; /* it was the source, which has said so */
    }
    if (filter->notes.error[0] != '\0') {
        vslb_str(&f->log, SLT_FetchError, str_of(filter->notes.error));
    } else {
        vslb_printf(&f->log, SLT_FetchError, "Fetch filter %.*s: %s", STR_ARG(name), rc_text(rc));
    }
    if (fetch__body_is_read(f)) {
        fetch__let_go(f); /* nothing is wrong with the connection */
    }
    return rc == RC_EOF ? RC_MALFORMED : rc;
}

static MUST_USE enum rc set_gzip_bits(struct fetch *f, const struct gzip_bits *bits)
{
    char text[FILTERING_BITS_BYTES];
    return obj_set(f->busy, OA_GZIPBITS, filtering__bits(bits, text));
}

/* All is out: what was learnt goes to the object. */
static MUST_USE enum rc learn(struct fetch *f)
{
    fetch__let_go(f);
    const struct fetch_filter *filter = f->filter;
    const struct filter_notes *notes = &filter->notes;
    if (f->busy == NULL) {
        return RC_EOF;
    }
    enum rc rc = RC_OK;
    if (notes->gzip.is_set && filter->makes_gzip) {
        rc = set_gzip_bits(f, &notes->gzip);
    }
    if (rc == RC_OK && notes->esi != NULL) {
        rc = obj_set(f->busy, OA_ESI, (struct str){notes->esi, notes->esi_len});
        f->has_esi = rc == RC_OK;
    }
    if (rc != RC_OK) {
        vslb_printf(&f->log, SLT_FetchError, "Could not keep what filters found: %s", rc_text(rc));
    }
    return rc == RC_OK ? RC_EOF : rc;
}

enum rc fetch_filter__pull(struct fetch *f, void *dst, size_t bytes, size_t *got)
{
    struct fetch_filter *filter = f->filter;
    filter->calls++;
    enum rc rc = chain_pull(filter->chain, source, f, dst, bytes, got);
    if (rc == RC_OK) {
        return rc;
    }
    return rc == RC_EOF && chain_failed(filter->chain).len == 0 ? learn(f) : codec_failed(f, rc);
}

void fetch_filter__close(struct fetch *f)
{
    struct fetch_filter *filter = f->filter;
    if (filter == NULL) {
        return;
    }
    f->filter = NULL;
    filtering__log_sums(&f->log, &filter->plan, filter->chain, filter->calls);
    struct vsc_main *main = engine_counters(f->engine);
    main->esi_errors += filter->notes.esi_errors;
    main->esi_warnings += filter->notes.esi_warnings;
    chain_free(&filter->chain);
    free(filter->notes.esi);
}
