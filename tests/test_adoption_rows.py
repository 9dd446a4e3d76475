"""The spreadsheet of a directory being adopted, as tables: plans in, rows and one sentence out, no stand-ins."""

from __future__ import annotations

from typing import Any

import pytest
from test_deciding import CLOSED, DCID, HIGH_OU, MAYA_AT, account, district, leaver, staff, stranger

import sync
from sync import Account, Plan, Remark, Rule, Staff

ALONE = "no DCID and no address of anybody active"
UNLINKED = account(dcid=None)
DOUBT = Remark(Rule.NOT_LINKED, "Maya Patel", "the names disagree")
OTHER = Remark(Rule.MISSING_ORG_UNIT, "Maya Patel", "no such org unit")


def rows(*plans: Plan, people: tuple[Staff, ...] = (), accounts: tuple[Account, ...] = ()) -> list[dict[str, str]]:
    return sync.linking_rows(plans, district(people, accounts))


def link(person: Staff, had: Account, *remarks: Remark) -> Plan:
    changes = (sync.Change("link", {DCID: ""}, {DCID: str(person.dcid)}),)
    return Plan(person, had, changes, remarks, "address and names")


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (link(staff(), UNLINKED), ("link", "found by address and names", MAYA_AT)),
        (link(staff(), UNLINKED, DOUBT), ("link", "the names disagree", MAYA_AT)),
        (Plan(staff(), UNLINKED, remarks=(DOUBT,)), ("in doubt", "the names disagree", MAYA_AT)),
        (Plan(staff(), None, remarks=(DOUBT,)), ("in doubt", "the names disagree", MAYA_AT)),
        (Plan(staff(), None, remarks=(OTHER, DOUBT)), ("in doubt", "no such org unit; the names disagree", MAYA_AT)),
        (Plan(staff(), None, remarks=(OTHER,)), ("no account", "no such org unit", MAYA_AT)),
        (Plan(staff(), None), ("no account", "", MAYA_AT)),
        (Plan(staff(email="new.one@d118.org"), None), ("no account", "", "")),
        (Plan(staff(), account()), None),
        (Plan(staff(), account(), remarks=(OTHER,)), None),
        (Plan(leaver(), None), None),
        (Plan(leaver(), None, remarks=(DOUBT,)), None),
        (link(leaver(), UNLINKED), None),
    ],
)
def test_an_active_person_has_a_row_unless_simply_in_step(plan: Plan, expected: tuple[str, str, str] | None) -> None:
    had = (plan.had or UNLINKED,)
    found = [row for row in rows(plan, people=(plan.person,), accounts=had) if row["dcid"]]
    assert [(row["what"], row["reason"], row["google_address"]) for row in found] == ([expected] if expected else [])


def test_an_open_account_of_somebody_who_left_has_a_row_of_its_own_and_no_other() -> None:
    open_account = account(dcid=None)
    remarks = tuple(Remark(Rule.LEFT_OPEN, "", words) for words in ("not active", "close it"))
    (row,) = rows(Plan(leaver(), None, remarks=remarks), people=(leaver(),), accounts=(open_account,))
    assert (row["what"], row["reason"]) == ("left, open", "not active; close it")
    assert (row["dcid"], row["google_address"]) == ("7", MAYA_AT)


@pytest.mark.parametrize(
    ("person", "plans", "had", "is_alone"),
    [
        (staff(email="x@d118.org", dcid=8), (), account(dcid=None), True),
        (staff(email="x@d118.org", dcid=8), (), account(dcid=None, org_unit="/D118 Staff"), True),
        (staff(email="x@d118.org", dcid=8), (), account(dcid=None, org_unit="/Substitute Teachers"), True),
        (staff(email="x@d118.org", dcid=8), (), account(dcid=None, org_unit="/Students"), False),
        (staff(email="x@d118.org", dcid=8), (), account(dcid=None, org_unit=CLOSED), False),
        # Somebody active has the address, though no plan claims the account.
        (staff(), (), account(dcid=None), False),
        (leaver(), (), account(dcid=None), True),
        # A plan claims it: as the account it found, or as one that carries the DCID.
        (leaver(), (Plan(leaver(), account()),), account(dcid=None), False),
        (leaver(), (Plan(leaver(), None),), account(), False),
        (leaver(), (Plan(leaver(), None),), account(dcid=99), True),
    ],
)
def test_a_staff_account_nobody_claims_has_a_row(
    person: Staff, plans: tuple[Plan, ...], had: Account, is_alone: bool
) -> None:
    found = rows(*plans, people=(person,), accounts=(had,))
    wanted = [("nobody in PowerSchool", "", "", "", MAYA_AT, ALONE)] if is_alone else []
    columns = ("what", "dcid", "name", "powerschool_address", "google_address", "reason")
    assert [tuple(row[name] for name in columns) for row in found] == wanted


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
        ({"last_sign_in": "2026-03-02T15:00:00.000Z"}, "open", "2026-03-02"),
    ],
)
def test_a_row_shows_both_sides(changes: dict[str, Any], state: str, last: str) -> None:
    assert sync.linking_row("link", "why", staff(email="m@d118.org"), account(**changes)) == {
        "what": "link", "dcid": "7", "name": "Maya Patel", "powerschool_address": "m@d118.org",
        "google_address": MAYA_AT, "google_name": "Maya Patel", "org_unit": HIGH_OU, "state": state,
        "last_sign_in": last, "reason": "why",
    }  # fmt: skip


def test_a_row_of_one_side_leaves_the_other_empty() -> None:
    of_person = sync.linking_row("no account", "", staff(first_name="", last_name="Patel"), None)
    assert {name: text for name, text in of_person.items() if text} == {
        "what": "no account", "dcid": "7", "name": "Patel", "powerschool_address": MAYA_AT,
    }  # fmt: skip
    of_account = sync.linking_row("nobody", "", None, stranger())
    assert not any(of_account[name] for name in ("dcid", "name", "powerschool_address"))
