"""What is told from morning to morning: what is new, what stands and since when, what was solved."""

from __future__ import annotations

import json
import os
import re
from datetime import date, timedelta
from typing import Any

import pytest
from bed import Bed, Outcome, matching_account
from stories import HIGH, MIDDLE, colleagues, leaver, lines_about, of_account, person, settle, silent, told
from test_hard_days import run_as_it_is

TODAY = date.today()  # of this machine, as the script takes it
needs_terminals = pytest.mark.skipif(
    not hasattr(os, "openpty"), reason="a terminal can be opened on Linux and macOS only"
)
OFFLINE = {"POWERSCHOOL_DB_PASSWORD": "no"}


def locked_out(bed: Bed, dcid: int, first: str) -> None:
    """Somebody at work whose account lies suspended elsewhere: told each night until somebody decides."""
    settle(bed, dcid, first, suspended=True)


def open_again(bed: Bed, dcid: int) -> None:
    bed.google.users[account_of(bed, dcid)]["suspended"] = False


def account_of(bed: Bed, dcid: int) -> str:
    email = bed.powerschool.person(dcid)["email_addr"]
    return str(bed.google.user(email)["id"])


def standing(bed: Bed) -> dict[str, Any]:
    kept: dict[str, Any] = json.loads((bed.runs / "standing.json").read_text("utf-8"))
    return kept


def days_later(bed: Bed, days: int) -> None:
    """As if everything in the memory had been told so many days before."""
    kept = standing(bed)
    for matter in kept["matters"]:
        matter["since"] = str(date.fromisoformat(matter["since"]) - timedelta(days=days))
    (bed.runs / "standing.json").write_text(json.dumps(kept), encoding="utf-8")


def solved(outcome: Outcome) -> list[str]:
    return [line for line in outcome.lines("INFO") if line.startswith("solved: ")]


def needs(outcome: Outcome) -> str:
    return next(line for line in outcome.lines("INFO") if line.startswith("Needs attention: "))


def test_what_needs_a_person_is_new_then_stands_and_is_solved(bed: Bed) -> None:
    colleagues(bed)
    locked_out(bed, 201, "Maya")
    first = bed.run()
    assert first.since(201) == ["new"]
    assert needs(first) == "Needs attention: 1 person, 1 of them new: see above."
    days_later(bed, 25)
    locked_out(bed, 202, "Noor")
    second = bed.run()
    assert second.since(202) == ["new"]
    assert second.since(201) == [f"since {TODAY - timedelta(days=25)} (25 days)"]
    order = [line for line in second.lines("ERROR") if "locked out" in line]
    assert [("Noor" in line, "Maya" in line) for line in order] == [(True, False), (False, True)], "the oldest last"
    assert needs(second) == "Needs attention: 2 people, 1 of them new: see above."
    open_again(bed, 201)
    third = bed.run()
    assert [f"(since {TODAY - timedelta(days=25)})" in line and "Maya" in line for line in solved(third)] == [True]
    assert (third.since(202), third.exit_code) == (["since today"], 1)
    assert solved(bed.run()) == []


def test_nothing_is_told_since_a_day_to_come_by_a_clock_that_was_wrong(bed: Bed) -> None:
    colleagues(bed)
    locked_out(bed, 201, "Maya")
    bed.run()
    days_later(bed, -25)
    assert bed.run().since(201) == ["since today"]


def test_what_a_rule_leaves_alone_is_named_when_it_is_new_and_counted_after(bed: Bed) -> None:
    colleagues(bed)
    settle(bed, 201, "Priya", ou="/Administrators")
    told(bed.run(), "INFO", 201, "frozen")
    again = bed.run()
    silent(again, "INFO", 201)
    assert "Left alone by rule: frozen 1." in again.output
    told(bed.run("--verbose"), "INFO", 201, "frozen")


