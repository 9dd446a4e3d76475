"""Whatever is wrong around a run: one sentence with its remedy, exit code 2, nothing written, nothing given away."""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import oracle_server
import oracledb
import pytest
from bed import PASSWORD, PROJECT, Bed, Outcome, shipped_settings
from oracle_server import packed_bytes
from stories import ADA, ELI, NOOR, add_known, is_open

import sync

NEW_PASSWORD = "Welcome-2-D118"
Prepare = Callable[[Bed], None]


def check_refusal(bed: Bed, outcome: Outcome, *words: str) -> str:
    """Asserts that the run was refused as it should be, and gives its one sentence."""
    errors = outcome.lines("ERROR")
    assert len(errors) == 1, outcome.output
    assert outcome.exit_code == 2, outcome.output
    assert outcome.output.splitlines()[-1].endswith(f"{errors[0]}")
    assert errors[0].endswith("Nothing was written")
    missing = [part for part in words if part not in errors[0]]
    assert not missing, f"{missing} not in: {errors[0]}"
    assert not bed.google.attempted_writes
    pages = [request for request in bed.google.pages if request.status == 200]
    assert len(pages) <= 1, "of Google no more than the first page"
    assert not list(bed.runs.glob("*Z.[jt]*"))
    return errors[0]


@pytest.fixture(autouse=True)
def known_password(one_to_create: Bed) -> None:
    one_to_create.environment["NEW_USER_PASSWORD"] = NEW_PASSWORD


def test_without_a_fault_the_person_is_created(bed: Bed) -> None:
    outcome = bed.run()
    assert [write.method for write in outcome.writes] == ["users.insert"]
    assert outcome.exit_code == 0


# Settings.


@pytest.mark.measured
def test_every_fault_of_config_py_and_the_environment_is_told_in_one_go(bed: Bed) -> None:
    bed.config_text = (
        "del SUSPENDED_OU\n"
        "PROTECTED_OU = ['/Students']\n"
        "del PROTECTED_OUS\n"
        "LIMITS = {'create': -1}\n"
        "UPDATE_NAMES = 'no'\n"
        "HANDS_OFF = {'pat.lee@d118.org': ('on leave', '30.06.2027')}\n"
        "lower_case = 'is the own business of whoever edits the file'\n"
    )
    outcome = bed.run(env={"POWERSCHOOL_PROD_DB": None, "POWERSCHOOL_DB_PASSWORD": "", "NEW_USER_PASSWORD": "short"})
    sentence = check_refusal(
        bed, outcome, str(bed.config), "SUSPENDED_OU is missing", "PROTECTED_OUS is missing",
        "PROTECTED_OU is not a setting: is PROTECTED_OUS meant?", "LIMITS must be",
        "UPDATE_NAMES must be True or False", "HANDS_OFF must be",
        "POWERSCHOOL_PROD_DB is not set", "POWERSCHOOL_DB_PASSWORD is not set",
        "NEW_USER_PASSWORD must be 8 to 100 ASCII characters",
    )  # fmt: skip
    assert "lower_case" not in sentence
    assert not outcome.requests
    assert not outcome.statements


# What the first release did not have: a district that updates keeps its config.py.
ADDED_LATER = (
    "HOLD_SUSPENSIONS",
    "LIMIT_SHARE",
    "KEEP_DAYS",
    "TIMEOUT_SECONDS",
    "RETRY_WAIT_SECONDS",
    "RETRY_SECONDS",
    "RUN_MINUTES",
    "WRITES_AT_ONCE",
    "MAIL_TO",
    "MAIL_FROM",
    "MAIL_WHEN",
    "SMTP_HOST",
    "SMTP_PORT",
    "SMTP_SECURITY",
    "EXPECT_RUN_HOURS",
)


