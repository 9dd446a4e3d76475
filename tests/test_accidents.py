"""Accidents that befell other tools of this kind, and reads that lie: each with the guard that stops it here.

Nearly all of them are one mistake: an answer that is empty, short or late is taken for "everybody has left" or
for "there is no such account".
"""

from __future__ import annotations

from typing import Any

import pytest
from bed import Bed, Outcome, matching_account, matching_fields

SUSPENDED_OU = "/Suspended Accounts"
STATEMENTS = ("SET TRANSACTION", "FROM schools", "FROM users", "FROM schoolstaff")


def add_person(bed: Bed, dcid: int, first: str = "Kim", **more: Any) -> str:
    """Adds a person without an account; the last name of each is another."""
    last = "Person" + "".join(chr(ord("a") + int(digit)) for digit in str(dcid))
    email = str(more.pop("email", f"{first}.{last}@d118.org".lower()))
    usual: dict[str, Any] = {
        "schools": {5: 1}, "group": 9, "teacher_number": str(70_000 + dcid),
        "cell_phone": f"847-555-{dcid:04d}",
    }  # fmt: skip
    bed.powerschool.add_person(dcid, first, last, email, **{**usual, **more})
    return email


def add_settled(bed: Bed, count: int = 3) -> list[str]:
    """People about whom both sides agree."""
    emails = [add_person(bed, dcid) for dcid in range(900, 900 + count)]
    for dcid in range(900, 900 + count):
        matching_account(bed, dcid)
    return emails


def add_leaver(bed: Bed, dcid: int, **account: Any) -> str:
    email = add_person(bed, dcid)
    matching_account(bed, dcid, **account)
    bed.powerschool.leave(dcid)
    return email


def small_district(bed: Bed) -> None:
    """Some who are settled, one to create, one to update, one who left: something to do for every read."""
    add_settled(bed)
    add_person(bed, 1)
    add_person(bed, 2)
    matching_account(bed, 2, fields=matching_fields(bed, 2, Staff_Group=4))
    add_leaver(bed, 3)


def assert_nothing_written(bed: Bed, before: dict[str, Any], outcome: Outcome, exit_code: int) -> None:
    assert outcome.exit_code == exit_code, outcome.output
    assert bed.google.attempted_writes == []
    assert bed.google.snapshot() == before
    assert outcome.journal == []
    assert outcome.output.splitlines()[-1].endswith("Nothing was written"), outcome.output


def suspended(bed: Bed) -> set[str]:
    return {user["primaryEmail"] for user in bed.google.users.values() if user["suspended"]}


def told(outcome: Outcome, words: str, level: str = "ERROR") -> list[str]:
    return [line for line in outcome.lines(level) if words in line]


# Empty, short or failed reads taken for "everyone left": PowerSchool.


def test_a_database_that_drops_the_line_at_any_statement_ends_the_run_with_nothing_written(bed: Bed) -> None:
    small_district(bed)
    before = bed.google.snapshot()
    for statement in STATEMENTS:
        bed.oracle.faults.drop_statement = statement
        outcome = bed.run()
        assert_nothing_written(bed, before, outcome, 2)
        assert told(outcome, "PowerSchool"), statement
        assert statement in outcome.statements[-1], "the fault met no statement"
        bed.oracle.faults.drop_statement = None


def test_a_database_that_drops_the_line_in_the_middle_of_the_rows_ends_the_run_with_nothing_written(bed: Bed) -> None:
    small_district(bed)
    before = bed.google.snapshot()
    for statement in STATEMENTS[1:]:
        for rows in (0, 1, 3):
            bed.oracle.faults.drop_after_rows = (statement, rows)
            outcome = bed.run()
            assert_nothing_written(bed, before, outcome, 2)
            assert statement in outcome.statements[-1], "the fault met no statement"
    bed.oracle.faults.drop_after_rows = None
    assert bed.run().writes


def test_an_error_of_the_database_at_any_statement_is_never_taken_for_an_empty_answer(bed: Bed) -> None:
    small_district(bed)
    before = bed.google.snapshot()
    for statement, code in zip(STATEMENTS, (3001, 942, 1555, 1031), strict=True):
        bed.oracle.faults.fail(statement, code, times=1)
        outcome = bed.run()
        assert_nothing_written(bed, before, outcome, 2)
        assert told(outcome, f"ORA-{code:05d}"), outcome.output


