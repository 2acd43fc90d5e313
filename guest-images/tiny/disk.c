/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * disk.c: transfers between the arena and a virtio disk, kept under way while
 * memory is written and verified around them.
 *
 * Block N of the disk takes page N of the arena.  A transfer to the disk notes
 * the page's state beside it; one from the disk puts page and state back to
 * what was noted, and is verified at once.  So a page that a device wrote is
 * held against the oracle as every other.  Pages under way are marked busy:
 * nobody writes or verifies them.
 *
 * The driver is the old one of virtio (I/O ports, one queue, by polling).
 */
#include "io.h"

#define PCI_ADDRESS 0xcf8
#define PCI_DATA 0xcfc
#define VIRTIO_BLK 0x10011af4u

#define REG_FEATURES 0x04
#define REG_QUEUE_PFN 0x08
#define REG_QUEUE_SIZE 0x0c
#define REG_QUEUE_SELECT 0x0e
#define REG_QUEUE_NOTIFY 0x10
#define REG_STATUS 0x12
#define REG_CAPACITY 0x14

#define QUEUE_MOST 1024u
#define REQUESTS_MOST 32u
#define RUN_MOST 8u
#define PAGE_SECTORS 8u
#define DESC_NEXT 1
#define DESC_WRITE 2

typedef struct Descriptor {
    u64 addr;
    u32 len;
    u16 flags;
    u16 next;
} Descriptor;

typedef struct Header {
    u32 type;                   /* 0: from the disk, 1: to it */
    u32 reserved;
    u64 sector;
} Header;

typedef struct Request {
    Header header;
    volatile u8 status;
    u8 busy;
    u32 first;
    u32 pages;
    u32 began;
} Request;

static u8 ring[8 * PAGE_BYTES] __attribute__((aligned(4096)));
static Request requests[REQUESTS_MOST];
static u32 queue_size;
static u32 blocks;
static u16 port;
static u16 used_seen;
static PageState *disk_states;
static u32 random_state;

DiskFigures disk_figures;

static volatile Descriptor *descriptor(u32 i)
{
    return (volatile Descriptor *)ring + i;
}

/* The available ring: flags, index, then entries. */
static volatile u16 *available(void)
{
    return (volatile u16 *)(ring + queue_size * sizeof(Descriptor));
}

/* The used ring: flags, index, then pairs of 32 bits. */
static volatile u16 *used(void)
{
    u32 end = queue_size * (u32)sizeof(Descriptor) + 6 + 2 * queue_size;

    return (volatile u16 *)(ring + ((end + PAGE_BYTES - 1) &
                                    ~(PAGE_BYTES - 1)));
}

static u32 pci_read(u32 device, u32 reg)
{
    out32(PCI_ADDRESS, 0x80000000u | device << 11 | reg);
    return in32(PCI_DATA);
}

static u16 find_disk(void)
{
    u32 device;

    for (device = 0; device < 32; device++) {
        if (pci_read(device, 0) == VIRTIO_BLK) {
            u32 command = pci_read(device, 4);

            out32(PCI_DATA, command | 7);       /* ports, memory, DMA */
            return pci_read(device, 16) & 0xfffc;
        }
    }
    return 0;
}

u32 disk_start(PageState *states, u32 pages)
{
    port = find_disk();
    if (!port) {
        return 0;
    }
    out8((u16)(port + REG_STATUS), 0);
    out8((u16)(port + REG_STATUS), 3);          /* seen, driver */
    out32((u16)(port + REG_FEATURES), 0);
    out16((u16)(port + REG_QUEUE_SELECT), 0);
    queue_size = in16((u16)(port + REG_QUEUE_SIZE));
    if (!queue_size || queue_size > QUEUE_MOST) {
        return 0;
    }
    out32((u16)(port + REG_QUEUE_PFN), (u32)(u64)ring / PAGE_BYTES);
    out8((u16)(port + REG_STATUS), 7);          /* ready */
    blocks = in32((u16)(port + REG_CAPACITY)) / PAGE_SECTORS;
    blocks = blocks < pages ? blocks : pages;
    disk_states = states;
    return blocks;
}

