/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-faults.c: a host that runs out of something while guests share.
 *
 * Savings shrink, the statistics show why, and savings recover; nothing else
 * happens.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <guest-ksm.h>

#include "broker-proc.h"
#include "page-content.h"
#include "proc-info.h"
#include "require.h"

typedef struct Guest {
    KsmEngine *engine;
    KsmRegion *region;
    guint8 *memory;
    guint32 pages;
} Guest;

static void guest_open(Guest *guest, const char *socket, guint32 pages)
{
    g_autoptr(GError) error = NULL;
    gsize bytes = (gsize)pages * KSM_PAGE_BYTES;
    KsmOptions options;

    ksm_options_init(&options);
    options.name = "guest";
    options.group = "faults";
    options.broker = socket;
    options.start_broker = FALSE;
    options.scan_interval_ms = 20;
    options.scan_cpu_percent = 100;
    guest->engine = ksm_engine_new(&options, &error);
    g_assert_no_error(error);
    guest->memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    g_assert_true(guest->memory != MAP_FAILED);
    guest->region = ksm_region_add(guest->engine, "ram", guest->memory, bytes,
                                   KSM_REGION_FRESH, &error);
    g_assert_no_error(error);
    guest->pages = pages;
}

static void guest_close(Guest *guest)
{
    ksm_region_remove(guest->region);
    ksm_engine_free(guest->engine);
    munmap(guest->memory, (gsize)guest->pages * KSM_PAGE_BYTES);
}

/*
 * The second half has what the first has, but no two neighbours in order: each
 * of its pages needs a mapping of its own.
 */
static guint64 seed_of(const Guest *guest, guint32 page)
{
    guint32 half = guest->pages / 2;

    return 1 + (page < half ? page :
                              (guint32)((guint64)(page - half) * 7919 % half));
}

static void fill(Guest *guest)
{
    guint32 page;

    for (page = 0; page < guest->pages; page++) {
        ksm_test_page_make(guest->memory + (gsize)page * KSM_PAGE_BYTES,
                           KSM_TEST_SEEDED, seed_of(guest, page));
    }
}

static void check(const Guest *guest)
{
    guint32 page;

    for (page = 0; page < guest->pages; page++) {
        g_assert_true(
            ksm_test_page_is(guest->memory + (gsize)page * KSM_PAGE_BYTES,
                             KSM_TEST_SEEDED, seed_of(guest, page)));
    }
}

static KsmStats stats_of(const Guest *guest)
{
    KsmStats stats;

    ksm_engine_get_stats(guest->engine, &stats);
    return stats;
}

/* ---- vm.max_map_count ------------------------------------------------------ */

#define MAP_COUNT "/proc/sys/vm/max_map_count"
#define MAP_PAGES 48000u
/* When the limit is lowered: well below it, as figures are some 0.1 s old. */
#define MAP_START 6000u
#define MAP_LOWERED "20000" /* more than other programs have */
#define MAP_BELOW "12000"   /* less than we have by then */
#define MAP_SECONDS 60.0

static char *read_limit(void)
{
    char *text = NULL;

    g_assert_true(g_file_get_contents(MAP_COUNT, &text, NULL, NULL));
    return g_strstrip(text);
}

