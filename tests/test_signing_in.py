"""Signing in to Google: with a saved token, a service account or a browser, and every way in which it cannot be."""

from __future__ import annotations

import json
import re
import stat
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from urllib.request import ProxyHandler, build_opener

import certifi
import pytest
from bed import PROJECT, Bed, closing_process
from bed import read_lines as read_to_end
from google_server import SCOPE_PREFIX, SCOPES
from stories import NEEDED_SCOPES, NO_BROWSER, add_known
from test_bad_input import check_refusal, closed_port

ADMIN = "it.admin@d118.org"
EXAMPLE = (PROJECT / "credentials.json.example").read_text("utf-8")


pytestmark = pytest.mark.usefixtures("one_to_create")


@pytest.fixture(autouse=True)
def an_admin(bed: Bed) -> None:
    bed.google.add_user(ADMIN, "Ida", "Admin", admin=True)


def token(bed: Bed) -> Any:
    return json.loads((bed.folder / "token.json").read_text("utf-8"))


def change(path: Path, **values: object) -> None:
    content = json.loads(path.read_text("utf-8")) | values
    path.write_text(json.dumps(content), "utf-8")


def mode(path: Path) -> str:
    return oct(stat.S_IMODE(path.stat().st_mode))


def token_requests(bed: Bed) -> int:
    return sum(request.method == "token" for request in bed.google.requests)


# The saved sign-in.


def test_the_saved_sign_in_is_used_and_left_as_it_is(bed: Bed) -> None:
    path = bed.folder / "token.json"
    before, number = path.read_bytes(), path.stat().st_ino
    outcome = bed.run("--dry-run")
    assert outcome.exit_code == 0
    assert token_requests(bed) == 1
    # Google keeps the refresh token, so there is nothing new to keep.
    assert (path.read_bytes(), path.stat().st_ino) == (before, number)


def test_an_access_token_that_runs_out_during_the_run_is_renewed(bed: Bed) -> None:
    def expire(request: Any, when: str) -> None:
        if request.method == "users.list" and when == "after":
            bed.google.hook = None
            bed.google.expire_tokens()

    bed.google.hook = expire
    outcome = bed.run()
    assert outcome.exit_code == 0
    assert [write.method for write in outcome.writes] == ["users.insert"]
    assert token_requests(bed) == 2


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("credentials.json", None, ("is missing", "Google Cloud console")),
        ("credentials.json", '{"installed": ', ("is damaged", "Google Cloud console")),
        ("credentials.json", "[]", ("is damaged", "Google Cloud console")),
        ("credentials.json", '{"web": {"client_id": "1"}}', ("Desktop app",)),
        ("credentials.json", '{"type": "service_account"}', ("GOOGLE_ADMIN_EMAIL is not set",)),
        ("token.json", None, ("is missing", "sync.py --authorize")),
        ("token.json", "", ("is damaged", "sync.py --authorize")),
        ("token.json", '"ya29"', ("is damaged", "sync.py --authorize")),
        ("token.json", "{}", ("is not a whole sign-in", "sync.py --authorize")),
        ("credentials.json", EXAMPLE, ("is still the example", "README.md, step 3")),
        ("token.json", json.dumps({"scopes": SCOPES + NEEDED_SCOPES}), ("not a whole sign-in", "--authorize")),
        ("token.json", json.dumps({"scopes": 7}), ("sync.py --authorize",)),
    ],
    ids=[
        "no client", "half a client", "no object", "web client", "service account", "no token", "empty token",
        "no object as token", "no scopes", "the example", "no refresh token", "scopes of another kind",
    ],
)  # fmt: skip
def test_a_file_that_is_missing_or_faulty_is_told(
    bed: Bed, name: str, text: str | None, words: tuple[str, ...]
) -> None:
    path = bed.folder / name
    path.unlink()
    if text is not None:
        path.write_text(text, "utf-8")
    outcome = bed.run()
    check_refusal(bed, outcome, name, *words)
    # Without a terminal nobody would see the browser, so none is opened and no one is waited for.
    assert "http" not in outcome.output.replace("https://www.googleapis.com/auth/", "")
    assert not outcome.requests


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("invalid_grant", ("is dead", "revoked", "seven days", "in Testing: make it Internal", "sync.py --authorize")),
        ("invalid_rapt", ("session control", "exempt this app", "or use a service account")),
        ("invalid_client", ("OAuth client was deleted", "download credentials.json again", "sync.py --authorize")),
        ("deleted_client", ("OAuth client was deleted", "download credentials.json again", "sync.py --authorize")),
        ("invalid_scope", ("lacks a scope", "sync.py --authorize")),
        ("admin_policy", ("the Admin console blocks this app", "API controls", "admin_policy_enforced")),
        ("503", ("run again",)),
    ],
)
def test_a_sign_in_that_google_refuses_is_told_with_its_remedy(bed: Bed, fault: str, words: tuple[str, ...]) -> None:
    bed.google.token_fault = fault
    before = token(bed)
    outcome = bed.run()
    sentence = check_refusal(bed, outcome, *words)
    # Only what can heal is asked again, and a dead sign-in is not told as the fault of the network or the reverse.
    assert (token_requests(bed) > 1) == (fault == "503")
    assert ("--authorize" in sentence) == (fault not in {"503", "invalid_rapt", "admin_policy"})
    # google-auth's own advice, a command of another program, would only mislead.
    assert "Please run" not in sentence
    assert token(bed) == before


