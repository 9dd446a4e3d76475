"""By hand, after a change of one person: --only and --explain ask Google for what can concern these people alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from random import Random

import district
import pytest
from bed import Bed, Outcome, matching_account, standard_bed
from stories import GRADE, HIGH, add_known, colleagues, leaver, person, settle
from test_random_districts import fill

FEW = 20
ALL_IS_READ = "every account is read, as "


def asked_in(bed: Bed, *arguments: str, exit_code: int = 0) -> Outcome:
    outcome = bed.run(*arguments)
    assert outcome.exit_code == exit_code, outcome.output
    return outcome


def about(outcome: Outcome) -> dict[int, list[str]]:
    """DCID -> the lines that a plan and its remarks have of this person first of all."""
    found: dict[int, list[str]] = {}
    for line in outcome.output.splitlines():
        words = "" if ALL_IS_READ in line else line[20:]
        dcids = re.findall(r"\(DCID (\d+)\)", words)
        # A missing org unit is told in one line for everybody who waits for it.
        cause, is_shared, _ = words.partition("or name another one in BUILDING_OUS (")
        for dcid in dcids if is_shared else dcids[:1]:
            found.setdefault(int(dcid), []).append(cause)
    return {dcid: sorted(lines) for dcid, lines in found.items()}


def compare(bed: Bed) -> int:
    """Asserts that each person alone is decided on as among everybody; gives the number of whole readings."""
    bed.settings["LIMITS"] = dict.fromkeys(bed.setting("LIMITS"), 999)
    dcids = list(bed.powerschool.users)
    assert len(dcids) > FEW, "or everybody would be few"
    everybody = bed.run("--dry-run", "--only", *(f"dcid:{dcid}" for dcid in dcids))
    assert ALL_IS_READ in everybody.output
    expected, readings = about(everybody), 0
    # Who is not linked asks for a whole reading, and would for all who are asked for at once.
    fields = [user.get("customSchemas", {}).get("Synchronization_Data", {}) for user in bed.google.users.values()]
    linked = {str(held.get("DCID")) for held in fields}
    together = [dcid for dcid in dcids if str(dcid) in linked]
    waiting = [[dcid] for dcid in dcids if str(dcid) not in linked]
    waiting += [together[start : start + FEW] for start in range(0, len(together), FEW)]
    while waiting:
        some = waiting.pop()
        few = bed.run("--dry-run", "--only", *(f"dcid:{dcid}" for dcid in some))
        if ALL_IS_READ in few.output and len(some) > 1:
            waiting += [some[::2], some[1::2]]
            continue
        told = about(few)
        for dcid in some:
            assert told.get(dcid, []) == expected.get(dcid, []), few.output
        readings += ALL_IS_READ in few.output
        assert ALL_IS_READ in few.output or len(few.requests) <= 1 + 4 + 8 * len(some)
    return readings


def test_everybody_of_the_sample_district_is_decided_on_alone_as_among_all(tmp_path: Path) -> None:
    with standard_bed(tmp_path) as bed:
        district.build(bed)
        assert 0 < compare(bed) < len(bed.powerschool.users) / 3


@pytest.mark.parametrize("seed", range(100, 102))
def test_everybody_of_a_random_district_is_decided_on_alone_as_among_all(tmp_path: Path, seed: int) -> None:
    with standard_bed(tmp_path) as bed:
        fill(bed, Random(seed))
        compare(bed)


def test_few_calls_do_for_a_few_people_whatever_the_size_of_the_account(bed: Bed) -> None:
    for number in range(1200):
        bed.google.add_user(f"student{number}@d118.org", "Stu", "Dent", ou="/Students")
    colleagues(bed)
    changed = [7, 8, 9]
    for dcid in changed:
        add_known(bed, dcid, ou="/Substitute Teachers")

    outcome = asked_in(bed, "--only", *(f"dcid:{dcid}" for dcid in changed))

    assert not bed.google.pages
    assert {request.params["userKey"] for request in outcome.writes} == {
        bed.google.user(bed.powerschool.person(dcid)["email_addr"])["id"] for dcid in changed
    }
    assert len(outcome.requests) - len(outcome.writes) <= 1 + 4 + 8 * 3
    assert "Google: asked for these people alone" in outcome.output
    assert len(asked_in(bed, "--explain", "dcid:7").requests) <= 1 + 4 + 8
    assert not bed.google.pages


def test_the_word_may_be_an_address_of_the_account_a_number_or_in_explain_a_name(bed: Bed) -> None:
    colleagues(bed)
    bed.powerschool.add_person(7, "Maya", "Patel", "maya.patel@d118.org", schools={5: 1}, teacher_number="T70")
    matching_account(bed, 7, email="m.patel@d118.org", aliases=["maya@d118.org"], ou="/Substitute Teachers")
    for word in ("maya.patel@d118.org", "m.patel@d118.org", "maya@d118.org", "7", "dcid:7", "teacher:T70"):
        outcome = asked_in(bed, "--dry-run", "--only", word)
        assert not bed.google.pages
        assert "Would move" in outcome.output, word
    asked_in(bed, "--explain", "Patel")
    assert not bed.google.pages


MORE_OF_MAYA = "Google may have more that concerns Maya"


def new(bed: Bed) -> str:
    person(bed, 201, "Maya")
    return MORE_OF_MAYA


def to_be_linked(bed: Bed) -> str:
    person(bed, 201, "Maya")
    matching_account(bed, 201, fields={})
    return MORE_OF_MAYA


def of_a_namesake_with_an_account(bed: Bed) -> str:
    """The namesake's employee ID on it would be a doubt, if the namesake's own account were not read."""
    person(bed, 201, "Maya", "Stone")
    matching_account(bed, 201, fields={}, employee_id="T202")
    person(bed, 202, "Maya", "Stone", email="maya2@d118.org", teacher_number="T202")
    matching_account(bed, 202)
    return MORE_OF_MAYA


def left_with_two_accounts(bed: Bed) -> str:
    """One has the address of the newer record, which has an account of its own."""
    leaver(bed, 201, "Maya", "Stone")
    matching_account(bed, 201, email="maya2@d118.org")
    person(bed, 202, "Maya", "Stone", teacher_number=bed.powerschool.person(201)["teachernumber"])
    matching_account(bed, 202, email="maya3@d118.org")
    return MORE_OF_MAYA


def left_without_account(bed: Bed) -> str:
    settle(bed, 201, "Maya", fields={})
    bed.powerschool.leave(201)
    return MORE_OF_MAYA


def without_index(bed: Bed) -> str:
    settle(bed, 201)
    schema = next(s for s in bed.google.schemas.values() if s["schemaName"] == "Synchronization_Data")
    next(field for field in schema["fields"] if field["fieldName"] == "DCID")["indexed"] = False
    return "Synchronization_Data.DCID is not indexed"


def refused_query(bed: Bed) -> str:
    settle(bed, 201, "Maya")
    bed.google.fail("users.list", 400, "invalid", "Invalid Input: query", match=lambda r: "query" in r.params)
    return MORE_OF_MAYA


def lost_in_the_index(bed: Bed) -> str:
    """The search does not show the account yet, and its address is another."""
    settle(bed, 201, "Maya", email="old@d118.org")
    empty = b'{"kind": "admin#directory#users"}'
    bed.google.fail("users.list", 200, body=empty, match=lambda request: "query" in request.params)
    return MORE_OF_MAYA


@pytest.mark.parametrize(
    "situation",
    [
        new,
        to_be_linked,
        of_a_namesake_with_an_account,
        left_with_two_accounts,
        left_without_account,
        without_index,
        refused_query,
        lost_in_the_index,
    ],
    ids=lambda one: one.__name__,
)
def test_who_cannot_be_decided_on_alone_is_decided_on_by_everything(bed: Bed, situation: Callable[[Bed], str]) -> None:
    colleagues(bed)
    words = situation(bed)
    outcome = bed.run("--dry-run", "--only", "dcid:201")
    assert outcome.output.count(f"{ALL_IS_READ}{words}") == 1, outcome.output
    assert bed.google.pages


def test_more_than_twenty_people_are_read_with_everybody(bed: Bed) -> None:
    colleagues(bed, 21)
    dcids = [f"dcid:{dcid}" for dcid in bed.powerschool.users]
    assert ALL_IS_READ not in asked_in(bed, "--dry-run", "--only", *dcids[:FEW]).output
    assert f"{ALL_IS_READ}these are more than 20 people" in asked_in(bed, "--dry-run", "--only", *dcids).output


def test_a_dcid_on_somebody_elses_account_stops_its_person_alone(bed: Bed) -> None:
    """Many of them stop a run of everybody, which may have been given a PowerSchool that was rebuilt."""
    for dcid in range(1, 8):
        person(bed, dcid, school=HIGH)
        matching_account(bed, dcid, email=f"o{dcid}@d118.org", given="Some", family="Body", employee_id=None)
    settle(bed, 201, ou="/Substitute Teachers")
    assert bed.run("--dry-run").exit_code == 3
    outcome = asked_in(bed, "--only", "dcid:201", *(f"dcid:{dcid}" for dcid in range(1, 8)), exit_code=1)
    assert len(outcome.writes) == 1
    assert len(outcome.lines("ERROR")) == 7


def test_a_leaver_alone_leaves_a_group_of_a_domain_nobody_else_has(bed: Bed) -> None:
    """Where few accounts are read, what is outside this Google is asked for: a group of ours that refuses is told."""
    colleagues(bed)
    leaver(bed, 201, school=GRADE)
    email = bed.powerschool.person(201)["email_addr"]
    bed.google.domains.append("sports.d118.org")
    bed.google.add_group("team@sports.d118.org", members={email: "MEMBER"}, editable=False)
    outcome = asked_in(bed, "--only", "dcid:201", exit_code=1)
    assert any("team@sports.d118.org" in line for line in outcome.lines("ERROR")), outcome.output


def test_an_undo_asks_for_the_accounts_of_its_journal_alone(bed: Bed) -> None:
    for number in range(600):
        bed.google.add_user(f"student{number}@d118.org", "Stu", "Dent", ou="/Students")
    colleagues(bed)
    settle(bed, 201, ou="/Substitute Teachers")
    assert bed.run().exit_code == 0
    outcome = asked_in(bed, "--undo", "last", "--yes")
    assert len(outcome.writes) == 1
    assert not bed.google.pages
