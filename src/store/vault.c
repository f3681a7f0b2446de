/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The manager's side.  A memfd lives as long as someone holds a descriptor of it; the manager holds
 * one of each that the worker made, and knows nothing else about them.  So a worker that was
 * killed leaves all it stored, and its successor inherits the descriptors with the fork.
 *
 *     worker -- put {store, role, id} + descriptor --> socket --> table
 *            -- drop {store, role, id} ------------->
 *
 * A worker sends `put` before any record names the file, and messages of a dead worker stay
 * readable, in order: read to their end before the next fork, the table has every file that the
 * catalog can name.  What it has beyond (the worker died between the two) its successor drops.
 * The worker is not trusted: a message that makes no sense is counted and forgotten. */
#include "store/vault.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "store/vault_priv.h"

#define VAULT_MAGIC 0x3c91b20du
struct vault {
    uint32_t magic;
    int ours;   /* -1 before the first worker */
    int theirs; /* between vault_next_worker and the fork */
    uint64_t rejected;
    struct vault_table table;
};

/* ---- the table ---- */

void vault_key_make(struct vault_key *key, const char *store, enum vault_role role, uint64_t id)
{
    *key = (struct vault_key){.role = role, .id = id};
    size_t len = strlen(store);
    CHECK(len < sizeof key->store);
    memcpy(key->store, store, len);
}

static struct vault_file **bucket_of(struct vault_table *t, const struct vault_key *key)
{
    uint64_t h = key->id * UINT64_C(0x9e3779b97f4a7c15) + key->role;
    for (size_t i = 0; i < sizeof key->store; i++) {
        h = (h ^ (unsigned char)key->store[i]) * UINT64_C(0x100000001b3);
    }
    return &t->bucket[(h >> 32) % VAULT_BUCKETS];
}

static bool key_eq(const struct vault_key *a, const struct vault_key *b)
{
    return a->id == b->id && a->role == b->role && memcmp(a->store, b->store, sizeof a->store) == 0;
}

int vault_table_take(struct vault_table *t, const struct vault_key *key)
{
    for (struct vault_file **at = bucket_of(t, key); *at != NULL; at = &(*at)->next) {
        struct vault_file *file = *at;
        if (key_eq(&file->key, key)) {
            int fd = file->fd;
            *at = file->next;
            free(file);
            t->files--;
            return fd;
        }
    }
    return -1;
}

void vault_table_put(struct vault_table *t, const struct vault_key *key, int take_fd)
{
    int old = vault_table_take(t, key);
    if (old >= 0) {
        (void)close(old);
    }
    struct vault_file *file = xcalloc(1, sizeof *file);
    struct vault_file **bucket = bucket_of(t, key);
    *file = (struct vault_file){.next = *bucket, .key = *key, .fd = take_fd};
    *bucket = file;
    t->files++;
}

void vault_table_drop(struct vault_table *t, const char *store)
{
    for (size_t i = 0; i < VAULT_BUCKETS; i++) {
        struct vault_file **at = &t->bucket[i];
        while (*at != NULL) {
            struct vault_file *file = *at;
            if (store != NULL && strcmp(file->key.store, store) != 0) {
                at = &file->next;
                continue;
            }
            (void)close(file->fd);
            *at = file->next;
            free(file);
            t->files--;
        }
    }
}

/* ---- the manager ---- */

enum rc vault_new(struct vault **out)
{
    struct vault *v = xcalloc(1, sizeof *v);
    v->magic = VAULT_MAGIC;
    v->ours = -1;
    v->theirs = -1;
    *out = v;
    return RC_OK;
}

static void close_pair(struct vault *v)
{
    if (v->ours >= 0) {
        (void)close(v->ours);
        v->ours = -1;
    }
    if (v->theirs >= 0) {
        (void)close(v->theirs);
        v->theirs = -1;
    }
}

void vault_free(struct vault **vault)
{
    struct vault *v = *vault;
    *vault = NULL;
    if (v == NULL) {
        return;
    }
    CHECK_OBJ(v, VAULT_MAGIC);
    close_pair(v);
    vault_table_drop(&v->table, NULL);
    v->magic = 0;
    free(v);
}

