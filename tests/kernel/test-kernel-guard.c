/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-kernel-guard.c: an engine on a kernel that may damage swapped memory
 * moves nothing while there is swap, says why, and shares when that is gone.
 */
#include <string.h>
#include <sys/mman.h>

#include <guest-ksm.h>

#include "broker-proc.h"
#include "page-content.h"
#include "require.h"
#include "sys.h"

#define PAGES 512u
#define BYTES (PAGES * KSM_PAGE_BYTES)
#define SECONDS 30.0
#define REASON "swap is on and Linux 6.12.36 mishandles it: update to 6.12.37"

static KsmSys table;
static const char *release;
static gint swap;         /* atomic */
static gint moves, scans; /* atomic */

static int odd_release(char *to, size_t bytes)
{
    g_strlcpy(to, release, bytes);
    return 0;
}

static void odd_look(const char *root, KsmKernelHost *host)
{
    (void)root;
    host->swap = g_atomic_int_get(&swap);
    host->huge_store = false;
}

static int odd_move(int fd, void *dst, void *src, size_t bytes, size_t *moved)
{
    g_atomic_int_inc(&moves);
    return ksm_sys_linux.uffd_move(fd, dst, src, bytes, moved);
}

static int odd_scan(int fd, struct pm_scan_arg *arg)
{
    /* An empty one only asks whether the call is there. */
    g_atomic_int_add(&scans, arg->start != arg->end);
    return ksm_sys_linux.pagemap_scan(fd, arg);
}

typedef struct Fixture {
    KsmTestBroker *broker;
    KsmEngine *engine;
    unsigned char *memory;
} Fixture;

static void open_fixture(Fixture *f)
{
    g_autoptr(GError) error = NULL;
    KsmOptions options;
    guint i;

    table = ksm_sys_linux;
    table.kernel_release = odd_release;
    table.kernel_probe = odd_look;
    table.uffd_move = odd_move;
    table.pagemap_scan = odd_scan;
    ksm_sys = &table;
    moves = scans = 0;
    f->broker = ksm_test_broker_new(NULL);
    f->memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    g_assert_true(f->memory != MAP_FAILED);
    ksm_options_init(&options);
    options.group = "guard";
    options.broker = f->broker->socket;
    options.start_broker = FALSE;
    options.scan_interval_ms = 10;
    options.scan_cpu_percent = 100;
    f->engine = ksm_engine_new(&options, &error);
    g_assert_no_error(error);
    scans = 0; /* it has asked about a page of its own */
    ksm_region_add(f->engine, "ram", f->memory, BYTES, KSM_REGION_FRESH,
                   &error);
    g_assert_no_error(error);
    for (i = 0; i < PAGES; i++) {
        ksm_test_page_make(f->memory + i * KSM_PAGE_BYTES, KSM_TEST_SEEDED,
                           i % (PAGES / 2));
    }
    ksm_engine_start(f->engine, &error);
    g_assert_no_error(error);
}

static void close_fixture(Fixture *f)
{
    guint i;

    for (i = 0; i < PAGES; i++) {
        g_assert_true(ksm_test_page_is(f->memory + i * KSM_PAGE_BYTES,
                                       KSM_TEST_SEEDED, i % (PAGES / 2)));
    }
    ksm_engine_free(f->engine);
    ksm_test_broker_free(f->broker);
    munmap(f->memory, BYTES);
    ksm_sys = &ksm_sys_linux;
}

static gboolean all_shared(gpointer opaque)
{
    Fixture *f = opaque;
    KsmStats stats;

    ksm_engine_get_stats(f->engine, &stats);
    return stats.pages_sharing == PAGES && stats.state == KSM_STATE_RUNNING;
}

static gboolean is_aside(gpointer opaque)
{
    Fixture *f = opaque;
    KsmStats stats;

    ksm_engine_get_stats(f->engine, &stats);
    return stats.state == KSM_STATE_STOOD_ASIDE &&
           g_strcmp0(stats.stand_aside, REASON) == 0;
}

/* guest-ksmctl's word for it, by way of the broker. */
static gboolean is_told(gpointer opaque)
{
    Fixture *f = opaque;
    g_autofree char *socket = g_build_filename(f->broker->dir, "control.sock",
                                               NULL);
    const char *argv[] = {
        g_getenv("GUEST_KSMCTL"),       "--socket", socket, "vm",
        ksm_engine_get_name(f->engine), NULL
    };
    g_autofree char *text = NULL;
    g_autoptr(GError) error = NULL;

    g_assert_nonnull(argv[0]);
    g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_STDERR_TO_DEV_NULL, NULL,
                 NULL, &text, NULL, NULL, &error);
    g_assert_no_error(error);
    return strstr(text, "stood-aside: " REASON) != NULL;
}

static void run_rounds(Fixture *f, guint count)
{
    while (count--) {
        ksm_engine_run_round(f->engine);
    }
}

static void test_swap_goes(void)
{
    Fixture f;

    if (!ksm_test_need_uffd()) {
        return;
    }
    release = "6.12.36";
    g_atomic_int_set(&swap, TRUE);
    g_test_expect_message(NULL, G_LOG_LEVEL_WARNING, "*CVE-2025-38242*");
    open_fixture(&f);
    g_test_assert_expected_messages();
    run_rounds(&f, 20);
    g_assert_true(is_aside(&f));
    g_assert_cmpint(g_atomic_int_get(&moves), ==, 0);
    g_assert_cmpint(g_atomic_int_get(&scans), ==, 0);
    g_assert_cmpfloat(ksm_test_wait(is_told, &f, SECONDS), >=, 0);
    g_atomic_int_set(&swap, FALSE);
    g_assert_cmpfloat(ksm_test_wait(all_shared, &f, SECONDS), >=, 0);
    close_fixture(&f);
}

static void test_swap_comes(void)
{
    KsmStats stats;
    Fixture f;
    gint before;

    if (!ksm_test_need_uffd()) {
        return;
    }
    release = "6.12.36";
    g_atomic_int_set(&swap, FALSE);
    open_fixture(&f);
    g_assert_cmpfloat(ksm_test_wait(all_shared, &f, SECONDS), >=, 0);
    g_atomic_int_set(&swap, TRUE);
    g_assert_cmpfloat(ksm_test_wait(is_aside, &f, SECONDS), >=, 0);
    before = g_atomic_int_get(&moves);
    ksm_test_page_make(f.memory, KSM_TEST_SEEDED, 0);
    run_rounds(&f, 20);
    g_assert_cmpint(g_atomic_int_get(&moves), ==, before);
    /* What was shared stays so. */
    ksm_engine_get_stats(f.engine, &stats);
    g_assert_cmpuint(stats.pages_sharing, >=, PAGES - 1);
    close_fixture(&f);
}

static void check_shares(const char *text)
{
    Fixture f;

    if (!ksm_test_need_uffd()) {
        return;
    }
    release = text;
    g_atomic_int_set(&swap, TRUE);
    open_fixture(&f);
    g_assert_cmpfloat(ksm_test_wait(all_shared, &f, SECONDS), >=, 0);
    close_fixture(&f);
}

static void test_mended(void)
{
    check_shares("6.12.37");
}

static void test_vendor(void)
{
    check_shares("6.12.0-55.el10_0.x86_64");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/kernel-guard/swap-goes", test_swap_goes);
    g_test_add_func("/kernel-guard/swap-comes", test_swap_comes);
    g_test_add_func("/kernel-guard/mended", test_mended);
    g_test_add_func("/kernel-guard/vendor", test_vendor);
    return g_test_run();
}
