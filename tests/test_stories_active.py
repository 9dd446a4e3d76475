"""Whole stories about people who work here: created, linked, renamed, moved, reactivated, kept in step."""

from __future__ import annotations

from typing import Any

import pytest
from bed import Bed, matching_account, matching_fields
from google_server import Request
from stories import (
    COTTON_CREEK,
    CROWN,
    DISTRICT_OFFICE,
    FROZEN_OU,
    GRADE,
    HIGH,
    LETTERS,
    LUNCH,
    MATTHEWS,
    MAYA,
    MIDDLE,
    NOOR,
    OU_OF,
    STAFF,
    STUDENT_OU,
    SUBSTITUTE,
    SUBSTITUTE_OU,
    SUBSTITUTES,
    SUSPENDED_OU,
    TEACHER,
    TEMPORARY_OU,
    add_known,
    at_rest,
    bodies,
    done,
    errors,
    inserted,
    is_open,
    journalled,
    leaver,
    person,
    settle,
    silent,
    told,
)

pytestmark = pytest.mark.usefixtures("staffed")


def synced(bed: Bed, address: str) -> Any:
    return bed.google.user(address)["customSchemas"]["Synchronization_Data"]


def dcid_at(bed: Bed, address: str) -> str | None:
    """The DCID the account carries, as Google gives it."""
    held = bed.google.user(address).get("customSchemas", {}).get("Synchronization_Data", {}).get("DCID")
    return None if held is None else str(held)


# Creating.


def test_a_new_account_gets_everything_in_one_insert(bed: Bed) -> None:
    person(bed, 201, "Maya", "Patel", GRADE, schools={GRADE: TEACHER, HIGH: STAFF, 101: LUNCH})
    person(bed, 202, "SEAN", "MCDONALD", SUBSTITUTES, SUBSTITUTE, teacher_number=None, cell_phone=None, group=None)
    outcome = bed.run("--verbose")
    assert outcome.exit_code == 0, outcome.output
    assert [request.method for request in outcome.writes] == ["users.insert"] * 2
    maya, sean = (dict(request.body or {}) for request in outcome.writes)
    passwords = [str(body.pop("password")) for body in (maya, sean)]
    assert maya == {
        "primaryEmail": "maya.patel@d118.org",
        "name": {"givenName": "Maya", "familyName": "Patel"},
        "orgUnitPath": OU_OF[GRADE],
        "customSchemas": {
            "Synchronization_Data": {
                "DCID": 201, "Homeschool_ID": GRADE, "School_Access_List": "5;101;103", "Staff_Type": TEACHER,
                "Staff_Group": 9,
            },
            "CrisisGO": {"Building": "Wauconda Grade School", "CellPhone": "847-555-0201"},
        },
        "externalIds": [{"type": "organization", "value": "4201"}],
        "changePasswordAtNextLogin": True,
    }  # fmt: skip
    assert sean["name"] == {"givenName": "Sean", "familyName": "McDonald"}
    assert sean["orgUnitPath"] == SUBSTITUTE_OU
    assert sean.get("externalIds", []) == []
    assert passwords[0] != passwords[1]
    assert all(20 <= len(password) <= 100 and password.isascii() for password in passwords)
    assert bed.secrets_left(outcome.output) == []
    at_rest(bed)


def test_new_accounts_get_the_password_of_the_district_where_it_has_one(bed: Bed) -> None:
    person(bed, 201, "Maya", "Patel", GRADE)
    person(bed, 202, "Liam", "Reed", GRADE)
    bed.settings["SET_EMPLOYEE_ID"] = False
    outcome = bed.run(env={"NEW_USER_PASSWORD": "Welcome-2026!"})
    sent = [request.body for request in outcome.writes if request.body]
    assert {body["password"] for body in sent} == {"Welcome-2026!"}
    assert all(body["changePasswordAtNextLogin"] for body in sent)
    assert not any(body.get("externalIds") for body in sent)
    assert "Welcome-2026!" not in outcome.output + outcome.log + str(outcome.journal)


def test_an_account_created_last_night_is_not_created_again_while_the_listing_lags(bed: Bed) -> None:
    person(bed, 201, "Maya", "Patel", GRADE)
    bed.google.lag()
    assert inserted(bed.run()) == ["maya.patel@d118.org"]
    second = at_rest(bed)
    assert inserted(second) == []
    assert second.exit_code == 0, second.output


def test_a_new_account_is_looked_up_by_dcid_too_and_the_one_found_is_kept(bed: Bed) -> None:
    person(bed, 201, "Maya", "Patel", GRADE)
    bed.google.lag()
    matching_account(bed, 201, email="maya.old@d118.org")

    def catch_up(request: Request, when: str) -> None:
        if when == "before" and "query" in request.params:
            bed.google.catch_up()

    bed.google.hook = catch_up
    outcome = bed.run()
    assert inserted(outcome) == []
    assert done(outcome) == {(201, "rename")}
    assert outcome.exit_code == 0, outcome.output
    at_rest(bed)


def test_only_people_who_would_be_created_are_looked_up(bed: Bed) -> None:
    person(bed, 201, "Maya", "Patel", GRADE)
    person(bed, 202, "Carol", "Ashe", GRADE, email=" ")
    person(bed, 203, "Ed", "Burke", CROWN, email="ed.burke@gmail.com")
    outcome = bed.run("--dry-run")
    looked_up = {r.params["userKey"] for r in outcome.requests if r.method == "users.get"}
    queries = [r.params["query"] for r in outcome.requests if "query" in r.params]
    assert looked_up == {"maya.patel@d118.org"}
    assert queries == ["Synchronization_Data.DCID=201"]
    assert outcome.exit_code == 0, outcome.output


