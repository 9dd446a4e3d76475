"""What an undo puts back of a run, what it leaves, keeps and tells; each person of a run in a situation of their own.

The journals are those that real runs have left, edited where a crash or somebody else's hand is played.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
from bed import Bed, Outcome, Row
from google_server import Request
from stories import GRADE, HIGH, OU_OF, SUSPENDED_OU, newest_journal, type_at_terminal
from test_writing import (
    BADGE,
    DCID,
    LOCKED_OU,
    STAFF_GROUP,
    Act,
    Change,
    Situation,
    add_all,
    assert_kept,
    attempts,
    body_has,
    changing,
    deleting,
    newcomer,
    number,
    refusing,
    said,
    sending,
    setting,
    synced,
)

GROUP_BACK: Change = ("update", {STAFF_GROUP: "9"}, {STAFF_GROUP: "4"})
GROUP_4 = synced(Staff_Group=4)
OPENING: Change = ("reactivate", {"suspended": "true"}, {"suspended": "false"})
OPENING_MOVE: Change = ("move", {"orgUnitPath": SUSPENDED_OU}, {"orgUnitPath": OU_OF[HIGH]})
CLOSINGS: tuple[Change, ...] = (
    ("suspend", {"suspended": "false"}, {"suspended": "true"}),
    ("move to suspended", {"orgUnitPath": OU_OF[HIGH]}, {"orgUnitPath": SUSPENDED_OU}),
)
CLOSED, OPENED = {"suspended": True, "orgUnitPath": SUSPENDED_OU}, {"suspended": False}
HOME_AGAIN = {"orgUnitPath": OU_OF[HIGH]}
Edit = Callable[[list[Row]], list[Row]]


@dataclass(frozen=True)
class Undone:
    """Somebody whom a run changed, what has happened since, and what the undo of that run makes of it."""

    was: Situation
    since: Act | None = None
    journal: Edit | None = None  # what has become of the person's lines
    # Expected: what is sent, in order ("" for a removed alias or a group joined), kept and named as moved on.
    sent: tuple[Any, ...] = ()
    kept: tuple[Change, ...] = ()
    moved_on: str = ""
    planned: tuple[str, ...] | None = None  # kinds, where not all of them are tried
    failed: tuple[Change, ...] = ()
    state: str = "failed"
    error: str = ""


def only_intended(lines: list[Row]) -> list[Row]:
    """As a crash leaves it."""
    return [line for line in lines if line["state"] == "intended"]


def ending(state: str) -> Edit:
    return lambda lines: [{**line, "state": state} if line["state"] == "done" else line for line in lines]


def with_dcid(dcid: int | None) -> Edit:
    return lambda lines: [{**line, "dcid": dcid} for line in lines]


def with_what_nobody_knows(lines: list[Row]) -> list[Row]:
    """Before them changes of an attribute that this version does not write."""
    sides = {"before": {"phones": "1"}, "after": {"phones": "2"}}
    return [*({**line, **sides, "change": 9_000 + line["change"]} for line in lines), *lines]


def first_otherwise(lines: list[Row]) -> list[Row]:
    """The first change as if the run had not yet known the person's address and DCID."""
    otherwise = {"email": "kim.first@d118.org", "dcid": 7}
    return [{**line, **otherwise} if line["change"] == lines[0]["change"] else line for line in lines]


def outdated(last: str, **more: Any) -> Situation:
    return Situation(last, fields={"Staff_Group": 4}, **more)


def left(last: str, **more: Any) -> Situation:
    return Situation(last, left=True, **more)


def no_longer(words: str) -> str:
    return f"changed since by somebody else, so not put back, or not wholly: {words}"


