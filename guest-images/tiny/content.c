/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * content.c: what every page of the arena should hold, by seed.
 *
 * A page's content follows from its state (kind, version, at most one word on
 * top) and the seeds alone.  The states are the oracle: they are changed by
 * this guest only, and know nothing of who shares what on the host.
 *
 * The first words of a page name its seed, number and version, so that two
 * pages are equal only when they are meant to be, and a mismatch tells where
 * the wrong bytes came from.
 */
#include "tiny.h"

#define FILL_WORD 0xccccccccu
#define MISMATCHES_SHOWN 20u

PageState *content_states;

static u32 mix(u32 x)
{
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    x ^= x >> 16;
    return x;
}

u32 content_random(u32 *random)
{
    *random += 0x9e3779b9u;
    return mix(*random);
}

u32 content_below(u32 *random, u32 bound)
{
    return (u32)(((u64)content_random(random) * bound) >> 32);
}

u32 content_seed_random(u32 seed)
{
    return mix(seed ^ 0x5eed5eedu);
}

/*
 * The kind a page has at the start and goes back to.  Decided for a whole run
 * of pages by the shared seed, so that all guests agree about which content
 * is shared, and at which place it lies (moved by `shift`).
 */
Kind content_layout(const Params *p, u32 page)
{
    u32 run = (page + p->shift) / p->run_len;
    u32 dice = mix(run ^ mix(p->shared_seed ^ 0x1a70u)) % 100;

    if (dice < p->share) {
        return KIND_SHARED;
    }
    if (dice < p->share + p->zero) {
        return KIND_ZERO;
    }
    if (dice < p->share + p->zero + p->fill) {
        return KIND_FILL;
    }
    return KIND_UNIQUE;
}

/* A stream of words: the head names the page, a generator makes the rest. */
typedef struct Stream {
    u32 head[4];
    u32 x;
} Stream;

static Stream stream_of(const Params *p, u32 page)
{
    const PageState *state = &content_states[page];
    Stream s;

    if (state->kind == KIND_SHARED) {
        s.head[0] = p->shared_seed;
        s.head[1] = page + p->shift;
        s.head[2] = 0;
    } else {
        s.head[0] = p->seed;
        s.head[1] = page;
        s.head[2] = state->version;
    }
    s.head[3] = 0x544e5900u + state->kind;
    s.x = mix(s.head[0] ^ mix(s.head[1] ^ mix(s.head[2] ^ s.head[3])));
    return s;
}

static inline u32 stream_word(Stream *s, u32 i)
{
    if (i < 4) {
        return s->head[i];
    }
    s->x = s->x * 1664525u + 1013904223u;
    return s->x;
}

static u32 word_on_top(const Params *p, u32 page)
{
    const PageState *state = &content_states[page];

    return mix(p->seed ^ mix(page ^ mix(state->word_version))) | 1;
}

/* Writes only the word on top of page's base content. */
void content_overlay(const Params *p, u32 page, u32 *memory)
{
    memory[content_states[page].word_index] = word_on_top(p, page);
}

/* Writes the whole page as its state says. */
void content_write(const Params *p, u32 page, u32 *memory)
{
    const PageState *state = &content_states[page];
    volatile u32 *words = memory;
    Stream s;
    u32 i;

    if (state->kind == KIND_ZERO || state->kind == KIND_FILL) {
        u32 value = state->kind == KIND_ZERO ? 0 : FILL_WORD;

        for (i = 0; i < PAGE_WORDS; i++) {
            words[i] = value;
        }
    } else {
        s = stream_of(p, page);
        for (i = 0; i < PAGE_WORDS; i++) {
            words[i] = stream_word(&s, i);
        }
    }
    if (state->word_version) {
        content_overlay(p, page, memory);
    }
}

static void mismatch_show(u32 page, u32 word, u32 got, u32 want)
{
    smp_lock();
    out_text("TINY MISMATCH");
    out_field("page", page);
    out_field("word", word);
    out_text(" got=");
    out_hex(got);
    out_text(" want=");
    out_hex(want);
    out_field("kind", content_states[page].kind);
    out_char('\n');
    smp_unlock();
}

/* Compares the page with its state; returns the number of wrong words. */
u32 content_check(const Params *p, u32 page, u32 *memory, u32 *mismatches)
{
    const PageState *state = &content_states[page];
    const volatile u32 *words = memory;
    u32 top = state->word_version ? state->word_index : PAGE_WORDS;
    u32 constant = state->kind == KIND_FILL ? FILL_WORD : 0;
    int plain = state->kind == KIND_ZERO || state->kind == KIND_FILL;
    u32 wrong = 0;
    Stream s = stream_of(p, page);
    u32 i;

    for (i = 0; i < PAGE_WORDS; i++) {
        u32 want = plain ? constant : stream_word(&s, i);
        u32 got = words[i];

        if (i == top) {
            want = word_on_top(p, page);
        }
        if (__builtin_expect(got != want, 0)) {
            if (*mismatches < MISMATCHES_SHOWN && wrong < 4) {
                mismatch_show(page, i, got, want);
            }
            wrong++;
        }
    }
    *mismatches += wrong != 0;
    return wrong;
}
