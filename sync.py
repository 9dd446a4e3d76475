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
import errno
import getpass
import html
import io
import json
import logging
import os
import re
import runpy
import secrets
import shlex
import shutil
import signal
import sys
import tempfile
import textwrap
import threading
import time
import tokenize
import traceback
import unicodedata
import warnings
from base64 import b64encode
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NoAnswerYet
from dataclasses import MISSING, dataclass, field, fields, replace
from datetime import date, datetime, timedelta, timezone
from enum import Enum
from functools import cached_property, partial
from importlib.util import find_spec
from itertools import chain, groupby, pairwise
from pathlib import Path, PurePosixPath
from string import Template
from types import SimpleNamespace, UnionType
from typing import IO, Annotated, Any, NoReturn, TypeVar, get_args, get_origin, get_type_hints

# On Python 3.10 Google's packages announce at every start that they will stop supporting it.
warnings.filterwarnings("ignore", category=FutureWarning, module="google")

# Help is answered without what Google, Oracle and mail need: loading that takes longer than all else.
if not {"-h", "--help", "--version"} & {*sys.argv[1:]}:
    import smtplib
    import ssl
    from email.message import EmailMessage
    from email.policy import SMTP
    from email.utils import localtime, make_msgid, parsedate_to_datetime
    from http.client import HTTPException
    from ssl import SSLCertVerificationError

    try:
        import google_auth_httplib2
        import httplib2
        import oracledb
        from google.api_core.retry import exponential_sleep_generator
        from google.auth.exceptions import RefreshError, TransportError
        from google.oauth2.credentials import Credentials
        from googleapiclient.discovery import build
        from googleapiclient.errors import HttpError
    except (ImportError, RuntimeError) as broken:  # httplib2 reads HTTPLIB2_CA_CERTS when it is imported
        venv = Path(__file__).resolve().with_name(".venv")
        paths = sys.executable, str(venv.with_name("requirements.txt"))
        python, listed = (f'"{path}"' if " " in path else path for path in paths)
        remedy = f"run  {python} -m pip install -r {listed}"
        if isinstance(broken, RuntimeError):
            remedy = "correct it"
        elif venv.is_dir() and Path(sys.prefix).resolve() != venv:
            remedy += f", or start it with the Python of {venv}"
        if sys.stderr is not None:  # pythonw has none
            sys.stderr.write(f"ERROR Nothing was read or written, as a package cannot be loaded ({broken}): {remedy}\n")
        raise SystemExit(2) from None
    # What a request raises that got no answer, or one that Google's packages cannot read: the last two come of an error
    # of another shape, as with a number for words, and of a filter's page in place of a token.
    NO_ANSWER = (TransportError, httplib2.HttpLib2Error, HTTPException, OSError)
    UNREADABLE = (json.JSONDecodeError, UnicodeError, AttributeError, TypeError)

# Facts that no district would change, and the tables of attributes, kinds of change and rules.

VERSION = "2.0"
DONE, ATTENTION, FAILED, HELD, BUSY = 0, 1, 2, 3, 4

log = logging.getLogger("staffsync")
RUN_NAME = "%Y%m%dT%H%M%SZ"  # the start of a run, in UTC

# Directory API reference, "Authorization" of each method: the least that a run needs, and what --setup needs besides.
SCOPE_PREFIX = "https://www.googleapis.com/auth/admin.directory."
RIGHTS = ("user", "group.readonly", "group.member", "orgunit.readonly", "userschema.readonly")
SCOPES = tuple(SCOPE_PREFIX + right for right in RIGHTS)
SETUP_SCOPES = (f"{SCOPE_PREFIX}orgunit", f"{SCOPE_PREFIX}userschema")

# PowerSchool, data dictionary: SCHOOLSTAFF.STATUS 1 is Current; STAFFSTATUS is 0 not assigned, 1 teacher, 2 staff,
# 3 lunch staff, 4 substitute. USERS has no ID column: the person's key is DCID.
STATUS_CURRENT = 1
TYPE_UNASSIGNED, TYPE_STAFF, TYPE_SUBSTITUTE = 0, 2, 4
DISTRICT_OFFICE = 0  # at many sites without a row in SCHOOLS (DistrictSchoolView adds it), though people belong to it
NO_SCHOOL = -1  # where SCHOOLID or HOMESCHOOLID is NULL: no building one can name

LONGEST_NAME, LONGEST_VALUE = 60, 500
# Google Workspace Help 9193374: letters, digits, - _ ' and single dots inside.
VALID_ADDRESS = re.compile(r"(?=.{1,64}@)[a-z0-9_'-]+(\.[a-z0-9_'-]+)*@[^@]*")
NO_ADDRESS = "Google accepts no such address (only a to z, digits, - _ ' and single dots, at most 64 before the @)"
# What Google calls a suspension that an administrator made; any other reason is Google's own.
BY_ADMIN = frozenset({"", "ADMIN"})
FAILURES_IN_A_ROW = 10
# Directory API, "Limits and quotas", and a little longer, as requests do not arrive as evenly as they are sent.
QUERIES, CREATIONS = (2400, 62), (10, 1.2)  # of a user a minute, and of users a second
BUGS_THAT_END_A_RUN = 3
FULL_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
NEVER_DROPPED = 30  # newest journals, whatever their age
CUT_OFF_SECONDS = 600  # by which Google's time of a suspension may differ from the journal's

# The names of attributes are their paths in Google's users resource; an account is attribute -> text, "" for none.
EMAIL, GIVEN_NAME, FAMILY_NAME = "primaryEmail", "name.givenName", "name.familyName"
ORG_UNIT, SUSPENDED, EMPLOYEE_ID = "orgUnitPath", "suspended", "externalIds"
YES, NO = "true", "false"


@dataclass(frozen=True)
class Attribute:
    """How one attribute of an account is told, compared and sent, and which kind a change of it is."""

    kind: str
    label: str = ""  # none where the kind of the change says enough
    type: str = "STRING"  # of a custom schema field, or PATH: decides how texts are compared and sent
    entry: str = ""  # in an attribute that is a list in Google: the type of the entry that is ours
    value: str = ""  # the value of a person that it holds, for PRIVATE_VALUES


ATTRIBUTES = {
    EMAIL:       Attribute("rename"),
    GIVEN_NAME:  Attribute("name"),
    FAMILY_NAME: Attribute("name"),
    ORG_UNIT:    Attribute("move", type="PATH"),
    SUSPENDED:   Attribute("suspend", type="BOOL"),
    EMPLOYEE_ID: Attribute("update", "Employee ID", entry="organization", value="teacher_number"),
}  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """A kind of change: the rule behind it in words, its shipped limit, and its place in the order of writes."""

    rule: str
    limit: int | None = None
    step: int = 0  # kinds with the same step go in one request
    undo_step: int = 0
    holds_person: bool = False  # where it is held, everything of the person waits,
    holds: tuple[str, ...] = ()  # or else itself and these: kinds, and values of a person
    stops: bool = False  # its refusal makes the rest of the person wrong or useless
    is_listed: bool = False  # no attribute of the account: a membership or an alias, each with a request of its own
    opposite: str = ""  # of a membership: the kind that puts it back
    place: str = "Other changes"  # where mail and page tell it,
    lead: str = ""  # and the words before what it became


# In an undo a leaver is moved and back in the groups before the account opens again.
KINDS = {
    "create": Kind("an active person with an address of GOOGLE_DOMAINS that nobody holds gets an account",
                   limit=50, step=1, holds_person=True, place="New staff"),
    "reactivate": Kind("an active person's account, suspended by an administrator in exactly SUSPENDED_OU, is reopened",
                       limit=10, step=2, undo_step=6, holds_person=True, stops=True,
                       place="Returned", lead="opened again"),
    "link": Kind("the account with this address is the same person's and carries no DCID: it gets the DCID",
                 limit=50, step=3, undo_step=3, holds_person=True, lead="linked:"),
    "move": Kind("the org unit is that of the home school, or SUBSTITUTE_OU for a substitute",
                 limit=100, step=3, undo_step=3, holds=("homeschool_id", "building"), place="Moved"),
    "rename": Kind("the address follows PowerSchool's if it is in GOOGLE_DOMAINS and free; the old one stays an alias",
                   limit=10, step=4, undo_step=1, holds=("name",), place="Renamed", lead="address"),
    "name": Kind("the name follows PowerSchool with UPDATE_NAMES, or together with a change of address",
                 limit=10, step=4, undo_step=1, place="Renamed", lead="name"),
    "update": Kind("the fields of CUSTOM_SCHEMAS and the Employee ID follow PowerSchool", step=3, undo_step=3),
    "suspend": Kind("who has no SCHOOLSTAFF row with status 1 has left, and has no open account",
                    limit=10, step=5, undo_step=7, holds_person=True, stops=True, place="Left", lead="suspended"),
    "move to suspended": Kind("a leaver's account lies in SUSPENDED_OU once it is suspended and out of its groups",
                              limit=25, step=6, undo_step=7, holds_person=True, place="Left", lead="moved"),
    "leave group": Kind("a leaver is taken out of all groups",
                        undo_step=5, is_listed=True, stops=True, opposite="join group",
                        place="Left", lead="taken out of"),
    "join group": Kind("an undo gives a membership back", undo_step=4, is_listed=True, opposite="leave group",
                       place="Returned", lead="put back into"),
    "remove alias": Kind("an own alias goes before it becomes the address, and an undo takes away that of a rename",
                         undo_step=2, is_listed=True, opposite="add alias", lead="alias removed:"),
    "add alias": Kind("an own alias that went and did not become the address is put back",
                      step=1, undo_step=2, is_listed=True, opposite="remove alias", lead="alias put back:"),
    # No change of its own: the people of whom an `update` empties a value.
    "clear": Kind("a value that left PowerSchool is emptied in Google", limit=25),
}  # fmt: skip
DEFAULT_LIMITS = {name: kind.limit for name, kind in KINDS.items() if kind.limit is not None}
IN_STEP = "an active person's account changes only where it differs from PowerSchool and no line above forbids it"
INFO, WARN, ERROR = "INFO", "WARN", "ERROR"
T = TypeVar("T")
R = TypeVar("R")


class Rule(Enum):
    """Every rule that tells something: its name in the log, the level that belongs to it, and what it means."""

    # The remarks of a shared rule with the same words are told in one line that names everybody.
    def __init__(self, label: str, level: str, meaning: str, is_shared: bool = False) -> None:
        self.label, self.level, self.meaning, self.is_shared = label, level, meaning, is_shared

    # Whose account it is.
    BAD_NAME = "bad name", INFO, "a name of BAD_NAMES: no person", True
    NUMERIC_ADDRESS = "numeric address", INFO, "all digits before the @: a student worker", True
    SKIPPED_OPEN = "skipped, but open", ERROR, "skipped by rule and gone, with an open account: close it by hand"
    TWO_ACCOUNTS = "two accounts with one DCID", ERROR, "neither is written: empty the field of the wrong one"
    TWO_PEOPLE = "one address, two people", ERROR, "neither is written: correct one of them in PowerSchool"
    SOMEBODY_ELSES = "somebody else's account", ERROR, "the DCID sits on an account that agrees in nothing else"
    LEFT_OPEN = "left, but open", ERROR, "gone; an open account without the DCID is theirs by address, number or names"
    NO_ADDRESS = "no address", INFO, "active, without address and account: nothing to create", True
    FOREIGN_ADDRESS = "foreign address", INFO, "the address is outside GOOGLE_DOMAINS, so it is never given"
    FAULTY_ADDRESS = "faulty address", ERROR, "Google accepts no such address: correct it in PowerSchool"
    ADDRESS_TAKEN = "address taken", ERROR, "another account or a group holds the address"
    NOT_LOOKED_UP = "not looked up", ERROR, "Google could not be asked, so nothing is done; the next run tries again"
    RECENTLY_DELETED = "recently deleted", ERROR, "the address or DCID is on an account deleted in the last 20 days"
    POSSIBLE_ACCOUNT = "possible account", ERROR, "an account without DCID may be theirs, so none is created"
    PROBABLE_REHIRE = "probable rehire", ERROR, "an account with the DCID of an older record may be theirs"
    NOT_LINKED = "not linked", ERROR, "an account holds the address, but is not certainly theirs"
    LINKED_LATER = "not linked, closed", ERROR, "an account without DCID has the address and is closed: left so, decide"
    DECIDED = "left by decision", INFO, "an admin has decided in the spreadsheet to leave it until what is seen changes"
    # What is never written.
    HANDS_OFF = "hands off", INFO, "HANDS_OFF names the person or account"
    HANDS_OFF_OVER = "hands off is over", ERROR, "the last day of the entry in HANDS_OFF has passed"
    SUPER_ADMIN = "super admin", INFO, "accounts of super admins are never written"
    SUPER_ADMIN_LEFT = "super admin left", ERROR, "a super admin who left has an open account: close it by hand"
    PROTECTED = "protected", INFO, "the account lies in PROTECTED_OUS"
    OWN_ADMIN = "own admin", INFO, "the account is GOOGLE_ADMIN_EMAIL"
    # What it should be.
    ARCHIVED = "archived", ERROR, "the account of an active person is archived: left so until HANDS_OFF or you decide"
    LOCKED_OUT = "locked out", ERROR, "active, but suspended by Google or not in exactly SUSPENDED_OU: left so, decide"
    NAME_DIFFERS = "name differs", WARN, "the family name differs, and follows only with UPDATE_NAMES or a new address"
    HOME_SCHOOL = "home school", ERROR, "missing or unknown: nothing is written until PowerSchool is corrected", True
    FAULTY_NAME = "faulty name", ERROR, "Google takes no such name: correct it in PowerSchool"
    MISSING_ORG_UNIT = "missing org unit", ERROR, "the building's org unit does not exist, so nobody goes there", True
    FROZEN = "frozen", INFO, "the account lies in FROZEN_OUS and stays there"
    VALUE = "value", ERROR, "a value does not fit its field, or PowerSchool holds several: left as it is in Google"
    GROUP_OUTSIDE = "group outside", INFO, "a leaver is in another organization's group: only its owners can change it"
    ADMIN_ROLE = "admin role", ERROR, "a leaver still has an admin role: take it away in the Admin console"
    TEMPORARY = "temporary reactivation", INFO, "the account lies in TEMPORARY_REACTIVATION_OUS"
    ADDRESS_IN_USE = "address in use", INFO, "PowerSchool gives the leaver's address to an active person"
    CALENDAR = "held by the calendar", INFO, "today lies in HOLD_SUSPENSIONS"
    NOT_IN_POWERSCHOOL = "not in PowerSchool", INFO, "the closed account's DCID is nobody's in USERS: never written"
    OPEN_FOR_NOBODY = "open for nobody", ERROR, "the open account's DCID is nobody's in USERS: never written, decide"
    # What was not done.
    UNREADABLE = "unreadable", ERROR, "an account of which Google's answer is no account: left out of everything"
    BUG = "a bug", ERROR, "Staff Sync itself failed for this person, who is left out: please report it"
    DAMAGED = "damaged journal", ERROR, "a line of a journal cannot be read, so an undo of that run is refused"
    FAILED = "failed", ERROR, "Google refused a change: the line has its words"
    GROUP_STAYS = "still in a group", ERROR, "Google did not let a leaver out of a group: take the account out by hand"
    NO_OWNER = "group without owner", WARN, "a leaver was the last owner of a group: give it another one"
    PASSWORD = "password nobody knows", WARN, "a new account that waits for an admin to reset its password", True
    MEMORY = "memory", WARN, "what was told before cannot be read or kept, so all is told as new"
    ENDED = "refused by Google", ERROR, "people were refused alike, so nobody else was tried for this kind"
    MOVED_ON = "moved on", INFO, "changed since the run that is undone, so left as it is"
    LIMIT = "held", ERROR, "more than LIMITS or LIMIT_SHARE allows, or accounts to be linked first: nobody changed"
    # What ends a run, and what --check says of single facts.
    REFUSED = "refused", ERROR, "the run cannot start or go on: exit 2"
    IMPLAUSIBLE = "implausible", ERROR, "what was read cannot be right: exit 3"
    BUSY = "busy", ERROR, "another run is under way: exit 4"
    FULL_DISK = "full disk", ERROR, "the log or the journal finds no room on the disk: exit 2"
    MAIL = "mail", WARN, "the morning mail could not be sent, to nobody or not to all"
    SETTING = "setting", WARN, "a setting fits nobody or nothing: most likely misspelt"
    MISSING = "missing", ERROR, "Google lacks what config.py names, and --setup can create it"
    GOOD = "good", INFO, "this is as it should be"
    DOUBT = "WARNING", WARN, "a run goes on in spite of this"
    FAULT = "FAULT", ERROR, "a run would stop or leave people out"


# What is read, decided and told: the shapes that everything else passes on.


@dataclass(frozen=True)
class Remark:
    """Everything that is told: the rule, who or what it is about, what was seen, and what to do."""

    rule: Rule
    who: str
    seen: str
    remedy: str = ""
    subject: str = ""  # "dcid:131", "account:" and Google's id, or nothing where the text says enough
    part: str = ""  # where a subject may have several remarks of a rule
    watched: tuple[str, str] = ("", "")  # Google's ids of a group and an account that show when it is put right
    since: date | None = field(default=None, compare=False)  # when it was first told, None where it is new

    @property
    def key(self) -> str:
        subject = self.subject or re.sub(r"\d+", "#", self.who or self.seen)
        return " ".join(filter(None, (self.rule.name, subject, self.part)))

    @property
    def reason(self) -> str:
        return ": ".join(filter(None, (self.seen, self.remedy)))

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.who, self.seen, self.remedy)))


class RunError(Exception):
    """The run cannot start or go on, or a request of --check failed: one remark for the admin."""

    can_heal = False  # True where the token service gives no answer

    def __init__(self, who: str, seen: str = "", remedy: str = "", rule: Rule = Rule.REFUSED) -> None:
        self.remark = Remark(rule, who, seen, remedy)
        self.exit_code = {Rule.IMPLAUSIBLE: HELD, Rule.BUSY: BUSY}.get(rule, FAILED)
        super().__init__(str(self.remark))


class GoogleError(Exception):
    """One request failed, after what retrying there is: a matter of one person, not of the run."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"Google answered {status} {reason}: {message}" if status else message)
        self.status, self.reason, self.message = status, reason, message

    @property
    def can_heal(self) -> bool:
        """True where the same request may succeed later: no answer, and what Google's guide tells to try again."""
        status, reason, message = self.status, self.reason, self.message.lower()
        too_fast = {"", "userRateLimitExceeded", "rateLimitExceeded", "quotaExceeded"}
        return (
            status in {0, 429}
            or status >= 500
            or (status == 403 and (reason in too_fast or "rate higher than configured" in message))
            or (status == 409 and reason == "conflict")
            or (status == 412 and ("creation is not complete" in message or "concurrent email update" in message))
            or (status == 400 and "system error has occurred" in message)
        )

    @property
    def is_lost(self) -> bool:
        """True where there was no answer, or none that says what was done."""
        return self.status in {0, 409} or self.status >= 500

    @property
    def is_uncertain(self) -> bool:
        """True where Google may have carried the request out: no answer, or what a request sent twice is told."""
        return self.can_heal or self.status in {404, 409, 412}


@dataclass(frozen=True)
class Settings:
    """config.py, checked: the names and meanings are the ones there."""

    GOOGLE_DOMAINS: list[Domain]
    STAFF_OU: OrgUnit
    BUILDING_OU_SUFFIX: str
    BUILDING_OUS: dict[Number, OrgUnit]
    SUBSTITUTE_OU: OrgUnit
    SUBSTITUTE_BUILDING: str
    SUSPENDED_OU: OrgUnit
    FROZEN_OUS: list[OrgUnit]
    TEMPORARY_REACTIVATION_OUS: list[OrgUnit]
    PROTECTED_OUS: list[OrgUnit]
    HANDS_OFF: dict[PersonOrAccount, tuple[Text, Day]]
    BAD_NAMES: list[Text]
    SKIP_NUMERIC_EMAILS: bool
    CUSTOM_SCHEMAS: dict[FieldName, dict[FieldName, Text]]
    EXTENSION_COLUMNS: dict[Text, Column]
    POWERSCHOOL_SCHEMA: OracleSchema
    BUILDING_ALIASES: dict[Number, Text]
    SET_EMPLOYEE_ID: bool
    LINK_BY_EMAIL: bool
    UPDATE_NAMES: bool
    PREFERRED_FIRST_NAME: bool
    REMOVE_SUSPENDED_FROM_GROUPS: bool
    LIMITS: dict[LimitedKind, Number]
    PRIVATE_VALUES: list[Text]
    # Added after the first release, so with a default: an update never stops a running district.
    HOLD_SUSPENSIONS: list[tuple[MonthDay, MonthDay]] = field(default_factory=list)
    LIMIT_SHARE: Share = 0.2
    KEEP_DAYS: Amount = 400
    TIMEOUT_SECONDS: Amount = 60
    RETRY_WAIT_SECONDS: Amount = 1
    RETRY_SECONDS: Amount = 120
    RUN_MINUTES: Amount = 120
    WRITES_AT_ONCE: Workers = 8
    MAIL_TO: list[MailAddress] = field(default_factory=list)
    MAIL_FROM: MailSender = ""
    MAIL_WHEN: MailWhen = "news"
    SMTP_HOST: MailServer = ""
    SMTP_PORT: Port = 587
    SMTP_SECURITY: MailSecurity = "starttls"
    EXPECT_RUN_HOURS: Amount = 26

    @cached_property
    def fields(self) -> dict[str, str]:
        """ "Schema.Field" -> the value it holds."""
        schemas = self.CUSTOM_SCHEMAS.items()
        return {f"{schema}.{name}": value for schema, held in schemas for name, value in held.items()}

    @property
    def dcid_field(self) -> str:
        return next(name for name, value in self.fields.items() if value == "dcid")

    @property
    def dcid_attribute(self) -> str:
        return f"customSchemas.{self.dcid_field}"

    @cached_property
    def attributes(self) -> dict[str, Attribute]:
        """Every attribute of an account that this district keeps; which type a field has Google says."""
        return ATTRIBUTES | {
            f"customSchemas.{name}": Attribute("link" if value == "dcid" else "update", name, value=value)
            for name, value in self.fields.items()
        }


NO_SETTINGS: Any = None
REQUIRED_SETTINGS = [entry.name for entry in fields(Settings) if entry.default is entry.default_factory is MISSING]


@dataclass(frozen=True)
class Staff:
    """One USERS row with the person's active SCHOOLSTAFF rows; names and addresses trimmed, "" where NULL."""

    dcid: int
    first_name: str
    last_name: str
    email: str
    other_first_name: str = ""  # the legal one where first_name is PREFERREDNAME, else PREFERREDNAME
    teacher_number: str = ""
    homeschool: int = NO_SCHOOL
    group: str = ""
    schools: tuple[tuple[int, int], ...] = ()  # (school number, staff type) of each active row
    extension: Mapping[str, str] = field(default_factory=dict)
    ambiguous: frozenset[str] = frozenset()  # names of extension values with more than one row
    odd: Mapping[str, str] = field(default_factory=dict)  # value -> what PowerSchool holds of it that cannot be

    @property
    def is_active(self) -> bool:
        return bool(self.schools)

    @property
    def folded_name(self) -> tuple[str, str]:
        return fold(self.first_name), fold(self.last_name)

    @property
    def folded_names(self) -> list[tuple[str, str]]:
        """The full names, with the legal and the preferred first name, in the form in which they are compared."""
        firsts = dict.fromkeys((fold(self.first_name), fold(self.other_first_name)))
        return [(first, fold(self.last_name)) for first in firsts if first and fold(self.last_name)]

    @property
    def traits(self) -> list[object]:
        """The employee ID and the full names, in the forms in which they are compared."""
        return [self.teacher_number.casefold(), *self.folded_names]

    @property
    def name(self) -> str:
        return f"{self.first_name} {self.last_name}".strip()

    def __str__(self) -> str:
        return f"{self.name or '(no name)'}, {self.email or 'no address'} (DCID {self.dcid})"


@dataclass(frozen=True)
class PowerSchool:
    """What PowerSchool says: the names of the schools by number, and everybody in USERS."""

    schools: Mapping[int, str]
    staff: tuple[Staff, ...]

    @cached_property
    def by_dcid(self) -> Mapping[int, Staff]:
        return {person.dcid: person for person in self.staff}

    @cached_property
    def active_by_address(self) -> Mapping[str, list[Staff]]:
        return grouped((person.email, person) for person in self.active if person.email)

    @cached_property
    def by_trait(self) -> Mapping[object, list[Staff]]:
        """Address, employee ID or full name, in the form they are compared in -> who has it, active or not."""
        return grouped((trait, person) for person in self.staff for trait in (person.email, *person.traits) if trait)

    @property
    def active(self) -> Iterator[Staff]:
        return (person for person in self.staff if person.is_active)


@dataclass(frozen=True)
class Account:
    """A Google account as it is: what a sync may change, flat, and what it goes by."""

    id: str
    values: Mapping[str, str]  # attribute -> text, "" for none
    dcid: int | None = None
    aliases: tuple[str, ...] = ()
    domain_aliases: tuple[str, ...] = ()  # its addresses at aliases of a domain, which can never be primary
    entries: Mapping[str, tuple[Mapping[str, Any], ...]] = field(default_factory=dict)  # of attributes that are lists
    suspension_reason: str = ""
    suspension_time: str = ""
    archived: bool = False
    is_admin: bool = False
    is_delegated_admin: bool = False
    last_sign_in: str = ""  # the day, "" for never
    deleted_on: str = ""  # the day, "" for one that is there

    @property
    def email(self) -> str:
        return self.values[EMAIL]

    @property
    def addresses(self) -> tuple[str, ...]:
        return (self.email, *self.aliases, *self.domain_aliases)

    @property
    def name(self) -> str:
        return f"{self.values[GIVEN_NAME]} {self.values[FAMILY_NAME]}"

    @property
    def folded_name(self) -> tuple[str, str]:
        return fold(self.values[GIVEN_NAME]), fold(self.values[FAMILY_NAME])

    @property
    def org_unit(self) -> str:
        return self.values[ORG_UNIT]

    @property
    def is_suspended(self) -> bool:
        return self.values[SUSPENDED] == YES

    @property
    def is_open(self) -> bool:
        return not self.is_suspended and not self.archived

    @property
    def state(self) -> str:
        closed = "archived" if self.archived else "suspended" if self.is_suspended else "open"
        return "deleted" if self.deleted_on else closed

    @property
    def employee_id_texts(self) -> list[str]:
        ours = ATTRIBUTES[EMPLOYEE_ID].entry
        return [clean(entry.get("value")) for entry in self.entries.get(EMPLOYEE_ID, ()) if entry.get("type") == ours]

    @property
    def employee_ids(self) -> frozenset[str]:
        """Every employee ID, in the form in which they are compared."""
        return frozenset(map(str.casefold, self.employee_id_texts)) - {""}

    @property
    def traits(self) -> list[object]:
        """The employee IDs and the full name, in the forms in which they are compared."""
        return [*self.employee_ids, self.folded_name]

    def __str__(self) -> str:
        admin = ", an administrator" if self.is_admin or self.is_delegated_admin else ""
        dcid = "no DCID" if self.dcid is None else f"DCID {self.dcid}"
        return f"{self.email}, {self.name}, {dcid}, {self.state}, in {self.org_unit}{admin}"


@dataclass(frozen=True)
class Google:
    """What Google says. Org units are lower-case path -> path; `groups` are addresses found to be groups."""

    accounts: Mapping[str, Account]  # by Google's id
    # Address -> id of the accounts that can be nobody's in PowerSchool, as those of students: no more of them is kept.
    others: Mapping[str, str] = field(default_factory=dict)
    org_units: Mapping[str, str] = field(default_factory=dict)
    field_types: Mapping[str, str] = field(default_factory=dict)  # attribute -> STRING, INT64, ...
    dcid_is_indexed: bool = True
    is_whole: bool = True  # every account was read, not what can concern a few people alone
    groups: frozenset[str] = frozenset()
    deleted: Sequence[Account] = ()  # in the last 20 days; read if anybody would be created
    unconfirmed: Mapping[int, str] = field(default_factory=dict)  # DCID -> why its look-up failed

    @cached_property
    def by_dcid(self) -> Mapping[int, list[Account]]:
        return grouped((account.dcid, account) for account in self.accounts.values() if account.dcid is not None)

    @cached_property
    def by_id(self) -> Mapping[str, Account]:
        """The deleted ones too."""
        return {**{account.id: account for account in self.deleted}, **self.accounts}

    @cached_property
    def domains(self) -> frozenset[str]:
        return frozenset(address.rpartition("@")[2] for address in (*self.by_address, *self.others))

    @cached_property
    def by_address(self) -> Mapping[str, Account]:
        """Aliases too; a primary address comes before an alias, and the first alias before a later one."""
        aliases = {alias: had for had in reversed([*self.accounts.values()]) for alias in had.addresses[1:]}
        return aliases | {account.email: account for account in self.accounts.values()}


@dataclass(frozen=True)
class District:
    """Everything a decision may look at: the settings, both sides and today's date."""

    settings: Settings
    powerschool: PowerSchool
    google: Google
    today: date
    admin_email: str = ""
    only: bool = False  # a run for some only: the hold window does not apply
    chosen: Collection[int] = ()  # the DCIDs of those whom the command is about
    allowed: Mapping[str, int] = field(default_factory=dict)  # the limits that --allow raises
    # By Google's id: when and where a run suspended an account, if nothing but leaving groups followed in the journals.
    closings: Mapping[str, tuple[datetime, str]] = field(default_factory=dict)
    # Google's id and an own alias that a run removed to make it the address, which is not there yet -> DCID.
    lost_aliases: Mapping[tuple[str, str], int] = field(default_factory=dict)
    # What an admin has decided: DCID -> Google's id of the account that is theirs, or ids of those that are not.
    theirs: Mapping[int, str] = field(default_factory=dict)
    not_theirs: Mapping[int, Sequence[str]] = field(default_factory=dict)
    # By Google's id: the runs that took an account out of groups since it was last suspended.
    groups_left: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @cached_property
    def attributes(self) -> dict[str, Attribute]:
        """Every attribute that this district keeps, the fields with the types they have in Google."""
        return {
            name: replace(attribute, type=self.google.field_types.get(name, attribute.type))
            for name, attribute in self.settings.attributes.items()
        }

    def owner(self, account: Account) -> Staff | None:
        """Whose DCID the account carries, active or not."""
        return None if account.dcid is None else self.powerschool.by_dcid.get(account.dcid)

    def is_unclaimed(self, account: Account) -> bool:
        """True where the account carries no active person's DCID."""
        owner = self.owner(account)
        return owner is None or not owner.is_active

    @cached_property
    def unclaimed_by_trait(self) -> Mapping[object, list[Account]]:
        unclaimed = [account for account in self.google.accounts.values() if self.is_unclaimed(account)]
        return grouped((trait, account) for account in unclaimed for trait in (*account.addresses, *account.traits))

    def claimants(self, address: str) -> list[Staff]:
        """The active people to whom PowerSchool gives this address; who is skipped does not count."""
        people = self.powerschool.active_by_address.get(address, ())
        return [person for person in people if not skip_rule(person, self.settings)]

    def school_name(self, number: int) -> str:
        """The name of a home school, or "" if nothing knows it: SCHOOLS, BUILDING_OUS, and 0 as the district office."""
        if name := self.powerschool.schools.get(number):
            return proper_case(name) if name.isupper() else name
        if number == DISTRICT_OFFICE:
            return "District Office"
        return self.settings.BUILDING_OUS.get(number, "").rpartition("/")[2]

    @property
    def suspended_ou(self) -> str:
        return self.google.org_units.get(self.settings.SUSPENDED_OU.lower(), self.settings.SUSPENDED_OU)


@dataclass(frozen=True)
class Change:
    """One kind of change to one account: attribute -> text before and after."""

    kind: str
    before: Mapping[str, str]
    after: Mapping[str, str]


@dataclass(frozen=True)
class Entry:
    """What the journal of a run says of one change: the latest of its lines."""

    state: str
    dcid: int
    account: str
    email: str
    change: Change
    time: datetime
    is_undo: bool = False


@dataclass(frozen=True)
class Plan:
    """What is to be done about one person: nothing, a creation (`had` is None), or changes to an account."""

    person: Staff
    had: Account | None = None
    changes: tuple[Change, ...] = ()
    remarks: tuple[Remark, ...] = ()
    evidence: str = ""  # what says that the account is theirs
    undoes: tuple[Entry, ...] = ()  # of the journal, where the plan is to put them back

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset(change.kind for change in self.changes)

    def has(self, rule: Rule) -> bool:
        return any(remark.rule is rule for remark in self.remarks)

    @property
    def needs_attention(self) -> bool:
        return any(remark.rule.level == ERROR for remark in self.remarks)


