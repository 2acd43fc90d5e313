/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-stall.c: what other threads of the process wait for: the engine's lock
 * and the kernel's mmap lock.
 */
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/engine-private.h"
#include "page-content.h"
#include "proc-info.h"
#include "require.h"
#include "sys.h"
#include "core/lock.h"

#define LOCKERS 2
#define LOCKS 1000000u

static KsmEngine *make_engine(void)
{
    g_autoptr(GError) error = NULL;
    KsmOptions options;
    KsmEngine *engine;

    ksm_options_init(&options);
    options.group = "stall";
    options.broker = "/nonexistent/broker.sock";
    options.start_broker = FALSE;
    engine = ksm_engine_new(&options, &error);
    g_assert_no_error(error);
    return engine;
}

/* Returns how often nobody would have told the scanner to hurry. */
static gpointer lock_and_look(gpointer opaque)
{
    KsmEngine *engine = opaque;
    guint64 random = (guintptr)g_thread_self();
    guint i, unseen = 0;

    for (i = 0; i < LOCKS; i++) {
        guint64 pause = ksm_test_below(&random, 2000);
        struct pollfd entry = { .fd = engine->lock.wake_fd, .events = POLLIN };

        ksm_engine_lock(engine);
        unseen += poll(&entry, 1, 0) != 1;
        ksm_engine_unlock(engine);
        /* So that each often finds nobody else there. */
        while (pause--) {
            __asm__ volatile("" ::: "memory");
        }
    }
    return GUINT_TO_POINTER(unseen);
}

/*
 * While somebody waits for the engine, the scanner must see it, whoever lets
 * go of the engine at the same moment.
 */
static void test_wake_is_kept(void)
{
    g_autoptr(KsmEngine) engine = NULL;
    GThread *threads[LOCKERS];
    struct pollfd entry = { .events = POLLIN };
    guint i, unseen = 0;

    if (!ksm_test_need_uffd()) {
        return;
    }
    engine = make_engine();
    for (i = 0; i < LOCKERS; i++) {
        threads[i] = g_thread_new("locker", lock_and_look, engine);
    }
    for (i = 0; i < LOCKERS; i++) {
        unseen += GPOINTER_TO_UINT(g_thread_join(threads[i]));
    }
    g_test_message("%u of %u not seen", unseen, LOCKERS * LOCKS);
    g_assert_cmpuint(unseen, ==, 0);
    /* And nobody is seen who is not there. */
    entry.fd = engine->lock.wake_fd;
    g_assert_cmpint(poll(&entry, 1, 0), ==, 0);
}

/*
 * What calls of one kind did: how long the longest one took, and how many pages
 * they went over in all and at most.  The processor's time, as how busy the
 * host is does not matter here; the least of some repetitions, as interrupts
 * count, too.
 */
typedef struct Calls {
    guint count;
    guint64 longest_ns;
    guint64 pages, largest;
} Calls;

static Calls scans, advices, registers, unregisters, maps, remaps;
static guint64 next_address; /* where the last one ended */

static void note_call(Calls *calls, guint64 start_ns, const void *addr,
                      guint64 bytes)
{
    guint64 ns = ksm_sys_thread_cpu_ns() - start_ns;

    calls->count++;
    calls->longest_ns = MAX(calls->longest_ns, ns);
    calls->pages += bytes / KSM_PAGE_BYTES;
    calls->largest = MAX(calls->largest, bytes / KSM_PAGE_BYTES);
    next_address = (guintptr)addr + bytes;
}

static int timed_scan(int fd, struct pm_scan_arg *arg)
{
    guint64 start_ns = ksm_sys_thread_cpu_ns();
    int ret = ksm_sys_linux.pagemap_scan(fd, arg);

    note_call(&scans, start_ns, (void *)(guintptr)arg->start,
              arg->walk_end - arg->start);
    return ret;
}

static int timed_advise(void *addr, size_t bytes, int advice)
{
    guint64 start_ns = ksm_sys_thread_cpu_ns();
    int ret = ksm_sys_linux.advise(addr, bytes, advice);

    note_call(&advices, start_ns, addr, bytes);
    return ret;
}

