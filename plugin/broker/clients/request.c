/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * request.c: handles each message of a client.
 *
 * Checks come first and are made on copies: the kernel has copied the packet,
 * and arrays are copied out of the bulk memory before they are examined.  Any
 * violation of the protocol closes the connection.  What was done before
 * stands, and belongs to the process as usual.
 *
 * A request sees its packet and the state of its connection, and returns its
 * reply.  This code cannot reach any socket, neither its client's nor
 * another's.  If a HELLO closes another connection, or lets other clients'
 * HELLOs continue, session.c calls the broker (`close` and `ready` in
 * state.h).
 *
 * Work of a request is bounded by its arrays, except for what goes on in
 * steps, between which others have their turns: WITHDRAW, RELEASE and RECLAIM
 * of long ranges, the sum of which may not be more than the session has pages,
 * and PUBLISH of tiles, as one of 256 tiles of 64 slots writes 64 MiB.  The
 * client is answered, and its next request read, when the last step is done.
 */
#include "clients/request.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "clients/cpu-grants.h"
#include "clients/broker-limits.h"
#include "clients/client-stats.h"
#include "clients/settings.h"
#include "clients/session.h"
#include "group/reclaim.h"
#include "group/results.h"
#include "group/lookup.h"
#include "group/member.h"
#include "group/publish.h"
#include "host/log.h"
#include "host/memfd.h"
#include "store/store.h"
#include "error.h"

#define JOB_STEP_PAGES 16384u /* pages that are not bound */
#define JOB_STEP_BOUND 4096u  /* pages that are or become bound: some 1 ms */
#define PUBLISH_STEP_SLOTS \
    512u /* some 0.5 ms of writing; covers every PUBLISH
                                   without tiles */

static gboolean protocol_error(GError **errp, const char *format, ...)
    G_GNUC_PRINTF(2, 3);

static gboolean protocol_error(GError **errp, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (errp != NULL) {
        *errp = g_error_new_valist(KSM_ERROR, KSM_ERROR_PROTOCOL, format, args);
    }
    va_end(args);
    return FALSE;
}

/* Replies to the current request with @message, which begins with a KsmMsg. */
static KsmRequestResult reply_with(const KsmRequestState *self, KsmReply *reply,
                                   gconstpointer message, gsize bytes)
{
    g_assert(bytes <= sizeof(reply->packet) && reply->bytes == 0);
    memcpy(reply->packet, message, bytes);
    ((KsmMsg *)(void *)reply->packet)->serial = self->serial;
    reply->bytes = bytes;
    return KSM_REQUEST_REPLY;
}

static KsmRequestResult reply_simple(const KsmRequestState *self,
                                     KsmReply *reply, KsmMsgType type,
                                     guint count)
{
    KsmMsg message = { .type = type, .count = count };

    return reply_with(self, reply, &message, sizeof(message));
}

static void drop_job(KsmRequestState *self)
{
    g_clear_pointer(&self->job.ranges, g_free);
    g_clear_pointer(&self->publish.items, g_free);
    g_clear_pointer(&self->publish.answers, g_free);
}

void ksm_request_clear(KsmRequestState *self)
{
    if (self->bulk != NULL) {
        munmap(self->bulk, KSM_BULK_BYTES);
        self->bulk = NULL;
    }
    drop_job(self);
}

/* Creates the memory shared with the client; its descriptor goes to WELCOME. */
static gboolean make_bulk(KsmRequestState *self, KsmReply *reply, GError **errp)
{
    int fd = ksm_memfd_new("ksm-bulk", KSM_BULK_BYTES, errp);
    gpointer bulk;

    if (fd < 0) {
        return FALSE;
    }
    bulk = mmap(NULL, KSM_BULK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                0);
    if (bulk == MAP_FAILED) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_LIMIT,
                    "cannot map the bulk memory: %s", g_strerror(errno));
        close(fd);
        return FALSE;
    }
    self->bulk = bulk;
    reply->fds[reply->fd_count++] = fd;
    return TRUE;
}

