# SPDX-License-Identifier: GPL-2.0-or-later
"""test-help.py: --help, the manual pages and the completion agree."""

import os
import re
import subprocess

from fixture import CTL, Fixture, run_ctl, tap

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')
COMPLETION = os.path.join(ROOT, 'contrib', 'completion', 'guest-ksmctl')


def helped(*arguments, program=CTL):
    """The text of --help."""
    return subprocess.run([program, *arguments, '--help'], check=True,
                          stdout=subprocess.PIPE, encoding='utf-8').stdout


def options_of(text):
    """Short and long options, without dashes' first."""
    found = re.findall(r'^  (?:-(\w), )?--([a-z-]+)', text, re.M)
    tap.check(found, text)
    return {short for short, _ in found if short} | \
        {'-' + long for _, long in found}


def commands():
    """The names in the help."""
    text = helped().split('Commands:\n')[1].split('\n\n')[0]
    return re.findall(r'^  ([a-z-]+) ', text, re.M)


def page(name):
    """A manual page's source."""
    with open(os.path.join(ROOT, 'docs', 'man', name),
              encoding='utf-8') as file:
        return file.read()


def described(source):
    """Options that have an item of their own in a page."""
    found = set()
    for line in re.findall(r'^\.It (Fl .*)$', source, re.M):
        found |= set(re.findall(r'Fl (-?[a-z][a-z-]*)', line))
    return found


def compare(of_help, of_page, least):
    """What of_help finds in --help, of_page finds in the programs' pages."""
    if 'domain-xml' not in commands():
        raise tap.Skip('libvirt', 'guest-ksmctl was built without libvirt')
    known = of_help(helped())
    for command in commands():
        known |= of_help(helped(command))
    tap.check(len(known) > least, f'{known}')
    tap.check(of_page(page('guest-ksmctl.1')) == known,
              f'{of_page(page("guest-ksmctl.1")) ^ known}')
    known = of_help(helped(program=os.environ['GUEST_KSMD']))
    tap.check(of_page(page('guest-ksmd.8')) == known,
              f'{of_page(page("guest-ksmd.8")) ^ known}')


def test_every_option_is_in_the_page():
    """No option of --help is missing, and none is invented."""
    compare(options_of, described, 15)


def pairs_of(text):
    """Long options of --help that have a short form, with that."""
    return {(short, '-' + long) for short, long in
            re.findall(r'^  -(\w), --([a-z-]+)', text, re.M)}


def described_pairs(source):
    """The same of a page's items."""
    return {tuple(match) for match in re.findall(
        r'^\.It Fl (\w)\b.* , Fl (-[a-z][a-z-]*)', source, re.M)}


def forms(source):
    """The forms of a synopsis, each with its options and its text."""
    synopsis = source.split('.Sh SYNOPSIS\n')[1].split('.Sh ')[0]
    return [(set(re.findall(r'\bFl (-?[a-z][a-z-]*)', form)) |
             set(re.findall(r'\bFl \w \| (\w)$', form, re.M)), form)
            for form in synopsis.split('.Nm\n')[1:]]


def both(options, pairs):
    """Each option in its short form and its long one."""
    return options | {other for pair in pairs for other in pair
                      if options & set(pair)}


def test_options_have_their_short_forms_in_the_page():
    """-s is --socket here and there, and so on."""
    compare(pairs_of, described_pairs, 10)


def test_every_option_is_in_the_synopsis():
    """Of a command in its own form; no form is there twice.

    What all commands have is told of all together.
    """
    for name in ('guest-ksmctl.1', 'guest-ksmd.8'):
        texts = [form for _, form in forms(page(name))]
        tap.check(len(set(texts)) == len(texts), f'{name}: a form twice')
    text = helped(program=os.environ['GUEST_KSMD'])
    shown = set().union(*(found for found, _ in forms(page('guest-ksmd.8'))))
    known = options_of(text)
    tap.check(both(shown, pairs_of(text)) == known - {'h', '-help'},
              f'{both(shown, pairs_of(text)) ^ known}')
    source = page('guest-ksmctl.1')
    for command in commands():
        text = helped(command)
        found = set()
        for options, form in forms(source):
            if re.search(rf'^\.Cm .*\b{command}\b', form, re.M):
                found |= options
        common = options_of(helped())
        found = both(found, pairs_of(text)) - common
        known = options_of(text) - common
        tap.check(found == known, f'{command}: {sorted(found ^ known)}')


