"""The spreadsheet goes both ways: what --csv writes contradicts itself nowhere, and --decide does what is typed in."""

from __future__ import annotations

import csv
import datetime
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any, Literal

import district
import pytest
from bed import Bed, Outcome, standard_bed
from stories import (
    FROZEN_OU,
    HIGH_OU,
    STUDENT_OU,
    SUSPENDED_OU,
    at_rest,
    bodies,
    done,
    errors,
    journalled,
    leaver,
    outdated,
    person,
    screen,
    settle,
    silent,
    told,
)
from test_random_districts import fill

SCHEMA = "Synchronization_Data"
MAYA, OLD = "maya.patel@d118.org", "old@d118.org"
Row = dict[str, str]
Step = Callable[[Bed], object]


def sheet_path(bed: Bed) -> Path:
    return bed.folder / "linking.csv"


def sheet(bed: Bed) -> list[Row]:
    """The rows of a new spreadsheet."""
    outcome = bed.run("--dry-run", "--csv", str(sheet_path(bed)))
    assert outcome.writes == []
    assert sheet_path(bed).exists(), outcome.output
    with sheet_path(bed).open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def written(rows: list[Row], delimiter: str = ",", quoting: Literal[0, 1] = csv.QUOTE_MINIMAL) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter, quoting=quoting)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def type_in(bed: Bed, decisions: Mapping[tuple[int | str, str], str]) -> list[Row]:
    """Types decisions into a new spreadsheet, each by DCID and account of its row."""
    rows = sheet(bed)
    rest = {(str(dcid), account): word for (dcid, account), word in decisions.items()}
    for row in rows:
        row["decision"] = rest.pop((row["dcid"], row["google_address"]), "")
    assert not rest, rows
    sheet_path(bed).write_text(written(rows), encoding="utf-8-sig", newline="")
    return rows


def carry_out(bed: Bed, *arguments: str) -> Outcome:
    return bed.run("--decide", str(sheet_path(bed)), *arguments)


def decide(bed: Bed, dcid: int | str, account: str, word: str, *arguments: str) -> Outcome:
    type_in(bed, {(dcid, account): word})
    return carry_out(bed, *arguments)


def answers(outcome: Outcome) -> list[str]:
    lines = outcome.lines("INFO") + outcome.lines("ERROR")
    return [line for line in lines if line.startswith("row ")]


def answer(outcome: Outcome) -> str:
    (line,) = answers(outcome)
    return line


def dcid_of(bed: Bed, email: str) -> str | None:
    found: str | None = bed.google.user(email).get("customSchemas", {}).get(SCHEMA, {}).get("DCID")
    return found


def maya(bed: Bed, **more: Any) -> None:
    person(bed, 201, "Maya", "Patel", **more)


def namesake(bed: Bed, email: str = OLD, **more: Any) -> str:
    """An account with Maya's names and no DCID, somewhere else."""
    return bed.google.add_user(email, more.pop("given", "Maya"), more.pop("family", "Patel"), **{"ou": HIGH_OU, **more})


def carrying(dcid: int) -> dict[str, Any]:
    return {SCHEMA: {"DCID": str(dcid)}}


def gone(bed: Bed, email: str = MAYA, **more: Any) -> None:
    yesterday = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)
    bed.google.add_deleted_user(email, "Maya", "Patel", deleted=yesterday, **more)


# What is decided is done, alone, and the next run is at rest.


def test_a_link_writes_the_dcid_alone_and_the_next_runs_take_the_account_for_theirs(staffed: Bed) -> None:
    maya(staffed)
    identity = namesake(staffed)
    outdated(staffed, 202, "Noor")
    outcome = decide(staffed, 201, OLD, "link")
    assert answer(outcome).endswith(f"link: Maya Patel, DCID 201, {OLD}: done")
    assert (outcome.exit_code, done(outcome)) == (0, {(201, "link")}), outcome.output
    assert bodies(outcome, identity) == [{"customSchemas": {SCHEMA: {"DCID": 201}}}]
    assert {request.params.get("userKey") for request in outcome.writes} == {identity}, "nobody else, not even Noor"
    after = staffed.run()
    assert after.exit_code == 0, after.output
    assert {(201, "rename"), (201, "update"), (202, "update")} <= done(after)
    at_rest(staffed)