def test_nobody_is_created_where_the_address_or_the_person_may_be_there_already(bed: Bed) -> None:
    bed.google.add_user("frontdesk@d118.org", "Front", "Desk", aliases=["rita.gomez@d118.org"])
    bed.google.add_group("office@d118.org", aliases=["offices@d118.org"])
    settle(bed, 210, "Nina", "Chavez", email="pam.ellis@d118.org", aliases=["nina.chavez@d118.org"])
    bed.powerschool.person(210)["email_addr"] = "nina.chavez@d118.org"
    person(bed, 201, "Rita", "Gomez", CROWN)
    person(bed, 202, "Office", "Manager", CROWN, email="office@d118.org")
    person(bed, 203, "Other", "Manager", CROWN, email="offices@d118.org")
    person(bed, 204, "Pam", "Ellis", CROWN)
    person(bed, 205, "Chris", "Taylor", CROWN)
    person(bed, 206, "Christa", "Taylor", CROWN, email="Chris.Taylor@d118.org ")
    person(bed, 207, "Tara", "Íngram", CROWN, teacher_number=None)
    bed.google.add_user("tingram@d118.org", "TARA", "ingram", ou=SUSPENDED_OU, suspended=True)
    person(bed, 208, "Una", "Vale", CROWN)
    bed.google.add_user("somebody@d118.org", "Anna", "Wu", ou="/", employee_id="4208")
    # The same name where students live is another person.
    person(bed, 209, "Vera", "Young", CROWN)
    bed.google.add_user("2030999@d118.org", "Vera", "Young", ou=STUDENT_OU)
    outcome = bed.run()
    assert outcome.exit_code == 1
    told(outcome, "ERROR", 201, "frontdesk@d118.org has no DCID, with the same address (an alias)")
    told(outcome, "ERROR", 202, "group")
    told(outcome, "ERROR", 203, "group")
    told(outcome, "ERROR", 204, "carries the DCID of Nina Chavez")
    assert len([line for line in errors(outcome) if "(DCID 205)" in line and "(DCID 206)" in line]) == 2
    told(outcome, "ERROR", 207, "tingram@d118.org")
    told(outcome, "ERROR", 208, "somebody@d118.org")
    assert inserted(outcome) == ["vera.young@d118.org"]
    assert done(outcome) == {(209, "create"), (210, "rename")}


def test_what_google_refuses_of_one_person_does_not_stop_the_next(bed: Bed) -> None:
    person(bed, 201, "", "Jarvis", GRADE, email="jarvis@d118.org")
    person(bed, 202, "A" * 61, "Long", GRADE, email="long@d118.org")
    person(bed, 203, "Odd", "Address", GRADE, email="odd..address@d118.org")
    person(bed, 204, "Una", "Vale", 777)
    person(bed, 205, "Tom", "Nowhere", GRADE)
    bed.powerschool.person(205)["homeschoolid"] = None
    person(bed, 206, "Maya", "Patel", GRADE)
    outcome = bed.run()
    assert outcome.exit_code == 1
    told(outcome, "ERROR", 201, "first name has 0 characters")
    told(outcome, "ERROR", 202, "61 characters")
    told(outcome, "ERROR", 203, "address")
    told(outcome, "ERROR", 204, "777", "not in SCHOOLS")
    told(outcome, "ERROR", 205, "no home school")
    assert inserted(outcome) == ["maya.patel@d118.org"]
    at_rest(bed)


# Linking.


def test_an_account_without_a_dcid_is_linked_where_it_is_the_same_person(bed: Bed) -> None:
    person(bed, 201, "Grace", "Kim", COTTON_CREEK)
    by_names = bed.google.add_user("grace.kim@d118.org", "GRÁCE", "kim", ou=OU_OF[MIDDLE])
    person(bed, 202, "Robert", "Hayes", GRADE)
    matching_account(bed, 202, given="Bob", family="H.", fields=matching_fields(bed, 202, DCID=None))
    outcome = bed.run()
    assert outcome.exit_code == 0, outcome.output
    assert done(outcome) == {(201, "link"), (201, "move"), (201, "update"), (202, "link")}
    assert (dcid_at(bed, "grace.kim@d118.org"), dcid_at(bed, "robert.hayes@d118.org")) == ("201", "202")
    assert len(bodies(outcome, by_names)) == 1
    # The name is the account's own affair.
    assert bed.google.user("robert.hayes@d118.org")["name"]["fullName"] == "Bob H."
    at_rest(bed)


DOUBTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "another first name": ({"given": "Samuel"}, "ERROR", "another name"),
    "another last name": ({"family": "Else"}, "ERROR", "another name"),
    "super admin": ({"admin": True}, "INFO", "super admin"),
    "delegated admin": ({"delegated": True}, "ERROR", "admin role"),
    "protected": ({"ou": STUDENT_OU}, "INFO", "PROTECTED_OUS"),
    "archived": ({"archived": True}, "ERROR", "archived"),
    "suspended elsewhere": ({"suspended": True}, "ERROR", "if it is to stay so"),
    "suspended below": ({"suspended": True, "ou": f"{SUSPENDED_OU}/Locked"}, "ERROR", "if it is to stay so"),
    "suspended by Google": (
        {"suspended": True, "ou": SUSPENDED_OU, "reason": "ABUSE"}, "ERROR", "if it is to stay so",
    ),
    "carries the DCID of nobody": ({"carries": 7777}, "ERROR", "7777"),
    "carries the DCID of somebody inactive": ({"carries": 300}, "ERROR", "DCID 300"),
}  # fmt: skip


