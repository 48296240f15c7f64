"""docker-compose.yml and the Dockerfiles keep to what they promise. Every rule is shown a broken copy and objects."""

from typing import Any, Final

import pytest

from tests.support.compose_plan import Plan, as_it_stands
from tests.support.compose_rules import CHECKS, FIXED, MEASURED, RULES, SERVERS, TMP, Rule, faults
from tests.support.programs import ROOT

EVERYWHERE: Final = tuple(FIXED)
GATEWAY: Final = "Dockerfile.gateway"
WORKER: Final = "Dockerfile.worker"
SHUT: Final = "noexec,nosuid,nodev"

A_CHECK: Final = {"interval": "5s", "timeout": "5s", "retries": 3, "start_period": "60s"}


def broken(service: str, key: str, value: Any) -> set[str]:
    """The faults of a plan in which a service has this."""
    plan = as_it_stands()
    plan.document["services"][service][key] = value
    return faults(plan)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_file_as_it_stands_has_none_of(rule: Rule) -> None:
    assert list(rule(as_it_stands())) == []


@pytest.mark.parametrize(
    ("service", "key"),
    [(service, key) for service in EVERYWHERE for key in sorted(FIXED[service].keys() | MEASURED[service])],
)
def test_a_service_that_loses_anything_is_found(service: str, key: str) -> None:
    plan = as_it_stands()

    del plan.document["services"][service][key]

    assert any(service in fault for fault in faults(plan))


@pytest.mark.parametrize("service", EVERYWHERE)
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("cgroup", "host"),
        ("cgroup_parent", "/"),
        ("configs", ["x"]),
        ("deploy", {"resources": {"limits": {"memory": "99g"}}}),
        ("device_cgroup_rules", ["a *:* rwm"]),
        ("devices", ["/dev/kvm"]),
        ("dns", ["192.0.2.1"]),
        ("entrypoint", ["sh"]),
        ("env_file", [".env"]),
        ("extra_hosts", ["redis:192.0.2.1"]),
        ("ipc", "host"),
        ("links", ["redis"]),
        ("oom_kill_disable", True),
        ("pid", "host"),
        ("platform", "linux/386"),
        ("privileged", True),
        ("runtime", "runsc"),
        ("scale", 4),
        ("secrets", ["x"]),
        ("stop_signal", "SIGKILL"),
        ("ulimits", {"nofile": 8}),
        ("userns_mode", "host"),
        ("uts", "host"),
        ("volumes_from", ["redis"]),
        ("working_dir", "/"),
    ],
)
def test_a_key_that_no_service_has_is_found(service: str, key: str, value: Any) -> None:
    assert f"{service}: {key} is {value}" in broken(service, key, value)


@pytest.mark.parametrize("service", EVERYWHERE)
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("build", {"context": ".", "dockerfile": "Dockerfile.gateway", "network": "host"}),
        ("cap_add", ["SYS_ADMIN"]),
        ("cap_drop", ["NET_RAW"]),
        ("command", ["sh"]),
        ("depends_on", {}),
        ("environment", {"X_API_KEY": "dk_x"}),
        ("group_add", [0]),
        ("image", "redis:latest"),
        ("network_mode", "host"),
        ("networks", ["inside", "outside", "others"]),
        ("ports", ["2019:2019"]),
        ("ports", ["0.0.0.0:8000:8000"]),
        ("profiles", ["other"]),
        ("read_only", False),
        ("restart", "on-failure"),
        ("security_opt", ["no-new-privileges:true", "seccomp:unconfined"]),
        ("sysctls", {"net.ipv4.ip_forward": "1"}),
        ("user", "0:0"),
        ("user", "1000:1000"),
        ("user", "root"),
    ],
)
def test_a_service_with_other_rights_is_found(service: str, key: str, value: Any) -> None:
    assert broken(service, key, value)


