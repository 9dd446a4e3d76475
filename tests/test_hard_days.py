"""What stops a server, and what misleads its admin: waits without end, odd values, full disks, clocks, settings.

Nothing here may hang, crash without a sentence, lose the truth of the journal, or be silent about what is wrong.
"""

from __future__ import annotations

import codecs
import importlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bed import (
    CURRENT,
    PROJECT,
    SIGNED_IN_SCOPES,
    Bed,
    Outcome,
    closing_process,
    matching_account,
    matching_fields,
    read_lines,
    shipped_settings,
    standard_bed,
)
from google_server import ODD_ANSWERS, SCOPE_PREFIX, Request
from stories import (
    GRADE,
    HIGH,
    MIDDLE,
    NO_BROWSER,
    OU_OF,
    SUBSTITUTE,
    SUBSTITUTES,
    SUSPENDED_OU,
    errors,
    leaver,
    newest_journal,
    of_account,
    outdated,
    person,
    settle,
    signalled,
    type_at_terminal,
)

import sync

ON_WINDOWS = sys.platform == "win32"
TOO_SOON = "RUN_MINUTES has been over for some time"


def settled(bed: Bed, count: int = 4, school: int = HIGH) -> None:
    """People about whom both sides agree."""
    for dcid in range(900, 900 + count):
        person(bed, dcid, "Kim", f"Settled{'abcdefghijklmnopqrstuvwxyz'[dcid - 900]}", school)
        matching_account(bed, dcid)


def group_of(bed: Bed, email: str) -> str:
    """The Staff_Group that the account has in Google."""
    return str(bed.google.user(email)["customSchemas"]["Synchronization_Data"].get("Staff_Group"))


def showing(values: dict[str, Any]) -> Callable[[dict[str, Any]], Any]:
    """For `google.shown`: what Google has, but with these values."""
    return lambda own: {**own, **values}


def last_line(output: str) -> str:
    return output.splitlines()[-1]


def together(bed: Bed, *commands: tuple[str, ...]) -> list[tuple[int, str]]:
    """Exit code and screen of several commands that run side by side."""
    bed.write()
    bed.google.reset_records()
    started = [bed.launch(*arguments) for arguments in commands]
    ended = []
    for process in started:
        with closing_process(process, 60):
            output = read_lines(process, None)
        ended.append((process.returncode, output))
    return ended


