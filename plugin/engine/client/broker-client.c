/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * broker-client.c: requests to the broker, one at a time.
 *
 * The broker is not trusted with the guest's content: a wrong answer can only
 * cost savings, because every slot is compared with the page before it is
 * mapped.  What must hold so that this process does not crash is checked here:
 * sizes and seals of the memory handed over, packet sizes, serials, counts.
 *
 * A request waits for its reply for at most KSM_CALL_TIMEOUT_MS.  Once another
 * thread wants the engine (wake_fd), all requests together wait for at most
 * KSM_CALL_HURRY_MS until that thread has it.  A connection that does not
 * answer in time is closed, and the engine connects again later.
 *
 * A broker's claim that it has kept something is accepted only if it names
 * this engine's number (KsmEngineId), because another engine of this process
 * may have the same name and the same store.  An older broker knows only
 * names: for it, the number is part of the name.
 *
 * The broker can change the bulk memory at any time: a reply's items are
 * copied out of it once, here, before they are examined.
 *
 * Thread: the scanner's, under the engine's work lock.
 */
#include "client/broker-client.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "error.h"
#include "session-name.h"
#include "sys.h"

#define KSM_CALL_TIMEOUT_MS 5000
#define KSM_CALL_HURRY_MS 300

/*
 * A store refused this often is not offered again.  It is more than once,
 * because the broker that had the store may still be exiting.
 */
#define KSM_MAX_REFUSALS 4

/* Names for a broker that knows no numbers: VM/BACKEND#NUMBER. */
#define KSM_OLD_VM_MAX 25u
#define KSM_OLD_BACKEND_MAX 20u
#define KSM_OLD_NAME_FORMAT "%s#%016" G_GINT64_MODIFIER "x"
G_STATIC_ASSERT(KSM_OLD_VM_MAX + 1 + KSM_OLD_BACKEND_MAX + 1 + 16 <
                KSM_NAME_BYTES_5);

typedef union KsmPacket {
    KsmMsg msg;
    KsmMsgHello hello;
    KsmMsgWelcome welcome;
    KsmMsgResize resize;
    KsmMsgError error;
    KsmMsgStats stats;
    KsmMsgGroup group;
    KsmMsgMap map;
    KsmMsgGrant grant;
} KsmPacket;

/* Control data with room for two descriptors. */
typedef union KsmFdRoom {
    char buf[CMSG_SPACE(2 * sizeof(int))];
    struct cmsghdr align;
} KsmFdRoom;

void ksm_broker_client_init(KsmBrokerClient *client, int wake_fd, int node)
{
    memset(client, 0, sizeof(*client));
    client->sock = -1;
    client->store_fd = -1;
    client->wake_fd = wake_fd;
    client->node = node;
    client->hurry_us = KSM_CALL_HURRY_MS * 1000;
}

gboolean ksm_broker_client_draw_id(KsmBrokerClient *client, GError **errp)
{
    do {
        if (getrandom(&client->id, sizeof(client->id), 0) !=
            sizeof(client->id)) {
            ksm_error_set_errno(errp, KSM_ERROR_FAILED, -errno,
                                "Could not draw a random number");
            return FALSE;
        }
    } while (client->id.words[0] == 0 || client->id.words[1] == 0);
    return TRUE;
}

void ksm_broker_client_disconnect(KsmBrokerClient *client)
{
    if (client->sock >= 0) {
        close(client->sock);
        client->sock = -1;
    }
    if (client->bulk) {
        ksm_sys->unmap(client->bulk, KSM_BULK_BYTES);
        client->bulk = NULL;
    }
}

void ksm_broker_client_forget_store(KsmBrokerClient *client)
{
    client->refusals = 0;
    if (client->store_fd >= 0) {
        close(client->store_fd);
        client->store_fd = -1;
    }
}

void ksm_broker_client_close(KsmBrokerClient *client)
{
    ksm_broker_client_disconnect(client);
    ksm_broker_client_forget_store(client);
}

/*
 * Waits until `deadline`; once the thread is wanted elsewhere, for at most the
 * rest of hurry_us.  *hurried: when that began, or 0.
 */
