"""A request's headers, as the server left them in the scope: no object of all of them is made to ask for one."""

from starlette.types import Scope


def values(scope: Scope, name: bytes) -> list[str]:
    """Every value of the header `name`, which is in lower case, in the order they came."""
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def first(scope: Scope, name: bytes) -> str:
    """The first value of it, empty without one."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return ""