static gboolean write_limit(const char *limit)
{
    int fd = open(MAP_COUNT, O_WRONLY | O_CLOEXEC);
    gboolean ok = fd >= 0 && write(fd, limit, strlen(limit)) > 0;

    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

/* The limit as it was, whatever becomes of the test's own process. */
static pid_t guard_limit(const char *limit)
{
    pid_t parent = getpid(), pid = fork();

    g_assert_cmpint(pid, >=, 0);
    if (pid == 0) {
        setpgid(0, 0);
        while (getppid() == parent) {
            g_usleep(50000);
        }
        write_limit(limit);
        _exit(0);
    }
    return pid;
}

static gboolean has_many_mappings(gpointer guest)
{
    return stats_of(guest).mappings >= MAP_START;
}

static gboolean is_degraded(gpointer guest)
{
    return stats_of(guest).degraded == KSM_DEGRADED_MAPPINGS &&
           stats_of(guest).refused_budget > 0;
}

static gboolean has_all(gpointer guest)
{
    return stats_of(guest).pages_sharing == MAP_PAGES;
}

static void lower_and_raise(Guest *guest, const char *limit)
{
    KsmStats stats;
    guint64 scans;

    g_assert_cmpfloat(ksm_test_wait(has_many_mappings, guest, MAP_SECONDS), >=,
                      0);
    g_assert_true(write_limit(MAP_LOWERED));
    g_assert_cmpfloat(ksm_test_wait(is_degraded, guest, MAP_SECONDS), >=, 0);
    stats = stats_of(guest);
    g_test_message("lowered to " MAP_LOWERED ": %" G_GUINT64_FORMAT
                   " of %u pages shared, %" G_GUINT64_FORMAT
                   " mappings, %" G_GUINT64_FORMAT " refused for the budget",
                   stats.pages_sharing, MAP_PAGES, stats.mappings,
                   stats.refused_budget);
    g_assert_cmpuint(stats.pages_sharing, <, MAP_PAGES);
    /* Its file has a line more, for a page that is no mapping. */
    g_assert_cmpuint(ksm_test_count_mappings(), <=, 20001);
    check(guest);
    /* Below what is in use: nothing can be mapped any more. */
    g_assert_true(write_limit(MAP_BELOW));
    scans = stats_of(guest).full_scans;
    while (stats_of(guest).full_scans < scans + 5) {
        check(guest);
    }
    g_assert_true(write_limit(limit));
    g_assert_cmpfloat(ksm_test_wait(has_all, guest, MAP_SECONDS), >=, 0);
    check(guest);
}

static void test_max_map_count(void)
{
    g_autoptr(KsmTestBroker) broker = NULL;
    g_autoptr(GError) error = NULL;
    g_autofree char *limit = NULL;
    Guest guest;
    pid_t guard;

    if (!ksm_test_need_uffd()) {
        return;
    }
    limit = read_limit();
    if (atoi(limit) < 60000 || !write_limit(limit)) {
        g_test_skip("vm.max_map_count cannot be lowered here");
        return;
    }
    guard = guard_limit(limit);
    broker = ksm_test_broker_new(NULL);
    guest_open(&guest, broker->socket, MAP_PAGES);
    fill(&guest);
    g_assert_true(ksm_engine_start(guest.engine, &error));
    lower_and_raise(&guest, limit);
    guest_close(&guest);
    kill(guard, SIGKILL);
    waitpid(guard, NULL, 0);
}

/* ---- two hundred at once ---------------------------------------------------- */

#define BOMB 200u
#define BOMB_PAGES 256u
#define BOMB_SECONDS 120.0

static gboolean shares_all(gpointer guest)
{
    return stats_of(guest).pages_sharing == BOMB_PAGES;
}

/* A tiny VM; says when all of it is shared, and stays. */
static void bomb_child(const char *socket, int reports)
{
    g_autoptr(GError) error = NULL;
    Guest guest;

    guest_open(&guest, socket, BOMB_PAGES);
    fill(&guest);
    if (!ksm_engine_start(guest.engine, &error) ||
        ksm_test_wait(shares_all, &guest, BOMB_SECONDS) < 0) {
        _exit(1);
    }
    check(&guest);
    if (write(reports, "1", 1) != 1) {
        _exit(1);
    }
    pause();
    _exit(0);
}

static guint count_fds_of(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd", (int)pid);
    GDir *dir = g_dir_open(path, 0, NULL);
    guint n = 0;

    g_assert_nonnull(dir);
    while (g_dir_read_name(dir)) {
        n++;
    }
    g_dir_close(dir);
    return n;
}

typedef struct Alone {
    pid_t pid;
    guint fds;
} Alone;

static gboolean is_alone(gpointer opaque)
{
    const Alone *alone = opaque;

    return count_fds_of(alone->pid) <= alone->fds;
}

static void test_bomb(void)
{
    g_autoptr(KsmTestBroker) broker = NULL;
    pid_t pids[BOMB], parent = getpid();
    guint64 kib;
    Alone alone;
    int reports[2];
    guint i;
    char byte;
    double start;

    if (!ksm_test_need_uffd()) {
        return;
    }
    broker = ksm_test_broker_new(NULL);
    alone = (Alone) { broker->pid, count_fds_of(broker->pid) };
    kib = ksm_test_status_kib(broker->pid, "RssAnon");
    g_assert_cmpint(pipe(reports), ==, 0);
    start = ksm_test_now();
    for (i = 0; i < BOMB; i++) {
        pids[i] = fork();
        g_assert_cmpint(pids[i], >=, 0);
        if (pids[i] == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            close(reports[0]);
            if (getppid() == parent) {
                bomb_child(broker->socket, reports[1]);
            }
            _exit(1);
        }
    }
    close(reports[1]);
    for (i = 0; i < BOMB; i++) {
        g_assert_cmpint(read(reports[0], &byte, 1), ==, 1);
    }
    close(reports[0]);
    g_test_message("%u share all of it after %.1f s: the broker has %u "
                   "descriptors and %" G_GUINT64_FORMAT " KiB more",
                   BOMB, ksm_test_now() - start,
                   count_fds_of(broker->pid) - alone.fds,
                   ksm_test_status_kib(broker->pid, "RssAnon") - kib);
    g_assert_cmpuint(count_fds_of(broker->pid) - alone.fds, <, 4 * BOMB);
    g_assert_cmpuint(ksm_test_status_kib(broker->pid, "RssAnon") - kib, <,
                     16 * 1024);
    for (i = 0; i < BOMB; i++) {
        kill(pids[i], SIGKILL);
    }
    for (i = 0; i < BOMB; i++) {
        waitpid(pids[i], NULL, 0);
    }
    g_assert_cmpfloat(ksm_test_wait(is_alone, &alone, BOMB_SECONDS), >=, 0);
    g_assert_true(ksm_test_broker_stop(broker));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_log_set_always_fatal(G_LOG_FATAL_MASK);
    /* First, as its children must not inherit threads' locks. */
    g_test_add_func("/faults/a-bomb-of-guests", test_bomb);
    g_test_add_func("/faults/max-map-count", test_max_map_count);
    return g_test_run();
}
