"""The page of a morning: what it says and in which order, and how a browser shows it."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import stat
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from bed import Bed
from stories import GRADE, OU_OF, colleagues, settle
from test_deciding import DCID, HIGH_OU, MIDDLE_OU, account, district, field, settings_with, staff, table

import sync
from sync import Change, Memory, Night, Plan, Remark, Rule, Run, Settings

BEGUN = datetime(2026, 11, 26, 12, 0, tzinfo=timezone.utc)
TODAY = date(2026, 11, 26)
SETTINGS = settings_with()
AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def change(kind: str, before: Mapping[str, str], after: Mapping[str, str], **who: Any) -> tuple[Plan, Change]:
    return Plan(staff(**who), account()), Change(kind, before, after)


def newcomer(dcid: int, first: str = "Liam", last: str = "Ortiz", school: int = 101) -> tuple[Plan, Change]:
    address, org_unit = f"{first}.{last}@d118.org".lower(), MIDDLE_OU if school == 101 else HIGH_OU
    after = {
        sync.EMAIL: address, sync.GIVEN_NAME: first, sync.FAMILY_NAME: last, sync.ORG_UNIT: org_unit,
        sync.SUSPENDED: sync.NO, DCID: str(dcid), field("Crisis.Phone"): "847-555-0199",
    }  # fmt: skip
    person = staff(dcid=dcid, first_name=first, last_name=last, email=address, homeschool=school)
    return Plan(person), Change("create", dict.fromkeys(after, ""), after)


def left(dcid: int = 8, groups: int = 2) -> list[tuple[Plan, Change]]:
    who = {"dcid": dcid, "first_name": "Noor", "last_name": "Haddad", "email": "noor.haddad@d118.org"}
    memberships = [{"group": f"team-{number}@d118.org", "role": "MEMBER"} for number in range(groups)]
    return [
        change("suspend", {sync.SUSPENDED: sync.NO}, {sync.SUSPENDED: sync.YES}, schools=(), **who),
        *(change("leave group", membership, {}, **who) for membership in memberships),
        change("move to suspended", {sync.ORG_UNIT: HIGH_OU}, {sync.ORG_UNIT: "/Suspended Accounts"}, **who),
    ]


def matter(rule: Rule, who: str, seen: str, remedy: str = "", days: int = 0, *, is_new: bool = False) -> Remark:
    return Remark(rule, who, seen, remedy, since=None if is_new else TODAY - timedelta(days=days))


ANNA, ZOE = "Anna Weber, anna.weber@d118.org (DCID 21)", "Zoe Moss, zoe.moss@d118.org (DCID 22)"
TAKEN = matter(
    Rule.ADDRESS_TAKEN, ANNA, "cannot rename anna.schmidt@d118.org to anna.weber@d118.org: that address belongs to "
    "the group Parent Council", "give the group another address, or correct the address in PowerSchool", is_new=True,
)  # fmt: skip
LOCKED = matter(Rule.LOCKED_OUT, ZOE, "active, but Google itself has locked the account (abuse)", "decide", days=24)
PASSWORDS = [
    matter(Rule.PASSWORD, f"{name}, {name.lower()}@d118.org (DCID {dcid})", "", "reset it in the Admin console", 3)
    for dcid, name in enumerate(("Ada", "Ben", "Cleo"), 31)
]
HELD = Remark(Rule.LIMIT, "suspend", "26 people, the limit is 10, so none was done. Held: Maya Patel; Noor Haddad")
GONE = matter(Rule.HOME_SCHOOL, "Ira Bell, ira.bell@d118.org (DCID 41)", "the home school is missing", days=5)
FROZEN = matter(Rule.FROZEN, "Kai Ito, kai.ito@d118.org (DCID 51)", "stays in /Administrators (FROZEN_OUS)", days=90)
QUIET = Run(Path(), BEGUN, ending="Done", exit_code=sync.DONE, last_good=BEGUN - timedelta(days=9))
RICH = replace(
    QUIET, exit_code=sync.HELD, held=Counter(suspend=26), remarks=[HELD], new=(TAKEN,),
    done=[
        newcomer(61), newcomer(62, "Siobhan", "O'Neil-Featherstonehaugh", 5), *left(),
        change("reactivate", {sync.SUSPENDED: sync.YES}, {sync.SUSPENDED: sync.NO}, dcid=71, first_name="Rea"),
        change("rename", {sync.EMAIL: "maya.lopez@d118.org"}, {sync.EMAIL: "maya.patel@d118.org"}),
        change("name", {sync.FAMILY_NAME: "Lopez"}, {sync.FAMILY_NAME: "Patel"}),
        change("move", {sync.ORG_UNIT: MIDDLE_OU}, {sync.ORG_UNIT: HIGH_OU}, dcid=72, first_name="Mo"),
        change(
            "update", {field("Crisis.Phone"): "847-555-0100", field("Crisis.Building"): "Middle School"},
            {field("Crisis.Phone"): "847-555-0111", field("Crisis.Building"): "Wauconda High School"}, dcid=73,
        ),
    ],
    standing=(*PASSWORDS, LOCKED), solved=(GONE,), left_alone=(FROZEN,), last_good=BEGUN - timedelta(hours=24),
    memory=Memory(nights=tuple(
        Night(f"202611{day:02}T120000Z", day * 7 % 23, int(day % 9 == 0), 20 + day // 3) for day in range(1, 27)
    )),
)  # fmt: skip
EXPIRED = matter(
    Rule.REFUSED, "PowerSchool", "the password of PSNavigator has expired (ORA-28001)", "set a new one", is_new=True
)  # fmt: skip
AWAY = replace(
    QUIET, ending=sync.NOT_RUN, exit_code=2, failure=EXPIRED, new=(EXPIRED,), standing=(LOCKED,)
)  # fmt: skip
LARGE = replace(
    RICH,
    done=[
        change("update", {field("Sync.Group"): "1"}, {field("Sync.Group"): "2"}, dcid=1000 + number)
        for number in range(2000)
    ],
)


def page(morning: Run, settings: Settings = SETTINGS) -> str:
    return sync.page_of(replace(morning, settings=settings))


def words(morning: Run, **more: Any) -> str:
    """The page as it reads: without its head and its tags, each block on a line."""
    body = page(morning, **more).partition("</head>")[2]
    lines = re.sub(r"</?(p|li|h\d|tr|ul|section|summary|figcaption|footer)\b[^>]*>", "\n", body)
    return re.sub(r"\n\s*", "\n", html.unescape(re.sub(r"<[^>]+>", " ", lines)))


def headings(morning: Run) -> list[str]:
    return [title.partition(" <")[0] for title in re.findall(r"<h2>(.*?)</h2>", page(morning))]


def test_what_needs_somebody_comes_first_and_what_needs_nobody_last() -> None:
    assert headings(RICH) == [
        "Held back", "New problems", "Standing problems", "Solved problems", "New staff", "Left", "Returned",
        "Renamed", "Moved", "Other changes", "Left alone by rule", "The last runs",
    ]  # fmt: skip


def test_why_it_failed_is_said_above_too() -> None:
    assert headings(AWAY) == ["New problems", "Standing problems"]
    assert words(AWAY).count("ORA-28001") == 2, "in the headline, and in the list that says since when"


def test_nothing_is_said_of_what_there_is_nothing_to_say() -> None:
    assert headings(QUIET) == []
    assert "<li" not in page(QUIET)
    assert "<svg" not in page(QUIET)


WARNED = replace(QUIET, standing=tuple(PASSWORDS))


@table(
    "morning, first",
    {
        "all": (RICH, "Staff Sync changed 7 people; 2 people need attention, 1 of them new; held back: suspend 26"),
        "nothing": (QUIET, "Staff Sync found nothing to change; nobody needs attention"),
        "a warning needs nobody at once": (WARNED, "Staff Sync found nothing to change; nobody needs attention"),
        "one who stands": (
            replace(QUIET, standing=(LOCKED,), done=[newcomer(1)]),
            "Staff Sync changed 1 person; 1 person needs attention, none of them new",
        ),
        "dry run": (
            replace(QUIET, ending=sync.DRY_RUN, done=[newcomer(1)]),
            "Dry run, nothing was written: Staff Sync would change 1 person; nobody needs attention",
        ),
        "did not run": (
            AWAY,
            "Staff Sync DID NOT RUN: PowerSchool: the password of PSNavigator has expired (ORA-28001): set a new one",
        ),
        "stopped": (
            replace(
                QUIET,
                failure=Remark(Rule.REFUSED, "interrupted", ""),
                ending=sync.BROKEN_OFF,
                done=[newcomer(1), *left()],
            ),
            "Staff Sync DID NOT FINISH: interrupted",
        ),
        "a mail test": (replace(QUIET, part=sync.MAIL_TEST, standing=(LOCKED,)), "This is a mail test of Staff Sync"),
    },
)
def test_the_first_sentence_is_the_result(morning: Run, first: str) -> None:
    (heading,) = re.findall(r"<h1[^>]*>(.*?)</h1>", page(morning))
    assert html.unescape(heading) == first


def test_below_stands_what_was_done_by_kind_and_when_a_run_was_last_good() -> None:
    assert "\nDone: create 2, suspend 1, leave group 2, move to suspended 1, reactivate 1," in words(RICH)
    assert "set a new one\nNothing was changed.\n" in words(AWAY)
    assert "\nBegun on Thursday, 2026-11-26, at " in words(QUIET)
    for morning in (QUIET, AWAY):
        assert re.search(r"last good run before this one: 2026-11-17 .* \(9.0 days ago\)", words(morning))
        assert "this one: none is on record." in words(replace(morning, last_good=None))


@table(
    "told",
    {
        "what is held": "suspend\n26 people, the limit is 10, so none was done. Held: Maya Patel; Noor Haddad",
        "what is new": f"{ANNA}\naddress taken\ncannot rename anna.schmidt@d118.org to anna.weber@d118.org: that",
        "its remedy": "\ngive the group another address, or correct the address in PowerSchool",
        "since when": f"{ZOE}\nlocked out, since 2026-11-02 (24 days)",
        "one matter of several": "3 people\npassword nobody knows, since 2026-11-23 (3 days)\nAda, ada",
        "what is solved": "Ira Bell, ira.bell@d118.org (DCID 41)\nhome school, since 2026-11-21 (5 days)",
        "who is new": "Liam Ortiz, liam.ortiz@d118.org (DCID 61)\nMiddle School Staff\n/D118 Staff/Middle School Staff",
        "who left": "suspended; taken out of team-0@d118.org (member), team-1@d118.org (member); moved Wauconda High",
        "who returned": "Rea Patel, maya.patel@d118.org (DCID 71)\nopened again",
        "who is renamed": "address maya.lopez@d118.org -> maya.patel@d118.org; name Lopez -> Patel",
        "who moved": "Mo Patel, maya.patel@d118.org (DCID 72)\nMiddle School Staff -> Wauconda High School Staff",
        "the rest": "Building Middle School -> Wauconda High School",
        "what is left alone": "Kai Ito, kai.ito@d118.org (DCID 51)\nfrozen, since 2026-08-28 (90 days)\nstays in /",
        "the last runs": "From 2026-11-01 to 2026-11-26. In the last of them: changed 21 (at most 22), failed 0 (at",
        "which run it was": "Run 20261126T120000Z. Exit code 3.",
    },
)
def test_what_it_says(told: str) -> None:
    read = re.sub(r" +", " ", words(RICH)).replace(" \n", "\n").replace("\n ", "\n")
    assert told in read


def test_the_building_is_what_powerschool_calls_it_where_that_is_known() -> None:
    morning = replace(QUIET, done=[newcomer(61)], district=district([], []))
    assert "<p>Middle School</p>" in page(morning)


def test_a_plan_says_that_a_leaver_is_taken_out_of_all_groups() -> None:
    closing = [(replace(plan, changes=(one,)), one) for plan, one in left(groups=0)]
    planned = replace(QUIET, ending=sync.DRY_RUN, done=closing)
    assert "taken out of all groups" in words(planned)
    assert "out of" not in words(planned, settings=settings_with(REMOVE_SUSPENDED_FROM_GROUPS=False))
    assert "out of all" not in words(replace(planned, ending="Done"))


@table(
    "before, after, told",
    {
        "filled": ("", "847-555-0199", "filled"),
        "changed": ("847-555-0100", "847-555-0199", "changed"),
        "emptied": ("847-555-0100", "", "emptied"),
    },
)
def test_a_private_value_is_never_shown(before: str, after: str, told: str) -> None:
    name = field("Crisis.Phone")
    morning = replace(QUIET, done=[change("update", {name: before}, {name: after}), newcomer(61)])
    assert "847" not in page(morning)
    assert f"Phone (private) {told}" in words(morning)


EVIL = '<script>alert("1")</script>&amp;\u202e'


@table(
    "morning",
    {
        "remark": replace(QUIET, new=(matter(Rule.FAILED, EVIL, EVIL, EVIL),), solved=(matter(Rule.BUG, "", EVIL),)),
        "long remark": replace(QUIET, new=(matter(Rule.FAILED, "x", EVIL * 99),)),
        "held": replace(QUIET, remarks=[Remark(Rule.LIMIT, EVIL, EVIL, EVIL)], held=Counter({EVIL: 1})),
        "left alone": replace(QUIET, left_alone=(matter(Rule.FROZEN, EVIL, EVIL),)),
        "failure": replace(QUIET, failure=Remark(Rule.REFUSED, EVIL, ""), part=EVIL),
        "newcomer": replace(QUIET, done=[newcomer(1, EVIL, EVIL)]),
        "change": replace(QUIET, done=[change("move", {sync.ORG_UNIT: EVIL}, {sync.ORG_UNIT: EVIL}, email=EVIL)]),
        "night": replace(QUIET, memory=Memory(nights=(Night(EVIL, 1, 1, 1),))),
    },
)
def test_what_comes_from_outside_is_text_and_nothing_else(morning: Run) -> None:
    written = page(morning)
    assert "<scr" not in written
    assert "\u202e" not in written
    assert "&lt;scr" in written


def test_a_run_that_found_no_settings_has_a_page() -> None:
    assert "DID NOT RUN" in page(AWAY, sync.NO_SETTINGS)


def test_a_proxy_does_not_get_into_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:s3cret@proxy.d118.org:8080")
    written = page(
        replace(QUIET, failure=Remark(Rule.REFUSED, "no answer from http://me:s3cret@proxy.d118.org:8080", ""))
    )
    assert "s3cret" not in written


@table("morning", {"rich": RICH, "quiet": QUIET, "away": AWAY, "large": LARGE})
def test_it_needs_nothing_from_outside_and_runs_nothing(morning: Run) -> None:
    written = page(morning)
    assert not re.findall(r"<script|<link|<img|<iframe|\bon\w+=|@import|javascript:", written)
    assert {address for address in re.findall(r"(?:href|src)=\"([^\"]*)\"", written) if address[0] != "#"} == set()
    assert "url(" not in written
    assert "default-src 'none'" in written


@table("kind", {kind: kind for kind in sync.KINDS if kind != "clear"})
def test_every_kind_of_change_has_its_place(kind: str) -> None:
    before, after = newcomer(1)[1].before, newcomer(1)[1].after
    listed: dict[str, str] = {"alias": "a@d118.org"} if "alias" in kind else {"group": "g@d118.org", "role": "OWNER"}
    one = change(kind, *((listed, {}) if sync.KINDS[kind].is_listed else (before, after)))
    assert len(headings(replace(QUIET, done=[one]))) == 1


def test_what_needs_nobody_is_folded_and_a_long_list_is_whole() -> None:
    assert '<details id="other-changes" open><summary>' in page(RICH)
    assert '<details id="left-alone-by-rule"><summary>' in page(RICH)
    assert len(set(re.findall(r"\(DCID ([12]\d{3})\)", page(LARGE)))) == 2000


def test_a_page_is_written_over_no_file_but_one_of_its_own(tmp_path: Path) -> None:
    mine, other = tmp_path / "page.html", tmp_path / "index.html"
    sync.write_own(mine, page(RICH), "--page")
    sync.write_own(mine, page(QUIET), "--page")
    assert "found nothing to change" in mine.read_text(encoding="utf-8")

    other.write_text("<!DOCTYPE html><p>The school's own", encoding="utf-8")
    with pytest.raises(sync.RunError, match="is not of Staff Sync: name another file after --page"):
        sync.write_own(other, page(RICH), "--page")
    assert other.read_text(encoding="utf-8") == "<!DOCTYPE html><p>The school's own"
    for place in (tmp_path, tmp_path / "nowhere" / "page.html"):
        with pytest.raises(sync.RunError, match=r"cannot be written by .*: name another file after --page"):
            sync.check_own(place, "--page")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.html", "page.html"]


@table("part, kept", {"everybody": ("", ["20261126T120000Z", "latest"]), "some": ("undo", ["20261126T120000Z"])})
def test_the_page_is_kept_beside_the_journal(tmp_path: Path, part: str, kept: list[str]) -> None:
    (tmp_path / "runs").mkdir()
    run = replace(RICH, folder=tmp_path, settings=SETTINGS, part=part)
    sync.keep_page(run, None, is_kept=True)
    pages = sorted((tmp_path / "runs").iterdir())
    assert [path.stem for path in pages] == kept
    assert {path.read_text(encoding="utf-8") for path in pages} == {sync.page_of(run)}
    if sys.platform != "win32":
        assert {path.stat().st_mode & 0o777 for path in pages} == {0o600}


@table("mode", {mode: mode for mode in ("--check", "--setup", "--authorize", "--explain maya.patel@d118.org")})
def test_only_what_tells_a_morning_has_a_page(mode: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        sync.main([*mode.split(), "--page", "page.html"])
    assert ended.value.code == sync.FAILED
    assert f"and not with {mode.split(maxsplit=1)[0]}. Nothing was written" in capsys.readouterr().err


@pytest.mark.measured
def test_old_pages_go_and_the_latest_stays(bed: Bed) -> None:
    runs = bed.folder / "runs"
    runs.mkdir(exist_ok=True)
    for name in ("20200101T000000Z.html", "latest.html", "page.html"):
        (runs / name).write_text("kept", encoding="utf-8")
    bed.run()
    assert sorted(path.name for path in runs.glob("[!2]*.html")) == ["latest.html", "page.html"]
    assert not (runs / "20200101T000000Z.html").exists()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium that asks nobody for anything, where there is one."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip("no Chromium is installed here")
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    with playwright.sync_playwright() as started:
        try:
            running = started.chromium.launch(executable_path=program)
        except playwright.Error as error:
            pytest.skip(f"{program} does not start: {error}")
        yield running
        running.close()


NARROW, WIDE = 360, 1200
IS_TOO_WIDE = """() => [...document.querySelectorAll("body *")]
    .filter(one => one.getBoundingClientRect().right > document.documentElement.clientWidth)
    .map(one => one.outerHTML.slice(0, 100))"""
UNFOLD = "() => document.querySelectorAll('details').forEach(one => { one.open = true; })"
LONG = matter(
    Rule.FAILED, f"{'Wolfeschlegelsteinhausen' * 4}, {'w' * 64}@d118.org (DCID 99)", "x" * 300, "y" * 300, is_new=True
)


@table("scheme", {"light": "light", "dark": "dark"})
@table(
    "morning",
    {
        "rich": replace(RICH, new=(TAKEN, LONG)),
        "away": AWAY,
        "quiet": QUIET,
        "large": replace(LARGE, done=[*LARGE.done[:60], newcomer(1, "W" * 60, "V" * 60)]),
    },
)
def test_a_browser_shows_it_whole_at_every_width_and_to_everybody(browser: Any, morning: Run, scheme: str) -> None:
    rules = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
    for width in (NARROW, WIDE):
        shown = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        asked: list[str] = []
        shown.on("request", lambda request, asked=asked: asked.append(request.url))
        shown.on("console", lambda message, asked=asked: asked.append(message.text))
        shown.set_content(page(morning))
        shown.evaluate(UNFOLD)
        assert shown.evaluate(IS_TOO_WIDE) == []
        assert shown.evaluate("document.documentElement.scrollWidth") <= width
        assert asked == [], "no outside resource, and nothing that its own policy forbids"
        shown.evaluate(rules)
        found = shown.evaluate("tags => axe.run({runOnly: tags})", AXE_TAGS)
        assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found["violations"]] == []
        assert len(found["passes"]) > 10
        shown.close()


def test_on_a_phone_what_the_columns_hold_stands_below_the_name(browser: Any) -> None:
    shown = browser.new_page(viewport={"width": NARROW, "height": 800})
    shown.set_content(page(RICH))
    tops = shown.evaluate("[...document.querySelectorAll('#new-staff li:first-child > *')].map(one => one.offsetTop)")
    assert tops == sorted(set(tops))
    assert len(tops) == 3
    shown.close()


def test_in_print_it_is_black_on_white_and_in_columns(browser: Any) -> None:
    shown = browser.new_page(viewport={"width": 700, "height": 1000}, color_scheme="dark")
    shown.emulate_media(media="print")
    shown.set_content(page(RICH))
    colours = "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    assert shown.evaluate(colours) == ["rgb(0, 0, 0)", "rgb(255, 255, 255)"]
    assert (
        len(
            set(shown.evaluate("[...document.querySelectorAll('#new-staff li:first-child > *')].map(a => a.offsetTop)"))
        )
        == 1
    )
    shown.close()


def test_without_its_style_as_in_some_mail_programs_it_is_still_in_lists(browser: Any) -> None:
    shown = browser.new_page(viewport={"width": WIDE, "height": 800})
    shown.set_content(re.sub(r"(?s)<style>.*</style>", "", page(RICH)))
    assert shown.evaluate("document.querySelector('svg').getBoundingClientRect().width") < 400
    assert shown.evaluate("getComputedStyle(document.querySelector('li')).listStyleType") == "disc"
    shown.close()


# In a run.


def test_a_run_of_everybody_keeps_its_page_and_a_part_of_it_is_not_the_latest(bed: Bed) -> None:
    colleagues(bed)
    settle(bed, 201, "Maya", "Patel", ou=OU_OF[GRADE])
    assert bed.run().exit_code == 0
    (page,) = bed.runs.glob("*Z.html")
    latest = bed.runs / "latest.html"
    text = latest.read_text("utf-8")
    assert page.read_text("utf-8") == text
    assert "Maya Patel" in text
    if os.name == "posix":
        assert {stat.S_IMODE(path.stat().st_mode) for path in (page, latest)} == {0o600}
    bed.run("--only", "dcid:201")
    assert latest.read_text("utf-8") == text
    assert len(list(bed.runs.glob("*Z.html"))) == 2
    bed.run(env={"POWERSCHOOL_DB_PASSWORD": "no"})
    assert "did not run" in latest.read_text("utf-8").lower()
    # Of these three only the first counts as a night, and the page of the last one still shows it.
    nights = json.loads((bed.runs / "standing.json").read_text("utf-8"))["nights"]
    assert [night | {"run": ""} for night in nights] == [{"run": "", "changed": 1, "failed": 0, "standing": 0}]
    assert "In the last of them: changed 1 (at most 1)" in latest.read_text("utf-8")


@pytest.mark.measured
def test_a_page_is_written_where_it_is_asked_for_and_overwrites_nothing_else(bed: Bed) -> None:
    colleagues(bed)
    settle(bed, 201, "Maya", "Patel", ou=OU_OF[GRADE])
    wanted = bed.folder / "plan.html"
    assert bed.run("--dry-run", "--page", str(wanted)).exit_code == 0
    assert "Maya Patel" in wanted.read_text("utf-8")
    assert not bed.runs.exists()
    assert bed.run("--page", str(wanted)).exit_code == 0
    refused = bed.run("--dry-run", "--page", str(bed.config))
    assert (refused.exit_code, refused.requests) == (2, [])
    assert "is not of Staff Sync: name another file after --page" in refused.output
    for option in ("--check", "--mail-test", "--authorize"):
        assert bed.run(option, "--page", str(wanted)).exit_code == 2
