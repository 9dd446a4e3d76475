"""The rules that decide, one table each: facts in, decisions out, no stand-ins.

Every builder gives something about which both sides agree; a row of a table changes one fact. The file is complete
in itself, so that mutants of the deciding functions can be tried against it alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import date, datetime, timezone
from pathlib import Path
from ssl import SSLCertVerificationError
from typing import Any

import httplib2
import pytest
from google.auth.exceptions import RefreshError
from google.oauth2.credentials import Credentials
from googleapiclient.errors import HttpError

import sync
from sync import Account, Change, District, Google, Plan, PowerSchool, Remark, Rule, RunError, Settings, Staff

MAYA_AT, NEW_AT = "maya.patel@d118.org", "maya.shah@d118.org"
HIGH_OU, MIDDLE_OU = "/D118 Staff/Wauconda High School Staff", "/D118 Staff/Middle School Staff"
CLOSED = "/Suspended Accounts"
SCHOOLS = {5: "Wauconda High School", 101: "MIDDLE SCHOOL", 106: "New School", 500: "Substitute"}
ORG_UNITS = (
    "/", "/D118 Staff", HIGH_OU, MIDDLE_OU, "/D118 Staff/District Office Staff", "/D118 Staff/Administrators/Payroll",
    "/Administrators", "/Substitute Teachers", CLOSED, f"{CLOSED}/Locked", "/Temporary Re-Activations", "/Students",
    "/Students/Grade 9",
)  # fmt: skip
FIELD_TYPES = {
    "Sync.DCID": "INT64", "Sync.Home": "INT64", "Sync.Access": "STRING", "Sync.Type": "INT64", "Sync.Group": "INT64",
    "Crisis.Building": "STRING", "Crisis.Phone": "PHONE",
}  # fmt: skip
VALUES: dict[str, Any] = {
    "GOOGLE_DOMAINS": ["D118.org"],
    "STAFF_OU": "/D118 Staff",
    "BUILDING_OU_SUFFIX": " Staff",
    "BUILDING_OUS": {},
    "SUBSTITUTE_OU": "/Substitute Teachers",
    "SUBSTITUTE_BUILDING": "Substitute",
    "SUSPENDED_OU": CLOSED,
    "FROZEN_OUS": ["/Administrators"],
    "TEMPORARY_REACTIVATION_OUS": ["/Temporary Re-Activations"],
    "PROTECTED_OUS": ["/Students"],
    "HANDS_OFF": {},
    "BAD_NAMES": ["plugin", "Test  Teacher", "do not use"],
    "SKIP_NUMERIC_EMAILS": True,
    "CUSTOM_SCHEMAS": {
        "Sync": {
            "DCID": "dcid", "Home": "homeschool_id", "Access": "school_access_list", "Type": "staff_type",
            "Group": "staff_group",
        },
        "Crisis": {"Building": "building", "Phone": "cell_phone"},
    },
    "EXTENSION_COLUMNS": {"cell_phone": "u_humanresources.cellphone"},
    "POWERSCHOOL_SCHEMA": "",
    "BUILDING_ALIASES": {0: "Wauconda High School"},
    "SET_EMPLOYEE_ID": True,
    "LINK_BY_EMAIL": True,
    "UPDATE_NAMES": False,
    "PREFERRED_FIRST_NAME": False,
    "REMOVE_SUSPENDED_FROM_GROUPS": True,
    "LIMITS": dict(sync.DEFAULT_LIMITS),
    "PRIVATE_VALUES": ["cell_phone"],
}  # fmt: skip
MAYA_FIELDS = {
    "Sync.Home": "5", "Sync.Access": "5", "Sync.Type": "1", "Sync.Group": "9",
    "Crisis.Building": "Wauconda High School", "Crisis.Phone": "847-555-0100",
}  # fmt: skip


def settings_with(**changes: Any) -> Settings:
    return Settings(**{**VALUES, **changes})


def staff(**changes: Any) -> Staff:
    """Maya Patel, a teacher at the high school."""
    facts: dict[str, Any] = {
        "dcid": 7, "first_name": "Maya", "last_name": "Patel", "email": MAYA_AT, "teacher_number": "T7",
        "homeschool": 5, "group": "9", "schools": ((5, 1),), "extension": {"cell_phone": "847-555-0100"},
    }  # fmt: skip
    return Staff(**{**facts, **changes})


def leaver(**changes: Any) -> Staff:
    return staff(**{"schools": (), **changes})


NAMES = {
    "email": sync.EMAIL, "given_name": sync.GIVEN_NAME, "family_name": sync.FAMILY_NAME, "org_unit": sync.ORG_UNIT,
    "employee_id": sync.EMPLOYEE_ID,
}  # fmt: skip
DCID = "customSchemas.Sync.DCID"


def field(name: str) -> str:
    """The attribute of a custom schema field."""
    return f"customSchemas.{name}"


def account(**changes: Any) -> Account:
    """Maya's account, exactly as it should be; `fields` are by "Schema.Field"."""
    facts: dict[str, Any] = {
        "id": "1", "email": MAYA_AT, "given_name": "Maya", "family_name": "Patel", "org_unit": HIGH_OU, "dcid": 7,
        "fields": MAYA_FIELDS, "employee_id": "T7", "suspended": False,
    }  # fmt: skip
    facts |= changes
    number = facts["employee_id"]
    entries = facts.pop("external_ids", ({"type": "organization", "value": number},) if number else ())
    values = {path: facts.pop(name) for name, path in NAMES.items()}
    values |= {field(name): text for name, text in facts.pop("fields").items()}
    values |= {
        sync.SUSPENDED: sync.YES if facts.pop("suspended") else sync.NO,
        DCID: "" if facts["dcid"] is None else str(facts["dcid"]),
    }
    return Account(values=values, entries={sync.EMPLOYEE_ID: tuple(entries)}, **facts)


def stranger(**changes: Any) -> Account:
    """An account that agrees with Maya in nothing."""
    facts = {
        "id": "2", "email": "sam.lee@d118.org", "given_name": "Sam", "family_name": "Lee", "dcid": None,
        "employee_id": "T2",
    }  # fmt: skip
    return account(**{**facts, **changes})


def directory(accounts: Iterable[Account], **changes: Any) -> Google:
    types = {field(name): kind for name, kind in FIELD_TYPES.items()}
    facts: dict[str, Any] = {"org_units": {path.lower(): path for path in ORG_UNITS}, "field_types": types}
    return Google({entry.id: entry for entry in accounts}, **{**facts, **changes})


def district(
    people: Sequence[Staff] = (),
    accounts: Sequence[Account] = (),
    *,
    google: Mapping[str, Any] | None = None,
    today: date = date(2026, 11, 23),
    admin_email: str = "",
    only: bool = False,
    allowed: Mapping[str, int] | None = None,
    **config: Any,
) -> District:
    found, powerschool = directory(accounts, **(google or {})), PowerSchool(SCHOOLS, tuple(people))
    world = District(settings_with(**config), powerschool, found, today, admin_email, only)
    return replace(world, allowed=allowed or {})


def plan(person: Staff, *accounts: Account, others: Sequence[Staff] = (), **more: Any) -> Plan:
    return sync.plan_person(person, district((person, *others), accounts, **more))


def kinds(planned: Plan) -> list[str]:
    return [change.kind for change in planned.changes]


def told(planned: Plan) -> list[tuple[str, str]]:
    return [(remark.rule.level, remark.rule.label) for remark in planned.remarks]


def wanted_of(planned: Plan, kind: str) -> dict[str, str]:
    """Attribute -> text that the changes of this kind write."""
    return {name: text for change in planned.changes if change.kind == kind for name, text in change.after.items()}


def table(names: str, rows: Mapping[str, object]) -> pytest.MarkDecorator:
    """A parametrized test: the sentence says what the row is about."""
    return pytest.mark.parametrize(names, list(rows.values()), ids=list(rows))


# Comparing.


@table("text, folded", {
    "case goes": ("PATEL", "patel"),
    "accents go": ("José Núñez", "josenunez"),
    "accents written as marks of their own go": ("Jose\u0301", "jose"),
    "spaces, hyphens and apostrophes go": (" O'Brien - de la Cruz\u2019s ", "obriendelacruzs"),
    "digits go": ("Maya 2", "maya"),
    "sharp s is two": ("Strauß", "strauss"),
    "other scripts stay": ("Ольга", "ольга"),
    "nothing stays nothing": ("-. '", ""),
})  # fmt: skip
def test_names_fold(text: str, folded: str) -> None:
    assert sync.fold(text) == folded


@table("changes, same", {
    "both agree": ({}, True),
    "but for case and accents": ({"given_name": "MÁYA", "family_name": "pa-tel"}, True),
    "another given name": ({"given_name": "May"}, False),
    "another family name": ({"family_name": "Pate"}, False),
    "names exchanged": ({"given_name": "Patel", "family_name": "Maya"}, False),
})  # fmt: skip
def test_names_are_the_same_when_both_parts_are(changes: dict[str, str], same: bool) -> None:
    assert sync.same_names(staff(), account(**changes)) is same


@table("empty", {"the first": "first_name", "the last": "last_name"})
def test_empty_names_never_agree(empty: str) -> None:
    person = staff(**{empty: " - "})
    twin = account(given_name=person.first_name, family_name=person.last_name)
    assert not sync.same_names(person, twin)


@table("number, held, same", {
    "equal": ("T7", "T7", True),
    "but for case and spaces": ("t7", "T7 ", True),
    "another": ("T7", "T8", False),
    "both empty": ("", "", False),
    "one empty": ("T7", "", False),
})  # fmt: skip
def test_employee_ids_are_the_same_when_filled_and_equal(number: str, held: str, same: bool) -> None:
    assert sync.same_employee_id(staff(teacher_number=number), account(employee_id=held)) is same


@table("changes, agrees", {
    "the primary address": ({"email": MAYA_AT}, True),
    "an alias": ({"aliases": (MAYA_AT,)}, True),
    "the employee ID": ({"employee_id": "t7 "}, True),
    "the family name": ({"family_name": "PATEL"}, True),
    "the given name": ({"given_name": "Máya"}, True),
    "everything comes later in the alphabet": (
        {"employee_id": "T9", "given_name": "Zoe", "family_name": "Zed"}, False,
    ),
    "everything comes earlier in the alphabet": (
        {"employee_id": "T1", "given_name": "Abe", "family_name": "Abbot"}, False,
    ),
    "given for family is nothing": ({"family_name": "Maya", "given_name": "Patel"}, False),
    "nothing": ({}, False),
})  # fmt: skip
def test_one_thing_besides_the_dcid_has_to_agree(changes: dict[str, Any], agrees: bool) -> None:
    assert sync.agrees(staff(), stranger(**changes), PowerSchool(SCHOOLS, (staff(),))) is agrees


def test_what_is_empty_on_both_sides_agrees_in_nothing() -> None:
    person = staff(first_name="", last_name="", email="", teacher_number="")
    held = account(email="x@d118.org", given_name="", family_name="", employee_id="")
    assert not sync.agrees(person, held, PowerSchool(SCHOOLS, (person,)))


@table("rival", {
    "the account's address": staff(dcid=8, email="sam.lee@d118.org", first_name="X", last_name="X", teacher_number=""),
    "the account's employee ID": staff(dcid=8, email="", first_name="X", last_name="X", teacher_number="t2"),
    "the account's full name": staff(dcid=8, email="", first_name="Sam", last_name="Patel", teacher_number=""),
    "its full name by a preferred name": staff(
        dcid=8, email="", first_name="Samuel", other_first_name="Sam", last_name="Patel", teacher_number=""
    ),
})  # fmt: skip
def test_a_name_alone_is_no_proof_where_the_account_is_somebody_elses(rival: Staff) -> None:
    held = stranger(family_name="Patel")
    assert sync.agrees(staff(), held, PowerSchool(SCHOOLS, (staff(),)))
    assert not sync.agrees(staff(), held, PowerSchool(SCHOOLS, (staff(), rival)))
    gone = replace(rival, schools=())
    assert sync.agrees(staff(), held, PowerSchool(SCHOOLS, (staff(), gone)))


@table("changes, agrees", {
    "the account's address": ({"email": "sam.lee@d118.org"}, False),
    "the account's employee ID": ({"teacher_number": "t2"}, False),
    "the account's employee ID, and a preferred name": (
        {"first_name": "May", "other_first_name": "Maya", "teacher_number": "T2"}, False,
    ),
    "neither": ({}, True),
    "the account's employee ID, but has left": ({"teacher_number": "T2", "schools": ()}, True),
    "the account's employee ID, but another name": ({"teacher_number": "T2", "first_name": "Sam"}, True),
})  # fmt: skip
def test_both_names_are_no_proof_beside_what_a_namesake_has_besides(changes: dict[str, Any], agrees: bool) -> None:
    namesake = staff(**{"dcid": 8, "email": "maya2@d118.org", "teacher_number": "T8", **changes})
    held = stranger(given_name="Maya", family_name="Patel")
    assert sync.agrees(staff(), held, PowerSchool(SCHOOLS, (staff(), namesake))) is agrees


@table("path, tops, inside", {
    "itself": ("/Students", ["/Students"], True),
    "below": ("/Students/Grade 9", ["/Students"], True),
    "in another case": ("/STUDENTS/x", ["/students"], True),
    "the second of two": ("/B/c", ["/A", "/B"], True),
    "a longer name is another": ("/Students Old", ["/Students"], False),
    "above is not below": ("/", ["/Students"], False),
    "further down is not the top": ("/A/Students", ["/Students"], False),
    "no tops": ("/A", [], False),
})  # fmt: skip
def test_org_units_at_or_below(path: str, tops: list[str], inside: bool) -> None:
    assert sync.is_at_or_below(path, tops) is inside


@table("path, frozen", {
    "itself": ("/Administrators", True),
    "below": ("/Administrators/Payroll", True),
    "anywhere in the path": ("/D118 Staff/administrators/Payroll", True),
    "at the end of the path": ("/D118 Staff/Administrators", True),
    "a longer name is another": ("/Administrators Archive", False),
    "a name that only ends so is another": ("/Old Administrators", False),
})  # fmt: skip
def test_frozen_org_units_match_whole_parts_anywhere(path: str, frozen: bool) -> None:
    assert sync.is_frozen(path, ["/Administrators"]) is frozen


# Who is looked at.


@table("changes, rule", {
    "an ordinary person": ({}, ""),
    "a bad first name": ({"first_name": "Plugin"}, "bad name"),
    "a bad last name with spaces round it": ({"last_name": " PLUGIN "}, "bad name"),
    "a bad full name, whatever spaces the setting has": ({"first_name": "test", "last_name": "Teacher"}, "bad name"),
    "a bad name inside a longer one is none": ({"last_name": "Plugins"}, ""),
    "only half of a bad full name": ({"first_name": "Test"}, ""),
    "no name at all": ({"first_name": "", "last_name": ""}, ""),
    "digits before the @": ({"email": "123456@d118.org"}, "numeric address"),
    "digits and a letter": ({"email": "123456a@d118.org"}, ""),
    "no address": ({"email": ""}, ""),
})  # fmt: skip
def test_who_is_skipped(changes: dict[str, str], rule: str) -> None:
    found = sync.skip_rule(staff(**changes), settings_with())
    assert (found.label if found else "") == rule


def test_numeric_addresses_are_people_where_the_setting_says_so() -> None:
    assert sync.skip_rule(staff(email="1@d118.org"), settings_with(SKIP_NUMERIC_EMAILS=False)) is None