static int poll_until(KsmBrokerClient *client, gint64 deadline, gint64 *hurried)
{
    *hurried = 0;
    for (;;) {
        struct pollfd fds[2] = {
            { .fd = client->sock, .events = POLLIN },
            { .fd = *hurried ? -1 : client->wake_fd, .events = POLLIN },
        };
        gint64 left = deadline - g_get_monotonic_time();
        int n = poll(fds, 2, left > 0 ? (int)(left / 1000) + 1 : 0);

        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        if (n > 0 && fds[1].revents) {
            *hurried = g_get_monotonic_time();
            deadline = MIN(deadline, *hurried + client->hurry_us);
        }
        if (n > 0 && fds[0].revents) {
            return 0;
        }
        if (n == 0) {
            return -ETIMEDOUT;
        }
    }
}

/* Waits until the socket can be read; 0 or -errno. */
static int wait_readable(KsmBrokerClient *client)
{
    gint64 hurried, now = g_get_monotonic_time();
    int ret = poll_until(client, now + KSM_CALL_TIMEOUT_MS * 1000, &hurried);

    if (hurried) {
        client->hurry_us -= MIN(client->hurry_us,
                                g_get_monotonic_time() - hurried);
    } else {
        client->hurry_us = KSM_CALL_HURRY_MS * 1000;
    }
    return ret;
}

/* Attaches the client's store to HELLO. */
static void attach_store(KsmBrokerClient *client, struct msghdr *hdr,
                         KsmFdRoom *room)
{
    struct cmsghdr *cmsg;

    memset(room, 0, sizeof(*room));
    hdr->msg_control = room->buf;
    hdr->msg_controllen = CMSG_SPACE(sizeof(int));
    cmsg = CMSG_FIRSTHDR(hdr);
    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(cmsg), &client->store_fd, sizeof(int));
}

static int send_packet(KsmBrokerClient *client, KsmPacket *packet, gsize size,
                       KsmMsgType type, guint32 count)
{
    struct iovec iov = { .iov_base = packet, .iov_len = size };
    struct msghdr hdr = { .msg_iov = &iov, .msg_iovlen = 1 };
    KsmFdRoom room;
    ssize_t n;

    packet->msg.type = type;
    packet->msg.serial = ++client->serial;
    client->requests++;
    client->wakes = 0;
    packet->msg.count = count;
    packet->msg.reserved = 0;
    if (type == KSM_MSG_HELLO && client->store_fd >= 0) {
        attach_store(client, &hdr, &room);
    }
    do {
        n = sendmsg(client->sock, &hdr, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return -errno;
    }
    return (gsize)n == size ? 0 : -EIO;
}

/* Receives one packet and up to `max_fds` descriptors; missing ones are -1. */
static int receive_packet(KsmBrokerClient *client, KsmPacket *packet,
                          gsize *size, int *fds, guint max_fds)
{
    KsmFdRoom control;
    struct iovec iov = { .iov_base = packet, .iov_len = sizeof(*packet) };
    struct msghdr hdr = { .msg_iov = &iov, .msg_iovlen = 1 };
    struct cmsghdr *cmsg;
    ssize_t n;
    int ret = wait_readable(client);

    if (ret) {
        return ret;
    }
    if (max_fds) {
        hdr.msg_control = control.buf;
        hdr.msg_controllen = sizeof(control.buf);
    }
    n = recvmsg(client->sock, &hdr, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (n < 0) {
        return -errno;
    }
    for (cmsg = CMSG_FIRSTHDR(&hdr); cmsg; cmsg = CMSG_NXTHDR(&hdr, cmsg)) {
        if (cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SCM_RIGHTS) {
            gsize bytes = cmsg->cmsg_len - CMSG_LEN(0);

            memcpy(fds, CMSG_DATA(cmsg), MIN(bytes, max_fds * sizeof(int)));
        }
    }
    if (n == 0) {
        return -ECONNRESET;
    }
    *size = (gsize)n;
    return hdr.msg_flags & MSG_TRUNC ? -EMSGSIZE : 0;
}

/*
 * Whether it is a WAKE, which is taken note of.  One may have been on its way when
 * the request was sent, and one may have been sent since; a broker that sends
 * more does not keep to the protocol, and must not keep this thread.
 */
static gboolean take_wake(KsmBrokerClient *client, const KsmMsg *msg,
                          gsize size)
{
    if (client->version <= KSM_PROTO_SILENT || size != sizeof(*msg) ||
        msg->type != KSM_MSG_WAKE || msg->serial || client->wakes == 2) {
        return FALSE;
    }
    client->wakes++;
    client->woken = TRUE;
    return TRUE;
}

/* The same for the next packet that is no WAKE. */
static int receive_reply(KsmBrokerClient *client, KsmPacket *packet,
                         gsize *size, int *fds, guint max_fds)
{
    int ret;

    do {
        ret = receive_packet(client, packet, size, fds, max_fds);
    } while (!ret && take_wake(client, &packet->msg, *size));
    return ret;
}

/* The reason that the broker gives, made safe for a log. */
static char *reason_of(const KsmPacket *packet)
{
    char *reason = g_strndup(packet->error.reason, KSM_REASON_BYTES);
    char *at;

    for (at = reason; *at; at++) {
        if (!g_ascii_isprint(*at)) {
            *at = '?';
        }
    }
    return reason;
}

/* Checks a reply against what was expected; reports the broker's error. */
static gboolean check_reply(KsmBrokerClient *client, const KsmPacket *packet,
                            gsize size, KsmMsgType type, gsize want,
                            GError **errp)
{
    if (size >= sizeof(KsmMsg) && packet->msg.type == KSM_MSG_ERROR &&
        size == sizeof(KsmMsgError)) {
        g_autofree char *reason = reason_of(packet);

        client->refusal = packet->error.code == KSM_ERROR_GROUP ||
                                  packet->error.code == KSM_ERROR_INVALID ||
                                  packet->error.code == KSM_ERROR_LIMIT ?
                              (int)packet->error.code :
                              KSM_ERROR_PROTOCOL;
        g_set_error(errp, KSM_ERROR, client->refusal, "The broker refused: %s",
                    reason);
        return FALSE;
    }
    if (type == KSM_MSG_WELCOME && size >= want) {
        want = ksm_proto_welcome_bytes(packet->welcome.version);
    }
    if (size != want || packet->msg.type != (guint32)type ||
        packet->msg.serial != client->serial) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_PROTOCOL,
                    "Unexpected reply from the broker (type %u, %zu bytes); "
                    "check that broker and library have the same version",
                    size >= sizeof(KsmMsg) ? packet->msg.type : 0, size);
        return FALSE;
    }
    return TRUE;
}

