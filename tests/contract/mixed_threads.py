# SPDX-License-Identifier: Apache-2.0
"""Attach and detach from greenlets and native threads mixed: ``mixed_threads.py`` with JSON.

The JSON names the simulator's ``port``, ``volumes`` (LPAR UUID and path of each) and
``timeout_s``, the deadline of a call. Half of the volumes are handled by greenlets, half by native
threads of ``eventlet.tpool``. What is printed, as JSON too, is how long the longest call took, and
how many calls ended in which error.
"""

import eventlet
import eventlet.tpool

eventlet.monkey_patch()

import collections  # noqa: E402  patched before they are imported
import json  # noqa: E402
import sys  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402

from oslo_config import cfg  # noqa: E402

import powervm_fileio_connector as pfc  # noqa: E402
from powervm_fileio_connector import conf  # noqa: E402

SETTINGS = json.loads(sys.argv[1])
took_s, outcomes = [], collections.Counter()


def options():
    config = cfg.ConfigOpts()
    conf.read(config)
    for name, value in {
            'novalink_port': SETTINGS['port'], 'novalink_protocol': 'http',
            'novalink_username': 'admin', 'novalink_password': 'secret',
            'rest_timeout_s': SETTINGS['timeout_s'], 'probe_timeout_s': 20.0}.items():
        config.set_override(name, value, group=conf.GROUP)
    return config


def timed(function, *args):
    started = time.monotonic()
    try:
        result = function(*args)
        outcomes['done'] += 1
        return result
    except pfc.exceptions.FileIOConnectorError as err:
        outcomes[type(err).__name__] += 1
        return None
    finally:
        took_s.append(time.monotonic() - started)


def live(config, lpar_uuid, path):
    """Attach a volume, again, and detach it, with a connector for each call."""
    def connector():
        return pfc.FileIOConnector('sudo', conf=config, lpar_uuid=lpar_uuid)

    properties = {'path': path}
    for _ in range(2):
        timed(connector().connect_volume, properties)
    timed(connector().disconnect_volume, properties, None)


def main():
    config = options()
    greenlets = [
        eventlet.spawn(eventlet.tpool.execute, live, config, *volume) if number % 2 else
        eventlet.spawn(live, config, *volume)
        for number, volume in enumerate(SETTINGS['volumes'])]
    for greenlet in greenlets:
        greenlet.wait()
    print(json.dumps({'longest_s': max(took_s), 'calls': len(took_s),
                      'threads': threading.active_count(), **outcomes}))


if __name__ == '__main__':
    main()
