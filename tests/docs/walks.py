"""A walk through a page: its blocks executed in order, as its reader would.

Fences. `sh` and `python` are executed; `sh background` is what the page has the reader type in another terminal: it is
started, its line `ready …` is waited for, and it is stopped at the page's end. `sh compose` is executed by a walk
through containers, and only there. `sh not-run` is executed by nobody. `json output` and `text output` are what the
block before printed on stdout. All others are for the eyes.

Answers. `curl` fails with an answer of 400 or above, as if it had been called with `--fail-with-body`, but for a block
whose output is shown and has such a `"status"`: that one is compared.

Place. Each page has a copy of the checkout, a HOME, one bash and one Python of its own; the working copy is not
touched.

Port. The pages say 8000, as a reader would have it; nothing here needs that port to be free. In every block
`127.0.0.1:8000` and `localhost:8000` become a free port, and back again in what is printed. What the pages start and
call without naming a port learns it as a reader would tell it: `make up` and `docker compose up` from `DARKROOM_PORT`,
the command `darkroom` from `DARKROOM_URL`.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final

from tests.docs import checkouts
from tests.docs.outputs import difference
from tests.docs.pages import Block, Page
from tests.docs.shells import Bash, BlockFailed, OtherTerminal, Python, Shell
from tests.support.redis_server import free_port

NATIVE: Final = frozenset({"sh", "sh background", "python"})
COMPOSE: Final = frozenset({"sh compose"})

_KEPT: Final = frozenset(
    {
        "DOCKER_CERT_PATH",
        "DOCKER_HOST",
        "DOCKER_TLS_VERIFY",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "LANG",
        "PATH",
        "REQUESTS_CA_BUNDLE",
        "SSL_CERT_FILE",
        "TMPDIR",
        "https_proxy",
        "http_proxy",
    }
)
_REFUSAL: Final = re.compile(r'"status": ?[45]\d\d\b')
_ADDRESS: Final = re.compile(r"(?<![\w.])(127\.0\.0\.1|localhost):8000(?!\d)")


def _pip_configuration() -> Path:
    # The reader's home is a new one, and where packages come from is this machine's business.
    return Path.home() / ".config" / "pip" / "pip.conf"


def executes(page: Page, kinds: frozenset[str]) -> bool:
    """Whether a walk over these kinds of fences has anything to do on the page."""
    return any(block.info in kinds for block in page.blocks)


@dataclass(slots=True, kw_only=True)
class Walk:
    """The state of a walk; `port` stands in for 8000."""

    folder: Path
    checkout: Path
    environ: Mapping[str, str]
    port: int
    kinds: frozenset[str]
    patience_s: float
    opened: ExitStack
    _shells: dict[str, Shell] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=count)

    def through(self, page: Page) -> None:
        """Execute the blocks.

        Raises: BlockFailed for the first that does not do what the page says.
        """
        printed: str | None = None
        for block, following in zip(page.blocks, (*page.blocks, None)[1:], strict=True):
            if block.info.endswith(" output"):
                if printed is not None:
                    self._compare(block, printed)
            elif block.info in self.kinds:
                self._set_up_curl(following)
                printed = self._execute(block)
            else:
                printed = None

    def _set_up_curl(self, following: Block | None) -> None:
        refused = following is not None and following.info.endswith(" output") and _REFUSAL.search(following.text)
        Path(self.environ["HOME"], ".curlrc").write_text("" if refused else "fail-with-body\n")

    def _execute(self, block: Block) -> str | None:
        text = _ADDRESS.sub(rf"\g<1>:{self.port}", block.text)
        if block.info == "sh background":
            terminal = OtherTerminal(
                self._place("terminal"),
                block,
                text,
                checkout=self.checkout,
                environ=self.environ,
                patience_s=self.patience_s,
            )
            self.opened.callback(terminal.end)
            return None
        return self._shell(block.info.split()[0]).run(block, text)

    def _shell(self, language: str) -> Shell:
        if language not in self._shells:
            kind = Python if language == "python" else Bash
            place = self._place(language)
            shell = kind(place, checkout=self.checkout, environ=self.environ, patience_s=self.patience_s)
            self.opened.callback(shell.end)
            self._shells[language] = shell
        return self._shells[language]

    def _place(self, name: str) -> Path:
        return self.folder / f"{name}-{next(self._numbers)}"

    def _compare(self, block: Block, printed: str) -> None:
        fault = difference(block.text, printed.replace(f":{self.port}", ":8000"))
        if fault is not None:
            raise BlockFailed(f"{block.place}: {fault}")


@contextmanager
def a_walk(folder: Path, *, kinds: frozenset[str] = NATIVE, patience_s: float = 90.0, **environ: str) -> Iterator[Walk]:
    """A walk in a fresh copy of the checkout; what its blocks start is ended with it."""
    home = folder / "home"
    home.mkdir(parents=True)
    port = free_port()
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith("PIP_")}
    pip = {"PIP_CACHE_DIR": str(Path.home() / ".cache" / "pip"), "PIP_CONFIG_FILE": str(_pip_configuration())}
    ours = {
        "HOME": str(home),
        "DARKROOM_PORT": str(port),
        "DARKROOM_URL": f"http://127.0.0.1:{port}",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }
    with ExitStack() as opened:
        yield Walk(
            folder=folder,
            checkout=checkouts.copy(folder / "checkout"),
            environ={**pip, **kept, **ours, **environ},
            port=port,
            kinds=kinds,
            patience_s=patience_s,
            opened=opened,
        )