def test_a_create_sets_the_namesake_aside_and_makes_the_account(staffed: Bed) -> None:
    maya(staffed)
    namesake(staffed)
    before = staffed.google.user(OLD)
    outcome = decide(staffed, 201, OLD, "create")
    assert (outcome.exit_code, done(outcome)) == (0, {(201, "create")}), outcome.output
    assert answer(outcome).endswith(": done")
    assert dcid_of(staffed, MAYA) == "201"
    assert staffed.google.user(OLD) == before
    silent(at_rest(staffed), "ERROR", 201)


def test_a_create_sets_each_namesake_aside_that_it_names_and_no_other(staffed: Bed) -> None:
    maya(staffed)
    namesake(staffed)
    namesake(staffed, "older@d118.org", ou="/")
    refused = decide(staffed, 201, OLD, "create")
    assert refused.exit_code == 1
    assert "older@d118.org has no DCID, with the same names" in answer(refused)
    type_in(staffed, {(201, OLD): "create", (201, "older@d118.org"): "create"})
    both = carry_out(staffed)
    assert (both.exit_code, done(both), len(answers(both))) == (0, {(201, "create")}, 2), both.output


@pytest.mark.measured
def test_a_create_sets_a_deleted_account_aside_but_not_the_persons_own(staffed: Bed) -> None:
    maya(staffed)
    gone(staffed)
    person(staffed, 202, "Noor", "Haddad")
    gone(staffed, "noor.haddad@d118.org", fields=carrying(202))
    rows = type_in(staffed, {(201, MAYA): "create", (202, "noor.haddad@d118.org"): "create"})
    assert {row["state"] for row in rows if row["decision"]} == {"deleted"}
    outcome = carry_out(staffed)
    assert (outcome.exit_code, done(outcome)) == (1, {(201, "create")}), outcome.output
    assert any("Noor" in line and "restore it in the Admin console" in line for line in answers(outcome))


def test_a_leave_is_told_as_left_until_what_was_seen_changes(staffed: Bed) -> None:
    maya(staffed)
    identity = namesake(staffed)
    told(staffed.run(), "ERROR", 201, "possible account")
    outcome = decide(staffed, 201, OLD, "leave")
    assert (outcome.exit_code, outcome.writes) == (0, []), outcome.output
    assert answer(outcome).endswith(": done")
    next_morning = staffed.run()
    assert next_morning.exit_code == 0, next_morning.output
    told(next_morning, "INFO", "left by decision: Maya", "old@d118.org has no DCID, with the same names")
    silent(staffed.run(), "ERROR", 201)
    assert "left by decision" in staffed.run("--explain", "dcid:201").output
    # Another namesake is another matter, and so is this one with the Employee ID.
    namesake(staffed, "older@d118.org", ou="/")
    assert "older@" in told(staffed.run(), "ERROR", 201, "possible account")
    number = [{"value": "4201", "type": "organization"}]
    staffed.google.call("users.update", {"userKey": identity}, {"externalIds": number})
    assert len([line for line in errors(staffed.run()) if "DCID 201)" in line]) == 2


def test_an_open_account_of_nobody_is_left_whenever_it_was_last_used(staffed: Bed) -> None:
    identity = namesake(staffed, "vendor@d118.org", given="A", family="Vendor", fields=carrying(999))
    told(staffed.run(), "ERROR", "vendor@", "open for nobody")
    assert decide(staffed, "", "vendor@d118.org", "leave").exit_code == 0
    staffed.google.users[identity]["lastLoginTime"] = "2026-11-20T15:00:00.000Z"
    assert staffed.run().exit_code == 0
    staffed.google.call("users.update", {"userKey": identity}, {"customSchemas": {SCHEMA: {"DCID": "998"}}})
    assert staffed.run().exit_code == 1


def test_what_else_is_remembered_stays_and_the_log_of_everybody_too(staffed: Bed) -> None:
    settle(staffed, 202, "Noor", suspended=True)
    maya(staffed)
    namesake(staffed)
    staffed.run()
    log = (staffed.folder / "StaffLog.txt").read_bytes()
    path = staffed.runs / "standing.json"
    before = json.loads(path.read_text("utf-8"))
    decide(staffed, 201, OLD, "leave")
    after = json.loads(path.read_text("utf-8"))
    decided = after.pop("decisions")
    assert after | {"decisions": {}} == before, "not even the night is counted"
    assert [("201" in key, "old@" in seen) for key, seen in decided.items()] == [(True, True)]
    assert (staffed.folder / "StaffLog.txt").read_bytes() == log
    # One that somebody has spoiled by hand counts for nothing.
    path.write_text(json.dumps(after | {"decisions": ["?"]}), "utf-8")
    told(staffed.run(), "ERROR", 201, "possible account")