def plainly(
    bed: Bed, *arguments: str, config: Path | None = None, env: dict[str, str | None] | None = None
) -> subprocess.CompletedProcess[str]:
    """The script with its two outputs apart, as cron would have them."""
    return subprocess.run(
        [sys.executable, str(bed.script), "--config", str(config or bed.config), *arguments],
        env=bed.process_environment(env), cwd=bed.elsewhere, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


# Nothing is waited for for ever.


@pytest.mark.parametrize("who", ["google", "token", "oracle"])
def test_every_command_ends_by_itself_when_an_answer_drips(bed: Bed, who: str) -> None:
    settled(bed)
    bed.settings |= {"RUN_MINUTES": 0.02, "TIMEOUT_SECONDS": 1}
    if who == "oracle":
        bed.oracle.faults.drip = "FROM users"
    else:
        bed.google.fail("users.list" if who == "google" else "token", drip=True, times=None)
    ended = together(bed, (), ("--dry-run",), ("--check",), ("--explain", "dcid:900"))
    for code, output in ended:
        assert code == 2, output
        assert TOO_SOON in last_line(output), output
        assert last_line(output).endswith("Nothing was written"), output
        assert "Traceback" not in output
    bed.google.behave()
    bed.oracle.faults.drip = None
    bed.settings["RUN_MINUTES"] = 5
    assert bed.run().exit_code == 0, "the lock is free again"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a pipe be made so small")
def test_a_screen_that_takes_no_more_lines_holds_no_run_for_ever(bed: Bed) -> None:
    """As a terminal after Ctrl-S, or a window of Windows in which somebody has begun to mark text."""
    import fcntl  # noqa: PLC0415 - there is none on Windows

    settled(bed)
    bed.settings |= {"RUN_MINUTES": 0.02, "TIMEOUT_SECONDS": 0.3}
    for dcid in range(100, 200):
        person(bed, dcid, "Kim", None, HIGH, email=f"kim..{dcid}@d118.org")
    bed.write()
    with closing_process(bed.launch("--dry-run"), 30) as process:
        assert process.stdout
        fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
        assert process.wait() == 2


def test_a_write_that_is_in_flight_at_the_end_is_journalled_as_unknown_and_settled_by_the_next_run(bed: Bed) -> None:
    settled(bed)
    outdated(bed, 1, "Ada", "Stone")
    slow = outdated(bed, 2, "Bo", "Stone")
    outdated(bed, 3, "Cy", "Stone")
    bed.settings |= {"RUN_MINUTES": 0.07, "TIMEOUT_SECONDS": 1}
    bed.google.fail("users.update", drip=True, match=of_account(slow))
    outcome = bed.run()
    assert outcome.exit_code == 2, outcome.output
    assert TOO_SOON in last_line(outcome.output)
    assert last_line(outcome.output).split(" ", 3)[3] in outcome.log, "the last line stands in the log too"
    assert "1 changes were written" in last_line(outcome.output)
    assert [(row["dcid"], row["state"]) for row in outcome.journal] == [
        (1, "intended"), (1, "done"), (2, "intended"), (2, "unknown"),
    ]  # fmt: skip
    (kept,) = bed.runs.glob("*.txt")
    assert kept.read_text("utf-8") == outcome.log
    page = (bed.runs / "latest.html").read_text("utf-8")
    assert "Staff Sync DID NOT FINISH: " in page
    assert "Done before it stopped: update 1." in page
    bed.google.behave()
    bed.settings["RUN_MINUTES"] = 5
    outcome = bed.run()
    assert (outcome.exit_code, [row["dcid"] for row in outcome.journal]) == (0, [3, 3]), outcome.output


@pytest.mark.measured
def test_a_page_token_that_repeats_ends_the_listing_and_what_rests_on_it(bed: Bed) -> None:
    settled(bed)
    leaver(bed, 1, "Ada", "Stone", HIGH)
    outdated(bed, 2, "Bo", "Stone")
    person(bed, 3, "Cy", "Stone", HIGH)
    bed.google.world.endless_listing = "users"
    outcome = bed.run()
    assert (outcome.exit_code, outcome.writes) == (2, [])
    assert "the same page" in last_line(outcome.output)

    bed.google.behave()
    again = b'{"nextPageToken": "again", "users": []}'
    bed.google.fail("users.list", 200, body=again, times=None, match=lambda r: "showDeleted" in r.params)
    outcome = bed.run()
    assert (outcome.exit_code, outcome.writes) == (2, []), outcome.output
    assert "the same page" in last_line(outcome.output)

    # The groups of one leaver concern this one only.
    bed.google.behave()
    bed.google.world.endless_listing = "groups"
    bed.google.add_group("chess@d118.org", members={"ada.stone@d118.org": "MEMBER"})
    outcome = bed.run()
    assert outcome.exit_code == 1, outcome.output
    assert bed.google.user("ada.stone@d118.org")["suspended"]
    assert group_of(bed, "bo.stone@d118.org") == "9"
    assert bed.google.user("cy.stone@d118.org")
    assert [line for line in errors(outcome) if "Ada Stone" in line and "the same page" in line]
    assert len(errors(outcome)) == 1


# One odd value concerns one person or account.


@pytest.mark.measured
def test_an_odd_value_on_one_account_or_person_is_told_and_the_others_are_done(bed: Bed) -> None:
    google, people = bed.google, bed.powerschool
    settled(bed, 6)
    odd_accounts: dict[str, dict[str, Any]] = {
        "Anna": {"name": ["Anna", "Odd"]}, "Bert": {"externalIds": "7"}, "Cora": {"aliases": 5},
        "Dirk": {"customSchemas": ["x"]}, "Elsa": {"name": 5}, "Finn": {"emails": None, "externalIds": [None]},
        "Gina": {"customSchemas": {"Synchronization_Data": {"DCID": "seven"}}}, "Hans": {"lastLoginTime": 5},
    }  # fmt: skip
    for dcid, (first, shown) in enumerate(odd_accounts.items(), 1):
        key = outdated(bed, dcid, first, "Odd")
        google.shown[key] = showing(shown)
    google.shown[google.add_user("guest@d118.org", "Some", "Guest", ou="/")] = lambda _own: None
    # Odd in PowerSchool.
    for dcid, first in enumerate(("Iris", "Jens", "Kara"), 21):
        outdated(bed, dcid, first, "Strange")
    people.affiliations(21)[0]["staffstatus"] = "X"
    people.person(22)["homeschoolid"] = "X"
    people.person(23)["groupvalue"] = "X"
    # Odd answers to a write.
    for dcid, (first, odd) in enumerate((("Lars", "another shape"), ("Mona", "no object")), 31):
        key = outdated(bed, dcid, first, "Refused")
        google.fail("users.update", **ODD_ANSWERS[odd], match=of_account(key))
    shapes = (
        b'{"error": {"code": 403, "errors": [{"reason": ["x"]}], "message": {"a": 1}}}',
        b'{"error": {"code": 400, "errors": {"reason": "x"}, "message": null}}',
        b'{"error": {"code": 400, "errors": [null], "message": 5}}',
        b"null",
        b"",
    )
    for dcid, (first, body) in enumerate(zip(("Nils", "Olga", "Paul", "Rosa", "Sven"), shapes, strict=True), 33):
        key = outdated(bed, dcid, first, "Refused")
        status = 403 if first == "Nils" else 400
        google.fail("users.update", status, body=body, times=None, match=of_account(key))
    # Odd groups.
    leaver(bed, 41, "Tilda", "Gone", HIGH)
    leaver(bed, 42, "Ulf", "Gone", HIGH)
    member = {"tilda.gone@d118.org": "MEMBER"}
    google.shown[google.add_group("chess@d118.org", members=member)] = lambda own: {"email": own["email"]}
    google.shown[google.add_group("music@d118.org", members=member)] = lambda _own: None
    google.add_group("all@d118.org", members=member)
    # People as any other.
    outdated(bed, 51, "Vera", "Sound")
    person(bed, 52, "Wim", "Sound", HIGH)

    outcome = bed.run()
    assert outcome.exit_code == 1, outcome.output
    told = errors(outcome)
    for first in odd_accounts:
        assert [line for line in told if f"{first.lower()}.odd@d118.org" in line and "cannot be read" in line], first
    assert [line for line in told if "None: Google's answer" in line]
    for first, column in (("Iris", "STAFFSTATUS"), ("Jens", "HOMESCHOOLID"), ("Kara", "Staff_Group")):
        assert [line for line in told if f"{first} Strange" in line and column in line and "'X'" in line], first
    for first in ("Lars", "Mona", "Nils", "Olga", "Paul", "Rosa", "Sven"):
        assert [line for line in told if f"{first} Refused" in line and "update failed" in line], first
    assert [line for line in told if "Tilda Gone" in line]
    for email in ("tilda.gone@d118.org", "ulf.gone@d118.org"):
        assert google.user(email)["suspended"]
        assert google.user(email)["orgUnitPath"] == SUSPENDED_OU
    assert google.members("all@d118.org") == {}
    assert group_of(bed, "vera.sound@d118.org") == "9"
    assert google.user("wim.sound@d118.org")


ODD_LISTINGS = {
    "orgunits.list": (b'{"organizationUnits": null}', b'{"organizationUnits": [null, {"orgUnitPath": 5}, "x"]}'),
    "schemas.list": (b'{"schemas": 5}', b'{"schemas": [null, {"schemaName": "A", "fields": [null, {}]}]}'),
    "users.list": (b'{"users": 5}', b'{"users": [{}]}', b'{"nextPageToken": ["x"], "users": []}'),
}
ODD_MATTERS_OF_ONE = {
    "groups.list": (b'{"groups": {"a": 1}}', b'{"groups": [[]]}'),
    "members.get": (b"[]", b'{"role": 5, "delivery_settings": 5}'),
    "users.insert": (b"null",),
}


def test_a_listing_of_another_shape_ends_the_run_with_a_sentence_or_concerns_one_person(bed: Bed) -> None:
    settled(bed)
    leaver(bed, 1, "Ada", "Stone", HIGH)
    bed.google.add_group("chess@d118.org", members={"ada.stone@d118.org": "OWNER"})
    person(bed, 2, "Bo", "Stone", HIGH)
    outdated(bed, 3, "Cy", "Stone")
    before = bed.google.snapshot()
    for method, bodies in {**ODD_LISTINGS, **ODD_MATTERS_OF_ONE}.items():
        for body in bodies:
            bed.google.restore(before)
            bed.google.behave()
            bed.google.fail(method, 200, body=body, times=None)
            outcome = bed.run()
            if method in ODD_LISTINGS:
                assert (outcome.exit_code, outcome.writes) == (2, []), (body, outcome.output)
                assert last_line(outcome.output).endswith("Nothing was written")
            else:
                assert outcome.exit_code in {0, 1}, (body, outcome.output)
                assert bed.google.user("ada.stone@d118.org")["suspended"], body
                assert group_of(bed, "cy.stone@d118.org") == "9", body


# A bug of ours: config.py is the admin's own Python, so an object in it can fail where no value of a district does.

ALIASES_THAT_FAIL = """
class Aliases(dict):
    def get(self, number, default=None):
        if number == {school} and {when}:
            raise ZeroDivisionError("no such alias")
        return super().get(number, default)

BUILDING_ALIASES = Aliases({{0: "Wauconda High School"}})
"""
ONCE_SOMETHING_IS_WRITTEN = "list(__import__('pathlib').Path(__file__).parent.glob('runs/*.jsonl'))"


@pytest.mark.measured
def test_a_bug_of_ours_while_deciding_leaves_that_person_out_and_the_others_get_their_turn(bed: Bed) -> None:
    settled(bed)
    outdated(bed, 1, "Ada", "Stone", GRADE)
    outdated(bed, 2, "Bo", "Stone")
    leaver(bed, 3, "Cy", "Stone", HIGH)
    bed.config_text = ALIASES_THAT_FAIL.format(school=GRADE, when=True)
    rehearsal = bed.run("--dry-run", allow_traceback=True)
    assert rehearsal.exit_code == 2
    checked = bed.run("--check")
    assert checked.exit_code == 2
    assert "Ada" not in checked.output
    assert "a bug in Staff Sync" in checked.output
    assert "Checked: " in checked.output
    assert bed.run("--explain", "dcid:2", allow_traceback=True).output.count("Staff_Group 4 -> 9") == 1
    outcome = bed.run(allow_traceback=True)
    assert outcome.exit_code == 2
    assert group_of(bed, "ada.stone@d118.org") == "4"
    assert group_of(bed, "bo.stone@d118.org") == "9"
    assert bed.google.user("cy.stone@d118.org")["suspended"]
    assert "ZeroDivisionError: no such alias" in outcome.log
    assert [line for line in errors(outcome) if "Ada Stone" in line and "please report" in line]
    assert "bug" in last_line(outcome.output)
    assert last_line(outcome.output) in outcome.log
    assert "changes were written" in last_line(outcome.output)
    assert not (bed.runs / "last-good.txt").exists(), "monitors must not call this a good run"


@pytest.mark.measured
def test_the_third_bug_of_ours_while_writing_ends_the_run_and_fewer_do_not(bed: Bed) -> None:
    settled(bed)
    leaver(bed, 1, "Ada", "Stone", HIGH)
    for dcid, first in enumerate(("Bo", "Cy"), 2):
        outdated(bed, dcid, first, "Stone", GRADE)
    outdated(bed, 9, "Vera", "Sound")
    bed.config_text = ALIASES_THAT_FAIL.format(school=GRADE, when=ONCE_SOMETHING_IS_WRITTEN)
    before = bed.google.snapshot()
    outcome = bed.run(allow_traceback=True)
    assert outcome.exit_code == 2, outcome.output
    assert group_of(bed, "vera.sound@d118.org") == "9", "two bugs keep nobody else from their turn"
    bed.google.restore(before)
    for journal in bed.runs.iterdir():
        journal.unlink()
    outdated(bed, 4, "Di", "Stone", GRADE)
    outcome = bed.run(allow_traceback=True)
    assert outcome.exit_code == 2
    assert bed.google.user("ada.stone@d118.org")["suspended"]
    assert group_of(bed, "vera.sound@d118.org") == "4"
    assert "Stopped by a bug" in last_line(outcome.output)
    assert "2 changes were written" in last_line(outcome.output)


FAILS_AT_THE_END = """
class To(list):
    def __bool__(self):
        if "Done: " in (__import__('pathlib').Path(__file__).parent / "StaffLog.txt").read_text():
            raise ZeroDivisionError("no such list")
        return True

MAIL_TO = To(["it@d118.org"])
MAIL_FROM, SMTP_HOST = "staff-sync@d118.org", "localhost"
"""


def test_a_bug_of_ours_when_all_is_done_has_its_lines_in_the_log_and_exit_code_2(bed: Bed) -> None:
    settled(bed)
    outdated(bed, 1, "Ada", "Stone")
    bed.config_text = FAILS_AT_THE_END
    outcome = bed.run(allow_traceback=True)
    assert outcome.exit_code == 2
    assert "ZeroDivisionError: no such list" in outcome.log
    assert last_line(outcome.output) == last_line(outcome.log)
    assert "Stopped by a bug. 1 changes were written before that" in last_line(outcome.log)


# The disk.


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 300 KB, where this machine lets one be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "none", str(disk)]
    if ON_WINDOWS or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no disk can be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def in_place(bed: Bed, disk: Path) -> Path:
    """The folder of config.py as a run needs it, on this disk; gives the config.py in it."""
    bed.write()
    for name in ("config.py", "credentials.json", "token.json"):
        shutil.copy(bed.folder / name, disk / name)
    return disk / "config.py"