def test_every_command_is_in_the_page():
    """In the synopsis and as an item; so are the exit statuses."""
    source = page('guest-ksmctl.1')
    synopsis = source.split('.Sh DESCRIPTION')[0]
    for command in commands():
        tap.check(re.search(rf'^\.Cm .*\b{command}\b', synopsis, re.M),
                  f'{command} in the synopsis')
        tap.check(re.search(rf'^\.It Cm {command}\b', source, re.M),
                  f'{command} has an item')
    statuses = re.findall(r'^\.It (\d)$', source, re.M)
    tap.check(statuses == re.findall(r'\b(\d) [a-z]', helped().split(
        'Exit status:')[1]), f'{statuses}')


def test_every_help_is_whole():
    """Each command's --help needs no broker and says how to use it."""
    for command in commands():
        text = helped(command)
        tap.check(f'{command}' in text.splitlines()[1] and
                  '--socket' in text, text)
    out, _ = run_ctl('--version')
    tap.check(re.fullmatch(r'guest-ksmctl \d+\.\d+\.\d+\n', out), out)


def test_every_command_is_in_the_operations_page():
    """Each command is shown there, or in libvirt's, with what it printed."""
    text = ''
    for name in ('operations.md', 'libvirt.md'):
        with open(os.path.join(ROOT, 'docs', name),
                  encoding='utf-8') as file:
            text += file.read()
    shown = re.findall(r'<!-- (?:output|screen): guest-ksmctl (.*?) -->\n'
                       r'```\n(.*?)```\n', text, re.S)
    for command in commands():
        printed = [out for words, out in shown if command in words.split()]
        tap.check(printed and all(printed), f'{command}: {printed}')
    for picture in re.findall(r'\]\((images/.*?)\)', text):
        tap.check(os.path.getsize(os.path.join(ROOT, 'docs', picture)) > 0,
                  picture)


def complete(*words):
    """What bash offers for the last word."""
    line = ' '.join(words)
    script = '''
        . "$1"; shift
        guest-ksmctl() { "$GUEST_KSMCTL" "$@"; }
        COMP_LINE=$1; shift
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        _guest_ksmctl guest-ksmctl "${@: -1}" "${@: -2:1}"
        printf '%s\\n' "${COMPREPLY[@]}"
    '''
    done = subprocess.run(
        ['bash', '-u', '-c', script, 'bash', COMPLETION, line, *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding='utf-8',
        check=False, timeout=30)
    tap.check(done.returncode == 0 and done.stderr == '',
              f'{words}: {done.stderr}')
    return done.stdout.split()


def test_completion():
    """Commands, options, values and names."""
    tap.check(complete('guest-ksmctl', '') == commands(), 'commands')
    tap.check(complete('guest-ksmctl', 'me') == ['metrics'], 'one')
    for command in commands():
        offered = complete('guest-ksmctl', command, '-')
        wanted = {option for option in options_of(helped(command))
                  if option.startswith('-')}
        tap.check({option[1:].rstrip('=') for option in offered} == wanted,
                  f'{command}: {offered}, {wanted}')
    tap.check(complete('guest-ksmctl', 'top', '--sort', '=') ==
              complete('guest-ksmctl', 'top', '-k', ''), 'a value')
    for column in complete('guest-ksmctl', 'top', '-k', ''):
        tap.check(column in helped('top'), column)
    tap.check(complete('guest-ksmctl', 'map', '--color', '=', 'n') ==
              ['never'], 'a value begun')
    if 'domain-xml' in commands():
        tap.check(complete('guest-ksmctl', 'domain-xml', 'e') == ['enable'],
                  'a verb')
    with Fixture() as fixture:
        fixture.remote('web1/ram0', 'pool', 64)
        fixture.remote('db2/ram0', 'pool', 64)
        asked = ('guest-ksmctl', '-s', fixture.socket)
        tap.check(complete(*asked, 'map', '') == ['db2', 'web1'], 'VMs')
        tap.check(complete(*asked, 'history', 'p') == ['pool'], 'groups')
        tap.check(complete(*asked, 'pause', '') == ['db2', 'web1', 'pool'],
                  'both')
        tap.check('run=' in complete(*asked, 'set', 'web1', ''), 'keys')
    tap.check(complete('guest-ksmctl', '-s', '/nonexistent', 'vm', '') == [],
              'no broker: nothing')


tap.run([test_every_option_is_in_the_page,
         test_options_have_their_short_forms_in_the_page,
         test_every_option_is_in_the_synopsis,
         test_every_command_is_in_the_page, test_every_help_is_whole,
         test_every_command_is_in_the_operations_page, test_completion])
