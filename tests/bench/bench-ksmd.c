/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bench-ksmd.c: the kernel's KSM: settings, CPU time, statistics.
 *
 * Needs root and a ksmd that is not used otherwise: run=2 unmerges everything
 * on the host.  The previous settings are restored at exit.
 */
#include "bench.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KSM_DIR "/sys/kernel/mm/ksm/"

static const char *const settings[] = {
    "sleep_millisecs", "pages_to_scan", "use_zero_pages", "smart_scan", "run",
};
/* First run=2, which unmerges, then the settings. */
static struct {
    char path[64];
    char text[24];
} restore[G_N_ELEMENTS(settings) + 1];
static pid_t opened_by;
static pid_t thread;

guint64 bench_ksmd_read(const char *name)
{
    g_autofree char *path = g_strconcat(KSM_DIR, name, NULL);
    g_autofree char *text = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL)) {
        g_error("cannot read %s: this kernel has no KSM", path);
    }
    return g_ascii_strtoull(text, NULL, 10);
}

/* Not g_file_set_contents(): that makes a new file. */
void bench_ksmd_write(const char *name, guint64 value)
{
    g_autofree char *path = g_strconcat(KSM_DIR, name, NULL);
    FILE *file = fopen(path, "we");

    if (!file || fprintf(file, "%" G_GUINT64_FORMAT, value) < 0 ||
        fclose(file)) {
        g_error("cannot write %s: root is needed", path);
    }
}

static pid_t find_thread(void)
{
    GDir *dir = g_dir_open("/proc", 0, NULL);
    const char *name;
    pid_t pid = 0;

    while (!pid && dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename("/proc", name, "comm", NULL);
        g_autofree char *comm = NULL;

        if (g_ascii_isdigit(name[0]) &&
            g_file_get_contents(path, &comm, NULL, NULL) &&
            strcmp(comm, "ksmd\n") == 0) {
            pid = (pid_t)atoi(name);
        }
    }
    if (dir) {
        g_dir_close(dir);
    }
    return pid;
}

/* At exit and from signal handlers: nothing but system calls. */
static void put_back(void)
{
    guint i;

    if (getpid() != opened_by) {
        return; /* a forked worker */
    }
    for (i = 0; i < G_N_ELEMENTS(restore); i++) {
        int fd = open(restore[i].path, O_WRONLY | O_CLOEXEC);

        if (fd >= 0) {
            ssize_t n = write(fd, restore[i].text, strlen(restore[i].text));

            (void)n; /* nobody left to tell */
            close(fd);
        }
    }
}

static void on_signal(int number)
{
    put_back();
    signal(number, SIG_DFL);
    raise(number);
}

static void remember(guint i, const char *name, guint64 value)
{
    g_snprintf(restore[i].path, sizeof(restore[i].path), KSM_DIR "%s", name);
    g_snprintf(restore[i].text, sizeof(restore[i].text), "%" G_GUINT64_FORMAT,
               value);
}

void bench_ksmd_open(void)
{
    guint i;

    thread = find_thread();
    if (!thread) {
        g_error("found no thread ksmd");
    }
    remember(0, "run", 2);
    for (i = 0; i < G_N_ELEMENTS(settings); i++) {
        remember(i + 1, settings[i], bench_ksmd_read(settings[i]));
    }
    if (bench_ksmd_read("run") == 1) {
        g_error("ksmd is running (" KSM_DIR "run is 1): somebody is using it");
    }
    opened_by = getpid();
    atexit(put_back);
    signal(SIGABRT, on_signal);
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    bench_ksmd_write("run", 2);
    bench_ksmd_write("run", 0);
}

void bench_ksmd_full_speed(void)
{
    bench_ksmd_write("sleep_millisecs", 0);
    bench_ksmd_write("pages_to_scan", 100000000);
    bench_ksmd_write("use_zero_pages", 1);
    bench_ksmd_write("smart_scan", 1);
}

void bench_ksmd_shipped(void)
{
    bench_ksmd_write("sleep_millisecs", 20);
    bench_ksmd_write("pages_to_scan", 100);
    bench_ksmd_write("use_zero_pages", 0);
    bench_ksmd_write("smart_scan", 1);
}

void bench_ksmd_run(gboolean run)
{
    bench_ksmd_write("run", run ? 1 : 0);
}

guint64 bench_ksmd_cpu_ns(void)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/schedstat", (int)thread);
    g_autofree char *text = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL)) {
        g_error("cannot read %s", path);
    }
    return g_ascii_strtoull(text, NULL, 10);
}

/* A figure of a process; 0 when it has gone. */
static gint64 read_stat(pid_t pid, const char *name)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/ksm_stat", (int)pid);
    g_autofree char *text = NULL;
    const char *at;

    if (!g_file_get_contents(path, &text, NULL, NULL)) {
        return 0;
    }
    at = strstr(text, name);
    return at ? g_ascii_strtoll(at + strlen(name), NULL, 10) : 0;
}

guint64 bench_ksmd_merged(pid_t pid)
{
    return (guint64)(read_stat(pid, "ksm_merging_pages ") +
                     read_stat(pid, "ksm_zero_pages "));
}

/* The kernel's profit is what is merged less the memory of the items. */
guint64 bench_ksmd_item_bytes(pid_t pid)
{
    return bench_ksmd_merged(pid) * KSM_PAGE_BYTES -
           (guint64)read_stat(pid, "ksm_process_profit ");
}
