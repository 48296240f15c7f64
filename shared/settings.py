"""What both sides must agree on, and the rule that no variable with our prefix may be unknown."""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

Settings = TypeVar("Settings", bound=BaseSettings)

_REDIS_URL: Final = re.compile(
    r"redis://([^/?#@]*@)?(\[[0-9a-f:.]+\]|[^/?#@:\[\]]+)(:[0-9]{1,5})?(/[0-9]*)?|unix://([^/?#@]*@)?/[^?#]+(\?db=[0-9]+)?"
)


def _has_port(url: str) -> bool:
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False


class SettingsError(Exception):
    """The environment cannot be meant; one sentence that names the variables."""


class UnknownVariable(SettingsError):
    """An environment variable with our prefix is none that we read."""


class InvalidVariable(SettingsError):
    """An environment variable has a value that its setting does not take."""


def read_secret(path: Path) -> str:
    """What a file holds that keeps a secret out of the environment: its text, without the line's end.

    Raises: ValueError with a sentence that does not repeat the text.
    """
    try:
        text = path.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise ValueError(f"the file cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError("the file is no text") from None
    if not text:
        raise ValueError("the file is empty")
    return text


class SharedSettings(BaseSettings):
    """Read by gateway and worker alike."""

    model_config = SettingsConfigDict(env_prefix="DARKROOM_", frozen=True, extra="ignore")

    redis_url: str = Field(
        default="redis://127.0.0.1:6379/0",
        repr=False,
        description="Redis (≥ 6.2) or Valkey that keeps jobs: `redis://[:password@]host:port/db` or "
        "`unix://[:password@]/path/to/socket?db=0`.",
    )
    redis_url_file: Path | None = Field(
        default=None,
        description="A file that holds this URL, in place of the variable above: for a URL with a password.",
    )

    @model_validator(mode="before")
    @classmethod
    def _from_file(cls, values: dict[str, Any]) -> dict[str, Any]:
        path = values.get("redis_url_file")
        if path is None:
            return values
        if "redis_url" in values:
            raise ValueError("set DARKROOM_REDIS_URL or DARKROOM_REDIS_URL_FILE, not both")
        try:
            return {**values, "redis_url": read_secret(Path(path))}
        except ValueError as error:
            raise ValueError(f"DARKROOM_REDIS_URL_FILE: {error}") from None

    @field_validator("redis_url")
    @classmethod
    def _both_sides_read_it_alike(cls, url: str) -> str:
        # Celery and our own client each have options and schemes that the other does not know.
        if not _REDIS_URL.fullmatch(url) or not _has_port(url):
            raise ValueError("a URL like redis://host:6379/0 or unix:///path/to/socket?db=0 is wanted, without options")
        return url


def refuse_unknown(settings: type[BaseSettings], environ: Mapping[str, str] | None = None) -> None:
    """Refuse a variable that starts with the settings' prefix and is none of its fields: a typo is not a default.

    Raises: UnknownVariable with a sentence that names the variable and the nearest known ones.
    """
    prefix = str(settings.model_config.get("env_prefix", ""))
    known = {variable(settings, name) for name in settings.model_fields}
    names: Iterable[str] = os.environ if environ is None else environ
    unknown = sorted(name for name in names if name.upper().startswith(prefix) and name.upper() not in known)
    if unknown:
        msg = f"{', '.join(unknown)}: no such setting. Known: {', '.join(sorted(known))}"
        raise UnknownVariable(msg)


def read(settings: type[Settings]) -> Settings:
    """The settings as the environment has them.

    Raises: UnknownVariable, InvalidVariable.
    """
    if settings.model_config.get("extra") == "forbid":
        refuse_unknown(settings)
    try:
        return settings()
    except ValidationError as error:
        # Not from it: pydantic's own words repeat what the variable holds.
        raise InvalidVariable("; ".join(_faults(settings, error))) from None


def variable(settings: type[BaseSettings], name: str) -> str:
    """The environment variable of a setting."""
    alias = settings.model_fields[name].validation_alias
    return alias if isinstance(alias, str) else f"{settings.model_config.get('env_prefix', '')}{name}".upper()


def _faults(settings: type[BaseSettings], error: ValidationError) -> Iterable[str]:
    for fault in error.errors(include_input=False):
        said = str(fault["ctx"]["error"]) if fault["type"] == "value_error" else fault["msg"]
        # What concerns several settings names them itself.
        name = str(fault["loc"][0]) if fault["loc"] else None
        yield said if name is None else f"{variable(settings, name) if name in settings.model_fields else name}: {said}"
