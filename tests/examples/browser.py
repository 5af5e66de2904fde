# SPDX-License-Identifier: Apache-2.0
"""Pages measured as a browser lays them out: what is cut, what must be scrolled sideways.

    python -m tests.examples.browser DIRECTORY      measures the HTML pages of a directory

Chromium opens one page that loads all others, one after the other, in frames of each width, and
posts what it finds to a server on loopback.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import pathlib
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator

import psutil

WIDTHS = (1280, 390)        # a laptop's window, and a phone's

_NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')
_HARNESS = '/measure.html'
_SCRIPT = '''<!DOCTYPE html><meta charset="utf-8"><body><script>
const SMALLEST = 7;     // CSS pixels; a phone has three or more of its own for each

function findings(view) {
    const found = [], root = view.document.documentElement;
    const tell = (what, element, more) => found.push(
        what + ': ' + element.tagName.toLowerCase() + ' ' + JSON.stringify(
            element.textContent.trim().slice(0, 60)) + ' ' + more);
    if (root.scrollWidth > root.clientWidth)
        tell('page wider than the window', view.document.querySelector('h1') || root,
             root.scrollWidth + ' > ' + root.clientWidth);
    const all = view.document.querySelectorAll('article, article *');
    if (!all.length) found.push('no article in the page');
    let last = null;        // what is inside of it has the same cause
    for (const element of all) {
        if (last && last.contains(element)) continue;
        const count = found.length;
        const style = view.getComputedStyle(element), box = element.getBoundingClientRect();
        if (!box.width || !box.height || style.visibility == 'hidden') continue;
        if (style.position == 'absolute' || element.closest('a.headerlink')) continue;
        if (style.overflowX != 'visible' && element.scrollWidth > element.clientWidth + 1)
            tell('must be scrolled', element, element.scrollWidth + ' > ' + element.clientWidth);
        if (box.right > root.clientWidth + 1 || box.left < -1)
            tell('beyond the window', element, Math.round(box.left) + '..' + Math.round(box.right));
        const isLabel = element.tagName == 'text';
        const picture = isLabel && element.closest('svg').getBoundingClientRect();
        if (picture && (box.left < picture.left - 1 || box.right > picture.right + 1))
            tell('cut by its picture', element, Math.round(box.right - picture.left));
        const size = isLabel
            ? parseFloat(style.fontSize) * Math.abs(element.getScreenCTM().a)
            : parseFloat(style.fontSize);
        if (size < SMALLEST && [...element.childNodes].some(
                node => node.nodeType == 3 && node.textContent.trim()))
            tell('too small', element, size.toFixed(1) + ' px');
        if (found.length > count) last = element;
    }
    return found;
}

async function measure(page, width) {
    const frame = document.createElement('iframe');
    frame.style.cssText = 'border: 0; height: 900px; width: ' + width + 'px';
    frame.src = page;
    const loaded = new Promise(resolve => frame.addEventListener('load', resolve));
    document.body.append(frame);
    await loaded;
    await frame.contentDocument.fonts.ready;
    const found = findings(frame.contentWindow);
    frame.remove();
    return found;
}

(async () => {
    const results = {};
    for (const page of PAGES)
        for (const width of WIDTHS)
            results[page + ' at ' + width] = await measure(page, width);
    return results;
})().catch(error => ({'the measurement': [String(error)]})).then(
    results => fetch('/results', {method: 'POST', body: JSON.stringify(results)}));
</script>'''


def find() -> str | None:
    """The command of a browser that can be used, or None."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


def measured(directory: pathlib.Path, timeout_s: float = 240) -> dict[str, list[str]]:
    """What is cut, scrolled or too small to read in each page at each width; often nothing.

    :raises RuntimeError: there is no browser, or it gave no result within ``timeout_s``
    """
    browser = find()
    if browser is None:
        raise RuntimeError('no chromium')
    results: queue.Queue[dict[str, list[str]]] = queue.Queue()
    with _served(directory, results) as url, tempfile.TemporaryDirectory() as profile:
        command = [browser, '--headless', '--no-sandbox', '--disable-gpu', '--hide-scrollbars',
                   '--disable-dev-shm-usage', '--no-first-run', f'--user-data-dir={profile}',
                   '--remote-debugging-port=0', '--window-size=1400,1000', url + _HARNESS]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as process:
            try:
                return results.get(timeout=timeout_s)
            except queue.Empty:
                raise RuntimeError(f'{browser} gave no result in {timeout_s} s') from None
            finally:
                _end(psutil.Process(process.pid))


def _end(browser: psutil.Process) -> None:
    """End a browser with all its processes, which write to its profile until they have ended."""
    processes = [browser, *browser.children(recursive=True)]
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=30)


@contextlib.contextmanager
def _served(directory: pathlib.Path, results: queue.Queue) -> Iterator[str]:
    handler = functools.partial(_Handler, directory=str(directory))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        server.results = results
        server.harness = _SCRIPT.replace(
            'PAGES', json.dumps(pages(directory))).replace('WIDTHS', json.dumps(WIDTHS))
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f'http://127.0.0.1:{server.server_port}'
        finally:
            server.shutdown()
            thread.join()


def pages(directory: pathlib.Path) -> list[str]:
    """The HTML pages below a directory."""
    return sorted(f'/{path.relative_to(directory)}' for path in directory.rglob('*.html'))


class _Handler(http.server.SimpleHTTPRequestHandler):

    def do_GET(self) -> None:
        if self.path != _HARNESS:
            super().do_GET()
            return
        body = self.server.harness.encode()
        self.send_response(200)
        self.send_header('Content-Type', 'text/html; charset=utf-8')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        results = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
        self.send_response(204)
        self.end_headers()
        self.server.results.put(results)

    def log_message(self, *args: object) -> None:
        """Requests are not worth a line each."""


if __name__ == '__main__':
    for place, findings in measured(pathlib.Path(sys.argv[1])).items():
        print(place, *findings, sep='\n    ')
