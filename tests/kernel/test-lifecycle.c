/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-lifecycle.c: an engine leaves nothing behind; brokers that engines
 * start are one, and end with their last engine.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker-proc.h"
#include "proc-info.h"
#include "remote-engine.h"
#include "require.h"
#include "zero-page.h"

#define PAGES 1024
#define CYCLES 5
#define IDLE_SECONDS 30.0

static KsmEngine *make_engine(KsmTestBroker *broker)
{
    g_autoptr(GError) error = NULL;
    KsmEngine *engine;
    KsmOptions options;

    ksm_options_init(&options);
    options.group = "life";
    options.broker = broker->socket;
    options.start_broker = FALSE;
    options.required = TRUE;
    options.scan_interval_ms = 10;
    options.scan_cpu_percent = 100;
    engine = ksm_engine_new(&options, &error);
    g_assert_no_error(error);
    return engine;
}

static void *make_memory(void)
{
    void *memory = mmap(NULL, PAGES * KSM_PAGE_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    g_assert_true(memory != MAP_FAILED);
    return memory;
}

static void fill(unsigned char *memory)
{
    guint i;

    for (i = 0; i < PAGES; i++) {
        ksm_test_page_make(memory + i * KSM_PAGE_BYTES,
                           i % 4 ? KSM_TEST_SEEDED : KSM_TEST_ZERO, i % 16);
    }
}

/* A whole life: pages get shared; the end in several orders. */
static void live(KsmTestBroker *broker, guint cycle)
{
    g_autoptr(GError) error = NULL;
    KsmEngine *engine = make_engine(broker);
    unsigned char *memory = make_memory();
    KsmRegion *region;
    KsmStats stats;
    guint i;

    region = ksm_region_add(engine, "ram", memory, PAGES * KSM_PAGE_BYTES,
                            cycle % 2 ? KSM_REGION_FRESH : KSM_REGION_NONE,
                            &error);
    g_assert_no_error(error);
    g_assert_nonnull(region);
    fill(memory);
    if (cycle % 5 != 4) { /* else: an engine that was never started */
        ksm_engine_start(engine, &error);
        g_assert_no_error(error);
        for (i = 0; i < 8; i++) {
            ksm_engine_run_round(engine);
        }
        ksm_engine_get_stats(engine, &stats);
        g_assert_cmpuint(stats.pages_sharing, >, 0);
        g_assert_true((stats.zero_pages > 0) == ksm_test_has_zero_page());
    }
    if (cycle % 3 == 1) {
        ksm_region_remove(region);
    } else if (cycle % 3 == 2) {
        ksm_engine_suspend(engine, "test");
        ksm_engine_suspend(engine, "again");
        ksm_engine_resume(engine);
    }
    ksm_engine_free(engine);
    for (i = 0; i < PAGES; i++) {
        g_assert_true(
            ksm_test_page_is(memory + i * KSM_PAGE_BYTES, KSM_TEST_ZERO, 0));
    }
    munmap(memory, PAGES * KSM_PAGE_BYTES);
}

static void test_leaves_nothing(void)
{
    g_autoptr(KsmTestBroker) broker = NULL;
    g_autofree char *list = NULL;
    guint64 fds, threads, mappings;
    guint i;

    if (!ksm_test_need_uffd()) {
        return;
    }
    broker = ksm_test_broker_new(NULL);
    for (i = 0; i < CYCLES; i++) {
        live(broker, i); /* thread stacks and the like stay cached */
    }
    fds = ksm_test_count_fds();
    threads = ksm_test_count_threads();
    mappings = ksm_test_count_mappings();
    for (i = 0; i < 2 * CYCLES; i++) {
        live(broker, i);
    }
    list = ksm_test_list_fds();
    g_test_message("%" PRIu64 " descriptors, %" PRIu64 " threads, %" PRIu64
                   " mappings before; %" PRIu64 ", %" PRIu64 ", %" PRIu64
                   " after\n%s",
                   fds, threads, mappings, ksm_test_count_fds(),
                   ksm_test_count_threads(), ksm_test_count_mappings(), list);
    g_assert_cmpuint(ksm_test_count_fds(), ==, fds);
    g_assert_cmpuint(ksm_test_count_threads(), ==, threads);
#ifndef __SANITIZE_ADDRESS__ /* whose allocator keeps what was freed */
    g_assert_cmpuint(ksm_test_count_mappings(), ==, mappings);
#endif
}

/* A broker that hangs or has gone must not hold up the end of a guest. */
static void test_end_without_broker(gconstpointer opaque)
{
    int sig = GPOINTER_TO_INT(opaque);
    g_autoptr(KsmTestBroker) broker = NULL;
    g_autoptr(GError) error = NULL;
    unsigned char *memory;
    KsmEngine *engine;
    double start;
    guint i;

    if (!ksm_test_need_uffd()) {
        return;
    }
    broker = ksm_test_broker_new(NULL);
    engine = make_engine(broker);
    memory = make_memory();
    ksm_region_add(engine, "ram", memory, PAGES * KSM_PAGE_BYTES,
                   KSM_REGION_FRESH, &error);
    g_assert_no_error(error);
    fill(memory);
    ksm_engine_start(engine, &error);
    g_assert_no_error(error);
    for (i = 0; i < 4; i++) {
        ksm_engine_run_round(engine);
    }
    kill(broker->pid, sig);
    start = ksm_test_now();
    ksm_engine_free(engine);
    g_test_message("freed in %.3f s", ksm_test_now() - start);
    g_assert_cmpfloat(ksm_test_now() - start, <=, 10);
    kill(broker->pid, SIGCONT);
    munmap(memory, PAGES * KSM_PAGE_BYTES);
}

/* The process that listens on the socket; 0: nobody does. */
static pid_t listener(KsmTestBroker *broker)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct ucred cred = { 0 };
    socklen_t length = sizeof(cred);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    g_strlcpy(address.sun_path, broker->socket, sizeof(address.sun_path));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &length);
    }
    close(fd);
    return cred.pid;
}

