/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * probe.h: a session that only asks the broker for the statistics of a group,
 * without an engine.  A process can look into one group of one broker.
 */
#ifndef TEST_PROBE_H
#define TEST_PROBE_H

#include <glib.h>
#include <ksm-protocol.h>

typedef struct KsmTestProbe KsmTestProbe;

/** Connects and says HELLO; NULL and a message when refused. */
KsmTestProbe *ksm_test_probe_new(const char *socket, const char *group);

/** The group's figures now; FALSE when the broker has gone. */
gboolean ksm_test_probe_read(KsmTestProbe *probe, KsmMsgGroup *figures);

/** Bytes of the group's store that the host has spent on it. */
guint64 ksm_test_probe_store_bytes(KsmTestProbe *probe);

/** The same by a descriptor of the store and the size of all its slots. */
guint64 ksm_test_store_bytes(int store_fd, guint64 slot_bytes);

void ksm_test_probe_free(KsmTestProbe *probe);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(KsmTestProbe, ksm_test_probe_free)

#endif /* TEST_PROBE_H */
