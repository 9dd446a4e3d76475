"""What is sent to Google, kept in the journal and put back, as tables; and the stories that only these notice.

The tables need no stand-ins: facts in, request bodies, journal lines and undoing changes out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from bed import Bed, matching_account, matching_fields
from test_deciding import (
    CLOSED,
    HIGH_OU,
    MAYA_AT,
    MAYA_FIELDS,
    account,
    directory,
    district,
    leaver,
    settings_with,
    staff,
)

import sync
from sync import Account, Change, Entry, GoogleError, Plan, Run, RunError

STARTED = datetime(2026, 11, 23, 4, 0, tzinfo=timezone.utc)
BADGE = {"type": "custom", "customType": "badge", "value": "B-7"}
NUMBER = {"type": "organization", "value": "T7"}
OTHER_NUMBER = {"type": "organization", "value": "T8"}
SUSPEND = Change("suspend", {"suspended": False}, {"suspended": True})
MOVE = Change("move to suspended", {"org_unit": HIGH_OU}, {"org_unit": CLOSED})
RENAME = Change("rename", {"email": "old@d118.org", "aliases": []}, {"email": MAYA_AT})
GROUP = {"group": "math@d118.org", "group_id": "g1", "role": "OWNER"}


def run_in(folder: Path, **changes: Any) -> Run:
    (folder / "runs").mkdir(exist_ok=True)
    return Run(settings_with(**changes), folder, STARTED, float("inf"))


def update(before: Mapping[str, Any], after: Mapping[str, Any]) -> Change:
    return Change("update", before, after)


# What is sent.


@pytest.mark.parametrize(
    ("value", "field_type", "sent"),
    [
        ("", "INT64", None),
        ("", "STRING", None),
        ("12", "INT64", 12),
        ("1.5", "DOUBLE", 1.5),
        ("true", "BOOL", True),
        ("false", "BOOL", False),
        ("12", "STRING", "12"),
        ("847-555-0100", "PHONE", "847-555-0100"),
    ],
)
def test_a_value_is_sent_in_the_type_of_its_field(value: str, field_type: str, sent: Any) -> None:
    made = sync.wire_value(value, field_type)
    assert (made, type(made)) == (sent, type(sent))


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (str(2**63 - 1), True),
        (str(2**63), False),
        (str(-(2**63)), True),
        (str(-(2**63) - 1), False),
    ],
)
def test_a_whole_number_is_kept_up_to_what_google_holds(value: str, kept: bool) -> None:
    assert sync.fit(value, "INT64") == (value if kept else None)


@pytest.mark.parametrize(
    ("had", "number", "sent"),
    [
        ((), "T7", [NUMBER]),
        ((), "", []),
        ((BADGE,), "T7", [BADGE, NUMBER]),
        ((BADGE,), "", [BADGE]),
        ((BADGE, OTHER_NUMBER), "T7", [BADGE, NUMBER]),
        ((BADGE, OTHER_NUMBER), "", [BADGE]),
        ((OTHER_NUMBER, BADGE, OTHER_NUMBER), "T7", [NUMBER, BADGE, OTHER_NUMBER]),
    ],
)
def test_an_employee_id_replaces_the_first_and_keeps_all_other_ids(
    had: tuple[dict[str, Any], ...], number: str, sent: list[dict[str, Any]]
) -> None:
    kept = [dict(entry) for entry in had]
    assert sync.merged_ids(account(external_ids=had), number) == sent
    assert [dict(entry) for entry in had] == kept, "what was read is not edited"


@pytest.mark.parametrize(
    ("changes", "body"),
    [
        ([SUSPEND], {"suspended": True}),
        ([MOVE], {"orgUnitPath": CLOSED}),
        ([RENAME], {"primaryEmail": MAYA_AT}),
        ([SUSPEND, MOVE], {"suspended": True, "orgUnitPath": CLOSED}),
        (
            [Change("name", {}, {"given_name": "Maya", "family_name": "Lee"})],
            {"name": {"givenName": "Maya", "familyName": "Lee"}},
        ),
        ([Change("link", {"dcid": None}, {"dcid": 7})], {"customSchemas": {"Sync": {"DCID": 7}}}),
        ([Change("unlink", {"dcid": 7}, {"dcid": None})], {"customSchemas": {"Sync": {"DCID": None}}}),
        (
            [Change("link", {}, {"dcid": 7}), update({}, {"fields": {"Sync.Group": "9", "Crisis.Phone": ""}})],
            {"customSchemas": {"Sync": {"DCID": 7, "Group": 9}, "Crisis": {"Phone": None}}},
        ),
        ([update({}, {"fields": {}, "employee_id": "T7"})], {"externalIds": [BADGE, NUMBER]}),
        ([], {}),
    ],
)
def test_only_what_differs_is_sent(changes: list[Change], body: dict[str, Any]) -> None:
    had = account(external_ids=(BADGE,))
    assert sync.body_for(changes, had, directory([had]), settings_with()) == body


@pytest.mark.parametrize(
    ("change", "is_there"),
    [
        (Change("", {}, {"org_unit": HIGH_OU}), True),
        (Change("", {}, {"org_unit": HIGH_OU.upper()}), True),
        (Change("", {}, {"email": MAYA_AT.upper()}), False),
        (Change("", {}, {"org_unit": CLOSED}), False),
        (Change("", {}, {"org_unit": HIGH_OU, "suspended": True}), False),
        (Change("", {}, {"fields": {"Sync.Group": "9"}}), True),
        (Change("", {}, {"fields": {"Sync.Group": "9", "Sync.Home": "6"}}), False),
        (Change("", {}, {"fields": {"Sync.Nothing": ""}}), True),
        (Change("", {}, {"fields": {"Sync.Group": "9"}, "employee_id": "T8"}), False),
        (Change("", {}, {}), True),
    ],
)
def test_a_change_is_there_when_all_of_it_is(change: Change, is_there: bool) -> None:
    assert sync.holds(account(), change) is is_there


# The journal and one request.


def refuse() -> Account | bool | None:
    raise GoogleError(503, "backendError", "ill")


@pytest.mark.parametrize(
    ("status", "looked_up", "state", "identity"),
    [
        (403, lambda: True, "failed", ""),
        (400, account, "failed", ""),
        (503, lambda: True, "done", ""),
        (503, lambda: False, "failed", ""),
        (503, lambda: None, "failed", ""),
        (0, lambda: account(id="5"), "done", "5"),
        (409, lambda: account(id="5"), "done", "5"),
        (503, refuse, "unknown", ""),
    ],
)
def test_a_refused_request_is_looked_up_where_google_may_have_carried_it_out(
    status: int, looked_up: Callable[[], Account | bool | None], state: str, identity: str
) -> None:
    found = sync.outcome(GoogleError(status, "x", "y"), account(id=""), looked_up)
    assert (found[0], found[1].id) == (state, identity)


class Request:
    """A request that gives what it is told to, or raises it."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def execute(self, **_options: Any) -> Any:
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


