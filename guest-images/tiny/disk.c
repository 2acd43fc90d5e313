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
 */
#include "virtio.h"

#define REQUESTS_MOST 32u
#define RUN_MOST 8u
#define PAGE_SECTORS 8u

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

static u8 ring[QUEUE_BYTES] __attribute__((aligned(4096)));
static Queue queue = { .ring = ring };
static Request requests[REQUESTS_MOST];
static u32 blocks;
static PageState *disk_states;
static u32 random_state;

DiskFigures disk_figures;

u32 disk_start(PageState *states, u32 pages)
{
    u16 port = virtio_find(VIRTIO_BLK);

    if (!port || !virtio_queue(&queue, port, 0)) {
        return 0;
    }
    virtio_ready(port);
    blocks = in32((u16)(port + VIRTIO_CONFIG)) / PAGE_SECTORS;
    blocks = blocks < pages ? blocks : pages;
    disk_states = states;
    return blocks;
}

static void submit(Request *request, u8 *base)
{
    u32 i = (u32)(request - requests) * 3;
    u16 read = request->header.type ? 0 : DESC_WRITE;

    *queue_descriptor(&queue, i) = (Descriptor) {
        (u64)&request->header, sizeof(Header), DESC_NEXT, (u16)(i + 1) };
    *queue_descriptor(&queue, i + 1) = (Descriptor) {
        (u64)base + (u64)request->first * PAGE_BYTES,
        request->pages * PAGE_BYTES, DESC_NEXT | read, (u16)(i + 2) };
    *queue_descriptor(&queue, i + 2) = (Descriptor) {
        (u64)&request->status, 1, DESC_WRITE, 0 };
    request->status = 0xff;
    request->busy = 1;
    request->began = platform_ticks();
    queue_offer(&queue, i);
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
    int head;
    u32 i;

    if (!blocks) {
        return;
    }
    while ((head = queue_take(&queue)) >= 0) {
        i = (u32)head / 3;
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
