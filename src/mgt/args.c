/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The command line, as varnishd 7.1 takes it.  An existing start script must either work or be told
 * in one line which of its options stands in the way. */
#include "mgt/args.h"

#include <stdio.h>
#include <unistd.h>

#include "base/check.h"

static const char optstring[] = ":a:b:Cdf:Fh:i:I:j:l:M:n:p:P:r:S:s:T:t:VW:x:?";

/* RC_INVALID. */
static enum rc fail(struct cli_text *why, const char *fmt, ...) PRINTF_LIKE(2, 3);
static enum rc fail(struct cli_text *why, const char *fmt, ...)
{
    cli_text_clear(why);
    va_list ap;
    va_start(ap, fmt);
    cli_text_vprintf(why, fmt, ap);
    va_end(ap);
    return RC_INVALID;
}

static enum rc list_add(struct args_list *list, int option, const char *text, struct cli_text *why)
{
    if (list->count == MGT_ARGS_EACH_MAX) {
        return fail(why, "-%c: more than %d of them", option, MGT_ARGS_EACH_MAX);
    }
    list->at[list->count++] = text;
    return RC_OK;
}

static enum rc param_add(struct mgt_args *args, struct str name, struct str value,
                         struct cli_text *why)
{
    if (args->params_count == MGT_ARGS_PARAMS_MAX) {
        return fail(why, "-p: more than %d of them", MGT_ARGS_PARAMS_MAX);
    }
    args->params[args->params_count++] = (struct args_param){name, value};
    return RC_OK;
}

static enum rc param_assign(struct mgt_args *args, const char *text, struct cli_text *why)
{
    struct str value = str_of(text);
    struct str name = str_cut(&value, '=');
    if (value.ptr == NULL) {
        return fail(why, "-p %s: lacks '='", text);
    }
    return param_add(args, name, value, why);
}

/* Options that may be given once take the last one, as varnishd does, but for -b and -I. */
static enum rc once(const char **place, int option, const char *text, struct cli_text *why)
{
    if (*place != NULL) {
        return fail(why, "-%c can be used only once", option);
    }
    *place = text;
    return RC_OK;
}

/* The list of an option that may be repeated; NULL for others. */
static struct args_list *list_of(struct mgt_args *args, int option)
{
    switch (option) {
    case 'a':
        return &args->listens;
    case 's':
        return &args->stores;
    case 'T':
        return &args->clis;
    case 'M':
        return &args->masters;
    case 'P':
        return &args->pidfiles;
    case 'f':
        return &args->vcls;
    default:
        return NULL;
    }
}

static enum rc option_refused(int option, const char *text, struct cli_text *why)
{
    switch (option) {
    case ':':
        return fail(why, "-%c: an argument is missing", optopt);
    default:
        break;
    }
    if (optopt == 0) {
        return fail(why, "%s: no such option", text);
    }
    return fail(why, "-%c: no such option", optopt);
}

static enum rc option(struct mgt_args *args, int opt, const char *text, const char *word,
                      struct cli_text *why)
{
    if (list_of(args, opt) != NULL) {
        return list_add(list_of(args, opt), opt, text, why);
    }
    switch (opt) {
    case 'b':
        return once(&args->backend, opt, text, why);
    case 'I':
        return once(&args->init_file, opt, text, why);
    case 'C':
        args->is_check = true;
        return RC_OK;
    case 'd':
        args->debug = true;
        return RC_OK;
    case 'F':
        args->foreground = true;
        return RC_OK;
    case 'i':
        args->identity = text;
        return RC_OK;
    case 'j':
        args->jail = text;
        return RC_OK;
    case 'n':
        args->workdir = text;
        return RC_OK;
    case 'S':
        args->secret = text;
        return RC_OK;
    case 'p':
        return param_assign(args, text, why);
    case 'l':
        return param_add(args, STR("vsl_space"), str_of(text), why);
    case 't':
        return param_add(args, STR("default_ttl"), str_of(text), why);
    case 'r':
        return param_add(args, STR_NONE, str_of(text), why);
    case 'V':
        args->what = ARGS_VERSION;
        return RC_OK;
    case 'x':
        args->what = ARGS_DUMP;
        args->dump = text;
        return RC_OK;
    case 'h':
        return list_add(&args->notes, opt,
                        "-h: has no meaning here: lookups need no choice of a tree", why);
    case 'W':
        return list_add(&args->notes, opt, "-W: has no meaning here: each loop waits with epoll",
                        why);
    default:
        return option_refused(opt, word, why);
    }
}