static gboolean has_gone(gpointer opaque)
{
    return kill(*(pid_t *)opaque, 0) < 0 && errno == ESRCH;
}

/* Processes whose command line names this socket: brokers, all of them. */
static guint count_brokers(KsmTestBroker *broker)
{
    GDir *dir = g_dir_open("/proc", 0, NULL);
    const char *name;
    guint count = 0;

    while ((name = g_dir_read_name(dir))) {
        g_autofree char *path = NULL;
        g_autofree char *text = NULL;
        gsize length = 0, at;

        if (!g_ascii_isdigit(name[0])) {
            continue;
        }
        path = g_build_filename("/proc", name, "cmdline", NULL);
        if (!g_file_get_contents(path, &text, &length, NULL)) {
            continue;
        }
        for (at = 0; at + 1 < length; at++) {
            text[at] = text[at] ? text[at] : ' ';
        }
        count += strstr(text, broker->socket) != NULL;
    }
    g_dir_close(dir);
    return count;
}

static gboolean one_is_left(gpointer opaque)
{
    return count_brokers(opaque) == 1;
}

static void test_start_broker(void)
{
    g_autoptr(KsmTestBroker) broker = NULL;
    KsmRemoteSpec spec = { .pages = PAGES, .start_broker = TRUE };
    KsmRemote *remotes[4];
    KsmRemoteState state;
    double took;
    pid_t pid;
    guint i;

    if (!ksm_test_need_uffd()) {
        return;
    }
    broker = ksm_test_broker_new_idle();
    spec.socket = broker->socket;
    ksm_test_broker_program(); /* $GUEST_KSMD is what the engines start */
    ksm_remotes_new(remotes, G_N_ELEMENTS(remotes), &spec);
    pid = listener(broker);
    g_assert_cmpint(pid, >, 0);
    took = ksm_test_wait(one_is_left, broker, 10);
    g_test_message("%u engines, one broker after %.2f s",
                   (guint)G_N_ELEMENTS(remotes), took);
    g_assert_cmpfloat(took, >=, 0);
    g_assert_cmpint(listener(broker), ==, pid);
    for (i = 0; i < G_N_ELEMENTS(remotes); i++) {
        ksm_remote_fill(remotes[i], 0, PAGES, KSM_TEST_SEEDED, 3, TRUE);
    }
    ksm_remotes_settle(remotes, G_N_ELEMENTS(remotes),
                       G_N_ELEMENTS(remotes) * PAGES, 30);
    for (i = 0; i < G_N_ELEMENTS(remotes); i++) {
        ksm_remote_state(remotes[i], &state);
        g_assert_cmpuint(state.stats.pages_sharing, ==, PAGES);
        ksm_remote_free(remotes[i]);
    }
    took = ksm_test_wait(has_gone, &pid, IDLE_SECONDS);
    g_test_message("the broker ended %.1f s after its last engine", took);
    g_assert_cmpfloat(took, >=, 0);
}

int main(int argc, char **argv)
{
    ksm_remote_main(argc, argv);
    g_test_init(&argc, &argv, NULL);
    /* The engine warns of a lost broker. */
    g_log_set_always_fatal(G_LOG_FATAL_MASK | G_LOG_LEVEL_CRITICAL);
    g_test_add_func("/lifecycle/leaves-nothing", test_leaves_nothing);
    g_test_add_data_func("/lifecycle/end-after-broker-died",
                         GINT_TO_POINTER(SIGKILL), test_end_without_broker);
    g_test_add_data_func("/lifecycle/end-while-broker-hangs",
                         GINT_TO_POINTER(SIGSTOP), test_end_without_broker);
    g_test_add_func("/lifecycle/engines-start-one-broker", test_start_broker);
    return g_test_run();
}
