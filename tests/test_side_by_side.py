"""People side by side (WRITES_AT_ONCE): the same end in any order of completion, and nobody new after an error.

The stand-in answers slowly here, so that eight people are really under way at once.
"""

from __future__ import annotations

import re
import signal
import sys
import threading
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import pytest
from bed import Bed, standard_bed
from district import build as build_district
from google_server import WRITES, Request
from stories import GRADE, HIGH_OU, OU_OF, colleagues, done, leaver, of_account, outdated, person, settle, signalled
from test_interruption import Start, build, journals, kill_points, killed_run, state_of, uninterrupted

import sync

AT_ONCE = 8
SHARES = 2
# Of the run that nobody kills, what is written comes after so many requests.
READING = 7


def side_by_side(bed: Bed, latency: float = 0.02) -> None:
    bed.settings["WRITES_AT_ONCE"] = AT_ONCE
    bed.google.latency = latency


def test_the_sample_district_ends_the_same_side_by_side(tmp_path: Path) -> None:
    ends, remarks, made = [], [], []
    for at_once in (1, AT_ONCE):
        with standard_bed(tmp_path / str(at_once), WRITES_AT_ONCE=at_once) as bed:
            build_district(bed)
            bed.google.latency = 0.01 * (at_once > 1)
            outcome = bed.run()
            ends.append(state_of(bed.google.snapshot()))
            remarks.append(sorted(outcome.lines("ERROR")))
            made.append(Counter((line["dcid"], line["kind"]) for line in outcome.journal))
            assert bed.run().writes == []
    assert ends[0] == ends[1]
    assert remarks[0] == remarks[1]
    assert made[0] == made[1]


def test_eight_are_under_way_at_once_and_a_persons_lines_stand_together(bed: Bed) -> None:
    side_by_side(bed)
    colleagues(bed)
    for dcid in range(201, 225):
        settle(bed, dcid, f"Kim{chr(dcid - 104)}", ou=OU_OF[GRADE], email=f"old{dcid}@d118.org")
    bed.settings["LIMITS"] = dict.fromkeys(bed.setting("LIMITS"), 100)
    barrier = threading.Barrier(AT_ONCE)
    most: list[int] = []

    def meet(request: Request, moment: str) -> bool:
        if request.method == "users.update" and moment == "before" and len(most) < AT_ONCE:
            most.append(request.number)
            barrier.wait(30)
        return False

    bed.google.hook = meet
    outcome = bed.run()
    assert len(done(outcome)) == 48, outcome.output
    told = [
        re.findall(r"DCID (\d+)\)", line)[0] for line in outcome.lines("INFO") if line.startswith(("move", "rename"))
    ]
    assert len([1 for one, other in pairwise(told) if one != other]) == 23, told


class Moments(deque):  # type: ignore[type-arg]
    """As a deque, and remembers all that was ever in it."""

    def __init__(self, maxlen: int) -> None:
        super().__init__(maxlen=maxlen)
        self.all: list[float] = []

    def append(self, moment: float) -> None:
        self.all.append(moment)
        super().append(moment)


def test_no_more_is_asked_for_than_google_allows(bed: Bed) -> None:
    side_by_side(bed, 0)
    colleagues(bed)
    bed.google.world.creations_a_second = 10
    for dcid in range(201, 215):
        person(bed, dcid, f"Kim{chr(dcid - 104)}")
    assert [request.status for request in bed.run().requests if request.status in {403, 429, 503}] == []
    most, seconds = sync.QUERIES
    assert most / seconds < 2400 / 60
    run, sent = sync.Run(Path(), datetime.now(timezone.utc)), Moments(maxlen=3)
    with ThreadPoolExecutor(4) as workers:
        [*workers.map(lambda _: sync.keep_pace(run, sent, (3, 0.2)), range(9))]
    assert len(sent.all) == 9
    assert all(later - earlier >= 0.2 for earlier, later in zip(sent.all, sent.all[3:], strict=False))


def test_journal_lines_are_whole_in_order_of_time_and_their_numbers_unique(bed: Bed) -> None:
    side_by_side(bed)
    build(bed)
    journal = bed.run().journal
    assert [line["time"] for line in journal] == sorted(line["time"] for line in journal)
    intended = [(line["change"], line["kind"]) for line in journal if line["state"] == "intended"]
    assert len(intended) == len(set(intended)) == len(journal) / 2
    assert len({line["change"] for line in journal}) == len(
        {(line["change"], line["account"]) for line in journal if line["state"] == "done"}
    )


