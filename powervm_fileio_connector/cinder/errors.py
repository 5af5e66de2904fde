# SPDX-License-Identifier: Apache-2.0
"""What goes wrong between an operator and Cinder, and what to do about it.

Each text is one sentence on what was seen, followed by what to do; none holds a password, a token
or a connection_info.
"""

from __future__ import annotations


class CinderError(Exception):
    """Base of all errors of this package."""


class CloudNotUsable(CinderError):
    """The cloud is not configured, or its configuration lacks something; nothing was asked."""


class LogonRefused(CinderError):
    """Keystone refuses the credentials, or they give no access to Cinder."""


class CinderUnavailable(CinderError):
    """Keystone or Cinder cannot be reached, has no address, or does not answer in time.

    A change may or may not have been made; repeating the command finds out.
    """


class VolumeNotFound(CinderError):
    """Cinder knows no such volume in the project of the credentials."""


class AmbiguousVolume(CinderError):
    """Several volumes have the name; the id tells which is meant."""


class VolumeNotUsable(CinderError):
    """The volume is in a state, or in a project, in which nothing can be done with it."""


class AttachedElsewhere(CinderError):
    """Cinder has the volume attached to another host, LPAR, or to an instance of Nova."""


class CinderRefused(CinderError):
    """Cinder refuses a change, and says why."""


class ResourceGone(CinderError):
    """What was asked for by its id does not exist (any more)."""
