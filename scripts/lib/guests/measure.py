# SPDX-License-Identifier: GPL-2.0-or-later
"""measure.py: how much memory the guests really use, save, and could save.

All figures are of one instant, with the guests stopped and the merger
paused, and all are pages of 4 KiB:

  populated   guest pages that would be memory if nobody merged: private or
              mapped from the store now, or present in the snapshot that
              was taken before merging began.  The second catches zero
              pages, which when given back look like never touched ones.
  real        memory they take now: private pages, each once (pages of the
              kernel's KSM by page frame), plus the blocks that the broker's
              store has allocated, mapped by anyone or not.
  saved       populated - real
  ideal       populated - distinct contents other than zero: counted by
              scripts/count-ideal, which reads all the memory and knows
              nothing of mergers.

Every content that is not zero takes at least one page of real memory, so
saved can not be above ideal.  Pages that no guest ever touched are in none
of these.  Without a snapshot (--from-start) the zero pages given back are
taken from the merger's own statistics, for populated and ideal alike.
"""

import json
import os
import subprocess
import sys

import memory


class Snapshot:
    """Which pages are memory before merging, and how much that is."""

    def __init__(self, guests, merger):
        self.kinds = {guest.name: guest.page_kinds() for guest in guests}
        self.pss_mib = pss_mib(guests, merger)


def pss_mib(guests, merger):
    """PSS of the guest RAM mappings, and the store once, in MiB."""
    return (sum(guest.ram_pss_kb() for guest in guests) / 1024 +
            merger.outside_pages() * memory.PAGE / 2**20)


_MEMORY = bytes(1 if kind in (memory.PRIVATE, memory.STORE) else 0
                for kind in range(256))


def populated_map(kinds, before):
    """A byte for each page: 1 where it would be memory without merging."""
    now = int.from_bytes(kinds.translate(_MEMORY), 'little')
    if before is not None:
        now |= int.from_bytes(before.translate(_MEMORY), 'little')
    return now.to_bytes(len(kinds), 'little')


def private_pages(guests, kinds, merger):
    """Pages of anonymous memory of the guests' own, each counted once."""
    if merger.name != 'kernel':
        return sum(kinds[guest.name].count(memory.PRIVATE)
                   for guest in guests)
    frames = set()
    for guest in guests:
        numbers = memory.page_frames(guest.pid, guest.ram()[0],
                                     guest.ram_pages())
        frames.update(number for number, kind
                      in zip(numbers, kinds[guest.name])
                      if kind == memory.PRIVATE)
    return len(frames)


def measure(guests, merger, before, zero_told, run_dir):
    """The final figures.  The guests are stopped, the merger is paused."""
    kinds = {guest.name: guest.page_kinds() for guest in guests}
    sources = []
    for guest in guests:
        path = os.path.join(run_dir, f'{guest.name}.present')
        with open(path, 'wb') as file:
            file.write(populated_map(
                kinds[guest.name],
                before and before.kinds[guest.name]))
        sources.append(f'{guest.pid}:{guest.ram()[0]:#x}:'
                       f'{guest.config.mem_bytes},present={path}')
    after_mib = pss_mib(guests, merger)
    private = private_pages(guests, kinds, merger)
    store = merger.outside_pages()
    counted = _count_ideal(sources)
    extra = zero_told if before is None else 0
    populated = counted['pages'] + extra
    ideal = counted['ideal_pages'] + extra
    saved = populated - private - store
    return {
        'saved_pages': saved,
        'ideal_pages': ideal,
        'fraction': round(saved / ideal, 4) if ideal else 0.0,
        'ram_pss_before_mib': before and round(before.pss_mib, 1),
        'ram_pss_after_mib': round(after_mib, 1),
        'populated_pages': populated,
        'distinct_pages': counted['distinct_pages'],
        'zero_content_pages': counted['zero_pages'] + extra,
        'private_pages': private,
        'store_pages': store,
        'shared_pages': sum(kind.count(memory.STORE)
                                  for kind in kinds.values()),
    }


def _count_ideal(sources):
    script = os.path.join(os.path.dirname(__file__), '..', '..',
                          'count-ideal')
    output = subprocess.run([sys.executable, script, '--json', *sources],
                            check=True, stdout=subprocess.PIPE).stdout
    return json.loads(output)
