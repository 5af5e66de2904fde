# SPDX-License-Identifier: Apache-2.0
"""A stand-in of Keystone and Nova, which lets openstacksdk log on and shows Cinder's calls.

Requests to Cinder pass through, as through a load balancer, so that a test can act at any of them.

Cinder runs with ``auth_strategy = noauth``: its tokens are ``user:project``.
"""

import contextlib
import http.client
import http.server
import json
import re
import threading

PROJECT = '0123456789abcdef0123456789abcdef'
_HOP_BY_HOP = ('connection', 'content-length', 'transfer-encoding', 'host', 'date', 'server')
PASSWORD = 'canary-of-the-cloud'


class Identity:
    """Keystone at ``/identity``, Nova at ``/compute``, the way to Cinder at ``/volume``.

    :ivar calls: what Nova was asked: method, path and body
    :ivar at: is called with 'before' or 'after', method and path of each request to Cinder
    :ivar attachments: volume ids that Nova says are attached, with their attachment ids
    """

    def __init__(self, port, cinder_port):
        self.url, self._cinder_port = f'http://127.0.0.1:{port}', cinder_port
        self.calls, self.attachments = [], {}
        self.at = None
        self._server = http.server.ThreadingHTTPServer(('127.0.0.1', port), _Handler)
        self._server.identity = self
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def environment(self, **changed):
        """The variables with which openstacksdk logs on."""
        return {'OS_AUTH_URL': f'{self.url}/identity/v3', 'OS_USERNAME': 'operator',
                'OS_PASSWORD': PASSWORD, 'OS_PROJECT_NAME': 'files',
                'OS_USER_DOMAIN_ID': 'default', 'OS_PROJECT_DOMAIN_ID': 'default', **changed}

    def answer(self, method, path, body):
        if path.startswith('/identity') and method == 'GET':
            return 200, {'version': {'id': 'v3.14', 'status': 'stable', 'links': [
                {'rel': 'self', 'href': f'{self.url}/identity/v3/'}]}}
        if path.startswith('/identity'):
            # Cinder asks Nova in the user's name, and logs on by the user's token for it.
            given = body['auth']['identity']
            if 'password' in given and given['password']['user']['password'] != PASSWORD:
                return 401, {'error': {'code': 401, 'message': 'requires authentication'}}
            return 201, {'token': self._token()}
        self.calls.append((method, path, body))
        if found := re.search('/os-volume_attachments/(.+)', path):
            attachment = self.attachments.get(found[1])
            if attachment:
                return 200, {'volumeAttachment': {
                    'id': found[1], 'volumeId': found[1], 'serverId': 's', 'device': '/dev/sdb',
                    'attachment_id': attachment}}
            return 404, {'itemNotFound': {'code': 404, 'message': 'not attached'}}
        return 200, {'events': []}

    def passed_on(self, method, path, body, headers):
        """Return what Cinder answers."""
        if self.at is not None:
            self.at('before', method, path)
        client = http.client.HTTPConnection('127.0.0.1', self._cinder_port, timeout=120)
        with contextlib.closing(client):
            client.request(method, path.removeprefix('/volume') or '/', body,
                           {name: value for name, value in headers.items()
                            if name.lower() not in _HOP_BY_HOP})
            answer = client.getresponse()
            content = answer.read()
        if self.at is not None:
            self.at('after', method, path)
        return answer.status, [(name, value) for name, value in answer.getheaders()
                               if name.lower() not in _HOP_BY_HOP], content

    def _token(self):
        def service(kind, name, url):
            return {'type': kind, 'name': name, 'id': name, 'endpoints': [
                {'interface': 'public', 'region': 'RegionOne', 'region_id': 'RegionOne',
                 'id': name, 'url': url}]}

        return {'methods': ['password'], 'expires_at': '2099-01-01T00:00:00.000000Z',
                'issued_at': '2026-01-01T00:00:00.000000Z', 'catalog': [
                    service('block-storage', 'cinderv3', f'{self.url}/volume/v3/{PROJECT}'),
                    service('compute', 'nova', f'{self.url}/compute/v2.1')],
                'project': {'id': PROJECT, 'name': 'files',
                            'domain': {'id': 'default', 'name': 'Default'}},
                'user': {'id': 'operator', 'name': 'operator',
                         'domain': {'id': 'default', 'name': 'Default'}},
                'roles': [{'id': 'r', 'name': 'admin'}]}


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    wbufsize = -1

    def _serve(self):
        length = int(self.headers.get('Content-Length') or 0)
        sent = self.rfile.read(length) if length else None
        if self.path.startswith('/volume'):
            with contextlib.suppress(OSError):      # the client may have been killed
                self._reply(*self.server.identity.passed_on(self.command, self.path, sent,
                                                            self.headers))
            return
        body = json.loads(sent) if sent else None
        status, answer = self.server.identity.answer(self.command, self.path, body)
        self._reply(status, [('X-Subject-Token', f'operator:{PROJECT}'),
                             ('Content-Type', 'application/json')], json.dumps(answer).encode())

    def _reply(self, status, headers, content):
        self.send_response(status)
        for name, value in [*headers, ('Content-Length', str(len(content)))]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = _serve

    def log_message(self, *_):
        """What matters is kept in ``calls``."""
