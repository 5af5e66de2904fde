# SPDX-License-Identifier: Apache-2.0
"""Request bodies as XML."""

from __future__ import annotations

from lxml import etree

from powervm_fileio_connector.simulator.rules import Refused


def parse(body: bytes) -> etree._Element:
    """The root element; entities and external references are left alone.

    :raises Refused: the body is not well-formed
    """
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True)
    try:
        return etree.fromstring(body, parser)
    except etree.XMLSyntaxError as err:
        raise Refused('document_type', f'The body is not well-formed XML: {err}') from err
