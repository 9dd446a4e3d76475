"""The test bed as a fixture: a PowerSchool and a Google in agreement, to break one fact at a time."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path

import pytest
from bed import Bed, matching_account, standard_bed
from forked import READ_AT_START, SCRIPT, Forker
from stories import colleagues

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in the background of a shell: a run would inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    with standard_bed(tmp_path) as running:
        yield running


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """Three for each processor: tests wait longer than they compute, for a time-out or for a run's name of its own."""
    return None if os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS") else 3 * (os.cpu_count() or 1)


def pytest_configure(config: pytest.Config) -> None:
    """What pytest makes of each module of tests is made and kept once, and not by every worker, each for itself."""
    if config.getoption("dist", "no") != "no":
        sys.dont_write_bytecode = False
        for path in Path(__file__).parent.glob("test_*.py"):
            importlib.import_module(path.stem)


@pytest.fixture(scope="session")
def forkers() -> Iterator[dict[bool, list[Forker]]]:
    """The processes that fork measured runs and others, from when a test has needed them."""
    started: dict[bool, list[Forker]] = {True: [], False: []}
    yield started
    for forker in chain(*started.values()):
        forker.stop()


@pytest.fixture(autouse=True)
def forked_runs(
    forkers: dict[bool, list[Forker]], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """The runs of every test are forked, but on Windows and macOS; `mutate.py` has a way of its own to start them.

    A test about the process itself (its signals, limits or start) has the mark `ordinary_runs`.
    """
    ordinary: Callable[..., subprocess.Popen[bytes]] = Bed.launch

    def launch(
        running: Bed, *arguments: str, env: Mapping[str, str | None] | None = None, at_terminal: bool = False
    ) -> object:
        environment = running.process_environment(env, at_terminal=at_terminal)
        changed = {*running.environment, *(env or {})}
        if running.script != SCRIPT or any(name.startswith(READ_AT_START) for name in changed):
            return ordinary(running, *arguments, env=env, at_terminal=at_terminal)
        of_its_sort = forkers[any(name.startswith("COVERAGE_") for name in environment)]
        idle = next((forker for forker in of_its_sort if not forker.is_busy), None)
        if idle is None:
            idle = Forker(environment)
            of_its_sort.append(idle)
        command = ["--config", str(running.config), *arguments]
        return idle.launch(command, environment, running.elsewhere, running.prelude, at_terminal)

    is_asked_for = request.node.get_closest_marker("ordinary_runs") is None
    if is_asked_for and sys.platform == "linux" and ordinary.__module__ == Bed.__module__:
        monkeypatch.setattr(Bed, "launch", launch)


@pytest.fixture(autouse=True)
def measured_runs(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Runs count as coverage in tests with the mark `measured`: it takes half as long again, and these go nearly all
    the ways that there are. A test that is the first to go a way gets the mark."""
    if request.node.get_closest_marker("measured") is None:
        for name in [name for name in os.environ if name.startswith("COVERAGE_")]:
            monkeypatch.delenv(name)


@pytest.fixture
def one_in_step(bed: Bed) -> Bed:
    """One person in step, who works here whatever happens to the others."""
    bed.powerschool.add_person(1, "Sam", "Stays", "sam.stays@d118.org", schools={5: 1})
    matching_account(bed, 1)
    return bed


@pytest.fixture
def one_to_create(one_in_step: Bed) -> Bed:
    """Besides one in step one who would be created if anything were written at all."""
    one_in_step.powerschool.add_person(2, "Liam", "Ortiz", "liam.ortiz@d118.org", schools={101: 1})
    return one_in_step


@pytest.fixture
def staffed(bed: Bed) -> Bed:
    """Colleagues enough that the others are a few of many."""
    colleagues(bed)
    return bed
