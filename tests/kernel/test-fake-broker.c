/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-fake-broker.c: the engine with a broker that lies.
 *
 * Whatever it replies: no byte of the guest changes, the engine neither crashes
 * nor spins nor keeps the program waiting, and a broker that lies again and
 * again is asked less and less often.  What is not here: a broker that changes
 * a slot that is mapped (docs/security.md explains why it is trusted with
 * that).
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <guest-ksm.h>

#include "fake-broker.h"
#include "page-content.h"
#include "proc-info.h"
#include "require.h"
#include "sys.h"

#define PAGES 1024u
#define BYTES ((gsize)PAGES * KSM_PAGE_BYTES)
#define HUGE_BYTES ((gsize)2 << 20)
#define ROUND_MS 10u
#define TURNS 20u       /* rounds that a lie is watched for */
#define FEW_REQUESTS 16 /* or so many answers, where rounds stop */
#define VERY_FEW_REQUESTS 4
#define MAX_SECONDS 20.0
/* What the program waits for at most; a call that hurries takes 0.3 s. */
#define PATIENCE 1.5
/* Lies name these: most of what a broker that publishes has filled. */
#define FIRST_SLOTS 4096u

typedef struct Guest {
    FakeBroker *fake;
    KsmEngine *engine;
    KsmRegion *region;
    guint8 *memory, *mapped;
    guint fds;
} Guest;

/* Content of a page: every fourth has that of its left neighbour. */
static guint64 seed_of(guint32 page)
{
    return page % 4 == 3 ? page - 1 : page;
}

static void fill(Guest *guest)
{
    guint32 page;

    for (page = 0; page < PAGES; page++) {
        ksm_test_page_make(guest->memory + (gsize)page * KSM_PAGE_BYTES,
                           KSM_TEST_SEEDED, 1 + seed_of(page));
    }
}

static void check(const Guest *guest)
{
    guint32 page;

    for (page = 0; page < PAGES; page++) {
        g_assert_true(
            ksm_test_page_is(guest->memory + (gsize)page * KSM_PAGE_BYTES,
                             KSM_TEST_SEEDED, 1 + seed_of(page)));
    }
}