def test_no_rows_from_a_table_that_cannot_be_empty_ends_the_run_with_nothing_written(bed: Bed) -> None:
    small_district(bed)
    before = bed.google.snapshot()
    people = bed.powerschool
    tables = people.schools, people.users, people.school_staff
    for name in ("schools", "users", "school_staff"):
        people.schools, people.users, people.school_staff = tables
        setattr(people, name, {} if name == "users" else [])
        outcome = bed.run()
        assert_nothing_written(bed, before, outcome, 3)
        assert told(outcome, "PowerSchool returned no"), outcome.output


def test_a_revoked_select_on_schoolstaff_that_answers_with_no_rows_suspends_nobody(bed: Bed) -> None:
    add_settled(bed, 12)
    before = bed.google.snapshot()
    bed.powerschool.school_staff.clear()
    outcome = bed.run()
    assert_nothing_written(bed, before, outcome, 3)
    assert told(outcome, "no active staff")


def test_an_empty_schoolstaff_suspends_nobody_by_only_and_allow_either(bed: Bed) -> None:
    emails = add_settled(bed)
    before = bed.google.snapshot()
    bed.powerschool.school_staff.clear()
    outcome = bed.run("--only", emails[0], "--allow", "suspend=100")
    assert_nothing_written(bed, before, outcome, 3)


def test_an_empty_extension_table_clears_no_more_than_the_limit_and_suspends_nobody(bed: Bed) -> None:
    add_settled(bed, 26)
    before = bed.google.snapshot()
    bed.powerschool.extension.clear()
    outcome = bed.run()
    assert outcome.exit_code == 3
    assert bed.google.attempted_writes == []
    assert bed.google.snapshot() == before
    assert told(outcome, "--allow clear=26"), outcome.output


def test_a_schoolstaff_that_is_short_by_half_suspends_nobody_and_names_them_and_the_way_through(bed: Bed) -> None:
    emails = add_settled(bed, 30)
    before = bed.google.snapshot()
    bed.powerschool.school_staff = bed.powerschool.school_staff[:15]
    outcome = bed.run()
    assert outcome.exit_code == 3
    assert bed.google.snapshot() == before
    held = told(outcome, "Held:")
    assert any("--allow suspend=15" in line for line in held), outcome.output
    assert all(any(email in line for line in held) for email in emails[15:])


def test_a_users_table_that_is_short_suspends_nobody_who_is_missing_from_it(bed: Bed) -> None:
    emails = add_settled(bed, 12)
    before = bed.google.snapshot()
    for dcid in range(903, 912):
        bed.powerschool.remove(dcid)
    outcome = bed.run()
    assert bed.google.snapshot() == before
    assert bed.google.attempted_writes == []
    assert all(told(outcome, email, "ERROR") for email in emails[3:])


def test_a_limit_that_is_passed_holds_all_of_that_kind_and_not_only_the_rest(bed: Bed) -> None:
    add_settled(bed, 20)
    left = [add_leaver(bed, dcid) for dcid in range(100, 111)]
    created = add_person(bed, 1)
    outcome = bed.run()
    assert outcome.exit_code == 3
    assert suspended(bed) == set()
    assert bed.google.user(created)["suspended"] is False
    assert bed.run("--allow", "suspend=11").exit_code == 0
    assert suspended(bed) == set(left)


def test_a_rebuilt_powerschool_whose_dcids_mean_other_people_ends_the_run_with_nothing_written(bed: Bed) -> None:
    for dcid in range(100, 108):
        add_person(bed, dcid)
        matching_account(
            bed, dcid, email=f"other{dcid}@d118.org", given="Other", family=f"Name{dcid}", employee_id=None
        )
    before = bed.google.snapshot()
    for dcid in range(100, 108):
        bed.powerschool.leave(dcid)
    add_person(bed, 1)
    assert_nothing_written(bed, before, bed.run(), 3)


# The same of Google.


