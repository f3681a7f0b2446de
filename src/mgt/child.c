/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Supervision of the worker.
 *
 *   stopped --start--> starting --200 to `start`--> running --stop--> stopping --> stopped
 *                          |                           |
 *                          +--anything else--> stopped +--dies--> died --> starting (auto_restart)
 *                                                                     \--> stopped
 *
 * One request at a time goes to the worker, and the manager waits for the answer: so whoever asked
 * for something knows that it is done.  While it waits it goes on taking what the worker sends by
 * other ways (storage descriptors, stderr), since a worker that blocks on those could not answer.
 * A worker that does not answer within cli_timeout is given up: SIGQUIT, so that it may leave a
 * core file, then SIGKILL.
 *
 * A worker that dies again and again is restarted ever more slowly; the first deaths cost no
 * delay. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/fd.h"
#include "base/mem.h"
#include "mgt/child_priv.h"

enum { LINE_MAX_BYTES = 4096 };

#define KILL_AFTER_NS (5 * NS_PER_S)
#define STOP_WAIT_MAX_NS (30 * NS_PER_S)
#define LONG_LIFE_NS (10 * NS_PER_S)
#define RESTART_MAX_NS (10 * NS_PER_S)

const char *mgt__state_text(enum mgt_state state)
{
    static const char *const texts[] = {"stopped", "starting", "running", "stopping",
                                        "died, (restarting)"};
    CHECK((unsigned)state < ARRAY_SIZE(texts));
    return texts[state];
}

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
        *fd = -1;
    }
}

/* ---- what the worker says ---- */

static void say_line(const struct mgt_child *child, struct str line)
{
    if (line.len > 0) {
        mgt__log(MGT_INFO, "Child (%ld) said %.*s", (long)child->pid, STR_ARG(line));
    }
}

/* Logs whole lines, and the rest too when the worker is gone or the line has no end. */
static void say_lines(struct mgt_child *child, bool all)
{
    struct str rest = cli_text_str(&child->line);
    while (rest.len > 0) {
        size_t len = str_find(rest, '\n');
        if (len == rest.len && !all && len < LINE_MAX_BYTES) {
            break;
        }
        say_line(child, (struct str){rest.ptr, len});
        len += len < rest.len ? 1 : 0;
        rest.ptr += len;
        rest.len -= len;
    }
    if (rest.len > 0) {
        memmove(child->line.ptr, rest.ptr, rest.len);
    }
    child->line.len = rest.len;
}

/* Takes what there is, but no more than a pipe holds at once: a worker that never stops to write
 * must not keep us from other work.  False at the end. */
static bool take_output(struct mgt_child *child)
{
    char buf[1024];
    for (unsigned i = 0; i < 64; i++) {
        ssize_t n = read(child->out_fd, buf, sizeof buf);
        if (n > 0) {
            cli_text_add(&child->line, (struct str){buf, (size_t)n});
            say_lines(child, false);
        } else if (n == 0 || errno != EINTR) {
            return n != 0 && errno == EAGAIN;
        }
    }
    return true;
}

static void on_output(struct mgt_watch *watch, short revents)
{
    (void)revents;
    struct mgt *mgt = watch->arg;
    if (!take_output(&mgt->child)) {
        mgt__unwatch(&mgt->poll, watch);
    }
}

static void on_vault(struct mgt_watch *watch, short revents)
{
    struct mgt *mgt = watch->arg;
    vault_receive(mgt->vault);
    if ((revents & (POLLHUP | POLLERR)) != 0) {
        mgt__unwatch(&mgt->poll, watch);
    }
}

/* ---- its end ---- */

static void signal_child(struct mgt_child *child, int signal)
{
    CHECK(child->pid > 0);
    /* The process is not reaped yet, so the id is still its own. */
    if (kill(child->pid, signal) != 0) {
        mgt__log(MGT_ERROR, "Child (%ld) cannot be sent signal %d: %s", (long)child->pid, signal,
                 strerror(errno));
    }
}

