"""--check tells every fact with its remedy and nothing private; --setup makes what is missing and no more."""

from __future__ import annotations

import json
import os
import re
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from bed import PASSWORD, SIGNED_IN_SCOPES, Bed, matching_account, standard_bed
from stories import NEEDED_SCOPES, NOOR, add_known, screen, told

SETUP_SCOPES = [f"https://www.googleapis.com/auth/admin.directory.{name}" for name in ("orgunit", "userschema")]


def two_people(bed: Bed, **otherwise: Any) -> None:
    bed.powerschool.add_person(7, "Maya", "Patel", "maya.patel@d118.org", schools={5: 1}, teacher_number="70")
    bed.powerschool.add_person(8, "Noor", "Haddad", "noor.haddad@d118.org", schools={101: 1}, teacher_number="80")
    for dcid in (7, 8):
        matching_account(bed, dcid, **otherwise)


def assert_paste_safe(bed: Bed, output: str) -> None:
    for private in ("Maya", "Patel", "maya.patel", "@", PASSWORD, bed.oracle.dsn, "127.0.0.1", str(bed.folder)):
        assert private not in output, private


def facts(output: str, sign: str) -> list[str]:
    return [line for line in output.splitlines() if f" {sign:<8} " in line]


def test_a_district_in_order_is_good_from_the_first_line_to_the_last(bed: Bed) -> None:
    two_people(bed)
    bed.run()
    token = (bed.folder / "token.json").read_bytes()

    outcome = bed.run("--check")

    assert outcome.exit_code == 0, outcome.output
    assert not facts(outcome.output, "FAULT")
    assert not outcome.writes
    assert (bed.folder / "token.json").read_bytes() == token, "it writes nothing at all"
    for fact in (
        "runs as the operating-system account",
        f"(folder){os.sep}runs can be written",
        "the last good run was 0.0 days ago",
        "every setting in config.py is well-formed",
        "PowerSchool can be reached and lets this login in (Oracle 19.3.0.0.0)",
        "table USERS can be read: DCID, FIRST_NAME, LAST_NAME, PREFERREDNAME, EMAIL_ADDR, TEACHERNUMBER",
        "table U_HUMANRESOURCES can be read: USERSDCID, CELLPHONE",
        "PowerSchool holds 8 schools, 2 staff, 2 of them active, 2 of these with an address",
        "signed in, all 5 scopes a run needs are granted",
        "custom schema field Synchronization_Data.DCID: INT64, indexed, ADMINS_AND_SELF",
        "the fields and org units that config.py names exist",
        "org unit /D118 Staff/Wauconda High School Staff: 1 person",
        "Google accounts: 2",
        "a run tonight would do: nothing",
    ):
        assert any(fact in line for line in facts(outcome.output, "good")), fact
    assert_paste_safe(bed, outcome.output)


@pytest.mark.measured
def test_it_goes_on_to_the_last_fact_and_each_fault_has_its_remedy(bed: Bed) -> None:
    two_people(bed)
    bed.settings["FROZEN_OUS"] = ["/Gone"]
    bed.settings["GOOGLE_DOMAINS"] = ["d118.org", "d119.org"]
    faulty: dict[str, Any] = {
        "SUSPENDED_OU": "/Nowhere",
        "EXTENSION_COLUMNS": {"cell_phone": "u_humanresources.mobile", "shoe": "u_shoes.size_eu"},
        "CUSTOM_SCHEMAS": {
            "Synchronization_Data": {"DCID": "dcid", "Shoe_Size": "shoe"},
            "CrisisGO": {"CellPhone": "cell_phone", "Building": "building"},
        },
    }
    bed.settings |= faulty
    bed.powerschool.leave(7)

    outcome = bed.run("--check", env={"NEW_USER_PASSWORD": "short"})

    assert outcome.exit_code == 2
    faults, warnings = facts(outcome.output, "FAULT"), facts(outcome.output, "WARNING")
    for words in (
        "NEW_USER_PASSWORD: must be 8 to 100",
        '"MOBILE": invalid identifier',
        "table U_SHOES -> ",
        "the org unit /Nowhere (SUSPENDED_OU) does not exist -> create it with --setup",
        "Synchronization_Data.Shoe_Size does not exist",
    ):
        assert sum(words in line for line in faults) == 1, (words, faults)
    assert len(faults) == 5, faults
    assert sum("config.py names the org unit /Gone" in line for line in warnings) == 1, warnings
    assert "a run tonight" not in outcome.output, "it would be refused"
    assert_paste_safe(bed, outcome.output)

    for name in faulty:
        del bed.settings[name]
    outcome = bed.run("--check")
    assert outcome.exit_code == 1
    assert "GOOGLE_DOMAINS names (domain), which no address in Google has -> correct it" in outcome.output
    assert "2 staff, 1 of them active" in outcome.output
    assert "a run tonight would do: suspend 1, move to suspended 1" in outcome.output, outcome.output
    assert_paste_safe(bed, outcome.output)