def test_a_dry_run_and_an_undo_change_nothing_of_what_is_remembered(bed: Bed) -> None:
    colleagues(bed)
    leaver(bed, 203, "Ada")
    bed.run()
    locked_out(bed, 201, "Maya")
    before = standing(bed)
    assert bed.run("--dry-run").since(201) == ["new"]
    bed.run("--undo", "last", "--yes")
    assert standing(bed) == before
    assert bed.run().since(201) == ["new"]


def test_a_run_of_some_adds_what_is_new_and_solves_what_it_looked_at(bed: Bed) -> None:
    colleagues(bed)
    for dcid, first in ((201, "Maya"), (202, "Noor")):
        locked_out(bed, dcid, first)
    bed.run()
    for dcid in (201, 202):
        open_again(bed, dcid)
    locked_out(bed, 203, "Ada")
    part = bed.run("--only", "dcid:201", "dcid:203")
    assert (part.since(203), len(solved(part))) == (["new"], 1)
    assert lines_about(part, "ERROR", 202) == []
    whole = bed.run()
    assert whole.since(203) == ["since today"]
    assert ["Noor" in line for line in solved(whole)] == [True]


def test_a_refusal_stands_while_the_person_is_held_and_is_solved_by_the_next_turn(bed: Bed) -> None:
    colleagues(bed)
    identity = settle(bed, 201, "Maya", ou="/D118 Staff/Wauconda Middle School Staff")
    bed.google.fail("users.update", 403, "forbidden", "No", times=1, match=lambda r: r.params["userKey"] == identity)
    assert bed.run().since(201)[-1] == "new"
    bed.settings["LIMITS"] = {**bed.setting("LIMITS"), "move": 0}
    held = bed.run()
    assert held.exit_code == 3
    assert len(solved(held)) == 0
    assert any("failed" in line for line in lines_about(held, "ERROR", 201))
    del bed.settings["LIMITS"]
    assert len(solved(bed.run())) == 1


def test_a_run_cut_off_solves_only_what_it_looked_at(bed: Bed) -> None:
    colleagues(bed)
    for dcid, first in ((201, "Maya"), (202, "Noor")):
        identity = settle(bed, dcid, first, ou="/D118 Staff/Wauconda Middle School Staff")
        bed.google.fail("users.update", 403, "forbidden", "No", times=1, match=of_account(identity))
    bed.run()
    bed.google.fail("users.update", 403, "accessNotConfigured", "Not enabled.", match=of_account(account_of(bed, 202)))
    cut = bed.run()
    assert cut.exit_code == 2
    assert [("Maya" in line, "Noor" in line) for line in solved(cut)] == [(True, False)]
    assert "FAILED dcid:202" in keys(bed)
    bed.google.behave()
    assert any("Noor" in line for line in solved(bed.run()))


def keys(bed: Bed) -> set[str]:
    return {f"{matter['rule']} {matter['subject']}".strip() for matter in standing(bed)["matters"]}


def test_three_nights_without_powerschool_are_one_problem(bed: Bed) -> None:
    colleagues(bed)
    locked_out(bed, 201, "Maya")
    bed.run()
    for _ in range(3):
        assert bed.run(env=OFFLINE).exit_code == 2
    refused = [matter for matter in standing(bed)["matters"] if matter["rule"] == "REFUSED"]
    assert len(refused) == 1
    assert "LOCKED_OUT dcid:201" in keys(bed), "what a failed run did not look at stands"
    back = bed.run()
    assert back.since(201) == ["since today"]
    assert ["refused" in line for line in solved(back)] == [True]


def test_a_new_account_with_a_password_nobody_knows_stands_until_it_is_used(bed: Bed) -> None:
    colleagues(bed)
    person(bed, 201, "Maya")
    person(bed, 202, "Noor")
    assert bed.run().exit_code == 0
    second = bed.run()
    assert second.exit_code == 0
    assert second.since(201) == ["since today"]
    bed.google.users[account_of(bed, 201)]["lastLoginTime"] = "2026-11-27T06:00:00.000Z"
    third = bed.run()
    assert ["Maya" in line for line in solved(third)] == [True]
    assert third.since(202) == ["since today"]


