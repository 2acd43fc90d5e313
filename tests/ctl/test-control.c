/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-control.c: figures, orders, names, maps on the control socket, with
 * engines whose pages were filled so that every figure is known beforehand.
 */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "ctl-scene.h"
#include "require.h"

#define SHARED CTL_PAIR_SHARED
#define ZEROS CTL_PAIR_ZEROS

static void assert_int(JsonObject *object, const char *field, gint64 value)
{
    gint64 got = json_object_get_int_member(object, field);

    if (got != value) {
        g_error("%s is %" G_GINT64_FORMAT ", not %" G_GINT64_FORMAT, field,
                got, value);
    }
}

static void assert_sums(JsonObject *sums)
{
    assert_int(sums, "vms", 2);
    assert_int(sums, "sessions", 2);
    assert_int(sums, "pages_total", 2 * CTL_SCENE_PAGES);
    assert_int(sums, "pages_sharing", 2 * SHARED);
    assert_int(sums, "pages_shared", SHARED);
    assert_int(sums, "zero_pages", 2 * ZEROS);
    assert_int(sums, "pages_broken", 0);
    assert_int(sums, "saved_pages", SHARED + 2 * ZEROS);
    assert_int(sums, "worst_case_pages", 2 * (SHARED + ZEROS));
}

/* The engine's own figures, and the kernel's of its memory. */
static void assert_as_told(JsonObject *session, KsmPuppet *puppet)
{
    KsmPuppetState told;

    ksm_puppet_state(puppet, &told);
    assert_int(session, "pages_sharing", told.stats.pages_sharing);
    assert_int(session, "zero_pages", told.stats.zero_pages);
    assert_int(session, "merges", told.stats.merges);
    assert_int(session, "zero_merges", told.stats.zero_merges);
    assert_int(session, "lookups", told.stats.lookups);
    assert_int(session, "windows", told.stats.windows);
    assert_int(session, "runs", told.stats.runs);
    assert_int(session, "mappings", told.stats.mappings);
    assert_int(session, "pid", ksm_puppet_pid(puppet));
    /* what is left of it as its own, is what is not shared */
    g_assert_cmpuint(told.maps.anonymous_kib, ==,
                     4 * (CTL_SCENE_PAGES - told.stats.pages_untouched -
                          told.stats.pages_sharing -
                          told.stats.zero_pages));
}

static void test_figures(void)
{
    g_autoptr(JsonObject) status = NULL;
    JsonArray *groups;
    CtlPair scene;
    guint i;

    if (!ctl_pair_open(&scene)) {
        return;
    }
    ctl_pair_share(&scene);
    status = ctl_scene_ask(scene.broker, "{\"request\":\"status\"}");
    assert_sums(json_object_get_object_member(status, "total"));
    groups = json_object_get_array_member(status, "groups");
    g_assert_cmpuint(json_array_get_length(groups), ==, 1);
    assert_sums(json_array_get_object_element(groups, 0));
    assert_int(json_object_get_object_member(status, "broker"), "pid",
               scene.broker->pid);
    for (i = 0; i < 2; i++) {
        g_autoptr(JsonObject) session = ctl_scene_session(scene.broker,
            i == 0 ? "one/ram0" : "two/ram0");

        assert_as_told(session, scene.vms[i]);
        assert_int(session, "bound_pages", SHARED);
        assert_int(session, "saved_pages", SHARED / 2 + ZEROS);
        g_assert_cmpstr(json_object_get_string_member(session, "backend"),
                        ==, "ram0");
    }
    ctl_pair_close(&scene);
}

/* MemAvailable moves; it must be of the size that the kernel tells. */
static void test_host(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    g_autoptr(JsonObject) status = ctl_scene_ask(broker,
                                                 "{\"request\":\"status\"}");
    JsonObject *host = json_object_get_object_member(status, "host");
    gint64 all = json_object_get_int_member(host, "memory_bytes");
    gint64 available = json_object_get_int_member(host, "available_bytes");
    gint64 pages = sysconf(_SC_PHYS_PAGES);

    g_assert_cmpint(all, ==, pages * sysconf(_SC_PAGESIZE));
    g_assert_cmpint(available, >, 0);
    g_assert_cmpint(available, <, all);
}

/* The one result of an order. */
static void order(CtlPair *scene, const char *request, const char *result,
                  const char *error_words)
{
    g_autoptr(JsonObject) reply = ctl_scene_ask(scene->broker, request);
    JsonArray *results = json_object_get_array_member(reply, "results");
    JsonObject *one;

    g_assert_cmpuint(json_array_get_length(results), ==, 1);
    one = json_array_get_object_element(results, 0);
    g_assert_cmpstr(json_object_get_string_member(one, "result"), ==, result);
    if (error_words != NULL) {
        const char *error = json_object_get_string_member(one, "error");

        g_assert_nonnull(error);
        g_assert_nonnull(strstr(error, error_words));
    }
}

