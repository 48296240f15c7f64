"""`python -m worker` whose decoder's program ends as soon as it starts."""

from shared.settings import SharedSettings, read
from worker.app import create_app, run
from worker.config import WorkerSettings

if __name__ == "__main__":
    run(create_app(read(WorkerSettings), read(SharedSettings), decoder=("false",)))
