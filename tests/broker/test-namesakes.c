/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-namesakes.c: engines of one process that have the same name.
 *
 * Each must get its own session back, whichever connects first: an engine with
 * another's session would release what that one has mapped.  All of them are in
 * this process, as separate clients.
 */
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker-proc.h"
#include "host/identity.h"
#include "probe.h"
#include "proto-client.h"
#include "require.h"
#include "store/roster.h"
#include "store/store.h"

#define PAGES 100u
#define NAME "same/ram0"
#define OLD_SLOTS 4096u /* of the store of an older broker */

/* One of them, and what it has: its page n holds content n. */
typedef struct Engine {
    guint32 version, page, slot;
    KsmEngineId id;
    ProtoClient *client; /* NULL: not connected */
    int store_fd;        /* its open file, kept over connections */
} Engine;

static KsmWelcome connect_as(Engine *self, KsmTestBroker *broker, int fd)
{
    ProtoReply reply;

    self->client = proto_client_connect(broker->socket);
    self->client->version = self->version;
    self->client->engine = self->id;
    reply = proto_client_hello_with(self->client, "g", NAME, PAGES, fd);
    if (reply.msg.type != KSM_MSG_WELCOME) {
        g_error("refused: %s", reply.error.reason);
    }
    if (self->version > KSM_PROTO_NAMELESS) {
        g_assert_true(ksm_engine_id_equal(&reply.welcome.engine, &self->id));
    }
    return reply.welcome.outcome;
}

static void engine_new(Engine *self, KsmTestBroker *broker, guint32 version,
                       guint32 page)
{
    *self = (Engine) { .version = version, .page = page };
    if (version > KSM_PROTO_NAMELESS) {
        self->id = proto_engine(page);
    }
    g_assert_cmpuint(connect_as(self, broker, -1), ==, KSM_WELCOME_NEW);
    self->store_fd = dup(self->client->store_fd);
    self->slot = proto_client_publish(self->client, page, page, 0).slot;
}

static void disconnect(Engine *self)
{
    g_clear_pointer(&self->client, proto_client_free);
}

static void engine_end(Engine *self)
{
    if (self->client != NULL) {
        disconnect(self);
    }
    if (self->store_fd >= 0) {
        close(self->store_fd);
        self->store_fd = -1;
    }
}

/* As an engine does that has been told that its session is resumed. */
static void release_unmapped(Engine *self)
{
    proto_client_range(self->client, KSM_MSG_RELEASE, 0, self->page);
    proto_client_range(self->client, KSM_MSG_RELEASE, self->page + 1,
                       PAGES - self->page - 1);
}

static gboolean both_are_orphans(gpointer witness)
{
    /* A session that is connected, or was and has nothing, is no orphan; they
       are counted as long as they have something. */
    return proto_client_stats(witness).sessions == 3;
}

static void assert_shared(ProtoClient *witness, guint64 shared)
{
    g_assert_cmpuint(proto_client_stats(witness).pages_shared, ==, shared);
}

/* Both lose their connection; they come back, the second one first. */
static void resume_both(guint32 version)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    g_autoptr(ProtoClient) witness = proto_client_new(broker->socket, "g",
                                                      "witness", PAGES);
    Engine one, two;
    guint turn;

    engine_new(&one, broker, version, 10);
    engine_new(&two, broker, version, 20);
    for (turn = 0; turn < 4; turn++) {
        Engine *first = turn % 2 ? &one : &two;
        Engine *second = turn % 2 ? &two : &one;

        disconnect(&one);
        disconnect(&two);
        g_assert_cmpfloat(ksm_test_wait(both_are_orphans, witness, 10), >=, 0);
        g_assert_cmpuint(connect_as(first, broker, first->store_fd), ==,
                         KSM_WELCOME_RESUMED);
        release_unmapped(first);
        assert_shared(witness, 2);
        g_assert_cmpuint(connect_as(second, broker, second->store_fd), ==,
                         KSM_WELCOME_RESUMED);
        release_unmapped(second);
        assert_shared(witness, 2);
        proto_client_assert_slot(witness, one.slot, 10);
        proto_client_assert_slot(witness, two.slot, 20);
    }
    engine_end(&one);
    engine_end(&two);
}

static void test_resumed(void)
{
    resume_both(KSM_PROTO_VERSION);
}

