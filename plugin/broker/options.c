/* SPDX-License-Identifier: GPL-2.0-or-later */
/* options.c: the command line of guest-ksmd. */
#include "options.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>

#include "clients/broker-limits.h"
#include "host/log.h"
#include "error.h"

#define PAGES_PER_MIB 256
#define PAGES_MAX ((gint64)G_MAXUINT32)
#define MAX_CPU_PERCENT 100000
#define NOT_GIVEN G_MININT /* where 0 is a value */

/* Values as parsed by GOption; 0 or NULL, or NOT_GIVEN: not given. */
typedef struct Given {
    char *log_level, *socket_mode, *socket_group, *control_group, *user;
    gboolean no_orphan_check;
    gint idle_exit, max_sessions, max_process_sessions, max_user_percent;
    gint max_cpu_percent;
    gint64 max_pages, max_process_pages, max_total_pages, max_store_mib;
} Given;

static gboolean invalid(GError **errp, const char *option, const char *why)
{
    g_set_error(errp, KSM_ERROR, KSM_ERROR_INVALID, "--%s: %s", option, why);
    return FALSE;
}

static gboolean apply_limits(KsmBrokerLimits *limits, const Given *given,
                             GError **errp)
{
    ksm_broker_default_limits(limits);
    limits->no_orphan_check = given->no_orphan_check;
    if (given->max_sessions < 0 || given->max_sessions > 60000) {
        return invalid(errp, "max-sessions", "1 to 60000");
    }
    if (given->max_process_sessions < 0) {
        return invalid(errp, "max-process-sessions", "at least 1");
    }
    if (given->max_pages < 0 || given->max_pages > PAGES_MAX) {
        return invalid(errp, "max-pages", "1 to 4294967295");
    }
    if (given->max_process_pages < 0) {
        return invalid(errp, "max-process-pages", "at least 1");
    }
    if (given->max_user_percent < 0 || given->max_user_percent > 100) {
        return invalid(errp, "max-user-percent", "1 to 100");
    }
    if (given->max_total_pages < 0) {
        return invalid(errp, "max-total-pages", "at least 1");
    }
    if (given->max_store_mib < 0 || given->max_store_mib > 1 << 22) {
        return invalid(errp, "max-store-mib", "1 to 4194304");
    }
    if (given->max_cpu_percent != NOT_GIVEN) {
        if (given->max_cpu_percent < 0 ||
            given->max_cpu_percent > MAX_CPU_PERCENT) {
            return invalid(errp, "max-cpu-percent", "0 (no limit) to 100000");
        }
        limits->max_cpu_percent = (guint)given->max_cpu_percent;
    }
    if (given->max_sessions > 0) {
        limits->max_sessions = (guint)given->max_sessions;
    }
    if (given->max_process_sessions > 0) {
        limits->max_process_sessions = (guint)given->max_process_sessions;
    }
    if (given->max_pages > 0) {
        limits->max_pages = (guint64)given->max_pages;
    }
    if (given->max_process_pages > 0) {
        limits->max_process_pages = (guint64)given->max_process_pages;
    }
    if (given->max_user_percent > 0) {
        limits->max_user_percent = (guint)given->max_user_percent;
    }
    if (given->max_total_pages > 0) {
        limits->max_total_pages = (guint64)given->max_total_pages;
    }
    if (given->max_store_mib > 0) {
        limits->max_store_slots = (guint64)given->max_store_mib * PAGES_PER_MIB;
    }
    return TRUE;
}

static gboolean find_group(const char *name, const char *option, gid_t *gid,
                           GError **errp)
{
    const struct group *group = name != NULL ? getgrnam(name) : NULL;

    if (name != NULL && group == NULL) {
        return invalid(errp, option, "no such group");
    }
    *gid = group != NULL ? group->gr_gid : (gid_t)-1;
    return TRUE;
}

static gboolean apply_socket(KsmDaemonOptions *options, const Given *given,
                             GError **errp)
{
    guint64 mode = 0660;
    if (given->socket_mode != NULL &&
        (!g_ascii_string_to_unsigned(given->socket_mode, 8, 0, 0777, &mode,
                                     NULL))) {
        return invalid(errp, "socket-mode", "an octal number up to 777");
    }
    options->socket_mode = (mode_t)mode;
    return find_group(given->socket_group, "socket-group",
                      &options->socket_group, errp) &&
           find_group(given->control_group, "control-group",
                      &options->control_group, errp);
}

static gboolean find_user(KsmDaemonOptions *options, const char *name,
                          GError **errp)
{
    const struct passwd *user = name != NULL ? getpwnam(name) : NULL;

    if (name != NULL && user == NULL) {
        return invalid(errp, "user", "no such user");
    }
    if (user != NULL) {
        options->switch_user = TRUE;
        options->uid = user->pw_uid;
        options->gid = user->pw_gid;
    }
    return TRUE;
}

