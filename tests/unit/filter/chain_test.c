/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
#include "codec_run.h"

#include "run/run.h"
#include "support/run_fiber.h"

/* ---- codecs that show what a chain does ---- */

/* Each byte twice; takes one byte at a time into its state, so that room ends anywhere. */
struct twice {
    char byte;
    unsigned left;
};

static enum rc twice_step(void *self, struct codec_io *io)
{
    struct twice *t = self;
    while (io->room > 0) {
        if (t->left == 0) {
            if (io->in_len == 0) {
                return io->is_end ? RC_EOF : RC_OK;
            }
            t->byte = *io->in++;
            io->in_len--;
            t->left = 2;
        }
        *io->out++ = t->byte;
        io->room--;
        t->left--;
    }
    return RC_OK;
}
static const struct codec twice = {.bytes = sizeof(struct twice), .step = twice_step};

/* The first five bytes. */
static enum rc five_step(void *self, struct codec_io *io)
{
    unsigned *made = self;
    while (io->room > 0 && io->in_len > 0 && *made < 5) {
        *io->out++ = *io->in++;
        io->in_len--;
        io->room--;
        ++*made;
    }
    return *made == 5 || (io->is_end && io->in_len == 0) ? RC_EOF : RC_OK;
}
static const struct codec five = {.bytes = sizeof(unsigned), .step = five_step};

/* A tail behind everything. */
static enum rc tail_step(void *self, struct codec_io *io)
{
    unsigned *made = self;
    while (io->room > 0 && io->in_len > 0) {
        *io->out++ = *io->in++;
        io->in_len--;
        io->room--;
    }
    while (io->is_end && io->in_len == 0 && io->room > 0 && *made < 4) {
        *io->out++ = "tail"[(*made)++];
        io->room--;
    }
    return *made == 4 ? RC_EOF : RC_OK;
}
static const struct codec tail = {.bytes = sizeof(unsigned), .step = tail_step};

struct seen {
    unsigned looks, ends;
    uint64_t bytes;
    const char *last;
};

struct spy {
    struct seen *seen;
};
static enum rc spy_begin(void *self, const struct filter_env *env)
{
    union {
        const void *arg;
        struct seen *seen;
    } arg = {env->arg};
    ((struct spy *)self)->seen = arg.seen;
    return RC_OK;
}
static enum rc spy_look(void *self, const char *ptr, size_t len, bool is_end)
{
    struct seen *seen = ((struct spy *)self)->seen;
    assert_int_equal(seen->ends, 0);
    seen->looks++;
    seen->bytes += len;
    seen->ends += is_end;
    seen->last = ptr;
    return len > 0 && memmem(ptr, len, "bad!", 4) != NULL ? RC_MALFORMED : RC_OK;
}
static const struct codec spy = {.bytes = sizeof(struct spy), .begin = spy_begin, .look = spy_look};

/* All in one piece. */
struct heap {
    struct bytes bytes;
};
static enum rc heap_step(void *self, struct codec_io *io)
{
    struct heap *heap = self;
    bytes_add(&heap->bytes, io->in, io->in_len);
    io->in += io->in_len;
    io->in_len = 0;
    return io->is_end ? RC_EOF : RC_OK;
}
static struct str heap_whole(void *self)
{
    struct heap *heap = self;
    return (struct str){heap->bytes.ptr, heap->bytes.len};
}
static void heap_end(void *self)
{
    bytes_free(&((struct heap *)self)->bytes);
}
static const struct codec heap = {
    .bytes = sizeof(struct heap), .step = heap_step, .end = heap_end, .whole = heap_whole};

static enum rc stuck_step(void *self, struct codec_io *io)
{
    (void)self;
    (void)io;
    return RC_OK;
}
static const struct codec stuck = {.step = stuck_step};

static unsigned begun;
static enum rc count_begin(void *self, const struct filter_env *env)
{
    (void)self;
    begun++;
    return env->arg == NULL ? RC_OK : RC_LIMIT;
}
static void count_end(void *self)
{
    (void)self;
    begun--;
}
static const struct codec counting = {.begin = count_begin, .step = tail_step, .end = count_end};

/* ---- tests ---- */

