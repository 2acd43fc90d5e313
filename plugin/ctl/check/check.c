/* SPDX-License-Identifier: GPL-2.0-or-later */
/* check.c: the lines of a check, and what a host has or lacks. */
#include "check/check.h"

#define GOOD_MAP_COUNT 262144
#define BEST_MAP_COUNT "1048576"

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

static void check_map_count(KsmCheck *check)
{
    g_autofree char *text = ksm_check_read(check, "/proc/sys/vm/max_map_count");
    guint64 count = text != NULL ? g_ascii_strtoull(text, NULL, 10) : 0;

    if (count < GOOD_MAP_COUNT) {
        ksm_check_add(check, KSM_CHECK_ADVICE, "mappings",
                      "vm.max_map_count is %" G_GUINT64_FORMAT ", enough for "
                      "a few GiB of each guest: set it to " BEST_MAP_COUNT
                      " (contrib/libvirt)",
                      count);
    } else {
        ksm_check_add(check, KSM_CHECK_OK, "mappings",
                      "vm.max_map_count is %" G_GUINT64_FORMAT, count);
    }
}

void ksm_check_host(KsmCheck *check)
{
    ksm_check_kernel(check);
    check_map_count(check);
}

void ksm_check_broker(KsmCheck *check, KsmClient *client)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) reply = ksm_client_ask(client, &error, "status",
                                                 NULL);
    JsonObject *broker = reply != NULL ? ksm_reply_object(reply, "broker") :
                                         NULL;
    JsonObject *total = reply != NULL ? ksm_reply_object(reply, "total") : NULL;

    if (broker == NULL || total == NULL) {
        ksm_check_add(check,
                      g_error_matches(error, KSM_CTL_ERROR,
                                      KSM_CTL_PERMISSION) ?
                          KSM_CHECK_ADVICE :
                          KSM_CHECK_WRONG,
                      "broker", "%s",
                      error != NULL ? error->message : "a strange answer");
        return;
    }
    ksm_check_add(check, KSM_CHECK_OK, "broker",
                  "guest-ksmd %s, %" G_GINT64_FORMAT " VMs",
                  ksm_reply_string(broker, "version"),
                  ksm_reply_int(total, "vms"));
}