def test_only_the_settings_of_the_first_release_are_required(bed: Bed) -> None:
    bed.config_text = f"for name in {ADDED_LATER}: globals().pop(name)\ndel name\n"
    assert bed.run("--dry-run").exit_code == 0
    required = [name for name in shipped_settings() if name.isupper() and name not in ADDED_LATER]
    bed.config_text += f"for name in {required}: globals().pop(name)\ndel name\n"
    check_refusal(bed, bed.run(), *(f"{name} is missing" for name in required))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("GOOGLE_DOMAINS = []", "GOOGLE_DOMAINS must be"),
        ("GOOGLE_DOMAINS = 'd118.org'", "GOOGLE_DOMAINS must be"),
        ("STAFF_OU = 'D118 Staff/'", "STAFF_OU must be"),
        ("BUILDING_OUS = {'5': '/D118 Staff'}", "BUILDING_OUS must be"),
        ("CUSTOM_SCHEMAS = {'CrisisGO': {'Building': 'building'}}", "dcid in exactly one field, not in 0"),
        ("CUSTOM_SCHEMAS = {'A': {'X': 'dcid', 'Y': 'dcid'}}", "dcid in exactly one field, not in 2"),
        ("CUSTOM_SCHEMAS = {'A': {'X': 'dcid', 'Y': 'shoe_size'}}", "'shoe_size'"),
        ("EXTENSION_COLUMNS = {'cell_phone': 'cellphone'}", "EXTENSION_COLUMNS must be"),
        ("EXTENSION_COLUMNS = {'cell_phone': 'u_hr.a; DROP TABLE users'}", "EXTENSION_COLUMNS must be"),
        ("EXTENSION_COLUMNS = {'cell_phone': 'u_hr.phone', 'building': 'u_hr.b'}", "'building'"),
        ("POWERSCHOOL_SCHEMA = 'PS.'", "POWERSCHOOL_SCHEMA must be"),
        ("PRIVATE_VALUES = ['cellphone']", "'cellphone'"),
        ("LIMITS = {'delete': 1}", "LIMITS must be"),
        ("HOLD_SUSPENSIONS = [('06-31', '08-20')]", "HOLD_SUSPENSIONS must be"),
        ("RUN_MINUTES = 0", "RUN_MINUTES must be a number above 0"),
        ("PROTECTED_OUS = ['/D118 Staff']", "/D118 Staff (STAFF_OU) lies in PROTECTED_OUS"),
        ("BUILDING_OUS = {5: '/Students/High'}", "/Students/High (BUILDING_OUS) lies in PROTECTED_OUS"),
        ("TEMPORARY_REACTIVATION_OUS = ['/suspended accounts']", "lies in TEMPORARY_REACTIVATION_OUS"),
        ("GOOGLE_DOMAINS = ['d118.org ']", "GOOGLE_DOMAINS must be"),
        ("HANDS_OFF = {'pat.lee': ('on leave', '2099-01-01')}", "must be an address or a DCID: not 'pat.lee'"),
        ("HANDS_OFF = {7: ('on leave', '2099-01-01'), 8: ('gone', '2027-6-31')}", "not '2027-6-31' for 8"),
        ("FROZEN_OUS = ['/A', '/B/']", "not '/B/'"),
        ("HOLD_SUSPENSIONS = [('W01-1', 'W20-1')]", "HOLD_SUSPENSIONS must be"),
        ("TIMEOUT_SECONDS = 1e300", "TIMEOUT_SECONDS must be a number above 0 and at most 86400"),
        ("SET_EMPLOYEE_ID = true", "NameError: name 'true' is not defined"),
        ("STAFF_OU = '/D118 Staff", "is not valid Python"),
        ("raise KeyError('no such district')", "KeyError: 'no such district'"),
        ("import no_such_module", "ModuleNotFoundError"),
        ("raise SystemExit(0)", "SystemExit"),
    ],
)
def test_a_faulty_setting_is_named_with_the_file(bed: Bed, text: str, words: str) -> None:
    bed.config_text = text + "\n"
    outcome = bed.run()
    check_refusal(bed, outcome, str(bed.config), words)
    assert not outcome.requests
    assert not outcome.statements


def test_a_config_py_that_does_not_parse_is_told_with_its_line(bed: Bed) -> None:
    bed.write()
    line = len(bed.config.read_text("utf-8").splitlines()) + 2
    bed.config_text = "\nFROZEN_OUS = ['/Administrators'\nSTAFF_OU = '/D118 Staff'\n"
    check_refusal(bed, bed.run("--dry-run"), f"line {line} is not valid Python")


def test_a_config_py_that_is_not_utf_8_is_told(bed: Bed) -> None:
    bed.write()
    text = bed.config.read_text("utf-8") + "STAFF_OU = '/Caf\u00e9 Staff'\n"
    other = bed.folder / "latin" / "config.py"
    other.parent.mkdir()
    other.write_bytes(text.encode("latin-1"))
    check_refusal(bed, bed.run("--dry-run", "--config", str(other)), str(other))


