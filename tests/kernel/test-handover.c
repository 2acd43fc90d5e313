/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-handover.c: brokers exit and hang, and shared pages stay shared: the
 * next broker has the same store with the same references, new engines join it,
 * and written pages are given back as usual.
 */
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "broker-proc.h"
#include "probe.h"
#include "remote-engine.h"
#include "require.h"

#define PAGES 2048
#define GUESTS 3
#define SEED 4711
#define SECONDS 30.0
#define KILLS 5
#define GROUP "handover"

typedef struct Fixture {
    KsmTestBroker *broker;
    KsmRemoteSpec spec;
    KsmRemote *guests[GUESTS + 2];
    guint count;
    guint others;            /* engines that are no remotes */
    guint64 shared, sharing; /* what the broker is to have */
    gsize log_seen;          /* of the broker's log; 0: not asked yet */
} Fixture;

static gboolean is_connected(gpointer remote)
{
    KsmRemoteState state;

    ksm_remote_state(remote, &state);
    return state.stats.broker == KSM_BROKER_CONNECTED;
}

static gboolean is_lost(gpointer remote)
{
    return !is_connected(remote);
}

/* FALSE: sent away, because the store was taken up at that moment. */
static gboolean read_group(Fixture *fixture, KsmMsgGroup *group)
{
    g_autoptr(KsmTestProbe) probe = ksm_test_probe_new(fixture->broker->socket,
                                                       GROUP);

    return probe && ksm_test_probe_read(probe, group);
}

static gboolean has_all(gpointer opaque)
{
    Fixture *fixture = opaque;
    KsmMsgGroup group;

    return read_group(fixture, &group) &&
           group.pages_shared == fixture->shared &&
           group.pages_sharing == fixture->sharing &&
           group.sessions == fixture->count + fixture->others + 1;
}

static void wait_all(Fixture *fixture)
{
    KsmMsgGroup group = { 0 };

    if (ksm_test_wait(has_all, fixture, SECONDS) < 0) {
        read_group(fixture, &group);
        g_error("%" PRIu64 " slots, %" PRIu64 " references, %" PRIu64
                " sessions; wanted %" PRIu64 ", %" PRIu64 ", %u",
                group.pages_shared, group.pages_sharing, group.sessions,
                fixture->shared, fixture->sharing,
                fixture->count + fixture->others + 1);
    }
}

/* Whether the broker has forgotten our probes, by the status that it logs when
 * it is asked to. */
static gboolean only_guests_are_left(gpointer opaque)
{
    Fixture *fixture = opaque;
    g_autofree char *log = ksm_test_broker_read_log(fixture->broker);
    const char *told = strstr(log + fixture->log_seen, ":" GROUP ": sessions=");

    if (!told && fixture->log_seen) {
        return FALSE;
    }
    if (told && fixture->log_seen &&
        strtoul(strchr(told, '=') + 1, NULL, 10) ==
            fixture->count + fixture->others) {
        return TRUE;
    }
    fixture->log_seen = strlen(log);
    kill(fixture->broker->pid, SIGUSR1);
    return FALSE;
}

/* Until then we would be one who might map the store when the broker ends. */
static void wait_unprobed(Fixture *fixture)
{
    fixture->log_seen = 0;
    g_assert_cmpfloat(ksm_test_wait(only_guests_are_left, fixture, SECONDS), >=,
                      0);
}

/* The store of all guests is one, and each of its pages there once. */
static void check_fixture(Fixture *fixture)
{
    int pids[GUESTS + 2];
    guint i;

    wait_all(fixture);
    for (i = 0; i < fixture->count; i++) {
        pids[i] = ksm_remote_pid(fixture->guests[i]);
        g_assert_cmpuint(ksm_remote_check(fixture->guests[i], 0, PAGES,
                                          KSM_TEST_SEEDED, SEED, TRUE),
                         ==, 0);
    }
    g_assert_cmpuint(ksm_test_count_stores(pids, fixture->count), ==, 1);
    wait_unprobed(fixture);
}

