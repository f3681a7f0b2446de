/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Plain entries: what the operations mean, as memcached's users expect it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/mem.h"
#include "kv_rig.h"

static void storing(void *arg)
{
    struct kv_session s = kv_test_session(arg);
    uint64_t cas = 0;
    assert_null(kv_test_get(&s, "k"));
    assert_int_equal(kv_test_put(&s, KV_REPLACE, "k", "x", &cas), RC_NOT_FOUND);
    assert_int_equal(kv_test_put(&s, KV_APPEND, "k", "x", &cas), RC_NOT_FOUND);
    assert_int_equal(kv_test_put(&s, KV_ADD, "k", "one", &cas), RC_OK);
    assert_true(cas != 0);
    assert_string_equal(kv_test_get(&s, "k"), "one");
    assert_int_equal(kv_test_cas(&s, "k"), cas);
    uint64_t other = 0;
    assert_int_equal(kv_test_put(&s, KV_ADD, "k", "x", &other), RC_EXISTS);
    assert_int_equal(kv_test_put(&s, KV_SET, "k", "two", &cas), RC_OK); /* with its cas */
    other = cas - 1;
    assert_int_equal(kv_test_put(&s, KV_SET, "k", "x", &other), RC_EXISTS);
    other = 5;
    assert_int_equal(kv_test_put(&s, KV_SET, "none", "x", &other), RC_NOT_FOUND);
    cas = 0;
    assert_int_equal(kv_test_put(&s, KV_APPEND, "k", "-b", &cas), RC_OK);
    assert_int_equal(kv_test_put(&s, KV_PREPEND, "k", "a-", &cas), RC_OK);
    assert_string_equal(kv_test_get(&s, "k"), "a-two-b");
    other = cas + 1;
    assert_int_equal(kv_test_put(&s, KV_APPEND, "k", "x", &other), RC_EXISTS);
    assert_int_equal(kv_test_set(&s, "k", ""), RC_OK);
    assert_string_equal(kv_test_get(&s, "k"), "");
    assert_null(kv_test_get(&s, "K"));
    assert_null(kv_test_get(&s, "k\1key"));
}

static void keys(void *arg)
{
    struct kv_session s = kv_test_session(arg);
    char key[KV_KEY_MAX + 2];
    memset(key, 'k', sizeof key);
    key[KV_KEY_MAX + 1] = '\0';
    assert_int_equal(kv_test_set(&s, key, "x"), RC_TOO_LONG);
    key[KV_KEY_MAX] = '\0';
    assert_int_equal(kv_test_set(&s, key, "x"), RC_OK);
    assert_string_equal(kv_test_get(&s, key), "x");
    assert_int_equal(kv_test_set(&s, "", "x"), RC_MALFORMED);
    /* A NUL is a byte as any other (base64 keys of meta commands). */
    uint64_t cas;
    const struct kv_value with = {.key = {"a\0b", 3}, .len = 1};
    assert_int_equal(kv_store(&s, &with, "1", &cas), RC_OK);
    const struct kv_value without = {.key = {"a\0c", 3}, .len = 1};
    assert_int_equal(kv_store(&s, &without, "2", &cas), RC_OK);
    const struct kv_get ask = {.key = {"a\0b", 3}};
    struct kv_item item;
    assert_int_equal(kv_get(&s, &ask, &item), RC_OK);
    assert_string_equal(kv_test_body(&s, &item), "1");
    assert_true(kv_is_url(STR("http://h/")));
    assert_true(kv_is_url(STR("https://h/")));
    assert_true(kv_is_url(STR("//h/")));
    assert_false(kv_is_url(STR("/h/")));
    assert_false(kv_is_url(STR("http:/h")));
}

