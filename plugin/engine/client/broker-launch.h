/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * broker-launch.h: start a broker when none listens.
 */
#ifndef KSM_BROKER_LAUNCH_H
#define KSM_BROKER_LAUNCH_H

#include "guest-ksm.h"

/*
 * Starts guest-ksmd listening at `path`; it ends some seconds after its last
 * session.  Does not wait for it.  Two processes doing this at once leave one
 * broker: the program holds a lock file beside the socket.
 */
gboolean ksm_broker_launch(const char *path, GError **errp);

#endif /* KSM_BROKER_LAUNCH_H */