static void record_panic(struct mgt *mgt)
{
    struct panic_area *area = mgt->panic;
    uint32_t len = atomic_load_explicit(&area->len, memory_order_acquire);
    if (len == 0) {
        return;
    }
    if (len > sizeof area->text) {
        len = sizeof area->text;
    }
    char date[64];
    time_t now = time(NULL);
    struct tm tm;
    CHECK(gmtime_r(&now, &tm) != NULL);
    (void)strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    struct cli_text text = {0};
    cli_text_printf(&text, "Panic at: %s\n", date);
    for (uint32_t i = 0; i < len && area->text[i] != '\0'; i++) {
        /* The writer was dying: what it left may be anything. */
        char c = area->text[i];
        bool is_plain = c == '\n' || c == '\t' || (unsigned char)c >= 0x20;
        cli_text_add(&text, (struct str){is_plain ? &c : "?", 1});
    }
    cli_text_add(&text, (struct str){"", 1});
    XFREE(mgt->child.panic);
    mgt->child.panic = text.ptr;
    vsc_add(&mgt->counters->child_panic, 1);
    mgt__log(MGT_ERROR, "Child (%ld) %s", (long)mgt->child.pid, mgt->child.panic);
}

static void obituary(struct mgt *mgt, int status)
{
    struct cli_text text = {0};
    struct vsc_mgt *counters = mgt->counters;
    cli_text_printf(&text, "Child (%ld) %s", (long)mgt->child.pid, status == 0 ? "ended" : "died");
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        vsc_add(&counters->child_exit, 1);
    } else if (WIFEXITED(status)) {
        cli_text_printf(&text, " status=%d", WEXITSTATUS(status));
        mgt->exit_status |= 0x20;
        vsc_add(&counters->child_stop, 1);
    } else if (WIFSIGNALED(status)) {
        cli_text_printf(&text, " signal=%d", WTERMSIG(status));
        mgt->exit_status |= 0x40;
        vsc_add(&counters->child_died, 1);
        if (WCOREDUMP(status)) {
            cli_text_printf(&text, " (core dumped)");
            mgt->exit_status |= 0x80;
            vsc_add(&counters->child_dump, 1);
        }
    }
    mgt__log(status == 0 ? MGT_INFO : MGT_ERROR, "%.*s", STR_ARG(cli_text_str(&text)));
    cli_text_free(&text);
}

int mgt__child_status(pid_t pid)
{
    int status = 0;
    pid_t ended;
    do {
        ended = waitpid(pid, &status, 0);
    } while (ended < 0 && errno == EINTR);
    CHECK(ended == pid);
    return status;
}

/* The process has ended (or is about to, past all waiting).  What it left is put away. */
static void reap(struct mgt *mgt)
{
    struct mgt_child *child = &mgt->child;
    mgt__timer_stop(&child->ping);
    mgt__timer_stop(&child->kill);
    mgt__unwatch(&mgt->poll, &child->out_watch);
    mgt__unwatch(&mgt->poll, &child->death_watch);
    mgt__unwatch(&mgt->poll, &child->vault_watch);
    int status = mgt__child_status(child->pid);
    (void)take_output(child);
    say_lines(child, true);
    vault_receive(mgt->vault);
    obituary(mgt, status);
    record_panic(mgt);
    close_fd(&child->cli_fd);
    close_fd(&child->out_fd);
    close_fd(&child->pid_fd);
    cli_text_free(&child->line);
    cli_text_free(&child->answer);
    mgt__shm_child_end(mgt);
    child->pid = 0;
}

