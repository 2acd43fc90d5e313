# SPDX-License-Identifier: GPL-2.0-or-later
"""test-rooms.py: rooms use only rooms below them, and check-rooms would see it.

Each row but the first puts one thing the wrong way round in a copy of the
sources, and expects a report of just that.
"""

import os
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.normpath(os.path.join(
    os.path.dirname(os.path.abspath(__file__)), '..', '..'))
sys.path.insert(0, os.path.join(ROOT, 'tests', 'qemu'))
import tap                      # noqa: E402 pylint: disable=wrong-import-position

PROGRAM = os.path.join(ROOT, 'scripts', 'check-rooms')


def run(root):
    """Its exit status and what it prints."""
    done = subprocess.run([PROGRAM, root], stdout=subprocess.PIPE,
                          encoding='utf-8', check=False)
    return done.returncode, done.stdout


def changed(path, change):
    """What it prints of a copy with change() made to the text of a file."""
    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(os.path.join(ROOT, 'plugin'),
                        os.path.join(copy, 'plugin'))
        path = os.path.join(copy, 'plugin', path)
        with open(path, encoding='utf-8') as file:
            text = change(file.read())
        with open(path, 'w', encoding='utf-8') as file:
            file.write(text)
        status, output = run(copy)
        tap.check(status == 1, f'nothing is found: {output}')
        return output


def including(header):
    """A change: one include more."""
    quoted = header if header.startswith('<') else f'"{header}"'
    return lambda text: text.replace('#include "',
                                     f'#include {quoted}\n#include "', 1)


def expect(output, text):
    """That a line says so."""
    tap.check(text in output, f'"{text}" is not in: {output}')


def test_rooms_are_in_order():
    """The tree as it is."""
    status, output = run(ROOT)
    tap.check(status == 0, output)
    for program in ('engine', 'broker', 'ctl'):
        expect(output, f'{program}: ')


def test_an_include_goes_up():
    """And makes a circle."""
    output = changed('engine/memory/ram.c', including('scan/round.h'))
    expect(output, 'engine/memory/ram.c includes scan/round.h: memory may '
                   'not use scan')
    expect(output, 'engine: a circle of rooms: ')


def test_an_include_goes_sideways():
    """Who exchanges memory does not talk."""
    output = changed('engine/pages/merge.c', including('session/report.h'))
    expect(output, 'engine/pages/merge.c includes session/report.h: pages '
                   'may not use session')


def test_two_files_use_each_other():
    """In one room."""
    output = changed('broker/store/store-file.c', including('store/store.h'))
    expect(output, 'broker: a circle of files: ')


def test_a_request_sees_the_socket():
    """Nor does what it uses."""
    for name in ('request.c', 'request-state.h', 'session.c', 'settings.c'):
        output = changed(f'broker/clients/{name}',
                         including('clients/connection.h'))
        expect(output, f'broker/clients/{name} includes '
                       'clients/connection.h: only the root may')
        output = changed(f'broker/clients/{name}', including('<sys/socket.h>'))
        expect(output, f'broker/clients/{name} includes <sys/socket.h>: in '
                       'clients only connection and process may')


def test_another_room_uses_what_is_of_the_root():
    """Though it may use the room."""
    output = changed('broker/control/control.c',
                     including('clients/connection.h'))
    expect(output, 'broker/control/control.c includes clients/connection.h: '
                   'only the root may')


def test_a_call_has_no_header():
    """As the compiler would not say of a header that is included by chance."""
    output = changed('ctl/commands/cmd-vms.c', lambda text: text.replace(
        '#include "base/table.h"\n', ''))
    expect(output, 'ctl/commands/cmd-vms.c calls ksm_table_')


def test_a_room_says_nothing():
    """A README without the line."""
    output = changed('broker/tree/README.md', lambda text: text.replace(
        'May use:', 'Uses:'))
    expect(output, 'broker/tree: README.md says nothing after "May use:"')


if __name__ == '__main__':
    tap.run([test_rooms_are_in_order, test_an_include_goes_up,
             test_an_include_goes_sideways, test_two_files_use_each_other,
             test_a_request_sees_the_socket,
             test_another_room_uses_what_is_of_the_root,
             test_a_call_has_no_header, test_a_room_says_nothing])
