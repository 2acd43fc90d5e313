# SPDX-License-Identifier: GPL-2.0-or-later
"""huge.py: the hot workloads side by side: huge pages kept, or not."""

from table import number
from workloads import KEEP_HUGE

MIB_PAGES = 256


def _row(load, policy, figures):
    cells = [load, policy,
             number(figures['speed_hot']), number(figures['accesses_per_us']),
             number(figures['huge_mib']),
             number(figures['saved_pages'] / MIB_PAGES),
             number(figures['cpu_percent'])]
    return '| ' + ' | '.join(cells) + ' |'


def markdown(loads):
    """A table; empty when nothing of it was measured."""
    lines = []
    for name, result in loads.items():
        if not name.startswith('hot-') or name.endswith('-keep'):
            continue
        rows = [('nobody merges', result.get('plain')),
                ('ksmd', result.get('ksmd')),
                ('keep-huge=0', result.get('ours')),
                (f'keep-huge={KEEP_HUGE}',
                 loads.get(f'{name}-keep', {}).get('ours'))]
        lines.extend(_row(name, policy, figures)
                     for policy, figures in rows if figures)
    if not lines:
        return ''
    return '\n'.join([
        '| workload | who merges | speed, of memory that nobody merges | '
        'accesses a us | huge pages left, MiB | saved, MiB | CPU of merging, '
        '% of one |',
        '| --- | --- | ---: | ---: | ---: | ---: | ---: |', *lines])
