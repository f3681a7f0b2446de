/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The manager's life.
 *
 *   arguments -> parameters -> jail, storage -> (leave the terminal) -> working directory, pid
 *   files, ports, secret, shared memory -> command line interface -> commands of -I -> worker
 *   -> poll until told to end -> stop the worker -> undo all of that, last first
 *
 * Whatever can be wrong with a start is found before the terminal is left behind, or is told to the
 * process that waits there: so the exit status and stderr of `objmapperd` can be believed, with and
 * without -F. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/fd.h"
#include "base/mem.h"
#include "mgt/dump.h"
#include "mgt/mgt.h"
#include "mgt/priv.h"

enum { EXIT_USAGE = 2 };

/* ---- leaving the terminal ---- */

/* What the process at the terminal does: waits for the daemon's word, and passes it on. */
NORETURN static void wait_for_daemon(int fd)
{
    unsigned char status = EXIT_USAGE;
    _exit(fd_read(fd, &status, 1) == 1 ? status : EXIT_USAGE);
}

/* Two forks: the first lets the shell go on, the second makes sure that no terminal can become
 * ours.  Returns, in the daemon, where its word goes. */
static int leave_terminal(void)
{
    int ends[2];
    CHECK(pipe2(ends, O_CLOEXEC) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid > 0) {
        (void)close(ends[1]);
        (void)waitpid(pid, NULL, 0);
        wait_for_daemon(ends[0]);
    }
    (void)close(ends[0]);
    CHECK(setsid() > 0);
    pid = fork();
    CHECK(pid >= 0);
    if (pid > 0) {
        _exit(0);
    }
    return ends[1];
}

static void null_fds(bool all)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0);
    (void)dup2(fd, STDIN_FILENO);
    if (all) {
        (void)dup2(fd, STDOUT_FILENO);
        (void)dup2(fd, STDERR_FILENO);
    }
    if (fd > STDERR_FILENO) {
        (void)close(fd);
    }
}

static void daemon_is_up(int fd, unsigned char status)
{
    CHECK(fd_write_all(fd, &status, 1) == 0);
    (void)close(fd);
    null_fds(true);
    mgt__log_to_stderr(false);
}

/* ---- signals ---- */

void mgt__signals(struct mgt *mgt)
{
    struct signalfd_siginfo info;
    while (read(mgt->signal_fd, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT) {
            mgt__log(MGT_INFO, "Manager got SIG%s", info.ssi_signo == SIGTERM ? "TERM" : "INT");
            mgt->is_ending = true;
        }
    }
}

static void on_signal(struct mgt_watch *watch, short revents)
{
    (void)revents;
    mgt__signals(watch->arg);
}

static void open_signals(struct mgt *mgt)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP);
    CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    (void)signal(SIGPIPE, SIG_IGN);
    mgt->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    CHECK(mgt->signal_fd >= 0);
    mgt->signal_watch = (struct mgt_watch){.fn = on_signal, .arg = mgt};
    mgt__watch(&mgt->poll, &mgt->signal_watch, mgt->signal_fd, POLLIN);
}

static void on_uptime(struct mgt_timer *timer)
{
    struct mgt *mgt = timer->arg;
    vsc_set(&mgt->counters->uptime, (clock_mono_ns() - mgt->begun_ns) / NS_PER_S);
    mgt__timer(&mgt->poll, timer, clock_mono_ns() + NS_PER_S);
}

/* ---- start: each step says in *why what it could not do ---- */

static enum rc apply_param(struct mgt *mgt, const struct args_param *p, struct cli_text *why)
{
    bool is_protect = p->name.ptr == NULL;
    struct cli_text reason = {0};
    enum rc rc = is_protect ? mgt__params_protect(&mgt->params, p->value, &reason)
                            : mgt__params_set(&mgt->params, p->name, p->value, &reason, NULL);
    if (rc != RC_OK && is_protect) {
        cli_text_printf(why, "-r %.*s: ", STR_ARG(p->value));
    } else if (rc != RC_OK) {
        cli_text_printf(why, "-p %.*s=%.*s: ", STR_ARG(p->name), STR_ARG(p->value));
    }
    cli_text_add(why, cli_text_str(&reason));
    cli_text_free(&reason);
    return rc;
}

