"""Faults of Google: for each method the sync calls and each way a request can go wrong, what is tried again,
what is told, what ends the run, and that no fault on one person stops another.

Faults that can be told apart in one run share one: each person of a district meets a fault of his own.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import httplib2
import pytest
from bed import Bed, Outcome, matching_account, shipped_settings
from google_server import WRITES, Request
from googleapiclient.discovery import build
from stories import (
    FILTER_PAGE,
    HIGH_OU,
    MAYA,
    MIDDLE,
    NOOR,
    PEOPLE,
    SUBSTITUTE_OU,
    SUSPENDED_OU,
    add_known,
    colleagues,
    leaver,
    lines_about,
    outdated,
    person,
)
from test_bad_input import check_refusal

import sync

HTML = b"<html><head><title>502</title></head><body><h1>Bad Gateway</h1></body></html>"
MANY = dict.fromkeys(("create", "link", "suspend", "move to suspended"), 100)


@dataclass(frozen=True)
class Fault:
    """How `google.fail` is told of one way to go wrong; `sent` is how often one request then reaches Google."""

    status: int = 0
    reason: str = ""
    message: str = "Asked for by the test"
    sent: int = 1
    more: Mapping[str, Any] = field(default_factory=dict)


# What can heal: design rules of retrying. A broken connection takes two requests, as httplib2 sends the first
# again unseen, and so does a refused token, which the Google client renews.
HEALS = {
    "429": Fault(429, "rateLimitExceeded"),
    "500": Fault(500, "backendError"),
    "502 in HTML": Fault(502, more={"body": HTML}),
    "503": Fault(503, "backendError"),
    "quota": Fault(403, "quotaExceeded"),
    "user rate": Fault(403, "userRateLimitExceeded"),
    "conflict": Fault(409, "conflict"),
    "creation not complete": Fault(412, "conditionNotMet", "User creation is not complete."),
    "address being changed": Fault(412, "conditionNotMet", "Concurrent email update."),
    "connection broken": Fault(sent=2, more={"close": True}),
}
EMPTY = {"empty body": Fault(200, more={"body": b""})}
REFUSES = {
    "400": Fault(400, "invalid"),
    "forbidden": Fault(403, "forbidden"),
    "duplicate": Fault(409, "duplicate"),
    "412": Fault(412, "conditionNotMet"),
    "adminCannotUnsuspend": Fault(412, "adminCannotUnsuspend"),
}
GONE = {"404": Fault(404, "notFound")}
ENDS = {
    "401": (Fault(401, "authError"), "--authorize"),
    "insufficientPermissions": (Fault(403, "insufficientPermissions"), "--authorize"),
    "accessNotConfigured": (Fault(403, "accessNotConfigured"), "enable the Admin SDK API"),
    "domainCannotUseApis": (Fault(403, "domainCannotUseApis"), "API controls"),
}
READING = ("orgunits.list", "schemas.list", "users.list")
METHODS = (
    *READING, "users.get", "users.insert", "users.update", "groups.list", "groups.get", "members.get",
    "members.delete", "members.list",
)  # fmt: skip


def fail(bed: Bed, method: str, fault: Fault, **otherwise: Any) -> None:
    bed.google.fail(method, fault.status, fault.reason, fault.message, **{**fault.more, **otherwise})


def address_of(bed: Bed, dcid: int) -> str:
    return str(bed.powerschool.person(dcid)["email_addr"])


def add_person(bed: Bed, dcid: int) -> str:
    person(bed, dcid)
    return address_of(bed, dcid)


def add_outdated(bed: Bed, dcid: int) -> str:
    outdated(bed, dcid)
    return address_of(bed, dcid)


def add_leaver(bed: Bed, dcid: int) -> str:
    """Somebody who left and owns a group."""
    leaver(bed, dcid)
    email = address_of(bed, dcid)
    bed.google.add_group(f"group{dcid}@d118.org", members={email: "OWNER"})
    return email


def is_updated(bed: Bed, email: str) -> bool:
    return bool(bed.google.user(email)["customSchemas"]["Synchronization_Data"]["Staff_Group"] == "9")


def is_created(bed: Bed, email: str) -> bool:
    return email in bed.google.addresses


def is_closed(bed: Bed, email: str) -> bool:
    user = bed.google.user(email)
    return bool(user["suspended"]) and user["orgUnitPath"] == SUSPENDED_OU


def key_is(name: str, value: str) -> Callable[[Request], bool]:
    return lambda request: request.params.get(name) == value


def district_of_three(bed: Bed) -> tuple[str, str, str]:
    """One to create, one to update, one who left as the owner of a group: together they call every method."""
    colleagues(bed, 1)
    return add_person(bed, 1), add_outdated(bed, 2), add_leaver(bed, 3)


def begin_again(bed: Bed, snapshot: dict[str, Any]) -> None:
    """Google as it was, on a good day, and no run before: a run waits for the second after that of the last one."""
    bed.google.behave()
    bed.google.restore(snapshot)
    shutil.rmtree(bed.runs, ignore_errors=True)


def calls(outcome: Outcome, method: str) -> int:
    return sum(request.method == method for request in outcome.requests)


def effects(outcome: Outcome) -> list[str]:
    """The writes that took effect: an empty answer with status 200 looks like one and is none."""
    return [request.method for request in outcome.requests if request.applied and request.method in WRITES]


# What heals is tried again until it does.


@pytest.mark.parametrize("method", METHODS)
def test_every_fault_that_can_heal_is_tried_again_and_leaves_no_trace(bed: Bed, method: str) -> None:
    bed.settings |= {"RETRY_WAIT_SECONDS": 0.001, "RETRY_SECONDS": 60}
    people = district_of_three(bed)
    snapshot = bed.google.snapshot()
    usual = bed.run("--verbose")
    assert usual.exit_code == 0, usual.output
    begin_again(bed, snapshot)
    # A removal has no body in its answer, so an empty one with status 200 is a good one there.
    faults = [ENDS["401"][0], *HEALS.values(), *(EMPTY.values() if method != "members.delete" else ())]
    for fault in faults:
        fail(bed, method, fault, times=fault.sent)
    outcome = bed.run("--verbose")
    assert outcome.exit_code == 0, outcome.output
    assert outcome.lines("ERROR") == []
    assert effects(outcome) == effects(usual)
    assert [line["state"] for line in outcome.journal] == [line["state"] for line in usual.journal]
    extra = sum(fault.sent for fault in faults)
    if method == "users.insert":
        assert calls(outcome, method) == calls(usual, method) + extra
    assert calls(outcome, method) >= calls(usual, method) + extra
    created, updated, left = people
    assert is_created(bed, created)
    assert is_updated(bed, updated)
    assert is_closed(bed, left)


@pytest.mark.parametrize("method", METHODS)
def test_a_request_that_is_never_answered_is_given_up_and_tried_again(bed: Bed, method: str) -> None:
    bed.settings |= {"TIMEOUT_SECONDS": 1, "RETRY_SECONDS": 30}
    created, updated, left = district_of_three(bed)
    bed.google.fail(method, hang=True)
    outcome = bed.run("--verbose")
    assert outcome.exit_code == 0, outcome.output
    assert {line["state"] for line in outcome.journal} == {"intended", "done"}
    assert is_created(bed, created)
    assert is_updated(bed, updated)
    assert is_closed(bed, left)


# What everything rests on ends the run, and nothing is written.


@pytest.mark.parametrize("method", READING)
def test_a_listing_that_fails_for_good_ends_the_run_with_nothing_written(bed: Bed, method: str) -> None:
    bed.settings["RETRY_SECONDS"] = 0.05
    district_of_three(bed)
    before = bed.google.snapshot()
    for name, fault in {**HEALS, **EMPTY, **REFUSES, **GONE}.items():
        bed.google.behave()
        fail(bed, method, fault, times=None)
        outcome = bed.run("--verbose")
        assert outcome.exit_code == 2, f"{name}: {outcome.output}"
        assert bed.google.attempted_writes == [], name
        assert outcome.journal == [], name
        assert outcome.output.splitlines()[-1].endswith("Nothing was written"), name
        assert "ERROR Google, " in outcome.output.splitlines()[-1], name
        if name in REFUSES or name in GONE:
            assert calls(outcome, method) == 1, f"{name} was tried again"
    assert bed.google.snapshot() == before


def test_a_listing_that_is_never_answered_ends_the_run_with_nothing_written(bed: Bed) -> None:
    bed.settings |= {"TIMEOUT_SECONDS": 1, "RETRY_SECONDS": 0.5}
    district_of_three(bed)
    bed.google.fail("users.list", hang=True, times=None)
    outcome = bed.run("--verbose")
    assert outcome.exit_code == 2
    assert bed.google.attempted_writes == []
    assert outcome.output.splitlines()[-1].endswith("Nothing was written")


@pytest.mark.parametrize("method", METHODS)
def test_a_refusal_that_is_meant_for_every_request_ends_the_run_at_once(bed: Bed, method: str) -> None:
    district_of_three(bed)
    snapshot = bed.google.snapshot()
    for name, (fault, remedy) in ENDS.items():
        begin_again(bed, snapshot)
        fail(bed, method, fault, times=None)
        outcome = bed.run("--verbose")
        last = outcome.output.splitlines()[-1]
        assert outcome.exit_code == 2, f"{name}: {outcome.output}"
        assert "ERROR Google" in last, name
        assert remedy in last, name
        assert outcome.requests[-1].method == method, f"{name}: the run went on"
        if not bed.google.attempted_writes:
            assert last.endswith("Nothing was written"), name
        else:
            assert "changes were written before that" in last, name


# One person's fault is that person's alone.


@dataclass(frozen=True)
class Target:
    """A method as it is called for one person: who that is, and what such a fault amounts to."""

    method: str
    add: Callable[[Bed, int], str]
    is_done: Callable[[Bed, str], bool]
    matches: Callable[[Bed, str], Callable[[Request], bool]]
    harmless: frozenset[str] = frozenset()
    told_but_done: frozenset[str] = frozenset()


def by_id(name: str) -> Callable[[Bed, str], Callable[[Request], bool]]:
    return lambda bed, email: key_is(name, bed.google.user(email)["id"])


def by_address(name: str) -> Callable[[Bed, str], Callable[[Request], bool]]:
    return lambda _bed, email: key_is(name, email)


def of_new_account(_bed: Bed, email: str) -> Callable[[Request], bool]:
    return lambda request: bool(request.body) and (request.body or {}).get("primaryEmail") == email


def of_dcid_search(bed: Bed, email: str) -> Callable[[Request], bool]:
    dcid = next(key for key, row in bed.powerschool.users.items() if row["email_addr"] == email)
    return lambda request: request.params.get("query", "").endswith(f"={dcid}")


REFUSED = frozenset(REFUSES)
# What Google says of users only, or of nothing but what is being made.
NOT_OF_MEMBERS = frozenset({"creation not complete", "address being changed", "duplicate"})
TARGETS = {
    "an update": Target("users.update", add_outdated, is_updated, by_id("userKey")),
    "the account before an update": Target("users.get", add_outdated, is_updated, by_id("userKey")),
    "a creation": Target("users.insert", add_person, is_created, of_new_account),
    # 404 says here that nobody has the address, and 403 that it is no group of this account.
    "the look-up of an address": Target(
        "users.get", add_person, is_created, by_address("userKey"), harmless=frozenset(GONE)
    ),
    "the look-up of a group": Target(
        "groups.get", add_person, is_created, by_address("groupKey"), harmless=frozenset({"404", "forbidden"})
    ),
    "the look-up of a DCID": Target("users.list", add_person, is_created, of_dcid_search),
    "the groups of a leaver": Target("groups.list", add_leaver, is_closed, by_id("userKey")),
    # A group that refuses for good does not hold back the move; one that may heal does.
    "a membership": Target(
        "members.get", add_leaver, is_closed, by_id("memberKey"),
        harmless=frozenset(GONE), told_but_done=REFUSED,
    ),
    "a removal": Target(
        "members.delete", add_leaver, is_closed, by_id("memberKey"),
        harmless=frozenset(GONE), told_but_done=REFUSED,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TARGETS)
def test_no_fault_on_one_person_stops_another(bed: Bed, name: str) -> None:
    target = TARGETS[name]
    bed.settings |= {"LIMITS": MANY, "LIMIT_SHARE": 1.0, "RETRY_SECONDS": 0.1}
    faults = {**HEALS, **EMPTY, **REFUSES, **GONE}
    if target.method.startswith("members."):
        faults = {key: fault for key, fault in faults.items() if key not in NOT_OF_MEMBERS}
    if target.method == "members.delete":
        del faults["empty body"]
    colleagues(bed, 40)
    met: dict[str, str] = {}
    for dcid, fault_name in enumerate(faults, 100):
        met[fault_name] = email = target.add(bed, dcid)
        fail(bed, target.method, faults[fault_name], times=None, match=target.matches(bed, email))
    spared = [target.add(bed, dcid) for dcid in (1, 200)]

    outcome = bed.run("--verbose")
    assert outcome.exit_code == 1, outcome.output
    for email in spared:
        assert target.is_done(bed, email), email
        assert lines_about(outcome, "ERROR", email) == [], email
    for fault_name, email in met.items():
        is_harmless = fault_name in target.harmless
        is_done = is_harmless or fault_name in target.told_but_done
        assert target.is_done(bed, email) == is_done, f"{fault_name}: {outcome.output}"
        assert len(lines_about(outcome, "ERROR", email)) == (not is_harmless), f"{fault_name}: {outcome.output}"

    # The next run, on a good day, does the rest.
    bed.google.behave()
    healed = bed.run("--verbose")
    assert all(target.is_done(bed, email) for email in [*met.values(), *spared]), healed.output
    # What is tried once only stands until Google shows it done.
    stands = [line for line in healed.lines("ERROR") if not line.startswith("still in a group: ")]
    assert stands == [], healed.output


def test_a_refusal_is_not_tried_again(bed: Bed) -> None:
    colleagues(bed, 1)
    met = {name: add_outdated(bed, dcid) for dcid, name in enumerate({**REFUSES, **GONE}, 100)}
    ids = {name: bed.google.user(email)["id"] for name, email in met.items()}
    for name, fault in {**REFUSES, **GONE}.items():
        fail(bed, "users.update", fault, times=None, match=key_is("userKey", ids[name]))
    outcome = bed.run("--verbose")
    tried = [request.params["userKey"] for request in outcome.requests if request.method == "users.update"]
    assert sorted(tried) == sorted(ids.values())


@pytest.mark.parametrize("fault", ["503", "connection broken", "forbidden", "404"])
def test_not_knowing_whether_a_group_has_an_owner_left_keeps_nobody_open(bed: Bed, fault: str) -> None:
    colleagues(bed, 1)
    left = add_leaver(bed, 3)
    fail(bed, "members.list", {**HEALS, **REFUSES, **GONE}[fault], times=None)
    outcome = bed.run("--verbose")
    assert is_closed(bed, left)
    assert bed.google.members("group3@d118.org") == {}
    assert outcome.exit_code == 0


# A write whose answer was lost is looked up and told truly.

LOST: dict[str, dict[str, Any]] = {
    "once, and sent again unseen": {"close": True, "times": 1},
    "twice": {"close": True, "times": 2},
    "for ever": {"close": True, "times": None},
    "behind a 503 for ever": {"status": 503, "times": None},
    "behind an empty body for ever": {"status": 200, "body": b"", "times": None},
}


@pytest.mark.parametrize("method", ["users.insert", "users.update", "members.delete"])
def test_a_write_whose_answer_is_lost_is_looked_up_and_called_done(bed: Bed, method: str) -> None:
    created, updated, left = district_of_three(bed)
    snapshot = bed.google.snapshot()
    wrong = []
    for name, fault in LOST.items():
        begin_again(bed, snapshot)
        bed.google.fail(method, when="after", **fault)
        outcome = bed.run("--verbose")
        states = {line["state"] for line in outcome.journal}
        if outcome.exit_code != 0 or states != {"intended", "done"}:
            wrong.append(f"{name}: exit code {outcome.exit_code}, {states}\n{outcome.output}")
        assert is_created(bed, created), name
        assert is_updated(bed, updated), name
        assert is_closed(bed, left), name
        assert sum(user["primaryEmail"] == created for user in bed.google.users.values()) == 1
        assert bed.google.members("group3@d118.org") == {}, name
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("method", ["users.insert", "users.update", "members.delete"])
def test_a_write_that_times_out_after_its_effect_is_called_done(bed: Bed, method: str) -> None:
    bed.settings |= {"TIMEOUT_SECONDS": 1, "RETRY_SECONDS": 30}
    created, updated, left = district_of_three(bed)
    bed.google.fail(method, when="after", hang=True)
    outcome = bed.run("--verbose")
    assert {line["state"] for line in outcome.journal} == {"intended", "done"}, outcome.output
    assert outcome.exit_code == 0, outcome.output
    assert is_created(bed, created)
    assert is_updated(bed, updated)
    assert is_closed(bed, left)


def test_a_write_that_cannot_even_be_looked_up_is_called_unknown_and_settled_by_the_next_run(bed: Bed) -> None:
    created, updated, _left = district_of_three(bed)
    bed.google.fail("users.insert", when="after", close=True, times=None)
    bed.google.fail(
        "users.get", times=None,
        match=lambda request: request.params["userKey"] == created and is_created(bed, created),
    )  # fmt: skip
    outcome = bed.run("--verbose")
    assert outcome.exit_code == 1
    assert len(lines_about(outcome, "ERROR", created)) == 1
    assert [line["state"] for line in outcome.journal if line["kind"] == "create"] == ["intended", "unknown"]
    assert is_updated(bed, updated)
    bed.google.behave()
    second = bed.run("--verbose")
    assert second.exit_code == 0
    assert second.writes == []


def test_a_rename_answered_with_a_conflict_after_its_effect_is_called_done(bed: Bed) -> None:
    colleagues(bed, 1)
    email = add_person(bed, 1)
    matching_account(bed, 1, email="old.name@d118.org")
    bed.google.fail("users.update", 409, "duplicate", "Entity already exists.", when="after")
    outcome = bed.run("--verbose")
    assert outcome.exit_code == 0, outcome.output
    assert [(line["kind"], line["state"]) for line in outcome.journal] == [
        ("rename", "intended"), ("rename", "done"),
    ]  # fmt: skip
    assert bed.google.user(email)["aliases"] == ["old.name@d118.org"]


def test_no_request_with_an_empty_key_is_sent() -> None:
    """Google would take it for a request about everything of its kind."""
    api, http = build("admin", "directory_v1", http=httplib2.Http()), "http://127.0.0.1:9"
    run = sync.Run(Path(), datetime.now(timezone.utc))
    whole = api.users().get(userKey="1")
    for request in (
        api.users().get(userKey=""), api.users().update(userKey="", body={}), api.groups().list(userKey=""),
        api.members().delete(groupKey="", memberKey="1"), api.members().delete(groupKey="1", memberKey=""),
        api.users().aliases().delete(userKey="1", alias=""),
    ):  # fmt: skip
        request.uri = request.uri.replace("https://admin.googleapis.com", http)
        with pytest.raises(ValueError, match="empty key"):
            sync.send(run, request)
    whole.uri = whole.uri.replace("https://admin.googleapis.com", http)
    with pytest.raises(OSError, match="refused"):
        sync.send(run, whole)
    assert len(run.queries_sent) == 1


def waits_of(times: int, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between the tries of a request that fails this often; nobody waits for real."""
    waits: list[float] = []
    answers: list[Any] = [ConnectionResetError()] * times + ["done"]

    def request() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr("time.sleep", waits.append)
    settings = sync.settings_of({name: value for name, value in shipped_settings().items() if name.isupper()})
    assert sync.retrying(sync.Run(Path(), datetime.now(timezone.utc), settings=settings), request) == "done"
    return waits


