"""`python -m worker`: one Celery worker with its processes, until SIGTERM."""

import sys
import warnings

from celery.platforms import SecurityWarning

from shared.adapters.connections import ServerTooOld, refuse_old_server
from shared.settings import SettingsError, SharedSettings, read
from worker.app import create_app
from worker.config import WorkerSettings


def main() -> None:
    """Run the worker. Exits with 2 and one sentence where its settings or its Redis cannot be used."""
    try:
        settings, shared = read(WorkerSettings), read(SharedSettings)
        refuse_old_server(shared.redis_url)
    except (SettingsError, ServerTooOld) as error:
        sys.stderr.write(f"darkroom worker: {error}\n")
        sys.exit(2)
    # Celery warns of root because a pickle in a message would be code. Ours reads nothing but JSON.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    app = create_app(settings, shared)
    app.worker_main(["--quiet", "worker", "--without-gossip", "--without-mingle", "--without-heartbeat"])


if __name__ == "__main__":
    main()
