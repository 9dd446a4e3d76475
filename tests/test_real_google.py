"""Runs against a Google that is less kind: own aliases that must go first, domain aliases, deleted accounts."""

from __future__ import annotations

import datetime

import pytest
from bed import Bed
from google_server import WRITES
from stories import MAYA, NOOR, add_known, newest_journal
from test_interruption import Start, killed_run

EARLIER = "maya.jones@d118.org"


def married_back(bed: Bed) -> str:
    """Maya's address in PowerSchool is an alias of her own account, which bears another one; gives its id."""
    bed.google.world.own_alias_can_be_primary = False
    add_known(bed, 8)
    return add_known(bed, 7, email=EARLIER, aliases=[MAYA])


def addresses(bed: Bed, account: str) -> tuple[str, list[str]]:
    user = bed.google.users[account]
    return user["primaryEmail"], user["aliases"]


@pytest.mark.parametrize("can_be_primary", [True, False])
def test_an_own_alias_becomes_the_address_in_both_worlds_and_an_undo_brings_the_other_back(
    bed: Bed, can_be_primary: bool
) -> None:
    account = married_back(bed)
    bed.google.world.own_alias_can_be_primary = can_be_primary

    outcome = bed.run()
    assert outcome.exit_code == 0, outcome.output
    assert addresses(bed, account) == (MAYA, [EARLIER])
    assert bed.run().writes == []

    undone = bed.run("--undo", newest_journal(bed).stem, "--yes")
    assert undone.exit_code == 0, undone.output
    assert bed.google.users[account]["primaryEmail"] == EARLIER


def test_an_own_alias_that_google_holds_for_a_day_is_told_until_it_is_the_address(bed: Bed) -> None:
    account = married_back(bed)
    bed.google.world.requests_until_alias_is_free = None

    for _ in range(2):
        outcome = bed.run()
        assert outcome.exit_code == 1, outcome.output
        assert any(MAYA in text for text in outcome.lines("ERROR")), outcome.output
        assert addresses(bed, account) == (EARLIER, [])

    bed.google.free_addresses()
    assert bed.run().exit_code == 0
    assert addresses(bed, account) == (MAYA, [EARLIER])
    assert bed.run().writes == []


def test_an_own_alias_that_went_in_vain_is_put_back_once_nobody_wants_it_as_the_address(bed: Bed) -> None:
    account = married_back(bed)
    bed.google.world.requests_until_alias_is_free = None
    bed.run()
    bed.powerschool.person(7)["email_addr"] = EARLIER

    held = bed.run()
    assert (held.exit_code, addresses(bed, account)) == (1, (EARLIER, [])), held.output

    bed.google.free_addresses()
    assert bed.run().exit_code == 0
    assert addresses(bed, account) == (EARLIER, [MAYA])
    assert bed.run().writes == []


def test_an_alias_that_an_admin_takes_away_later_stays_away(bed: Bed) -> None:
    account = married_back(bed)
    bed.run()
    bed.google.world.own_alias_can_be_primary = True
    bed.powerschool.person(7)["email_addr"] = EARLIER
    assert bed.run().exit_code == 0
    assert addresses(bed, account) == (EARLIER, [MAYA])
    user = bed.google.users[account]
    bed.google._put_user({**user, "aliases": []})
    del bed.google.addresses[MAYA]

    outcome = bed.run()

    assert (outcome.exit_code, outcome.writes) == (0, []), outcome.output
    assert addresses(bed, account) == (EARLIER, [])


def test_a_run_killed_at_any_write_of_an_own_alias_is_finished_by_the_next(bed: Bed, subtests: pytest.Subtests) -> None:
    account = married_back(bed)
    start = Start(bed)
    numbers = [request.number for request in bed.run().requests if request.method in WRITES]
    assert len(numbers) == 3, "refused, removed, renamed"
    for number, moment in [(number, moment) for number in numbers for moment in ("before", "after")]:
        with subtests.test(number=number, moment=moment):
            start.again()
            bed.google.world.own_alias_can_be_primary = False
            killed_run(bed, number, moment)
            bed.google.world.own_alias_can_be_primary = False

            outcome = bed.run()

            assert outcome.exit_code == 0, outcome.output
            assert addresses(bed, account) == (MAYA, [EARLIER])
            assert bed.run().writes == []


def test_an_address_at_an_alias_of_the_domain_is_agreement(bed: Bed) -> None:
    bed.settings["GOOGLE_DOMAINS"] = ["d118.org", "old118.org"]
    add_known(bed, 7)
    bed.google.add_domain_alias("old118.org")
    bed.powerschool.person(7)["email_addr"] = MAYA.replace("d118", "old118")

    outcome = bed.run()

    assert (outcome.exit_code, outcome.writes) == (0, []), outcome.output
    assert outcome.lines("ERROR") == []


@pytest.mark.parametrize(("days", "is_created"), [(2, False), (19, False), (21, True)])
@pytest.mark.parametrize("by", ["address", "DCID"])
def test_who_was_deleted_in_the_last_20_days_gets_no_empty_account(
    bed: Bed, days: int, is_created: bool, by: str
) -> None:
    add_known(bed, 8)
    bed.powerschool.add_person(7, "Maya", "Patel", MAYA, schools={5: 1})
    deleted = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=days)
    email, dcid = (MAYA, {}) if by == "address" else (EARLIER, {"Synchronization_Data": {"DCID": "7"}})
    bed.google.add_deleted_user(email, "Maya", "Patel", deleted=deleted, fields=dcid)

    for arguments in (("--dry-run",), ()):
        outcome = bed.run(*arguments)
        told = [text for text in outcome.lines("ERROR") if text.startswith("recently deleted: Maya Patel")]
        assert (outcome.exit_code, len(told)) == ((0, 0) if is_created else (1, 1)), outcome.output
        assert all(email in text and f"{deleted:%Y-%m-%d}" in text and "restore" in text for text in told)
    assert (MAYA in bed.google.addresses) is is_created


def test_leavers_are_closed_before_anybody_elses_work_begins(bed: Bed) -> None:
    for dcid in (7, 8):
        add_known(bed, dcid)
    bed.powerschool.add_person(1, "Ann", "First", "ann.first@d118.org", schools={5: 1})
    bed.powerschool.leave(8)

    outcome = bed.run()

    kinds = [row["kind"] for row in outcome.journal if row["state"] == "done"]
    assert kinds == ["suspend", "move to suspended", "create"]
    assert bed.google.user(NOOR)["suspended"]
