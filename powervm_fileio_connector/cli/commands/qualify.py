# SPDX-License-Identifier: Apache-2.0
"""``powervm-fileio qualify``: what this package assumes, tried on this NovaLink."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from powervm_fileio_connector.cli import options
from powervm_fileio_connector.cli import output
from powervm_fileio_connector.cli.errors import ExitCode
from powervm_fileio_connector.cli.errors import UsageError

if TYPE_CHECKING:
    from powervm_fileio_connector.cli.context import CommandContext
    from powervm_fileio_connector.cli.qualification.site import Site

KEYS = ('line', 'verdict', 'statement', 'seen')


class Qualify(output.Table):
    """Try on this NovaLink what this package assumes of it.

    Needs an LPAR that may be used, and a directory on a file system that volumes may lie on. Makes
    small files in a new directory there, attaches them to the LPAR, detaches them, sends changes
    that NovaLink should refuse, and removes all of it again, also after Ctrl-C. Other mappings are
    compared before and after. The report is free of names, UUIDs, serial numbers, addresses and
    paths; "powervm-fileio simulate --recording" can start from it.
    """

    example = 'powervm-fileio qualify --lpar test01 --directory /mnt/vols'

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        options.add_lpar(parser, 'LPAR that may be used', is_required=True)
        parser.add_argument('--directory', metavar='DIR', required=True,
                            help='where to make a directory with small files')
        parser.add_argument('--report', metavar='FILE', help='write the report to a new file')
        parser.add_argument('--yes', action='store_true', help='do not ask')

    def take_action(self, parsed_args: argparse.Namespace) -> output.Output:
        from powervm_fileio_connector.cli import volume_arguments
        from powervm_fileio_connector.cli.context import CommandContext

        host = CommandContext(parsed_args)
        directory = os.path.realpath(volume_arguments.absolute(parsed_args.directory))
        if not os.path.isdir(directory):
            raise UsageError(f'{parsed_args.directory} is no directory.')
        with _new_file(parsed_args.report):
            return self._tried(parsed_args, host, directory)

    def _tried(self, parsed_args: argparse.Namespace, host: CommandContext,
               directory: str) -> output.Output:
        from powervm_fileio_connector.cli import qualification
        from powervm_fileio_connector.cli.qualification.site import Site

        uuid = host.lpar_uuid(parsed_args.lpar).upper()
        lpar = host.client.lpar(uuid, host.deadline())
        site = Site(host.attachments, host.partition, lpar, directory)
        if not parsed_args.yes and not self.agrees(
                f'LPAR {lpar.name} will get and lose small disks for some minutes, and\n'
                f'{site.directory}\nwill be made and removed. Go on?'):
            self.say('Nothing was tried.')
            return KEYS, []
        documents = _documents(site)
        findings, remaining = qualification.qualify(
            site, lambda line, found: self.app.LOG.info('%s: %s', line.key, found.verdict.value))
        verdicts = [found.verdict for _, found in findings]
        self.was_done = ', '.join(f'{verdicts.count(one)} {one.value}'
                                  for one in qualification.Verdict)
        self.say(f'{self.was_done[0].upper()}{self.was_done[1:]}.')
        if qualification.Verdict.DIFFERS in verdicts or remaining:
            self.exit_code = ExitCode.FINDINGS
        if parsed_args.report is not None:
            report = qualification.report_of(findings, site.exchanges, documents, site.directory)
            try:
                with open(parsed_args.report, 'w', encoding='utf-8') as file:
                    json.dump(report, file, indent=1)
            except OSError as err:
                with contextlib.suppress(OSError):
                    os.truncate(parsed_args.report, 0)      # to be removed
                self.say(f'--report {parsed_args.report} cannot be written: {err.strerror}.')
                self.exit_code = ExitCode.UNEXPECTED
        return KEYS, [(line.key, found.verdict.value, line.statement, found.seen)
                         for line, found in findings]


@contextlib.contextmanager
def _new_file(path: str | None) -> Iterator[None]:
    """Make a file before anything else is done; it is removed if it is still empty in the end.

    :raises UsageError: it is there already, or cannot be made
    """
    if path is None:
        yield
        return
    try:
        with open(path, 'x'):
            pass
    except FileExistsError as err:
        raise UsageError(f'{path} is there already.') from err
    except OSError as err:
        raise UsageError(f'--report {path} cannot be written: {err.strerror}.') from err
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            if not os.path.getsize(path):
                os.unlink(path)


def _documents(site: Site) -> list[bytes]:
    """Return what a simulator can start from."""
    from powervm_fileio_connector.cli.qualification.site import GROUP

    return [site.get(path).answer for path in (
        '/rest/api/uom/ManagedSystem', f'/rest/api/uom/VirtualIOServer?group={GROUP}',
        '/rest/api/uom/LogicalPartition')]