@table("person, held, notes", {
    "active": (staff(first_name="Plugin"), account(), [("INFO", "bad name")]),
    "gone and closed": (leaver(first_name="Plugin"), account(suspended=True), [("INFO", "bad name")]),
    "gone and archived": (leaver(first_name="Plugin"), account(archived=True), [("INFO", "bad name")]),
    "gone but open": (leaver(first_name="Plugin"), account(), [("ERROR", "skipped, but open")]),
    "gone but open, a student": (
        leaver(email="1234567@d118.org"), account(org_unit="/Students"), [("INFO", "protected")],
    ),
    "gone but open, a student of another name": (
        leaver(first_name="Plugin", teacher_number=""), account(org_unit="/Students"), [("ERROR", "skipped, but open")],
    ),
    "gone but open, a super admin of another name": (
        leaver(first_name="Plugin", teacher_number=""), account(is_admin=True), [("ERROR", "skipped, but open")],
    ),
})  # fmt: skip
def test_a_skipped_person_is_named_and_only_an_open_leaver_is_an_error(
    person: Staff, held: Account, notes: list[tuple[str, str]]
) -> None:
    planned = plan(person, held)
    assert (kinds(planned), told(planned)) == ([], notes)


# Values of a person.


@table("name, written", {
    "capitals": ("SMITH", "Smith"),
    "small letters": ("smith", "Smith"),
    "mixed stays": ("deShawn", "deShawn"),
    "mixed with capitals stays": ("MacDonald III", "MacDonald III"),
    "an apostrophe": ("O'BRIEN", "O'Brien"),
    "a typographic apostrophe": ("o\u2019brien", "O\u2019Brien"),
    "an apostrophe further in": ("NUR'AIN", "Nur'ain"),
    "an apostrophe at the end": ("JONES'", "Jones'"),
    "a letter and an apostrophe": ("O'", "O'"),
    "Mc": ("MCDONALD", "McDonald"),
    "Mc in small letters": ("mcdonald", "McDonald"),
    "Mc and one letter is a word": ("MCA", "Mca"),
    "Mc alone": ("MC", "Mc"),
    "Mc and two letters": ("MCGA", "McGa"),
    "Mc after an apostrophe": ("O'MCKAY", "O'McKay"),
    "a hyphen": ("SMITH-JONES", "Smith-Jones"),
    "several words": ("de la cruz", "De La Cruz"),
    "two": ("SMITH II", "Smith II"),
    "three": ("SMITH III", "Smith III"),
    "four": ("SMITH IV", "Smith IV"),
    "eight": ("SMITH VIII", "Smith VIII"),
    "junior is a word": ("SMITH JR", "Smith Jr"),
    "three in small letters cannot be told": ("smith iii", "Smith Iii"),
    "a word that only starts so": ("IVES", "Ives"),
    "initials": ("J.R.", "J.R."),
    "accents": ("JOSÉ ÁNGEL", "José Ángel"),
    "accents written as marks of their own": ("ANDRE\u0301S", "Andr\u00e9s"),
    "no letters": ("123", "123"),
    "nothing": ("", ""),
})  # fmt: skip
def test_names_in_one_case_get_capitals_where_they_belong(name: str, written: str) -> None:
    assert sync.proper_case(name) == written


@table("schools, expected", {
    "of the home school": (((5, 3), (101, 1)), 3),
    "the lowest regular one of several": (((5, 3), (5, 2)), 2),
    "a regular one before substitute": (((5, 4), (5, 3)), 3),
    "substitute before unassigned": (((5, 0), (5, 4)), 4),
    "unassigned": (((5, 0),), 0),
    "staff without a row at the home school": (((101, 4),), 2),
    "another building with a smaller number does not count": (((0, 1),), 2),
    "teacher before unassigned": (((5, 0), (5, 1)), 1),
})  # fmt: skip
def test_staff_type(schools: tuple[tuple[int, int], ...], expected: int) -> None:
    assert sync.staff_type(staff(schools=schools)) == expected


@table("person, config, expected", {
    "the building": (staff(), {}, HIGH_OU),
    "a school all in capitals": (staff(homeschool=101), {}, MIDDLE_OU),
    "a substitute by type": (staff(schools=((5, 4),)), {}, "/Substitute Teachers"),
    "a substitute by building": (staff(homeschool=500), {}, "/Substitute Teachers"),
    "the substitute building in another case": (
        staff(homeschool=500), {"SUBSTITUTE_BUILDING": "SUBSTITUTE"}, "/Substitute Teachers",
    ),
    "a building with an org unit of its own": (staff(), {"BUILDING_OUS": {5: "/Administrators"}}, "/Administrators"),
    "another building's own org unit does not count": (staff(), {"BUILDING_OUS": {6: "/Students"}}, HIGH_OU),
    "a new building": (staff(homeschool=106), {}, "/D118 Staff/New School Staff"),
    "another suffix": (staff(), {"BUILDING_OU_SUFFIX": ""}, "/D118 Staff/Wauconda High School"),
})  # fmt: skip
def test_the_org_unit_of_a_person(person: Staff, config: dict[str, Any], expected: str) -> None:
    assert sync.building_org_unit(person, district(**config)) == expected


@table("value, field_type, expected", {
    "text": ("a b", "STRING", "a b"),
    "500 characters": ("x" * 500, "STRING", "x" * 500),
    "501 characters": ("x" * 501, "STRING", None),
    "nothing fits everything": ("", "INT64", ""),
    "a whole number": ("131", "INT64", "131"),
    "zero is a value": ("0", "INT64", "0"),
    "leading zeros": ("007", "INT64", "7"),
    "a negative number": ("-1", "INT64", "-1"),
    "no whole number": ("1.5", "INT64", None),
    "letters for a number": ("abc", "INT64", None),
    "a number written with underscores": ("1_000", "INT64", None),
    "the largest number": (str(2**63 - 1), "INT64", str(2**63 - 1)),
    "one more than the largest": (str(2**63), "INT64", None),
    "the smallest": (str(-(2**63)), "INT64", str(-(2**63))),
    "one less than the smallest": (str(-(2**63) - 1), "INT64", None),
    "far more than the largest": (str(2**64), "INT64", None),
    "a decimal": ("2", "DOUBLE", "2.0"),
    "letters for a decimal": ("two", "DOUBLE", None),
    "not a number at all": ("nan", "DOUBLE", None),
    "infinity": ("inf", "DOUBLE", None),
    "a day": ("2026-11-23", "DATE", "2026-11-23"),
    "a day that is none": ("2026-02-30", "DATE", None),
    "true": ("TRUE", "BOOL", "true"),
    "false": ("false", "BOOL", "false"),
    "yes is no truth": ("yes", "BOOL", None),
    "an address": ("a@b", "EMAIL", "a@b"),
    "no address": ("a.b", "EMAIL", None),
    "a phone number": ("847-555-0100", "PHONE", "847-555-0100"),
    "a phone without @": ("847", "PHONE", "847"),
})  # fmt: skip
def test_a_value_fits_its_field_or_not(value: str, field_type: str, expected: str | None) -> None:
    assert sync.form(value, field_type) == expected


@table("text, shown", {
    "60 characters": ("x" * 60, "x" * 60),
    "61 characters": ("x" * 61, "x" * 57 + "..."),
})  # fmt: skip
def test_long_values_are_shortened(text: str, shown: str) -> None:
    assert sync.shorten(text) == shown


@table("person, config, name, expected", {
    "numbers in order, without doubles or a missing school": (
        staff(schools=((101, 1), (5, 1), (5, 2), (sync.NO_SCHOOL, 1))), {}, "school_access_list", "5;101",
    ),
    "the school's own name": (staff(), {}, "building", "Wauconda High School"),
    "a name in capitals": (staff(homeschool=101), {}, "building", "Middle School"),
    "an alias for building 0": (staff(homeschool=0), {}, "building", "Wauconda High School"),
    "the home school": (staff(homeschool=0), {}, "homeschool_id", "0"),
    "the teacher number": (staff(), {}, "teacher_number", "T7"),
    "the DCID": (staff(), {}, "dcid", "7"),
    "the group": (staff(group="12"), {}, "staff_group", "12"),
})  # fmt: skip
def test_the_values_of_a_person(person: Staff, config: dict[str, Any], name: str, expected: str) -> None:
    assert sync.values_of(person, district(**config))[name] == expected


@table("person, field_types, name, expected, note", {
    "equal as it is": (staff(), {}, "Sync.Home", "5", ""),
    "new": (staff(group="12"), {}, "Sync.Group", "12", ""),
    "gone, so cleared": (staff(group=""), {}, "Sync.Group", "", ""),
    "zero": (staff(group="0"), {}, "Sync.Group", "0", ""),
    "no number": (staff(group="abc"), {}, "Sync.Group", None,
        "'abc' does not fit Sync.Group (INT64, 500 characters): correct it in PowerSchool (Google unchanged)"),
    "a number that is only written otherwise": (staff(group="009"), {}, "Sync.Group", "9", ""),
    "too long and private": (
        staff(extension={"cell_phone": "1" * 501}), {}, "Crisis.Phone", None,
        "(private) does not fit Crisis.Phone (PHONE, 500 characters): correct it in PowerSchool (Google unchanged)",
    ),
    "several extension rows": (
        staff(extension={"cell_phone": "1"}, ambiguous=frozenset({"cell_phone"})), {}, "Crisis.Phone", None,
        "more than one Phone in u_humanresources of PowerSchool: delete all but one (Google unchanged)",
    ),
})  # fmt: skip
def test_the_fields_of_an_account(
    person: Staff, field_types: dict[str, str], name: str, expected: str | None, note: str
) -> None:
    google = {"field_types": {field(key): kind for key, kind in {**FIELD_TYPES, **field_types}.items()}}
    planned = plan(person, account(fields=dict.fromkeys(MAYA_FIELDS, "of before")), google=google)
    # What does not fit or is ambiguous is not wanted at all, so it stays as it is.
    values = {**MAYA_FIELDS, name: expected}
    assert wanted_of(planned, "update") == {field(key): text for key, text in values.items() if text is not None}
    assert [remark.reason for remark in planned.remarks if remark.rule is Rule.VALUE] == ([note] if note else [])


# Addresses and names.


@table("address, valid", {
    "ordinary": ("maya.patel@d118.org", True),
    "an apostrophe, a hyphen, an underscore": ("o'b_r-1@d118.org", True),
    "64 characters": ("x" * 64 + "@d118.org", True),
    "65 characters": ("x" * 65 + "@d118.org", False),
    "two dots": ("a..b@d118.org", False),
    "a dot at the end": ("a.@d118.org", False),
    "a space": ("a b@d118.org", False),
    "a plus": ("a+b@d118.org", False),
    "nothing before the @": ("@d118.org", False),
})  # fmt: skip
def test_addresses_google_would_refuse(address: str, valid: bool) -> None:
    assert bool(sync.VALID_ADDRESS.fullmatch(address)) is valid


@table("address, ours", {
    "ours, whatever case the setting has": ("a@d118.org", True),
    "a subdomain is another": ("a@x.d118.org", False),
    "another": ("a@gmail.com", False),
    "none": ("", False),
})  # fmt: skip
def test_our_domains(address: str, ours: bool) -> None:
    assert sync.is_ours(address, settings_with()) is ours


@table("email, others, expected, note", {
    "the same": (MAYA_AT, [], MAYA_AT, None),
    "blank keeps the account's": ("", [], MAYA_AT, None),
    "another": ("maya.shah@d118.org", [], "maya.shah@d118.org", None),
    "its own alias": ("maya.p@d118.org", [], "maya.p@d118.org", None),
    "its own at a domain alias": ("maya.patel@d118.net", [], MAYA_AT, None),
    "foreign": ("maya@gmail.com", [], MAYA_AT, ("INFO", "foreign address")),
    "faulty": ("maya..p@d118.org", [], MAYA_AT, ("ERROR", "faulty address")),
    "taken": ("sam.lee@d118.org", [stranger()], MAYA_AT, ("ERROR", "address taken")),
    "taken as an alias": ("s@d118.org", [stranger(aliases=("s@d118.org",))], MAYA_AT, ("ERROR", "address taken")),
})  # fmt: skip
def test_the_address_of_an_account(
    email: str, others: list[Account], expected: str, note: tuple[str, str] | None
) -> None:
    had = account(aliases=("maya.p@d118.org",), domain_aliases=("maya.patel@d118.net",))
    planned = plan(staff(email=email), had, *others)
    assert wanted_of(planned, "rename").get(sync.EMAIL, MAYA_AT) == expected
    assert told(planned) == ([note] if note else [])


def test_an_address_taken_as_an_alias_is_told_with_its_holder() -> None:
    holder = stranger(aliases=("s@d118.org",))
    (remark,) = plan(staff(email="s@d118.org"), account(), holder).remarks
    assert "sam.lee@d118.org as an alias" in remark.reason
    (remark,) = plan(staff(email=holder.email), account(), holder).remarks
    assert "sam.lee@d118.org" in remark.reason
    assert "as an alias" not in remark.reason


@table("changes, update_names, expected, rule", {
    "equal": ({}, True, ("Maya", "Patel"), None),
    "equal, with a new address": ({"email": NEW_AT}, True, ("Maya", "Patel"), None),
    "only case differs": ({"last_name": "PATEL", "email": NEW_AT}, True, ("Maya", "Patel"), None),
    "another, names do not follow": ({"last_name": "SHAH"}, False, ("Maya", "Patel"), "name differs"),
    "another given name, names do not follow": ({"first_name": "Mia"}, False, ("Maya", "Patel"), None),
    "another, with a new address": ({"last_name": "SHAH", "email": NEW_AT}, False, ("Maya", "Shah"), None),
    "another, names follow": ({"first_name": "mia"}, True, ("Mia", "Patel"), None),
    "another, but the address waits": (
        {"last_name": "Shah", "email": "sam.lee@d118.org"}, True, ("Maya", "Patel"), "address taken",
    ),
    "empty": ({"last_name": ""}, True, ("Maya", "Patel"), "faulty name"),
    "too long": ({"first_name": "M" * 61}, True, ("Maya", "Patel"), "faulty name"),
})  # fmt: skip
def test_the_name_of_an_account(
    changes: dict[str, str], update_names: bool, expected: tuple[str, str], rule: str | None
) -> None:
    planned = plan(staff(**changes), account(), stranger(), UPDATE_NAMES=update_names)
    wanted = wanted_of(planned, "name")
    assert (wanted.get(sync.GIVEN_NAME, "Maya"), wanted.get(sync.FAMILY_NAME, "Patel")) == expected
    assert [remark.rule.label for remark in planned.remarks] == ([rule] if rule else [])


@table("changes, words", {
    "fine": ({}, ""),
    "60 characters": ({"first_name": "M" * 60}, ""),
    "61 characters": ({"first_name": "M" * 61}, "the first name has 61 characters"),
    "no first name": ({"first_name": ""}, "the first name has 0 characters"),
    "no last name": ({"last_name": ""}, "the last name has 0 characters"),
    "an opening bracket": ({"last_name": "a<b"}, "the last name has 3 characters: Google takes 1 to 60, and no <"),
    "a closing bracket": ({"first_name": "a>b"}, "the first name has 3 characters: Google takes 1 to 60, and no <"),
})  # fmt: skip
def test_names_google_would_refuse(changes: dict[str, str], words: str) -> None:
    planned = plan(staff(**changes))
    assert kinds(planned) == ([] if words else ["create"])
    assert [(remark.rule, remark.seen[: len(words)]) for remark in planned.remarks] == (
        [(Rule.FAULTY_NAME, words)] if words else []
    )


# Whose account.


DOUBTS = {Rule.SUPER_ADMIN.label, Rule.NOT_LINKED.label, Rule.LINKED_LATER.label, Rule.PROBABLE_REHIRE.label}


