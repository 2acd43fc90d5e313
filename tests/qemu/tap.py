# SPDX-License-Identifier: GPL-2.0-or-later
"""tap.py: runs test functions and reports them as TAP.

A test function takes no arguments, and raises Skip(capability, reason) for
what it lacks; when KSM_TEST_REQUIRE names that capability, it fails instead.
"""

import os
import sys
import time
import traceback


class Skip(Exception):
    """A capability that this machine lacks."""

    def __init__(self, capability, reason):
        super().__init__(reason)
        self.capability = capability


def say(text):
    """A diagnostic line."""
    for line in str(text).splitlines():
        print(f'# {line}', flush=True)


def required(capability):
    """Whether its absence is a failure."""
    return capability in os.environ.get('KSM_TEST_REQUIRE', '').split(',')


def seconds(share, least):
    """This test's share of KSM_TEST_SECONDS, but at least that."""
    return max(least, share * float(os.environ.get('KSM_TEST_SECONDS', 10)))


def wait_until(condition, limit, what):
    """Polls until it is true; returns the seconds it took."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > limit:
            raise AssertionError(f'not within {limit} s: {what}')
        time.sleep(0.02)
    return time.monotonic() - start


def check(condition, what):
    """An assertion that says what it is about."""
    if not condition:
        raise AssertionError(what)


def run(tests):
    """Runs the functions, prints TAP, exits."""
    print(f'1..{len(tests)}', flush=True)
    failed = 0
    for number, test in enumerate(tests, 1):
        name = test.__name__.replace('_', ' ')
        try:
            test()
            print(f'ok {number} - {name}', flush=True)
        except Skip as skip:
            if required(skip.capability):
                failed += 1
                say(f'{skip.capability} is required: {skip}')
                print(f'not ok {number} - {name}', flush=True)
            else:
                print(f'ok {number} - {name} # SKIP {skip}', flush=True)
        except Exception:       # pylint: disable=broad-except
            failed += 1
            say(traceback.format_exc())
            print(f'not ok {number} - {name}', flush=True)
    sys.exit(1 if failed else 0)
