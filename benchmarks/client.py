# SPDX-License-Identifier: Apache-2.0
"""A client process: one contender, told what to do over a pipe, one JSON value a line."""

from __future__ import annotations

import importlib
import json
import logging
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import contenders


class Client:
    """Our end of the pipe. Its session is open when it has been made."""

    def __init__(self, contender: str, port: int, vios_uuid: str, lock_path: str,
                 prefix: Sequence[str] = ()) -> None:
        self._process = subprocess.Popen(
            [*prefix, sys.executable, '-m', 'benchmarks.client', contender, str(port), vios_uuid,
             lock_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            cwd=Path(__file__).parents[1], env={**os.environ, 'PYTHONWARNINGS': 'ignore'})
        self.receive()

    def ask(self, act: Callable[..., Any], /, **arguments: Any) -> Any:
        """Have it call a function with its contender and these arguments; wait for the answer."""
        self.send(act, **arguments)
        return self.receive()

    def send(self, act: Callable[..., Any], /, **arguments: Any) -> None:
        """Have it begin."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps([act.__module__, act.__qualname__, arguments]) + '\n')
        self._process.stdin.flush()

    def receive(self) -> Any:
        """Wait for the answer.

        :raises RuntimeError: it failed, or is gone
        """
        assert self._process.stdout
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {'error': 'the client process ended'}
        if 'error' in answer:
            raise RuntimeError(answer['error'])
        return answer['result']

    def close(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe
            pipe.close()
        self._process.wait()


def attach(contender: Any, volume: contenders.Volume) -> None:
    contender.attach(volume)


def detach(contender: Any, volume: contenders.Volume) -> None:
    contender.detach(volume)


def open_new_session(contender: Any) -> None:
    """Make it begin anew."""
    contender.__init__(contenders.open_adapter(contender.port), contender.vios_uuid)


def main(name: str, port: str, vios_uuid: str, lock_path: str) -> None:
    from oslo_concurrency import lockutils
    # Warnings of retries would cost processor time for nobody to read.
    logging.getLogger().addHandler(logging.NullHandler())
    lockutils.set_defaults(lock_path)
    contender = contenders.KNOWN[name](contenders.open_adapter(int(port)), vios_uuid)
    contender.port, contender.vios_uuid = int(port), vios_uuid
    say(result=None)
    for line in sys.stdin:
        module, act, arguments = json.loads(line)
        try:
            say(result=getattr(importlib.import_module(module), act)(contender, **arguments))
        except Exception:  # noqa: BLE001 - the process that asked is told
            say(error=traceback.format_exc())


def say(**answer: Any) -> None:
    sys.stdout.write(json.dumps(answer) + '\n')
    sys.stdout.flush()


if __name__ == '__main__':
    main(*sys.argv[1:])
