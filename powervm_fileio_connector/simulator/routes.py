# SPDX-License-Identifier: Apache-2.0
"""Which request each handler answers; refusals name the requests that are known."""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import field

from .context import Context
from .http_messages import Answer
from .rules import Refused

API = '/rest/api/'
UOM_PATH = f'{API}uom/'
LOGON_PATH = f'{API}web/Logon'

Handler = Callable[[Context], Answer]


@dataclass(frozen=True)
class Route:
    """One kind of request.

    :ivar address: below ``/rest/api/``; ``{name}`` stands for a part, ``{name*}`` for all that
        follows, ``{name:a|b}`` for one of several, and what is in brackets may be missing
    :ivar takes_group: it may have a ``?group=``
    """

    method: str
    address: str
    handler: Handler
    takes_group: bool = True
    pattern: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, 'pattern', _pattern(self.address))

    def __str__(self) -> str:
        return f'{self.method} {re.sub(r"[*]}", "}", self.address)}'


def _pattern(address: str) -> re.Pattern[str]:
    pieces = []
    for name, star, choice, other in re.findall(r'\{(\w+)(\*)?(?::([^}]*))?\}|([^{]+)', address):
        if other:
            pieces.append(other.replace('[', '(?:').replace(']', ')?'))
        else:
            pieces.append(f'(?P<{name}>{choice or (".*" if star else "[^/]+")})')
    return re.compile(API + ''.join(pieces) + '/?')


class Routes:
    """The table of all requests that are known."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = tuple(routes)

    def find(self, context: Context) -> Route:
        """The route of a request, whose parameters are then those of the context.

        :raises Refused: kind unknown: there is none
        """
        request = context.request
        methods = []
        for route in self._routes:
            found = route.pattern.fullmatch(request.path)
            if found is None:
                continue
            if route.method in (request.method, 'GET' if request.method == 'HEAD' else ''):
                context.parameters = {k: v for k, v in found.groupdict().items() if v is not None}
                return route
            methods.append(route.method)
        expected = (f'Expected {" or ".join(dict.fromkeys(methods))}.' if methods else
                    f'It knows, below {API}: {"; ".join(map(str, self._routes))}.')
        raise Refused('address_known', f'This simulator does not know {request.method} '
                      f'{request.path}. {expected}', 'unknown')
