/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The std module's table: what the compiler, the machine and the reference page know of it. */
#include "vcl/mod.h"
#include "vcl/mod_std.h"

static const struct objm_arg random_args[] = {{OBJM_ARG(REAL, "lo")}, {OBJM_ARG(REAL, "hi")}};
static const struct objm_arg real_args[] = {{OBJM_ARG(REAL, "r")}};
static const struct objm_arg collect_args[] = {{OBJM_ARG(HEADER, "hdr")},
                                               {OBJM_ARG(STRING, "sep"), .def = "\", \""}};
static const struct objm_arg string_args[] = {{OBJM_ARG(STRING, NULL)}};
static const struct objm_arg strands_args[] = {{OBJM_ARG(STRANDS, "s")}};
static const struct objm_arg strstr_args[] = {{OBJM_ARG(STRING, "s1")}, {OBJM_ARG(STRING, "s2")}};
static const struct objm_arg fnmatch_args[] = {
    {OBJM_ARG(STRING, "pattern")},
    {OBJM_ARG(STRING, "subject")},
    {OBJM_ARG(BOOL, "pathname"), .def = "true"},
    {OBJM_ARG(BOOL, "noescape"), .def = "false"},
    {OBJM_ARG(BOOL, "period"), .def = "false"},
};
static const struct objm_arg path_args[] = {{OBJM_ARG(STRING, "path")}};
static const struct objm_arg backend_args[] = {{OBJM_ARG(BACKEND, "be")}};
static const struct objm_arg port_args[] = {{OBJM_ARG(IP, "ip")}};
static const struct objm_arg duration_args[] = {
    {OBJM_ARG(STRING, "s"), .is_optional = true},
    {OBJM_ARG(DURATION, "fallback"), .is_optional = true},
    {OBJM_ARG(REAL, "real"), .is_optional = true},
    {OBJM_ARG(INT, "integer"), .is_optional = true},
};
static const struct objm_arg bytes_args[] = {
    {OBJM_ARG(STRING, "s"), .is_optional = true},
    {OBJM_ARG(BYTES, "fallback"), .is_optional = true},
    {OBJM_ARG(REAL, "real"), .is_optional = true},
    {OBJM_ARG(INT, "integer"), .is_optional = true},
};
static const struct objm_arg integer_args[] = {
    {OBJM_ARG(STRING, "s"), .is_optional = true},
    {OBJM_ARG(INT, "fallback"), .is_optional = true},
    {OBJM_ARG(BOOL, "bool"), .is_optional = true},
    {OBJM_ARG(BYTES, "bytes"), .is_optional = true},
    {OBJM_ARG(DURATION, "duration"), .is_optional = true},
    {OBJM_ARG(REAL, "real"), .is_optional = true},
    {OBJM_ARG(TIME, "time"), .is_optional = true},
};
static const struct objm_arg ip_args[] = {
    {OBJM_ARG(STRING, "s")},
    {OBJM_ARG(IP, "fallback"), .is_optional = true},
    {OBJM_ARG(BOOL, "resolve"), .def = "true"},
    {OBJM_ARG(STRING, "p"), .is_optional = true},
};
static const struct objm_arg to_real_args[] = {
    {OBJM_ARG(STRING, "s"), .is_optional = true},
    {OBJM_ARG(REAL, "fallback"), .is_optional = true},
    {OBJM_ARG(INT, "integer"), .is_optional = true},
    {OBJM_ARG(BOOL, "bool"), .is_optional = true},
    {OBJM_ARG(BYTES, "bytes"), .is_optional = true},
    {OBJM_ARG(DURATION, "duration"), .is_optional = true},
    {OBJM_ARG(TIME, "time"), .is_optional = true},
};
static const struct objm_arg time_args[] = {
    {OBJM_ARG(STRING, "s"), .is_optional = true},
    {OBJM_ARG(TIME, "fallback"), .is_optional = true},
    {OBJM_ARG(REAL, "real"), .is_optional = true},
    {OBJM_ARG(INT, "integer"), .is_optional = true},
};
static const struct objm_arg strftime_args[] = {{OBJM_ARG(TIME, "time")},
                                                {OBJM_ARG(STRING, "format")}};