def test_a_config_py_that_is_not_there_is_told_with_its_path(bed: Bed) -> None:
    for path in (bed.folder / "nowhere.py", bed.folder / "no such folder" / "config.py"):
        for arguments in (("--dry-run",), ()):
            outcome = bed.run("--config", str(path), *arguments)
            check_refusal(bed, outcome, str(path), "--config")
    assert not (bed.folder / "no such folder").exists()


@pytest.mark.parametrize("password", ["short-7", "x" * 101, "gr\u00fc\u00dfe-an-alle", "tab\tin-the-middle"])
def test_a_new_user_password_that_google_would_refuse_is_told_and_not_shown(bed: Bed, password: str) -> None:
    outcome = bed.run(env={"NEW_USER_PASSWORD": password})
    check_refusal(bed, outcome, "NEW_USER_PASSWORD must be 8 to 100 ASCII characters")
    assert password not in outcome.output + outcome.log


# Arguments: told by the same rule, though before there is a log.


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--allow", "suspend"), "'suspend' is not KIND=N"),
        (("--allow", "delete=3"), "'delete=3' is not KIND=N"),
        (("--allow", "suspend=-1"), "'suspend=-1' is not KIND=N"),
        (("--allow", "suspend=many"), "'suspend=many' is not KIND=N"),
        (("--allow", "suspend=\u00b2"), "KIND=N"),
        (("--only",), "--only"),
        (("--onyl", "7"), "--onyl"),
        (("--setup", "--undo", "last"), "--setup and --undo do not go together"),
        (("--check", "--only", "7"), "--only goes with a run and --undo, and not with --check"),
        (("--dry-run", "--yes"), "--yes goes with --undo and --setup, and not with a run"),
        (("--dry-run", "--authorize"), "--dry-run goes with a run and --undo"),
        (("--dry-run", "--mail-test"), "and not with --mail-test"),
        (("--dry-run", "suspend"), "suspend"),
    ],
)
def test_a_faulty_argument_is_told(bed: Bed, arguments: tuple[str, ...], words: str) -> None:
    outcome = bed.run(*arguments)
    assert outcome.exit_code == 2, outcome.output
    assert words in outcome.output
    # The usage may come before it, but what a person reads last is whether anything was written.
    assert "othing was" in outcome.output.splitlines()[-1]
    assert not outcome.requests
    assert not outcome.statements


def test_an_only_that_fits_nobody_or_two_people_is_told(bed: Bed) -> None:
    bed.powerschool.person(2)["teachernumber"] = "1"
    for word in ("nobody@d118.org", "dcid:99", "teacher:99", "99", "dcid:x", "", "1"):
        check_refusal(bed, bed.run("--dry-run", "--only", word), f"--only {word}")


# A package that is missing.


@pytest.mark.parametrize("package", ["oracledb", "httplib2"])
def test_a_missing_package_is_told_with_the_command_that_installs_it(bed: Bed, package: str) -> None:
    shim = bed.folder / "shim"
    shim.mkdir()
    (shim / f"{package}.py").write_text(
        f"raise ModuleNotFoundError(\"No module named '{package}'\", name='{package}')\n"
    )
    outcome = bed.run(env={"PYTHONPATH": str(shim), "PYTHONDONTWRITEBYTECODE": "1"})
    assert outcome.exit_code == 2
    (line,) = outcome.output.splitlines()
    for words in (f"No module named '{package}'", "Nothing was read or written", "-m pip install -r"):
        assert words in line
    assert not outcome.requests


@pytest.mark.measured
def test_the_command_that_installs_it_works_where_a_folder_has_a_space_in_its_name(bed: Bed) -> None:
    shim = bed.folder / "shim"
    shim.mkdir()
    fault = "ModuleNotFoundError('oracledb')"
    (shim / "oracledb.py").write_text(f"import sys\nsys.executable = '/opt/Staff Sync/python'\nraise {fault}\n")
    outcome = bed.run(env={"PYTHONPATH": str(shim), "PYTHONDONTWRITEBYTECODE": "1"})
    assert 'run  "/opt/Staff Sync/python" -m pip install -r ' in outcome.output
    assert [sync.quoted(path) for path in ("/opt/Staff Sync/python", "C:\\StaffSync\\python.exe", "Ruth", "")] == [
        '"/opt/Staff Sync/python"', "C:\\StaffSync\\python.exe", "Ruth", '""',
    ]  # fmt: skip


