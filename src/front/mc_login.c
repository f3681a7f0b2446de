/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Who asks.  Where users are told apart (auth= of an address), nothing is done for a connection
 * before it has named one: in the binary protocol by SASL's PLAIN, in text by a first `set` whose
 * data is "user password", as memcached's -Y has it.
 *
 * To look at a password takes milliseconds, which is its purpose, so it is done on an offload
 * thread, and for few at a time: the others queue.  Wrong ones are counted for the connection,
 * which ends after mc_auth_tries, and for the address: after so many, passwords from there are
 * looked at one in mc_auth_hold.  They wait and are not refused, so that nobody can lock out others
 * who come from the same address, and only a queue that is too long is sent away. */
#include <stdlib.h>

#include "base/mem.h"
#include "front/mc_priv.h"

/* Hashes at a time, for each loop. */
#define CHECKS_MAX 2u
#define ADDRESSES 256u
/* Who failed is forgotten after this. */
#define FORGET_NS (300 * NS_PER_S)
/* The longest wait of one who comes from where others failed. */
#define QUEUE_NS (10 * NS_PER_S)

struct address {
    uint64_t hash;
    uint64_t next_ns; /* when the next password from there is looked at */
    uint64_t forget_ns;
    unsigned failures;
};

struct mc_doorman {
    unsigned checks;
    struct list queue; /* of struct waiter, in the order of arrival */
    struct address addresses[ADDRESSES];
};

struct waiter {
    struct list link;
    struct fiber *fiber;
};

struct mc_doorman *mc__doorman_new(void)
{
    struct mc_doorman *d = xcalloc(1, sizeof *d);
    list_init(&d->queue);
    return d;
}

void mc__doorman_free(struct mc_doorman **doorman)
{
    XFREE(*doorman);
}

static struct mc_login *login_of(struct sess *sess)
{
    if (sess->login == NULL) {
        sess->login = xcalloc(1, sizeof *sess->login);
    }
    return sess->login;
}

/* ---- addresses ---- */

/* NULL at a Unix socket, where an address says nothing. */
static struct address *address_of(struct mc *mc)
{
    const struct sess *sess = mc->sess;
    if (sess->listen->is_unix) {
        return NULL;
    }
    uint64_t hash = 14695981039346656037u;
    for (unsigned i = 0; i < sess->remote.addr_len; i++) {
        hash = (hash ^ (unsigned char)sess->remote.addr[i]) * 1099511628211u;
    }
    struct address *a = &sess->door->doorman->addresses[hash % ADDRESSES];
    uint64_t now_ns = loop_mono_ns(sess->door->loop);
    if (a->hash != hash || a->forget_ns < now_ns) {
        *a = (struct address){.hash = hash};
    }
    return a;
}

/* The turn of this address; false: the queue is too long. */
static YIELDS bool await_turn(struct mc *mc)
{
    const struct params *p = mc->front->conf.params;
    struct address *a = address_of(mc);
    if (a == NULL || a->failures < param(p, mc_auth_tries)) {
        return true;
    }
    uint64_t now_ns = loop_mono_ns(mc->sess->door->loop);
    uint64_t at_ns = a->next_ns > now_ns ? a->next_ns : now_ns;
    if (at_ns - now_ns > QUEUE_NS) {
        return false;
    }
    a->next_ns = at_ns + param(p, mc_auth_hold);
    mc->count->mc_auth_held += at_ns > now_ns;
    return at_ns == now_ns || fiber_sleep(at_ns - now_ns) == RC_OK;
}

static void note_failure(struct mc *mc)
{
    struct address *a = address_of(mc);
    if (a != NULL) {
        uint64_t now_ns = loop_mono_ns(mc->sess->door->loop);
        a->failures++;
        a->forget_ns = now_ns + FORGET_NS;
        uint64_t next_ns = now_ns + param(mc->front->conf.params, mc_auth_hold);
        a->next_ns = a->next_ns > next_ns ? a->next_ns : next_ns;
    }
}

/* ---- passwords ---- */

struct check {
    struct auth *auth;
    struct str user;
    struct str password;
    bool is_right;
};

static void check(void *arg)
{
    struct check *c = arg;
    c->is_right = auth_check(c->auth, c->user, c->password);
}

/* False: it did not come to that. */
static YIELDS bool enter(struct mc_doorman *d)
{
    struct waiter self = {.fiber = fiber_self()};
    list_init(&self.link);
    while (d->checks >= CHECKS_MAX) {
        list_push_back(&d->queue, &self.link);
        enum rc rc = fiber_wait(clock_after(clock_mono_ns(), QUEUE_NS));
        list_remove(&self.link);
        if (rc != RC_OK) {
            return false;
        }
    }
    d->checks++;
    return true;
}

static void leave(struct mc_doorman *d)
{
    CHECK(d->checks > 0);
    d->checks--;
    if (!list_is_empty(&d->queue)) {
        fiber_wake(CONTAINER_OF(d->queue.next, struct waiter, link)->fiber);
    }
}

static void log_login(struct mc *mc, struct str user, bool is_right)
{
    struct vslb log;
    engine_log_open(mc->front->conf.engine, &log, mc->sess->vxid | VSL_CLIENTMARKER);
    if (is_right) {
        vslb_printf(&log, SLT_Debug, "authenticated as %.*s", STR_ARG(user));
    } else {
        vslb_str(&log, SLT_Error, STR("authentication failed"));
    }
}

static YIELDS bool is_right(struct mc *mc, struct str user, struct str password)
{
    struct mc_doorman *d = mc->sess->door->doorman;
    struct check c = {.auth = mc->sess->listen->auth, .user = user, .password = password};
    if (await_turn(mc) && enter(d)) {
        offload(check, &c);
        leave(d);
    }
    return c.is_right;
}

