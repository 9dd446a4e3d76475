#!/usr/bin/env python3
"""Make the staff accounts in Google Workspace agree with PowerSchool.

    python sync.py --dry-run        read and decide the same way, write nothing, print the plan
    python sync.py                  one run
    python sync.py --only WHO ...   only these people: an address, dcid:131, teacher:131, or a bare number
    python sync.py --help           everything else

1. Read PowerSchool: schools, staff and their active buildings, in one read-only snapshot.
2. Read Google: org units, custom schemas, every account.
3. Decide, person by person, what the account should be (`wanted`) and how that differs from what it is (`had`).
4. Hold back what is too much (LIMITS in config.py) before anything is written.
5. Make each change, with a line in the journal before and after it.
6. Tell what was done and who needs a person.

Exit codes: 0 done; 1 done, somebody needs attention; 2 could not run or could not finish; 3 a limit or sanity
check held something back; 4 another run is under way.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import difflib
import getpass
import json
import logging
import os
import queue
import re
import runpy
import secrets
import socket
import sys
import threading
import time
import traceback
import unicodedata
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from datetime import date, datetime, timezone
from email.utils import parsedate_to_datetime
from functools import partial
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path
from ssl import SSLCertVerificationError
from typing import IO, Any, NoReturn

# On Python 3.10 Google's packages announce at every start that they will stop supporting it.
warnings.filterwarnings("ignore", category=FutureWarning, module="google")

try:
    import google.auth.exceptions
    import google_auth_httplib2
    import httplib2
    import oracledb
    from google.api_core.exceptions import RetryError
    from google.api_core.retry import Retry
    from google.oauth2.credentials import Credentials
    from googleapiclient.discovery import build
    from googleapiclient.errors import HttpError
except RuntimeError as error:
    # httplib2 reads HTTPLIB2_CA_CERTS when it is imported.
    (sys.stderr or open(os.devnull, "w")).write(  # noqa: PTH123, SIM115 - pythonw has no stderr
        f"ERROR {error}: correct that environment variable. Nothing was read or written\n"
    )
    raise SystemExit(2) from None
except ImportError as missing:
    venv = Path(__file__).resolve().with_name(".venv")
    other = f", or start it with the Python of {venv}" if venv.is_dir() and Path(sys.prefix).resolve() != venv else ""
    (sys.stderr or open(os.devnull, "w")).write(  # noqa: PTH123, SIM115 - pythonw has no stderr
        f"ERROR The Python package '{missing.name or 'named here'}' is missing or broken ({missing}), so nothing was "
        f"read or written: run  {sys.executable} -m pip install -r {venv.with_name('requirements.txt')}{other}\n"
    )
    raise SystemExit(2) from None

VERSION = "1.0"
DONE, ATTENTION, FAILED, HELD, BUSY = 0, 1, 2, 3, 4

log = logging.getLogger("staffsync")

# Directory API reference, "Authorization" of each method: the least that a run needs.
SCOPES = tuple(
    "https://www.googleapis.com/auth/admin.directory." + name
    for name in ("user", "group.readonly", "group.member", "orgunit.readonly", "userschema.readonly")
)
USER_FIELDS = (
    "id,primaryEmail,aliases,nonEditableAliases,name(givenName,familyName),orgUnitPath,suspended,suspensionReason,"
    "archived,isAdmin,isDelegatedAdmin,lastLoginTime,customSchemas,externalIds"
)

# PowerSchool, data dictionary: SCHOOLSTAFF.STATUS 1 is Current; STAFFSTATUS is 0 not assigned, 1 teacher, 2 staff,
# 3 lunch staff, 4 substitute. USERS has no ID column: the person's key is DCID.
STATUS_CURRENT = 1
TYPE_UNASSIGNED, TYPE_STAFF, TYPE_SUBSTITUTE = 0, 2, 4
NO_SCHOOL = -1  # where SCHOOLID or HOMESCHOOLID is NULL: no building one can name
SCHOOLS_SQL = "SELECT school_number, name FROM {prefix}schools"
STAFF_SQL = """
SELECT u.dcid, u.first_name, u.last_name, u.preferredname, u.email_addr, u.teachernumber, u.homeschoolid,
       u.groupvalue{columns}
FROM {prefix}users u{joins}
ORDER BY u.dcid"""
EXTENSION_JOIN = """
LEFT JOIN (SELECT usersdcid, COUNT(*) AS row_count, {values}
           FROM {prefix}{table} GROUP BY usersdcid) {alias} ON {alias}.usersdcid = u.dcid"""
ACTIVE_SQL = """
SELECT users_dcid, schoolid, staffstatus FROM {prefix}schoolstaff
WHERE status = :status_current"""

# What --check tries of each table: the columns of the statements above.
PROBE_SQL = "SELECT {columns} FROM {table} WHERE 1 = 0"
TABLES = {
    "schools": ("school_number", "name"),
    "users": ("dcid", "first_name", "last_name", "preferredname", "email_addr", "teachernumber", "homeschoolid",
              "groupvalue"),
    "schoolstaff": ("users_dcid", "schoolid", "staffstatus", "status"),
}  # fmt: skip

PERSON_VALUES = (
    "dcid", "homeschool_id", "school_access_list", "staff_type", "staff_group", "teacher_number", "building",
)  # fmt: skip
DEFAULT_LIMITS = {
    "create": 50, "link": 50, "rename": 10, "name": 10, "move": 100, "suspend": 10, "reactivate": 10,
    "move to suspended": 25, "clear": 25,
}  # fmt: skip
# A held change of these kinds holds everything else of that person too.
WHOLE_PERSON = frozenset({"create", "link", "suspend", "reactivate", "move to suspended"})
LONGEST_NAME, LONGEST_VALUE = 60, 500
# Google Workspace Help 9193374: letters, digits, - _ ' and single dots inside.
LOCAL_PART = re.compile(r"[a-z0-9_'-]+(\.[a-z0-9_'-]+)*")
NO_ADDRESS = "Google accepts no such address (only a to z, digits, - _ ' and single dots, at most 64 before the @)"
FAILURES_IN_A_ROW = 10


class RunError(Exception):
    """The run cannot start or go on: one sentence for the admin, and the exit code."""

    def __init__(self, sentence: str, exit_code: int = FAILED) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


class GoogleError(Exception):
    """One request failed, after what retrying there is: a matter of one person, not of the run."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"Google answered {status} {reason}: {message}" if status else message)
        self.status, self.reason, self.message = status, reason, message

    @property
    def can_heal(self) -> bool:
        """True where the same request may succeed later."""
        return self.status == 0 or heals(self.status, self.reason, self.message)

    @property
    def is_uncertain(self) -> bool:
        """True where Google may have carried the request out: no answer, or what a request sent twice is told."""
        return self.can_heal or self.status in {404, 409, 412}


@dataclass(frozen=True)
class Settings:
    """config.py, checked: the names and meanings are the ones there."""

    GOOGLE_DOMAINS: list[str]
    STAFF_OU: str
    BUILDING_OU_SUFFIX: str
    BUILDING_OUS: dict[int, str]
    SUBSTITUTE_OU: str
    SUBSTITUTE_BUILDING: str
    SUSPENDED_OU: str
    FROZEN_OUS: list[str]
    TEMPORARY_REACTIVATION_OUS: list[str]
    PROTECTED_OUS: list[str]
    HANDS_OFF: dict[str, tuple[str, str]]
    BAD_NAMES: list[str]
    SKIP_NUMERIC_EMAILS: bool
    CUSTOM_SCHEMAS: dict[str, dict[str, str]]
    EXTENSION_COLUMNS: dict[str, str]
    POWERSCHOOL_SCHEMA: str
    BUILDING_ALIASES: dict[int, str]
    SET_EMPLOYEE_ID: bool
    LINK_BY_EMAIL: bool
    UPDATE_NAMES: bool
    PREFERRED_FIRST_NAME: bool
    REMOVE_SUSPENDED_FROM_GROUPS: bool
    LIMITS: dict[str, int]
    PRIVATE_VALUES: list[str]
    # Added after the first release, so with a default: an update never stops a running district.
    HOLD_SUSPENSIONS: list[tuple[str, str]] = field(default_factory=list)
    KEEP_DAYS: int = 400
    TIMEOUT_SECONDS: float = 60
    RETRY_WAIT_SECONDS: float = 1
    RETRY_SECONDS: float = 120
    RUN_MINUTES: float = 120


@dataclass(frozen=True)
class Staff:
    """One USERS row with the person's active SCHOOLSTAFF rows; names and addresses trimmed, "" where NULL."""

    dcid: int
    first_name: str
    last_name: str
    email: str
    teacher_number: str = ""
    homeschool: int = NO_SCHOOL
    group: str = ""
    schools: tuple[tuple[int, int], ...] = ()  # (school number, staff type) of each active row
    extension: Mapping[str, str] = field(default_factory=dict)
    ambiguous: frozenset[str] = frozenset()  # names of extension values with more than one row

    @property
    def is_active(self) -> bool:
        return bool(self.schools)

    def __str__(self) -> str:
        name = " ".join((self.first_name, self.last_name)).strip() or "(no name)"
        return f"{name}, {self.email or 'no address'} (DCID {self.dcid})"


@dataclass(frozen=True)
class Account:
    """A Google account as it is (`had`) or should be (`wanted`); fields are "Schema.Field" -> text, "" for none."""

    id: str = ""
    email: str = ""
    aliases: tuple[str, ...] = ()
    given_name: str = ""
    family_name: str = ""
    org_unit: str = ""
    suspended: bool = False
    suspension_reason: str = ""
    archived: bool = False
    is_admin: bool = False
    is_delegated_admin: bool = False
    last_sign_in: str = ""
    dcid: int | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    employee_id: str = ""
    external_ids: tuple[Mapping[str, Any], ...] = ()

    @property
    def is_open(self) -> bool:
        return not self.suspended and not self.archived

    @property
    def state(self) -> str:
        return "archived" if self.archived else "suspended" if self.suspended else "open"


@dataclass(frozen=True)
class Change:
    """One kind of change to one account; before and after name the attributes of `Account` it touches."""

    kind: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]


@dataclass(frozen=True)
class Note:
    """Something to say: level INFO or ERROR, the rule it comes from, and the reason in words.

    Notes with the same non-empty `shared` reason are told in one line that names everybody.
    """

    level: str
    rule: str
    reason: str
    who: str = ""
    shared: bool = False


@dataclass(frozen=True)
class Plan:
    """What is to be done about one person: nothing, a creation (`had` is None), or changes to an account."""

    person: Staff
    had: Account | None = None
    wanted: Account | None = None
    changes: tuple[Change, ...] = ()
    notes: tuple[Note, ...] = ()
    evidence: str = ""

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset(change.kind for change in self.changes)


@dataclass(frozen=True)
class PowerSchool:
    """What PowerSchool says: school number -> name, and everybody in USERS."""

    schools: Mapping[int, str]
    staff: tuple[Staff, ...]


@dataclass(frozen=True)
class Directory:
    """What Google says. Org units are lower-case path -> path; `groups` are addresses found to be groups."""

    accounts: Mapping[str, Account]  # by Google's id
    org_units: Mapping[str, str]
    field_types: Mapping[str, str]  # "Schema.Field" -> STRING, INT64, ...
    dcid_is_indexed: bool = True
    groups: frozenset[str] = frozenset()
    unconfirmed: Mapping[int, str] = field(default_factory=dict)  # DCID -> why its look-up failed


@dataclass(frozen=True)
class District:
    """Everything a decision may look at: the settings, both sides with their indexes, and today's date."""

    settings: Settings
    schools: Mapping[int, str]
    staff: Mapping[int, Staff]
    directory: Directory
    today: date
    admin_email: str = ""
    named: bool = False  # --only was given: the hold window does not apply
    by_dcid: Mapping[int, tuple[Account, ...]] = field(default_factory=dict)
    by_address: Mapping[str, Account] = field(default_factory=dict)
    active_by_address: Mapping[str, tuple[Staff, ...]] = field(default_factory=dict)
    by_employee_id: Mapping[str, tuple[Account, ...]] = field(default_factory=dict)
    by_name: Mapping[tuple[str, str], tuple[Account, ...]] = field(default_factory=dict)


@dataclass
class Run:
    """What one run keeps while it goes: the only thing here that changes."""

    settings: Settings
    folder: Path
    started: datetime
    deadline: float
    api: Any = None
    requests: int = 0
    change_number: int = 0
    writes: int = 0
    journal_file: IO[str] | None = None
    done: Counter[str] = field(default_factory=Counter)
    failures: list[Note] = field(default_factory=list)
    no_licences: bool = False

    @property
    def name(self) -> str:
        return self.started.strftime("%Y%m%dT%H%M%SZ")


# Settings: config.py and the environment, every fault in one go.


def is_text_list(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(entry, str) and entry.strip() for entry in value)


def is_path(value: object) -> bool:
    return isinstance(value, str) and value.startswith("/") and len(value) > 1 and not value.endswith("/")


def is_path_list(value: object) -> bool:
    return isinstance(value, list) and all(is_path(entry) for entry in value)


def is_day(value: object) -> bool:
    with contextlib.suppress(ValueError):
        return isinstance(value, str) and bool(date.fromisoformat(value))
    return False


def is_month_day(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"\d\d-\d\d", value) is not None and is_day(f"2028-{value}")


def is_pair(value: object) -> bool:
    return isinstance(value, (tuple, list)) and len(value) == 2 and all(isinstance(part, str) for part in value)


def is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= 86400


def is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_identifier(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[A-Za-z][A-Za-z0-9_$#]{0,127}", value) is not None


def is_dict(value: object, is_key: Callable[[Any], bool], is_value: Callable[[Any], bool]) -> bool:
    return isinstance(value, dict) and all(is_key(key) and is_value(entry) for key, entry in value.items())


def is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def is_person(key: object) -> bool:
    pattern = r"\s*((dcid:)?\d+|[^@\s]+@[^@\s]+)\s*"
    return is_count(key) or (isinstance(key, str) and re.fullmatch(pattern, key, re.IGNORECASE) is not None)


def is_schemas(value: object) -> bool:
    def is_schema(entry: object) -> bool:
        return is_dict(entry, is_name, is_text) and bool(entry)

    def is_name(name: object) -> bool:
        return isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9_-]+", name) is not None

    return is_dict(value, is_name, is_schema)


def is_column(value: object) -> bool:
    return isinstance(value, str) and value.count(".") == 1 and all(is_identifier(part) for part in value.split("."))


def is_bool(value: object) -> bool:
    return isinstance(value, bool)


PATH = (is_path, 'a path such as "/D118 Staff"')
PATHS = (is_path_list, 'a list of paths such as ["/Students"]')
YES_NO = (is_bool, "True or False")
POSITIVE = (is_number, "a number above 0 and at most 86400")
SETTING_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "GOOGLE_DOMAINS": (
        lambda value: is_text_list(value) and bool(value) and all(re.fullmatch(r"[^@\s]+", entry) for entry in value),
        'a list of domains such as ["d118.org"], not empty',
    ),
    "STAFF_OU": PATH,
    "BUILDING_OU_SUFFIX": (lambda value: isinstance(value, str), 'text such as " Staff"'),
    "BUILDING_OUS": (
        lambda value: is_dict(value, is_count, is_path), 'school number -> path, such as {133: "/Transportation"}',
    ),
    "SUBSTITUTE_OU": PATH,
    "SUBSTITUTE_BUILDING": (lambda value: isinstance(value, str), 'a school name such as "Substitute"'),
    "SUSPENDED_OU": PATH,
    "FROZEN_OUS": PATHS,
    "TEMPORARY_REACTIVATION_OUS": PATHS,
    "PROTECTED_OUS": PATHS,
    "HANDS_OFF": (
        lambda value: is_dict(
            value,
            is_person,
            lambda entry: is_pair(entry) and is_text(entry[0]) and is_day(entry[1]),
        ),
        'address or DCID -> (reason, day), such as {"pat.lee@d118.org": ("on leave", "2027-06-30")}',
    ),
    "BAD_NAMES": (is_text_list, 'a list of names such as ["test teacher"]'),
    "SKIP_NUMERIC_EMAILS": YES_NO,
    "CUSTOM_SCHEMAS": (is_schemas, 'schema -> field -> value, such as {"Synchronization_Data": {"DCID": "dcid"}}'),
    "EXTENSION_COLUMNS": (
        lambda value: is_dict(value, is_text, is_column), 'name -> "table.column", or {} where there are none',
    ),
    "POWERSCHOOL_SCHEMA": (lambda value: value == "" or is_identifier(value), '"" or a schema such as "PS"'),
    "BUILDING_ALIASES": (lambda value: is_dict(value, is_count, is_text), "school number -> building name"),
    "SET_EMPLOYEE_ID": YES_NO,
    "LINK_BY_EMAIL": YES_NO,
    "UPDATE_NAMES": YES_NO,
    "PREFERRED_FIRST_NAME": YES_NO,
    "REMOVE_SUSPENDED_FROM_GROUPS": YES_NO,
    "LIMITS": (
        lambda value: is_dict(value, DEFAULT_LIMITS.__contains__, is_count),
        "kind -> most people, the kinds being " + ", ".join(DEFAULT_LIMITS),
    ),
    "PRIVATE_VALUES": (is_text_list, 'a list of values such as ["cell_phone"]'),
    "HOLD_SUSPENSIONS": (
        lambda value: isinstance(value, list)
        and all(is_pair(pair) and all(is_month_day(day) for day in pair) for pair in value),
        'a list of month-day pairs such as [("06-10", "08-20")]',
    ),
    "KEEP_DAYS": POSITIVE,
    "TIMEOUT_SECONDS": POSITIVE,
    "RETRY_WAIT_SECONDS": POSITIVE,
    "RETRY_SECONDS": POSITIVE,
    "RUN_MINUTES": POSITIVE,
}  # fmt: skip


def check_config(values: Mapping[str, Any]) -> list[str]:
    """Every fault of config.py, a sentence each; `values` are its upper-case names. Empty if it can be used."""
    required = {entry.name for entry in fields(Settings) if entry.default is entry.default_factory is MISSING}
    faults = [f"{name} is missing" for name in SETTING_RULES if name in required and name not in values]
    for name, value in values.items():
        if name not in SETTING_RULES:
            near = difflib.get_close_matches(name, SETTING_RULES, 1)
            faults.append(f"{name} is not a setting" + (f": is {near[0]} meant?" if near else ""))
        elif not SETTING_RULES[name][0](value):
            faults.append(f"{name} must be {SETTING_RULES[name][1]}{faulty_entries(value, SETTING_RULES[name][0])}")
    return faults or check_values(values)


def faulty_entries(value: object, is_good: Callable[[Any], bool]) -> str:
    """Which entries of a faulty list or dictionary are the faulty ones, in words, or ""."""
    bad: list[object] = []
    if isinstance(value, dict):
        bad = [key for key, entry in value.items() if not is_good({key: entry})]
    elif isinstance(value, list):
        bad = [entry for entry in value if not is_good([entry])]
    return f": look at {', '.join(map(repr, bad))}" if bad else ""


def check_values(values: Mapping[str, Any]) -> list[str]:
    """Faults between settings that are each well-formed."""
    used = [value for schema in values["CUSTOM_SCHEMAS"].values() for value in schema.values()]
    known = [*PERSON_VALUES, *values["EXTENSION_COLUMNS"]]
    faults = [
        f"CUSTOM_SCHEMAS names the value '{v}', which is none of {', '.join(known)}" for v in used if v not in known
    ]
    faults += [f"PRIVATE_VALUES names '{v}', which is no value" for v in values["PRIVATE_VALUES"] if v not in known]
    faults += [
        f"EXTENSION_COLUMNS may not use the name '{v}'" for v in values["EXTENSION_COLUMNS"] if v in PERSON_VALUES
    ]
    if used.count("dcid") != 1:
        faults.append(f"CUSTOM_SCHEMAS must hold dcid in exactly one field, not in {used.count('dcid')}")
    places = [(name, values[name]) for name in ("STAFF_OU", "SUBSTITUTE_OU", "SUSPENDED_OU")]
    places += [("BUILDING_OUS", path) for path in values["BUILDING_OUS"].values()]
    return faults + [
        f"{path} ({name}) lies in {shelter}, so whoever is there would never be closed"
        for shelter in ("PROTECTED_OUS", "TEMPORARY_REACTIVATION_OUS")
        for name, path in places
        if is_at_or_below(path, values[shelter])
    ]


def read_config(path: Path) -> tuple[dict[str, Any], list[str]]:
    """The settings in this config.py by name, and a sentence for every fault in it."""
    try:
        values = {name: value for name, value in runpy.run_path(str(path)).items() if name.isupper()}
        return values, check_config(values)
    except OSError as error:
        return {}, [f"it cannot be read ({error.strerror}); name it with --config, or copy the shipped one there"]
    except SyntaxError as error:
        return {}, [f"line {error.lineno} is not valid Python ({error.msg})"]
    except (Exception, SystemExit) as error:  # noqa: BLE001 - config.py is the admin's own Python and may raise anything
        line = traceback.extract_tb(error.__traceback__)[-1].lineno
        words = f"it stops at line {line} with {type(error).__name__}: {error}"
        hint = " (True, False and None begin with a capital, and text stands in quotes)"
        return {}, [words + (hint if isinstance(error, NameError) else "")]


def settings_of(values: Mapping[str, Any]) -> Settings:
    return Settings(**{**values, "LIMITS": DEFAULT_LIMITS | values["LIMITS"]})


def load_settings(path: Path) -> Settings:
    """The settings in this config.py; a RunError that names every fault otherwise, those of the environment too."""
    values, faults = read_config(path)
    everything = [f"{path}: {'; '.join(faults)}"] if faults else []
    everything += check_environment()
    if everything:
        raise RunError(f"Settings: {'; '.join(everything)}")
    return settings_of(values)


def own_admin() -> str:
    """The address of the admin account named in the environment, which is never written, or ""."""
    return os.environ.get("GOOGLE_ADMIN_EMAIL", "").strip().lower()


def check_environment() -> list[str]:
    faults = [
        f"the environment variable {name} is not set for the account {account_name()}, which runs this: set it there"
        for name in ("POWERSCHOOL_PROD_DB", "POWERSCHOOL_DB_PASSWORD")
        if not os.environ.get(name)
    ]
    if "@" in os.environ.get("POWERSCHOOL_PROD_DB", ""):
        faults.append(
            "the environment variable POWERSCHOOL_PROD_DB must hold no user and password, only host:1521/PSPRODDB"
        )
    password = os.environ.get("NEW_USER_PASSWORD", "")
    if password and not (8 <= len(password) <= 100 and password.isascii() and password.isprintable()):
        faults.append("the environment variable NEW_USER_PASSWORD must be 8 to 100 ASCII characters, or not set")
    return faults


# Reading PowerSchool: one read-only snapshot, three statements.

