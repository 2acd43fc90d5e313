# SPDX-License-Identifier: GPL-2.0-or-later
"""workloads.py: what is run: arguments of bench-merge, sides, main figures.

A workload's `args` go to every side.  `sides` names each side's further
arguments: 'plain' is the same program with nobody merging.
"""

import os
from dataclasses import dataclass, field


def _both():
    return {'ours': ['--side=ours'], 'ksmd': ['--side=ksmd']}


@dataclass
class Workload:
    """One row of the tables."""

    name: str
    what: str
    args: list
    main: list                  # metrics of the printed table
    sides: dict = field(default_factory=_both)
    reps: int = 0               # 0: as asked; else at most so many
    program: str = 'bench-merge'


CONVERGE = ['cpu_s', 'wall_s', 'saved_pages']
METADATA = 'metadata_bytes_per_page'
STALL = ['stall_p50_us', 'stall_p99_us', 'stall_p999_us', 'stall_max_us',
         'held_p999_us', 'held_p99999_us', 'held_max_us']
SPEED = ['speed_before', 'speed_merging', 'speed_merging_clock',
         'speed_converged', 'speed_converged_clock']


def _with_plain():
    return {**_both(), 'plain': ['--side=plain']}


def _shipped():
    return {side: args + ['--shipped'] for side, args in _both().items()}


def _runs():
    return [Workload(f'runs-{mean}',
                     f'half of the pages are duplicates, in runs of mean '
                     f'length {mean}', [f'--mean-run={mean}', 'runs'],
                     CONVERGE + [METADATA])
            for mean in (1, 8, 64, 1024)]


KEEP_HUGE = 64
HOT = ['speed_hot', 'accesses_per_us', 'saved_pages', 'huge_mib',
       'cpu_percent']


def _hot(name, what, args, reps=2, **sides):
    # 512 MiB each, half of the first one's are hot; rounds of 200 ms.
    return Workload(name, what,
                    ['--huge', '--processes=2', '--pages=131072',
                     '--interval=200', '--cpu=10', '--seconds=2', *args,
                     'hot'], HOT, sides=sides or _both(), reps=reps)


def _hots():
    keep = {'ours': ['--side=ours', f'--keep-huge={KEEP_HUGE}']}
    kept = f'; keep-huge={KEEP_HUGE}'
    written = ['--write-every=4']
    warm = ['--duplicates=6', '--mean-run=1', '--write-every=20000']
    read = ['--duplicates=6', '--mean-run=1']
    return [
        _hot('hot-written', 'a thread uses half of a huge-backed memory at '
             'random, every fourth access writes; half of all pages are '
             'duplicates', written, **_with_plain()),
        _hot('hot-written-keep', 'the same' + kept, written, **keep),
        _hot('hot-warm', 'the same, one access of 20,000 writes; 6 % of the '
             'pages are duplicates, one here, one there', warm),
        _hot('hot-warm-keep', 'the same' + kept, warm, **keep),
        _hot('hot-read', 'the same without writes', read),
        _hot('hot-read-keep', 'the same' + kept, read, **keep),
        *[_hot(f'hot-read-{part}', f'hot-read with {part} % duplicates',
               [f'--duplicates={part}', '--mean-run=1'], reps=1,
               ours=['--side=ours']) for part in (1, 12, 25, 50)],
    ]