def test_in_each_doubt_an_account_is_reported_and_not_linked(bed: Bed) -> None:
    person(bed, 300, "Former", "Record", HIGH, email="former.record@d118.org")
    bed.powerschool.leave(300)
    accounts = []
    for number, (account, _, _) in enumerate(DOUBTS.values()):
        dcid, last, given = 201 + number, "Dove" + LETTERS[number], dict(account)
        person(bed, dcid, "Sam", last, HIGH, teacher_number=None)
        carried = {"Synchronization_Data": {"DCID": given.pop("carries")}} if "carries" in given else {}
        usual = {"given": "Sam", "family": last, "ou": OU_OF[HIGH], "fields": carried}
        accounts.append(bed.google.add_user(f"sam.{last.lower()}@d118.org", **{**usual, **given}))
    had = bed.google.snapshot()
    outcome = bed.run()
    assert outcome.exit_code == 1
    assert bed.google.attempted_writes == []
    assert bed.google.snapshot() == had
    for number, (_, level, words) in enumerate(DOUBTS.values()):
        told(outcome, level, 201 + number, words)


def test_without_link_by_email_nobody_is_linked(bed: Bed) -> None:
    bed.settings["LINK_BY_EMAIL"] = False
    settle(bed, 201, "Grace", "Kim")
    person(bed, 202, "Robert", "Hayes", GRADE)
    matching_account(bed, 202, fields={})
    outcome = bed.run()
    assert outcome.exit_code == 1
    assert bed.google.attempted_writes == []
    told(outcome, "ERROR", 202, "LINK_BY_EMAIL")


def test_a_rehire_gets_the_suspended_account_back_both_ways(bed: Bed) -> None:
    # The account kept its DCID; it never had one; it carries that of the old record.
    settle(bed, 201, "Carlos", "Ruiz", MATTHEWS, ou=SUSPENDED_OU, suspended=True)
    person(bed, 202, "Diane", "Lopez", CROWN)
    bed.google.add_user("diane.lopez@d118.org", "Diane", "Lopez", ou=SUSPENDED_OU, suspended=True)
    person(bed, 303, "Joan", "Whitfield", HIGH)
    matching_account(bed, 303, ou=SUSPENDED_OU, suspended=True, employee_id="4203")
    bed.powerschool.leave(303)
    person(bed, 203, "Joan", "Whitfield", HIGH)
    outcome = bed.run()
    assert outcome.exit_code == 0, outcome.output
    for dcid, address, school in (
        (201, "carlos.ruiz", MATTHEWS),
        (202, "diane.lopez", CROWN),
        (203, "joan.whitfield", HIGH),
    ):
        user = bed.google.user(f"{address}@d118.org")
        assert not user["suspended"]
        assert user["orgUnitPath"] == OU_OF[school]
        assert dcid_at(bed, f"{address}@d118.org") == str(dcid)
        # The first call says nothing but that.
        assert bodies(outcome, user["id"])[0] == {"suspended": False}
    assert inserted(outcome) == []
    # Each line of the journal names the person, an account without a DCID included.
    assert {(202, "reactivate"), (202, "link"), (202, "move"), (202, "update")} <= done(outcome)
    at_rest(bed)


def test_a_probable_rehire_is_told_with_the_line_that_settles_it(bed: Bed) -> None:
    # Both names, but no employee ID; the employee ID, but another name.
    leaver(bed, 301, "Ivan", "Petrov", HIGH, ou=SUSPENDED_OU, suspended=True, employee_id=None)
    person(bed, 201, "Ivan", "Petrov", HIGH)
    leaver(bed, 302, "Joan", "Whitfield", HIGH, ou=SUSPENDED_OU, suspended=True, employee_id="4202", family="Old")
    person(bed, 202, "Joan", "Whitfield", HIGH)
    outcome = bed.run()
    assert outcome.exit_code == 1
    assert bed.google.attempted_writes == []
    for dcid, address in ((201, "ivan.petrov@d118.org"), (202, "joan.whitfield@d118.org")):
        told(outcome, "ERROR", dcid, f"Synchronization_Data.DCID of {address} to {dcid}")


# Whose account.


def test_accounts_that_two_people_or_two_accounts_claim_are_not_written(bed: Bed) -> None:
    settle(bed, 201, "Pam", "Ellis", ou=OU_OF[CROWN])
    matching_account(bed, 201, email="pellis@d118.org", ou=OU_OF[GRADE])
    leaver(bed, 202, "Lee", "Fox", HIGH)
    matching_account(bed, 202, email="lfox@d118.org", suspended=False, ou=OU_OF[GRADE])
    settle(bed, 203, "Chris", "Taylor", ou=OU_OF[CROWN])
    person(bed, 204, "Christine", "Taylor", MIDDLE, email="chris.taylor@d118.org")
    # A skipped person does not count, and of an active and an inactive one the active counts.
    settle(bed, 205, "Dana", "Gray", ou=OU_OF[CROWN])
    person(bed, 206, "Test", "User", HIGH, email="dana.gray@d118.org")
    person(bed, 207, "Erin", "Hart", HIGH, email="dana.gray@d118.org")
    bed.powerschool.leave(207)
    outcome = bed.run()
    assert outcome.exit_code == 1
    told(outcome, "ERROR", 201, "pam.ellis@d118.org", "pellis@d118.org")
    told(outcome, "ERROR", 202, "lee.fox@d118.org", "lfox@d118.org")
    assert len([line for line in errors(outcome) if "(DCID 203)" in line and "(DCID 204)" in line]) == 2
    silent(outcome, "ERROR", 207)
    assert done(outcome) == {(205, "move")}