static int timed_register(int fd, void *addr, size_t bytes, uint64_t mode)
{
    guint64 start_ns = ksm_sys_thread_cpu_ns();
    int ret = ksm_sys_linux.uffd_register(fd, addr, bytes, mode);

    note_call(&registers, start_ns, addr, bytes);
    return ret;
}

static int timed_unregister(int fd, void *addr, size_t bytes)
{
    guint64 start_ns = ksm_sys_thread_cpu_ns();
    int ret = ksm_sys_linux.uffd_unregister(fd, addr, bytes);

    note_call(&unregisters, start_ns, addr, bytes);
    return ret;
}

static int timed_map(void *addr, size_t bytes, int prot, int flags, int fd,
                     uint64_t offset, void **mapped)
{
    guint64 start_ns = ksm_sys_thread_cpu_ns();
    int ret = ksm_sys_linux.map(addr, bytes, prot, flags, fd, offset, mapped);

    note_call(&maps, start_ns, addr, bytes);
    return ret;
}

static int timed_remap_onto(void *src, size_t bytes, void *dst)
{
    guint64 start_ns = ksm_sys_thread_cpu_ns();
    int ret = ksm_sys_linux.remap_onto(src, bytes, dst);

    note_call(&remaps, start_ns, dst, bytes);
    return ret;
}

static inline guint64 since(guint64 start_ns)
{
    return ksm_sys_thread_cpu_ns() - start_ns;
}

static double ms(guint64 ns)
{
    return (double)ns / 1e6;
}

static void forget_calls(void)
{
    scans = advices = registers = unregisters = maps = remaps = (Calls) { 0 };
}

#define MIB_PAGES ((guint64)256)
#define POPULATED_PAGES (256 * MIB_PAGES)
#define HUGE_REGION_PAGES (64 * 1024 * MIB_PAGES)
#define MAX_TEST_MAPPINGS ((guint64)1 << 20)
#define SPARE_MAPPINGS 4000u
#define REPEATS 5

typedef struct Memory {
    KsmTracker tracker;
    KsmRegion *region;
    guint8 *ram;
    guint64 pages;
} Memory;

