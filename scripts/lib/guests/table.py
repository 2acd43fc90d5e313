# SPDX-License-Identifier: GPL-2.0-or-later
"""table.py: the live table: redrawn on a terminal, else a block at times."""

import sys
import time

BLOCK_SECONDS = 5.0


def mib(pages):
    """Pages as MiB."""
    return pages / 256


def step(text):
    """A line of progress."""
    print(text, file=sys.stderr, flush=True)


class Table:
    """Draws rows of guests, and knows where it drew last."""

    def __init__(self, out=sys.stdout):
        self.out = out
        self.live = out.isatty()
        self.lines = 0
        self.drawn = -BLOCK_SECONDS

    def draw(self, seconds, names, rows, saved, cpu, last=False):
        """Shows the state SECONDS after the start."""
        now = time.monotonic()
        if not self.live and not last and now - self.drawn < BLOCK_SECONDS:
            return
        self.drawn = now
        text = [f'{seconds:6.1f} s    private     shared       zero     '
                'broken  mappings    CPU']
        for name, row in zip(names, rows):
            text.append(
                f'{name:8}' + ''.join(
                    f'{mib(row[key]):7.1f} MiB' for key in
                    ('private', 'shared', 'zero', 'broken')) +
                f'{row["mappings"]:10}{row["cpu"]:6.1f}s')
        text.append(f'saved {mib(saved):.1f} MiB with {cpu:.1f} s of CPU')
        if self.live and self.lines:
            self.out.write(f'\x1b[{self.lines}F\x1b[J')
        self.out.write('\n'.join(text) + '\n')
        self.out.flush()
        self.lines = len(text)
        if not self.live:
            self.out.write('\n')


def summary(result):
    """The closing lines for a person."""
    names = {'ksm': 'memory-backend-ksm', 'kernel': "the kernel's KSM",
             'none': 'nobody'}
    lines = [
        '',
        f'{result["vms"]} {result["guest"]} guests of '
        f'{result["mem_mib"]} MiB ({result["accel"]}), merged by '
        f'{names[result["backend"]]}' +
        (f', domains of libvirt {result["libvirt"]}'
         if result.get('libvirt') else '')]
    if result['ram_pss_before_mib'] is not None:
        lines.append(f'  memory before     '
                     f'{result["ram_pss_before_mib"]:9.1f} MiB')
    lines.append(f'  memory after      {result["ram_pss_after_mib"]:9.1f} MiB'
                 f'   of it the store {mib(result["store_pages"]):.1f} MiB')
    lines.append(f'  pages saved       {result["saved_pages"]:9}'
                 f'       {mib(result["saved_pages"]):.1f} MiB')
    lines.append(f'  ideal             {result["ideal_pages"]:9}       '
                 f'reached {100 * result["fraction"]:.1f} %')
    if result['backend'] != 'none':
        lines.append(f'  95 % of it after  {result["seconds_to_95"]:9.1f} s'
                     f'     settled after {result["merge_seconds"]:.1f} s')
        lines.append(f'  CPU spent merging '
                     f'{result["merger_cpu_seconds"]:9.1f} s     '
                     f'{result["merger_cpu_percent_after"]:.1f} % of a CPU '
                     'afterwards')
    counters = result['counters']
    if counters:
        lines.append('  ' + ', '.join(
            f'{name.replace("_", " ")} {value}'
            for name, value in counters.items()))
    if result['guest'] == 'tiny':
        lines.append(f'  verified: {result["passes"]} passes, '
                     f'{result["writes"]} page writes, '
                     f'{result["mismatches"]} mismatches')
    return '\n'.join(lines)
