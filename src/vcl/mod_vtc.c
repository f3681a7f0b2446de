/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* vtc: what tests of VCL need: meeting other parties of a test, conditions that are hard to reach,
 * and the end of the worker on demand.  Not for production, but it does no harm there: only panic
 * ends the worker, and a policy that calls it means it. */
#include "vcl/mod.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/un.h>

#include "base/check.h"
#include "base/clock.h"
#include "run/sock.h"
#include "vcl/value.h"

static void fail(struct objm_ctx *ctx, struct objm_str why)
{
    if (why.ptr != NULL) {
        objm_fail(ctx, why);
    }
}

/* ---- barriers ---- */

union any_addr {
    struct sockaddr sa;
    struct sockaddr_in sin;
    struct sockaddr_in6 sin6;
    struct sockaddr_un sun;
};

/* The address of a barrier: "127.0.0.1:1234" or a path.  0: it is none. */
static socklen_t barrier_addr(struct str text, union any_addr *addr)
{
    memset(addr, 0, sizeof *addr);
    if (text.len > 0 && *text.ptr == '/' && text.len < sizeof addr->sun.sun_path) {
        addr->sun.sun_family = AF_UNIX;
        memcpy(addr->sun.sun_path, text.ptr, text.len);
        return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + text.len + 1);
    }
    struct objm_ip ip;
    if (vcl_ip_parse(text, 0, &ip) != RC_OK) {
        return 0;
    }
    if (ip.family == 4) {
        addr->sin.sin_family = AF_INET;
        addr->sin.sin_port = htons(ip.port);
        memcpy(&addr->sin.sin_addr, ip.addr, 4);
        return sizeof addr->sin;
    }
    addr->sin6.sin6_family = AF_INET6;
    addr->sin6.sin6_port = htons(ip.port);
    memcpy(&addr->sin6.sin6_addr, ip.addr, 16);
    return sizeof addr->sin6;
}

/* The barrier closes the connection when all are there. */
YIELDS static void barrier_sync(struct objm_ctx *ctx, struct objm_call *call)
{
    struct str text = vcl_str(call->arg[0].string);
    double timeout = call->arg[1].real;
    objm_log(ctx, OBJM_LOG_DEBUG, objm_printf(ctx, "barrier_sync(\"%.*s\")", STR_ARG(text)));
    union any_addr addr;
    socklen_t len = barrier_addr(text, &addr);
    if (len == 0 || fiber_self() == NULL) {
        fail(ctx, OBJM_STR("Barrier connection failed: no address, or not in a request"));
        return;
    }
    uint64_t deadline =
        timeout > 0 ? clock_after(clock_mono_ns(), (uint64_t)(timeout * 1e9)) : NEVER;
    struct sock sock;
    enum rc rc = sock_connect(&sock, &addr.sa, len, deadline);
    if (rc != RC_OK) {
        fail(ctx, objm_printf(ctx, "Barrier connection failed: %s", rc_text(rc)));
        return;
    }
    char buf[32];
    size_t got;
    rc = sock_read(&sock, buf, sizeof buf, (struct sock_limit){deadline, NEVER}, &got);
    sock_close(&sock);
    if (rc == RC_OK) {
        fail(ctx, objm_printf(ctx, "Barrier unexpected data (%zdB)", got));
    } else if (rc != RC_EOF) {
        fail(ctx, objm_printf(ctx, "Barrier read failed: %s", rc_text(rc)));
    }
}

/* ---- odd values, odd ends ---- */

static void nothing(struct objm_ctx *ctx, struct objm_call *call)
{
    (void)ctx;
    (void)call; /* the result is zero already: no backend, no storage, no address */
}

static void panic(struct objm_ctx *ctx, struct objm_call *call)
{
    struct str text = vcl_str(objm_join(ctx, call->arg[0].strands));
    struct objm_str line = objm_printf(ctx, "PANIC: %.*s", STR_ARG(text));
    check_fail("VCL", 0, "", line.ptr == NULL ? "PANIC" : line.ptr);
}

YIELDS static void do_sleep(struct objm_ctx *ctx, struct objm_call *call)
{
    if (call->arg[0].real > 0) {
        objm_sleep(ctx, call->arg[0].real);
    }
}

/* ---- workspaces ---- */

static void workspace_alloc(struct objm_ctx *ctx, struct objm_call *call)
{
    enum objm_ws ws = (enum objm_ws)call->arg[0].choice;
    int64_t bytes = call->arg[1].integer;
    if (bytes < 0) {
        bytes += (int64_t)ctx->ops->ws_free(ctx, ws);
    }
    if (bytes <= 0) {
        fail(ctx, OBJM_STR("Attempted negative WS allocation"));
        return;
    }
    void *block = ctx->ops->ws_alloc(ctx, ws, (size_t)bytes);
    if (block == NULL) {
        fail(ctx, OBJM_STR("vtc.workspace_alloc"));
        return;
    }
    memset(block, 0, (size_t)bytes);
}