@pytest.mark.parametrize("option", ["--help", "-h", "--version"])
def test_help_needs_no_package_which_would_take_longer_to_load_than_to_answer(bed: Bed, option: str) -> None:
    shim = bed.folder / "shim"
    shim.mkdir()
    for package in ("oracledb", "httplib2", "googleapiclient", "smtplib"):
        (shim / f"{package}.py").write_text("raise ImportError('loaded')\n")
    outcome = bed.run(option, env={"PYTHONPATH": str(shim), "PYTHONDONTWRITEBYTECODE": "1"})
    assert outcome.exit_code == 0, outcome.output


def test_a_package_that_is_there_but_broken_is_told_too(bed: Bed) -> None:
    # As by a half-finished upgrade: the import fails without naming a package.
    shim = bed.folder / "shim"
    shim.mkdir()
    (shim / "oracledb.py").write_text("raise ImportError('DLL load failed while importing thin_impl')\n")
    outcome = bed.run(env={"PYTHONPATH": str(shim), "PYTHONDONTWRITEBYTECODE": "1"})
    assert outcome.exit_code == 2
    (line,) = outcome.output.splitlines()
    assert "DLL load failed" in line
    assert "Nothing was read or written" in line
    assert "None" not in line


# PowerSchool: signing in. The driver wraps most of these in one error of its own.


def oracle_fault(**faults: object) -> Prepare:
    def prepare(bed: Bed) -> None:
        for name, value in faults.items():
            assert hasattr(bed.oracle.faults, name)
            setattr(bed.oracle.faults, name, value)

    return prepare


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (oracle_fault(login_code=28000), ("the login is locked", "whoever runs the database", "ORA-28000")),
        (oracle_fault(login_code=28001), ("password has expired", "in POWERSCHOOL_DB_PASSWORD", "ORA-28001")),
        (oracle_fault(login_code=1045), ("ORA-01045",)),
        (oracle_fault(listener_code=12514), ("does not know this service", "after the slash")),
        (oracle_fault(listener_code=12505), ("must look like host:1521/PSPRODDB", "not a SID")),
        (oracle_fault(listener_code=12516), ("the listener refused",)),
        (oracle_fault(listener_code=12660), ("asks for native", "encryption", "set ORACLE_CLIENT_DIR")),
        (oracle_fault(encryption_required=True), ("native network encryption", "ORACLE_CLIENT_DIR")),
        (oracle_fault(server_too_old=True), ("older than 12.1", "ORACLE_CLIENT_DIR")),
        (oracle_fault(old_verifier=True), ("old password verifier", "password set anew", "ORACLE_CLIENT_DIR")),
        (oracle_fault(refuse_connection=True), ("the connection was closed: run again", "ORACLE_CLIENT_DIR")),
    ],
    ids=[
        "locked", "expired", "no right to sign in", "unknown service", "unknown SID", "no free handler",
        "listener wants encryption", "server wants encryption", "server too old", "old verifier", "closed at once",
    ],
)  # fmt: skip
def test_a_sign_in_that_powerschool_refuses_is_told_with_its_remedy(
    bed: Bed, prepare: Prepare, words: tuple[str, ...]
) -> None:
    prepare(bed)
    check_refusal(bed, bed.run(), "PowerSchool (PSNavigator at", bed.oracle.dsn, "signing in", *words)


class OracleAnswer(NamedTuple):
    """What the driver puts into its exceptions."""

    message: str

    @property
    def full_code(self) -> str:
        return self.message.partition(":")[0]

    def __str__(self) -> str:
        return self.message


def oracle_error(message: str, behind: Exception | None = None) -> oracledb.DatabaseError:
    error = oracledb.DatabaseError(OracleAnswer(message))
    error.__cause__ = behind
    return error


