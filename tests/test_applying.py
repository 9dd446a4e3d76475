"""What is sent to Google, kept in the journal and put back, as tables; and the stories that only these notice.

The tables need no stand-ins: facts in, request bodies, journal lines and undoing changes out. What asks Google gets
the real Google client with prepared answers; nothing of sync.py is ever replaced.
"""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from bed import PROJECT, Bed, matching_account, matching_fields
from googleapiclient.discovery import build
from test_deciding import (
    CLOSED,
    HIGH_OU,
    MAYA_AT,
    MAYA_FIELDS,
    account,
    directory,
    district,
    http_error,
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


@dataclass
class Request:
    """A request of the Google client, which hands it over here in place of its own."""

    google: FakeGoogle
    uri: str
    method: str
    body: str | None
    methodId: str  # noqa: N815

    def execute(self, num_retries: int) -> Any:
        assert num_retries == 0
        return self.google.answer(self)


class FakeGoogle:
    """The real Google client, `api`, with prepared answers by method: `users_get` for users.get and so on.

    A list is used up answer by answer, anything else is given again and again: an error is raised, an account stands
    for its users resource. What has no answer may not be asked. `sent` holds each request's method, path and body.
    """

    def __init__(self, **answers: Any) -> None:
        self.answers = {method.replace("_", "."): answer for method, answer in answers.items()}
        self.sent: list[tuple[str, str, Any]] = []
        self.api = build("admin", "directory_v1", http=object(), requestBuilder=self.request, static_discovery=True)

    def request(self, _http: object, _postproc: object, uri: str, **parts: Any) -> Request:
        return Request(self, uri, parts["method"], parts["body"], parts["methodId"])

    def answer(self, request: Request) -> Any:
        method = request.methodId.removeprefix("directory.")
        path = unquote(urlsplit(request.uri).path).removeprefix("/admin/directory/v1/")
        self.sent.append((method, path, json.loads(request.body) if request.body else None))
        assert self.answers.get(method, []) != [], f"nobody expected {method} {path}"
        answer = self.answers[method]
        answer = answer.pop(0) if isinstance(answer, list) else answer
        if isinstance(answer, Exception):
            raise answer
        return resource(answer) if isinstance(answer, Account) else answer

    def paths(self, method: str) -> list[str]:
        return [path for sent, path, _ in self.sent if sent == method]

    def bodies(self, method: str) -> list[Any]:
        return [body for sent, _, body in self.sent if sent == method]


def resource(of: Account) -> dict[str, Any]:
    """The account as Google gives it."""
    schemas: dict[str, dict[str, Any]] = {}
    for name, value in {**of.fields, "Sync.DCID": of.dcid}.items():
        schema, _, entry = name.partition(".")
        schemas.setdefault(schema, {})[entry] = value
    return {
        "id": of.id, "primaryEmail": of.email, "aliases": list(of.aliases), "orgUnitPath": of.org_unit,
        "name": {"givenName": of.given_name, "familyName": of.family_name}, "suspended": of.suspended,
        "customSchemas": schemas, "externalIds": list(of.external_ids),
    }  # fmt: skip


GONE = http_error(404, "notFound", "Not Found")
REFUSED = http_error(403, "forbidden", "No")
ILL = http_error(503, "backendError", "ill")
BROKEN = ConnectionResetError()
MEMBER = {"role": "MEMBER"}


def run_in(folder: Path, google: FakeGoogle | None = None) -> Run:
    """A run that asks everything once: no wait fits in the time that there is for errors that heal."""
    (folder / "runs").mkdir(exist_ok=True)
    run = Run(settings_with(RETRY_WAIT_SECONDS=1, RETRY_SECONDS=1e-9), folder, STARTED, float("inf"))
    run.api = google and google.api
    return run


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


def journal_of(run: Run) -> list[dict[str, Any]]:
    path = run.folder / "runs" / f"{run.name}.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def test_each_request_has_a_number_and_a_line_per_kind_before_and_after(tmp_path: Path) -> None:
    run = run_in(tmp_path, FakeGoogle(users_insert={"id": "77"}, users_update={"id": "77"}, members_delete=""))
    for had, request in (
        (account(id=""), run.api.users().insert(body={})),
        (account(id="1"), run.api.users().update(userKey="1", body={})),
        (account(id=""), run.api.members().delete(groupKey="g1", memberKey="1")),
    ):
        sync.make(run, had, [SUSPEND, MOVE], request, lambda: None)
    lines = [(line["change"], line["state"], line["kind"], line["account"], line["error"]) for line in journal_of(run)]
    both = ("suspend", "move to suspended")
    assert lines == [
        *((1, "intended", kind, "", "") for kind in both), *((1, "done", kind, "77", "") for kind in both),
        *((2, "intended", kind, "1", "") for kind in both), *((2, "done", kind, "1", "") for kind in both),
        *((3, "intended", kind, "", "") for kind in both), *((3, "done", kind, "", "") for kind in both),
    ]  # fmt: skip
    assert (run.writes, run.done, run.change_number) == (3, {"suspend": 3, "move to suspended": 3}, 3)


@pytest.mark.parametrize(
    ("answer", "error", "state"), [(REFUSED, GoogleError, "failed"), (http_error(401), RunError, "unknown")]
)
def test_a_request_that_fails_is_in_the_journal_with_its_reason_and_not_counted(
    tmp_path: Path, answer: Exception, error: type[Exception], state: str
) -> None:
    run = run_in(tmp_path, FakeGoogle(users_update=answer))
    request = run.api.users().update(userKey="1", body={})
    with pytest.raises(error) as caught:
        sync.make(run, account(), [SUSPEND, MOVE], request, lambda: None)
    assert [(line["state"], line["error"]) for line in journal_of(run)[2:]] == [(state, str(caught.value))] * 2
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
            None,
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
    half = undone(account(suspended=True), entry(SUSPEND), entry(MOVE))
    assert [change.kind for change in half.changes] == ["reactivate"], "an undo that was cut off goes on"
    assert not half.notes
    moved = undone(account(suspended=True, org_unit="/Elsewhere"), entry(SUSPEND), entry(MOVE))
    assert not moved.changes, "whom somebody has put elsewhere since stays closed"
    assert [note.reason for note in moved.notes] == [
        "changed since by somebody else, so not put back: move to suspended, suspend"
    ]
    back = undone(account(), entry(SUSPEND), entry(Change("leave group", GROUP, {})), entry(MOVE))
    assert [change.kind for change in back.changes] == ["join group"], "the groups come back to who is back"
    abuse = undone(account(suspended=True, suspension_reason="ABUSE", org_unit=CLOSED), entry(SUSPEND), entry(MOVE))
    assert [change.kind for change in abuse.changes] == ["move"]
    assert [note.reason for note in abuse.notes] == ["changed since by somebody else, so not put back: suspend"]


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
    write_journal(tmp_path, "20261124T040000Z", {"state": "failed"})
    assert sync.journal_path(tmp_path, "last") == third, "what a lost answer or a kill left open may have been done"
    third.unlink()
    assert sync.journal_path(tmp_path, "last") == second
    write_journal(tmp_path, "20261123T040000Z", {"state": "intended"})
    (tmp_path / "runs" / "20261124T040000Z.jsonl").unlink()
    assert sync.journal_path(tmp_path, "last") == third
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
    tmp_path: Path, first: dict[str, Any], now: Account | None, is_found: bool
) -> None:
    google = FakeGoogle(users_get=now or GONE)
    entries = [entry(SUSPEND, **first), entry(MOVE, account="9", dcid=9)]
    found = sync.account_of(run_in(tmp_path, google), entries)
    assert (found, google.paths("users.get")) == (now if is_found else None, [f"users/{first['account'] or MAYA_AT}"])