def test_an_extension_column_that_is_a_clob_is_read_as_text(bed: Bed) -> None:
    """As an aggregate of it, such as MAX, Oracle would refuse it with ORA-00932."""
    bed.powerschool.tables["U_HUMANRESOURCES"] = "usersdcid NUMBER(10,0), cellphone CLOB"
    two_people(bed)
    bed.powerschool.add_extension(7, " 847-555-0007 ")
    bed.powerschool.add_extension(8, "8" * 5000)

    checked = bed.run("--check")
    assert not facts(checked.output, "FAULT"), checked.output
    outcome = bed.run()

    assert bed.google.user("maya.patel@d118.org")["customSchemas"]["CrisisGO"]["CellPhone"] == "847-555-0007"
    told(outcome, "ERROR", 8, "(private) does not fit CrisisGO.CellPhone")
    assert outcome.exit_code == 1


def test_the_check_tries_what_a_run_asks_of_both_sides(one_to_create: Bed) -> None:
    bed = one_to_create
    rehearsal, checked = bed.run("--dry-run"), bed.run("--check")
    assert len(rehearsal.statements) > 4
    assert {*rehearsal.statements} <= {*checked.statements}
    assert {request.method for request in rehearsal.requests} <= {request.method for request in checked.requests}
    # The statement of the run itself, not only one like it that returns no row.
    bed.oracle.faults.fail("status = :status_current", 1555)
    (fault,) = facts(bed.run("--check").output, "FAULT")
    assert "ORA-01555" in fault


def test_a_refused_database_login_does_not_keep_it_from_google_and_is_tried_once(bed: Bed) -> None:
    two_people(bed)
    bed.environment["POWERSCHOOL_DB_PASSWORD"] = "wrong-Password-1"
    outcome = bed.run("--check")
    (fault,) = facts(outcome.output, "FAULT")
    assert "ORA-01017" in fault
    assert "Google accounts: 2" in outcome.output
    assert bed.oracle.failed_logins == 1
    assert_paste_safe(bed, outcome.output)
    assert "wrong-Password-1" not in outcome.output


def test_faulty_settings_do_not_end_it_and_both_sign_ins_are_tried(bed: Bed) -> None:
    bed.config_text = "STAF_OU = '/x'\nLIMITS = 3\nHANDS_OFF = {'maya patel': ('on leave', '2099-01-01')}\n"
    outcome = bed.run("--check")
    faults = facts(outcome.output, "FAULT")
    assert outcome.exit_code == 2
    shown = [line.partition(" -> ")[2] for line in faults]
    assert shown == [
        "HANDS_OFF must be an address or a DCID",
        "LIMITS must be entries in {}, each with a colon",
        "STAF_OU is not a setting: is STAFF_OU meant?",
    ]
    assert "PowerSchool can be reached" in outcome.output
    assert "Google: signed in" in outcome.output
    assert_paste_safe(bed, outcome.output)
    assert "maya" not in outcome.output

    outcome = bed.run("--check", env={"POWERSCHOOL_PROD_DB": None})
    assert "POWERSCHOOL_PROD_DB: is not set -> set it for the account" in outcome.output


def test_no_host_of_a_whole_connect_descriptor_is_shown(bed: Bed) -> None:
    port = bed.oracle.dsn.partition(":")[2].partition("/")[0]
    descriptor = (
        f"(DESCRIPTION=(ADDRESS=(PROTOCOL=TCP)(HOST=db-host.invalid)(PORT={port}))(CONNECT_DATA=(SERVICE_NAME=X)))"
    )
    for dsn in (
        descriptor,
        f"tcp://db-host.invalid:{port}/X",
        f"db-host.invalid:{port}/X",
        f"db-host.invalid,b:{port}/X",
    ):
        outcome = bed.run("--check", env={"POWERSCHOOL_PROD_DB": dsn})
        assert ", signing in -> " in "".join(facts(outcome.output, "FAULT"))
        assert "db-host" not in outcome.output, dsn


