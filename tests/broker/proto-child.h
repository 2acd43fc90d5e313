/* SPDX-License-Identifier: GPL-2.0-or-later */
/* proto-child.h: a client of the broker in a process of its own. */
#ifndef TEST_PROTO_CHILD_H
#define TEST_PROTO_CHILD_H

#include <glib.h>
#include <sys/types.h>

/** What the child does; @orders reads what the parent writes. */
typedef void (*ProtoChildMain)(gpointer opaque);

typedef struct ProtoChild {
    pid_t pid;
    int orders;  /* write end */
    int reports; /* read end */
} ProtoChild;

/**
 * Forks; the child runs @run, which calls proto_child_report() and
 * proto_child_await(), and ends.  It dies with the parent.
 */
ProtoChild *proto_child_new(ProtoChildMain run, gpointer opaque);

/** In the child: tells the parent a number; waits for the parent's word. */
void proto_child_report(guint32 number);
void proto_child_await(void);

/** In the parent: waits for a report (10 s at most); lets the child go on. */
guint32 proto_child_wait(ProtoChild *child);
void proto_child_go_on(ProtoChild *child);

/** SIGKILL, and waits for its end. */
void proto_child_kill(ProtoChild *child);

/** Lets it go on and end; fails the test unless it ends well. */
void proto_child_free(ProtoChild *child);

/**
 * For one that ends by itself and leaves a process behind: waits for its end,
 * lets the other go on, and returns what that reports; frees the child.
 */
guint32 proto_child_outlived(ProtoChild *child);

#endif /* TEST_PROTO_CHILD_H */
