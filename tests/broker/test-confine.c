/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-confine.c: what a serving guest-ksmd cannot do any more.
 *
 * Half of it asks the kernel about the real program; the other half takes the
 * same steps in a child of this test and tries what the program never would.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "broker-proc.h"
#include "confine/confine.h"
#include "proto-client.h"
#include "require.h"
#include "host/fd-reaper.h"

#define DONE 0 /* exit status of a child that got through */
#define OTHER 99

static gboolean has_landlock(void)
{
    return syscall(SYS_landlock_create_ruleset, NULL, 0, 1) >= 0;
}

/* The value of a line of /proc/PID/task/TID/status. */
static char *status_of(const char *task, const char *name)
{
    g_autofree char *path = g_build_filename(task, "status", NULL);
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    guint i;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    lines = g_strsplit(text, "\n", -1);
    for (i = 0; lines[i] != NULL; i++) {
        if (g_str_has_prefix(lines[i], name) && lines[i][strlen(name)] == ':') {
            return g_strdup(g_strstrip(lines[i] + strlen(name) + 1));
        }
    }
    g_error("%s has no %s", path, name);
}

/* Of all threads. */
static void assert_status(pid_t pid, const char *name, const char *value)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task", (int)pid);
    g_autoptr(GDir) tasks = g_dir_open(path, 0, NULL);
    const char *tid;
    guint count = 0;

    g_assert_nonnull(tasks);
    while ((tid = g_dir_read_name(tasks)) != NULL) {
        g_autofree char *task = g_build_filename(path, tid, NULL);
        g_autofree char *found = status_of(task, name);

        g_assert_cmpstr(found, ==, value);
        count++;
    }
    g_assert_cmpuint(count, ==, 1 + KSM_STRAY_THREADS);
}

/* Its socket takes connections before that, but nobody is heard. */
static gboolean serves(gpointer broker)
{
    g_autofree char *log = ksm_test_broker_read_log(broker);

    return strstr(log, "listening on") != NULL;
}

static void assert_confined(KsmTestBroker *broker)
{
    static const char *const sets[] = { "CapInh", "CapPrm", "CapEff", "CapAmb",
                                        "CapBnd" };
    g_autofree char *log = NULL;
    gsize i;

    g_assert_cmpfloat(ksm_test_wait(serves, broker, 20), >=, 0);
    assert_status(broker->pid, "NoNewPrivs", "1");
    for (i = 0; i < G_N_ELEMENTS(sets) - (geteuid() == 0 ? 0 : 1); i++) {
        assert_status(broker->pid, sets[i], "0000000000000000");
    }
    log = ksm_test_broker_read_log(broker);
    if (KSM_SANITIZED) {
        g_assert_nonnull(strstr(log, "not confined (landlock)"));
        g_assert_nonnull(strstr(log, "not confined (system calls)"));
        return;
    }
    assert_status(broker->pid, "Seccomp", "2");
    if (has_landlock()) {
        g_assert_null(strstr(log, "not confined"));
    }
}

static void test_program(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);

    assert_confined(broker);
    g_assert_true(ksm_test_broker_stop(broker));
    g_assert_false(g_file_test(broker->socket, G_FILE_TEST_EXISTS));
}

/* A program that ended badly, and what it said. */
static void assert_refuses(const char *option, int status, const char *words)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new_idle();
    const char *argv[] = { ksm_test_broker_program(), "--listen",
                           broker->socket, option, NULL };
    g_autofree char *log = NULL;
    int fd = g_open(broker->log, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    status = ksm_test_reap(ksm_test_spawn(argv, -1, fd), 10) ^ status << 8;
    close(fd);
    log = ksm_test_broker_read_log(broker);
    g_assert_cmpint(status, ==, 0);
    g_assert_nonnull(strstr(log, words));
    g_assert_false(ksm_test_broker_listens(broker));
}

