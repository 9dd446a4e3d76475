"""Adopting a directory that has accounts and no DCIDs: what the first dry run tells, and its spreadsheet."""

from __future__ import annotations

import csv
import os

from bed import Bed, matching_account
from stories import person, settle


def test_the_first_dry_run_counts_links_doubts_and_the_alone_and_the_run_links_the_certain(bed: Bed) -> None:
    for dcid, last in enumerate(("Adler", "Bishop", "Chavez", "=Dietrich", "Ellis"), 1):
        person(bed, dcid, "Mona", last, email=f"person{dcid}@d118.org")
    matching_account(bed, 1, fields={})
    matching_account(bed, 2, fields={}, given="Other")
    matching_account(bed, 3, fields={}, given="Some", family="Body", employee_id=None)
    matching_account(bed, 4, fields={}, given="Some", family="Body", employee_id=None)
    bed.google.add_user("alone@d118.org", "A", "Lone", ou="/D118 Staff")
    file = bed.folder / "adoption.csv"
    # In a directory of thousands the limit holds the links: they are counted and listed all the same.
    bed.settings["LIMITS"] = {"link": 1}

    outcome = bed.run("--dry-run", "--csv", str(file))

    (words,) = [text for text in outcome.lines("INFO") if text.startswith("Linking:")]
    assert words == "Linking: in doubt 2, link 2, no account 1, nobody in PowerSchool 1"
    assert outcome.exit_code == 3, "most carry no DCID: the creation is held"
    assert not outcome.writes
    assert any("let the links through, run it again" in text for text in outcome.lines("ERROR"))
    assert any("link: 2 people, the limit is 1" in text for text in outcome.lines("ERROR"))
    assert file.read_bytes().startswith(b"\xef\xbb\xbf"), "Excel reads UTF-8 only with its mark"
    with file.open(encoding="utf-8-sig", newline="") as text:
        rows = {row["name"] or row["google_address"]: row for row in csv.DictReader(text)}
    assert rows["Mona Adler"]["what"] == "link"
    assert rows["Mona Ellis"]["what"] == "no account"
    assert rows["Mona =Dietrich"]["what"] == "in doubt"
    assert rows["alone@d118.org"]["what"] == "nobody in PowerSchool"

    bed.run("--allow", "link=2")
    linked = [dcid for dcid in range(1, 5) if bed.google.user(f"person{dcid}@d118.org").get("customSchemas")]
    assert linked == [1, 2]


def test_where_nobody_waits_for_the_linking_nothing_is_held(bed: Bed) -> None:
    for dcid, last in enumerate(("Adler", "Bishop"), 1):
        person(bed, dcid, "Mona", last, email=f"person{dcid}@d118.org")
        matching_account(bed, dcid, fields={})
    dry = bed.run("--dry-run")
    assert dry.exit_code == 0, dry.output
    assert "Next: read every line above" in dry.output
    some = bed.run("--dry-run", "--only", "dcid:1")
    assert "Linking: " not in some.output
    run = bed.run()
    assert run.exit_code == 0, "nobody is created or suspended tonight: that none carries a DCID yet holds nothing"
    assert "Held: " not in run.output
    assert "Linking: " not in run.output + run.log
    assert "Next: " not in run.output
    assert "Next: " not in bed.run("--dry-run").output


def test_open_accounts_of_people_who_left_are_listed(bed: Bed) -> None:
    settle(bed, 1, "Mona", "Adler")
    bed.powerschool.add_person(9, "Gone", "Gray", "gone.gray@d118.org", inactive_schools={5: 1})
    bed.google.add_user("gone.gray@d118.org", "Gone", "Gray", ou="/D118 Staff")
    file = bed.folder / "adoption.csv"
    outcome = bed.run("--dry-run", "--csv", str(file))
    assert "left, open 1" in outcome.output
    with file.open(encoding="utf-8-sig", newline="") as text:
        ((what, reason),) = [(row["what"], row["reason"]) for row in csv.DictReader(text)]
    assert what == "left, open"
    assert "suspend it, or set Synchronization_Data.DCID of gone.gray@d118.org to 9" in reason
    if os.name != "nt":
        assert file.stat().st_mode & 0o777 == 0o600


def test_a_cell_is_never_a_formula(bed: Bed) -> None:
    person(bed, 1, "=HYPERLINK(1)", "Adler", email="person1@d118.org")
    settle(bed, 2, "Mona", "Bishop")
    file = bed.folder / "adoption.csv"
    bed.run("--dry-run", "--csv", str(file))
    assert "'=HYPERLINK(1) Adler" in file.read_text(encoding="utf-8-sig")


def test_the_spreadsheet_goes_with_a_dry_run_of_everybody(bed: Bed) -> None:
    outcome = bed.run("--csv", "x.csv")
    assert outcome.exit_code == 2
    assert "--csv goes with --dry-run" in outcome.output
