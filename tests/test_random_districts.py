"""Whole random districts, with every oddity at once, through the real script: what must hold in all of them.

One example is a district of some twenty people and five runs, so few examples say much.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import district
from bed import Bed, Outcome, standard_bed
from google_directory import RefusalError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_undo import looks, without_empty_fields

LIMITS = {"create": 6, "link": 4, "rename": 2, "name": 2, "move": 5, "suspend": 3, "reactivate": 2}
LIMITS |= {"move to suspended": 3, "clear": 3}
ALLOW_ALL = [word for kind in LIMITS for word in ("--allow", f"{kind}=999")]

NAMES = st.sampled_from(
    [
        "Ana",
        "José",
        "O'BRIEN",
        "de la Cruz",
        "李",
        "Nguyễn",
        "Smith-Jones",
        "Do",
        "Test",
        "test teacher",
        "\u202eevil",
        "=HYPERLINK(1)",
        "new\nline",
        'quo"te',
        "back\\slash",
        "😀",
        "<b>",
        "x" * 90,
        "",
        None,
        "MCDONALD",
        "III",
    ]  # fmt: skip
)
ADDRESSES = st.sampled_from(
    [
        "a@d118.org",
        "b@d118.org",
        "c@d118.org",
        "D@D118.org ",
        "o'neil@d118.org",
        "1234@d118.org",
        "e@gmail.com",
        "email:*@d118.org",
        "isadmin=true@d118.org",
        "no at sign",
        "f f@d118.org",
        "g@d118.org",
        "h@d118.org",
        "i@d118.org",
        "j@d118.org",
        "k@d118.org",
        "l@d118.org",
        None,
        "",
        "   ",
    ]  # fmt: skip
)
SCHOOLS = st.sampled_from([0, 5, 101, 104, 500, 999999, 777])
NUMBERS = st.sampled_from(["1", "2", "007", "A-9", None, ""])
ORG_UNITS = st.sampled_from(
    [
        "/D118 Staff/Wauconda High School Staff",
        "/Substitute Teachers",
        "/Suspended Accounts",
        "/Suspended Accounts/Locked",
        "/Administrators",
        "/Temporary Re-Activations",
        "/Students",
        "/",
    ]  # fmt: skip
)

PERSON = st.fixed_dictionaries(
    {
        "first": NAMES,
        "last": NAMES,
        "email": ADDRESSES,
        "schools": st.dictionaries(SCHOOLS, st.integers(0, 4), max_size=3),
        "homeschool": st.one_of(st.none(), SCHOOLS),
        "teacher_number": NUMBERS,
        "group": st.one_of(st.none(), st.integers(0, 99)),
        "cell_phone": st.sampled_from([None, "847-555-0100", "5" * 600]),
    }
)
ACCOUNT = st.fixed_dictionaries(
    {
        "given": st.sampled_from(["Ana", "José", "Test", "Other"]),
        "family": st.sampled_from(["Do", "O'Brien", "de la Cruz", "Else"]),
        "local": st.sampled_from("abcdefghijklmnop"),
        "dcid": st.one_of(st.none(), st.integers(0, 19), st.integers(900, 901)),
        "ou": ORG_UNITS,
        "suspended": st.booleans(),
        "reason": st.sampled_from(["ADMIN", "ADMIN", "ADMIN", "ABUSE"]),
        "admin": st.sampled_from([False, False, False, True]),
        "delegated": st.sampled_from([False, False, False, True]),
        "employee_id": st.sampled_from(["1", "2", "007", None]),
        "alias": st.sampled_from([None, None, "a", "m", "n"]),
    }
)
DISTRICT = st.tuples(st.lists(PERSON, min_size=8, max_size=20), st.lists(ACCOUNT, min_size=6, max_size=24))


def fill(bed: Bed, people: list[dict[str, Any]], accounts: list[dict[str, Any]]) -> None:
    for dcid, person in enumerate(people):
        bed.powerschool.add_person(dcid, person.pop("first"), person.pop("last"), person.pop("email"), **person)
    for number, account in enumerate(accounts):
        fields = {} if account["dcid"] is None else {"Synchronization_Data": {"DCID": account["dcid"]}}
        alias = (f"{account['alias']}{number}x@d118.org",) if account["alias"] else ()
        options = {name: account[name] for name in ("ou", "suspended", "reason", "admin", "delegated", "employee_id")}
        names = (account["given"], account["family"])
        try:
            bed.google.add_user(f"{account['local']}@d118.org", *names, aliases=alias, fields=fields, **options)
        except RefusalError:  # the address is taken: then this account does not exist
            continue
    for number in range(3):
        bed.google.add_user(f"student{number}@d118.org", "Ana", "Do", ou="/Students", fields={})
    bed.google.add_group("team@d118.org", members={user["primaryEmail"]: "MEMBER" for user in every_user(bed)[:5]})


def every_user(bed: Bed) -> list[dict[str, Any]]:
    users = bed.google.snapshot()["users"]
    return list(users.values()) if isinstance(users, dict) else list(users)


def untouchable(bed: Bed) -> dict[str, Any]:
    accounts = without_empty_fields(looks(bed))
    return {i: a for i, a in accounts.items() if a["orgUnitPath"].startswith("/Students") or a.get("isAdmin")}


def people_per_kind(outcome: Outcome) -> dict[str, int]:
    found: dict[str, set[str]] = {}
    suspended = {line["account"] for line in outcome.journal if line["kind"] == "suspend"}
    for line in outcome.journal:
        if line["kind"] == "move to suspended" and line["account"] in suspended:
            continue
        if line["state"] == "done":
            found.setdefault(line["kind"], set()).add(line["account"])
    return {kind: len(accounts) for kind, accounts in found.items()}


@settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(DISTRICT)
def test_in_every_district(drawn: tuple[list[dict[str, Any]], list[dict[str, Any]]]) -> None:
    with tempfile.TemporaryDirectory() as folder, standard_bed(Path(folder), LIMITS=LIMITS) as bed:
        fill(bed, *drawn)
        apart, before = untouchable(bed), without_empty_fields(looks(bed))

        rehearsed = bed.run("--dry-run")
        assert without_empty_fields(looks(bed)) == before, "a dry run writes nothing"

        first = bed.run()
        assert first.exit_code == rehearsed.exit_code, first.output
        assert first.exit_code in {0, 1, 3}, first.output
        assert all(count <= LIMITS.get(kind, 999) for kind, count in people_per_kind(first).items()), first.output
        if "Until half of them do" not in first.output:
            assert not bed.run().writes, "a second run writes nothing"

        bed.run(*ALLOW_ALL)
        whole = bed.run(*ALLOW_ALL)
        assert not whole.writes or "Until half of them do" in first.output, whole.output
        assert untouchable(bed) == apart, "nothing outside the staff is written"
        for journal in sorted(bed.runs.glob("*.jsonl"), reverse=True):
            bed.run("--undo", journal.stem, "--yes", *ALLOW_ALL)
        undone = without_empty_fields(looks(bed))
        assert {i: undone[i] for i in before} == before, "undo restores"
        created = set(undone) - set(before)
        assert all(undone[i]["suspended"] for i in created)


def test_the_sample_district_has_a_case_of_every_rule() -> None:
    assert len(district.EXPECTED) > 60
