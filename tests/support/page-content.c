/* SPDX-License-Identifier: GPL-2.0-or-later */
/* page-content.c: what a page must hold, made from a seed. */
#include "page-content.h"

#include <string.h>

#define WORDS (KSM_PAGE_BYTES / sizeof(guint64))

/* SplitMix64: every state gives a number, so that seeds may be anything. */
guint64 ksm_test_random(guint64 *state)
{
    guint64 z = (*state += G_GUINT64_CONSTANT(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * G_GUINT64_CONSTANT(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * G_GUINT64_CONSTANT(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

guint64 ksm_test_below(guint64 *state, guint64 limit)
{
    return ksm_test_random(state) % limit;
}

guint64 ksm_test_mix(guint64 a, guint64 b)
{
    guint64 state = a;

    state = ksm_test_random(&state) ^ b;
    return ksm_test_random(&state);
}

void ksm_test_page_make(void *page, KsmTestKind kind, guint64 seed)
{
    guint64 *words = page;
    gsize i;

    if (kind != KSM_TEST_SEEDED) {
        memset(page, kind == KSM_TEST_BYTE ? (int)(seed & 0xff) : 0,
               KSM_PAGE_BYTES);
        return;
    }
    for (i = 0; i < WORDS; i++) {
        words[i] = ksm_test_random(&seed);
    }
}

gboolean ksm_test_page_is(const void *page, KsmTestKind kind, guint64 seed)
{
    guint64 wanted[WORDS];

    ksm_test_page_make(wanted, kind, seed);
    return memcmp(page, wanted, KSM_PAGE_BYTES) == 0;
}
