/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * session.c: everything that one engine of a process holds in its group.
 *
 *   open ----connection lost---> orphan ----process gone---> ending --> freed
 *    ^  \_______________________process gone_________________^
 *    |______the same engine_______/
 *
 * An orphan also ends when the open file that its engine was given no longer
 * exists (roster.h): then the engine has ended, while its process lives on.
 *
 * An engine is identified by its number (KsmEngineId) and its process.
 * Mistaking one engine for another is the worst that can happen here: it would
 * release, page by page, what the other one has mapped.  So a session is never
 * resumed by its name, which any number of engines may have.  An older client
 * without a number is identified by the open file that it was given: it sends
 * the descriptor with each HELLO, and that descriptor has the mark of its
 * session's entry (roster.c), which no other engine has.
 *
 * An engine that gave the store up before it had reported all slots that it
 * maps (RECLAIM) comes back without the store, and never will.  Then its
 * session is abandoned: it stays an orphan to the end, and the engine gets a
 * new one, with another open file.
 *
 * An orphan keeps its references, because its process may have the slots
 * mapped, but lists nothing.  An orphan without references is freed at once,
 * unless it has not yet reported which ones it has (reclaim.c).
 */
#include "clients/session.h"

#include <stddef.h>
#include <string.h>

#include "clients/cpu-grants.h"
#include "clients/descent.h"
#include "clients/grace.h"
#include "clients/shards.h"
#include "clients/settings.h"
#include "clients/process.h"
#include "clients/request-state.h"
#include "clients/user.h"
#include "group/reclaim.h"
#include "group/member.h"
#include "host/headroom.h"
#include "host/log.h"
#include "host/share.h"
#include "store/roster.h"
#include "store/store.h"
#include "error.h"

#define KSM_ABANDONED " (given up)" /* behind its name */
#define ORPHAN_SECONDS 1u
#define ORPHANS_AT_ONCE 64u /* each walks all locks of a file */

static gboolean name_is_valid(const char *name, gsize size, gboolean strict)
{
    gsize length = strnlen(name, size);
    gsize i;

    if (length == 0 || length == size) {
        return FALSE;
    }
    for (i = 0; i < length; i++) {
        if (strict ?
                !g_ascii_isalnum(name[i]) && strchr("._-", name[i]) == NULL :
                !g_ascii_isprint(name[i])) {
            return FALSE;
        }
    }
    return TRUE;
}

gboolean ksm_session_check_version(const guint8 *packet, gsize bytes,
                                   guint32 *version, GError **errp)
{
    KsmMsgHello hello = { .magic = 0 };

    *version = 0;
    if (bytes < offsetof(KsmMsgHello, pages)) {
        return TRUE; /* request.c then reports the wrong size */
    }
    memcpy(&hello, packet, MIN(bytes, sizeof(hello)));
    if (hello.magic != KSM_PROTO_MAGIC || hello.version < KSM_PROTO_OLDEST) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_PROTOCOL,
                    "protocol version %u; this broker supports %u to %u",
                    hello.magic == KSM_PROTO_MAGIC ? hello.version : 0,
                    KSM_PROTO_OLDEST, KSM_PROTO_VERSION);
        return FALSE;
    }
    *version = hello.version;
    return TRUE;
}

/* Joins the two parts of the name in HELLO; always NUL-terminated. */
static void name_of(const KsmMsgHello *hello, char name[KSM_NAME_BYTES])
{
    const gsize first = sizeof(hello->name);

    memcpy(name, hello->name, first);
    memcpy(name + first, hello->more_name, sizeof(hello->more_name));
    if (memchr(hello->name, '\0', first) != NULL) {
        memset(name + first, 0, KSM_NAME_BYTES - first);
    }
}

static gboolean hello_check(const KsmMsgHello *hello, const char *name,
                            GError **errp)
{
    gsize most = hello->version > KSM_PROTO_NAMELESS ? KSM_NAME_BYTES :
                                                       KSM_NAME_BYTES_5;

    if (hello->reserved != 0 || hello->node < KSM_NODE_ANY) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_PROTOCOL,
                    "HELLO of node %d, reserved %u", hello->node,
                    hello->reserved);
        return FALSE;
    }
    if (!name_is_valid(hello->group, sizeof(hello->group), TRUE)) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_GROUP,
                    "a group name has 1 to 63 characters of A-Z a-z 0-9 . _ -");
        return FALSE;
    }
    if (!name_is_valid(name, most, FALSE)) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_PROTOCOL,
                    "a session name has 1 to %u printable characters",
                    (guint)most - 1);
        return FALSE;
    }
    if (hello->version > KSM_PROTO_NAMELESS &&
        ksm_engine_id_is_none(&hello->engine)) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_PROTOCOL,
                    "HELLO without the engine's number");
        return FALSE;
    }
    return TRUE;
}

