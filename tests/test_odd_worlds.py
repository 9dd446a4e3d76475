"""What odd things around a run do: filters' pages, damaged files, contradicting settings, accounts that refuse."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bed import PROJECT, Bed, closing_process, matching_account, matching_fields, read_lines, shipped_settings
from google.auth.exceptions import RefreshError
from test_applying import NUMBER, SUSPEND, entry, run_in, undone, update
from test_bad_input import check_refusal
from test_deciding import account, settings_with, staff

import sync
from sync import Plan, PowerSchool, RunError, Staff

MAYA, NOOR, ADA, ELI = "maya.patel@d118.org", "noor.haddad@d118.org", "ada.okoye@d118.org", "eli.moss@d118.org"
PEOPLE = {7: ("Maya", "Patel", MAYA), 8: ("Noor", "Haddad", NOOR), 9: ("Ada", "Okoye", ADA), 10: ("Eli", "Moss", ELI)}
HIGH_OU = "/D118 Staff/Wauconda High School Staff"
# As the filter of a school network answers in the place of whoever was asked; the umlaut is no UTF-8.
FILTER_PAGE = "<html><body>Zugriff gesperrt f\u00fcr Sch\u00fcler</body></html>".encode("latin-1")


@pytest.fixture
def bed(bed: Bed) -> Bed:
    """One person in step, who works here whatever happens to the others."""
    bed.powerschool.add_person(1, "Sam", "Stays", "sam.stays@d118.org", schools={5: 1})
    matching_account(bed, 1)
    return bed


def add(bed: Bed, dcid: int, **otherwise: Any) -> str:
    """Adds one of these people at the high school and the account that matches but for this; gives its id."""
    bed.powerschool.add_person(dcid, *PEOPLE[dcid], schools={5: 1}, teacher_number=f"T{dcid}")
    return matching_account(bed, dcid, **otherwise)


def is_open(bed: Bed, email: str) -> bool:
    return not bed.google.user(email)["suspended"]


def newest(bed: Bed) -> Path:
    return max(bed.runs.glob("*.jsonl"))


def last_words(output: str, *words: str) -> None:
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


# Settings that contradict each other.


def test_hands_off_takes_a_dcid_with_its_word_in_front(bed: Bed) -> None:
    for dcid in (7, 8):
        add(bed, dcid)
        bed.powerschool.leave(dcid)
    bed.settings["HANDS_OFF"] = {" DCID:7 ": ("court case", "2099-01-31")}
    outcome = bed.run()
    assert outcome.exit_code == 0, outcome.output
    assert (is_open(bed, MAYA), is_open(bed, NOOR)) == (True, False)
    assert any("court case" in text and "DCID 7" in text for text in outcome.lines("INFO"))
    assert not outcome.lines("WARN"), "an entry that fits somebody is not told to be misspelt"


@pytest.mark.parametrize("shelter", ["PROTECTED_OUS", "TEMPORARY_REACTIVATION_OUS"])
@pytest.mark.parametrize("place", ["STAFF_OU", "SUBSTITUTE_OU", "SUSPENDED_OU", "BUILDING_OUS"])
def test_a_place_for_staff_that_lies_where_nobody_is_closed_is_a_fault(place: str, shelter: str) -> None:
    values = {name: value for name, value in shipped_settings().items() if name.isupper()}
    assert sync.check_config(values) == []
    values |= {place: {5: "/Apart/Below"} if place == "BUILDING_OUS" else "/Apart/Below", shelter: ["/APART"]}
    assert sync.check_config(values) == [
        f"/Apart/Below ({place}) lies in {shelter}, so whoever is there would never be closed"
    ]
    values[shelter] = ["/Apart/Below/Deeper", "/Apart/Bel"]
    assert sync.check_config(values) == []


def test_an_org_unit_spelt_in_two_cases_is_needed_once() -> None:
    settings = settings_with(BUILDING_OUS={5: "/New Staff", 101: "/new staff"})
    people = (staff(), Staff(8, "Noor", "Haddad", NOOR, homeschool=101, schools=((101, 1),)))
    powerschool = PowerSchool({5: "Wauconda High School", 101: "Wauconda Middle School"}, people)
    there = {path.lower(): path for path in (settings.STAFF_OU, settings.SUSPENDED_OU)}
    (needed,) = sync.needed_org_units(settings, powerschool, there)
    assert needed.lower() == "/new staff"
    assert sync.needed_org_units(settings, powerschool, {**there, "/new staff": "/NEW STAFF"}) == []


def test_a_config_that_is_a_folder_or_misspelt_is_told_and_creates_nothing(bed: Bed) -> None:
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


# Filters and proxies.


def test_a_filters_page_in_place_of_an_account_is_asked_for_again(bed: Bed) -> None:
    add(bed, 7, ou="/Substitute Teachers")
    bed.google.fail("users.get", 200, body=FILTER_PAGE)
    outcome = bed.run()
    assert (outcome.exit_code, [write.method for write in outcome.writes]) == (0, ["users.update"]), outcome.output
    assert sum(request.method == "users.get" for request in outcome.requests) == 2
    assert bed.google.user(MAYA)["orgUnitPath"] == HIGH_OU


def test_a_token_that_is_none_and_a_proxy_without_a_port_are_one_sentence(bed: Bed) -> None:
    add(bed, 7, ou="/Substitute Teachers")
    for body in (FILTER_PAGE, b"<html>Blocked</html>", b"", b"[]"):
        bed.google.fail("token", 200, body=body, times=100)
        check_refusal(bed, bed.run(), "Google cannot be reached")
        bed.google.behave()
    faulty = {"HTTPS_PROXY": "http://proxy:80a", "https_proxy": "http://proxy:80a"}
    check_refusal(bed, bed.run(env=faulty), "Google cannot be reached", "HTTPS_PROXY")
    check = bed.run("--check", env=faulty)
    assert check.exit_code == 2
    assert "FAULT    Google can be reached -> Google cannot be reached" in check.output
    assert check.output.splitlines()[-1].endswith("--check  again"), "it goes on to the last fact"


def test_an_answer_that_holds_no_account_is_told_and_not_a_bug(bed: Bed) -> None:
    for dcid in (7, 8):
        add(bed, dcid)
        bed.powerschool.person(dcid)["homeschoolid"] = 101
    bed.google.fail("users.list", 200, body=b'{"users": [{}]}', times=1)
    check_refusal(bed, bed.run(), "listing accounts", "an account without id or address", "run again later")

    bed.google.fail("users.get", 200, body=b"{}", times=1)
    outcome = bed.run()
    assert outcome.exit_code == 1
    assert len(outcome.writes) == 1, "the other one is moved"
    assert any("an account without id or address: the next run tries again" in text for text in outcome.lines("ERROR"))


def test_a_wrong_file_for_a_filters_certificate_is_one_sentence(bed: Bed) -> None:
    outcome = bed.run(env={"HTTPLIB2_CA_CERTS": str(bed.folder / "nowhere.pem")})
    assert outcome.exit_code == 2
    (line,) = outcome.output.splitlines()
    assert line.startswith("ERROR ")
    assert "HTTPLIB2_CA_CERTS" in line
    assert "Nothing was read or written" in line
    assert not outcome.requests


def test_an_org_unit_with_every_odd_letter_goes_the_whole_way(bed: Bed) -> None:
    school, path = "Arts & Crafts #1? +50% O'Neil", "/D118 Staff/Arts & Crafts #1? +50% O'Neil Staff"
    bed.powerschool.add_school(777, school)
    bed.powerschool.add_person(9, "Eli", "Moss", "eli.moss@d118.org", schools={777: 1}, teacher_number="N9")
    add(bed, 7)
    assert any(path in text for text in bed.run("--dry-run").lines("ERROR"))
    bed.google.add_org_unit(path)
    bed.powerschool.person(7)["homeschoolid"] = 777
    assert bed.run().exit_code == 0
    assert bed.google.user("eli.moss@d118.org")["orgUnitPath"] == path
    assert bed.google.user(MAYA)["orgUnitPath"] == path
    assert not bed.run().writes
    assert bed.run("--undo", "last", "--yes", "--only", "dcid:7").exit_code == 0
    assert bed.google.user(MAYA)["orgUnitPath"] != path


def test_a_group_that_holds_the_leaver_through_another_one_does_not_keep_the_account_open(bed: Bed) -> None:
    add(bed, 7)
    add(bed, 8)
    inner = bed.google.add_group("math@d118.org", members={MAYA: "MEMBER", NOOR: "OWNER"})
    outer = bed.google.add_group("all@d118.org", member_groups=["math@d118.org"])
    bed.powerschool.leave(7)
    groups = [{"id": inner, "email": "math@d118.org"}, {"id": outer, "email": "all@d118.org"}]
    bed.google.fail("groups.list", 200, body=json.dumps({"groups": groups}).encode())
    outcome = bed.run()
    assert outcome.exit_code == 0, outcome.output
    assert not is_open(bed, MAYA)
    assert MAYA not in bed.google.members("math@d118.org")
    assert bed.google.user(MAYA)["orgUnitPath"] == "/Suspended Accounts"


def test_a_second_page_of_groups_that_fails_leaves_the_leaver_to_the_next_run(bed: Bed) -> None:
    add(bed, 7)
    add(bed, 8)
    bed.settings["RETRY_SECONDS"] = 0.05
    for number in range(201):
        bed.google.add_group(f"club{number}@d118.org", members={MAYA: "MEMBER", NOOR: "OWNER"})
    bed.powerschool.leave(7)
    bed.google.fail("groups.list", 503, times=None, match=lambda request: bool(request.params.get("pageToken")))
    outcome = bed.run()
    assert outcome.exit_code == 1, outcome.output
    assert bed.google.user(MAYA)["orgUnitPath"] != "/Suspended Accounts"
    assert not [write for write in outcome.writes if write.method == "members.delete"]
    bed.google.behave()
    assert bed.run().exit_code == 0
    assert bed.google.user(MAYA)["orgUnitPath"] == "/Suspended Accounts"
    assert not any(MAYA in bed.google.members(f"club{number}@d118.org") for number in range(201))


# Damaged files.


def test_a_damaged_journal_is_told_to_who_asks_for_it_and_stops_no_reactivation(bed: Bed) -> None:
    add(bed, 7)
    add(bed, 8)
    bed.google.add_group("math@d118.org", members={MAYA: "OWNER", NOOR: "OWNER"})
    bed.powerschool.leave(7)
    bed.run()
    left = newest(bed).rename(bed.runs / "20260101T000000Z.jsonl")
    # Newer than the run that closed the account, so that a search for it comes by here.
    (bed.runs / "20260201T000000Z.jsonl").write_bytes(b'{"change": 1, "email": "\xff\xfe"}\n')
    for row in bed.powerschool.affiliations(7):
        row["status"] = 1

    outcome = bed.run()

    assert outcome.exit_code == 0, outcome.output
    assert is_open(bed, MAYA)
    assert any(f"--undo {left.stem} --only dcid:7" in text for text in outcome.lines("INFO")), outcome.output

    shutil.copy(left, bed.runs / "99999999T999999Z.jsonl")
    line = {"change": 1, "state": "done", "dcid": 7, "account": "1", "email": MAYA, "kind": "update"}
    for name, sides in (
        ("20260301T000000Z", {"before": None, "after": {}}),
        ("20260302T000000Z", {"before": {"fields": {}}, "after": {}}),
    ):
        (bed.runs / f"{name}.jsonl").write_text(json.dumps({**line, **sides}) + "\n")
    for name, words in (
        ("20260201T000000Z", "is damaged"),
        ("20260301T000000Z", "is damaged"),
        ("20260302T000000Z", "is damaged"),
        ("99999999T999999Z", "its name is no start of a run"),
    ):
        refused = bed.run("--undo", name, "--yes")
        assert (refused.exit_code, refused.writes) == (2, [])
        last_words(refused.output, name, words)


def test_a_log_in_another_encoding_or_none_at_all_does_not_keep_the_check_from_its_end(bed: Bed) -> None:
    add(bed, 7)
    assert bed.run("--setup", "--yes").exit_code == 0
    log = bed.folder / "StaffLog.txt"
    assert not log.exists(), "a set-up is no run"
    code, output = screen(bed, "--check")
    assert (code, "WARNING  no run yet" in output) == (1, True), output

    log.write_bytes("2026-11-23 06:00:00 INFO  Done: nothing.\n".encode("utf-16"))
    code, output = screen(bed, "--check")
    assert code == 1, output
    assert "WARNING  no run of everybody that came to its end is on record" in output
    assert "a run tonight would do: nothing" in output

    log.unlink()
    log.mkdir()
    code, output = screen(bed, "--check")
    assert code == 2, output
    assert "FAULT    StaffLog.txt can be written -> it cannot" in output
    assert "a run tonight would do: nothing" in output


def test_a_file_of_the_sign_in_with_a_byte_order_mark_is_read_and_a_hollow_one_refused(bed: Bed) -> None:
    add(bed, 7, ou="/Substitute Teachers")
    client, token = (bed.folder / name for name in ("credentials.json", "token.json"))
    for path in (client, token):  # as Notepad saves it
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert sync.read_client(client)["installed"]
    assert sync.saved_credentials(bed.folder).refresh_token
    kept = client.read_bytes()

    hollow: Any
    for hollow in (None, [], {"client_id": "1"}):
        client.write_text(json.dumps({"installed": hollow}), "utf-8")
        with pytest.raises(RunError, match="is not a whole OAuth client: download it again"):
            sync.authorize(bed.folder)
    check_refusal(bed, bed.run("--authorize"), "credentials.json is not a whole OAuth client")
    client.write_bytes(kept)
    whole = json.loads(token.read_text("utf-8-sig"))
    token.write_text(json.dumps({**whole, "expiry": 5}), "utf-8")
    check_refusal(bed, bed.run(), "token.json is not a whole sign-in", "sync.py --authorize")


class Cursor:
    """As the driver's cursor, for a row that the driver itself cannot turn into Python."""

    description = True

    def __init__(self, error: Exception) -> None:
        self.error = error

    def execute(self, _sql: str, **_binds: object) -> None:
        pass

    def fetchall(self) -> None:
        raise self.error


