/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
#include "rig.h"

#include <errno.h>
#include <ftw.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <vapi/vsm.h>

#include <vapi/vsl.h>

#include "base/mem.h"
#include "base/mutex.h"
#include "shm/vsm.h"
#include "support/run_fiber.h"

const char *const no_answers[] = {NULL};
const char *const one_answer[] = {OK_ANSWER, NULL};
const char *const two_answers[] = {OK_ANSWER, OTHER_ANSWER, NULL};

/* ---- the backend: a thread with blocking calls ---- */

struct origin {
    pthread_t thread;
    char path[100];
    int listener;
    int stop[2];
    const char *const *answers;
    _Atomic unsigned asked;
    char head[4096]; /* the origin thread's */
    pthread_mutex_t lock;
    char last[4096]; /* the last whole one; under the lock */
    char seen[4096]; /* a copy of it, for the test */
};

/* A whole head, or 0 at the end.  Requests of these tests have no body. */
static size_t read_head(struct origin *o, int fd)
{
    size_t len = 0;
    while (len < sizeof o->head - 1) {
        struct pollfd p[2] = {{.fd = fd, .events = POLLIN}, {.fd = o->stop[0], .events = POLLIN}};
        if (poll(p, 2, -1) < 0 || p[1].revents != 0) {
            return 0;
        }
        ssize_t n = read(fd, o->head + len, sizeof o->head - 1 - len);
        if (n <= 0) {
            return 0;
        }
        len += (size_t)n;
        o->head[len] = '\0';
        if (strstr(o->head, "\r\n\r\n") != NULL) {
            mutex_lock(&o->lock);
            memcpy(o->last, o->head, len + 1);
            mutex_unlock(&o->lock);
            return len;
        }
    }
    return 0;
}

static void *origin_main(void *arg)
{
    struct origin *o = arg;
    unsigned next = 0;
    for (;;) {
        struct pollfd p[2] = {{.fd = o->listener, .events = POLLIN},
                              {.fd = o->stop[0], .events = POLLIN}};
        if (poll(p, 2, -1) < 0 || p[1].revents != 0) {
            return NULL;
        }
        int fd = accept(o->listener, NULL, NULL);
        while (fd >= 0 && read_head(o, fd) > 0) {
            const char *answer = o->answers == NULL ? NULL : o->answers[next];
            next += answer != NULL;
            atomic_fetch_add(&o->asked, 1);
            if (answer != NULL && strcmp(answer, "wait") == 0) {
                continue;
            }
            if (answer == NULL || *answer == '\0' ||
                write(fd, answer, strlen(answer)) != (ssize_t)strlen(answer) ||
                strstr(answer, "Connection: close") != NULL) {
                break;
            }
        }
        close(fd);
    }
}

static void origin_start(struct origin *o, const char *dir)
{
    (void)snprintf(o->path, sizeof o->path, "%s/origin", dir);
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    memcpy(addr.sun_path, o->path, strlen(o->path) + 1);
    o->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(o->listener, (struct sockaddr *)&addr, sizeof addr) == 0);
    CHECK(listen(o->listener, 10) == 0);
    CHECK(pipe(o->stop) == 0);
    mutex_init(&o->lock);
    CHECK(pthread_create(&o->thread, NULL, origin_main, o) == 0);
}

static void origin_stop(struct origin *o)
{
    CHECK(write(o->stop[1], "x", 1) == 1);
    CHECK(pthread_join(o->thread, NULL) == 0);
    mutex_fini(&o->lock);
    close(o->listener);
    close(o->stop[0]);
    close(o->stop[1]);
}

/* ---- the policy ---- */

struct rig {
    struct engine *engine;
    struct params params;
    struct vsc_main main;
    struct vsc_objm objm;
    struct backends *backends;
    const struct line *script;
    unsigned calls[HOOK__COUNT];
    char trace[2000];
    size_t traced;
    struct origin origin;
    const struct act *act;
};
/* Hooks have no argument of their own to find it by; there is one rig at a time. */
static struct rig *the_rig;

static const struct line *next_line(enum hook hook)
{
    static const char *const names[] = {"recv",
                                        "hash",
                                        "hit",
                                        "miss",
                                        "pass",
                                        "pipe",
                                        "purge",
                                        "deliver",
                                        "synth",
                                        "backend_fetch",
                                        "backend_response",
                                        "backend_error"};
    struct rig *rig = the_rig;
    int n = snprintf(rig->trace + rig->traced, sizeof rig->trace - rig->traced, "%s%s",
                     rig->traced == 0 ? "" : " ", names[hook]);
    rig->traced += (size_t)n;
    CHECK(rig->traced < sizeof rig->trace);
    unsigned nth = rig->calls[hook]++;
    for (const struct line *l = rig->script; l != NULL && l->hook != HOOK__COUNT; l++) {
        if (l->hook == hook && nth-- == 0) {
            return l;
        }
    }
    return NULL;
}