static void a_chain_of_nothing_passes_everything(void **state)
{
    (void)state;
    struct way way = {.env = WAY_ENV};
    way_all(&way, "hello", 5, RC_OK, "hello", 5);
    way_all(&way, "", 0, RC_OK, "", 0);
}

static void any_cut_gives_the_same_bytes(void **state)
{
    (void)state;
    struct way one = {.codecs = {&twice}, .env = WAY_ENV};
    way_all(&one, "abc", 3, RC_OK, "aabbcc", 6);
    way_all(&one, "", 0, RC_OK, "", 0);
    struct way three = {.codecs = {&twice, &tail, &twice}, .env = WAY_ENV};
    way_all(&three, "ab", 2, RC_OK, "aaaabbbbttaaiill", 16);
    way_all(&three, "", 0, RC_OK, "ttaaiill", 8);
    struct bytes text = text_of(70000, 1);
    struct bytes want = {NULL, 0, 0};
    for (size_t n = 0; n < text.len; n++) {
        bytes_add(&want, (char[]){text.ptr[n], text.ptr[n], text.ptr[n], text.ptr[n]}, 4);
    }
    struct way two = {.codecs = {&twice, &twice}, .env = WAY_ENV};
    way_all(&two, text.ptr, text.len, RC_OK, want.ptr, want.len);
    bytes_free(&text);
    bytes_free(&want);
}

static void a_codec_may_end_before_its_input(void **state)
{
    (void)state;
    struct way way = {.codecs = {&five}, .env = WAY_ENV};
    way_all(&way, "hello, world", 12, RC_OK, "hello", 5);
    way_all(&way, "hell", 4, RC_OK, "hell", 4);
    struct way more = {.codecs = {&twice, &five, &tail, &twice}, .env = WAY_ENV};
    struct bytes text = text_of(100000, 1);
    text.ptr[0] = 'a';
    text.ptr[1] = 'b';
    text.ptr[2] = 'c';
    way_all(&more, text.ptr, text.len, RC_OK, "aaaabbbbccttaaiill", 18);
    bytes_free(&text);
}

static void taps_see_everything_and_one_end(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 200; n++) {
        struct seen seen[3] = {{0, 0, 0, NULL}};
        struct way way = {.codecs = {&spy, &twice, &spy, &spy},
                          .args = {&seen[0], NULL, &seen[1], &seen[2]},
                          .is_push = n % 2 == 0,
                          .in_max = n % 3,
                          .out_max = n % 5,
                          .late_end = n % 7 == 0,
                          .seed = n,
                          .env = WAY_ENV};
        assert_int_equal(way_run(&way, "body of sorts", n % 14), RC_OK);
        assert_int_equal(way.out.len, 2 * (n % 14));
        assert_int_equal(seen[0].bytes, n % 14);
        assert_int_equal(seen[1].bytes, 2 * (n % 14));
        assert_int_equal(seen[2].bytes, 2 * (n % 14));
        for (unsigned m = 0; m < 3; m++) {
            assert_int_equal(seen[m].ends, 1);
        }
        bytes_free(&way.out);
    }
}

static void a_tap_ends_the_chain_before_its_bytes_are_out(void **state)
{
    (void)state;
    struct seen seen = {0, 0, 0, NULL};
    struct way way = {.codecs = {&spy}, .args = {&seen}, .env = WAY_ENV};
    assert_int_equal(way_run(&way, "bad!", 4), RC_MALFORMED);
    assert_int_equal(way.out_bytes, 0);
    assert_string_equal(way.notes.error, "step0: malformed");
    seen = (struct seen){0, 0, 0, NULL};
    way.is_push = true;
    assert_int_equal(way_run(&way, "bad!", 4), RC_MALFORMED);
    assert_int_equal(way.out_bytes, 0);
    bytes_free(&way.out);
}

/* What a tap alone is pushed goes on from where it lies, what it pulls is read to where it goes. */
struct place {
    const char *at;
    unsigned calls;
};
static enum rc place_sink(void *arg, const void *ptr, size_t len)
{
    struct place *place = arg;
    (void)len;
    place->at = ptr;
    place->calls++;
    return RC_OK;
}
static enum rc place_source(void *arg, void *dst, size_t bytes, size_t *got)
{
    ((struct place *)arg)->at = dst;
    memset(dst, 'x', bytes);
    *got = bytes;
    return RC_OK;
}

