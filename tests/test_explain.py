"""--explain: both sides, the rule that decides and what would change, for the help desk; it writes nothing."""

from __future__ import annotations

from bed import Bed, matching_account


def test_a_person_with_a_change_due_is_told_whole(bed: Bed) -> None:
    bed.powerschool.add_person(7, "Maya", "Patel", "maya.patel@d118.org", schools={5: 1}, teacher_number="70")
    matching_account(bed, 7, ou="/Substitute Teachers")

    outcome = bed.run("--explain", "maya.patel@d118.org")

    assert (outcome.exit_code, outcome.writes) == (0, [])
    assert "PowerSchool: home school 5 (Wauconda High School), active at: 5 type 1" in outcome.output
    assert "Google: maya.patel@d118.org, Maya Patel, DCID 7, open, in /Substitute Teachers" in outcome.output
    assert "Would move" in outcome.output
    assert not bed.runs.exists()


def test_the_rule_and_the_limit_that_hold_back_are_named(bed: Bed) -> None:
    bed.settings["LIMITS"] = {"suspend": 0}
    bed.powerschool.add_person(7, "Maya", "Patel", "maya.patel@d118.org", schools={5: 1})
    bed.powerschool.add_person(8, "Noor", "Haddad", "noor.haddad@d118.org", schools={5: 1})
    bed.powerschool.add_person(9, "Eli", "Moss", "", schools={5: 1})
    for dcid in (7, 8):
        matching_account(bed, dcid)
    bed.powerschool.leave(7)

    assert "Held back: suspend: 1 people, the limit is 0" in bed.run("--explain", "dcid:7").output
    assert "Nothing would change" in bed.run("--explain", "8").output
    assert "no address in PowerSchool and no account" in bed.run("--explain", "dcid:9").output


def test_somebody_who_is_not_found_is_told_what_is_near(bed: Bed) -> None:
    bed.powerschool.add_person(7, "Maya", "Patel", "maya.patel@d118.org", schools={5: 1})
    matching_account(bed, 7)

    outcome = bed.run("--explain", "maya.patell@d118.org")

    assert outcome.exit_code == 2
    assert "Google: maya.patel@d118.org" in outcome.output
    assert "nobody in PowerSchool has this address" in outcome.lines("ERROR")[-1]
    assert "Near: PowerSchool has Maya Patel" in bed.run("--explain", "patel").output