BAD_ADDRESS = "it must look like host:1521/PSPRODDB (a service name, not a SID)"
UNKNOWN_SERVICE = (
    "the listener does not know this service: correct the part after the slash; if it worked before, the database "
    "is down, so run again later"
)
UNKNOWN_SID = "the listener does not know this SID: use host:1521/SERVICE"
NO_CONNECTION = "there is no connection: check host, port, firewall and VPN or tunnel"
NATIVE_ENCRYPTION = "the server asks for native network encryption: set ORACLE_CLIENT_DIR to an Oracle client's folder"
WRONG_CLIENT = (
    "the Oracle client in ORACLE_CLIENT_DIR does not suit this server's version: "
    "install version 19, which reaches 11.2 and later"
)
ORACLE_REMEDIES = {
    "ORA-01017": "the user name or password is wrong: correct POWERSCHOOL_READ_USER and POWERSCHOOL_DB_PASSWORD "
    "(it is not tried again, so that the login does not get locked)",
    "ORA-28000": "the login is locked: ask whoever runs the database to unlock it",
    "ORA-28001": "the login's password has expired: set a new one in Oracle and in POWERSCHOOL_DB_PASSWORD",
    "ORA-00942": "a table is not there or not readable: grant SELECT on it, set POWERSCHOOL_SCHEMA = \"PS\" in "
    "config.py, or correct EXTENSION_COLUMNS",
    "ORA-01031": "the login lacks a right: grant it SELECT on the tables named in README.md",
    "ORA-00904": "a column is not there: correct EXTENSION_COLUMNS in config.py",
    "ORA-01555": "the database could not keep the snapshot long enough: run again at a quieter time",
    "ORA-01045": "the login may not sign in: grant it CREATE SESSION",
    **dict.fromkeys(
        ("ORA-01033", "ORA-01034", "ORA-12528"), "the database is starting, stopping or down: run again later"
    ),
    **dict.fromkeys(("DPY-6001", "ORA-12514"), UNKNOWN_SERVICE),
    **dict.fromkeys(("DPY-6003", "ORA-12505"), UNKNOWN_SID),
    **dict.fromkeys(("DPY-6005", "ORA-12170", "ORA-12541", "ORA-12545"), NO_CONNECTION),
    **dict.fromkeys(("DPY-3001", "ORA-12660"), NATIVE_ENCRYPTION),
    **dict.fromkeys(("ORA-03134", "ORA-28040", "DPI-1050"), WRONG_CLIENT),
    "DPY-6000": "the listener refused: run again later; if it stays so, ask whoever runs the database",
    "DPY-4011": "the connection was closed: run again; if it happens at every login, the server asks for native "
    "encryption, so set ORACLE_CLIENT_DIR",
    "DPY-3010": "the server is older than 12.1: set ORACLE_CLIENT_DIR to the folder of an Oracle client of version 19 "
    "or before",
    "DPY-3015": "the login has only an old password verifier: have its password set anew, or set ORACLE_CLIENT_DIR",
    "DPY-4024": "PowerSchool did not answer in TIMEOUT_SECONDS: run again, or raise it in config.py",
    **dict.fromkeys(
        ("DPY-2049", "DPY-4000", "DPY-4017", "DPY-4018", "DPY-4021", "DPY-4026", "DPY-4027", "DPY-4028", "ORA-12154"),
        BAD_ADDRESS,
    ),
    "DPI-1047": "no Oracle client library is in ORACLE_CLIENT_DIR: correct it (on Linux that folder has to be in "
    "LD_LIBRARY_PATH too), or unset it for thin mode",
}  # fmt: skip


def reason_of(error: BaseException) -> BaseException:
    """The error behind a DPY-6005, in which the driver wraps whatever makes a connection fail."""
    return reason_of(error.__cause__) if error.__cause__ and "DPY-6005" in str(error) else error


def oracle_remedy(error: BaseException) -> str:
    """What to do; of several codes in Oracle's words the last that is known is nearest to the reason."""
    words = str(error)
    if "bequeath" in words:  # the driver's word for an address without a host
        return BAD_ADDRESS
    codes = re.findall(r"\b(?:ORA|DPY|DPI)-\d+", words)
    known = [code for code in codes if code in ORACLE_REMEDIES]
    if known:
        return ORACLE_REMEDIES[known[-1]]
    return "see Troubleshooting in README.md" if codes else NO_CONNECTION


def oracle_failure(error: oracledb.Error | OSError, doing: str) -> RunError:
    """One sentence: what was being done, what to do, and Oracle's own words; never the password."""
    reason = reason_of(error)
    own_words = " ".join(str(reason).split("\n")[0].split())
    dsn = os.environ.get("POWERSCHOOL_PROD_DB", "")
    place, own_words = (
        words.replace(os.environ["POWERSCHOOL_DB_PASSWORD"], "(hidden)")
        for words in (f"{user_name()} at POWERSCHOOL_PROD_DB={dsn}", own_words)
    )
    return RunError(f"PowerSchool ({place}), {doing}: {oracle_remedy(reason)} [{own_words}]")


def user_name() -> str:
    return os.environ.get("POWERSCHOOL_READ_USER") or "PSNavigator"


def connect_powerschool(settings: Settings) -> oracledb.Connection:
    """A signed-in connection; RunError with the remedy. The login is tried once, so that it does not get locked."""
    oracledb.defaults.fetch_lobs = False
    answer: queue.Queue[oracledb.Connection | oracledb.Error | OSError] = queue.Queue()

    def connect() -> None:
        try:
            client = os.environ.get("ORACLE_CLIENT_DIR")
            if client:
                oracledb.init_oracle_client(lib_dir=client)
            answer.put(
                oracledb.connect(
                    user=user_name(),
                    password=os.environ["POWERSCHOOL_DB_PASSWORD"],
                    dsn=os.environ["POWERSCHOOL_PROD_DB"],
                    tcp_connect_timeout=settings.TIMEOUT_SECONDS,
                )
            )
        except (oracledb.Error, OSError, ValueError, TypeError) as error:
            answer.put(error if isinstance(error, (oracledb.Error, OSError)) else OSError(str(error)))

    # The driver's own time-out ends with the TCP connection: a listener that never answers would hold it for ever.
    threading.Thread(target=connect, daemon=True).start()
    try:
        connection = answer.get(timeout=settings.TIMEOUT_SECONDS + 1)
    except queue.Empty:
        connection = TimeoutError(f"no answer in {settings.TIMEOUT_SECONDS:g} seconds")
    if isinstance(connection, (oracledb.Error, OSError)):
        raise oracle_failure(connection, "signing in") from None
    connection.call_timeout = int(settings.TIMEOUT_SECONDS * 1000)
    return connection


def fetch(connection: oracledb.Connection, sql: str, doing: str, **binds: object) -> list[tuple[Any, ...]]:
    """Every row of this statement, or a RunError: part of an answer is no answer."""
    try:
        with connection.cursor() as cursor:
            cursor.arraysize = 1000
            cursor.prefetchrows = 1001
            cursor.execute(sql, **binds)
            rows = cursor.fetchall() if cursor.description else []
    except ValueError as error:
        raise RunError(f"PowerSchool, {doing}: a value cannot be read ({error}): correct that row") from None
    except (oracledb.Error, OSError) as error:
        raise oracle_failure(error, doing) from None
    log.debug("PowerSchool: %s: %d rows", doing, len(rows))
    return rows


def schema_prefix(settings: Settings) -> str:
    return f"{settings.POWERSCHOOL_SCHEMA}." if settings.POWERSCHOOL_SCHEMA else ""


def read_powerschool(settings: Settings) -> PowerSchool:
    """Schools and everybody in USERS with their active buildings, as of one moment; RunError if anything fails."""
    prefix = schema_prefix(settings)
    connection = connect_powerschool(settings)
    try:
        fetch(connection, "SET TRANSACTION READ ONLY", "opening a read-only transaction")
        schools = fetch(connection, SCHOOLS_SQL.format(prefix=prefix), f"reading {prefix}SCHOOLS")
        staff = fetch(connection, staff_sql(settings, prefix), f"reading {prefix}USERS and EXTENSION_COLUMNS")
        active = fetch(
            connection,
            ACTIVE_SQL.format(prefix=prefix),
            f"reading {prefix}SCHOOLSTAFF",
            status_current=STATUS_CURRENT,
        )
    finally:
        with contextlib.suppress(oracledb.Error, OSError):
            connection.close()
    buildings = defaultdict(set)
    for dcid, school, staff_type in active:
        buildings[whole(dcid, "SCHOOLSTAFF.USERS_DCID")].add(
            (
                NO_SCHOOL if school is None else whole(school, "SCHOOLSTAFF.SCHOOLID"),
                TYPE_UNASSIGNED if staff_type is None else int(staff_type),
            )
        )
    return PowerSchool(
        schools={whole(number, "SCHOOLS.SCHOOL_NUMBER"): clean(name) for number, name in schools if number is not None},
        staff=tuple(staff_from(row, settings, buildings) for row in staff),
    )


def select_fault(connection: oracledb.Connection, table: str, columns: Sequence[str]) -> str:
    """Why these columns cannot be selected, or ""; no row is read."""
    try:
        fetch(connection, PROBE_SQL.format(columns=", ".join(columns), table=table), f"reading {table}")
    except RunError as error:
        return str(error)
    return ""


def extension_tables(settings: Settings) -> dict[str, list[tuple[str, str]]]:
    """Extension table -> its (name of the value, column) pairs, in the order of EXTENSION_COLUMNS."""
    tables: dict[str, list[tuple[str, str]]] = {}
    for name, column in settings.EXTENSION_COLUMNS.items():
        table, _, column_name = column.lower().partition(".")
        tables.setdefault(table, []).append((name, column_name))
    return tables


def staff_sql(settings: Settings, prefix: str) -> str:
    """The statement that reads USERS; an extension table adds its row count and one column per value.

    A person may have no extension row, and in a one-to-many table several: hence the LEFT JOIN and the count.
    """
    columns, joins = "", ""
    for number, (table, values) in enumerate(extension_tables(settings).items(), 1):
        alias = f"extension_{number}"
        columns += f", {alias}.row_count" + "".join(f", {alias}.value_{n}" for n in range(len(values)))
        joins += EXTENSION_JOIN.format(
            values=", ".join(f"MAX({column}) AS value_{n}" for n, (_, column) in enumerate(values)),
            prefix=prefix,
            table=table,
            alias=alias,
        )
    return STAFF_SQL.format(prefix=prefix, columns=columns, joins=joins)


def staff_from(row: tuple[Any, ...], settings: Settings, buildings: Mapping[int, set[tuple[int, int]]]) -> Staff:
    dcid, first, last, preferred, email, number, homeschool, group, *extension = row
    values, ambiguous = {}, set()
    rest = iter(extension)
    for columns in extension_tables(settings).values():
        row_count = next(rest) or 0
        for name, _ in columns:
            values[name] = text_of(next(rest))
            if row_count > 1:
                ambiguous.add(name)
    return Staff(
        dcid=whole(dcid, "USERS.DCID"),
        first_name=(clean(preferred) if settings.PREFERRED_FIRST_NAME else "") or clean(first),
        last_name=clean(last),
        email=text_of(email).lower(),
        teacher_number=text_of(number),
        homeschool=NO_SCHOOL if homeschool is None else whole(homeschool, "USERS.HOMESCHOOLID"),
        group=text_of(group),
        schools=tuple(sorted(buildings.get(int(dcid), ()))),
        extension=values,
        ambiguous=frozenset(ambiguous),
    )


def whole(value: Any, column: str) -> int:
    """A key as an int; PowerSchool's NUMBER columns may arrive as 131 or 131.0, anything else is refused."""
    if isinstance(value, (int, float)) and value == int(value):
        return int(value)
    raise RunError(f"PowerSchool: {column} holds {value!r}, which is not a whole number: correct that row")


def text_of(value: Any) -> str:
    """A column's value as trimmed text: NULL is "", 131.0 is "131"."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, datetime):
        value = value.date()
    return str(value).strip()


# Unicode's marks of text direction, zero-width spaces and soft hyphens; the joiners of Persian and Hindi stay.
INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")


def clean(value: Any) -> str:
    """A name on one line: without control and invisible characters, which nobody typed on purpose."""
    text = INVISIBLE.sub("", " ".join(text_of(value).split()))
    return "".join(letter for letter in text if unicodedata.category(letter) != "Cc").strip()


# Reading Google: signing in, then the whole account once.


def connect_google(run: Run, interactive: bool) -> Any:
    """The Directory API, signed in with a fresh token; RunError with the remedy where that is impossible."""
    credentials = google_credentials(run, interactive)
    if isinstance(credentials, Credentials):
        try:
            write_private(run.folder / "token.json", credentials.to_json())
        except RunError as error:
            log.warning("%s; this run goes on with the sign-in it has read", error)
    return directory_api(run, credentials)


def google_credentials(run: Run, interactive: bool) -> Any:
    """The sign-in with an access token fresh from Google; RunError with the remedy where there is none."""
    path = run.folder / "credentials.json"
    client = read_client(path)
    if client.get("type") == "service_account":
        credentials = delegated_credentials(path, client)
    else:
        oauth_client(path)
        if not (run.folder / "token.json").exists() and interactive:
            authorize(run.folder)
        credentials = saved_credentials(run.folder)
    return refreshed(run, credentials, SCOPES)


def refreshed(run: Run, credentials: Any, scopes: Sequence[str]) -> Any:
    """These credentials with an access token fresh from Google; RunError with the remedy where there is none."""
    http = httplib2.Http(timeout=run.settings.TIMEOUT_SECONDS)

    def refresh() -> None:
        run.requests += 1
        credentials.refresh(google_auth_httplib2.Request(http))

    try:
        retrying(run.settings, refresh)
    except google.auth.exceptions.RefreshError as error:
        raise refused_token(error, scopes) from None
    except (*TRANSPORT_ERRORS, TypeError, ValueError) as error:  # a filter's page for a token, a proxy without a port
        raise unreachable(error) from None
    return credentials


def directory_api(run: Run, credentials: Any) -> Any:
    http = google_auth_httplib2.AuthorizedHttp(credentials, http=httplib2.Http(timeout=run.settings.TIMEOUT_SECONDS))
    return build("admin", "directory_v1", cache_discovery=False, http=http)


def read_client(path: Path) -> dict[str, Any]:
    """credentials.json, of whichever kind."""
    return read_json(path, "download it from the Google Cloud console (README.md, step 3)")


def oauth_client(path: Path) -> dict[str, Any]:
    """credentials.json, if it is an OAuth client that can open a browser; RunError otherwise."""
    client = read_client(path)
    if client.get("type") == "service_account":
        raise RunError(f"{path} is a service account, which signs in without a browser: run  python sync.py --check")
    if "PUT-YOUR" in json.dumps(client):
        raise RunError(
            f"{path} is still the example: download your own from the Google Cloud console (README.md, step 3)"
        )
    if "installed" not in client:
        raise RunError(
            f"{path} is neither an OAuth client of type Desktop app nor a service account key: "
            "download one of these (README.md, step 3)"
        )
    return client


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise RunError(f"{path} is missing: {remedy}") from None
    except OSError as error:
        raise no_access(path, "read", error) from None
    except ValueError:
        raise RunError(f"{path} is damaged (not valid JSON): {remedy}") from None
    if not isinstance(content, dict):
        raise RunError(f"{path} is damaged (not a JSON object): {remedy}")
    return content


def account_name() -> str:
    """The operating-system account this runs as."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "(unknown)"


def no_access(path: Path, done: str, error: OSError, remedy: str = "give it the right to") -> RunError:
    """The sentence for a file that cannot be read, written or opened."""
    return RunError(f"{path} cannot be {done} by the account {account_name()} ({error.strerror}): {remedy}")


def delegated_credentials(path: Path, key: Mapping[str, Any], scopes: Sequence[str] = SCOPES) -> Any:
    """The credentials of a service account with domain-wide delegation, acting as GOOGLE_ADMIN_EMAIL."""
    from google.oauth2 import service_account  # noqa: PLC0415 - needed by few districts, slow to load

    admin = own_admin()
    if not admin:
        raise RunError(
            "the environment variable GOOGLE_ADMIN_EMAIL is not set: credentials.json is a service account, "
            "so set it to the address of the admin it acts for"
        )
    try:
        credentials = service_account.Credentials.from_service_account_info(dict(key), scopes=scopes)
    except (ValueError, TypeError, AttributeError):
        raise RunError(
            f"{path} is not a whole service account key: create a new key in the Google Cloud console"
        ) from None
    return credentials.with_subject(admin)


def saved_credentials(folder: Path) -> Credentials:
    """The sign-in kept in token.json; its scopes are checked here, whether it is still good Google says."""
    path = folder / "token.json"
    token = read_json(path, "sign in once with  python sync.py --authorize")
    granted = token.get("scopes")
    if not isinstance(granted, list):
        raise RunError(f"{path} is not a whole sign-in: run  python sync.py --authorize")
    lacking = [scope for scope in SCOPES if scope not in granted]
    if lacking:
        words = " and ".join(lacking)
        raise RunError(f"{path} lacks the scope {words}: run  python sync.py --authorize  and tick every box")
    try:
        return Credentials.from_authorized_user_info(token, SCOPES)
    except (ValueError, TypeError, AttributeError):
        raise RunError(f"{path} is not a whole sign-in: run  python sync.py --authorize") from None


def refused_token(error: google.auth.exceptions.RefreshError, scopes: Sequence[str] = SCOPES) -> RunError:
    """Why Google gives no access token, and the remedy (facts of OAuth 2.0 expiration)."""
    words = " ".join(str(part) for part in error.args)
    remedy = (
        "the sign-in in token.json is dead (revoked, unused for six months, or seven days old while the OAuth app is "
    )
    remedy += "in Testing: make it Internal): run  python sync.py --authorize"
    if error.retryable:
        return RunError(f"Google sign-in: Google's token service does not answer: run again later [{words[:80]}]")
    if "rapt" in words or "Reauthentication" in words:
        remedy = (
            "session control wants this admin to sign in again and again: exempt this app as trusted, "
            "or use a service account"
        )
    elif "unauthorized_client" in words or "client not authorized" in words:
        remedy = "the service account has no domain-wide delegation for exactly these scopes: " + " ".join(scopes)
    elif "scope" in words:
        remedy = "the sign-in lacks a scope: run  python sync.py --authorize  and tick every box"
    elif "invalid_client" in words or "deleted_client" in words:
        remedy = (
            "the OAuth client was deleted or its secret changed: download credentials.json again, "
            "then run  python sync.py --authorize"
        )
    elif "admin_policy_enforced" in words:
        remedy = "the Admin console blocks this app: trust it under Security, API controls, Manage app access"
    elif "Invalid email" in words or "Not a valid email" in words:
        remedy = "Google refuses the service account: GOOGLE_ADMIN_EMAIL must be the address of an admin"
    elif "Signature" in words or "account not found" in words:
        remedy = "Google refuses the service account: create a new key in the Google Cloud console"
    elif "JWT" in words:
        remedy = "Google refuses the service account: set this machine's clock"
    first = re.match(r"[\w :()'-]*", words)
    return RunError(f"Google sign-in: {remedy} [{first.group().strip() if first else ''}]")


def authorize(folder: Path) -> None:
    """The browser sign-in that every later run uses: writes token.json."""
    write_private(folder / "token.json", browser_sign_in(folder, SCOPES, "--authorize").to_json())


def browser_sign_in(folder: Path, scopes: Sequence[str], option: str) -> Credentials:
    """Fresh credentials with these scopes from a sign-in in a browser; RunError if none comes in five minutes."""
    from google_auth_oauthlib.flow import InstalledAppFlow  # noqa: PLC0415 - a nightly run never needs it

    path = folder / "credentials.json"
    try:
        flow = InstalledAppFlow.from_client_config(oauth_client(path), scopes)
    except (ValueError, TypeError, AttributeError):
        raise RunError(f"{path} is not a whole OAuth client: download it again (README.md, step 3)") from None
    with socket.create_server(("localhost", 0)) as free:
        port = free.getsockname()[1]
    prompt = (
        "Open this address in a browser and sign in as an admin: {url}\n"
        f"It waits five minutes. Over SSH, first run on the computer with the browser:  "
        f"ssh -L {port}:localhost:{port} YOU@{socket.gethostname()}"
    )
    os.environ["OAUTHLIB_RELAX_TOKEN_SCOPE"] = "1"  # noqa: S105 - fewer ticked boxes are told when token.json is read
    try:
        credentials: Credentials = flow.run_local_server(
            port=port, open_browser=has_browser(), timeout_seconds=300, authorization_prompt_message=prompt
        )
    except Exception as error:  # noqa: BLE001 - oauthlib raises errors of its own, one per refusal
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise unreachable(error) from None
        raise RunError(
            "Google sign-in: nobody signed in within five minutes, or it broke off "
            f"({type(error).__name__}): run  python sync.py {option}  again"
        ) from None
    lacking = [scope for scope in scopes if scope not in (credentials.granted_scopes or ())]
    if lacking:
        raise RunError(
            f"The sign-in lacks the scope {lacking[0]}: run  python sync.py {option}  again and tick every box"
        )
    return credentials


def has_browser() -> bool:
    """True if there is a browser with windows: one for text alone would take the terminal, and Google refuses it."""
    import webbrowser  # noqa: PLC0415

    try:
        return bool(os.environ.get("BROWSER")) or type(webbrowser.get()) is not webbrowser.GenericBrowser
    except webbrowser.Error:
        return False


def open_private(path: Path, mode: str, encoding: str = "utf-8", newline: str | None = None) -> IO[str]:
    """A new or appended text file with mode 0600."""

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags, 0o600)

    file = open(path, mode, encoding=encoding, newline=newline, opener=opener)  # noqa: SIM115 - the caller closes it
    keep_owner(path)
    if sys.platform != "win32":
        with contextlib.suppress(OSError):
            os.fchmod(file.fileno(), 0o600)
    return file