@pytest.mark.parametrize(
    ("change", "is_back"),
    [
        (Change("reactivate", {"suspended": True}, {"suspended": False}), True),
        (Change("suspend", {"suspended": False}, {"suspended": True}), False),
        (update({"fields": {"Sync.Group": "4"}}, {"fields": {"Sync.Group": "9"}}), True),
        (update({"fields": {"Sync.Group": "9"}}, {"fields": {"Sync.Group": "4"}}), False),
        (update({"fields": {"Gone.Field": "x"}}, {"fields": {"Gone.Field": ""}}), False),
    ],
)
def test_what_an_undo_that_was_cut_off_has_made_is_put_back(change: Change, is_back: bool) -> None:
    assert sync.is_put_back(account(), change) is is_back


@pytest.mark.parametrize(("error", "advice"), [(ILL, "run the same undo again"), (REFUSED, "do it by hand")])
def test_a_group_that_cannot_be_joined_is_told_with_what_to_do(tmp_path: Path, error: Exception, advice: str) -> None:
    run = run_in(tmp_path, FakeGoogle(members_get=error))
    plan = Plan(staff(), account(), account(), (), (), "the journal")
    sync.undo_listed(run, plan, account(), Change("join group", {}, GROUP))
    (note,) = run.failures
    assert note.reason.startswith("join group math@d118.org (owner): Google answered ")
    assert note.reason.endswith(f": {advice}")


