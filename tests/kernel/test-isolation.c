/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-isolation.c: windows on real memory, and every system call of a window
 * failing in turn: whatever fails, the memory holds what it held.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "memory/isolation.h"
#include "require.h"
#include "sys.h"
#include "memory/tracker.h"

#define PAGES 16u
#define BYTES (PAGES * KSM_PAGE_BYTES)

typedef struct Fixture {
    KsmTracker tracker;
    KsmIsolation isolation;
    KsmRegion *region;
    guint8 *ram;
    guint8 *store;
    int store_fd;
} Fixture;

/* A write that the compiler must make. */
static void flip(guint8 *byte)
{
    *(volatile guint8 *)byte ^= 1;
}

/* Word w of page p; the same in RAM and store unless a test changes it. */
static guint64 pattern(guint page, guint word)
{
    return (page + 1) * G_GUINT64_CONSTANT(0x9e3779b97f4a7c15) + word;
}

static void fill(guint8 *memory)
{
    guint page, word;

    for (page = 0; page < PAGES; page++) {
        for (word = 0; word < KSM_PAGE_BYTES / 8; word++) {
            ((guint64 *)(gpointer)memory)[page * 512 + word] = pattern(page,
                                                                       word);
        }
    }
}

static guint wrong_words(const guint8 *memory)
{
    guint page, word, wrong = 0;

    for (page = 0; page < PAGES; page++) {
        for (word = 0; word < KSM_PAGE_BYTES / 8; word++) {
            wrong +=
                ((const guint64 *)(gconstpointer)memory)[page * 512 + word] !=
                pattern(page, word);
        }
    }
    return wrong;
}

static void *map_anonymous(gsize bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    g_assert_true(p != MAP_FAILED);
    return p;
}

static void set_up(Fixture *f)
{
    GError *error = NULL;

    ksm_sys = &ksm_sys_linux;
    g_assert_true(ksm_tracker_open(&f->tracker, &error));
    g_assert_true(ksm_isolation_open(&f->isolation, f->tracker.uffd,
                                     f->tracker.pagemap, &error));
    f->store_fd = memfd_create("test-store", MFD_CLOEXEC);
    g_assert_cmpint(ftruncate(f->store_fd, BYTES), ==, 0);
    f->store = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
                    f->store_fd, 0);
    g_assert_true(f->store != MAP_FAILED);
    fill(f->store);
    f->ram = map_anonymous(BYTES);
    f->region = ksm_ram_new(NULL, "ram", f->ram, BYTES, KSM_REGION_FRESH,
                            &error);
    g_assert_no_error(error);
    fill(f->ram);
    g_assert_cmpint(ksm_tracker_register(&f->tracker, f->region), ==, 0);
}

static void tear_down(Fixture *f)
{
    ksm_sys = &ksm_sys_linux;
    g_assert_true(ksm_ram_free(f->region));
    munmap(f->ram, BYTES);
    munmap(f->store, BYTES);
    close(f->store_fd);
    ksm_isolation_close(&f->isolation);
    ksm_tracker_close(&f->tracker);
}

static guint32 share(Fixture *f, guint32 first, guint32 count,
                     KsmVerdict *verdict)
{
    return ksm_isolation_share(&f->isolation, f->region, first, count,
                               f->store + (gsize)first * KSM_PAGE_BYTES,
                               f->store_fd, (guint64)first * KSM_PAGE_BYTES,
                               verdict);
}

static void collect(KsmRegion *region, guint32 first, guint32 end,
                    G_GNUC_UNUSED gboolean huge, void *opaque)
{
    guint32 page;

    (void)region;
    for (page = first; page < end; page++) {
        *(guint64 *)opaque |= G_GUINT64_CONSTANT(1) << page;
    }
}

static guint64 written_pages(Fixture *f)
{
    guint64 pages = 0;

    g_assert_cmpint(ksm_tracker_register(&f->tracker, f->region), ==, 0);
    g_assert_cmpint(ksm_tracker_scan(&f->tracker, f->region, collect, &pages),
                    ==, 0);
    return pages;
}

