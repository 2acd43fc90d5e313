/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-failing-calls.c: every system call of the engine failing, at every
 * point of its life.
 *
 * One scenario is repeated (scenario.h), with a correct broker.  Each time a
 * different call fails, alone and with the calls that follow.  A failure costs
 * savings only.
 *
 * UFFDIO_WAKE is left alone: it cannot fail, and no thread waits here to be
 * woken.
 */
#include <errno.h>
#include <string.h>

#include "require.h"
#include "scenario.h"

/* ---- calls that fail ----------------------------------------------------- */

static struct {
    guint calls;
    guint from, to; /* calls [from, to) fail */
    int error;
    const char *first; /* the name of the first that failed */
} inject;

static gboolean fails(const char *name)
{
    guint call = inject.calls++;

    if (call < inject.from || call >= inject.to) {
        return FALSE;
    }
    if (inject.first == NULL) {
        inject.first = name;
    }
    return TRUE;
}

/* Every other one has moved half of the pages when it fails. */
static int odd_uffd_move(int fd, void *dst, void *src, size_t bytes,
                         size_t *moved)
{
    size_t half = bytes / 2 / KSM_PAGE_BYTES * KSM_PAGE_BYTES;

    *moved = 0;
    if (!fails("uffd_move")) {
        return ksm_sys_linux.uffd_move(fd, dst, src, bytes, moved);
    }
    if (inject.calls % 2 && half) {
        ksm_sys_linux.uffd_move(fd, dst, src, half, moved);
        return -EAGAIN;
    }
    return inject.error;
}

/*
 * Every other one has removed what it was to replace, as the kernel could; but
 * not all memory, when the engine takes it over: that ends the program.
 */
static int odd_remap_onto(void *src, size_t bytes, void *dst)
{
    if (!fails("remap_onto")) {
        return ksm_sys_linux.remap_onto(src, bytes, dst);
    }
    if (inject.calls % 2 && bytes < SCENARIO_BYTES) {
        ksm_sys_linux.unmap(dst, bytes);
    }
    return inject.error;
}

static int fail_or_go_on(const char *name)
{
    return fails(name) ? inject.error : 0;
}

static char *trouble(void)
{
    return g_strdup_printf("calls %u to %u failed with %s, the first of them "
                           "%s",
                           inject.from, inject.to, g_strerror(-inject.error),
                           inject.first);
}

static void install(guint from, guint burst, int error)
{
    KsmSys *table = scenario_calls(fail_or_go_on);

    table->uffd_move = odd_uffd_move;
    table->remap_onto = odd_remap_onto;
    memset(&inject, 0, sizeof(inject));
    inject.from = from;
    inject.to = from + burst;
    inject.error = error;
}

/* Whether a call failed; else all have been tried. */
static gboolean tell(FakeBroker *fake, guint from, guint burst, int error,
                     Scenario *scenario)
{
    *scenario = (Scenario) { .fake = fake, .trouble = trouble };
    install(from, burst, error);
    scenario_tell(scenario);
    return inject.first != NULL;
}

static void test_untroubled(void)
{
    g_autoptr(FakeBroker) fake = NULL;
    Scenario scenario;

    if (!ksm_test_need_uffd()) {
        return;
    }
    fake = fake_broker_new(NULL);
    g_assert_false(tell(fake, G_MAXUINT - 1, 1, -ENOMEM, &scenario));
    g_test_message("%u calls, %" G_GUINT64_FORMAT " pages shared", inject.calls,
                   scenario.shared);
    g_assert_cmpuint(scenario.shared, ==, scenario_shared());
    g_assert_cmpuint(scenario.refusals, ==, 0);
    g_assert_cmpuint(inject.calls, >, 200);
}

typedef struct Series {
    const char *name;
    guint burst;
    int error;
} Series;

static const Series all_series[] = {
    { "one-nomem", 1, -ENOMEM },  { "one-again", 1, -EAGAIN },
    { "one-busy", 1, -EBUSY },    { "two-nomem", 2, -ENOMEM },
    { "two-again", 2, -EAGAIN },  { "three-nomem", 3, -ENOMEM },
    { "five-nomem", 5, -ENOMEM }, { "twelve-nomem", 12, -ENOMEM },
};

static void test_series(gconstpointer opaque)
{
    const Series *series = opaque;
    g_autoptr(FakeBroker) fake = NULL;
    guint from, refusals = 0, less = 0;
    Scenario scenario;

    if (!ksm_test_need_uffd()) {
        return;
    }
    fake = fake_broker_new(NULL);
    for (from = 0; tell(fake, from, series->burst, series->error, &scenario);
         from++) {
        refusals += scenario.refusals > 0;
        less += scenario.shared < scenario_shared();
    }
    g_test_message("%u points; %u times something was refused, %u times less "
                   "was shared",
                   from, refusals, less);
    g_assert_cmpuint(from, >, 200);
}

int main(int argc, char **argv)
{
    guint i;

    g_test_init(&argc, &argv, NULL);
    scenario_be_quiet();
    g_test_add_func("/failing-calls/none", test_untroubled);
    for (i = 0; i < G_N_ELEMENTS(all_series); i++) {
        g_autofree char *path = g_strconcat("/failing-calls/",
                                            all_series[i].name, NULL);

        g_test_add_data_func(path, &all_series[i], test_series);
    }
    return g_test_run();
}
