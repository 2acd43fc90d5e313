# SPDX-License-Identifier: GPL-2.0-or-later
"""memory.py: what the kernel says about a range of another process's memory.

Nothing here asks QEMU or the engine: /proc alone is the judge.
"""

import array
import ctypes
import fcntl
import mmap
import os
import re
import struct

PAGE = 4096

# PAGEMAP_SCAN of Linux 6.7, which Debian 12's headers do not have.
PAGEMAP_SCAN = 0xc0606610
PAGE_IS_FILE = 1 << 2
PAGE_IS_PRESENT = 1 << 3
PAGE_IS_SWAPPED = 1 << 4
PAGE_IS_PFNZERO = 1 << 5
SCAN_REGIONS = 4096

# What a guest page is, for the host.
ABSENT = 0              # no memory: never touched, or given back
PRIVATE = 1             # anonymous memory (the kernel's KSM pages too)
STORE = 2               # mapped from a file: the broker's store
ZERO = 3                # the kernel's zero page


_HEADER = re.compile(r'([0-9a-f]+)-([0-9a-f]+) (\S+) (\S+) (\S+) (\d+)')


def mappings(pid, start, end):
    """(start, end, inode) of each mapping that touches [start, end)."""
    with open(f'/proc/{pid}/maps', encoding='utf-8',
              errors='replace') as file:
        for line in file:
            fields = line.split(None, 5)
            low, high = (int(x, 16) for x in fields[0].split('-'))
            if low < end and high > start:
                yield low, high, int(fields[4])


def page_kinds(pid, start, pages):
    """One byte for each page of the range: ABSENT, PRIVATE, STORE, ZERO.

    A page in a mapping of the store is STORE even while the process has not
    touched it, when its page tables are still empty.
    """
    kinds = bytearray(pages)
    for low, high, inode in mappings(pid, start, start + pages * PAGE):
        if inode:
            first = (max(low, start) - start) // PAGE
            last = min((high - start) // PAGE, pages)
            kinds[first:last] = bytes([STORE]) * (last - first)
    end = start + pages * PAGE
    wanted = (PAGE_IS_FILE | PAGE_IS_PRESENT | PAGE_IS_SWAPPED |
              PAGE_IS_PFNZERO)
    buffer = array.array('Q', bytes(SCAN_REGIONS * 24))
    address = buffer.buffer_info()[0]
    at = start
    with open(f'/proc/{pid}/pagemap', 'rb', buffering=0) as pagemap:
        while at < end:
            argument = bytearray(struct.pack(
                '<12Q', 96, 0, at, end, 0, address, SCAN_REGIONS, 0, 0, 0,
                PAGE_IS_PRESENT | PAGE_IS_SWAPPED, wanted))
            count = fcntl.ioctl(pagemap, PAGEMAP_SCAN, argument)
            for i in range(count):
                first, last, flags = buffer[3 * i:3 * i + 3]
                first = (first - start) // PAGE
                last = (last - start) // PAGE
                kinds[first:last] = bytes([_kind(flags)]) * (last - first)
            at = struct.unpack_from('<Q', argument, 32)[0]
    return kinds


def has_zero_page():
    """Whether the kernel serves a read of untouched memory with its zero page;
    else the page that is read gets memory of its own."""
    with mmap.mmap(-1, PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as page:
        assert page[0] == 0
        address = ctypes.addressof(ctypes.c_char.from_buffer(page))
        return page_kinds(os.getpid(), address, 1)[0] == ZERO


def _kind(flags):
    if flags & PAGE_IS_PFNZERO:
        return ZERO
    if flags & PAGE_IS_FILE:
        return STORE
    return PRIVATE


def page_frames(pid, start, pages):
    """The page frame number of each page; 0 for none.  Needs root."""
    with open(f'/proc/{pid}/pagemap', 'rb', buffering=0) as pagemap:
        data = os.pread(pagemap.fileno(), pages * 8, start // PAGE * 8)
    present = 1 << 63
    mask = (1 << 55) - 1
    return [entry & mask if entry & present else 0
            for entry in array.array('Q', data)]


def smaps(pid, start, end):
    """The mappings inside [start, end): dicts of start, end, inode, kB."""
    found = []
    inside = None
    with open(f'/proc/{pid}/smaps', encoding='utf-8',
              errors='replace') as file:
        for line in file:
            header = _HEADER.match(line)
            if header:
                low, high = (int(x, 16) for x in header.group(1, 2))
                inside = None
                if low < end and high > start:
                    inside = {'start': low, 'end': high,
                              'inode': int(header.group(6))}
                    found.append(inside)
            elif inside is not None and line.endswith('kB\n'):
                name, value = line.split(':')
                inside[name] = int(value[:-3])
    return found


def ram_pss_kb(pid, start, end):
    """Real memory of a RAM range without the store, in kB.

    For an anonymous mapping its proportional set size (which also divides
    the kernel's KSM pages right).  In a mapping of the store only what a
    copy-on-write has made private: the store itself is counted once, at the
    broker, whoever maps it.
    """
    total = 0
    for mapping in smaps(pid, start, end):
        total += mapping['Anonymous' if mapping['inode'] else 'Pss']
    return total


def read_memory(pid, address, length):
    """Bytes of another process."""
    with open(f'/proc/{pid}/mem', 'rb', buffering=0) as memory:
        data = os.pread(memory.fileno(), length, address)
    if len(data) != length:
        raise OSError(f'short read of process {pid} at {address:#x}')
    return data


def mapping_count(pid):
    """How many mappings the process has."""
    with open(f'/proc/{pid}/maps', 'rb') as file:
        return file.read().count(b'\n')


def cpu_seconds(pid):
    """User and system time of a process (or kernel thread) so far."""
    with open(f'/proc/{pid}/stat', encoding='utf-8') as file:
        fields = file.read().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')
