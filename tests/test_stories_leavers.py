"""Whole stories about people who left: suspended, out of their groups, moved, or left alone with a reason."""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import Any

import pytest
from bed import Bed, Outcome, matching_account
from google_server import Request
from stories import (
    CROWN,
    FROZEN_OU,
    HIGH,
    LETTERS,
    LUNCH,
    MAYA,
    MIDDLE,
    NOOR,
    OU_OF,
    STUDENT_OU,
    SUSPENDED_OU,
    TEMPORARY_OU,
    add_known,
    at_rest,
    bodies,
    done,
    errors,
    groups_left,
    is_open,
    leaver,
    person,
    settle,
    silent,
    told,
)

pytestmark = pytest.mark.usefixtures("staffed")

GEORGE = "george.bauer@d118.org"
ALL_THREE = {(201, "suspend"), (201, "leave group"), (201, "move to suspended")}


def george(bed: Bed, **account: Any) -> str:
    """George Bauer, DCID 201, who left; gives his account's id."""
    return leaver(bed, 201, "George", "Bauer", **account)


def steps(outcome: Outcome) -> list[str]:
    """Every write in the words of its request, in order."""
    return [
        "leave" if request.method == "members.delete" else " ".join(sorted(request.body or {}))
        for request in outcome.writes
    ]


def closed_in(bed: Bed, address: str, place: str = SUSPENDED_OU) -> bool:
    user = bed.google.user(address)
    return bool(user["suspended"]) and user["orgUnitPath"] == place


def test_a_leaver_is_suspended_then_leaves_the_groups_then_is_moved_and_nothing_else_changes(bed: Bed) -> None:
    account = george(bed, fields=matching_fields_of_a_stranger(), employee_id="E1", aliases=["gb@d118.org"])
    bed.google.add_group("math@d118.org", members={GEORGE: "MANAGER", "settled.quillaa@d118.org": "OWNER"})
    bed.google.add_group("staff@d118.org", members={GEORGE: "MEMBER"})
    stay = {"settled.quillaa@d118.org": "OWNER", "settled.quillab@d118.org": "MANAGER"}
    bed.google.add_group("chess@d118.org", members=stay)
    had = bed.google.user(account)
    outcome = bed.run()
    assert outcome.exit_code == 0, outcome.output
    assert steps(outcome) == ["suspended", "leave", "leave", "orgUnitPath"]
    now = bed.google.user(account)
    changing = {"suspended", "suspensionReason", "orgUnitPath", "etag"}
    assert {key: value for key, value in now.items() if key not in changing} == {
        key: value for key, value in had.items() if key not in changing
    }
    assert closed_in(bed, GEORGE)
    assert bed.google.members("math@d118.org") == {"settled.quillaa@d118.org": "OWNER"}
    assert bed.google.members("staff@d118.org") == {}
    assert bed.google.members("chess@d118.org") == stay
    assert groups_left(outcome) == {"math@d118.org": "MANAGER", "staff@d118.org": "MEMBER"}
    # Before each write its intention is in the journal, and its end after it.
    assert [row["state"] for row in outcome.journal] == ["intended", "done"] * 4
    at_rest(bed)


def matching_fields_of_a_stranger() -> dict[str, dict[str, object]]:
    """Fields that an active person's account would not keep."""
    return {"Synchronization_Data": {"DCID": 201, "Staff_Group": 1}, "CrisisGO": {"Building": "Somewhere"}}


def test_who_has_no_row_at_any_school_has_left_and_who_has_one_current_row_has_not(bed: Bed) -> None:
    settle(bed, 201, "Tina", "Crane")
    bed.powerschool.school_staff = [row for row in bed.powerschool.school_staff if row["users_dcid"] != 201]
    person(bed, 202, "Uma", "Drake", HIGH, schools={MIDDLE: LUNCH}, inactive_schools={HIGH: 1}, homeschool=MIDDLE)
    matching_account(bed, 202)
    # Gone from the home school, and still active elsewhere.
    person(bed, 203, "Vic", "Evers", schools={MIDDLE: 1, CROWN: 1}, inactive_schools={HIGH: 1}, homeschool=HIGH)
    vic = matching_account(bed, 203)
    outcome = bed.run()
    assert done(outcome) == {(201, "suspend"), (201, "move to suspended")}
    assert bed.google.user(vic)["customSchemas"]["Synchronization_Data"]["School_Access_List"] == "101;105"
    at_rest(bed)


