/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The vault: the manager's table of storage descriptors, so that what a crashed worker stored is
 * there for the next one.  A worker announces each file over a Unix socket before anything refers
 * to it; messages of a dead worker are still read, in order, before the next one starts. */
#ifndef STORE_VAULT_H
#define STORE_VAULT_H

#include <stdint.h>
#include <sys/types.h>

#include "base/rc.h"

/* ---- the manager's side ---- */
struct vault;

/* RC_NOFILES.  The caller owns *out. */
MUST_USE enum rc vault_new(struct vault **out);
void vault_free(struct vault **vault);
/* The descriptor to poll for reading; call vault_receive when it is ready. */
int vault_poll_fd(const struct vault *vault);
/* Takes in all waiting messages.  Malformed ones are dropped and counted. */
void vault_receive(struct vault *vault);
/* Before the fork: a fresh socket pair for the next worker (the old one is drained first).  The
 * worker inherits the files by fork. RC_NOFILES. */
MUST_USE enum rc vault_next_worker(struct vault *vault);
/* In the manager, after the fork: closes the worker's end. */
void vault_forked(struct vault *vault);
/* Closes every file: the cache is empty from now on. */
void vault_clear(struct vault *vault);
size_t vault_files(const struct vault *vault);
/* Messages that made no sense, and descriptors that did not arrive (ours ran out). */
uint64_t vault_rejected(const struct vault *vault);

/* ---- the worker's side, after the fork ---- */
struct vault_link;

/* Takes the inherited table; *vault becomes NULL. */
struct vault_link *vault_attach(struct vault **take_vault);
/* After every stv_open: what no store has claimed is dropped, here and in the manager. */
void vault_link_settle(struct vault_link *link);
/* The stores that use it are closed. */
void vault_link_free(struct vault_link **link);

#endif
