/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * confine-user.c: another user, and no capabilities.
 *
 * Uses raw system calls where glibc has no wrapper; there is only one thread,
 * so they affect the whole process.
 */
#include "confine/confine.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "error.h"

typedef struct Caps {
    struct __user_cap_data_struct words[_LINUX_CAPABILITY_U32S_3];
} Caps;

static int caps_call(long number, Caps *caps)
{
    struct __user_cap_header_struct header = {
        .version = _LINUX_CAPABILITY_VERSION_3,
    };

    return (int)syscall(number, &header, caps->words);
}

static gboolean caps_are_empty(const Caps *caps)
{
    guint i;

    for (i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
        if (caps->words[i].effective != 0 || caps->words[i].permitted != 0 ||
            caps->words[i].inheritable != 0) {
            return FALSE;
        }
    }
    return TRUE;
}

gboolean ksm_confine_bounding(const KsmConfinement *confinement, GError **errp)
{
    Caps caps = { 0 };
    int cap;

    (void)confinement;
    if (caps_call(SYS_capget, &caps) != 0) {
        return ksm_error_set_failed(errp, "capget");
    }
    if ((caps.words[0].effective & (1u << CAP_SETPCAP)) == 0) {
        return TRUE; /* not permitted, but it can gain none either */
    }
    for (cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++) {
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0) {
            return ksm_error_set_failed(errp, "PR_CAPBSET_DROP");
        }
    }
    return TRUE;
}

/*
 * The parent may have set our parent-death signal; a change of user clears it.
 * Sets it again.  @parent: the parent's pid, from before the change.
 */
static gboolean end_with_parent(int number, pid_t parent, GError **errp)
{
    if (number == 0) {
        return TRUE;
    }
    if (prctl(PR_SET_PDEATHSIG, number, 0, 0, 0) != 0) {
        return ksm_error_set_failed(errp, "PR_SET_PDEATHSIG");
    }
    if (getppid() != parent) {
        raise(number); /* the parent exited in between */
    }
    return TRUE;
}

gboolean ksm_confine_user(const KsmConfinement *confinement, GError **errp)
{
    uid_t uid = confinement->uid;
    gid_t gid = confinement->gid;
    pid_t parent = getppid();
    int number = 0;

    if (!confinement->switch_user || (geteuid() == uid && uid != 0)) {
        return TRUE; /* nothing to do */
    }
    if (prctl(PR_GET_PDEATHSIG, &number, 0, 0, 0) != 0) {
        return ksm_error_set_failed(errp, "PR_GET_PDEATHSIG");
    }
    if (setgroups(0, NULL) != 0 || setresgid(gid, gid, gid) != 0 ||
        setresuid(uid, uid, uid) != 0) {
        return ksm_error_set_failed(errp, "only root may give --user");
    }
    if (!end_with_parent(number, parent, errp)) {
        return FALSE;
    }
    if (uid != 0 && setuid(0) == 0) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_FAILED,
                    "it could become root again");
        return FALSE;
    }
    return TRUE;
}

gboolean ksm_confine_capabilities(const KsmConfinement *confinement,
                                  GError **errp)
{
    Caps caps = { 0 };

    (void)confinement;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) {
        return ksm_error_set_failed(errp, "PR_CAP_AMBIENT_CLEAR_ALL");
    }
    if (caps_call(SYS_capget, &caps) != 0) {
        return ksm_error_set_failed(errp, "capget");
    }
    if (caps_are_empty(&caps)) {
        return TRUE; /* capset may be forbidden by now */
    }
    caps = (Caps) { 0 };
    return caps_call(SYS_capset, &caps) == 0 ||
           ksm_error_set_failed(errp, "capset");
}