@pytest.mark.parametrize(
    ("answer", "explanation", "words"),
    [
        ("invalid_grant", "Bad Request", ("is dead", "sync.py --authorize")),
        ("invalid_grant", "Account has been deleted", ("is dead", "sync.py --authorize")),
        ("invalid_grant", "reauth related error (rapt_required)", ("session control",)),
        ("unauthorized_client", "Client is unauthorized to retrieve access tokens using this method, or client not "
         "authorized for any of the scopes requested.", ("no domain-wide delegation", *NEEDED_SCOPES)),
    ],
)  # fmt: skip
def test_the_other_words_google_has_for_the_same_are_understood_and_shown(
    bed: Bed, answer: str, explanation: str, words: tuple[str, ...]
) -> None:
    body = json.dumps({"error": answer, "error_description": explanation}).encode()
    bed.google.fail("token", 400, body=body, times=None)
    sentence = check_refusal(bed, bed.run(), "Google sign-in", answer, *words)
    assert sentence.count("[") == 1


def test_a_token_endpoint_that_stumbles_once_is_asked_again(bed: Bed) -> None:
    bed.google.fail("token", 503, times=1)
    outcome = bed.run("--dry-run")
    assert outcome.exit_code == 0
    assert token_requests(bed) == 2


def test_a_grant_of_fewer_scopes_than_asked_for_is_told_before_anything_is_written(bed: Bed) -> None:
    bed.google.token_fault = "fewer_scopes"
    check_refusal(bed, bed.run(), "lacks a scope", "sync.py --authorize")


# Google refuses the whole run.


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("insufficientPermissions", ("lacks a scope", "sync.py --authorize")),
        ("accessNotConfigured", ("enable the Admin SDK API",)),
        ("domainCannotUseApis", ("switch on API access", "Admin console")),
        ("forbidden", ("must be an admin",)),
    ],
)
@pytest.mark.parametrize("method", ["orgunits.list", "users.list"])
def test_a_listing_that_google_forbids_ends_the_run(bed: Bed, method: str, reason: str, words: tuple[str, ...]) -> None:
    bed.google.fail(f"{method}", 403, reason, "Not for you.", times=None)
    check_refusal(bed, bed.run(), "403", reason, *words)


