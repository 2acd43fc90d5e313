/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * oracle-chaos.c: what a client does to its own engine at random: run modes,
 * suspension, standing aside, regions that come and go, fork.
 */
#include "oracle.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc-info.h"

#define EXTRA_PAGES 512

static void complain(Oracle *oracle, const char *what)
{
    fprintf(stderr, "# client %u: %s\n", oracle->index, what);
    oracle_count(&oracle->figures->mismatches, 1);
}

static void pause_ms(guint64 *random, guint64 most)
{
    g_usleep(1000 * (1 + (gulong)ksm_test_below(random, most)));
}

static void toggle_suspend(Oracle *oracle, guint64 *random)
{
    KsmTestMaps maps;

    ksm_engine_suspend(oracle->engine, "test");
    ksm_engine_detach(oracle->engine);
    ksm_test_maps_read(oracle->memory, oracle->bytes, &maps);
    if (maps.uffd) {
        complain(oracle, "a userfaultfd is registered though detached");
    }
    pause_ms(random, 50);
    ksm_engine_resume(oracle->engine);
}

static void toggle(Oracle *oracle, guint64 *random)
{
    static const KsmRunMode modes[] = {
        KSM_RUN_PAUSE,
        KSM_RUN_RUN,
        KSM_RUN_UNMERGE,
    };
    g_autoptr(GError) error = NULL;
    guint64 what = ksm_test_below(random, 10);

    if (what < 3) {
        ksm_engine_set_run(oracle->engine, modes[what]);
        pause_ms(random, 60);
    } else if (what < 5) {
        toggle_suspend(oracle, random);
    } else if (what < 6) {
        __atomic_store_n(&oracle->aside, "test", __ATOMIC_RELEASE);
        pause_ms(random, 50);
        __atomic_store_n(&oracle->aside, NULL, __ATOMIC_RELEASE);
    } else if (what < 7) {
        ksm_engine_run_round(oracle->engine);
    } else {
        guint ms = 10 + (guint)ksm_test_below(random, 40);

        ksm_engine_set_scan_interval(oracle->engine, ms, &error);
        g_assert_no_error(error);
    }
    ksm_engine_set_run(oracle->engine, KSM_RUN_RUN);
    oracle_count(&oracle->figures->toggles, 1);
    pause_ms(random, 300);
}

/* All that got shared is given back, at once, again and again. */
static void unmerge(Oracle *oracle, guint64 *random)
{
    ksm_engine_set_run(oracle->engine, KSM_RUN_UNMERGE);
    pause_ms(random, 60);
    ksm_engine_set_run(oracle->engine, KSM_RUN_RUN);
    oracle_count(&oracle->figures->toggles, 1);
    pause_ms(random, 120);
}

static void check_extra(Oracle *oracle, unsigned char *memory, const char *when)
{
    guint64 i;

    for (i = 0; i < EXTRA_PAGES; i++) {
        if (!ksm_test_page_is(memory + i * KSM_PAGE_BYTES,
                              i % 8 ? KSM_TEST_SEEDED : KSM_TEST_ZERO,
                              oracle_home_seed(oracle, i))) {
            complain(oracle, when);
            return;
        }
    }
}

static void region_life(Oracle *oracle, guint64 *random)
{
    gsize bytes = EXTRA_PAGES * KSM_PAGE_BYTES;
    g_autoptr(GError) error = NULL;
    unsigned char *memory;
    KsmRegion *region;
    KsmTestMaps maps;
    guint64 i;

    memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    g_assert_true(memory != MAP_FAILED);
    region = ksm_region_add(oracle->engine, "extra", memory, bytes,
                            KSM_REGION_FRESH, &error);
    g_assert_no_error(error);
    for (i = 0; i < EXTRA_PAGES; i++) {
        ksm_test_page_make(memory + i * KSM_PAGE_BYTES,
                           i % 8 ? KSM_TEST_SEEDED : KSM_TEST_ZERO,
                           oracle_home_seed(oracle, i));
    }
    for (i = 0; i < 5 && !oracle_stops(oracle); i++) {
        pause_ms(random, 40);
        check_extra(oracle, memory, "a page of an extra region is wrong");
    }
    ksm_region_remove(region);
    ksm_test_maps_read(memory, bytes, &maps);
    if (maps.uffd || maps.file_mappings) {
        complain(oracle, "a removed region is still registered or mapped");
    }
    for (i = 0; i < EXTRA_PAGES; i++) {
        if (!ksm_test_page_is(memory + i * KSM_PAGE_BYTES, KSM_TEST_ZERO, 0)) {
            complain(oracle, "a removed region is not empty");
            break;
        }
    }
    munmap(memory, bytes);
    oracle_count(&oracle->figures->regions, 1);
}

/*
 * The memory is DONTFORK: a child must not have it at all, so mincore() of
 * every part fails there with ENOMEM.  Only async-signal-safe calls.
 */
static void fork_child(const Oracle *oracle, gboolean executes)
{
    unsigned char vector[64];
    guint64 at;

    for (at = 0; at < oracle->bytes; at += 64 * KSM_PAGE_BYTES) {
        if (mincore(oracle->memory + at, 64 * KSM_PAGE_BYTES, vector) == 0 ||
            errno != ENOMEM) {
            _exit(3);
        }
    }
    if (executes) {
        execl("/bin/true", "true", (char *)NULL);
        _exit(4);
    }
    _exit(0);
}

static void fork_once(Oracle *oracle, guint64 *random)
{
    gboolean executes = ksm_test_below(random, 2) != 0;
    pid_t pid = fork();
    int status = -1;

    if (pid == 0) {
        fork_child(oracle, executes);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (pid < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fprintf(stderr, "# fork: pid %d status 0x%x\n", (int)pid, status);
        complain(oracle, "a child of fork() failed, or had guest memory");
    }
    oracle_count(&oracle->figures->forks, 1);
    pause_ms(random, 20);
}

gpointer oracle_chaos_thread(gpointer opaque)
{
    Oracle *oracle = opaque;
    guint features = oracle->config->features;
    guint64 random = ksm_test_mix(oracle->config->seed, 1000 + oracle->index);

    while (!oracle_stops(oracle)) {
        if (features & ORACLE_TOGGLE) {
            toggle(oracle, &random);
        }
        if (features & ORACLE_UNMERGE) {
            unmerge(oracle, &random);
        }
        if (features & ORACLE_REGIONS) {
            region_life(oracle, &random);
        }
        if (features & ORACLE_FORK) {
            fork_once(oracle, &random);
        }
        if (features & ORACLE_SCRIBBLE) {
            unsigned char *page = oracle_page(oracle, 1);

            page[100] = (unsigned char)(page[100] + 1);
            pause_ms(&random, 20);
        }
        if (features & ORACLE_HOST) {
            oracle_host_step(oracle, &random);
        }
        if (!(features & (ORACLE_TOGGLE | ORACLE_UNMERGE | ORACLE_REGIONS |
                          ORACLE_FORK | ORACLE_SCRIBBLE | ORACLE_HOST))) {
            break;
        }
    }
    return NULL;
}
