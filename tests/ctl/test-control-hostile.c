/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-control-hostile.c: clients of the control socket that send nonsense,
 * do not read, or come in numbers; and what asking costs.
 * A session that is there all the time must not be disturbed.
 */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ctl-fixture.h"
#include "proto-client.h"
#include "require.h"

#define CLIENTS 32           /* that the broker takes */
#define SOCKET_BYTES 212992u /* net.core.wmem_default */

typedef struct Fixture {
    KsmTestBroker *broker;
    ProtoClient *witness;
} Fixture;

static void fixture_open(Fixture *fixture, const char *options)
{
    fixture->broker = ksm_test_broker_new(options);
    fixture->witness = proto_client_new(fixture->broker->socket, "g", "witness",
                                        100);
}

static void fixture_close(Fixture *fixture)
{
    g_autoptr(JsonObject) status = ctl_fixture_ask(fixture->broker,
                                                   "{\"request\":\"status\"}");

    g_assert_true(json_object_get_boolean_member(status, "ok"));
    g_assert_cmpint(proto_client_publish(fixture->witness, 2, 1, 0).kind, ==,
                    KSM_ANSWER_SLOT);
    proto_client_free(fixture->witness);
    g_assert_true(ksm_test_broker_stop(fixture->broker));
    ksm_test_broker_free(fixture->broker);
}

static void test_nonsense(void)
{
    static const struct {
        const char *request;
        const char *code;
    } rows[] = {
        { "", "bad-request" },
        { "nonsense", "bad-request" },
        { "[]", "bad-request" },
        { "\"status\"", "bad-request" },
        { "{\"request\":\"status\"", "bad-request" },
        { "{\"request\":\"sta\xfftus\"}", "bad-request" },
        { "{}", "bad-request" },
        { "{\"request\":null}", "bad-request" },
        { "{\"request\":{\"request\":\"status\"}}", "bad-request" },
        { "{\"request\":[\"status\"]}", "bad-request" },
        { "{\"request\":\"\"}", "unknown-request" },
        { "{\"request\":\"Status\"}", "unknown-request" },
        { "{\"request\":\"status\",\"target\":\"all\"}", "bad-request" },
        { "{\"request\":\"status\",\"x\":1}", "bad-request" },
        { "{\"request\":\"sessions\",\"target\":7}", "bad-request" },
        { "{\"request\":\"sessions\",\"target\":null}", "bad-request" },
        { "{\"request\":\"sessions\",\"run\":\"run\"}", "bad-request" },
        { "{\"request\":\"sessions\",\"target\":\"none\"}", "no-such-vm" },
        { "{\"request\":\"set\"}", "bad-request" },
        { "{\"request\":\"set\",\"target\":\"all\"}", "bad-request" },
        { "{\"request\":\"set\",\"run\":\"run\"}", "bad-request" },
        { "{\"request\":\"set\",\"target\":\"all\",\"run\":1}", "bad-request" },
        { "{\"request\":\"set\",\"target\":\"all\",\"run\":\"stop\"}",
          "bad-request" },
        { "{\"request\":\"set\",\"target\":\"all\","
          "\"scan_cpu_percent\":\"5\"}",
          "bad-request" },
        { "{\"request\":\"set\",\"target\":\"all\","
          "\"scan_cpu_percent\":5.5}",
          "bad-request" },
        { "{\"request\":\"set\",\"target\":\"all\","
          "\"scan_interval_ms\":-1}",
          "bad-request" },
        { "{\"request\":\"set\",\"target\":\"all\","
          "\"max_mappings\":4294967296}",
          "bad-request" },
        { "{\"request\":\"map\"}", "bad-request" },
        { "{\"request\":\"map\",\"target\":\"group:\"}", "no-such-group" },
        { "{\"request\":\"history\",\"seconds\":-5}", "bad-request" },
        { "{\"request\":\"history\",\"seconds\":1e30}", "bad-request" },
        { "{\"request\":\"history\",\"group\":\"x\"}", "no-such-group" },
    };
    Fixture fixture;
    guint i;

    fixture_open(&fixture, NULL);
    for (i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *code = ctl_fixture_ask_error(fixture.broker,
                                                      rows[i].request);

        g_test_message("row %u: %s", i, code);
        g_assert_cmpstr(code, ==, rows[i].code);
    }
    fixture_close(&fixture);
}

/* A connection goes on after an error in a request. */
static void test_goes_on(void)
{
    g_autofree char *first = NULL, *second = NULL;
    Fixture fixture;
    int fd;

    fixture_open(&fixture, NULL);
    fd = ctl_fixture_connect(fixture.broker);
    ctl_fixture_send(fd, "{}\n", 3);
    first = ctl_fixture_receive(fd);
    g_assert_nonnull(strstr(first, "bad-request"));
    ctl_fixture_send(fd, "{\"request\":", 11);
    ctl_fixture_send(fd, "\"status\"}\n", 10);
    second = ctl_fixture_receive(fd);
    g_assert_nonnull(strstr(second, "{\"ok\":true"));
    close(fd);
    fixture_close(&fixture);
}