/* Sends `packet` and receives its reply into it. */
static gboolean exchange(KsmBrokerClient *client, KsmPacket *packet, gsize size,
                         KsmMsgType type, guint32 count, KsmMsgType reply,
                         gsize reply_size, int *fds, guint max_fds,
                         GError **errp)
{
    gsize got = 0;
    int ret;

    client->refusal = 0;
    ret = send_packet(client, packet, size, type, count);

    if (!ret || ret == -EPIPE) {
        /* After EPIPE the reason may still be there to read. */
        int err = receive_reply(client, packet, &got, fds, max_fds);

        ret = err ? err : 0;
    }
    if (ret) {
        ksm_error_set_errno(errp, KSM_ERROR_NO_BROKER, ret, "Lost the broker");
        return FALSE;
    }
    return check_reply(client, packet, got, reply, reply_size, errp);
}

static int connect_socket(const char *path, GError **errp)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int sock, ret;

    if (strlen(path) >= sizeof(addr.sun_path)) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_INVALID,
                    "Broker socket path '%s' is too long (at most %zu bytes)",
                    path, sizeof(addr.sun_path) - 1);
        return -1;
    }
    memcpy(addr.sun_path, path, strlen(path) + 1);
    sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (sock < 0 || connect(sock, (struct sockaddr *)&addr, sizeof(addr))) {
        ret = -errno;
        if (sock >= 0) {
            close(sock);
        }
        ksm_error_set_errno(errp,
                            ret == -EACCES || ret == -EPERM ?
                                KSM_ERROR_PERMISSION :
                                KSM_ERROR_NO_BROKER,
                            ret,
                            "Could not connect to the broker at '%s'; start "
                            "guest-ksmd there, or give this user access to "
                            "its socket",
                            path);
        return -1;
    }
    return sock;
}

