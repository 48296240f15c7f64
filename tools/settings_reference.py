"""The page docs/reference/settings.md, from the settings classes."""

from typing import Final

from pydantic_settings import BaseSettings

from gateway.config import GatewaySettings
from shared.settings import SharedSettings, variable
from worker.config import WorkerSettings

HEAD: Final = """\
# Settings

Every process reads its settings from environment variables when it starts; `make docs` makes this page from the code.
A variable that starts with the prefix of the gateway or of the worker and is not listed here is refused.

`darkroom up` chooses some of them for the processes that it starts: it listens itself, on the port of its `--port`, and
gives every worker one process. The commands that talk to a server read one more: `DARKROOM_URL`, where it is
(`http://127.0.0.1:8000` unless told).
"""

PARTS: Final[tuple[tuple[str, str, type[BaseSettings]], ...]] = (
    ("Gateway and worker", "Read by both.", SharedSettings),
    ("Gateway", "Read by `python -m gateway`.", GatewaySettings),
    ("Worker", "Read by `python -m worker`.", WorkerSettings),
)


def cell(text: str) -> str:
    """The text as it may stand in a table: one line, no bare pipe."""
    return " ".join(text.split()).replace("|", "\\|")


def rows(settings: type[BaseSettings]) -> list[str]:
    """One table row per variable: name, default, meaning.

    Raises: SystemExit for a setting without a description.
    """
    lines = []
    for name, field in settings.model_fields.items():
        if not field.description:
            msg = f"{settings.__name__}.{name} has no description"
            raise SystemExit(msg)
        default = field.get_default(call_default_factory=True, validated_data={})
        shown = "required" if field.is_required() else "none" if default in (None, "") else f"`{default}`"
        lines.append(f"| `{variable(settings, name)}` | {cell(shown)} | {cell(field.description)} |")
    return lines


def page() -> str:
    """The whole page as Markdown."""
    lines = [HEAD]
    for title, reader, settings in PARTS:
        lines += [f"## {title}", "", reader, "", "| Variable | Default | Meaning |", "| --- | --- | --- |"]
        lines += [*rows(settings), ""]
    return "\n".join(lines)
