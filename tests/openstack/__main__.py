# SPDX-License-Identifier: Apache-2.0
"""Run these tests in namespaces of their own: ``python -m tests.openstack [pytest's arguments]``.

The packages are fetched first, since there is no network in there but loopback. Whatever a test
starts ends with the namespace of processes, also when pytest is killed.
"""

import importlib.util
import os
import subprocess
import sys

from tests.openstack import packages

IN_NAMESPACES = 'POWERVM_FILEIO_OPENSTACK'
WHY_NOT = 'POWERVM_FILEIO_NO_OPENSTACK'
_UNSHARE = ('unshare', '--mount', '--net', '--pid', '--mount-proc', '--fork', '--kill-child', '--')


def main(arguments):
    pytest = [sys.executable, '-m', 'pytest', *arguments]
    try:
        tree = _tree()
    except packages.NotAvailable as err:
        print(f'SKIPPED, no real Cinder: {err}', file=sys.stderr)
        os.execve(pytest[0], pytest, {**os.environ, WHY_NOT: str(err)})
    os.execvpe(_UNSHARE[0], [*_UNSHARE, *pytest], {**os.environ, IN_NAMESPACES: str(tree)})


def _tree():
    """Return what is laid over ``/usr``.

    :raises packages.NotAvailable: Cinder, a package or a right is missing
    """
    if importlib.util.find_spec('cinder') is None:
        raise packages.NotAvailable('Cinder is not installed')
    tree = packages.get()
    trial = subprocess.run(
        [*_UNSHARE, 'sh', '-c', 'mount --make-rprivate / && mount -t overlay -o '
         'lowerdir="$1":/usr overlay /usr', 'sh', str(tree)],
        capture_output=True, text=True, timeout=60, check=False)
    if trial.returncode:
        raise packages.NotAvailable(f'no namespaces or overlays here: {trial.stderr.strip()}')
    return tree


if __name__ == '__main__':
    main(sys.argv[1:])