KsmRequestResult ksm_request_welcome(KsmRequestState *self, KsmReply *reply,
                                     GError **errp)
{
    const KsmGroup *group = self->session->shard->group;
    KsmMsgWelcome message = {
        .msg = { .type = KSM_MSG_WELCOME },
        .version = self->session->version,
        .outcome = self->welcome,
        .broker_id = self->broker->broker_id,
        .store_id = group->store_id,
        .store_bytes = ksm_store_bytes(group->store),
        .max_pages = self->broker->limits.max_pages,
        .engine = self->session->engine,
    };
    int store_fd;

    if (!make_bulk(self, reply, errp)) {
        return KSM_REQUEST_FAILED;
    }
    store_fd = ksm_store_open(group->store, errp);
    if (store_fd < 0) {
        return KSM_REQUEST_FAILED;
    }
    reply->fds[reply->fd_count++] = store_fd;
    /* Before the client can map it: roster.c.  Also if the client may keep the
       one it has, because it may use this one instead. */
    if (!ksm_session_mark(self->session, store_fd, errp)) {
        return KSM_REQUEST_FAILED;
    }
    return reply_with(self, reply, &message,
                      ksm_proto_welcome_bytes(self->session->version));
}

static KsmRequestResult handle_hello(KsmRequestState *self,
                                     const guint8 *packet, gsize bytes,
                                     int store_fd, KsmReply *reply,
                                     GError **errp)
{
    KsmMsgHello hello = { .magic = 0 };

    memcpy(&hello, packet, MIN(bytes, sizeof(hello)));
    if (self->session != NULL) {
        return protocol_error(errp, "a second HELLO");
    }
    if (hello.msg.count != 0) {
        return protocol_error(errp, "HELLO with %u items", hello.msg.count);
    }
    self->session = ksm_session_open(self, self->process, &hello, store_fd,
                                     &self->welcome, errp);
    if (self->session == NULL) {
        return KSM_REQUEST_FAILED;
    }
    ksm_log(KSM_LOG_DEBUG, "session %s of process %d, group %s: %s",
            self->session->name, (int)self->process->pid,
            self->session->shard->key,
            self->welcome == KSM_WELCOME_NEW     ? "begun" :
            self->welcome == KSM_WELCOME_RESUMED ? "resumed" :
                                                   "taken up");
    return ksm_session_is_ready(self->session) ?
               ksm_request_welcome(self, reply, errp) :
               KSM_REQUEST_LATER;
}

static KsmRequestResult handle_resize(KsmRequestState *self,
                                      const guint8 *packet, KsmReply *reply,
                                      GError **errp)
{
    KsmMsgResize resize;

    memcpy(&resize, packet, sizeof(resize));
    if (!ksm_session_resize(self->session, resize.pages, errp)) {
        return KSM_REQUEST_FAILED;
    }
    return reply_simple(self, reply, KSM_MSG_OK, 0);
}

/* REFUSED answers are caused by a limit; logs that once a minute. */
static void note_refusals(const KsmRequestState *self, const KsmAnswer *answers,
                          guint count)
{
    guint i;

    for (i = 0; i < count; i++) {
        if (answers[i].kind == KSM_ANSWER_REFUSED) {
            ksm_broker_note_refused(self->broker, self->process->user);
            return;
        }
    }
}

static KsmRequestResult handle_lookup(KsmRequestState *self, guint count,
                                      KsmReply *reply, GError **errp)
{
    KsmLookup items[KSM_BATCH_LOOKUPS];
    KsmAnswer answers[KSM_BATCH_LOOKUPS];

    if (count > KSM_BATCH_LOOKUPS) {
        return protocol_error(errp, "LOOKUP of %u items", count);
    }
    memcpy(items, self->bulk + KSM_BULK_REQUEST, count * sizeof(*items));
    if (!ksm_group_lookup(self->session->member, items, count, answers, errp)) {
        return KSM_REQUEST_FAILED;
    }
    note_refusals(self, answers, count);
    memcpy(self->bulk + KSM_BULK_REPLY, answers, count * sizeof(*answers));
    return reply_simple(self, reply, KSM_MSG_ANSWERS, count);
}

/* Number of remaining items to process in one step: at least one. */
static guint publish_step_items(const KsmPublishJob *job)
{
    guint count = 0;
    guint64 slots = 0;

    while (job->at + count < job->count) {
        guint32 order = job->items[job->at + count].tile_order;

        /* ksm_group_publish() rejects the request if this order is invalid. */
        slots += (guint64)1 << MIN(order, KSM_MAX_TILE_ORDER);
        if (count > 0 && slots > PUBLISH_STEP_SLOTS) {
            break;
        }
        count++;
    }
    return count;
}