def test_what_was_linked_is_solved_and_what_was_not_yet_stands(staffed: Bed) -> None:
    for dcid, first in ((201, "Maya"), (202, "Noor")):
        person(staffed, dcid, first, "Patel")
        namesake(staffed, f"old{dcid}@d118.org", given=first)
    staffed.run()
    type_in(staffed, {(201, "old201@d118.org"): "link", (202, "old202@d118.org"): "link"})
    staffed.google.fail("users.update", 403, "forbidden", "No", times=1)
    outcome = carry_out(staffed)
    assert outcome.exit_code == 1
    assert sorted(line.rpartition(": ")[2] for line in answers(outcome)) == [
        "done",
        "not done, the lines above say why",
    ]
    staffed.settings["LIMITS"] = {"link": 0}
    held = carry_out(staffed)
    assert (held.exit_code, held.writes) == (3, []), held.output
    assert "--allow link=1" in held.output
    assert [line for line in held.lines("INFO") if line.startswith("solved")] == []
    allowed = carry_out(staffed, "--allow", "link=1")
    assert allowed.exit_code == 0, allowed.output
    assert sorted(line.rpartition(": ")[2] for line in answers(allowed)) == [
        "done", "nothing to do, an account carries the DCID already",
    ]  # fmt: skip


def test_somebody_who_left_is_linked_and_closed_by_the_next_run(staffed: Bed) -> None:
    leaver(staffed, 201, "Maya", "Patel", fields={})
    assert decide(staffed, 201, MAYA, "link").exit_code == 0
    after = staffed.run()
    assert done(after) == {(201, "suspend"), (201, "move to suspended")}
    assert after.exit_code == 0


def test_a_rehire_gets_the_account_of_the_older_record(staffed: Bed) -> None:
    maya(staffed)
    leaver(staffed, 101, "Maya", "Patel", email=OLD, ou=SUSPENDED_OU, suspended=True, employee_id=None)
    outcome = decide(staffed, 201, OLD, "link")
    assert outcome.exit_code == 0, outcome.output
    dcid = f"customSchemas.{SCHEMA}.DCID"
    assert journalled(outcome, 201, "link") == ({dcid: "101"}, {dcid: "201"})
    assert staffed.run().exit_code == 0
    at_rest(staffed)


def test_a_dry_run_answers_and_changes_nothing(staffed: Bed) -> None:
    maya(staffed)
    namesake(staffed)
    person(staffed, 202, "Noor", "Haddad")
    namesake(staffed, "noor@d118.org", given="Noor", family="Haddad")
    person(staffed, 203, "Ada", "Okoye")
    namesake(staffed, "ada@d118.org", given="Ada", family="Okoye")
    staffed.run()
    before, remembered = staffed.google.snapshot(), (staffed.runs / "standing.json").read_bytes()
    type_in(staffed, {(201, OLD): "link", (202, "noor@d118.org"): "create", (203, "ada@d118.org"): "leave"})
    outcome = carry_out(staffed, "--dry-run")
    assert outcome.exit_code == 0
    assert [line.rpartition(": ")[2] for line in answers(outcome)] == ["would be done"] * 3
    assert staffed.google.snapshot() == before
    assert (staffed.runs / "standing.json").read_bytes() == remembered
    assert len([line for line in outcome.lines("INFO") if line.startswith("Would ")]) == 2


@pytest.mark.parametrize("word", ["link", "create"])
def test_a_decision_is_undone(staffed: Bed, word: str) -> None:
    maya(staffed)
    namesake(staffed)
    decide(staffed, 201, OLD, word)
    undone = staffed.run("--undo", "last", "--yes")
    assert undone.exit_code == 0, undone.output
    assert dcid_of(staffed, OLD) is None
    if word == "create":
        assert staffed.google.user(MAYA)["suspended"]
    else:
        told(staffed.run(), "ERROR", 201, "possible account")


