"""The worker's composition root: Celery, its configuration, its signals, and the parts of each process."""

import mmap
import os
import secrets
import signal
import socket
import struct
import sys
import threading
import time
import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any, Final, NoReturn

import structlog
from celery import Celery, signals
from setproctitle import setproctitle

from shared import telemetry
from shared.adapters.bell import Bell, routing
from shared.adapters.redis_work_store import RedisWorkStore
from shared.jobs import Answer, Claim, Outcome, Setback
from shared.memory import keep_what_is_freed
from shared.reaper import reap_until
from shared.settings import SharedSettings
from shared.store import WorkerReport
from worker import acknowledging, isolation, reconnecting
from worker.classify import classify, warm_up
from worker.config import WorkerSettings
from worker.drain import Budget, Drain
from worker.isolation import Decoder, DecoderUnavailable, Limits
from worker.pool import Pool
from worker.presence import Presence, resident_bytes
from worker.sessions import InferenceSession
from worker.sessions.mock import MockSession
from worker.tasks import register
from worker.watch import Bounds, Exits, Watch

log = structlog.get_logger()

_TRANSPORT: Final = {
    # A bell that its taker never acknowledged comes back after a minute; it rings for nothing, at worst.
    "visibility_timeout": 60,
    "unacked_restore_interval": 10,
    "unacked_restore_throttle": 1,
    "unacked_mutex_expire": 10,
    "health_check_interval": 5,
    "socket_timeout": 3,
    "socket_connect_timeout": 2,
    "priority_steps": [0],
}


_LEAVE_S: Final = 4.0
"""What Celery gets to leave in after its processes have ended their jobs, in seconds."""

_PATIENCE_S: Final = 600.0
_HASTE_S: Final = 0.5
_MOMENT: Final = struct.Struct("=d")


def broker_url(redis_url: str) -> str:
    """The same server and database in Celery's words."""
    scheme, _, rest = redis_url.partition("://")
    return f"redis+socket://{rest.replace('?db=', '?virtual_host=')}" if scheme == "unix" else redis_url


class Stopping:
    """When the worker was told to stop: said by Celery's own process, known to all that it forked."""

    def __init__(self) -> None:
        self._since = mmap.mmap(-1, _MOMENT.size)

    def since(self) -> float | None:
        """When, by `time.monotonic`, which is the same in all of them; None if it was not."""
        (since,) = _MOMENT.unpack(self._since[:])
        return since or None

    def __call__(self) -> bool:
        """Whether it was."""
        return self.since() is not None

    def say(self) -> None:
        """From now on it is."""
        if not self():
            self._since[:] = _MOMENT.pack(time.monotonic())


class Process:
    """One process that classifies: its session, decoder, store, presence. Made after the fork."""

    def __init__(
        self, *, redis_url: str, settings: WorkerSettings, decoder: Sequence[str], stopping: Stopping, parent: int
    ) -> None:
        self.id = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._parent = parent
        self.session: InferenceSession = MockSession()
        limits = Limits(seconds=settings.decode_s, bytes=settings.decoder_bytes)
        self.decoder = Decoder(limits, mode=settings.preprocessing, command=decoder)
        warm_up(self.session, self.decoder)
        store = RedisWorkStore.from_url(redis_url, bell=Bell())
        self.drain = Drain(
            self.id,
            store=store,
            classify=partial(classify, session=self.session, decoder=self.decoder),
            budget=Budget(
                jobs=settings.budget_jobs,
                seconds=settings.budget_s,
                linger_s=settings.linger_s,
                patience_s=_PATIENCE_S,
                stopping=stopping,
            ),
            ended=_say,
        )
        progress = self.drain.progress
        watch = Watch(
            progress,
            store=store,
            bounds=Bounds(job_s=settings.job_s, drain_s=settings.drain_s, stopping_since=stopping.since),
            exits=Exits(end=_end, replace=self._replace),
        )
        self.presence = Presence(
            beat=lambda: store.beat(self.report(), progress.claim),
            retire=lambda: store.retire(self.id),
            look=lambda unheard: watch.look(unheard=unheard, now=time.monotonic()),
            every_s=lambda: min(settings.beat_s, _HASTE_S) if stopping() else settings.beat_s,
            file=settings.beat_file,
        )
        self._stopped = threading.Event()
        self._reaper = threading.Thread(target=reap_until, args=(self._stopped, store), name="reaper", daemon=True)

    def start(self) -> None:
        """Show signs of life, and look after jobs that nobody holds."""
        self.presence.start()
        self._reaper.start()

    def stop(self) -> None:
        """Say goodbye. What this process started ends with it."""
        self._stopped.set()
        self.presence.stop()
        self.decoder.close()

    def _replace(self) -> None:
        # If that process is gone, this one has been given to another parent by now.
        try:
            if os.getppid() == self._parent:
                os.kill(self._parent, signal.SIGKILL)
        finally:
            _end()

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


