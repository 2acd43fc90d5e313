/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test-identity.c: processes are distinguished, and the list of them. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/identity.h"
#include "store/roster.h"
#include "store/store.h"

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
    g_assert_cmpint(ksm_identity_open(first), ==, -ESRCH); /* a zombie */
    close(pidfd);
    sleeper_end(one);
    g_assert_cmpint(ksm_identity_open(first), ==, -ESRCH);
    if (first >> 22 != 0) { /* Linux 6.9: another had this number once */
        g_assert_cmpint(ksm_identity_open(second + (1ull << 32)), ==, -ESRCH);
    }
    sleeper_end(two);
}

static int roster_file(gsize roster_bytes)
{
    int fd = memfd_create("roster", MFD_CLOEXEC);

    g_assert_cmpint(ftruncate(fd, (off_t)SLOTS * KSM_STORE_PAGE_BYTES +
                                      (off_t)roster_bytes),
                    ==, 0);
    return fd;
}

static const KsmEngineId engine = { { 1, 2 } };

static guint32 enter(KsmRoster *roster, KsmIdentity process)
{
    return ksm_roster_add(roster, process, &engine);
}

/* The process of the next entry, 0 where there is none. */
static KsmIdentity next(const KsmRoster *roster, guint32 *at)
{
    KsmRosterEntry entry;

    return ksm_roster_next(roster, at, &entry) ? entry.process : 0;
}

static void check_roster(gsize roster_bytes)
{
    int fd = roster_file(roster_bytes);
    KsmRoster *roster = ksm_roster_new(fd, SLOTS, NULL);
    KsmRosterEntry entry;
    guint32 at = 0, i;

    g_assert_nonnull(roster);
    g_assert_cmpuint(next(roster, &at), ==, 0);
    for (i = 0; i < G_MAXUINT16; i++) {
        g_assert_cmpuint(enter(roster, 1000 + i), ==, i);
    }
    ksm_roster_clear(roster, 7);
    ksm_roster_clear(roster, 5);
    at = 5;
    g_assert_true(ksm_roster_next(roster, &at, &entry));
    g_assert_cmpuint(entry.process, ==, 1006);
    g_assert_cmpuint(at, ==, 6);
    g_assert_true(roster_bytes == KSM_ROSTER_BYTES_1 ?
                      ksm_engine_id_is_none(&entry.engine) :
                      ksm_engine_id_equal(&entry.engine, &engine));
    g_assert_cmpuint(enter(roster, 1), ==, 5);
    g_assert_cmpuint(enter(roster, 2), ==, 7);
    g_assert_cmpuint(enter(roster, 3), ==, G_MAXUINT16);
    while (enter(roster, 4) != KSM_ROSTER_NONE) {
    }
    ksm_roster_clear(roster, 100);
    g_assert_cmpuint(enter(roster, 5), ==, 100);
    ksm_roster_free(roster);
    close(fd);
}

static void test_roster(void)
{
    check_roster(KSM_ROSTER_BYTES);
}

/* Of a store that a broker left before engines had numbers. */
static void test_first_layout(void)
{
    check_roster(KSM_ROSTER_BYTES_1);
}

