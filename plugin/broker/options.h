/* SPDX-License-Identifier: GPL-2.0-or-later */
/* options.h: the command line of guest-ksmd. */
#ifndef KSM_OPTIONS_H
#define KSM_OPTIONS_H

#include <glib.h>
#include <sys/types.h>

#include "clients/state.h"

typedef struct KsmDaemonOptions {
    char *listen; /* NULL: the default path */
    guint idle_exit_seconds;
    mode_t socket_mode;
    gid_t socket_group;   /* (gid_t)-1: the default group */
    char *control;        /* NULL: beside the session socket */
    gid_t control_group;  /* (gid_t)-1: none */
    gboolean switch_user; /* to these: */
    uid_t uid;
    gid_t gid;
    gboolean show_version;
    KsmBrokerLimits limits;
} KsmDaemonOptions;

/** Parses the command line and sets the log level.  Exits on --help. */
gboolean ksm_options_parse(KsmDaemonOptions *options, int *argc, char ***argv,
                           GError **errp);

#endif /* KSM_OPTIONS_H */