def _end() -> NoReturn:
    # Nothing of this process can be relied on any more, so nothing of it may run.
    os._exit(os.EX_SOFTWARE)


def _start_over() -> NoReturn:
    # Not at once: what is wrong may take a while to pass, and starting is dear.
    time.sleep(1)
    _end()


def _say(claim: Claim, outcome: Outcome, counted: bool) -> None:  # noqa: FBT001 - called by position, by the drain
    match outcome:
        case Answer():
            ended = "succeeded"
        case Setback():
            ended = outcome.failure.code
        case _:
            ended = outcome.code
    latency = outcome.timings.latency_ms if isinstance(outcome, Answer) else None
    log.info(
        "job",
        job_id=claim.spec.id,
        attempt=claim.attempt,
        outcome=ended if counted else "too late",
        setback=isinstance(outcome, Setback),
        fetch_ms=claim.fetch_ms,
        latency_ms=latency,
    )


def create_app(
    settings: WorkerSettings, shared: SharedSettings, *, decoder: Sequence[str] = isolation.COMMAND
) -> Celery:
    """A Celery app whose processes each hold a loaded model and a decoder, and answer bells.

    `decoder` is the command of the decoder's program.
    """
    acknowledging.install()
    app = Celery("darkroom", broker=broker_url(shared.redis_url), set_as_current=False)
    reconnecting.install(app)
    app.conf.update(routing())
    app.conf.update(
        worker_pool=Pool,
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
        # Nobody steers workers through Redis, and what it would write there a full one refuses.
        worker_enable_remote_control=False,
        # A process starts its decoder, on a busy machine and twice if need be, before it says that it is there.
        worker_proc_alive_timeout=120,
        # The outermost net, for a process that not even its own watch can end.
        task_time_limit=settings.budget_s + settings.job_s + 2 * _PATIENCE_S + 60,
    )
    processes: list[Process] = []
    stopping = Stopping()
    parent = os.getpid()

    def drain() -> int:
        try:
            return processes[0].drain()
        except DecoderUnavailable:
            # Other workers can do what this one cannot. The lease of the job at hand ends by itself.
            log.exception("no_decoder")
            return _start_over()

    register(app, drain)

    def start(**_: Any) -> None:
        telemetry.configure()
        setproctitle("darkroom worker")
        # Said to all processes of a group it is meant for the first one, which passes it on by `stopping`.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        try:
            processes.append(
                Process(
                    redis_url=shared.redis_url, settings=settings, decoder=decoder, stopping=stopping, parent=parent
                )
            )
            keep_what_is_freed()
            processes[0].start()
        except Exception:
            # Celery would go on with it, and it would hear bells and do nothing.
            log.exception("process_not_started")
            _start_over()

    def stop(**_: Any) -> None:
        processes[0].stop()

    def leave(**_: Any) -> None:
        stopping.say()
        # Celery's own leaving can hang on a line that does not answer.
        last = threading.Timer(settings.drain_s + settings.beat_s + _LEAVE_S, os._exit, [os.EX_TEMPFAIL])
        last.daemon = True
        last.start()

    def configure_logging(**_: Any) -> None:
        telemetry.configure()

    def ready(**_: Any) -> None:
        setproctitle(f"darkroom worker (of {settings.processes})")

    # Signals are Celery's, one set for a whole program; a program has one worker.
    signals.worker_process_init.connect(start, weak=False)
    signals.worker_process_shutdown.connect(stop, weak=False)
    signals.worker_shutting_down.connect(leave, weak=False)
    signals.setup_logging.connect(configure_logging, weak=False)
    signals.worker_ready.connect(ready, weak=False)
    return app


def run(app: Celery) -> NoReturn:
    """Hear bells until SIGTERM, then end what runs and exit: with 0, or Celery's status where it could not go on."""
    # Celery warns of root because a pickle in a message would be code. Ours reads nothing but JSON.
    warnings.filterwarnings("ignore", message="You're running the worker with superuser privileges")
    # It tells, whenever Redis goes away, of a choice that was made above.
    warnings.filterwarnings("ignore", message=r"\s*In Celery 5.1 we introduced an optional breaking change")
    # Not by its command line, which comes with all other commands and costs a tenth of the memory.
    worker = app.Worker(quiet=True, without_gossip=True, without_mingle=True, without_heartbeat=True)
    worker.start()
    sys.exit(worker.exitcode)
