/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * oracle-run.h: the parent's side: one broker, several clients, and killing
 * either.
 */
#ifndef TEST_ORACLE_RUN_H
#define TEST_ORACLE_RUN_H

#include <sys/types.h>

#include "broker-proc.h"
#include "oracle.h"

typedef struct OracleRow {
    const char *name;
    guint weight; /* share of KSM_TEST_SECONDS */
    guint clients;
    guint mib; /* region of a client */
    guint features;
    guint max_mappings;
    gboolean kill_clients, kill_broker;
    guint64 least; /* merges and breaks, in all */
} OracleRow;

typedef struct OracleRun {
    const OracleRow *row;
    KsmTestBroker *broker;
    OracleShared *shared;
    int shared_fd;
    pid_t pids[ORACLE_CLIENTS];
    guint64 random;
    KsmStats past; /* of clients that have ended */
    guint client_kills, broker_kills;
    double resume_max;
    guint64 resume_rounds_max;
    KsmStats then[ORACLE_CLIENTS];         /* when the broker was killed */
    guint64 resume_rounds[ORACLE_CLIENTS]; /* until it shared; 0: not yet */
} OracleRun;

/** Starts the broker, and makes what clients need. */
void oracle_run_begin(OracleRun *run, const OracleRow *row);

/** Starts the clients; returns when all threads are at work. */
void oracle_run_start(OracleRun *run);

/** The last figures of a client that are consistent. */
KsmStats oracle_run_client_stats(OracleRun *run, guint index);

/** Of all clients, those that ended too: what happened, not states. */
KsmStats oracle_run_stats(OracleRun *run);

/** Fails when a client has ended before its time. */
void oracle_run_check_alive(OracleRun *run);

/** Waits until all clients' threads are at work. */
void oracle_run_wait_ready(OracleRun *run);

/** SIGKILL to one client at random, and another in its place. */
void oracle_run_kill_client(OracleRun *run);

/** SIGKILL to the broker, another one; waits until sharing goes on. */
void oracle_run_kill_broker(OracleRun *run);

/** Has the clients check everything and end; FALSE when one did so badly. */
gboolean oracle_run_stop(OracleRun *run);

/** Cleans up. */
void oracle_run_end(OracleRun *run);

#endif /* TEST_ORACLE_RUN_H */
