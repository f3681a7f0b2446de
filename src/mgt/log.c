/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What the manager has to say: to syslog (daemon's facility local0, as Varnish's administrators
 * expect it), and to stderr with -d and -F, and until a daemon has left its terminal. */
#include <stdio.h>
#include <syslog.h>

#include "mgt/priv.h"

static bool log_to_stderr;

void mgt__log_open(bool to_stderr)
{
    log_to_stderr = to_stderr;
    openlog("objmapperd", LOG_PID, LOG_LOCAL0);
}

void mgt__log_to_stderr(bool on)
{
    log_to_stderr = on;
}

void mgt__log(enum mgt_level level, const char *fmt, ...)
{
    static const char *const names[] = {"Debug", "Info", "Error"};
    static const int priorities[] = {LOG_DEBUG, LOG_INFO, LOG_ERR};
    struct cli_text text = {0};
    va_list ap;
    va_start(ap, fmt);
    cli_text_vprintf(&text, fmt, ap);
    va_end(ap);
    if (log_to_stderr) {
        (void)fprintf(stderr, "%s: %.*s\n", names[level], STR_ARG(cli_text_str(&text)));
    }
    syslog(priorities[level], "%.*s", STR_ARG(cli_text_str(&text)));
    cli_text_free(&text);
}

void mgt__log_cli(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsyslog(LOG_INFO, fmt, ap);
    va_end(ap);
}