static void add_guest(Fixture *fixture)
{
    KsmRemote *guest = ksm_remote_new(&fixture->spec);

    ksm_remote_fill(guest, 0, PAGES, KSM_TEST_SEEDED, SEED, TRUE);
    ksm_remote_set_run(guest, KSM_RUN_RUN);
    fixture->guests[fixture->count++] = guest;
    fixture->sharing = fixture->count * PAGES;
}

static void settle(Fixture *fixture)
{
    g_assert_cmpuint(ksm_remotes_settle(fixture->guests, fixture->count,
                                        fixture->sharing, SECONDS),
                     ==, fixture->sharing);
}

static gboolean fixture_open(Fixture *fixture)
{
    guint i;

    if (!ksm_test_need_uffd()) {
        return FALSE;
    }
    fixture->broker = ksm_test_broker_new(NULL);
    fixture->spec = (KsmRemoteSpec) {
        .socket = fixture->broker->socket,
        .group = GROUP,
        .pages = PAGES,
        .tells_held = TRUE,
    };
    for (i = 0; i < GUESTS; i++) {
        add_guest(fixture);
    }
    settle(fixture);
    fixture->shared = PAGES;
    check_fixture(fixture);
    return TRUE;
}

static void fixture_close(Fixture *fixture)
{
    guint i;

    for (i = 0; i < fixture->count; i++) {
        ksm_remote_free(fixture->guests[i]);
    }
    fixture->shared = 0;
    fixture->sharing = 0;
    fixture->count = 0;
    wait_all(fixture);
    ksm_test_broker_free(fixture->broker);
}

static void wait_connected(Fixture *fixture)
{
    guint i;

    for (i = 0; i < fixture->count; i++) {
        g_assert_cmpfloat(ksm_test_wait(is_connected, fixture->guests[i],
                                        SECONDS),
                          >=, 0);
    }
}

/* One broker after another, then somebody joins what the first one had. */
static void test_killed(void)
{
    Fixture fixture = { 0 };
    guint i;

    if (!fixture_open(&fixture)) {
        return;
    }
    for (i = 0; i < KILLS; i++) {
        ksm_test_broker_kill(fixture.broker);
        if (i % 2) {
            g_assert_cmpfloat(ksm_test_wait(is_lost, fixture.guests[0],
                                            SECONDS),
                              >=, 0);
        }
        ksm_test_broker_start(fixture.broker);
        wait_connected(&fixture);
        check_fixture(&fixture);
    }
    add_guest(&fixture);
    settle(&fixture);
    check_fixture(&fixture);
    fixture_close(&fixture);
}

/* Told to end, as by an upgrade; and what is written is given back after. */
static void test_replaced(void)
{
    Fixture fixture = { 0 };
    guint i;

    if (!fixture_open(&fixture)) {
        return;
    }
    g_assert_true(ksm_test_broker_stop(fixture.broker));
    ksm_test_broker_start(fixture.broker);
    wait_connected(&fixture);
    check_fixture(&fixture);
    for (i = 0; i < GUESTS; i++) {
        ksm_remote_fill(fixture.guests[i], 0, PAGES / 2, KSM_TEST_SEEDED,
                        SEED + (i + 1) * PAGES, TRUE);
    }
    fixture.shared = PAGES / 2;
    fixture.sharing = GUESTS * PAGES / 2;
    wait_all(&fixture);
    fixture_close(&fixture);
}

