"""The morning mail: what it says, when it goes out, and how it fares with real mail servers."""

from __future__ import annotations

import re
import socket
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
from bed import PASSWORD, Bed, Outcome
from mail_server import HOST, USER, MailServer
from stories import colleagues, told_once

import sync
from sync import Change, Plan, Remark, Rule, Run, Staff

TEST = "--mail-test"
MONDAY = datetime(2026, 11, 23, 15, 0, tzinfo=timezone.utc)  # so in every time zone but the outermost
TUESDAY = MONDAY + timedelta(days=1)
MAYA = Staff(7, "Maya", "Patel", "maya.patel@d118.org")
NOOR = Staff(8, "Noor", "Haddad", "noor.haddad@d118.org")
LOCKED = Remark(Rule.LOCKED_OUT, str(MAYA), "Google itself has locked the account", "decide", "dcid:7")
HOME = Remark(Rule.HOME_SCHOOL, str(NOOR), "no home school in PowerSchool", "choose one there", "dcid:8")
HELD = Remark(Rule.LIMIT, "suspend", "26 people, the limit is 10", "python sync.py --allow suspend=26")
EXPIRED = "PowerSchool (PSNavigator at POWERSCHOOL_PROD_DB=db.invalid:1521/PSPRODDB), signing in: the login's password "
EXPIRED += "has expired: set a new one in Oracle and in POWERSCHOOL_DB_PASSWORD [ORA-28001: the password has expired]"
BROKEN = Remark(Rule.REFUSED, EXPIRED, "")


def matter(remark: Remark, days: int = 0, *, at: datetime = TUESDAY) -> Remark:
    return replace(remark, since=at.astimezone().date() - timedelta(days=days) if days else None)


def morning(*, failure: str = "", not_made: tuple[Remark, ...] = (), **what: Any) -> Run:
    """A run at its end, when all that it tells is known."""
    of_end = {"started": TUESDAY, "ending": "Done", "exit_code": 0, **what}
    return Run(Path(), failure=Remark(Rule.REFUSED, failure, "") if failure else None, remarks=[*not_made], **of_end)


def change(person: Staff, kind: str, attribute: str, before: str, after: str) -> tuple[Plan, Change]:
    one = Change(kind, {attribute: before}, {attribute: after})
    return Plan(person, changes=(one,)), one


MOVED = change(MAYA, "move", sync.ORG_UNIT, "/D118 Staff/A Staff", "/D118 Staff/B Staff")
RENAMED = change(MAYA, "rename", sync.EMAIL, "maya.old@d118.org", "maya.patel@d118.org")
PHONED = change(NOOR, "update", "customSchemas.CrisisGO.CellPhone", "847-555-0001", "847-555-0002")


