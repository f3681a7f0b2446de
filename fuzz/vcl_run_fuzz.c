/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The machine that runs VCL: whatever compiles is loaded and runs, every sub of it, against a
 * request, a response and variables that follow from the input, with a workspace that may be too
 * small and tables of fields that may be full.  Each run ends, returns what its sub may return or
 * fails, and leaves nothing behind.
 *
 *     input: VCL, NUL, eight bytes that all chance comes from, text of fields and first lines */
#include "fuzz.h"

#include <math.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "vcl/program.h"

enum { PIECES = 16, WS_MAX = 64 << 10, HOUSE_WS_BYTES = 256 << 10, FIELDS = 24 };

struct world {
    struct rng rng;
    struct vcl *vcl;
    struct str pieces[PIECES];
    struct http *http[OBJM_HTTP__COUNT];
    struct arena ws;
    uint8_t digest[32];
};

/* ---- chance ---- */

static struct str piece(struct world *w)
{
    return w->pieces[rng_below(&w->rng, PIECES)];
}

static int64_t number(struct world *w)
{
    static const int64_t odd[] = {0,         1,         -1,        200,           503,     65536,
                                  INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN + 1, 1 << 20, 42};
    return odd[rng_below(&w->rng, ARRAY_SIZE(odd))];
}

static double seconds(struct world *w)
{
    static const double odd[] = {0, 0.001, -1, 10, 120, 1e9, 1.7e9, 4e18, -4e18, 0.5};
    return odd[rng_below(&w->rng, ARRAY_SIZE(odd))];
}

static const struct objm_ip *address(struct world *w)
{
    static const struct objm_ip ips[] = {
        {.family = 4, .port = 80, .addr = {127, 0, 0, 1}},
        {.family = 4, .addr = {10, 1, 2, 3}},
        {.family = 6, .port = 65535, .addr = {0x20, 0x01, 0x0d, 0xb8}},
        {.family = 0},
    };
    uint64_t which = rng_below(&w->rng, ARRAY_SIZE(ips) + 1);
    return which == ARRAY_SIZE(ips) ? NULL : &ips[which];
}

/* ---- a host ---- */

static const struct objm_stevedore store = {.name = "s0"};

static const uint8_t var_types[VCL_VAR__COUNT] = {
#define VAR(name, id, type, read, set, unset, lo, hi) [VCL_VAR_##id] = VT_##type,
#define VAR_AGAIN(name, id, type, read, set, unset, lo, hi)
#include "vcl/vars.def"
#undef VAR
#undef VAR_AGAIN
};

static struct http *host_http(struct vcl_task *task, enum objm_http which)
{
    return ((struct world *)task->arg)->http[which];
}

static bool host_get(struct vcl_task *task, enum vcl_var var, union objm_value *value)
{
    struct world *w = task->arg;
    switch ((enum vcl_type)var_types[var]) {
    case VT_BOOL:
        value->boolean = rng_below(&w->rng, 2) != 0;
        return true;
    case VT_INT:
    case VT_BYTES:
        value->integer = number(w);
        return true;
    case VT_REAL:
    case VT_DURATION:
    case VT_TIME:
        value->real = seconds(w);
        return true;
    case VT_STRING:
        value->string = vcl_objm_str(piece(w));
        return true;
    case VT_IP:
        value->ip = address(w);
        return true;
    case VT_BACKEND:
        value->backend = rng_below(&w->rng, 4) == 0 ? NULL : vcl_default_backend(task->vcl);
        return true;
    case VT_STEVEDORE:
        value->stevedore = rng_below(&w->rng, 4) == 0 ? NULL : &store;
        return true;
    case VT_BLOB:
        value->blob = (struct objm_blob){w->digest, sizeof w->digest};
        return true;
    default:
        return false;
    }
}

/* Every byte of what VCL says is there to be read. */
static void read_all(struct world *w, struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        w->digest[i % sizeof w->digest] ^= (uint8_t)text.ptr[i];
    }
}

static bool host_set(struct vcl_task *task, enum vcl_var var, const union objm_value *value)
{
    struct world *w = task->arg;
    if (var_types[var] == VT_STRING) {
        read_all(w, vcl_str(value->string));
    } else if (var_types[var] == VT_REAL || var_types[var] == VT_DURATION) {
        CHECK(!isnan(value->real));
    }
    return rng_below(&w->rng, 64) != 0;
}

