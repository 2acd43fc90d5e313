/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-handover.c: brokers end and hang, and what is shared stays what it is:
 * the next broker has the same store with the same references, newcomers join
 * it, and what is written is given back as ever.
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
#include "puppet.h"
#include "require.h"

#define PAGES 2048
#define GUESTS 3
#define SEED 4711
#define SECONDS 30.0
#define KILLS 5
#define GROUP "handover"

typedef struct Scene {
    KsmTestBroker *broker;
    KsmPuppetSpec spec;
    KsmPuppet *guests[GUESTS + 2];
    guint count;
    guint others;               /* engines that are no puppets */
    guint64 shared, sharing;    /* what the broker is to have */
    gsize log_seen;             /* of the broker's log; 0: not asked yet */
} Scene;

static gboolean is_connected(gpointer puppet)
{
    KsmPuppetState state;

    ksm_puppet_state(puppet, &state);
    return state.stats.broker == KSM_BROKER_CONNECTED;
}

static gboolean is_lost(gpointer puppet)
{
    return !is_connected(puppet);
}

/* FALSE: sent away, because the store was taken up at that moment. */
static gboolean read_group(Scene *scene, KsmMsgGroup *group)
{
    g_autoptr(KsmTestProbe) probe = ksm_test_probe_new(scene->broker->socket,
                                                       GROUP);

    return probe && ksm_test_probe_read(probe, group);
}

static gboolean has_all(gpointer opaque)
{
    Scene *scene = opaque;
    KsmMsgGroup group;

    return read_group(scene, &group) &&
           group.pages_shared == scene->shared &&
           group.pages_sharing == scene->sharing &&
           group.sessions == scene->count + scene->others + 1;
}

static void wait_all(Scene *scene)
{
    KsmMsgGroup group = { 0 };

    if (ksm_test_wait(has_all, scene, SECONDS) < 0) {
        read_group(scene, &group);
        g_error("%" PRIu64 " slots, %" PRIu64 " references, %" PRIu64
                " sessions; wanted %" PRIu64 ", %" PRIu64 ", %u",
                group.pages_shared, group.pages_sharing, group.sessions,
                scene->shared, scene->sharing,
                scene->count + scene->others + 1);
    }
}

/* Whether the broker has forgotten our probes, by the status that it logs when
 * it is asked to. */
static gboolean only_guests_are_left(gpointer opaque)
{
    Scene *scene = opaque;
    g_autofree char *log = ksm_test_broker_read_log(scene->broker);
    const char *told = strstr(log + scene->log_seen, ":" GROUP ": sessions=");

    if (!told && scene->log_seen) {
        return FALSE;
    }
    if (told && scene->log_seen &&
        strtoul(strchr(told, '=') + 1, NULL, 10) ==
        scene->count + scene->others) {
        return TRUE;
    }
    scene->log_seen = strlen(log);
    kill(scene->broker->pid, SIGUSR1);
    return FALSE;
}

/* Until then we would be one who might map the store when the broker ends. */
static void wait_unprobed(Scene *scene)
{
    scene->log_seen = 0;
    g_assert_cmpfloat(ksm_test_wait(only_guests_are_left, scene, SECONDS), >=,
                      0);
}

/* The store of all guests is one, and each of its pages there once. */
static void check_scene(Scene *scene)
{
    int pids[GUESTS + 2];
    guint i;

    wait_all(scene);
    for (i = 0; i < scene->count; i++) {
        pids[i] = ksm_puppet_pid(scene->guests[i]);
        g_assert_cmpuint(ksm_puppet_check(scene->guests[i], 0, PAGES,
                                          KSM_TEST_SEEDED, SEED, TRUE), ==, 0);
    }
    g_assert_cmpuint(ksm_test_count_stores(pids, scene->count), ==, 1);
    wait_unprobed(scene);
}

static void add_guest(Scene *scene)
{
    KsmPuppet *guest = ksm_puppet_new(&scene->spec);

    ksm_puppet_fill(guest, 0, PAGES, KSM_TEST_SEEDED, SEED, TRUE);
    ksm_puppet_set_run(guest, KSM_RUN_RUN);
    scene->guests[scene->count++] = guest;
    scene->sharing = scene->count * PAGES;
}

static void settle(Scene *scene)
{
    g_assert_cmpuint(ksm_puppets_settle(scene->guests, scene->count,
                                        scene->sharing, SECONDS), ==,
                     scene->sharing);
}

