# SPDX-License-Identifier: Apache-2.0
"""The options: one definition, read once."""

import dataclasses

from oslo_config import cfg

from powervm_fileio_connector import conf


def test_settings_have_one_field_for_each_option():
    assert [field.name for field in dataclasses.fields(conf.Settings)] == [
        opt.dest for opt in conf.OPTS]


def test_defaults_of_settings_are_those_of_the_options():
    assert conf.read(cfg.ConfigOpts()) == conf.Settings()


def test_reading_twice_is_safe_and_sees_what_was_set():
    config = cfg.ConfigOpts()
    conf.read(config)
    config.set_override('probe_timeout_s', 2.5, group=conf.GROUP)
    config.set_override('mount_point_base', ['/mnt'], group=conf.GROUP)
    settings = conf.read(config)
    assert (settings.probe_timeout_s, settings.mount_point_base) == (2.5, ('/mnt',))


def test_the_password_is_not_shown():
    settings = dataclasses.replace(conf.Settings(), novalink_password='SECRET')
    assert 'SECRET' not in repr(settings)
    assert next(opt for opt in conf.OPTS if opt.name == 'novalink_password').secret


def test_the_options_are_offered_to_the_sample_generator():
    assert conf.list_opts() == [('powervm_fileio', conf.OPTS)]


def test_more_mappings_per_bus_than_a_linux_client_scans_count_as_32(caplog):
    config = cfg.ConfigOpts()
    conf.read(config)
    config.set_override('max_mappings_per_bus', 64, group=conf.GROUP)
    assert conf.read(config).max_mappings_per_bus == 32
    assert 'max_mappings_per_bus = 64 counts as 32' in caplog.text


def test_a_process_is_warned_once_of_each_value_of_more_mappings_per_bus(caplog):
    for value in 101, 101, 102, 101:
        config = cfg.ConfigOpts()
        conf.read(config)
        config.set_override('max_mappings_per_bus', value, group=conf.GROUP)
        assert conf.read(config).max_mappings_per_bus == 32
    assert [record.args[0] for record in caplog.records] == [101, 102]


def test_as_many_mappings_per_bus_as_a_linux_client_scans_are_taken_without_a_warning(caplog):
    config = cfg.ConfigOpts()
    conf.read(config)
    config.set_override('max_mappings_per_bus', 32, group=conf.GROUP)
    assert conf.read(config).max_mappings_per_bus == 32
    assert not caplog.text