/* A guest that ends, or writes, while there is no broker. */
static void test_meanwhile(void)
{
    Fixture fixture = { 0 };
    KsmRemote *last;

    if (!fixture_open(&fixture)) {
        return;
    }
    ksm_remote_fill(fixture.guests[2], 0, PAGES, KSM_TEST_SEEDED, SEED + PAGES,
                    TRUE);
    add_guest(&fixture); /* shares those pages with guest 2 */
    last = fixture.guests[GUESTS];
    ksm_remote_fill(last, 0, PAGES, KSM_TEST_SEEDED, SEED + PAGES, TRUE);
    fixture.shared = 2 * PAGES;
    wait_all(&fixture);
    wait_unprobed(&fixture);
    ksm_test_broker_kill(fixture.broker);
    ksm_remote_kill(last);
    ksm_remote_free(last);
    fixture.count--;
    ksm_remote_fill(fixture.guests[2], 0, PAGES, KSM_TEST_SEEDED, SEED, TRUE);
    ksm_test_broker_start(fixture.broker);
    wait_connected(&fixture);
    fixture.shared = PAGES;
    fixture.sharing = GUESTS * PAGES;
    check_fixture(&fixture);
    fixture_close(&fixture);
}

/* Guests that come too late find another store in use: theirs is given up, and
 * what lies in it shared anew. */
static void test_too_late(void)
{
    Fixture fixture = { 0 };
    guint i;

    if (!fixture_open(&fixture)) {
        return;
    }
    for (i = 0; i < GUESTS; i++) {
        kill(ksm_remote_pid(fixture.guests[i]), SIGSTOP);
    }
    ksm_test_broker_kill(fixture.broker);
    ksm_test_broker_start(fixture.broker);
    for (i = GUESTS; i < GUESTS + 2; i++) {
        add_guest(&fixture);
    }
    g_assert_cmpuint(ksm_remotes_settle(fixture.guests + GUESTS, 2, 2 * PAGES,
                                        SECONDS),
                     ==, 2 * PAGES);
    for (i = 0; i < GUESTS; i++) {
        kill(ksm_remote_pid(fixture.guests[i]), SIGCONT);
    }
    fixture.shared = PAGES;
    check_fixture(&fixture);
    fixture_close(&fixture);
}

/* A guest that stands still meanwhile: what it maps is kept for it, and found
 * by newcomers, once. */
static void test_one_is_slow(void)
{
    Fixture fixture = { 0 };

    if (!fixture_open(&fixture)) {
        return;
    }
    kill(ksm_remote_pid(fixture.guests[0]), SIGSTOP);
    g_assert_true(ksm_test_broker_stop(fixture.broker));
    ksm_test_broker_start(fixture.broker);
    add_guest(&fixture);
    g_assert_cmpuint(ksm_remotes_settle(fixture.guests + 1, GUESTS,
                                        GUESTS * PAGES, SECONDS),
                     ==, GUESTS * PAGES);
    ksm_remote_fill(fixture.guests[1], 0, PAGES, KSM_TEST_ZERO, 0, FALSE);
    ksm_remote_fill(fixture.guests[1], 0, PAGES, KSM_TEST_SEEDED, SEED, TRUE);
    kill(ksm_remote_pid(fixture.guests[0]), SIGCONT);
    check_fixture(&fixture);
    fixture_close(&fixture);
}

/* A broker of another version, on the socket of ours: refuses everybody. */
static void refuse_versions(const char *path, guint count)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int listening = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    KsmMsgError reply = {
        .msg = { .type = KSM_MSG_ERROR },
        .code = KSM_ERROR_PROTOCOL,
        .reason = "protocol version 3; this broker supports 4",
    };
    struct pollfd entry = { .fd = listening, .events = POLLIN };

    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    g_unlink(path);
    g_assert_cmpint(bind(listening, (struct sockaddr *)&address,
                         sizeof(address)),
                    ==, 0);
    g_assert_cmpint(listen(listening, 8), ==, 0);
    while (count--) {
        KsmMsgHello hello;
        int fd;

        g_assert_cmpint(poll(&entry, 1, (int)(SECONDS * 1e3)), ==, 1);
        fd = accept(listening, NULL, NULL);
        g_assert_cmpint(recv(fd, &hello, sizeof(hello), 0), >=,
                        offsetof(KsmMsgHello, engine));
        reply.msg.serial = hello.msg.serial;
        g_assert_cmpint(send(fd, &reply, sizeof(reply), 0), ==, sizeof(reply));
        close(fd);
    }
    close(listening);
    g_unlink(path);
}