@pytest.mark.parametrize("service", EVERYWHERE)
@pytest.mark.parametrize(
    "volume",
    [
        "/:/host",
        "/var/run/docker.sock:/var/run/docker.sock",
        "redis-data:/data/x",
        "gateway-secrets:/other",
        "worker-secrets:/other:ro",
        {"type": "bind", "source": "/", "target": "/host"},
    ],
)
def test_a_volume_more_is_found(service: str, volume: Any) -> None:
    volumes = [*FIXED[service]["volumes"], volume]

    assert f"{service}: volumes is {volumes}" in broken(service, "volumes", volumes)


@pytest.mark.parametrize("service", ["redis", "gateway", "worker"])
def test_secrets_that_a_service_could_change_are_found(service: str) -> None:
    volumes = [volume.removesuffix(":ro") for volume in FIXED[service]["volumes"]]

    assert f"{service}: volumes is {volumes}" in broken(service, "volumes", volumes)


@pytest.mark.parametrize("service", EVERYWHERE)
@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        ("pids_limit", -1, "can start too many processes"),
        ("pids_limit", 0, "can start too many processes"),
        ("pids_limit", 10_000_000, "can start too many processes"),
        ("mem_limit", 0, "can take too much memory or too little"),
        ("mem_limit", "1k", "can take too much memory or too little"),
        ("mem_limit", "999g", "can take too much memory or too little"),
        ("logging", {"driver": "none"}, "logs nothing or without end"),
        ("logging", {"driver": "json-file"}, "logs nothing or without end"),
        ("logging", {"driver": "json-file", "options": {"max-size": "10g", "max-file": "3"}}, "logs nothing or"),
    ],
)
def test_a_service_without_bounds_is_found(service: str, key: str, value: Any, fault: str) -> None:
    assert any(found.startswith(f"{service} {fault}") for found in broken(service, key, value))


@pytest.mark.parametrize("service", SERVERS)
@pytest.mark.parametrize(
    "mounts",
    [
        [],
        [f"{TMP}:size=999g,{SHUT}"],
        [f"{TMP}:size=0m,{SHUT}"],
        [f"{TMP}:{SHUT}"],
        [f"{TMP}:size=64m"],
        [f"/scratch:size=64m,{SHUT}"],
        [f"{TMP}:size=64m,{SHUT}", f"/app:size=64m,{SHUT}"],
    ],
)
def test_a_tmp_without_bounds_is_found(service: str, mounts: list[str]) -> None:
    assert f"{service} has no bounded /tmp" in broken(service, "tmpfs", mounts)


@pytest.mark.parametrize(("service", "limit"), [("gateway", "512m"), ("worker", "1g"), ("worker", "1100m")])
def test_less_memory_than_a_service_needs_is_found(service: str, limit: str) -> None:
    assert f"{service} can take too much memory or too little" in broken(service, "mem_limit", limit)


@pytest.mark.parametrize("service", SERVERS)
@pytest.mark.parametrize(
    "test", [["CMD", "true"], ["NONE"], "NONE", "true", ["CMD-SHELL", "exit 0"], [], None, "redis-cli -a secret ping"]
)
def test_a_health_check_that_sees_nothing_is_found(service: str, test: Any) -> None:
    check = {**A_CHECK, "test": test}

    assert f"{service} has another health check" in broken(service, "healthcheck", check)


@pytest.mark.parametrize("service", SERVERS)
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("disable", True),
        ("interval", "1h"),
        ("interval", "60s"),
        ("timeout", "60s"),
        ("retries", 1000),
        ("start_period", "600s"),
    ],
)
def test_a_health_check_that_is_seldom_made_is_found(service: str, key: str, value: Any) -> None:
    check = {**as_it_stands().services[service]["healthcheck"], key: value}

    assert broken(service, "healthcheck", check) == {f"{service} is asked too seldom"}


