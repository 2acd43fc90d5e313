# SPDX-License-Identifier: GPL-2.0-or-later
"""guests.py: real guests: scripts/demo with either merger, in turn."""

import json
import subprocess
import sys
import tempfile

import table
from runner import BenchError
from workloads import Workload

# A repetition takes three minutes or more.
MAX_REPS = 3
BACKENDS = {'ours': 'ksm', 'ksmd': 'kernel'}
# The names of the demo's JSON, and ours.
METRICS = {'merger_cpu_seconds': 'cpu_s', 'merge_seconds': 'wall_s',
           'saved_pages': 'saved_pages', 'fraction': 'fraction',
           'ideal_pages': 'ideal_pages', 'seconds_to_95': 'seconds_to_95',
           'merger_cpu_percent_after': 'cpu_percent_after'}


def _run_once(root, backend):
    with tempfile.TemporaryDirectory() as directory:
        path = f'{directory}/demo.json'
        command = [f'{root}/scripts/demo', '--backend', backend,
                   '--json', path]
        result = subprocess.run(command, stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, check=False)
        if result.returncode != 0:
            raise BenchError(f'{" ".join(command)} ended with status '
                             f'{result.returncode}')
        with open(path, encoding='utf-8') as file:
            return json.load(file)


def run(root, reps):
    """Three Debian guests, as the demo has them."""
    values = {side: {} for side in BACKENDS}
    reps = min(reps, MAX_REPS)
    for rep in range(reps):
        for side, backend in BACKENDS.items():
            figures = _run_once(root, backend)
            for name, metric in METRICS.items():
                if figures.get(name) is not None:
                    values[side].setdefault(metric, []).append(figures[name])
            print(f'  guests {side} {rep + 1}/{reps}', file=sys.stderr,
                  flush=True)
    load = Workload('guests', 'three Debian guests, booted and idle, then '
                    'merged (scripts/demo; our side with default settings); '
                    'fraction: of the pages that are saved at best',
                    [], ['cpu_s', 'wall_s', 'saved_pages', 'fraction'])
    return table.summarise(load, values)
