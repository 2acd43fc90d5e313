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
 * The disk is one of virtio-blk or, if there is none, target 1 of virtio-scsi.
 */
#include "virtio.h"

#define REQUESTS_MAX 32u
#define RUN_MAX 8u
#define PAGE_SECTORS 8u
#define SECTOR_BYTES 512u

typedef struct Header {
    u32 type; /* 0: from the disk, 1: to it */
    u32 reserved;
    u64 sector;
} Header;

/* What virtio-scsi has instead of header and status. */
typedef struct __attribute__((packed)) Command {
    u8 lun[8];
    u64 tag;
    u8 task[3];
    u8 cdb[32];
} Command;

typedef struct __attribute__((packed)) Answer {
    u32 sense_bytes;
    u32 rest;
    u16 qualifier;
    u8 status;
    u8 response;
    u8 sense[96];
} Answer;

typedef struct Request {
    Header header;
    volatile u8 status;
    Command command;
    volatile Answer answer;
    u8 busy;
    u32 first;
    u32 pages;
    u32 began;
} Request;

#define SCSI_QUEUES 3u /* control, events, commands */
#define SCSI_TRIES 8u  /* the first may tell of a reset instead */
#define SCSI_CAPACITY 0x25
#define SCSI_READ 0x28
#define SCSI_WRITE 0x2a

static u8 rings[SCSI_QUEUES][QUEUE_BYTES] __attribute__((aligned(4096)));
static Queue queue = { .ring = rings[0] };
static u8 scsi;
static Request requests[REQUESTS_MAX];
static u32 blocks;
static PageState *disk_states;
static u32 random_state;

DiskFigures disk_figures;

/* One part of a chain of three. */
static void describe(u32 i, const volatile void *addr, u32 len, u16 flags)
{
    u16 next = i % 3 < 2 ? DESC_NEXT : 0;

    *queue_descriptor(&queue, i) = (Descriptor) { (u64)addr, len, flags | next,
                                                  next ? (u16)(i + 1) : 0 };
}

/* To the device: header, data; from it: data, status. */
static void submit_blk(Request *request, void *data, u32 len)
{
    u32 i = (u32)(request - requests) * 3;

    describe(i, &request->header, sizeof(Header), 0);
    describe(i + 1, data, len, request->header.type ? 0 : DESC_WRITE);
    describe(i + 2, &request->status, 1, DESC_WRITE);
    queue_offer(&queue, i);
}

static void put_be32(u8 *bytes, u32 value)
{
    u32 i;

    for (i = 0; i < 4; i++) {
        bytes[i] = (u8)(value >> (24 - 8 * i));
    }
}

/* To the device: command, data; from it: answer, data. */
static void submit_scsi(Request *request, u8 operation, void *data, u32 len)
{
    u32 i = (u32)(request - requests) * 3;
    u32 to_device = operation == SCSI_WRITE;

    request->command = (Command) { .lun = { 1, 1, 0x40 }, .tag = i + 1 };
    request->command.cdb[0] = operation;
    if (operation != SCSI_CAPACITY) {
        put_be32(request->command.cdb + 2, (u32)request->header.sector);
        request->command.cdb[8] = (u8)(len / SECTOR_BYTES);
    }
    request->answer.response = 0xff;
    describe(i, &request->command, sizeof(Command), 0);
    describe(i + 1 + !to_device, data, len, to_device ? 0 : DESC_WRITE);
    describe(i + 1 + to_device, &request->answer, sizeof(Answer), DESC_WRITE);
    queue_offer(&queue, i);
}

/* Whether a request that is done has failed. */
static u32 failed(const Request *request)
{
    return scsi ? request->answer.response | request->answer.status :
                  request->status;
}

static void submit(Request *request, u8 *base)
{
    u8 *data = base + (u64)request->first * PAGE_BYTES;
    u32 len = request->pages * PAGE_BYTES;

    request->status = 0xff;
    request->busy = 1;
    request->began = platform_ticks();
    if (scsi) {
        submit_scsi(request, request->header.type ? SCSI_WRITE : SCSI_READ,
                    data, len);
    } else {
        submit_blk(request, data, len);
    }
}

/* Sectors of the disk, or 0. */
static u32 scsi_capacity(void)
{
    static volatile u8 data[8];
    u32 i;

    for (i = 0; i < SCSI_TRIES; i++) {
        submit_scsi(&requests[0], SCSI_CAPACITY, (void *)data, sizeof(data));
        while (queue_take(&queue) < 0) {
            memory_barrier();
        }
        if (!failed(&requests[0])) {
            return ((u32)data[0] << 24 | (u32)data[1] << 16 |
                    (u32)data[2] << 8 | data[3]) +
                   1;
        }
    }
    return 0;
}

static u32 scsi_start(u16 port)
{
    u16 i;

    for (i = 0; i < SCSI_QUEUES; i++) {
        queue.ring = rings[i];
        if (!virtio_queue(&queue, port, i)) {
            return 0;
        }
    }
    scsi = 1;
    virtio_ready(port);
    return scsi_capacity();
}

static u32 blk_start(u16 port)
{
    if (!virtio_queue(&queue, port, 0)) {
        return 0;
    }
    virtio_ready(port);
    return in32((u16)(port + VIRTIO_CONFIG));
}

u32 disk_start(PageState *states, u32 pages)
{
    u16 port = virtio_find(VIRTIO_BLK);
    u32 sectors = 0;

    if (port) {
        sectors = blk_start(port);
    } else {
        port = virtio_find(VIRTIO_SCSI);
        sectors = port ? scsi_start(port) : 0;
    }
    blocks = sectors / PAGE_SECTORS;
    blocks = blocks < pages ? blocks : pages;
    disk_states = states;
    return blocks;
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
    u32 pages = again ? request->pages : 1 + below(RUN_MAX);
    u32 first = again ? request->first : below(blocks);
    u32 i;

    request->header.type = !again && (!disk_states[first].spare || below(2));
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
            disk_states[i].spare = 1; /* is on the disk */
        }
        content_states[i].spare = 1; /* is busy */
    }
    if (!request->header.type) {
        spoil(request, base);
    }
    submit(request, base);
}

static void finish(const Params *p, Request *request, u8 *base, u32 *mismatches)
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
    disk_figures.errors += failed(request) != 0;
    disk_figures.done++;
    disk_figures.in += !request->header.type;
    if (took > disk_figures.slowest_ticks) {
        disk_figures.slowest_ticks = took;
    }
}

void disk_work(const Params *p, u8 *base, u32 *mismatches)
{
    u32 most = p->disk < REQUESTS_MAX ? p->disk : REQUESTS_MAX;
    int head;
    u32 i;

    if (!blocks) {
        return;
    }
    while ((head = queue_take(&queue)) >= 0) {
        i = (u32)head / 3;
        if (i < REQUESTS_MAX && requests[i].busy) {
            finish(p, &requests[i], base, mismatches);
        }
    }
    for (i = 0; i < most; i++) {
        if (!requests[i].busy) {
            start(&requests[i], base);
        }
    }
}