def test_an_account_found_by_dcid_is_the_persons_if_one_thing_more_agrees(bed: Bed) -> None:
    other: dict[str, Any] = {"given": "Other", "family": "Person", "employee_id": "X", "ou": OU_OF[CROWN]}
    agreeing: tuple[dict[str, Any], ...] = (
        {}, {"aliases": True}, {"employee_id": "42O3"}, {"family": "O-ÍBIS"}, {"given": "zoë"},
    )  # fmt: skip
    for number, one in enumerate(agreeing):
        dcid, address = 201 + number, f"zoe.{LETTERS[number]}@d118.org"
        person(bed, dcid, "Zoe", "O'Ibis", HIGH, email=address, teacher_number=f"42o{dcid % 10}")
        account = {**other, **one, "email": f"other.{LETTERS[number]}@d118.org"}
        if number == 0:
            account["email"] = address
        if account.pop("aliases", None):
            account["aliases"] = [address]
        matching_account(bed, dcid, **account)
    outcome = bed.run()
    assert outcome.exit_code == 0, outcome.output
    assert {dcid for dcid, kind in done(outcome) if kind == "move"} == {201, 202, 203, 204, 205}
    at_rest(bed)


# Renaming and names.


def test_a_new_address_is_a_rename_that_keeps_the_old_one_and_brings_the_name(bed: Bed) -> None:
    account = settle(
        bed, 201, "EMILY", "O'BRIEN", email="emily.carter@d118.org", family="Carter", aliases=["em@d118.org"]
    )
    # An alias of one's own is free to take.
    settle(bed, 202, "Katherine", "Vance", email="kate.vance@d118.org", aliases=["katherine.vance@d118.org"])
    bed.powerschool.person(202)["email_addr"] = "  Katherine.VANCE@d118.org "
    outcome = bed.run()
    assert outcome.exit_code == 0, outcome.output
    assert done(outcome) == {(201, "rename"), (201, "name"), (202, "rename")}
    emily, kate = bed.google.user("emily.obrien@d118.org"), bed.google.user("katherine.vance@d118.org")
    assert emily["primaryEmail"] == "emily.obrien@d118.org"
    assert set(emily["aliases"]) == {"em@d118.org", "emily.carter@d118.org"}
    # What is the same but for capitals is left as somebody once wrote it.
    assert emily["name"]["familyName"] == "O'Brien"
    assert kate["aliases"] == ["kate.vance@d118.org"]
    before, _ = journalled(outcome, 201, "rename")
    assert before == {"primaryEmail": "emily.carter@d118.org", "aliases": "em@d118.org"}
    assert {line["account"] for line in outcome.journal if line["dcid"] == 201} == {account}
    at_rest(bed)


def test_an_address_that_is_not_free_is_told_with_its_holder_and_the_rest_is_kept_in_step(bed: Bed) -> None:
    bed.google.add_user("parent.council@d118.org", "Parent", "Council", aliases=["beth.taken@d118.org"])
    bed.google.add_user("anna.taken@d118.org", "Somebody", "Else")
    bed.google.add_group("cleo.taken@d118.org")
    foreign = "dora.taken@elsewhere.org"
    for dcid, first in ((201, "Anna"), (202, "Beth"), (203, "Cleo"), (204, "Dora"), (205, "Elsa")):
        person(bed, dcid, first, "Taken", HIGH)
        if dcid == 204:
            bed.powerschool.person(dcid)["email_addr"] = foreign
        if dcid == 205:
            bed.powerschool.person(dcid)["email_addr"] = None
        matching_account(
            bed,
            dcid,
            email=f"{first}.before@d118.org",
            family="Before",
            fields=matching_fields(bed, dcid, Staff_Group=4),
        )
    outcome = bed.run()
    assert outcome.exit_code == 1
    told(outcome, "ERROR", 201, "cannot rename", "anna.taken@d118.org", "belongs to")
    told(outcome, "ERROR", 202, "parent.council@d118.org", "alias")
    lines = [line for line in errors(outcome) if "(DCID 203)" in line]
    assert len(lines) == 1, outcome.output
    assert "group" in lines[0]
    assert [line for line in outcome.lines("INFO") if "(DCID 204)" in line and "GOOGLE_DOMAINS" in line]
    assert done(outcome) == {(dcid, "update") for dcid in range(201, 206)}
    for first in ("anna", "beth", "cleo", "dora", "elsa"):
        user = bed.google.user(f"{first}.before@d118.org")
        # The name waits for its address.
        assert user["name"]["familyName"] == "Before"
        assert synced(bed, user["id"])["Staff_Group"] == "9"
    assert at_rest(bed).exit_code == 1


def names(bed: Bed, update: bool) -> set[int]:
    """Runs a district of differing names; gives the DCIDs whose name was written."""
    bed.settings["UPDATE_NAMES"] = update
    held = {
        201: ("William", "Ames", "Bill", "Ames"),
        202: ("GAIL", "MCDONALD", "Gail", "Mcdonald"),
        203: ("Lucia", "Nunez", "Lucía", "Núñez"),
        204: ("Mary Ann", "Smith-Jones", "Maryann", "Smith Jones"),
        205: ("HENRY", "O'NEIL III", "Henry", "Jones"),
        206: ("Jean-luc", "de la Cruz", "Jean", "Cruz"),
        207: ("", "Jarvis", "James", "Jarvis"),
        208: ("X" * 61, "Long", "Xavier", "Long"),
    }
    for dcid, (first, last, given, family) in held.items():
        person(bed, dcid, first, last, HIGH, email=f"person{dcid}@d118.org")
        matching_account(bed, dcid, given=given, family=family)
    outcome = bed.run()
    assert outcome.exit_code == (1 if update else 0), outcome.output
    if update:
        told(outcome, "ERROR", 207, "first name has 0 characters")
        told(outcome, "ERROR", 208, "61 characters")
    at_rest(bed)
    return {dcid for dcid, kind in done(outcome) if kind == "name"}