@pytest.mark.parametrize("dcid", [0, 7, None])
def test_an_account_that_cannot_be_looked_up_is_named_as_the_run_last_knew_it(tmp_path: Path, dcid: int | None) -> None:
    entries = [entry(SUSPEND, email="a@d118.org"), entry(SUSPEND, email="b@d118.org"), entry(MOVE, dcid=dcid)]
    found = sync.looked_up_undo_plan(run_in(tmp_path, FakeGoogle(users_get=REFUSED)), entries, district())
    assert (found.person.email, found.person.dcid) == (MAYA_AT, sync.NO_SCHOOL if dcid is None else dcid)
    assert [note.rule for note in found.notes] == ["not looked up"]
    assert not found.changes


def test_a_creation_is_one_insert_that_asks_for_a_new_password_and_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    google = FakeGoogle(users_insert={"id": "77"})
    run = run_in(tmp_path, google)
    caplog.set_level("INFO", "staffsync")
    planned = sync.plan_person(staff(), district([staff()]))
    sync.apply_plan(run, planned, district([staff()]))
    (body,) = google.bodies("users.insert")
    assert body["changePasswordAtNextLogin"] is True
    assert body["primaryEmail"] == MAYA_AT
    assert 8 <= len(body["password"]) <= 100
    assert [record.message for record in caplog.records] == [
        f"create     {staff()}: Maya Patel, {MAYA_AT} in {HIGH_OU}"
    ]
    assert [(line["state"], line["account"]) for line in journal_of(run)] == [("intended", ""), ("done", "77")]


# Stories.


def add_outdated(bed: Bed, dcid: int, last: str) -> None:
    email = f"kim.{last}@d118.org".lower()
    bed.powerschool.add_person(dcid, "Kim", last, email, schools={5: 1}, group=9, teacher_number=str(dcid))
    matching_account(bed, dcid, fields=matching_fields(bed, dcid, Staff_Group=4))


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


def add_undoable(bed: Bed) -> str:
    """A closed account, and the journal of the run, a thousand hours ago, that closed it and filled in a field."""
    fields = {"Synchronization_Data": {"DCID": 7, "Staff_Group": 9}}
    maya = {"account": bed.google.add_user(MAYA_AT, "Maya", "Patel", ou=CLOSED, suspended=True, fields=fields)}
    name = f"{datetime.now(timezone.utc) - timedelta(hours=1000):%Y%m%dT%H%M%SZ}"
    empty, filled = ({"fields": {"Synchronization_Data.Staff_Group": group}} for group in ("", "9"))
    write_journal(
        bed.folder,
        name,
        {**maya, "state": "done", "before": {"suspended": False}, "after": {"suspended": True}},
        {**maya, "change": 2, "state": "done", "kind": "update", "before": empty, "after": filled},
    )
    return name