def test_a_creation_whose_answer_was_lost_has_a_password_nobody_knows_too(bed: Bed) -> None:
    colleagues(bed)
    email = str(person(bed, 201, "Maya"))
    bed.google.fail("users.insert", 503, "backendError", "No", times=None, when="after")
    bed.google.fail("users.get", 503, "backendError", "No", times=None, match=lambda r: r.params["userKey"] == email)
    bed.run()
    bed.google.behave()
    told(bed.run(), "WARN", 201, "password nobody knows")


def test_what_happens_only_once_in_a_run_that_is_killed_is_told_as_new_by_the_next_one(bed: Bed) -> None:
    colleagues(bed)
    bed.run()
    memory = bed.runs / "standing.json"
    before = memory.read_bytes()
    person(bed, 201, "Maya")
    noor = person(bed, 202, "Noor")
    bed.google.fail("users.insert", 400, "invalid", "No", match=lambda r: str(noor) in str(r.body))
    leaver(bed, 203, "George", "Bauer", MIDDLE)
    bed.google.add_group("math@d118.org", members={"george.bauer@d118.org": "OWNER"})
    bed.run()
    memory.write_bytes(before)  # a kill leaves what was told before
    matching_account(bed, 202)  # by hand, with a password that somebody knows
    outcome = bed.run()
    told(outcome, "WARN", 201, "password nobody knows")
    told(outcome, "WARN", 203, "has lost its last owner")
    silent(outcome, "WARN", 202)
    assert outcome.since(201) == outcome.since(203) == ["new"]
    assert bed.run().since(201) == ["since today"]


def test_a_group_without_owner_stands_until_it_has_one(bed: Bed) -> None:
    colleagues(bed)
    leaver(bed, 201, "George", "Bauer", MIDDLE)
    group = bed.google.add_group("math@d118.org", members={"george.bauer@d118.org": "OWNER"})
    told(bed.run(), "WARN", 201, "has lost its last owner")
    again = bed.run()
    assert (again.since(201), again.exit_code) == (["since today"], 0)
    key = account_of(bed, 201)
    bed.google.groups[group]["members"][key] = "OWNER"
    assert len(solved(bed.run())) == 1


UNKNOWN_COUNT = '{"run": "20261126T120000Z", "changed": 1, "fault": 0, "standing": 0}'
MEMORY = '{"matters": [%s], "nights": [%s], "decisions": %s, "mail": %s}'
DAMAGED = {
    "cut off": "{", "an unknown rule": MEMORY % ('{"rule": "NO_SUCH"}', "", "{}", "{}"), "no mapping": "[]",
    "no text": "\udcff", "deep": "[" * 100_000,
    **{f"night {night}": MEMORY % ("", night, "{}", "{}") for night in ("7", UNKNOWN_COUNT)},
    **{f"decisions {text}": MEMORY % ("", "", text, "{}") for text in ('"?"', '["?"]')},
    **{f"mail {text}": MEMORY % ("", "", "{}", text) for text in ('"?"', "7")},
}  # fmt: skip


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_memory_is_kept_beside_told_and_begun_anew_from_the_journals(bed: Bed, text: str) -> None:
    colleagues(bed)
    locked_out(bed, 201, "Maya")
    person(bed, 202, "Noor")
    leaver(bed, 203, "George", "Bauer", MIDDLE)
    leaver(bed, 204, "Tina", "Crane", MIDDLE)
    bed.google.add_group("math@d118.org", members={"george.bauer@d118.org": "OWNER"})
    bed.google.add_group("secret@d118.org", members={"tina.crane@d118.org": "MEMBER"}, dynamic=True)
    before = bed.run()
    damaged = text.encode("utf-8", "surrogateescape")
    (bed.runs / "standing.json").write_bytes(damaged)
    outcome = bed.run()
    assert outcome.exit_code == before.exit_code == 1
    told(outcome, "WARN", "standing.json", "memory")
    assert [path.read_bytes() for path in bed.runs.glob("standing-damaged-*.json")] == [damaged]
    assert outcome.since(201) == ["new"]
    for level, dcid in (("WARN", 202), ("WARN", 203), ("ERROR", 204)):
        told(outcome, level, dcid)
        assert outcome.since(dcid) == ["new"]
    told(bed.run(), "ERROR", 204, "still in a group")


