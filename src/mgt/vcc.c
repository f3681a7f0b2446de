/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* A child for each compilation.
 *
 * The manager has the rights that it was started with; a VCL is a text from wherever the operator
 * got it, and names files of modules, whose code runs as soon as they are opened.  So the manager
 * itself neither parses VCL nor opens modules.  It forks; the child drops what the manager has
 * (descriptors, shared memory, rights), compiles, and writes what it read and what it thinks of it
 * into a file in memory, which the manager believes no more than any other text.
 *
 *     manager: fork -> wait for the end, at most vcc_timeout -> kill what is left -> read, check
 *     child:   let go of everything -> become the jail's user -> limits -> compile -> write
 *
 * Whatever becomes of the child, all it can do to us is to be late. */
#include "mgt/vcc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/fd.h"
#include "base/mem.h"
#include "mgt/pack.h"
#include "mgt/priv.h"
#include "vcl/vcl.h"

enum {
    ANSWER_FD = STDERR_FILENO + 1, /* in the child */
    ANSWER_MAX = CLI_REQUEST_MAX,  /* bytes; more would not get to the worker either */
    SAID_MAX = 8 << 10,            /* of what it printed */
    SOURCES_MAX = 8192,
};

struct job {
    struct vcl_conf conf;
    const char *name;
    const struct str *text; /* NULL: the file `name` */
    uint64_t memory_bytes;
    int answer_fd;
    int said_fd; /* its stdout and stderr */
    pid_t pid;
    int pid_fd;
};

/* ---- the answer ---- */

void mgt__vcc_output_free(struct vcc_output *out)
{
    XFREE(out->sources);
    XFREE(out->labels);
    cli_text_free(&out->pack);
    *out = (struct vcc_output){0};
}

/* Names end with a NUL for those who use them, and have no other. */
static bool is_name(struct str text)
{
    return text.len > 1 && str_find(text, '\0') == text.len - 1;
}

/* One text after the verdict.  A name is followed by its source. */
static bool take_text(struct vcc_output *out, struct str word, struct str text, const char **name)
{
    if (str_eq(word, STR("name")) && *name == NULL && is_name(text)) {
        *name = text.ptr;
        return true;
    }
    if (str_eq(word, STR("text")) && *name != NULL && out->sources_count < SOURCES_MAX) {
        out->sources[out->sources_count++] = (struct vcc_source){*name, text};
        *name = NULL;
        return true;
    }
    if (str_eq(word, STR("label")) && is_name(text) && out->labels_count < SOURCES_MAX) {
        out->labels[out->labels_count++] = text.ptr;
        return true;
    }
    return false;
}

static enum rc take_texts(struct vcc_output *out, struct str rest)
{
    const char *name = NULL;
    struct str word;
    struct str text;
    enum rc rc;
    out->sources = xcalloc(SOURCES_MAX, sizeof *out->sources);
    out->labels = xcalloc(SOURCES_MAX, sizeof *out->labels);
    while ((rc = pack_next(&rest, &word, &text)) == RC_OK) {
        if (!take_text(out, word, text, &name)) {
            rc = RC_MALFORMED;
            break;
        }
    }
    bool is_whole = rc == RC_EOF && name == NULL && out->sources_count > 0;
    if (is_whole) {
        /* Most have a handful. */
        out->sources = xrealloc(out->sources, out->sources_count * sizeof *out->sources);
        out->labels = xrealloc(out->labels, (out->labels_count + 1) * sizeof *out->labels);
    }
    return is_whole ? RC_OK : RC_MALFORMED;
}