/* Older than numbers: by the open file that each was given. */
static void test_resumed_nameless(void)
{
    resume_both(KSM_PROTO_NAMELESS);
    resume_both(KSM_PROTO_OLDEST);
}

/* By the other's open file, or by none, nothing is resumed. */
static void test_nameless_in_doubt(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    g_autoptr(ProtoClient) witness = proto_client_new(broker->socket, "g",
                                                      "witness", PAGES);
    Engine one, two, later = { .version = KSM_PROTO_NAMELESS, .page = 1 };

    engine_new(&one, broker, KSM_PROTO_NAMELESS, 10);
    disconnect(&one);
    /* alone by its name, but it is not known to be that one */
    g_assert_cmpuint(connect_as(&later, broker, -1), ==, KSM_WELCOME_NEW);
    release_unmapped(&later);
    assert_shared(witness, 1);
    g_assert_cmpuint(connect_as(&one, broker, -1), ==, KSM_WELCOME_NEW);
    release_unmapped(&one);
    assert_shared(witness, 1);
    disconnect(&one);
    engine_new(&two, broker, KSM_PROTO_NAMELESS, 20);
    g_assert_cmpuint(connect_as(&one, broker, two.store_fd), ==,
                     KSM_WELCOME_NEW);
    assert_shared(witness, 2);
    engine_end(&one);
    engine_end(&two);
    later.store_fd = -1;
    engine_end(&later);
}

/* The end of its former connection is unread when an engine comes back. */
static void test_end_not_noticed(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    ProtoClient *former;
    ProtoReply reply;
    Engine one;

    engine_new(&one, broker, KSM_PROTO_VERSION, 10);
    former = one.client;
    g_assert_cmpuint(connect_as(&one, broker, one.store_fd), ==,
                     KSM_WELCOME_RESUMED);
    g_assert_cmpuint(proto_client_receive(former, &reply), ==, 0);
    proto_client_free(former);
    release_unmapped(&one);
    assert_shared(one.client, 1);
    engine_end(&one);
}

static void hold_own(Engine *self)
{
    g_assert_cmpuint(
        proto_client_hold(self->client, self->page, self->slot, 1).msg.type, ==,
        KSM_MSG_OK);
}

static void held_all(Engine *self)
{
    g_assert_cmpuint(proto_client_hold(self->client, 0, 0, 0).msg.type, ==,
                     KSM_MSG_OK);
}

static gboolean only_own_is_left(gpointer client)
{
    return proto_client_stats(client).pages_shared == 1;
}

/* To another broker: the one that was not there is nobody's to take. */
static void hand_over_both(guint32 version)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    Engine one, two,
        other = {
            .version = version,
            .page = 30,
            .store_fd = -1,
        };

    if (version > KSM_PROTO_NAMELESS) {
        other.id = proto_engine(30);
    }
    engine_new(&one, broker, version, 10);
    engine_new(&two, broker, version, 20);
    ksm_test_broker_kill(broker);
    disconnect(&one);
    disconnect(&two);
    ksm_test_broker_start(broker);
    g_assert_cmpuint(connect_as(&two, broker, two.store_fd), ==,
                     KSM_WELCOME_HANDED);
    hold_own(&two);
    held_all(&two);
    /* A third one has the store, too, but none of it. */
    g_assert_cmpuint(connect_as(&other, broker, -1), ==, KSM_WELCOME_NEW);
    other.store_fd = dup(other.client->store_fd);
    disconnect(&other);
    g_assert_cmpuint(connect_as(&other, broker, other.store_fd), !=,
                     KSM_WELCOME_HANDED);
    release_unmapped(&other);
    g_assert_cmpfloat(ksm_test_wait(only_own_is_left, two.client, 2.5), <, 0);
    g_assert_cmpuint(connect_as(&one, broker, one.store_fd), ==,
                     KSM_WELCOME_HANDED);
    hold_own(&one);
    /* It is cut off, and comes once more. */
    disconnect(&one);
    g_assert_cmpuint(connect_as(&one, broker, one.store_fd), ==,
                     KSM_WELCOME_HANDED);
    hold_own(&one);
    held_all(&one);
    release_unmapped(&one);
    release_unmapped(&two);
    assert_shared(one.client, 2);
    proto_client_assert_slot(one.client, one.slot, 10);
    proto_client_assert_slot(one.client, two.slot, 20);
    engine_end(&one);
    engine_end(&two);
    engine_end(&other);
}

