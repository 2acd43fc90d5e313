# SPDX-License-Identifier: GPL-2.0-or-later
"""runner.py: runs the sides in turn and gathers what they measured."""

import json
import os
import subprocess
import sys
import time

KSM = '/sys/kernel/mm/ksm'
SETTINGS = ('sleep_millisecs', 'pages_to_scan', 'use_zero_pages',
            'smart_scan', 'run')


class BenchError(Exception):
    """A run failed."""


class KernelSettings:
    """The settings of ksmd: put back whatever happens to the programs."""

    def __init__(self):
        self.saved = {}

    def __enter__(self):
        try:
            for name in SETTINGS:
                with open(f'{KSM}/{name}', encoding='utf-8') as file:
                    self.saved[name] = file.read().strip()
        except OSError as error:
            raise BenchError(f'this kernel has no KSM: {error}') from error
        if self.saved['run'] == '1':
            raise BenchError(f'ksmd is running ({KSM}/run is 1): stop who '
                             'uses it, or the figures mean nothing')
        return self

    def __exit__(self, *unused):
        self._write('run', '2')
        for name, value in self.saved.items():
            self._write(name, value)

    @staticmethod
    def _write(name, value):
        with open(f'{KSM}/{name}', 'w', encoding='utf-8') as file:
            file.write(value)


def run_once(build, workload, side, seed):
    """One program run; the metrics that it prints."""
    program = f'{build}/plugin/tests/bench/{workload.program}'
    command = [program, *workload.sides[side], *workload.args]
    if workload.program == 'bench-merge':
        command.insert(1, f'--seed={seed}')
    env = {**os.environ, 'GUEST_KSMD': f'{build}/plugin/guest-ksmd'}
    with subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True) as process:
        try:
            out, err = process.communicate()
        except BaseException:
            process.terminate()     # its children die with it
            process.wait()
            raise
    if process.returncode != 0:
        raise BenchError(f'{" ".join(command)} ended with status '
                         f'{process.returncode}:\n{err[-2000:]}')
    return json.loads(out)


def _wait_while_measuring():
    """Others may hold the machine for their own measurements."""
    path = os.environ.get('KSM_BENCH_WAIT_FILE')
    while path and os.path.exists(path):
        time.sleep(5)


def run_workload(build, workload, reps):
    """All repetitions: {side: {metric: [values]}}."""
    values = {side: {} for side in workload.sides}
    if workload.reps:
        reps = min(reps, workload.reps)
    for rep in range(reps):
        for side in workload.sides:
            _wait_while_measuring()
            start = time.monotonic()
            for name, value in run_once(build, workload, side,
                                        rep + 1).items():
                values[side].setdefault(name, []).append(value)
            print(f'  {workload.name:14} {side:6} {rep + 1}/{reps} '
                  f'{time.monotonic() - start:6.1f} s', file=sys.stderr,
                  flush=True)
    return values
