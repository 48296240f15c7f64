"""What docker-compose.yml and the Dockerfiles must keep to: each rule tells the faults of a plan, one sentence each."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from pydantic_settings import BaseSettings

from gateway.config import GatewaySettings
from shared.settings import SharedSettings, variable
from tests.support.compose_plan import MIB, Plan, seconds, size
from worker.config import WorkerSettings

PYTHON: Final = "python:3.11-slim"
USER: Final = "10001:10001"
TMP: Final = "/tmp"  # noqa: S108 - a container's own
_FROM: Final = re.compile(r"\bfrom\s*=\s*\S+", re.IGNORECASE)

_INIT: Final = {"init": {"condition": "service_completed_successfully"}}
_AFTER_REDIS: Final = {**_INIT, "redis": {"condition": "service_healthy"}}
_CONTAINED: Final = {"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"]}
_SERVER: Final = {**_CONTAINED, "restart": "unless-stopped"}
_ONCE: Final = {**_CONTAINED, "network_mode": "none", "build": {"context": ".", "dockerfile": "Dockerfile.gateway"}}

FIXED: Final[Mapping[str, Mapping[str, Any]]] = {
    "init": {
        **_ONCE,
        "command": ["python", "-m", "deploy.init", "/srv/secrets"],
        "environment": {"DARKROOM_PORT": 8000},
        "volumes": [f"{service}-secrets:/srv/secrets/{service}" for service in ("redis", "gateway", "worker")],
    },
    "redis": {
        **_SERVER,
        # Of what a machine without a registry can be given; what needs another image is left to a profile.
        "image": "redis:8-alpine",
        "user": "999:1000",
        "group_add": ["10001"],
        "depends_on": _INIT,
        "networks": ["inside"],
        "volumes": ["redis-data:/data", "redis-secrets:/secrets:ro"],
    },
    "gateway": {
        **_SERVER,
        "build": {"context": ".", "dockerfile": "Dockerfile.gateway"},
        "init": True,
        "environment": {
            "DARKROOM_GATEWAY_HOST": "0.0.0.0",
            "DARKROOM_REDIS_URL_FILE": "/secrets/redis-url",
            "X_API_KEY_FILE": "/secrets/key",
        },
        "depends_on": _AFTER_REDIS,
        "networks": ["inside", "outside"],
        "ports": ["127.0.0.1:8000:8000"],
        "volumes": ["gateway-secrets:/secrets:ro"],
    },
    "worker": {
        **_SERVER,
        "build": {"context": ".", "dockerfile": "Dockerfile.worker"},
        "init": True,
        "environment": {
            "DARKROOM_REDIS_URL_FILE": "/secrets/redis-url",
            "DARKROOM_WORKER_BEAT_FILE": f"{TMP}/beat",
            "DARKROOM_WORKER_PROCESSES": "1",
        },
        "depends_on": _AFTER_REDIS,
        "networks": ["inside"],
        "volumes": ["worker-secrets:/secrets:ro"],
    },
    "caddy-volumes": {
        **_ONCE,
        "profiles": ["tls"],
        "command": ["true"],
        "volumes": ["caddy-config:/srv/caddy/config", "caddy-data:/srv/caddy/data"],
    },
    "caddy": {
        **_SERVER,
        "profiles": ["tls"],
        "image": "caddy:2-alpine",
        "user": USER,
        "cap_add": ["NET_BIND_SERVICE"],
        "environment": {"DARKROOM_DOMAIN": "localhost"},
        "depends_on": {
            "caddy-volumes": {"condition": "service_completed_successfully"},
            "gateway": {"condition": "service_started"},
        },
        "networks": ["outside"],
        "ports": ["80:80", "443:443", "443:443/udp"],
        "sysctls": {"net.ipv4.ip_unprivileged_port_start": "0"},
        "volumes": [
            "./deploy/Caddyfile:/etc/caddy/Caddyfile:ro",
            {"type": "volume", "source": "caddy-config", "target": "/config", "volume": {"nocopy": True}},
            {"type": "volume", "source": "caddy-data", "target": "/data", "volume": {"nocopy": True}},
        ],
    },
}
"""Every service, and of each all that opens a door, says who it is or whom it waits for."""

MEASURED: Final[Mapping[str, set[str]]] = {
    "init": {"pids_limit", "logging", "mem_limit"},
    "caddy-volumes": {"pids_limit", "logging", "mem_limit"},
    "redis": {"pids_limit", "logging", "mem_limit", "tmpfs", "healthcheck", "stop_grace_period", "command"},
    "gateway": {"pids_limit", "logging", "mem_limit", "tmpfs", "healthcheck", "stop_grace_period"},
    "worker": {"pids_limit", "logging", "mem_limit", "tmpfs", "healthcheck", "stop_grace_period"},
    "caddy": {"pids_limit", "logging", "mem_limit", "tmpfs", "healthcheck"},
}
"""What may be changed within bounds, which are other rules' to know. Nothing else may be said of a service."""

