/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Cyrus SASL as a judge of passwords: sasldb, saslauthd, or whatever its configuration names.
 *
 * Only that is asked of the library; PLAIN, the one mechanism that memcached's clients have, is
 * three words, which auth_plain reads.  Its plugins are made for one thread, so one asks at a
 * time. */
#include "auth/auth_priv.h"

#include <sasl/sasl.h>

enum rc auth__sasl_start(void)
{
    return sasl_server_init(NULL, "objmapper") == SASL_OK ? RC_OK : RC_UNSUPPORTED;
}

bool auth__sasl_check(pthread_mutex_t *asks, const char *user, const char *password)
{
    sasl_conn_t *conn = NULL;
    mutex_lock(asks);
    int rc = sasl_server_new("objmapper", NULL, NULL, NULL, NULL, NULL, 0, &conn);
    if (rc == SASL_OK) {
        rc = sasl_checkpass(conn, user, (unsigned)strlen(user), password,
                            (unsigned)strlen(password));
        sasl_dispose(&conn);
    }
    mutex_unlock(asks);
    return rc == SASL_OK;
}
