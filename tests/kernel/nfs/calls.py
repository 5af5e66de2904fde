# SPDX-License-Identifier: Apache-2.0
"""What the file server is asked when a volume is attached, as the kernel counts its calls."""

import collections
import contextlib
import pathlib
import re

from tests.kernel import cases
from tests.kernel.nfs import life_cycle
from tests.kernel.nfs import site as sites

# Counted: 8, 2 and 2. What the mount itself has cached when its turn comes may differ by a few.
_MOST = {'attach': 10, 'attach again': 3, 'detach': 3}
_OF_THE_LEASE = 'SEQUENCE'      # the kernel makes it now and then, whatever is done
_ROUNDS = 3     # on a busy machine, what the kernel has cached may expire during a round


def each_act_makes_few_calls(share):
    rounds = []
    while len(rounds) < _ROUNDS:
        rounds.append(_made_by_each_act(share))
        if all(sum(rounds[-1][name].values()) <= most for name, most in _MOST.items()):
            return
    raise AssertionError(rounds)


def _made_by_each_act(share):
    place = sites.place_of(life_cycle.EXPORT)
    share.site.detach_all()
    made = {}
    for name, act in {'attach': lambda: share.site.attach(share.by_export),
                      'attach again': lambda: share.site.attach(share.by_export),
                      'detach': lambda: share.site.detach(share.by_export)}.items():
        before = _calls(place)
        act()
        made[name] = _calls(place) - before
    return made


def groups():
    return [cases.Group(version, 'calls', _setup, (each_act_makes_few_calls,))
            for version in ('3', '4.2')]


@contextlib.contextmanager
def _setup(site, version):
    volume = f'volume-{version}'
    file = sites.make_volume('vols/cinder', volume)
    site.keep_mounted(life_cycle.EXPORT, version)
    yield sites.Share(site, file, sites.by_export(life_cycle.EXPORT, volume),
                      sites.by_path(sites.place_of(life_cycle.EXPORT) / volume))


def _calls(place):
    """Count the calls that were made for a mount since it was mounted, by kind."""
    text = pathlib.Path('/proc/self/mountstats').read_text()
    [of_mount] = [part for part in text.split('device ') if f' mounted on {place} ' in part]
    statistics = of_mount.partition('per-op statistics')[2]
    return collections.Counter({kind: int(number) for kind, number in re.findall(
        r'(\w+): (\d+)', statistics) if kind != _OF_THE_LEASE})
