# SPDX-License-Identifier: Apache-2.0
"""An export, which is what a file server shares: one spelling, one hash, no password shown."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import ipaddress
import re

# Ceph's, since Linux 5.17: user, cluster and file system, directory.
_CEPH = re.compile(r'[^@/]*@([^@=/]*)=(/.*)', re.DOTALL)

# As the options of mount.cifs and mount.ceph are called.
_PASSWORD_OPTION = re.compile(r'\b(pass\w*|secret)=[^,;&\s]+', re.IGNORECASE)

# A bare IPv6 address before the path, which some drivers send without brackets.
_BARE_IPV6 = re.compile(r'[0-9a-fA-F]*(?::[0-9a-fA-F]*){2,}:/[^:]*')


def md5(export: str) -> str:
    """Return the name of the directory at which Nova and Cinder mount an export, below a base."""
    return hashlib.md5(export.encode('utf-8', 'surrogateescape'),
                       usedforsecurity=False).hexdigest()


def server_and_directory(source: str) -> tuple[str, str] | None:
    """Return which directory of which server an export, or the source of a mount, names.

    None where it has none of the forms that say so. The case of a server's name, and of an SMB
    share's, slashes that are doubled or trail, and the spelling of an IPv6 address, brackets
    included, make no difference.
    """
    if source.startswith('//'):
        host, _, share = source.lstrip('/').partition('/')
        host = _host(host.rpartition('@')[2])
        # The name of a share has no case; what lies in it may have.
        name, separator, below = single_slashes(f'/{share}').lstrip('/').partition('/')
        return (f'//{host}', f'/{name.lower()}{separator}{below}') if host and name else None
    ceph = _CEPH.fullmatch(source) if '=/' in source else None
    if ceph:
        return ceph[1], single_slashes(ceph[2])
    host, separator, path = source.partition(':/')
    if not separator or not host or '/' in host:
        return None
    return _host(host), single_slashes(f'/{path}')


def are_same(one: str, other: str) -> bool:
    """Whether two spellings are those of one export; see :func:`server_and_directory`."""
    location = server_and_directory(one)
    if location is None:
        return single_slashes(one) == single_slashes(other)
    return location == server_and_directory(other)


def names_nothing(export: str) -> bool:
    """Whether an export is empty, or has a scheme or slashes only; ``host:/`` is one."""
    host, separator, path = export.partition(':')
    if not separator:
        return not export.strip('/')
    return not path.strip('/') and (path != '/' or not host)


def single_slashes(path: str) -> str:
    """Return a path without slashes that are doubled or trail."""
    if '//' in path:
        path = re.sub('/{2,}', '/', path)
    return path.rstrip('/') or '/'


def redact(export: str) -> str:
    """Return an export without the password that it may carry.

    Virtuozzo's are ``[mds1,mds2:/]cluster:PASSWORD``, as os-brick's remotefs client takes them
    apart; SMB's may be ``//user:PASSWORD@host/share``, and in any a mount option may have been put.
    An NFS export of the first shape loses its tail too: rather too little shown than too much.
    """
    export = _PASSWORD_OPTION.sub(r'\1=***', export)
    virtuozzo = re.fullmatch(r'((?:.*?:/)?[A-Za-z0-9_-]+:)(?!/).+', export, re.DOTALL)
    if virtuozzo and not _BARE_IPV6.fullmatch(export):
        return virtuozzo[1] + '***'
    return re.sub('//[^/]*@', '//***@', export)


@functools.lru_cache(maxsize=1024)
def _host(name: str) -> str:
    name = name.removeprefix('[').removesuffix(']').lower()
    with contextlib.suppress(ValueError):       # a name
        return str(ipaddress.ip_address(name))
    return name
