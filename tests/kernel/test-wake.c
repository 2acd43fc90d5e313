/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-wake.c: no thread that meets a window sleeps for longer than it.
 *
 * Threads touch a page without a pause while window after window opens
 * over it, committed or rolled back.  A wake that is lost once in
 * thousands of windows leaves a thread asleep forever.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "page-content.h"
#include "memory/isolation.h"
#include "require.h"
#include "memory/tracker.h"

#define PAGES 1u
#define BYTES (PAGES * KSM_PAGE_BYTES)
#define THREADS 2
#define SECONDS 3.0
#define PATIENCE 10.0

typedef struct Fixture {
    KsmTracker tracker;
    KsmIsolation isolation;
    KsmRegion *region;
    guint8 *ram;
    guint8 *store;
    int store_fd;
    guint stop;               /* atomic */
    guint64 touches[THREADS]; /* atomic */
    guint64 then[THREADS];
} Fixture;

typedef struct Toucher {
    Fixture *fixture;
    guint nr;
} Toucher;

static void *map_pages(int flags, int fd)
{
    void *p = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, flags, fd, 0);

    g_assert_true(p != MAP_FAILED);
    return p;
}

static void set_up(Fixture *f)
{
    g_autoptr(GError) error = NULL;

    memset(f, 0, sizeof(*f));
    g_assert_true(ksm_tracker_open(&f->tracker, &error));
    g_assert_true(ksm_isolation_open(&f->isolation, f->tracker.uffd,
                                     f->tracker.pagemap, &error));
    f->store_fd = memfd_create("test-store", MFD_CLOEXEC);
    g_assert_cmpint(ftruncate(f->store_fd, BYTES), ==, 0);
    f->store = map_pages(MAP_SHARED, f->store_fd);
    memset(f->store, 1, BYTES);
    f->ram = map_pages(MAP_PRIVATE | MAP_ANONYMOUS, -1);
    f->region = ksm_ram_new(NULL, "ram", f->ram, BYTES, KSM_REGION_FRESH,
                            &error);
    g_assert_no_error(error);
    g_assert_cmpint(ksm_tracker_register(&f->tracker, f->region), ==, 0);
}

/* Reads and writes zeros: the pages' content never changes. */
static gpointer touch(gpointer opaque)
{
    Toucher *toucher = opaque;
    Fixture *f = toucher->fixture;
    guint64 random = toucher->nr;

    while (!__atomic_load_n(&f->stop, __ATOMIC_RELAXED)) {
        volatile guint8 *byte = f->ram + ksm_test_below(&random, BYTES);

        if (*byte != 0) {
            g_error("a byte is %u, not 0", *byte);
        }
        if (random & 1024) {
            *byte = 0;
        }
        __atomic_fetch_add(&f->touches[toucher->nr], 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

static gboolean all_went_on(gpointer opaque)
{
    Fixture *f = opaque;
    guint i;

    for (i = 0; i < THREADS; i++) {
        if (__atomic_load_n(&f->touches[i], __ATOMIC_RELAXED) == f->then[i]) {
            return FALSE;
        }
    }
    return TRUE;
}

static void check_progress(Fixture *f)
{
    guint i;

    for (i = 0; i < THREADS; i++) {
        f->then[i] = __atomic_load_n(&f->touches[i], __ATOMIC_RELAXED);
    }
    if (ksm_test_wait(all_went_on, f, PATIENCE) < 0) {
        g_error("after %" G_GUINT64_FORMAT " windows a thread sleeps since "
                "%g s: it was not woken",
                f->isolation.windows, PATIENCE);
    }
}

/* A commit: the pages become holes, and are touched again. */
static void open_zero(Fixture *f)
{
    KsmVerdict verdict;
    guint i;

    for (i = 0; i < PAGES; i++) {
        *(volatile guint8 *)(f->ram + i * KSM_PAGE_BYTES) = 0;
    }
    ksm_isolation_zero(&f->isolation, f->region, 0, PAGES, &verdict);
}

/* A roll-back: the store holds something else. */
static void open_changed(Fixture *f)
{
    KsmVerdict verdict;

    g_assert_cmpuint(ksm_isolation_share(&f->isolation, f->region, 0, PAGES,
                                         f->store, f->store_fd, 0, &verdict),
                     ==, 0);
}

static void test_wake(gconstpointer opaque)
{
    gboolean commits = GPOINTER_TO_INT(opaque);
    Toucher touchers[THREADS];
    GThread *threads[THREADS];
    double end;
    Fixture f;
    guint i;

    if (!ksm_test_need_uffd()) {
        return;
    }
    set_up(&f);
    for (i = 0; i < THREADS; i++) {
        touchers[i] = (Toucher) { &f, i };
        threads[i] = g_thread_new("toucher", touch, &touchers[i]);
    }
    end = ksm_test_now() + MAX(SECONDS, ksm_test_seconds(0) / 10);
    while (ksm_test_now() < end) {
        for (i = 0; i < 200; i++) {
            if (commits) {
                open_zero(&f);
            } else {
                open_changed(&f);
            }
        }
        ksm_isolation_drop(&f.isolation);
        g_assert_cmpint(ksm_tracker_register(&f.tracker, f.region), ==, 0);
        check_progress(&f);
    }
    __atomic_store_n(&f.stop, 1, __ATOMIC_RELAXED);
    for (i = 0; i < THREADS; i++) {
        g_thread_join(threads[i]);
    }
    g_test_message("%" G_GUINT64_FORMAT " windows, %" G_GUINT64_FORMAT
                   " touches by the first thread",
                   f.isolation.windows, f.touches[0]);
    g_assert_true(ksm_ram_free(f.region));
    munmap(f.ram, BYTES);
    munmap(f.store, BYTES);
    close(f.store_fd);
    ksm_isolation_close(&f.isolation);
    ksm_tracker_close(&f.tracker);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/wake/zero-pages", GINT_TO_POINTER(1), test_wake);
    g_test_add_data_func("/wake/rolled-back", GINT_TO_POINTER(0), test_wake);
    return g_test_run();
}