def test_a_leaver_who_is_half_closed_is_finished(bed: Bed) -> None:
    # Suspended but not moved; moved but open; open below the place of the suspended.
    george(bed, suspended=True)
    leaver(bed, 202, "Tina", "Crane", MIDDLE, ou=SUSPENDED_OU)
    leaver(bed, 203, "Frank", "Fuller", MIDDLE, ou=f"{SUSPENDED_OU}/Locked")
    members = dict.fromkeys((GEORGE, "tina.crane@d118.org", "frank.fuller@d118.org"), "MEMBER")
    bed.google.add_group("staff@d118.org", members=members)
    outcome = bed.run()
    assert outcome.exit_code == 0, outcome.output
    assert done(outcome) == {
        (201, "leave group"), (201, "move to suspended"), (202, "suspend"), (202, "leave group"),
        (203, "suspend"), (203, "leave group"),
    }  # fmt: skip
    assert steps(outcome) == ["leave", "orgUnitPath", "leave", "suspended", "leave", "suspended"]
    assert bed.google.members("staff@d118.org") == {}
    assert closed_in(bed, "frank.fuller@d118.org", f"{SUSPENDED_OU}/Locked")
    at_rest(bed)


def test_who_is_closed_already_is_left_exactly_as_the_account_is(bed: Bed) -> None:
    george(bed, ou=SUSPENDED_OU, suspended=True, fields=matching_fields_of_a_stranger())
    leaver(bed, 202, "Tina", "Crane", MIDDLE, ou=f"{SUSPENDED_OU}/Locked", suspended=True)
    leaver(bed, 203, "Ralph", "Jansen", MIDDLE, archived=True)
    leaver(bed, 204, "Kurt", "Farrow", MIDDLE, ou=SUSPENDED_OU, suspended=True, reason="ABUSE")
    person(bed, 205, "Never", "Had", MIDDLE)
    bed.powerschool.leave(205)
    bed.google.add_group("staff@d118.org", members={GEORGE: "MEMBER"})
    outcome = bed.run()
    assert outcome.exit_code == 0, outcome.output
    assert bed.google.attempted_writes == []
    assert bed.google.members("staff@d118.org") == {GEORGE: "MEMBER"}


def test_a_frozen_org_unit_does_not_protect_a_leaver_and_a_temporary_one_does(bed: Bed) -> None:
    bed.google.add_org_unit(f"{TEMPORARY_OU}/June")
    george(bed, ou=FROZEN_OU)
    leaver(bed, 202, "Monica", "Egan", CROWN, ou=f"{TEMPORARY_OU}/June")
    leaver(bed, 203, "Kurt", "Farrow", CROWN, ou=STUDENT_OU)
    outcome = bed.run()
    assert outcome.exit_code == 0, outcome.output
    assert done(outcome) == {(201, "suspend"), (201, "move to suspended")}
    told(outcome, "INFO", 202, "temporary reactivation")
    told(outcome, "INFO", 203, "PROTECTED_OUS")
    at_rest(bed)


# Groups.