@table("person, had, rule", {
    "both names": (staff(teacher_number=""), account(dcid=None), None),
    "the employee ID alone": (staff(last_name="Shah"), account(dcid=None), None),
    "neither": (staff(last_name="Shah", teacher_number=""), account(dcid=None), ("ERROR", "not linked")),
    "one name is not enough": (staff(teacher_number="T9", last_name="S"), account(dcid=None), ("ERROR", "not linked")),
    "a super admin": (staff(), account(dcid=None, is_admin=True), ("INFO", "super admin")),
    "a delegated admin": (staff(), account(dcid=None, is_delegated_admin=True), ("ERROR", "not linked")),
    "archived": (staff(), account(dcid=None, archived=True), ("ERROR", "not linked, closed")),
    "archived among the closed": (
        staff(), account(dcid=None, archived=True, suspended=True, org_unit=CLOSED), ("ERROR", "not linked, closed"),
    ),
    "suspended elsewhere": (staff(), account(dcid=None, suspended=True), ("ERROR", "not linked, closed")),
    "suspended by an admin among the closed": (
        staff(), account(dcid=None, suspended=True, org_unit=CLOSED.upper(), suspension_reason="ADMIN"), None,
    ),
    "suspended without a reason among the closed": (staff(), account(dcid=None, suspended=True, org_unit=CLOSED), None),
    "suspended for abuse": (
        staff(), account(dcid=None, suspended=True, org_unit=CLOSED, suspension_reason="ABUSE"),
        ("ERROR", "not linked, closed"),
    ),
    "locked below the closed": (
        staff(), account(dcid=None, suspended=True, org_unit=f"{CLOSED}/Locked"), ("ERROR", "not linked, closed"),
    ),
    "an inactive record's DCID, everything agrees": (staff(), account(dcid=6), None),
    "an inactive record's DCID, another employee ID": (
        staff(teacher_number="T9"), account(dcid=6), ("ERROR", "probable rehire"),
    ),
    "an inactive record's DCID, another name": (
        staff(last_name="Shah"), account(dcid=6), ("ERROR", "probable rehire"),
    ),
    "a DCID that is not in PowerSchool": (staff(), account(dcid=99), ("ERROR", "probable rehire")),
})  # fmt: skip
def test_an_account_is_linked_only_beyond_doubt(person: Staff, had: Account, rule: tuple[str, str] | None) -> None:
    record = leaver(dcid=6, email="", teacher_number="old")
    planned = plan(person, had, others=[record])
    assert ("link" in kinds(planned)) is (rule is None)
    assert [entry for entry in told(planned) if entry[1] in DOUBTS] == ([rule] if rule else [])


@table("changes, linked, links", {
    "a namesake's, who has no account yet": ({}, [], False),
    "a namesake's by the preferred name": ({"first_name": "May", "other_first_name": "Maya"}, [], False),
    "a namesake's, who has an account": ({}, [stranger(dcid=8)], True),
    "of a record of the same name that has no address": ({"email": ""}, [], True),
    "of somebody with another name": ({"first_name": "Sam"}, [], True),
    "of a namesake who left": ({"schools": ()}, [], True),
    "the person's own too": ({"teacher_number": "T7"}, [], True),
})  # fmt: skip
def test_whose_employee_id_keeps_an_account_with_address_and_names_from_being_linked(
    changes: dict[str, Any], linked: list[Account], links: bool
) -> None:
    namesake = staff(**{"dcid": 8, "email": "maya2@d118.org", "teacher_number": "T8", **changes})
    planned = plan(staff(), account(dcid=None, employee_id=namesake.teacher_number), *linked, others=[namesake])
    assert ("link" in kinds(planned), told(planned)) == (links, [] if links else [("ERROR", "not linked")])


@table("had, config, why", {
    "an admin role": (account(dcid=None, is_delegated_admin=True), {}, ", and an admin role"),
    "the setting": (account(dcid=None), {"LINK_BY_EMAIL": False}, ", and LINK_BY_EMAIL is False"),
    "another person": (account(dcid=None, given_name="Sam", employee_id=""), {}, "but another name (Sam Patel)"),
})  # fmt: skip
def test_what_keeps_an_account_with_the_address_from_being_linked_is_said(
    had: Account, config: dict[str, Any], why: str
) -> None:
    planned = plan(staff(), had, **config)
    assert (kinds(planned), told(planned)) == ([], [("ERROR", "not linked")])
    assert planned.remarks[0].seen.endswith(why)


@table("had, words", {
    "of an inactive record": (
        account(dcid=6, employee_id=""),
        "carries the DCID of Maya Patel, no address (DCID 6), with the same address and names: if it is theirs, "
        "set Sync.DCID of maya.patel@d118.org to 7",
    ),
    "not in PowerSchool": (account(dcid=99), "carries DCID 99, nobody's in PowerSchool, with the same address"),
})  # fmt: skip
def test_a_probable_rehire_is_told_with_the_line_that_settles_it(had: Account, words: str) -> None:
    (note,) = plan(staff(), had, others=[leaver(dcid=6, email="")]).remarks
    assert words in note.reason


def test_an_account_is_linked_and_kept_in_step_at_once() -> None:
    planned = plan(staff(group="10"), account(dcid=None, org_unit="/D118 Staff"))
    assert kinds(planned) == ["link", "move", "update"]
    assert planned.changes[0] == Change("link", {DCID: ""}, {DCID: "7"})
    assert planned.evidence == "address and employee ID and names"


def test_the_evidence_of_a_link_by_employee_id_is_told() -> None:
    assert plan(staff(last_name="Shah"), account(dcid=None)).evidence == "address and employee ID"
    assert plan(staff(), account()).evidence == "DCID"


@table("person, accounts, others, level, rule", {
    "two accounts with one DCID": (
        staff(), [account(), stranger(dcid=7)], [], "ERROR", "two accounts with one DCID",
    ),
    "two accounts with the DCID of somebody who left": (
        leaver(), [account(), stranger(dcid=7)], [], "ERROR", "two accounts with one DCID",
    ),
    "two accounts with the DCID of somebody who left, one with the address of a record that has an account": (
        leaver(), [account(), stranger(dcid=7, family_name="Patel"), stranger(id="3", email="m@d118.org", dcid=8)],
        [staff(dcid=8)], "ERROR", "two accounts with one DCID",
    ),
    "two active people with one address": (staff(), [account()], [staff(dcid=8)], "ERROR", "one address, two people"),
    "two active people with one address, the other one first": (
        staff(), [account()], [staff(dcid=6)], "ERROR", "one address, two people",
    ),
    "the address is an alias of an earlier address": (
        staff(), [stranger(email="a@d118.org", aliases=(MAYA_AT,))], [], "ERROR", "address taken",
    ),
    "no account and no address": (staff(email=""), [], [], "INFO", "no address"),
    "no account and a foreign address": (staff(email="m@gmail.com"), [], [], "INFO", "foreign address"),
    "no account and a faulty address": (staff(email="m..p@d118.org"), [], [], "ERROR", "faulty address"),
    "the address is an alias": (staff(), [stranger(aliases=(MAYA_AT,))], [], "ERROR", "address taken"),
    "the address is another active person's account": (
        staff(), [account(dcid=8)], [staff(dcid=8, email="x@d118.org")], "ERROR", "address taken",
    ),
    "the DCID on somebody else's account": (staff(), [stranger(dcid=7)], [], "ERROR", "somebody else's account"),
    "the DCID of a leaver on somebody else's account": (
        leaver(), [stranger(dcid=7)], [], "ERROR", "somebody else's account",
    ),
    "the home school is missing": (staff(homeschool=sync.NO_SCHOOL), [account()], [], "ERROR", "home school"),
    "the home school is unknown": (staff(homeschool=777), [account()], [], "ERROR", "home school"),
    "archived": (staff(), [account(archived=True)], [], "ERROR", "archived"),
    "suspended elsewhere": (staff(), [account(suspended=True)], [], "ERROR", "locked out"),
})  # fmt: skip
def test_what_stops_everything_for_a_person(
    person: Staff, accounts: list[Account], others: list[Staff], level: str, rule: str
) -> None:
    planned = plan(person, *accounts, others=others)
    assert (kinds(planned), told(planned)) == ([], [(level, rule)])
    assert planned.remarks[0].who == str(person)


@table("others, makes", {
    "an inactive person's same address does not count": ([leaver(dcid=8)], ["update"]),
    "a skipped person's same address does not count": ([staff(dcid=8, last_name="Plugin")], ["update"]),
})  # fmt: skip
def test_one_address_and_one_who_counts(others: list[Staff], makes: list[str]) -> None:
    assert kinds(plan(staff(group="10"), account(), others=others)) == makes


def test_a_leaver_with_an_active_persons_address_is_not_held_up_by_it() -> None:
    """The conflict is the active ones'; the leaver's own account has another address."""
    planned = plan(leaver(), account(email="old@d118.org"), others=[staff(dcid=8)])
    assert kinds(planned) == ["suspend", "move to suspended"]


@table("holder, others, notes", {
    "open without a DCID": (account(dcid=None), [], [("ERROR", "left, but open")]),
    "open with an inactive person's DCID": (
        account(dcid=8), [leaver(dcid=8, email="", first_name="Q", teacher_number="")], [("ERROR", "left, but open")],
    ),
    "open with a DCID that is not in PowerSchool": (account(dcid=99), [], [("ERROR", "left, but open")]),
    "an active person's": (account(dcid=8), [staff(dcid=8, email="b@d118.org")], []),
    "the address of an active person": (account(dcid=None), [staff(dcid=8)], []),
    "suspended": (account(dcid=None, suspended=True), [], []),
    "archived": (account(dcid=None, archived=True), [], []),
})  # fmt: skip
def test_a_leaver_without_an_account_is_at_most_told(
    holder: Account, others: list[Staff], notes: list[tuple[str, str]]
) -> None:
    planned = plan(leaver(), holder, others=others)
    assert (kinds(planned), told(planned)) == ([], notes)


# New accounts.


def test_a_new_account_gets_everything_at_once() -> None:
    planned = plan(staff(first_name="MAYA", last_name="O'PATEL", group=""))
    (change,) = planned.changes
    assert (change.kind, planned.had, change.before) == ("create", None, {})
    assert change.after == {
        sync.EMAIL: MAYA_AT, sync.GIVEN_NAME: "Maya", sync.FAMILY_NAME: "O'Patel", sync.ORG_UNIT: HIGH_OU, DCID: "7",
        sync.EMPLOYEE_ID: "T7",
        **{field(name): value for name, value in MAYA_FIELDS.items() if name != "Sync.Group"},
    }  # fmt: skip
    assert planned.remarks == ()


def test_a_new_account_has_a_name_without_letters_as_it_stands() -> None:
    (created,) = plan(staff(first_name="7", last_name="8")).changes
    assert (created.after[sync.GIVEN_NAME], created.after[sync.FAMILY_NAME]) == ("7", "8")


def test_all_that_keeps_an_account_from_being_made_is_told_at_once() -> None:
    planned = plan(staff(first_name="", homeschool=106, odd={"staff_group": "GROUPVALUE is x"}))
    assert planned.changes == ()
    assert {label for _, label in told(planned)} == {"faulty name", "missing org unit", "value"}


def test_who_has_an_odd_staff_type_is_not_moved() -> None:
    planned = plan(staff(odd={"staff_type": "STAFFSTATUS is x"}), account(org_unit=MIDDLE_OU, fields={}))
    assert (kinds(planned), told(planned)) == (["update"], [("ERROR", "value")])


@table("gone, aside, rule", {
    "the address is a deleted account's": (stranger(email=MAYA_AT), (), "recently deleted"),
    "another deleted account is set aside by decision": (stranger(email=MAYA_AT), ("3",), "recently deleted"),
    "that one is set aside by decision": (stranger(email=MAYA_AT), ("2",), None),
    "one with the DCID never is": (stranger(dcid=7), ("2",), "recently deleted"),
    "a deleted account is another's": (stranger(), (), None),
})  # fmt: skip
def test_a_deleted_account_keeps_an_empty_one_from_being_made(
    gone: Account, aside: tuple[str, ...], rule: str | None
) -> None:
    deleted = [replace(gone, deleted_on="2026-11-20")]
    world = replace(district([staff()], google={"deleted": deleted}), not_theirs={7: aside})
    planned = sync.plan_person(staff(), world)
    assert (kinds(planned), told(planned)) == (([], [("ERROR", rule)]) if rule else (["create"], []))


@table("holder, owner, remedy", {
    "an account's address": (
        stranger(email=MAYA_AT), {}, "give that account another address and remove the alias that this leaves, or ",
    ),
    "an alias": (stranger(aliases=(MAYA_AT,)), {}, "remove the alias there, or "),
    "an alias of the one who has this address in PowerSchool": (
        stranger(aliases=(MAYA_AT,), dcid=8), {"email": "old@d118.org"}, "remove the alias there, or ",
    ),
    "an address at another name of the domain": (stranger(domain_aliases=(MAYA_AT,)), {}, ""),
    "the other one's of two that are exchanged": (
        stranger(email=MAYA_AT, dcid=8), {"email": "old@d118.org"},
        "the two are exchanged: in the Admin console give maya.patel@d118.org a third address and remove its alias "
        "maya.patel@d118.org, then give old@d118.org the address maya.patel@d118.org and remove its alias "
        "old@d118.org; or ",
    ),
    "a colleague's who is to get a third one": (
        stranger(email=MAYA_AT, dcid=8), {"email": "third@d118.org"},
        "give that account another address and remove the alias that this leaves, or ",
    ),
})  # fmt: skip
def test_what_to_do_about_an_address_that_is_taken(holder: Account, owner: dict[str, Any], remedy: str) -> None:
    colleague = staff(dcid=8, first_name="Sam", last_name="Lee", teacher_number="T2", email="sam.lee@d118.org")
    planned = plan(staff(), account(email="old@d118.org"), holder, others=[replace(colleague, **owner)])
    (remark,) = planned.remarks
    assert (kinds(planned), remark.rule, remark.remedy) == ([], Rule.ADDRESS_TAKEN, f"{remedy}correct PowerSchool")


def test_a_new_account_has_no_employee_id_where_the_setting_says_so() -> None:
    (change,) = plan(staff(), SET_EMPLOYEE_ID=False).changes
    assert sync.EMPLOYEE_ID not in change.after


@table("person, others, google, level, rule", {
    "the address is a group's": (staff(), [], {"groups": frozenset({MAYA_AT})}, "ERROR", "address taken"),
    "Google could not be asked": (staff(), [], {"unconfirmed": {7: "it broke"}}, "ERROR", "not looked up"),
    "no home school": (staff(homeschool=sync.NO_SCHOOL), [], {}, "ERROR", "home school"),
    "no last name": (staff(last_name=""), [], {}, "ERROR", "faulty name"),
    "no org unit": (staff(homeschool=106), [], {}, "ERROR", "missing org unit"),
    "the same employee ID": (
        staff(), [stranger(employee_id="t7", org_unit="/Elsewhere")], {}, "ERROR", "possible account",
    ),
    "the same name among the staff": (
        staff(), [stranger(given_name="MAYA", family_name="Patel")], {}, "ERROR", "possible account",
    ),
    "the same name among the substitutes": (
        staff(), [stranger(given_name="Maya", family_name="Patel", org_unit="/Substitute Teachers")], {},
        "ERROR", "possible account",
    ),
    "the same name among the closed": (
        staff(), [stranger(given_name="Maya", family_name="Patel", org_unit=CLOSED)], {}, "ERROR", "possible account",
    ),
})  # fmt: skip
def test_nobody_is_created_when(
    person: Staff, others: list[Account], google: dict[str, Any], level: str, rule: str
) -> None:
    planned = plan(person, *others, google=google)
    assert (kinds(planned), told(planned)) == ([], [(level, rule)])


@table("other", {
    "a student of the same name": stranger(given_name="Maya", family_name="Patel", org_unit="/Students"),
    "a namesake in an org unit of nobody's": stranger(given_name="Maya", family_name="Patel", org_unit="/Clubs"),
    "another name": stranger(given_name="Maya", family_name="Lee"),
})  # fmt: skip
def test_a_person_is_created_beside(other: Account) -> None:
    assert kinds(plan(staff(), other)) == ["create"]


