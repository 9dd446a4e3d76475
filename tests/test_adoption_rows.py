"""The spreadsheet of a directory being adopted, as tables: plans in, rows and one sentence out, no stand-ins."""

from __future__ import annotations

from typing import Any

import pytest
from test_deciding import CLOSED, DCID, HIGH_OU, MAYA_AT, account, district, leaver, staff, stranger

import sync
from sync import Account, Plan, Remark, Row, Rule, Staff

ALONE = "it has no DCID: nobody's by address, employee ID or names, or HANDS_OFF names it"
UNLINKED = account(dcid=None)
DOUBT = Remark(Rule.NOT_LINKED, "Maya Patel", "the names disagree")
OTHER = Remark(Rule.MISSING_ORG_UNIT, "Maya Patel", "no such org unit")
SKIPPED = Remark(Rule.NUMERIC_ADDRESS, "Zoe Patel", "skipped by rule")
NO_LINK, NO_OU = "not linked: the names disagree", "missing org unit: no such org unit"
WHY_SKIPPED = "numeric address: skipped by rule"


def zoe(**changes: Any) -> Staff:
    """Somebody to whom no account of these tests belongs."""
    return staff(**{"dcid": 8, "first_name": "Zoe", "email": "zoe@d118.org", "teacher_number": "T8", **changes})


def rows(*plans: Plan, people: tuple[Staff, ...] = (), accounts: tuple[Account, ...] = ()) -> list[dict[str, str]]:
    return [row.cells for row in sync.linking_rows(plans, district(people, accounts))]


def link(person: Staff, had: Account, *remarks: Remark) -> Plan:
    changes = (sync.Change("link", {DCID: ""}, {DCID: str(person.dcid)}),)
    return Plan(person, had, changes, remarks, "address and names")


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (link(staff(), UNLINKED), ("link", "a run links it, found by address and names", MAYA_AT)),
        (link(staff(), UNLINKED, DOUBT), ("link", f"{NO_LINK}; a run links it, found by address and names", MAYA_AT)),
        (Plan(staff(), UNLINKED, remarks=(DOUBT,)), ("in doubt", NO_LINK, MAYA_AT)),
        (Plan(staff(), None, remarks=(DOUBT,)), ("in doubt", NO_LINK, MAYA_AT)),
        (Plan(staff(), None, remarks=(OTHER, DOUBT)), ("in doubt", f"{NO_OU}; {NO_LINK}", MAYA_AT)),
        (Plan(staff(), None, remarks=(OTHER,)), ("in doubt", NO_OU, MAYA_AT)),
        (Plan(staff(email="new.one@d118.org"), None, remarks=(OTHER,)), ("in doubt", NO_OU, MAYA_AT)),
        (Plan(staff(email=""), None, remarks=(OTHER,)), ("in doubt", NO_OU, MAYA_AT)),
        (Plan(zoe(), None, remarks=(OTHER,)), ("no account", NO_OU, "")),
        (Plan(zoe(), None), ("no account", "left out for a bug: see the log", "")),
        (Plan(zoe(email="1234@d118.org"), None, remarks=(SKIPPED,)), ("skipped", WHY_SKIPPED, "")),
        (Plan(staff(email="1234@d118.org"), None, remarks=(SKIPPED,)), ("skipped", WHY_SKIPPED, MAYA_AT)),
        (Plan(staff(), account()), None),
        (Plan(staff(), account(), remarks=(OTHER,)), None),
        (Plan(leaver(), account()), None),
        (Plan(leaver(), account(), remarks=(DOUBT,)), ("in doubt", NO_LINK, MAYA_AT)),
        (Plan(zoe(schools=()), None), None),
    ],
)
def test_a_person_has_a_row_unless_settled(plan: Plan, expected: tuple[str, str, str] | None) -> None:
    had = (plan.had or UNLINKED,)
    found = [row for row in rows(plan, people=(plan.person,), accounts=had) if row["dcid"]]
    assert [(row["what"], row["reason"], row["google_address"]) for row in found] == ([expected] if expected else [])


def test_an_open_account_of_somebody_who_left_has_a_row_of_its_own_and_no_other() -> None:
    open_account = account(dcid=None)
    remarks = tuple(Remark(Rule.LEFT_OPEN, "", words) for words in ("not active", "close it"))
    (row,) = rows(Plan(leaver(), None, remarks=remarks), people=(leaver(),), accounts=(open_account,))
    assert (row["what"], row["reason"]) == ("left, open", "left, but open: not active; left, but open: close it")
    assert (row["dcid"], row["google_address"]) == ("7", MAYA_AT)