def test_what_would_stop_the_run_or_hold_it_is_told_without_names(bed: Bed) -> None:
    for dcid in range(1, 8):
        bed.powerschool.add_person(dcid, "Mona", f"Adler{dcid}", f"p{dcid}@d118.org", schools={5: 1})
        matching_account(bed, dcid, email=f"other{dcid}@d118.org", given="Some", family="Body", employee_id=None)
    outcome = bed.run("--check")
    assert "7 of 7 accounts look like somebody else's by their DCID" in "".join(facts(outcome.output, "FAULT"))
    assert_paste_safe(bed, outcome.output)

    for dcid in range(1, 8):
        bed.powerschool.leave(dcid)
    outcome = bed.run("--check")
    assert "PowerSchool returned no active staff" in "".join(facts(outcome.output, "FAULT"))


@pytest.mark.measured
def test_readable_phones_waiting_people_and_limits_are_told(bed: Bed) -> None:
    two_people(bed)
    bed.google.add_schema("Phones", {"Cell": {"fieldType": "STRING", "readAccessType": "ALL_DOMAIN_USERS"}})
    bed.settings["CUSTOM_SCHEMAS"] = {"Synchronization_Data": {"DCID": "dcid"}, "Phones": {"Cell": "cell_phone"}}
    bed.settings["LIMITS"] = {"suspend": 0}
    bed.powerschool.add_school(777, "New School")
    bed.powerschool.add_person(9, "Eli", "Moss", "eli.moss@d118.org", schools={777: 1})
    bed.powerschool.add_person(10, "Ida", "Lost", "ida.lost@d118.org", schools={5: 1}, homeschool=4711)
    bed.powerschool.leave(7)

    outcome = bed.run("--check")

    warnings = facts(outcome.output, "WARNING")
    for words in (
        "Phones.Cell: STRING, indexed, ALL_DOMAIN_USERS -> everybody in the domain, students too, can read it",
        "suspend: 1 person, the limit is 0, so nobody of these is changed -> look at them in a dry run",
    ):
        assert sum(words in line for line in warnings) == 1, (words, outcome.output)
    (fault,) = facts(outcome.output, "FAULT")
    assert "org unit /D118 Staff/New School Staff does not exist; waiting for it: 1 person" in fault
    assert outcome.exit_code == 2


def test_a_directory_without_dcids_is_told_to_be_linked_first(bed: Bed) -> None:
    two_people(bed, fields={})
    outcome = bed.run("--check")
    assert "suspend: only 0 of the 2 active staff found in Google carry their DCID: link them first" in outcome.output
    assert outcome.exit_code == 1


def test_settings_that_protect_or_place_nobody_are_told_by_the_check_and_the_run(bed: Bed) -> None:
    two_people(bed)
    bed.settings["HANDS_OFF"] = {
        "Maya.Patel@d118.org": ("on leave", "2099-12-31"),
        "dcid:8": ("new", "2099-12-31"),
        "may.patel@d118.org": ("typo", "2099-12-31"),
    }
    bed.settings["BUILDING_ALIASES"] = {0: "Wauconda High School", 4711: "Wauconda High School"}
    bed.environment["GOOGLE_ADMIN_EMAIL"] = "nobody@d118.org"
    warnings = "".join(facts(bed.run("--check").output, "WARNING"))
    assert warnings.count("-> correct it or take it out") == 3
    assert "HANDS_OFF names (address), which is no address or DCID on either side" in warnings
    assert "BUILDING_ALIASES names the school numbers 4711" in warnings
    told = bed.run().lines("WARN")
    assert [line.partition(" names ")[2][:19] for line in told[:2]] == ["may.patel@d118.org,", "the school numbers "]
    assert "GOOGLE_ADMIN_EMAIL names nobody@d118.org, which is no account, so it protects no admin" in told[-1]


@pytest.mark.skipif(sys.platform == "win32", reason="file modes protect nothing on Windows")
@pytest.mark.measured
def test_secrets_that_others_can_read_and_a_folder_that_cannot_be_written_are_told(bed: Bed) -> None:
    two_people(bed)
    (bed.folder / "credentials.json").chmod(0o644)
    bed.runs.write_text("not a folder")
    outcome = bed.run("--check")
    assert "other accounts of this machine can read credentials.json -> chmod 600 credentials.json" in outcome.output
    assert "token.json ->" not in outcome.output
    assert f"(folder){os.sep}runs cannot be written by the account" in "".join(facts(outcome.output, "FAULT"))