/* Waits until the process has ended, at most until the deadline. */
static bool wait_end(struct mgt *mgt, uint64_t deadline_ns)
{
    struct mgt_child *child = &mgt->child;
    for (;;) {
        struct pollfd fds[] = {{.fd = child->pid_fd, .events = POLLIN},
                               {.fd = child->out_fd, .events = POLLIN},
                               {.fd = vault_poll_fd(mgt->vault), .events = POLLIN}};
        uint64_t now_ns = clock_mono_ns();
        if (now_ns >= deadline_ns) {
            return false;
        }
        uint64_t left_ms = (deadline_ns - now_ns) / NS_PER_MS + 1;
        /* The ends of the other two come with the end of the process, but may be kept open by its
         * children: look at them now and then instead of being woken for nothing. */
        if (fd_poll(fds, 1, left_ms > 50 ? 50 : (int)left_ms) > 0) {
            return true;
        }
        (void)poll(fds, ARRAY_SIZE(fds), 0);
        if (fds[1].revents != 0) {
            (void)take_output(child);
        }
        if (fds[2].revents != 0) {
            vault_receive(mgt->vault);
        }
    }
}

void mgt__child_stop(struct mgt *mgt)
{
    struct mgt_child *child = &mgt->child;
    mgt__timer_stop(&child->restart);
    if (child->pid > 0) {
        child->state = MGT_STOPPING;
        mgt__log(MGT_DEBUG, "Stopping Child");
        close_fd(&child->cli_fd);
        uint64_t wait_ns = param(mgt->params.shared, cli_timeout);
        wait_ns = wait_ns > STOP_WAIT_MAX_NS ? STOP_WAIT_MAX_NS : wait_ns;
        if (!wait_end(mgt, clock_after(clock_mono_ns(), wait_ns))) {
            mgt__log(MGT_ERROR, "Child (%ld) not dying, killing", (long)child->pid);
            signal_child(child, SIGQUIT);
            if (!wait_end(mgt, clock_mono_ns() + KILL_AFTER_NS)) {
                signal_child(child, SIGKILL);
            }
        }
        reap(mgt);
        mgt__log(MGT_DEBUG, "Child cleanup complete");
    }
    mgt__listens_shut(&mgt->listens);
    /* Who stops the worker wants an empty cache and the memory back, as Varnish does it; what a
     * crash leaves is kept. */
    vault_clear(mgt->vault);
    child->state = MGT_STOPPED;
}

static void schedule_restart(struct mgt *mgt)
{
    struct mgt_child *child = &mgt->child;
    uint64_t delay_ns = 0;
    if (child->quick_deaths > 3) {
        unsigned doublings = child->quick_deaths - 4;
        delay_ns = doublings > 5 ? RESTART_MAX_NS : (NS_PER_S / 4) << doublings;
        mgt__log(MGT_INFO, "The worker died %u times in a row: the next start is in %.2f seconds",
                 child->quick_deaths, (double)delay_ns / (double)NS_PER_S);
    }
    child->state = MGT_DIED;
    mgt__timer(&mgt->poll, &child->restart, clock_mono_ns() + delay_ns);
}

static void after_death(struct mgt *mgt)
{
    struct mgt_child *child = &mgt->child;
    bool was_long = clock_mono_ns() - child->started_ns > LONG_LIFE_NS;
    child->quick_deaths = was_long ? 1 : child->quick_deaths + 1;
    if (param(mgt->params.shared, auto_restart) != 0 && !mgt->is_ending) {
        schedule_restart(mgt);
    } else {
        mgt__listens_shut(&mgt->listens);
        child->state = MGT_STOPPED;
    }
}

static void on_death(struct mgt_watch *watch, short revents)
{
    (void)revents;
    struct mgt *mgt = watch->arg;
    reap(mgt);
    mgt__log(MGT_DEBUG, "Child cleanup complete");
    after_death(mgt);
}

static void on_restart(struct mgt_timer *timer)
{
    struct mgt *mgt = timer->arg;
    struct cli_text why = {0};
    if (mgt__child_start(mgt, &why) != RC_OK) {
        mgt__log(MGT_ERROR, "Child start failed: %.*s", STR_ARG(cli_text_str(&why)));
        after_death(mgt);
    }
    cli_text_free(&why);
}

static void on_kill(struct mgt_timer *timer)
{
    struct mgt *mgt = timer->arg;
    if (mgt->child.pid > 0) {
        mgt__log(MGT_ERROR, "Child (%ld) not dying, killing", (long)mgt->child.pid);
        signal_child(&mgt->child, SIGKILL);
    }
}