static struct chain *chain_of(const struct codec *const *codecs, const void *const *args,
                              unsigned count)
{
    struct filter filters[CODECS_MAX];
    struct plan_step steps[CODECS_MAX];
    for (unsigned n = 0; n < count; n++) {
        filters[n] = (struct filter){.name = STR("codec"), .codec = codecs[n]};
        steps[n] = (struct plan_step){.filter = &filters[n], .arg = args[n]};
    }
    struct plan plan = {.steps = steps, .steps_count = count};
    struct filter_env env = WAY_ENV;
    struct chain *chain;
    assert_int_equal(chain_new(&plan, 0, count, &env, &chain, NULL), RC_OK);
    return chain;
}

static void a_tap_costs_no_copy(void **state)
{
    (void)state;
    struct seen seen = {0, 0, 0, NULL};
    struct chain *chain = chain_of((const struct codec *[]){&spy}, (const void *[]){&seen}, 1);
    struct place place = {NULL, 0};
    char body[100] = "", dst[1000];
    assert_int_equal(chain_push(chain, body, sizeof body, false, place_sink, &place), RC_OK);
    assert_ptr_equal(place.at, body);
    assert_int_equal(place.calls, 1);
    size_t got;
    assert_int_equal(chain_pull(chain, place_source, &place, dst, sizeof dst, &got), RC_OK);
    assert_ptr_equal(place.at, dst);
    assert_ptr_equal(seen.last, dst);
    assert_int_equal(got, sizeof dst);
    chain_free(&chain);
}

static void a_whole_body_comes_in_one_piece(void **state)
{
    (void)state;
    struct bytes text = text_of(100000, 2);
    struct seen seen = {0, 0, 0, NULL};
    struct way way = {
        .codecs = {&heap, &spy, &tail}, .args = {NULL, &seen}, .in_max = 100, .env = WAY_ENV};
    assert_int_equal(way_run(&way, text.ptr, text.len), RC_OK);
    assert_int_equal(way.out.len, text.len + 4);
    assert_memory_equal(way.out.ptr, text.ptr, text.len);
    assert_int_equal(seen.looks, 7); /* in pieces that take no long time */
    assert_int_equal(seen.bytes, text.len);
    bytes_free(&way.out);
    struct way last = {.codecs = {&twice, &heap}, .env = WAY_ENV};
    way_all(&last, "abc", 3, RC_OK, "aabbcc", 6);
    way_all(&last, "", 0, RC_OK, "", 0);
    struct place place = {NULL, 0};
    struct chain *chain = chain_of((const struct codec *[]){&heap}, (const void *[]){NULL}, 1);
    assert_int_equal(chain_push(chain, text.ptr, text.len, true, place_sink, &place), RC_OK);
    assert_int_equal(place.calls, 1);
    chain_free(&chain);
    bytes_free(&text);
}

static void growth_has_a_ceiling(void **state)
{
    (void)state;
    struct bytes text = text_of(100000, 3);
    struct way way = {.codecs = {&twice, &twice, &twice}, .env = WAY_ENV, .drops = true};
    way.env.expand_bytes_max = 800000;
    assert_int_equal(way_run(&way, text.ptr, text.len), RC_OK);
    way.env.expand_bytes_max = 799999;
    for (unsigned n = 0; n < 2; n++) {
        way.is_push = n == 1;
        assert_int_equal(way_run(&way, text.ptr, text.len), RC_TOO_LONG);
        assert_true(way.out_bytes < 800000);
        assert_string_equal(way.notes.error, "step2: the body gets too long");
    }
    /* All of them together make eight times as much. */
    way.env.expand_bytes_max = 0;
    way.env.expand_ratio_max = 8;
    assert_int_equal(way_run(&way, text.ptr, text.len), RC_OK);
    way.env.expand_ratio_max = 7;
    assert_int_equal(way_run(&way, text.ptr, text.len), RC_TOO_LONG);
    assert_true(way.out_bytes < 100000);
    assert_string_equal(way.notes.error, "step2: the body expands too much");
    way.env.expand_floor_bytes = 400000;
    assert_int_equal(way_run(&way, text.ptr, text.len), RC_TOO_LONG);
    assert_true(way.out_bytes >= 300000);
    way.env.expand_floor_bytes = 800000;
    assert_int_equal(way_run(&way, text.ptr, text.len), RC_OK);
    bytes_free(&text);
}

