/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check-user.c: what QEMU's user may do.
 *
 * A child becomes that user, with its groups, as libvirt does it, tries, and
 * reports the lines through a pipe.  What libvirt adds to that (its own /dev, a
 * security driver) is looked at in check-libvirt.c.
 */
#include "check/check.h"

#include <errno.h>
#include <guest-ksm.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* A name, or a number behind '+', as libvirt has it. */
static gboolean find_user(const char *name, struct passwd *found)
{
    const struct passwd *entry =
        *name == '+' ? getpwuid((uid_t)g_ascii_strtoull(name + 1, NULL, 10)) :
                       getpwnam(name);

    if (entry != NULL) {
        *found = *entry;
    }
    return entry != NULL;
}

static gboolean become(const struct passwd *user)
{
    if (initgroups(user->pw_name, user->pw_gid) || setgid(user->pw_gid) ||
        setuid(user->pw_uid)) {
        return FALSE;
    }
    /* As after exec, which QEMU goes through; else pagemap is root's. */
    return prctl(PR_SET_DUMPABLE, 1) == 0;
}

static void try_memory(FILE *out, const char *name)
{
    g_autoptr(GError) error = NULL;

    if (ksm_check_requirements(&error)) {
        fprintf(out, "%d\tuserfaultfd\t%s may use it, and its own pagemap\n",
                KSM_CHECK_OK, name);
    } else {
        fprintf(out, "%d\tuserfaultfd\t%s: %s\n", KSM_CHECK_WRONG, name,
                error->message);
    }
}

static void try_socket(FILE *out, const char *name, const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    if (connect(sock, (struct sockaddr *)&address, sizeof(address)) == 0) {
        fprintf(out, "%d\tsocket\t%s may connect to %s\n", KSM_CHECK_OK, name,
                path);
    } else if (errno == EACCES) {
        fprintf(out,
                "%d\tsocket\t%s may not connect to %s: make it a member "
                "of the socket's group\n",
                KSM_CHECK_WRONG, name, path);
    } else {
        fprintf(out,
                "%d\tsocket\t%s: %s: start guest-ksmd there, or name the "
                "socket (--broker PATH)\n",
                KSM_CHECK_WRONG, path, g_strerror(errno));
    }
    close(sock);
}

static void child(const KsmCheck *check, const struct passwd *user, int fd)
{
    FILE *out = fdopen(fd, "w");

    if (out == NULL) {
        _exit(1);
    }
    if (check->device_given) {
        /* Whatever the host's says: here root stands for its owner. */
        try_memory(out, user->pw_name);
    }
    if (user->pw_uid != geteuid() && !become(user)) {
        fprintf(out, "%d\tuser\tcannot become %s: %s\n", KSM_CHECK_WRONG,
                user->pw_name, g_strerror(errno));
    } else {
        if (!check->device_given) {
            try_memory(out, user->pw_name);
        }
        try_socket(out, user->pw_name, check->broker);
    }
    fclose(out);
    _exit(0);
}

static void collect(KsmCheck *check, int fd)
{
    g_autoptr(GIOChannel) channel = g_io_channel_unix_new(fd);
    char *line;

    g_io_channel_set_encoding(channel, NULL, NULL);
    while (g_io_channel_read_line(channel, &line, NULL, NULL, NULL) ==
           G_IO_STATUS_NORMAL) {
        g_auto(GStrv) parts = g_strsplit(g_strchomp(line), "\t", 3);

        if (g_strv_length(parts) == 3) {
            ksm_check_add(check, (KsmCheckState)(*parts[0] - '0'), parts[1],
                          "%s", parts[2]);
        }
        g_free(line);
    }
    g_io_channel_shutdown(channel, FALSE, NULL);
}

void ksm_check_user(KsmCheck *check)
{
    const char *name = check->user != NULL ? check->user : check->found_user;
    g_autofree char *own = g_strdup_printf("+%u", geteuid());
    struct passwd user;
    int fds[2];
    pid_t pid;

    if (!find_user(name != NULL ? name : own, &user)) {
        ksm_check_add(check, KSM_CHECK_WRONG, "user", "there is no user '%s'",
                      name != NULL ? name : own);
        return;
    }
    if (user.pw_uid != geteuid() && geteuid() != 0) {
        ksm_check_add(check, KSM_CHECK_ADVICE, "user",
                      "only root can see what %s may do", user.pw_name);
        return;
    }
    if (pipe(fds) != 0) {
        ksm_check_add(check, KSM_CHECK_WRONG, "user", "%s", g_strerror(errno));
        return;
    }
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        close(fds[0]);
        child(check, &user, fds[1]);
    }
    close(fds[1]);
    collect(check, fds[0]);
    waitpid(pid, NULL, 0);
}