def journal_of(run: Run) -> list[dict[str, Any]]:
    path = run.folder / "runs" / f"{run.name}.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def make(run: Run, answer: Any, had: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync, "call", lambda _run, request: request.execute())
    sync.make(run, had, [SUSPEND, MOVE], Request(answer), lambda: None)


def test_each_request_has_a_number_and_a_line_per_kind_before_and_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_in(tmp_path)
    make(run, {"id": "77"}, account(id=""), monkeypatch)
    make(run, {"id": "77"}, account(id="1"), monkeypatch)
    make(run, None, account(id=""), monkeypatch)
    lines = [(line["change"], line["state"], line["kind"], line["account"], line["error"]) for line in journal_of(run)]
    both = ("suspend", "move to suspended")
    assert lines == [
        *((1, "intended", kind, "", "") for kind in both), *((1, "done", kind, "77", "") for kind in both),
        *((2, "intended", kind, "1", "") for kind in both), *((2, "done", kind, "1", "") for kind in both),
        *((3, "intended", kind, "", "") for kind in both), *((3, "done", kind, "", "") for kind in both),
    ]  # fmt: skip
    assert (run.writes, run.done, run.change_number) == (3, {"suspend": 3, "move to suspended": 3}, 3)


@pytest.mark.parametrize(
    ("error", "state"), [(GoogleError(403, "forbidden", "No"), "failed"), (RunError("No sign-in"), "unknown")]
)
def test_a_request_that_fails_is_in_the_journal_with_its_reason_and_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, state: str
) -> None:
    run = run_in(tmp_path)
    with pytest.raises(type(error)):
        make(run, error, account(), monkeypatch)
    assert [(line["state"], line["error"]) for line in journal_of(run)[2:]] == [(state, str(error))] * 2
    assert (run.writes, run.done, run.change_number) == (0, {}, 1)


def test_a_line_is_on_disk_when_the_journal_returns_and_only_the_owner_may_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, synced = run_in(tmp_path), []

    def fsync(_number: int) -> None:
        synced.append(len(journal_of(run)))

    monkeypatch.setattr("os.fsync", fsync)
    sync.journal(run, 1, "intended", account(), SUSPEND)
    sync.journal(run, 1, "done", account(), SUSPEND)
    assert synced == [1, 2], "flushed, then brought to disk, line by line"
    if os.name == "posix":
        assert (tmp_path / "runs" / f"{run.name}.jsonl").stat().st_mode & 0o777 == 0o600


def test_without_a_journal_nothing_is_changed(tmp_path: Path) -> None:
    run = Run(settings_with(), tmp_path, STARTED, float("inf"))
    with pytest.raises(RunError, match="without a journal nothing is changed"):
        sync.journal(run, 1, "intended", account(), SUSPEND)


# Which step closes, and what of a plan is still due.


@pytest.mark.parametrize(
    ("changes", "closing"),
    [
        ((SUSPEND,), ("suspend",)),
        ((MOVE,), ("move to suspended",)),
        ((SUSPEND, MOVE), ("move to suspended",)),
    ],
)
def test_the_groups_are_left_before_the_last_step_of_closing(changes: tuple[Change, ...], closing: object) -> None:
    plan = Plan(staff(), account(), changes=changes)
    assert [kinds for kinds in sync.STEPS if sync.closes(plan, kinds)] == [closing]


def test_only_what_was_planned_is_written_though_more_has_come_to_differ() -> None:
    had = account(fields={**account().fields, "Sync.Group": "4"})
    both = district([staff()], [had])
    plan = sync.plan_account(staff(), had, both)
    now = account(fields={**had.fields, "Sync.Home": "6"}, employee_id="T8", external_ids=(OTHER_NUMBER,))
    (due,) = sync.still_due(plan, now, both, ("link", "move", "update"))
    assert (due.before, due.after) == ({"fields": {"Sync.Group": "4"}}, {"fields": {"Sync.Group": "9"}})
    assert sync.still_due(plan, now, both, ("suspend",)) == ()
    assert sync.still_due(plan, account(), both, ("update",)) == ()
    repaired = account(employee_id="T8", external_ids=(OTHER_NUMBER,))
    assert sync.still_due(plan, repaired, both, ("update",)) == (), "what remains was never planned"


@pytest.mark.parametrize("kind", ["suspend", "move to suspended"])
def test_what_belongs_to_another_step_is_passed_over(kind: str) -> None:
    both = district([leaver()], [account()])
    plan = sync.plan_account(leaver(), account(), both)
    assert plan.kinds == {"suspend", "move to suspended"}
    assert [change.kind for change in sync.still_due(plan, account(), both, (kind,))] == [kind]


def test_an_employee_id_alone_is_due_too() -> None:
    had = account(employee_id="T8", external_ids=(OTHER_NUMBER,))
    both = district([staff()], [had])
    plan = sync.plan_account(staff(), had, both)
    (due,) = sync.still_due(plan, had, both, ("update",))
    assert due.after == {"fields": {}, "employee_id": "T7"}