enum rc mgt__vcc_parse(struct cli_text *take_pack, struct vcc_output *out,
                       struct cli_text *messages)
{
    *out = (struct vcc_output){.pack = *take_pack};
    *take_pack = (struct cli_text){0};
    struct str rest = cli_text_str(&out->pack);
    struct str word;
    struct str text;
    enum rc rc = RC_MALFORMED;
    if (pack_next(&rest, &word, &text) == RC_OK) {
        if (str_eq(word, STR("refused")) && rest.len == 0) {
            cli_text_add(messages, text);
            rc = RC_INVALID;
        } else if (str_eq(word, STR("compiled"))) {
            cli_text_add(messages, text);
            rc = take_texts(out, rest);
        }
    }
    if (rc != RC_OK) {
        mgt__vcc_output_free(out);
    }
    return rc;
}

/* ---- the child ---- */

/* What is shared with the manager would be shared with a module's code. */
static void let_go(struct mgt *mgt, const struct job *job)
{
    sigset_t none;
    (void)sigemptyset(&none);
    CHECK(sigprocmask(SIG_SETMASK, &none, NULL) == 0);
    (void)signal(SIGPIPE, SIG_DFL);
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    /* Duplicates above all that will be overwritten. */
    int answer_fd = fcntl(job->answer_fd, F_DUPFD_CLOEXEC, ANSWER_FD + 1);
    int said_fd = fcntl(job->said_fd, F_DUPFD_CLOEXEC, ANSWER_FD + 1);
    CHECK(null_fd >= 0);
    CHECK(answer_fd >= 0);
    CHECK(said_fd >= 0);
    CHECK(dup2(null_fd, STDIN_FILENO) == STDIN_FILENO);
    CHECK(dup2(said_fd, STDOUT_FILENO) == STDOUT_FILENO);
    CHECK(dup2(said_fd, STDERR_FILENO) == STDERR_FILENO);
    CHECK(dup2(answer_fd, ANSWER_FD) == ANSWER_FD);
    vsm_set_free(&mgt->vsm, VSM_KEEP);
    CHECK(close_range(ANSWER_FD + 1, ~0U, 0) == 0);
    CHECK(munmap(mgt->params.shared, sizeof *mgt->params.shared) == 0);
    CHECK(munmap(mgt->panic, sizeof *mgt->panic) == 0);
}

/* Pages of private memory that can be written; what we have from the manager does not count against
 * the limit. */
static uint64_t data_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    unsigned long long pages = 0;
    if (file != NULL) {
        char line[128];
        const char *at = fgets(line, sizeof line, file);
        for (unsigned field = 0; at != NULL && field < 5; field++) {
            at = strchr(at, ' ');
            at = at == NULL ? NULL : at + 1;
        }
        pages = at == NULL ? 0 : strtoull(at, NULL, 10);
        (void)fclose(file);
    }
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void limit(const struct job *job)
{
    uint64_t have = data_bytes();
    uint64_t bytes;
    if (have > 0 && !__builtin_add_overflow(have, job->memory_bytes, &bytes)) {
        (void)setrlimit(RLIMIT_DATA, &(struct rlimit){bytes, bytes});
    }
    (void)setrlimit(RLIMIT_FSIZE, &(struct rlimit){ANSWER_MAX, ANSWER_MAX});
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
}

static void put_name(struct cli_text *pack, const char *word, const char *name)
{
    pack_put(pack, word, (struct str){name, strlen(name) + 1});
}

static void put_program(struct cli_text *pack, const struct vcl_program *prog)
{
    struct str name;
    struct str text;
    for (unsigned i = 0; vcl_program_source(prog, i, &name, &text); i++) {
        put_name(pack, "name", name.ptr);
        pack_put(pack, "text", text);
    }
    for (unsigned i = 0; vcl_program_label(prog, i) != NULL; i++) {
        put_name(pack, "label", vcl_program_label(prog, i));
    }
}

