# SPDX-License-Identifier: Apache-2.0
"""The man page has every command and every option, since it is made from their parsers."""

import argparse
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from powervm_fileio_connector.cli import app
from powervm_fileio_connector.cli import completion

PAGE = pathlib.Path(__file__).parents[2] / 'doc' / 'source' / 'commands.rst'
IN_THE_PROGRAM = {'complete', 'help'}       # of the program itself, like its own options


def test_man_page_has_every_command_and_option(tmp_path):
    pytest.importorskip('sphinx', reason='the man page needs Sphinx')
    shutil.copy(PAGE, tmp_path / 'index.rst')
    subprocess.run([sys.executable, '-m', 'sphinx', '-q', '-C', '-D', 'extensions=cliff.sphinxext',
                    '-D', 'project=powervm-fileio', '-b', 'man', tmp_path, tmp_path / 'man'],
                   check=True, capture_output=True)
    text = (tmp_path / 'man' / 'powervm-fileio.1').read_text().replace('\\', '')
    _, *sections = re.split(r'^\.SH ', text, flags=re.MULTILINE)
    shown = {section.partition('\n')[0].lower(): section for section in sections}
    commands = dict(_commands(completion.whole_parser(app.FileIOApp())))
    assert commands.keys() - shown.keys() == set()
    for name, parser in commands.items():
        for action in parser._actions:
            if action.help != argparse.SUPPRESS and action.dest != 'help':
                option = (action.option_strings or [action.metavar])[-1]
                assert option in shown[name], (name, option)


def _commands(parser, name=''):
    """The parsers below a parser, by the names of their commands."""
    groups = [action for action in parser._actions
              if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        yield name, parser
    for group in groups:
        for word, inner in group.choices.items():
            if word not in IN_THE_PROGRAM:
                yield from _commands(inner, f'{name} {word}'.strip())