class Connection:
    def __init__(self, error: Exception) -> None:
        self.error = error

    @contextlib.contextmanager
    def cursor(self) -> Iterator[Cursor]:
        yield Cursor(self.error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("year 0 is out of range"),
        UnicodeDecodeError("utf-8", b"M\xfcller", 1, 2, "invalid start byte"),
    ],
    ids=["a date", "a name"],
)
def test_a_value_that_the_driver_cannot_read_is_told_with_the_statement(error: Exception) -> None:
    broken: Any = Connection(error)
    with pytest.raises(RunError) as caught:
        sync.fetch(broken, "SELECT 1 FROM users", "reading USERS")
    assert str(caught.value) == f"PowerSchool, reading USERS: a value cannot be read ({error}): correct that row"
    assert caught.value.exit_code == 2


class OnNoDisk:
    """A file as on a network drive that knows no locks: its descriptor is none, so that the system refuses."""

    name = "runs/lock"

    def fileno(self) -> int:
        return 1_000_000

    def seek(self, _place: int) -> None:
        pass


def test_a_folder_that_cannot_be_locked_is_not_taken_for_another_run() -> None:
    file: Any = OnNoDisk()
    with pytest.raises(
        RunError, match=r"runs/lock cannot be locked \(.+\): keep this folder on a local disk"
    ) as caught:
        sync.try_lock(file)
    assert caught.value.exit_code == 2