def test_a_name_that_differs_is_left_as_it_is(bed: Bed) -> None:
    assert names(bed, update=False) == set()


def test_a_name_follows_where_the_district_says_so_but_not_for_case_or_accents(bed: Bed) -> None:
    assert names(bed, update=True) == {201, 205, 206}
    assert bed.google.user("person201@d118.org")["name"]["fullName"] == "William Ames"
    # One case only is put right, a mixed one is written as it stands.
    assert bed.google.user("person205@d118.org")["name"]["fullName"] == "Henry O'Neil III"
    assert bed.google.user("person206@d118.org")["name"]["fullName"] == "Jean-luc de la Cruz"


# Org units.


def test_people_are_where_their_building_is_and_substitutes_with_their_own(bed: Bed) -> None:
    person(bed, 201, "Victor", "Stein", COTTON_CREEK)
    matching_account(bed, 201, ou=OU_OF[MATTHEWS])
    # A substitute by type, one by building, and one whose other row at the home school is a teacher's.
    person(bed, 202, "Rosa", "Tanaka", GRADE, SUBSTITUTE)
    person(bed, 203, "Glen", "Ubrich", SUBSTITUTES, TEACHER)
    person(bed, 204, "Hank", "Vogel", CROWN, SUBSTITUTE)
    bed.powerschool.add_school_staff(204, CROWN, TEACHER)
    # A substitute somewhere else is staff at home.
    person(bed, 205, "Iris", "Wolff", MIDDLE, schools={MATTHEWS: SUBSTITUTE}, homeschool=MIDDLE)
    for dcid in range(202, 206):
        matching_account(bed, dcid, ou="/")
    # The same org unit in another case is the same one.
    bed.settings["STAFF_OU"] = "/d118 staff"
    outcome = bed.run()
    assert outcome.exit_code == 0, outcome.output
    where = {
        dcid: bed.google.user(str(bed.powerschool.person(dcid)["email_addr"]))["orgUnitPath"]
        for dcid in range(201, 206)
    }
    assert where == {
        201: OU_OF[COTTON_CREEK], 202: SUBSTITUTE_OU, 203: SUBSTITUTE_OU, 204: OU_OF[CROWN], 205: OU_OF[MIDDLE],
    }  # fmt: skip
    assert {kind for _, kind in done(outcome)} == {"move"}
    assert synced(bed, "iris.wolff@d118.org")["Staff_Type"] == "2"
    at_rest(bed)


ODD_ROWS: dict[str, tuple[dict[str, object], set[str]]] = {
    # What SCHOOLSTAFF holds that is no number -> the fields that depend on it.
    "the staff type": ({"staffstatus": "X"}, {"Staff_Type"}),
    "the school": ({"schoolid": "X"}, {"Staff_Type", "School_Access_List"}),
}


@pytest.mark.parametrize(("odd", "left"), ODD_ROWS.values(), ids=list(ODD_ROWS))
def test_a_row_of_schoolstaff_that_cannot_be_read_changes_nothing_that_depends_on_it(
    bed: Bed, odd: dict[str, object], left: set[str]
) -> None:
    person(bed, 201, "Paula", "Ortega", GRADE, SUBSTITUTE)
    fields = matching_fields(bed, 201, Staff_Group=4, School_Access_List="7")
    substitute = matching_account(bed, 201, fields=fields, employee_id=None)
    elsewhere = settle(bed, 202, "Victor", "Stein", GRADE, ou=OU_OF[MIDDLE])
    person(bed, 203, "Nora", "Fischer", GRADE)
    leaver(bed, 204, "Alan", "Drew", GRADE)
    for dcid in (201, 202, 203, 204):
        for row in bed.powerschool.affiliations(dcid):
            row.update(odd)

    outcome = bed.run()

    (column,) = odd
    for dcid in (201, 202, 203):
        told(outcome, "ERROR", dcid, f"SCHOOLSTAFF.{column.upper()} holds 'X'", "correct it in PowerSchool")
    silent(outcome, "ERROR", 204)
    assert bed.google.user("paula.ortega@d118.org")["orgUnitPath"] == SUBSTITUTE_OU
    assert bed.google.user("victor.stein@d118.org")["orgUnitPath"] == OU_OF[MIDDLE]
    wanted = {"Staff_Group": "9", "Staff_Type": "4", "School_Access_List": "103"}
    kept = {"Staff_Type": "4", "School_Access_List": "7"}
    held = bed.google.user("paula.ortega@d118.org")["customSchemas"]["Synchronization_Data"]
    assert {name: held[name] for name in wanted} == wanted | {name: kept[name] for name in left}
    # Everything else of them is kept in step; nobody is created where it is not known, and who left is closed.
    assert bed.google.user("paula.ortega@d118.org")["externalIds"][0]["value"] == "4201"
    assert (bodies(outcome, elsewhere), len(bodies(outcome, substitute))) == ([], 1)
    assert inserted(outcome) == []
    assert not is_open(bed, "alan.drew@d118.org")

    said = bed.run("--explain", "dcid:201").output
    assert f"SCHOOLSTAFF.{column.upper()} holds 'X'" in said
    assert "in step" not in said
    for row in bed.powerschool.school_staff:
        row.update({name: {"staffstatus": TEACHER, "schoolid": GRADE}[name] for name in odd if row[name] == "X"})
    assert bed.run().exit_code == 0
    assert bed.google.user("nora.fischer@d118.org")["orgUnitPath"] == OU_OF[GRADE]


