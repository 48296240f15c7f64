"""What a route may ask for.

Where a picture comes or its job is asked for, plain functions of the request give it: solving dependencies costs more
than the rest of such a request. Elsewhere FastAPI gives it, and only what reads a body is given the request.
"""

from dataclasses import dataclass
from typing import Annotated, Final, TypeVar

from fastapi import Depends
from pydantic import BaseModel, ValidationError
from starlette.requests import HTTPConnection, Request
from starlette.types import Receive

from gateway import headers
from gateway.bodies import Submission, read_job, read_predict, read_replay
from gateway.config import GatewaySettings
from gateway.dead_letters import DeadLetters
from gateway.errors import invalid_model
from gateway.health import Health
from gateway.idempotency import Idempotency
from gateway.jobs import Jobs
from gateway.preferences import Preferences, parse
from gateway.room import Room, Share
from gateway.schemas import ReplayRequest
from gateway.waiting import Patience
from shared.errors import InvalidRequest

_Query = TypeVar("_Query", bound=BaseModel)

_IDEMPOTENCY_KEY: Final = b"idempotency-key"
_PREFER: Final = b"prefer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """How long this caller may be held."""

    preferences: Preferences
    settings: GatewaySettings
    receive: Receive

    def for_answer(self) -> Patience:
        """Held unless it prefers otherwise; `respond-async` with a time means: so long, and then 202."""
        preferred = self.preferences.wait_s
        if preferred is None and self.preferences.respond_async:
            return Patience(seconds=0, applied="respond-async", receive=self.receive)
        return self._patience(self.settings.default_wait_s if preferred is None else None)

    def for_poll(self, wait_s: float | None) -> Patience:
        """Not held unless it asks for it, by parameter or by preference."""
        preferred = self.preferences.wait_s
        return self._patience(wait_s if wait_s is not None else 0 if preferred is None else None)

    def _patience(self, seconds: float | None) -> Patience:
        most = self.settings.max_wait_s
        if seconds is not None:
            return Patience(seconds=min(seconds, most), receive=self.receive)
        preferred = min(self.preferences.wait_s or 0, most)
        applied = f"wait={preferred:g}"
        if self.preferences.respond_async:
            applied = f"respond-async, {applied}"
        return Patience(seconds=preferred, applied=applied, receive=self.receive)


def jobs_of(connection: HTTPConnection) -> Jobs:
    """The rules of jobs."""
    jobs: Jobs = connection.app.state.jobs
    return jobs


def hold_of(request: Request) -> Hold:
    """How long the caller may be held."""
    settings: GatewaySettings = request.app.state.settings
    return Hold(preferences=parse(headers.values(request.scope, _PREFER)), settings=settings, receive=request.receive)


def idempotency_of(request: Request) -> Idempotency:
    """The request's idempotency key.

    Raises: BadRequest for a key that is none.
    """
    # All of that name: more than one is none.
    return Idempotency(headers.values(request.scope, _IDEMPOTENCY_KEY), request.scope["state"])


def query_of(request: Request, model: type[_Query]) -> _Query:
    """The query parameters as `model` has them; of one that comes twice the last counts.

    Raises: InvalidRequest.
    """
    try:
        return model.model_validate(dict(request.query_params) if request.scope["query_string"] else {})
    except ValidationError as error:
        raise invalid_model(error) from None


def share_of(request: Request) -> Share:
    """This request's share of the room for bodies, given back at the latest when its block ends."""
    room: Room = request.app.state.room
    return room.share()


async def predict_body(request: Request, share: Share) -> Submission:
    """See `read_predict`."""
    return await read_predict(request, limit=_limit(request), share=share)


async def job_body(request: Request, share: Share) -> Submission:
    """See `read_job`."""
    return await read_job(request, limit=_limit(request), share=share)


def _limit(request: Request) -> int:
    settings: GatewaySettings = request.app.state.settings
    return settings.max_body_bytes


async def _jobs(connection: HTTPConnection) -> Jobs:
    return jobs_of(connection)


async def _dead_letters(connection: HTTPConnection) -> DeadLetters:
    dead_letters: DeadLetters = connection.app.state.dead_letters
    return dead_letters


async def _health(connection: HTTPConnection) -> Health:
    health: Health = connection.app.state.health
    return health


async def _no_parameters(connection: HTTPConnection) -> None:
    if connection.query_params:
        raise InvalidRequest("This call takes no parameters.", (("#", "None of the parameters is known here."),))


async def _replay_body(request: Request) -> ReplayRequest:
    with share_of(request) as share:
        return await read_replay(request, limit=_limit(request), share=share)


NoParameters = Depends(_no_parameters)
"""Under `/v1` what is not known is refused, and these calls know no parameter."""

JobRules = Annotated[Jobs, Depends(_jobs)]
LetterRules = Annotated[DeadLetters, Depends(_dead_letters)]
ServiceHealth = Annotated[Health, Depends(_health)]
ReplayBody = Annotated[ReplayRequest, Depends(_replay_body)]
