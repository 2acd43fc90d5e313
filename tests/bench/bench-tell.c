/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bench-tell.c: what a guest can learn about another's pages by timing.
 *
 * A victim has pages with known content.  A spy makes pages with the same
 * content (right guesses) and with unique content (wrong guesses), waits until
 * all duplicates are shared, and times the first read and the first write of
 * each page: once in the victim's group, once in another.  Accuracy is the
 * share of the pages that a spy classifies correctly with the best threshold;
 * 0.5 is guessing.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <guest-ksm.h>

#include "broker-proc.h"
#include "page-content.h"
#include "require.h"

#define GUESSES 4000u /* of each kind */
#define PAGES (2 * GUESSES)
#define BYTES ((gsize)PAGES * KSM_PAGE_BYTES)
#define SETTLE_SECONDS 60.0
#define SETTLE_SCANS 50u

typedef struct Guest {
    KsmEngine *engine;
    KsmRegion *region;
    guint8 *memory;
    gboolean finds; /* the victim is in its group */
} Guest;

static guint64 now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (guint64)ts.tv_sec * 1000000000u + (guint64)ts.tv_nsec;
}

static void guest_open(Guest *guest, const char *name, const char *group,
                       const char *socket)
{
    g_autoptr(GError) error = NULL;
    KsmOptions options;

    ksm_options_init(&options);
    options.name = name;
    options.group = group;
    options.broker = socket;
    options.start_broker = FALSE;
    options.scan_interval_ms = 20;
    options.scan_cpu_percent = 100;
    guest->engine = ksm_engine_new(&options, &error);
    g_assert_no_error(error);
    guest->memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    g_assert_true(guest->memory != MAP_FAILED);
    guest->region = ksm_region_add(guest->engine, "ram", guest->memory, BYTES,
                                   KSM_REGION_FRESH, &error);
    g_assert_no_error(error);
    g_assert_true(ksm_engine_start(guest->engine, &error));
}

static void guest_close(Guest *guest)
{
    ksm_region_remove(guest->region);
    ksm_engine_free(guest->engine);
    munmap(guest->memory, BYTES);
}

static guint8 *page_of(const Guest *guest, guint page)
{
    return guest->memory + (gsize)page * KSM_PAGE_BYTES;
}

/* One of two neighbours is a right guess, now the first, now the second. */
static gboolean is_right(guint page)
{
    return (ksm_test_mix(page / 2, 7) & 1) == page % 2;
}

static void fill(Guest *guest, guint64 wrong)
{
    guint page;

    for (page = 0; page < PAGES; page++) {
        ksm_test_page_make(page_of(guest, page), KSM_TEST_SEEDED,
                           is_right(page) ? page + 1 : wrong + page);
    }
}

/* All right guesses are shared, or nothing is and all has been looked at. */
static gboolean is_settled(gpointer opaque)
{
    const Guest *guest = opaque;
    KsmStats stats;

    ksm_engine_get_stats(guest->engine, &stats);
    return stats.pages_sharing + stats.pages_unshared >= PAGES &&
           stats.full_scans >= SETTLE_SCANS &&
           (stats.pages_sharing >= GUESSES || !guest->finds);
}

static gint compare(gconstpointer a, gconstpointer b)
{
    guint64 x = *(const guint64 *)a, y = *(const guint64 *)b;

    return x < y ? -1 : x > y;
}

static guint below(const guint64 *sorted, guint64 limit)
{
    guint n = 0;

    while (n < GUESSES && sorted[n] < limit) {
        n++;
    }
    return n;
}

/* By the best threshold, whichever side it calls right. */
static double accuracy(const guint64 *right, const guint64 *wrong)
{
    guint best = 0, i;

    for (i = 0; i < GUESSES; i += 10) {
        guint hits = below(wrong, right[i]) + GUESSES - below(right, right[i]);

        best = MAX(best, MAX(hits, 2 * GUESSES - hits));
    }
    return (double)best / (2 * GUESSES);
}

