# SPDX-License-Identifier: Apache-2.0
"""Whether NovaLink sees the same file: it runs in the mount namespace of PID 1, maybe not with us.

In a container, or a private mount namespace, another file may lie at the same path of the host.
"""

from __future__ import annotations

import os

from powervm_fileio_connector import conf
from powervm_fileio_connector import exceptions
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.host import failures
from powervm_fileio_connector.host import probe
from powervm_fileio_connector.host.finder import VolumeFile

# Of the initial pid namespace (include/linux/proc_ns.h, PROC_PID_INIT_INO).
_INITIAL_PID_NAMESPACE = 0xEFFFFFFC

_REMEDY = ("Run it with the host's pid namespace, as root or with a root helper, and with mounts "
           'that are shared with the host, then retry.')


def require_same_namespace(file: VolumeFile, *, prober: probe.Prober,
                           deadline: Deadline | None = None,
                           host_pid_namespace: int = _INITIAL_PID_NAMESPACE) -> None:
    """Raise unless PID 1 has this process's mounts and root, or sees the same file at the path.

    :param host_pid_namespace: inode number of the host's pid namespace
    :raises NotOnNovaLink: it sees another file or none, cannot be looked at, or is not the host's
    :raises MountNotResponding: its mount does not answer
    """
    if not os.path.exists(conf.LPARCFG):
        return      # NovaLink is a simulator
    if os.stat('/proc/self/ns/pid').st_ino != host_pid_namespace:
        raise exceptions.NotOnNovaLink(
            reason="this process runs in a pid namespace of its own, so that PID 1 is not the "
                   "host's, and whether NovaLink sees the same files cannot be checked",
            remedy=_REMEDY, path=file.path)
    has_its_mounts = _has_mounts_of_pid_1()
    if has_its_mounts:
        return
    mount_point = file.mount.mount_point
    answer = prober.probe(probe.FileProbe(
        f'/proc/1/root{mount_point}', file.mount.below(file.path) or ''), deadline)
    facts = answer.facts
    if facts is not None and (facts.dev, facts.ino) == file.identity:
        return
    if answer.is_hung or answer.failure:
        failures.raise_for(answer, failures.ErrorContext(
            file.path, file.mount, {'path': file.path, 'mount_point': mount_point}))
    if facts is not None:
        why = f'the host has another file at {file.path}'
    elif answer.errno is not None:
        why = (f'{file.path} could not be found as the host sees it: '
               f'{failures.text_of(answer.errno, answer)}')
    else:
        why = f'{file.path} is not on a mount as the host sees it'
    what = ('whether this process has the mounts of PID 1, as NovaLink has, cannot be looked at'
            if facts is None and has_its_mounts is None
            else 'this process has not the mounts of PID 1, as NovaLink has')
    raise exceptions.NotOnNovaLink(
        reason=f'{what}, and {why}',
        remedy=_REMEDY, path=file.path, mount_point=mount_point)


def _has_mounts_of_pid_1() -> bool | None:
    """Whether this process sees what PID 1 sees; None: only root may look."""
    try:
        return all(os.path.samestat(os.stat(f'/proc/1/{what}'),
                                    os.stat(f'/proc/thread-self/{what}'))
                   for what in ('ns/mnt', 'root'))
    except OSError:
        return None
