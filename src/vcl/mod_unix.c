/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* unix: who is at the other end of a Unix socket.
 *
 * Names are looked up in the system's files, which blocks; so that is done off the loop. */
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "vcl/mod.h"
#include "vcl/vm_priv.h"

/* False: the call fails, or only says -1. */
static bool peer(struct objm_ctx *ctx, struct vcl_client *client)
{
    struct vcl_task *task = vcl__task(ctx);
    if (task->host->client == NULL) {
        objm_fail(ctx, OBJM_STR("vmod unix failure: may not be called in vcl_init or vcl_fini"));
        return false;
    }
    *client = (struct vcl_client){.proxy_tlvs = STR_NONE};
    task->host->client(task, client);
    if (!client->is_unix) {
        objm_log(ctx, OBJM_LOG_VCL_ERROR,
                 OBJM_STR("vmod unix error: not listening on a Unix domain socket"));
        return false;
    }
    if (!client->has_ids) {
        objm_fail(ctx, OBJM_STR("vmod unix failure: could not get peer credentials"));
        return false;
    }
    return true;
}

struct naming {
    bool is_group;
    unsigned id;
    bool is_found;
    char name[128];
};

static void look_up(void *arg)
{
    enum { ROOM = 16 << 10 };
    struct naming *n = arg;
    char *room = xmalloc(ROOM);
    struct passwd user, *user_found = NULL;
    struct group group, *group_found = NULL;
    const char *name = NULL;
    if (n->is_group && getgrgid_r(n->id, &group, room, ROOM, &group_found) == 0 && group_found) {
        name = group.gr_name;
    } else if (!n->is_group && getpwuid_r(n->id, &user, room, ROOM, &user_found) == 0 &&
               user_found) {
        name = user.pw_name;
    }
    n->is_found = name != NULL;
    if (n->is_found) {
        (void)snprintf(n->name, sizeof n->name, "%s", name);
    }
    free(room);
}

static YIELDS void name_of(struct objm_ctx *ctx, struct objm_call *call, bool is_group)
{
    struct vcl_client client;
    if (!peer(ctx, &client)) {
        return;
    }
    struct naming naming = {.is_group = is_group, .id = is_group ? client.gid : client.uid};
    objm_offload(ctx, look_up, &naming);
    if (!naming.is_found) {
        objm_fail(ctx, objm_printf(ctx, "vmod unix failure: %s %u has no name",
                                   is_group ? "gid" : "uid", naming.id));
        return;
    }
    call->ret.string = objm_printf(ctx, "%s", naming.name);
}

static YIELDS void user(struct objm_ctx *ctx, struct objm_call *call)
{
    name_of(ctx, call, false);
}

static YIELDS void group(struct objm_ctx *ctx, struct objm_call *call)
{
    name_of(ctx, call, true);
}

static void uid(struct objm_ctx *ctx, struct objm_call *call)
{
    struct vcl_client client;
    call->ret.integer = peer(ctx, &client) ? (int64_t)client.uid : -1;
}

static void gid(struct objm_ctx *ctx, struct objm_call *call)
{
    struct vcl_client client;
    call->ret.integer = peer(ctx, &client) ? (int64_t)client.gid : -1;
}

static const struct objm_func funcs[] = {
    {.name = "user", .ret = OBJM_STRING, .fn = user, .doc = "The name of the peer's user."},
    {.name = "group", .ret = OBJM_STRING, .fn = group, .doc = "The name of the peer's group."},
    {.name = "uid", .ret = OBJM_INT, .fn = uid, .doc = "The number of the peer's user."},
    {.name = "gid", .ret = OBJM_INT, .fn = gid, .doc = "The number of the peer's group."},
};

const struct objm_module vcl__mod_unix = {
    OBJM_ABI,
    .name = "unix",
    .title = "who is at the other end of a Unix socket",
    .doc =
        "The user and the group of the process that connected. Over TCP there is none: numbers "
        "are -1 and names are unset, with a record in the log. The task fails when a name cannot "
        "be found, and in vcl_init and vcl_fini.",
    OBJM_FUNCS(funcs),
};
