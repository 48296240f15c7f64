"""Is it alive, is it ready, how is it."""

from fastapi import APIRouter, Response

from gateway import answers, schemas
from gateway.dependencies import NoParameters, ServiceHealth
from gateway.openapi import problems

router = APIRouter(tags=["health"])


@router.get(
    "/health/live",
    summary="Whether the process runs",
    response_model=schemas.Health,
    responses=problems(),
)
async def live() -> Response:
    """Asks nobody."""
    return answers.as_json(schemas.Health(status="alive"))


@router.get(
    "/health/ready",
    summary="Whether jobs can be accepted, kept and worked on",
    response_model=schemas.Health,
    responses=problems("no-workers"),
)
async def ready(health: ServiceHealth) -> Response:
    """503 names what is missing."""
    await health.check()
    return answers.as_json(schemas.Health(status="ready"))


@router.get(
    "/v1/status",
    summary="The service at a glance",
    response_model=schemas.StatusView,
    responses=problems("validation-error"),
    dependencies=[NoParameters],
)
async def status(health: ServiceHealth) -> Response:
    """Jobs by state, the queue, the workers."""
    return answers.as_json(await health.status())