def test_a_group_that_refuses_for_good_is_told_and_does_not_hold_the_move(bed: Bed) -> None:
    george(bed)
    bed.google.add_group("math@example.org", members={GEORGE: "MEMBER"}, foreign=True)
    bed.google.add_group("everybody@d118.org", members={GEORGE: "MEMBER"}, dynamic=True)
    bed.google.add_group("secret@d118.org", members={GEORGE: "MEMBER"}, editable=False)
    bed.google.add_group("staff@d118.org", members={GEORGE: "MEMBER"})
    outcome = bed.run()
    assert outcome.exit_code == 1
    assert done(outcome) == ALL_THREE
    assert closed_in(bed, GEORGE)
    lines = "\n".join(errors(outcome))
    assert any("math@example.org" in line for line in outcome.lines("INFO"))
    assert "math@example.org" not in lines
    for group in ("everybody@d118.org", "secret@d118.org"):
        assert group in lines
        assert GEORGE in bed.google.members(group)
    assert bed.google.members("staff@d118.org") == {}
    # It stands until Google shows it done, whoever does it.
    assert at_rest(bed).exit_code == 1
    for group in ("everybody@d118.org", "secret@d118.org"):
        bed.google.empty_group(group)
    assert at_rest(bed).exit_code == 0


def test_a_group_that_may_heal_holds_the_move_and_the_next_run_finishes(bed: Bed) -> None:
    george(bed)
    math = bed.google.add_group("math@d118.org", members={GEORGE: "OWNER"})
    bed.google.add_group("staff@d118.org", members={GEORGE: "MEMBER"})
    leaver(bed, 202, "Tina", "Crane", MIDDLE)

    def is_math(request: Request) -> bool:
        return request.params["groupKey"] == math

    bed.google.fail("members.delete", 503, times=None, match=is_math)
    outcome = bed.run()
    assert outcome.exit_code == 1
    assert [line for line in errors(outcome) if "(DCID 201)" in line and "503" in line]
    assert done(outcome) == {(201, "suspend"), (201, "leave group"), (202, "suspend"), (202, "move to suspended")}
    assert bed.google.user(GEORGE)["orgUnitPath"] == OU_OF[HIGH]
    assert bed.google.members("staff@d118.org") == {}
    bed.google.behave()
    second = bed.run()
    assert second.exit_code == 0, second.output
    assert done(second) == {(201, "leave group"), (201, "move to suspended")}
    at_rest(bed)


def test_a_group_that_loses_its_last_owner_is_named(bed: Bed) -> None:
    george(bed)
    bed.google.add_group("orphaned@d118.org", members={GEORGE: "OWNER", "settled.quillaa@d118.org": "MEMBER"})
    bed.google.add_group("owned@d118.org", members={GEORGE: "OWNER", "settled.quillaa@d118.org": "OWNER"})
    outcome = bed.run()
    assert outcome.exit_code == 0, outcome.output
    line = told(outcome, "WARN", "has lost its last owner", "orphaned@d118.org")
    assert " owned@d118.org" not in f" {line}"
    assert groups_left(outcome) == {"orphaned@d118.org": "OWNER", "owned@d118.org": "OWNER"}


def test_more_groups_than_fit_on_one_page_are_all_left(bed: Bed) -> None:
    george(bed)
    groups = [f"group-{number:03d}@d118.org" for number in range(203)]
    for group in groups:
        bed.google.add_group(group, members={GEORGE: "MEMBER"})
    outcome = bed.run()
    assert outcome.exit_code == 0, outcome.output
    assert steps(outcome) == ["suspended", *["leave"] * 203, "orgUnitPath"]
    assert not any(bed.google.members(group) for group in groups)
    assert groups_left(outcome) == dict.fromkeys(groups, "MEMBER")


def test_groups_are_left_alone_where_the_district_says_so(bed: Bed) -> None:
    george(bed)
    bed.google.add_group("staff@d118.org", members={GEORGE: "MEMBER"})
    bed.settings["REMOVE_SUSPENDED_FROM_GROUPS"] = False
    outcome = bed.run()
    assert outcome.exit_code == 0, outcome.output
    assert steps(outcome) == ["suspended", "orgUnitPath"]
    assert not any(request.method.startswith(("groups.", "members.")) for request in outcome.requests)
    assert bed.google.members("staff@d118.org") == {GEORGE: "MEMBER"}
    at_rest(bed)