/*
 * The items of one step are a complete PUBLISH: their contents are copied,
 * filed and written within it.  So requests of other clients between two steps
 * never see anything half done.
 */
static KsmRequestResult publish_step(KsmRequestState *self, KsmReply *reply,
                                     GError **errp)
{
    KsmPublishJob *job = &self->publish;
    guint count = publish_step_items(job);

    if (!ksm_group_publish(self->session->member, job->items + job->at, count,
                           self->bulk + KSM_BULK_CONTENT +
                               (gsize)job->at * KSM_STORE_PAGE_BYTES,
                           job->answers + job->at, errp)) {
        drop_job(self);
        return KSM_REQUEST_FAILED;
    }
    job->at += count;
    if (job->at < job->count) {
        return KSM_REQUEST_MORE;
    }
    note_refusals(self, job->answers, job->count);
    memcpy(self->bulk + KSM_BULK_REPLY, job->answers,
           job->count * sizeof(*job->answers));
    drop_job(self);
    return reply_simple(self, reply, KSM_MSG_ANSWERS, job->count);
}

static KsmRequestResult handle_publish(KsmRequestState *self, guint count,
                                       KsmReply *reply, GError **errp)
{
    if (count > KSM_BATCH_PUBLISH) {
        return protocol_error(errp, "PUBLISH of %u items", count);
    }
    /* One more, so that it is not NULL. */
    self->publish = (KsmPublishJob) {
        .items = g_new0(KsmPublish, count + 1),
        .answers = g_new0(KsmAnswer, count + 1),
        .count = count,
    };
    memcpy(self->publish.items, self->bulk + KSM_BULK_REQUEST,
           count * sizeof(KsmPublish));
    return publish_step(self, reply, errp);
}

static KsmRequestResult handle_fetch_results(KsmRequestState *self,
                                             KsmReply *reply)
{
    KsmResult results[KSM_BATCH_RESULTS];
    guint count = ksm_group_take_results(self->session->member, results,
                                         KSM_BATCH_RESULTS);

    memcpy(self->bulk + KSM_BULK_REPLY, results, count * sizeof(*results));
    return reply_simple(self, reply, KSM_MSG_ANSWERS, count);
}

static KsmRequestResult handle_stats(KsmRequestState *self,
                                     const guint8 *packet, KsmReply *reply)
{
    const KsmMember *member = self->session->member;
    const KsmGroup *group = member->group;
    KsmMsgGroup message = {
        .msg = { .type = KSM_MSG_GROUP },
        .pages_shared = ksm_store_used(group->store),
        .pages_sharing = group->bound,
        .pages_unshared = group->listed,
        .sessions = group->member_count,
        .results_waiting = member->results.count,
    };
    guint32 version = self->session->version;
    KsmMsgStats stats = { .msg = { 0 } };

    memcpy(&stats, packet, ksm_proto_stats_bytes(version));
    ksm_client_stats_take(&self->session->client, &stats, member->table.pages);
    ksm_settings_report(self->session);
    message.setting = self->session->settings.setting;
    message.map_serial = self->session->settings.map_serial;
    return reply_with(self, reply, &message, ksm_proto_group_bytes(version));
}

static KsmRequestResult handle_map(KsmRequestState *self, const guint8 *packet,
                                   KsmReply *reply, GError **errp)
{
    KsmMsgMap map;

    memcpy(&map, packet, sizeof(map));
    if (map.msg.count == 0 || map.msg.count > KSM_BATCH_CELLS ||
        map.pages == 0 || map.pages_per_cell == 0 ||
        (map.pages - 1) / map.pages_per_cell != map.msg.count - 1) {
        return protocol_error(errp, "MAP of %u cells", map.msg.count);
    }
    if (map.map_serial == 0 ||
        map.map_serial != self->session->settings.map_serial) {
        /* The client that asked for it has disconnected. */
        return reply_simple(self, reply, KSM_MSG_OK, 0);
    }
    ksm_settings_take_map(self->session, &map, self->bulk + KSM_BULK_REQUEST);
    return reply_simple(self, reply, KSM_MSG_OK, 0);
}

