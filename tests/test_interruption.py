"""Interruption: the process is killed before and after each request of a run that makes every kind of change.

The requests are those of one uninterrupted run, so no kill point is listed by hand and a request added to the script
is a new one by itself. A killed process runs no handler of its own. The kill points are dealt out to a few tests, so
that processors can share them; each begins with Google and the folder of runs as they were before the first.
"""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from bed import KILLED, Bed, Outcome, closing_process, matching_account, matching_fields, read_lines, standard_bed
from google_server import WRITES, Request

SHARES = 8
SUSPENDED_OU = "/Suspended Accounts"
GRADE_OU = "/D118 Staff/Wauconda Grade School Staff"
CREATED, LINKED, RENAMED, MOVED, RETURNED, UPDATED, LEFT = range(1, 8)
SETTLED = 8
KINDS = {
    "create", "link", "rename", "name", "move", "suspend", "reactivate", "update", "leave group",
    "move to suspended",
}  # fmt: skip
OWNED, JOINED, FOREIGN = "chess@d118.org", "all.staff@d118.org", "league@example.org"


def build(bed: Bed) -> None:
    """One person for each kind of change, and one with nothing to do."""
    names = ("Ada", "Bo", "Cy", "Di", "Ed", "Flo", "Gus", "Hal")
    for dcid, first in enumerate(names, 1):
        bed.powerschool.add_person(
            dcid, first, "Stone", f"{first.lower()}.stone@d118.org", schools={5: 1}, group=9,
            teacher_number=str(4000 + dcid), cell_phone=f"847-555-000{dcid}",
        )  # fmt: skip
    no_dcid = matching_fields(bed, LINKED, DCID=None)
    matching_account(bed, LINKED, fields=no_dcid)
    matching_account(bed, RENAMED, email="cy.reed@d118.org", family="Reed")
    matching_account(bed, MOVED, ou=GRADE_OU)
    matching_account(bed, RETURNED, ou=SUSPENDED_OU, suspended=True)
    matching_account(bed, UPDATED, fields=matching_fields(bed, UPDATED, Staff_Group=4))
    bed.powerschool.extension.remove({"usersdcid": UPDATED, "cellphone": f"847-555-000{UPDATED}"})
    matching_account(bed, LEFT)
    bed.powerschool.leave(LEFT)
    matching_account(bed, SETTLED)
    bed.google.add_group(OWNED, members={"gus.stone@d118.org": "OWNER", "hal.stone@d118.org": "MEMBER"})
    bed.google.add_group(JOINED, members={"gus.stone@d118.org": "MEMBER", "hal.stone@d118.org": "OWNER"})
    bed.google.add_group(FOREIGN, members={"gus.stone@d118.org": "MEMBER"}, foreign=True)


def state_of(snapshot: dict[str, Any]) -> dict[str, Any]:
    """What Google holds, without what is new in every account that is made: its id and its time."""
    email_of = {key: user["primaryEmail"] for key, user in snapshot["users"].items()}
    kept = [
        {name: value for name, value in user.items() if name not in {"id", "etag", "creationTime"}}
        for user in snapshot["users"].values()
    ]
    groups = {
        group["email"]: {email_of.get(member, member): role for member, role in group["members"].items()}
        for group in snapshot["groups"].values()
    }
    return {"users": sorted(kept, key=lambda user: str(user["primaryEmail"])), "groups": groups}