/* Its answers cannot be told apart any more: the worker has to go.  on_death does the rest. */
static void give_up(struct mgt *mgt, enum rc rc)
{
    struct mgt_child *child = &mgt->child;
    close_fd(&child->cli_fd);
    mgt__timer_stop(&child->ping);
    if (rc == RC_TIMEOUT) {
        mgt__log(MGT_ERROR, "Child (%ld) not responding to CLI, killed it.", (long)child->pid);
        signal_child(child, SIGQUIT);
    }
    mgt__timer(&mgt->poll, &child->kill, clock_mono_ns() + KILL_AFTER_NS);
}

/* ---- questions ---- */

static enum rc later_or_never(int err)
{
    fd_pause(err);
    return err == EAGAIN || fd_is_passing(err) ? RC_AGAIN : RC_RESET;
}

/* Sends what is left of the request.  RC_AGAIN: more to send. */
static enum rc send_some(int fd, struct str *left)
{
    while (left->len > 0) {
        ssize_t n = send(fd, left->ptr, left->len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0) {
            left->ptr += n;
            left->len -= (size_t)n;
        } else if (errno != EINTR) {
            return later_or_never(errno);
        }
    }
    return RC_OK;
}

/* Reads what there is of the answer.  RC_AGAIN: not all of it; RC_RESET, RC_MALFORMED. */
static enum rc receive_some(struct mgt_child *child, unsigned *status, struct cli_text *text)
{
    char buf[1024];
    for (;;) {
        struct str body;
        size_t used;
        enum rc rc = cli_answer_parse(cli_text_str(&child->answer), status, &body, &used);
        if (rc != RC_AGAIN) {
            if (rc == RC_OK) {
                cli_text_add(text, body);
                cli_text_clear(&child->answer);
            }
            return rc;
        }
        ssize_t n = recv(child->cli_fd, buf, sizeof buf, MSG_DONTWAIT);
        if (n > 0) {
            cli_text_add(&child->answer, (struct str){buf, (size_t)n});
        } else if (n == 0 || errno != EINTR) {
            return n == 0 ? RC_RESET : later_or_never(errno);
        }
    }
}

/* One round of waiting.  RC_TIMEOUT, RC_CANCELLED: the manager was told to end. */
static enum rc wait_answer(struct mgt *mgt, bool is_sending, uint64_t deadline_ns)
{
    struct mgt_child *child = &mgt->child;
    uint64_t now_ns = clock_mono_ns();
    if (now_ns >= deadline_ns) {
        return RC_TIMEOUT;
    }
    struct pollfd fds[] = {
        {.fd = child->cli_fd, .events = (short)(is_sending ? POLLIN | POLLOUT : POLLIN)},
        {.fd = mgt->signal_fd, .events = POLLIN},
        {.fd = vault_poll_fd(mgt->vault), .events = POLLIN},
        {.fd = child->out_fd, .events = POLLIN}};
    uint64_t left_ms = (deadline_ns - now_ns) / NS_PER_MS + 1;
    if (fd_poll(fds, ARRAY_SIZE(fds), left_ms > 60000 ? 60000 : (int)left_ms) == 0) {
        return RC_OK;
    }
    if (fds[1].revents != 0) {
        mgt__signals(mgt);
    }
    if (fds[2].revents != 0) {
        vault_receive(mgt->vault);
    }
    if (fds[3].revents != 0) {
        (void)take_output(child);
    }
    return mgt->is_ending ? RC_CANCELLED : RC_OK;
}