def test_an_undo_says_what_it_undoes_and_what_comes_next(bed: Bed) -> None:
    name = add_undoable(bed)
    bed.settings["LIMITS"] = {"clear": 0}  # emptying what was empty before is never held
    bed.google.fail("users.get", 403, "forbidden", "No")
    refused = bed.run("--undo", "last", "--yes")
    assert (refused.exit_code, refused.writes) == (1, [])
    assert any("not put back, run the same undo again: Google answered 403" in text for text in refused.lines("ERROR"))
    dry = bed.run("--undo", "last", "--dry-run")
    assert (dry.exit_code, dry.writes) == (0, []), "there is nothing to agree to"
    done = bed.run("--undo", "last", "--yes")
    assert done.exit_code == 0, done.output
    emptied = {"customSchemas": {"Synchronization_Data": {"Staff_Group": None}}}
    assert [write.body for write in done.writes] == [emptied, {"suspended": False}]
    for outcome in (dry, done):
        told = outcome.lines("INFO")
        assert f"Undo of run {name}, 1000.0 hours ago, which did: suspend 1, update 1" in told
        assert [text.split()[1] for text in told if text.startswith("Would ")] == ["update", "reactivate"]
        assert told[-1].startswith("The next run will do the same again")


def test_an_undo_shows_what_it_does_asks_and_takes_no_for_an_answer(bed: Bed) -> None:
    add_undoable(bed)
    for typed, exit_code, writes in (("no", 2, 0), (" YES ", 0, 2)):
        wrapper = bed.folder / "wrapper.py"
        wrapper.write_text(
            "import io, runpy, sys\n"
            f"sys.stdin = io.StringIO({typed!r})\n"
            "sys.stdin.isatty = sys.stdout.isatty = lambda: True\n"
            f"runpy.run_path({str(PROJECT / 'sync.py')!r}, run_name='__main__')\n"
        )
        bed.script = wrapper
        outcome = bed.run("--undo", "last")
        assert (outcome.exit_code, len(outcome.writes)) == (exit_code, writes), outcome.output
        shown, question, rest = outcome.output.partition("Put this back? Type yes: ")
        assert "Would reactivate Maya Patel" in shown
        assert "Would suspend" not in shown
        assert question
        assert ("not agreed" in rest) is (not writes)