static void in_pieces(void *arg)
{
    struct kv_session s = kv_test_session(arg);
    size_t len = 700000; /* a file of its own */
    char *bytes = xmalloc(len);
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (char)('a' + i % 23);
    }
    for (enum kv_mode mode = KV_SET; mode <= KV_PREPEND; mode++) {
        struct kv_put put;
        uint64_t cas;
        const struct kv_value value = {.key = STR("big"), .mode = mode, .len = len, .flags = 7};
        assert_int_equal(kv_put_begin(&s, &value, &put), RC_OK);
        for (size_t at = 0; at < len;) {
            void *to;
            size_t room;
            assert_int_equal(kv_put_space(&put, &to, &room), RC_OK);
            room = room < 5000 ? room : 5000;
            memcpy(to, bytes + at, room);
            kv_put_grown(&put, room);
            at += room;
        }
        assert_int_equal(kv_put_commit(&put, &cas), mode == KV_ADD ? RC_EXISTS : RC_OK);
    }
    const struct kv_get ask = {.key = STR("big")};
    struct kv_item item;
    assert_int_equal(kv_get(&s, &ask, &item), RC_OK);
    assert_int_equal(item.len, 3 * len);
    assert_int_equal(item.flags, 7);
    for (uint64_t off = 0; off < item.len;) {
        struct stv_lease lease;
        assert_int_equal(kv_next(&s, &item, off, &lease), RC_OK);
        const char *at = lease.ptr;
        for (size_t i = 0; i < lease.len; i += 1000) {
            assert_int_equal(at[i], bytes[(off + i) % len]);
        }
        off += lease.len;
        stv_rel(&lease);
    }
    kv_release(&item);
    struct kv_put put;
    const struct kv_value value = {.key = STR("big"), .len = len};
    assert_int_equal(kv_put_begin(&s, &value, &put), RC_OK);
    kv_put_abort(&put);
    const struct kv_value huge = {.key = STR("big"), .len = (uint64_t)1 << 60};
    assert_int_equal(kv_put_begin(&s, &huge, &put), RC_TOO_LONG);
    assert_int_equal(kv_get(&s, &ask, &item), RC_OK);
    assert_int_equal(item.len, 3 * len);
    kv_release(&item);
    free(bytes);
}

static int64_t ttl_of(struct kv_session *s, const char *key)
{
    const struct kv_get ask = {.key = str_of(key)};
    struct kv_item item;
    if (kv_get(s, &ask, &item) != RC_OK) {
        return -99;
    }
    int64_t ttl_s = item.ttl_s;
    kv_release(&item);
    return ttl_s;
}

static enum rc set_for(struct kv_session *s, int64_t exptime)
{
    uint64_t cas;
    const struct kv_value value = {.key = STR("k"), .exptime = exptime, .len = 1};
    return kv_store(s, &value, "x", &cas);
}

static void times(void *arg)
{
    struct kv_session s = kv_test_session(arg);
    int64_t now_s = (int64_t)(clock_real_ns() / NS_PER_S);
    assert_int_equal(set_for(&s, 0), RC_OK);
    assert_int_equal(ttl_of(&s, "k"), -1);
    assert_int_equal(set_for(&s, 100), RC_OK);
    assert_in_range(ttl_of(&s, "k"), 95, 100);
    assert_int_equal(set_for(&s, 30 * 86400), RC_OK);
    assert_in_range(ttl_of(&s, "k"), 30 * 86400 - 5, 30 * 86400);
    assert_int_equal(set_for(&s, now_s + 500), RC_OK);
    assert_in_range(ttl_of(&s, "k"), 495, 501);
    assert_int_equal(set_for(&s, 30 * 86400 + 1), RC_OK); /* in 1970 */
    assert_int_equal(ttl_of(&s, "k"), -99);
    assert_int_equal(set_for(&s, -1), RC_OK);
    assert_int_equal(ttl_of(&s, "k"), -99);
    assert_int_equal(kv_touch(&s, STR("k"), 5), RC_NOT_FOUND);
    assert_int_equal(set_for(&s, 100), RC_OK);
    uint64_t cas = kv_test_cas(&s, "k");
    assert_int_equal(kv_touch(&s, STR("k"), 1000), RC_OK);
    assert_in_range(ttl_of(&s, "k"), 995, 1000);
    assert_int_equal(kv_touch(&s, STR("k"), 0), RC_OK);
    assert_int_equal(ttl_of(&s, "k"), -1);
    const struct kv_get gat = {.key = STR("k"), .touches = true, .exptime = 50};
    struct kv_item item;
    assert_int_equal(kv_get(&s, &gat, &item), RC_OK);
    kv_release(&item);
    assert_in_range(ttl_of(&s, "k"), 45, 50);
    assert_int_equal(kv_test_cas(&s, "k"), cas);
    assert_int_equal(kv_touch(&s, STR("k"), -1), RC_OK);
    assert_int_equal(ttl_of(&s, "k"), -99);
}

