/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test-fd-watch.c: what is called when descriptors are ready, and what not. */
#include <glib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/fd-watch.h"

#define PAIRS 200u /* more than are taken from the set at once */

/* One end of a pair of sockets, watched; the other end speaks. */
typedef struct End {
    KsmFdWatch watch;
    int fd, peer;
    guint calls;
    GIOCondition condition; /* of the last call */
    struct End *victim;     /* whose watch a call clears */
    gboolean last;          /* a call returns FALSE */
} End;

static gboolean on_ready(gint fd, GIOCondition condition, gpointer data)
{
    End *self = data;

    g_assert_cmpint(fd, ==, self->fd);
    self->calls++;
    self->condition = condition;
    if (self->victim != NULL) {
        ksm_fd_watch_clear(&self->victim->watch);
        close(self->victim->fd);
    }
    return !self->last;
}

static void end_open(End *self, GIOCondition condition)
{
    int fds[2];

    *self = (End) { .calls = 0 };
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds),
                    ==, 0);
    self->fd = fds[0];
    self->peer = fds[1];
    g_assert_true(
        ksm_fd_watch_set(&self->watch, self->fd, condition, on_ready, self));
}

static void end_close(End *self)
{
    ksm_fd_watch_clear(&self->watch);
    close(self->fd);
    close(self->peer);
}

static void end_speak(End *self)
{
    g_assert_cmpint(send(self->peer, "x", 1, 0), ==, 1);
}

static void end_hear(End *self)
{
    char byte;

    g_assert_cmpint(recv(self->fd, &byte, 1, MSG_DONTWAIT), ==, 1);
}

static void run_pending(void)
{
    while (g_main_context_iteration(NULL, FALSE)) {
    }
}

static void turn(void)
{
    g_main_context_iteration(NULL, FALSE);
}

static void test_conditions(void)
{
    End end;

    end_open(&end, G_IO_IN);
    turn();
    g_assert_cmpuint(end.calls, ==, 0);
    end_speak(&end);
    turn();
    turn();
    g_assert_cmpuint(end.calls, ==, 2); /* as long as it is so */
    g_assert_cmpint(end.condition, ==, G_IO_IN);

    g_assert_true(
        ksm_fd_watch_set(&end.watch, end.fd, (GIOCondition)0, on_ready, &end));
    turn();
    g_assert_cmpuint(end.calls, ==, 2);
    g_assert_true(
        ksm_fd_watch_set(&end.watch, end.fd, G_IO_OUT, on_ready, &end));
    turn();
    g_assert_cmpuint(end.calls, ==, 3);
    g_assert_cmpint(end.condition, ==, G_IO_OUT);
    end_close(&end);
}

/* Who waits for nothing hears of the peer's end. */
static void test_peer_ends(void)
{
    End end;

    end_open(&end, (GIOCondition)0);
    end_speak(&end);
    turn();
    g_assert_cmpuint(end.calls, ==, 0);
    shutdown(end.peer, SHUT_RDWR);
    turn();
    g_assert_cmpuint(end.calls, ==, 1);
    g_assert_cmpint(end.condition & G_IO_HUP, ==, G_IO_HUP);
    end_close(&end);
}

static void test_returns_false(void)
{
    End end;

    end_open(&end, G_IO_IN);
    end.last = TRUE;
    end_speak(&end);
    run_pending();
    g_assert_cmpuint(end.calls, ==, 1);
    g_assert_false(ksm_fd_watch_is_set(&end.watch));
    end_close(&end);
}

/*
 * Both are ready, and whoever is called first ends the other: that one is not
 * called any more, though its event was taken from the set in the same turn.
 * Its descriptor's number then serves another, which is.
 */
static void test_cleared_when_ready(void)
{
    End ends[2], other;
    End *left, *gone;

    end_open(&ends[0], G_IO_IN);
    end_open(&ends[1], G_IO_IN);
    ends[0].victim = &ends[1];
    ends[1].victim = &ends[0];
    end_speak(&ends[0]);
    end_speak(&ends[1]);
    turn();
    g_assert_cmpuint(ends[0].calls + ends[1].calls, ==, 1);
    left = ends[0].calls == 1 ? &ends[0] : &ends[1];
    gone = left == &ends[0] ? &ends[1] : &ends[0];
    left->victim = NULL;
    g_assert_true(ksm_fd_watch_is_set(&left->watch));
    g_assert_false(ksm_fd_watch_is_set(&gone->watch));
    close(gone->peer);

    end_open(&other, G_IO_IN);
    g_assert_cmpint(other.fd, ==, gone->fd);
    end_hear(left);
    end_speak(&other);
    turn();
    g_assert_cmpuint(other.calls, ==, 1);
    g_assert_cmpuint(gone->calls, ==, 0);
    end_close(&other);
    end_close(left);
}

/* However many are ready, all are heard before one is heard a second time. */
static void test_turns(void)
{
    static End ends[PAIRS];
    guint i, rounds;

    for (i = 0; i < PAIRS; i++) {
        end_open(&ends[i], G_IO_IN);
        end_speak(&ends[i]);
    }
    for (rounds = 0; rounds < 50; rounds++) {
        guint least = G_MAXUINT, most = 0;

        turn();
        for (i = 0; i < PAIRS; i++) {
            least = MIN(least, ends[i].calls);
            most = MAX(most, ends[i].calls);
        }
        g_assert_cmpuint(most - least, <=, 1);
    }
    g_assert_cmpuint(ends[0].calls, >, 5);
    for (i = 0; i < PAIRS; i++) {
        end_close(&ends[i]);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fd-watch/conditions", test_conditions);
    g_test_add_func("/fd-watch/peer-ends", test_peer_ends);
    g_test_add_func("/fd-watch/returns-false", test_returns_false);
    g_test_add_func("/fd-watch/cleared-when-ready", test_cleared_when_ready);
    g_test_add_func("/fd-watch/turns", test_turns);
    return g_test_run();
}