def test_frozen_and_temporary_accounts_stay_where_they_are_and_are_kept_in_step(bed: Bed) -> None:
    places = {
        201: FROZEN_OU, 202: "/D118 Staff/Administrators/Payroll", 203: "/administrators archive",
        204: "/D118 Staff/Old Administrators", 205: TEMPORARY_OU, 206: f"{TEMPORARY_OU}/June",
    }  # fmt: skip
    for dcid, place in places.items():
        bed.google.add_org_unit(place)
        person(bed, dcid, "Priya", "Zimmer" + LETTERS[dcid - 201], DISTRICT_OFFICE, STAFF)
        matching_account(bed, dcid, ou=place, fields=matching_fields(bed, dcid, Staff_Group=4))
    outcome = bed.run()
    assert outcome.exit_code == 0, outcome.output
    assert {dcid for dcid, kind in done(outcome) if kind == "move"} == {203, 204}
    assert {dcid for dcid, kind in done(outcome) if kind == "update"} == set(places)
    assert [line for line in outcome.lines("INFO") if "(DCID 202)" in line and "FROZEN_OUS" in line]
    told(
        outcome,
        "INFO",
        "active again, but priya.zimmerf@d118.org lies in",
        "not moved, and left open should they leave",
    )
    at_rest(bed)


def test_a_building_without_an_org_unit_is_told_in_one_line_that_names_everybody_who_waits(bed: Bed) -> None:
    bed.powerschool.add_school(106, "Prairie Early Learning Center")
    bed.powerschool.add_school(107, "Oak Hill")
    person(bed, 201, "Nina", "Chavez", 106)
    for dcid, school in ((202, 106), (203, 106), (204, 107)):
        person(bed, dcid, "Owen", "Dietrich" + LETTERS[dcid - 201], school)
        matching_account(bed, dcid, ou=OU_OF[GRADE], fields=matching_fields(bed, dcid, Homeschool_ID=GRADE))
    outcome = bed.run()
    assert outcome.exit_code == 1
    prairie, oak = sorted(errors(outcome), key=lambda line: "Oak Hill" in line)
    assert all(f"(DCID {dcid})" in prairie for dcid in (201, 202, 203))
    assert "/D118 Staff/Prairie Early Learning Center Staff" in prairie
    assert "(DCID 204)" in oak
    assert inserted(outcome) == []
    assert done(outcome) == {(202, "update"), (203, "update"), (204, "update")}
    assert bed.google.user("owen.dietrichb@d118.org")["orgUnitPath"] == OU_OF[GRADE]
    assert synced(bed, "owen.dietrichb@d118.org")["Homeschool_ID"] == "106"
    bed.google.add_org_unit("/D118 Staff/Prairie Early Learning Center Staff")
    bed.google.add_org_unit("/D118 Staff/Oak Hill Staff")
    second = bed.run()
    assert second.exit_code == 0, second.output
    assert done(second) == {(201, "create"), (202, "move"), (203, "move"), (204, "move")}
    at_rest(bed)


# Suspended, archived, reactivated.


def test_what_an_admin_or_google_has_closed_otherwise_is_left_exactly_as_it_is(bed: Bed) -> None:
    closed: dict[int, dict[str, Any]] = {
        201: {"suspended": True}, 202: {"suspended": True, "ou": f"{SUSPENDED_OU}/Locked"},
        203: {"suspended": True, "ou": SUSPENDED_OU, "reason": "ABUSE"},
        204: {"suspended": True, "ou": SUSPENDED_OU, "delegated": True}, 205: {"archived": True},
        206: {"archived": True, "suspended": True, "ou": SUSPENDED_OU},
        207: {"suspended": True, "ou": SUSPENDED_OU, "reason": "UNDER13"},
        208: {"suspended": True, "ou": SUSPENDED_OU, "admin": True},
        209: {"suspended": True, "ou": STUDENT_OU},
    }  # fmt: skip
    for dcid, account in closed.items():
        person(bed, dcid, "Ivy", "Dalton" + LETTERS[dcid - 201], HIGH)
        matching_account(bed, dcid, fields=matching_fields(bed, dcid, Staff_Group=4), **account)
    had = bed.google.snapshot()
    outcome = bed.run()
    assert outcome.exit_code == 1, outcome.output
    assert bed.google.attempted_writes == []
    assert bed.google.snapshot() == had
    for dcid in (201, 202, 203, 204, 205, 206, 207):
        told(outcome, "ERROR", dcid, "HANDS_OFF")


def test_a_reactivation_that_google_refuses_is_told_and_the_rest_waits(bed: Bed) -> None:
    refused = settle(bed, 201, "Carlos", "Ruiz", MATTHEWS, ou=SUSPENDED_OU, suspended=True, family="Ruíz")
    settle(bed, 202, "Diane", "Lopez", CROWN, ou=SUSPENDED_OU, suspended=True)
    bed.google.fail(
        "users.update", 412, "conditionNotMet", "User cannot be unsuspended", times=None,
        match=lambda request: request.params["userKey"] == refused,
    )  # fmt: skip
    had = bed.google.user(refused)
    outcome = bed.run()
    assert outcome.exit_code == 1
    told(outcome, "ERROR", 201, "412", "User cannot be unsuspended")
    assert [r.body for r in bed.google.attempted_writes if r.params["userKey"] == refused] == [{"suspended": False}]
    assert bed.google.user(refused) == had
    assert done(outcome) == {(202, "reactivate"), (202, "move")}
    bed.google.behave()
    assert done(bed.run()) == {(201, "reactivate"), (201, "move")}
    at_rest(bed)