static void test_handed_over(void)
{
    hand_over_both(KSM_PROTO_VERSION);
}

static void test_handed_over_nameless(void)
{
    hand_over_both(KSM_PROTO_NAMELESS);
}

/*
 * An engine ends while there is no broker, and its process lives on: what it
 * had is given back, but no sooner than its last mapping has gone.
 */
static void end_alone(gboolean before_start)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    Engine one, two;
    guint8 *mapped;

    engine_new(&one, broker, KSM_PROTO_VERSION, 10);
    engine_new(&two, broker, KSM_PROTO_VERSION, 20);
    ksm_test_broker_kill(broker);
    mapped = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, one.store_fd,
                  (off_t)one.slot * 4096);
    g_assert_true(mapped != MAP_FAILED);
    engine_end(&one);
    disconnect(&two);
    if (before_start) {
        munmap(mapped, 4096);
    }
    ksm_test_broker_start(broker);
    g_assert_cmpuint(connect_as(&two, broker, two.store_fd), ==,
                     KSM_WELCOME_HANDED);
    hold_own(&two);
    held_all(&two);
    if (!before_start) {
        g_assert_cmpfloat(ksm_test_wait(only_own_is_left, two.client, 2.5), <,
                          0);
        g_assert_cmpuint(mapped[0], ==, 10);
        munmap(mapped, 4096);
    }
    g_assert_cmpfloat(ksm_test_wait(only_own_is_left, two.client, 10), >=, 0);
    engine_end(&two);
}

static void test_ended_alone(void)
{
    end_alone(TRUE);
}

static void test_ended_alone_later(void)
{
    end_alone(FALSE);
}

/*
 * The same while the broker is there, but did not hear of it: and not before
 * the last mapping has gone, either.
 */
static void test_ended_unheard(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    Engine one, two;
    guint8 *mapped;

    engine_new(&one, broker, KSM_PROTO_VERSION, 10);
    engine_new(&two, broker, KSM_PROTO_VERSION, 20);
    mapped = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, one.store_fd,
                  (off_t)one.slot * 4096);
    g_assert_true(mapped != MAP_FAILED);
    engine_end(&one);
    g_assert_cmpfloat(ksm_test_wait(only_own_is_left, two.client, 2.5), <, 0);
    g_assert_cmpuint(mapped[0], ==, 10);
    munmap(mapped, 4096);
    g_assert_cmpfloat(ksm_test_wait(only_own_is_left, two.client, 10), >=, 0);
    engine_end(&two);
}

/* Told to begin anew, it still has what it had, as long as it maps it. */
static void test_begun_anew(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    g_autoptr(ProtoClient) witness = proto_client_new(broker->socket, "g",
                                                      "witness", PAGES);
    guint32 version = KSM_PROTO_NAMELESS;
    struct flock lock = { .l_type = F_RDLCK, .l_start = 1ll << 61, .l_len = 9 };
    Engine one;
    int fd;

    proto_client_publish(witness, 20, 20, 0);
    engine_new(&one, broker, version, 10);
    disconnect(&one);
    /* somebody else of the group puts all marks on what is his */
    g_assert_cmpint(fcntl(witness->store_fd, F_OFD_SETLK, &lock), ==, 0);
    g_assert_cmpuint(connect_as(&one, broker, one.store_fd), ==,
                     KSM_WELCOME_NEW);
    lock.l_type = F_UNLCK;
    g_assert_cmpint(fcntl(witness->store_fd, F_OFD_SETLK, &lock), ==, 0);
    fd = one.store_fd;
    one.store_fd = dup(one.client->store_fd);
    g_assert_cmpfloat(ksm_test_wait(only_own_is_left, witness, 2.5), <, 0);
    proto_client_assert_slot(witness, one.slot, 10);
    close(fd);
    g_assert_cmpfloat(ksm_test_wait(only_own_is_left, witness, 10), >=, 0);
    engine_end(&one);
}

/*
 * A store of a broker from before engines had numbers, which @count engines of
 * this process were given; slot n holds content n + 1.  It is theirs all by one
 * open file here: nothing in it tells them apart.
 */
