"""--check tells every fact with its remedy and nothing private; --setup makes what is missing and no more."""

from __future__ import annotations

import json
from pathlib import Path

from bed import PASSWORD, SIGNED_IN_SCOPES, Bed, matching_account

SETUP_SCOPES = [f"https://www.googleapis.com/auth/admin.directory.{name}" for name in ("orgunit", "userschema")]


def two_people(bed: Bed) -> None:
    bed.powerschool.add_person(7, "Maya", "Patel", "maya.patel@d118.org", schools={5: 1}, teacher_number="70")
    bed.powerschool.add_person(8, "Noor", "Haddad", "noor.haddad@d118.org", schools={101: 1}, teacher_number="80")
    for dcid in (7, 8):
        matching_account(bed, dcid)


def assert_paste_safe(bed: Bed, output: str) -> None:
    for private in ("Maya", "Patel", "maya.patel", "@", PASSWORD, bed.oracle.dsn, "127.0.0.1", str(bed.folder)):
        assert private not in output, private


def facts(output: str, sign: str) -> list[str]:
    return [line for line in output.splitlines() if f" {sign:<8} " in line]


def test_a_district_in_order_is_good_from_the_first_line_to_the_last(bed: Bed) -> None:
    two_people(bed)
    bed.run()

    outcome = bed.run("--check", env={"HTTPS_PROXY_IGNORED": None})

    assert outcome.exit_code == 0, outcome.output
    assert not facts(outcome.output, "FAULT")
    assert "2 staff, 2 active, 2 of these with an address" in outcome.output
    assert "environment variable POWERSCHOOL_DB_PASSWORD: set" in outcome.output
    assert not outcome.writes
    assert_paste_safe(bed, outcome.output)


def test_it_goes_on_to_the_last_fact_and_each_fault_has_its_remedy(bed: Bed) -> None:
    two_people(bed)
    bed.settings["SUSPENDED_OU"] = "/Nowhere"
    bed.settings["CUSTOM_SCHEMAS"] = {"Synchronization_Data": {"DCID": "dcid", "Shoe_Size": "staff_group"}}

    outcome = bed.run("--check", env={"POWERSCHOOL_DB_PASSWORD": "wrong-Password-1"})

    faults = "\n".join(facts(outcome.output, "FAULT"))
    assert outcome.exit_code == 2
    assert "ORA-01017" in faults
    assert "Synchronization_Data.Shoe_Size does not exist" in faults
    assert "/Nowhere (SUSPENDED_OU) does not exist" in faults
    assert_paste_safe(bed, outcome.output)
    assert "wrong-Password-1" not in outcome.output


def test_faulty_settings_do_not_end_it(bed: Bed) -> None:
    bed.config_text = "STAF_OU = '/x'\n"
    outcome = bed.run("--check", env={"POWERSCHOOL_PROD_DB": None})
    assert outcome.exit_code == 2
    assert "environment variable POWERSCHOOL_PROD_DB: not set" in outcome.output
    assert "STAF_OU is not a setting: is STAFF_OU meant?" in outcome.output


def test_readable_phones_waiting_people_and_limits_are_told(bed: Bed) -> None:
    two_people(bed)
    bed.google.add_schema("Phones", {"Cell": {"fieldType": "STRING", "readAccessType": "ALL_DOMAIN_USERS"}})
    bed.settings["CUSTOM_SCHEMAS"] = {
        "Synchronization_Data": {"DCID": "dcid"},
        "Phones": {"Cell": "cell_phone"},
    }
    bed.settings["LIMITS"] = {"suspend": 0}
    bed.powerschool.add_school(777, "New School")
    bed.powerschool.add_person(9, "Eli", "Moss", "eli.moss@d118.org", schools={777: 1})
    bed.powerschool.leave(7)

    outcome = bed.run("--check")

    assert "everybody in the domain, students too, can read Phones.Cell" in outcome.output
    assert "1 people wait for an org unit" in outcome.output or "1 person waits for an org unit" in outcome.output
    assert "/D118 Staff/New School Staff does not exist" in outcome.output
    assert "suspend: 1" in outcome.output
    assert outcome.exit_code == 2


def bare_google(bed: Bed) -> None:
    """A Google with a service account and nothing set up but the students' org unit."""
    snapshot = bed.google.snapshot()
    root = {"/": snapshot["org_units"]["/"]}
    bed.google.restore({**snapshot, "org_units": root, "schemas": {}})
    bed.google.add_org_unit("/Students")
    bed.google.write_service_account(bed.folder, scopes=[*SIGNED_IN_SCOPES, *SETUP_SCOPES])
    bed.google.add_user("admin@d118.org", "Ad", "Min", admin=True)
    bed.environment["GOOGLE_ADMIN_EMAIL"] = "admin@d118.org"


def test_setup_makes_what_is_missing_once(bed: Bed) -> None:
    bed.powerschool.add_person(7, "Maya", "Patel", "maya.patel@d118.org", schools={5: 1})
    bare_google(bed)

    shown = bed.run("--setup", "--dry-run")
    assert (shown.exit_code, shown.writes) == (0, [])
    asked = bed.run("--setup")
    assert (asked.exit_code, asked.writes) == (2, [])
    outcome = bed.run("--setup", "--yes")

    assert outcome.exit_code == 0, outcome.output
    snapshot = json.dumps(bed.google.snapshot(), default=str)
    for made in ("/D118 Staff/Wauconda High School Staff", "/Suspended Accounts", "CellPhone", "ADMINS_AND_SELF"):
        assert made in snapshot
    assert not bed.run("--setup", "--yes").writes
    assert bed.run("--allow", "create=5").exit_code == 0


def test_setup_adds_a_field_without_losing_the_others_and_never_replaces_one(bed: Bed) -> None:
    two_people(bed)
    bed.google.write_service_account(bed.folder, scopes=[*SIGNED_IN_SCOPES, *SETUP_SCOPES])
    bed.google.add_user("admin@d118.org", "Ad", "Min", admin=True)
    bed.environment["GOOGLE_ADMIN_EMAIL"] = "admin@d118.org"
    schemas = {name: dict(held) for name, held in bed.setting("CUSTOM_SCHEMAS").items()}
    schemas["Synchronization_Data"]["Teacher_Number"] = "teacher_number"
    bed.settings["CUSTOM_SCHEMAS"] = schemas
    before = bed.google.user("maya.patel@d118.org")["customSchemas"]

    outcome = bed.run("--setup", "--yes")

    assert outcome.exit_code == 0, outcome.output
    assert bed.google.user("maya.patel@d118.org")["customSchemas"] == before
    assert bed.run().exit_code == 0
    assert bed.google.user("maya.patel@d118.org")["customSchemas"]["Synchronization_Data"]["Teacher_Number"] == "70"


def test_setup_reports_a_wrong_type(bed: Bed, tmp_path: Path) -> None:
    two_people(bed)
    bed.google.add_schema("Text", {"DCID": "STRING"})
    bed.settings["CUSTOM_SCHEMAS"] = {"Text": {"DCID": "dcid"}}
    outcome = bed.run("--setup", "--yes")
    assert (outcome.exit_code, outcome.writes) == (1, [])
    assert "Text.DCID is STRING, but a DCID needs a whole number" in outcome.output
