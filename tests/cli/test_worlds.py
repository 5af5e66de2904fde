# SPDX-License-Identifier: Apache-2.0
"""In random worlds no command takes a disk that is another LPAR's, and what is said has happened.

Links left out, ids reused, incomplete mappings and those of others, lists of LPARs cut short, LPARs
that come and go, also while a command runs. ``POWERVM_FILEIO_WORLDS`` is how many worlds are tried,
``POWERVM_FILEIO_SEED`` where the seeds begin. What nothing tells is left out: a mapping without
client adapter and link, of an LPAR that NovaLink's list leaves out.
"""

import json
import os

import pytest

import powervm_fileio_connector as pfc
from powervm_fileio_connector import exceptions
from tests.cli import worlds

COUNT = int(os.environ.get('POWERVM_FILEIO_WORLDS', '12'))
FIRST = int(os.environ.get('POWERVM_FILEIO_SEED', '0'))
GROUPS = 2
STEPS = 6


@pytest.mark.parametrize('group', range(GROUPS))
def test_no_disk_of_another_lpar_is_taken(run, tmp_path, share, group):
    for seed in range(FIRST + group, FIRST + COUNT, GROUPS):
        directory = share / str(seed)
        directory.mkdir()
        with worlds.World(seed, directory) as world:
            actor = Actor(world, run, tmp_path)
            for number in range(STEPS):
                actor.step(f'world {seed}, step {number}')
            world.state.check_invariants()


class Actor:
    """Does random things in a world, and holds each against what has happened."""

    def __init__(self, world, run, tmp_path):
        self.world, self.rng, self.tmp_path = world, world.rng, tmp_path
        self._run = run
        self._adapter = world.novalink.adapter()
        self._infos = []

    def step(self, where):
        world, rng = self.world, self.rng
        world.begin_step()
        if rng.random() < 0.25:
            world.change_lpars_meanwhile()
        act = rng.choice([self.attach, self.detach, self.detach, self.audit, self.connect,
                          self.disconnect])
        done = act()
        assert not done.wrong(world), (where, done, world.removals)
        assert not done.untrue(world), (where, done, world.removals, world.additions)

    # -- by the command --------------------------------------------------------------------

    def command(self, *arguments):
        outcome = self._run(*arguments, '-f', 'json', '--simulator', self.world.novalink.url)
        assert outcome.code != 1, outcome
        return outcome

    def audit(self):
        outcome = self.command('audit', '--fix', '--yes')
        return Audited(outcome, json.loads(outcome.out) if outcome.out else [])

    def attach(self):
        path, volume_id = self.rng.choice(self.world.volumes)
        lpar = self._some_lpar()
        more = ['--volume-id', volume_id] if self.rng.random() < 0.5 else []
        outcome = self.command('attach', path, '--lpar', self._named(lpar), *more)
        if outcome.code == 0:
            self._infos.append(outcome.json)
        return Attached(path, lpar.uuid, outcome, outcome.json if outcome.code == 0 else None)

    def detach(self):
        path, volume_id = self.rng.choice(self.world.volumes)
        arguments, tells = self._key(path, volume_id)
        lpar = None
        if self.rng.random() < 0.5:
            lpar = self._some_lpar()
            arguments += ['--lpar', self._named(lpar)]
        outcome = self.command('detach', *arguments)
        row = json.loads(outcome.out) if outcome.code == 0 else None
        return Detached(tells, lpar and lpar.uuid, outcome, row)

    def _key(self, path, volume_id):
        """One of the ways to name a volume: the arguments, and the path or id that they tell."""
        def written(content):
            file = self.tmp_path / f'{self.rng.getrandbits(64):x}.json'
            file.write_text(json.dumps(content))
            return str(file)

        by_path, by_id, by_both = (path, None), (None, volume_id), (path, volume_id)
        ways = [
            ([path], by_path),
            ([volume_id], by_id),
            ([volume_id.upper()], by_id),
            (['--volume-id', volume_id], by_id),
            ([path, '--volume-id', volume_id], by_both),
            ([written({'driver_volume_type': 'gpfs', 'data': {
                'name': 'x', 'device_path': path}, 'volume_id': volume_id})], by_both),
            ([written({'path': path})], by_path),
            ([written({'volume_id': volume_id})], by_id),
            (['--export', worlds.EXPORT, '--name', os.path.basename(path)], by_path)]
        if self._infos:
            info = self.rng.choice(self._infos)
            known = (info['path'], info['volume_id'])
            ways += [([written(info)], known), (['--device-info', written(info)], known)]
        return self.rng.choice(ways)

    # -- by the connector ------------------------------------------------------------------

    def connect(self):
        path, volume_id = self.rng.choice(self.world.volumes)
        lpar = self._some_lpar()
        connector = pfc.FileIOConnector('sudo', adapter=self._adapter, lpar_uuid=lpar.uuid)
        try:
            info = connector.connect_volume({'path': path, 'volume_id': volume_id})
        except exceptions.FileIOConnectorError as err:
            return Attached(path, lpar.uuid, err, None)
        self._infos.append(info)
        return Attached(path, lpar.uuid, None, info)

    def disconnect(self):
        path, volume_id = self.rng.choice(self.world.volumes)
        lpar = self._some_lpar()
        info = self.rng.choice([None, *self._infos])
        connector = pfc.FileIOConnector('sudo', adapter=self._adapter, lpar_uuid=lpar.uuid)
        tells = (path, volume_id) if info is None else (info['path'], info['volume_id'])
        lpar_uuid = lpar.uuid if info is None else info['lpar_uuid']
        try:
            connector.disconnect_volume({'path': tells[0], 'volume_id': tells[1]}, info)
        except exceptions.FileIOConnectorError as err:
            return Detached(tells, lpar_uuid, err, None)
        return Disconnected(tells, lpar_uuid, None, None)

    def _some_lpar(self):
        if not self.world.lpars:
            self.world.novalink.add_lpar()
        return self.rng.choice(self.world.lpars)

    def _named(self, lpar):
        names = [one.name for one in self.world.state.partitions()]
        return self.rng.choice([lpar.uuid, lpar.uuid.lower(), str(lpar.id),
                                lpar.name if names.count(lpar.name) == 1 else lpar.uuid])


