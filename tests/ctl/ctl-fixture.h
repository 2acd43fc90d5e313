/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ctl-fixture.h: a broker, some engines, and ways to ask on the control socket
 * that share no code with guest-ksmctl.
 */
#ifndef CTL_FIXTURE_H
#define CTL_FIXTURE_H

#include <json-glib/json-glib.h>

#include "broker-proc.h"
#include "remote-engine.h"
#include "ksm-protocol.h"

/** Path of the broker's control socket; free with g_free(). */
char *ctl_fixture_socket(KsmTestBroker *broker);

/** A connection to it; -1 with errno set. */
int ctl_fixture_connect(KsmTestBroker *broker);

/** Sends it as it is, as far as it is taken. */
void ctl_fixture_send(int fd, const char *text, gsize bytes);

/** The next line, without its end; NULL when the connection ended. */
char *ctl_fixture_receive(int fd);

/** One question on a connection of its own, as JSON text; the reply. */
JsonObject *ctl_fixture_ask(KsmTestBroker *broker, const char *request);

/** The same; "code" of the error, which there must be. */
char *ctl_fixture_ask_error(KsmTestBroker *broker, const char *request);

/** The session of that name as the broker knows it; NULL: it is not there. */
JsonObject *ctl_fixture_session(KsmTestBroker *broker, const char *name);

/** Waits until a field of that session has that value. */
void ctl_fixture_wait(KsmTestBroker *broker, const char *name,
                      const char *field, const char *value);

/** Fails the test unless that member is that number. */
void ctl_fixture_assert_int(JsonObject *object, const char *field,
                            gint64 value);

/** An engine of CTL_SCENE_PAGES pages in pause mode. */
#define CTL_SCENE_PAGES 512u
KsmRemote *ctl_fixture_remote(KsmTestBroker *broker, const char *name,
                              const char *group);

/** Two VMs, one/ram0 and two/ram0 of group web, in pause mode. */
typedef struct CtlPair {
    KsmTestBroker *broker;
    KsmRemote *vms[2];
} CtlPair;

#define CTL_PAIR_SHARED 300u /* first pages, of contents that both have */
#define CTL_PAIR_ZEROS 100u  /* of zeros, after those; no more is touched */

/**
 * What each of them has when all is shared, and the slots of their group: where
 * the host has no zero page, zeros are shared as well.
 */
guint ctl_pair_sharing(void);
guint ctl_pair_zeros(void);
guint ctl_pair_slots(void);

/** FALSE when they cannot be here: the test has been skipped. */
gboolean ctl_pair_open(CtlPair *pair);

/** Lets them share all there is; after that they stand still. */
void ctl_pair_share(CtlPair *pair);

/** Checks what must stand in their memory, and ends all of it. */
void ctl_pair_close(CtlPair *pair);

#endif /* CTL_FIXTURE_H */