def without_what_is_new(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Journal lines without their time, and of the id of a new account, another each time, only whether it is known."""
    compared = []
    for line in lines:
        kept = {name: value for name, value in line.items() if name != "time"}
        if line["kind"] == "create":
            kept["account"] = bool(line["account"])
        compared.append(kept)
    return compared


@dataclass(frozen=True)
class Uninterrupted:
    outcome: Outcome
    before: dict[str, Any]
    after: dict[str, Any]
    second: Outcome
    undo: Outcome
    undone: dict[str, Any]


@functools.lru_cache(maxsize=1)
def uninterrupted() -> Uninterrupted:
    """The run that nobody kills; once in each process of tests."""
    with tempfile.TemporaryDirectory() as folder, standard_bed(Path(folder)) as bed:
        build(bed)
        before = state_of(bed.google.snapshot())
        outcome = bed.run()
        after = state_of(bed.google.snapshot())
        second = bed.run()
        undo = bed.run("--undo", "last", "--yes")
        return Uninterrupted(outcome, before, after, second, undo, state_of(bed.google.snapshot()))


def kill_points() -> list[tuple[int, str]]:
    """The number of each request of the run and a moment."""
    # To the token office there is no "after": a token is no effect, and the next request's "before" follows.
    return [
        (request.number, moment)
        for request in uninterrupted().outcome.requests
        for moment in ("before", "after")
        if moment == "before" or request.method != "token"
    ]


def kill_points_of_undo() -> list[tuple[int, str]]:
    return [
        (request.number, moment)
        for request in uninterrupted().undo.requests
        for moment in ("before", "after")
        if request.method in WRITES
    ]


class Start:
    """Google and the folder of runs as they are now, to begin with again."""

    def __init__(self, bed: Bed) -> None:
        self.bed, self.google, self.runs = bed, bed.google.snapshot(), bed.folder / "runs at the start"
        bed.runs.mkdir(exist_ok=True)
        shutil.copytree(bed.runs, self.runs)

    def again(self) -> None:
        self.bed.google.restore(self.google)
        shutil.rmtree(self.bed.runs)
        shutil.copytree(self.runs, self.bed.runs)


class Killer:
    """Kills the script's process when Google gets request `number`, before or after its effect."""

    def __init__(self, bed: Bed, number: int, moment: str) -> None:
        self.number, self.moment = number, moment
        self.process: subprocess.Popen[bytes] | None = None
        self.launched = threading.Event()
        self.victim: Request | None = None
        bed.google.hook = self.hook
        # The hook is not called for tokens, so there a fault that looks at each request does the same.
        bed.google.fail("token", close=True, times=None, match=lambda request: self.kills(request, "before"))

    def hook(self, request: Request, moment: str) -> bool:
        return self.kills(request, moment)

    def kills(self, request: Request, moment: str) -> bool:
        """True if this was the moment; the process is dead then, so nothing more comes from it."""
        if (request.number, moment) != (self.number, self.moment):
            return False
        self.victim = request
        assert self.launched.wait(30)
        assert self.process
        self.process.kill()
        self.process.wait(30)
        return True


def killed_run(bed: Bed, number: int, moment: str, *arguments: str) -> tuple[Request, list[dict[str, Any]]]:
    """Starts a run that is killed; the request at which it died, and its journal."""
    bed.write()
    bed.google.reset_records()
    killer = Killer(bed, number, moment)
    with closing_process(bed.launch(*arguments), 60) as process:
        killer.process = process
        killer.launched.set()
        output = read_lines(process, None)
    assert killer.victim, f"the run never came to request {number}\n{output}"
    assert process.returncode == KILLED, output
    assert len(bed.google.requests) == number or bed.setting("WRITES_AT_ONCE") > 1
    bed.google.behave()
    return killer.victim, journals(bed)


def journals(bed: Bed) -> list[dict[str, Any]]:
    paths = sorted(bed.runs.glob("*.jsonl"))
    return [json.loads(line) for path in paths for line in path.read_text("utf-8").splitlines()]


def expected_journal(request: Request) -> list[dict[str, Any]]:
    """What the journal says of a run killed at this request: an answered write is done, one in flight intended."""
    whole = uninterrupted().outcome
    earlier = sum(one.method in WRITES and one.number < request.number for one in whole.requests)
    in_flight = earlier + 1 if request.method in WRITES else None
    return [
        line
        for line in without_what_is_new(whole.journal)
        if line["change"] <= earlier or (line["change"] == in_flight and line["state"] == "intended")
    ]


def lost_memberships(bed: Bed) -> set[tuple[str, str, str]]:
    had, has = uninterrupted().before["groups"], state_of(bed.google.snapshot())["groups"]
    return {
        (member, group, role)
        for group, members in had.items()
        for member, role in members.items()
        if member not in has[group]
    }


def test_the_uninterrupted_run_makes_every_kind_of_change() -> None:
    whole = uninterrupted()
    assert {line["kind"] for line in whole.outcome.journal} == KINDS
    assert {line["state"] for line in whole.outcome.journal} == {"intended", "done"}
    assert whole.outcome.exit_code == 0, "a group outside is nobody's business here"
    assert [line for line in whole.outcome.lines("INFO") if FOREIGN in line], whole.outcome.output
    assert len(whole.outcome.writes) == len({line["change"] for line in whole.outcome.journal})
    assert whole.after != whole.before
    assert whole.after["groups"] == {
        OWNED: {"hal.stone@d118.org": "MEMBER"},
        JOINED: {"hal.stone@d118.org": "OWNER"},
        FOREIGN: {"gus.stone@d118.org": "MEMBER"},
    }


def test_a_second_run_after_the_uninterrupted_one_makes_no_write() -> None:
    second = uninterrupted().second
    assert [request.method for request in second.requests if request.method in WRITES] == []
    assert second.exit_code == 0


def test_a_kill_point_is_before_and_after_each_request_but_those_for_a_token() -> None:
    whole = uninterrupted()
    assert len(kill_points()) == 2 * len(whole.outcome.requests) - 1
    assert len(kill_points_of_undo()) == 2 * len(whole.undo.writes)


@pytest.mark.parametrize("share", range(SHARES))
def test_a_run_killed_at_any_request_leaves_nothing_that_the_next_run_does_not_finish(
    bed: Bed, subtests: pytest.Subtests, share: int
) -> None:
    build(bed)
    start = Start(bed)
    for number, moment in kill_points()[share::SHARES]:
        with subtests.test(number=number, moment=moment):
            start.again()
            the_next_run_finishes(bed, number, moment)


def the_next_run_finishes(bed: Bed, number: int, moment: str) -> None:
    before = state_of(bed.google.snapshot())
    request, journal = killed_run(bed, number, moment)

    assert without_what_is_new(journal) == expected_journal(request)
    assert {line["account"] for line in journal if line["account"]} <= set(bed.google.users)
    if moment == "before" and request.method in WRITES:
        assert not request.applied
    if journal == []:
        assert state_of(bed.google.snapshot()) == before

    outcome = bed.run()
    assert outcome.exit_code in {0, 1}, outcome.output
    assert state_of(bed.google.snapshot()) == uninterrupted().after
    told = {
        (line["email"], line["before"]["group"], line["before"]["role"])
        for line in journals(bed)
        if line["kind"] == "leave group"
    }
    assert lost_memberships(bed) == {("gus.stone@d118.org", OWNED, "OWNER"), ("gus.stone@d118.org", JOINED, "MEMBER")}
    assert lost_memberships(bed) <= told
    if request.method in WRITES:
        # Elsewhere the equal state says it: after it, as proved above, nothing is left to write.
        further = bed.run()
        assert [one.method for one in further.requests if one.method in WRITES] == []


@pytest.mark.parametrize("share", range(SHARES))
def test_an_undo_killed_at_any_write_is_completed_by_the_same_undo(
    bed: Bed, subtests: pytest.Subtests, share: int
) -> None:
    build(bed)
    bed.run()
    (run,) = (path.stem for path in bed.runs.glob("*.jsonl"))
    start = Start(bed)
    for number, moment in kill_points_of_undo()[share::SHARES]:
        with subtests.test(number=number, moment=moment):
            start.again()
            killed_run(bed, number, moment, "--undo", run, "--yes")

            outcome = bed.run("--undo", run, "--yes")

            assert outcome.exit_code == uninterrupted().undo.exit_code, outcome.output
            assert state_of(bed.google.snapshot()) == uninterrupted().undone


# Sends a signal when the memory is written, or the page, as a run does when all is told.
SIGNAL_WHILE_LEAVING = """
import os, signal, sys
def send(event, about):
    if event == "open" and str(about[0]).rpartition("/")[2].startswith(".{file}."):
        os.kill(os.getpid(), signal.SIGINT)
sys.addaudithook(send)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal for one process")
@pytest.mark.parametrize("file", ["standing.json", "latest.html", "last-good.txt"])
def test_a_signal_while_the_records_are_left_cuts_none_of_them_off(bed: Bed, file: str) -> None:
    build(bed)
    bed.prelude = SIGNAL_WHILE_LEAVING.format(file=file)
    outcome = bed.run()
    assert outcome.exit_code == 0, outcome.output
    (kept,) = bed.runs.glob("*Z.txt")
    assert kept.read_text("utf-8") == outcome.log
    assert len(json.loads((bed.runs / "standing.json").read_text("utf-8"))["nights"]) == 1