/* Run by root, as another user; a client sees no difference. */
static void test_user(void)
{
    const struct passwd *nobody = getpwnam("nobody");
    g_autoptr(KsmTestBroker) broker = NULL;
    g_autofree char *ids = NULL, *groups = NULL, *task = NULL;
    ProtoClient *client;
    struct stat status;

    assert_refuses("--user=no such", 2, "--user: no such user");
    if (geteuid() != 0) {
        assert_refuses("--user=root", 1, "confinement (user): only root");
        g_test_skip("only root can become another user");
        return;
    }
    g_assert_nonnull(nobody);
    broker = ksm_test_broker_new("--user nobody --control none");
    assert_confined(broker);
    ids = g_strdup_printf("%u\t%u\t%u\t%u", nobody->pw_uid, nobody->pw_uid,
                          nobody->pw_uid, nobody->pw_uid);
    assert_status(broker->pid, "Uid", ids);
    task = g_strdup_printf("/proc/%d", (int)broker->pid);
    groups = status_of(task, "Groups");
    g_assert_cmpstr(groups, ==, "");
    client = proto_client_new(broker->socket, "g", "a", 100);
    g_assert_cmpint(proto_client_publish(client, 1, 7, 0).kind, ==,
                    KSM_ANSWER_SLOT);
    g_assert_cmpint(fstat(client->store_fd, &status), ==, 0);
    g_assert_cmpuint(status.st_uid, ==, nobody->pw_uid);
    proto_client_free(client);
    /* Its socket stays, as the directory is not its own; the next one has it */
    g_assert_true(ksm_test_broker_stop(broker));
    ksm_test_broker_start(broker);
    g_assert_true(ksm_test_broker_stop(broker));
}

/* What a confined process tries; returns 0 or errno. */
typedef int Attempt(const char *dir);

static int try_open(const char *path, int flags)
{
    return open(path, flags, 0600) < 0 ? errno : 0;
}

static int read_passwd(const char *dir)
{
    (void)dir;
    return try_open("/etc/passwd", O_RDONLY);
}

static int read_beside(const char *dir)
{
    g_autofree char *path = g_build_filename(dir, "file", NULL);

    return try_open(path, O_RDONLY);
}

static int list_root(const char *dir)
{
    (void)dir;
    return try_open("/", O_RDONLY | O_DIRECTORY);
}

static int read_meminfo(const char *dir)
{
    (void)dir;
    return try_open("/proc/meminfo", O_RDONLY);
}

static pid_t tester; /* getppid() is not allowed */

static int open_of_tester(const char *name)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/%s", (int)tester, name);

    return try_open(path, O_RDONLY);
}

/* What is asked of clients. */
static int read_stat(const char *dir)
{
    int error = open_of_tester("stat");

    (void)dir;
    error = error != 0 ? error : open_of_tester("status");
    return error != 0 ? error : open_of_tester("cgroup");
}

static int read_environ(const char *dir)
{
    (void)dir;
    return open_of_tester("environ");
}

static int read_memory(const char *dir)
{
    (void)dir;
    return open_of_tester("mem");
}

static int read_maps(const char *dir)
{
    (void)dir;
    return open_of_tester("maps");
}

static int make_file(const char *dir)
{
    g_autofree char *path = g_build_filename(dir, "new", NULL);

    return try_open(path, O_WRONLY | O_CREAT);
}

static int write_meminfo(const char *dir)
{
    (void)dir;
    return try_open("/proc/meminfo", O_RDWR);
}

static int reopen_memfd(const char *dir)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);

    (void)dir;
    return fd < 0 || ftruncate(fd, 4096) != 0 || fchmod(fd, 0400) != 0 ?
               errno :
               try_open(path, O_RDONLY | O_NOATIME);
}

static int remove_socket(const char *dir)
{
    g_autofree char *path = g_build_filename(dir, "socket", NULL);

    return unlink(path) != 0 ? errno : 0;
}

static int remove_elsewhere(const char *dir)
{
    g_autofree char *path = g_strconcat(dir, "-other", NULL);

    return unlink(path) != 0 ? errno : 0;
}

static int map_code(const char *dir)
{
    void *at = mmap(NULL, 4096, PROT_READ | PROT_EXEC,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)dir;
    return at == MAP_FAILED ? errno : 0;
}

static int connect_out(const char *dir)
{
    (void)dir;
    return socket(AF_UNIX, SOCK_STREAM, 0) < 0 ? errno : 0;
}

static int fork_child(const char *dir)
{
    pid_t pid = fork();

    (void)dir;
    if (pid == 0) {
        _exit(0);
    }
    return pid < 0 ? errno : 0;
}

static int execute(const char *dir)
{
    (void)dir;
    execl("/bin/true", "true", NULL);
    return errno;
}

static int signal_parent(const char *dir)
{
    (void)dir;
    return kill(getppid(), 0) != 0 ? errno : 0;
}

static int abort_parent(const char *dir)
{
    (void)dir;
    return syscall(SYS_tgkill, getppid(), getppid(), 0) != 0 ? errno : 0;
}