/* Sends bytes; the error there must be, then the end. */
static void assert_ended(Fixture *fixture, const char *text, gsize bytes,
                         const char *words)
{
    g_autofree char *reply = NULL, *more = NULL;
    int fd = ctl_fixture_connect(fixture->broker);

    ctl_fixture_send(fd, text, bytes);
    reply = ctl_fixture_receive(fd);
    g_assert_nonnull(reply);
    g_assert_nonnull(strstr(reply, words));
    more = ctl_fixture_receive(fd);
    g_assert_null(more);
    close(fd);
}

static void test_long(void)
{
    const gsize huge = 8u << 20;
    g_autofree char *text = g_malloc(huge);
    g_autofree char *code = NULL;
    Fixture fixture;
    guint64 before;

    fixture_open(&fixture, NULL);
    before = ksm_test_status_kib(fixture.broker->pid, "VmRSS");
    memset(text, 'x', huge);
    assert_ended(&fixture, text, huge, "longer than 4096");
    assert_ended(&fixture, text, 4096, "longer than 4096");
    assert_ended(&fixture,
                 "{\"request\":\"status\"}\n{\"request\":\"status\"}\n", 42,
                 "more than one request");
    /* as deep as a line can be: the parser must stand it */
    memset(text, '[', 4090);
    text[4090] = '\0';
    code = ctl_fixture_ask_error(fixture.broker, text);
    g_assert_cmpstr(code, ==, "bad-request");
    g_assert_cmpuint(ksm_test_status_kib(fixture.broker->pid, "VmRSS"), <,
                     before + 4096);
    fixture_close(&fixture);
}

static void test_random(void)
{
    static const char alphabet[] = "{}[]\":,\\u0019trefalsn-+.eE \t"
                                   "requeststatusessionstargetall";
    g_autoptr(GRand) rand = g_rand_new_with_seed(4);
    char line[201];
    guint i, k;
    Fixture fixture;

    fixture_open(&fixture, NULL);
    for (i = 0; i < 3000; i++) {
        guint length = (guint)g_rand_int_range(rand, 1, 200);
        g_autofree char *reply = NULL;
        int fd = ctl_fixture_connect(fixture.broker);

        for (k = 0; k < length; k++) {
            line[k] =
                i % 2 ?
                    (char)g_rand_int_range(rand, 11, 256) :
                    alphabet[g_rand_int_range(rand, 0, sizeof(alphabet) - 1)];
        }
        line[length] = '\n';
        ctl_fixture_send(fd, line, length + 1);
        reply = ctl_fixture_receive(fd);
        g_assert_nonnull(reply);
        g_assert_nonnull(strstr(reply, "\"ok\":false"));
        close(fd);
    }
    fixture_close(&fixture);
}