@pytest.mark.parametrize(
    ("service", "grace"), [("gateway", "10s"), ("worker", "25s"), ("worker", "1m"), ("worker", "999s"), ("worker", 40)]
)
def test_a_time_to_end_that_is_too_short_or_has_no_end_is_found(service: str, grace: object) -> None:
    assert f"{service} is killed while it drains" in broken(service, "stop_grace_period", grace)


@pytest.mark.parametrize(
    ("service", "name", "value"),
    [
        ("gateway", "X_API_KEY", "dk_x"),
        ("gateway", "DARKROOM_REDIS_URL", "redis://:x@redis"),
        ("gateway", "DARKROOM_GATEWAY_THROWAWAY_REDIS", "true"),
        ("worker", "DARKROOM_WORKER_PROCESSES", "4"),
        ("init", "PASSWORD", "x"),
    ],
)
def test_a_variable_that_must_not_be_there_is_found(service: str, name: str, value: str) -> None:
    variables = {**FIXED[service]["environment"], name: value}

    assert f"{service}: environment is {variables}" in broken(service, "environment", variables)


@pytest.mark.parametrize(
    ("service", "name"),
    [(service, name) for service in ("gateway", "worker") for name in FIXED[service]["environment"]],
)
def test_a_variable_that_is_not_there_is_found(service: str, name: str) -> None:
    variables = {key: value for key, value in FIXED[service]["environment"].items() if key != name}

    assert f"{service}: environment is {variables}" in broken(service, "environment", variables)


@pytest.mark.parametrize(
    ("service", "name"), [("gateway", "DARKROOM_GATEWAY_HOSTS"), ("worker", "DARKROOM_WORKER_THREADS")]
)
def test_a_variable_that_the_program_would_refuse_is_found(service: str, name: str) -> None:
    assert f"{service} knows no {name}" in broken(service, "environment", {name: "1"})


@pytest.mark.parametrize(
    ("told", "instead"),
    [
        ("redis-server", "/usr/local/bin/redis-server"),
        ("yes", "no"),
        ("everysec", "no"),
        ("noeviction", "allkeys-lru"),
        ("--aclfile", "--include"),
        ("--save", "--requirepass"),
        ("--maxmemory", "--maxclients"),
    ],
)
def test_a_redis_that_would_lose_jobs_or_let_anybody_in_is_found(told: str, instead: str) -> None:
    command = [instead if word == told else word for word in as_it_stands().services["redis"]["command"]]

    assert f"redis is told {command}" in broken("redis", "command", command)


def test_an_option_more_for_redis_is_found() -> None:
    command = as_it_stands().services["redis"]["command"]

    for more in (["--requirepass", "secret"], ["--appendonly", "no"], ["--protected-mode"]):
        assert f"redis is told {command + more}" in broken("redis", "command", command + more)


@pytest.mark.parametrize("most", ["0", "2gb", "1200mb", "-1"])
def test_a_redis_that_may_hold_more_than_its_container_is_found(most: str) -> None:
    command = [most if word == "1gb" else word for word in as_it_stands().services["redis"]["command"]]

    assert "redis is killed before it refuses" in broken("redis", "command", command)


def test_a_container_that_is_smaller_than_redis_is_found() -> None:
    assert "redis is killed before it refuses" in broken("redis", "mem_limit", "1g")


def test_a_service_that_nobody_knows_is_found() -> None:
    plan = as_it_stands()
    plan.document["services"]["shell"] = plan.document["services"]["init"]

    assert "shell is a service too many or too few" in faults(plan)


def test_a_service_that_is_gone_is_found() -> None:
    plan = as_it_stands()
    del plan.document["services"]["caddy"]

    assert "caddy is a service too many or too few" in faults(plan)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("version", "3"),
        ("include", ["other.yml"]),
        ("secrets", {"x": {"file": "x"}}),
        ("networks", {"inside": {}, "outside": None}),
        ("networks", {"inside": {"internal": True}, "outside": {"external": True}}),
        ("volumes", {"redis-data": {"driver_opts": {"type": "none", "o": "bind", "device": "/"}}}),
    ],
)
def test_what_the_services_share_is_fixed_too(key: str, value: Any) -> None:
    plan = as_it_stands()

    plan.document[key] = value

    assert faults(plan)


