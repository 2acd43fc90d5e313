/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-fill.c: the same content in every page of four processes takes few
 * slots and few mappings (tiles), and is still right.
 */
#include <inttypes.h>

#include "broker-proc.h"
#include "probe.h"
#include "remote-engine.h"
#include "require.h"

#define REMOTES 4
#define PAGES 25600
#define FILL 0xcc
#define MAX_STORE_PAGES 256
#define MAX_MAPPINGS 1000
#define SETTLE_SECONDS 60.0

static void check_remote(KsmRemote *remote)
{
    KsmRemoteState state;

    ksm_remote_state(remote, &state);
    g_test_message("process %d: %" PRIu64 " of %u pages share, %" PRIu64
                   " mappings in the region (the engine says %" PRIu64
                   "), %" PRIu64 " in the process, %" PRIu64 " KiB private",
                   ksm_remote_pid(remote), state.stats.pages_sharing, PAGES,
                   state.maps.mappings, state.stats.mappings,
                   state.all_mappings, state.maps.anonymous_kib);
    g_assert_cmpuint(state.stats.pages_sharing, >=, PAGES / 100 * 99);
    g_assert_cmpuint(state.maps.mappings, <=, MAX_MAPPINGS);
    g_assert_cmpuint(state.stats.mappings, <=, MAX_MAPPINGS);
    g_assert_cmpuint(state.all_mappings, <=, MAX_MAPPINGS);
    g_assert_cmpuint(state.maps.anonymous_kib, <=, PAGES * 4 / 100 + 64);
    g_assert_cmpuint(ksm_remote_check(remote, 0, PAGES, KSM_TEST_BYTE, FILL,
                                      FALSE),
                     ==, 0);
}

static void test_fill(void)
{
    g_autoptr(KsmTestBroker) broker = NULL;
    g_autoptr(KsmTestProbe) probe = NULL;
    KsmRemoteSpec spec = { .pages = PAGES };
    KsmRemote *remotes[REMOTES];
    KsmMsgGroup group;
    double start;
    guint i;

    if (!ksm_test_need_uffd()) {
        return;
    }
    broker = ksm_test_broker_new(NULL);
    probe = ksm_test_probe_new(broker->socket, "test");
    g_assert_nonnull(probe);
    spec.socket = broker->socket;
    ksm_remotes_new(remotes, REMOTES, &spec);
    for (i = 0; i < REMOTES; i++) {
        ksm_remote_fill(remotes[i], 0, PAGES, KSM_TEST_BYTE, FILL, FALSE);
    }
    start = ksm_test_now();
    ksm_remotes_settle(remotes, REMOTES, REMOTES * PAGES / 100 * 99,
                       SETTLE_SECONDS);
    g_assert_true(ksm_test_probe_read(probe, &group));
    g_test_message("%u pages of byte 0x%x in %u processes: %" PRIu64
                   " store pages (%" PRIu64 " KiB), %" PRIu64
                   " references, settled in %.1f s",
                   PAGES, FILL, REMOTES, group.pages_shared,
                   ksm_test_probe_store_bytes(probe) / 1024,
                   group.pages_sharing, ksm_test_now() - start);
    g_assert_cmpuint(group.pages_shared, >, 0);
    g_assert_cmpuint(group.pages_shared, <=, MAX_STORE_PAGES);
    g_assert_cmpuint(ksm_test_probe_store_bytes(probe), <=,
                     MAX_STORE_PAGES * KSM_PAGE_BYTES);
    for (i = 0; i < REMOTES; i++) {
        check_remote(remotes[i]);
    }
    /* One page in 64 written: still right, on both sides of each copy. */
    for (i = 0; i < PAGES; i += 64) {
        ksm_remote_fill(remotes[0], i, 1, KSM_TEST_SEEDED, i, FALSE);
    }
    for (i = 0; i + 64 <= PAGES; i += 64) {
        g_assert_cmpuint(ksm_remote_check(remotes[0], i, 1, KSM_TEST_SEEDED, i,
                                          FALSE),
                         ==, 0);
        g_assert_cmpuint(ksm_remote_check(remotes[0], i + 1, 63, KSM_TEST_BYTE,
                                          FILL, FALSE),
                         ==, 0);
    }
    g_assert_cmpuint(ksm_remote_check(remotes[1], 0, PAGES, KSM_TEST_BYTE, FILL,
                                      FALSE),
                     ==, 0);
    for (i = 0; i < REMOTES; i++) {
        ksm_remote_free(remotes[i]);
    }
}

int main(int argc, char **argv)
{
    ksm_remote_main(argc, argv);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fill/four-processes", test_fill);
    return g_test_run();
}
