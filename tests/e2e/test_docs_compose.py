"""What the pages say of containers is so: their `sh compose` blocks work on a real engine."""

import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import Page, every_page
from tests.docs.walks import COMPOSE, Walk, a_walk, executes

PAGES = [page for page in every_page().values() if executes(page, COMPOSE)]
# The first of them may build the images.
A_BLOCK_S = 1200
A_PAGE_S = 2400

pytestmark = pytest.mark.timeout(A_PAGE_S)


@pytest.fixture
def walk(tmp_path: Path) -> Iterator[Walk]:
    """A walk over containers of a project of its own, all of which are gone afterwards."""
    project = f"darkroom-page-{secrets.token_hex(4)}"
    with a_walk(
        tmp_path, kinds=COMPOSE, patience_s=A_BLOCK_S, COMPOSE_PROJECT_NAME=project, **client_settings()
    ) as walk:
        try:
            yield walk
        finally:
            everything = (
                "docker",
                "compose",
                "--profile",
                "*",
                "down",
                "--volumes",
                "--remove-orphans",
                "--rmi",
                "local",
            )
            subprocess.run([*everything, "--timeout", "5"], cwd=walk.checkout, env=dict(walk.environ), check=True)


def client_settings() -> dict[str, str]:
    """Where the docker command has its contexts, plugins and proxies; a page has a HOME of its own."""
    return {"DOCKER_CONFIG": os.environ.get("DOCKER_CONFIG", str(Path.home() / ".docker"))}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_tells_its_reader_to_do_with_containers_works(page: Page, walk: Walk) -> None:
    walk.through(page)
