/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The command line.  Pure: nothing here opens, resolves or prints. */
#ifndef MGT_ARGS_H
#define MGT_ARGS_H

#include "mgt/cli_proto.h"
#include "mgt/worker.h"

enum { MGT_ARGS_EACH_MAX = 32, MGT_ARGS_PARAMS_MAX = 256 };

enum args_what { ARGS_RUN, ARGS_USAGE, ARGS_VERSION, ARGS_DUMP };

struct args_list {
    const char *at[MGT_ARGS_EACH_MAX];
    unsigned count;
};

/* All text is a borrow of argv. */
struct mgt_args {
    enum args_what what;
    const char *dump; /* ARGS_DUMP: the argument of -x */

    struct args_list listens;  /* -a */
    struct args_list stores;   /* -s */
    struct args_list clis;     /* -T */
    struct args_list masters;  /* -M */
    struct args_list pidfiles; /* -P */
    struct args_list notes;    /* said at start: options without a meaning here */

    /* -p, -l, -t and -r, in the order given: a later one wins. */
    struct args_param {
        struct str name; /* -r: STR_NONE */
        struct str value;
    } params[MGT_ARGS_PARAMS_MAX];
    unsigned params_count;

    bool debug;            /* -d */
    bool foreground;       /* -F */
    const char *backend;   /* -b */
    struct args_list vcls; /* -f */
    bool is_check;         /* -C */
    const char *identity;  /* -i */
    const char *init_file; /* -I */
    const char *jail;      /* -j */
    const char *workdir;   /* -n */
    const char *secret;    /* -S */
};

/* RC_INVALID: *why is one line that says what is wrong. */
MUST_USE enum rc args_parse(struct mgt_args *args, int argc, char **argv, struct cli_text *why);

void args_usage(struct cli_text *out);

/* "host:port", "host port", "[v6]:port", ":port", a v6 address alone.  RC_INVALID. */
MUST_USE enum rc addr_split(struct str text, const char *port_preset, char *host, size_t host_bytes,
                            char *port, size_t port_bytes, struct cli_text *why);

/* -a: [name=]address[:port][,PROTO][,user=U][,group=G][,mode=M][,auth=A] */
struct listen_spec {
    char name[64];
    char text[256]; /* the address as given */
    char host[256]; /* or the path */
    char port[32];
    bool is_unix;
    enum worker_proto proto;
    char user[64]; /* "": not given */
    char group[64];
    unsigned mode;  /* 0: not given */
    char auth[256]; /* "": not given; "sasl"; else the path of a file */
};
/* `index` makes the name when none is given. */
MUST_USE enum rc listen_spec_parse(struct listen_spec *spec, const char *arg, unsigned index,
                                   struct cli_text *why);

/* -b: host[:port], a path, or "none". */
MUST_USE enum rc backend_conf_parse(struct backend_conf *conf, const char *arg,
                                    struct cli_text *why);

#endif