/* -r is for later: whatever the command line itself sets, it may set. */
static enum rc apply_params(struct mgt *mgt, struct cli_text *why)
{
    mgt__params_init(&mgt->params);
    enum rc rc = RC_OK;
    for (int protecting = 0; protecting < 2; protecting++) {
        for (unsigned i = 0; i < mgt->args->params_count && rc == RC_OK; i++) {
            const struct args_param *p = &mgt->args->params[i];
            if ((p->name.ptr == NULL) == (protecting != 0)) {
                rc = apply_param(mgt, p, why);
            }
        }
    }
    return rc;
}

/* Whether the backend's name leads anywhere is asked once, here: a misspelt one should not start.
 */
/* -b is a VCL of one line. */
static enum rc backend_vcl(const char *b_arg, struct cli_text *text, struct cli_text *why)
{
    struct backend_conf conf;
    struct mgt_addr addrs[MGT_ADDRS_MAX];
    unsigned count;
    struct cli_text reason = {0};
    enum rc rc = backend_conf_parse(&conf, b_arg, &reason);
    if (rc == RC_OK && !conf.is_none && !conf.is_unix) {
        /* One line says it better than the compiler's. */
        rc = mgt__resolve(conf.host, conf.port, false, addrs, &count, &reason);
    }
    if (rc != RC_OK) {
        cli_text_printf(why, "-b %s: %.*s", b_arg, STR_ARG(cli_text_str(&reason)));
    } else if (conf.is_none) {
        cli_text_printf(text, "vcl 4.1;\nbackend default none;\n");
    } else if (conf.is_unix) {
        cli_text_printf(text, "vcl 4.1;\nbackend default { .path = \"%s\"; }\n", conf.host);
    } else {
        cli_text_printf(text, "vcl 4.1;\nbackend default {\n    .host = \"%s\";\n", conf.host);
        cli_text_printf(text, "    .port = \"%s\";\n}\n", conf.port);
    }
    cli_text_free(&reason);
    return rc;
}

static enum rc boot_backend(struct mgt *mgt, const char *b_arg, struct cli_text *why)
{
    struct cli_text text = {0};
    unsigned status;
    enum rc rc = backend_vcl(b_arg, &text, why);
    if (rc == RC_OK) {
        struct str str = cli_text_str(&text);
        const struct mgt_vcl_new what = {"boot", "<vcl.inline>", &str, "auto"};
        rc = mgt__vcls_add(mgt, &what, &status, why);
    }
    cli_text_free(&text);
    return rc;
}

/* The VCLs of the command line; the last is in use. */
static enum rc configure_vcls(struct mgt *mgt, struct cli_text *why)
{
    const struct mgt_args *args = mgt->args;
    enum rc rc = args->backend == NULL ? RC_OK : boot_backend(mgt, args->backend, why);
    for (unsigned i = 0; i < args->vcls.count && rc == RC_OK; i++) {
        char name[16];
        unsigned status;
        if (args->vcls.at[i][0] == '\0') {
            continue;
        }
        if (!mgt__vcls_is_there(mgt, args->vcls.at[i])) {
            cli_text_printf(why, "Cannot read -f file '%s' (%s)", args->vcls.at[i],
                            strerror(errno));
            return RC_INVALID;
        }
        (void)snprintf(name, sizeof name, args->vcls.count == 1 ? "boot" : "boot%u", i);
        const struct mgt_vcl_new what = {name, args->vcls.at[i], NULL, "auto"};
        rc = mgt__vcls_add(mgt, &what, &status, why);
    }
    if (rc == RC_OK && !list_is_empty(&mgt->vcls.all)) {
        mgt->vcls.active = CONTAINER_OF(mgt->vcls.all.prev, struct mgt_vcl, link);
    }
    if (rc == RC_OK && !args->is_check) {
        cli_text_clear(why);
    }
    return rc;
}

static enum rc add_store(struct mgt *mgt, const char *spec, struct cli_text *why)
{
    char reason[256] = "";
    CHECK(mgt->stores_count < ARRAY_SIZE(mgt->stores));
    struct stv_conf *conf = &mgt->stores[mgt->stores_count];
    *conf = (struct stv_conf){0};
    enum rc rc = stv_conf_parse(conf, spec, reason, sizeof reason);
    if (rc != RC_OK) {
        cli_text_printf(why, "%s", reason);
        return rc;
    }
    if (conf->name[0] == '\0') {
        (void)snprintf(conf->name, sizeof conf->name, "s%u", mgt->stores_unnamed++);
    }
    for (unsigned i = 0; i < mgt->stores_count; i++) {
        if (strcmp(mgt->stores[i].name, conf->name) == 0) {
            cli_text_printf(why, "(-s %s) '%s' is already defined", spec, conf->name);
            return RC_INVALID;
        }
    }
    mgt->stores_count++;
    return RC_OK;
}