def test_a_run_that_fails_leaves_it_to_the_next_one_to_begin_a_damaged_memory_anew(bed: Bed) -> None:
    colleagues(bed)
    person(bed, 202, "Noor")
    bed.run()
    (bed.runs / "standing.json").write_text("{")
    for _ in range(2):
        assert bed.run(env=OFFLINE).exit_code == 2
    assert "standing.json cannot be read" in (bed.runs / "latest.html").read_text("utf-8")
    outcome = bed.run()
    told(outcome, "WARN", 202, "password nobody knows")
    assert len(solved(outcome)) == 2, "the failure and the damage"
    person(bed, 201, "Maya")
    bed.run()
    bed.google.users[account_of(bed, 201)]["lastLoginTime"] = "2026-11-27T06:00:00.000Z"
    assert ["Maya" in line for line in solved(bed.run())] == [True]
    assert solved(bed.run()) == [], "the journals are read for that once"


@pytest.mark.parametrize("place", ["StaffLog.txt", "runs/lock", "config.py"])
def test_a_run_that_cannot_even_begin_forgets_nothing(bed: Bed, place: str) -> None:
    colleagues(bed)
    locked_out(bed, 201, "Maya")
    bed.run()
    before = standing(bed)
    decided = {"LEFT_OPEN dcid:7": "what was seen"}
    (bed.runs / "standing.json").write_text(json.dumps({**before, "decisions": decided}), encoding="utf-8")
    (bed.folder / place).unlink()
    (bed.folder / place).mkdir()
    assert run_as_it_is(bed).exit_code == 2
    after = standing(bed)
    assert (after["nights"], after["decisions"]) == (before["nights"], decided)
    assert keys(bed) == {"LOCKED_OUT dcid:201", "REFUSED"}


def test_an_org_unit_that_google_does_not_have_is_new_and_then_stands_like_any_other_setting(bed: Bed) -> None:
    colleagues(bed)
    bed.settings["FROZEN_OUS"] = ["/Board"]
    words = "names the org unit /Board"
    assert bed.run().since(words) == ["new"]
    assert bed.run().since(words) == ["since today"]
    bed.settings["FROZEN_OUS"] = []
    assert len(solved(bed.run())) == 1


def test_a_last_good_run_without_a_time_zone_stops_nothing(bed: Bed) -> None:
    colleagues(bed)
    for arguments in ((), ("--check",)):
        bed.run()
        (bed.runs / "last-good.txt").write_text("2026-11-01", encoding="utf-8")
        assert bed.run(*arguments).exit_code in {0, 1}


def test_the_page_of_the_morning_says_that_the_settings_kept_the_run_from_beginning(bed: Bed) -> None:
    colleagues(bed)
    bed.run()
    bed.settings["STAF_OU"] = "/D118 Staff"
    assert bed.run().exit_code == 2
    assert "Staff Sync DID NOT RUN: " in (bed.runs / "latest.html").read_text("utf-8")


@pytest.mark.measured
def test_a_mail_after_it_leaves_the_damaged_memory_beside_and_the_new_one_in_its_place(bed: Bed) -> None:
    colleagues(bed)
    locked_out(bed, 201, "Maya")
    bed.settings |= {"MAIL_TO": ["it@d118.org"], "MAIL_FROM": "sync@d118.org", "SMTP_HOST": "127.0.0.1", "SMTP_PORT": 9}
    bed.runs.mkdir()
    (bed.runs / "standing.json").write_text("{")
    bed.run()
    assert [path.read_text("utf-8") for path in bed.runs.glob("standing-damaged-*.json")] == ["{"]
    assert "LOCKED_OUT dcid:201" in keys(bed)
    assert "mail" in standing(bed)


