/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-descent.c: the children of a group's process stay in that group, however
 * they were started; no other process is mistaken for a child.
 */
#include <glib.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker-proc.h"
#include "proto-child.h"
#include "proto-client.h"
#include "require.h"

#define ERROR_GROUP 8u
#define WELCOME 100u

/* The code of the refusal, or WELCOME. */
static guint32 ask_for(const char *socket, const char *group,
                       const char *reason)
{
    ProtoClient *client = proto_client_connect(socket);
    ProtoReply reply = proto_client_hello(client, group, "asks", 100);
    guint32 result = reply.msg.type == KSM_MSG_WELCOME ? WELCOME :
                                                         reply.error.code;

    if (reply.msg.type == KSM_MSG_ERROR &&
        strstr(reply.error.reason, reason) == NULL) {
        g_error("told '%s'", reply.error.reason);
    }
    proto_client_free(client);
    return result;
}

typedef enum Way {
    CHILD,
    GRANDCHILD,
    ORPHAN,
    CHILD_OF_ORPHAN,
    GIVEN_AWAY, /* to its parent's parent */
} Way;

typedef struct Deed {
    const char *socket, *group; /* that the descendant asks for */
    Way way;
    gboolean ends; /* the member does, before that */
} Deed;

/* In a new process, which tells the test itself; @parent is to end. */
static void descendant_run(const Deed *deed, pid_t parent)
{
    if (deed->way == ORPHAN || deed->way == CHILD_OF_ORPHAN) {
        while (getppid() == parent) {
            g_usleep(1000); /* until it has another */
        }
    }
    if (deed->way == CHILD_OF_ORPHAN && fork() > 0) {
        wait(NULL);
        _exit(0);
    }
    if (deed->ends) {
        proto_child_report(1);
        proto_child_await();
    }
    proto_child_report(ask_for(deed->socket, deed->group,
                               deed->way >= ORPHAN ?
                                   "systemd-run --scope" :
                                   "is a child of VM 'member' of group a"));
    _exit(0);
}

static void member_run(gpointer opaque)
{
    const Deed *deed = opaque;
    ProtoClient *client = proto_client_new(deed->socket, "a", "member", 100);
    pid_t first = deed->way == GIVEN_AWAY ?
                      (pid_t)syscall(SYS_clone, CLONE_PARENT | SIGCHLD, NULL,
                                     NULL, NULL, NULL) :
                      fork();

    if (first == 0) {
        pid_t parent = getpid();

        if (deed->way == CHILD || deed->way == GIVEN_AWAY || fork() == 0) {
            descendant_run(deed, parent);
        }
        if (deed->way == GRANDCHILD) {
            wait(NULL);
        }
        _exit(0);
    }
    if (deed->way == ORPHAN || deed->way == CHILD_OF_ORPHAN) {
        waitpid(first, NULL, 0);
    }
    if (deed->ends) {
        _exit(0);
    }
    pause();
    proto_client_free(client);
}

/* Whether it is known here who gets children without a parent. */
static gboolean orphans_are_known(void)
{
    int report[2];
    pid_t first, reaper = 0;
    g_autofree char *path = NULL, *name = NULL;

    g_assert_cmpint(pipe(report), ==, 0);
    first = fork();
    if (first == 0) {
        pid_t parent = getpid();

        if (fork() == 0) {
            while (getppid() == parent) {
                g_usleep(1000);
            }
            reaper = getppid();
            _exit(write(report[1], &reaper, sizeof(reaper)) < 0);
        }
        _exit(0);
    }
    waitpid(first, NULL, 0);
    g_assert_cmpint(read(report[0], &reaper, sizeof(reaper)), ==,
                    sizeof(reaper));
    close(report[0]);
    close(report[1]);
    path = g_strdup_printf("/proc/%d/comm", (int)reaper);
    if (reaper <= 1 || (g_file_get_contents(path, &name, NULL, NULL) &&
                        g_str_equal(name, "systemd\n"))) {
        return TRUE;
    }
    g_test_skip("here a subreaper that is not known as one gets orphans");
    return FALSE;
}

