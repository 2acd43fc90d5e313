/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * budget.c: counts mappings, the scarce resource (vm.max_map_count).
 *
 * account.c counts what regions need.  The kernel can have more mappings than
 * that: two neighbours with copies made by different writers (anon_vma) do not
 * always merge, and parts that are not registered yet have separate mappings.
 * The sixteenth that the budget leaves free covers these.  Reaching the
 * kernel's own limit is harmless for the engine (the window rolls back), but
 * would leave the rest of the program without mappings, hence the budget.
 *
 * The limit is per process, and so is the account: it has the sum of what all
 * engines of the process use, where each engine keeps its own part up to date
 * (ksm_budget_tell()), and what they may use together.  Before a window an
 * engine checks both.  Two engines can do that at the same time, so each can
 * exceed the limit by two mappings, of some thousands that are free.  The sum
 * is an atomic, so that no thread waits for a lock in a window.  The account's
 * lock is held while the program's other mappings are counted.
 *
 * The other mappings are counted again when they may have changed, depending
 * on what counting costs: when the engines' use has changed by half of their
 * limit since the last count, about once a second while little is left, and
 * from time to time in any case.  A million mappings take a third of a second:
 * a thread that wants the engine aborts the count, and other engines do not
 * wait for it.  vm.max_map_count itself is read for every batch.  If the
 * engines turn out to use too much, shrink.c gives back what frees the most
 * mappings.
 *
 * A child of fork() has none of the regions (MADV_DONTFORK): its account
 * starts at zero.  `generation` distinguishes it from the parent's account,
 * because the child may still free the parent's engines.
 */
#include "core/budget.h"

#include <string.h>

#include "core/engine-private.h"
#include "core/lock.h"
#include "core/pace.h"
#include "memory/page-state.h"
#include "sys.h"

/* Counting reads /proc/self/maps: 0.5 us a mapping.  Minimum interval: */
#define KSM_COUNT_NS (10 * G_GUINT64_CONSTANT(1000000000))
/* The same for an engine with nothing to do. */
#define KSM_COUNT_IDLE_NS G_GUINT64_CONSTANT(600000000000)
#define KSM_COUNT_SHARE 1000u /* at most 1/1000 of the time */
#define KSM_COUNT_SCARCE_NS G_GUINT64_CONSTANT(1000000000)
#define KSM_COUNT_SCARCE_SHARE 50u
/* Interval for reading vm.max_map_count, which takes some microseconds. */
#define KSM_LIMIT_NS 100000000u

static struct {
    /* atomic */
    gint64 used;      /* by all engines of the process */
    gint64 limit;     /* what they may use */
    guint generation; /* changed only in a child of fork() */

    GMutex lock; /* not taken in windows; protects the rest */
    guint64 max_map_count;
    guint64 max_read_ns;
    guint64 others;       /* mappings outside of all regions */
    guint64 counted_used; /* `used` when they were counted */
    guint64 counted_ns;   /* 0: never */
    guint64 cost_ns;      /* of the last count */
} account = { .limit = G_MAXINT64 };

guint64 ksm_budget_used(KsmEngine *engine)
{
    guint64 used = 0;
    guint i;

    for (i = 0; i < engine->ram.regions->len; i++) {
        used +=
            ((KsmRegion *)g_ptr_array_index(engine->ram.regions, i))->mappings;
    }
    return used;
}

static gint64 used_by_all(void)
{
    return __atomic_load_n(&account.used, __ATOMIC_RELAXED);
}

static gint64 limit_of_all(void)
{
    return __atomic_load_n(&account.limit, __ATOMIC_RELAXED);
}

static gint64 add_used(gint64 mappings)
{
    return __atomic_add_fetch(&account.used, mappings, __ATOMIC_RELAXED);
}

/*
 * In a child of fork(): what the engine recorded was in the parent's account.
 */
static void check_generation(KsmEngine *engine)
{
    if (engine->budget.generation != account.generation) {
        engine->budget.generation = account.generation;
        engine->budget.reported = engine->budget.claimed = 0;
    }
}

void ksm_budget_tell_regions(KsmEngine *engine)
{
    guint64 used = ksm_budget_used(engine);

    check_generation(engine);
    if (used != engine->budget.reported) {
        add_used((gint64)(used - engine->budget.reported));
        engine->budget.reported = used;
    }
}

void ksm_budget_tell(KsmEngine *engine)
{
    ksm_budget_tell_regions(engine);
    if (engine->budget.claimed) {
        add_used(-(gint64)engine->budget.claimed);
        engine->budget.claimed = 0;
    }
}

