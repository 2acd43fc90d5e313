/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test-identity.c: processes told from each other, and the list of them. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "identity.h"
#include "roster.h"
#include "store.h"

#define SLOTS 4096u

static pid_t sleeper_new(void)
{
    pid_t pid = fork();

    g_assert_cmpint(pid, >=, 0);
    if (pid == 0) {
        pause();
        _exit(0);
    }
    return pid;
}

static void sleeper_end(pid_t pid)
{
    kill(pid, SIGKILL);
    g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
}

static KsmIdentity identity_of(pid_t pid)
{
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    KsmIdentity identity = ksm_identity_of(pidfd, pid);

    close(pidfd);
    return identity;
}

static void test_identity(void)
{
    pid_t one = sleeper_new(), two = sleeper_new();
    KsmIdentity first = identity_of(one), second = identity_of(two);
    int pidfd = ksm_identity_open(first);

    g_assert_cmpuint(first, !=, 0);
    g_assert_cmpuint(first, !=, second);
    g_assert_cmpuint(first, ==, identity_of(one));
    g_assert_cmpuint(ksm_identity_self(), ==, identity_of(getpid()));
    g_assert_cmpint(pidfd, >=, 0);
    g_assert_false(ksm_pidfd_is_dead(pidfd));
    kill(one, SIGKILL);
    while (!ksm_pidfd_is_dead(pidfd)) {
    }
    g_assert_cmpint(ksm_identity_open(first), ==, -ESRCH);  /* a zombie */
    close(pidfd);
    sleeper_end(one);
    g_assert_cmpint(ksm_identity_open(first), ==, -ESRCH);
    if (first >> 22 != 0) {     /* Linux 6.9: another had this number once */
        g_assert_cmpint(ksm_identity_open(second + (1ull << 32)), ==, -ESRCH);
    }
    sleeper_end(two);
}

static int roster_file(void)
{
    int fd = memfd_create("roster", MFD_CLOEXEC);

    g_assert_cmpint(ftruncate(fd, (off_t)SLOTS * KSM_STORE_PAGE_BYTES +
                              KSM_ROSTER_BYTES), ==, 0);
    return fd;
}

static void test_roster(void)
{
    int fd = roster_file();
    KsmRoster *roster = ksm_roster_new(fd, SLOTS, NULL);
    guint32 at = 0, i;

    g_assert_nonnull(roster);
    g_assert_cmpuint(ksm_roster_next(roster, &at), ==, 0);
    for (i = 0; i < G_MAXUINT16; i++) {
        g_assert_cmpuint(ksm_roster_enter(roster, 1000 + i), ==, i);
    }
    ksm_roster_clear(roster, 7);
    ksm_roster_clear(roster, 5);
    at = 5;
    g_assert_cmpuint(ksm_roster_next(roster, &at), ==, 1006);
    g_assert_cmpuint(at, ==, 6);
    g_assert_cmpuint(ksm_roster_enter(roster, 1), ==, 5);
    g_assert_cmpuint(ksm_roster_enter(roster, 2), ==, 7);
    g_assert_cmpuint(ksm_roster_enter(roster, 3), ==, G_MAXUINT16);
    while (ksm_roster_enter(roster, 4) != KSM_ROSTER_NONE) {
    }
    ksm_roster_clear(roster, 100);
    g_assert_cmpuint(ksm_roster_enter(roster, 5), ==, 100);
    ksm_roster_free(roster);
    close(fd);
}

/* One owner at a time, and it is the file that says so. */
static void test_owner(void)
{
    int fd = roster_file(), status;
    KsmRoster *roster = ksm_roster_new(fd, SLOTS, NULL);
    GError *error = NULL;
    guint32 at = 0;
    pid_t pid;

    g_assert_cmpuint(ksm_roster_enter(roster, 77), ==, 0);
    g_assert_null(ksm_roster_take(fd, SLOTS, &error));
    g_assert_nonnull(strstr(error->message, "another broker still has"));
    g_clear_error(&error);
    ksm_roster_free(roster);
    pid = fork();
    if (pid == 0) {             /* takes it, and ends without a word */
        _exit(ksm_roster_take(fd, SLOTS, NULL) == NULL);
    }
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_cmpint(status, ==, 0);
    roster = ksm_roster_take(fd, SLOTS, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(ksm_roster_next(roster, &at), ==, 77);
    ksm_roster_free(roster);
    close(fd);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/identity/process", test_identity);
    g_test_add_func("/identity/roster", test_roster);
    g_test_add_func("/identity/owner", test_owner);
    return g_test_run();
}