# Putting back.


@pytest.mark.parametrize(
    ("change", "back"),
    [
        (SUSPEND, [("reactivate", {"suspended": True}, {"suspended": False})]),
        (MOVE, [("move", {"org_unit": CLOSED}, {"org_unit": HIGH_OU})]),
        (
            RENAME,
            [
                ("rename", {"email": MAYA_AT}, {"email": "old@d118.org"}),
                ("remove alias", {"alias": MAYA_AT}, {}),
            ],
        ),
        (
            Change("rename", {"email": "old@d118.org", "aliases": [MAYA_AT]}, {"email": MAYA_AT}),
            [("rename", {"email": MAYA_AT}, {"email": "old@d118.org"})],
        ),
        (Change("remove alias", {"alias": MAYA_AT}, {}), []),
        (Change("leave group", GROUP, {}), [("join group", {}, GROUP)]),
        (Change("join group", {}, GROUP), [("leave group", GROUP, {})]),
        (Change("link", {"dcid": None}, {"dcid": 7}), [("unlink", {"dcid": 7}, {"dcid": None})]),
        (Change("move", {"org_unit": "/A"}, {"org_unit": "/B"}), [("move", {"org_unit": "/B"}, {"org_unit": "/A"})]),
        (
            Change("create", {}, {"org_unit": HIGH_OU}),
            [
                ("suspend", {"suspended": False}, {"suspended": True}),
                ("move to suspended", {"org_unit": HIGH_OU}, {"org_unit": CLOSED}),
            ],
        ),
    ],
)
def test_each_kind_of_change_has_its_way_back(change: Change, back: list[tuple[str, Any, Any]]) -> None:
    found = sync.reversed_changes(change, settings_with())
    assert [(one.kind, one.before, one.after) for one in found] == back


@pytest.mark.parametrize(
    ("now", "change", "still"),
    [
        ({"org_unit": CLOSED}, Change("move", {"org_unit": CLOSED}, {"org_unit": HIGH_OU}), "all"),
        ({}, Change("move", {"org_unit": CLOSED}, {"org_unit": HIGH_OU}), None),
        ({}, Change("join group", {}, GROUP), "all"),
        ({}, Change("leave group", GROUP, {}), "all"),
        ({}, Change("remove alias", {"alias": "x@d118.org"}, {}), "all"),
        ({}, update({"fields": {"Sync.Group": "9"}}, {"fields": {"Sync.Group": "4"}}), "all"),
        ({}, update({"fields": {"Sync.Group": "8"}}, {"fields": {"Sync.Group": "4"}}), None),
        (
            {},
            update({"fields": {"Sync.Group": "9", "Sync.Home": "6"}}, {"fields": {"Sync.Group": "4", "Sync.Home": ""}}),
            ({"fields": {"Sync.Group": "9"}}, {"fields": {"Sync.Group": "4"}}),
        ),
        ({}, update({"fields": {}, "employee_id": "T7"}, {"fields": {}, "employee_id": "T1"}), "all"),
        (
            {"employee_id": "T8", "external_ids": (OTHER_NUMBER, NUMBER)},
            update({"fields": {}, "employee_id": "T7"}, {"fields": {}, "employee_id": "T1"}),
            "all",
        ),
        (
            {"employee_id": "", "external_ids": ()},
            update({"fields": {}, "employee_id": "T7"}, {"fields": {}, "employee_id": "T1"}),
            None,
        ),
        (
            {},
            update(
                {"fields": {"Sync.Group": "9"}, "employee_id": "T6"}, {"fields": {"Sync.Group": "4"}, "employee_id": ""}
            ),
            ({"fields": {"Sync.Group": "9"}}, {"fields": {"Sync.Group": "4"}}),
        ),
    ],
)
def test_only_what_is_still_as_the_run_left_it_is_put_back(now: dict[str, Any], change: Change, still: Any) -> None:
    found = sync.still_as_left(account(**now), change)
    expected = (change.before, change.after) if still == "all" else still
    assert (found and (found.before, found.after)) == expected


def entry(change: Change, **facts: Any) -> Entry:
    of = {"number": 1, "state": "done", "dcid": 7, "account": "1", "email": MAYA_AT, **facts}
    return Entry(change=change, **of)


def undone(now: Account | None, *entries: Entry) -> Plan:
    return sync.undo_plan(entries, now, district([], [account()]))


def test_an_undo_goes_backwards_and_names_what_has_moved_on() -> None:
    plan = undone(account(suspended=True, org_unit=CLOSED), entry(SUSPEND), entry(MOVE))
    assert [change.kind for change in plan.changes] == ["move", "reactivate"]
    assert (plan.notes, plan.person.dcid, plan.person.first_name) == ((), 7, "Maya")
    moved = undone(account(suspended=True), entry(SUSPEND), entry(MOVE))
    assert [change.kind for change in moved.changes] == ["reactivate"]
    assert [note.reason for note in moved.notes] == [
        "changed since by somebody else, so not put back: move to suspended"
    ]


def test_an_undo_of_an_account_without_a_dcid_or_that_is_gone_or_hands_off() -> None:
    assert undone(account(suspended=True, dcid=None), entry(SUSPEND, dcid=None)).person.dcid == sync.NO_SCHOOL
    zero = undone(account(suspended=True), entry(SUSPEND, dcid=0))
    assert zero.person.dcid == 0
    gone = undone(None, entry(SUSPEND))
    assert (gone.changes, gone.had, [note.rule for note in gone.notes]) == ((), None, ["moved on"])
    assert gone.person.email == MAYA_AT
    renamed = undone(None, entry(RENAME, email="old@d118.org", dcid=None), entry(SUSPEND, dcid=7))
    assert (renamed.person.email, renamed.person.dcid) == (MAYA_AT, 7), "as the run last knew it"
    admin = undone(account(suspended=True, is_admin=True), entry(SUSPEND))
    assert (admin.changes, len(admin.notes)) == ((), 1)
    assert "not put back" not in admin.notes[0].reason


