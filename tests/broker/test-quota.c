/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-quota.c: one user takes all that it can get of the broker, by requests
 * of the maximum length; the VMs of others start and share nevertheless.
 */
#include <glib.h>
#include <grp.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker-proc.h"
#include "proto-child.h"
#include "proto-client.h"
#include "require.h"

#define ANSWER_SECONDS 1.0

/* ---- a flood of one user ----------------------------------------------- */

#define FLOOD_UID 1001u
#define VICTIM_UID 1002u
#define FLOOD_PROCESSES 20u
#define FLOOD_ATTEMPTS 500u    /* of each: 10,000 in all */
#define FLOOD_PAGES (1u << 18) /* of a session, in the first place */
#define FLOOD_CONTENTS 1024u   /* pages of the others, and what is published */
#define OPTIONS \
    "--socket-mode 0666 --max-sessions 64 --max-store-mib 16 " \
    "--max-total-pages 16777216 --log-level info"

typedef struct Flood {
    KsmTestBroker *broker;
    ProtoChild *children[FLOOD_PROCESSES];
} Flood;

static void become(uid_t uid)
{
    g_assert_cmpint(setgroups(0, NULL), ==, 0);
    g_assert_cmpint(setresgid(uid, uid, uid), ==, 0);
    g_assert_cmpint(setresuid(uid, uid, uid), ==, 0);
}

/* All of a limit: asks for less each time until there is no more. */
static ProtoClient *take_pages(const char *socket, const char *name,
                               guint64 pages, guint *attempts)
{
    for (; pages > 0 && *attempts > 0; pages /= 2) {
        ProtoClient *client = proto_client_connect(socket);
        ProtoReply reply;

        (*attempts)--;
        /* Refused at once, it may be closed by now. */
        proto_client_send_hello(client, "flood", name, pages, -1);
        if (proto_client_receive(client, &reply) > 0 &&
            reply.msg.type == KSM_MSG_WELCOME) {
            return client;
        }
        proto_client_free(client);
    }
    return NULL;
}

/* Rubbish until it is refused. */
static void publish_all(ProtoClient *client, guint32 first)
{
    guint32 page;

    for (page = 0; page < FLOOD_CONTENTS; page++) {
        if (proto_client_publish(client, page, first + page, 0).kind !=
            KSM_ANSWER_SLOT) {
            return;
        }
    }
}

/*
 * Sessions, pages and store as far as they go, and connections that say
 * nothing; all of it stays.  Then it tries on until its attempts are used up.
 */
static void flood_run(gpointer opaque)
{
    const Flood *flood = opaque;
    const char *socket = flood->broker->socket;
    guint attempts = FLOOD_ATTEMPTS, i;
    ProtoClient *client;

    become(FLOOD_UID);
    for (i = 0; i < 8; i++) {
        g_autofree char *name = g_strdup_printf("s%u", i);

        client = take_pages(socket, name, i == 0 ? FLOOD_PAGES : FLOOD_CONTENTS,
                            &attempts);
        if (client != NULL && i == 1) {
            publish_all(client, (guint32)getpid() * FLOOD_CONTENTS + 1);
        }
    }
    for (i = 0; i < 32; i++) {
        proto_client_connect(socket);
    }
    proto_child_report(1);
    while (attempts > 0) {
        client = take_pages(socket, "again", FLOOD_PAGES, &attempts);
    }
    proto_child_report(2);
    proto_child_await();
}

static void flood_start(Flood *flood)
{
    guint i;

    for (i = 0; i < FLOOD_PROCESSES; i++) {
        flood->children[i] = proto_child_new(flood_run, flood);
    }
    for (i = 0; i < FLOOD_PROCESSES; i++) {
        g_assert_cmpuint(proto_child_wait(flood->children[i]), ==, 1);
    }
}

static ProtoClient *victim_new(const char *socket, const char *name,
                               guint64 pages)
{
    double start = ksm_test_now();
    ProtoClient *client = proto_client_connect(socket);
    ProtoReply reply = proto_client_hello(client, "victim", name, pages);

    if (reply.msg.type != KSM_MSG_WELCOME) {
        g_error("%s: %s", name, reply.error.reason);
    }
    g_test_message("HELLO of %s: %.1f ms", name,
                   (ksm_test_now() - start) * 1e3);
    g_assert_cmpfloat(ksm_test_now() - start, <, ANSWER_SECONDS);
    return client;
}

