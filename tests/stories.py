"""What the stories of several modules have in common: known people, and ways to look at what a run left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bed import PROJECT, Bed, closing_process, matching_account, read_lines

MAYA, NOOR, ADA, ELI = "maya.patel@d118.org", "noor.haddad@d118.org", "ada.okoye@d118.org", "eli.moss@d118.org"
PEOPLE = {7: ("Maya", "Patel", MAYA), 8: ("Noor", "Haddad", NOOR), 9: ("Ada", "Okoye", ADA), 10: ("Eli", "Moss", ELI)}
HIGH_OU = "/D118 Staff/Wauconda High School Staff"
# As the filter of a school network answers in the place of whoever was asked; the umlaut is no UTF-8.
FILTER_PAGE = "<html><body>Zugriff gesperrt f\u00fcr Sch\u00fcler</body></html>".encode("latin-1")


def add_known(bed: Bed, dcid: int, **otherwise: Any) -> str:
    """Adds one of these people at the high school and the account that matches but for this; gives its id."""
    bed.powerschool.add_person(dcid, *PEOPLE[dcid], schools={5: 1}, teacher_number=f"T{dcid}")
    return matching_account(bed, dcid, **otherwise)


def is_open(bed: Bed, email: str) -> bool:
    return not bed.google.user(email)["suspended"]


def newest_journal(bed: Bed) -> Path:
    return max(bed.runs.glob("*.jsonl"))


def told_once(output: str, *words: str) -> None:
    """Asserts that there is one sentence about what is wrong, and that it holds these words."""
    errors = [line for line in output.splitlines() if " ERROR " in line]
    assert len(errors) == 1, output
    assert not [part for part in words if part not in errors[0]], output


def screen(bed: Bed, *arguments: str) -> tuple[int, str]:
    """As `Bed.run`, beside a StaffLog.txt that the bed could not read itself; gives the exit code and the screen."""
    bed.write()
    with closing_process(bed.launch(*arguments), 60) as process:
        output = read_lines(process, None)
    assert "Traceback" not in output
    return process.returncode, output


def answer_end_of_file(bed: Bed) -> None:
    """Runs the script from now on as at a terminal where Ctrl-D is typed."""
    wrapper = bed.folder / "wrapper.py"
    wrapper.write_text(
        "import io, runpy, sys\n"
        "sys.stdin = io.StringIO('')\n"
        "sys.stdin.isatty = sys.stdout.isatty = lambda: True\n"
        f"runpy.run_path({str(PROJECT / 'sync.py')!r}, run_name='__main__')\n"
    )
    bed.script = wrapper
