/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bench-worker.c: a process that owns memory, and its commands.
 *
 * Forked without exec: parent and child share a block of anonymous memory for
 * measurements, and a socket pair for commands and replies.  The parent has one
 * thread when it forks.
 */
#include "bench.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker-proc.h"
#include "proc-info.h"

#define END_SECONDS 120.0
#define FILL_PAGES 64u

typedef struct Message {
    guint64 order;
    guint64 first, count, id;
} Message;

typedef struct Actor {
    BenchMemory memory;
    guint64 bytes;
    KsmEngine *engine;
} Actor;

static guint8 *map_memory(const Actor *actor)
{
    void *base = mmap(NULL, actor->bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    g_assert_true(base != MAP_FAILED);
    if (actor->memory.config->huge) {
        madvise(base, actor->bytes, MADV_HUGEPAGE);
    }
    return base;
}

static void actor_map(Actor *actor)
{
    const BenchConfig *config = actor->memory.config;
    BenchMemory *memory = &actor->memory;

    actor->bytes = ((guint64)config->pages + config->room_pages) *
                   KSM_PAGE_BYTES;
    memory->base = map_memory(actor);
    if (config->twin) {
        memory->twin = map_memory(actor);
    }
    if (config->side == BENCH_KSMD) {
        g_assert_cmpint(madvise(memory->base, actor->bytes, MADV_MERGEABLE), ==,
                        0);
    }
}

static void actor_make_engine(Actor *actor, const char *socket)
{
    const BenchConfig *config = actor->memory.config;
    g_autoptr(GError) error = NULL;
    KsmOptions options;

    ksm_options_init(&options);
    options.broker = socket;
    options.group = "bench";
    options.start_broker = FALSE;
    options.required = TRUE;
    options.run = KSM_RUN_PAUSE;
    if (config->interval_ms) {
        options.scan_interval_ms = config->interval_ms;
    }
    options.keep_huge = config->keep_huge;
    if (config->cpu_percent) {
        options.scan_cpu_percent = config->cpu_percent;
    }
    actor->engine = ksm_engine_new(&options, &error);
    g_assert_no_error(error);
    ksm_region_add(actor->engine, "ram", actor->memory.base, actor->bytes,
                   KSM_REGION_FRESH | (config->huge ? KSM_REGION_HUGEPAGE : 0),
                   &error);
    g_assert_no_error(error);
    g_assert_true(ksm_engine_start(actor->engine, &error));
}

static void fill_pages(const BenchMemory *memory, guint8 *base, guint64 first,
                       guint64 end)
{
    guint64 i;

    for (i = first; i < end; i++) {
        volatile guint8 *page = base + i * KSM_PAGE_BYTES;

        bench_content_make(memory->config, memory->ids[i], (void *)(gsize)page);
        *page = *page; /* zeros, too, take a page */
    }
}

/* The twin is filled in turn, so that both get memory of one kind. */
static void actor_fill(Actor *actor)
{
    BenchMemory *memory = &actor->memory;
    guint64 pages = memory->config->pages, first;

    for (first = 0; first < pages; first += FILL_PAGES) {
        guint64 end = MIN(first + FILL_PAGES, pages);

        fill_pages(memory, memory->base, first, end);
        if (memory->twin) {
            fill_pages(memory, memory->twin, first, end);
        }
    }
    memory->shared->mergeable = bench_content_mergeable(memory->config,
                                                        memory->ids,
                                                        memory->config->pages);
}

static guint64 actor_check(Actor *actor)
{
    BenchMemory *memory = &actor->memory;
    guint64 wrong = 0, i;

    for (i = 0; i < memory->config->pages; i++) {
        wrong += !bench_content_is(memory->config, memory->ids[i],
                                   memory->base + i * KSM_PAGE_BYTES);
    }
    return wrong;
}

static void actor_put(Actor *actor, const Message *message)
{
    BenchMemory *memory = &actor->memory;
    guint64 i;

    for (i = 0; i < message->count; i++) {
        guint64 page = message->first + i;

        memory->ids[page] = message->id + i;
        bench_content_make(memory->config, memory->ids[page],
                           memory->base + page * KSM_PAGE_BYTES);
    }
}

static void actor_read_memory(Actor *actor)
{
    BenchShared *shared = actor->memory.shared;
    KsmTestMaps maps;

    ksm_test_maps_read(actor->memory.base, actor->bytes, &maps);
    shared->anonymous_kib = maps.anonymous_kib;
    shared->pss_kib = maps.pss_kib;
    shared->mappings = maps.mappings;
    shared->huge_kib = maps.huge_kib;
}

static guint64 actor_obey(Actor *actor, const Message *message)
{
    BenchShared *shared = actor->memory.shared;
    KsmEngine *engine = actor->engine;

    switch ((BenchOrder)message->order) {
    case BENCH_FILL_MEMORY:
        actor_fill(actor);
        break;
    case BENCH_RUN:
        ksm_engine_set_run(engine, (KsmRunMode)message->first);
        break;
    case BENCH_INTERVAL:
        ksm_engine_set_scan_interval(engine, (guint)message->first, NULL);
        break;
    case BENCH_CPU:
        ksm_engine_set_scan_cpu_percent(engine, (guint)message->first, NULL);
        break;
    case BENCH_STATS:
        ksm_engine_get_stats(engine, &shared->stats);
        break;
    case BENCH_MEMORY:
        actor_read_memory(actor);
        break;
    case BENCH_CHECK:
        return actor_check(actor);
    case BENCH_PUT:
        actor_put(actor, message);
        break;
    case BENCH_COUNT_SHARED:
        return ksm_test_count_foreign(actor->memory.base +
                                          message->first * KSM_PAGE_BYTES,
                                      message->count);
    case BENCH_CLEAR_HISTOGRAM:
        memset(&shared->histogram, 0, sizeof(shared->histogram));
        break;
    case BENCH_COW:
        bench_threads_cow(&actor->memory, message->count, message->first > 0);
        break;
    case BENCH_TOUCH:
    case BENCH_CHASE:
    case BENCH_HOT:
    case BENCH_REWRITE:
    case BENCH_BUSY:
        bench_threads_start(&actor->memory, (BenchOrder)message->order);
        break;
    case BENCH_STOP:
        bench_threads_stop(&actor->memory);
        break;
    case BENCH_QUIT:
        g_clear_pointer(&actor->engine, ksm_engine_free);
        break;
    }
    return 0;
}

static void actor_main(BenchWorker *worker, const BenchConfig *config,
                       const char *socket, guint index)
{
    Actor actor = { .memory = {
                        .config = config,
                        .shared = worker->shared,
                        .index = index,
                        .ids = bench_content_layout(config, index),
                        .threads = g_ptr_array_new(),
                    } };
    Message message = { 0 };

    actor_map(&actor);
    if (config->side == BENCH_OURS) {
        actor_make_engine(&actor, socket);
    }
    do {
        guint64 answer;

        if (recv(worker->fd, &message, sizeof(message), 0) != sizeof(message)) {
            _exit(0); /* the parent has ended */
        }
        answer = actor_obey(&actor, &message);
        if (send(worker->fd, &answer, sizeof(answer), MSG_NOSIGNAL) < 0) {
            _exit(0);
        }
    } while (message.order != BENCH_QUIT);
    _exit(0);
}

void bench_worker_start(BenchWorker *worker, const BenchConfig *config,
                        const char *socket, guint index)
{
    pid_t parent = getpid();
    int fds[2];

    worker->shared = mmap(NULL, sizeof(BenchShared), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    g_assert_true(worker->shared != MAP_FAILED);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds),
                    ==, 0);
    fflush(NULL);
    worker->pid = fork();
    g_assert_cmpint(worker->pid, >=, 0);
    if (worker->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) {
            _exit(1);
        }
        close(fds[0]);
        worker->fd = fds[1];
        actor_main(worker, config, socket, index);
    }
    close(fds[1]);
    worker->fd = fds[0];
}

void bench_worker_tell(BenchWorker *worker, BenchOrder order, guint64 first,
                       guint64 count, guint64 id)
{
    Message message = {
        .order = order,
        .first = first,
        .count = count,
        .id = id,
    };

    g_assert_cmpint(send(worker->fd, &message, sizeof(message), MSG_NOSIGNAL),
                    ==, sizeof(message));
}

guint64 bench_worker_hear(BenchWorker *worker)
{
    guint64 answer = 0;

    if (recv(worker->fd, &answer, sizeof(answer), 0) != sizeof(answer)) {
        g_error("worker %d ended: status 0x%x", (int)worker->pid,
                ksm_test_reap(worker->pid, END_SECONDS));
    }
    return answer;
}

guint64 bench_worker_order(BenchWorker *worker, BenchOrder order, guint64 first,
                           guint64 count, guint64 id)
{
    bench_worker_tell(worker, order, first, count, id);
    return bench_worker_hear(worker);
}

void bench_worker_end(BenchWorker *worker)
{
    bench_worker_order(worker, BENCH_QUIT, 0, 0, 0);
    ksm_test_reap(worker->pid, END_SECONDS);
    close(worker->fd);
    munmap(worker->shared, sizeof(BenchShared));
}