/* Two VMs, each with an eighth of all pages: they share a part of the store. */
static void victim_run(gpointer opaque)
{
    const char *socket = ((const Flood *)opaque)->broker->socket;
    ProtoClient *a, *b;
    guint32 page;

    become(VICTIM_UID);
    a = victim_new(socket, "a", 1u << 19);
    b = victim_new(socket, "b", 1u << 18);
    for (page = 1; page <= 256; page++) {
        double start = ksm_test_now();

        g_assert_cmpint(proto_client_publish(a, page, page, 0).kind, ==,
                        KSM_ANSWER_SLOT);
        g_assert_cmpint(proto_client_lookup(b, page, page).kind, ==,
                        KSM_ANSWER_SLOT);
        g_assert_cmpfloat(ksm_test_now() - start, <, ANSWER_SECONDS);
    }
    proto_child_report(1);
    proto_child_await();
}

static guint count_of(const char *text, const char *words)
{
    guint n = 0;

    while ((text = strstr(text, words)) != NULL) {
        text++;
        n++;
    }
    return n;
}

static void test_flood(void)
{
    g_autoptr(KsmTestBroker) broker = NULL;
    g_autofree char *log = NULL;
    ProtoChild *victim;
    Flood flood;
    guint i;

    if (geteuid() != 0) {
        g_test_skip("only root can become other users");
        return;
    }
    broker = ksm_test_broker_new(OPTIONS);
    g_assert_cmpint(chmod(broker->dir, 0711), ==, 0);
    flood.broker = broker;
    flood_start(&flood);
    victim = proto_child_new(victim_run, &flood);
    g_assert_cmpuint(proto_child_wait(victim), ==, 1);
    proto_child_free(victim);
    for (i = 0; i < FLOOD_PROCESSES; i++) {
        g_assert_cmpuint(proto_child_wait(flood.children[i]), ==, 2);
        proto_child_kill(flood.children[i]);
    }
    log = ksm_test_broker_read_log(broker);
    /* One line for all sessions that were refused, one for the store. */
    g_assert_cmpuint(count_of(log, "user 1001 has "), >, 0);
    g_assert_cmpuint(count_of(log, "user 1001 has "), <, 5);
    g_assert_cmpuint(count_of(log, "the stores of user 1001"), ==, 1);
    g_assert_cmpuint(count_of(log, "user 1002 has "), ==, 0);
    g_assert_true(ksm_test_broker_stop(broker));
}

/* ---- each limit, and what is said of it -------------------------------- */

#define CONTROL_MAX 16u /* connections of one user, of 32 */

static void expect_refused(const char *socket, const char *name, guint64 pages,
                           const char *reason)
{
    g_autoptr(ProtoClient) client = proto_client_connect(socket);
    ProtoReply reply = proto_client_hello(client, "g", name, pages);

    g_assert_cmpuint(reply.msg.type, ==, KSM_MSG_ERROR);
    g_test_message("%s", reply.error.reason);
    g_assert_cmpuint(reply.error.code, ==, 5);
    g_assert_nonnull(strstr(reply.error.reason, reason));
}