static void tell(const char *group, const char *what, guint64 times[PAGES])
{
    g_autofree guint64 *right = g_new(guint64, GUESSES);
    g_autofree guint64 *wrong = g_new(guint64, GUESSES);
    guint page;

    for (page = 0; page < PAGES; page++) {
        (is_right(page) ? right : wrong)[page / 2] = times[page];
    }
    qsort(right, GUESSES, sizeof(guint64), compare);
    qsort(wrong, GUESSES, sizeof(guint64), compare);
    printf("%-6s %-12s %6" G_GUINT64_FORMAT " %6" G_GUINT64_FORMAT
           " %6" G_GUINT64_FORMAT "  %6" G_GUINT64_FORMAT " %6" G_GUINT64_FORMAT
           " %6" G_GUINT64_FORMAT "  %5.3f\n",
           group, what, right[GUESSES / 10], right[GUESSES / 2],
           right[GUESSES * 9 / 10], wrong[GUESSES / 10], wrong[GUESSES / 2],
           wrong[GUESSES * 9 / 10], accuracy(right, wrong));
}

static void measure(Guest *spy, gboolean writes, guint64 times[PAGES])
{
    guint page;

    for (page = 0; page < PAGES; page++) {
        volatile guint8 *byte = page_of(spy, page) + 64;
        guint64 start = now_ns();

        if (writes) {
            *byte = 1;
        } else {
            (void)*byte;
        }
        times[page] = now_ns() - start;
    }
}

/* In a process of its own, as a process has one group. */
static pid_t start(const char *socket, void (*run)(const char *socket))
{
    pid_t pid = fork();

    g_assert_cmpint(pid, >=, 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        run(socket);
        fflush(stdout);
        _exit(0);
    }
    return pid;
}

static void run_victim(const char *socket)
{
    Guest victim = { .finds = FALSE };

    guest_open(&victim, "victim", "victims", socket);
    fill(&victim, G_GUINT64_CONSTANT(1) << 40);
    pause();
}

static void spy_on(const char *socket, const char *label, const char *group)
{
    g_autofree guint64 *times = g_new(guint64, PAGES);
    Guest spy = { .finds = g_str_equal(group, "victims") };

    guest_open(&spy, "spy", group, socket);
    fill(&spy, G_GUINT64_CONSTANT(1) << 50);
    if (ksm_test_wait(is_settled, &spy, SETTLE_SECONDS) < 0) {
        g_error("the guests do not settle");
    }
    ksm_engine_set_run(spy.engine, KSM_RUN_PAUSE);
    g_usleep(200000);
    measure(&spy, FALSE, times);
    tell(label, "first read", times);
    measure(&spy, FALSE, times);
    tell(label, "second read", times);
    measure(&spy, TRUE, times);
    tell(label, "first write", times);
    measure(&spy, TRUE, times);
    tell(label, "second write", times);
    guest_close(&spy);
}

static void run_member(const char *socket)
{
    spy_on(socket, "same", "victims");
}

static void run_stranger(const char *socket)
{
    spy_on(socket, "other", "spies");
}

int main(void)
{
    g_autoptr(KsmTestBroker) broker = NULL;
    pid_t victim;

    if (!ksm_check_requirements(NULL)) {
        printf("no userfaultfd: nothing is shared\n");
        return 77;
    }
    broker = ksm_test_broker_new(NULL);
    printf("                    right guess          wrong guess\n"
           "group  access      p10    p50    p90     p10    p50    p90  "
           "accuracy\n");
    fflush(stdout);
    victim = start(broker->socket, run_victim);
    waitpid(start(broker->socket, run_member), NULL, 0);
    waitpid(start(broker->socket, run_stranger), NULL, 0);
    kill(victim, SIGKILL);
    waitpid(victim, NULL, 0);
    return 0;
}