/* Equal pages are shared; writes copy, are seen, and leave the store alone. */
static void test_share(void)
{
    Fixture f;
    KsmVerdict verdict;

    if (!ksm_test_need_uffd()) {
        return;
    }
    set_up(&f);
    g_assert_cmpuint(share(&f, 0, PAGES, &verdict), ==, PAGES);
    g_assert_cmpint(verdict, ==, KSM_VERDICT_DONE);
    g_assert_cmpuint(wrong_words(f.ram), ==, 0);
    written_pages(&f);
    g_assert_cmpuint(written_pages(&f), ==, 0);
    flip(f.ram + 3 * KSM_PAGE_BYTES);
    g_assert_cmpuint(written_pages(&f), ==, 1u << 3);
    g_assert_cmpuint(wrong_words(f.store), ==, 0);
    flip(f.ram + 3 * KSM_PAGE_BYTES);
    g_assert_cmpuint(wrong_words(f.ram), ==, 0);
    tear_down(&f);
}

/* A page that differs stops the window; it and its followers stay. */
static void test_changed(void)
{
    Fixture f;
    KsmVerdict verdict;

    if (!ksm_test_need_uffd()) {
        return;
    }
    set_up(&f);
    f.store[5 * KSM_PAGE_BYTES + 4095] ^= 1;
    g_assert_cmpuint(share(&f, 0, PAGES, &verdict), ==, 5);
    g_assert_cmpint(verdict, ==, KSM_VERDICT_CHANGED);
    g_assert_cmpuint(wrong_words(f.ram), ==, 0);
    flip(f.ram + 5 * KSM_PAGE_BYTES);
    g_assert_true(written_pages(&f) & 1u << 5);
    tear_down(&f);
}

/* Zero pages become holes that read as zeros and can be written. */
static void test_zero(void)
{
    Fixture f;
    KsmVerdict verdict;
    unsigned char core[PAGES];

    if (!ksm_test_need_uffd()) {
        return;
    }
    set_up(&f);
    memset(f.ram, 0, 8 * KSM_PAGE_BYTES);
    g_assert_cmpuint(ksm_isolation_zero(&f.isolation, f.region, 0, PAGES,
                                        &verdict),
                     ==, 8);
    g_assert_cmpint(verdict, ==, KSM_VERDICT_CHANGED);
    g_assert_cmpint(mincore(f.ram, 8 * KSM_PAGE_BYTES, core), ==, 0);
    g_assert_cmpint(core[0] & 1, ==, 0);
    g_assert_cmpint(f.ram[0], ==, 0);
    f.ram[0] = 1;
    g_assert_true(written_pages(&f) & 1);
    f.ram[0] = 0;
    fill(f.ram);
    g_assert_cmpuint(wrong_words(f.ram), ==, 0);
    tear_down(&f);
}

/* A hole and a page shared with a child cannot be moved. */
static void test_hole(void)
{
    Fixture f;
    KsmVerdict verdict;

    if (!ksm_test_need_uffd()) {
        return;
    }
    set_up(&f);
    madvise(f.ram + 2 * KSM_PAGE_BYTES, KSM_PAGE_BYTES, MADV_DONTNEED);
    g_assert_cmpuint(share(&f, 0, PAGES, &verdict), ==, 2);
    g_assert_cmpint(verdict, ==, KSM_VERDICT_HOLE);
    fill(f.ram);
    g_assert_cmpuint(wrong_words(f.ram), ==, 0);
    tear_down(&f);
}

/* ---- failing calls ---------------------------------------------------- */

static struct {
    guint calls;
    guint fail_from; /* calls [fail_from, fail_to) fail */
    guint fail_to;
    int error;
    gboolean armed;
} inject;

static gboolean fails(void)
{
    guint call = inject.calls;

    if (!inject.armed) {
        return FALSE;
    }
    inject.calls++;
    return call >= inject.fail_from && call < inject.fail_to;
}

static int bad_register(int fd, void *addr, size_t bytes, uint64_t mode)
{
    return fails() ? inject.error :
                     ksm_sys_linux.uffd_register(fd, addr, bytes, mode);
}