def test_a_suspension_that_google_refuses_leaves_groups_and_place_as_they_are(bed: Bed) -> None:
    account = george(bed)
    bed.google.add_group("staff@d118.org", members={GEORGE: "MEMBER"})
    leaver(bed, 202, "Tina", "Crane", MIDDLE)
    bed.google.fail(
        "users.update", 403, "forbidden", "Not Authorized to access this resource/api", times=None,
        match=lambda request: request.params["userKey"] == account,
    )  # fmt: skip
    outcome = bed.run()
    assert outcome.exit_code == 1
    told(outcome, "ERROR", 201, "403")
    assert bed.google.members("staff@d118.org") == {GEORGE: "MEMBER"}
    assert not bed.google.user(GEORGE)["suspended"]
    assert done(outcome) == {(202, "suspend"), (202, "move to suspended")}


# Admins and hands off.


def test_a_super_admin_who_left_is_an_error_and_a_delegated_one_is_closed_and_told(bed: Bed) -> None:
    leaver(bed, 201, "Dean", "Underhill", HIGH, admin=True)
    leaver(bed, 202, "Walter", "Holt", HIGH, delegated=True)
    leaver(bed, 203, "Robot", "Admin", HIGH)
    had = bed.google.user("dean.underhill@d118.org")
    env = {"GOOGLE_ADMIN_EMAIL": "robot.admin@d118.org"}
    first = bed.run(env=env)
    assert done(first) == {(202, "suspend"), (202, "move to suspended")}
    second = bed.run(env=env)
    assert second.writes == []
    for outcome in (first, second):
        assert outcome.exit_code == 1
        told(outcome, "ERROR", 201, "super admin")
        told(outcome, "ERROR", 202, "admin role")
    told(first, "INFO", 203, "GOOGLE_ADMIN_EMAIL")
    assert bed.google.user("dean.underhill@d118.org") == had


def test_a_leaver_under_hands_off_is_left_and_the_end_of_it_reminds(bed: Bed) -> None:
    bed.settings["HANDS_OFF"] = {GEORGE: ("court case", "2099-01-31"), 202: ("court case", "2020-01-31")}
    george(bed)
    leaver(bed, 202, "Tina", "Crane", MIDDLE)
    outcome = bed.run()
    assert outcome.exit_code == 1
    assert bed.google.attempted_writes == []
    told(outcome, "INFO", 201, "court case", "2099-01-31")
    told(outcome, "ERROR", 202, "court case", "2020-01-31")


# Whose account.


def test_an_account_whose_address_is_an_active_persons_is_never_suspended(bed: Bed) -> None:
    # The old record has left, the new one works here and has the same address.
    leaver(bed, 301, "Joan", "Whitfield", HIGH, employee_id=None)
    person(bed, 201, "Joan", "Whitfield", HIGH)
    had = bed.google.user("joan.whitfield@d118.org")
    outcome = bed.run()
    assert outcome.exit_code == 1
    assert bed.google.attempted_writes == []
    assert bed.google.user("joan.whitfield@d118.org") == had
    told(outcome, "INFO", 301, "not suspended")


def test_somebody_elses_account_is_not_suspended(bed: Bed) -> None:
    leaver(bed, 201, "Quinn", "Foster", HIGH, email="zelda@d118.org", given="Zelda", family="Moreau", employee_id="77")
    outcome = bed.run()
    assert outcome.exit_code == 1
    assert bed.google.attempted_writes == []
    told(outcome, "ERROR", 201, "DCID 201 sits on an account that looks like somebody else's", "zelda@d118.org")


