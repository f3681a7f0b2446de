/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* std: numbers, times, addresses, and what becomes of strings that should be one.
 *
 * The conversions have one form: exactly one argument beside `fallback`; what cannot be converted
 * is the fallback, or fails the task.  Their arguments' places are those of the tables in
 * mod_std.c. */
#include "vcl/mod_std.h"

#include <arpa/inet.h>
#include <math.h>
#include <netdb.h>
#include <stdlib.h>
#include <time.h>

#include "vcl/value.h"

/* Whether just one of these arguments (bits) was given; else it has failed. */
static bool one_given(struct objm_ctx *ctx, const struct objm_call *call, uint32_t args)
{
    uint32_t given = call->given & args;
    if (given != 0 && (given & (given - 1)) == 0) {
        return true;
    }
    struct objm_str why = objm_printf(ctx, "std.%s: %s arguments", call->func->name,
                                      given == 0 ? "not enough" : "too many");
    if (why.ptr != NULL) {
        objm_fail(ctx, why);
    }
    return false;
}

/* The end of a conversion that did not succeed. */
static void fall_back(struct objm_ctx *ctx, struct objm_call *call)
{
    enum { FALLBACK = 1 };
    if (objm_given(call, FALLBACK)) {
        call->ret = call->arg[FALLBACK];
        return;
    }
    struct objm_str why = objm_printf(ctx, "std.%s: conversion failed", call->func->name);
    if (why.ptr != NULL) {
        objm_fail(ctx, why);
    }
}

void vcl__std_random(struct objm_ctx *ctx, struct objm_call *call)
{
    double low = call->arg[0].real;
    double high = call->arg[1].real;
    call->ret.real = low + objm_random(ctx) * (high - low);
}

void vcl__std_round(struct objm_ctx *ctx, struct objm_call *call)
{
    (void)ctx;
    call->ret.real = round(call->arg[0].real);
}

/* s, fallback, real, integer */
void vcl__std_duration(struct objm_ctx *ctx, struct objm_call *call)
{
    if (!one_given(ctx, call, 0xd)) {
        return;
    }
    if (objm_given(call, 2)) {
        call->ret.real = call->arg[2].real;
    } else if (objm_given(call, 3)) {
        call->ret.real = (double)call->arg[3].integer;
    } else if (vcl_duration_parse(vcl_str(call->arg[0].string), &call->ret.real) != RC_OK) {
        fall_back(ctx, call);
    }
}

/* s, fallback, real, integer */
void vcl__std_bytes(struct objm_ctx *ctx, struct objm_call *call)
{
    if (!one_given(ctx, call, 0xd)) {
        return;
    }
    double real = call->arg[2].real;
    int64_t *bytes = &call->ret.integer;
    if (objm_given(call, 0) && vcl_bytes_parse(vcl_str(call->arg[0].string), bytes) == RC_OK) {
        return;
    }
    if (objm_given(call, 2) && real >= 0 && real < 9223372036854775808.0) {
        *bytes = (int64_t)real;
    } else if (objm_given(call, 3) && call->arg[3].integer >= 0) {
        *bytes = call->arg[3].integer;
    } else {
        fall_back(ctx, call);
    }
}

/* s, fallback, bool, bytes, duration, real, time */
void vcl__std_integer(struct objm_ctx *ctx, struct objm_call *call)
{
    if (!one_given(ctx, call, 0x7d)) {
        return;
    }
    if (objm_given(call, 2)) {
        call->ret.integer = call->arg[2].boolean ? 1 : 0;
        return;
    }
    if (objm_given(call, 3)) {
        call->ret.integer = call->arg[3].integer;
        return;
    }
    if (objm_given(call, 0)) {
        if (vcl_int_parse(vcl_str(call->arg[0].string), &call->ret.integer) != RC_OK) {
            fall_back(ctx, call);
        }
        return;
    }
    unsigned which = objm_given(call, 4) ? 4 : objm_given(call, 5) ? 5 : 6;
    double real = trunc(call->arg[which].real);
    if (fabs(real) <= (double)VCL_INT_MAX) {
        call->ret.integer = (int64_t)real;
    } else {
        fall_back(ctx, call);
    }
}

/* s, fallback, integer, bool, bytes, duration, time */
void vcl__std_real(struct objm_ctx *ctx, struct objm_call *call)
{
    if (!one_given(ctx, call, 0x7d)) {
        return;
    }
    if (objm_given(call, 2)) {
        call->ret.real = (double)call->arg[2].integer;
    } else if (objm_given(call, 3)) {
        call->ret.real = call->arg[3].boolean ? 1 : 0;
    } else if (objm_given(call, 4)) {
        call->ret.real = (double)call->arg[4].integer;
    } else if (objm_given(call, 5)) {
        call->ret.real = call->arg[5].real;
    } else if (objm_given(call, 6)) {
        call->ret.real = call->arg[6].real;
    } else if (vcl_real_parse(vcl_str(call->arg[0].string), &call->ret.real) != RC_OK) {
        fall_back(ctx, call);
    }
}

/* s, fallback, real, integer */
void vcl__std_time(struct objm_ctx *ctx, struct objm_call *call)
{
    if (!one_given(ctx, call, 0xd)) {
        return;
    }
    if (objm_given(call, 2)) {
        call->ret.real = call->arg[2].real;
    } else if (objm_given(call, 3)) {
        call->ret.real = (double)call->arg[3].integer;
    } else if (vcl_time_parse(vcl_str(call->arg[0].string), &call->ret.real) != RC_OK) {
        fall_back(ctx, call);
    }
}