def test_an_empty_google_listing_is_refused_and_nobody_is_created_again(bed: Bed) -> None:
    small_district(bed)
    before = bed.google.snapshot()
    bed.google.empty_listing = True
    outcome = bed.run()
    assert_nothing_written(bed, before, outcome, 3)
    assert told(outcome, "Google returned no accounts")


def add_students(bed: Bed, first: int, count: int) -> None:
    for number in range(first, first + count):
        bed.google.add_user(f"{number:04d}.pupil@d118.org", "Pupil", f"No {number}", ou="/Students")


def test_last_pages_that_are_missing_make_no_second_account_and_suspend_nobody(bed: Bed) -> None:
    # Addresses that begin with a digit come first, so the staff lie on the page that is dropped.
    add_students(bed, 1000, 500)
    emails = add_settled(bed, 4)
    before = bed.google.snapshot()
    bed.google.drop_last_pages = 1
    outcome = bed.run()
    assert "Google: 500 accounts, 0 with" in outcome.output, "the page was not dropped"
    assert bed.google.attempted_writes == [], outcome.output
    assert bed.google.snapshot() == before
    assert all(email in bed.google.addresses for email in emails)


def test_a_page_that_fails_for_good_is_no_end_of_the_listing(bed: Bed) -> None:
    add_students(bed, 1000, 500)
    small_district(bed)
    before = bed.google.snapshot()
    for status, reason in ((400, "invalid"), (503, "backendError")):
        bed.google.behave()
        bed.google.fail("users.list", status, reason, times=None, match=lambda request: "pageToken" in request.params)
        assert_nothing_written(bed, before, bed.run(), 2)


def test_a_mask_without_the_token_of_the_next_page_would_end_the_listing_early(bed: Bed) -> None:
    add_students(bed, 1000, 1000)
    add_settled(bed)
    outcome = bed.run()
    listings = [request for request in outcome.requests if request.method == "users.list"]
    assert len(listings) == 3, "not every page was read"
    assert all("nextPageToken" in request.params["fields"] for request in listings)
    assert outcome.exit_code == 0
    assert outcome.writes == []


def test_more_than_one_page_of_groups_is_read_when_somebody_leaves(bed: Bed) -> None:
    add_settled(bed)
    email = add_leaver(bed, 1)
    names = [f"group{number:03d}@d118.org" for number in range(201)]
    for name in names:
        bed.google.add_group(name, members={email: "MEMBER"})
    outcome = bed.run()
    assert outcome.exit_code == 0
    assert all(bed.google.members(name) == {} for name in names)
    assert {line["before"]["group"] for line in outcome.journal if line["kind"] == "leave group"} == set(names)


def test_a_listing_that_lags_behind_the_last_run_makes_no_second_account_and_no_second_suspension(bed: Bed) -> None:
    small_district(bed)
    add_person(bed, 4)
    matching_account(bed, 4, email="old.name@d118.org")
    add_person(bed, 5)
    matching_account(bed, 5, fields=matching_fields(bed, 5, DCID=None))
    add_person(bed, 6)
    matching_account(bed, 6, ou=SUSPENDED_OU, suspended=True)
    bed.google.lag()
    assert bed.run().exit_code == 0
    after = bed.google.snapshot()
    second = bed.run()
    assert second.exit_code == 0, second.output
    assert bed.google.attempted_writes == []
    assert second.journal == []
    assert bed.google.snapshot() == after


def test_an_account_on_a_missing_page_under_another_address_is_found_by_its_dcid(bed: Bed) -> None:
    add_settled(bed)
    email = add_person(bed, 1)
    matching_account(bed, 1, email="other.address@d118.org")
    # Addresses that begin with "a" fill the first page together with the settled.
    for number in range(497):
        bed.google.add_user(f"aaa{number:03d}@d118.org", "Pupil", f"No {number}", ou="/Students")
    bed.google.drop_last_pages = 1
    outcome = bed.run()
    assert [request.method for request in outcome.writes] == ["users.update"], outcome.output
    assert bed.google.user("other.address@d118.org")["primaryEmail"] == email


# Groups.