class Typed(io.StringIO):
    """A terminal at which this is typed."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("typed", "is_agreed"), [("yes", True), (" YES ", True), ("Y", True), ("no", False), ("", False), ("yes!", False)]
)
def test_only_yes_is_yes(monkeypatch: pytest.MonkeyPatch, typed: str, is_agreed: bool) -> None:
    screen = Typed()
    monkeypatch.setattr("sys.stdin", Typed(f"{typed}\n"))
    monkeypatch.setattr("sys.stdout", screen)
    assert sync.is_agreed("Sure?") is is_agreed
    assert screen.getvalue() == "Sure? Type yes: "


# What one step asks Google, writes and tells.


@pytest.mark.parametrize(
    ("holder", "group", "words"),
    [
        (account(), REFUSED, f"by {MAYA_AT}"),
        (account(email="x@d118.org"), REFUSED, "by x@d118.org as an alias"),
        (GONE, {"id": "g1"}, "by a group"),
        (GONE, GONE, "by something Google does not show (a deleted account?)"),
        (REFUSED, {"id": "g1"}, "by somebody Google does not name at the moment"),
        (GONE, ILL, "by somebody Google does not name at the moment"),
    ],
)
def test_the_holder_of_a_taken_address_is_named(
    tmp_path: Path, holder: Account | Exception, group: Any, words: str
) -> None:
    google = FakeGoogle(users_get=holder, groups_get=group)
    assert sync.holder_words(run_in(tmp_path, google), MAYA_AT) == words


def test_a_step_looks_again_and_writes_nothing_that_is_not_due_or_has_gone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "staffsync")
    google = FakeGoogle(users_get=[account(suspended=True, org_unit=CLOSED), GONE])
    run, both = run_in(tmp_path, google), district([leaver()], [account()])
    plan = sync.plan_account(leaver(), account(), both)
    sync.apply_step(run, plan, account(), both, ("suspend",))
    assert caplog.messages[1:] == [f"{leaver()}: suspend is not due any more"]
    with pytest.raises(GoogleError) as caught:
        sync.apply_step(run, plan, account(), both, ("suspend",))
    assert caught.value.status == 404
    assert google.sent == [("users.get", "users/1", None)] * 2


@pytest.mark.parametrize(
    ("status", "lookups", "raises"),
    [
        (404, [MEMBER, MEMBER], False),
        (412, [MEMBER, MEMBER, GONE], False),
        (412, [MEMBER, MEMBER, MEMBER], True),
        (403, [MEMBER], True),
        (405, [MEMBER], True),
    ],
)
def test_a_group_that_the_account_has_left_meanwhile_is_no_failure(
    tmp_path: Path, status: int, lookups: list[Any], raises: bool
) -> None:
    google = FakeGoogle(members_get=list(lookups), members_delete=http_error(status, "x", "y"))
    run, group = run_in(tmp_path, google), {"id": "g1", "email": "math@d118.org"}
    if raises:
        with pytest.raises(GoogleError):
            sync.leave_group(run, staff(), account(), group)
    else:
        sync.leave_group(run, staff(), account(), group)
    assert google.paths("members.get") == ["groups/g1/members/1"] * len(lookups)


@pytest.mark.parametrize(
    ("status", "had", "is_holder_named"), [(409, None, True), (403, None, False), (409, account(), False)]
)
def test_a_taken_address_is_told_with_its_holder(
    tmp_path: Path, status: int, had: Account | None, is_holder_named: bool
) -> None:
    run = run_in(tmp_path, FakeGoogle(users_get=account(email="x@d118.org")))
    plan = Plan(staff(), had, account(), (SUSPEND, MOVE))
    words = sync.failure_words(run, plan, GoogleError(status, "x", "y"))
    taken = f"not created: {MAYA_AT} is taken by x@d118.org as an alias"
    assert words.startswith(taken if is_holder_named else "suspend and move to suspended failed, at least in part: ")


@pytest.mark.parametrize(
    ("status", "kinds", "words"),
    [
        (409, ("rename", "name"), f"{MAYA_AT} is taken by x@d118.org as an alias"),
        (400, ("rename", "name"), "in Google's words"),
        (410, ("rename", "name"), "in Google's words"),
        (409, ("link", "move", "update"), "in Google's words"),
    ],
)
def test_only_a_rename_to_a_taken_address_is_told_with_its_holder(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, status: int, kinds: tuple[str, ...], words: str
) -> None:
    had = account(email="old@d118.org", fields={**MAYA_FIELDS, "Sync.Group": "4"})
    # Looked at before the write, after it if Google may have carried it out, and the holder.
    lookups = [had, had, account(id="2", email="x@d118.org")]
    refusal = http_error(status, "duplicate", "in Google's words")
    run, both = run_in(tmp_path, FakeGoogle(users_get=lookups, users_update=refusal)), district([staff()], [had])
    caplog.set_level("INFO", "staffsync")
    plan = sync.plan_account(staff(), had, both)
    assert plan.kinds == {"rename", "update"}
    with pytest.raises(GoogleError) as caught:
        sync.apply_step(run, plan, had, both, kinds)
    assert (caught.value.status, caught.value.reason, caught.value.message) == (status, "duplicate", words)
    assert not caplog.messages, "what was not made is not told as made"


@pytest.mark.parametrize("past", ["20261120T040000Z", ""])
def test_a_change_that_was_made_is_told_and_after_a_reactivation_alone_the_run_that_has_the_groups(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, past: str
) -> None:
    had = account(suspended=True, org_unit=CLOSED, fields={**MAYA_FIELDS, "Sync.Group": "4"})
    google = FakeGoogle(users_get=had, users_update={"id": "1"})
    both, run = district([staff()], [had]), run_in(tmp_path, google)
    if past:
        write_journal(tmp_path, past, {"state": "done", "kind": "leave group"})
    caplog.set_level("INFO", "staffsync")
    plan = sync.plan_account(staff(), had, both)
    told = {}
    for kinds in (("reactivate",), ("link", "move", "update")):
        caplog.clear()
        sync.apply_step(run, plan, had, both, kinds)
        told[kinds[0]] = list(caplog.messages)
    moved = {"orgUnitPath": HIGH_OU, "customSchemas": {"Sync": {"Group": 9}}}
    assert google.bodies("users.update") == [{"suspended": False}, moved]
    hint = f"{staff()} was in groups before: python sync.py --undo {past} --only dcid:7"
    assert told == {
        "reactivate": [f"reactivate {staff()}", *([hint] if past else [])],
        "link": [f"move       {staff()}: {CLOSED} -> {HIGH_OU}", f"update     {staff()}: Sync.Group 4 -> 9"],
    }


def test_of_several_refused_steps_the_first_is_told_after_all_were_tried(tmp_path: Path) -> None:
    had = account(email="old@d118.org", fields={**MAYA_FIELDS, "Sync.Group": "4"})
    refusals = [http_error(400, "invalid", word) for word in ("first", "second")]
    google, both = FakeGoogle(users_get=had, users_update=refusals), district([staff()], [had])
    with pytest.raises(GoogleError, match="first"):
        sync.apply_plan(run_in(tmp_path, google), sync.plan_account(staff(), had, both), both)
    tried = [{"customSchemas": {"Sync": {"Group": 9}}}, {"primaryEmail": MAYA_AT}]
    assert google.bodies("users.update") == tried


def leave_groups_of(run: Run, now: Account | None, answers: Mapping[str, Any]) -> FakeGoogle:
    """Take a leaver out of these groups, each with what Google says to that; the listing's first page is empty."""
    pages = [{"nextPageToken": "2"}, {"groups": [{"id": name, "email": f"{name}@d118.org"} for name in answers]}]
    google = FakeGoogle(
        users_get=now or GONE, groups_list=pages, members_get=MEMBER, members_delete=list(answers.values())
    )
    run.api, both = google.api, district([leaver()], [account()])
    plan = sync.plan_account(leaver(), account(), both)
    try:
        sync.leave_groups(run, plan, account(), both, ("move to suspended",))
    finally:
        left = google.paths("members.delete")
        assert left in ([f"groups/{name}/members/1" for name in answers], []), "every group once, or none"
    return google


