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


@pytest.fixture(scope='module')
def built(tmp_path_factory):
    pytest.importorskip('furo')
    directory = tmp_path_factory.mktemp('html')
    subprocess.run([sys.executable, '-m', 'sphinx', '-q', '-b', 'html', str(SOURCE),
                    str(directory)], check=True, timeout=300, cwd=SOURCE.parents[1])
    return directory


def test_no_page_is_cut_or_scrolled_sideways_at_any_width(built):
    found = browser.measured(built)
    assert {place.partition('.html')[0].strip('/') for place in found} >= {
        path.stem for path in SOURCE.glob('*.rst')}
    assert {place: what for place, what in found.items() if what} == {}


def test_what_is_wider_than_a_phone_is_found_there_only(tmp_path):
    (tmp_path / 'wide.html').write_text(page('<p style="width: 600px">too wide</p>'))
    found = browser.measured(tmp_path)
    assert found['/wide.html at 1280'] == []
    assert any('beyond the window' in what for what in found['/wide.html at 390'])


@pytest.mark.parametrize(('body', 'finding'), [
    ('<pre style="overflow: auto; width: 9em">a long line of code</pre>', 'must be scrolled'),
    ('<p style="font-size: 5px">small print</p>', 'too small'),
    ('<svg width="50"><text y="9" font-size="12">a label that is too long</text></svg>',
     'cut by its picture'),
])
def test_what_cannot_be_read_is_found(tmp_path, body, finding):
    (tmp_path / 'page.html').write_text(page(body))
    for found in browser.measured(tmp_path).values():
        assert [what.partition(':')[0] for what in found] == [finding]
