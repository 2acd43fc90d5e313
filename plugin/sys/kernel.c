/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* kernel.c: the version of the running kernel and its known faults. */
#include "kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define THP "/sys/kernel/mm/transparent_hugepage/"

/*
 * Debian, Fedora and Arch use the number of the stable release that the kernel
 * is built from ("6.12.43+deb13-amd64").  Ubuntu, Red Hat, Oracle and SUSE
 * stay at X.Y.0 and append their own number (Ubuntu's realtime kernel at
 * 6.8.1); Proxmox uses Ubuntu's kernel.
 */
static bool is_vendor(const char *rest, unsigned patch)
{
    if (strstr(rest, ".fc")) {
        return false;
    }
    return strstr(rest, ".el") || strstr(rest, "-pve") || strstr(rest, "uek") ||
           strstr(rest, "-realtime") ||
           (patch == 0 && rest[0] == '-' && rest[1] >= '0' && rest[1] <= '9');
}

int ksm_kernel_parse(const char *release, KsmKernelVersion *version)
{
    int used = 0;

    version->patch = 0;
    if (sscanf(release, "%u.%u%n", &version->major, &version->minor, &used) !=
        2) {
        return -EINVAL;
    }
    release += used;
    used = 0;
    if (sscanf(release, ".%u%n", &version->patch, &used) == 1) {
        release += used;
    }
    version->vendor = is_vendor(release, version->patch);
    return 0;
}

void ksm_kernel_print(const KsmKernelVersion *version,
                      char text[KSM_KERNEL_TEXT])
{
    /* A release is "6.16", never "6.16.0". */
    if (version->patch) {
        snprintf(text, KSM_KERNEL_TEXT, "%u.%u.%u", version->major % 10000,
                 version->minor % 10000, version->patch % 100000);
    } else {
        snprintf(text, KSM_KERNEL_TEXT, "%u.%u", version->major % 10000,
                 version->minor % 10000);
    }
}

static int compare(const KsmKernelVersion *a, const KsmKernelVersion *b)
{
    if (a->major != b->major) {
        return a->major < b->major ? -1 : 1;
    }
    if (a->minor != b->minor) {
        return a->minor < b->minor ? -1 : 1;
    }
    return a->patch < b->patch ? -1 : a->patch > b->patch;
}

/* Parses the next version of a list; false at the end of the list. */
static bool next_version(const char **list, KsmKernelVersion *version)
{
    size_t length = strcspn(*list, " ");

    if (ksm_kernel_parse(*list, version)) {
        return false;
    }
    *list += length;
    *list += strspn(*list, " ");
    return true;
}

static bool same_series(const KsmKernelVersion *a, const KsmKernelVersion *b)
{
    return a->major == b->major && a->minor == b->minor;
}

bool ksm_kernel_has(const KsmKernelVersion *version,
                    const KsmKernelFault *fault)
{
    const char *fixed = fault->fixed;
    KsmKernelVersion other;
    bool has = !ksm_kernel_parse(fault->since, &other) &&
               compare(version, &other) >= 0;

    while (has && next_version(&fixed, &other)) {
        has = compare(version, &other) < 0 ||
              (other.patch && !same_series(version, &other));
    }
    return has;
}

uint32_t ksm_kernel_find(const KsmKernelVersion *version)
{
    uint32_t faults = 0;
    unsigned i;

    for (i = 0; i < ksm_kernel_fault_count; i++) {
        if (ksm_kernel_has(version, &ksm_kernel_faults[i])) {
            faults |= UINT32_C(1) << i;
        }
    }
    return faults;
}

static bool holds(KsmFaultCondition condition, const KsmKernelHost *host)
{
    switch (condition) {
    case KSM_FAULT_WITH_SWAP:
        return host->swap;
    case KSM_FAULT_WITH_HUGE_STORE:
        return host->swap && host->huge_store;
    case KSM_FAULT_ALWAYS:
        break;
    }
    return true;
}

uint32_t ksm_kernel_filter(uint32_t faults, KsmFaultEffect effect,
                           const KsmKernelHost *host)
{
    uint32_t kept = 0;
    unsigned i;

    for (i = 0; i < ksm_kernel_fault_count; i++) {
        if (ksm_kernel_faults[i].effect == effect &&
            holds(ksm_kernel_faults[i].condition, host)) {
            kept |= UINT32_C(1) << i;
        }
    }
    return faults & kept;
}

uint32_t ksm_kernel_in_series(const KsmKernelVersion *version, uint32_t faults)
{
    uint32_t mended = 0;
    KsmKernelVersion other;
    unsigned i;

    for (i = 0; i < ksm_kernel_fault_count; i++) {
        const char *fixed = ksm_kernel_faults[i].fixed;

        while (next_version(&fixed, &other)) {
            if (same_series(version, &other)) {
                mended |= UINT32_C(1) << i;
            }
        }
    }
    return mended & faults;
}

void ksm_kernel_better(const KsmKernelVersion *version, uint32_t faults,
                       char text[KSM_KERNEL_TEXT])
{
    KsmKernelVersion best = { 0 }, candidate;
    unsigned i;

    text[0] = '\0';
    for (i = 0; i < ksm_kernel_fault_count; i++) {
        const char *fixed = ksm_kernel_faults[i].fixed;

        while (faults & UINT32_C(1) << i && next_version(&fixed, &candidate)) {
            if (compare(&candidate, version) > 0 &&
                (!text[0] || compare(&candidate, &best) < 0) &&
                !(ksm_kernel_find(&candidate) & faults)) {
                best = candidate;
                ksm_kernel_print(&best, text);
            }
        }
    }
}

/* Reads the first part of a file as text; bytes read, or -errno. */
static ssize_t read_text(const char *root, const char *path, char *text,
                         size_t size)
{
    char whole[PATH_MAX];
    ssize_t n;
    int fd;

    snprintf(whole, sizeof(whole), "%s%s", root, path);
    fd = open(whole, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    n = read(fd, text, size - 1);
    n = n < 0 ? -errno : n;
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    return n;
}

/* One header line, then one for each swap area; no file without CONFIG_SWAP. */
static bool has_swap(const char *root)
{
    char text[512], *end;
    ssize_t n = read_text(root, "/proc/swaps", text, sizeof(text));

    if (n < 0) {
        return n != -ENOENT;
    }
    end = strchr(text, '\n');
    return n == sizeof(text) - 1 || (end && end[1]);
}

static bool may_be_huge(const char *root, const char *path)
{
    char text[256];
    ssize_t n = read_text(root, path, text, sizeof(text));

    if (n < 0) {
        return n != -ENOENT;
    }
    return !strstr(text, "[never]") && !strstr(text, "[deny]") &&
           !strstr(text, "[inherit]");
}

/* A memfd follows these settings; sizes below 2 MiB are new in 6.12. */
static bool has_huge_store(const char *root)
{
    bool huge = may_be_huge(root, THP "shmem_enabled");
    char path[128];
    unsigned kb;

    for (kb = 8; kb <= 2048 && !huge; kb *= 2) {
        snprintf(path, sizeof(path), THP "hugepages-%ukB/shmem_enabled", kb);
        huge = may_be_huge(root, path);
    }
    return huge;
}

void ksm_kernel_probe(const char *root, KsmKernelHost *host)
{
    host->swap = has_swap(root);
    host->huge_store = has_huge_store(root);
}
