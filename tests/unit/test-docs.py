# SPDX-License-Identifier: GPL-2.0-or-later
"""test-docs.py: what pages and READMEs say about the tree is true.

Links lead to files and headings that exist, paths and file names that a page
mentions are there, lists of files are complete, every statistic is described,
and the parts of the plugin include each other only as plugin/README.md says.
"""

import fnmatch
import os
import re
import subprocess
import sys

ROOT = os.path.normpath(os.path.join(
    os.path.dirname(os.path.abspath(__file__)), '..', '..'))
sys.path.insert(0, os.path.join(ROOT, 'tests', 'qemu'))
import tap                      # noqa: E402 pylint: disable=wrong-import-position

# What a name in a README stands for when it ends like that.
SOURCE = r'\.(c|h|S|py|sh|md|list|pml|ld|yml|json|rules|conf|service|socket)$'
CODE = ('.c', '.h', '.S', '.py', '.sh')

# Folders whose README names every source: patterns of the whole path.
COMPLETE = ('plugin/include', 'plugin/protocol', 'plugin/sys', 'plugin/*/*',
            'scripts', 'scripts/lib/bench', 'scripts/lib/guests',
            'scripts/lib/lab', 'scripts/lib/libvirt', 'tests/fuzz',
            'tests/qemu', 'tests/support')
# Names that stand for a source of another folder all the same.
ELSEWHERE = set()
# What each part of the plugin may include besides its own headers.
MAY_INCLUDE = {
    'include': set(),
    'sys': set(),
    'protocol': {'include', 'sys'},
    'engine': {'include', 'sys', 'protocol'},
    'broker': {'include', 'sys', 'protocol'},
    'ctl': {'include', 'sys/kernel.h', 'protocol/session-name.h',
            'protocol/stats-list.h'},
}


def tree():
    """All files of the project, as paths from its root."""
    try:
        found = subprocess.run(
            ['git', '-C', ROOT, 'ls-files', '-co', '--exclude-standard'],
            check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            encoding='utf-8').stdout.splitlines()
        if found:
            return sorted(path for path in found
                          if os.path.exists(os.path.join(ROOT, path)))
    except (OSError, subprocess.CalledProcessError):
        pass
    # No repository, or git does not trust it: whatever lies there.
    found = []
    for where, folders, names in os.walk(ROOT):
        at = os.path.relpath(where, ROOT)
        folders[:] = sorted(
            name for name in folders if name != '__pycache__' and
            not (at == '.' and name in ('build', '.git')))
        found += [os.path.normpath(os.path.join(at, name)) for name in names
                  if not name.endswith('.pyc')]
    return sorted(found)


FILES = tree()
FOLDERS = {os.path.dirname(path) for path in FILES}
while True:
    parents = {os.path.dirname(path) for path in FOLDERS} - FOLDERS
    if not parents:
        break
    FOLDERS |= parents
PAGES = [path for path in FILES if path.endswith('.md')]
READMES = [path for path in PAGES if os.path.basename(path) == 'README.md']


def read(path):
    """A file's text."""
    with open(os.path.join(ROOT, path), encoding='utf-8') as file:
        return file.read()


def prose(path):
    """A page without its blocks of code."""
    return re.sub(r'^ *```.*?^ *```$', '', read(path), flags=re.M | re.S)


def quoted(path):
    """What stands between backticks: names, or commands without arguments."""
    return [words.split()[0]
            for words in re.findall(r'`([^`\n]*\w[^`\n]*)`', prose(path))]


def sources(folder):
    """The sources of a folder: without README, meson.build and data."""
    return [path for path in FILES if os.path.dirname(path) == folder and
            (path.endswith(CODE) or '.' not in os.path.basename(path))]


def stem(path):
    """A file's name without folder and ending."""
    return os.path.splitext(os.path.basename(path))[0]


def pattern(name):
    """A name in a page: capitals in it stand for anything (`cmd-NAME`)."""
    return re.sub(r'(?<=[a-z][-_/])[A-Z]{3,}', '*', name)