def test_waits_are_random_grow_and_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    several = [waits_of(8, monkeypatch) for _ in range(40)]
    assert len({waits[0] for waits in several}) > 1, "jitter: many districts must not come back at the same moment"
    means = [sum(waits[i] for waits in several) / len(several) for i in range(8)]
    assert means[0] < means[2] < means[4] < means[6]
    assert all(0 <= wait <= 60 for waits in several for wait in waits)


# What ends a run that is writing.


def test_ten_identical_failures_end_the_kind(bed: Bed) -> None:
    people = [add_outdated(bed, dcid) for dcid in range(100, 112)]
    bed.powerschool.person(111)["email_addr"] = "waits.too@d118.org"
    bed.google.fail("users.update", 400, "invalid", times=None)
    outcome = bed.run("--verbose")
    assert outcome.exit_code == 1
    assert calls(outcome, "users.update") == 10, "and of nobody who was not tried another change is"
    assert any("update: Google refused it (400 invalid)" in line for line in outcome.lines("WARN"))
    (line,) = [line for line in outcome.lines("ERROR") if line.startswith("refused by Google: update: ")]
    assert "Google refused it to others, so 2 people more were not tried" in line
    assert [bool(lines_about(outcome, "ERROR", email)) for email in people] == [True] * 10 + [False] * 2