static gboolean scene_open(Scene *scene)
{
    guint i;

    if (!ksm_test_need_uffd()) {
        return FALSE;
    }
    scene->broker = ksm_test_broker_new(NULL);
    scene->spec = (KsmPuppetSpec) {
        .socket = scene->broker->socket, .group = GROUP, .pages = PAGES,
        .tells_held = TRUE,
    };
    for (i = 0; i < GUESTS; i++) {
        add_guest(scene);
    }
    settle(scene);
    scene->shared = PAGES;
    check_scene(scene);
    return TRUE;
}

static void scene_close(Scene *scene)
{
    guint i;

    for (i = 0; i < scene->count; i++) {
        ksm_puppet_free(scene->guests[i]);
    }
    scene->shared = 0;
    scene->sharing = 0;
    scene->count = 0;
    wait_all(scene);
    ksm_test_broker_free(scene->broker);
}

static void wait_connected(Scene *scene)
{
    guint i;

    for (i = 0; i < scene->count; i++) {
        g_assert_cmpfloat(ksm_test_wait(is_connected, scene->guests[i],
                                        SECONDS), >=, 0);
    }
}

/* One broker after another, then somebody joins what the first one had. */
static void test_killed(void)
{
    Scene scene = { 0 };
    guint i;

    if (!scene_open(&scene)) {
        return;
    }
    for (i = 0; i < KILLS; i++) {
        ksm_test_broker_kill(scene.broker);
        if (i % 2) {
            g_assert_cmpfloat(ksm_test_wait(is_lost, scene.guests[0], SECONDS),
                              >=, 0);
        }
        ksm_test_broker_start(scene.broker);
        wait_connected(&scene);
        check_scene(&scene);
    }
    add_guest(&scene);
    settle(&scene);
    check_scene(&scene);
    scene_close(&scene);
}

/* Told to end, as by an upgrade; and what is written is given back after. */
static void test_replaced(void)
{
    Scene scene = { 0 };
    guint i;

    if (!scene_open(&scene)) {
        return;
    }
    g_assert_true(ksm_test_broker_stop(scene.broker));
    ksm_test_broker_start(scene.broker);
    wait_connected(&scene);
    check_scene(&scene);
    for (i = 0; i < GUESTS; i++) {
        ksm_puppet_fill(scene.guests[i], 0, PAGES / 2, KSM_TEST_SEEDED,
                        SEED + (i + 1) * PAGES, TRUE);
    }
    scene.shared = PAGES / 2;
    scene.sharing = GUESTS * PAGES / 2;
    wait_all(&scene);
    scene_close(&scene);
}

/* A guest that ends, or writes, while there is no broker. */
static void test_meanwhile(void)
{
    Scene scene = { 0 };
    KsmPuppet *last;

    if (!scene_open(&scene)) {
        return;
    }
    ksm_puppet_fill(scene.guests[2], 0, PAGES, KSM_TEST_SEEDED,
                    SEED + PAGES, TRUE);
    add_guest(&scene);          /* shares those pages with guest 2 */
    last = scene.guests[GUESTS];
    ksm_puppet_fill(last, 0, PAGES, KSM_TEST_SEEDED, SEED + PAGES, TRUE);
    scene.shared = 2 * PAGES;
    wait_all(&scene);
    wait_unprobed(&scene);
    ksm_test_broker_kill(scene.broker);
    ksm_puppet_kill(last);
    ksm_puppet_free(last);
    scene.count--;
    ksm_puppet_fill(scene.guests[2], 0, PAGES, KSM_TEST_SEEDED, SEED, TRUE);
    ksm_test_broker_start(scene.broker);
    wait_connected(&scene);
    scene.shared = PAGES;
    scene.sharing = GUESTS * PAGES;
    check_scene(&scene);
    scene_close(&scene);
}

/* Guests that come too late find another store in use: theirs is given up, and
 * what lies in it shared anew. */
static void test_too_late(void)
{
    Scene scene = { 0 };
    guint i;

    if (!scene_open(&scene)) {
        return;
    }
    for (i = 0; i < GUESTS; i++) {
        kill(ksm_puppet_pid(scene.guests[i]), SIGSTOP);
    }
    ksm_test_broker_kill(scene.broker);
    ksm_test_broker_start(scene.broker);
    for (i = GUESTS; i < GUESTS + 2; i++) {
        add_guest(&scene);
    }
    g_assert_cmpuint(ksm_puppets_settle(scene.guests + GUESTS, 2, 2 * PAGES,
                                        SECONDS), ==, 2 * PAGES);
    for (i = 0; i < GUESTS; i++) {
        kill(ksm_puppet_pid(scene.guests[i]), SIGCONT);
    }
    scene.shared = PAGES;
    check_scene(&scene);
    scene_close(&scene);
}

