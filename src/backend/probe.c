/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Probes: a request now and then, on a connection of its own, and a memory of the last 64.
 *
 * A probe has a home loop.  There a timer starts a fiber for each poke; a probe that waits costs a
 * timer, nothing else.  Whether it runs is said by other threads (`wants`, under the lock) and
 * carried out at home by a message; the message and the timer are part of the struct, so none can
 * be lost.  The lock is for what others read (lists) and for `backend`, which is NULL once the
 * backend has gone: a poke that is under way then ends without a trace.
 *
 * What counts as good, the words in the log and the order of the letters are Varnish's. */
#include "backend/backend_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/mutex.h"
#include "base/sb.h"

#define PROBE_MAGIC 0x6f0c81ebu
/* The average of response times follows this many. */
#define AVERAGE_OVER 4.0

enum { ANSWER_MAX = 128, MAPS = sizeof(struct probe_maps) / sizeof(uint64_t) };

struct probe {
    uint32_t magic;
    _Atomic unsigned refs; /* its backend, and a fiber at work */
    /* Fixed. */
    struct probe_spec spec; /* with defaults filled in; its text is not ours */
    char *request;
    struct endpoints ends;
    unsigned proxy_header;
    char *preamble;
    size_t preamble_len;
    struct loop *home;
    struct vsl *log;
    const struct params *params;
    /* Of the home loop alone. */
    struct timer timer;
    bool is_poking;
    /* Under the lock. */
    pthread_mutex_t lock;
    struct backend *backend;
    struct post order;
    bool is_ordered;
    bool wants;
    struct probe_maps maps;
    unsigned good;
    double last_s;
    double average_s;
    double weight;
    char answer[ANSWER_MAX];
};

/* What one poke found out. */
struct poke {
    struct probe_maps bits; /* in the lowest bit of each */
    double took_s;
    enum rc connect_rc;
    char answer[ANSWER_MAX];
};

/* ---- the memory ---- */

static unsigned count_good(const struct probe *p)
{
    uint64_t window = p->spec.window == 64 ? UINT64_MAX : (UINT64_C(1) << p->spec.window) - 1;
    return (unsigned)__builtin_popcountll(p->maps.happy & window);
}

static void remember(struct probe *p, const struct poke *poke)
{
#define PROBE_MAP(field, letter, text, always)                                                     \
    p->maps.field = p->maps.field << 1 | (poke->bits.field & 1);
#include "backend/probe_maps.def"
#undef PROBE_MAP
    p->last_s = poke->took_s;
    if ((poke->bits.happy & 1) != 0) {
        p->weight += p->weight < AVERAGE_OVER ? 1.0 : 0.0;
        p->average_s += (p->last_s - p->average_s) / p->weight;
    }
    memcpy(p->answer, poke->answer, sizeof p->answer);
    p->good = count_good(p);
}

static void forget_all(struct probe *p)
{
    p->maps = (struct probe_maps){0};
    p->average_s = 0;
    p->weight = 0;
    struct poke poke = {.bits.happy = 1};
    for (unsigned i = 0; i < p->spec.initial; i++) {
        remember(p, &poke);
    }
    p->good = count_good(p);
}

/* Under the lock: the verdict, for fetches and for the log. */
static void tell_backend(struct probe *p)
{
    struct backend *b = p->backend;
    if (b == NULL) {
        return;
    }
    char letters[MAPS + 1];
    unsigned n = 0;
#define PROBE_MAP(field, letter, text, always)                                                     \
    letters[n++] = (p->maps.field & 1) != 0 ? (letter) : '-';
#include "backend/probe_maps.def"
#undef PROBE_MAP
    letters[n] = '\0';
    bool is_sick = p->good < p->spec.threshold;
    bool was_sick = atomic_exchange(&b->is_sick, is_sick);
    if (is_sick != was_sick) {
        atomic_store(&b->probe_changed_ns, clock_real_ns());
    }
    vsc_set(&b->counters->happy, p->maps.happy);
    vsl_nowf(p->log, SLT_Backend_health, 0, "%s %s %s %s %u %u %u %.6f %.6f \"%s\"", b->name,
             is_sick != was_sick ? "Went" : "Still", is_sick ? "sick" : "healthy", letters, p->good,
             p->spec.threshold, p->spec.window, p->last_s, p->average_s, p->answer);
}

