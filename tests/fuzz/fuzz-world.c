/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz-world.c: one broker for all inputs, without its program.
 *
 * A broker cannot be freed.  So after each input it is notified that the
 * process has exited, and must then have nothing left.
 */
#include "fuzz-world.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/control.h"
#include "fuzz-input.h"
#include "clients/broker-limits.h"
#include "clients/process.h"
#include "host/fd-reaper.h"

#define STORE_SLOTS 512u
#define MAX_TURNS 100000u /* more work than an input can make */

static KsmBroker *broker;

static int listening(int type)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    /* By its number alone it gets a name that nobody else has. */
    g_assert(fd >= 0 &&
             bind(fd, (struct sockaddr *)&address,
                  sizeof(address.sun_family)) == 0 &&
             listen(fd, 8) == 0);
    return fd;
}

KsmBroker *fuzz_world(void)
{
    KsmBrokerLimits limits;

    if (broker == NULL) {
        ksm_log_set_level("error");
        g_assert(ksm_fd_reaper_start(NULL));
        ksm_broker_default_limits(&limits);
        limits.max_sessions = 6;
        limits.max_pages = 4096;
        limits.max_total_pages = 8192;
        limits.max_store_slots = STORE_SLOTS;
        broker = ksm_broker_new(&limits, listening(SOCK_SEQPACKET), -1, 0, NULL,
                                NULL);
        ksm_control_start(broker, listening(SOCK_STREAM), (gid_t)-1);
    }
    return broker;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    fuzz_keep_input();
    fuzz_world();
    return 0;
}

void fuzz_world_run(void)
{
    guint turns;

    for (turns = 0; g_main_context_iteration(NULL, FALSE); turns++) {
        g_assert_cmpuint(turns, <, MAX_TURNS);
    }
}

void fuzz_world_clear(void)
{
    KsmProcess *process;

    fuzz_world_run();
    process = g_hash_table_lookup(broker->processes, GINT_TO_POINTER(getpid()));
    if (process != NULL) {
        ksm_process_ended(process);
    }
    fuzz_world_run();
    g_assert_cmpuint(broker->connections.length, ==, 0);
    g_assert_cmpuint(broker->sessions, ==, 0);
    g_assert_cmpuint(broker->shares[KSM_QUOTA_PAGES].used, ==, 0);
    g_assert_cmpuint(broker->shares[KSM_QUOTA_SLOTS].used, ==, 0);
    g_assert_cmpuint(g_hash_table_size(broker->groups), ==, 0);
}
