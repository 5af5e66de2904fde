# SPDX-License-Identifier: Apache-2.0
"""What a machine with an NFS server or a GPFS cluster has, as far as Cinder's drivers call it."""

import pathlib

EXPORTS = '/var/lib/exports'

# One tmpfs for each export, shown wherever the export is mounted.
_MOUNT_NFS = f"""#!/bin/sh
set -e
export=$1 place=$2
home={EXPORTS}/$(printf %s "$export" | md5sum | cut -d' ' -f1)
mkdir -p "$home"
mountpoint -q "$home" || mount -i -t tmpfs -o size=64g "$export" "$home"
mount --bind "$home" "$place"
"""

# Copies are sparse, not clones; each file names itself as no clone's child.
_GPFS = {
    'mmgetstate': 'echo "mmgetstate::HEADER:version:reserved:reserved:nodeName:state:"\n'
                  'echo "mmgetstate::0:1:::node:active:"',
    'mmlsconfig': 'echo "mmlsconfig::HEADER:version:reserved:reserved:configParameter:value:"\n'
                  '[ "$1" = clusterId ] && v=42 || v=1600\n'
                  'echo "mmlsconfig::0:1:::$1:$v:"',
    'mmlsfs': 'echo "mmlsfs::HEADER:version:reserved:reserved:deviceName:fieldName:data:remarks:"\n'
              'case "$*" in *encryption*) v=No ;; *) v="16.00 (4.2.3.0)" ;; esac\n'
              'echo "mmlsfs::0:1:::gpfs0:field:$v:::"',
    'mmlsattr': 'echo "file name: $2"\necho "fileset name:         root"',
    'mmlspool': 'echo system',
    'mmchattr': ':',
    'mmclone': 'case $1 in\n'
               'snap) if [ -n "$3" ]; then cp --sparse=always "$2" "$3"; fi ;;\n'
               'copy) cp --sparse=always "$2" "$3" ;;\n'
               'show) printf "Parent  Depth   Parent inode   File name\\n'
               '------  -----  --------------  ---------\\n'
               '    no      0                  %s\\n" "$2" ;;\n'
               'esac',
}


def write(directory):
    """Write them below a directory that is laid over ``/usr``."""
    programs = {f'lpp/mmfs/bin/{name}': f'#!/bin/sh\n{text}\n' for name, text in _GPFS.items()}
    programs |= {'sbin/mount.nfs': _MOUNT_NFS, 'bin/sudo': '#!/bin/sh\nexec "$@"\n'}
    for name, text in programs.items():
        path = pathlib.Path(directory, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
