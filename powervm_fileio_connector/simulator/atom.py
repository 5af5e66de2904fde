# SPDX-License-Identifier: Apache-2.0
"""The Atom envelope around every document, and error documents in the recorded shape."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import UTC
from datetime import datetime
from xml.sax.saxutils import escape
from xml.sax.saxutils import quoteattr

from .schema import ATOM
from .schema import UOM
from .schema import WEB

NAMESPACES = (f'xmlns="{ATOM}" xmlns:ns2="http://a9.com/-/spec/opensearch/1.1/" '
         'xmlns:ns3="http://www.w3.org/1999/xhtml"')
_AUTHOR = '<author><name>IBM Power Systems Management Console</name></author>'


def _now() -> str:
    return datetime.now(UTC).strftime('%Y-%m-%dT%H:%M:%S.000Z')


def entry(uuid_: str, type_: str, href: str | None, etag: str | None,
          content: Iterable[bytes], service: str = 'uom', head: str = '') -> list[bytes]:
    """An entry as pieces to be joined; ``head`` is for an entry that is a document itself."""
    link = f'<link rel="SELF" href={quoteattr(href)}/>' if href else ''
    tag = (f'<etag:etag xmlns:etag="{UOM}" xmlns="{UOM}">{etag}</etag:etag>' if etag else '')
    start = (f'<entry{head}><id>{uuid_}</id><title>{type_}</title><published>{_now()}</published>'
             f'{link}{_AUTHOR}{tag}'
             f'<content type="application/vnd.ibm.powervm.{service}+xml; type={type_}">')
    return [start.encode(), *content, b'</content></entry>']


def entry_document(uuid_: str, type_: str, href: str | None, content: Iterable[bytes]) -> bytes:
    """A document that is one entry of the service ``web``, which have no etags."""
    return b''.join(entry(uuid_, type_, href, None, content, 'web', f' {NAMESPACES}'))


def feed_document(href: str, entries: Iterable[list[bytes]]) -> bytes:
    """A document that is a feed of entries."""
    name = uuid.uuid5(uuid.NAMESPACE_URL, href)
    start = (f'<feed {NAMESPACES}><id>{name}</id><updated>{_now()}</updated>'
             f'<link rel="SELF" href={quoteattr(href)}/>'
             '<generator>IBM Power Systems Management Console</generator>')
    return b''.join([start.encode(), *(piece for one in entries for piece in one), b'</feed>'])


def error_document(status: int, uri: str, reason: str, message: str,
                   headers: Iterable[tuple[str, str]]) -> bytes:
    """An HttpErrorResponse in the recorded shape."""
    shown = ', '.join(f'{name}={"*******" if name.lower() == "x-api-session" else value}'
                      for name, value in headers)
    content = (
        f'<HttpErrorResponse:HttpErrorResponse xmlns:HttpErrorResponse="{WEB}" xmlns="{WEB}" '
        'xmlns:ns2="http://www.w3.org/XML/1998/namespace/k2" schemaVersion="V1_2_0">'
        '<Metadata><Atom/></Metadata>'
        f'<HTTPStatus kb="ROR" kxe="false">{status}</HTTPStatus>'
        f'<RequestURI kb="ROR" kxe="false">{escape(uri)}</RequestURI>'
        f'<ReasonCode kb="ROR" kxe="false">{escape(reason)}</ReasonCode>'
        f'<Message kb="ROO" kxe="false">{escape(message)}</Message>'
        '<RequestBody kb="ROO" kxe="false"/>'
        f'<RequestHeaders kb="ROO" kxe="false">{escape("{" + shown + "}")}</RequestHeaders>'
        '</HttpErrorResponse:HttpErrorResponse>')
    return entry_document(str(uuid.uuid4()), 'HttpErrorResponse', None, [content.encode()])