enum rc mgt__child_wait(struct mgt *mgt, int fd, uint64_t deadline_ns)
{
    struct mgt_child *child = &mgt->child;
    struct pollfd fds[] = {
        {.fd = fd, .events = POLLIN},
        {.fd = mgt->signal_fd, .events = POLLIN},
        {.fd = mgt->vault == NULL ? -1 : vault_poll_fd(mgt->vault), .events = POLLIN},
        {.fd = child->out_fd, .events = POLLIN}};
    while (!mgt->is_ending) {
        uint64_t now_ns = clock_mono_ns();
        if (now_ns >= deadline_ns) {
            return RC_TIMEOUT;
        }
        uint64_t left_ms = (deadline_ns - now_ns) / NS_PER_MS + 1;
        int n = fd_poll(fds, ARRAY_SIZE(fds), left_ms > 60000 ? 60000 : (int)left_ms);
        if (n > 0 && fds[0].revents != 0) {
            return RC_OK;
        }
        if (n > 0 && fds[1].revents != 0) {
            mgt__signals(mgt);
        }
        /* What has ended is looked at by whoever waits for that; here it would only wake us. */
        if (n > 0 && fds[2].revents != 0) {
            vault_receive(mgt->vault);
            fds[2].fd = (fds[2].revents & (POLLHUP | POLLERR)) != 0 ? -1 : fds[2].fd;
        }
        if (n > 0 && fds[3].revents != 0 && !take_output(child)) {
            fds[3].fd = -1;
        }
    }
    return RC_CANCELLED;
}

enum rc mgt__child_ask(struct mgt *mgt, const struct cli_request *req, unsigned *status,
                       struct cli_text *text)
{
    struct mgt_child *child = &mgt->child;
    enum rc rc = child->cli_fd < 0 ? RC_RESET : RC_OK;
    struct cli_text line = {0};
    cli_request_put(&line, req);
    if (line.len > CLI_REQUEST_MAX) {
        cli_text_free(&line);
        *status = CLI_CANNOT;
        cli_text_printf(text, "Too long for the worker: %.*s", STR_ARG(req->argv[0]));
        return RC_LIMIT;
    }
    struct str left = cli_text_str(&line);
    uint64_t deadline_ns = clock_after(clock_mono_ns(), param(mgt->params.shared, cli_timeout));
    while (rc == RC_OK) {
        enum rc sent = send_some(child->cli_fd, &left);
        rc = sent == RC_RESET ? RC_RESET : receive_some(child, status, text);
        if (rc == RC_OK) {
            break;
        }
        if (rc == RC_AGAIN) {
            rc = wait_answer(mgt, sent == RC_AGAIN, deadline_ns);
        }
    }
    cli_text_free(&line);
    if (rc != RC_OK) {
        *status = CLI_COMMS;
        cli_text_clear(text);
        cli_text_printf(text, "CLI communication error (%s)", rc_text(rc));
        if (child->state == MGT_RUNNING && child->cli_fd >= 0) {
            give_up(mgt, rc);
        }
    }
    return rc;
}

static enum rc ask_word(struct mgt *mgt, const char *word, unsigned *status, struct cli_text *text)
{
    struct cli_request req = {.argc = 1, .argv = {{word, strlen(word)}}};
    return mgt__child_ask(mgt, &req, status, text);
}

static void on_ping(struct mgt_timer *timer)
{
    struct mgt *mgt = timer->arg;
    if (mgt->child.state != MGT_RUNNING || mgt->child.cli_fd < 0) {
        return;
    }
    struct cli_text text = {0};
    unsigned status = 0;
    enum rc rc = ask_word(mgt, "ping", &status, &text);
    bool is_pong = rc == RC_OK && status == CLI_OK && str_starts(cli_text_str(&text), STR("PONG "));
    if (!is_pong) {
        mgt__log(MGT_ERROR, "Unexpected reply from ping: %u %.*s", status,
                 STR_ARG(cli_text_str(&text)));
        if (rc == RC_OK) {
            give_up(mgt, RC_TIMEOUT);
        }
    } else if (param(mgt->params.shared, ping_interval) > 0) {
        mgt__timer(&mgt->poll, timer,
                   clock_mono_ns() + param(mgt->params.shared, ping_interval) * NS_PER_S);
    }
    cli_text_free(&text);
}

/* ---- its beginning ---- */

