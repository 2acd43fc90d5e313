/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio.h: devices by the old interface of virtio (I/O ports), driven by
 * polling; what disk.c and net.c share.
 */
#ifndef TINY_VIRTIO_H
#define TINY_VIRTIO_H

#include "io.h"

#define VIRTIO_NET 0x10001af4u
#define VIRTIO_BLK 0x10011af4u
#define VIRTIO_SCSI 0x10041af4u
#define VIRTIO_CONFIG 0x14 /* of the device, behind its port */

#define QUEUE_MAX 1024u
#define QUEUE_BYTES (8 * PAGE_BYTES) /* of its rings */
#define DESC_NEXT 1
#define DESC_WRITE 2 /* by the device */

typedef struct Descriptor {
    u64 addr;
    u32 len;
    u16 flags;
    u16 next;
} Descriptor;

typedef struct Queue {
    u8 *ring; /* QUEUE_BYTES, aligned, zero at the start */
    u32 size;
    u16 port;
    u16 number;
    u16 used_seen;
} Queue;

/* Finds the device on the PCI bus and resets it; its port, or 0. */
u16 virtio_find(u32 id);

/* Says where queue `number` is; 0 if there is none, or too large a one. */
int virtio_queue(Queue *queue, u16 port, u16 number);

/* Once its queues are there. */
void virtio_ready(u16 port);

/* One of the table of descriptors. */
volatile Descriptor *queue_descriptor(Queue *queue, u32 i);

/* Gives the device the chain that begins with descriptor `head`. */
void queue_offer(Queue *queue, u32 head);

/* The head of the next chain that the device is done with, or -1. */
int queue_take(Queue *queue);

#endif /* TINY_VIRTIO_H */
