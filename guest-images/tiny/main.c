/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * main.c: the tiny guest: fill memory by seed, then overwrite and verify it
 * for ever, and say so on the serial port.
 *
 *   TINY start pages=N shared=N zero=N fill=N unique=N
 *   TINY filled pages=N
 *   TINY disk blocks=N
 *   TINY pass=N pages=N writes=N mismatches=N ticks=N
 *   TINY disk done=N in=N errors=N slowest=N     (ticks of 10 ms)
 *   TINY MISMATCH page=N word=N got=HEX want=HEX kind=N
 *   TINY done ok|fail
 *
 * `mismatches` counts pages and adds up over the passes.
 */
#include "tiny.h"

/* Pages verified between two looks at the disk. */
#define DISK_LOOK_PAGES 64u

void tiny_main(const void *start_info);

typedef struct Arena {
    u8 *base;
    u32 pages;
    u32 writes;
    u32 mismatches;
} Arena;

static Params params = {
    .seed = 1,
    .shared_seed = 42,
    .share = 50,
    .zero = 20,
    .fill = 5,
    .run_len = 16,
    .passes = 0,
    .write_pct = 2,
    .pause_ms = 200,
    .report_every = 1,
};

static u32 *page_memory(const Arena *arena, u32 page)
{
    return (u32 *)(arena->base + page * PAGE_BYTES);
}

/* States first, then the pages they describe, both behind the image. */
static Arena arena_lay_out(Extent ram)
{
    Arena arena = { 0 };
    u32 bytes = ram.end - ram.start;
    u32 limit = params.mem_mib << 20;
    u32 tables = params.disk ? 2 : 1;
    u32 state_bytes;

    if (limit && bytes > limit) {
        bytes = limit;
    }
    arena.pages = bytes / (PAGE_BYTES + tables * sizeof(PageState));
    state_bytes = arena.pages * tables * sizeof(PageState);
    state_bytes = (state_bytes + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
    content_states = (PageState *)(u64)ram.start;
    arena.base = (u8 *)(u64)ram.start + state_bytes;
    while (state_bytes + arena.pages * PAGE_BYTES > bytes) {
        arena.pages--;
    }
    return arena;
}

/* The disk's states lie behind the arena's. */
static void arena_start_disk(const Arena *arena)
{
    PageState *states = content_states + arena->pages;
    u32 page;

    for (page = 0; page < arena->pages; page++) {
        states[page] = (PageState) { 0 };
    }
    out_text("TINY disk");
    out_field("blocks", disk_start(states, arena->pages));
    out_char('\n');
}

static void arena_fill(Arena *arena)
{
    u32 of_kind[4] = { 0 };
    u32 page;

    for (page = 0; page < arena->pages; page++) {
        PageState fresh = { .kind = content_layout(&params, page) & 3u };

        content_states[page] = fresh;
        of_kind[fresh.kind]++;
    }
    out_text("TINY start");
    out_field("pages", arena->pages);
    out_field("shared", of_kind[KIND_SHARED]);
    out_field("zero", of_kind[KIND_ZERO]);
    out_field("fill", of_kind[KIND_FILL]);
    out_field("unique", of_kind[KIND_UNIQUE]);
    out_char('\n');
    for (page = 0; page < arena->pages; page++) {
        content_write(&params, page, page_memory(arena, page));
    }
    out_text("TINY filled");
    out_field("pages", arena->pages);
    out_char('\n');
}

static void page_write_word(Arena *arena, u32 page)
{
    PageState *state = &content_states[page];

    if (!state->word_version) {
        state->word_index = content_below(PAGE_WORDS) & 1023u;
    }
    state->word_version++;
    if (!state->word_version) {
        state->word_version = 1;
    }
    content_overlay(&params, page, page_memory(arena, page));
}

static void page_write_kind(Arena *arena, u32 page, Kind kind)
{
    PageState *state = &content_states[page];

    state->kind = kind & 3u;
    state->word_version = 0;
    if (kind == KIND_UNIQUE) {
        state->version++;
    }
    content_write(&params, page, page_memory(arena, page));
}

/*
 * One of the writes that guests do: back to the first content (which makes it
 * shareable again) in four of eight cases, a new content, one word, zero, or
 * the very bytes that were there.
 */
static void page_write_some(Arena *arena, u32 page)
{
    switch (content_below(8)) {
    case 0:
        page_write_kind(arena, page, KIND_UNIQUE);
        break;
    case 1:
        page_write_word(arena, page);
        break;
    case 2:
        page_write_kind(arena, page, KIND_ZERO);
        break;
    case 3:
        content_write(&params, page, page_memory(arena, page));
        break;
    default:
        page_write_kind(arena, page, content_layout(&params, page));
        break;
    }
    arena->writes++;
}

/* What is wrong is put right, so that each fault is told once. */
static void page_verify(Arena *arena, u32 page)
{
    u32 *memory = page_memory(arena, page);

    if (content_states[page].spare) {
        return;
    }
    if (content_check(&params, page, memory, &arena->mismatches)) {
        content_write(&params, page, memory);
    }
}

static void arena_write(Arena *arena)
{
    u32 count = arena->pages * params.write_pct / 100u;
    u32 page;

    while (count--) {
        page = content_below(arena->pages);
        if (content_states[page].spare) {
            continue;
        }
        if (!(content_random() & 15)) {
            page_verify(arena, page);
        }
        page_write_some(arena, page);
    }
}

static void arena_report(const Arena *arena, u32 pass)
{
    out_text("TINY");
    out_field("pass", pass);
    out_field("pages", arena->pages);
    out_field("writes", arena->writes);
    out_field("mismatches", arena->mismatches);
    out_field("ticks", platform_ticks());
    out_char('\n');
    if (params.disk) {
        out_text("TINY disk");
        out_field("done", disk_figures.done);
        out_field("in", disk_figures.in);
        out_field("errors", disk_figures.errors);
        out_field("slowest", disk_figures.slowest_ticks);
        out_char('\n');
    }
}

void tiny_main(const void *start_info)
{
    Arena arena = arena_lay_out(platform_init(start_info, &params));
    u32 pass;
    u32 page;

    params.run_len = params.run_len ? params.run_len : 1;
    content_seed_random(params.seed);
    arena_fill(&arena);
    if (params.disk) {
        arena_start_disk(&arena);
    }
    for (pass = 1; !params.passes || pass <= params.passes; pass++) {
        arena_write(&arena);
        platform_sleep_ms(params.pause_ms);
        if (params.corrupt && params.corrupt == pass) {
            page_memory(&arena, arena.pages / 2)[7] ^= 0x10000;
        }
        for (page = 0; page < arena.pages; page++) {
            page_verify(&arena, page);
            if (params.disk && page % DISK_LOOK_PAGES == 0) {
                disk_work(&params, arena.base, &arena.mismatches);
            }
        }
        if (!params.report_every || pass % params.report_every == 0) {
            arena_report(&arena, pass);
        }
    }
    out_text(arena.mismatches ? "TINY done fail\n" : "TINY done ok\n");
    if (params.exit) {
        platform_exit(arena.mismatches ? 2 : 0);
    }
    for (;;) {
        platform_sleep_ms(1000);
    }
}