def test_a_sign_in_revoked_in_the_middle_of_the_run_ends_it_and_tells_what_was_written(bed: Bed) -> None:
    bed.powerschool.add_person(9, "Noor", "Haddad", "noor.haddad@d118.org", schools={101: 1})

    def revoke(request: Any, when: str) -> None:
        if request.method == "users.insert" and when == "after":
            bed.google.expire_tokens()
            bed.google.token_fault = "invalid_grant"

    bed.google.hook = revoke
    outcome = bed.run()
    assert outcome.exit_code == 2
    assert len(outcome.writes) == 1
    last = outcome.output.splitlines()[-1]
    assert "sync.py --authorize" in last
    assert re.search(r"\b1 changes? w(as|ere) written", last)
    assert ".jsonl" in last


def test_a_401_that_does_not_go_away_ends_the_run(bed: Bed) -> None:
    bed.google.fail("users.list", 401, "authError", "Invalid Credentials", times=None)
    check_refusal(bed, bed.run(), "401", "sync.py --authorize")


# The network.


@pytest.mark.measured
def test_a_google_that_cannot_be_reached_is_told(bed: Bed) -> None:
    proxy = f"http://127.0.0.1:{closed_port()}"
    outcome = bed.run(env={"HTTPS_PROXY": proxy, "https_proxy": proxy})
    check_refusal(bed, outcome, "Google cannot be reached", "HTTPS_PROXY", "DNS")


def test_a_certificate_that_is_not_trusted_is_told(bed: Bed) -> None:
    # As behind a filter that inspects TLS: its certificate is in no bundle that Python brings along.
    outcome = bed.run(env={"HTTPLIB2_CA_CERTS": certifi.where(), "REQUESTS_CA_BUNDLE": certifi.where()})
    check_refusal(bed, outcome, "certificate is not trusted", "HTTPLIB2_CA_CERTS")


# The service account.


def test_a_service_account_works_without_a_token_json(bed: Bed) -> None:
    (bed.folder / "token.json").unlink()
    bed.google.write_service_account(bed.folder, scopes=NEEDED_SCOPES)
    outcome = bed.run(env={"GOOGLE_ADMIN_EMAIL": ADMIN})
    assert outcome.exit_code == 0, outcome.output
    assert [write.method for write in outcome.writes] == ["users.insert"]
    assert not (bed.folder / "token.json").exists()
    # A blank at the end, as `set` on Windows leaves it, is no other address.
    outcome = bed.run(env={"GOOGLE_ADMIN_EMAIL": f" {ADMIN.upper()} "})
    assert (outcome.exit_code, outcome.writes) == (0, []), outcome.output


@pytest.mark.measured
def test_a_service_account_that_cannot_work_is_told(bed: Bed) -> None:
    bed.google.write_service_account(bed.folder, scopes=NEEDED_SCOPES)
    admin = {"GOOGLE_ADMIN_EMAIL": ADMIN}
    check_refusal(bed, bed.run(), "GOOGLE_ADMIN_EMAIL is not set", "service account")
    check_refusal(bed, bed.run(env={"GOOGLE_ADMIN_EMAIL": "sam.stays@d118.org"}), "must be an admin")
    bed.google.write_service_account(bed.folder, scopes=NEEDED_SCOPES[1:])
    lacking = check_refusal(bed, bed.run(env=admin), "domain-wide delegation", *NEEDED_SCOPES)
    assert "--authorize" not in lacking
    change(bed.folder / "credentials.json", private_key="-----BEGIN PRIVATE KEY-----\nMII\n")
    outcome = bed.run(env=admin)
    check_refusal(bed, outcome, "credentials.json is not a whole service account key")
    assert "MII" not in outcome.output