GONE = (
    "reactivate and move failed, at least in part: Google answered 404 notFound: kim.{}@d118.org is no longer there: "
    "put right what Google says, then run the same undo again; or do it by hand"
)
UNDONE = {
    # All is as the run left it.
    201: Undone(outdated("Update"), sent=(GROUP_4,), kept=(GROUP_BACK,)),
    202: Undone(Situation("Empty", fields={"Staff_Group": None}), sent=(synced(Staff_Group=None),),
                kept=(("update", {STAFF_GROUP: "9"}, {STAFF_GROUP: ""}),)),
    203: Undone(Situation("Number", {"employee_id": "1", "external_ids": [BADGE]}),
                sent=({"externalIds": [BADGE, number("1")]},),
                kept=(("update", {"externalIds": "4203"}, {"externalIds": "1"}),)),
    204: Undone(Situation("Unnumbered", {"employee_id": None, "external_ids": [BADGE]}),
                sent=({"externalIds": [BADGE]},), kept=(("update", {"externalIds": "4204"}, {"externalIds": ""}),)),
    205: Undone(Situation("Link", fields={"DCID": None}), sent=(synced(DCID=None),),
                kept=(("link", {DCID: "205"}, {DCID: ""}),)),
    206: Undone(Situation("Rename", {"email": "old.rename@d118.org"}),
                sent=({"primaryEmail": "old.rename@d118.org"}, ""),
                kept=(("rename", {"primaryEmail": "kim.rename@d118.org", "aliases": "old.rename@d118.org"},
                       {"primaryEmail": "old.rename@d118.org"}),
                      ("remove alias", {"alias": "kim.rename@d118.org"}, {}))),
    # An alias of one's own from before stays one.
    207: Undone(Situation("Own", {"email": "old.own@d118.org", "aliases": ["kim.own@d118.org"]}),
                sent=({"primaryEmail": "old.own@d118.org"},),
                kept=(("rename", {"primaryEmail": "kim.own@d118.org", "aliases": "old.own@d118.org"},
                       {"primaryEmail": "old.own@d118.org"}),)),
    208: Undone(Situation("Name", {"given": "Bill"}), sent=({"name": {"givenName": "Bill", "familyName": "Name"}},),
                kept=(("name", {"name.givenName": "Kim", "name.familyName": "Name"},
                       {"name.givenName": "Bill", "name.familyName": "Name"}),)),
    209: Undone(Situation("Move", {"ou": OU_OF[GRADE]}), sent=({"orgUnitPath": OU_OF[GRADE]},),
                kept=(("move", {"orgUnitPath": OU_OF[HIGH]}, {"orgUnitPath": OU_OF[GRADE]}),)),
    210: Undone(Situation("Return", {"suspended": True, "ou": SUSPENDED_OU}), sent=(CLOSED,), kept=CLOSINGS),
    211: Undone(newcomer("New", 211), sent=(CLOSED,), kept=CLOSINGS),
    212: Undone(left("Leave", groups={"art": "OWNER"}), sent=(HOME_AGAIN, "", OPENED),
                kept=(OPENING_MOVE, ("join group", {}, {"group": "art@d118.org", "role": "OWNER"}), OPENING)),
    # Part of it is not.
    221: Undone(outdated("Since"), setting(Staff_Group=8), moved_on=no_longer("update")),
    222: Undone(Situation("Partly", fields={"Staff_Group": 4, "Staff_Type": 2}), setting(Staff_Type=3),
                sent=(GROUP_4,), kept=(GROUP_BACK,), moved_on=no_longer("update")),
    223: Undone(Situation("Mixed", {"employee_id": None}, {"Staff_Group": 4}), changing(externalIds=[number("HR-9")]),
                sent=(GROUP_4,), kept=(GROUP_BACK,), moved_on=no_longer("update")),
    224: Undone(Situation("Numberless", {"employee_id": "1"}), changing(externalIds=[]), moved_on=no_longer("update")),
    # Google may take one part of a name for the whole of it, so the other is sent as it is now.
    233: Undone(Situation("Part", {"family": "Before"}), sending(name={"givenName": "Karl", "familyName": "Part"}),
                sent=({"name": {"givenName": "Karl", "familyName": "Before"}},),
                kept=(("name", {"name.familyName": "Part"}, {"name.familyName": "Before"}),),
                moved_on=no_longer("name")),
    225: Undone(Situation("Third", {"email": "old.third@d118.org"}), sending(primaryEmail="third@d118.org"),
                moved_on=no_longer("rename")),
    226: Undone(Situation("Moved", {"ou": OU_OF[GRADE]}), changing(orgUnitPath="/"), moved_on=no_longer("move")),
    # Whom somebody has put elsewhere since stays closed and out of the groups; who is back gets them back.
    227: Undone(left("Locked", groups={"band": "MEMBER"}), changing(orgUnitPath=LOCKED_OU),
                moved_on=no_longer("move to suspended, leave group, suspend")),
    228: Undone(left("Back", groups={"choir": "MANAGER"}), changing(suspended=False, orgUnitPath=OU_OF[HIGH]),
                sent=("",), kept=(("join group", {}, {"group": "choir@d118.org", "role": "MANAGER"}),)),
    # An undo that was cut off goes on, and what it made is not named.
    229: Undone(left("Half"), changing(orgUnitPath=OU_OF[HIGH]), sent=(OPENED,), kept=(OPENING,)),
    230: Undone(left("Abuse"), changing(suspensionReason="ABUSE"), sent=(HOME_AGAIN,), kept=(OPENING_MOVE,),
                moved_on=no_longer("suspend")),
    231: Undone(Situation("Gone", {"email": "old.gone@d118.org"}, {"Staff_Group": 4}), deleting, first_otherwise,
                moved_on="the account is no longer there: left as it is"),
    232: Undone(outdated("Promoted"), changing(isAdmin=True),
                moved_on="kim.promoted@d118.org is a super admin: not written"),
    # What the journal says counts: a change that failed was none, one that a crash cut off may have been made.
    241: Undone(outdated("Intended"), journal=only_intended, sent=(GROUP_4,), kept=(GROUP_BACK,)),
    242: Undone(outdated("Unknown"), journal=ending("unknown"), sent=(GROUP_4,), kept=(GROUP_BACK,)),
    243: Undone(outdated("Failed"), journal=ending("failed")),
    249: Undone(outdated("Older"), journal=with_what_nobody_knows, sent=(GROUP_4,), kept=(GROUP_BACK,)),
    244: Undone(outdated("Unmade"), setting(Staff_Group=4), only_intended),
    245: Undone(newcomer("Crashed", 245), journal=only_intended, sent=(CLOSED,), kept=CLOSINGS),
    246: Undone(newcomer("Strange", 246), setting(DCID=999), only_intended,
                moved_on="the account is no longer there: left as it is"),
    # The lines of the undo name the person as the run did, or else as the account does.
    247: Undone(outdated("Other"), setting(DCID=777), sent=(GROUP_4,), kept=(GROUP_BACK,)),
    248: Undone(outdated("Zero"), journal=with_dcid(0), sent=(GROUP_4,), kept=(GROUP_BACK,)),
    # An account that goes while the undo is at work, or becomes an admin's, is left; an alias whose removal nobody
    # confirms is looked up.
    261: Undone(left("Going"), planned=("move", "reactivate"), error=GONE.format("going")),
    264: Undone(left("Opened"), sent=(HOME_AGAIN,), kept=(OPENING_MOVE,), planned=("move", "reactivate"),
                error=GONE.format("opened")),
    265: Undone(Situation("Unseen", {"email": "old.unseen@d118.org"}, {"Staff_Group": 4}), refusing("users.get", 403),
                first_otherwise,
                error="not put back, run the same undo again: Google answered 403 forbidden: No"),
    266: Undone(outdated("Later"), planned=("update",),
                error="not put back any further: kim.later@d118.org is a super admin: not written"),
    267: Undone(Situation("Learned", {"email": "old.learned@d118.org"}, {"Staff_Group": 4}), journal=first_otherwise,
                sent=({"primaryEmail": "old.learned@d118.org"}, "", GROUP_4),
                kept=(("rename", {"primaryEmail": "kim.learned@d118.org", "aliases": "old.learned@d118.org"},
                       {"primaryEmail": "old.learned@d118.org"}),
                      ("remove alias", {"alias": "kim.learned@d118.org"}, {}), GROUP_BACK)),
    # An alias is not taken away while it is the address.
    268: Undone(Situation("Refused", {"email": "old.refused@d118.org"}),
                refusing("users.update", 403, match=body_has("primaryEmail")),
                sent=({"primaryEmail": "old.refused@d118.org"},), planned=("remove alias", "rename"),
                failed=(("rename", {"primaryEmail": "kim.refused@d118.org", "aliases": "old.refused@d118.org"},
                         {"primaryEmail": "old.refused@d118.org"}),),
                error="rename and remove alias failed, at least in part: Google answered 403 forbidden: No: put right "
                      "what Google says, then run the same undo again; or do it by hand"),
    262: Undone(Situation("Aliased", {"email": "old.aliased@d118.org"}),
                refusing("users.aliases.delete", 503, when="after"),
                sent=({"primaryEmail": "old.aliased@d118.org"}, ""),
                kept=(("rename", {"primaryEmail": "kim.aliased@d118.org", "aliases": "old.aliased@d118.org"},
                       {"primaryEmail": "old.aliased@d118.org"}),
                      ("remove alias", {"alias": "kim.aliased@d118.org"}, {}))),
    263: Undone(Situation("Kept", {"email": "old.kept@d118.org"}), refusing("users.aliases.delete", 503),
                sent=({"primaryEmail": "old.kept@d118.org"}, ""),
                kept=(("rename", {"primaryEmail": "kim.kept@d118.org", "aliases": "old.kept@d118.org"},
                       {"primaryEmail": "old.kept@d118.org"}),),
                failed=(("remove alias", {"alias": "kim.kept@d118.org"}, {}),), state="unknown",
                error="remove alias kim.kept@d118.org: Google answered 503 backendError: No: run the same undo again"),
}  # fmt: skip