int vault_poll_fd(const struct vault *vault)
{
    CHECK_OBJ(vault, VAULT_MAGIC);
    return vault->ours;
}

static bool msg_is_sound(const struct vault_msg *msg, size_t len, bool has_fd)
{
    return len == sizeof *msg && msg->magic == VAULT_MSG_MAGIC && msg->op >= VAULT_PUT &&
           msg->op <= VAULT_DROP_STORE && msg->key.role >= VAULT_CATALOG &&
           msg->key.role <= VAULT_BANS && msg->key.pad == 0 && msg->key.store[0] != '\0' &&
           msg->key.store[VAULT_NAME_BYTES - 1] == '\0' && has_fd == (msg->op == VAULT_PUT);
}

static void apply(struct vault *v, const struct vault_msg *msg, int *fd)
{
    switch ((enum vault_op)msg->op) {
    case VAULT_PUT:
        vault_table_put(&v->table, &msg->key, *fd);
        *fd = -1;
        break;
    case VAULT_DROP: {
        int gone = vault_table_take(&v->table, &msg->key);
        if (gone >= 0) {
            (void)close(gone);
        }
        break;
    }
    case VAULT_DROP_STORE:
        vault_table_drop(&v->table, msg->key.store);
        break;
    }
}

/* The first descriptor of a message; a sender that attached more has them closed. */
static int take_fds(struct msghdr *mh)
{
    int first = -1;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c != NULL; c = CMSG_NXTHDR(mh, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            if (first < 0) {
                first = fd;
            } else {
                (void)close(fd);
            }
        }
    }
    return first;
}

/* False when nothing is waiting, or the worker's end is gone. */
static bool receive_one(struct vault *v)
{
    struct vault_msg msg;
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(4 * sizeof(int))];
    } control;
    struct iovec iov = {.iov_base = &msg, .iov_len = sizeof msg};
    struct msghdr mh = {.msg_iov = &iov,
                        .msg_iovlen = 1,
                        .msg_control = control.bytes,
                        .msg_controllen = sizeof control.bytes};
    ssize_t n;
    do {
        n = recvmsg(v->ours, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n <= 0) {
        return false;
    }
    int fd = take_fds(&mh);
    /* MSG_CTRUNC: our own limit of descriptors was reached, so this file did not arrive.  Its
     * object will be missing after a crash; nothing else is wrong. */
    if ((mh.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) != 0 || !msg_is_sound(&msg, (size_t)n, fd >= 0)) {
        v->rejected++;
    } else {
        apply(v, &msg, &fd);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return true;
}

void vault_receive(struct vault *vault)
{
    CHECK_OBJ(vault, VAULT_MAGIC);
    while (vault->ours >= 0 && receive_one(vault)) {
    }
}

enum rc vault_next_worker(struct vault *vault)
{
    CHECK_OBJ(vault, VAULT_MAGIC);
    vault_receive(vault);
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) {
        return RC_NOFILES;
    }
    close_pair(vault);
    vault->ours = pair[0];
    vault->theirs = pair[1];
    return RC_OK;
}

void vault_forked(struct vault *vault)
{
    CHECK_OBJ(vault, VAULT_MAGIC);
    CHECK(vault->theirs >= 0);
    (void)close(vault->theirs);
    vault->theirs = -1;
}

void vault_clear(struct vault *vault)
{
    CHECK_OBJ(vault, VAULT_MAGIC);
    vault_receive(vault);
    vault_table_drop(&vault->table, NULL);
}

size_t vault_files(const struct vault *vault)
{
    CHECK_OBJ(vault, VAULT_MAGIC);
    return vault->table.files;
}

uint64_t vault_rejected(const struct vault *vault)
{
    CHECK_OBJ(vault, VAULT_MAGIC);
    return vault->rejected;
}

int vault__hand_over(struct vault *vault, struct vault_table *to)
{
    CHECK_OBJ(vault, VAULT_MAGIC);
    CHECK(vault->theirs >= 0);
    int fd = vault->theirs;
    vault->theirs = -1;
    *to = vault->table;
    memset(&vault->table, 0, sizeof vault->table);
    return fd;
}
