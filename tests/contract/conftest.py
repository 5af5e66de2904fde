# SPDX-License-Identifier: Apache-2.0
"""Our connector, through real pypowervm over real HTTP, against the simulator."""

import pytest
from oslo_config import cfg

import powervm_fileio_connector as pfc
from powervm_fileio_connector import conf


@pytest.fixture
def config():
    """Options of this test alone, with deadlines that end a test that goes wrong."""
    config = cfg.ConfigOpts()
    conf.read(config)
    config.set_override('rest_timeout_s', 30.0, group=conf.GROUP)
    config.set_override('probe_timeout_s', 5.0, group=conf.GROUP)
    return config


@pytest.fixture
def connector(novalink, config):
    return pfc.FileIOConnector('sudo', adapter=novalink.adapter(), conf=config,
                               lpar_uuid=novalink.lpars[0].uuid)