static void host_unset(struct vcl_task *task, enum vcl_var var)
{
    (void)task;
    (void)var;
}

static bool host_body(struct vcl_task *task, enum vcl_var var, struct str text, bool is_more)
{
    (void)var;
    (void)is_more;
    read_all(task->arg, text);
    return true;
}

static void host_hash(struct vcl_task *task, struct str text)
{
    read_all(task->arg, text);
}

static bool host_ban(struct vcl_task *task, struct str spec, struct str *error)
{
    read_all(task->arg, spec);
    *error = STR("not today");
    return rng_below(&((struct world *)task->arg)->rng, 2) != 0;
}

static YIELDS int64_t host_purge(struct vcl_task *task, double ttl, double grace, double keep)
{
    CHECK(!isnan(ttl + grace + keep) || isinf(ttl) || isinf(grace) || isinf(keep));
    return number(task->arg);
}

static bool host_rollback(struct vcl_task *task, enum objm_http which)
{
    return host_http(task, which) != NULL;
}

static YIELDS bool host_req_body(struct vcl_task *task, int64_t bytes)
{
    (void)bytes;
    return rng_below(&((struct world *)task->arg)->rng, 2) != 0;
}

static void host_misc(struct vcl_task *task, enum vcl_misc what, int64_t value)
{
    (void)task;
    (void)what;
    (void)value;
}

static void host_timestamp(struct vcl_task *task, struct str label)
{
    read_all(task->arg, label);
}

static bool host_digest(struct vcl_task *task, uint8_t digest[32])
{
    struct world *w = task->arg;
    memcpy(digest, w->digest, sizeof w->digest);
    return rng_below(&w->rng, 2) != 0;
}

static const struct objm_stevedore *host_store(struct vcl_task *task, const char *name)
{
    (void)task;
    return strcmp(name, store.name) == 0 ? &store : NULL;
}

static void host_property(struct vcl_task *task, const struct objm_stevedore *which_store,
                          enum vcl_prop which, union objm_value *value)
{
    CHECK(which_store == NULL || which_store == &store);
    if (which == VCL_PROP_HAPPY) {
        value->boolean = true;
    } else {
        value->integer = number(task->arg);
    }
}

static struct arena *host_ws(struct vcl_task *task, enum objm_ws which)
{
    (void)which;
    return task->ws;
}

static bool host_add_filter(struct vcl_task *task, enum filter_side side,
                            const struct plan_want *want)
{
    (void)task;
    CHECK(filter_find(side, want->filter->name) == want->filter);
    return true;
}

static bool host_remove_filter(struct vcl_task *task, enum filter_side side, struct str name)
{
    (void)task;
    CHECK(filter_find(side, name) != NULL);
    return true;
}

static const struct vcl_host host = {
    .add_filter = host_add_filter,
    .remove_filter = host_remove_filter,
    .http = host_http,
    .get = host_get,
    .set = host_set,
    .unset = host_unset,
    .body = host_body,
    .hash_data = host_hash,
    .ban = host_ban,
    .purge = host_purge,
    .rollback = host_rollback,
    .cache_req_body = host_req_body,
    .misc = host_misc,
    .timestamp = host_timestamp,
    .digest = host_digest,
    .store = host_store,
    .store_property = host_property,
    .workspace = host_ws,
};

/* ---- backends and labels ---- */

static void *leaf_new(void *arg, const char *vcl, const struct vcl_backend_decl *decl,
                      const char **why)
{
    (void)arg;
    (void)vcl;
    (void)decl;
    *why = "";
    return xmalloc(1);
}

static void leaf_free(void *arg, void *take_leaf)
{
    (void)arg;
    free(take_leaf);
}

static void leaf_warm(void *arg, void *leaf, bool is_warm)
{
    (void)arg;
    (void)leaf;
    (void)is_warm;
}

static bool leaf_healthy(void *arg, void *leaf, double *changed)
{
    (void)leaf;
    if (changed != NULL) {
        *changed = 1e9;
    }
    return rng_below(&((struct world *)arg)->rng, 3) != 0;
}