/* Guests keep what they have until a broker comes that they can speak with. */
static void test_other_version(void)
{
    Fixture fixture = { 0 };

    if (!fixture_open(&fixture)) {
        return;
    }
    ksm_test_broker_kill(fixture.broker);
    refuse_versions(fixture.broker->socket, 5 * GUESTS);
    ksm_test_broker_start(fixture.broker);
    wait_connected(&fixture);
    check_fixture(&fixture);
    fixture_close(&fixture);
}

typedef struct Writer {
    volatile guint8 *memory;
    volatile gint stop;
    guint64 writes;
    double longest;
} Writer;

static void *writer_run(void *opaque)
{
    Writer *writer = opaque;
    guint64 random = 1;

    while (!writer->stop) {
        guint64 page = ksm_test_below(&random, PAGES);
        double start = ksm_test_now();

        writer->memory[page * KSM_PAGE_BYTES + 8]++;
        writer->longest = MAX(writer->longest, ksm_test_now() - start);
        writer->writes++;
    }
    return NULL;
}

/* Why engines of this process stand aside; or NULL. */
static const char *reason;

static const char *stand_aside(G_GNUC_UNUSED void *opaque)
{
    return g_atomic_pointer_get(&reason);
}

static KsmEngine *make_engine(Fixture *fixture, const char *name,
                              guint interval_ms, void *memory)
{
    g_autoptr(GError) error = NULL;
    KsmEngine *engine;
    KsmOptions options;

    ksm_options_init(&options);
    options.name = name;
    options.group = GROUP;
    options.broker = fixture->broker->socket;
    options.start_broker = FALSE;
    options.scan_interval_ms = interval_ms;
    options.scan_cpu_percent = 100;
    options.stand_aside = stand_aside;
    engine = ksm_engine_new(&options, &error);
    g_assert_no_error(error);
    ksm_region_add(engine, "ram", memory, PAGES * KSM_PAGE_BYTES,
                   KSM_REGION_FRESH, &error);
    g_assert_no_error(error);
    return engine;
}

static gboolean has_noticed(gpointer engine)
{
    KsmStats stats;

    ksm_engine_get_stats(engine, &stats);
    return stats.broker == KSM_BROKER_LOST;
}

/* A broker that hangs: nobody waits for it but the scanner, and that not for
 * ever; when it goes on, it still is the broker. */