def test_each_refusal_of_a_service_account_names_its_own_remedy_only(bed: Bed) -> None:
    bed.google.write_service_account(bed.folder, scopes=NEEDED_SCOPES)
    for fault, admin, words, others in (
        (None, "nobody@d118.org", ("GOOGLE_ADMIN_EMAIL", "Invalid email"), "clock|key"),
        ("clock", ADMIN, ("this machine's clock", "short-lived token"), "key|GOOGLE_ADMIN_EMAIL"),
        ("no_account", ADMIN, ("key", "Google Cloud console", "account not found"), "clock|GOOGLE_ADMIN_EMAIL"),
    ):
        bed.google.token_fault = fault
        sentence = check_refusal(bed, bed.run(env={"GOOGLE_ADMIN_EMAIL": admin}), "service account", *words)
        # There is no sign-in to repeat, and no token.json.
        assert not re.search(f"{others}|--authorize|token.json", sentence)


# The browser.


def authorize(
    bed: Bed,
    scopes: Iterable[str] | None = None,
    error: str = "",
    env: Mapping[str, str] | None = None,
    arguments: tuple[str, ...] = ("--authorize",),
    needed: list[str] = NEEDED_SCOPES,
) -> tuple[int, str, str]:
    """Signs in as an admin with a browser would; gives the exit code, the whole screen and the address shown."""
    bed.write()
    bed.google.reset_records()
    with closing_process(bed.launch(*arguments, env={**NO_BROWSER, **(env or {})}), 60) as process:
        assert process.stdout
        lines: list[str] = []
        found = None
        while not found:
            raw = process.stdout.readline().decode()
            assert raw, "\n".join(lines)
            lines.append(raw.rstrip())
            found = re.search(r"https://accounts\.google\.com/\S+", raw)
        asked = {name: value[0] for name, value in parse_qs(urlsplit(found[0]).query).items()}
        assert sorted(asked["scope"].split()) == needed
        answer = f"error={error}" if error else f"code={bed.google.issue_code(scopes)}"
        back = f"{asked['redirect_uri']}?state={asked['state']}&{answer}"
        build_opener(ProxyHandler({})).open(back, timeout=30).close()
        rest = read_to_end(process, None)
    return process.returncode, "\n".join([*lines, rest]), found[0]


def test_the_browser_sign_in_writes_a_token_with_which_the_next_run_works(bed: Bed) -> None:
    path = bed.folder / "token.json"
    path.unlink()
    code, output, address = authorize(bed, NEEDED_SCOPES)
    assert code == 0, output
    assert "Traceback" not in output
    # Whoever sits at another machine learns how to bring its browser's answer here.
    forward = re.search(r"ssh -L (PORT|\d+):localhost:\1 ", output)
    assert forward, output
    assert forward[1] in {"PORT", str(urlsplit(parse_qs(urlsplit(address).query)["redirect_uri"][0]).port)}
    if sys.platform != "win32":
        assert mode(path) == "0o600"
    assert sorted(token(bed)["scopes"]) == NEEDED_SCOPES
    assert f"{path} is written" in output
    assert "Next: python sync.py --check" in output.splitlines()[-1]
    assert not re.search(r"\b4/[0-9a-f]{32}", output)
    assert not bed.secrets_left(output)
    assert not (bed.folder / "StaffLog.txt").exists()
    assert bed.run("--dry-run").exit_code == 0


def test_a_browser_sign_in_with_a_box_left_unticked_is_told_and_keeps_the_old_token(bed: Bed) -> None:
    before = token(bed)
    code, output, _ = authorize(bed, NEEDED_SCOPES[1:])
    assert code == 2, output
    assert "Traceback" not in output
    last = output.splitlines()[-1]
    for words in (NEEDED_SCOPES[0], "tick every box", "sync.py --authorize"):
        assert words in last
    assert token(bed) == before


