# SPDX-License-Identifier: GPL-2.0-or-later
"""plots.py: SVG bar charts of each metric, by gnuplot."""

import os
import subprocess

PLOTS = [
    ('cpu', 'CPU until converged, seconds', 'cpu_s'),
    ('wall', 'time until converged, seconds', 'wall_s'),
    ('saved', 'pages saved', 'saved_pages'),
]
SIDES = ('ours', 'ksmd')


def _script(path, title, names, log):
    lines = [
        'set terminal svg size 760,360 font "sans,12" background "white"',
        f'set output "{path}"', f'set title "{title}"',
        'set style data histograms', 'set style histogram clustered gap 1',
        'set style fill solid 0.8', 'set boxwidth 0.9',
        'set grid ytics', 'set key top right', 'set xtics rotate by -25',
    ]
    if log:
        lines.append('set logscale y')
    else:
        lines.append('set yrange [0:*]')
    lines.append('$data << END')
    for row in names:
        lines.append(' '.join(str(cell) for cell in row))
    lines.append('END')
    lines.append(', '.join(
        f'{"plot " if i == 0 else ""}$data using {i + 2}:xtic(1) '
        f'title "{side}"' for i, side in enumerate(SIDES)))
    return '\n'.join(lines) + '\n'


def draw(workloads, directory):
    """Writes the charts; returns the paths."""
    os.makedirs(directory, exist_ok=True)
    paths = []
    for name, title, metric in PLOTS:
        data = [(workload, *(result[side].get(metric) for side in SIDES))
                for workload, result in workloads.items()
                if all(metric in result.get(side, {}) for side in SIDES)]
        if not data:
            continue
        path = f'{directory}/{name}.svg'
        subprocess.run(['gnuplot'], text=True, check=True,
                       input=_script(path, title, data, name != 'saved'))
        paths.append(path)
    return paths
