# SPDX-License-Identifier: Apache-2.0
"""The simulator must not be the bottleneck of what it measures."""

import contextlib
import dataclasses
import itertools
import socket
import statistics
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from pypowervm import adapter as pvm_adapter
from pypowervm import const
from pypowervm import exceptions
from pypowervm.tasks import scsi_mapper
from pypowervm.wrappers import logical_partition
from pypowervm.wrappers import storage
from pypowervm.wrappers import virtual_io_server as vios

from powervm_fileio_connector.simulator import NovaLinkSimulator
from powervm_fileio_connector.simulator import Slow
from powervm_fileio_connector.simulator import posted
from powervm_fileio_connector.simulator.faults import Fault
from powervm_fileio_connector.simulator.renderer import Renderer


def test_starting_it_costs_less_than_50_ms():
    times = []
    for _ in range(5):
        start = time.process_time()     # the machine may be busy with other things
        with NovaLinkSimulator():
            times.append(time.process_time() - start)
    assert statistics.median(times) < 0.05


def test_a_post_to_5000_mappings_costs_the_server_less_than_half_a_second(make_file):
    with NovaLinkSimulator(lpars=10, mappings=5000) as sim:
        sim.state.check_invariants()
        adapter = sim.adapter()
        wrapper = vios.VIOS.get(adapter, uuid=sim.vios_uuid, xag=[const.XAG.VIO_SMAP])
        # Without pypowervm's own mapper, which takes seconds to look through 5000 mappings.
        wrapper.element.element.find('.//{*}VirtualSCSIMappings').append(
            vios.VSCSIMapping.bld(adapter, None, sim.lpars[0].uuid,
                                  storage.FileIO.bld(adapter, make_file())).element.element)
        wrapper.update()
        post, = sim.requests.records('POST')
        assert post.cpu_seconds < 0.5
        assert len(sim.mappings()) == 5001


def test_unchanged_mappings_are_not_parsed(novalink, make_file, monkeypatch):
    adapter = novalink.adapter()
    for name in 'abc':
        scsi_mapper.add_vscsi_mapping(None, novalink.vios_uuid, novalink.lpars[0].uuid,
                                      storage.FileIO.bld(adapter, make_file(name)))
    parsed = []
    real = posted._read_mapping
    monkeypatch.setattr(posted, '_read_mapping',
                        lambda part, *rest: parsed.append(part) or real(part, *rest))
    scsi_mapper.add_vscsi_mapping(None, novalink.vios_uuid, novalink.lpars[1].uuid,
                                  storage.FileIO.bld(adapter, make_file('d')))
    assert len(parsed) == 1


def test_128_clients_at_once_are_all_served(novalink):
    adapter = novalink.adapter()
    start = threading.Barrier(128)

    def read(_):
        start.wait()
        return len(logical_partition.LPAR.get(adapter))

    with ThreadPoolExecutor(128) as pool:
        assert list(pool.map(read, range(128))) == [2] * 128


def test_only_loopback_is_listened_on(novalink):
    for listening in novalink._listener._sockets:
        assert listening.getsockname()[0] in ('127.0.0.1', '::1')


def test_the_client_needs_no_name_server(novalink, monkeypatch, caplog):
    resolve = socket.getaddrinfo

    def resolve_addresses_only(host, *args, **kwargs):
        if host == 'localhost':
            raise socket.gaierror(socket.EAI_NONAME, 'Name or service not known')
        return resolve(host, *args, **kwargs)

    monkeypatch.setattr(socket, 'getaddrinfo', resolve_addresses_only)
    assert len(logical_partition.LPAR.get(novalink.adapter())) == 2
    assert caplog.records == []


@pytest.mark.parametrize('address', ['127.0.0.1', 'localhost'])
def test_localhost_answers_at_once(novalink, address):
    start = time.perf_counter()
    socket.create_connection((address, novalink.port), timeout=5).close()
    assert time.perf_counter() - start < 0.5


class Deaf(pvm_adapter.EventHandler):
    """Hears nothing."""

    def process(self, events):
        pass


def test_a_stopped_simulator_leaves_no_threads_not_even_a_listeners():
    before = set(threading.enumerate())
    with NovaLinkSimulator() as sim:
        adapter = sim.adapter()
        polls = threading.Event()
        sim.faults.add(Tell(polls))
        adapter.session.get_event_listener().subscribe(Deaf())
        assert polls.wait(5)
        logical_partition.LPAR.get(adapter)
    deadline = time.monotonic() + 3
    for thread in set(threading.enumerate()) - before:
        thread.join(max(0, deadline - time.monotonic()))
        assert not thread.is_alive(), thread


class Tell(Fault):
    """Tells when a second request for events came: that is the listener's thread."""

    def __init__(self, happened):
        super().__init__(times=None, path='Event')
        object.__setattr__(self, 'happened', happened)
        object.__setattr__(self, 'seen', [])

    def on_request(self, exchange):
        self.seen.append(exchange)
        if len(self.seen) > 1:
            self.happened.set()


def test_a_stop_ends_a_request_that_waits():
    with NovaLinkSimulator() as sim:
        adapter = sim.adapter()
        sim.faults.add(Slow(600.0, method='GET'))

        def read():
            with contextlib.suppress(exceptions.Error):
                logical_partition.LPAR.get(adapter)

        thread = threading.Thread(target=read)
        thread.start()
    thread.join(3)
    assert not thread.is_alive()


def test_mappings_are_rendered_while_those_that_are_gone_are_forgotten():
    with NovaLinkSimulator(lpars=1, mappings=2000) as sim:
        renderer = Renderer(sim.state, sim.url)
        known, ids, is_over = sim.mappings(), itertools.count(10_000), threading.Event()

        def render():
            while not is_over.is_set():
                renderer.chunk(dataclasses.replace(known[0], id=next(ids)))

        def forget():
            end = time.monotonic() + 2
            while time.monotonic() < end:
                sim.state.touch(sim.vios_uuid)
                renderer.served(sim.vios_uuid)

        before = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            with ThreadPoolExecutor(3) as pool:
                rendering = [pool.submit(render) for _ in range(2)]
                try:
                    forget()
                finally:
                    is_over.set()
            assert [future.result() for future in rendering] == [None, None]
        finally:
            sys.setswitchinterval(before)
