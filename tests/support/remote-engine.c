/* SPDX-License-Identifier: GPL-2.0-or-later */
/* remote-engine.c: another process with an engine, driven by commands. */
#include "remote-engine.h"

#include <errno.h>
#include <linux/mempolicy.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker-proc.h"
#include "require.h"

#define FLAG "--remote"
#define END_SECONDS 60.0
#define HUGE_BYTES ((gsize)2 << 20)

typedef enum OrderKind {
    ORDER_SETUP,
    ORDER_FILL,
    ORDER_CHECK,
    ORDER_RUN,
    ORDER_ROUND,
    ORDER_STATE,
    ORDER_DISCARD,
    ORDER_REMAP,
    ORDER_KEEP_HUGE,
    ORDER_PAGE_OUT,
    ORDER_QUIT,
} OrderKind;

typedef struct Order {
    guint32 order; /* OrderKind */
    guint32 kind;  /* KsmTestKind */
    guint64 first, count, seed;
    guint32 each;
    guint32 run;
    /* ORDER_SETUP */
    char socket[128];
    char group[64];
    char name[64];
    KsmRemoteSpec spec; /* its pointers are not used */
} Order;

struct KsmRemote {
    int fd;
    pid_t pid;
    guint64 pages;
};

typedef struct Actor {
    KsmEngine *engine;
    KsmRegion *region;
    unsigned char *memory;
    guint64 bytes;
} Actor;

static gboolean never_held(const void *addr, gsize bytes, void *opaque)
{
    (void)addr;
    (void)bytes;
    (void)opaque;
    return FALSE;
}

