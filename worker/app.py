"""The worker's composition root: Celery, its configuration, its signals, and the parts of each process."""

import os
import secrets
import socket
import warnings
from functools import partial
from typing import Any, Final

import structlog
from celery import Celery, signals
from setproctitle import setproctitle

from shared import telemetry
from shared.adapters.bell import Bell, routing
from shared.adapters.redis_work_store import RedisWorkStore
from shared.jobs import Answer, Claim, Outcome
from shared.settings import SharedSettings
from shared.store import WorkerReport
from worker import acknowledging
from worker.classify import classify, warm_up
from worker.config import WorkerSettings
from worker.drain import Budget, Drain
from worker.presence import Presence, resident_bytes
from worker.sessions import InferenceSession
from worker.sessions.mock import MockSession
from worker.tasks import register

log = structlog.get_logger()

_TRANSPORT: Final = {
    # A bell that its taker never acknowledged comes back after a minute; it rings for nothing, at worst.
    "visibility_timeout": 60,
    "unacked_restore_interval": 2,
    "unacked_restore_throttle": 1,
    "unacked_mutex_expire": 10,
    "health_check_interval": 5,
    "socket_timeout": 3,
    "socket_connect_timeout": 2,
    "priority_steps": [0],
}


def broker_url(redis_url: str) -> str:
    """The same server and database in Celery's words."""
    scheme, _, rest = redis_url.partition("://")
    return f"redis+socket://{rest.replace('?db=', '?virtual_host=')}" if scheme == "unix" else redis_url


class Process:
    """One process that classifies: its session, its store, its presence. Made after the fork."""

    def __init__(self, *, redis_url: str, settings: WorkerSettings) -> None:
        self.id = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self.session: InferenceSession = MockSession()
        warm_up(self.session)
        store = RedisWorkStore.from_url(redis_url, bell=Bell())
        self.drain = Drain(
            self.id,
            store=store,
            classify=partial(classify, session=self.session),
            budget=Budget(jobs=settings.budget_jobs, seconds=settings.budget_s, linger_s=settings.linger_s),
            ended=_say,
        )
        self.presence = Presence(store=store, report=self.report, every_s=settings.beat_s, file=settings.beat_file)

    def report(self) -> WorkerReport:
        """What this process says of itself just now."""
        progress = self.drain.progress
        return WorkerReport(
            id=self.id,
            state="busy" if progress.busy else "idle",
            model=self.session.manifest.name,
            model_version=self.session.manifest.version,
            rss_bytes=resident_bytes(),
            jobs_done=progress.jobs_done,
            work_ms=progress.work_ms,
        )


def _say(claim: Claim, outcome: Outcome, counted: bool) -> None:  # noqa: FBT001 - called by position, by the drain
    ended = "succeeded" if isinstance(outcome, Answer) else outcome.code
    latency = outcome.timings.latency_ms if isinstance(outcome, Answer) else None
    log.info(
        "job",
        job_id=claim.spec.id,
        attempt=claim.attempt,
        outcome=ended if counted else "too late",
        fetch_ms=claim.fetch_ms,
        latency_ms=latency,
    )


def create_app(settings: WorkerSettings, shared: SharedSettings) -> Celery:
    """A Celery app whose processes each hold a loaded model and answer bells."""
    acknowledging.install()
    app = Celery("darkroom", broker=broker_url(shared.redis_url), set_as_current=False)
    app.conf.update(routing())
    app.conf.update(
        worker_pool="prefork",
        worker_concurrency=settings.processes,
        worker_prefetch_multiplier=1,
        task_acks_late=True,
        broker_transport_options=_TRANSPORT,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_channel_error_retry=True,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_send_task_events=False,
        worker_redirect_stdouts=False,
    )
    processes: list[Process] = []

    def drain() -> int:
        return processes[0].drain()

    register(app, drain)

    def start(**_: Any) -> None:
        telemetry.configure()
        setproctitle("darkroom worker")
        processes.append(Process(redis_url=shared.redis_url, settings=settings))
        processes[0].presence.start()

    def stop(**_: Any) -> None:
        processes[0].presence.stop()

    def configure_logging(**_: Any) -> None:
        telemetry.configure()

    def ready(**_: Any) -> None:
        setproctitle(f"darkroom worker ({settings.processes} processes)")

    # Signals are Celery's, one set for a whole program; a program has one worker.
    signals.worker_process_init.connect(start, weak=False)
    signals.worker_process_shutdown.connect(stop, weak=False)
    signals.setup_logging.connect(configure_logging, weak=False)
    signals.worker_ready.connect(ready, weak=False)
    return app


def run(app: Celery) -> None:
    """Hear bells until SIGTERM, then end what runs and return."""
    # Celery warns of root because a pickle in a message would be code. Ours reads nothing but JSON.
    warnings.filterwarnings("ignore", message="You're running the worker with superuser privileges")
    # It tells, whenever Redis goes away, of a choice that was made above.
    warnings.filterwarnings("ignore", message=r"\s*In Celery 5.1 we introduced an optional breaking change")
    app.worker_main(["--quiet", "worker", "--without-gossip", "--without-mingle", "--without-heartbeat"])
