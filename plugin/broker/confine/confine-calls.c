/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * confine-calls.c: allows only the system calls of confine-calls.list.
 *
 * Any other call kills the process rather than fail: either the broker no
 * longer runs its own code, or the list has an error, which then shows at
 * once.  Calls for another architecture (32-bit) kill it as well.
 */
#include "confine/confine.h"
#include "error.h"

#include <asm/termbits.h>
#include <asm/ioctls.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host/log.h"

/* Conditions on a call's arguments. */
typedef enum Condition {
    ANY,
    READ_ONLY,     /* openat(): to read, and not to make a file */
    READ_WRITE,    /* openat(): what is there */
    OLD_READ_ONLY, /* open() */
    NO_EXEC,       /* mmap(), mprotect() */
    TERMINAL,      /* ioctl(): TCGETS */
    SELF,          /* tgkill(): this process */
    CONDITIONS
} Condition;

typedef struct Call {
    int number;
    Condition condition;
    const char *name;
} Call;

#define CALL(name, condition, why) { SCMP_SYS(name), condition, #name },
static const Call calls[] = {
#include "confine/confine-calls.list"
};
#undef CALL

#define NOT_TO_WRITE (O_ACCMODE | O_CREAT | O_TRUNC)

static int allow(scmp_filter_ctx filter, const Call *call)
{
    const struct scmp_arg_cmp conditions[CONDITIONS] = {
        [READ_ONLY] = SCMP_A2(SCMP_CMP_MASKED_EQ, NOT_TO_WRITE, O_RDONLY),
        [READ_WRITE] = { 2, SCMP_CMP_EQ, O_RDWR | O_CLOEXEC, 0 },
        [OLD_READ_ONLY] = SCMP_A1(SCMP_CMP_MASKED_EQ, NOT_TO_WRITE, O_RDONLY),
        [NO_EXEC] = SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0),
        [TERMINAL] = { 1, SCMP_CMP_EQ, TCGETS, 0 },
        [SELF] = { 0, SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0 },
    };

    return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call->number,
                                  call->condition == ANY ? 0 : 1,
                                  &conditions[call->condition]);
}

static int fill(scmp_filter_ctx filter)
{
    int ret = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    gsize i;

    if (ret == 0) {
        ret = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    }
    for (i = 0; ret == 0 && i < G_N_ELEMENTS(calls); i++) {
        ret = allow(filter, &calls[i]);
        if (ret != 0) {
            ksm_log(KSM_LOG_ERROR, "cannot create a seccomp rule for %s",
                    calls[i].name);
        }
    }
    return ret;
}

gboolean ksm_confine_calls(const KsmConfinement *confinement, GError **errp)
{
    guint32 action = SECCOMP_RET_KILL_PROCESS;
    scmp_filter_ctx filter;
    int ret;

    (void)confinement;
    if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) != 0) {
        ksm_log(KSM_LOG_WARNING,
                "not confined by a system call filter: "
                "%s",
                g_strerror(errno));
        return TRUE;
    }
    filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    ret = filter == NULL ? -ENOMEM : fill(filter);
    if (ret == 0) {
        ret = seccomp_load(filter);
    }
    if (filter != NULL) {
        seccomp_release(filter);
    }
    errno = -ret;
    return ret == 0 || ksm_error_set_failed(errp, "the filter");
}
