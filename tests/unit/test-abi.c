/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-abi.c: the public structures are what the library's soname stands for.
 *
 * A program has their sizes and offsets compiled in: it passes KsmOptions and
 * has KsmStats written to memory of its own.  With another layout under the same
 * soname it would crash; under another one it does not start.  So a change here
 * goes with a new ksm_soversion in meson.build, and a new table below.
 */
#include <guest-ksm.h>
#include <stddef.h>
#include <string.h>

typedef struct Row {
    const char *what;
    gsize is;
    gsize was;
} Row;

/* Of soname 3, on 64-bit machines. */
#define LAYOUT_OF 3
static const Row rows[] = {
    { "sizeof KsmOptions", sizeof(KsmOptions), 88 },
    { "KsmOptions.run", offsetof(KsmOptions, run), 32 },
    { "KsmOptions.node", offsetof(KsmOptions, node), 52 },
    { "KsmOptions.stand_aside", offsetof(KsmOptions, stand_aside), 56 },
    { "KsmOptions.opaque", offsetof(KsmOptions, opaque), 80 },
    { "sizeof KsmStats", sizeof(KsmStats), 512 },
    { "KsmStats.full_scans", offsetof(KsmStats, full_scans), 64 },
    { "KsmStats.windows", offsetof(KsmStats, windows), 160 },
    { "KsmStats.state", offsetof(KsmStats, state), 368 },
    { "KsmStats.stand_aside", offsetof(KsmStats, stand_aside), 480 },
    { "KsmStats.group_pages_unshared", offsetof(KsmStats, group_pages_unshared),
      504 },
};

/* Names that programs may still use, and what they are called now. */
static const Row renamed[] = {
    { "KsmOptions.held", offsetof(KsmOptions, held),
      offsetof(KsmOptions, dma_in_flight) },
    { "KsmStats.refused_held", offsetof(KsmStats, refused_held),
      offsetof(KsmStats, refused_dma) },
    { "KsmStats.hints", offsetof(KsmStats, hints),
      offsetof(KsmStats, deferred_results) },
    { "KsmStats.pages_resting", offsetof(KsmStats, pages_resting),
      offsetof(KsmStats, pages_parked) },
};

static void test_renamed(void)
{
    gsize i;

    for (i = 0; i < G_N_ELEMENTS(renamed); i++) {
        g_test_message("%s", renamed[i].what);
        g_assert_cmpuint(renamed[i].is, ==, renamed[i].was);
    }
}

static void test_layout(void)
{
    gsize i;

    if (sizeof(void *) != 8) {
        g_test_skip("the table is for 64-bit machines");
        return;
    }
    g_assert_cmpuint(KSM_SOVERSION, ==, LAYOUT_OF);
    for (i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_test_message("%s: %zu, soname %d has %zu", rows[i].what, rows[i].is,
                       LAYOUT_OF, rows[i].was);
        g_assert_cmpuint(rows[i].is, ==, rows[i].was);
    }
}

/* The library that is loaded is the one of that soname, and fills no more. */
static void test_filled(void)
{
    struct {
        KsmOptions options;
        guint8 behind[64];
    } box;
    g_autofree char *maps = NULL;
    gsize i;

    memset(&box, 0x5a, sizeof(box));
    ksm_options_init(&box.options);
    g_assert_null(box.options.opaque);
    for (i = 0; i < sizeof(box.behind); i++) {
        g_assert_cmphex(box.behind[i], ==, 0x5a);
    }
    g_assert_true(g_file_get_contents("/proc/self/maps", &maps, NULL, NULL));
    g_assert_nonnull(
        strstr(maps, "libguest-ksm.so." G_STRINGIFY(LAYOUT_OF) "."));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/abi/layout", test_layout);
    g_test_add_func("/abi/renamed", test_renamed);
    g_test_add_func("/abi/filled", test_filled);
    return g_test_run();
}
