# SPDX-License-Identifier: Apache-2.0
"""A stand-in of Keystone and of Cinder's volumes and attachments, over HTTP, for real openstacksdk.

It holds the states of volumes and attachments as Cinder 29 does, for one back end of files; the
real Cinder is in tests/openstack.
"""

import collections
import dataclasses
import http.server
import json
import re
import socket
import threading
import time
import urllib.parse
import uuid

PASSWORD = 'canary-of-the-cloud'
TOKEN = 'token-of-the-cloud'
PROJECT = '0123456789abcdef0123456789abcdef'
MAX_VERSION = '3.71'


@dataclasses.dataclass
class Fault:
    """What happens to requests of a method to a path, as often as ``times`` says."""

    method: str
    path: str
    status: int = 500
    is_applied: bool = False
    hang_s: float = 0
    times: int = 1 << 30

    def fits(self, method, path):
        return self.times > 0 and method == self.method and re.search(self.path, path)


class Refused(Exception):
    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


class CinderApi:
    """The clouds' state, and its server, which runs in a ``with`` block."""

    def __init__(self):
        self.volumes, self.attachments = {}, {}
        self.requests, self.faults = [], []
        self.is_admin, self.max_limit, self.has_cinder = True, 1000, True
        self.capabilities = {'online_extend_support': True, 'vendor_name': 'IBM',
                             'storage_protocol': 'file'}
        self._lock = threading.RLock()

    # -- for tests -------------------------------------------------------------------------

    def add_volume(self, name='', connection_info=None, **fields):
        """Add a volume with the connection_info that its driver returns; return it."""
        volume = {'id': str(uuid.uuid4()), 'name': name, 'status': 'available', 'size': 1,
                  'multiattach': False, 'os-vol-tenant-attr:tenant_id': PROJECT,
                  'os-vol-host-attr:host': 'cinder@files#pool',
                  'updated_at': '2026-01-01T00:00:00.000000', **fields}
        volume['_info'] = connection_info
        self.volumes[volume['id']] = volume
        return volume

    def attach(self, volume, host, device='na', instance=None, status='attached'):
        """Attach a volume as another client would; return the attachment."""
        attachment = {
            'id': str(uuid.uuid4()), 'volume_id': volume['id'], 'status': status,
            'instance': instance, 'attach_mode': 'rw', 'connection_info': dict(volume['_info']),
            '_host': host, '_device': device}
        self.attachments[attachment['id']] = attachment
        volume['status'] = 'in-use' if status == 'attached' else status
        return attachment

    def changes(self):
        """The requests that change something."""
        return [line for line in self.requests
                if not line.startswith('GET ') and 'auth/tokens' not in line]

    @property
    def url(self):
        return f'http://127.0.0.1:{self._server.server_address[1]}'

    def environment(self, **changed):
        """The variables with which openstacksdk finds it."""
        return {'OS_AUTH_URL': f'{self.url}/identity/v3', 'OS_USERNAME': 'operator',
                'OS_PASSWORD': PASSWORD, 'OS_PROJECT_NAME': 'files',
                'OS_USER_DOMAIN_ID': 'default', 'OS_PROJECT_DOMAIN_ID': 'default', **changed}

    def __enter__(self):
        self._server = _Server(self)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *exc_info):
        self._server.shutdown()
        self._server.server_close()

    # -- requests --------------------------------------------------------------------------

    def answer(self, method, url, body, headers):
        """Return status, headers and body."""
        parts = urllib.parse.urlsplit(url)
        query = dict(urllib.parse.parse_qsl(parts.query))
        with self._lock:
            self.requests.append(f'{method} {url}')
            fault = next((one for one in self.faults if one.fits(method, parts.path)), None)
            if fault is not None:
                fault.times -= 1
        if fault is not None and not fault.is_applied:
            time.sleep(fault.hang_s)
            return fault.status, {}, {'error': {'code': fault.status, 'message': 'made to fail'}}
        try:
            with self._lock:
                answer = self._routed(method, parts.path, query, body, headers)
        except Refused as err:
            answer = err.status, {}, {'fault': {'code': err.status, 'message': str(err)}}
        if fault is not None:
            time.sleep(fault.hang_s)
            return fault.status, {}, {'error': {'code': fault.status, 'message': 'made to fail'}}
        return answer

    def _routed(self, method, path, query, body, headers):
        if path.startswith('/identity'):
            return self._keystone(method, path, body)
        if path.rstrip('/') in ('/volume', '/volume/v3'):
            return 200 if path.rstrip('/') != '/volume' else 300, {}, {'versions': [{
                'id': 'v3.0', 'status': 'CURRENT', 'version': MAX_VERSION, 'min_version': '3.0',
                'links': [{'rel': 'self', 'href': f'{self.url}/volume/v3/'}]}]}
        if headers.get('X-Auth-Token') != TOKEN:
            raise Refused(401, 'The request you have made requires authentication.')
        place = path.removeprefix(f'/volume/v3/{PROJECT}/')
        for pattern, name in _ROUTES.items():
            if found := re.fullmatch(pattern, f'{method} {place}'):
                return getattr(self, name)(*found.groups(), query=query, body=body)
        raise Refused(404, f'nothing is at {method} {path}')

    def _keystone(self, method, path, body):
        if method == 'GET':
            return 200, {}, {'version': {
                'id': 'v3.14', 'status': 'stable', 'links': [
                    {'rel': 'self', 'href': f'{self.url}/identity/v3/'}]}}
        given = body['auth']['identity']['password']['user']['password']
        if given != PASSWORD:
            raise Refused(401, 'The request you have made requires authentication.')
        catalog = [{'type': 'block-storage', 'name': 'cinder', 'id': 'c', 'endpoints': [
            {'interface': 'public', 'region': 'RegionOne', 'region_id': 'RegionOne', 'id': 'e',
             'url': f'{self.url}/volume/v3/{PROJECT}'}]}] if self.has_cinder else []
        return 201, {'X-Subject-Token': TOKEN}, {'token': {
            'methods': ['password'], 'expires_at': '2099-01-01T00:00:00.000000Z',
            'issued_at': '2026-01-01T00:00:00.000000Z', 'catalog': catalog,
            'project': {'id': PROJECT, 'name': 'files', 'domain': {'id': 'default', 'name': 'd'}},
            'user': {'id': 'u', 'name': 'operator', 'domain': {'id': 'default', 'name': 'd'}},
            'roles': [{'id': 'r', 'name': 'admin' if self.is_admin else 'member'}]}}

    def _volume(self, volume_id):
        if volume_id not in self.volumes:
            raise Refused(404, f'Volume {volume_id} could not be found.')
        return self.volumes[volume_id]

    def _attachment(self, attachment_id):
        if attachment_id not in self.attachments:
            raise Refused(404, f'Could not find attachment with id {attachment_id}')
        return self.attachments[attachment_id]

    def _shown(self, volume, of_volume):
        shown = {key: value for key, value in volume.items() if not key.startswith('_')}
        if not self.is_admin:
            del shown['os-vol-host-attr:host']
        shown['attachments'] = [
            {'id': one['volume_id'], 'attachment_id': one['id'], 'volume_id': one['volume_id'],
             'server_id': one['instance'], 'device': one['_device'],
             'host_name': one['_host'] if self.is_admin else None}
            for one in of_volume[volume['id']] if one['status'] == 'attached']
        return shown

    def _by_volume(self):
        found = collections.defaultdict(list)
        for one in self.attachments.values():
            found[one['volume_id']].append(one)
        return found

    def show_volume(self, volume_id, **_):
        volume = self._volume(volume_id)
        if volume['os-vol-tenant-attr:tenant_id'] != PROJECT and not self.is_admin:
            raise Refused(404, f'Volume {volume_id} could not be found.')
        return 200, {}, {'volume': self._shown(volume, self._by_volume())}

    def list_volumes(self, query, **_):
        every = [volume for volume in self.volumes.values()
                 if query.get('name') in (None, volume['name']) and self._is_seen(volume, query)]
        page, of_volume = self._page(every, query), self._by_volume()
        links = []
        if page and page[-1] is not every[-1]:
            again = urllib.parse.urlencode({**query, 'marker': page[-1]['id']})
            links = [{'rel': 'next',
                      'href': f'{self.url}/volume/v3/{PROJECT}/volumes/detail?{again}'}]
        return 200, {}, {'volumes': [self._shown(one, of_volume) for one in page],
                         'volumes_links': links}

    def list_attachments(self, query, **_):
        every = [one for one in self.attachments.values()
                 if query.get('volume_id') in (None, one['volume_id'])
                 and self._is_seen(self._volume(one['volume_id']), query)]
        return 200, {}, {'attachments': [_public(one) for one in self._page(every, query)]}

    def _is_seen(self, volume, query):
        is_all = query.get('all_tenants') in ('True', '1', 'true') and self.is_admin
        return is_all or volume['os-vol-tenant-attr:tenant_id'] == PROJECT

    def _page(self, every, query):
        ids = [one['id'] for one in every]
        start = ids.index(query['marker']) + 1 if 'marker' in query else 0
        limit = min(int(query.get('limit', self.max_limit)), self.max_limit)
        return every[start:start + limit]

    def create_attachment(self, body, **_):
        wanted = body['attachment']
        volume = self._volume(wanted['volume_uuid'])
        if 'error' in volume['status']:
            raise Refused(400, 'Invalid volume: it is in an error state')
        if volume['status'] != 'available' and not (
                volume['multiattach'] and volume['status'] == 'in-use'):
            raise Refused(400, f'Invalid volume: Volume {volume["id"]} status must be available '
                          f'to reserve, but the current status is {volume["status"]}.')
        attachment = {'id': str(uuid.uuid4()), 'volume_id': volume['id'], 'status': 'reserved',
                      'instance': wanted.get('instance_uuid'), 'attach_mode': 'rw',
                      'connection_info': {}, '_host': None, '_device': None}
        self.attachments[attachment['id']] = attachment
        volume['status'] = 'reserved'
        return 200, {}, {'attachment': _public(attachment)}

    def update_attachment(self, attachment_id, body, **_):
        attachment = self._attachment(attachment_id)
        connector = body['attachment']['connector']
        volume = self._volume(attachment['volume_id'])
        attachment.update(
            status='attaching', _host=connector['host'], _device=connector.get('mountpoint', 'na'),
            connection_info={**volume['_info'], 'attachment_id': attachment_id,
                             'access_mode': 'rw', 'encrypted': False})
        return 200, {}, {'attachment': _public(attachment)}

    def complete_attachment(self, attachment_id, **_):
        attachment = self._attachment(attachment_id)
        attachment['status'] = 'attached'
        self._volume(attachment['volume_id'])['status'] = 'in-use'
        return 204, {}, None

    def delete_attachment(self, attachment_id, **_):
        attachment = self._attachment(attachment_id)
        if attachment['instance'] and attachment['connection_info']:
            raise Refused(409, 'Detach volume from instance '
                          f'{attachment["instance"]} using the Compute API')
        del self.attachments[attachment_id]
        left = [_public(one) for one in self.attachments.values()
                if one['volume_id'] == attachment['volume_id']]
        self._volume(attachment['volume_id'])['status'] = 'in-use' if left else 'available'
        return 200, {}, {'attachments': left}

    def act_on_volume(self, volume_id, body, **_):
        volume = self._volume(volume_id)
        size = body['os-extend']['new_size']
        if '_grow' in volume:
            volume['_grow'](size)
            volume['size'] = size
        else:
            volume['status'] = 'error_extending'
        return 202, {}, None

    def list_pools(self, **_):
        if not self.is_admin:
            raise Refused(403, "Policy doesn't allow scheduler_extension:scheduler_stats:get_pools")
        return 200, {}, {'pools': [{'name': 'cinder@files#pool',
                                    'capabilities': self.capabilities}]}