@pytest.mark.parametrize(
    ("person", "plans", "had", "what"),
    [
        (zoe(), (), account(dcid=None), "nobody in PowerSchool"),
        (zoe(), (), account(dcid=None, org_unit="/D118 Staff"), "nobody in PowerSchool"),
        (zoe(), (), account(dcid=None, org_unit="/Substitute Teachers"), "nobody in PowerSchool"),
        (zoe(), (), account(dcid=None, org_unit="/"), "nobody in PowerSchool"),
        (zoe(), (), account(dcid=None, org_unit=CLOSED, suspended=True), "nobody in PowerSchool"),
        (zoe(), (), account(dcid=None, org_unit="/Students"), ""),
        # Somebody has the address, the number or the names, though no plan claims the account.
        (staff(), (), account(dcid=None), "unlinked"),
        (zoe(email=MAYA_AT), (), account(dcid=None), "unlinked"),
        (zoe(teacher_number="t7"), (), account(dcid=None), "unlinked"),
        (zoe(first_name="maya"), (), account(dcid=None), "unlinked"),
        (leaver(), (), account(dcid=None), "left, open"),
        (leaver(), (), account(dcid=None, suspended=True), "left, closed"),
        (leaver(), (Plan(leaver(), None),), account(dcid=99), "left, open"),
        # A plan claims it: as the account it found, or as one that carries the DCID.
        (leaver(), (Plan(leaver(), account()),), account(dcid=None), ""),
        (leaver(), (Plan(leaver(), None),), account(), ""),
    ],
)
def test_a_staff_account_nobody_claims_has_a_row_with_the_likeliest_person(
    person: Staff, plans: tuple[Plan, ...], had: Account, what: str
) -> None:
    found = rows(*plans, people=(person,), accounts=(had,))
    assert [(row["what"], row["google_address"]) for row in found] == ([(what, MAYA_AT)] if what else [])
    for row in found:
        assert row["dcid"] == ("" if what == "nobody in PowerSchool" else str(person.dcid))
        assert row["reason"].startswith("its DCID 99" if had.dcid else ALONE if not row["dcid"] else "it has no DCID")


def test_of_several_likely_people_an_active_one_is_named() -> None:
    people = (leaver(dcid=6), staff(), leaver(dcid=8))
    (row,) = rows(people=people, accounts=(account(dcid=None),))
    assert (row["what"], row["dcid"], row["same"]) == ("unlinked", "7", "address and employee ID and names")


def test_every_account_is_looked_at_whatever_the_first_ones_are() -> None:
    accounts = (account(id="1"), stranger(id="2"), stranger(id="3", email="a.b@d118.org"))
    plans = (Plan(staff(), accounts[0]), Plan(staff(dcid=9, email="a.b@d118.org"), None, remarks=(DOUBT,)))
    found = rows(*plans, people=(staff(), plans[1].person), accounts=accounts)
    assert [(row["what"], row["google_address"]) for row in found] == [
        ("in doubt", "a.b@d118.org"),
        ("nobody in PowerSchool", "sam.lee@d118.org"),
    ]


def test_rows_are_sorted_by_what_then_name_then_address() -> None:
    people = [staff(dcid=n, first_name=first, email=f"p{n}@d118.org") for n, first in ((8, "Zoe"), (9, "Ann"))]
    accounts = [stranger(id=str(n), email=f"{name}@d118.org") for n, name in ((2, "b"), (3, "a"))]
    plans = [Plan(person, None) for person in people]
    found = rows(*plans, people=tuple(people), accounts=tuple(accounts))
    assert [row["name"] or row["google_address"] for row in found] == [
        "Ann Patel", "Zoe Patel", "a@d118.org", "b@d118.org",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "state", "last"),
    [
        ({}, "open", "never"),
        ({"suspended": True}, "suspended", "never"),
        ({"archived": True}, "archived", "never"),
        ({"archived": True, "suspended": True}, "archived", "never"),
        ({"last_sign_in": "2026-03-02"}, "open", "2026-03-02"),
    ],
)
def test_a_row_shows_both_sides(changes: dict[str, Any], state: str, last: str) -> None:
    assert Row("link", staff(email="m@d118.org"), account(**changes), "why").cells == {
        "what": "link", "dcid": "7", "name": "Maya Patel", "powerschool_address": "m@d118.org",
        "google_address": MAYA_AT, "google_name": "Maya Patel", "google_dcid": "7", "org_unit": HIGH_OU,
        "state": state, "last_sign_in": last, "same": "DCID and employee ID and names", "reason": "why", "decision": "",
    }  # fmt: skip


def test_a_row_of_one_side_leaves_the_other_empty() -> None:
    of_person = Row("no account", staff(first_name="", last_name="Patel"), None, "").cells
    assert {name: text for name, text in of_person.items() if text} == {
        "what": "no account", "dcid": "7", "name": "Patel", "powerschool_address": MAYA_AT,
    }  # fmt: skip
    of_account = Row("nobody", None, stranger(), "").cells
    assert not any(of_account[name] for name in ("dcid", "name", "powerschool_address", "same"))