static int trace_parent(const char *dir)
{
    char byte;
    struct iovec here = { &byte, 1 }, there = { (gpointer)dir, 1 };

    return syscall(SYS_process_vm_readv, getppid(), &here, 1, &there, 1, 0) <
                   0 ?
               errno :
               0;
}

static int end_in_abort(const char *dir)
{
    (void)dir;
    g_log_set_default_handler(g_log_default_handler, NULL);
    g_error("as it ends in disorder");
    return 0;
}

typedef struct Row {
    const char *name;
    Attempt *attempt;
    int signal;        /* that ends the process, or 0 */
    int error;         /* errno, or 0: it works */
    gboolean landlock; /* that is what refuses it */
} Row;

static const Row rows[] = {
    { "read-passwd", read_passwd, 0, EACCES, TRUE },
    { "read-beside-socket", read_beside, 0, EACCES, TRUE },
    { "list-root", list_root, 0, EACCES, TRUE },
    { "remove-elsewhere", remove_elsewhere, 0, EACCES, TRUE },
    { "read-meminfo", read_meminfo, 0, 0, FALSE },
    { "read-stat", read_stat, 0, 0, FALSE },
    { "read-environ", read_environ, 0, EACCES, TRUE },
    { "read-memory", read_memory, 0, EACCES, TRUE },
    { "read-maps", read_maps, 0, EACCES, TRUE },
    { "reopen-memfd", reopen_memfd, 0, 0, FALSE },
    { "remove-socket", remove_socket, 0, 0, FALSE },
    { "make-file", make_file, SIGSYS, 0, FALSE },
    { "write-meminfo", write_meminfo, SIGSYS, 0, FALSE },
    { "map-code", map_code, SIGSYS, 0, FALSE },
    { "connect-out", connect_out, SIGSYS, 0, FALSE },
    { "fork", fork_child, SIGSYS, 0, FALSE },
    { "execute", execute, SIGSYS, 0, FALSE },
    { "signal-parent", signal_parent, SIGSYS, 0, FALSE },
    { "tgkill-parent", abort_parent, SIGSYS, 0, FALSE },
    { "read-parent", trace_parent, SIGSYS, 0, FALSE },
    { "g-error", end_in_abort, SIGTRAP, 0, FALSE },
};

static void attempt_in_child(const Row *row, const char *dir)
{
    g_autofree char *socket = g_build_filename(dir, "socket", NULL);
    const KsmConfinement confinement = { .sockets = { socket, NULL } };
    g_autoptr(GError) error = NULL;
    int found;

    if (!ksm_confine(&confinement, &error)) {
        g_printerr("%s\n", error->message);
        _exit(OTHER);
    }
    found = row->attempt(dir);
    _exit(found == row->error ? DONE : found != 0 ? found : OTHER);
}

static void run_row(const Row *row, const char *dir)
{
    pid_t pid = fork();
    int status;

    g_assert_cmpint(pid, >=, 0);
    if (pid == 0) {
        attempt_in_child(row, dir);
    }
    status = ksm_test_reap(pid, 10);
    g_test_message("%s: status 0x%x", row->name, status);
    if (row->signal != 0) {
        g_assert_cmpint(WTERMSIG(status), ==, row->signal);
    } else {
        g_assert_cmpint(status, ==, DONE);
    }
}

static void test_attempts(void)
{
    g_autofree char *dir = g_dir_make_tmp("ksm-confine-XXXXXX", NULL);
    g_autofree char *socket = g_build_filename(dir, "socket", NULL);
    g_autofree char *file = g_build_filename(dir, "file", NULL);
    g_autofree char *other = g_strconcat(dir, "-other", NULL);
    gsize i;

    if (KSM_SANITIZED) {
        g_test_skip("built with a sanitizer, which needs more");
    }
    for (i = 0; i < G_N_ELEMENTS(rows) && !KSM_SANITIZED; i++) {
        g_assert_true(g_file_set_contents(socket, "", 0, NULL) &&
                      g_file_set_contents(file, "", 0, NULL) &&
                      g_file_set_contents(other, "", 0, NULL));
        if (!rows[i].landlock || has_landlock()) {
            run_row(&rows[i], dir);
        }
    }
    g_unlink(socket);
    g_unlink(file);
    g_unlink(other);
    g_rmdir(dir);
}

int main(int argc, char **argv)
{
    tester = getpid();
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/confine/program", test_program);
    g_test_add_func("/confine/user", test_user);
    g_test_add_func("/confine/attempts", test_attempts);
    return g_test_run();
}
