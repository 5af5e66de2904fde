# SPDX-License-Identifier: Apache-2.0
"""A stand-in of Keystone and Nova, which lets openstacksdk log on and shows Cinder's calls.

Requests to Cinder pass through, as through a load balancer, so that a test can act at any of them.

Cinder runs with ``auth_strategy = noauth``: its tokens are ``user:project``.
"""

import collections
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

    :ivar on_call: is called with what Nova is asked: method, path and body
    :ivar at: is called with 'before' or 'after', method and path of each request to Cinder; before
        it, True keeps the request from Cinder
    :ivar attachments: volume ids that Nova says are attached, with their attachment ids
    :ivar has_snapshots: Nova says that it has written a snapshot of an attached volume; else that
        no instance has the volume
    :ivar requests: how many requests Keystone and Cinder were sent, by service and method
    :ivar answered: how many bytes Cinder has answered
    """

    def __init__(self, port, cinder_port):
        self.url, self._cinder_port = f'http://127.0.0.1:{port}', cinder_port
        self.on_call, self.attachments = None, {}
        self.at, self.has_snapshots = None, False
        self.requests, self.answered = collections.Counter(), 0
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
        if path.startswith('/identity'):
            self.requests['keystone', method] += 1
        if path.startswith('/identity') and method == 'GET':
            return 200, {'version': {'id': 'v3.14', 'status': 'stable', 'links': [
                {'rel': 'self', 'href': f'{self.url}/identity/v3/'}]}}
        if path.startswith('/identity'):
            # Cinder asks Nova in the user's name, and logs on by the user's token for it.
            given = body['auth']['identity']
            if 'password' in given and given['password']['user']['password'] != PASSWORD:
                return 401, {'error': {'code': 401, 'message': 'requires authentication'}}
            return 201, {'token': self._token()}
        if self.on_call is not None:
            self.on_call((method, path, body))
        if found := re.search('/os-volume_attachments/(.+)', path):
            attachment = self.attachments.get(found[1])
            if attachment:
                return 200, {'volumeAttachment': {
                    'id': found[1], 'volumeId': found[1], 'serverId': 's', 'device': '/dev/sdb',
                    'attachment_id': attachment}}
            return 404, {'itemNotFound': {'code': 404, 'message': 'not attached'}}
        if method == 'POST' and path.endswith('/os-assisted-volume-snapshots'):
            return self._snapshot(body['snapshot'])
        return 200, {'events': []}

    def passed_on(self, method, path, body, headers):
        """Return what Cinder answers."""
        self.requests['cinder', method] += 1
        if self.at is not None and self.at('before', method, path):
            raise ConnectionAbortedError
        client = http.client.HTTPConnection('127.0.0.1', self._cinder_port, timeout=120)
        with contextlib.closing(client):
            client.request(method, path.removeprefix('/volume') or '/', body,
                           {name: value for name, value in headers.items()
                            if name.lower() not in _HOP_BY_HOP})
            answer = client.getresponse()
            content = answer.read()
        self.answered += len(content)
        if self.at is not None:
            self.at('after', method, path)
        return answer.status, [(name, value) for name, value in answer.getheaders()
                               if name.lower() not in _HOP_BY_HOP], content

    def _snapshot(self, asked):
        """Tell Cinder that its overlay is in use, as nova-compute does."""
        if not self.has_snapshots:
            return 400, {'badRequest': {'code': 400, 'message': 'No volume Block Device Mapping.'}}
        snapshot_id = asked['create_info']['snapshot_id']
        self.passed_on('POST', f'/volume/v3/{PROJECT}/snapshots/{snapshot_id}/action', json.dumps(
            {'os-update_snapshot_status': {'status': 'creating', 'progress': '90%'}}),
            {'X-Auth-Token': f'nova:{PROJECT}', 'Content-Type': 'application/json'})
        return 200, {'snapshot': {'id': snapshot_id, 'volumeId': asked['volume_id']}}

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
        if self.path.rstrip('/') == '/volume/v3' and 'X-Auth-Token' not in self.headers:
            # As Keystone's middleware has it; Cinder's "noauth" would answer with nothing at all.
            self._reply(401, [], b'')
        elif self.path.startswith('/volume'):
            with contextlib.suppress(OSError):      # the client may have been killed
                self._reply(*self.server.identity.passed_on(self.command, self.path, sent,
                                                            self.headers))
        else:
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
        """What matters is told to ``on_call``."""
