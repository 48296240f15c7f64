"""`python -m worker`: one Celery worker with its processes, until SIGTERM."""

import sys

from shared.adapters.connections import ServerTooOld, refuse_old_server
from shared.settings import SettingsError, SharedSettings, read
from worker.app import create_app, run
from worker.config import WorkerSettings
from worker.first import below_the_first


def main() -> None:
    """Run the worker. Exits with 2 and one sentence where its settings or its Redis cannot be used."""
    try:
        settings, shared = read(WorkerSettings), read(SharedSettings)
        refuse_old_server(shared.redis_url)
    except (SettingsError, ServerTooOld) as error:
        sys.stderr.write(f"darkroom worker: {error}\n")
        sys.exit(2)
    below_the_first(lambda: run(create_app(settings, shared)))


if __name__ == "__main__":
    main()
