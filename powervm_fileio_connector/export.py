# SPDX-License-Identifier: Apache-2.0
"""An export, which is what a file server shares: one spelling, one hash, no password shown."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import ipaddress
import re

# A bare IPv6 address before the path, which some drivers send without brackets.
_BARE_IPV6 = re.compile(r'[0-9a-fA-F]*(?::[0-9a-fA-F]*){2,}:/[^:]*')


def md5(export: str) -> str:
    """Return the name of the directory at which Nova and Cinder mount an export, below a base."""
    return hashlib.md5(export.encode('utf-8', 'surrogateescape'),
                       usedforsecurity=False).hexdigest()


@functools.lru_cache(maxsize=1024)
def normal(export: str) -> str:
    """Return an export, or the source of a mount, so that its spellings become equal.

    Slashes (trailing, doubled), the brackets and the spelling of an IPv6 address and the case of a
    host name make no difference.
    """
    host, separator, path = export.partition(':/')
    if not separator or '/' in host:
        return _single_slashes(export)
    host = host.removeprefix('[').removesuffix(']').lower()
    with contextlib.suppress(ValueError):       # a name
        host = str(ipaddress.ip_address(host))
    return f'{host}:{_single_slashes("/" + path)}'


def redact(export: str) -> str:
    """Return an export without the password that it may carry.

    Virtuozzo's are ``[mds1,mds2:/]cluster:PASSWORD``, as os-brick's remotefs client takes them
    apart; SMB's may be ``//user:PASSWORD@host/share``. An NFS export of the first shape loses its
    tail too: rather too little shown than too much.
    """
    virtuozzo = re.fullmatch(r'((?:.*?:/)?[A-Za-z0-9_-]+:)(?!/).+', export, re.DOTALL)
    if virtuozzo and not _BARE_IPV6.fullmatch(export):
        return virtuozzo[1] + '***'
    return re.sub('//[^/]*@', '//***@', export)


def _single_slashes(path: str) -> str:
    return re.sub('/{2,}', '/', path).rstrip('/') or '/'
