"""Every code of the contract has its place in the client's error tree."""

import copy
import pickle
import re
from collections.abc import Iterator

import pytest

import darkroom
from darkroom import errors
from darkroom.errors import ApiError, DarkroomError, error_of
from darkroom.types import Problem
from darkroom.wire import read_job
from gateway.errors import TABLE
from tests.support.answers import a_job, answer


def below(kind: type[Exception]) -> Iterator[type[Exception]]:
    for child in kind.__subclasses__():
        yield child
        yield from below(child)


LEAVES = [kind for kind in below(ApiError) if issubclass(kind, ApiError) and not kind.__subclasses__()]


def a_problem(code: str, status: int = 400) -> Problem:
    return Problem(code=code, status=status, title="A title", detail="")


@pytest.mark.parametrize("code", TABLE)
def test_a_code_of_the_server_has_one_class_of_its_own(code: str) -> None:
    error = error_of(a_problem(code))

    assert [kind for kind in LEAVES if kind.code == code] == [type(error)]
    assert str(error) == "A title"


def test_a_class_has_a_code_of_the_server_or_classes_below_it() -> None:
    assert {kind.code for kind in LEAVES} == set(TABLE)
    assert {kind.code for kind in below(ApiError) if issubclass(kind, ApiError) and kind not in LEAVES} == {None}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.InvalidRequest),
        (401, errors.NotAllowed),
        (403, errors.NotAllowed),
        (404, errors.NotFound),
        (409, errors.Conflict),
        (410, errors.Gone),
        (413, errors.TooLarge),
        (422, errors.InvalidRequest),
        (500, errors.ServerFault),
        (503, errors.Unavailable),
        (429, errors.QuotaExceeded),
        (502, errors.Unavailable),
        (504, errors.Unavailable),
        *((status, errors.InvalidRequest) for status in (405, 406, 408, 414, 415, 431)),
        (418, ApiError),
        (599, ApiError),
    ],
)
def test_a_code_of_tomorrow_is_of_its_statuss_family(status: int, kind: type[ApiError]) -> None:
    error = error_of(a_problem("a-code-of-tomorrow", status))

    assert type(error) is kind
    assert error.problem.code == "a-code-of-tomorrow"


def test_a_family_is_as_retryable_as_the_servers_table_has_it() -> None:
    retryable = {code for code, rule in TABLE.items() if rule.retryable}

    assert retryable == {kind.code for kind in LEAVES if issubclass(kind, errors.Unavailable)} | {
        errors.QuotaExceeded.code,
        errors.RequestTimeout.code,
    }


def test_every_error_is_public_and_stands_in_the_tree() -> None:
    kinds = list[type[Exception]]([DarkroomError, *below(DarkroomError)])
    public = {kind.__name__ for kind in kinds if kind.__module__.startswith("darkroom.errors")}
    tree = re.findall(r"^[│├└─ ]*((?:[A-Z]\w+(?:, )?,?)+)", errors.__doc__ or "", re.MULTILINE)

    assert public <= set(darkroom.__all__)
    assert sorted(name for line in tree for name in re.findall(r"\w+", line)) == sorted([*public, "What"])


JOB = read_job(answer(200, a_job()))


@pytest.mark.parametrize(
    "error",
    [
        errors.ConnectionFailed("http://host", "it cannot be reached"),
        errors.ConnectionLost("http://host", "the connection broke"),
        errors.UnexpectedAnswer(302),
        errors.InvalidUrl("ftp://host"),
        errors.InvalidKey("No key."),
        errors.JobNotDone(JOB),
        errors.WaitTimeout(JOB, 1.5),
        *(error_of(a_problem(code)) for code in TABLE),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_crosses_to_another_process(error: DarkroomError) -> None:
    found = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own

    assert type(found) is type(error)
    assert (str(found), found.args, vars(found)) == (str(error), error.args, vars(error))
    assert str(copy.copy(error)) == str(error)
