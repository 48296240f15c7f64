"""The page docs/reference/client.md, from the signatures and docstrings of `darkroom`."""

import ast
import inspect
import textwrap
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

import darkroom
from darkroom import errors
from darkroom.transport import DEFAULT_URL

HEAD: Final = """\
# Python client

Every public name of the package `darkroom`. `make docs` makes this page from the code;
[Use the client](../how-to/use-the-client.md) shows it at work.
"""

_CLIENTS: Final = "Clients"
_VALUES: Final = "Values"
_ERRORS: Final = "Errors"
_TOLD: Final = {
    _CLIENTS: "The two have the same calls with the same meaning; those of `AsyncClient` are awaited.",
    _VALUES: "What the clients take and hand out. Every value is frozen.",
    _ERRORS: "Catch the family that you can do something about, or the class of the one `code`.",
}
_LINE: Final = 100

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


def page() -> str:
    """The whole page as Markdown.

    Raises: SystemExit for a public name without a docstring.
    """
    lines = [HEAD]
    for part, told in _TOLD.items():
        lines += [f"## {part}", "", told, ""]
        names = sorted(darkroom.__all__, key=lambda name: (name != "Client", name))
        things = {name: getattr(darkroom, name) for name in names if _part(getattr(darkroom, name)) == part}
        if part == _ERRORS:
            rows = [_error(name, thing) for name, thing in things.items()]
            lines += [*_fenced(_tree()), "", *_table(("Error", "Code", "Meaning"), rows), ""]
        else:
            lines += [line for name, thing in things.items() for line in _entry(name, thing)]
    return "\n".join(lines).rstrip("\n") + "\n"


def _part(thing: object) -> str:
    if inspect.isclass(thing) and issubclass(thing, BaseException):
        return _ERRORS
    return _CLIENTS if thing in {darkroom.Client, darkroom.AsyncClient} else _VALUES


def _tree() -> list[str]:
    _, _, tree = (inspect.getdoc(errors) or "").partition("\n\n")
    return tree.splitlines()


def _error(name: str, thing: type) -> tuple[str, str, str]:
    told, _, _ = _document(_parsed(thing), name).partition("\n\n")
    code = vars(thing).get("code")
    return f"`{name}`", f"`{code}`" if code else "", told


def _parsed(thing: type) -> ast.ClassDef:
    found = ast.parse(textwrap.dedent(inspect.getsource(thing))).body[0]
    assert isinstance(found, ast.ClassDef)
    return found


def _entry(name: str, thing: object) -> list[str]:
    lines = [f"### {name}", ""]
    if not inspect.isclass(thing):
        return [*lines, f"`{str(thing).replace('typing.', '')}`", ""]
    parsed = _parsed(thing)
    functions = [node for node in parsed.body if isinstance(node, Function)]
    if _part(thing) == _CLIENTS:
        made = next(node for node in functions if node.name == "__init__")
        lines += [*_fenced(signature(made, name)), ""]
    lines += [_document(parsed, name), ""]
    rows = list(_fields(parsed))
    if rows:
        lines += [*_table(("Field", "Type", "Meaning"), rows), ""]
    public = [node for node in functions if not node.name.startswith("_")]
    if thing is darkroom.AsyncClient:
        return [*lines, *_fenced([line for node in public for line in signature(node, node.name)]), ""]
    for node in public:
        lines += [f"#### {name}.{node.name}", "", *_fenced(signature(node, node.name)), ""]
        lines += [_document(node, f"{name}.{node.name}"), ""]
    return lines


def _document(node: ast.ClassDef | Function, name: str) -> str:
    found = ast.get_docstring(node)
    if found is None:
        raise SystemExit(f"{name} has no docstring")
    return "\n\n".join(
        "\n".join(_fenced(paragraph.splitlines())) if paragraph.startswith(">>>") else paragraph
        for paragraph in found.split("\n\n")
    )


def signature(node: Function, name: str) -> list[str]:
    """The call as its author wrote it, on one line or, where that is too long, a parameter on each."""
    arguments = node.args
    arguments.args = [argument for argument in arguments.args if argument.arg != "self"]
    returns = "" if node.returns is None or node.name == "__init__" else f" -> {ast.unparse(node.returns)}"
    if any(ast.unparse(decorator) == "property" for decorator in node.decorator_list):
        return [f"{name}{returns}"]
    awaited = "await " if isinstance(node, ast.AsyncFunctionDef) and "AsyncIterator" not in returns else ""
    parameters = list(_parameters(arguments))
    line = f"{awaited}{name}({', '.join(parameters)}){returns}"
    if len(line) <= _LINE:
        return [line]
    return [f"{awaited}{name}(", *(f"    {parameter}," for parameter in parameters), f"){returns}"]


def _parameters(arguments: ast.arguments) -> Iterator[str]:
    plain = [None] * (len(arguments.args) - len(arguments.defaults)) + list(arguments.defaults)
    yield from map(_parameter, arguments.args, plain)
    if arguments.kwonlyargs:
        yield "*"
    yield from map(_parameter, arguments.kwonlyargs, arguments.kw_defaults)
    if arguments.kwarg is not None:
        yield f"**{ast.unparse(arguments.kwarg)}"


def _parameter(argument: ast.arg, default: ast.expr | None) -> str:
    if default is None:
        return ast.unparse(argument)
    named = isinstance(default, ast.Name) and default.id == "DEFAULT_URL"
    return f"{ast.unparse(argument)} = {repr(DEFAULT_URL) if named else ast.unparse(default)}"


def _fields(parsed: ast.ClassDef) -> Iterator[tuple[str, str, str]]:
    """Name, type and meaning: the string that may stand below a field, which Python itself forgets."""
    for field, below in zip(parsed.body, [*parsed.body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            text = below.value if isinstance(below, ast.Expr) else None
            meaning = str(text.value) if isinstance(text, ast.Constant) else ""
            yield f"`{field.target.id}`", f"`{_annotation(field)}{_default(field.value)}`", meaning


def _annotation(field: ast.AnnAssign) -> str:
    # A name that is not there yet at run time stands in quotes.
    named = field.annotation
    return str(named.value) if isinstance(named, ast.Constant) else ast.unparse(named)


def _default(value: ast.expr | None) -> str:
    # What `field(…)` says is for the class itself.
    return "" if value is None or isinstance(value, ast.Call) else f" = {ast.unparse(value)}"


def _fenced(lines: Sequence[str]) -> list[str]:
    return ["```text", *lines, "```"]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [_row(head), _row(["---"] * len(head)), *map(_row, rows)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in cells)} |"
