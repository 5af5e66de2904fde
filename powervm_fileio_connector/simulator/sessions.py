# SPDX-License-Identifier: Apache-2.0
"""Logon with a password or with a file, and the tokens it gives."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
import threading

from .elements import parse
from .http_messages import Answer
from .http_messages import Request
from .rules import Refused
from .schema import WEB

_ESTABLISHED = '01'
_W = f'{{{WEB}}}'


class Sessions:
    """The valid tokens; those of file logons lie in files.

    Only the user whose process logs on can read the file, also where root runs the simulator.
    """

    def __init__(self, password: str | None = None) -> None:
        """:param password: what a password logon needs; None: any will do"""
        self._password = password
        self._lock = threading.Lock()
        self._tokens: dict[str, str | None] = {}
        self._directory: str | None = None

    def logon(self, request: Request) -> Answer:
        """Answer a LogonRequest.

        :raises Refused: kind unauthorized (wrong password) or invalid
        """
        root = parse(request.body)
        user = root.findtext(f'{_W}UserID')
        password = root.findtext(f'{_W}Password')
        if root.tag != f'{_W}LogonRequest' or not user:
            raise Refused('logon', 'Expected a LogonRequest with a UserID.')
        token = secrets.token_urlsafe(48)
        if password is None:
            path = self._write(token, request.port)
            given = f'<X-API-SessionFile kb="ROR" kxe="false">{path}</X-API-SessionFile>'
        elif self._password not in (None, password):
            raise Refused('logon', f'The password of user {user} is wrong.', 'unauthorized')
        else:
            path = None
            given = f'<X-API-Session kb="ROR" kxe="false">{token}</X-API-Session>'
        with self._lock:
            self._tokens[token] = path
        response = ('<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
                    f'<LogonResponse xmlns="{WEB}" schemaVersion="V1_1_0"><Metadata><Atom/>'
                    f'</Metadata>{given}</LogonResponse>').encode()
        return Answer(200, response, {
            'Content-Type': 'application/vnd.ibm.powervm.web+xml; type=LogonResponse',
            # By this pypowervm tells NovaLink from an HMC.
            'X-MC-Type': 'PVM'})

    def _write(self, token: str, client_port: int) -> str:
        with self._lock:
            if self._directory is None:
                self._directory = tempfile.mkdtemp(prefix='novalink-simulator-')
                if os.geteuid() == 0:
                    os.chmod(self._directory, 0o711)  # noqa: S103 - others cannot list it
            path = os.path.join(self._directory, secrets.token_hex(8))
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), 'w') as out:
            out.write(token)
            if os.geteuid() == 0:
                os.fchown(out.fileno(), _user_of(client_port), -1)
        return path

    def is_valid(self, token: str | None) -> bool:
        """True if the token was given and not taken back."""
        with self._lock:
            return token in self._tokens

    def logoff(self, token: str | None) -> Answer:
        """Take a token back."""
        with self._lock:
            path = self._tokens.pop(token or '', None)
        if path:
            os.unlink(path)
        return Answer(204)

    def count(self) -> int:
        """How many tokens are valid."""
        with self._lock:
            return len(self._tokens)

    def expire_all(self) -> None:
        """Make every token invalid."""
        with self._lock:
            paths = [path for path in self._tokens.values() if path]
            self._tokens.clear()
        for path in paths:
            os.unlink(path)

    def close(self) -> None:
        """Remove the token files."""
        with self._lock:
            self._tokens.clear()
            directory, self._directory = self._directory, None
        if directory:
            shutil.rmtree(directory, ignore_errors=True)


def _user_of(port: int) -> int:
    """The user id of the process that is connected from a port of loopback; our own if unknown."""
    for table in ('/proc/net/tcp', '/proc/net/tcp6'):
        with contextlib.suppress(OSError), open(table) as lines:  # a kernel may have no IPv6
            for line in lines:
                parts = line.split()
                if parts[1].endswith(f':{port:04X}') and parts[3] == _ESTABLISHED:
                    return int(parts[7])
    return os.geteuid()