static void counting(void *arg)
{
    struct kv_session s = kv_test_session(arg);
    struct kv_arith up = {.key = STR("n"), .delta = 5};
    struct kv_arith down = {.key = STR("n"), .delta = 3, .is_decr = true};
    assert_int_equal(kv_arith(&s, &up), RC_NOT_FOUND);
    assert_int_equal(kv_test_set(&s, "n", "98"), RC_OK);
    assert_int_equal(kv_arith(&s, &up), RC_OK);
    assert_int_equal(up.result, 103);
    assert_int_equal(up.result_cas, kv_test_cas(&s, "n"));
    assert_string_equal(kv_test_get(&s, "n"), "103");
    down.delta = 100;
    assert_int_equal(kv_arith(&s, &down), RC_OK);
    assert_string_equal(kv_test_get(&s, "n"), "3  "); /* it keeps its length */
    assert_int_equal(kv_arith(&s, &up), RC_OK);
    assert_string_equal(kv_test_get(&s, "n"), "8  ");
    assert_int_equal(kv_arith(&s, &down), RC_OK);
    assert_int_equal(down.result, 0);
    assert_int_equal(kv_test_set(&s, "n", "18446744073709551615"), RC_OK);
    assert_int_equal(kv_arith(&s, &up), RC_OK);
    assert_int_equal(up.result, 4);
    static const char *const none[] = {
        "", "x", "-1", "1x", "18446744073709551616", "1 2", "1111111111111111111111111111"};
    for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
        assert_int_equal(kv_test_set(&s, "n", none[i]), RC_OK);
        assert_int_equal(kv_arith(&s, &up), RC_INVALID);
        assert_string_equal(kv_test_get(&s, "n"), none[i]);
    }
    struct kv_arith viv = {
        .key = STR("m"), .delta = 1, .vivifies = true, .initial = 42, .vivify_exptime = 60};
    assert_int_equal(kv_arith(&s, &viv), RC_OK);
    assert_true(viv.was_vivified);
    assert_int_equal(viv.result, 42);
    assert_in_range(viv.result_ttl_s, 55, 60);
    assert_int_equal(kv_arith(&s, &viv), RC_OK);
    assert_false(viv.was_vivified);
    assert_int_equal(viv.result, 43);
    viv.cas = viv.result_cas - 1;
    assert_int_equal(kv_arith(&s, &viv), RC_EXISTS);
    viv.cas = kv_test_cas(&s, "m");
    assert_int_equal(kv_arith(&s, &viv), RC_OK);
}

static struct kv_item look(struct kv_session *s, const struct kv_get *ask)
{
    struct kv_item item;
    assert_int_equal(kv_get(s, ask, &item), RC_OK);
    kv_release(&item);
    return item;
}