/* A guest that stands still meanwhile: what it maps is kept for it, and found
 * by newcomers, once. */
static void test_one_is_slow(void)
{
    Scene scene = { 0 };

    if (!scene_open(&scene)) {
        return;
    }
    kill(ksm_puppet_pid(scene.guests[0]), SIGSTOP);
    g_assert_true(ksm_test_broker_stop(scene.broker));
    ksm_test_broker_start(scene.broker);
    add_guest(&scene);
    g_assert_cmpuint(ksm_puppets_settle(scene.guests + 1, GUESTS,
                                        GUESTS * PAGES, SECONDS), ==,
                     GUESTS * PAGES);
    ksm_puppet_fill(scene.guests[1], 0, PAGES, KSM_TEST_ZERO, 0, FALSE);
    ksm_puppet_fill(scene.guests[1], 0, PAGES, KSM_TEST_SEEDED, SEED, TRUE);
    kill(ksm_puppet_pid(scene.guests[0]), SIGCONT);
    check_scene(&scene);
    scene_close(&scene);
}

/* A broker of another version, on the socket of ours: refuses everybody. */
static void refuse_versions(const char *path, guint count)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int listening = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    KsmMsgError reply = {
        .msg = { .type = KSM_MSG_ERROR }, .code = KSM_ERROR_PROTOCOL,
        .reason = "protocol version 3, this broker speaks 4",
    };
    struct pollfd entry = { .fd = listening, .events = POLLIN };

    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    g_unlink(path);
    g_assert_cmpint(bind(listening, (struct sockaddr *)&address,
                         sizeof(address)), ==, 0);
    g_assert_cmpint(listen(listening, 8), ==, 0);
    while (count--) {
        KsmMsgHello hello;
        int fd;

        g_assert_cmpint(poll(&entry, 1, (int)(SECONDS * 1e3)), ==, 1);
        fd = accept(listening, NULL, NULL);
        g_assert_cmpint(recv(fd, &hello, sizeof(hello), 0), >=,
                        offsetof(KsmMsgHello, engine));
        reply.msg.serial = hello.msg.serial;
        g_assert_cmpint(send(fd, &reply, sizeof(reply), 0), ==,
                        sizeof(reply));
        close(fd);
    }
    close(listening);
    g_unlink(path);
}