static int old_store(guint count)
{
    g_autofree char *name = g_strdup_printf("ksm-store:%u:g", geteuid());
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING), opened;
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
    KsmRoster *roster;
    guint i;

    g_assert_cmpint(ftruncate(fd, (off_t)OLD_SLOTS * KSM_STORE_PAGE_BYTES +
                                      KSM_ROSTER_BYTES_1),
                    ==, 0);
    g_assert_cmpint(fcntl(fd, F_ADD_SEALS,
                          F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL),
                    ==, 0);
    roster = ksm_roster_new(fd, OLD_SLOTS, NULL);
    g_assert_nonnull(roster);
    for (i = 0; i < count; i++) {
        guint8 page[4096];

        proto_content(page, i + 1);
        g_assert_cmpint(pwrite(fd, page, sizeof(page), i * sizeof(page)), ==,
                        sizeof(page));
        ksm_roster_add(roster, ksm_identity_self(),
                       &(KsmEngineId) { { 0, 0 } });
    }
    ksm_roster_free(roster);
    g_assert_cmpint(fchmod(fd, 0400), ==, 0);
    opened = open(path, O_RDONLY | O_CLOEXEC);
    g_assert_cmpint(opened, >=, 0);
    close(fd);
    return opened;
}

static int open_anew(int fd)
{
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
    int opened = open(path, O_RDONLY | O_CLOEXEC);

    g_assert_cmpint(opened, >=, 0);
    return opened;
}

static void take_up_old(guint32 version)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    int store_fd = old_store(2);
    Engine one = { version, 10, 0, proto_engine(10), NULL, store_fd };
    Engine two = {
        version, 20, 1, proto_engine(20), NULL, open_anew(store_fd)
    };
    Engine nobody = { version,          30,   0,
                      proto_engine(30), NULL, open_anew(store_fd) };
    guint turn;

    for (turn = 0; turn < 3; turn++) {
        /* One that had it once, but holds nothing, is not taken for a claimant. */
        g_assert_cmpuint(connect_as(&nobody, broker, nobody.store_fd), ==,
                         KSM_WELCOME_HANDED);
        held_all(&nobody);
        g_assert_cmpuint(connect_as(&two, broker, two.store_fd), ==,
                         KSM_WELCOME_HANDED);
        hold_own(&two);
        held_all(&two);
        g_assert_cmpfloat(ksm_test_wait(only_own_is_left, two.client, 1.5), <,
                          0);
        g_assert_cmpuint(connect_as(&one, broker, one.store_fd), ==,
                         KSM_WELCOME_HANDED);
        hold_own(&one);
        held_all(&one);
        assert_shared(one.client, 2);
        /* From now on they are told apart. */
        disconnect(&one);
        disconnect(&two);
        g_assert_cmpuint(connect_as(&two, broker, two.store_fd), ==,
                         KSM_WELCOME_RESUMED);
        release_unmapped(&two);
        g_assert_cmpuint(connect_as(&one, broker, one.store_fd), ==,
                         KSM_WELCOME_RESUMED);
        release_unmapped(&one);
        assert_shared(one.client, 2);
        proto_client_assert_slot(one.client, 0, 1);
        proto_client_assert_slot(one.client, 1, 2);
        ksm_test_broker_kill(broker);
        disconnect(&one);
        disconnect(&two);
        disconnect(&nobody);
        ksm_test_broker_start(broker);
    }
    engine_end(&one);
    engine_end(&two);
    engine_end(&nobody);
}

/* The broker was upgraded, of VMs whose library was, or was not. */
static void test_old_roster(void)
{
    take_up_old(KSM_PROTO_VERSION);
}

static void test_old_roster_nameless(void)
{
    take_up_old(KSM_PROTO_NAMELESS);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/namesakes/resumed", test_resumed);
    g_test_add_func("/namesakes/resumed-nameless", test_resumed_nameless);
    g_test_add_func("/namesakes/nameless-in-doubt", test_nameless_in_doubt);
    g_test_add_func("/namesakes/end-not-noticed", test_end_not_noticed);
    g_test_add_func("/namesakes/handed-over", test_handed_over);
    g_test_add_func("/namesakes/handed-over-nameless",
                    test_handed_over_nameless);
    g_test_add_func("/namesakes/ended-alone", test_ended_alone);
    g_test_add_func("/namesakes/ended-alone-later", test_ended_alone_later);
    g_test_add_func("/namesakes/ended-unheard", test_ended_unheard);
    g_test_add_func("/namesakes/begun-anew", test_begun_anew);
    g_test_add_func("/namesakes/old-roster", test_old_roster);
    g_test_add_func("/namesakes/old-roster-nameless", test_old_roster_nameless);
    return g_test_run();
}
