/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * net.c: pages of the arena that go out by a virtio network card and come
 * back, while memory is written and verified around them.
 *
 * A frame is a page with its number and sum before it; whoever is at the
 * other end sends each back as it came, in order.  When the card has read a
 * page, something else is put there, mostly what other pages hold, too; then
 * it is offered as the buffer that its frame comes back to.  So while the
 * frame is away the buffer may be merged, and the device that writes it has to
 * break it.  What has come is held against the page's state, which was not
 * changed.  Pages under way are marked busy, as in disk.c.
 */
#include "virtio.h"

#define RECEIVE 0
#define SEND 1
#define FRAMES_MAX 32u
#define FRAME_TYPE 0xb588u /* of the local experimental Ethertype */
#define FILL_WORD 0xccccccccu

/* What is before the page: virtio's own header, Ethernet's, ours. */
typedef struct __attribute__((packed)) Header {
    u8 offload[10];
    u8 to[6];
    u8 from[6];
    u16 type;
    u32 number;
    u32 sum; /* of the page's words */
} Header;

typedef struct Frame {
    Header sent;
    Header received;
    u32 page;
    u32 began;
} Frame;

static u8 rings[2][QUEUE_BYTES] __attribute__((aligned(4096)));
static Queue queues[2] = { { .ring = rings[0] }, { .ring = rings[1] } };
static Frame frames[FRAMES_MAX];
/* Frames so far: sent, of them read by the card, of them come back. */
static u32 sent;
static u32 posted;
static u32 received;
static u32 depth;
static u32 random_state;

NetFigures net_figures;

int net_start(u32 most)
{
    u16 port = virtio_find(VIRTIO_NET);

    if (!port || !virtio_queue(&queues[RECEIVE], port, RECEIVE) ||
        !virtio_queue(&queues[SEND], port, SEND)) {
        return 0;
    }
    virtio_ready(port);
    depth = most < FRAMES_MAX ? most : FRAMES_MAX;
    return 1;
}

static u32 *page_at(u8 *base, u32 page)
{
    return (u32 *)(base + (u64)page * PAGE_BYTES);
}

static void offer(u32 which, u32 slot, Header *header, u32 *memory)
{
    u16 flags = which == RECEIVE ? DESC_WRITE : 0;
    u32 i = slot * 2;

    *queue_descriptor(&queues[which],
                      i) = (Descriptor) { (u64)header, sizeof(Header),
                                          DESC_NEXT | flags, (u16)(i + 1) };
    *queue_descriptor(&queues[which], i + 1) =
        (Descriptor) { (u64)memory, PAGE_BYTES, flags, 0 };
    queue_offer(&queues[which], i);
}

static void fill(u32 *memory, u32 word)
{
    u32 i;

    for (i = 0; i < PAGE_WORDS; i++) {
        ((volatile u32 *)memory)[i] = word;
    }
}

/* Puts what the frame will not bring; left alone in one of four cases. */
static void spoil(u32 *memory)
{
    switch (content_below(&random_state, 4)) {
    case 0:
        fill(memory, 0);
        break;
    case 1:
        fill(memory, FILL_WORD);
        break;
    case 2:
        *(volatile u32 *)memory ^= 1;
        break;
    default:
        break;
    }
}

/* The next frame, with a page that nobody else uses; 0: not this time. */
static int send(u8 *base, u32 pages)
{
    u32 slot = sent % depth;
    Frame *frame = &frames[slot];
    u32 page = content_below(&random_state, pages);
    u32 *memory = page_at(base, page);
    u32 sum = 0;
    u32 i;

    if (content_states[page].spare) {
        return 0;
    }
    content_states[page].spare = 1;
    for (i = 0; i < PAGE_WORDS; i++) {
        sum += memory[i];
    }
    frame->page = page;
    frame->began = platform_ticks();
    frame->sent = (Header) { .to = { 255, 255, 255, 255, 255, 255 },
                             .from = { 2, 0, 0, 0, 0, 1 },
                             .type = FRAME_TYPE,
                             .number = sent,
                             .sum = sum };
    offer(SEND, slot, &frame->sent, memory);
    sent++;
    return 1;
}

/* The card has read the next page: it becomes a buffer. */
static void post(u8 *base)
{
    u32 slot = posted % depth;
    u32 *memory = page_at(base, frames[slot].page);

    spoil(memory);
    offer(RECEIVE, slot, &frames[slot].received, memory);
    posted++;
}

static void finish(const Params *p, u8 *base, u32 *mismatches)
{
    Frame *frame = &frames[received % depth];
    u32 took = platform_ticks() - frame->began;
    u32 *memory = page_at(base, frame->page);

    net_figures.errors += frame->received.number != received;
    content_states[frame->page].spare = 0;
    if (content_check(p, frame->page, memory, mismatches)) {
        content_write(p, frame->page, memory);
    }
    received++;
    net_figures.done++;
    if (took > net_figures.slowest_ticks) {
        net_figures.slowest_ticks = took;
    }
}

void net_work(const Params *p, u8 *base, u32 pages, u32 *mismatches)
{
    int head;

    /* Both ends keep the order. */
    while (depth && (head = queue_take(&queues[SEND])) >= 0) {
        net_figures.errors += (u32)head != posted % depth * 2;
        post(base);
    }
    while (depth && (head = queue_take(&queues[RECEIVE])) >= 0) {
        net_figures.errors += (u32)head != received % depth * 2;
        finish(p, base, mismatches);
    }
    while (sent - received < depth && send(base, pages)) {
    }
}
