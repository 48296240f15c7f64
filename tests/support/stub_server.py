"""A Darkroom of the standard library's making: it answers in the contract's shapes and sees nothing in pictures."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.answers import a_classification, a_job, a_problem, a_status


class _Handler(BaseHTTPRequestHandler):
    """What a picture's bytes say becomes of it: `bad`, `fails`, `nothing`, or a bird."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        says = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if says == "bad":
            self._answer(415, a_problem("unsupported-image-format", 415, detail="Not a picture."))
        elif says == "hangs up":
            self.close_connection = True
        else:
            self._answer(202, a_job(id=f"job_{says}"))

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        job_id = path.removeprefix("/v1/jobs/")
        if path == "/v1/status":
            self._answer(200, a_status())
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


@contextmanager
def stub_server() -> Iterator[str]:
    """The URL of such a server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
