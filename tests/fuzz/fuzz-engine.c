/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz-engine.c: replies of a broker to the engine.
 *
 * The engine's own rounds run here, on real memory; the broker is
 * tests/kernel/fake-broker.c, whose answers an input falsifies: a byte says for
 * each request what is done to the proper answer.  When the input is used up,
 * the broker hangs up.  Whatever it replied, the guest's memory is unchanged.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "session/connection.h"
#include "core/engine-private.h"
#include "fuzz-input.h"
#include "fake-broker.h"
#include "core/pace.h"
#include "scan/round.h"

#define PAGES 64u
#define BYTES ((gsize)PAGES * KSM_PAGE_BYTES)
#define ROUNDS 4
#define CONNECTIONS 2

static FakeBroker *fake;
static KsmEngine *engine;
static guint8 *memory;

/* Content that several pages have. */
static guint8 value_of(guint32 page)
{
    return (guint8)(1 + page / 3);
}

static void fill(void)
{
    guint32 page;

    for (page = 0; page < PAGES; page++) {
        memset(memory + (gsize)page * KSM_PAGE_BYTES, value_of(page),
               KSM_PAGE_BYTES);
    }
}

static void check(void)
{
    guint64 i;

    for (i = 0; i < BYTES; i++) {
        if (memory[i] != value_of((guint32)(i / KSM_PAGE_BYTES))) {
            g_error("byte %" G_GUINT64_FORMAT " of the guest has changed", i);
        }
    }
}

static void falsify_items(FuzzInput *input, FakeBrokerReply *reply)
{
    guint32 words = fuzz_byte(input) % 64, i;

    for (i = 0; i < words; i++) {
        guint32 word = fuzz_number(input), at = fuzz_byte(input);

        if (fake->bulk != NULL) {
            memcpy(fake->bulk + KSM_BULK_REPLY + at * 4, &word, 4);
        }
    }
    if (fuzz_byte(input) % 4 == 0) {
        reply->packet.msg.count = fuzz_number(input);
    }
}

/*
 * Descriptors of WELCOME that are no good, or others than the broker's own.  Not
 * the store as bulk memory: the engine would write to slots itself.
 */
static void falsify_fds(FuzzInput *input, FakeBrokerReply *reply)
{
    guint32 kind = fuzz_byte(input), which = kind / 16 % 2;

    if (reply->fds[which] >= 0) {
        close(reply->fds[which]);
    }
    reply->fds[which] =
        kind % 8 == 0 ?
            -1 :
        kind % 8 == 1 ?
            fake_broker_memfd(KSM_BULK_BYTES, MFD_ALLOW_SEALING, 0) :
        kind % 8 == 2 ?
            fake_broker_memfd(fuzz_number(input), MFD_ALLOW_SEALING,
                              F_SEAL_SHRINK) :
        kind % 8 == 3 ?
            fake_broker_memfd(4u << 20, MFD_ALLOW_SEALING | MFD_HUGETLB,
                              F_SEAL_SHRINK) :
        kind % 8 == 4 ?
            dup(2) :
        which == 0 ?
            fake_broker_memfd(KSM_BULK_BYTES, MFD_ALLOW_SEALING,
                              F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) :
            dup(fake->store_fd);
}

static void lie(FakeBroker *self, const FakeBrokerPacket *request,
                FakeBrokerReply *reply)
{
    FuzzInput *input = self->opaque;
    guint8 how;

    if (input->left == 0) {
        reply->bytes = 0;
        reply->close = TRUE;
        return;
    }
    how = fuzz_byte(input);
    if (request->msg.type == KSM_MSG_HELLO && how & 0x08) {
        falsify_fds(input, reply);
    }
    switch (how % 8) {
    case 0:
    case 1:
    case 2:
        break; /* as is proper */
    case 3:
    case 4:
        falsify_items(input, reply);
        break;
    case 5:
        fuzz_take(input, reply->packet.bytes + sizeof(KsmMsg),
                  fuzz_byte(input) % 80);
        break;
    case 6:
        reply->bytes = fuzz_number(input) % sizeof(reply->packet);
        fuzz_take(input, &reply->packet, fuzz_byte(input) % 32);
        break;
    default:
        reply->times = fuzz_byte(input) % 4;
        reply->close = how & 0x80;
        break;
    }
    /* Silence only costs time: test-fake-broker has it. */
    reply->close = reply->close || reply->bytes == 0 || reply->times == 0;
}

/* Each lie is complained of. */
static void quiet(const gchar *domain, GLogLevelFlags level,
                  const gchar *message, gpointer opaque)
{
    (void)domain;
    (void)level;
    (void)message;
    (void)opaque;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    g_autoptr(GError) error = NULL;
    KsmOptions options;

    (void)argc;
    (void)argv;
    fuzz_keep_input();
    g_log_set_handler(NULL,
                      G_LOG_LEVEL_WARNING | G_LOG_LEVEL_MESSAGE |
                          G_LOG_LEVEL_DEBUG,
                      quiet, NULL);
    fake = fake_broker_new(lie);
    ksm_options_init(&options);
    options.group = "fuzz";
    options.broker = fake->path;
    options.start_broker = FALSE;
    options.scan_cpu_percent = 100;
    options.scan_interval_ms = 10;
    engine = ksm_engine_new(&options, &error);
    if (engine == NULL) {
        g_error("%s", error->message);
    }
    memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    g_assert(memory != MAP_FAILED);
    return 0;
}

/* One connection, as long as it goes well; the engine's thread is this one. */
static void meet(void)
{
    gint ended = g_atomic_int_get(&fake->ended), round;
    g_autoptr(GError) error = NULL;

    engine->turn.run = KSM_RUN_RUN;
    ksm_engine_set_run(engine, KSM_RUN_RUN);
    if (ksm_connection_open(engine, &error)) {
        for (round = 0;
             round < ROUNDS && ksm_broker_client_connected(&engine->broker);
             round++) {
            ksm_pace_begin(engine, TRUE);
            ksm_round_run(engine, TRUE);
            ksm_round_results(engine);
            check();
        }
    }
    ksm_broker_client_disconnect(&engine->broker);
    while (g_atomic_int_get(&fake->ended) == ended) {
        g_thread_yield();
    }
}

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    FuzzInput input = { data, size };
    g_autoptr(GError) error = NULL;
    KsmRegion *region;
    gint i;

    region = ksm_region_add(engine, "ram", memory, BYTES, KSM_REGION_FRESH,
                            &error);
    g_assert_no_error(error);
    fill();
    /*
     * A lie may name any slot, and a page is shared with it if their contents
     * are equal.  So slots that are still to be given out must hold nothing:
     * else one that an earlier input filled would be written to while the guest
     * maps it, which no broker does and no engine could bear.
     */
    fake_broker_empty(fake);
    fake->opaque = &input;
    for (i = 0; i < CONNECTIONS; i++) {
        meet();
    }
    check();
    ksm_region_remove(region);
    ksm_broker_client_forget_store(&engine->broker);
    return 0;
}
