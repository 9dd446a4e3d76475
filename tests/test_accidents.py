"""Accidents that befell other tools of this kind, and reads that lie: each with the guard that stops it here.

Nearly all of them are one mistake: an answer that is empty, short or late is taken for "everybody has left" or
for "there is no such account". Where the guard is a rule of its own, its story lies with those of the rule.
"""

from __future__ import annotations

from typing import Any

from bed import Bed, Outcome, matching_account, matching_fields
from stories import SUSPENDED_OU, at_rest, colleagues, leaver, lines_about, outdated, person, settle, told


def small_district(bed: Bed) -> None:
    """Some who are settled, one to create, one to update, one who left: something to do for every read."""
    colleagues(bed, 3)
    person(bed, 1)
    outdated(bed, 2)
    leaver(bed, 3)


def assert_nothing_written(bed: Bed, before: dict[str, Any], outcome: Outcome, exit_code: int) -> None:
    assert outcome.exit_code == exit_code, outcome.output
    assert bed.google.attempted_writes == []
    assert bed.google.snapshot() == before
    assert outcome.journal == []
    assert outcome.output.splitlines()[-1].endswith("Nothing was written"), outcome.output


def suspended(bed: Bed) -> set[str]:
    return {user["id"] for user in bed.google.users.values() if user["suspended"]}


# Empty, short or failed reads taken for "everyone left": PowerSchool.


def test_an_empty_schoolstaff_suspends_nobody_by_only_and_allow_either(bed: Bed) -> None:
    emails = colleagues(bed, 3)
    before = bed.google.snapshot()
    bed.powerschool.school_staff.clear()
    outcome = bed.run("--only", emails[0], "--allow", "suspend=100")
    assert_nothing_written(bed, before, outcome, 3)


def test_an_empty_extension_table_clears_no_more_than_the_limit_and_suspends_nobody(bed: Bed) -> None:
    colleagues(bed, 26)
    before = bed.google.snapshot()
    bed.powerschool.extension.clear()
    outcome = bed.run()
    assert outcome.exit_code == 3
    assert bed.google.attempted_writes == []
    assert bed.google.snapshot() == before
    told(outcome, "ERROR", "--allow clear=26")


def test_a_schoolstaff_that_is_short_by_half_suspends_nobody_and_names_them_and_the_way_through(bed: Bed) -> None:
    emails = colleagues(bed, 30)
    before = bed.google.snapshot()
    bed.powerschool.school_staff = bed.powerschool.school_staff[:15]
    outcome = bed.run()
    assert outcome.exit_code == 3
    assert bed.google.snapshot() == before
    told(outcome, "ERROR", "Held: suspend", "--allow suspend=15", *emails[15:])


def test_a_users_table_that_is_short_suspends_nobody_who_is_missing_from_it(bed: Bed) -> None:
    emails = colleagues(bed)
    before = bed.google.snapshot()
    for dcid in range(9003, 9012):
        bed.powerschool.remove(dcid)
    outcome = bed.run()
    assert bed.google.snapshot() == before
    assert bed.google.attempted_writes == []
    assert all(lines_about(outcome, "ERROR", email) for email in emails[3:])


# The same of Google.


def add_students(bed: Bed, first: int, count: int) -> None:
    for number in range(first, first + count):
        bed.google.add_user(f"{number:04d}.pupil@d118.org", "Pupil", f"No {number}", ou="/Students")


def test_last_pages_that_are_missing_make_no_second_account_and_suspend_nobody(bed: Bed) -> None:
    # Addresses that begin with a digit come first, so the staff lie on the page that is dropped.
    add_students(bed, 1000, 500)
    emails = colleagues(bed, 4)
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
    colleagues(bed, 3)
    outcome = bed.run()
    listings = [request for request in outcome.requests if request.method == "users.list"]
    assert len(listings) == 3, "not every page was read"
    assert all("nextPageToken" in request.params["fields"] for request in listings)
    assert outcome.exit_code == 0
    assert outcome.writes == []


def test_a_listing_that_lags_behind_the_last_run_makes_no_second_account_and_no_second_suspension(bed: Bed) -> None:
    small_district(bed)
    settle(bed, 4, email="old.name@d118.org")
    person(bed, 5)
    matching_account(bed, 5, fields=matching_fields(bed, 5, DCID=None))
    settle(bed, 6, ou=SUSPENDED_OU, suspended=True)
    bed.google.lag()
    assert bed.run().exit_code == 0
    after = bed.google.snapshot()
    second = at_rest(bed)
    assert second.exit_code == 0, second.output
    assert bed.google.attempted_writes == []
    assert second.journal == []
    assert bed.google.snapshot() == after


