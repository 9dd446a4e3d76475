"""What is told while something lasts: at a terminal how far it has come, everywhere why a request has to wait."""

from __future__ import annotations

import re
import signal
import sys
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

import pytest
from bed import Bed, closing_process, read_lines
from stories import colleagues, outdated, person

import sync

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither pty nor SIGINT for one process")


def raw_terminal(bed: Bed, *arguments: str) -> str:
    """All that goes to a terminal, with what is gone at the end."""
    bed.write()
    with closing_process(bed.launch(*arguments, at_terminal=True), 60) as process:
        assert process.stdout
        chunks = []
        try:
            while chunk := process.stdout.read1(65536):  # type: ignore[attr-defined]
                chunks.append(chunk)
        except OSError:  # how Linux ends a terminal that nobody writes to any more
            pass
    return b"".join(chunks).decode()


def seen_at_the_end(raw: str) -> list[str]:
    """The lines as they stand when all is written: what follows a carriage return covers what was there."""
    lines = []
    for line in raw.replace("\r\n", "\n").split("\n"):
        shown = ""
        for part in line.split("\r"):
            shown = part + shown[len(part) :]
        lines.append(shown.rstrip())
    return lines


def test_a_terminal_shows_how_far_reading_looking_up_and_changing_have_come_and_keeps_nothing_of_it(bed: Bed) -> None:
    for number in range(1100):
        bed.google.add_user(f"student{number}@d118.org", "Stu", "Dent", ou="/Students")
    colleagues(bed)
    for dcid in (201, 202):
        outdated(bed, dcid)
    person(bed, 301)

    raw = raw_terminal(bed)

    told = [
        "Reading PowerSchool and Google",
        "Reading Google: 500 accounts",
        "Reading Google: 1000 accounts",
        "Looking up new staff: 1 of 1",
    ]
    told += ["Changing accounts: 2 of 3 people, ", "Changing accounts: 3 of 3 people, 0 seconds left"]
    assert [words for words in told if words not in raw] == []
    assert not [line for line in seen_at_the_end(raw) if re.search("Reading|Looking up|Changing accounts", line)]

    raw = raw_terminal(bed, "--undo", "last", "--yes", "--dry-run")
    assert "Looking at accounts: 3 of 3" in raw


@pytest.mark.measured
def test_progress_that_is_longer_than_a_line_of_the_terminal_leaves_nothing_either(bed: Bed) -> None:
    """What is wrapped cannot be written over; and no word of Google's moves the cursor."""
    bed.settings |= {"RETRY_WAIT_SECONDS": 60, "RETRY_SECONDS": 80000}
    colleagues(bed)
    words = "Rate of requests for user exceeds configured project quota\x1b[2J"
    bed.google.fail("users.list", 403, "rateLimitExceeded", words, times=None)
    bed.write()
    with closing_process(bed.launch(env={"COLUMNS": "60"}, at_terminal=True), 60) as process:
        assert process.stdout
        raw = b""
        while b"Rate of" not in raw:
            raw += process.stdout.read1(65536)  # type: ignore[attr-defined]
        process.send_signal(signal.SIGINT)
        read_lines(process, None)
    shown = [part for part in raw.decode().split("\r") if "Rate of" in part]
    assert [len(part) for part in shown] == [59], shown
    assert "\x1b" not in shown[0]


def test_without_a_terminal_there_is_no_control_character_and_a_short_run_has_no_line_of_progress(bed: Bed) -> None:
    for number in range(600):
        bed.google.add_user(f"student{number}@d118.org", "Stu", "Dent", ou="/Students")
    colleagues(bed)
    outdated(bed, 201)
    outcome = bed.run()
    assert not re.search(r"[^\n -~]", outcome.output + outcome.log)
    assert not re.search("Reading Google|Changing accounts", outcome.output + outcome.log)


def test_what_lasts_has_a_line_in_the_log_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    run = sync.Run(Path(), datetime.now(timezone.utc))
    for seconds in (0, 59, 61, 0):
        run.progress_told -= seconds
        sync.progress(run, f"Reading Google, {seconds} seconds after the last line")
        run.progress_told = time.monotonic()
    assert caplog.messages == ["Reading Google, 61 seconds after the last line"]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (
            {"status": 503, "reason": "backendError", "message": "Try again"},
            "Google answered 503 backendError: Try again",
        ),
        ({"close": True}, "No answer from Google ("),
    ],
    ids=["refusal", "no answer"],
)
def test_a_wait_of_more_than_five_seconds_says_why_how_long_and_before_which_try(
    bed: Bed, fault: Mapping[str, object], said: str
) -> None:
    """The waits are drawn by lot, up to two minutes: the run is ended as soon as one is told."""
    bed.settings |= {"RETRY_WAIT_SECONDS": 60, "RETRY_SECONDS": 80000}
    colleagues(bed)
    bed.google.fail("users.list", times=None, **fault)  # type: ignore[arg-type]
    bed.write()
    with closing_process(bed.launch(), 60) as process:

        def end(line: str) -> None:
            if "before try" in line:
                process.send_signal(signal.SIGINT)

        output = read_lines(process, end)
    waits = re.findall(rf"INFO  {re.escape(said)}.*: waiting (\d+) seconds before try (\d+)$", output, re.M)
    assert len(waits) == 1, output
    assert 5 <= int(waits[0][0]) <= 60
    assert process.returncode == 2
