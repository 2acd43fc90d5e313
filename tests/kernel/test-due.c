/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-due.c: memory is scanned when something was written to it, whoever did.
 */
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker-proc.h"
#include "core/engine-private.h"
#include "page-content.h"
#include "require.h"
#include "sys.h"

#define PAGES 256u
#define BYTES (PAGES * KSM_PAGE_BYTES)
#define INTERVAL_MS 20u
#define QUIET_ROUNDS 40u
#define SECONDS 20.0
/* A scan that no fault asks for comes within 2 s. */
#define IN_VAIN 1u

typedef struct Fixture {
    KsmTestBroker *broker;
    KsmEngine *engine;
    guint8 *memory;
    guint64 want; /* pages shared, or rounds */
} Fixture;

static KsmSys table;
static gint scans;      /* atomic: calls over guest memory */
static guint8 *scanned; /* which begins here */

static int counting_scan(int fd, struct pm_scan_arg *arg)
{
    if (arg->start >= (guintptr)scanned &&
        arg->start < (guintptr)scanned + BYTES) {
        g_atomic_int_inc(&scans);
    }
    return ksm_sys_linux.pagemap_scan(fd, arg);
}

static gboolean is_sharing(gpointer opaque)
{
    Fixture *f = opaque;
    KsmStats stats;

    ksm_engine_get_stats(f->engine, &stats);
    return stats.pages_sharing == f->want;
}

static gboolean is_broken(gpointer opaque)
{
    Fixture *f = opaque;
    KsmStats stats;

    ksm_engine_get_stats(f->engine, &stats);
    return stats.breaks >= f->want;
}

static gboolean has_made_rounds(gpointer opaque)
{
    Fixture *f = opaque;
    KsmStats stats;

    ksm_engine_get_stats(f->engine, &stats);
    return stats.full_scans >= f->want;
}

static void wait_sharing(Fixture *f, guint64 pages)
{
    f->want = pages;
    if (ksm_test_wait(is_sharing, f, SECONDS) < 0) {
        KsmStats stats;

        ksm_engine_get_stats(f->engine, &stats);
        g_error("%" G_GUINT64_FORMAT
                " pages are shared, not %" G_GUINT64_FORMAT,
                stats.pages_sharing, pages);
    }
}

static void wait_rounds(Fixture *f, guint rounds)
{
    KsmStats stats;

    ksm_engine_get_stats(f->engine, &stats);
    f->want = stats.full_scans + rounds;
    g_assert_cmpfloat(ksm_test_wait(has_made_rounds, f, SECONDS), >=, 0);
}

/* Until rounds come and go without a scan. */
static gboolean is_quiet(gpointer opaque)
{
    gint before = g_atomic_int_get(&scans);

    wait_rounds(opaque, QUIET_ROUNDS / 4);
    return g_atomic_int_get(&scans) == before;
}

static gboolean no_dma(G_GNUC_UNUSED const void *addr,
                       G_GNUC_UNUSED gsize bytes, G_GNUC_UNUSED void *opaque)
{
    return FALSE;
}

static void make(guint8 *page, guint seed)
{
    ksm_test_page_make(page, KSM_TEST_SEEDED, seed);
}

/* Every content is there twice. */
static void set_up(Fixture *f)
{
    g_autoptr(GError) error = NULL;
    KsmOptions options;
    guint i;

    table = ksm_sys_linux;
    table.pagemap_scan = counting_scan;
    ksm_sys = &table;
    f->broker = ksm_test_broker_new(NULL);
    f->memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    g_assert_true(f->memory != MAP_FAILED);
    scanned = f->memory;
    ksm_options_init(&options);
    options.group = "due";
    options.broker = f->broker->socket;
    options.start_broker = FALSE;
    options.scan_interval_ms = INTERVAL_MS;
    options.scan_cpu_percent = 100;
    options.dma_in_flight = no_dma;
    f->engine = ksm_engine_new(&options, &error);
    g_assert_no_error(error);
    ksm_region_add(f->engine, "ram", f->memory, BYTES, KSM_REGION_FRESH,
                   &error);
    g_assert_no_error(error);
    for (i = 0; i < PAGES; i++) {
        make(f->memory + i * KSM_PAGE_BYTES, i % (PAGES / 2));
    }
    ksm_engine_start(f->engine, &error);
    g_assert_no_error(error);
    wait_sharing(f, PAGES);
    g_assert_cmpfloat(ksm_test_wait(is_quiet, f, SECONDS), >=, 0);
}

static void tear_down(Fixture *f)
{
    ksm_engine_free(f->engine);
    ksm_test_broker_free(f->broker);
    munmap(f->memory, BYTES);
    ksm_sys = &ksm_sys_linux;
}

/* Rounds go on, and ask the kernel about nothing; or once, by the clock. */
static void test_quiet(void)
{
    gint before, after;
    Fixture f;

    set_up(&f);
    before = g_atomic_int_get(&scans);
    wait_rounds(&f, QUIET_ROUNDS);
    after = g_atomic_int_get(&scans);
    g_test_message("%d scans in %u rounds", after - before, QUIET_ROUNDS);
    g_assert_cmpint(after - before, <=, 2 * IN_VAIN);
    tear_down(&f);
}

static void by_cpu(guint8 *to, const guint8 *content, gsize bytes)
{
    memcpy(to, content, bytes);
}

