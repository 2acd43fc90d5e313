# SPDX-License-Identifier: GPL-2.0-or-later
"""machine.py: what the figures were measured on."""

import os
import platform
import subprocess


def _lscpu():
    out = subprocess.run(['lscpu'], capture_output=True, text=True,
                         check=True, env={**os.environ, 'LC_ALL': 'C'})
    fields = {}
    for line in out.stdout.splitlines():
        key, _, value = line.partition(':')
        fields[key.strip()] = value.strip()
    return fields


def _meminfo_gib():
    with open('/proc/meminfo', encoding='utf-8') as file:
        return int(file.readline().split()[1]) / 2**20


def _read(path):
    try:
        with open(path, encoding='utf-8') as file:
            return file.read().strip()
    except OSError:
        return '?'


def describe():
    """Plain fields, for the JSON and the document."""
    cpu = _lscpu()
    return {
        'kernel': platform.release(),
        'machine': platform.machine(),
        'cpu': cpu.get('Model name', '?'),
        'cpus': os.cpu_count(),
        'l2_cache': cpu.get('L2 cache', '?'),
        'l3_cache': cpu.get('L3 cache', '?'),
        'virtual': cpu.get('Hypervisor vendor', 'no'),
        'memory_gib': round(_meminfo_gib(), 1),
        'max_map_count': int(_read('/proc/sys/vm/max_map_count')),
        'transparent_hugepage':
            _read('/sys/kernel/mm/transparent_hugepage/enabled'),
    }