static void errors_stick(void **state)
{
    (void)state;
    struct way way = {.codecs = {&twice, &stuck}, .env = WAY_ENV};
    way_all(&way, "abc", 3, RC_INVALID, NULL, 0);
    way_all(&way, "", 0, RC_INVALID, NULL, 0);
    struct chain *chain = chain_of((const struct codec *[]){&stuck}, (const void *[]){NULL}, 1);
    for (unsigned n = 0; n < 2; n++) {
        assert_int_equal(chain_push(chain, "a", 1, false, way_sink, NULL), RC_INVALID);
    }
    size_t got;
    char c;
    assert_int_equal(chain_pull(chain, way_source, NULL, &c, 1, &got), RC_INVALID);
    assert_true(str_eq(chain_failed(chain), STR("codec")));
    chain_free(&chain);
}

static enum rc failing_source(void *arg, void *dst, size_t bytes, size_t *got)
{
    (void)arg;
    (void)dst;
    (void)bytes;
    *got = 0;
    return RC_RESET;
}
static enum rc failing_sink(void *arg, const void *ptr, size_t bytes)
{
    (void)arg;
    (void)ptr;
    (void)bytes;
    return RC_TIMEOUT;
}

static void errors_of_source_and_sink_are_nobodys(void **state)
{
    (void)state;
    const struct codec *codecs[] = {&twice, &twice};
    const void *args[] = {NULL, NULL};
    struct chain *chain = chain_of(codecs, args, 2);
    char c;
    size_t got;
    assert_int_equal(chain_pull(chain, failing_source, NULL, &c, 1, &got), RC_RESET);
    assert_null(chain_failed(chain).ptr);
    chain_free(&chain);
    chain = chain_of(codecs, args, 2);
    assert_int_equal(chain_push(chain, "a", 1, false, failing_sink, NULL), RC_TIMEOUT);
    assert_int_equal(chain_push(chain, "a", 1, true, failing_sink, NULL), RC_TIMEOUT);
    assert_null(chain_failed(chain).ptr);
    chain_free(&chain);
}

static void what_began_ends(void **state)
{
    (void)state;
    struct filter filters[] = {{.name = STR("one"), .codec = &counting},
                               {.name = STR("none")},
                               {.name = STR("two"), .codec = &counting},
                               {.name = STR("three"), .codec = &counting}};
    struct plan_step steps[] = {{.filter = &filters[0]},
                                {.filter = &filters[1]},
                                {.filter = &filters[2], .arg = "no"},
                                {.filter = &filters[3]}};
    struct plan plan = {.steps = steps, .steps_count = 4};
    struct filter_env env = WAY_ENV;
    struct chain *chain;
    struct str failed;
    begun = 0;
    assert_int_equal(chain_new(&plan, 0, 4, &env, &chain, &failed), RC_LIMIT);
    assert_true(str_eq(failed, STR("two")));
    assert_null(chain);
    assert_int_equal(begun, 0);
    /* Only those that are asked for, and have a codec. */
    assert_int_equal(chain_new(&plan, 0, 2, &env, &chain, &failed), RC_OK);
    assert_int_equal(chain_count(chain), 1);
    assert_int_equal(begun, 1);
    chain_free(&chain);
    assert_int_equal(begun, 0);
    chain_free(&chain);
}

static void sums_tell_what_went_through(void **state)
{
    (void)state;
    const struct codec *codecs[] = {&twice, &five, &tail};
    const void *args[] = {NULL, NULL, NULL};
    struct chain *chain = chain_of(codecs, args, 3);
    struct way way = {.drops = true};
    assert_int_equal(chain_push(chain, "abcdef", 6, true, way_sink, &way), RC_OK);
    static const unsigned sums[][2] = {{6, 12}, {5, 5}, {5, 9}};
    for (unsigned n = 0; n < 3; n++) {
        uint64_t in, out;
        chain_sums(chain, n, &in, &out);
        assert_int_equal(in, sums[n][0]);
        assert_int_equal(out, sums[n][1]);
    }
    assert_int_equal(way.out_bytes, 9);
    assert_true(chain_is_done(chain));
    assert_int_equal(chain_push(chain, "more", 4, true, failing_sink, NULL), RC_OK);
    chain_free(&chain);
}