/* read(2) from a pipe writes to the page, in the kernel. */
static void by_system_call(guint8 *to, const guint8 *content, gsize bytes)
{
    int fds[2];

    g_assert_cmpint(pipe(fds), ==, 0);
    g_assert_cmpint(write(fds[1], content, bytes), ==, bytes);
    g_assert_cmpint(read(fds[0], to, bytes), ==, bytes);
    close(fds[0]);
    close(fds[1]);
}

/* Another process: its fault, not ours. */
static void by_another(guint8 *to, const guint8 *content, gsize bytes)
{
    struct iovec local = { (void *)content, bytes }, remote = { to, bytes };
    pid_t parent = getpid(), child = fork();
    int status;

    g_assert_cmpint(child, >=, 0);
    if (child == 0) {
        _exit(process_vm_writev(parent, &local, 1, &remote, 1, 0) ==
                      (ssize_t)bytes ?
                  0 :
                  1);
    }
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    g_assert_cmpint(status, ==, 0);
}

/*
 * Two shared pages get one new content: that is found, they are shared again,
 * and all is as it was written.
 */
static void test_found(gconstpointer opaque)
{
    void (*const write_to)(guint8 *, const guint8 *, gsize) = opaque;
    guint8 content[KSM_PAGE_BYTES];
    KsmStats before, after;
    Fixture f;
    guint i;

    set_up(&f);
    ksm_engine_get_stats(f.engine, &before);
    make(content, 12345);
    write_to(f.memory, content, sizeof(content));
    write_to(f.memory + 7 * KSM_PAGE_BYTES, content, sizeof(content));
    f.want = before.breaks + 2;
    g_assert_cmpfloat(ksm_test_wait(is_broken, &f, SECONDS), >=, 0);
    wait_sharing(&f, PAGES);
    ksm_engine_get_stats(f.engine, &after);
    g_assert_cmpuint(after.breaks, ==, before.breaks + 2);
    for (i = 0; i < PAGES; i++) {
        guint seed = i == 0 || i == 7 ? 12345 : i % (PAGES / 2);

        g_assert_true(ksm_test_page_is(f.memory + i * KSM_PAGE_BYTES,
                                       KSM_TEST_SEEDED, seed));
    }
    tear_down(&f);
}

static guint64 requests_of(const Fixture *f)
{
    KsmStats stats;

    ksm_engine_get_stats(f->engine, &stats);
    return stats.broker_requests;
}

/* More rounds than two seconds have, in which it says nothing or little. */
static gboolean is_silent(gpointer opaque)
{
    guint64 before = requests_of(opaque);

    wait_rounds(opaque, 2500 / INTERVAL_MS);
    return requests_of(opaque) <= before + 1;
}

static gboolean was_set(gpointer opaque)
{
    Fixture *f = opaque;

    return ksm_engine_get_scan_interval(f->engine) == INTERVAL_MS + 1;
}

/*
 * Without anything to say, the engine asks the broker for nothing; it hears of
 * settings, and of contents that others publish, as soon as there are any.
 */
static void test_silent(void)
{
    KsmEngine *other;
    g_autoptr(GError) error = NULL;
    g_autofree char *socket = NULL;
    const char *argv[] = {
        g_getenv("GUEST_KSMCTL"), "--socket", NULL, "set", NULL,
        "scan-interval=21",       NULL
    };
    KsmOptions options;
    Fixture f;
    guint8 *page;
    int status;

    g_assert_nonnull(argv[0]);
    set_up(&f);
    make(f.memory + 3 * KSM_PAGE_BYTES, 777);
    wait_sharing(&f, PAGES - 1);
    g_assert_cmpfloat(ksm_test_wait(is_silent, &f, SECONDS), >=, 0);

    socket = g_build_filename(f.broker->dir, "control.sock", NULL);
    argv[2] = socket;
    argv[4] = ksm_engine_get_name(f.engine);
    g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_STDOUT_TO_DEV_NULL, NULL,
                 NULL, NULL, NULL, &status, &error);
    g_assert_no_error(error);
    g_assert_cmpint(status, ==, 0);
    g_assert_true(was_set(&f));
    g_assert_cmpfloat(ksm_test_wait(is_silent, &f, SECONDS), >=, 0);

    page = mmap(NULL, BYTES, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    g_assert_true(page != MAP_FAILED);
    ksm_options_init(&options);
    options.group = "due";
    options.name = "other";
    options.broker = f.broker->socket;
    options.start_broker = FALSE;
    options.scan_interval_ms = INTERVAL_MS;
    other = ksm_engine_new(&options, &error);
    g_assert_no_error(error);
    ksm_region_add(other, "ram", page, BYTES, KSM_REGION_FRESH, &error);
    g_assert_no_error(error);
    make(page, 777);
    ksm_engine_start(other, &error);
    g_assert_no_error(error);
    wait_sharing(&f, PAGES);
    g_assert_true(
        ksm_test_page_is(f.memory + 3 * KSM_PAGE_BYTES, KSM_TEST_SEEDED, 777));
    g_clear_pointer(&other, ksm_engine_free);
    tear_down(&f);
    munmap(page, BYTES);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/due/quiet", test_quiet);
    g_test_add_data_func("/due/found/cpu", by_cpu, test_found);
    g_test_add_data_func("/due/found/system-call", by_system_call, test_found);
    g_test_add_data_func("/due/found/another-process", by_another, test_found);
    g_test_add_func("/due/silent", test_silent);
    return g_test_run();
}
