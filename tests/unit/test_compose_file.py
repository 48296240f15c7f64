"""docker-compose.yml and the Dockerfiles keep to what they promise. Every rule is shown a broken copy and objects."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import pytest
from pydantic_settings import BaseSettings
from ruamel.yaml import YAML

from gateway.config import GatewaySettings
from shared.settings import SharedSettings, variable
from tests.support.programs import ROOT
from worker.config import WorkerSettings

AT_HAND: Final = frozenset({"python:3.11-slim", "redis:8-alpine"})
"""Images that a machine without a registry can be given; what needs another one is left to a profile."""

ADDED: Final = {"caddy": ["NET_BIND_SERVICE"]}
"""Capabilities that a service has nevertheless."""

SETTINGS: Final[dict[str, tuple[type[BaseSettings], ...]]] = {
    "gateway": (GatewaySettings, SharedSettings),
    "worker": (WorkerSettings, SharedSettings),
}

DRAINS_S: Final = {"gateway": GatewaySettings.model_fields["drain_s"].default, "worker": 30}
"""How long a service may take to end what it has begun."""

Service: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The docker-compose.yml as it is without any settings, its text, and the Dockerfiles' texts by name."""

    document: dict[str, Any]
    text: str
    dockerfiles: dict[str, str]

    @property
    def services(self) -> dict[str, Service]:
        return dict(self.document["services"])

    @property
    def one_shots(self) -> set[str]:
        """Services that others wait to see ended."""
        waits = (service.get("depends_on", {}) for service in self.services.values())
        return {name for wait in waits for name, how in wait.items() if how["condition"].endswith("successfully")}

    @property
    def servers(self) -> dict[str, Service]:
        return {name: service for name, service in self.services.items() if name not in self.one_shots}

    def dockerfile(self, service: Service) -> str:
        """The text of what the service is built from, empty for one that is not built."""
        return self.dockerfiles.get(service.get("build", {}).get("dockerfile", ""), "")


def as_it_stands() -> Plan:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    read = YAML(typ="safe", pure=True).load(re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text))
    # Through JSON, so that what the anchors share is shared no longer and can be broken one by one.
    document = json.loads(json.dumps(read))
    dockerfiles = {path.name: path.read_text(encoding="utf-8") for path in ROOT.glob("Dockerfile*")}
    return Plan(document=document, text=text, dockerfiles=dockerfiles)


def images_that_cannot_be_had(plan: Plan) -> Iterator[str]:
    for name, service in plan.services.items():
        image = service.get("image")
        if image is None and not plan.dockerfile(service):
            yield f"{name} is neither built from a Dockerfile nor an image"
        if image is not None and image not in AT_HAND and not service.get("profiles"):
            yield f"{name} needs the image {image}"
    for name, text in plan.dockerfiles.items():
        for image in re.findall(r"^FROM\s+(\S+)", text, re.MULTILINE):
            if image not in AT_HAND:
                yield f"{name} needs the image {image}"


def what_is_not_contained(plan: Plan) -> Iterator[str]:
    for name, service in plan.services.items():
        if service.get("cap_drop") != ["ALL"] or service.get("cap_add", []) != ADDED.get(name, []):
            yield f"{name} has capabilities"
        if service.get("read_only") is not True:
            yield f"{name} can write to its own programs"
        if service.get("security_opt") != ["no-new-privileges:true"]:
            yield f"{name} can gain privileges"
        for door in ("privileged", "devices", "pid", "ipc", "userns_mode", "volumes_from"):
            if door in service:
                yield f"{name} has {door}"
        if service.get("network_mode", "none") != "none":
            yield f"{name} shares a network"


def what_has_no_bounds(plan: Plan) -> Iterator[str]:
    for name, service in plan.services.items():
        if not (isinstance(service.get("pids_limit"), int) and service["pids_limit"] > 0):
            yield f"{name} can start any number of processes"
        if not re.fullmatch(r"[1-9][0-9]*[mg]", str(service.get("mem_limit"))):
            yield f"{name} can take any amount of memory"


def whoever_is_root(plan: Plan) -> Iterator[str]:
    for name, service in plan.services.items():
        told = re.findall(r"^USER\s+(\S+)", plan.dockerfile(service), re.MULTILINE)
        user = service.get("user") or (told[-1] if told else "root")
        if not re.fullmatch(r"[1-9][0-9]*:[1-9][0-9]*", str(user)):
            yield f"{name} runs as {user}"


