/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test-request.c: packets in, results out: requests need no socket. */
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker.h"
#include "clients/broker-limits.h"
#include "clients/process.h"
#include "clients/request.h"
#include "clients/session.h"
#include "error.h"

#define PAGES 100000u /* some steps of a WITHDRAW, of a RELEASE */

static KsmBroker *broker;
static KsmProcess *process;
static guint readied, closed;
static KsmRequestState *last; /* that a hook was called with */

static void on_ready(KsmRequestState *state)
{
    readied++;
    last = state;
}

/* What connection.c does, as far as a request can see it. */
static void state_end(KsmRequestState *state)
{
    KsmSession *session = state->session;

    g_queue_remove(&broker->connections, state);
    ksm_request_clear(state);
    state->session = NULL;
    if (session != NULL) {
        ksm_session_detach(session);
    }
    process->connections--;
}

static void on_wake(KsmRequestState *state)
{
    (void)state;
}

static void on_close(KsmRequestState *state)
{
    closed++;
    last = state;
    state_end(state);
}

static void state_begin(KsmRequestState *state)
{
    *state = (KsmRequestState) { .broker = broker, .process = process };
    process->connections++;
    g_queue_push_tail(&broker->connections, state);
}

static int listening(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    g_assert_cmpint(bind(fd, (struct sockaddr *)&address,
                         sizeof(address.sun_family)),
                    ==, 0);
    g_assert_cmpint(listen(fd, 8), ==, 0);
    return fd;
}

static void make_broker(void)
{
    KsmBrokerLimits limits;
    int fds[2];

    ksm_log_set_level("error");
    ksm_broker_default_limits(&limits);
    broker = ksm_broker_new(&limits, listening(), -1, 0, NULL, NULL);
    broker->ready = on_ready;
    broker->close = on_close;
    broker->wake = on_wake;
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), ==, 0);
    process = ksm_process_of_peer(broker, fds[1], NULL);
    g_assert_nonnull(process);
    process->connections++; /* it stays */
    close(fds[0]);
    close(fds[1]);
}

static void reply_free(KsmReply *reply)
{
    while (reply->fd_count > 0) {
        close(reply->fds[--reply->fd_count]);
    }
    reply->bytes = 0;
}

/* An engine of its own for each number. */
static KsmRequestResult say_hello(KsmRequestState *state, guint8 engine,
                                  KsmReply *reply)
{
    KsmMsgHello hello = {
        .msg = { .type = KSM_MSG_HELLO, .serial = 40 },
        .magic = KSM_PROTO_MAGIC,
        .version = KSM_PROTO_VERSION,
        .pages = PAGES,
        .group = "g",
        .name = "vm/ram",
        .node = KSM_NODE_ANY,
    };

    memset(&hello.engine, engine, sizeof(hello.engine));
    return ksm_request_handle(state, (const guint8 *)&hello, sizeof(hello), -1,
                              reply, NULL);
}

static KsmRequestResult say(KsmRequestState *state, KsmMsgType type,
                            guint count, KsmReply *reply, GError **errp)
{
    KsmMsg msg = { .type = type, .count = count, .serial = 41 };

    return ksm_request_handle(state, (const guint8 *)&msg, sizeof(msg), -1,
                              reply, errp);
}

static void expect_reply(KsmReply *reply, KsmMsgType type, guint32 serial)
{
    KsmMsg msg;

    g_assert_cmpuint(reply->bytes, >=, sizeof(msg));
    memcpy(&msg, reply->packet, sizeof(msg));
    g_assert_cmpuint(msg.type, ==, type);
    g_assert_cmpuint(msg.serial, ==, serial);
    g_assert_cmpuint(reply->fd_count, ==, type == KSM_MSG_WELCOME ? 2 : 0);
    reply_free(reply);
}

static void expect_nothing(const KsmReply *reply)
{
    g_assert_cmpuint(reply->bytes, ==, 0);
    g_assert_cmpuint(reply->fd_count, ==, 0);
}

static void begin(KsmRequestState *state, guint8 engine)
{
    KsmReply reply = { .bytes = 0 };

    state_begin(state);
    g_assert_cmpint(say_hello(state, engine, &reply), ==, KSM_REQUEST_REPLY);
    expect_reply(&reply, KSM_MSG_WELCOME, 40);
    g_assert_true(state->session->served_by == state);
}

/* Listings of some pages, which go when the connection does. */
static void list_pages(KsmRequestState *state)
{
    KsmReply reply = { .bytes = 0 };
    KsmLookup items[4];
    guint i;

    memset(items, 0, sizeof(items));
    for (i = 0; i < G_N_ELEMENTS(items); i++) {
        items[i].page = i;
        memset(&items[i].fingerprint, (int)i + 1, sizeof(items[i].fingerprint));
    }
    memcpy(state->bulk + KSM_BULK_REQUEST, items, sizeof(items));
    g_assert_cmpint(say(state, KSM_MSG_LOOKUP, 4, &reply, NULL), ==,
                    KSM_REQUEST_REPLY);
    expect_reply(&reply, KSM_MSG_ANSWERS, 41);
    g_assert_cmpuint(state->session->member->listed, ==, 4);
}

static void test_answers(void)
{
    KsmRequestState state;

    begin(&state, 1);
    list_pages(&state);
    state_end(&state);
}