void mgt__child_init(struct mgt *mgt)
{
    struct mgt_child *child = &mgt->child;
    *child = (struct mgt_child){.pid_fd = -1, .cli_fd = -1, .out_fd = -1};
    child->out_watch = (struct mgt_watch){.fn = on_output, .arg = mgt};
    child->death_watch = (struct mgt_watch){.fn = on_death, .arg = mgt};
    child->vault_watch = (struct mgt_watch){.fn = on_vault, .arg = mgt};
    child->ping = (struct mgt_timer){.fn = on_ping, .arg = mgt};
    child->kill = (struct mgt_timer){.fn = on_kill, .arg = mgt};
    child->restart = (struct mgt_timer){.fn = on_restart, .arg = mgt};
}

/* In the parent, after the fork. */
static void adopt(struct mgt *mgt, pid_t pid, struct child_ends *ends)
{
    struct mgt_child *child = &mgt->child;
    child->pid = pid;
    child->pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
    CHECK(child->pid_fd >= 0);
    child->cli_fd = ends->cli_ours;
    child->out_fd = ends->out_ours;
    (void)close(ends->cli_theirs);
    (void)close(ends->out_theirs);
    vault_forked(mgt->vault);
    mgt__watch(&mgt->poll, &child->out_watch, child->out_fd, POLLIN);
    mgt__watch(&mgt->poll, &child->death_watch, child->pid_fd, POLLIN);
    if (vault_poll_fd(mgt->vault) >= 0) {
        mgt__watch(&mgt->poll, &child->vault_watch, vault_poll_fd(mgt->vault), POLLIN);
    }
    vsc_add(&mgt->counters->child_start, 1);
    mgt__log(MGT_DEBUG, "Child (%ld) Started", (long)pid);
}

/* Asks it to begin; *why has its own words when it cannot. */
static enum rc ask_start(struct mgt *mgt, struct cli_text *why)
{
    unsigned status = 0;
    struct cli_text text = {0};
    enum rc rc = mgt__vcls_feed(mgt, &text);
    status = CLI_CANNOT;
    if (rc == RC_OK) {
        cli_text_clear(&text);
        rc = ask_word(mgt, "start", &status, &text);
    }
    if (rc == RC_OK && status != CLI_OK) {
        rc = RC_INVALID;
    }
    if (rc != RC_OK) {
        cli_text_add(why, cli_text_str(&text));
        mgt__log(MGT_ERROR, "Child (%ld) Acceptor start failed:\n%.*s", (long)mgt->child.pid,
                 STR_ARG(cli_text_str(&text)));
    }
    cli_text_free(&text);
    return rc;
}

enum rc mgt__child_start(struct mgt *mgt, struct cli_text *why)
{
    struct mgt_child *child = &mgt->child;
    CHECK(child->pid == 0);
    child->state = MGT_STARTING;
    child->started_ns = clock_mono_ns(); /* also of a start that fails: it is no long life */
    struct child_ends ends;
    enum rc rc = child__prepare(mgt, &ends, why);
    if (rc != RC_OK) {
        mgt__listens_shut(&mgt->listens);
        child->state = MGT_STOPPED;
        return rc;
    }
    child->generation++;
    pid_t pid = child__fork(mgt, &ends);
    if (pid < 0) {
        cli_text_printf(why, "Cannot fork a worker: %s", strerror(errno));
        (void)close(ends.cli_ours);
        (void)close(ends.cli_theirs);
        (void)close(ends.out_ours);
        (void)close(ends.out_theirs);
        vault_forked(mgt->vault);
        mgt__listens_shut(&mgt->listens);
        child->state = MGT_STOPPED;
        return RC_LIMIT;
    }
    adopt(mgt, pid, &ends);
    rc = ask_start(mgt, why);
    if (rc == RC_OK) {
        child->state = MGT_RUNNING;
        if (param(mgt->params.shared, ping_interval) > 0) {
            mgt__timer(&mgt->poll, &child->ping,
                       clock_mono_ns() + param(mgt->params.shared, ping_interval) * NS_PER_S);
        }
        return RC_OK;
    }
    mgt__child_stop(mgt);
    return rc;
}
