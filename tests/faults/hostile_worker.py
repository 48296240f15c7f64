"""`python -m worker` with a decoder that does as its pictures say."""

import sys

from shared.settings import SharedSettings, read
from worker.app import create_app, run
from worker.config import WorkerSettings

if __name__ == "__main__":
    command = (sys.executable, "-m", "tests.faults.hostile_decoder")
    run(create_app(read(WorkerSettings), read(SharedSettings), decoder=command))
