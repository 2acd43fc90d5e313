# SPDX-License-Identifier: GPL-2.0-or-later
"""table.py: medians, ratios, and how they are printed and written."""

import statistics


def summarise(workload, values):
    """What the JSON says of a workload."""
    result = {side: {name: statistics.median(list_)
                     for name, list_ in metrics.items()}
              for side, metrics in values.items()}
    ours, ksmd = result.get('ours', {}), result.get('ksmd', {})
    result['ratio'] = {name: ours[name] / ksmd[name]
                       for name in ours if ksmd.get(name)}
    result['min'] = {side: {name: min(list_)
                            for name, list_ in metrics.items()}
                     for side, metrics in values.items()}
    result['max'] = {side: {name: max(list_)
                            for name, list_ in metrics.items()}
                     for side, metrics in values.items()}
    result['repetitions'] = max(len(list_) for metrics in values.values()
                                for list_ in metrics.values())
    result['what'] = workload.what
    result['main'] = workload.main
    return result


def number(value):
    """Three digits that count."""
    if value is None:
        return '-'
    if value == 0 or 1000 <= abs(value) < 1e8:
        return f'{value:,.0f}'
    return f'{value:.3g}'


def _range(result, side, name):
    median = result.get(side, {}).get(name)
    if median is None:
        return '-'
    return (f'{number(median)} ({number(result["min"][side][name])}..'
            f'{number(result["max"][side][name])})')


def rows(name, result):
    """Rows of text: workload, metric, sides, ratio of ours to ksmd."""
    for metric in result['main']:
        yield [name, metric, _range(result, 'ours', metric),
               _range(result, 'ksmd', metric),
               _range(result, 'plain', metric),
               number(result['ratio'].get(metric))]


HEADER = ['workload', 'metric', 'ours (min..max)', 'ksmd (min..max)',
          'plain (min..max)', 'ours/ksmd']


def text(workloads):
    """The table for a terminal."""
    lines = [HEADER]
    for name, result in workloads.items():
        lines.extend(rows(name, result))
    widths = [max(len(line[i]) for line in lines)
              for i in range(len(HEADER))]
    return '\n'.join('  '.join(cell.ljust(width) if i < 2
                               else cell.rjust(width)
                               for i, (cell, width)
                               in enumerate(zip(line, widths))).rstrip()
                     for line in lines)


def markdown(workloads):
    """The table for docs/performance.md."""
    lines = ['| ' + ' | '.join(HEADER) + ' |',
             '| --- | --- | ---: | ---: | ---: | ---: |']
    for name, result in workloads.items():
        lines.extend('| ' + ' | '.join(row) + ' |'
                     for row in rows(name, result))
    return '\n'.join(lines)
