/* SPDX-License-Identifier: GPL-2.0-or-later */
/* main.c: guest-ksmctl: finds the subcommand and runs it. */
#include <glib.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "base/client.h"
#include "base/command.h"

typedef struct Common {
    char *socket;
    gboolean json;
    gboolean version;
} Common;

static char *describe_commands(void)
{
    GString *text = g_string_new("Commands:\n");
    guint i;

    for (i = 0; ksm_commands[i] != NULL; i++) {
        g_autofree char *usage = g_strdup_printf("%s %s", ksm_commands[i]->name,
                                                 ksm_commands[i]->arguments);

        g_string_append_printf(text, "  %-34s %s\n", usage,
                               ksm_commands[i]->summary);
    }
    g_string_append(text,
                    "\n`guest-ksmctl COMMAND --help` explains a command."
                    "\n\nExit status: 0 done; 1 failed; 2 wrong command line;"
                    " 3 no broker;\n4 not allowed; 5 no such VM, group or "
                    "domain, or an ambiguous name;\n6 sent, but not "
                    "confirmed in time.");
    return g_string_free(text, FALSE);
}

/* Parses options of @command, or those before it when it is NULL. */
static gboolean parse(const KsmCommand *command, Common *common, int *argc,
                      char ***argv, GError **errp)
{
    const GOptionEntry entries[] = {
        { "socket", 's', 0, G_OPTION_ARG_FILENAME, &common->socket,
          "The broker's control socket ($XDG_RUNTIME_DIR/guest-ksm/"
          "control.sock, for root /run/guest-ksm/control.sock)",
          "PATH" },
        { "json", 'j', 0, G_OPTION_ARG_NONE, &common->json, "Print JSON",
          NULL },
        { "version", 0, command != NULL ? G_OPTION_FLAG_HIDDEN : 0,
          G_OPTION_ARG_NONE, &common->version, "Print the version and exit",
          NULL },
        { NULL, 0, 0, G_OPTION_ARG_NONE, NULL, NULL, NULL },
    };
    g_autofree char *usage = command != NULL ?
                                 g_strdup_printf("%s %s", command->name,
                                                 command->arguments) :
                                 g_strdup("COMMAND [ARGUMENT...]");
    g_autoptr(GOptionContext) context = g_option_context_new(usage);
    g_autofree char *commands = describe_commands();

    g_option_context_set_strict_posix(context, command == NULL);
    g_option_context_add_main_entries(context, entries, NULL);
    if (command == NULL) {
        g_option_context_set_summary(context, "Shows what guests share, and "
                                              "changes their settings.");
        g_option_context_set_description(context, commands);
    } else {
        g_option_context_set_summary(context, command->summary);
        g_option_context_set_description(context, command->details);
        if (command->entries != NULL) {
            g_option_context_add_main_entries(context, command->entries, NULL);
        }
    }
    return g_option_context_parse(context, argc, argv, errp);
}

static gboolean check_count(const KsmCommand *command, guint count,
                            GError **errp)
{
    if (count >= command->least && count <= command->most) {
        return TRUE;
    }
    return ksm_command_usage(errp, "usage: guest-ksmctl %s %s", command->name,
                             command->arguments);
}

/* argv[0] is the command's name. */
static gboolean run(const KsmCommand *command, Common *common, int argc,
                    char **argv, GError **errp)
{
    KsmCtl ctl = { NULL, FALSE };
    g_autoptr(GError) error = NULL;
    gboolean ok;

    if (!parse(command, common, &argc, &argv, &error)) {
        return ksm_command_usage(errp, "%s: %s", command->name, error->message);
    }
    if (argc > 1 && strcmp(argv[1], "--") == 0) {
        argv++;
        argc--;
    }
    if (!check_count(command, (guint)argc - 1, errp)) {
        return FALSE;
    }
    ctl.json = common->json;
    ctl.client = ksm_client_new(common->socket);
    ok = command->run(&ctl, argv + 1, errp);
    ksm_client_free(ctl.client);
    return ok;
}

static gboolean run_named(Common *common, int argc, char **argv, GError **errp)
{
    const KsmCommand *command = argc > 1 ? ksm_command_find(argv[1]) : NULL;

    if (argc < 2) {
        return ksm_command_usage(errp, "a command is needed; guest-ksmctl "
                                       "--help lists them");
    }
    if (command == NULL) {
        return ksm_command_usage(errp,
                                 "there is no command '%s'; "
                                 "guest-ksmctl --help lists them",
                                 argv[1]);
    }
    return run(command, common, argc - 1, argv + 1, errp);
}

int main(int argc, char **argv)
{
    Common common = { NULL, FALSE, FALSE };
    g_autoptr(GError) error = NULL;
    int status = KSM_CTL_OK;

    setlocale(LC_CTYPE, "");
    g_set_prgname("guest-ksmctl");
    if (!parse(NULL, &common, &argc, &argv, &error)) {
        status = KSM_CTL_USAGE;
    } else if (common.version) {
        printf("guest-ksmctl " KSM_VERSION "\n");
    } else if (!run_named(&common, argc, argv, &error)) {
        status = error->code;
    }
    if (fflush(stdout) != 0 && status == KSM_CTL_OK) {
        g_set_error(&error, KSM_CTL_ERROR, KSM_CTL_FAILED,
                    "could not write to the standard output");
        status = KSM_CTL_FAILED;
    }
    if (error != NULL) {
        fprintf(stderr, "guest-ksmctl: error: %s\n", error->message);
    }
    g_free(common.socket);
    return status;
}
