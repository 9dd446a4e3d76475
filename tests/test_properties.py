"""What holds whatever PowerSchool and Google say: districts nobody would have thought of, a few dozen at a time."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_deciding import CLOSED, DCID, HIGH_OU, MAYA_FIELDS, MIDDLE_OU, account, directory, district, staff

import sync
from sync import Account, District, Plan, Staff

modestly = settings(max_examples=50, deadline=None, derandomize=True)

ADDRESSES = ["a@d118.org", "b@d118.org", "c@d118.org", "d@d118.org", "e@other.org"]
NAMES = ["Maya", "MAYA", "Sam", "O'BRIEN", "José", "Plugin", ""]
UNITS = [
    HIGH_OU, HIGH_OU.upper(), MIDDLE_OU, CLOSED, f"{CLOSED}/Locked", "/Administrators", "/Temporary Re-Activations",
    "/Students/Grade 9", "/Substitute Teachers", "/",
]  # fmt: skip
NUMBERS = ["", "T1", "T2"]
CONFIG: dict[str, st.SearchStrategy[Any]] = {
    "UPDATE_NAMES": st.booleans(),
    "LINK_BY_EMAIL": st.booleans(),
    "SET_EMPLOYEE_ID": st.booleans(),
    "HANDS_OFF": st.sampled_from([{}, {"1": ("asked", "2026-12-31")}, {"a@d118.org": ("asked", "2026-01-01")}]),
    "HOLD_SUSPENSIONS": st.sampled_from([[], [("11-01", "11-30")]]),
}

people = st.lists(
    st.builds(
        staff,
        dcid=st.integers(1, 4),
        first_name=st.sampled_from(NAMES),
        last_name=st.sampled_from(NAMES),
        email=st.sampled_from([*ADDRESSES, ""]),
        teacher_number=st.sampled_from(NUMBERS),
        homeschool=st.sampled_from([0, 5, 101, 106, 500, 777, sync.NO_SCHOOL]),
        group=st.sampled_from(["", "0", "9", "abc"]),
        schools=st.lists(st.tuples(st.sampled_from([5, 101, 500]), st.integers(0, 4)), max_size=2).map(tuple),
        ambiguous=st.sampled_from([frozenset(), frozenset({"cell_phone"})]),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda person: person.dcid,
)
accounts = st.lists(
    st.builds(
        account,
        id=st.integers(1, 9).map(str),
        email=st.sampled_from(ADDRESSES),
        aliases=st.sampled_from([(), ("d@d118.org",), ("z@d118.org",)]),
        given_name=st.sampled_from(NAMES),
        family_name=st.sampled_from(NAMES),
        org_unit=st.sampled_from(UNITS),
        suspended=st.booleans(),
        suspension_reason=st.sampled_from(["", "ADMIN", "ABUSE"]),
        archived=st.sampled_from([False, False, True]),
        is_admin=st.sampled_from([False, False, True]),
        is_delegated_admin=st.sampled_from([False, False, True]),
        dcid=st.sampled_from([None, 1, 2, 3, 4, 9]),
        fields=st.sampled_from([{}, MAYA_FIELDS]),
        employee_id=st.sampled_from(NUMBERS),
    ),
    max_size=4,
    unique_by=(lambda had: had.id, lambda had: had.email),
)


@st.composite
def districts(draw: st.DrawFn) -> District:
    config: dict[str, Any] = {name: draw(values) for name, values in CONFIG.items()}
    admin = draw(st.sampled_from(["", "b@d118.org"]))
    return district(draw(people), draw(accounts), admin_email=admin, only=draw(st.booleans()), **config)


def plans_of(given_district: District) -> list[Plan]:
    return [sync.plan_person(person, given_district) for person in given_district.powerschool.staff]


def wanted_of(plan: Plan) -> dict[str, str]:
    """Every attribute that the plan changes, as it shall be."""
    return {name: text for change in plan.changes for name, text in change.after.items()}


def carried_out(plan: Plan) -> Account:
    """The account as Google has it after this plan: with its old address as an alias and its IDs merged."""
    wanted, had = wanted_of(plan), plan.had or account(id="new", email=wanted_of(plan).get(sync.EMAIL, ""), fields={})
    empty = dict.fromkeys(had.values, "") | {sync.SUSPENDED: sync.NO} if plan.had is None else had.values
    values = {**empty, **wanted}
    aliases = (*had.aliases, *([had.email] if plan.had and had.email != values[sync.EMAIL] else []))
    entries = had.entries[sync.EMPLOYEE_ID] if plan.had else ()
    if sync.EMPLOYEE_ID in wanted:
        entries = tuple(sync.merged(entries, "organization", wanted[sync.EMPLOYEE_ID]))
    return replace(
        had,
        values=values,
        dcid=int(values[DCID]) if values[DCID] else None,
        aliases=tuple(alias for alias in aliases if alias != values[sync.EMAIL]),
        entries={sync.EMPLOYEE_ID: entries},
        suspension_reason="ADMIN" if values[sync.SUSPENDED] == sync.YES else "",
    )


def after(plan: Plan, before: District) -> District:
    """The district once this plan was carried out."""
    done = carried_out(plan)
    others = [had for had in before.google.accounts.values() if had.id != done.id]
    return replace(before, google=directory([*others, done]))


# What holds of the plans of any district; most of the time goes into thinking one up, so each is put to all of it.


def planning_twice_is_the_same(before: District, plans: list[Plan]) -> None:
    assert plans_of(before) == plans


def a_plan_that_was_carried_out_leaves_nothing_to_do(before: District, plans: list[Plan]) -> None:
    for plan in plans:
        if plan.changes:
            again = sync.plan_person(plan.person, after(plan, before))
            assert again.changes == ()
            assert again.had is not None


def what_is_hands_off_is_never_changed(before: District, plans: list[Plan]) -> None:
    for plan in plans:
        if not plan.changes:
            continue
        had = plan.had
        assert not had or not had.is_admin
        assert not had or not had.org_unit.startswith("/Students")
        addresses = {plan.person.email, *(had.addresses if had else ())}
        assert not had or not before.admin_email or before.admin_email not in had.addresses
        assert "1" not in before.settings.HANDS_OFF or plan.person.dcid != 1
        assert "a@d118.org" not in before.settings.HANDS_OFF or "a@d118.org" not in addresses


def every_change_stays_inside_what_the_rules_allow(before: District, plans: list[Plan]) -> None:
    units = set(before.google.org_units.values())
    for plan in plans:
        person, had, wanted = plan.person, plan.had, wanted_of(plan)
        if not plan.changes:
            continue
        assert not had or had.dcid in {None, person.dcid} or not before.powerschool.by_dcid[had.dcid].is_active
        assert "suspend" not in plan.kinds or (had and not person.is_active)
        assert "suspend" not in plan.kinds or (had and had.email not in before.powerschool.active_by_address)
        assert "reactivate" not in plan.kinds or (had and had.org_unit == CLOSED and person.is_active)
        assert "rename" not in plan.kinds or wanted[sync.EMAIL].endswith("@d118.org")
        assert not plan.kinds & {"move", "create"} or wanted[sync.ORG_UNIT] in units - {"/", CLOSED}
        assert "create" not in plan.kinds or (person.is_active and had is None)
        assert person.is_active or plan.kinds <= {"suspend", "move to suspended"}


def no_two_plans_write_to_one_account_or_claim_one_address(_before: District, plans: list[Plan]) -> None:
    written = [plan for plan in plans if plan.changes]
    ids = [plan.had.id for plan in written if plan.had]
    assert len(ids) == len(set(ids))
    claimed = [wanted_of(plan)[sync.EMAIL] for plan in written if plan.kinds & {"create", "rename"}]
    assert len(claimed) == len(set(claimed))


def every_change_is_worth_a_request(before: District, plans: list[Plan]) -> None:
    """What is sent is what differs, and nothing is sent that does not differ."""
    for plan in plans:
        for change in plan.changes:
            assert change.before != change.after
            had = plan.had or sync.Account("", change.after)
            assert sync.body_for([change], had, before)


@settings(modestly, max_examples=100)
@given(districts())
def test_whatever_the_district_its_plans_keep_the_rules(before: District) -> None:
    plans = plans_of(before)
    planning_twice_is_the_same(before, plans)
    a_plan_that_was_carried_out_leaves_nothing_to_do(before, plans)
    what_is_hands_off_is_never_changed(before, plans)
    every_change_stays_inside_what_the_rules_allow(before, plans)
    no_two_plans_write_to_one_account_or_claim_one_address(before, plans)
    every_change_is_worth_a_request(before, plans)


@modestly
@given(districts(), st.dictionaries(st.sampled_from(list(sync.DEFAULT_LIMITS)), st.integers(0, 2)))
def test_limits_are_never_exceeded_after_the_hold(before: District, limits: dict[str, int]) -> None:
    plans = plans_of(before)
    limited = replace(before, only=True, settings=replace(before.settings, LIMITS=limits))
    over = {remark.who for remark in sync.too_much(plans, limited)}
    left = [sync.without_held(plan, frozenset(over), before) for plan in plans]
    assert sync.too_much(left, limited) == []
    for plan, kept in zip(plans, left, strict=True):
        assert not sync.limited_kinds(kept) & set(over)
        assert plan.kinds & set(over) or "clear" in over or kept.changes == plan.changes
        assert kept.kinds <= plan.kinds


@modestly
@given(st.text())
def test_folding_twice_is_folding_once(text: str) -> None:
    assert sync.fold(sync.fold(text)) == sync.fold(text)


# A dotless i has a capital that another letter has too: the one letter whose case cannot be changed and changed back.
letters = st.characters(categories=("Lu", "Ll", "Zs", "Pd"), exclude_characters="\u0131", include_characters="'\u2019")


@settings(modestly, max_examples=300)
@given(st.text(letters, max_size=12), st.sampled_from([str, str.upper, str.lower]))
def test_proper_case_never_changes_whose_name_it_is(text: str, case: type[str]) -> None:
    name = case(unicodedata.normalize("NFC", text))
    assert sync.fold(sync.proper_case(name)) == sync.fold(name)


@modestly
@given(st.text(st.characters(codec="ascii"), max_size=12))
def test_proper_case_of_a_proper_name_is_the_name(text: str) -> None:
    once = sync.proper_case(text)
    assert once.isupper() or once.islower() or sync.proper_case(once) == once


@modestly
@given(st.one_of(st.text(max_size=8), st.integers().map(str), st.floats().map(str), st.dates().map(str)))
def test_a_fitting_value_fits_and_stays(value: str) -> None:
    """Else a run would send the same value again every night."""
    for field_type in ("STRING", "INT64", "DOUBLE", "DATE", "BOOL", "EMAIL", "PHONE"):
        once = sync.form(value, field_type)
        assert once is None or sync.form(once, field_type) == once


@modestly
@given(st.text())
def test_one_line_is_one_line_and_stays_so(text: str) -> None:
    line = sync.one_line(text)
    assert len(line.splitlines()) <= 1
    assert sync.one_line(line) == line


@modestly
@given(st.dates(date(2026, 1, 1), date(2028, 12, 31)), st.dates(), st.dates())
def test_a_day_lies_in_a_window_or_in_the_rest_of_the_year(today: date, first: date, last: date) -> None:
    days = [entry.strftime("%m-%d") for entry in (first, last)]
    config = district(HOLD_SUSPENSIONS=[(days[0], days[1])]).settings
    other = district(HOLD_SUSPENSIONS=[(days[1], days[0])]).settings
    both = [bool(sync.hold_window(config, today)), bool(sync.hold_window(other, today))]
    edge = today.strftime("%m-%d") in days
    assert any(both) if days[0] != days[1] else both == [edge, edge]
    assert edge or days[0] == days[1] or both.count(True) == 1


@pytest.mark.parametrize("person", [staff(), staff(schools=())], ids=["somebody active", "a leaver"])
def test_every_state_of_an_account_comes_to_rest(person: Staff) -> None:
    """One run is enough: whatever state the account is in, the second plan has no change."""
    for unit in UNITS:
        for suspended in (False, True):
            before = district([person], [account(org_unit=unit, suspended=suspended)])
            plan = sync.plan_person(person, before)
            if plan.changes:
                assert sync.plan_person(person, after(plan, before)).changes == ()