@dataclass(frozen=True)
class Night:
    """One past run of everybody in figures, for the page."""

    run: str  # its start in UTC, as RUN_NAME
    changed: int = 0
    failed: int = 0
    standing: int = 0


@dataclass(frozen=True)
class Memory:
    """What runs/standing.json keeps from run to run."""

    remarks: Mapping[str, Remark] = field(default_factory=dict)  # by their keys
    nights: tuple[Night, ...] = ()  # the last runs of everybody
    decisions: Mapping[str, str] = field(default_factory=dict)  # key of a remark to be left -> what was seen then
    mail: Mapping[str, Any] = field(default_factory=dict)  # the day of the last one, and whether nobody got it
    damage: Remark | None = None


class Options(argparse.Namespace):
    """The command line, as `options_of` declares it; `command` is one of COMMANDS, or a run."""

    @property
    def is_part(self) -> bool:
        """True for a run of some people only."""
        return bool(self.only or self.decide) and self.undo is None


@dataclass
class Run:
    """What one run keeps while it goes: the only thing here that changes."""

    folder: Path
    started: datetime
    settings: Settings = NO_SETTINGS
    options: Options = field(default_factory=Options)
    deadline: float = float("inf")
    api: Any = None
    credentials: Any = None
    lock: threading.RLock = field(default_factory=threading.RLock)  # of what people side by side change here
    here: threading.local = field(default_factory=threading.local)  # a worker's own connection, and lines to be told
    is_over: bool = False  # nobody new is begun
    is_leaving: bool = False  # its records are written, and no signal cuts that off
    queries_sent: deque[float] = field(default_factory=lambda: deque(maxlen=QUERIES[0]))
    creations_sent: deque[float] = field(default_factory=lambda: deque(maxlen=CREATIONS[0]))
    google_time: datetime | None = None
    journal_file: IO[str] | None = None
    change_number: int = 0
    writes: int = 0
    progress_told: float = field(default_factory=time.monotonic)
    in_flight: list[tuple[Mapping[str, object], Change]] = field(default_factory=list)  # intended, not yet known
    done: list[tuple[Plan, Change]] = field(default_factory=list)  # or in a dry run what would be
    held: Counter[str] = field(default_factory=Counter)
    remarks: list[Remark] = field(default_factory=list)
    # Kind -> (status, reason) -> people refused so since the last success.
    refused: dict[str, Counter[tuple[int, str]]] = field(default_factory=lambda: defaultdict(Counter))
    refused_before: frozenset[tuple[object, ...]] | None = None
    ended: dict[str, int] = field(default_factory=dict)  # kinds that Google refuses tonight -> people not tried
    bugs: int = 0
    district: District | None = None
    part: str = ""  # of everybody's run: "dry run", "for some only", "undo"
    memory: Memory = field(default_factory=Memory)
    remembers: bool = False  # what it tells is held against what was told before
    subjects: frozenset[str] | None = None  # of the people of a run for some only
    waiting: set[str] = field(default_factory=set)  # subjects of people whose turn has not come, or who are held
    failure: Remark | None = None  # why it could not start or come to its end
    ending: str = ""  # DRY_RUN and the like, once it is known; then what it amounts to, as log, mail and page tell it:
    new: Sequence[Remark] = ()  # what needs a person, told for the first time,
    standing: Sequence[Remark] = ()  # what needs a person and was told before, the oldest last,
    solved: Sequence[Remark] = ()  # what needed a person until now,
    left_alone: Sequence[Remark] = ()  # what a rule leaves alone,
    last_good: datetime | None = None  # and when a run of everybody last came to its end, before this one
    decisions: Sequence[Decision] = ()  # of --decide
    unkept: str = ""  # why log, memory or the copy in runs/ is not whole
    lock_file: IO[str] | None = None
    has_log: bool = False
    exit_code: int = FAILED

    @property
    def name(self) -> str:
        return self.started.strftime(RUN_NAME)

    @property
    def not_made(self) -> list[Remark]:
        """What was held, each with the command that lets it through."""
        return [remark for remark in self.remarks if remark.rule is Rule.LIMIT]

    @property
    def held_in_words(self) -> str:
        return counts_in_words(self.held) if self.held else ", ".join(remark.who for remark in self.not_made)

    @property
    def needy(self) -> dict[str, bool]:
        """Whoever needs somebody, and whether that is new."""
        return {r.who: r.since is None for r in (*self.standing, *self.new) if r.rule.level == ERROR}

    @property
    def changed(self) -> frozenset[int]:
        return frozenset(plan.person.dcid for plan, _ in self.done)

    def note(self, remark: Remark) -> bool:
        """Remember what is to be told; False if it is known already."""
        with self.lock:
            is_new = remark not in self.remarks
            self.remarks += [remark] if is_new else []
        return is_new

    @property
    def today(self) -> date:
        return self.started.astimezone().date()


def grouped(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, list[Any]]:
    """Key -> everything that was paired with it, in order."""
    found: dict[Any, list[Any]] = defaultdict(list)
    for key, value in pairs:
        found[key].append(value)
    return dict(found)


# The run: read both sides, plan each person, hold what is too much, make each person's changes, tell.


def sync(run: Run) -> int:
    """One night, or in a dry run everything but its writes; returns the exit code."""
    run.remembers = True
    run.decisions = read_sheet(run.options.decide) if run.options.decide else ()
    district = read_both(run)
    chosen = frozenset(d.key[0] for d in run.decisions) if run.options.decide else choose(run.options.only, district)
    run.subjects = frozenset(f"dcid:{dcid}" for dcid in chosen) if run.options.is_part else None
    district = replace(district, chosen=chosen)

    everybody = plan_each(run, district)
    stop_at([*rebuilt_powerschool(everybody, district), *foreign_staff(district)])
    district, everybody = look_up_newcomers(run, district, everybody)
    if run.options.decide:
        district, everybody = as_decided(run, district, everybody)
    plans = hold_too_much(run, [plan for plan in everybody if plan.person.dcid in district.chosen], district)
    if not run.options.is_part:
        idle = (*idle_settings(district), *idle_org_units(run.settings, district.google.org_units))
        run.remarks += [*nobodys_accounts(district), *idle]
    run.remarks = [*left_by_decision(run.remarks, run.memory)]
    lost = [plan for plan in lost_aliases(plans, district) if plan.person.dcid in chosen or not run.options.is_part]
    for remark in (remark for plan in lost for remark in plan.remarks):
        run.note(remark)
    due = sorted((plan for plan in (*lost, *plans) if plan.changes), key=turn_of)

    if run.options.dry_run:
        return tell_dry_run(run, district, everybody, due)
    return carry_out(run, due, district)


def carry_out(run: Run, plans: Sequence[Plan], district: District) -> int:
    """Make the changes and tell what was done, however that ends; returns the exit code."""
    ending = BROKEN_OFF
    try:
        make_all_changes(run, plans, district)
        look_again(run, district.google)
        ending = "Done"
    finally:
        remedy = "see its words in the lines of these people, and whether the signed-in admin has the right for this"
        for kind, left in run.ended.items():
            seen = f"Google refused it to others, so {people(left)} more were not tried"
            run.remarks.append(Remark(Rule.ENDED, kind, seen, remedy))
        code = tell(run, ending)
    return code


def hold_too_much(run: Run, plans: Sequence[Plan], district: District) -> list[Plan]:
    """The plans without what is held back; what they tell, and what is held and why, is noted."""
    held = too_much(plans, district)
    kinds = frozenset(remark.who for remark in held)
    run.held = Counter(kind for plan in plans for kind in limited_kinds(plan) & kinds)
    run.waiting = {subject_of(plan.person) for plan in plans if plan.changes}
    run.remarks += [*(remark for plan in plans for remark in plan.remarks), *held]
    return [without_held(plan, kinds, district) for plan in plans]


def plan_each(run: Run, district: District) -> list[Plan]:
    """Everybody's plan, as one may tell of another, or of those chosen where Google was asked for them alone."""
    plans = []
    for person in district.powerschool.staff:
        if district.google.is_whole or person.dcid in district.chosen:
            try:
                plans.append(plan_person(person, district))
            except Exception:  # noqa: BLE001 - one odd value must not keep everybody else from their turn
                plans.append(note_bug(run, person))
    return plans


def note_bug(run: Run, person: Staff) -> Plan:
    """Tell a bug of ours with its traceback; nothing is done about this person, and the run exits with 2."""
    remark = about(person, Rule.BUG, "please report the lines below it in the log, without names")
    if run.note(remark):
        log.exception("%s", remark)
        run.bugs += 1
    return Plan(person)


def read_both(run: Run) -> District:
    """Both sides, read side by side and found plausible; RunError otherwise, PowerSchool's before Google's."""
    reading = in_background(partial(read_powerschool, run))
    is_of_few, why = bool(run.options.only) or run.options.explain is not None, ""
    progress(run, "Reading PowerSchool and Google")
    try:
        connect_google(run)
        google = read_frame(run)
        if is_of_few:
            google, why = read_few(run, reading.result(), google)
            log.info("Google: %s", f"every account is read, as {why}" if why else "asked for these people alone")
        if why or not is_of_few:
            # --explain names whoever comes near, so it keeps every account.
            google = list_accounts(run, google, reading.result if run.options.explain is None else lambda: None)
    except RunError:
        reading.result()
        raise
    powerschool = reading.result()
    stop_at(implausible(powerschool, google))
    if not run.options.is_part:
        run.memory = replace(run.memory, remarks={**happened_once(run, powerschool), **run.memory.remarks})
    known = {**unfinished(run), "allowed": dict(run.options.allow)}
    run.district = District(run.settings, powerschool, google, run.today, own_admin(), run.options.is_part, **known)
    tell_what_was_read(run.district)
    return run.district


def read_few(run: Run, powerschool: PowerSchool, google: Google) -> tuple[Google, str]:
    """What Google has, as it is now, of the people of --only or --explain; or why everything has to be read."""
    options = run.options
    meant, words = (people_meant, options.only) if options.explain is None else (people_explained, [options.explain])
    district = District(run.settings, powerschool, google, run.today, own_admin(), options.is_part)
    people: dict[int, Staff] = {}
    if not google.dcid_is_indexed:
        return google, f"{run.settings.dcid_field} is not indexed"
    for word in words:
        fits = meant(word, district)
        if not fits and "@" in word:
            with contextlib.suppress(GoogleError):  # then nobody is found
                account = get_account(run, whom(word)[1])
                google = replace(google, accounts={**google.accounts, account.id: account}) if account else google
            fits = meant(word, replace(district, google=google))
        if not fits and options.explain is not None:  # who comes near is to be told
            return google, f"nobody in PowerSchool is {word}"
        people |= {person.dcid: person for person in fits}
    if len(people) > FEW:
        return google, f"these are more than {FEW} people"
    google = with_found(google, side_by_side(run, partial(look_up, run, google), [*people.values()]))
    for person in people.values():  # Google's search lags and folds names, so nobody is created or linked by it
        if len(google.by_dcid.get(person.dcid, ())) != 1 or person.dcid in google.unconfirmed:
            return google, f"Google may have more that concerns {person}"
    return google, ""


def stop_at(faults: Sequence[Remark]) -> None:
    """A run goes no further than its first faults: RunError that names all of them."""
    if faults:
        raise RunError("; ".join(map(str, faults)), rule=faults[0].rule)


def look_up_newcomers(run: Run, district: District, plans: list[Plan]) -> tuple[District, list[Plan]]:
    """The district and all plans after a look-up of those chosen whom they would create: listings lag behind writes."""
    asked, chosen = set[int](), frozenset(district.chosen)
    if any("create" in plan.kinds and plan.person.dcid in chosen for plan in plans):
        # Until 20 days are over Google can restore a deleted account with all it held.
        listed = listed_accounts(run, "listing deleted accounts", showDeleted="true")
        district = replace(district, google=replace(district.google, deleted=[*listed]))
        plans = plan_each(run, district)
    while new := [p.person for p in plans if "create" in p.kinds and p.person.dcid in chosen - asked]:
        # Whoever cannot be created tonight is not asked for night after night.
        held = too_much([p for p in plans if p.person.dcid in chosen], district)
        if any(remark.who == "create" for remark in held):
            break
        asked |= {person.dcid for person in new}
        found = side_by_side(run, partial(look_up, run, district.google), new)
        counted = with_progress(run, "Looking up new staff", found, len(new))
        district = replace(district, google=with_found(district.google, counted))
        plans = plan_each(run, district)
    return district, plans


def choose(words: Sequence[str], district: District) -> frozenset[int]:
    """The DCIDs that --only names, or everybody's; RunError for a word that fits nobody, or several."""
    chosen: set[int] = set()
    for word in words:
        fits = people_meant(word, district)
        if not fits:
            near = f"python sync.py --explain {quoted(word)}  says who comes near"
            raise RunError(f"--only {word}", "nobody in PowerSchool has this address, DCID or teacher number", near)
        if len(fits) > 1 and whom(word)[0] != "address":
            several = "; ".join(map(str, fits))
            raise RunError(f"--only {word}", "fits several people, so say dcid:N or teacher:N", several)
        chosen |= {person.dcid for person in fits}
    return frozenset(chosen if words else district.powerschool.by_dcid)


def quoted(word: str) -> str:
    """A word as it has to stand in a command."""
    return f'"{word}"' if re.search(r"[^\w.@:=/\\-]|^$", word) else word


def people_meant(word: str, district: District) -> list[Staff]:
    """The people in PowerSchool whom this word of the command line means, by themselves or by their account."""
    staff = district.powerschool.staff
    fits = [p for p in staff if is_meant(word, p.dcid, {p.email}, {p.teacher_number.casefold()})]
    holder = district.google.by_address.get(whom(word)[1])
    owner = district.owner(holder) if holder else None
    return fits or ([owner] if owner else [])


def whom(word: str | int) -> tuple[str, str]:
    """How a word names somebody (by address, dcid, teacher or a bare number) and the text that names them."""
    text = clean(word).casefold()
    prefix, mark, rest = text.partition(":")
    if mark and prefix in {"dcid", "teacher"}:
        return prefix, rest.strip()
    return ("address" if "@" in text else "number"), text


def is_meant(word: str | int, dcid: int | None, addresses: Collection[str], numbers: Collection[str] = ()) -> bool:
    """True if the word means the person or account with this DCID, these addresses and these folded numbers."""
    by, text = whom(word)
    named = {"address": addresses, "dcid": [str(dcid)], "teacher": numbers, "number": [str(dcid), *numbers]}
    return bool(text) and text in named[by]


# Deciding whose account it is: facts in, remarks and plans out; no I/O, no clock.


def fold(text: str) -> str:
    """Letters of any script, without marks, case, spaces and punctuation: the form in which names are compared."""
    return "".join(c for c in unicodedata.normalize("NFKD", text).casefold() if c.isalpha())


def is_at_or_below(path: str, tops: Iterable[str]) -> bool:
    return any(f"{path}/".casefold().startswith(f"{top}/".casefold()) for top in tops)


def is_ours(address: str, settings: Settings) -> bool:
    return address.rpartition("@")[2] in {domain.casefold() for domain in settings.GOOGLE_DOMAINS}


def same_names(person: Staff, account: Account) -> bool:
    return all(person.folded_name) and person.folded_name == account.folded_name


def same_words(person: Staff, account: Account) -> str:
    """What of a person and an account is the same, in words."""
    same = {
        "DCID": account.dcid == person.dcid,
        "address": person.email == account.email,
        "address (an alias)": person.email in account.addresses[1:],
        "employee ID": same_employee_id(person, account),
        "names": account.folded_name in person.folded_names,
    }
    return " and ".join(words for words, is_so in same.items() if is_so)


def same_employee_id(person: Staff, account: Account) -> bool:
    return person.teacher_number.casefold() in account.employee_ids


def looks_like(person: Staff, account: Account) -> bool:
    return same_employee_id(person, account) or account.folded_name in person.folded_names


def agrees(person: Staff, account: Account, powerschool: PowerSchool) -> bool:
    """True if one thing besides the DCID agrees; one name alone counts if nothing is another active person's too.

    Both names count, unless a namesake has the address or the employee ID besides.
    """
    if (person.email and person.email in account.addresses) or same_employee_id(person, account):
        return True
    found = (rival for trait in (account.email, *account.traits) for rival in powerschool.by_trait.get(trait, ()))
    if rivals := [rival for rival in found if rival.is_active and rival.dcid != person.dcid]:
        namesakes = [rival for rival in rivals if account.folded_name in rival.folded_names]
        is_theirs = any(rival.email == account.email or same_employee_id(rival, account) for rival in namesakes)
        return same_names(person, account) and not is_theirs
    return any(name and name == held for name, held in zip(person.folded_name, account.folded_name, strict=True))


def about(person: Staff, rule: Rule, seen: str, remedy: str = "", part: str = "") -> Remark:
    return Remark(rule, str(person), seen, remedy, subject_of(person), part)


def subject_of(person: Staff) -> str:
    return f"dcid:{person.dcid}"


def left_alone(person: Staff, rule: Rule, seen: str, remedy: str = "", had: Account | None = None) -> Plan:
    """A plan that changes nothing and says why."""
    return Plan(person, had, remarks=(about(person, rule, seen, remedy),))


def plan_person(person: Staff, district: District) -> Plan:
    """What is to be done about this person, with every reason for doing less; the rules in README.md."""
    theirs = district.google.accounts.get(district.theirs.get(person.dcid, ""))
    accounts = district.google.by_dcid.get(person.dcid, [])
    if len(accounts) > 1:  # one may be linked to a newer record in this very run
        accounts = [account for account in accounts if not is_certainly_anothers(account, district)]
    rule = skip_rule(person, district.settings)
    rivals = [rival for rival in district.claimants(person.email) if rival.dcid != person.dcid]
    still_open = [account for account in accounts if account.is_open]
    if theirs:
        plan = plan_account(person, theirs, district)
    elif rule and still_open and not person.is_active:
        held = ", ".join(account.email for account in still_open)
        seen = f"skipped by rule ({rule.label}) and no longer active, but {held} is open"
        remedy = "if it is theirs, close it by hand; if not, correct its DCID"
        plan = left_alone(person, Rule.SKIPPED_OPEN, seen, remedy, still_open[0])
    elif rule:
        plan = left_alone(person, rule, "skipped by rule")
    elif len(accounts) > 1:
        held = " and ".join(account.email for account in accounts)
        remedy = f"empty {district.settings.dcid_field} of the wrong one"
        plan = left_alone(person, Rule.TWO_ACCOUNTS, f"{held} both carry this DCID", remedy)
    elif person.is_active and rivals:
        seen = f"PowerSchool gives the address to {'; '.join(map(str, rivals))} too"
        one = "if both records are one person's, take it out of the one whose DCID its account does not carry"
        plan = left_alone(person, Rule.TWO_PEOPLE, seen, f"give one of them another address; {one}")
    elif accounts:
        plan = plan_account(person, accounts[0], district)
    else:
        plan = plan_unfound(person, district) if person.is_active else plan_absent_leaver(person, district)
    return with_hands_off(plan, district)


def plan_decided(person: Staff, had: Account, district: District) -> Plan:
    """The account that is the person's by an admin's decision gets the DCID and nothing else, if no rule forbids it."""
    rule, is_rivals = skip_rule(person, district.settings), not district.is_unclaimed(had) and had.dcid != person.dcid
    carrying = [account.email for account in district.google.by_dcid.get(person.dcid, ()) if account.id != had.id]
    others = [p for email in (person.email, had.email) for p in district.claimants(email) if p.dcid != person.dcid]
    is_strange = not agrees(person, had, district.powerschool)
    way = f"if {had.email} is theirs, put the DCID there in the Admin console and empty it in the other one"
    against = {
        f"skipped by rule ({rule.label if rule else ''})": rule,
        f"{had.email} has an admin role": had.is_delegated_admin,
        f"{had.email} carries DCID {had.dcid}, which is {district.owner(had)}, who is active": is_rivals,
        f"PowerSchool gives its address to {'; '.join(map(str, others))}": others,
        f"the next run would take {had.email}, {had.name}, for somebody else's: nothing else would agree": is_strange,
        f"{' and '.join(carrying)} carries this DCID already: {way}": carrying,
    }
    if seen := next((words for words, is_so in against.items() if is_so), ""):
        return left_alone(person, Rule.NOT_LINKED, seen, had=had)
    changes = differences(had, {district.settings.dcid_attribute: str(person.dcid)}, district)
    return Plan(person, had, changes, evidence="decision")


def skip_rule(person: Staff, settings: Settings) -> Rule | None:
    """Which rule leaves this person out of everything, if any."""
    if bad_names(person, settings):
        return Rule.BAD_NAME
    if settings.SKIP_NUMERIC_EMAILS and person.email.rpartition("@")[0].isdigit():
        return Rule.NUMERIC_ADDRESS
    return None


def bad_names(person: Staff, settings: Settings) -> set[str]:
    """The entries of BAD_NAMES that are the person's first, last or whole name, in any case."""
    names = {name.strip().casefold() for name in (person.first_name, person.last_name, person.name)}
    return {entry for entry in settings.BAD_NAMES if " ".join(entry.split()).casefold() in names}


def plan_absent_leaver(person: Staff, district: District) -> Plan:
    """An inactive person without an account: an open one that is theirs by more than chance is told, never written."""
    found = (a for a in lookalikes(person, district) if a.dcid is None or person.email in a.addresses)
    left = [a for a in found if a.is_open and is_likely_place(person, a, district) and not district.claimants(a.email)]
    return possible_account(person, left[:1], district)


def is_likely_place(person: Staff, account: Account, district: District) -> bool:
    """True where staff are and, for an account with the address or number, anywhere but where it may stay open."""
    settings = district.settings
    shelters = (*settings.PROTECTED_OUS, *settings.TEMPORARY_REACTIVATION_OUS)
    is_certain = same_employee_id(person, account) or person.email in account.addresses
    is_staffs = is_staff_place(account, district) or is_frozen(account.org_unit, settings.FROZEN_OUS)
    return is_staffs or (is_certain and not is_at_or_below(account.org_unit, shelters))


def lookalikes(person: Staff, district: District) -> list[Account]:
    """The accounts of no active person's DCID with the address, number or names of this one, but for HANDS_OFF's."""
    traits = person.traits if district.claimants(person.email) else [person.email, *person.traits]
    found = {a.id: a for trait in traits for a in district.unclaimed_by_trait.get(trait, ())}.values()
    return [a for a in found if not any(is_valid for *_, is_valid in in_hands_off(a.dcid, a.addresses, district))]


def is_staff_place(account: Account, district: District) -> bool:
    """True in the org units of staff, and directly in /, where accounts made by hand lie."""
    settings = district.settings
    places = (settings.STAFF_OU, settings.SUBSTITUTE_OU, settings.SUSPENDED_OU, *settings.BUILDING_OUS.values())
    return account.org_unit == "/" or is_at_or_below(account.org_unit, places)


def name_in_hands_off(account: Account) -> str:
    return f'name it in HANDS_OFF: "{account.email}": ("why", "until which day")'


def open_or_leave(account: Account, way: str) -> str:
    return f"if they work here, {way} it in the Admin console; if it is to stay so, {name_in_hands_off(account)}"


def in_hands_off(dcid: int | None, addresses: Collection[str], district: District) -> Iterator[tuple[str, str, bool]]:
    """Reason, last day, and whether that is not over yet, of each entry that means this person or account."""
    for key, (reason, until) in district.settings.HANDS_OFF.items():
        if is_meant(key, dcid, addresses):
            yield reason, until, date.fromisoformat(until) >= district.today


def plan_unfound(person: Staff, district: District) -> Plan:
    """An active person whose DCID is on no account: link the account that holds the address, or create one."""
    holder = district.google.by_address.get(person.email)
    if not person.email:
        nothing = left_alone(person, Rule.NO_ADDRESS, "no address in PowerSchool and no account", "nothing to create")
        twins = possible_twins(person, district)
        return possible_account(person, twins, district) if twins else nothing
    if not is_ours(person.email, district.settings):
        return left_alone(person, Rule.FOREIGN_ADDRESS, "the address is outside GOOGLE_DOMAINS", "not created")
    if not VALID_ADDRESS.fullmatch(person.email):
        return left_alone(person, Rule.FAULTY_ADDRESS, NO_ADDRESS, "correct it in PowerSchool")
    if holder is None:
        return plan_creation(person, district)
    if holder.email == person.email and district.is_unclaimed(holder):
        return plan_account(person, holder, district)
    if looks_like(person, holder) and district.is_unclaimed(holder):
        return possible_account(person, [holder], district)
    return Plan(person, remarks=(in_doubt(person, holder, district, Rule.ADDRESS_TAKEN),))


def plan_account(person: Staff, had: Account, district: District) -> Plan:
    """The account that carries the person's DCID or holds their address, if it is theirs, kept in step or closed."""
    if had.id == district.theirs.get(person.dcid):
        return plan_decided(person, had, district)
    carries_dcid = had.dcid == person.dcid
    if carries_dcid and not agrees(person, had, district.powerschool):
        seen = f"DCID {person.dcid} sits on an account that looks like somebody else's: {had.email}, {had.name}"
        remedy = "correct the DCID there, or the person in PowerSchool"
        return left_alone(person, Rule.SOMEBODY_ELSES, seen, remedy, had)
    if not carries_dcid and (doubt := link_doubt(person, had, district)):
        return Plan(person, had, remarks=(doubt,))
    rules = wanted_open if person.is_active else wanted_closed
    wanted, remarks = wishes_and_remarks(rules(person, had, district))
    evidence = "DCID" if carries_dcid else same_words(person, had)
    return Plan(person, had, differences(had, wanted, district), remarks, evidence)


OR_DECIDE = "or decide it with --csv and --decide (README, step 6)"


def link_doubt(person: Staff, account: Account, district: District) -> Remark | None:
    """Why this account with the person's address is not certainly theirs, if so: a mistake hands over a mailbox."""
    owner, names, number = district.owner(account), same_names(person, account), same_employee_id(person, account)
    is_rehire, why = owner is not None and not owner.is_active and names and number, ""
    if is_rehire or (account.dcid is None and (names or number)):
        namesakes = () if number else district.powerschool.by_trait.get(account.folded_name, ())
        waiting = [p for p in namesakes if p.is_active and p.email and p.dcid not in district.google.by_dcid]
        rival = next((p for p in waiting if same_employee_id(p, account)), None)
        if rival:  # most likely PowerSchool has the addresses of two namesakes the wrong way round
            seen = f"{account.email} has the same address and names, but the employee ID of {rival}"
            link = link_by_hand(person, account, district.settings)
            remedy = f"if it is theirs, {link}; if not, correct the addresses of both in PowerSchool; {OR_DECIDE}"
            return about(person, Rule.NOT_LINKED, seen, remedy)
        if account.is_delegated_admin or account.is_admin:
            why = ", and an admin role"
        elif not district.settings.LINK_BY_EMAIL:
            why = ", and LINK_BY_EMAIL is False"
        elif account.is_open or is_closed_by_us(account, district.settings):
            return None
        else:
            state, way = f"suspended in {account.org_unit}", "open"
            if account.archived:
                state, way = "archived", "unarchive"
            seen = f"active, but {account.email}, which has the address, is {state}"
            return about(person, Rule.LINKED_LATER, seen, open_or_leave(account, way))
    return in_doubt(person, account, district, Rule.NOT_LINKED, why)


def link_by_hand(person: Staff, account: Account, settings: Settings) -> str:
    return f"set {settings.dcid_field} of {account.email} to {person.dcid} in the Admin console"


def is_closed_by_us(account: Account, settings: Settings) -> bool:
    """True for an account that an administrator suspended in exactly SUSPENDED_OU: who returns gets it back."""
    is_there = account.org_unit.casefold() == settings.SUSPENDED_OU.casefold()
    return is_there and not account.archived and account.suspension_reason in BY_ADMIN


def possible_twins(person: Staff, district: District) -> list[Account]:
    """The accounts of no active person's DCID that may be this one's, who has no address by the employee ID alone."""
    aside = district.not_theirs.get(person.dcid, ())
    found = [a for a in lookalikes(person, district) if a.id not in aside and not is_certainly_anothers(a, district)]
    return [a for a in found if same_employee_id(person, a) or (person.email and is_staff_place(a, district))]


def is_certainly_anothers(account: Account, district: District) -> bool:
    """True where PowerSchool gives its address to exactly one active person, who is linked to it beyond doubt."""
    owners = district.claimants(account.email)
    if len(owners) != 1 or owners[0].dcid in district.google.by_dcid:  # who has an account is linked to no other
        return False
    return not link_doubt(owners[0], account, district)


def possible_account(person: Staff, accounts: Sequence[Account], district: District) -> Plan:
    """Nothing is done while one of these accounts may be this person's already: each is told with every way out."""
    rule, why = Rule.POSSIBLE_ACCOUNT, ", so none is created"
    if not person.is_active:
        rule, why = Rule.LEFT_OPEN, ", and is open though the person left"
    doubts = (replace(in_doubt(person, account, district, rule, why), part=account.id) for account in accounts)
    return Plan(person, remarks=tuple(doubts))


def in_doubt(person: Staff, account: Account, district: District, rule: Rule, why: str = "") -> Remark:
    """An account that may be the person's: what is the same, and both ways out, so that the next run is silent.

    The alias of what may be the person's own account is never advised away, nor a colleague's account into HANDS_OFF.
    """
    owner, is_unclaimed, is_like = district.owner(account), district.is_unclaimed(account), looks_like(person, account)
    carries = "has no DCID"
    if account.dcid is not None:
        rule = Rule.PROBABLE_REHIRE if rule in {Rule.NOT_LINKED, Rule.POSSIBLE_ACCOUNT} else rule
        carries = f"carries the DCID of {owner}" if owner else f"carries DCID {account.dcid}, nobody's in PowerSchool"
    name = "" if account.folded_name in person.folded_names else f", but another name ({account.name})"
    other = "give the person another address in PowerSchool"
    if person.email not in account.addresses or not person.is_active:
        other = name_in_hands_off(account)
    elif is_like and is_unclaimed:  # or it is told all the same as a possible account
        other += f" and {name_in_hands_off(account)}"
    elif person.email in account.aliases and not is_like:
        other = f"remove the alias there, or {other}"
    close = "" if person.is_active else "suspend it, or "
    link = link_by_hand(person, account, district.settings)
    decide = f"; {OR_DECIDE}" if is_unclaimed and person.dcid not in district.not_theirs else ""
    seen = f"{account.email} {carries}, with the same {same_words(person, account)}{name}{why}"
    return about(person, rule, seen, f"if it is theirs, {close}{link}; if not, {other}{decide}")


def with_hands_off(plan: Plan, district: District) -> Plan:
    """The plan; or where the account is never written, only the remark that says so, if anything would be due."""
    remark = hands_off(plan.person, plan.had, district, has_left=not plan.person.is_active)
    is_due = plan.changes or plan.needs_attention
    is_doubtful = any(plan.has(rule) for rule in (Rule.NOT_LINKED, Rule.PROBABLE_REHIRE, Rule.SKIPPED_OPEN))
    if plan.has(Rule.SOMEBODY_ELSES) or (is_doubtful and plan.had and not looks_like(plan.person, plan.had)):
        # What an account is that most likely is another's says nothing of this person, but what HANDS_OFF names does.
        is_due = remark is not None and remark.rule in {Rule.HANDS_OFF, Rule.HANDS_OFF_OVER}
    return replace(plan, changes=(), remarks=(remark,)) if remark and is_due else plan


def hands_off(person: Staff, had: Account | None, district: District, *, has_left: bool) -> Remark | None:
    """Why this person's account is never written, if so."""
    addresses = {person.email, *(had.addresses if had else ())}
    named = [*in_hands_off(person.dcid, addresses, district)]
    named += in_hands_off(had.dcid, (), district) if had else ()  # a rehire's account carries that of the older record
    if named:
        reason, until, is_valid = max(named, key=lambda entry: entry[1])  # the latest day counts
        seen = f"{reason} (HANDS_OFF until {until})"
        over = "remove the entry, and the rules hold again, or give it a new day"
        return about(person, Rule.HANDS_OFF, seen) if is_valid else about(person, Rule.HANDS_OFF_OVER, seen, over)
    if had is None:
        return None
    if had.is_admin and has_left and had.is_open:
        return about(person, Rule.SUPER_ADMIN_LEFT, f"{had.email} is a super admin", "close it in the Admin console")
    if had.is_admin:
        return about(person, Rule.SUPER_ADMIN, f"{had.email} is a super admin", "not written")
    if is_at_or_below(had.org_unit, district.settings.PROTECTED_OUS):
        return about(person, Rule.PROTECTED, f"{had.email} lies in {had.org_unit} (PROTECTED_OUS)", "not written")
    if district.admin_email in had.addresses:
        return about(person, Rule.OWN_ADMIN, f"{had.email} is GOOGLE_ADMIN_EMAIL", "not written")
    return None


