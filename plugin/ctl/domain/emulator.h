/* SPDX-License-Identifier: GPL-2.0-or-later */
/* emulator.h: what a QEMU program can do. */
#ifndef KSM_CTL_EMULATOR_H
#define KSM_CTL_EMULATOR_H

#include <glib.h>

/** Runs it: it has memory-backend-ksm with all we use, or @errp says why not. */
gboolean ksm_emulator_check(const char *path, GError **errp);

#endif /* KSM_CTL_EMULATOR_H */