_ID = '([0-9a-f-]{36})'
_ROUTES = {
    f'GET volumes/{_ID}': 'show_volume', 'GET volumes/detail': 'list_volumes',
    f'POST volumes/{_ID}/action': 'act_on_volume',
    'GET scheduler-stats/get_pools': 'list_pools', 'GET attachments/detail': 'list_attachments',
    'POST attachments': 'create_attachment', f'PUT attachments/{_ID}': 'update_attachment',
    f'DELETE attachments/{_ID}': 'delete_attachment',
    f'POST attachments/{_ID}/action': 'complete_attachment'}


def _public(attachment):
    return {key: value for key, value in attachment.items() if not key.startswith('_')}


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, api):
        self.api = api
        for port in range(21000, 21400):        # a polled ephemeral port can connect to itself
            try:
                super().__init__(('127.0.0.1', port), _Handler)
            except OSError:
                continue
            return
        raise RuntimeError('no port is free')

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().server_bind()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    wbufsize = -1

    def _serve(self):
        length = int(self.headers.get('Content-Length') or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        status, headers, answer = self.server.api.answer(self.command, self.path, body,
                                                         self.headers)
        content = b'' if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {**headers, 'Content-Type': 'application/json',
                            'OpenStack-API-Version': f'volume {MAX_VERSION}',
                            'Content-Length': str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = _serve

    def log_message(self, *_):
        """The requests are kept already."""