/*
 * Accepts a file that cannot shrink under its mapping and consists of ordinary
 * pages: mapping a page of a file with huge pages would replace 2 MiB of the
 * guest.
 */
static gboolean check_file(int fd, guint64 bytes)
{
    int seals = fd >= 0 ? fcntl(fd, F_GET_SEALS) : -1;
    struct statfs fs;
    struct stat st;

    return seals >= 0 && (seals & F_SEAL_SHRINK) && !fstatfs(fd, &fs) &&
           fs.f_type == TMPFS_MAGIC && !fstat(fd, &st) && bytes > 0 &&
           (guint64)st.st_size >= bytes;
}

static gboolean map_bulk(KsmBrokerClient *client, int fd)
{
    void *p = NULL;

    if (!check_file(fd, KSM_BULK_BYTES) ||
        ksm_sys->map(NULL, KSM_BULK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
                     fd, 0, &p)) {
        return FALSE;
    }
    client->bulk = p;
    ksm_sys->advise(p, KSM_BULK_BYTES, MADV_DONTFORK);
    return TRUE;
}

static gboolean same_file(int a, int b)
{
    struct stat x, y;

    return a >= 0 && b >= 0 && !fstat(a, &x) && !fstat(b, &y) &&
           x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/*
 * Whether what the broker has kept belongs to this engine.  A broker that
 * knows no numbers was given a name that contains the number, and uses that.
 */
static gboolean is_ours(const KsmBrokerClient *client, const KsmMsgWelcome *msg)
{
    return msg->version <= KSM_PROTO_NAMELESS ||
           ksm_engine_id_equal(&msg->engine, &client->id);
}

/* The outcome that the broker reports, if it agrees with what is known here. */
static KsmWelcome welcome_of(KsmBrokerClient *client, const KsmMsgWelcome *msg,
                             int store_fd)
{
    if (!is_ours(client, msg)) {
        return KSM_WELCOME_NEW;
    }
    if (msg->outcome == KSM_WELCOME_HANDED &&
        msg->store_bytes == client->store_bytes &&
        same_file(client->store_fd, store_fd)) {
        return KSM_WELCOME_HANDED;
    }
    if (msg->outcome == KSM_WELCOME_RESUMED && client->store_fd >= 0 &&
        msg->broker_id == client->broker_id &&
        msg->store_id == client->store_id) {
        return KSM_WELCOME_RESUMED;
    }
    return KSM_WELCOME_NEW;
}

static void take_store(KsmBrokerClient *client, guint64 bytes, int fd)
{
    ksm_broker_client_forget_store(client);
    client->store_fd = fd;
    client->store_bytes = bytes;
}

/* Takes over what WELCOME brought; closes or keeps the descriptors. */
static gboolean take_welcome(KsmBrokerClient *client, const KsmMsgWelcome *msg,
                             guint32 most, int *fds, KsmWelcome *welcome,
                             GError **errp)
{
    /*
     * Nor may it be older than HELLO allows: a broker that accepts the HELLO
     * of version 6 speaks that version, and so uses the number.
     */
    guint32 least = most > KSM_PROTO_NAMELESS ? KSM_PROTO_NAMELESS + 1 :
                                                KSM_PROTO_OLDEST;

    if (msg->version < least || msg->version > most) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_PROTOCOL,
                    "The broker requires protocol version %u, but this "
                    "library supports only %u to %u",
                    msg->version, least, most);
        return FALSE;
    }
    *welcome = welcome_of(client, msg, fds[1]);
    if ((*welcome == KSM_WELCOME_NEW &&
         (msg->store_bytes % KSM_PAGE_BYTES ||
          !check_file(fds[1], msg->store_bytes))) ||
        !map_bulk(client, fds[0])) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_PROTOCOL,
                    "The memory received from the broker cannot be used "
                    "(not sealed, too small, of huge pages, or not mappable)");
        return FALSE;
    }
    if (*welcome == KSM_WELCOME_NEW) {
        take_store(client, msg->store_bytes, fds[1]);
        fds[1] = -1;
    }
    client->version = msg->version;
    client->broker_id = msg->broker_id;
    client->store_id = msg->store_id;
    client->max_pages = msg->max_pages;
    return TRUE;
}

gboolean ksm_broker_client_store_refused(KsmBrokerClient *client)
{
    return client->refusals >= KSM_MAX_REFUSALS;
}

