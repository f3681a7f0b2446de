/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What VCL alone costs: nanoseconds of the subs that a hit runs (recv, hash, hit, deliver), without
 * a log, on a request as a load generator sends it; and the time to compile it.
 *
 *   vcl_bench [FILE]      without one: the built-in policy
 *
 * Lower quartile of many short runs, so that the machine's other work is left out.  One line, for
 * bench/vcl.py: "run_ns N compile_us N". */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/check.h"
#include "base/mem.h"
#include "http/h1.h"
#include "regex/regex.h"
#include "vcl/vcl.h"

enum { RUNS = 400, HITS = 500, COMPILATIONS = 21, ARENA_BYTES = 64 << 10, FIELDS = 64 };

struct hit {
    struct http *req;
    struct http *resp;
    struct str hashed;
};

/* ---- the host: a request, a response, a key that grows; all else is zero ---- */

static struct http *get_http(struct vcl_task *task, enum objm_http which)
{
    struct hit *hit = task->arg;
    return which == OBJM_REQ || which == OBJM_REQ_TOP ? hit->req : hit->resp;
}

static bool get_var(struct vcl_task *task, enum vcl_var var, union objm_value *value)
{
    static const struct objm_ip nobody = {.family = 4};
    (void)task;
    *value = (union objm_value){0};
    if (var == VCL_VAR_CLIENT_IP || var == VCL_VAR_SERVER_IP) {
        value->ip = &nobody;
    }
    return true;
}

static bool set_var(struct vcl_task *task, enum vcl_var var, const union objm_value *value)
{
    (void)task;
    (void)var;
    (void)value;
    return true;
}

static void hash_data(struct vcl_task *task, struct str text)
{
    struct hit *hit = task->arg;
    struct sb sb = arena_builder(task->ws);
    sb_put(&sb, text);
    sb_chr(&sb, '\0');
    struct str piece = arena_claim(task->ws, &sb);
    hit->hashed = (struct str){hit->hashed.len == 0 ? piece.ptr : hit->hashed.ptr,
                               hit->hashed.len + piece.len};
}

static const struct vcl_host host = {
    .http = get_http, .get = get_var, .set = set_var, .hash_data = hash_data};

/* ---- backends: none that could be reached ---- */

static void *backend_make(void *arg, const char *vcl, const struct vcl_backend_decl *decl,
                          const char **why)
{
    (void)vcl;
    (void)decl;
    (void)why;
    return arg;
}

static void backend_end(void *arg, void *take_leaf)
{
    (void)arg;
    (void)take_leaf;
}

static void backend_warm(void *arg, void *leaf, bool is_warm)
{
    (void)arg;
    (void)leaf;
    (void)is_warm;
}

static bool backend_healthy(void *arg, void *leaf, double *changed)
{
    (void)arg;
    (void)leaf;
    (void)changed;
    return true;
}

/* ---- measuring ---- */

static uint64_t cpu_ns(void)
{
    struct timespec t;
    CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) == 0);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
    const uint64_t *x = a;
    const uint64_t *y = b;
    return (*x > *y) - (*x < *y);
}

static uint64_t lower_quartile(uint64_t *ns, size_t count)
{
    qsort(ns, count, sizeof *ns, by_size);
    return ns[count / 4];
}

static struct vcl_program *compile(const char *name, const struct str *text, uint64_t *compile_ns)
{
    const struct vcl_conf conf = {.unsafe_path = true, .allow_unused = true};
    uint64_t ns[COMPILATIONS];
    struct vcl_program *prog = NULL;
    for (size_t i = 0; i < COMPILATIONS; i++) {
        vcl_program_release(&prog);
        char *messages = NULL;
        uint64_t from = cpu_ns();
        enum rc rc = vcl_compile(&conf, name, text, &prog, &messages);
        ns[i] = cpu_ns() - from;
        if (rc != RC_OK) {
            (void)fprintf(stderr, "%s", messages);
            exit(1);
        }
        free(messages);
    }
    *compile_ns = lower_quartile(ns, COMPILATIONS);
    return prog;
}

static void one_hit(struct vcl_task *task)
{
    static const struct {
        enum vcl_sub sub;
        enum vcl_return wanted;
    } steps[] = {
        {VCL_SUB_RECV, VCL_RET_HASH},
        {VCL_SUB_HASH, VCL_RET_LOOKUP},
        {VCL_SUB_HIT, VCL_RET_DELIVER},
        {VCL_SUB_DELIVER, VCL_RET_DELIVER},
    };
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        enum vcl_return said = vcl_run(task, steps[i].sub);
        if (said != steps[i].wanted) {
            errx(1, "sub %d said %d: %.*s", (int)steps[i].sub, (int)said, STR_ARG(task->message));
        }
    }
}

static uint64_t run_ns(struct vcl_task *task)
{
    struct hit *hit = task->arg;
    static uint64_t ns[RUNS];
    size_t mark = arena_mark(task->ws);
    for (size_t run = 0; run < RUNS; run++) {
        uint64_t from = cpu_ns();
        for (unsigned i = 0; i < HITS; i++) {
            arena_rewind(task->ws, mark);
            hit->hashed = STR_NONE;
            one_hit(task);
        }
        ns[run] = (cpu_ns() - from) / HITS;
    }
    return lower_quartile(ns, RUNS);
}

static void parse_request(struct http *http)
{
    static char text[] = "GET /1024/0 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n"
                         "User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n\r\n";
    const struct h1_limits limits = {
        .start_bytes = sizeof text, .head_bytes = sizeof text, .hdr_bytes = sizeof text};
    struct h1_head head;
    CHECK(h1_parse_request(http, text, sizeof text - 1, 0, &limits, &head) == RC_OK);
}

int main(int argc, char **argv)
{
    static const struct str builtin = STR_INIT("vcl 4.1; backend default none;");
    const char *name = argc > 1 ? argv[1] : "builtin";
    uint64_t compile_ns;
    struct vcl_program *prog = compile(name, argc > 1 ? NULL : &builtin, &compile_ns);
    struct arena ws;
    void *block = xmalloc(ARENA_BYTES);
    arena_init(&ws, block, ARENA_BYTES);
    struct rng rng = {.state = 1};
    struct regex_scratch *scratch = regex_scratch_new();
    const struct vcl_env env = {
        .backend_new = backend_make,
        .backend_free = backend_end,
        .backend_warm = backend_warm,
        .backend_healthy = backend_healthy,
        .arg = &rng,
        .ws = &ws,
        .scratch = scratch,
        .rng = &rng,
        .host = &host,
    };
    struct vcl *vcl = NULL;
    char *messages = NULL;
    CHECK(vcl_load(prog, "bench", &env, &vcl, &messages) == RC_OK);
    struct hit hit = {.req = http_new(&ws, FIELDS), .resp = http_new(&ws, FIELDS)};
    parse_request(hit.req);
    http_set_status(hit.resp, 200);
    struct vcl_task task = {
        .host = &host, .arg = &hit, .vcl = vcl, .ws = &ws, .scratch = scratch, .rng = &rng};
    uint64_t ns = run_ns(&task);
    vcl_task_end(&task);
    printf("run_ns %llu compile_us %llu\n", (unsigned long long)ns,
           (unsigned long long)compile_ns / 1000);
    vcl_unload(&vcl);
    vcl_program_release(&prog);
    regex_scratch_free(&scratch);
    free(messages);
    free(block);
    return 0;
}
