/* SPDX-License-Identifier: GPL-2.0-or-later */
/* proto-child.c: a client of the broker in a process of its own. */
#include "proto-child.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define WAIT_MS 10000

static int child_orders, child_reports;

ProtoChild *proto_child_new(ProtoChildMain run, gpointer opaque)
{
    ProtoChild *child = g_new0(ProtoChild, 1);
    int orders[2], reports[2];

    g_assert_cmpint(pipe(orders), ==, 0);
    g_assert_cmpint(pipe(reports), ==, 0);
    child->pid = fork();
    g_assert_cmpint(child->pid, >=, 0);
    if (child->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(orders[1]);
        close(reports[0]);
        child_orders = orders[0];
        child_reports = reports[1];
        run(opaque);
        _exit(0);
    }
    close(orders[0]);
    close(reports[1]);
    child->orders = orders[1];
    child->reports = reports[0];
    return child;
}

void proto_child_report(guint32 number)
{
    if (write(child_reports, &number, sizeof(number)) != sizeof(number)) {
        _exit(1);
    }
}

void proto_child_await(void)
{
    char byte;

    if (read(child_orders, &byte, 1) != 1) {
        _exit(1);
    }
}

guint32 proto_child_wait(ProtoChild *child)
{
    struct pollfd entry = { .fd = child->reports, .events = POLLIN };
    guint32 number = 0;

    g_assert_cmpint(poll(&entry, 1, WAIT_MS), ==, 1);
    g_assert_cmpint(read(child->reports, &number, sizeof(number)), ==,
                    sizeof(number));
    return number;
}

void proto_child_go_on(ProtoChild *child)
{
    g_assert_cmpint(write(child->orders, "", 1), ==, 1);
}

static void child_close(ProtoChild *child)
{
    close(child->orders);
    close(child->reports);
}

static int child_reap(ProtoChild *child)
{
    int status = -1;

    g_assert_cmpint(waitpid(child->pid, &status, 0), ==, child->pid);
    g_free(child);
    return status;
}

static int child_end(ProtoChild *child)
{
    child_close(child); /* one that waits for orders ends */
    return child_reap(child);
}

void proto_child_kill(ProtoChild *child)
{
    kill(child->pid, SIGKILL);
    child_end(child);
}

void proto_child_free(ProtoChild *child)
{
    int status;

    proto_child_go_on(child);
    status = child_end(child);
    g_assert_true(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, 0);
}

guint32 proto_child_outlived(ProtoChild *child)
{
    ProtoChild pipes = *child;
    guint32 number;

    child_reap(child);
    proto_child_go_on(&pipes);
    number = proto_child_wait(&pipes);
    child_close(&pipes);
    return number;
}