static unsigned label_refs;

static void *label(void *arg, const char *name)
{
    (void)arg;
    (void)name;
    label_refs++;
    return &label_refs;
}

static void unlabel(void *arg, void *ref)
{
    (void)arg;
    CHECK(ref == &label_refs);
    label_refs--;
}

/* ---- runs ---- */

enum {
#define RETURN(lower, UPPER) RET_##lower = VCL_RET_##UPPER,
#include "vcl/subs.def"
#undef RETURN
};

static const struct {
    enum { CLIENT, BACKEND, HOUSE } side;
    uint32_t returns;
} subs[VCL_SUB__COUNT] = {
#define R(lower) (UINT32_C(1) << RET_##lower)
#define SUB(lower, UPPER, side, returns) [VCL_SUB_##UPPER] = {side, returns},
#include "vcl/subs.def"
#undef SUB
#undef R
};

/* Which message is there at all. */
static void set_messages(struct world *w, struct http *const all[OBJM_HTTP__COUNT],
                         enum vcl_sub sub)
{
    bool is_client = subs[sub].side == CLIENT;
    memset(w->http, 0, sizeof w->http);
    w->http[OBJM_REQ] = is_client ? all[OBJM_REQ] : NULL;
    w->http[OBJM_REQ_TOP] = is_client ? all[OBJM_REQ] : NULL;
    w->http[OBJM_BEREQ] = is_client && sub != VCL_SUB_PIPE ? NULL : all[OBJM_BEREQ];
    w->http[OBJM_BERESP] =
        sub == VCL_SUB_BACKEND_RESPONSE || sub == VCL_SUB_BACKEND_ERROR ? all[OBJM_BERESP] : NULL;
    w->http[OBJM_RESP] = sub == VCL_SUB_DELIVER || sub == VCL_SUB_SYNTH ? all[OBJM_RESP] : NULL;
    w->http[OBJM_OBJ] = sub == VCL_SUB_HIT || sub == VCL_SUB_DELIVER ? all[OBJM_OBJ] : NULL;
}

static void run_sub(struct world *w, struct vcl_task *task, enum vcl_sub sub)
{
    task->ctx.now = 1.7e9;
    enum vcl_return verdict = vcl_run(task, sub);
    CHECK(task->failed == (verdict == VCL_RET_FAIL));
    CHECK((subs[sub].returns >> verdict & 1) != 0 || verdict == VCL_RET_FAIL);
    CHECK(verdict != VCL_RET_VCL || task->chosen == &label_refs);
    if (verdict == VCL_RET_SYNTH || verdict == VCL_RET_ERROR) {
        CHECK(task->status >= 0);
        CHECK(task->status <= UINT16_MAX);
        read_all(w, task->reason);
    }
}

static struct http *message(struct world *w, struct arena *arena)
{
    struct http *h = http_new(arena, FIELDS);
    http_set_status(h, 200);
    /* What does not fit is not there. */
    (void)!http_set_method(h, STR("GET"));
    struct str url = piece(w);
    (void)!http_set_url(h, str_starts(url, STR("/")) ? url : STR("/a?b=c"));
    for (unsigned i = 0; i < PIECES / 2; i++) {
        static const char *const names[] = {"Host", "Cookie", "X-A", "Cache-Control", "a", "Vary"};
        struct str name = str_of(names[rng_below(&w->rng, ARRAY_SIZE(names))]);
        (void)!http_set_name(h, name, piece(w));
    }
    return h;
}

/* One side's subs, as one task runs them. */
static void run_side(struct world *w, struct vcl_task *task, int side)
{
    struct http *all[OBJM_HTTP__COUNT] = {NULL};
    static char fields[64 << 10];
    struct arena arena;
    arena_init(&arena, fields, sizeof fields);
    for (unsigned i = 0; i < OBJM_HTTP__COUNT; i++) {
        all[i] = message(w, &arena);
    }
    for (unsigned sub = 0; sub < VCL_SUB__COUNT; sub++) {
        if ((int)subs[sub].side == side) {
            set_messages(w, all, (enum vcl_sub)sub);
            run_sub(w, task, (enum vcl_sub)sub);
        }
    }
    vcl_task_end(task);
}