# A database that is down is not registered with its listener either: the address may be as right as yesterday.
SLASH = ("does not know this service", "after the slash", "run again")
FORM = ("must look like host:1521/PSPRODDB", "not a SID")
OLD = ("ORACLE_CLIENT_DIR",)
# What the sentence has to name for each code: the thing, and what to do. Thick mode, which old servers need,
# hands on Oracle's own codes where thin mode has codes of the driver.
REMEDIES = {
    "ORA-01017": ("POWERSCHOOL_READ_USER and POWERSCHOOL_DB_PASSWORD", "not tried again"),
    "ORA-28000": ("locked", "ask whoever runs the database"),
    "ORA-28001": ("expired", "POWERSCHOOL_DB_PASSWORD"),
    "ORA-00942": ("grant SELECT", 'POWERSCHOOL_SCHEMA = "PS"', "EXTENSION_COLUMNS"),
    "ORA-01031": ("grant it SELECT",),
    "ORA-00904": ("a column", "EXTENSION_COLUMNS"),
    "ORA-01555": ("snapshot", "quieter time"),
    "DPY-6001": SLASH, "ORA-12514": SLASH,
    "DPY-6003": FORM, "ORA-12505": FORM,
    "DPY-6005": ("there is no connection", "host, port, firewall"),
    "DPY-6000": ("the listener refused",),
    "DPY-4011": ("connection was closed", "run again", *OLD),
    "DPY-3001": ("native network encryption", *OLD),
    # Clients after 19 do not reach a server of version 11.2.
    "DPY-3010": ("older than 12.1", "version 19", *OLD),
    "DPY-3015": ("old password verifier", "password set anew", *OLD),
    "DPY-4024": ("did not answer in TIMEOUT_SECONDS", "config.py"),
    "DPY-2049": FORM, "DPY-4000": FORM, "DPY-4018": FORM, "DPY-4021": FORM, "DPY-4027": FORM,
    # On Linux the loader looks for the client's other libraries on its own path only.
    "DPI-1047": ("ORACLE_CLIENT_DIR", "unset it", "LD_LIBRARY_PATH"),
}  # fmt: skip
# The same facts under the names they have elsewhere, or facts of the same night.
MORE_REMEDIES = {
    "DPY-4017": FORM, "DPY-4026": FORM, "DPY-4028": FORM, "ORA-12154": FORM,
    "ORA-12541": ("there is no connection", "host, port, firewall"),
    "ORA-12545": ("there is no connection", "host, port, firewall"),
    "ORA-12170": ("there is no connection", "host, port, firewall"),
    "ORA-12660": ("native network encryption", *OLD),
    "ORA-01033": ("starting, stopping or down", "run again"),
    "ORA-01034": ("starting, stopping or down", "run again"),
    "ORA-12528": ("starting, stopping or down", "run again"),
}  # fmt: skip


@pytest.fixture
def powerschool_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POWERSCHOOL_PROD_DB", "ps.d118.org:1521/PSPRODDB")
    monkeypatch.setenv("POWERSCHOOL_DB_PASSWORD", PASSWORD)


@pytest.mark.usefixtures("powerschool_variables")
@pytest.mark.parametrize("code", [*REMEDIES, *MORE_REMEDIES])
def test_every_code_of_oracle_has_its_remedy_bare_and_behind_a_failed_connection(code: str) -> None:
    bare = oracle_error(f"{code}: no {PASSWORD} here\nHelp: https://docs.oracle.com")
    wrapped = oracle_error("DPY-6005: cannot connect to database (CONNECTION_ID=x).", bare)
    for error in (bare, wrapped):
        sentence = str(sync.oracle_failure(error, "signing in"))
        missing = [part for part in (REMEDIES | MORE_REMEDIES)[code] if part not in sentence]
        assert not missing, sentence
        assert PASSWORD not in sentence
        assert "docs.oracle.com" not in sentence


def test_no_remedy_is_left_without_a_test() -> None:
    tried = {*REMEDIES, *MORE_REMEDIES}
    assert [pattern for pattern in sync.ORACLE_REMEDIES if not any(re.fullmatch(pattern, code) for code in tried)] == []


@pytest.mark.usefixtures("powerschool_variables")
def test_a_listeners_own_code_decides_where_it_is_known() -> None:
    for code, words in (
        ("ORA-12514", SLASH),
        ("ORA-12660", ("the server asks for native",)),
        ("ORA-12599", ("the listener refused",)),
    ):
        refusal = oracle_error(f"DPY-6000: Listener refused connection. (Similar to {code})")
        wrapped = oracle_error(f"DPY-6005: cannot connect to database.\n{refusal}", refusal)
        sentence = str(sync.oracle_failure(wrapped, "signing in"))
        assert not [part for part in words if part not in sentence], sentence


def test_a_failed_connection_is_told_in_the_words_of_its_reason(bed: Bed) -> None:
    # What the driver says first is "cannot connect" and a random number, which nobody can look up.
    bed.oracle.faults.listener_code = 12518
    assert "CONNECTION_ID" not in check_refusal(bed, bed.run(), "the listener refused", "ORA-12518")


def test_an_oracle_client_dir_without_a_client_is_told_and_an_empty_one_is_thin_mode(bed: Bed) -> None:
    empty = bed.folder / "instantclient"
    empty.mkdir()
    for folder in (empty, bed.folder / "no such folder"):
        outcome = bed.run(env={"ORACLE_CLIENT_DIR": str(folder)})
        check_refusal(bed, outcome, "ORACLE_CLIENT_DIR", "unset it for thin mode", "DPI-1047")
    assert not bed.oracle.connections
    assert bed.run("--dry-run", env={"ORACLE_CLIENT_DIR": ""}).exit_code == 0