/* Whether @process may have @more pages, @total of them in one session. */
static gboolean pages_check(const KsmProcess *process, guint64 total,
                            guint64 more, GError **errp)
{
    const KsmBrokerLimits *limits = &process->broker->limits;
    const KsmShare *own = &process->pages;

    if (total > limits->max_pages) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_LIMIT,
                    "%" G_GUINT64_FORMAT
                    " pages; the maximum of a session is %" G_GUINT64_FORMAT,
                    total, limits->max_pages);
        return FALSE;
    }
    if (more > own->limit - MIN(own->limit, own->used)) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_LIMIT,
                    "process %d has %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT
                    " guest pages, this needs %" G_GUINT64_FORMAT " more: see "
                    "guest-ksmd --max-process-pages",
                    process->pid, own->used, own->limit, more);
        return FALSE;
    }
    return ksm_user_check(process->user, KSM_QUOTA_PAGES, more, errp);
}

static char *label_key(const KsmShard *shard, const char *label)
{
    return g_strconcat(shard->family, "\n", label, NULL);
}

/*
 * The name that users see: NAME, or NAME#2, NAME#3 ... if other sessions of the
 * group, on any node, already have it.  It does not change while the session
 * exists.
 */
static char *label_new(const KsmShard *shard, const char *name)
{
    GHashTable *labels = shard->broker->labels;
    guint number = 1;

    for (;;) {
        g_autofree char *label = number == 1 ?
                                     g_strdup(name) :
                                     g_strdup_printf("%s#%u", name, number);
        g_autofree char *key = label_key(shard, label);

        if (g_hash_table_add(labels, g_steal_pointer(&key))) {
            return g_steal_pointer(&label);
        }
        number++;
    }
}

static void label_free(const KsmShard *shard, char *label)
{
    g_autofree char *key = label_key(shard, label);

    g_hash_table_remove(shard->broker->labels, key);
    g_free(label);
}

/* The member and its session are freed together. */
static void session_on_results(KsmMember *member, gpointer opaque)
{
    KsmSession *session = opaque;

    (void)member;
    if (session->served_by != NULL) {
        session->broker->wake(session->served_by);
    }
}

static KsmSession *session_new(KsmProcess *process, KsmShard *shard,
                               const KsmMsgHello *hello, const char *name,
                               GError **errp)
{
    KsmBroker *broker = process->broker;
    KsmSession *session;
    KsmMember *member;

    /* Orphans are not counted as connections. */
    if (process->sessions.length >= broker->limits.max_process_sessions) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_LIMIT,
                    "process %d has %u sessions, its maximum: see guest-ksmd "
                    "--max-process-sessions",
                    process->pid, process->sessions.length);
        return NULL;
    }
    if (!ksm_user_check(process->user, KSM_QUOTA_SESSIONS, 1, errp) ||
        !pages_check(process, hello->pages, hello->pages, errp)) {
        return NULL;
    }
    member = ksm_member_new(shard->group, hello->pages, errp);
    if (member == NULL) {
        return NULL;
    }
    session = g_new0(KsmSession, 1);
    session->broker = broker;
    session->process = process;
    session->shard = shard;
    session->member = member;
    session->cpu.process = &process->cpu;
    session->cpu.user = &process->user->cpu;
    member->has_results = session_on_results;
    member->has_results_opaque = session;
    session->engine = hello->engine;
    session->told_name = g_strdup(name);
    session->name = label_new(shard, name);
    g_queue_push_tail(&process->sessions, session);
    broker->sessions++;
    ksm_grace_note_sessions(broker);
    ksm_share_take(&process->user->shares[KSM_QUOTA_SESSIONS], 1);
    ksm_share_take(&process->pages, hello->pages);
    return session;
}

