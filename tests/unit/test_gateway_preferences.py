import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.preferences import Preferences, parse


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], Preferences()),
        (["wait=5"], Preferences(wait_s=5)),
        (["WAIT=5"], Preferences(wait_s=5)),
        (["wait = 5"], Preferences(wait_s=5)),
        (['wait="5"'], Preferences(wait_s=5)),
        (["wait=0"], Preferences(wait_s=0)),
        (["respond-async"], Preferences(respond_async=True)),
        (["Respond-Async, wait=10"], Preferences(wait_s=10, respond_async=True)),
        (["respond-async", "wait=10"], Preferences(wait_s=10, respond_async=True)),
        (["wait=5; foo=bar, respond-async;x"], Preferences(wait_s=5, respond_async=True)),
        (["wait=5, wait=9"], Preferences(wait_s=5)),
        (["wait=5", "wait=9"], Preferences(wait_s=5)),
        (['foo="a, wait=9", wait=3'], Preferences(wait_s=3)),
        (['foo="a\\", wait=9", wait=3'], Preferences(wait_s=3)),
        (["handling=strict,, wait=3,"], Preferences(wait_s=3)),
        (["wait=99999999999999999999"], Preferences(wait_s=10**9)),
    ],
)
def test_preferences_are_read_as_the_standard_says(headers: list[str], expected: Preferences) -> None:
    assert parse(headers) == expected


@pytest.mark.parametrize(
    "header",
    [
        "wait",
        "wait=",
        "wait=x",
        "wait=-1",
        "wait=1.5",
        "wait=1e3",
        "wait=٣",
        "wai t=3",
        "respond-async=no",
        "=3",
        '"',
        ";",
    ],
)
def test_a_preference_that_cannot_be_understood_is_ignored(header: str) -> None:
    assert parse([header]) == Preferences()


@given(st.lists(st.text(), max_size=4))
def test_no_header_whatever_breaks_the_parser(headers: list[str]) -> None:
    preferences = parse(headers)

    assert preferences.wait_s is None or preferences.wait_s >= 0