static void run_all(struct world *w, struct regex_scratch *scratch)
{
    size_t bytes = (size_t)64 << rng_below(&w->rng, 11);
    CHECK(bytes <= WS_MAX);
    for (int side = CLIENT; side <= BACKEND; side++) {
        char *mem = xmalloc(bytes);
        arena_init(&w->ws, mem, bytes);
        struct vcl_task task = {.host = &host,
                                .arg = w,
                                .vcl = w->vcl,
                                .ws = &w->ws,
                                .scratch = scratch,
                                .rng = &w->rng,
                                .pass_s = -1};
        run_side(w, &task, side);
        free(mem);
    }
}

static void load_and_run(struct world *w, struct vcl_program *prog)
{
    struct arena ws;
    char *mem = xmalloc(HOUSE_WS_BYTES);
    arena_init(&ws, mem, HOUSE_WS_BYTES);
    struct vcl_env env = {.backend_new = leaf_new,
                          .backend_free = leaf_free,
                          .backend_warm = leaf_warm,
                          .backend_healthy = leaf_healthy,
                          .label = label,
                          .unlabel = unlabel,
                          .arg = w,
                          .ws = &ws,
                          .scratch = regex_scratch_new(),
                          .rng = &w->rng,
                          .host = &host};
    regex_scratch_limits(env.scratch, 10000, 20);
    char *messages = NULL;
    if (vcl_load(prog, "fuzz", &env, &w->vcl, &messages) == RC_OK) {
        free(messages);
        if (vcl_set_warm(w->vcl, true, &messages) == RC_OK) {
            run_all(w, env.scratch);
        }
        vcl_unload(&w->vcl);
    }
    free(messages);
    CHECK(label_refs == 0);
    regex_scratch_free(&env.scratch);
    free(mem);
}

/* ---- the input ---- */

static size_t count_of(struct str text, const char *word)
{
    size_t count = 0;
    for (size_t at = 0; at + strlen(word) <= text.len; at++) {
        count += memcmp(text.ptr + at, word, strlen(word)) == 0;
    }
    return count;
}

/* Not what sleeps, panics when told to, or reaches for files, other processes or the network. */
static bool is_tame(struct str text)
{
    static const char *const words[] = {"sleep",   "panic",  "fileread", "blobread",
                                        "barrier", "syslog", "from",     ".path"};
    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        if (count_of(text, words[i]) > 0) {
            return false;
        }
    }
    return count_of(text, ".host") == count_of(text, ".host = \"127.0.0.1\"");
}

static void take_chance(struct world *w, struct str rest)
{
    size_t bytes = rest.len < 8 ? rest.len : 8;
    memcpy(&w->rng.state, rest.ptr, bytes);
    rest.ptr += bytes;
    rest.len -= bytes;
    for (unsigned i = 0; i < PIECES; i++) {
        w->pieces[i] = rest.len > 0 ? str_trim(str_cut(&rest, '\n')) : STR_NONE;
        for (size_t k = 0; k < w->pieces[i].len; k++) {
            unsigned char c = (unsigned char)w->pieces[i].ptr[k];
            /* Messages hold no control characters: http/ sees to that. */
            if (c < 0x20 || c == 0x7f) {
                w->pieces[i].len = k;
            }
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const stores[] = {"s0", NULL};
    static const char *const labels[] = {"other", NULL};
    struct str input = {(const char *)data, size};
    struct str text = {input.ptr, str_find(input, '\0')};
    size_t used = text.len < size ? text.len + 1 : text.len;
    struct world w = {.rng = {1}};
    if (size == 0 || !is_tame(text)) {
        return 0;
    }
    take_chance(&w, (struct str){input.ptr + used, size - used});
    const struct vcl_file files[] = {{STR_INIT("self"), text}, {{NULL, 0}, {NULL, 0}}};
    const struct vcl_conf conf = {
        .allow_unused = true, .stores = stores, .labels = labels, .files = files};
    struct vcl_program *prog = NULL;
    char *messages = NULL;
    if (vcl_compile(&conf, "<vcl.inline>", &text, &prog, &messages) == RC_OK) {
        load_and_run(&w, prog);
        vcl_program_release(&prog);
    }
    free(messages);
    return 0;
}