static void session_free(KsmSession *session)
{
    KsmBroker *broker = session->broker;
    KsmProcess *process = session->process;
    KsmGroup *group = session->shard->group;

    g_assert(session->served_by == NULL);
    broker->sessions--;
    ksm_cpu_grants_forget(&broker->cpu, &session->cpu);
    ksm_grace_note_sessions(broker);
    ksm_share_give(&process->user->shares[KSM_QUOTA_SESSIONS], 1);
    ksm_share_give(&process->pages, session->member->table.pages);
    g_queue_remove(&process->sessions, session);
    if (session->member->reclaiming) {
        ksm_reclaim_done(session->member);
    }
    ksm_member_free(session->member);
    label_free(session->shard, session->name);
    ksm_broker_check_group(broker, group);
    ksm_settings_clear(&session->settings);
    g_free(session->told_name);
    g_free(session);
    ksm_process_check(process);
}

/* The same for a client without a number: by the open file it was given. */
static gboolean is_of_nameless(const KsmSession *session,
                               const KsmMsgHello *hello, const char *name,
                               int store_fd)
{
    const KsmStore *store = session->shard->group->store;

    return ksm_engine_id_is_none(&session->engine) &&
           session->served_by == NULL && session->shard->node == hello->node &&
           strcmp(session->told_name, name) == 0 && store_fd >= 0 &&
           ksm_store_is_file(store, store_fd) &&
           session->member->roster_at != KSM_ROSTER_NONE &&
           ksm_roster_is_marked(ksm_store_roster(store),
                                session->member->roster_at, store_fd);
}

/* The session stays for what the engine maps by its former open file. */
static void abandon(KsmSession *session)
{
    g_autofree char *name = g_strconcat(session->told_name, KSM_ABANDONED,
                                        NULL);

    session->abandoned = TRUE;
    label_free(session->shard, session->name);
    session->name = label_new(session->shard, name);
}

/* Whether the engine may map slots that it will not report any more. */
static gboolean is_started_over(const KsmSession *session, int store_fd)
{
    return session->member->reclaiming &&
           (store_fd < 0 ||
            !ksm_store_is_file(session->shard->group->store, store_fd));
}

/*
 * The session that this same engine had; NULL if that is not certain.  If the
 * broker was busy for long, it may not have seen yet that the former connection
 * closed.  An engine has only one connection, so the former one is over.
 */
static KsmSession *find_own(KsmProcess *process, const KsmMsgHello *hello,
                            const char *name, int store_fd)
{
    GList *link;

    for (link = process->sessions.head; link != NULL; link = link->next) {
        KsmSession *session = link->data;

        /* One that is returning everything will be freed. */
        if (session->abandoned ||
            session->member->cleaning == KSM_CLEANING_ALL ||
            session->member->table.pages > hello->pages) {
            continue;
        }
        if (ksm_engine_id_is_none(&hello->engine) ?
                is_of_nameless(session, hello, name, store_fd) :
                ksm_engine_id_equal(&session->engine, &hello->engine) &&
                    session->shard->node == hello->node) {
            if (session->served_by != NULL) {
                process->broker->close(session->served_by);
            }
            if (!is_started_over(session, store_fd)) {
                return session;
            }
            abandon(session);
        }
    }
    return NULL;
}

/* Whether its HELLO is waiting, and need not wait any more. */
static gboolean may_answer_hello(const KsmRequestState *state)
{
    return state->session != NULL && state->bulk == NULL &&
           ksm_session_is_ready(state->session);
}

void ksm_broker_welcome(KsmBroker *broker, const KsmShard *shard)
{
    GList *link, *next;

    for (link = broker->connections.head; link != NULL; link = next) {
        KsmRequestState *state = link->data;

        next = link->next;
        if (may_answer_hello(state) &&
            (shard == NULL || state->session->shard == shard)) {
            broker->ready(state);
        }
    }
}

/*
 * A store that a client sends replaces the group's own, if that is different
 * and unused.  Members that were given the unused store reconnect.
 */
