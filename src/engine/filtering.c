/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What both sides of the cache do with a plan of filters: settle one that VCL wrote down, make a
 * head fit the body that leaves it, log what it did.
 *
 * Varnish's filters look at Content-Encoding when they are opened, and stand aside when it is not
 * theirs.  Ours are told by the formats in the plan, so this is done here, before anything is
 * opened. */
#include "engine/filtering.h"

#include <inttypes.h>

#include "base/cursor.h"
#include "filter/esi.h"
#include "http/http_list.h"

/* ---- formats ---- */

struct str filtering__format(struct str content_encoding)
{
    if (content_encoding.ptr == NULL) {
        return STR("text");
    }
    struct str format = filter_format_of(content_encoding);
    return format.ptr == NULL ? content_encoding : format;
}

bool filtering__is_in(struct str list, struct str format)
{
    struct str rest = list;
    while (rest.ptr != NULL) {
        struct str one = str_cut(&rest, ',');
        if (str_eq_nocase(one, format) || str_eq(one, STR("*"))) {
            return true;
        }
    }
    return false;
}

static struct str first_of(struct str list)
{
    return str_cut(&list, ',');
}

static bool is_encoding(struct str format)
{
    return filter_encoding_of(format).len > 0;
}

/* ---- plans ---- */

bool filtering__has(const struct plan *plan, struct str name)
{
    for (unsigned i = 0; i < plan->steps_count; i++) {
        if (str_eq(plan->steps[i].filter->name, name)) {
            return true;
        }
    }
    return false;
}

unsigned filtering__flags(const struct plan *plan)
{
    unsigned flags = 0;
    for (unsigned i = 0; i < plan->steps_count; i++) {
        flags |= plan->steps[i].filter->flags;
    }
    return flags;
}

void filtering__want(struct filtering *ask, struct str name)
{
    const struct filter *filter = filter_find(ask->side, name);
    CHECK(filter != NULL);
    CHECK(ask->count < PLAN_WANTS_MAX);
    if (!filter_wants_bar(ask->said, name)) {
        ask->wants[ask->count++] = (struct plan_want){.filter = filter, .pos = FILTER_DEFAULT};
    }
}

enum rc filtering__plan(struct wrk *wrk, struct filtering *ask, struct arena *arena,
                        struct plan *out)
{
    const struct filter_wants *said = ask->said;
    struct plan_ask all = {.side = ask->side, .from = ask->from, .wants = ask->wants};
    if (said != NULL) {
        for (unsigned i = 0; i < said->count && ask->count < PLAN_WANTS_MAX; i++) {
            ask->wants[ask->count++] = said->wants[i];
        }
        all.without = said->without;
        all.without_count = said->without_count;
    }
    all.wants_count = ask->count;
    if (ask->count == 0) {
        return RC_OK;
    }
    if (ask->known != NULL) {
        all.fills = ask->known->fills;
        all.fills_count = ask->known->fills_count;
    } else {
        unsigned builtins = 0;
        all.fills = filter_builtins(ask->side, &builtins, &all.fills_count);
    }
    return plan_cached(wrk->plans, &all, arena, out);
}

/* Whether a filter that was asked for by name has something to do with a body in this format. */
static bool applies(const struct filter *filter, struct str format)
{
    bool recodes = is_encoding(first_of(filter->in)) || is_encoding(first_of(filter->out));
    return !recodes || filtering__is_in(filter->in, format);
}

/* The filters that names may mean beside those built in: what VCL asked for, with what it said to
 * them, and what modules bring.  NULL: no room. */
static const struct plan_want *named_by(const struct filtering *ask, struct arena *arena,
                                        unsigned *count)
{
    unsigned said = ask->said == NULL ? 0 : ask->said->count;
    unsigned known = ask->known == NULL ? 0 : ask->known->named_count;
    struct plan_want *all = arena_alloc(arena, (said + known) * sizeof *all);
    *count = said + known;
    for (unsigned i = 0; all != NULL && i < said + known; i++) {
        all[i] = i < said ? ask->said->wants[i] : ask->known->named[i - said];
    }
    return all;
}