static void test_hung(void)
{
    Fixture fixture = { 0 };
    Writer writer = { 0 };
    g_autoptr(GError) error = NULL;
    pthread_t thread;
    KsmEngine *engine;
    double took;

    if (!fixture_open(&fixture)) {
        return;
    }
    writer.memory = mmap(NULL, PAGES * KSM_PAGE_BYTES, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    g_assert_true(writer.memory != MAP_FAILED);
    engine = make_engine(&fixture, NULL, 20, (void *)writer.memory);
    ksm_engine_start(engine, &error);
    g_assert_no_error(error);
    pthread_create(&thread, NULL, writer_run, &writer);
    kill(fixture.broker->pid, SIGSTOP);
    took = ksm_test_wait(has_noticed, engine, SECONDS);
    g_test_message("noticed after %.1f s, %" PRIu64 " writes meanwhile, the "
                   "longest %.1f ms",
                   took, writer.writes, writer.longest * 1e3);
    g_assert_cmpfloat(took, >=, 0);
    g_assert_cmpuint(writer.writes, >, 1000);
    g_assert_cmpfloat(writer.longest, <, 1.0);
    writer.stop = 1;
    pthread_join(thread, NULL);
    ksm_engine_free(engine);
    munmap((void *)writer.memory, PAGES * KSM_PAGE_BYTES);
    kill(fixture.broker->pid, SIGCONT);
    wait_connected(&fixture);
    check_fixture(&fixture);
    fixture_close(&fixture);
}

static gboolean shares_all(gpointer engine)
{
    KsmStats stats;

    ksm_engine_get_stats(engine, &stats);
    return stats.pages_sharing == PAGES;
}

static gboolean is_idle(gpointer engine)
{
    KsmStats stats;

    ksm_engine_get_stats(engine, &stats);
    return stats.state == KSM_STATE_STOOD_ASIDE ||
           stats.state == KSM_STATE_PAUSED;
}

/* Stretches of 8 pages: those of one engine hold each content twice, where the
 * other's are unique. */
static guint32 twin_word(guint which, guint32 page)
{
    guint32 base = (1 + which) << 24;

    return page / 8 % 2 == which ? base + page / 16 : base + (1 << 20) + page;
}

static void twin_fill(guint8 *memory, guint which)
{
    guint32 page;

    for (page = 0; page < PAGES; page++) {
        guint32 word = twin_word(which, page);

        memcpy(memory + (gsize)page * KSM_PAGE_BYTES, &word, sizeof(word));
    }
}

static guint twin_count_wrong(const guint8 *memory, guint which)
{
    guint32 page, wrong = 0;

    for (page = 0; page < PAGES; page++) {
        guint32 word = twin_word(which, page);

        wrong += memcmp(memory + (gsize)page * KSM_PAGE_BYTES, &word,
                        sizeof(word)) != 0;
    }
    return wrong;
}

static gboolean has_met_broker(gpointer engine)
{
    KsmStats stats;

    ksm_engine_get_stats(engine, &stats);
    return stats.broker == KSM_BROKER_CONNECTED;
}

typedef enum Idleness {
    ASIDE, /* by the program's callback */
    SUSPENDED,
    PAUSED,
} Idleness;

static void make_idle(KsmEngine *engine, Idleness idleness)
{
    switch (idleness) {
    case ASIDE:
        g_atomic_pointer_set(&reason, "a test");
        break;
    case SUSPENDED:
        ksm_engine_suspend(engine, "a test");
        break;
    case PAUSED:
        ksm_engine_set_run(engine, KSM_RUN_PAUSE);
        break;
    }
    g_assert_cmpfloat(ksm_test_wait(is_idle, engine, SECONDS), >=, 0);
}

/* Pages in pairs, that nobody else has. */
static guint8 *make_pairs(void)
{
    guint8 *memory = mmap(NULL, PAGES * KSM_PAGE_BYTES, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    g_assert_true(memory != MAP_FAILED);
    return memory;
}

static void fill_pairs(guint8 *memory)
{
    guint i;

    for (i = 0; i < PAGES; i++) {
        ksm_test_page_make(memory + i * KSM_PAGE_BYTES, KSM_TEST_SEEDED,
                           1000000000 + i / 2);
    }
}

/*
 * A guest that looks for nothing for a long time, because a device has its
 * memory, say, meets the next broker all the same: what it maps is bound
 * again, and what nobody maps any more is freed.
 */
static void test_idle(gconstpointer opaque)
{
    g_autoptr(GError) error = NULL;
    Fixture fixture = { 0 };
    KsmEngine *engine;
    guint8 *memory;
    guint i;

    if (!fixture_open(&fixture)) {
        return;
    }
    memory = make_pairs();
    engine = make_engine(&fixture, NULL, 20, memory);
    ksm_engine_start(engine, &error);
    g_assert_no_error(error);
    fill_pairs(memory);
    g_assert_cmpfloat(ksm_test_wait(shares_all, engine, SECONDS), >=, 0);
    fixture.others = 1;
    fixture.shared += PAGES / 2;
    fixture.sharing += PAGES;
    make_idle(engine, GPOINTER_TO_INT(opaque));
    wait_all(&fixture);
    wait_unprobed(&fixture);
    ksm_test_broker_kill(fixture.broker);
    g_assert_cmpfloat(ksm_test_wait(has_noticed, engine, SECONDS), >=, 0);
    ksm_test_broker_start(fixture.broker);
    wait_connected(&fixture);
    g_assert_cmpfloat(ksm_test_wait(has_met_broker, engine, SECONDS), >=, 0);
    wait_all(&fixture);
    for (i = 0; i < GUESTS; i++) {
        ksm_remote_fill(fixture.guests[i], 0, PAGES, KSM_TEST_SEEDED,
                        SEED + (i + 1) * 100 * PAGES, TRUE);
    }
    fixture.shared = PAGES / 2;
    fixture.sharing = PAGES;
    wait_all(&fixture);
    g_assert_true(is_idle(engine));
    ksm_engine_free(engine);
    g_atomic_pointer_set(&reason, NULL);
    munmap(memory, PAGES * KSM_PAGE_BYTES);
    fixture.others = 0;
    fixture_close(&fixture);
}

/*
 * Two engines of one process that are called the same lose a broker that hangs:
 * each comes back to what is its own, whichever is the first.
 */
static void test_one_name(void)
{
    Fixture fixture = { 0 };
    guint8 *memory[2];
    KsmEngine *engines[2];
    g_autoptr(GError) error = NULL;
    guint i, turn;

    if (!ksm_test_need_uffd()) {
        return;
    }
    fixture.broker = ksm_test_broker_new(NULL);
    for (i = 0; i < 2; i++) {
        memory[i] = mmap(NULL, PAGES * KSM_PAGE_BYTES, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        g_assert_true(memory[i] != MAP_FAILED);
        engines[i] = make_engine(&fixture, "same", i ? 10 : 1000, memory[i]);
        twin_fill(memory[i], i);
        ksm_engine_start(engines[i], &error);
        g_assert_no_error(error);
    }
    for (turn = 0; turn < 8; turn++) {
        ksm_engine_run_round(engines[0]);
        ksm_engine_run_round(engines[1]);
    }
    fixture.count = 2;
    fixture.shared = 2 * PAGES / 16;
    fixture.sharing = PAGES;
    wait_all(&fixture);
    for (turn = 0; turn < 2; turn++) {
        kill(fixture.broker->pid, SIGSTOP);
        for (i = 0; i < 2; i++) {
            g_assert_cmpfloat(ksm_test_wait(has_noticed, engines[i], SECONDS),
                              >=, 0);
        }
        kill(fixture.broker->pid, SIGCONT);
        for (i = 0; i < 2; i++) {
            g_assert_cmpfloat(ksm_test_wait(has_met_broker, engines[i],
                                            SECONDS),
                              >=, 0);
            ksm_engine_run_round(engines[i]);
        }
        wait_all(&fixture);
        g_assert_cmpuint(twin_count_wrong(memory[0], 0), ==, 0);
        g_assert_cmpuint(twin_count_wrong(memory[1], 1), ==, 0);
    }
    for (i = 0; i < 2; i++) {
        ksm_engine_free(engines[i]);
        munmap(memory[i], PAGES * KSM_PAGE_BYTES);
    }
    ksm_test_broker_free(fixture.broker);
}

int main(int argc, char **argv)
{
    ksm_remote_main(argc, argv);
    g_test_init(&argc, &argv, NULL);
    /* The engine warns of a lost broker. */
    g_log_set_always_fatal(G_LOG_FATAL_MASK | G_LOG_LEVEL_CRITICAL);
    g_test_add_func("/handover/killed", test_killed);
    g_test_add_func("/handover/replaced", test_replaced);
    g_test_add_func("/handover/meanwhile", test_meanwhile);
    g_test_add_func("/handover/too-late", test_too_late);
    g_test_add_func("/handover/one-is-slow", test_one_is_slow);
    g_test_add_func("/handover/other-version", test_other_version);
    g_test_add_func("/handover/hung", test_hung);
    g_test_add_data_func("/handover/stands-aside", GINT_TO_POINTER(ASIDE),
                         test_idle);
    g_test_add_data_func("/handover/suspended", GINT_TO_POINTER(SUSPENDED),
                         test_idle);
    g_test_add_data_func("/handover/paused", GINT_TO_POINTER(PAUSED),
                         test_idle);
    g_test_add_func("/handover/one-name", test_one_name);
    return g_test_run();
}