NORETURN static void become_compiler(struct mgt *mgt, const struct job *job, pid_t manager)
{
    (void)setpgid(0, 0);
    let_go(mgt, job);
    mgt__jail_enter_compiler(&mgt->jail);
    /* After the change of user, which forgets it. */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (getppid() != manager) {
        _exit(1);
    }
    limit(job);
    struct vcl_program *prog = NULL;
    char *messages = NULL;
    enum rc rc = vcl_compile(&job->conf, job->name, job->text, &prog, &messages);
    struct cli_text pack = {0};
    pack_put(&pack, rc == RC_OK ? "compiled" : "refused", str_of(messages));
    if (rc == RC_OK) {
        put_program(&pack, prog);
    }
    if (pack.len > ANSWER_MAX) {
        cli_text_clear(&pack);
        pack_put(&pack, "refused", STR("The VCL and what it includes are too long\n"));
    }
    struct str answer = cli_text_str(&pack);
    bool is_written = fd_write_all(ANSWER_FD, answer.ptr, answer.len) == 0;
    (void)fflush(NULL);
    /* What atexit() knows of is the manager's. */
    _exit(is_written ? 0 : 1);
}

/* ---- the manager ---- */

/* At most `max` bytes of a file.  Who wrote it may still do so: what we have is ours. */
static void read_file(int fd, size_t max, struct cli_text *to)
{
    char buf[1024];
    while (to->len < max) {
        ssize_t n = pread(fd, buf, sizeof buf, (off_t)to->len);
        if (n <= 0) {
            return;
        }
        cli_text_add(to, (struct str){buf, (size_t)n});
    }
}

/* What it printed, fit for a terminal. */
static void add_said(int fd, struct cli_text *say)
{
    struct cli_text said = {0};
    read_file(fd, SAID_MAX, &said);
    for (size_t i = 0; i < said.len; i++) {
        unsigned char c = (unsigned char)said.ptr[i];
        bool is_plain = c == '\n' || c == '\t' || (c >= 0x20 && c != 0x7f);
        cli_text_add(say, (struct str){is_plain ? &said.ptr[i] : "?", 1});
    }
    if (said.len > 0 && said.ptr[said.len - 1] != '\n') {
        cli_text_add(say, STR("\n"));
    }
    cli_text_free(&said);
}

static enum rc start(struct mgt *mgt, struct job *job, struct cli_text *say)
{
    job->answer_fd = memfd_create("vcc answer", MFD_CLOEXEC);
    job->said_fd = memfd_create("vcc output", MFD_CLOEXEC);
    if (job->answer_fd < 0 || job->said_fd < 0) {
        cli_text_printf(say, "Cannot make a file for the VCC-compiler: %s\n", strerror(errno));
        return RC_NOFILES;
    }
    (void)fflush(stdout);
    (void)fflush(stderr);
    pid_t manager = getpid();
    job->pid = fork();
    if (job->pid == 0) {
        become_compiler(mgt, job, manager);
    }
    if (job->pid < 0) {
        cli_text_printf(say, "Cannot fork the VCC-compiler: %s\n", strerror(errno));
        return RC_LIMIT;
    }
    /* Whichever of us comes first. */
    (void)setpgid(job->pid, job->pid);
    job->pid_fd = (int)syscall(SYS_pidfd_open, job->pid, 0);
    CHECK(job->pid_fd >= 0);
    return RC_OK;
}

/* Waits for its end, brings it about when it is late, and what it started goes with it. */
static enum rc await(struct mgt *mgt, struct job *job, int *status)
{
    uint64_t wait_ns = param(mgt->params.shared, vcc_timeout);
    enum rc rc = mgt__child_wait(mgt, job->pid_fd, clock_after(clock_mono_ns(), wait_ns));
    (void)kill(job->pid, SIGKILL);
    (void)kill(-job->pid, SIGKILL);
    *status = mgt__child_status(job->pid);
    return rc;
}

static void close_job(struct job *job)
{
    const int fds[] = {job->answer_fd, job->said_fd, job->pid_fd};
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        if (fds[i] >= 0) {
            (void)close(fds[i]);
        }
    }
}

