"""The test bed: a PowerSchool, a Google and a folder of settings, and the real script run against them.

    with standard_bed(folder) as bed:
        bed.powerschool.add_person(7, "Maya", "Patel", "maya.patel@d118.org", schools={5: 1})
        matching_account(bed, 7)
        bed.powerschool.person(7)["homeschoolid"] = 101
        outcome = bed.run()
        assert outcome.exit_code == 0

`PowerSchool` is edited in memory and written out before every run, and so are the settings. The script runs
as a process of its own and knows nothing of the bed but environment variables and its `--config`.
"""

from __future__ import annotations

import functools
import json
import os
import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, TracebackType
from typing import Any

from google_server import CLIENT_SECRET, SCOPE_PREFIX, SCOPES, GoogleServer, Request
from oracle_server import OracleServer

PROJECT = Path(__file__).resolve().parents[1]
PASSWORD = "rd-0nly-Secret"
# What may be in no output and no file but the two that hold it by design. An access token starts with "ya29.",
# a refresh token with "1//".
SECRETS = (PASSWORD, CLIENT_SECRET, "1//", "ya29.", "Bearer", "Authorization", "PRIVATE KEY")
CURRENT, NO_LONGER_HERE = 1, 2
# What the admin once allowed; a token gets of these what the script asks for.
SIGNED_IN_SCOPES = [*SCOPES, f"{SCOPE_PREFIX}orgunit.readonly", f"{SCOPE_PREFIX}userschema.readonly"]

# School number -> name: one in capitals, one without a building and one that is no school. The district office, 0, has
# no row, as at many sites.
DISTRICT_OFFICE = "District Office"
SCHOOLS = {
    5: "Wauconda High School",
    101: "Wauconda Middle School",
    102: "Matthews Middle School",
    103: "Wauconda Grade School",
    104: "COTTON CREEK SCHOOL",
    105: "Robert Crown School",
    500: "Substitute",
    999999: "Graduated Students",
}
OTHER_ORG_UNITS = ("/Students", "/Suspended Accounts/Locked", "/Administrators", "/Temporary Re-Activations")
SCHEMAS = {
    "Synchronization_Data": {
        "DCID": "INT64", "Homeschool_ID": "INT64", "School_Access_List": "STRING",
        "Staff_Type": "INT64", "Staff_Group": "INT64",
    },
    "CrisisGO": {"Building": "STRING", "CellPhone": "PHONE"},
}  # fmt: skip

TABLES = {
    "SCHOOLS": "dcid NUMBER(10,0), id NUMBER(10,0), school_number NUMBER(10,0), name VARCHAR2(60)",
    "USERS": "dcid NUMBER(10,0), lastfirst VARCHAR2(100), first_name VARCHAR2(100), "
    "middle_name VARCHAR2(100), last_name VARCHAR2(100), preferredname VARCHAR2(100), "
    "email_addr VARCHAR2(50), teachernumber VARCHAR2(20), homeschoolid NUMBER(10,0), "
    "groupvalue NUMBER(10,0), canchangeschool CLOB",
    "SCHOOLSTAFF": "dcid NUMBER(10,0), id NUMBER(10,0), users_dcid NUMBER(10,0), schoolid NUMBER(10,0), "
    "status NUMBER(10,0), staffstatus NUMBER(10,0)",
    "U_HUMANRESOURCES": "usersdcid NUMBER(10,0), cellphone VARCHAR2(30)",
}
KILLED = 1 if sys.platform == "win32" else -9  # the return code of a process that was killed
# How a line begins that tells what is new, or since when it stands.
SINCE_WHEN = r"^(new|since today|since \d{4}-\d\d-\d\d \(\d+ days?\)): "
COPIED_VARIABLES = (
    "PATH", "HOME", "LD_LIBRARY_PATH", "SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT",
    "TEMP", "TMP", "TMPDIR", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "USERNAME",
)  # fmt: skip

Row = dict[str, Any]


