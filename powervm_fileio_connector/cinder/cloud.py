# SPDX-License-Identifier: Apache-2.0
"""A cloud as clouds.yaml and ``OS_*`` describe it: logging on, deadlines, errors."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any
from typing import TypeVar

from oslo_utils import strutils

from powervm_fileio_connector.cinder import errors
from powervm_fileio_connector.deadline import Deadline

_T = TypeVar('_T')

_NEEDS = '3.44'
"""The microversion since which attachments are completed: Cinder 12, of the release Queens."""


class Cloud:
    """The block storage of one cloud, asked within one deadline.

    :param name: a cloud of clouds.yaml; None is the one that ``OS_*`` describe
    :param timeout_s: for all requests together, a quarter of which is kept for taking back what a
        command that fails has done
    """

    def __init__(self, name: str | None, timeout_s: float) -> None:
        self.name = name or 'described by the environment'
        self._cloud = name
        self._deadline = Deadline(timeout_s)
        self._kept_s = timeout_s / 4
        self._connection: Any = None
        # They log answers as they are, in which passwords of shares may be.
        for logger in ('keystoneauth', 'openstack'):
            logging.getLogger(logger).setLevel(logging.WARNING)

    @property
    def project_id(self) -> str | None:
        """The project that the credentials are for; known once something was asked."""
        return self._connection.current_project_id

    @property
    def address(self) -> str | None:
        """Cinder's address; known once something was asked."""
        return self._connection.block_storage.get_endpoint()

    def ask(self, doing: str, question: Callable[[Any], _T], *, is_undo: bool = False) -> _T:
        """Return the answer to a question that is put to the block storage proxy of openstacksdk.

        :param doing: to follow "Cannot" in errors
        :param question: is called with the proxy, in another thread; it is left behind if it does
            not return in time
        :param is_undo: may use the time that is kept for taking back
        :raises CinderError: there is no answer, or it is an error
        """
        left = self._deadline.left() - (0 if is_undo else self._kept_s)
        outcome: dict[str, Any] = {}

        def run() -> None:
            try:
                outcome['answer'] = question(self._proxy(left))
            except BaseException as err:  # noqa: BLE001 - raised again by the caller's thread
                outcome['error'] = err

        thread = threading.Thread(target=run, name='cinder', daemon=True)
        if left > 0:
            thread.start()
            thread.join(left)
        if not outcome:
            raise errors.CinderUnavailable(
                f'Cannot {doing}: cloud {self.name} did not answer within '
                f'{self._deadline.seconds:g} s. Repeat the command; --timeout gives it more time.')
        if 'error' in outcome:
            raise self._translated(doing, outcome['error']) from outcome['error']
        return outcome['answer']

    def _proxy(self, left: float) -> Any:
        import openstack
        from openstack import utils

        if self._connection is None:
            try:
                connection = openstack.connect(cloud=self._cloud, app_name='powervm-fileio')
            except Exception as err:
                # openstacksdk has no class of its own for each thing that may be missing.
                raise errors.CloudNotUsable(
                    f'Cloud {self.name} cannot be used: {_one_line(err)}. Name a cloud of '
                    'clouds.yaml with --os-cloud, or set OS_CLOUD, or OS_AUTH_URL and its '
                    'companions.') from err
            connection.session.timeout = left
            if not utils.supports_microversion(connection.block_storage, _NEEDS):
                raise errors.CinderRefused(
                    f'Cannot use cloud {self.name}: its Cinder does not have microversion '
                    f'{_NEEDS}, with which attachments are completed. It needs Cinder 12 (Queens) '
                    'or later.')
            self._connection = connection
        self._connection.session.timeout = left
        return self._connection.block_storage

    def _translated(self, doing: str, err: BaseException) -> BaseException:
        """The error that an operator can act on."""
        from keystoneauth1 import exceptions as ksa
        from openstack import exceptions as sdk

        if isinstance(err, errors.CinderError) or not isinstance(err, Exception):
            return err
        where = f'cloud {self.name}'
        if isinstance(err, ksa.Unauthorized) or _status(err) == 401:
            return errors.LogonRefused(
                f'Cannot {doing}: Keystone of {where} refuses the credentials. Check the user, '
                'password and project of the cloud.')
        if isinstance(err, ksa.Forbidden) or _status(err) == 403:
            return errors.LogonRefused(f'Cannot {doing}: Cinder of {where} does not allow it to '
                                       f'these credentials ({_one_line(err)}).')
        if isinstance(err, ksa.CatalogException | sdk.ServiceDiscoveryException
                      | ksa.EndpointNotFound | ksa.DiscoveryFailure):
            return errors.CinderUnavailable(
                f'Cannot {doing}: the catalog of {where} has no address of block storage that '
                'answers. Check region and interface of the cloud.')
        # A password that is missing is an Exception of no class of its own.
        if isinstance(err, ksa.AuthPluginException) or type(err) is Exception:
            return errors.CloudNotUsable(f'Cannot {doing}: {where} cannot be used: '
                                         f'{_one_line(err)}.')
        if isinstance(err, ksa.ConnectionError):
            return errors.CinderUnavailable(
                f'Cannot {doing}: {where} cannot be reached ({type(err).__name__}). Check the '
                'network and the addresses of the cloud, then repeat the command.')
        if _status(err) == 404:
            return errors.ResourceGone(f'Cannot {doing}: {_one_line(err)}')
        if _status(err) in (400, 409, 413):
            return errors.CinderRefused(f'Cannot {doing}: Cinder refuses it: {_one_line(err)}')
        if isinstance(err, sdk.SDKException | ksa.ClientException):
            return errors.CinderUnavailable(
                f'Cannot {doing}: {where} answers with an error: {_one_line(err)} Its log says '
                'more; repeat the command once it is mended.')
        return err


def _status(err: BaseException) -> int | None:
    return getattr(err, 'status_code', None) or getattr(err, 'http_status', None)


def _one_line(err: BaseException) -> str:
    """The text of an error, without passwords and line breaks."""
    text = getattr(err, 'details', None) or str(err) or type(err).__name__
    return ' '.join(strutils.mask_password(str(text)).split())