static KsmStats stats_of(KsmPuppet *puppet)
{
    KsmPuppetState state;

    ksm_puppet_state(puppet, &state);
    return state.stats;
}

static void test_orders(void)
{
    g_autoptr(JsonObject) session = NULL;
    CtlPair scene;
    KsmStats stats;

    if (!ctl_pair_open(&scene)) {
        return;
    }
    ctl_pair_share(&scene);
    order(&scene, "{\"request\":\"set\",\"target\":\"one\",\"run\":\"run\"}",
          "done", NULL);
    g_assert_cmpint(stats_of(scene.vms[0]).run, ==, KSM_RUN_RUN);
    g_assert_cmpint(stats_of(scene.vms[1]).run, ==, KSM_RUN_PAUSE);
    order(&scene, "{\"request\":\"set\",\"target\":\"vm:one\","
          "\"scan_cpu_percent\":3,\"scan_interval_ms\":60000,"
          "\"max_mappings\":1000,\"run\":\"pause\"}", "done", NULL);
    stats = stats_of(scene.vms[0]);
    g_assert_cmpint(stats.run, ==, KSM_RUN_PAUSE);
    g_assert_cmpuint(stats.scan_cpu_percent, ==, 3);
    session = ctl_scene_session(scene.broker, "one/ram0");
    assert_int(session, "scan_interval_ms", 60000);
    assert_int(session, "max_mappings_set", 1000);
    order(&scene, "{\"request\":\"set\",\"target\":\"one\","
          "\"scan_cpu_percent\":101}", "failed", "between 1 and 100");
    order(&scene, "{\"request\":\"set\",\"target\":\"one\","
          "\"scan_interval_ms\":9}", "failed", "between 10 and 3600000");
    g_assert_cmpuint(stats_of(scene.vms[0]).scan_cpu_percent, ==, 3);
    order(&scene, "{\"request\":\"set\",\"target\":\"one\","
          "\"run\":\"unmerge\"}", "done", NULL);
    ctl_scene_wait(scene.broker, "one/ram0", "state", "unmerged");
    g_assert_cmpuint(stats_of(scene.vms[0]).pages_sharing, ==, 0);
    g_assert_cmpuint(stats_of(scene.vms[1]).pages_sharing, ==, SHARED);
    ctl_pair_close(&scene);
}

/* An engine that sleeps for an hour between rounds obeys all the same. */
static void test_order_in_sleep(void)
{
    CtlPair scene;
    double begin;

    if (!ctl_pair_open(&scene)) {
        return;
    }
    order(&scene, "{\"request\":\"set\",\"target\":\"one\","
          "\"scan_interval_ms\":3600000,\"run\":\"run\"}", "done", NULL);
    ctl_scene_wait(scene.broker, "one/ram0", "state", "running");
    begin = ksm_test_now();
    order(&scene, "{\"request\":\"set\",\"target\":\"one\","
          "\"run\":\"pause\"}", "done", NULL);
    g_test_message("paused after %.2f s", ksm_test_now() - begin);
    g_assert_cmpint(stats_of(scene.vms[0]).run, ==, KSM_RUN_PAUSE);
    ctl_pair_close(&scene);
}

/* A process that is stopped cannot answer; it obeys when it goes on. */
static void test_order_pending(void)
{
    CtlPair scene;

    if (!ctl_pair_open(&scene)) {
        return;
    }
    ctl_pair_share(&scene);
    kill(ksm_puppet_pid(scene.vms[1]), SIGSTOP);
    order(&scene, "{\"request\":\"set\",\"target\":\"two\",\"run\":\"run\"}",
          "pending", NULL);
    kill(ksm_puppet_pid(scene.vms[1]), SIGCONT);
    ctl_scene_wait(scene.broker, "two/ram0", "state", "running");
    ctl_pair_close(&scene);
}

