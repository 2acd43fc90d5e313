/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-weeks.c: sharing that lasts: processes that rewrite all that they
 * share, again and again, as guests do over weeks.
 *
 * In a cycle every page of every process gets content that is new to the group
 * and the same in all processes, in small pieces, in random order, while
 * merging goes on.  After each cycle as much must be shared as at first, with
 * as few slots, and nothing may grow from cycle to cycle: slots, bytes of the
 * store, mappings, descriptors, the broker's memory.
 *
 * Six cycles, or as many as fit into a twentieth of KSM_TEST_SECONDS.
 */
#include <inttypes.h>
#include <string.h>

#include "broker-proc.h"
#include "probe.h"
#include "remote-engine.h"
#include "require.h"

#define REMOTES 3u
#define PAGES 2048u
#define ALL_PAGES (REMOTES * PAGES)
#define MAX_PIECE 48u
/*
 * A piece that is written anew is 24 pages long on average, and is merged
 * between two others.  How many of them are merged together depends on the time
 * that passes between them: 48 to 175 mappings were seen.
 */
#define MAX_MAPPINGS (PAGES / 8)
#define MIN_CYCLES 6u
#define SETTLE_SECONDS 120.0

typedef struct Piece {
    guint remote;
    guint32 first;
    guint32 count;
} Piece;

/* What must not grow. */
typedef struct Size {
    guint64 slots;
    guint64 store_kib;
    guint64 mappings; /* the most of any process */
    guint64 fds;      /* of all processes */
    guint64 private_kib;
    guint64 broker_kib;
} Size;

typedef struct Fixture {
    KsmTestBroker *broker;
    KsmTestProbe *probe;
    KsmRemote *remotes[REMOTES];
    guint64 random;
} Fixture;

static void set_up(Fixture *s)
{
    KsmRemoteSpec spec = { .pages = PAGES, .tells_held = TRUE };

    s->random = (guint64)g_test_rand_int();
    s->broker = ksm_test_broker_new(NULL);
    s->probe = ksm_test_probe_new(s->broker->socket, "test");
    g_assert_nonnull(s->probe);
    spec.socket = s->broker->socket;
    ksm_remotes_new(s->remotes, REMOTES, &spec);
}

static void tear_down(Fixture *s)
{
    guint i;

    for (i = 0; i < REMOTES; i++) {
        ksm_remote_free(s->remotes[i]);
    }
    ksm_test_probe_free(s->probe);
    ksm_test_broker_free(s->broker);
}

/* All memory of all processes, cut into pieces, shuffled. */
static GArray *cut(guint64 *random)
{
    GArray *pieces = g_array_new(FALSE, FALSE, sizeof(Piece));
    guint i;

    for (i = 0; i < REMOTES; i++) {
        guint32 at = 0;

        while (at < PAGES) {
            guint32 count = 1 + (guint32)ksm_test_below(random, MAX_PIECE);
            Piece piece = { i, at, MIN(count, PAGES - at) };

            g_array_append_val(pieces, piece);
            at += piece.count;
        }
    }
    for (i = pieces->len; i > 1; i--) {
        guint j = (guint)ksm_test_below(random, i);
        Piece *a = &g_array_index(pieces, Piece, i - 1);
        Piece *b = &g_array_index(pieces, Piece, j);
        Piece saved = *a;

        *a = *b;
        *b = saved;
    }
    return pieces;
}

static guint64 cycle_seed(guint cycle)
{
    return (guint64)(cycle + 1) << 32;
}

static void rewrite(Fixture *s, guint cycle)
{
    g_autoptr(GArray) pieces = cut(&s->random);
    guint i;

    for (i = 0; i < pieces->len; i++) {
        const Piece *piece = &g_array_index(pieces, Piece, i);

        ksm_remote_fill(s->remotes[piece->remote], piece->first, piece->count,
                        KSM_TEST_SEEDED, cycle_seed(cycle), TRUE);
    }
}

