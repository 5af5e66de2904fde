# SPDX-License-Identifier: Apache-2.0
"""A process that eventlet has patched: green threads and native ones attach and detach at once.

It prints a line of JSON for each call: how long it took, and its error.
"""

import eventlet

eventlet.monkey_patch()

import contextlib  # noqa: E402
import json  # noqa: E402
import logging  # noqa: E402
import os  # noqa: E402
import socket  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402

from eventlet import tpool  # noqa: E402
from oslo_config import cfg  # noqa: E402
from pypowervm import adapter as pvm_adapter  # noqa: E402

import powervm_fileio_connector as pfc  # noqa: E402
from powervm_fileio_connector import conf  # noqa: E402
from powervm_fileio_connector import exceptions  # noqa: E402


def main(port, lpar_uuid, directory, deadline_s, calls):
    logging.disable(logging.CRITICAL)
    config = cfg.ConfigOpts()
    conf.read(config)
    config.set_override('rest_timeout_s', deadline_s, group=conf.GROUP)
    adapter = pvm_adapter.Adapter(pvm_adapter.Session(
        host='localhost', port=port, protocol='http', username='admin', password='any'))
    connector = pfc.FileIOConnector('sudo', adapter=adapter, conf=config, lpar_uuid=lpar_uuid)
    # The first half by green threads, the other half by native ones.
    green = [eventlet.spawn(call, connector, f'{directory}/{i}') for i in range(calls // 2)]
    native = [eventlet.spawn(tpool.execute, call, connector, f'{directory}/{i}')
              for i in range(calls // 2, calls)]
    results = [one.wait() for one in green + native]
    end = time.monotonic() + 5
    while connections(port) and time.monotonic() < end:
        eventlet.sleep(0.05)
    print(json.dumps({'calls': results, 'left_open': connections(port)}), flush=True)


def call(connector, path):
    """Attach and detach a volume."""
    start = time.monotonic()
    error = None
    try:
        info = connector.connect_volume({'path': path})
        connector.disconnect_volume({'path': path}, info)
    except exceptions.FileIOConnectorError as err:
        error = type(err).__name__
    return {'seconds': time.monotonic() - start, 'error': error}


def connections(port):
    """How many connections to the server this process has open."""
    count = 0
    for name in os.listdir('/proc/self/fd'):
        with (contextlib.suppress(OSError, IndexError),
              socket.socket(fileno=os.dup(int(name))) as sock):
            count += sock.getpeername()[1] == port
    return count


if __name__ == '__main__':
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4]), int(sys.argv[5]))