void ksm_budget_leave(KsmEngine *engine)
{
    check_generation(engine);
    add_used(-(gint64)(engine->budget.reported + engine->budget.claimed));
    engine->budget.reported = engine->budget.claimed = 0;
}

gboolean ksm_budget_claim(KsmEngine *engine, guint mappings)
{
    check_generation(engine);
    if (add_used(mappings) > limit_of_all()) {
        add_used(-(gint64)mappings);
        return FALSE;
    }
    engine->budget.claimed += mappings;
    return TRUE;
}

gboolean ksm_budget_allows(KsmEngine *engine, guint32 length, gint64 delta)
{
    guint64 share = length >= KSM_BUDGET_LONG ? 16 :
                    length >= 8               ? 15 :
                    length >= 2               ? 14 :
                                                12;

    return delta <= 0 || engine->budget.shrinking ||
           (ksm_budget_used(engine) + (guint64)delta <=
                engine->budget.allowed * share / 16 &&
            used_by_all() + delta <= limit_of_all());
}

void ksm_budget_reset_in_child(void)
{
    guint generation = account.generation + 1;

    /* The thread that held the lock does not exist in the child either. */
    memset(&account, 0, sizeof(account));
    g_mutex_init(&account.lock);
    account.generation = generation;
    account.limit = G_MAXINT64;
}

/* This and the following functions: under the account's lock. */
static gboolean is_count_due(guint64 now, guint64 period_ns)
{
    guint64 since = now - account.counted_ns;
    gint64 used = used_by_all(), limit = limit_of_all();
    guint64 change = (guint64)ABS(used - (gint64)account.counted_used);

    return !account.counted_ns || change > (guint64)limit / 2 ||
           since >= MAX(period_ns, account.cost_ns * KSM_COUNT_SHARE) ||
           (change > 0 && limit - used < limit / 8 &&
            since >= MAX(KSM_COUNT_SCARCE_NS,
                         account.cost_ns * KSM_COUNT_SCARCE_SHARE));
}

/*
 * Other engines keep running meanwhile, so the count may or may not include
 * what they add.  If it does, that counts as the program's own until the next
 * count, so it is left free.
 */
static void count_others(KsmEngine *engine, guint64 now)
{
    guint64 start_ns = ksm_sys_thread_cpu_ns();
    gint64 before = used_by_all(), used;
    guint64 all = ksm_sys->count_mappings(&engine->lock.interrupt);

    if (!all && ksm_lock_waited_for(engine)) {
        return;
    }
    used = MIN(before, used_by_all());
    account.others = all > (guint64)used ? all - (guint64)used : 1;
    account.counted_used = (guint64)used;
    account.counted_ns = now;
    account.cost_ns = ksm_sys_thread_cpu_ns() - start_ns;
}

static void set_limit(void)
{
    guint64 left = account.max_map_count > account.others ?
                       account.max_map_count - account.others :
                       0;
    guint64 spare = MAX(left / 16, KSM_BUDGET_SPARE);

    __atomic_store_n(&account.limit, (gint64)(left - MIN(left, spare)),
                     __ATOMIC_RELAXED);
}

/* Whether an idle engine need not look often what the program maps. */
static gboolean is_far_from_limit(const KsmEngine *engine)
{
    return engine->due.vain && used_by_all() < limit_of_all() / 2;
}

static void update_limit(KsmEngine *engine)
{
    guint64 now = ksm_sys_now_ns();

    if (limit_of_all() == G_MAXINT64) {
        g_mutex_lock(&account.lock); /* first count */
    } else if (!g_mutex_trylock(&account.lock)) {
        return; /* another engine is counting */
    }
    if (now - account.max_read_ns > KSM_LIMIT_NS) {
        account.max_map_count = ksm_sys->max_map_count();
        account.max_read_ns = now;
    }
    if (is_count_due(now, is_far_from_limit(engine) ? KSM_COUNT_IDLE_NS :
                                                      KSM_COUNT_NS)) {
        count_others(engine, now);
    }
    set_limit();
    g_mutex_unlock(&account.lock);
}

guint64 ksm_budget_compute(KsmEngine *engine)
{
    guint option = g_atomic_int_get(&engine->tunables.max_mappings);
    gint64 left;

    ksm_budget_tell_regions(engine);
    update_limit(engine);
    left = limit_of_all() - used_by_all() + (gint64)engine->budget.reported;
    left = MAX(left, 0);
    return option ? MIN(option, (guint64)left) : (guint64)left;
}

guint64 ksm_budget_excess(KsmEngine *engine)
{
    gint64 used = used_by_all(), excess = used - limit_of_all();

    return excess <= 0 ?
               0 :
               (guint64)excess * engine->budget.reported / (guint64)used + 1;
}