/* Processes a part of a range; FALSE if a RECLAIM is invalid. */
static gboolean job_do(const KsmRangeJob *job, KsmMember *member, guint32 part,
                       GError **errp)
{
    const KsmReclaimRange *range = &job->ranges[job->at];
    guint32 done = (guint32)job->done;

    if (job->type == KSM_MSG_RECLAIM) {
        return ksm_reclaim_range(member, range->page + done, range->slot + done,
                                 part, errp);
    }
    if (job->type == KSM_MSG_RELEASE) {
        ksm_member_release(member, range->page + done, part);
    } else {
        ksm_member_withdraw(member, range->page + done, part);
    }
    return TRUE;
}

KsmRequestResult ksm_request_step(KsmRequestState *self, KsmReply *reply,
                                  GError **errp)
{
    KsmRangeJob *job = &self->job;
    KsmMember *member = self->session->member;
    guint64 budget = job->type == KSM_MSG_WITHDRAW ? JOB_STEP_PAGES :
                                                     JOB_STEP_BOUND;

    if (self->publish.items != NULL) {
        return publish_step(self, reply, errp);
    }
    while (job->at < job->count && budget > 0) {
        const KsmReclaimRange *range = &job->ranges[job->at];
        guint64 part = MIN(range->count - job->done, budget);

        if (!job_do(job, member, (guint32)part, errp)) {
            g_clear_pointer(&job->ranges, g_free);
            return KSM_REQUEST_FAILED;
        }
        job->done += part;
        budget -= part;
        if (job->done == range->count) {
            job->at++;
            job->done = 0;
        }
    }
    if (job->at < job->count) {
        return KSM_REQUEST_MORE;
    }
    g_clear_pointer(&job->ranges, g_free);
    return reply_simple(self, reply, KSM_MSG_OK, 0);
}

/* Copies the ranges from the bulk memory; never NULL, even without any. */
static KsmReclaimRange *copy_ranges(const KsmRequestState *self,
                                    const KsmMsg *msg)
{
    KsmReclaimRange *ranges = g_new0(KsmReclaimRange, msg->count + 1);
    const guint8 *items = self->bulk + KSM_BULK_REQUEST;
    guint i;

    if (msg->type == KSM_MSG_RECLAIM) {
        memcpy(ranges, items, msg->count * sizeof(*ranges));
        return ranges;
    }
    for (i = 0; i < msg->count; i++) {
        KsmRange range;

        memcpy(&range, items + i * sizeof(range), sizeof(range));
        ranges[i].page = range.first;
        ranges[i].count = range.count;
    }
    return ranges;
}

/* Begins to process ranges. */
static KsmRequestResult handle_ranges(KsmRequestState *self, const KsmMsg *msg,
                                      KsmReply *reply, GError **errp)
{
    guint64 pages = self->session->member->table.pages;
    guint64 sum = 0;
    g_autofree KsmReclaimRange *ranges = NULL;
    guint i;

    if (msg->count > KSM_BATCH_RANGES) {
        return protocol_error(errp, "%u ranges", msg->count);
    }
    ranges = copy_ranges(self, msg);
    for (i = 0; i < msg->count; i++) {
        sum += ranges[i].count;
        if ((guint64)ranges[i].page + ranges[i].count > pages || sum > pages) {
            return protocol_error(
                errp, "range %u: %u pages from %u, of %" G_GUINT64_FORMAT, i,
                ranges[i].count, ranges[i].page, pages);
        }
    }
    self->job = (KsmRangeJob) {
        .ranges = g_steal_pointer(&ranges),
        .count = msg->count,
        .type = msg->type,
    };
    return ksm_request_step(self, reply, errp);
}

/* Slots that the client mapped before this broker started; none: it is done. */
static KsmRequestResult handle_reclaim(KsmRequestState *self, const KsmMsg *msg,
                                       KsmReply *reply, GError **errp)
{
    KsmMember *member = self->session->member;

    if (!member->reclaiming) {
        return protocol_error(errp, "unexpected RECLAIM");
    }
    if (msg->count > 0) {
        return handle_ranges(self, msg, reply, errp);
    }
    ksm_reclaim_done(member);
    return reply_simple(self, reply, KSM_MSG_OK, 0);
}

static KsmRequestResult handle_cpu_time(KsmRequestState *self, guint32 pages,
                                        KsmReply *reply)
{
    const guint64 own = self->session->member->table.pages;
    KsmCpuGrant grant = ksm_cpu_grants_ask(&self->broker->cpu,
                                           &self->session->cpu, MIN(pages, own),
                                           g_get_monotonic_time());
    KsmMsgGrant message = {
        .msg = { .type = KSM_MSG_GRANT },
        .cpu_us = grant.cpu_us,
        .wait_us = grant.wait_us,
    };

    return reply_with(self, reply, &message, sizeof(message));
}