@pytest.mark.parametrize("name", [GATEWAY, WORKER])
@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("FROM python:3.11-slim", "FROM python:latest"),
        ("FROM python:3.11-slim", "from node:22"),
        ("FROM python:3.11-slim", "FROM node:22 AS build\nFROM python:3.11-slim"),
        ("FROM python:3.11-slim", "# syntax=docker/dockerfile:1\nFROM python:3.11-slim"),
        ("FROM python:3.11-slim", "FROM --platform=linux/386 python:3.11-slim"),
        ("WORKDIR /app", "COPY --from=node:22 /usr/bin/node /usr/bin/node"),
        ("WORKDIR /app", "copy --from=node:22 /usr/bin/node /usr/bin/node"),
        ("WORKDIR /app", "RUN --mount=type=bind,from=node:22,target=/x true"),
        ("WORKDIR /app", "RUN --mount=type=bind,FROM=node:22,target=/x true"),
        ("WORKDIR /app", "RUN --network=host true"),
        ("WORKDIR /app", "COPY . ."),
        ("WORKDIR /app", "COPY shared shared"),
        ("WORKDIR /app", "ADD https://example.org/x /x"),
        ("WORKDIR /app", "RUN pip install x"),
        ("WORKDIR /app", 'RUN ["python", "-m", "pip", "install", "x"]'),
        ("WORKDIR /app", 'ENTRYPOINT ["sh"]'),
        ("--require-hashes ", ""),
        ("--only-binary :all: ", ""),
        ("--mount=type=cache,target=/var/cache/pip", "--mount=type=cache,target=/x"),
        ("--mount=type=cache,target=/var/cache/pip \\\n", "\\\n"),
        (" --cache-dir /var/cache/pip", ""),
        ("USER 10001:10001", "USER root"),
        ("USER 10001:10001", "USER 10001"),
        ("USER 10001:10001", "USER 1000:1000"),
        ("USER 10001:10001", "USER 10001:10001\nUSER root"),
        ("USER 10001:10001\n", ""),
        ("--uid 10001", "--uid 1000"),
        ("--gid 10001", "--gid 1000"),
    ],
)
def test_an_image_that_is_built_otherwise_is_found(name: str, line: str, instead: str) -> None:
    plan = as_it_stands()
    assert line in plan.dockerfiles[name]

    plan.dockerfiles[name] = plan.dockerfiles[name].replace(line, instead)

    assert any(fault.startswith(name) for fault in faults(plan))


@pytest.mark.parametrize("name", [GATEWAY, WORKER])
def test_code_that_comes_before_the_dependencies_is_found(name: str) -> None:
    # Each change of it would install them anew.
    plan = as_it_stands()
    text = plan.dockerfiles[name].replace("COPY shared shared\n", "")

    plan.dockerfiles[name] = text.replace("COPY requirements", "COPY shared shared\nCOPY requirements", 1)

    assert any(fault.startswith(f"{name} has other steps") for fault in faults(plan))


def test_a_dockerfile_that_nobody_knows_is_found() -> None:
    plan = as_it_stands()

    plan.dockerfiles["Dockerfile.redis"] = "FROM redis:8\n"

    assert "Dockerfile.redis is a Dockerfile too many or too few" in faults(plan)


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


def test_the_health_checks_ask_what_is_there_to_be_asked() -> None:
    caddy = (ROOT / "deploy" / "Caddyfile").read_text(encoding="utf-8")

    assert f"{CHECKS['caddy'][-1]} {{" in caddy
    assert f" {FIXED['worker']['environment']['DARKROOM_WORKER_BEAT_FILE']})" in CHECKS["worker"][1]
    assert "/127.0.0.1/8000 " in CHECKS["gateway"][3]
    assert FIXED["gateway"]["ports"][0].endswith(":8000")
