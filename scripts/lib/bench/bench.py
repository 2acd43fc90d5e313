# SPDX-License-Identifier: GPL-2.0-or-later
"""bench.py: the command behind scripts/bench."""

import argparse
import json
import os
import signal
import sys

import disk
import docs
import guests
import machine
import plots
import profile_perf
import runner
import table
import targets
import workloads


def _arguments():
    parser = argparse.ArgumentParser(
        prog='scripts/bench',
        description="Measures our engine against the kernel's KSM: the same "
        'memory, in turn.  Needs root, for the settings of ksmd, which '
        'are put back.')
    parser.add_argument('--root', help=argparse.SUPPRESS)
    parser.add_argument('--build', help=argparse.SUPPRESS)
    parser.add_argument('--workload', action='append', metavar='NAME',
                        help='only this one; can be repeated')
    parser.add_argument('--list', action='store_true',
                        help='tell the workloads')
    parser.add_argument('--reps', type=int, default=5, metavar='N',
                        help='repetitions (5); the slow ones have fewer')
    parser.add_argument('--guests', action='store_true',
                        help='Debian guests, too, by scripts/demo: takes long')
    parser.add_argument('--json', metavar='FILE',
                        help='figures (build/bench/bench.json)')
    parser.add_argument('--merge', action='store_true',
                        help='keep what the JSON has of other workloads')
    parser.add_argument('--no-run', action='store_true',
                        help='measure nothing: show what the JSON has')
    parser.add_argument('--profile', action='store_true',
                        help="where our side's CPU goes in some workloads, "
                        'by perf')
    parser.add_argument('--docs', action='store_true',
                        help='write the tables into docs/performance.md')
    return parser.parse_args()


def _chosen(names, others):
    known = workloads.all_workloads()
    if not names:
        return [] if others else known
    unknown = set(names) - {load.name for load in known} - {'guests', 'disk'}
    if unknown:
        raise runner.BenchError(f'no workload {", ".join(sorted(unknown))}; '
                                'see scripts/bench --list')
    return [load for load in known if load.name in names]


def _write(path, results):
    os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
    with open(path + '.new', 'w', encoding='utf-8') as file:
        json.dump(results, file, indent=1)
        file.write('\n')
    os.replace(path + '.new', path)


def _measure(args, path, results):
    load_before = os.getloadavg()[0]
    with runner.KernelSettings():
        for load in _chosen(args.workload, args.profile):
            values = runner.run_workload(args.build, load, args.reps)
            results['workloads'][load.name] = table.summarise(load, values)
            results['workloads'][load.name]['load_average'] = [
                load_before, os.getloadavg()[0]]
            _write(path, results)
    if args.profile:
        # Brief: rounds after the end would be counted, too.
        wanted = ('runs-1', 'runs-8', 'runs-64', 'runs-64-huge')
        results['profiles'] = {
            load.name: profile_perf.measure(
                args.build, ['--brief', *load.args])
            for load in workloads.all_workloads() if load.name in wanted}
        _write(path, results)
    if 'disk' in (args.workload or []):
        results['workloads']['disk'] = disk.run(args.build, args.reps)
        _write(path, results)
    if args.guests or 'guests' in (args.workload or []):
        results['workloads']['guests'] = guests.run(args.root, args.reps)
        _write(path, results)


def main():
    """Measures, prints, writes."""
    args = _arguments()
    if args.list:
        for load in workloads.all_workloads():
            print(f'{load.name:16} {load.what}')
        print(f'{"disk":16} a guest\'s disk: only when asked for')
        print(f'{"guests":16} Debian guests: only when asked for')
        return 0
    signal.signal(signal.SIGTERM, lambda *unused: sys.exit(1))
    path = os.path.abspath(args.json or f'{args.build}/bench/bench.json')
    results = {'workloads': {}}
    if (args.merge or args.no_run) and os.path.exists(path):
        with open(path, encoding='utf-8') as file:
            results = json.load(file)
    try:
        if not args.no_run:
            results['machine'] = machine.describe()
            _measure(args, path, results)
    except runner.BenchError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(table.text(results['workloads']))
    print(targets.markdown(results['workloads']))
    for plot in plots.draw(results['workloads'], f'{args.build}/bench'):
        print(f'plot: {plot}')
    print(f'JSON: {path}')
    if args.docs:
        docs.refresh(f'{args.root}/docs/performance.md', results)
    return 0


if __name__ == '__main__':
    sys.exit(main())
