/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-fingerprint.c: the zero page, and that every byte of a page counts.
 */
#include <string.h>

#include "fingerprint.h"

static void test_zero(void)
{
    g_autofree guint8 *page = g_malloc0(KSM_PAGE_BYTES);
    guint i;

    g_assert_true(ksm_fingerprint_is_zero(page));
    for (i = 0; i < KSM_PAGE_BYTES; i++) {
        page[i] = 1;
        g_assert_false(ksm_fingerprint_is_zero(page));
        page[i] = 0;
    }
    memset(page, 0xcc, KSM_PAGE_BYTES);
    g_assert_false(ksm_fingerprint_is_zero(page));
}

static void test_bytes(void)
{
    g_autofree guint8 *page = g_malloc0(KSM_PAGE_BYTES);
    KsmFingerprint zero = ksm_fingerprint_page(page);
    guint i;

    for (i = 0; i < KSM_PAGE_BYTES; i++) {
        KsmFingerprint other;

        page[i] = 0x80;
        other = ksm_fingerprint_page(page);
        g_assert_true(other.hi != zero.hi && other.lo != zero.lo);
        page[i] = 0;
    }
}

/* The same content is called the same. */
static void test_same(void)
{
    g_autofree guint8 *page = g_malloc0(KSM_PAGE_BYTES);
    KsmFingerprint a, b;

    memset(page, 0xcc, KSM_PAGE_BYTES);
    a = ksm_fingerprint_page(page);
    b = ksm_fingerprint_page(page);
    g_assert_cmpmem(&a, sizeof(a), &b, sizeof(b));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fingerprint/zero", test_zero);
    g_test_add_func("/fingerprint/bytes", test_bytes);
    g_test_add_func("/fingerprint/same", test_same);
    return g_test_run();
}
