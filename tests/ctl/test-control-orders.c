/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-control-orders.c: settings over the control socket for engines that run,
 * sleep, stand aside, hang or exit; and which VMs a name means.
 */
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ctl-fixture.h"
#include "proto-client.h"
#include "require.h"

#define SHARED CTL_PAIR_SHARED

/* The one result of an order. */
static void order(KsmTestBroker *broker, const char *request,
                  const char *result, const char *error_words)
{
    g_autoptr(JsonObject) reply = ctl_fixture_ask(broker, request);
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

static KsmStats stats_of(KsmRemote *remote)
{
    KsmRemoteState state;

    ksm_remote_state(remote, &state);
    return state.stats;
}

static void test_orders(void)
{
    g_autoptr(JsonObject) session = NULL;
    CtlPair fixture;
    KsmStats stats;

    if (!ctl_pair_open(&fixture)) {
        return;
    }
    ctl_pair_share(&fixture);
    order(fixture.broker,
          "{\"request\":\"set\",\"target\":\"one\","
          "\"run\":\"run\"}",
          "done", NULL);
    g_assert_cmpint(stats_of(fixture.vms[0]).run, ==, KSM_RUN_RUN);
    g_assert_cmpint(stats_of(fixture.vms[1]).run, ==, KSM_RUN_PAUSE);
    order(fixture.broker,
          "{\"request\":\"set\",\"target\":\"vm:one\","
          "\"scan_cpu_percent\":3,\"scan_interval_ms\":60000,"
          "\"max_mappings\":1000,\"keep_huge\":64,\"run\":\"pause\"}",
          "done", NULL);
    stats = stats_of(fixture.vms[0]);
    g_assert_cmpint(stats.run, ==, KSM_RUN_PAUSE);
    g_assert_cmpuint(stats.scan_cpu_percent, ==, 3);
    session = ctl_fixture_session(fixture.broker, "one/ram0");
    ctl_fixture_assert_int(session, "scan_interval_ms", 60000);
    ctl_fixture_assert_int(session, "max_mappings_set", 1000);
    ctl_fixture_assert_int(session, "keep_huge", 64);
    ctl_fixture_assert_int(session, "protocol", KSM_PROTO_VERSION);
    order(fixture.broker,
          "{\"request\":\"set\",\"target\":\"one\","
          "\"keep_huge\":513}",
          "failed", "at most 512");
    order(fixture.broker,
          "{\"request\":\"set\",\"target\":\"one\","
          "\"scan_cpu_percent\":101}",
          "failed", "between 1 and 100");
    order(fixture.broker,
          "{\"request\":\"set\",\"target\":\"one\","
          "\"scan_interval_ms\":9}",
          "failed", "between 10 and 3600000");
    g_assert_cmpuint(stats_of(fixture.vms[0]).scan_cpu_percent, ==, 3);
    order(fixture.broker,
          "{\"request\":\"set\",\"target\":\"one\","
          "\"run\":\"unmerge\"}",
          "done", NULL);
    ctl_fixture_wait(fixture.broker, "one/ram0", "state", "unmerged");
    g_assert_cmpuint(stats_of(fixture.vms[0]).pages_sharing, ==, 0);
    g_assert_cmpuint(stats_of(fixture.vms[1]).pages_sharing, ==,
                     ctl_pair_sharing());
    ctl_pair_close(&fixture);
}

/* What a VM's library does not know is neither asked of it nor shown. */
static void test_older_library(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    g_autoptr(ProtoClient) old = proto_client_connect(broker->socket);
    g_autoptr(JsonObject) session = NULL;

    old->version = 4;
    g_assert_cmpint(proto_client_hello(old, "g", "old/ram0", 100).msg.type, ==,
                    KSM_MSG_WELCOME);
    proto_client_stats(old);
    session = ctl_fixture_session(broker, "old/ram0");
    ctl_fixture_assert_int(session, "protocol", 4);
    g_assert_true(json_object_has_member(session, "merges"));
    g_assert_false(json_object_has_member(session, "keep_huge"));
    g_assert_false(json_object_has_member(session, "pages_hwpoison"));
    order(broker,
          "{\"request\":\"set\",\"target\":\"old\","
          "\"keep_huge\":64}",
          "failed", "an older version");
}

/* An engine that sleeps for an hour between rounds obeys all the same. */
static void test_order_in_sleep(void)
{
    CtlPair fixture;
    double begin;

    if (!ctl_pair_open(&fixture)) {
        return;
    }
    order(fixture.broker,
          "{\"request\":\"set\",\"target\":\"one\","
          "\"scan_interval_ms\":3600000,\"run\":\"run\"}",
          "done", NULL);
    ctl_fixture_wait(fixture.broker, "one/ram0", "state", "running");
    begin = ksm_test_now();
    order(fixture.broker,
          "{\"request\":\"set\",\"target\":\"one\","
          "\"run\":\"pause\"}",
          "done", NULL);
    g_test_message("paused after %.2f s", ksm_test_now() - begin);
    g_assert_cmpint(stats_of(fixture.vms[0]).run, ==, KSM_RUN_PAUSE);
    ctl_pair_close(&fixture);
}

/* A process that is stopped cannot answer; it obeys when it goes on. */
static void test_order_pending(void)
{
    CtlPair fixture;

    if (!ctl_pair_open(&fixture)) {
        return;
    }
    ctl_pair_share(&fixture);
    kill(ksm_remote_pid(fixture.vms[1]), SIGSTOP);
    order(fixture.broker,
          "{\"request\":\"set\",\"target\":\"two\","
          "\"run\":\"run\"}",
          "pending", NULL);
    kill(ksm_remote_pid(fixture.vms[1]), SIGCONT);
    ctl_fixture_wait(fixture.broker, "two/ram0", "state", "running");
    ctl_pair_close(&fixture);
}

/* One that ends while it is waited for. */
static void test_order_lost(void)
{
    static const char request[] = "{\"request\":\"set\",\"target\":\"all\","
                                  "\"run\":\"run\"}\n";
    g_autofree char *reply = NULL;
    CtlPair fixture;
    int fd;

    if (!ctl_pair_open(&fixture)) {
        return;
    }
    kill(ksm_remote_pid(fixture.vms[1]), SIGSTOP);
    fd = ctl_fixture_connect(fixture.broker);
    ctl_fixture_send(fd, request, strlen(request));
    ctl_fixture_wait(fixture.broker, "one/ram0", "state", "running");
    ksm_remote_kill(fixture.vms[1]);
    reply = ctl_fixture_receive(fd);
    g_assert_nonnull(reply);
    g_assert_nonnull(strstr(reply, "\"result\":\"done\""));
    g_assert_nonnull(strstr(reply, "\"result\":\"failed\""));
    close(fd);
    ksm_remote_free(fixture.vms[1]);
    fixture.vms[1] = ctl_fixture_remote(fixture.broker, "two/ram0", "web");
    ksm_remote_fill(fixture.vms[1], 0, SHARED, KSM_TEST_SEEDED, 7, TRUE);
    ctl_pair_close(&fixture);
}

static guint sessions_of(KsmTestBroker *broker, const char *target)
{
    g_autofree char *request =
        g_strdup_printf("{\"request\":\"sessions\",\"target\":\"%s\"}", target);
    g_autoptr(JsonObject) reply = ctl_fixture_ask(broker, request);

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
    g_autofree char *code = ctl_fixture_ask_error(broker, request);

    g_assert_cmpstr(code, ==, expected);
}

static void test_targets(void)
{
    static const struct {
        const char *name, *group;
    } vms[] = {
        { "one/ram0", "web" }, { "twin/ram0", "web" }, { "twin/ram0", "db" },
        { "db/ram0", "web" },  { "plain", "db" },
    };
    g_autoptr(KsmTestBroker) broker = NULL;
    KsmRemote *remotes[G_N_ELEMENTS(vms)];
    g_autofree char *pid = NULL;
    guint i;

    if (!ksm_test_need_uffd()) {
        return;
    }
    broker = ksm_test_broker_new(NULL);
    for (i = 0; i < G_N_ELEMENTS(vms); i++) {
        remotes[i] = ctl_fixture_remote(broker, vms[i].name, vms[i].group);
    }
    pid = g_strdup_printf("pid:%d", ksm_remote_pid(remotes[2]));
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
        ksm_remote_free(remotes[i]);
    }
}