def test_a_name_from_a_tnsnames_ora_is_told_as_what_it_is(bed: Bed) -> None:
    # As on a server that has an Oracle client for something else.
    names = bed.folder / "tnsnames.ora"
    names.write_text("HR=(DESCRIPTION=(ADDRESS=(PROTOCOL=tcp)(HOST=h)(PORT=1))(CONNECT_DATA=(SERVICE_NAME=HR)))\n")
    env = {"TNS_ADMIN": str(bed.folder), "POWERSCHOOL_PROD_DB": "PSPRODDB"}
    check_refusal(bed, bed.run(env=env), "POWERSCHOOL_PROD_DB=PSPRODDB", *FORM, "DPY-4000")
    names.unlink()
    check_refusal(bed, bed.run(env=env), "POWERSCHOOL_PROD_DB=PSPRODDB", *FORM, "DPY-4026")


def test_a_wrong_database_password_is_tried_exactly_once(bed: Bed) -> None:
    # Three to ten failed logins lock the read-only user for everything else that uses it.
    outcome = bed.run(env={"POWERSCHOOL_DB_PASSWORD": "yesterdays-Secret"})
    check_refusal(bed, outcome, "ORA-01017", "POWERSCHOOL_READ_USER and POWERSCHOOL_DB_PASSWORD", "not tried again")
    assert bed.oracle.failed_logins == 1
    assert "yesterdays-Secret" not in outcome.output + outcome.log


def test_a_wrong_database_user_is_named(bed: Bed) -> None:
    outcome = bed.run(env={"POWERSCHOOL_READ_USER": "PSNavigater"})
    check_refusal(bed, outcome, "ORA-01017", "PSNavigater at", "POWERSCHOOL_READ_USER")
    assert bed.oracle.failed_logins == 1


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("127.0.0.1:{closed}/PSPRODDB", ("there is no connection", "host, port, firewall")),
        ("no-such-host.invalid:1521/PSPRODDB", ("there is no connection", "no-such-host.invalid")),
        ("127.0.0.1:{open}/NOSUCH", ("does not know this service", "after the slash")),
        ("127.0.0.1:{open}:PSPRODDB", ("must look like host:1521/PSPRODDB", "not a SID")),
        ("PSPRODDB", ("must look like host:1521/PSPRODDB",)),
        ("127.0.0.1:port/PSPRODDB", ("must look like host:1521/PSPRODDB",)),
        ("https://ps.d118.org/PSPRODDB", ("must look like host:1521/PSPRODDB",)),
        ("(DESCRIPTION=", ("must look like host:1521/PSPRODDB", "DPY-2049")),
        ("ps.d118.org:1521/PSPRODDB?ssl", ("must look like host:1521/PSPRODDB", "DPY-4018")),
        (":1521/PSPRODDB", ("must look like host:1521/PSPRODDB",)),
    ],
    ids=["closed port", "unknown host", "unknown service", "a SID", "a bare name", "a word as port", "a web address",
         "half a descriptor", "more than an address", "no host"],
)  # fmt: skip
def test_a_faulty_powerschool_prod_db_is_told_and_shown(bed: Bed, address: str, words: tuple[str, ...]) -> None:
    open_port = bed.oracle.dsn.partition("/")[0].rpartition(":")[2]
    value = address.format(closed=closed_port(), open=open_port)
    outcome = bed.run(env={"POWERSCHOOL_PROD_DB": value})
    check_refusal(bed, outcome, f"POWERSCHOOL_PROD_DB={value}", *words)


@pytest.mark.parametrize("address", [f"PSNavigator/{PASSWORD}@127.0.0.1:1/PSPRODDB", f"PSNavigator/{PASSWORD}"])
def test_a_password_in_the_wrong_variable_is_not_shown(bed: Bed, address: str) -> None:
    check_refusal(bed, bed.run(env={"POWERSCHOOL_PROD_DB": address}), "POWERSCHOOL_PROD_DB")


def test_a_listener_that_never_answers_does_not_hold_the_run(bed: Bed) -> None:
    bed.settings["TIMEOUT_SECONDS"] = 1
    bed.oracle.faults.hang_connect = True
    check_refusal(bed, bed.run(timeout=30), "signing in", "there is no connection")
    assert bed.oracle.hanging.is_set()


