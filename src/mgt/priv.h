/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What the manager's files share.  One process, one thread, one poll loop. */
#ifndef MGT_PRIV_H
#define MGT_PRIV_H

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

#include "base/list.h"
#include "mgt/args.h"
#include "mgt/cli_proto.h"
#include "mgt/param_text.h"
#include "mgt/worker.h"
#include "mgt/vcls.h"
#include "shm/vsc.h"

struct mgt;

/* ---- log.c: syslog, and stderr while somebody looks at it ---- */

enum mgt_level { MGT_DEBUG, MGT_INFO, MGT_ERROR };
void mgt__log_open(bool to_stderr);
void mgt__log_to_stderr(bool on);
void mgt__log(enum mgt_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* CLI traffic: syslog only. */
void mgt__log_cli(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* ---- poll.c: descriptors and timers ---- */

struct mgt_watch;
typedef void mgt_watch_fn(struct mgt_watch *watch, short revents);
struct mgt_watch {
    struct list link;
    int fd;
    short events;
    unsigned slot; /* in the array of the poll under way */
    mgt_watch_fn *fn;
    void *arg;
};
struct mgt_timer;
typedef void mgt_timer_fn(struct mgt_timer *timer);
struct mgt_timer {
    struct list link;
    uint64_t when_ns;
    mgt_timer_fn *fn;
    void *arg;
};
struct mgt_poll {
    struct list watches;
    struct list timers;
    struct mgt_watch **ready; /* of the poll under way; removed ones become NULL */
    struct pollfd *fds;
    unsigned cap;
    unsigned count;
};
void mgt__poll_init(struct mgt_poll *poll);
void mgt__poll_end(struct mgt_poll *poll);
/* The descriptor stays the caller's. */
void mgt__watch(struct mgt_poll *poll, struct mgt_watch *watch, int fd, short events);
/* Harmless when it is not watched. */
void mgt__unwatch(struct mgt_poll *poll, struct mgt_watch *watch);
void mgt__timer(struct mgt_poll *poll, struct mgt_timer *timer, uint64_t when_ns);
void mgt__timer_stop(struct mgt_timer *timer);
/* Waits for something to happen and calls what wants to know. */
void mgt__poll_once(struct mgt_poll *poll);

/* ---- addr.c: addresses ---- */

struct mgt_addr {
    struct sockaddr_storage sa;
    socklen_t len;
};
enum { MGT_ADDRS_MAX = 8 };
/* All stream addresses of a name; host "" means any.  RC_NOT_FOUND: *why says so. */
MUST_USE enum rc mgt__resolve(const char *host, const char *port, bool passive,
                              struct mgt_addr *addrs, unsigned *count, struct cli_text *why);
/* Numeric text; port may be NULL. */
void mgt__addr_text(const struct mgt_addr *addr, char *host, size_t host_bytes, char *port,
                    size_t port_bytes);

/* ---- listen.c: the sockets of -a ---- */

enum { MGT_LISTENS_MAX = 64, MGT_LOOPS_MAX = 256 };
struct mgt_listen {
    struct listen_spec spec;
    struct mgt_addr addr;
    int reserve_fd; /* bound, never listening; for a Unix socket the one that listens */
    int *fds;       /* what the worker accepts from */
    unsigned fds_count;
    bool is_bound_unix; /* the path is ours to unlink */
    char *auth;         /* the text of the file of auth=, or "sasl"; owned */
};
struct mgt_listens {
    struct mgt_listen at[MGT_LISTENS_MAX];
    unsigned count;
};
/* Binds every address of a spec.  *why: one line. */
MUST_USE enum rc mgt__listens_add(struct mgt_listens *listens, const struct listen_spec *spec,
                                  struct cli_text *why);
/* Makes sure that each has `loops` listening sockets, with the options that the parameters say. */
MUST_USE enum rc mgt__listens_open(struct mgt_listens *listens, unsigned loops,
                                   const struct params *params, struct cli_text *why);
/* Nobody is connected any more; the addresses stay ours. */
void mgt__listens_shut(struct mgt_listens *listens);
void mgt__listens_end(struct mgt_listens *listens);

/* ---- listen_auth.c: who may speak memcached's protocol ---- */

/* Reads and checks the file of auth=.  RC_INVALID, RC_IO: *why is one line, nothing has changed. */
MUST_USE enum rc mgt__listen_auth_read(struct mgt_listen *listen, struct cli_text *why);
/* Whether the address may be listened on: without users only this host's.  *why: one line. */
MUST_USE enum rc mgt__listen_auth_check(const struct mgt_listen *listen, struct cli_text *why);

/* ---- dump_mc.c ---- */

void mgt__dump_mc_page(struct cli_text *out);
/* Makes lines for a file of auth= of those on stdin.  RC_MALFORMED: the first that is not
 * NAME:PASSWORD. */
MUST_USE enum rc mgt__dump_mc_passwd(struct cli_text *out);

/* ---- jail.c: who the worker is, and who compiles ---- */

struct mgt_jail {
    bool is_on;
    uid_t uid;
    gid_t gid;
    gid_t file_gid;    /* whoever is in this group may watch us */
    char compiler[64]; /* the user that reads and compiles VCL */
    uid_t compiler_uid;
    gid_t compiler_gid;
};
MUST_USE enum rc mgt__jail_parse(struct mgt_jail *jail, const char *spec, struct cli_text *why);
/* In the child. */
void mgt__jail_enter(const struct mgt_jail *jail);
void mgt__jail_enter_compiler(const struct mgt_jail *jail);

/* ---- workdir.c: directory, pid files, secret ---- */

enum { MGT_PIDFILES_MAX = 9 };
struct mgt_workdir {
    char *path;
    int fd;
    char *secret_path; /* NULL: no authentication */
    bool is_own_secret;
    struct mgt_pidfile {
        char *path;
        int fd;
    } pid[MGT_PIDFILES_MAX];
    unsigned pids;
};
MUST_USE enum rc mgt__workdir_open(struct mgt_workdir *dir, const char *n_arg,
                                   struct cli_text *why);
/* Locks and writes a pid file; a path of the one that is held already is fine. */
MUST_USE enum rc mgt__pidfile_add(struct mgt_workdir *dir, const char *path, struct cli_text *why);
MUST_USE enum rc mgt__secret_open(struct mgt_workdir *dir, const char *secret_arg, gid_t gid,
                                  struct cli_text *why);
void mgt__workdir_end(struct mgt_workdir *dir);

/* ---- shm.c: what the tools see of the manager ---- */

MUST_USE enum rc mgt__shm_open(struct mgt *mgt);
MUST_USE enum rc mgt__shm_publish(struct mgt *mgt, struct str cli_listens);
void mgt__shm_end(struct mgt *mgt);
/* The directory for a new worker, and what remains of it afterwards. */
MUST_USE enum rc mgt__shm_child_begin(struct mgt *mgt);
void mgt__shm_child_end(struct mgt *mgt);

/* ---- child.c: the worker ---- */

enum mgt_state { MGT_STOPPED, MGT_STARTING, MGT_RUNNING, MGT_STOPPING, MGT_DIED };
struct mgt_child {
    enum mgt_state state;
    pid_t pid; /* 0: none */
    int pid_fd;
    int cli_fd;
    int out_fd;
    unsigned generation;
    unsigned quick_deaths;
    uint64_t started_ns;
    struct cli_text line;   /* of its stdout and stderr */
    struct cli_text answer; /* bytes of the CLI socket not yet taken */
    char *panic;            /* NULL: none */
    struct mgt_watch out_watch;
    struct mgt_watch death_watch;
    struct mgt_watch vault_watch;
    struct mgt_timer ping;
    struct mgt_timer kill;
    struct mgt_timer restart;
};
void mgt__child_init(struct mgt *mgt);
const char *mgt__state_text(enum mgt_state state);
/* RC_OK: it runs.  Otherwise *why says what went wrong, and it is stopped. */
MUST_USE enum rc mgt__child_start(struct mgt *mgt, struct cli_text *why);
/* Asks it to end, and waits until it has. */
void mgt__child_stop(struct mgt *mgt);
/* Waits until `fd` can be read, and meanwhile takes what a worker sends.  RC_TIMEOUT;
 * RC_CANCELLED: the manager was told to end. */
MUST_USE enum rc mgt__child_wait(struct mgt *mgt, int fd, uint64_t deadline_ns);
/* Waits for the end of a child of ours, however it ends, and gives its status as waitpid(2) does.
 */
int mgt__child_status(pid_t pid);
/* Sends a request and waits for the answer.  RC_LIMIT: it is too long to be sent; RC_RESET or
 * RC_TIMEOUT: it is gone or will be killed; *status is CLI_COMMS then, with a text. */
MUST_USE enum rc mgt__child_ask(struct mgt *mgt, const struct cli_request *req, unsigned *status,
                                struct cli_text *text);

/* ---- cli_server.c, cli_mgt.c: who talks to the manager ---- */

enum { MGT_CONNS_MAX = 64, MGT_CLI_LISTENS_MAX = 16 };
struct mgt_conn {
    struct list link;
    struct mgt *mgt;
    struct mgt_watch in_watch;
    struct mgt_watch out_watch;
    int in_fd;
    int out_fd;
    struct cli_text in;
    struct cli_text out;
    char ident[160];
    char challenge[33];
    bool is_authed;
    bool is_console; /* stdin of -d: its end is ours */
    bool is_closing;
    struct mgt_master *master;
};
struct mgt_cli_listen {
    int fd;
    struct mgt *mgt;
    struct mgt_watch watch;
};
struct mgt_master {
    struct mgt *mgt;
    char host[256];
    char port[32];
    struct mgt_timer retry;
    struct mgt_watch connecting;
    int fd;
    unsigned failures;
};
MUST_USE enum rc mgt__cli_listen(struct mgt *mgt, const char *listen_arg, struct cli_text *names,
                                 struct cli_text *why);
MUST_USE enum rc mgt__cli_master(struct mgt *mgt, const char *master_arg, struct cli_text *why);
void mgt__cli_console(struct mgt *mgt);
/* Runs the commands of -I.  RC_INVALID: one failed. */
MUST_USE enum rc mgt__cli_file(struct mgt *mgt, const char *path, struct cli_text *why);
void mgt__cli_end(struct mgt *mgt);
/* In the child: closes what it must not hold. */
void mgt__cli_forked(struct mgt *mgt);

struct mgt_call {
    struct mgt *mgt;
    struct mgt_conn *conn; /* NULL: from a file */
};
extern const struct cli_cmd mgt__commands[];
/* Runs one request of an authenticated peer. */
void mgt__cli_run(struct mgt_call *call, const struct cli_request *req, struct cli_text *text,
                  unsigned *status);
void mgt__banner(struct mgt *mgt, struct cli_text *text);
void mgt__challenge(struct mgt_conn *conn, struct cli_text *text);
/* ctx of these is a struct mgt_call, too. */
cli_fn mgt__cmd_param_show, mgt__cmd_param_set, mgt__cmd_param_reset;

/* ---- param_cmd.c ---- */

struct mgt_params {
    struct params *shared;
    struct param_row rows[PARAM_ROWS];
    bool is_protected[PARAM_ROWS];
    uint64_t preset[PARAM__COUNT]; /* the table's, but where the system has one of its own */
    char *strings[PARAM_STRING__COUNT];
};
void mgt__params_init(struct mgt_params *params);
void mgt__params_end(struct mgt_params *params);
void mgt__params_bits(const struct mgt_params *params, enum param_bits_id id, uint64_t *words);
/* Both: RC_INVALID, RC_NOT_FOUND (no such parameter), RC_UNSUPPORTED (not on this system), *why
 * says so.  *note (may be NULL): what the operator should know. */
MUST_USE enum rc mgt__params_set(struct mgt_params *params, struct str name, struct str value,
                                 struct cli_text *why, struct cli_text *note);
MUST_USE enum rc mgt__params_protect(struct mgt_params *params, struct str names,
                                     struct cli_text *why);

/* ---- param_show.c ---- */

void mgt__param_show_short(const struct mgt_params *params, const struct param_row *row,
                           struct cli_text *out);
void mgt__param_show_long(const struct mgt_params *params, const struct param_row *row,
                          struct cli_text *out);
void mgt__param_show_json(const struct mgt_params *params, const struct param_row *row,
                          struct cli_text *out);
/* Its default, so that mgt__params_set understands it (but for sets of bits). */
void mgt__param_preset(const struct mgt_params *params, const struct param_row *row,
                       struct cli_text *out);
bool mgt__param_is_preset(const struct mgt_params *params, const struct param_row *row);

/* ---- keepalive.c: TCP's probes of idle connections ---- */

/* What the system does unless it is told otherwise becomes the default. */
void mgt__keepalive_preset(struct mgt_params *params);
/* For one that is to listen; its connections inherit it. */
void mgt__keepalive_apply(const struct params *params, int fd);
/* After a parameter was set: for those that listen, if it is one of these. */
void mgt__keepalive_changed(struct mgt *mgt, enum param_id id);

/* ---- all of it ---- */

struct mgt {
    const struct mgt_args *args;
    worker_main_fn *worker;
    const struct cli_cmd *worker_commands;
    struct mgt_poll poll;
    struct mgt_params params;
    struct mgt_listens listens;
    struct mgt_jail jail;
    struct mgt_workdir dir;
    struct mgt_vcls vcls;
    struct stv_conf stores[MGT_ARGS_EACH_MAX + 1];
    unsigned stores_count;
    unsigned stores_unnamed; /* these have numbers for names */
    struct vault *vault;
    struct panic_area *panic;
    char identity[256];

    struct vsm_set *vsm;
    struct vsm_seg *vsm_counters;
    struct vsc_mgt *counters;

    struct mgt_child child;

    struct list conns;
    unsigned conns_count;
    struct mgt_cli_listen cli_listens[MGT_CLI_LISTENS_MAX];
    unsigned cli_listens_count;
    struct mgt_master masters[MGT_ARGS_EACH_MAX];
    unsigned masters_count;

    int signal_fd;
    struct mgt_watch signal_watch;
    struct mgt_timer uptime;
    uint64_t begun_ns;
    bool is_ending;
    unsigned exit_status; /* 0x20, 0x40, 0x80 of workers that died */
};

/* Takes waiting signals; sets is_ending. */
void mgt__signals(struct mgt *mgt);

#endif
