# SPDX-License-Identifier: Apache-2.0
"""What Cinder's drivers emit and what the layers above them make of it, as makers of dictionaries.

The keys are those that Cinder 29.0.0's drivers, Cinder's manager and Nova 34.0.0 were seen to send.
"""

import copy

VOLUME_ID = '0b4afe28-be21-4bf7-9e10-b4ac9c790621'
NAME = f'volume-{VOLUME_ID}'

#: driver -> (driver_volume_type, data, keys beside data)
DRIVERS = {
    'nfs': ('nfs', {'export': '192.0.2.10:/exports/cinder', 'name': NAME, 'options': None,
                    'format': 'raw'}, {'mount_point_base': '/var/lib/cinder/mnt'}),
    'nfs-ipv6': ('nfs', {'export': '[fd00::1]:/vol', 'name': NAME, 'options': None,
                         'format': 'raw'}, {'mount_point_base': '/var/lib/cinder/mnt'}),
    'nfs-slash': ('nfs', {'export': '192.0.2.14:/exports/cinder/', 'name': NAME, 'options': '',
                          'format': 'raw'}, {'mount_point_base': None}),
    'nfs-qcow2': ('nfs', {'export': '192.0.2.30:/exports/qcow2', 'name': NAME,
                          'options': '-o vers=4', 'format': 'qcow2'},
                  {'mount_point_base': '/var/lib/cinder/mnt'}),
    'nfs-snapshot': ('nfs', {'export': '192.0.2.31:/exports/snap', 'name': f'{NAME}.dd14bbe6',
                             'options': None, 'format': 'qcow2'},
                     {'mount_point_base': '/var/lib/cinder/mnt'}),
    'powerstore': ('nfs', {'export': '192.0.2.70:/PS_FS1', 'name': NAME, 'options': None,
                           'format': 'raw'}, {'mount_point_base': '/var/lib/cinder/mnt'}),
    'netapp': ('nfs', {'export': '192.0.2.74:/cinder_vol1', 'name': NAME, 'options': None,
                       'format': 'raw'}, {'mount_point_base': '/var/lib/cinder/mnt'}),
    'veritas': ('nfs', {'export': '192.0.2.75:/vx/cnfs', 'name': NAME, 'options': None,
                        'format': 'raw'}, {'mount_point_base': '/var/lib/cinder/mnt'}),
    'vmstore': ('nfs', {'export': '192.0.2.73:/tintri/cinder', 'name': NAME, 'format': 'raw',
                        'options': '-o vers=3,lookupcache=pos,nolock,noacl', 'encrypted': False},
                {'mount_point_base': '/var/lib/cinder/mnt'}),
    'nexenta5': ('nfs', {'export': f'192.0.2.72:/pool1/cinder/{NAME}', 'name': 'volume'},
                 {'mount_point_base': '/var/lib/cinder/mnt'}),
    'nexenta': ('nfs', {'export': f'192.0.2.71:/volumes/vol0/{NAME}', 'name': 'volume'}, {}),
    'quobyte': ('quobyte', {'export': 'reg1.example.com/openstack', 'name': NAME, 'options': None,
                            'format': 'raw'}, {'mount_point_base': '/var/lib/cinder/qmnt'}),
    'vzstorage': ('vzstorage', {'export': 'cluster1', 'name': NAME, 'format': 'iso'},
                  {'mount_point_base': '/var/lib/cinder/vzmnt'}),
    'gpfs': ('gpfs', {'name': NAME, 'device_path': f'/gpfs/fs1/cinder/{NAME}'}, {}),
    'gpfs-group': ('gpfs', {'name': NAME,
                            'device_path': f'/gpfs/fs1/cinder/consisgroup-1/{NAME}'}, {}),
    'gpfs-nfs': ('gpfs', {'name': NAME, 'device_path':
                          f'/var/lib/cinder/mnt/e0e43d0b8590fb839651b2b99cecc9d0/{NAME}'}, {}),
    'dsware': ('local', {'device_path': '/dev/disk/by-id/wwn-0x68886030000001a1b2c3d4e5f6071829'},
               {}),
    'linstor': ('local', {'device_path': '/dev/drbd1000'}, {}),
}

_MANAGER = {'qos_specs': None, 'access_mode': 'rw', 'encrypted': False, 'cacheable': False,
            'enforce_multipath': False}


def driver(kind, **data):
    """The bare return of a driver's ``initialize_connection``."""
    volume_type, base, beside = copy.deepcopy(DRIVERS[kind])
    return {'driver_volume_type': volume_type, 'data': base | data, **beside}


def cinder_legacy(kind, **data):
    info = driver(kind, **data)
    info['data'] = _MANAGER | info['data']
    return info


def cinder_attachment(kind, **data):
    info = cinder_legacy(kind, **data)
    flat = info.pop('data')
    return flat | info | {'attachment_id': '5dc9ba0b-d2b7-42d6-8eb6-72bb6aae7cfc'}


def nova_legacy(kind, **data):
    return cinder_legacy(kind, **data) | {'serial': VOLUME_ID, 'connector': {'host': 'neo-1'}}


def nova_attachment(kind, **data):
    flat = cinder_attachment(kind, **data)
    del flat['attachment_id']
    return {'driver_volume_type': flat.pop('driver_volume_type'), 'data': flat,
            'status': 'reserved', 'instance': 'b9baff1d-ad5d-4739-8cd3-47ecf9230085',
            'attached_at': '', 'detached_at': '', 'volume_id': VOLUME_ID, 'serial': VOLUME_ID}


def data_only(kind, **data):
    return cinder_legacy(kind, **data)['data']


LAYERS = {layer.__name__: layer for layer in (
    driver, cinder_legacy, cinder_attachment, nova_legacy, nova_attachment)}
