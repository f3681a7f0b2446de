/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Several threads write one ring through many laps while another process reads along.
 *
 * The reader is another process because it is one in life, and because a race detector must not
 * take its unlocked reading, which is the protocol, for a mistake of the writers.  It gives the
 * writers a credit for each transaction read, so that it is never overrun and must see them all. */
#include "base/sema.h"
#include "log_fixture.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

enum { WRITERS = 4, TRANSACTIONS = 1500, RECORDS = 12, RING_BYTES = 64 << 10, CREDITS = 8 };

struct shared {
    sem_t credits;
    sem_t reader_is_ready;
};

struct writer {
    pthread_t thread;
    struct log *log;
    struct shared *shared;
    uint32_t id;
};

static size_t text_len(uint32_t id, unsigned nr, unsigned record)
{
    return (id * 7 + nr * 13 + record * 29) % 60;
}

static void *write_transactions(void *priv)
{
    struct writer *w = priv;
    uint32_t mem[1024];
    struct vsl_buf buf;
    vsl_buf_init(&buf, w->log->ring, mem, sizeof mem);
    char text[64];
    memset(text, 'a' + (int)w->id, sizeof text);
    for (unsigned nr = 0; nr < TRANSACTIONS; nr++) {
        sema_wait(&w->shared->credits);
        struct vslb b;
        vslb_open(&b, &buf, w->id);
        vslb_printf(&b, SLT_Begin, "%u", nr);
        for (unsigned i = 0; i < RECORDS; i++) {
            vslb_str(&b, SLT_VCL_Log, (struct str){text, text_len(w->id, nr, i)});
        }
        if (nr % 3 == 0) {
            vsl_buf_flush(&buf);
            vsl_now(w->log->ring, SLT_End, w->id, STR("now"));
        } else {
            vslb_str(&b, SLT_End, STR("buffered"));
            vsl_buf_flush(&buf);
        }
    }
    return NULL;
}

struct progress {
    unsigned transactions;
    unsigned records; /* of the current one; 0 before its Begin */
};

/* Aborts on anything unexpected, which the parent sees. */
static void check_record(const uint32_t *rec, struct progress *p)
{
    uint32_t id = VSL_ID(rec);
    CHECK(id >= 1);
    CHECK(id <= WRITERS);
    struct progress *w = &p[id];
    if (w->records == 0) {
        CHECK(VSL_TAG(rec) == SLT_Begin);
        CHECK(strtoul(VSL_CDATA(rec), NULL, 10) == w->transactions);
    } else if (w->records <= RECORDS) {
        size_t len = text_len(id, w->transactions, w->records - 1);
        CHECK(VSL_TAG(rec) == SLT_VCL_Log);
        CHECK(VSL_LEN(rec) == len + 1);
        for (size_t i = 0; i < len; i++) {
            CHECK(VSL_CDATA(rec)[i] == 'a' + (char)id);
        }
    } else {
        CHECK(VSL_TAG(rec) == SLT_End);
    }
    w->records++;
}

static int read_all(const struct workdir *dir, struct shared *shared)
{
    struct log_reader r;
    log_reader_open(&r, dir, 0);
    struct progress p[WRITERS + 1] = {{0, 0}};
    sema_post(&shared->reader_is_ready);
    for (unsigned done = 0; done < WRITERS * TRANSACTIONS;) {
        enum vsl_status status = VSL_Next(r.cursor);
        if (status == vsl_end) {
            /* The ring has no way to wake a reader: all tools poll it. */
            (void)nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
            continue;
        }
        CHECK(status == vsl_more);
        const uint32_t *rec = r.cursor->rec.ptr;
        struct progress *w = &p[VSL_ID(rec) % (WRITERS + 1)];
        check_record(rec, p);
        if (w->records == RECORDS + 2) {
            w->records = 0;
            w->transactions++;
            done++;
            sema_post(&shared->credits);
        }
    }
    CHECK(VSL_Next(r.cursor) == vsl_end);
    log_reader_close(&r);
    return 0;
}

static void every_transaction_arrives_whole(void **state)
{
    struct workdir *dir = *state;
    struct log log;
    log_open(&log, dir, RING_BYTES);
    struct shared *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shared != MAP_FAILED);
    assert_int_equal(sem_init(&shared->credits, 1, CREDITS), 0);
    assert_int_equal(sem_init(&shared->reader_is_ready, 1, 0), 0);
    (void)alarm(100); /* should the other side die, nobody waits for it for ever */
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)alarm(90);
        _exit(read_all(dir, shared));
    }
    sema_wait(&shared->reader_is_ready);
    struct writer writers[WRITERS];
    for (uint32_t i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){.log = &log, .shared = shared, .id = i + 1};
        assert_int_equal(pthread_create(&writers[i].thread, NULL, write_transactions, &writers[i]),
                         0);
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        assert_int_equal(pthread_join(writers[i].thread, NULL), 0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(vsc_get(&log.main->shm_records), WRITERS * TRANSACTIONS * (RECORDS + 2));
    assert_true(vsc_get(&log.main->shm_cycles) > 10);
    (void)alarm(0);
    (void)munmap(shared, sizeof *shared);
    log_close(&log);
}

struct churn {
    pthread_t thread;
    struct vsm_set *set;
    unsigned nr;
    struct vsc_main *main;
};

/* Backends come and go on several threads, and all of them add to the same counters. */
static void *churn(void *priv)
{
    struct churn *c = priv;
    struct vsc_main local = {.client_req = 0};
    for (unsigned i = 0; i < 100; i++) {
        char ident[32];
        (void)snprintf(ident, sizeof ident, "VBE.t%u.b%u", c->nr, i % 7);
        struct vsm_seg *seg;
        CHECK(vsc_new(c->set, &vsc_class_vbe, ident, &seg) == RC_OK);
        struct vsc_vbe *vbe = vsc_of(seg);
        vsc_add(&vbe->req, 1);
        local.client_req++;
        local.n_object += i % 2 == 0 ? 1 : (uint64_t)-1;
        vsc_flush(&vsc_class_main, c->main, &local);
        vsm_seg_free(&seg);
    }
    return NULL;
}

static void sets_are_shared_by_threads(void **state)
{
    struct workdir *dir = *state;
    struct log log;
    log_open(&log, dir, RING_BYTES);
    struct churn threads[WRITERS];
    for (unsigned i = 0; i < WRITERS; i++) {
        threads[i] = (struct churn){.set = log.child, .nr = i, .main = log.main};
        assert_int_equal(pthread_create(&threads[i].thread, NULL, churn, &threads[i]), 0);
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        assert_int_equal(pthread_join(threads[i].thread, NULL), 0);
    }
    assert_int_equal(vsc_get(&log.main->client_req), WRITERS * 100);
    assert_int_equal(vsc_get(&log.main->n_object), 0);
    struct vsm *vsm = open_reader(dir);
    (void)VSM_Status(vsm);
    struct vsm_fantom vf;
    unsigned docs = 0;
    unsigned others = 0;
    VSM_FOREACH(&vf, vsm)
    {
        docs += strcmp(vf.class, "StatDoc") == 0;
        others += strncmp(vf.ident, "VBE", 3) == 0;
    }
    assert_int_equal(docs, 2);
    assert_int_equal(others, 0);
    VSM_Destroy(&vsm);
    log_close(&log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SHM_TEST(every_transaction_arrives_whole),
        SHM_TEST(sets_are_shared_by_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
