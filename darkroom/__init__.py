"""Darkroom's client: a picture in, its classes out.

from darkroom import Client

with Client() as darkroom:
    print(darkroom.classify("cat.png").best)
"""

from darkroom.async_client import AsyncClient
from darkroom.client import Client
from darkroom.errors import (
    ApiError,
    Conflict,
    ConnectionFailed,
    ConnectionLost,
    DarkroomError,
    DeadlineExceeded,
    Gone,
    InvalidImage,
    InvalidRequest,
    InvalidUrl,
    JobCanceled,
    JobNotDone,
    NotAllowed,
    NotFound,
    QuotaExceeded,
    ServerFault,
    TooLarge,
    Unavailable,
    UnexpectedAnswer,
    WaitTimeout,
)
from darkroom.exchanges import Wishes
from darkroom.types import (
    Backlog,
    Classification,
    FieldProblem,
    Job,
    Prediction,
    Priority,
    Problem,
    Queue,
    Serving,
    Status,
    Timings,
    Worker,
)

__all__ = [
    "ApiError",
    "AsyncClient",
    "Backlog",
    "Classification",
    "Client",
    "Conflict",
    "ConnectionFailed",
    "ConnectionLost",
    "DarkroomError",
    "DeadlineExceeded",
    "FieldProblem",
    "Gone",
    "InvalidImage",
    "InvalidRequest",
    "InvalidUrl",
    "Job",
    "JobCanceled",
    "JobNotDone",
    "NotAllowed",
    "NotFound",
    "Prediction",
    "Priority",
    "Problem",
    "Queue",
    "QuotaExceeded",
    "ServerFault",
    "Serving",
    "Status",
    "Timings",
    "TooLarge",
    "Unavailable",
    "UnexpectedAnswer",
    "WaitTimeout",
    "Wishes",
    "Worker",
]
