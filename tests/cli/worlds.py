# SPDX-License-Identifier: Apache-2.0
"""Random hosts: LPARs, mappings in every state they can be in, and which LPAR really has each.

Every change that a client makes of the mappings is recorded with the LPARs that lived at that
moment, so that a test can tell whether a mapping was anybody's when it was removed.
"""

import dataclasses
import random
import re
import threading
import uuid
from pathlib import Path

from powervm_fileio_connector.simulator import Fault
from powervm_fileio_connector.simulator import LPARListCutShort
from powervm_fileio_connector.simulator import NoLPARLinks
from powervm_fileio_connector.simulator import NovaLinkSimulator
from powervm_fileio_connector.simulator.buses import file_udid
from powervm_fileio_connector.simulator.initial_state import make_state
from powervm_fileio_connector.simulator.mapping_xml import mapping_xml
from powervm_fileio_connector.simulator.model import ANY_SLOT
from powervm_fileio_connector.simulator.model import Mapping
from powervm_fileio_connector.simulator.state import State

_CLIENT = re.compile('<ClientAdapter .*?</ClientAdapter>', re.DOTALL)
_URL = 'http://localhost:12080'
_FIRST_SLOT = 100
# The MD5 of nas1:/vols, which is mounted nowhere.
EXPORT, EXPORT_HASH = 'nas1:/vols', 'df8f2960bc699f860fbd3049c05792c6'


@dataclasses.dataclass(frozen=True)
class Removal:
    """A mapping that a client removed, and the partitions that lived then, with their ids.

    :ivar told_ids: the ids of those of them that NovaLink had listed
    """

    mapping: Mapping
    living: dict[str, int]
    told_ids: frozenset[int]

    @property
    def owner(self):
        """The partition that had the mapping; None: it was nobody's."""
        uuid = self.mapping.lpar_uuid
        return uuid if uuid in self.living else None


