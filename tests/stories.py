"""The words in which the stories speak: people and accounts to begin with, and ways to look at what a run left.

    colleagues(bed)
    person(bed, 201, "Maya", "Patel")
    leaver(bed, 202, "Noor", "Haddad", MIDDLE)
    settle(bed, 203, "Ada", "Okoye", ou=OU_OF[GRADE])
    outcome = bed.run()
    assert done(outcome) == {(201, "create"), (202, "suspend"), (202, "move to suspended"), (203, "move")}
    at_rest(bed)

Whatever is not said is usual: the high school, a teacher, an account that is open where the rules want it.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bed import CURRENT, Bed, Outcome, closing_process, matching_account, matching_fields, read_lines
from google_server import SCOPE_PREFIX, Request

HIGH, MIDDLE, MATTHEWS, GRADE, COTTON_CREEK, CROWN = 5, 101, 102, 103, 104, 105
DISTRICT_OFFICE, SUBSTITUTES = 0, 500
TEACHER, STAFF, LUNCH, SUBSTITUTE = 1, 2, 3, 4
OU_OF = {
    DISTRICT_OFFICE: "/D118 Staff/District Office Staff",
    HIGH: "/D118 Staff/Wauconda High School Staff",
    MIDDLE: "/D118 Staff/Wauconda Middle School Staff",
    MATTHEWS: "/D118 Staff/Matthews Middle School Staff",
    GRADE: "/D118 Staff/Wauconda Grade School Staff",
    COTTON_CREEK: "/D118 Staff/Cotton Creek School Staff",
    CROWN: "/D118 Staff/Robert Crown School Staff",
}
HIGH_OU, MIDDLE_OU = OU_OF[HIGH], OU_OF[MIDDLE]
SUBSTITUTE_OU, SUSPENDED_OU, STUDENT_OU = "/Substitute Teachers", "/Suspended Accounts", "/Students"
FROZEN_OU, TEMPORARY_OU = "/Administrators", "/Temporary Re-Activations"

LETTERS = "abcdefghijklmnopqrstuvwxyz"
MAYA, NOOR, ADA, ELI = "maya.patel@d118.org", "noor.haddad@d118.org", "ada.okoye@d118.org", "eli.moss@d118.org"
PEOPLE = {7: ("Maya", "Patel", MAYA), 8: ("Noor", "Haddad", NOOR), 9: ("Ada", "Okoye", ADA), 10: ("Eli", "Moss", ELI)}
# As the filter of a school network answers in the place of whoever was asked; the umlaut is no UTF-8.
FILTER_PAGE = "<html><body>Zugriff gesperrt f\u00fcr Sch\u00fcler</body></html>".encode("latin-1")
# The environment of a machine without a browser; Windows always has one, so there it is one that opens nothing.
NO_BROWSER: dict[str, str | None] = {"BROWSER": "", "DISPLAY": None, "WAYLAND_DISPLAY": None, "PATH": ""}
if sys.platform == "win32":
    NO_BROWSER = {"BROWSER": f'"{Path(sys.executable).as_posix()}" -c pass %s'}

# Directory API reference: the least a run needs.
NEEDED_SCOPES = sorted(
    SCOPE_PREFIX + name
    for name in ("user", "group.readonly", "group.member", "orgunit.readonly", "userschema.readonly")
)


# Who is there.


def address(first: str, last: str) -> str:
    letters = str.maketrans("íñ", "in", "'")
    return f"{first}.{last}@d118.org".lower().translate(letters)


def last_name(dcid: int) -> str:
    """Another one for each DCID."""
    return "Person" + "".join(LETTERS[int(digit)] for digit in str(dcid))


def person(
    bed: Bed,
    dcid: int,
    first: str = "Kim",
    last: str | None = None,
    school: int = HIGH,
    kind: int = TEACHER,
    **more: Any,
) -> str | None:
    """Adds a person who works at one building, with usual values unless told otherwise; gives the address."""
    if last is None:
        last = last_name(dcid)
    usual: dict[str, Any] = {
        "schools": {school: kind}, "group": 9, "teacher_number": str(4000 + dcid),
        "cell_phone": f"847-555-{dcid:04d}", "email": address(first, last),
    }  # fmt: skip
    usual |= more
    email: str | None = usual.pop("email")
    bed.powerschool.add_person(dcid, first, last, email, **usual)
    return email


def settle(bed: Bed, dcid: int, first: str = "Kim", last: str | None = None, school: int = HIGH, **account: Any) -> str:
    """Adds a person and the account that fits, but for what `account` says; gives the account's id."""
    person(bed, dcid, first, last, school)
    return matching_account(bed, dcid, **account)


def leaver(bed: Bed, dcid: int, first: str = "Kim", last: str | None = None, school: int = HIGH, **account: Any) -> str:
    """Adds somebody who has left while the account, open unless told otherwise, is as it was; gives its id."""
    identity = settle(bed, dcid, first, last, school, **account)
    bed.powerschool.leave(dcid)
    return identity


def outdated(
    bed: Bed, dcid: int, first: str = "Kim", last: str | None = None, school: int = HIGH, **account: Any
) -> str:
    """Adds a person of whose account one field is to be written; gives its id."""
    person(bed, dcid, first, last, school)
    return matching_account(bed, dcid, fields=matching_fields(bed, dcid, Staff_Group=4), **account)