static gboolean is_closed(gpointer opaque)
{
    char byte;

    return recv(*(int *)opaque, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* So many of one process; free the array. */
static GPtrArray *many_sessions(Fixture *fixture, guint count)
{
    GPtrArray *clients =
        g_ptr_array_new_with_free_func((GDestroyNotify)proto_client_free);
    guint i;

    for (i = 0; i < count; i++) {
        g_autofree char *name = g_strdup_printf("vm%u/ram0", i);

        g_ptr_array_add(clients, proto_client_new(fixture->broker->socket, "g",
                                                  name, 1000));
    }
    return clients;
}

/* A reply that is larger than a socket's buffer, and not read. */
static void test_slow_reader(void)
{
    static const char request[] = "{\"request\":\"sessions\"}\n";
    g_autoptr(GPtrArray) clients = NULL;
    g_autofree char *reply = NULL;
    double begin, slowest = 0;
    Fixture fixture;
    int fd, slow;

    fixture_open(&fixture, "--max-process-sessions 400");
    clients = many_sessions(&fixture, 300);
    slow = ctl_fixture_connect(fixture.broker);
    ctl_fixture_send(slow, request, strlen(request));
    begin = ksm_test_now();
    while (ksm_test_now() - begin < 12) {
        double asked = ksm_test_now();
        g_autoptr(JsonObject) status =
            ctl_fixture_ask(fixture.broker, "{\"request\":\"status\"}");

        g_assert_true(json_object_has_member(status, "groups"));
        slowest = MAX(slowest, ksm_test_now() - asked);
        g_usleep(50000);
    }
    g_test_message("slowest reply to another client: %.1f ms", slowest * 1000);
    g_assert_cmpfloat(slowest, <, 1.0);
    /* it was cut off: part of a line, then the end */
    reply = ctl_fixture_receive(slow);
    g_assert_null(reply);
    close(slow);
    fd = ctl_fixture_connect(fixture.broker);
    ctl_fixture_send(fd, request, strlen(request));
    g_free(reply);
    reply = ctl_fixture_receive(fd);
    g_assert_nonnull(reply);
    g_assert_cmpuint(strlen(reply), >, SOCKET_BYTES);
    close(fd);
    fixture_close(&fixture);
}

/* Half a request, and then nothing. */
static void test_half(void)
{
    Fixture fixture;
    int fd;

    fixture_open(&fixture, NULL);
    fd = ctl_fixture_connect(fixture.broker);
    ctl_fixture_send(fd, "{\"requ", 6);
    g_assert_cmpfloat(ksm_test_wait(is_closed, &fd, 20), >, 5);
    close(fd);
    fixture_close(&fixture);
}

static guint count_fds(int pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd", pid);
    GDir *dir = g_dir_open(path, 0, NULL);
    guint count = 0;

    g_assert_nonnull(dir);
    while (g_dir_read_name(dir)) {
        count++;
    }
    g_dir_close(dir);
    return count;
}

typedef struct Fds {
    int pid;
    guint count;
} Fds;

static gboolean has_fds(gpointer opaque)
{
    const Fds *fds = opaque;

    return count_fds(fds->pid) == fds->count;
}

static void test_many(void)
{
    static const char request[] = "{\"request\":\"status\"}\n";
    int connections[CLIENTS + 8];
    guint served = 0, refused = 0, i;
    Fixture fixture;
    Fds fds;

    fixture_open(&fixture, NULL);
    fds.pid = fixture.broker->pid;
    /* an answer says that all before it is done, descriptors closed */
    proto_client_stats(fixture.witness);
    fds.count = count_fds(fds.pid);
    for (i = 0; i < G_N_ELEMENTS(connections); i++) {
        connections[i] = ctl_fixture_connect(fixture.broker);
        g_assert_cmpint(connections[i], >=, 0);
    }
    for (i = 0; i < G_N_ELEMENTS(connections); i++) {
        g_autofree char *reply = NULL;

        ctl_fixture_send(connections[i], request, strlen(request));
        reply = ctl_fixture_receive(connections[i]);
        g_assert_nonnull(reply);
        served += g_str_has_prefix(reply, "{\"ok\":true");
        refused += strstr(reply, "\"busy\"") != NULL;
    }
    g_assert_cmpuint(served, ==, CLIENTS);
    g_assert_cmpuint(refused, ==, 8);
    for (i = 0; i < G_N_ELEMENTS(connections); i++) {
        close(connections[i]);
    }
    g_assert_cmpfloat(ksm_test_wait(has_fds, &fds, 10), >=, 0);
    fixture_close(&fixture);
}

/* CPU time of a process so far, in seconds, of the kernel's nanoseconds. */
static double cpu_seconds(int pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/schedstat", pid);
    g_autofree char *text = NULL;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    return (double)g_ascii_strtoull(text, NULL, 10) / 1e9;
}

/*
 * Fifty sessions that report each second, and a tool that asks for all of it
 * each second: about half a per cent of a CPU in the broker, on a machine that
 * has nothing else to do.  A busy one needs more time for the same.
 */
static void test_cost(void)
{
    g_autoptr(GPtrArray) clients = NULL;
    double begin, spent, percent;
    const guint rounds = 5;
    Fixture fixture;
    guint i, k;

    fixture_open(&fixture, "--max-process-sessions 100");
    clients = many_sessions(&fixture, 50);
    spent = cpu_seconds(fixture.broker->pid);
    for (k = 0; k < rounds; k++) {
        begin = ksm_test_now();
        for (i = 0; i < clients->len; i++) {
            proto_client_stats(g_ptr_array_index(clients, i));
        }
        json_object_unref(
            ctl_fixture_ask(fixture.broker, "{\"request\":\"status\"}"));
        json_object_unref(
            ctl_fixture_ask(fixture.broker, "{\"request\":\"sessions\"}"));
        g_usleep((gulong)(MAX(begin + 1 - ksm_test_now(), 0) * 1e6));
    }
    spent = cpu_seconds(fixture.broker->pid) - spent;
    percent = spent / rounds * 100;
    g_test_message("the broker spent %.3f %% of a CPU", percent);
    g_assert_cmpfloat(percent, <, 3.0);
    fixture_close(&fixture);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/control-hostile/nonsense", test_nonsense);
    g_test_add_func("/control-hostile/goes-on", test_goes_on);
    g_test_add_func("/control-hostile/long", test_long);
    g_test_add_func("/control-hostile/random", test_random);
    g_test_add_func("/control-hostile/slow-reader", test_slow_reader);
    g_test_add_func("/control-hostile/half", test_half);
    g_test_add_func("/control-hostile/many", test_many);
    g_test_add_func("/control-hostile/cost", test_cost);
    return g_test_run();
}