class PowerSchool:
    """The tables as rows (dicts with column names in lower case) that a test may edit as it likes."""

    def __init__(self) -> None:
        self.schools: list[Row] = []
        self.users: dict[int, Row] = {}
        self.school_staff: list[Row] = []
        self.extension: list[Row] = []
        self.tables = dict(TABLES)  # their columns, with the types that a district may have otherwise
        self.written = ""

    def add_school(self, number: int, name: str) -> None:
        dcid = len(self.schools) + 1
        self.schools.append({"dcid": dcid, "id": dcid, "school_number": number, "name": name})

    def add_person(
        self,
        dcid: int,
        first: str | None,
        last: str | None,
        email: str | None,
        *,
        schools: Mapping[int, int] | None = None,
        inactive_schools: Mapping[int, int] | None = None,
        homeschool: int | None = None,
        group: int | None = None,
        teacher_number: str | None = None,
        preferred: str | None = None,
        cell_phone: str | None = None,
    ) -> Row:
        """Adds a person; `schools` (school number -> STAFFSTATUS) are those with a current row.

        The home school is the first school unless given; for one that is missing edit the row this gives.
        """
        numbers = [*(schools or {}), *(inactive_schools or {})]
        if homeschool is None and numbers:
            homeschool = numbers[0]
        self.users[dcid] = {
            "dcid": dcid, "first_name": first, "last_name": last, "lastfirst": f"{last}, {first}",
            "preferredname": preferred, "email_addr": email, "teachernumber": teacher_number,
            "homeschoolid": homeschool, "groupvalue": group,
        }  # fmt: skip
        for number, staff_status in (schools or {}).items():
            self.add_school_staff(dcid, number, staff_status)
        for number, staff_status in (inactive_schools or {}).items():
            self.add_school_staff(dcid, number, staff_status, status=NO_LONGER_HERE)
        if cell_phone is not None:
            self.add_extension(dcid, cell_phone)
        return self.users[dcid]

    def add_school_staff(self, dcid: int, school: int, staff_status: int, *, status: int = CURRENT) -> None:
        number = 50_000 + len(self.school_staff)
        self.school_staff.append(
            {"dcid": number, "id": number, "users_dcid": dcid, "schoolid": school,
             "status": status, "staffstatus": staff_status}
        )  # fmt: skip

    def add_extension(self, dcid: int, cell_phone: str | None) -> None:
        """Adds a row to the extension table; nothing there stops a second one for the same person."""
        self.extension.append({"usersdcid": dcid, "cellphone": cell_phone})

    def person(self, dcid: int) -> Row:
        return self.users[dcid]

    def affiliations(self, dcid: int) -> list[Row]:
        """The person's SCHOOLSTAFF rows, to edit."""
        return [row for row in self.school_staff if row["users_dcid"] == dcid]

    def leave(self, dcid: int) -> None:
        for row in self.affiliations(dcid):
            row["status"] = NO_LONGER_HERE

    def remove(self, dcid: int) -> None:
        """Takes the person out of every table."""
        del self.users[dcid]
        self.school_staff = [row for row in self.school_staff if row["users_dcid"] != dcid]
        self.extension = [row for row in self.extension if row["usersdcid"] != dcid]

    def write(self, path: Path) -> None:
        """Writes everything in one transaction, so that whoever reads sees it as it was or as it is.

        What is written already stays as it is: most runs of a test see the same PowerSchool.
        """
        contents = {
            "SCHOOLS": self.schools,
            "USERS": list(self.users.values()),
            "SCHOOLSTAFF": self.school_staff,
            "U_HUMANRESOURCES": self.extension,
        }
        written = repr((path, self.tables, contents))
        if written == self.written:
            return
        with closing(sqlite3.connect(path, isolation_level=None)) as database:
            database.execute("PRAGMA synchronous = OFF")  # it need not outlive a power cut
            database.execute("BEGIN IMMEDIATE")
            for table, rows in contents.items():
                database.execute(f"DROP TABLE IF EXISTS {table}")
                database.execute(f"CREATE TABLE {table} ({self.tables[table]})")
                for row in rows:
                    names, marks = ", ".join(row), ", ".join("?" * len(row))
                    database.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(row.values()))
            database.execute("COMMIT")
        self.written = written


@dataclass(frozen=True)
class Outcome:
    """What one run did: to its caller, to its folder, to Google and to the database."""

    exit_code: int
    output: str
    log: str
    journal: list[Row]
    writes: list[Request]
    requests: list[Request]
    statements: list[str]
    round_trips: int

    def lines(self, level: str) -> list[str]:
        """The lines of this level on the screen, without the time, and without since when something stands."""
        marked = (line.partition(f" {level} ") for line in self.output.splitlines())
        return [re.sub(SINCE_WHEN, "", text.strip()) for _, mark, text in marked if mark]

    def since(self, who: int | str) -> list[str]:
        """Since when all that is told of this person, or in lines with these words, is so: "new", "since ..."."""
        words = f"DCID {who})" if isinstance(who, int) else who
        found = (
            re.search(f"(?:ERROR|WARN |INFO ) {SINCE_WHEN[1:]}", line)
            for line in self.output.splitlines()
            if words in line
        )
        return [match[1] for match in found if match]