def test_all_closings_have_ended_before_anybody_else_begins(bed: Bed) -> None:
    side_by_side(bed)
    colleagues(bed, 30)
    leavers = {leaver(bed, 201 + number, f"Kim{chr(97 + number)}") for number in range(6)}
    for dcid in range(301, 309):
        outdated(bed, dcid, f"Lee{chr(dcid - 204)}")
    written = [request.params["userKey"] in leavers for request in bed.run().writes]
    assert written == sorted(written, reverse=True)
    assert Counter(written) == {True: 12, False: 8}


@pytest.mark.parametrize("share", range(SHARES))
def test_a_run_of_eight_killed_at_any_request_is_finished_by_the_next(
    bed: Bed, subtests: pytest.Subtests, share: int
) -> None:
    build(bed)
    side_by_side(bed, 0)
    start = Start(bed)
    points = [point for point in kill_points() if point[0] > READING]
    for number, moment in points[share :: SHARES * 6]:
        with subtests.test(number=number, moment=moment):
            start.again()
            killed_run(bed, number, moment)
            outcome = bed.run()
            assert outcome.exit_code in {0, 1}, outcome.output
            assert state_of(bed.google.snapshot()) == uninterrupted().after
            assert [one.method for one in bed.run().requests if one.method in WRITES] == []


def many_outdated(bed: Bed) -> dict[str, int]:
    colleagues(bed)
    return {outdated(bed, 201 + number, f"Kim{chr(97 + number)}"): 201 + number for number in range(20)}


def is_settled(bed: Bed, accounts: dict[str, int]) -> None:
    """Of each change the journal knows how it ended, and Google agrees."""
    rows = journals(bed)
    last = {row["change"]: row for row in rows}
    assert not [row for row in last.values() if row["state"] == "intended"]
    for row in last.values():
        user = bed.google.users[row["account"]]
        group = user["customSchemas"]["Synchronization_Data"].get("Staff_Group")
        assert (row["state"] == "done") == (str(group) == "9"), row
    assert {row["account"] for row in rows} <= set(accounts)


def test_an_error_that_ends_the_run_begins_nobody_new_and_journals_what_is_in_flight(bed: Bed) -> None:
    side_by_side(bed, 0)
    accounts = many_outdated(bed)
    place, refused = count(1), set[str]()
    is_asked, is_another_begun = threading.Event(), threading.Event()

    def wait(request: Request, moment: str) -> None:
        if (request.method, moment) == ("users.update", "before"):
            number = next(place)
            if number > AT_ONCE:
                is_another_begun.set()
            elif number == AT_ONCE:
                refused.add(request.params["userKey"])
                is_asked.set()
            else:  # the first of all too, for whom the run itself waits
                assert is_asked.wait(30)
                is_another_begun.wait(1)

    bed.google.hook = wait
    bed.google.fail(
        "users.update", 403, "accessNotConfigured", "Not enabled.", match=lambda r: r.params["userKey"] in refused
    )
    outcome = bed.run()
    assert outcome.exit_code == 2
    assert "enable the Admin SDK API" in outcome.lines("ERROR")[-1]
    assert not is_another_begun.is_set(), "not even who had been looked at already is begun"
    looked_at = [request for request in outcome.requests if request.method == "users.get"]
    assert len(looked_at) <= 2 * AT_ONCE, "nor is anybody else looked at"
    assert len(outcome.writes) == AT_ONCE - 1
    is_settled(bed, accounts)


def test_an_error_that_ends_the_run_is_told_even_if_nobody_comes_after(bed: Bed) -> None:
    side_by_side(bed, 0)
    colleagues(bed)
    accounts = [outdated(bed, 201 + number, f"Kim{chr(97 + number)}") for number in range(3)]
    bed.google.fail("users.update", 403, "accessNotConfigured", "Not enabled.", match=of_account(accounts[-1]))
    outcome = bed.run()
    assert outcome.exit_code == 2, outcome.output
    assert "enable the Admin SDK API" in outcome.lines("ERROR")[-1]


def test_what_was_seen_ahead_is_good_for_the_first_step_alone(bed: Bed) -> None:
    side_by_side(bed, 0)
    colleagues(bed)
    account = leaver(bed, 201)

    def promote(request: Request, moment: str) -> None:
        if (request.method, moment) == ("users.update", "after"):
            bed.google.users[account]["isAdmin"] = True

    bed.google.hook = promote
    assert done(bed.run()) == {(201, "suspend")}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal for one process")
@pytest.mark.ordinary_runs
def test_ctrl_c_begins_nobody_new_and_ends_after_what_is_in_flight(bed: Bed) -> None:
    side_by_side(bed, 0.2)
    accounts = many_outdated(bed)
    exit_code, output = signalled(bed, signal.SIGINT, 3)
    assert exit_code == 2, output
    assert "Interrupted" in output.splitlines()[-1]
    changed = len([row for row in journals(bed) if row["state"] == "done"])
    assert f"{changed} changes were written before that" in output.splitlines()[-1]
    assert 3 <= changed < 2 * AT_ONCE, "who had only been looked at is not begun either"
    is_settled(bed, accounts)
    bed.google.behave()
    assert bed.run().exit_code == 0


