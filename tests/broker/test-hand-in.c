/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-hand-in.c: clients that hand in a file that is no store, or claim to map
 * slots that they do not.  Each must get an error and be disconnected; the
 * broker keeps nothing of it, and no other client may notice.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker-proc.h"
#include "proto-child.h"
#include "proto-client.h"
#include "require.h"

#define ERROR_INVALID 4u
#define ERROR_LIMIT 5u
#define ERROR_PROTOCOL 7u
#define ROSTER_BYTES (513 * 4096)
#define OLD_ROSTER_BYTES (129 * 4096)
#define SLOT_BYTES (4096 * 4096)
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

/* A store in everything but what is asked to be wrong. */
typedef struct Fake {
    const char *name;
    off_t bytes;
    int seals;
    mode_t mode;
    uid_t owner;
    int flags;
} Fake;

static const Fake good = {
    NULL, SLOT_BYTES + ROSTER_BYTES, SEALS, 0400, 0, O_RDONLY,
};

static int fake_open(Fake fake)
{
    g_autofree char *name = g_strdup_printf("ksm-store:%u:h", geteuid());
    g_autofree char *path = NULL;
    int fd = memfd_create(fake.name != NULL ? fake.name : name,
                          MFD_CLOEXEC | MFD_ALLOW_SEALING),
        opened;

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, fake.bytes), ==, 0);
    g_assert_cmpint(fcntl(fd, F_ADD_SEALS, fake.seals), ==, 0);
    path = g_strdup_printf("/proc/self/fd/%d", fd);
    opened = open(path, fake.flags | O_CLOEXEC);
    g_assert_cmpint(opened, >=, 0);
    g_assert_cmpint(fchmod(fd, fake.mode), ==, 0);
    if (fake.owner != 0 && fchown(fd, fake.owner, 0) != 0) {
        g_test_message("not root: the owner stays right");
    }
    close(fd);
    return opened;
}

static int open_nothing_wrong(void)
{
    return fake_open(good);
}

static int open_seals(void)
{
    Fake fake = good;

    fake.seals = F_SEAL_SHRINK | F_SEAL_GROW;
    return fake_open(fake);
}

static int open_more_seals(void)
{
    Fake fake = good;

    fake.seals |= F_SEAL_FUTURE_WRITE;
    return fake_open(fake);
}

static int open_mode(void)
{
    Fake fake = good;

    fake.mode = 0644;
    return fake_open(fake);
}

static int open_owner(void)
{
    Fake fake = good;

    fake.owner = 1;
    return fake_open(fake);
}

static int open_size(void)
{
    Fake fake = good;

    fake.bytes += 4096;
    return fake_open(fake);
}

static int open_roster_only(void)
{
    Fake fake = good;

    fake.bytes = ROSTER_BYTES;
    return fake_open(fake);
}

static int open_old_size(void)
{
    Fake fake = good;

    fake.bytes = SLOT_BYTES + OLD_ROSTER_BYTES;
    return fake_open(fake);
}

static int open_writable(void)
{
    Fake fake = good;

    fake.flags = O_RDWR;
    return fake_open(fake);
}

static int open_bulk(void)
{
    Fake fake = good;

    fake.name = "ksm-bulk";
    return fake_open(fake);
}

static int open_other_group(void)
{
    Fake fake = good;

    fake.name = "ksm-store:0:g";
    return fake_open(fake);
}

static int open_longer_name(void)
{
    Fake fake = good;

    fake.name = "ksm-store:0:h2";
    return fake_open(fake);
}

static int open_file(void)
{
    return open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
}

static int open_null(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static int open_directory(void)
{
    return open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int open_path(void)
{
    int fd = fake_open(good);
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
    int opened = open(path, O_PATH | O_CLOEXEC);

    close(fd);
    return opened;
}

static int open_pipe(void)
{
    int fds[2];

    g_assert_cmpint(pipe(fds), ==, 0);
    close(fds[1]);
    return fds[0];
}

static int open_socket(void)
{
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), ==, 0);
    close(fds[1]);
    return fds[0];
}

typedef struct Row {
    const char *name;
    int (*open)(void);
    const char *reason;
} Row;

static const Row rows[] = {
    { "nothing-wrong", open_nothing_wrong, "roster is of another version" },
    { "old-size", open_old_size, "roster is of another version" },
    { "seals", open_seals, "other seals" },
    { "more-seals", open_more_seals, "other seals" },
    { "mode", open_mode, "another mode" },
    { "owner", open_owner, "another owner" },
    { "size", open_size, "it has another size" },
    { "roster-only", open_roster_only, "it has another size" },
    { "writable", open_writable, "open for writing" },
    { "bulk", open_bulk, "it does not have the name of this group" },
    { "other-group", open_other_group,
      "it does not have the name of this group" },
    { "longer-name", open_longer_name,
      "it does not have the name of this group" },
    { "file", open_file, "it is not a memfd" },
    { "null", open_null, "it is not a memfd" },
    { "directory", open_directory, "it is not a memfd" },
    { "path", open_path, "it is not a memfd" },
    { "pipe", open_pipe, "it is not a memfd" },
    { "socket", open_socket, "it is not a memfd" },
};

