/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * svm.c: a guest of the guest's own, by AMD's SVM, to see what the host makes
 * of it.
 *
 * The guest has the state that we have, and one instruction: it calls its
 * hypervisor, which is us.
 */
#include "tiny.h"

#define CPUID_FEATURES 0x80000001u
#define CPUID_SVM (1u << 2) /* of ecx */

#define MSR_EFER 0xc0000080u
#define MSR_HSAVE 0xc0010117u
#define EFER_SVME (1u << 12)

/* The control block's fields, by their offset. */
#define MISC2 0x10 /* what is intercepted */
#define MISC2_VMRUN (1u << 0)
#define MISC2_VMMCALL (1u << 1)
#define ASID 0x58
#define EXIT_CODE 0x70
#define EXIT_VMMCALL 0x81u
#define SEGMENTS 0x400 /* es, cs, ss, ds, 16 bytes each */
#define GDTR 0x460
#define IDTR 0x480
#define EFER 0x4d0
#define CR4 0x548
#define CR3 0x550
#define CR0 0x558
#define DR7 0x560
#define RFLAGS 0x570
#define RIP 0x578

#define CODE_SEGMENT 0xa9bu /* 64-bit, present */
#define DATA_SEGMENT 0xc93u

static u8 block[PAGE_BYTES] __attribute__((aligned(4096)));
static u8 host_state[PAGE_BYTES] __attribute__((aligned(4096)));

static void put(u32 offset, u64 value)
{
    *(u64 *)(block + offset) = value;
}

static u64 msr_read(u32 msr)
{
    u32 low, high;

    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
    return (u64)high << 32 | low;
}

static void msr_write(u32 msr, u64 value)
{
    __asm__ volatile("wrmsr"
                     :
                     : "a"((u32)value), "d"((u32)(value >> 32)), "c"(msr)
                     : "memory");
}

static u32 have_svm(void)
{
    u32 eax = CPUID_FEATURES, ebx, ecx, edx;

    __asm__("cpuid" : "+a"(eax), "=b"(ebx), "=c"(ecx), "=d"(edx));
    return ecx & CPUID_SVM;
}

static void put_table(u32 offset, const volatile u8 *table)
{
    u64 limit = *(const volatile u16 *)table;

    put(offset, limit << 32);
    put(offset + 8, *(const volatile u64 *)(table + 2));
}

static void put_state(void)
{
    volatile u8 table[10];
    u64 value;
    u32 i;

    for (i = 0; i < 4; i++) {
        put(SEGMENTS + 16 * i,
            0xffffffffull << 32 | (i == 1 ? CODE_SEGMENT : DATA_SEGMENT) << 16 |
                (i == 1 ? 8 : 0));
    }
    __asm__ volatile("sgdt %0" : "=m"(table));
    put_table(GDTR, table);
    __asm__ volatile("sidt %0" : "=m"(table));
    put_table(IDTR, table);
    __asm__ volatile("mov %%cr0, %0" : "=r"(value));
    put(CR0, value);
    __asm__ volatile("mov %%cr3, %0" : "=r"(value));
    put(CR3, value);
    __asm__ volatile("mov %%cr4, %0" : "=r"(value));
    put(CR4, value);
    put(EFER, msr_read(MSR_EFER));
    put(DR7, 0x400);
    put(RFLAGS, 2);
}

u32 svm_run(void)
{
    u64 rax = (u64)block;

    if (!have_svm()) {
        return 0;
    }
    msr_write(MSR_EFER, msr_read(MSR_EFER) | EFER_SVME);
    msr_write(MSR_HSAVE, (u64)host_state);
    put_state();
    *(u32 *)(block + MISC2) = MISC2_VMRUN | MISC2_VMMCALL;
    *(u32 *)(block + ASID) = 1;
    __asm__ volatile("lea 1f(%%rip), %%rcx\n\t"
                     "mov %%rcx, %c[rip](%%rax)\n\t"
                     "clgi\n\t"
                     "vmrun %%rax\n\t"
                     "stgi\n\t"
                     "jmp 2f\n"
                     "1:\n\t"
                     "vmmcall\n"
                     "2:"
                     : "+a"(rax)
                     : [rip] "i"(RIP)
                     : "rcx", "memory", "cc");
    return *(volatile u32 *)(block + EXIT_CODE) == EXIT_VMMCALL;
}