def test_the_time_of_a_run_is_over_for_all(bed: Bed) -> None:
    side_by_side(bed)
    many_outdated(bed)
    bed.settings |= {"RUN_MINUTES": 0.0001, "RETRY_SECONDS": 1000}
    outcome = bed.run()
    assert (outcome.exit_code, outcome.writes) == (2, [])
    assert "RUN_MINUTES is over, with 20 people left for the next run" in outcome.lines("ERROR")[-1]


def test_a_fault_on_one_person_stops_no_other(bed: Bed) -> None:
    side_by_side(bed)
    accounts = list(many_outdated(bed))
    faults: dict[int, dict[str, Any]] = {
        0: {"status": 400, "reason": "invalid", "message": "No"}, 1: {"status": 403, "reason": "forbidden"},
        2: {"status": 503}, 3: {"close": True}, 4: {"status": 404, "reason": "notFound"},
        5: {"status": 412, "reason": "conditionNotMet"}, 6: {"status": 200, "body": b"[]"},
    }  # fmt: skip
    for number, fault in faults.items():
        bed.google.fail("users.update", times=None, match=of_account(accounts[number]), **fault)
    outcome = bed.run()
    assert outcome.exit_code == 1
    assert {dcid - 201 for dcid, _ in done(outcome)} == set(range(20)) - set(faults)
    assert len(outcome.lines("ERROR")) == len(faults), outcome.output
    bed.google.behave()
    assert bed.run().exit_code == 0


def test_an_account_that_has_waited_long_for_its_turn_is_looked_at_again(bed: Bed) -> None:
    side_by_side(bed, 0)
    colleagues(bed)
    accounts = {outdated(bed, 201 + number, f"Kim{chr(97 + number)}") for number in range(2 * AT_ONCE)}
    # Nobody waits: for the process the clock jumps once eight are being written and the others have been looked at.
    late = bed.folder / "late"
    bed.prelude = (
        "import os, time\n"
        "monotonic = time.monotonic\n"
        f"time.monotonic = lambda: monotonic() + 6 * os.path.exists({str(late)!r})\n"
    )
    first: set[str] = set()
    looked_at = threading.Semaphore(0)

    def change_the_others() -> None:
        for _ in accounts:
            assert looked_at.acquire(timeout=30)
        for account in accounts - first:
            bed.google.users[account]["customSchemas"]["Synchronization_Data"]["Staff_Group"] = "5"
        late.touch()

    barrier = threading.Barrier(AT_ONCE, change_the_others)

    def wait(request: Request, moment: str) -> None:
        if (request.method, moment) == ("users.get", "after"):
            looked_at.release()
        if (request.method, moment) == ("users.update", "before") and not late.exists():
            first.add(request.params["userKey"])
            barrier.wait(30)

    bed.google.hook = wait
    outcome = bed.run()
    assert outcome.exit_code == 0, outcome.output
    looks = Counter(request.params["userKey"] for request in outcome.requests if request.method == "users.get")
    again = {account for account, times in looks.items() if times > 1}
    assert again
    assert again <= accounts - first
    befores = {line["account"]: line["before"] for line in outcome.journal}
    groups = {befores[account]["customSchemas.Synchronization_Data.Staff_Group"] for account in again}
    assert groups == {"5"}


def test_newcomers_are_looked_up_side_by_side_and_the_accounts_stay_in_their_places(bed: Bed) -> None:
    side_by_side(bed)
    colleagues(bed)
    for dcid in range(201, 213):
        person(bed, dcid, f"Kim{chr(dcid - 104)}")
    bed.google.add_user("kima.personcab@d118.org", "Some", "Body", ou=HIGH_OU)
    outcome = bed.run()
    assert len([1 for request in outcome.writes if request.method == "users.insert"]) == 11
    assert any("DCID 201)" in line for line in outcome.lines("ERROR"))


def test_all_that_is_in_flight_at_the_very_end_is_journalled_as_unknown(bed: Bed) -> None:
    side_by_side(bed, 0)
    accounts = list(many_outdated(bed))
    bed.settings |= {"RUN_MINUTES": 0.07, "TIMEOUT_SECONDS": 1, "RETRY_SECONDS": 60}
    for account in accounts[:2]:
        bed.google.fail("users.update", drip=True, times=None, match=of_account(account))
    outcome = bed.run()
    assert outcome.exit_code == 2
    unknown = {line["account"] for line in outcome.journal if line["state"] == "unknown"}
    assert unknown == set(accounts[:2])