def test_an_alias_goes_only_with_the_rename_that_left_it() -> None:
    renamed = undone(account(), entry(RENAME))
    assert [change.kind for change in renamed.changes] == ["rename", "remove alias"]
    since = undone(account(email="third@d118.org"), entry(RENAME))
    assert since.changes == ()
    assert [note.reason for note in since.notes] == ["changed since by somebody else, so not put back: rename"]


def write_journal(folder: Path, name: str, *rows: Mapping[str, Any]) -> Path:
    (folder / "runs").mkdir(exist_ok=True)
    path = folder / "runs" / f"{name}.jsonl"
    facts = {"dcid": 7, "account": "1", "email": MAYA_AT, "kind": "suspend", "before": {}, "after": {}}
    path.write_text("".join(json.dumps({"change": 1, **facts, **row}) + "\n" for row in rows), encoding="utf-8")
    return path


def test_the_latest_line_of_a_change_counts_and_what_failed_does_not(tmp_path: Path) -> None:
    path = write_journal(
        tmp_path,
        "20261123T040000Z",
        *({"change": 1, "state": state} for state in ("intended", "done")),
        *({"change": 2, "state": state} for state in ("intended", "failed")),
        {"change": 3, "state": "intended"},
        {"change": 3, "state": "unknown", "kind": "move"},
    )
    with path.open("a", encoding="utf-8") as file:
        file.write('{"change": 4, "sta')
    found = [(one.number, one.state, one.change.kind) for one in sync.read_journal(path)]
    assert found == [(1, "done", "suspend"), (3, "intended", "suspend"), (3, "unknown", "move")]
    for damaged in ("[]", '{"change": 1}'):
        path.write_text(damaged, encoding="utf-8")
        with pytest.raises(RunError, match="damaged"):
            sync.read_journal(path)
    with pytest.raises(RunError, match="cannot be read"):
        sync.read_journal(tmp_path / "nothing.jsonl")


def test_last_is_the_newest_run_that_changed_something(tmp_path: Path) -> None:
    write_journal(tmp_path, "20261121T040000Z", {"state": "done"})
    second = write_journal(tmp_path, "20261122T040000Z", {"state": "failed"}, {"change": 2, "state": "done"})
    third = write_journal(tmp_path, "20261123T040000Z", {"state": "failed"}, {"change": 2, "state": "unknown"})
    assert sync.journal_path(tmp_path, "last") == second
    for name in ("20261123T040000Z", "20261123T040000Z.jsonl", "runs/20261123T040000Z.jsonl"):
        assert sync.journal_path(tmp_path, name) == third
    for number in range(10, 14):
        write_journal(tmp_path, f"202611{number}T040000Z", {"state": "done"})
    with pytest.raises(RunError) as caught:
        sync.journal_path(tmp_path, "20200101T000000Z")
    assert str(caught.value).endswith(
        "the newest: 20261112T040000Z, 20261113T040000Z, 20261121T040000Z, 20261122T040000Z, 20261123T040000Z)"
    )
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="newest: none"):
        sync.journal_path(tmp_path / "empty", "last")


def test_the_runs_that_took_somebody_out_of_groups_are_named_unless_a_later_one_closed_the_account(
    tmp_path: Path,
) -> None:
    run = run_in(tmp_path)
    assert sync.groups_to_get_back(run, "1") == []
    write_journal(tmp_path, "20261119T040000Z", {"state": "done", "kind": "leave group"})
    write_journal(tmp_path, "20261119T050000Z", {"state": "done", "kind": "suspend"})
    write_journal(
        tmp_path,
        "20261119T060000Z",
        {"state": "done", "kind": "suspend"},
        {"change": 2, "state": "done", "kind": "leave group"},
    )
    write_journal(tmp_path, "20261120T040000Z", {"state": "done", "kind": "leave group"})
    write_journal(tmp_path, "20261121T040000Z", {"state": "done", "kind": "update"})
    write_journal(tmp_path, "20261122T040000Z", {"state": "done", "kind": "leave group", "account": "12"})
    write_journal(tmp_path, run.name, {"state": "done", "kind": "leave group"})
    both = ["20261120T040000Z", "20261119T060000Z"]
    assert sync.groups_to_get_back(run, "1") == both, "an interrupted leaver left groups in two runs"
    assert sync.groups_to_get_back(run, "12") == ["20261122T040000Z"]
    for damaged in ("20261122T030000Z", "20261122T045959Z"):  # both newer than what is named
        (tmp_path / "runs" / f"{damaged}.jsonl").write_text("[]", encoding="utf-8")
    assert sync.groups_to_get_back(run, "1") == both, "a damaged journal hides no other"
    write_journal(tmp_path, "20261122T050000Z", {"state": "done", "kind": "suspend"})
    assert sync.groups_to_get_back(run, "1") == []


def test_changes_go_together_by_account_or_address_in_the_order_of_the_run() -> None:
    rows = [entry(SUSPEND, account=one, email=email) for one, email in (("2", "b"), ("1", "a"), ("2", "c"), ("", "a"))]
    assert [[row.email for row in group] for group in sync.by_account(rows)] == [["b", "c"], ["a"], ["a"]]


@pytest.mark.parametrize(
    ("word", "named"),
    [(MAYA_AT, True), (" MAYA.patel@d118.org ", True), ("7", True), ("dcid:7", True), ("DCID:7", True),
     ("m@d118.org", True), ("8", False), ("dcid:8", False), ("", False)],
)  # fmt: skip
def test_only_names_an_account_by_address_alias_or_dcid(word: str, named: bool) -> None:
    plan = Plan(staff(email="x@d118.org"), account(aliases=("m@d118.org",)))
    assert sync.is_named(plan, ["nobody", word]) is named
    assert sync.is_named(Plan(staff(), None), [word]) is (named and word != "m@d118.org")