static int bad_unregister(int fd, void *addr, size_t bytes)
{
    return fails() ? inject.error :
                     ksm_sys_linux.uffd_unregister(fd, addr, bytes);
}

/*
 * Fails after having moved a part, as the kernel does; or, as Linux 6.18 does
 * after trying a batch again, moves and says it did not.
 */
static int bad_move(int fd, void *dst, void *src, size_t bytes, size_t *moved)
{
    size_t half = bytes / 2 / KSM_PAGE_BYTES * KSM_PAGE_BYTES;

    *moved = 0;
    if (!fails()) {
        return ksm_sys_linux.uffd_move(fd, dst, src, bytes, moved);
    }
    if (inject.error == -EEXIST) {
        size_t uncounted;

        ksm_sys_linux.uffd_move(fd, dst, src, half ? half : KSM_PAGE_BYTES,
                                &uncounted);
        return inject.error;
    }
    if (half) {
        ksm_sys_linux.uffd_move(fd, dst, src, half, moved);
        return -EAGAIN;
    }
    return inject.error;
}

static int bad_map(void *addr, size_t bytes, int prot, int flags, int fd,
                   uint64_t offset, void **mapped)
{
    return fails() ?
               inject.error :
               ksm_sys_linux.map(addr, bytes, prot, flags, fd, offset, mapped);
}

static int bad_remap(void *src, size_t bytes, void *dst)
{
    return fails() ? inject.error : ksm_sys_linux.remap_onto(src, bytes, dst);
}

static int bad_scan(int fd, struct pm_scan_arg *arg)
{
    return fails() ? inject.error : ksm_sys_linux.pagemap_scan(fd, arg);
}

typedef guint32 (*Window)(Fixture *f, KsmVerdict *verdict);

static guint32 window_equal(Fixture *f, KsmVerdict *verdict)
{
    return share(f, 0, PAGES, verdict);
}

static guint32 window_changed(Fixture *f, KsmVerdict *verdict)
{
    f->store[7 * KSM_PAGE_BYTES] ^= 1;
    return share(f, 0, PAGES, verdict);
}

static guint32 window_not_zero(Fixture *f, KsmVerdict *verdict)
{
    return ksm_isolation_zero(&f->isolation, f->region, 0, PAGES, verdict);
}

static int bad_read_own(void *to, const void *from, size_t bytes)
{
    return fails() ? inject.error : ksm_sys_linux.copy_self(to, from, bytes);
}

/* One window with calls [from, from + burst) failing; TRUE: any failed. */
static gboolean one_failure(Window window, guint from, guint burst, int error)
{
    KsmSys table = ksm_sys_linux;
    KsmVerdict verdict;
    Fixture f;

    set_up(&f);
    table.uffd_register = bad_register;
    table.uffd_unregister = bad_unregister;
    table.uffd_move = bad_move;
    table.pagemap_scan = bad_scan;
    table.copy_self = bad_read_own;
    table.map = bad_map;
    table.remap_onto = bad_remap;
    memset(&inject, 0, sizeof(inject));
    inject.fail_from = from;
    inject.fail_to = from + burst;
    inject.error = error;
    ksm_sys = &table;
    inject.armed = TRUE;
    window(&f, &verdict);
    inject.armed = FALSE;
    ksm_sys = &ksm_sys_linux;
    g_assert_cmpuint(wrong_words(f.ram), ==, 0);
    /* and it can be used on: written, tracked, read */
    flip(f.ram + 9 * KSM_PAGE_BYTES);
    flip(f.ram + 9 * KSM_PAGE_BYTES);
    g_assert_true(written_pages(&f) & 1u << 9);
    g_assert_cmpuint(wrong_words(f.ram), ==, 0);
    tear_down(&f);
    return inject.calls > from;
}

static int bad_advise(void *addr, size_t bytes, int advice)
{
    return fails() ? inject.error : ksm_sys_linux.advise(addr, bytes, advice);
}