def test_an_account_created_by_mistake_is_given_up_as_the_lines_say(staffed: Bed) -> None:
    maya(staffed)
    namesake(staffed)
    decide(staffed, 201, OLD, "create")
    assert "put the DCID there" in staffed.run("--undo", "last", "--yes").output
    refused = answer(decide(staffed, 201, OLD, "link"))
    assert f"if {OLD} is theirs, put the DCID there in the Admin console and empty it in the other one" in refused
    for email, dcid in ((OLD, "201"), (MAYA, None)):
        console(email, customSchemas={SCHEMA: {"DCID": dcid}})(staffed)
    outcome = staffed.run()
    assert staffed.google.user(MAYA)["suspended"]
    assert f"cannot rename {OLD} to {MAYA}" in told(outcome, "ERROR", 201)
    assert (201, "update") in done(outcome)


# What is refused: who and what is there, what happens after the sheet was made, the decision, why not.


def nothing(_bed: Bed) -> None:
    pass


def console(email: str, **changes: Any) -> Step:
    return lambda bed: bed.google.call("users.update", {"userKey": email}, changes)


def powerschool(**columns: object) -> Step:
    return lambda bed: bed.powerschool.person(201).update(columns)


def both(*several: Step) -> Step:
    def all_of_them(bed: Bed) -> None:
        for step in several:
            step(bed)

    return all_of_them


def other_carries(dcid: int) -> Step:
    return lambda bed: bed.google.add_user("third@d118.org", "Th", "Ird", ou=HIGH_OU, fields=carrying(dcid))


def admin_since(name: str) -> Step:
    def become(bed: Bed) -> None:
        bed.google.users[bed.google.user(OLD)["id"]][name] = True

    return become