@pytest.mark.parametrize(
    ("first", "now", "is_found"),
    [
        ({"account": "1"}, account(dcid=None), True),
        ({"account": ""}, account(dcid=7), True),
        ({"account": ""}, account(dcid=8), False),
        ({"account": "1"}, None, False),
    ],
)
def test_an_account_created_in_a_crash_is_known_by_its_dcid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: dict[str, Any], now: Account | None, is_found: bool
) -> None:
    asked = []

    def get_account(_run: Run, key: str) -> Account | None:
        asked.append(key)
        return now

    monkeypatch.setattr(sync, "get_account", get_account)
    found = sync.account_of(run_in(tmp_path), [entry(SUSPEND, **first), entry(MOVE, account="9", dcid=9)])
    assert (found, asked) == (now if is_found else None, [first["account"] or MAYA_AT])


# Stories.


def add_outdated(bed: Bed, dcid: int, last: str) -> str:
    email = f"kim.{last}@d118.org".lower()
    bed.powerschool.add_person(dcid, "Kim", last, email, schools={5: 1}, group=9, teacher_number=str(dcid))
    matching_account(bed, dcid, fields=matching_fields(bed, dcid, Staff_Group=4))
    return email


def test_a_row_of_failures_is_broken_by_a_success_and_by_another_answer(bed: Bed) -> None:
    for number in range(24):
        add_outdated(bed, number + 1, "Person" + chr(ord("a") + number))

    def refused(numbers: Iterable[int]) -> Callable[[Any], bool]:
        letters = "".join(chr(ord("a") + number) for number in numbers)
        return lambda request: (
            bed.google.user(request.params["userKey"])["primaryEmail"].partition("@")[0][-1] in letters
        )

    bed.google.fail("users.update", 403, "forbidden", "No", times=None, match=refused([*range(9), *range(10, 14)]))
    bed.google.fail("users.update", 400, "invalid", "No", times=None, match=refused(range(14, 19)))
    outcome = bed.run()
    assert outcome.exit_code == 1, outcome.output
    assert len([line for line in outcome.lines("ERROR") if line.startswith("failed: ")]) == 18
    assert len(outcome.writes) == 6
    looked_up = [request for request in outcome.requests if request.method == "users.get"]
    assert len(looked_up) == 24, "once before each write, and not for steps that nobody planned"


def test_a_creation_without_a_teacher_number_sends_no_external_ids_and_a_password_to_change(bed: Bed) -> None:
    bed.powerschool.add_person(1, "Kim", "Settled", "kim.settled@d118.org", schools={5: 1}, teacher_number="1")
    matching_account(bed, 1)
    bed.powerschool.add_person(2, "Maya", "Patel", "maya.patel@d118.org", schools={5: 1})
    outcome = bed.run(env={"NEW_USER_PASSWORD": "First-Word-118"})
    (write,) = outcome.writes
    assert write.body == {
        "primaryEmail": "maya.patel@d118.org",
        "name": {"givenName": "Maya", "familyName": "Patel"},
        "orgUnitPath": HIGH_OU,
        "customSchemas": {
            "Synchronization_Data": {"DCID": 2, "Homeschool_ID": 5, "School_Access_List": "5", "Staff_Type": 1},
            "CrisisGO": {"Building": "Wauconda High School"},
        },
        "changePasswordAtNextLogin": True,
        "password": "First-Word-118",
    }
    assert any(line.startswith("create") and "(DCID 2)" in line for line in outcome.lines("INFO"))
    assert not bed.run().writes


def look(bed: Bed) -> dict[str, Any]:
    """Addresses, places, states, filled fields and groups: what an undo has to bring back."""
    users = {
        user["id"]: {
            **{name: user.get(name) for name in ("primaryEmail", "orgUnitPath", "suspended", "name")},
            "aliases": sorted(user.get("aliases") or ()),
            "fields": {
                (schema, name): value
                for schema, fields in (user.get("customSchemas") or {}).items()
                for name, value in fields.items()
                if value is not None
            },
        }
        for user in bed.google.snapshot()["users"].values()
    }
    return {**users, "groups": bed.google.members("math@d118.org")}


def test_an_undo_and_its_undo_write_tell_and_keep_the_same_changes_the_other_way_round(bed: Bed) -> None:
    for dcid, last in enumerate(("Settled", "Renamed", "Linked", "Left"), 1):
        email = f"kim.{last}@d118.org".lower()
        bed.powerschool.add_person(dcid, "Kim", last, email, schools={5: 1}, group=9, teacher_number=str(dcid))
    matching_account(bed, 1)
    matching_account(bed, 2, email="kim.before@d118.org", fields=matching_fields(bed, 2, Staff_Group=4))
    matching_account(bed, 3, fields={})
    matching_account(bed, 4)
    bed.powerschool.leave(4)
    bed.google.add_group("math@d118.org", members={"kim.left@d118.org": "MANAGER", "kim.settled@d118.org": "OWNER"})
    bed.settings["LIMITS"] = {"clear": 0}  # what an undo empties was empty before, and counts against no limit
    before = look(bed)
    bed.run()
    after = look(bed)
    ids = {user["primaryEmail"]: number for number, user in before.items() if number != "groups"}
    names = {number: email.partition("@")[0] for email, number in ids.items()}

    undone = bed.run("--undo", "last", "--yes")
    assert undone.exit_code == 0, undone.output
    assert look(bed) == before
    done = [(names[line["account"]], line["dcid"], line["kind"]) for line in undone.journal if line["state"] == "done"]
    assert sorted(done) == [
        ("kim.before", 2, "remove alias"), ("kim.before", 2, "rename"), ("kim.before", 2, "update"),
        ("kim.left", 4, "join group"), ("kim.left", 4, "move"), ("kim.left", 4, "reactivate"),
        ("kim.linked", 3, "unlink"), ("kim.linked", 3, "update"),
    ]  # fmt: skip
    told = undone.output.partition("Signed in")[2] or undone.output
    for _, dcid, kind in done:
        lines = [text for text in told.splitlines() if f" {kind} " in f"{text} " and f"(DCID {dcid})" in text]
        assert len(lines) == 2, f"{kind} of {dcid} is told in the plan and when it is done: {told}"

    again = bed.run("--undo", "last", "--yes")
    assert again.exit_code == 0, again.output
    assert look(bed) == after
    kinds = {line["kind"] for line in again.journal if line["state"] == "done"}
    assert kinds == {"rename", "update", "leave group", "move", "suspend", "link"}
    assert not bed.run().writes