@table("other, rule", {
    "directly in the root, where accounts made by hand lie": (
        stranger(given_name="Maya", family_name="Patel", org_unit="/"), "possible account",
    ),
    "in an org unit of BUILDING_OUS": (
        stranger(given_name="Maya", family_name="Patel", org_unit="/Buses/x"), "possible account",
    ),
    "under the preferred name": (stranger(given_name="May", family_name="Patel"), "possible account"),
    "with the DCID of nobody": (stranger(given_name="Maya", family_name="Patel", dcid=99), "probable rehire"),
    "with the DCID of somebody who left": (stranger(employee_id="T7", dcid=6), "probable rehire"),
})  # fmt: skip
def test_nobody_gets_a_second_account(other: Account, rule: str) -> None:
    person, gone = staff(other_first_name="May"), leaver(dcid=6, email="", first_name="X", teacher_number="")
    planned = plan(person, other, others=[gone], BUILDING_OUS={9: "/Buses"})
    assert (kinds(planned), told(planned)) == ([], [("ERROR", rule)])
    # Both ways out: another person is named in HANDS_OFF, and whose DCID an active person has is no question.
    other_person = {other.email: ("another person", "2099-01-01")}
    assert kinds(plan(person, other, others=[gone], BUILDING_OUS={9: "/Buses"}, HANDS_OFF=other_person)) == ["create"]
    theirs = replace(other, dcid=8, values={**other.values, DCID: "8"})
    sam = staff(dcid=8, email=other.email, first_name="S", last_name="L", teacher_number="")
    assert kinds(plan(person, theirs, others=[gone, sam], BUILDING_OUS={9: "/Buses"})) == ["create"]


def test_a_namesake_who_is_certainly_somebody_else_does_not_hold_up_a_creation() -> None:
    namesake = staff(dcid=8, email="maya2@d118.org", teacher_number="T8")
    theirs = account(email="maya2@d118.org", dcid=None, employee_id="T8")
    assert kinds(plan(staff(), theirs, others=[namesake])) == ["create"]
    doubtful = account(email="maya2@d118.org", dcid=None, given_name="Mia", employee_id="T7")
    assert told(plan(staff(), doubtful, others=[namesake])) == [("ERROR", "possible account")]
    linked = account(id="3", email="maya3@d118.org", dcid=8, employee_id="T8")
    assert told(plan(staff(), theirs, linked, others=[namesake])) == [("ERROR", "possible account")]
    shared = [namesake, replace(namesake, dcid=9)]
    assert told(plan(staff(), theirs, others=shared)) == [("ERROR", "possible account")]


def test_without_an_employee_id_accounts_without_one_are_no_twins() -> None:
    assert kinds(plan(staff(teacher_number=""), stranger(employee_id="", external_ids=()))) == ["create"]


def test_a_missing_org_unit_is_told_in_words_that_several_people_share() -> None:
    notes = [plan(staff(dcid=dcid, email=f"m{dcid}@d118.org", homeschool=106)).remarks[0] for dcid in (1, 2)]
    assert notes[0].reason == notes[1].reason
    assert notes[0].rule.is_shared
    assert "/D118 Staff/New School Staff" in notes[0].reason


# Accounts of active people.


def test_an_account_that_is_as_it_should_be_is_left_alone() -> None:
    planned = plan(staff(), account())
    assert (planned.changes, planned.remarks) == ((), ())


@table("person, had, config, makes", {
    "an address": (staff(email="new@d118.org"), account(), {}, ["rename"]),
    "an earlier address and a name": (staff(email="a@d118.org", last_name="Shah"), account(), {}, ["rename", "name"]),
    "an address and a name": (staff(email="new@d118.org", last_name="Shah"), account(), {}, ["rename", "name"]),
    "a name alone does not follow": (staff(last_name="Shah"), account(), {}, []),
    "a name alone, where names follow": (staff(last_name="Shah"), account(), {"UPDATE_NAMES": True}, ["name"]),
    "a taken address keeps the name waiting": (
        staff(email="sam.lee@d118.org", last_name="Shah"), account(), {"UPDATE_NAMES": True}, [],
    ),
    "a foreign address keeps the name waiting": (
        staff(email="m@gmail.com", last_name="Shah"), account(), {"UPDATE_NAMES": True}, [],
    ),
    "a blank address does not": (staff(email="", last_name="Shah"), account(), {"UPDATE_NAMES": True}, ["name"]),
    "a building": (staff(), account(org_unit=MIDDLE_OU), {}, ["move"]),
    "an org unit in another case is the same": (staff(), account(org_unit=HIGH_OU.upper()), {}, []),
    "frozen": (staff(), account(org_unit="/D118 Staff/Administrators/Payroll"), {}, []),
    "temporarily reactivated": (staff(), account(org_unit="/Temporary Re-Activations/x"), {}, []),
    "a missing org unit, and a group": (staff(homeschool=106), account(), {}, ["update"]),
    "closed": (staff(), account(suspended=True, org_unit=CLOSED), {}, ["reactivate", "move"]),
    "closed with a reason": (
        staff(), account(suspended=True, org_unit=CLOSED, suspension_reason="ADMIN"), {}, ["reactivate", "move"],
    ),
    "an employee ID": (staff(teacher_number="T8"), account(), {}, ["update"]),
    "an employee ID that Google holds as another entry": (
        staff(teacher_number="T8"),
        account(external_ids=({"type": "organization", "value": "T7"}, {"type": "organization", "value": " T8"})),
        {}, [],
    ),
    "an employee ID of another type does not count": (
        staff(teacher_number="T8"), account(external_ids=({"type": "login_id", "value": "T8"},)), {}, ["update"],
    ),
    "no teacher number leaves the employee ID": (staff(teacher_number=""), account(), {}, []),
    "employee IDs are not set": (staff(teacher_number="T8"), account(), {"SET_EMPLOYEE_ID": False}, []),
})  # fmt: skip
def test_an_active_persons_account_follows_powerschool(
    person: Staff, had: Account, config: dict[str, Any], makes: list[str]
) -> None:
    assert kinds(plan(person, had, stranger(), **config)) == makes


@table("had, person, notes", {
    "who would be moved to an earlier org unit": (
        account(org_unit="/Z/Administrators"), staff(homeschool=101), [("INFO", "frozen")],
    ),
    "who would be moved": (account(org_unit="/Administrators"), staff(), [("INFO", "frozen")]),
    "whose org unit does not exist": (account(org_unit="/Administrators"), staff(homeschool=106), []),
    "whose org unit it is": (
        account(org_unit="/administrators"), staff(homeschool=101, schools=((101, 1),)), [],
    ),
})  # fmt: skip
def test_a_frozen_account_is_told_only(had: Account, person: Staff, notes: list[tuple[str, str]]) -> None:
    assert told(plan(person, had, BUILDING_OUS={101: "/Administrators"})) == notes


def test_a_temporarily_reactivated_account_waits_for_no_org_unit() -> None:
    planned = plan(staff(homeschool=106), account(org_unit="/Temporary Re-Activations"))
    assert told(planned) == [("INFO", "temporary reactivation")]


@table("had, words", {
    "among the closed": (account(suspended=True, org_unit=CLOSED), ""),
    "in another case": (account(suspended=True, org_unit=CLOSED.lower()), ""),
    "by an administrator": (account(suspended=True, org_unit=CLOSED, suspension_reason="ADMIN"), ""),
    "for abuse": (account(suspended=True, org_unit=CLOSED, suspension_reason="ABUSE"), "Google itself has locked"),
    "a super admin": (account(suspended=True, org_unit=CLOSED, is_admin=True), "super admin"),
    "a delegated admin": (account(suspended=True, org_unit=CLOSED, is_delegated_admin=True), "admin role"),
    "below the closed": (account(suspended=True, org_unit=f"{CLOSED}/Locked"), "not in /Suspended Accounts"),
    "elsewhere": (account(suspended=True), "is suspended in " + HIGH_OU),
})  # fmt: skip
def test_who_stays_suspended(had: Account, words: str) -> None:
    planned = plan(staff(), had)
    assert ("reactivate" in kinds(planned)) is not bool(words)
    reasons = [str(remark) for remark in planned.remarks if remark.rule in {Rule.LOCKED_OUT, Rule.SUPER_ADMIN}]
    assert [words in reason for reason in reasons] == ([True] if words else [])


CLOSED_AT = datetime(2026, 11, 20, 4, 0, tzinfo=timezone.utc)


@table("had, closing, opens", {
    "a closing cut off, untouched since": (account(suspended=True), (CLOSED_AT, HIGH_OU), True),
    "at about the time Google gives": (
        account(suspended=True, suspension_time="2026-11-20T04:10:00.000Z"), (CLOSED_AT, HIGH_OU), True,
    ),
    "suspended by somebody later": (
        account(suspended=True, suspension_time="2026-11-20T04:10:01.000Z"), (CLOSED_AT, HIGH_OU), False,
    ),
    "moved since": (account(suspended=True, org_unit=MIDDLE_OU), (CLOSED_AT, HIGH_OU), False),
    "locked below the closed": (
        account(suspended=True, org_unit=f"{CLOSED}/Locked"), (CLOSED_AT, f"{CLOSED}/Locked"), False,
    ),
    "an admin role": (account(suspended=True, is_delegated_admin=True), (CLOSED_AT, HIGH_OU), False),
    "locked by Google": (account(suspended=True, suspension_reason="ABUSE"), (CLOSED_AT, HIGH_OU), False),
    "no closing of ours": (account(suspended=True), None, False),
})  # fmt: skip
def test_who_is_opened_again_after_a_closing_that_was_cut_off(
    had: Account, closing: tuple[datetime, str] | None, opens: bool
) -> None:
    world = replace(district([staff()], [had]), closings={had.id: closing} if closing else {})
    assert ("reactivate" in kinds(sync.plan_person(staff(), world))) is opens


# Leavers.


@table("had, more, makes, notes", {
    "open": (account(), {}, ["suspend", "move to suspended"], []),
    "suspended where they worked": (account(suspended=True), {}, ["move to suspended"], []),
    "closed": (account(suspended=True, org_unit=CLOSED), {}, [], []),
    "locked below": (account(suspended=True, org_unit=f"{CLOSED}/Locked"), {}, [], []),
    "open below the closed": (account(org_unit=f"{CLOSED}/Locked"), {}, ["suspend"], []),
    "archived": (account(archived=True), {}, [], []),
    "a frozen org unit protects nobody": (
        account(org_unit="/Administrators"), {}, ["suspend", "move to suspended"], [],
    ),
    "a temporary reactivation does": (
        account(org_unit="/Temporary Re-Activations/x"), {}, [], [("INFO", "temporary reactivation")],
    ),
    "a foreign address does not": (account(email="m@other.org"), {}, ["suspend", "move to suspended"], []),
    "an active person's address": (account(), {"others": [staff(dcid=8)]}, [], [("INFO", "address in use")]),
    "a delegated admin": (
        account(is_delegated_admin=True), {}, ["suspend", "move to suspended"], [("ERROR", "admin role")],
    ),
    "a delegated admin who is closed": (
        account(is_delegated_admin=True, suspended=True, org_unit=CLOSED), {}, [], [("ERROR", "admin role")],
    ),
    "a super admin": (account(is_admin=True), {}, [], [("ERROR", "super admin left")]),
    "a super admin who is closed": (account(is_admin=True, suspended=True, org_unit=CLOSED), {}, [], []),
    "in the hold": (account(), {"HOLD_SUSPENSIONS": [("11-01", "11-30")]}, [], [("INFO", "held by the calendar")]),
    "in the hold, but suspended": (
        account(suspended=True), {"HOLD_SUSPENSIONS": [("11-01", "11-30")]}, ["move to suspended"], [],
    ),
    "in the hold, but archived": (account(archived=True), {"HOLD_SUSPENSIONS": [("11-01", "11-30")]}, [], []),
    "in the hold, but named": (
        account(), {"HOLD_SUSPENSIONS": [("11-01", "11-30")], "only": True}, ["suspend", "move to suspended"], [],
    ),
    "outside the hold": (account(), {"HOLD_SUSPENSIONS": [("06-10", "08-20")]}, ["suspend", "move to suspended"], []),
})  # fmt: skip
def test_a_leavers_account(had: Account, more: dict[str, Any], makes: list[str], notes: list[tuple[str, str]]) -> None:
    planned = plan(leaver(), had, **more)
    assert (kinds(planned), told(planned)) == (makes, notes)


def test_nothing_else_of_a_leaver_changes() -> None:
    person = leaver(last_name="Shah", email="new@d118.org", group="1", teacher_number="T8")
    planned = plan(person, account(), UPDATE_NAMES=True)
    assert {name for change in planned.changes for name in change.after} == {sync.SUSPENDED, sync.ORG_UNIT}


def test_a_leaver_goes_to_the_org_unit_as_google_spells_it() -> None:
    planned = plan(leaver(), account(), SUSPENDED_OU=CLOSED.upper())
    assert planned.changes[1] == Change("move to suspended", {sync.ORG_UNIT: HIGH_OU}, {sync.ORG_UNIT: CLOSED})


@table("windows, today, until", {
    "before": ([("06-10", "08-20")], date(2026, 6, 9), ""),
    "the first day": ([("06-10", "08-20")], date(2026, 6, 10), "08-20"),
    "inside": ([("06-10", "08-20")], date(2026, 7, 1), "08-20"),
    "the last day": ([("06-10", "08-20")], date(2026, 8, 20), "08-20"),
    "after": ([("06-10", "08-20")], date(2026, 8, 21), ""),
    "the second window": ([("06-10", "08-20"), ("12-20", "12-31")], date(2026, 12, 31), "12-31"),
    "one day": ([("06-10", "06-10")], date(2026, 6, 10), "06-10"),
    "the day after the one day": ([("06-10", "06-10")], date(2026, 6, 11), ""),
    "before New Year": ([("12-20", "01-05")], date(2026, 12, 31), "01-05"),
    "after New Year": ([("12-20", "01-05")], date(2027, 1, 1), "01-05"),
    "the last day after New Year": ([("12-20", "01-05")], date(2027, 1, 5), "01-05"),
    "the first day before New Year": ([("12-20", "01-05")], date(2026, 12, 20), "01-05"),
    "outside a window across New Year": ([("12-20", "01-05")], date(2027, 1, 6), ""),
    "the day before a window across New Year": ([("12-20", "01-05")], date(2026, 12, 19), ""),
    "no window": ([], date(2026, 7, 1), ""),
})  # fmt: skip
def test_the_hold_window(windows: list[tuple[str, str]], today: date, until: str) -> None:
    assert sync.hold_window(settings_with(HOLD_SUSPENSIONS=windows), today) == until


# Hands off.


@table("person, had, config, note", {
    "nobody's business": (staff(), account(), {}, None),
    "a super admin": (staff(), account(is_admin=True), {}, ("INFO", "super admin")),
    "a super admin who left": (leaver(), account(is_admin=True), {}, ("ERROR", "super admin left")),
    "a delegated admin is not": (staff(), account(is_delegated_admin=True), {}, None),
    "protected": (staff(), account(org_unit="/Students/Grade 9"), {}, ("INFO", "protected")),
    "the admin account": (staff(), account(), {"admin_email": MAYA_AT}, ("INFO", "own admin")),
    "the admin account by an alias": (
        staff(), account(aliases=("it@d118.org",)), {"admin_email": "it@d118.org"}, ("INFO", "own admin"),
    ),
    "listed by address": (
        staff(), account(), {"HANDS_OFF": {" Maya.Patel@D118.org": ("on leave", "2026-11-23")}}, ("INFO", "hands off"),
    ),
    "listed by the account's address": (
        staff(email=""), account(), {"HANDS_OFF": {MAYA_AT: ("on leave", "2026-11-24")}}, ("INFO", "hands off"),
    ),
    "listed by an alias": (
        staff(), account(aliases=("m@d118.org",)), {"HANDS_OFF": {"m@d118.org": ("on leave", "2026-11-24")}},
        ("INFO", "hands off"),
    ),
    "listed by DCID": (staff(), account(), {"HANDS_OFF": {"7": ("on leave", "2026-11-24")}}, ("INFO", "hands off")),
    "listed by DCID as a number": (
        staff(), account(), {"HANDS_OFF": {7: ("on leave", "2026-11-24")}}, ("INFO", "hands off"),
    ),
    "listed before there is an account": (
        staff(), None, {"HANDS_OFF": {"7": ("on leave", "2026-11-24")}}, ("INFO", "hands off"),
    ),
    "listed until yesterday": (
        staff(), account(), {"HANDS_OFF": {"7": ("on leave", "2026-11-22")}}, ("ERROR", "hands off is over"),
    ),
    "listed until a day that is over, and until a later one": (
        staff(), account(), {"HANDS_OFF": {"7": ("years ago", "2026-11-22"), MAYA_AT: ("on leave", "2026-11-24")}},
        ("INFO", "hands off"),
    ),
    "a smaller DCID is listed": (staff(), account(), {"HANDS_OFF": {"10": ("on leave", "2026-11-24")}}, None),
    "another is listed": (staff(), account(), {"HANDS_OFF": {"77": ("on leave", "2026-11-24")}}, None),
    "listed before a super admin": (
        leaver(), account(is_admin=True), {"HANDS_OFF": {"7": ("on leave", "2026-11-24")}}, ("INFO", "hands off"),
    ),
    "no account": (staff(), None, {}, None),
})  # fmt: skip
def test_hands_off(person: Staff, had: Account | None, config: dict[str, Any], note: tuple[str, str] | None) -> None:
    world = district([person], [had] if had else [], **config)
    found = sync.hands_off(person, had, world, has_left=not person.is_active)
    assert (found and (found.rule.level, found.rule.label)) == note
    if had and found:
        # It is told only when something would be due, and then instead of being done.
        due = plan(replace(person, group="1", schools=((0, 1),) if person.is_active else ()), had, **config)
        assert (kinds(due), told(due)) == ([], [note])