# PowerSchool: reading. Part of an answer is no answer.


@pytest.mark.parametrize(
    ("statement", "doing"),
    [
        ("set transaction", "signing in"),
        ("school_number", "reading SCHOOLS"),
        ("from users", "reading USERS"),
        ("from schoolstaff", "reading SCHOOLSTAFF"),
    ],
)
def test_a_connection_dropped_at_any_statement_or_amid_its_rows_ends_the_run(
    bed: Bed, statement: str, doing: str
) -> None:
    def check(**fault: object) -> None:
        for name, value in fault.items():
            setattr(bed.oracle.faults, name, value)
        outcome = bed.run()
        check_refusal(bed, outcome, "PowerSchool", doing, "the connection was closed: run again")
        assert statement in outcome.statements[-1].lower(), "the fault met no statement"

    check(drop_statement=statement)
    if statement != "set transaction":
        for rows in (0, 1, 2):
            check(drop_statement=None, drop_after_rows=(statement, rows))


def test_a_connection_dropped_between_two_fetches_ends_the_run(bed: Bed) -> None:
    # More people than one round trip brings: what came before the cut looks like a whole, smaller district.
    for dcid in range(1000, 3500):
        bed.powerschool.add_person(dcid, "Ann", f"Number{dcid}", None, schools={5: 1})
    for statement, table in (("from users", "USERS"), ("from schoolstaff", "SCHOOLSTAFF")):
        bed.oracle.faults.drop_after_rows = (statement, 2000)
        check_refusal(bed, bed.run(), f"reading {table}")
        assert bed.oracle.round_trips > 5


@pytest.mark.parametrize(
    ("statement", "code", "words"),
    [
        ("school_number", 942, ("reading SCHOOLS", "grant SELECT", 'POWERSCHOOL_SCHEMA = "PS"', "ORA-00942")),
        ("from users", 1031, ("reading USERS", "lacks a right", "ORA-01031")),
        ("from schoolstaff", 1555, ("reading SCHOOLSTAFF", "run again at a quieter time", "ORA-01555")),
        ("from schoolstaff", 4031, ("reading SCHOOLSTAFF", "README.md", "ORA-04031")),
        ("set transaction", 1453, ("signing in", "ORA-01453")),
    ],
)
def test_a_statement_that_oracle_refuses_is_told_with_the_table(
    bed: Bed, statement: str, code: int, words: tuple[str, ...]
) -> None:
    bed.oracle.faults.fail(statement, code)
    check_refusal(bed, bed.run(), *words)


def test_an_extension_column_that_is_not_there_is_told(bed: Bed) -> None:
    for column, code in (("u_nothing.cellphone", "ORA-00942"), ("u_humanresources.cell", "ORA-00904")):
        bed.settings["EXTENSION_COLUMNS"] = {"cell_phone": column}
        check_refusal(bed, bed.run(), f"reading {column.partition('.')[0].upper()}", "correct EXTENSION_COLUMNS", code)


def test_a_statement_that_never_answers_does_not_hold_the_run(bed: Bed) -> None:
    bed.settings["TIMEOUT_SECONDS"] = 1
    bed.oracle.faults.hang = "from users"
    check_refusal(bed, bed.run(timeout=30), "reading USERS", "did not answer in TIMEOUT_SECONDS", "DPY-4024")


# Google: what config.py names has to be there before anything is decided.


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"STAFF_OU": "/Staff"}, ("the org unit /Staff (STAFF_OU) does not exist",)),
        ({"SUSPENDED_OU": "/Closed"}, ("the org unit /Closed (SUSPENDED_OU) does not exist",)),
        ({"PROTECTED_OUS": ["/Students", "/Pupils"]}, ("the org unit /Pupils (PROTECTED_OUS) does not exist",)),
        (
            {"STAFF_OU": "/Staff", "SUSPENDED_OU": "/Closed", "CUSTOM_SCHEMAS": {"Sync": {"DCID": "dcid"}}},
            ("/Staff", "/Closed", "the custom schema field Sync.DCID does not exist"),
        ),
        (
            {"CUSTOM_SCHEMAS": {"Synchronization_Data": {"DICD": "dcid"}}, "PRIVATE_VALUES": []},
            ("Synchronization_Data.DICD does not exist", "Google has Synchronization_Data.DCID"),
        ),
        (
            {"CUSTOM_SCHEMAS": {"Synchronization_Data": {"School_Access_List": "dcid"}}},
            ("Synchronization_Data.School_Access_List is STRING", "whole number (INT64)"),
        ),
        ({"CUSTOM_SCHEMAS": {"Lists": {"DCID": "dcid"}}}, ("Lists.DCID is multi-valued",)),
    ],
    ids=["staff OU", "suspended OU", "protected OU", "several at once", "field", "text for the DCID", "multi-valued"],
)
def test_what_google_lacks_is_told_and_nothing_written(
    bed: Bed, settings: Mapping[str, object], words: tuple[str, ...]
) -> None:
    bed.google.add_schema("Lists", {"DCID": {"fieldType": "INT64", "multiValued": True}})
    bed.settings |= settings
    check_refusal(bed, bed.run(), "Google lacks what config.py names", *words)