/* Half of 1000 pages, and of 12 sessions; of a process 400 and 3. */
static void limits_run(gpointer opaque)
{
    const char *socket = ((const KsmTestBroker *)opaque)->socket;
    g_autofree char *pages = g_strdup_printf("process %d has 300 of 400 guest "
                                             "pages",
                                             getpid());
    g_autofree char *sessions = g_strdup_printf("process %d has 3 sessions",
                                                getpid());
    guint i;

    become(FLOOD_UID);
    for (i = 0; i < 3; i++) {
        g_autofree char *name = g_strdup_printf("s%u", i);
        ProtoClient *client = proto_client_new(socket, "g", name, 100);

        g_assert_cmpint(proto_client_publish(client, 1, 1 + i, 0).kind, ==,
                        KSM_ANSWER_SLOT);
        proto_client_free(client); /* what it holds stays a session */
    }
    expect_refused(socket, "fourth", 1, sessions);
    {
        ProtoClient *client = proto_client_connect(socket);
        KsmMsgResize resize = {
            .msg = { .type = KSM_MSG_RESIZE },
            .pages = 201,
        };
        ProtoReply reply = proto_client_hello(client, "g", "s0", 100);

        g_assert_cmpuint(reply.msg.type, ==, KSM_MSG_WELCOME);
        g_assert_cmpuint(reply.welcome.outcome, ==, KSM_WELCOME_RESUMED);
        g_assert_true(proto_client_send(client, &resize, sizeof(resize)));
        g_assert_cmpuint(proto_client_receive(client, &reply), ==,
                         sizeof(KsmMsgError));
        g_assert_nonnull(strstr(reply.error.reason, pages));
        proto_client_free(client);
    }
    proto_child_report(1);
    proto_child_await();
}

/* A second process of that user, which has 300 pages and 3 sessions. */
static void limits_more_run(gpointer opaque)
{
    const char *socket = ((const KsmTestBroker *)opaque)->socket;
    guint i;

    become(FLOOD_UID);
    expect_refused(socket, "pages", 201,
                   "user 1001 has 300 of 500 guest pages, this needs 201 more");
    for (i = 0; i < 3; i++) {
        g_autofree char *name = g_strdup_printf("t%u", i);

        proto_client_new(socket, "g", name, 10);
    }
    proto_child_report(1);
    proto_child_await();
}

static void limits_last_run(gpointer opaque)
{
    become(FLOOD_UID);
    expect_refused(((const KsmTestBroker *)opaque)->socket, "session", 1,
                   "user 1001 has 6 of 6 sessions, this needs 1 more");
    proto_child_report(1);
    proto_child_await();
}

static ProtoChild *begin_limits(ProtoChildMain run, KsmTestBroker *broker)
{
    ProtoChild *child = proto_child_new(run, broker);

    g_assert_cmpuint(proto_child_wait(child), ==, 1);
    return child;
}

/* Root has no share, but the limit of all: 6 sessions and 670 pages are left. */
static void root_run(gpointer opaque)
{
    const char *socket = ((const KsmTestBroker *)opaque)->socket;

    proto_client_new(socket, "g", "r0", 670);
    expect_refused(socket, "r1", 1,
                   "all users have 1000 of 1000 guest pages, "
                   "this needs 1 more");
    proto_child_report(1);
    proto_child_await();
}

static void test_limits(void)
{
    static const ProtoChildMain mains[] = {
        limits_run,
        limits_more_run,
        limits_last_run,
        root_run,
    };
    ProtoChild *children[G_N_ELEMENTS(mains)];
    g_autoptr(KsmTestBroker) broker = NULL;
    guint i;

    if (geteuid() != 0) {
        g_test_skip("only root can become another user");
        return;
    }
    broker = ksm_test_broker_new("--socket-mode 0666 --max-total-pages 1000 "
                                 "--max-sessions 12 --max-process-pages 400 "
                                 "--max-process-sessions 3");
    g_assert_cmpint(chmod(broker->dir, 0711), ==, 0);
    for (i = 0; i < G_N_ELEMENTS(mains); i++) {
        children[i] = begin_limits(mains[i], broker);
    }
    for (i = 0; i < G_N_ELEMENTS(mains); i++) {
        proto_child_free(children[i]);
    }
    g_assert_true(ksm_test_broker_stop(broker));
}

/* Connected; what it is told at once, if it is: "" where it is not refused. */
static char *control_connect(const KsmTestBroker *broker, int *fd)
{
    static const char request[] = "{\"request\":\"status\"}\n";
    g_autofree char *path = g_build_filename(broker->dir, "control.sock", NULL);
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    char line[4096] = "";

    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    *fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(connect(*fd, (struct sockaddr *)&address, sizeof(address)),
                    ==, 0);
    g_assert_cmpint(send(*fd, request, sizeof(request) - 1, MSG_NOSIGNAL), >,
                    0);
    g_assert_cmpint(recv(*fd, line, sizeof(line) - 1, 0), >, 0);
    return g_strdup(line);
}