def test_a_group_that_refuses_for_good_is_told_and_forgotten_and_one_that_may_heal_is_left_for_the_next_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = run_in(tmp_path)
    assert leave_groups_of(run, account(), {"a": REFUSED, "b": ""}).paths("members.delete")
    stays = f"{MAYA_AT} stays in the group a@d118.org, take it out by hand: Google answered 403 forbidden: No"
    assert [(note.level, note.reason, note.who) for note in run.failures] == [("ERROR", stays, str(leaver()))]
    assert [text for text in caplog.messages if "Not done" in text] == [f"Not done: {leaver()}: {stays}"]

    with pytest.raises(GoogleError) as caught:
        leave_groups_of(run, account(), {"b": ILL, "a": REFUSED, "c": BROKEN, "d": ""})
    words = f"{MAYA_AT} could not leave all its groups, the next run tries again: "
    first = (503, "backendError", words + "Google answered 503 backendError: ill")
    assert (caught.value.status, caught.value.reason, caught.value.message) == first
    assert [note.reason for note in run.failures] == [stays, stays], "the other two are for the next run"


@pytest.mark.parametrize("now", [None, account(suspended=True, org_unit=CLOSED)])
def test_nobody_is_taken_out_of_groups_whose_account_is_gone_or_need_not_be_closed_any_more(
    tmp_path: Path, now: Account | None
) -> None:
    assert leave_groups_of(run_in(tmp_path), now, {"a": ""}).sent == [("users.get", "users/1", None)]


