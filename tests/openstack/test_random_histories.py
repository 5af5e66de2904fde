# SPDX-License-Identifier: Apache-2.0
"""Random histories of volumes: in the end all agree, or an audit names what does not.

All are Cinder, NovaLink and the share. ``POWERVM_FILEIO_HISTORIES`` says how many histories, or
which: ``100-199``.
"""

import contextlib
import dataclasses
import os
import pathlib
import random
import shutil
import signal
import threading

import pytest

from powervm_fileio_connector.simulator import Fault
from tests.openstack import services

pytestmark = pytest.mark.skipif(not shutil.which('qemu-img'), reason='needs qemu-img')

FIRST, _, LAST = os.environ.get('POWERVM_FILEIO_HISTORIES', '3').rpartition('-')
HISTORIES = range(int(FIRST), int(LAST) + 1) if FIRST else range(int(LAST))
LPARS = ('lpar1', 'lpar2')
# What an act may end in: done, refused by its rules (5), in use (8), refused by Cinder (9), or not
# attached (13).
_ENDS = {0, 5, 8, 9, 13}


@dataclasses.dataclass
class Killer:
    """Kills a command at one of its requests, to Cinder or to NovaLink."""

    requests_left: int
    is_before: bool

    def __post_init__(self):
        self.child, self.has_killed, self._lock = None, False, threading.Lock()

    def at(self, when, *_):
        with self._lock:
            if self.has_killed or (when == 'before') != self.is_before:
                return False
            self.requests_left -= 1
            if self.requests_left:
                return False
            self.has_killed = True
        os.kill(self.child.pid, signal.SIGKILL)
        return True


@dataclasses.dataclass(frozen=True)
class Reported(Fault):
    """Tells of each request to NovaLink."""

    killer: Killer

    def on_request(self, context):
        self.killer.at('before')

    def on_answer(self, context, answer):
        self.killer.at('after')
        return answer