static void control_run(gpointer opaque)
{
    const gid_t group = getgrnam("daemon")->gr_gid;
    guint i;

    g_assert_cmpint(setgroups(0, NULL), ==, 0);
    g_assert_cmpint(setresgid(group, group, group), ==, 0);
    g_assert_cmpint(setresuid(FLOOD_UID, FLOOD_UID, FLOOD_UID), ==, 0);
    for (i = 0; i < CONTROL_MAX + 1; i++) {
        int fd;
        g_autofree char *line = control_connect(opaque, &fd);

        g_assert_cmpint(strstr(line, "\"busy\"") != NULL, ==, i == CONTROL_MAX);
    }
    proto_child_report(1);
    proto_child_await();
}

/* A member of the control group leaves room for root. */
static void test_control(void)
{
    g_autoptr(KsmTestBroker) broker = NULL;
    g_autofree char *line = NULL;
    ProtoChild *child;
    int fd;

    if (geteuid() != 0 || getgrnam("daemon") == NULL) {
        g_test_skip("only root can become another user, in group daemon");
        return;
    }
    broker = ksm_test_broker_new("--control-group daemon");
    g_assert_cmpint(chmod(broker->dir, 0711), ==, 0);
    child = proto_child_new(control_run, broker);
    g_assert_cmpuint(proto_child_wait(child), ==, 1);
    line = control_connect(broker, &fd);
    g_assert_nonnull(strstr(line, "\"ok\":true"));
    close(fd);
    proto_child_free(child);
}

/* ---- many requests of one user ----------------------------------------- */

#define BUSY_CLIENTS 60u
#define BUSY_REQUESTS 10u /* of each */

typedef struct Busy {
    KsmTestBroker *broker;
} Busy;

static void send_plain(ProtoClient *client, KsmMsgType type, guint32 count)
{
    const KsmMsgStats request = {
        .msg = { .type = type, .serial = ++client->serial, .count = count },
    };

    g_assert_true(proto_client_send(client, &request,
                                    type == KSM_MSG_STATS ?
                                        sizeof(request) :
                                        sizeof(request.msg)));
}

/* As many answers as have come by now. */
static guint count_answers(ProtoClient *client)
{
    KsmMsg reply;
    guint n = 0;

    while (recv(client->fd, &reply, sizeof(reply), MSG_DONTWAIT) > 0) {
        n++;
    }
    return n;
}

/* Many connections, each with some long look-ups to be done at once. */
static void busy_run(gpointer opaque)
{
    const Busy *busy = opaque;
    ProtoClient *clients[BUSY_CLIENTS];
    guint i, item, n = 0;

    become(FLOOD_UID);
    for (i = 0; i < BUSY_CLIENTS; i++) {
        g_autofree char *name = g_strdup_printf("s%u", i);

        clients[i] = proto_client_new(busy->broker->socket, "busy", name,
                                      KSM_BATCH_LOOKUPS);
        for (item = 0; item < KSM_BATCH_LOOKUPS; item++) {
            const KsmLookup lookup = {
                { (guint64)(i * KSM_BATCH_LOOKUPS + item + 1) *
                      0x9e3779b97f4a7c15u,
                  item },
                item,
                0,
            };

            memcpy(clients[i]->bulk + item * sizeof(lookup), &lookup,
                   sizeof(lookup));
        }
    }
    proto_child_report(1);
    proto_child_await(); /* the broker stands still */
    for (i = 0; i < BUSY_CLIENTS; i++) {
        for (item = 0; item < BUSY_REQUESTS; item++) {
            send_plain(clients[i], KSM_MSG_LOOKUP, KSM_BATCH_LOOKUPS);
        }
    }
    proto_child_report(2);
    proto_child_await(); /* it does so again */
    for (i = 0; i < BUSY_CLIENTS; i++) {
        n += count_answers(clients[i]);
    }
    proto_child_report(n);
    proto_child_await();
}

/* How many requests of one user were answered before one of another, which
 * came after all of them. */