/* user and password lie in `data`, of which nothing is left; said: they are well-formed. */
static YIELDS bool log_in(struct mc *mc, struct str data, struct str user, struct str password,
                          bool said)
{
    mc->count->mc_auth_cmds++;
    struct mc_login *login = login_of(mc->sess);
    bool good = said && is_right(mc, user, password);
    login->is_known = good;
    login->user_len = 0;
    if (good) {
        CHECK(user.len <= sizeof login->user);
        memcpy(login->user, user.ptr, user.len);
        login->user_len = (uint8_t)user.len;
    } else {
        mc->count->mc_auth_errors++;
        note_failure(mc);
        login->failures++;
        if (login->failures >= param(mc->front->conf.params, mc_auth_tries)) {
            mc->end = SESS_RX_JUNK;
        }
    }
    mc->kv.user = good ? (struct str){login->user, login->user_len} : STR_NONE;
    log_login(mc, mc->kv.user, good);
    explicit_bzero(mc->in + (data.ptr - mc->in), data.len);
    return good;
}

/* ---- text ---- */

static YIELDS void log_in_text(struct mc *mc)
{
    struct str data;
    if (mc->req.value_bytes > AUTH_LINE_MAX) {
        mc__say(mc, STR("CLIENT_ERROR authentication failure\r\n"));
        mc->end = SESS_RX_JUNK;
        return;
    }
    /* An answer is given whatever the line says of noreply. */
    mc->req.is_quiet = false;
    if (!mc__data(mc, &data)) {
        return;
    }
    struct str user = STR_NONE;
    struct str password = STR_NONE;
    bool said = auth_words(data, &user, &password) == RC_OK;
    if (log_in(mc, data, user, password, said)) {
        mc__say(mc, STR("STORED\r\n"));
    } else if (said) {
        mc__say(mc, STR("CLIENT_ERROR authentication failure\r\n"));
    } else {
        mc__say(mc, STR("CLIENT_ERROR bad authentication token format\r\n"));
    }
}

static YIELDS void turn_away(struct mc *mc)
{
    const struct mc_request *req = &mc->req;
    if (req->dialect == MC_BINARY) {
        mc__status(mc, MC_STATUS_AUTH);
        mc->end = SESS_RX_JUNK;
        return;
    }
    mc__say(mc, STR("CLIENT_ERROR unauthenticated\r\n"));
    if (req->after == MC_CLOSE || req->is_part) {
        mc->end = SESS_RX_JUNK;
    } else if (req->has_value) {
        mc__swallow(mc);
    }
}

bool mc__may(struct mc *mc)
{
    const struct mc_request *req = &mc->req;
    const struct mc_login *login = mc->sess->login;
    if (LIKELY(mc->sess->listen->auth == NULL) || (login != NULL && login->is_known)) {
        return true;
    }
    if (req->dialect == MC_BINARY) {
        bool is_open =
            req->error == NULL && (req->op == MC_OP_SASL_LIST || req->op == MC_OP_SASL_AUTH ||
                                   req->op == MC_OP_SASL_STEP || req->op == MC_OP_VERSION);
        if (is_open) {
            return true;
        }
    } else if (req->error == NULL && req->op == MC_OP_QUIT) {
        return true;
    } else if (req->error == NULL && req->dialect == MC_TEXT && req->op == MC_OP_SET &&
               !req->has_cas) {
        log_in_text(mc);
        return false;
    }
    turn_away(mc);
    return false;
}

/* ---- SASL ---- */

static YIELDS void say(struct mc *mc, enum mc_status status, struct str text)
{
    struct sb sb = mc__room(mc, MC_HEAD_BYTES + 64);
    mc_put_head(&sb, &mc->req, &(struct mc_head){.status = status, .body_len = text.len});
    sb_put(&sb, text);
    mc__put(mc, &sb);
}

static YIELDS void plain(struct mc *mc)
{
    struct str data;
    if (!mc__data(mc, &data)) {
        return;
    }
    struct str user = STR_NONE;
    struct str password = STR_NONE;
    bool said = auth_plain(data, &user, &password) == RC_OK;
    if (log_in(mc, data, user, password, said)) {
        say(mc, MC_STATUS_OK, STR("Authenticated"));
    } else {
        mc__status(mc, MC_STATUS_AUTH);
    }
}

void mc__sasl(struct mc *mc)
{
    const struct mc_request *req = &mc->req;
    if (mc->sess->listen->auth == NULL) {
        mc__status(mc, MC_STATUS_UNKNOWN);
        mc__swallow(mc);
        return;
    }
    if (req->op == MC_OP_SASL_LIST) {
        say(mc, MC_STATUS_OK, STR("PLAIN"));
        return;
    }
    struct mc_login *login = login_of(mc->sess);
    bool is_next = login->awaits_plain;
    login->awaits_plain = false;
    bool is_plain = str_eq_nocase(req->key, STR("PLAIN"));
    if (req->value_bytes > AUTH_LINE_MAX || !is_plain || (req->op == MC_OP_SASL_STEP && !is_next)) {
        mc->count->mc_auth_cmds++;
        mc->count->mc_auth_errors++;
        mc__status(mc, MC_STATUS_AUTH);
        if (req->value_bytes > AUTH_LINE_MAX || ++login->failures >= 100) {
            mc->end = SESS_RX_JUNK;
        } else {
            mc__swallow(mc);
        }
    } else if (req->op == MC_OP_SASL_AUTH && req->value_bytes == 0) {
        login->awaits_plain = true;
        say(mc, MC_STATUS_AUTH_GOES_ON, STR_NONE);
    } else {
        plain(mc);
    }
}