enum rc filtering__given(const struct filtering *ask, struct str names, struct arena *arena,
                         struct plan *out, struct str *unknown)
{
    unsigned more_count;
    const struct plan_want *more = named_by(ask, arena, &more_count);
    if (more == NULL) {
        return RC_LIMIT;
    }
    enum rc rc = plan_given(ask->side, ask->from, names, more, more_count, arena, out, unknown);
    if (rc != RC_OK || out->steps_count == 0) {
        return rc;
    }
    struct plan_step *steps = arena_alloc(arena, out->steps_count * sizeof *steps);
    if (steps == NULL) {
        return RC_LIMIT;
    }
    struct str format = ask->from;
    unsigned count = 0;
    for (unsigned i = 0; i < out->steps_count; i++) {
        struct plan_step step = out->steps[i];
        if (!applies(step.filter, format)) {
            continue;
        }
        bool keeps_format = !filtering__is_in(step.filter->in, format) ||
                            filtering__is_in(step.filter->out, format);
        step.in = format;
        format = keeps_format ? format : first_of(step.filter->out);
        step.out = format;
        steps[count++] = step;
    }
    out->steps = steps;
    out->steps_count = count;
    out->to = format;
    return RC_OK;
}

/* ---- heads ---- */

static void log_unset(struct vslb *log, enum log_head kind, const struct http_hdr *hdr)
{
    if (log != NULL) {
        vslb_header(log, kind == LOG_RESP ? SLT_RespUnset : SLT_BerespUnset, hdr->name, hdr->value);
    }
}

static void drop_field(struct http *h, struct vslb *log, enum log_head kind, enum http_hdr_id id)
{
    const struct http_hdr *hdr = http_find(h, id);
    if (hdr != NULL) {
        log_unset(log, kind, hdr);
        http_unset(h, id);
    }
}

static MUST_USE enum rc change_field(struct http *h, struct vslb *log, enum log_head kind,
                                     enum http_hdr_id id, struct str value)
{
    drop_field(h, log, kind, id);
    enum rc rc = http_add(h, id, value);
    if (rc == RC_OK && log != NULL) {
        log__field(log, kind, &h->hdr[h->count - 1]);
    }
    return rc == RC_OK ? RC_OK : RC_LIMIT;
}

enum rc filtering__weaken(struct http *h, struct arena *arena, struct vslb *log, enum log_head kind)
{
    struct str etag = http_get(h, HDR_ETAG);
    if (etag.ptr == NULL || str_starts(etag, STR("W/"))) {
        return RC_OK;
    }
    struct str weak = arena_printf(arena, "W/%.*s", STR_ARG(etag));
    return weak.ptr == NULL ? RC_LIMIT : change_field(h, log, kind, HDR_ETAG, weak);
}

enum rc filtering__vary(struct http *h, struct arena *arena, struct vslb *log, enum log_head kind)
{
    if (http_has_token(h, HDR_VARY, STR("Accept-Encoding"))) {
        return RC_OK;
    }
    struct str before = http_get(h, HDR_VARY);
    struct str after = before.ptr == NULL
                           ? STR("Accept-Encoding")
                           : arena_printf(arena, "%.*s, Accept-Encoding", STR_ARG(before));
    return after.ptr == NULL ? RC_LIMIT : change_field(h, log, kind, HDR_VARY, after);
}

static MUST_USE enum rc set_encoding(const struct plan *plan, struct http *h, struct vslb *log,
                                     enum log_head kind)
{
    struct str encoding = filter_encoding_of(plan->to);
    if (str_eq(plan->from, plan->to)) {
        return RC_OK;
    }
    if (encoding.len == 0) {
        drop_field(h, log, kind, HDR_CONTENT_ENCODING);
        return RC_OK;
    }
    return change_field(h, log, kind, HDR_CONTENT_ENCODING, encoding);
}

enum rc filtering__head(const struct plan *plan, struct http *h, struct arena *arena,
                        struct vslb *log, enum log_head kind)
{
    unsigned flags = filtering__flags(plan);
    enum rc rc = set_encoding(plan, h, log, kind);
    if (rc == RC_OK && (flags & FILTER_NEW_LENGTH) != 0) {
        drop_field(h, log, kind, HDR_CONTENT_LENGTH);
    }
    if (rc == RC_OK && (flags & FILTER_WEAKENS_ETAG) != 0) {
        rc = filtering__weaken(h, arena, log, kind);
    }
    if (rc == RC_OK && (flags & FILTER_VARIES_AE) != 0) {
        rc = filtering__vary(h, arena, log, kind);
    }
    return rc;
}

/* ---- codecs ---- */

static void log_record(void *log_arg, unsigned tag, struct str text)
{
    vslb_str(log_arg, (enum VSL_tag_e)tag, text);
}