/* ---- one poke ---- */

static void say(struct poke *poke, const char *what, enum rc rc)
{
    /* "fail errno 111 (Connection refused)", without its first words. */
    struct str why = str_of(backend_failure(rc));
    struct str prefix = STR("fail errno ");
    if (str_starts(why, prefix)) {
        why = (struct str){why.ptr + prefix.len, why.len - prefix.len};
    }
    (void)snprintf(poke->answer, sizeof poke->answer, "%s %.*s", what, STR_ARG(why));
}

static void note_family(struct poke *poke, const struct endpoint *end)
{
    poke->bits.good_unix = end->sa.ss_family == AF_UNIX;
    poke->bits.good_ipv4 = end->sa.ss_family == AF_INET;
    poke->bits.good_ipv6 = end->sa.ss_family == AF_INET6;
}

/* Version 1 has no way to speak for itself but to name its own end twice. */
static void put_preface(const struct probe *p, const struct sock *sock, struct sb *sb)
{
    struct proxy_addr self = {0};
    struct sockaddr_storage sa = {0};
    socklen_t len = sizeof sa;
    if (p->proxy_header == 1 && getsockname(sock->fd, (struct sockaddr *)&sa, &len) == 0) {
        char text[INET6_ADDRSTRLEN + 8];
        struct sb words = sb_of(text, sizeof text);
        endpoint__put(&words, &sa, len);
        struct str rest = sb_str(&words);
        struct str host = str_cut(&rest, ' ');
        if (sa.ss_family == AF_UNIX || proxy_addr_parse(&self, host, rest) != RC_OK) {
            self.family = 0;
        }
    }
    proxy_write(sb, p->proxy_header, &self, &self, STR_NONE);
}

static YIELDS enum rc send_all(const struct probe *p, struct sock *sock, struct sock_limit limit)
{
    char preface[PROXY_V1_MAX + 16];
    struct sb sb = sb_of(preface, sizeof preface);
    struct iovec iov[3];
    unsigned n = 0;
    if (p->proxy_header != 0) {
        put_preface(p, sock, &sb);
        iov[n++] = (struct iovec){sb.ptr, sb.len};
    }
    if (p->preamble_len > 0) {
        iov[n++] = (struct iovec){p->preamble, p->preamble_len};
    }
    iov[n++] = (struct iovec){p->request, strlen(p->request)};
    return sock_writev(sock, iov, n, limit, false, NULL);
}

/* All that comes; its beginning is kept.  RC_EOF is the good end. */
static YIELDS enum rc read_all(struct sock *sock, struct sock_limit limit, struct poke *poke,
                               size_t *got)
{
    char rest[1024];
    size_t kept = 0;
    for (;;) {
        bool keeps = kept < sizeof poke->answer - 1;
        size_t more = 0;
        enum rc rc = sock_read(sock, keeps ? poke->answer + kept : rest,
                               keeps ? sizeof poke->answer - 1 - kept : sizeof rest, limit, &more);
        if (rc != RC_OK) {
            poke->answer[kept] = '\0';
            return rc;
        }
        kept += keeps ? more : 0;
        *got += more;
    }
}

/* Leaves the first line, fit for the log. */
static void first_line(char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\r' || *text == '\n') {
            *text = '\0';
            return;
        }
        if (*text < ' ' || *text > '~') {
            *text = '?';
        }
    }
}

/* "HTTP/<version> <status> ..." */
static unsigned status_of(const char *line)
{
    static const char protocol[] = "HTTP/";
    if (strncmp(line, protocol, sizeof protocol - 1) != 0) {
        return 0;
    }
    line += sizeof protocol - 1;
    line += strspn(line, "0123456789.");
    line += strspn(line, " ");
    struct str digits = {line, strspn(line, "0123456789")};
    uint64_t status = 0;
    char next = line[digits.len];
    if (digits.len > 3 || (next != ' ' && next != '\0') || str_to_u64(digits, &status) != RC_OK) {
        return 0;
    }
    return (unsigned)status;
}