static enum rc check_together(const struct mgt_args *args, struct cli_text *why)
{
    if (args->what != ARGS_RUN) {
        return RC_OK;
    }
    if (args->debug && args->foreground) {
        return fail(why, "Only one of -d or -F can be specified");
    }
    if (args->backend != NULL && args->vcls.count > 0) {
        return fail(why, "Only one of -b or -f can be specified");
    }
    if (args->is_check && args->backend == NULL && args->vcls.count == 0) {
        return fail(why, "-C needs either -b <backend> or -f <vcl_file>");
    }
    if (args->backend == NULL && args->vcls.count == 0 && !args->debug) {
        return fail(why, "Neither -b nor -f given. (use -f '' to override)");
    }
    return RC_OK;
}

enum rc args_parse(struct mgt_args *args, int argc, char **argv, struct cli_text *why)
{
    memset(args, 0, sizeof *args);
    args->what = ARGS_RUN;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-?") == 0) {
            args->what = ARGS_USAGE;
            return RC_OK;
        }
        if (strcmp(argv[i], "--version") == 0) {
            args->what = ARGS_VERSION;
            return RC_OK;
        }
    }
    /* 0 makes GNU's getopt forget an earlier command line. */
    optind = 0;
    opterr = 0;
    int opt;
    while ((opt = getopt(argc, argv, optstring)) != -1) {
        const char *word = optind > 0 && optind <= argc ? argv[optind - 1] : "";
        enum rc rc = option(args, opt, optarg, word, why);
        if (rc != RC_OK) {
            return rc;
        }
    }
    if (optind < argc) {
        return fail(why, "Too many arguments (%s...)", argv[optind]);
    }
    return check_together(args, why);
}

void args_usage(struct cli_text *out)
{
    static const char text[] =
        "Usage: objmapperd [options]\n"
        "\n"
        "What to serve:\n"
        "  -a [name=]address[:port][,PROTO][,user=U][,group=G][,mode=M][,auth=A]\n"
        "                     where to listen (default :80); PROTO is HTTP, PROXY or MEMCACHED;\n"
        "                     user, group and mode are those of a Unix socket; auth is a file\n"
        "                     of MEMCACHED's users, or sasl; may be repeated\n"
        "  -f file            the VCL that says what to serve, and how; may be repeated, the last\n"
        "                     is used; '' for none\n"
        "  -b host[:port]     instead of a VCL: the backend; or the path of its Unix socket; or\n"
        "                     none\n"
        "  -s [name=]kind[,size]\n"
        "                     storage: memory,SIZE (also malloc, default); Transient=memory,SIZE\n"
        "                     bounds what lives shortly; may be repeated (default memory,100m)\n"
        "\n"
        "How to run:\n"
        "  -d                 stay in the foreground, with a command line on stdin\n"
        "  -F                 stay in the foreground\n"
        "  -n dir             working directory (default /var/lib/varnish/objmapper)\n"
        "  -i identity        name of this instance (default: the host's)\n"
        "  -P file            write the process id there as well; may be repeated\n"
        "  -I file            command line interface commands to run at start\n"
        "  -j jail            unix[,user=U][,workuser=W][,ccgroup=G] or none\n"
        "\n"
        "Command line interface:\n"
        "  -T address[:port]  listen there (default localhost:0), or none; may be repeated\n"
        "  -M address:port    connect there and offer the interface; may be repeated\n"
        "  -S file            the secret for it (default: one is made), or none\n"
        "\n"
        "Tuning:\n"
        "  -p name=value      set a parameter; may be repeated\n"
        "  -r name[,name...]  make parameters read-only\n"
        "  -t seconds         the same as -p default_ttl=\n"
        "  -l size            the same as -p vsl_space=\n"
        "\n"
        "Information:\n"
        "  -V, --version      tell the version\n"
        "  -?, --help         tell this\n"
        "  -C                 compile the VCL, say what is wrong with it, and end\n"
        "  -x parameter|cli   print the reference pages of parameters or commands (roff)\n"
        "  -x memcached       print the reference page of that protocol (roff)\n"
        "  -x builtin         print the VCL behind every other\n"
        "  -x mcpasswd        make lines for a file of auth=: of lines NAME:PASSWORD on stdin\n"
        "\n"
        "-h and -W are accepted without effect.\n";
    cli_text_add(out, str_of(text));
}
