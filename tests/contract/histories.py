# SPDX-License-Identifier: Apache-2.0
"""One client process of a random history: edits at random, each intent and outcome written down.

A line is written before an edit is handed in and after it has ended, so that what a killed process
may have been doing is known.
"""

import dataclasses
import json
import logging
import os
import random
import threading
import time

import eventlet
from eventlet import tpool
from oslo_concurrency import lockutils  # noqa: F401 - registers the option
from oslo_config import cfg
from pypowervm import adapter as pvm_adapter

from powervm_fileio_connector import conf
from powervm_fileio_connector import exceptions
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.mappings import AddMapping
from powervm_fileio_connector.mappings import RemoveMapping
from powervm_fileio_connector.novalink import client_for


@dataclasses.dataclass(frozen=True)
class Orders:
    """What a process is to do; ``volumes`` are the paths of each of its threads."""

    seed: str
    port: int
    vios_uuid: str
    lpars: tuple[str, ...]
    volumes: tuple[tuple[str, ...], ...]
    turns: int
    log: str
    lock_path: str | None
    sessions: int = 1
    is_forking: bool = False
    deadlines_s: tuple[float, ...] = (15.0,)


def run(orders):
    """Do the edits; each thread has volumes of its own, so what it did to each is in order.

    Where the process forks, the volumes of the last thread are its child's.
    """
    logging.disable(logging.CRITICAL)
    if orders.lock_path:
        cfg.CONF.set_override('lock_path', orders.lock_path, group='oslo_concurrency')
    vioses = [client_for(conf.Settings(), _adapter(orders.port)).committer(orders.vios_uuid)
              for _ in range(orders.sessions)]
    count = len(orders.volumes)
    threads = [threading.Thread(target=_work, args=(orders, vioses[number % len(vioses)], number))
               for number in range(count - orders.is_forking)]
    for thread in threads:
        thread.start()
    child = 0
    if orders.is_forking:
        child = os.fork()
        if not child:
            try:
                _work(orders, vioses[0], count - 1)
            except BaseException:  # noqa: BLE001 - the parent tells, by the status
                os._exit(1)
            os._exit(0)
    for thread in threads:
        thread.join()
    if child and os.waitpid(child, 0)[1]:
        raise RuntimeError('the forked child failed')


def run_green(text):
    """Do the edits of orders in JSON where eventlet has patched all, in green and native threads.
    """
    orders = Orders(**json.loads(text))
    logging.disable(logging.CRITICAL)
    vios = client_for(conf.Settings(), _adapter(orders.port)).committer(orders.vios_uuid)
    works = [eventlet.spawn(tpool.execute, _work, orders, vios, number) if number % 2
             else eventlet.spawn(_work, orders, vios, number)
             for number in range(len(orders.volumes))]
    for work in works:
        work.wait()


def _adapter(port):
    # The server refuses connections at random here, and a logon is not what is tried. One that
    # refuses for a minute has ended, with the test.
    until = time.monotonic() + 60
    while True:
        try:
            return pvm_adapter.Adapter(
                pvm_adapter.Session(host='localhost', port=port, protocol='http'))
        except pvm_adapter.pvmex.Error:
            if time.monotonic() > until:
                raise


def _work(orders, vios, number):
    rng = random.Random(f'{orders.seed}-{number}')
    with open(f'{orders.log}-{number}', 'a', buffering=1) as log:
        for turn in range(orders.turns):
            edit = _edit(rng, orders, number, turn)
            facts = {'kind': type(edit).__name__, 'lpar': edit.lpar_uuid,
                     'path': edit.path if isinstance(edit, AddMapping) else edit.paths[0]}
            log.write(json.dumps({'state': 'intent', **facts}) + '\n')
            started = time.monotonic()
            deadline_s = rng.choice(orders.deadlines_s)
            clock = Deadline(deadline_s)
            try:
                result = vios.submit(edit, clock)
            except exceptions.FileIOConnectorError as err:
                facts.update(state='error', error=type(err).__name__, text=str(err))
            else:
                facts.update(state='done', shown=[result.slot, result.lua] if isinstance(
                    edit, AddMapping) else None)
            late_s = time.monotonic() - started - deadline_s
            log.write(json.dumps({**facts, 'late_s': late_s}) + '\n')


def _edit(rng, orders, number, turn):
    path, lpar = rng.choice(orders.volumes[number]), rng.choice(orders.lpars)
    if rng.random() < 0.6:
        return AddMapping(lpar, path, tag=os.path.basename(path),
                          lua=rng.choice([None, None, f'lun{60 + turn}']))
    return RemoveMapping(lpar, paths=(path,))