def test_an_owner_is_removed_only_with_the_role_in_the_journal_and_a_warning_for_a_group_without_owner(
    bed: Bed,
) -> None:
    add_settled(bed)
    email = add_leaver(bed, 1)
    bed.google.add_group("chess@d118.org", members={email: "OWNER"})
    bed.google.add_group("choir@d118.org", members={email: "OWNER", "kim.personjaa@d118.org": "OWNER"})
    outcome = bed.run()
    roles = {
        line["before"]["group"]: line["before"]["role"] for line in outcome.journal if line["kind"] == "leave group"
    }
    assert roles == {"chess@d118.org": "OWNER", "choir@d118.org": "OWNER"}
    assert len(told(outcome, "chess@d118.org has lost its last owner", "WARN")) == 1
    assert told(outcome, "choir@d118.org has lost", "WARN") == []


def test_nobody_who_stays_is_taken_out_of_a_group(bed: Bed) -> None:
    emails = add_settled(bed)
    bed.google.add_group("chess@d118.org", members=dict(zip(emails, ("OWNER", "MANAGER", "MEMBER"), strict=True)))
    left = add_leaver(bed, 1)
    bed.google.add_group("choir@d118.org", members={left: "MEMBER", emails[0]: "OWNER"})
    bed.run()
    assert bed.google.members("chess@d118.org") == dict(zip(emails, ("OWNER", "MANAGER", "MEMBER"), strict=True))
    assert bed.google.members("choir@d118.org") == {emails[0]: "OWNER"}


# Reactivated accounts that should have stayed closed.


def test_an_account_that_an_admin_or_google_has_closed_is_not_opened_again(bed: Bed) -> None:
    add_settled(bed)
    states: list[dict[str, Any]] = [
        {},
        {"ou": f"{SUSPENDED_OU}/Locked"},
        {"ou": SUSPENDED_OU, "reason": "ABUSE"},
        {"ou": SUSPENDED_OU, "reason": "UNDER13"},
        {"ou": SUSPENDED_OU, "admin": True},
    ]
    emails = []
    for dcid, state in enumerate(states, 100):
        emails.append(add_person(bed, dcid))
        matching_account(bed, dcid, suspended=True, **state)
    before = bed.google.snapshot()
    outcome = bed.run()
    assert bed.google.snapshot() == before
    assert outcome.exit_code == 1
    # A super admin is told when something would be due.
    assert all(told(outcome, email, "ERROR") for email in emails[:-1]), outcome.output


def test_somebody_rehired_does_not_stay_locked_out(bed: Bed) -> None:
    add_settled(bed)
    email = add_person(bed, 1)
    matching_account(bed, 1, ou=SUSPENDED_OU, suspended=True)
    outcome = bed.run()
    assert outcome.exit_code == 0
    assert bed.google.user(email)["suspended"] is False
    assert bed.google.user(email)["orgUnitPath"] == "/D118 Staff/Wauconda High School Staff"


def test_more_reactivations_than_the_limit_are_all_held(bed: Bed) -> None:
    add_settled(bed, 12)
    for dcid in range(100, 111):
        add_person(bed, dcid)
        matching_account(bed, dcid, ou=SUSPENDED_OU, suspended=True)
    before = bed.google.snapshot()
    outcome = bed.run()
    assert outcome.exit_code == 3
    assert bed.google.snapshot() == before
    assert told(outcome, "--allow reactivate=11")


# Renames and duplicates.


def test_more_renames_than_the_limit_are_all_held_and_the_rest_is_kept_in_step(bed: Bed) -> None:
    emails = []
    for dcid in range(100, 111):
        emails.append(add_person(bed, dcid))
        matching_account(bed, dcid, email=f"old{dcid}@d118.org")
    add_person(bed, 1)
    matching_account(bed, 1, fields=matching_fields(bed, 1, Staff_Group=4))
    outcome = bed.run()
    assert outcome.exit_code == 3
    assert not any(email in bed.google.addresses for email in emails)
    assert [request.body for request in outcome.writes] == [
        {"customSchemas": {"Synchronization_Data": {"Staff_Group": 9}}}
    ]
    assert told(outcome, "--allow rename=11")


