# SPDX-License-Identifier: Apache-2.0
"""Our connector, through real pypowervm over real HTTP, against the simulator."""

import posix

import pytest
from oslo_config import cfg

import powervm_fileio_connector as pfc
from powervm_fileio_connector import conf
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.novalink import client_for


def deadline(seconds=20):
    return Deadline(seconds)


def client_of(adapter):
    """The client of a session that was given."""
    return client_for(conf.Settings(rest_timeout_s=20.0), adapter)


def committer_for(adapter, vios_uuid):
    return client_of(adapter).committer(vios_uuid)


def end_fork(status):
    """End a forked child of the tests' own process.

    Not by os._exit, which coverage replaces: it would save there all that the tests have measured.
    """
    posix._exit(status)


def make_connector(novalink, config):
    """Return a connector of the first LPAR, over a session of its own."""
    return pfc.FileIOConnector('sudo', adapter=novalink.adapter(), conf=config,
                               lpar_uuid=novalink.lpars[0].uuid)


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
    return make_connector(novalink, config)


@pytest.fixture
def vios(novalink):
    """A committer over a session of its own."""
    return committer_for(novalink.adapter(), novalink.vios_uuid)


@pytest.fixture
def lpar(novalink):
    return novalink.lpars[0].uuid
