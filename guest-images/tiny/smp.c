/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * smp.c: further CPUs: how they are started, and how they meet.
 *
 * A CPU starts in real mode at a page below 1 MiB, to which the piece of code
 * from start.S is copied.  From there it goes where the first one is: to 64-bit
 * mode, and to user mode if the first one had to.  It takes no interrupts, so
 * that waiting is spinning.
 */
#include "tiny.h"

#define APIC 0xfee00000u
#define APIC_COMMAND 0x300u
#define TO_ALL_OTHERS 0xc4000u
#define INIT 0x500u
#define START 0x600u

#define START_PAGE 0x8000u
#define INIT_MS 10
#define START_MS 60000 /* where KVM emulates the kernel */

extern const u8 smp_code[];
extern const u8 smp_code_end[];
void smp_enter(u32 index);

/* start.S counts here who comes; only the first `wanted` go on. */
volatile u32 smp_came = 1;
volatile u32 smp_wanted;

static void (*smp_work)(u32 cpu);
static volatile u32 meeting;
static volatile u32 arrived;
static volatile u32 locked;

static void apic_command(u32 command)
{
    *(volatile u32 *)(u64)(APIC + APIC_COMMAND) = TO_ALL_OTHERS | command;
}

u32 smp_start(u32 cpus, void (*work)(u32 cpu))
{
    u32 end;
    u32 i;

    if (cpus < 2) {
        return 1;
    }
    smp_work = work;
    smp_wanted = cpus < CPUS_MAX ? cpus : CPUS_MAX;
    for (i = 0; i < smp_code_end - smp_code; i++) {
        ((volatile u8 *)(u64)START_PAGE)[i] = smp_code[i];
    }
    apic_command(INIT);
    platform_sleep_ms(INIT_MS);
    apic_command(START | START_PAGE / PAGE_BYTES);
    end = platform_ticks() + START_MS / 1000 * TICK_HZ;
    while (smp_came < smp_wanted && (int)(platform_ticks() - end) < 0) {
        platform_sleep_ms(1);
    }
    if (smp_came < smp_wanted) {
        smp_wanted = smp_came; /* who comes later stops */
    }
    return smp_wanted;
}

/* A further CPU arrives here from start.S, on its own stack. */
void smp_enter(u32 index)
{
    smp_work(index);
}

void smp_meet(void)
{
    u32 now = meeting;

    if (smp_wanted < 2) {
        return;
    }
    if (__sync_add_and_fetch(&arrived, 1) == smp_wanted) {
        arrived = 0;
        __sync_add_and_fetch(&meeting, 1);
        return;
    }
    while (meeting == now) {
        __asm__ volatile("pause");
    }
}

void smp_lock(void)
{
    while (__sync_lock_test_and_set(&locked, 1)) {
        __asm__ volatile("pause");
    }
}

void smp_unlock(void)
{
    __sync_lock_release(&locked);
}