def test_a_browser_sign_in_that_is_declined_is_told(bed: Bed) -> None:
    before = token(bed)
    # Where there is a browser, it is opened; the address is shown all the same.
    opened, browser = bed.folder / "opened", bed.folder / "browser.py"
    browser.write_text(f"import sys\nopen({str(opened)!r}, 'w').write(sys.argv[1])\n", "utf-8")
    env = {"BROWSER": f'"{Path(sys.executable).as_posix()}" "{browser.as_posix()}" %s'}
    code, output, address = authorize(bed, error="access_denied", env=env)
    assert code == 2, output
    assert opened.read_text("utf-8") == address
    assert "Traceback" not in output
    assert "sync.py --authorize" in output.splitlines()[-1]
    assert token(bed) == before


@pytest.mark.measured
def test_setup_signs_in_for_its_own_two_scopes_and_keeps_nothing(bed: Bed) -> None:
    needed = [f"{SCOPE_PREFIX}orgunit", f"{SCOPE_PREFIX}userschema"]
    bed.powerschool.add_school(777, "New School")
    bed.powerschool.add_person(9, "Eli", "Moss", "eli.moss@d118.org", schools={777: 1})

    def set_up(granted: list[str]) -> tuple[int, str, str]:
        return authorize(bed, granted, arguments=("--setup", "--yes"), needed=needed)

    code, output, _ = set_up(needed[1:])
    assert code == 2, output
    assert f"lacks the scope {needed[0]}" in output
    assert "/D118 Staff/New School Staff" not in bed.google.org_units

    before = token(bed)
    code, output, _ = set_up(needed)
    assert code == 0, output
    assert "Created: the org unit /D118 Staff/New School Staff" in output
    assert "/D118 Staff/New School Staff" in str(bed.google.snapshot()["org_units"])
    assert sorted(token(bed)["scopes"]) == sorted(before["scopes"])
    assert token(bed)["refresh_token"] == before["refresh_token"]


@pytest.mark.measured
def test_a_certificate_that_is_not_trusted_at_the_browser_sign_in_is_told(bed: Bed) -> None:
    # The first thing a filter that inspects TLS breaks; signing in once more would not help.
    code, output, _ = authorize(bed, NEEDED_SCOPES, env={"REQUESTS_CA_BUNDLE": certifi.where()})
    assert code == 2, output
    last = output.splitlines()[-1]
    assert "certificate is not trusted" in last
    assert "REQUESTS_CA_BUNDLE" in last
    assert last.endswith("Nothing was written")


@pytest.mark.measured
def test_a_browser_sign_in_without_a_usable_client_is_told(bed: Bed) -> None:
    path = bed.folder / "credentials.json"
    for text, words in (
        (None, "is missing"),
        ("{", "is damaged"),
        ('{"web": {}}', "Desktop app"),
        ('{"installed": {"client_id": "1"}}', "credentials.json"),
        ('{"type": "service_account"}', "service account"),
    ):
        path.unlink(missing_ok=True)
        if text:
            path.write_text(text, "utf-8")
        check_refusal(bed, bed.run("--authorize", env=NO_BROWSER), words)


def test_a_file_of_the_sign_in_with_a_byte_order_mark_is_read_and_a_hollow_one_refused(one_in_step: Bed) -> None:
    bed = one_in_step
    add_known(bed, 8, ou="/Substitute Teachers")
    client, token = (bed.folder / name for name in ("credentials.json", "token.json"))
    for path in (client, token):  # as Notepad saves it
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    dry = bed.run("--dry-run")
    assert dry.exit_code == 0, dry.output
    kept = client.read_bytes()

    hollow: Any
    for hollow in (None, [], {"client_id": "1"}):
        client.write_text(json.dumps({"installed": hollow}), "utf-8")
        check_refusal(bed, bed.run("--authorize"), "credentials.json is not a whole OAuth client", "download it")
    client.write_bytes(kept)
    whole = json.loads(token.read_text("utf-8-sig"))
    token.write_text(json.dumps({**whole, "expiry": 5}), "utf-8")
    check_refusal(bed, bed.run(), "token.json is not a whole sign-in", "sync.py --authorize")
