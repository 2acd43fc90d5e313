/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * main.c: the tiny guest: fill memory by seed, then overwrite and verify it
 * for ever, and say so on the serial port.
 *
 * With several CPUs each page belongs to one of them, in every phase to the
 * next, so that what one has written another verifies.  Counter pages belong
 * to all: each CPU adds to every word of some of them in every pass, at the
 * same time as the others, so that a lost write would show.
 *
 *   TINY start pages=N shared=N zero=N fill=N unique=N cpus=N
 *   TINY filled pages=N
 *   TINY disk blocks=N
 *   TINY net cards=N
 *   TINY nested runs=N
 *   TINY pass=N pages=N writes=N mismatches=N ticks=N
 *   TINY disk done=N in=N errors=N slowest=N     (ticks of 10 ms)
 *   TINY net done=N errors=N slowest=N
 *   TINY MISMATCH page=N word=N got=HEX want=HEX kind=N
 *   TINY MISMATCH counter=N word=N got=HEX want=HEX
 *   TINY done ok|fail
 *
 * `mismatches` counts pages and adds up over the passes.
 */
#include "tiny.h"

/* Pages verified between two looks at the devices. */
#define LOOK_PAGES 64u

/* One of so many counter pages is added to in a pass, the others rest. */
#define COUNTER_PAGES 64u
#define COUNTER_TURNS 16u

void tiny_main(const void *start_info);

typedef struct Arena {
    u8 *base;
    u32 pages;
    u32 counters; /* pages, behind the others */
} Arena;

/* What a CPU keeps for itself; `padding` keeps others' cache lines away. */
typedef struct Cpu {
    u32 number;
    u32 random;
    u32 writes;
    u32 mismatches;
    u32 turn; /* phases that are over */
    u32 padding[11];
} Cpu;

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
    .cpus = 1,
};

static Arena arena;
static Cpu cpus[CPUS_MAX];
static u32 cpu_count = 1;

static u32 *page_memory(u32 page)
{
    return (u32 *)(arena.base + page * PAGE_BYTES);
}

/* The first page that is this CPU's in this phase; each cpu_count-th is. */
static u32 page_first(const Cpu *cpu)
{
    return (cpu->number + cpu->turn) % cpu_count;
}

/* States first, then the pages they describe, both behind the image. */
static void arena_lay_out(Extent ram)
{
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
    if (params.cpus > 1) {
        arena.counters = COUNTER_PAGES;
        arena.pages -= COUNTER_PAGES;
    }
}

/* The disk's states lie behind the arena's. */
static void arena_start_disk(void)
{
    PageState *states = content_states + arena.pages;
    u32 page;

    for (page = 0; page < arena.pages; page++) {
        states[page] = (PageState) { 0 };
    }
    out_text("TINY disk");
    out_field("blocks", disk_start(states, arena.pages));
    out_char('\n');
}

static void arena_fill(void)
{
    u32 of_kind[4] = { 0 };
    u32 page;
    u32 word;

    for (page = 0; page < arena.pages; page++) {
        PageState fresh = { .kind = content_layout(&params, page) & 3u };

        content_states[page] = fresh;
        of_kind[fresh.kind]++;
    }
    out_text("TINY start");
    out_field("pages", arena.pages);
    out_field("shared", of_kind[KIND_SHARED]);
    out_field("zero", of_kind[KIND_ZERO]);
    out_field("fill", of_kind[KIND_FILL]);
    out_field("unique", of_kind[KIND_UNIQUE]);
    out_field("cpus", cpu_count);
    out_char('\n');
    for (page = 0; page < arena.pages; page++) {
        content_write(&params, page, page_memory(page));
    }
    for (; page < arena.pages + arena.counters; page++) {
        for (word = 0; word < PAGE_WORDS; word++) {
            ((volatile u32 *)page_memory(page))[word] = 0;
        }
    }
    out_text("TINY filled");
    out_field("pages", arena.pages);
    out_char('\n');
}

static void page_write_word(Cpu *cpu, u32 page)
{
    PageState *state = &content_states[page];

    if (!state->word_version) {
        state->word_index = content_below(&cpu->random, PAGE_WORDS) & 1023u;
    }
    state->word_version++;
    if (!state->word_version) {
        state->word_version = 1;
    }
    content_overlay(&params, page, page_memory(page));
}

static void page_write_kind(u32 page, Kind kind)
{
    PageState *state = &content_states[page];

    state->kind = kind & 3u;
    state->word_version = 0;
    if (kind == KIND_UNIQUE) {
        state->version++;
    }
    content_write(&params, page, page_memory(page));
}

/*
 * One of the writes that guests do: back to the first content (which makes it
 * shareable again) in four of eight cases, a new content, one word, zero, or
 * the very bytes that were there.
 */
static void page_write_some(Cpu *cpu, u32 page)
{
    switch (content_below(&cpu->random, 8)) {
    case 0:
        page_write_kind(page, KIND_UNIQUE);
        break;
    case 1:
        page_write_word(cpu, page);
        break;
    case 2:
        page_write_kind(page, KIND_ZERO);
        break;
    case 3:
        content_write(&params, page, page_memory(page));
        break;
    default:
        page_write_kind(page, content_layout(&params, page));
        break;
    }
    cpu->writes++;
}

/* What is wrong is put right, so that each fault is told once. */
static void page_verify(Cpu *cpu, u32 page)
{
    u32 *memory = page_memory(page);

    if (content_states[page].spare) {
        return;
    }
    if (content_check(&params, page, memory, &cpu->mismatches)) {
        content_write(&params, page, memory);
    }
}

