#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Collects the results of test programs and counts single test cases.

usage: test-totals.py FILE meson SUITE MESON_LOG.json
       test-totals.py FILE tap SUITE NAME STATUS OUTPUT
       test-totals.py FILE check NAME STATUS OUTPUT
       test-totals.py FILE total

FILE gathers one JSON object a line.  `total` prints what was measured, what
failed, with its output, why cases were skipped, and as its last line
"N passed, N failed, N skipped"; it exits with 1 when something failed.
"""
import json
import re
import sys

TAP_LINE = re.compile(r'^(not )?ok\b\s*(\d+)?\s*(?:-\s*)?(.*)$')
MAX_OUTPUT_LINES = 200
# Figures that the tests print as TAP comments and that are worth showing.
MEASURED = re.compile(r'^# (.*(?:merges/s|merges \d+ \(|bytes per guest page|'
                      r'store pages \(|resumed|references gone|^# store:|'
                      r'longest window|watching \d+ engines).*)$', re.M)


def parse_tap(text):
    """Yields (case, result, reason) of each line of the outermost level."""
    plan = None
    seen = 0
    for line in text.splitlines():
        if line.startswith('Bail out!'):
            yield 'bail out', 'failed', line
            return
        match = re.match(r'^1\.\.(\d+)(.*)$', line)
        if match:
            plan = int(match.group(1))
            if plan == 0:
                yield 'all', 'skipped', match.group(2).strip(' #')
            continue
        match = TAP_LINE.match(line)
        if not match:
            continue
        seen += 1
        name, _, directive = match.group(3).partition(' # ')
        if match.group(3).startswith('# '):
            name, directive = '', match.group(3)[2:]
        name = name.strip() or 'case %d' % seen
        word = directive.strip().upper()
        if match.group(1):
            yield name, 'skipped' if word.startswith('TODO') else 'failed', ''
        elif word.startswith('SKIP'):
            yield name, 'skipped', directive.strip()[4:].strip()
        else:
            yield name, 'passed', ''
    if plan is None or plan != seen and plan:
        yield 'plan', 'failed', '%d cases seen, %s planned' % (seen, plan)


def of_program(suite, name, text, bad, output):
    """The records of one program; bad says how it ended, if not well."""
    records = []
    if re.search(r'^(not )?ok\b|^1\.\.\d|^TAP version', text, re.M):
        for case, result, reason in parse_tap(text):
            records.append((case, result, reason))
    else:
        records.append(('run', 'failed' if bad else 'passed', bad))
    if bad and all(r[1] != 'failed' for r in records):
        records.append(('end', 'failed', bad))
    failed = any(r[1] == 'failed' for r in records)
    measured = MEASURED.findall(text)
    return [{'suite': suite, 'program': name, 'case': case, 'result': result,
             'reason': reason, 'output': output if failed else '',
             'measured': [] if i else measured}
            for i, (case, result, reason) in enumerate(records)]


def of_meson(suite, path):
    with open(path, encoding='utf-8', errors='replace') as log:
        for line in log:
            test = json.loads(line)
            bad = ''
            name = test['name'].split(' / ')[0].split(':')[-1]
            name = re.split(r'[/:]', test['name'])[-1].strip() or name
            out = test.get('stdout') or ''
            if test['result'] == 'SKIP' and not out.strip():
                yield {'suite': suite, 'program': name, 'case': 'all',
                       'result': 'skipped', 'reason': 'exit status 77',
                       'output': ''}
                continue
            if test['result'] not in ('OK', 'SKIP'):
                bad = '%s, exit status %s' % (test['result'],
                                              test.get('returncode'))
            yield from of_program(suite, name, out, bad,
                                  out + (test.get('stderr') or ''))


def read_text(path):
    with open(path, encoding='utf-8', errors='replace') as file:
        return file.read()


def total(path):
    counts = {'passed': 0, 'failed': 0, 'skipped': 0}
    shown = set()
    records = [json.loads(line) for line in read_text(path).splitlines()]
    for record in records:
        for line in record.get('measured', []):
            print('measured: %s: %s' % (record['program'], line))
    for record in records:
        counts[record['result']] += 1
        name = '%s/%s' % (record['suite'], record['program'])
        if record['result'] == 'skipped':
            print('skipped: %s: %s: %s' % (name, record['case'],
                                           record['reason'] or 'no reason'))
        if record['result'] == 'failed':
            print('FAILED: %s: %s %s' % (name, record['case'],
                                         record['reason']))
            if name not in shown:
                shown.add(name)
                lines = record['output'].splitlines()
                for line in lines[-MAX_OUTPUT_LINES:]:
                    print('    ' + line)
    if not records:
        counts['failed'] = 1
        print('FAILED: no test ran')
    print('%(passed)d passed, %(failed)d failed, %(skipped)d skipped' % counts)
    return 1 if counts['failed'] else 0


def main(args):
    if len(args) < 2:
        sys.exit(__doc__)
    path, kind = args[0], args[1]
    if kind == 'total':
        return total(path)
    if kind == 'meson':
        records = list(of_meson(args[2], args[3]))
    elif kind == 'tap':
        text = read_text(args[5])
        bad = 'exit status ' + args[4] if args[4] != '0' else ''
        records = of_program(args[2], args[3], text, bad, text)
    elif kind == 'check':
        records = of_program('checks', args[2], '', 'exit status ' + args[3]
                             if args[3] != '0' else '', read_text(args[4]))
    else:
        sys.exit(__doc__)
    with open(path, 'a', encoding='utf-8') as file:
        for record in records:
            file.write(json.dumps(record) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
