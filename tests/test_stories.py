"""Whole stories about a run as such: nothing to do, a dry run, the sample district, limits, and --only."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from bed import Bed, matching_account, matching_fields
from district import EXPECTED, LEFT_ALONE, PROTECTED, STUDENTS, build, disagreements, untold
from stories import (
    CROWN,
    GRADE,
    HIGH,
    LETTERS,
    MIDDLE,
    OU_OF,
    PEOPLE,
    SUSPENDED_OU,
    TEACHER,
    add_known,
    at_rest,
    colleagues,
    done,
    errors,
    leaver,
    person,
    settle,
    told,
)

# Nothing happens.


def test_where_both_sides_agree_nothing_is_written_and_no_journal_is_made(bed: Bed) -> None:
    colleagues(bed, 3)
    settle(bed, 201, "Gone", "Already", suspended=True, ou=SUSPENDED_OU)
    bed.powerschool.leave(201)
    had = bed.google.snapshot()
    outcome = bed.run()
    assert outcome.exit_code == 0, outcome.output
    assert bed.google.attempted_writes == []
    assert bed.google.snapshot() == had
    assert not list(bed.runs.glob("*.jsonl"))
    assert not list(bed.runs.glob("*Z.txt"))
    assert errors(outcome) == []
    assert "Done: nothing." in outcome.log


def test_five_hundred_staff_with_nothing_to_do_cost_ten_requests_at_most(bed: Bed) -> None:
    colleagues(bed, 500)
    outcome = bed.run()
    assert outcome.exit_code == 0, outcome.output
    assert bed.google.attempted_writes == []
    assert "token" in {request.method for request in outcome.requests}
    assert len(outcome.requests) <= 10
    # What the login, the five statements and the farewell cost; trips that only bring further rows are not counted.
    assert outcome.round_trips - bed.oracle.fetch_trips <= 11
    assert len(outcome.statements) == 5


def test_a_dry_run_writes_nothing_and_leaves_nothing_behind(bed: Bed) -> None:
    colleagues(bed)
    person(bed, 201, "Maya", "Patel", HIGH)
    leaver(bed, 202, "George", "Bauer", MIDDLE)
    settle(bed, 203, "Victor", "Stein", ou=OU_OF[GRADE])
    had, files = bed.google.snapshot(), sorted(path.name for path in bed.folder.iterdir())
    outcome = bed.run("--dry-run")
    assert outcome.exit_code == 0, outcome.output
    assert bed.google.attempted_writes == []
    assert bed.google.snapshot() == had
    assert sorted(path.name for path in bed.folder.iterdir()) == files
    assert outcome.output.count("Would create") == 1
    assert outcome.output.count("Would suspend") == 1
    assert f"{OU_OF[GRADE]} -> {OU_OF[HIGH]}" in outcome.output


@pytest.mark.parametrize(("change", "exit_code"), [("nothing", 0), ("error", 1), ("limit", 3), ("sanity", 3)])
def test_a_dry_run_exits_as_the_run_would(bed: Bed, change: str, exit_code: int) -> None:
    colleagues(bed)
    if change == "error":
        settle(bed, 201, "Mona", "Adler")
        bed.powerschool.person(201)["homeschoolid"] = None
    if change == "limit":
        bed.settings["LIMITS"] = {"suspend": 0}
        leaver(bed, 201, "George", "Bauer", HIGH)
    if change == "sanity":
        bed.powerschool.school_staff.clear()
    dry = bed.run("-n")
    assert dry.exit_code == exit_code, dry.output
    assert not (bed.folder / "StaffLog.txt").exists()
    assert not bed.runs.exists()
    real = bed.run()
    assert real.exit_code == exit_code, real.output
    assert bed.google.attempted_writes == []


# The sample district.


def test_in_the_sample_district_every_person_ends_as_the_rules_say(bed: Bed) -> None:
    build(bed)
    never = STUDENTS | PROTECTED | LEFT_ALONE
    had = {address: bed.google.user(address) for address in never}
    dry = bed.run("--dry-run")
    assert bed.google.attempted_writes == []
    first = bed.run()
    assert disagreements(bed) == []
    assert untold(first) == []
    assert {address: bed.google.user(address) for address in never} == had
    admins = {user["id"] for user in bed.google.users.values() if user["isAdmin"]}
    forbidden = admins | {user["id"] for user in had.values()}
    written = {request.params.get("userKey") for request in bed.google.attempted_writes}
    # Attempts count too, whatever Google answered.
    assert not written & forbidden
    second = bed.run()
    assert second.writes == []
    assert [outcome.exit_code for outcome in (dry, first, second)] == [1, 1, 1]
    for dcid, expected in EXPECTED.items():
        if expected["told"].startswith("INFO"):
            account = f"{expected['email']}" if expected["email"] else "nobody's"
            lines = [line for line in first.lines("INFO") if f"DCID {dcid})" in line or account in line]
            assert lines, f"DCID {dcid} ({expected['told']}) was not mentioned"
            again = [line for line in second.lines("INFO") if f"DCID {dcid})" in line]
            assert not again, "what a rule leaves alone is named when it is new"
            assert not [line for line in errors(second) if f"DCID {dcid})" in line]


# Limits and sanity: what is too much is held before the first write.


def everything_twice(bed: Bed) -> dict[str, tuple[int, int]]:
    """Two people for every kind that has a limit, and nobody more; gives kind -> their DCIDs."""
    bed.settings["UPDATE_NAMES"] = True
    people = {
        "create": (201, 202), "link": (203, 204), "rename": (205, 206), "name": (207, 208), "move": (209, 210),
        "suspend": (211, 212), "reactivate": (213, 214), "move to suspended": (215, 216), "clear": (217, 218),
    }  # fmt: skip
    for number, pair in enumerate(people.values()):
        for dcid in pair:
            person(bed, dcid, "Person" + LETTERS[number], "Held" + LETTERS[dcid - 201], HIGH)
    for dcid in people["link"]:
        matching_account(bed, dcid, fields=matching_fields(bed, dcid, DCID=None))
    for dcid in people["rename"]:
        matching_account(bed, dcid, email=f"old{dcid}@d118.org")
    for dcid in people["name"]:
        matching_account(bed, dcid, given="Other")
    for dcid in people["move"]:
        matching_account(bed, dcid, ou=OU_OF[GRADE])
    for dcid in (*people["suspend"], *people["move to suspended"]):
        matching_account(bed, dcid, suspended=dcid in people["move to suspended"])
        bed.powerschool.leave(dcid)
    for dcid in people["reactivate"]:
        matching_account(bed, dcid, ou=SUSPENDED_OU, suspended=True)
    for dcid in people["clear"]:
        bed.powerschool.extension = [row for row in bed.powerschool.extension if row["usersdcid"] != dcid]
        matching_account(bed, dcid, fields=matching_fields(bed, dcid, CellPhone="847-555-9999"))
    return people


def test_each_kind_over_its_limit_is_held_whole_and_told_with_the_command_that_lets_it_through(bed: Bed) -> None:
    colleagues(bed)
    people = everything_twice(bed)
    bed.settings["LIMITS"] = dict.fromkeys(people, 1)
    person(bed, 230, "Goes", "On", HIGH)
    matching_account(bed, 230, fields=matching_fields(bed, 230, Staff_Group=4))
    held = bed.run()
    assert held.exit_code == 3, held.output
    # Values that are not emptied have no limit: this one person's turn comes all the same.
    assert done(held) == {(230, "update")}
    commands = []
    for kind, dcids in people.items():
        (line,) = [line for line in errors(held) if line.startswith(f"Held: {kind}:")]
        assert all(f"(DCID {dcid})" in line for dcid in dcids)
        match = re.search(r'--allow ("[^"]+"|[a-z]+=\d+)', line)
        assert match, line
        commands += shlex.split(match.group())
    # Whoever is reactivated is moved too, and so counts among the moves.
    assert {word for word in commands if "=" in word} == {f"{kind}={4 if kind == 'move' else 2}" for kind in people}
    through = bed.run(*commands)
    assert through.exit_code == 0, through.output
    assert {(dcid, kind) for dcid, kind in done(through) if kind in people} >= {
        (dcid, kind) for kind, dcids in people.items() if kind != "clear" for dcid in dcids
    }
    for dcid in people["clear"]:
        address = bed.powerschool.person(dcid)["email_addr"]
        assert "CellPhone" not in bed.google.user(address)["customSchemas"]["CrisisGO"]
    at_rest(bed)


def test_as_many_as_the_limit_are_let_through(bed: Bed) -> None:
    colleagues(bed)
    people = everything_twice(bed)
    bed.settings["LIMITS"] = {**dict.fromkeys(people, 2), "move": 4}
    outcome = bed.run()
    assert outcome.exit_code == 0, outcome.output
    for dcids in people.values():
        assert all(any(row[0] == dcid for row in done(outcome)) for dcid in dcids)


def test_a_held_kind_holds_the_person_or_only_itself_as_the_kind_is(bed: Bed) -> None:
    colleagues(bed)
    bed.settings["LIMITS"] = {"rename": 0, "move": 0, "clear": 0, "reactivate": 0}
    for dcid, first, account in (
        (201, "Renata", {"email": "old.rename@d118.org", "family": "Before"}),
        (202, "Movida", {"ou": OU_OF[GRADE]}),
        (203, "Clara", {}),
        (204, "Back", {"ou": SUSPENDED_OU, "suspended": True}),
    ):
        person(bed, dcid, first, "Quartz", HIGH, cell_phone=None if dcid == 203 else "847-555-0001")
        phone = {"CellPhone": "847-555-7777"} if dcid == 203 else {}
        matching_account(bed, dcid, fields=matching_fields(bed, dcid, Staff_Group=4, **phone), **account)
    outcome = bed.run()
    assert outcome.exit_code == 3
    assert done(outcome) == {(201, "update"), (202, "update"), (203, "update")}
    renamed, cleared = bed.google.user("old.rename@d118.org"), bed.google.user("clara.quartz@d118.org")
    # The name waits for the address it belongs to.
    assert renamed["name"]["familyName"] == "Before"
    assert cleared["customSchemas"]["Synchronization_Data"]["Staff_Group"] == "9"
    assert cleared["customSchemas"]["CrisisGO"]["CellPhone"] == "847-555-7777"
    back = bed.google.user("back.quartz@d118.org")
    assert back["suspended"]
    assert back["customSchemas"]["Synchronization_Data"]["Staff_Group"] == "4"
    assert at_rest(bed).exit_code == 3


def test_while_most_staff_are_not_linked_nobody_is_created_or_suspended(bed: Bed) -> None:
    settle(bed, 201, "Linked", "One")
    leaver(bed, 202, "George", "Bauer", HIGH)
    for number in range(3):
        person(bed, 210 + number, "Unlinked", "Lark" + LETTERS[number], HIGH)
        matching_account(bed, 210 + number, fields={}, employee_id=None)
    person(bed, 220, "Maya", "Patel", HIGH)
    held = bed.run("--dry-run")
    assert held.exit_code == 3, held.output
    assert "only 1 of the 4 active staff" in held.output
    assert "Would create" not in held.output
    assert "Would suspend" not in held.output
    lifted = bed.run("--dry-run", "--allow", "create=1")
    # Creations are let through, suspensions are not.
    assert lifted.exit_code == 3
    assert "Would create" in lifted.output
    assert "Would suspend" not in lifted.output
    first = bed.run()
    assert first.exit_code == 3
    assert {kind for _, kind in done(first)} == {"link", "update"}
    # Now they are linked, and the next night does the rest.
    second = bed.run()
    assert second.exit_code == 0, second.output
    assert done(second) == {(220, "create"), (202, "suspend"), (202, "move to suspended")}
    at_rest(bed)


@pytest.mark.parametrize("missing", ["schools", "staff", "active staff", "school staff", "Google"])
def test_an_answer_that_cannot_be_right_stops_the_run(bed: Bed, missing: str) -> None:
    colleagues(bed, 3)
    person(bed, 201, "Maya", "Patel", HIGH)
    had = bed.google.snapshot()
    if missing == "schools":
        bed.powerschool.schools.clear()
    if missing == "staff":
        bed.powerschool.users.clear()
    if missing == "active staff":
        for row in bed.powerschool.school_staff:
            row["status"] = 2
    # As a right to SELECT that was revoked and answers with no rows.
    if missing == "school staff":
        bed.powerschool.school_staff.clear()
    bed.google.empty_listing = missing == "Google"
    outcome = bed.run()
    assert outcome.exit_code == 3, outcome.output
    assert bed.google.attempted_writes == []
    assert bed.google.snapshot() == had
    assert outcome.journal == []
    assert outcome.output.splitlines()[-1].endswith("Nothing was written")
    words = {"Google": "Google returned no accounts", "school staff": "PowerSchool returned no active staff"}
    assert words.get(missing, f"PowerSchool returned no {missing}") in errors(outcome)[-1]


def strangers(bed: Bed, count: int) -> None:
    """So many accounts whose DCID belongs to somebody with whom nothing agrees."""
    for number in range(count):
        settle(
            bed, 201 + number, "Newcomer", "Wren" + LETTERS[number], email=f"other{number}@d118.org",
            given="Elsewhere", family="Finch", employee_id=f"E{number}", ou=OU_OF[CROWN],
        )  # fmt: skip


def test_a_few_accounts_that_look_like_somebody_elses_are_told_and_left(bed: Bed) -> None:
    colleagues(bed)
    strangers(bed, 5)
    bed.powerschool.leave(201)
    person(bed, 220, "Maya", "Patel", HIGH)
    outcome = bed.run()
    assert outcome.exit_code == 1, outcome.output
    for dcid in range(201, 206):
        told(outcome, "ERROR", dcid, f"DCID {dcid} sits on an account that looks like somebody else's")
    assert done(outcome) == {(220, "create")}
    at_rest(bed)


def test_many_accounts_that_look_like_somebody_elses_stop_the_run(bed: Bed) -> None:
    colleagues(bed)
    strangers(bed, 6)
    bed.powerschool.leave(201)
    person(bed, 220, "Maya", "Patel", HIGH)
    had = bed.google.snapshot()
    outcome = bed.run()
    assert outcome.exit_code == 3, outcome.output
    assert bed.google.attempted_writes == []
    assert bed.google.snapshot() == had
    assert outcome.journal == []
    assert outcome.output.splitlines()[-1].endswith("Nothing was written")
    assert "6 of 18 accounts" in errors(outcome)[-1]


def test_six_strangers_among_many_are_no_reason_to_stop(bed: Bed) -> None:
    colleagues(bed, 120)
    strangers(bed, 6)
    outcome = bed.run("--dry-run")
    assert outcome.exit_code == 1, outcome.output
    assert len(errors(outcome)) == 6


# --only.


def two_movers(bed: Bed) -> None:
    colleagues(bed, 3)
    settle(bed, 201, "Victor", "Stein", ou=OU_OF[GRADE], aliases=["vic@d118.org"])
    settle(bed, 202, "Rosa", "Tanaka", ou=OU_OF[GRADE])
    # Her teacher number is the DCID of somebody else.
    bed.powerschool.person(202)["teachernumber"] = "201"


@pytest.mark.parametrize(
    "words",
    [
        ["victor.stein@d118.org"], ["Victor.Stein@D118.org"], ["vic@d118.org"], ["dcid:201"], ["DCID:201"],
        ["teacher:4201"], ["4201"], ["4201", "dcid:201"],
    ],
)  # fmt: skip
def test_only_these_people_are_written_whichever_way_they_are_named(bed: Bed, words: list[str]) -> None:
    two_movers(bed)
    outcome = bed.run("--only", *words)
    assert outcome.exit_code == 0, outcome.output
    assert done(outcome) == {(201, "move")}
    assert "DCID 202" not in outcome.output


def test_only_takes_several_people(bed: Bed) -> None:
    two_movers(bed)
    outcome = bed.run("--only", "dcid:201", "teacher:201")
    assert {dcid for dcid, _ in done(outcome)} == {201, 202}


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("201", ("several people", "DCID 201", "DCID 202")),
        ("nobody@d118.org", ("nobody in PowerSchool",)),
        ("dcid:999", ("nobody in PowerSchool",)),
        ("teacher:", ("nobody in PowerSchool",)),
        ("teacher:4299", ("nobody in PowerSchool",)),
    ],
)
def test_only_ends_the_run_where_a_word_fits_nobody_or_several(bed: Bed, word: str, words: tuple[str, ...]) -> None:
    two_movers(bed)
    outcome = bed.run("--only", "dcid:201", word)
    assert outcome.exit_code == 2, outcome.output
    assert bed.google.attempted_writes == []
    assert all(part in errors(outcome)[-1] for part in words)


def test_a_limit_counts_only_the_people_named(bed: Bed) -> None:
    two_movers(bed)
    bed.settings["LIMITS"] = {"move": 1}
    outcome = bed.run("--only", "dcid:201")
    assert outcome.exit_code == 0, outcome.output
    assert done(outcome) == {(201, "move")}
    assert bed.run().exit_code == 0


# Districts that are set up otherwise.


def test_a_district_without_synonyms_names_the_schema(bed: Bed) -> None:
    bed.oracle.synonyms = False
    colleagues(bed, 2)
    bed.settings["POWERSCHOOL_SCHEMA"] = "PS"
    outcome = bed.run()
    assert outcome.exit_code == 0, outcome.output
    assert bed.google.attempted_writes == []
    bed.settings["POWERSCHOOL_SCHEMA"] = ""
    without = bed.run()
    assert without.exit_code == 2
    assert "POWERSCHOOL_SCHEMA" in errors(without)[-1]


def test_a_district_without_crisisgo_and_without_extension_tables_deletes_two_lines(bed: Bed) -> None:
    shipped = bed.setting("CUSTOM_SCHEMAS")
    bed.settings |= {"CUSTOM_SCHEMAS": {"Synchronization_Data": shipped["Synchronization_Data"]}}
    bed.settings |= {"EXTENSION_COLUMNS": {}, "PRIVATE_VALUES": []}
    bed.google.schemas.pop("CrisisGO")
    colleagues(bed, 3)
    person(bed, 201, "Maya", "Patel", HIGH)
    outcome = bed.run()
    assert outcome.exit_code == 0, outcome.output
    assert not any("u_humanresources" in sql.lower() for sql in outcome.statements)
    assert list(bed.google.user("maya.patel@d118.org")["customSchemas"]) == ["Synchronization_Data"]
    at_rest(bed)


def test_building_ous_and_building_aliases_go_before_the_rule(bed: Bed) -> None:
    bed.google.add_org_unit("/Crown")
    bed.settings |= {"BUILDING_OUS": {CROWN: "/CROWN"}, "BUILDING_ALIASES": {CROWN: "The Crown"}}
    colleagues(bed)
    person(bed, 201, "Maya", "Patel", CROWN)
    settle(bed, 202, "Rosa", "Tanaka", CROWN, ou=OU_OF[CROWN])
    outcome = bed.run()
    assert outcome.exit_code == 0, outcome.output
    assert done(outcome) == {(201, "create"), (202, "move")}
    # Org units compare without regard to case, and are written as Google spells them.
    assert {bed.google.user(f"{name}@d118.org")["orgUnitPath"] for name in ("maya.patel", "rosa.tanaka")} == {"/Crown"}
    assert bed.google.user("maya.patel@d118.org")["customSchemas"]["CrisisGO"]["Building"] == "The Crown"
    at_rest(bed)


def test_the_preferred_first_name_is_the_first_name_where_the_district_says_so(bed: Bed) -> None:
    colleagues(bed)
    person(bed, 201, "Margaret", "Olsen", HIGH, preferred="Peggy", email="peggy.olsen@d118.org")
    person(bed, 202, "Donald", "Draper", HIGH, preferred="  ")
    bed.settings["PREFERRED_FIRST_NAME"] = True
    assert bed.run().exit_code == 0
    assert bed.google.user("peggy.olsen@d118.org")["name"]["fullName"] == "Peggy Olsen"
    assert bed.google.user("donald.draper@d118.org")["name"]["fullName"] == "Donald Draper"
    bed.settings |= {"PREFERRED_FIRST_NAME": False, "UPDATE_NAMES": True}
    outcome = bed.run()
    assert done(outcome) == {(201, "name")}
    assert bed.google.user("peggy.olsen@d118.org")["name"]["fullName"] == "Margaret Olsen"


def test_everything_is_kept_beside_the_config_in_use(bed: Bed, tmp_path: Path) -> None:
    colleagues(bed)
    leaver(bed, 201, "George", "Bauer", HIGH)
    bed.powerschool.add_school_staff(9000, MIDDLE, TEACHER)
    outcome = bed.run()
    assert outcome.exit_code == 0, outcome.output
    kept = {path.suffix for path in (tmp_path / "runs").iterdir() if path.stem.startswith("20")}
    assert kept == {".jsonl", ".txt", ".html"}
    assert outcome.log.splitlines()[-1] in outcome.output
    at_rest(bed)
    # The log is the newest run's only; the run that did something keeps its own.
    assert "Done: nothing." in (tmp_path / "StaffLog.txt").read_text(encoding="utf-8")
    (text,) = (path.read_text(encoding="utf-8") for path in (tmp_path / "runs").glob("20*.txt"))
    assert "suspend 1" in text


def test_what_would_be_done_is_counted_in_the_order_of_the_first_change_of_each_kind(one_in_step: Bed) -> None:
    bed = one_in_step
    add_known(bed, 7)
    bed.powerschool.leave(7)
    bed.powerschool.add_person(8, *PEOPLE[8], schools={5: 1})
    outdated = matching_fields(bed, 8, Staff_Type=4)
    matching_account(bed, 8, email="n.haddad@d118.org", ou="/Substitute Teachers", fields=outdated)
    bed.powerschool.add_person(9, *PEOPLE[9], schools={5: 1})
    add_known(bed, 10, employee_id=None)
    counts = "suspend 1, move to suspended 1, move 1, rename 1, update 2, create 1"
    outcome = bed.run("--dry-run")
    assert f"Dry run, nothing written. Would do: {counts}." in outcome.lines("INFO"), outcome.output
    assert f"a run tonight would do: {counts}" in bed.run("--check").output