/* One that ends while it is waited for. */
static void test_order_lost(void)
{
    static const char request[] = "{\"request\":\"set\",\"target\":\"all\","
                                  "\"run\":\"run\"}\n";
    g_autofree char *reply = NULL;
    CtlPair scene;
    int fd;

    if (!ctl_pair_open(&scene)) {
        return;
    }
    kill(ksm_puppet_pid(scene.vms[1]), SIGSTOP);
    fd = ctl_scene_connect(scene.broker);
    ctl_scene_send(fd, request, strlen(request));
    ctl_scene_wait(scene.broker, "one/ram0", "state", "running");
    ksm_puppet_kill(scene.vms[1]);
    reply = ctl_scene_receive(fd);
    g_assert_nonnull(reply);
    g_assert_nonnull(strstr(reply, "\"result\":\"done\""));
    g_assert_nonnull(strstr(reply, "\"result\":\"failed\""));
    close(fd);
    ksm_puppet_free(scene.vms[1]);
    scene.vms[1] = ctl_scene_puppet(scene.broker, "two/ram0", "web");
    ksm_puppet_fill(scene.vms[1], 0, SHARED, KSM_TEST_SEEDED, 7, TRUE);
    ctl_pair_close(&scene);
}

static guint sessions_of(KsmTestBroker *broker, const char *target)
{
    g_autofree char *request = g_strdup_printf(
        "{\"request\":\"sessions\",\"target\":\"%s\"}", target);
    g_autoptr(JsonObject) reply = ctl_scene_ask(broker, request);

    if (!json_object_get_boolean_member(reply, "ok")) {
        g_error("%s was refused", request);
    }
    return json_array_get_length(
        json_object_get_array_member(reply, "sessions"));
}

static void assert_target_error(KsmTestBroker *broker, const char *target,
                                const char *expected)
{
    g_autofree char *request = g_strdup_printf(
        "{\"request\":\"set\",\"target\":\"%s\",\"run\":\"pause\"}", target);
    g_autofree char *code = ctl_scene_ask_error(broker, request);

    g_assert_cmpstr(code, ==, expected);
}

static void test_targets(void)
{
    static const struct {
        const char *name, *group;
    } vms[] = {
        { "one/ram0", "web" }, { "twin/ram0", "web" }, { "twin/ram0", "db" },
        { "db/ram0", "web" }, { "plain", "db" },
    };
    g_autoptr(KsmTestBroker) broker = NULL;
    KsmPuppet *puppets[G_N_ELEMENTS(vms)];
    g_autofree char *pid = NULL;
    guint i;

    if (!ksm_test_need_uffd()) {
        return;
    }
    broker = ksm_test_broker_new(NULL);
    for (i = 0; i < G_N_ELEMENTS(vms); i++) {
        puppets[i] = ctl_scene_puppet(broker, vms[i].name, vms[i].group);
    }
    pid = g_strdup_printf("pid:%d", ksm_puppet_pid(puppets[2]));
    g_assert_cmpuint(sessions_of(broker, "all"), ==, 5);
    g_assert_cmpuint(sessions_of(broker, "one"), ==, 1);
    g_assert_cmpuint(sessions_of(broker, "one/ram0"), ==, 1);
    g_assert_cmpuint(sessions_of(broker, "plain"), ==, 1);
    g_assert_cmpuint(sessions_of(broker, "web"), ==, 3);
    g_assert_cmpuint(sessions_of(broker, "group:db"), ==, 2);
    g_assert_cmpuint(sessions_of(broker, "vm:db"), ==, 1);
    g_assert_cmpuint(sessions_of(broker, pid), ==, 1);
    assert_target_error(broker, "twin", "ambiguous");
    assert_target_error(broker, "vm:twin", "ambiguous");
    assert_target_error(broker, "db", "ambiguous");
    assert_target_error(broker, "on", "no-such-vm");
    assert_target_error(broker, "vm:web", "no-such-vm");
    assert_target_error(broker, "group:one", "no-such-group");
    assert_target_error(broker, "pid:1", "no-such-vm");
    assert_target_error(broker, "", "no-such-vm");
    for (i = 0; i < G_N_ELEMENTS(vms); i++) {
        ksm_puppet_free(puppets[i]);
    }
}

/* The state that a page was filled to have. */
static guint expected_cell(guint page)
{
    return (page < SHARED ? KSM_MAP_SHARED : page < SHARED + ZEROS ?
            KSM_MAP_ZERO : KSM_MAP_UNTOUCHED) |
           KSM_MAP_SHARE_ALL << KSM_MAP_SHARE_SHIFT;
}

static void test_map(void)
{
    g_autoptr(JsonObject) reply = NULL;
    g_autofree guchar *cells = NULL;
    CtlPair scene;
    gsize bytes;
    guint i;

    if (!ctl_pair_open(&scene)) {
        return;
    }
    ctl_pair_share(&scene);
    reply = ctl_scene_ask(scene.broker,
                          "{\"request\":\"map\",\"target\":\"two\"}");
    g_assert_true(json_object_get_boolean_member(reply, "ok"));
    assert_int(reply, "pages", CTL_SCENE_PAGES);
    assert_int(reply, "pages_per_cell", 1);
    assert_int(reply, "count", CTL_SCENE_PAGES);
    cells = g_base64_decode(json_object_get_string_member(reply, "cells"),
                            &bytes);
    g_assert_cmpuint(bytes, ==, CTL_SCENE_PAGES);
    for (i = 0; i < bytes; i++) {
        g_assert_cmphex(cells[i], ==, expected_cell(i));
    }
    ctl_pair_close(&scene);
}

