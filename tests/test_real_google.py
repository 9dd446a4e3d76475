"""Runs against a Google that is less kind: own aliases that must go first, domain aliases, deleted accounts."""

from __future__ import annotations

import datetime
import json
import re
from typing import Any

import pytest
from bed import SIGNED_IN_SCOPES, Bed
from google_server import ODD_ANSWERS, SCOPE_PREFIX, WRITES
from stories import MAYA, NOOR, add_known, colleagues, done, newest_journal, of_account, outdated, person, told
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


def test_an_own_alias_stays_where_google_only_asks_to_try_again(bed: Bed) -> None:
    account = married_back(bed)
    bed.google.fail("users.update", 409, "conflict", "Conflicting requests. Please try again", times=None)
    outcome = bed.run()
    assert (outcome.exit_code, addresses(bed, account)) == (1, (EARLIER, [MAYA])), outcome.output
    bed.google.behave()
    assert bed.run().exit_code == 0
    assert addresses(bed, account) == (MAYA, [EARLIER])


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


@pytest.mark.parametrize("shelter", ["HANDS_OFF", "PROTECTED_OUS"])
def test_an_own_alias_that_went_in_vain_is_not_put_back_where_hands_are_off(bed: Bed, shelter: str) -> None:
    account = married_back(bed)
    bed.google.world.requests_until_alias_is_free = None
    bed.run()
    bed.powerschool.person(7)["email_addr"] = EARLIER
    bed.google.free_addresses()
    shelters = {
        "HANDS_OFF": {"7": ("on leave", "2099-06-30")},
        "PROTECTED_OUS": [bed.google.users[account]["orgUnitPath"]],
    }
    bed.settings[shelter] = shelters[shelter]

    outcome = bed.run()

    assert (outcome.writes, addresses(bed, account)) == ([], (EARLIER, [])), outcome.output
    assert any("DCID 7" in text and shelter in text for text in outcome.lines("INFO")), outcome.output


@pytest.mark.measured
def test_an_own_alias_that_went_in_vain_is_put_back_before_anybody_else_takes_it(bed: Bed) -> None:
    account = married_back(bed)
    bed.google.world.requests_until_alias_is_free = None
    bed.run()
    bed.powerschool.person(7)["email_addr"] = EARLIER
    person(bed, 9, "Maya", "Sanchez", email=MAYA)
    bed.google.free_addresses()
    bed.google.latency, bed.settings["WRITES_AT_ONCE"] = 0.1, 8

    outcome = bed.run()

    assert addresses(bed, account) == (EARLIER, [MAYA]), outcome.output
    told(outcome, "ERROR", 9, f"{MAYA} is taken by {EARLIER} as an alias")


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
    checked = bed.run("--check").output
    assert re.search("good +GOOGLE_DOMAINS: entry 2 is seen only as an alias of another domain", checked)
    assert "entry 1" not in checked


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


HEALING = ("system error", "rate as a page", "rate", "a page", "login required")


def test_odd_words_that_heal_are_tried_again_at_every_request(bed: Bed) -> None:
    colleagues(bed)
    identities = {name: outdated(bed, 201 + place) for place, name in enumerate(HEALING)}
    for name, identity in identities.items():
        bed.google.fail("users.update", **ODD_ANSWERS[name], match=of_account(identity))
    for method in ("orgunits.list", "users.list"):
        bed.google.fail(method, **ODD_ANSWERS["rate as a page"])
    outcome = bed.run()
    assert outcome.exit_code == 0, outcome.output
    assert {dcid for dcid, _ in done(outcome)} == {*range(201, 201 + len(HEALING))}