def test_the_last_good_run_is_one_of_everybody_that_came_to_its_end(bed: Bed) -> None:
    two_people(bed)
    bed.powerschool.leave(7)
    assert "no run yet" in bed.run("--check").output
    assert bed.run("--only", "dcid:8").exit_code == 0
    assert "no run yet" in bed.run("--check").output
    assert bed.run(env={"POWERSCHOOL_DB_PASSWORD": "no"}).exit_code == 2
    assert "WARNING  no run yet of everybody that came to its end" in bed.run("--check").output
    assert bed.run().exit_code == 0
    assert "the last good run was 0.0 days ago" in bed.run("--check").output
    for hours, sign in ((25.9, "good"), (26.1, "WARNING")):
        so_long_ago = datetime.now(timezone.utc) - timedelta(hours=hours)
        (bed.runs / "last-good.txt").write_text(so_long_ago.isoformat(), encoding="utf-8")
        assert re.search(rf"{sign} +the last good run was 1.1 days ago", bed.run("--check").output)
    three_days_ago = datetime.now(timezone.utc) - timedelta(days=3)
    (bed.runs / "last-good.txt").write_text(three_days_ago.isoformat(), encoding="utf-8")
    assert bed.run(env={"POWERSCHOOL_DB_PASSWORD": "no"}).exit_code == 2
    assert "the last good run was 3.0 days ago -> is the scheduled task still there" in bed.run("--check").output


@pytest.mark.measured
def test_a_proxy_without_the_package_that_it_needs_is_a_fault(bed: Bed) -> None:
    # As if PySocks were not installed: to Python a module that is None in sys.modules is not there.
    (bed.folder / "sitecustomize.py").write_text("import sys\nsys.modules['socks'] = None\n")
    outcome = bed.run("--check", env={"PYTHONPATH": str(bed.folder), "PYTHONDONTWRITEBYTECODE": "1"})
    python = f"(python){os.sep}{Path(sys.executable).name}"
    words = f"Google cannot be reached -> HTTPS_PROXY needs a package: run  {python} -m pip install PySocks"
    assert words in "".join(facts(outcome.output, "FAULT"))
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


@pytest.mark.measured
def test_setup_reports_a_wrong_type(bed: Bed, tmp_path: Path) -> None:
    two_people(bed)
    bed.google.add_schema("Text", {"DCID": "STRING"})
    bed.settings["CUSTOM_SCHEMAS"] = {"Text": {"DCID": "dcid"}}
    outcome = bed.run("--setup", "--yes")
    assert (outcome.exit_code, outcome.writes) == (1, [])
    assert "Text.DCID is STRING, but a DCID needs a whole number" in outcome.output


@pytest.mark.measured
def test_a_dcid_that_is_not_indexed_is_told(bed: Bed) -> None:
    two_people(bed)
    bed.google.add_schema("Slow", {"DCID": {"fieldType": "INT64", "indexed": False}})
    bed.settings["CUSTOM_SCHEMAS"] = {"Slow": {"DCID": "dcid"}}
    warnings = "".join(facts(bed.run("--check").output, "WARNING"))
    assert "Slow.DCID: INT64, not indexed, ADMINS_AND_SELF -> index it" in warnings


@pytest.mark.measured
def test_a_setup_without_its_two_scopes_names_these(bed: Bed) -> None:
    two_people(bed)
    bed.settings["CUSTOM_SCHEMAS"] = {"Synchronization_Data": {"DCID": "dcid", "Shoe": "staff_group"}}
    bed.google.write_service_account(bed.folder, scopes=NEEDED_SCOPES)
    bed.google.add_user("admin@d118.org", "Ad", "Min", admin=True)
    bed.environment["GOOGLE_ADMIN_EMAIL"] = "admin@d118.org"
    outcome = bed.run("--setup", "--yes")
    assert (outcome.exit_code, outcome.writes) == (2, [])
    assert f"delegation for exactly these scopes: {' '.join(SETUP_SCOPES)} [" in outcome.lines("ERROR")[-1]


def test_a_run_of_some_only_or_an_undo_says_nothing_of_the_scheduled_task(bed: Bed) -> None:
    two_people(bed)
    bed.powerschool.leave(7)
    assert bed.run("--only", "dcid:7").exit_code == 0
    assert "no run yet" in bed.run("--check").output
    assert bed.run("--undo", "last", "--yes").exit_code == 0
    assert "no run yet" in bed.run("--check").output
    bed.powerschool.affiliations(7)[0]["status"] = 1
    assert bed.run().exit_code == 0
    assert "the last good run was 0.0 days ago" in bed.run("--check").output


def test_setup_leaves_a_protected_org_unit_to_a_person(bed: Bed) -> None:
    two_people(bed)
    bed.settings["PROTECTED_OUS"] = ["/Studnets"]
    outcome = bed.run("--setup", "--yes")
    assert (outcome.exit_code, outcome.writes) == (1, [])
    assert [line.partition(": ")[2] for line in outcome.lines("ERROR")] == [
        "the org unit /Studnets (PROTECTED_OUS) does not exist: did you mean /Students? Correct PROTECTED_OUS"
    ]