/* Fails the first call of a kind, in what `action` does. */
static void arm(const KsmSys *table, guint calls)
{
    memset(&inject, 0, sizeof(inject));
    inject.fail_to = calls;
    inject.error = -ENOMEM;
    ksm_sys = table;
    inject.armed = TRUE;
}

static void disarm(void)
{
    inject.armed = FALSE;
    ksm_sys = &ksm_sys_linux;
}

/* A window with the first half's slots: nothing equals them but that half. */
static guint32 share_wrong(Fixture *f, KsmVerdict *verdict)
{
    return ksm_isolation_share(&f->isolation, f->region, PAGES / 2, PAGES / 2,
                               f->store, f->store_fd, 0, verdict);
}

/* Pages that stayed in staging are not taken for those of the next window. */
static void test_not_dropped(void)
{
    KsmSys no_map = ksm_sys_linux, no_advice = ksm_sys_linux;
    KsmVerdict verdict;
    Fixture f;

    if (!ksm_test_need_uffd()) {
        return;
    }
    no_map.map = bad_map;
    no_advice.advise = bad_advise;
    set_up(&f);
    g_assert_cmpuint(share(&f, 0, PAGES / 2, &verdict), ==, PAGES / 2);
    arm(&no_map, 1);
    ksm_isolation_drop(&f.isolation);
    g_assert_cmpuint(inject.calls, ==, 1);
    disarm();
    g_assert_cmpuint(share_wrong(&f, &verdict), ==, 0);
    g_assert_cmpint(verdict, ==, KSM_VERDICT_CHANGED);
    ksm_isolation_drop(&f.isolation);
    /* Staging that cannot be emptied is none. */
    arm(&no_advice, G_MAXUINT);
    g_assert_cmpuint(share_wrong(&f, &verdict), ==, 0);
    g_assert_cmpint(verdict, ==, KSM_VERDICT_ERROR);
    disarm();
    g_assert_cmpuint(wrong_words(f.ram), ==, 0);
    g_assert_cmpuint(share(&f, PAGES / 2, PAGES / 2, &verdict), ==, PAGES / 2);
    g_assert_cmpuint(wrong_words(f.ram), ==, 0);
    tear_down(&f);
}

/* Somebody who has the kernel fill and read this process's memory. */
typedef struct Walker {
    GMutex lock;
    pid_t tid; /* under lock: 0 until it walks */
    guint8 *addr;
    guint8 byte;
} Walker;

static gpointer walk(gpointer data)
{
    Walker *walker = data;
    struct iovec local = { .iov_base = &walker->byte, .iov_len = 1 };
    struct iovec remote = { .iov_base = walker->addr, .iov_len = 1 };

    g_mutex_lock(&walker->lock);
    walker->tid = gettid();
    g_mutex_unlock(&walker->lock);
    return GINT_TO_POINTER(
        process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == 1);
}

/* As a debugger does, which may read where nobody else can. */
static void peek(guint8 *addr)
{
    int fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    guint8 byte = 1;

    g_assert_cmpint(pread(fd, &byte, 1, (off_t)(guintptr)addr), ==, 1);
    g_assert_cmpuint(byte, ==, 0);
    close(fd);
}

/* Until it waits for a page that is missing. */
static void wait_for_walker(Walker *walker)
{
    gint64 end = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;
    gboolean waits = FALSE;

    while (!waits) {
        g_autofree char *path = NULL;
        g_autofree char *where = NULL;

        g_mutex_lock(&walker->lock);
        path = g_strdup_printf("/proc/self/task/%d/wchan", walker->tid);
        g_mutex_unlock(&walker->lock);
        waits = g_file_get_contents(path, &where, NULL, NULL) &&
                strstr(where, "userfault");
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(1000);
    }
}

/*
 * Staging may meet a walk through all memory with a wait for the end of a batch,
 * never for ever; and what a walk has filled is not taken for a guest's page.
 */