def test_a_typing_error_in_the_domain_renames_nobody(bed: Bed) -> None:
    add_settled(bed)
    add_person(bed, 1)
    matching_account(bed, 1)
    before = bed.google.snapshot()
    bed.powerschool.person(1)["email_addr"] = "kim.personb@d811.org"
    outcome = bed.run()
    assert bed.google.snapshot() == before
    assert told(outcome, "d811.org", "INFO")


def test_a_changed_primary_address_aborts_nothing(bed: Bed) -> None:
    add_settled(bed)
    email, other = add_person(bed, 1), add_person(bed, 2)
    matching_account(bed, 1, email="changed.by.hand@d118.org")
    matching_account(bed, 2, fields=matching_fields(bed, 2, Staff_Group=4))
    assert bed.run().exit_code == 0
    assert bed.google.user("changed.by.hand@d118.org")["primaryEmail"] == email
    assert bed.google.user(other)["customSchemas"]["Synchronization_Data"]["Staff_Group"] == "9"


def test_a_rehire_under_a_second_record_is_told_and_gets_no_second_account(bed: Bed) -> None:
    add_settled(bed)
    email = add_leaver(bed, 1, ou=SUSPENDED_OU, suspended=True, employee_id=None)
    row = bed.powerschool.person(1)
    bed.powerschool.add_person(2, row["first_name"], row["last_name"], email, schools={5: 1}, teacher_number="1")
    before = bed.google.snapshot()
    outcome = bed.run()
    assert outcome.exit_code == 1
    assert bed.google.snapshot() == before
    assert len(told(outcome, "probable rehire")) == 1
    assert told(outcome, f"set Synchronization_Data.DCID of {email} to 2")


def test_two_active_records_with_one_address_hold_both_and_name_both(bed: Bed) -> None:
    add_settled(bed)
    email = add_person(bed, 1)
    matching_account(bed, 1, fields=matching_fields(bed, 1, Staff_Group=4))
    add_person(bed, 2, email=email)
    before = bed.google.snapshot()
    outcome = bed.run()
    assert outcome.exit_code == 1
    assert bed.google.snapshot() == before
    assert told(outcome, "(DCID 1)")
    assert told(outcome, "(DCID 2)")


# Passwords and secrets.


def test_first_passwords_are_long_random_different_and_to_be_changed(bed: Bed) -> None:
    add_settled(bed)
    for dcid in (1, 2, 3):
        add_person(bed, dcid)
    outcome = bed.run()
    bodies = [request.body or {} for request in outcome.writes]
    passwords = {body["password"] for body in bodies}
    assert len(passwords) == 3
    assert all(len(password) >= 20 for password in passwords)
    assert all(body["changePasswordAtNextLogin"] is True for body in bodies)
    kept = outcome.output + "".join(
        path.read_text("utf-8") for path in bed.folder.rglob("*") if path.suffix in {".txt", ".jsonl", ".json"}
    )
    assert not any(password in kept for password in passwords)


# A dead job nobody notices.


def test_a_dead_sign_in_opens_no_browser_and_says_in_one_line_what_to_do(bed: Bed) -> None:
    small_district(bed)
    before = bed.google.snapshot()
    for fault in ("invalid_grant", "invalid_rapt", "unauthorized_client", "invalid_client"):
        bed.google.token_fault = fault
        outcome = bed.run()
        assert_nothing_written(bed, before, outcome, 2)
        assert len(outcome.lines("ERROR")) == 1, outcome.output
        assert told(outcome, "Google sign-in")


def test_each_way_a_job_can_end_has_an_exit_code_of_its_own(bed: Bed) -> None:
    add_settled(bed, 20)
    assert bed.run().exit_code == 0
    add_person(bed, 1, homeschool=777)
    assert bed.run().exit_code == 1
    assert bed.run(env={"POWERSCHOOL_DB_PASSWORD": "wrong"}).exit_code == 2
    for dcid in range(900, 911):
        bed.powerschool.leave(dcid)
    assert bed.run().exit_code == 3, "a limit outranks what needs attention"


# Leavers left active.