def test_accounts_that_powerschool_does_not_know_are_listed_and_left(bed: Bed) -> None:
    fields = {"Synchronization_Data": {"DCID": 8888}}
    bed.google.add_user(
        "former.vendor@d118.org",
        "Former",
        "Vendor",
        ou=OU_OF[HIGH],
        fields=fields,
        last_login="2026-03-02T15:00:00.000Z",
    )
    # An open account that holds the address of somebody who left, without a DCID and with that of nobody.
    person(bed, 201, "Lena", "Goss", CROWN)
    bed.google.add_user("lena.goss@d118.org", "Lena", "Goss")
    person(bed, 202, "Mark", "Hill", CROWN)
    bed.google.add_user("mark.hill@d118.org", "Mark", "Hill", suspended=True)
    # An open account that now belongs to an active person.
    settle(bed, 203, "Nora", "Quist", aliases=["nora.hill@d118.org"])
    person(bed, 204, "Nora", "Hill", CROWN)
    for dcid in (201, 202, 204):
        bed.powerschool.leave(dcid)
    outcome = bed.run()
    assert outcome.exit_code == 1, outcome.output
    assert bed.google.attempted_writes == []
    (line,) = [text for text in errors(outcome) if "former.vendor@d118.org" in text]
    assert all(part in line for part in ("8888", OU_OF[HIGH], "2026-03-02"))
    told(outcome, "ERROR", 201, "lena.goss@d118.org", "suspend it", "HANDS_OFF")
    silent(outcome, "INFO", 202)
    silent(outcome, "INFO", 204)


def test_a_skipped_person_who_left_is_an_error_while_the_account_is_open(bed: Bed) -> None:
    leaver(bed, 201, "Dummy", "Staff", HIGH)
    leaver(bed, 202, "Test", "User", HIGH, suspended=True)
    leaver(bed, 203, "TBD", "Coach", HIGH, archived=True)
    settle(bed, 204, "Plugin", "Vendor")
    leaver(bed, 205, "Zoe", "Baker", HIGH, email="zoe.baker@d118.org")
    bed.powerschool.person(205)["email_addr"] = "2027114@d118.org"
    outcome = bed.run()
    assert outcome.exit_code == 1
    assert bed.google.attempted_writes == []
    told(outcome, "ERROR", 201, "dummy.staff@d118.org", "open")
    told(outcome, "ERROR", 205, "zoe.baker@d118.org", "open")
    for dcid in (202, 203, 204):
        told(outcome, "INFO", dcid, "skipped by rule")


def test_a_leaver_is_closed_in_any_domain(bed: Bed) -> None:
    bed.google.domains.append("elsewhere.org")
    leaver(bed, 201, "George", "Bauer", HIGH, email="george.bauer@elsewhere.org")
    bed.powerschool.person(201)["email_addr"] = None
    outcome = bed.run()
    assert outcome.exit_code == 0, outcome.output
    assert done(outcome) == {(201, "suspend"), (201, "move to suspended")}
    assert closed_in(bed, "george.bauer@elsewhere.org")
    at_rest(bed)


# The limit of suspensions.


def test_too_many_leavers_are_held_whole_and_those_already_suspended_are_finished(bed: Bed) -> None:
    for number in range(11):
        leaver(bed, 201 + number, "George", "Bauer" + LETTERS[number], HIGH)
    leaver(bed, 220, "Tina", "Crane", HIGH, suspended=True)
    bed.google.add_group("staff@d118.org", members={"george.bauera@d118.org": "MEMBER"})
    held = bed.run()
    assert held.exit_code == 3
    assert done(held) == {(220, "move to suspended")}
    (line,) = [text for text in errors(held) if text.startswith("Held: suspend")]
    assert "--allow suspend=11" in line
    assert all(f"(DCID {201 + number})" in line for number in range(11))
    assert bed.google.members("staff@d118.org") == {"george.bauera@d118.org": "MEMBER"}
    through = bed.run("--allow", "suspend=11")
    assert through.exit_code == 0, through.output
    assert len(done(through)) == 23
    at_rest(bed)


# The hold window.


def month_day(days: int) -> str:
    return (date.today() + timedelta(days=days)).strftime("%m-%d")