/* One client makes a new one, the others are told so. */
static void promises(void *arg)
{
    struct kv_session s = kv_test_session(arg);
    struct kv_get ask = {.key = STR("k"), .vivifies = true, .vivify_exptime = 30};
    struct kv_item item = look(&s, &ask);
    assert_true(item.is_vivified && item.has_won && !item.is_won && !item.is_stale);
    assert_int_equal(item.len, 0);
    item = look(&s, &ask);
    assert_true(!item.is_vivified && !item.has_won && item.is_won);
    assert_int_equal(kv_test_set(&s, "k", "value"), RC_OK);
    item = look(&s, &ask);
    assert_true(!item.has_won && !item.is_won);
    /* Invalidated: stale, until somebody has made a new one. */
    uint64_t before = kv_test_cas(&s, "k");
    struct kv_delete invalidate = {
        .key = STR("k"), .invalidates = true, .sets_ttl = true, .exptime = 30, .cas = 3};
    assert_int_equal(kv_delete(&s, &invalidate), RC_EXISTS);
    invalidate.cas = before;
    assert_int_equal(kv_delete(&s, &invalidate), RC_OK);
    assert_string_equal(kv_test_get(&s, "k"), "value");
    item = look(&s, &ask);
    assert_true(item.is_stale && !item.has_won && item.is_won); /* the `get` before has won */
    assert_true(item.cas > before);
    assert_in_range(item.ttl_s, 25, 30);
    /* What was made of what stood before it is stored, as stale. */
    struct kv_value late = {.key = STR("k"), .cas = before, .invalidates = true, .len = 4};
    uint64_t cas;
    assert_int_equal(kv_store(&s, &late, "late", &cas), RC_OK);
    item = look(&s, &ask);
    /* For as long as that would have lived; and who makes a new one is known already. */
    assert_true(item.is_stale && !item.has_won && item.is_won);
    assert_in_range(item.ttl_s, 25, 30);
    assert_string_equal(kv_test_get(&s, "k"), "late");
    late.cas = cas;
    assert_int_equal(kv_store(&s, &late, "good", &cas), RC_OK);
    item = look(&s, &ask);
    assert_true(!item.is_stale && !item.has_won);
    late.cas = cas + 1;
    assert_int_equal(kv_store(&s, &late, "none", &cas), RC_EXISTS);
    /* Before it expires one may begin. */
    assert_int_equal(kv_touch(&s, STR("k"), 20), RC_OK);
    const struct kv_get early = {.key = STR("k"), .recaches = true, .recache_s = 30};
    item = look(&s, &early);
    assert_true(item.has_won && !item.is_stale);
    item = look(&s, &early);
    assert_true(!item.has_won && item.is_won);
    /* It stays, but empty. */
    struct kv_delete empty = {.key = STR("k"), .empties = true};
    assert_int_equal(kv_delete(&s, &empty), RC_OK);
    item = look(&s, &early);
    assert_int_equal(item.len, 0);
    struct kv_delete gone = {.key = STR("k"), .cas = 1};
    assert_int_equal(kv_delete(&s, &gone), RC_EXISTS);
    gone.cas = 0;
    assert_int_equal(kv_delete(&s, &gone), RC_OK);
    assert_int_equal(kv_delete(&s, &gone), RC_NOT_FOUND);
    assert_int_equal(kv_delete(&s, &invalidate), RC_NOT_FOUND);
}

static void figures(void *arg)
{
    struct kv_session s = kv_test_session(arg);
    uint64_t cas;
    struct kv_value value = {.key = STR("k"), .flags = 0xffffffffu, .new_cas = 12345, .len = 1};
    assert_int_equal(kv_store(&s, &value, "x", &cas), RC_OK);
    assert_int_equal(cas, 12345);
    const struct kv_get peek = {.key = STR("k"), .is_peek = true};
    const struct kv_get use = {.key = STR("k")};
    struct kv_item item = look(&s, &peek);
    assert_int_equal(item.flags, 0xffffffffu);
    assert_int_equal(item.cas, 12345);
    assert_false(item.was_hit);
    assert_false(look(&s, &use).was_hit);
    assert_true(look(&s, &peek).was_hit);
    uint64_t joined = 0;
    assert_int_equal(kv_test_put(&s, KV_APPEND, "k", "y", &joined), RC_OK);
    assert_true(joined != 12345);
    assert_int_equal(look(&s, &peek).flags, 0xffffffffu);
    const struct vsc_objm *n = rig_objm(arg);
    assert_int_equal(n->kv_cmd_set, 2);
    assert_int_equal(n->kv_cmd_get, 4);
    assert_int_equal(n->kv_get_hits, 4);
    assert_int_equal(n->kv_get_misses, 0);
    struct kv_stats stats;
    kv_stat(&s, &stats);
    assert_int_equal(stats.total_items, 2);
    assert_true(stats.items >= 1);
    assert_true(stats.bytes > 0 && stats.bytes < stats.bytes_max);
}