static void memory_open(Memory *m, guint64 pages)
{
    static KsmSys timed;
    g_autoptr(GError) error = NULL;

    m->pages = pages;
    m->ram = mmap(NULL, pages * KSM_PAGE_BYTES, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    g_assert_true(m->ram != MAP_FAILED);
    g_assert_true(ksm_tracker_open(&m->tracker, &error));
    m->region = ksm_ram_new(NULL, "ram", m->ram, pages * KSM_PAGE_BYTES,
                            KSM_REGION_FRESH, &error);
    g_assert_no_error(error);
    timed = ksm_sys_linux;
    timed.pagemap_scan = timed_scan;
    timed.advise = timed_advise;
    timed.uffd_register = timed_register;
    timed.uffd_unregister = timed_unregister;
    timed.map = timed_map;
    timed.remap_onto = timed_remap_onto;
    ksm_sys = &timed;
    forget_calls();
}

static void memory_close(Memory *m)
{
    ksm_sys = &ksm_sys_linux;
    ksm_tracker_close(&m->tracker);
    munmap(m->ram, m->pages * KSM_PAGE_BYTES);
}

static guint64 found;

static void count_found(G_GNUC_UNUSED KsmRegion *region, guint32 first,
                        guint32 end, G_GNUC_UNUSED gboolean huge,
                        G_GNUC_UNUSED void *opaque)
{
    found += end - first;
}

static guint64 scan_all(Memory *m)
{
    found = 0;
    g_assert_cmpint(ksm_tracker_scan(&m->tracker, m->region, count_found, NULL),
                    ==, 0);
    return found;
}

/* One call over the region, as the measure of what a piece may take. */
static void unregister_whole(Memory *m)
{
    g_assert_cmpint(ksm_sys_linux.uffd_unregister(m->tracker.uffd, m->ram,
                                                  m->pages * KSM_PAGE_BYTES),
                    ==, 0);
    ksm_ram_needs_register(m->region, 0, (guint32)m->pages);
}

/*
 * Pages that all have been written: scanning arms each, unregistering disarms
 * it.  A call takes a small part of what it would take for all of them: a
 * seventh and a twentieth; a fourth leaves room for a busy host.
 */
static void test_populated(void)
{
    guint64 whole_scan = G_MAXUINT64, whole = G_MAXUINT64;
    guint64 scan = G_MAXUINT64, piece = G_MAXUINT64, start_ns, ns;
    Memory m;
    guint i;

    if (!ksm_test_need_uffd()) {
        return;
    }
    memory_open(&m, POPULATED_PAGES);
    madvise(m.ram, m.pages * KSM_PAGE_BYTES, MADV_NOHUGEPAGE);
    for (i = 0; i < REPEATS; i++) {
        g_assert_cmpint(ksm_tracker_register(&m.tracker, m.region), ==, 0);
        memset(m.ram, 1, m.pages * KSM_PAGE_BYTES);
        forget_calls();
        start_ns = ksm_sys_thread_cpu_ns();
        g_assert_cmpuint(scan_all(&m), ==, m.pages);
        ns = since(start_ns);
        whole_scan = MIN(whole_scan, ns);
        g_assert_cmpuint(scans.pages, ==, m.pages);
        scan = MIN(scan, scans.longest_ns);
        g_assert_cmpuint(scan_all(&m), ==, 0);
        start_ns = ksm_sys_thread_cpu_ns();
        unregister_whole(&m);
        ns = since(start_ns);
        whole = MIN(whole, ns);
        g_assert_cmpint(ksm_tracker_register(&m.tracker, m.region), ==, 0);
        g_assert_cmpuint(scan_all(&m), ==, m.pages);
        forget_calls();
        g_assert_cmpint(ksm_tracker_detach(&m.tracker, m.region), ==, 0);
        g_assert_cmpuint(unregisters.pages, ==, m.pages);
        piece = MIN(piece, unregisters.longest_ns);
    }
    g_test_message("scan %.2f ms, at most %.2f ms a call; unregistering at "
                   "once %.2f ms, by pieces at most %.2f ms",
                   ms(whole_scan), ms(scan), ms(whole), ms(piece));
    g_assert_cmpuint(scan, <=, whole_scan / 4);
    g_assert_cmpuint(piece, <=, whole / 4);
    g_assert_true(ksm_ram_free(m.region));
    memory_close(&m);
}

/*
 * A region of which nothing is there: walked as a whole, without a gap, by
 * calls that would not take long if all of it was there.
 */
static void test_untouched(void)
{
    Memory m;

    if (!ksm_test_need_uffd()) {
        return;
    }
    memory_open(&m, HUGE_REGION_PAGES);
    g_assert_cmpint(ksm_tracker_register(&m.tracker, m.region), ==, 0);
    g_assert_cmpuint(registers.pages, ==, m.pages);
    g_assert_cmpuint(scan_all(&m), ==, 0);
    m.ram[0] = m.ram[(m.pages - 1) * KSM_PAGE_BYTES] = 1;
    forget_calls();
    g_assert_cmpuint(scan_all(&m), ==, 2);
    g_test_message("%u scans, of %" G_GUINT64_FORMAT " pages at most",
                   scans.count, scans.largest);
    g_assert_cmpuint(scans.pages, ==, m.pages);
    g_assert_cmpuint(scans.largest, <=, 1024 * MIB_PAGES);
    g_assert_cmpuint(scans.count, <=, HUGE_REGION_PAGES / 4 / MIB_PAGES);
    g_assert_cmpuint(next_address, ==,
                     (guintptr)m.ram + m.pages * KSM_PAGE_BYTES);
    g_assert_true(ksm_ram_free(m.region));
    memory_close(&m);
}

/* Each second page of a stretch in the midst in a mapping of its own. */
static guint64 divide(Memory *m, guint64 mappings)
{
    int store = memfd_create("test-store", MFD_CLOEXEC);
    guint32 first = (guint32)(m->pages - mappings) / 2, i;

    g_assert_cmpint(ftruncate(store, KSM_PAGE_BYTES), ==, 0);
    for (i = 0; i < mappings; i += 2) {
        guint8 *addr = m->ram + (guint64)(first + i) * KSM_PAGE_BYTES;

        g_assert_true(mmap(addr, KSM_PAGE_BYTES, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_FIXED, store, 0) == addr);
        ksm_ram_set_state(m->region, first + i, KSM_PAGE_SHARED);
        m->region->mappings += 2;
        m->region->store_mappings++;
    }
    close(store);
    return first;
}

/*
 * As many mappings as the kernel allows, up to a million: neither settling nor
 * scanning nor detaching has a call that goes over many of them, though the
 * pieces before them are empty, and so large.  With the usual limit it is a
 * twentieth of what one call for all would take.
 */
static void test_divided(void)
{
    guint64 limit = ksm_sys_max_map_count(), mappings, first, start_ns;
    guint64 scan = G_MAXUINT64, settle = G_MAXUINT64, whole = G_MAXUINT64;
    guint64 detach = G_MAXUINT64, ns;
    Memory m;
    guint i;

    if (!ksm_test_need_uffd()) {
        return;
    }
    mappings = MIN(limit, MAX_TEST_MAPPINGS) - SPARE_MAPPINGS;
    memory_open(&m, 4 * MAX_TEST_MAPPINGS);
    g_assert_cmpint(ksm_tracker_register(&m.tracker, m.region), ==, 0);
    first = divide(&m, mappings);
    for (i = 0; i < REPEATS; i++) {
        ksm_ram_needs_register(m.region, 0, (guint32)m.pages);
        forget_calls();
        g_assert_cmpint(ksm_tracker_register(&m.tracker, m.region), ==, 0);
        settle = MIN(settle, MAX(registers.longest_ns, advices.longest_ns));
        scan_all(&m);
        scan = MIN(scan, scans.longest_ns);
        /* One call over all that is unregistered, as the measure. */
        unregister_whole(&m);
        start_ns = ksm_sys_thread_cpu_ns();
        g_assert_cmpint(ksm_sys_linux.uffd_register(m.tracker.uffd, m.ram,
                                                    m.pages * KSM_PAGE_BYTES,
                                                    UFFDIO_REGISTER_MODE_WP),
                        ==, 0);
        ns = since(start_ns);
        whole = MIN(whole, ns);
        forget_calls();
        g_assert_cmpint(ksm_tracker_detach(&m.tracker, m.region), ==, 0);
        detach = MIN(detach, unregisters.longest_ns);
    }
    forget_calls();
    g_assert_true(ksm_ram_free(m.region));
    g_test_message("%" G_GUINT64_FORMAT
                   " mappings, from page %" G_GUINT64_FORMAT
                   " on: registering at once %.2f ms; by "
                   "pieces: settling at most %.2f ms, scanning %.2f ms, "
                   "unregistering %.2f ms, mapping over %.2f ms",
                   mappings, first, ms(whole), ms(settle), ms(scan), ms(detach),
                   ms(maps.longest_ns));
    g_assert_cmpuint(settle, <=, whole / 4);
    g_assert_cmpuint(scan, <=, whole / 4);
    g_assert_cmpuint(detach, <=, whole / 4);
    memory_close(&m);
}

#define SHARED_PAGES 4096u

/*
 * Shared pages in a row, each a mapping of its own, are discarded: replaced by
 * pieces, all of them, and are one mapping then.
 */
static void test_discarded(void)
{
    g_autoptr(KsmEngine) engine = NULL;
    KsmTestMaps before, after;
    guint32 i, noted = 0;
    Memory m;
    int store;

    if (!ksm_test_need_uffd()) {
        return;
    }
    engine = make_engine();
    engine->budget.spare = 2;
    memory_open(&m, SHARED_PAGES);
    m.region->engine = engine;
    store = memfd_create("test-store", MFD_CLOEXEC);
    g_assert_cmpint(ftruncate(store, SHARED_PAGES * KSM_PAGE_BYTES), ==, 0);
    for (i = 0; i < SHARED_PAGES; i++) {
        guint8 *addr = m.ram + (gsize)i * KSM_PAGE_BYTES;

        g_assert_true(mmap(addr, KSM_PAGE_BYTES, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_FIXED, store,
                           (SHARED_PAGES - i - 1) * KSM_PAGE_BYTES) == addr);
        ksm_ram_set_state(m.region, i, KSM_PAGE_SHARED);
        m.ram[(gsize)i * KSM_PAGE_BYTES] = 1;
    }
    close(store);
    ksm_test_maps_read(m.ram, m.pages * KSM_PAGE_BYTES, &before);
    g_assert_cmpuint(before.mappings, ==, SHARED_PAGES);
    forget_calls();
    ksm_region_discard(m.region, 0, m.pages * KSM_PAGE_BYTES);
    g_test_message("%u calls, at most %.2f ms", remaps.count,
                   ms(remaps.longest_ns));
    g_assert_cmpuint(remaps.pages, ==, m.pages);
    g_assert_cmpuint(remaps.largest, <=, KSM_BLOCK_PAGES / 2);
    ksm_test_maps_read(m.ram, m.pages * KSM_PAGE_BYTES, &after);
    g_assert_cmpuint(after.mappings, ==, 1);
    for (i = 0; i < m.region->discarded->len; i++) {
        noted += g_array_index(m.region->discarded, KsmRange, i).count;
    }
    g_assert_cmpuint(noted, ==, SHARED_PAGES);
    for (i = 0; i < SHARED_PAGES; i++) {
        g_assert_cmpuint(m.ram[(gsize)i * KSM_PAGE_BYTES], ==, 0);
    }
    g_assert_true(ksm_ram_free(m.region));
    memory_close(&m);
}

/* Every page that was unregistered is settled, whatever the order. */
static void test_unsettled_parts(void)
{
    g_autofree guint8 *want = g_new0(guint8, 65536);
    guint64 random = 7;
    Memory m;
    guint i, j, page;

    if (!ksm_test_need_uffd()) {
        return;
    }
    memory_open(&m, 65536);
    for (i = 0; i < 200; i++) {
        g_assert_cmpint(ksm_tracker_register(&m.tracker, m.region), ==, 0);
        g_assert_cmpuint(m.region->unregistered_count, ==, 0);
        memset(want, 0, 65536);
        for (j = 0; j < i * 2; j++) {
            guint32 first = (guint32)ksm_test_below(&random, 65536);
            guint32 count = 1 + (guint32)ksm_test_below(&random, 64);

            count = MIN(count, 65536 - first);
            ksm_ram_needs_register(m.region, first, first + count);
            memset(want + first, 1, count);
        }
        g_assert_cmpuint(m.region->unregistered_count, <=,
                         KSM_UNREGISTERED_MAX);
        for (j = 0; j < m.region->unregistered_count; j++) {
            const KsmUnregistered *part = &m.region->unregistered[j];

            g_assert_cmpuint(part->first, <, part->end);
            g_assert_true(!j || part->first > part[-1].end);
            memset(want + part->first, 0, part->end - part->first);
        }
        for (page = 0; page < 65536; page++) {
            g_assert_cmpuint(want[page], ==, 0);
        }
    }
    g_assert_true(ksm_ram_free(m.region));
    memory_close(&m);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/stall/wake-is-kept", test_wake_is_kept);
    g_test_add_func("/stall/populated", test_populated);
    g_test_add_func("/stall/untouched", test_untouched);
    g_test_add_func("/stall/divided", test_divided);
    g_test_add_func("/stall/discarded", test_discarded);
    g_test_add_func("/stall/unregistered-parts", test_unsettled_parts);
    return g_test_run();
}
