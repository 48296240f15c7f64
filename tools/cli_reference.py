"""The page docs/reference/cli.md, from the command's own tree."""

from collections.abc import Iterable
from inspect import cleandoc
from typing import Any, Final

import typer
from typer.core import TyperArgument, TyperGroup, TyperOption

from darkroom.cli import main as command
from darkroom.exits import MEANINGS

HEAD: Final = """\
# Command line

`darkroom` is the command of a client; `darkroom up` runs a server on this machine. `make docs` makes this page from the
code, and `darkroom COMMAND --help` says the same.

Where a server wants a key, give it in `X_API_KEY`, or give the name of a file that holds it in `X_API_KEY_FILE` or
`--key-file`. The server reads the same names, so one `export` serves both. No option takes the key itself: a command
line can be read by every process of the machine.

Results go to stdout, and sentences about errors to stderr. With `--json` stdout holds one JSON document, or nothing
where the command could not begin; bytes of a file's name that are no text are shown as U+FFFD. Colours and bars appear
on a terminal only, and not with `NO_COLOR` set. `darkroom --install-completion` sets up completion for the shell it is
typed in.
"""


def cell(text: str) -> str:
    """The text as it may stand in a table: one line, no bare pipe."""
    return " ".join(text.split()).replace("|", "\\|")


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """The lines of a table, an empty one at the end."""
    names = list(head)
    lines = [names, ["---"] * len(names), *rows]
    return [f"| {' | '.join(line)} |" for line in lines] + [""]


def code(text: str) -> str:
    """The text as code in a table."""
    return f"`{cell(text)}`"


def bounds(parameter: TyperArgument | TyperOption) -> str:
    """The numbers that it takes, as a sentence; nothing where it takes any."""
    low, high = parameter.min, parameter.max
    if low is None:
        return ""
    return f" At least {low:g}." if high is None else f" {low:g} to {high:g}."


def described(parameter: TyperArgument | TyperOption, path: str) -> str:
    """Its help and its bounds.

    Raises: SystemExit for one without help.
    """
    if not parameter.help:
        raise SystemExit(f"{path}: {parameter.name} has no help")
    return cell(f"{parameter.help}{bounds(parameter)}")


def names(option: TyperOption, context: typer.Context) -> str:
    """How it is typed: with what it takes, unless that is nothing."""
    taken = "" if option.is_flag else f" {option.display_type_rich(context)}"
    return ", ".join(code(f"{name}{taken}") for name in option.opts)


def default(option: TyperOption) -> str:
    """What holds unless it is given."""
    none = option.is_flag or option.default is None
    return "" if none else code(f"{option.default:g}" if isinstance(option.default, float) else str(option.default))


def variable(option: TyperOption) -> str:
    """The environment variable that may give it."""
    return code(option.envvar) if isinstance(option.envvar, str) else ""


def section(tree: Any, path: str) -> list[str]:
    """One command: usage, help, arguments, options."""
    context = typer.Context(tree, info_name=path)
    usage = " ".join((path, *tree.collect_usage_pieces(context)))
    lines = [f"## `{path}`", "", " ".join(cleandoc(tree.help or "").split()), "", "```text", usage, "```", ""]
    parameters = tree.get_params(context)
    arguments = [parameter for parameter in parameters if isinstance(parameter, TyperArgument)]
    options = [parameter for parameter in parameters if isinstance(parameter, TyperOption)]
    if arguments:
        rows = [[code(argument.metavar or argument.name), described(argument, path)] for argument in arguments]
        lines += table(("Argument", "Meaning"), rows)
    return lines + table(
        ("Option", "Default", "Variable", "Meaning"),
        [[names(one, context), default(one), variable(one), described(one, path)] for one in options],
    )


def page() -> str:
    """The whole page as Markdown."""
    tree = typer.main.get_command(command)
    assert isinstance(tree, TyperGroup)
    lines = [HEAD, "## Exit status", ""]
    lines += table(("Status", "Meaning"), [[str(number), meaning] for number, meaning in MEANINGS.items()])
    lines += ["Where two hold, the one that ended the command counts, and 4 before 1.", ""]
    lines += section(tree, "darkroom")
    for name, below in tree.commands.items():
        lines += section(below, f"darkroom {name}")
    return "\n".join(lines).rstrip() + "\n"