def servers_that_stay_down(plan: Plan) -> Iterator[str]:
    for name, service in plan.servers.items():
        if service.get("restart") != "unless-stopped":
            yield f"{name} is not started again"
        if not service.get("healthcheck", {}).get("test"):
            yield f"{name} has no health check"
        if not any("size=" in mount and "noexec" in mount for mount in service.get("tmpfs", [])):
            yield f"{name} has no bounded /tmp"
        if service.get("logging", {}).get("options", {}).keys() != {"max-size", "max-file"}:
            yield f"{name} logs without end"
    for name in plan.one_shots:
        if "restart" in plan.services[name]:
            yield f"{name} is started for ever"


def drains_cut_short(plan: Plan) -> Iterator[str]:
    for name, seconds in DRAINS_S.items():
        grace = re.fullmatch(r"([0-9]+)s", str(plan.services[name].get("stop_grace_period")))
        if grace is None or int(grace[1]) < seconds + 5:
            yield f"{name} is killed while it drains"


def doors_to_the_outside(plan: Plan) -> Iterator[str]:
    for name, service in plan.services.items():
        for port in service.get("ports", []):
            if not service.get("profiles") and not (isinstance(port, str) and port.startswith("127.0.0.1:")):
                yield f"{name} publishes {port} to everybody"
        for volume in service.get("volumes", []):
            if "docker.sock" in str(volume):
                yield f"{name} commands the engine"
    internal = {name for name, network in plan.document["networks"].items() if (network or {}).get("internal")}
    for name in ("redis", "worker"):
        service = plan.services[name]
        if service.get("ports") or not service.get("networks") or not set(service["networks"]) <= internal:
            yield f"{name} can be reached from outside, or reach it"
    if plan.services["init"].get("network_mode") != "none":
        yield "init has a network"


def secrets_in_the_open(plan: Plan) -> Iterator[str]:
    for name, service in plan.services.items():
        for key, value in service.get("environment", {}).items():
            if re.search(r"KEY|PASS|SECRET|TOKEN", key) and not key.endswith("_FILE"):
                yield f"{name} has a secret in its environment: {key}"
            if re.search(r"://[^/\s]*@", str(value)):
                yield f"{name} has a password in its environment: {key}"
        if re.search(r"requirepass|://[^/\s]*:[^/\s]*@| -a ", str(service.get("command")) + str(service)):
            yield f"{name} has a password on its command line"


def secrets_of_others(plan: Plan) -> Iterator[str]:
    for name, service in plan.services.items():
        secrets = [mount for mount in map(str, service.get("volumes", [])) if "secrets" in mount]
        own = [f"{name}-secrets:/secrets:ro"] if name in {"redis", "gateway", "worker"} else []
        if name != "init" and secrets != own:
            yield f"{name} mounts {secrets}"


def settings_that_do_not_exist(plan: Plan) -> Iterator[str]:
    for name, kinds in SETTINGS.items():
        known = {variable(kind, field) for kind in kinds for field in kind.model_fields}
        for key in plan.services[name]["environment"].keys() - known:
            yield f"{name} knows no {key}"
    if plan.services["worker"]["environment"].get("DARKROOM_WORKER_PROCESSES") != "1":
        yield "a worker is not one process"


def a_redis_that_forgets(plan: Plan) -> Iterator[str]:
    command = plan.services["redis"]["command"]
    told = dict(zip(command[1::2], command[2::2], strict=True))
    wanted = {
        "--aclfile": "/secrets/users.acl",
        "--appendonly": "yes",
        "--appendfsync": "everysec",
        "--maxmemory-policy": "noeviction",
    }
    # The image drops root only before these words, and adds its modules only to them.
    if command[0] != "redis-server" or not wanted.items() <= told.items() or "--maxmemory" not in told:
        yield f"redis is told {command}"
    if "redis-data:/data" not in plan.services["redis"]["volumes"]:
        yield "redis keeps nothing"


def what_an_older_engine_cannot_read(plan: Plan) -> Iterator[str]:
    if "version" in plan.document:
        yield "a version is named, which Compose warns of"
    for word in ("start_interval", "subpath"):
        if word in plan.text:
            yield f"{word} needs a newer engine"
    for name, text in plan.dockerfiles.items():
        if re.search(r"^#\s*syntax\s*=", text, re.MULTILINE):
            yield f"{name} needs a frontend that is fetched"


