# SPDX-License-Identifier: GPL-2.0-or-later
"""profile_perf.py: where our side's CPU goes in a workload, by perf.

Every sample of the scanners and the broker is put down to the first of KINDS
that stands in its call chain; leaves that no kind names
are told by themselves when they count.
"""

import collections
import os
import subprocess
import tempfile

# Outermost last: the first one found in a chain counts.
KINDS = [
    ('window: split huge pages', '__folio_split'),
    ('write tracking: PAGEMAP_SCAN', 'do_pagemap_scan'),
    ('window and settling: register', 'userfaultfd_register'),
    ('window: unregister', 'userfaultfd_unregister'),
    ('window: move', 'move_pages'),
    ('window: map the store', 'do_mmap'),
    ('drop and advise', 'do_madvise'),
    ('wake', 'wake_userfault'),
    ('page faults', 'exc_page_fault'),
    ('socket', 'unix_dgram_sendmsg'),
    ('socket', 'sock_recvmsg'),
    ('socket', 'do_sys_poll'),
    ('holes in the store', 'vfs_fallocate'),
    ('write into the store', 'shmem_file_write_iter'),
    ('compare', '__memcmp'),
    ('copy', '__memmove'),
    ('recognise zeros', 'ksm_fingerprint_is_zero'),
    ('fingerprint', 'XXH'),
    ('fingerprint', 'libxxhash'),
    ('search and fill the trees', 'find_lanes'),
    ('search and fill the trees', 'place_find'),
    ('search and fill the trees', 'ksm_fp_tree'),
    ('search and fill the trees', 'path_find'),
    ('survey before publishing', 'survey'),
    ('survey before publishing', 'g_hash_table'),
    ('survey before publishing', 'libglib'),
]
WANTED = ('ksm-scanner', 'guest-ksmd')


def _samples(text):
    """(thread name, call chain from the leaf outwards) of each sample."""
    comm, chain = None, []
    for line in text.splitlines() + ['']:
        if not line.strip():
            if comm:
                yield comm, chain
            comm, chain = None, []
        elif not line[0].isspace():
            comm = line.split()[0]
        else:
            chain.append(line.strip())


def _kind(chain):
    for name, mark in KINDS:
        if any(mark in frame for frame in chain):
            return name
    leaf = chain[0].split() if chain else ['?', '?']
    return f'other: {leaf[1].split("+")[0] if len(leaf) > 1 else "?"}'


def measure(build, arguments):
    """[[percent, thread, kind]] of what is one percent or more."""
    command = [f'{build}/plugin/tests/bench/bench-merge', *arguments]
    env = {**os.environ, 'GUEST_KSMD': f'{build}/plugin/guest-ksmd'}
    with tempfile.NamedTemporaryFile(suffix='.perf') as data:
        subprocess.run(['perf', 'record', '-q', '-F', '5000', '-g',
                        '-o', data.name, '--', *command], env=env,
                       check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        text = subprocess.run(
            ['perf', 'script', '-i', data.name, '-F', 'comm,ip,sym,dso'],
            capture_output=True, text=True, check=True).stdout
    counts = collections.Counter()
    for comm, chain in _samples(text):
        if comm in WANTED:
            counts[comm, _kind(chain)] += 1
    total = sum(counts.values())
    return [[round(count * 100 / total, 1), comm, kind]
            for (comm, kind), count in counts.most_common()
            if count * 100 >= total]


def markdown(profiles):
    """A table of several profiles, a column each."""
    names = list(profiles)
    lines = {}
    for name, rows in profiles.items():
        for percent, comm, kind in rows:
            lines.setdefault((comm, kind), {})[name] = percent
    table = ['| thread | doing | ' + ' | '.join(names) + ' |',
             '| --- | --- |' + ' ---: |' * len(names)]
    for (comm, kind), row in lines.items():
        cells = ' | '.join(str(row.get(name, '')) for name in names)
        table.append(f'| {comm} | {kind} | {cells} |')
    return '\n'.join(table)
