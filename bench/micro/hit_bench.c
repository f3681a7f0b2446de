/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* What a small hit costs in user space: a whole worker in this process, one client on loopback.
 *
 *   hit_bench [REQUESTS [URLS]]      prints CPU time a request, kernel included, without the
 * client's
 *
 * With several URLs each request asks for another one, in an order without order, so that what it
 * touches of tables and objects is as cold as it gets.  Times on a busy machine say little; the
 * counts of
 *   valgrind --tool=callgrind --separate-threads=yes --cache-sim=yes --LL=1048576,16,64 hit_bench
 * are the same every time: instructions, and lines that are not in the two caches of one core. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "mgt/pack.h"
#include "mgt/worker.h"
#include "shm/vsl.h"

enum { BODY_BYTES = 1024 };

static int listen_on_loopback(unsigned *port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(fd >= 0);
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof sin;
    CHECK(bind(fd, (struct sockaddr *)&sin, sizeof sin) == 0);
    CHECK(listen(fd, 16) == 0);
    CHECK(getsockname(fd, (struct sockaddr *)&sin, &len) == 0);
    *port = ntohs(sin.sin_port);
    return fd;
}

static void send_all(int fd, const void *bytes, size_t len)
{
    CHECK(send(fd, bytes, len, MSG_NOSIGNAL) == (ssize_t)len);
}

/* False: the peer has closed. */
static bool read_head(int fd, char *buf, size_t cap)
{
    size_t have = 0;
    do {
        ssize_t n = recv(fd, buf + have, cap - 1 - have, 0);
        if (n <= 0) {
            return false;
        }
        have += (size_t)n;
        buf[have] = '\0';
    } while (strstr(buf, "\r\n\r\n") == NULL);
    return true;
}

/* Answers on one connection, each time with BODY_BYTES that may be kept. */
static void *origin(void *arg)
{
    int fd = accept(*(int *)arg, NULL, NULL);
    CHECK(fd >= 0);
    char head[4096];
    while (read_head(fd, head, sizeof head)) {
        char answer[2048];
        int len = snprintf(answer, sizeof answer,
                           "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
                           "Cache-Control: max-age=3600\r\nContent-Length: %d\r\n\r\n%0*d",
                           BODY_BYTES, BODY_BYTES, 0);
        send_all(fd, answer, (size_t)len);
    }
    (void)close(fd);
    return NULL;
}

static void *run_worker(void *conf)
{
    CHECK(worker_main(conf) == 0);
    return NULL;
}

static void ask_worker(int fd, const char *command)
{
    send_all(fd, command, strlen(command));
    char answer[256] = "";
    ssize_t n = recv(fd, answer, sizeof answer - 1, 0);
    CHECK(n > 0);
    CHECK(strncmp(answer, "200", 3) == 0);
}