/* Transient is last, with the rest in the order given; both are there without being asked for. */
static enum rc configure_stores(struct mgt *mgt, struct cli_text *why)
{
    const struct args_list *list = &mgt->args->stores;
    const char *transient = NULL;
    enum rc rc = RC_OK;
    for (unsigned i = 0; i < list->count && rc == RC_OK; i++) {
        bool is_transient = strncmp(list->at[i], "Transient=", 10) == 0;
        if (is_transient && transient == NULL) {
            transient = list->at[i];
        } else if (is_transient) {
            cli_text_printf(why, "(-s %s) 'Transient' is already defined", list->at[i]);
            rc = RC_INVALID;
        } else {
            rc = add_store(mgt, list->at[i], why);
        }
    }
    if (rc == RC_OK && mgt->stores_count == 0) {
        rc = add_store(mgt, "memory,100m", why);
    }
    return rc == RC_OK ? add_store(mgt, transient == NULL ? "Transient=memory" : transient, why)
                       : rc;
}

static enum rc configure(struct mgt *mgt, struct cli_text *why)
{
    const struct mgt_args *args = mgt->args;
    enum rc rc = apply_params(mgt, why);
    if (rc == RC_OK) {
        rc = mgt__jail_parse(&mgt->jail, args->jail, why);
    }
    if (rc == RC_OK) {
        rc = configure_stores(mgt, why);
    }
    if (rc == RC_OK) {
        rc = configure_vcls(mgt, why);
    }
    if (args->identity != NULL && args->identity[0] != '\0') {
        (void)snprintf(mgt->identity, sizeof mgt->identity, "%s", args->identity);
    } else if (gethostname(mgt->identity, sizeof mgt->identity - 1) != 0) {
        (void)snprintf(mgt->identity, sizeof mgt->identity, "localhost");
    }
    return rc;
}

static enum rc bind_all(struct mgt *mgt, struct cli_text *why)
{
    const struct args_list *list = &mgt->args->listens;
    struct listen_spec spec;
    enum rc rc = RC_OK;
    for (unsigned i = 0; i < list->count && rc == RC_OK; i++) {
        rc = listen_spec_parse(&spec, list->at[i], i, why);
        if (rc == RC_OK) {
            rc = mgt__listens_add(&mgt->listens, &spec, why);
        }
    }
    if (list->count == 0) {
        rc = listen_spec_parse(&spec, ":80", 0, why);
        CHECK(rc == RC_OK);
        rc = mgt__listens_add(&mgt->listens, &spec, why);
    }
    return rc;
}

static enum rc open_workdir(struct mgt *mgt, struct cli_text *why)
{
    const struct mgt_args *args = mgt->args;
    enum rc rc = mgt__workdir_open(&mgt->dir, args->workdir, why);
    if (rc == RC_OK) {
        char *own = xasprintf("%s/_.pid", mgt->dir.path);
        rc = mgt__pidfile_add(&mgt->dir, own, why);
        free(own);
    }
    for (unsigned i = 0; i < args->pidfiles.count && rc == RC_OK; i++) {
        if (mgt->dir.pids == MGT_PIDFILES_MAX) {
            cli_text_printf(why, "-P: more than %d of them", MGT_PIDFILES_MAX - 1);
            return RC_LIMIT;
        }
        rc = mgt__pidfile_add(&mgt->dir, args->pidfiles.at[i], why);
    }
    if (rc == RC_OK) {
        rc = mgt__secret_open(&mgt->dir, args->secret, mgt->jail.file_gid, why);
    }
    return rc;
}

static enum rc open_shm(struct mgt *mgt, struct cli_text *names, struct cli_text *why)
{
    enum rc rc = mgt__shm_open(mgt);
    if (rc == RC_OK) {
        rc = mgt__shm_publish(mgt, cli_text_str(names));
    }
    if (rc != RC_OK) {
        cli_text_printf(why, "Cannot write %s/%s: %s", mgt->dir.path, VSM_MGT_DIR, rc_text(rc));
    }
    return rc;
}