TWIN = both(maya, namesake)
NUMBERED = both(maya, lambda bed: namesake(bed, employee_id="4201"))
HELD = both(maya, lambda bed: namesake(bed, MAYA, given="Zoe", family="Hill"))
REFUSED: dict[str, tuple[Step, Step, str, str, str]] = {
    "name changed": (
        NUMBERED, powerschool(first_name="Mia"), OLD, "link", "name was 'Maya Patel' and is 'Mia Patel'"),
    "address changed": (
        TWIN, powerschool(email_addr="m@d118.org"), OLD, "create",
        "powerschool_address was 'maya.patel@d118.org' and is 'm@d118.org'"),
    "account's name changed": (
        TWIN, console(OLD, name={"familyName": "Patel", "givenName": "MAYA"}), OLD, "link", "google_name was"),
    "account's DCID changed": (
        TWIN, console(OLD, customSchemas=carrying(999)), OLD, "link", "google_dcid was '' and is '999'"),
    "account's address changed": (
        TWIN, console(OLD, primaryEmail="new@d118.org"), OLD, "link", "make a new sheet with --csv"),
    "account of an active person": (
        both(TWIN, lambda bed: settle(bed, 202, "Noor")),
        lambda bed: bed.google.call("users.update", {"userKey": OLD}, {"customSchemas": carrying(202)}),
        OLD, "link", "make a new sheet with --csv"),
    "a colleague's account": (
        both(maya, lambda bed: settle(bed, 202, "Noor", "Haddad", aliases=[MAYA])), nothing, "noor.haddad@d118.org",
        "link", "noor.haddad@d118.org carries DCID 202, which is Noor Haddad"),
    "person left": (TWIN, lambda bed: bed.powerschool.leave(201), OLD, "create", "is open though the person left"),
    "person gone": (TWIN, lambda bed: bed.powerschool.remove(201), OLD, "link", "make a new sheet with --csv"),
    "skipped since": (
        TWIN, lambda bed: bed.settings.update(BAD_NAMES=["Maya Patel"]), OLD, "link", "skipped by rule (bad name)"),
    "super admin": (TWIN, admin_since("isAdmin"), OLD, "link", "old@d118.org is a super admin"),
    "delegated admin": (TWIN, admin_since("isDelegatedAdmin"), OLD, "link", "old@d118.org has an admin role"),
    "protected": (
        NUMBERED, console(OLD, orgUnitPath=STUDENT_OU), OLD, "link", "old@d118.org lies in /Students (PROTECTED_OUS)"),
    "hands off": (
        TWIN, lambda bed: bed.settings.update(HANDS_OFF={"dcid:201": ("asked by HR", "2099-01-31")}), OLD, "link",
        "asked by HR (HANDS_OFF until 2099-01-31)"),
    "the signed-in admin": (
        TWIN, lambda bed: bed.environment.update(GOOGLE_ADMIN_EMAIL=OLD), OLD, "link", "is GOOGLE_ADMIN_EMAIL"),
    "another carries the DCID": (TWIN, other_carries(201), OLD, "link", "third@d118.org carries this DCID already"),
    "somebody else's to the next run": (
        both(maya, lambda bed: person(bed, 202, "Zoe", "Hill"), lambda bed: namesake(bed, "zoe.hill@d118.org")),
        nothing, "zoe.hill@d118.org", "link", "PowerSchool gives its address to Zoe Hill"),
    "nothing agrees with it": (
        both(lambda bed: maya(bed, preferred="May"), lambda bed: namesake(bed, given="May"),
             lambda bed: person(bed, 202, "May", "Patel", email="may@d118.org")),
        nothing, OLD, "link", "the next run would take old@d118.org, May Patel, for somebody else's"),
    "two people with the address": (
        both(TWIN, lambda bed: person(bed, 202, "Zoe", "Hill", email=MAYA)), nothing, OLD, "link",
        "PowerSchool gives its address to Zoe Hill"),
    "address held by an account": (HELD, nothing, MAYA, "create",
        "maya.patel@d118.org has no DCID, with the same address, but another name (Zoe Hill)"),
    "address held as an alias": (
        both(maya, lambda bed: namesake(bed, aliases=[MAYA])), nothing, OLD, "create",
        "old@d118.org has no DCID, with the same address (an alias) and names"),
    "address of a group": (
        both(maya, lambda bed: bed.google.add_group(MAYA)), nothing, "", "create", "the address is a group's"),
    "a link with a remark": (
        both(maya, lambda bed: namesake(bed, MAYA, ou=FROZEN_OU)), nothing, MAYA, "create", "or has an account"),
    "no home school": (TWIN, powerschool(homeschoolid=None), OLD, "create", "no home school in PowerSchool"),
    "no such name": (
        both(lambda bed: person(bed, 201, "", "Patel", email=MAYA)), nothing, "", "create", "name has 0 characters"),
    "nothing to link": (maya, nothing, "", "link", "no account, in this row for that"),
    "a deleted account": (both(maya, gone), nothing, MAYA, "link", "no account, in this row"),
    "a creation left": (maya, nothing, "", "leave", "a run does it all the same"),
    "a link left": (both(maya, lambda bed: namesake(bed, MAYA)), nothing, MAYA, "leave", "a run does it all the same"),
    "two accounts with one DCID": (
        both(maya, lambda bed: namesake(bed, MAYA, fields=carrying(201)), other_carries(201)), nothing,
        "third@d118.org", "link", "for somebody else's: nothing else would agree"),
    "somebody else's account": (
        both(maya, other_carries(201)), nothing, "third@d118.org", "create", "looks like somebody else's"),
}  # fmt: skip


@pytest.mark.parametrize(("build", "since", "account", "word", "why"), REFUSED.values(), ids=list(REFUSED))
def test_what_is_refused_is_told_in_one_line_and_nothing_is_written(
    staffed: Bed, build: Step, since: Step, account: str, word: str, why: str
) -> None:
    build(staffed)
    type_in(staffed, {(201, account): word})
    since(staffed)
    before = staffed.google.snapshot()
    outcome = carry_out(staffed)
    assert ": refused: " in answer(outcome), outcome.output
    assert why in answer(outcome)
    assert "or decide it with --csv and --decide" not in answer(outcome)
    assert (outcome.exit_code, outcome.writes) == (1, [])
    assert staffed.google.snapshot() == before


def test_decisions_that_exclude_each_other_are_all_refused(staffed: Bed) -> None:
    maya(staffed)
    namesake(staffed)
    namesake(staffed, "older@d118.org", ou="/")
    person(staffed, 202, "Maya", "Patel", email="mp@d118.org")
    for words in (("link", "link", ""), ("link", "create", ""), ("link", "", "link")):
        keys = ((201, OLD), (201, "older@d118.org"), (202, OLD))
        type_in(staffed, {key: word for key, word in zip(keys, words, strict=True) if word})
        outcome = carry_out(staffed)
        assert (outcome.exit_code, outcome.writes) == (1, []), outcome.output
        assert ["decides otherwise" in line for line in answers(outcome)] == [True, True], answers(outcome)


