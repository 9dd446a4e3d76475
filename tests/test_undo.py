"""Undoing a run: Google is as before, and what has moved on since is left and named."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import district
import pytest
from bed import Bed, standard_bed
from stories import (
    ADA,
    ELI,
    MAYA,
    NOOR,
    PEOPLE,
    add_known,
    done,
    is_open,
    newest_journal,
    return_to_work,
    silent,
    told,
    told_once,
    type_at_terminal,
)

Snapshot = Any


@pytest.fixture
def sample(tmp_path: Path) -> Iterator[Bed]:
    with standard_bed(tmp_path) as running:
        district.build(running)
        yield running


def looks(bed: Bed) -> dict[str, Any]:
    """Every account by id, as far as a run may change it."""
    users = bed.google.snapshot()["users"]
    rows = users.values() if isinstance(users, dict) else users
    hidden = {"etag", "lastLoginTime", "suspensionReason", "emails"}
    return {
        row["id"]: {
            name: sorted(value) if name == "aliases" else value for name, value in row.items() if name not in hidden
        }
        for row in copy.deepcopy(list(rows))
    }


def without_empty_fields(accounts: dict[str, Any]) -> dict[str, Any]:
    for account in accounts.values():
        schemas = account.get("customSchemas") or {}
        kept = {name: {f: v for f, v in held.items() if v is not None} for name, held in schemas.items()}
        account["customSchemas"] = {name: held for name, held in kept.items() if held}
        account["externalIds"] = account.get("externalIds") or []
    return accounts


def groups(bed: Bed) -> Any:
    return {email: bed.google.members(email) for email in district.EXPECTED_GROUPS}


def test_run_and_undo_leave_google_as_before_and_a_further_run_does_the_same_again(sample: Bed) -> None:
    before, members_before = without_empty_fields(looks(sample)), groups(sample)
    sample.run()
    after, members_after = without_empty_fields(looks(sample)), groups(sample)
    first = newest_journal(sample).stem

    shown = sample.run("--undo", "last", "--dry-run")
    assert not shown.writes
    outcome = sample.run("--undo", first, "--yes", "--allow", "clear=50")

    assert outcome.exit_code in {0, 1}, outcome.output
    assert "The next run will do the same again" in outcome.lines("INFO")[-1]
    undone = without_empty_fields(looks(sample))
    created = set(undone) - set(before)
    assert {identity: undone[identity] for identity in before} == before
    assert groups(sample) == members_before
    assert len(created) == 3
    for identity in created:
        assert undone[identity]["suspended"]
        assert undone[identity]["orgUnitPath"] == "/Suspended Accounts"
    again = sample.run("--undo", first, "--yes", "--allow", "clear=50")
    assert not again.writes, "an undo that finds everything put back writes nothing"

    sample.run()
    redone = without_empty_fields(looks(sample))
    assert {i: redone[i] for i in after if i not in created} == {i: after[i] for i in after if i not in created}
    assert groups(sample) == members_after


def test_an_undo_can_itself_be_undone(sample: Bed) -> None:
    sample.run()
    after, members_after = without_empty_fields(looks(sample)), groups(sample)
    sample.run("--undo", "last", "--yes", "--allow", "clear=50")
    assert without_empty_fields(looks(sample)) != after

    outcome = sample.run("--undo", "last", "--yes", "--allow", "clear=50")

    assert outcome.exit_code in {0, 1}, outcome.output
    assert without_empty_fields(looks(sample)) == after
    assert groups(sample) == members_after


def maya_and_noor(bed: Bed) -> None:
    """Two people in step and a group of theirs."""
    for dcid in (7, 8):
        add_known(bed, dcid)
    bed.google.add_group("math@d118.org", members={MAYA: "OWNER", NOOR: "MANAGER"})


def test_what_somebody_has_changed_since_is_left_and_named(bed: Bed) -> None:
    maya_and_noor(bed)
    bed.powerschool.leave(7)
    bed.run()
    bed.google.add_org_unit("/Suspended Accounts/Locked")
    identity = bed.google.user(MAYA)["id"]
    snapshot = bed.google.snapshot()
    bed.google.restore(snapshot)
    next(u for u in bed.google.users.values() if u["id"] == identity)["orgUnitPath"] = "/Suspended Accounts/Locked"

    outcome = bed.run("--undo", "last", "--yes")

    user = bed.google.user(MAYA)
    assert user["orgUnitPath"] == "/Suspended Accounts/Locked"
    assert user["suspended"], "whom somebody has locked for good since is not opened"
    assert not outcome.writes
    words = "changed since by somebody else, so not put back, or not wholly: move to suspended, leave group, suspend"
    assert any(words in text for text in outcome.lines("INFO")), outcome.output


def test_a_membership_comes_back_with_its_role(bed: Bed) -> None:
    maya_and_noor(bed)
    bed.powerschool.leave(7)
    bed.run()
    assert MAYA not in bed.google.members("math@d118.org")

    outcome = bed.run("--undo", newest_journal(bed).stem, "--yes")

    assert outcome.exit_code == 0, outcome.output
    # What was put back is told once as the plan and once as done.
    done = [
        text[:40].split(" Maya")[0].strip() for text in outcome.lines("INFO") if text[:4] in {"move", "join", "reac"}
    ]
    assert done == ["move", "join group", "reactivate"]
    assert bed.google.members("math@d118.org")[MAYA] == "OWNER"
    user = bed.google.user(MAYA)
    assert not user["suspended"]
    assert user["orgUnitPath"] == "/D118 Staff/Wauconda High School Staff"
    kinds = [line["kind"] for line in outcome.journal if line["state"] == "done"]
    assert kinds == ["move", "join group", "reactivate"]


def test_a_membership_that_somebody_has_given_back_in_another_role_is_left_and_told(bed: Bed) -> None:
    maya_and_noor(bed)
    bed.powerschool.leave(7)
    bed.run()
    identity = bed.google.user(MAYA)["id"]
    bed.google.call("members.insert", {"groupKey": "math@d118.org"}, {"id": identity, "role": "MEMBER"})
    outcome = bed.run("--undo", "last", "--yes")
    assert outcome.exit_code == 0, outcome.output
    assert bed.google.members("math@d118.org")[MAYA] == "MEMBER"
    assert "math@d118.org already, as member: left so" in outcome.output
    assert {line["kind"] for line in outcome.journal} == {"move", "reactivate"}


UNDO_FAULTS: dict[str, tuple[dict[str, Any], bool]] = {
    # What goes wrong with the one request, and whether it is made all the same.
    "503 once": ({"status": 503}, True),
    "429 once": ({"status": 429, "reason": "rateLimitExceeded"}, True),
    "broken before": ({"close": True}, True),
    "broken after": ({"close": True, "when": "after", "times": 2}, True),
    "403": ({"status": 403, "reason": "forbidden", "times": None}, False),
    "404": ({"status": 404, "reason": "notFound", "times": None}, False),
    "400": ({"status": 400, "reason": "invalid", "times": None}, False),
    "503 always": ({"status": 503, "times": None}, False),
}


@pytest.mark.parametrize("method", ["members.insert", "users.aliases.delete"])
def test_a_fault_at_what_only_an_undo_asks_for_stops_nobody_else(bed: Bed, method: str) -> None:
    bed.settings |= {"RETRY_WAIT_SECONDS": 0.001, "RETRY_SECONDS": 0.5}
    maya_and_noor(bed)
    bed.powerschool.leave(7)
    bed.powerschool.person(8)["email_addr"] = "noor.hart@d118.org"
    bed.run()
    run, snapshot = newest_journal(bed).stem, bed.google.snapshot()
    for name, (fault, is_made) in UNDO_FAULTS.items():
        bed.google.restore(snapshot)
        bed.google.behave()
        bed.google.fail(method, **fault)
        outcome = bed.run("--undo", run, "--yes")
        assert outcome.exit_code == (0 if is_made else 1), f"{name}: {outcome.output}"
        if name in {"503 always", "403"}:
            advice = "do it by hand" if name == "403" else "run the same undo again"
            assert any(text.endswith(advice) for text in outcome.lines("ERROR")), outcome.output
        is_back = MAYA in bed.google.members("math@d118.org")
        is_removed = "noor.hart@d118.org" not in bed.google.addresses
        assert (is_back, is_removed) == (
            is_made or method != "members.insert",
            is_made or method == "members.insert",
        ), name
        assert is_open(bed, MAYA), name
        assert bed.google.user(NOOR)["primaryEmail"] == NOOR, name


def test_only_limits_and_asking(bed: Bed) -> None:
    maya_and_noor(bed)
    bed.settings["LIMITS"] = {"reactivate": 1}
    add_known(bed, 9)
    for dcid in (7, 8):
        bed.powerschool.leave(dcid)
    bed.run()

    asked = bed.run("--undo", "last", "--allow", "reactivate=2")
    assert (asked.exit_code, asked.writes) == (2, [])
    assert "--yes" in asked.lines("ERROR")[-1]

    held = bed.run("--undo", "last", "--yes")
    assert (held.exit_code, held.writes) == (3, [])
    assert "--allow reactivate=2" in held.output

    nobody = bed.run("--undo", "last", "--yes", "--only", "dcid:99")
    assert (nobody.exit_code, nobody.writes) == (2, [])

    one = bed.run("--undo", "last", "--yes", "--only", "dcid:8")
    assert one.exit_code == 0, one.output
    assert not is_open(bed, MAYA)
    assert is_open(bed, NOOR)


def test_only_takes_the_employee_id_of_the_account_for_a_teacher_number(bed: Bed) -> None:
    maya_and_noor(bed)
    add_known(bed, 9)
    for dcid in (7, 8):
        bed.powerschool.leave(dcid)
    bed.run()
    one = bed.run("--undo", "last", "--yes", "--only", "teacher:T8")
    assert one.exit_code == 0, one.output
    assert not is_open(bed, MAYA)
    assert is_open(bed, NOOR)


def test_an_account_that_becomes_off_limits_during_the_undo_is_not_written_again(bed: Bed) -> None:
    maya_and_noor(bed)
    bed.powerschool.leave(7)
    bed.run()

    def promote(request: Any, when: str) -> None:
        if request.method == "users.update" and when == "after":
            bed.google.users[request.params["userKey"]]["isAdmin"] = True

    bed.google.hook = promote
    outcome = bed.run("--undo", "last", "--yes")

    assert [write.method for write in outcome.writes] == ["users.update"], "the move, and then no more"
    assert outcome.exit_code == 1
    words = "not put back any further: maya.patel@d118.org is a super admin: not written"
    assert any(text.endswith(words) for text in outcome.lines("ERROR"))
    assert not is_open(bed, MAYA)


def test_an_unknown_run_is_one_sentence(bed: Bed) -> None:
    bed.runs.mkdir()
    (bed.runs / "Copy of 20261121T040000Z.jsonl").write_text("{}")
    for which in ("20200101T000000Z", "last", "Copy of 20261121T040000Z"):
        outcome = bed.run("--undo", which)
        assert outcome.exit_code == 2
        assert "has no such journal" in outcome.lines("ERROR")[-1]


def maya_leaves_and_returns(bed: Bed) -> str:
    """In PowerSchool; gives the run that closed her account and took it out of its groups."""
    maya_and_noor(bed)
    bed.powerschool.leave(7)
    bed.run()
    left = newest_journal(bed).stem
    return_to_work(bed, 7)
    return left


def test_a_reactivation_names_the_run_that_brings_the_groups_back(bed: Bed) -> None:
    left = maya_leaves_and_returns(bed)

    outcome = bed.run()

    assert any(f"sync.py --undo {left} --only dcid:7" in text for text in outcome.lines("INFO")), outcome.output
    page = (bed.runs / "latest.html").read_text(encoding="utf-8")
    assert f"opened again; was in groups before: python sync.py --undo {left} --only dcid:7" in page
    bed.run("--undo", left, "--only", "dcid:7", "--yes")
    assert bed.google.members("math@d118.org")[MAYA] == "OWNER"
    assert is_open(bed, MAYA)
    assert not bed.run().writes


def test_who_was_opened_by_hand_is_told_the_run_that_brings_the_groups_back(bed: Bed) -> None:
    left = maya_leaves_and_returns(bed)
    bed.google.users[bed.google.user(MAYA)["id"]]["suspended"] = False

    outcome = bed.run()

    assert done(outcome) == {(7, "move")}
    told(outcome, "INFO", f"sync.py --undo {left} --only dcid:7")
    silent(bed.run(), "INFO", "--undo")


def test_a_group_that_is_gone_does_not_keep_the_account_closed(bed: Bed) -> None:
    maya_and_noor(bed)
    bed.powerschool.leave(7)
    bed.run()
    bed.google.fail("members.get", 404, "notFound", "Resource Not Found: groupKey", times=None)
    bed.google.fail("members.insert", 404, "notFound", "Resource Not Found: groupKey", times=None)

    outcome = bed.run("--undo", "last", "--yes")

    assert outcome.exit_code == 1
    assert any("join group math@d118.org" in text for text in outcome.lines("ERROR")), outcome.output
    assert is_open(bed, MAYA)


@pytest.mark.parametrize("option", ["--undo", "--explain"])
def test_an_empty_word_never_starts_a_run(bed: Bed, option: str) -> None:
    maya_and_noor(bed)
    bed.powerschool.leave(7)
    outcome = bed.run(option, "", "--yes")
    assert (outcome.exit_code, outcome.writes) == (2, [])


def test_a_leaver_who_lies_in_the_suspended_ou_is_closed_even_if_no_group_can_be_read(bed: Bed) -> None:
    maya_and_noor(bed)
    add_known(bed, 9, ou="/Suspended Accounts")
    bed.powerschool.leave(9)
    bed.google.fail("groups.list", 403, "forbidden", "Not Authorized to access this resource/api", times=None)

    outcome = bed.run()

    assert outcome.exit_code == 1
    assert not is_open(bed, ADA)
    assert any("take it out by hand" in text for text in outcome.lines("ERROR"))


def test_an_employee_id_that_somebody_put_in_front_since_is_left_with_the_one_behind_it(bed: Bed) -> None:
    maya_and_noor(bed)
    identity = bed.google.user(MAYA)["id"]
    bed.google.users[identity]["externalIds"] = []
    bed.run()
    (added,) = bed.google.user(MAYA)["externalIds"]
    assert (added["type"], added["value"]) == ("organization", "T7")
    both = [{"type": "organization", "value": "HR-9"}, added]
    bed.google.users[identity]["externalIds"] = both

    outcome = bed.run("--undo", "last", "--yes")

    assert (outcome.exit_code, outcome.writes) == (0, []), outcome.output
    assert bed.google.user(MAYA)["externalIds"] == both
    words = "changed since by somebody else, so not put back, or not wholly: update"
    assert any(words in text for text in outcome.lines("INFO"))


def test_a_field_that_config_py_no_longer_names_is_neither_put_back_nor_shown(bed: Bed) -> None:
    maya_and_noor(bed)
    phone = "847-555-0107"
    schemas = bed.setting("CUSTOM_SCHEMAS")
    for email, schema, held in (
        (MAYA, "CrisisGO", {"CellPhone": phone}),
        (NOOR, "Synchronization_Data", {"Staff_Group": 4}),
    ):
        account = bed.google.users[bed.google.user(email)["id"]]
        account["customSchemas"] = {**account["customSchemas"], schema: {**account["customSchemas"][schema], **held}}
    assert {line["kind"] for line in bed.run().journal} == {"update"}
    emptied = bed.google.user(MAYA)["customSchemas"]
    assert not emptied["CrisisGO"].get("CellPhone")
    # First the line is gone, then all else that says what a phone is and that it is private.
    bed.settings["CUSTOM_SCHEMAS"] = {**schemas, "CrisisGO": {"Building": "building"}}

    dry = bed.run("--undo", newest_journal(bed).stem, "--dry-run")
    rest = {"Synchronization_Data": schemas["Synchronization_Data"]}
    bed.settings |= {"CUSTOM_SCHEMAS": rest, "EXTENSION_COLUMNS": {}, "PRIVATE_VALUES": []}
    outcome = bed.run("--undo", newest_journal(bed).stem, "--yes")

    for one in (dry, outcome):
        assert one.exit_code == 0, one.output
        assert phone not in one.output + one.log
        assert any("Maya Patel" in text and "not wholly: update" in text for text in one.lines("INFO")), one.output
    assert [write.body for write in outcome.writes] == [{"customSchemas": {"Synchronization_Data": {"Staff_Group": 4}}}]
    assert bed.google.user(MAYA)["customSchemas"] == emptied


def test_a_damaged_journal_is_told_to_who_asks_for_it_and_stops_no_reactivation(one_in_step: Bed) -> None:
    bed = one_in_step
    add_known(bed, 7)
    add_known(bed, 8)
    bed.google.add_group("math@d118.org", members={MAYA: "OWNER", NOOR: "OWNER"})
    bed.powerschool.leave(7)
    bed.run()
    left = newest_journal(bed).rename(bed.runs / "20260101T000000Z.jsonl")
    # Newer than the run that closed the account, so that a search for it comes by here.
    (bed.runs / "20260201T000000Z.jsonl").write_bytes(b'{"change": 1, "email": "\xff\xfe"}\n')
    return_to_work(bed, 7)

    outcome = bed.run()

    assert outcome.exit_code == 1, outcome.output
    damaged = [text for text in outcome.lines("ERROR") if "20260201T000000Z.jsonl, line 1, is damaged" in text]
    assert len(damaged) == 1, outcome.output
    assert not any("reactivat" in text for text in outcome.lines("ERROR")), outcome.output
    assert is_open(bed, MAYA)
    assert any(f"--undo {left.stem} --only dcid:7" in text for text in outcome.lines("INFO")), outcome.output

    line: dict[str, object] = {
        "change": 1, "state": "done", "dcid": 7, "account": "1", "email": MAYA, "kind": "update",
    }  # fmt: skip
    line |= {"before": None, "after": {}}
    (bed.runs / "20260301T000000Z.jsonl").write_text(json.dumps(line) + "\n")
    for name, words in (("20260201T000000Z", "is damaged"), ("20260301T000000Z", "is damaged")):
        refused = bed.run("--undo", name, "--yes")
        assert (refused.exit_code, refused.writes) == (2, [])
        told_once(refused.output, name, words)


def test_accounts_that_refuse_keep_no_other_from_being_put_back(one_in_step: Bed) -> None:
    bed = one_in_step
    bed.settings["LIMIT_SHARE"] = 1.0
    ids = {dcid: add_known(bed, dcid) for dcid in PEOPLE}
    for dcid in PEOPLE:
        bed.powerschool.leave(dcid)
    bed.run()
    run = newest_journal(bed).stem

    def of(dcid: int) -> Callable[[Any], bool]:
        return lambda request: request.params["userKey"] == ids[dcid]

    bed.google.fail("users.get", 403, "forbidden", "Not Authorized", times=None, match=of(7))
    bed.google.fail("users.update", 503, times=None, match=of(9))

    everybody = (MAYA, NOOR, ADA, ELI)
    one = bed.run("--undo", run, "--yes", "--only", "dcid:8")
    assert (one.exit_code, one.lines("ERROR")) == (0, []), one.output
    assert [is_open(bed, email) for email in everybody] == [False, True, False, False]

    outcome = bed.run("--undo", run, "--yes")
    assert outcome.exit_code == 1, outcome.output
    assert [is_open(bed, email) for email in everybody] == [False, True, False, True]
    maya, ada = outcome.lines("ERROR")
    assert "not looked up" in maya
    assert "(DCID 7): not put back, run the same undo again: Google answered 403" in maya
    assert "(DCID 9)" in ada
    assert ada.endswith("run the same undo again")
    assert "next run tries again" not in outcome.output


def test_the_end_of_input_is_no_yes(one_in_step: Bed) -> None:
    bed = one_in_step
    add_known(bed, 7)
    bed.powerschool.leave(7)
    bed.run()
    type_at_terminal(bed, "")
    outcome = bed.run("--undo", "last")
    assert (outcome.exit_code, outcome.writes) == (2, []), outcome.output
    told_once(outcome.output, "not agreed to, so nothing was put back")