# Fields and the employee ID.


def test_only_the_fields_that_differ_are_sent_and_every_kind_of_value_is_kept_in_step(bed: Bed) -> None:
    # 0 is a value, a missing one is cleared, an extension with several rows is left alone.
    person(bed, 201, "Zero", "Abel", DISTRICT_OFFICE, 0, group=0)
    zero = matching_account(
        bed, 201, fields=matching_fields(bed, 201, Staff_Group=None, Staff_Type=None, Homeschool_ID=5)
    )
    person(bed, 202, "Clear", "Baker", HIGH, group=None, cell_phone=None)
    clear = matching_account(bed, 202, fields=matching_fields(bed, 202, Staff_Group=4, CellPhone="1"))
    person(bed, 203, "Several", "Clark", HIGH)
    several = matching_account(bed, 203, fields=matching_fields(bed, 203, Staff_Group=4, CellPhone="2"))
    bed.powerschool.add_extension(203, "224-555-0203")
    person(bed, 204, "Long", "Davis", HIGH, cell_phone="5" * 501)
    long = matching_account(bed, 204, fields=matching_fields(bed, 204, Staff_Group=4, CellPhone="3"))
    # School numbers sort as numbers, and two rows at one school count once.
    person(bed, 205, "Access", "Evans", HIGH, schools={101: 1, 5: 3, 102: 4, 0: 2}, homeschool=5)
    bed.powerschool.add_school_staff(205, 5, 2)
    access = matching_account(
        bed, 205, fields=matching_fields(bed, 205, School_Access_List="101;5", Building="Elsewhere")
    )
    outcome = bed.run()
    assert outcome.exit_code == 1, outcome.output
    expected = {
        zero: {"Synchronization_Data": {"Staff_Group": 0, "Staff_Type": 0, "Homeschool_ID": 0}},
        clear: {"Synchronization_Data": {"Staff_Group": None}, "CrisisGO": {"CellPhone": None}},
        several: {"Synchronization_Data": {"Staff_Group": 9}},
        long: {"Synchronization_Data": {"Staff_Group": 9}},
        access: {
            "Synchronization_Data": {"School_Access_List": "0;5;101;102"},
            "CrisisGO": {"Building": "Wauconda High School"},
        },
    }
    assert {key: bodies(outcome, key) for key in expected} == {
        key: [{"customSchemas": fields}] for key, fields in expected.items()
    }
    told(outcome, "ERROR", 203, "more than one CellPhone in u_humanresources", "Google unchanged")
    told(outcome, "ERROR", 204, "does not fit CrisisGO.CellPhone", "(private)")
    # Private values are the journal's alone.
    assert "5" * 50 not in outcome.output + outcome.log
    assert (synced(bed, zero)["Staff_Group"], synced(bed, zero)["Homeschool_ID"]) == ("0", "0")
    at_rest(bed)


def test_a_value_that_does_not_fit_the_type_of_its_field_is_told_and_whole_numbers_compare_as_numbers(bed: Bed) -> None:
    shipped = bed.setting("CUSTOM_SCHEMAS")
    bed.powerschool.users.clear()
    bed.powerschool.school_staff.clear()
    bed.google.restore({**bed.google.snapshot(), "users": {}})
    synchronized = {**shipped["Synchronization_Data"], "Staff_Group": "teacher_number"}
    bed.settings["CUSTOM_SCHEMAS"] = {**shipped, "Synchronization_Data": synchronized}
    for dcid, number, held in ((201, "T-12", 7), (202, "007", 7), (203, str(2**63), 8), (204, "12", 7)):
        person(bed, dcid, "Num", "Ber" + LETTERS[dcid - 201], HIGH, teacher_number=number)
        matching_account(bed, dcid, fields=matching_fields(bed, dcid, Staff_Group=held))
    outcome = bed.run()
    assert outcome.exit_code == 1
    told(outcome, "ERROR", 201, "'T-12' does not fit Synchronization_Data.Staff_Group")
    told(outcome, "ERROR", 203, "does not fit")
    assert done(outcome) == {(204, "update")}
    at_rest(bed)


def test_the_employee_id_is_put_among_the_external_ids_and_all_others_are_kept(bed: Bed) -> None:
    badge = {"value": "B-77", "type": "custom", "customType": "badge"}
    login = {"value": "nyates", "type": "login_id"}
    added = settle(bed, 201, "Noel", "Yates", employee_id=None, external_ids=[badge])
    replaced = settle(bed, 202, "Omar", "Zane", employee_id="0001", external_ids=[badge, login])
    person(bed, 203, "Pia", "Able", HIGH, teacher_number=None)
    kept = matching_account(bed, 203, employee_id="0002")
    outcome = bed.run()
    assert outcome.exit_code == 0, outcome.output
    assert bed.google.user(added)["externalIds"] == [badge, {"value": "4201", "type": "organization"}]
    assert bed.google.user(replaced)["externalIds"] == [badge, login, {"value": "4202", "type": "organization"}]
    # Without a teacher number there is nothing to write.
    assert bed.google.user(kept)["externalIds"] == [{"value": "0002", "type": "organization"}]
    assert bodies(outcome, kept) == []
    at_rest(bed)
    bed.settings["SET_EMPLOYEE_ID"] = False
    bed.powerschool.person(201)["teachernumber"] = "9999"
    assert done(bed.run()) == set()