def test_a_new_person_who_is_hands_off_is_not_created() -> None:
    planned = plan(staff(), HANDS_OFF={MAYA_AT: ("on leave", "2026-11-24")})
    assert (kinds(planned), told(planned)) == ([], [("INFO", "hands off")])


def test_hands_off_is_not_told_when_nothing_is_due() -> None:
    assert plan(staff(), account(is_admin=True)).remarks == ()


def test_an_account_that_would_be_linked_is_left_alone_when_hands_are_off() -> None:
    planned = plan(staff(), account(dcid=None, org_unit="/Students"))
    assert (kinds(planned), told(planned)) == ([], [("INFO", "protected")])


# Differences.


HAD = account(aliases=("m@d118.org",))
NAME = {sync.GIVEN_NAME: "Maya", sync.FAMILY_NAME: "Patel"}


@table("wanted, makes", {
    "nothing": ({}, []),
    "what it is": (dict(HAD.values), []),
    "suspended, with where it lay": (
        {sync.SUSPENDED: sync.YES},
        [Change("suspend", {sync.SUSPENDED: "false", sync.ORG_UNIT: HIGH_OU}, {sync.SUSPENDED: "true"})],
    ),
    "org unit": ({sync.ORG_UNIT: "/x"}, [Change("move", {sync.ORG_UNIT: HIGH_OU}, {sync.ORG_UNIT: "/x"})]),
    "org unit in another case": ({sync.ORG_UNIT: HIGH_OU.upper()}, []),
    "org unit of a closed account": (
        {sync.SUSPENDED: sync.YES, sync.ORG_UNIT: CLOSED},
        [
            Change("suspend", {sync.SUSPENDED: "false", sync.ORG_UNIT: HIGH_OU}, {sync.SUSPENDED: "true"}),
            Change("move to suspended", {sync.ORG_UNIT: HIGH_OU}, {sync.ORG_UNIT: CLOSED}),
        ],
    ),
    "address, with the aliases it had": (
        {sync.EMAIL: "b@d118.org"},
        [Change("rename", {sync.EMAIL: MAYA_AT, "aliases": "m@d118.org"}, {sync.EMAIL: "b@d118.org"})],
    ),
    "one part of a name goes with the other": (
        {**NAME, sync.GIVEN_NAME: "Mia"}, [Change("name", NAME, {**NAME, sync.GIVEN_NAME: "Mia"})],
    ),
    "one field of several": (
        {field("Sync.Group"): "1", field("Sync.Home"): "5"},
        [Change("update", {field("Sync.Group"): "9"}, {field("Sync.Group"): "1"})],
    ),
    "a number written otherwise": ({field("Sync.Group"): "09"}, []),
    "a field that is emptied": (
        {field("Crisis.Phone"): ""},
        [Change("update", {field("Crisis.Phone"): "847-555-0100"}, {field("Crisis.Phone"): ""})],
    ),
    "employee ID": ({sync.EMPLOYEE_ID: "A1"}, [Change("update", {sync.EMPLOYEE_ID: "T7"}, {sync.EMPLOYEE_ID: "A1"})]),
    "DCID": ({DCID: "8"}, [Change("link", {DCID: "7"}, {DCID: "8"})]),
})  # fmt: skip
def test_differences(wanted: dict[str, str], makes: list[Change]) -> None:
    assert list(sync.differences(HAD, wanted, district())) == makes


def test_a_reactivation_comes_first() -> None:
    had = account(suspended=True)
    wanted = {
        sync.EMPLOYEE_ID: "T8", sync.GIVEN_NAME: "Mia", sync.FAMILY_NAME: "Patel", sync.EMAIL: "b@d118.org",
        sync.ORG_UNIT: "/x", DCID: "8", sync.SUSPENDED: sync.NO,
    }  # fmt: skip
    made = [change.kind for change in sync.differences(had, wanted, district())]
    assert made == ["reactivate", "link", "move", "rename", "name", "update"]


def test_accounts_whose_dcid_is_not_in_powerschool_are_told() -> None:
    accounts = [
        account(), stranger(dcid=98, email="z@d118.org", last_sign_in="2026-01-02"),
        stranger(id="3", dcid=99, email="a@d118.org", suspended=True), stranger(id="4", email="b@d118.org"),
        stranger(id="5", dcid=97, email="c@d118.org"), stranger(id="6", dcid=96, email="d@d118.org"),
        stranger(id="7", dcid=95, email="e@d118.org", suspended=True),
    ]  # fmt: skip
    entry = {"c@d118.org": ("a robot", "2099-01-01")} | dict.fromkeys(("96", "95"), ("a robot", "2020-01-01"))
    remarks = [*sync.nobodys_accounts(district([staff()], accounts, HANDS_OFF=entry))]
    assert [(remark.who, remark.rule.level, remark.rule.label) for remark in remarks] == [
        ("a@d118.org", "INFO", "not in PowerSchool"), ("c@d118.org", "INFO", "not in PowerSchool"),
        ("d@d118.org", "ERROR", "hands off is over"), ("e@d118.org", "INFO", "not in PowerSchool"),
        ("z@d118.org", "ERROR", "open for nobody"),
    ]  # fmt: skip
    assert remarks[0].seen.endswith("last sign-in never")
    assert remarks[-1].seen == f"DCID 98, in {HIGH_OU}, last sign-in 2026-01-02"


@table("key, is_idle", {
    "a DCID of PowerSchool": ("7", False), "a DCID that only Google has": ("dcid:99", False), "no DCID": ("98", True),
    "an address of Google": ("Sam.Lee@d118.org", False), "no address": ("sam@d118.org", True),
})  # fmt: skip
def test_an_entry_of_hands_off_that_names_nobody_on_either_side_is_told(key: str, is_idle: bool) -> None:
    world = district([staff()], [stranger(dcid=99)], HANDS_OFF={key: ("on leave", "2099-01-01")})
    told_of = [remark.who for remark in sync.idle_settings(world) if remark.who.startswith("HANDS_OFF")]
    assert told_of == [f"HANDS_OFF names {key}, which is no address or DCID on either side"] * is_idle


def test_addresses_are_indexed_with_the_primary_before_an_alias() -> None:
    aliased = stranger(aliases=(MAYA_AT, "s@d118.org"))
    for accounts in ([account(), aliased], [aliased, account()]):
        indexed = district([staff()], accounts)
        assert indexed.google.by_address[MAYA_AT].id == "1"
        assert indexed.google.by_address["s@d118.org"].id == "2"


# Limits and sanity.


def planned_with(*changes: Change, had: Account | None = None, dcid: int = 7) -> Plan:
    return Plan(staff(dcid=dcid), had or account(), tuple(changes))


def change(kind: str) -> Change:
    return Change(kind, {"x": "1"}, {} if kind == "update" else {"x": "2"})


B, C = field("Sync.Group"), field("Sync.Access")
CLEAR = Change("update", {B: "1", C: "2"}, {B: "", C: "3"})
ONLY_CLEAR = Change("update", {B: "1"}, {B: ""})
CLEAR_AND_ID = Change("update", {B: "1", sync.EMPLOYEE_ID: ""}, {B: "", sync.EMPLOYEE_ID: "T"})


@table("planned, counted", {
    "kinds": (planned_with(change("rename"), change("move")), {"rename", "move"}),
    "a leaver counts as suspended only": (planned_with(change("suspend"), change("move to suspended")), {"suspend"}),
    "one already suspended counts as moved": (
        planned_with(change("move to suspended"), had=account(suspended=True)), {"move to suspended"},
    ),
    "a cleared value counts besides": (planned_with(CLEAR), {"update", "clear"}),
    "a changed value does not": (planned_with(Change("update", {B: "1"}, {B: "0"})), {"update"}),
    "an empty value of a new account is none": (
        Plan(staff(), None, (Change("create", {}, {B: ""}),)), {"create"},
    ),
})  # fmt: skip
def test_what_counts_against_a_limit(planned: Plan, counted: set[str]) -> None:
    assert sync.limited_kinds(planned) == counted


@table(
    "limit, over",
    {
        "fewer than the limit": (3, []),
        "as many as the limit": (2, []),
        "one more": (1, ["move"]),
        "none allowed": (0, ["move"]),
    },
)
def test_a_limit_is_exceeded_by_one_more_than_it(limit: int, over: list[str]) -> None:
    plans = [planned_with(change("move")), planned_with(change("move"), change("rename")), planned_with()]
    world = district(LIMITS={"move": limit, "rename": 1, "suspend": 0})
    assert [remark.who for remark in sync.too_much(plans, world)] == over


REST = [change("move"), change("rename"), change("name"), change("update")]


@table("changes, held, kept", {
    "nothing held": (REST, set(), ["move", "rename", "name"]),
    "a move holds itself": (REST, {"move"}, ["rename", "name"]),
    "a rename holds the name too": (REST, {"rename"}, ["move"]),
    "a rename and a name, both held": (REST, {"rename", "name"}, ["move"]),
    "a name holds itself": (REST, {"name"}, ["move", "rename"]),
    "a held name without a rename of one's own": ([change("name")], {"rename"}, ["name"]),
    "a held link holds everything": ([change("link"), CLEAR, *REST], {"link"}, []),
    "a held reactivation holds everything": ([change("reactivate"), CLEAR, *REST], {"reactivate"}, []),
    "a held suspension holds everything": ([change("suspend"), change("move to suspended")], {"suspend"}, []),
    "a move after a suspension is not held": (
        [change("suspend"), change("move to suspended")], {"move to suspended"}, ["suspend", "move to suspended"],
    ),
    "a held kind that others have": ([change("move")], {"create", "link"}, ["move"]),
})  # fmt: skip
def test_what_a_held_kind_takes_with_it(changes: list[Change], held: set[str], kept: list[str]) -> None:
    made = sync.without_held(planned_with(*changes), frozenset(held), district())
    assert [kind for kind in kinds(made) if kind != "update"] == kept


def test_a_held_move_holds_what_says_the_same_in_the_fields() -> None:
    home, building, group = field("Sync.Home"), field("Crisis.Building"), field("Sync.Group")
    values = {home: "101", building: "Middle School", group: "1"}
    update = Change("update", dict.fromkeys(values, "x"), values)
    kept = sync.without_held(planned_with(change("move"), update), frozenset({"move"}), district())
    assert [dict(made.after) for made in kept.changes] == [{group: "1"}]


@table("changes, kept", {
    "the other values go on": (
        [CLEAR, change("move")],
        [Change("update", {C: "2"}, {C: "3"}), change("move")],
    ),
    "an update of nothing goes": ([ONLY_CLEAR, change("move")], [change("move")]),
    "an employee ID goes on": (
        [CLEAR_AND_ID],
        [Change("update", {sync.EMPLOYEE_ID: ""}, {sync.EMPLOYEE_ID: "T"})],
    ),
})  # fmt: skip
def test_a_held_clear_holds_only_the_empty_values(changes: list[Change], kept: list[Change]) -> None:
    assert list(sync.without_held(planned_with(*changes), frozenset({"clear"}), district()).changes) == kept


def test_what_has_one_side_only_goes_on_beside_what_is_held() -> None:
    back = [Change("join group", {}, {"group": "g@d118.org"}), Change("remove alias", {"alias": "m@d118.org"}, {})]
    kept = sync.without_held(planned_with(*back, change("move")), frozenset({"move"}), district())
    assert list(kept.changes) == back


def test_an_update_is_held_like_any_other_kind_where_it_gets_a_limit() -> None:
    kept = sync.without_held(planned_with(change("move"), CLEAR), frozenset({"update"}), district())
    assert list(kept.changes) == [change("move")]


def test_a_move_of_the_suspended_is_held_for_the_person() -> None:
    planned = planned_with(change("move to suspended"), CLEAR, had=account(suspended=True))
    assert sync.without_held(planned, frozenset({"move to suspended"}), district()).changes == ()


def test_a_held_creation_is_no_creation() -> None:
    planned = plan(staff())
    assert sync.without_held(planned, frozenset({"create"}), district()).changes == ()


def test_what_is_held_is_told_with_the_people_and_the_way_through() -> None:
    plans = [planned_with(change("suspend")), planned_with(change("suspend"), dcid=8), planned_with(change("move"))]
    (held,) = sync.too_much(plans, district(LIMITS={"suspend": 1}))
    assert str(held) == (
        "suspend: 2 people, the limit is 1, so nobody of these is changed: if that is right, --allow suspend=2. "
        "Held: Maya Patel, maya.patel@d118.org (DCID 7); Maya Patel, maya.patel@d118.org (DCID 8)"
    )


def test_a_kind_of_several_words_is_quoted_for_the_shell() -> None:
    plans = [planned_with(change("move to suspended"), had=account(suspended=True))]
    (held,) = sync.too_much(plans, district(LIMITS={"move to suspended": 0}))
    assert 'if that is right, --allow "move to suspended=1". Held: ' in held.remedy


def people_and_accounts(linked: int, unlinked: int) -> tuple[list[Staff], list[Account]]:
    people = [staff(dcid=n, email=f"p{n}@d118.org") for n in range(1, linked + unlinked + 1)]
    accounts = [
        account(id=str(p.dcid), email=p.email, dcid=p.dcid if p.dcid <= linked else None) for p in people
    ]  # fmt: skip
    return people, accounts


@table("linked, unlinked, allowed, held", {
    "nobody": (0, 0, {}, set()),
    "exactly half": (2, 2, {}, set()),
    "fewer than half": (2, 3, {}, {"create", "suspend"}),
    "none": (0, 1, {}, {"create", "suspend"}),
    "all": (3, 0, {}, set()),
    "creations are allowed": (2, 3, {"create": 9}, {"suspend"}),
    "something else is allowed": (2, 3, {"suspend": 9}, {"create", "suspend"}),
})  # fmt: skip
def test_linking_comes_first(linked: int, unlinked: int, allowed: dict[str, int], held: set[str]) -> None:
    people, accounts = people_and_accounts(linked, unlinked)
    found = sync.linking_first(district(people, accounts, allowed=allowed))
    assert {remark.who for remark in found} == held
    assert all(f"only {linked} of the {linked + unlinked} active staff" in remark.seen for remark in found)
    assert all(("--allow create=N" in remark.remedy) is (remark.who == "create") for remark in found)