def test_what_cannot_be_kept_never_stops_a_run(bed: Bed) -> None:
    colleagues(bed)
    settle(bed, 201, "Maya", ou="/D118 Staff/Wauconda Middle School Staff")
    (bed.runs / "standing.json").mkdir(parents=True)
    outcome = bed.run()
    assert "Done: move 1." in outcome.output


# As on Windows where another program has the file open for long.
REFUSES_THE_MEMORY = """
import sys
def refuse(event, about):
    if event == "open" and ".standing.json." in str(about[0]):
        raise PermissionError(13, "Permission denied")
sys.addaudithook(refuse)
"""


@pytest.mark.measured
def test_a_memory_that_cannot_be_written_is_told_as_what_it_is(bed: Bed) -> None:
    colleagues(bed)
    settle(bed, 201, "Maya", ou="/D118 Staff/Wauconda Middle School Staff")
    bed.prelude = REFUSES_THE_MEMORY
    outcome = bed.run()
    assert outcome.exit_code == 2
    last = outcome.output.splitlines()[-1]
    assert "standing.json cannot be written by the account" in last
    assert "1 changes were written before that" in last
    assert "make room" not in last, "that would not help"


@pytest.mark.measured
def test_somebody_is_at_work_again_and_the_group_asks_for_nobody_any_more(bed: Bed) -> None:
    colleagues(bed)
    leaver(bed, 201, "George", "Bauer", HIGH)
    bed.google.add_group("secret@d118.org", members={"george.bauer@d118.org": "MEMBER"}, editable=False)
    told(bed.run(), "ERROR", 201, "still in a group")
    for row in bed.powerschool.affiliations(201):
        row["status"] = 1
    bed.run()
    assert bed.run().exit_code == 0


# At a terminal.


@needs_terminals
def test_at_a_terminal_a_plan_reads_like_a_plan_and_what_needs_a_person_is_last(bed: Bed) -> None:
    colleagues(bed)
    settle(bed, 201, "Maya", "Patel", ou="/D118 Staff/Wauconda Middle School Staff")
    settle(bed, 202, "Alexander", "Ortiz", ou="/D118 Staff/Wauconda Grade School Staff")
    locked_out(bed, 203, "Noor")
    outcome = bed.run("--dry-run", at_terminal=True)
    lines = outcome.output.splitlines()
    heading = lines.index("move 2")
    assert lines[heading + 1 : heading + 3] == [
        "  Maya Patel       Wauconda Middle School Staff -> Wauconda High School Staff",
        "  Alexander Ortiz  Wauconda Grade School Staff -> Wauconda High School Staff",
    ]
    assert heading < lines.index("New problems 1") < len(lines) - 3
    assert not any(re.match(r"\d{4}-|Would |INFO ", line) for line in lines), outcome.output
    assert max(map(len, lines[lines.index("New problems 1") : -4])) <= 110
    made = bed.run(at_terminal=True)
    assert "move 2" in made.output.splitlines()
    assert " INFO  move       Maya Patel" in made.log, "the log is the same as ever"
    assert "move 2" not in made.log.splitlines()
    standing = bed.run(at_terminal=True).output.splitlines()
    assert "  Noor Personcad, noor.personcad@d118.org (DCID 203): locked out, since today" in standing


@needs_terminals
def test_with_no_color_and_through_a_pipe_a_terminal_shows_the_lines_of_the_log(bed: Bed) -> None:
    colleagues(bed)
    settle(bed, 201, "Maya", "Patel", ou="/D118 Staff/Wauconda Middle School Staff")
    plain = bed.run("--dry-run")
    bare = bed.run("--dry-run", at_terminal=True, env={"NO_COLOR": "1"})
    assert [line[20:] for line in bare.output.splitlines()][1:] == [line[20:] for line in plain.output.splitlines()][1:]
    assert "\x1b" not in bed.run("--dry-run", at_terminal=True).output