def test_a_leaver_whose_address_was_blanked_is_closed_all_the_same(bed: Bed) -> None:
    add_settled(bed)
    email = add_leaver(bed, 1)
    bed.powerschool.person(1)["email_addr"] = None
    no_rows = add_leaver(bed, 2)
    bed.powerschool.school_staff = [row for row in bed.powerschool.school_staff if row["users_dcid"] != 2]
    assert bed.run().exit_code == 0
    assert suspended(bed) == {email, no_rows}


def test_a_leaver_whom_google_will_not_suspend_is_told_every_morning_until_it_does(bed: Bed) -> None:
    add_settled(bed)
    email = add_leaver(bed, 1)
    bed.google.fail("users.update", 400, "invalid", times=2)
    for _ in range(2):
        outcome = bed.run()
        assert outcome.exit_code == 1
        assert told(outcome, email)
        assert suspended(bed) == set()
    assert bed.run().exit_code == 0
    assert suspended(bed) == {email}


# People who do not fit the boxes.


def test_a_student_worker_with_a_numeric_address_is_skipped_and_named(bed: Bed) -> None:
    add_settled(bed)
    add_person(bed, 1, email="2027114@d118.org")
    bed.google.add_user("2027114@d118.org", "Kim", "Personb", ou="/Students")
    add_person(bed, 2)
    matching_account(bed, 2, ou="/Students")
    before = bed.google.snapshot()
    outcome = bed.run()
    assert outcome.exit_code == 0
    assert bed.google.snapshot() == before
    assert told(outcome, "2027114@d118.org", "INFO")
    assert told(outcome, "(DCID 2)", "INFO")


def test_real_surnames_that_others_keep_on_a_junk_list_are_people(bed: Bed) -> None:
    add_settled(bed)
    surnames = ("Do", "Not", "Use", "Sub", "Tech", "Test", "Nurse", "Commons", "New")
    for dcid, last in enumerate(surnames, 100):
        bed.powerschool.add_person(dcid, "Anh", last, f"anh.{last.lower()}@d118.org", schools={5: 1})
    bed.powerschool.add_person(200, "Test", "Teacher", "test.teacher@d118.org", schools={5: 1})
    outcome = bed.run()
    assert outcome.exit_code == 0
    assert all(f"anh.{last.lower()}@d118.org" in bed.google.addresses for last in surnames)
    assert "test.teacher@d118.org" not in bed.google.addresses
    assert told(outcome, "test.teacher@d118.org", "INFO")


@pytest.mark.parametrize("blank", [None, "", " ", "\u200b"])
def test_a_mononym_is_told_and_no_name_is_made_up(bed: Bed, blank: str | None) -> None:
    add_settled(bed)
    bed.powerschool.add_person(1, blank, "Sukarno", "sukarno@d118.org", schools={5: 1})
    outcome = bed.run()
    assert outcome.exit_code == 1
    assert "sukarno@d118.org" not in bed.google.addresses
    assert told(outcome, "sukarno@d118.org")
    assert outcome.writes == []


def test_staff_who_are_in_no_powerschool_at_all_are_left_alone(bed: Bed) -> None:
    add_settled(bed)
    bed.google.add_user("bus.driver@d118.org", "Bus", "Driver", ou="/D118 Staff/Wauconda High School Staff")
    before = bed.google.snapshot()
    assert bed.run().exit_code == 0
    assert bed.google.snapshot() == before


def test_a_substitute_goes_by_staff_type_first_and_by_building_second(bed: Bed) -> None:
    add_settled(bed)
    by_type, by_building = add_person(bed, 1, schools={5: 4}), add_person(bed, 2, schools={500: 1})
    assert bed.run().exit_code == 0
    for email in (by_type, by_building):
        assert bed.google.user(email)["orgUnitPath"] == "/Substitute Teachers"


def test_somebody_active_in_other_buildings_only_is_not_taken_for_a_leaver(bed: Bed) -> None:
    add_settled(bed)
    email = add_person(bed, 1, schools={101: 1, 105: 1}, inactive_schools={5: 1}, homeschool=5)
    matching_account(bed, 1)
    outcome = bed.run()
    assert suspended(bed) == set()
    assert bed.google.user(email)["customSchemas"]["Synchronization_Data"]["School_Access_List"] == "101;105"
    assert outcome.writes == []