# What Google says.


def test_an_account_made_with_an_empty_answer_is_made(bed: Bed) -> None:
    add(bed, 7)
    bed.powerschool.add_person(8, *PEOPLE[8], schools={5: 1})
    bed.google.fail("users.insert", 200, body=b"{}", when="after")
    outcome = bed.run()
    assert outcome.exit_code == 0, outcome.output
    assert [line["state"] for line in outcome.journal] == ["intended", "done"]
    assert bed.google.user(NOOR)["orgUnitPath"] == HIGH_OU


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("access_denied: Requested client not authorized", "no domain-wide delegation for exactly these scopes"),
        ("Not a valid email or user ID", "GOOGLE_ADMIN_EMAIL must be the address of an admin"),
        ("invalid_request: Not a valid email or user ID.", "GOOGLE_ADMIN_EMAIL must be the address of an admin"),
    ],
)
def test_a_delegation_or_an_admin_that_google_does_not_know_is_told_as_that(answer: str, words: str) -> None:
    sentence = str(sync.refused_token(RefreshError(answer, {"error": answer})))
    assert words in sentence
    assert "--authorize" not in sentence, "a service account has no sign-in to repeat"


def test_accounts_that_refuse_keep_no_other_from_being_put_back(bed: Bed) -> None:
    ids = {dcid: add(bed, dcid) for dcid in PEOPLE}
    for dcid in PEOPLE:
        bed.powerschool.leave(dcid)
    bed.run()
    run = newest(bed).stem

    def of(dcid: int) -> Callable[[Any], bool]:
        return lambda request: request.params["userKey"] == ids[dcid]

    bed.google.fail("users.get", 403, "forbidden", "Not Authorized", times=None, match=of(7))
    bed.google.fail("users.update", 503, times=None, match=of(9))

    one = bed.run("--undo", run, "--yes", "--only", "dcid:8")
    assert (one.exit_code, one.lines("ERROR")) == (0, []), one.output
    assert [is_open(bed, email) for email in (MAYA, NOOR, ADA, ELI)] == [False, True, False, False]

    outcome = bed.run("--undo", run, "--yes")
    assert outcome.exit_code == 1, outcome.output
    assert [is_open(bed, email) for email in (MAYA, NOOR, ADA, ELI)] == [False, True, False, True]
    maya, ada, summary = outcome.lines("ERROR")
    assert "not looked up" in maya
    assert "(DCID 7): not put back, run the same undo again: Google answered 403" in maya
    assert "(DCID 9)" in ada
    assert ada.endswith("run the same undo again")
    assert summary == "lines above.", "and no third"
    assert "next run tries again" not in outcome.output


