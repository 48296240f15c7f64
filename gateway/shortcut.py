"""The short way to the handlers that read the request by themselves: of FastAPI's layers they need none. Plain ASGI."""

from collections.abc import Sequence
from inspect import signature

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway import errors


class Shortcut:
    """Answers what goes to a handler that takes the request, its path's parameters and nothing else; the rest goes on.

    The application would answer the same: it has the same routes, and describes them.
    """

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute]) -> None:
        self._app = app
        short = [route for route in routes if isinstance(route, APIRoute) and _reads_by_itself(route)]
        self._fixed = {(method, route.path): route for route in short for method in route.methods or ()}
        self._open = [(route.methods or set(), route.path_regex, route) for route in short if route.param_convertors]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the class."""
        found = self.find(scope["method"], scope["path"]) if scope["type"] == "http" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        route, parameters = found
        scope["route"] = route
        request = Request(scope, receive)
        try:
            answer = await route.endpoint(request, **parameters)
        except Exception as error:  # noqa: BLE001 - what the table does not know is raised again
            answer = await errors.answered(request, error)
        await answer(scope, receive, send)

    def find(self, method: str, path: str) -> tuple[APIRoute, dict[str, str]] | None:
        """The route that answers this here, with its path's parameters; None for what goes on."""
        route = self._fixed.get((method, path))
        if route is not None:
            return route, {}
        for methods, pattern, route in self._open:
            if method in methods and (found := pattern.match(path)):
                return route, found.groupdict()
        return None


def _reads_by_itself(route: APIRoute) -> bool:
    wanted = {*signature(route.endpoint).parameters}
    return wanted == {"request", *route.param_convertors} and not route.dependencies