def test_a_missing_frozen_or_temporary_org_unit_is_a_warning_only(bed: Bed) -> None:
    bed.settings |= {"FROZEN_OUS": ["/Administrators", "/Board"], "TEMPORARY_REACTIVATION_OUS": ["/Guests"]}
    outcome = bed.run()
    assert outcome.exit_code == 0
    assert [re.findall("/[A-Z][a-z]+", line) for line in outcome.lines("WARN")] == [["/Board"], ["/Guests"]]
    assert not outcome.lines("ERROR")
    assert len(outcome.writes) == 1


# Files this account cannot use.


@pytest.fixture
def folder_in_the_way(bed: Bed) -> Iterator[Path]:
    """A folder where the log belongs: what not even an administrator can write as a file."""
    path = bed.folder / "StaffLog.txt"
    path.mkdir()
    yield path
    path.rmdir()


@pytest.mark.ordinary_runs
@pytest.mark.measured
def test_a_log_that_cannot_be_written_is_told_with_file_and_account(bed: Bed, folder_in_the_way: Path) -> None:
    with bed.launch() as process:
        output = process.communicate(timeout=60)[0].decode()
    assert process.returncode == 2
    assert "Traceback" not in output
    assert re.search(rf"ERROR {re.escape(str(folder_in_the_way))} cannot be written by the account \S+ ", output)
    assert output.splitlines()[-1].endswith("Nothing was written")
    assert not bed.google.attempted_writes


@pytest.mark.measured
def test_a_runs_folder_that_cannot_be_made_is_told(bed: Bed) -> None:
    bed.runs.write_text("in the way")
    outcome = bed.run()
    assert outcome.exit_code == 2
    assert str(bed.runs) in outcome.lines("ERROR")[0]
    assert outcome.output.splitlines()[-1].endswith("Nothing was written")
    assert not outcome.requests


@pytest.mark.measured
def test_a_config_that_is_a_folder_or_misspelt_is_told_and_creates_nothing(one_in_step: Bed) -> None:
    bed = one_in_step
    other = bed.folder / "other"
    other.mkdir()
    shutil.copy(PROJECT / "config.py", other / "config.py")
    bed.write()
    before = sorted(bed.folder.rglob("*"))
    misspelt = other / "confg.py"
    for path, arguments in ((other, ()), (misspelt, ("--setup", "--yes")), (misspelt, ("--check",))):
        outcome = bed.run("--config", str(path), *arguments)
        check_refusal(bed, outcome, f"--config {path}: there is no such file")
        assert not outcome.requests
        assert not outcome.statements
        assert sorted(bed.folder.rglob("*")) == before


@pytest.mark.measured
def test_only_said_twice_means_both(one_in_step: Bed) -> None:
    bed = one_in_step
    for dcid in (8, 9, 10):
        add_known(bed, dcid)
        bed.powerschool.leave(dcid)
    outcome = bed.run("--only", NOOR, "--only", "dcid:9")
    assert outcome.exit_code == 0, outcome.output
    assert [is_open(bed, email) for email in (NOOR, ADA, ELI)] == [False, False, True]


@pytest.mark.measured
def test_a_value_that_the_driver_cannot_read_is_told_with_the_table(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    # Bytes go over the wire as they lie in the table: a name in the letters of another character set.
    usual = oracle_server.encode_value
    monkeypatch.setattr(
        oracle_server,
        "encode_value",
        lambda value, column: packed_bytes(value) if isinstance(value, bytes) else usual(value, column),
    )
    bed.powerschool.person(2)["last_name"] = b"M\xfcller"
    check_refusal(bed, bed.run(), "PowerSchool, reading USERS: a value cannot be read (", "): correct that row")