static void workspace_reserve(struct objm_ctx *ctx, struct objm_call *call)
{
    enum objm_ws ws = (enum objm_ws)call->arg[0].choice;
    int64_t room = (int64_t)ctx->ops->ws_free(ctx, ws);
    int64_t bytes = call->arg[1].integer;
    if (bytes < 0) {
        bytes += room;
    }
    if (bytes <= 0) {
        fail(ctx, OBJM_STR("Attempted negative WS reservation"));
        return;
    }
    call->ret.integer = bytes <= room ? bytes : 0;
}

static void workspace_free(struct objm_ctx *ctx, struct objm_call *call)
{
    call->ret.integer = (int64_t)ctx->ops->ws_free(ctx, (enum objm_ws)call->arg[0].choice);
}

static void workspace_snapshot(struct objm_ctx *ctx, struct objm_call *call)
{
    size_t mark = ctx->ops->ws_mark(ctx, (enum objm_ws)call->arg[0].choice);
    call->priv_vcl->len = mark + 1; /* 0: there is none */
}

static void workspace_reset(struct objm_ctx *ctx, struct objm_call *call)
{
    if (call->priv_vcl->len == 0) {
        fail(ctx, OBJM_STR("vtc.workspace_reset() without a snapshot"));
        return;
    }
    ctx->ops->ws_rewind(ctx, (enum objm_ws)call->arg[0].choice, call->priv_vcl->len - 1);
}

static void workspace_overflowed(struct objm_ctx *ctx, struct objm_call *call)
{
    call->ret.boolean = ctx->ops->ws_overflowed(ctx, (enum objm_ws)call->arg[0].choice);
}

static void workspace_overflow(struct objm_ctx *ctx, struct objm_call *call)
{
    ctx->ops->ws_overflow(ctx, (enum objm_ws)call->arg[0].choice);
}

/* ---- sizes ---- */

static size_t size_of(char c)
{
    switch (c) {
    case 'c':
        return sizeof(char);
    case 'd':
        return sizeof(double);
    case 'f':
        return sizeof(float);
    case 'i':
    case 'u':
        return sizeof(int);
    case 'j':
        return sizeof(intmax_t);
    case 'l':
        return sizeof(long);
    case 'o':
        return sizeof(off_t);
    case 'p':
        return sizeof(void *);
    case 's':
        return sizeof(short);
    case 'z':
        return sizeof(size_t);
    default:
        return 0;
    }
}

static size_t round_up(size_t at, size_t to)
{
    return (at + to - 1) / to * to;
}

static void typesize(struct objm_ctx *ctx, struct objm_call *call)
{
    (void)ctx;
    struct str types = vcl_str(call->arg[0].string);
    size_t at = 0;
    size_t widest = 1;
    for (size_t n = 0; n < types.len; n++) {
        size_t size = size_of(types.ptr[n]);
        if (size == 0) {
            call->ret.integer = -1;
            return;
        }
        widest = size > widest ? size : widest;
        at = round_up(at, size) + size;
    }
    call->ret.integer = (int64_t)round_up(at, widest);
}

/* ---- PROXY headers ---- */

static void put_u16(struct sb *sb, size_t value)
{
    sb_chr(sb, (char)(value >> 8 & 0xff));
    sb_chr(sb, (char)(value & 0xff));
}

static void proxy_v1(struct sb *sb, const struct objm_ip *client, const struct objm_ip *server)
{
    sb_printf(sb, "PROXY TCP%d ", client->family);
    vcl_ip_text(sb, client);
    sb_chr(sb, ' ');
    vcl_ip_text(sb, server);
    sb_printf(sb, " %u %u\r\n", client->port, server->port);
}

static void proxy_v2(struct sb *sb, const struct objm_ip *client, const struct objm_ip *server,
                     struct str authority)
{
    size_t addr_len = client->family == 4 ? 4 : 16;
    sb_add(sb, "\r\n\r\n\0\r\nQUIT\n", 12);
    sb_chr(sb, '\x21');
    sb_chr(sb, client->family == 4 ? '\x11' : '\x21');
    put_u16(sb, 2 * addr_len + 4 + (authority.len > 0 ? authority.len + 3 : 0));
    sb_add(sb, client->addr, addr_len);
    sb_add(sb, server->addr, addr_len);
    put_u16(sb, client->port);
    put_u16(sb, server->port);
    if (authority.len > 0) {
        sb_chr(sb, '\x02');
        put_u16(sb, authority.len);
        sb_put(sb, authority);
    }
}

