/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Who may say so: names and passwords, from a file with hashes or from Cyrus SASL.
 *
 * A file has a line for each user, NAME:HASH, the hash as crypt(5) has it ($y$, $2b$, $6$, ...);
 * empty lines and those that begin with # do not count. */
#ifndef AUTH_AUTH_H
#define AUTH_AUTH_H

#include "base/sb.h"

enum { AUTH_NAME_MAX = 64, AUTH_PASSWORD_MAX = 256, AUTH_LINE_MAX = 512, AUTH_USERS_MAX = 10000 };

struct auth;

/* From the text of a file (borrowed until it returns).  RC_MALFORMED: *line is wrong (1 is the
 * first): no colon, no hash that crypt(3) knows, a name that is empty, too long or there twice.
 * RC_LIMIT: too many.  RC_NOT_FOUND: there is no user at all.  The caller owns *auth. */
MUST_USE enum rc auth_of_file(struct auth **auth, struct str text, unsigned *line);
/* From Cyrus SASL, whose configuration for the service "objmapper" says where passwords are
 * (SASL_CONF_PATH, /etc/sasl2/objmapper.conf).  RC_UNSUPPORTED: the library cannot be set up. */
MUST_USE enum rc auth_of_sasl(struct auth **auth);
void auth_free(struct auth **auth);

/* Whether this is the user's password.  As slow for a name that is not there as for one that is;
 * blocks for the time of a hash, so not on a loop's thread.  From any thread. */
bool auth_check(struct auth *auth, struct str user, struct str password);

/* Appends the line of a file for this user, with a fresh hash (yescrypt).  RC_MALFORMED: a name or
 * password that cannot be; RC_UNSUPPORTED. */
MUST_USE enum rc auth_put_line(struct sb *sb, struct str user, struct str password);

/* SASL's PLAIN message: [authzid] NUL user NUL password; text is borrowed.  RC_MALFORMED: anything
 * else, and whoever wants to act for another. */
MUST_USE enum rc auth_plain(struct str message, struct str *user, struct str *password);
/* "user password", as ASCII authentication says it. */
MUST_USE enum rc auth_words(struct str text, struct str *user, struct str *password);

#endif