def test_groups_that_cannot_be_left_tonight_keep_nobody_open_who_lies_among_the_closed(bed: Bed) -> None:
    bed.settings |= {"LIMITS": MANY, "LIMIT_SHARE": 1.0, "RETRY_SECONDS": 0.1, "WRITES_AT_ONCE": 1}
    colleagues(bed)
    waiting = [add_leaver(bed, dcid) for dcid in range(100, 110)]
    leaver(bed, 200, ou=SUSPENDED_OU)
    bed.google.fail("groups.list", 503, times=None)
    outcome = bed.run()
    assert any(line.startswith("refused by Google: leave group: ") for line in outcome.lines("ERROR")), outcome.output
    assert [is_closed(bed, email) for email in waiting] == [False] * 10
    assert is_closed(bed, address_of(bed, 200))


def test_nine_identical_failures_and_a_success_do_not_end_the_run(bed: Bed) -> None:
    people = [add_outdated(bed, dcid) for dcid in range(100, 120)]
    lucky = people[9]
    lucky_id = bed.google.user(lucky)["id"]
    bed.google.fail(
        "users.update", 400, "invalid", times=None, match=lambda request: request.params["userKey"] != lucky_id
    )
    bed.powerschool.remove(119)
    outcome = bed.run("--verbose")
    assert outcome.exit_code == 1
    assert calls(outcome, "users.update") == 19
    assert is_updated(bed, lucky)


