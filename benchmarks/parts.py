"""The parts of the benchmark, in the order in which they are measured and told."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from benchmarks.bench import Bench
from benchmarks.figures import (
    floor,
    footprint,
    http,
    isolation,
    peers,
    preprocess,
    queue,
    scaling,
    submit,
    throughput,
)
from benchmarks.results import Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Figures that are measured together."""

    title: str
    told: str
    """What was compared with what, for the reader of the page."""
    measure: Callable[[Bench], Iterator[Figure]]


PARTS: Final[Mapping[str, Part]] = MappingProxyType(
    {
        http.PART: Part(
            title="What a request costs",
            told="Processor time of all processes and Redis for one `POST /predict`, in units of what the bare "
            "loop takes for the same picture. At 1.0 the queue, the durable record, the decoder of its own "
            "and HTTP together cost nothing. `fast` and `exact` are the two ways to preprocess; `fast` is how "
            "the service runs.",
            measure=http.measure,
        ),
        peers.PART: Part(
            title="Against a server of the usual kind",
            told="The server that tutorials build of FastAPI and Celery: the picture in base64 in the message, the "
            "answer in the result backend, a thread that waits for it. It has the bare loop's preprocessing, "
            "two prefork processes and a Redis that writes nothing to disk; Darkroom's writes everything. 640 "
            "by 480, 16 connections, in the same rounds.",
            measure=peers.measure,
        ),
        throughput.PART: Part(
            title="How much of the machine becomes work",
            told="Requests per second times the bare loop's seconds, over the cores: 1.0 is a machine that does "
            "nothing but the bare loop. 640 by 480, a worker for each core. The callers run on the same cores, "
            "and so does whatever else the machine is used for, which is told beside.",
            measure=throughput.measure,
        ),
        queue.PART: Part(
            title="What the queue costs",
            told="A job without work, whose picture is a few bytes, through the store and a real worker, against a "
            "list in the same Redis and a worker of ten lines, both by redis-py's ordinary clients, which loses "
            "jobs whenever anything dies. By connections as lean as ours such a list would cost half of that.",
            measure=queue.measure,
        ),
        submit.PART: Part(
            title="What it costs to accept a job",
            told="`POST /v1/jobs` with a picture of 640 by 480, gateway and Redis, against a server of the same "
            "kind that reads the same body and forgets it. No worker runs.",
            measure=submit.measure,
        ),
        scaling.PART: Part(
            title="More workers",
            told="Processor time of a whole request with more workers than one, against one. 640 by 480, 16 "
            "connections.",
            measure=scaling.measure,
        ),
        footprint.PART: Part(
            title="Memory, idling, starting",
            told="Memory after pictures of 640 by 480, and after some of 12 megapixels too: PSS counts "
            "what processes share once, RSS once for each. A worker is four processes: Celery's, the one that "
            "classifies, the nursery, the decoder. Seconds to start are wall time, and so at the mercy of "
            "what else the machine does.",
            measure=footprint.measure,
        ),
        preprocess.PART: Part(
            title="From base64 to the tensor",
            told="`worker.classify.decode_and_preprocess` against the plain formula, in one process, in turn. The "
            "crops are from 900 to 1150 pixels wide and high, of photographs made 2400 by 1800.",
            measure=preprocess.measure,
        ),
        floor.PART: Part(
            title="The yardstick itself",
            told="The bare loop in a fresh process, which gives the memory of every picture back to the system and "
            "takes it anew. Divide what a request costs by this to compare with such a loop.",
            measure=floor.measure,
        ),
        isolation.PART: Part(
            title="What a decoder of its own costs",
            told="The same picture decoded and preprocessed (`fast`) in a process of its own, that can be killed, "
            "against in the process that asks.",
            measure=isolation.measure,
        ),
    }
)