def anchors(path):
    """The fragments by which GitHub and others know a page's headings."""
    found = set()
    for title in re.findall(r'^#+ +(.*?) *#*$', prose(path), re.M):
        title = re.sub(r'\[([^]]*)\]\([^)]*\)', r'\1', title)
        name = re.sub(r'[^\w\- ]', '', title.lower()).replace(' ', '-')
        again = [name] + [f'{name}-{n}' for n in range(1, 100)]
        found.add(next(one for one in again if one not in found))
    return found


def test_links_lead_somewhere():
    """To a file or folder, and to a heading where one is named."""
    wrong = []
    count = 0
    for page in PAGES:
        text = re.sub(r'`[^`\n]+`', '', prose(page))
        for link in re.findall(r'\]\(([^)\s]+)\)', text):
            if re.match(r'[a-z]+:', link):
                continue
            count += 1
            path, _, anchor = link.partition('#')
            target = os.path.normpath(os.path.join(
                os.path.dirname(page), path)) if path else page
            if target not in FILES and target not in FOLDERS:
                wrong.append(f'{page}: no {target}')
            elif anchor and (target not in PAGES or
                             anchor not in anchors(target)):
                wrong.append(f'{page}: no heading #{anchor} in {target}')
    tap.check(count > 20, f'only {count} links')
    tap.check(not wrong, '\n'.join(wrong))


def exists(name, *folders):
    """Whether a file, program or folder is there, seen from one of these."""
    for folder in folders:
        wanted = pattern(os.path.normpath(os.path.join(folder, name)))
        if wanted in FOLDERS or fnmatch.filter(FILES, wanted) or \
                '.' not in os.path.basename(wanted) and \
                any(fnmatch.filter(FILES, wanted + end) for end in CODE):
            return True
    return False


def test_paths_in_pages_are_there():
    """Those that begin with a folder at the top of the tree."""
    tops = {path.split('/')[0] for path in FOLDERS if path} - {'.ci'}
    wrong = []
    count = 0
    for page in PAGES:
        for name in quoted(page):
            name = name[2:] if name.startswith('./') else name
            if name.split('/')[0] in tops and '/' in name and \
                    re.fullmatch(r'[\w./*+-]+', name):
                count += 1
                if not exists(name, ''):
                    wrong.append(f'{page}: no {name}')
    tap.check(count > 60, f'only {count} paths')
    tap.check(not wrong, '\n'.join(wrong))


def test_readmes_name_what_is_there():
    """Files by their whole name, and folders by a name that ends in `/`."""
    wrong = []
    count = 0
    for page in READMES:
        for name in quoted(page):
            if not re.fullmatch(r'[\w.*+-][\w./*+-]*', name) or \
                    not (name.endswith('/') or re.search(SOURCE, name)):
                continue
            count += 1
            if not exists(name, os.path.dirname(page), ''):
                wrong.append(f'{page}: no {name}')
    tap.check(count > 60, f'only {count} names')
    tap.check(not wrong, '\n'.join(wrong))


def test_readmes_of_the_plugin_name_their_own_sources():
    """A source that lies in another folder is named with its path."""
    known = {stem(path) for path in FILES if path.startswith('plugin/') and
             path.endswith(('.c', '.h'))} - {'main'}
    folders = {os.path.basename(path) for path in FOLDERS}
    wrong = []
    count = 0
    for page in READMES:
        folder = os.path.dirname(page)
        if not page.startswith('plugin/'):
            continue
        own = {stem(path) for path in FILES
               if path.startswith(folder + '/')}
        for name in quoted(page):
            count += name in own
            if name in known and name not in own | folders and \
                    f'cmd-{name}' not in own and \
                    (page, name) not in ELSEWHERE:
                wrong.append(f'{page}: no {name}')
    tap.check(count > 60, f'only {count} names')
    tap.check(not wrong, '\n'.join(wrong))


