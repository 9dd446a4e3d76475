"""What a night asks of both sides, and what is told when one of them, or both, cannot be read."""

from __future__ import annotations

from collections import Counter

import pytest
from bed import Bed
from google_server import Request
from stories import colleagues, outdated, person, settle

FRAME = {"token": 1, "orgunits.list": 1, "schemas.list": 1}


def asked(bed: Bed, *arguments: str, exit_code: int = 0) -> Counter[str]:
    outcome = bed.run(*arguments)
    assert outcome.exit_code == exit_code, outcome.output
    return Counter(request.method for request in outcome.requests)


def test_a_quiet_night_asks_for_org_units_schemas_and_the_pages_of_the_listing(bed: Bed) -> None:
    colleagues(bed)
    for number in range(1000):
        bed.google.add_user(f"student{number}@d118.org", "Stu", "Dent", ou="/Students")
    assert asked(bed) == {**FRAME, "users.list": 3}


def test_a_matter_that_stands_costs_one_question_a_night(bed: Bed) -> None:
    colleagues(bed)
    person(bed, 201, "Maya")
    bed.google.add_group("maya.personcab@d118.org")
    asked(bed, exit_code=1)
    # One for the accounts that were deleted of late, as somebody would be created.
    assert asked(bed, exit_code=1) == {**FRAME, "users.list": 2, "users.get": 1}


@pytest.mark.parametrize("what", ["a limit", "unlinked accounts"])
def test_who_cannot_be_created_tonight_is_not_looked_up_night_after_night(bed: Bed, what: str) -> None:
    if what == "a limit":
        colleagues(bed)
        bed.settings["LIMITS"] = {**bed.setting("LIMITS"), "create": 2}
    else:
        bed.settings["LIMITS"] = {**bed.setting("LIMITS"), "link": 0}
        for dcid in range(301, 305):
            settle(bed, dcid, fields={})
    for dcid in range(201, 204):
        person(bed, dcid)
    assert asked(bed, "--dry-run", exit_code=3) == {**FRAME, "users.list": 2}
    looked_up = {"users.list": 2 + 3, "users.get": 3, "groups.get": 3}
    assert asked(bed, "--dry-run", "--allow", "create=3", exit_code=0 if what == "a limit" else 3) == FRAME | looked_up


@pytest.mark.measured
def test_an_account_is_looked_at_once_before_its_write(bed: Bed) -> None:
    colleagues(bed)
    for dcid in range(201, 204):
        outdated(bed, dcid)
    bed.settings["WRITES_AT_ONCE"] = 8
    assert asked(bed) == {**FRAME, "users.list": 1, "users.get": 3, "users.update": 3}


def test_powerschool_and_the_first_pages_of_google_are_read_at_once(bed: Bed) -> None:
    """PowerSchool answers here as soon as the second page is asked for, and the first needs PowerSchool to be read."""
    colleagues(bed)
    for number in range(600):
        bed.google.add_user(f"student{number}@d118.org", "Stu", "Dent", ou="/Students")
    bed.settings["TIMEOUT_SECONDS"] = 5
    bed.oracle.faults.hang = "FROM users"

    def answer(request: Request, when: str) -> None:
        if request.method == "users.list" and when == "before" and "pageToken" in request.params:
            bed.oracle.faults.hang = None

    bed.google.hook = answer
    outcome = bed.run()
    assert outcome.exit_code == 0, outcome.output


def test_when_both_sides_fail_it_is_powerschool_that_is_told(bed: Bed) -> None:
    colleagues(bed)
    bed.oracle.faults.fail("from users", 942)
    for method in ("orgunits.list", "schemas.list", "users.list"):
        bed.google.behave()
        bed.google.fail(method, 403, "forbidden", "No", times=None)
        outcome = bed.run()
        errors = outcome.lines("ERROR")
        assert outcome.exit_code == 2
        assert len(errors) == 1
        assert "reading USERS" in errors[0], errors
    bed.oracle.faults.statement_errors.clear()
    assert "Google, listing accounts" in bed.run().lines("ERROR")[0]
