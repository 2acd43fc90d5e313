/* SPDX-License-Identifier: GPL-2.0-or-later */
/* domain-node.h: the host's NUMA node that a domain's memory is kept to. */
#ifndef KSM_CTL_DOMAIN_NODE_H
#define KSM_CTL_DOMAIN_NODE_H

#include "domain/domain-doc.h"
#include "domain/domain-opts.h"

/**
 * Brings the object's node in line with <numatune> and merge-across-nodes.
 * FALSE: the two contradict each other, or the latter is wrong.
 */
gboolean ksm_domain_apply_node(xmlDoc *doc, KsmOpts *opts, GError **errp);

#endif /* KSM_CTL_DOMAIN_NODE_H */