static void proxy_header(struct objm_ctx *ctx, struct objm_call *call)
{
    const struct objm_ip *client = call->arg[1].ip;
    const struct objm_ip *server = call->arg[2].ip;
    struct str authority = vcl_str(call->arg[3].string);
    if (client == NULL || server == NULL || client->family != server->family) {
        fail(ctx, OBJM_STR("vtc.proxy_header(): two addresses of one family are needed"));
        return;
    }
    size_t room = 160 + authority.len;
    char *text = objm_alloc(ctx, room);
    if (text == NULL) {
        return;
    }
    struct sb sb = sb_of(text, room);
    if (call->arg[0].choice == 0) {
        proxy_v1(&sb, client, server);
    } else {
        proxy_v2(&sb, client, server, authority);
    }
    call->ret.blob = (struct objm_blob){sb.ptr, sb.len};
}

/* ---- the table ---- */

#define WORKSPACES "client backend session thread"

static const struct objm_arg barrier_args[] = {{OBJM_ARG(STRING, "addr")},
                                               {OBJM_ARG(DURATION, "timeout"), .def = "0s"}};
static const struct objm_arg strands_args[] = {{OBJM_ARG(STRANDS, NULL)}};
static const struct objm_arg duration_args[] = {{OBJM_ARG(DURATION, NULL)}};
static const struct objm_arg ws_args[] = {{OBJM_ARG(ENUM, NULL), .values = WORKSPACES}};
static const struct objm_arg ws_size_args[] = {{OBJM_ARG(ENUM, NULL), .values = WORKSPACES},
                                               {OBJM_ARG(INT, "size")}};
static const struct objm_arg string_args[] = {{OBJM_ARG(STRING, NULL)}};
static const struct objm_arg proxy_args[] = {
    {OBJM_ARG(ENUM, "version"), .values = "v1 v2"},
    {OBJM_ARG(IP, "client")},
    {OBJM_ARG(IP, "server")},
    {OBJM_ARG(STRING, "authority"), .def = "0"},
};

static const struct objm_func funcs[] = {
    {.name = "barrier_sync",
     .fn = barrier_sync,
     OBJM_ARGS(barrier_args),
     .doc = "Waits at a barrier of varnishtest, for no longer than timeout (0: as long as it "
            "takes). The task fails when it cannot."},
    {.name = "no_backend", .ret = OBJM_BACKEND, .fn = nothing, .doc = "A backend that is none."},
    {.name = "no_stevedore",
     .ret = OBJM_STEVEDORE,
     .fn = nothing,
     .doc = "A storage that is none."},
    {.name = "no_ip", .ret = OBJM_IP, .fn = nothing, .doc = "An address that is none."},
    {.name = "panic",
     .fn = panic,
     OBJM_ARGS(strands_args),
     .doc = "Ends the worker, with this text in its report."},
    {.name = "sleep", .fn = do_sleep, OBJM_ARGS(duration_args), .doc = "Waits."},
    {.name = "workspace_alloc",
     .fn = workspace_alloc,
     OBJM_ARGS(ws_size_args),
     .doc = "Takes memory of a workspace; with a negative size all but that much."},
    {.name = "workspace_reserve",
     .ret = OBJM_BYTES,
     .fn = workspace_reserve,
     OBJM_ARGS(ws_size_args),
     .doc = "The size if there is room for it, else 0; negative sizes as above."},
    {.name = "workspace_free",
     .ret = OBJM_INT,
     .fn = workspace_free,
     OBJM_ARGS(ws_args),
     .doc = "How many bytes a workspace has left."},
    {.name = "workspace_snapshot",
     .fn = workspace_snapshot,
     OBJM_ARGS(ws_args),
     .doc = "Notes how full a workspace is; one note a VCL."},
    {.name = "workspace_reset",
     .fn = workspace_reset,
     OBJM_ARGS(ws_args),
     .doc = "Makes a workspace as full as it was noted to be."},
    {.name = "workspace_overflowed",
     .ret = OBJM_BOOL,
     .fn = workspace_overflowed,
     OBJM_ARGS(ws_args),
     .doc = "Whether something did not fit."},
    {.name = "workspace_overflow",
     .fn = workspace_overflow,
     OBJM_ARGS(ws_args),
     .doc = "As if something had not fitted."},
    {.name = "typesize",
     .ret = OBJM_INT,
     .fn = typesize,
     OBJM_ARGS(string_args),
     .doc = "The size of a C struct of these members: c d f i j l o p s u z for char, double, "
            "float, int, intmax_t, long, off_t, a pointer, short, unsigned, size_t."},
    {.name = "proxy_header",
     .ret = OBJM_BLOB,
     .fn = proxy_header,
     OBJM_ARGS(proxy_args),
     .doc = "The head of a connection in the PROXY protocol; authority with v2 only."},
};

const struct objm_module vcl__mod_vtc = {
    OBJM_ABI,
    .name = "vtc",
    .title = "what tests of VCL need",
    .doc = "For tests that are run by varnishtest. Workspaces: client and session are those of a "
           "request, backend and thread those of a fetch; where two are one here, both names mean "
           "it.",
    OBJM_FUNCS(funcs),
};
