/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * domain-refuse.c: what a domain asks for that sharing cannot go with.
 *
 * <qemu:commandline> can replace the memory of the machine and nothing else,
 * and libvirt goes on to do with its own, idle memory object what the domain
 * asks for.  So whatever says how memory is to be is refused, rather than
 * being ignored; of NUMA nodes see domain-node.c.  `domain-xml enable` calls
 * this with its own elements taken out.
 */
#include "domain/domain-refuse.h"

#include "base/error.h"

#define BACKING "/domain/memoryBacking/"
#define DEVICES "/domain/devices/"
#define ARG "/domain/qemu:commandline/qemu:arg"

typedef struct Refusal {
    const char *xpath;
    const char *reason;
} Refusal;

static const Refusal refusals[] = {
    { "/domain[@type != 'kvm' and @type != 'qemu']",
      "it is no domain of QEMU (type 'kvm' or 'qemu')" },
    { "/domain/os/type[@arch != 'x86_64']",
      "memory-backend-ksm runs on x86_64 only" },
    { "/domain/os/type[not(starts-with(@machine, 'pc') or "
      "@machine = 'q35')]",
      "its machine type is none of pc and q35" },
    { DEVICES "*[@type = 'vhostuser'] | " DEVICES "*/driver[@name = "
              "'vhostuser']",
      "it has a vhost-user device, which needs memory shared with another "
      "process" },
    { DEVICES "filesystem/driver[@type = 'virtiofs']",
      "it has a virtiofs filesystem, which needs memory shared with another "
      "process" },
    { "/domain/maxMemory | " DEVICES "memory",
      "it has memory devices, or slots for some (<maxMemory>): their memory "
      "cannot be replaced on the command line" },
    { "/domain/cpu/numa/cell",
      "it has NUMA cells (<numa>): their memory cannot be replaced on the "
      "command line" },
    { BACKING "hugepages",
      "it uses huge pages (<hugepages>), which cannot be shared" },
    { BACKING "locked",
      "its memory is locked (<locked>), and must not be replaced" },
    { BACKING "nosharepages",
      "it says that its pages must not be shared (<nosharepages>)" },
    { BACKING "access[@mode = 'shared'] | /domain/cpu//cell[@memAccess = "
              "'shared']",
      "its memory is shared with other processes (<access mode='shared'>)" },
    { BACKING "source[@type != 'anonymous']",
      "its memory is that of a file or memfd (<source>); only anonymous "
      "memory can be shared" },
    { BACKING "allocation[@mode = 'immediate']",
      "its memory is allocated at the start (<allocation "
      "mode='immediate'>), and libvirt would allocate it twice" },
    { DEVICES "hostdev[@type = 'pci' or @type = 'mdev'] | " DEVICES
              "interface[@type = 'hostdev' or @type = 'vdpa'] | " DEVICES
              "disk[@type = 'vhostvdpa' or @type = 'nvme']",
      "it has a device of the host, for which all memory is pinned: nothing "
      "would be shared" },
    { DEVICES "hostdev[@type = 'scsi_host']",
      "it has a SCSI adapter that the host's kernel serves (vhost-scsi), "
      "which writes to memory by itself: nothing would be shared" },
    { "/domain/launchSecurity",
      "it is a confidential guest (<launchSecurity>), whose memory cannot be "
      "compared" },
    { ARG "[contains(@value, 'memory-backend-')]",
      "its <qemu:commandline> has a memory backend already; take that out" },
    { ARG "[contains(@value, 'memory-backend=')]",
      "its <qemu:commandline> sets the machine's memory already; take that "
      "out" },
    { ARG "[@value = '-numa' or @value = '-mem-path' or "
          "@value = '-mem-prealloc']",
      "its <qemu:commandline> says how memory is to be; take that out" },
};

gboolean ksm_domain_refuse(xmlDoc *doc, GError **errp)
{
    guint i;

    for (i = 0; i < G_N_ELEMENTS(refusals); i++) {
        if (ksm_domain_doc_find(doc, refusals[i].xpath) != NULL) {
            g_set_error(errp, KSM_CTL_ERROR, KSM_CTL_FAILED,
                        "cannot share the memory of this domain: %s",
                        refusals[i].reason);
            return FALSE;
        }
    }
    return TRUE;
}