static unsigned esi_flags(const struct params *p)
{
    static const struct {
        unsigned bit;
        enum esi_flag flag;
    } bits[] = {
        {PARAM_FEATURE_esi_ignore_https, ESI_IGNORE_HTTPS},
        {PARAM_FEATURE_esi_disable_xml_check, ESI_DISABLE_XML_CHECK},
        {PARAM_FEATURE_esi_ignore_other_elements, ESI_IGNORE_OTHER_ELEMENTS},
        {PARAM_FEATURE_esi_remove_bom, ESI_REMOVE_BOM},
    };
    unsigned flags = 0;
    for (size_t n = 0; n < ARRAY_SIZE(bits); n++) {
        flags |= param_bit(p, PARAM_BITS_feature, bits[n].bit) ? (unsigned)bits[n].flag : 0;
    }
    return flags;
}

struct filter_env filtering__env(const struct wrk *wrk, struct arena *arena,
                                 struct filter_notes *notes, struct vslb *log)
{
    const struct params *p = wrk->engine->conf.params;
    return (struct filter_env){
        .arena = arena,
        .notes = notes,
        .states = wrk->filter_states,
        .body_len = SIZE_MAX,
        .expand_floor_bytes = (size_t)param(p, filter_expand_floor),
        .expand_ratio_max = (unsigned)param(p, filter_expand_max),
        .gzip_level = (int)param(p, gzip_level),
        .gzip_memlevel = (int)param(p, gzip_memlevel),
        .brotli_quality = (unsigned)param(p, brotli_level),
        .zstd_level = (unsigned)param(p, zstd_level),
        .buffer_bytes_max = (size_t)param(p, filter_buffer_max),
        .esi_flags = esi_flags(p),
        .log = log_record,
        .log_arg = log,
    };
}

struct str filtering__bits(const struct gzip_bits *bits, char text[FILTERING_BITS_BYTES])
{
    struct sb sb = sb_of(text, FILTERING_BITS_BYTES);
    put_u64(&sb, bits->start_bit);
    put_u64(&sb, bits->last_bit);
    put_u64(&sb, bits->stop_bit);
    put_u64(&sb, bits->in_bytes);
    put_u64(&sb, bits->out_bytes);
    put_u32(&sb, bits->crc);
    return sb_str(&sb);
}

/* ---- figures ---- */

void filtering__count(struct wrk *wrk, const struct plan *plan)
{
    for (unsigned i = 0; i < plan->steps_count; i++) {
        struct str name = plan->steps[i].filter->name;
        wrk->main.n_gzip += str_eq(name, STR("gzip")) || str_eq(name, STR("esi_gzip"));
        wrk->main.n_gunzip += str_eq(name, STR("gunzip"));
        wrk->main.n_test_gunzip += str_eq(name, STR("testgunzip"));
    }
}

static bool is_said(const struct filter_wants *said, const struct filter *filter)
{
    for (unsigned i = 0; said != NULL && i < said->count; i++) {
        if (said->wants[i].filter == filter) {
            return true;
        }
    }
    return false;
}

void filtering__log_plan(struct vslb *log, const struct plan *plan, const struct filter_wants *said,
                         struct arena *arena)
{
    size_t mark = arena_mark(arena);
    if (plan->steps_count > 0 && vslb_wants(log, SLT_Debug)) {
        struct sb sb = arena_builder(arena);
        sb_lit(&sb, "OBJM plan ");
        plan_print(plan, &sb);
        vslb_str(log, SLT_Debug, sb_str(&sb));
    }
    arena_rewind(arena, mark);
    for (unsigned i = 0; i < plan->left_count; i++) {
        const struct plan_left *left = &plan->left[i];
        if (!is_said(said, left->want.filter)) {
            continue; /* the engine's own wish gave way to another */
        }
        vslb_printf(log, SLT_Notice, "Filter %.*s left out: %s", STR_ARG(left->want.filter->name),
                    left->reason);
    }
}

void filtering__log_sums(struct vslb *log, const struct plan *plan, const struct chain *chain,
                         uint64_t calls)
{
    enum VSL_tag_e tag = plan->side == FILTER_VFP ? SLT_VfpAcct : SLT_VdpAcct;
    for (unsigned n = chain_count(chain); n > 0; n--) {
        uint64_t in = 0;
        uint64_t out = 0;
        chain_sums(chain, n - 1, &in, &out);
        struct str name = chain_name(chain, n - 1);
        vslb_printf(log, tag, "%.*s %" PRIu64 " %" PRIu64, STR_ARG(name), calls,
                    plan->side == FILTER_VFP ? out : in);
    }
}