def test_an_undo_says_what_it_undoes_asks_and_says_what_comes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = run_in(tmp_path, LIMITS={**sync.DEFAULT_LIMITS, "clear": 0})
    sides = {"before": {"suspended": False}, "after": {"suspended": True}}
    filled = {"before": {"fields": {"Sync.Group": ""}}, "after": {"fields": {"Sync.Group": "9"}}}
    write_journal(
        tmp_path,
        "20261012T120000Z",  # a thousand hours before STARTED
        {"change": 1, "state": "done", "kind": "suspend", **sides},
        {"change": 2, "state": "done", "kind": "update", **filled},
    )
    closed, asked = account(suspended=True), []
    done: list[Plan] = []
    monkeypatch.setattr(sync, "connect_google", lambda _run, interactive: interactive)
    monkeypatch.setattr(sync, "read_directory", lambda _run: directory([closed]))
    monkeypatch.setattr(sync, "get_account", lambda _run, _key: closed)
    monkeypatch.setattr(sync, "undo_account", lambda _run, plan, _directory: done.append(plan))
    monkeypatch.setattr(sync, "has_terminal", lambda: True)

    def answer(question: str) -> str:
        asked.append(question)
        return answers.pop(0)

    monkeypatch.setattr("builtins.input", answer)
    answers = ["no", " YES ", "y"]
    caplog.set_level("INFO")
    with pytest.raises(RunError, match="not agreed"):
        sync.undo(run, "last", (), {}, False, False)
    assert not done
    assert sum("suspend" in text and "Maya Patel" in text for text in caplog.messages) == 0
    assert sum("reactivate" in text and "Maya Patel" in text for text in caplog.messages) == 1
    assert "Undo of run 20261012T120000Z, 1000.0 hours ago, which did: suspend 1, update 1" in caplog.messages
    for _ in range(2):
        assert sync.undo(run, "last", (), {}, False, False) == 0, "emptying what was empty before is never held"
    assert {change.kind for change in done[0].changes} == {"reactivate", "update"}
    assert (len(done), asked) == (2, ["Put this back? Type yes: "] * 3)
    sync.undo(run, "last", (), {}, False, True)
    sync.undo(run, "last", (), {}, True, False)
    assert (len(done), len(asked)) == (3, 3), "a dry run and --yes ask nothing"
    assert "The next run will do the same again" in caplog.messages[-1]

    def refused(_run: Run, _key: str) -> Account | None:
        raise GoogleError(403, "forbidden", "No")

    monkeypatch.setattr(sync, "get_account", refused)
    with pytest.raises(RunError, match=f"looking up {MAYA_AT}"):
        sync.undo(run, "last", (), {}, True, False)


@pytest.mark.parametrize(
    ("holder", "is_group", "words"),
    [
        (account(), False, f"by {MAYA_AT}"),
        (account(email="x@d118.org"), False, "by x@d118.org as an alias"),
        (None, True, "by a group"),
        (None, False, "by something Google does not show (a deleted account?)"),
    ],
)
def test_the_holder_of_a_taken_address_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, holder: Account | None, is_group: bool, words: str
) -> None:
    monkeypatch.setattr(sync, "get_account", lambda _run, _key: holder)
    monkeypatch.setattr(sync, "is_group", lambda _run, _address: is_group)
    assert sync.holder_words(run_in(tmp_path), MAYA_AT) == words

    def refused(_run: Run, _key: str) -> Account | None:
        raise GoogleError(403, "forbidden", "No")

    monkeypatch.setattr(sync, "get_account", refused)
    assert sync.holder_words(run_in(tmp_path), MAYA_AT) == "by somebody Google does not name at the moment"


def test_a_step_looks_again_and_writes_nothing_that_is_not_due_or_has_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "staffsync")
    run, both, sent = run_in(tmp_path), district([leaver()], [account()]), []
    plan = sync.plan_account(leaver(), account(), both)
    monkeypatch.setattr(sync, "update_account", lambda *arguments: sent.append(arguments))
    monkeypatch.setattr(sync, "get_account", lambda _run, _key: account(suspended=True, org_unit=CLOSED))
    sync.apply_step(run, plan, account(), both, ("suspend",))
    assert caplog.messages == [f"{leaver()}: suspend is not due any more"]
    monkeypatch.setattr(sync, "get_account", lambda _run, _key: None)
    with pytest.raises(GoogleError) as caught:
        sync.apply_step(run, plan, account(), both, ("suspend",))
    assert (caught.value.status, sent) == (404, [])


@pytest.mark.parametrize(
    ("status", "still_member", "raises"),
    [(404, True, False), (412, False, False), (412, True, True), (403, False, True), (405, False, True)],
)
def test_a_group_that_the_account_has_left_meanwhile_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, still_member: bool, raises: bool
) -> None:
    run, found = run_in(tmp_path), [{"role": "MEMBER"}, {} if still_member else None]

    def make(*_arguments: object) -> None:
        raise GoogleError(status, "x", "y")

    monkeypatch.setattr(sync, "make", make)
    monkeypatch.setattr(sync, "membership", lambda *_arguments: found.pop(0))
    run.api = MagicMock()
    group = {"id": "g1", "email": "math@d118.org"}
    if raises:
        with pytest.raises(GoogleError):
            sync.leave_group(run, staff(), account(), group)
    else:
        sync.leave_group(run, staff(), account(), group)


