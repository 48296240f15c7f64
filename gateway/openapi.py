"""What /openapi.json says beyond the handlers' signatures: bodies that are read by hand, and problems."""

from collections import defaultdict
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gateway.auth import OPEN
from gateway.errors import MEDIA_TYPE, TABLE
from gateway.schemas import JobOptions, JobRequest, PayloadRequest, PredictOptions, Problem, ReplayRequest

_PLACE: Final = "#/components/schemas/{model}"
_BINARY: Final = {"type": "string", "format": "binary"}
_ANYWHERE: Final = ("unauthorized", "forbidden", "internal-error", "broker-unavailable")
_KEY: Final = {
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "Bearer": {"type": "http", "scheme": "bearer"},
}
_WRITTEN: Final = (PayloadRequest, JobRequest, ReplayRequest, Problem)
_NULL: Final = {"type": "null"}

BODY_CODES: Final = (
    "bad-request",
    "payload-too-large",
    "image-too-large",
    "unsupported-media-type",
    "unsupported-image-format",
    "validation-error",
    "invalid-base64",
    "invalid-image",
)
"""What may be wrong with a picture at the door."""

Responses = dict[int | str, dict[str, Any]]
Parameter = dict[str, Any]


def _header(name: str, schema: dict[str, Any], description: str) -> Parameter:
    shape = {"anyOf": [schema, _NULL], "description": description, "title": name.title()}
    return {"name": name, "in": "header", "required": False, "schema": shape, "description": description}


IDEMPOTENCY_KEY: Final = _header(
    "Idempotency-Key",
    {"type": "string"},
    "The same key with the same picture, model and threshold is the same job, for 24 hours: a request whose answer was "
    "lost can be sent again. 1 to 255 printable characters of ASCII, bare or quoted.",
)
PREFER: Final = _header(
    "prefer",
    {"type": "array", "items": {"type": "string"}},
    "RFC 7240: `wait=N` holds the answer for at most N seconds, `respond-async` not at all.",
)


def asked(*parameters: Parameter) -> dict[str, Any]:
    """An operation's parameters, beside those of its path, where its handler reads the request by itself."""
    return {"parameters": [*parameters]}


def query(model: type[BaseModel]) -> list[Parameter]:
    """The query parameters that `model` holds."""
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "schema": {key: value for key, value in schema.items() if (key, value) != ("default", None)},
            "description": schema["description"],
        }
        for name, schema in model.model_json_schema()["properties"].items()
    ]


def picture_body(
    body: type[PayloadRequest | JobRequest], options: type[PredictOptions | JobOptions], *headers: Parameter
) -> dict[str, Any]:
    """An operation's `requestBody` in its three content types, its headers, and the query parameters of two types."""
    fields = options.model_json_schema()["properties"]
    parameters = [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": f"With a multipart or image body. {schema.get('description', '')}",
            **_parameter_schema(name, schema),
        }
        for name, schema in fields.items()
    ]
    form = {
        "type": "object",
        "required": ["image"],
        "properties": {"image": _BINARY, "confidence_threshold": fields["confidence_threshold"]},
    }
    content = {
        "application/json": {"schema": {"$ref": _PLACE.format(model=body.__name__)}},
        "multipart/form-data": {"schema": form},
        "image/*": {"schema": _BINARY},
    }
    return {"requestBody": {"required": True, "content": content}, "parameters": [*headers, *parameters]}


def json_body(body: type[BaseModel]) -> dict[str, Any]:
    """The same of an operation that reads JSON, or nothing."""
    content = {"application/json": {"schema": {"$ref": _PLACE.format(model=body.__name__)}}}
    return {"requestBody": {"required": False, "content": content}}


def _parameter_schema(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    if name == "metadata":
        return {"content": {"application/json": {"schema": {"type": "object"}}}}
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != _NULL]
    return {"schema": kinds[0] if kinds else schema}


def problems(*codes: str) -> Responses:
    """An operation's problem answers, by status."""
    by_status: dict[int, list[str]] = defaultdict(list)
    for code in (*codes, *_ANYWHERE):
        by_status[TABLE[code].status].append(code)
    return {
        int(status): {
            "description": ", ".join(f"`{code}`" for code in sorted(set(found))),
            "content": {MEDIA_TYPE: {"schema": {"$ref": _PLACE.format(model=Problem.__name__)}}},
        }
        for status, found in sorted(by_status.items())
    }


def describe(app: FastAPI) -> dict[str, Any]:
    """The application's OpenAPI document."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        models: list[tuple[type[BaseModel], Any]] = [(model, "validation") for model in _WRITTEN]
        _, schemas = models_json_schema(models, ref_template=_PLACE)
        known = document.setdefault("components", {}).setdefault("schemas", {})
        known.update(schemas.get("$defs", {}))
        document["components"]["securitySchemes"] = _KEY
        # Either header, or none where no key is set.
        document["security"] = [{name: []} for name in _KEY] + [{}]
        for path in OPEN:
            document["paths"][path]["get"]["security"] = []
            document["paths"][path]["get"]["responses"].pop("401")
        _drop_foreign_problems(document)
        app.openapi_schema = document
    return app.openapi_schema


def _drop_foreign_problems(document: dict[str, Any]) -> None:
    """FastAPI promises a 422 of its own for every route with a parameter; ours are told where there are any."""
    for item in document["paths"].values():
        for operation in item.values():
            unprocessable = operation["responses"].get("422")
            if unprocessable is not None and MEDIA_TYPE not in unprocessable["content"]:
                del operation["responses"]["422"]
    for name in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(name, None)
