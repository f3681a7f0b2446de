/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The bans that stand, in a file that the manager's vault keeps for the next worker.  What a ban
 * says is the cache's affair: here it is bytes with a number and a time. */
#ifndef STORE_BAN_LOG_H
#define STORE_BAN_LOG_H

#include "base/rc.h"
#include "base/str.h"

struct ban_log;
struct vault_link;

/* Opens an earlier worker's, or an empty one.  Between vault_attach and vault_link_settle; `link`
 * is borrowed for the log's life.  RC_NOFILES, RC_NOSPACE. */
MUST_USE enum rc ban_log_open(struct vault_link *link, struct ban_log **out);
/* The next worker's from now on. */
void ban_log_close(struct ban_log **log);

/* Kept, whenever the worker is killed, once it returns RC_OK.  Numbers ascend.  RC_NOSPACE: nothing
 * changed.  Any thread. */
MUST_USE enum rc ban_log_append(struct ban_log *log, uint64_t seq, uint64_t time_ns,
                                struct str bytes);
/* The number of the first that is kept; where there is none, of the next.  This and the next before
 * the first append. */
uint64_t ban_log_first(const struct ban_log *log);
/* All that are kept, by rising numbers. */
typedef void ban_log_fn(void *arg, uint64_t seq, uint64_t time_ns, struct str bytes);
void ban_log_read(const struct ban_log *log, ban_log_fn *fn, void *arg);

/* Those below `seq` are not needed any more; their room comes back in time.  Any thread. */
void ban_log_forget(struct ban_log *log, uint64_t seq);
/* In bytes: what is kept, and how much of it is forgotten. */
void ban_log_size(struct ban_log *log, uint64_t *bytes, uint64_t *forgotten);

#endif
