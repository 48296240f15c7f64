"""What can be set about a gateway, each by an environment variable of its own."""

import ipaddress
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class GatewaySettings(BaseSettings):
    """Read once, by the program's start."""

    model_config = SettingsConfigDict(
        env_prefix="DARKROOM_GATEWAY_", frozen=True, extra="forbid", populate_by_name=True
    )

    api_key: SecretStr | None = Field(
        default=None,
        validation_alias="X_API_KEY",
        description="The first key: with it every call but `/health` needs it, as `X-API-Key` or `Authorization: "
        "Bearer`. Visible ASCII.",
    )
    api_key_file: Path | None = Field(
        default=None,
        validation_alias="X_API_KEY_FILE",
        description="A file that holds the first key, in place of the variable above.",
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on; without a key it must be loopback.")
    port: int = Field(default=8000, ge=0, le=65535, description="TCP port to listen on; 0 takes any free one.")
    max_body_bytes: int = Field(
        default=15 * 1024 * 1024,
        ge=1,
        description="Most bytes that a request's body may have.",
    )
    max_held_bytes: int = Field(
        default=128 * 1024 * 1024,
        ge=1,
        description="Most bytes of bodies that are held at a time, until the store has them, and never less than one "
        "body; beyond it callers are asked to come back. Each costs about four times its size of memory.",
    )
    default_wait_s: float = Field(
        default=30,
        ge=0,
        description="Seconds that `POST /predict` waits for its answer when the caller names no time.",
    )
    max_wait_s: float = Field(default=60, ge=0, description="Most seconds that any request is held.")
    retry_keep_s: int = Field(
        default=3600,
        ge=0,
        le=86_400,
        description="Seconds that the picture of a job that failed, was canceled or expired is kept, so that the job "
        "can be tried again, and no longer than its record; 0 erases it at once.",
    )
    redis_connections: int = Field(
        default=32,
        ge=1,
        description="Most connections to Redis for rare calls; two more carry what every request asks, and the news of "
        "ends.",
    )
    throwaway_redis: bool = Field(
        default=False,
        description="Whether to be ready on a Redis that may lose jobs: without append-only file, or one that evicts.",
    )
    drain_s: int = Field(
        default=10,
        ge=0,
        description="Seconds that requests in flight get to finish when the gateway is told to stop.",
    )


def is_loopback(host: str) -> bool:
    """Whether `host`, a name or an address without port, can only mean this machine."""
    name = host.rstrip(".").lower()
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"
