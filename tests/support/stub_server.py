"""A Darkroom of the standard library's making: it answers in the contract's shapes and sees nothing in pictures."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.answers import a_classification, a_job, a_problem, a_status


class _Handler(BaseHTTPRequestHandler):
    """What a picture's bytes say becomes of it: `bad`, `forbidden`, `fails`, `nothing`, or a bird."""

    protocol_version = "HTTP/1.1"
    key: str | None = None

    def do_POST(self) -> None:
        says = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self._refuses():
            pass
        elif self.path == "/v1/dead-letters/replay":
            self._answer(202, {"replayed": [], "gone": 0})
        elif says == "bad":
            self._answer(415, a_problem("unsupported-image-format", 415, detail="Not a picture."))
        elif says == "forbidden":
            self._answer(403, a_problem("forbidden", 403, detail="Not with this key."))
        elif says == "hangs up":
            self.close_connection = True
        else:
            self._answer(202, a_job(id=f"job_{says}"))

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        job_id = path.removeprefix("/v1/jobs/")
        if self._refuses():
            pass
        elif path in {"/v1/jobs", "/v1/dead-letters"}:
            self._answer(200, {"items": [a_job("succeeded")], "next_cursor": None})
        elif path == "/v1/status":
            self._answer(200, a_status())
        elif job_id == "job_forbidden":
            self._answer(403, a_problem("forbidden", 403, detail="Not with this key."))
        elif job_id == "job_absent":
            self._answer(404, a_problem("job-not-found", 404, detail="There is no such job."))
        elif job_id == "job_queued":
            place = {"position": 4, "estimated_wait_ms": 850, "waiting_reason": "capacity"}
            self._answer(200, a_job(id=job_id, queue=place))
        elif job_id == "job_fails":
            self._answer(200, a_job("failed", id=job_id))
        elif job_id == "job_nothing":
            self._answer(200, a_job("succeeded", id=job_id, result=a_classification()))
        else:
            self._answer(200, a_job("succeeded", id=job_id))

    def do_DELETE(self) -> None:
        if not self._refuses():
            self.send_response(204)
            self.end_headers()

    def _refuses(self) -> bool:
        if self.key in {None, self.headers["X-API-Key"]}:
            return False
        self._answer(401, a_problem("unauthorized", 401, detail="This call needs a key."))
        return True

    def _answer(self, status: int, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        kind = "application/json" if status < 400 else "application/problem+json"
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Say nothing of callers that left."""


@contextmanager
def stub_server(key: str | None = None) -> Iterator[str]:
    """The URL of such a server; with a key it refuses whoever does not send that in `X-API-Key`."""
    handler = type("_Handler", (_Handler,), {"key": key})
    with _Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