def test_lists_of_sources_are_complete():
    """No source is missing where a README names all of them."""
    wrong = []
    count = 0
    for page in READMES:
        folder = os.path.dirname(page)
        if not any(fnmatch.fnmatch(folder, one) and
                   folder.count('/') == one.count('/') for one in COMPLETE):
            continue
        named = [pattern(re.sub(SOURCE, '', name)) for name in quoted(page)]
        for path in sources(folder):
            count += 1
            if not any(fnmatch.fnmatch(stem(path), name) for name in named):
                wrong.append(f'{page}: leaves out {os.path.basename(path)}')
    for path in FILES:
        if re.fullmatch(r'docs/[a-z-]+\.md', path) or \
                path.startswith('docs/man/'):
            count += 1
            name = path[len('docs/'):]
            if f']({name})' not in read('docs/README.md'):
                wrong.append(f'docs/README.md: leaves out {name}')
    tap.check(count > 60, f'only {count} sources')
    tap.check(not wrong, '\n'.join(wrong))


def test_folders_with_sources_have_a_readme():
    """Each says what belongs there, and what does not."""
    wrong = sorted({os.path.dirname(path) for path in FILES
                    if path.endswith(CODE)} -
                   {os.path.dirname(page) for page in READMES})
    tap.check(not wrong, f'no README.md in {wrong}')


def test_parts_include_what_they_may():
    """As plugin/README.md has it."""
    homes = {}
    for path in FILES:
        if path.startswith('plugin/') and path.endswith('.h'):
            homes.setdefault(os.path.basename(path), set()).add(
                path.split('/')[1])
    wrong = []
    count = 0
    for path in FILES:
        if not path.startswith('plugin/') or not path.endswith(('.c', '.h')):
            continue
        part = path.split('/')[1]
        for name in re.findall(r'^ *# *include *["<]([^">]+)[">]', read(path),
                               re.M):
            name = os.path.basename(name)
            home = homes.get(name, {part})
            count += 1
            if part not in home and not home & MAY_INCLUDE[part] and \
                    not {f'{one}/{name}' for one in home} & MAY_INCLUDE[part]:
                wrong.append(f'{path} includes {name} of {sorted(home)}')
    tap.check(count > 500, f'only {count} includes')
    tap.check(not wrong, '\n'.join(wrong))


def test_statistics_are_told_everywhere():
    """Each of stats-list.h is in the page and in all places of QEMU."""
    names = re.findall(r'^ +X\((\w+), \w+, \w+\)',
                       read('plugin/protocol/stats-list.h'), re.M)
    tap.check(len(names) >= 39, f'the list is read: {names}')
    page = read('docs/control-protocol.md')
    wrong = [f'docs/control-protocol.md has no `{name}`' for name in names
             if f'`{name}`' not in page]
    series = {}
    for path in FILES:
        if fnmatch.fnmatch(path, 'qemu-patches/*.patch'):
            series.setdefault(os.path.dirname(path), []).extend(
                line[1:].strip() for line in read(path).splitlines()
                if line.startswith('+'))
    tap.check(series, 'there are patches')
    for folder, lines in series.items():
        for name in names:
            text = name.replace('_', '-')
            for what, place in (
                    ('the schema', f"'{text}': 'uint64'"),
                    ("the schema's words", f'# @{text}:'),
                    ('query-ksm', f'info->{name} = stats.{name};'),
                    ('query-stats', f'("{text}", {name}')):
                if not any(place in line for line in lines):
                    wrong.append(f'{folder}: {what} has no {text}')
    tap.check(not wrong, '\n'.join(wrong))


def test_version_is_in_the_changelog():
    """With what is new in it."""
    version = re.search(r"version: '([^']+)'", read('meson.build')).group(1)
    titles = re.findall(r'^## (\S+)', read('CHANGELOG.md'), re.M)
    tap.check(titles and titles[0] in ('Unreleased', version), f'{titles}')
    tap.check(version in titles, f'{version} is not among {titles}')


tap.run([test_links_lead_somewhere, test_paths_in_pages_are_there,
         test_readmes_name_what_is_there,
         test_readmes_of_the_plugin_name_their_own_sources,
         test_lists_of_sources_are_complete,
         test_folders_with_sources_have_a_readme,
         test_parts_include_what_they_may, test_statistics_are_told_everywhere,
         test_version_is_in_the_changelog])