static void submit(Request *request, u8 *base)
{
    u32 i = (u32)(request - requests) * 3;
    volatile u16 *ring_avail = available();
    u16 read = request->header.type ? 0 : DESC_WRITE;

    *descriptor(i) = (Descriptor) { (u64)&request->header, sizeof(Header),
                                    DESC_NEXT, (u16)(i + 1) };
    *descriptor(i + 1) = (Descriptor) {
        (u64)base + (u64)request->first * PAGE_BYTES,
        request->pages * PAGE_BYTES, DESC_NEXT | read, (u16)(i + 2) };
    *descriptor(i + 2) = (Descriptor) { (u64)&request->status, 1, DESC_WRITE,
                                        0 };
    request->status = 0xff;
    request->busy = 1;
    request->began = platform_ticks();
    ring_avail[2 + ring_avail[1] % queue_size] = (u16)i;
    memory_barrier();
    ring_avail[1]++;
    memory_barrier();
    out16((u16)(port + REG_QUEUE_NOTIFY), 0);
}

static u32 below(u32 bound)
{
    return content_below(&random_state, bound);
}

/*
 * A stretch of pages that no other transfer uses; 0: not this time.  What was
 * written is mostly read back next, so that slow disks are read from, too.
 */
static u32 choose(Request *request)
{
    u32 again = request->header.type && request->pages && below(4);
    u32 pages = again ? request->pages : 1 + below(RUN_MOST);
    u32 first = again ? request->first : below(blocks);
    u32 i;

    request->header.type = !again &&
                           (!disk_states[first].spare || below(2));
    /* All of them are on the disk, or it does not matter. */
    for (i = 0; i < pages && first + i < blocks; i++) {
        if (content_states[first + i].spare ||
            (!request->header.type && !disk_states[first + i].spare)) {
            break;
        }
    }
    request->first = first;
    request->pages = i;
    return i;
}

/* Half of the time what the disk will bring differs for certain. */
static void spoil(const Request *request, u8 *base)
{
    u32 i;

    for (i = 0; i < request->pages && below(2); i++) {
        *(volatile u32 *)(base + (u64)(request->first + i) * PAGE_BYTES) ^= 1;
    }
}

static void start(Request *request, u8 *base)
{
    u32 i;

    if (!choose(request)) {
        return;
    }
    request->header.sector = (u64)request->first * PAGE_SECTORS;
    for (i = request->first; i < request->first + request->pages; i++) {
        if (request->header.type) {
            disk_states[i] = content_states[i];
            disk_states[i].spare = 1;           /* is on the disk */
        }
        content_states[i].spare = 1;            /* is busy */
    }
    if (!request->header.type) {
        spoil(request, base);
    }
    submit(request, base);
}

static void finish(const Params *p, Request *request, u8 *base,
                   u32 *mismatches)
{
    u32 took = platform_ticks() - request->began;
    u32 i;

    for (i = request->first; i < request->first + request->pages; i++) {
        if (!request->header.type) {
            content_states[i] = disk_states[i];
        }
        content_states[i].spare = 0;
        if (!request->header.type) {
            u32 *memory = (u32 *)(base + (u64)i * PAGE_BYTES);

            if (content_check(p, i, memory, mismatches)) {
                content_write(p, i, memory);
            }
        }
    }
    request->busy = 0;
    disk_figures.errors += request->status != 0;
    disk_figures.done++;
    disk_figures.in += !request->header.type;
    if (took > disk_figures.slowest_ticks) {
        disk_figures.slowest_ticks = took;
    }
}

void disk_work(const Params *p, u8 *base, u32 *mismatches)
{
    u32 most = p->disk < REQUESTS_MOST ? p->disk : REQUESTS_MOST;
    volatile u16 *ring_used = used();
    u32 i;

    if (!blocks) {
        return;
    }
    while (used_seen != ring_used[1]) {
        volatile u32 *entries = (volatile u32 *)(ring_used + 2);

        memory_barrier();
        i = entries[2 * (used_seen++ % queue_size)] / 3;
        if (i < REQUESTS_MOST && requests[i].busy) {
            finish(p, &requests[i], base, mismatches);
        }
    }
    for (i = 0; i < most; i++) {
        if (!requests[i].busy) {
            start(&requests[i], base);
        }
    }
}
