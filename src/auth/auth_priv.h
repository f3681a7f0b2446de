/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What the files of auth share. */
#ifndef AUTH_AUTH_PRIV_H
#define AUTH_AUTH_PRIV_H

#include "auth/auth.h"
#include "base/mutex.h"

/* RC_UNSUPPORTED: the library cannot be set up. */
MUST_USE enum rc auth__sasl_start(void);
/* Blocks; one at a time. */
bool auth__sasl_check(pthread_mutex_t *asks, const char *user, const char *password);

#endif
