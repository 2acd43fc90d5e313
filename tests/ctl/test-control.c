/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-control.c: statistics, maps and history on the control socket, with
 * engines whose pages were filled so that every value is known beforehand.
 */
#include <string.h>
#include <unistd.h>

#include "ctl-fixture.h"
#include "proto-client.h"
#include "require.h"
#include "stats-table.h"

#define SHARING ctl_pair_sharing()
#define ZEROS ctl_pair_zeros()
#define SLOTS ctl_pair_slots()
/* Of both. */
#define SAVED (2 * (SHARING + ZEROS) - SLOTS)

static void assert_sums(JsonObject *sums)
{
    ctl_fixture_assert_int(sums, "vms", 2);
    ctl_fixture_assert_int(sums, "sessions", 2);
    ctl_fixture_assert_int(sums, "pages_total", 2 * CTL_SCENE_PAGES);
    ctl_fixture_assert_int(sums, "pages_sharing", 2 * SHARING);
    ctl_fixture_assert_int(sums, "pages_shared", SLOTS);
    ctl_fixture_assert_int(sums, "zero_pages", 2 * ZEROS);
    ctl_fixture_assert_int(sums, "pages_broken", 0);
    ctl_fixture_assert_int(sums, "saved_pages", SAVED);
    ctl_fixture_assert_int(sums, "worst_case_pages", 2 * (SHARING + ZEROS));
}

/* The engine's own figures, and the kernel's of its memory. */
static void assert_as_told(JsonObject *session, KsmRemote *remote)
{
    KsmRemoteState told;

    ksm_remote_state(remote, &told);
    ctl_fixture_assert_int(session, "pages_sharing", told.stats.pages_sharing);
    ctl_fixture_assert_int(session, "zero_pages", told.stats.zero_pages);
    ctl_fixture_assert_int(session, "merges", told.stats.merges);
    ctl_fixture_assert_int(session, "zero_merges", told.stats.zero_merges);
    ctl_fixture_assert_int(session, "lookups", told.stats.lookups);
    ctl_fixture_assert_int(session, "windows", told.stats.windows);
    ctl_fixture_assert_int(session, "runs", told.stats.runs);
    ctl_fixture_assert_int(session, "mappings", told.stats.mappings);
    ctl_fixture_assert_int(session, "pid", ksm_remote_pid(remote));
    /* what is left of it as its own, is what is not shared */
    g_assert_cmpuint(told.maps.anonymous_kib, ==,
                     4 * (CTL_SCENE_PAGES - told.stats.pages_untouched -
                          told.stats.pages_sharing - told.stats.zero_pages));
}

static void test_figures(void)
{
    g_autoptr(JsonObject) status = NULL;
    JsonArray *groups;
    CtlPair fixture;
    guint i;

    if (!ctl_pair_open(&fixture)) {
        return;
    }
    ctl_pair_share(&fixture);
    status = ctl_fixture_ask(fixture.broker, "{\"request\":\"status\"}");
    assert_sums(json_object_get_object_member(status, "total"));
    groups = json_object_get_array_member(status, "groups");
    g_assert_cmpuint(json_array_get_length(groups), ==, 1);
    assert_sums(json_array_get_object_element(groups, 0));
    ctl_fixture_assert_int(json_object_get_object_member(status, "broker"),
                           "pid", fixture.broker->pid);
    for (i = 0; i < 2; i++) {
        g_autoptr(JsonObject) session =
            ctl_fixture_session(fixture.broker,
                                i == 0 ? "one/ram0" : "two/ram0");

        assert_as_told(session, fixture.vms[i]);
        ctl_fixture_assert_int(session, "bound_pages", SHARING);
        ctl_fixture_assert_int(session, "saved_pages", SAVED / 2);
        g_assert_cmpstr(json_object_get_string_member(session, "backend"), ==,
                        "ram0");
    }
    ctl_pair_close(&fixture);
}