static void run_deed(const char *options, Way way, const char *group,
                     gboolean ends, guint32 result)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(options);
    Deed deed = { broker->socket, group, way, ends };
    ProtoChild *child = proto_child_new(member_run, &deed);

    if (ends) {
        g_assert_cmpuint(proto_child_wait(child), ==, 1);
        g_assert_cmpuint(proto_child_outlived(child), ==, result);
        return;
    }
    g_assert_cmpuint(proto_child_wait(child), ==, result);
    proto_child_kill(child);
}

static void test_child(void)
{
    run_deed(NULL, CHILD, "b", FALSE, ERROR_GROUP);
    run_deed(NULL, GRANDCHILD, "b", FALSE, ERROR_GROUP);
    run_deed("--no-orphan-check", GRANDCHILD, "b", FALSE, ERROR_GROUP);
    run_deed(NULL, CHILD, "a", FALSE, WELCOME);
}

static void test_orphan(void)
{
    if (!orphans_are_known()) {
        return;
    }
    run_deed(NULL, ORPHAN, "b", FALSE, ERROR_GROUP);
    run_deed(NULL, CHILD_OF_ORPHAN, "b", FALSE, ERROR_GROUP);
    run_deed(NULL, ORPHAN, "a", FALSE, WELCOME);
    run_deed("--no-orphan-check", ORPHAN, "b", FALSE, WELCOME);
}

/* The VM ends, and leaves a child behind. */
static void test_left_behind(void)
{
    if (!orphans_are_known()) {
        return;
    }
    run_deed(NULL, ORPHAN, "b", TRUE, ERROR_GROUP);
    run_deed(NULL, ORPHAN, "a", TRUE, WELCOME);
    run_deed("--no-orphan-check", ORPHAN, "b", TRUE, WELCOME);
}

/* By a broker that is another user. */
static void test_by_another_user(void)
{
    if (geteuid() != 0) {
        g_test_skip("needs root, to start a broker as another user");
        return;
    }
    run_deed("--user nobody --control none", CHILD, "b", FALSE, ERROR_GROUP);
    run_deed("--user nobody --control none", CHILD, "a", FALSE, WELCOME);
    run_deed("--user nobody --control none", GIVEN_AWAY, "b", FALSE,
             ERROR_GROUP);
    run_deed("--user nobody --control none", GIVEN_AWAY, "a", FALSE, WELCOME);
    run_deed("--user nobody --control none", GIVEN_AWAY, "b", TRUE,
             ERROR_GROUP);
    run_deed("--user nobody --control none --no-orphan-check", GIVEN_AWAY, "b",
             FALSE, WELCOME);
    if (orphans_are_known()) {
        run_deed("--user nobody --control none", ORPHAN, "b", FALSE,
                 ERROR_GROUP);
    }
}

static void plain_run(gpointer opaque)
{
    const Deed *deed = opaque;

    proto_child_report(ask_for(deed->socket, deed->group, ""));
    proto_child_await();
}

/* Of one parent that is there, in one scope: also after one has ended. */
static void test_siblings(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    Deed a = { broker->socket, "a", CHILD, FALSE };
    Deed b = { broker->socket, "b", CHILD, FALSE };
    ProtoChild *one = proto_child_new(plain_run, &a);
    ProtoChild *two;

    g_assert_cmpuint(proto_child_wait(one), ==, WELCOME);
    two = proto_child_new(plain_run, &b);
    g_assert_cmpuint(proto_child_wait(two), ==, WELCOME);
    proto_child_free(one);
    proto_child_free(two);
    two = proto_child_new(plain_run, &b);
    g_assert_cmpuint(proto_child_wait(two), ==, WELCOME);
    proto_child_free(two);
    /* and the parent of them all */
    g_assert_cmpuint(ask_for(broker->socket, "c", ""), ==, WELCOME);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/descent/child", test_child);
    g_test_add_func("/descent/orphan", test_orphan);
    g_test_add_func("/descent/left-behind", test_left_behind);
    g_test_add_func("/descent/by-another-user", test_by_another_user);
    g_test_add_func("/descent/siblings", test_siblings);
    return g_test_run();
}
