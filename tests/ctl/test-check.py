# SPDX-License-Identifier: GPL-2.0-or-later
"""test-check.py: `guest-ksmctl check` on hosts that have this and lack that.

Files of the host are made up below a directory of the test's; libvirt's part
is tested in tests/libvirt.
"""

import json
import os
import tempfile

from stage import Stage, tap

FILES = {
    'proc/sys/kernel/osrelease': '6.12.0-test',
    'proc/sys/vm/max_map_count': '1048576',
    'sys/kernel/mm/ksm/run': '0',
}


def checked(stage, changes=None, options=(), status=None):
    """The lines of a check as {what: (state, text)}, and the status."""
    with tempfile.TemporaryDirectory(prefix='ksm-check-') as root:
        for path, text in {**FILES, **(changes or {})}.items():
            if text is not None:
                os.makedirs(os.path.dirname(f'{root}/{path}'), exist_ok=True)
                with open(f'{root}/{path}', 'w', encoding='utf-8') as file:
                    file.write(text + '\n')
        arguments = ('--json', 'check', '--root', root, *options)
        out, _ = stage.ctl(*arguments, status=status)
        text, _ = stage.ctl(*arguments[1:], status=status)
    reply = json.loads(out)
    lines = {line['what']: (line['state'], line['text'])
             for line in reply['checks']}
    wrong = [line for line in lines.values() if line[0] == 'wrong']
    tap.check(reply['wrong'] == len(wrong) and
              (status == 0) == (not wrong), f'{status}: {lines}')
    for state, words in lines.values():
        tap.check(words in text and
                  (state if state != 'wrong' else 'WRONG') in text, text)
    return lines


def test_a_good_host():
    """No line is wrong, and the status is 0."""
    with Stage() as stage:
        lines = checked(stage, options=['--broker', stage.socket.replace(
            'control', 'broker')], status=0)
        for what in ('kernel', 'mappings', 'kernel KSM', 'broker',
                     'userfaultfd', 'socket'):
            tap.check(lines[what][0] == 'ok', f'{what}: {lines[what]}')


def test_what_is_wrong():
    """Each says so, with what to do."""
    rows = (
        ({'proc/sys/kernel/osrelease': '6.7.12'}, 'kernel', 'wrong',
         'run 6.8 or later'),
        ({'proc/sys/kernel/osrelease': '5.10.0-30-amd64'}, 'kernel', 'wrong',
         'run 6.8 or later'),
        ({'proc/sys/kernel/osrelease': None}, 'kernel', 'advice',
         'cannot be read'),
        ({'proc/sys/vm/max_map_count': '65530'}, 'mappings', 'advice',
         'set it to 1048576'),
        ({'sys/kernel/mm/ksm/run': '1'}, 'kernel KSM', 'advice', 'echo 2 >'),
        ({'sys/kernel/mm/ksm/run': None}, 'kernel KSM', 'ok', 'none'),
    )
    with Stage() as stage:
        for changes, what, state, words in rows:
            lines = checked(stage, changes, [
                '--broker', stage.socket.replace('control', 'broker')],
                int(state == 'wrong'))
            tap.check(lines[what][0] == state and words in lines[what][1],
                      f'{changes}: {lines[what]}')


def test_the_socket():
    """That of guests: missing, or nobody's."""
    with Stage() as stage:
        lines = checked(stage, options=['--broker', '/no/broker.sock'],
                        status=1)
        tap.check(lines['socket'][0] == 'wrong' and
                  'start guest-ksmd there' in lines['socket'][1], str(lines))
        if os.geteuid() == 0:
            lines = checked(stage, options=['--user', 'nobody'], status=1)
            tap.check(lines['socket'][0] == 'wrong', str(lines))
        lines = checked(stage, options=['--user', 'no-such-user'], status=1)
        tap.check("no user 'no-such-user'" in lines['user'][1], str(lines))


def test_no_broker():
    """It is wrong, and named."""
    with Stage() as stage:
        stage.socket = '/no/control.sock'
        lines = checked(stage, status=1)
        tap.check(lines['broker'][0] == 'wrong' and
                  '/no/control.sock' in lines['broker'][1], str(lines))


tap.run([test_a_good_host, test_what_is_wrong, test_the_socket,
         test_no_broker])