/* ---- addresses ---- */

/* What getaddrinfo is asked, on a thread that may block. */
struct resolve {
    const char *host;
    const char *port;
    bool found;
    struct objm_ip ip;
};

static void resolve(void *arg)
{
    struct resolve *r = arg;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (getaddrinfo(r->host, r->port, &hints, &found) != 0) {
        return;
    }
    if (found->ai_family == AF_INET) {
        const struct sockaddr_in *sin = (const void *)found->ai_addr;
        r->ip = (struct objm_ip){.family = 4, .port = ntohs(sin->sin_port)};
        memcpy(r->ip.addr, &sin->sin_addr, 4);
        r->found = true;
    } else if (found->ai_family == AF_INET6) {
        const struct sockaddr_in6 *sin6 = (const void *)found->ai_addr;
        r->ip = (struct objm_ip){.family = 6, .port = ntohs(sin6->sin6_port)};
        memcpy(r->ip.addr, &sin6->sin6_addr, 16);
        r->found = true;
    }
    freeaddrinfo(found);
}

/* Asks the resolver for what is no address in numbers. */
static bool look_up(struct objm_ctx *ctx, struct str s, struct str port, struct objm_ip *ip)
{
    struct str host;
    struct str own_port;
    if (vcl_split_port(s, &host, &own_port) != RC_OK || host.len == 0) {
        return false;
    }
    struct resolve r = {
        .host = objm_cstr(ctx, vcl_objm_str(host)),
        .port = objm_cstr(ctx, vcl_objm_str(own_port.ptr != NULL ? own_port : port)),
    };
    if (r.host == NULL || r.port == NULL) {
        return false;
    }
    objm_offload(ctx, resolve, &r);
    *ip = r.ip;
    return r.found;
}

/* s, fallback, resolve, p */
void vcl__std_ip(struct objm_ctx *ctx, struct objm_call *call)
{
    enum { S, FALLBACK, RESOLVE, P };
    if (objm_given(call, FALLBACK) && call->arg[FALLBACK].ip == NULL) {
        vcl__std_fail(ctx, "std.ip: invalid fallback");
        return;
    }
    struct str s = vcl_str(call->arg[S].string);
    struct str port = vcl_str(call->arg[P].string);
    if (port.ptr == NULL) {
        port = STR("80");
    }
    struct objm_ip *ip = objm_alloc(ctx, sizeof *ip);
    if (ip == NULL) {
        return;
    }
    uint64_t number = 0;
    bool is_number = str_to_u64(port, &number) == RC_OK && number <= UINT16_MAX;
    bool found = s.ptr != NULL && is_number && vcl_ip_parse(s, (uint16_t)number, ip) == RC_OK;
    if (!found && s.ptr != NULL && call->arg[RESOLVE].boolean) {
        found = look_up(ctx, s, port, ip);
    }
    if (found) {
        call->ret.ip = ip;
    } else if (objm_given(call, FALLBACK)) {
        call->ret.ip = call->arg[FALLBACK].ip;
    } else {
        vcl__std_fail(ctx, "std.ip: conversion failed");
    }
}

void vcl__std_port(struct objm_ctx *ctx, struct objm_call *call)
{
    (void)ctx;
    call->ret.integer = call->arg[0].ip == NULL ? 0 : call->arg[0].ip->port;
}

void vcl__std_strftime(struct objm_ctx *ctx, struct objm_call *call)
{
    enum { TEXT_MAX = 1024 };
    call->ret.string = OBJM_STR("");
    double seconds = call->arg[0].real;
    const char *format = objm_cstr(ctx, call->arg[1].string);
    char *text = format == NULL ? NULL : objm_alloc(ctx, TEXT_MAX);
    if (text == NULL || !(fabs(seconds) < 1e15)) {
        return;
    }
    struct tm tm;
    time_t whole = (time_t)seconds;
    if (gmtime_r(&whole, &tm) == NULL) {
        return;
    }
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    size_t len = strftime(text, TEXT_MAX, format, &tm);
#pragma GCC diagnostic pop
    if (len > 0) {
        call->ret.string = (struct objm_str){text, len};
    }
}

/* ---- the old names ---- */

void vcl__std_real2integer(struct objm_ctx *ctx, struct objm_call *call)
{
    (void)ctx;
    double real = call->arg[0].real;
    bool is_valid = fabs(real) <= VCL_REAL_MAX;
    call->ret.integer = is_valid ? (int64_t)round(real) : call->arg[1].integer;
}

void vcl__std_real2time(struct objm_ctx *ctx, struct objm_call *call)
{
    (void)ctx;
    call->ret.real = isfinite(call->arg[0].real) ? call->arg[0].real : call->arg[1].real;
}

void vcl__std_time2integer(struct objm_ctx *ctx, struct objm_call *call)
{
    (void)ctx;
    double rounded = round(call->arg[0].real);
    bool is_valid = fabs(rounded) <= (double)VCL_INT_MAX;
    call->ret.integer = is_valid ? (int64_t)rounded : call->arg[1].integer;
}

void vcl__std_time2real(struct objm_ctx *ctx, struct objm_call *call)
{
    vcl__std_real2time(ctx, call);
}