def write_private(path: Path, text: str) -> None:
    """Write a file only its owner can read (0600), whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        for old in path.parent.glob(f".{path.name}.*"):
            if time.time() - old.stat().st_mtime > 3600:  # of a process that was killed while it wrote
                old.unlink()
        try:
            with open_private(draft, "w") as file:
                file.write(text)
            patiently(partial(draft.replace, path))
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise no_access(path, "written", error) from None


def keep_owner(path: Path) -> None:
    """Give what root has written to the owner of its folder, or that account could not use it in the next run."""
    if sys.platform != "win32" and os.geteuid() == 0:
        owner = path.parent.stat()
        with contextlib.suppress(OSError):
            os.chown(path, owner.st_uid, owner.st_gid)


def patiently(act: Callable[[], object]) -> None:
    """Do this with a file; on Windows one that another program reads refuses it for a moment."""
    for wait in (0.1, 0.3, 1, 3):
        try:
            act()
            return
        except PermissionError:
            time.sleep(wait)
    act()


TRANSPORT_ERRORS = (
    google.auth.exceptions.TransportError, httplib2.HttpLib2Error, HTTPException, OSError, json.JSONDecodeError,
    UnicodeError,
)  # fmt: skip


def unreachable(error: Exception) -> RunError:
    if isinstance(error, SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in str(error):
        return RunError(
            "Google: its certificate is not trusted here: behind a filter that inspects TLS, set HTTPLIB2_CA_CERTS "
            "and REQUESTS_CA_BUNDLE to that filter's CA file"
        )
    remedy = "check the network, HTTPS_PROXY and DNS"
    if lacks_proxy_package():
        remedy = f"HTTPS_PROXY needs a package: run  {sys.executable} -m pip install PySocks"
    return RunError(f"Google cannot be reached: {remedy} ({type(error).__name__}: {error})")


def lacks_proxy_package() -> bool:
    """True where a proxy is set and the Google client would pass it by."""
    return bool(os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy")) and not find_spec("socks")


def is_quota(status: int, reason: str) -> bool:
    return status == 403 and reason in {"userRateLimitExceeded", "rateLimitExceeded", "quotaExceeded"}


def error_words(error: HttpError) -> tuple[int, str, str]:
    """Status, reason and message of Google's answer, whatever its shape: JSON, HTML or nothing at all."""
    try:
        content = json.loads(error.content)["error"]
        first = (content.get("errors") or [{}])[0]
        return (
            error.status_code,
            first.get("reason") or content.get("status") or "",
            content.get("message") or "",
        )
    except (ValueError, TypeError, KeyError, AttributeError, IndexError):
        return error.status_code, "", str(error.reason or "")[:200].strip()


def heals(status: int, reason: str, message: str) -> bool:
    """True for what Google's guide to error codes tells to try again."""
    return (
        status == 429
        or status >= 500
        or is_quota(status, reason)
        or (status == 409 and reason == "conflict")
        or (status == 412 and ("creation is not complete" in message or "Concurrent email update" in message))
    )


def can_heal(error: Exception) -> bool:
    """True for answers that may be another next time, and for broken connections."""
    if isinstance(error, HttpError):
        return heals(*error_words(error))
    if isinstance(error, google.auth.exceptions.RefreshError):
        return bool(error.retryable)
    return isinstance(error, TRANSPORT_ERRORS) and not isinstance(error, SSLCertVerificationError)


def retrying(settings: Settings, request: Callable[[], Any], longest: float | None = None) -> Any:
    """The request's answer, tried again while it can heal: growing waits with jitter, RETRY_SECONDS in all."""
    try:
        return Retry(
            predicate=can_heal,
            initial=settings.RETRY_WAIT_SECONDS,
            maximum=60,
            timeout=settings.RETRY_SECONDS if longest is None else min(longest, settings.RETRY_SECONDS),
        )(request)()
    except RetryError as error:
        raise error.cause or error from None


def call(run: Run, request: Any) -> Any:
    """The answer to one Directory API request; GoogleError if it is refused, RunError if no request can succeed."""

    def execute() -> Any:
        run.requests += 1
        log.debug("Google: %s", request.methodId)
        answer = request.execute(num_retries=0)
        if not isinstance(answer, dict) and request.method != "DELETE":
            # The Google client hands on what is no JSON, such as an empty body, as it came.
            raise json.JSONDecodeError("no JSON in Google's answer", str(answer)[:80], 0)
        return answer

    try:
        return retrying(run.settings, execute, max(run.deadline - time.monotonic(), 1))
    except HttpError as error:
        status, reason, message = error_words(error)
        if ends_run(status, reason):
            raise RunError(
                f"Google refuses every request ({status} {reason}: {message}): {access_remedy(reason)}"
            ) from None
        raise GoogleError(status, reason, message) from None
    except google.auth.exceptions.RefreshError as error:
        raise refused_token(error) from None
    except TRANSPORT_ERRORS as error:
        if isinstance(error, SSLCertVerificationError):
            raise unreachable(error) from None
        raise GoogleError(0, "", f"the connection to Google broke ({type(error).__name__})") from None


LACKS_SCOPE = (
    "the sign-in lacks a scope: run  python sync.py --authorize  and tick every box "
    "(with a service account: delegate the scopes of README.md, step 3, again)"
)
ENABLE_API = "enable the Admin SDK API in the Google Cloud project and wait some minutes"
# Refusals with 403 that concern every request.
ACCESS_REMEDIES = {
    "insufficientPermissions": LACKS_SCOPE,
    "ACCESS_TOKEN_SCOPE_INSUFFICIENT": LACKS_SCOPE,
    "domainCannotUseApis": "switch on API access in the Admin console, Security, API controls",
    "accessNotConfigured": ENABLE_API,
    "SERVICE_DISABLED": ENABLE_API,
}


def ends_run(status: int, reason: str) -> bool:
    return status == 401 or (status == 403 and reason in ACCESS_REMEDIES)


def access_remedy(reason: str) -> str:
    again = "sign in again with  python sync.py --authorize  (with a service account: make a new key)"
    return ACCESS_REMEDIES.get(reason, again)


def read_request(run: Run, request: Any, doing: str) -> Any:
    """As `call`, for what everything else rests on: any refusal ends the run."""
    try:
        return call(run, request)
    except GoogleError as error:
        remedy = "the signed-in account must be an admin who may do this" if error.status == 403 else "run again later"
        raise RunError(f"Google, {doing}: {error} ({remedy})") from None


def pages(resource: Any, request: Any, ask: Callable[[Any], Any]) -> Iterator[dict[str, Any]]:
    """Every page of a listing; `ask` sends one request."""
    while request is not None:
        page = ask(request)
        yield page
        request = resource.list_next(request, page)


def read_org_units(run: Run) -> dict[str, str]:
    """Lower-case path -> path, as Google compares them without regard to case."""
    units = run.api.orgunits()
    request = units.list(customerId="my_customer", type="all", fields="organizationUnits(orgUnitPath)")
    answer = read_request(run, request, "reading org units")
    return {unit["orgUnitPath"].lower(): unit["orgUnitPath"] for unit in answer.get("organizationUnits", ())}


def read_schemas(run: Run) -> dict[str, dict[str, Any]]:
    """ "Schema.Field" -> the field as Google defines it."""
    mask = "schemas(schemaName,fields(fieldName,fieldType,multiValued,indexed,readAccessType))"
    answer = read_request(run, run.api.schemas().list(customerId="my_customer", fields=mask), "reading custom schemas")
    return {
        f"{schema['schemaName']}.{entry['fieldName']}": entry
        for schema in answer.get("schemas", ())
        for entry in schema.get("fields", ())
    }


def read_directory(run: Run) -> Directory:
    """Org units, the fields of the custom schemas in use, and every account; RunError for anything missing."""
    settings, org_units, schemas = run.settings, read_org_units(run), read_schemas(run)
    faults = [*missing_org_units(settings, org_units), *schema_faults(settings, schemas)]
    if faults:
        raise RunError("Google lacks what config.py names: " + "; ".join(faults))
    for path in idle_org_units(settings, org_units):
        log.warning("config.py names the org unit %s, which Google does not have: correct it", path)
    return list_accounts(run, org_units, schemas)


def list_accounts(run: Run, org_units: Mapping[str, str], schemas: Mapping[str, Mapping[str, Any]]) -> Directory:
    """Every account of the Google customer, with the org units and fields it is decided by; RunError if one fails."""
    settings = run.settings
    request = run.api.users().list(
        customer="my_customer",
        maxResults=500,
        fields=f"nextPageToken,users({USER_FIELDS})",
        **projection(settings),
    )
    ask = partial(read_request, run, doing="listing accounts")
    users = [user for page in pages(run.api.users(), request, ask) for user in page.get("users", ())]
    try:
        accounts = [account_from(user, settings) for user in users]
    except GoogleError as error:
        raise RunError(f"Google, listing accounts: {error} (run again later)") from None
    return Directory(
        accounts={account.id: account for account in accounts},
        org_units=org_units,
        field_types={name: schemas[name]["fieldType"] for name in schema_fields(settings)},
        dcid_is_indexed=schemas[dcid_field(settings)].get("indexed", True),
    )


def schema_fields(settings: Settings) -> dict[str, str]:
    """ "Schema.Field" -> the value it holds."""
    return {
        f"{schema}.{name}": value for schema, held in settings.CUSTOM_SCHEMAS.items() for name, value in held.items()
    }


def dcid_field(settings: Settings) -> str:
    return next(name for name, value in schema_fields(settings).items() if value == "dcid")


def missing_org_units(settings: Settings, org_units: Mapping[str, str]) -> list[str]:
    paths = {
        "STAFF_OU": [settings.STAFF_OU],
        "SUSPENDED_OU": [settings.SUSPENDED_OU],
        "PROTECTED_OUS": settings.PROTECTED_OUS,
    }
    return [
        f"the org unit {path} ({setting}) does not exist: "
        f"{'correct' if setting == 'PROTECTED_OUS' else 'create it with --setup, or correct'} {setting}"
        for setting, entries in paths.items()
        for path in entries
        if path.lower() not in org_units
    ]


def idle_org_units(settings: Settings, org_units: Mapping[str, str]) -> list[str]:
    """The frozen and temporary org units that Google does not have, as they stand in config.py."""
    named = (*settings.FROZEN_OUS, *settings.TEMPORARY_REACTIVATION_OUS)
    return [path for path in named if not any(is_frozen(unit, [path]) for unit in org_units)]


def schema_faults(settings: Settings, schemas: Mapping[str, Mapping[str, Any]]) -> list[str]:
    faults = []
    for name, value in schema_fields(settings).items():
        found = schemas.get(name)
        if found is None:
            near = difflib.get_close_matches(name, schemas, 1)
            faults.append(f"the custom schema field {name} does not exist: create it with --setup, or correct "
                          "CUSTOM_SCHEMAS"
                          + (f" (Google has {near[0]})" if near else ""))  # fmt: skip
        elif found.get("multiValued"):
            faults.append(f"the custom schema field {name} is multi-valued: make a single-valued one, "
                          "and name it in CUSTOM_SCHEMAS")  # fmt: skip
        elif value == "dcid" and found["fieldType"] != "INT64":
            faults.append(
                f"the custom schema field {name} is {found['fieldType']}, but a DCID needs a whole number (INT64): "
                "make another field, and name it in CUSTOM_SCHEMAS"
            )
    return faults


def projection(settings: Settings) -> dict[str, str]:
    return {"projection": "custom", "customFieldMask": ",".join(settings.CUSTOM_SCHEMAS)}


def account_from(user: Mapping[str, Any], settings: Settings) -> Account:
    """A users resource as an Account; Google hands whole numbers of custom fields back as text.

    GoogleError for an answer that is none, as a filter may give in Google's place.
    """
    if not (user.get("id") and user.get("primaryEmail")):
        raise GoogleError(0, "", "Google's answer holds an account without id or address")
    held = {
        name: field_text(user.get("customSchemas", {}).get(name.split(".")[0], {}).get(name.split(".")[1]))
        for name in schema_fields(settings)
    }
    dcid = held.pop(dcid_field(settings))
    external_ids = tuple(user.get("externalIds") or ())
    numbers = [str(entry.get("value", "")) for entry in external_ids if entry.get("type") == "organization"]
    signed_in = user.get("lastLoginTime", "")
    return Account(
        id=user["id"],
        email=user["primaryEmail"].lower(),
        aliases=tuple(a.lower() for a in (*user.get("aliases", ()), *user.get("nonEditableAliases", ()))),
        given_name=user.get("name", {}).get("givenName", ""),
        family_name=user.get("name", {}).get("familyName", ""),
        org_unit=user.get("orgUnitPath", "/"),
        suspended=bool(user.get("suspended")),
        suspension_reason=user.get("suspensionReason", ""),
        archived=bool(user.get("archived")),
        is_admin=bool(user.get("isAdmin")),
        is_delegated_admin=bool(user.get("isDelegatedAdmin")),
        last_sign_in="" if signed_in.startswith("1970-01-01") else signed_in,  # Google's word for never
        dcid=int(dcid) if dcid else None,
        fields=held,
        employee_id=numbers[0] if numbers else "",
        external_ids=external_ids,
    )


def field_text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def get_account(run: Run, key: str) -> Account | None:
    """The account with this id, address or alias as it is now, or None; GoogleError for any other refusal."""
    request = run.api.users().get(userKey=non_empty(key), fields=USER_FIELDS, **projection(run.settings))
    try:
        return account_from(call(run, request), run.settings)
    except GoogleError as error:
        if error.status == 404:
            return None
        raise


def is_group(run: Run, address: str) -> bool:
    """True if the address belongs to a group, directly or as its alias."""
    try:
        call(run, run.api.groups().get(groupKey=non_empty(address), fields="id"))
    except GoogleError as error:
        # Google answers 403 for an address outside the account: no group of ours.
        if error.status == 404 or (error.status == 403 and not error.can_heal):
            return False
        raise
    return True


def non_empty(key: str) -> str:
    """Guards against an empty key, which would address the whole collection."""
    if not key.strip():
        raise ValueError("an empty key must never reach Google")
    return key


def look_up(run: Run, person: Staff, directory: Directory) -> Directory:
    """The directory with what Google has, this moment, under the person's address and DCID: listings lag."""
    found = [get_account(run, person.email)]
    groups = directory.groups
    if found[0] is None and is_group(run, person.email):
        groups |= {person.email}
    if directory.dcid_is_indexed:
        query = f"{dcid_field(run.settings)}={person.dcid}"
        request = run.api.users().list(customer="my_customer", query=query, fields="nextPageToken,users(id)")
        for page in pages(run.api.users(), request, partial(call, run)):
            found += [get_account(run, user["id"]) for user in page.get("users", ())]
    accounts = {account.id: account for account in found if account}
    return replace(directory, accounts={**directory.accounts, **accounts}, groups=groups)


# Deciding: facts in, changes out; no I/O, no clock.


def district_of(
    settings: Settings, powerschool: PowerSchool, directory: Directory, today: date, **more: Any
) -> District:
    """Everything the decisions look at, indexed once."""
    by_dcid, by_address, by_employee_id, by_name = defaultdict(list), {}, defaultdict(list), defaultdict(list)
    active_by_address = defaultdict(list)
    for account in directory.accounts.values():
        by_address.update({alias: account for alias in account.aliases if alias not in by_address})
        if account.dcid is not None:
            by_dcid[account.dcid].append(account)
            continue
        for number in employee_ids(account):
            by_employee_id[number].append(account)
        by_name[folded_name(account.given_name, account.family_name)].append(account)
    by_address.update({account.email: account for account in directory.accounts.values()})
    for person in powerschool.staff:
        if person.is_active and person.email and not skip_reason(person, settings):
            active_by_address[person.email].append(person)
    return District(
        settings=settings,
        schools=powerschool.schools,
        staff={person.dcid: person for person in powerschool.staff},
        directory=directory,
        today=today,
        by_dcid={dcid: tuple(found) for dcid, found in by_dcid.items()},
        by_address=by_address,
        active_by_address={address: tuple(found) for address, found in active_by_address.items()},
        by_employee_id={number: tuple(found) for number, found in by_employee_id.items()},
        by_name={name: tuple(found) for name, found in by_name.items()},
        **more,
    )


def fold(text: str) -> str:
    """Letters of any script, without marks, case, spaces and punctuation: the form in which names are compared."""
    return "".join(c for c in unicodedata.normalize("NFKD", text).casefold() if c.isalpha())


def folded_name(given: str, family: str) -> tuple[str, str]:
    return fold(given), fold(family)


def fold_number(number: str) -> str:
    return number.strip().casefold()


def is_at_or_below(path: str, tops: Iterable[str]) -> bool:
    return any(f"{path}/".casefold().startswith(f"{top}/".casefold()) for top in tops)


def is_frozen(path: str, frozen: Iterable[str]) -> bool:
    """True if the parts of a frozen path stand anywhere in this path; whole parts only."""
    return any(f"{entry}/".casefold() in f"{path}/".casefold() for entry in frozen)


def is_ours(address: str, settings: Settings) -> bool:
    return address.rpartition("@")[2] in {domain.casefold() for domain in settings.GOOGLE_DOMAINS}


def skip_reason(person: Staff, settings: Settings) -> str:
    """Which rule leaves this person out of everything, or ""."""
    bad = {" ".join(name.split()).casefold() for name in settings.BAD_NAMES}
    names = (person.first_name, person.last_name, f"{person.first_name} {person.last_name}")
    if any(name.strip().casefold() in bad for name in names if name.strip()):
        return "bad name"
    if settings.SKIP_NUMERIC_EMAILS and person.email.rpartition("@")[0].isdigit():
        return "numeric address"
    return ""


def agreement(person: Staff, account: Account) -> str:
    """What besides the DCID says that the account is this person's: design rule "Whose account", or ""."""
    if person.email and person.email in (account.email, *account.aliases):
        return "address"
    if same_employee_id(person, account):
        return "employee ID"
    given, family = folded_name(person.first_name, person.last_name)
    if family and family == fold(account.family_name):
        return "family name"
    return "given name" if given and given == fold(account.given_name) else ""


def same_names(person: Staff, account: Account) -> bool:
    names = folded_name(person.first_name, person.last_name)
    return all(names) and names == folded_name(account.given_name, account.family_name)


def employee_ids(account: Account) -> frozenset[str]:
    """Every employee ID of the account, in the form in which they are compared."""
    entries = (str(e.get("value", "")) for e in account.external_ids if e.get("type") == "organization")
    return frozenset(fold_number(number) for number in (account.employee_id, *entries) if number.strip())


def same_employee_id(person: Staff, account: Account) -> bool:
    return fold_number(person.teacher_number) in employee_ids(account)


def plan_person(person: Staff, district: District) -> Plan:
    """What is to be done about this person, with every reason for doing less; the rules in README.md."""
    plan = plan_any_person(person, district)
    return with_hands_off(plan, hands_off_entry(person, plan.had, district))


def plan_any_person(person: Staff, district: District) -> Plan:
    accounts = district.by_dcid.get(person.dcid, ())
    rule = skip_reason(person, district.settings)
    if rule:
        return plan_skipped(person, rule, accounts)
    if len(accounts) > 1:
        held = " and ".join(account.email for account in accounts)
        reason = f"{held} both carry this DCID: empty {dcid_field(district.settings)} of the wrong one"
        return refuse(person, "two accounts with one DCID", reason)
    rivals = [r for r in district.active_by_address.get(person.email, ()) if r.dcid != person.dcid]
    if person.is_active and rivals:
        reason = f"PowerSchool gives the address to {'; '.join(map(str, rivals))} too: correct one of them"
        return refuse(person, "one address, two people", reason)
    if accounts:
        return plan_account(person, accounts[0], district)
    return plan_unfound(person, district) if person.is_active else plan_absent_leaver(person, district)


def refuse(person: Staff, rule: str, reason: str, level: str = "ERROR", had: Account | None = None) -> Plan:
    return Plan(person, had, notes=(Note(level, rule, reason, str(person)),))


def plan_skipped(person: Staff, rule: str, accounts: Sequence[Account]) -> Plan:
    open_accounts = [account.email for account in accounts if account.is_open]
    if open_accounts and not person.is_active:
        reason = (
            f"skipped by rule ({rule}) and no longer active, but {', '.join(open_accounts)} is open: close it by hand"
        )
        return refuse(person, rule, reason)
    return refuse(person, rule, "skipped by rule", "INFO")


def plan_absent_leaver(person: Staff, district: District) -> Plan:
    """An inactive person without an account: an open one that holds the address is told, never written."""
    holder = district.by_address.get(person.email)
    if holder is None or not holder.is_open or person.email in district.active_by_address:
        return Plan(person)
    owner = district.staff.get(holder.dcid) if holder.dcid is not None else None
    if owner is not None and owner.is_active:
        return Plan(person)
    reason = f"not active, and {holder.email} is open without this DCID: close it by hand if it is this person's"
    return refuse(person, "inactive person's address", reason, "INFO")


def plan_unfound(person: Staff, district: District) -> Plan:
    """An active person whose DCID is on no account: link the account that holds the address, or create one."""
    settings, holder = district.settings, district.by_address.get(person.email)
    if not person.email:
        return refuse(person, "no address", "no address in PowerSchool and no account: nothing to create", "INFO")
    if not is_ours(person.email, settings):
        return refuse(person, "foreign address", "the address is outside GOOGLE_DOMAINS: no account is created", "INFO")
    if not is_valid_address(person.email):
        return refuse(person, "faulty address", f"{NO_ADDRESS}: correct it in PowerSchool")
    if holder is None:
        return plan_creation(person, district)
    if holder.email != person.email:
        reason = f"the address is an alias of {holder.email}: remove it there, or correct PowerSchool"
        return refuse(person, "address taken", reason)
    owner = district.staff.get(holder.dcid) if holder.dcid is not None else None
    if owner is not None and owner.is_active:
        return refuse(person, "address taken", f"the account with this address belongs to {owner}: correct PowerSchool")
    return plan_account(person, holder, district)


def is_valid_address(address: str) -> bool:
    local = address.rpartition("@")[0]
    return len(local) <= 64 and LOCAL_PART.fullmatch(local) is not None


def plan_creation(person: Staff, district: District) -> Plan:
    """A new account with everything in one insert; nobody is created while an account may already be theirs."""
    settings = district.settings
    if person.email in district.directory.groups:
        return refuse(person, "address taken", "the address is a group's: give the group or the person another one")
    if failure := district.directory.unconfirmed.get(person.dcid):
        reason = f"not created, as Google could not be asked for the address; the next run tries again: {failure}"
        return refuse(person, "not looked up", reason)
    if unknown := homeschool_fault(person, district):
        return refuse(person, "home school", unknown)
    twin = possible_twin(person, district)
    if twin:
        reason = (
            f"not created: {twin.email} has no DCID and the same name or employee ID: "
            f"if it is theirs, {link_by_hand(person, twin, settings)}; "
            "else give that account its own DCID, or another name"
        )
        return refuse(person, "possible account", reason)
    if fault := name_fault(person):
        return refuse(person, "faulty name", fault)
    target, missing = building_org_unit(person, district)
    if missing:
        return Plan(person, notes=(missing_note(person, missing, settings),))
    had = Account()
    wanted_values, notes = wanted_fields(person, had, district)
    wanted = replace(
        had,
        email=person.email,
        given_name=proper_case(person.first_name),
        family_name=proper_case(person.last_name),
        org_unit=target,
        dcid=person.dcid,
        fields=wanted_values,
        employee_id=person.teacher_number if settings.SET_EMPLOYEE_ID else "",
    )
    change = Change("create", {}, {**shown_attributes(wanted), "fields": {k: v for k, v in wanted_values.items() if v}})
    return Plan(person, None, wanted, (change,), notes)