static void arena_write(Cpu *cpu)
{
    u32 pages = arena.pages / cpu_count;
    u32 count = pages * params.write_pct / 100u;
    u32 page;

    while (count--) {
        page = page_first(cpu) + cpu_count * content_below(&cpu->random, pages);
        if (content_states[page].spare) {
            continue;
        }
        if (!(content_random(&cpu->random) & 15)) {
            page_verify(cpu, page);
        }
        page_write_some(cpu, page);
    }
}

/* All CPUs at once; one that is alone has no counters. */
static void counters_add(u32 pass)
{
    u32 page = pass % COUNTER_TURNS;
    u32 word;

    for (; page < arena.counters; page += COUNTER_TURNS) {
        u32 *memory = page_memory(arena.pages + page);

        for (word = 0; word < PAGE_WORDS; word++) {
            __sync_fetch_and_add(&memory[word], 1);
        }
    }
}

static void counters_verify(Cpu *cpu, u32 pass)
{
    u32 page;
    u32 word;

    for (page = page_first(cpu); page < arena.counters; page += cpu_count) {
        volatile u32 *memory = page_memory(arena.pages + page);
        u32 first = page % COUNTER_TURNS ? page % COUNTER_TURNS : COUNTER_TURNS;
        u32 times = pass < first ? 0 : (pass - first) / COUNTER_TURNS + 1;

        for (word = 0; word < PAGE_WORDS; word++) {
            u32 got = memory[word];

            if (got == times * cpu_count) {
                continue;
            }
            cpu->mismatches++;
            smp_lock();
            out_text("TINY MISMATCH");
            out_field("counter", page);
            out_field("word", word);
            out_text(" got=");
            out_hex(got);
            out_text(" want=");
            out_hex(times * cpu_count);
            out_char('\n');
            smp_unlock();
            memory[word] = times * cpu_count;
        }
    }
}

static void devices_work(Cpu *cpu)
{
    if (params.disk) {
        disk_work(&params, arena.base, &cpu->mismatches);
    }
    if (params.net) {
        net_work(&params, arena.base, arena.pages, &cpu->mismatches);
    }
}

static void arena_verify(Cpu *cpu)
{
    u32 page;

    for (page = page_first(cpu); page < arena.pages; page += cpu_count) {
        page_verify(cpu, page);
        if (page % LOOK_PAGES == 0) {
            devices_work(cpu);
        }
    }
}

static u32 all_mismatches(void)
{
    u32 sum = 0;
    u32 i;

    for (i = 0; i < cpu_count; i++) {
        sum += cpus[i].mismatches;
    }
    return sum;
}

static void arena_report(u32 pass)
{
    u32 writes = 0;
    u32 i;

    for (i = 0; i < cpu_count; i++) {
        writes += cpus[i].writes;
    }
    smp_lock();
    out_text("TINY");
    out_field("pass", pass);
    out_field("pages", arena.pages);
    out_field("writes", writes);
    out_field("mismatches", all_mismatches());
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
    if (params.net) {
        out_text("TINY net");
        out_field("done", net_figures.done);
        out_field("errors", net_figures.errors);
        out_field("slowest", net_figures.slowest_ticks);
        out_char('\n');
    }
    smp_unlock();
}

/* All CPUs do the same at the same time; the first does what is to be once. */
static void cpu_pass(Cpu *cpu, u32 pass)
{
    arena_write(cpu);
    smp_meet();
    counters_add(pass);
    if (cpu->number == 0) {
        platform_sleep_ms(params.pause_ms);
    }
    smp_meet();
    cpu->turn++;
    if (cpu->number == 0 && params.corrupt && params.corrupt == pass) {
        page_memory(arena.pages / 2)[7] ^= 0x10000;
    }
    if (cpu->number == 0 && params.nested && params.nested == pass) {
        out_text("TINY nested");
        out_field("runs", svm_run());
        out_char('\n');
    }
    smp_meet();
    arena_verify(cpu);
    counters_verify(cpu, pass);
    smp_meet();
    if (cpu->number == 0 &&
        (!params.report_every || pass % params.report_every == 0)) {
        arena_report(pass);
    }
}

static void cpu_run(u32 number)
{
    Cpu *cpu = &cpus[number];
    u32 pass;

    cpu->number = number;
    cpu->random = content_seed_random(params.seed + (number << 16));
    smp_meet(); /* all is filled */
    for (pass = 1; !params.passes || pass <= params.passes; pass++) {
        cpu_pass(cpu, pass);
    }
    while (number) {
        __asm__ volatile("pause");
    }
}

void tiny_main(const void *start_info)
{
    Extent ram = platform_init(start_info, &params);

    params.run_len = params.run_len ? params.run_len : 1;
    if (params.disk || params.net) {
        params.cpus = 1;
    }
    cpu_count = smp_start(params.cpus, cpu_run);
    arena_lay_out(ram);
    arena_fill();
    if (params.disk) {
        arena_start_disk();
    }
    if (params.net) {
        out_text("TINY net");
        out_field("cards", (u32)net_start(params.net));
        out_char('\n');
    }
    cpu_run(0);
    out_text(all_mismatches() ? "TINY done fail\n" : "TINY done ok\n");
    if (params.exit) {
        platform_exit(all_mismatches() ? 2 : 0);
    }
    for (;;) {
        platform_sleep_ms(1000);
    }
}