static guint answered_before(KsmTestBroker *broker)
{
    Busy busy = { broker };
    ProtoChild *child = proto_child_new(busy_run, &busy);
    g_autoptr(ProtoClient) witness = NULL, last = NULL;
    guint before;

    g_assert_cmpuint(proto_child_wait(child), ==, 1);
    witness = proto_client_new(broker->socket, "g", "witness", 64);
    /* Whoever was heard last might be at the head of the next turn. */
    last = proto_client_new(broker->socket, "g", "last", 64);
    proto_client_stats(last);
    kill(broker->pid, SIGSTOP);
    proto_child_go_on(child);
    g_assert_cmpuint(proto_child_wait(child), ==, 2);
    send_plain(witness, KSM_MSG_STATS, 0);
    kill(broker->pid, SIGCONT);
    {
        ProtoReply reply;

        g_assert_cmpuint(proto_client_receive(witness, &reply), >, 0);
    }
    kill(broker->pid, SIGSTOP);
    proto_child_go_on(child);
    before = proto_child_wait(child);
    kill(broker->pid, SIGCONT);
    proto_child_kill(child);
    return before;
}

/*
 * One of each connection would be fair among connections, not among users.
 * The broker goes on until it is stopped, so that a test that is not run at
 * that moment counts too many: it is tried again.  Too few it never counts.
 */
static void test_turns(void)
{
    g_autoptr(KsmTestBroker) broker = NULL;
    guint before = BUSY_CLIENTS, tries;

    if (geteuid() != 0) {
        g_test_skip("only root can become another user");
        return;
    }
    broker = ksm_test_broker_new("--socket-mode 0666");
    g_assert_cmpint(chmod(broker->dir, 0711), ==, 0);
    for (tries = 0; before >= BUSY_CLIENTS && tries < 10; tries++) {
        before = answered_before(broker);
        g_test_message("%u of %u requests were answered before it", before,
                       BUSY_CLIENTS * BUSY_REQUESTS);
    }
    g_assert_cmpuint(before, <, BUSY_CLIENTS);
}

/* ---- long requests ----------------------------------------------------- */

#define TILES KSM_BATCH_PUBLISH
#define TILE_SLOTS (1u << KSM_MAX_TILE_ORDER)
#define LONG_PAGES (1u << 20)

static void put_tiles(ProtoClient *client, guint32 first)
{
    guint32 i;

    for (i = 0; i < TILES; i++) {
        const KsmPublish item = { i * TILE_SLOTS, KSM_MAX_TILE_ORDER };

        memcpy(client->bulk + KSM_BULK_REQUEST + i * sizeof(item), &item,
               sizeof(item));
        proto_content(client->bulk + KSM_BULK_CONTENT + (gsize)i * 4096,
                      first + i);
    }
}

/*
 * While tiles are published, 64 MiB by one request, another client's requests
 * are answered.  All are there before the broker goes on, so nothing hangs on
 * how long anything takes: at each turn of its main loop it answers one
 * request of the witness and carries out one step of the long one.
 */
static void test_tiles(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    g_autoptr(ProtoClient) hog = proto_client_new(broker->socket, "g", "hog",
                                                  LONG_PAGES);
    g_autoptr(ProtoClient) witness = proto_client_new(broker->socket, "g",
                                                      "witness", 64);
    ProtoReply reply;
    guint i;

    put_tiles(hog, 1);
    kill(broker->pid, SIGSTOP);
    send_plain(hog, KSM_MSG_PUBLISH, TILES);
    for (i = 0; i < 4; i++) {
        send_plain(witness, KSM_MSG_STATS, 0);
    }
    kill(broker->pid, SIGCONT);
    for (i = 0; i < 4; i++) {
        g_assert_cmpuint(proto_client_receive(witness, &reply), ==,
                         sizeof(KsmMsgGroup));
        g_test_message("answer %u: %" G_GUINT64_FORMAT " of %u slots", i,
                       reply.group.pages_shared, TILES * TILE_SLOTS);
    }
    g_assert_cmpuint(reply.group.pages_shared, >, 0);
    g_assert_cmpuint(reply.group.pages_shared, <, TILES * TILE_SLOTS / 2);
    g_assert_cmpuint(proto_client_receive(hog, &reply), ==, sizeof(KsmMsg));
    g_assert_cmpuint(reply.msg.type, ==, KSM_MSG_ANSWERS);
    g_assert_cmpuint(reply.msg.count, ==, TILES);
    for (i = 0; i < TILES; i++) {
        KsmAnswer answer;

        memcpy(&answer, hog->bulk + KSM_BULK_REPLY + i * sizeof(answer),
               sizeof(answer));
        g_assert_cmpuint(answer.kind, ==, KSM_ANSWER_SLOT);
        proto_client_assert_slot(hog, answer.slot, 1 + i);
    }
    g_assert_cmpuint(proto_client_stats(witness).pages_shared, ==,
                     TILES * TILE_SLOTS);
}