# Hands off.


def test_admins_and_protected_accounts_are_left_and_told_only_when_something_would_be_due(bed: Bed) -> None:
    for dcid, account in (
        (201, {"admin": True, "ou": "/"}), (202, {"ou": STUDENT_OU}), (203, {"ou": "/"}),
        (204, {"admin": True}), (205, {"aliases": ["robot@d118.org"], "ou": "/"}),
    ):  # fmt: skip
        settle(bed, dcid, "Ingrid", "Thorne" + LETTERS[dcid - 201], **account)
    bed.google.add_org_unit("/Students/Class of 2030")
    settle(bed, 206, "Leo", "Cohen", ou="/students/class of 2030")
    outcome = bed.run(env={"GOOGLE_ADMIN_EMAIL": "Robot@d118.org"})
    assert outcome.exit_code == 0, outcome.output
    assert done(outcome) == {(203, "move")}
    told(outcome, "INFO", 201, "super admin")
    told(outcome, "INFO", 202, "PROTECTED_OUS")
    told(outcome, "INFO", 205, "GOOGLE_ADMIN_EMAIL")
    told(outcome, "INFO", 206, "PROTECTED_OUS")
    silent(outcome, "INFO", 204)


def test_hands_off_holds_by_address_or_dcid_until_its_day_and_then_reminds(bed: Bed) -> None:
    bed.settings["HANDS_OFF"] = {
        "Olga.A@d118.org": ("on leave", "2099-06-30"), "202": ("court case", "2099-06-30"),
        203: ("asked by HR", "2099-06-30"), "olga.d@d118.org": ("project", "2020-06-30"),
        "olga.e@d118.org": ("nothing due", "2099-06-30"), "olga.f@d118.org": ("not yet", "2099-06-30"),
    }  # fmt: skip
    for dcid in range(201, 207):
        letter = LETTERS[dcid - 201]
        person(bed, dcid, "Olga", letter.upper(), HIGH, email=f"olga.{letter}@d118.org")
        if dcid != 206:
            matching_account(bed, dcid, ou=OU_OF[HIGH] if dcid == 205 else OU_OF[CROWN])
    bed.powerschool.leave(202)
    outcome = bed.run()
    assert outcome.exit_code == 1
    assert bed.google.attempted_writes == []
    for dcid, reason in ((201, "on leave"), (202, "court case"), (203, "asked by HR"), (206, "not yet")):
        told(outcome, "INFO", dcid, reason, "2099-06-30")
    told(outcome, "ERROR", 204, "project", "2020-06-30")
    silent(outcome, "INFO", 205)


def test_people_without_an_address_of_the_district_are_counted_and_left(bed: Bed) -> None:
    person(bed, 201, "Carol", "Ashe", GRADE, email=None)
    person(bed, 202, "Ed", "Burke", CROWN, email="ed.burke@gmail.com")
    person(bed, 203, "Zoe", "Baker", HIGH, email="2027114@d118.org")
    person(bed, 204, "  test ", "USER", HIGH, email="test.user@d118.org")
    person(bed, 205, "Plugin", "Nurse", HIGH)
    bed.google.add_user("2027114@d118.org", "Zoe", "Baker", ou=STUDENT_OU)
    outcome = bed.run()
    assert outcome.exit_code == 0, outcome.output
    assert bed.google.attempted_writes == []
    for dcid, word in (
        (201, "no address"),
        (202, "GOOGLE_DOMAINS"),
        (203, "numeric"),
        (204, "bad name"),
        (205, "bad name"),
    ):
        told(outcome, "INFO", dcid, word)
    bed.settings |= {"SKIP_NUMERIC_EMAILS": False, "BAD_NAMES": []}
    assert inserted(bed.run()) == ["plugin.nurse@d118.org", "test.user@d118.org"]


def test_an_org_unit_with_every_odd_letter_goes_the_whole_way(one_in_step: Bed) -> None:
    bed = one_in_step
    school, path = "Arts & Crafts #1? +50% O'Neil", "/D118 Staff/Arts & Crafts #1? +50% O'Neil Staff"
    bed.powerschool.add_school(777, school)
    bed.powerschool.add_person(9, "Eli", "Moss", "eli.moss@d118.org", schools={777: 1}, teacher_number="N9")
    add_known(bed, 7)
    assert any(path in text for text in bed.run("--dry-run").lines("ERROR"))
    bed.google.add_org_unit(path)
    bed.powerschool.person(7)["homeschoolid"] = 777
    assert bed.run().exit_code == 0
    assert bed.google.user("eli.moss@d118.org")["orgUnitPath"] == path
    assert bed.google.user(MAYA)["orgUnitPath"] == path
    assert not bed.run().writes
    assert bed.run("--undo", "last", "--yes", "--only", "dcid:7").exit_code == 0
    assert bed.google.user(MAYA)["orgUnitPath"] != path


def test_hands_off_takes_a_dcid_with_its_word_in_front(one_in_step: Bed) -> None:
    bed = one_in_step
    for dcid in (7, 8):
        add_known(bed, dcid)
        bed.powerschool.leave(dcid)
    bed.settings["HANDS_OFF"] = {" DCID:7 ": ("court case", "2099-01-31")}
    outcome = bed.run()
    assert outcome.exit_code == 0, outcome.output
    assert (is_open(bed, MAYA), is_open(bed, NOOR)) == (True, False)
    assert any("court case" in text and "DCID 7" in text for text in outcome.lines("INFO"))
    assert not outcome.lines("WARN"), "an entry that fits somebody is not told to be misspelt"
