/* SPDX-License-Identifier: GPL-2.0-or-later */
/* broker-proc.c: a private guest-ksmd for a test, on a socket of its own. */
#include "broker-proc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "require.h"

#define START_SECONDS 20.0
#define STOP_SECONDS 10.0

const char *ksm_test_broker_program(void)
{
    const char *program = g_getenv("GUEST_KSMD");

    if (!program) {
        g_error("GUEST_KSMD does not name the guest-ksmd program: run this "
                "through meson test, or set it");
    }
    return program;
}

/* In the child: only what is async-signal-safe. */
static void spawn_child(char *const *argv, int keep_fd, int out_fd,
                        pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(127);
    }
    if (out_fd >= 0) {
        dup2(out_fd, 1);
        dup2(out_fd, 2);
    }
    if (keep_fd > 3) {
        close_range(3, (unsigned)keep_fd - 1, 0);
    }
    close_range(keep_fd >= 3 ? (unsigned)keep_fd + 1 : 3, ~0u, 0);
    if (keep_fd >= 0) {
        fcntl(keep_fd, F_SETFD, 0);
    }
    execv(argv[0], argv);
    _exit(127);
}

pid_t ksm_test_spawn(const char *const *argv, int keep_fd, int out_fd)
{
    pid_t parent = getpid();
    pid_t pid = fork();

    g_assert_cmpint(pid, >=, 0);
    if (pid == 0) {
        spawn_child((char *const *)argv, keep_fd, out_fd, parent);
    }
    return pid;
}

/* Where each thread of a process that hangs is, as the kernel sees it. */
static void print_threads(pid_t pid)
{
    static const char *const files[] = { "comm", "wchan", "syscall", "stack" };
    g_autofree char *tasks = g_strdup_printf("/proc/%d/task", (int)pid);
    GDir *dir = g_dir_open(tasks, 0, NULL);
    const char *name;
    gsize i;

    while (dir && (name = g_dir_read_name(dir))) {
        for (i = 0; i < G_N_ELEMENTS(files); i++) {
            g_autofree char *path = NULL;
            g_autofree char *text = NULL;

            path = g_build_filename(tasks, name, files[i], NULL);
            if (g_file_get_contents(path, &text, NULL, NULL)) {
                g_test_message("thread %s %s: %s", name, files[i],
                               g_strchomp(text));
            }
        }
    }
    if (dir) {
        g_dir_close(dir);
    }
}

int ksm_test_reap(pid_t pid, double seconds)
{
    double end = ksm_test_now() + seconds;
    int status = 0;

    for (;;) {
        pid_t got = waitpid(pid, &status, WNOHANG);

        if (got == pid || (got < 0 && errno != EINTR)) {
            return status;
        }
        if (ksm_test_now() > end) {
            g_test_message("process %d did not end in %g s: killed", (int)pid,
                           seconds);
            print_threads(pid);
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            return status;
        }
        g_usleep(2000);
    }
}

gboolean ksm_test_broker_listens(KsmTestBroker *broker)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    gboolean ok;

    g_assert_cmpint(fd, >=, 0);
    g_strlcpy(address.sun_path, broker->socket, sizeof(address.sun_path));
    ok = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    close(fd);
    return ok;
}

static gboolean is_listening(gpointer opaque)
{
    KsmTestBroker *broker = opaque;
    int status;

    if (waitpid(broker->pid, &status, WNOHANG) == broker->pid) {
        g_autofree char *log = ksm_test_broker_read_log(broker);

        g_error("the broker ended at its start (status 0x%x): %s", status, log);
    }
    return ksm_test_broker_listens(broker);
}

void ksm_test_broker_start(KsmTestBroker *broker)
{
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    g_auto(GStrv) more = NULL;
    int log, i;

    g_assert_cmpint(broker->pid, ==, 0);
    g_ptr_array_add(argv, (gpointer)ksm_test_broker_program());
    g_ptr_array_add(argv, (gpointer) "--listen");
    g_ptr_array_add(argv, broker->socket);
    /* As fast as can be, unless the test says something else. */
    if (!broker->shipped) {
        g_ptr_array_add(argv, (gpointer) "--max-cpu-percent=0");
    }
    more = g_strsplit(broker->options ? broker->options : "", " ", -1);
    for (i = 0; more[i]; i++) {
        if (more[i][0]) {
            g_ptr_array_add(argv, more[i]);
        }
    }
    g_ptr_array_add(argv, NULL);
    log = g_open(broker->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    g_assert_cmpint(log, >=, 0);
    broker->pid = ksm_test_spawn((const char *const *)argv->pdata, -1, log);
    close(log);
    if (ksm_test_wait(is_listening, broker, START_SECONDS) < 0) {
        g_error("the broker does not listen on %s", broker->socket);
    }
}

KsmTestBroker *ksm_test_broker_new_idle(void)
{
    KsmTestBroker *broker = g_new0(KsmTestBroker, 1);
    g_autoptr(GError) error = NULL;

    broker->dir = g_dir_make_tmp("ksm-test-XXXXXX", &error);
    g_assert_no_error(error);
    broker->socket = g_build_filename(broker->dir, "broker.sock", NULL);
    broker->log = g_build_filename(broker->dir, "broker.log", NULL);
    return broker;
}

KsmTestBroker *ksm_test_broker_new(const char *options)
{
    KsmTestBroker *broker = ksm_test_broker_new_idle();

    broker->options = g_strdup(options);
    ksm_test_broker_start(broker);
    return broker;
}

void ksm_test_broker_kill(KsmTestBroker *broker)
{
    if (broker->pid) {
        kill(broker->pid, SIGKILL);
        ksm_test_reap(broker->pid, STOP_SECONDS);
        broker->pid = 0;
    }
}

gboolean ksm_test_broker_stop(KsmTestBroker *broker)
{
    int status = 0;

    if (broker->pid) {
        kill(broker->pid, SIGTERM);
        status = ksm_test_reap(broker->pid, STOP_SECONDS);
        broker->pid = 0;
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

char *ksm_test_broker_read_log(KsmTestBroker *broker)
{
    char *text = NULL;

    if (!g_file_get_contents(broker->log, &text, NULL, NULL)) {
        return g_strdup("");
    }
    return text;
}

static void remove_dir(const char *path)
{
    const char *name;
    GDir *dir = g_dir_open(path, 0, NULL);

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *child = g_build_filename(path, name, NULL);

        if (g_file_test(child, G_FILE_TEST_IS_DIR)) {
            remove_dir(child);
        } else {
            g_unlink(child);
        }
    }
    if (dir) {
        g_dir_close(dir);
    }
    g_rmdir(path);
}

void ksm_test_broker_free(KsmTestBroker *broker)
{
    if (g_test_failed()) {
        g_autofree char *log = ksm_test_broker_read_log(broker);

        g_test_message("the broker's log:\n%s", log);
    }
    ksm_test_broker_stop(broker);
    remove_dir(broker->dir);
    g_free(broker->dir);
    g_free(broker->socket);
    g_free(broker->log);
    g_free(broker->options);
    g_free(broker);
}
