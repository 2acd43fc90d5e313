/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-memory-failure.c: memory that fails for real, by the kernel's own
 * injection: a private page that only the scanner reads, and a shared
 * page, under two guests and a broker.
 *
 * The memory is lost to the machine, so this runs only where it is required
 * (KSM_TEST_REQUIRE=memory-failure): in scripts/lab.
 */
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include <guest-ksm.h>

#include "broker-proc.h"
#include "page-content.h"
#include "poison.h"
#include "require.h"

#define PAGES 256u
#define SHARED 128u /* pages that both have */
#define BAD_SHARED 10u
#define BAD_PRIVATE 200u
#define SECONDS 120.0

typedef struct Guest {
    guint number;
    KsmEngine *engine;
    KsmRegion *region;
    guint8 *memory;
    guint64 wanted; /* what is waited for */
} Guest;

static guint8 *page_at(const Guest *guest, guint32 page)
{
    return guest->memory + (gsize)page * KSM_PAGE_BYTES;
}

static guint64 seed_of(const Guest *guest, guint32 page)
{
    return 1 + page + (page < SHARED ? 0 : guest->number * 1000000);
}

static void fill(const Guest *guest, guint32 page)
{
    ksm_test_page_make(page_at(guest, page), KSM_TEST_SEEDED,
                       seed_of(guest, page));
}

static void check(const Guest *guest, guint32 but, guint32 nor)
{
    guint32 page;

    for (page = 0; page < PAGES; page++) {
        if (page != but && page != nor) {
            g_assert_true(ksm_test_page_is(page_at(guest, page),
                                           KSM_TEST_SEEDED,
                                           seed_of(guest, page)));
        }
    }
}

static void guest_open(Guest *guest, guint number, const char *socket)
{
    g_autoptr(GError) error = NULL;
    KsmOptions options;
    guint32 page;

    ksm_options_init(&options);
    options.group = "failing";
    options.broker = socket;
    options.start_broker = FALSE;
    options.scan_interval_ms = 20;
    options.scan_cpu_percent = 100;
    guest->number = number;
    guest->memory = mmap(NULL, PAGES * KSM_PAGE_BYTES, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    g_assert_true(guest->memory != MAP_FAILED);
    guest->engine = ksm_engine_new(&options, &error);
    g_assert_no_error(error);
    guest->region = ksm_region_add(guest->engine, "ram", guest->memory,
                                   PAGES * KSM_PAGE_BYTES, KSM_REGION_FRESH,
                                   &error);
    g_assert_no_error(error);
    for (page = 0; page < PAGES; page++) {
        fill(guest, page);
    }
    g_assert_true(ksm_engine_start(guest->engine, &error));
}

static KsmStats stats_of(const Guest *guest)
{
    KsmStats stats;

    ksm_engine_get_stats(guest->engine, &stats);
    return stats;
}

static gboolean shares(gpointer guest)
{
    return stats_of(guest).pages_sharing == ((Guest *)guest)->wanted;
}

static gboolean has_noticed(gpointer guest)
{
    return stats_of(guest).pages_hwpoison == ((Guest *)guest)->wanted;
}

static gboolean is_retired(gpointer broker)
{
    g_autofree char *log = ksm_test_broker_read_log(broker);

    return strstr(log, "the memory of slot") != NULL;
}

static void wait_for(KsmTestCondition condition, Guest *guest, guint64 wanted)
{
    guest->wanted = wanted;
    g_assert_cmpfloat(ksm_test_wait(condition, guest, SECONDS), >=, 0);
}

/*
 * It fails after it was found written, and before it is idle: the scanner is
 * the only one who reads it.
 */
static void fail_private(Guest *guest)
{
    guint i;

    ksm_engine_set_run(guest->engine, KSM_RUN_PAUSE);
    fill(guest, BAD_PRIVATE);
    ksm_engine_run_round(guest->engine);
    g_assert_true(ksm_test_fail_memory(page_at(guest, BAD_PRIVATE)));
    for (i = 0; i < 10; i++) {
        ksm_engine_run_round(guest->engine);
    }
    ksm_engine_set_run(guest->engine, KSM_RUN_RUN);
    wait_for(has_noticed, guest, 1);
    g_assert_false(ksm_test_reads(page_at(guest, BAD_PRIVATE)));
    check(guest, BAD_PRIVATE, BAD_PRIVATE);
}

/* Everybody's, and nobody else's from then on. */
static void fail_shared(Guest *guests, KsmTestBroker *broker)
{
    guint i;

    g_assert_true(ksm_test_fail_memory(page_at(&guests[0], BAD_SHARED)));
    g_assert_cmpfloat(ksm_test_wait(is_retired, broker, SECONDS), >=, 0);
    for (i = 0; i < 2; i++) {
        g_assert_false(ksm_test_reads(page_at(&guests[i], BAD_SHARED)));
        check(&guests[i], BAD_SHARED, BAD_PRIVATE);
    }
    for (i = 0; i < 2; i++) {
        ksm_region_discard(guests[i].region, BAD_SHARED * KSM_PAGE_BYTES,
                           KSM_PAGE_BYTES);
        fill(&guests[i], BAD_SHARED);
    }
    for (i = 0; i < 2; i++) {
        wait_for(shares, &guests[i], SHARED);
        check(&guests[i], BAD_PRIVATE, BAD_PRIVATE);
    }
}

static void test_failing(void)
{
    g_autoptr(KsmTestBroker) broker = NULL;
    Guest guests[2] = { 0 };
    guint i;

    if (!ksm_test_is_required("memory-failure")) {
        g_test_skip("would take memory from this machine; "
                    "KSM_TEST_REQUIRE=memory-failure does");
        return;
    }
    if (!ksm_test_need_uffd()) {
        return;
    }
    ksm_test_sigbus_install(ksm_handle_sigbus);
    broker = ksm_test_broker_new(NULL);
    for (i = 0; i < 2; i++) {
        guest_open(&guests[i], i, broker->socket);
    }
    for (i = 0; i < 2; i++) {
        wait_for(shares, &guests[i], SHARED);
    }
    fail_private(&guests[0]);
    fail_shared(guests, broker);
    for (i = 0; i < 2; i++) {
        ksm_region_remove(guests[i].region);
        ksm_engine_free(guests[i].engine);
        munmap(guests[i].memory, PAGES * KSM_PAGE_BYTES);
    }
    g_assert_true(ksm_test_broker_stop(broker));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_log_set_always_fatal(G_LOG_FATAL_MASK); /* the engine warns */
    g_test_add_func("/memory-failure/injected", test_failing);
    return g_test_run();
}