def test_a_log_in_another_encoding_or_none_at_all_does_not_keep_the_check_from_its_end(one_in_step: Bed) -> None:
    bed = one_in_step
    add_known(bed, 7)
    assert bed.run("--setup", "--yes").exit_code == 0
    log = bed.folder / "StaffLog.txt"
    assert not log.exists(), "a set-up is no run"
    code, output = screen(bed, "--check")
    assert (code, "WARNING  no run yet" in output) == (1, True), output

    log.write_bytes("2026-11-23 06:00:00 INFO  Done: nothing.\n".encode("utf-16"))
    code, output = screen(bed, "--check")
    assert code == 1, output
    assert "WARNING  no run yet of everybody that came to its end" in output
    assert "a run tonight would do: nothing" in output

    log.unlink()
    log.mkdir()
    code, output = screen(bed, "--check")
    assert code == 2, output
    assert f"FAULT    (folder){os.sep}StaffLog.txt cannot be written by the account" in output
    assert "a run tonight would do: nothing" in output


def test_an_org_unit_spelt_in_two_cases_is_needed_once(one_in_step: Bed) -> None:
    bed = one_in_step
    bed.settings["BUILDING_OUS"] = {5: "/New Staff", 101: "/new staff"}
    bed.powerschool.add_person(8, "Noor", "Haddad", NOOR, schools={101: 1})
    shown = bed.run("--setup", "--dry-run").output
    assert shown.lower().count("missing: the org unit /new staff") == 1


@pytest.mark.measured
def test_the_check_shows_no_dcids_of_accounts_that_look_like_somebody_elses(one_in_step: Bed) -> None:
    bed = one_in_step
    for dcid in range(2, 9):
        bed.powerschool.add_person(dcid, "Mona", f"Adler{dcid}", f"p{dcid}@d118.org", schools={5: 1})
        matching_account(bed, dcid, email=f"other{dcid}@d118.org", given="Some", family="Body", employee_id=None)
    output = bed.run("--check").output
    assert "7 of 8 accounts look like somebody else's" in output
    assert "Look at some of them with --explain" in output
    assert not re.search(r"dcid:\s*\d", output, re.IGNORECASE)


@pytest.mark.parametrize(
    "name", ["jane.smith/Staff Sync (prod)", r"C:\Users\jane.smith\Staff Sync (prod)", r"\\files\jane.smith\sync"]
)
@pytest.mark.skipif(sys.platform == "win32", reason="the names of folders have no backslash there")
def test_a_check_shows_nothing_of_its_folder_but_the_name_of_the_file(tmp_path: Path, name: str) -> None:
    with standard_bed(tmp_path / name) as bed:
        (bed.folder / "token.json").write_text("half", "utf-8")
        output = bed.run("--check").output
        # As in the words of many an error, where backslashes are doubled.
        bed.config_text = f"raise ValueError({f'cannot open {str(bed.folder)!r}'!r})\n"
        broken = bed.run("--check").output
    assert "token.json is damaged (no JSON object)" in output
    assert "cannot open '(folder)'" in broken
    for shown in (output, broken):
        assert not re.search(r"jane|smith|files|Users|prod\b", shown), shown


@pytest.mark.measured
def test_a_check_hides_the_hosts_and_folders_in_whatever_words_an_error_has(bed: Bed) -> None:
    # The first is the host of the proxy, the second that of the database.
    words = r"127.0.0.1:3128 or db7.invalid refuses what D:\jane.smith\other\wallet.ora says, not x.db7.invalid"
    bed.config_text = f"raise ValueError({words!r})\n"
    output = bed.run("--check", env={"POWERSCHOOL_PROD_DB": "db7.invalid:1521/PSPRODDB"}).output
    assert "(host):3128 or (host) refuses what wallet.ora says, not x.db7.invalid" in output, output
    assert "jane" not in output


def test_a_check_hides_addresses_domains_and_hosts_and_no_word_that_only_begins_like_one(bed: Bed) -> None:
    two_people(bed)
    bed.settings["FROZEN_OUS"] = ["/d118.organic", "/d118.org"]
    bed.settings["HANDS_OFF"] = {"o'neil@staff.d118.org": ("on leave", "2099-01-01")}
    output = bed.run("--check").output
    for words in ("the org unit /d118.organic,", "the org unit /(domain),", "HANDS_OFF names (address),"):
        assert words in output
    assert "neil" not in output
