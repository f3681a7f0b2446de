/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
/* Timers: a hierarchical wheel of ticks of 2^19 ns (0.52 ms).
 *
 *   level 0   64 slots of 1 tick        the next 34 ms
 *   level 1   64 slots of 64 ticks      the next 2.1 s
 *   ...
 *   level 6   64 slots of 64^6 ticks    73 years
 *
 * A timer stands on the level of the highest group of six bits in which its tick differs from the
 * present one.  So on each level only slots after the present one are in use, all of level 0 comes
 * before any of level 1, and the next slot is the lowest bit of the lowest level that has one: both
 * arming and finding the next are O(1).  When time enters a slot of a higher level, its timers
 * are armed again and land lower (each at most six times in its life).
 *
 * Deadlines mostly move later, and mostly never come: a connection's idle timer is moved on each
 * request.  So moving later only writes when_ns, touching no neighbour; the timer keeps its earlier
 * slot and is armed again when that slot comes up.  For the same reason a removal does not clear
 * the slot's bit: an empty slot that is found later clears it.
 *
 * A tick is the time rounded up, so no timer is early. */
#include "run/run_priv.h"

enum { TICK_SHIFT = 19 };

/* What lies beyond the top level (73 years of uptime) never comes. */
static const uint64_t TICK_MAX = (UINT64_C(1) << (WHEEL_BITS * WHEEL_LEVELS)) - 1;

static uint64_t tick_ceil(uint64_t ns)
{
    return (ns >> TICK_SHIFT) + ((ns & ((UINT64_C(1) << TICK_SHIFT) - 1)) != 0);
}

void wheel__init(struct wheel *wheel, uint64_t now_ns)
{
    wheel->now_tick = now_ns >> TICK_SHIFT;
    CHECK(wheel->now_tick < TICK_MAX);
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        wheel->occupied[level] = 0;
        for (unsigned slot = 0; slot < WHEEL_SLOTS; slot++) {
            list_init(&wheel->slots[level][slot]);
        }
    }
    list_init(&wheel->due);
}

static void place(struct wheel *wheel, struct timer *timer)
{
    uint64_t tick = tick_ceil(timer->when_ns);
    if (tick <= wheel->now_tick) {
        list_push_back(&wheel->due, &timer->link);
        return;
    }
    uint64_t differs = tick ^ wheel->now_tick;
    unsigned level = (63U - (unsigned)__builtin_clzll(differs)) / WHEEL_BITS;
    CHECK(level < WHEEL_LEVELS);
    unsigned slot = (unsigned)(tick >> (level * WHEEL_BITS)) & (WHEEL_SLOTS - 1);
    list_push_back(&wheel->slots[level][slot], &timer->link);
    wheel->occupied[level] |= UINT64_C(1) << slot;
}

void wheel__disarm(struct timer *timer)
{
    if (timer->fn != NULL) {
        list_remove(&timer->link);
        timer->fn = NULL;
    }
}

void wheel__arm(struct wheel *wheel, struct timer *timer, uint64_t when_ns, timer_fn *fn)
{
    CHECK(fn != NULL);
    bool comes = tick_ceil(when_ns) <= TICK_MAX;
    if (timer->fn != NULL && when_ns >= timer->when_ns && comes) {
        timer->when_ns = when_ns;
        timer->fn = fn;
        return;
    }
    wheel__disarm(timer);
    if (!comes) {
        return;
    }
    timer->when_ns = when_ns;
    timer->fn = fn;
    place(wheel, timer);
}

/* The lowest slot in use and its level; false when there is none. */
static bool find_next(struct wheel *wheel, unsigned *level, unsigned *slot)
{
    for (unsigned l = 0; l < WHEEL_LEVELS; l++) {
        while (wheel->occupied[l] != 0) {
            unsigned s = (unsigned)__builtin_ctzll(wheel->occupied[l]);
            if (!list_is_empty(&wheel->slots[l][s])) {
                *level = l;
                *slot = s;
                return true;
            }
            wheel->occupied[l] &= ~(UINT64_C(1) << s);
        }
    }
    return false;
}

/* The tick at which a slot begins, seen from now_tick. */
static uint64_t slot_tick(const struct wheel *wheel, unsigned level, unsigned slot)
{
    unsigned shift = level * WHEEL_BITS;
    uint64_t above = wheel->now_tick >> (shift + WHEEL_BITS) << (shift + WHEEL_BITS);
    return above | ((uint64_t)slot << shift);
}

void wheel__advance(struct wheel *wheel, uint64_t now_ns)
{
    uint64_t now_tick = now_ns >> TICK_SHIFT;
    unsigned level;
    unsigned slot;
    while (wheel->now_tick < now_tick && find_next(wheel, &level, &slot)) {
        uint64_t tick = slot_tick(wheel, level, slot);
        if (tick > now_tick) {
            break;
        }
        CHECK(tick > wheel->now_tick);
        wheel->now_tick = tick;
        wheel->occupied[level] &= ~(UINT64_C(1) << slot);
        struct list *head = &wheel->slots[level][slot];
        for (struct list *node = list_pop_front(head); node != NULL; node = list_pop_front(head)) {
            place(wheel, CONTAINER_OF(node, struct timer, link));
        }
    }
    if (wheel->now_tick < now_tick) {
        wheel->now_tick = now_tick;
    }
}

uint64_t wheel__next_ns(struct wheel *wheel)
{
    unsigned level;
    unsigned slot;
    if (!list_is_empty(&wheel->due)) {
        return wheel->now_tick << TICK_SHIFT;
    }
    if (!find_next(wheel, &level, &slot)) {
        return NEVER;
    }
    return slot_tick(wheel, level, slot) << TICK_SHIFT;
}

unsigned wheel__fire(struct wheel *wheel, struct loop *loop, uint64_t now_ns)
{
    wheel__advance(wheel, now_ns);
    /* A timer that its own function arms for now waits for the next tick of the loop, so this ends.
     * The batch is a list of its own because functions may disarm others that are in it. */
    struct list batch;
    list_init(&batch);
    if (!list_is_empty(&wheel->due)) {
        list_insert_before(wheel->due.next, &batch);
        list_remove(&wheel->due);
    }
    unsigned fired = 0;
    for (struct list *node = list_pop_front(&batch); node != NULL; node = list_pop_front(&batch)) {
        struct timer *timer = CONTAINER_OF(node, struct timer, link);
        if (timer->when_ns > now_ns) {
            place(wheel, timer);
            continue;
        }
        timer_fn *fn = timer->fn;
        timer->fn = NULL;
        fn(timer, loop);
        fired++;
    }
    return fired;
}

void timer_arm(struct loop *loop, struct timer *timer, uint64_t when_ns, timer_fn *fn)
{
    CHECK_OBJ(loop, LOOP_MAGIC);
    CHECK(loop == loop_self());
    wheel__arm(&loop->wheel, timer, when_ns, fn);
}

void timer_disarm(struct loop *loop, struct timer *timer)
{
    CHECK_OBJ(loop, LOOP_MAGIC);
    CHECK(loop == loop_self());
    wheel__disarm(timer);
}