static const struct objm_arg syslog_args[] = {{OBJM_ARG(INT, "priority")},
                                              {OBJM_ARG(STRANDS, "s")}};
static const struct objm_arg label_args[] = {{OBJM_ARG(STRING, "s")}};
static const struct objm_arg syntax_args[] = {{OBJM_ARG(REAL, NULL)}};
static const struct objm_arg name_args[] = {{OBJM_ARG(STRING, "name")}};
static const struct objm_arg size_args[] = {{OBJM_ARG(BYTES, "size")}};
static const struct objm_arg late_args[] = {{OBJM_ARG(BOOL, "late")}};
static const struct objm_arg tos_args[] = {{OBJM_ARG(INT, "tos")}};
static const struct objm_arg http_args[] = {{OBJM_ARG(HTTP, "h")}};
static const struct objm_arg real2integer_args[] = {{OBJM_ARG(REAL, "r")},
                                                    {OBJM_ARG(INT, "fallback")}};
static const struct objm_arg real2time_args[] = {{OBJM_ARG(REAL, "r")},
                                                 {OBJM_ARG(TIME, "fallback")}};
static const struct objm_arg time2integer_args[] = {{OBJM_ARG(TIME, "t")},
                                                    {OBJM_ARG(INT, "fallback")}};
static const struct objm_arg time2real_args[] = {{OBJM_ARG(TIME, "t")},
                                                 {OBJM_ARG(REAL, "fallback")}};

#define FUNC(f, type, args_, text)                                                                 \
    {                                                                                              \
        .name = #f, .ret = OBJM_##type, .fn = vcl__std_##f, OBJM_ARGS(args_), .doc = (text)        \
    }

