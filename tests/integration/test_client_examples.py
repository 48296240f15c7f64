"""What the client library's docstrings show is what happens: each example runs against `darkroom up`."""

import asyncio
import doctest
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import darkroom
from darkroom import AsyncClient, Client
from tests.support.pictures import a_photograph, encoded
from tests.support.ups import the_real_ones

PICTURES = {"cat.png": 6, "owl.png": 25}
"""Their names, and the seeds that make the default model see a mammal and a bird in them."""

PUBLIC = {name: getattr(darkroom, name) for name in darkroom.__all__}


def library() -> list[ModuleType]:
    """The package, and every module that a public name comes from."""
    places = {getattr(thing, "__module__", "") for thing in PUBLIC.values()}
    return [darkroom, *(sys.modules[place] for place in sorted(places) if place.startswith("darkroom."))]


DOCTESTS = [
    found for module in library() for found in doctest.DocTestFinder(exclude_empty=True).find(module) if found.examples
]
SHOWN = {found.name.removeprefix("darkroom.").partition(".")[2] for found in DOCTESTS}

WITHOUT = {
    "Client.close": "every example with a `with` statement closes its client",
    **{
        f"AsyncClient.{name}": f"is Client.{name}, awaited: see the example of the class"
        for name in ("submit", "job", "wait", "result", "classify", "cancel", "delete", "jobs", "status", "ready")
    },
    **{
        f"AsyncClient.{name}": f"is Client.{name}, awaited"
        for name in ("retry", "dead_letters", "replay", "replay_all")
    },
    "AsyncClient.unready": "is Client.unready, awaited",
    "AsyncClient.close": "every example with an `async with` statement closes its client",
}
"""Public methods that no example shows, and why not."""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with the_real_ones(tmp_path_factory.mktemp("up")) as up:
        yield up.url
        assert up.stop() == 0


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for name, seed in PICTURES.items():
        (folder / name).write_bytes(encoded(a_photograph(seed)))
    whole = encoded(a_photograph())
    (folder / "broken.png").write_bytes(whole[: len(whole) // 2])
    return folder


@pytest.mark.parametrize("example", DOCTESTS, ids=lambda found: found.name)
def test_an_example_does_as_it_says(
    example: doctest.DocTest, url: str, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The reader's server is at the default address, this one at a free port.
    for kind in (Client, AsyncClient):
        monkeypatch.setattr(kind.__init__, "__defaults__", (url,))
    monkeypatch.chdir(pictures)
    said: list[str] = []

    with Client() as client:
        example.globs = {**PUBLIC, "asyncio": asyncio, "client": client}
        ran = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=said.append, clear_globs=False)

    assert ran.failed == 0, "".join(said)
    assert ran.attempted == len(example.examples)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_every_public_method_has_an_example_or_a_reason(kind: type) -> None:
    methods = {f"{kind.__name__}.{name}" for name in vars(kind) if not name.startswith("_")}
    reasoned = {name for name in WITHOUT if name.startswith(f"{kind.__name__}.")}

    assert methods - SHOWN == reasoned


@pytest.mark.parametrize("name", ["", "Client", "AsyncClient", "DarkroomError", "Outcome", "Outcome.unwrap"])
def test_what_a_reader_meets_first_has_an_example(name: str) -> None:
    shown = SHOWN if name else {found.name for found in DOCTESTS}

    assert (name or "darkroom") in shown