static int connect_to(unsigned port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in sin = {.sin_family = AF_INET,
                              .sin_port = htons((uint16_t)port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    CHECK(connect(fd, (struct sockaddr *)&sin, sizeof sin) == 0);
    return fd;
}

static void one_request(int fd, unsigned long url)
{
    char request[128];
    int len = snprintf(request, sizeof request,
                       "GET /1024/%lu HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n", url);
    send_all(fd, request, (size_t)len);
    char buf[4096];
    size_t have = 0;
    const char *end = NULL;
    do {
        ssize_t n = recv(fd, buf + have, sizeof buf - 1 - have, 0);
        CHECK(n > 0);
        have += (size_t)n;
        buf[have] = '\0';
        end = strstr(buf, "\r\n\r\n");
    } while (end == NULL || (size_t)(buf + have - end) < BODY_BYTES + 4);
}

/* The manager's part: the place for what the tools read. */
static void make_shm_dir(const char *workdir)
{
    int fd = open(workdir, O_RDONLY | O_DIRECTORY);
    CHECK(fd >= 0);
    const struct vsm_place place = {
        .workdir_fd = fd, .name = VSM_CHILD_DIR, .uid = VSM_SAME_UID, .gid = VSM_SAME_GID};
    CHECK(vsm_dir_make(&place) == RC_OK);
    (void)close(fd);
}

static uint64_t cpu_ns(clockid_t clock)
{
    struct timespec t;
    CHECK(clock_gettime(clock, &t) == 0);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
    const uint64_t *x = a;
    const uint64_t *y = b;
    return (*x > *y) - (*x < *y);
}

/* The time of all threads but the calling one, in blocks: what disturbs some of them is not seen in
 * the lower quartile. */
static void measure(int client, unsigned long requests, unsigned long urls)
{
    enum { BLOCK = 500 };
    size_t blocks = requests / BLOCK;
    uint64_t *ns = xcalloc(blocks + 1, sizeof *ns);
    for (size_t b = 0; b < blocks; b++) {
        uint64_t from = cpu_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_ns(CLOCK_THREAD_CPUTIME_ID);
        for (unsigned long i = 0; i < BLOCK; i++) {
            one_request(client, (b * BLOCK + i) * 7919 % urls);
        }
        ns[b] = cpu_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_ns(CLOCK_THREAD_CPUTIME_ID) - from;
    }
    qsort(ns, blocks, sizeof *ns, by_size);
    size_t half = blocks / 2;
    size_t quarter = blocks / 4;
    printf("%zu hits on %lu URLs: %.0f ns each, quartiles %.0f %.0f\n", blocks * BLOCK, urls,
           (double)ns[half] / BLOCK, (double)ns[quarter] / BLOCK,
           (double)ns[half + quarter] / BLOCK);
    free(ns);
}

/* As the manager gives it: names and texts in one. */
static void load_vcl(int fd, unsigned origin_port)
{
    char vcl[128];
    struct cli_text pack = {0};
    struct cli_text line = {0};
    (void)snprintf(vcl, sizeof vcl,
                   "vcl 4.1; backend default { .host = \"127.0.0.1\"; .port = \"%u\"; }",
                   origin_port);
    pack_put(&pack, "name", (struct str){"boot", sizeof "boot"});
    pack_put(&pack, "text", str_of(vcl));
    const struct cli_request req = {.argc = 3,
                                    .argv = {STR("vcl.load"), STR("boot"), cli_text_str(&pack)}};
    cli_request_put(&line, &req);
    cli_text_add(&line, (struct str){"", 1});
    ask_worker(fd, line.ptr);
    cli_text_free(&pack);
    cli_text_free(&line);
}

static int remove_one(const char *path, const struct stat *st, int what, struct FTW *at)
{
    (void)st;
    (void)what;
    (void)at;
    return remove(path);
}

int main(int argc, char **argv)
{
    unsigned long requests = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000;
    unsigned long urls = argc > 2 ? strtoul(argv[2], NULL, 10) : 1;
    CHECK(urls > 0);
    char dir[] = "/dev/shm/hit_bench.XXXXXX";
    CHECK(mkdtemp(dir) != NULL);
    struct params *params = xcalloc(1, sizeof *params);
    param_defaults(params);
    vsl_mask_default(params);
    param_set(params, PARAM_vsl_space, UINT64_C(4) << 20);

    unsigned port;
    unsigned origin_port;
    int origin_fd = listen_on_loopback(&origin_port);
    int fd = listen_on_loopback(&port);
    CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
    const struct worker_listen listen_conf = {
        .name = "a0", .addr = "127.0.0.1", .port = "8080", .fds = &fd, .fds_count = 1};
    struct stv_conf stores[2];
    char why[256];
    CHECK(stv_conf_parse(&stores[0], "s0=memory,256m", why, sizeof why) == RC_OK);
    CHECK(stv_conf_parse(&stores[1], "Transient=memory,64m", why, sizeof why) == RC_OK);
    struct vault *vault = NULL;
    CHECK(vault_new(&vault) == RC_OK);
    CHECK(vault_next_worker(vault) == RC_OK);
    int cli[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, cli) == 0);
    int workdir_fd = open(dir, O_RDONLY | O_DIRECTORY);
    CHECK(workdir_fd >= 0);
    struct worker_conf conf = {
        .params = params,
        .panic = xcalloc(1, sizeof(struct panic_area)),
        .listens = &listen_conf,
        .listens_count = 1,
        .loops = 1,
        .stores = stores,
        .stores_count = 2,
        .vault = vault,
        .cli_fd = cli[1],
        .workdir = dir,
        .workdir_fd = workdir_fd,
        .identity = "bench",
        .generation = 1,
    };
    make_shm_dir(dir);
    pthread_t worker;
    pthread_t origin_thread;
    CHECK(pthread_create(&worker, NULL, run_worker, &conf) == 0);
    CHECK(pthread_create(&origin_thread, NULL, origin, &origin_fd) == 0);
    load_vcl(cli[0], origin_port);
    ask_worker(cli[0], "vcl.use boot\n");
    ask_worker(cli[0], "start\n");
    int client = connect_to(port);
    for (unsigned long url = 0; url < urls; url++) {
        one_request(client, url);
    }
    measure(client, requests, urls);
    (void)close(client);
    (void)shutdown(cli[0], SHUT_RDWR);
    (void)pthread_join(worker, NULL);
    (void)pthread_join(origin_thread, NULL);
    free(conf.panic);
    free(params);
    const int fds[] = {cli[0], cli[1], workdir_fd, fd, origin_fd};
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        (void)close(fds[i]);
    }
    CHECK(nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS) == 0);
    return 0;
}
