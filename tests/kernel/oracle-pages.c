/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * oracle-pages.c: the version table of the integrity oracle.
 *
 * An entry says exactly what a page holds: content by seed and up to three
 * words written over it since.  Invariant: while the sequence is even, page
 * and entry agree.  The owner needs no lock; others read the sequence before
 * and after they copied the page, and drop the check when it moved.
 */
#include "oracle.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define REPORTS 10

/* The content that page has in all clients, unless it was written. */
guint64 oracle_home_seed(const Oracle *oracle, guint64 page)
{
    return ksm_test_mix(oracle->config->seed, page);
}

guint64 oracle_file_seed(const OracleConfig *config, guint64 file_page)
{
    return ksm_test_mix(~config->seed, file_page);
}

/*
 * The writer that owns a page, or -1.  Page by page in one half, so that the
 * pages of one isolation window belong to different threads; by 64 pages in
 * the other.
 */
gint64 oracle_owner(const Oracle *oracle, guint64 page)
{
    guint64 writers = oracle->config->writers;

    if (page < oracle->constant_pages || page >= oracle->first_counter) {
        return -1;
    }
    if (page < oracle->config->pages / 2) {
        return (gint64)(page % writers);
    }
    return (gint64)(page / 64 % writers);
}

static void make_wanted(const OraclePage *entry, guint64 *words)
{
    guint i;

    ksm_test_page_make(words, (KsmTestKind)entry->kind, entry->seed);
    for (i = 0; i < entry->patches; i++) {
        words[entry->patch_at[i] / 8] = entry->patch[i];
    }
}