static void name_hello(const KsmBrokerClient *client, KsmMsgHello *hello,
                       const char *name)
{
    if (hello->version > KSM_PROTO_NAMELESS) {
        gsize length = strlen(name), most = sizeof(hello->name);

        hello->engine = client->id;
        memcpy(hello->name, name, MIN(length, most));
        if (length >= most) {
            g_strlcpy(hello->more_name, name + most, sizeof(hello->more_name));
        }
    } else {
        g_autofree char *cut = ksm_session_name(name, KSM_OLD_VM_MAX,
                                                KSM_OLD_BACKEND_MAX);

        g_snprintf(hello->name, sizeof(hello->name), KSM_OLD_NAME_FORMAT, cut,
                   client->id.words[0]);
    }
}

/* Connects and sends the HELLO of that version. */
static gboolean greet(KsmBrokerClient *client, guint32 version,
                      const char *path, const char *group, const char *name,
                      guint64 pages, KsmWelcome *welcome, GError **errp)
{
    KsmPacket packet = {
        .hello = {
            .magic = KSM_PROTO_MAGIC,
            .version = version,
            .pages = pages,
            .node = client->node,
        },
    };
    int fds[2] = { -1, -1 };
    gboolean ok;

    client->refusal = 0;
    client->woken = FALSE;
    client->version = 0; /* not known yet */
    client->sock = connect_socket(path, errp);
    if (client->sock < 0) {
        return FALSE;
    }
    g_strlcpy(packet.hello.group, group, KSM_GROUP_BYTES);
    name_hello(client, &packet.hello, name);
    ok = exchange(client, &packet, ksm_proto_hello_bytes(version),
                  KSM_MSG_HELLO, 0, KSM_MSG_WELCOME,
                  ksm_proto_welcome_bytes(KSM_PROTO_OLDEST), fds, 2, errp) &&
         take_welcome(client, &packet.welcome, version, fds, welcome, errp);
    if (fds[0] >= 0) {
        close(fds[0]);
    }
    if (fds[1] >= 0) {
        close(fds[1]);
    }
    if (!ok) {
        ksm_broker_client_disconnect(client);
    }
    return ok;
}

gboolean ksm_broker_client_connect(KsmBrokerClient *client, const char *path,
                                   const char *group, const char *name,
                                   guint64 pages, KsmWelcome *welcome,
                                   GError **errp)
{
    GError *error = NULL, *again = NULL;
    gboolean ok = greet(client, KSM_PROTO_VERSION, path, group, name, pages,
                        welcome, &error);

    if (!ok && client->refusal == KSM_ERROR_PROTOCOL) {
        /*
         * The broker may be too old for this HELLO.  If it is not, the first
         * error is the one that says what is wrong.
         */
        ok = greet(client, KSM_PROTO_NAMELESS, path, group, name, pages,
                   welcome, &again);
        if (again && !g_error_matches(again, KSM_ERROR, KSM_ERROR_PROTOCOL)) {
            GError *first = error;

            error = again;
            again = first;
        }
        g_clear_error(&again);
    }
    if (ok) {
        g_clear_error(&error);
        return TRUE;
    }
    client->refusals += client->refusal == KSM_ERROR_INVALID;
    g_propagate_error(errp, error);
    return FALSE;
}

static gboolean lost(KsmBrokerClient *client, GError *error)
{
    g_warning("%s", error->message);
    g_error_free(error);
    ksm_broker_client_disconnect(client);
    return FALSE;
}

void ksm_broker_client_hear(KsmBrokerClient *client)
{
    GError *error = NULL;
    KsmPacket packet;
    ssize_t n = recv(client->sock, &packet, sizeof(packet),
                     MSG_DONTWAIT | MSG_TRUNC);

    if ((n < 0 && (errno == EAGAIN || errno == EINTR)) ||
        (n > 0 && take_wake(client, &packet.msg, (gsize)n))) {
        return;
    }
    if (n > 0) {
        g_set_error(&error, KSM_ERROR, KSM_ERROR_PROTOCOL,
                    "The broker sends what nobody has asked for; are broker "
                    "and library of one version?");
    } else {
        ksm_error_set_errno(&error, KSM_ERROR_NO_BROKER,
                            n < 0 ? -errno : -ECONNRESET, "Lost the broker");
    }
    lost(client, error);
}