@pytest.mark.parametrize(
    ("role", "owners", "told"),
    [
        ("MEMBER", {}, []),
        ("MANAGER", {}, []),
        ("OWNER", {"members": [{"id": "2"}]}, []),
        ("OWNER", {}, ["The group math@d118.org has lost its last owner, {}: give it another one"]),
        (
            "OWNER",
            REFUSED,
            ["Whether the group math@d118.org still has an owner is not known: Google answered 403 forbidden: No"],
        ),
    ],
)
def test_a_group_that_was_left_is_told_and_that_it_has_no_owner_now_or_that_nobody_knows(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, role: str, owners: Any, told: list[str]
) -> None:
    google = FakeGoogle(members_get={"role": role}, members_delete="", members_list=owners)
    run = run_in(tmp_path, google)
    caplog.set_level("INFO", "staffsync")
    sync.leave_group(run, leaver(), account(), {"id": "g1", "email": "math@d118.org"})
    made = {"group": "math@d118.org", "group_id": "g1", "role": role}
    assert [(line["kind"], line["before"]) for line in journal_of(run)] == [("leave group", made)] * 2
    assert google.paths("members.list") == ["groups/g1/members"] * (role == "OWNER")
    assert [(record.levelno, record.message) for record in caplog.records] == [
        (logging.INFO, f"left group {leaver()}: math@d118.org ({role.lower()})"),
        *((logging.WARNING, text.format(leaver())) for text in told),
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


def undo_steps(folder: Path, person: sync.Staff, had: Account, *found: Account | Exception) -> list[tuple[str, Any]]:
    """The steps that an undo of a closing makes, each with its DCID in the journal; looked at again before each."""
    google = FakeGoogle(users_get=list(found), users_update={"id": "1"}, members_get=GONE, members_insert={"id": "1"})
    changes = (
        Change("reactivate", {"suspended": True}, {"suspended": False}),
        Change("move", {"org_unit": CLOSED}, {"org_unit": HIGH_OU}),
        Change("join group", {}, GROUP),
    )
    run, plan = run_in(folder, google), Plan(person, had, had, changes, (), "the journal")
    sync.undo_account(run, plan, district((), [had]))
    assert len(google.paths("users.get")) == len(found), "nothing is looked up for a step that has nothing to do"
    return [(line["kind"], line["dcid"]) for line in journal_of(run) if line["state"] == "done"]


@pytest.mark.parametrize(
    ("planned", "now", "kept"), [(7, None, 7), (7, 8, 7), (sync.NO_SCHOOL, 8, 8), (sync.NO_SCHOOL, None, None)]
)
def test_an_undo_takes_its_steps_in_order_and_names_the_person_in_its_journal(
    tmp_path: Path, planned: int, now: int | None, kept: int | None
) -> None:
    closed = account(suspended=True, org_unit=CLOSED, dcid=now)
    written = undo_steps(tmp_path, staff(dcid=planned), closed, closed, closed, closed)
    assert written == [("move", kept), ("join group", now), ("reactivate", kept)]


def test_an_undo_writes_nothing_to_an_account_that_has_gone_meanwhile(tmp_path: Path) -> None:
    closed = account(suspended=True, org_unit=CLOSED)
    assert undo_steps(tmp_path, staff(), closed, GONE, GONE, GONE) == []
    assert undo_steps(tmp_path, staff(), closed, closed, GONE, GONE) == [("move", 7)]


@pytest.mark.parametrize(
    ("looked_up", "is_done"),
    [(account(), True), (account(aliases=("old@d118.org",)), False), (None, False)],
)
def test_an_alias_whose_removal_was_not_answered_is_looked_up(
    tmp_path: Path, looked_up: Account | None, is_done: bool
) -> None:
    now = account(aliases=("old@d118.org", "m@d118.org"))
    google = FakeGoogle(users_aliases_delete=ILL, users_get=looked_up or GONE)
    run, change = run_in(tmp_path, google), Change("remove alias", {"alias": "old@d118.org"}, {})
    plan = Plan(staff(), now, now, (change,), (), "the journal")
    if is_done:
        sync.undo_one(run, plan, now, change)
    else:
        with pytest.raises(GoogleError, match="ill"):
            sync.undo_one(run, plan, now, change)
    assert google.paths("users.aliases.delete") == ["users/1/aliases/old@d118.org"]
    assert [line["state"] for line in journal_of(run)] == ["intended", "done" if is_done else "failed"]