/* At a multiple of 2 MiB, where huge pages can be. */
static void actor_map(Actor *actor, const KsmRemoteSpec *spec)
{
    gsize behind;

    actor->bytes = spec->pages * KSM_PAGE_BYTES;
    actor->memory = mmap(NULL, actor->bytes + HUGE_BYTES,
                         PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    g_assert_true(actor->memory != MAP_FAILED);
    behind = (gsize)actor->memory % HUGE_BYTES;
    munmap(actor->memory + HUGE_BYTES - behind + actor->bytes, behind);
    munmap(actor->memory, HUGE_BYTES - behind);
    actor->memory += HUGE_BYTES - behind;
}

/* As QEMU does: after the engine has taken the memory into its care. */
static void actor_bind(Actor *actor, int node)
{
    unsigned long nodes = 1ul << node;

    g_assert_cmpint(syscall(SYS_mbind, actor->memory, actor->bytes, MPOL_BIND,
                            &nodes, 64ul, 0),
                    ==, 0);
}

static void actor_setup(Actor *actor, const Order *order)
{
    const KsmRemoteSpec *spec = &order->spec;
    g_autoptr(GError) error = NULL;
    KsmOptions options;

    actor_map(actor, spec);
    ksm_options_init(&options);
    options.broker = order->socket;
    options.group = order->group;
    options.name = order->name;
    options.start_broker = spec->start_broker;
    options.required = TRUE;
    options.run = spec->run;
    options.scan_interval_ms = spec->scan_interval_ms;
    options.scan_cpu_percent = spec->scan_cpu_percent;
    options.max_mappings = spec->max_mappings;
    options.keep_huge = spec->keep_huge;
    options.dma_in_flight = spec->tells_held ? never_held : NULL;
    options.node = spec->on_node ? spec->node : -1;
    actor->engine = ksm_engine_new(&options, &error);
    g_assert_no_error(error);
    actor->region = ksm_region_add(actor->engine, "ram", actor->memory,
                                   actor->bytes, spec->flags | KSM_REGION_FRESH,
                                   &error);
    g_assert_no_error(error);
    if (spec->on_node) {
        actor_bind(actor, spec->node);
    }
    ksm_engine_start(actor->engine, &error);
    g_assert_no_error(error);
}

static guint64 actor_pages(Actor *actor, const Order *order)
{
    guint64 wrong = 0;
    guint64 i;

    for (i = order->first; i < order->first + order->count; i++) {
        void *page = actor->memory + i * KSM_PAGE_BYTES;
        guint64 seed = order->seed + (order->each ? i : 0);

        if (order->order == ORDER_FILL) {
            ksm_test_page_make(page, order->kind, seed);
        } else {
            wrong += !ksm_test_page_is(page, order->kind, seed);
        }
    }
    return wrong;
}

static void actor_remap(Actor *actor, gsize offset, gsize bytes)
{
    void *where = actor->memory + offset;

    g_assert_true(mmap(where, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                       0) == where);
    ksm_region_remapped(actor->region, offset, bytes);
}

static void actor_obey(Actor *actor, const Order *order, KsmRemoteState *state)
{
    memset(state, 0, sizeof(*state));
    switch ((OrderKind)order->order) {
    case ORDER_SETUP:
        actor_setup(actor, order);
        break;
    case ORDER_FILL:
    case ORDER_CHECK:
        state->result = actor_pages(actor, order);
        break;
    case ORDER_DISCARD:
        ksm_region_discard(actor->region, order->first * KSM_PAGE_BYTES,
                           order->count * KSM_PAGE_BYTES);
        break;
    case ORDER_REMAP:
        actor_remap(actor, order->first * KSM_PAGE_BYTES,
                    order->count * KSM_PAGE_BYTES);
        break;
    case ORDER_RUN:
        ksm_engine_set_run(actor->engine, (KsmRunMode)order->run);
        break;
    case ORDER_KEEP_HUGE:
        ksm_engine_set_keep_huge(actor->engine, (guint)order->count, NULL);
        break;
    case ORDER_PAGE_OUT:
        g_assert_cmpint(madvise(actor->memory + order->first * KSM_PAGE_BYTES,
                                order->count * KSM_PAGE_BYTES, MADV_PAGEOUT),
                        ==, 0);
        break;
    case ORDER_ROUND:
        ksm_engine_run_round(actor->engine);
        break;
    case ORDER_STATE:
        ksm_engine_get_stats(actor->engine, &state->stats);
        ksm_test_maps_read(actor->memory, actor->bytes, &state->maps);
        state->all_mappings = ksm_test_count_mappings();
        state->fds = ksm_test_count_fds();
        break;
    case ORDER_QUIT:
        ksm_region_remove(actor->region);
        ksm_engine_free(actor->engine);
        munmap(actor->memory, actor->bytes);
        break;
    }
}

void ksm_remote_main(int argc, char **argv)
{
    Actor actor = { 0 };
    KsmRemoteState state;
    Order order;
    int fd;

    if (argc != 3 || strcmp(argv[1], FLAG) != 0) {
        return;
    }
    fd = atoi(argv[2]);
    do {
        gssize n = recv(fd, &order, sizeof(order), 0);

        if (n == 0 || (n < 0 && errno == ECONNRESET)) {
            _exit(0); /* the test has ended */
        }
        g_assert_cmpint(n, ==, sizeof(order));
        actor_obey(&actor, &order, &state);
        n = send(fd, &state, sizeof(state), MSG_NOSIGNAL);
        g_assert_cmpint(n, ==, sizeof(state));
    } while (order.order != ORDER_QUIT);
    exit(0);
}

static void say(KsmRemote *remote, const Order *order)
{
    gssize n = send(remote->fd, order, sizeof(*order), MSG_NOSIGNAL);

    g_assert_cmpint(n, ==, sizeof(*order));
}

static void hear(KsmRemote *remote, KsmRemoteState *state)
{
    gssize n = recv(remote->fd, state, sizeof(*state), 0);

    if (n != sizeof(*state)) {
        int status = ksm_test_reap(remote->pid, END_SECONDS);

        g_error("process %d ended: status 0x%x", (int)remote->pid, status);
    }
}

static void command(KsmRemote *remote, const Order *order,
                    KsmRemoteState *state)
{
    say(remote, order);
    hear(remote, state);
}

/* Starts the process and gives the first order; its answer comes later. */
static KsmRemote *launch(const KsmRemoteSpec *spec)
{
    KsmRemote *remote = g_new0(KsmRemote, 1);
    Order order = { .order = ORDER_SETUP, .spec = *spec };
    char number[16];
    const char *argv[] = { "/proc/self/exe", FLAG, number, NULL };
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds),
                    ==, 0);
    g_snprintf(number, sizeof(number), "%d", fds[1]);
    remote->fd = fds[0];
    remote->pages = spec->pages;
    remote->pid = ksm_test_spawn(argv, fds[1], -1);
    close(fds[1]);
    g_strlcpy(order.socket, spec->socket, sizeof(order.socket));
    g_strlcpy(order.group, spec->group ? spec->group : "test",
              sizeof(order.group));
    g_strlcpy(order.name, spec->name ? spec->name : "", sizeof(order.name));
    if (!order.spec.scan_interval_ms) {
        order.spec.scan_interval_ms = 20;
    }
    if (!order.spec.scan_cpu_percent) {
        order.spec.scan_cpu_percent = 100;
    }
    say(remote, &order);
    return remote;
}

