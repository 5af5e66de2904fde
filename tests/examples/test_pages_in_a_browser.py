# SPDX-License-Identifier: Apache-2.0
"""Every page can be read whole, without scrolling sideways, in a window and on a phone."""

import pathlib
import subprocess
import sys

import pytest

from tests.examples import browser

SOURCE = pathlib.Path(__file__).parents[2] / 'doc' / 'source'

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.find() is None, reason='NOT MEASURED: needs chromium'),
]


def page(body):
    return f'<!DOCTYPE html><meta name="viewport"><article style="width: 100%">{body}</article>'


@pytest.fixture
def built(tmp_path):
    pytest.importorskip('furo')
    directory = tmp_path / 'html'
    subprocess.run([sys.executable, '-m', 'sphinx', '-q', '-b', 'html', str(SOURCE),
                    str(directory)], check=True, timeout=300, cwd=SOURCE.parents[1])
    return directory


def test_no_page_is_cut_or_scrolled_sideways_at_any_width(built):
    found = browser.measured(built)
    assert {place.partition('.html')[0].strip('/') for place in found} >= {
        path.stem for path in SOURCE.glob('*.rst')}
    assert {place: what for place, what in found.items() if what} == {}


MADE = {
    'wide': '<p style="width: 600px">too wide</p>',
    'must be scrolled': '<pre style="overflow: auto; width: 9em">a long line of code</pre>',
    'too small': '<p style="font-size: 5px">small print</p>',
    'cut by its picture':
        '<svg width="50"><text y="9" font-size="12">a label that is too long</text></svg>',
}
"""Pages that cannot be read whole: the first on a phone, the others anywhere."""


def test_what_cannot_be_read_whole_is_found(tmp_path):
    for name, body in MADE.items():
        (tmp_path / f'{name}.html').write_text(page(body))
    found = {place: [what.partition(':')[0] for what in findings]
             for place, findings in browser.measured(tmp_path).items()}
    assert found.pop('/wide.html at 1280') == []
    assert 'beyond the window' in found.pop('/wide.html at 390')
    assert found == {f'/{name}.html at {width}': [name]
                     for name in MADE if name != 'wide' for width in browser.WIDTHS}
