"""The way from an untouched Google to a quiet night, as the README walks it: each step tells the next."""

from __future__ import annotations

import csv

from bed import Bed, matching_account
from test_check_and_setup import bare_google

PEOPLE = ("Adler", "Bishop", "Chavez", "Dietrich", "Ellis", "Fox")
SCHEMA = "Synchronization_Data"


def untouched_district(bed: Bed) -> None:
    """Six people and a newcomer; Google has accounts for the six and nothing else that the script needs."""
    bed.settings |= {"FROZEN_OUS": [], "TEMPORARY_REACTIVATION_OUS": []}
    bare_google(bed)
    for dcid, last in enumerate(PEOPLE, 1):
        bed.powerschool.add_person(dcid, "Mona", last, f"m.{last}@d118.org".lower(), schools={5: 1})
    bed.powerschool.add_person(7, "Noor", "Haddad", "noor.haddad@d118.org", schools={101: 1})
    bed.powerschool.add_person(8, "Gone", "Gray", "gone.gray@d118.org", inactive_schools={5: 1})
    for dcid in range(1, 7):
        # The last one's account is known by a name that does not agree.
        given = "Someone" if dcid == 6 else "Mona"
        matching_account(bed, dcid, ou="/", fields={}, given=given, employee_id=None)


def test_each_step_of_the_first_day_tells_the_next_to_the_first_quiet_night(bed: Bed) -> None:
    untouched_district(bed)

    checked = bed.run("--check")
    assert (checked.exit_code, checked.writes) == (2, [])
    assert "create it with --setup" in checked.output
    assert "Next: python sync.py --setup" in checked.output.splitlines()[-1]

    made = bed.run("--setup", "--yes")
    assert made.exit_code == 0, made.output
    assert "Next: python sync.py --check" in made.output.splitlines()[-1]

    checked = bed.run("--check")
    assert (checked.exit_code, checked.writes) == (1, [])
    assert "carry their DCID: link them first" in checked.output
    assert "Next: python sync.py --dry-run" in checked.output.splitlines()[-1]

    dry = bed.run("--dry-run", "--csv", str(bed.folder / "linking.csv"))
    assert (dry.exit_code, dry.writes) == (3, [])
    assert "Linking: in doubt 1, link 5, no account 1" in dry.output
    assert "Next: read every line above; try a few people with" in dry.output.splitlines()[-1]
    with (bed.folder / "linking.csv").open(encoding="utf-8-sig", newline="") as file:
        assert {row["name"]: row["what"] for row in csv.DictReader(file)}["Mona Fox"] == "in doubt"

    why = bed.run("--explain", "m.fox@d118.org")
    settle = f"if it is theirs, set {SCHEMA}.DCID of m.fox@d118.org to 6 in the Admin console"
    assert settle in why.output

    few = bed.run("--only", "m.adler@d118.org", "dcid:2")
    assert few.exit_code == 0, few.output
    assert len(few.writes) == 2

    linked = bed.run()
    assert linked.exit_code == 3, "the newcomer waits until the others are linked"
    assert "link them first" in linked.output
    assert bed.google.user("m.ellis@d118.org")["customSchemas"][SCHEMA]["DCID"] == "5"
    assert "noor.haddad@d118.org" not in bed.google.addresses

    bed.google.users[bed.google.user("m.fox@d118.org")["id"]]["customSchemas"] = {SCHEMA: {"DCID": "6"}}
    night = bed.run()
    assert night.exit_code == 0, night.output
    assert bed.google.user("noor.haddad@d118.org")["orgUnitPath"] == "/D118 Staff/Wauconda Middle School Staff"

    quiet = bed.run()
    assert (quiet.exit_code, quiet.writes) == (0, [])
    assert "Done: nothing." in quiet.output
    bed.google.add_org_unit("/Substitute Teachers")
    settled = bed.run("--check")
    assert settled.exit_code == 0, settled.output
    assert "a run tonight would do: nothing" in settled.output