void ksm_remotes_new(KsmRemote **remotes, guint count,
                     const KsmRemoteSpec *spec)
{
    KsmRemoteState state;
    guint i;

    for (i = 0; i < count; i++) {
        remotes[i] = launch(spec);
    }
    for (i = 0; i < count; i++) {
        hear(remotes[i], &state);
    }
}

KsmRemote *ksm_remote_new(const KsmRemoteSpec *spec)
{
    KsmRemote *remote;

    ksm_remotes_new(&remote, 1, spec);
    return remote;
}

static guint64 pages_order(KsmRemote *remote, OrderKind what, guint64 first,
                           guint64 count, KsmTestKind kind, guint64 seed,
                           gboolean each)
{
    Order order = {
        .order = what,
        .first = first,
        .count = count,
        .kind = kind,
        .seed = seed,
        .each = each,
    };
    KsmRemoteState state;

    g_assert_cmpuint(first + count, <=, remote->pages);
    command(remote, &order, &state);
    return state.result;
}

void ksm_remote_fill(KsmRemote *remote, guint64 first, guint64 count,
                     KsmTestKind kind, guint64 seed, gboolean each)
{
    pages_order(remote, ORDER_FILL, first, count, kind, seed, each);
}

guint64 ksm_remote_check(KsmRemote *remote, guint64 first, guint64 count,
                         KsmTestKind kind, guint64 seed, gboolean each)
{
    return pages_order(remote, ORDER_CHECK, first, count, kind, seed, each);
}

void ksm_remote_discard(KsmRemote *remote, guint64 first, guint64 count)
{
    pages_order(remote, ORDER_DISCARD, first, count, KSM_TEST_ZERO, 0, FALSE);
}

void ksm_remote_remap(KsmRemote *remote, guint64 first, guint64 count)
{
    pages_order(remote, ORDER_REMAP, first, count, KSM_TEST_ZERO, 0, FALSE);
}

void ksm_remote_page_out(KsmRemote *remote, guint64 first, guint64 count)
{
    pages_order(remote, ORDER_PAGE_OUT, first, count, KSM_TEST_ZERO, 0, FALSE);
}

void ksm_remote_set_run(KsmRemote *remote, KsmRunMode run)
{
    Order order = { .order = ORDER_RUN, .run = run };
    KsmRemoteState state;

    command(remote, &order, &state);
}

void ksm_remote_set_keep_huge(KsmRemote *remote, guint pages)
{
    Order order = { .order = ORDER_KEEP_HUGE, .count = pages };
    KsmRemoteState state;

    command(remote, &order, &state);
}

void ksm_remote_round(KsmRemote *remote)
{
    Order order = { .order = ORDER_ROUND };
    KsmRemoteState state;

    command(remote, &order, &state);
}

void ksm_remote_state(KsmRemote *remote, KsmRemoteState *state)
{
    Order order = { .order = ORDER_STATE };

    command(remote, &order, state);
}

int ksm_remote_pid(KsmRemote *remote)
{
    return remote->pid;
}

void ksm_remote_kill(KsmRemote *remote)
{
    kill(remote->pid, SIGKILL);
    ksm_test_reap(remote->pid, END_SECONDS);
    remote->pid = 0;
}

void ksm_remote_free(KsmRemote *remote)
{
    Order order = { .order = ORDER_QUIT };
    KsmRemoteState state;

    if (remote->pid) {
        int status;

        command(remote, &order, &state);
        status = ksm_test_reap(remote->pid, END_SECONDS);
        g_assert_true(WIFEXITED(status));
        g_assert_cmpint(WEXITSTATUS(status), ==, 0);
    }
    close(remote->fd);
    g_free(remote);
}

guint64 ksm_remotes_settle(KsmRemote **remotes, guint count, guint64 expected,
                           double seconds)
{
    double end = ksm_test_now() + seconds;
    double since = ksm_test_now();
    guint64 last = 0;
    guint i;

    for (i = 0; i < count; i++) {
        ksm_remote_set_run(remotes[i], KSM_RUN_RUN);
    }
    for (;;) {
        guint64 shared = 0, all = 0;

        for (i = 0; i < count; i++) {
            KsmRemoteState state;

            ksm_remote_state(remotes[i], &state);
            shared += state.stats.pages_sharing + state.stats.zero_pages;
            all += state.stats.pages_unshared;
        }
        all += shared;
        if (all != last) {
            last = all;
            since = ksm_test_now();
        }
        if ((shared >= expected && ksm_test_now() - since > 1.0) ||
            ksm_test_now() > end) {
            return shared;
        }
        g_usleep(50000);
    }
}
