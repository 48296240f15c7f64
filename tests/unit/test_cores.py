"""Cores that may be used: those that the kernel gives, and no more than a container's limit."""

import os
from pathlib import Path

import pytest

from darkroom.cores import cores


def groups(folder: Path, *, own: str, **limits: str) -> dict[str, Path]:
    """Control groups with these limits, where a root is called `root`, and this process in the one named `own`."""
    (folder / "cgroup").write_text(f"1:name=systemd:/else\n0::{own}\n")
    for name, limit in limits.items():
        place = folder / "groups" / ("" if name == "root" else name.replace("_", "/"))
        place.mkdir(parents=True, exist_ok=True)
        (place / "cpu.max").write_text(f"{limit}\n")
    return {"groups": folder / "groups", "own": folder / "cgroup"}


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)))


def test_without_control_groups_it_is_as_the_kernel_says(tmp_path: Path) -> None:
    assert cores(tmp_path / "none", tmp_path / "nothing") == 8


def test_the_machine_at_hand_has_at_least_one() -> None:
    assert 1 <= cores() <= 8


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("max 100000", 8),
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("10000 100000", 1),
        ("1600000 100000", 8),
        ("200000 0", 8),
        ("nonsense", 8),
    ],
)
def test_a_limit_counts_if_it_is_lower_and_never_as_none(tmp_path: Path, limit: str, expected: int) -> None:
    assert cores(**groups(tmp_path, own="/", root=limit)) == expected


def test_the_lowest_of_all_groups_above_counts(tmp_path: Path) -> None:
    found = cores(
        **groups(
            tmp_path,
            own="/slice/service",
            slice="300000 100000",
            slice_service="max 100000",
            other="100000 100000",
        )
    )

    assert found == 3


def test_a_group_named_as_the_host_sees_it_leaves_the_containers_root(tmp_path: Path) -> None:
    assert cores(**groups(tmp_path, own="/docker/0123", root="400000 100000")) == 4