static guint count_fds(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd", (int)pid);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    guint count = 0;

    g_assert_nonnull(dir);
    while (g_dir_read_name(dir) != NULL) {
        count++;
    }
    return count;
}

typedef struct Fixture {
    KsmTestBroker *broker;
    ProtoClient *witness;
    ProtoChild *bystander; /* instead of a witness */
    guint fds;
    const Row *row;
} Fixture;

/* Is not disturbed by what happens meanwhile. */
static void bystander_run(gpointer socket)
{
    ProtoClient *client = proto_client_new(socket, "g", "witness", 100);

    proto_client_publish(client, 1, 1, 0);
    proto_child_report(1);
    proto_child_await();
    g_assert_cmpint(proto_client_lookup(client, 50, 1).kind, ==,
                    KSM_ANSWER_SLOT);
}

/* The witness is this process, or a child: then other children may name other
 * groups. */
static void fixture_open(Fixture *fixture, gboolean in_child)
{
    *fixture = (Fixture) { .broker = NULL };
    fixture->broker = ksm_test_broker_new(NULL);
    if (in_child) {
        fixture->bystander = proto_child_new(bystander_run,
                                             fixture->broker->socket);
        g_assert_cmpuint(proto_child_wait(fixture->bystander), ==, 1);
    } else {
        fixture->witness = proto_client_new(fixture->broker->socket, "g",
                                            "witness", 100);
        proto_client_publish(fixture->witness, 1, 1, 0);
    }
    fixture->fds = count_fds(fixture->broker->pid);
}

static gboolean no_more_fds(gpointer opaque)
{
    const Fixture *fixture = opaque;

    return count_fds(fixture->broker->pid) <= fixture->fds;
}

static void fixture_close(Fixture *fixture)
{
    g_assert_cmpfloat(ksm_test_wait(no_more_fds, fixture, 10), >=, 0);
    if (fixture->bystander != NULL) {
        proto_child_free(fixture->bystander);
    } else {
        g_assert_cmpint(proto_client_lookup(fixture->witness, 50, 1).kind, ==,
                        KSM_ANSWER_SLOT);
        proto_client_free(fixture->witness);
    }
    g_assert_true(ksm_test_broker_stop(fixture->broker));
    ksm_test_broker_free(fixture->broker);
}

static void expect_error(ProtoClient *client, guint32 code, const char *reason)
{
    ProtoReply reply;

    g_assert_cmpuint(proto_client_receive(client, &reply), ==,
                     sizeof(KsmMsgError));
    g_assert_cmpuint(reply.msg.type, ==, KSM_MSG_ERROR);
    if (strstr(reply.error.reason, reason) == NULL) {
        g_error("told '%s', not '%s'", reply.error.reason, reason);
    }
    g_assert_cmpuint(reply.error.code, ==, code);
    g_assert_cmpuint(proto_client_receive(client, &reply), ==, 0);
}

static void send_hello(ProtoClient *client, const char *group, const int *fds,
                       guint count)
{
    KsmMsgHello hello = {
        .msg = { .type = KSM_MSG_HELLO },
        .magic = KSM_PROTO_MAGIC,
        .version = KSM_PROTO_VERSION,
        .pages = 100,
        .name = "villain",
        .node = KSM_NODE_ANY,
        .engine = proto_engine(1),
    };

    g_strlcpy(hello.group, group, sizeof(hello.group));
    g_assert_true(
        proto_client_send_fds(client, &hello, sizeof(hello), fds, count));
}

static void row_in_child(gpointer opaque)
{
    const Fixture *fixture = opaque;
    ProtoClient *client = proto_client_connect(fixture->broker->socket);
    int fd = fixture->row->open();

    g_assert_cmpint(fd, >=, 0);
    send_hello(client, "h", &fd, 1);
    expect_error(client, ERROR_INVALID, fixture->row->reason);
    /* without it, it is welcome */
    proto_client_free(client);
    client = proto_client_new(fixture->broker->socket, "h", "villain", 100);
    g_assert_cmpuint(client->welcome.outcome, ==, KSM_WELCOME_NEW);
    proto_child_report(1);
    proto_child_await();
}