def test_an_account_on_a_missing_page_under_another_address_is_found_by_its_dcid(bed: Bed) -> None:
    colleagues(bed, 3)
    email = person(bed, 1)
    matching_account(bed, 1, email="other.address@d118.org")
    # Addresses that begin with "a" fill the first page together with the settled.
    for number in range(497):
        bed.google.add_user(f"aaa{number:03d}@d118.org", "Pupil", f"No {number}", ou="/Students")
    bed.google.drop_last_pages = 1
    outcome = bed.run()
    assert [request.method for request in outcome.writes] == ["users.update"], outcome.output
    assert bed.google.user("other.address@d118.org")["primaryEmail"] == email


# Too much at once.


def test_more_renames_and_reactivations_than_the_shipped_limits_are_all_held_and_the_rest_goes_on(bed: Bed) -> None:
    colleagues(bed)
    for dcid in range(100, 111):
        settle(bed, dcid, email=f"old{dcid}@d118.org")
        settle(bed, dcid + 100, ou=SUSPENDED_OU, suspended=True)
    outdated(bed, 1)
    outcome = bed.run()
    assert outcome.exit_code == 3
    assert [request.body for request in outcome.writes] == [
        {"customSchemas": {"Synchronization_Data": {"Staff_Group": 9}}}
    ]
    told(outcome, "ERROR", "--allow rename=11")
    told(outcome, "ERROR", "--allow reactivate=11")


# A dead job nobody notices.


def test_each_way_a_job_can_end_has_an_exit_code_of_its_own(bed: Bed) -> None:
    colleagues(bed, 20)
    assert bed.run().exit_code == 0
    person(bed, 1, homeschool=777)
    assert bed.run().exit_code == 1
    assert bed.run(env={"POWERSCHOOL_DB_PASSWORD": "wrong"}).exit_code == 2
    for dcid in range(9000, 9011):
        bed.powerschool.leave(dcid)
    assert bed.run().exit_code == 3, "a limit outranks what needs attention"


# Leavers left active.


def test_a_leaver_whom_google_will_not_suspend_is_told_every_morning_until_it_does(bed: Bed) -> None:
    colleagues(bed, 3)
    left = leaver(bed, 1)
    bed.google.fail("users.update", 400, "invalid", times=2)
    for _ in range(2):
        outcome = bed.run()
        assert outcome.exit_code == 1
        told(outcome, "ERROR", 1)
        assert suspended(bed) == set()
    assert bed.run().exit_code == 0
    assert suspended(bed) == {left}


# People who do not fit the boxes.


def test_real_surnames_that_others_keep_on_a_junk_list_are_people(bed: Bed) -> None:
    colleagues(bed, 3)
    surnames = ("Do", "Not", "Use", "Sub", "Tech", "Test", "Nurse", "Commons", "New")
    for dcid, last in enumerate(surnames, 100):
        bed.powerschool.add_person(dcid, "Anh", last, f"anh.{last.lower()}@d118.org", schools={5: 1})
    bed.powerschool.add_person(200, "Test", "Teacher", "test.teacher@d118.org", schools={5: 1})
    outcome = bed.run()
    assert outcome.exit_code == 0
    assert all(f"anh.{last.lower()}@d118.org" in bed.google.addresses for last in surnames)
    assert "test.teacher@d118.org" not in bed.google.addresses
    told(outcome, "INFO", 200, "bad name")


def test_a_mononym_is_told_and_no_name_is_made_up(bed: Bed) -> None:
    colleagues(bed, 3)
    blanks = (None, "", " ", "\u200b")
    for dcid, blank in enumerate(blanks, 1):
        bed.powerschool.add_person(dcid, blank, "Sukarno", f"sukarno{dcid}@d118.org", schools={5: 1})
    outcome = bed.run()
    assert outcome.exit_code == 1
    assert bed.google.attempted_writes == []
    for dcid in range(1, len(blanks) + 1):
        told(outcome, "ERROR", dcid, f"sukarno{dcid}@d118.org", "first name has 0 characters")


def test_staff_who_are_in_no_powerschool_at_all_are_left_alone(bed: Bed) -> None:
    colleagues(bed, 3)
    bed.google.add_user("bus.driver@d118.org", "Bus", "Driver", ou="/D118 Staff/Wauconda High School Staff")
    before = bed.google.snapshot()
    assert bed.run().exit_code == 0
    assert bed.google.snapshot() == before