/* One owner at a time, and it is the file that says so. */
static void test_owner(void)
{
    int fd = roster_file(KSM_ROSTER_BYTES), status;
    KsmRoster *roster = ksm_roster_new(fd, SLOTS, NULL);
    GError *error = NULL;
    guint32 at = 0;
    pid_t pid;

    g_assert_cmpuint(enter(roster, 77), ==, 0);
    g_assert_null(ksm_roster_take(fd, SLOTS, &error));
    g_assert_nonnull(strstr(error->message, "another broker still owns"));
    g_clear_error(&error);
    ksm_roster_free(roster);
    pid = fork();
    if (pid == 0) { /* takes it, and ends without a word */
        _exit(ksm_roster_take(fd, SLOTS, NULL) == NULL);
    }
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_cmpint(status, ==, 0);
    roster = ksm_roster_take(fd, SLOTS, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(next(roster, &at), ==, 77);
    ksm_roster_free(roster);
    close(fd);
}

/* Another open file of the same, as clients get one. */
static int open_anew(int fd)
{
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
    int opened = open(path, O_RDONLY | O_CLOEXEC);

    g_assert_cmpint(opened, >=, 0);
    return opened;
}

/* A mark lasts as long as a descriptor or a mapping of that open file. */
static void test_marks(void)
{
    int fd = roster_file(KSM_ROSTER_BYTES);
    KsmRoster *roster = ksm_roster_new(fd, SLOTS, NULL);
    int one = open_anew(fd), two = open_anew(fd), copy;
    guint32 at = enter(roster, 11), other = enter(roster, 12);
    KsmRosterEntry entry;
    void *mapped;

    g_assert_false(ksm_roster_is_gone(roster, at)); /* it has no mark */
    g_assert_true(ksm_roster_mark(roster, at, one));
    g_assert_true(ksm_roster_mark(roster, other, two));
    g_assert_true(ksm_roster_next(roster, &at, &entry) && entry.marked);
    g_assert_true(ksm_roster_is_marked(roster, at, one));
    g_assert_false(ksm_roster_is_marked(roster, at, two));
    g_assert_false(ksm_roster_is_marked(roster, other, one));
    g_assert_false(ksm_roster_is_gone(roster, at));
    copy = dup(one);
    mapped = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, one, 0);
    g_assert_true(mapped != MAP_FAILED);
    close(one);
    g_assert_false(ksm_roster_is_gone(roster, at));
    close(copy);
    g_assert_false(ksm_roster_is_gone(roster, at));
    munmap(mapped, 4096);
    g_assert_true(ksm_roster_is_gone(roster, at));
    g_assert_false(ksm_roster_is_gone(roster, other));
    /* another mark takes none away */
    g_assert_true(ksm_roster_mark(roster, at, two));
    g_assert_true(ksm_roster_is_marked(roster, at, two));
    g_assert_true(ksm_roster_is_marked(roster, other, two));
    /* a place that is given again begins without one */
    close(two);
    g_assert_true(ksm_roster_is_gone(roster, other));
    ksm_roster_clear(roster, other);
    g_assert_cmpuint(enter(roster, 13), ==, other);
    g_assert_false(ksm_roster_is_gone(roster, other));
    ksm_roster_free(roster);
    close(fd);
}

/*
 * Zeros that were published are known to the next owner, in either layout; who
 * knows the roster by its version of before keeps off.
 */
static void check_zeros(gsize roster_bytes)
{
    const off_t at = (off_t)SLOTS * KSM_STORE_PAGE_BYTES;
    int fd = roster_file(roster_bytes);
    KsmRoster *roster = ksm_roster_new(fd, SLOTS, NULL);
    guint64 before, after;
    GError *error = NULL;

    g_assert_cmpint(pread(fd, &before, sizeof(before), at), ==, 8);
    g_assert_cmpuint(enter(roster, 77), ==, 0);
    g_assert_false(ksm_roster_has_zeros(roster));
    ksm_roster_note_zeros(roster);
    ksm_roster_note_zeros(roster);
    g_assert_true(ksm_roster_has_zeros(roster));
    ksm_roster_free(roster);
    g_assert_cmpint(pread(fd, &after, sizeof(after), at), ==, 8);
    g_assert_cmpuint(after, !=, before);
    roster = ksm_roster_take(fd, SLOTS, &error);
    g_assert_no_error(error);
    g_assert_true(ksm_roster_has_zeros(roster));
    ksm_roster_clear(roster, 0);
    g_assert_cmpuint(enter(roster, 78), ==, 0);
    ksm_roster_free(roster);
    after += (guint64)1 << 56; /* a version that is not known here */
    g_assert_cmpint(pwrite(fd, &after, sizeof(after), at), ==, 8);
    g_assert_null(ksm_roster_take(fd, SLOTS, &error));
    g_assert_nonnull(strstr(error->message, "of another version"));
    g_clear_error(&error);
    close(fd);
}

static void test_zeros(void)
{
    check_zeros(KSM_ROSTER_BYTES);
    check_zeros(KSM_ROSTER_BYTES_1);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/identity/process", test_identity);
    g_test_add_func("/identity/roster", test_roster);
    g_test_add_func("/identity/first-layout", test_first_layout);
    g_test_add_func("/identity/owner", test_owner);
    g_test_add_func("/identity/marks", test_marks);
    g_test_add_func("/identity/zeros", test_zeros);
    return g_test_run();
}