def variables_without_a_value(plan: Plan) -> Iterator[str]:
    for name in re.findall(r"(?<!\$)\$\{?(\w+)(?!\w|:-)", plan.text):
        yield f"{name} has no default, and Compose asks or warns"


Rule: TypeAlias = Callable[[Plan], Iterator[str]]

RULES: Final[tuple[Rule, ...]] = (
    images_that_cannot_be_had,
    what_is_not_contained,
    what_has_no_bounds,
    whoever_is_root,
    servers_that_stay_down,
    drains_cut_short,
    doors_to_the_outside,
    secrets_in_the_open,
    secrets_of_others,
    settings_that_do_not_exist,
    a_redis_that_forgets,
    what_an_older_engine_cannot_read,
    variables_without_a_value,
)


def faults(plan: Plan) -> set[str]:
    return {fault for rule in RULES for fault in rule(plan)}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_file_as_it_stands_has_none_of(rule: Rule) -> None:
    assert list(rule(as_it_stands())) == []


Everywhere: Final = ("init", "redis", "gateway", "worker", "caddy-volumes", "caddy")
Servers: Final = ("redis", "gateway", "worker", "caddy")

LOST: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "cap_drop": ("has capabilities", Everywhere),
    "read_only": ("can write to its own programs", Everywhere),
    "security_opt": ("can gain privileges", Everywhere),
    "pids_limit": ("can start any number of processes", Everywhere),
    "mem_limit": ("can take any amount of memory", Everywhere),
    "restart": ("is not started again", Servers),
    "healthcheck": ("has no health check", Servers),
    "tmpfs": ("has no bounded /tmp", Servers),
    "logging": ("logs without end", Servers),
    "stop_grace_period": ("is killed while it drains", ("gateway", "worker")),
    "user": ("runs as root", ("redis", "caddy")),
    "networks": ("can be reached from outside, or reach it", ("redis", "worker")),
    "profiles": ("needs the image caddy:2-alpine", ("caddy",)),
    "network_mode": ("has a network", ("init",)),
}


@pytest.mark.parametrize(
    ("service", "key", "fault"),
    [(service, key, fault) for key, (fault, services) in LOST.items() for service in services],
)
def test_a_service_that_loses_this_is_found(service: str, key: str, fault: str) -> None:
    plan = as_it_stands()

    del plan.document["services"][service][key]

    assert f"{service} {fault}" in faults(plan)


def test_there_is_no_other_service() -> None:
    assert set(as_it_stands().services) == set(Everywhere)


@pytest.mark.parametrize(
    ("service", "key", "value", "fault"),
    [
        ("redis", "image", "redis:latest", "redis needs the image redis:latest"),
        ("redis", "user", "0:0", "redis runs as 0:0"),
        ("redis", "user", "root", "redis runs as root"),
        ("redis", "ports", ["127.0.0.1:6379:6379"], "redis can be reached from outside, or reach it"),
        ("redis", "networks", ["inside", "outside"], "redis can be reached from outside, or reach it"),
        ("redis", "volumes", ["redis-secrets:/secrets:ro"], "redis keeps nothing"),
        ("gateway", "ports", ["8000:8000"], "gateway publishes 8000:8000 to everybody"),
        ("gateway", "ports", ["0.0.0.0:8000:8000"], "gateway publishes 0.0.0.0:8000:8000 to everybody"),
        ("gateway", "user", "0", "gateway runs as 0"),
        ("gateway", "build", {"context": "."}, "gateway is neither built from a Dockerfile nor an image"),
        ("gateway", "cap_add", ["SYS_ADMIN"], "gateway has capabilities"),
        ("gateway", "privileged", True, "gateway has privileged"),
        ("gateway", "security_opt", ["no-new-privileges:true", "seccomp:unconfined"], "gateway can gain privileges"),
        ("gateway", "network_mode", "host", "gateway shares a network"),
        ("gateway", "stop_grace_period", "10s", "gateway is killed while it drains"),
        ("gateway", "volumes", ["/var/run/docker.sock:/var/run/docker.sock"], "gateway commands the engine"),
        ("gateway", "volumes", ["worker-secrets:/secrets:ro"], "gateway mounts ['worker-secrets:/secrets:ro']"),
        ("worker", "volumes", ["worker-secrets:/secrets"], "worker mounts ['worker-secrets:/secrets']"),
        ("worker", "pids_limit", -1, "worker can start any number of processes"),
        ("worker", "mem_limit", 0, "worker can take any amount of memory"),
        ("worker", "tmpfs", ["/scratch:noexec"], "worker has no bounded /tmp"),
        ("worker", "restart", "on-failure", "worker is not started again"),
        ("init", "restart", "unless-stopped", "init is started for ever"),
        ("caddy", "volumes", ["gateway-secrets:/secrets:ro"], "caddy mounts ['gateway-secrets:/secrets:ro']"),
        ("redis", "healthcheck", {"test": "redis-cli -a secret ping"}, "redis has a password on its command line"),
    ],
)
def test_a_service_with_this_is_found(service: str, key: str, value: object, fault: str) -> None:
    plan = as_it_stands()

    plan.document["services"][service][key] = value

    assert fault in faults(plan)