static void guest_open(Guest *guest, FakeBrokerLie *lie)
{
    g_autoptr(GError) error = NULL;
    KsmOptions options;

    guest->fds = (guint)ksm_test_count_fds();
    guest->fake = fake_broker_new(lie);
    ksm_options_init(&options);
    options.name = "guest";
    options.group = "fake";
    options.broker = guest->fake->path;
    options.start_broker = FALSE;
    options.scan_interval_ms = ROUND_MS;
    options.scan_cpu_percent = 50;
    guest->engine = ksm_engine_new(&options, &error);
    g_assert_no_error(error);
    /* At a 2 MiB boundary, where a file of huge pages could be mapped. */
    guest->mapped = mmap(NULL, BYTES + HUGE_BYTES, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    g_assert_true(guest->mapped != MAP_FAILED);
    guest->memory = (guint8 *)(((guintptr)guest->mapped + HUGE_BYTES - 1) &
                               ~(guintptr)(HUGE_BYTES - 1));
    guest->region = ksm_region_add(guest->engine, "ram", guest->memory, BYTES,
                                   KSM_REGION_FRESH, &error);
    g_assert_no_error(error);
    fill(guest);
    g_assert_true(ksm_engine_start(guest->engine, &error));
}

static void guest_close(Guest *guest)
{
    double start = ksm_test_now();

    check(guest);
    ksm_engine_suspend(guest->engine, "test");
    check(guest);
    ksm_engine_resume(guest->engine);
    ksm_region_remove(guest->region);
    ksm_engine_free(guest->engine);
    g_assert_cmpfloat(ksm_test_now() - start, <, PATIENCE);
    munmap(guest->mapped, BYTES + HUGE_BYTES);
    fake_broker_free(guest->fake);
    g_assert_cmpuint(ksm_test_count_fds(), ==, guest->fds);
}

static KsmStats stats_of(const Guest *guest)
{
    KsmStats stats;

    ksm_engine_get_stats(guest->engine, &stats);
    return stats;
}

/* ---- what WELCOME brings ------------------------------------------------ */

static void swap_fd(FakeBrokerReply *reply, guint which, int fd)
{
    close(reply->fds[which]);
    reply->fds[which] = fd;
}

#define WELCOME_ONLY(request) \
    if ((request)->msg.type != KSM_MSG_HELLO) { \
        return; \
    }

static void store_is_file(FakeBroker *fake, const FakeBrokerPacket *request,
                          FakeBrokerReply *reply)
{
    WELCOME_ONLY(request)
    swap_fd(reply, 1, open(fake->dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    g_assert_cmpint(ftruncate(reply->fds[1], FAKE_BROKER_BYTES), ==, 0);
}

static void store_is_unsealed(FakeBroker *fake, const FakeBrokerPacket *request,
                              FakeBrokerReply *reply)
{
    (void)fake;
    WELCOME_ONLY(request)
    swap_fd(reply, 1,
            fake_broker_memfd(FAKE_BROKER_BYTES, MFD_ALLOW_SEALING,
                              F_SEAL_GROW));
}

/* Puts memory of huge pages, sealed as it should be, in the place of `which`. */
static void swap_huge(FakeBrokerReply *reply, guint which, guint64 bytes)
{
    swap_fd(reply, which,
            fake_broker_memfd(bytes, MFD_ALLOW_SEALING | MFD_HUGETLB,
                              F_SEAL_SHRINK | F_SEAL_GROW));
}

static void store_is_huge(FakeBroker *fake, const FakeBrokerPacket *request,
                          FakeBrokerReply *reply)
{
    (void)fake;
    WELCOME_ONLY(request)
    swap_huge(reply, 1, FAKE_BROKER_BYTES);
}

static void bulk_is_huge(FakeBroker *fake, const FakeBrokerPacket *request,
                         FakeBrokerReply *reply)
{
    (void)fake;
    WELCOME_ONLY(request)
    swap_huge(reply, 0, HUGE_BYTES);
}

static void store_is_short(FakeBroker *fake, const FakeBrokerPacket *request,
                           FakeBrokerReply *reply)
{
    (void)fake;
    WELCOME_ONLY(request)
    reply->packet.welcome.store_bytes = FAKE_BROKER_BYTES + 4096;
}

static void store_is_empty(FakeBroker *fake, const FakeBrokerPacket *request,
                           FakeBrokerReply *reply)
{
    (void)fake;
    WELCOME_ONLY(request)
    reply->packet.welcome.store_bytes = 0;
}

static void store_is_odd(FakeBroker *fake, const FakeBrokerPacket *request,
                         FakeBrokerReply *reply)
{
    (void)fake;
    WELCOME_ONLY(request)
    reply->packet.welcome.store_bytes -= 1;
}

static void bulk_is_short(FakeBroker *fake, const FakeBrokerPacket *request,
                          FakeBrokerReply *reply)
{
    (void)fake;
    WELCOME_ONLY(request)
    swap_fd(reply, 0,
            fake_broker_memfd(KSM_BULK_BYTES - 4096, MFD_ALLOW_SEALING,
                              F_SEAL_SHRINK | F_SEAL_GROW));
}

static void bulk_is_read_only(FakeBroker *fake, const FakeBrokerPacket *request,
                              FakeBrokerReply *reply)
{
    g_autofree char *path = NULL;

    (void)fake;
    WELCOME_ONLY(request)
    path = g_strdup_printf("/proc/self/fd/%d", reply->fds[0]);
    swap_fd(reply, 0, open(path, O_RDONLY | O_CLOEXEC));
}

static void bulk_is_pipe(FakeBroker *fake, const FakeBrokerPacket *request,
                         FakeBrokerReply *reply)
{
    int fds[2];

    (void)fake;
    WELCOME_ONLY(request)
    g_assert_cmpint(pipe(fds), ==, 0);
    close(fds[1]);
    swap_fd(reply, 0, fds[0]);
}

static void no_descriptors(FakeBroker *fake, const FakeBrokerPacket *request,
                           FakeBrokerReply *reply)
{
    (void)fake;
    WELCOME_ONLY(request)
    swap_fd(reply, 0, -1);
}

static void one_descriptor(FakeBroker *fake, const FakeBrokerPacket *request,
                           FakeBrokerReply *reply)
{
    (void)fake;
    WELCOME_ONLY(request)
    swap_fd(reply, 1, -1);
}

static void welcome_short(FakeBroker *fake, const FakeBrokerPacket *request,
                          FakeBrokerReply *reply)
{
    (void)fake;
    WELCOME_ONLY(request)
    reply->bytes -= 8;
}

static void welcome_long(FakeBroker *fake, const FakeBrokerPacket *request,
                         FakeBrokerReply *reply)
{
    (void)fake;
    WELCOME_ONLY(request)
    reply->bytes = sizeof(reply->packet);
}

static void welcome_empty(FakeBroker *fake, const FakeBrokerPacket *request,
                          FakeBrokerReply *reply)
{
    (void)fake;
    WELCOME_ONLY(request)
    reply->bytes = 3;
}

static void error_without_end(FakeBroker *fake, const FakeBrokerPacket *request,
                              FakeBrokerReply *reply)
{
    (void)fake;
    WELCOME_ONLY(request)
    memset(reply->packet.bytes, '\033', sizeof(reply->packet));
    reply->packet.msg.type = KSM_MSG_ERROR;
    reply->bytes = sizeof(KsmMsgError);
}

static void welcome_ends(FakeBroker *fake, const FakeBrokerPacket *request,
                         FakeBrokerReply *reply)
{
    (void)fake;
    WELCOME_ONLY(request)
    reply->bytes = 0;
    reply->close = TRUE;
}

static const struct {
    const char *name;
    FakeBrokerLie *lie;
} welcomes[] = {
    { "store-is-file", store_is_file },
    { "store-is-unsealed", store_is_unsealed },
    { "store-is-huge", store_is_huge },
    { "store-is-short", store_is_short },
    { "store-is-empty", store_is_empty },
    { "store-is-odd", store_is_odd },
    { "bulk-is-huge", bulk_is_huge },
    { "bulk-is-short", bulk_is_short },
    { "bulk-is-read-only", bulk_is_read_only },
    { "bulk-is-pipe", bulk_is_pipe },
    { "no-descriptors", no_descriptors },
    { "one-descriptor", one_descriptor },
    { "welcome-short", welcome_short },
    { "welcome-long", welcome_long },
    { "welcome-empty", welcome_empty },
    { "error-without-end", error_without_end },
    { "welcome-ends", welcome_ends },
};

static gboolean was_asked_again(gpointer opaque)
{
    const Guest *guest = opaque;

    return g_atomic_int_get(&guest->fake->connections) >= 3;
}

static void test_welcome(gconstpointer opaque)
{
    Guest guest;

    if (!ksm_test_need_uffd()) {
        return;
    }
    guest_open(&guest, welcomes[GPOINTER_TO_UINT(opaque)].lie);
    g_assert_cmpfloat(ksm_test_wait(was_asked_again, &guest, MAX_SECONDS), >=,
                      0);
    g_assert_cmpint(stats_of(&guest).broker, !=, KSM_BROKER_CONNECTED);
    g_assert_cmpuint(stats_of(&guest).merges, ==, 0);
    guest_close(&guest);
}

/* ---- what it answers later ---------------------------------------------- */

static void slots_at_random(FakeBroker *fake, const FakeBrokerPacket *request,
                            FakeBrokerReply *reply)
{
    guint32 i;

    for (i = 0;
         request->msg.type == KSM_MSG_LOOKUP && i < reply->packet.msg.count;
         i++) {
        fake_broker_answers(fake)[i] = (KsmAnswer) {
            KSM_ANSWER_SLOT,
            (guint32)g_random_int_range(0, FIRST_SLOTS),
        };
    }
}

static void slots_beyond(FakeBroker *fake, const FakeBrokerPacket *request,
                         FakeBrokerReply *reply)
{
    static const guint32 slots[] = {
        FAKE_BROKER_SLOTS, KSM_SLOT_NONE, KSM_MAX_SLOT,
        KSM_MAX_SLOT + 1,  1u << 31,
    };
    guint32 i;

    for (i = 0;
         request->msg.type == KSM_MSG_PUBLISH && i < reply->packet.msg.count;
         i++) {
        fake_broker_answers(fake)[i].slot = slots[i % G_N_ELEMENTS(slots)];
    }
}

/* The right content but for the last byte. */
static void one_byte_off(FakeBroker *fake, const FakeBrokerPacket *request,
                         FakeBrokerReply *reply)
{
    guint32 i;

    for (i = 0;
         request->msg.type == KSM_MSG_PUBLISH && i < reply->packet.msg.count;
         i++) {
        fake->store[(gsize)fake_broker_answers(fake)[i].slot * 4096 + 4095] ^=
            1;
    }
}

static void all_one_slot(FakeBroker *fake, const FakeBrokerPacket *request,
                         FakeBrokerReply *reply)
{
    guint32 i;

    for (i = 0;
         request->msg.type == KSM_MSG_PUBLISH && i < reply->packet.msg.count;
         i++) {
        fake_broker_answers(fake)[i].slot = fake_broker_answers(fake)[0].slot;
    }
}

static void store_is_unreadable(FakeBroker *fake,
                                const FakeBrokerPacket *request,
                                FakeBrokerReply *reply)
{
    g_autofree char *path = NULL;

    WELCOME_ONLY(request)
    path = g_strdup_printf("/proc/self/fd/%d", fake->store_fd);
    swap_fd(reply, 1, open(path, O_WRONLY | O_CLOEXEC));
}

static void kinds_at_random(FakeBroker *fake, const FakeBrokerPacket *request,
                            FakeBrokerReply *reply)
{
    guint32 i;

    (void)request;
    for (i = 0; reply->packet.msg.type == KSM_MSG_ANSWERS &&
                i < reply->packet.msg.count;
         i++) {
        fake_broker_answers(fake)[i].kind = g_random_int() % 7 * 0x12345678u;
        fake_broker_answers(fake)[i].slot =
            g_random_int() % (i % 2 ? FIRST_SLOTS : 2 * FAKE_BROKER_SLOTS);
    }
}

static void counts_less(FakeBroker *fake, const FakeBrokerPacket *request,
                        FakeBrokerReply *reply)
{
    (void)fake;
    if (request->msg.type == KSM_MSG_LOOKUP ||
        request->msg.type == KSM_MSG_PUBLISH) {
        reply->packet.msg.count /= 2;
    }
}

static void counts_more(FakeBroker *fake, const FakeBrokerPacket *request,
                        FakeBrokerReply *reply)
{
    (void)fake;
    if (request->msg.type == KSM_MSG_LOOKUP) {
        reply->packet.msg.count++;
    }
}

static void counts_most(FakeBroker *fake, const FakeBrokerPacket *request,
                        FakeBrokerReply *reply)
{
    (void)fake;
    if (request->msg.type == KSM_MSG_FETCH_RESULTS) {
        reply->packet.msg.count = G_MAXUINT32;
    }
}

static void type_unknown(FakeBroker *fake, const FakeBrokerPacket *request,
                         FakeBrokerReply *reply)
{
    (void)fake;
    if (request->msg.type == KSM_MSG_LOOKUP) {
        reply->packet.msg.type = 77;
    }
}

static void serial_of_before(FakeBroker *fake, const FakeBrokerPacket *request,
                             FakeBrokerReply *reply)
{
    (void)fake;
    if (request->msg.type == KSM_MSG_FETCH_RESULTS) {
        reply->packet.msg.serial--;
    }
}

static void twice(FakeBroker *fake, const FakeBrokerPacket *request,
                  FakeBrokerReply *reply)
{
    (void)fake;
    if (request->msg.type == KSM_MSG_PUBLISH) {
        reply->times = 2;
    }
}

static void floods(FakeBroker *fake, const FakeBrokerPacket *request,
                   FakeBrokerReply *reply)
{
    (void)fake;
    if (request->msg.type == KSM_MSG_PUBLISH) {
        reply->times = 1000;
    }
}

static void ends_in_publish(FakeBroker *fake, const FakeBrokerPacket *request,
                            FakeBrokerReply *reply)
{
    (void)fake;
    reply->close = request->msg.type == KSM_MSG_PUBLISH;
    reply->bytes = reply->close ? 0 : reply->bytes;
}

/* Answers with descriptors where none belong. */
static void descriptors_everywhere(FakeBroker *fake,
                                   const FakeBrokerPacket *request,
                                   FakeBrokerReply *reply)
{
    if (request->msg.type != KSM_MSG_HELLO) {
        reply->fds[0] = dup(fake->store_fd);
        reply->fds[1] = dup(fake->store_fd);
    }
}

/* A result for a page: no slot, a slot that may or may not exist, any page. */
static void hints_at_random(FakeBroker *fake, const FakeBrokerPacket *request,
                            FakeBrokerReply *reply)
{
    guint32 i;

    if (request->msg.type == KSM_MSG_LOOKUP) {
        for (i = 0; i < reply->packet.msg.count; i++) {
            fake_broker_answers(fake)[i].kind = g_random_int() % 2;
        }
    } else if (request->msg.type == KSM_MSG_FETCH_RESULTS) {
        reply->packet.msg.count = 500;
        for (i = 0; i < 500; i++) {
            fake_broker_hints(fake)[i] = (KsmResult) {
                .page = g_random_int() % (i % 3 ? PAGES : G_MAXUINT32),
                .slot = i % 5 ? g_random_int() % FIRST_SLOTS : KSM_SLOT_NONE,
            };
        }
    }
}

/* Never an end of results: such that are kept, and such that are not. */
static void hints_without_end(FakeBroker *fake, const FakeBrokerPacket *request,
                              FakeBrokerReply *reply)
{
    guint32 i;

    if (request->msg.type == KSM_MSG_FETCH_RESULTS) {
        reply->packet.msg.count = KSM_BATCH_RESULTS;
        for (i = 0; i < KSM_BATCH_RESULTS; i++) {
            fake_broker_hints(fake)[i] = (KsmResult) { i % PAGES,
                                                       i % FIRST_SLOTS };
        }
    }
}

static void no_hints_without_end(FakeBroker *fake,
                                 const FakeBrokerPacket *request,
                                 FakeBrokerReply *reply)
{
    guint32 i;

    if (request->msg.type == KSM_MSG_FETCH_RESULTS) {
        reply->packet.msg.count = KSM_BATCH_RESULTS;
        for (i = 0; i < KSM_BATCH_RESULTS; i++) {
            fake_broker_hints(fake)[i] = (KsmResult) { i % PAGES,
                                                       KSM_SLOT_NONE };
        }
    }
}

/* Another order, and another map, with each word. */
static void orders(FakeBroker *fake, const FakeBrokerPacket *request,
                   FakeBrokerReply *reply)
{
    (void)fake;
    if (request->msg.type == KSM_MSG_STATS) {
        reply->packet.group.pages_shared = G_MAXUINT64;
        reply->packet.group.pages_sharing = g_random_int() % 2;
        reply->packet.group.map_serial = g_random_int();
        reply->packet.group.setting = (KsmSetting) {
            .serial = g_random_int(),
            .fields = g_random_int() % 64,
            .run = g_random_int() % 4,
            .scan_cpu_percent = g_random_int() % 200,
            .scan_interval_ms = g_random_int() % 50,
            .max_mappings = g_random_int() % 100000,
            .keep_huge = g_random_int() % 1000,
        };
    }
}

/* Says that earlier bindings stand, and has another store each time. */
static void resumes_falsely(FakeBroker *fake, const FakeBrokerPacket *request,
                            FakeBrokerReply *reply)
{
    if (request->msg.type == KSM_MSG_HELLO) {
        reply->packet.welcome.outcome = 1;
        reply->packet.welcome.store_id = (guint)fake->welcomes / 2;
        close(fake->store_fd);
        munmap(fake->store, FAKE_BROKER_BYTES);
        fake->store_fd = fake_broker_memfd(FAKE_BROKER_BYTES, MFD_ALLOW_SEALING,
                                           F_SEAL_SHRINK);
        fake->store = mmap(NULL, FAKE_BROKER_BYTES, PROT_READ | PROT_WRITE,
                           MAP_SHARED, fake->store_fd, 0);
        swap_fd(reply, 1, dup(fake->store_fd));
    }
    reply->close = request->msg.type == KSM_MSG_STATS;
}

/*
 * Says that earlier bindings stand, in the store that the guest has, but those
 * of another engine.
 */
static void resumes_anothers(FakeBroker *fake, const FakeBrokerPacket *request,
                             FakeBrokerReply *reply)
{
    if (request->msg.type == KSM_MSG_HELLO && fake->welcomes > 0) {
        reply->packet.welcome.outcome = KSM_WELCOME_RESUMED;
        reply->packet.welcome.engine.words[0] ^= 1;
    }
    reply->close = request->msg.type == KSM_MSG_STATS && fake->welcomes == 1 &&
                   fake->next_slot >= PAGES;
}

static void refuse(FakeBrokerReply *reply, KsmError code, const char *reason)
{
    guint i;

    for (i = 0; i < 2; i++) {
        close(reply->fds[i]);
        reply->fds[i] = -1;
    }
    reply->packet.msg.type = KSM_MSG_ERROR;
    reply->packet.error.code = code;
    g_strlcpy(reply->packet.error.reason, reason,
              sizeof(reply->packet.error.reason));
    reply->bytes = sizeof(KsmMsgError);
    reply->close = TRUE;
}

/* Up to version 5, a HELLO of any other size is refused. */
static void speak(const FakeBrokerPacket *request, FakeBrokerReply *reply,
                  guint32 version)
{
    if (request->msg.type == KSM_MSG_HELLO) {
        if (version <= KSM_PROTO_NAMELESS &&
            request->hello.version > KSM_PROTO_NAMELESS) {
            refuse(reply, KSM_ERROR_PROTOCOL, "message 1 of 376 bytes");
            return;
        }
        reply->packet.welcome.version = version;
    } else if (request->msg.type == KSM_MSG_STATS) {
        reply->bytes = ksm_proto_group_bytes(version);
    }
}

/* A broker of an earlier release: fields of later ones are not said. */
static void speaks_version_4(FakeBroker *fake, const FakeBrokerPacket *request,
                             FakeBrokerReply *reply)
{
    (void)fake;
    speak(request, reply, 4);
}

static void speaks_version_3(FakeBroker *fake, const FakeBrokerPacket *request,
                             FakeBrokerReply *reply)
{
    (void)fake;
    speak(request, reply, 3);
}

/* Later than what the client said. */
static void speaks_version_8(FakeBroker *fake, const FakeBrokerPacket *request,
                             FakeBrokerReply *reply)
{
    (void)fake;
    speak(request, reply, 8);
}

/* A broker of the last release that did not send WAKE. */
static void speaks_version_6(FakeBroker *fake, const FakeBrokerPacket *request,
                             FakeBrokerReply *reply)
{
    (void)fake;
    speak(request, reply, 6);
}

/* Instead of a reply, for ever: the third one is one too many. */
static void wakes_without_end(FakeBroker *fake, const FakeBrokerPacket *request,
                              FakeBrokerReply *reply)
{
    (void)fake;
    if (request->msg.type == KSM_MSG_STATS) {
        reply->packet.msg = (KsmMsg) { .type = KSM_MSG_WAKE };
        reply->bytes = sizeof(KsmMsg);
        reply->times = 8;
    }
}

/* It claims to be older, and sends it all the same. */
static void wakes_too_early(FakeBroker *fake, const FakeBrokerPacket *request,
                            FakeBrokerReply *reply)
{
    speaks_version_6(fake, request, reply);
    wakes_without_end(fake, request, reply);
}

/* No CPU time, and no time to wait for some either. */
static void grants_nothing(FakeBroker *fake, const FakeBrokerPacket *request,
                           FakeBrokerReply *reply)
{
    (void)fake;
    if (request->msg.type == KSM_MSG_CPU_TIME) {
        reply->packet.grant.cpu_us = 0;
    }
}

static void grants_one_day(FakeBroker *fake, const FakeBrokerPacket *request,
                           FakeBrokerReply *reply)
{
    (void)fake;
    if (request->msg.type == KSM_MSG_CPU_TIME) {
        reply->packet.grant.cpu_us = 1;
        reply->packet.grant.wait_us = G_MAXUINT32;
    }
}

static void grant_is_long(FakeBroker *fake, const FakeBrokerPacket *request,
                          FakeBrokerReply *reply)
{
    (void)fake;
    if (request->msg.type == KSM_MSG_CPU_TIME) {
        reply->bytes += 8;
    }
}

static void ends_in_grant(FakeBroker *fake, const FakeBrokerPacket *request,
                          FakeBrokerReply *reply)
{
    (void)fake;
    if (request->msg.type == KSM_MSG_CPU_TIME) {
        reply->bytes = 0;
        reply->close = TRUE;
    }
}

static void slow(FakeBroker *fake, const FakeBrokerPacket *request,
                 FakeBrokerReply *reply)
{
    (void)fake;
    (void)reply;
    if (request->msg.type != KSM_MSG_HELLO) {
        g_usleep(250 * 1000);
    }
}

/* Some rounds, or some connections when none gets as far as a round. */
static gboolean has_seen_enough(gpointer opaque)
{
    const Guest *guest = opaque;

    check(guest);
    return stats_of(guest).full_scans >= TURNS ||
           g_atomic_int_get(&guest->fake->connections) >= 4 ||
           ((guest->fake->lie == slow || guest->fake->lie == orders ||
             guest->fake->lie == grants_nothing) &&
            g_atomic_int_get(&guest->fake->requests) >= FEW_REQUESTS) ||
           (guest->fake->lie == grants_one_day &&
            g_atomic_int_get(&guest->fake->requests) >= VERY_FEW_REQUESTS);
}

static const struct {
    const char *name;
    FakeBrokerLie *lie;
    gboolean shares; /* something can be shared all the same */
} lies[] = {
    { "none", NULL, TRUE },
    { "slots-at-random", slots_at_random, FALSE },
    { "slots-beyond", slots_beyond, FALSE },
    { "one-byte-off", one_byte_off, FALSE },
    { "all-one-slot", all_one_slot, TRUE },
    { "store-is-unreadable", store_is_unreadable, FALSE },
    { "kinds-at-random", kinds_at_random, FALSE },
    { "counts-less", counts_less, TRUE },
    { "counts-more", counts_more, FALSE },
    { "counts-most", counts_most, TRUE },
    { "type-unknown", type_unknown, FALSE },
    { "serial-of-before", serial_of_before, TRUE },
    { "twice", twice, TRUE },
    { "floods", floods, TRUE },
    { "ends-in-publish", ends_in_publish, FALSE },
    { "descriptors-everywhere", descriptors_everywhere, TRUE },
    { "results-at-random", hints_at_random, TRUE },
    { "results-without-end", hints_without_end, TRUE },
    { "no-results-without-end", no_hints_without_end, TRUE },
    { "orders", orders, TRUE },
    { "resumes-falsely", resumes_falsely, TRUE },
    { "speaks-version-4", speaks_version_4, TRUE },
    { "speaks-version-3", speaks_version_3, FALSE },
    { "speaks-version-8", speaks_version_8, FALSE },
    { "speaks-version-6", speaks_version_6, TRUE },
    { "wakes-without-end", wakes_without_end, TRUE },
    { "wakes-too-early", wakes_too_early, TRUE },
    { "grants-nothing", grants_nothing, TRUE },
    { "grants-one-day", grants_one_day, TRUE },
    { "grant-is-long", grant_is_long, FALSE },
    { "ends-in-grant", ends_in_grant, FALSE },
    { "slow", slow, TRUE },
};

static void test_lie(gconstpointer opaque)
{
    guint row = GPOINTER_TO_UINT(opaque);
    Guest guest;
    KsmStats stats;

    if (!ksm_test_need_uffd()) {
        return;
    }
    guest_open(&guest, lies[row].lie);
    g_assert_cmpfloat(ksm_test_wait(has_seen_enough, &guest, MAX_SECONDS), >=,
                      0);
    stats = stats_of(&guest);
    g_test_message("%d connections, %d requests, %" G_GUINT64_FORMAT
                   " rounds, %" G_GUINT64_FORMAT " merges, %" G_GUINT64_FORMAT
                   " rollbacks, %" G_GUINT64_FORMAT " refused by the broker",
                   guest.fake->connections, guest.fake->requests,
                   stats.full_scans, stats.merges, stats.rollbacks,
                   stats.refused_broker);
    if (!lies[row].shares) {
        g_assert_cmpuint(stats.merges, ==, 0);
    }
    if (lies[row].lie == NULL) {
        g_assert_cmpuint(stats.pages_sharing, ==, PAGES);
    }
    guest_close(&guest);
}

static gboolean has_begun_anew(gpointer opaque)
{
    const Guest *guest = opaque;

    check(guest);
    return stats_of(guest).publishes >= 2 * PAGES;
}

/* What another engine of this process has is not taken for ours: all that was
 * shared is given back, and shared anew. */
static void test_resumes_anothers(void)
{
    Guest guest;

    if (!ksm_test_need_uffd()) {
        return;
    }
    guest_open(&guest, resumes_anothers);
    g_assert_cmpfloat(ksm_test_wait(has_begun_anew, &guest, MAX_SECONDS), >=,
                      0);
    guest_close(&guest);
}

/* A broker that is polite at first and then lies is asked ever less often. */
static void test_back_off(gconstpointer opaque)
{
    Guest guest;
    double start;
    gint connections;

    if (!ksm_test_need_uffd()) {
        return;
    }
    guest_open(&guest, *(FakeBrokerLie *const *)opaque);
    start = ksm_test_now();
    while (ksm_test_now() - start < 3) {
        check(&guest);
        g_usleep(20000);
    }
    /* After 0, 0.2, 0.6, 1.4 and 3 s; every 0.1 s would be 30. */
    connections = g_atomic_int_get(&guest.fake->connections);
    g_test_message("%d connections in 3 s", connections);
    g_assert_cmpint(connections, >=, 2);
    g_assert_cmpint(connections, <=, 7);
    guest_close(&guest);
}

#define MEMORY_REFUSALS 2

/* What a broker that takes a store over was told; its thread writes it. */
static struct {
    KsmError code;       /* of the first refusals */
    gint refusals, done; /* atomic */
    guint pages;         /* reported since WELCOME */
} takeover;

static void reclaim_reply(FakeBroker *fake, const FakeBrokerPacket *request,
                          FakeBrokerReply *reply)
{
    const KsmReclaimRange *items =
        (const KsmReclaimRange *)(gconstpointer)(fake->bulk + KSM_BULK_REQUEST);
    guint32 i;

    if (g_atomic_int_get(&takeover.refusals) < MEMORY_REFUSALS) {
        g_atomic_int_inc(&takeover.refusals);
        refuse(reply, takeover.code, "RECLAIM of page 2: out of memory");
        return;
    }
    for (i = 0; i < request->msg.count; i++) {
        takeover.pages += items[i].count;
    }
    g_atomic_int_set(&takeover.done, request->msg.count == 0);
}

/* The connection ends when all is shared; then it is "another broker". */
static void refuses_reclaim(FakeBroker *fake, const FakeBrokerPacket *request,
                            FakeBrokerReply *reply)
{
    switch (request->msg.type) {
    case KSM_MSG_HELLO:
        takeover.pages = 0;
        if (fake->welcomes > 0) {
            reply->packet.welcome.outcome = KSM_WELCOME_HANDED;
        }
        break;
    case KSM_MSG_STATS:
        reply->close = fake->welcomes == 1 && fake->next_slot >= PAGES;
        break;
    case KSM_MSG_RECLAIM:
        reclaim_reply(fake, request, reply);
        break;
    default:
        break;
    }
}

static gboolean is_taken_over(gpointer opaque)
{
    const Guest *guest = opaque;

    check(guest);
    return g_atomic_int_get(&takeover.done) &&
           stats_of(guest).broker == KSM_BROKER_CONNECTED;
}

/* A broker that lacks memory for what the guest maps is told again later. */
static void test_no_memory_for_reclaim(void)
{
    Guest guest;

    if (!ksm_test_need_uffd()) {
        return;
    }
    memset(&takeover, 0, sizeof(takeover));
    takeover.code = KSM_ERROR_LIMIT;
    guest_open(&guest, refuses_reclaim);
    g_assert_cmpfloat(ksm_test_wait(is_taken_over, &guest, MAX_SECONDS), >=, 0);
    g_assert_cmpint(takeover.refusals, ==, MEMORY_REFUSALS);
    g_assert_cmpuint(takeover.pages, ==, PAGES);
    g_assert_cmpuint(stats_of(&guest).pages_sharing, ==, PAGES);
    g_assert_cmpuint(stats_of(&guest).publishes, ==, PAGES);
    guest_close(&guest);
}

/* One that does not believe it gets nothing more of that store. */
static void test_reclaim_refused(void)
{
    Guest guest;

    if (!ksm_test_need_uffd()) {
        return;
    }
    memset(&takeover, 0, sizeof(takeover));
    takeover.code = KSM_ERROR_PROTOCOL;
    guest_open(&guest, refuses_reclaim);
    g_assert_cmpfloat(ksm_test_wait(has_begun_anew, &guest, MAX_SECONDS), >=,
                      0);
    g_assert_cmpint(takeover.refusals, ==, 1);
    g_assert_cmpuint(takeover.pages, ==, 0);
    guest_close(&guest);
}

/* Memory that cannot be taken over stays as it was, content and all. */
static void test_not_taken_over(void)
{
    Guest guest;
    g_autoptr(GError) error = NULL;
    KsmRegion *region;
    guint8 *memory;
    int uffd;

    if (!ksm_test_need_uffd()) {
        return;
    }
    guest_open(&guest, NULL);
    memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    g_assert_true(memory != MAP_FAILED);
    memset(memory, 0x5a, BYTES);
    g_assert_cmpint(ksm_sys->uffd_open(&uffd), ==, 0);
    g_assert_cmpint(ksm_sys->uffd_api(uffd, 0), ==, 0);
    g_assert_cmpint(ksm_sys->uffd_register(uffd, memory, BYTES,
                                           UFFDIO_REGISTER_MODE_WP),
                    ==, 0);
    g_assert_null(ksm_region_add(guest.engine, "theirs", memory, BYTES,
                                 KSM_REGION_NONE, &error));
    g_assert_error(error, KSM_ERROR, KSM_ERROR_FAILED);
    g_assert_cmpint(memory[0], ==, 0x5a);
    g_assert_cmpint(memory[BYTES - 1], ==, 0x5a);
    close(uffd);
    g_clear_error(&error);
    region = ksm_region_add(guest.engine, "ours", memory, BYTES,
                            KSM_REGION_NONE, &error);
    g_assert_no_error(error);
    g_assert_cmpint(memory[BYTES - 1], ==, 0x5a);
    ksm_region_remove(region);
    munmap(memory, BYTES);
    guest_close(&guest);
}

#define HOLE_PAGES 64u /* of no region, between two */
#define OTHER_FIRST (PAGES + HOLE_PAGES)

/* Seed of a session page; of those in the second region every one has its own. */
static guint64 session_seed(guint32 session_page)
{
    return 1 + (session_page < PAGES ? seed_of(session_page) : session_page);
}

/* A result for a page, with a slot that holds what the page holds. */
static KsmResult hint_for(FakeBroker *fake, guint32 session_page)
{
    guint32 slot = fake->next_slot++;

    g_assert_cmpuint(slot, <, FAKE_BROKER_SLOTS);
    ksm_test_page_make(fake->store + (gsize)slot * KSM_PAGE_BYTES,
                       KSM_TEST_SEEDED, session_seed(session_page));
    return (KsmResult) { session_page, slot };
}

/* Session pages that were looked up and not hinted at; the broker's thread. */
static struct {
    gboolean waits[OTHER_FIRST + PAGES];
    guint count;
    gboolean begun;
} listed;

static void list(guint32 session_page)
{
    g_assert_cmpuint(session_page, <, G_N_ELEMENTS(listed.waits));
    listed.count += !listed.waits[session_page];
    listed.waits[session_page] = TRUE;
}

/* Hints from either end by turns, and for some pages of no region. */
static guint32 hint_by_turns(FakeBroker *fake)
{
    KsmResult *results = fake_broker_hints(fake);
    guint32 low = 0, high = G_N_ELEMENTS(listed.waits) - 1, count = 0;

    while (listed.count && count < KSM_BATCH_RESULTS - 2) {
        guint32 page = count % 2 ? high-- : low++;

        for (; !listed.waits[page]; page = count % 2 ? high-- : low++) {
        }
        listed.waits[page] = FALSE;
        listed.count--;
        results[count++] = hint_for(fake, page);
    }
    results[count++] = hint_for(fake, PAGES + HOLE_PAGES / 2);
    results[count++] = hint_for(fake, OTHER_FIRST + PAGES);
    return count;
}

/* Lists all that is looked up; when that is all of both regions, results at it. */
static void hints_of_two_regions(FakeBroker *fake,
                                 const FakeBrokerPacket *request,
                                 FakeBrokerReply *reply)
{
    const KsmLookup *items =
        (const KsmLookup *)(gconstpointer)(fake->bulk + KSM_BULK_REQUEST);
    guint32 i;

    if (request->msg.type == KSM_MSG_LOOKUP) {
        for (i = 0; i < request->msg.count; i++) {
            fake_broker_answers(fake)[i].kind = KSM_ANSWER_LISTED;
            list(items[i].page);
        }
    } else if (request->msg.type == KSM_MSG_FETCH_RESULTS && listed.count) {
        listed.begun = listed.begun || listed.count == 2 * PAGES;
        reply->packet.msg.count = listed.begun ? hint_by_turns(fake) : 0;
    }
}

static gboolean shares_both(gpointer opaque)
{
    return stats_of(opaque).pages_sharing == 2 * PAGES;
}

static guint8 *map_region(Guest *guest, const char *name, guint32 pages,
                          KsmRegion **region)
{
    g_autoptr(GError) error = NULL;
    guint8 *memory = mmap(NULL, (gsize)pages * KSM_PAGE_BYTES,
                          PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                          -1, 0);

    g_assert_true(memory != MAP_FAILED);
    *region = ksm_region_add(guest->engine, name, memory,
                             (guint64)pages * KSM_PAGE_BYTES, KSM_REGION_FRESH,
                             &error);
    g_assert_no_error(error);
    return memory;
}

/* Hints come in any order: each is for the page of its region, or for none. */
static void test_hints_of_regions(void)
{
    KsmRegion *hole, *other;
    guint8 *hole_memory, *memory;
    KsmStats stats;
    Guest guest;
    guint32 page;

    if (!ksm_test_need_uffd()) {
        return;
    }
    guest_open(&guest, hints_of_two_regions);
    hole_memory = map_region(&guest, "hole", HOLE_PAGES, &hole);
    memory = map_region(&guest, "other", PAGES, &other);
    ksm_region_remove(hole);
    munmap(hole_memory, (gsize)HOLE_PAGES * KSM_PAGE_BYTES);
    for (page = 0; page < PAGES; page++) {
        ksm_test_page_make(memory + (gsize)page * KSM_PAGE_BYTES,
                           KSM_TEST_SEEDED, session_seed(OTHER_FIRST + page));
    }
    g_assert_cmpfloat(ksm_test_wait(shares_both, &guest, MAX_SECONDS), >=, 0);
    stats = stats_of(&guest);
    g_assert_cmpuint(stats.merges, ==, 2 * PAGES);
    g_assert_cmpuint(stats.rollbacks, ==, 0);
    for (page = 0; page < PAGES; page++) {
        g_assert_true(ksm_test_page_is(memory + (gsize)page * KSM_PAGE_BYTES,
                                       KSM_TEST_SEEDED,
                                       session_seed(OTHER_FIRST + page)));
    }
    ksm_region_remove(other);
    munmap(memory, BYTES);
    guest_close(&guest);
}

int main(int argc, char **argv)
{
    static FakeBrokerLie *const lies_early = type_unknown, *const ends_early =
                                                               ends_in_publish;
    guint i;

    g_test_init(&argc, &argv, NULL);
    /* Each lie is complained of: that is what is wanted here. */
    g_log_set_always_fatal(G_LOG_FATAL_MASK);
    for (i = 0; i < G_N_ELEMENTS(welcomes); i++) {
        g_autofree char *path = g_strconcat("/fake-broker/welcome/",
                                            welcomes[i].name, NULL);

        g_test_add_data_func(path, GUINT_TO_POINTER(i), test_welcome);
    }
    for (i = 0; i < G_N_ELEMENTS(lies); i++) {
        g_autofree char *path = g_strconcat("/fake-broker/", lies[i].name,
                                            NULL);

        g_test_add_data_func(path, GUINT_TO_POINTER(i), test_lie);
    }
    g_test_add_data_func("/fake-broker/back-off/lies", &lies_early,
                         test_back_off);
    g_test_add_data_func("/fake-broker/back-off/ends", &ends_early,
                         test_back_off);
    g_test_add_func("/fake-broker/resumes-anothers", test_resumes_anothers);
    g_test_add_func("/fake-broker/no-memory-for-reclaim",
                    test_no_memory_for_reclaim);
    g_test_add_func("/fake-broker/reclaim-refused", test_reclaim_refused);
    g_test_add_func("/fake-broker/not-taken-over", test_not_taken_over);
    g_test_add_func("/fake-broker/results-of-regions", test_hints_of_regions);
    return g_test_run();
}