static gboolean take_store(KsmShard *shard, const KsmRosterEntry *who, int fd,
                           GError **errp)
{
    KsmBroker *broker = shard->broker;
    KsmGroup *group = shard->group;
    GList *link, *next;

    if (fd < 0 || ksm_store_is_file(group->store, fd)) {
        return TRUE;
    }
    if (!ksm_reclaim_begin(group, fd, who,
                           &shard->user->shares[KSM_QUOTA_SLOTS], errp)) {
        return FALSE;
    }
    group->store_id = ++broker->store_ids;
    for (link = broker->connections.head; link != NULL; link = next) {
        KsmRequestState *other = link->data;

        next = link->next;
        if (other->session != NULL && other->bulk != NULL &&
            other->session->shard == shard) {
            broker->close(other);
        }
    }
    ksm_broker_welcome(broker, shard); /* HELLOs that waited: grace.c */
    return TRUE;
}

gboolean ksm_session_mark(KsmSession *session, int fd, GError **errp)
{
    KsmRoster *roster = ksm_store_roster(session->shard->group->store);
    KsmMember *member = session->member;

    if (member->roster_at == KSM_ROSTER_NONE) {
        member->roster_at = ksm_roster_add(roster, session->process->identity,
                                           &session->engine);
        session->unmarkable = FALSE;
    }
    if (member->roster_at == KSM_ROSTER_NONE) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_LIMIT,
                    "the group's roster of engines is full");
        return FALSE;
    }
    if (!session->unmarkable) {
        session->unmarkable = !ksm_roster_mark(roster, member->roster_at, fd);
    }
    return TRUE;
}

/*
 * Marks the descriptor that the client sent: it keeps using it if it already
 * has this store.  If the client is told to start over, it uses the new one;
 * the mark of the old one stays with the orphan whose pages it may still map.
 */
static gboolean mark_own(KsmSession *session, KsmWelcome welcome, int store_fd,
                         GError **errp)
{
    return welcome == KSM_WELCOME_NEW || store_fd < 0 ||
           !ksm_store_is_file(session->shard->group->store, store_fd) ||
           ksm_session_mark(session, store_fd, errp);
}

/* A new session in the group of @process. */
static KsmSession *session_begin(KsmProcess *process, const KsmMsgHello *hello,
                                 const char *name, int store_fd, GError **errp)
{
    const KsmRosterEntry who = {
        .process = process->identity,
        .engine = hello->engine,
    };
    KsmBroker *broker = process->broker;
    KsmSession *session = NULL;
    KsmShard *shard;

    if (!ksm_headroom_check("another session", errp)) {
        return NULL;
    }
    shard = ksm_broker_get_group(broker, process->group_key, hello->node, errp);
    if (shard == NULL) {
        return NULL;
    }
    if (take_store(shard, &who, store_fd, errp)) {
        session = session_new(process, shard, hello, name, errp);
    }
    if (session == NULL) {
        ksm_broker_check_group(broker, shard->group);
    } else if (store_fd >= 0) {
        ksm_reclaim_claim(session->member, &who, store_fd);
    }
    return session;
}

KsmSession *ksm_session_open(KsmRequestState *state, KsmProcess *process,
                             const KsmMsgHello *hello, int store_fd,
                             KsmWelcome *welcome, GError **errp)
{
    g_autofree char *key = NULL;
    char name[KSM_NAME_BYTES];
    KsmSession *session;

    name_of(hello, name);
    if (!hello_check(hello, name, errp)) {
        return NULL;
    }
    key = g_strdup_printf("%u:%s", process->uid, hello->group);
    if (process->group_key == NULL) {
        if (!ksm_descent_check(process, key, errp)) {
            return NULL;
        }
        process->group_key = g_steal_pointer(&key);
    } else if (strcmp(process->group_key, key) != 0) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_GROUP,
                    "asked for group %s, but this process belongs to %s",
                    hello->group, strchr(process->group_key, ':') + 1);
        return NULL;
    }
    session = find_own(process, hello, name, store_fd);
    *welcome = session != NULL ? KSM_WELCOME_RESUMED : KSM_WELCOME_NEW;
    if (session == NULL) {
        session = session_begin(process, hello, name, store_fd, errp);
    } else if (!ksm_session_resize(session, hello->pages, errp)) {
        return NULL;
    }
    if (session == NULL) {
        return NULL;
    }
    if (session->member->reclaiming) {
        *welcome = KSM_WELCOME_HANDED;
    }
    if (!mark_own(session, *welcome, store_fd, errp)) {
        ksm_session_detach(session);
        return NULL;
    }
    session->served_by = state;
    session->version = MIN(hello->version, KSM_PROTO_VERSION);
    return session;
}

