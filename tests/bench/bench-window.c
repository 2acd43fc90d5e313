/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bench-window.c: what each step of a window costs on this machine, for runs
 * of several lengths; prints one line of JSON, microseconds a run.
 *
 * These are the kernel's costs, and those of a hypervisor beneath it, which no
 * profiler in here can see: where page tables are shadowed, the first access
 * to a page at a new address and each flush of a translation are its work.
 * bench-merge tells what all of it comes to.
 *
 * usage: bench-window [PAGES...]
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "page-content.h"
#include "page-scan.h"
#include "sys.h"
#include "memory/tracker.h"
#include "memory/verify.h"

#define PAGES 16384u
#define STAGING_PAGES 1024u

typedef enum Step {
    STEP_REGISTER,
    STEP_MOVE,
    STEP_IN_PLACE,
    STEP_COPIED,
    STEP_MAP,
    STEP_WAKE,
    STEP_DROP,
    STEP_LOAD,
    STEPS,
} Step;

static const char *const step_names[STEPS] = {
    [STEP_REGISTER] = "register",
    [STEP_MOVE] = "move",
    [STEP_IN_PLACE] = "read_in_place",
    [STEP_COPIED] = "read_copied",
    [STEP_MAP] = "map",
    [STEP_WAKE] = "wake",
    [STEP_DROP] = "drop",
    [STEP_LOAD] = "load_slots",
};

typedef struct Fixture {
    KsmTracker tracker;
    KsmVerify verify;
    guint8 *ram;
    guint8 *staging;
    int store;
    guint32 used; /* pages of staging */
    guint64 ns[STEPS];
    guint64 times[STEPS];
} Fixture;

static void check(int ret, const char *what)
{
    if (ret) {
        g_error("%s: %s", what, g_strerror(-ret));
    }
}

static guint8 *map_memory(guint pages)
{
    gsize bytes = (gsize)pages * KSM_PAGE_BYTES;
    void *p = NULL;

    check(ksm_sys->map(NULL, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0, &p),
          "mmap");
    ksm_sys->advise(p, bytes, MADV_NOHUGEPAGE);
    check(ksm_sys->advise(p, bytes, MADV_DONTFORK), "madvise");
    return p;
}

/* Memory, and a store that holds the same at the same offsets. */
static void set_up(Fixture *s)
{
    g_autoptr(GError) error = NULL;
    guint i;

    memset(s, 0, sizeof(*s));
    if (!ksm_tracker_open(&s->tracker, &error)) {
        g_error("%s", error->message);
    }
    check(ksm_verify_open(&s->verify), "mmap");
    s->ram = map_memory(PAGES);
    s->staging = map_memory(STAGING_PAGES);
    s->store = memfd_create("bench-window", MFD_CLOEXEC);
    for (i = 0; i < PAGES; i++) {
        guint8 *page = s->ram + (gsize)i * KSM_PAGE_BYTES;

        ksm_test_page_make(page, KSM_TEST_SEEDED, i);
        if (pwrite(s->store, page, KSM_PAGE_BYTES, (off_t)i * KSM_PAGE_BYTES) !=
            KSM_PAGE_BYTES) {
            g_error("the store could not be written");
        }
    }
    check(ksm_sys->uffd_register(s->tracker.uffd, s->ram,
                                 (gsize)PAGES * KSM_PAGE_BYTES,
                                 UFFDIO_REGISTER_MODE_WP),
          "register");
    check(ksm_sys->uffd_register(s->tracker.uffd, s->staging,
                                 (gsize)STAGING_PAGES * KSM_PAGE_BYTES,
                                 UFFDIO_REGISTER_MODE_MISSING),
          "register");
}

static void tear_down(Fixture *s)
{
    munmap(s->ram, (gsize)PAGES * KSM_PAGE_BYTES);
    munmap(s->staging, (gsize)STAGING_PAGES * KSM_PAGE_BYTES);
    close(s->store);
    ksm_verify_close(&s->verify);
    ksm_tracker_close(&s->tracker);
}

