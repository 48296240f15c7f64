"""What a route may ask for. Only what reads a body is given the request; the rest gets the connection."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Header
from starlette.requests import HTTPConnection, Request
from starlette.types import Receive

from gateway.bodies import Submission, read_job, read_predict, read_replay
from gateway.config import GatewaySettings
from gateway.dead_letters import DeadLetters
from gateway.health import Health
from gateway.idempotency import Idempotency
from gateway.jobs import Jobs
from gateway.preferences import Preferences, parse
from gateway.room import Room, Share
from gateway.schemas import ReplayRequest
from gateway.waiting import Patience
from shared.errors import InvalidRequest

_IDEMPOTENCY_KEY: Final = "Idempotency-Key"


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


async def _jobs(connection: HTTPConnection) -> Jobs:
    jobs: Jobs = connection.app.state.jobs
    return jobs


async def _dead_letters(connection: HTTPConnection) -> DeadLetters:
    dead_letters: DeadLetters = connection.app.state.dead_letters
    return dead_letters


async def _health(connection: HTTPConnection) -> Health:
    health: Health = connection.app.state.health
    return health


async def _settings(connection: HTTPConnection) -> GatewaySettings:
    settings: GatewaySettings = connection.app.state.settings
    return settings


Settings = Annotated[GatewaySettings, Depends(_settings)]


async def _hold(
    request: Request,
    settings: Settings,
    prefer: Annotated[
        list[str] | None,
        Header(description="RFC 7240: `wait=N` holds the answer for at most N seconds, `respond-async` not at all."),
    ] = None,
) -> Hold:
    return Hold(preferences=parse(prefer or ()), settings=settings, receive=request.receive)


async def _no_parameters(connection: HTTPConnection) -> None:
    if connection.query_params:
        raise InvalidRequest("This call takes no parameters.", (("#", "None of the parameters is known here."),))


async def _share(connection: HTTPConnection) -> AsyncIterator[Share]:
    room: Room = connection.app.state.room
    with room.share() as share:
        yield share


BodyShare = Annotated[Share, Depends(_share)]


async def _predict_body(request: Request, settings: Settings, share: BodyShare) -> Submission:
    return await read_predict(request, limit=settings.max_body_bytes, share=share)


async def _job_body(request: Request, settings: Settings, share: BodyShare) -> Submission:
    return await read_job(request, limit=settings.max_body_bytes, share=share)


async def _replay_body(request: Request, settings: Settings, share: BodyShare) -> ReplayRequest:
    return await read_replay(request, limit=settings.max_body_bytes, share=share)


async def _idempotency(
    request: Request,
    _key: Annotated[
        str | None,
        Header(
            alias=_IDEMPOTENCY_KEY,
            description="The same key with the same picture, model and threshold is the same job, for 24 hours: a "
            "request whose answer was lost can be sent again. 1 to 255 printable characters of ASCII, bare or quoted.",
        ),
    ] = None,
) -> Idempotency:
    # All of that name: more than one is none.
    return Idempotency(request.headers.getlist(_IDEMPOTENCY_KEY), request.scope["state"])


NoParameters = Depends(_no_parameters)
"""Under `/v1` what is not known is refused, and these calls know no parameter."""

JobRules = Annotated[Jobs, Depends(_jobs)]
LetterRules = Annotated[DeadLetters, Depends(_dead_letters)]
ServiceHealth = Annotated[Health, Depends(_health)]
CallerHold = Annotated[Hold, Depends(_hold)]
CallerIdempotency = Annotated[Idempotency, Depends(_idempotency)]
PredictBody = Annotated[Submission, Depends(_predict_body)]
JobBody = Annotated[Submission, Depends(_job_body)]
ReplayBody = Annotated[ReplayRequest, Depends(_replay_body)]