static void flushing(void *arg)
{
    struct kv_session s = kv_test_session(arg);
    struct got page = rig_get(arg, "/page", NULL);
    assert_int_equal(page.status, 200);
    assert_int_equal(kv_test_set(&s, "a", "1"), RC_OK);
    kv_flush_all(&s, 3600);
    assert_string_equal(kv_test_get(&s, "a"), "1");
    kv_flush_all(&s, 0);
    assert_null(kv_test_get(&s, "a"));
    assert_int_equal(kv_test_set(&s, "a", "2"), RC_OK);
    assert_string_equal(kv_test_get(&s, "a"), "2");
    uint64_t cas = 0;
    kv_flush_all(&s, 0);
    assert_int_equal(kv_test_put(&s, KV_REPLACE, "a", "x", &cas), RC_NOT_FOUND);
    struct kv_delete gone = {.key = STR("a")};
    assert_int_equal(kv_delete(&s, &gone), RC_NOT_FOUND);
    assert_int_equal(kv_test_put(&s, KV_ADD, "a", "3", &cas), RC_OK);
    /* Pages are not entries: the backend is not asked again. */
    page = rig_get(arg, "/page", NULL);
    assert_int_equal(page.status, 200);
    assert_int_equal(rig_asked(arg), 1);
    /* A flush that is due. */
    kv_flush_all(&s, 1);
    assert_int_equal(fiber_sleep(2 * NS_PER_S), RC_OK);
    assert_null(kv_test_get(&s, "a"));
}

/* Values come and go in a store that is too small for them: none is half there. */
static void when_it_is_full(void *arg)
{
    struct kv_session s = kv_test_session(arg);
    size_t len = 100000;
    char *bytes = xmalloc(len);
    unsigned stored = 0;
    for (unsigned i = 0; i < 400; i++) {
        char key[16];
        uint64_t cas;
        struct sb sb = sb_of(key, sizeof key);
        sb_u64(&sb, i);
        memset(bytes, (int)('a' + i % 26), len);
        const struct kv_value value = {.key = sb_str(&sb), .len = len};
        enum rc rc = kv_store(&s, &value, bytes, &cas);
        assert_true(rc == RC_OK || rc == RC_NOSPACE);
        stored += rc == RC_OK;
        if (rc != RC_OK) {
            continue;
        }
        const struct kv_get ask = {.key = sb_str(&sb)};
        struct kv_item item;
        assert_int_equal(kv_get(&s, &ask, &item), RC_OK);
        assert_int_equal(item.len, len);
        kv_release(&item);
    }
    assert_true(stored > 300);
    struct kv_stats stats;
    kv_stat(&s, &stats);
    assert_true(stats.evictions > 0);
    free(bytes);
}

#define TEST(name, fn_)                                                                            \
    static void name(void **state)                                                                 \
    {                                                                                              \
        (void)state;                                                                               \
        const struct act act = {.answers = two_answers, .fn = fn_};                                \
        rig_run(&act);                                                                             \
    }
TEST(values_are_stored_and_compared, storing)
TEST(keys_are_bytes, keys)
TEST(values_come_in_pieces, in_pieces)
TEST(times_are_memcacheds, times)
TEST(numbers_are_counted, counting)
TEST(one_client_makes_a_new_one, promises)
TEST(items_say_what_they_are, figures)
TEST(a_flush_ends_entries_and_no_pages, flushing)
TEST(a_full_store_evicts, when_it_is_full)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_stored_and_compared),
        cmocka_unit_test(keys_are_bytes),
        cmocka_unit_test(values_come_in_pieces),
        cmocka_unit_test(times_are_memcacheds),
        cmocka_unit_test(numbers_are_counted),
        cmocka_unit_test(one_client_makes_a_new_one),
        cmocka_unit_test(items_say_what_they_are),
        cmocka_unit_test(a_flush_ends_entries_and_no_pages),
        cmocka_unit_test(a_full_store_evicts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