gboolean ksm_session_is_ready(const KsmSession *session)
{
    return session->member->cleaning == KSM_CLEANING_NONE &&
           !ksm_grace_holds(session);
}

gboolean ksm_session_resize(KsmSession *session, guint64 pages, GError **errp)
{
    KsmProcess *process = session->process;
    guint64 before = session->member->table.pages;

    if (pages < before) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_PROTOCOL,
                    "RESIZE from %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT
                    " pages",
                    before, pages);
        return FALSE;
    }
    if (!pages_check(process, pages, pages - before, errp) ||
        !ksm_member_resize(session->member, pages, errp)) {
        return FALSE;
    }
    ksm_share_take(&process->pages, pages - before);
    return TRUE;
}

static void session_on_withdrawn(KsmMember *member, gpointer opaque)
{
    KsmSession *session = opaque;

    if (session->served_by != NULL) {
        if (may_answer_hello(session->served_by)) {
            session->broker->ready(session->served_by);
        }
    } else if (member->bound == 0 && !member->reclaiming) {
        session_free(session);
    }
}

static void session_return(KsmSession *session);

/* Ends orphans whose engine has ended; checks ORPHANS_AT_ONCE in each call. */
static gboolean broker_on_orphans(gpointer data)
{
    KsmBroker *broker = data;
    guint every = 1 + broker->orphans / ORPHANS_AT_ONCE, seen = 0;
    g_autoptr(GPtrArray) gone = g_ptr_array_new();
    GHashTableIter iter;
    gpointer process;
    GList *link;
    guint i;

    broker->orphan_iteration++;
    g_hash_table_iter_init(&iter, broker->processes);
    while (g_hash_table_iter_next(&iter, NULL, &process)) {
        for (link = ((KsmProcess *)process)->sessions.head; link != NULL;
             link = link->next) {
            KsmSession *session = link->data;
            const KsmMember *member = session->member;

            if (session->served_by == NULL &&
                member->cleaning == KSM_CLEANING_NONE &&
                (seen++ + broker->orphan_iteration) % every == 0 &&
                member->roster_at != KSM_ROSTER_NONE && !session->unmarkable &&
                ksm_roster_is_gone(ksm_store_roster(member->group->store),
                                   member->roster_at)) {
                g_ptr_array_add(gone, session);
            }
        }
    }
    broker->orphans = seen - gone->len;
    for (i = 0; i < gone->len; i++) {
        session_return(g_ptr_array_index(gone, i));
    }
    if (broker->orphans > 0) {
        return G_SOURCE_CONTINUE;
    }
    broker->orphan_timer = 0;
    return G_SOURCE_REMOVE;
}

static void note_orphan(KsmBroker *broker)
{
    broker->orphans++;
    if (broker->orphan_timer == 0) {
        broker->orphan_timer = g_timeout_add_seconds(ORPHAN_SECONDS,
                                                     broker_on_orphans, broker);
    }
}

void ksm_session_detach(KsmSession *session)
{
    session->served_by = NULL;
    note_orphan(session->broker);
    ksm_settings_drop(session);
    if (session->member->cleaning != KSM_CLEANING_ALL) {
        ksm_member_clean(session->member, KSM_CLEANING_LISTINGS,
                         session_on_withdrawn, session);
    }
}

static void session_on_returned(KsmMember *member, gpointer opaque)
{
    KsmSession *session = opaque;

    (void)member;
    ksm_log(KSM_LOG_DEBUG, "session %s of process %d has returned everything",
            session->name, session->process->pid);
    session_free(session);
}

void ksm_session_end(KsmSession *session)
{
    session->served_by = NULL;
    session_return(session);
}

/* The session can map nothing any more. */
static void session_return(KsmSession *session)
{
    ksm_log(KSM_LOG_INFO,
            "session %s of process %d ended: it returns %" G_GUINT64_FORMAT
            " bound and %" G_GUINT64_FORMAT " listed pages",
            session->name, session->process->pid, session->member->bound,
            session->member->listed);
    ksm_settings_drop(session);
    ksm_member_clean(session->member, KSM_CLEANING_ALL, session_on_returned,
                     session);
}