/* Guests keep what they have until a broker comes that they can speak with. */
static void test_other_version(void)
{
    Scene scene = { 0 };

    if (!scene_open(&scene)) {
        return;
    }
    ksm_test_broker_kill(scene.broker);
    refuse_versions(scene.broker->socket, 5 * GUESTS);
    ksm_test_broker_start(scene.broker);
    wait_connected(&scene);
    check_scene(&scene);
    scene_close(&scene);
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

static KsmEngine *make_engine(Scene *scene, const char *name,
                              guint interval_ms, void *memory)
{
    g_autoptr(GError) error = NULL;
    KsmEngine *engine;
    KsmOptions options;

    ksm_options_init(&options);
    options.name = name;
    options.group = GROUP;
    options.broker = scene->broker->socket;
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
    Scene scene = { 0 };
    Writer writer = { 0 };
    g_autoptr(GError) error = NULL;
    pthread_t thread;
    KsmEngine *engine;
    double took;

    if (!scene_open(&scene)) {
        return;
    }
    writer.memory = mmap(NULL, PAGES * KSM_PAGE_BYTES, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    g_assert_true(writer.memory != MAP_FAILED);
    engine = make_engine(&scene, NULL, 20, (void *)writer.memory);
    ksm_engine_start(engine, &error);
    g_assert_no_error(error);
    pthread_create(&thread, NULL, writer_run, &writer);
    kill(scene.broker->pid, SIGSTOP);
    took = ksm_test_wait(has_noticed, engine, SECONDS);
    g_test_message("noticed after %.1f s, %" PRIu64 " writes meanwhile, the "
                   "longest %.1f ms", took, writer.writes,
                   writer.longest * 1e3);
    g_assert_cmpfloat(took, >=, 0);
    g_assert_cmpuint(writer.writes, >, 1000);
    g_assert_cmpfloat(writer.longest, <, 1.0);
    writer.stop = 1;
    pthread_join(thread, NULL);
    ksm_engine_free(engine);
    munmap((void *)writer.memory, PAGES * KSM_PAGE_BYTES);
    kill(scene.broker->pid, SIGCONT);
    wait_connected(&scene);
    check_scene(&scene);
    scene_close(&scene);
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
    ASIDE,                      /* by the program's callback */
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
    guint8 *memory = mmap(NULL, PAGES * KSM_PAGE_BYTES,
                          PROT_READ | PROT_WRITE,
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
    Scene scene = { 0 };
    KsmEngine *engine;
    guint8 *memory;
    guint i;

    if (!scene_open(&scene)) {
        return;
    }
    memory = make_pairs();
    engine = make_engine(&scene, NULL, 20, memory);
    ksm_engine_start(engine, &error);
    g_assert_no_error(error);
    fill_pairs(memory);
    g_assert_cmpfloat(ksm_test_wait(shares_all, engine, SECONDS), >=, 0);
    scene.others = 1;
    scene.shared += PAGES / 2;
    scene.sharing += PAGES;
    make_idle(engine, GPOINTER_TO_INT(opaque));
    wait_all(&scene);
    wait_unprobed(&scene);
    ksm_test_broker_kill(scene.broker);
    g_assert_cmpfloat(ksm_test_wait(has_noticed, engine, SECONDS), >=, 0);
    ksm_test_broker_start(scene.broker);
    wait_connected(&scene);
    g_assert_cmpfloat(ksm_test_wait(has_met_broker, engine, SECONDS), >=,
                      0);
    wait_all(&scene);
    for (i = 0; i < GUESTS; i++) {
        ksm_puppet_fill(scene.guests[i], 0, PAGES, KSM_TEST_SEEDED,
                        SEED + (i + 1) * 100 * PAGES, TRUE);
    }
    scene.shared = PAGES / 2;
    scene.sharing = PAGES;
    wait_all(&scene);
    g_assert_true(is_idle(engine));
    ksm_engine_free(engine);
    g_atomic_pointer_set(&reason, NULL);
    munmap(memory, PAGES * KSM_PAGE_BYTES);
    scene.others = 0;
    scene_close(&scene);
}

/*
 * Two engines of one process that are called the same lose a broker that hangs:
 * each comes back to what is its own, whichever is the first.
 */
static void test_one_name(void)
{
    Scene scene = { 0 };
    guint8 *memory[2];
    KsmEngine *engines[2];
    g_autoptr(GError) error = NULL;
    guint i, turn;

    if (!ksm_test_need_uffd()) {
        return;
    }
    scene.broker = ksm_test_broker_new(NULL);
    for (i = 0; i < 2; i++) {
        memory[i] = mmap(NULL, PAGES * KSM_PAGE_BYTES, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        g_assert_true(memory[i] != MAP_FAILED);
        engines[i] = make_engine(&scene, "same", i ? 10 : 1000, memory[i]);
        twin_fill(memory[i], i);
        ksm_engine_start(engines[i], &error);
        g_assert_no_error(error);
    }
    for (turn = 0; turn < 8; turn++) {
        ksm_engine_run_round(engines[0]);
        ksm_engine_run_round(engines[1]);
    }
    scene.count = 2;
    scene.shared = 2 * PAGES / 16;
    scene.sharing = PAGES;
    wait_all(&scene);
    for (turn = 0; turn < 2; turn++) {
        kill(scene.broker->pid, SIGSTOP);
        for (i = 0; i < 2; i++) {
            g_assert_cmpfloat(ksm_test_wait(has_noticed, engines[i], SECONDS),
                              >=, 0);
        }
        kill(scene.broker->pid, SIGCONT);
        for (i = 0; i < 2; i++) {
            g_assert_cmpfloat(ksm_test_wait(has_met_broker, engines[i],
                                            SECONDS), >=, 0);
            ksm_engine_run_round(engines[i]);
        }
        wait_all(&scene);
        g_assert_cmpuint(twin_count_wrong(memory[0], 0), ==, 0);
        g_assert_cmpuint(twin_count_wrong(memory[1], 1), ==, 0);
    }
    for (i = 0; i < 2; i++) {
        ksm_engine_free(engines[i]);
        munmap(memory[i], PAGES * KSM_PAGE_BYTES);
    }
    ksm_test_broker_free(scene.broker);
}

int main(int argc, char **argv)
{
    ksm_puppet_main(argc, argv);
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
