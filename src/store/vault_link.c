/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The worker's side of the vault: sends, and holds what was inherited until a store claims it.
 *
 * A put waits until it is sent, for its object must not become live before.  A drop never waits: it
 * only gives memory back, and if it is lost the next worker drops the file, since no live record
 * names it.  Drops that could not be sent go first with the next message, so order is kept.
 * A manager that is gone is no reason to stop: there is nobody left to inherit. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/mutex.h"
#include "store/vault_priv.h"

#define LINK_MAGIC 0x77e0c1a5u
/* A fifth of a second, when it is not the manager that makes us wait. */
#define PUT_TRIES 100
struct vault_link {
    uint32_t magic;
    int fd; /* -1 when no manager listens (any more) */
    pthread_mutex_t lock;
    struct vault_table table; /* inherited and not taken yet */
    struct vault_msg *pending;
    size_t pending_count;
    size_t pending_cap;
};

struct vault_link *vault_link__alone(void)
{
    struct vault_link *l = xcalloc(1, sizeof *l);
    l->magic = LINK_MAGIC;
    l->fd = -1;
    mutex_init(&l->lock);
    return l;
}

void vault_link__connect(struct vault_link *link, int take_fd)
{
    CHECK(link->fd < 0);
    link->fd = take_fd;
}

void vault_link__inherit(struct vault_link *link, const char *store, enum vault_role role,
                         uint64_t id, int take_fd)
{
    struct vault_key key;
    vault_key_make(&key, store, role, id);
    vault_table_put(&link->table, &key, take_fd);
}

struct vault_link *vault_attach(struct vault **take_vault)
{
    struct vault_link *l = vault_link__alone();
    l->fd = vault__hand_over(*take_vault, &l->table);
    vault_free(take_vault);
    return l;
}

void vault_link_free(struct vault_link **link)
{
    struct vault_link *l = *link;
    *link = NULL;
    if (l == NULL) {
        return;
    }
    CHECK_OBJ(l, LINK_MAGIC);
    vault_table_drop(&l->table, NULL);
    if (l->fd >= 0) {
        (void)close(l->fd);
    }
    free(l->pending);
    mutex_fini(&l->lock);
    l->magic = 0;
    free(l);
}

/* RC_AGAIN: the manager has not read what came before.  RC_NOFILES: too many on their way. */
static enum rc send_msg(struct vault_link *l, const struct vault_msg *msg, int fd)
{
    struct vault_msg copy = *msg;
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec iov = {.iov_base = &copy, .iov_len = sizeof copy};
    struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd >= 0) {
        mh.msg_control = control.bytes;
        mh.msg_controllen = sizeof control.bytes;
        struct cmsghdr *c = CMSG_FIRSTHDR(&mh);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    ssize_t n;
    do {
        n = sendmsg(l->fd, &mh, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n >= 0) {
        return RC_OK;
    }
    if (errno == EAGAIN || errno == ENOBUFS) {
        return RC_AGAIN;
    }
    if (errno == ETOOMANYREFS || errno == EMFILE) {
        return RC_NOFILES;
    }
    return RC_RESET;
}

/* Under the lock.  Order matters: a late drop must not follow a put of the same key. */
static enum rc flush_then_send(struct vault_link *l, const struct vault_msg *msg, int fd)
{
    size_t sent = 0;
    enum rc rc = l->fd < 0 ? RC_RESET : RC_OK;
    while (rc == RC_OK && sent < l->pending_count) {
        rc = send_msg(l, &l->pending[sent], -1);
        sent += rc == RC_OK;
    }
    l->pending_count -= sent;
    if (sent > 0) {
        memmove(l->pending, l->pending + sent, l->pending_count * sizeof *l->pending);
    }
    if (rc == RC_OK) {
        rc = send_msg(l, msg, fd);
    }
    if (rc == RC_RESET) {
        /* No manager, so nobody to inherit anything: go on without. */
        l->pending_count = 0;
        rc = RC_OK;
    }
    return rc;
}

enum rc vault_link__try_put(struct vault_link *link, const char *store, enum vault_role role,
                            uint64_t id, int fd)
{
    CHECK_OBJ(link, LINK_MAGIC);
    CHECK(fd >= 0);
    struct vault_msg msg = {.magic = VAULT_MSG_MAGIC, .op = VAULT_PUT};
    vault_key_make(&msg.key, store, role, id);
    mutex_lock(&link->lock);
    enum rc rc = flush_then_send(link, &msg, fd);
    mutex_unlock(&link->lock);
    return rc;
}

enum rc vault_link__put(struct vault_link *link, const char *store, enum vault_role role,
                        uint64_t id, int fd)
{
    for (unsigned tries = 0;; tries++) {
        enum rc rc = vault_link__try_put(link, store, role, id, fd);
        if (rc != RC_AGAIN) {
            return rc;
        }
        if (tries == PUT_TRIES || stv__wait_writable(link->fd) != RC_OK) {
            return RC_NOSPACE;
        }
        if (tries > 0) {
            /* Writable, and yet no room: it is the kernel that has none. */
            stv__pause();
        }
    }
}

static void send_or_keep(struct vault_link *l, const struct vault_msg *msg)
{
    mutex_lock(&l->lock);
    if (flush_then_send(l, msg, -1) != RC_OK) {
        if (l->pending_count == l->pending_cap) {
            l->pending_cap = l->pending_cap == 0 ? 64 : 2 * l->pending_cap;
            l->pending = xrealloc(l->pending, l->pending_cap * sizeof *l->pending);
        }
        l->pending[l->pending_count++] = *msg;
    }
    mutex_unlock(&l->lock);
}

void vault_link__drop(struct vault_link *link, const char *store, enum vault_role role, uint64_t id)
{
    CHECK_OBJ(link, LINK_MAGIC);
    struct vault_msg msg = {.magic = VAULT_MSG_MAGIC, .op = VAULT_DROP};
    vault_key_make(&msg.key, store, role, id);
    send_or_keep(link, &msg);
}

void vault_link__drop_store(struct vault_link *link, const char *store)
{
    CHECK_OBJ(link, LINK_MAGIC);
    struct vault_msg msg = {.magic = VAULT_MSG_MAGIC, .op = VAULT_DROP_STORE};
    vault_key_make(&msg.key, store, VAULT_CATALOG, 0);
    send_or_keep(link, &msg);
    vault_table_drop(&link->table, store);
}

int vault_link__take(struct vault_link *link, const char *store, enum vault_role role, uint64_t id)
{
    CHECK_OBJ(link, LINK_MAGIC);
    struct vault_key key;
    vault_key_make(&key, store, role, id);
    return vault_table_take(&link->table, &key);
}

static void drop_inherited(struct vault_link *link, const char *store)
{
    for (size_t i = 0; i < VAULT_BUCKETS; i++) {
        for (struct vault_file *f = link->table.bucket[i]; f != NULL; f = f->next) {
            if (store == NULL || strcmp(f->key.store, store) == 0) {
                struct vault_msg msg = {.magic = VAULT_MSG_MAGIC, .op = VAULT_DROP, .key = f->key};
                send_or_keep(link, &msg);
            }
        }
    }
    vault_table_drop(&link->table, store);
}

void vault_link__drop_rest(struct vault_link *link, const char *store)
{
    CHECK_OBJ(link, LINK_MAGIC);
    drop_inherited(link, store);
}

void vault_link_settle(struct vault_link *link)
{
    CHECK_OBJ(link, LINK_MAGIC);
    drop_inherited(link, NULL);
}