static void test_rows(void)
{
    Fixture fixture;
    guint i;

    fixture_open(&fixture, TRUE);
    for (i = 0; i < G_N_ELEMENTS(rows); i++) {
        ProtoChild *child;

        g_test_message("%s", rows[i].name);
        if (rows[i].open == open_owner && geteuid() != 0) {
            continue; /* cannot give a file away */
        }
        fixture.row = &rows[i];
        child = proto_child_new(row_in_child, &fixture);
        g_assert_cmpuint(proto_child_wait(child), ==, 1);
        proto_child_free(child);
        g_assert_cmpfloat(ksm_test_wait(no_more_fds, &fixture, 10), >=, 0);
    }
    fixture_close(&fixture);
}

/* One with HELLO, and none with anything else. */
static void test_too_many(void)
{
    g_autoptr(ProtoClient) two = NULL, late = NULL, empty = NULL;
    KsmMsg results = { .type = KSM_MSG_FETCH_RESULTS };
    Fixture fixture;
    int fds[2];

    fixture_open(&fixture, FALSE);
    fds[0] = open_nothing_wrong();
    fds[1] = open_null();
    two = proto_client_connect(fixture.broker->socket);
    send_hello(two, "h", fds, 2);
    expect_error(two, ERROR_PROTOCOL, "other control data");
    late = proto_client_new(fixture.broker->socket, "g", "late", 100);
    g_assert_true(
        proto_client_send_fds(late, &results, sizeof(results), fds, 1));
    expect_error(late, ERROR_PROTOCOL, "other control data");
    empty = proto_client_connect(fixture.broker->socket);
    g_assert_true(proto_client_send_fds(empty, "", 0, fds, 1));
    expect_error(empty, ERROR_PROTOCOL, "a packet of 0 bytes");
    close(fds[0]);
    close(fds[1]);
    g_clear_pointer(&two, proto_client_free);
    g_clear_pointer(&late, proto_client_free);
    g_clear_pointer(&empty, proto_client_free);
    fixture_close(&fixture);
}

/* Whether a descriptor is taken at present. */
static gboolean takes_descriptors(gpointer opaque)
{
    const Fixture *fixture = opaque;
    g_autoptr(ProtoClient) client =
        proto_client_connect(fixture->broker->socket);
    int fd = open_nothing_wrong();
    ProtoReply reply;

    send_hello(client, "g", &fd, 1);
    close(fd);
    g_assert_cmpuint(proto_client_receive(client, &reply), ==,
                     sizeof(KsmMsgError));
    g_assert_true(reply.error.code == ERROR_LIMIT ||
                  reply.error.code == ERROR_INVALID);
    return reply.error.code == ERROR_INVALID;
}

