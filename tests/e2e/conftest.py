"""Containers for the tests that need them."""

from collections.abc import Callable, Iterator

import pytest

from tests.e2e.stacks import NoEngine, Stack, a_stack, require_engine

_figures: list[str] = []


@pytest.fixture(scope="session", autouse=True)
def engine() -> None:
    """Refuse to do anything without an engine."""
    try:
        require_engine()
    except NoEngine as error:
        pytest.exit(str(error), returncode=1)


@pytest.fixture(scope="session")
def stack(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One that runs with four workers; a test may disturb it and waits until it is whole again."""
    with a_stack(tmp_path_factory.mktemp("stack")) as stack:
        stack.up()
        yield stack


@pytest.fixture
def report() -> Callable[[str], None]:
    """Takes a line with figures, to be shown at the end."""
    return _figures.append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what was measured."""
    if _figures:
        terminalreporter.section("figures")
        for line in _figures:
            terminalreporter.line(line)