def fill(disk: Path, free: int) -> None:
    """Leaves so many bytes of room on the disk."""
    (disk / "filler").write_bytes(b"x" * (shutil.disk_usage(disk).free - free))


def journal_lines(folder: Path) -> list[dict[str, Any]]:
    """The lines of the only journal in the folder, without one that is cut off."""
    lines = [line for path in (folder / "runs").glob("*.jsonl") for line in path.read_text("utf-8").splitlines(True)]
    return [json.loads(line) for line in lines if line.endswith("\n")]


def check_full_disk(bed: Bed, folder: Path, process: subprocess.CompletedProcess[str]) -> None:
    """One sentence that names the disk and what was written, and a journal that knows of every write."""
    everything = process.stdout + process.stderr
    assert process.returncode == 2, everything
    assert "Traceback" not in everything
    assert "bug" not in everything
    (sentence,) = process.stderr.splitlines()
    assert sentence.startswith("Staff Sync: ")
    assert str(folder) in sentence
    assert "disk" in sentence
    applied = [request for request in bed.google.attempted_writes if request.applied]
    lines = journal_lines(folder)
    for request in applied:
        assert [line for line in lines if line["account"] == request.params["userKey"]], request
    if not applied:
        assert "Nothing was written" in sentence
    else:
        assert f"{len(applied)} changes were written" in sentence, (len(applied), sentence)


@pytest.mark.parametrize("free", [0, 4, 8, 16])
def test_a_full_disk_is_one_sentence_that_names_it_and_the_journal_has_the_truth(
    bed: Bed, small_disk: Path, free: int
) -> None:
    settled(bed, 3)
    for dcid in range(1, 20):
        outdated(bed, dcid, "Ada", f"Stone{chr(96 + dcid)}")
    config = in_place(bed, small_disk)
    fill(small_disk, free * 1024)
    process = plainly(bed, config=config)
    check_full_disk(bed, small_disk, process)
    # With room again the next run does the rest.
    (small_disk / "filler").unlink()
    process = plainly(bed, config=config)
    assert process.returncode == 0, process.stdout
    assert {group_of(bed, f"ada.stone{chr(96 + dcid)}@d118.org") for dcid in range(1, 20)} == {"9"}


