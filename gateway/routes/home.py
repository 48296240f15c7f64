"""Pages for people: the door and the API's reference. Nothing on them comes from another host."""

from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Final

import fastapi_offline
from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse

from shared.errors import NotFound

router = APIRouter(include_in_schema=False)

_POLICY: Final = MappingProxyType(
    {
        "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    },
)
_FOR_A_DAY: Final = MappingProxyType({"Cache-Control": "public, max-age=86400"})

_HOME: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Darkroom</title>
<style>body { font: 1rem/1.6 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem }</style>
<h1>Darkroom</h1>
<p>Pictures in, their classes out. Send one to <code>POST /predict</code>, or to <code>POST /v1/jobs</code>.</p>
<ul>
<li><a href="/docs">Reference, to read and to try</a> (<a href="/openapi.json">as OpenAPI</a>)</li>
<li><a href="/v1/status">Status: jobs, queue, workers</a></li>
<li><a href="/v1/jobs">Jobs, newest first</a></li>
<li><a href="/health/ready">Ready?</a> <a href="/health/live">Alive?</a></li>
</ul>
</html>
"""

_DOCS: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Darkroom: reference</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/swagger-ui.css">
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</html>
"""

_START: Final = 'SwaggerUIBundle({url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null});'

_ASSETS: Final = MappingProxyType(
    {
        "swagger-ui.css": "text/css",
        "swagger-ui-bundle.js": "text/javascript",
    },
)


@cache
def _asset(name: str) -> bytes:
    return (resources.files(fastapi_offline) / "static" / name).read_bytes()


@router.get("/", summary="A page of links")
async def home() -> Response:
    """Until there is a page that does more."""
    return HTMLResponse(_HOME, headers=_POLICY)


@router.get("/docs", summary="The API's reference")
async def docs() -> Response:
    """Swagger UI over /openapi.json."""
    return HTMLResponse(_DOCS, headers=_POLICY)


@router.get("/docs/start.js", summary="What starts Swagger UI")
async def start() -> Response:
    """A file of its own, so that the policy can forbid inline scripts."""
    return Response(_START, media_type="text/javascript", headers=_FOR_A_DAY)


@router.get("/docs/{name}", summary="Swagger UI's files")
async def asset(name: str) -> Response:
    """Out of an installed package."""
    if name not in _ASSETS:
        raise NotFound("There is nothing at this path.")
    return Response(_asset(name), media_type=_ASSETS[name], headers=_FOR_A_DAY)