class World:
    """A host made from a seed; served in a ``with`` block."""

    def __init__(self, seed, directory):
        self.rng = random.Random(seed)
        self.directory = Path(directory)
        self.dead = [str(uuid.UUID(int=self.rng.getrandbits(128), version=4)).upper()
                     for _ in range(2)]
        state = make_state(self.rng.randint(1, 4), foreign=self.rng.random() < 0.5)
        self.volumes = [self._make_volume(number) for number in range(self.rng.randint(2, 5))]
        self.shows_links = self.rng.random() < 0.7
        snapshot = state.snapshot()
        snapshot['mappings'] += [dataclasses.asdict(one) for one in self._make_mappings(state)]
        faults = [Asked(self), *([] if self.shows_links else [NoLPARLinks()])]
        self.is_list_cut = self.rng.random() < 0.25
        self._most_listed = self.rng.randint(0, 2) if self.is_list_cut else None
        if self.is_list_cut:
            faults.append(LPARListCutShort(keep=self._most_listed))
        self.novalink = NovaLinkSimulator(
            state=State.from_snapshot(snapshot), faults=faults,
            links_of_files=self.rng.random() < 0.7)
        self.state = self.novalink.state
        self.removals, self.additions = [], []
        self.has_changed = False
        self._meanwhile = None
        self.unseen = set()     # LPARs that came after the last request for them
        self.listed = set()     # LPARs that NovaLink listed last
        self._known = {one.id: one for one in self.state.mappings()}
        self.state.subscribe(self._record)

    def __enter__(self):
        self.novalink.start()
        return self

    def __exit__(self, *exc_info):
        self.novalink.stop()

    @property
    def living(self):
        """The ids of all partitions that a client can know of, by their UUIDs."""
        return {one.uuid: one.id for one in self.state.partitions() if one.uuid not in self.unseen}

    @property
    def lpars(self):
        return self.novalink.lpars

    def note_list(self):
        """Remember which LPARs NovaLink's list has now."""
        self.listed = {one.uuid for one in
                       self.state.partitions(io_servers=False)[:self._most_listed]}

    def begin_step(self):
        """Change the LPARs now and then; forget what was changed, or was to be, until now."""
        if self._meanwhile is not None:
            self._meanwhile.end()
        if self.rng.random() < 0.2:
            self.change_lpars()
        self.removals, self.additions = [], []
        self.has_changed = False
        self.unseen.clear()

    def is_protected(self, removal):
        """Whether a mapping that was removed was anybody's.

        Where no link is shown, nothing tells a mapping that is being made from a left-over one.
        """
        is_told = self.shows_links or removal.mapping.has_client
        return removal.mapping.is_wild_card or (is_told and removal.owner is not None)

    def change_lpars(self):
        """Have an LPAR appear, go, or come back under another id."""
        self.has_changed = True
        act = self.rng.choice(['appear', 'go', 'return', 'new'])
        if act == 'new' or not self.lpars:
            self.novalink.add_lpar()
        elif act == 'appear':
            there = {one.uuid for one in self.state.partitions()}
            gone = [one for one in self.dead if one not in there]
            if gone:
                self.novalink.add_lpar(uuid=self.rng.choice(gone))
        elif act == 'go':
            lpar = self.rng.choice(self.lpars)
            self.dead.append(lpar.uuid)
            self.novalink.remove_lpar(lpar.uuid)
        else:
            self.novalink.recreate_lpar(self.rng.choice(self.lpars).uuid,
                                        successor=self.rng.choice([None, 'successor']))

    def change_lpars_meanwhile(self):
        """Change the LPARs when one of the next requests comes.

        What comes then cannot be known before NovaLink is asked again: no etag tells of it.
        """
        self._meanwhile = Meanwhile(self, self.rng.randint(1, 8))
        self.novalink.faults.add(self._meanwhile)

    # -- what there is from the start ------------------------------------------------------

    def _make_volume(self, number):
        """A file and the id of its volume; the name of the file need not be made of it."""
        volume_id = str(uuid.UUID(int=self.rng.getrandbits(128), version=4))
        name = self.rng.choice([f'volume-{volume_id}', f'backup-of-{volume_id}.img',
                                f'disk-{number}', f'{EXPORT_HASH}/volume-{volume_id}'])
        path = self.directory / name
        path.parent.mkdir(exist_ok=True)
        if self.rng.random() < 0.9:
            path.touch()
            with path.open('ab') as file:
                file.truncate(1 << 20)
        return str(path), volume_id

    def _make_mappings(self, state):
        number = 1000
        for path, volume_id in self.volumes:
            for _ in range(self.rng.choice([0, 1, 1, 1, 2, 3])):
                number += 1
                tag = self.rng.choice([volume_id, volume_id, None, self.volumes[0][1]])
                yield self._make_mapping(state, number, path, tag)

    def _make_mapping(self, state, number, path, tag):
        living = [one for one in state.partitions() if not one.is_io_server]
        lpar = self.rng.choice(living)
        slot = _FIRST_SLOT + number % 100
        kind = self.rng.choices(
            ['client', 'orphan', 'linked orphan', 'incomplete', 'wild card', 'I/O server', 'lv'],
            [6, 2, 2, 2, 1, 1, 1])[0]
        mapping = Mapping(
            number, state.vios.uuid, slot, lpar.uuid, lpar.id, slot, kind='file', path=path,
            lua='lun1', udid=file_udid(path), target_name=f'FILEIO-{number}',
            target_udid=f'3{slot:07x}-lun1', tag=tag, backstore='loop', capacity_gb='0.000977')
        if kind == 'lv':
            return dataclasses.replace(mapping, kind='lv', udid=f'0300.{number}', backstore=None)
        if kind == 'wild card':
            return dataclasses.replace(mapping, slot=ANY_SLOT, has_client=False, lpar_uuid=None)
        if kind == 'orphan':
            # The id may be one that an LPAR has now.
            return dataclasses.replace(
                mapping, has_client=False, lpar_uuid=None,
                lpar_id=self.rng.choice([lpar.id, 900 + number % 100]))
        if kind == 'client':
            return mapping
        client = {'linked orphan': self.dead[0], 'incomplete': lpar.uuid,
                  'I/O server': state.vios.uuid}[kind]
        mapping = dataclasses.replace(mapping, lpar_uuid=client)
        shown = _CLIENT.sub('', mapping_xml(mapping, state.host, state.vios, _URL))
        if kind == 'I/O server':
            shown = shown.replace('/LogicalPartition/', '/VirtualIOServer/')
        return dataclasses.replace(mapping, has_client=False, source=shown)

    def _record(self, change):
        """Note which mappings a client has removed and added; LPARs that go remove none."""
        now = {one.id: one for one in self.state.mappings()}
        living = self.living
        told_ids = frozenset(number for uuid, number in living.items()
                             if not self.is_list_cut or uuid in self.listed)
        self.removals += [Removal(one, living, told_ids) for number, one in self._known.items()
                          if number not in now]
        self.additions += [one for number, one in now.items() if number not in self._known]
        self._known = now


class Meanwhile(Fault):
    """LPARs change when one of the next requests comes, before it is looked at."""

    def __init__(self, world, after):
        super().__init__(times=after)
        object.__setattr__(self, 'world', world)
        object.__setattr__(self, 'left', after)
        object.__setattr__(self, 'lock', threading.Lock())

    def on_request(self, context):
        with self.lock:
            object.__setattr__(self, 'left', self.left - 1)
            if self.left != 0:
                return
            before = {one.uuid: one.id for one in self.world.lpars}
            self.world.change_lpars()
            self.world.unseen |= {one.uuid for one in self.world.lpars
                                  if before.get(one.uuid) != one.id}

    def end(self):
        """Have nothing change any more."""
        with self.lock:
            object.__setattr__(self, 'left', 0)


class Asked(Fault):
    """Notes which LPARs clients have asked for, and which were listed."""

    def __init__(self, world):
        super().__init__(times=None, method='GET', path='/LogicalPartition')
        object.__setattr__(self, 'world', world)

    def on_request(self, context):
        path = context.request.path
        self.world.unseen -= {uuid for uuid in self.world.unseen
                              if path.endswith(('/LogicalPartition', f'/{uuid}'))}

    def on_answer(self, context, answer):
        if context.request.path.endswith('/LogicalPartition'):
            self.world.note_list()
        return answer