/* Maximum number of items in a reply of this kind. */
static guint32 most_replied(KsmMsgType type, guint32 count)
{
    return type == KSM_MSG_FETCH_RESULTS ? KSM_BATCH_RESULTS : count;
}

gboolean ksm_broker_client_call(KsmBrokerClient *client, KsmMsgType type,
                                guint32 count, guint32 *replied)
{
    gboolean answers = type == KSM_MSG_LOOKUP || type == KSM_MSG_PUBLISH ||
                       type == KSM_MSG_FETCH_RESULTS;
    KsmPacket packet = { 0 };
    GError *error = NULL;

    if (client->sock < 0) {
        return FALSE;
    }
    if (!exchange(client, &packet, sizeof(packet.msg), type, count,
                  answers ? KSM_MSG_ANSWERS : KSM_MSG_OK, sizeof(packet.msg),
                  NULL, 0, &error)) {
        return lost(client, error);
    }
    if (packet.msg.count > most_replied(type, count)) {
        g_set_error(&error, KSM_ERROR, KSM_ERROR_PROTOCOL,
                    "The broker replied with %u items to a request of %u",
                    packet.msg.count, count);
        return lost(client, error);
    }
    if (replied) {
        *replied = packet.msg.count;
        memcpy(client->reply, client->bulk + KSM_BULK_REPLY,
               packet.msg.count * sizeof(client->reply[0]));
    }
    return TRUE;
}

void ksm_broker_client_reject(KsmBrokerClient *client, const char *lie)
{
    if (client->sock >= 0) {
        lost(client, g_error_new(KSM_ERROR, KSM_ERROR_PROTOCOL,
                                 "Invalid reply from the broker: %s", lie));
    }
}

gboolean ksm_broker_client_resize(KsmBrokerClient *client, guint64 pages)
{
    KsmPacket packet = { .resize = { .pages = pages } };
    GError *error = NULL;

    if (client->sock < 0) {
        return FALSE;
    }
    return exchange(client, &packet, sizeof(packet.resize), KSM_MSG_RESIZE, 0,
                    KSM_MSG_OK, sizeof(packet.msg), NULL, 0, &error) ||
           lost(client, error);
}

gboolean ksm_broker_client_map(KsmBrokerClient *client, const KsmMsgMap *map)
{
    KsmPacket packet = { .map = *map };
    GError *error = NULL;

    if (client->sock < 0) {
        return FALSE;
    }
    return exchange(client, &packet, sizeof(packet.map), KSM_MSG_MAP,
                    map->msg.count, KSM_MSG_OK, sizeof(packet.msg), NULL, 0,
                    &error) ||
           lost(client, error);
}

gboolean ksm_broker_client_stats(KsmBrokerClient *client, KsmMsgStats *stats,
                                 KsmMsgGroup *group)
{
    KsmPacket packet = { .stats = *stats };
    gsize bytes = ksm_proto_group_bytes(client->version);
    GError *error = NULL;

    if (client->sock < 0) {
        return FALSE;
    }
    if (!exchange(client, &packet, ksm_proto_stats_bytes(client->version),
                  KSM_MSG_STATS, 0, KSM_MSG_GROUP, bytes, NULL, 0, &error)) {
        return lost(client, error);
    }
    memset(group, 0, sizeof(*group));
    memcpy(group, &packet.group, bytes);
    return TRUE;
}

gboolean ksm_broker_client_ask_cpu(KsmBrokerClient *client, guint32 pages,
                                   guint32 *cpu_us, guint32 *wait_us)
{
    KsmPacket packet = { 0 };
    GError *error = NULL;

    if (!exchange(client, &packet, sizeof(packet.msg), KSM_MSG_CPU_TIME, pages,
                  KSM_MSG_GRANT, sizeof(packet.grant), NULL, 0, &error)) {
        g_warning("%s", error->message);
        g_error_free(error);
        shutdown(client->sock, SHUT_RDWR);
        client->version = 0; /* not asked again */
        return FALSE;
    }
    *cpu_us = packet.grant.cpu_us;
    *wait_us = packet.grant.wait_us;
    return TRUE;
}