def test_in_a_hold_window_suspensions_wait_and_that_is_no_error(bed: Bed) -> None:
    george(bed)
    leaver(bed, 202, "Tina", "Crane", MIDDLE, suspended=True)
    leaver(bed, 203, "Frank", "Fuller", MIDDLE)
    settle(bed, 204, "Victor", "Stein", ou=OU_OF[CROWN])
    bed.settings["HOLD_SUSPENSIONS"] = [("01-01", "12-31")]
    outcome = bed.run()
    assert outcome.exit_code == 0, outcome.output
    # Who is suspended already is finished, and everybody else's turn comes.
    assert done(outcome) == {(202, "move to suspended"), (204, "move")}
    told(outcome, "INFO", 201, "HOLD_SUSPENSIONS")
    told(outcome, "INFO", 203, "HOLD_SUSPENSIONS")
    at_rest(bed)
    # Whoever is named is meant.
    named = bed.run("--only", GEORGE)
    assert done(named) == {(201, "suspend"), (201, "move to suspended")}
    assert not bed.google.user("frank.fuller@d118.org")["suspended"]


@pytest.mark.parametrize(
    ("window", "holds"),
    [
        # From yesterday round to the day before it: all the year, across New Year.
        ((-1, -2), True),
        ((0, 30), True),
        ((-30, 0), True),
        ((100, 130), False),
    ],
)
def test_a_hold_window_includes_both_ends_and_may_cross_new_year(
    bed: Bed, window: tuple[int, int], holds: bool
) -> None:
    george(bed)
    bed.settings["HOLD_SUSPENSIONS"] = [(month_day(window[0]), month_day(window[1]))]
    outcome = bed.run("--dry-run")
    assert ("Would suspend" in outcome.output) is not holds, outcome.output
    assert outcome.exit_code == 0


def test_a_leaver_gets_nothing_but_the_closing(bed: Bed) -> None:
    account = leaver(bed, 201, "George", "Bauer", email="gb.old@d118.org", given="G.")
    bed.settings["UPDATE_NAMES"] = True
    outcome = bed.run()
    assert bodies(outcome, account) == [{"suspended": True}, {"orgUnitPath": SUSPENDED_OU}]
    at_rest(bed)


def test_a_group_that_holds_the_leaver_through_another_one_does_not_keep_the_account_open(one_in_step: Bed) -> None:
    bed = one_in_step
    add_known(bed, 7)
    add_known(bed, 8)
    inner = bed.google.add_group("math@d118.org", members={MAYA: "MEMBER", NOOR: "OWNER"})
    outer = bed.google.add_group("all@d118.org", member_groups=["math@d118.org"])
    bed.powerschool.leave(7)
    groups = [{"id": inner, "email": "math@d118.org"}, {"id": outer, "email": "all@d118.org"}]
    bed.google.fail("groups.list", 200, body=json.dumps({"groups": groups}).encode())
    outcome = bed.run()
    assert outcome.exit_code == 0, outcome.output
    assert not is_open(bed, MAYA)
    assert MAYA not in bed.google.members("math@d118.org")
    assert bed.google.user(MAYA)["orgUnitPath"] == "/Suspended Accounts"


def test_a_second_page_of_groups_that_fails_leaves_the_leaver_to_the_next_run(one_in_step: Bed) -> None:
    bed = one_in_step
    add_known(bed, 7)
    add_known(bed, 8)
    bed.settings["RETRY_SECONDS"] = 0.05
    for number in range(201):
        bed.google.add_group(f"club{number}@d118.org", members={MAYA: "MEMBER", NOOR: "OWNER"})
    bed.powerschool.leave(7)
    bed.google.fail("groups.list", 503, times=None, match=lambda request: bool(request.params.get("pageToken")))
    outcome = bed.run()
    assert outcome.exit_code == 1, outcome.output
    assert bed.google.user(MAYA)["orgUnitPath"] != "/Suspended Accounts"
    assert not [write for write in outcome.writes if write.method == "members.delete"]
    bed.google.behave()
    assert bed.run().exit_code == 0
    assert bed.google.user(MAYA)["orgUnitPath"] == "/Suspended Accounts"
    assert not any(MAYA in bed.google.members(f"club{number}@d118.org") for number in range(201))
