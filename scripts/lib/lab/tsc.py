# SPDX-License-Identifier: GPL-2.0-or-later
"""tsc.py: how fast the CPU's own clock (rdtsc) goes.

TCG shows this machine's to the host in the lab, whose kernel measures it at
boot.  On a busy machine it may get that wrong by factors, and all its clocks
are wrong from then on; told the frequency, it does not measure.
"""

import ctypes
import mmap
import time

# rdtsc; shl rdx, 32; or rax, rdx; ret
CODE = bytes.fromhex('0f31 48c1e220 4809d0 c3')
MEASURE_SECONDS = 0.1
TRIES = 20


def _sample(rdtsc):
    """(ns, cycles) at the same time: of the tries, the least disturbed."""
    samples = []
    for _ in range(TRIES):
        before = time.monotonic_ns()
        cycles = rdtsc()
        after = time.monotonic_ns()
        samples.append((after - before, (before + after) / 2, cycles))
    return min(samples)[1:]


def khz():
    """Its frequency."""
    with mmap.mmap(-1, mmap.PAGESIZE,
                   prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC) \
            as page:
        page.write(CODE)
        # A view would keep the mapping from being closed.
        view = ctypes.c_char.from_buffer(page)
        rdtsc = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(view))
        start = _sample(rdtsc)
        time.sleep(MEASURE_SECONDS)
        end = _sample(rdtsc)
        del view
    return round((end[1] - start[1]) * 1000000 / (end[0] - start[0]))