@table("person, held", {
    "a leaver": (leaver(dcid=9), account(id="9", dcid=None)),
    "a skipped person": (staff(dcid=9, last_name="Plugin"), account(id="9", dcid=None)),
    "a protected account": (staff(dcid=9), account(id="9", dcid=None, org_unit="/Students")),
    "an alias": (staff(dcid=9), stranger(id="9", aliases=(MAYA_AT,))),
    "nobody's address": (staff(dcid=9, email=""), account(id="9", dcid=None)),
})  # fmt: skip
def test_who_does_not_count_as_not_linked(person: Staff, held: Account) -> None:
    people, accounts = people_and_accounts(1, 1)
    unlinked = staff(dcid=20, email="p20@d118.org")
    theirs = account(id="20", email=unlinked.email, dcid=None)
    assert sync.linking_first(district([person, *people, unlinked], [*accounts, held, theirs]))
    assert sync.linking_first(district([*people, person], [*accounts, held])) == []


def test_what_is_held_is_over_a_limit_or_waits_for_the_linking() -> None:
    people, accounts = people_and_accounts(1, 2)
    suspended = planned_with(Change("suspend", {}, {sync.SUSPENDED: sync.YES}))
    creation = planned_with(change("create"))
    for plans, only, kinds in (
        ([suspended, suspended], True, ["suspend"]),
        ([suspended, suspended], False, ["suspend", "suspend"]),
        ([suspended, suspended, creation], False, ["create", "suspend", "suspend"]),
    ):
        world = district(people, accounts, LIMITS={"suspend": 1, "move": 1}, only=only)
        held = sync.too_much(plans, world)
        assert [remark.who for remark in held] == kinds
        assert all(remark.rule is Rule.LIMIT for remark in held)


@table("leavers, share, allowed, only, held", {
    "three are few": (3, 0.2, {}, False, False),
    "four of twenty are a fifth": (4, 0.2, {}, False, False),
    "five of twenty are more": (5, 0.2, {}, False, True),
    "another share": (5, 0.25, {}, False, False),
    "allowed": (5, 0.2, {"suspend": 5}, False, False),
    "some people by hand": (5, 0.2, {}, True, False),
})  # fmt: skip
def test_many_suspensions_for_a_small_district_are_held(
    leavers: int, share: float, allowed: dict[str, int], only: bool, held: bool
) -> None:
    people = [staff(dcid=n, email=f"p{n}@d118.org", teacher_number="") for n in range(1, 21)]
    accounts = [account(id=str(p.dcid), email=p.email, dcid=p.dcid, employee_id="") for p in people]
    staffed = [replace(p, schools=()) if p.dcid <= leavers else p for p in people]
    gone = [replace(p, dcid=100 + p.dcid, email="", schools=()) for p in people]  # whose accounts are closed already
    staffed += gone
    accounts += [stranger(id=f"c{p.dcid}", dcid=p.dcid, suspended=True, org_unit=CLOSED) for p in gone]
    world = district(staffed, accounts, LIMIT_SHARE=share, only=only, allowed=allowed)
    found = sync.too_much([sync.plan_person(p, world) for p in staffed], world)
    assert [remark.who for remark in found] == ["suspend"] * held


@table("nobodys, held", {"five are few": (5, False), "six of 120 are 5 %": (6, False), "seven are more": (7, True)})
def test_many_open_accounts_of_nobody_hold_suspensions(nobodys: int, held: bool) -> None:
    people = [staff(dcid=n, email=f"p{n}@d118.org", teacher_number="") for n in range(1, 121 - nobodys)]
    accounts = [account(id=str(n), email=f"p{n}@d118.org", dcid=n, employee_id="") for n in range(1, 121)]
    found = sync.too_much([], district(people, accounts))
    assert [remark.who for remark in found] == ["suspend"] * held


@table("outside, stops", {"half": (2, False), "more than half": (3, True)})
def test_a_district_whose_staff_are_outside_its_domains_stops(outside: int, stops: bool) -> None:
    people = [staff(dcid=n, email=f"p{n}@{'d18.org' if n < outside else 'd118.org'}") for n in range(4)]
    people += [leaver(dcid=9, email="x@d18.org"), staff(dcid=10, email="")]
    found = sync.foreign_staff(district(people))
    assert [remark.rule for remark in found] == [Rule.IMPLAUSIBLE] * stops


def test_a_missing_org_unit_is_told_with_the_setting_that_names_it() -> None:
    settings = settings_with(SUBSTITUTE_OU="/Subs")
    create, renamed = "create it with --setup, or", "rename the org unit of a school that was renamed, "
    assert sync.org_unit_remedy("/Subs", settings, {}) == f"{create} correct SUBSTITUTE_OU"
    other = "name another one in BUILDING_OUS"
    assert sync.org_unit_remedy("/D118 Staff/X", settings, {}) == f"{renamed}{create} {other}"


STRANGE = Plan(staff(), account(), remarks=(Remark(Rule.SOMEBODY_ELSES, "", ""),))
ORDINARY = Plan(staff(), account(), remarks=(Remark(Rule.VALUE, "", ""),))
ABSENT = Plan(staff())


@table("plans, stops", {
    "five of five": ([STRANGE] * 5, False),
    "four of four": ([STRANGE] * 4, False),
    "six of 200": ([STRANGE] * 6 + [ORDINARY] * 194, False),
    "six of six": ([STRANGE] * 6, True),
    "six of 120 are 5 %": ([STRANGE] * 6 + [ORDINARY] * 114, False),
    "six of 119 are more": ([STRANGE] * 6 + [ORDINARY] * 113, True),
    "people without an account do not count": ([STRANGE] * 6 + [ORDINARY] * 113 + [ABSENT] * 50, True),
    "none": ([ORDINARY] * 9, False),
})  # fmt: skip
def test_many_accounts_of_somebody_else_stop_the_run(plans: list[Plan], stops: bool) -> None:
    doubt = "".join(map(str, sync.rebuilt_powerschool(plans, district())))
    assert ("was PowerSchool rebuilt" in doubt) is stops is bool(doubt)
    assert (doubt.count("dcid:7") == 5) is stops, "five are named"


@table("powerschool, accounts, words", {
    "no schools": (PowerSchool({}, (staff(),)), [account()], "no schools:"),
    "no staff": (PowerSchool(SCHOOLS, ()), [account()], "no staff; PowerSchool returned no active staff"),
    "no active staff": (PowerSchool(SCHOOLS, (leaver(),)), [account()], "PowerSchool returned no active staff"),
    "no accounts": (PowerSchool(SCHOOLS, (staff(),)), [], "Google returned no accounts:"),
})  # fmt: skip
def test_an_empty_answer_stops_the_run(powerschool: PowerSchool, accounts: list[Account], words: str) -> None:
    faults = sync.implausible(powerschool, directory(accounts))
    assert words in str(faults[0])
    with pytest.raises(RunError) as stopped:
        sync.stop_at(faults)
    assert str(stopped.value) == str(faults[0])
    assert stopped.value.exit_code == sync.HELD


def test_an_ordinary_answer_does_not_stop_the_run() -> None:
    assert sync.implausible(PowerSchool(SCHOOLS, (leaver(dcid=1), staff())), directory([account()])) == []


# Choosing people.


PEOPLE = [
    staff(dcid=1, email="a@d118.org", teacher_number="2"), staff(dcid=2, email="b@d118.org", teacher_number="X"),
    staff(dcid=3, email="c@d118.org", teacher_number=""), leaver(dcid=4, email="c@d118.org", teacher_number="9"),
]  # fmt: skip


@table("word, dcids", {
    "an address": ("a@d118.org", {1}),
    "an address of two": ("c@d118.org", {3, 4}),
    "an address that only Google knows": ("old@d118.org", {2}),
    "an alias that only Google knows": ("older@d118.org", {2}),
    "an account without a DCID": ("free@d118.org", set()),
    "an account whose DCID is not in PowerSchool": ("orphan@d118.org", set()),
    "an unknown address": ("z@d118.org", set()),
    "a DCID": ("dcid:2", {2}),
    "a teacher number": ("teacher:2", {1}),
    "a teacher number in letters": ("teacher:x", {2}),
    "an empty teacher number": ("teacher:", set()),
    "a bare number that fits two": ("2", {1, 2}),
    "a bare number that fits one": ("9", {4}),
    "an unknown prefix": ("id:2", set()),
    "nothing": ("", set()),
})  # fmt: skip
def test_a_word_finds_people(word: str, dcids: set[int]) -> None:
    accounts = [
        stranger(dcid=2, email="old@d118.org", aliases=("older@d118.org",)),
        stranger(id="3", email="free@d118.org"), stranger(id="4", email="orphan@d118.org", dcid=99),
    ]  # fmt: skip
    assert {person.dcid for person in sync.people_meant(word, district(PEOPLE, accounts))} == dcids


def test_several_words_name_several_people() -> None:
    assert sync.choose([" A@D118.org ", "DCID:2", "9"], district(PEOPLE)) == {1, 2, 4}
    assert sync.choose([], district(PEOPLE)) == {1, 2, 3, 4}


@table("word, words", {
    "nobody": ("z@d118.org", "--only z@d118.org: nobody in PowerSchool"),
    "several": ("2", r"--only 2: fits several people, so say dcid:N or teacher:N: .*DCID 1\); .*DCID 2\)"),
})  # fmt: skip
def test_a_word_has_to_fit_one_person(word: str, words: str) -> None:
    with pytest.raises(RunError, match=words) as stopped:
        sync.choose([word], district(PEOPLE))
    assert stopped.value.exit_code == sync.FAILED


# Settings.


def faults_of(values: Mapping[str, Any]) -> list[str]:
    return [str(fault) for fault in sync.config_faults(values)]


def test_the_settings_here_have_no_fault() -> None:
    assert faults_of(VALUES) == []


BAD_VALUES: dict[str, tuple[str, object]] = {
    "no domains": ("GOOGLE_DOMAINS", []),
    "a domain with an @": ("GOOGLE_DOMAINS", ["@d118.org"]),
    "a domain as text": ("GOOGLE_DOMAINS", "d118.org"),
    "a path without a slash": ("STAFF_OU", "D118 Staff"),
    "the root": ("STAFF_OU", "/"),
    "a slash at the end": ("SUSPENDED_OU", "/Suspended/"),
    "no text": ("BUILDING_OU_SUFFIX", None),
    "text for a school number": ("BUILDING_OUS", {"5": "/a"}),
    "no path for a school": ("BUILDING_OUS", {5: "a"}),
    "an empty path": ("SUBSTITUTE_OU", ""),
    "a number for a name": ("SUBSTITUTE_BUILDING", 500),
    "one path for a list": ("FROZEN_OUS", "/Administrators"),
    "a list with a bad path": ("TEMPORARY_REACTIVATION_OUS", ["/a", "b"]),
    "a list with a number": ("PROTECTED_OUS", [1]),
    "a reason without a day": ("HANDS_OFF", {"a@b": "on leave"}),
    "a day that is none": ("HANDS_OFF", {"a@b": ("on leave", "2026-02-30")}),
    "no reason": ("HANDS_OFF", {"a@b": (" ", "2026-02-28")}),
    "an empty key": ("HANDS_OFF", {"": ("on leave", "2026-02-28")}),
    "an empty name": ("BAD_NAMES", [" "]),
    "text for yes or no": ("SKIP_NUMERIC_EMAILS", "yes"),
    "a number for yes or no": ("SET_EMPLOYEE_ID", 1),
    "a schema without fields": ("CUSTOM_SCHEMAS", {"Sync": "dcid"}),
    "a field name with a space": ("CUSTOM_SCHEMAS", {"Sync": {"D C": "dcid"}}),
    "a column without a table": ("EXTENSION_COLUMNS", {"cell_phone": "cellphone"}),
    "a column that is SQL": ("EXTENSION_COLUMNS", {"cell_phone": "u.c FROM x--"}),
    "a schema that is SQL": ("POWERSCHOOL_SCHEMA", "PS; DROP"),
    "an alias that is no text": ("BUILDING_ALIASES", {5: None}),
    "a truth for a school number": ("BUILDING_ALIASES", {True: "x"}),
    "nothing for yes or no": ("LINK_BY_EMAIL", None),
    "names, no for an answer": ("UPDATE_NAMES", "False"),
    "preferred, zero for an answer": ("PREFERRED_FIRST_NAME", 0),
    "groups, a list for an answer": ("REMOVE_SUSPENDED_FROM_GROUPS", []),
    "an unknown kind": ("LIMITS", {"delete": 1}),
    "a negative limit": ("LIMITS", {"create": -1}),
    "a limit of text": ("LIMITS", {"create": "50"}),
    "one private value for a list": ("PRIVATE_VALUES", "cell_phone"),
    "a month-day without a month": ("HOLD_SUSPENSIONS", [("6-1", "08-20")]),
    "a day beyond the month": ("HOLD_SUSPENSIONS", [("06-31", "08-20")]),
    "a single day for a pair": ("HOLD_SUSPENSIONS", [("06-10",)]),
    "a pair for a list of pairs": ("HOLD_SUSPENSIONS", ("06-10", "08-20")),
    "no days to keep": ("KEEP_DAYS", 0),
    "a truth for a number": ("TIMEOUT_SECONDS", True),
    "text for a number": ("RETRY_WAIT_SECONDS", "1"),
    "a number below zero": ("RETRY_SECONDS", -1),
    "no number": ("RUN_MINUTES", None),
    "nobody at once": ("WRITES_AT_ONCE", 0),
    "no address": ("MAIL_TO", ["it"]),
    "no sender": ("MAIL_FROM", "Staff Sync"),
    "no such time": ("MAIL_WHEN", "never"),
    "no host": ("SMTP_HOST", "smtp host"),
    "no port": ("SMTP_PORT", 0),
    "no such security": ("SMTP_SECURITY", "ssl"),
    "no hours": ("EXPECT_RUN_HOURS", 0),
    "more than everybody": ("LIMIT_SHARE", 1.5),
}


@table("name, value", BAD_VALUES)
def test_a_bad_value_is_named_with_what_would_be_good(name: str, value: object) -> None:
    (fault,) = faults_of({**VALUES, name: value})
    assert fault.startswith(f"{name} must be ")
    assert len(fault) > len(f"{name} must be ") + 5


def test_every_setting_has_a_row_with_a_bad_value() -> None:
    assert {name for name, _ in BAD_VALUES.values()} == {entry.name for entry in fields(Settings)}


@table("name, value", {
    "several domains": ("GOOGLE_DOMAINS", ["a.org", "b.org"]),
    "no suffix": ("BUILDING_OU_SUFFIX", ""),
    "no frozen org units": ("FROZEN_OUS", []),
    "hands off by DCID": ("HANDS_OFF", {131: ("on leave", "2027-06-30")}),
    "no bad names": ("BAD_NAMES", []),
    "a schema of PowerSchool": ("POWERSCHOOL_SCHEMA", "PS"),
    "some limits": ("LIMITS", {"create": 0}),
    "the longest day": ("HOLD_SUSPENSIONS", [("02-29", "02-29")]),
    "half a second": ("RETRY_WAIT_SECONDS", 0.5),
    "building 0": ("BUILDING_OUS", {0: "/a"}),
})  # fmt: skip
def test_a_good_value_is_no_fault(name: str, value: object) -> None:
    assert faults_of({**VALUES, name: value}) == []


@table("changes, fault", {
    "an unknown name": ({"COLOUR": 1}, "COLOUR is not a setting"),
    "a misspelt name": ({"LIMTS": {}}, "LIMTS is not a setting: is LIMITS meant?"),
    "an unknown value": (
        {"CUSTOM_SCHEMAS": {"S": {"A": "dcid", "B": "phone"}}},
        "CUSTOM_SCHEMAS names the value 'phone', which is none of dcid, homeschool_id, school_access_list, "
        "staff_type, staff_group, teacher_number, building, cell_phone",
    ),
    "an unknown private value": ({"PRIVATE_VALUES": ["phone"]},
                                 "PRIVATE_VALUES names 'phone', which is no value: take it out"),
    "a taken name": ({"EXTENSION_COLUMNS": {"building": "a.b", "cell_phone": "a.c"}},
                     "EXTENSION_COLUMNS may not use the name 'building'"),
    "no DCID": ({"CUSTOM_SCHEMAS": {"S": {"A": "building"}}},
                "CUSTOM_SCHEMAS must hold dcid in exactly one field, not in 0"),
    "two DCIDs": ({"CUSTOM_SCHEMAS": {"S": {"A": "dcid"}, "T": {"A": "dcid"}}},
                  "CUSTOM_SCHEMAS must hold dcid in exactly one field, not in 2"),
    "protected staff": ({"PROTECTED_OUS": ["/d118 staff"]},
                        "/D118 Staff (STAFF_OU) lies in PROTECTED_OUS, so whoever is there would never be closed"),
    "a building among the closed": (
        {"BUILDING_OUS": {5: f"{CLOSED}/Leave"}},
        "/Suspended Accounts/Leave (BUILDING_OUS) lies in SUSPENDED_OU, so whoever works there would be taken out of "
        "all groups",
    ),
})  # fmt: skip
def test_faults_between_settings(changes: dict[str, Any], fault: str) -> None:
    assert faults_of({**VALUES, **changes}) == [fault]


