# SPDX-License-Identifier: Apache-2.0
"""What many hosts at once cost one Cinder, and each its NovaLink.

``POWERVM_FILEIO_SCALE_HOSTS`` says how many hosts, and ``POWERVM_FILEIO_SCALE_IDLE_S`` for how long
a connector is watched that has nothing to do. What is measured is printed (``pytest -s``); it
is what the page "At scale" has.
"""

import collections
import contextlib
import os
import tempfile
import time

import pytest

import powervm_fileio_connector as pfc
from powervm_fileio_connector.simulator import NovaLinkSimulator

HOSTS = int(os.environ.get('POWERVM_FILEIO_SCALE_HOSTS', '3'))
IDLE_S = float(os.environ.get('POWERVM_FILEIO_SCALE_IDLE_S', '0'))
# Requests to Keystone and Cinder: logging on and finding Cinder's versions, then the volume, its
# attachments, and the changes. Fewer are better.
MOST = {'attach': 11, 'detach': 10, 'audit': 9}


class Host:
    """One host: a NovaLink of its own, and the commands that run there."""

    def __init__(self, name, novalink, forks, environment, states):
        self.name, self.novalink = name, novalink
        self._forks = forks
        self._environment = {**environment, 'XDG_STATE_HOME': str(states / name)}

    def start(self, name, *args):
        with tempfile.TemporaryFile('w+') as null:
            return self._forks.start(
                ['cinder', name, *args, '--host', self.name, '--simulator', self.novalink.url,
                 '--timeout', '600'], [null.fileno()] * 3, self._environment)


class Fleet:
    """All hosts, acting at the same time."""

    def __init__(self, hosts, keystone):
        self.hosts, self._keystone = hosts, keystone

    def act(self, name, arguments):
        """Run a command on each host at once; return what it cost each, all of it."""
        self._keystone.requests.clear()
        self._keystone.answered = 0
        for host in self.hosts:
            host.novalink.requests.clear()
        start = time.monotonic()
        children = [host.start(name, *args)
                    for host, args in zip(self.hosts, arguments, strict=True)]
        ends = [child.wait(900) for child in children]
        took_s = time.monotonic() - start
        asked = collections.Counter()
        for (service, _), number in self._keystone.requests.items():
            asked[service] += number
        cost = {service: number / len(self.hosts) for service, number in asked.items()}
        cost['novalink'] = sum(len(host.novalink.requests) for host in self.hosts) / len(self.hosts)
        cost['KiB of Cinder'] = round(self._keystone.answered / 1024 / len(self.hosts), 1)
        print(f'\n{name}: {len(self.hosts)} hosts in {took_s:.1f} s; each: {cost}; '
              f'all: {dict(self._keystone.requests)}')
        assert ends == [0] * len(self.hosts)
        return cost


@pytest.fixture
def fleet(forks, keystone, tmp_path):
    environment = {**os.environ, **keystone.environment()}
    with contextlib.ExitStack() as stack:
        yield Fleet([Host(f'neo-{number}', stack.enter_context(
            NovaLinkSimulator(lpars=1, foreign=False)), forks, environment, tmp_path)
            for number in range(HOSTS)], keystone)


@pytest.mark.parametrize('backend', ['nfs', 'gpfs'])
def test_what_each_of_many_hosts_costs_does_not_grow_with_their_number(cloud, fleet, backend):
    volumes = [cloud.begin(backend) for _ in fleet.hosts]
    for volume in volumes:
        cloud.wait(volume)
    named = [(volume.id, '--lpar', 'lpar1') for volume in volumes]
    costs = {'attach': fleet.act('attach', named),
             'audit': fleet.act('audit', [()] * len(fleet.hosts))}
    assert [len(host.novalink.mappings()) for host in fleet.hosts] == [1] * len(fleet.hosts)
    costs['detach'] = fleet.act('detach', [(volume.id,) for volume in volumes])
    for name, cost in costs.items():
        assert cost['keystone'] + cost['cinder'] <= MOST[name], (name, cost)


@pytest.mark.skipif(not IDLE_S, reason='takes POWERVM_FILEIO_SCALE_IDLE_S')
def test_an_idle_connector_sends_no_request(cloud, cinder, novalink, keystone):
    volume = cloud.create('nfs')
    assert cinder('attach', volume.id, '--lpar', 'lpar1').code == 0
    connector = pfc.factory('file', 'sudo', adapter=novalink.adapter())
    [mapping] = novalink.mappings()
    connector.connect_volume({'path': mapping.path, 'lpar_uuid': novalink.lpars[0].uuid})
    keystone.requests.clear()
    novalink.requests.clear()
    # There is nothing to wait for: what is not asked in this time is what is measured.
    time.sleep(IDLE_S)
    print(f'\nidle for {IDLE_S:g} s: {dict(keystone.requests)}, NovaLink {len(novalink.requests)}')
    assert not keystone.requests
    assert len(novalink.requests) == 0
    assert cinder('detach', volume.id).code == 0