static enum rc open_cli(struct mgt *mgt, struct cli_text *why)
{
    const struct mgt_args *args = mgt->args;
    struct cli_text names = {0};
    enum rc rc = RC_OK;
    for (unsigned i = 0; i < args->clis.count && rc == RC_OK; i++) {
        if (strcmp(args->clis.at[i], "none") != 0) {
            rc = mgt__cli_listen(mgt, args->clis.at[i], &names, why);
        }
    }
    if (args->clis.count == 0) {
        rc = mgt__cli_listen(mgt, "localhost:0", &names, why);
        if (rc == RC_NOT_FOUND) {
            /* A machine without /etc/hosts still has its loopback address. */
            cli_text_clear(why);
            rc = mgt__cli_listen(mgt, "127.0.0.1:0", &names, why);
        }
    }
    if (rc == RC_OK) {
        rc = open_shm(mgt, &names, why);
    }
    for (unsigned i = 0; i < args->masters.count && rc == RC_OK; i++) {
        rc = mgt__cli_master(mgt, args->masters.at[i], why);
    }
    cli_text_free(&names);
    return rc;
}

static enum rc open_all(struct mgt *mgt, struct cli_text *why)
{
    enum rc rc = open_workdir(mgt, why);
    if (rc == RC_OK) {
        rc = bind_all(mgt, why);
    }
    if (rc == RC_OK) {
        rc = vault_new(&mgt->vault);
        if (rc != RC_OK) {
            cli_text_printf(why, "Cannot make the vault: %s", rc_text(rc));
        }
    }
    if (rc == RC_OK) {
        rc = open_cli(mgt, why);
    }
    return rc;
}

/* After open_all: what can be done only by a manager that is whole. */
static enum rc get_going(struct mgt *mgt, struct cli_text *why)
{
    const struct mgt_args *args = mgt->args;
    enum rc rc = RC_OK;
    mgt__log(MGT_DEBUG, "Version: objmapperd %s", OBJM_VERSION);
    for (unsigned i = 0; i < args->notes.count; i++) {
        mgt__log(MGT_INFO, "%s", args->notes.at[i]);
    }
    if (args->secret != NULL && mgt->dir.secret_path == NULL) {
        mgt__log(MGT_INFO, "Warning: CLI authentication disabled.");
    }
    if (args->init_file != NULL) {
        rc = mgt__cli_file(mgt, args->init_file, why);
    }
    if (rc == RC_OK && fchdir(mgt->dir.fd) != 0) {
        cli_text_printf(why, "Cannot change to %s: %s", mgt->dir.path, strerror(errno));
        rc = RC_NOT_FOUND;
    }
    if (rc == RC_OK && args->debug) {
        mgt__cli_console(mgt);
    } else if (rc == RC_OK && mgt->child.state == MGT_STOPPED && mgt->vcls.active != NULL) {
        rc = mgt__child_start(mgt, why);
    }
    return rc;
}

static void shut_manager(struct mgt *mgt)
{
    mgt->is_ending = true;
    if (mgt->vault != NULL) {
        if (mgt->child.pid > 0) {
            mgt__log(MGT_INFO, "manager stopping child");
        }
        if (mgt->counters != NULL) {
            mgt__child_stop(mgt);
        }
        vault_free(&mgt->vault);
    }
    mgt__listens_end(&mgt->listens);
    mgt__cli_end(mgt);
    mgt__shm_end(mgt);
    mgt__workdir_end(&mgt->dir);
    mgt__timer_stop(&mgt->uptime);
    mgt__unwatch(&mgt->poll, &mgt->signal_watch);
    if (mgt->signal_fd >= 0) {
        (void)close(mgt->signal_fd);
    }
    mgt__poll_end(&mgt->poll);
    XFREE(mgt->child.panic);
    mgt__vcls_end(&mgt->vcls);
}

static void *shared_pages(size_t bytes)
{
    void *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(pages != MAP_FAILED);
    return pages;
}