def shown_attributes(account: Account) -> dict[str, Any]:
    names = ("email", "given_name", "family_name", "org_unit", "dcid", "employee_id")
    return {name: getattr(account, name) for name in names}


def possible_twin(person: Staff, district: District) -> Account | None:
    """An account without a DCID that may be this person's, unless it is certainly somebody else's."""
    settings = district.settings
    places = (settings.STAFF_OU, settings.SUBSTITUTE_OU, settings.SUSPENDED_OU)
    names = folded_name(person.first_name, person.last_name)
    numbered = district.by_employee_id.get(fold_number(person.teacher_number), ()) if person.teacher_number else ()
    named = district.by_name.get(names, ()) if all(names) else ()
    twins = [*numbered, *(account for account in named if is_at_or_below(account.org_unit, places))]
    return next((account for account in twins if not is_being_linked(account, district)), None)


def is_being_linked(account: Account, district: District) -> bool:
    """True if PowerSchool gives the account's address to exactly one active person, whom it fits beyond doubt."""
    owners = district.active_by_address.get(account.email, ())
    return len(owners) == 1 and not link_doubt(owners[0], account, district)


def homeschool_fault(person: Staff, district: District) -> str:
    if person.homeschool == NO_SCHOOL:
        return "no home school in PowerSchool: choose one there"
    if person.homeschool not in district.schools:
        return f"the home school {person.homeschool} is not in SCHOOLS: correct it in PowerSchool"
    return ""


def name_fault(person: Staff) -> str:
    """Why Google would refuse the name (users resource: both parts, at most 60 characters each, no < or >), or ""."""
    for part, text in (("first", person.first_name), ("last", person.last_name)):
        if not text:
            return f"the {part} name is empty: fill it in PowerSchool"
        if len(text) > LONGEST_NAME:
            return f"the {part} name has {len(text)} characters, Google takes {LONGEST_NAME}: shorten it in PowerSchool"
        if "<" in text or ">" in text:
            return f"the {part} name holds < or >, which Google refuses: correct it in PowerSchool"
    return ""