def nobodys_accounts(district: District) -> Iterator[Remark]:
    """Accounts whose DCID is not in PowerSchool: told, never written; an open one asks for a person."""
    without = [person for person in district.powerschool.active if person.dcid not in district.google.by_dcid]
    likely = grouped((key, f"{p.name}, DCID {p.dcid}") for p in without for key in (p.email, *p.folded_names))
    for account in sorted(district.google.accounts.values(), key=lambda account: account.email):
        if account.dcid is None or district.owner(account):
            continue
        remark = hands_off(Staff(account.dcid, "", "", account.email), account, district, has_left=False)
        seen = f"DCID {account.dcid}, in {account.org_unit}, last sign-in {account.last_sign_in or 'never'}"
        if remark is None and account.is_open:
            remedy = f"correct its DCID, or suspend it; if it is to stay open, {name_in_hands_off(account)}"
            if owners := likely.get(account.email) or likely.get(account.folded_name):
                remedy = f"if it is that of {'; '.join(dict.fromkeys(owners))}, do as their line says; if not, {remedy}"
            yield Remark(Rule.OPEN_FOR_NOBODY, account.email, seen, remedy, f"account:{account.id}")
        elif remark and remark.rule is Rule.HANDS_OFF_OVER and account.is_open:
            yield replace(remark, who=account.email, subject=f"account:{account.id}")
        else:
            yield Remark(Rule.NOT_IN_POWERSCHOOL, account.email, seen, remark.reason if remark else "")


# Deciding what the account should be: what the rules demand is `wanted`, and an exception takes something out of it.

Wish = tuple[str, str]  # an attribute and the text it should have
Wishes = Iterator[Wish | Remark]  # what a rule demands, and why it demands less


def plan_creation(person: Staff, district: District) -> Plan:
    """A new account with everything in one insert; nobody is created while an account may already be theirs."""
    google, aside = district.google, district.not_theirs.get(person.dcid, ())
    if person.email in google.groups:
        return left_alone(person, Rule.ADDRESS_TAKEN, "the address is a group's", "give the group or person another")
    if failure := google.unconfirmed.get(person.dcid):
        return left_alone(person, Rule.NOT_LOOKED_UP, "not created, the next run tries again", failure)
    for gone in google.deleted:
        if gone.dcid == person.dcid or (gone.email == person.email and gone.id not in aside):
            seen = f"not created: {gone.email}, deleted on {gone.deleted_on}, has this address or DCID"
            other = f"if it is not theirs, give the person another address {OR_DECIDE}, or "
            other = "" if gone.dcid == person.dcid else other
            remedy = f"restore it in the Admin console (Users, Recently deleted), or {other}wait until 20 days are over"
            return Plan(person, remarks=(about(person, Rule.RECENTLY_DELETED, seen, remedy, gone.id),))
    blank = Account("", dict.fromkeys(ATTRIBUTES, ""))
    wanted, remarks = wishes_and_remarks(wanted_open(person, blank, district))
    if wanted and (twins := possible_twins(person, district)):
        return possible_account(person, twins, district)
    if person.odd or not {GIVEN_NAME, ORG_UNIT} <= wanted.keys():
        return Plan(person, remarks=remarks)
    filled = {name: text for name, text in wanted.items() if text and name != SUSPENDED}
    return Plan(person, None, (Change("create", {}, filled),), remarks)


def wanted_open(person: Staff, had: Account, district: District) -> Wishes:
    """Of the account of somebody who works here: open, and as PowerSchool has it; a new one has no id."""
    settings = district.settings
    rule, seen, way = Rule.LOCKED_OUT, why_stays_suspended(had, district) if had.is_suspended else "", "open"
    if had.archived:
        rule, seen, way = Rule.ARCHIVED, f"{had.email} is archived", "unarchive"
    if seen:
        yield about(person, rule, f"active, but {seen}", open_or_leave(had, way))
        return
    if fault := homeschool_fault(person, district):
        yield fault
        return
    address = [*wanted_address(person, had, district)]
    waits = any(isinstance(entry, Remark) for entry in address)
    yield from address
    yield from wanted_name(person, had, settings, is_renamed=bool(address) and not waits, waits=waits)
    yield from wanted_org_unit(person, had, district)
    yield from wanted_fields(person, district)
    yield SUSPENDED, NO
    yield settings.dcid_attribute, str(person.dcid)
    if settings.SET_EMPLOYEE_ID and person.teacher_number not in {"", *had.employee_id_texts}:
        yield EMPLOYEE_ID, person.teacher_number


def wanted_closed(person: Staff, had: Account, district: District) -> Wishes:
    """Of the account of somebody who left: suspended, and in or below SUSPENDED_OU, the mark that all was done."""
    settings = district.settings
    is_away = is_at_or_below(had.org_unit, [settings.SUSPENDED_OU])
    if had.is_delegated_admin:
        seen = f"{had.email} still has an admin role"
        yield about(person, Rule.ADMIN_ROLE, seen, "take it away in the Admin console")
    if had.archived or (had.is_suspended and is_away):
        return
    if is_at_or_below(had.org_unit, settings.TEMPORARY_REACTIVATION_OUS):
        yield about(person, Rule.TEMPORARY, f"{had.email} lies in {had.org_unit}", "neither suspended nor moved")
    elif owners := district.powerschool.active_by_address.get(had.email):
        seen = f"PowerSchool gives {had.email} to {owners[0]}, who is active"
        yield about(person, Rule.ADDRESS_IN_USE, seen, "not suspended")
    elif had.is_open and not district.only and (last := hold_window(settings, district.today)):
        yield about(person, Rule.CALENDAR, f"{had.email} is not suspended until {last} is over (HOLD_SUSPENSIONS)")
    else:
        yield SUSPENDED, YES
        yield ORG_UNIT, had.org_unit if is_away else district.suspended_ou


def wishes_and_remarks(rules: Iterable[Wish | Remark]) -> tuple[dict[str, str], tuple[Remark, ...]]:
    """What rules demand, and why they demand less, each once."""
    said = [*rules]
    wishes = dict(entry for entry in said if not isinstance(entry, Remark))
    return wishes, tuple(dict.fromkeys(entry for entry in said if isinstance(entry, Remark)))


def differences(had: Account, wanted: Mapping[str, str], district: District) -> tuple[Change, ...]:
    """What of `wanted` differs from `had`, by kind; no exceptions in here: they have bent `wanted` before."""
    attributes = district.attributes
    kind_of = {name: attributes[name].kind for name in wanted}
    if wanted.get(SUSPENDED) == NO:
        kind_of[SUSPENDED] = "reactivate"
    if is_at_or_below(wanted.get(ORG_UNIT, ""), [district.settings.SUSPENDED_OU]):
        kind_of[ORG_UNIT] = "move to suspended"
    differs = {name for name in wanted if not is_same(had.values.get(name, ""), wanted[name], attributes[name])}
    changes = []
    for kind in KINDS:
        names = [name for name in wanted if kind_of[name] == kind and (kind != "update" or name in differs)]
        if differs & set(names):
            # Noted too, as an undo or a later run goes by it.
            noted = {"rename": {"aliases": " ".join(had.aliases)}, "suspend": {ORG_UNIT: had.org_unit}}
            before = noted.get(kind, {}) | {name: had.values.get(name, "") for name in names}
            changes.append(Change(kind, before, {name: wanted[name] for name in names}))
    return tuple(changes)


def is_same(had: str, wanted: str, attribute: Attribute) -> bool:
    return had == wanted or form(had, attribute.type) == form(wanted, attribute.type) is not None


NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?")


def form(text: str, field_type: str) -> str | None:
    """The text in the one form in which values of this type are compared, or None where it does not fit."""
    if not text or field_type == "PATH":
        return text.casefold()
    if field_type == "BOOL":
        return text.lower() if text.lower() in {YES, NO} else None
    if field_type in {"INT64", "DOUBLE"} and not NUMBER.fullmatch(text):
        return None
    try:
        if field_type == "INT64":
            return str(int(text)) if -(2**63) <= int(text) < 2**63 else None
        if field_type == "DOUBLE":
            return str(float(text))
        if field_type == "DATE":
            return date.fromisoformat(text).isoformat()
    except ValueError:
        return None
    return None if len(text) > LONGEST_VALUE or (field_type == "EMAIL" and "@" not in text) else text


def why_stays_suspended(had: Account, district: District) -> str:
    """Why a suspended account of an active person is not reactivated, or ""."""
    settings = district.settings
    if had.suspension_reason not in BY_ADMIN:
        return f"Google itself has locked {had.email} ({had.suspension_reason.lower()})"
    if had.is_admin or had.is_delegated_admin:
        return f"{had.email} is suspended and has an admin role"
    if not is_closed_by_us(had, settings) and not is_cut_off(had, district):
        return f"{had.email} is suspended in {had.org_unit}, not in {settings.SUSPENDED_OU}"
    return ""


def is_cut_off(had: Account, district: District) -> bool:
    """True for an account whose closing by a run was cut off before its move, and that nobody has touched since."""
    closed, org_unit = district.closings.get(had.id, (None, ""))
    is_away = is_at_or_below(had.org_unit, [district.settings.SUSPENDED_OU])
    if closed is None or is_away or had.org_unit.casefold() != org_unit.casefold():
        return False
    suspended = datetime.fromisoformat(had.suspension_time.replace("Z", "+00:00")) if had.suspension_time else closed
    return abs((suspended - closed).total_seconds()) <= CUT_OFF_SECONDS


def hold_window(settings: Settings, today: date) -> str:
    """The last day of the hold window that today lies in, or ""; a window may cross New Year."""
    day = today.strftime("%m-%d")
    for first, last in settings.HOLD_SUSPENSIONS:
        if first <= day <= last if first <= last else day >= first or day <= last:
            return last
    return ""


def homeschool_fault(person: Staff, district: District) -> Remark | None:
    if person.homeschool == NO_SCHOOL:
        seen = "; ".join(dict.fromkeys({"homeschool_id": "no home school in PowerSchool", **person.odd}.values()))
        return about(person, Rule.HOME_SCHOOL, seen, "choose one there")
    if not district.school_name(person.homeschool):
        seen = f"the home school {person.homeschool} is not in SCHOOLS"
        remedy = "correct it in PowerSchool, or name its org unit in BUILDING_OUS"
        return about(person, Rule.HOME_SCHOOL, seen, remedy)
    return None


def wanted_address(person: Staff, had: Account, district: District) -> Wishes:
    """PowerSchool's address, if Google can have it and nobody else holds it; a blank one keeps the account's."""
    if person.email in {"", had.email, *had.domain_aliases}:
        return
    keeps = f"{had.email} keeps its address"
    holder = district.google.by_address.get(person.email)
    if not is_ours(person.email, district.settings):
        yield about(person, Rule.FOREIGN_ADDRESS, "the address is outside GOOGLE_DOMAINS", keeps)
    elif not VALID_ADDRESS.fullmatch(person.email):
        yield about(person, Rule.FAULTY_ADDRESS, NO_ADDRESS, f"{keeps}: correct PowerSchool")
    elif holder is None or holder.id == had.id:
        yield EMAIL, person.email
    else:
        whose = f"{holder.name} ({holder.email}{'' if holder.email == person.email else ' as an alias'})"
        seen = f"cannot rename {had.email} to {person.email}: that address belongs to {whose}"
        remedy = "give that account another address and remove the alias that this leaves, or "
        if holder.email != person.email:
            remedy = "remove the alias there, or " if person.email in holder.aliases else ""
        elif (owner := district.owner(holder)) and owner.email == had.email:
            one, other = sorted((had.email, holder.email))  # so that both people's lines say the same
            remedy = f"the two are exchanged: in the Admin console give {one} a third address and remove its alias "
            remedy += f"{one}, then give {other} the address {one} and remove its alias {other}; or "
        yield about(person, Rule.ADDRESS_TAKEN, seen, f"{remedy}correct PowerSchool")


def wanted_name(person: Staff, had: Account, settings: Settings, is_renamed: bool, waits: bool) -> Wishes:
    """Given and family name; UPDATE_NAMES says when they follow, and they wait for an address that has to wait."""
    if waits or (had.id and person.folded_name == had.folded_name):
        return
    if settings.UPDATE_NAMES or is_renamed:
        fault = name_fault(person)
        new = ((GIVEN_NAME, proper_case(person.first_name)), (FAMILY_NAME, proper_case(person.last_name)))
        yield from (fault,) if fault else new
    elif person.folded_name[1] not in {"", had.folded_name[1]}:
        seen = f"the family name in Google is {had.values[FAMILY_NAME]}"
        remedy = "if PowerSchool is right, change it in the Admin console; if not, correct PowerSchool"
        yield about(person, Rule.NAME_DIFFERS, seen, remedy)


def name_fault(person: Staff) -> Remark | None:
    """Why Google would refuse the name (users resource: both parts, at most 60 characters each, no < or >), if so."""
    for part, text in (("first", person.first_name), ("last", person.last_name)):
        if not 0 < len(text) <= LONGEST_NAME or {"<", ">"} & set(text):
            seen = f"the {part} name has {len(text)} characters: Google takes 1 to {LONGEST_NAME}, and no < or >"
            return about(person, Rule.FAULTY_NAME, seen, "correct it in PowerSchool")
    return None


NUMERALS = {"II", "III", "IV", "VI", "VII", "VIII"}
# What of a name begins with a capital: the O' of O'Brien, the Mc of McDonald, and words.
CAPITALIZED = re.compile(
    r"[^\W\d_]['\u2019](?=[^\W\d_])|mc(?=[^\W\d_]{2})|[^\W\d_]+(?:['\u2019][^\W\d_]+)*", re.IGNORECASE
)


def proper_case(name: str) -> str:
    """A name in one case only with capitals where they belong (O'Brien, McDonald, III); any other as it stands."""
    if not (name.isupper() or name.islower()):
        return name
    name = unicodedata.normalize("NFC", name)
    return CAPITALIZED.sub(lambda part: part[0] if part[0] in NUMERALS else part[0].capitalize(), name)


def wanted_org_unit(person: Staff, had: Account, district: District) -> Wishes:
    """The building's org unit, unless the account lies where it is not moved, or the org unit does not exist."""
    settings, org_units = district.settings, district.google.org_units
    if "staff_type" in person.odd:
        return
    if is_at_or_below(had.org_unit, settings.TEMPORARY_REACTIVATION_OUS):
        seen = f"active again, but {had.email} lies in {had.org_unit}"
        remedy = "not moved, and left open should they leave: move it in the Admin console"
        yield about(person, Rule.TEMPORARY, seen, remedy)
        return
    path = building_org_unit(person, district)
    target = org_units.get(path.lower())
    if is_frozen(had.org_unit, settings.FROZEN_OUS):
        if target and target.casefold() != had.org_unit.casefold():
            yield about(person, Rule.FROZEN, f"{had.email} stays in {had.org_unit} (FROZEN_OUS)")
    elif target:
        yield ORG_UNIT, target
    else:
        seen, remedy = f"the org unit {path} does not exist in Google", org_unit_remedy(path, settings, org_units)
        yield about(person, Rule.MISSING_ORG_UNIT, seen, remedy)


def is_frozen(path: str, frozen: Iterable[str]) -> bool:
    """True if the parts of a frozen path stand anywhere in this path; whole parts only."""
    return any(f"{entry}/".casefold() in f"{path}/".casefold() for entry in frozen)


def building_org_unit(person: Staff, district: District) -> str:
    """The org unit the person belongs in, whether Google has it or not."""
    settings, school = district.settings, district.school_name(person.homeschool)
    if staff_type(person) == TYPE_SUBSTITUTE or school.casefold() == settings.SUBSTITUTE_BUILDING.casefold():
        return settings.SUBSTITUTE_OU
    usual = f"{settings.STAFF_OU}/{school}{settings.BUILDING_OU_SUFFIX}"
    return settings.BUILDING_OUS.get(person.homeschool, usual)


def org_unit_remedy(path: str, settings: Settings, org_units: Mapping[str, str]) -> str:
    """What to do about an org unit of staff that Google does not have."""
    near = nearly(path, org_units)
    is_building = path != settings.SUBSTITUTE_OU
    renamed = "rename the org unit of a school that was renamed, " if is_building else ""
    other = "name another one in BUILDING_OUS" if is_building else "correct SUBSTITUTE_OU"
    return f"{f'did you mean {near}? If not, ' if near else renamed}{CREATE_OR} {other}"


def staff_type(person: Staff) -> int:
    """The staff type at the home school: the lowest of 1 to 3, else 4, else 0; 2 without an active row there."""
    types = [kind for school, kind in person.schools if school == person.homeschool]
    known = [kind for kind in types if TYPE_UNASSIGNED < kind <= TYPE_SUBSTITUTE]
    return min(known, default=TYPE_UNASSIGNED) if types else TYPE_STAFF


# A value of a person that a field can hold -> the type of field that --setup makes for it, "" where any may be.
PERSON_VALUES = {
    "dcid": "INT64", "homeschool_id": "INT64", "school_access_list": "STRING", "staff_type": "INT64",
    "staff_group": "INT64", "teacher_number": "", "building": "STRING",
}  # fmt: skip


def values_of(person: Staff, district: District) -> dict[str, str]:
    """Every value of a person that a field can hold, as text."""
    alias = district.settings.BUILDING_ALIASES.get(person.homeschool)
    return {
        **person.extension,
        "dcid": str(person.dcid),
        "homeschool_id": str(person.homeschool),
        "school_access_list": ";".join(map(str, sorted({school for school, _ in person.schools} - {NO_SCHOOL}))),
        "staff_type": str(staff_type(person)),
        "staff_group": person.group,
        "teacher_number": person.teacher_number,
        "building": alias or district.school_name(person.homeschool),
    }


def wanted_fields(person: Staff, district: District) -> Wishes:
    """The text of every field but the DCID's; what is odd, does not fit or is ambiguous stays as it is, and is told."""
    for seen, value in {seen: value for value, seen in person.odd.items()}.items():
        yield about(person, Rule.VALUE, seen, "correct it in PowerSchool", part=value)
    values = values_of(person, district)
    for name, attribute in district.attributes.items():
        value, text = attribute.value, values.get(attribute.value, "")
        if name == EMPLOYEE_ID or attribute.kind == "link" or value in person.odd or value not in values:
            continue
        if value in person.ambiguous:
            table = district.settings.EXTENSION_COLUMNS[value].partition(".")[0]
            seen = f"more than one {attribute.label.rpartition('.')[2]} in {table} of PowerSchool"
            yield about(person, Rule.VALUE, seen, "delete all but one (Google unchanged)", part=value)
        elif (fitting := form(text, attribute.type)) is None:
            shown = "(private)" if value in district.settings.PRIVATE_VALUES else f"'{shorten(text)}'"
            seen = f"{shown} does not fit {attribute.label} ({attribute.type}, {LONGEST_VALUE} characters)"
            yield about(person, Rule.VALUE, seen, "correct it in PowerSchool (Google unchanged)", part=value)
        else:
            yield name, fitting


