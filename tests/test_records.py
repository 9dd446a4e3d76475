"""What a run leaves behind: the screen, StaffLog.txt, the journal, the lock; and what must be in none of them."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import subprocess
import sys
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from bed import KILLED, Bed, closing_process, matching_account, matching_fields, read_lines
from stories import HIGH_OU, MIDDLE_OU, SUSPENDED_OU, done, groups_left, journalled, leaver, outdated, person, settle
from test_bad_input import NEW_PASSWORD

import sync

LOG_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (DBUG|INFO|WARN|ERROR) +\S.*")
ON_WINDOWS = sys.platform == "win32"


pytestmark = pytest.mark.usefixtures("one_in_step")


def add_newcomer(bed: Bed) -> None:
    person(bed, 8, "Liam", "Ortiz")


SCHEMA = "customSchemas.Synchronization_Data"


def names_in(folder: Path) -> list[str]:
    beside = {"lock", "last-good.txt", "standing.json"}
    return sorted(path.name for path in folder.iterdir() if path.name not in beside and path.suffix != ".html")


# The log.


def test_the_log_holds_the_newest_run_only_and_runs_keeps_those_that_did_something(bed: Bed) -> None:
    add_newcomer(bed)
    first = bed.run()
    assert "Liam Ortiz" in first.log
    (journal, kept) = names_in(bed.runs)
    assert re.fullmatch(r"\d{8}T\d{6}Z\.jsonl", journal)
    assert kept == journal.replace(".jsonl", ".txt")
    assert (bed.runs / kept).read_text("utf-8") == first.log
    second = bed.run()
    assert not second.writes
    assert second.log != first.log
    assert "create     Liam Ortiz" not in second.log
    assert names_in(bed.runs) == [journal, kept]
    # What is no run by night leaves the log of the night alone.
    for arguments in (("--dry-run",), ("--dry-run", "--verbose", "--only", "1"), ("--version",)):
        assert bed.run(*arguments).log == second.log
    assert names_in(bed.runs) == [journal, kept]


def test_the_screen_and_the_log_say_the_same_and_a_run_that_breaks_off_is_kept_whole(bed: Bed) -> None:
    add_newcomer(bed)
    bed.google.fail("users.insert", 403, "accessNotConfigured", "Not enabled.", times=None)
    outcome = bed.run()
    assert outcome.exit_code == 2
    assert outcome.log.splitlines() == outcome.output.splitlines()
    (kept,) = bed.runs.glob("*.txt")
    assert kept.read_text("utf-8") == outcome.log


def test_verbose_tells_every_request_and_statement(bed: Bed) -> None:
    assert not bed.run("--dry-run").lines("DBUG")
    outcome = bed.run("--verbose")
    told = "\n".join(outcome.lines("DBUG"))
    for request in outcome.requests:
        assert request.method == "token" or request.method in told
    for table in ("SCHOOLS", "USERS", "SCHOOLSTAFF"):
        assert f"reading {table}" in told
    assert " DBUG " in outcome.log
    assert all(LOG_LINE.fullmatch(line) for line in outcome.output.splitlines())


def test_no_name_breaks_out_of_its_line_or_turns_it_round(bed: Bed) -> None:
    fake = "Eve\n2026-11-23 06:00:01 ERROR Smith is locked"
    person(bed, 8, fake, "Ortiz", email="eve.ortiz@d118.org", teacher_number="4\u202e008")
    person(bed, 9, "Ann\r", "Lee\u202e\u2066", email="ann\nlee@d118.org", group=4)
    person(bed, 10, "Tom\u2028", "Kay\x1b[31m", email="tom.kay@gmail.com")
    bed.google.add_user("orphan@d118.org", "Or\u202ephan", "Li\nne", fields={"Synchronization_Data": {"DCID": 99}})
    for arguments in (("--dry-run",), ("--verbose",)):
        outcome = bed.run(*arguments)
        shown = outcome.output + (outcome.log if arguments == ("--verbose",) else "")
        assert all(LOG_LINE.fullmatch(line) for line in shown.splitlines()), shown
        assert not re.search("[\u200e\u200f\u2028\u202a-\u202e\u2066-\u2069\x1b\r]", shown)
        assert not any(line.startswith("2026-11-23") for line in shown.splitlines())


def test_a_console_that_cannot_show_a_name_shows_escapes_and_the_log_the_name(bed: Bed) -> None:
    person(bed, 8, "Zo\u00eb", "\u0141ukasik", email="zoe.lukasik@d118.org")
    outcome = bed.run(env={"PYTHONIOENCODING": "ascii"})
    assert outcome.exit_code == 0
    assert outcome.output.isascii()
    assert "Zo\\xeb \\u0141ukasik" in outcome.output
    assert "Zo\u00eb \u0141ukasik" in outcome.log
    assert bed.google.user("zoe.lukasik@d118.org")["name"]["givenName"] == "Zo\u00eb"


@pytest.mark.measured
def test_a_run_without_any_console_works_and_logs(bed: Bed) -> None:
    # As under pythonw.exe by the Task Scheduler.
    bed.prelude = "import sys\nsys.stdin = sys.stdout = sys.stderr = None"
    add_newcomer(bed)
    outcome = bed.run()
    assert outcome.exit_code == 0
    assert outcome.output == ""
    assert "Liam Ortiz" in outcome.log
    assert len(outcome.writes) == 1
    (bed.folder / "token.json").unlink()
    refused = bed.run()
    assert refused.exit_code == 2
    assert "sync.py --authorize" in refused.log
    # Nothing to show the usage on.
    assert bed.run("--no-such-option").exit_code == 2


# The journal.


def whole_district(bed: Bed) -> None:
    """One person for each kind of change."""
    person(bed, 11, "Cora", "Create")
    person(bed, 12, "Leo", "Link")
    bed.google.add_user("leo.link@d118.org", "Leo", "Link", ou=HIGH_OU)
    settle(bed, 13, "Rita", "Newname", email="rita.oldname@d118.org", family="Oldname", aliases=["rita@d118.org"])
    settle(bed, 14, "Moe", "Move", ou=MIDDLE_OU)
    person(bed, 15, "Una", "Update", cell_phone=None)
    fields = matching_fields(bed, 15, Staff_Group=4, CellPhone="847-555-0015")
    matching_account(bed, 15, fields=fields, employee_id="1")
    settle(bed, 16, "Rex", "Reactivate", suspended=True, ou=SUSPENDED_OU)
    leaver(bed, 17, "Lea", "Leaver")
    bed.google.add_group("staff@d118.org", members={"lea.leaver@d118.org": "MANAGER", "sam.stays@d118.org": "OWNER"})


def test_the_journal_has_a_line_before_and_after_each_change_with_what_was_and_what_is(bed: Bed) -> None:
    whole_district(bed)
    bed.environment["NEW_USER_PASSWORD"] = NEW_PASSWORD
    outcome = bed.run()
    assert outcome.exit_code == 0, outcome.output
    journal = outcome.journal
    keys = ["time", "change", "state", "dcid", "account", "email", "kind", "before", "after", "error"]
    assert all(list(line) == keys for line in journal)
    assert all(datetime.fromisoformat(line["time"]).utcoffset() is not None for line in journal)
    assert [line["time"] for line in journal] == sorted(line["time"] for line in journal)
    assert {line["error"] for line in journal} == {""}
    # Every write has a number of its own; of each number the lines intended come before those done.
    assert {line["change"] for line in journal} == set(range(1, len(outcome.writes) + 1))
    for number in range(1, len(outcome.writes) + 1):
        lines = [line for line in journal if line["change"] == number]
        half = len(lines) // 2
        assert [line["state"] for line in lines] == ["intended"] * half + ["done"] * half
        assert [line["kind"] for line in lines[:half]] == [line["kind"] for line in lines[half:]]
        assert [line["after"] for line in lines[:half]] == [line["after"] for line in lines[half:]]
    assert {line["dcid"] for line in journal} == set(EMAILS)
    # Of a created account the id is known afterwards only; of all others before and after.
    ids = {dcid: bed.google.user(email)["id"] for dcid, email in EMAILS.items()}
    assert all(line["account"] == ids[line["dcid"]] for line in journal if line["state"] == "done")
    assert all(line["account"] == ids[line["dcid"]] for line in journal if line["kind"] != "create"
               and line["state"] == "intended")  # fmt: skip
    kinds = [(line["dcid"], line["kind"]) for line in journal if line["state"] == "done"]
    assert len(kinds) == len(set(kinds)), "each comes once"
    assert {dcid: sorted(kind for of, kind in kinds if of == dcid) for dcid in EMAILS} == {
        11: ["create"], 12: ["link", "update"], 13: ["name", "rename"], 14: ["move"], 15: ["update"],
        16: ["move", "reactivate"], 17: ["leave group", "move to suspended", "suspend"],
    }  # fmt: skip


EMAILS = {
    11: "cora.create@d118.org", 12: "leo.link@d118.org", 13: "rita.newname@d118.org", 14: "moe.move@d118.org",
    15: "una.update@d118.org", 16: "rex.reactivate@d118.org", 17: "lea.leaver@d118.org",
}  # fmt: skip


def test_before_in_the_journal_is_all_that_is_needed_to_put_it_back(bed: Bed) -> None:
    whole_district(bed)
    outcome = bed.run()

    _, created = journalled(outcome, 11, "create")
    assert (created["primaryEmail"], created["orgUnitPath"]) == ("cora.create@d118.org", HIGH_OU)
    assert created["externalIds"] == "4011"
    assert "password" not in json.dumps(outcome.journal).lower()
    emails = {(line["dcid"], line["kind"]): line["email"] for line in outcome.journal}
    assert (emails[11, "create"], emails[13, "rename"]) == ("cora.create@d118.org", "rita.oldname@d118.org")
    numbers = {(line["dcid"], line["kind"]): line["change"] for line in outcome.journal}
    assert numbers[13, "rename"] == numbers[13, "name"]

    group, phone = f"{SCHEMA}.Staff_Group", "customSchemas.CrisisGO.CellPhone"
    old, new = {"name.givenName": "Rita", "name.familyName": "Oldname"}, {
        "name.givenName": "Rita", "name.familyName": "Newname",
    }  # fmt: skip
    for dcid, kind, before, after in (
        (12, "link", {f"{SCHEMA}.DCID": ""}, {f"{SCHEMA}.DCID": "12"}),
        (13, "rename", {"primaryEmail": "rita.oldname@d118.org", "aliases": "rita@d118.org"},
         {"primaryEmail": "rita.newname@d118.org"}),
        (13, "name", old, new),
        (14, "move", {"orgUnitPath": MIDDLE_OU}, {"orgUnitPath": HIGH_OU}),
        # The journal alone keeps private values: they have to be put back from somewhere.
        (15, "update", {group: "4", phone: "847-555-0015", "externalIds": "1"},
         {group: "9", phone: "", "externalIds": "4015"}),
        # Where it lay when it was suspended is noted too: a later run goes by it.
        (17, "suspend", {"suspended": "false", "orgUnitPath": HIGH_OU}, {"suspended": "true"}),
        (17, "move to suspended", {"orgUnitPath": HIGH_OU}, {"orgUnitPath": SUSPENDED_OU}),
    ):  # fmt: skip
        assert journalled(outcome, dcid, kind) == (before, after)
    before, after = journalled(outcome, 16, "reactivate")
    assert (before["suspended"], after["suspended"]) == ("true", "false")
    assert groups_left(outcome) == {"staff@d118.org": "MANAGER"}


def test_before_is_what_google_has_at_the_moment_of_the_write(bed: Bed) -> None:
    # An admin works on the account between the listing and the write.
    settle(bed, 14, "Moe", "Move", ou=MIDDLE_OU)
    outdated(bed, 15, "Una", "Update")

    def work(request: Any, when: str) -> None:
        if request.method == "users.list" and when == "after":
            bed.google.hook = None
            bed.google.call("users.update", {"userKey": "moe.move@d118.org"}, {"orgUnitPath": "/Substitute Teachers"})
            schemas = {"customSchemas": {"Synchronization_Data": {"Staff_Group": 9}}}
            bed.google.call("users.update", {"userKey": "una.update@d118.org"}, schemas)

    bed.google.hook = work
    outcome = bed.run()
    assert outcome.exit_code == 0
    before, _ = journalled(outcome, 14, "move")
    assert before == {"orgUnitPath": "/Substitute Teachers"}
    # What an admin already did is neither done again nor journalled.
    assert {dcid for dcid, _ in done(outcome)} == {14}
    assert len(outcome.writes) == 1


def test_the_journal_tells_failed_from_unknown(bed: Bed) -> None:
    settle(bed, 14, "Moe", "Move", ou=MIDDLE_OU)
    bed.google.fail("users.update", 400, "invalid", "Invalid Input.", times=None)
    outcome = bed.run()
    assert outcome.exit_code == 1
    assert [line["state"] for line in outcome.journal] == ["intended", "failed"]
    assert "Invalid Input." in outcome.journal[1]["error"]
    assert len(list(bed.runs.glob("*Z.txt"))) == 1

    # The answer is lost, and Google stays away: nobody can say whether it was done.
    bed.google.behave()

    def vanish(request: Any, when: str) -> None:
        if request.method == "users.update" and when == "before":
            bed.google.fail("*", close=True, when="after", times=None)

    bed.google.hook = vanish
    outcome = bed.run()
    assert outcome.exit_code in {1, 2}
    assert [line["state"] for line in outcome.journal] == ["intended", "unknown"]
    assert outcome.journal[1]["error"]
    assert bed.google.user("moe.move@d118.org")["orgUnitPath"] == HIGH_OU
    bed.google.behave()
    assert not bed.run().writes


@pytest.mark.measured
def test_a_journal_that_cannot_be_written_stops_the_run_before_the_write(bed: Bed) -> None:
    add_newcomer(bed)

    def block(request: Any, when: str) -> None:
        # The journal is opened at the first change; its name is that of the run, known to the second.
        if request.method == "users.list" and when == "after":
            started = re.search(r"run (\d{8}T\d{6}Z)", (bed.folder / "StaffLog.txt").read_text("utf-8"))
            assert started
            (bed.runs / f"{started[1]}.jsonl").mkdir(exist_ok=True)

    bed.google.hook = block
    bed.write()
    with closing_process(bed.launch(), 60) as process:
        output = read_lines(process, None)
    assert process.returncode == 2
    assert "Traceback" not in output
    last = output.splitlines()[-1]
    assert "without a journal nothing is changed" in last
    assert last.endswith("Nothing was written")
    assert not bed.google.attempted_writes


@pytest.mark.skipif(ON_WINDOWS, reason="file modes protect nothing there")
def test_what_holds_names_and_tokens_is_for_its_owner_alone(bed: Bed) -> None:
    add_newcomer(bed)
    bed.run()
    files = [*bed.runs.glob("*.jsonl"), *bed.runs.glob("*.txt"), bed.folder / "token.json", bed.runs / "standing.json"]
    assert len(files) == 5
    assert {oct(stat.S_IMODE(path.stat().st_mode)) for path in files} == {"0o600"}


def test_what_is_older_than_keep_days_is_dropped_and_nothing_else(bed: Bed) -> None:
    bed.settings["KEEP_DAYS"] = 30
    bed.runs.mkdir()

    def named(days: float) -> str:
        return f"{datetime.now(timezone.utc) - timedelta(days=days):%Y%m%dT%H%M%SZ}"

    old, young = named(30.5), named(29.5)
    dropped = {f"{old}.jsonl", f"{old}.txt"}
    kept = {f"{young}.jsonl", f"{young}.txt", "notes.txt", "Zoo.Z.txt", "Zeugnis Z.jsonl", f"{old}.zip"}
    # Never the newest thirty journals, whatever their age.
    kept |= {f"{named(29 - days / 10)}.jsonl" for days in range(29)}
    for name in dropped | kept:
        path = bed.runs / name
        path.write_text("")
        os.utime(path, (1, 1))
    for day in (old, young):
        (bed.runs / f"{day}.html").write_text("")
    bed.run("--dry-run")
    assert set(names_in(bed.runs)) == dropped | kept
    bed.run()
    assert set(names_in(bed.runs)) == kept
    assert [(bed.runs / f"{day}.html").exists() for day in (old, young)] == [False, True]


# The lock.


@pytest.mark.measured
def test_a_second_run_at_once_ends_with_exit_code_4_and_does_nothing(bed: Bed) -> None:
    add_newcomer(bed)
    bed.settings["TIMEOUT_SECONDS"] = 60
    bed.write()
    reached, release = threading.Event(), threading.Event()

    def hold(request: Any, when: str) -> None:
        if request.method == "users.insert" and when == "before":
            bed.google.hook = None
            reached.set()
            release.wait(50)

    bed.google.hook = hold
    try:
        with closing_process(bed.launch(), 90) as first:
            assert reached.wait(60)
            log = (bed.folder / "StaffLog.txt").read_text("utf-8")
            bed.settings |= {"MAIL_TO": ["it@d118.org"], "MAIL_FROM": "sync@d118.org", "SMTP_HOST": "127.0.0.1"}
            bed.settings |= {"MAIL_WHEN": "always", "SMTP_PORT": 9}
            second = bed.run()
            assert second.exit_code == 4, second.output
            assert "mail" not in second.output
            (sentence,) = second.lines("ERROR")
            assert "did nothing" in sentence
            assert not second.requests
            assert not second.statements
            # The log is the first one's.
            assert second.log == log
            # A dry run takes no lock.
            assert bed.run("--dry-run").exit_code == 0
            release.set()
            output = read_lines(first, None)
    finally:
        release.set()
    assert first.returncode == 0, output
    assert bed.google.user("liam.ortiz@d118.org")
    third = bed.run()
    assert third.exit_code == 0
    assert not third.writes


def test_a_killed_run_leaves_no_lock_that_needs_a_person(bed: Bed) -> None:
    add_newcomer(bed)
    bed.write()
    running: list[Any] = []
    launched = threading.Event()

    def kill(request: Any, when: str) -> bool:
        if request.method != "users.insert" or when != "before":
            return False
        launched.wait(30)
        for process in running:
            process.kill()
            process.wait(30)
        return bool(running)

    bed.google.hook = kill
    with closing_process(bed.launch(), 60) as process:
        running.append(process)
        launched.set()
        read_lines(process, None)
    assert process.returncode == KILLED
    (journal,) = bed.runs.glob("*.jsonl")
    assert [json.loads(line)["state"] for line in journal.read_text("utf-8").splitlines()] == ["intended"]
    running.clear()  # the hook stays: taken away too early, it would let the killed request through
    outcome = bed.run()
    assert outcome.exit_code == 0, outcome.output
    assert [write.method for write in outcome.writes] == ["users.insert"]


def test_a_reason_that_no_log_holds_goes_to_the_mail_of_cron_too(bed: Bed) -> None:
    bed.write()
    (bed.folder / "StaffLog.txt").mkdir()
    process = subprocess.run(
        [sys.executable, str(bed.script), "--config", str(bed.config)],
        env=bed.process_environment(), cwd=bed.elsewhere, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert process.returncode == 2
    assert process.stderr.startswith("Staff Sync: ")
    assert "StaffLog.txt cannot be written by the account" in process.stderr
    assert "Traceback" not in process.stderr
    (bed.folder / "StaffLog.txt").rmdir()
    bed.settings["STAFF_OU"] = 3
    bed.write()
    process = subprocess.run(
        [sys.executable, str(bed.script), "--config", str(bed.config)],
        env=bed.process_environment(), cwd=bed.elsewhere, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert process.returncode == 2
    assert not process.stderr, "this one is in StaffLog.txt"


@pytest.mark.skipif(ON_WINDOWS, reason="as in a shell pipe")
@pytest.mark.measured
def test_a_screen_that_nobody_reads_any_more_does_not_stop_the_run(bed: Bed) -> None:
    add_newcomer(bed)
    bed.write()
    process = subprocess.Popen(
        [sys.executable, str(bed.script), "--config", str(bed.config), "--verbose"],
        env=bed.process_environment(), cwd=bed.elsewhere, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    complaints = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 0
    assert not complaints
    assert bed.google.user("liam.ortiz@d118.org")
    assert "Done: create 1." in (bed.folder / "StaffLog.txt").read_text("utf-8")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
def test_what_root_writes_belongs_to_the_account_of_the_folder(bed: Bed) -> None:
    add_newcomer(bed)
    os.chown(bed.folder, 65534, 65534)
    assert bed.run("--dry-run").exit_code == 0
    assert bed.run().exit_code == 0
    left = [bed.folder / "StaffLog.txt", bed.runs, *bed.runs.iterdir()]
    assert {path.name: path.stat().st_uid for path in left} == {path.name: 65534 for path in left}
    assert len(left) == 9


def test_new_passwords_that_nobody_knows_are_told(bed: Bed) -> None:
    add_newcomer(bed)
    known = bed.run("--dry-run", env={"NEW_USER_PASSWORD": NEW_PASSWORD})
    assert "password nobody knows" not in known.output
    words = "password nobody knows: reset it in the Admin console (1): Liam Ortiz"
    assert f"new: {words}" in bed.run().output
    again = bed.run()
    assert f"since today: {words}" in again.output
    assert again.exit_code == 0
    account = bed.google.users[bed.google.user("liam.ortiz@d118.org")["id"]]
    account["lastLoginTime"] = "2026-11-27T06:00:00.000Z"
    assert "solved: password nobody knows: Liam Ortiz" in bed.run().output


def test_a_password_is_unknown_where_an_account_may_have_been_created_and_not_where_google_refused(bed: Bed) -> None:
    add_newcomer(bed)
    bed.google.fail("users.insert", 400, "invalid", "Invalid Input: name")
    assert "password nobody knows" not in bed.run().output
    bed.google.fail("users.insert", times=None)
    assert "new: password nobody knows: reset it in the Admin console (1): Liam Ortiz" in bed.run().output


# Secrets and bugs.


def test_no_secret_is_in_anything_a_run_leaves_behind(bed: Bed) -> None:
    add_newcomer(bed)
    settle(bed, 14, "Moe", "Move", ou=MIDDLE_OU)
    bed.environment["NEW_USER_PASSWORD"] = NEW_PASSWORD
    bed.settings["RETRY_SECONDS"] = 0.05
    google, oracle = bed.google, bed.oracle.faults
    html = b"<html><body>Bad gateway</body></html>"
    faults: list[Any] = [
        lambda: oracle.fail("from users", 942, times=1),
        lambda: setattr(oracle, "login_code", 28000),
        lambda: setattr(google, "token_fault", "invalid_grant"),
        lambda: setattr(google, "token_fault", "invalid_client"),
        lambda: setattr(google, "token_fault", "503"),
        lambda: google.fail("users.list", 401, "authError", "Invalid Credentials", times=None),
        lambda: google.fail("users.list", 502, body=html, times=None),
        lambda: google.fail("users.insert", 400, "invalid", "Invalid Password", times=None),
        lambda: google.fail("users.insert", 409, "duplicate", "Entity already exists.", times=None),
        lambda: google.fail("users.insert", close=True, times=None),
        lambda: google.fail("users.*", 403, "forbidden", times=None),
        lambda: google.fail("*", 429, "rateLimitExceeded", times=None),
        lambda: google.fail("users.list", 200, body=b'{"users": [{}]}', times=None),
        lambda: None,
    ]
    for fault in faults:
        bed.google.behave()
        oracle.login_code = None
        fault()
        # Who moved in an earlier round moves again, so that every round has an update to make.
        google.call("users.update", {"userKey": "moe.move@d118.org"}, {"orgUnitPath": MIDDLE_OU})
        outcome = bed.run("--verbose", allow_traceback=True)
    assert google.user("liam.ortiz@d118.org")
    assert outcome.exit_code == 0


@pytest.mark.skipif(ON_WINDOWS, reason="Windows locks by another call")
def test_a_folder_that_cannot_be_locked_is_not_taken_for_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    words = r"lock cannot be locked by the account .+ \(No locks available\): keep this folder on a local disk"
    with pytest.raises(sync.RunError, match=words) as caught:
        sync.take_lock(sync.Run(tmp_path, datetime.now(timezone.utc)))
    assert caught.value.exit_code == 2


def test_a_run_of_some_or_an_undo_keeps_a_log_of_its_own_failures_included(bed: Bed) -> None:
    add_newcomer(bed)
    whole = (bed.run(), (bed.folder / "StaffLog.txt").read_text("utf-8"))[1]
    before = set(bed.runs.glob("*Z.txt"))
    runs = ((("--only", "dcid:8"), 0), (("--undo", "last", "--yes"), 0), (("--only", "dcid:9"), 2), (("--undo", ""), 2))
    for arguments, code in runs:
        outcome = bed.run(*arguments)
        assert outcome.exit_code == code
        (kept,) = set(bed.runs.glob("*Z.txt")) - before
        assert kept.read_text("utf-8") == outcome.log
        assert outcome.output.splitlines()[-1] in outcome.log
        before.add(kept)
    assert (bed.folder / "StaffLog.txt").read_text("utf-8") == whole
