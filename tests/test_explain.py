"""--explain: both sides, the rule that decides and what would change, for the help desk; it writes nothing."""

from __future__ import annotations

import re

import pytest
from bed import Bed, matching_account
from stories import MAYA, add_known, colleagues, person, settle


def test_a_person_with_a_change_due_is_told_whole(bed: Bed) -> None:
    bed.powerschool.add_person(7, "Maya", "Patel", "maya.patel@d118.org", schools={5: 1}, teacher_number="70")
    matching_account(bed, 7, ou="/Substitute Teachers")

    outcome = bed.run("--explain", "maya.patel@d118.org")

    assert (outcome.exit_code, outcome.writes) == (0, [])
    assert "PowerSchool: home school 5 (Wauconda High School), active at school 5 (staff type 1)" in outcome.output
    assert "Google: maya.patel@d118.org, Maya Patel, DCID 7, open, in /Substitute Teachers" in outcome.output
    assert "Rule: move: the org unit is that of the home school, or SUBSTITUTE_OU for a substitute" in outcome.output
    assert "Would move" in outcome.output
    assert not bed.runs.exists()


@pytest.mark.measured
def test_the_rule_and_the_limit_that_hold_back_are_named(bed: Bed) -> None:
    bed.settings["LIMITS"] = {"suspend": 0}
    bed.powerschool.add_person(7, "Maya", "Patel", "maya.patel@d118.org", schools={5: 1})
    bed.powerschool.add_person(8, "Noor", "Haddad", "noor.haddad@d118.org", schools={5: 1})
    bed.powerschool.add_person(9, "Eli", "Moss", "", schools={5: 1})
    for dcid in (7, 8):
        matching_account(bed, dcid)
    bed.powerschool.leave(7)

    assert "Held back: suspend: 1 person, the limit is 0" in bed.run("--explain", "dcid:7").output
    assert "Nothing would change" in bed.run("--explain", "8").output
    assert "no address in PowerSchool and no account" in bed.run("--explain", "dcid:9").output


def test_a_share_that_holds_back_is_named_by_the_check_and_may_be_told_by_a_dry_run(bed: Bed) -> None:
    for dcid in range(1, 9):
        bed.powerschool.add_person(dcid, "Mona", f"Adler{dcid}", f"p{dcid}@d118.org", schools={5: 1})
        matching_account(bed, dcid)
    for dcid in range(1, 5):
        bed.powerschool.leave(dcid)
    words = "suspend: 4 people of 8 with an open account, the share is 0.2"
    assert f"Held: {words}" in bed.run("--dry-run").output
    assert "Whether a limit that counts everybody holds that back tonight" in bed.run("--explain", "dcid:1").output
    assert f"WARNING  {words}" in bed.run("--check").output


def test_a_run_that_would_stop_for_everybody_is_told_and_the_person_all_the_same(bed: Bed) -> None:
    for dcid in range(1, 8):
        bed.powerschool.add_person(dcid, "Mona", f"Adler{dcid}", f"p{dcid}@d118.org", schools={5: 1})
        matching_account(bed, dcid, email=f"other{dcid}@d118.org", given="Some", family="Body", employee_id=None)
    bed.powerschool.add_person(20, "Noor", "Haddad", "noor.haddad@d118.org", schools={5: 1})
    matching_account(bed, 20, ou="/Substitute Teachers")

    stopped = bed.run("--dry-run")
    assert stopped.exit_code == 3
    assert "Look at some of them with --explain before anything else: dcid:1 dcid:2 dcid:3" in stopped.output

    outcome = bed.run("--explain", "dcid:1")
    assert "DCID 1 sits on an account that looks like somebody else's" in outcome.output
    assert "python sync.py --dry-run says" in bed.run("--explain", "20").output


@pytest.mark.measured
def test_somebody_who_is_not_found_is_told_who_comes_near(bed: Bed) -> None:
    bed.powerschool.add_person(7, "Maya", "Patel", "maya.patel@d118.org", schools={5: 1}, teacher_number="T70")
    matching_account(bed, 7)

    def near(who: str) -> str:
        outcome = bed.run("--explain", who)
        assert outcome.exit_code == 2
        assert "nobody in PowerSchool has this address, DCID or teacher number" in outcome.lines("ERROR")[-1]
        return outcome.output

    maya = "Near: PowerSchool has Maya Patel"
    for who in ("maya.patell@d118.org", "maya.patel@old-domain.org", "Maya Pattel"):
        assert maya in near(who)
    bed.powerschool.add_person(8, "Maya", "Patel", "maya.p@d118.org", schools={5: 1})
    assert maya in near("Patel Maya"), "two of one name are named, not explained"
    assert maya not in near("nobody.like.that@d118.org")


def test_a_name_that_fits_one_person_is_enough_and_the_rule_is_told_though_nothing_changes(bed: Bed) -> None:
    bed.powerschool.add_person(7, "Maya", "Patel", "maya.patel@d118.org", schools={5: 1})
    bed.powerschool.add_person(8, "Noor", "Haddad", "noor.haddad@d118.org", inactive_schools={5: 1})
    matching_account(bed, 7)
    matching_account(bed, 8, ou="/Suspended Accounts")
    step = bed.run("--explain", "maya patel")
    assert step.exit_code == 0, step.output
    assert "Rule: in step: an active person's account changes only where it differs" in step.output
    closed = bed.run("--explain", "Haddad, Noor")
    assert "Rule: suspend: who has no SCHOOLSTAFF row with status 1 has left" in closed.output
    assert "Nothing would change" in closed.output


@pytest.mark.measured
def test_explain_hides_what_is_private_on_both_sides(one_in_step: Bed) -> None:
    bed = one_in_step
    add_known(bed, 7, ou="/Substitute Teachers", employee_id="T6", fields={"Synchronization_Data": {"DCID": 7}})
    bed.powerschool.add_school_staff(7, 101, 1)
    private = ["cell_phone", "teacher_number", "homeschool_id", "school_access_list"]
    bed.settings["PRIVATE_VALUES"] = private
    outcome = bed.run("--explain", "dcid:7")
    assert outcome.exit_code == 0
    assert f"PowerSchool: Maya Patel, {MAYA} (DCID 7), teacher number (private)" in outcome.output
    assert "PowerSchool: home school (private), active at (private)" in outcome.output
    assert "Synchronization_Data.School_Access_List (private)" in outcome.output
    shown = "\n".join(outcome.lines("INFO")[1:])
    assert not re.search(r"\bT[67]\b|\b101\b|school 5|home school 5", shown), shown


@pytest.mark.measured
def test_what_stands_of_what_happens_once_and_what_to_do_about_nobodys_account_are_told(bed: Bed) -> None:
    colleagues(bed)
    person(bed, 201, "Maya")
    stray = settle(bed, 202, "Ola")
    bed.powerschool.remove(202)
    bed.run()

    lines = bed.run("--explain", "dcid:201").lines("WARN")
    assert ["reset it in the Admin console" in line for line in lines] == [True]
    assert "password nobody knows" not in bed.run("--explain", "dcid:9000").output
    outcome = bed.run("--explain", bed.google.users[stray]["primaryEmail"])
    assert "correct its DCID, or suspend it" in outcome.lines("ERROR")[0]