def shorten(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


# Limits and sanity checks: what is too much is held, before the first write; no I/O, no clock.


def implausible(powerschool: PowerSchool, google: Google) -> list[Remark]:
    """An answer that is empty is an error until proven otherwise."""
    needed: dict[str, object] = {
        "PowerSchool returned no schools": powerschool.schools,
        "PowerSchool returned no staff": powerschool.staff,
        "PowerSchool returned no active staff (no SCHOOLSTAFF row with status 1)": [*powerschool.active],
        "Google returned no accounts": google.accounts or google.others or not google.is_whole,
    }
    seen = "; ".join(words for words, there in needed.items() if not there)
    remedy = "that cannot be right, so nothing was decided. Check the rights of the two logins"
    return [Remark(Rule.IMPLAUSIBLE, "", seen, remedy)] if seen else []


def foreign_staff(district: District) -> list[Remark]:
    """More than half of the active staff with an address outside GOOGLE_DOMAINS: most likely it is misspelt."""
    staff = [person for person in district.powerschool.active if person.email]
    outside = sum(not is_ours(person.email, district.settings) for person in staff)
    seen = f"{outside} of {len(staff)} active staff have an address outside GOOGLE_DOMAINS"
    return [Remark(Rule.IMPLAUSIBLE, "", seen, "correct it in config.py")] if 2 * outside > len(staff) else []


def rebuilt_powerschool(plans: Sequence[Plan], district: District) -> list[Remark]:
    """Many accounts that look like somebody else's by their DCID: more than 5 people and 5 % of those found."""
    strange = [plan for plan in plans if plan.has(Rule.SOMEBODY_ELSES)]
    found = sum(plan.had is not None and plan.had.dcid == plan.person.dcid for plan in plans)
    if not district.google.is_whole or len(strange) <= 5 or len(strange) <= 0.05 * found:
        return []
    some = " ".join(subject_of(plan.person) for plan in strange[:5])
    seen = f"{len(strange)} of {found} accounts look like somebody else's by their DCID: was PowerSchool rebuilt?"
    return [Remark(Rule.IMPLAUSIBLE, "", f"{seen} Look at some of them with --explain before anything else: {some}")]


def too_much(plans: Sequence[Plan], district: District) -> list[Remark]:
    """Why kinds of change are held back: a remark for each reason, about the kind."""
    limits = {**district.settings.LIMITS, **district.allowed}
    counts = Counter(kind for plan in plans for kind in limited_kinds(plan))
    over = [kind for kind, limit in limits.items() if counts[kind] > limit]
    held = [limit_remark(kind, plans, f", the limit is {limits[kind]}") for kind in over]
    if district.only or not district.google.is_whole:
        return held
    shares = [] if "suspend" in district.allowed else shares_held(plans, district, is_held="suspend" in over)
    return [*(remark for remark in linking_first(district) if counts[remark.who]), *held, *shares]


def shares_held(plans: Sequence[Plan], district: District, *, is_held: bool) -> Iterator[Remark]:
    """Suspensions wait where they are too large a share of the open accounts, or too many of these are nobody's.

    Of those that a limit holds already the share is not told besides.
    """
    opened = [a for a in district.google.accounts.values() if a.is_open and a.dcid is not None]
    nobodys = sum(district.owner(account) is None for account in opened)
    count = sum("suspend" in limited_kinds(plan) for plan in plans)
    known, share = len(opened) - nobodys, district.settings.LIMIT_SHARE
    if count > 3 and count > share * known and not is_held:
        why = f" of {known} with an open account, the share is {share:g} (LIMIT_SHARE)"
        yield limit_remark("suspend", plans, why)
    if nobodys > 5 and nobodys > 0.05 * len(opened):
        seen = f"{nobodys} of {len(opened)} open accounts with a DCID are nobody's in USERS: is PowerSchool read whole?"
        right = f"if that is right, --allow suspend={max(count, 1)}"
        yield Remark(Rule.LIMIT, "suspend", f"{seen} Nobody is suspended", right)


def limit_remark(kind: str, plans: Sequence[Plan], why: str) -> Remark:
    held = [str(plan.person) for plan in plans if kind in limited_kinds(plan)]
    seen = f"{people(len(held))}{why}, so nobody of these is changed"
    allow = quoted(f"{kind}={len(held)}")
    return Remark(Rule.LIMIT, kind, seen, f"if that is right, --allow {allow}. Held: {'; '.join(held)}")


def linking_first(district: District) -> list[Remark]:
    """While most staff accounts carry no DCID, nobody is created or suspended."""
    linked = unlinked = 0
    for person in (person for person in district.powerschool.active if not skip_rule(person, district.settings)):
        holder = district.google.by_address.get(person.email)
        if person.dcid in district.google.by_dcid:
            linked += 1
        elif holder and holder.email == person.email:
            unlinked += not is_at_or_below(holder.org_unit, district.settings.PROTECTED_OUS)
    if linked >= unlinked:
        return []
    few = f"only {linked} of the {linked + unlinked} active staff found in Google carry their DCID: link them first"
    ways = "let the links through, run it again, and link those in doubt by hand"
    suspended = Remark(Rule.LIMIT, "suspend", f"{few}. Until half of them do, nobody is suspended", ways)
    lifted = f"{ways}; --allow create=N creates N people all the same"
    created = Remark(Rule.LIMIT, "create", f"{few}. Until half of them do, nobody is created", lifted)
    return [suspended] if "create" in district.allowed else [created, suspended]


def limited_kinds(plan: Plan) -> frozenset[str]:
    """The kinds under which this person counts against LIMITS."""
    kinds = set(plan.kinds)
    if plan.had is not None and not plan.had.is_suspended:
        kinds.discard("move to suspended")
    updated = [text for change in plan.changes if change.kind == "update" for text in change.after.values()]
    if "" in updated and not plan.undoes:  # what an undo empties was empty before the run
        kinds.add("clear")
    return frozenset(kinds)


def without_held(plan: Plan, held: frozenset[str], district: District) -> Plan:
    """The plan without what is held: everything of the person, or only the held change and what goes with it."""
    mine = limited_kinds(plan) & held
    if any(KINDS[kind].holds_person for kind in mine):
        return replace(plan, changes=())
    gone = mine | {waiting for kind in mine for waiting in KINDS[kind].holds}

    def left_of(change: Change) -> Change:
        fields = change.after.items() if change.kind == "update" else ()
        waits = [n for n, text in fields if district.attributes[n].value in gone or ("clear" in mine and not text)]
        return part_of(change, change.after.keys() - waits)

    kept = (left_of(change) for change in plan.changes if change.kind not in gone)
    return replace(plan, changes=tuple(change for change in kept if change.after or change.before))


def part_of(change: Change, names: Iterable[str]) -> Change:
    """The change of these attributes alone; what it only notes, as the aliases before a rename, stays."""
    gone = set(change.after) - set(names)
    sides = [{name: text for name, text in side.items() if name not in gone} for side in (change.before, change.after)]
    return Change(change.kind, *sides)


# Reading PowerSchool: one read-only snapshot, one statement for each table.

# What is read of each table, in the order of the rows. Extension tables are read by themselves: a person may have no
# row there or several, and no aggregate takes a CLOB (ORA-00932).
COLUMNS = {
    "schools": ("school_number", "name"),
    "users": ("dcid", "first_name", "last_name", "preferredname", "email_addr", "teachernumber", "homeschoolid",
              "groupvalue"),
    "schoolstaff": ("users_dcid", "schoolid", "staffstatus", "status"),
}  # fmt: skip
BAD_ADDRESS = "it must look like host:1521/PSPRODDB (a service name, not a SID)"
NO_CONNECTION = "there is no connection: check host, port, firewall and VPN or tunnel"
# Codes of Oracle and its driver, and what to do.
ORACLE_REMEDIES = {
    "ORA-01017": "refused: correct POWERSCHOOL_READ_USER and POWERSCHOOL_DB_PASSWORD (not tried again: it would lock)",
    "ORA-28000": "the login is locked: ask whoever runs the database to unlock it",
    "ORA-28001": "the login's password has expired: set a new one in Oracle and in POWERSCHOOL_DB_PASSWORD",
    "ORA-00942": 'grant SELECT on this table, set POWERSCHOOL_SCHEMA = "PS" in config.py, or correct EXTENSION_COLUMNS',
    "ORA-01031": "the login lacks a right: grant it SELECT on the tables named in README.md",
    "ORA-00904": "a column is not there: correct EXTENSION_COLUMNS in config.py",
    "ORA-01555": "the database could not keep the snapshot long enough: run again at a quieter time",
    "ORA-01033|ORA-01034|ORA-12528": "the database is starting, stopping or down: run again later",
    "DPY-6001|ORA-12514": "the listener does not know this service: correct it after the slash, or run again later",
    "DPY-6005|ORA-12170|ORA-12541|ORA-12545": NO_CONNECTION,
    "DPY-3001|ORA-12660": "the server asks for native network encryption: set ORACLE_CLIENT_DIR to a client's folder",
    "DPY-6000": "the listener refused: run again later; if it stays so, ask whoever runs the database",
    "DPY-4011": "the connection was closed: run again; if it always is, it has to be encrypted: set ORACLE_CLIENT_DIR",
    "DPY-3010": "the server is older than 12.1: set ORACLE_CLIENT_DIR to the folder of a client up to version 19",
    "DPY-3015": "the login has only an old password verifier: have its password set anew, or set ORACLE_CLIENT_DIR",
    "DPY-4024": "PowerSchool did not answer in TIMEOUT_SECONDS: run again, or raise it in config.py",
    "DPY-2049|DPY-40(00|17|18|21|26|27|28)|ORA-12154|DPY-6003|ORA-12505": BAD_ADDRESS,
    "DPI-1047": "no client in ORACLE_CLIENT_DIR (on Linux also LD_LIBRARY_PATH): correct it, or unset it for thin mode",
}  # fmt: skip


def read_powerschool(run: Run) -> PowerSchool:
    """Schools and everybody in USERS with their active buildings, as of one moment; RunError if anything fails."""
    settings = run.settings
    with connect_powerschool(settings) as connection:
        tables = columns_of(settings).items()
        rows = {table: read_rows(connection, table, columns, settings) for table, columns in tables}
    return powerschool_from(rows, settings)


def columns_of(settings: Settings) -> dict[str, tuple[str, ...]]:
    """Each table and the columns that are read of it; of an extension table the person's key comes first."""
    places = (column.lower().partition(".") for column in settings.EXTENSION_COLUMNS.values())
    extension = grouped((table, column) for table, _, column in places)
    return COLUMNS | {table: ("usersdcid", *dict.fromkeys(columns)) for table, columns in extension.items()}


def read_rows(connection: oracledb.Connection, table: str, columns: Sequence[str], settings: Settings) -> list[Any]:
    """Every row of a table, or a RunError: part of an answer is no answer."""
    place = f"{settings.POWERSCHOOL_SCHEMA}.{table}".lstrip(".")
    doing = f"reading {place.upper()}"
    binds = {"status_current": STATUS_CURRENT} if table == "schoolstaff" else {}
    where = " WHERE status = :status_current" if binds else ""
    sql = f"SELECT {', '.join(columns)} FROM {place}{where}"  # noqa: S608 - names that are letters, digits and _ $ #
    try:
        with connection.cursor() as cursor:
            cursor.arraysize = 1000
            cursor.prefetchrows = 1001
            cursor.execute(sql, **binds)
            rows: list[Any] = cursor.fetchall()
    except ValueError as error:
        raise RunError(f"PowerSchool, {doing}", f"a value cannot be read ({error})", "correct that row") from None
    except (oracledb.Error, OSError) as error:
        raise oracle_failure(error, doing) from None
    log.debug("PowerSchool: %s: %d rows", doing, len(rows))
    return rows


def powerschool_from(rows: Mapping[str, Sequence[Sequence[Any]]], settings: Settings) -> PowerSchool:
    buildings = grouped((whole(dcid, "SCHOOLSTAFF.USERS_DCID"), row) for dcid, *row, _ in rows["schoolstaff"])
    extension = grouped(
        ((whole(dcid, f"{table}.USERSDCID"), f"{table}.{column}"), text_of(value))
        for table, (_, *columns) in columns_of(settings).items()
        if table not in COLUMNS
        for dcid, *values in rows[table]
        for column, value in zip(columns, values, strict=True)
    )
    staff = (staff_from(row, buildings, extension, settings) for row in rows["users"])
    numbered = (row for row in rows["schools"] if row[0] is not None)
    schools = {whole(number, "SCHOOLS.SCHOOL_NUMBER"): clean(name) for number, name in numbered}
    return PowerSchool(schools, tuple(sorted(staff, key=lambda person: person.dcid)))


def staff_from(
    row: Sequence[Any], buildings: Mapping[Any, Any], extension: Mapping[Any, Any], settings: Settings
) -> Staff:
    """A USERS row with the person's rows of SCHOOLSTAFF, by DCID, and extension values, by DCID and column."""
    user = dict(zip(COLUMNS["users"], row, strict=True))
    dcid = whole(user["dcid"], "USERS.DCID")
    odd: dict[str, str] = {}

    def number_of(value: Any, column: str, of_null: int, *spoilt: str) -> int:
        try:
            return of_null if value is None else whole(value, column)
        except RunError as error:  # of this person alone, unlike a key
            odd.update(dict.fromkeys(spoilt, error.remark.seen))
            return of_null

    schools = set()
    for school, kind in buildings.get(dcid, ()):
        # A school that cannot be read may be the home school, whose staff type counts.
        number = number_of(school, "SCHOOLSTAFF.SCHOOLID", NO_SCHOOL, "school_access_list", "staff_type")
        schools.add((number, number_of(kind, "SCHOOLSTAFF.STAFFSTATUS", TYPE_UNASSIGNED, "staff_type")))
    preferred = clean(user["preferredname"])
    first_name = (preferred if settings.PREFERRED_FIRST_NAME else "") or clean(user["first_name"])
    values = {name: extension.get((dcid, column.lower()), ()) for name, column in settings.EXTENSION_COLUMNS.items()}
    return Staff(
        dcid=dcid,
        first_name=first_name,
        other_first_name=clean(user["first_name"] if first_name == preferred else preferred),
        last_name=clean(user["last_name"]),
        email=clean(user["email_addr"]).lower(),
        teacher_number=clean(user["teachernumber"]),
        homeschool=number_of(user["homeschoolid"], "USERS.HOMESCHOOLID", NO_SCHOOL, "homeschool_id"),
        group=text_of(user["groupvalue"]),
        schools=tuple(sorted(schools)),
        extension={name: min(found, default="") for name, found in values.items()},
        ambiguous=frozenset(name for name, found in values.items() if len(found) > 1),
        odd=odd,
    )


def whole(value: Any, column: str) -> int:
    """A number as an int, which may arrive as 131, 131.0 or "131"; RunError for NULL and anything else."""
    with contextlib.suppress(ValueError, OverflowError, TypeError):
        if float(value) == int(float(value)):
            return int(value)
    raise RunError("PowerSchool", f"{column} holds {value!r}, which is not a whole number", "correct that row")


def text_of(value: Any) -> str:
    """A column's value as trimmed text: NULL is "", 131.0 is "131"."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, datetime):
        value = value.date()
    return "" if value is None else str(value).strip()


def clean(value: Any) -> str:
    """A name, address or number: without control and invisible characters, which nobody typed on purpose."""
    text, joiners = " ".join(text_of(value).split()), "\u200c\u200d"  # letters of Persian and Hindi
    return "".join(c for c in text if c in joiners or unicodedata.category(c) not in {"Cc", "Cf"}).strip()


@contextlib.contextmanager
def connect_powerschool(settings: Settings) -> Iterator[oracledb.Connection]:
    """A connection that reads PowerSchool as of now; RunError with the remedy. The login is tried once, or it locks."""
    oracledb.defaults.fetch_lobs = False
    dsn, password = os.environ["POWERSCHOOL_PROD_DB"], os.environ["POWERSCHOOL_DB_PASSWORD"]
    options = {"user": user_name(), "password": password, "tcp_connect_timeout": settings.TIMEOUT_SECONDS}
    try:
        if client := os.environ.get("ORACLE_CLIENT_DIR"):
            oracledb.init_oracle_client(lib_dir=client)
        # The driver's own time-out ends with the TCP connection: a listener that never answers would hold it for ever.
        answer = in_background(partial(oracledb.connect, dsn, **options))
        connection = answer.result(settings.TIMEOUT_SECONDS + 1)
        connection.call_timeout = int(settings.TIMEOUT_SECONDS * 1000)
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION READ ONLY")
    except (oracledb.Error, OSError, ValueError, TypeError, NoAnswerYet) as error:
        raise oracle_failure(error, "signing in") from None
    try:
        yield connection
    finally:
        with contextlib.suppress(oracledb.Error, OSError):
            connection.close()


def in_background(work: Callable[[], T]) -> Future[T]:
    """Begin this work beside everything else; a program that ends does not wait for it."""
    answer: Future[T] = Future()

    def turn() -> None:
        try:
            answer.set_result(work())
        except Exception as error:  # noqa: BLE001 - told to whoever asks for the result
            answer.set_exception(error)

    threading.Thread(target=turn, daemon=True).start()
    return answer


def user_name() -> str:
    return os.environ.get("POWERSCHOOL_READ_USER") or "PSNavigator"


def oracle_failure(error: Exception, doing: str) -> RunError:
    """One sentence: what was being done, what to do, and Oracle's own words; never the password."""
    reason: BaseException = error
    secret = os.environ["POWERSCHOOL_DB_PASSWORD"]
    while reason.__cause__ and "DPY-6005" in str(reason):  # in which the driver wraps whatever breaks a connection
        reason = reason.__cause__
    own_words = " ".join(str(reason).split("\n")[0].split()) or "no answer in TIMEOUT_SECONDS"
    place = f"PowerSchool ({user_name()} at POWERSCHOOL_PROD_DB={os.environ.get('POWERSCHOOL_PROD_DB', '')}), {doing}"
    # Of several codes in Oracle's words the last that is known is nearest to the reason.
    codes = re.findall(r"\b(?:ORA|DPY|DPI)-\d+", str(reason))
    known = [remedy for code in codes for pattern, remedy in ORACLE_REMEDIES.items() if re.fullmatch(pattern, code)]
    remedy = known[-1] if known else "see Troubleshooting in README.md" if codes else NO_CONNECTION
    if "bequeath" in str(reason):  # the driver's word for an address without a host
        remedy = BAD_ADDRESS
    place, own_words = (words.replace(secret, "(hidden)") for words in (place, own_words))
    return RunError(place, "", f"{remedy} [{own_words}]")


# Reading Google: the whole account once, and single accounts as they are this moment.

Schemas = Mapping[str, Mapping[str, Any]]  # "Schema.Field" -> the field as Google defines it
PAGE_SIZE = 500  # accounts in one answer, the most that Google gives
FEW = 20  # people for whom Google is asked for what concerns them alone
CREATE_OR = "create it with --setup, or"
# Fields of the users resource besides ATTRIBUTES.
USER_FIELDS = (
    "id,aliases,nonEditableAliases,suspensionReason,suspensionTime,archived,isAdmin,isDelegatedAdmin,lastLoginTime,customSchemas,"
    + ",".join(dict.fromkeys(name.partition(".")[0] for name in ATTRIBUTES))
)
# Status and reason of refusals that concern every request, and what to do.
REFUSED_REQUESTS = {
    "401 .*": "sign in again with  python sync.py --authorize  (with a service account: make a new key)",
    "403 (insufficientPermissions|ACCESS_TOKEN_SCOPE_INSUFFICIENT)": "the sign-in lacks a scope: "
    "run  python sync.py --authorize  and tick every box (README.md, step 3)",
    "403 domainCannotUseApis": "switch on API access in the Admin console, Security, API controls",
    "403 (accessNotConfigured|SERVICE_DISABLED)": "enable the Admin SDK API in the Cloud project and wait some minutes",
}


def read_frame(run: Run) -> Google:
    """Org units and the fields of the custom schemas in use, yet without accounts; RunError for anything missing."""
    google, _, remarks = look_at_frame(run)
    if faults := [remark for remark in remarks if remark.rule.level == ERROR]:
        raise RunError(f"Google lacks what config.py names: {'; '.join(map(str, faults))}")
    return google


def look_at_frame(run: Run) -> tuple[Google, Schemas, list[Remark]]:
    """Org units and fields as far as there are any, all custom schemas, and a remark on each that config.py names."""

    def note_time(response: Mapping[str, str]) -> None:
        with contextlib.suppress(KeyError, ValueError, TypeError):
            run.google_time = parsedate_to_datetime(response["date"])

    settings, customer, mask = run.settings, {"customerId": "my_customer"}, "organizationUnits(orgUnitPath)"
    request = run.api.orgunits.list(**customer, type="all", fields=mask)
    request.add_response_callback(note_time)
    units = objects(call(run, request, "reading org units"), "organizationUnits", "orgUnitPath")
    org_units = {unit["orgUnitPath"].lower(): unit["orgUnitPath"] for unit in units}

    mask = "schemas(schemaName,fields(fieldName,fieldType,multiValued,indexed,readAccessType))"
    answer = call(run, run.api.schemas.list(**customer, fields=mask), "reading custom schemas")
    schemas = {
        f"{schema['schemaName']}.{entry['fieldName']}": entry
        for schema in objects(answer, "schemas", "schemaName")
        for entry in objects(schema, "fields", "fieldName", "fieldType")
    }
    types = {f"customSchemas.{name}": schemas[name]["fieldType"] for name in settings.fields if name in schemas}
    is_indexed = schemas.get(settings.dcid_field, {}).get("indexed", True)
    google = Google({}, org_units=org_units, field_types=types, dcid_is_indexed=is_indexed, is_whole=False)
    return google, schemas, [*missing_org_units(settings, org_units), *schema_remarks(settings, schemas)]


def objects(answer: Mapping[str, Any], name: str, *texts: str) -> list[dict[str, Any]]:
    """The objects of a list in Google's answer that have these texts; what else there is concerns nobody."""
    entries = answer[name] if isinstance(answer.get(name), list) else []
    return [e for e in entries if isinstance(e, dict) and all(isinstance(e.get(text), str) for text in texts)]


def nearly(path: str, org_units: Mapping[str, str]) -> str:
    """The org unit that Google has in place of one, or of one above it, that is most likely misspelt, or ""."""
    if not path or path.lower() in org_units:
        return ""
    # In a short path one letter weighs more.
    near = difflib.get_close_matches(path.lower(), org_units, 1, min(0.94, 1 - 1.1 / len(path)))
    return org_units[near[0]] if near else nearly(path.rpartition("/")[0], org_units)


def did_you_mean(path: str, org_units: Mapping[str, str], otherwise: str) -> str:
    """What to do about an org unit that Google does not have: the likely word first, if there is one."""
    near = nearly(path, org_units)
    return f"did you mean {near}? {otherwise[:1].upper()}{otherwise[1:]}" if near else otherwise


def missing_org_units(settings: Settings, org_units: Mapping[str, str]) -> Iterator[Remark]:
    """The org units without which a run stops. A misspelt protected one is never offered for creation."""
    named = [("STAFF_OU", settings.STAFF_OU), ("SUSPENDED_OU", settings.SUSPENDED_OU)]
    named += [("PROTECTED_OUS", path) for path in settings.PROTECTED_OUS]
    for setting, path in named:
        rule, remedy = Rule.FAULT, f"correct {setting}"
        if setting != "PROTECTED_OUS" and not nearly(path, org_units):
            rule, remedy = Rule.MISSING, f"{CREATE_OR} {remedy}"
        if path.lower() not in org_units:
            seen = f"the org unit {path} ({setting}) does not exist"
            yield Remark(rule, seen, "", did_you_mean(path, org_units, remedy))


def idle_org_units(settings: Settings, org_units: Mapping[str, str], *, is_check: bool = False) -> Iterator[Remark]:
    """The org units that Google does not have, though config.py names them; who waits for one is told besides."""
    shelters = (*settings.FROZEN_OUS, *settings.TEMPORARY_REACTIVATION_OUS)
    idle = [path for path in shelters if not any(is_frozen(unit, [path]) for unit in org_units)]
    idle = [path for path in idle if is_check or path not in AS_SHIPPED]
    # SUBSTITUTE_OU cannot be taken out: as shipped, a district without substitutes needs none.
    places = ({settings.SUBSTITUTE_OU} - AS_SHIPPED) | {*settings.BUILDING_OUS.values()}
    for path in (*idle, *sorted(path for path in places if path.lower() not in org_units)):
        remedy = did_you_mean(path, org_units, "correct it there")
        yield Remark(Rule.SETTING, f"config.py names the org unit {path}, which Google does not have", "", remedy)


def schema_remarks(settings: Settings, schemas: Schemas) -> Iterator[Remark]:
    """Of each field of CUSTOM_SCHEMAS what makes it unusable, or else its type, its index and who may read it."""
    for name, value in settings.fields.items():
        found, words = schemas.get(name, {}), f"the custom schema field {name}"
        kind, reader = found.get("fieldType"), found.get("readAccessType", "ALL_DOMAIN_USERS")
        if not found:
            near = difflib.get_close_matches(name, schemas, 1)
            hint = f" (Google has {near[0]})" if near else ""
            yield Remark(Rule.MISSING, f"{words} does not exist", "", f"{CREATE_OR} correct CUSTOM_SCHEMAS{hint}")
        elif found.get("multiValued"):
            yield fault(f"{words} is multi-valued", "make a single-valued one, and name it in CUSTOM_SCHEMAS")
        elif value == "dcid" and kind != "INT64":
            seen = f"{words} is {kind}, but a DCID needs a whole number (INT64)"
            yield fault(seen, "make another field, and name it in CUSTOM_SCHEMAS")
        else:
            index, remedies = "indexed" if found.get("indexed", True) else "not indexed", []
            if value == "dcid" and index == "not indexed":
                remedies = ["index it, so that a new account is looked up by its DCID too"]
            if reader != "ADMINS_AND_SELF":
                remedies += ["everybody in the domain, students too, can read it: let only admins and the user see it"]
            yield fact(f"{words}: {kind}, {index}, {reader}", "; ".join(remedies))


def list_accounts(run: Run, google: Google, powerschool: Callable[[], PowerSchool | None]) -> Google:
    """Every account of the Google customer, of those that can be nobody's in PowerSchool only addresses and id."""
    accounts: dict[str, Account] = {}
    others: dict[str, str] = {}
    for count, account in enumerate(listed_accounts(run, "listing accounts"), 1):
        staff = powerschool()  # which is read until the first page is there
        if staff and is_nobodys(account, staff, run.settings):
            others |= dict.fromkeys(account.addresses, account.id)
        else:
            accounts[account.id] = account
        if count % PAGE_SIZE == 0:
            progress(run, f"Reading Google: {count} accounts")
    return replace(google, accounts=accounts, others=others, is_whole=True)


def is_nobodys(account: Account, powerschool: PowerSchool, settings: Settings) -> bool:
    """True for a protected account without DCID and without address, employee ID or name of anybody in PowerSchool."""
    if account.dcid is not None or not is_at_or_below(account.org_unit, settings.PROTECTED_OUS):
        return False
    return powerschool.by_trait.keys().isdisjoint((*account.addresses, *account.traits))


def listed_accounts(run: Run, doing: str, **which: str) -> Iterator[Account]:
    """Each account of a listing; one that cannot be read is told. RunError for no list."""
    settings, users = run.settings, run.api.users
    mask = f"nextPageToken,users({USER_FIELDS},deletionTime)"
    request = users.list(customer="my_customer", maxResults=PAGE_SIZE, fields=mask, **which, **projection(settings))
    listing = one_ahead(pages(run, users, request, doing))
    try:
        for user in (user for page in listing for user in page.get("users") or ()):
            try:
                yield account_from(user, settings)
            except (AttributeError, KeyError, TypeError, ValueError):
                who = str(user.get("primaryEmail") or user.get("id") if isinstance(user, dict) else user)[:100]
                remedy = "look at it in the Admin console; it is left out of everything"
                run.note(Remark(Rule.UNREADABLE, who, "Google's answer on this account cannot be read", remedy))
    except GoogleError as error:
        raise RunError(f"Google, {doing}", f"{error} (run again later)") from None


def projection(settings: Settings) -> dict[str, str]:
    return {"projection": "custom", "customFieldMask": ",".join(settings.CUSTOM_SCHEMAS)}


def account_from(user: Mapping[str, Any], settings: Settings) -> Account:
    """A users resource as an Account; GoogleError for an answer that is none, as of a filter."""
    if not (user.get("id") and user.get("primaryEmail")):
        raise GoogleError(0, "", "Google's answer holds an account without id or address")
    values = {}
    for name, attribute in settings.attributes.items():
        *path, last = name.split(".")
        place: Mapping[str, Any] = user
        for part in path:
            place = place.get(part) or {}
        value = place.get(last)
        if attribute.entry:
            value = next((e.get("value") for e in value or () if e.get("type") == attribute.entry), None)
        # Google hands whole numbers of custom fields back as text.
        values[name] = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    dcid = values[settings.dcid_attribute]
    return Account(
        id=user["id"],
        values=values
        | {EMAIL: clean(values[EMAIL]).lower(), ORG_UNIT: values[ORG_UNIT] or "/", SUSPENDED: values[SUSPENDED] or NO},
        dcid=int(dcid) if dcid else None,
        aliases=tuple(clean(alias).lower() for alias in user.get("aliases", ())),
        domain_aliases=tuple(clean(alias).lower() for alias in user.get("nonEditableAliases", ())),
        entries={n: tuple(user.get(n) or ()) for n, attribute in settings.attributes.items() if attribute.entry},
        suspension_reason=user.get("suspensionReason", ""),
        suspension_time=user.get("suspensionTime", ""),
        archived=bool(user.get("archived")),
        is_admin=bool(user.get("isAdmin")),
        is_delegated_admin=bool(user.get("isDelegatedAdmin")),
        last_sign_in=user.get("lastLoginTime", "")[:10].replace("1970-01-01", ""),  # Google's word for never
        deleted_on=user.get("deletionTime", "")[:10],
    )


def get_account(run: Run, key: str) -> Account | None:
    """The account with this id, address or alias as it is now, or None; GoogleError for any other refusal."""
    request = run.api.users.get(userKey=key, fields=USER_FIELDS, **projection(run.settings))
    user = call(run, request, absent=(404,))
    try:
        return None if user is None else account_from(user, run.settings)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise GoogleError(0, "", f"Google's answer on {key} cannot be read") from None


def holder_of(run: Run, address: str) -> tuple[Account | None, bool]:
    """The account with this address, or None, and whether a group has it; GoogleError for any other refusal."""
    try:
        account = get_account(run, address)
    except GoogleError as error:
        if error.status == 400 and "Type not supported" in error.message:
            return None, True
        raise
    return account, account is None and is_group(run, address)


def is_group(run: Run, address: str) -> bool:
    """True if the address belongs to a group, directly or as its alias; 403 means one outside this Google."""
    request = run.api.groups.get(groupKey=address, fields="id")
    return call(run, request, absent=(403, 404)) is not None


def look_up(run: Run, google: Google, person: Staff) -> Google:
    """What Google has, this moment, under the person's address and DCID, or why it could not be asked."""
    try:
        holder, is_groups = holder_of(run, person.email) if person.email else (None, False)
        accounts = {holder.id: holder} if holder else {}
        if google.dcid_is_indexed and not is_groups:
            query = f"{run.settings.dcid_field}={person.dcid}"
            request = run.api.users.list(customer="my_customer", query=query, fields="nextPageToken,users(id)")
            listing = pages(run, run.api.users, request)
            for account_id in {user["id"] for page in listing for user in page.get("users", ())} - accounts.keys():
                account = get_account(run, account_id)
                accounts |= {account_id: account} if account else {}
    except GoogleError as error:
        return Google({}, unconfirmed={person.dcid: str(error)})
    return Google(accounts, groups=frozenset({person.email} if is_groups else ()))


def with_found(google: Google, found: Iterable[Google]) -> Google:
    """What Google is known to have, with what look-ups have found."""
    accounts, groups, unconfirmed = dict(google.accounts), google.groups, dict(google.unconfirmed)
    for more in found:
        accounts |= more.accounts
        groups |= more.groups
        unconfirmed |= more.unconfirmed
    return replace(google, accounts=accounts, groups=groups, unconfirmed=unconfirmed)


def pages(run: Run, resource: Any, request: Any, doing: str = "") -> Iterator[dict[str, Any]]:
    """Every page of a listing, each asked for by `call`; GoogleError for a listing that turns in a circle."""
    seen: set[str] = set()
    while request is not None:
        page = call(run, request, doing)
        yield page
        token = page.get("nextPageToken", "")
        if token in seen:
            raise GoogleError(0, "", "Google gave the same page of a listing again")
        seen.add(token)
        request = resource.list_next(request, page)


def one_ahead(items: Iterator[T]) -> Iterator[T]:
    """The items, each of which is waited for while the one before is worked on."""
    coming = in_background(partial(next, items, None))
    while (item := coming.result()) is not None:
        coming = in_background(partial(next, items, None))
        yield item


def call(run: Run, request: Any, doing: str = "", absent: Collection[int] = ()) -> Any:
    """The answer to one Directory API request; GoogleError if it is refused, RunError if no request can succeed.

    None if it is refused with a status that says `absent`. Where everything else rests on the answer, `doing` says
    what is done: then any refusal is a RunError.
    """
    try:
        return retrying(run, partial(send, run, request))
    except GoogleError as error:
        if error.status in absent and not error.can_heal:
            return None
        if not doing:
            raise
        # One without a reason is a filter's, not Google's.
        lacks_right = error.status == 403 and error.reason
        remedy = "the signed-in account must be an admin who may do this" if lacks_right else "run again later"
        raise RunError(f"Google, {doing}", f"{error} ({remedy})") from None


def send(run: Run, request: Any) -> Any:
    """The answer to a request that is sent once; one of UNREADABLE for one that is none."""
    path, _, query = request.uri.partition("?")
    if re.search(r"[^:/]/(/|$)", path) or re.search(r"Key=(&|$)", query):
        raise ValueError(f"{request.methodId} with an empty key, which would address everything of its kind")
    keep_pace(run, run.queries_sent, QUERIES)
    if request.methodId == "directory.users.insert":
        keep_pace(run, run.creations_sent, CREATIONS)
    log.debug("Google: %s", request.methodId)
    answer = request.execute(http=getattr(run.here, "http", None), num_retries=0)
    # The Google client hands on what is no JSON as it came; a deletion done is answered with nothing at all.
    if request.method == "DELETE":
        is_good = answer in ("", b"")
    else:
        lists = ("users", "groups", "members")
        is_good = isinstance(answer, dict) and all(isinstance(answer.get(name) or [], list) for name in lists)
        is_good = is_good and isinstance(answer.get("nextPageToken", ""), str)
    if not is_good:
        raise TypeError("Google's answer is of another shape")
    return answer


def keep_pace(run: Run, sent: deque[float], limit: tuple[int, float]) -> None:
    """Wait until there were fewer requests than the limit, (most, in so many seconds), and count one more."""
    most, seconds = limit
    while True:
        with run.lock:
            now = time.monotonic()
            pause = sent[0] + seconds - now if len(sent) == most else 0
            if pause <= 0:
                sent.append(now)
                return
        if pause > LONG_WAIT:
            progress(run, f"Google takes {most} queries in {seconds} seconds: waiting {pause:.0f} seconds")
        time.sleep(pause)


def retrying(run: Run, ask: Callable[[], Any]) -> Any:
    """What Google answers, asked again while that can help: growing waits with jitter, RETRY_SECONDS in all."""
    longest = min(run.settings.RETRY_SECONDS, run.deadline - time.monotonic())
    last = time.monotonic() + max(longest, 1)
    waits = enumerate(exponential_sleep_generator(run.settings.RETRY_WAIT_SECONDS, 60), 2)
    while True:
        number, wait = next(waits)
        try:
            return ask()
        except (HttpError, RefreshError, *NO_ANSWER, *UNREADABLE) as error:
            failure = failure_of(run, error)
            heals = failure.can_heal or (number == 2 and "Login Required" in str(failure))  # now and then passing
            if not heals or run.is_over or time.monotonic() + wait > last:
                raise failure from error
        if wait > LONG_WAIT:
            progress(run, f"{failure}: waiting {wait:.0f} seconds before try {number}", every=0)
        time.sleep(wait)


def failure_of(run: Run, error: Exception) -> GoogleError | RunError:
    """What a request that failed so comes to: a RunError where no other can succeed either."""
    if isinstance(error, HttpError):
        status, reason, message = error_words(error)
        for answer, remedy in REFUSED_REQUESTS.items():
            if re.fullmatch(answer, f"{status} {reason}"):
                return RunError(f"Google refuses every request ({status} {reason}: {message})", "", remedy)
        return GoogleError(status, reason, message)
    if isinstance(error, RefreshError):
        return refused_token(error, run.credentials.scopes)
    if isinstance(error, SSLCertVerificationError):
        return unreachable(error)
    if isinstance(error, UNREADABLE):
        return GoogleError(0, "", "Google's answer cannot be read")
    return GoogleError(0, "", f"No answer from Google ({type(error).__name__})")


def error_words(error: HttpError) -> tuple[int, str, str]:
    """Status, reason and message of Google's answer, whatever its shape: JSON, HTML or nothing at all."""
    try:
        content = json.loads(error.content)["error"]
        first = (content.get("errors") or [{}])[0]
        reason = first.get("reason") or content.get("status") or ""
        return error.status_code, str(reason), content.get("message") or ""
    except (ValueError, TypeError, KeyError, AttributeError, IndexError):
        text = re.sub(r"<[^>]*>|\s+", " ", error.content.decode("utf-8", "replace"))
        return error.status_code, "", " ".join(text.split())[:120] or str(error.reason or "")


def unreachable(error: BaseException) -> RunError:
    if isinstance(error, SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in str(error):
        remedy = "behind a filter that inspects TLS, set HTTPLIB2_CA_CERTS and REQUESTS_CA_BUNDLE to its CA file"
        return RunError("Google", "its certificate is not trusted here", remedy)
    remedy = "check the network, HTTPS_PROXY and DNS"
    proxy = os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy")
    if proxy and not find_spec("socks"):  # the Google client would pass it by
        remedy = f"HTTPS_PROXY needs a package: run  {quoted(sys.executable)} -m pip install PySocks"
    # What cannot be read of a proxy's address may be a part of its password.
    words = "" if isinstance(error, (ValueError, TypeError)) else f": {error}"
    return RunError("Google cannot be reached", "", f"{remedy} ({type(error).__name__}{words})")


# Writing to Google: one person's steps, each request with a line in the journal before and after it.

IN_HAND = 2  # people for each that is written at once: while one is written, another is looked at
STALE_SECONDS = 5  # after which a look at an account does not say any more what it is now
Made = Callable[[], bool]  # asks Google whether changes are there
Step = Callable[[Run, Plan, Account, Sequence[Change], District], None]  # makes these changes, which are due


def make_all_changes(run: Run, plans: Sequence[Plan], district: District) -> None:
    """Everybody's changes, WRITES_AT_ONCE people side by side; all closings have ended before anybody else begins."""
    begun: list[Plan] = []
    writing = threading.BoundedSemaphore(run.settings.WRITES_AT_ONCE)

    def turn(plan: Plan) -> None:
        try:
            ahead, asked = None, time.monotonic()
            if plan.had is not None and run.settings.WRITES_AT_ONCE > 1:
                with contextlib.suppress(GoogleError):  # then it is looked at in its turn
                    ahead = get_account(run, plan.had.id)
            with writing:
                if run.is_over:
                    return
                if time.monotonic() > run.deadline:
                    what = "left: run the same undo again, and" if plan.undoes else "left for the next run:"
                    left = people(len(plans) - len(begun))
                    raise RunError(f"RUN_MINUTES is over, with {left} {what} raise it if that comes often")
                begun.append(plan)
                make_changes(run, plan, district, ahead if time.monotonic() < asked + STALE_SECONDS else None)
        except RunError:
            raise
        except Exception:
            note_bug(run, plan.person)
            if run.bugs >= BUGS_THAT_END_A_RUN:
                raise

    groups = (side_by_side(run, turn, list(group)) for _, group in groupby(plans, turn_of))
    for _ in with_progress(run, "Changing accounts", chain.from_iterable(groups), len(plans)):
        pass


def side_by_side(run: Run, work: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """The result of this work for each, in order; IN_HAND of them are worked on at once for each of WRITES_AT_ONCE.

    An error, or Ctrl-C, begins no other and is raised after what is in flight. Lines told of one stand together.
    """
    if run.settings.WRITES_AT_ONCE == 1 or len(items) < 2:
        yield from map(work, items)
        return
    errors: list[BaseException] = []

    def turn(item: T) -> R:
        if run.is_over:
            raise errors[0]
        run.here.http, run.here.lines = getattr(run.here, "http", None) or connection(run), []
        try:
            return work(item)
        except BaseException as error:
            errors.append(error)
            run.is_over = True
            raise
        finally:
            lines, run.here.lines = run.here.lines, None
            with run.lock:
                for record in lines:
                    log.handle(record)

    with ThreadPoolExecutor(run.settings.WRITES_AT_ONCE * IN_HAND) as workers:
        try:
            yield from workers.map(turn, items)
        except (KeyboardInterrupt, GeneratorExit) as error:
            errors.append(error)
            run.is_over = True
            raise


def make_changes(run: Run, plan: Plan, district: District, ahead: Account | None) -> None:
    """The steps of one person in their order; what Google refuses of them is told. `ahead` is the account as it is."""
    refusals = []
    for kinds, make_step in steps_of(plan, run.settings):
        ended = run.ended.keys() & kinds
        # Who lies in SUSPENDED_OU already is closed whatever becomes of the groups.
        if ended and (kinds != ("leave group",) or "move to suspended" in plan.kinds):
            run.ended[min(ended)] += 1
            break
        try:
            now, due = still_due(run, plan, kinds, district, ahead)
            if due:
                make_step(run, plan, now, due, district)
        except GoogleError as error:
            refusals.append(error)
            lose_patience(run, plan, kinds, error)
            if KINDS[kinds[0]].stops:
                break
        ahead = None
    if not plan.kinds & run.ended.keys():
        run.waiting.discard(subject_of(plan.person))
    if refusals:
        tried = " and ".join(change.kind for change in plan.changes)
        note_refusal(run, plan, f"{tried} failed, at least in part", refusals[0])


def steps_of(plan: Plan, settings: Settings) -> list[tuple[tuple[str, ...], Step]]:
    """The plan's kinds in the order of writes, those of one request together, with what makes them."""
    order = {kind: KINDS[kind].undo_step if plan.undoes else KINDS[kind].step for kind in plan.kinds}
    write = create_account if plan.had is None else update_account
    steps: list[tuple[tuple[str, ...], Step]] = []
    for number in sorted({*order.values()}):
        kinds = tuple(kind for kind in KINDS if order.get(kind) == number)
        steps.append((kinds, put_back if KINDS[kinds[0]].is_listed else write))
    if settings.REMOVE_SUSPENDED_FROM_GROUPS and is_closing(plan):
        steps.insert(-1, (("leave group",), leave_all_groups))  # the last step is the mark that all was done
    return steps


def turn_of(plan: Plan) -> int:
    """Who left comes first, so that nothing leaves their accounts open; then aliases, before others get the address."""
    return 0 if is_closing(plan) else 1 if plan.kinds == {"add alias"} and not plan.undoes else 2


def is_closing(plan: Plan) -> bool:
    """True for the plan of a run that closes the account of somebody who left."""
    return not plan.undoes and bool(plan.kinds & {"suspend", "move to suspended"})


def still_due(
    run: Run, plan: Plan, kinds: Collection[str], district: District, ahead: Account | None
) -> tuple[Account, tuple[Change, ...]]:
    """The account as it is now, or if there is none as planned, and what of this step it still needs by the rules."""
    had, mine = plan.had or Account("", plan.changes[0].after), tuple(c for c in plan.changes if c.kind in kinds)
    if "create" in kinds:
        return had, mine
    now = ahead or get_account(run, had.id or had.email)
    if now is None:
        raise GoogleError(404, "notFound", f"{had.email} is no longer there")
    # Leaving groups is due as long as anything else of a closing is.
    planned = grouped((c.kind, name) for c in mine or plan.changes for name in (*c.before, *c.after))
    if plan.undoes:
        if remark := hands_off(plan.person, now, district, has_left=False):
            note_not_done(run, about(plan.person, Rule.FAILED, f"not put back any further: {remark.reason}"))
        fresh = undo_plan(plan.undoes, now, district)
    elif any(KINDS[change.kind].is_listed for change in mine):
        fresh = with_hands_off(replace(plan, had=now), district)
    else:
        fresh = with_hands_off(plan_account(plan.person, now, district), district)
    parts = (part_of(change, planned[change.kind]) for change in fresh.changes if change.kind in planned)
    due = tuple(change for change in parts if change.before or change.after)
    return now, due


def lose_patience(run: Run, plan: Plan, kinds: Sequence[str], error: GoogleError) -> None:
    """Count a refusal: ten people refused for one kind with one answer, no success between, end that kind tonight."""
    answer = (error.status, error.reason)
    with run.lock:
        if run.refused_before is None:  # the night before: that old trouble must not hold up everybody else
            run.refused_before = frozenset(
                (row["dcid"], row["kind"], row.get("status"), row.get("reason"))
                for path in [path for path in journals(run.folder) if path.stem < run.name][-1:]
                for row in journal_rows(run, path)
                if row["state"] in {"failed", "unknown"}
            )
        for kind in kinds:
            refused = run.refused[kind]
            refused[answer] += (plan.person.dcid, kind, *answer) not in run.refused_before
            is_full = kind == "create" and error.reason == "limitExceeded"  # the licences are used up
            if (is_full or refused[answer] >= FAILURES_IN_A_ROW) and kind not in run.ended:
                run.ended[kind] = 0
                log.warning("%s: Google refused it (%d %s): nobody else is tried in this run", kind, *answer)


def note_refusal(run: Run, plan: Plan, what: str, error: GoogleError) -> None:
    again = "run the same undo again" if plan.undoes else "the next run tries again"
    advice = again if error.can_heal else f"put right what Google says, then {again}; or do it by hand"
    note_not_done(run, about(plan.person, Rule.FAILED, f"{what}: {error}: {advice}"))


def note_not_done(run: Run, remark: Remark) -> None:
    if run.note(remark):
        log.warning("Not done: %s", remark, extra=IN_LOG)


def create_account(run: Run, plan: Plan, account: Account, due: Sequence[Change], district: District) -> None:
    """One users.insert with everything in it."""
    is_known, account_id = bool(os.environ.get("NEW_USER_PASSWORD")), account.email
    secret = os.environ.get("NEW_USER_PASSWORD") or secrets.token_urlsafe(24)
    body = {**body_for(due, account, district), "changePasswordAtNextLogin": True, "password": secret}
    try:
        account_id = make(run, plan, account, due, run.api.users.insert(body=body, fields="id"))
    except GoogleError as error:
        is_known = is_known or not error.is_lost
        raise
    finally:
        if not is_known:
            run.note(once(plan.person, Rule.PASSWORD, account_id=account_id))


def update_account(run: Run, plan: Plan, now: Account, due: Sequence[Change], district: District) -> None:
    """One users.update that carries these changes."""
    after = {name: text for change in due for name, text in change.after.items()}

    def made() -> bool:
        fresh = get_account(run, now.id) or Account("", {})
        return all(is_same(fresh.values.get(n, "?"), text, district.attributes[n]) for n, text in after.items())

    request = run.api.users.update(userKey=now.id, body=body_for(due, now, district), fields="id")
    try:
        make(run, plan, now, due, request, made)
    except GoogleError as error:
        if error.status != 409 or error.can_heal or after.get(EMAIL) not in now.aliases:
            raise
        # Google may not make an alias the address while it is one. The journal says what for it goes: until Google
        # shows it again, each run tries to put it back or to make it the address.
        change_alias(run, plan, now, Change("remove alias", {"alias": after[EMAIL]}, {EMAIL: after[EMAIL]}))
        make(run, plan, now, due, request, made)
    # Whom an admin has opened by hand is only moved.
    by_hand = "reactivate" not in plan.kinds and now.org_unit == district.suspended_ou
    if not plan.undoes and any(change.kind == "reactivate" or (by_hand and change.kind == "move") for change in due):
        for again in in_groups_before(plan, now.id, district):
            log.info("%s %s", plan.person, again)


def in_groups_before(plan: Plan, account_id: str, district: District) -> list[str]:
    """For each run that took the account out of groups since it was closed, the undo that gives them back."""
    undo_of = "was in groups before: python sync.py --undo {} --only dcid:{}"
    return [undo_of.format(past, plan.person.dcid) for past in reversed(district.groups_left.get(account_id, ()))]


def body_for(changes: Iterable[Change], account: Account, district: District) -> dict[str, Any]:
    """The users resource that carries out these changes: only what differs; a list is merged, then sent whole."""
    kinds: dict[str, Callable[[str], Any]] = {"INT64": int, "DOUBLE": float, "BOOL": YES.__eq__}
    body: dict[str, Any] = {}
    for name, text in [pair for change in changes for pair in change.after.items()]:
        attribute = district.attributes[name]
        *path, last = name.split(".")
        place = body
        for part in path:
            place = place.setdefault(part, {})
        place[last] = kinds.get(attribute.type, str)(text) if text else None
        if attribute.entry:
            place[last] = merged(account.entries.get(name, ()), attribute.entry, text)
    if "name" in body:  # Google may take a name with one part only for the whole name
        kept = {"givenName": account.values[GIVEN_NAME], "familyName": account.values[FAMILY_NAME]}
        body["name"] = kept | body["name"]
    return body


def merged(entries: Sequence[Mapping[str, Any]], kind: str, text: str) -> list[dict[str, Any]]:
    """A list of Google's with this text in the first entry of this type, or without it for ""; all others kept."""
    kept = [dict(entry) for entry in entries]
    ours = next((entry for entry in kept if entry.get("type") == kind), None)
    if ours is None:
        return [*kept, {"type": kind, "value": text}] if text else kept
    ours["value"] = text
    return [entry for entry in kept if text or entry is not ours]


def leave_all_groups(run: Run, plan: Plan, had: Account, _due: Sequence[Change], district: District) -> None:
    """Take the account out of its groups, each with its role in the journal; GoogleError if one may work later.

    A group that refuses for good is told and forgotten: it must not keep a leaver's account open for ever. Where the
    account lies in SUSPENDED_OU already, closing it is worth more than any group.
    """
    later = None
    try:
        groups = groups_of(run, had.id)
    except GoogleError as error:
        groups, later = [], error
    for group in groups:
        if not (isinstance(group, dict) and group.get("id") and group.get("email")):
            seen = f"{had.email} may be in a group of which Google's answer cannot be read: {group}"
            note_not_done(run, about(plan.person, Rule.FAILED, seen))
            continue
        try:
            leave_group(run, plan, had, Change("leave group", {"group": group["email"], "groupId": group["id"]}, {}))
        except GoogleError as error:
            domain = group["email"].rpartition("@")[2].casefold()
            if error.can_heal:
                later = later or error
            elif error.status == 403 and domain not in district.google.domains and not is_group(run, group["id"]):
                run.note(about(plan.person, Rule.GROUP_OUTSIDE, f"{had.email} stays in {group['email']}"))
            elif error.status != 404:  # which says that the account is no member any more
                stays = f"{had.email} stays in the group {group['email']}: {error}"
                note_not_done(run, once(plan.person, Rule.GROUP_STAYS, stays, group["id"], had.id))
    if later:
        words = f"{had.email} could not leave all its groups: {later}"
        if "move to suspended" in plan.kinds:
            raise GoogleError(later.status, later.reason, words)
        note_not_done(run, once(plan.person, Rule.GROUP_STAYS, words, account_id=had.id))


def groups_of(run: Run, account_id: str) -> list[Any]:
    """The groups of which this account is a member."""
    groups, mask = run.api.groups, "nextPageToken,groups(id,email)"
    request = groups.list(userKey=account_id, maxResults=200, fields=mask)
    return [group for page in pages(run, groups, request) for group in page.get("groups") or ()]


def put_back(run: Run, plan: Plan, now: Account, due: Sequence[Change], _district: District) -> None:
    """Put back memberships and aliases; one that is gone or refuses is told, and keeps nothing else from it."""
    ways = {"leave group": leave_group, "join group": join_group}
    for change in due:
        try:
            ways.get(change.kind, change_alias)(run, plan, now, change)
        except GoogleError as error:
            note_refusal(run, plan, f"{change.kind} {describe(change, run.settings)}", error)


def leave_group(run: Run, plan: Plan, now: Account, change: Change) -> None:
    """Take the account out of one group, its role in the journal before; tell of one that may have no owner now."""
    group, group_id, members = change.before["group"], change.before["groupId"], run.api.members
    member = membership(run, group_id, now.id)
    if member is None:
        return
    left = replace(change, before={"group": group, "groupId": group_id, **member})
    request = members.delete(groupKey=group_id, memberKey=now.id)
    make(run, plan, now, [left], request, lambda: membership(run, group_id, now.id) is None)
    seen = f"the group {group} has lost its last owner"
    try:
        if member["role"] != "OWNER" or has_owner(run, group_id):
            return
    except GoogleError:
        seen = f"the group {group} has lost an owner, and may have none now"
    run.note(once(plan.person, Rule.NO_OWNER, seen, group_id))


def join_group(run: Run, plan: Plan, now: Account, change: Change) -> None:
    """Give back a membership with its role; one that is there already is left as it is."""
    group, group_id = change.after["group"], change.after["groupId"]
    if member := membership(run, group_id, now.id):
        log.info("%-10s %s: %s already, as %s: left so", "in group", plan.person, group, member["role"].lower())
        return
    body = {"email": now.email, **{n: text for n, text in change.after.items() if n in {"role", "delivery_settings"}}}
    request = run.api.members.insert(groupKey=group_id, body=body, fields="id")
    make(run, plan, now, [change], request, lambda: membership(run, group_id, now.id) is not None)


def membership(run: Run, group_id: str, account_id: str) -> dict[str, str] | None:
    """The account's own membership of this group, or None: a member through another group has none."""
    request = run.api.members.get(groupKey=group_id, memberKey=account_id, fields="role,delivery_settings")
    member = call(run, request, absent=(404,))
    return None if member is None else {"role": "MEMBER"} | {name: str(text) for name, text in member.items() if text}


def has_owner(run: Run, group_id: str) -> bool:
    request = run.api.members.list(groupKey=group_id, roles="OWNER", maxResults=1, fields="members(id)")
    return bool(call(run, request).get("members"))


def change_alias(run: Run, plan: Plan, now: Account, change: Change) -> None:
    """Take away one alias of the account or give it one, if that is due still."""
    aliases, is_added = run.api.users.aliases(), change.kind == "add alias"
    alias = {**change.before, **change.after}["alias"]
    if alias in now.addresses if is_added else alias not in now.aliases:
        return
    if is_added:
        request = aliases.insert(userKey=now.id, body={"alias": alias})
    else:
        request = aliases.delete(userKey=now.id, alias=alias)
    make(run, plan, now, [change], request, lambda: (alias in (get_account(run, now.id) or now).addresses) == is_added)


def make(
    run: Run, plan: Plan, account: Account, changes: Sequence[Change], request: Any, made: Made | None = None
) -> str:
    """Carry out one request with a journal line per kind before and after, and tell it; Google's id of the account.

    GoogleError if it was not done. Where the answer does not say it, `made` asks Google whether the changes are there.
    """
    refusal: GoogleError | None = GoogleError(0, "", "cut off")
    state, account_id = "unknown", account.id
    with run.lock:
        line: dict[str, Any] = {"change": run.change_number + 1, "state": "intended", "dcid": plan.person.dcid}
        line |= {"account": account_id, "email": account.email, **({"undo": True} if plan.undoes else {})}
        for change in changes:
            journal(run, line, change)
            run.in_flight.append((line, change))
        run.change_number += 1
    try:
        answer = call(run, request)
        state, account_id, refusal = "done", account_id or answer.get("id", ""), None
    except GoogleError as error:
        state, account_id, refusal = outcome(run, plan, account, changes, error, made)
    finally:
        with run.lock:
            run.done += [] if refusal else [(plan, change) for change in changes]
            for change in changes:
                journal(run, line | {"state": state, "account": account_id}, change, refusal)
            run.in_flight = [one for one in run.in_flight if one[0] is not line]
    if refusal:
        raise refusal
    for change in changes:
        run.refused.pop(change.kind, None)
        log.info("%s", change_line(plan, change, run.settings), extra=IN_LOG)
    return account_id


def outcome(
    run: Run, plan: Plan, account: Account, changes: Sequence[Change], error: GoogleError, made: Made | None
) -> tuple[str, str, GoogleError | None]:
    """Done, failed or unknown for a refused request, Google's id of the account, and why it is not done.

    A look-up lags: what it does not show after no answer may have been done, unless somebody else holds the address. A
    new account is ours if it carries the DCID.
    """
    if not error.is_uncertain:
        return "failed", account.id, error
    sides = {name: text for c in changes if c.kind != "remove alias" for name, text in c.after.items()}
    address = sides.get(EMAIL) or sides.get("alias", "")
    state, holder = "unknown" if error.is_lost else "failed", "something Google does not show (a deleted account?)"
    try:
        if made and made():
            return "done", account.id, None
        found, is_groups = holder_of(run, address) if address else (None, False)
        if found and not account.id and found.dcid == plan.person.dcid:
            return "done", found.id, None
        if is_groups:
            state, holder = "failed", "a group"
        elif found and found.id != account.id:
            state, holder = "failed", found.email + ("" if found.email == address else " as an alias")
    except GoogleError:
        state, holder = "unknown", "somebody Google does not name at the moment"
    if error.status == 409 and not error.can_heal and address not in {"", *account.aliases}:
        error = GoogleError(409, error.reason, f"{address} is taken by {holder}")
    return state, account.id, error


def journal(run: Run, line: Mapping[str, object], change: Change, refusal: GoogleError | None = None) -> None:
    """One line in runs/<start>.jsonl, on disk when this returns; RunError if it cannot be written."""
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    sides = {"kind": change.kind, "before": dict(change.before), "after": dict(change.after), "error": ""}
    why = {"error": str(refusal), "status": refusal.status, "reason": refusal.reason} if refusal else {}
    path = run.folder / "runs" / f"{run.name}.jsonl"
    try:
        if run.journal_file is None:
            run.journal_file = open_private(path, "a")
        run.journal_file.write(json.dumps({"time": now, **line, **sides, **why}) + "\n")
        run.journal_file.flush()
        os.fsync(run.journal_file.fileno())
    except OSError as failure:
        raise no_access(path, "written, and without a journal nothing is changed,", failure) from None


def lost_aliases(plans: Sequence[Plan], district: District) -> Iterator[Plan]:
    """Plans that put back own aliases which went for a rename that never came, unless it is due now."""
    renamed = {(p.had.id, c.after[EMAIL]) for p in plans if p.had for c in p.changes if c.kind == "rename"}
    for (account_id, alias), dcid in district.lost_aliases.items():
        account = district.google.accounts.get(account_id)
        if account and alias not in account.addresses and (account_id, alias) not in renamed:
            person = district.powerschool.by_dcid.get(dcid, Staff(dcid, "", account.name, account.email))
            yield with_hands_off(Plan(person, account, (Change("add alias", {}, {"alias": alias}),)), district)


# Undoing a run: its journal folded backwards is what is wanted, made by the same functions as a run.


def undo(run: Run) -> int:
    """Put back what a run changed, after showing it and asking; returns the exit code."""
    path, entries = find_journal(run, run.options.undo)
    what = "an undo, which" if any(entry.is_undo for entry in entries) else "which"
    log.info("Undo of run %s, %s did: %s", path.stem, what, counts_in_words(Counter(e.change.kind for e in entries)))
    connect_google(run)
    nobody, allowed = PowerSchool({}, ()), dict(run.options.allow)
    district = District(run.settings, nobody, read_frame(run), run.today, own_admin(), allowed=allowed)
    groups = list(grouped((entry.account or entry.email, entry) for entry in entries).values())
    looked_up = side_by_side(run, partial(look_up_undo, run, district=district), groups)
    plans = list(with_progress(run, "Looking at accounts", looked_up, len(groups)))
    for word in run.options.only:
        if not any(is_named(plan, word) for plan in plans):
            remedy = f"see whom run {path.stem} changed with  python sync.py --undo {path.stem} --dry-run"
            raise RunError(f"--only {word}", "nobody changed has this address, DCID or Employee ID", remedy)
    plans = [plan for plan in plans if not run.options.only or any(is_named(plan, word) for word in run.options.only)]
    due = [plan for plan in hold_too_much(run, plans, district) if plan.changes]
    planned = tell_plan(due, run.settings)
    left = [str(remark) for plan in plans for remark in plan.remarks]
    show(f"not put back {len(left)}", left)
    if run.options.dry_run:
        run.done = planned
        return tell(run, DRY_RUN)
    if due and not run.options.yes and not is_agreed("Put this back?"):
        raise RunError("Undo", "not agreed to, so nothing was put back")
    code = carry_out(run, due, district)
    if run.done and any(entry.change.kind == "create" for entry in entries):
        log.info("A new account opens again by its DCID: where another account is the person's, put the DCID there.")
    if run.done:
        log.info("The next run will do the same again, unless PowerSchool is corrected or the task is paused.")
    return code


def is_named(plan: Plan, word: str) -> bool:
    addresses, numbers = (plan.had.addresses, plan.had.employee_ids) if plan.had else ((), frozenset())
    return is_meant(word, plan.person.dcid, {plan.person.email, *addresses}, numbers)


def look_up_undo(run: Run, entries: Sequence[Entry], district: District) -> Plan:
    """The plan that puts this account back; one that Google does not show now does not keep the others from it."""
    last = entries[-1]
    person = Staff(last.dcid, "", "", last.email)
    try:
        now = get_account(run, last.account) if last.account else holder_of(run, last.email)[0]
    except GoogleError as error:
        return left_alone(person, Rule.NOT_LOOKED_UP, f"not put back, run the same undo again: {error}")
    # One that was created in a run that was killed is known by address and DCID only.
    if now is None or (not last.account and now.dcid != last.dcid):
        return left_alone(person, Rule.MOVED_ON, "the account is no longer there", "left as it is")
    return undo_plan(entries, now, district)


def undo_plan(entries: Sequence[Entry], now: Account, district: District) -> Plan:
    """What puts one account back; what has moved on since is left and named."""
    person = Staff(entries[-1].dcid, now.values[GIVEN_NAME], now.values[FAMILY_NAME], now.email)
    back, listed = folded_back(entries, district)
    due, gone = {}, []
    for name, (kind, left, wanted) in back.items():
        attribute, held = district.attributes.get(name), now.values.get(name, "")
        is_locked = name == SUSPENDED and wanted == NO and now.suspension_reason not in BY_ADMIN
        if attribute is not None and is_same(held, left, attribute) and not is_locked:
            due[name] = wanted
        elif attribute is None or not is_same(held, wanted, attribute):
            gone.append(kind)
    if "move to suspended" in gone and now.is_suspended:
        # Somebody has put the leaver elsewhere since, as for good: the account stays closed and out of its groups.
        due, listed, gone = {}, [], [entry.change.kind for entry in reversed(entries)]
    listed = [change for change in listed if "rename" not in gone or change.kind != "remove alias"]
    changes = (*differences(now, due, district), *listed)
    if changes and (remark := hands_off(person, now, district, has_left=False)):
        return Plan(person, now, remarks=(remark,))
    seen = f"changed since by somebody else, so not put back, or not wholly: {', '.join(dict.fromkeys(gone))}"
    remarks = (about(person, Rule.MOVED_ON, seen),) if gone else ()
    return Plan(person, now, changes, remarks, undoes=tuple(entries))


def folded_back(entries: Sequence[Entry], district: District) -> tuple[dict[str, tuple[str, str, str]], list[Change]]:
    """Attribute -> the kind of its change, the text the run left, and that of before; and what is put back besides.

    A created account is never deleted: before the run it was a closed one. A rename leaves an alias behind.
    """
    back: dict[str, tuple[str, str, str]] = {}
    listed = []
    for change in (entry.change for entry in reversed(entries)):
        before, after = change.before, change.after
        if change.kind == "create":
            before = {SUSPENDED: YES, ORG_UNIT: district.suspended_ou}
            after = {SUSPENDED: NO, ORG_UNIT: after[ORG_UNIT]}
        if KINDS[change.kind].is_listed:
            listed.append(Change(KINDS[change.kind].opposite, {k: v for k, v in after.items() if k != EMAIL}, before))
            continue
        for name in after:
            kind, left, _ = back.get(name, (change.kind, after[name], ""))
            back[name] = (kind, left, before[name])
        if change.kind == "rename" and after[EMAIL] not in before["aliases"].split():
            listed.append(Change("remove alias", {"alias": after[EMAIL]}, {}))
    return back, listed


def journals(folder: Path) -> list[Path]:
    """The journals of this folder's runs, the oldest first; copies under other names do not count."""
    return sorted(path for path in (folder / "runs").glob("*.jsonl") if re.fullmatch(r"\d{8}T\d{6}Z", path.stem))


def find_journal(run: Run, which: str) -> tuple[Path, list[Entry]]:
    """The journal of this run with its changes, or for `last` the newest that changed something."""
    paths = journals(run.folder)
    named = [path for path in paths if path.stem == Path(which).name.removesuffix(".jsonl")]
    for path in reversed(paths) if which == "last" else named:
        entries = list(changes_in(journal_rows(run, path)))
        stop_at([remark for remark in run.remarks if remark.rule is Rule.DAMAGED])
        if entries or which != "last":
            return path, entries
    raise RunError(f"--undo {which}", f"{run.folder / 'runs'} has no such journal")


def changes_in(rows: Iterable[Mapping[str, Any]]) -> Iterator[Entry]:
    """The changes of a journal as they ended, but for those that failed, and last those that a crash cut off.

    Whether these were made, Google says. What this version does not know, as in a journal of version 1, is left out.
    """
    begun: dict[tuple[int, str, str], Entry] = {}
    known = {*ATTRIBUTES, "aliases", "alias", "group", "groupId", "role", "delivery_settings"}
    for row in rows:
        change = Change(row["kind"], row["before"], row["after"])
        sides = (*change.before.items(), *change.after.items())
        if not all(isinstance(text, str) and (n in known or n.startswith("customSchemas.")) for n, text in sides):
            continue
        key, when = (row["change"], change.kind, change.before.get("groupId", "")), datetime.fromisoformat(row["time"])
        begun[key] = Entry(row["state"], row["dcid"], row["account"], row["email"], change, when, "undo" in row)
        if row["state"] != "intended":
            ended = begun.pop(key)
            yield from () if ended.state == "failed" else (ended,)
    yield from begun.values()


JOURNAL_TYPES = {
    "time": str, "change": int, "state": str, "dcid": int, "account": str, "email": str, "kind": str, "before": dict,
    "after": dict,
}  # fmt: skip


def journal_rows(run: Run, path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a journal, one at a time, up to one that a kill cut off, or that is damaged, which is told."""
    try:
        lines = path.open(encoding="utf-8", errors="replace")
    except OSError as error:
        run.note(replace(no_access(path, "read", error).remark, rule=Rule.DAMAGED))
        return
    with lines:
        for number, line in enumerate(lines, 1):
            if not line.endswith("\n"):
                return
            is_whole = False
            with contextlib.suppress(ValueError, KeyError, TypeError):
                row = json.loads(line)
                is_whole = line.isascii() and row["kind"] in KINDS and bool(datetime.fromisoformat(row["time"]))
                is_whole = is_whole and all(isinstance(row[name], kind) for name, kind in JOURNAL_TYPES.items())
            if not is_whole:
                remedy = "something else than Staff Sync changed it: put it right from a backup, or move it away"
                run.note(Remark(Rule.DAMAGED, f"{path}, line {number}, is damaged", "", remedy))
                return
            yield row


def unfinished(run: Run) -> dict[str, Any]:
    """What the journals, read once, leave to be finished, as a District keeps it."""
    closings: dict[str, tuple[datetime, str]] = {}
    aliases: dict[tuple[str, str], int] = {}
    groups: dict[str, list[str]] = defaultdict(list)
    for path, entry in ((p, entry) for p in journals(run.folder) for entry in changes_in(journal_rows(run, p))):
        kind, before, after = entry.change.kind, entry.change.before, entry.change.after
        if kind == "leave group" and path.stem not in groups[entry.account]:
            groups[entry.account].append(path.stem)
        elif kind in {"suspend", "reactivate", "join group"}:
            groups[entry.account] = [name for name in groups[entry.account] if name == path.stem]
        # Whether an account was moved, its org unit says.
        if kind != "leave group" and (kind != "move to suspended" or entry.state == "done"):
            closings.pop(entry.account, None)
        if kind == "suspend" and not entry.is_undo and ORG_UNIT in before:
            closings[entry.account] = (entry.time, before[ORG_UNIT])
        if kind == "remove alias" and EMAIL in after:
            aliases[(entry.account, before["alias"])] = entry.dcid
        elif kind in {"rename", "add alias"} and entry.state == "done":
            # It is back: who takes it away later means it.
            aliases.pop((entry.account, after.get(EMAIL) or after.get("alias", "")), None)
    return {"closings": closings, "lost_aliases": aliases, "groups_left": groups}


# Checking, setting up, explaining: the steps of a run that go on past faults and write nothing to an account.

# Entries of config.py as shipped: that they fit nobody here --check tells, and not every run.
AS_SHIPPED = frozenset({"/Substitute Teachers", "/Administrators", "/Temporary Re-Activations", "Substitute"})
LEAST_ROOM = 50  # MB on the disk
SIGNS = {INFO: "good", WARN: "WARNING", ERROR: "FAULT"}


def check(run: Run) -> int:
    """Every fact a run rests on, a line each, to the last one; 0, or 1 with warnings, or 2 with faults."""
    values, faults = read_config(run.options.config)
    run.settings = settings_of({} if faults else values)  # without a district enough to try both sign-ins
    begin_deadline(run)
    remarks = [*machine_facts(run)]
    # What a faulty entry holds may be a name: that a run tells, this does not.
    told = [fault("a setting in config.py", remark.who) for remark in faults]
    remarks += told or [fact("every setting in config.py is well-formed")]
    powerschool = attempt(remarks, partial(look_at_powerschool, run, remarks))
    attempt(remarks, partial(look_at_google, run, powerschool, remarks))
    for remark in remarks:
        words = ": ".join(filter(None, (remark.who, remark.seen)))
        remedy = f" -> {remark.remedy}" if remark.remedy else ""
        line = f"{SIGNS[remark.rule.level]:<8} {words}{remedy}"
        log.info("%s", paste_safe(line, values.get("GOOGLE_DOMAINS"), run.folder))
    counts = Counter(SIGNS[remark.rule.level] for remark in remarks)
    log.info("Checked: %s. Nothing was written.", counts_in_words(counts))
    needs, next_step = {remark.rule for remark in remarks if remark.rule.level == ERROR}, "python sync.py --dry-run"
    if needs:
        again = "put right what the FAULT lines say, then  python sync.py --check  again"
        next_step = "python sync.py --setup" if needs == {Rule.MISSING} else again
    log.info("Next: %s", next_step)
    return FAILED if needs else ATTENTION if counts[SIGNS[WARN]] else DONE


def fact(words: str, remedy: str = "") -> Remark:
    """A fact that is as it should be; one with a remedy is a doubt."""
    return Remark(Rule.DOUBT if remedy else Rule.GOOD, words, "", remedy)


def fault(words: str, remedy: str = "") -> Remark:
    return Remark(Rule.FAULT, words, "", remedy)


def attempt(remarks: list[Remark], look: Callable[[], Any]) -> Any:
    """What a look at one side returns; None, and a remark on where it came to its end, if it cannot go on."""
    try:
        return look()
    except RunError as error:
        remarks.append(error.remark)
    except Exception as error:  # noqa: BLE001 - one side that fails must not hide the other
        remarks.append(fault(f"a bug in Staff Sync ({type(error).__name__})", "please report what a dry run says"))
    return None


def machine_facts(run: Run) -> Iterator[Remark]:
    """This account, faults of its variables, what it can do in the folder, and how old the last run is."""
    yield fact(f"runs as the operating-system account {account_name()}, Python {sys.version.split()[0]}")
    yield from environment_faults()
    for name in filter(lambda name: exists(run.folder / name), ("", "runs", "StaffLog.txt")):
        place = run.folder / name
        try:
            with place.open("r+") if name == "StaffLog.txt" else tempfile.TemporaryFile(dir=place):
                yield fact(f"{place} can be written")
        except OSError as error:
            yield no_access(place, "written", error).remark
    free, make_room = shutil.disk_usage(run.folder).free >> 20, "make room: a run keeps a log and a journal"
    yield fact(f"room on the disk: {free} MB", "" if free >= LEAST_ROOM else make_room)
    yield from open_to_others(run.options.config, "write", 0o022, "chmod go-w")
    for name in ("credentials.json", "token.json"):
        yield from open_to_others(run.folder / name, "read", 0o077, "chmod 600")
    good = last_good(run.folder)
    hours = (run.started - good).total_seconds() / 3600 if good else 0
    if good is None:
        yield fact("no run yet of everybody that came to its end", "look at a dry run first, later at StaffLog.txt")
    elif hours < 0:
        yield fact("the last good run is from the future", "compare this machine's clock: has it been wrong?")
    else:
        remedy = "is the scheduled task still there and enabled? See the end of StaffLog.txt"
        is_late = hours > run.settings.EXPECT_RUN_HOURS
        yield fact(f"the last good run was {hours / 24:.1f} days ago", remedy if is_late else "")


def look_at_powerschool(run: Run, remarks: list[Remark]) -> PowerSchool | None:
    """Connection, every table and counts; what PowerSchool says, if all of it can be read."""
    if any(remark.who.startswith("POWERSCHOOL") for remark in environment_faults()):
        raise RunError("PowerSchool was not looked at", "", "set the variables above first")
    settings, rows = run.settings, {}
    tables = columns_of(settings) if settings.STAFF_OU else {}
    with connect_powerschool(settings) as connection:
        remarks.append(fact(f"PowerSchool can be reached and lets this login in (Oracle {connection.version})"))
        for table, columns in tables.items():
            words = f"table {f'{settings.POWERSCHOOL_SCHEMA}.{table}'.lstrip('.').upper()}"
            try:
                rows[table] = read_rows(connection, table, columns, settings)
                remarks.append(fact(f"{words} can be read: {', '.join(columns).upper()}"))
            except RunError as error:
                remarks.append(replace(error.remark, who=words))
    if not rows or rows.keys() < tables.keys():
        return None
    powerschool = powerschool_from(rows, settings)
    active = [person.email for person in powerschool.active]
    words = f"PowerSchool holds {len(powerschool.schools)} schools, {len(powerschool.staff)} staff, "
    remarks.append(fact(f"{words}{len(active)} of them active, {sum(map(bool, active))} of these with an address"))
    return powerschool


def look_at_google(run: Run, powerschool: PowerSchool | None, remarks: list[Remark]) -> None:
    """Sign-in, schemas, org units, accounts, and tonight's plan where nothing stands in its way."""
    settings = run.settings
    connect_google(run, may_ask=False)
    remarks.append(fact(f"Google: signed in, all {len(SCOPES)} scopes a run needs are granted"))
    if not settings.STAFF_OU:
        return
    google, _, told = look_at_frame(run)
    remarks += told
    if not any(remark.rule.level == ERROR for remark in told):
        remarks.append(fact("the fields and org units that config.py names exist"))
        google = list_accounts(run, google, lambda: None)
    district = District(settings, powerschool or PowerSchool({}, ()), google, run.today, own_admin())
    remarks += place_facts(district)
    if not google.is_whole:
        return
    remarks.append(fact(f"Google accounts: {len(google.accounts)}"))
    aliases = {address.rpartition("@")[2] for a in google.accounts.values() for address in a.domain_aliases}
    for entry, domain in enumerate(settings.GOOGLE_DOMAINS, 1):  # by its place, as its name stays private
        if domain.casefold() in aliases:
            remarks.append(fact(f"GOOGLE_DOMAINS: entry {entry} is seen only as an alias of another domain"))
    if powerschool:
        remarks += implausible(powerschool, google) or plan_facts(run, district)


def place_facts(district: District) -> Iterator[Remark]:
    """Org units that Google lacks though config.py names them, and those of active staff, first what is misspelt."""
    settings, org_units, places = district.settings, district.google.org_units, places_of_staff(district)
    yield from idle_org_units(settings, {**org_units, **{path.lower(): path for path in places}}, is_check=True)
    for path, count in sorted(places.items(), key=lambda entry: (not nearly(entry[0], org_units), entry)):
        if path.lower() in org_units:
            yield fact(f"org unit {path}: {people(count)}")
        else:
            words = f"org unit {path} does not exist; waiting for it: {people(count)}"
            rule = Rule.FAULT if nearly(path, org_units) else Rule.MISSING
            yield Remark(rule, words, "", org_unit_remedy(path, settings, org_units))


def places_of_staff(district: District) -> Counter[str]:
    """The org units, with how many, of the active staff who have an account or an address with which one is made."""
    settings, linked = district.settings, district.google.by_dcid
    known = (p for p in district.powerschool.active if p.dcid in linked or is_ours(p.email, settings))
    placed = (p for p in known if "staff_type" not in p.odd and not skip_rule(p, settings))
    return Counter(building_org_unit(p, district) for p in placed if not homeschool_fault(p, district))


def plan_facts(run: Run, district: District) -> Iterator[Remark]:
    """What tonight's run would do, and what would hold it back; counts only."""
    powerschool, names = district.powerschool, set(district.settings.BAD_NAMES)
    district = replace(district, chosen=powerschool.by_dcid, **unfinished(run))
    yield from idle_settings(district, is_check=True)
    unmet = names.difference(*(bad_names(person, district.settings) for person in powerschool.staff))
    yield fact(f"entries of BAD_NAMES that are nobody's name: {len(unmet)} of {len(names)}")
    plans = [plan_person(person, district) for person in powerschool.staff]
    if faults := [*rebuilt_powerschool(plans, district), *foreign_staff(district)]:
        yield from faults
        return
    district, plans = look_up_newcomers(run, district, plans)
    held = too_much(plans, district)
    kinds = frozenset(remark.who for remark in held)
    counts = Counter(change.kind for plan in plans for change in without_held(plan, kinds, district).changes)
    yield fact(f"a run tonight would do: {counts_in_words(counts)}")
    remedy = "look at them in a dry run, which names how they are let through"
    for remark in dict.fromkeys((*linking_first(district), *held)):
        yield fact(f"{remark.who}: {remark.seen}", remedy)


def idle_settings(district: District, *, is_check: bool = False) -> list[Remark]:
    """Each entry that means to protect or place somebody and fits nobody: most likely misspelt."""
    settings, powerschool, google = district.settings, district.powerschool, district.google
    accounts = {*google.by_address, *google.others}
    known = {*accounts, *map(str, google.by_dcid)}
    known |= {text for person in powerschool.staff for text in (person.email, str(person.dcid))}
    strange = [key for key in settings.HANDS_OFF if whom(key)[1] not in known]
    idle = [f"HANDS_OFF names {key}, which is no address or DCID on either side" for key in strange]
    schools = {"", *(name.casefold() for name in powerschool.schools.values())}
    # Aliases as shipped are several with one name, which no school elsewhere has.
    aliases, names = settings.BUILDING_ALIASES, Counter(settings.BUILDING_ALIASES.values())
    told = {name for name in names if is_check or name.casefold() in schools or names[name] == 1}
    lost = [str(number) for number, name in aliases.items() if not district.school_name(number) and name in told]
    if lost:
        idle.append(f"BUILDING_ALIASES names the school numbers {', '.join(lost)}, which nothing knows")
    substitute = settings.SUBSTITUTE_BUILDING
    if substitute.casefold() not in schools and (is_check or substitute not in AS_SHIPPED):
        idle.append(f"SUBSTITUTE_BUILDING names {substitute}, which is no school's name")
    unseen = [domain for domain in settings.GOOGLE_DOMAINS if domain.casefold() not in google.domains]
    idle += [f"GOOGLE_DOMAINS names {domain}, which no address in Google has" for domain in unseen]
    if district.admin_email and district.admin_email not in accounts:
        idle.append(f"GOOGLE_ADMIN_EMAIL names {district.admin_email}, which is no account, so it protects no admin")
    return [Remark(Rule.SETTING, words, "", "correct it or take it out") for words in idle]


def paste_safe(text: str, domains: object, folder: Path) -> str:
    """The text without what must not stand in a public thread: hosts, logins, addresses, domains, folders."""
    dsn, home = os.environ.get("POWERSCHOOL_PROD_DB", ""), os.environ.get("HOME") or os.environ.get("USERPROFILE", "")
    places = " ".join((dsn, os.environ.get("HTTPS_PROXY", ""), os.environ.get("https_proxy", "")))
    words = dict.fromkeys(re.findall(r"(?i)(?:HOST\s*=\s*|//|@|,|^|\s)([\w.-]+)", places), "(host)")
    words |= dict.fromkeys(re.findall(r"[\w-]+(?:\.[\w-]+)+", str(domains)), "(domain)")
    words |= {dsn: "(hidden)", user_name(): "(login)", str(Path(sys.executable).parent): "(python)"}
    words |= {home: "(home)", str(folder): "(folder)"}
    text = re.sub(r"[\w.'+-]+@[\w.-]+", "(address)", re.sub(r'\bhost "[^"]*"', "(host)", text))
    for word in sorted(filter(None, words), key=len, reverse=True):
        spelling = re.escape(word).replace(r"\\", r"\\{1,2}")  # an OSError doubles the backslashes of a path
        text = re.sub(rf"(?<![\w.-]){spelling}(?![\w-])", words[word], text, flags=re.IGNORECASE)
    return without_folders(re.sub(r":( dcid:\d+)+", "", text))


def set_up(run: Run) -> int:
    """Create the custom schemas, fields and building org units that are missing, after showing them and asking."""
    settings, powerschool = run.settings, read_powerschool(run)
    connect_google(run)
    google, schemas, remarks = look_at_frame(run)
    if not any(remark.rule.level == ERROR for remark in remarks):
        google = list_accounts(run, google, lambda: None)
    # What exists and cannot hold its value is told, never replaced: that would lose what it holds.
    wrong = [remark for remark in remarks if remark.rule is Rule.FAULT]
    for remark in wrong:
        log.error("Set-up leaves this to you: %s", remark)
    # Org units that active staff need, parents first. A misspelt protected one is not made: it would protect nobody.
    top, org_units = (settings.STAFF_OU, settings.SUSPENDED_OU), google.org_units
    paths = {*top, *places_of_staff(District(settings, powerschool, google, run.today))}
    paths |= {str(parent) for path in paths for parent in PurePosixPath(path).parents} - {"/"}
    misspelt = [path for path in top if nearly(path, org_units)]
    lacking = [path for path in paths if path.lower() not in org_units and not is_at_or_below(path, misspelt)]
    units = {path.lower(): path for path in sorted(lacking)}.values()
    near = {path: nearly(path, org_units) for path in units}
    missing = [f"the org unit {path} (did you mean {near[path]}, which Google has?)" for path in units if near[path]]
    missing += [f"the org unit {path}" for path in units if not near[path]]
    missing += [f"the custom schema field {name}" for name in settings.fields if name not in schemas]
    for words in missing:
        log.info("Missing: %s", words)
    if not missing:
        log.info("Nothing is missing")
    elif not run.options.dry_run:
        if not run.options.yes and not is_agreed("Create these?"):
            raise RunError("Set-up", "not agreed to, so nothing was created")
        create_missing(run, units, schemas)
    log.info("Next: python sync.py %s", "--setup" if missing and run.options.dry_run else "--check")
    return ATTENTION if wrong else DONE


def create_missing(run: Run, units: Iterable[str], known: Iterable[str]) -> None:
    """Create these org units, and the fields of CUSTOM_SCHEMAS that are not known."""
    connect_google(run, SETUP_SCOPES, browser="--setup")
    customer, schemas = {"customerId": "my_customer"}, run.api.schemas
    for path in units:
        parent, _, name = path.rpartition("/")
        unit = {"name": name, "parentOrgUnitPath": parent or "/"}
        call(run, run.api.orgunits.insert(**customer, body=unit), f"creating {path}")
        run.writes += 1
        log.info("Created: the org unit %s", path)
    for schema, held in run.settings.CUSTOM_SCHEMAS.items():
        shown = {name.partition(".")[2] for name in known if name.startswith(f"{schema}.")}
        types = {label: PERSON_VALUES.get(value) or "STRING" for label, value in held.items() if label not in shown}
        if not types:
            continue
        rest = {"indexed": True, "readAccessType": "ADMINS_AND_SELF"}
        names = {label: label.replace("_", " ") for label in (schema, *types)}
        added = [{"fieldName": n, "displayName": names[n], "fieldType": kind, **rest} for n, kind in types.items()]
        body = {"schemaName": schema, "displayName": names[schema], "fields": added}
        request = schemas.insert(**customer, body=body)
        if shown:  # its whole list of fields is sent, or Google drops the others
            had = call(run, schemas.get(**customer, schemaKey=schema), f"reading the custom schema {schema}")
            if lost := shown - {entry["fieldName"] for entry in had["fields"]}:  # as a late answer may be
                seen = f"Google shows {schema} without {', '.join(sorted(lost))}, which it showed before"
                raise RunError(seen, "", "run --setup again later")
            kept = [{n: v for n, v in f.items() if n not in {"etag", "kind", "fieldId"}} for f in had["fields"]]
            body |= {"displayName": had["displayName"], "fields": [*kept, *added]}
            request = schemas.update(**customer, schemaKey=schema, body=body)
        call(run, request, f"creating fields of {schema}")
        run.writes += 1
        log.info("Created: %d fields of the custom schema %s", len(added), schema)


def explain(run: Run) -> int:
    """What both sides say of one person, which rules decide, what would change and what holds it; writes nothing."""
    who, district = run.options.explain or "", read_both(run)
    district = replace(district, chosen=frozenset(person.dcid for person in people_explained(who, district)))
    if not district.chosen:
        return tell_nearby(run, who, district)
    plans = plan_each(run, district)
    strange = [*rebuilt_powerschool(plans, district), *foreign_staff(district)]
    district, plans = look_up_newcomers(run, district, plans)
    held = too_much(plans, district)
    for plan in (plan for plan in plans if plan.person.dcid in district.chosen):
        tell_sides(plan.person, district)
        remarks = left_by_decision(plan.remarks, run.memory)
        stands = (r for r in run.memory.remarks.values() if r.rule in HAPPENED_ONCE)
        tell_remarks(run, [*remarks, *(r for r in stands if r.subject == subject_of(plan.person))], {})
        rules = [f"{change.kind}: {KINDS[change.kind].rule}" for change in plan.changes]
        if plan.had is not None and not rules and not remarks:
            rules = [f"in step: {IN_STEP}" if plan.person.is_active else f"suspend: {KINDS['suspend'].rule}"]
        for rule in rules:
            log.info("Rule: %s", rule)
        tell_plan([plan], district.settings)
        if not plan.changes:
            log.info("Nothing would change")
            continue
        for reason in (*(f"{r.who}: {r.seen}" for r in held if r.who in limited_kinds(plan)), *strange):
            log.info("Held back: %s", reason)
        if not district.google.is_whole:
            log.info("Whether a limit that counts everybody holds that back tonight, python sync.py --dry-run says")
    return DONE


def people_explained(word: str, district: District) -> list[Staff]:
    """As people_meant, or the only one of this name."""
    named = [person for person in district.powerschool.staff if fold(word) in spellings(person)]
    return people_meant(word, district) or (named if len(named) == 1 else [])


def tell_sides(person: Staff, district: District) -> None:
    """What PowerSchool and Google say of one person."""
    google, private = district.google, district.settings.PRIVATE_VALUES
    said = {
        "teacher_number": person.teacher_number or "(none)",
        "homeschool_id": f"{person.homeschool} ({district.school_name(person.homeschool) or 'unknown'})",
        "school_access_list": ", ".join(f"school {n} (staff type {kind})" for n, kind in person.schools) or "no school",
    }
    number, home, places = ("(private)" if value in private else text for value, text in said.items())
    log.info("PowerSchool: %s, teacher number %s", person, number)
    log.info("PowerSchool: home school %s, active at %s", home, places)
    holder = google.by_address.get(person.email)
    accounts = [*google.by_dcid.get(person.dcid, ()), *([holder] if holder else ())]
    for account in {account.id: account for account in accounts}.values():
        log.info("Google: %s", account)
    if not accounts:
        log.info("Google: no account has this DCID or this address")


def tell_nearby(run: Run, who: str, district: District) -> int:
    """Who comes near a word that fits nobody or several; RunError unless it is the address of an account."""
    text, staff = whom(who)[1], district.powerschool.staff
    spelled = grouped((spelling, person) for person in staff for spelling in spellings(person))
    words = (text, text.partition("@")[0], fold(text))
    close = [near for word in words for near in difflib.get_close_matches(word, spelled, 3, 0.8)]
    for person in {person.dcid: person for near in close for person in spelled[near]}.values():
        log.info("Near: PowerSchool has %s", person)
    if account := district.google.by_address.get(text):
        log.info("Google: %s", account)
        log.info("Nobody in PowerSchool has this address or this account's DCID, so no run writes to the account")
        tell_remarks(run, [r for r in nobodys_accounts(district) if r.who == account.email], {})
        return DONE
    raise RunError(f"--explain {who}", "nobody in PowerSchool has this address, DCID or teacher number")


def spellings(person: Staff) -> set[str]:
    """How somebody may be asked for: by address or a part of it, by one name or by both, in either order, folded."""
    first, last = person.folded_name
    return {person.email, person.email.partition("@")[0], first, last, first + last, last + first} - {""}


# Telling: one line each, readable by a person and by findstr.

# Where a line is shown: plain lines in the log and through a pipe, and at a terminal what reads like a plan.
IN_LOG, AT_TERMINAL = {"place": "log"}, {"place": "terminal"}
DRY_RUN = "Dry run, nothing written. Would do"
BROKEN_OFF = "Done before it stopped"
NOT_RUN = "Did not run"
LAST_GOOD = "runs/last-good.txt"  # when a run of everybody last came to its end, for --check and other monitors
LONGEST_WAIT = 120  # seconds after RUN_MINUTES for what is under way
LONG_WAIT = 5  # seconds before a request is sent again, of which longer ones are told
PROGRESS_SECONDS = 60  # between two lines of the log on how far something long has come
Told = tuple[str, ...]  # of terminal, mail and page: who, which rule since when or what was changed, and more
SOLVED_PROBLEMS, STANDING_PROBLEMS = "Solved problems", "Standing problems"


def tell_what_was_read(district: District) -> None:
    """How much there is on both sides, and settings that fit nobody."""
    powerschool, google = district.powerschool, district.google
    active = sum(person.is_active for person in powerschool.staff)
    counts = (len(powerschool.schools), len(powerschool.staff), active)
    log.info("PowerSchool: %d schools, %d staff, %d of them active", *counts)
    found = sum(dcid in google.by_dcid for dcid in powerschool.by_dcid)
    accounts = len(google.accounts) + len(set(google.others.values()))
    log.info("Google: %d accounts, %d with the DCID of somebody in PowerSchool", accounts, found)


def tell_dry_run(run: Run, district: District, everybody: Sequence[Plan], plans: Sequence[Plan]) -> int:
    """The plan in place of its writes; returns the exit code that the run would have if every write succeeded."""
    if not run.options.is_part:
        rows = linking_rows(everybody, district)
        log.info("Linking: %s", counts_in_words(Counter(row.what for row in rows)))
        if run.options.csv:
            write_csv(run.options.csv, rows)
    run.done = tell_plan(plans, run.settings)
    look_again(run, district.google)
    code = tell(run, DRY_RUN)
    if run.done and not run.options.is_part:
        log.info("Next: read every line above; try a few people with  python sync.py --only WHO")
    return code


def tell(run: Run, ending: str) -> int:
    """The end of the log, in the order in which it is read: held, new, standing, solved, done; the exit code."""
    if run.decisions:  # of whom else nothing has been settled
        run.subjects = frozenset(subject_of(plan.person) for plan, _ in run.done)
    take_stock(run, ending)
    if ending != DRY_RUN:  # which tell_plan has shown
        show_changes(run.done, run.settings)
    for heading, lines in reversed(as_lines(problems(run)).items()):
        show(heading, lines)  # what needs a person last, nearest to the prompt
    log.info("", extra=AT_TERMINAL)
    for remark in run.not_made:
        log.error("Held: %s", remark, extra=IN_LOG)
    tell_remarks(run, [*run.new, *run.standing])
    for remark in run.solved:
        log.info("solved: %s: %s (since %s)", remark.rule.label, remark.who or remark.seen, remark.since, extra=IN_LOG)
    tell_remarks(run, [r for r in run.left_alone if r.since is None or log.isEnabledFor(logging.DEBUG)])
    left = Counter(remark.rule.label for remark in run.left_alone)
    held = f" Held: {run.held_in_words}." if run.not_made else ""
    log.info("%s: %s.%s", ending, counts_in_words(Counter(change.kind for _, change in run.done)), held)
    log.info("Left alone by rule: %s.", counts_in_words(left))
    new = f", {sum(run.needy.values()) or 'none'} of them new" if run.remembers else ""
    log.info("Needs attention: %s.", f"{people(len(run.needy))}{new}: see above" if run.needy else "nobody")
    return max(run.exit_code, tell_answers(run))


def tell_remarks(run: Run, remarks: Sequence[Remark], place: Mapping[str, str] = IN_LOG) -> None:
    """A line for each remark, with its level, and since when it is told."""
    for alike in told_together(remarks):
        remark = alike[0]
        since = f"{age(remark, run.today)}: " if run.remembers else ""
        names = f"{remark.reason} ({len(alike)}): {'; '.join(r.who for r in alike)}"
        words = f"{since}{remark.rule.label}: {names if remark.rule.is_shared else remark}"
        log.log(logging.getLevelName(remark.rule.level), "%s", words, extra=place)


def told_together(remarks: Sequence[Remark]) -> Iterable[list[Remark]]:
    """The remarks of a shared rule with the same words together, and every other one by itself."""
    return grouped(((r.rule, "" if r.rule.is_shared else r, r.since, r.reason), r) for r in remarks).values()


def age(remark: Remark, today: date) -> str:
    """Since when something has been told, in words."""
    if remark.since is None:
        return "new"
    days = (today - remark.since).days
    return f"since {remark.since} ({days} {'day' if days == 1 else 'days'})" if days > 0 else "since today"


def problems(run: Run) -> dict[str, list[Told]]:
    """What terminal, mail and page tell of what needs or needed a person: first what is most urgent."""
    return {
        "Held back": [(remark.who, remark.reason) for remark in run.not_made],
        "New problems": told_of(run.new, run.today),
        STANDING_PROBLEMS: told_of(run.standing, run.today),
        SOLVED_PROBLEMS: told_of(run.solved, run.today),
    }


def told_of(remarks: Sequence[Remark], today: date) -> list[Told]:
    told: list[Told] = []
    for alike in told_together(remarks):
        remark, names = alike[0], "; ".join(remark.who for remark in alike)
        who = (names, "") if len(alike) == 1 else (people(len(alike)), names)
        since = f", {age(remark, today)}" if remark.since else ""
        told.append((who[0], f"{remark.rule.label}{since}", who[1], remark.seen, remark.remedy))
    return told


def as_lines(chapters: Mapping[str, Sequence[Told]]) -> dict[str, list[str]]:
    """Each heading that has entries, with their number and a line for each; of what is known already in short."""
    lines = {}
    for heading, told in chapters.items():
        hint = " (what to do: python sync.py --explain WHO)" if heading == STANDING_PROBLEMS else ""
        length = 2 if heading in {SOLVED_PROBLEMS, STANDING_PROBLEMS} else None
        if told:
            lines[f"{heading} {len(told)}{hint}"] = [": ".join(filter(None, entry[:length])) for entry in told]
    return lines


def tell_plan(plans: Sequence[Plan], settings: Settings) -> list[tuple[Plan, Change]]:
    """Tell what would be done; returns each change with its plan."""
    changes = [(plan, change) for plan in plans for change in plan.changes]
    leavers = [plan.person for plan in plans if settings.REMOVE_SUSPENDED_FROM_GROUPS and is_closing(plan)]
    show_changes(changes, settings)
    show(f"leave all groups {len(leavers)}", [person.name for person in leavers])
    for plan, change in changes:
        log.info("Would %s", change_line(plan, change, settings), extra=IN_LOG)
    for person in leavers:
        log.info("Would take out of all groups: %s", person, extra=IN_LOG)
    return changes


def show_changes(changes: Sequence[tuple[Plan, Change]], settings: Settings) -> None:
    """At a terminal: under each kind a line for each person, with only what differs."""
    column = min(max((len(plan.person.name) for plan, _ in changes), default=0), 24)
    for kind, pairs in grouped((change.kind, (plan.person, change)) for plan, change in changes).items():
        told = grouped(((p.dcid, p.name), describe(change, settings, is_brief=True)) for p, change in pairs)
        lines = [f"{name:<{column}}  {'; '.join(words)}" for (_, name), words in told.items()]
        show(f"{kind} {len(lines)}", lines, column + 4)


def show(heading: str, lines: Sequence[str], indent: int = 6) -> None:
    """At a terminal: a heading, and below it lines that are wrapped at its width."""
    width = max(shutil.get_terminal_size().columns - 1, 40)
    wrap = textwrap.TextWrapper(width, initial_indent="  ", subsequent_indent=" " * indent, break_long_words=False).wrap
    for line in ("", heading, *chain.from_iterable(map(wrap, lines))) if lines else ():
        log.info("%s", line, extra=AT_TERMINAL)


def change_line(plan: Plan, change: Change, settings: Settings) -> str:
    evidence = f" (found by {plan.evidence})" if change.kind == "link" and plan.evidence else ""
    words = describe(change, settings)
    return f"{change.kind:<10} {plan.person}{': ' if words else ''}{words}{evidence}"


def describe(change: Change, settings: Settings, *, is_brief: bool = False) -> str:
    """What it was and what it becomes. Brief: fields and org units by the last part of their names."""
    before, after = change.before, change.after
    both = {**before, **after}
    if change.kind == "create":
        place = last_part(after[ORG_UNIT]) if is_brief else after[ORG_UNIT]
        return f"{after[GIVEN_NAME]} {after[FAMILY_NAME]}, {after[EMAIL]} in {place}"
    if KINDS[change.kind].is_listed:
        return both["alias"] if "alias" in both else f"{both['group']} ({both['role'].lower()})"
    told = (n for n in settings.attributes if n != SUSPENDED and after.get(n) not in {None, before.get(n)})
    return "; ".join(difference(settings.attributes[n], before[n], after[n], settings, is_brief) for n in told)


def difference(attribute: Attribute, before: str, after: str, settings: Settings, is_brief: bool) -> str:
    """What becomes of one attribute; of a private one only whether it was filled, changed or emptied."""
    label = attribute.label.rpartition(".")[2] if is_brief else attribute.label
    if attribute.value in settings.PRIVATE_VALUES:
        return f"{label} (private) {'emptied' if not after else 'changed' if before else 'filled'}"
    if is_brief and attribute.type == "PATH":
        before, after = last_part(before, after), last_part(after, before)
    return f"{label} {shorten(before) or '(empty)'} -> {shorten(after) or '(empty)'}".strip()


def last_part(org_unit: str, other: str = "") -> str:
    """An org unit by its last part, but whole where that would not tell it from the other one."""
    part = org_unit.rpartition("/")[2]
    return org_unit if part in {"", other.rpartition("/")[2]} else part


def people(count: int) -> str:
    return f"{count} {'person' if count == 1 else 'people'}"


def counts_in_words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in counts.items() if count) or "nothing"


def one_line(text: str) -> str:
    """Text that cannot break out of its log line or turn it round: control and format characters as escapes."""
    return "".join(c if unicodedata.category(c) not in {"Cc", "Cf", "Zl", "Zp", "Cs"} else ascii(c)[1:-1] for c in text)


class Terminal(logging.StreamHandler):  # type: ignore[type-arg] # which Python 3.10 cannot give it
    """A terminal, where a line of progress stands until the next line is told."""

    progress = ""

    def format(self, record: logging.LogRecord) -> str:
        level = "" if record.levelname == INFO else f"{record.levelname:<5} "
        return level + super().format(record)

    def emit(self, record: logging.LogRecord) -> None:
        self.show("")
        super().emit(record)

    def show(self, words: str) -> None:
        """Put these words where the last ones were."""
        if words or self.progress:
            with contextlib.suppress(OSError, ValueError):
                self.stream.write(f"{words:<{len(self.progress)}}\r")
                self.stream.flush()
        self.progress = words


def progress(run: Run, words: str, *, every: float = PROGRESS_SECONDS) -> None:
    """Show at a terminal how far something long has come, and in the log if its last such line is so long ago."""
    for handler in log.handlers:
        if isinstance(handler, Terminal):  # of more than a line a part would stay
            handler.show(one_line(words)[: shutil.get_terminal_size().columns - 1])
    if time.monotonic() >= run.progress_told + every:
        run.progress_told = time.monotonic()
        log.info("%s", words, extra=IN_LOG)


def with_progress(run: Run, doing: str, results: Iterable[T], total: int) -> Iterator[T]:
    """The results, one for each of so many people; how far that has come, and how long it may last, is shown."""
    start = time.monotonic()
    for count, result in enumerate(results, 1):
        left = (time.monotonic() - start) * (total / count - 1)
        duration = f"{left:.0f} seconds" if left < 100 else f"{left / 60:.0f} minutes"
        progress(run, f"{doing}: {count} of {people(total)}, {duration} left")
        yield result


class LineFormatter(logging.Formatter):
    """Log lines as the log collectors of districts expect them."""

    def format(self, record: logging.LogRecord) -> str:
        text = without_proxy(super().format(record))
        return one_line(text) if record.exc_info is None else text


def open_screen(verbose: bool) -> None:
    """Log lines go to the screen, if there is one (pythonw has none), with escapes for what it cannot show."""
    for level, name in ((logging.DEBUG, "DBUG"), (logging.INFO, INFO), (logging.WARNING, WARN)):
        logging.addLevelName(level, name)
    logging.getLogger().addHandler(logging.NullHandler())
    log.setLevel(logging.DEBUG if verbose else logging.INFO)
    logging.raiseExceptions = False  # a screen that is gone, as behind `| head`, must not end the run
    if sys.stdout is not None:
        with contextlib.suppress(AttributeError, ValueError):
            sys.stdout.reconfigure(errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]
        if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
            add_handler(Terminal(sys.stdout), "%(message)s")
        else:
            add_handler(logging.StreamHandler(sys.stdout))


def keep_together(run: Run, record: logging.LogRecord) -> bool:
    """False for a line that waits until the turn of the person of whom it tells has ended."""
    lines: list[logging.LogRecord] | None = getattr(run.here, "lines", None)
    if lines is not None:
        lines.append(record)
    return lines is None


def close_screen() -> None:
    """Flush the screen; where nobody reads it any more, Python must not complain of that at its end."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        sys.stdout = None


def add_handler(handler: logging.Handler, form: str = "%(asctime)s %(levelname)-5s %(message)s") -> None:
    handler.setFormatter(LineFormatter(form, "%Y-%m-%d %H:%M:%S"))
    hidden = IN_LOG if isinstance(handler, Terminal) else AT_TERMINAL
    handler.addFilter(lambda record: getattr(record, "place", "") != hidden["place"])
    log.addHandler(handler)


def begin_deadline(run: Run) -> None:
    """After RUN_MINUTES nobody new is begun, and some time later the process ends, whatever it waits for."""
    minutes = run.settings.RUN_MINUTES
    run.deadline = time.monotonic() + minutes * 60
    longest = min(LONGEST_WAIT, 2 * run.settings.TIMEOUT_SECONDS)
    # A screen that takes no more lines, as after Ctrl-S, lets nothing be told: then it ends without a word.
    for wait, end in ((longest, partial(give_up, run)), (4 * longest, partial(os._exit, FAILED))):
        timer = threading.Timer(minutes * 60 + wait, end)
        timer.daemon = True
        timer.start()


def give_up(run: Run) -> None:
    """End a run that waits for something that may never come: the journal, the last line, and the process."""
    for line, change in run.in_flight:
        with contextlib.suppress(RunError):
            cut_off = GoogleError(0, "", "the run ended while it waited for an answer")
            journal(run, {**line, "state": "unknown"}, change, cut_off)
    words = "RUN_MINUTES has been over for some time, and something still does not answer: run again later"
    last_words(run, Remark(Rule.REFUSED, "", words))
    os._exit(told_ending(run, partial(leave_records, run, FAILED)))


def open_log(run: Run, path: Path) -> None:
    """Lines go to this file too; that one could not be written, as to a full disk, is told at the end."""

    def note_failure(record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        words = f"{error.strerror}: make room on the disk" if isinstance(error, OSError) else ""
        run.unkept = run.unkept or words

    try:
        handler = patiently(lambda: logging.StreamHandler(open_private(path, "w")))
    except OSError as error:
        raise no_access(path, "written", error) from None
    handler.handleError = note_failure  # type: ignore[method-assign]
    add_handler(handler)
    run.has_log = True


def last_words(run: Run, failure: Remark) -> None:
    """The last line of a run that did not come to its end: why, and whether anything was written.

    Where no log holds it, it goes to stderr too, which cron mails even if its line throws the screen away.
    """
    written = f"{run.writes} things were created in Google before that" if run.writes else "Nothing was written"
    if run.change_number:
        written = f"{len(run.done)} changes were written before that: see runs/{run.name}.jsonl"
    run.failure, words = failure, str(failure)
    sentence = f"{words.rstrip('.')}{'' if words.endswith('?') else '.'} {written}"
    log.error("%s", sentence)
    is_lost = failure.rule is Rule.FULL_DISK or run.unkept or not run.has_log
    if is_lost and sys.stderr is not None and not has_terminal():
        sys.stderr.write(f"Staff Sync: {one_line(without_proxy(sentence))}\n")


# The spreadsheet: who is linked, in doubt or alone, and what an admin decides about it.

# What of a row must be as it was when a decision about it is carried out; both sides of a row are its key.
MATCHED = ("name", "powerschool_address", "google_name", "google_dcid")
CSV_COLUMNS = (
    "what", "dcid", "name", "powerschool_address", "google_address", "google_name", "google_dcid", "org_unit", "state",
    "last_sign_in", "same", "reason", "decision",
)  # fmt: skip
IS_LINKED = "nothing to do, an account carries the DCID already"
LINK_DOUBTS = (
    Rule.NOT_LINKED, Rule.LINKED_LATER, Rule.PROBABLE_REHIRE, Rule.POSSIBLE_ACCOUNT, Rule.ADDRESS_TAKEN,
    Rule.SOMEBODY_ELSES, Rule.TWO_ACCOUNTS, Rule.TWO_PEOPLE, Rule.RECENTLY_DELETED, Rule.LEFT_OPEN,
)  # fmt: skip
SAVE_AGAIN = "save what --csv has written as CSV again, all its columns with it, with link, create or leave in the last"
NOBODY = -1  # a DCID that nobody has


@dataclass(frozen=True)
class Row:
    """One row of the spreadsheet: a person, an account or both, what they are to each other, and why."""

    what: str
    person: Staff | None
    account: Account | None
    reason: str
    remarks: tuple[Remark, ...] = ()  # what a run tells of it
    is_due: bool = False  # a run links or creates

    @cached_property
    def cells(self) -> dict[str, str]:
        """The texts of CSV_COLUMNS, on one line each."""
        person, account = self.person, self.account
        of_person = (str(person.dcid), person.name, person.email) if person else ("",) * 3
        of_account, same = ("",) * 6, ""
        if account:
            dcid = "" if account.dcid is None else str(account.dcid)
            last = account.last_sign_in or "never"
            of_account = (account.email, account.name, dcid, account.org_unit, account.state, last)
        if person and account:
            same = same_words(person, account)
        texts = (self.what, *of_person, *of_account, same, self.reason, "")
        return {name: one_line(" ".join(text.split())) for name, text in zip(CSV_COLUMNS, texts, strict=True)}

    @property
    def key(self) -> tuple[int, str]:
        return self.person.dcid if self.person else NOBODY, self.account.email if self.account else ""


@dataclass(frozen=True)
class Decision:
    """One decided row of a spreadsheet, as the admin saw it, and the answer where nothing is done about it."""

    number: int
    word: str  # link, create or leave
    key: tuple[int, str]  # the DCID and the address of the account
    cells: Mapping[str, str]
    answer: str = ""

    def excludes(self, other: Decision) -> bool:
        """True where not both can be done: a person linked twice or created too, or an account linked twice."""
        words, (dcid, account) = {self.word, other.word}, self.key
        is_same = dcid == other.key[0] or (words == {"link"} and account == other.key[1])
        return is_same and "link" in words and "leave" not in words

    def __str__(self) -> str:
        who = (self.cells["name"], self.cells["dcid"] and f"DCID {self.key[0]}", self.key[1])
        return f"row {self.number}, {self.word}: {', '.join(filter(None, who))}"


def linking_rows(plans: Sequence[Plan], district: District) -> list[Row]:
    """The rows on everybody who is not simply in step, and on the staff accounts without a person of their own."""
    rows = [row for plan in plans for row in rows_of_person(plan, district)]
    named = {row.account.id for row in rows if row.account} | {plan.had.id for plan in plans if plan.had}
    told = grouped((remark.subject, remark) for remark in nobodys_accounts(district))
    staff = sorted(district.powerschool.staff, key=lambda person: person.is_active)
    found = ((a, p) for p in staff for a in (district.google.by_address.get(p.email), *lookalikes(p, district)))
    likely = {account.id: person for account, person in found if account}
    rows += [
        row_of_rest(account, likely.get(account.id), told.get(f"account:{account.id}", []))
        for account in district.google.accounts.values()
        if account.id not in named and is_staff_place(account, district) and not district.owner(account)
    ]
    return sorted(rows, key=lambda row: [row.cells[name] for name in ("what", "name", "google_address")])


def rows_of_person(plan: Plan, district: District) -> Iterator[Row]:
    """A row for each account that may be this person's, or one without; none where person and account are settled."""
    person, google = plan.person, district.google
    own, holder = google.by_dcid.get(person.dcid, []), google.by_address.get(person.email)
    holders = [plan.had] if plan.had else own or ([holder] if holder else [])
    doubts = [remark for remark in plan.remarks if remark.rule in LINK_DOUBTS]
    found = {r: [google.by_id[r.part]] if r.part in google.by_id else holders for r in doubts}
    if "link" in plan.kinds:
        what, accounts = "link", holders
    elif found:
        what = "left, open" if plan.has(Rule.LEFT_OPEN) else "in doubt"
        accounts = [account for several in found.values() for account in several]
    elif person.is_active and not own:
        # One without address is looked for by the names too.
        accounts = holders or possible_twins(replace(person, email="any"), district)
        what = "skipped" if skip_rule(person, district.settings) else "in doubt" if accounts else "no account"
    else:
        return
    due = [f"a run links it, found by {plan.evidence}"] if what == "link" else []
    due += [f"a run creates it in {change.after[ORG_UNIT]}" for change in plan.changes if change.kind == "create"]
    unique: list[Account | None] = [*{account.id: account for account in accounts}.values()]
    for account in unique or [None]:
        mine = tuple(r for r in plan.remarks if not found.get(r) or account in found[r])
        reason = "; ".join((*(f"{r.rule.label}: {r.reason}" for r in mine), *due)) or "left out for a bug: see the log"
        yield Row(what, person, account, reason, mine, bool(due))


def row_of_rest(account: Account, person: Staff | None, told: Sequence[Remark]) -> Row:
    """The row on an account that no run makes anything of, with the likeliest person, an active one before others."""
    carries = "it has no DCID" if account.dcid is None else f"its DCID {account.dcid} is nobody's in PowerSchool"
    what, words = "nobody in PowerSchool", "nobody's by address, employee ID or names, or HANDS_OFF names it"
    if person:
        what = "unlinked" if person.is_active else "left, open" if account.is_open else "left, closed"
        words = f"no run writes it, as it is not certain to be that of {person}"
    return Row(what, person, account, "; ".join((f"{carries}: {words}", *(r.remedy for r in told))), tuple(told))


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """A spreadsheet for Excel and Sheets: UTF-8 with its mark, and no cell that could be taken for a formula."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for row in rows:
        writer.writerow(re.sub(r"^(?=[-=+@])", "'", cell) for cell in row.cells.values())
    write_own(path, f"\ufeff{text.getvalue()}", "--csv")


def read_table(path: Path) -> list[list[str]]:
    """The cells of a spreadsheet in any of the forms in which Excel and Sheets save text."""
    try:
        raw = path.read_bytes()
        text = raw.decode("utf-16" if raw.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    except OSError as error:
        raise no_access(path, "read", error, "close it where it is open, or name another file") from None
    except UnicodeDecodeError:
        text = raw.decode("cp1252", "replace")
    heading = next(filter(str.strip, text.splitlines()), "")
    table = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=heading.count))
    with contextlib.suppress(csv.Error):  # no text at all, as a workbook
        # A program may have taken the apostrophe before a formula sign for its own.
        return [[re.sub(r"^'(?=[-=+@])", "", " ".join(cell.split())) for cell in row] for row in table]
    return []


def read_sheet(path: Path) -> list[Decision]:
    """The decided rows of a spreadsheet; RunError where one thing in it cannot be understood."""
    rows = [(number, row) for number, row in enumerate(read_table(path), 1) if any(row)]
    names = [cell.casefold() for cell in rows[0][1]] if rows else []
    amiss = [name for name in ("dcid", "google_address", *MATCHED, "decision") if names.count(name) != 1]
    if amiss:
        seen = f"it must have one column {' and one '.join(amiss)}"
        raise RunError(f"{path} is no spreadsheet of --csv", seen, SAVE_AGAIN)
    known: dict[tuple[int, str], Decision] = {}
    faults: list[str] = []
    for number, row in rows[1:]:
        cells = dict.fromkeys(names, "") | dict(zip(names, row, strict=False))
        word, dcid, account = cells["decision"].casefold(), cells["dcid"], cells["google_address"].casefold()
        if word not in {"", "link", "create", "leave"}:
            faults.append(f"row {number} decides '{shorten(word)}', which is none of link, create and leave")
        elif word and not (dcid.isdecimal() if dcid else account):
            faults.append(f"row {number} has a decision, but '{shorten(dcid)}' is no DCID")
        elif word:
            key = int(dcid or NOBODY), account
            other = known.setdefault(key, Decision(number, word, key, cells))
            faults += [f"rows {other.number} and {number} decide the same otherwise"] if other.word != word else []
    if faults or not known:
        raise RunError(f"{path} is not carried out", "; ".join(faults) or "no row has a decision", SAVE_AGAIN)
    return list(known.values())


def as_decided(run: Run, district: District, everybody: Sequence[Plan]) -> tuple[District, list[Plan]]:
    """The district with what was decided and the people whom that changes as chosen, and everybody's plan in it.

    A decision that is not what a run may do is answered, and what is to be left is remembered.
    """
    rows = {row.key: row for row in linking_rows(everybody, district)}
    judged = [replace(d, answer=objection(d, rows.get(d.key), run.decisions, district)) for d in run.decisions]
    taken = [(decision.word, rows[decision.key]) for decision in judged if not decision.answer]
    left = {remark.key: what_was_seen(remark) for word, row in taken if word == "leave" for remark in row.remarks}
    run.memory = replace(run.memory, decisions={**run.memory.decisions, **left})
    theirs = {r.person.dcid: r.account.id for word, r in taken if word == "link" and r.person and r.account}
    aside = grouped((r.person.dcid, r.account and r.account.id) for word, r in taken if word == "create" and r.person)
    district = replace(district, theirs=theirs, not_theirs=aside, chosen={*theirs, *aside})
    district, plans = look_up_newcomers(run, district, plan_each(run, district))
    plan_of = {plan.person.dcid: plan for plan in plans}
    run.decisions = [replace(d, answer=d.answer or planned_otherwise(d, plan_of.get(d.key[0]))) for d in judged]
    agreed = {decision.key[0] for decision in run.decisions if not decision.answer}
    return replace(district, chosen=agreed & {*theirs, *aside}), plans


def objection(decision: Decision, row: Row | None, decisions: Iterable[Decision], district: District) -> str:
    """Why nothing is done about a decision, as far as both sides say it without a plan, or ""."""
    word, new_sheet = decision.word, "make a new sheet with --csv"
    if row is None:
        own = district.google.by_dcid.get(decision.key[0], ())
        is_linked = any(word == "create" or decision.key[1] in account.addresses for account in own)
        gone = f"refused: it is in question no more, or an address or a DCID has changed: {new_sheet}"
        return IS_LINKED if is_linked else gone
    was, now = decision.cells, row.cells
    changed = [
        f"{name} was '{was[name]}' and is '{now[name]}'"
        for name in MATCHED
        # Excel has a question mark in the place of each letter that Windows-1252 lacks.
        if was[name] not in {now[name], now[name].encode("cp1252", "replace").decode("cp1252")}
    ]
    rivals = [f"row {other.number}" for other in decisions if other is not decision and decision.excludes(other)]
    lacks_one = (word != "leave" and not row.person) or (word == "link" and (not row.account or row.account.deleted_on))
    against = {
        f"{'; '.join(changed)}: {new_sheet}": changed,
        "there is nobody in PowerSchool, or no account, in this row for that": lacks_one,
        f"{' and '.join(rivals)} decides otherwise about the same person or account": rivals,
        "a run does it all the same: name the person in HANDS_OFF": word == "leave" and row.is_due,
    }
    return next((f"refused: {words}" for words, is_so in against.items() if is_so), "")


def planned_otherwise(decision: Decision, plan: Plan | None) -> str:
    """Why the plan of this person is not what was decided, or ""."""
    if plan is None or decision.word in {"leave", *plan.kinds}:
        return ""
    why = "" if plan.changes else "; ".join(remark.reason for remark in plan.remarks)
    return f"refused: {why or 'the person is not active any more, or has an account'}"


def tell_answers(run: Run) -> int:
    """One line for each decided row; the exit code that they amount to."""
    made = {(plan.person.dcid, change.kind) for plan, change in run.done}
    done, code = "would be done" if run.ending == DRY_RUN else "done", DONE
    for decision in run.decisions:
        is_made = (decision.key[0], decision.word) in made or (decision.word == "leave" and run.ending != BROKEN_OFF)
        words = decision.answer or (done if is_made else "not done, the lines above say why")
        is_well = words in {done, IS_LINKED}
        log.log(logging.INFO if is_well else logging.ERROR, "%s: %s", decision, words)
        code = code if is_well else ATTENTION
    return code


def left_by_decision(remarks: Iterable[Remark], memory: Memory) -> tuple[Remark, ...]:
    """The remarks; of those that were decided to be left only that, until what is seen changes."""
    return tuple(
        replace(r, rule=Rule.DECIDED, remedy="", part=r.key) if memory.decisions.get(r.key) == what_was_seen(r) else r
        for r in remarks
    )


def what_was_seen(remark: Remark) -> str:
    """What must stay as it is for a decision to hold; somebody's last sign-in is no news."""
    return re.sub(r"last sign-in \S+", "", remark.seen)


# Remembering: what stands from run to run, in runs/standing.json.

STANDING = "runs/standing.json"
NIGHTS = 30
ENDINGS = frozenset({Rule.REFUSED, Rule.IMPLAUSIBLE, Rule.FULL_DISK})  # what keeps a run from its end
HAPPENED_ONCE = {  # and what to do about it
    Rule.GROUP_STAYS: "take it out by hand",
    Rule.NO_OWNER: "give it another one",
    Rule.PASSWORD: "reset it in the Admin console",
}
MET_IN_WRITING = frozenset({Rule.FAILED, Rule.ENDED, Rule.BUG})


def take_stock(run: Run, ending: str) -> dict[str, Remark]:
    """Hold what is told against what was told until now, which is what the run amounts to; returns what stands."""
    known = run.memory.remarks
    told = [run.failure, *run.remarks] if run.failure else run.remarks
    now = [replace(r, since=known[r.key].since if r.key in known else None) for r in told if r.rule is not Rule.LIMIT]
    current = {remark.key: remark for remark in now}
    gone = [remark for key, remark in known.items() if key not in current]
    solved = [remark for remark in gone if is_looked_at(remark, run, ending)]
    kept = [remark for remark in gone if not is_looked_at(remark, run, ending)]
    shown = [*now, *(remark for remark in kept if is_asked_of(remark, run))]
    needed = sorted((r for r in shown if r.rule.level != INFO), key=lambda remark: remark.rule.level != ERROR)
    since = [remark for remark in needed if remark.since]
    run.ending, run.last_good = ending, last_good(run.folder)
    run.new = [remark for remark in needed if remark.since is None]
    run.standing = sorted(since, key=lambda remark: (remark == run.failure, str(remark.since)), reverse=True)
    run.solved = [remark for remark in solved if remark.rule.level != INFO and remark.since]
    run.left_alone = sorted((r for r in now if r.rule.level == INFO), key=lambda remark: remark.rule.label)
    run.exit_code = HELD if run.not_made else ATTENTION if run.needy else DONE
    return {remark.key: remark for remark in (*kept, *now)}


def is_asked_of(remark: Remark, run: Run) -> bool:
    """True but for what concerns others than the people of a run for some only."""
    return run.subjects is None or remark.subject in run.subjects


def is_looked_at(remark: Remark, run: Run, ending: str) -> bool:
    """True if this run has seen that something told before is so no more, and not only met it no more."""
    if ending == NOT_RUN or not is_asked_of(remark, run):
        return False
    if remark.rule in MET_IN_WRITING:
        return remark.subject not in run.waiting
    # Which happened only once is looked at last.
    return ending != BROKEN_OFF or remark.rule not in {*ENDINGS, *HAPPENED_ONCE}


def look_again(run: Run, google: Google) -> None:
    """Note what happened only once and Google does not show put right yet; what stands twice is noted once."""
    noted = {remark.key for remark in run.remarks}
    for remark in run.memory.remarks.values():
        is_due = remark.rule in HAPPENED_ONCE and is_asked_of(remark, run) and remark.key not in noted
        if is_due and still_so(run, remark, google):
            run.remarks.append(remark)


def still_so(run: Run, remark: Remark, google: Google) -> bool:
    """Whether Google shows still what is told once: a password nobody knows, a group without owner, a membership."""
    group_id, account_id = remark.watched
    try:
        if remark.rule is Rule.NO_OWNER:
            return not has_owner(run, group_id)
        account = google.accounts.get(account_id) or (get_account(run, account_id) if account_id else None)
        if remark.rule is Rule.PASSWORD or account is None:
            return account is not None and not account.last_sign_in
        groups = groups_of(run, account.id) if account.is_suspended else []
        return any(group.get("id") == group_id or not group_id for group in groups)
    except GoogleError as error:
        return error.status != 404


def once(person: Staff, rule: Rule, seen: str = "", group_id: str = "", account_id: str = "") -> Remark:
    """A remark on what happens only once, with what Google is asked about until it is put right."""
    return replace(about(person, rule, seen, HAPPENED_ONCE[rule], group_id), watched=(group_id, account_id))


def happened_once(run: Run, powerschool: PowerSchool) -> dict[str, Remark]:
    """By the journals that no memory is of, as of a run that was killed: what happens only once and may still be so."""
    found: dict[str, Remark] = {}
    told = run.memory.nights[-1].run if run.memory.nights else ""
    paths = [path for path in journals(run.folder) if path.stem > told]
    for row in (row for path in paths for row in journal_rows(run, path) if "undo" not in row):
        person = powerschool.by_dcid.get(row["dcid"], Staff(row["dcid"], "", "", row["email"]))
        group, group_id = row["before"].get("group"), str(row["before"].get("groupId", ""))
        match row["kind"], row["state"]:
            case "create", "intended" | "done" | "unknown" if not os.environ.get("NEW_USER_PASSWORD"):
                remark = once(person, Rule.PASSWORD, account_id=row["account"] or row["email"])
            case "create", "failed":
                found.pop(once(person, Rule.PASSWORD).key, None)
                continue
            case "leave group", "failed" | "unknown":
                seen = f"{row['email']} stays in the group {group}"
                remark = once(person, Rule.GROUP_STAYS, seen, group_id, row["account"])
            case "leave group", "done" if row["before"].get("role") == "OWNER":
                remark = once(person, Rule.NO_OWNER, f"the group {group} has lost its last owner", group_id)
            case _:
                continue
        found[remark.key] = remark
    return found


def read_memory(folder: Path) -> Memory:
    """What runs/standing.json holds; one that cannot be read is lost, and says why."""
    try:
        kept = json.loads((folder / STANDING).read_text(encoding="utf-8"))
        remarks = {remark.key: remark for remark in map(remark_of, kept["matters"])}
        nights = tuple(Night(**row) for row in kept["nights"])
        return Memory(remarks, nights, dict(kept["decisions"]), dict(kept["mail"]))
    except FileNotFoundError:
        return Memory()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        seen = f"{STANDING} cannot be read ({type(error).__name__}), so all is told as new"
        return Memory(damage=Remark(Rule.MEMORY, seen, "", "the damaged one is kept beside it"))


def remark_of(row: Mapping[str, Any]) -> Remark:
    """One entry of runs/standing.json; ValueError, KeyError or TypeError for one that is none."""
    group_id, account_id = row["watched"]
    read = {"rule": Rule[row["rule"]], "watched": (group_id, account_id), "since": date.fromisoformat(row["since"])}
    return Remark(**{**row, **read})


def remember(run: Run) -> None:
    """What the next run and whoever reads in the morning find: what stands, and when a run was last good."""
    if run.options.undo is not None or (run.failure and run.options.is_part):
        return
    if not run.has_log:  # it did not come as far as what was told before
        run.memory = read_memory(run.folder)
    ending = run.ending or (BROKEN_OFF if run.done else NOT_RUN)
    run.memory = replace(run.memory, remarks=take_stock(run, ending))
    if not (run.failure or run.options.is_part):
        failed = sum(remark.rule is Rule.FAILED for remark in run.remarks)
        night = Night(run.name, len(run.changed), failed, len(run.new) + len(run.standing))
        run.memory = replace(run.memory, nights=(*run.memory.nights, night)[-NIGHTS:])
        keep(run, LAST_GOOD, run.started.isoformat())
    write_memory(run)


def last_good(folder: Path) -> datetime | None:
    """When a run of everybody last came to its end, or None where nothing says so."""
    with contextlib.suppress(OSError, ValueError):
        return datetime.fromisoformat((folder / LAST_GOOD).read_text(encoding="utf-8").strip()).astimezone()
    return None


def write_memory(run: Run) -> None:
    """Write runs/standing.json; one that was damaged is kept beside it."""
    memory, path = run.memory, run.folder / STANDING
    rows = [{**vars(r), "rule": r.rule.name, "since": str(r.since or run.today)} for r in memory.remarks.values()]
    if memory.damage:
        with contextlib.suppress(OSError):
            path.replace(path.with_name(f"standing-damaged-{run.name}.json"))
        run.memory = replace(memory, damage=None)  # what is written from now on is whole
    nights = [vars(night) for night in memory.nights]
    kept = {"matters": rows, "nights": nights, "decisions": memory.decisions, "mail": memory.mail}
    keep(run, STANDING, json.dumps(kept, indent=1) + "\n")


def keep(run: Run, name: str, text: str) -> None:
    """Write this file in the run's folder; that it cannot be written is told at the end."""
    try:
        write_private(run.folder / name, text)
    except RunError as error:
        run.unkept = str(error)


# Mail and page: the morning in one minute, for whoever does not read logs.

LONGEST_SUBJECT, LONGEST_ANSWER = 114, 300
MAIL_TEST = "mail test"
SOME = "some"  # the part of the remark on a mail that not everybody got
NO_MAIL_SERVER = "correct SMTP_HOST, SMTP_PORT and SMTP_SECURITY, and see to DNS and the firewall"
# What to do about each class of errors that keeps a mail from being sent, by its name.
MAIL_REMEDIES = {
    "SMTPAuthenticationError": "correct SMTP_USER and SMTP_PASSWORD (often one for apps alone)",
    "SMTPSenderRefused": "let MAIL_FROM be an address that may send here; where the server asks for a sign-in, set "
        'SMTP_USER and SMTP_PASSWORD (never sent with SMTP_SECURITY "none")',
    "SMTPResponseException": "ask whoever runs the mail server in SMTP_HOST",
    "SMTPServerDisconnected": NO_MAIL_SERVER,
    "SMTPException": "without STARTTLS choose another SMTP_PORT or SMTP_SECURITY; without sign-in unset SMTP_USER",
    "SSLCertVerificationError":
        "let SMTP_HOST be the name in the server's certificate, or set SSL_CERT_FILE to the CA file it comes from",
    "SSLError": 'most servers want SMTP_SECURITY "starttls" with SMTP_PORT 587, and "tls" with 465',
    "ValueError": "correct SMTP_HOST; SMTP_USER and SMTP_PASSWORD may hold ASCII characters only",
}  # fmt: skip


def mail_subject(run: Run) -> str:
    """The morning in a line that is enough on a phone."""
    if run.failure:
        text = without_folders(without_proxy(result_of(run)[0]))
        text = re.sub(r"(?<=: )Settings: | at POWERSCHOOL_PROD_DB=.*?(?=\), )", "", text)  # hosts are not for a phone
        return one_line(textwrap.shorten(text, LONGEST_SUBJECT, placeholder=" ..."))
    new, standing = ({r.who or r.seen for r in told} for told in (run.new, run.standing))
    changed, held = len(run.changed), sum(run.held.values())
    figures = f"{len(new)} new, {len(new | standing)} open, {changed} changed, {held} held"
    solved = f", {len(run.solved)} solved" if run.solved else ""
    return f"Staff Sync{f' ({run.part})' if run.part else ''}: {figures}{solved}"


def result_of(run: Run) -> list[str]:
    """The result in a sentence, what was done by kind, and when a run was last good."""
    done = f"{run.ending}: {counts_in_words(Counter(change.kind for _, change in run.done))}."
    if run.failure:
        result = f"Staff Sync DID NOT {'RUN' if run.ending == NOT_RUN else 'FINISH'}: {run.failure}"
        done = "Nothing was changed." if run.ending == NOT_RUN else done
    elif run.part == MAIL_TEST:
        result, done = f"This is a {MAIL_TEST} of Staff Sync", "Nothing was read or written."
    else:
        needy, is_plan = run.needy, run.ending == DRY_RUN
        would = "would change" if is_plan else "changed"
        did = f"{would} {people(len(run.changed))}" if run.changed else "found nothing to change"
        need = f"{people(len(needy))} {'needs' if len(needy) == 1 else 'need'}" if needy else "nobody needs"
        new = f", {sum(needy.values()) or 'none'} of them new" if needy else ""
        held = f"; held back: {run.held_in_words}" if run.not_made else ""
        result = f"{'Dry run, nothing was written: ' if is_plan else ''}Staff Sync {did}; {need} attention{new}{held}"
    begun, last_good = run.started.astimezone(), "none is on record"
    if run.last_good:
        days = (run.started - run.last_good).total_seconds() / 86400
        last_good = f"{run.last_good.astimezone():%Y-%m-%d %H:%M} ({days:.1f} days ago)"
    return [result, done, f"Begun on {begun:%A, %Y-%m-%d, at %H:%M}. The last good run before this one: {last_good}."]


def mail_text(run: Run) -> str:
    lines = result_of(run)
    for heading, entries in as_lines({**problems(run), **changed_places(run)}).items():
        lines += ["", heading, *(f"- {line}" for line in entries)]
    return "".join(f"{one_line(without_proxy(line))}\n" for line in lines)


def mail_is_due(run: Run) -> bool:
    """Whether this morning is worth a mail, by MAIL_WHEN."""
    if not run.settings.MAIL_TO or run.part:
        return False
    is_problem = run.new or run.not_made or run.memory.mail.get("is_owed")
    is_news = (run.done or run.solved) and not run.failure
    is_first_today = run.memory.mail.get("day") != str(run.today)
    is_reminder = is_first_today and (run.failure or (run.standing and run.today.weekday() == 0))
    asked = {"news": is_problem or is_news or is_reminder, "problems": is_problem or is_reminder, "always": True}
    return bool(asked[run.settings.MAIL_WHEN])


def mail_morning(run: Run) -> None:
    """Send the mail of a run of everybody if it is due, and remember that; even by settings with faults elsewhere."""
    run.settings = run.settings or mail_settings(run.options.config) or NO_SETTINGS
    if run.settings and mail_is_due(run):
        if remark := send_mail(run):
            log.warning("%s", remark)
        mailed = {"day": str(run.today), "is_owed": remark is not None and remark.part != SOME}
        run.memory = replace(run.memory, mail=mailed)
        write_memory(run)


def mail_test(run: Run) -> int:
    """Send a mail of what stands, due or not; RunError with what the server answered if somebody does not get it."""
    run.settings = mail_settings(run.options.config) or NO_SETTINGS
    if not run.settings:
        load_settings(run.options.config)
        raise RunError("No mail can be sent", "MAIL_TO in config.py names nobody")
    run.memory, run.part = read_memory(run.folder), MAIL_TEST
    take_stock(run, NOT_RUN)
    if remark := send_mail(run):
        raise RunError(remark.who, remark.seen, remark.remedy)
    return DONE


def send_mail(run: Run) -> Remark | None:
    """Send the morning to everybody in MAIL_TO; what kept it from all or some of them, or None."""
    settings, failed = run.settings, "the morning mail could not be sent"
    server, message = f"{settings.SMTP_HOST}:{settings.SMTP_PORT}", EmailMessage()
    try:
        message["Subject"], message["Date"] = mail_subject(run), localtime()
        message["From"], message["To"] = f"Staff Sync <{settings.MAIL_FROM}>", ", ".join(settings.MAIL_TO)
        message["Message-ID"] = make_msgid(domain=settings.MAIL_FROM.rpartition("@")[2])  # and never this machine's
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(mail_text(run), cte="quoted-printable")
        message.add_alternative(page_of(run), subtype="html", cte="quoted-printable")
        # Of a server that drips no time-out is ever over.
        handed_over = in_background(partial(deliver, message, settings))
        answer, refused = handed_over.result(5 * settings.TIMEOUT_SECONDS)
    except (OSError, ValueError, NoAnswerYet) as error:  # smtplib's errors are an OSError
        # What Python says of a character that it cannot send may be a part of the password.
        reason = type(error).__name__ if isinstance(error, UnicodeError) else str(error)
        said = f"cannot be used ({reason or 'no answer'})"
        if isinstance(error, smtplib.SMTPResponseException):
            said = f"answered {in_words(error.smtp_code, error.smtp_error)}"
        remedies = [MAIL_REMEDIES[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in MAIL_REMEDIES]
        return Remark(Rule.MAIL, failed, f"{server} {said}", [*remedies, NO_MAIL_SERVER][0])
    if refused:
        others, part = (", the others got it", SOME) if answer else ("", "")
        seen = f"{server} answered {'; '.join(refused)}{others}"
        return Remark(Rule.MAIL, failed, seen, "correct MAIL_TO", part=part)
    log.info("Mail sent to %s: %s answered %s", ", ".join(settings.MAIL_TO), server, answer)
    return None


def deliver(message: EmailMessage, settings: Settings) -> tuple[str, list[str]]:
    """Hand the mail over; the server's answer, "" where it refused every address, and its words on each of these."""
    context = ssl.create_default_context()
    connect: Any = partial(smtplib.SMTP_SSL, context=context) if settings.SMTP_SECURITY == "tls" else smtplib.SMTP
    # smtplib greets with the name of this machine, unless told another.
    place = settings.SMTP_HOST, settings.SMTP_PORT, settings.MAIL_FROM.rpartition("@")[2]
    with contextlib.closing(connect(*place, timeout=settings.TIMEOUT_SECONDS)) as server:
        if settings.SMTP_SECURITY == "starttls":
            server.starttls(context=context)
        if os.environ.get("SMTP_USER") and settings.SMTP_SECURITY != "none":
            server.login(os.environ["SMTP_USER"], os.environ.get("SMTP_PASSWORD", ""))
        server.ehlo_or_helo_if_needed()
        code, words = server.mail(settings.MAIL_FROM)
        if code != 250:
            raise smtplib.SMTPSenderRefused(code, words, settings.MAIL_FROM)
        answers = [(*server.rcpt(address), address) for address in settings.MAIL_TO]
        refused = [f"{in_words(code, words)} to {address}" for code, words, address in answers if code // 100 != 2]
        if len(refused) == len(answers):
            return "", refused
        code, words = server.data(message.as_bytes(policy=SMTP))
        if code != 250:
            raise smtplib.SMTPDataError(code, words)
        with contextlib.suppress(OSError):  # the mail is on its way, whatever is answered now
            server.quit()
    return in_words(code, words), refused


def in_words(code: int, words: bytes | str) -> str:
    """The answer of a mail server, without a password in it: some repeat the line they did not like."""
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else words
    user, password = os.environ.get("SMTP_USER", ""), os.environ.get("SMTP_PASSWORD", "")
    sent = [b64encode(line.encode()).decode() for line in (f"\0{user}\0{password}", password)]
    for secret in filter(None, (*sent, password)):
        text = text.replace(secret, "(hidden)")
    return f"{code} {' '.join(text.split())}"[:LONGEST_ANSWER]


PAGE = Template("""\
<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="generator" content="Staff Sync">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>$title</title>
<style>
:root {color-scheme: light dark}
body {margin: 0 auto; padding: 1rem; max-width: 60rem; background: Canvas; color: CanvasText;
 font: 1rem/1.45 system-ui, sans-serif; overflow-wrap: anywhere}
h1 {font-size: 1.35rem; line-height: 1.25; padding-left: .75rem; border-left: .375rem solid #2b8a57}
h2 {font-size: 1.2rem; margin: 1rem 0 .5rem; display: inline-block}
ul, figure {margin: 0; padding: 0; list-style: none}
li {margin: .5rem 0; padding-left: .75rem; border-left: .1875rem solid #8a8f98}
li p {margin: 0}
.bad, #held-back li, #new-problems li {border-color: #d0392b}
#new-staff li {display: grid; grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr))}
svg {display: block; width: 100%; max-width: 26rem; height: auto}
@media print {:root {color-scheme: only light} li, svg {break-inside: avoid}}
</style></head><body>
<header><h1 class="$look">$first</h1>$rest</header>
<main>$sections$history</main>
<footer><p>$whole</p></footer>
</body></html>
""")
PAGE_START = PAGE.template.partition("\n")[0]
LEFT_ALONE = "Left alone by rule"
PLACES = ("New staff", "Left", "Returned", "Renamed", "Moved", "Other changes")


def changed_places(run: Run) -> dict[str, list[Told]]:
    """Under each heading of PLACES everybody with such changes, and what each was and became."""
    told: dict[str, list[Told]] = {}
    for place in PLACES:
        changes = grouped((str(plan.person), (plan, c)) for plan, c in run.done if KINDS[c.kind].place == place)
        told[place] = [(who, *what_became(theirs, run)) for who, theirs in changes.items()]
    return told


def what_became(changes: Sequence[tuple[Plan, Change]], run: Run) -> Told:
    """What was changed of one person; of a new one building and org unit: the help desk hands out devices."""
    plan, change = changes[0]
    if change.kind == "create":
        org_unit = change.after[ORG_UNIT]
        building = run.district.school_name(plan.person.homeschool) if run.district else last_part(org_unit)
        return building, org_unit
    told = grouped((KINDS[c.kind].lead, describe(c, run.settings, is_brief=True)) for _, c in changes)
    words = [f"{lead} {', '.join(filter(None, texts))}".strip() for lead, texts in told.items()]
    is_planned = run.ending == DRY_RUN and run.settings.REMOVE_SUSPENDED_FROM_GROUPS and is_closing(plan)
    if change.kind == "reactivate" and run.district and plan.had and not plan.undoes:
        words += in_groups_before(plan, plan.had.id, run.district)
    return ("; ".join([*words, *(["taken out of all groups"] if is_planned else [])]),)


def page_of(run: Run) -> str:
    """The morning as one HTML page without script and outside resource, which is the HTML part of the mail too."""
    first, *rest = map(shown, result_of(run))
    chapters = {**problems(run), **changed_places(run), LEFT_ALONE: told_of(run.left_alone, run.today)}
    return PAGE.substitute(
        title=shown(mail_subject(run)),
        look="good" if run.exit_code == DONE else "bad",
        first=first,
        rest="".join(f"<p>{line}</p>" for line in rest),
        sections="".join(section(heading, told) for heading, told in chapters.items() if told),
        history=history(run.memory.nights) if run.memory.nights else "",
        whole=shown(f"Staff Sync {VERSION}. Run {run.name}. Exit code {run.exit_code}."),
    )


def section(heading: str, told: Sequence[Told]) -> str:
    """A list that can be folded, and is folded where nobody needs to do anything."""
    items = ""
    for entry in told:
        who, *rest = map(shown, filter(None, entry))
        items += f"<li><b>{who}</b>{''.join(f'<p>{words}</p>' for words in rest)}</li>\n"
    name, is_open = heading.lower().replace(" ", "-"), heading != LEFT_ALONE
    summary = f"<summary><h2>{heading} <small>{len(told):,}</small></h2></summary>"
    return f'<details id="{name}"{" open" if is_open else ""}>{summary}<ul>\n{items}</ul></details>\n'


def history(nights: Sequence[Night]) -> str:
    """The last runs as bars in three rows, each with its own name and scale, and the figures in words."""
    days = [shown(f"{night.run[:4]}-{night.run[4:6]}-{night.run[6:8]}") for night in nights]
    drawn, told = "", []
    for name, base in (("changed", 38), ("failed", 82), ("standing", 126)):
        counts = [getattr(night, name) for night in nights]
        most = max(counts)
        told.append(f"{name} {counts[-1]:,} (at most {most:,})")
        drawn += f'<text y="{base}">{name}</text><path d="M90 {base}H330" stroke="currentColor"/>'
        for place, count in enumerate(counts):
            height = 28 * count / max(most, 1)
            size = f'x="{90 + 8 * place}" y="{base - height:.1f}" width="6" height="{height:.1f}"'
            drawn += f"<rect {size}><title>{days[place]}: {count:,} {name}</title></rect>"
    size = 'width="332" height="132" viewBox="0 0 332 132" font-size="12" fill="currentColor"'
    bars = f'<svg {size} role="img" aria-label="Bars for each run, in words below">{drawn}</svg>'
    words = f"From {days[0]} to {days[-1]}. In the last of them: {', '.join(told)}."
    return f"<h2>The last runs</h2><figure>{bars}<figcaption>{words}</figcaption></figure>"


def shown(words: str) -> str:
    """Text that is nothing but text in HTML, and cannot turn its line round."""
    return html.escape(one_line(without_proxy(words)))


def check_own(path: Path, option: str) -> None:
    """RunError where an option names what is there and is none of its own files, or a folder that is not there."""
    starts = {"--csv": ",".join(CSV_COLUMNS[:2]), "--page": PAGE_START}
    try:
        if path.exists() and not path.read_text("utf-8-sig", "replace").startswith(starts[option]):
            raise RunError(f"{path} is there and is not of Staff Sync", "", f"name another file after {option}")
        path.parent.stat()
    except OSError as error:
        raise no_access(path, "written", error, f"name another file after {option}") from None


def write_own(path: Path, text: str, option: str) -> None:
    """Write what an option asks for, over nothing but an older one."""
    check_own(path, option)
    write_private(path, text, f"close it where it is open, or name another file after {option}")
    log.info("%s is written", path)


def keep_page(run: Run, wanted: Path | None, *, is_kept: bool) -> None:
    """The page where --page wants it and, if it is to be kept, in runs/; everybody's as runs/latest.html too."""
    page, names = page_of(run), (run.name, *(() if run.part else ("latest",)))
    try:
        for name in names if is_kept else ():
            write_private(run.folder / "runs" / f"{name}.html", page)
        if wanted:
            write_own(wanted, page, "--page")
    except RunError as error:
        log.warning("The page was not kept: %s", error)


# Settings: config.py and the environment, every fault in one go.


def is_day(text: str) -> bool:
    with contextlib.suppress(ValueError):
        return bool(re.fullmatch(r"\d{4}-\d\d-\d\d", text) and date.fromisoformat(text))
    return False


# What its type does not say of a setting: in words, and as a pattern or a test of the value.
OrgUnit = Annotated[str, 'a path such as "/D118 Staff", with / at its beginning and none at its end', "/(.*[^/])"]
Domain = Annotated[str, 'a domain such as "d118.org"', r"[^@\s]+"]
Text = Annotated[str, "text that is not empty", r"(?s).*\S.*"]
Day = Annotated[str, 'a day such as "2027-06-30"', is_day]
MonthDay = Annotated[str, 'a month and a day such as "06-10"', lambda value: is_day(f"2028-{value}")]
MAIL_ADDRESS = r"[A-Z0-9.!#$%&'*+/=?^_{|}~-]+@[A-Z0-9-]+(\.[A-Z0-9-]+)*"
MailAddress = Annotated[str, 'an address such as "it@d118.org"', MAIL_ADDRESS]
MailSender = Annotated[str, '"" or an address such as "staff-sync@d118.org"', f"({MAIL_ADDRESS})?"]
MailServer = Annotated[str, '"" or a name without port, as "smtp.d118.org"', "[A-Z0-9._-]*|[0-9A-F]*(:[0-9A-F]*){2,}"]
MailWhen = Annotated[str, '"news", "problems" or "always"', {"news", "problems", "always"}.__contains__]
MailSecurity = Annotated[str, '"starttls", "tls" or "none"', {"starttls", "tls", "none"}.__contains__]
OracleSchema = Annotated[str, '"" or a schema such as "PS"', r"([A-Z][A-Z0-9_$#]{0,127})?"]
Column = Annotated[str, '"table.column"', r"[A-Z][A-Z0-9_$#]{0,127}\.[A-Z][A-Z0-9_$#]{0,127}"]
FieldName = Annotated[str, "a name of letters, digits, _ and -", r"[A-Z0-9_-]+"]
PersonOrAccount = Annotated[str | int, "an address or a DCID", r"\s*((dcid:)?\d+|[^@\s]+@[^@\s]+)\s*"]
LimitedKind = Annotated[str, f"one of {', '.join(DEFAULT_LIMITS)}", DEFAULT_LIMITS.__contains__]
Number = Annotated[int, "a whole number, 0 or more", lambda value: value >= 0]
Workers = Annotated[int, "a whole number from 1 to 20", lambda value: 1 <= value <= 20]
Port = Annotated[int, "a port such as 587", lambda value: 0 < value < 65536]
Share = Annotated[float, "a share such as 0.2", lambda value: 0 < value <= 1]
Amount = Annotated[float, "a number above 0 and at most 86400", lambda value: 0 < value <= 86400]
TYPE_WORDS = {
    bool: "True or False", str: "text in quotes", list: "a list in []", tuple: "a pair in ()",
    dict: "entries in {}, each with a colon",
}  # fmt: skip
SETTING_TYPES = get_type_hints(Settings, include_extras=True)


def load_settings(path: Path) -> Settings:
    """The settings in this config.py; a RunError that names every fault otherwise, those of the environment too."""
    values, faults = read_config(path)
    everything = [f"{path}: {'; '.join(map(str, faults))}"] if faults else []
    everything += [f"the environment variable {remark.who} {remark.reason}" for remark in environment_faults()]
    if everything:
        raise RunError("Settings", "; ".join(everything))
    return settings_of(values)


def settings_of(values: Mapping[str, Any]) -> Settings:
    """The settings with these values; what is missing is empty, or as shipped where it was added later."""
    empty: dict[str, Any] = {name: {} for name in REQUIRED_SETTINGS}
    return Settings(**{**empty, **values, "LIMITS": DEFAULT_LIMITS | values.get("LIMITS", {})})


def read_config(path: Path) -> tuple[dict[str, Any], list[Remark]]:
    """The settings in this config.py by name, and every fault in it."""
    try:
        source = path.read_bytes()
        if b"\0" in source:
            return {}, [fault("it is saved as UTF-16", "save it as UTF-8 (in Notepad: Save as, Encoding)")]
        values = {name: value for name, value in runpy.run_path(str(path)).items() if name.isupper()}
        return values, [*glued_texts(source), *config_faults(values)]
    except OSError as error:
        seen = f"it cannot be read by the account {account_name()} ({error.strerror})"
        return {}, [fault(seen, right_command(path, error))]
    except SyntaxError as error:
        return {}, [fault(f"line {error.lineno} is not valid Python ({error.msg})")]
    except (Exception, SystemExit) as error:  # noqa: BLE001 - config.py is the admin's own Python and may raise anything
        line = traceback.extract_tb(error.__traceback__)[-1].lineno
        return {}, [fault(f"it stops at line {line} with {type(error).__name__}: {error}")]


def mail_settings(path: Path) -> Settings | None:
    """What this config.py says of mail, beside faults elsewhere in it; None where it names nobody or not enough."""
    values = read_config(path)[0]
    usable = {n: v for n, v in values.items() if n in SETTING_TYPES and not any(misfits(v, SETTING_TYPES[n]))}
    return settings_of(usable) if usable.get("MAIL_TO") and not any(mail_faults(usable)) else None


def config_faults(values: Mapping[str, Any]) -> list[Remark]:
    """Settings that are missing, unknown or not of their type, or else contradict one another."""
    faults = [fault(f"{name} is missing") for name in REQUIRED_SETTINGS if name not in values]
    for name, value in values.items():
        if name in SETTING_TYPES:
            wrong = misfits(value, SETTING_TYPES[name])
            faults += [Remark(Rule.FAULT, f"{name} must be {words}", f"not {seen}") for seen, words in wrong]
        else:
            near = difflib.get_close_matches(name, SETTING_TYPES, 1)
            faults.append(fault(f"{name} is not a setting{f': is {near[0]} meant?' if near else ''}"))
    return faults or [fault(words) for words in contradictions(values)]


def glued_texts(source: bytes) -> Iterator[Remark]:
    """Where two texts of a list have no comma between them: Python makes one entry of them, which nobody wrote."""
    tokens = tokenize.tokenize(io.BytesIO(source).readline)
    depth = 0
    for before, token in pairwise(t for t in tokens if t.type not in {tokenize.NL, tokenize.COMMENT}):
        depth += (token.string == "[") - (token.string == "]")
        if depth and before.type == token.type == tokenize.STRING:
            yield fault(f"line {token.start[0]}: a comma is missing between {before.string} and {token.string}")


def misfits(value: Any, hint: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """What is there and what it must be, for everything in a setting that its type does not allow."""
    kind, words, fits = get_args(hint) if get_origin(hint) is Annotated else (hint, "", "(?s).*")
    origin, parts = get_origin(kind) or kind, get_args(kind)
    accepted: Any = {float: (int, float), tuple: (tuple, list), UnionType: kind}.get(origin, origin)
    is_right = isinstance(value, accepted) and isinstance(value, bool) == (origin is bool)
    if not is_right or (origin is tuple and len(value) != len(parts)):
        quotes = ", without quotes" if isinstance(value, str) and kind in {bool, int, float} else ""
        yield f"{value!r}{place}", f"{words or TYPE_WORDS[origin]}{quotes}"
    elif not (re.fullmatch(fits, str(value), re.IGNORECASE) if isinstance(fits, str) else fits(value)):
        yield f"{value!r}{place}", words
    elif origin in {list, tuple}:
        for position, entry in enumerate(value):
            yield from misfits(entry, parts[0 if origin is list else position], place)
    elif origin is dict:
        for key, entry in value.items():
            yield from misfits(key, parts[0])
            yield from misfits(entry, parts[1], f" for {key!r}")


def contradictions(values: Mapping[str, Any]) -> Iterator[str]:
    """Faults between settings that are each well-formed."""
    extension, private = values["EXTENSION_COLUMNS"], values["PRIVATE_VALUES"]
    used = [value for held in values["CUSTOM_SCHEMAS"].values() for value in held.values()]
    known = [*PERSON_VALUES, *extension]
    none_of = f"which is none of {', '.join(known)}"
    yield from (f"CUSTOM_SCHEMAS names the value '{v}', {none_of}" for v in used if v not in known)
    yield from (f"PRIVATE_VALUES names '{v}', which is no value: take it out" for v in private if v not in known)
    yield from (f"EXTENSION_COLUMNS may not use the name '{v}'" for v in extension if v in PERSON_VALUES)
    if used.count("dcid") != 1:
        yield f"CUSTOM_SCHEMAS must hold dcid in exactly one field, not in {used.count('dcid')}"
    if not values["GOOGLE_DOMAINS"]:
        yield "GOOGLE_DOMAINS must be a list of domains, not empty"
    places = [(name, values[name]) for name in ("STAFF_OU", "SUBSTITUTE_OU", "SUSPENDED_OU")]
    for name, path in (*places, *(("BUILDING_OUS", path) for path in values["BUILDING_OUS"].values())):
        for shelter in ("PROTECTED_OUS", "TEMPORARY_REACTIVATION_OUS"):
            if is_at_or_below(path, values[shelter]):
                yield f"{path} ({name}) lies in {shelter}, so whoever is there would never be closed"
        if name != "SUSPENDED_OU" and is_at_or_below(path, [values["SUSPENDED_OU"]]):
            yield f"{path} ({name}) lies in SUSPENDED_OU, so whoever works there would be taken out of all groups"
    yield from mail_faults(values)


def mail_faults(values: Mapping[str, Any]) -> Iterator[str]:
    """What is missing for a mail where MAIL_TO names somebody."""
    for name, what in (("MAIL_FROM", "the address it comes from"), ("SMTP_HOST", "the mail server")):
        if values.get("MAIL_TO") and not values.get(name):
            yield f"MAIL_TO names somebody, so {name} must be {what}"


def environment_faults() -> Iterator[Remark]:
    """Every fault of the environment variables a run needs, each about the variable it names."""
    place, password = os.environ.get("POWERSCHOOL_PROD_DB", ""), os.environ.get("NEW_USER_PASSWORD", "")
    for name in ("POWERSCHOOL_PROD_DB", "POWERSCHOOL_DB_PASSWORD"):
        if not os.environ.get(name):
            yield Remark(Rule.FAULT, name, "is not set", f"set it for the account {account_name()}, which runs this")
    if "@" in place or place.lower().startswith("jdbc:"):
        seen = "must be host:1521/PSPRODDB alone"
        yield Remark(Rule.FAULT, "POWERSCHOOL_PROD_DB", seen, "without jdbc:, user and password")
    if password and not (8 <= len(password) <= 100 and password.isascii() and password.isprintable()):
        yield Remark(Rule.FAULT, "NEW_USER_PASSWORD", "must be 8 to 100 ASCII characters, or not set")


def own_admin() -> str:
    """The address of the admin account named in the environment, which is never written, or ""."""
    return os.environ.get("GOOGLE_ADMIN_EMAIL", "").strip().lower()


# Signing in to Google: credentials.json is read and judged once, token.json written at a sign-in.

AUTHORIZE = "run  python sync.py --authorize"
DOWNLOAD = "download it from the Google Cloud console (README.md, step 3)"
NEW_KEY = "create a new key in the Google Cloud console"
# Words of Google's refusals of an access token, and what to do (facts of OAuth 2.0 expiration); the first that fits.
REFUSED_TOKENS = {
    "rapt|Reauthentication": "session control asks for a new sign-in: exempt this app, or use a service account",
    "unauthorized_client|client not authorized": "no domain-wide delegation for exactly these scopes: {scopes}",
    "scope": f"the sign-in lacks a scope: {AUTHORIZE}  and tick every box",
    "invalid_client|deleted_client": f"the OAuth client was deleted: download credentials.json again, then {AUTHORIZE}",
    "admin_policy_enforced": "the Admin console blocks this app: trust it under Security, API controls",
    "Invalid email|Not a valid email": "GOOGLE_ADMIN_EMAIL must be the admin for whom the service account acts",
    "Signature|account not found": f"Google refuses the service account: {NEW_KEY}",
    "JWT": "Google refuses the service account: set this machine's clock",
    "": "the sign-in in token.json is dead (revoked, unused for six months, or seven days old while the OAuth app is "
    f"in Testing: make it Internal): {AUTHORIZE}",
}


def authorize(run: Run) -> int:
    """The browser sign-in that every later run uses: writes token.json."""
    client, token = read_client(run.folder), run.folder / "token.json"
    if "installed" not in client:
        raise RunError("credentials.json is a service account: it needs no browser", "", "run  python sync.py --check")
    write_private(token, browser_sign_in(client, SCOPES, "--authorize").to_json())
    log.info("Signed in: %s is written. Next: python sync.py --check  looks at everything", token)
    return DONE


def connect_google(run: Run, scopes: Sequence[str] = SCOPES, *, browser: str = "", may_ask: bool = True) -> None:
    """Gives the run the Directory API, signed in afresh (for the option `browser` with one); RunError if it cannot."""
    client, token = read_client(run.folder), run.folder / "token.json"
    if "installed" not in client:
        run.credentials = delegated_credentials(client, scopes)
    elif browser:
        run.credentials = browser_sign_in(client, scopes, browser)
    else:
        if may_ask and has_terminal() and not exists(token):
            write_private(token, browser_sign_in(client, SCOPES, "--authorize").to_json())
        saved = read_json(token, "sign in once with  python sync.py --authorize")
        try:
            run.credentials = Credentials.from_authorized_user_info(saved, SCOPES)
        except (ValueError, TypeError, AttributeError):
            raise RunError(f"{token} is not a whole sign-in", "", AUTHORIZE) from None
    http = httplib2.Http(timeout=run.settings.TIMEOUT_SECONDS)
    try:
        retrying(run, partial(run.credentials.refresh, google_auth_httplib2.Request(http)))
    except (GoogleError, ValueError) as error:  # a proxy without a port
        raise unreachable(error.__cause__ or error) from None
    api = build("admin", "directory_v1", cache_discovery=False, http=connection(run))
    # Google's client makes a resource anew whenever it is asked for one, which takes longer than all else of a request.
    names = ("users", "groups", "members", "orgunits", "schemas")
    run.api = SimpleNamespace(**{name: getattr(api, name)() for name in names})


def connection(run: Run) -> Any:
    """A connection for one thread: httplib2 is not safe for several (Google's client, docs/thread_safety.md)."""
    http = httplib2.Http(timeout=run.settings.TIMEOUT_SECONDS)
    return google_auth_httplib2.AuthorizedHttp(run.credentials, http=http)


def read_client(folder: Path) -> dict[str, Any]:
    """credentials.json: a service account key, or an OAuth client of type Desktop app; RunError if it is neither."""
    client = read_json(folder / "credentials.json", DOWNLOAD)
    if "PUT-YOUR" in json.dumps(client):
        raise RunError("credentials.json is still the example", "", DOWNLOAD)
    if "installed" not in client and client.get("type") != "service_account":
        raise RunError("credentials.json is neither a service account key nor an OAuth Desktop app", "", DOWNLOAD)
    return client


def delegated_credentials(client: Mapping[str, Any], scopes: Sequence[str]) -> Any:
    """The credentials of a service account with domain-wide delegation, acting as GOOGLE_ADMIN_EMAIL."""
    from google.oauth2 import service_account  # noqa: PLC0415 - needed by few districts, slow to load

    if not own_admin():
        remedy = "credentials.json is a service account, so set it to the address of the admin it acts for"
        raise RunError("the environment variable GOOGLE_ADMIN_EMAIL is not set", "", remedy)
    try:
        account = service_account.Credentials.from_service_account_info
        return account(dict(client), scopes=scopes, subject=own_admin())
    except (ValueError, TypeError, AttributeError):
        raise RunError("credentials.json is not a whole service account key", "", NEW_KEY) from None


def refused_token(error: RefreshError, scopes: Sequence[str]) -> RunError:
    """Why Google gives no access token, and the remedy; a page of HTML, a 5xx or a proxy's 407 is no refusal."""
    words = " ".join(str(part) for part in error.args)
    answer = error.args[1] if len(error.args) > 1 else None
    says_no = isinstance(answer, dict) and "error" in answer
    if error.retryable or not (says_no or re.search("rapt|Reauthentication|scope", str(error.args[:1]))):
        busy = RunError("Google sign-in", "Google's token service does not answer", f"run again later [{words[:80]}]")
        busy.can_heal = True
        return busy
    remedy = next(remedy for pattern, remedy in REFUSED_TOKENS.items() if re.search(pattern, words))
    own_words = re.split(r"[^\w :()'-]", words)[0].strip()
    return RunError("Google sign-in", "", f"{remedy.format(scopes=' '.join(scopes))} [{own_words}]")


def browser_sign_in(client: Mapping[str, Any], scopes: Sequence[str], option: str) -> Credentials:
    """Fresh credentials with these scopes from a sign-in in a browser; RunError if none comes in five minutes."""
    import webbrowser  # noqa: PLC0415 - a nightly run never needs these two

    from google_auth_oauthlib.flow import InstalledAppFlow  # noqa: PLC0415

    again = f"run  python sync.py {option}  again"
    try:
        flow = InstalledAppFlow.from_client_config(client, scopes)
    except (ValueError, TypeError, AttributeError):
        raise RunError("credentials.json is not a whole OAuth client", "", DOWNLOAD) from None
    prompt = "Open this address in a browser within five minutes and sign in as an admin: {url}\n"
    prompt += "Over SSH, first forward the PORT after localhost%3A in it:  ssh -L PORT:localhost:PORT YOU@SERVER"
    os.environ["OAUTHLIB_RELAX_TOKEN_SCOPE"] = "1"  # noqa: S105 - a box that was not ticked is told below
    has_browser = False
    with contextlib.suppress(webbrowser.Error):
        has_browser = bool(webbrowser.get())
    try:
        credentials: Credentials = flow.run_local_server(
            port=0, open_browser=has_browser, timeout_seconds=300, authorization_prompt_message=prompt
        )
    except Exception as error:  # noqa: BLE001 - oauthlib raises errors of its own, one per refusal
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise unreachable(error) from None
        seen = f"nobody signed in within five minutes, or it broke off ({type(error).__name__})"
        raise RunError("Google sign-in", seen, again) from None
    lacking = [scope for scope in scopes if scope not in (credentials.granted_scopes or ())]
    if lacking:
        raise RunError(f"The sign-in lacks the scope {lacking[0]}", "", f"{again} and tick every box")
    return credentials


# Files and the lock: whole or not at all, for their owner alone, and one run at a time.

exists = os.path.exists  # which raises no error where this account may not look


def without_proxy(text: str) -> str:
    """The text without the address of a proxy, which may hold a password."""
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        address = os.environ.get(name, "")
        secret, _, place = address.partition("//")[2].rpartition("@")
        for word in filter(None, (address, secret, secret.partition(":")[2], place)):
            text = text.replace(word, "(proxy)")
    return text


def without_folders(text: str) -> str:
    """The text with each file by its name alone."""
    return re.sub(r"(?<![\w.])(?:[A-Za-z]:)?[\\/](?:[\w. -]+[\\/])+(?=[\w.-]+\.(?:py|json|txt|ora|so|dll))", "", text)


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise RunError(f"{path} is missing", "", remedy) from None
    except OSError as error:
        raise no_access(path, "read", error) from None
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise RunError(f"{path} is damaged (no JSON object)", "", remedy)
    return content


def account_name() -> str:
    with contextlib.suppress(OSError, KeyError, ImportError):
        return getpass.getuser()
    return "(unknown)"


def no_access(path: Path, done: str, error: OSError, remedy: str = "") -> RunError:
    """The sentence for a file that cannot be read, written or opened, with what mends it."""
    who = f"{path} cannot be {done} by the account {account_name()} ({error.strerror})"
    if error.errno in FULL_DISK:
        return RunError(who, "", "make room on the disk", Rule.FULL_DISK)
    return RunError(who, "", remedy or right_command(path, error))


def right_command(path: Path, error: OSError) -> str:
    """The command that lets this account use the file or, where there is none, its folder; "" if it already may."""
    if not isinstance(error, PermissionError):
        return ""
    while not exists(path) and path != path.parent:
        path = path.parent
    if sys.platform == "win32":
        return f'run  icacls "{path}" /grant "{account_name()}:M"'
    is_own = path.stat().st_uid == os.geteuid()
    return f"run  {'chmod u+rwX' if is_own else f'sudo chown {account_name()}'} {shlex.quote(str(path))}"


def open_to_others(path: Path, use: str, bits: int, command: str) -> list[Remark]:
    """Whoever can write config.py can have the next run do anything: it is Python. The other files are secrets."""
    if sys.platform == "win32" or not exists(path) or not path.stat().st_mode & bits:
        return []
    words = f"other accounts of this machine can {use} {path.name}"
    return [Remark(Rule.SETTING, words, "", f"{command} {shlex.quote(path.name)}")]


def open_private(path: Path, mode: str) -> IO[str]:
    """A text file, which is for its owner alone if it is new, and never the one that a link in its place points to."""

    def no_link(name: str, flags: int) -> int:
        return os.open(name, flags | getattr(os, "O_NOFOLLOW", 0), 0o600)

    file = open(path, mode, encoding="utf-8", opener=no_link)  # noqa: SIM115 - the caller closes it
    keep_owner(path)
    return file


def write_private(path: Path, text: str, remedy: str = "") -> None:
    """Write a file only its owner can read (0600), whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open_private(draft, "w") as file:
            file.write(text)
        patiently(partial(draft.replace, path))
    except OSError as error:
        raise no_access(path, "written", error, remedy) from None
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()


def keep_owner(path: Path) -> None:
    """Give what root has written to the owner of its folder, or that account could not use it in the next run."""
    if sys.platform != "win32" and os.geteuid() == 0:
        owner = path.parent.stat()
        with contextlib.suppress(OSError):
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def patiently(act: Callable[[], T]) -> T:
    """Do this with a file; on Windows one that another program reads refuses it for a moment."""
    for wait in (0.1, 0.3, 1, 3) if sys.platform == "win32" else ():
        with contextlib.suppress(PermissionError):
            return act()
        time.sleep(wait)
    return act()


def take_lock(run: Run) -> IO[str]:
    """The lock of this folder, held until it is closed or the process ends; RunError while another run has it."""
    path = run.folder / "runs" / "lock"
    try:
        path.parent.mkdir(mode=0o755, exist_ok=True)
        keep_owner(path.parent)
        file = open_private(path, "a")  # nothing is written, and emptying it might be refused while it is locked
    except OSError as error:
        raise no_access(path, "opened", error) from None
    try:
        if sys.platform == "win32":
            import msvcrt  # noqa: PLC0415

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl  # noqa: PLC0415

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        raise RunError("Another run is under way", "", "this one did nothing", Rule.BUSY) from None
    except OSError as error:
        raise no_access(path, "locked", error, "keep this folder on a local disk") from None
    return file


def keep_records(run: Run) -> None:
    """Keep this run's log beside its journal, and drop what is older than KEEP_DAYS, by its name and Google's clock."""
    folder = run.folder / "runs"
    if run.journal_file is not None:
        with contextlib.suppress(OSError):  # what did not go to the disk has been told
            run.journal_file.close()
        try:
            if not exists(folder / f"{run.name}.txt"):
                kept = (run.folder / "StaffLog.txt").read_text(encoding="utf-8", errors="replace")
                write_private(folder / f"{run.name}.txt", kept)
        except (OSError, RunError) as error:
            run.unkept = str(error)
    if run.google_time is None:
        return
    oldest = (run.google_time - timedelta(days=run.settings.KEEP_DAYS)).strftime(RUN_NAME)
    newest = {path.stem for path in journals(run.folder)[-NEVER_DROPPED:]}
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            is_ours = re.fullmatch(r"\d{8}T\d{6}Z\.(jsonl|txt|html)", path.name)
            if is_ours and path.stem < oldest and path.stem not in newest:
                path.unlink()


# The command line: one way in, and every ending told.

# What is done in place of a run, by the option that asks for it.
COMMANDS = {
    "--check": check, "--setup": set_up, "--explain": explain, "--undo": undo, "--authorize": authorize,
    "--mail-test": mail_test, "--decide": sync,
}  # fmt: skip
A_RUN = "a run"
SIGNALS = (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM))  # Windows has no SIGHUP


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = options_of(argv)
    open_screen(options.verbose)
    run = Run(options.config.parent, datetime.now(timezone.utc).replace(microsecond=0), options=options)
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            signal.signal(number, partial(interrupt, run))
    while any(exists(run.folder / "runs" / f"{run.name}.{kind}") for kind in ("jsonl", "txt", "html")):
        time.sleep(0.2)
        run.started = datetime.now(timezone.utc).replace(microsecond=0)
    log.addFilter(partial(keep_together, run))
    code = told_ending(run, partial(command, run))
    return told_ending(run, partial(leave_records, run, code))


def interrupt(run: Run, *_: object) -> None:
    """End the run as Ctrl-C does; a second signal must not cut off the summary, the last line and the records."""
    if not run.is_leaving:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt


def leave_records(run: Run, code: int) -> int:
    """Memory, page, mail and log, for the next run and the morning; the exit code, another where they are not whole."""
    run.is_leaving = True
    is_everybodys = run.options.command == A_RUN and not run.part  # which is told even if it could not begin
    is_kept = run.has_log or (is_everybodys and code == FAILED)
    if is_kept:
        remember(run)
    if run.ending and (is_kept or run.options.page):
        run.exit_code = code
        keep_page(run, run.options.page, is_kept=run.has_log)
        mail_morning(run)
    if is_kept:
        keep_records(run)
    if run.unkept:
        code = FAILED
        # A run that could not open its log has told why, and one on a full disk has too.
        if not run.failure or (run.has_log and run.failure.rule is not Rule.FULL_DISK):
            words = f"what {run.folder} keeps of this run is not whole ({run.unkept})"
            last_words(run, Remark(Rule.FULL_DISK, "", words))
    close_screen()
    return code


def told_ending(run: Run, work: Callable[[], int]) -> int:
    """The exit code of this work, whose every ending but the good one has a last line."""
    try:
        return work()
    except RunError as error:
        failure = error
    except KeyboardInterrupt:
        failure = RunError("Interrupted")
    except Exception:
        log.exception("A bug in Staff Sync: please report the lines below, without names")
        failure = RunError("Stopped by a bug")
    last_words(run, failure.remark)
    return failure.exit_code


def command(run: Run) -> int:
    """Do what the command line says, with the lock and the log if it may change something; returns the exit code."""
    options = run.options
    work = COMMANDS.get(options.command, sync)
    parts = {"undo": work is undo, "for some only": options.is_part, "dry run": options.dry_run}
    run.part = ", ".join(part for part, is_so in parts.items() if is_so)
    if not os.path.isfile(options.config):  # noqa: PTH113 - without an error where this account may not look
        raise RunError(f"--config {options.config}", "there is no such file", "name the config.py to use")
    if work in {authorize, check, mail_test}:
        return work(run)
    for path, option in ((options.csv, "--csv"), (options.page, "--page")):
        if path:
            check_own(path, option)
    if not options.dry_run and work is not explain:
        run.lock_file = take_lock(run)
        if work is not set_up:
            open_log(run, run.folder / (f"runs/{run.name}.txt" if run.part else "StaffLog.txt"))
    log.info("Staff Sync %s, run %s", VERSION, ", ".join(filter(None, (run.name, run.part))))
    if work is not undo:
        run.memory = read_memory(run.folder)
    run.remarks += [run.memory.damage] if run.memory.damage else []
    run.settings = load_settings(options.config)
    run.remarks += open_to_others(options.config, "write", 0o022, "chmod go-w")
    if ahead := [path.stem for path in journals(run.folder) if path.stem > run.name]:
        ask = "is this machine's clock right? Until then --undo last means that run: name another one"
        log.warning("The journal runs/%s.jsonl is from the future: %s", ahead[-1], ask)
    begin_deadline(run)
    code = work(run)
    if run.bugs:
        raise RunError(f"A bug in Staff Sync left out {people(run.bugs)}")
    return code


def has_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout is not None and sys.stdout.isatty()


def is_agreed(question: str) -> bool:
    if not has_terminal():
        raise RunError("There is no terminal to ask on", "", "look at it with --dry-run, then say --yes")
    with contextlib.suppress(EOFError):
        return input(f"{question} Type yes: ").strip().lower() in {"yes", "y"}
    return False


class Parser(argparse.ArgumentParser):
    """As argparse, with the sentence that every refusal ends with."""

    def error(self, message: str) -> NoReturn:
        if sys.stderr is None:
            raise SystemExit(FAILED)
        self.print_usage(sys.stderr)
        known = [option for action in self._actions for option in action.option_strings]
        near = [close[0] for word in message.split() if (close := difflib.get_close_matches(word, known, 1))]
        message += f": did you mean {near[0]}?" if near and message.startswith("unrecognized") else ""
        self.exit(FAILED, f"sync.py: error: {message}. Nothing was written\n")


def options_of(argv: Sequence[str] | None) -> Options:
    """The command line; ends the program where it cannot be understood."""
    whole = str(__doc__)
    parser = Parser(prog="sync.py", description=whole.partition("\n\n")[0], epilog=whole.rpartition("\n\n")[2])
    add = parser.add_argument
    flag, file = partial(add, action="store_true"), partial(add, metavar="FILE", type=Path)
    flag("-n", "--dry-run", help="decide the same way, write nothing, print the plan")
    who = "only these people: an address, dcid:131, teacher:131, or a bare number"
    add("--only", metavar="WHO", nargs="+", action="extend", default=[], help=who)
    raises = "raise one limit for this run only, such as --allow suspend=34"
    add("--allow", metavar="KIND=N", action="append", default=[], type=allowance, help=raises)
    file("--csv", help="with --dry-run: who is linked, in doubt or alone")
    file("--decide", help="carry out the column decision of that spreadsheet: link, create or leave")
    file("--page", help="write what this run, dry run or undo tells as a page for a browser")
    flag("--check", help="check everything a run needs; safe to paste in public")
    flag("--setup", help="create missing schemas, fields and org units, after asking")
    add("--explain", metavar="WHO", help="what both sides say of one person (a name will do) and which rule decides")
    add("--undo", metavar="RUN", help="put back what a run changed; 'last' is the newest that did")
    flag("--yes", help="with --undo and --setup: do not ask")
    flag("--authorize", help="sign in to Google with a browser, and stop")
    flag("--mail-test", help="send one morning mail now, and say what the server answered")
    beside = Path(__file__).with_name("config.py")
    file("--config", default=beside, help="another config.py; all else is kept beside it")
    flag("--verbose", help="show every request and statement too")
    add("--version", action="version", version=f"Staff Sync {VERSION}")
    options = parser.parse_args(argv, namespace=Options())
    named = [option for option in COMMANDS if getattr(options, option[2:].replace("-", "_")) not in {None, False}]
    if len(named) > 1:
        parser.error(f"{' and '.join(named)} do not go together")
    options.command = named[0] if named else A_RUN
    goes_with = {
        "only": (A_RUN, "--undo"),
        "allow": (A_RUN, "--undo", "--decide"),
        "page": (A_RUN, "--undo", "--decide"),
        "csv": (A_RUN,),
        "dry_run": (A_RUN, "--undo", "--decide", "--setup", "--check", "--explain"),
        "yes": ("--undo", "--setup"),
    }
    for name, commands in goes_with.items():  # none is ever ignored in silence
        if getattr(options, name) and options.command not in commands:
            option = name.replace("_", "-")
            parser.error(f"--{option} goes with {' and '.join(commands)}, and not with {options.command}")
    if options.csv and (options.only or not options.dry_run):
        parser.error("--csv goes with --dry-run, and not with --only")
    options.config = options.config.resolve()
    return options


def allowance(text: str) -> tuple[str, int]:
    kind, _, number = text.rpartition("=")
    if kind not in DEFAULT_LIMITS or not number.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is not KIND=N with a kind of {', '.join(DEFAULT_LIMITS)}")
    return kind, int(number)


if __name__ == "__main__":
    raise SystemExit(main())
