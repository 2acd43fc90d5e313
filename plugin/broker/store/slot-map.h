/* SPDX-License-Identifier: GPL-2.0-or-later */
/* slot-map.h: which slots of a store are taken; finds contiguous free ones. */
#ifndef KSM_SLOT_MAP_H
#define KSM_SLOT_MAP_H

#include <glib.h>

#define KSM_SLOT_MAP_NONE G_MAXUINT32

typedef struct KsmSlotMap KsmSlotMap;

/** @slots must be a multiple of 4096.  NULL if out of address space. */
KsmSlotMap *ksm_slot_map_new(guint32 slots);
void ksm_slot_map_free(KsmSlotMap *map);

/** Takes @count contiguous slots; returns the first, or KSM_SLOT_MAP_NONE. */
guint32 ksm_slot_map_take(KsmSlotMap *map, guint32 count);

/**
 * Limits ksm_slot_map_take() to slots below @end, which must not be less than
 * where it already took slots.  Initially @end is the number of slots.
 */
void ksm_slot_map_set_end(KsmSlotMap *map, guint32 end);

/** Takes exactly these slots, all of which must be free. */
void ksm_slot_map_claim(KsmSlotMap *map, guint32 first, guint32 count);

/** Frees slots, all of which must be taken. */
void ksm_slot_map_give(KsmSlotMap *map, guint32 first, guint32 count);

gboolean ksm_slot_map_is_taken(const KsmSlotMap *map, guint32 slot);
/** Whether all these slots are free; @first and @count: multiples of 64. */
gboolean ksm_slot_map_is_free(const KsmSlotMap *map, guint32 first,
                              guint32 count);
guint32 ksm_slot_map_taken(const KsmSlotMap *map);

/** Memory of the part of the map that was ever used, in bytes. */
guint64 ksm_slot_map_bytes(const KsmSlotMap *map);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(KsmSlotMap, ksm_slot_map_free)

#endif /* KSM_SLOT_MAP_H */
