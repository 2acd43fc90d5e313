/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd-check.c: `guest-ksmctl check`: what is right here, and what is not. */
#include <stdio.h>

#include "base/client.h"
#include "base/command.h"
#include "check/check.h"

static char *user, *uri, *broker, *root;

static const GOptionEntry entries[] = {
    { "user", 'u', 0, G_OPTION_ARG_STRING, &user,
      "QEMU's user (libvirt's, else who runs this)", "NAME" },
    { "broker", 'b', 0, G_OPTION_ARG_FILENAME, &broker,
      "The broker's socket for guests (broker.sock beside that of --socket)",
      "PATH" },
#ifdef KSM_CTL_LIBVIRT
    { "connect", 'c', 0, G_OPTION_ARG_STRING, &uri,
      "libvirt's connection (libvirt's default)", "URI" },
#endif
    /* For tests: files are looked for below it. */
    { "root", 0, G_OPTION_FLAG_HIDDEN, G_OPTION_ARG_FILENAME, &root, NULL,
      NULL },
    { NULL, 0, 0, G_OPTION_ARG_NONE, NULL, NULL, NULL },
};

static void line_free(gpointer data)
{
    KsmCheckLine *line = data;

    g_free(line->what);
    g_free(line->text);
    g_free(line);
}

static guint count_wrong(const KsmCheck *check)
{
    guint count = 0, i;

    for (i = 0; i < check->lines->len; i++) {
        const KsmCheckLine *line = g_ptr_array_index(check->lines, i);

        count += line->state == KSM_CHECK_WRONG;
    }
    return count;
}

static void print_text(const KsmCheck *check)
{
    guint i;

    for (i = 0; i < check->lines->len; i++) {
        const KsmCheckLine *line = g_ptr_array_index(check->lines, i);
        g_autofree char *word = line->state == KSM_CHECK_WRONG ?
                                    g_ascii_strup(ksm_check_word(line->state),
                                                  -1) :
                                    g_strdup(ksm_check_word(line->state));

        printf("%-6s  %-11s  %s\n", word, line->what, line->text);
    }
}

static void print_json(const KsmCheck *check)
{
    g_autoptr(JsonObject) reply = json_object_new();
    JsonArray *lines = json_array_new();
    guint i;

    for (i = 0; i < check->lines->len; i++) {
        const KsmCheckLine *line = g_ptr_array_index(check->lines, i);
        JsonObject *object = json_object_new();

        json_object_set_string_member(object, "state",
                                      ksm_check_word(line->state));
        json_object_set_string_member(object, "what", line->what);
        json_object_set_string_member(object, "text", line->text);
        json_array_add_object_element(lines, object);
    }
    json_object_set_int_member(reply, "wrong", count_wrong(check));
    json_object_set_array_member(reply, "checks", lines);
    ksm_command_print_json(reply);
}

/* Beside the control socket, unless it is named. */
static char *broker_path(KsmCtl *ctl)
{
    g_autofree char *dir = g_path_get_dirname(ksm_client_path(ctl->client));

    return broker != NULL ? g_strdup(broker) :
                            g_build_filename(dir, "broker.sock", NULL);
}

static gboolean run_all(KsmCtl *ctl, GError **errp)
{
    g_autofree char *path = broker_path(ctl);
    g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(line_free);
    KsmCheck check = {
        .root = root != NULL ? root : "",
        .user = user,
        .uri = uri,
        .broker = path,
        .lines = lines,
    };
    guint wrong;

    ksm_check_host(&check);
    ksm_check_kernel_ksm(&check, ctl->client);
    ksm_check_broker(&check, ctl->client);
#ifdef KSM_CTL_LIBVIRT
    ksm_check_libvirt(&check);
#endif
    ksm_check_user(&check);
    g_free(check.found_user);
    if (ctl->json) {
        print_json(&check);
    } else {
        print_text(&check);
    }
    wrong = count_wrong(&check);
    if (wrong > 0) {
        g_set_error(errp, KSM_CTL_ERROR, KSM_CTL_FAILED,
                    "%u of %u checks failed: put that right first", wrong,
                    lines->len);
    }
    return wrong == 0;
}

static gboolean run_check(KsmCtl *ctl, char **args, GError **errp)
{
    gboolean ok = run_all(ctl, errp);

    (void)args;
    g_free(user);
    g_free(uri);
    g_free(broker);
    g_free(root);
    return ok;
}

extern const KsmCommand ksm_command_check;
const KsmCommand ksm_command_check = {
    .name = "check",
    .arguments = "",
    .summary = "What is right on this host, and what to do about the rest",
    .details = "A line for each thing looked at: ok, advice (it works, but "
               "could be better) or WRONG\n(nothing is shared like that, or "
               "not safely).  As root it sees what QEMU's user may do.",
    .entries = entries,
    .run = run_check,
};