@pytest.mark.parametrize(
    ("status", "had", "is_holder_named"), [(409, None, True), (403, None, False), (409, account(), False)]
)
def test_a_taken_address_is_told_with_its_holder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, had: Account | None, is_holder_named: bool
) -> None:
    monkeypatch.setattr(sync, "holder_words", lambda _run, address: f"by the holder of {address}")
    plan = Plan(staff(), had, account(), (SUSPEND, MOVE))
    words = sync.failure_words(run_in(tmp_path), plan, GoogleError(status, "x", "y"))
    taken = f"not created: {MAYA_AT} is taken by the holder of {MAYA_AT}"
    assert words.startswith(taken if is_holder_named else "suspend and move to suspended failed, at least in part: ")


@pytest.mark.parametrize(
    ("status", "kinds", "words"),
    [
        (409, ("rename", "name"), f"{MAYA_AT} is taken by the holder of {MAYA_AT}"),
        (400, ("rename", "name"), "in Google's words"),
        (410, ("rename", "name"), "in Google's words"),
        (409, ("link", "move", "update"), "in Google's words"),
    ],
)
def test_only_a_rename_to_a_taken_address_is_told_with_its_holder(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    status: int,
    kinds: tuple[str, ...],
    words: str,
) -> None:
    def refused(*_arguments: object) -> None:
        raise GoogleError(status, "duplicate", "in Google's words")

    had = account(email="old@d118.org", fields={**MAYA_FIELDS, "Sync.Group": "4"})
    both = district([staff()], [had])
    monkeypatch.setattr(sync, "get_account", lambda _run, _key: had)
    monkeypatch.setattr(sync, "update_account", refused)
    monkeypatch.setattr(sync, "holder_words", lambda _run, address: f"by the holder of {address}")
    caplog.set_level("INFO", "staffsync")
    plan = sync.plan_account(staff(), had, both)
    assert plan.kinds == {"rename", "update"}
    with pytest.raises(GoogleError) as caught:
        sync.apply_step(run_in(tmp_path), plan, had, both, kinds)
    assert (caught.value.status, caught.value.reason, caught.value.message) == (status, "duplicate", words)
    assert not caplog.messages, "what was not made is not told as made"


@pytest.mark.parametrize("past", ["20261120T040000Z", ""])
def test_a_change_that_was_made_is_told_and_after_a_reactivation_alone_the_run_that_has_the_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, past: str
) -> None:
    had = account(suspended=True, org_unit=CLOSED, fields={**MAYA_FIELDS, "Sync.Group": "4"})
    both, run, sent = district([staff()], [had]), run_in(tmp_path), []
    if past:
        write_journal(tmp_path, past, {"state": "done", "kind": "leave group"})
    monkeypatch.setattr(sync, "get_account", lambda _run, _key: had)
    monkeypatch.setattr(sync, "update_account", lambda *arguments: sent.append([one.kind for one in arguments[2]]))
    caplog.set_level("INFO", "staffsync")
    plan = sync.plan_account(staff(), had, both)
    told = {}
    for kinds in (("reactivate",), ("link", "move", "update")):
        caplog.clear()
        sync.apply_step(run, plan, had, both, kinds)
        told[kinds[0]] = list(caplog.messages)
    assert sent == [["reactivate"], ["move", "update"]]
    hint = f"{staff()} was in groups before: sync.py --undo {past} --only dcid:7"
    assert told == {
        "reactivate": [f"reactivate {staff()}", *([hint] if past else [])],
        "link": [f"move       {staff()}: {CLOSED} -> {HIGH_OU}", f"update     {staff()}: Sync.Group 4 -> 9"],
    }


def test_of_several_refused_steps_the_first_is_told_after_all_were_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[tuple[str, ...]] = []

    def refused(_run: Run, _plan: Plan, _had: Account, _district: object, kinds: tuple[str, ...]) -> None:
        tried.append(kinds)
        raise GoogleError(400, "invalid", kinds[0])

    monkeypatch.setattr(sync, "apply_step", refused)
    plan = Plan(staff(), account(), account(), (update({}, {}), RENAME))
    with pytest.raises(GoogleError) as caught:
        sync.apply_plan(run_in(tmp_path), plan, district())
    assert (caught.value.message, tried) == ("link", [("link", "move", "update"), ("rename", "name")])


def leave_groups_of(
    run: Run, monkeypatch: pytest.MonkeyPatch, now: Account | None, answers: Mapping[str, GoogleError | None]
) -> list[str]:
    """The groups that a leaver is taken out of, each with what Google says to that."""
    left: list[str] = []

    def leave_group(_run: Run, _person: sync.Staff, _had: Account, group: Mapping[str, str]) -> None:
        left.append(group["email"])
        error = answers[group["email"]]
        if error:
            raise error

    both = district([leaver()], [account()])
    plan = sync.plan_account(leaver(), account(), both)
    run.api = MagicMock()
    monkeypatch.setattr(sync, "get_account", lambda _run, _key: now)
    monkeypatch.setattr(sync, "pages", lambda *_arguments: [{}, {"groups": [{"id": n, "email": n} for n in answers]}])
    monkeypatch.setattr(sync, "leave_group", leave_group)
    sync.leave_groups(run, plan, account(), both, ("move to suspended",))
    return left


def test_a_group_that_refuses_for_good_is_told_and_forgotten_and_one_that_may_heal_is_left_for_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run, refusal = run_in(tmp_path), GoogleError(403, "forbidden", "No")
    assert leave_groups_of(run, monkeypatch, account(), {"a@d118.org": refusal, "b@d118.org": None}) == [
        "a@d118.org", "b@d118.org",
    ]  # fmt: skip
    stays = f"{MAYA_AT} stays in the group a@d118.org, take it out by hand: Google answered 403 forbidden: No"
    assert [(note.level, note.reason, note.who) for note in run.failures] == [("ERROR", stays, str(leaver()))]
    assert caplog.messages == [f"Not done: {leaver()}: {stays}"]

    answers = {
        "b@d118.org": GoogleError(503, "backendError", "ill"),
        "a@d118.org": refusal,
        "c@d118.org": GoogleError(0, "", "broken"),
        "d@d118.org": None,
    }
    with pytest.raises(GoogleError) as caught:
        leave_groups_of(run, monkeypatch, account(), answers)
    words = f"{MAYA_AT} could not leave all its groups, the next run tries again: "
    first = (503, "backendError", words + "Google answered 503 backendError: ill")
    assert (caught.value.status, caught.value.reason, caught.value.message) == first
    assert [note.reason for note in run.failures] == [stays, stays], "the other two are for the next run"