@pytest.mark.parametrize(
    ("service", "name", "value", "fault"),
    [
        ("gateway", "X_API_KEY", "dk_x", "gateway has a secret in its environment: X_API_KEY"),
        ("gateway", "DARKROOM_REDIS_URL", "redis://:x@redis", "gateway has a password in its environment: "),
        ("gateway", "DARKROOM_GATEWAY_HOSTS", "::", "gateway knows no DARKROOM_GATEWAY_HOSTS"),
        ("worker", "DARKROOM_WORKER_PROCESSES", "4", "a worker is not one process"),
        ("worker", "DARKROOM_WORKER_THREADS", "1", "worker knows no DARKROOM_WORKER_THREADS"),
    ],
)
def test_a_variable_that_must_not_be_there_is_found(service: str, name: str, value: str, fault: str) -> None:
    plan = as_it_stands()

    plan.document["services"][service]["environment"][name] = value

    assert any(found.startswith(fault) for found in faults(plan))


@pytest.mark.parametrize(
    ("told", "instead"),
    [
        ("redis-server", "/usr/local/bin/redis-server"),
        ("yes", "no"),
        ("everysec", "no"),
        ("noeviction", "allkeys-lru"),
        ("--aclfile", "--include"),
        ("--maxmemory", "--maxclients"),
    ],
)
def test_a_redis_that_would_lose_jobs_or_let_anybody_in_is_found(told: str, instead: str) -> None:
    plan = as_it_stands()
    command = plan.document["services"]["redis"]["command"]

    command[command.index(told)] = instead

    assert any(fault.startswith("redis is told") for fault in faults(plan))


def test_a_network_that_leads_outside_is_found() -> None:
    plan = as_it_stands()

    plan.document["networks"]["inside"] = {}

    assert "redis can be reached from outside, or reach it" in faults(plan)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("# syntax=docker/dockerfile:1", "needs a frontend that is fetched"),
        ("FROM node:22 AS build", "needs the image node:22"),
    ],
)
@pytest.mark.parametrize("name", ["Dockerfile.gateway", "Dockerfile.worker"])
def test_a_dockerfile_that_needs_what_cannot_be_had_is_found(name: str, line: str, fault: str) -> None:
    plan = as_it_stands()

    plan.dockerfiles[name] = f"{line}\n{plan.dockerfiles[name]}"

    assert f"{name} {fault}" in faults(plan)


@pytest.mark.parametrize(
    ("name", "services"), [("Dockerfile.gateway", {"init", "gateway"}), ("Dockerfile.worker", {"worker"})]
)
def test_an_image_that_runs_as_root_is_found(name: str, services: set[str]) -> None:
    plan = as_it_stands()

    plan.dockerfiles[name] += "USER root\n"

    assert {f"{service} runs as root" for service in services} <= faults(plan)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("${DARKROOM_PORT}", "DARKROOM_PORT has no default, and Compose asks or warns"),
        ("$DARKROOM_PORT", "DARKROOM_PORT has no default, and Compose asks or warns"),
        ("${DARKROOM_DOMAIN:?}", "DARKROOM_DOMAIN has no default, and Compose asks or warns"),
        ("start_interval: 1s", "start_interval needs a newer engine"),
    ],
)
def test_a_text_that_does_not_start_everywhere_is_found(text: str, fault: str) -> None:
    plan = as_it_stands()

    altered = Plan(document=plan.document, text=f"{plan.text}\n# {text}\n", dockerfiles=plan.dockerfiles)

    assert fault in faults(altered)