void oracle_begin(Oracle *oracle, guint64 page)
{
    OraclePage *entry = &oracle->pages[page];

    __atomic_store_n(&entry->sequence, entry->sequence + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static void finish(Oracle *oracle, guint64 page)
{
    OraclePage *entry = &oracle->pages[page];

    __atomic_store_n(&entry->sequence, entry->sequence + 1, __ATOMIC_RELEASE);
    oracle_count(&oracle->figures->writes, 1);
}

void oracle_end(Oracle *oracle, guint64 page, KsmTestKind kind, guint64 seed)
{
    OraclePage *entry = &oracle->pages[page];

    entry->kind = (guint8)kind;
    entry->seed = seed;
    entry->patches = 0;
    finish(oracle, page);
}

void oracle_write(Oracle *oracle, guint64 page, KsmTestKind kind, guint64 seed)
{
    guint64 words[KSM_PAGE_BYTES / 8];

    ksm_test_page_make(words, kind, seed);
    oracle_begin(oracle, page);
    memcpy(oracle_page(oracle, page), words, sizeof(words));
    oracle_end(oracle, page, kind, seed);
}

/*
 * Gives the page up: it is zero from then on.  Not where a transfer into it is
 * under way, which would go on into the page that was given up.
 */
void oracle_discard(Oracle *oracle, guint64 page)
{
    if ((oracle->config->features & ORACLE_FIXED) ||
        __atomic_load_n(&oracle->pages[page].held, __ATOMIC_SEQ_CST)) {
        return;
    }
    oracle_begin(oracle, page);
    ksm_region_discard(oracle->region, page * KSM_PAGE_BYTES, KSM_PAGE_BYTES);
    oracle_end(oracle, page, KSM_TEST_ZERO, 0);
    oracle_count(&oracle->figures->discards, 1);
}

static void note_latency(Oracle *oracle, gint64 ns)
{
    guint64 us = (guint64)(ns / 1000);
    guint bucket = us ? 63 - (guint)__builtin_clzll(us) + 1 : 0;

    oracle_count(
        &oracle->figures->latency_us[MIN(bucket, ORACLE_LATENCIES - 1)], 1);
    oracle_raise(&oracle->figures->latency_max_us, us);
}

static gint64 now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (gint64)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* One aligned word, timed: what a guest feels of the engine. */
static void store_word(Oracle *oracle, guint64 page, guint16 at, guint64 value)
{
    volatile guint64 *word =
        (volatile guint64 *)((unsigned char *)oracle_page(oracle, page) + at);
    gint64 start = now_ns();

    *word = value;
    note_latency(oracle, now_ns() - start);
}

void oracle_patch(Oracle *oracle, guint64 page, guint64 *random)
{
    OraclePage *entry = &oracle->pages[page];
    guint16 at = (guint16)(ksm_test_below(random, KSM_PAGE_BYTES / 8) * 8);
    guint64 value = ksm_test_random(random);
    guint slot = entry->patches;

    if (slot == ORACLE_PATCHES) {
        oracle_write(oracle, page, (KsmTestKind)entry->kind, entry->seed);
        slot = 0;
    }
    oracle_begin(oracle, page);
    store_word(oracle, page, at, value);
    entry->patch_at[slot] = at;
    entry->patch[slot] = value;
    entry->patches = (guint8)(slot + 1);
    finish(oracle, page);
}

/* Writes what stands there already: the page changes hands, not content. */
void oracle_write_same(Oracle *oracle, guint64 page, guint64 *random)
{
    guint64 words[KSM_PAGE_BYTES / 8];
    guint16 at = (guint16)(ksm_test_below(random, KSM_PAGE_BYTES / 8) * 8);

    make_wanted(&oracle->pages[page], words);
    oracle_begin(oracle, page);
    if (at & 8) {
        store_word(oracle, page, at, words[at / 8]);
    } else {
        memcpy(oracle_page(oracle, page), words, sizeof(words));
    }
    finish(oracle, page);
}

static void report(Oracle *oracle, guint64 page, const OraclePage *entry,
                   const guint64 *got, const guint64 *wanted)
{
    guint wrong = 0, first = 0, zero = 0;
    guint64 nr = __atomic_add_fetch(&oracle->figures->mismatches, 1,
                                    __ATOMIC_RELAXED);
    guint i;

    for (i = 0; i < KSM_PAGE_BYTES / 8; i++) {
        first = wrong || got[i] == wanted[i] ? first : i;
        wrong += got[i] != wanted[i];
        zero += got[i] == 0;
    }
    if (nr > REPORTS || (oracle->config->features & ORACLE_SCRIBBLE)) {
        return;
    }
    fprintf(stderr,
            "# MISMATCH client %u page %" PRIu64 " owner %d kind %u "
            "seed %016" PRIx64 " home %016" PRIx64 " patches %u sequence %u: "
            "%u words wrong, first %u (got %016" PRIx64 ", want %016" PRIx64
            "), %u words zero; now %s\n",
            oracle->index, page, (int)oracle_owner(oracle, page), entry->kind,
            entry->seed, oracle_home_seed(oracle, page), entry->patches,
            entry->sequence, wrong, first, got[first], wanted[first], zero,
            memcmp(oracle_page(oracle, page), wanted, KSM_PAGE_BYTES) ?
                "still wrong" :
                "right");
}

/** Checks any page from any thread; FALSE when it is wrong. */
gboolean oracle_verify(Oracle *oracle, guint64 page)
{
    guint64 got[KSM_PAGE_BYTES / 8], wanted[KSM_PAGE_BYTES / 8];
    const OraclePage *entry = &oracle->pages[page];
    OraclePage copy;
    guint32 before, after;

    before = __atomic_load_n(&entry->sequence, __ATOMIC_ACQUIRE);
    copy = *entry;
    memcpy(got, oracle_page(oracle, page), sizeof(got));
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    after = __atomic_load_n(&entry->sequence, __ATOMIC_RELAXED);
    if ((before & 1) || before != after) {
        return TRUE;
    }
    oracle_count(&oracle->figures->checks, 1);
    make_wanted(&copy, wanted);
    if (memcmp(got, wanted, sizeof(got)) == 0) {
        return TRUE;
    }
    report(oracle, page, &copy, got, wanted);
    return FALSE;
}

/** Before the kernel gets the page's address for a transfer into it. */
void oracle_hold(Oracle *oracle, guint64 page)
{
    __atomic_fetch_add(&oracle->pages[page].held, 1, __ATOMIC_SEQ_CST);
}

void oracle_let_go(Oracle *oracle, guint64 page)
{
    __atomic_fetch_sub(&oracle->pages[page].held, 1, __ATOMIC_SEQ_CST);
}

/** KsmOptions.dma_in_flight; other regions than the first see no transfers. */
gboolean oracle_held(const void *addr, gsize bytes, void *opaque)
{
    Oracle *oracle = opaque;
    gsize offset = (gsize)((const unsigned char *)addr - oracle->memory);
    guint64 page = offset / KSM_PAGE_BYTES;
    guint64 end = page + bytes / KSM_PAGE_BYTES;

    for (; offset < oracle->bytes && page < end; page++) {
        if (__atomic_load_n(&oracle->pages[page].held, __ATOMIC_SEQ_CST)) {
            return TRUE;
        }
    }
    return FALSE;
}
