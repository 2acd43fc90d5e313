/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-limits.c: what the library refuses, with which code, and that the
 * message says what to do about it.
 */
#include <fcntl.h>
#include <grp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <guest-ksm.h>

#include "broker-proc.h"
#include "require.h"

#define PAGES 64
#define BYTES (PAGES * KSM_PAGE_BYTES)
#define NOBODY 65534

typedef struct BadOption {
    const char *name;
    const char *group;
    const char *broker;
    guint percent, interval_ms;
    const char *says; /* must be in the message */
    guint max_mappings;
} BadOption;

static const BadOption bad_options[] = {
    { "no-group", NULL, NULL, 10, 1000, "group", 0 },
    { "empty-group", "", NULL, 10, 1000, "group", 0 },
    { "group-of-64",
      "0123456789012345678901234567890123456789"
      "012345678901234567890123",
      NULL, 10, 1000, "63", 0 },
    { "group-with-slash", "a/b", NULL, 10, 1000, "letters", 0 },
    { "group-with-blank", "a b", NULL, 10, 1000, "letters", 0 },
    { "group-not-ascii", "gr\303\274n", NULL, 10, 1000, "letters", 0 },
    { "percent-0", "g", NULL, 0, 1000, "100", 0 },
    { "percent-101", "g", NULL, 101, 1000, "100", 0 },
    { "interval-9", "g", NULL, 10, 9, "3600000", 0 },
    { "interval-too-long", "g", NULL, 10, 3600001, "3600000", 0 },
    { "mappings-above-limit", "g", NULL, 10, 1000, "vm.max_map_count",
      G_MAXUINT },
};

static void test_bad_option(gconstpointer opaque)
{
    const BadOption *bad = opaque;
    g_autoptr(GError) error = NULL;
    KsmOptions options;
    KsmEngine *engine;

    if (!ksm_test_need_uffd()) {
        return;
    }
    ksm_options_init(&options);
    options.group = bad->group;
    options.scan_cpu_percent = bad->percent;
    options.scan_interval_ms = bad->interval_ms;
    options.max_mappings = bad->max_mappings;
    engine = ksm_engine_new(&options, &error);
    g_assert_null(engine);
    g_assert_error(error, KSM_ERROR, KSM_ERROR_INVALID);
    g_test_message("%s", error->message);
    g_assert_nonnull(strstr(error->message, bad->says));
}

static KsmEngine *make_engine(const char *socket, gboolean required)
{
    g_autoptr(GError) error = NULL;
    KsmOptions options;
    KsmEngine *engine;

    ksm_options_init(&options);
    options.group = "limits";
    options.broker = socket;
    options.start_broker = FALSE;
    options.required = required;
    engine = ksm_engine_new(&options, &error);
    g_assert_no_error(error);
    return engine;
}

static void test_run_time_options(void)
{
    g_autoptr(KsmEngine) engine = NULL;
    g_autoptr(GError) error = NULL;
    KsmStats stats;

    if (!ksm_test_need_uffd()) {
        return;
    }
    engine = make_engine("/nonexistent/broker.sock", FALSE);
    g_assert_true(ksm_engine_set_scan_cpu_percent(engine, 100, &error));
    g_assert_true(ksm_engine_set_scan_interval(engine, 10, &error));
    g_assert_true(ksm_engine_set_max_mappings(engine, 100, &error));
    g_assert_no_error(error);
    g_assert_false(ksm_engine_set_scan_cpu_percent(engine, 0, &error));
    g_assert_error(error, KSM_ERROR, KSM_ERROR_INVALID);
    g_clear_error(&error);
    g_assert_false(ksm_engine_set_scan_cpu_percent(engine, 101, NULL));
    g_assert_false(ksm_engine_set_scan_interval(engine, 9, &error));
    g_assert_error(error, KSM_ERROR, KSM_ERROR_INVALID);
    g_clear_error(&error);
    g_assert_false(ksm_engine_set_max_mappings(engine, G_MAXUINT, &error));
    g_assert_error(error, KSM_ERROR, KSM_ERROR_INVALID);
    /* What was refused has changed nothing. */
    g_assert_cmpuint(ksm_engine_get_scan_cpu_percent(engine), ==, 100);
    g_assert_cmpuint(ksm_engine_get_scan_interval(engine), ==, 10);
    g_assert_cmpuint(ksm_engine_get_max_mappings(engine), ==, 100);
    ksm_engine_set_run(engine, KSM_RUN_UNMERGE);
    g_assert_cmpint(ksm_engine_get_run(engine), ==, KSM_RUN_UNMERGE);
    g_assert_cmpstr(ksm_engine_get_group(engine), ==, "limits");
    g_assert_nonnull(ksm_engine_get_name(engine));
    ksm_engine_get_stats(engine, &stats);
    g_assert_cmpuint(stats.pages_total, ==, 0);
    g_assert_cmpint(stats.broker, ==, KSM_BROKER_NONE);
}

static void test_required_broker(void)
{
    g_autoptr(KsmTestBroker) broker = NULL;
    g_autoptr(KsmEngine) engine = NULL;
    g_autoptr(GError) error = NULL;

    if (!ksm_test_need_uffd()) {
        return;
    }
    broker = ksm_test_broker_new_idle();
    engine = make_engine(broker->socket, TRUE);
    g_assert_false(ksm_engine_start(engine, &error));
    g_assert_error(error, KSM_ERROR, KSM_ERROR_NO_BROKER);
    g_test_message("%s", error->message);
    g_assert_nonnull(strstr(error->message, broker->socket));
    g_assert_nonnull(strstr(error->message, "guest-ksmd"));
}

