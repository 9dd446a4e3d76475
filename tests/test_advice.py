"""Every advice is obeyed: the admin does what the line says, and the next run is silent about it.

Each story is Ada, whom a run tells, and three colleagues in step, whom nobody may touch. `Way` is one way out of the
line: what the admin does, and what is true of the accounts after the run that follows.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable

import pytest
from bed import Bed, matching_account
from stories import HIGH_OU, add_known

ADA, OTHER, SCHEMA = "ada.stone@d118.org", "ada.other@d118.org", "Synchronization_Data"
SUSPENDED_OU = "/Suspended Accounts"
Step = Callable[[Bed], object]


def ada(dcid: int = 70, **otherwise: object) -> Step:
    """Ada is active in PowerSchool, but for this."""
    columns = {"first": "Ada", "last": "Stone", "email": ADA, "schools": {5: 1}, "teacher_number": f"T{dcid}"}
    return lambda bed: bed.powerschool.add_person(dcid, **{**columns, **otherwise})  # type: ignore[arg-type]


def gone(dcid: int = 70, **otherwise: object) -> Step:
    return ada(dcid, **{"schools": None, "inactive_schools": {5: 1}, **otherwise})


def account(email: str = ADA, given: str = "Ada", family: str = "Stone", **otherwise: object) -> Step:
    return lambda bed: bed.google.add_user(
        email,
        given,
        family,
        **{"ou": HIGH_OU, **otherwise},  # type: ignore[arg-type]
    )


def her_account(**otherwise: object) -> Step:
    return lambda bed: matching_account(bed, 70, **otherwise)


def carries(dcid: int) -> dict[str, dict[str, str]]:
    return {SCHEMA: {"DCID": str(dcid)}}


def in_console(email: str, **changes: object) -> Step:
    """An admin changes an account in the Admin console: its DCID, or what stands in it by name."""

    def change(bed: Bed) -> None:
        user = bed.google.users[bed.google.user(email)["id"]]
        if "dcid" in changes:
            fields = user.setdefault("customSchemas", {}).setdefault(SCHEMA, {})
            fields.pop("DCID", None)
            fields |= {"DCID": changes["dcid"]} if changes["dcid"] else {}
        user |= {name: value for name, value in changes.items() if name != "dcid"}

    return change


def in_powerschool(dcid: int = 70, **columns: object) -> Step:
    return lambda bed: bed.powerschool.person(dcid).update(columns)


def readdressed(old: str, new: str) -> Step:
    """An admin gives an account another address in the Admin console, and removes the alias that this leaves."""

    def change(bed: Bed) -> None:
        bed.google._put_user({**bed.google.user(old), "primaryEmail": new, "aliases": []})
        del bed.google.addresses[old]

    return change


def hands_off(entry: str) -> Step:
    def add(bed: Bed) -> None:
        bed.settings["HANDS_OFF"] = {entry: ("asked by HR", "2099-12-31")}

    return add


NAMESAKE = [ada(), account(OTHER)]
ANOTHERS = [ada(), account(given="Zoe", family="Hill")]
OLD_RECORD = [gone(60, email=OTHER, teacher_number="T60"), ada(), account(fields=carries(60), given="Zed")]
OPEN_LEAVER = [gone(), account()]
LOCKED = [ada(), her_account(suspended=True, ou=HIGH_OU)]
STRANGER = [account(OTHER, "Old", "Vendor", fields=carries(999))]
TWICE = [ada(), her_account(), account(OTHER, fields=carries(70))]
ALIAS = [ada(), account(OTHER, "Front", "Desk", aliases=[ADA])]

REHIRE = [gone(60, first="Zed", email=OTHER), ada(), account(fields=carries(60), given="Zed")]
MISTYPED = [ada(), account(OTHER, "Zoe", "Hill", fields=carries(70))]
SUPER_ADMIN = [gone(), her_account(suspended=False, ou=HIGH_OU, admin=True)]
SKIPPED = [gone(first="Test", last="User"), account(given="Test", family="User", fields=carries(70))]
SEVERAL = [ada(cell_phone="847-555-0001"), her_account(), lambda bed: bed.powerschool.add_extension(70, "847-555-0002")]
WITH_A_ROLE = [gone(), her_account(suspended=False, ou=HIGH_OU, delegated=True)]


def deleted_yesterday(bed: Bed) -> None:
    yesterday = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)
    bed.google.add_deleted_user(ADA, "Ada", "Stone", deleted=yesterday)


def restored(bed: Bed) -> None:
    bed.google.deleted_users.clear()
    matching_account(bed, 70)


def hands_off_until_yesterday(bed: Bed) -> None:
    bed.settings["HANDS_OFF"] = {ADA: ("on leave", "2020-01-31")}


def no_hands_off(bed: Bed) -> None:
    bed.settings["HANDS_OFF"] = {}


SWAPPED = [
    ada(email=OTHER), ada(71, first="Bea", last="Hill", email=ADA), her_account(email=ADA),
    lambda bed: matching_account(bed, 71, email=OTHER),
]  # fmt: skip
OVER = [ada(), her_account(ou="/Substitute Teachers"), hands_off_until_yesterday]

# Rule, what is so, what the admin does, and the DCIDs on the accounts afterwards.
WAYS: dict[str, tuple[str, list[Step], list[Step], dict[str, str | None]]] = {
    "possible account: it is hers": ("possible account", NAMESAKE, [in_console(OTHER, dcid="70")], {ADA: "70"}),
    "possible account: a namesake": ("possible account", NAMESAKE, [hands_off(OTHER)], {ADA: "70", OTHER: None}),
    "not linked: it is hers": ("not linked", ANOTHERS, [
        in_console(ADA, dcid="70", name={"givenName": "Ada", "familyName": "Stone"})], {ADA: "70"}),
    "not linked: somebody else's": ("not linked", ANOTHERS, [in_powerschool(email_addr="ada2@d118.org")],
                                    {"ada2@d118.org": "70", ADA: None}),
    "probable rehire: the same person": ("probable rehire", OLD_RECORD, [in_console(ADA, dcid="70")], {ADA: "70"}),
    "left, but open: suspended": ("left, but open", OPEN_LEAVER, [in_console(ADA, suspended=True)], {ADA: None}),
    "left, but open: it is theirs": ("left, but open", OPEN_LEAVER, [in_console(ADA, dcid="70")], {ADA: "70"}),
    "left, but open: not theirs": ("left, but open", OPEN_LEAVER, [hands_off(ADA)], {ADA: None}),
    "locked out: opened": ("locked out", LOCKED, [in_console(ADA, suspended=False)], {ADA: "70"}),
    "locked out: to stay so": ("locked out", LOCKED, [hands_off(ADA)], {ADA: "70"}),
    "archived: to stay so": ("archived", [ada(), her_account(archived=True)], [hands_off(ADA)], {ADA: "70"}),
    "open for nobody: suspended": ("open for nobody", STRANGER, [in_console(OTHER, suspended=True)], {OTHER: "999"}),
    "open for nobody: its DCID corrected": ("open for nobody", [ada(email=OTHER), *STRANGER], [
        in_console(OTHER, dcid="70", name={"givenName": "Ada", "familyName": "Stone"})], {OTHER: "70"}),
    "open for nobody: to stay open": ("open for nobody", STRANGER, [hands_off(OTHER)], {OTHER: "999"}),
    "two accounts with one DCID": ("two accounts with one DCID", TWICE, [in_console(OTHER, dcid="")],
                                   {ADA: "70", OTHER: None}),
    "home school missing": ("home school", [ada(homeschool=777)], [in_powerschool(homeschoolid=5)], {ADA: "70"}),
    "faulty name": ("faulty name", [ada(first=None)], [in_powerschool(first_name="Ada")], {ADA: "70"}),
    "faulty address": ("faulty address", [ada(email="ada..stone@d118.org")], [in_powerschool(email_addr=ADA)],
                       {ADA: "70"}),
    "an alias: the same person": ("address taken", ALIAS, [
        in_console(OTHER, dcid="70", name={"givenName": "Ada", "familyName": "Stone"})], {ADA: "70"}),
    "an alias: another address": ("address taken", ALIAS, [in_powerschool(email_addr="ada2@d118.org")],
                                  {"ada2@d118.org": "70", OTHER: None}),
    "one address, two people": ("one address, two people", [ada(), ada(71, first="Adam")],
                                [in_powerschool(71, email_addr="adam.stone@d118.org")],
                                {ADA: "70", "adam.stone@d118.org": "71"}),
    "a group's address": ("address taken", [ada(), lambda bed: bed.google.add_group(ADA)],
                          [in_powerschool(email_addr="ada2@d118.org")], {"ada2@d118.org": "70"}),
    "missing org unit": ("missing org unit", [lambda bed: bed.powerschool.add_school(888, "New School"),
                                              ada(schools={888: 1})],
                         [lambda bed: bed.google.add_org_unit("/D118 Staff/New School Staff")], {ADA: "70"}),
    "probable rehire: another person": ("probable rehire", REHIRE, [in_powerschool(email_addr="ada2@d118.org")],
                                        {"ada2@d118.org": "70", ADA: "60"}),
    "somebody else's account": ("somebody else's account", MISTYPED, [in_console(OTHER, dcid="")],
                                {ADA: "70", OTHER: None}),
    "a super admin who left: closed": ("super admin left", SUPER_ADMIN, [in_console(ADA, suspended=True)],
                                       {ADA: "70"}),
    "a super admin who left: no admin": ("super admin left", SUPER_ADMIN, [in_console(ADA, isAdmin=False)],
                                         {ADA: "70"}),
    "skipped, but open": ("skipped, but open", SKIPPED, [in_console(ADA, suspended=True)], {ADA: "70"}),
    "swapped addresses": ("address taken", SWAPPED, [
        readdressed(ADA, "third@d118.org"), readdressed(OTHER, ADA)], {OTHER: "70", ADA: "71"}),
    "swapped by mistake": ("address taken", SWAPPED, [
        in_powerschool(email_addr=ADA), in_powerschool(71, email_addr=OTHER)], {ADA: "70", OTHER: "71"}),
    "two records of one person": ("one address, two people", [ada(), her_account(), ada(71)],
                                  [in_powerschool(71, email_addr=None)], {ADA: "70"}),
    "a DCID mistyped in Google": ("probable rehire", [ada(), account(fields=carries(77), employee_id="T70")],
                                  [in_console(ADA, dcid="70")], {ADA: "70"}),
    "several values": ("value", SEVERAL, [lambda bed: bed.powerschool.extension.pop(0)], {ADA: "70"}),
    "admin role": ("admin role", WITH_A_ROLE, [in_console(ADA, isDelegatedAdmin=False)], {ADA: "70"}),
    "recently deleted: restored": ("recently deleted", [ada(), deleted_yesterday], [restored], {ADA: "70"}),
    "hands off is over: taken out": ("hands off is over", OVER,
                                     [no_hands_off], {ADA: "70"}),
    "hands off is over: a new day": ("hands off is over", OVER,
                                     [hands_off(ADA)], {ADA: "70"}),
}  # fmt: skip


def dcid_of(bed: Bed, email: str) -> str | None:
    found = bed.google.user(email).get("customSchemas", {}).get(SCHEMA, {}).get("DCID")
    return str(found) if found else None


@pytest.mark.parametrize(("rule", "build", "obey", "dcids"), WAYS.values(), ids=list(WAYS))
def test_who_does_what_the_line_says_is_never_told_again(
    bed: Bed, rule: str, build: list[Step], obey: list[Step], dcids: dict[str, str | None]
) -> None:
    colleagues = {add_known(bed, dcid) for dcid in (7, 8, 10)}
    for step in build:
        step(bed)
    told = bed.run()
    assert told.exit_code == 1, told.output
    assert [text.partition(": ")[0] for text in told.lines("ERROR") if text.startswith(rule)], told.output
    before = {one: dict(bed.google.users[one]) for one in colleagues}

    for step in obey:
        step(bed)
    outcome = bed.run()

    assert (outcome.exit_code, outcome.lines("ERROR")) == (0, []), outcome.output
    assert {email: dcid_of(bed, email) for email in dcids} == dcids, outcome.output
    assert bed.run().writes == []
    assert {one: bed.google.users[one] for one in colleagues} == before