def test_a_full_licence_pool_stops_further_creations_and_nothing_else(bed: Bed) -> None:
    colleagues(bed, 1)
    updated, left = add_outdated(bed, 60), add_leaver(bed, 61)
    created = [add_person(bed, dcid) for dcid in (1, 2, 3, 4)]
    bed.google.licences = len(bed.google.users) + 1
    outcome = bed.run("--verbose")
    assert outcome.exit_code == 1
    assert [is_created(bed, email) for email in created] == [True, False, False, False]
    assert calls(outcome, "users.insert") == 2
    assert [len(lines_about(outcome, "ERROR", email)) for email in created] == [0, 1, 0, 0]
    told = "refused by Google: create: Google refused it to others, so 2 people more were not tried"
    assert [line for line in outcome.lines("ERROR") if line.startswith(told)]
    assert is_updated(bed, updated)
    assert is_closed(bed, left)


def test_a_refused_reactivation_leaves_the_rest_of_that_person_for_later(bed: Bed) -> None:
    colleagues(bed, 1)
    email, updated = add_person(bed, 1), add_outdated(bed, 2)
    matching_account(bed, 1, ou=SUSPENDED_OU, suspended=True)
    bed.google.fail(
        "users.update", 412, "adminCannotUnsuspend", match=lambda request: "suspended" in (request.body or {})
    )
    outcome = bed.run("--verbose")
    assert outcome.exit_code == 1
    assert bed.google.user(email)["orgUnitPath"] == SUSPENDED_OU
    assert bed.google.user(email)["suspended"] is True
    assert len(lines_about(outcome, "ERROR", email)) == 1
    assert is_updated(bed, updated)


