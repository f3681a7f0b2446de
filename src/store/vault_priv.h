/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The vault's table and message, and what an engine asks of its link. */
#ifndef STORE_VAULT_PRIV_H
#define STORE_VAULT_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "store/store_priv.h"
#include "store/vault.h"

enum vault_role { VAULT_CATALOG = 1, VAULT_SLAB = 2, VAULT_BODY = 3, VAULT_BANS = 4 };
enum vault_op { VAULT_PUT = 1, VAULT_DROP = 2, VAULT_DROP_STORE = 3 };

#define VAULT_NAME_BYTES 32

struct vault_key {
    char store[VAULT_NAME_BYTES]; /* NUL-terminated, zero-filled */
    uint32_t role;
    uint32_t pad;
    uint64_t id;
};

#define VAULT_MSG_MAGIC 0x6d7a1f03u
struct vault_msg {
    uint32_t magic;
    uint32_t op;
    struct vault_key key;
};

struct vault_file {
    struct vault_file *next;
    struct vault_key key;
    int fd;
};

#define VAULT_BUCKETS 4096u
struct vault_table {
    struct vault_file *bucket[VAULT_BUCKETS];
    size_t files;
};

void vault_key_make(struct vault_key *key, const char *store, enum vault_role role, uint64_t id);
/* Takes the descriptor; an older one of the same key is closed. */
void vault_table_put(struct vault_table *t, const struct vault_key *key, int take_fd);
/* The descriptor, now the caller's, or -1. */
int vault_table_take(struct vault_table *t, const struct vault_key *key);
/* Closes those of one store, or all when store is NULL. */
void vault_table_drop(struct vault_table *t, const char *store);

/* Moves the table out, and returns the worker's end of the socket, now the caller's. */
int vault__hand_over(struct vault *vault, struct vault_table *to);

/* ---- the link, for engines ---- */

/* The manager holds a duplicate of fd once this is RC_OK, unless it dies.  RC_NOSPACE, RC_NOFILES.
 * Yields. */
YIELDS MUST_USE enum rc vault_link__put(struct vault_link *link, const char *store,
                                        enum vault_role role, uint64_t id, int fd);
/* Likewise, but never waits: RC_AGAIN when the manager has not read what came before. */
MUST_USE enum rc vault_link__try_put(struct vault_link *link, const char *store,
                                     enum vault_role role, uint64_t id, int fd);
/* Never fails: what cannot be sent now is sent before the next message. */
void vault_link__drop(struct vault_link *link, const char *store, enum vault_role role,
                      uint64_t id);
void vault_link__drop_store(struct vault_link *link, const char *store);
/* An inherited file, now the caller's, or -1. */
int vault_link__take(struct vault_link *link, const char *store, enum vault_role role, uint64_t id);
/* Drops what was inherited for that store and not taken, here and in the manager. */
void vault_link__drop_rest(struct vault_link *link, const char *store);

/* For tests: a link with no manager behind it; a socket and files given to it by hand. */
struct vault_link *vault_link__alone(void);
void vault_link__connect(struct vault_link *link, int take_fd);
void vault_link__inherit(struct vault_link *link, const char *store, enum vault_role role,
                         uint64_t id, int take_fd);

#endif