/* A connection to itself with data under way that it waits for at its end. */
static int open_lingering(void)
{
    struct linger linger = { 1, 3 };
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    socklen_t length = sizeof(address);
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    static char data[65536];

    if (bind(listening, (struct sockaddr *)&address, length) != 0 ||
        listen(listening, 1) != 0 ||
        getsockname(listening, (struct sockaddr *)&address, &length) != 0 ||
        connect(fd, (struct sockaddr *)&address, length) != 0) {
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    while (send(fd, data, sizeof(data), MSG_DONTWAIT) > 0) {
    }
    return fd;
}

/*
 * A descriptor whose close(2) takes its time holds nobody up; until it is over
 * none is taken of that user.
 */
static void test_slow_to_close(void)
{
    g_autoptr(ProtoClient) client = NULL;
    Fixture fixture;
    double start, took;
    int fd = open_lingering();

    if (fd < 0) {
        g_test_skip("no TCP on the loopback");
        return;
    }
    fixture_open(&fixture, FALSE);
    client = proto_client_connect(fixture.broker->socket);
    send_hello(client, "g", &fd, 1);
    start = ksm_test_now();
    close(fd); /* the broker's is the last one then */
    expect_error(client, ERROR_INVALID, "already uses another store");
    proto_client_stats(fixture.witness);
    took = ksm_test_now() - start;
    g_test_message("answered after %.3f s", took);
    g_assert_cmpfloat(ksm_test_wait(takes_descriptors, &fixture, 20), >=, 0);
    g_test_message("closed after %.1f s", ksm_test_now() - start);
    g_assert_cmpfloat(ksm_test_now() - start, >, 1);
    g_clear_pointer(&client, proto_client_free);
    fixture_close(&fixture);
}

/* RECLAIM: what is not true. */
typedef struct Lie {
    const char *name;
    guint32 page, slot, count;
    const char *reason;
} Lie;

static const Lie lies[] = {
    { "hole", 20, 1000, 1, "slot 1000, which was never given" },
    { "into-a-hole", 20, 0, 11, "slot 10, which was never given" },
    { "slot-beyond", 20, 0x3fffffff, 1, "RECLAIM of 1 slots from 1073741823" },
    { "slot-wraps", 20, 0xffffffff, 2, "RECLAIM of 2 slots from 4294967295" },
    { "page-beyond", 99, 0, 2, "range 0: 2 pages from 99" },
    { "page-wraps", 0xffffffff, 0, 1, "range 0: 1 pages" },
    { "count", 0, 0, 0xffffffff, "range 0: 4294967295 pages" },
    { "bound", 0, 1, 1, "page 0, which is bound" },
};

typedef struct FakeBroker {
    const Fixture *fixture;
    const Lie *lie; /* NULL: other requests instead of RECLAIM */
} FakeBroker;

static void fake_broker_run(gpointer opaque)
{
    const FakeBroker *fake = opaque;
    ProtoClient *client = proto_client_new(fake->fixture->broker->socket, "g",
                                           "fake", 100),
                *before = client;
    ProtoReply reply;

    proto_client_lookup(client, 50, 1);
    proto_child_report(1);
    proto_child_await();
    client = proto_client_connect(fake->fixture->broker->socket);
    client->engine = before->engine;
    reply = proto_client_hello_with(client, "g", "fake", 100, before->store_fd);
    g_assert_cmpuint(reply.msg.type, ==, KSM_MSG_WELCOME);
    g_assert_cmpuint(reply.welcome.outcome, ==, KSM_WELCOME_HANDED);
    if (fake->lie != NULL) {
        reply = proto_client_hold(client, 0, 0, 1);
        g_assert_cmpuint(reply.msg.type, ==, KSM_MSG_OK);
        reply = proto_client_hold(client, fake->lie->page, fake->lie->slot,
                                  fake->lie->count);
    } else {
        KsmMsg msg = { .type = KSM_MSG_FETCH_RESULTS };

        proto_client_send(client, &msg, sizeof(msg));
        proto_client_receive(client, &reply);
    }
    g_assert_cmpuint(reply.msg.type, ==, KSM_MSG_ERROR);
    g_assert_cmpuint(reply.error.code, ==, ERROR_PROTOCOL);
    if (strstr(reply.error.reason, fake->lie != NULL ?
                                       fake->lie->reason :
                                       "before the end of RECLAIM") == NULL) {
        g_error("told '%s'", reply.error.reason);
    }
    proto_child_report(2);
    proto_child_await();
}

static gboolean ten_are_left(gpointer witness)
{
    KsmMsgGroup group = proto_client_stats(witness);

    return group.pages_shared == 10 && group.pages_sharing == 10;
}

/* Others share on while it lives; at its end all is as it was. */
static void lie_once(const Lie *lie)
{
    Fixture fixture;
    FakeBroker fake = { &fixture, lie };
    ProtoChild *child;
    ProtoClient *before;
    guint32 first, i;

    fixture_open(&fixture, FALSE);
    before = fixture.witness;
    first = proto_client_lookup(before, 90, 1).slot;
    for (i = 1; i < 10; i++) {
        g_assert_cmpuint(proto_client_publish(before, 1 + i, 1 + i, 0).slot, ==,
                         first + i);
    }
    proto_client_range(before, KSM_MSG_RELEASE, 90, 1);
    g_assert_cmpuint(first, ==, 0);
    child = proto_child_new(fake_broker_run, &fake);
    proto_child_wait(child);
    ksm_test_broker_kill(fixture.broker);
    ksm_test_broker_start(fixture.broker);
    fixture.witness = proto_client_connect(fixture.broker->socket);
    fixture.witness->engine = before->engine;
    g_assert_cmpuint(proto_client_hello_with(fixture.witness, "g", "witness",
                                             100, before->store_fd)
                         .welcome.outcome,
                     ==, KSM_WELCOME_HANDED);
    proto_client_free(before);
    proto_child_go_on(child);
    g_assert_cmpuint(proto_child_wait(child), ==, 2);
    g_assert_cmpuint(proto_client_hold(fixture.witness, 1, 0, 10).msg.type, ==,
                     KSM_MSG_OK);
    g_assert_cmpuint(proto_client_hold(fixture.witness, 0, 0, 0).msg.type, ==,
                     KSM_MSG_OK);
    g_assert_cmpuint(proto_client_stats(fixture.witness).pages_shared, ==, 10);
    proto_child_free(child);
    g_assert_cmpfloat(ksm_test_wait(ten_are_left, fixture.witness, 10), >=, 0);
    fixture.fds = count_fds(fixture.broker->pid);
    fixture_close(&fixture);
}

static void test_lies(void)
{
    guint i;

    for (i = 0; i < G_N_ELEMENTS(lies); i++) {
        g_test_message("%s", lies[i].name);
        lie_once(&lies[i]);
    }
    g_test_message("other requests");
    lie_once(NULL);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/hand-in/rows", test_rows);
    g_test_add_func("/hand-in/too-many", test_too_many);
    g_test_add_func("/hand-in/slow-to-close", test_slow_to_close);
    g_test_add_func("/hand-in/lies", test_lies);
    return g_test_run();
}