static void test_walk(void)
{
    Walker walker = { .byte = 1 };
    gboolean got;
    KsmVerdict verdict;
    GThread *thread;
    Fixture f;

    if (!ksm_test_need_uffd()) {
        return;
    }
    set_up(&f);
    g_mutex_init(&walker.lock);
    /* Between batches: passed over. */
    g_assert_false(f.isolation.staging.is_open);
    g_assert_cmpint(mlockall(MCL_CURRENT), ==, 0);
    munlockall();
    /* In a batch: a page that no window has used yet. */
    g_assert_cmpuint(share(&f, 0, 1, &verdict), ==, 1);
    g_assert_true(f.isolation.staging.is_open);
    walker.addr = f.isolation.staging.area + 8 * KSM_PAGE_BYTES;
    thread = g_thread_new("walker", walk, &walker);
    wait_for_walker(&walker);
    g_assert_cmpuint(share(&f, 1, 1, &verdict), ==, 1);
    ksm_isolation_drop(&f.isolation);
    got = GPOINTER_TO_INT(g_thread_join(thread));
    g_assert_cmpint(walker.byte, ==, got ? 0 : 1);
    /* Filled between batches, in a place that the next window needs. */
    peek(f.isolation.staging.area);
    g_assert_cmpuint(share(&f, 2, PAGES - 2, &verdict), ==, PAGES - 2);
    g_assert_cmpuint(wrong_words(f.ram), ==, 0);
    tear_down(&f);
}

/* Earlier kernels refuse too, but only once the destination is gone. */
static gboolean procmap_is_there(void)
{
    struct procmap_query query = { .size = sizeof(query),
                                   .query_addr = (guintptr)&query };
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    gboolean there = !ioctl(fd, PROCMAP_QUERY, &query);

    close(fd);
    return there;
}

/* A source of two mappings is not moved: not at all, whatever the kernel does. */
static void test_several_mappings(void)
{
    guint8 *src = map_anonymous(BYTES), *dst = map_anonymous(BYTES);
    guint page;

    fill(src);
    memset(dst, 0xdd, BYTES);
    g_assert_cmpint(madvise(src, BYTES / 2, MADV_DONTDUMP), ==, 0);
    g_assert_cmpint(ksm_sys->remap_onto(src, BYTES, dst), ==, -EFAULT);
    g_assert_cmpuint(wrong_words(src), ==, 0);
    if (procmap_is_there()) {
        for (page = 0; page < PAGES; page++) {
            g_assert_cmpuint(dst[page * KSM_PAGE_BYTES], ==, 0xdd);
        }
    }
    g_assert_cmpint(madvise(src, BYTES, MADV_DODUMP), ==, 0);
    g_assert_cmpint(ksm_sys->remap_onto(src, BYTES, dst), ==, 0);
    g_assert_cmpuint(wrong_words(dst), ==, 0);
    munmap(src, BYTES);
    munmap(dst, BYTES);
}

static void test_failures(void)
{
    static const Window windows[] = {
        window_equal,
        window_changed,
        window_not_zero,
    };
    static const int errors[] = { -ENOMEM, -EAGAIN, -EBUSY, -EEXIST };
    guint w, e, from, burst, points = 0;

    if (!ksm_test_need_uffd()) {
        return;
    }
    for (w = 0; w < G_N_ELEMENTS(windows); w++) {
        for (e = 0; e < G_N_ELEMENTS(errors); e++) {
            for (burst = 1; burst <= 3; burst++) {
                for (from = 0; one_failure(windows[w], from, burst, errors[e]);
                     from++) {
                    points++;
                }
            }
        }
    }
    g_test_message("%u points of failure, memory right after each", points);
    g_assert_cmpuint(points, >, 100);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/isolation/share", test_share);
    g_test_add_func("/isolation/changed", test_changed);
    g_test_add_func("/isolation/zero", test_zero);
    g_test_add_func("/isolation/hole", test_hole);
    g_test_add_func("/isolation/not-dropped", test_not_dropped);
    g_test_add_func("/isolation/walk", test_walk);
    g_test_add_func("/isolation/several-mappings", test_several_mappings);
    g_test_add_func("/isolation/failing-calls", test_failures);
    return g_test_run();
}
