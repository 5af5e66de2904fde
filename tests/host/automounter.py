# SPDX-License-Identifier: Apache-2.0
"""A small automount daemon: ``automounter.py PLACE direct|indirect SOURCE BEHAVIOUR``.

The behaviour is ``mount``, ``fail-once``, ``hang``, or ``change``: the second mount is another one.

It makes ``PLACE`` an autofs mount, says ``ready``, and mounts tmpfs with that source when asked: on
``PLACE`` itself (direct) or on the directory below it that was asked for. ``volume-1`` is in it.
"""

import fcntl
import os
import platform
import struct
import subprocess
import sys
import threading

# AUTOFS_IOC_READY and AUTOFS_IOC_FAIL of linux/auto_fs.h. Requests without data have a bit for that
# on powerpc (_IOC_NONE of asm/ioctl.h), and none elsewhere.
NO_DATA = 0x20000000 if platform.machine().startswith('ppc') else 0
READY, FAIL = NO_DATA | 0x9360, NO_DATA | 0x9361
TOKEN_AT, LENGTH_AT, NAME_AT = 8, 40, 44        # of struct autofs_v5_packet


def main(place, kind, source, behaviour):
    requests, kernels_end = os.pipe()
    subprocess.run(
        ['mount', '-t', 'autofs', 'automounter', place, '-o',
         f'fd={kernels_end},pgrp={os.getpgrp()},minproto=5,maxproto=5,{kind}'],
        check=True, pass_fds=[kernels_end])
    os.close(kernels_end)
    control = os.open(place, os.O_RDONLY)
    print('ready', flush=True)
    while packet := os.read(requests, 4096):
        token, = struct.unpack_from('I', packet, TOKEN_AT)
        length, = struct.unpack_from('I', packet, LENGTH_AT)
        name = packet[NAME_AT:NAME_AT + length].decode()
        if behaviour == 'hang':
            threading.Event().wait()
        if behaviour == 'fail-once':
            behaviour = 'mount'
            fcntl.ioctl(control, FAIL, token)
            continue
        where = place if kind == 'direct' else os.path.join(place, name)
        os.makedirs(where, exist_ok=True)
        subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=1m', source, where], check=True)
        if behaviour == 'change':
            source = 'nas9:/other'
        with open(os.path.join(where, 'volume-1'), 'wb') as volume:
            volume.truncate(4096)
        fcntl.ioctl(control, READY, token)


if __name__ == '__main__':
    main(*sys.argv[1:])