@pytest.mark.parametrize("now", [None, account(suspended=True, org_unit=CLOSED)])
def test_nobody_is_taken_out_of_groups_whose_account_is_gone_or_need_not_be_closed_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, now: Account | None
) -> None:
    run = run_in(tmp_path)
    assert leave_groups_of(run, monkeypatch, now, {"a@d118.org": None}) == []
    assert not run.api.mock_calls


@pytest.mark.parametrize(
    ("role", "owners", "told"),
    [
        ("MEMBER", {}, []),
        ("MANAGER", {}, []),
        ("OWNER", {"members": [{"id": "2"}]}, []),
        ("OWNER", {}, ["The group math@d118.org has lost its last owner, {}"]),
        (
            "OWNER",
            GoogleError(403, "forbidden", "No"),
            ["Whether the group math@d118.org still has an owner is not known: Google answered 403 forbidden: No"],
        ),
    ],
)
def test_a_group_that_was_left_is_told_and_that_it_has_no_owner_now_or_that_nobody_knows(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    role: str,
    owners: dict[str, Any] | GoogleError,
    told: list[str],
) -> None:
    run, made = run_in(tmp_path), []
    run.api = MagicMock()
    monkeypatch.setattr(sync, "membership", lambda *_arguments: {"role": role})
    monkeypatch.setattr(sync, "make", lambda *arguments: made.append(arguments[2]))
    monkeypatch.setattr(sync, "call", lambda _run, _request: Request(owners).execute())
    caplog.set_level("INFO", "staffsync")
    sync.leave_group(run, leaver(), account(), {"id": "g1", "email": "math@d118.org"})
    assert made == [[Change("leave group", {"group": "math@d118.org", "group_id": "g1", "role": role}, {})]]
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("INFO", f"left group {leaver()}: math@d118.org ({role.lower()})"),
        *(("WARNING", text.format(leaver())) for text in told),
    ]


def test_a_run_out_of_time_says_how_many_people_are_left(tmp_path: Path) -> None:
    run, tried = run_in(tmp_path), []

    def apply(plan: Plan) -> None:
        tried.append(plan)
        run.deadline = float("-inf")

    plans = [Plan(staff(), account(), account(), changes) for changes in ((), (SUSPEND,), (), (MOVE,), (RENAME,))]
    with pytest.raises(RunError, match="RUN_MINUTES is over, with 2 people left for the next run"):
        sync.apply_plans(run, plans, apply)
    assert tried == [plans[1]]


def undo_steps(
    run: Run, monkeypatch: pytest.MonkeyPatch, person: sync.Staff, had: Account, *found: Account | None
) -> list[tuple[Account, list[str]]]:
    """What an undo of a closing writes, with the account as the journal names it; looked at again before each step."""
    written: list[tuple[Account, list[str]]] = []
    answers = list(found)
    monkeypatch.setattr(sync, "get_account", lambda _run, _key: answers.pop(0))
    monkeypatch.setattr(
        sync, "update_account", lambda _run, now, due, _directory: written.append((now, [one.kind for one in due]))
    )
    monkeypatch.setattr(sync, "undo_listed", lambda _run, _plan, now, change: written.append((now, [change.kind])))
    changes = (
        Change("reactivate", {"suspended": True}, {"suspended": False}),
        Change("move", {"org_unit": CLOSED}, {"org_unit": HIGH_OU}),
        Change("join group", {}, GROUP),
    )
    plan = Plan(person, had, had, changes, (), "the journal")
    sync.undo_account(run, plan, district((), [had]))
    assert not answers, "nothing is looked up for a step that has nothing to do"
    return written


@pytest.mark.parametrize(
    ("planned", "now", "kept"), [(7, None, 7), (7, 8, 7), (sync.NO_SCHOOL, 8, 8), (sync.NO_SCHOOL, None, None)]
)
def test_an_undo_takes_its_steps_in_order_and_names_the_person_in_its_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planned: int, now: int | None, kept: int | None
) -> None:
    closed = account(suspended=True, org_unit=CLOSED, dcid=now)
    written = undo_steps(run_in(tmp_path), monkeypatch, staff(dcid=planned), closed, closed, closed, closed)
    assert [kinds for _, kinds in written] == [["move"], ["join group"], ["reactivate"]]
    assert [written[i][0].dcid for i in (0, 2)] == [kept, kept]


def test_an_undo_writes_nothing_to_an_account_that_has_gone_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = account(suspended=True, org_unit=CLOSED)
    run = run_in(tmp_path)
    assert undo_steps(run, monkeypatch, staff(), closed, None, None, None) == []
    assert [kinds for _, kinds in undo_steps(run, monkeypatch, staff(), closed, closed, None, None)] == [["move"]]


@pytest.mark.parametrize(
    ("looked_up", "is_done"),
    [(account(), True), (account(aliases=("old@d118.org",)), False), (None, False)],
)
def test_an_alias_whose_removal_was_not_answered_is_looked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, looked_up: Account | None, is_done: bool
) -> None:
    run, now = run_in(tmp_path), account(aliases=("old@d118.org", "m@d118.org"))
    run.api = MagicMock()
    monkeypatch.setattr(sync, "call", lambda _run, _request: refuse())
    monkeypatch.setattr(sync, "get_account", lambda _run, _key: looked_up)
    change = Change("remove alias", {"alias": "old@d118.org"}, {})
    plan = Plan(staff(), now, now, (change,), (), "the journal")
    if is_done:
        sync.undo_listed(run, plan, now, change)
    else:
        with pytest.raises(GoogleError, match="ill"):
            sync.undo_listed(run, plan, now, change)
    assert [line["state"] for line in journal_of(run)] == ["intended", "done" if is_done else "failed"]