static const char *stand_aside(void *opaque)
{
    return g_atomic_int_get((gint *)opaque) ? "a test wants it so" : NULL;
}

/* An engine that must not touch the memory tells so, and still obeys. */
static void test_stood_aside(void)
{
    gsize bytes = CTL_SCENE_PAGES * KSM_PAGE_BYTES;
    g_autoptr(KsmTestBroker) broker = NULL;
    g_autoptr(JsonObject) reply = NULL;
    g_autoptr(GError) error = NULL;
    KsmOptions options;
    KsmEngine *engine;
    gint aside = 0;
    void *memory;

    if (!ksm_test_need_uffd()) {
        return;
    }
    broker = ksm_test_broker_new(NULL);
    memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    g_assert_true(memory != MAP_FAILED);
    ksm_options_init(&options);
    options.broker = broker->socket;
    options.group = "web";
    options.name = "aside";
    options.required = TRUE;
    options.stand_aside = stand_aside;
    options.opaque = &aside;
    engine = ksm_engine_new(&options, &error);
    g_assert_no_error(error);
    ksm_region_add(engine, "ram", memory, bytes, KSM_REGION_FRESH, &error);
    g_assert_no_error(error);
    ksm_engine_start(engine, &error);
    g_assert_no_error(error);
    ctl_fixture_wait(broker, "aside", "state", "running");
    g_atomic_int_set(&aside, 1);
    ctl_fixture_wait(broker, "aside", "state", "stood-aside");
    ctl_fixture_wait(broker, "aside", "stand_aside", "a test wants it so");
    reply = ctl_fixture_ask(broker, "{\"request\":\"set\",\"target\":"
                                    "\"aside\",\"scan_cpu_percent\":42,"
                                    "\"run\":\"pause\"}");
    g_assert_cmpint(ksm_engine_get_run(engine), ==, KSM_RUN_PAUSE);
    g_assert_cmpuint(ksm_engine_get_scan_cpu_percent(engine), ==, 42);
    g_atomic_int_set(&aside, 0);
    ctl_fixture_wait(broker, "aside", "state", "paused");
    ksm_engine_free(engine);
    munmap(memory, bytes);
}

int main(int argc, char **argv)
{
    ksm_remote_main(argc, argv);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/control-orders/orders", test_orders);
    g_test_add_func("/control-orders/older-library", test_older_library);
    g_test_add_func("/control-orders/in-sleep", test_order_in_sleep);
    g_test_add_func("/control-orders/pending", test_order_pending);
    g_test_add_func("/control-orders/lost", test_order_lost);
    g_test_add_func("/control-orders/stood-aside", test_stood_aside);
    g_test_add_func("/control-orders/targets", test_targets);
    return g_test_run();
}
