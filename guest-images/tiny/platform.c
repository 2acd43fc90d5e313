/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * platform.c: the little of a PC that the guest needs.
 *
 * Serial output on 0x3f8 by polling, the timer at 100 Hz through the old
 * interrupt controller (so that a pause is a HLT and costs the host nothing),
 * RAM and command line from the PVH start information.
 */
#include "io.h"

#define SERIAL 0x3f8
#define DEBUG_EXIT 0xf4

typedef struct StartInfo {
    u32 magic;
    u32 version;
    u32 flags;
    u32 nr_modules;
    u64 modlist_paddr;
    u64 cmdline_paddr;
    u64 rsdp_paddr;
    u64 memmap_paddr;
    u32 memmap_entries;
    u32 reserved;
} StartInfo;

typedef struct MemoryMapEntry {
    u64 addr;
    u64 size;
    u32 type;
    u32 reserved;
} MemoryMapEntry;

typedef struct Gate {
    u16 low;
    u16 selector;
    u16 flags;
    u16 high;
    u32 upper;
    u32 reserved;
} Gate;

extern char tiny_image_end[];
void timer_entry(void);
void spurious_entry(void);
void fault_entry(void);
void timer_wait(void);
void timer_init(void);
void faults_init(void);
void tiny_fault(const u64 *frame);

extern u8 in_user_mode;

volatile u32 tiny_ticks;
static u64 clock_start;
static u64 clock_per_tick;
static Gate idt[48] __attribute__((aligned(16)));
static const struct __attribute__((packed)) {
    u16 limit;
    u64 base;
} idt_pointer = { sizeof(idt) - 1, (u64)idt };

void out_char(char c)
{
    while (!(in8(SERIAL + 5) & 0x20)) {
    }
    out8(SERIAL, (u8)c);
}

void out_text(const char *text)
{
    while (*text) {
        out_char(*text++);
    }
}