def proper_case(name: str) -> str:
    """A name in one case only with capitals where they belong (O'Brien, McDonald, III); any other as it stands."""
    if not (name.isupper() or name.islower()):
        return name
    name = unicodedata.normalize("NFC", name)
    return re.sub(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*", lambda match: proper_word(match.group()), name)


def proper_word(word: str) -> str:
    first, mark, rest = (word[:1], word[1:2], word[2:])
    if mark in {"'", "\u2019"} and rest:
        return first.upper() + mark + proper_word(rest)
    if word.isupper() and re.fullmatch("II|III|IV|VI|VII|VIII", word):
        return word
    lower = word.lower()
    if lower.startswith("mc") and len(lower) > 3:
        return "Mc" + lower[2:].capitalize()
    return lower[:1].upper() + lower[1:]


def link_by_hand(person: Staff, account: Account, settings: Settings) -> str:
    return f"set {dcid_field(settings)} of {account.email} to {person.dcid} in the Admin console"


def link_doubt(person: Staff, account: Account, district: District) -> Note | None:
    """Why this account, which holds the person's address, is not certainly theirs; None if it is.

    Being wrong here hands one person another's mailbox, so in doubt it is reported.
    """
    settings = district.settings
    who, rule = str(person), "not linked"
    returns = (account.org_unit.casefold() == settings.SUSPENDED_OU.casefold() and not account.archived
               and account.suspension_reason in {"", "ADMIN"})  # fmt: skip
    both = same_names(person, account) and same_employee_id(person, account)
    owner = None if account.dcid is None else district.staff.get(account.dcid)
    if account.dcid is not None and not (owner and not owner.is_active and both):
        known = (
            f"which is {district.staff[account.dcid]}"
            if account.dcid in district.staff
            else "which is not in PowerSchool"
        )
        reason = (
            f"{account.email} carries DCID {account.dcid}, {known}: "
            f"if it is the same person, {link_by_hand(person, account, settings)}"
        )
        return Note("ERROR", "probable rehire", reason, who)
    if not (same_names(person, account) or same_employee_id(person, account)):
        name = f"{account.given_name} {account.family_name}"
        reason = (
            f"{account.email} has the address but another name ({name}) and no such employee ID: "
            f"if it is theirs, {link_by_hand(person, account, settings)}"
        )
        return Note("ERROR", rule, reason, who)
    by_hand = link_by_hand(person, account, settings)
    if account.is_delegated_admin or account.is_admin:
        return Note("ERROR", rule, f"{account.email} has an admin role and no DCID: {by_hand}", who)
    if not settings.LINK_BY_EMAIL:
        return Note("ERROR", rule, f"{account.email} has no DCID and LINK_BY_EMAIL is False: {by_hand}", who)
    if not account.is_open and not returns:
        state = "archived" if account.archived else f"suspended in {account.org_unit}"
        return Note("INFO", rule, f"{account.email} has no DCID and is {state}: left as it is", who)
    return None


def plan_account(person: Staff, had: Account, district: District) -> Plan:
    """What is to be done about the account found for this person; decided anew just before each write."""
    if had.dcid == person.dcid:
        if not agreement(person, had):
            reason = (
                f"DCID {person.dcid} sits on an account that looks like somebody else's: {had.email}, "
                f"{had.given_name} {had.family_name}: correct the DCID there, or the person in PowerSchool"
            )
            return refuse(person, "somebody else's account", reason, had=had)
        evidence = "DCID"
    else:
        hands_off = hands_off_note(person, had, district)
        doubt = hands_off or link_doubt(person, had, district)
        if doubt:
            return Plan(person, had, notes=(doubt,))
        evidence = "address and names" if same_names(person, had) else "address and employee ID"
    planned = plan_active(person, had, district) if person.is_active else plan_leaver(person, had, district)
    return with_hands_off(replace(planned, evidence=evidence), hands_off_note(person, had, district))


def with_hands_off(plan: Plan, note: Note | None) -> Plan:
    """The plan; or where a note says that the account is never written, only that note, if anything would be due."""
    if note is None:
        return plan
    due = plan.changes or any(n.level == "ERROR" for n in plan.notes)
    return replace(plan, changes=(), notes=(note,) if due else plan.notes)


def hands_off_word(key: str | int) -> str:
    """An entry of HANDS_OFF as an address in lower case or a DCID; "dcid:131" is 131."""
    return str(key).strip().casefold().removeprefix("dcid:")


def hands_off_entry(person: Staff, had: Account | None, district: District) -> Note | None:
    """What HANDS_OFF says of this person or account, or None; after its last day an entry is an ERROR."""
    who, addresses = str(person), {person.email, *((had.email, *had.aliases) if had else ())} - {""}
    for key, (reason, until) in district.settings.HANDS_OFF.items():
        if hands_off_word(key) in {*addresses, str(person.dcid)}:
            if date.fromisoformat(until) >= district.today:
                return Note("INFO", "hands off", f"{reason} (HANDS_OFF until {until})", who)
            over = f"HANDS_OFF ended on {until} ({reason}): remove the entry or give it a new day"
            return Note("ERROR", "hands off", over, who)
    return None


def hands_off_note(person: Staff, had: Account | None, district: District) -> Note | None:
    """Why this person's account is never written, or None."""
    settings, who = district.settings, str(person)
    if entry := hands_off_entry(person, had, district):
        return entry
    if had is None:
        return None
    if had.is_admin and not person.is_active:
        reason = f"{had.email} is a super admin and no longer active: close it in the Admin console"
        return Note("ERROR", "super admin", reason, who)
    if had.is_admin:
        return Note("INFO", "super admin", f"{had.email} is a super admin: not written", who)
    if is_at_or_below(had.org_unit, settings.PROTECTED_OUS):
        return Note("INFO", "protected", f"{had.email} lies in {had.org_unit} (PROTECTED_OUS): not written", who)
    if district.admin_email in (had.email, *had.aliases):
        return Note("INFO", "own admin", f"{had.email} is GOOGLE_ADMIN_EMAIL: not written", who)
    return None


def plan_active(person: Staff, had: Account, district: District) -> Plan:
    """The account of somebody who works here: kept in step, or left alone with the reason."""
    if had.archived:
        return refuse(person, "archived", f"{had.email} is archived: left as it is", "INFO", had)
    if had.suspended and (reason := stays_suspended(had, district.settings)):
        return refuse(person, "suspended elsewhere", reason, "INFO", had)
    if fault := homeschool_fault(person, district):
        return refuse(person, "home school", fault, had=had)
    email, email_notes = wanted_email(person, had, district)
    waiting = person.email not in {"", had.email} and email == had.email
    given, family, name_notes = wanted_name(person, had, district.settings, email != had.email, waiting)
    org_unit, org_unit_notes = wanted_org_unit(person, had, district)
    wanted_values, field_notes = wanted_fields(person, had, district)
    number = person.teacher_number if district.settings.SET_EMPLOYEE_ID else ""
    wanted = replace(
        had,
        email=email,
        given_name=given,
        family_name=family,
        org_unit=org_unit,
        suspended=False,
        dcid=person.dcid,
        fields=wanted_values,
        employee_id=had.employee_id if not number or has_employee_id(had, number) else number,
    )
    notes = (*email_notes, *name_notes, *org_unit_notes, *field_notes)
    return Plan(person, had, wanted, differences_between(had, wanted), notes)


def has_employee_id(account: Account, number: str) -> bool:
    return any(
        entry.get("type") == "organization" and str(entry.get("value", "")).strip() == number
        for entry in account.external_ids
    )


def stays_suspended(had: Account, settings: Settings) -> str:
    """Why a suspended account of an active person is not reactivated, or ""."""
    if had.suspension_reason not in {"", "ADMIN"}:
        return (
            f"{had.email} was suspended by Google ({had.suspension_reason}): left as it is, decide in the Admin console"
        )
    if had.is_admin or had.is_delegated_admin:
        return f"{had.email} is suspended and has an admin role: left as it is"
    if had.org_unit.casefold() != settings.SUSPENDED_OU.casefold():
        return f"{had.email} is suspended in {had.org_unit}, not in {settings.SUSPENDED_OU}: left as it is"
    return ""


def wanted_email(person: Staff, had: Account, district: District) -> tuple[str, tuple[Note, ...]]:
    if person.email in {"", had.email}:
        return had.email, ()
    who, keeps = str(person), f"{had.email} keeps its address"
    holder = district.by_address.get(person.email)
    if not is_ours(person.email, district.settings):
        return had.email, (Note("INFO", "foreign address", f"the address is outside GOOGLE_DOMAINS: {keeps}", who),)
    if not is_valid_address(person.email):
        return had.email, (Note("ERROR", "faulty address", f"{NO_ADDRESS}: {keeps}: correct PowerSchool", who),)
    if holder is not None and holder.id != had.id:
        alias = "" if holder.email == person.email else " as an alias"
        reason = f"the address is held by {holder.email}{alias}: {keeps}: free it there, or correct PowerSchool"
        return had.email, (Note("ERROR", "address taken", reason, who),)
    return person.email, ()


def wanted_name(
    person: Staff, had: Account, settings: Settings, is_renamed: bool, waits: bool
) -> tuple[str, str, tuple[Note, ...]]:
    """Given and family name; UPDATE_NAMES says when they follow, and they wait for an address that has to wait."""
    kept = (had.given_name, had.family_name)
    same = folded_name(person.first_name, person.last_name) == folded_name(*kept)
    if waits or same or not (settings.UPDATE_NAMES or is_renamed):
        return (*kept, ())
    if fault := name_fault(person):
        return (*kept, (Note("ERROR", "faulty name", fault, str(person)),))
    return proper_case(person.first_name), proper_case(person.last_name), ()


def staff_type(person: Staff) -> int:
    """The staff type at the home school: the lowest of 1 to 3, else 4, else 0; 2 without an active row there."""
    types = [kind for school, kind in person.schools if school == person.homeschool]
    if not types:
        return TYPE_STAFF
    regular = [kind for kind in types if TYPE_UNASSIGNED < kind < TYPE_SUBSTITUTE]
    return min(regular) if regular else TYPE_SUBSTITUTE if TYPE_SUBSTITUTE in types else TYPE_UNASSIGNED


def school_name(number: int, district: District) -> str:
    name = district.schools[number]
    return proper_case(name) if name.isupper() else name


def building_org_unit(person: Staff, district: District) -> tuple[str, str]:
    """The org unit the person belongs in, as Google spells it, and "" - or "" and the path that does not exist."""
    settings = district.settings
    school = school_name(person.homeschool, district)
    if staff_type(person) == TYPE_SUBSTITUTE or school.casefold() == settings.SUBSTITUTE_BUILDING.casefold():
        path = settings.SUBSTITUTE_OU
    else:
        path = settings.BUILDING_OUS.get(
            person.homeschool, f"{settings.STAFF_OU}/{school}{settings.BUILDING_OU_SUFFIX}"
        )
    known = district.directory.org_units.get(path.lower(), "")
    return known, "" if known else path


def other_org_unit(path: str, settings: Settings) -> str:
    return "correct SUBSTITUTE_OU" if path == settings.SUBSTITUTE_OU else "name another one in BUILDING_OUS"


def missing_note(person: Staff, path: str, settings: Settings) -> Note:
    other = other_org_unit(path, settings)
    reason = f"the org unit {path} does not exist in Google: create it with --setup, or {other}"
    return Note("ERROR", "missing org unit", reason, str(person), shared=True)


def wanted_org_unit(person: Staff, had: Account, district: District) -> tuple[str, tuple[Note, ...]]:
    settings = district.settings
    target, missing = building_org_unit(person, district)
    if is_at_or_below(had.org_unit, settings.TEMPORARY_REACTIVATION_OUS):
        return had.org_unit, ()
    if is_frozen(had.org_unit, settings.FROZEN_OUS):
        moves = bool(target) and target.casefold() != had.org_unit.casefold()
        reason = f"{had.email} stays in {had.org_unit} (FROZEN_OUS)"
        return had.org_unit, (Note("INFO", "frozen", reason, str(person)),) if moves else ()
    if missing:
        return had.org_unit, (missing_note(person, missing, settings),)
    return had.org_unit if target.casefold() == had.org_unit.casefold() else target, ()


def person_values(person: Staff, district: District) -> dict[str, str]:
    """Every value a custom schema field can hold, as text."""
    access = sorted({school for school, _ in person.schools if school != NO_SCHOOL})
    alias = district.settings.BUILDING_ALIASES.get(person.homeschool)
    return {
        "dcid": str(person.dcid),
        "homeschool_id": str(person.homeschool),
        "school_access_list": ";".join(map(str, access)),
        "staff_type": str(staff_type(person)),
        "staff_group": person.group,
        "teacher_number": person.teacher_number,
        "building": alias or school_name(person.homeschool, district),
        **person.extension,
    }


def wanted_fields(person: Staff, had: Account, district: District) -> tuple[dict[str, str], tuple[Note, ...]]:
    """Field -> text for every field but the DCID's; what does not fit or is ambiguous stays as it is, with a note."""
    settings, values = district.settings, person_values(person, district)
    wanted = {}
    faults: list[str] = []
    for name, value_name in schema_fields(settings).items():
        if value_name == "dcid":
            continue
        held = had.fields.get(name, "")
        wanted[name] = held
        if value_name in person.ambiguous:
            table = settings.EXTENSION_COLUMNS[value_name].partition(".")[0]
            faults.append(f"several rows in {table}, so {name} is left as it is: delete all but one in PowerSchool")
            continue
        fitting = fit(values[value_name], district.directory.field_types[name])
        if fitting is None:
            shown = "(private)" if value_name in settings.PRIVATE_VALUES else f"'{shorten(values[value_name])}'"
            faults.append(
                f"{shown} does not fit {name} ({district.directory.field_types[name]}, {LONGEST_VALUE} characters)"
            )
        elif fitting != fit(held, district.directory.field_types[name]):
            wanted[name] = fitting
    return wanted, tuple(Note("ERROR", "value", reason, str(person)) for reason in dict.fromkeys(faults))


def shorten(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?")


def fit(value: str, field_type: str) -> str | None:
    """The value in the one form in which fields of this type are compared, or None where it does not fit."""
    if not value:
        return ""
    try:
        if field_type == "INT64":
            return str(int(value)) if NUMBER.fullmatch(value) and -(2**63) <= int(value) < 2**63 else None
        if field_type == "DOUBLE":
            return str(float(value)) if NUMBER.fullmatch(value) else None
        if field_type == "DATE":
            return date.fromisoformat(value).isoformat()
    except ValueError:
        return None
    if field_type == "BOOL":
        return value.lower() if value.lower() in {"true", "false"} else None
    if len(value) > LONGEST_VALUE or (field_type == "EMAIL" and "@" not in value):
        return None
    return value


def plan_leaver(person: Staff, had: Account, district: District) -> Plan:
    """The account of somebody who left: suspended and in or below SUSPENDED_OU; being there is the mark of done."""
    settings = district.settings
    role = f"{had.email} still has an admin role: take it away in the Admin console"
    notes = (Note("ERROR", "admin role", role, str(person)),) if had.is_delegated_admin else ()
    is_away = is_at_or_below(had.org_unit, [settings.SUSPENDED_OU])
    if had.archived or (had.suspended and is_away):
        return Plan(person, had, notes=notes)
    rule, reason = why_not_closed(had, district)
    if rule:
        return Plan(person, had, notes=(*notes, Note("INFO", rule, reason, str(person))))
    target = had.org_unit if is_away else district.directory.org_units[settings.SUSPENDED_OU.lower()]
    wanted = replace(had, suspended=True, org_unit=target)
    return Plan(person, had, wanted, differences_between(had, wanted), notes)


def why_not_closed(had: Account, district: District) -> tuple[str, str]:
    """The rule that keeps a leaver's account as it is and the reason in words, or two empty ones."""
    if is_at_or_below(had.org_unit, district.settings.TEMPORARY_REACTIVATION_OUS):
        return "temporary reactivation", f"{had.email} lies in {had.org_unit}: not suspended"
    owner = next((p for p in district.staff.values() if p.is_active and p.email == had.email), None)
    if owner:
        return "address in use", f"PowerSchool gives {had.email} to {owner}, who is active: not suspended"
    window = hold_window(district.settings, district.today) if had.is_open and not district.named else ""
    if window:
        return "held by the calendar", f"{had.email} is not suspended until {window} is over (HOLD_SUSPENSIONS)"
    return "", ""


def hold_window(settings: Settings, today: date) -> str:
    """The last day of the hold window that today lies in, or ""; a window may cross New Year."""
    day = today.strftime("%m-%d")
    for first, last in settings.HOLD_SUSPENSIONS:
        if first <= day <= last if first <= last else day >= first or day <= last:
            return last
    return ""


def differences_between(had: Account, wanted: Account) -> tuple[Change, ...]:
    """What turns `had` into `wanted`, by kind; no exceptions in here: they have bent `wanted` before."""
    kinds = {
        "suspend" if wanted.suspended else "reactivate": ("suspended",),
        "link": ("dcid",),
        "move to suspended" if wanted.suspended else "move": ("org_unit",),
        "rename": ("email",),
        "name": ("given_name", "family_name"),
    }
    changes = []
    for kind, attributes in kinds.items():
        before, after = ({name: getattr(side, name) for name in attributes} for side in (had, wanted))
        if before != after:
            changes.append(
                Change(kind, {**before, **({"aliases": list(had.aliases)} if kind == "rename" else {})}, after)
            )
    names = [name for name in wanted.fields if wanted.fields[name] != had.fields.get(name, "")]
    if names or wanted.employee_id != had.employee_id:
        before, after = ({"fields": {name: side.fields.get(name, "") for name in names}} for side in (had, wanted))
        if wanted.employee_id != had.employee_id:
            before["employee_id"], after["employee_id"] = had.employee_id, wanted.employee_id  # type: ignore[assignment]
        changes.append(Change("update", before, after))
    return tuple(changes)


def cleared_fields(change: Change) -> frozenset[str]:
    if change.kind != "update":
        return frozenset()
    return frozenset(name for name, value in change.after["fields"].items() if not value)


def orphan_notes(district: District) -> list[Note]:
    """Accounts whose DCID is not in PowerSchool: told, never written."""
    return [
        Note(
            "INFO",
            "not in PowerSchool",
            f"DCID {account.dcid}, in {account.org_unit}, last sign-in {account.last_sign_in[:10] or 'never'}",
            account.email,
        )
        for account in sorted(district.directory.accounts.values(), key=lambda account: account.email)
        if account.dcid is not None and account.dcid not in district.staff
    ]


CSV_COLUMNS = ("what", "dcid", "name", "powerschool_address", "google_address", "google_name", "org_unit",
               "state", "last_sign_in", "reason")  # fmt: skip
LINK_DOUBTS = frozenset({
    "not linked", "probable rehire", "possible account", "address taken", "somebody else's account",
    "two accounts with one DCID", "one address, two people",
})  # fmt: skip


def adoption_rows(plans: Sequence[Plan], district: District) -> list[dict[str, str]]:
    """One row of CSV_COLUMNS per active person who is not simply in step, and per staff account nobody claims."""
    rows, claimed = [], set()
    for plan in plans:
        claimed |= {plan.had.id} if plan.had else set()
        claimed |= {account.id for account in district.by_dcid.get(plan.person.dcid, ())}
        doubts = [note for note in plan.notes if note.rule in LINK_DOUBTS]
        what = "link" if "link" in plan.kinds else "in doubt" if doubts else "no account" if plan.had is None else ""
        if any(note.rule == "inactive person's address" for note in plan.notes):
            reason = "; ".join(note.reason for note in plan.notes)
            rows.append(adoption_row("left, open", reason, plan.person, district.by_address[plan.person.email]))
            claimed.add(district.by_address[plan.person.email].id)
        elif plan.person.is_active and what:
            reason = "; ".join(note.reason for note in plan.notes) or (f"found by {plan.evidence}" if plan.had else "")
            account = plan.had or district.by_address.get(plan.person.email)
            rows.append(adoption_row(what, reason, plan.person, account))
    places = (district.settings.STAFF_OU, district.settings.SUBSTITUTE_OU)
    for account in district.directory.accounts.values():
        held_by = district.active_by_address.get(account.email)
        if account.id not in claimed and not held_by and is_at_or_below(account.org_unit, places):
            rows.append(
                adoption_row("nobody in PowerSchool", "no DCID and no address of anybody active", None, account)
            )
    return sorted(rows, key=lambda row: (row["what"], row["name"], row["google_address"]))


def adoption_row(what: str, reason: str, person: Staff | None, account: Account | None) -> dict[str, str]:
    name = f"{person.first_name} {person.last_name}".strip() if person else ""
    values = ("", "", "", "", "")
    if account:
        full_name = f"{account.given_name} {account.family_name}"
        values = (account.email, full_name, account.org_unit, account.state, account.last_sign_in[:10] or "never")
    of_person = (str(person.dcid), name, person.email) if person else ("", "", "")
    return dict(zip(CSV_COLUMNS, (what, *of_person, *values, reason), strict=True))


def adoption_words(rows: Sequence[Mapping[str, str]], plans: Sequence[Plan]) -> str:
    """How far the staff of both sides have found each other, in one sentence."""
    evidence = Counter(f"by {plan.evidence}" for plan in plans if "link" in plan.kinds)
    counts = Counter(row["what"] for row in rows)
    doubts = Counter(n.rule for plan in plans if plan.person.is_active for n in plan.notes if n.rule in LINK_DOUBTS)
    return (
        f"Linking: {counts['link']} to link ({counts_in_words(evidence)}), "
        f"{counts['in doubt']} in doubt ({counts_in_words(doubts)}), "
        f"{counts['no account']} active staff without an account, "
        f"{counts['nobody in PowerSchool']} staff accounts with nobody in PowerSchool, "
        f"{counts['left, open']} open accounts with the address of somebody who left"
    )


# Limits and sanity checks: what is too much is held, before the first write.


def check_sanity(powerschool: PowerSchool, directory: Directory) -> None:
    """An answer that is empty is an error until proven otherwise; RunError with exit code 3."""
    faults = {
        "PowerSchool returned no schools": not powerschool.schools,
        "PowerSchool returned no staff": not powerschool.staff,
        "PowerSchool returned no active staff (no SCHOOLSTAFF row with status 1)": not any(
            p.is_active for p in powerschool.staff
        ),
        "Google returned no accounts": not directory.accounts,
    }
    found = [sentence for sentence, is_so in faults.items() if is_so]
    if found:
        raise RunError(
            "; ".join(found) + ": that cannot be right, so nothing was decided. Check the rights of the two logins.",
            HELD,
        )


def identity_doubt(plans: Sequence[Plan]) -> str:
    """Why nothing may be done: many accounts that look like somebody else's mean a rebuilt PowerSchool; or ""."""
    strange = [plan for plan in plans if any(note.rule == "somebody else's account" for note in plan.notes)]
    found = sum(plan.had is not None and plan.had.dcid == plan.person.dcid for plan in plans)
    if len(strange) <= 5 or len(strange) <= 0.05 * found:
        return ""
    some = " ".join(f"dcid:{plan.person.dcid}" for plan in strange[:5])
    return (
        f"{len(strange)} of {found} accounts look like somebody else's by their DCID: was PowerSchool rebuilt? "
        f"Look at some of them with --explain before anything else: {some}"
    )


def unlinked_hold(district: District, allowed: Mapping[str, int]) -> tuple[frozenset[str], str]:
    """Linking comes first: while most staff accounts carry no DCID, nobody is created or suspended."""
    linked = unlinked = 0
    for person in district.staff.values():
        if not person.is_active or skip_reason(person, district.settings):
            continue
        holder = district.by_address.get(person.email)
        if person.dcid in district.by_dcid:
            linked += 1
        elif (
            holder
            and holder.email == person.email
            and not is_at_or_below(holder.org_unit, district.settings.PROTECTED_OUS)
        ):
            unlinked += 1
    if linked >= unlinked:
        return frozenset(), ""
    kinds = frozenset({"suspend"} if "create" in allowed else {"create", "suspend"})
    return kinds, (
        f"Only {linked} of the {linked + unlinked} active staff found in Google carry their DCID: link them first. "
        "Until half of them do, nobody is suspended"
        + ("." if "create" in allowed else " or created (--allow create=N lifts that).")
    )


def limited_kinds(plan: Plan) -> frozenset[str]:
    """The kinds under which this person counts against LIMITS."""
    kinds = set(plan.kinds)
    if plan.had is not None and not plan.had.suspended:
        kinds.discard("move to suspended")
    if "unlink" in kinds:
        kinds.add("link")
    if any(cleared_fields(change) for change in plan.changes):
        kinds.add("clear")
    return frozenset(kinds)


def over_limits(plans: Sequence[Plan], limits: Mapping[str, int]) -> dict[str, int]:
    """Kind -> number of people, for every kind with more people than its limit."""
    counts = Counter(kind for plan in plans for kind in limited_kinds(plan))
    return {kind: counts[kind] for kind in limits if counts[kind] > limits[kind]}


@dataclass(frozen=True)
class Held:
    """What is too much: kind -> people for the limits, and the kinds that wait until most accounts are linked."""

    over: Mapping[str, int]
    unlinked: frozenset[str]
    sentence: str  # of `unlinked`, or ""

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset(self.over) | self.unlinked


def held_kinds(
    district: District, plans: Sequence[Plan], limits: Mapping[str, int], allowed: Mapping[str, int]
) -> Held:
    return Held(over_limits(plans, limits), *unlinked_hold(district, allowed))


def without_held(plan: Plan, held: frozenset[str]) -> Plan:
    """The plan without what is held: everything of the person, or only the held change."""
    mine = limited_kinds(plan) & held
    if mine & WHOLE_PERSON:
        return replace(plan, changes=())
    gone = set(mine) | ({"name"} if "rename" in mine else set())
    kept = [change for change in plan.changes if change.kind not in gone]
    if "clear" in mine:
        kept = [without_clears(change) for change in kept]
    return replace(plan, changes=tuple(c for c in kept if c.kind != "update" or c.after["fields"] or len(c.after) > 1))


def without_clears(change: Change) -> Change:
    if change.kind != "update":
        return change
    cleared = cleared_fields(change)
    sides = (
        {**side, "fields": {name: value for name, value in side["fields"].items() if name not in cleared}}
        for side in (change.before, change.after)
    )
    return Change("update", *sides)


def held_sentence(kind: str, count: int, limit: int, plans: Sequence[Plan]) -> str:
    held = "; ".join(str(plan.person) for plan in plans if kind in limited_kinds(plan))
    return (
        f"{kind}: {people(count)}, the limit is {limit}, so none was done. "
        f"If that is right: {allow_option(kind, count)}. Held: {held}"
    )


def allow_option(kind: str, count: int) -> str:
    return f'--allow "{kind}={count}"' if " " in kind else f"--allow {kind}={count}"


# Choosing people: --only.


def chosen(words: Sequence[str], district: District) -> frozenset[int]:
    """The DCIDs that --only names; RunError for a word that fits nobody, or a bare number that fits several."""
    found = set()
    for word in words:
        fits = matching(word.strip().casefold(), district)
        if not fits:
            raise RunError(
                f"--only {word}: nobody in PowerSchool has this address, DCID or teacher number: "
                f"python sync.py --explain {word}  says who comes near"
            )
        if len(fits) > 1 and "@" not in word:
            named = "; ".join(str(district.staff[dcid]) for dcid in sorted(fits))
            raise RunError(f"--only {word}: fits several people, so say dcid:N or teacher:N: {named}")
        found |= fits
    return frozenset(found)


def matching(word: str, district: District) -> set[int]:
    prefix, _, number = word.rpartition(":")
    if "@" in word:
        account = district.by_address.get(word)
        held = {account.dcid} & set(district.staff) if account and account.dcid is not None else set()
        return {p.dcid for p in district.staff.values() if p.email == word} or {
            dcid for dcid in held if dcid is not None
        }
    return {
        person.dcid
        for person in district.staff.values()
        if (prefix in {"", "dcid"} and str(person.dcid) == number)
        or (prefix in {"", "teacher"} and fold_number(person.teacher_number) == number != "")
    }


# Applying: the journal, then one person after the other. Only `make` writes to Google.


def journal(run: Run, number: int, state: str, account: Account, change: Change, error: str = "") -> None:
    """One line in runs/<start>.jsonl, on disk when this returns; RunError if it cannot be written."""
    line = {
        "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        "change": number,
        "state": state,
        "dcid": account.dcid,
        "account": account.id,
        "email": account.email,
        "kind": change.kind,
        "before": dict(change.before),
        "after": dict(change.after),
        "error": error,
    }
    path = run.folder / "runs" / f"{run.name}.jsonl"
    try:
        if run.journal_file is None:
            run.journal_file = open_private(path, "a")
        run.journal_file.write(json.dumps(line) + "\n")
        run.journal_file.flush()
        os.fsync(run.journal_file.fileno())
    except OSError as error_:
        remedy = "without a journal nothing is changed, so give it the right to, or make room on the disk"
        raise no_access(path, "written", error_, remedy) from None


def make(
    run: Run,
    account: Account,
    changes: Sequence[Change],
    request: Any,
    is_made: Callable[[], Account | bool | None],
) -> None:
    """Carry out one request with a journal line per kind before and after; GoogleError if it was not done.

    `is_made` asks Google whether the change is there: a write whose answer was lost, or answered with a conflict by
    a request sent twice, is looked up before it is called a failure.
    """
    number, state, words = run.change_number + 1, "unknown", "cut off"
    refusal: GoogleError | None = None
    for change in changes:
        journal(run, number, "intended", account, change)
    run.change_number = number
    try:
        answer = call(run, request)
        account = replace(account, id=answer.get("id", "")) if isinstance(answer, dict) and not account.id else account
        state = "done"
    except GoogleError as error:
        refusal, words = error, str(error)
        state, account = outcome(error, account, is_made)
    except RunError as error:
        words = str(error)
        raise
    finally:
        for change in changes:
            journal(run, number, state, account, change, "" if state == "done" else words)
    if refusal and state != "done":
        raise refusal
    run.writes += 1
    run.done.update(change.kind for change in changes)


def outcome(error: GoogleError, account: Account, is_made: Callable[[], Account | bool | None]) -> tuple[str, Account]:
    """done, failed or unknown for a refused request, and the account as far as it is known by now."""
    if not error.is_uncertain:
        return "failed", account
    try:
        made = is_made()
    except GoogleError:
        return "unknown", account
    if isinstance(made, Account):
        return "done", made
    return ("done" if made else "failed"), account


def body_for(changes: Iterable[Change], account: Account, directory: Directory, settings: Settings) -> dict[str, Any]:
    """The users resource that carries out these changes: only what differs; a list is merged, then sent whole."""
    body: dict[str, Any] = {}
    names = {"email": "primaryEmail", "org_unit": "orgUnitPath", "suspended": "suspended"}
    for change in changes:
        after = change.after
        body.update({names[name]: value for name, value in after.items() if name in names})
        if "given_name" in after:
            body["name"] = {"givenName": after["given_name"], "familyName": after["family_name"]}
        held = dict(after.get("fields", {}))
        if "dcid" in after:
            held[dcid_field(settings)] = "" if after["dcid"] is None else str(after["dcid"])
        for name, value in held.items():
            schema, _, entry = name.partition(".")
            body.setdefault("customSchemas", {}).setdefault(schema, {})[entry] = wire_value(
                value, directory.field_types[name]
            )
        if "employee_id" in after:
            body["externalIds"] = merged_ids(account, after["employee_id"])
    return body


def wire_value(value: str, field_type: str) -> Any:
    if not value:
        return None
    kinds: dict[str, Callable[[str], Any]] = {"INT64": int, "DOUBLE": float, "BOOL": "true".__eq__}
    return kinds.get(field_type, str)(value)


def merged_ids(account: Account, number: str) -> list[dict[str, Any]]:
    """The account's external IDs with this employee ID in place of the first one; all others kept."""
    entries = [dict(entry) for entry in account.external_ids]
    first = next((entry for entry in entries if entry.get("type") == "organization"), None)
    if first is None and number:
        entries.append({"type": "organization", "value": number})
    elif first is not None and number:
        first["value"] = number
    elif first is not None:
        entries.remove(first)
    return entries


def update_account(run: Run, had: Account, changes: Sequence[Change], directory: Directory) -> None:
    """One users.update that carries these changes."""
    settings = run.settings
    body = body_for(changes, had, directory, settings)

    def is_made() -> Account | None:
        now = get_account(run, had.id)
        return now if now is not None and all(holds(now, change) for change in changes) else None

    request = run.api.users().update(userKey=non_empty(had.id), body=body, fields="id")
    make(run, had, changes, request, is_made)


def holds(account: Account, change: Change) -> bool:
    """True if the account is as this change leaves it."""
    return all(
        all(account.fields.get(field_name, "") == text for field_name, text in value.items())
        if name == "fields"
        else str(getattr(account, name)).casefold() == str(value).casefold()
        if name == "org_unit"
        else getattr(account, name) == value
        for name, value in change.after.items()
    )


def create_account(run: Run, plan: Plan, wanted: Account, directory: Directory) -> None:
    """One users.insert with everything in it; an account that carries the DCID afterwards is ours."""
    body = {
        **body_for(plan.changes, wanted, directory, run.settings),
        "changePasswordAtNextLogin": True,
        "password": os.environ.get("NEW_USER_PASSWORD") or secrets.token_urlsafe(24),
    }  # fmt: skip
    if not wanted.employee_id:
        body.pop("externalIds", None)

    def is_made() -> Account | None:
        now = get_account(run, wanted.email)
        return now if now is not None and now.dcid == wanted.dcid else None

    make(run, replace(wanted, id=""), plan.changes, run.api.users().insert(body=body, fields="id"), is_made)


# One users.update for each of these groups of kinds, in this order: a reactivation that Google refuses leaves the
# rest undone, and a rename that Google refuses does not take the rest with it.
STEPS = (
    ("reactivate",),
    ("link", "move", "update"),
    ("rename", "name"),
    ("suspend",),
    ("move to suspended",),
)


def still_due(plan: Plan, now: Account, district: District, kinds: Sequence[str]) -> tuple[Change, ...]:
    """Of the planned changes, those that the account as it is now still needs; decided by the same rules."""
    planned = {change.kind: change for change in plan.changes if change.kind in kinds}
    fresh = plan_account(plan.person, now, district)
    due = []
    for change in fresh.changes:
        if change.kind not in planned:
            continue
        if change.kind == "update":
            change = only_planned(change, planned["update"])  # noqa: PLW2901
        if change.kind != "update" or change.after["fields"] or len(change.after) > 1:
            due.append(change)
    return tuple(due)


def only_planned(change: Change, planned: Change) -> Change:
    sides = []
    for side in (change.before, change.after):
        kept = {name: value for name, value in side.items() if name in planned.after}
        held = {name: value for name, value in side["fields"].items() if name in planned.after["fields"]}
        sides.append({**kept, "fields": held})
    return Change("update", *sides)


def apply_plan(run: Run, plan: Plan, district: District) -> None:
    """Make the changes of one person; GoogleError or RunError where they cannot be made."""
    if plan.had is None:
        if plan.wanted is not None:
            create_account(run, plan, plan.wanted, district.directory)
            tell_change(run, plan, plan.changes)
        return
    refusals = []
    for kinds in STEPS:
        if not plan.kinds & set(kinds):
            continue
        try:
            if closes(plan, kinds):
                leave_groups_before(run, plan, plan.had, district, kinds)
            apply_step(run, plan, plan.had, district, kinds)
        except GoogleError as error:
            if kinds in {("reactivate",), ("suspend",)}:
                raise
            refusals.append(error)
    if refusals:
        raise refusals[0]


def closes(plan: Plan, kinds: Sequence[str]) -> bool:
    """True for the step that is the mark of a closed account: before it the groups are left."""
    return kinds == (("move to suspended",) if "move to suspended" in plan.kinds else ("suspend",))


def apply_step(run: Run, plan: Plan, had: Account, district: District, kinds: Sequence[str]) -> None:
    now = get_account(run, had.id)
    if now is None:
        raise GoogleError(404, "notFound", f"{had.email} is no longer there")
    due = still_due(plan, now, district, kinds)
    if not due:
        log.debug("%s: %s is not due any more", plan.person, " and ".join(kinds))
        return
    try:
        # The journal names the person on every line, of an account that has still to be linked too.
        update_account(run, replace(now, dcid=plan.person.dcid), due, district.directory)
    except GoogleError as error:
        renamed = next((change.after["email"] for change in due if change.kind == "rename"), "")
        if error.status == 409 and renamed:
            raise GoogleError(409, error.reason, f"{renamed} is taken {holder_words(run, renamed)}") from None
        raise
    tell_change(run, plan, due)
    for past in groups_to_get_back(run, now.id) if kinds == ("reactivate",) else ():
        log.info(
            "%s was in groups before: python sync.py --undo %s --only dcid:%d", plan.person, past, plan.person.dcid
        )


def holder_words(run: Run, address: str) -> str:
    """Who holds an address that Google says is taken."""
    try:
        holder = get_account(run, address)
        if holder is not None:
            return f"by {holder.email}" + ("" if holder.email == address else " as an alias")
        return "by a group" if is_group(run, address) else "by something Google does not show (a deleted account?)"
    except GoogleError:
        return "by somebody Google does not name at the moment"


def leave_groups_before(run: Run, plan: Plan, had: Account, district: District, kinds: Sequence[str]) -> None:
    """As `leave_groups`, before the step that is the mark of a closed account.

    Where the account lies in SUSPENDED_OU already, closing it is worth more than a group.
    """
    try:
        leave_groups(run, plan, had, district, kinds)
    except GoogleError as error:
        if kinds != ("suspend",):
            raise
        note_failure(run, plan, f"{error}: take it out by hand")


def leave_groups(run: Run, plan: Plan, had: Account, district: District, kinds: Sequence[str]) -> None:
    """Take the account out of its groups, each with its role in the journal; GoogleError if one may work later.

    A group that refuses for good is told and forgotten: it must not keep a leaver's account open for ever.
    """
    if not run.settings.REMOVE_SUSPENDED_FROM_GROUPS:
        return
    now = get_account(run, had.id)
    if now is None or not still_due(plan, now, district, kinds):
        return
    request = run.api.groups().list(userKey=non_empty(had.id), maxResults=200, fields="nextPageToken,groups(id,email)")
    groups = [g for page in pages(run.api.groups(), request, partial(call, run)) for g in page.get("groups", ())]
    later: list[GoogleError] = []
    for group in groups:
        try:
            leave_group(run, plan.person, had, group)
        except GoogleError as error:
            if error.can_heal:
                later.append(error)
                continue
            note_failure(run, plan, f"{had.email} stays in the group {group['email']}, take it out by hand: {error}")
    if later:
        words = f"{had.email} could not leave all its groups, the next run tries again: {later[0]}"
        raise GoogleError(later[0].status, later[0].reason, words)


def membership(run: Run, group_id: str, account_id: str) -> Any:
    """The account's own membership of this group, or None: a member through another group has none."""
    request = run.api.members().get(groupKey=non_empty(group_id), memberKey=non_empty(account_id), fields="role")
    try:
        return call(run, request)
    except GoogleError as error:
        if error.status == 404:
            return None
        raise


def leave_group(run: Run, person: Staff, had: Account, group: Mapping[str, Any]) -> None:
    """Take the account out of one group; its role stands in the journal before it is gone."""
    member = membership(run, group["id"], had.id)
    if member is None:
        return
    role = member.get("role", "MEMBER")
    change = Change("leave group", {"group": group["email"], "group_id": group["id"], "role": role}, {})
    request = run.api.members().delete(groupKey=non_empty(group["id"]), memberKey=non_empty(had.id))
    try:
        make(run, had, [change], request, lambda: membership(run, group["id"], had.id) is None)
    except GoogleError as error:
        # 404: not a member any more; 412 may mean the same, so the membership is looked at again.
        if error.status == 404 or (error.status == 412 and membership(run, group["id"], had.id) is None):
            return
        raise
    log.info("%-10s %s: %s (%s)", "left group", person, group["email"], role.lower())
    if role == "OWNER":
        tell_owners(run, person, group)


def tell_owners(run: Run, person: Staff, group: Mapping[str, Any]) -> None:
    """A warning where the group has lost its last owner; it goes on working without one."""
    request = run.api.members().list(groupKey=non_empty(group["id"]), roles="OWNER", maxResults=1, fields="members(id)")
    try:
        if not call(run, request).get("members"):
            log.warning("The group %s has lost its last owner, %s: give it another one", group["email"], person)
    except GoogleError as error:
        log.warning("Whether the group %s still has an owner is not known: %s", group["email"], error)


def apply_plans(run: Run, plans: Sequence[Plan], apply: Callable[[Plan], None]) -> None:
    """Every planned change, person by person; one person's failure is noted and the next one's turn comes."""
    alike: list[tuple[int, str]] = []
    due = [plan for plan in plans if plan.changes]
    for position, plan in enumerate(due):
        if time.monotonic() > run.deadline:
            left = people(len(due) - position)
            rest = "left: run the same undo again, and" if plan.evidence == "the journal" else "left for the next run:"
            raise RunError(f"RUN_MINUTES is over, with {left} {rest} raise it if that comes often")
        if run.no_licences and plan.had is None:
            note_failure(run, plan, "not created: the licences are used up")
            continue
        try:
            apply(plan)
            alike.clear()
        except GoogleError as error:
            note_failure(run, plan, failure_words(run, plan, error))
            run.no_licences = run.no_licences or error.reason == "limitExceeded"
            answer = (error.status, error.reason)
            alike = [answer, *(alike if answer in alike else ())]
        if len(alike) >= FAILURES_IN_A_ROW:
            words = " ".join(map(str, alike.pop()))
            raise RunError(
                f"Google refused {FAILURES_IN_A_ROW} people in a row with the same answer ({words}): see its words "
                "in the ERROR lines, and whether the signed-in admin has the right for this"
            )


def failure_words(run: Run, plan: Plan, error: GoogleError) -> str:
    """What was tried and Google's own words; for a taken address, who holds it."""
    tried = " and ".join(change.kind for change in plan.changes)
    if error.status == 409 and plan.had is None and plan.wanted is not None:
        return f"not created: {plan.wanted.email} is taken {holder_words(run, plan.wanted.email)} ({error})"
    again = "run the same undo again" if plan.evidence == "the journal" else "the next run tries again"
    advice = again if error.can_heal else "put right what Google says, or do it by hand"
    return f"{tried} failed, at least in part: {error}: {advice}"


def note_failure(run: Run, plan: Plan, reason: str) -> None:
    log.warning("Not done: %s: %s", plan.person, reason)
    run.failures.append(Note("ERROR", "failed", reason, str(plan.person)))


# Undoing a run: its journal read backwards, by the same functions that make and report changes.

OPPOSITES = {
    "link": "unlink", "unlink": "link", "suspend": "reactivate", "reactivate": "suspend",
    "move to suspended": "move", "leave group": "join group", "join group": "leave group",
}  # fmt: skip
# Like STEPS, for putting back: a leaver is moved and back in the groups before the account opens again.
UNDO_STEPS = (
    ("rename", "name"), ("remove alias",), ("unlink", "link", "move", "update"), ("join group",), ("leave group",),
    ("reactivate",), ("suspend",), ("move to suspended",),
)  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """What the journal of a run says of one change: the latest of its lines."""

    number: int
    state: str
    dcid: int | None
    account: str
    email: str
    change: Change


def journals(folder: Path) -> list[Path]:
    """The journals of this folder's runs, the oldest first; copies under other names do not count."""
    return sorted(path for path in (folder / "runs").glob("*.jsonl") if re.fullmatch(r"\d{8}T\d{6}Z", path.stem))


def journal_path(folder: Path, which: str) -> Path:
    """The journal of this run, or for `last` the newest that changed something."""
    paths = journals(folder)
    if which == "last":
        newest = (path for path in reversed(paths) if read_journal(path))
        found = [path for path in [next(newest, None)] if path]
    else:
        found = [path for path in paths if path.stem == Path(which).name.removesuffix(".jsonl")]
    if not found:
        names = ", ".join(path.stem for path in paths[-5:]) or "none: no run has changed anything yet"
        raise RunError(f"--undo {which}: {folder / 'runs'} has no such journal (the newest: {names})")
    return found[-1]


def read_journal(path: Path) -> list[Entry]:
    """The changes of a run in their order, but for those that failed; RunError if the journal is damaged.

    A change that is only intended was cut off by a crash: whether it was made, Google says.
    """
    latest: dict[tuple[int, str], Entry] = {}
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(json.JSONDecodeError):  # a line cut off by a crash: its write was never made
                row = json.loads(line)
                change = change_of(row)
                entry = Entry(row["change"], row["state"], row["dcid"], row["account"], row["email"], change)
                latest[(entry.number, change.kind)] = entry
    except OSError as error:
        raise no_access(path, "read", error) from None
    except (KeyError, TypeError, ValueError):
        raise RunError(f"{path} is damaged: it is not a journal of Staff Sync") from None
    return [entry for entry in latest.values() if entry.state != "failed"]


def change_of(row: Mapping[str, Any]) -> Change:
    """The change in a journal line; KeyError, TypeError or ValueError if there is none."""
    before, after = dict(row["before"]), dict(row["after"])
    if row["kind"] == "update" and not ("fields" in before and "fields" in after):
        raise KeyError("fields")
    return Change(row["kind"], before, after)


def reversed_changes(change: Change, settings: Settings) -> list[Change]:
    """What puts this change back; the rename's own trace, the alias, included. Nothing is ever deleted."""
    before, after = change.before, change.after
    if change.kind == "create":
        return [
            Change("suspend", {"suspended": False}, {"suspended": True}),
            Change("move to suspended", {"org_unit": after["org_unit"]}, {"org_unit": settings.SUSPENDED_OU}),
        ]
    if change.kind == "rename":
        back = Change("rename", {"email": after["email"]}, {"email": before["email"]})
        own = after["email"] in before["aliases"]
        return [back] if own else [back, Change("remove alias", {"alias": after["email"]}, {})]
    if change.kind == "remove alias":
        return []
    return [Change(OPPOSITES.get(change.kind, change.kind), after or {}, before)]


def still_as_left(account: Account, change: Change) -> Change | None:
    """The part of an undoing change that Google still has as the run left it, or None if all has moved on."""
    if change.kind in {"join group", "leave group", "remove alias"}:
        return change
    if change.kind == "reactivate" and account.suspension_reason not in {"", "ADMIN"}:
        return None
    if change.kind != "update":
        return change if holds(account, Change("", {}, change.before)) else None
    names = [n for n, text in change.before["fields"].items() if account.fields.get(n) == text]
    sides = [{"fields": {name: side["fields"][name] for name in names}} for side in (change.before, change.after)]
    number = change.before.get("employee_id")
    if number is not None and account.employee_id == number:
        for side, source in zip(sides, (change.before, change.after), strict=True):
            side["employee_id"] = source["employee_id"]
    return Change("update", *sides) if names or len(sides[0]) > 1 else None


def is_put_back(account: Account, change: Change) -> bool:
    """True if the account is as this undoing change would leave it: an undo that was cut off has made it."""
    return all(name in account.fields for name in change.after.get("fields", ())) and holds(account, change)


def undo_plan(entries: Sequence[Entry], now: Account | None, district: District) -> Plan:
    """What puts one account back; what has moved on since is left and named."""
    newest = entries[-1]
    person = Staff(newest.dcid if newest.dcid is not None else NO_SCHOOL, "", "", now.email if now else newest.email)
    if now is None:
        note = Note("INFO", "moved on", "the account is no longer there: left as it is", str(person))
        return Plan(person, None, notes=(note,))
    person = replace(person, first_name=now.given_name, last_name=now.family_name)
    due, gone = [], []
    for entry in reversed(entries):
        for change in reversed_changes(entry.change, district.settings):
            still = still_as_left(now, change)
            due += [still] if still else []
            if still != change and not is_put_back(now, change):
                gone.append(f"{entry.change.kind}{' (in part)' if still else ''}")
    if "move to suspended" in gone and now.suspended:
        # Somebody has put the leaver elsewhere since, as for good: the account stays closed and out of its groups.
        kept = {"reactivate": "suspend", "join group": "leave group"}
        gone += [kept[change.kind] for change in due if change.kind in kept]
        due = [change for change in due if change.kind not in kept]
    due = [change for change in due if "rename" not in gone or change.kind != "remove alias"]
    reason = f"changed since by somebody else, so not put back: {', '.join(dict.fromkeys(gone))}"
    notes = (Note("INFO", "moved on", reason, str(person)),) if gone else ()
    hands_off = undo_hands_off(person, now, district)
    if hands_off and due:
        return Plan(person, now, notes=(hands_off,))
    return Plan(person, now, now, tuple(due), notes, "the journal")


def looked_up_undo_plan(run: Run, entries: Sequence[Entry], district: District) -> Plan:
    """As `undo_plan`; an account that Google does not show now is told, and does not keep the others from it."""
    try:
        return undo_plan(entries, account_of(run, entries), district)
    except GoogleError as error:
        newest = entries[-1]
        person = Staff(NO_SCHOOL if newest.dcid is None else newest.dcid, "", "", newest.email)
        return refuse(person, "not looked up", f"not put back, run the same undo again: {error}")


def undo_account(run: Run, plan: Plan, district: District) -> None:
    """Put one account back, step by step, looking at it again before each."""
    for kinds in UNDO_STEPS:
        for_groups = kinds[0] in {"join group", "leave group", "remove alias"}
        changes = [change for change in plan.changes if change.kind in kinds]
        now = get_account(run, plan.had.id) if plan.had and changes else None
        if now is None:
            continue
        if hands_off := undo_hands_off(plan.person, now, district):
            note_failure(run, plan, f"not put back any further: {hands_off.reason}")
            return
        if for_groups:
            for change in changes:
                undo_listed(run, plan, now, change)
            continue
        due = [still for change in changes if (still := still_as_left(now, change))]
        if due:
            # The journal keeps the aliases of before a rename, so that this undo can itself be undone.
            aliases = {"aliases": list(now.aliases)}
            due = [replace(c, before={**c.before, **aliases}) if c.kind == "rename" else c for c in due]
            known = now.dcid if plan.person.dcid == NO_SCHOOL else plan.person.dcid
            update_account(run, replace(now, dcid=known), due, district.directory)
            tell_change(run, plan, due)


def undo_hands_off(person: Staff, now: Account, district: District) -> Note | None:
    """Why an undo may not write this account either; a run's rules for an active person are the stricter ones."""
    return hands_off_note(replace(person, schools=((NO_SCHOOL, TYPE_STAFF),)), now, district)


def undo_listed(run: Run, plan: Plan, now: Account, change: Change) -> None:
    """Put back one membership or alias; a group that is gone or refuses is told, and keeps no account closed."""
    try:
        undo_one(run, plan, now, change)
    except GoogleError as error:
        advice = "run the same undo again" if error.can_heal else "do it by hand"
        note_failure(run, plan, f"{change.kind} {describe(change, run.settings)}: {error}: {advice}")


def undo_one(run: Run, plan: Plan, now: Account, change: Change) -> None:
    """Put back one membership, or remove the alias that a rename left; what is so already is left alone."""
    if change.kind == "remove alias":
        alias = change.before["alias"]
        if alias in now.aliases:
            request = run.api.users().aliases().delete(userKey=non_empty(now.id), alias=non_empty(alias))
            make(run, now, [change], request, lambda: alias not in (get_account(run, now.id) or now).aliases)
            tell_change(run, plan, [change])
        return
    sides = {**change.before, **change.after}
    if change.kind == "leave group":
        leave_group(run, plan.person, now, {"id": sides["group_id"], "email": sides["group"]})
        return
    present = membership(run, sides["group_id"], now.id)
    if present is not None:
        role = present.get("role", "MEMBER").lower()
        log.info("%-10s %s: %s already, as %s: left so", "in group", plan.person, sides["group"], role)
    else:
        body = {"email": now.email, "role": sides["role"]}
        request = run.api.members().insert(groupKey=non_empty(sides["group_id"]), body=body, fields="id")
        make(run, now, [change], request, lambda: membership(run, sides["group_id"], now.id) is not None)
        tell_change(run, plan, [change])


def undo(run: Run, which: str, only: Sequence[str], allowed: Mapping[str, int], agreed: bool, dry_run: bool) -> int:
    """Put back what a run changed, after showing it and asking; returns the exit code."""
    path = journal_path(run.folder, which)
    entries = read_journal(path)
    try:
        started = datetime.strptime(path.stem, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    except ValueError:
        raise RunError(f"{path} is damaged: its name is no start of a run") from None
    hours = (run.started - started).total_seconds() / 3600
    counts = Counter(entry.change.kind for entry in entries)
    log.info("Undo of run %s, %.1f hours ago, which did: %s", path.stem, hours, counts_in_words(counts))
    run.api = connect_google(run, interactive=has_terminal())
    directory = read_directory(run)
    district = district_tonight(run, PowerSchool({}, ()), directory)
    plans = [looked_up_undo_plan(run, group, district) for group in by_account(entries)]
    for word in only:
        if not any(is_named(plan, [word]) for plan in plans):
            raise RunError(
                f"--only {word}: run {path.stem} changed nobody with this address, DCID or Employee ID: "
                f"see whom with  python sync.py --undo {path.stem} --dry-run"
            )
    plans = [plan for plan in plans if not only or is_named(plan, only)]
    limits = {**run.settings.LIMITS, **allowed}
    limits.pop("clear")  # what an undo empties was empty before the run
    over = over_limits(plans, limits)
    held = [held_sentence(kind, count, limits[kind], plans) for kind, count in over.items()]
    plans = [without_held(plan, frozenset(over)) for plan in plans]
    notes = [note for plan in plans for note in plan.notes]
    if not dry_run and any(plan.changes for plan in plans):
        tell_plan(plans, run.settings)
        if not agreed and not is_agreed("Put this back?"):
            raise RunError("Undo: not agreed to, so nothing was put back")
    code = carry_out(run, plans, notes, held, lambda plan: undo_account(run, plan, district), dry_run)
    log.info("The next run will do the same again, unless PowerSchool is corrected or the scheduled task is paused.")
    return code


def is_agreed(question: str) -> bool:
    if not has_terminal():
        raise RunError("There is no terminal to ask on: look at it with --dry-run, then say --yes")
    with contextlib.suppress(EOFError):
        return input(f"{question} Type yes: ").strip().lower() in {"yes", "y"}
    return False


def by_account(entries: Sequence[Entry]) -> list[list[Entry]]:
    """The changes account by account, in the order in which the run came to them."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.account or entry.email, []).append(entry)
    return list(groups.values())


def account_of(run: Run, entries: Sequence[Entry]) -> Account | None:
    """The account of these changes as it is now; one created in a run that crashed is known by address and DCID."""
    first = entries[0]
    now = get_account(run, first.account or first.email)
    return now if now is None or first.account or now.dcid == first.dcid else None


def is_named(plan: Plan, only: Sequence[str]) -> bool:
    mine = {plan.person.email, str(plan.person.dcid), f"dcid:{plan.person.dcid}"}
    if plan.had:
        mine |= {plan.had.email, *plan.had.aliases}
        mine |= {f"teacher:{number}" for number in employee_ids(plan.had)}
    return bool(mine & {word.strip().casefold() for word in only})


def groups_to_get_back(run: Run, account_id: str) -> list[str]:
    """The runs whose journals took this account out of groups since it was last suspended, the newest first."""
    found = []
    for path in reversed(journals(run.folder)):
        try:
            kinds = {entry.change.kind for entry in read_journal(path) if entry.account == account_id}
        except RunError:
            continue
        if path.stem == run.name:
            continue
        if "leave group" in kinds:
            found.append(path.stem)
        if kinds & {"suspend", "reactivate", "join group"}:
            break
    return found


# Checking and setting up: what a district needs in place, each fact with its remedy.

GOOD, WARN, FAULT = "good", "WARNING", "FAULT"
SETUP_SCOPES = tuple(f"https://www.googleapis.com/auth/admin.directory.{name}" for name in ("orgunit", "userschema"))
# What --setup makes of a value; a district may have made another type, which is reported and never replaced.
VALUE_TYPES = dict.fromkeys(("dcid", "homeschool_id", "staff_type", "staff_group"), "INT64")
TEXT_VALUES, TEXT_TYPES = frozenset({"school_access_list", "building"}), frozenset({"STRING", "EMAIL", "PHONE"})
VARIABLES = ("POWERSCHOOL_PROD_DB", "POWERSCHOOL_READ_USER", "POWERSCHOOL_DB_PASSWORD", "NEW_USER_PASSWORD",
             "GOOGLE_ADMIN_EMAIL", "ORACLE_CLIENT_DIR", "HTTPS_PROXY", "HTTPLIB2_CA_CERTS",
             "REQUESTS_CA_BUNDLE")  # fmt: skip
# Seconds by which a clock may differ: a service account's sign-in is refused at about five minutes.
CLOCK_WARN, CLOCK_FAULT = 60, 300
PART_OF_A_RUN = ", for some only"  # in the first line of a log: such a run says nothing of the scheduled task


@dataclass(frozen=True)
class Finding:
    """One fact of --check: GOOD, WARN or FAULT, in words, and the remedy."""

    sign: str
    fact: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.sign:<8} {self.fact}" + (f" -> {self.remedy}" if self.remedy else "")


def warning_if(remedy: str, fact: str) -> Finding:
    return Finding(WARN if remedy else GOOD, fact, remedy)


def parted(sign: str, sentence: str) -> Finding:
    """A sentence whose remedy stands after its first colon and blank."""
    fact, _, remedy = sentence.partition(": ")
    return Finding(sign, fact, remedy)


def hidden_words(domains: object, folder: Path) -> dict[str, str]:
    """What must not stand in a public thread -> what is shown in its place: hosts, logins, addresses, domains."""
    dsn = os.environ.get("POWERSCHOOL_PROD_DB", "")
    hosts = re.findall(r"HOST\s*=\s*([^)\s]+)", dsn, re.IGNORECASE)
    if "(" not in dsn:
        places = (dsn.partition("//")[2] or dsn).partition("/")[0].split(",")
        hosts += [re.sub(r":\d*$|:\d+:.*$", "", place) for place in places]
    for name in ("HTTPS_PROXY", "https_proxy"):
        hosts.append(
            os.environ.get(name, "").rpartition("@")[2].rpartition("//")[2].partition("/")[0].partition(":")[0]
        )
    words = {dsn: "(POWERSCHOOL_PROD_DB)", os.environ.get("GOOGLE_ADMIN_EMAIL", ""): "(GOOGLE_ADMIN_EMAIL)"}
    words |= dict.fromkeys(hosts, "(host)")
    words |= {str(domain).strip(): "(domain)" for domain in (domains if isinstance(domains, list) else [domains or ""])}
    words |= {user_name(): "(login)", str(folder): "(folder)", str(Path.home()): "(home)"}
    words |= {str(Path(sys.executable).parent): "(python)"}
    return {word: shown for word, shown in words.items() if word}


def paste_safe(text: str, hidden: Mapping[str, str]) -> str:
    """The text without the hidden words, addresses of mail and the folders of files."""
    text = re.sub(r"[\w.'+-]+@[\w.-]+", "(address)", re.sub(r'\bhost "[^"]*"', "(host)", text))
    for word in sorted(hidden, key=len, reverse=True):
        spelling = re.escape(word).replace(r"\\", r"\\{1,2}")  # an OSError doubles the backslashes of a path
        text = re.sub(rf"(?<![\w.-]){spelling}(?![\w-])", hidden[word], text, flags=re.IGNORECASE)
    text = re.sub(r":( dcid:\d+)+", "", text).replace(" ((login) at POWERSCHOOL_PROD_DB=(POWERSCHOOL_PROD_DB))", "")
    return re.sub(r"(?<![\w.])(?:[A-Za-z]:)?[\\/](?:[\w. -]+[\\/])+(?=[\w.-]+\.(?:py|json|txt|ora|so|dll))", "", text)


def attempt(findings: list[Finding], fact: str, act: Callable[[], Any]) -> Any:
    """What this act returns; None, and a finding with the remedy, where it fails."""
    try:
        return act()
    except RunError as error:
        findings.append(Finding(FAULT, fact, str(error)))
    except GoogleError as error:
        findings.append(Finding(FAULT, fact, f"run again later: {error}"))
    return None


def check(run: Run, config: Path) -> int:
    """Every fact a run rests on, a line each, to the last one; 0, or 1 with warnings, or 2 with faults."""
    values, faults = read_config(config)
    run.settings = bare_settings() if faults else settings_of(values)
    run.deadline = time.monotonic() + run.settings.RUN_MINUTES * 60
    findings = [*machine_findings(), *folder_findings(run.folder), last_run_finding(run.folder)]
    # What a faulty entry holds may be a name: that a run tells, this does not.
    findings += [Finding(FAULT, "a setting in config.py", fault.partition(": look at ")[0]) for fault in faults]
    findings += [] if faults else [Finding(GOOD, "every setting in config.py is well-formed")]
    is_told_where = not any("POWERSCHOOL" in fault for fault in check_environment())
    powerschool = look_at_powerschool(run.settings, findings) if is_told_where else None
    if not is_told_where:
        findings.append(Finding(WARN, "PowerSchool was not looked at", "set the variables above first"))
    look_at_google(run, powerschool, findings)
    if faults:
        later = "tables, org units, schemas and tonight's run were not looked at"
        findings.append(Finding(WARN, later, "run --check again once config.py is right"))
    hidden = hidden_words(values.get("GOOGLE_DOMAINS"), run.folder)
    for finding in findings:
        log.info("%s", paste_safe(str(finding), hidden))
    signs = Counter(finding.sign for finding in findings)
    log.info("Checked: %s. Nothing was written.", counts_in_words(signs))
    log.info("Next: %s", after_check(findings))
    return FAILED if signs[FAULT] else ATTENTION if signs[WARN] else DONE


def after_check(findings: Sequence[Finding]) -> str:
    """The step that follows."""
    faults = [finding for finding in findings if finding.sign == FAULT]
    if not faults:
        return "python sync.py --dry-run  shows what a run would do"
    if all("with --setup" in finding.remedy for finding in faults):
        return "python sync.py --setup  creates what is missing"
    return "put right what the FAULT lines say, then  python sync.py --check  again"


def bare_settings() -> Settings:
    """Settings without a district, where config.py cannot be used: enough to try both sign-ins."""
    nothing: Any = {}
    required = [entry.name for entry in fields(Settings) if entry.default is entry.default_factory is MISSING]
    return Settings(**dict.fromkeys(required, nothing))


def machine_findings() -> list[Finding]:
    """This machine: account, Python, environment variables (never their values), proxy."""
    words = f"runs as the operating-system account {account_name()}, Python {sys.version.split()[0]}"
    findings = [Finding(GOOD, words)]
    faults = check_environment()
    for name in VARIABLES:
        remedy = "; ".join(fault for fault in faults if name in fault)
        is_set = "set" if os.environ.get(name) else "not set"
        findings.append(Finding(FAULT if remedy else GOOD, f"environment variable {name}: {is_set}", remedy))
    if lacks_proxy_package():
        remedy = f"{sys.executable} -m pip install PySocks: without it the Google client passes the proxy by"
        findings.append(Finding(FAULT, "HTTPS_PROXY is set but the package PySocks is missing", remedy))
    return findings


def folder_findings(folder: Path) -> list[Finding]:
    """Whether a run can leave its log and journal, tried for real, and whether others can read the secrets."""
    findings = []
    if sys.platform != "win32" and os.geteuid() == 0 and folder.stat().st_uid != 0:
        words = "this is root, and the folder of config.py belongs to another account"
        findings.append(Finding(WARN, words, "run the script as that account, as the scheduled task does"))
    for place in (folder, folder / "runs"):
        if os.path.exists(place):  # noqa: PTH110 - without an error where this account may not look
            fact = f"the folder {'of config.py' if place == folder else 'runs'} can be written"
            try:
                trial = place / f".staffsync-{os.getpid()}"
                open_private(trial, "w").close()
                trial.unlink()
                findings.append(Finding(GOOD, fact))
            except OSError as error:
                remedy = f"it cannot ({error.strerror}): give this account the right to, or run as another one"
                findings.append(Finding(FAULT, fact, remedy))
    for name in ("StaffLog.txt", "token.json"):
        if os.path.exists(folder / name):  # noqa: PTH110
            try:
                (folder / name).open("r+").close()
            except OSError as error:
                remedy = f"it cannot ({error.strerror}): give this account the right to"
                findings.append(Finding(FAULT, f"{name} can be written", remedy))
    for name in ("credentials.json", "token.json"):
        path = folder / name
        if sys.platform != "win32" and os.path.exists(path) and path.stat().st_mode & 0o077:  # noqa: PTH110
            fact = f"other accounts of this machine can read {name}"
            findings.append(Finding(WARN, fact, f"keep it to this account: chmod 600 {name}"))
    return findings


def last_run_finding(folder: Path) -> Finding:
    """How long ago the last good run was, from the newest log, or else from those kept of runs that did something."""
    newest = folder / "StaffLog.txt"
    kept = sorted((folder / "runs").glob("*Z.txt"), reverse=True)
    if not os.path.exists(newest):  # noqa: PTH110
        return Finding(WARN, "no run yet", "look at a dry run first, then schedule it")
    good = next((path for path in (newest, *kept) if is_log_of_good_run(path)), None)
    if good is None:
        return Finding(WARN, "no run of everybody that came to its end is on record", "see the end of StaffLog.txt")
    days = (time.time() - good.stat().st_mtime) / 86400
    words = f"the last good run was {days:.1f} days ago"
    if good != newest:
        remedy = "see StaffLog.txt: the newest run did not come to its end, or was one of --only or --undo"
        return Finding(WARN, words, remedy)
    remedy = "" if days < 2 else "is the scheduled task still there and enabled?"
    return warning_if(remedy, words)


def is_log_of_good_run(path: Path) -> bool:
    """True if this log is of a run of everybody that came to its end; its first line and its summary say so."""
    with contextlib.suppress(OSError):
        text = path.read_text(encoding="utf-8", errors="replace")
        return " INFO  Done: " in text and PART_OF_A_RUN not in text.partition("\n")[0]
    return False


def look_at_powerschool(settings: Settings, findings: list[Finding]) -> PowerSchool | None:
    """Connection, tables and counts, added to the findings; what PowerSchool says, as far as it can be read."""
    connection = attempt(findings, "signing in to PowerSchool", partial(connect_powerschool, settings))
    if connection is None:
        return None
    mode = "thin" if connection.thin else "thick"
    words = f"PowerSchool can be reached and lets this login in (Oracle {connection.version}, {mode} mode)"
    findings.append(Finding(GOOD, words))
    if not settings.STAFF_OU:
        return None
    extension = {table: ("usersdcid", *(c for _, c in held)) for table, held in extension_tables(settings).items()}
    with contextlib.closing(connection):
        base, more = (table_findings(connection, settings, tables) for tables in (TABLES, extension))
    findings += [*base, *more]
    if any(finding.sign == FAULT for finding in base):
        return None
    readable = replace(settings, EXTENSION_COLUMNS={}) if any(finding.sign == FAULT for finding in more) else settings
    powerschool: PowerSchool | None = attempt(findings, "reading PowerSchool", partial(read_powerschool, readable))
    findings += count_findings(powerschool) if powerschool else []
    return powerschool


def table_findings(
    connection: oracledb.Connection, settings: Settings, tables: Mapping[str, tuple[str, ...]]
) -> list[Finding]:
    """Each of these tables; where one fails for a column, every column that is not there."""
    prefix = schema_prefix(settings)
    findings = []
    for table, columns in tables.items():
        place = f"{prefix}{table.upper()}"
        fault = select_fault(connection, place, columns)
        if not fault:
            findings.append(Finding(GOOD, f"table {place} can be read: {', '.join(columns).upper()}"))
        elif "ORA-00904" in fault:
            faults = {column: select_fault(connection, place, (column,)) for column in columns}
            findings += [Finding(FAULT, f"column {place}.{c.upper()}", words) for c, words in faults.items() if words]
        else:
            findings.append(Finding(FAULT, f"table {place}", fault))
    return findings


def count_findings(powerschool: PowerSchool) -> list[Finding]:
    """Counts that show whether what was read makes sense."""
    staff, schools = powerschool.staff, powerschool.schools
    active = [person for person in staff if person.is_active]
    with_address = sum(bool(person.email) for person in active)
    homes = Counter(person.homeschool for person in active)
    words = f"PowerSchool holds {len(schools)} schools, {len(staff)} staff, {len(active)} of them active"
    remedy = "" if active and schools else "a run would stop here: check what this login may read"
    findings = [Finding(FAULT if remedy else GOOD, words, remedy)]
    remedy = "" if 2 * with_address >= len(active) else "fill USERS.EMAIL_ADDR: nobody is created without an address"
    findings.append(warning_if(remedy, f"active staff with an address: {with_address}"))
    lost = sum(count for number, count in homes.items() if number not in schools)
    remedy = "correct USERS.HOMESCHOOLID: these are reported and not written" if lost else ""
    words = f"home schools of the active staff: {len(homes)}; staff with one that SCHOOLS does not hold: {lost}"
    return [*findings, warning_if(remedy, words)]


def look_at_google(run: Run, powerschool: PowerSchool | None, findings: list[Finding]) -> None:
    """Clock, sign-in, schemas, org units and tonight's plan, added to the findings."""
    findings.append(clock_finding(run.settings))
    credentials = attempt(findings, "signing in to Google", partial(google_credentials, run, interactive=False))
    if credentials is None:
        return
    kind = "an OAuth desktop client" if isinstance(credentials, Credentials) else "a service account"
    findings.append(Finding(GOOD, f"Google: signed in with {kind}, all {len(SCOPES)} scopes a run needs are granted"))
    run.api = directory_api(run, credentials)
    if not run.settings.STAFF_OU:
        attempt(findings, "asking Google for org units", partial(read_org_units, run))
        return
    schemas = attempt(findings, "reading custom schemas", partial(read_schemas, run))
    org_units = attempt(findings, "reading org units", partial(read_org_units, run))
    findings += schema_findings(run.settings, schemas) if schemas is not None else []
    findings += org_unit_findings(run.settings, org_units, powerschool) if org_units is not None else []
    if schemas is not None and org_units is not None:
        look_at_accounts(run, powerschool, org_units, schemas, findings)


def clock_finding(settings: Settings) -> Finding:
    """Whether Google answers at all, and this machine's clock against the Date of that answer (RFC 9110, 6.6.1)."""
    try:
        answer, _ = httplib2.Http(timeout=settings.TIMEOUT_SECONDS).request("https://admin.googleapis.com/", "HEAD")
    except (*TRANSPORT_ERRORS, ValueError) as error:
        return Finding(FAULT, "Google can be reached", str(unreachable(error)))
    try:
        seconds = abs(parsedate_to_datetime(answer["date"]).timestamp() - time.time())
    except (KeyError, ValueError, TypeError):
        return Finding(WARN, "Google can be reached, but tells no time", "compare this machine's clock by hand")
    words = f"Google can be reached, and this machine's clock differs from Google's by {seconds:.0f} seconds"
    remedy = "set the clock, and let it follow a time server: sign-ins are refused when it is wrong"
    sign = FAULT if seconds > CLOCK_FAULT else WARN if seconds > CLOCK_WARN else GOOD
    return Finding(sign, words, "" if sign == GOOD else remedy)


def schema_findings(settings: Settings, schemas: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
    """Each field of CUSTOM_SCHEMAS with type, index and who may read it."""
    findings = [parted(FAULT, fault) for fault in schema_faults(settings, schemas)]
    findings += [parted(WARN, doubt) for doubt in doubtful_types(settings, schemas)]
    for name, value in schema_fields(settings).items():
        entry = schemas.get(name)
        if entry is None:
            continue
        is_indexed, reader = entry.get("indexed", True), entry.get("readAccessType", "ALL_DOMAIN_USERS")
        words = f"custom schema field {name}: {entry['fieldType']}, {'' if is_indexed else 'not '}indexed, {reader}"
        remedies = []
        if value == "dcid" and not is_indexed:
            remedies.append("index it, so that a new account is looked up by its DCID too")
        if value in {*settings.PRIVATE_VALUES, *settings.EXTENSION_COLUMNS} and reader != "ADMINS_AND_SELF":
            remedies.append("everybody in the domain, students too, can read it: let only admins and the user see it")
        findings.append(Finding(WARN if remedies else GOOD, words, "; ".join(remedies)))
    return findings


def doubtful_types(settings: Settings, schemas: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Fields whose type does not suit their value; the run reports every value that does not fit."""
    doubts = []
    for name, value in schema_fields(settings).items():
        kind = schemas.get(name, {}).get("fieldType", "STRING")
        if value in TEXT_VALUES and kind not in TEXT_TYPES:
            doubts.append(f"{name} is {kind}, which cannot hold a {value}: make a text field (STRING)")
        elif value in VALUE_TYPES and value != "dcid" and kind not in {"INT64", "DOUBLE", "STRING"}:
            doubts.append(f"{name} is {kind}, which cannot hold a {value}: make a field for whole numbers (INT64)")
    return doubts


def org_unit_findings(
    settings: Settings, org_units: Mapping[str, str], powerschool: PowerSchool | None
) -> list[Finding]:
    """The org units that config.py names, and every one the active staff belong in, with how many."""
    findings = [parted(FAULT, fault) for fault in missing_org_units(settings, org_units)]
    findings += [] if findings else [Finding(GOOD, "STAFF_OU, SUSPENDED_OU and PROTECTED_OUS exist")]
    for path in idle_org_units(settings, org_units):
        words = f"config.py names the org unit {path}, which Google does not have"
        findings.append(Finding(WARN, words, "correct FROZEN_OUS or TEMPORARY_REACTIVATION_OUS"))
    places = places_of_staff(settings, powerschool) if powerschool else {}
    for path, count in sorted(places.items()):
        if path.lower() in org_units:
            findings.append(Finding(GOOD, f"org unit {path}: {people(count)}"))
        else:
            remedy = f"create it with --setup, or {other_org_unit(path, settings)}"
            findings.append(Finding(FAULT, f"org unit {path} does not exist; waiting for it: {people(count)}", remedy))
    return findings


def look_at_accounts(
    run: Run,
    powerschool: PowerSchool | None,
    org_units: Mapping[str, str],
    schemas: Mapping[str, Mapping[str, Any]],
    findings: list[Finding],
) -> None:
    """The accounts, and tonight's plan as it would be with the faults above put right; added to the findings."""
    settings = run.settings = usable_settings(run.settings, schemas, powerschool)
    if "dcid" not in schema_fields(settings).values():
        findings.append(Finding(WARN, "accounts were not looked at", "they need the field that holds the DCID"))
        return
    in_place = {path.lower(): path for path in (settings.STAFF_OU, settings.SUSPENDED_OU)} | dict(org_units)
    directory = attempt(findings, "listing accounts", partial(list_accounts, run, in_place, schemas))
    if directory is None:
        return
    findings += domain_findings(settings, directory)
    if powerschool is not None:
        attempt(findings, "tonight's run", partial(check_sanity, powerschool, directory))
        findings += plan_findings(run, powerschool, directory) if powerschool.staff else []


def usable_settings(
    settings: Settings, schemas: Mapping[str, Mapping[str, Any]], powerschool: PowerSchool | None
) -> Settings:
    """The settings without the schema fields that are faulty or whose value could not be read."""
    faults = schema_faults(settings, schemas)
    known = {*PERSON_VALUES, *(powerschool.staff[0].extension if powerschool and powerschool.staff else ())}
    usable: dict[str, dict[str, str]] = {}
    for name, value in schema_fields(settings).items():
        if value in known and not any(f"field {name} " in fault for fault in faults):
            schema, _, label = name.partition(".")
            usable.setdefault(schema, {})[label] = value
    return replace(settings, CUSTOM_SCHEMAS=usable)


def domain_findings(settings: Settings, directory: Directory) -> list[Finding]:
    """Domains, as counts only."""
    seen = Counter(account.email.rpartition("@")[2] for account in directory.accounts.values())
    ours = sum(is_ours(f"@{domain}", settings) for domain in seen)
    words = f"Google accounts: {seen.total()}; domains seen: {len(seen)}, of which GOOGLE_DOMAINS names {ours}"
    unseen = len({domain.casefold() for domain in settings.GOOGLE_DOMAINS} - set(seen))
    remedy = f"entries of GOOGLE_DOMAINS without an account in Google: {unseen}; correct them" if unseen else ""
    return [warning_if(remedy, words)]


def plan_findings(run: Run, powerschool: PowerSchool, directory: Directory) -> list[Finding]:
    """What tonight's run would do, and what would hold it back; counts only."""
    findings: list[Finding] = []
    district = district_tonight(run, powerschool, directory)
    findings += [Finding(WARN, "a setting fits nobody", sentence) for sentence in idle_settings(district)]
    everybody = frozenset(district.staff)
    planned = attempt(findings, "tonight's run would stop", partial(plan_all, run, district, everybody))
    if planned is None:
        return findings
    district, plans = planned
    held = held_kinds(district, plans, run.settings.LIMITS, {})
    counts = Counter(change.kind for plan in plans for change in without_held(plan, held.kinds).changes)
    findings.append(Finding(GOOD, f"a run tonight would do: {counts_in_words(counts)}"))
    needy = sum(any(note.level == "ERROR" for note in plan.notes) for plan in plans)
    remedy = "see the ERROR lines of a dry run" if needy else ""
    findings.append(Finding(WARN if needy else GOOD, f"a run tonight would ask attention for {people(needy)}", remedy))
    for kind, count in held.over.items():
        words = (
            f"{kind}: {people(count)}, the limit is {run.settings.LIMITS[kind]}, so nobody of these would be changed"
        )
        findings.append(
            Finding(WARN, words, f"look at them in a dry run; if they are right: {allow_option(kind, count)}")
        )
    return findings + ([Finding(WARN, "most staff accounts carry no DCID", held.sentence)] if held.sentence else [])


def idle_settings(district: District) -> list[str]:
    """A sentence for each setting that means to protect or place somebody and fits nobody: most likely misspelt."""
    settings = district.settings
    people_known = {person.email for person in district.staff.values()} | set(map(str, district.staff))
    idle = [
        f"HANDS_OFF names {key}, which is no address or DCID on either side: correct or remove it"
        for key in settings.HANDS_OFF
        if hands_off_word(key) not in people_known and hands_off_word(key) not in district.by_address
    ]
    idle += [
        f"BUILDING_OUS names the school number {number}, which SCHOOLS does not hold: correct or remove it"
        for number in settings.BUILDING_OUS
        if number not in district.schools
    ]
    if district.admin_email and district.admin_email not in district.by_address:
        idle.append("GOOGLE_ADMIN_EMAIL is no account in Google, so that admin's account is not protected: correct it")
    return idle


def set_up(run: Run, agreed: bool, dry_run: bool) -> int:
    """Create the custom schemas, fields and building org units that are missing, after showing them and asking."""
    settings = run.settings
    powerschool = read_powerschool(settings)
    run.api = connect_google(run, interactive=has_terminal())
    schemas, org_units = read_schemas(run), read_org_units(run)
    wrong = [fault for fault in missing_org_units(settings, org_units) if "(PROTECTED_OUS)" in fault]
    wrong += wrong_types(settings, schemas)
    units = needed_org_units(settings, powerschool, org_units)
    missing = [name for name in schema_fields(settings) if name not in schemas]
    for sentence in wrong:
        log.error("Set-up leaves this to you: %s", sentence)
    for path in units:
        log.info("Missing: the org unit %s", path)
    for name in missing:
        log.info("Missing: the custom schema field %s (%s)", name, field_definition(settings, name)["fieldType"])
    if not units and not missing:
        log.info("Nothing is missing")
    elif not dry_run:
        if not agreed and not is_agreed("Create these?"):
            raise RunError("Set-up: not agreed to, so nothing was created")
        create_missing(run, units, missing)
    remains = dry_run and (units or missing)
    log.info("Next: python sync.py %s", "--setup  creates these" if remains else "--check  looks at everything again")
    return ATTENTION if wrong else DONE


def wrong_types(settings: Settings, schemas: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Fields that exist and cannot hold their value: told, never replaced, as that would lose what they hold."""
    faults = [fault for fault in schema_faults(settings, schemas) if "does not exist" not in fault]
    return faults + doubtful_types(settings, schemas)


def places_of_staff(settings: Settings, powerschool: PowerSchool) -> Counter[str]:
    """The org units that active staff belong in, with how many; as config.py and the schools' names spell them."""
    district = district_of(settings, powerschool, Directory({}, {}, {}), date.min)
    return Counter(
        building_org_unit(person, district)[1]
        for person in powerschool.staff
        if person.is_active
        and person.email
        and not skip_reason(person, settings)
        and not homeschool_fault(person, district)
    )


def needed_org_units(settings: Settings, powerschool: PowerSchool, org_units: Mapping[str, str]) -> list[str]:
    """The org units that active staff need, parents first, as far as they are missing.

    PROTECTED_OUS are not among them: one that does not exist is misspelt, and making it would protect nobody.
    """
    paths = {settings.STAFF_OU, settings.SUSPENDED_OU, *places_of_staff(settings, powerschool)}
    paths |= {path[:end] for path in paths for end, letter in enumerate(path) if letter == "/" and end}
    missing = {path.lower(): path for path in sorted(paths) if path.lower() not in org_units}
    return sorted(missing.values(), key=lambda path: (path.count("/"), path))


def field_definition(settings: Settings, name: str) -> dict[str, Any]:
    """A custom schema field as Google wants it: private values for admins and the person only."""
    value = schema_fields(settings)[name]
    label = name.partition(".")[2]
    private = value in settings.PRIVATE_VALUES
    return {
        "fieldName": label,
        "displayName": label.replace("_", " "),
        "fieldType": VALUE_TYPES.get(value, "STRING"),
        "multiValued": False,
        "indexed": True,
        "readAccessType": "ADMINS_AND_SELF" if private else "ALL_DOMAIN_USERS",
    }


def setup_api(run: Run) -> Any:
    """The Directory API with the two scopes that only a set-up needs; the sign-in is not kept."""
    path = run.folder / "credentials.json"
    client = read_client(path)
    service = client.get("type") == "service_account"
    if service:
        return directory_api(run, refreshed(run, delegated_credentials(path, client, SETUP_SCOPES), SETUP_SCOPES))
    return directory_api(run, browser_sign_in(run.folder, SETUP_SCOPES, "--setup"))


def create_missing(run: Run, units: Sequence[str], missing: Sequence[str]) -> None:
    """Create these org units and fields; a schema update sends its whole field list, or Google drops the others."""
    run.api = setup_api(run)
    for path in units:
        parent, _, name = path.rpartition("/")
        body: dict[str, Any] = {"name": name, "parentOrgUnitPath": parent or "/"}
        read_request(run, run.api.orgunits().insert(customerId="my_customer", body=body), f"creating {path}")
        run.writes += 1
        log.info("Created: the org unit %s", path)
    answer = read_request(run, run.api.schemas().list(customerId="my_customer"), "reading custom schemas")
    known = {schema["schemaName"]: schema for schema in answer.get("schemas", ())}
    for schema in dict.fromkeys(name.partition(".")[0] for name in missing):
        added = [field_definition(run.settings, name) for name in missing if name.startswith(f"{schema}.")]
        body = {"schemaName": schema, "displayName": schema.replace("_", " "), "fields": added}
        request = run.api.schemas().insert(customerId="my_customer", body=body)
        if schema in known:
            body = {"fields": [*known[schema].get("fields", ()), *added]}
            request = run.api.schemas().update(
                customerId="my_customer", schemaKey=non_empty(known[schema]["schemaId"]), body=body
            )
        read_request(run, request, f"creating fields of {schema}")
        run.writes += 1
        log.info("Created: %d fields of the custom schema %s", len(added), schema)


# Reporting: one line each, readable by a person and by findstr.


def one_line(text: str) -> str:
    """Text that cannot break out of its log line or turn it round: control and format characters as escapes."""
    return "".join(c if unicodedata.category(c) not in {"Cc", "Cf", "Zl", "Zp", "Cs"} else ascii(c)[1:-1] for c in text)


class LineFormatter(logging.Formatter):
    """Log lines as the log collectors of districts expect them."""

    def format(self, record: logging.LogRecord) -> str:
        """As the base class, but on one line."""
        return one_line(super().format(record)) if record.exc_info is None else super().format(record)


def open_screen(verbose: bool) -> None:
    """Log lines go to the screen, if there is one (pythonw has none), with escapes for what it cannot show."""
    for level, name in ((logging.DEBUG, "DBUG"), (logging.INFO, "INFO"), (logging.WARNING, "WARN")):
        logging.addLevelName(level, name)
    logging.getLogger().addHandler(logging.NullHandler())
    log.setLevel(logging.DEBUG if verbose else logging.INFO)
    for handler in list(log.handlers):
        log.removeHandler(handler)
    logging.raiseExceptions = False  # a screen that is gone, as behind `| head`, must not end the run
    if sys.stdout is not None:
        with contextlib.suppress(AttributeError, ValueError):
            sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        add_handler(logging.StreamHandler(sys.stdout))


def close_screen() -> None:
    """Flush the screen; where nobody reads it any more, Python must not complain of that at its end."""
    if sys.stdout is not None:
        try:
            sys.stdout.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def add_handler(handler: logging.Handler) -> None:
    handler.setFormatter(LineFormatter("%(asctime)s %(levelname)-5s %(message)s", "%Y-%m-%d %H:%M:%S"))
    log.addHandler(handler)


def open_log(path: Path) -> None:
    try:
        patiently(lambda: add_handler(logging.FileHandler(path, "w", encoding="utf-8")))
        keep_owner(path)
    except OSError as error:
        raise no_access(path, "written", error) from None


def describe(change: Change, settings: Settings) -> str:
    """A change in words: what it was, what it becomes; private values hidden."""
    if change.kind == "create":
        after = change.after
        return f"{after['given_name']} {after['family_name']}, {after['email']} in {after['org_unit']}"
    if change.kind == "update":
        return "; ".join(describe_field(name, change, settings) for name in (*change.after["fields"], "employee_id")
                         if name in change.after["fields"] or name in change.after)  # fmt: skip
    shown = {"rename": "email", "link": "dcid", "unlink": "dcid", "move": "org_unit", "move to suspended": "org_unit"}
    if change.kind in shown:
        name = shown[change.kind]
        return " -> ".join(
            "(empty)" if side[name] is None else str(side[name]) for side in (change.before, change.after)
        )
    if change.kind in {"join group", "leave group", "remove alias"}:
        sides = {**change.before, **change.after}
        return str(sides.get("alias") or f"{sides['group']} ({sides['role'].lower()})")
    if change.kind == "name":
        return " -> ".join(f"{side['given_name']} {side['family_name']}" for side in (change.before, change.after))
    return ""


def describe_field(name: str, change: Change, settings: Settings) -> str:
    before, after = (side["fields"].get(name, side.get(name, "")) for side in (change.before, change.after))
    if schema_fields(settings).get(name, "teacher_number") in settings.PRIVATE_VALUES:
        return f"{name} (private)"
    label = "Employee ID" if name == "employee_id" else name
    return f"{label} {shorten(before) or '(empty)'} -> {shorten(after) or '(empty)'}"


def tell_change(run: Run, plan: Plan, changes: Iterable[Change]) -> None:
    for change in changes:
        log.info("%s", change_line(plan, change, run.settings))


def change_line(plan: Plan, change: Change, settings: Settings) -> str:
    evidence = f" (found by {plan.evidence})" if change.kind == "link" else ""
    words = describe(change, settings)
    return f"{change.kind:<10} {plan.person}{': ' if words else ''}{words}{evidence}"


def tell_plan(plans: Sequence[Plan], settings: Settings) -> None:
    for plan in plans:
        for change in plan.changes:
            log.info("Would %s", change_line(plan, change, settings))
        is_leaver = plan.evidence != "the journal" and plan.kinds & {"suspend", "move to suspended"}
        if is_leaver and settings.REMOVE_SUSPENDED_FROM_GROUPS:
            log.info("Would take out of all groups: %s", plan.person)


def tell_notes(notes: Sequence[Note]) -> None:
    """One line per note; those of a shared reason in one line that names everybody."""
    shared: dict[tuple[str, str, str], list[str]] = {}
    for note in notes:
        if note.shared or note.reason == "skipped by rule" or note.rule == "no address":
            shared.setdefault((note.level, note.rule, note.reason), []).append(note.who)
        else:
            log.log(logging.getLevelName(note.level), "%s: %s: %s", note.rule, note.who, note.reason)
    for (level, rule, reason), names in shared.items():
        log.log(logging.getLevelName(level), "%s: %s (%d): %s", rule, reason, len(names), "; ".join(names))


def write_csv(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """A spreadsheet for Excel and Sheets: UTF-8 with its mark, and no cell that could be taken for a formula."""
    try:
        with open_private(path, "w", encoding="utf-8-sig", newline="") as file:
            writer = csv.DictWriter(file, CSV_COLUMNS)
            writer.writeheader()
            writer.writerows({name: formula_safe(one_line(text)) for name, text in row.items()} for row in rows)
    except OSError as error:
        remedy = "close it if it is open in Excel, or name another file after --csv"
        raise no_access(path, "written", error, remedy) from None
    log.info("%s holds %d rows", path, len(rows))


def formula_safe(text: str) -> str:
    first = unicodedata.normalize("NFKC", text).lstrip()[:1]  # some programs take the wide forms for the plain ones
    return f"'{text}" if first and first in "=+-@" else text


def people(count: int) -> str:
    return f"{count} {'person' if count == 1 else 'people'}"


def counts_in_words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in counts.items() if count) or "nothing"


def report(run: Run, notes: Sequence[Note], held: Sequence[str], counts: Mapping[str, int], verb: str) -> int:
    """The closing summary; the exit code that it amounts to."""
    everything = [*notes, *run.failures]
    tell_notes(sorted((n for n in everything if n.level != "ERROR"), key=lambda note: note.rule))
    tell_notes([n for n in everything if n.level == "ERROR"])
    for sentence in held:
        log.error("Held: %s", sentence)
    rules = Counter(note.rule for note in notes if note.level != "ERROR")
    needy = len({note.who for note in everything if note.level == "ERROR"})
    seconds = (datetime.now(timezone.utc) - run.started).total_seconds()
    log.info("%s: %s.", verb, counts_in_words(counts))
    log.info("Left alone by rule: %s.", counts_in_words(rules))
    log.info("Needs attention: %s.", f"{people(needy)}, see the ERROR lines above" if needy else "nobody")
    if run.done["create"] and not os.environ.get("NEW_USER_PASSWORD"):
        words = "New accounts with a password that nobody knows: %d. Reset it in the Admin console for each."
        log.info(words, run.done["create"])
    log.info("Took %.1f seconds and %d requests to Google.", seconds, run.requests)
    return HELD if held else ATTENTION if needy else DONE


# The run.


@contextlib.contextmanager
def only_run(folder: Path, started: datetime) -> Iterator[None]:
    """Holds the lock of this folder; RunError with exit code 4 while another run holds it.

    The operating system keeps the lock and drops it with the process, so a crashed run leaves nothing behind.
    """
    path = folder / "runs" / "lock"
    try:
        path.parent.mkdir(exist_ok=True)
        keep_owner(path.parent)
        try:
            file = open(path, "r+" if path.exists() else "w+", encoding="utf-8")  # noqa: PTH123, SIM115
        except PermissionError:
            file = open(path, encoding="utf-8")  # noqa: PTH123, SIM115
    except OSError as error:
        raise no_access(path, "opened", error) from None
    with file:
        if not try_lock(file):
            since = file.read().strip() or "moments ago"
            raise RunError(f"Another run is under way, started {since}: this one did nothing", BUSY)
        if file.writable():
            keep_owner(path)
            with contextlib.suppress(OSError):  # a run under another account must be able to see this lock
                path.parent.chmod(0o755)
                path.chmod(0o644)
            file.truncate(0)
            file.write(started.astimezone().strftime("%Y-%m-%d %H:%M:%S"))
            file.flush()
        yield


def try_lock(file: IO[str]) -> bool:
    """True if the file is now locked by this process."""
    try:
        if sys.platform == "win32":
            import msvcrt  # noqa: PLC0415

            file.seek(1 << 20)  # a locked byte cannot be read, so one beyond the text
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl  # noqa: PLC0415

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        raise RunError(f"{file.name} cannot be locked ({error.strerror}): keep this folder on a local disk") from None
    finally:
        file.seek(0)
    return True


def keep_records(run: Run) -> None:
    """Keep this run's log beside its journal, and drop what is older than KEEP_DAYS."""
    folder = run.folder / "runs"
    if run.journal_file is not None:
        run.journal_file.close()
        with contextlib.suppress(OSError), open_private(folder / f"{run.name}.txt", "w") as kept:
            kept.write((run.folder / "StaffLog.txt").read_text(encoding="utf-8", errors="replace"))
    with contextlib.suppress(OSError):
        for path in filter(lambda path: re.fullmatch(r"\d{8}T\d{6}Z\.(jsonl|txt)", path.name), folder.iterdir()):
            if time.time() - path.stat().st_mtime > run.settings.KEEP_DAYS * 86400:
                path.unlink()


def confirm_creations(
    run: Run, district: District, plans: Sequence[Plan], ask_for: frozenset[int]
) -> tuple[District, list[Plan]]:
    """The plans after a direct look-up of everybody they would create; what is found joins the listing."""
    asked: set[int] = set()
    while True:
        new = [p.person for p in plans if "create" in p.kinds and p.person.dcid in ask_for - asked]
        if not new:
            return district, list(plans)
        directory = district.directory
        for person in new:
            asked.add(person.dcid)
            try:
                directory = look_up(run, person, directory)
            except GoogleError as error:
                directory = replace(directory, unconfirmed={**directory.unconfirmed, person.dcid: str(error)})
        district = district_of(
            district.settings, PowerSchool(district.schools, tuple(district.staff.values())), directory,
            district.today, admin_email=district.admin_email, named=district.named,
        )  # fmt: skip
        plans = [plan_person(person, district) for person in district.staff.values()]


def plan_all(run: Run, district: District, wanted: frozenset[int]) -> tuple[District, list[Plan]]:
    """Everybody's plan, with a direct look-up of those wanted whom it would create; RunError as `identity_doubt`."""
    plans = [plan_person(person, district) for person in district.staff.values()]
    if doubt := identity_doubt(plans):
        raise RunError(doubt, HELD)
    return confirm_creations(run, district, plans, wanted)


def decide(
    run: Run, district: District, only: Sequence[str], allowed: Mapping[str, int]
) -> tuple[District, list[Plan], list[Plan], list[str]]:
    """Every plan, the same as far as they may be carried out, and a sentence for everything that is held back."""
    wanted = chosen(only, district) if only else frozenset(district.staff)
    district, plans = plan_all(run, district, wanted)
    plans = [plan for plan in plans if plan.person.dcid in wanted]
    limits = {**run.settings.LIMITS, **allowed}
    held = held_kinds(district, plans, limits, allowed)
    kept = [without_held(plan, held.kinds) for plan in plans]
    sentences = [held_sentence(kind, count, limits[kind], plans) for kind, count in held.over.items()]
    if held.sentence and any(plan.kinds & held.unlinked for plan in plans):
        links = sum("link" in plan.kinds for plan in kept)
        way = f"This run links {links}: run it again afterwards." if links else "Link those in doubt by hand."
        if "link" in held.over:
            way = "First let the links through, as the line on them says."
        sentences.insert(0, f"{held.sentence} {way}")
    return district, plans, kept, sentences


def district_tonight(run: Run, powerschool: PowerSchool, directory: Directory, named: bool = False) -> District:
    """What this run decides by: both sides, the local date of its start and the admin account it never writes."""
    today = run.started.astimezone().date()
    return district_of(run.settings, powerschool, directory, today, admin_email=own_admin(), named=named)


def read_district(run: Run, named: bool) -> District:
    """Both sides, read whole and found plausible; RunError otherwise."""
    powerschool = read_powerschool(run.settings)
    staff = powerschool.staff
    active = sum(person.is_active for person in staff)
    log.info("PowerSchool: %d schools, %d staff, %d of them active", len(powerschool.schools), len(staff), active)
    run.api = connect_google(run, interactive=has_terminal())
    directory = read_directory(run)
    check_sanity(powerschool, directory)
    district = district_tonight(run, powerschool, directory, named)
    found = sum(dcid in district.by_dcid for dcid in district.staff)
    log.info("Google: %d accounts, %d with the DCID of somebody in PowerSchool", len(directory.accounts), found)
    for sentence in idle_settings(district):
        log.warning("%s", sentence)
    if not directory.dcid_is_indexed:
        name = dcid_field(run.settings)
        log.warning("%s is not indexed in Google, so new accounts are looked up by address only: see --check", name)
    return district


def sync(run: Run, only: Sequence[str], allowed: Mapping[str, int], csv_file: Path | None, dry_run: bool) -> int:
    """One run: read, decide, and unless it is a dry run apply; returns the exit code."""
    district, everything, plans, held = decide(run, read_district(run, bool(only)), only, allowed)
    if dry_run and not only:
        rows = adoption_rows(everything, district)
        log.info("%s", adoption_words(rows, everything))
        if csv_file:
            write_csv(csv_file, rows)
    notes = [note for plan in plans for note in plan.notes] + ([] if only else orphan_notes(district))
    code = carry_out(run, plans, notes, held, lambda plan: apply_plan(run, plan, district), dry_run)
    if dry_run and any(plan.changes for plan in plans):
        words = (
            "the same command without --dry-run does it" if only else "try a few people with  python sync.py --only WHO"
        )
        log.info("Next: read every line above; %s", words)
    return code


RULES = {
    "create": "an active person with an address of GOOGLE_DOMAINS that nobody holds gets an account",
    "link": "the account with this address is the same person's and carries no DCID: it gets the DCID",
    "reactivate": "an active person's account in exactly SUSPENDED_OU, suspended by an administrator, is opened again",
    "rename": "the address follows PowerSchool's if that is in GOOGLE_DOMAINS and free; the old one stays as an alias",
    "name": "the name follows PowerSchool with UPDATE_NAMES, or together with a change of address",
    "move": "the org unit is that of the home school, or SUBSTITUTE_OU for a substitute",
    "update": "the fields of CUSTOM_SCHEMAS and the Employee ID follow PowerSchool",
    "suspend": "who has no SCHOOLSTAFF row with status 1 has left, and has no open account",
    "move to suspended": "a leaver's account lies in SUSPENDED_OU once it is suspended and out of its groups",
    "in step": "an active person's account changes only where it differs from PowerSchool and no line above forbids it",
}


def explain(run: Run, who: str) -> int:
    """What both sides say of one person, which rules decide, what would change and what holds it; writes nothing."""
    word = who.strip().casefold()
    if not word.removeprefix("teacher:").removeprefix("dcid:"):
        raise RunError("--explain: say whom: an address, dcid:131, teacher:131 or a name")
    district = read_district(run, named=False)
    named = {p.dcid for p in district.staff.values() if is_like({word}, p.first_name, p.last_name)}
    fits = matching(word, district) or (named if len(named) == 1 else set())
    if not fits:
        tell_nearby(word, district)
        raise RunError(f"--explain {who}: nobody in PowerSchool has this address, DCID or teacher number")
    plans = [plan_person(person, district) for person in district.staff.values()]
    strange = identity_doubt(plans)
    district, plans = confirm_creations(run, district, plans, frozenset(fits))
    held = held_kinds(district, plans, run.settings.LIMITS, {})
    for plan in (plan for plan in plans if plan.person.dcid in fits):
        tell_sides(plan, district)
        tell_notes(plan.notes)
        for change in plan.changes:
            log.info("Rule: %s: %s", change.kind, RULES[change.kind])
        tell_plan([plan], run.settings)
        if not plan.changes:
            is_held = any(note.level == "ERROR" for note in plan.notes)
            rule = "suspend" if not plan.person.is_active else "in step"
            log.info("Rule: %s: %s", rule, RULES[rule])
            log.info("Nothing would change%s", " until that is put right" if is_held else "")
        for kind in sorted(limited_kinds(plan) & set(held.over)):
            limit = run.settings.LIMITS[kind]
            log.info("Held back: %s: %s, the limit is %d (LIMITS)", kind, people(held.over[kind]), limit)
        if plan.kinds & held.unlinked:
            log.info("Held back: %s", held.sentence)
        if strange and plan.changes:
            log.info("Held back: %s", strange)
    return DONE


def tell_sides(plan: Plan, district: District) -> None:
    person, private = plan.person, district.settings.PRIVATE_VALUES
    home = f"{person.homeschool} ({district.schools.get(person.homeschool, 'unknown')})"
    rows = ", ".join(f"school {number} (staff type {kind})" for number, kind in person.schools) or "no school"
    number = "(private)" if "teacher_number" in private else person.teacher_number or "(none)"
    log.info("PowerSchool: %s, teacher number %s", person, number)
    shown = (
        "(private)" if "homeschool_id" in private else home,
        "(private)" if "school_access_list" in private else rows,
    )
    log.info("PowerSchool: home school %s, active at %s", *shown)
    accounts = {a.id: a for a in district.by_dcid.get(person.dcid, ())}
    holder = district.by_address.get(person.email)
    accounts |= {holder.id: holder} if holder else {}
    for account in accounts.values():
        tell_account(account)
    if not accounts:
        log.info("Google: no account has this DCID or this address")


def tell_account(account: Account, heading: str = "Google:") -> None:
    admin = ", an administrator" if account.is_admin or account.is_delegated_admin else ""
    name = f"{account.given_name} {account.family_name}"
    dcid = "no DCID" if account.dcid is None else f"DCID {account.dcid}"
    log.info("%s %s, %s, %s, %s, in %s%s", heading, account.email, name, dcid, account.state, account.org_unit, admin)


def tell_nearby(word: str, district: District) -> None:
    """Who in PowerSchool or Google comes close to a word that fits nobody: address, number or name."""
    text = word.removeprefix("teacher:").removeprefix("dcid:")
    local, holder = text.partition("@")[0], district.by_address.get(text)
    words = {text, local, *({f"{holder.given_name} {holder.family_name}"} if holder else ())}
    for person in district.staff.values():
        is_numbered = text == fold_number(person.teacher_number) or local == person.email.partition("@")[0] != ""
        if is_numbered or is_like(words, person.first_name, person.last_name):
            log.info("Near: PowerSchool has %s", person)
    near = [district.by_address[address] for address in difflib.get_close_matches(text, district.by_address, 3, 0.8)]
    for account in district.directory.accounts.values():
        is_numbered = text in {str(account.dcid), *employee_ids(account)}
        if is_numbered or is_like({text, local}, account.given_name, account.family_name):
            near.append(account)
    staff_accounts = {a.id: a for a in near if not is_at_or_below(a.org_unit, district.settings.PROTECTED_OUS)}
    for account in list(staff_accounts.values())[:10]:
        tell_account(account, "Near: Google has")
    if len(staff_accounts) > 10:
        log.info("Near: and %d accounts more: say it more exactly", len(staff_accounts) - 10)


def is_like(words: Iterable[str], given: str, family: str) -> bool:
    """True if one of these words is somebody's given, family or full name in either order."""
    first, last = folded_name(given, family)
    return bool({fold(word) for word in words} & ({first, last, first + last, last + first} - {""}))


def carry_out(
    run: Run,
    plans: Sequence[Plan],
    notes: Sequence[Note],
    held: Sequence[str],
    apply: Callable[[Plan], None],
    dry_run: bool,
) -> int:
    """The last step, or in a dry run the plan in its place; then the report, whatever happened."""
    if dry_run:
        tell_plan(plans, run.settings)
        counts = Counter(change.kind for plan in plans for change in plan.changes)
        return report(run, notes, held, counts, "Dry run, nothing written. Would do")
    try:
        apply_plans(run, plans, apply)
    except BaseException:
        report(run, notes, held, run.done, "Done before it stopped")
        raise
    return report(run, notes, held, run.done, "Done")


def has_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout is not None and sys.stdout.isatty()


class Parser(argparse.ArgumentParser):
    """As argparse, with the sentence that every refusal ends with."""

    def error(self, message: str) -> NoReturn:
        """Tell what is wrong with the arguments, and end the program."""
        if sys.stderr is None:
            raise SystemExit(FAILED)
        self.print_usage(sys.stderr)
        self.exit(FAILED, f"sync.py: error: {message}. Nothing was written\n")


def arguments_of(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="sync.py",
        description="Make the staff accounts in Google Workspace agree with PowerSchool.",
        epilog="Exit codes: 0 done; 1 somebody needs attention; 2 could not run or finish; "
        "3 a limit held something back; 4 another run is under way.",
    )
    parser.add_argument(
        "-n", "--dry-run", action="store_true", help="decide the same way, write nothing, print the plan"
    )
    parser.add_argument("--only", metavar="WHO", nargs="+", action="extend", default=[],
                        help="only these people: an address, dcid:131, teacher:131, or a bare number")  # fmt: skip
    parser.add_argument("--allow", metavar="KIND=N", action="append", default=[], type=allowance,
                        help="raise one limit for this run only, such as --allow suspend=34")  # fmt: skip
    parser.add_argument("--csv", metavar="FILE", type=Path, help="with --dry-run: who is linked, in doubt or alone")
    parser.add_argument("--check", action="store_true", help="check everything a run needs; safe to paste in public")
    parser.add_argument(
        "--setup", action="store_true", help="create missing schemas, fields and org units, after asking"
    )
    parser.add_argument("--explain", metavar="WHO", help="what both sides say of one person and which rule decides")
    parser.add_argument("--undo", metavar="RUN", help="put back what a run changed; 'last' is the newest that did")
    parser.add_argument("--yes", action="store_true", help="with --undo and --setup: do not ask")
    parser.add_argument("--authorize", action="store_true", help="sign in to Google with a browser, and stop")
    parser.add_argument("--config", metavar="FILE", type=Path, default=Path(__file__).with_name("config.py"),
                        help="another config.py; everything else is kept beside it")  # fmt: skip
    parser.add_argument("--verbose", action="store_true", help="show every request and statement too")
    parser.add_argument("--version", action="version", version=f"Staff Sync {VERSION}")
    arguments = parser.parse_args(argv)
    refuse_combinations(parser, arguments)
    return arguments


def refuse_combinations(parser: Parser, arguments: argparse.Namespace) -> None:
    """End the program where options contradict each other: none is ever ignored in silence."""
    names = ("check", "setup", "explain", "undo", "authorize")
    modes = [name for name in names if getattr(arguments, name) not in {None, False}]
    if len(modes) > 1:
        parser.error(f"--{modes[0]} and --{modes[1]} do not go together")
    if (arguments.only or arguments.allow) and modes and modes != ["undo"]:
        parser.error(f"--only and --allow do not go with --{modes[0]}")
    if arguments.yes and not {"undo", "setup"} & set(modes):
        parser.error("--yes goes with --undo and --setup")
    if arguments.csv and (not arguments.dry_run or arguments.only or modes):
        parser.error("--csv goes with --dry-run and without --only")


def allowance(text: str) -> tuple[str, int]:
    kind, _, number = text.rpartition("=")
    if kind not in DEFAULT_LIMITS or not number.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is not KIND=N with a kind of {', '.join(DEFAULT_LIMITS)}")
    return kind, int(number)


def command(arguments: argparse.Namespace, run: Run) -> int:
    """Do what the command line says; returns the exit code."""
    mode = ", dry run" if arguments.dry_run else PART_OF_A_RUN if arguments.only or arguments.undo else ""
    log.info("Staff Sync %s, run %s%s", VERSION, run.name, mode)
    run.settings = load_settings(arguments.config.resolve())
    run.deadline = time.monotonic() + run.settings.RUN_MINUTES * 60
    if arguments.setup:
        return set_up(run, arguments.yes, arguments.dry_run)
    if arguments.explain is not None:
        return explain(run, arguments.explain)
    if arguments.undo is not None:
        return undo(run, arguments.undo, arguments.only, dict(arguments.allow), arguments.yes, arguments.dry_run)
    return sync(run, arguments.only, dict(arguments.allow), arguments.csv, arguments.dry_run)


def locked_command(arguments: argparse.Namespace, run: Run) -> int:
    """As `command`, as the only run, with the log in StaffLog.txt."""
    with only_run(run.folder, run.started):
        if arguments.setup:
            return command(arguments, run)
        open_log(run.folder / "StaffLog.txt")
        code = guarded(run, partial(command, arguments, run))
        if run.settings is not NO_SETTINGS:
            keep_records(run)
        return code


def guarded(run: Run, act: Callable[[], int]) -> int:
    """The exit code of this act; whatever ends it is told in a last line that says whether anything was written."""
    try:
        return act()
    except RunError as error:
        sentence = str(error).rstrip(".")
        last_words = f"{sentence}{'' if sentence.endswith('?') else '.'} {written_words(run)}"
        log.error("%s", last_words)
        is_logged = any(isinstance(handler, logging.FileHandler) for handler in log.handlers)
        if sys.stderr is not None and not is_logged and not has_terminal():
            # cron mails what comes here, even if its line throws the screen away.
            sys.stderr.write(f"Staff Sync: {one_line(last_words)}\n")
        return error.exit_code
    except KeyboardInterrupt:
        log.error("Interrupted by the keyboard. %s", written_words(run))
    except Exception:
        log.exception("A bug in Staff Sync: please report the lines below, without names")
        log.error("Stopped by a bug. %s", written_words(run))
    return FAILED


def written_words(run: Run) -> str:
    if run.writes and not run.change_number:
        return f"{run.writes} things were created in Google before that"
    if run.change_number:
        return f"{run.writes} changes were written before that: see runs/{run.name}.jsonl"
    return "Nothing was written"


NO_SETTINGS: Any = None


def new_run(folder: Path) -> Run:
    started = datetime.now(timezone.utc).replace(microsecond=0)
    # os.path asks without an error what this account may not see; the lock and the journal tell that later.
    while os.path.exists(folder / "runs" / f"{started:%Y%m%dT%H%M%SZ}.jsonl"):  # noqa: PTH110
        time.sleep(0.2)
        started = datetime.now(timezone.utc).replace(microsecond=0)
    return Run(NO_SETTINGS, folder, started, float("inf"))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    arguments = arguments_of(argv)
    open_screen(arguments.verbose)
    try:
        return begin(arguments)
    finally:
        close_screen()


def begin(arguments: argparse.Namespace) -> int:
    """Start what the command line asks for, with or without the lock and the log; returns the exit code."""
    run = new_run(arguments.config.resolve().parent)
    if not os.path.isfile(arguments.config):  # noqa: PTH113
        log.error(
            "--config %s: there is no such file: name the config.py to use. Nothing was written", arguments.config
        )
        return FAILED
    if arguments.authorize:
        return guarded(run, partial(sign_in, run.folder))
    if arguments.check:
        return guarded(run, partial(check, run, arguments.config.resolve()))
    if arguments.dry_run or arguments.explain is not None:
        return guarded(run, partial(command, arguments, run))
    return guarded(run, partial(locked_command, arguments, run))


def sign_in(folder: Path) -> int:
    authorize(folder)
    log.info("Signed in: %s is written. Next: python sync.py --check  looks at everything", folder / "token.json")
    return DONE


if __name__ == "__main__":
    raise SystemExit(main())
