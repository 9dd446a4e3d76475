"""Whole random districts, with every oddity at once, through the real script: what must hold in all of them.

One district is some twenty people and eight runs, so few districts say much. Another seed is another district.
"""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest
from bed import Bed, Outcome, standard_bed
from google_directory import RefusalError
from test_undo import looks, without_empty_fields

LIMITS = {"create": 6, "link": 4, "rename": 3, "name": 3, "move": 5, "suspend": 4, "reactivate": 3}
LIMITS |= {"move to suspended": 4, "clear": 4}
ALLOW_ALL = [word for kind in LIMITS for word in ("--allow", f"{kind}=999")]

ODD_NAMES = [
    "José", "O'BRIEN", "de la Cruz", "李", "Nguyễn", "Smith-Jones", "Do", "Test", "test teacher", "\u202eevil", "<b>",
    "=HYPERLINK(1)", "new\nline", 'quo"te', "back\\slash", "😀", "x" * 90, "x" * 4000, "", None, "MCDONALD", "III",
]  # fmt: skip
ODD_ADDRESSES = [
    "person1@d118.org", "PERSON2@D118.org ", "o'neil@d118.org", "1234@d118.org", "e@gmail.com", "email:*@d118.org",
    "isadmin=true@d118.org", "no at sign", "f f@d118.org", "team@d118.org", "old3@d118.org", None, "", "   ",
]  # fmt: skip
HOME_SCHOOLS = [0, 5, 101, 104, 500, 5, 101, 104]
ORG_UNITS = [
    "/D118 Staff/Wauconda High School Staff", "/Substitute Teachers", "/Suspended Accounts",
    "/Suspended Accounts/Locked", "/Administrators", "/Temporary Re-Activations", "/Students", "/",
]  # fmt: skip


def seldom(random: Random, odd: Any, usual: Any, often: float = 0.12) -> Any:
    """Now and then something odd: an entry of a list, or the value itself."""
    if random.random() >= often:
        return usual
    return random.choice(odd) if isinstance(odd, list) else odd


def add_person(bed: Bed, random: Random, dcid: int) -> None:
    home = random.choice(HOME_SCHOOLS)
    bed.powerschool.add_person(
        dcid,
        seldom(random, ODD_NAMES, f"Given{'abcdefghijklmnopqrstuvwxyz'[dcid]}"),
        seldom(random, ODD_NAMES, f"Family{'abcdefghijklmnopqrstuvwxyz'[dcid]}"),
        seldom(random, ODD_ADDRESSES, f"person{dcid}@d118.org"),
        schools=seldom(random, {}, {home: random.randint(0, 4)}, 0.25),
        homeschool=seldom(random, [777, 999999], home, 0.05),
        group=seldom(random, [None, 0], random.randint(0, 9)),
        teacher_number=seldom(random, ["1", "007", None, ""], f"N{dcid}"),
        cell_phone=seldom(random, [None, "5" * 600], "847-555-0100"),
    )


def add_account(bed: Bed, random: Random, dcid: int) -> None:
    """Mostly the account a person should have, with one thing or several different."""
    row = bed.powerschool.person(dcid)
    fields: dict[str, Any] = {"Synchronization_Data": {"DCID": dcid, "Staff_Type": 1}, "CrisisGO": {"CellPhone": "1"}}
    fields = seldom(random, [{}, {"Synchronization_Data": {"DCID": 900 + dcid}}], fields, 0.3)
    bed.google.add_user(
        seldom(random, f"old{dcid}@d118.org", f"person{dcid}@d118.org", 0.2),
        seldom(random, "Other", ((row["first_name"] or "") if len(row["first_name"] or "") < 60 else "") or "Blank"),
        seldom(random, "Else", ((row["last_name"] or "") if len(row["last_name"] or "") < 60 else "") or "Blank"),
        ou=seldom(random, ORG_UNITS, "/D118 Staff/Wauconda High School Staff", 0.4),
        suspended=seldom(random, True, False, 0.25),
        reason=seldom(random, "ABUSE", "ADMIN"),
        admin=seldom(random, True, False, 0.07),
        delegated=seldom(random, True, False, 0.07),
        archived=seldom(random, True, False, 0.05),
        employee_id=seldom(random, ["1", None], f"N{dcid}"),
        aliases=seldom(random, [(f"alias{dcid}@d118.org",)], ()),
        fields=fields,
    )


def fill(bed: Bed, random: Random) -> None:
    for dcid in range(22):
        add_person(bed, random, dcid)
        if random.random() < 0.8:
            try:
                add_account(bed, random, dcid)
            except RefusalError:  # Google has no such account
                continue
    for number in range(3):
        bed.google.add_user(f"student{number}@d118.org", "Ana", "Do", ou="/Students", fields={})
    bed.google.add_user(
        "alone@d118.org", "No", "Body", ou="/D118 Staff", fields={"Synchronization_Data": {"DCID": 7777}}
    )
    bed.google.add_group("team@d118.org", members={user["primaryEmail"]: "MEMBER" for user in every_user(bed)[:9]})


def every_user(bed: Bed) -> list[dict[str, Any]]:
    users = bed.google.snapshot()["users"]
    return list(users.values()) if isinstance(users, dict) else list(users)


def untouchable(bed: Bed) -> dict[str, Any]:
    accounts = without_empty_fields(looks(bed))
    return {
        i: a
        for i, a in accounts.items()
        if a["orgUnitPath"].startswith("/Students") or a.get("isAdmin") or a["primaryEmail"] == "alone@d118.org"
    }


def people_per_kind(outcome: Outcome) -> dict[str, int]:
    found: dict[str, set[str]] = {}
    suspended = {line["account"] for line in outcome.journal if line["kind"] == "suspend"}
    for line in outcome.journal:
        if line["kind"] == "move to suspended" and line["account"] in suspended:
            continue
        if line["state"] == "done":
            found.setdefault(line["kind"], set()).add(line["account"])
    return {kind: len(accounts) for kind, accounts in found.items()}


@pytest.mark.parametrize("seed", range(12))
def test_in_every_district(tmp_path: Path, seed: int) -> None:
    with standard_bed(tmp_path, LIMITS=LIMITS) as bed:
        fill(bed, Random(seed))
        apart, before = untouchable(bed), without_empty_fields(looks(bed))
        members = bed.google.members("team@d118.org")

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
            undo = bed.run("--undo", journal.stem, "--yes", *ALLOW_ALL)
            assert undo.exit_code in {0, 1}, undo.output
        undone = without_empty_fields(looks(bed))
        assert {i: undone[i] for i in before} == before, "undo restores"
        assert bed.google.members("team@d118.org") == members, "the groups too"
        created = set(undone) - set(before)
        assert all(undone[i]["suspended"] for i in created)