class Done:
    """Something that was done.

    :ivar said: the outcome of the command, or the error of the connector
    """

    def __init__(self, said):
        self.said = said

    def __repr__(self):
        return f'{type(self).__name__}({vars(self)})'


class Audited(Done):
    def __init__(self, said, rows):
        super().__init__(said)
        self.rows = rows

    def wrong(self, world):
        """The mappings that were removed and are no orphans."""
        return [one for one in world.removals if one.mapping.has_client
                or one.mapping.kind != 'file' or world.is_protected(one)
                or (one.mapping.lpar_id in one.told_ids and one.mapping.source is None)]

    def untrue(self, world):
        """What was said and has not happened, or has happened and was not said."""
        removed = sorted(one.mapping.path for one in world.removals)
        told = sorted(row['path'] for row in self.rows if row['detail'] == 'removed')
        expected = 12 if [row for row in self.rows if row['detail'] != 'removed'] else 0
        is_failed = self.said.code not in (0, 12)
        return [told, removed] if told != removed or (
            self.said.code != expected and not is_failed) or world.additions else []


class Attached(Done):
    def __init__(self, path, lpar_uuid, said, info):
        super().__init__(said)
        self.path, self.lpar_uuid, self.info = path, lpar_uuid, info

    def wrong(self, world):
        """The mappings that were removed and are no left-over ones of the file."""
        return [one for one in world.removals if one.mapping.has_client
                or one.mapping.kind != 'file' or one.mapping.path != self.path
                or (world.is_protected(one) and one.owner != self.lpar_uuid)]

    def untrue(self, world):
        if self.info is None:
            return [one for one in world.additions if one.id in [
                left.id for left in world.state.mappings()]] or world.removals
        found = [one for one in (*world.additions, *world.state.mappings())
                 if (one.path, one.slot, one.lua, one.udid) == tuple(
                     self.info[key] for key in ('path', 'slot', 'lua', 'udid'))
                 and self.lpar_uuid in (one.lpar_uuid, world.has_changed and self.lpar_uuid)]
        return [] if found and self.info['lpar_uuid'] == self.lpar_uuid else ['no such mapping']


class Detached(Done):
    """:ivar tells: the path and the id that tell the volume"""

    def __init__(self, tells, lpar_uuid, said, row):
        super().__init__(said)
        self.tells, self.lpar_uuid, self.row = tells, lpar_uuid, row

    def wrong(self, world):
        """The mappings that were removed and are another LPAR's, or of another volume."""
        named = self.lpar_uuid or (self.row and self.row['lpar_uuid'])
        return [one for one in world.removals if one.mapping.kind != 'file'
                or not self._fits(one, world) or one.mapping.is_wild_card
                or (world.is_protected(one) and one.owner != named)]

    def untrue(self, world):
        if world.additions:
            return world.additions
        if self.row is None:
            return world.removals
        if self.row['result'] == 'detached':
            paths = [one.mapping.path for one in world.removals]
            return [] if self.row['path'] in paths else [self.row['path'], paths]
        return world.removals or self._left(world)

    def _left(self, world):
        """The mappings of the volume that the LPAR still has."""
        if world.has_changed:
            return []
        return [one for one in world.state.mappings() if one.kind == 'file' and one.has_client
                and self.lpar_uuid in (one.lpar_uuid, None)
                and (one.path == self.tells[0] or (self.tells[0] is None
                                                   and one.tag == self.tells[1]))]

    def _fits(self, removal, world):
        """Whether a mapping is the volume's: by its path, or as its file has the id as a tag."""
        path, volume_id = self.tells
        mapping = removal.mapping
        if mapping.path == path or volume_id is None:
            return mapping.path == path
        owners = {one.owner for one in world.removals if one.mapping.tag == volume_id}
        return mapping.path in self._paths_of(volume_id, world) and (
            removal.owner is None or mapping.tag in (None, volume_id) or removal.owner in owners)

    def _paths_of(self, volume_id, world):
        """The files that are known by an id: as a tag, or else in their names."""
        return {one.path for one in (*world.state.mappings(),
                                     *(removal.mapping for removal in world.removals))
                if one.tag == volume_id or (one.tag is None and volume_id in (one.path or ''))}


class Disconnected(Detached):
    def untrue(self, world):
        return world.additions or self._left(world)
