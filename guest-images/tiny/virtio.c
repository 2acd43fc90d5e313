/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio.c: finding a virtio device, and its queues.
 *
 * A queue's memory is the table of descriptors, the available ring and, on
 * the next page, the used ring, as the old interface lays them out.
 */
#include "virtio.h"

#define PCI_ADDRESS 0xcf8
#define PCI_DATA 0xcfc

#define REG_FEATURES 0x04
#define REG_QUEUE_PFN 0x08
#define REG_QUEUE_SIZE 0x0c
#define REG_QUEUE_SELECT 0x0e
#define REG_QUEUE_NOTIFY 0x10
#define REG_STATUS 0x12

static u32 pci_read(u32 device, u32 reg)
{
    out32(PCI_ADDRESS, 0x80000000u | device << 11 | reg);
    return in32(PCI_DATA);
}

static u16 pci_find(u32 id)
{
    u32 device;

    for (device = 0; device < 32; device++) {
        if (pci_read(device, 0) == id) {
            u32 command = pci_read(device, 4);

            out32(PCI_DATA, command | 7); /* ports, memory, DMA */
            return pci_read(device, 16) & 0xfffc;
        }
    }
    return 0;
}

u16 virtio_find(u32 id)
{
    u16 port = pci_find(id);

    if (port) {
        out8((u16)(port + REG_STATUS), 0);
        out8((u16)(port + REG_STATUS), 3); /* seen, driver */
        out32((u16)(port + REG_FEATURES), 0);
    }
    return port;
}

int virtio_queue(Queue *queue, u16 port, u16 number)
{
    out16((u16)(port + REG_QUEUE_SELECT), number);
    queue->size = in16((u16)(port + REG_QUEUE_SIZE));
    if (!queue->size || queue->size > QUEUE_MAX) {
        return 0;
    }
    queue->port = port;
    queue->number = number;
    out32((u16)(port + REG_QUEUE_PFN), (u32)(u64)queue->ring / PAGE_BYTES);
    return 1;
}

void virtio_ready(u16 port)
{
    out8((u16)(port + REG_STATUS), 7);
}

volatile Descriptor *queue_descriptor(Queue *queue, u32 i)
{
    return (volatile Descriptor *)queue->ring + i;
}

/* The available ring: flags, index, then entries. */
static volatile u16 *available(const Queue *queue)
{
    return (volatile u16 *)(queue->ring + queue->size * sizeof(Descriptor));
}

/* The used ring: flags, index, then pairs of 32 bits. */
static volatile u16 *used(const Queue *queue)
{
    u32 end = queue->size * (u32)sizeof(Descriptor) + 6 + 2 * queue->size;

    return (volatile u16 *)(queue->ring +
                            ((end + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1)));
}

void queue_offer(Queue *queue, u32 head)
{
    volatile u16 *ring = available(queue);

    ring[2 + ring[1] % queue->size] = (u16)head;
    memory_barrier();
    ring[1]++;
    memory_barrier();
    out16((u16)(queue->port + REG_QUEUE_NOTIFY), queue->number);
}

int queue_take(Queue *queue)
{
    volatile u16 *ring = used(queue);
    volatile u32 *entries = (volatile u32 *)(ring + 2);

    if (queue->used_seen == ring[1]) {
        return -1;
    }
    memory_barrier();
    return (int)entries[2 * (queue->used_seen++ % queue->size)];
}