SERVERS: Final = tuple(name for name, keys in MEASURED.items() if "healthcheck" in keys)

ENDS: Final[Mapping[str, Any]] = {
    "name": "darkroom",
    "networks": {"inside": {"internal": True}, "outside": None},
    "volumes": dict.fromkeys(
        ("caddy-config", "caddy-data", "gateway-secrets", "redis-data", "redis-secrets", "worker-secrets")
    ),
}
"""The file beside its services and what these share."""

LOGS: Final = {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}}
MOST_PIDS: Final = 512
MOST_TMP: Final = 128 * MIB
MOST_BYTES: Final = 2048 * MIB

LEAST_BYTES: Final = {
    # Each byte of a body that is held costs about four.
    "gateway": 4 * GatewaySettings.model_fields["max_held_bytes"].default + 128 * MIB,
    # A decoder, and the worker beside it.
    "worker": WorkerSettings.model_fields["decoder_bytes"].default + 256 * MIB,
}

CHECKS: Final[Mapping[str, tuple[str, ...]]] = {
    "redis": ("CMD-SHELL", 'REDISCLI_AUTH="$$(cat /secrets/health)" redis-cli --user health ping | grep -qx PONG'),
    "gateway": (
        "CMD",
        "bash",
        "-c",
        (
            "exec 3<>/dev/tcp/127.0.0.1/8000"
            r" && printf 'GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3"
            " && read -r -t 4 _ status _ <&3 && [[ $$status == 200 ]]"
        ),
    ),
    "worker": ("CMD-SHELL", f"[ $$(( $$(date +%s) - $$(stat -c %Y {TMP}/beat) )) -lt 15 ]"),
    "caddy": ("CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:2020"),
}
"""The health checks as they were seen to fail, and to pass."""

LEAVING_S: Final = 4
"""What a worker takes to leave, after the job at hand has ended or was given back."""

DRAINS_S: Final = {
    # A second of writes, and whatever a slow disk makes of it.
    "redis": 20,
    "gateway": GatewaySettings.model_fields["drain_s"].default,
    "worker": WorkerSettings.model_fields["drain_s"].default + LEAVING_S,
}
"""How long a service may take to end what it has begun."""

SETTINGS: Final[Mapping[str, tuple[type[BaseSettings], ...]]] = {
    "gateway": (GatewaySettings, SharedSettings),
    "worker": (WorkerSettings, SharedSettings),
}

REDIS_OPTIONS: Final = {
    "--aclfile": "/secrets/users.acl",
    "--appendonly": "yes",
    "--appendfsync": "everysec",
    "--save": "",
    "--maxmemory-policy": "noeviction",
    "--auto-aof-rewrite-min-size": "512mb",
    "--rdbcompression": "no",
}

_INSTALLS: Final = (
    "--mount=type=cache,target=/var/cache/pip python -m pip install --cache-dir /var/cache/pip "
    "--require-hashes --only-binary :all: --requirement requirements.txt"
)


def _steps(part: str, *code: str) -> tuple[tuple[str, str], ...]:
    lock = ("COPY", f"requirements/{part}.txt requirements.txt")
    return ("FROM", PYTHON), lock, ("RUN", _INSTALLS), *(("COPY", step) for step in code), ("USER", USER)


STEPS: Final = {
    "Dockerfile.gateway": _steps(
        "gateway", "LICENSE ./", "shared shared", "gateway gateway", "deploy/__init__.py deploy/init.py deploy/"
    ),
    "Dockerfile.worker": _steps("worker", "LICENSE ./", "shared shared", "worker worker"),
}
"""In this order: whence, the dependencies, the code, who."""


def what_nobody_agreed_to(plan: Plan) -> Iterator[str]:
    """Services, keys and values other than the fixed ones."""
    for name in plan.services.keys() ^ FIXED.keys():
        yield f"{name} is a service too many or too few"
    for name in plan.services.keys() & FIXED.keys():
        service, fixed = plan.services[name], FIXED[name]
        for key in (service.keys() | fixed.keys()) - MEASURED[name]:
            if key not in service or key not in fixed or service[key] != fixed[key]:
                yield f"{name}: {key} is {service.get(key)}"
    for key in plan.document:
        if key not in ENDS and key != "services" and not key.startswith("x-"):
            yield f"the file says {key}"
    for key, value in ENDS.items():
        if plan.document.get(key) != value:
            yield f"the file's {key}: {plan.document.get(key)}"


def what_has_no_bounds(plan: Plan) -> Iterator[str]:
    """Processes, memory, logs and /tmp."""
    for name, service in plan.services.items():
        pids = service.get("pids_limit")
        if not (isinstance(pids, int) and 0 < pids <= MOST_PIDS):
            yield f"{name} can start too many processes"
        if not max(LEAST_BYTES.get(name, 0), MIB) <= size(service.get("mem_limit")) <= MOST_BYTES:
            yield f"{name} can take too much memory or too little"
        if service.get("logging") != LOGS:
            yield f"{name} logs nothing or without end"
    for name in SERVERS:
        mounts = plan.services.get(name, {}).get("tmpfs", [])
        found = re.fullmatch(rf"{TMP}:size=(\w+),noexec,nosuid,nodev", mounts[0]) if len(mounts) == 1 else None
        if found is None or not 0 < size(found[1]) <= MOST_TMP:
            yield f"{name} has no bounded /tmp"