@pytest.fixture
def settings(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> sync.Settings:
    for name in ("SMTP_USER", "SMTP_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    bed.settings |= {"MAIL_TO": ["it@d118.org"], "MAIL_FROM": "staff-sync@d118.org", "SMTP_HOST": HOST}
    bed.write()
    found = sync.mail_settings(bed.config)
    assert found is not None
    return found


def send(bed: Bed, server: MailServer, env: dict[str, str | None] | None = None, **settings: object) -> Outcome:
    """--mail-test to this server, which the script trusts and signs in to as the server wishes."""
    bed.settings |= {**server.settings(), **settings}
    bed.environment |= server.environment()
    return bed.run(TEST, env=env)


# On the wire.


@pytest.mark.parametrize("security", ["starttls", "tls", "none"])
def test_a_mail_reaches_everybody_with_text_and_page_and_without_the_name_of_the_machine(
    bed: Bed, tmp_path: Path, security: str
) -> None:
    with MailServer(tmp_path, security=security) as server:
        outcome = send(bed, server, MAIL_TO=["it@d118.org", "boss@d118.org"])

    assert outcome.exit_code == 0, outcome.output
    assert "answered 250 2.0.0 queued as 4711" in outcome.output
    (mail,) = server.mails
    assert (mail.sender, mail.recipients) == ("staff-sync@d118.org", ("it@d118.org", "boss@d118.org"))
    assert mail.was_encrypted == (security != "none")
    message = mail.message
    assert message["Subject"] == "Staff Sync (mail test): 0 new, 0 open, 0 changed, 0 held"
    assert (message["From"], message["To"]) == ("Staff Sync <staff-sync@d118.org>", "it@d118.org, boss@d118.org")
    assert abs(parsedate_to_datetime(message["Date"]) - datetime.now(timezone.utc)) < timedelta(hours=1)
    assert re.fullmatch(r"<[^@\s]+@d118\.org>", message["Message-ID"])
    assert "This is a mail test of Staff Sync\nNothing was read or written." in mail.part("plain")
    assert ">This is a mail test of Staff Sync</h1><p>Nothing was read or written.</p>" in mail.part("html")
    assert mail.greeting == "d118.org"
    assert socket.gethostname().encode() not in mail.raw or socket.gethostname() in {"localhost", "d118"}
    assert not outcome.requests, "PowerSchool and Google are left alone"
    assert not bed.runs.exists()


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_it_signs_in_where_that_is_encrypted(bed: Bed, tmp_path: Path, security: str) -> None:
    with MailServer(tmp_path, security=security, password=PASSWORD) as server:
        outcome = send(bed, server)

    assert outcome.exit_code == 0, outcome.output
    assert server.sign_ins == [(USER, PASSWORD)]
    assert b"AUTH" not in server.in_clear
    assert len(server.mails) == 1


def test_without_encryption_no_password_is_sent_although_the_server_would_take_it(bed: Bed, tmp_path: Path) -> None:
    sign_in: dict[str, str | None] = {"SMTP_USER": USER, "SMTP_PASSWORD": PASSWORD}
    with MailServer(tmp_path, security="none") as server:
        outcome = send(bed, server, env=sign_in)
    assert (outcome.exit_code, len(server.mails)) == (0, 1), outcome.output
    assert b"AUTH" not in server.in_clear

    with MailServer(tmp_path, security="none", password=PASSWORD) as server:
        outcome = send(bed, server)
    assert (outcome.exit_code, server.mails, server.sign_ins) == (2, [], [])
    assert b"AUTH" not in server.in_clear
    told_once(outcome.output, "answered 530 ", "SMTP_USER and SMTP_PASSWORD", 'never sent with SMTP_SECURITY "none"')


def test_a_server_that_encrypts_nothing_gets_neither_password_nor_mail(bed: Bed, tmp_path: Path) -> None:
    with MailServer(tmp_path, security="none", password=PASSWORD) as server:
        outcome = send(bed, server, SMTP_SECURITY="starttls")

    assert (outcome.exit_code, server.mails, server.sign_ins) == (2, [], [])
    assert b"AUTH" not in server.in_clear
    told_once(outcome.output, "STARTTLS", "choose another SMTP_PORT or SMTP_SECURITY")


REFUSALS = {
    "a sender": ({"MAIL": "550 5.7.1 not yours"}, ("answered 550 5.7.1 not yours", "MAIL_FROM")),
    "every recipient": ({"it@d118.org": "550 5.1.1 unknown"}, ("550 5.1.1 unknown to it@d118.org", "MAIL_TO")),
    "the mail": ({"DATA": "554 5.6.0 no spam"}, ("answered 554 5.6.0 no spam", "whoever runs the mail server")),
    "a moment": ({"MAIL": "421 4.3.0 come again"}, ("answered 421 4.3.0 come again",)),
}  # fmt: skip


@pytest.mark.parametrize(("refused", "words"), REFUSALS.values(), ids=REFUSALS)
@pytest.mark.measured
def test_a_refusal_is_one_sentence_with_the_servers_words_and_the_setting(
    bed: Bed, tmp_path: Path, refused: dict[str, str], words: tuple[str, ...]
) -> None:
    with MailServer(tmp_path, refused=refused) as server:
        outcome = send(bed, server)

    assert (outcome.exit_code, server.mails) == (2, [])
    told_once(outcome.output, "the morning mail could not be sent: localhost:", *words)


@pytest.mark.measured
def test_who_is_refused_is_named_and_the_others_get_it(bed: Bed, tmp_path: Path) -> None:
    with MailServer(tmp_path, refused={"gone@d118.org": "550 5.1.1 unknown"}) as server:
        outcome = send(bed, server, MAIL_TO=["gone@d118.org", "it@d118.org"])

    assert outcome.exit_code == 2
    told_once(outcome.output, "550 5.1.1 unknown to gone@d118.org, the others got it: correct MAIL_TO")
    assert [mail.recipients for mail in server.mails] == [("it@d118.org",)]


@pytest.mark.parametrize("echo", [PASSWORD, "AHN0YWZmLXN5bmMAcmQtMG5seS1TZWNyZXQ=", "cmQtMG5seS1TZWNyZXQ="])
def test_a_refused_sign_in_names_both_variables_and_hides_a_password_that_comes_back(
    bed: Bed, tmp_path: Path, echo: str
) -> None:
    refused = {"AUTH": f"535 5.7.8 not understood: {echo}"}
    with MailServer(tmp_path, security="starttls", password="another", refused=refused) as server:
        outcome = send(bed, server, env={"SMTP_PASSWORD": PASSWORD})

    assert (outcome.exit_code, server.mails) == (2, [])
    assert set(server.sign_ins) == {(USER, PASSWORD)}
    told_once(outcome.output, "535 5.7.8 not understood: (hidden): correct SMTP_USER and SMTP_PASSWORD")
    assert echo not in outcome.output


def test_a_password_that_no_mail_server_takes_is_told_without_any_of_it(bed: Bed, tmp_path: Path) -> None:
    with MailServer(tmp_path, security="tls", password="another") as server:
        outcome = send(bed, server, env={"SMTP_PASSWORD": "gr\u00fcn-\u00df"})

    assert (outcome.exit_code, server.mails) == (2, [])
    told_once(outcome.output, "SMTP_USER and SMTP_PASSWORD may hold ASCII characters only")
    assert not re.search("\u00fc|xfc|\u00df|xdf|codec", outcome.output)


def test_a_server_without_sign_in_is_told(bed: Bed, tmp_path: Path) -> None:
    with MailServer(tmp_path, security="tls", offers_sign_in=False) as server:
        outcome = send(bed, server, env={"SMTP_USER": USER, "SMTP_PASSWORD": PASSWORD})

    assert (outcome.exit_code, server.mails) == (2, [])
    told_once(outcome.output, "unset SMTP_USER")


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_certificate_that_is_not_trusted_or_of_another_name_ends_it_before_the_password(
    bed: Bed, tmp_path: Path, security: str
) -> None:
    with MailServer(tmp_path, security=security, password=PASSWORD) as server:
        strange = send(bed, server, env={"SSL_CERT_FILE": str(bed.google.ca_file)})
    with MailServer(tmp_path, security=security, password=PASSWORD, hosts=("mail.invalid",)) as other:
        misnamed = send(bed, other)

    for outcome in (strange, misnamed):
        assert outcome.exit_code == 2
        told_once(outcome.output, "the name in the server's certificate", "SSL_CERT_FILE")
    assert not [*server.mails, *server.sign_ins, *other.mails, *other.sign_ins]


@pytest.mark.parametrize("silent_at", ["greeting", "MAIL", "DATA"])
def test_a_server_that_hangs_is_given_up(bed: Bed, tmp_path: Path, silent_at: str) -> None:
    with MailServer(tmp_path, silent_at=silent_at) as server:
        outcome = send(bed, server, TIMEOUT_SECONDS=0.3)

    assert (outcome.exit_code, server.mails) == (2, [])
    told_once(outcome.output, "timed out)", "SMTP_HOST, SMTP_PORT and SMTP_SECURITY")


def test_a_server_that_hangs_when_it_has_taken_the_mail_has_taken_it(bed: Bed, tmp_path: Path) -> None:
    with MailServer(tmp_path, silent_at="QUIT") as server:
        outcome = send(bed, server, TIMEOUT_SECONDS=0.3)

    assert (outcome.exit_code, len(server.mails)) == (0, 1), outcome.output


def test_a_server_that_drips_is_given_up_and_holds_no_run(bed: Bed, tmp_path: Path) -> None:
    colleagues(bed)
    with MailServer(tmp_path, drips=True) as server:
        bed.settings |= {**server.settings(), "TIMEOUT_SECONDS": 0.3, "MAIL_WHEN": "always"}
        for arguments, code in (((TEST,), 2), ((), 0)):
            outcome = bed.run(*arguments, timeout=30)
            assert outcome.exit_code == code, outcome.output
            assert "could not be sent: localhost:" in outcome.output
            assert "cannot be used (no answer)" in outcome.output.splitlines()[-1]


def test_the_wrong_way_to_a_server_and_none_at_all_are_told(bed: Bed, tmp_path: Path) -> None:
    with MailServer(tmp_path) as server:
        told_once(send(bed, server, SMTP_SECURITY="tls").output, '"tls" with 465')
        told_once(send(bed, server, SMTP_HOST="mail..invalid").output, "correct SMTP_HOST")
    outcome = send(bed, server)  # which has gone
    assert outcome.exit_code == 2
    told_once(outcome.output, "correct SMTP_HOST, SMTP_PORT and SMTP_SECURITY")


# Settings.


def test_without_mail_nothing_is_missed(bed: Bed) -> None:
    assert bed.run().exit_code == 3, "there is nobody in PowerSchool, and nothing else is wrong"
    outcome = bed.run(TEST)
    assert outcome.exit_code == 2
    told_once(outcome.output, "MAIL_TO in config.py names nobody")


FAULTS: dict[str, tuple[dict[str, object], str]] = {
    "no sender": ({"MAIL_FROM": ""}, "MAIL_FROM must be the address it comes from"),
    "no server": ({"SMTP_HOST": ""}, "SMTP_HOST must be the mail server"),
    "a name beside the address": ({"MAIL_FROM": "IT <it@d118.org>"}, "MAIL_FROM must be"),
    "one text for a list": ({"MAIL_TO": "it@d118.org"}, "MAIL_TO must be a list in []"),
    "two in one": ({"MAIL_TO": ["it@d118.org, boss@d118.org"]}, "MAIL_TO must be an address such as"),
    "a port in the name": ({"SMTP_HOST": "mail.invalid:587"}, "SMTP_HOST must be"),
    "a port in quotes": ({"SMTP_PORT": "587"}, "SMTP_PORT must be a port such as 587, without quotes"),
    "no port": ({"SMTP_PORT": 0}, "SMTP_PORT must be a port"),
    "another spelling": ({"SMTP_SECURITY": "TLS"}, 'SMTP_SECURITY must be "starttls", "tls" or "none"'),
    "another way": ({"SMTP_SECURITY": "ssl"}, 'SMTP_SECURITY must be "starttls", "tls" or "none"'),
    "another time": ({"MAIL_WHEN": "daily"}, 'MAIL_WHEN must be "news", "problems" or "always"'),
}  # fmt: skip


@pytest.mark.parametrize(("wrong", "words"), FAULTS.values(), ids=FAULTS)
def test_a_fault_in_the_settings_of_mail_is_one_of_the_faults_of_a_run(
    bed: Bed, wrong: dict[str, object], words: str
) -> None:
    bed.settings |= {"MAIL_TO": ["it@d118.org"], "MAIL_FROM": "staff-sync@d118.org", "SMTP_HOST": HOST, **wrong}
    outcome = bed.run()
    assert outcome.exit_code == 2
    told_once(outcome.output, words, "Nothing was written")


@pytest.mark.measured
def test_a_mail_is_possible_beside_faults_elsewhere_and_not_where_its_own_settings_are_wrong(
    bed: Bed, tmp_path: Path
) -> None:
    bed.config_text = "STAF_OU = '/x'\nLIMITS = 3\nMAIL_WHEN = 'daily'\n"
    with MailServer(tmp_path, security="starttls", password=PASSWORD) as server:
        assert send(bed, server, env={"POWERSCHOOL_DB_PASSWORD": None}).exit_code == 0
        assert len(server.mails) == 1
        faulty = {
            "MAIL_FROM = ''\n": "MAIL_FROM must be",
            "MAIL_TO = 3\n": "MAIL_TO must be",
            "MAIL_TO = [\n": "Python",
        }
        for code, words in faulty.items():
            bed.config_text = code
            outcome = send(bed, server)
            assert outcome.exit_code == 2
            told_once(outcome.output, words)
        assert sync.mail_settings(bed.config) is None
    assert len(server.mails) == 1
    assert sync.mail_settings(bed.folder / "nowhere.py") is None


@pytest.mark.measured
def test_check_shows_nothing_of_addresses_and_hosts_of_the_mail(bed: Bed) -> None:
    bed.settings |= {"MAIL_TO": ["it@d118.org"], "MAIL_FROM": "staff-sync@d118.org", "SMTP_HOST": "mail.invalid"}
    bed.environment |= {"SMTP_USER": USER, "SMTP_PASSWORD": PASSWORD}
    for host in ("mail.invalid", "mail.invalid:25"):
        bed.settings["SMTP_HOST"] = host
        output = bed.run("--check").output
        assert not [word for word in ("it@", "staff-sync@", "mail.invalid", PASSWORD) if word in output]
    assert "SMTP_HOST must be" in output


def test_check_warns_when_the_last_good_run_is_older_than_expected(one_in_step: Bed) -> None:
    assert one_in_step.run().exit_code == 0
    kept = one_in_step.folder / sync.LAST_GOOD
    kept.write_text((datetime.now(timezone.utc) - timedelta(hours=25)).isoformat())
    assert re.search("good +the last good run was 1.0 days ago", one_in_step.run("--check").output)
    one_in_step.settings["EXPECT_RUN_HOURS"] = 24
    assert re.search("WARNING +the last good run was 1.0 days ago", one_in_step.run("--check").output)


@pytest.mark.parametrize(
    "others",
    [
        ("--dry-run",), ("--only", "dcid:7"), ("--allow", "suspend=3"), ("--check",), ("--setup",), ("--yes",),
        ("--explain", "dcid:7"), ("--undo", "last"), ("--authorize",), ("--csv", "x.csv"),
    ],
)  # fmt: skip
def test_it_goes_with_no_other_option(others: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        sync.main([TEST, *others])
    assert ended.value.code == 2
    assert re.search("(go together|goes with)", capsys.readouterr().err)


# What it says.

SUBJECTS = {
    "Staff Sync: 0 new, 0 open, 0 changed, 0 held": morning(),
    "Staff Sync: 1 new, 2 open, 2 changed, 26 held": morning(
        new=(matter(LOCKED),),
        standing=(matter(HOME, 3), matter(replace(HOME, rule=Rule.FAULTY_NAME), 5)),
        done=[MOVED, RENAMED, PHONED],
        held={"suspend": 26},
    ),
    "Staff Sync: 0 new, 1 open, 0 changed, 0 held, 1 solved": morning(
        standing=(matter(HOME, 3),), solved=(matter(LOCKED, 1),)
    ),
    "Staff Sync DID NOT RUN: PowerSchool (PSNavigator), signing in: the login's password has expired: "
    "set a new one ...":
        morning(failure=EXPIRED, ending=sync.NOT_RUN, new=(matter(BROKEN),)),
    "Staff Sync DID NOT FINISH: interrupted": morning(failure="interrupted", ending=sync.BROKEN_OFF, done=[MOVED]),
    "Staff Sync DID NOT RUN: token.json is missing: sign in once with python sync.py --authorize": morning(
        failure="/opt/staff-sync/token.json is missing: sign in once with  python sync.py --authorize",
        ending=sync.NOT_RUN,
    ),
    "Staff Sync DID NOT RUN: config.py: STAF_OU is not a setting: is STAFF_OU meant?": morning(
        failure="Settings: C:\\Staff Sync\\config.py: STAF_OU is not a setting: is STAFF_OU meant?",
        ending=sync.NOT_RUN,
    ),
    f"Staff Sync DID NOT RUN: {'word ' * 17}...": morning(failure="word " * 40, ending=sync.NOT_RUN),
    "Staff Sync DID NOT RUN: a b\\x00 (proxy)": morning(
        failure="a\r\nb\0 http://me:hush@proxy.invalid:3128", ending=sync.NOT_RUN
    ),
}  # fmt: skip


@pytest.mark.parametrize(("subject", "told"), SUBJECTS.items())
def test_the_subject_is_enough_on_a_phone(subject: str, told: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:hush@proxy.invalid:3128")
    assert sync.mail_subject(told) == subject
    assert len(subject) <= 125


def test_the_text_tells_first_what_is_to_be_done_and_then_what_was_changed(settings: sync.Settings) -> None:
    text = sync.mail_text(
        morning(
            settings=settings,
            done=[MOVED, PHONED], held={"suspend": 26}, not_made=(HELD,), new=(matter(LOCKED),),
            standing=(matter(HOME, 3), matter(replace(HOME, who="Kim"), 24)),
            solved=(matter(replace(HOME, who="Ada"), 2),),
            last_good=TUESDAY - timedelta(days=3),
        )
    )  # fmt: skip
    today = TUESDAY.astimezone().date()
    begun, last = TUESDAY.astimezone(), (TUESDAY - timedelta(days=3)).astimezone()
    expected = f"""\
Staff Sync changed 2 people; 3 people need attention, 1 of them new; held back: suspend 26
Done: move 1, update 1.
Begun on {begun:%A, %Y-%m-%d, at %H:%M}. The last good run before this one: {last:%Y-%m-%d %H:%M} (3.0 days ago).

Held back 1
- suspend: 26 people, the limit is 10: python sync.py --allow suspend=26

New problems 1
- Maya Patel, maya.patel@d118.org (DCID 7): locked out: Google itself has locked the account: decide

Standing problems 2 (what to do: python sync.py --explain WHO)
- Noor Haddad, noor.haddad@d118.org (DCID 8): home school, since {today - timedelta(days=3)} (3 days)
- Kim: home school, since {today - timedelta(days=24)} (24 days)

Solved problems 1
- Ada: home school, since {today - timedelta(days=2)} (2 days)

Moved 1
- Maya Patel, maya.patel@d118.org (DCID 7): A Staff -> B Staff

Other changes 1
- Noor Haddad, noor.haddad@d118.org (DCID 8): CellPhone (private) changed
"""
    assert text == expected
    assert "847-555" not in text


def test_the_text_of_a_failure_says_since_when_and_when_a_run_was_good(settings: sync.Settings) -> None:
    failed = morning(
        settings=settings, failure=EXPIRED, ending=sync.NOT_RUN, standing=(matter(BROKEN, 2), matter(HOME, 9)),
        last_good=TUESDAY - timedelta(hours=47),
    )  # fmt: skip
    text = sync.mail_text(failed)
    day = TUESDAY.astimezone().date() - timedelta(days=2)
    assert text.startswith(f"Staff Sync DID NOT RUN: {EXPIRED}\nNothing was changed.\nBegun on ")
    assert f"refused, since {day} (2 days)\n" in text
    assert "(2.0 days ago)" in text
    assert "Standing problems 2 " in text
    stopped = replace(failed, ending=sync.BROKEN_OFF, done=[MOVED], last_good=None)
    text = sync.mail_text(stopped)
    assert text.startswith(f"Staff Sync DID NOT FINISH: {EXPIRED}\nDone before it stopped: move 1.\n")
    assert "The last good run before this one: none is on record.\n" in text


def test_the_text_of_a_quiet_night_says_so_and_that_of_a_first_day_is_whole(settings: sync.Settings) -> None:
    quiet = "Staff Sync found nothing to change; nobody needs attention\nDone: nothing.\n"
    assert sync.mail_text(morning(settings=settings)).startswith(quiet)
    many = morning(settings=settings, new=tuple(matter(replace(LOCKED, who=f"Kim{n}\r\nBcc: x")) for n in range(500)))
    text = sync.mail_text(many)
    assert "New problems 500\n- Kim0\\r\\nBcc: x: locked out: Google" in text
    assert "\n- Kim499\\r\\nBcc: x: locked out: Google" in text


# When it goes out.

DUE: dict[str, tuple[Run, dict[str, bool]]] = {
    "nothing": (morning(), {"news": False, "problems": False, "always": True}),
    "new": (morning(new=(matter(LOCKED),)), {"news": True, "problems": True, "always": True}),
    "changed": (morning(done=[MOVED]), {"news": True, "problems": False, "always": True}),
    "solved": (morning(solved=(matter(HOME, 3),)), {"news": True, "problems": False, "always": True}),
    "held": (morning(not_made=(HELD,)), {"news": True, "problems": True, "always": True}),
    "only standing": (morning(standing=(matter(HOME, 3),)), {"news": False, "problems": False, "always": True}),
    "standing on a Monday": (
        morning(started=MONDAY, standing=(matter(HOME, 3),)), {"news": True, "problems": True, "always": True},
    ),
    "nothing on a Monday": (morning(started=MONDAY), {"news": False, "problems": False, "always": True}),
    "some only": (morning(part="for some only", new=(matter(HOME),)), {"news": False, "always": False}),
}  # fmt: skip


@pytest.mark.parametrize(("told", "is_due"), DUE.values(), ids=DUE)
def test_a_mail_goes_out_for_what_mail_when_asks(told: Run, is_due: dict[str, bool], settings: sync.Settings) -> None:
    found = {when: sync.mail_is_due(after({}, told, replace(settings, MAIL_WHEN=when))) for when in is_due}
    assert found == is_due
    assert not sync.mail_is_due(after({}, told, replace(settings, MAIL_WHEN="always", MAIL_TO=[])))


def after(mail: dict[str, Any], run: Run, settings: sync.Settings) -> Run:
    """The run after one that remembered this of its mail."""
    return replace(run, memory=sync.Memory(mail=mail), settings=settings)


@pytest.mark.parametrize("when", ["news", "problems"])
def test_a_failure_goes_out_when_it_is_new_and_then_once_a_day(when: str, settings: sync.Settings) -> None:
    settings = replace(settings, MAIL_WHEN=when)
    today, yesterday = (str(TUESDAY.astimezone().date() - timedelta(days=days)) for days in (0, 1))
    new = morning(failure=EXPIRED, exit_code=2, new=(matter(BROKEN),))
    known = morning(failure=EXPIRED, exit_code=2, standing=(matter(BROKEN, 1),), done=[MOVED])
    assert sync.mail_is_due(after({"day": today}, new, settings))
    assert sync.mail_is_due(after({"day": yesterday}, known, settings))
    assert not sync.mail_is_due(after({"day": today}, known, settings))
    assert sync.mail_is_due(after({"day": today, "is_owed": True}, known, settings)), "the one before went to nobody"


def test_what_stands_goes_out_once_on_a_monday(settings: sync.Settings) -> None:
    standing = morning(started=MONDAY, standing=(matter(HOME, 3),))
    assert not sync.mail_is_due(after({"day": str(MONDAY.astimezone().date())}, standing, settings))


def test_a_run_of_everybody_mails_and_one_that_went_to_nobody_is_owed(
    bed: Bed, tmp_path: Path, settings: sync.Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    today = str(TUESDAY.astimezone().date())

    def mailed(told: Run, before: dict[str, Any]) -> Any:
        options = sync.options_of(["--config", str(bed.config)])
        run = replace(after(before, told, sync.NO_SETTINGS), folder=bed.folder, options=options)
        sync.mail_morning(run)
        return run.memory.mail

    new = morning(new=(matter(replace(LOCKED, who="Zo\u00eb \u0141ukasz")),))
    with MailServer(tmp_path, refused={"gone@d118.org": "550 unknown"}) as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(server.ca_file))
        bed.settings |= server.settings()
        bed.write()
        assert mailed(new, {}) == {"day": today, "is_owed": False}
        assert mailed(morning(), {"day": "before"}) == {"day": "before"}, "nothing is due"
        assert len(server.mails) == 1
        bed.settings["MAIL_TO"] = ["it@d118.org", "gone@d118.org"]
        bed.write()
        assert mailed(new, {}) == {"day": today, "is_owed": False}
        assert "WARNING" in caplog.text
        assert "gone@d118.org" in caplog.text
        bed.settings["MAIL_TO"] = ["gone@d118.org"]
        bed.write()
        owed = mailed(new, {})
        assert owed == {"day": today, "is_owed": True}
        bed.settings["MAIL_TO"] = ["it@d118.org"]
        bed.write()
        assert mailed(morning(), owed) == {"day": today, "is_owed": False}
    assert len(server.mails) == 3
    assert server.mails[0].message["Subject"] == "Staff Sync: 1 new, 1 open, 0 changed, 0 held"
    assert "Zo\u00eb \u0141ukasz: locked out: Google itself" in server.mails[0].part("plain")
    assert "Zo\u00eb \u0141ukasz" in server.mails[0].part("html")
    assert date.fromisoformat(owed["day"])