static void check_content(Fixture *s, guint cycle)
{
    guint i;

    for (i = 0; i < REMOTES; i++) {
        g_assert_cmpuint(ksm_remote_check(s->remotes[i], 0, PAGES,
                                          KSM_TEST_SEEDED, cycle_seed(cycle),
                                          TRUE),
                         ==, 0);
    }
}

/* Slots of pages that were written last may still be on their way out. */
static gboolean is_tidy(gpointer opaque)
{
    Fixture *s = opaque;
    KsmMsgGroup group;

    return ksm_test_probe_read(s->probe, &group) &&
           group.pages_shared <= PAGES * 21 / 20;
}

static Size measure(Fixture *s)
{
    KsmMsgGroup group = { 0 };
    Size size = { 0 };
    guint i;

    for (i = 0; i < REMOTES; i++) {
        KsmRemoteState state;

        ksm_remote_state(s->remotes[i], &state);
        size.mappings = MAX(size.mappings, state.maps.mappings);
        size.private_kib += state.maps.anonymous_kib;
        size.fds += state.fds;
    }
    g_assert_true(ksm_test_probe_read(s->probe, &group));
    size.slots = group.pages_shared;
    size.store_kib = ksm_test_probe_store_bytes(s->probe) / 1024;
    size.broker_kib = ksm_test_status_kib(s->broker->pid, "RssAnon");
    return size;
}

static void check_size(const Size *now, const Size *first)
{
    g_assert_cmpuint(now->slots, <=, PAGES * 21 / 20);
    g_assert_cmpuint(now->store_kib, <=, PAGES * 4 * 11 / 10);
    g_assert_cmpuint(now->private_kib, <=, ALL_PAGES * 4 / 10 + 256);
    g_assert_cmpuint(now->mappings, <=, MAX_MAPPINGS);
    g_assert_cmpuint(now->fds, ==, first->fds);
    g_assert_cmpuint(now->broker_kib, <=, first->broker_kib * 11 / 10 + 256);
}

/* One cycle from its first write to the last merge; pages that share. */
static guint64 run_cycle(Fixture *s, guint cycle, Size *size)
{
    double start = ksm_test_now();
    guint64 shared;

    rewrite(s, cycle);
    shared = ksm_remotes_settle(s->remotes, REMOTES, ALL_PAGES * 97 / 100,
                                SETTLE_SECONDS);
    g_assert_cmpfloat(ksm_test_wait(is_tidy, s, SETTLE_SECONDS), >=, 0);
    check_content(s, cycle);
    *size = measure(s);
    g_test_message("cycle %u: %" PRIu64 " of %u pages share, %" PRIu64
                   " slots, store %" PRIu64 " KiB, %" PRIu64
                   " mappings, %" PRIu64 " KiB private, broker %" PRIu64
                   " KiB, %.1f s",
                   cycle, shared, ALL_PAGES, size->slots, size->store_kib,
                   size->mappings, size->private_kib, size->broker_kib,
                   ksm_test_now() - start);
    return shared;
}

static void test_cycles(void)
{
    double end = ksm_test_now() + ksm_test_seconds(0) / 20;
    guint64 at_first = 0, shared;
    Size first, size;
    Fixture s;
    guint cycle;

    if (!ksm_test_need_uffd()) {
        return;
    }
    set_up(&s);
    /* The first one finds empty memory, and lays it out in one go. */
    at_first = run_cycle(&s, 0, &first);
    g_assert_cmpuint(at_first, >=, ALL_PAGES * 97 / 100);
    run_cycle(&s, 1, &first);
    for (cycle = 2; cycle < MIN_CYCLES || ksm_test_now() < end; cycle++) {
        shared = run_cycle(&s, cycle, &size);
        g_assert_cmpuint(shared, >=, at_first * 95 / 100);
        check_size(&size, &first);
    }
    tear_down(&s);
}

int main(int argc, char **argv)
{
    ksm_remote_main(argc, argv);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/weeks/cycles", test_cycles);
    return g_test_run();
}