def test_login_required_is_asked_again_once_and_no_more(bed: Bed) -> None:
    colleagues(bed)
    asked = []
    # Whatever Google's own client sends again after a 401, it does so for each of ours.
    for fault in ({"status": 401, "reason": "authError", "message": "No"}, ODD_ANSWERS["login required"]):
        bed.google.behave()
        bed.google.fail("users.list", **{**fault, "times": None})
        outcome = bed.run()
        assert outcome.exit_code == 2, outcome.output
        asked.append(sum(request.method == "users.list" for request in outcome.requests))
    assert asked[1] == 2 * asked[0]
    assert "Login Required" in outcome.lines("ERROR")[-1]


@pytest.mark.parametrize("name", [name for name in ODD_ANSWERS if name.startswith("token")])
@pytest.mark.parametrize("when", ["at the start", "in mid-run"])
def test_a_token_service_that_answers_oddly_is_asked_again(bed: Bed, name: str, when: str) -> None:
    colleagues(bed)
    outdated(bed, 201)

    def expire(request: Any, at: str) -> None:
        if request.method == "users.list" and at == "after":
            bed.google.hook = None
            bed.google.expire_tokens()
            bed.google.fail("token", **ODD_ANSWERS[name])

    if when == "in mid-run":
        bed.google.hook = expire
    else:
        bed.google.fail("token", **ODD_ANSWERS[name])
    outcome = bed.run()
    assert (outcome.exit_code, done(outcome)) == (0, {(201, "update")}), outcome.output


def test_an_error_body_that_is_no_json_is_quoted_and_not_replaced_by_advice_about_rights(bed: Bed) -> None:
    bed.google.fail("users.list", **{**ODD_ANSWERS["a page"], "times": None})
    outcome = bed.run("--dry-run")
    assert outcome.exit_code == 2
    last = outcome.output.splitlines()[-1]
    assert "Google answered 403 : Forbidden" in last
    assert "run again later" in last
    assert "admin" not in last


def test_an_address_is_not_said_to_be_taken_where_google_only_asks_to_try_again(bed: Bed) -> None:
    add_known(bed, 8)
    person(bed, 9, "Maya", "Sanchez")
    bed.google.fail("users.insert", 409, "conflict", "Conflicting requests. Please try again", times=None)
    line = told(bed.run(), "ERROR", 9, "Conflicting requests", "the next run tries again")
    assert "taken" not in line


def test_a_rename_with_too_many_aliases_says_nothing_of_licences(bed: Bed) -> None:
    colleagues(bed)
    add_known(bed, 7, email=EARLIER, aliases=[f"maya{number}@d118.org" for number in range(30)])
    bed.powerschool.add_person(8, "Noor", "Haddad", NOOR, schools={5: 1})
    outcome = bed.run()
    line = told(outcome, "ERROR", 7, "limitExceeded")
    assert "licen" not in line
    assert (8, "create") in done(outcome), "and nobody else's creation is stopped by it"


def test_who_was_refused_the_night_before_does_not_end_the_kind_for_everybody(bed: Bed) -> None:
    colleagues(bed)
    old = [outdated(bed, 201 + place) for place in range(9)]
    for identity in old:
        bed.google.fail("users.update", 400, "invalid", times=None, match=of_account(identity))
    assert bed.run().exit_code == 1
    new = [outdated(bed, 221 + place) for place in range(9)]
    bed.google.fail("users.update", 400, "invalid", times=None, match=lambda r: r.params["userKey"] in new[:8])
    outcome = bed.run()
    assert not [line for line in outcome.lines("ERROR") if line.startswith("refused by Google")], outcome.output
    assert done(outcome) == {(229, "update")}


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_deletion_with_an_answer_other_than_204_is_looked_up(bed: Bed, when: str) -> None:
    """What stands in the journal is what Google has, and a membership that remains is tried by the next run."""
    add_known(bed, 8)
    add_known(bed, 7)
    bed.google.add_group("math@d118.org", members={MAYA: "MEMBER"})
    bed.powerschool.leave(7)
    bed.google.fail("members.delete", 200, body=b"<html>Blocked</html>", when=when, times=None)
    outcome = bed.run()
    (state,) = {row["state"] for row in outcome.journal if row["kind"] == "leave group"} - {"intended"}
    assert state == ("done" if when == "after" else "unknown")
    assert (MAYA in bed.google.members("math@d118.org")) is (when == "before")
    assert outcome.exit_code == (1 if when == "before" else 0)
    bed.google.behave()
    assert bed.run().exit_code == 0
    assert bed.google.members("math@d118.org") == {}