class History:
    """One volume, two LPARs, and what happens to them."""

    def __init__(self, seed, cloud, start, cinder, novalink, keystone):
        self.random = random.Random(seed)
        self.cloud, self.start, self.cinder = cloud, start, cinder
        self.novalink, self.keystone = novalink, keystone
        self.backend = self.random.choice(['nfs', 'gpfs'])
        self.snapshots = []
        self.told = [f'seed {seed} {self.backend}']

    def play(self):
        self.volume = self.cloud.create(self.backend)
        for _ in range(self.random.randint(2, 5)):
            getattr(self, self.random.choice(['attach', 'attach', 'detach', 'extend',
                                              'snapshot']))()
            self.check()
        self.check_the_end()

    # -- acts --------------------------------------------------------------------------------------

    def attach(self):
        self.command('attach', self.volume.id, '--lpar', self.random.choice(LPARS))

    def detach(self):
        self.command('detach', self.volume.id)

    def extend(self):
        self.command('extend', self.volume.id, '--size', self.cloud.volume(self.volume).size + 1)
        self.settle()

    def snapshot(self):
        """Have Cinder make one; of an attached NFS volume it can only with Nova's help."""
        self.settle()
        volume = self.cloud.volume(self.volume)
        is_helped = self.random.random() < 0.5
        fails = self.backend == 'nfs' and volume.status == 'in-use' and not is_helped
        self.keystone.has_snapshots = is_helped
        try:
            snapshot = self.cloud.admin.create_snapshot(volume_id=volume.id, is_forced=True)
            self.snapshots.append(snapshot)
            self.cloud.admin.wait_for_status(snapshot, 'error' if fails else 'available', [], 0.3,
                                             60)
        except self.refusals as err:
            self.told.append(f'snapshot of what is {volume.status} -> {err}')
        else:
            self.told.append(f'snapshot {"in error" if fails else ""} while {volume.status}')
        finally:
            self.keystone.has_snapshots = False

    @property
    def refusals(self):
        from openstack import exceptions

        return exceptions.BadRequestException, exceptions.ConflictException

    def command(self, name, *args):
        """Run a command, every other time up to a random request."""
        is_killed = self.random.random() < 0.5
        killer = Killer(self.random.randint(1, 14) if is_killed else 1_000_000,
                        self.random.random() < 0.5)
        ready = threading.Event()

        def at(*what):
            ready.wait()
            return killer.at(*what)

        fault = Reported(killer, times=None)
        killed = f'killed {"before" if killer.is_before else "after"} {killer.requests_left}'
        with self.observed(at, fault):
            child, streams = self.start(name, *args, config='qcow2_backing = same-directory')
            killer.child = child
            ready.set()
            with contextlib.ExitStack() as stack:
                for stream in streams:
                    stack.callback(stream.close)
                code = child.wait(180)
                streams[2].seek(0)
                said = streams[2].read()
        self.told.append(' '.join((name, *map(str, args[1:]), f'-> {code}',
                                   killed if killer.has_killed else said.strip()[:300])))
        assert 'Traceback' not in said, self.told
        assert code == -signal.SIGKILL if killer.has_killed else code in _ENDS, self.told

    @contextlib.contextmanager
    def observed(self, at, fault):
        self.keystone.at = at
        self.novalink.faults.add(fault)
        try:
            yield
        finally:
            self.keystone.at = None
            self.novalink.faults.clear()

    def settle(self):
        """Wait until Cinder has carried out what it was asked for."""
        if self.cloud.volume(self.volume).status == 'extending':
            self.cloud.wait(self.volume, 'in-use')

    # -- what has to hold --------------------------------------------------------------------------

    def check(self):
        """No disk of a volume that Cinder would give to another, and never two."""
        mappings = self.novalink.mappings()
        assert len(mappings) <= 1, self.told
        if mappings:
            assert self.cloud.volume(self.volume).status != 'available', self.told

    def check_the_end(self):
        """Cinder, NovaLink and the share agree, or an audit names the volume."""
        self.settle()
        self._let_ten_minutes_pass()
        audit = self.cinder('audit', '-f', 'json')
        named = [one['finding'] for one in audit.json if one['volume'] == self.volume.id]
        difference = self.difference()
        self.told.append(f'differs: {difference}; audit: {named}')
        assert bool(named) == (difference is not None), self.told
        assert audit.code == (12 if named else 0), self.told

    def difference(self):
        """Where Cinder, NovaLink and the share do not agree; None: nowhere."""
        volume, mappings = self.cloud.volume(self.volume), self.novalink.mappings()
        attachments = self.cloud.attachments(volume)
        if not attachments and not mappings:
            return None if volume.status == 'available' else volume.status
        if [one.status for one in attachments] != ['attached'] or len(mappings) != 1:
            return f'{[one.status for one in attachments]}, {len(mappings)} mappings'
        [mapping], [shown], info = mappings, volume.attachments, attachments[0].connection_info
        if os.path.basename(mapping.path) != info['name'] or not os.path.exists(mapping.path):
            return f'{mapping.path} is mapped, Cinder has {info["name"]}'
        if mapping.lpar_uuid.upper() not in shown['device'].upper():
            return f'{mapping.lpar_uuid} has it, Cinder has it at {shown["device"]}'
        return None if volume.status == 'in-use' else volume.status

    def _let_ten_minutes_pass(self):
        """What has not changed for that long is not on its way any more."""
        import pymysql

        with pymysql.connect(host='127.0.0.1', port=services.MARIADB, user='root',
                             database='cinder', autocommit=True) as database:
            database.cursor().execute(
                'UPDATE volumes SET updated_at = updated_at - INTERVAL 1 HOUR WHERE id = %s',
                self.volume.id)

    def clear(self, states):
        """One detach ends whatever was begun; nothing is left, not even a note."""
        outcome = self.cinder('detach', self.volume.id)
        self.told.append(f'detach -> {outcome.code} {outcome.err}')
        assert outcome.code == 0, self.told
        assert self.difference() is None, self.told
        assert self.novalink.mappings() == [], self.told
        assert not list(states.rglob('*.json')), self.told
        for snapshot in reversed(self.snapshots):
            self.cloud.admin.delete_snapshot(snapshot)
            self.cloud.admin.wait_for_delete(snapshot, 0.3, 60)
            # One that Nova did not help with leaves its overlay.
            for left in pathlib.Path('/var/lib/cinder/mnt').glob(f'*/volume-*.{snapshot.id}'):
                left.unlink()


@pytest.mark.parametrize('seed', HISTORIES)
def test_cinder_novalink_and_the_share_agree_or_an_audit_names_what_does_not(
        cloud, start, cinder, novalink, keystone, tmp_path, seed):
    history = History(seed, cloud, start, cinder, novalink, keystone)
    try:
        history.play()
        history.clear(tmp_path)
    except Exception as err:
        raise AssertionError(history.told) from err
