/* SPDX-License-Identifier: GPL-2.0-or-later */
/* domain-opts.h: an argument of QEMU's like "type,key=value,...". */
#ifndef KSM_CTL_DOMAIN_OPTS_H
#define KSM_CTL_DOMAIN_OPTS_H

#include <glib.h>

/** The parts, in order: "type", "key=value", ...; commas undoubled. */
typedef GPtrArray KsmOpts;

KsmOpts *ksm_opts_parse(const char *text);

/** The text again; g_free(). */
char *ksm_opts_format(const KsmOpts *opts);

/** The value of a key, or NULL. */
const char *ksm_opts_get(const KsmOpts *opts, const char *key);

/** Changes it in its place, or adds it as the last. */
void ksm_opts_set(KsmOpts *opts, const char *key, const char *value);

/** Takes it out, if it is there. */
void ksm_opts_remove(KsmOpts *opts, const char *key);

#endif /* KSM_CTL_DOMAIN_OPTS_H */
