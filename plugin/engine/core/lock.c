/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* lock.c: taking the engine from its scanner, and waking the scanner. */
#include "core/lock.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

void ksm_lock_rouse(KsmEngine *engine)
{
    guint64 one = 1;

    g_cond_broadcast(&engine->lock.sleep_cond);
    if (engine->lock.listening &&
        write(engine->lock.sleep_fd, &one, sizeof(one)) < 0) {
        g_debug("eventfd: %s", g_strerror(errno));
    }
}

void ksm_lock_wake(KsmEngine *engine, gboolean poke)
{
    g_mutex_lock(&engine->lock.sleep);
    engine->lock.poked = engine->lock.poked || poke;
    ksm_lock_rouse(engine);
    g_mutex_unlock(&engine->lock.sleep);
}

void ksm_engine_lock(KsmEngine *engine)
{
    guint64 one = 1;

    g_atomic_int_inc(&engine->lock.interrupt);
    /* Cannot fail: the counter is far below its limit. */
    if (write(engine->lock.wake_fd, &one, sizeof(one)) < 0) {
        g_debug("eventfd: %s", g_strerror(errno));
    }
    ksm_lock_wake(engine, FALSE);
    g_mutex_lock(&engine->lock.work);
}

/*
 * Each thread takes back only what it added to the eventfd: what another
 * thread has added meanwhile must still shorten the scanner's wait for a
 * broker that hangs.
 */
void ksm_engine_unlock(KsmEngine *engine)
{
    guint64 one;

    g_atomic_int_add(&engine->lock.interrupt, -1);
    if (read(engine->lock.wake_fd, &one, sizeof(one)) < 0) {
        g_debug("eventfd: %s", g_strerror(errno));
    }
    g_mutex_unlock(&engine->lock.work);
}

gboolean ksm_lock_waited_for(KsmEngine *engine)
{
    return g_atomic_int_get(&engine->lock.interrupt) > 0;
}