def colleagues(bed: Bed, count: int = 12) -> list[str]:
    """So many people about whom both sides agree: without them every district would look unlinked."""
    names = [("Settled", "Quill" + LETTERS[number // 26] + LETTERS[number % 26]) for number in range(count)]
    for number, name in enumerate(names):
        settle(bed, 9000 + number, *name)
    return [address(*name) for name in names]


def add_known(bed: Bed, dcid: int, **otherwise: Any) -> str:
    """Adds one of `PEOPLE` at the high school and the account that matches but for this; gives its id."""
    bed.powerschool.add_person(dcid, *PEOPLE[dcid], schools={HIGH: TEACHER}, teacher_number=f"T{dcid}")
    return matching_account(bed, dcid, **otherwise)


def of_account(identity: str) -> Callable[[Request], bool]:
    """For `google.fail`: a request about this account alone."""
    return lambda request: request.params["userKey"] == identity


def return_to_work(bed: Bed, dcid: int) -> None:
    """Somebody who has left is active again, where it was before."""
    for row in bed.powerschool.affiliations(dcid):
        row["status"] = CURRENT


# What a run told.


def errors(outcome: Outcome) -> list[str]:
    return outcome.lines("ERROR")


def lines_about(outcome: Outcome, level: str, who: int | str) -> list[str]:
    """The lines of this level that name the person by DCID, or that hold these words."""
    words = f"DCID {who})" if isinstance(who, int) else who
    return [line for line in outcome.lines(level) if words in line]


def told(outcome: Outcome, level: str, who: int | str, *words: str) -> str:
    """Exactly one line of this level is about them, and it says these words; gives the line."""
    lines = lines_about(outcome, level, who)
    assert len(lines) == 1, outcome.output
    assert all(word in lines[0] for word in words), lines[0]
    return lines[0]


def silent(outcome: Outcome, level: str, who: int | str) -> None:
    assert not lines_about(outcome, level, who), outcome.output


def told_once(output: str, *words: str) -> None:
    """Asserts that there is one sentence about what is wrong, and that it holds these words."""
    errors = [line for line in output.splitlines() if " ERROR " in line]
    assert len(errors) == 1, output
    assert not [part for part in words if part not in errors[0]], output


# What a run did.


def done(outcome: Outcome) -> set[tuple[int, str]]:
    """(DCID, kind) of every change that was made, by the journal."""
    return {(line["dcid"], line["kind"]) for line in outcome.journal if line["state"] == "done"}


def journalled(outcome: Outcome, dcid: int, kind: str) -> tuple[Any, Any]:
    """What was before and after the one finished change of this kind, as attribute -> text."""
    (line,) = [
        line for line in outcome.journal if (line["dcid"], line["kind"]) == (dcid, kind) and line["state"] != "intended"
    ]
    return line["before"], line["after"]


def groups_left(outcome: Outcome) -> dict[str, str]:
    """Group -> the role that somebody had in it who left it, by the journal."""
    befores = [line["before"] for line in outcome.journal if line["kind"] == "leave group"]
    return {before["group"]: before["role"] for before in befores}


def bodies(outcome: Outcome, account: str) -> list[Any]:
    """What was written to this account, in order."""
    return [request.body for request in outcome.writes if request.params.get("userKey") == account]


def inserted(outcome: Outcome) -> list[str]:
    """The addresses that were created or tried."""
    return sorted(r.body["primaryEmail"] for r in outcome.requests if r.method == "users.insert" and r.body)


def is_open(bed: Bed, email: str) -> bool:
    return not bed.google.user(email)["suspended"]


def at_rest(bed: Bed, *arguments: str) -> Outcome:
    """A further run straight after one changes nothing and has no ERROR of a rule and person that had none before."""
    assert bed.newest, "there is no run before"
    known = {line.partition("): ")[0] for line in errors(bed.newest)}
    outcome = bed.run(*arguments)
    assert (outcome.writes, done(outcome)) == ([], set()), outcome.output
    assert [line for line in errors(outcome) if line.partition("): ")[0] not in known] == [], outcome.output
    return outcome


# Where it is, and ways to run otherwise.


def newest_journal(bed: Bed) -> Path:
    return max(bed.runs.glob("*.jsonl"))


def screen(bed: Bed, *arguments: str) -> tuple[int, str]:
    """As `Bed.run`, beside a StaffLog.txt that the bed could not read itself; gives the exit code and the screen."""
    bed.write()
    with closing_process(bed.launch(*arguments), 60) as process:
        output = read_lines(process, None)
    assert "Traceback" not in output
    return process.returncode, output


def signalled(bed: Bed, number: int, at_write: int) -> tuple[int, str]:
    """Runs the script, which gets this signal at so many attempted updates; gives the exit code and the screen."""
    running: list[subprocess.Popen[bytes]] = []
    launched = threading.Event()

    def send(request: Request, moment: str) -> None:
        if request.method == "users.update" and moment == "before" and len(bed.google.attempted_writes) == at_write:
            launched.wait(30)
            running[0].send_signal(number)

    bed.google.hook = send
    bed.write()
    with closing_process(bed.launch(), 60) as process:
        running.append(process)
        launched.set()
        output = read_lines(process, None)
    return process.returncode, output


def type_at_terminal(bed: Bed, text: str) -> None:
    """Runs the script from now on as at a terminal where this is typed; "" is Ctrl-D."""
    bed.prelude = (
        f"import io, sys\nsys.stdin = io.StringIO({text!r})\nsys.stdin.isatty = sys.stdout.isatty = lambda: True\n"
    )
