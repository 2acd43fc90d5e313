/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-exchange.c: reasons not to exchange a page are checked when the result
 * counts, no thread waits for an exchange longer than for one piece of memory,
 * and an exchange leaves nothing behind.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#ifdef HAVE_LIBURING
#include <liburing.h>
#endif

#include "broker-proc.h"
#include "core/engine-private.h"
#include "page-content.h"
#include "proc-info.h"
#include "require.h"
#include "sys.h"

#define HUGE_BYTES ((gsize)2 << 20)
#define MAX_ROUNDS 200u
#define STUCK_SECONDS 30

/* One engine whose memory holds each content twice; a device if need be. */
typedef struct Fixture {
    KsmTestBroker *broker;
    KsmEngine *engine;
    KsmRegion *region;
    guint8 *memory;
    gsize bytes;
    guint32 pages;
    gint device; /* atomic: somebody needs memory to stay */
    gint held;   /* atomic: a transfer is under way */
} Fixture;

/* For the calls that the tests replace. */
static Fixture *current;
static KsmSys table;
static gint remaps; /* atomic: of RAM, since it was zeroed */

static gboolean dma_may_write(const void *addr, gsize bytes, void *opaque)
{
    Fixture *f = opaque;

    (void)addr;
    (void)bytes;
    return g_atomic_int_get(&f->held) != 0;
}

static const char *reason(void *opaque)
{
    Fixture *f = opaque;

    return g_atomic_int_get(&f->device) ? "a device needs memory" : NULL;
}

static void make_engine(Fixture *f)
{
    g_autoptr(GError) error = NULL;
    KsmOptions options;

    ksm_options_init(&options);
    options.name = "exchange";
    options.group = "test";
    options.broker = f->broker->socket;
    options.start_broker = FALSE;
    options.required = TRUE;
    options.scan_interval_ms = 3600000; /* rounds are asked for */
    options.scan_cpu_percent = 100;
    options.dma_in_flight = dma_may_write;
    options.stand_aside = reason;
    options.opaque = f;
    f->engine = ksm_engine_new(&options, &error);
    g_assert_no_error(error);
}

/* Page p and its twin hold the same. */
static void fill(Fixture *f)
{
    guint32 page;

    for (page = 0; page < f->pages; page++) {
        ksm_test_page_make(f->memory + (gsize)page * KSM_PAGE_BYTES,
                           KSM_TEST_SEEDED, 1 + page % (f->pages / 2));
    }
}