def all_workloads():
    """In order of importance."""
    return [
        *_runs(),
        Workload('runs-64-huge', 'the same with mean length 64 in transparent '
                 'huge pages, which QEMU asks for', ['--huge', 'runs'],
                 CONVERGE),
        Workload('tails', 'runs-64 with pages that differ in the last '
                 '8 bytes only', ['tails'], CONVERGE),
        Workload('fill', 'every byte is 0xCC', ['--pages=25600', 'fill'],
                 CONVERGE),
        Workload('zeros', 'every byte is 0', ['--pages=25600', 'zeros'],
                 CONVERGE),
        Workload('storm', 'eight processes come up one after another, each '
                 'merged before the next',
                 ['--processes=8', '--pages=16384', 'storm'],
                 CONVERGE + [METADATA], reps=3),
        Workload('metadata', 'runs-64 with 2 GiB in all: what is counted for '
                 'a page, without what a broker needs anyway',
                 ['--pages=131072', 'runs'], [METADATA],
                 sides={'ours': ['--side=ours']}, reps=1),
        Workload('idle', 'two processes of 512 MiB, merged, nothing is '
                 'written: CPU of a round, of a pass',
                 ['--processes=2', '--pages=131072', 'idle'],
                 ['round_cpu_s_per_gib'], reps=1),
        *[Workload(f'idle-{vms}', f'{vms} processes with 512 MiB of address '
                   'space and some 8,000 mappings each, merged, default '
                   'settings; nothing is written for minutes',
                   [f'--processes={vms}', '--pages=8192', '--room=122880',
                    '--mean-run=1', '--seconds=128', '--shipped',
                    '--limit=300', 'many'],
                   ['cpu_percent', 'broker_percent', 'wakeups_per_s',
                    'requests_per_s', 'mappings'], reps=1)
          for vms in (10, 100)],
        Workload('crowd-20', '20 processes merged at the same time, default '
                 'settings: CPU of all scanners',
                 ['--processes=20', '--pages=16384', '--mean-run=8',
                  '--shipped', 'crowd'],
                 ['cpu_percent', 'limit_percent', 'cpu_of_limit', 'wall_s',
                  'fraction'], sides={'ours': ['--side=ours']}, reps=1),
        *[Workload(f'churn-{change}', f'{change} % of the pages are rewritten '
                   'every second; a round a second',
                   ['--seconds=3', f'--change={change}', 'churn'],
                   ['cpu_s_per_s', 'saved_pages'],
                   reps=2 if change == 1 else 1)
          for change in (0, 1, 10)],
        Workload('react', 'from becoming a duplicate to being shared; '
                 'default settings', ['--pages=4096', '--shipped', 'react'],
                 ['react_s', 'react_max_s'], reps=1),
        Workload('react-fast', 'the same at full speed',
                 ['--pages=4096', 'react'], ['react_s', 'react_max_s'],
                 reps=3),
        Workload('cow', 'first write to a shared page', ['cow'],
                 ['cow_p50_us', 'cow_p99_us', 'cow_unread_p50_us'], reps=3),
        Workload('stall', 'a thread touches memory while it is merged, over '
                 'and over; held: asleep in the kernel',
                 ['--seconds=3', 'stall'], STALL, sides=_with_plain(),
                 reps=3),
        Workload('stall-busy', 'the same beside twice as many computing '
                 'threads as processors',
                 ['--seconds=3', f'--busy={2 * os.cpu_count()}', 'stall'],
                 STALL, sides=_with_plain(), reps=3),
        Workload('stall-shipped', 'the same with default settings',
                 ['--pages=4096', '--seconds=6', '--shipped', 'stall'],
                 STALL, sides=_with_plain(), reps=1),
        Workload('speed', 'a program bound by memory: speed in merged memory '
                 'as a part of that in plain memory',
                 ['--seconds=2', 'speed'], SPEED, sides=_with_plain(),
                 reps=3),
        Workload('speed-shipped', 'the same with default settings',
                 ['--seconds=4', '--shipped', 'speed'], SPEED,
                 sides=_with_plain(), reps=2),
        *_hots(),
        Workload('shipped-runs-8', 'runs-8 with default settings',
                 ['--mean-run=8', '--pages=8192', 'runs'], CONVERGE,
                 sides=_shipped(), reps=1),
        Workload('window', 'what the steps of a window cost here, for runs '
                 'of 1, 8 and 64 pages; microseconds a run',
                 ['1', '8', '64'],
                 [f'{step}_us_{run}' for run in (1, 8, 64)
                  for step in ('move', 'read_in_place', 'read_copied',
                               'map')],
                 sides={'ours': []}, reps=3, program='bench-window'),
        Workload('broker', '200 simulated VMs; fingerprints only',
                 ['1000', '10000', '100000', '250000'],
                 ['lookups_per_s', 'bytes_per_listed_page'],
                 sides={'ours': []}, reps=1, program='bench-broker'),
    ]
