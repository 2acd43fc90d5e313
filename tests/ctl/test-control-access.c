/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test-control-access.c: who may use the control socket, and who may not. */
#include <errno.h>
#include <glib/gstdio.h>
#include <grp.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl-fixture.h"

/* In a child under another user: the reply, in the exit status. */
typedef enum Told {
    TOLD_OK = 10,
    TOLD_PERMISSION,
    TOLD_EACCES,
    TOLD_OTHER
} Told;

static Told ask_as(KsmTestBroker *broker, uid_t uid, gid_t gid, gid_t more_gid)
{
    pid_t pid = fork();
    int status;

    g_assert_cmpint(pid, >=, 0);
    if (pid == 0) {
        g_autofree char *reply = NULL;
        int fd;

        if (setgroups(more_gid == (gid_t)-1 ? 0 : 1, &more_gid) != 0 ||
            setgid(gid) != 0 || setuid(uid) != 0) {
            _exit(1);
        }
        fd = ctl_fixture_connect(broker);
        if (fd < 0) {
            _exit(errno == EACCES ? TOLD_EACCES : TOLD_OTHER);
        }
        ctl_fixture_send(fd, "{\"request\":\"status\"}\n", 21);
        reply = ctl_fixture_receive(fd);
        _exit(reply == NULL                   ? TOLD_OTHER :
              strstr(reply, "\"ok\":true")    ? TOLD_OK :
              strstr(reply, "\"permission\"") ? TOLD_PERMISSION :
                                                TOLD_OTHER);
    }
    status = ksm_test_reap(pid, 20);
    g_assert_true(WIFEXITED(status));
    return (Told)WEXITSTATUS(status);
}

static void test_permission(void)
{
    const gid_t none = (gid_t)-1, group = 1; /* daemon */
    g_autofree char *path = NULL;
    const struct group *daemon = getgrgid(group);
    g_autofree char *options = NULL;
    g_autoptr(KsmTestBroker) broker = NULL;

    if (geteuid() != 0 || daemon == NULL) {
        g_test_skip("needs root, to become another user, and group 1");
        return;
    }
    options = g_strdup_printf("--control-group %s", daemon->gr_name);
    broker = ksm_test_broker_new(options);
    path = ctl_fixture_socket(broker);
    g_assert_cmpint(g_chmod(broker->dir, 0755), ==, 0);
    g_assert_cmpint(ask_as(broker, 65534, 65534, none), ==, TOLD_EACCES);
    g_assert_cmpint(ask_as(broker, 65534, group, none), ==, TOLD_OK);
    g_assert_cmpint(ask_as(broker, 65534, 65534, group), ==, TOLD_OK);
    /* the mode is widened by mistake: the broker looks for itself */
    g_assert_cmpint(g_chmod(path, 0666), ==, 0);
    g_assert_cmpint(ask_as(broker, 65534, 65534, none), ==, TOLD_PERMISSION);
    g_assert_cmpint(ask_as(broker, 65534, 65534, 2), ==, TOLD_PERMISSION);
    g_assert_cmpint(ask_as(broker, 65534, 65534, group), ==, TOLD_OK);
    g_assert_true(ksm_test_broker_stop(broker));
}

static void test_mode(void)
{
    GStatBuf status;
    g_autofree char *path = NULL;
    g_autoptr(KsmTestBroker) broker = NULL;

    broker = ksm_test_broker_new(NULL);
    path = ctl_fixture_socket(broker);
    g_assert_cmpint(g_stat(path, &status), ==, 0);
    g_assert_cmphex(status.st_mode & 0777, ==, 0600);
    g_assert_true(ksm_test_broker_stop(broker));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/control-access/permission", test_permission);
    g_test_add_func("/control-access/mode", test_mode);
    return g_test_run();
}
