/* SPDX-License-Identifier: GPL-2.0-or-later */
/* confine.h: the broker gives up what it does not need before it serves. */
#ifndef KSM_CONFINE_H
#define KSM_CONFINE_H

#include <glib.h>
#include <sys/types.h>

/* A sanitizer's run time makes calls and reads files that we do not. */
#if defined(__has_feature)
#define KSM_HAS_FEATURE(feature) __has_feature(feature)
#else
#define KSM_HAS_FEATURE(feature) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
    KSM_HAS_FEATURE(address_sanitizer) || KSM_HAS_FEATURE(thread_sanitizer) \
    || KSM_HAS_FEATURE(memory_sanitizer)
#define KSM_SANITIZED 1
#else
#define KSM_SANITIZED 0
#endif

typedef struct KsmConfinement {
    gboolean switch_user;       /* to these: */
    uid_t uid;
    gid_t gid;
    const char *sockets[2];     /* paths to take away at the end, or NULL */
    /* starts the threads there are to be, or NULL: they may do no more than
       this one */
    gboolean (*start_threads)(GError **errp);
} KsmConfinement;

/**
 * Takes all steps, in order; see confine.c.  The process must have one thread
 * only, until it is asked for others.  FALSE: a step failed, and the broker must not serve.
 */
gboolean ksm_confine(const KsmConfinement *confinement, GError **errp);

/** A step; what the kernel lacks is logged and counts as done. */
typedef gboolean KsmConfineStep(const KsmConfinement *confinement,
                                GError **errp);

KsmConfineStep ksm_confine_bounding, ksm_confine_user,
               ksm_confine_capabilities, ksm_confine_landlock,
               ksm_confine_calls;

#endif /* KSM_CONFINE_H */