static void add(Fixture *s, Step step, guint64 *since_ns)
{
    guint64 now = ksm_sys_thread_cpu_ns();

    s->ns[step] += now - *since_ns;
    s->times[step]++;
    *since_ns = ksm_sys_thread_cpu_ns();
}

/* The steps of isolation.c, one window. */
static void window(Fixture *s, guint32 first, guint32 count, gboolean copied)
{
    gsize bytes = (gsize)count * KSM_PAGE_BYTES;
    guint64 offset = (guint64)first * KSM_PAGE_BYTES;
    guint8 *addr = s->ram + offset;
    guint8 *staging = s->staging + (gsize)s->used * KSM_PAGE_BYTES;
    const guint8 *pages = staging;
    gboolean failed;
    gsize moved = 0;
    guint64 at;

    s->used += count;
    at = ksm_sys_thread_cpu_ns();
    check(ksm_verify_load(&s->verify, s->store, offset, count), "pread");
    add(s, STEP_LOAD, &at);
    check(ksm_sys->uffd_register(s->tracker.uffd, addr, bytes,
                                 UFFDIO_REGISTER_MODE_MISSING |
                                     UFFDIO_REGISTER_MODE_WP),
          "register");
    add(s, STEP_REGISTER, &at);
    check(ksm_sys->uffd_move(s->tracker.uffd, staging, addr, bytes, &moved),
          "move");
    add(s, STEP_MOVE, &at);
    if (copied) {
        check(ksm_sys->copy_self(s->verify.copy, staging, bytes), "copy");
        pages = s->verify.copy;
    }
    if (ksm_read_equal(pages, s->verify.content, count, &failed) != count) {
        g_error("pages have changed");
    }
    add(s, copied ? STEP_COPIED : STEP_IN_PLACE, &at);
    check(ksm_sys->map(addr, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, s->store,
                       offset, NULL),
          "mmap");
    add(s, STEP_MAP, &at);
    check(ksm_sys->uffd_wake(s->tracker.uffd, addr, bytes), "wake");
    add(s, STEP_WAKE, &at);
}

static void drop(Fixture *s)
{
    guint64 at = ksm_sys_thread_cpu_ns();

    check(ksm_sys->advise(s->staging, (gsize)s->used * KSM_PAGE_BYTES,
                          MADV_DONTNEED),
          "drop");
    add(s, STEP_DROP, &at);
    s->used = 0;
}

/* Every other run, so that each is a mapping of its own. */
static void measure(guint32 run, GString *json)
{
    guint32 first, windows = 0;
    Fixture s;
    guint i;

    set_up(&s);
    for (first = 0; first + 2 * run <= PAGES; first += 2 * run) {
        if (s.used + run > STAGING_PAGES) {
            drop(&s);
        }
        window(&s, first, run, windows++ % 2);
    }
    drop(&s);
    for (i = 0; i < STEPS; i++) {
        guint64 times = i == STEP_DROP ? windows : s.times[i];

        g_string_append_printf(json, "%s\"%s_us_%u\": %.3f",
                               json->len > 1 ? ", " : "", step_names[i], run,
                               (double)s.ns[i] / 1e3 / (double)times);
    }
    tear_down(&s);
}

int main(int argc, char **argv)
{
    static const guint32 usual[] = { 1, 8, 64 };
    g_autoptr(GString) json = g_string_new("{");
    int i;

    for (i = 1; i < argc; i++) {
        guint64 run = g_ascii_strtoull(argv[i], NULL, 10);

        if (!run || run > KSM_WINDOW_PAGES) {
            fprintf(stderr,
                    "bench-window: '%s' is no number of pages from 1 "
                    "to %u\n",
                    argv[i], KSM_WINDOW_PAGES);
            return 2;
        }
        measure((guint32)run, json);
    }
    for (i = 0; argc == 1 && i < (int)G_N_ELEMENTS(usual); i++) {
        measure(usual[i], json);
    }
    printf("%s}\n", json->str);
    return 0;
}
