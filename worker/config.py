"""The worker's settings."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from worker.preprocessing import Mode


class WorkerSettings(BaseSettings):
    """Environment variables that start with `DARKROOM_WORKER_`."""

    model_config = SettingsConfigDict(env_prefix="DARKROOM_WORKER_", frozen=True, extra="forbid")

    processes: int = Field(
        default=1,
        ge=1,
        le=256,
        description="Processes that classify, each one picture at a time. One per core is best.",
    )
    budget_jobs: int = Field(
        default=200,
        ge=1,
        description="Most jobs that one ring of the bell leads to, before Celery may have its say again.",
    )
    budget_s: float = Field(default=1.0, gt=0, le=60, description="The same in seconds.")
    linger_s: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Seconds that a worker stays when the queue is empty; spares a lone client the bell.",
    )
    beat_s: float = Field(default=2.0, gt=0, le=5, description="Seconds between two signs of life.")
    beat_file: Path | None = Field(
        default=None,
        description="A file to touch whenever Redis has taken a sign of life: its age tells a health check the rest.",
    )
    decode_s: float = Field(
        default=10.0, gt=0, le=60, description="Seconds that decoding one picture may take; then its decoder is killed."
    )
    decoder_bytes: int = Field(
        default=1024**3,
        ge=256 * 1024**2,
        description="Most bytes of address space that a decoder may have. With less than 512 MiB pictures of more than "
        "about 30 megapixels may not fit.",
    )
    preprocessing: Mode = Field(
        default="fast",
        description="`exact`: the pixels that the plain formula gives. `fast`: nearly the same ones for less, "
        "half or a third for a large JPEG. Alike for all workers, or an answer depends on who gives it.",
    )
    job_s: float = Field(
        default=60.0,
        gt=0,
        description="Seconds that one job may keep its worker process; then the process ends, and is replaced. Well "
        "above `DARKROOM_WORKER_DECODE_S`.",
    )
    drain_s: float = Field(
        default=20.0,
        ge=0,
        le=20,
        description="Seconds that the job at hand gets once the worker is told to stop; then it waits for another.",
    )
