# SPDX-License-Identifier: Apache-2.0
"""A stand-in of Keystone and Swift, as far as nova-powervm's store of slot maps uses them."""

import hashlib
import http.server
import json
import threading
import urllib.parse


class SwiftApi:
    """One account.

    :ivar containers: objects, as bytes, by container and name
    """

    def __init__(self):
        self.containers = {}
        self._server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), _Handler)
        self._server.api = self

    @property
    def url(self):
        return f'http://127.0.0.1:{self._server.server_port}'

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()
        return self

    def __exit__(self, *exc_info):
        self._server.shutdown()
        self._server.server_close()

    def token(self):
        return {'token': {
            'methods': ['password'], 'expires_at': '2099-01-01T00:00:00.000000Z',
            'issued_at': '2026-01-01T00:00:00.000000Z', 'user': {'id': 'u', 'name': 'powervm'},
            'project': {'id': 'p', 'name': 'powervm'}, 'roles': [],
            'catalog': [{'type': 'object-store', 'name': 'swift', 'id': 's', 'endpoints': [
                {'interface': 'public', 'region': 'RegionOne', 'region_id': 'RegionOne', 'id': 'e',
                 'url': f'{self.url}/account'}]}]}}

    def answer(self, method, place, query, body):
        """Return status, headers and content."""
        container, _, name = place.strip('/').partition('/')
        objects = self.containers.get(container)
        if not container:
            return 200, {}, self._listing(self.containers, query)
        if method == 'PUT' and not name:
            self.containers.setdefault(container, {})
            return 201, {}, b''
        if objects is None or (name and method != 'PUT' and name not in objects):
            return 404, {}, b''
        if not name:
            return 200, {}, self._listing(objects, query)
        if method == 'PUT':
            objects[name] = body
            return 201, {'Etag': hashlib.md5(body, usedforsecurity=False).hexdigest()}, b''
        if method == 'DELETE':
            del objects[name]
            return 204, {}, b''
        content = objects[name]
        etag = hashlib.md5(content, usedforsecurity=False).hexdigest()
        return 200, {'Etag': etag}, content

    @staticmethod
    def _listing(names, query):
        after, prefix = query.get('marker', ''), query.get('prefix', '')
        return json.dumps([
            {'name': name, 'bytes': 0, 'count': 0, 'hash': '', 'content_type': '',
             'last_modified': '2026-01-01T00:00:00.000000'}
            for name in sorted(names) if name > after and name.startswith(prefix)]).encode()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def _serve(self):
        body = self._body()
        parts = urllib.parse.urlsplit(self.path)
        if parts.path.startswith('/v3'):
            content = json.dumps(self.server.api.token()).encode()
            self._reply(201, {'X-Subject-Token': 't'}, content)
        else:
            self._reply(*self.server.api.answer(
                self.command, urllib.parse.unquote(parts.path.removeprefix('/account')),
                dict(urllib.parse.parse_qsl(parts.query)), body))

    def _body(self):
        if 'chunked' not in self.headers.get('Transfer-Encoding', ''):
            return self.rfile.read(int(self.headers.get('Content-Length') or 0))
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b''.join(pieces)

    def _reply(self, status, headers, content):
        self.send_response(status)
        for name, value in {'Content-Length': str(len(content)), 'X-Timestamp': '1',
                            'X-Account-Container-Count': '1', **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(content)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve

    def log_message(self, *_):
        """Nothing of it matters here."""