static YIELDS void judge(const struct probe *p, struct sock *sock, struct sock_limit limit,
                         struct poke *poke)
{
    size_t got = 0;
    enum rc rc = read_all(sock, limit, poke, &got);
    if (rc == RC_TIMEOUT && p->spec.keeps_open) {
        rc = RC_EOF;
    }
    if (rc != RC_EOF) {
        poke->bits.err_recv = 1;
        say(poke, rc == RC_TIMEOUT ? "Poll error" : "Read error", rc);
        return;
    }
    if (got == 0) {
        (void)snprintf(poke->answer, sizeof poke->answer, "Empty response");
        return;
    }
    poke->bits.good_recv = 1;
    first_line(poke->answer);
    poke->bits.happy = status_of(poke->answer) == p->spec.expected_response;
}

static YIELDS void poke_once(const struct probe *p, struct poke *poke)
{
    struct sock sock;
    const struct endpoint *end = NULL;
    uint64_t began_ns = clock_mono_ns();
    struct sock_limit limit = {clock_after(began_ns, p->spec.timeout_ns), NEVER};
    poke->connect_rc = endpoint__connect(&p->ends, p->params, p->spec.timeout_ns, &sock, &end);
    if (poke->connect_rc != RC_OK) {
        say(poke, "Open error", poke->connect_rc);
        return;
    }
    note_family(poke, end);
    enum rc rc = send_all(p, &sock, limit);
    if (rc == RC_OK) {
        poke->bits.good_xmit = 1;
        judge(p, &sock, limit, poke);
    } else {
        poke->bits.err_xmit = 1;
        say(poke, "Write error", rc);
    }
    sock_close(&sock);
    if (poke->bits.good_recv != 0) {
        poke->took_s = (double)(clock_mono_ns() - began_ns) / 1e9;
    }
}

/* ---- when ---- */

static void drop(struct probe *p)
{
    if (atomic_fetch_sub(&p->refs, 1) == 1) {
        mutex_fini(&p->lock);
        XFREE(p->request);
        XFREE(p->preamble);
        p->magic = 0;
        free(p);
    }
}

static void due(struct timer *timer, struct loop *loop);

static void arm(struct probe *p, uint64_t wait_ns)
{
    timer_arm(p->home, &p->timer, clock_after(loop_mono_ns(p->home), wait_ns), due);
}

static YIELDS void poke_fiber(void *arg)
{
    struct probe *p = arg;
    CHECK_OBJ(p, PROBE_MAGIC);
    struct poke poke = {.connect_rc = RC_OK};
    poke_once(p, &poke);
    p->is_poking = false;
    mutex_lock(&p->lock);
    bool goes_on = p->wants && p->backend != NULL;
    if (goes_on && poke.connect_rc != RC_CANCELLED) {
        if (poke.connect_rc != RC_OK) {
            backend__count_failure(p->backend, poke.connect_rc);
        }
        remember(p, &poke);
        tell_backend(p);
    }
    mutex_unlock(&p->lock);
    if (goes_on) {
        arm(p, p->spec.interval_ns);
    }
    drop(p);
}

static void due(struct timer *timer, struct loop *loop)
{
    struct probe *p = CONTAINER_OF(timer, struct probe, timer);
    CHECK_OBJ(p, PROBE_MAGIC);
    (void)loop;
    atomic_fetch_add(&p->refs, 1);
    p->is_poking = true;
    if (fiber_start(poke_fiber, p, "probe") != RC_OK) {
        /* Health is not to be judged by our own shortage. */
        p->is_poking = false;
        atomic_fetch_sub(&p->refs, 1);
        arm(p, p->spec.interval_ns);
    }
}

static void ordered(struct post *post, struct loop *loop)
{
    struct probe *p = CONTAINER_OF(post, struct probe, order);
    CHECK_OBJ(p, PROBE_MAGIC);
    mutex_lock(&p->lock);
    p->is_ordered = false;
    bool runs = p->wants && p->backend != NULL;
    mutex_unlock(&p->lock);
    if (!runs) {
        timer_disarm(loop, &p->timer);
    } else if (!p->is_poking && !timer_is_armed(&p->timer)) {
        arm(p, 0);
    }
    drop(p);
}