/* More pages than cells: a cell's state is that of most of its pages. */
static void test_map_coarse(void)
{
    KsmPuppetSpec spec = { .name = "big", .pages = 3 * 65536 + 1 };
    g_autoptr(KsmTestBroker) broker = NULL;
    g_autoptr(JsonObject) reply = NULL;
    g_autofree guchar *cells = NULL;
    KsmPuppet *puppet;
    gsize bytes;

    if (!ksm_test_need_uffd()) {
        return;
    }
    broker = ksm_test_broker_new(NULL);
    spec.socket = broker->socket;
    puppet = ksm_puppet_new(&spec);
    ksm_puppet_fill(puppet, 4, 3, KSM_TEST_SEEDED, 1, TRUE);
    ksm_puppet_round(puppet);
    reply = ctl_scene_ask(broker, "{\"request\":\"map\",\"target\":\"big\"}");
    assert_int(reply, "pages_per_cell", 4);
    assert_int(reply, "count", 49153);
    cells = g_base64_decode(json_object_get_string_member(reply, "cells"),
                            &bytes);
    g_assert_cmpuint(bytes, ==, 49153);
    g_assert_cmphex(cells[0], ==, KSM_MAP_UNTOUCHED | 31 << 3);
    g_assert_cmphex(cells[1] & 7, !=, KSM_MAP_UNTOUCHED);
    g_assert_cmphex(cells[1] >> 3, ==, 3 * 31 / 4);
    g_assert_cmphex(cells[49152], ==, KSM_MAP_UNTOUCHED | 31 << 3);
    ksm_puppet_free(puppet);
}

/* Value number @index of the latest sample; -1 when there is none yet. */
static gint64 latest(KsmTestBroker *broker, const char *request, guint index)
{
    g_autoptr(JsonObject) reply = ctl_scene_ask(broker, request);
    JsonArray *samples = json_object_get_array_member(reply, "samples");
    guint count = json_array_get_length(samples);

    g_assert_cmpuint(json_array_get_length(json_object_get_array_member(
                         reply, "fields")), ==, 7);
    return count == 0 ? -1 : json_array_get_int_element(
        json_array_get_array_element(samples, count - 1), index);
}

static gboolean history_knows(gpointer opaque)
{
    CtlPair *pair = opaque;

    return latest(pair->broker, "{\"request\":\"history\"}", 1) == SHARED;
}

static void test_history(void)
{
    static const char of_group[] =
        "{\"request\":\"history\",\"group\":\"web\",\"seconds\":60}";
    g_autofree char *code = NULL;
    CtlPair scene;
    gint64 now;

    if (!ctl_pair_open(&scene)) {
        return;
    }
    ctl_pair_share(&scene);
    g_assert_cmpfloat(ksm_test_wait(history_knows, &scene, 30), >=, 0);
    now = g_get_real_time() / G_USEC_PER_SEC;
    g_assert_cmpint(ABS(now - latest(scene.broker, of_group, 0)), <=, 3);
    g_assert_cmpint(latest(scene.broker, of_group, 1), ==, SHARED);
    g_assert_cmpint(latest(scene.broker, of_group, 2), ==, 2 * SHARED);
    g_assert_cmpint(latest(scene.broker, of_group, 3), ==, 2 * ZEROS);
    g_assert_cmpint(latest(scene.broker, of_group, 5), ==,
                    SHARED + 2 * ZEROS);
    code = ctl_scene_ask_error(scene.broker,
        "{\"request\":\"history\",\"group\":\"one\"}");
    g_assert_cmpstr(code, ==, "no-such-group");
    ctl_pair_close(&scene);
}

int main(int argc, char **argv)
{
    ksm_puppet_main(argc, argv);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/control/figures", test_figures);
    g_test_add_func("/control/host", test_host);
    g_test_add_func("/control/orders", test_orders);
    g_test_add_func("/control/order-in-sleep", test_order_in_sleep);
    g_test_add_func("/control/order-pending", test_order_pending);
    g_test_add_func("/control/order-lost", test_order_lost);
    g_test_add_func("/control/targets", test_targets);
    g_test_add_func("/control/history", test_history);
    g_test_add_func("/control/map", test_map);
    g_test_add_func("/control/map-coarse", test_map_coarse);
    return g_test_run();
}