void out_number(u32 value)
{
    char digits[10];
    u32 n = 0;

    do {
        digits[n++] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    while (n) {
        out_char(digits[--n]);
    }
}

void out_hex(u32 value)
{
    int shift;

    for (shift = 28; shift >= 0; shift -= 4) {
        out_char("0123456789abcdef"[(value >> shift) & 15]);
    }
}

void out_field(const char *name, u32 value)
{
    out_char(' ');
    out_text(name);
    out_char('=');
    out_number(value);
}

void platform_exit(u32 code)
{
    out8(DEBUG_EXIT, (u8)code);
    for (;;) {
        __asm__ volatile("cli; hlt");
    }
}

/* An exception: frame is the stack as the CPU left it. */
void tiny_fault(const u64 *frame)
{
    u32 i;

    out_text("TINY FAULT");
    for (i = 0; i < 6; i++) {
        out_char(' ');
        out_hex((u32)frame[i]);
    }
    out_text("\nTINY done fail\n");
    platform_exit(3);
}

static void gate_set(u32 vector, void (*entry)(void))
{
    idt[vector].low = (u16)(u64)entry;
    idt[vector].high = (u16)((u64)entry >> 16);
    idt[vector].selector = 8;
    idt[vector].flags = 0x8e00;
}

static u64 clock_read(void)
{
    u32 low;
    u32 high;

    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return ((u64)high << 32) | low;
}

/* Called in kernel mode: how far the CPU's clock goes in one tick. */
static void clock_init(void)
{
    u64 start;

    timer_wait();
    start = clock_read();
    timer_wait();
    timer_wait();
    clock_per_tick = (clock_read() - start) / 2;
}

/* On each CPU, still in kernel mode. */
void faults_init(void)
{
    __asm__ volatile("lidt %0" : : "m"(idt_pointer));
}

/* Called still in kernel mode, on the first CPU. */
void timer_init(void)
{
    u32 divisor = 1193182u / TICK_HZ;
    u32 vector;

    for (vector = 0; vector < 48; vector++) {
        gate_set(vector, vector < 32 ? fault_entry : spurious_entry);
    }
    gate_set(32, timer_entry);
    faults_init();
    out8(0x20, 0x11); /* both controllers: initialise */
    out8(0xa0, 0x11);
    out8(0x21, 32); /* their vectors */
    out8(0xa1, 40);
    out8(0x21, 4);
    out8(0xa1, 2);
    out8(0x21, 1);
    out8(0xa1, 1);
    out8(0x21, 0xfe); /* only the timer */
    out8(0xa1, 0xff);
    out8(0x43, 0x34); /* channel 0, rate generator */
    out8(0x40, (u8)divisor);
    out8(0x40, (u8)(divisor >> 8));
    clock_init();
    clock_start = clock_read();
}

/* Time since the start, in ticks; in user mode it is the CPU's clock. */
u32 platform_ticks(void)
{
    if (in_user_mode) {
        return (u32)((clock_read() - clock_start) / clock_per_tick);
    }
    return tiny_ticks;
}

/* Sleeps by HLT, as an idle guest would; in user mode it has to spin. */
void platform_sleep_ms(u32 ms)
{
    u32 end = platform_ticks() + (ms * TICK_HZ + 999) / 1000;

    while ((int)(platform_ticks() - end) < 0) {
        if (in_user_mode) {
            __asm__ volatile("pause");
        } else {
            timer_wait();
        }
    }
}

static int name_matches(const char *text, const char *name)
{
    while (*name && *text == *name) {
        text++;
        name++;
    }
    return !*name && *text == '=';
}

static void params_parse(const char *text, Params *params)
{
    const struct {
        const char *name;
        u32 *value;
    } table[] = {
        { "seed", &params->seed },
        { "shared_seed", &params->shared_seed },
        { "share", &params->share },
        { "zero", &params->zero },
        { "fill", &params->fill },
        { "run_len", &params->run_len },
        { "shift", &params->shift },
        { "mem_mib", &params->mem_mib },
        { "passes", &params->passes },
        { "write_pct", &params->write_pct },
        { "pause_ms", &params->pause_ms },
        { "report_every", &params->report_every },
        { "exit", &params->exit },
        { "corrupt", &params->corrupt },
        { "nested", &params->nested },
        { "disk", &params->disk },
        { "net", &params->net },
        { "cpus", &params->cpus },
    };
    u32 i;

    while (*text) {
        for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
            if (name_matches(text, table[i].name)) {
                while (*text++ != '=') {
                }
                *table[i].value = 0;
                while (*text >= '0' && *text <= '9') {
                    *table[i].value *= 10;
                    *table[i].value += (u32)(*text++ - '0');
                }
                break;
            }
        }
        while (*text && *text != ' ') {
            text++;
        }
        while (*text == ' ') {
            text++;
        }
    }
}

/* The RAM behind our own image, as the firmware's map has it. */
static Extent ram_find(const StartInfo *info)
{
    const MemoryMapEntry *map = (const MemoryMapEntry *)info->memmap_paddr;
    Extent ram = { (u32)(u64)tiny_image_end, (u32)(u64)tiny_image_end };
    u32 i;

    for (i = 0; info->version >= 1 && i < info->memmap_entries; i++) {
        u64 end = map[i].addr + map[i].size;

        if (map[i].type == 1 && map[i].addr <= ram.start && end > ram.start) {
            ram.end = end > 0xfffff000u ? 0xfffff000u :
                                          (u32)end & ~(PAGE_BYTES - 1);
        }
    }
    return ram;
}

/* Everything is read from the start information here: it may lie in RAM. */
Extent platform_init(const void *start_info, Params *params)
{
    const StartInfo *info = start_info;
    Extent ram;

    params_parse((const char *)info->cmdline_paddr, params);
    ram = ram_find(info);
    return ram;
}