static gboolean apply(KsmDaemonOptions *options, const Given *given,
                      int arguments, GError **errp)
{
    if (arguments > 1) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_INVALID,
                    "it takes no arguments, only options; see --help");
        return FALSE;
    }
    if (given->log_level != NULL && !ksm_log_set_level(given->log_level)) {
        return invalid(errp, "log-level", "error, warning, info or debug");
    }
    if (given->idle_exit < 0) {
        return invalid(errp, "idle-exit", "seconds, 0 for never");
    }
    options->idle_exit_seconds = (guint)given->idle_exit;
    return apply_socket(options, given, errp) &&
           find_user(options, given->user, errp) &&
           apply_limits(&options->limits, given, errp);
}

gboolean ksm_options_parse(KsmDaemonOptions *options, int *argc, char ***argv,
                           GError **errp)
{
    Given given = { .max_cpu_percent = NOT_GIVEN };
    const GOptionEntry entries[] = {
        { "listen", 'l', 0, G_OPTION_ARG_FILENAME, &options->listen,
          "Socket to listen on ($XDG_RUNTIME_DIR/guest-ksm/broker.sock, "
          "for root /run/guest-ksm/broker.sock)",
          "PATH" },
        { "idle-exit", 0, 0, G_OPTION_ARG_INT, &given.idle_exit,
          "Exit after this many seconds without a client (default: never)",
          "SECONDS" },
        { "socket-mode", 0, 0, G_OPTION_ARG_STRING, &given.socket_mode,
          "Mode of the socket (default: 0660)", "OCTAL" },
        { "socket-group", 0, 0, G_OPTION_ARG_STRING, &given.socket_group,
          "Group that may connect", "NAME" },
        { "control", 0, 0, G_OPTION_ARG_FILENAME, &options->control,
          "Socket for guest-ksmctl (control.sock beside the other), or 'none'",
          "PATH" },
        { "control-group", 0, 0, G_OPTION_ARG_STRING, &given.control_group,
          "Group that may read statistics and change settings (default: only "
          "root and the broker's user)",
          "NAME" },
        { "user", 0, 0, G_OPTION_ARG_STRING, &given.user,
          "Change to this user before serving clients; only root can", "NAME" },
        { "max-sessions", 0, 0, G_OPTION_ARG_INT, &given.max_sessions,
          "Maximum number of sessions (default: 2048)", "N" },
        { "max-process-sessions", 0, 0, G_OPTION_ARG_INT,
          &given.max_process_sessions,
          "Maximum number of sessions of a process (default: 64)", "N" },
        { "max-pages", 0, 0, G_OPTION_ARG_INT64, &given.max_pages,
          "Maximum number of guest pages of a session (default: 2^28, 1 TiB)",
          "N" },
        { "max-total-pages", 0, 0, G_OPTION_ARG_INT64, &given.max_total_pages,
          "Maximum number of guest pages of all sessions (default: 16 times "
          "the host's)",
          "N" },
        { "max-process-pages", 0, 0, G_OPTION_ARG_INT64,
          &given.max_process_pages,
          "Maximum number of guest pages of a process (default: twice the "
          "host's)",
          "N" },
        { "max-user-percent", 0, 0, G_OPTION_ARG_INT, &given.max_user_percent,
          "Share that a user may have of what other users leave of each limit "
          "(default: 50)",
          "PERCENT" },
        { "max-cpu-percent", 0, 0, G_OPTION_ARG_INT, &given.max_cpu_percent,
          "Maximum CPU time of all VMs' scanners together, in percent of one "
          "processor; 0: no maximum (default: 20 for every four processors)",
          "PERCENT" },
        { "max-store-mib", 0, 0, G_OPTION_ARG_INT64, &given.max_store_mib,
          "Maximum memory of all stores (default: half of the host's, or of "
          "the control group's limit)",
          "MIB" },
        { "no-orphan-check", 0, 0, G_OPTION_ARG_NONE, &given.no_orphan_check,
          "Refuse only processes that are certain to be children of another "
          "group's VM",
          NULL },
        { "log-level", 0, 0, G_OPTION_ARG_STRING, &given.log_level,
          "error, warning, info (default) or debug", "LEVEL" },
        { "version", 0, 0, G_OPTION_ARG_NONE, &options->show_version,
          "Print the version and exit", NULL },
        { NULL, 0, 0, G_OPTION_ARG_NONE, NULL, NULL, NULL },
    };
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    gboolean ok;

    *options = (KsmDaemonOptions) { 0 };
    g_option_context_set_summary(context, "Keeps one copy of each page that "
                                          "guests of a group have in common.");
    g_option_context_add_main_entries(context, entries, NULL);
    ok = g_option_context_parse(context, argc, argv, errp) &&
         apply(options, &given, *argc, errp);
    g_free(given.log_level);
    g_free(given.socket_mode);
    g_free(given.socket_group);
    g_free(given.control_group);
    g_free(given.user);
    if (!ok) {
        g_clear_pointer(&options->listen, g_free);
        g_clear_pointer(&options->control, g_free);
    }
    return ok;
}