def health_checks_that_see_nothing(plan: Plan) -> Iterator[str]:
    """Other checks than those that were tried, or seldom ones."""
    for name, wanted in CHECKS.items():
        check = dict(plan.services.get(name, {}).get("healthcheck", {}))
        test = check.pop("test", None)
        if (("CMD-SHELL", test) if isinstance(test, str) else tuple(test or ())) != wanted:
            yield f"{name} has another health check"
        times = (seconds(check.pop("interval", "")), seconds(check.pop("timeout", "")))
        patient = (check.pop("retries", 0), seconds(check.pop("start_period", "")))
        if check or not (0 < times[0] <= 10 and 0 < times[1] <= 5 and 0 < patient[0] <= 3 and 0 < patient[1] <= 60):
            yield f"{name} is asked too seldom"


def drains_cut_short(plan: Plan) -> Iterator[str]:
    """Services that are killed before they have ended what they began, or are waited for without end."""
    for name, most in DRAINS_S.items():
        if not most + 5 <= seconds(plan.services.get(name, {}).get("stop_grace_period")) <= 60:
            yield f"{name} is killed while it drains"


def settings_that_do_not_exist(plan: Plan) -> Iterator[str]:
    """Variables that the programs would refuse."""
    for name, kinds in SETTINGS.items():
        known = {variable(kind, field) for kind in kinds for field in kind.model_fields}
        for key in plan.services.get(name, {}).get("environment", {}).keys() - known:
            yield f"{name} knows no {key}"


def a_redis_that_forgets(plan: Plan) -> Iterator[str]:
    """Another Redis than the one that the store was written for."""
    service = plan.services.get("redis", {})
    command = service.get("command", [])
    told = dict(zip(command[1::2], command[2::2], strict=False))
    most = size(told.pop("--maxmemory", ""))
    # The image adds its modules only to these words.
    if command[:1] != ["redis-server"] or len(command) != 2 * len(told) + 3 or told != REDIS_OPTIONS:
        yield f"redis is told {command}"
    # While the append-only file is rewritten every page may be there twice.
    if not 0 < 2 * most <= size(service.get("mem_limit")):
        yield "redis is killed before it refuses"


def what_an_older_engine_cannot_read(plan: Plan) -> Iterator[str]:
    """Words that came after engine 20.10, and a frontend that would be fetched."""
    for word in ("start_interval", "subpath"):
        if word in plan.text:
            yield f"{word} needs a newer engine"
    for name, text in plan.dockerfiles.items():
        if re.search(r"^#\s*syntax\s*=", text, re.MULTILINE | re.IGNORECASE):
            yield f"{name} needs a frontend that is fetched"


def variables_without_a_value(plan: Plan) -> Iterator[str]:
    """Variables that Compose asks for, or warns of."""
    for name in re.findall(r"(?<!\$)\$\{?(\w+)(?!\w|:-)", plan.text):
        yield f"{name} has no default, and Compose asks or warns"


def images_built_otherwise(plan: Plan) -> Iterator[str]:
    """Dockerfiles with other steps: another image, unchecked dependencies, all of the folder, another user."""
    for name in plan.dockerfiles.keys() ^ STEPS.keys():
        yield f"{name} is a Dockerfile too many or too few"
    for name in plan.dockerfiles.keys() & STEPS.keys():
        steps = plan.instructions(name)
        told = tuple(
            step for step in steps if step[0] not in {"RUN", "WORKDIR", "ENV", "EXPOSE", "CMD"} or "pip" in step[1]
        )
        if told != STEPS[name]:
            yield f"{name} has other steps: {told}"
        for word, rest in steps:
            if word != "FROM" and _FROM.search(rest):
                yield f"{name} takes from another image: {rest}"
            if (
                word == "RUN"
                and ("--mount" in rest or "--network" in rest or "--security" in rest)
                and rest != _INSTALLS
            ):
                yield f"{name} runs with more: {rest}"
        uid, _, gid = USER.partition(":")
        made = " ".join(rest for word, rest in steps if word == "RUN")
        if f"--gid {gid} darkroom" not in made or f"--uid {uid} " not in made:
            yield f"{name} makes another user"


Rule: TypeAlias = Callable[[Plan], Iterator[str]]

RULES: Final[tuple[Rule, ...]] = (
    what_nobody_agreed_to,
    what_has_no_bounds,
    health_checks_that_see_nothing,
    drains_cut_short,
    settings_that_do_not_exist,
    a_redis_that_forgets,
    what_an_older_engine_cannot_read,
    variables_without_a_value,
    images_built_otherwise,
)


def faults(plan: Plan) -> set[str]:
    """All that is wrong with a plan."""
    return {fault for rule in RULES for fault in rule(plan)}