static struct policy_verdict of_request(enum hook hook, struct request *req,
                                        struct policy_verdict (*builtin)(struct request *req))
{
    const struct line *l = next_line(hook);
    if (l == NULL) {
        return builtin(req);
    }
    if (hook == HOOK_HASH) {
        (void)builtin(req);
    }
    if (l->also != NULL) {
        l->also(req, NULL);
    }
    return l->verdict;
}

static struct policy_verdict of_fetch(enum hook hook, struct fetch *f,
                                      struct policy_verdict (*builtin)(struct fetch *f))
{
    const struct line *l = next_line(hook);
    if (l == NULL) {
        return builtin(f);
    }
    if (l->also != NULL) {
        l->also(NULL, f);
    }
    return l->verdict;
}

#define OF_REQUEST(name, HOOK)                                                                     \
    static struct policy_verdict script_##name(struct request *req)                                \
    {                                                                                              \
        return of_request(HOOK_##HOOK, req, policy_builtin.name);                                  \
    }
#define OF_FETCH(name, HOOK)                                                                       \
    static struct policy_verdict script_##name(struct fetch *f)                                    \
    {                                                                                              \
        return of_fetch(HOOK_##HOOK, f, policy_builtin.name);                                      \
    }
OF_REQUEST(recv, RECV)
OF_REQUEST(hash, HASH)
OF_REQUEST(hit, HIT)
OF_REQUEST(miss, MISS)
OF_REQUEST(pass, PASS)
OF_REQUEST(pipe, PIPE)
OF_REQUEST(purge, PURGE)
OF_REQUEST(deliver, DELIVER)
OF_REQUEST(synth, SYNTH)
OF_FETCH(backend_fetch, BACKEND_FETCH)
OF_FETCH(backend_response, BACKEND_RESPONSE)
OF_FETCH(backend_error, BACKEND_ERROR)

static unsigned begun;

static struct str begin(struct request *req)
{
    (void)req;
    begun++;
    return STR("script");
}

static void end(struct request *req)
{
    (void)req;
    begun--;
}

static void fetch_begin(struct fetch *f, const struct request *req)
{
    (void)f;
    (void)req;
    begun++;
}

static void fetch_end(struct fetch *f)
{
    (void)f;
    begun--;
}

static const struct policy scripted = {
    .begin = begin,
    .end = end,
    .fetch_begin = fetch_begin,
    .fetch_end = fetch_end,
    .recv = script_recv,
    .hash = script_hash,
    .hit = script_hit,
    .miss = script_miss,
    .pass = script_pass,
    .pipe = script_pipe,
    .purge = script_purge,
    .deliver = script_deliver,
    .synth = script_synth,
    .backend_fetch = script_backend_fetch,
    .backend_response = script_backend_response,
    .backend_error = script_backend_error,
};

/* ---- the client ---- */

static enum rc no_body(struct request *req, void *buf, size_t bytes, size_t *got)
{
    (void)req;
    (void)buf;
    (void)bytes;
    *got = 0;
    return RC_EOF;
}

static enum rc take_data(struct request *req, struct iovec *iov, unsigned iovs)
{
    struct got *got = req->transport_arg;
    for (unsigned i = 0; i < iovs; i++) {
        CHECK(got->body_len + iov[i].iov_len < sizeof got->body);
        memcpy(got->body + got->body_len, iov[i].iov_base, iov[i].iov_len);
        got->body_len += iov[i].iov_len;
        got->body[got->body_len] = '\0';
    }
    return RC_OK;
}

static enum rc take_head(struct request *req, struct http *resp, uint64_t body_len,
                         const struct iovec *iov, unsigned iovs)
{
    (void)body_len;
    struct got *got = req->transport_arg;
    got->status = resp->status;
    struct sb sb = sb_of(got->head, sizeof got->head - 1);
    for (unsigned i = 0; i < resp->count; i++) {
        sb_printf(&sb, "%.*s: %.*s\n", STR_ARG(resp->hdr[i].name), STR_ARG(resp->hdr[i].value));
    }
    got->head[sb.len] = '\0';
    struct iovec copy[2];
    CHECK(iovs <= 2);
    for (unsigned i = 0; i < iovs; i++) {
        copy[i] = iov[i];
    }
    return take_data(req, copy, req->sends_body ? iovs : 0);
}

static enum rc take_end(struct request *req)
{
    (void)req;
    return RC_OK;
}

static bool takes_no_files(const struct request *req, uint64_t *min_bytes)
{
    (void)req;
    *min_bytes = UINT64_MAX;
    return false;
}

static const struct transport client = {
    .body = no_body,
    .head = take_head,
    .data = take_data,
    .end = take_end,
    .takes_files = takes_no_files,
};

struct got rig_get(struct rig *rig, const char *url, const char *const *fields)
{
    struct got got = {.rc = RC_OK};
    size_t bytes = (size_t)64 << 10;
    char *block = xmalloc(bytes);
    struct arena arena;
    arena_init(&arena, block, bytes);
    struct http *h = http_new(&arena, 32);
    CHECK(http_set_method(h, STR("GET")) == RC_OK);
    h->method_id = HTTP_M_GET;
    h->proto = STR("HTTP/1.1");
    h->version = 11;
    CHECK(http_set_url(h, str_of(url)) == RC_OK);
    CHECK(http_set(h, HDR_HOST, STR("h")) == RC_OK);
    for (; fields != NULL && *fields != NULL; fields++) {
        struct str value = str_of(*fields);
        struct str name = str_cut(&value, ':');
        CHECK(http_add_name(h, name, str_trim(value)) == RC_OK);
    }
    struct request req = {
        .transport = &client,
        .transport_arg = &got,
        .http = h,
        .arena = &arena,
        .vxid = engine_vxid(rig->engine),
        .session_vxid = 1,
        .t_first_ns = clock_real_ns(),
        .t_head_ns = loop_real_ns(loop_self()),
        .listener = "a0",
        .client_addr = STR("192.0.2.1"),
        .client_port = STR("1234"),
        .server_addr = STR("192.0.2.2"),
    };
    got.rc = engine_serve(rig->engine, &req);
    got.close = req.close;
    free(block);
    return got;
}

void rig_settle(struct rig *rig)
{
    (void)rig;
    for (unsigned i = 0; i < 1000 && begun > 0; i++) {
        CHECK(fiber_sleep(NS_PER_S / 1000) == RC_OK);
    }
    CHECK(begun == 0);
}

const char *rig_trace(struct rig *rig)
{
    static char out[sizeof rig->trace];
    memcpy(out, rig->trace, rig->traced);
    out[rig->traced] = '\0';
    rig->traced = 0;
    return out;
}

const struct vsc_main *rig_main(struct rig *rig)
{
    /* They are added up at the end of a tick. */
    CHECK(fiber_sleep(NS_PER_S / 1000) == RC_OK);
    return &rig->main;
}

const struct vsc_objm *rig_objm(struct rig *rig)
{
    CHECK(fiber_sleep(NS_PER_S / 1000) == RC_OK);
    return &rig->objm;
}

struct engine *rig_engine(struct rig *rig)
{
    return rig->engine;
}

struct params *rig_params(struct rig *rig)
{
    return &rig->params;
}

unsigned rig_asked(struct rig *rig)
{
    return atomic_load(&rig->origin.asked);
}

const char *rig_last_request(struct rig *rig)
{
    struct origin *o = &rig->origin;
    mutex_lock(&o->lock);
    memcpy(o->seen, o->last, sizeof o->seen);
    mutex_unlock(&o->lock);
    return o->seen;
}

/* ---- all together ---- */

/* The log of the last run. */
static char *records[4000];
static size_t record_count;

static void read_log(const char *dir)
{
    while (record_count > 0) {
        free(records[--record_count]);
    }
    struct vsm *vsm = VSM_New();
    CHECK(VSM_Arg(vsm, 'n', dir) > 0);
    CHECK(VSM_Attach(vsm, -1) == 0);
    (void)VSM_Status(vsm);
    struct VSL_data *vsl = VSL_New();
    struct VSL_cursor *c = VSL_CursorVSM(vsl, vsm, 0);
    if (c == NULL) {
        (void)fprintf(stderr, "%s\n", VSL_Error(vsl));
    }
    CHECK(c != NULL);
    while (VSL_Next(c) == vsl_more) {
        const uint32_t *rec = c->rec.ptr;
        CHECK(record_count < ARRAY_SIZE(records));
        records[record_count++] = xasprintf("%s %s", VSL_tags[VSL_TAG(rec)], VSL_CDATA(rec));
    }
    VSL_DeleteCursor(c);
    VSL_Delete(vsl);
    VSM_Destroy(&vsm);
}

bool rig_log_has(const char *const *wanted)
{
    for (size_t i = 0; i < record_count && *wanted != NULL; i++) {
        wanted += strncmp(records[i], *wanted, strlen(*wanted)) == 0;
    }
    if (*wanted != NULL) {
        (void)fprintf(stderr, "not in the log, or not in this order: %s\n", *wanted);
        for (size_t i = 0; i < record_count; i++) {
            (void)fprintf(stderr, "  %s\n", records[i]);
        }
    }
    return *wanted == NULL;
}

static void on_fiber(void *arg)
{
    struct rig *rig = arg;
    rig->act->fn(rig);
    rig_settle(rig);
}

static void loop_started(struct loop *loop, void *arg)
{
    struct rig *rig = arg;
    engine_loop_start(rig->engine, loop);
}

static void loop_stopped(struct loop *loop, void *arg)
{
    struct rig *rig = arg;
    engine_loop_stop(rig->engine, loop);
    backends_loop_stop(rig->backends, loop);
    digest_thread_end();
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static struct stevedore *open_store(const char *name, enum stv_kind kind)
{
    struct stv_conf conf = {
        .kind = kind, .bytes = (uint64_t)16 << 20, .owner_ops = cache_owner_ops()};
    memcpy(conf.name, name, strlen(name) + 1);
    struct stevedore *stv = NULL;
    CHECK(stv_open(&conf, &stv) == RC_OK);
    return stv;
}

static struct vsm_set *open_set(int dir_fd, const char *name)
{
    struct vsm_place place = {
        .workdir_fd = dir_fd, .name = name, .uid = VSM_SAME_UID, .gid = VSM_SAME_GID};
    struct vsm_set *set = NULL;
    CHECK(vsm_set_new(&place, &set) == RC_OK);
    if (strcmp(name, VSM_MGT_DIR) == 0) {
        /* The reader looks at the worker's segments only when the manager has some. */
        CHECK(vsm_text(set, "Arg", "-i", STR("test")) == RC_OK);
    }
    return set;
}

void rig_run(const struct act *act)
{
    struct rig *rig = xcalloc(1, sizeof *rig);
    the_rig = rig;
    rig->act = act;
    rig->script = act->script;
    rig->origin.answers = act->answers;
    param_defaults(&rig->params);
    vsl_mask_default(&rig->params);
    char dir[] = "/tmp/objm_engine.XXXXXX";
    CHECK(mkdtemp(dir) != NULL);
    int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct vsm_set *mgt = open_set(dir_fd, VSM_MGT_DIR);
    struct vsm_set *child = open_set(dir_fd, VSM_CHILD_DIR);
    struct vsl *log = NULL;
    CHECK(vsl_new(child, (size_t)4 << 20, &rig->params, NULL, &log) == RC_OK);
    origin_start(&rig->origin, dir);

    struct run_conf run_conf = run_test_conf();
    run_conf.on_start = loop_started;
    run_conf.on_stop = loop_stopped;
    run_conf.hook_arg = rig;
    struct run *run = run_new(&run_conf);
    struct stevedore *stores[] = {open_store("s0", STV_MEMORY), NULL};
    struct stevedore *transient = open_store("Transient", STV_TRANSIENT);
    const struct cache_conf cache_conf = {.run = run, .revisions = stores[0]};
    struct cache *cache = NULL;
    CHECK(cache_new(&cache_conf, &cache) == RC_OK);
    const struct backends_conf backends_conf = {.run = run,
                                                .params = &rig->params,
                                                .shm = child,
                                                .log = log,
                                                .main = &rig->main,
                                                .objm = &rig->objm};
    rig->backends = backends_new(&backends_conf);
    const struct backend_spec spec = {.vcl = "script", .name = "default", .path = rig->origin.path};
    struct backend *backend = NULL;
    CHECK(backend_new(rig->backends, &spec, &backend) == RC_OK);
    backend_warm(backend);
    const struct engine_conf conf = {.run = run,
                                     .params = &rig->params,
                                     .cache = cache,
                                     .backend = backend,
                                     .stores = stores,
                                     .transient = transient,
                                     .log = log,
                                     .main = &rig->main,
                                     .objm = &rig->objm,
                                     .identity = "test",
                                     .policy = act->is_vcl ? NULL : &scripted};
    rig->engine = engine_new(&conf);
    run_in(run, on_fiber, rig);
    read_log(dir);
    engine_free(&rig->engine);
    backend_release(&backend);
    backends_free(&rig->backends);
    cache_free(&cache);
    stv_close(&stores[0]);
    stv_close(&transient);
    run_free(&run);
    origin_stop(&rig->origin);
    vsl_free(&log);
    vsm_set_free(&child, VSM_REMOVE);
    vsm_set_free(&mgt, VSM_REMOVE);
    close(dir_fd);
    (void)nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(rig);
}
