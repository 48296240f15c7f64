"""A server that reads a body and answers 204, on the gateway's server with the gateway's options: `… blank PORT`."""

import gc
import sys

import uvicorn
from starlette.types import Receive, Scope, Send

from shared.memory import keep_what_is_freed


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Read all, say nothing."""
    assert scope["type"] == "http"
    more = True
    while more:
        more = (await receive()).get("more_body", False)
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


if __name__ == "__main__":
    # As a gateway does.
    keep_what_is_freed()
    gc.freeze()
    uvicorn.run(
        app,
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=2048,
        timeout_keep_alive=75,
    )