def aged(bed: Bed, hours: float) -> Path:
    """Makes the newest journal that of a run so long ago; a run within the second of another would share its name."""
    name = f"{datetime.now(timezone.utc) - timedelta(hours=hours):%Y%m%dT%H%M%SZ}"
    return newest_journal(bed).rename(bed.runs / f"{name}.jsonl")


def write(path: Path, lines: Iterable[Row]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def journal_of(bed: Bed, lines: Iterable[Row], hours: float) -> Path:
    """The journal of a run so long ago with these lines."""
    write(bed.runs / f"{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}.jsonl", lines)
    return aged(bed, hours)


def interleaved(groups: Iterable[list[Row]]) -> Iterable[Row]:
    """The lines of each group in their order, and those of all groups mixed, as people have their turns at once."""
    return (line for lines in zip_longest(*groups) for line in lines if line)


def kinds_told(outcome: Outcome, one: Situation) -> tuple[list[str], list[str]]:
    """The kinds told of the person: what would be put back, and what was."""
    told: dict[bool, list[str]] = {True: [], False: []}
    for line in outcome.lines("INFO"):
        kind, *rest = re.split(rf"\w+ {one.last}, {one.email} ", line)
        if rest and not kind.endswith(": "):
            told[kind.startswith("Would ")].append(kind.removeprefix("Would ").strip().replace("unlink", "link"))
    return sorted(told[True]), sorted(told[False])


def assert_undone(outcome: Outcome, undone: Undone, dcid: int, identity: str) -> None:
    assert attempts(outcome, identity, undone.was.email) == list(undone.sent)
    lines = [line for line in outcome.journal if line["account"] == identity]
    assert_kept(lines, undone.kept, undone.failed, undone.state)
    assert {line["dcid"] for line in lines} <= {0 if undone.was.last == "Zero" else dcid}
    done = sorted(kind for kind, _, _ in undone.kept)
    planned = sorted(undone.planned or [*done, *(kind for kind, _, _ in undone.failed)])
    assert kinds_told(outcome, undone.was) == (planned, done)
    moved_on = [line for line in said(outcome, "INFO", dcid) if line.startswith(("moved on: ", "super admin: "))]
    assert [line.partition(f"(DCID {dcid}): ")[2] for line in moved_on] == [undone.moved_on] * bool(undone.moved_on)
    assert [line.partition(f"(DCID {dcid}): ")[2] for line in said(outcome, "ERROR", dcid)] == (
        [undone.error] * bool(undone.error)
    )


@pytest.mark.measured
def test_only_what_is_as_the_run_left_it_is_put_back_and_the_rest_is_named(bed: Bed) -> None:
    # What an undo empties was empty before, and counts against no limit.
    limits = {"reactivate": 99, "rename": 99, "clear": 0}
    bed.settings |= {"UPDATE_NAMES": True, "RETRY_SECONDS": 0.05, "LIMITS": limits}
    ids = add_all(bed, {dcid: undone.was for dcid, undone in UNDONE.items()})
    run = bed.run("--allow", "suspend=99")
    assert run.exit_code == 0, run.output
    ids |= {dcid: bed.google.user(undone.was.email)["id"] for dcid, undone in UNDONE.items()}
    mine = {dcid: [line for line in run.journal if line["dcid"] == dcid] for dcid in UNDONE}
    journal = aged(bed, 1000)
    write(journal, interleaved(undone.journal(mine[dcid]) if undone.journal else mine[dcid]
                               for dcid, undone in UNDONE.items()))  # fmt: skip
    with journal.open("a", encoding="utf-8") as file:
        file.write('{"change": 999, "sta')
    for dcid, undone in UNDONE.items():
        if undone.since:
            undone.since(bed, ids[dcid])

    words = (" KIM.Update@d118.org ", "202", "DCID:203", "old.rename@d118.org")
    chosen = bed.run("--undo", "last", "--dry-run", "--only", *words)
    assert (chosen.exit_code, chosen.writes) == (0, []), chosen.output
    assert {dcid for dcid, undone in UNDONE.items() if kinds_told(chosen, undone.was)[0]} == {201, 202, 203, 206}
    assert "Dry run, nothing written. Would do: update 3, rename 1, remove alias 1." in chosen.lines("INFO")

    def meanwhile(request: Request, when: str) -> None:
        if request.method == "users.update" and when == "before" and ids[261] in bed.google.users:
            deleting(bed, ids[261])
            bed.google.users[ids[266]]["isAdmin"] = True
        if request.method == "users.update" and when == "after" and request.params["userKey"] == ids[264]:
            deleting(bed, ids[264])

    bed.google.hook = meanwhile
    outcome = bed.run("--undo", "last", "--yes", "--allow", "suspend=99")
    assert outcome.exit_code == 1, outcome.output
    wrong = {}
    for dcid, undone in UNDONE.items():
        try:
            assert_undone(outcome, undone, dcid, ids[dcid])
        except AssertionError as error:
            wrong[undone.was.last] = str(error)
    assert not wrong, "\n\n".join(f"{last}: {words}" for last, words in wrong.items()) + f"\n\n{outcome.output}"
    assert {line["undo"] for line in outcome.journal} == {True}
    assert bed.google.members("art@d118.org") == {"kim.leave@d118.org": "OWNER"}
    told = outcome.lines("INFO")
    assert [line for line in told if line.startswith(f"Undo of run {journal.stem}, which did: ")]
    assert told[-1].startswith("The next run will do the same again")
    # Where Google shows no account, the run's last words name it.
    assert "(no name), old.gone@d118.org (DCID 231)" in outcome.output
    assert "(no name), old.unseen@d118.org (DCID 265)" in outcome.output
    # Looked at for the plan, and before each step that has something to do.
    looked_up = [request.params["userKey"] for request in outcome.requests if request.method == "users.get"]
    assert (looked_up.count(ids[201]), looked_up.count(ids[212])) == (2, 4)

    # The same undo once more does what was left undone, and what is put back is not named as moved on.
    bed.google.behave()
    aged(bed, 1)
    again = bed.run("--undo", journal.stem, "--yes", "--allow", "suspend=99")
    assert {write.params["userKey"] for write in again.writes} == {ids[263], ids[265], ids[268]}, again.output
    assert again.lines("ERROR") == []
    named = {dcid for dcid in UNDONE if any(line.startswith("moved on: ") for line in said(again, "INFO", dcid))}
    gone_amid = {261, 264}
    assert named == gone_amid | {dcid for dcid, one in UNDONE.items() if one.moved_on and dcid != 232}


@pytest.mark.measured
def test_an_undo_shows_what_it_does_asks_and_takes_only_yes_for_yes(bed: Bed) -> None:
    add_all(bed, {201: left("Leave"), 202: outdated("Update")})
    bed.run()
    name, snapshot = aged(bed, 1000).stem, bed.google.snapshot()
    for typed, agreed in (("yes!", False), ("", False), ("Y", True), (" YES ", True)):
        type_at_terminal(bed, f"{typed}\n")
        bed.google.restore(snapshot)
        outcome = bed.run("--undo", name)
        assert (outcome.exit_code, len(outcome.writes)) == ((0, 3) if agreed else (2, 0)), outcome.output
        shown, question, rest = outcome.output.partition("Put this back? Type yes: ")
        counts = "suspend 1, move to suspended 1, update 1"
        assert f"Undo of run {name}, which did: {counts}" in shown
        assert [line for line in shown.splitlines() if re.fullmatch("[a-z]+ 1", line)] == [
            "reactivate 1",
            "move 1",
            "update 1",
        ]
        assert question
        last = outcome.output.splitlines()[-1]
        assert ("not agreed to, so nothing was put back" in last) is not agreed
        assert ("The next run will do the same again" in last) is agreed
        if agreed:
            assert rest
            aged(bed, 1)


def test_an_undo_says_what_it_does_not_put_back_before_it_asks(bed: Bed) -> None:
    ids = add_all(bed, {201: outdated("Update"), 202: outdated("Kept")})
    bed.run()
    aged(bed, 1)
    bed.settings["HANDS_OFF"] = {202: ("trial", "2099-01-01")}
    bed.google.users[ids[201]]["customSchemas"]["Synchronization_Data"]["Staff_Group"] = 5
    type_at_terminal(bed, "yes\n")
    outcome = bed.run("--undo", "last")
    assert (outcome.exit_code, outcome.writes) == (0, [])
    left = outcome.output.partition("not put back 2")[2].partition("Left alone")[0]
    assert "changed since by somebody else" in left
    assert "trial (HANDS_OFF until 2099-01-01)" in left
    assert "The next run will do the same again" not in outcome.output


@pytest.mark.measured
def test_last_is_the_newest_run_that_changed_something_or_may_have(bed: Bed) -> None:
    add_all(bed, {201: outdated("Update")})
    lines = bed.run().journal
    run = aged(bed, 100)
    for edit, hours, is_last in (
        (ending("failed"), 50, False), (ending("unknown"), 40, True), (only_intended, 30, True),
    ):  # fmt: skip
        made = journal_of(bed, edit(lines), hours)
        shown = bed.run("--undo", "last", "--dry-run")
        assert shown.exit_code == 0, shown.output
        assert f"Undo of run {(made if is_last else run).stem}, " in shown.output

    # A run may be named by its file; out of time an undo has to be run again, as no run does it.
    bed.settings["RUN_MINUTES"] = 0.0001
    late = bed.run("--undo", f"runs/{run.name}", "--yes")
    assert (late.exit_code, late.writes) == (2, []), late.output
    assert f"Undo of run {run.stem}, " in late.output
    assert "RUN_MINUTES is over, with 1 person left: run the same undo again" in late.output.splitlines()[-1]

    for hours in (20, 10):
        journal_of(bed, lines, hours)
    folder = journal_of(bed, lines, 5)
    folder.unlink()
    folder.mkdir()
    unreadable = bed.run("--undo", folder.stem)
    assert (unreadable.exit_code, "cannot be read" in unreadable.lines("ERROR")[-1]) == (2, True), unreadable.output
    unknown = bed.run("--undo", "20200101T000000Z")
    assert unknown.exit_code == 2
    assert unknown.lines("ERROR")[-1].endswith("has no such journal. Nothing was written")


@pytest.mark.measured
def test_who_is_opened_again_is_told_the_runs_that_took_the_account_out_of_groups_since_it_was_closed(bed: Bed) -> None:
    people = {201: "Twice", 202: "Once", 203: "Since", 204: "Joined", 205: "Never"}
    groups = {dcid: {f"group{dcid}": "MEMBER"} for dcid in people if dcid != 205}
    add_all(bed, {dcid: left(last, groups=groups.get(dcid, {})) for dcid, last in people.items()})
    lines = {(line["dcid"], line["kind"]): line for line in bed.run("--allow", "suspend=9").journal}
    newest_journal(bed).unlink()
    joined = {**lines[204, "leave group"], "kind": "join group"}
    joined["before"], joined["after"] = joined["after"], joined["before"]
    runs: dict[int, list[Row]] = {
        90: [lines[201, "leave group"]],
        80: [lines[201, "suspend"]],
        70: [lines[201, "suspend"], *(lines[dcid, "leave group"] for dcid in (201, 203, 204))],
        60: [lines[201, "leave group"], lines[203, "suspend"], joined],
        50: [lines[201, "move to suspended"]],
        40: [lines[202, "leave group"]],
    }
    names = {hours: journal_of(bed, of_run, hours).stem for hours, of_run in runs.items()}
    for hours in (65, 35):  # a damaged journal hides no other
        journal_of(bed, [], hours).write_text("[]\n", encoding="utf-8")
    for dcid in people:
        for row in bed.powerschool.affiliations(dcid):
            row["status"] = 1
    outcome = bed.run()
    for dcid, last in people.items():
        assert not bed.google.user(f"kim.{last.lower()}@d118.org")["suspended"]
        told = said(outcome, "INFO", dcid)
        hints = [line for line in told if "was in groups before: " in line]
        assert told[1 : 1 + len(hints)] == hints, "as soon as the account is open"
        past = {201: (60, 70), 202: (40,)}.get(dcid, ())
        assert [line.partition("before: ")[2] for line in hints] == [
            f"python sync.py --undo {names[hours]} --only dcid:{dcid}" for hours in past
        ]