/* Also of descriptors. */
static void test_failure_has_no_reply(void)
{
    KsmRequestState state;
    KsmReply reply = { .bytes = 0 };
    g_autoptr(GError) error = NULL;

    begin(&state, 2);
    g_assert_cmpint(say_hello(&state, 2, &reply), ==, KSM_REQUEST_FAILED);
    expect_nothing(&reply);
    g_assert_cmpint(say(&state, KSM_MSG_LOOKUP, KSM_BATCH_LOOKUPS + 1, &reply,
                        &error),
                    ==, KSM_REQUEST_FAILED);
    g_assert_error(error, KSM_ERROR, KSM_ERROR_PROTOCOL);
    expect_nothing(&reply);
    state_end(&state);
}

/* All of the session's pages: one reply, when all is done. */
static void test_steps_end_in_one_reply(gconstpointer type)
{
    KsmRequestState state;
    KsmReply reply = { .bytes = 0 };
    KsmRange range = { 0, PAGES };
    KsmRequestResult result;
    guint steps = 0;

    begin(&state, (guint8)(100 + GPOINTER_TO_INT(type)));
    memcpy(state.bulk + KSM_BULK_REQUEST, &range, sizeof(range));
    result = say(&state, (KsmMsgType)GPOINTER_TO_INT(type), 1, &reply, NULL);
    while (result == KSM_REQUEST_MORE) {
        expect_nothing(&reply);
        result = ksm_request_step(&state, &reply, NULL);
        steps++;
    }
    g_assert_cmpint(result, ==, KSM_REQUEST_REPLY);
    expect_reply(&reply, KSM_MSG_OK, 41);
    g_assert_cmpuint(steps, >, 2);
    g_assert_null(state.job.ranges);
    state_end(&state);
}

/* What is at work when a connection ends is forgotten with it. */
static void test_end_between_steps(void)
{
    KsmRequestState state;
    KsmReply reply = { .bytes = 0 };
    KsmRange range = { 0, PAGES };

    begin(&state, 4);
    memcpy(state.bulk + KSM_BULK_REQUEST, &range, sizeof(range));
    g_assert_cmpint(say(&state, KSM_MSG_WITHDRAW, 1, &reply, NULL), ==,
                    KSM_REQUEST_MORE);
    state_end(&state);
    g_assert_null(state.job.ranges);
    g_assert_null(state.bulk);
    expect_nothing(&reply);
}

static void run_loop(void)
{
    while (g_main_context_iteration(NULL, FALSE)) {
    }
}

/*
 * An engine that comes back before its listings have gone waits, and is told
 * once; its former connection, if it is still known, is closed, and no other.
 */
static void test_hello_waits(void)
{
    KsmRequestState other, former, state;
    KsmReply reply = { .bytes = 0 };

    begin(&other, 5);
    begin(&former, 6);
    list_pages(&former);
    readied = closed = 0;
    state_begin(&state);
    g_assert_cmpint(say_hello(&state, 6, &reply), ==, KSM_REQUEST_LATER);
    expect_nothing(&reply);
    g_assert_cmpuint(closed, ==, 1);
    g_assert_true(last == &former);
    g_assert_null(former.session);
    g_assert_true(state.session->served_by == &state);
    g_assert_cmpuint(readied, ==, 0);
    run_loop();
    g_assert_cmpuint(readied, ==, 1);
    g_assert_true(last == &state);
    g_assert_cmpint(ksm_request_welcome(&state, &reply, NULL), ==,
                    KSM_REQUEST_REPLY);
    expect_reply(&reply, KSM_MSG_WELCOME, 40);
    /* Who has been answered is not readied again, whoever asks for it. */
    ksm_broker_welcome(broker, NULL);
    run_loop();
    g_assert_cmpuint(readied, ==, 1);
    g_assert_cmpuint(closed, ==, 1);
    state_end(&state);
    state_end(&other);
}

/* Nobody is left to be told when the HELLO that waited has gone. */
static void test_waiting_hello_ends(void)
{
    KsmRequestState former, state;
    KsmReply reply = { .bytes = 0 };

    begin(&former, 7);
    list_pages(&former);
    state_end(&former);
    readied = closed = 0;
    state_begin(&state);
    g_assert_cmpint(say_hello(&state, 7, &reply), ==, KSM_REQUEST_LATER);
    state_end(&state);
    run_loop();
    g_assert_cmpuint(readied, ==, 0);
    g_assert_cmpuint(closed, ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    make_broker();
    g_test_add_func("/request/answers", test_answers);
    g_test_add_func("/request/failure-has-no-reply", test_failure_has_no_reply);
    g_test_add_data_func("/request/withdraw-ends-in-one-reply",
                         GINT_TO_POINTER(KSM_MSG_WITHDRAW),
                         test_steps_end_in_one_reply);
    g_test_add_data_func("/request/release-ends-in-one-reply",
                         GINT_TO_POINTER(KSM_MSG_RELEASE),
                         test_steps_end_in_one_reply);
    g_test_add_func("/request/end-between-steps", test_end_between_steps);
    g_test_add_func("/request/hello-waits", test_hello_waits);
    g_test_add_func("/request/waiting-hello-ends", test_waiting_hello_ends);
    return g_test_run();
}
