"""The page docs/reference/http.md, from the gateway's OpenAPI document and its errors."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from gateway.config import GatewaySettings
from gateway.errors import TABLE
from gateway.main import create_app
from shared.memory_store import MemoryStore

HEAD: Final = """\
# HTTP

Every call, every body and every error. `make docs` makes this page from what a running gateway says of itself at
`/openapi.json`. Where no key is set, `/docs` shows the same to try out in a browser.

Where the gateway has a key, every call but `/health/live` and `/health/ready` needs it, as `X-API-Key: KEY` or as
`Authorization: Bearer KEY`. Without a key it answers callers on its own machine only.

JSON is in snake_case, times are RFC 3339 in UTC, durations end in `_ms` or `_s`. Ids are opaque. On `/predict` and on a
job's result 200 is the final answer and nothing else; a wait that runs out is 202 with the job. A job tells by `done`
whether it can still change.
"""

HEADERS: Final = """\
## Headers of answers

| Header | On | Says |
| --- | --- | --- |
| `X-Request-ID` | every answer | the id under which the log knows the request |
| `Location` | 202 | the job |
| `Retry-After` | a job that is not done, and errors that pass by themselves | seconds after which to ask again |
| `Preference-Applied` | a request that a preference of `Prefer` was followed for | which |
| `Idempotency-Replayed` | a request whose `Idempotency-Key` was there already | `true`: the job is the earlier one's |
| `Content-Location` | a final answer | its job |
| `Server-Timing` | a final answer | milliseconds in the queue, and for decode, preprocess and predict |
| `X-Model` | a final answer | `name@version` |
| `WWW-Authenticate` | 401 | that a key is wanted |
"""

ERRORS: Final = """\
## Errors

Errors are `application/problem+json` (RFC 9457), see [Problem](#problem). `code` is for programs and does not change;
`title` and `detail` are for people and never repeat your data. What may be tried again comes with `Retry-After`.
"""

_OK: Final = "Successful Response"
_FORMATS: Final = {"binary": "bytes", "date-time": "time"}

Schema = Mapping[str, Any]


def document() -> Schema:
    """What a gateway of default settings says of itself, whatever the environment is here."""
    found: Schema = create_app(GatewaySettings.model_construct(), store=MemoryStore()).openapi()
    return found


def page(described: Schema) -> str:
    """The whole page as Markdown."""
    lines = [HEAD, "## Calls", ""]
    for path, item in described["paths"].items():
        for method, operation in item.items():
            lines += _call(f"{method.upper()} {path}", operation)
    lines += [HEADERS, "## Bodies", ""]
    sent = str([operation.get("requestBody") for item in described["paths"].values() for operation in item.values()])
    for name, schema in sorted(described["components"]["schemas"].items()):
        lines += _body(name, schema, sent=f"/{name}'" in sent)
    return "\n".join([*lines, *_errors(described)]) + "\n"


def _call(name: str, operation: Schema) -> list[str]:
    lines = [f"### {name}", "", f"{operation['summary']}. {_line(operation.get('description', ''))}".strip(), ""]
    parameters = operation.get("parameters", ())
    if parameters:
        given = [
            (f"`{_header(parameter)}`", parameter["in"], *_kind_and_meaning(_schema(parameter), parameter))
            for parameter in parameters
        ]
        lines += [*_table(("Parameter", "In", "Type", "Meaning"), given), ""]
    bodies = operation.get("requestBody", {}).get("content", {})
    if bodies:
        sent = [(f"`{kind}`", _shape(content["schema"])) for kind, content in bodies.items()]
        lines += [*_table(("Body as", "Holds"), sent), ""]
    answered = [(status, *_answer(response)) for status, response in operation["responses"].items()]
    return [*lines, *_table(("Status", "Body", "When"), answered), ""]


def _header(parameter: Schema) -> str:
    # The document has them in small letters, people know them otherwise.
    name = str(parameter["name"])
    return name.title() if parameter["in"] == "header" else name


def _schema(parameter: Schema) -> Schema:
    if parameter["in"] == "header":
        return {"type": "string"}
    found: Schema = parameter["schema"] if "schema" in parameter else parameter["content"]["application/json"]["schema"]
    return found


def _shape(schema: Schema) -> str:
    if "properties" in schema:
        return "the fields " + ", ".join(f"`{name}` ({_kind(field)})" for name, field in schema["properties"].items())
    return _kind(schema)


def _answer(response: Schema) -> tuple[str, str]:
    contents = list(response.get("content", {}).values())
    body = _kind(contents[0]["schema"]) if contents else "none"
    return body, "success" if response["description"] == _OK else response["description"]


def _body(name: str, schema: Schema, *, sent: bool) -> list[str]:
    lines = [f"### {name}", ""]
    if "description" in schema:
        lines += [_line(schema["description"]), ""]
    if "properties" not in schema:
        return [*lines, f"{_kind(schema)}.".capitalize() if schema else "Any JSON.", ""]
    # What is answered is always there; of what is sent it matters.
    required = frozenset(schema.get("required", ()) if sent else ())
    rows = [
        (f"`{field}`{', required' if field in required else ''}", *_kind_and_meaning(kind, kind))
        for field, kind in schema["properties"].items()
    ]
    return [*lines, *_table(("Field", "Type", "Meaning"), rows), ""]


def _kind_and_meaning(schema: Schema, told: Schema) -> tuple[str, str]:
    kind = _kind(schema)
    if schema.get("default") is not None:
        kind += f", `{_json(schema['default'])}` unless given"
    return kind, _line(told.get("description", ""))


def _kind(schema: Schema) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_kind(choice) for choice in schema["anyOf"])
    choices = [schema["const"]] if "const" in schema else schema.get("enum")
    if choices:
        return " or ".join(f"`{_json(choice)}`" for choice in choices)
    kind = str(schema.get("type", "any JSON"))
    if kind == "array":
        return f"list of {_kind(schema['items'])}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return f"object of {_kind(schema['additionalProperties'])}"
    return _FORMATS.get(schema.get("format", ""), kind) + _range(schema)


def _json(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _range(schema: Schema) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None:
        return f" in {least:g}..{most:g}"
    return "" if least is None else f" ≥ {least:g}"


def _errors(described: Schema) -> Iterator[str]:
    calls = [str(operation["responses"]) for item in described["paths"].values() for operation in item.values()]
    rows = [
        (str(int(rule.status)), f"`{code}`", rule.title, "yes" if rule.retryable else "")
        for code, rule in sorted(TABLE.items(), key=lambda entry: (entry[1].status, entry[0]))
    ]
    yield ERRORS
    yield from _table(("Status", "Code", "Title", "Retryable"), rows)
    unused = [f"`{code}`" for code in sorted(TABLE) if not any(f"`{code}`" in call for call in calls)]
    yield ""
    yield f"No call above names {', '.join(unused)}: they are answered to what is no call at all, or still to come."


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [_row(head), _row(["---"] * len(head)), *map(_row, rows)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_line(cell).replace('|', chr(92) + '|') for cell in cells)} |"


def _line(text: str) -> str:
    return " ".join(text.split())