/* A client that ends in the middle of it leaves nothing behind. */
static gboolean nothing_is_left(gpointer witness)
{
    KsmMsgGroup group = proto_client_stats(witness);

    return group.pages_shared == 0 && group.sessions == 1;
}

static void tiles_run(gpointer opaque)
{
    const KsmTestBroker *broker = opaque;
    ProtoClient *hog = proto_client_new(broker->socket, "g", "hog", LONG_PAGES);

    put_tiles(hog, 1);
    proto_child_report(1);
    proto_child_await();
    send_plain(hog, KSM_MSG_PUBLISH, TILES);
    proto_child_report(2);
    proto_child_await();
}

static void test_tiles_cut_off(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    g_autoptr(ProtoClient) witness = proto_client_new(broker->socket, "g",
                                                      "witness", 64);
    ProtoChild *child = proto_child_new(tiles_run, broker);

    g_assert_cmpuint(proto_child_wait(child), ==, 1);
    kill(broker->pid, SIGSTOP);
    proto_child_go_on(child);
    g_assert_cmpuint(proto_child_wait(child), ==, 2);
    kill(broker->pid, SIGCONT);
    proto_child_kill(child);
    g_assert_cmpfloat(ksm_test_wait(nothing_is_left, witness, 10), >=, 0);
    g_assert_true(ksm_test_broker_stop(broker));
}

/* The same again and again: what it costs another client. */
static void hog_run(gpointer opaque)
{
    const KsmTestBroker *broker = opaque;
    ProtoClient *hog = proto_client_new(broker->socket, "g", "hog", LONG_PAGES);

    put_tiles(hog, 1);
    proto_child_report(1);
    for (;;) {
        const KsmRange range = { 0, TILES * TILE_SLOTS };

        proto_client_request(hog, KSM_MSG_PUBLISH, TILES);
        memcpy(hog->bulk, &range, sizeof(range));
        proto_client_request(hog, KSM_MSG_RELEASE, 1);
        put_tiles(hog, 1);
    }
}

static gint compare_doubles(gconstpointer a, gconstpointer b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static void test_repeated(void)
{
    enum { ASKED = 400 };
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    g_autoptr(ProtoClient) witness = proto_client_new(broker->socket, "g",
                                                      "witness", 64);
    ProtoChild *child = proto_child_new(hog_run, broker);
    double took[ASKED];
    guint i;

    g_assert_cmpuint(proto_child_wait(child), ==, 1);
    for (i = 0; i < ASKED; i++) {
        double start = ksm_test_now();

        proto_client_stats(witness);
        took[i] = ksm_test_now() - start;
    }
    qsort(took, ASKED, sizeof(*took),
          (int (*)(const void *, const void *))compare_doubles);
    g_test_message("beside tiles without end: %.2f ms median, %.2f ms 99 %%, "
                   "%.2f ms the longest",
                   took[ASKED / 2] * 1e3, took[ASKED * 99 / 100] * 1e3,
                   took[ASKED - 1] * 1e3);
    g_assert_cmpfloat(took[ASKED - 1], <, ANSWER_SECONDS);
    proto_child_kill(child);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/quota/flood", test_flood);
    g_test_add_func("/quota/limits", test_limits);
    g_test_add_func("/quota/control", test_control);
    g_test_add_func("/quota/turns", test_turns);
    g_test_add_func("/quota/tiles", test_tiles);
    g_test_add_func("/quota/tiles-cut-off", test_tiles_cut_off);
    g_test_add_func("/quota/repeated", test_repeated);
    return g_test_run();
}
