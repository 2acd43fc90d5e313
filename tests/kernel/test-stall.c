/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-stall.c: what other threads of the process wait for: the engine's lock
 * and the kernel's mmap lock.
 */
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "engine-private.h"
#include "page-content.h"
#include "require.h"

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
        struct pollfd entry = { .fd = engine->wake_fd, .events = POLLIN };

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
    entry.fd = engine->wake_fd;
    g_assert_cmpint(poll(&entry, 1, 0), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/stall/wake-is-kept", test_wake_is_kept);
    return g_test_run();
}