def test_a_run_that_takes_too_long_stops_and_says_how_many_are_left(bed: Bed) -> None:
    people = district_of_three(bed)
    bed.settings["RUN_MINUTES"] = 0.0001
    outcome = bed.run("--verbose")
    assert outcome.exit_code == 2
    assert f"with {len(people)} people left for the next run" in outcome.output.splitlines()[-1]
    assert bed.google.attempted_writes == []


def test_a_run_does_not_take_longer_than_it_may_because_google_is_ill(bed: Bed) -> None:
    bed.settings |= {"RUN_MINUTES": 0.0001, "RETRY_SECONDS": 1000}
    district_of_three(bed)
    bed.google.fail("users.list", 503, times=None)
    outcome = bed.run(timeout=60)
    assert outcome.exit_code == 2
    assert bed.google.attempted_writes == []


def test_a_filters_page_in_place_of_an_account_is_asked_for_again(one_in_step: Bed) -> None:
    bed = one_in_step
    add_known(bed, 7, ou=SUBSTITUTE_OU)
    bed.google.fail("users.get", 200, body=FILTER_PAGE)
    outcome = bed.run()
    assert (outcome.exit_code, [write.method for write in outcome.writes]) == (0, ["users.update"]), outcome.output
    assert sum(request.method == "users.get" for request in outcome.requests) == 2
    assert bed.google.user(MAYA)["orgUnitPath"] == HIGH_OU