@pytest.mark.measured
def test_a_sheet_that_was_carried_out_has_nothing_left_to_do(staffed: Bed) -> None:
    maya(staffed)
    namesake(staffed)
    person(staffed, 202, "Noor", "Haddad")
    type_in(staffed, {(201, OLD): "link", (202, ""): "create"})
    assert carry_out(staffed).exit_code == 0
    staffed.run()
    again = carry_out(staffed)
    assert (again.exit_code, again.writes) == (0, []), again.output
    assert [line.rpartition(": ")[2] for line in answers(again)] == [
        "nothing to do, an account carries the DCID already"
    ] * 2


def test_an_account_that_nobody_asks_about_can_be_left_but_not_created(staffed: Bed) -> None:
    namesake(staffed)
    outcome = decide(staffed, "", OLD, "leave")
    assert (outcome.exit_code, answer(outcome).rpartition(": ")[2]) == (0, "done")
    assert "there is nobody in PowerSchool" in answer(decide(staffed, "", OLD, "create"))


@pytest.mark.measured
def test_what_changes_before_the_write_stops_a_link(staffed: Bed) -> None:
    maya(staffed)
    identity = namesake(staffed)
    type_in(staffed, {(201, OLD): "link"})
    staffed.google.shown[identity] = lambda own: own
    seen = 0

    def later(own: dict[str, Any]) -> dict[str, Any]:
        nonlocal seen
        seen += 1
        return own if seen == 1 else {**own, "isAdmin": True}

    staffed.google.shown[identity] = later
    outcome = carry_out(staffed)
    assert (outcome.exit_code, outcome.writes) == (1, []), outcome.output
    assert answer(outcome).endswith("not done, the lines above say why")


# What Excel, Sheets and people make of the file.


def columns_turned(rows: list[Row]) -> list[Row]:
    return [{"notes": "x", **{name: row[name] for name in reversed(row)}, "": ""} for row in rows]


def respelt(rows: list[Row]) -> list[Row]:
    return [{f" {name.upper()} ": f" {text.title() if name == 'decision' else text}  " for name, text in row.items()}
            for row in rows]  # fmt: skip


def without_apostrophes(rows: list[Row]) -> list[Row]:
    return [{name: text.removeprefix("'") for name, text in row.items()} for row in rows]


def with_empty_rows(text: str) -> str:
    lines = text.splitlines(keepends=True)
    return "\r\n" + lines[0] + ",,,\r\n" + "\r\n".join(lines[1:]) + "\r\n"


FILES: dict[str, Callable[[list[Row]], bytes]] = {
    "as it was": lambda rows: written(rows).encode("utf-8-sig"),
    "UTF-8 without mark": lambda rows: written(rows).encode(),
    "semicolons, Windows-1252": lambda rows: written(rows, ";").encode("cp1252", "replace"),
    "commas, Windows-1252": lambda rows: written(rows).encode("cp1252", "replace"),
    "Unicode text of Excel": lambda rows: written(rows, "\t").encode("utf-16"),
    "UTF-16, high byte first": lambda rows: b"\xfe\xff" + written(rows, "\t").encode("utf-16-be"),
    "tabs of Sheets": lambda rows: written(rows, "\t").encode(),
    "lines of Unix": lambda rows: written(rows).replace("\r\n", "\n").encode(),
    "columns in another order, and more": lambda rows: written(columns_turned(rows)).encode(),
    "spaces and capitals": lambda rows: written(respelt(rows)).encode(),
    "apostrophes taken away": lambda rows: written(without_apostrophes(rows)).encode(),
    "empty rows": lambda rows: with_empty_rows(written(rows)).encode(),
    "everything quoted": lambda rows: written(rows, quoting=csv.QUOTE_ALL).encode("utf-8-sig"),
}  # fmt: skip


