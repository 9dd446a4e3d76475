"""Three nights of Staff Sync in a district that does not exist: `python tests/demo.py`.

A PowerSchool and a Google that live in this process only are filled with a sample district, and the real
script runs against them three times. Nothing outside this computer is asked, and nothing is left behind but one page
to look at.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from bed import Bed, Outcome, standard_bed
from district import LEFT_ALONE, PROTECTED, STAFF_DCIDS, STUDENTS, build, disagreements, untold
from mail_server import Mail, MailServer

INTERRUPTED = 130
# Somebody always needs attention in the sample district, so no run there ends with 0.
EXPECTED_EXIT_CODE = 1


def say(text: str = "") -> None:
    print(text.encode("ascii", "backslashreplace").decode(), flush=True)


def run(bed: Bed, shown: set[str], heading: str, *arguments: str) -> Outcome:
    """Runs the script as at a terminal and says its screen, but for rows that a run before has shown."""
    say(f"\n{heading}\n$ python sync.py {' '.join(arguments)}".rstrip() + "\n")
    outcome = bed.run(*arguments, timeout=300, at_terminal=True)
    is_left_out = False
    for line in outcome.output.splitlines():
        if line.startswith("  ") and line in shown:
            if not is_left_out:
                say("    ... as above")
            is_left_out = True
        else:
            say(f"  {line}".rstrip())
            is_left_out = False
    shown.update(outcome.output.splitlines())
    say(f"\n  exit code {outcome.exit_code}")
    return outcome


def accounts(bed: Bed, addresses: Iterable[str]) -> dict[str, Any]:
    return {address: bed.google.user(address) for address in addresses}


def faults(bed: Bed, outcomes: list[Outcome], untouched: dict[str, Any]) -> list[str]:
    """Everything that is not as it should be after the three runs."""
    dry, first, second = outcomes
    now = accounts(bed, untouched)
    found = [f"{address} was changed" for address, had in untouched.items() if now[address] != had]
    found += disagreements(bed)
    logged = replace(first, output=first.log)
    found += [f"the first run had no ERROR line about DCID {dcid}" for dcid in untold(logged)]
    if dry.writes:
        found.append(f"the dry run wrote to Google {len(dry.writes)} times")
    if not first.writes:
        found.append("the first run wrote nothing")
    if second.writes:
        found.append(f"the second run wrote to Google {len(second.writes)} times")
    codes = [outcome.exit_code for outcome in outcomes]
    if set(codes) != {EXPECTED_EXIT_CODE}:
        found.append(f"the exit codes were {codes}")
    return found


def five_mornings(bed: Bed, server: MailServer) -> Iterator[tuple[str, Outcome, list[Mail]]]:
    """Five runs of everybody in the sample district: what happened before each, the run, and the mails it sent."""
    build(bed)
    bed.settings |= {**server.settings(), "MAIL_WHEN": "news"}
    bed.environment |= server.environment()
    maya: dict[str, Any] = {}

    def locked() -> None:
        maya.update(account=bed.google.users[bed.google.user("maya.patel@d118.org")["id"]])
        maya["account"] |= {"suspended": True, "suspensionReason": "ABUSE"}

    def opened() -> None:
        maya["account"] |= {"suspended": False, "suspensionReason": ""}

    def database_away() -> None:
        bed.environment["POWERSCHOOL_PROD_DB"] = "127.0.0.1:9/PSPRODDB"

    days: dict[str, Callable[[], None] | None] = {
        "day 1, all is new": None, "day 2, nothing is": None, "day 3, Google locks an account": locked,
        "day 4, it is opened": opened, "day 5, the database is away": database_away,
    }  # fmt: skip
    for day, happens in days.items():
        if happens:
            happens()
        before = len(server.mails)
        outcome = bed.run()
        yield day, outcome, server.mails[before:]


def show_mornings(folder: Path) -> None:
    page = Path(tempfile.mkdtemp(prefix="staff-sync-page-")) / "morning.html"
    say("\nFive mornings, by the subjects of the mails:")
    with MailServer(folder, security="starttls") as server, standard_bed(folder / "bed") as bed:
        for day, _outcome, mails in five_mornings(bed, server):
            say(f"  {day}: {mails[0].message['Subject'] if mails else 'no mail'}")
            if day.startswith("day 3"):
                shutil.copyfile(bed.runs / "latest.html", page)
    say(f"\nThe page of day 3, for a browser: {page}")


def show(bed: Bed) -> int:
    build(bed)
    untouched = accounts(bed, STUDENTS | PROTECTED | LEFT_ALONE)
    staff, total = len(STAFF_DCIDS), len(bed.google.users)
    say(f"A sample district: {staff} staff in PowerSchool, {total} accounts in Google,")
    say(f"{len(STUDENTS)} of them students.")
    shown: set[str] = set()
    with bed:
        outcomes = [
            run(bed, shown, "1. A dry run: what would happen tonight, with nothing written.", "--dry-run"),
            run(bed, shown, "2. The first night: the same plan, carried out."),
            run(bed, shown, "3. The next night: all is in step, and what needs a person is still told."),
        ]
    found = faults(bed, outcomes, untouched)
    counts = [f"{len(outcome.requests)} requests, {len(outcome.writes)} writes" for outcome in outcomes]
    say(f"\nGoogle saw: dry run {counts[0]}; first night {counts[1]}; next night {counts[2]}.")
    for line in found:
        say(f"NOT AS IT SHOULD BE: {line}")
    if not found:
        say(f"All {staff} people are as the rules want them. {len(STUDENTS)} students, and {len(untouched)}")
        say("accounts in all that no rule may change, are exactly as they were.")
    return 1 if found else 0


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="staff-sync-demo-") as folder:
        try:
            code = show(standard_bed(Path(folder) / "three nights"))
            show_mornings(Path(folder))
            return code
        except KeyboardInterrupt:
            say("\nInterrupted; everything is put away.")
            return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
