/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* The fork.  A worker is not executed anew: it starts with the manager's memory, so that neither
 * configuration nor descriptors need a form in which to be handed over.  What it must not have (the
 * command line's connections, the lock of the pid file, the signals' descriptor) it closes first,
 * then it gives up its privileges, and only then runs code that meets the network. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "mgt/child_priv.h"

#if defined(__SANITIZE_ADDRESS__)
#define CHECKS_LEAKS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CHECKS_LEAKS 1
#endif
#endif
#ifdef CHECKS_LEAKS
#include <sanitizer/lsan_interface.h>
#endif

/* As the leak checker itself would end. */
#define LEAKS_STATUS 23

static unsigned loops_of(const struct mgt *mgt)
{
    uint64_t loops = param(mgt->params.shared, loops);
    cpu_set_t cpus;
    if (loops == 0 && sched_getaffinity(0, sizeof cpus, &cpus) == 0) {
        loops = (uint64_t)CPU_COUNT(&cpus);
    }
    if (loops == 0) {
        loops = 1;
    }
    return loops > MGT_LOOPS_MAX ? MGT_LOOPS_MAX : (unsigned)loops;
}

static enum rc open_ends(struct child_ends *ends, struct cli_text *why)
{
    int cli[2];
    int out[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, cli) != 0) {
        cli_text_printf(why, "Cannot make a socket for the worker: %s", strerror(errno));
        return RC_NOFILES;
    }
    if (pipe2(out, O_CLOEXEC) != 0) {
        cli_text_printf(why, "Cannot make a pipe for the worker: %s", strerror(errno));
        (void)close(cli[0]);
        (void)close(cli[1]);
        return RC_NOFILES;
    }
    CHECK(fcntl(out[0], F_SETFL, O_NONBLOCK) == 0);
    *ends = (struct child_ends){cli[0], cli[1], out[0], out[1]};
    return RC_OK;
}

enum rc child__prepare(struct mgt *mgt, struct child_ends *ends, struct cli_text *why)
{
    enum rc rc = mgt__listens_open(&mgt->listens, loops_of(mgt), mgt->params.shared, why);
    if (rc != RC_OK) {
        return rc;
    }
    rc = mgt__shm_child_begin(mgt);
    if (rc != RC_OK) {
        cli_text_printf(why, "Cannot make %s/%s: %s", mgt->dir.path, VSM_CHILD_DIR, rc_text(rc));
        return rc;
    }
    rc = vault_next_worker(mgt->vault);
    if (rc != RC_OK) {
        cli_text_printf(why, "Cannot make the worker's vault: %s", rc_text(rc));
        return rc;
    }
    atomic_store(&mgt->panic->len, 0);
    return open_ends(ends, why);
}

static void fill_listen(struct worker_listen *to, const struct mgt_listen *from)
{
    *to = (struct worker_listen){.is_unix = from->spec.is_unix,
                                 .proto = from->spec.proto,
                                 .auth = from->auth,
                                 .fds = from->fds,
                                 .fds_count = from->fds_count};
    (void)snprintf(to->name, sizeof to->name, "%s", from->spec.name);
    (void)snprintf(to->text, sizeof to->text, "%s", from->spec.text);
    if (from->spec.is_unix) {
        (void)snprintf(to->addr, sizeof to->addr, "%s", from->spec.host);
        (void)snprintf(to->port, sizeof to->port, "-");
    } else {
        mgt__addr_text(&from->addr, to->addr, sizeof to->addr, to->port, sizeof to->port);
    }
}

static void reset_signals(void)
{
    sigset_t none;
    (void)sigemptyset(&none);
    CHECK(sigprocmask(SIG_SETMASK, &none, NULL) == 0);
    /* A key pressed at the manager's terminal is for the manager, which then tells us. */
    (void)signal(SIGINT, SIG_IGN);
}

static void redirect(int out_fd)
{
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null_fd >= 0) {
        (void)dup2(null_fd, STDIN_FILENO);
        (void)close(null_fd);
    }
    CHECK(dup2(out_fd, STDOUT_FILENO) == STDOUT_FILENO);
    CHECK(dup2(out_fd, STDERR_FILENO) == STDERR_FILENO);
    (void)close(out_fd);
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    (void)setvbuf(stderr, NULL, _IONBF, 0);
}

/* The worker has taken itself apart; what is left and nobody points at was forgotten. */
static bool leaks(void)
{
#ifdef CHECKS_LEAKS
    return __lsan_do_recoverable_leak_check() != 0;
#else
    return false;
#endif
}

NORETURN static void become_worker(struct mgt *mgt, struct child_ends *ends)
{
    reset_signals();
    (void)close(ends->cli_ours);
    (void)close(ends->out_ours);
    mgt__cli_forked(mgt);
    (void)close(mgt->signal_fd);
    for (unsigned i = 0; i < mgt->dir.pids; i++) {
        (void)close(mgt->dir.pid[i].fd);
    }
    for (unsigned i = 0; i < mgt->listens.count; i++) {
        if (!mgt->listens.at[i].spec.is_unix) {
            (void)close(mgt->listens.at[i].reserve_fd);
        }
    }
    mgt__log_to_stderr(false);
    redirect(ends->out_theirs);
    if (param_bit(mgt->params.shared, PARAM_BITS_feature, PARAM_FEATURE_no_coredump)) {
        (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    }
    mgt__jail_enter(&mgt->jail);

    struct worker_listen *listens = xcalloc(mgt->listens.count, sizeof listens[0]);
    for (unsigned i = 0; i < mgt->listens.count; i++) {
        fill_listen(&listens[i], &mgt->listens.at[i]);
    }
    struct worker_conf conf = {.params = mgt->params.shared,
                               .panic = mgt->panic,
                               .listens = listens,
                               .listens_count = mgt->listens.count,
                               .loops = loops_of(mgt),
                               .stores = mgt->stores,
                               .stores_count = mgt->stores_count,
                               .vault = mgt->vault,
                               .cli_fd = ends->cli_theirs,
                               .workdir = mgt->dir.path,
                               .workdir_fd = mgt->dir.fd,
                               .identity = mgt->identity,
                               .generation = mgt->child.generation};
    int status = mgt->worker(&conf);
    free(listens);
    (void)fflush(NULL);
    if (status == 0 && leaks()) {
        status = LEAKS_STATUS;
    }
    /* What atexit() knows of is the manager's. */
    _exit(status);
}

pid_t child__fork(struct mgt *mgt, struct child_ends *ends)
{
    /* What stdio holds would be written twice. */
    (void)fflush(stdout);
    (void)fflush(stderr);
    pid_t pid = fork();
    if (pid == 0) {
        become_worker(mgt, ends);
    }
    return pid;
}
