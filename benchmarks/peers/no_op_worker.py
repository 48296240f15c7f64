"""Our worker, but its jobs need no work: `python -m benchmarks.peers.no_op_worker`, as `python -m worker`."""

from shared.jobs import Answer, Claim, Timings
from shared.settings import SharedSettings, read
from worker import app
from worker.classify import Decode
from worker.config import WorkerSettings
from worker.sessions import InferenceSession

ANSWER = Answer(
    scores=(0.7, 0.1, 0.1, 0.1),
    timings=Timings(fetch_ms=0, decode_ms=0, preprocess_ms=0, predict_ms=0, latency_ms=0),
)


def no_op(claim: Claim, session: InferenceSession, decoder: Decode) -> Answer:  # noqa: ARG001  # a classifier's terms
    """In place of `worker.classify.classify`."""
    return ANSWER


if __name__ == "__main__":
    app.classify = no_op  # type: ignore[attr-defined]
    app.run(app.create_app(read(WorkerSettings), read(SharedSettings)))
