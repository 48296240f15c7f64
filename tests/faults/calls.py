"""Single calls of a client, where a scenario needs no load or needs them beside it."""

import base64
import json
from typing import Any

import httpx2

from tests.faults.load import Picture, small_picture


def body(picture: Picture | None = None, **options: Any) -> bytes:
    """What is posted to submit a picture."""
    content = (picture or small_picture()).content
    return json.dumps({"image_base64": base64.b64encode(content).decode(), **options}).encode()


def submit(url: str, picture: Picture | None = None, **options: Any) -> str:
    """The id of a job that was just accepted.

    Raises: AssertionError where it was not.
    """
    headers = {"Content-Type": "application/json"}
    answer = httpx2.post(f"{url}/v1/jobs", content=body(picture, **options), headers=headers, timeout=30)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def look(url: str, job_id: str, wait_s: float = 0) -> httpx2.Response | None:
    """A job as the gateway tells it, after waiting for its end; None where nobody answers."""
    try:
        return httpx2.get(f"{url}/v1/jobs/{job_id}", params={"wait": wait_s} if wait_s else {}, timeout=wait_s + 30)
    except httpx2.TransportError:
        return None


def said(answer: httpx2.Response | None) -> str:
    """An answer in a word: a job's status, `classified` for a result, or a problem's status and code."""
    if answer is None:
        return "no answer"
    told = answer.json()
    if answer.status_code >= 400:
        return f"{answer.status_code} {told.get('code')}"
    return str(told.get("status", "classified"))


def status_of(url: str, job_id: str) -> str:
    """The same of a job, asked for now."""
    return said(look(url, job_id))


def lives(url: str) -> bool:
    """Whether the gateway there answers at all."""
    try:
        return httpx2.get(f"{url}/health/live", timeout=5).status_code == 200
    except httpx2.TransportError:
        return False
