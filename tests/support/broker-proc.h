/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * broker-proc.h: a private guest-ksmd for a test, on a socket of its own.
 *
 * The program is named by the environment variable GUEST_KSMD (meson sets
 * it).  The broker dies with the test.  Its log goes to DIR/broker.log.
 */
#ifndef TEST_BROKER_PROC_H
#define TEST_BROKER_PROC_H

#include <glib.h>
#include <sys/types.h>

typedef struct KsmTestBroker {
    char *dir; /* private directory, removed at the end */
    char *socket;
    char *log;
    char *options;    /* more options, by spaces; or NULL */
    pid_t pid;        /* 0: not running */
    gboolean shipped; /* with its default limit of CPU time */
} KsmTestBroker;

/** The program; fails the test when it is not known. */
const char *ksm_test_broker_program(void);

/** A broker that listens when this returns.  Aborts the test otherwise. */
KsmTestBroker *ksm_test_broker_new(const char *options);

/** The same, not started: for tests whose engine starts it. */
KsmTestBroker *ksm_test_broker_new_idle(void);

/** Starts it (again) and waits until it accepts connections. */
void ksm_test_broker_start(KsmTestBroker *broker);

/** SIGKILL, and waits for its end. */
void ksm_test_broker_kill(KsmTestBroker *broker);

/** SIGTERM; returns whether it ended with status 0 within ten seconds. */
gboolean ksm_test_broker_stop(KsmTestBroker *broker);

/** Whether something accepts connections on the socket. */
gboolean ksm_test_broker_listens(KsmTestBroker *broker);

/** The log so far; free with g_free(). */
char *ksm_test_broker_read_log(KsmTestBroker *broker);

/** Stops it, removes its directory. */
void ksm_test_broker_free(KsmTestBroker *broker);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(KsmTestBroker, ksm_test_broker_free)

/**
 * fork() and execv(): the child dies with this process and inherits only
 * descriptors 0 to 2 and keep_fd (or -1).  out_fd, when not negative, becomes
 * its standard output and error.
 */
pid_t ksm_test_spawn(const char *const *argv, int keep_fd, int out_fd);

/** Waits for a child at most so long, then kills it; its wait status. */
int ksm_test_reap(pid_t pid, double seconds);

#endif /* TEST_BROKER_PROC_H */
