# SPDX-License-Identifier: GPL-2.0-or-later
"""targets.py: what was aimed for, and whether the figures reach it."""

import re

from table import number
from workloads import METADATA

# 16 bytes each: 32 MiB.
UNCACHED_PAGES = 2000000


def _ratio(name, metric):
    return lambda loads: loads[name]['ratio'][metric]


def _ours(name, metric):
    return lambda loads: loads[name]['ours'][metric]


def _per_side(name, ours, ksmd):
    return lambda loads: loads[name]['ours'][ours] / loads[name]['ksmd'][ksmd]


def _metadata(loads):
    """The most of the workloads of half a GiB that show it."""
    return max(result['ours'][METADATA] for name, result in loads.items()
               if METADATA in result['main'] and name != 'metadata')


def _least_saving(loads):
    return min(result['ratio']['saved_pages']
               for name, result in loads.items()
               if name != 'guests' and not name.startswith('hot-') and
               'saved_pages' in result['ratio'])


def _look_up_growth(loads):
    """How a look-up's cost grows with the tree, by the tree's height.

    From the first tree that no cache holds to the largest, which has the
    plain names.
    """
    figures = loads['broker']['ours']
    sizes = {}
    for name in figures:
        match = re.fullmatch(r'lookups_per_s(_(\d+)x(\d+))', name)
        if match and int(match[2]) * int(match[3]) >= UNCACHED_PAGES:
            sizes[int(match[2]) * int(match[3])] = match[1]
    first = sizes[min(sizes)]
    return (figures[f'lookups_per_s{first}'] / figures['lookups_per_s']) / \
        (figures['tree_levels'] / figures[f'tree_levels{first}'])


# (what, limit, whether less is better, figure)
TARGETS = [
    *[(f'CPU to converge, {name}', limit, True, _ratio(name, 'cpu_s'))
      for name, limit in (('runs-8', 1 / 5), ('runs-64', 1 / 5),
                          ('runs-64-huge', 1 / 5), ('runs-1024', 1 / 5),
                          ('guests', 1 / 5), ('runs-1', 1 / 1.5),
                          ('tails', 1 / 10))],
    *[(f'time to converge, {name}', 1 / 5, True, _ratio(name, 'wall_s'))
      for name in ('runs-1', 'runs-8', 'runs-64', 'runs-1024')],
    ('CPU of an idle round, of a pass of ksmd with smart_scan (default)',
     1 / 200, True, _ratio('idle', 'round_cpu_s_per_gib')),
    ('the same, of a pass over all pages (smart_scan off)', 1 / 200, True,
     _per_side('idle', 'round_cpu_s_per_gib', 'full_pass_cpu_s_per_gib')),
    ('CPU of 100 idle VMs and the broker, % of one', 1, True,
     _ours('idle-100', 'cpu_percent')),
    ('the same, of that of ksmd as shipped', 1, True,
     _ratio('idle-100', 'cpu_percent')),
    ('wake-ups of an idle VM a second', 1, True,
     _ours('idle-100', 'wakeups_per_s')),
    ('requests of an idle VM a second', 0.1, True,
     _ours('idle-100', 'requests_per_s')),
    ('CPU of 20 scanners that merge at once, of what the broker allows',
     1.1, True, _ours('crowd-20', 'cpu_of_limit')),
    ('CPU of churn 1 %, a round a second', 1 / 20, True,
     _ratio('churn-1', 'cpu_s_per_s')),
    ('seconds from duplicate to shared, default settings', 2, True,
     _ours('react', 'react_s')),
    ('the same, longest', 2, True, _ours('react', 'react_max_s')),
    ('time from duplicate to shared, of that of ksmd as shipped', 1 / 10,
     True, _ratio('react', 'react_s')),
    ('pages saved, least of all workloads but guests and hot ones', 0.99, False,
     _least_saving),
    ('the same, guests, as a part of the best possible', 0.95,
     False, _ratio('guests', 'fraction')),
    ('first write to a shared page', 1.1, True, _ratio('cow', 'cow_p50_us')),
    *[(f'{what}, {name}', limit, True, _ours(name, metric))
      for name in ('stall', 'stall-shipped')
      for what, limit, metric in (
          ('stall p99, us', 100, 'stall_p99_us'),
          ('worst stall, us', 2000, 'stall_max_us'),
          ('the same, asleep in the kernel, us', 2000,
           'held_max_us'))],
    ('stall p99.9 with twice as many busy threads as cores, us', 1000, True,
     _ours('stall-busy', 'stall_p999_us')),
    *[(f'{what}, {name}', limit, False, _ours(name, metric))
      for name in ('speed', 'speed-shipped')
      for what, limit, metric in (
          ('speed of a memory-bound program while merging', 0.97,
           'speed_merging'),
          ('the same, converged', 0.99, 'speed_converged'))],
    ('bytes of metadata for a scanned page, engine and broker', 24, True,
     _metadata),
    ('the same with 2 GiB in all', 24, True, _ours('metadata', METADATA)),
    ('look-ups a second, broker alone', 2e6, False,
     _ours('broker', 'lookups_per_s')),
    ("growth of a look-up's cost with the tree, by that of its height", 1,
     True, _look_up_growth),
    ('bytes for a listed page, broker alone', 24, True,
     _ours('broker', 'bytes_per_listed_page')),
]


def markdown(loads):
    """A table of all targets; what was not measured says so."""
    lines = ['| target | limit | got | |', '| --- | ---: | ---: | --- |']
    for what, limit, less, figure in TARGETS:
        sign = '<=' if less else '>='
        try:
            got = figure(loads)
        except (KeyError, ValueError):
            lines.append(f'| {what} | {sign} {number(limit)} | - | '
                         'not measured |')
            continue
        met = got <= limit if less else got >= limit
        lines.append(f'| {what} | {sign} {number(limit)} | {number(got)} | '
                     f'{"met" if met else "**not met**"} |')
    return '\n'.join(lines)