def test_a_token_that_is_none_and_a_proxy_without_a_port_are_one_sentence(one_in_step: Bed) -> None:
    bed = one_in_step
    add_known(bed, 7, ou=SUBSTITUTE_OU)
    for body in (FILTER_PAGE, b"<html>Blocked</html>", b"", b"[]"):
        bed.google.fail("token", 200, body=body, times=100)
        check_refusal(bed, bed.run(), "Google cannot be reached")
        bed.google.behave()
    faulty = {"HTTPS_PROXY": "http://proxy:80a", "https_proxy": "http://proxy:80a"}
    check_refusal(bed, bed.run(env=faulty), "Google cannot be reached", "HTTPS_PROXY")
    check = bed.run("--check", env=faulty)
    assert check.exit_code == 2
    assert "FAULT    Google cannot be reached -> check the network" in check.output
    assert check.output.splitlines()[-1].endswith("--check  again"), "it goes on to the last fact"


def test_an_answer_that_holds_no_account_is_told_and_not_a_bug(one_in_step: Bed) -> None:
    bed = one_in_step
    for dcid in (7, 8):
        add_known(bed, dcid)
        bed.powerschool.person(dcid)["homeschoolid"] = MIDDLE
    bed.google.fail("users.list", 200, body=b'{"users": [{}]}', times=1)
    check_refusal(bed, bed.run(), "listing accounts", "an account without id or address", "run again later")

    bed.google.fail("users.get", 200, body=b"{}", times=1)
    outcome = bed.run()
    assert outcome.exit_code == 1
    assert len(outcome.writes) == 1, "the other one is moved"
    assert any("an account without id or address: the next run tries again" in text for text in outcome.lines("ERROR"))


def test_a_wrong_file_for_a_filters_certificate_is_one_sentence(one_in_step: Bed) -> None:
    bed = one_in_step
    outcome = bed.run(env={"HTTPLIB2_CA_CERTS": str(bed.folder / "nowhere.pem")})
    assert outcome.exit_code == 2
    (line,) = outcome.output.splitlines()
    assert line.startswith("ERROR ")
    assert "HTTPLIB2_CA_CERTS" in line
    assert "Nothing was read or written" in line
    assert not outcome.requests


def test_an_account_made_with_an_empty_answer_is_made(one_in_step: Bed) -> None:
    bed = one_in_step
    add_known(bed, 7)
    bed.powerschool.add_person(8, *PEOPLE[8], schools={5: 1})
    bed.google.fail("users.insert", 200, body=b"{}", when="after")
    outcome = bed.run()
    assert outcome.exit_code == 0, outcome.output
    assert [line["state"] for line in outcome.journal] == ["intended", "done"]
    assert bed.google.user(NOOR)["orgUnitPath"] == HIGH_OU