class Bed:
    """Both stand-ins and a folder; `settings` override the shipped ones, the code in `config_text` both."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder = Path(folder)
        self.script = PROJECT / "sync.py"
        self.prelude = ""  # code that the process of a run begins with
        self.settings: dict[str, object] = {
            "RETRY_WAIT_SECONDS": 0.01, "RETRY_SECONDS": 0.5, "TIMEOUT_SECONDS": 10, "WRITES_AT_ONCE": 1,
            "BUILDING_ALIASES": {0: "Wauconda High School"}, **settings
        }  # fmt: skip
        self.config_text = ""
        self.environment: dict[str, str] = {}
        self.powerschool = PowerSchool()
        self.database = self.folder / "powerschool.sqlite"
        self.oracle = OracleServer(self.database, password=PASSWORD)
        self.google = GoogleServer()
        self.newest: Outcome | None = None

    def start(self) -> Bed:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.elsewhere.mkdir(exist_ok=True)
        self.write()
        self.config.chmod(0o644)  # whatever the umask here: one that others may write is told
        self.oracle.start()
        self.google.start()
        self.google.write_credentials(self.folder, scopes=SIGNED_IN_SCOPES)
        return self

    def stop(self) -> None:
        self.google.stop()
        self.oracle.stop()

    def __enter__(self) -> Bed:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def config(self) -> Path:
        return self.folder / "config.py"

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def elsewhere(self) -> Path:
        """The working directory of the runs: nothing may appear in it."""
        return self.folder / "elsewhere"

    def setting(self, name: str) -> Any:
        """The value the next run will find."""
        return self.settings[name] if name in self.settings else shipped_settings()[name]

    def write(self) -> None:
        """Writes the settings and the database as the next run shall find them."""
        overrides = "".join(f"{name} = {value!r}\n" for name, value in self.settings.items())
        shipped = (PROJECT / "config.py").read_text(encoding="utf-8")
        self.config.write_text(f"{shipped}\n{overrides}{self.config_text}", encoding="utf-8")
        self.powerschool.write(self.database)

    def process_environment(
        self, env: Mapping[str, str | None] | None = None, *, at_terminal: bool = False
    ) -> dict[str, str]:
        """A clean environment with all a run needs; None in `env` takes a variable away."""
        copied = {
            name: value
            for name, value in os.environ.items()
            if name.upper() in COPIED_VARIABLES or name.upper().startswith(("COVERAGE_", "COV_CORE_"))
        }
        needed = {
            "POWERSCHOOL_PROD_DB": self.oracle.dsn,
            "POWERSCHOOL_READ_USER": "PSNavigator",
            "POWERSCHOOL_DB_PASSWORD": PASSWORD,
        }
        width = {"COLUMNS": "110"} if at_terminal else {}
        wanted = {**copied, **self.google.environment(), **needed, **width, **self.environment, **(env or {})}
        return {name: value for name, value in wanted.items() if value is not None}

    def program(self) -> list[str]:
        """The command that starts the script, behind the prelude if there is one."""
        if not self.prelude:
            return [sys.executable, str(self.script)]
        wrapper = self.folder / "wrapper.py"
        rest = f"import runpy\nrunpy.run_path({str(self.script)!r}, run_name='__main__')\n"
        wrapper.write_text(f"{self.prelude}\n{rest}", "utf-8")
        return [sys.executable, str(wrapper)]

    def launch(
        self, *arguments: str, env: Mapping[str, str | None] | None = None, at_terminal: bool = False
    ) -> subprocess.Popen[bytes]:
        """Starts the script and does not wait; its screen is the process's stdout.

        `at_terminal`: that is a terminal of 110 columns, where there are any (not on Windows).
        """
        terminal, screen = os.openpty() if at_terminal and hasattr(os, "openpty") else (None, subprocess.PIPE)
        process = subprocess.Popen(
            [*self.program(), "--config", str(self.config), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=screen,
            stderr=subprocess.STDOUT,
            cwd=self.elsewhere,
            env=self.process_environment(env, at_terminal=at_terminal),
        )
        if terminal is not None:
            os.close(screen)
            process.stdout = os.fdopen(terminal, "rb")
        return process

    def run(
        self,
        *arguments: str,
        env: Mapping[str, str | None] | None = None,
        timeout: float = 60,
        allow_traceback: bool = False,
        on_line: Callable[[str], None] | None = None,
        at_terminal: bool = False,
    ) -> Outcome:
        """Runs the script to its end; fails if it asked Google for what does not exist or crashed."""
        self.write()
        self.google.reset_records()
        self.oracle.reset_records()
        before = self._journals()
        with closing_process(self.launch(*arguments, env=env, at_terminal=at_terminal), timeout) as process:
            output = read_lines(process, on_line)
        outcome = Outcome(
            process.returncode,
            output,
            self._log(),
            self._new_journal(before),
            list(self.google.writes),
            list(self.google.requests),
            list(self.oracle.statements),
            self.oracle.round_trips,
        )
        self._check(outcome, allow_traceback=allow_traceback)
        self.newest = outcome
        return outcome

    def _check(self, outcome: Outcome, *, allow_traceback: bool) -> None:
        assert not self.google.violations, f"{self.google.violations}\n{outcome.output}"
        assert not list(self.elsewhere.iterdir()), "the run wrote into its working directory"
        left = self.secrets_left(outcome.output)
        assert not left, f"{left}\n{outcome.output}"
        if not allow_traceback:
            assert "Traceback (most recent call last)" not in outcome.output + outcome.log, outcome.output

    def secrets_left(self, output: str) -> list[str]:
        """Every secret in the output or in a file beside config.py, with where it is; after each run there is none."""
        places = {"output": output}
        for path in self.folder.rglob("*"):
            # A certificate is no secret, and may hold a "1//" by chance.
            if path.is_file() and path.name not in {"credentials.json", "token.json"} and path.suffix != ".pem":
                places[path.name] = path.read_bytes().decode("utf-8", "replace")
        passwords = {
            request.body["password"] for request in self.google.requests if request.body and "password" in request.body
        }
        secrets = {*SECRETS, *passwords, self.environment.get("NEW_USER_PASSWORD") or PASSWORD}
        return [f"{secret} in {name}" for name, text in places.items() for secret in secrets if secret in text]

    def _journals(self) -> dict[Path, int]:
        return {path: path.stat().st_size for path in sorted(self.runs.glob("*.jsonl"))}

    def _new_journal(self, before: Mapping[Path, int]) -> list[Row]:
        made = [path for path, size in self._journals().items() if before.get(path) != size]
        if not made:
            return []
        return [json.loads(line) for line in made[-1].read_text(encoding="utf-8").splitlines()]

    def _log(self) -> str:
        """The newest log: StaffLog.txt, or the own one of a run that is not of everybody."""
        paths = [path for path in (*self.runs.glob("*Z.txt"), self.folder / "StaffLog.txt") if path.is_file()]
        newest = max(paths, key=lambda path: path.stat().st_mtime_ns, default=None)
        return newest.read_text(encoding="utf-8") if newest else ""


@functools.lru_cache(maxsize=1)
def shipped_code() -> CodeType:
    path = PROJECT / "config.py"
    return compile(path.read_bytes(), path, "exec")


def shipped_settings() -> dict[str, Any]:
    """What config.py says, anew each time, so that nobody changes it for others."""
    settings: dict[str, Any] = {}
    exec(shipped_code(), settings)  # noqa: S102
    return settings


@contextmanager
def closing_process(process: subprocess.Popen[bytes], timeout: float) -> Iterator[subprocess.Popen[bytes]]:
    """Waits for the process at the end; kills it when the time is over or when the caller gives up."""
    overdue = threading.Event()

    def give_up() -> None:
        overdue.set()
        process.kill()

    timer = threading.Timer(timeout, give_up)
    timer.start()
    try:
        yield process
        process.wait()
    finally:
        timer.cancel()
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()
    assert not overdue.is_set(), f"the run took longer than {timeout} seconds"


def read_lines(process: subprocess.Popen[bytes], on_line: Callable[[str], None] | None) -> str:
    assert process.stdout
    lines = []
    with suppress(OSError):  # how Linux ends a terminal that nobody writes to any more
        for raw in process.stdout:
            # What stood in the line before, as progress does, is not seen any more.
            first, *later = raw.decode("utf-8", "backslashreplace").rstrip("\r\n").split("\r")
            # A question stays, though an answer that nobody typed ends no line.
            asked = re.match(r".*Type yes: ", first) if later else None
            line = (asked.group() if asked else "") + [first, *later][-1]
            lines.append(line)
            if on_line:
                on_line(line)
    return "\n".join(lines)


# A district that works, and accounts that agree with it.


def standard_bed(folder: Path, **settings: object) -> Bed:
    """A bed with the usual schools on both sides and nobody in them yet."""
    bed = Bed(folder, **settings)
    for number, name in SCHOOLS.items():
        bed.powerschool.add_school(number, name)
    standard_google(bed.google)
    return bed


def standard_google(google: GoogleServer, schools: Mapping[int, str] = SCHOOLS) -> None:
    """Adds the org units and custom schemas that the shipped settings name, with an org unit per building."""
    shipped = shipped_settings()
    for number, name in {0: DISTRICT_OFFICE, **schools}.items():
        if number != 999999 and name != shipped["SUBSTITUTE_BUILDING"]:
            google.add_org_unit(f"{shipped['STAFF_OU']}/{in_proper_case(name)}{shipped['BUILDING_OU_SUFFIX']}")
    for path in (shipped["SUBSTITUTE_OU"], shipped["SUSPENDED_OU"], *OTHER_ORG_UNITS):
        google.add_org_unit(path)
    for name, fields in SCHEMAS.items():
        google.add_schema(name, dict(fields))


def in_proper_case(text: str) -> str:
    return text.title() if text.isupper() else text


@dataclass
class MatchingAccount:
    """What the rules want of one person's account, put as `add_user` takes it."""

    bed: Bed
    dcid: int
    row: Row = field(init=False)

    def __post_init__(self) -> None:
        self.row = self.bed.powerschool.person(self.dcid)

    @property
    def email(self) -> str:
        return str(self.row["email_addr"]).strip().lower()

    @property
    def active_rows(self) -> list[Row]:
        return [row for row in self.bed.powerschool.affiliations(self.dcid) if row["status"] == CURRENT]

    @property
    def home_school_name(self) -> str:
        schools = self.bed.powerschool.schools
        named = (row["name"] for row in schools if row["school_number"] == self.row["homeschoolid"])
        return str(next(named, DISTRICT_OFFICE))

    @property
    def staff_type(self) -> int:
        at_home = {row["staffstatus"] for row in self.active_rows if row["schoolid"] == self.row["homeschoolid"]}
        return next((kind for kind in (1, 2, 3, 4, 0) if kind in at_home), 2)

    @property
    def org_unit(self) -> str:
        if not self.active_rows:
            return str(self.bed.setting("SUSPENDED_OU"))
        if self.staff_type == 4 or self.home_school_name == self.bed.setting("SUBSTITUTE_BUILDING"):
            return str(self.bed.setting("SUBSTITUTE_OU"))
        rule = f"{self.bed.setting('STAFF_OU')}/{self.home_school_name}{self.bed.setting('BUILDING_OU_SUFFIX')}"
        return str(self.bed.setting("BUILDING_OUS").get(self.row["homeschoolid"], rule))

    @property
    def cell_phone(self) -> str | None:
        rows = [row for row in self.bed.powerschool.extension if row["usersdcid"] == self.dcid]
        return rows[0]["cellphone"] if len(rows) == 1 else None

    def values(self) -> Row:
        home = self.row["homeschoolid"]
        building = self.bed.setting("BUILDING_ALIASES").get(home) or in_proper_case(self.home_school_name)
        access = sorted({row["schoolid"] for row in self.active_rows})
        return {
            "dcid": self.dcid, "homeschool_id": home, "staff_type": self.staff_type,
            "school_access_list": ";".join(str(number) for number in access),
            "staff_group": self.row["groupvalue"], "teacher_number": self.row["teachernumber"],
            "building": building, "cell_phone": self.cell_phone,
        }  # fmt: skip

    def fields(self) -> dict[str, Row]:
        values = self.values()
        return {
            schema: {name: values[of] for name, of in fields.items() if values[of] not in {None, ""}}
            for schema, fields in self.bed.setting("CUSTOM_SCHEMAS").items()
        }


def matching_fields(bed: Bed, dcid: int, **changes: object) -> dict[str, Row]:
    """The custom fields, by schema, that the rules want; some fields set otherwise (None: left out)."""
    fields = MatchingAccount(bed, dcid).fields()
    for schema, names in bed.setting("CUSTOM_SCHEMAS").items():
        fields[schema] |= {name: value for name, value in changes.items() if name in names}
        fields[schema] = {name: value for name, value in fields[schema].items() if value is not None}
    return fields


def matching_account(bed: Bed, dcid: int, **otherwise: Any) -> str:
    """Adds the Google account that is just as the rules want it for this person; gives its id.

    `otherwise` says in the terms of `add_user` what shall be different, the address and the names included
    (`email`, `given`, `family`).
    """
    wanted = MatchingAccount(bed, dcid)
    account: Row = {
        "email": wanted.email,
        "given": in_proper_case(wanted.row["first_name"]),
        "family": in_proper_case(wanted.row["last_name"]),
        "ou": wanted.org_unit,
        "suspended": not wanted.active_rows,
        "fields": wanted.fields(),
        "employee_id": wanted.row["teachernumber"],
    }
    account |= otherwise
    return bed.google.add_user(account.pop("email"), account.pop("given"), account.pop("family"), **account)
