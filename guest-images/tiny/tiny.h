/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tiny.h: what the parts of the tiny guest share. */
#ifndef TINY_H
#define TINY_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define PAGE_BYTES 4096u
#define PAGE_WORDS 1024u
#define TICK_HZ 100u

/* Parameters from the kernel command line; README.md says what they mean. */
typedef struct Params {
    u32 seed;
    u32 shared_seed;
    u32 share;
    u32 zero;
    u32 fill;
    u32 run_len;
    u32 shift;
    u32 mem_mib;
    u32 passes;
    u32 write_pct;
    u32 pause_ms;
    u32 report_every;
    u32 exit;
    u32 corrupt;
    u32 disk;
    u32 net;
    u32 cpus;
    u32 nested;
} Params;

/* Where guest RAM for the arena lies. */
typedef struct Extent {
    u32 start;
    u32 end;
} Extent;

/* platform.c: serial port, timer, boot information */
void out_char(char c);
void out_text(const char *text);
void out_number(u32 value);
void out_hex(u32 value);
void out_field(const char *name, u32 value);
Extent platform_init(const void *start_info, Params *params);
u32 platform_ticks(void);
void platform_sleep_ms(u32 ms);
void platform_exit(u32 code) __attribute__((noreturn));

/* smp.c: further CPUs */
#define CPUS_MAX 4u

/* Starts them, each with `work`; returns how many there are, with this one. */
u32 smp_start(u32 cpus, void (*work)(u32 cpu));

/* Waits until all CPUs are here. */
void smp_meet(void);

/* Around lines on the serial port. */
void smp_lock(void);
void smp_unlock(void);

/* svm.c: a guest of its own; runs it once, 0: it could not */
u32 svm_run(void);

/* content.c: what each page should hold */
typedef enum Kind {
    KIND_ZERO,   /* all zero */
    KIND_SHARED, /* the shared seed's page */
    KIND_FILL,   /* every byte 0xCC */
    KIND_UNIQUE, /* this guest's own, by version */
} Kind;

/*
 * The oracle's note of one page: its base content and at most one word that
 * was written over it.
 */
typedef struct PageState {
    u32 version : 30;
    u32 kind : 2;
    u32 word_version : 21; /* 0: no word written over the base */
    u32 word_index : 10;
    u32 spare : 1; /* a device has it: see disk.c, net.c */
} PageState;

extern PageState *content_states;
Kind content_layout(const Params *p, u32 page);
void content_write(const Params *p, u32 page, u32 *memory);
u32 content_check(const Params *p, u32 page, u32 *memory, u32 *mismatches);
u32 content_random(u32 *random);
u32 content_below(u32 *random, u32 bound);
u32 content_seed_random(u32 seed); /* what the two above begin with */
void content_overlay(const Params *p, u32 page, u32 *memory);

/* disk.c: transfers to and from a virtio disk */
typedef struct DiskFigures {
    u32 done;
    u32 in; /* of them from the disk */
    u32 errors;
    u32 slowest_ticks;
} DiskFigures;

extern DiskFigures disk_figures;

/* Finds the disk; `states` are for its blocks.  Returns blocks used, or 0. */
u32 disk_start(PageState *states, u32 pages);

/* Ends what is done, verifies it, and begins new transfers. */
void disk_work(const Params *p, u8 *base, u32 *mismatches);

/* net.c: pages to a virtio network card and back */
typedef struct NetFigures {
    u32 done;
    u32 errors; /* frames out of order, or lost */
    u32 slowest_ticks;
} NetFigures;

extern NetFigures net_figures;

/* Finds the card; `most` frames will be under way.  Returns 0 without one. */
int net_start(u32 most);

/* Ends what has come back, verifies it, and sends more. */
void net_work(const Params *p, u8 *base, u32 pages, u32 *mismatches);

#endif /* TINY_H */
