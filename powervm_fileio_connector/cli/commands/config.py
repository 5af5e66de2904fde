# SPDX-License-Identifier: Apache-2.0
"""``powervm-fileio config``: the options in force."""

from __future__ import annotations

import argparse
from typing import Any

from powervm_fileio_connector.cli import options
from powervm_fileio_connector.cli import output


class Config(output.Table):
    """Show the options in force, and where each was set.

    They are those of the section [powervm_fileio]. Secrets are masked. Nothing is asked of
    NovaLink.
    """

    example = 'powervm-fileio config --config-file /etc/nova/nova.conf'

    def take_action(self, parsed_args: argparse.Namespace) -> output.Output:
        from powervm_fileio_connector import conf

        config = options.config(parsed_args)
        settings = conf.read(config)
        return ('option', 'value', 'set_by'), [
            (option.dest, _shown(option, getattr(settings, option.dest)),
             _set_by(config, option.dest))
            for option in conf.OPTS]


def _shown(option: Any, value: Any) -> Any:
    if value is None:
        return None
    if option.secret:
        return '***'
    return ','.join(value) if isinstance(value, tuple) else value


def _set_by(config: Any, name: str) -> str:
    """What set an option, in words."""
    from powervm_fileio_connector import conf

    where = config.get_location(name, conf.GROUP)
    if where is None or where.location.name in ('opt_default', 'set_default'):
        return 'default'
    if where.location.name == 'set_override':
        return '--timeout' if name == 'rest_timeout_s' else '--simulator'
    if where.location.name == 'user':
        return options.file_that_sets(config, name, conf.GROUP) or str(where.detail)
    return where.detail