/* Size of a request; 0: not a request.  A HELLO's size depends on @version. */
static gsize request_bytes(const KsmRequestState *self, guint32 type,
                           guint32 version)
{
    switch (type) {
    case KSM_MSG_HELLO:
        return ksm_proto_hello_bytes(version);
    case KSM_MSG_RESIZE:
        return sizeof(KsmMsgResize);
    case KSM_MSG_STATS:
        return ksm_proto_stats_bytes(
            self->session != NULL ? self->session->version : KSM_PROTO_VERSION);
    case KSM_MSG_MAP:
        return sizeof(KsmMsgMap);
    case KSM_MSG_LOOKUP:
    case KSM_MSG_PUBLISH:
    case KSM_MSG_WITHDRAW:
    case KSM_MSG_RELEASE:
    case KSM_MSG_FETCH_RESULTS:
    case KSM_MSG_RECLAIM:
        return sizeof(KsmMsg);
    case KSM_MSG_CPU_TIME:
        return self->session == NULL ||
                       self->session->version > KSM_PROTO_SILENT ?
                   sizeof(KsmMsg) :
                   0;
    default:
        return 0;
    }
}

static gboolean request_check(const KsmRequestState *self, const KsmMsg *msg,
                              gsize bytes, guint32 version, GError **errp)
{
    gsize want = request_bytes(self, msg->type, version);

    if (want == 0) {
        return protocol_error(errp, "unknown message %u", msg->type);
    }
    /* A HELLO of a future version may be longer: the rest is ignored. */
    if (bytes < want || (bytes > want && version <= KSM_PROTO_VERSION)) {
        return protocol_error(errp, "message %u of %zu bytes", msg->type,
                              bytes);
    }
    if (msg->reserved != 0) {
        return protocol_error(errp, "message %u with reserved bits set",
                              msg->type);
    }
    if (self->session == NULL && msg->type != KSM_MSG_HELLO) {
        return protocol_error(errp, "message %u before HELLO", msg->type);
    }
    if (self->session != NULL && self->session->member->reclaiming &&
        msg->type != KSM_MSG_RECLAIM && msg->type != KSM_MSG_HELLO) {
        return protocol_error(errp, "message %u before the end of RECLAIM",
                              msg->type);
    }
    return TRUE;
}

KsmRequestResult ksm_request_handle(KsmRequestState *self, const guint8 *packet,
                                    gsize bytes, int store_fd, KsmReply *reply,
                                    GError **errp)
{
    guint32 version = 0;
    KsmMsg msg;

    if (bytes < sizeof(msg)) {
        return protocol_error(errp, "a packet of %zu bytes", bytes);
    }
    memcpy(&msg, packet, sizeof(msg));
    self->serial = msg.serial;
    /* Other versions may have another size. */
    if (msg.type == KSM_MSG_HELLO &&
        !ksm_session_check_version(packet, bytes, &version, errp)) {
        return KSM_REQUEST_FAILED;
    }
    if (!request_check(self, &msg, bytes, version, errp)) {
        return KSM_REQUEST_FAILED;
    }
    switch (msg.type) {
    case KSM_MSG_HELLO:
        return handle_hello(self, packet, bytes, store_fd, reply, errp);
    case KSM_MSG_RESIZE:
        return handle_resize(self, packet, reply, errp);
    case KSM_MSG_LOOKUP:
        return handle_lookup(self, msg.count, reply, errp);
    case KSM_MSG_PUBLISH:
        return handle_publish(self, msg.count, reply, errp);
    case KSM_MSG_WITHDRAW:
    case KSM_MSG_RELEASE:
        return handle_ranges(self, &msg, reply, errp);
    case KSM_MSG_RECLAIM:
        return handle_reclaim(self, &msg, reply, errp);
    case KSM_MSG_FETCH_RESULTS:
        return handle_fetch_results(self, reply);
    case KSM_MSG_CPU_TIME:
        return handle_cpu_time(self, msg.count, reply);
    case KSM_MSG_MAP:
        return handle_map(self, packet, reply, errp);
    default:
        return handle_stats(self, packet, reply);
    }
}