def test_every_fault_is_told_at_once() -> None:
    values = {name: value for name, value in VALUES.items() if name not in {"STAFF_OU", "LIMITS"}}
    assert faults_of({**values, "KEEP_DAYS": 0, "COLOUR": 1}) == [
        "STAFF_OU is missing", "LIMITS is missing",
        "KEEP_DAYS must be a number above 0 and at most 86400: not 0", "COLOUR is not a setting",
    ]  # fmt: skip


def test_settings_of_later_releases_may_be_missing() -> None:
    assert not {"HOLD_SUSPENSIONS", "KEEP_DAYS", "RUN_MINUTES"} & set(VALUES)
    assert settings_with().KEEP_DAYS == 400


# What is sent.


@table("changes, body", {
    "an address": ([Change("rename", {}, {sync.EMAIL: "b@d118.org"})], {"primaryEmail": "b@d118.org"}),
    "an org unit": ([Change("move", {}, {sync.ORG_UNIT: "/x"})], {"orgUnitPath": "/x"}),
    "a suspension": ([Change("suspend", {}, {sync.SUSPENDED: sync.YES})], {"suspended": True}),
    "a reactivation": ([Change("reactivate", {}, {sync.SUSPENDED: sync.NO})], {"suspended": False}),
    "a name": (
        [Change("name", {}, {sync.GIVEN_NAME: "A", sync.FAMILY_NAME: "B"})],
        {"name": {"givenName": "A", "familyName": "B"}},
    ),
    "half a name goes with the other half": (
        [Change("name", {}, {sync.GIVEN_NAME: "A"})], {"name": {"givenName": "A", "familyName": "Patel"}},
    ),
    "a DCID": ([Change("link", {}, {DCID: "7"})], {"customSchemas": {"Sync": {"DCID": 7}}}),
    "a DCID taken away": ([Change("link", {}, {DCID: ""})], {"customSchemas": {"Sync": {"DCID": None}}}),
    "values of two schemas": (
        [Change("update", {}, {
            field("Sync.Group"): "0", field("Crisis.Phone"): "", field("Sync.Access"): "5;101",
        })],
        {"customSchemas": {"Sync": {"Group": 0, "Access": "5;101"}, "Crisis": {"Phone": None}}},
    ),
    "a link and values in one": (
        [Change("link", {}, {DCID: "7"}), Change("update", {}, {field("Sync.Home"): "5"})],
        {"customSchemas": {"Sync": {"DCID": 7, "Home": 5}}},
    ),
    "an employee ID": (
        [Change("update", {}, {sync.EMPLOYEE_ID: "T8"})], {"externalIds": [{"type": "organization", "value": "T8"}]},
    ),
    "nothing": ([], {}),
})  # fmt: skip
def test_the_body_holds_only_what_differs(changes: list[Change], body: dict[str, Any]) -> None:
    assert sync.body_for(changes, account(), district()) == body


@table("value, field_type, sent", {
    "text": ("5", "STRING", "5"),
    "a whole number": ("5", "INT64", 5),
    "zero": ("0", "INT64", 0),
    "a decimal": ("2.5", "DOUBLE", 2.5),
    "true": ("true", "BOOL", True),
    "false": ("false", "BOOL", False),
    "nothing": ("", "INT64", None),
    "a phone number": ("847", "PHONE", "847"),
})  # fmt: skip
def test_values_are_sent_in_their_type(value: str, field_type: str, sent: object) -> None:
    world = district(google={"field_types": {field("Sync.Group"): field_type}})
    body = sync.body_for([Change("update", {}, {field("Sync.Group"): value})], account(), world)
    found = body["customSchemas"]["Sync"]["Group"]
    assert (found, type(found)) == (sent, type(sent))


LOGIN = {"type": "login_id", "value": "x"}
WORK = {"type": "organization", "value": "T7", "customType": "kept"}


@table("held, number, merged", {
    "none before": ((), "T8", [{"type": "organization", "value": "T8"}]),
    "another type is kept": ((LOGIN,), "T8", [LOGIN, {"type": "organization", "value": "T8"}]),
    "its place and the rest of it are kept": ((WORK, LOGIN), "T8", [{**WORK, "value": "T8"}, LOGIN]),
    "only the first is replaced": ((WORK, WORK), "T8", [{**WORK, "value": "T8"}, WORK]),
    "taken away": ((LOGIN, WORK), "", [LOGIN]),
    "none to take away": ((LOGIN,), "", [LOGIN]),
})  # fmt: skip
def test_employee_ids_are_merged(held: tuple[dict[str, str], ...], number: str, merged: list[dict[str, str]]) -> None:
    copies = tuple(dict(entry) for entry in held)
    assert sync.merged(held, "organization", number) == merged
    assert held == copies


# Answers of Google.

NIGHT = sync.Run(
    Path(),
    datetime.now(timezone.utc),
    settings_with(RETRY_WAIT_SECONDS=0.001),
    credentials=Credentials("", scopes=sync.SCOPES),
)


def http_error(status: int, reason: str = "", message: str = "", content: bytes | None = None) -> HttpError:
    body = b'{"error": {"code": %d, "message": "%b", "errors": [{"reason": "%b"}]}}'
    answer = httplib2.Response({"status": str(status), "content-type": "application/json"})
    return HttpError(answer, body % (status, message.encode(), reason.encode()) if content is None else content)


ANSWERS: dict[str, tuple[int, str, str, bool, bool]] = {
    # status, reason, message, can heal, ends the run
    "a bad request": (400, "invalid", "", False, False),
    "a passing bad request": (400, "invalid", "A system error has occurred.", True, False),
    "a rate in other words": (403, "forbidden", "Request rate higher than configured.", True, False),
    "a refusal without a reason": (403, "", "", True, False),
    "no sign-in": (401, "authError", "", False, True),
    "forbidden": (403, "forbidden", "", False, False),
    "one user's rate": (403, "userRateLimitExceeded", "", True, False),
    "the rate": (403, "rateLimitExceeded", "", True, False),
    "the quota": (403, "quotaExceeded", "", True, False),
    "a missing scope": (403, "insufficientPermissions", "", False, True),
    "a missing scope in new words": (403, "ACCESS_TOKEN_SCOPE_INSUFFICIENT", "", False, True),
    "no API access": (403, "domainCannotUseApis", "", False, True),
    "an API switched off": (403, "accessNotConfigured", "", False, True),
    "an API switched off in new words": (403, "SERVICE_DISABLED", "", False, True),
    "no licences": (403, "limitExceeded", "", False, False),
    "not found": (404, "notFound", "", False, False),
    "a scope's reason with another status": (404, "insufficientPermissions", "", False, False),
    "a rate's reason with another status": (404, "rateLimitExceeded", "", False, False),
    "a conflict": (409, "conflict", "", True, False),
    "a duplicate": (409, "duplicate", "", False, False),
    "a user not complete": (412, "conditionNotMet", "User creation is not complete.", True, False),
    "an address being changed": (412, "conditionNotMet", "Concurrent email update.", True, False),
    "another condition": (412, "conditionNotMet", "Something else.", False, False),
    "too many": (429, "rateLimitExceeded", "", True, False),
    "too many without a reason": (429, "", "", True, False),
    "a failure": (500, "backendError", "", True, False),
    "unavailable": (503, "", "", True, False),
}


@table("status, reason, message, heals, ends", ANSWERS)
def test_answers_that_heal_and_answers_that_end_the_run(
    status: int, reason: str, message: str, heals: bool, ends: bool
) -> None:
    failure = sync.failure_of(NIGHT, http_error(status, reason, message))
    assert failure.can_heal is heals
    assert isinstance(failure, RunError) is ends


@table("error, heals", {
    "a broken connection": (ConnectionResetError(), True),
    "a time-out": (TimeoutError(), True),
    "a name that does not resolve": (httplib2.ServerNotFoundError(), True),
    "a certificate": (SSLCertVerificationError(), False),
    "a dead token": (RefreshError("invalid_grant", {"error": "invalid_grant"}), False),
    "a page in place of a token": (RefreshError("<html>", "<html>"), True),
    "a token that heals": (RefreshError("busy", retryable=True), True),
    "an answer of another shape": (TypeError(), True),
    "a bug": (ValueError(), False),
    "a page for people": (http_error(502, content=b"<html>Bad Gateway</html>"), True),
    "an empty page": (http_error(404, content=b""), False),
})  # fmt: skip
def test_broken_connections_heal(error: Exception, heals: bool) -> None:
    answers = [error]

    def ask() -> str:
        if answers:
            raise answers.pop()
        return "done"

    if heals:
        assert sync.retrying(NIGHT, ask) == "done"
        return
    with pytest.raises((RunError, sync.GoogleError, ValueError)):
        sync.retrying(NIGHT, ask)


@table("error, words", {
    "as documented": (http_error(403, "forbidden", "No."), (403, "forbidden", "No.")),
    "a status in words": (
        http_error(403, content=b'{"error": {"status": "PERMISSION_DENIED", "message": "No."}}'),
        (403, "PERMISSION_DENIED", "No."),
    ),
    "no error in it": (http_error(502, content=b"{}"), (502, "", "")),
    "a list": (http_error(502, content=b"[]"), (502, "", "")),
    "text for an error": (http_error(502, content=b'{"error": "no"}'), (502, "", "")),
    "a page": (http_error(502, content=b"<html>"), (502, "", "")),
})  # fmt: skip
def test_googles_own_words_whatever_shape_they_have(error: HttpError, words: tuple[int, str, str]) -> None:
    status, reason, message = sync.error_words(error)
    assert (status, reason) == words[:2]
    assert not words[2] or message == words[2]


@table("status, reason, heals, uncertain", {
    "a broken connection": (0, "", True, True),
    "a conflict": (409, "conflict", True, True),
    "a duplicate, which a request sent twice is told": (409, "duplicate", False, True),
    "too many": (429, "", True, True),
    "a failure": (500, "", True, True),
    "a quota": (403, "quotaExceeded", True, True),
    "forbidden": (403, "forbidden", False, False),
    "not found, which a request sent twice is told": (404, "notFound", False, True),
    "a bad request": (400, "invalid", False, False),
    "a condition, which a request sent twice is told": (412, "conditionNotMet", False, True),
})  # fmt: skip
def test_what_a_refusal_leaves_open(status: int, reason: str, heals: bool, uncertain: bool) -> None:
    error = sync.GoogleError(status, reason, "no")
    assert (error.can_heal, error.is_uncertain) == (heals, uncertain)


# Words.


@table("text, line", {
    "plain": ("Maya Patel", "Maya Patel"),
    "accents stay": ("José", "José"),
    "a line break": ("a\nERROR b", "a\\nERROR b"),
    "a carriage return and a tab": ("a\r\tb", "a\\r\\tb"),
    "an escape": ("a\x1b[2Jb", "a\\x1b[2Jb"),
    "a line separator": ("a\u2028b", "a\\u2028b"),
    "a paragraph separator": ("a\u2029b", "a\\u2029b"),
    "text turned round": ("a\u202eb", "a\\u202eb"),
    "half a character": ("a\ud800b", "a\\ud800b"),
})  # fmt: skip
def test_text_cannot_break_out_of_its_line(text: str, line: str) -> None:
    assert sync.one_line(text) == line


@table("person, words", {
    "everything": (staff(), "Maya Patel, maya.patel@d118.org (DCID 7)"),
    "no address": (staff(email=""), "Maya Patel, no address (DCID 7)"),
    "no name": (staff(first_name="", last_name=""), "(no name), maya.patel@d118.org (DCID 7)"),
    "one name": (staff(first_name=""), "Patel, maya.patel@d118.org (DCID 7)"),
})  # fmt: skip
def test_a_person_in_words(person: Staff, words: str) -> None:
    assert str(person) == words


def test_hands_off_is_told_in_place_of_an_error_and_not_of_a_mere_remark() -> None:
    faulty = plan(staff(homeschool=777), account(is_admin=True))
    assert told(faulty) == [("INFO", "super admin")]
    remarked = plan(staff(), account(is_admin=True, org_unit="/Administrators"))
    assert told(remarked) == [("INFO", "frozen")]


@table("person, had, config, note", {
    "a leaver's on a super admin's": (leaver(), stranger(dcid=7, is_admin=True), {}, "somebody else's account"),
    "on a super admin's": (staff(), stranger(dcid=7, is_admin=True), {}, "somebody else's account"),
    "on a student's": (staff(), stranger(dcid=7, org_unit="/Students"), {}, "somebody else's account"),
    "on the admin account": (staff(), stranger(dcid=7), {"admin_email": "sam.lee@d118.org"}, "somebody else's account"),
    "on one that is named": (
        staff(), stranger(dcid=7), {"HANDS_OFF": {"sam.lee@d118.org": ("known", "2099-01-01")}}, "hands off",
    ),
})  # fmt: skip
def test_a_dcid_on_somebody_elses_account_is_told_whatever_that_account_is(
    person: Staff, had: Account, config: dict[str, Any], note: str
) -> None:
    planned = plan(person, had, account(dcid=None, id="3"), **config)
    assert (kinds(planned), [label for _, label in told(planned)]) == ([], [note])


@table("had, config, notes", {
    "of a super admin": (account(dcid=None, is_admin=True), {}, [("ERROR", "not linked")]),
    "of a student": (account(dcid=None, org_unit="/Students"), {}, [("ERROR", "not linked")]),
    "of a student with a DCID of nobody": (account(dcid=99, org_unit="/Students"), {}, [("ERROR", "probable rehire")]),
    "named in HANDS_OFF": (
        account(dcid=None), {"HANDS_OFF": {MAYA_AT: ("known", "2099-01-01")}}, [("INFO", "hands off")],
    ),
})  # fmt: skip
def test_who_is_given_the_address_of_another_account_is_told_whatever_that_account_is(
    had: Account, config: dict[str, Any], notes: list[tuple[str, str]]
) -> None:
    another = replace(had, values={**had.values, sync.GIVEN_NAME: "Sam", sync.FAMILY_NAME: "Lee"}, entries={})
    planned = plan(staff(), another, **config)
    assert (kinds(planned), told(planned)) == ([], notes)


@table("entry", {"the older record's DCID": "6", "the account": "maya.patel@d118.org"})
def test_an_account_in_hands_off_is_not_opened_by_a_rehire_under_a_new_record(entry: str) -> None:
    locked, record = account(dcid=6, suspended=True, org_unit=CLOSED), leaver(dcid=6, email="")
    assert kinds(plan(staff(), locked, others=[record])) == ["reactivate", "link", "move"]
    planned = plan(staff(), locked, others=[record], HANDS_OFF={entry: ("under investigation", "2099-01-01")})
    assert (kinds(planned), told(planned)) == ([], [("INFO", "hands off")])


def test_only_an_organization_entry_is_an_employee_id() -> None:
    entries = ({"type": "custom", "value": "X1"}, {"type": "organization", "value": " X2 "})
    held = account(employee_id="", external_ids=entries)
    assert held.employee_ids == {"x2"}