static void set_up(Fixture *f, guint32 pages, KsmRegionFlags flags)
{
    g_autoptr(GError) error = NULL;
    guint8 *area;

    memset(f, 0, sizeof(*f));
    current = f;
    f->broker = ksm_test_broker_new(NULL);
    f->pages = pages;
    f->bytes = (gsize)pages * KSM_PAGE_BYTES;
    area = mmap(NULL, f->bytes + HUGE_BYTES, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    g_assert_true(area != MAP_FAILED);
    f->memory = (guint8 *)(((guintptr)area + HUGE_BYTES - 1) &
                           ~(HUGE_BYTES - 1));
    make_engine(f);
    f->region = ksm_region_add(f->engine, "ram", f->memory, f->bytes,
                               KSM_REGION_FRESH | flags, &error);
    g_assert_no_error(error);
    fill(f);
    ksm_engine_start(f->engine, &error);
    g_assert_no_error(error);
}

static void tear_down(Fixture *f)
{
    ksm_engine_free(f->engine);
    ksm_sys = &ksm_sys_linux;
    ksm_test_broker_free(f->broker);
}

static void figures(Fixture *f, KsmStats *stats)
{
    ksm_engine_get_stats(f->engine, stats);
}

/* Rounds until a statistic has come to that. */
static void rounds_until(Fixture *f, gsize offset, guint64 least)
{
    guint64 now = 0;
    KsmStats stats;
    guint i;

    for (i = 0; i < MAX_ROUNDS && now < least; i++) {
        ksm_engine_run_round(f->engine);
        figures(f, &stats);
        now = *(const guint64 *)(gconstpointer)((const char *)&stats + offset);
    }
    g_assert_cmpuint(now, >=, least);
}

static void share(Fixture *f, guint64 pages)
{
    rounds_until(f, G_STRUCT_OFFSET(KsmStats, pages_sharing), pages);
}

static void give_back(Fixture *f, guint64 pages)
{
    rounds_until(f, G_STRUCT_OFFSET(KsmStats, given_back), pages);
}

/* Writes a word of its own to every `step`th page, and has it noticed. */
static void break_pages(Fixture *f, guint32 step)
{
    KsmStats stats;
    guint32 page;

    for (page = 0; page < f->pages; page += step) {
        *(guint32 *)(gpointer)(f->memory + (gsize)page * KSM_PAGE_BYTES) =
            page + 1;
    }
    ksm_engine_run_round(f->engine);
    figures(f, &stats);
    /* Those that are not shared any more just stay private. */
    g_assert_cmpuint(stats.pages_broken, ==,
                     f->pages / step - stats.given_back);
}

static void check_broken(Fixture *f, guint32 step)
{
    guint32 page;

    for (page = 0; page < f->pages; page += step) {
        g_assert_cmpuint(*(guint32 *)(gpointer)(f->memory +
                                                (gsize)page * KSM_PAGE_BYTES),
                         ==, page + 1);
    }
}

/* An engine whose pages are all broken: the next rounds give them back. */
static void set_up_broken(Fixture *f, guint32 pages)
{
    set_up(f, pages, KSM_REGION_NONE);
    share(f, f->pages);
    break_pages(f, 1);
}

/* From here on, until tear_down(): `calls` in the place of the kernel's. */
static void replace_calls(const KsmSys *calls)
{
    table = *calls;
    g_atomic_int_set(&remaps, 0);
    ksm_sys = &table;
}

/* Rounds until one of the calls has set it. */
static void rounds_until_set(Fixture *f, const gint *flag)
{
    guint i;

    for (i = 0; i < MAX_ROUNDS && !g_atomic_int_get(flag); i++) {
        ksm_engine_run_round(f->engine);
    }
    g_assert_cmpint(g_atomic_int_get(flag), !=, 0);
}

static gboolean is_ram(const void *addr)
{
    return (const guint8 *)addr >= current->memory &&
           (const guint8 *)addr < current->memory + current->bytes;
}

static int counting_remap(void *src, size_t bytes, void *dst)
{
    if (is_ram(dst)) {
        g_atomic_int_inc(&remaps);
    }
    return ksm_sys_linux.remap_onto(src, bytes, dst);
}

/* ---- what is asked ------------------------------------------------------ */

/* A device comes just when the pages have been protected. */
static int device_comes(int fd, void *addr, size_t bytes, bool protect)
{
    int ret = ksm_sys_linux.uffd_protect(fd, addr, bytes, protect);

    if (protect) {
        g_atomic_int_set(&current->device, 1);
    }
    return ret;
}

static int transfer_begins(int fd, void *addr, size_t bytes, bool protect)
{
    int ret = ksm_sys_linux.uffd_protect(fd, addr, bytes, protect);

    if (protect) {
        g_atomic_int_set(&current->held, 1);
    }
    return ret;
}

/*
 * Whoever is entered before the answer is asked for is heeded, though nobody was
 * there when the round, and the piece, began.
 */
static void asked_inside(int (*protect)(int, void *, size_t, bool))
{
    KsmSys calls = ksm_sys_linux;
    KsmStats stats;
    Fixture f;
    guint i;

    if (!ksm_test_need_uffd()) {
        return;
    }
    set_up_broken(&f, 256);
    calls.remap_onto = counting_remap;
    calls.uffd_protect = protect;
    replace_calls(&calls);
    for (i = 0; i < 12; i++) {
        ksm_engine_run_round(f.engine);
    }
    g_assert_true(g_atomic_int_get(&f.device) || g_atomic_int_get(&f.held));
    g_assert_cmpint(g_atomic_int_get(&remaps), ==, 0);
    figures(&f, &stats);
    g_assert_cmpuint(stats.given_back, ==, 0);
    g_assert_cmpuint(stats.refused_dma, >, 0);
    check_broken(&f, 1);
    ksm_sys = &ksm_sys_linux;
    g_atomic_int_set(&f.device, 0);
    g_atomic_int_set(&f.held, 0);
    give_back(&f, f.pages);
    check_broken(&f, 1);
    tear_down(&f);
}

static void test_device(void)
{
    asked_inside(device_comes);
}

static void test_transfer(void)
{
    asked_inside(transfer_begins);
}

#ifdef HAVE_LIBURING
/* A device that pins all memory in the midst of a pass, and writes to it. */
static void pin_and_write(Fixture *f)
{
    struct iovec all = { .iov_base = f->memory, .iov_len = f->bytes };
    struct io_uring_cqe *done;
    struct io_uring_sqe *entry;
    struct io_uring ring;
    guint32 page, value, seen, lost = 0;
    int pipes[2];

    g_assert_cmpint(io_uring_queue_init(8, &ring, 0), ==, 0);
    g_assert_cmpint(pipe(pipes), ==, 0);
    g_atomic_int_set(&f->device, 1);
    g_assert_cmpint(io_uring_register_buffers(&ring, &all, 1), ==, 0);
    ksm_engine_run_round(f->engine);
    for (page = 0; page < f->pages; page++) {
        guint8 *word = f->memory + (gsize)page * KSM_PAGE_BYTES + 64;

        value = 0x5a000000 + page;
        g_assert_cmpint(write(pipes[1], &value, 4), ==, 4);
        entry = io_uring_get_sqe(&ring);
        io_uring_prep_read_fixed(entry, pipes[0], word, 4, 0, 0);
        io_uring_submit(&ring);
        g_assert_cmpint(io_uring_wait_cqe(&ring, &done), ==, 0);
        g_assert_cmpint(done->res, ==, 4);
        io_uring_cqe_seen(&ring, done);
        memcpy(&seen, word, 4);
        lost += seen != value;
    }
    g_assert_cmpuint(lost, ==, 0);
    io_uring_queue_exit(&ring);
    close(pipes[0]);
    close(pipes[1]);
}
#endif

/* At the first piece of a pass: the rest of it goes on beside the device. */
static int remap_announced(void *src, size_t bytes, void *dst)
{
    int ret = ksm_sys_linux.remap_onto(src, bytes, dst);

    if (is_ram(dst)) {
        g_atomic_int_inc(&remaps);
    }
    return ret;
}

static void test_pinned(void)
{
#ifdef HAVE_LIBURING
    KsmSys calls = ksm_sys_linux;
    Fixture f;

    if (!ksm_test_need_uffd()) {
        return;
    }
    set_up_broken(&f, 16384);
    calls.remap_onto = remap_announced;
    replace_calls(&calls);
    ksm_engine_set_scan_interval(f.engine, 10, NULL);
    alarm(STUCK_SECONDS);
    while (!g_atomic_int_get(&remaps)) {
        g_thread_yield();
    }
    alarm(0);
    pin_and_write(&f);
    tear_down(&f);
#else
    ksm_test_lacks("uring", "built without liburing");
#endif
}

/* ---- who waits ---------------------------------------------------------- */

static gpointer suspend(gpointer data)
{
    Fixture *f = data;

    ksm_engine_suspend(f->engine, "a test");
    ksm_engine_resume(f->engine);
    return NULL;
}

static GThread *suspender;

/* At the first piece of a pass somebody wants the engine. */
static int remap_interrupted(void *src, size_t bytes, void *dst)
{
    if (is_ram(dst) && g_atomic_int_add(&remaps, 1) == 0) {
        suspender = g_thread_new("suspend", suspend, current);
        while (!g_atomic_int_get(&current->engine->lock.interrupt)) {
            g_thread_yield();
        }
    }
    return ksm_sys_linux.remap_onto(src, bytes, dst);
}

/* The piece under way is the last one. */
static void test_interrupted(void)
{
    KsmSys calls = ksm_sys_linux;
    KsmStats stats;
    Fixture f;

    if (!ksm_test_need_uffd()) {
        return;
    }
    set_up_broken(&f, 8192);
    calls.remap_onto = remap_interrupted;
    replace_calls(&calls);
    rounds_until_set(&f, &remaps);
    g_assert_cmpint(g_atomic_int_get(&remaps), ==, 1);
    g_thread_join(suspender);
    ksm_sys = &ksm_sys_linux;
    figures(&f, &stats);
    g_assert_cmpuint(stats.given_back, <=, 64);
    give_back(&f, f.pages);
    check_broken(&f, 1);
    tear_down(&f);
}

static GThread *program; /* the test's thread */
static gint let_go;      /* atomic: pieces, by the scanner */
static gint let_go_here; /* by the program */

static int counting_unregister(int fd, void *addr, size_t bytes)
{
    if (is_ram(addr)) {
        g_atomic_int_inc(g_thread_self() == program ? &let_go_here : &let_go);
    }
    return ksm_sys_linux.uffd_unregister(fd, addr, bytes);
}

static gboolean is_registered(Fixture *f)
{
    KsmTestMaps maps;

    ksm_test_maps_read(f->memory, f->bytes, &maps);
    return maps.uffd;
}

static gboolean has_let_go(gpointer data)
{
    return !is_registered(data);
}

/*
 * To suspend waits for no pass over all memory; letting go of it does, in
 * pieces, by the scanner or whoever asks for it.
 */
static void test_suspend(void)
{
    KsmSys calls = ksm_sys_linux;
    Fixture f;

    if (!ksm_test_need_uffd()) {
        return;
    }
    set_up(&f, 65536, KSM_REGION_NONE);
    share(&f, f.pages);
    calls.uffd_unregister = counting_unregister;
    replace_calls(&calls);
    program = g_thread_self();
    g_atomic_int_set(&let_go, 0);
    ksm_engine_suspend(f.engine, "a test");
    g_assert_cmpint(let_go_here, ==, 0);
    g_assert_cmpfloat(ksm_test_wait(has_let_go, &f, STUCK_SECONDS), >=, 0);
    g_assert_cmpint(g_atomic_int_get(&let_go), >, 1);
    ksm_engine_resume(f.engine);
    ksm_engine_run_round(f.engine);
    g_assert_true(is_registered(&f));
    ksm_engine_suspend(f.engine, "a test");
    ksm_engine_detach(f.engine);
    g_assert_false(is_registered(&f));
    ksm_engine_resume(f.engine);
    ksm_engine_run_round(f.engine);
    g_assert_true(is_registered(&f));
    tear_down(&f);
}

/* Of the second userfaultfd alone, as a full table of mappings would. */
static int unregister_fails(int fd, void *addr, size_t bytes)
{
    return fd == current->engine->sync_uffd ?
               -ENOMEM :
               ksm_sys_linux.uffd_unregister(fd, addr, bytes);
}

static void stuck(int number)
{
    static const char text[] = "a write waits for ever\n";

    (void)number;
    (void)!write(STDERR_FILENO, text, sizeof(text) - 1);
    _exit(1);
}

/* A piece that comes not off its protection is no trap for those who write. */
static void test_protection_stays(void)
{
    KsmSys calls = ksm_sys_linux;
    KsmStats stats;
    Fixture f;

    if (!ksm_test_need_uffd()) {
        return;
    }
    set_up_broken(&f, 256);
    calls.uffd_protect = transfer_begins;
    calls.uffd_unregister = unregister_fails;
    replace_calls(&calls);
    rounds_until_set(&f, &f.held);
    signal(SIGALRM, stuck);
    alarm(STUCK_SECONDS);
    break_pages(&f, 1);
    alarm(0);
    ksm_sys = &ksm_sys_linux;
    figures(&f, &stats);
    g_assert_cmpuint(stats.given_back, ==, 0);
    g_atomic_int_set(&f.held, 0);
    give_back(&f, f.pages);
    tear_down(&f);
}

static gpointer go_on(gpointer data)
{
    Fixture *f = data;

    while (!g_atomic_int_get(&f->held)) {
        ksm_engine_run_round(f->engine);
    }
    return NULL;
}

/*
 * A program locks all its memory while pages are merged: the kernel fills every
 * mapping, the engine's own too, and comes to an end with it.  No byte changes,
 * and what is unlocked is shared again.
 */
static void test_locked(void)
{
    GThread *thread;
    Fixture f;
    guint i;

    if (!ksm_test_need_uffd()) {
        return;
    }
    set_up(&f, 4096, KSM_REGION_NONE);
    thread = g_thread_new("rounds", go_on, &f);
    signal(SIGALRM, stuck);
    alarm(STUCK_SECONDS);
    for (i = 0; i < 20; i++) {
        g_assert_cmpint(mlockall(i % 2 ? MCL_CURRENT | MCL_FUTURE :
                                         MCL_CURRENT),
                        ==, 0);
        g_usleep(2000);
        g_assert_cmpint(munlockall(), ==, 0);
        g_usleep(2000);
    }
    alarm(0);
    g_atomic_int_set(&f.held, 1);
    g_thread_join(thread);
    g_atomic_int_set(&f.held, 0);
    for (i = 0; i < f.pages; i++) {
        g_assert_true(ksm_test_page_is(f.memory + (gsize)i * KSM_PAGE_BYTES,
                                       KSM_TEST_SEEDED, 1 + i % (f.pages / 2)));
    }
    fill(&f);
    share(&f, f.pages);
    tear_down(&f);
}

/* ---- what is left ------------------------------------------------------- */

/*
 * Pages that come back from far apart leave no huge pages in the shadow, and
 * merge with their neighbours whatever those are made of.
 */
static void check_shadow(KsmRegionFlags flags)
{
    KsmTestMaps ram, shadow;
    KsmStats stats;
    Fixture f;
    guint i;

    if (!ksm_test_need_uffd()) {
        return;
    }
    set_up(&f, 16 * 512, flags);
    share(&f, f.pages);
    break_pages(&f, 512);
    give_back(&f, f.pages / 512);
    ksm_test_maps_read(f.region->shadow, f.bytes + KSM_PAGE_BYTES, &shadow);
    g_assert_cmpuint(shadow.mappings, ==, 1);
    g_assert_cmpuint(shadow.rss_kib, <=, KSM_PAGE_BYTES / 1024);
    break_pages(&f, 1);
    give_back(&f, f.pages);
    for (i = 0; i < 4; i++) {
        ksm_engine_run_round(f.engine);
    }
    check_broken(&f, 1);
    ksm_test_maps_read(f.region->shadow, f.bytes + KSM_PAGE_BYTES, &shadow);
    g_assert_cmpuint(shadow.rss_kib, <=, KSM_PAGE_BYTES / 1024);
    ksm_test_maps_read(f.memory, f.bytes, &ram);
    figures(&f, &stats);
    g_assert_cmpuint(ram.mappings, ==, stats.mappings);
    g_assert_cmpuint(ram.mappings, ==, 1);
    g_assert_cmpint(ram.huge_advised, ==, flags == KSM_REGION_HUGEPAGE);
    tear_down(&f);
}

static void test_shadow_huge(void)
{
    check_shadow(KSM_REGION_HUGEPAGE);
}

static void test_shadow_small(void)
{
    check_shadow(KSM_REGION_NONE);
}

/* ---- ksmd ---------------------------------------------------------------- */

static gboolean merge_any(gboolean on)
{
    return prctl(PR_SET_MEMORY_MERGE, on, 0, 0, 0) == 0;
}

static void check_unmergeable(const void *addr, gsize bytes, const char *what)
{
    if (ksm_test_is_mergeable(addr, bytes)) {
        g_error("ksmd may merge %s", what);
    }
}

/* Guest memory, shared, broken or not, and all that may hold its content. */
static void check_all_unmergeable(Fixture *f)
{
    KsmIsolation *q = &f->engine->isolation;
    gsize pages = f->pages;

    check_unmergeable(f->memory, f->bytes, "guest memory");
    check_unmergeable(f->region->shadow, f->bytes + KSM_PAGE_BYTES,
                      "the shadow");
    check_unmergeable(q->staging.area, KSM_PAGE_BYTES, "staging");
    check_unmergeable(q->verify.memory, KSM_PAGE_BYTES, "room to verify");
    check_unmergeable(f->region->state, pages, "page states");
    check_unmergeable(f->region->slot, 4 * pages, "slots of pages");
}

/* In windows, too: when those who waited may go on and write. */
static int wake_checked(int fd, void *addr, size_t bytes)
{
    if (is_ram(addr)) {
        check_unmergeable(addr, bytes, "memory that was just shared");
        check_unmergeable(current->engine->isolation.staging.area,
                          KSM_PAGE_BYTES, "staging in a window");
    }
    return ksm_sys_linux.uffd_wake(fd, addr, bytes);
}

static void live_unmergeable(Fixture *f)
{
    check_all_unmergeable(f);
    break_pages(f, 3);
    check_all_unmergeable(f);
    give_back(f, f->pages / 3);
    check_all_unmergeable(f);
    fill(f);
    share(f, f->pages);
    ksm_region_discard(f->region, 0, f->bytes / 2);
    ksm_engine_run_round(f->engine);
    check_all_unmergeable(f);
}

static void check_wakes(void)
{
    KsmSys calls = ksm_sys_linux;

    calls.uffd_wake = wake_checked;
    replace_calls(&calls);
}

/* TRUE in a process of its own, as what is asked for cannot be taken back. */
static gboolean in_subprocess(const char *lacks)
{
    if (!ksm_test_need_uffd()) {
        return FALSE;
    }
    if (prctl(PR_GET_MEMORY_MERGE, 0, 0, 0, 0) < 0) {
        ksm_test_lacks("ksm", "this kernel has no KSM for whole processes");
        return FALSE;
    }
    if (g_test_subprocess()) {
        return TRUE;
    }
    g_test_trap_subprocess(NULL, 0, G_TEST_SUBPROCESS_INHERIT_STDERR);
    if (!g_test_trap_has_passed()) {
        g_test_message("%s", lacks);
        g_test_fail();
    }
    return FALSE;
}

/* Asked for before the engine is there, as by a service manager. */
static void test_merge_any_before(void)
{
    Fixture f;

    if (!in_subprocess("memory is mergeable in a process that was so made")) {
        return;
    }
    g_assert_true(merge_any(TRUE));
    set_up(&f, 768, KSM_REGION_NONE);
    check_wakes();
    share(&f, f.pages);
    live_unmergeable(&f);
    tear_down(&f);
}

/* Asked for while it shares. */
static void test_merge_any_later(void)
{
    Fixture f;

    if (!in_subprocess("memory stays mergeable in a process made so later")) {
        return;
    }
    set_up(&f, 768, KSM_REGION_NONE);
    share(&f, f.pages);
    g_assert_true(merge_any(TRUE));
    ksm_engine_run_round(f.engine);
    check_wakes();
    live_unmergeable(&f);
    tear_down(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/exchange/device", test_device);
    g_test_add_func("/exchange/transfer", test_transfer);
    g_test_add_func("/exchange/pinned", test_pinned);
    g_test_add_func("/exchange/interrupted", test_interrupted);
    g_test_add_func("/exchange/suspend", test_suspend);
    g_test_add_func("/exchange/protection-stays", test_protection_stays);
    g_test_add_func("/exchange/locked", test_locked);
    g_test_add_func("/exchange/shadow-huge", test_shadow_huge);
    g_test_add_func("/exchange/shadow-small", test_shadow_small);
    g_test_add_func("/exchange/merge-any-before", test_merge_any_before);
    g_test_add_func("/exchange/merge-any-later", test_merge_any_later);
    return g_test_run();
}
