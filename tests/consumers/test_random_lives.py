"""Random lives of instances: at the end Nova, NovaLink and the slot map agree, or an act said why.

``POWERVM_FILEIO_LIVES`` says how many, and the seed of the first is 0.
"""

import contextlib
import os
import random
from unittest import mock

import pytest

pytest.importorskip('nova_powervm', reason='nova-powervm is not installed')

from nova_powervm.virt.powervm.tasks import base
from taskflow import task
from taskflow.patterns import linear_flow

from tests import effort

LIVES = int(os.environ.get('POWERVM_FILEIO_LIVES', effort.of(4, 20)))
_run = base.run


class Broken(Exception):
    """What a task raises."""


class Killed(BaseException):
    """The process ends between two tasks, so that nothing is reverted."""


class Interruption:
    """Ends one of the flows of an act at one of its tasks."""

    def __init__(self, at, error):
        self._tasks_left, self._error = at, error
        self.has_happened = False

    def run(self, flow, instance=None):
        nodes = [node for node, _ in flow.iter_nodes()]
        if self.has_happened or self._tasks_left >= len(nodes):
            self._tasks_left -= len(nodes)
            return _run(flow, instance=instance)
        self.has_happened = True
        before, after = nodes[:self._tasks_left], nodes[self._tasks_left:]
        shorter = linear_flow.Flow(flow.name).add(*before)
        if self._error is Killed:
            _run(shorter, instance=instance)
            raise Killed
        shorter.add(task.FunctorTask(self._raise, name='broken'), *after)
        return _run(shorter, instance=instance)

    def _raise(self):
        raise self._error

    @contextlib.contextmanager
    def in_place(self):
        with mock.patch.object(base, 'run', self.run):
            yield


class Life:
    """One instance on two hosts."""

    def __init__(self, hosts, make_volumes, map_elsewhere, seed):
        self.random = random.Random(seed)
        self.hosts, self.make_volumes, self.map_elsewhere = hosts, make_volumes, map_elsewhere
        self.here, self.there = hosts
        self.history = [f'seed {seed}']
        self.was_killed = False

    def live(self):
        self.server = self.here.new_server(self.random.random() < 0.5)
        volumes = self.make_volumes(self.random.randint(1, 4))
        if not self.act('spawn', lambda: self.here.spawn(self.server, volumes)):
            return self.end()
        for _ in range(self.random.randint(2, 6)):
            name = self.random.choice(['attach', 'detach', 'shelve', 'rebuild', 'evacuate',
                                       'resize', 'revert', 'migrate', 'restart'])
            if not getattr(self, name)():
                break
            self.check()
        return self.end()

    # -- acts: each returns whether the instance can go on -----------------------------------------

    def attach(self):
        if len(self.server.rows) == 4:
            return True
        [volume] = self.make_volumes(1)
        is_mapped = self.random.random() < 1 / 3
        if is_mapped:
            self.history.append('an operator maps it under another path')
            self.map_elsewhere(self.here, self.server.uuid, volume)
        goes_on = self.act('attach', lambda: self.here.attach(self.server, volume), goes_on=True)
        if is_mapped and volume.id not in {row.volume_id for row in self.server.rows}:
            self.history.append('the operator unmaps it')
            self.here.unmap_outside_nova(volume)
        return goes_on

    def detach(self):
        rows = self.server.rows[int(self.server.is_volume_backed):]
        if not rows:
            return True
        volume_id = self.random.choice(rows).volume_id
        volume = self.server.volumes[volume_id]
        if self.random.random() < 1 / 4:
            self.history.append('an operator unmaps it')
            self.here.unmap_outside_nova(volume)

        def detach():
            self.here.detach(self.server, volume_id)
        if not self.act('detach', detach, goes_on=True):
            detach()        # again, after the restart
        return True

    def shelve(self):
        back = self.random.choice(self.hosts)

        def shelve():
            self.here.shelve(self.server)
            if len(self.server.rows) > 1 and self.random.random() < 0.5:
                self.server.rows.pop()      # detached meanwhile, of which no driver is told
            back.unshelve(self.server)
        return self.act('shelve', shelve, back)

    def rebuild(self):
        return self.act('rebuild', lambda: self.here.rebuild(self.server))

    def evacuate(self):
        source = self.here
        done = self.act('evacuate', lambda: self.there.evacuate(self.server), self.there)
        if done:
            source.clean_up_evacuated(self.server)
        return done

    def resize(self):
        return self.act('resize', lambda: self.here.resize(self.server, self.here))

    def revert(self):
        return self.act('revert', lambda: self.here.resize(self.server, self.here, reverts=True))

    def migrate(self):
        return self.act('migrate', lambda: self.here.resize(self.server, self.there), self.there)

    def restart(self):
        self.history.append('restart')
        self.here.start()
        return True

    def act(self, name, act, goes_to=None, goes_on=False):
        """Carry out an act, every third of which is interrupted; return whether it was done."""
        error = self.random.choice([Broken, Killed])
        at = self.random.randrange(12) if self.random.random() < 1 / 3 else 10_000
        self.history.append(f'{name} at {at} {error.__name__}' if at < 10_000 else name)
        interruption = Interruption(at, error)
        try:
            with interruption.in_place():
                act()
        except Killed:
            self.was_killed = True
            self.here.start()
            self.there.start()
            return False
        except Exception as err:
            if not interruption.has_happened:
                raise
            self.history.append(f'-> {type(err).__name__}')
            return goes_on
        if goes_to is self.there:
            self.here, self.there = self.there, self.here
        return True

    # -- what has to hold --------------------------------------------------------------------------

    def check(self):
        assert self.here.disagreement(self.server) is None, self.history
        assert self.there.novalink.mappings() == [], self.history

    def end(self):
        self.history.append('delete')
        for host in self.hosts:
            host.destroy(self.server)
            if self.was_killed:
                host.start()    # which scrubs what nobody has
            assert host.novalink.mappings() == [], self.history
            assert host.novalink.lpars == [], self.history


@pytest.mark.parametrize('seed', range(LIVES))
def test_nova_novalink_and_the_slot_map_agree_in_a_random_life(
        one, two, make_volumes, map_elsewhere, seed):
    life = Life([one, two], make_volumes, map_elsewhere, seed)
    try:
        life.live()
    except Exception as err:
        raise AssertionError(life.history) from err
