/* SPDX-License-Identifier: GPL-2.0-or-later */
/* check.c: the lines of a check, and what a host has or lacks. */
#include "check.h"

#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

#define LEAST_MAJOR 6
#define LEAST_MINOR 8
#define GOOD_MAP_COUNT 262144
#define BEST_MAP_COUNT "1048576"
#define KSM_RUN "/sys/kernel/mm/ksm/run"

void ksm_check_add(KsmCheck *check, KsmCheckState state, const char *what,
                   const char *format, ...)
{
    KsmCheckLine *line = g_new0(KsmCheckLine, 1);
    va_list args;

    line->state = state;
    line->what = g_strdup(what);
    va_start(args, format);
    line->text = g_strdup_vprintf(format, args);
    va_end(args);
    g_ptr_array_add(check->lines, line);
}

char *ksm_check_read(const KsmCheck *check, const char *path)
{
    g_autofree char *whole = g_strconcat(check->root, path, NULL);
    char *text = NULL;

    g_file_get_contents(whole, &text, NULL, NULL);
    return text != NULL ? g_strstrip(text) : NULL;
}

const char *ksm_check_word(KsmCheckState state)
{
    static const char *const words[] = { "ok", "advice", "wrong" };

    return words[state];
}

static void check_kernel(KsmCheck *check)
{
    g_autofree char *release = ksm_check_read(check,
                                              "/proc/sys/kernel/osrelease");
    guint major = 0, minor = 0;
    struct utsname host;

    uname(&host);
    if (release == NULL || sscanf(release, "%u.%u", &major, &minor) != 2) {
        ksm_check_add(check, KSM_CHECK_ADVICE, "kernel",
                      "its release cannot be read");
    } else if (major < LEAST_MAJOR ||
               (major == LEAST_MAJOR && minor < LEAST_MINOR)) {
        ksm_check_add(check, KSM_CHECK_WRONG, "kernel",
                      "Linux %s is too old: run 6.8 or later", release);
    } else if (g_strcmp0(host.machine, "x86_64") != 0 ||
               sysconf(_SC_PAGESIZE) != 4096) {
        ksm_check_add(check, KSM_CHECK_WRONG, "kernel",
                      "only x86_64 with pages of 4 KiB is supported");
    } else {
        ksm_check_add(check, KSM_CHECK_OK, "kernel", "Linux %s", release);
    }
}

static void check_map_count(KsmCheck *check)
{
    g_autofree char *text = ksm_check_read(check,
                                           "/proc/sys/vm/max_map_count");
    guint64 count = text != NULL ? g_ascii_strtoull(text, NULL, 10) : 0;

    if (count < GOOD_MAP_COUNT) {
        ksm_check_add(check, KSM_CHECK_ADVICE, "mappings",
                      "vm.max_map_count is %" G_GUINT64_FORMAT ", enough for "
                      "a few GiB of each guest: set it to " BEST_MAP_COUNT
                      " (contrib/libvirt)", count);
    } else {
        ksm_check_add(check, KSM_CHECK_OK, "mappings",
                      "vm.max_map_count is %" G_GUINT64_FORMAT, count);
    }
}

static void check_kernel_ksm(KsmCheck *check)
{
    g_autofree char *run = ksm_check_read(check, KSM_RUN);

    if (g_strcmp0(run, "1") == 0) {
        ksm_check_add(check, KSM_CHECK_ADVICE, "kernel KSM",
                      "it runs, too; memory-backend-ksm's memory is kept from "
                      "it, and only other memory gains: if there is none, "
                      "echo 2 > " KSM_RUN);
    } else {
        ksm_check_add(check, KSM_CHECK_OK, "kernel KSM", "%s",
                      run != NULL ? "it does not run" : "there is none");
    }
}

void ksm_check_host(KsmCheck *check)
{
    check_kernel(check);
    check_map_count(check);
    check_kernel_ksm(check);
}

void ksm_check_broker(KsmCheck *check, KsmClient *client)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) reply = ksm_client_ask(client, &error, "status",
                                                 NULL);
    JsonObject *broker = reply != NULL ? ksm_reply_object(reply, "broker")
                                       : NULL;
    JsonObject *total = reply != NULL ? ksm_reply_object(reply, "total")
                                      : NULL;

    if (broker == NULL || total == NULL) {
        ksm_check_add(check, g_error_matches(error, KSM_CTL_ERROR,
                                             KSM_CTL_PERMISSION)
                      ? KSM_CHECK_ADVICE : KSM_CHECK_WRONG, "broker", "%s",
                      error != NULL ? error->message : "a strange answer");
        return;
    }
    ksm_check_add(check, KSM_CHECK_OK, "broker", "guest-ksmd %s, %"
                  G_GINT64_FORMAT " VMs", ksm_reply_string(broker, "version"),
                  ksm_reply_int(total, "vms"));
}
