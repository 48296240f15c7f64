"""The least that a queue can be: take a job off one list, put its answer on another. `… raw_worker URL`."""

import sys
from typing import Any

import redis

if __name__ == "__main__":
    client: Any = redis.Redis.from_url(sys.argv[1], socket_timeout=None)
    while True:
        _, job = client.brpop(["raw:jobs"])
        answers, _, number = job.partition(b" ")
        client.lpush(answers, number)