def test_a_write_that_was_never_known_to_be_made_is_looked_at_again_by_an_undo(bed: Bed) -> None:
    colleagues(bed)
    identity = outdated(bed, 201)
    # It is made, and nobody can ask whether.
    bed.google.fail("users.update", 503, when="after", times=None)
    seen = [0]

    def lost(request: Any) -> bool:
        seen[0] += request.params.get("userKey") == identity
        return request.params.get("userKey") == identity and seen[0] > 1

    bed.google.fail("users.get", 503, times=None, match=lost)
    assert bed.run().exit_code == 1
    bed.google.behave()
    undone = bed.run("--undo", "last", "--yes")
    assert done(undone) == {(201, "update")}, undone.output
    assert bed.google.users[identity]["customSchemas"]["Synchronization_Data"]["Staff_Group"] == "4"


def test_an_undo_gives_a_membership_back_with_its_delivery_settings(bed: Bed) -> None:
    add_known(bed, 8)
    add_known(bed, 7)
    bed.google.add_group("math@d118.org", members={MAYA: "MANAGER"}, delivery={MAYA: "DIGEST"})
    # Of the membership that is put back last Google says nothing but the role.
    bed.google.add_group("art@d118.org", members={MAYA: "MEMBER"})
    bed.google.fail("members.get", 200, body=b'{"role": "MEMBER"}')
    bed.powerschool.leave(7)
    assert bed.run().exit_code == 0
    assert bed.google.members("math@d118.org") == bed.google.members("art@d118.org") == {}
    assert bed.run("--undo", "last", "--yes").exit_code == 0
    assert bed.google.members("art@d118.org") == {MAYA: "MEMBER"}
    assert bed.google.members("math@d118.org") == {MAYA: "MANAGER"}
    assert bed.google.delivery("math@d118.org") == {MAYA: "DIGEST"}


@pytest.mark.measured
def test_setup_stops_unless_the_second_look_shows_every_field_that_the_first_one_did(bed: Bed) -> None:
    """A schema is sent whole, so a field that is not shown would be dropped with all its values."""
    add_known(bed, 7)
    schemas = {name: dict(held) for name, held in bed.setting("CUSTOM_SCHEMAS").items()}
    schemas["Synchronization_Data"]["Teacher_Number"] = "teacher_number"
    bed.settings["CUSTOM_SCHEMAS"] = schemas
    bed.google.write_service_account(bed.folder, scopes=[*SIGNED_IN_SCOPES, f"{SCOPE_PREFIX}userschema"])
    bed.google.add_user("admin@d118.org", "Ad", "Min", admin=True)
    bed.environment["GOOGLE_ADMIN_EMAIL"] = "admin@d118.org"
    before = bed.google.snapshot()["schemas"]
    own = next(schema for schema in before.values() if schema["schemaName"] == "Synchronization_Data")
    short = {**own, "fields": own["fields"][:-1]}
    bed.google.fail("schemas.get", 200, body=json.dumps(short).encode())
    outcome = bed.run("--setup", "--yes")
    assert (outcome.exit_code, outcome.writes) == (2, []), outcome.output
    assert f"{own['fields'][-1]['fieldName']}, which it showed before" in outcome.output
    assert bed.google.snapshot()["schemas"] == before
    assert bed.run("--setup", "--yes").exit_code == 0
    fields = {entry["fieldName"]: entry for entry in bed.google.schemas["Synchronization_Data"]["fields"]}
    assert {entry["fieldName"] for entry in own["fields"]} < {*fields}
    assert fields["Teacher_Number"]["readAccessType"] == "ADMINS_AND_SELF"