@pytest.mark.parametrize(
    ("now", "more_before", "more_after"),
    [
        (
            {"employee_id": "HR-9", "external_ids": ({"type": "organization", "value": "HR-9"}, NUMBER)},
            {"employee_id": ""},
            {"employee_id": "T7"},
        ),
        ({}, {"fields": {"Gone.Phone": "847-555-0107"}}, {"fields": {"Gone.Phone": ""}}),
    ],
    ids=["an Employee ID", "a field that config.py no longer names"],
)
def test_what_has_moved_on_is_named_though_the_rest_of_the_same_change_is_put_back(
    now: dict[str, Any], more_before: dict[str, Any], more_after: dict[str, Any]
) -> None:
    before, after = {"fields": {"Sync.Group": "4"}}, {"fields": {"Sync.Group": "9"}}
    whole = [
        {**side, **more, "fields": {**side["fields"], **more.get("fields", {})}}
        for side, more in ((before, more_before), (after, more_after))
    ]
    plan = undone(account(**now), entry(update(*whole)))
    assert plan.changes == (update(after, before),)
    assert [note.rule for note in plan.notes] == ["moved on"]
    assert "not put back: update" in plan.notes[0].reason
    assert "847" not in plan.notes[0].reason
    assert undone(account(), entry(update(before, after))).notes == ()


