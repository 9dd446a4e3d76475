"""The test bed as a fixture: a PowerSchool and a Google in agreement, to break one fact at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from bed import Bed, standard_bed
from forked import ForkedRun, Forker


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    with standard_bed(tmp_path) as running:
        yield running


@pytest.fixture(scope="session")
def forkers() -> Iterator[list[Forker]]:
    """The process that forks, once a test has needed it."""
    started: list[Forker] = []
    yield started
    for forker in started:
        forker.stop()


@pytest.fixture
def forked_runs(forkers: list[Forker], monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs of the test are forked where that can be; `mutate.py` has a way of its own to start them."""

    def launch(running: Bed, *arguments: str, env: Mapping[str, str | None] | None = None) -> ForkedRun:
        environment = running.process_environment(env)
        if not forkers:
            forkers.append(Forker(environment))
        return forkers[0].launch(["--config", str(running.config), *arguments], environment, running.elsewhere)

    if hasattr(os, "fork") and Bed.launch.__module__ == "bed":
        monkeypatch.setattr(Bed, "launch", launch)
