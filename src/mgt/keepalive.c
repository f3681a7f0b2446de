/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* TCP's probes of connections on which nothing moves.
 *
 * Linux hands the options of a listening socket on to what is accepted from it.  So they are set
 * there, by the manager, whose sockets the worker has, and an accept costs no call more. */
#include <netinet/tcp.h>
#include <unistd.h>

#include "base/check.h"
#include "mgt/priv.h"

static const struct {
    enum param_id id;
    int option;
    uint64_t unit;
} rows[] = {
    {PARAM_tcp_keepalive_intvl, TCP_KEEPINTVL, NS_PER_S},
    {PARAM_tcp_keepalive_probes, TCP_KEEPCNT, 1},
    {PARAM_tcp_keepalive_time, TCP_KEEPIDLE, NS_PER_S},
};

void mgt__keepalive_preset(struct mgt_params *params)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct param_desc *desc = param_desc(rows[i].id);
        int value = 0;
        socklen_t len = sizeof value;
        if (getsockopt(fd, IPPROTO_TCP, rows[i].option, &value, &len) != 0 || value < 1) {
            continue; /* a machine without IPv4: the table's default stays */
        }
        uint64_t preset = (uint64_t)value * rows[i].unit;
        preset = preset < desc->min ? desc->min : preset > desc->max ? desc->max : preset;
        params->preset[rows[i].id] = preset;
        param_set(params->shared, rows[i].id, preset);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
}

void mgt__keepalive_apply(const struct params *params, int fd)
{
    int on = 1;
    CHECK(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on) == 0);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        uint64_t set = atomic_load(&params->value[rows[i].id]);
        int value = (int)((set + rows[i].unit - 1) / rows[i].unit);
        CHECK(setsockopt(fd, IPPROTO_TCP, rows[i].option, &value, sizeof value) == 0);
    }
}

void mgt__keepalive_changed(struct mgt *mgt, enum param_id id)
{
    bool is_ours = false;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        is_ours = is_ours || rows[i].id == id;
    }
    for (unsigned i = 0; i < mgt->listens.count && is_ours; i++) {
        const struct mgt_listen *listen = &mgt->listens.at[i];
        for (unsigned k = 0; k < listen->fds_count && !listen->spec.is_unix; k++) {
            mgt__keepalive_apply(mgt->params.shared, listen->fds[k]);
        }
    }
}