static gboolean is_connected(gpointer opaque)
{
    KsmStats stats;

    ksm_engine_get_stats(opaque, &stats);
    return stats.broker == KSM_BROKER_CONNECTED;
}

/* Without `required` it warns, runs, and connects when a broker comes. */
static void test_late_broker(void)
{
    g_autoptr(KsmTestBroker) broker = NULL;
    g_autoptr(KsmEngine) engine = NULL;
    g_autoptr(GError) error = NULL;
    double took;

    if (!ksm_test_need_uffd()) {
        return;
    }
    broker = ksm_test_broker_new_idle();
    engine = make_engine(broker->socket, FALSE);
    g_test_expect_message(NULL, G_LOG_LEVEL_WARNING, "*will not share memory*");
    g_assert_true(ksm_engine_start(engine, &error));
    g_assert_no_error(error);
    g_test_assert_expected_messages();
    g_assert_false(is_connected(engine));
    ksm_test_broker_start(broker);
    took = ksm_test_wait(is_connected, engine, 10);
    g_test_message("connected %.2f s after the broker's start", took);
    g_assert_cmpfloat(took, >=, 0);
}

static void assert_refused(KsmEngine *engine, const char *what, void *addr,
                           guint64 bytes)
{
    g_autoptr(GError) error = NULL;
    KsmRegion *region;

    region = ksm_region_add(engine, "bad", addr, bytes, KSM_REGION_NONE,
                            &error);
    if (region) {
        g_error("%s: was accepted", what);
    }
    g_assert_error(error, KSM_ERROR, KSM_ERROR_INVALID);
    g_test_message("%s: %s", what, error->message);
}

static void test_bad_regions(void)
{
    g_autoptr(KsmEngine) engine = NULL;
    g_autoptr(GError) error = NULL;
    unsigned char *memory, *shared;

    if (!ksm_test_need_uffd()) {
        return;
    }
    engine = make_engine("/nonexistent/broker.sock", FALSE);
    memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    shared = mmap(NULL, BYTES, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    g_assert_true(memory != MAP_FAILED && shared != MAP_FAILED);
    assert_refused(engine, "address not of a page", memory + 512, BYTES / 2);
    assert_refused(engine, "size not of pages", memory, BYTES - 512);
    assert_refused(engine, "no size", memory, 0);
    assert_refused(engine, "size past the address space", memory,
                   G_MAXUINT64 - KSM_PAGE_BYTES + 1);
    assert_refused(engine, "shared memory", shared, BYTES);
    munmap(shared, BYTES);
    assert_refused(engine, "nothing mapped", shared, BYTES);
    memory[BYTES - 1] = 7;
    ksm_region_add(engine, "good", memory, BYTES / 2, KSM_REGION_NONE, &error);
    g_assert_no_error(error);
    assert_refused(engine, "overlaps", memory + BYTES / 4, BYTES / 2);
    g_assert_cmpint(memory[BYTES - 1], ==, 7);
    munmap(memory + BYTES / 2, BYTES / 2);
}

/* In a child that has no privileges: writes code and message to fd. */
static void check_as_nobody(int fd)
{
    g_autoptr(GError) error = NULL;
    int code = 0;

    if (setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) ||
        setresuid(NOBODY, NOBODY, NOBODY)) {
        _exit(2);
    }
    if (!ksm_check_requirements(&error)) {
        code = error->code;
        if (write(fd, error->message, strlen(error->message)) < 0) {
            _exit(3);
        }
    }
    _exit(code ? 10 + code : 0);
}

static gboolean nobody_may(void)
{
    g_autofree char *text = NULL;

    return g_file_get_contents("/proc/sys/vm/unprivileged_userfaultfd", &text,
                               NULL, NULL) &&
           text[0] == '1';
}

static void test_no_privileges(void)
{
    char message[1024] = "";
    int fds[2], status;
    pid_t pid;

    if (!ksm_test_need_uffd()) {
        return;
    }
    if (geteuid() != 0 || nobody_may()) {
        g_test_skip("not root, or everybody may use userfaultfd here");
        return;
    }
    g_assert_cmpint(pipe2(fds, O_CLOEXEC), ==, 0);
    pid = fork();
    g_assert_cmpint(pid, >=, 0);
    if (pid == 0) {
        check_as_nobody(fds[1]);
    }
    close(fds[1]);
    status = ksm_test_reap(pid, 30);
    g_assert_cmpint(read(fds[0], message, sizeof(message) - 1), >=, 0);
    close(fds[0]);
    g_test_message("%s", message);
    g_assert_true(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, 10 + KSM_ERROR_PERMISSION);
    g_assert_nonnull(strstr(message, "/dev/userfaultfd"));
}

int main(int argc, char **argv)
{
    gsize i;

    g_test_init(&argc, &argv, NULL);
    for (i = 0; i < G_N_ELEMENTS(bad_options); i++) {
        g_autofree char *path = NULL;

        path = g_strdup_printf("/limits/option/%s", bad_options[i].name);
        g_test_add_data_func(path, &bad_options[i], test_bad_option);
    }
    g_test_add_func("/limits/run-time-options", test_run_time_options);
    g_test_add_func("/limits/required-broker", test_required_broker);
    g_test_add_func("/limits/late-broker", test_late_broker);
    g_test_add_func("/limits/bad-regions", test_bad_regions);
    g_test_add_func("/limits/no-privileges", test_no_privileges);
    return g_test_run();
}