def test_an_entry_in_hands_off_silences_a_refusal_too() -> None:
    entry = {"7": ("twin accounts, known to HR", "2099-01-01")}
    twins = [account(), account(id="9", email="maya2@d118.org")]
    people = district([staff()], twins, HANDS_OFF=entry)
    assert told(sync.plan_person(staff(), people)) == [("INFO", "hands off")]


@table("number, words", {
    "missing": (sync.NO_SCHOOL, "no home school in PowerSchool"),
    "unknown": (777, "the home school 777 is not in SCHOOLS"),
    "known": (5, ""),
    "the district office": (0, ""),
    "named in BUILDING_OUS": (88, ""),
})  # fmt: skip
def test_a_fault_of_the_home_school(number: int, words: str) -> None:
    planned = plan(staff(homeschool=number), account(), BUILDING_OUS={88: "/D118 Staff/Buses"})
    faults = [remark.seen for remark in planned.remarks if remark.rule is Rule.HOME_SCHOOL]
    assert faults == ([words] if words else [])
    assert not (faults and planned.changes)


def test_a_building_is_known_by_schools_as_the_district_office_or_by_its_org_unit() -> None:
    world = district(BUILDING_OUS={88: "/D118 Staff/Buses", 5: "/D118 Staff/Other"})
    assert [world.school_name(number) for number in (5, 101, 0, 88, 777)] == [
        "Wauconda High School", "Middle School", "District Office", "Buses", "",
    ]  # fmt: skip
    nameless = replace(world, powerschool=PowerSchool({0: "", 88: "", 777: ""}, ()))
    assert [nameless.school_name(number) for number in (0, 88, 777)] == ["District Office", "Buses", ""]


@table("changes, state", {
    "archived": ({"archived": True}, "is archived:"), "suspended": ({"suspended": True}, f"is suspended in {HIGH_OU}:"),
})  # fmt: skip
def test_why_an_account_is_not_linked_is_told(changes: dict[str, bool], state: str) -> None:
    (note,) = plan(staff(), account(dcid=None, **changes)).remarks
    assert state in note.reason


def test_an_ambiguous_value_does_not_hold_up_the_next() -> None:
    schemas = {"Crisis": {"Phone": "cell_phone"}, "Sync": {"DCID": "dcid", "Group": "staff_group"}}
    person = staff(group="12", ambiguous=frozenset({"cell_phone"}))
    planned = plan(person, account(), CUSTOM_SCHEMAS=schemas)
    assert (wanted_of(planned, "update"), len(planned.remarks)) == ({field("Sync.Group"): "12"}, 1)


def test_an_address_taken_by_an_account_with_a_smaller_id_is_taken_too() -> None:
    holder = stranger(id="0")
    planned = plan(staff(email=holder.email), account(), holder)
    assert (kinds(planned), [remark.rule for remark in planned.remarks]) == ([], [Rule.ADDRESS_TAKEN])


# Advice: each remedy names the ways out that fit the situation, and no other.

ANOTHER_ADDRESS, IN_HANDS_OFF, NO_ALIAS = "another address in PowerSchool", "name it in HANDS_OFF", "remove the alias"
NAMESAKE = {"given_name": "Maya", "family_name": "Patel", "employee_id": ""}


@table("person, had, others, rule, ways", {
    "another name at the address": (
        staff(teacher_number=""), account(dcid=None, family_name="Shah", given_name="Ann"), [],
        Rule.NOT_LINKED, {ANOTHER_ADDRESS},
    ),
    "the employee ID on an account with another address": (
        staff(), stranger(employee_id="T7"), [], Rule.POSSIBLE_ACCOUNT, {IN_HANDS_OFF},
    ),
    "the address as a stranger's alias": (
        staff(), stranger(aliases=(MAYA_AT,)), [], Rule.ADDRESS_TAKEN, {ANOTHER_ADDRESS, NO_ALIAS},
    ),
    "the address as a namesake's alias": (
        staff(), stranger(aliases=(MAYA_AT,), **NAMESAKE), [],
        Rule.POSSIBLE_ACCOUNT, {ANOTHER_ADDRESS, IN_HANDS_OFF},
    ),
    "the address as the alias of a namesake who works here": (
        staff(), stranger(aliases=(MAYA_AT,), dcid=8, **NAMESAKE), [staff(dcid=8, email="sam.lee@d118.org")],
        Rule.ADDRESS_TAKEN, {ANOTHER_ADDRESS},
    ),
    "the address as the alias of somebody else who works here": (
        staff(), stranger(aliases=(MAYA_AT,), dcid=8),
        [staff(dcid=8, first_name="Sam", last_name="Lee", email="sam.lee@d118.org")],
        Rule.ADDRESS_TAKEN, {ANOTHER_ADDRESS, NO_ALIAS},
    ),
    "a leaver's address": (leaver(), account(dcid=None), [], Rule.LEFT_OPEN, {IN_HANDS_OFF}),
})  # fmt: skip
def test_the_ways_out_fit_the_situation(
    person: Staff, had: Account, others: list[Staff], rule: Rule, ways: set[str]
) -> None:
    (remark,) = plan(person, had, others=others).remarks
    assert remark.rule is rule
    assert {way for way in (ANOTHER_ADDRESS, IN_HANDS_OFF, NO_ALIAS) if way in remark.remedy} == ways


@table("had, same", {
    "the address": (account(dcid=None), "with the same address"),
    "the names alone": (stranger(**NAMESAKE), "with the same names"),
    "the employee ID alone": (stranger(employee_id="T7"), "with the same employee ID"),
})  # fmt: skip
def test_what_is_the_same_of_a_leavers_open_account_is_told(had: Account, same: str) -> None:
    (remark,) = plan(leaver(), had).remarks
    assert remark.rule is Rule.LEFT_OPEN
    assert same in remark.reason
    assert "open though the person left" in remark.reason


@table("had, is_told", {
    "the address, in a frozen org unit": (account(dcid=None, org_unit="/Administrators"), True),
    "the address as an alias, in a frozen org unit": (stranger(aliases=(MAYA_AT,), org_unit="/Administrators"), True),
    "the address as an alias, in an org unit of no building": (
        stranger(aliases=(MAYA_AT,), org_unit="/Contractors"), True,
    ),
    "the address as an alias, among the protected": (stranger(aliases=(MAYA_AT,), org_unit="/Students"), False),
    "the names alone, in a frozen org unit": (stranger(**NAMESAKE, org_unit="/Administrators/x"), True),
    "the employee ID, in an org unit of no building": (stranger(employee_id="T7", org_unit="/Contractors"), True),
    "the names alone, in an org unit of no building": (stranger(**NAMESAKE, org_unit="/Contractors"), False),
    "the employee ID, among the protected": (stranger(employee_id="T7", org_unit="/Students"), False),
    "the address, temporarily reactivated": (account(dcid=None, org_unit="/Temporary Re-Activations/x"), False),
})  # fmt: skip
def test_where_a_leavers_open_account_without_dcid_is_told(had: Account, is_told: bool) -> None:
    assert told(plan(leaver(), had)) == [("ERROR", "left, but open")] * is_told


def test_of_several_accounts_that_may_be_a_leavers_one_is_told() -> None:
    accounts = [stranger(id=str(n), email=f"m{n}@d118.org", **NAMESAKE) for n in (2, 3)]
    assert told(plan(leaver(), *accounts)) == [("ERROR", "left, but open")]


def test_whether_the_holder_of_an_address_has_another_name_is_told() -> None:
    sam = staff(dcid=8, first_name="Sam", last_name="Lee", email="sam.lee@d118.org")
    (same,) = plan(staff(), stranger(aliases=(MAYA_AT,), dcid=8, **NAMESAKE), others=[sam]).remarks
    (other,) = plan(staff(), stranger(aliases=(MAYA_AT,), dcid=8), others=[sam]).remarks
    assert ("and names" in same.reason, "another name" in same.reason) == (True, False)
    assert ("and names" in other.reason, "another name" in other.reason) == (False, True)


@table("had, who", {
    "a DCID of nobody": (stranger(employee_id="T7", dcid=99), "nobody's in PowerSchool"),
    "a DCID of somebody who left": (stranger(employee_id="T7", dcid=6), "Ada Gone"),
})  # fmt: skip
def test_whose_dcid_a_possible_account_carries_is_told(had: Account, who: str) -> None:
    gone = leaver(dcid=6, first_name="Ada", last_name="Gone", email="", teacher_number="")
    (remark,) = plan(staff(), had, others=[gone]).remarks
    assert who in remark.reason


DECIDED = account(id="1", dcid=None)


@table("person, had, accounts, others, words", {
    "nothing is against it": (staff(), DECIDED, [], [], ""),
    "the account carries this DCID already": (staff(), account(id="1", dcid=7), [], [], ""),
    "who is skipped": (staff(last_name="Plugin"), DECIDED, [], [], "bad name"),
    "an admin role": (staff(), account(id="1", dcid=None, is_delegated_admin=True), [], [], "admin role"),
    "another account with this DCID": (staff(), DECIDED, [stranger(dcid=7)], [], "sam.lee@d118.org"),
    "the DCID of somebody who works here": (
        staff(), account(id="1", dcid=8), [], [staff(dcid=8, email="b@d118.org", first_name="B")], "DCID 8",
    ),
    "the address of somebody else": (
        staff(email="m@d118.org"), DECIDED, [], [staff(dcid=8, first_name="B")], "gives its address to",
    ),
    "nothing would agree": (staff(), stranger(id="1"), [], [], "somebody else's"),
})  # fmt: skip
def test_a_decision_links_unless_a_rule_is_against_it(
    person: Staff, had: Account, accounts: list[Account], others: list[Staff], words: str
) -> None:
    world = replace(district((person, *others), [had, *accounts]), theirs={person.dcid: had.id})
    planned = sync.plan_person(person, world)
    assert kinds(planned) == ([] if words or had.dcid == person.dcid else ["link"])
    assert [remark.rule for remark in planned.remarks] == ([Rule.NOT_LINKED] if words else [])
    assert words in "".join(remark.reason for remark in planned.remarks)


@table("dcid, accounts", {
    "in the account's own org unit": (99, [stranger(dcid=99)]),
    "in the second of two": (99, [account(), stranger(dcid=99)]),
})  # fmt: skip
def test_an_open_account_of_nobody_asks_for_a_person(dcid: int, accounts: list[Account]) -> None:
    (remark,) = sync.nobodys_accounts(district([staff()], accounts))
    assert remark.rule is Rule.OPEN_FOR_NOBODY
    assert str(dcid) in remark.reason


@table("accounts, is_named", {
    "their address": ([account(dcid=99, given_name="Zoe", family_name="Hill")], True),
    "their names": ([account(dcid=99, email="old@d118.org")], True),
    "their names, but they have another account": ([account(), account(id="2", dcid=99, email="old@d118.org")], False),
    "nothing of theirs": ([stranger(dcid=99)], False),
})  # fmt: skip
def test_an_open_account_of_nobody_names_whose_it_may_be(accounts: list[Account], is_named: bool) -> None:
    """Or an admin would suspend who was only entered anew in PowerSchool."""
    (remark,) = sync.nobodys_accounts(district([staff()], accounts))
    known = "if it is that of Maya Patel, DCID 7, do as their line says; if not, "
    assert remark.remedy.startswith(f"{known if is_named else ''}correct its DCID, or suspend it; if it is to stay")


def test_a_super_admin_of_nobody_has_not_left() -> None:
    (remark,) = sync.nobodys_accounts(district([staff()], [stranger(dcid=99, is_admin=True)]))
    assert remark.rule is Rule.NOT_IN_POWERSCHOOL
    assert remark.reason.endswith("is a super admin: not written")


# The shares at which suspensions are held, at their borders.


def held_suspensions(leavers: int, active: int, nobodys: int = 0) -> list[Remark]:
    """What holds the suspensions of so many leavers beside so many active people and open accounts of nobody."""
    people = [staff(dcid=n, email=f"p{n}@d118.org", teacher_number="") for n in range(1, leavers + active + 1)]
    people = [replace(person, schools=()) if person.dcid <= leavers else person for person in people]
    held = [account(id=str(p.dcid), email=p.email, dcid=p.dcid, employee_id="") for p in people]
    held += [account(id=f"x{n}", email=f"x{n}@d118.org", dcid=900 + n, employee_id="") for n in range(nobodys)]
    world = district(people, held)
    return sync.too_much([sync.plan_person(person, world) for person in people], world)


@table("leavers, active, nobodys, held", {
    "three of six are few people": (3, 3, 0, False),
    "four of ten are more than a fifth": (4, 6, 0, True),
    "accounts of nobody do not make the share smaller": (5, 15, 5, True),
    "five accounts of nobody are few": (0, 6, 5, False),
    "six accounts of nobody are too many": (0, 6, 6, True),
})  # fmt: skip
def test_suspensions_are_held_by_their_share(leavers: int, active: int, nobodys: int, held: bool) -> None:
    assert [remark.who for remark in held_suspensions(leavers, active, nobodys)] == (["suspend"] if held else [])


def test_that_accounts_are_nobodys_is_told_of_suspensions_over_their_limit_too() -> None:
    """Or the command that lets the suspensions through would lift, unseen, what speaks against them."""
    over, nobodys = held_suspensions(11, 89, 7)
    assert ("the limit is 10" in over.seen, "is PowerSchool read whole?" in nobodys.seen) == (True, True)
    (over,) = held_suspensions(11, 29)
    assert "the limit is 10" in over.seen


def test_what_is_held_for_accounts_of_nobody_is_let_through_by_the_number_of_people() -> None:
    for leavers, count in ((0, 1), (2, 2)):
        (remark,) = held_suspensions(leavers, 30, 6)
        assert f"--allow suspend={count}" in remark.remedy


@table("others, notes", {
    "an alias nobody else has": ([], [("ERROR", "left, but open")]),
    "an alias that is an active person's address": ([staff(dcid=8, first_name="Ann", teacher_number="")], []),
})  # fmt: skip
def test_a_leavers_address_as_an_alias_says_whose_it_is_unless_somebody_has_it_now(
    others: list[Staff], notes: list[tuple[str, str]]
) -> None:
    person = leaver(first_name="Q", teacher_number="")
    assert told(plan(person, stranger(aliases=(MAYA_AT,)), others=others)) == notes


@table("gone, ways", {
    "the address alone": (account(dcid=None), True), "the DCID": (account(email="old@d118.org"), False),
})  # fmt: skip
def test_another_address_is_advised_only_where_a_deleted_account_may_be_somebody_elses(
    gone: Account, ways: bool
) -> None:
    (remark,) = plan(staff(), google={"deleted": [replace(gone, deleted_on="2026-11-20")]}).remarks
    assert remark.rule is Rule.RECENTLY_DELETED
    assert ("another address" in remark.remedy) is ways


STUDENT: dict[str, Any] = {
    "email": "stu.dent@d118.org",
    "org_unit": "/Students/Grade 9",
    "employee_id": "",
    "dcid": None,
}


@table("changes, is_nobodys", {
    "a student": ({}, True),
    "who has an ID of another kind": ({"external_ids": ({"type": "custom", "value": "T7"},)}, True),
    "with a DCID": ({"dcid": 99}, False),
    "outside PROTECTED_OUS": ({"org_unit": HIGH_OU}, False),
    "with somebody's address": ({"email": MAYA_AT}, False),
    "with somebody's address as an alias": ({"aliases": (MAYA_AT,)}, False),
    "with somebody's address at a domain alias": ({"domain_aliases": (MAYA_AT,)}, False),
    "with somebody's employee ID": ({"employee_id": "t7"}, False),
    "with somebody's names": ({"given_name": "MAYA", "family_name": "Patel"}, False),
    "with the address of somebody who left": ({"email": "gone@d118.org"}, False),
})  # fmt: skip
def test_of_whom_no_more_than_address_and_id_is_kept(changes: dict[str, Any], is_nobodys: bool) -> None:
    powerschool = PowerSchool(SCHOOLS, (staff(), leaver(dcid=8, email="gone@d118.org", teacher_number="")))
    assert sync.is_nobodys(stranger(**{**STUDENT, **changes}), powerschool, settings_with()) is is_nobodys
