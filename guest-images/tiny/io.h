/* SPDX-License-Identifier: GPL-2.0-or-later */
/* io.h: I/O ports, and the order of accesses that a device sees. */
#ifndef TINY_IO_H
#define TINY_IO_H

#include "tiny.h"

static inline void out8(u16 port, u8 value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline void out16(u16 port, u16 value)
{
    __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}

static inline void out32(u16 port, u32 value)
{
    __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

static inline u8 in8(u16 port)
{
    u8 value;

    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline u16 in16(u16 port)
{
    u16 value;

    __asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline u32 in32(u16 port)
{
    u32 value;

    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

/* KVM's emulation of instructions does not know mfence. */
static inline void memory_barrier(void)
{
    u32 word = 0;

    __asm__ volatile("lock; orl $0, %0" : "+m"(word) : : "memory");
}

#endif /* TINY_IO_H */