void probe__want(struct probe *p, bool runs)
{
    CHECK_OBJ(p, PROBE_MAGIC);
    mutex_lock(&p->lock);
    p->wants = runs;
    forget_all(p);
    tell_backend(p);
    bool posts = !p->is_ordered;
    p->is_ordered = true;
    mutex_unlock(&p->lock);
    if (posts) {
        atomic_fetch_add(&p->refs, 1);
        loop_post(p->home, &p->order);
    }
}

void probe__detach(struct probe *p)
{
    CHECK_OBJ(p, PROBE_MAGIC);
    mutex_lock(&p->lock);
    p->backend = NULL;
    mutex_unlock(&p->lock);
}

void probe__loop_stop(struct probe *p, struct loop *loop)
{
    CHECK_OBJ(p, PROBE_MAGIC);
    if (loop != p->home) {
        return;
    }
    timer_disarm(loop, &p->timer);
    probe__detach(p);
}

void probe__release(struct probe **probe)
{
    struct probe *p = *probe;
    *probe = NULL;
    CHECK_OBJ(p, PROBE_MAGIC);
    mutex_lock(&p->lock);
    p->backend = NULL;
    /* After run_stop an order that was not carried out keeps no reference any more. */
    bool is_ordered = p->is_ordered;
    mutex_unlock(&p->lock);
    if (is_ordered) {
        drop(p);
    }
    drop(p);
}

/* ---- making ---- */

static uint64_t or_else(uint64_t value, uint64_t preset)
{
    return value == 0 ? preset : value;
}

static enum rc fill_defaults(struct probe_spec *spec)
{
    spec->timeout_ns = or_else(spec->timeout_ns, 2 * NS_PER_S);
    spec->interval_ns = or_else(spec->interval_ns, 5 * NS_PER_S);
    spec->window = (unsigned)or_else(spec->window, 8);
    spec->threshold = (unsigned)or_else(spec->threshold, 3);
    spec->expected_response = (unsigned)or_else(spec->expected_response, 200);
    if (spec->window > 64 || spec->threshold > spec->window) {
        return RC_INVALID;
    }
    if (spec->initial == PROBE_INITIAL_DEFAULT) {
        spec->initial = spec->threshold - 1;
    }
    spec->initial = spec->initial < spec->threshold ? spec->initial : spec->threshold;
    return RC_OK;
}

enum rc probe__new(struct backend *b, const struct probe_spec *spec, struct str preamble,
                   struct probe **out)
{
    struct probe_spec whole = *spec;
    enum rc rc = fill_defaults(&whole);
    if (rc != RC_OK) {
        return rc;
    }
    struct probe *p = xcalloc(1, sizeof *p);
    p->magic = PROBE_MAGIC;
    p->spec = whole;
    p->request = spec->request != NULL
                     ? xstrdup(spec->request)
                     : xasprintf("GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n",
                                 spec->url == NULL ? "/" : spec->url, b->host_header);
    p->spec.url = p->spec.request = NULL;
    p->ends = b->ends;
    p->proxy_header = b->proxy_header;
    p->preamble = str_dup(preamble);
    p->preamble_len = preamble.len;
    p->log = b->set->conf.log;
    p->params = b->set->conf.params;
    /* Spread by name, so that many probes are not one loop's. */
    struct run *run = b->set->conf.run;
    unsigned sum = 0;
    for (const char *at = b->cli_name; *at != '\0'; at++) {
        sum = sum * 31 + (unsigned char)*at;
    }
    p->home = run_loop(run, sum % run_loops(run));
    p->order.fn = ordered;
    p->backend = b;
    atomic_init(&p->refs, 1);
    mutex_init(&p->lock);
    forget_all(p);
    tell_backend(p);
    *out = p;
    return RC_OK;
}

void probe__status(struct probe *p, struct backend_status *out)
{
    CHECK_OBJ(p, PROBE_MAGIC);
    mutex_lock(&p->lock);
    out->good = p->good;
    out->threshold = p->spec.threshold;
    out->window = p->spec.window;
    out->average_s = p->average_s;
    out->maps = p->maps;
    mutex_unlock(&p->lock);
}
