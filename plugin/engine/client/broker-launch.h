/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* broker-launch.h: starts a broker if none listens. */
#ifndef KSM_BROKER_LAUNCH_H
#define KSM_BROKER_LAUNCH_H

#include "guest-ksm.h"

/*
 * Starts guest-ksmd listening at `path`.  The broker exits some seconds after
 * its last session.  Does not wait for the broker.  If two processes do this
 * at once, only one broker remains, because it holds a lock file beside the
 * socket.
 */
gboolean ksm_broker_launch(const char *path, GError **errp);

#endif /* KSM_BROKER_LAUNCH_H */