static const struct objm_func funcs[] = {
    FUNC(random, REAL, random_args,
         "A random number from lo up to hi, of a series that tests can repeat. Not for secrets."),
    FUNC(round, REAL, real_args, "The nearest whole number; halves go away from zero."),
    FUNC(collect, VOID, collect_args,
         "Makes all fields of this name one, where the first one stood, their values divided by "
         "sep. Set-Cookie does not survive that. Fields of obj cannot be changed: the task fails."),
    FUNC(querysort, STRING, string_args,
         "The URL with the parameters of its query in the order of their bytes, so that one "
         "object serves every order. Empty parameters go."),
    FUNC(toupper, STRING, strands_args, "The text with a to z as capitals."),
    FUNC(tolower, STRING, strands_args, "The text with A to Z as small letters."),
    FUNC(strstr, STRING, strstr_args,
         "What of s1 begins with the first s2 in it; unset when there is none, or either is "
         "unset."),
    FUNC(fnmatch, BOOL, fnmatch_args,
         "Whether the subject matches a pattern of fnmatch(3): * for any characters, ? for one, "
         "[a-z] and [!a-z] for one of several or none of them.\n\n"
         "With pathname only a slash in the pattern matches a slash; with noescape a backslash "
         "is a character like others; with period a period at the start (with pathname: behind a "
         "slash) is matched only by one. The task fails when pattern or subject is unset."),
    {.name = "fileread",
     .ret = OBJM_STRING,
     .fn = vcl__std_fileread,
     OBJM_ARGS(string_args),
     .has_priv_call = true,
     .doc = "The text in a file, up to its first NUL byte. The file is read once for each place "
            "that calls this, and kept as long as the VCL (the first 64 names there). Unset, "
            "with a record in the log, when it cannot be read; 64 MiB is the most it can have."},
    {.name = "blobread",
     .ret = OBJM_BLOB,
     .fn = vcl__std_blobread,
     OBJM_ARGS(string_args),
     .has_priv_call = true,
     .doc = "As fileread, with all bytes."},
    FUNC(file_exists, BOOL, path_args, "Whether there is something at this path."),
    FUNC(healthy, BOOL, backend_args,
         "Whether a backend is healthy; of a director: whether one of its backends is."),
    FUNC(port, INT, port_args, "The port of an address; 0 for a Unix socket."),
    FUNC(duration, DURATION, duration_args,
         "A DURATION of a text with a unit (ms, s, m, h, d, w, y), or of a number of seconds. "
         "Exactly one argument beside fallback. What cannot be converted is the fallback; without "
         "one the task fails.\n\n    set beresp.ttl = std.duration(beresp.http.x-ttl, 1h);"),
    FUNC(bytes, BYTES, bytes_args,
         "BYTES of a text, with or without a unit (K, M, G, T, P), or of a number that is not "
         "negative. Otherwise as duration."),
    FUNC(integer, INT, integer_args,
         "An INT of a text or another quantity, without what stands behind the point. Otherwise "
         "as duration."),
    FUNC(
        ip, IP, ip_args,
        "The first address of a text: numbers or a name, with or without a port (\"192.0.2.1:80\", "
        "\"[::1] 80\"), which p stands for when it is missing (80). With resolve = false names "
        "are not looked up. Otherwise as duration."),
    FUNC(real, REAL, to_real_args, "A REAL of a text or another quantity. Otherwise as duration."),
    FUNC(time, TIME, time_args,
         "A TIME of an HTTP date in any of its three forms, of 1994-11-06T08:49:37, or of seconds "
         "since 1970. Otherwise as duration."),
    FUNC(strftime, STRING, strftime_args,
         "The time as strftime(3) writes it, in UTC; at most 1023 bytes."),
    FUNC(log, VOID, strands_args, "Writes a VCL_Log record."),
    FUNC(syslog, VOID, syslog_args,
         "Writes to the system's log; priority is facility and level of syslog.h."),
    FUNC(timestamp, VOID, label_args, "Writes a Timestamp record with this label."),
    FUNC(syntax, BOOL, syntax_args, "Whether this VCL's version is at least this one."),
    FUNC(getenv, STRING, name_args, "A variable of the daemon's environment."),
    FUNC(cache_req_body, BOOL, size_args,
         "Reads the request's body into memory if it has no more than size bytes, so that it can "
         "be sent again. Whether it could. In vcl_recv only."),
    FUNC(late_100_continue, VOID, late_args,
         "With true, 100 Continue is sent when the body is wanted and not after vcl_recv. In "
         "vcl_recv only."),
    FUNC(set_ip_tos, VOID, tos_args,
         "Sets the traffic class of the client's connection, for this request and all after it."),
    FUNC(rollback, VOID, http_args, "Makes req or bereq what it was before VCL changed it."),
    FUNC(ban, BOOL, string_args,
         "Adds a ban; what the text may be, stands with the command ban in objmapper-cli(7). "
         "False: see ban_error."),
    {.name = "ban_error",
     .ret = OBJM_STRING,
     .fn = vcl__std_ban_error,
     .doc = "Why the task's last ban was refused; empty when it was not."},
    FUNC(real2integer, INT, real2integer_args, "Old: use integer(real=round(...), fallback)."),
    FUNC(real2time, TIME, real2time_args, "Old: use time(real=round(...), fallback)."),
    FUNC(time2integer, INT, time2integer_args, "Old: use integer(time=..., fallback)."),
    FUNC(time2real, REAL, time2real_args, "Old: use real(time=..., fallback)."),
};

const struct objm_module vcl__mod_std = {
    OBJM_ABI,
    .name = "std",
    .title = "standard functions of VCL",
    .doc = "Strings, numbers, files, the log, and what is done to a request or to the cache.",
    OBJM_FUNCS(funcs),
};