/* In the words of varnishd, which its users' scripts may look for. */
static void say_grief(struct mgt *mgt, enum rc rc, int status, struct cli_text *say)
{
    cli_text_printf(say, "Running VCC-compiler failed");
    if (rc == RC_TIMEOUT) {
        cli_text_printf(say, ", it took longer than vcc_timeout (%.0f seconds)",
                        (double)param(mgt->params.shared, vcc_timeout) / (double)NS_PER_S);
    } else if (rc == RC_CANCELLED) {
        cli_text_printf(say, ", the manager is ending");
    } else if (WIFSIGNALED(status)) {
        cli_text_printf(say, ", signal %d", WTERMSIG(status));
    } else if (WEXITSTATUS(status) != 0) {
        cli_text_printf(say, ", exited with %d", WEXITSTATUS(status));
    } else {
        cli_text_printf(say, ", it ended without an answer");
    }
    cli_text_printf(say, "\nVCL compilation failed");
}

static enum rc run(struct mgt *mgt, struct job *job, struct vcc_output *out, struct cli_text *say)
{
    struct cli_text pack = {0};
    struct cli_text messages = {0};
    int status = 0;
    enum rc rc = start(mgt, job, say);
    if (rc != RC_OK) {
        cli_text_printf(say, "VCL compilation failed");
        return RC_INVALID;
    }
    rc = await(mgt, job, &status);
    add_said(job->said_fd, &messages);
    enum rc parsed = RC_MALFORMED;
    if (rc == RC_OK && status == 0) {
        read_file(job->answer_fd, ANSWER_MAX, &pack);
        parsed = mgt__vcc_parse(&pack, out, &messages);
    }
    if (messages.len > 0) {
        cli_text_printf(say, "Message from VCC-compiler:\n%.*s", STR_ARG(cli_text_str(&messages)));
    }
    if (parsed == RC_INVALID) {
        cli_text_printf(say, "Running VCC-compiler failed, exited with 2\n"
                             "VCL compilation failed");
    } else if (parsed != RC_OK) {
        say_grief(mgt, rc, status, say);
    }
    cli_text_free(&messages);
    return parsed == RC_OK ? RC_OK : RC_INVALID;
}

/* The names of the labels there are, up to a NULL; the caller frees. */
static const char **labels_of(struct mgt *mgt)
{
    unsigned count = 0;
    LIST_FOREACH (node, &mgt->vcls.all) {
        count++;
    }
    const char **labels = xcalloc(count + 1, sizeof *labels);
    count = 0;
    LIST_FOREACH (node, &mgt->vcls.all) {
        const struct mgt_vcl *v = CONTAINER_OF(node, struct mgt_vcl, link);
        if (v->target != NULL) {
            labels[count++] = v->name;
        }
    }
    return labels;
}

enum rc mgt__vcc_compile(struct mgt *mgt, const char *name, const struct str *text,
                         struct vcc_output *out, struct cli_text *say)
{
    const char *stores[MGT_ARGS_EACH_MAX + 2] = {NULL};
    for (unsigned i = 0; i < mgt->stores_count; i++) {
        stores[i] = mgt->stores[i].name;
    }
    const char **labels = labels_of(mgt);
    const struct params *p = mgt->params.shared;
    struct job job = {
        .conf = {.vcl_path = mgt->params.strings[PARAM_STRING_vcl_path],
                 .module_path = mgt->params.strings[PARAM_STRING_vmod_path],
                 .unsafe_path = param(p, vcc_unsafe_path) != 0,
                 .allow_unused = param(p, vcc_err_unref) == 0,
                 .is_interpreted = param(p, pcre2_jit_compilation) == 0,
                 .stores = stores,
                 .labels = labels},
        .name = name,
        .text = text,
        .memory_bytes = param(p, vcc_memory_max),
        .answer_fd = -1,
        .said_fd = -1,
        .pid_fd = -1,
    };
    *out = (struct vcc_output){0};
    enum rc rc = run(mgt, &job, out, say);
    close_job(&job);
    free(labels);
    return rc;
}