/* A long body without a wait in it lets others run. */
static void beside(void *arg)
{
    *(bool *)arg = true;
}
/* Takes all it gets, and makes nothing. */
static enum rc sink_step(void *self, struct codec_io *io)
{
    size_t *most = self;
    *most = io->in_len > *most ? io->in_len : *most;
    assert_true(*most <= 100000);
    io->in += io->in_len;
    io->in_len = 0;
    return io->is_end ? RC_EOF : RC_OK;
}
static const struct codec takes_all = {.bytes = sizeof(size_t), .step = sink_step};

static void long_push(void *arg)
{
    bool *has_run = arg;
    struct seen seen = {0, 0, 0, NULL};
    struct bytes text = text_of(1000000, 4);
    const struct codec *const codecs[] = {&twice, &spy, &takes_all};
    for (unsigned n = 0; n < 3; n++) {
        *has_run = false;
        struct chain *chain = chain_of(&codecs[n], (const void *[]){&seen}, 1);
        struct way way = {.drops = true};
        assert_int_equal(fiber_start(beside, has_run, "beside"), RC_OK);
        assert_int_equal(chain_push(chain, text.ptr, text.len, true, way_sink, &way), RC_OK);
        assert_true(*has_run);
        chain_free(&chain);
    }
    assert_int_equal(seen.bytes, text.len);
    assert_int_equal(seen.ends, 1);
    bytes_free(&text);
}

/* A codec is told how much comes in, but not what others make of it. */
static size_t told[3];
static enum rc told_begin(void *self, const struct filter_env *env)
{
    (void)self;
    assert_true(str_eq(env->filter->name, STR("codec")));
    told[*(const unsigned *)env->arg] = env->body_len;
    return RC_OK;
}
static enum rc told_look(void *self, const char *ptr, size_t len, bool is_end)
{
    (void)self;
    (void)ptr;
    (void)len;
    (void)is_end;
    return RC_OK;
}
static const struct codec told_tap = {.begin = told_begin, .look = told_look};
static const struct codec told_stage = {.begin = told_begin, .step = stuck_step};

static void lengths_are_of_what_comes_in(void **state)
{
    (void)state;
    struct filter filters[] = {{.name = STR("codec"), .codec = &told_tap},
                               {.name = STR("codec"), .codec = &told_stage}};
    static const unsigned at[] = {0, 1, 2};
    struct plan_step steps[] = {{.filter = &filters[0], .arg = &at[0]},
                                {.filter = &filters[1], .arg = &at[1]},
                                {.filter = &filters[1], .arg = &at[2]}};
    struct plan plan = {.steps = steps, .steps_count = 3};
    struct filter_env env = WAY_ENV;
    env.body_len = 5;
    struct chain *chain;
    assert_int_equal(chain_new(&plan, 0, 3, &env, &chain, NULL), RC_OK);
    assert_int_equal(told[0], 5);
    assert_int_equal(told[1], 5);
    assert_true(told[2] == SIZE_MAX);
    chain_free(&chain);
}

static void long_work_lets_others_run(void **state)
{
    (void)state;
    bool has_run = false;
    run_once(long_push, &has_run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chain_of_nothing_passes_everything),
        cmocka_unit_test(any_cut_gives_the_same_bytes),
        cmocka_unit_test(a_codec_may_end_before_its_input),
        cmocka_unit_test(taps_see_everything_and_one_end),
        cmocka_unit_test(a_tap_ends_the_chain_before_its_bytes_are_out),
        cmocka_unit_test(a_tap_costs_no_copy),
        cmocka_unit_test(a_whole_body_comes_in_one_piece),
        cmocka_unit_test(growth_has_a_ceiling),
        cmocka_unit_test(errors_stick),
        cmocka_unit_test(errors_of_source_and_sink_are_nobodys),
        cmocka_unit_test(what_began_ends),
        cmocka_unit_test(sums_tell_what_went_through),
        cmocka_unit_test(lengths_are_of_what_comes_in),
        cmocka_unit_test(long_work_lets_others_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
