/* SPDX-License-Identifier: GPL-2.0-or-later */
/* confine.h: drops privileges that the broker does not need while serving. */
#ifndef KSM_CONFINE_H
#define KSM_CONFINE_H

#include <glib.h>
#include <sys/types.h>

/* A sanitizer's runtime makes system calls and reads files that we do not. */
#if defined(__has_feature)
#define KSM_HAS_FEATURE(feature) __has_feature(feature)
#else
#define KSM_HAS_FEATURE(feature) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
    KSM_HAS_FEATURE(address_sanitizer) || KSM_HAS_FEATURE(thread_sanitizer) || \
    KSM_HAS_FEATURE(memory_sanitizer)
#define KSM_SANITIZED 1
#else
#define KSM_SANITIZED 0
#endif

typedef struct KsmConfinement {
    gboolean switch_user; /* to these: */
    uid_t uid;
    gid_t gid;
    const char *sockets[2]; /* paths to remove on exit, or NULL */
    /* Starts the other threads, confined like this one; NULL: none. */
    gboolean (*start_threads)(GError **errp);
} KsmConfinement;

/**
 * Takes all steps, in order; see confine.c.  The process must have only one
 * thread before start_threads is called.  FALSE: a step failed, and the broker
 * must not serve clients.
 */
gboolean ksm_confine(const KsmConfinement *confinement, GError **errp);

/** One step.  If the kernel does not support it, logs that and returns TRUE. */
typedef gboolean KsmConfineStep(const KsmConfinement *confinement,
                                GError **errp);

KsmConfineStep ksm_confine_bounding, ksm_confine_user, ksm_confine_capabilities,
    ksm_confine_landlock, ksm_confine_calls;

#endif /* KSM_CONFINE_H */