@pytest.mark.skipif(ON_WINDOWS, reason="Windows limits no file's size")
@pytest.mark.parametrize("blocks", [1, 4])
def test_a_file_that_may_not_grow_is_told_as_a_full_disk_is(bed: Bed, blocks: int) -> None:
    settled(bed, 3)
    for dcid in range(1, 10):
        outdated(bed, dcid, "Ada", f"Stone{chr(96 + dcid)}")
    bed.write()
    command = 'ulimit -f "$0"; exec "$@"'
    process = subprocess.run(
        ["sh", "-c", command, str(blocks), sys.executable, "-B", str(bed.script), "--config", str(bed.config)],
        env=bed.process_environment(), cwd=bed.elsewhere, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    check_full_disk(bed, bed.folder, process)


def test_the_check_warns_of_a_disk_with_less_than_50_megabytes(bed: Bed, small_disk: Path) -> None:
    settled(bed)
    config = in_place(bed, small_disk)
    process = plainly(bed, "--check", config=config)
    assert process.returncode == 1, process.stdout
    assert "WARNING  room on the disk: 0 MB -> make room" in process.stdout


# The clock.


def old_journal(bed: Bed, day: int, year: int = 2020) -> Path:
    """An empty journal of a run long ago, or yet to come."""
    bed.runs.mkdir(exist_ok=True)
    path = bed.runs / f"{year}{1 + day // 28:02d}{1 + day % 28:02d}T060000Z.jsonl"
    path.write_text("", "utf-8")
    path.with_suffix(".txt").write_text("", "utf-8")
    return path


def test_nothing_is_deleted_without_googles_time_and_never_the_newest_30_journals(bed: Bed) -> None:
    settled(bed)
    old = [old_journal(bed, day) for day in range(33)]
    bed.google.fail("token", 503, body=b"<html>", times=None)
    assert bed.run().exit_code == 2
    assert all(path.exists() for path in old), "this machine's own clock deletes nothing"
    bed.google.behave()
    bed.google.seconds_off = -86400 * 365 * 20
    assert bed.run().exit_code == 0
    assert all(path.exists() for path in old), "by Google's clock they are young"
    bed.google.seconds_off = 0
    assert bed.run("--dry-run").exit_code == 0
    assert all(path.exists() for path in old)
    assert bed.run().exit_code == 0
    assert [path.exists() for path in old] == [False] * 3 + [True] * 30
    assert [path.with_suffix(".txt").exists() for path in old] == [False] * 3 + [True] * 30


def test_a_run_from_the_future_is_named_as_such(bed: Bed) -> None:
    settled(bed)
    outdated(bed, 1, "Ada", "Stone")
    assert bed.run().exit_code == 0
    (journal,) = bed.runs.glob("*.jsonl")
    ahead = journal.with_name("20990101T060000Z.jsonl")
    journal.rename(ahead)
    outcome = bed.run()
    assert outcome.exit_code == 0
    assert [line for line in outcome.lines("WARN") if "20990101T060000Z" in line and "future" in line]
    assert "Until then --undo last means that run: name another one" in outcome.output
    undone = bed.run("--undo", "last", "--dry-run").output
    assert "20990101T060000Z" in undone
    (bed.runs / "last-good.txt").write_text("2099-01-01T06:00:00+00:00", "utf-8")
    assert "WARNING  the last good run is from the future" in bed.run("--check").output


# The journal.


def change_line(path: Path, number: int, change: Callable[[str], str]) -> None:
    lines = path.read_text("utf-8").splitlines(keepends=True)
    lines[number] = change(lines[number])
    path.write_text("".join(lines), "utf-8")


DAMAGES: dict[str, Callable[[str], str]] = {
    "cut off in the middle": lambda line: line[:40] + "\n",
    "empty": lambda _line: "\n",
    "no object": lambda _line: "[1, 2]\n",
    "zeros": lambda line: "\0" * len(line) + "\n",
    "another kind": lambda line: line.replace('"update"', '"upgrade"'),
    "no time": lambda line: line.replace('"time"', '"date"'),
    "odd time": lambda line: re.sub(r'"time": "[^"]*"', '"time": "noon"', line),
    "no side": lambda line: re.sub(r'"before": \{[^}]*\}', '"before": null', line),
    "a lost byte": lambda line: line.replace("Staff_Group", "Staff\ufffdGroup"),
    "two lines in one": lambda line: line.rstrip("\n") + line,
}


def test_a_damaged_line_of_a_journal_is_an_error_that_names_it_in_a_run_and_in_an_undo(bed: Bed) -> None:
    settled(bed)
    outdated(bed, 1, "Ada", "Stone")
    outdated(bed, 2, "Bo", "Stone")
    before = bed.google.snapshot()
    assert bed.run().exit_code == 0
    (journal,) = bed.runs.glob("*.jsonl")
    whole = journal.read_bytes()
    # Somebody who is active and locked out: the run looks for closings of its own that were cut off.
    person(bed, 3, "Cy", "Stone", HIGH)
    matching_account(bed, 3, suspended=True)
    for damage, change in DAMAGES.items():
        change_line(journal, 1, change)
        outcome = bed.run()
        assert outcome.exit_code == 1, (damage, outcome.output)
        assert [line for line in errors(outcome) if f"{journal}, line 2, is damaged" in line], (damage, outcome.output)
        undone = bed.run("--undo", "last", "--yes")
        assert (undone.exit_code, undone.writes) == (2, []), (damage, undone.output)
        assert f"{journal}, line 2, is damaged" in last_line(undone.output), damage
        journal.write_bytes(whole)
    # Only a last line that was cut off is passed over: a kill does that.
    journal.write_bytes(whole[:-30])
    assert not [line for line in errors(bed.run()) if "damaged" in line]
    assert bed.run("--undo", "last", "--yes").exit_code == 0
    assert group_of(bed, "bo.stone@d118.org") == "4"
    assert before["users"].keys() <= bed.google.snapshot()["users"].keys()


LARGE = 25_000
# Runs the script, counts how often it opens the large journal, and says how much memory it had at most, in KB.
MEASURED_RUN = """
import runpy, sys
opened = []
sys.addaudithook(lambda event, about: opened.append(1) if event == "open" and "20200101T" in str(about[0]) else None)
try:
    runpy.run_path({script!r}, run_name="__main__")
finally:
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM:")).split()[1]
    print("measured", len(opened), peak)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process its own peak")
def test_a_large_journal_is_read_once_and_in_a_stream(bed: Bed) -> None:
    settled(bed)
    leaver(bed, 1, "Ada", "Stone", HIGH)
    bed.google.add_group("chess@d118.org", members={"ada.stone@d118.org": "MEMBER"})
    assert bed.run().exit_code == 0
    ada = bed.google.user("ada.stone@d118.org")["id"]
    row = json.loads(newest_journal(bed).read_text("utf-8").splitlines()[0])
    bed.script = bed.folder / "wrapper.py"
    bed.script.write_text(MEASURED_RUN.format(script=str(PROJECT / "sync.py")), "utf-8")
    large = bed.runs / "20200101T060000Z.jsonl"

    def fill_journal(lines: int) -> None:
        someone = json.dumps({**row, "dcid": 77, "account": "ACCOUNT", "state": "STATE"})
        with large.open("w", encoding="utf-8") as journal:
            for number in range(lines // 2):
                line = someone.replace("ACCOUNT", ada if not number else f"1{number % 100}")
                line = line.replace('"change": 1,', f'"change": {number},')
                journal.write("".join(line.replace("STATE", state) + "\n" for state in ("intended", "done")))

    def measured() -> tuple[int, int]:
        """How often the journal was opened in a run, and the peak of its memory."""
        outcome = bed.run()
        assert outcome.exit_code == 0, outcome.output
        times, peak = outcome.output.splitlines()[-1].split()[1:]
        return int(times), int(peak)

    fill_journal(2)
    assert measured()[0] == 1
    _, small_peak = measured()
    fill_journal(LARGE)
    bound = small_peak + large.stat().st_size // 1024 // 4
    times, peak = measured()
    assert times == 1
    assert peak < bound
    # Back at work: which run took the account out of its groups was read with all the rest.
    newest_journal(bed).unlink()
    bed.powerschool.affiliations(1)[0]["status"] = CURRENT
    times, peak = measured()
    assert times == 1
    assert peak < bound
    assert not bed.google.user("ada.stone@d118.org")["suspended"]


def test_an_undo_of_an_undo_says_so_and_is_not_headed_for_some_only(bed: Bed) -> None:
    settled(bed)
    outdated(bed, 1, "Ada", "Stone")
    first = bed.run()
    undone = bed.run("--undo", "last", "--yes")
    assert group_of(bed, "ada.stone@d118.org") == "4"
    again = bed.run("--undo", "last", "--yes")
    assert group_of(bed, "ada.stone@d118.org") == "9"
    assert "an undo" not in undone.output.partition("Undo of run")[2].splitlines()[0]
    assert "an undo" in again.output.partition("Undo of run")[2].splitlines()[0]
    for outcome in (first, undone, again):
        assert "for some only" not in outcome.output
    assert ", undo" in again.output.splitlines()[0]


@pytest.mark.measured
def test_a_refused_step_of_an_undo_names_the_holder_and_keeps_no_other_step_from_being_done(bed: Bed) -> None:
    google = bed.google
    settled(bed)
    person(bed, 1, "Ada", "Weber", HIGH)
    fields = matching_fields(bed, 1, Staff_Group=4)
    matching_account(bed, 1, email="ada.stone@d118.org", family="Stone", fields=fields)
    outdated(bed, 2, "Bo", "Stone")
    leaver(bed, 3, "Cy", "Stone", HIGH)
    groups = [google.add_group(f"{name}@d118.org", members={"cy.stone@d118.org": "MEMBER"}) for name in ("a", "b")]
    assert bed.run().exit_code == 0
    # Meanwhile somebody else has the old address, and one group takes nobody.
    alias = {"userKey": "ada.weber@d118.org", "alias": "ada.stone@d118.org"}
    google.call("users.aliases.delete", alias, None)
    google.add_user("ada.stone@d118.org", "Another", "Stone", ou="/")
    google.fail("members.insert", 403, "forbidden", "No", times=None, match=lambda r: r.params["groupKey"] == groups[0])
    outcome = bed.run("--undo", "last", "--yes")
    assert outcome.exit_code == 1, outcome.output
    assert [line for line in errors(outcome) if "ada.stone@d118.org is taken by ada.stone@d118.org" in line]
    assert [line for line in errors(outcome) if "Cy Stone" in line and "a@d118.org" in line]
    assert group_of(bed, "ada.weber@d118.org") == "4"
    assert group_of(bed, "bo.stone@d118.org") == "4"
    assert not google.user("cy.stone@d118.org")["suspended"]
    assert google.members("b@d118.org") == {"cy.stone@d118.org": "MEMBER"}


# Secrets and files.

PROXY_PASSWORDS = (
    "pw#x1secret",
    "pw/x2secret",
    "pw?x3secret",
    "pw[x4secret",
    "77#x5secret",
    "pw@x6secret",
    "plainx7secret",
)


def test_no_part_of_a_proxys_address_appears_whatever_its_password_holds(bed: Bed) -> None:
    settled(bed)
    for password in PROXY_PASSWORDS:
        proxy = f"http://proxyuser:{password}@127.0.0.99:1"
        for arguments in ((), ("--check",)):
            outcome = bed.run(*arguments, env={"HTTPS_PROXY": proxy, "https_proxy": proxy})
            assert outcome.exit_code == 2, outcome.output
            assert "Google cannot be reached" in outcome.output
            for word in ("proxyuser", password[:3], "secret", "127.0.0.99"):
                assert word not in outcome.output + outcome.log, (password, arguments, outcome.output)


@pytest.mark.skipif(ON_WINDOWS, reason="Windows lets only some accounts make links")
def test_a_link_in_the_place_of_what_a_run_makes_is_not_followed(bed: Bed) -> None:
    settled(bed)
    outdated(bed, 1, "Ada", "Stone")
    assert bed.run("--dry-run", "--csv", str(bed.folder / "x.csv")).exit_code == 0
    precious = bed.folder / "precious.txt"
    bed.runs.mkdir(exist_ok=True)
    for name in ("StaffLog.txt", "runs/lock", "x.csv"):
        precious.write_text("what,precious", "utf-8")
        precious.chmod(0o640)
        place = bed.folder / name
        place.unlink(missing_ok=True)
        place.symlink_to(precious)
        arguments = ("--dry-run", "--csv", str(place)) if name == "x.csv" else ()
        outcome = bed.run(*arguments)
        assert (outcome.exit_code, outcome.writes) == (2, []), (name, outcome.output)
        assert place.name in last_line(outcome.output)
        assert precious.read_text("utf-8") == "what,precious", name
        assert stat.S_IMODE(precious.stat().st_mode) == 0o640, name
        place.unlink()
    # A link in the place of what is replaced whole is replaced, not followed.
    token = (bed.folder / "token.json").read_text("utf-8")
    last_good = bed.runs / "last-good.txt"
    last_good.symlink_to(precious)
    assert bed.run().exit_code == 0
    assert precious.read_text("utf-8") == "what,precious"
    assert not last_good.is_symlink()
    assert (bed.folder / "token.json").read_text("utf-8") == token


def test_a_csv_overwrites_nothing_but_a_spreadsheet_of_its_own(bed: Bed) -> None:
    settled(bed)
    mine = bed.folder / "x.csv"
    assert bed.run("--dry-run", "--csv", str(mine)).exit_code == 0
    first = mine.read_bytes()
    assert bed.run("--dry-run", "--csv", str(mine)).exit_code == 0, "its own of yesterday"
    assert mine.read_bytes() == first
    other = bed.folder / "grades.csv"
    other.write_text("name,grade\nAda,1\n", "utf-8")
    for path in (other, bed.config, bed.folder / "credentials.json"):
        before = path.read_bytes()
        outcome = bed.run("--dry-run", "--csv", str(path))
        assert outcome.exit_code == 2
        assert f"{path} is there and is not of Staff Sync" in last_line(outcome.output)
        assert path.read_bytes() == before
        assert "PowerSchool:" not in outcome.output, "a long dry run would be for nothing"
    outcome = bed.run("--dry-run", "--csv", str(bed.elsewhere))
    assert outcome.exit_code == 2
    assert "Excel" not in outcome.output
    outcome = bed.run("--dry-run", "--csv", str(bed.folder / "nowhere" / "x.csv"))
    assert outcome.exit_code == 2
    assert f"{mine.parent / 'nowhere' / 'x.csv'} cannot be written" in last_line(outcome.output)
    assert "Excel" not in outcome.output


@pytest.mark.skipif(ON_WINDOWS, reason="file modes protect nothing on Windows")
def test_the_folder_runs_keeps_the_mode_that_its_owner_gave_it(bed: Bed) -> None:
    settled(bed)
    for mode in (0o700, 0o2770):
        bed.runs.mkdir(exist_ok=True)
        bed.runs.chmod(mode)
        outdated(bed, mode, "Ada", f"Stone{'ab'[mode > 0o700]}")
        assert bed.run().exit_code == 0
        assert stat.S_IMODE(bed.runs.stat().st_mode) == mode


@pytest.mark.skipif(ON_WINDOWS, reason="file modes protect nothing on Windows")
def test_a_config_py_that_others_may_write_is_a_warning_with_the_command(bed: Bed) -> None:
    settled(bed)
    bed.write()
    for mode, is_warned in ((0o644, False), (0o664, True), (0o646, True)):
        bed.config.chmod(mode)
        for arguments, sign in ((("--check",), "WARNING"), (("--dry-run",), "WARN"), ((), "WARN")):
            outcome = bed.run(*arguments)
            told = [line for line in outcome.output.splitlines() if "chmod go-w config.py" in line]
            assert len(told) == is_warned, outcome.output
            assert all(f" {sign} " in line for line in told)
            assert arguments == ("--check",) or outcome.exit_code == 0


# A run under nohup does not heed this signal, and nor do those of tests that were started so.
HEEDS_SIGHUP = "import signal\nsignal.signal(signal.SIGHUP, signal.SIG_DFL)\n"


@pytest.mark.skipif(ON_WINDOWS, reason="Windows ends a process without a word")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
@pytest.mark.ordinary_runs
def test_a_signal_ends_a_run_with_the_last_line_the_records_and_exact_counts(bed: Bed, name: str) -> None:
    bed.prelude = HEEDS_SIGHUP
    settled(bed)
    person(bed, 1, "Ada", "Stone", GRADE)
    matching_account(bed, 1, ou=OU_OF[HIGH], fields=matching_fields(bed, 1, Staff_Group=4))
    outdated(bed, 2, "Bo", "Stone")
    outdated(bed, 3, "Cy", "Stone")
    bed.google.fail("users.update", hang=True, match=lambda _r: len(bed.google.attempted_writes) == 2)
    exit_code, output = signalled(bed, getattr(signal, name), 2)
    assert exit_code == 2, output
    assert "Traceback" not in output
    assert "Interrupted. 2 changes were written before that: see runs/" in last_line(output)
    log = (bed.folder / "StaffLog.txt").read_text("utf-8")
    assert last_line(log) == last_line(output)
    (kept,) = bed.runs.glob("*.txt")
    assert kept.read_text("utf-8") == log
    assert "Done before it stopped: move 1, update 1." in log
    lines = journal_lines(bed.folder)
    assert [(row["dcid"], row["kind"], row["state"], row["error"]) for row in lines] == [
        (1, "move", "intended", ""), (1, "update", "intended", ""), (1, "move", "done", ""), (1, "update", "done", ""),
        (2, "update", "intended", ""), (2, "update", "unknown", "cut off"),
    ]  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a pipe be made so small")
@pytest.mark.parametrize("names", [("SIGINT", "SIGINT"), ("SIGTERM", "SIGHUP"), ("SIGHUP", "SIGHUP")])
@pytest.mark.ordinary_runs
@pytest.mark.measured
def test_a_second_signal_cuts_off_none_of_the_last_words(bed: Bed, names: tuple[str, str]) -> None:
    import fcntl  # noqa: PLC0415 - there is none on Windows

    bed.prelude = HEEDS_SIGHUP
    settled(bed)
    bed.settings["TIMEOUT_SECONDS"] = 1
    for dcid, first in enumerate(("Ada", "Bo"), 1):
        outdated(bed, dcid, first, "Stone")
    # Whoever has such an address is told at the end, in lines of which the pipe and our own buffer hold a part only.
    told = [f"kim..{dcid}@d118.org" for dcid in range(100, 300)]
    for dcid, email in enumerate(told, 100):
        person(bed, dcid, "Kim", None, HIGH, email=email)
    running: list[subprocess.Popen[bytes]] = []
    launched = threading.Event()

    def send(request: Request, when: str) -> None:
        if request.method == "users.update" and when == "before" and bed.google.hook:
            bed.google.hook = None
            launched.wait(30)
            running[0].send_signal(getattr(signal, names[0]))

    bed.google.hook = send
    bed.google.fail("users.update", hang=True, times=None)
    bed.write()
    lines: list[str] = []
    with closing_process(bed.launch(), 60) as process:
        assert process.stdout
        fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
        running.append(process)
        launched.set()
        for raw in process.stdout:
            lines.append(raw.decode())
            if told[0] in lines[-1]:
                process.send_signal(getattr(signal, names[1]))
    output = "".join(lines)
    assert process.returncode == 2, output
    assert "Traceback" not in output
    assert [email for email in told if email not in output] == []
    assert "Done before it stopped: nothing." in output
    assert "Interrupted. 0 changes were written before that: see runs/" in last_line(output)
    (kept,) = bed.runs.glob("*.txt")
    assert kept.read_text("utf-8") == (bed.folder / "StaffLog.txt").read_text("utf-8")
    assert last_line(kept.read_text("utf-8")) == last_line(output)


@pytest.mark.skipif(ON_WINDOWS, reason="Windows has no SIGHUP")
def test_a_run_under_nohup_survives_the_end_of_its_terminal(bed: Bed) -> None:
    settled(bed)
    outdated(bed, 1, "Ada", "Stone")
    bed.write()
    running: list[subprocess.Popen[bytes]] = []
    launched = threading.Event()

    def hang_up(request: Request, when: str) -> None:
        if request.method == "users.update" and when == "before":
            launched.wait(30)
            running[0].send_signal(signal.SIGHUP)

    bed.google.hook = hang_up
    command = ["nohup", sys.executable, str(bed.script), "--config", str(bed.config)]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=bed.elsewhere,
        env=bed.process_environment(),
    )  # fmt: skip
    with closing_process(process, 60):
        running.append(process)
        launched.set()
        output = read_lines(process, None)
    assert process.returncode == 0, output
    assert group_of(bed, "ada.stone@d118.org") == "9"


def test_the_check_works_without_a_home(bed: Bed) -> None:
    settled(bed)
    outcome = bed.run("--check", env=dict.fromkeys(("HOME", "USER", "LOGNAME", "USERNAME", "USERPROFILE")))
    assert outcome.exit_code in {0, 1}, outcome.output
    assert "Checked: " in outcome.output


# Settings that fit nobody, and what is held.


@pytest.mark.measured
def test_an_entry_that_fits_nobody_is_a_warning_in_every_run_and_as_shipped_only_in_the_check(bed: Bed) -> None:
    settled(bed)
    bed.settings["BUILDING_ALIASES"] = shipped_settings()["BUILDING_ALIASES"]
    bed.powerschool.schools[0]["name"] = "Lincoln High School"
    bed.settings["BUILDING_OUS"] = {5: OU_OF[HIGH]}
    for path in ("/Administrators", "/Temporary Re-Activations", "/Substitute Teachers"):
        del bed.google.org_units[path.lower()]
    bed.powerschool.schools = [row for row in bed.powerschool.schools if row["name"] != "Substitute"]
    outcome = bed.run()
    assert (outcome.exit_code, outcome.lines("WARN")) == (0, []), "nothing but what was shipped"
    checked = bed.run("--check").output
    for entry in ("131", "Substitute", "/Administrators", "/Temporary Re-Activations"):
        assert re.search(rf"WARNING .*names (the org unit |the school numbers )?{entry},", checked), (entry, checked)
    assert "entries of BAD_NAMES that are nobody's name: 7 of 7" in checked

    odd = {
        "GOOGLE_DOMAINS": ["d118.org", "d18.example"], "SUBSTITUTE_BUILDING": "Substitut",
        "BUILDING_ALIASES": {0: "Wauconda High School", 4711: "Bus Garage"},
        "BUILDING_OUS": {5: OU_OF[HIGH], 4712: "/D118 Staff/Garage"}, "SUBSTITUTE_OU": "/Subs",
        "FROZEN_OUS": ["/Board"], "TEMPORARY_REACTIVATION_OUS": ["/Guests"],
        "HANDS_OFF": {"nobody@d118.org": ("on leave", "2099-12-31")},
    }  # fmt: skip
    bed.settings |= odd
    entries = (
        "d18.example",
        "Substitut",
        "4711",
        "/D118 Staff/Garage",
        "/Subs",
        "/Board",
        "/Guests",
        "nobody@d118.org",
    )
    outcome = bed.run()
    assert outcome.exit_code == 0, outcome.output
    for entry in entries:
        named = rf"names (the org unit |the school numbers )?{entry},"
        assert len([line for line in outcome.lines("WARN") if re.search(named, line)]) == 1, entry
    assert len(outcome.lines("WARN")) == len(entries)


def test_more_than_half_of_the_staff_outside_google_domains_holds_the_run(bed: Bed) -> None:
    settled(bed)
    outdated(bed, 1, "Ada", "Stone")
    leaver(bed, 2, "Bo", "Stone", HIGH)
    bed.settings["GOOGLE_DOMAINS"] = ["d18.org"]
    for arguments in ((), ("--dry-run",), ("--only", "dcid:1")):
        outcome = bed.run(*arguments)
        assert (outcome.exit_code, outcome.writes) == (3, []), outcome.output
        assert "5 of 5 active staff have an address outside GOOGLE_DOMAINS" in last_line(outcome.output)
    assert "5 of 5 active staff have an address outside GOOGLE_DOMAINS" in bed.run("--check").output
    bed.settings["GOOGLE_DOMAINS"] = ["d118.org"]
    for dcid in range(900, 903):
        bed.powerschool.person(dcid)["email_addr"] = f"kim{dcid}@gmail.example"
    assert bed.run().exit_code == 3, "three of five"
    bed.powerschool.person(902)["email_addr"] = "kim.settledc@d118.org"
    assert bed.run().exit_code == 0, "two of five"


def test_held_counts_stand_in_the_summary(bed: Bed) -> None:
    settled(bed, 26)
    for dcid in range(1, 13):
        leaver(bed, dcid, "Ada", f"Gone{chr(96 + dcid)}", HIGH)
    outdated(bed, 50, "Bo", "Stone")
    bed.settings |= {"LIMITS": {**shipped_settings()["LIMITS"], "suspend": 3}}
    for arguments, doing in ((("--dry-run",), "Would do"), ((), "Done")):
        outcome = bed.run(*arguments)
        assert outcome.exit_code == 3
        assert f"{doing}: update 1. Held: suspend 12." in outcome.output, outcome.output
    assert "Done: nothing. Held: suspend 12." in bed.run().output
    # Held by its share of the accounts, and not by its number.
    bed.settings |= {"LIMITS": {**shipped_settings()["LIMITS"], "suspend": 50}}
    outcome = bed.run()
    assert outcome.exit_code == 3
    assert "Done: nothing. Held: suspend 12." in outcome.output
    done = bed.run("--allow", "suspend=12")
    assert done.exit_code == 0
    assert "Held" not in done.output


def test_a_kind_that_is_held_while_nobody_waits_for_it_stands_in_the_summary(bed: Bed) -> None:
    settled(bed, 20)
    for dcid in range(1, 8):
        settle(bed, dcid, "Ada")
        bed.powerschool.remove(dcid)
    outcome = bed.run()
    assert outcome.exit_code == 3
    assert "Done: nothing. Held: suspend." in outcome.output, outcome.output


# Settings and words that say what is wrong.

FAULTY_SETTINGS: tuple[tuple[str, dict[str, str | None], tuple[str, ...]], ...] = (
    # config.py, the variables of the environment, and the words that say what is wrong
    ('STAFF_OU = "/D118 Staff/"', {}, ("STAFF_OU", "'/D118 Staff/'", "none at its end")),
    ('PROTECTED_OUS = ["Students"]', {}, ("PROTECTED_OUS", "'Students'", "with / at its beginning")),
    ('LIMITS = {"suspend": "10"}', {}, ("LIMITS", "'10' for 'suspend'", "without quotes")),
    ('LIMITS = {"supend": 10}', {}, ("LIMITS", "'supend'", "one of create, ")),
    ('UPDATE_NAMES = "True"', {}, ("UPDATE_NAMES", "'True'", "without quotes")),
    ('BAD_NAMES = ["dummy", "training1" "plugin"]', {}, ("a comma is missing", '"training1"', '"plugin"')),
    ('GOOGLE_DOMAINS = ["d118.org"\n    "d118.net"]', {}, ("a comma is missing", '"d118.org"')),
    ('BAD_NAMES = ["dummy", "training1""plugin"]', {}, ("a comma is missing", '"training1"', '"plugin"')),
    ('GOOGLE_DOMAINS = ["d118.org"  # ours\n    # old\n    "d118.net"]', {}, ("a comma is missing", '"d118.org"')),
    ("", {"POWERSCHOOL_PROD_DB": "jdbc:oracle:thin:@db.example:1521/PSPRODDB"}, ("jdbc:", "host:1521/PSPRODDB")),
)  # fmt: skip


@pytest.mark.parametrize(("text", "env", "words"), FAULTY_SETTINGS)
def test_a_faulty_setting_says_what_is_wrong_and_not_only_what_it_must_be(
    bed: Bed, text: str, env: dict[str, str | None], words: tuple[str, ...]
) -> None:
    bed.config_text = text
    outcome = bed.run(env=env)
    assert outcome.exit_code == 2
    for word in words:
        assert word in last_line(outcome.output), outcome.output
    assert last_line(outcome.output).endswith("Nothing was written")


def test_a_config_py_in_utf_16_is_told_as_such(bed: Bed) -> None:
    bed.write()
    text = bed.config.read_text("utf-8")
    for encoding in ("utf-16", "utf-16-le"):
        bed.config.write_bytes(text.encode(encoding))
        outcome = run_as_it_is(bed)
        assert outcome.exit_code == 2
        assert "UTF-16" in last_line(outcome.output)
        assert "save it as UTF-8" in last_line(outcome.output)


def run_as_it_is(bed: Bed, *arguments: str) -> Outcome:
    """A run with config.py as it lies there."""
    written, bed.write = bed.write, lambda: None  # type: ignore[method-assign]
    try:
        return bed.run(*arguments)
    finally:
        bed.write = written  # type: ignore[method-assign]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become somebody else")
def test_a_file_of_somebody_else_is_told_with_the_command_that_mends_it() -> None:
    with tempfile.TemporaryDirectory() as folder, standard_bed(Path(folder, "bed")) as bed:
        Path(folder).chmod(0o755)
        settled(bed)
        assert bed.run().exit_code == 0
        for path in (bed.folder, *bed.folder.rglob("*")):
            os.chown(path, 65534, 65534)
        for name in ("config.py", "credentials.json", "token.json", "StaffLog.txt", "runs/lock", "runs"):
            place = bed.folder / name
            mode = stat.S_IMODE(place.stat().st_mode)
            os.chown(place, 0, 0)
            place.chmod(0o700 if name == "runs" else 0o600)
            code, output = run_as_nobody(bed)
            assert code == 2, (name, output)
            assert f"run  sudo chown nobody {place}" in last_line(output), (name, output)
            assert "copy the shipped one" not in output
            os.chown(place, 65534, 65534)
            place.chmod(0o000)
            code, output = run_as_nobody(bed)
            assert code == 2, (name, output)
            assert f"run  chmod u+rwX {place}" in last_line(output), (name, output)
            place.chmod(mode)


def run_as_nobody(bed: Bed) -> tuple[int, str]:
    """Exit code and screen of a run under another account, in a child of this process.

    That account may not even read this Python from its disk.
    """
    codecs.lookup("utf-8-sig")  # read from this Python's disk when it is first needed, as the next one
    importlib.import_module("pkgutil")
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(writing, 1)
        sys.stdout = sys.stderr = os.fdopen(1, "w", encoding="utf-8")
        os.environ.clear()
        os.environ.update(bed.process_environment())
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        os._exit(sync.main(["--config", str(bed.config)]))
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as screen:
        output = screen.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), output


def test_a_table_that_is_not_there_is_named_in_a_run_and_in_the_check(bed: Bed) -> None:
    settled(bed)
    for table in ("SCHOOLSTAFF", "U_HUMANRESOURCES"):
        bed.oracle.faults.statement_errors.clear()
        bed.oracle.faults.fail(table, 942)
        outcome = bed.run()
        assert outcome.exit_code == 2
        assert f"reading {table}" in last_line(outcome.output)
        assert "ORA-00942" in last_line(outcome.output)
        assert re.search(rf"FAULT .*table {table}", bed.run("--check").output)


def test_a_misspelt_option_is_asked_for(bed: Bed) -> None:
    for wrong, meant in (("--dryrun", "--dry-run"), ("--alow", "--allow"), ("--chekc", "--check")):
        process = plainly(bed, wrong)
        assert process.returncode == 2
        assert f"did you mean {meant}?" in process.stderr
        assert process.stderr.endswith("Nothing was written\n")


@pytest.mark.measured
def test_a_name_in_a_suggested_command_is_quoted(bed: Bed) -> None:
    settled(bed)
    outcome = bed.run("--only", "Ruth Eriksen", "--dry-run")
    assert outcome.exit_code == 2
    assert '--explain "Ruth Eriksen"' in last_line(outcome.output)
    bed.settings["LIMITS"] = {"move to suspended": 1}
    for dcid in (1, 2):
        leaver(bed, dcid, "Ada", f"Gone{'xab'[dcid]}", HIGH, suspended=True)
    assert '--allow "move to suspended=2"' in bed.run("--dry-run").output


@pytest.mark.ordinary_runs
def test_the_sign_in_shows_its_address_at_once_through_a_pipe(bed: Bed) -> None:
    bed.write()
    waits_for_a_sign_in(bed.launch("--authorize", env=NO_BROWSER))


@pytest.mark.ordinary_runs
def test_somebody_at_a_terminal_is_asked_to_sign_in_where_no_sign_in_was_kept_but_not_by_the_check(bed: Bed) -> None:
    settled(bed)
    type_at_terminal(bed, "")
    bed.write()
    (bed.folder / "token.json").write_text("{}", "utf-8")
    assert "token.json is not a whole sign-in" in bed.run("--dry-run").output
    (bed.folder / "token.json").unlink()
    checked = bed.run("--check", env=NO_BROWSER).output
    assert "token.json is missing -> sign in once with  python sync.py --authorize" in checked
    waits_for_a_sign_in(bed.launch("--dry-run", env=NO_BROWSER))


def waits_for_a_sign_in(process: subprocess.Popen[bytes]) -> None:
    """Fails unless this shows Google's address and waits for whoever opens it."""
    with closing_process(process, 60):
        assert process.stdout
        for raw in process.stdout:
            if b"https://accounts.google.com/" in raw:
                break
        else:
            raise AssertionError("no address was shown")
        assert process.poll() is None, "it waits for the browser"
        process.kill()


def test_explain_finds_an_account_by_its_address_and_says_in_step_of_nobody_without_one(bed: Bed) -> None:
    settled(bed)
    # Katherine Vance has an account under another address than PowerSchool's.
    person(bed, 1, "Katherine", "Vance", HIGH)
    matching_account(bed, 1, email="kate.vance@d118.org", aliases=["kvance@d118.org"])
    for address in ("kate.vance@d118.org", "KVance@d118.org", "katherine.vance@d118.org"):
        outcome = bed.run("--explain", address)
        assert outcome.exit_code == 0, outcome.output
        assert "PowerSchool: Katherine Vance" in outcome.output
        assert "Google: kate.vance@d118.org" in outcome.output
        assert not errors(outcome)
    # An account that is nobody's in PowerSchool.
    bed.google.add_user("frontdesk@d118.org", "Front", "Desk", ou="/")
    outcome = bed.run("--explain", "frontdesk@d118.org")
    assert "frontdesk@d118.org, Front Desk, no DCID, open" in outcome.output
    assert "Nobody in PowerSchool has this address" in outcome.output
    assert "Near:" not in outcome.output
    assert outcome.exit_code == 0
    # People without an account.
    person(bed, 2, "Emily", "Novak", HIGH)
    person(bed, 3, "Left", "Longago", HIGH)
    bed.powerschool.leave(3)
    person(bed, 4, "No", "Address", HIGH, email=None)
    for dcid in (2, 3, 4):
        outcome = bed.run("--explain", f"dcid:{dcid}")
        assert outcome.exit_code == 0
        assert "in step" not in outcome.output, outcome.output
        assert "no account has this DCID" in outcome.output
    assert "in step" in bed.run("--explain", "dcid:900").output


def test_the_check_says_nothing_good_in_the_words_of_a_fault(bed: Bed) -> None:
    settled(bed)
    assert bed.run().exit_code == 0
    assert re.search(r"good +the last good run was 0\.0 days ago", bed.run("--check").output)
    bed.google.fail("tunnel", 502, times=None)
    checked = bed.run("--check").output
    assert not re.search("FAULT .*can be", checked), checked
    assert re.search("FAULT +Google cannot be reached ->", checked)


def test_a_misspelt_org_unit_is_asked_for_before_any_offer_to_create_others(bed: Bed) -> None:
    settled(bed)
    before = bed.google.snapshot()
    bed.settings["STAFF_OU"] = "/D118 Staf"
    for arguments in ((), ("--check",), ("--setup", "--yes"), ("--setup", "--dry-run")):
        outcome = bed.run(*arguments)
        assert "did you mean /D118 Staff?" in outcome.output, arguments
        assert "Missing: the org unit" not in outcome.output, arguments
        assert outcome.exit_code == (1 if "--setup" in arguments else 2)
    assert "--setup  creates" not in bed.run("--check").output
    assert bed.google.snapshot() == before
    # One building: the others are not touched by it, and its people are told the likely word first.
    bed.settings |= {"STAFF_OU": "/D118 Staff", "BUILDING_OUS": {GRADE: "/D118 Staff/Wauconda Grade School Staf"}}
    person(bed, 1, "Ada", "Stone", GRADE)
    remedy = f"did you mean {OU_OF[GRADE]}? If not, create it with --setup"
    assert [line for line in errors(bed.run("--dry-run")) if remedy in line and "Ada Stone" in line]
    assert f"-> {remedy}" in bed.run("--check").output
    assert f"(did you mean {OU_OF[GRADE]}, which Google has?)" in bed.run("--setup", "--dry-run").output


NEARLY: dict[str, tuple[object, str]] = {
    # Setting -> what it says in place of what Google has.
    "SUSPENDED_OU": ("/Suspended Acounts", "/Suspended Accounts"),
    "STAFF_OU": ("/D118 Stoff", "/D118 Staff"),
    "PROTECTED_OUS": (["/Student"], "/Students"),
    "SUBSTITUTE_OU": ("/Substitute Teacher", "/Substitute Teachers"),
    "BUILDING_OUS": ({MIDDLE: "/D118 Staf/Bus Garage"}, "/D118 Staff"),
    "FROZEN_OUS": (["/Administrator"], "/Administrators"),
    "TEMPORARY_REACTIVATION_OUS": (["/Temporary Re-Activation"], "/Temporary Re-Activations"),
}


@pytest.mark.parametrize("setting", NEARLY)
def test_whichever_setting_names_nearly_an_org_unit_of_google_the_likely_one_is_said_first(
    bed: Bed, setting: str
) -> None:
    settled(bed)
    person(bed, 1, "Ada", "Stone", SUBSTITUTES, SUBSTITUTE)
    person(bed, 2, "Bo", "Stone", MIDDLE)
    # One that is really new, and comes first by its name.
    bed.powerschool.add_school(700, "A New School")
    person(bed, 3, "Cy", "Stone", 700)
    bed.settings[setting], meant = NEARLY[setting]
    for arguments in (("--dry-run",), ("--check",), ("--setup", "--dry-run")):
        output = bed.run(*arguments).output
        lines = [line for line in output.splitlines() if f"did you mean {meant}" in line]
        is_never_made = setting in {"FROZEN_OUS", "TEMPORARY_REACTIVATION_OUS"}
        if arguments[0] == "--setup" and is_never_made:
            assert lines == []
            continue
        assert lines, output
        assert "--setup" not in lines[0].partition("did you mean")[0]
        offers = [line for line in output.splitlines() if "--setup" in line or "Missing: the org unit" in line]
        # In a run a warning comes after the errors, as that about the building which is really new.
        is_first = all(output.index(lines[0]) <= output.index(offer) for offer in offers)
        assert is_first or (is_never_made and arguments[0] == "--dry-run"), output
    assert "/d118 staff/a new school staff" not in bed.google.org_units


def test_a_district_without_substitutes_needs_no_org_unit_for_them(bed: Bed) -> None:
    """Only somebody whom a run would send there makes it needed, with an account or an address that gets one."""
    settled(bed)
    del bed.google.org_units["/substitute teachers"]
    bed.google.write_service_account(bed.folder, scopes=[*SIGNED_IN_SCOPES, f"{SCOPE_PREFIX}orgunit"])
    bed.google.add_user("admin@d118.org", "Ad", "Min", admin=True)
    bed.environment["GOOGLE_ADMIN_EMAIL"] = "admin@d118.org"
    # Substitutes whom a run sends nowhere: without an account, and with no address or one elsewhere.
    person(bed, 1, "Ada", "Stone", SUBSTITUTES, SUBSTITUTE, email=None)
    person(bed, 2, "Bo", "Stone", SUBSTITUTES, SUBSTITUTE, email="bo@elsewhere.example")
    assert bed.run().exit_code == 0
    checked = bed.run("--check")
    assert "/Substitute Teachers" not in checked.output
    assert checked.exit_code == 0, checked.output
    assert "Nothing is missing" in bed.run("--setup", "--dry-run").output

    # Linked by hand, the second is sent there, and --setup makes what the line asks for.
    matching_account(bed, 2, email="bo.stone@d118.org", ou="/")
    assert [line for line in errors(bed.run()) if "the org unit /Substitute Teachers does not exist" in line]
    assert re.search("FAULT .*/Substitute Teachers does not exist; waiting for it: 1 person", bed.run("--check").output)
    assert bed.run("--setup", "--yes").exit_code == 0
    assert bed.run().exit_code == 0
    assert bed.google.user("bo.stone@d118.org")["orgUnitPath"] == "/Substitute Teachers"

    # Named otherwise than as shipped it is somebody's word, and most likely misspelt.
    bed.settings["SUBSTITUTE_OU"] = "/Subs"
    bed.powerschool.leave(2)
    assert re.search("WARNING .*names the org unit /Subs,", bed.run("--check").output)