@pytest.mark.parametrize("form", FILES.values(), ids=list(FILES))
def test_the_sheet_is_read_in_every_form_in_which_it_comes_back(
    staffed: Bed, form: Callable[[list[Row]], bytes]
) -> None:
    for dcid, first, last in ((201, "Zoë", "Müller"), (202, "李", "Nguyễn"), (203, "=Sum", "Patel")):
        person(staffed, dcid, first, last, email=f"person{dcid}@d118.org")
        namesake(staffed, f"old{dcid}@d118.org", given=first, family=last, ou="/")
    rows = type_in(staffed, {(dcid, f"old{dcid}@d118.org"): "leave" for dcid in (201, 202, 203)})
    for row in rows:
        row["reason"] = "cut by hand; it holds quotes"
    sheet_path(staffed).write_bytes(form(rows))
    outcome = carry_out(staffed)
    assert [line.rpartition(": ")[2] for line in answers(outcome)] == ["done"] * 3, outcome.output
    assert outcome.exit_code == 0


def changed(column: str, text: str) -> Callable[[str], str]:
    def change(sheet_text: str) -> str:
        rows = list(csv.DictReader(io.StringIO(sheet_text)))
        rows[0][column] = text
        return written(rows)

    return change


NOT_UNDERSTOOD: dict[str, tuple[Callable[[str], str | bytes], str]] = {
    "another word": (changed("decision", "yes"), "row 2 decides 'yes', which is none of link, create and leave"),
    "no decision": (changed("decision", ""), "no row has a decision"),
    "no DCID": (changed("dcid", "1.3E+02"), "row 2 has a decision, but '1.3E+02' is no DCID"),
    "a column is missing": (lambda text: text.replace("google_dcid", "gd"), "it must have one column google_dcid"),
    "a column twice": (lambda text: text.replace("same", "decision"), "it must have one column decision"),
    "decided twice": (
        lambda text: text + text.splitlines()[1].replace(",link", ",leave") + "\r\n",
        "rows 2 and 3 decide the same otherwise"),
    "empty": (lambda _: "", "no spreadsheet of --csv"),
    "only empty rows": (lambda _: "\r\n,,\r\n", "no spreadsheet of --csv"),
    "a workbook": (lambda _: b"PK\x03\x04" + bytes(range(256)) * 3, "no spreadsheet of --csv"),
    "a picture": (lambda _: b"\x89PNG\r\n\x1a\n\0\0\0", "no spreadsheet of --csv"),
    "half of a UTF-16": (lambda text: text.encode("utf-16")[:-1] + b"\0\0", "no spreadsheet of --csv"),
    "a cell without end": (lambda text: text + '"' + "x" * 200_000, "no spreadsheet of --csv"),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "words"), NOT_UNDERSTOOD.values(), ids=list(NOT_UNDERSTOOD))
def test_what_is_not_understood_is_one_sentence_and_nothing_is_written(
    staffed: Bed, spoil: Callable[[str], str | bytes], words: str
) -> None:
    maya(staffed)
    namesake(staffed)
    type_in(staffed, {(201, OLD): "link"})
    spoiled = spoil(sheet_path(staffed).read_text("utf-8-sig"))
    sheet_path(staffed).write_bytes(spoiled if isinstance(spoiled, bytes) else spoiled.encode())
    outcome = carry_out(staffed)
    assert outcome.exit_code == 2
    (line,) = outcome.lines("ERROR")
    assert words in line
    assert line.endswith("Nothing was written")
    assert (outcome.writes, answers(outcome)) == ([], [])


@pytest.mark.measured
def test_a_sheet_that_is_not_there_is_one_sentence(staffed: Bed) -> None:
    for path in (staffed.folder / "no.csv", staffed.folder):
        outcome = staffed.run("--decide", str(path))
        assert outcome.exit_code == 2
        assert f"{path} cannot be read" in outcome.lines("ERROR")[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--only", "7"), "--only goes with a run and --undo, and not with --decide"),
        (("--check",), "--check and --decide do not go together"),
        (("--setup",), "--setup and --decide do not go together"),
        (("--explain", "7"), "--explain and --decide do not go together"),
        (("--undo", "last"), "--undo and --decide do not go together"),
        (("--dry-run", "--csv", "y.csv"), "--csv goes with a run, and not with --decide"),
        (("--yes",), "--yes goes with --undo and --setup"),
    ],
)
def test_what_does_not_go_with_it(bed: Bed, arguments: tuple[str, ...], words: str) -> None:
    code, output = screen(bed, "--decide", "x.csv", *arguments)
    assert (code, words in output) == (2, True), output


