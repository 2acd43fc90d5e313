/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-verify.c: isolated pages against their replacement, in both ways.
 */
#include "memory/verify.h"

#include <errno.h>
#include <string.h>

#include "guest-ksm.h"
#include "page-content.h"
#include "sys.h"

#define PAGES 8u
#define BYTES (PAGES * KSM_PAGE_BYTES)

static struct {
    guint calls;
    int error;
    guint delay_us;
} copying;

static int odd_copy_self(void *to, const void *from, size_t bytes)
{
    copying.calls++;
    if (copying.delay_us) {
        g_usleep(copying.delay_us);
    }
    return copying.error ? copying.error :
                           ksm_sys_linux.copy_self(to, from, bytes);
}

static KsmSys table;

static void set_up(KsmVerify *verify)
{
    memset(verify, 0, sizeof(*verify));
    memset(&copying, 0, sizeof(copying));
    table = ksm_sys_linux;
    table.copy_self = odd_copy_self;
    ksm_sys = &table;
    g_assert_cmpint(ksm_verify_open(verify), ==, 0);
}

static void tear_down(KsmVerify *verify)
{
    ksm_verify_close(verify);
    ksm_sys = &ksm_sys_linux;
}

static guint8 *make_pages(void)
{
    guint8 *pages = g_malloc(BYTES);
    guint i;

    for (i = 0; i < PAGES; i++) {
        ksm_test_page_make(pages + i * KSM_PAGE_BYTES, KSM_TEST_SEEDED, i);
    }
    return pages;
}

/* The first page that differs, in its first, middle or last byte. */
static void check_differences(KsmVerify *verify)
{
    static const guint at[] = { 0, KSM_PAGE_BYTES / 2, KSM_PAGE_BYTES - 1 };
    g_autofree guint8 *isolated = make_pages();
    g_autofree guint8 *content = make_pages();
    gboolean failed;
    guint page, i;

    g_assert_cmpuint(ksm_verify_isolated(verify, isolated, content, PAGES,
                                         &failed),
                     ==, PAGES);
    for (page = 0; page < PAGES; page++) {
        for (i = 0; i < G_N_ELEMENTS(at); i++) {
            guint8 *byte = isolated + page * KSM_PAGE_BYTES + at[i];

            *byte ^= 1;
            g_assert_cmpuint(ksm_verify_isolated(verify, isolated, content,
                                                 PAGES, &failed),
                             ==, page);
            g_assert_false(failed);
            *byte ^= 1;
        }
    }
}

/* The ways take turns at first: enough windows for both. */
static void test_differences(void)
{
    KsmVerify verify;

    set_up(&verify);
    check_differences(&verify);
    g_assert_cmpuint(copying.calls, >, 4);
    g_assert_cmpuint(verify.pages[KSM_VERIFY_IN_PLACE], >, 4 * PAGES);
    tear_down(&verify);
}

/* What could not be copied is read where it is. */
static void test_no_copies(void)
{
    KsmVerify verify;

    set_up(&verify);
    copying.error = -ENOMEM;
    check_differences(&verify);
    g_assert_cmpuint(copying.calls, >, 4);
    tear_down(&verify);
}

static void test_zeros(void)
{
    g_autofree guint8 *isolated = g_malloc0(BYTES);
    KsmVerify verify;
    gboolean failed;
    guint page;

    set_up(&verify);
    for (page = PAGES; page-- > 0;) {
        g_assert_cmpuint(ksm_verify_isolated(&verify, isolated, NULL, PAGES,
                                             &failed),
                         ==, page + 1);
        isolated[page * KSM_PAGE_BYTES + KSM_PAGE_BYTES - 1] = 1;
    }
    g_assert_cmpuint(copying.calls, >, 1);
    tear_down(&verify);
}

/* The dearer way is left, and tried again some time later. */
static void test_choice(void)
{
    g_autofree guint8 *pages = make_pages();
    KsmVerify verify;
    gboolean failed;
    guint i, trials;

    set_up(&verify);
    copying.delay_us = 2000;
    for (i = 0; i < 100; i++) {
        ksm_verify_isolated(&verify, pages, pages, PAGES, &failed);
    }
    trials = copying.calls;
    g_assert_cmpuint(trials, >, 1);
    g_assert_cmpuint(trials, <, 20);
    copying.delay_us = 0;
    for (i = 0; i < 4000 && copying.calls == trials; i++) {
        ksm_verify_isolated(&verify, pages, pages, PAGES, &failed);
    }
    g_assert_cmpuint(copying.calls, >, trials);
    tear_down(&verify);
}

static void test_load(void)
{
    KsmVerify verify;

    set_up(&verify);
    g_assert_cmpint(ksm_verify_load(&verify, -1, 0, 1), ==, -EBADF);
    tear_down(&verify);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/verify/differences", test_differences);
    g_test_add_func("/verify/no-copies", test_no_copies);
    g_test_add_func("/verify/zeros", test_zeros);
    g_test_add_func("/verify/choice", test_choice);
    g_test_add_func("/verify/load", test_load);
    return g_test_run();
}