/* Those that are called the same are numbered, for as long as they live. */
static void test_names(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    g_autoptr(ProtoClient) one = NULL, two = NULL, three = NULL, four = NULL;
    g_autoptr(ProtoClient) long_one = NULL;
    g_autofree char *name = g_strnfill(KSM_NAME_BYTES - 1, 'n');
    static const char *const names[] = {
        "vm/ram",
        "vm/ram#2",
        "vm/ram#2#2",
    };
    g_autoptr(JsonObject) reply = NULL;
    guint i;

    name[127] = '/';
    one = proto_client_new(broker->socket, "g", "vm/ram", 100);
    two = proto_client_new(broker->socket, "g", "vm/ram", 200);
    three = proto_client_new(broker->socket, "g", "vm/ram#2", 300);
    long_one = proto_client_new(broker->socket, "g", name, 400);
    for (i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autoptr(JsonObject) session = ctl_fixture_session(broker, names[i]);

        g_assert_nonnull(session);
        g_assert_cmpstr(json_object_get_string_member(session, "vm"), ==, "vm");
    }
    {
        g_autoptr(JsonObject) session = ctl_fixture_session(broker, name);

        g_assert_nonnull(session);
        g_assert_cmpuint(strlen(json_object_get_string_member(session, "vm")),
                         ==, 127);
    }
    /* The first one ends, and the next to come gets its name; others keep
       theirs. */
    proto_client_publish(two, 1, 1, 0);
    g_clear_pointer(&one, proto_client_free);
    while ((reply = ctl_fixture_session(broker, "vm/ram")) != NULL) {
        g_clear_pointer(&reply, json_object_unref);
    }
    four = proto_client_new(broker->socket, "g", "vm/ram", 500);
    reply = ctl_fixture_session(broker, "vm/ram#2");
    g_assert_nonnull(reply);
    ctl_fixture_assert_int(reply, "bound_pages", 1);
    g_clear_pointer(&reply, json_object_unref);
    reply = ctl_fixture_session(broker, "vm/ram");
    g_assert_nonnull(reply);
    ctl_fixture_assert_int(reply, "bound_pages", 0);
}

/* MemAvailable moves; it must be of the size that the kernel tells. */
static void test_host(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    g_autoptr(JsonObject) status = ctl_fixture_ask(broker,
                                                   "{\"request\":\"status\"}");
    JsonObject *host = json_object_get_object_member(status, "host");
    gint64 all = json_object_get_int_member(host, "memory_bytes");
    gint64 available = json_object_get_int_member(host, "available_bytes");
    gint64 pages = sysconf(_SC_PHYS_PAGES);

    g_assert_cmpint(all, ==, pages * sysconf(_SC_PAGESIZE));
    g_assert_cmpint(available, >, 0);
    g_assert_cmpint(available, <, all);
}

/* The state that a page was filled to have. */
static guint expected_cell(guint page)
{
    return (page < SHARING         ? KSM_MAP_SHARED :
            page < SHARING + ZEROS ? KSM_MAP_ZERO :
                                     KSM_MAP_UNTOUCHED) |
           KSM_MAP_SHARE_ALL << KSM_MAP_SHARE_SHIFT;
}

static void test_map(void)
{
    g_autoptr(JsonObject) reply = NULL;
    g_autofree guchar *cells = NULL;
    CtlPair fixture;
    gsize bytes;
    guint i;

    if (!ctl_pair_open(&fixture)) {
        return;
    }
    ctl_pair_share(&fixture);
    reply = ctl_fixture_ask(fixture.broker,
                            "{\"request\":\"map\",\"target\":\"two\"}");
    g_assert_true(json_object_get_boolean_member(reply, "ok"));
    ctl_fixture_assert_int(reply, "pages", CTL_SCENE_PAGES);
    ctl_fixture_assert_int(reply, "pages_per_cell", 1);
    ctl_fixture_assert_int(reply, "count", CTL_SCENE_PAGES);
    cells = g_base64_decode(json_object_get_string_member(reply, "cells"),
                            &bytes);
    g_assert_cmpuint(bytes, ==, CTL_SCENE_PAGES);
    for (i = 0; i < bytes; i++) {
        g_assert_cmphex(cells[i], ==, expected_cell(i));
    }
    ctl_pair_close(&fixture);
}

/* More pages than cells: a cell's state is that of most of its pages. */
static void test_map_coarse(void)
{
    KsmRemoteSpec spec = { .name = "big", .pages = 3 * 65536 + 1 };
    g_autoptr(KsmTestBroker) broker = NULL;
    g_autoptr(JsonObject) reply = NULL;
    g_autofree guchar *cells = NULL;
    KsmRemote *remote;
    gsize bytes;

    if (!ksm_test_need_uffd()) {
        return;
    }
    broker = ksm_test_broker_new(NULL);
    spec.socket = broker->socket;
    remote = ksm_remote_new(&spec);
    ksm_remote_fill(remote, 4, 3, KSM_TEST_SEEDED, 1, TRUE);
    ksm_remote_round(remote);
    reply = ctl_fixture_ask(broker, "{\"request\":\"map\",\"target\":\"big\"}");
    ctl_fixture_assert_int(reply, "pages_per_cell", 4);
    ctl_fixture_assert_int(reply, "count", 49153);
    cells = g_base64_decode(json_object_get_string_member(reply, "cells"),
                            &bytes);
    g_assert_cmpuint(bytes, ==, 49153);
    g_assert_cmphex(cells[0], ==, KSM_MAP_UNTOUCHED | 31 << 3);
    g_assert_cmphex(cells[1] & 7, !=, KSM_MAP_UNTOUCHED);
    g_assert_cmphex(cells[1] >> 3, ==, 3 * 31 / 4);
    g_assert_cmphex(cells[49152], ==, KSM_MAP_UNTOUCHED | 31 << 3);
    ksm_remote_free(remote);
}

