/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * page-content.h: what a page must hold, made from a seed.
 *
 * The same seed gives the same 4096 bytes in every process; different seeds
 * give content that differs in nearly every word.  Nothing here knows of the
 * engine or of fingerprints.
 */
#ifndef TEST_PAGE_CONTENT_H
#define TEST_PAGE_CONTENT_H

#include <glib.h>
#include <guest-ksm.h>

typedef enum KsmTestKind {
    KSM_TEST_ZERO = 0,
    KSM_TEST_SEEDED = 1, /* by the seed */
    KSM_TEST_BYTE = 2,   /* every byte the lowest byte of the seed */
} KsmTestKind;

/** One step of a small generator: the next number, and a new state. */
guint64 ksm_test_random(guint64 *state);

/** A number below limit. */
guint64 ksm_test_below(guint64 *state, guint64 limit);

/** Mixes two numbers into one seed. */
guint64 ksm_test_mix(guint64 a, guint64 b);

/** Writes the 4096 bytes of kind and seed to page. */
void ksm_test_page_make(void *page, KsmTestKind kind, guint64 seed);

/** Whether the page holds exactly that; reads each byte once. */
gboolean ksm_test_page_is(const void *page, KsmTestKind kind, guint64 seed);

#endif /* TEST_PAGE_CONTENT_H */
