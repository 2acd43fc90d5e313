# SPDX-License-Identifier: GPL-2.0-or-later
"""test-programs.py: the suites kernel and broker, on another kernel.

Debian's, with the security modules and two nodes that the local kernel may
lack; only the tests that depend most on the kernel, for a short time.
"""

from inside import run_program
from tap import run


def memory_is_whole_while_it_is_shared():
    """The oracle: devices write, calls of the kernel fail, all is given back."""
    run_program('kernel/test-oracle', '/oracle/direct',
                '/oracle/failing-calls', '/oracle/slow-unmerge', seconds=5)


def windows_isolate():
    """Taking pages away from all access, and giving them back."""
    run_program('kernel/test-isolation')


def stores_are_handed_over():
    """From broker to broker, by the engines."""
    run_program('kernel/test-handover', '/handover/hung')
    run_program('broker/test-reclaim', '/reclaim/taken-up',
                '/reclaim/killed-at-it', '/reclaim/stranger')


def the_broker_confines_itself():
    """Capabilities, Landlock, seccomp."""
    run_program('broker/test-confine')


def shared_pages_lie_on_their_node():
    """Stores, copies and pages given back, on a host with two nodes."""
    run_program('kernel/test-nodes')


def memory_fails():
    """By the kernel's injection; last, as it takes memory away."""
    run_program('kernel/test-memory-failure', require='memory-failure')


run([memory_is_whole_while_it_is_shared, windows_isolate,
     stores_are_handed_over, the_broker_confines_itself,
     shared_pages_lie_on_their_node, memory_fails])