static struct mgt *mgt_make(const struct mgt_args *args, worker_main_fn *worker,
                            const struct cli_cmd *commands)
{
    struct mgt *mgt = xcalloc(1, sizeof *mgt);
    mgt->args = args;
    mgt->worker = worker;
    mgt->worker_commands = commands;
    mgt->begun_ns = clock_mono_ns();
    mgt->signal_fd = -1;
    mgt->dir.fd = -1;
    mgt->params.shared = shared_pages(sizeof *mgt->params.shared);
    mgt->panic = shared_pages(sizeof *mgt->panic);
    mgt->uptime = (struct mgt_timer){.fn = on_uptime, .arg = mgt};
    list_init(&mgt->conns);
    mgt__vcls_init(&mgt->vcls);
    mgt__poll_init(&mgt->poll);
    mgt__child_init(mgt);
    return mgt;
}

static void mgt_unmake(struct mgt *mgt)
{
    mgt__params_end(&mgt->params);
    (void)munmap(mgt->params.shared, sizeof *mgt->params.shared);
    (void)munmap(mgt->panic, sizeof *mgt->panic);
    free(mgt);
}

/* Each descriptor of a connection, a body, a backend counts: take all that the system gives. */
static void raise_limits(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void poll_until_end(struct mgt *mgt)
{
    mgt__timer(&mgt->poll, &mgt->uptime, clock_mono_ns());
    while (!mgt->is_ending) {
        mgt__poll_once(&mgt->poll);
    }
}

/* -C: to compile was all. */
static int checked(struct mgt *mgt, enum rc rc, struct cli_text *why)
{
    (void)fprintf(stderr, "%.*s%s", STR_ARG(cli_text_str(why)), why->len > 0 ? "\n" : "");
    cli_text_free(why);
    mgt__vcls_end(&mgt->vcls);
    return rc == RC_OK ? 0 : EXIT_USAGE;
}

static int run_manager(struct mgt *mgt)
{
    const struct mgt_args *args = mgt->args;
    struct cli_text why = {0};
    int status = EXIT_USAGE;
    int terminal_fd = -1;
    mgt__log_open(args->debug || args->foreground);
    raise_limits();
    enum rc rc = configure(mgt, &why);
    if (args->is_check) {
        return checked(mgt, rc, &why);
    }
    if (rc == RC_OK) {
        if (!args->debug && !args->foreground) {
            terminal_fd = leave_terminal();
        }
        open_signals(mgt);
        rc = open_all(mgt, &why);
    }
    if (rc == RC_OK) {
        rc = get_going(mgt, &why);
    }
    if (rc == RC_OK) {
        if (terminal_fd >= 0) {
            daemon_is_up(terminal_fd, 0);
        } else if (args->foreground) {
            null_fds(false);
        }
        poll_until_end(mgt);
        mgt__log(MGT_INFO, "manager dies");
    } else {
        (void)fprintf(stderr, "Error: %.*s\n", STR_ARG(str_trim(cli_text_str(&why))));
    }
    cli_text_free(&why);
    shut_manager(mgt);
    if (rc == RC_OK) {
        status = (int)mgt->exit_status;
    } else if (terminal_fd >= 0) {
        unsigned char word = EXIT_USAGE;
        (void)!write(terminal_fd, &word, 1);
    }
    return status;
}

int mgt_main(int argc, char **argv, worker_main_fn *worker, const struct cli_cmd *commands)
{
    static struct mgt_args args;
    struct cli_text text = {0};
    int status = 0;
    if (args_parse(&args, argc, argv, &text) != RC_OK) {
        (void)fprintf(stderr, "Error: %.*s\n(-? gives usage)\n", STR_ARG(cli_text_str(&text)));
        cli_text_free(&text);
        return EXIT_USAGE;
    }
    switch (args.what) {
    case ARGS_USAGE:
        args_usage(&text);
        break;
    case ARGS_VERSION:
        cli_text_printf(&text, "objmapperd (objmapper %s)\n", OBJM_VERSION);
        break;
    case ARGS_DUMP: {
        enum rc rc = dump_page(args.dump, commands, &text);
        if (rc != RC_OK) {
            (void)fprintf(stderr, "Error: -x %s: %s\n", args.dump,
                          rc == RC_NOT_FOUND ? "there is no such page" : rc_text(rc));
            status = EXIT_USAGE;
        }
        break;
    }
    case ARGS_RUN: {
        struct mgt *mgt = mgt_make(&args, worker, commands);
        status = run_manager(mgt);
        mgt_unmake(mgt);
        break;
    }
    }
    (void)printf("%.*s", STR_ARG(cli_text_str(&text)));
    cli_text_free(&text);
    return status;
}
