"""States, moves, ids."""

import re

from shared.jobs import MOVES, JobState, new_job_id


def test_every_state_has_its_moves() -> None:
    assert set(MOVES) == set(JobState)


def test_nothing_moves_out_of_a_terminal_state() -> None:
    assert {state for state in JobState if state.done} == {
        JobState.SUCCEEDED,
        JobState.FAILED,
        JobState.CANCELED,
        JobState.EXPIRED,
    }


def test_every_state_can_be_reached() -> None:
    assert {JobState.QUEUED}.union(*MOVES.values()) == set(JobState)


def test_ids_carry_128_random_bits() -> None:
    ids = {new_job_id() for _ in range(1000)}

    assert len(ids) == 1000
    assert all(re.fullmatch(r"job_[0-9a-f]{32}", job_id) for job_id in ids)