/* Value number @index of the latest sample; -1 when there is none yet. */
static gint64 latest(KsmTestBroker *broker, const char *request, guint index)
{
    g_autoptr(JsonObject) reply = ctl_fixture_ask(broker, request);
    JsonArray *samples = json_object_get_array_member(reply, "samples");
    guint count = json_array_get_length(samples);

    g_assert_cmpuint(json_array_get_length(
                         json_object_get_array_member(reply, "fields")),
                     ==, 7);
    return count == 0 ?
               -1 :
               json_array_get_int_element(
                   json_array_get_array_element(samples, count - 1), index);
}

static gboolean history_knows(gpointer opaque)
{
    CtlPair *pair = opaque;

    return latest(pair->broker, "{\"request\":\"history\"}", 1) == SLOTS;
}

static void test_history(void)
{
    static const char of_group[] =
        "{\"request\":\"history\",\"group\":\"web\",\"seconds\":60}";
    g_autofree char *code = NULL;
    CtlPair fixture;
    gint64 now;

    if (!ctl_pair_open(&fixture)) {
        return;
    }
    ctl_pair_share(&fixture);
    g_assert_cmpfloat(ksm_test_wait(history_knows, &fixture, 30), >=, 0);
    now = g_get_real_time() / G_USEC_PER_SEC;
    g_assert_cmpint(ABS(now - latest(fixture.broker, of_group, 0)), <=, 3);
    g_assert_cmpint(latest(fixture.broker, of_group, 1), ==, SLOTS);
    g_assert_cmpint(latest(fixture.broker, of_group, 2), ==, 2 * SHARING);
    g_assert_cmpint(latest(fixture.broker, of_group, 3), ==, 2 * ZEROS);
    g_assert_cmpint(latest(fixture.broker, of_group, 5), ==, SAVED);
    code = ctl_fixture_ask_error(fixture.broker,
                                 "{\"request\":\"history\",\"group\":\"one\"}");
    g_assert_cmpstr(code, ==, "no-such-group");
    ctl_pair_close(&fixture);
}

/* In reply to what a client said of itself: each its number. */
static void assert_told(JsonObject *session, JsonObject *total, gsize told)
{
    guint i, states = 0;

    for (i = 0; i < KSM_STATS_COUNT; i++) {
        const KsmStatsRow *row = &ksm_stats_table[i];

        g_test_message("%zu bytes, %s", told, row->name);
        g_assert_cmpint(json_object_has_member(session, row->name), ==,
                        row->offset < told);
        if (row->offset < told) {
            ctl_fixture_assert_int(session, row->name, 100 + i);
        }
        if (json_object_has_member(total, row->name)) {
            ctl_fixture_assert_int(total, row->name, 100 + i);
            states++;
        }
    }
    /* besides, metadata_bytes and cpu_ns are summed up */
    g_assert_cmpuint(states, ==, 2 + (0 KSM_STATS_STATES(KSM_STATS_ONE_MORE)));
}

/* Every statistic, and what no engine here gets to count: a client says it. */
static void check_told(guint32 version)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    g_autoptr(ProtoClient) client = proto_client_connect(broker->socket);
    g_autoptr(JsonObject) session = NULL, status = NULL;
    gsize told = ksm_proto_stats_bytes(version);
    KsmMsgStats stats = { .msg = { .type = KSM_MSG_STATS }, .keep_huge = 17 };
    ProtoReply reply;
    guint i;

    client->version = version;
    reply = proto_client_hello(client, "g", "a/ram0", 1000);
    g_assert_cmpuint(reply.msg.type, ==, KSM_MSG_WELCOME);
    for (i = 0; i < KSM_STATS_COUNT; i++) {
        G_STRUCT_MEMBER(guint64, &stats, ksm_stats_table[i].offset) = 100 + i;
    }
    stats.msg.serial = ++client->serial;
    g_assert_true(proto_client_send(client, &stats, told));
    g_assert_cmpuint(proto_client_receive(client, &reply), >, 0);
    session = ctl_fixture_session(broker, "a/ram0");
    status = ctl_fixture_ask(broker, "{\"request\":\"status\"}");
    assert_told(session, json_object_get_object_member(status, "total"), told);
    g_assert_cmpint(json_object_has_member(session, "keep_huge"), ==,
                    version >= 5);
    if (version >= 5) {
        ctl_fixture_assert_int(session, "keep_huge", 17);
    }
}

static void test_told(void)
{
    guint32 version;

    for (version = KSM_PROTO_OLDEST; version <= KSM_PROTO_VERSION; version++) {
        check_told(version);
    }
}

int main(int argc, char **argv)
{
    ksm_remote_main(argc, argv);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/control/figures", test_figures);
    g_test_add_func("/control/names", test_names);
    g_test_add_func("/control/told", test_told);
    g_test_add_func("/control/host", test_host);
    g_test_add_func("/control/history", test_history);
    g_test_add_func("/control/map", test_map);
    g_test_add_func("/control/map-coarse", test_map_coarse);
    return g_test_run();
}
