# SPDX-License-Identifier: Apache-2.0
"""Elements as text, and texts as elements.

The text is exactly what libxml2 would write (without indentation), so that a mapping that a
client sends back unchanged comes back as the very bytes that were sent.
"""

from __future__ import annotations

from xml.sax.saxutils import escape

from lxml import etree

from .rules import Refused
from .schema import SCHEMA_VERSION
from .schema import UOM

META = '<Metadata><Atom/></Metadata>'
VERSION = f'schemaVersion="{SCHEMA_VERSION}"'


def element(name: str, text: object = None, attributes: str = '') -> str:
    """One element with text; None is an empty element."""
    attributes = attributes or 'kb="CUD" kxe="false"'
    if text is None or text == '':
        return f'<{name} {attributes}/>'
    if isinstance(text, bool):
        text = str(text).lower()
    return f'<{name} {attributes}>{escape(str(text))}</{name}>'


def optional(name: str, text: str | None, attributes: str) -> str:
    """One element, or nothing for None."""
    return '' if text is None else element(name, text, attributes)


def group(name: str, *children: str, attributes: str = 'kb="CUD" kxe="false"') -> str:
    """An element with children."""
    return f'<{name} {attributes} {VERSION}>{META}{"".join(children)}</{name}>'


def document(name: str, uuid: str, children: str) -> str:
    """The root element of a document."""
    return (f'<{name}:{name} xmlns:{name}="{UOM}" xmlns="{UOM}" '
            'xmlns:ns2="http://www.w3.org/XML/1998/namespace/k2" '
            f'{VERSION}><Metadata><Atom><AtomID>{uuid}</AtomID><AtomCreated>0</AtomCreated>'
            f'</Atom></Metadata>{children}</{name}:{name}>')


def parse(body: bytes) -> etree._Element:
    """The root element; entities and external references are left alone.

    :raises Refused: the body is not well-formed
    """
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True)
    try:
        return etree.fromstring(body, parser)
    except etree.XMLSyntaxError as err:
        raise Refused('document_type', f'The body is not well-formed XML: {err}') from err
