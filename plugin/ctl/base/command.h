/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * command.h: what a subcommand is.  A new one: a file cmd-NAME.c that defines
 * ksm_command_NAME, and its entry in commands.c.
 */
#ifndef KSM_CTL_COMMAND_H
#define KSM_CTL_COMMAND_H

#include "base/client.h"

/** What every subcommand gets. */
typedef struct KsmCtl {
    KsmClient *client; /* connects with its first question */
    gboolean json;     /* --json: print JSON instead of text */
} KsmCtl;

typedef struct KsmCommand {
    const char *name;
    const char *arguments;       /* for the help, as in "VM"; "" for none */
    const char *summary;         /* one line for the list of commands */
    const char *details;         /* more for its own --help; NULL: nothing */
    guint least, most;           /* number of arguments */
    const GOptionEntry *entries; /* its own options; NULL: none */
    /* FALSE: @errp is of KSM_CTL_ERROR, its code the exit status. */
    gboolean (*run)(KsmCtl *ctl, char **args, GError **errp);
} KsmCommand;

/** All subcommands, in the order of the help; ends with NULL. */
extern const KsmCommand *const ksm_commands[];

/** The one of that name, or NULL. */
const KsmCommand *ksm_command_find(const char *name);

/** Prints a reply for --json, without its "ok". */
void ksm_command_print_json(JsonObject *reply);

/**
 * Asks for the VMs of @target (NULL: all): KsmVm in *@vms, to be freed; or
 * prints them for --json, and *@vms is NULL.
 */
gboolean ksm_command_vms_of(KsmCtl *ctl, const char *target, GPtrArray **vms,
                            GError **errp);

/** Sets an error of the command line; returns FALSE. */
gboolean ksm_command_usage(GError **errp, const char *format, ...)
    G_GNUC_PRINTF(2, 3);

#endif /* KSM_CTL_COMMAND_H */