def test_an_undo_out_of_time_says_to_run_it_again_and_not_to_wait_for_the_next_run(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    run.deadline = float("-inf")
    due = Plan(staff(), account(), account(), (SUSPEND,), (), "the journal")
    with pytest.raises(RunError, match=r"RUN_MINUTES is over, with 1 person left.*: run the same undo again"):
        sync.apply_plans(run, [due], lambda _plan: None)


# Words on the command line and at the terminal.


def test_only_said_twice_means_both(bed: Bed) -> None:
    for dcid in (7, 8, 9):
        add(bed, dcid)
        bed.powerschool.leave(dcid)
    outcome = bed.run("--only", MAYA, "--only", "dcid:8")
    assert outcome.exit_code == 0, outcome.output
    assert [is_open(bed, email) for email in (MAYA, NOOR, ADA)] == [False, False, True]


def test_a_word_without_its_number_fits_nobody(bed: Bed) -> None:
    for ids in ((), ({"type": "organization", "value": " "},), ({"type": "custom", "value": ""},)):
        bare = account(employee_id="", external_ids=ids)
        assert not sync.is_named(Plan(staff(teacher_number=""), bare), ["teacher:"])
    bed.powerschool.add_person(7, *PEOPLE[7], schools={5: 1})
    matching_account(bed, 7)
    for word in ("teacher:", " DCID: "):
        outcome = bed.run("--explain", word)
        assert (outcome.exit_code, outcome.requests, outcome.statements) == (2, [], [])
        last_words(outcome.output, "--explain: say whom")


def test_the_end_of_input_is_no_yes(bed: Bed) -> None:
    add(bed, 7)
    bed.powerschool.leave(7)
    bed.run()
    answer_end_of_file(bed)
    outcome = bed.run("--undo", "last")
    assert (outcome.exit_code, outcome.writes) == (2, []), outcome.output
    last_words(outcome.output, "not agreed to, so nothing was put back")


# What is shown, and in which order.


def test_what_would_be_done_is_counted_in_the_order_of_the_first_change_of_each_kind(bed: Bed) -> None:
    add(bed, 7)
    bed.powerschool.leave(7)
    bed.powerschool.add_person(8, *PEOPLE[8], schools={5: 1})
    outdated = matching_fields(bed, 8, Staff_Type=4)
    matching_account(bed, 8, email="n.haddad@d118.org", ou="/Substitute Teachers", fields=outdated)
    bed.powerschool.add_person(9, *PEOPLE[9], schools={5: 1})
    add(bed, 10, employee_id=None)
    counts = "suspend 1, move to suspended 1, move 1, rename 1, update 2, create 1"
    outcome = bed.run("--dry-run")
    assert f"Dry run, nothing written. Would do: {counts}." in outcome.lines("INFO"), outcome.output
    assert f"a run tonight would do: {counts}" in bed.run("--check").output


def test_the_check_shows_no_dcids_of_accounts_that_look_like_somebody_elses(bed: Bed) -> None:
    for dcid in range(2, 9):
        bed.powerschool.add_person(dcid, "Mona", f"Adler{dcid}", f"p{dcid}@d118.org", schools={5: 1})
        matching_account(bed, dcid, email=f"other{dcid}@d118.org", given="Some", family="Body", employee_id=None)
    output = bed.run("--check").output
    assert "7 of 8 accounts look like somebody else's" in output
    assert "Look at some of them with --explain" in output
    assert not re.search(r"dcid:\s*\d", output, re.IGNORECASE)


def test_explain_hides_what_is_private_on_both_sides(bed: Bed) -> None:
    add(bed, 7, ou="/Substitute Teachers", employee_id="T6", fields={"Synchronization_Data": {"DCID": 7}})
    bed.powerschool.add_school_staff(7, 101, 1)
    private = ["cell_phone", "teacher_number", "homeschool_id", "school_access_list"]
    bed.settings["PRIVATE_VALUES"] = private
    outcome = bed.run("--explain", "dcid:7")
    assert outcome.exit_code == 0
    assert f"PowerSchool: Maya Patel, {MAYA} (DCID 7), teacher number (private)" in outcome.output
    assert "PowerSchool: home school (private), active at (private)" in outcome.output
    assert "Synchronization_Data.School_Access_List (private)" in outcome.output
    shown = "\n".join(outcome.lines("INFO")[1:])
    assert not re.search(r"\bT[67]\b|\b101\b|school 5|home school 5", shown), shown


FOLDERS = [r"C:\Users\jane.smith\Staff Sync (prod)", "/home/jane.smith/Staff Sync (prod)", r"\\files\jane.smith\sync"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_what_is_safe_to_paste_holds_no_folder_address_domain_or_host(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POWERSCHOOL_PROD_DB", "db7.d118.org:1521/PSPRODDB")
    monkeypatch.setenv("GOOGLE_ADMIN_EMAIL", "it.admin@d118.org")
    monkeypatch.setenv("HTTPS_PROXY", "http://jane:pw@gate.d118.org:3128/")
    monkeypatch.delenv("https_proxy", raising=False)
    hidden = sync.hidden_words(["d118.org"], Path(folder))
    slash = "\\" if "\\" in folder else "/"
    token = sync.paste_safe(f"{Path(folder)}{slash}token.json is damaged (not valid JSON): sign in", hidden)
    assert re.fullmatch(r"(\(folder\)[\\/])?token\.json is damaged \(not valid JSON\): sign in", token)
    doubled = folder.replace("\\", "\\\\")  # as in the words of an OSError
    assert "jane" not in sync.paste_safe(f"cannot open '{doubled}'", hidden)
    for text, shown in (
        ("signed in as It.Admin@d118.org, not o'neil@staff.d118.org", "signed in as (address), not (address)"),
        ("cannot connect to gate.d118.org:3128", "cannot connect to (host):3128"),
        ("no such host: db7.d118.org", "no such host: (host)"),
        ("GOOGLE_DOMAINS: d118.org", "GOOGLE_DOMAINS: (domain)"),
        ("d118.organic is no word to hide", "d118.organic is no word to hide"),
    ):
        assert sync.paste_safe(text, hidden) == shown