# The rows contradict each other nowhere.


def contradictions(rows: list[Row]) -> list[str]:
    """What two rows of a spreadsheet say that cannot both be so, or one that says too little."""
    amiss = [f"no reason: {row}" for row in rows if not row["reason"] or row["decision"]]
    pairs = [(row["dcid"], row["google_address"]) for row in rows]
    amiss += [f"twice: {pair}" for pair in pairs if pairs.count(pair) > 1]
    for row in rows:
        others = [other for other in rows if other is not row]
        of_account = [other for other in others if row["google_address"] in {other["google_address"], "\0"}]
        of_account = [other for other in of_account if row["google_address"]]
        of_person = [other for other in others if row["dcid"] and other["dcid"] == row["dcid"]]
        if row["what"] == "nobody in PowerSchool":
            amiss += [f"{other} names {row}" for other in others if row["google_address"] in other["reason"]]
            amiss += [f"{other} proposes {row}" for other in of_account]
        if row["what"] in {"no account", "link"}:
            amiss += [f"{other} and {row}" for other in of_person]
        if row["what"] == "link":
            amiss += [f"{other} and {row}" for other in of_account]
        if row["what"] == "no account" and row["google_address"]:
            amiss.append(f"an account all the same: {row}")
    return amiss


def unlisted(bed: Bed, rows: list[Row]) -> set[str]:
    """Staff accounts without the DCID of anybody in PowerSchool that no row names."""
    named = {row["google_address"] for row in rows}
    places = (HIGH_OU.rpartition("/")[0], SUSPENDED_OU, "/Substitute Teachers")
    users = [u for u in bed.google.users.values() if u["orgUnitPath"] == "/" or u["orgUnitPath"].startswith(places)]
    known = {str(dcid) for dcid in bed.powerschool.users}
    fields = {u["primaryEmail"]: u.get("customSchemas", {}).get(SCHEMA, {}).get("DCID") for u in users}
    return {email for email, dcid in fields.items() if dcid not in known} - named


@pytest.mark.measured
def test_no_two_rows_of_the_sample_district_contradict_each_other(bed: Bed) -> None:
    district.build(bed)
    listed = sheet(bed)
    assert contradictions(listed) == []
    assert unlisted(bed, listed) == set()
    rows = {(row["dcid"], row["google_address"]): row for row in listed}
    assert rows["516", "tingram@d118.org"]["what"] == "in doubt"
    assert rows["516", "tingram@d118.org"]["same"] == "names"
    assert rows["201", ""]["reason"] == f"a run creates it in {HIGH_OU}"
    assert rows["", "former.vendor@d118.org"]["what"] == "nobody in PowerSchool"


@pytest.mark.parametrize("seed", range(12))
def test_no_two_rows_of_a_random_district_contradict_each_other(tmp_path: Path, seed: int) -> None:
    with standard_bed(tmp_path) as bed:
        fill(bed, Random(seed))
        rows = sheet(bed)
        assert contradictions(rows) == []
        assert unlisted(bed, rows) == set()


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_decided_of_a_random_district_hurts_nobody_else(tmp_path: Path, seed: int) -> None:
    with standard_bed(tmp_path) as bed:
        random = Random(seed)
        fill(bed, random)
        rows = sheet(bed)
        for row in rows:
            row["decision"] = random.choice(["link", "create", "leave"])
        sheet_path(bed).write_text(written(rows), encoding="utf-8")
        before = bed.google.snapshot()["users"]
        outcome = carry_out(bed)
        assert len(answers(outcome)) == len(rows)
        assert outcome.exit_code in {0, 1, 3}, outcome.output
        after = bed.google.snapshot()["users"]
        changed_accounts = {after[i]["primaryEmail"] for i in after if after[i] != before.get(i)}
        assert changed_accounts <= {row[c] for row in rows for c in ("google_address", "powerschool_address")}
        assert not [i for i in before if before[i].get("isAdmin") and after[i] != before[i]]
        assert {kind for _, kind in done(outcome)} <= {"link", "create"}
        bed.run()
        strange = [line for line in bed.run().lines("ERROR") if line.startswith("somebody else's account")]
        linked = [dcid for dcid, kind in done(outcome) if kind == "link"]
        assert not [line for line in strange for dcid in linked if f"(DCID {dcid})" in line]
