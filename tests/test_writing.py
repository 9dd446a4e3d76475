"""What a run sends to Google, keeps in its journal and tells, where all goes well and where something comes between.

One run carries many people, each in a situation of their own. A row says who that is, what befalls the account, and
what is expected for that person alone, so the order in which people have their turns does not matter.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import accumulate
from typing import Any

import pytest
from bed import Bed, Outcome, Row, matching_account, matching_fields
from google_server import WRITES, Request
from stories import GRADE, HIGH, LETTERS, OU_OF, STUDENT_OU, SUSPENDED_OU, at_rest, colleagues, newest_journal, person

SYNCED = "customSchemas.Synchronization_Data"
DCID, STAFF_GROUP, STAFF_TYPE, HOME = (
    f"{SYNCED}.{name}" for name in ("DCID", "Staff_Group", "Staff_Type", "Homeschool_ID")
)
LOCKED_OU = f"{SUSPENDED_OU}/Locked"
BADGE = {"type": "custom", "customType": "badge", "value": "B-7"}
HIGH_MOVE = ("move", {"orgUnitPath": OU_OF[GRADE]}, {"orgUnitPath": OU_OF[HIGH]})
SUSPENSION = ("suspend", {"suspended": "false"}, {"suspended": "true"})
CLOSING_MOVE = ("move to suspended", {"orgUnitPath": OU_OF[HIGH]}, {"orgUnitPath": SUSPENDED_OU})
GROUP_4_TO_9 = ("update", {STAFF_GROUP: "4"}, {STAFF_GROUP: "9"})
TELLS_GROUP = "update     {who}: Synchronization_Data.Staff_Group 4 -> 9"

Change = tuple[str, dict[str, Any], dict[str, Any]]
Act = Callable[[Bed, str], None]  # on an account, by its id, or where there is none by its address


def number(value: str) -> dict[str, str]:
    return {"type": "organization", "value": value}


def synced(**fields: object) -> dict[str, Any]:
    return {"customSchemas": {"Synchronization_Data": fields}}


GROUP_9 = synced(Staff_Group=9)


# The journal, seen through these functions alone.


def change_of(line: Row) -> Change:
    before, after = dict(line["before"]), dict(line["after"])
    for side in (before, after):
        side.pop("groupId", None)  # Google's own; the tables name a group by its address
        if side.get("delivery_settings") == "ALL_MAIL":  # how mail comes unless told otherwise
            del side["delivery_settings"]
    if line["kind"] == "suspend":
        before.pop("orgUnitPath", None)  # noted for a closing that is cut off
    if line["kind"] == "create":
        after = {name: text for name, text in after.items() if text}
    return str(line["kind"]), before, after


def assert_kept(lines: list[Row], done: Sequence[Change], others: Sequence[Change] = (), state: str = "failed") -> None:
    """These lines of a journal say that all was intended, and then that this was done and the others ended so."""
    expected = {"intended": (*done, *others), "done": tuple(done)}
    expected[state] = (*expected.get(state, ()), *others)
    found: dict[str, list[Change]] = {name: [] for name in expected}
    for line in lines:
        found.setdefault(line["state"], []).append(change_of(line))
    assert {name: sorted(changes, key=str) for name, changes in found.items()} == {
        name: sorted(changes, key=str) for name, changes in expected.items()
    }


# People in situations.


@dataclass(frozen=True)
class Situation:
    """Somebody as both sides have them (`account` in the terms of `add_user`), and what a run makes of it."""

    last: str
    account: Mapping[str, Any] | None = field(default_factory=dict)  # None: there is none
    fields: Mapping[str, object] = field(default_factory=dict)  # those in which the account differs
    powerschool: Mapping[str, Any] = field(default_factory=dict)
    left: bool = False
    groups: Mapping[str, str] = field(default_factory=dict)  # group -> role
    befalls: Act | None = None  # what somebody does to the account, or Google with it
    # Expected: the bodies sent, in order ("" for a group that is left); the changes done, and those that were not.
    sent: tuple[Any, ...] = ()
    kept: tuple[Change, ...] = ()
    failed: tuple[Change, ...] = ()
    state: str = "failed"
    # The lines that name the person.
    told: tuple[str, ...] = ()
    warned: tuple[str, ...] = ()
    error: tuple[str, ...] = ()  # words of the one line that says what needs a person; () where nothing does

    @property
    def email(self) -> str:
        return f"kim.{self.last}@d118.org".lower()

    def who(self, dcid: int) -> str:
        return f"Kim {self.last}, {self.email} (DCID {dcid})"

    def add(self, bed: Bed, dcid: int) -> str:
        """Adds the person to both sides; gives the account's id, or where there is none the address."""
        person(bed, dcid, "Kim", self.last, HIGH, **self.powerschool)
        account = None if self.account is None else dict(self.account)
        identity = self.email
        if account is not None:
            account = {"fields": matching_fields(bed, dcid, **self.fields), **account}
            identity = matching_account(bed, dcid, **account)
        if self.left:
            bed.powerschool.leave(dcid)
        for group, role in self.groups.items():
            bed.google.add_group(f"{group}@d118.org", members={identity: role})
        return identity


def said(outcome: Outcome, level: str, dcid: int) -> list[str]:
    """The lines of this level that name the person, but for the warning of a failure that an ERROR line repeats."""
    beside = ("Not done: ", "password nobody knows: ")
    return [line for line in outcome.lines(level) if f"(DCID {dcid})" in line and not line.startswith(beside)]


def add_all(bed: Bed, situations: Mapping[int, Situation]) -> dict[int, str]:
    colleagues(bed)
    return {dcid: one.add(bed, dcid) for dcid, one in situations.items()}


def attempts(outcome: Outcome, identity: str, email: str) -> list[Any]:
    """What was asked to be written of one account, in order and whatever came of it; "" for a group or an alias.

    The tries of one request count once.
    """
    found: list[tuple[str, Any]] = []
    for request in outcome.requests:
        body, params = dict(request.body or {}), request.params
        if request.method == "users.update" and params["userKey"] == identity:
            found.append(("", body))
        if request.method == "users.aliases.delete" and params["userKey"] == identity:
            found.append((params["alias"], ""))
        if identity == params.get("memberKey") and request.method == "members.delete":
            found.append((params["groupKey"], ""))
        if request.method == "members.insert" and {body.get("id"), body.get("email")} & {identity, email}:
            found.append((params["groupKey"], ""))
        if request.method == "users.insert" and body["primaryEmail"] == email:
            found.append(("", {name: value for name, value in body.items() if name != "password"}))
    return [one[1] for before, one in zip([None, *found], found, strict=False) if one != before]


def assert_each_as_expected(outcome: Outcome, situations: Mapping[int, Situation], ids: Mapping[int, str]) -> None:
    wrong = {}
    for dcid, one in situations.items():
        try:
            assert_as_expected(outcome, one, dcid, ids[dcid])
        except AssertionError as error:
            wrong[one.last] = str(error)
    assert not wrong, "\n\n".join(f"{last}: {words}" for last, words in wrong.items()) + f"\n\n{outcome.output}"


def assert_as_expected(outcome: Outcome, one: Situation, dcid: int, identity: str) -> None:
    who = one.who(dcid)
    assert attempts(outcome, identity, one.email) == list(one.sent)
    assert_kept([line for line in outcome.journal if line["dcid"] == dcid], one.kept, one.failed, one.state)
    assert sorted(said(outcome, "INFO", dcid)) == sorted(line.format(who=who) for line in one.told)
    assert sorted(said(outcome, "WARN", dcid)) == sorted(line.format(who=who) for line in one.warned)
    errors = said(outcome, "ERROR", dcid)
    assert len(errors) == bool(one.error), errors
    assert [word for word in one.error if word.format(email=one.email) not in errors[0]] == [], errors


def newcomer(last: str, dcid: int, *, state: str = "done", **more: Any) -> Situation:
    """Somebody without an account; of the numbers that the person lacks nothing is sent."""
    email, name = f"kim.{last.lower()}@d118.org", {"givenName": "Kim", "familyName": last}
    values = {"DCID": dcid, "Homeschool_ID": HIGH, "School_Access_List": str(HIGH), "Staff_Type": 1}
    building = {"Building": "Wauconda High School"}
    body = {
        "primaryEmail": email, "name": name, "orgUnitPath": OU_OF[HIGH], "changePasswordAtNextLogin": True,
        "customSchemas": {"Synchronization_Data": values, "CrisisGO": building},
    }  # fmt: skip
    change: Change = ("create", {}, {
        "primaryEmail": email, "orgUnitPath": OU_OF[HIGH], **{f"name.{part}": text for part, text in name.items()},
        **{f"{SYNCED}.{field}": str(value) for field, value in values.items()},
        "customSchemas.CrisisGO.Building": building["Building"],
    })  # fmt: skip
    if state == "done":
        more |= {"kept": (change,), "told": (f"create     {{who}}: Kim {last}, {email} in {OU_OF[HIGH]}",)}
    else:
        more |= {"failed": (change,), "state": state}
    nothing = {"teacher_number": None, "group": None, "cell_phone": None}
    return Situation(last, None, powerschool=nothing, sent=(body,), **more)


def assert_counted(outcome: Outcome, verb: str) -> None:
    """The summary counts what the journal calls done, and nothing else."""
    kinds = Counter(line["kind"] for line in outcome.journal if line["state"] == "done")
    (summary,) = (line for line in outcome.lines("INFO") if line.startswith(verb))
    counts = summary.removeprefix(verb).removesuffix(".").split(", ")
    assert sorted(counts) == sorted(f"{kind} {count}" for kind, count in kinds.items())


# All goes well.

RIGHT = {
    201: Situation(
        "Update", fields={"Staff_Group": 4}, sent=(GROUP_9,), kept=(GROUP_4_TO_9,), told=(TELLS_GROUP,),
    ),
    202: Situation(
        "Clear", {"employee_id": "1"}, {"Staff_Type": 4, "CellPhone": "847-555-7777"}, {"cell_phone": None},
        sent=({"customSchemas": {"Synchronization_Data": {"Staff_Type": 1}, "CrisisGO": {"CellPhone": None}},
               "externalIds": [number("4202")]},),
        kept=(("update", {STAFF_TYPE: "4", "customSchemas.CrisisGO.CellPhone": "847-555-7777", "externalIds": "1"},
               {STAFF_TYPE: "1", "customSchemas.CrisisGO.CellPhone": "", "externalIds": "4202"}),),
        told=("update     {who}: Employee ID 1 -> 4202; Synchronization_Data.Staff_Type 4 -> 1; "
              "CrisisGO.CellPhone (private) emptied",),
    ),
    # An employee ID takes the place of the first one; all other IDs are kept, in their order.
    203: Situation(
        "First", {"employee_id": None, "external_ids": [number("1"), BADGE, number("2")]},
        sent=({"externalIds": [number("4203"), BADGE, number("2")]},),
        kept=(("update", {"externalIds": "1"}, {"externalIds": "4203"}),),
        told=("update     {who}: Employee ID 1 -> 4203",),
    ),
    204: Situation(
        "None", {"employee_id": None, "external_ids": [BADGE]}, sent=({"externalIds": [BADGE, number("4204")]},),
        kept=(("update", {"externalIds": ""}, {"externalIds": "4204"}),),
        told=("update     {who}: Employee ID (empty) -> 4204",),
    ),
    205: Situation("Second", {"employee_id": None, "external_ids": [number("2"), number("4205")]}),
    206: Situation(
        "Link", fields={"DCID": None}, sent=(synced(DCID=206),), kept=(("link", {DCID: ""}, {DCID: "206"}),),
        told=(
            "link       {who}: Synchronization_Data.DCID (empty) -> 206 (found by address and employee ID and names)",
        ),
    ),
    207: Situation(
        "Linkmove", {"ou": OU_OF[GRADE]}, {"DCID": None, "Staff_Group": 4},
        sent=({"orgUnitPath": OU_OF[HIGH], **synced(DCID=207, Staff_Group=9)},),
        kept=(("link", {DCID: ""}, {DCID: "207"}), HIGH_MOVE, GROUP_4_TO_9),
        told=("link       {who}: Synchronization_Data.DCID (empty) -> 207 (found by address and employee ID and names)",
              f"move       {{who}}: {OU_OF[GRADE]} -> {OU_OF[HIGH]}", TELLS_GROUP),
    ),
    208: Situation(
        "Alias", {"email": "old.alias@d118.org", "aliases": ["kim.alias@d118.org"]},
        sent=({"primaryEmail": "kim.alias@d118.org"},),
        kept=(("rename", {"primaryEmail": "old.alias@d118.org", "aliases": "kim.alias@d118.org"},
               {"primaryEmail": "kim.alias@d118.org"}),),
        told=("rename     {who}: old.alias@d118.org -> kim.alias@d118.org",),
    ),
    # What is refused of a new address does not take the rest with it: that has a request of its own.
    209: Situation(
        "Married", {"email": "kim.before@d118.org", "family": "Before"}, {"Staff_Group": 4},
        sent=(GROUP_9, {"primaryEmail": "kim.married@d118.org", "name": {"givenName": "Kim", "familyName": "Married"}}),
        kept=(GROUP_4_TO_9,
              ("rename", {"primaryEmail": "kim.before@d118.org", "aliases": ""},
               {"primaryEmail": "kim.married@d118.org"}),
              ("name", {"name.givenName": "Kim", "name.familyName": "Before"},
               {"name.givenName": "Kim", "name.familyName": "Married"})),
        told=(TELLS_GROUP, "rename     {who}: kim.before@d118.org -> kim.married@d118.org",
              "name       {who}: Before -> Married"),
    ),
    210: Situation(
        "Return", {"suspended": True, "ou": SUSPENDED_OU}, {"Staff_Group": 4},
        sent=({"suspended": False}, {"orgUnitPath": OU_OF[HIGH], **GROUP_9}),
        kept=(("reactivate", {"suspended": "true"}, {"suspended": "false"}),
              ("move", {"orgUnitPath": SUSPENDED_OU}, {"orgUnitPath": OU_OF[HIGH]}), GROUP_4_TO_9),
        told=("reactivate {who}", f"move       {{who}}: {SUSPENDED_OU} -> {OU_OF[HIGH]}", TELLS_GROUP),
    ),
    211: Situation(
        "Leave", left=True, groups={"art": "OWNER", "band": "MANAGER", "choir": "MEMBER"},
        sent=({"suspended": True}, "", "", "", {"orgUnitPath": SUSPENDED_OU}),
        kept=(SUSPENSION, CLOSING_MOVE, *(
            ("leave group", {"group": f"{group}@d118.org", "role": role}, {})
            for group, role in (("art", "OWNER"), ("band", "MANAGER"), ("choir", "MEMBER"))
        )),
        told=("suspend    {who}", "leave group {who}: art@d118.org (owner)",
              "leave group {who}: band@d118.org (manager)",
              "leave group {who}: choir@d118.org (member)",
              f"move to suspended {{who}}: {OU_OF[HIGH]} -> {SUSPENDED_OU}"),
        warned=("group without owner: {who}: the group art@d118.org has lost its last owner: give it another one",),
    ),
    212: Situation(
        "Open", {"ou": SUSPENDED_OU}, left=True, groups={"drama": "MEMBER"}, sent=("", {"suspended": True}),
        kept=(SUSPENSION, ("leave group", {"group": "drama@d118.org", "role": "MEMBER"}, {})),
        told=("suspend    {who}", "leave group {who}: drama@d118.org (member)"),
    ),
    213: newcomer("New", 213),
}  # fmt: skip


@pytest.mark.measured
def test_each_change_is_sent_kept_and_told_and_the_next_run_finds_nothing_to_do(bed: Bed) -> None:
    bed.settings["UPDATE_NAMES"] = True
    ids = add_all(bed, RIGHT)
    announced = []

    def look(request: Request, when: str) -> None:
        if request.method in WRITES and when == "before":
            (journal,) = bed.runs.glob("*.jsonl")
            lines = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
            ended = {line["change"] for line in lines if line["state"] != "intended"}
            announced.append({line["change"] for line in lines} > ended)

    bed.google.hook = look
    outcome = bed.run()
    assert outcome.exit_code == 0, outcome.output
    assert_each_as_expected(outcome, RIGHT, ids)
    assert announced == [True] * len(outcome.writes), "what is to be written is in the journal already"
    assert {line["change"] for line in outcome.journal} == set(range(1, len(outcome.writes) + 1))
    ids[213] = bed.google.user(ids[213])["id"]
    assert all(line["account"] == ids[line["dcid"]] for line in outcome.journal if line["state"] == "done")
    assert_counted(outcome, "Done: ")
    for line in outcome.journal:
        if line["kind"] == "leave group":
            assert bed.google.groups[line["before"]["groupId"]]["email"] == line["before"]["group"]
    bed.google.behave()
    at_rest(bed)


def test_each_line_of_the_journal_is_on_the_disk_before_the_next_step(bed: Bed) -> None:
    flushed = bed.folder / "flushed"
    bed.prelude = (
        "import os\n"
        "fsync = os.fsync\n"
        "def keeping(number):\n"
        "    fsync(number)\n"
        f"    print(os.fstat(number).st_size, file=open({str(flushed)!r}, 'a'))\n"
        "os.fsync = keeping\n"
    )
    add_all(bed, {201: RIGHT[201], 211: RIGHT[211]})
    assert bed.run().exit_code == 0
    (journal,) = bed.runs.glob("*.jsonl")
    sizes = list(accumulate(len(line) for line in journal.read_bytes().splitlines(keepends=True)))
    assert len(sizes) == 12
    assert set(sizes) <= {int(size) for size in flushed.read_text().split()}


@pytest.mark.measured
def test_a_value_is_sent_in_the_type_of_its_field(bed: Bed) -> None:
    bed.google.add_schema("Odd", {"Rate": "DOUBLE", "Flag": "BOOL", "Text": "STRING", "Count": "INT64"})
    held = {"Rate": "teacher_number", "Flag": "cell_phone", "Text": "staff_group", "Count": "teacher_number"}
    synchronized = bed.setting("CUSTOM_SCHEMAS")["Synchronization_Data"]
    bed.settings |= {"CUSTOM_SCHEMAS": {"Synchronization_Data": synchronized, "Odd": held}, "PRIVATE_VALUES": []}
    # Teacher number, phone; what Google has; what is sent of it; which field the value does not fit, if any.
    rows: tuple[tuple[str | None, str | None, Row, Row, str], ...] = (
        ("1.5", "True", {}, {"Rate": 1.5, "Flag": True, "Text": "9"}, "Count"),
        ("12", "false", {"Text": "9"}, {"Rate": 12.0, "Flag": False, "Count": 12}, ""),
        (None, None, {"Rate": 2, "Flag": True, "Text": "8", "Count": 3},
         {"Rate": None, "Flag": None, "Text": "9", "Count": None}, ""),
        (str(2**63 - 1), None, {"Rate": 2**63, "Text": "9"}, {"Count": 2**63 - 1}, ""),
        (str(2**63), None, {"Rate": 2**63, "Text": "9"}, {}, "Count"),
        (str(-(2**63)), None, {"Rate": -(2**63), "Text": "9"}, {"Count": -(2**63)}, ""),
        (str(-(2**63) - 1), None, {"Rate": -(2**63), "Text": "9"}, {}, "Count"),
        ("12", "yes", {"Rate": 12, "Text": "9", "Count": 12}, {}, "Flag"),
    )  # fmt: skip
    ids = {}
    for dcid, (teacher_number, phone, odd, _, _) in enumerate(rows, 201):
        person(bed, dcid, "Kim", f"Odd{dcid}", HIGH, teacher_number=teacher_number, cell_phone=phone)
        fields = {"Synchronization_Data": matching_fields(bed, dcid)["Synchronization_Data"], "Odd": odd}
        ids[dcid] = matching_account(bed, dcid, fields=fields)
    outcome = bed.run()
    assert outcome.exit_code == 1, outcome.output
    for dcid, (_, _, _, sent, misfit) in enumerate(rows, 201):
        bodies = attempts(outcome, ids[dcid], "")
        assert [repr(body) for body in bodies] == ([repr({"customSchemas": {"Odd": sent}})] if sent else []), dcid
        errors = said(outcome, "ERROR", dcid)
        assert len(errors) == bool(misfit), errors
        assert not misfit or f"does not fit Odd.{misfit}" in errors[0]
    at_rest(bed)


# Something comes between the reading and the write.


def changing(**now: Any) -> Act:
    """What an account simply has now, in the terms of Google's users resource."""
    return lambda bed, identity: bed.google.users[identity].update(now)


def sending(**body: Any) -> Act:
    """What an admin changes through Google, with all that follows from it: an address that was becomes an alias."""

    def befalls(bed: Bed, identity: str) -> None:
        bed.google.call("users.update", {"userKey": identity}, body)

    return befalls


def setting(**fields: Any) -> Act:
    """What an admin sets in the fields of Synchronization_Data."""
    return sending(**synced(**fields))


def deleting(bed: Bed, identity: str) -> None:
    user = bed.google.users.pop(identity)
    for address in (user["primaryEmail"], *user["aliases"]):
        del bed.google.addresses[address]
    for group in bed.google.groups.values():
        group["members"].pop(identity, None)


def several(*acts: Act) -> Act:
    def befalls(bed: Bed, identity: str) -> None:
        for act in acts:
            act(bed, identity)

    return befalls


BETWEEN = {
    # Only what was planned is written, though more has come to differ, and "before" is what Google has now.
    201: Situation(
        "More", fields={"Staff_Group": 4},
        befalls=several(setting(Homeschool_ID=GRADE), changing(externalIds=[number("8")], orgUnitPath=OU_OF[GRADE])),
        sent=(GROUP_9,), kept=(GROUP_4_TO_9,), told=(TELLS_GROUP,),
    ),
    202: Situation(
        "Again", fields={"Staff_Group": 4}, befalls=setting(Staff_Group=5), sent=(GROUP_9,),
        kept=(("update", {STAFF_GROUP: "5"}, {STAFF_GROUP: "9"}),),
        told=("update     {who}: Synchronization_Data.Staff_Group 5 -> 9",),
    ),
    203: Situation(
        "Half", fields={"Staff_Group": 4, "Staff_Type": 2}, befalls=setting(Staff_Type=1),
        sent=(GROUP_9,), kept=(GROUP_4_TO_9,), told=(TELLS_GROUP,),
    ),
    204: Situation(
        "Aliased", {"email": "kim.before@d118.org"}, befalls=changing(aliases=["kim.since@d118.org"]),
        sent=({"primaryEmail": "kim.aliased@d118.org"},),
        kept=(("rename", {"primaryEmail": "kim.before@d118.org", "aliases": "kim.since@d118.org"},
               {"primaryEmail": "kim.aliased@d118.org"}),),
        told=("rename     {who}: kim.before@d118.org -> kim.aliased@d118.org",),
    ),
    205: Situation(
        "Suspended", left=True, befalls=changing(suspended=True), sent=({"orgUnitPath": SUSPENDED_OU},),
        kept=(CLOSING_MOVE,), told=(f"move to suspended {{who}}: {OU_OF[HIGH]} -> {SUSPENDED_OU}",),
    ),
    # What is put right already, or is nobody's to write by now, is not written.
    206: Situation("Mended", fields={"Staff_Group": 4},
                   befalls=several(setting(Staff_Group=9, Homeschool_ID=GRADE), changing(externalIds=[]))),
    207: Situation("Renamed", {"email": "kim.early@d118.org"}, befalls=sending(primaryEmail="kim.renamed@d118.org")),
    208: Situation("Promoted", fields={"Staff_Group": 4}, befalls=changing(isAdmin=True)),
    209: Situation("Protected", {"ou": OU_OF[GRADE]}, befalls=changing(orgUnitPath=STUDENT_OU)),
    210: Situation("Locked", {"suspended": True, "ou": SUSPENDED_OU}, befalls=changing(orgUnitPath=LOCKED_OU)),
    211: Situation("Archived", fields={"Staff_Group": 4}, befalls=changing(archived=True)),
    212: Situation("Taken", fields={"Staff_Group": 4}, befalls=setting(DCID=999)),
    213: Situation("Closed", {"suspended": True}, left=True, groups={"art": "MEMBER"},
                   befalls=changing(orgUnitPath=LOCKED_OU)),
    # An account that has gone is told.
    214: Situation("Gone", fields={"Staff_Group": 4}, befalls=deleting,
                   error=("update failed", "Google answered 404 notFound: {email} is no longer there")),
    215: Situation("Leaver", {"suspended": True}, left=True, groups={"band": "MEMBER"}, befalls=deleting,
                   error=("move to suspended failed", "Google answered 404 notFound: {email} is no longer there")),
}  # fmt: skip


def test_each_account_is_looked_at_again_before_it_is_written(bed: Bed) -> None:
    ids = add_all(bed, BETWEEN)

    def meanwhile(request: Request, when: str) -> None:
        if request.method == "users.list" and when == "after":
            bed.google.hook = None
            for dcid, one in BETWEEN.items():
                assert one.befalls
                one.befalls(bed, ids[dcid])

    bed.google.hook = meanwhile
    outcome = bed.run()
    assert outcome.exit_code == 1, outcome.output
    assert_each_as_expected(outcome, BETWEEN, ids)
    asked = {request.params["userKey"] for request in outcome.requests if request.method == "groups.list"}
    assert asked == {ids[205]}, "the groups of nobody who need not be closed any more, or whose account has gone"
    assert bed.google.members("art@d118.org") == {"kim.closed@d118.org": "MEMBER"}


# Google refuses, or its answer is lost.


REASONS = {403: "forbidden", 404: "notFound", 409: "duplicate", 503: "backendError"}


def refusing(method: str, status: int, words: str = "No", **more: Any) -> Act:
    """Every such request about this account (by its id or address) goes wrong; `match` says which of them."""
    also = more.pop("match", None)

    def befalls(bed: Bed, identity: str) -> None:
        def matches(request: Request) -> bool:
            about = {*request.params.values(), (request.body or {}).get("primaryEmail")}
            return identity in about and (also is None or bool(also(request)))

        bed.google.fail(method, status, REASONS.get(status, "invalid"), words, times=None, match=matches, **more)

    return befalls


def hiding(method: str, status: int, address: str) -> Act:
    """Google does not say who holds this address."""
    return lambda bed, _identity: refusing(method, status)(bed, address)


def just_before(method: str, act: Callable[[Bed, str], object], nth: int = 1) -> Act:
    """What happens when the first such request about this account comes in, or a later one."""

    def befalls(bed: Bed, identity: str) -> None:
        coming = [0]

        def matches(request: Request) -> bool:
            if identity in {*request.params.values(), (request.body or {}).get("primaryEmail")}:
                coming[0] += 1
                if coming[0] == nth:
                    act(bed, identity)
            return False

        # A fault that matches nothing looks at every request, as a hook would, and there may be many of them.
        bed.google.fail(method, times=None, match=matches)

    return befalls


def taking(address: str, method: str = "users.update", **account: Any) -> Act:
    """Somebody else's account takes the address, or with `email` has it as an alias, just before the write."""
    if "email" in account:
        account["aliases"] = [address]
    email = account.pop("email", address)
    return just_before(method, lambda bed, _identity: bed.google.add_user(email, "Some", "Body", **account))


def body_has(name: str) -> Callable[[Request], bool]:
    return lambda request: name in (request.body or {})


def renamed(last: str, words: str, *befalls: Act) -> Situation:
    """Whose new address Google refuses, told with these words; fields that differ are put right all the same."""
    old, new = f"old.{last.lower()}@d118.org", f"kim.{last.lower()}@d118.org"
    return Situation(
        last, {"email": old}, {"Staff_Group": 4}, befalls=several(*befalls),
        sent=(GROUP_9, {"primaryEmail": new}), kept=(GROUP_4_TO_9,), told=(TELLS_GROUP,),
        failed=(("rename", {"primaryEmail": old, "aliases": ""}, {"primaryEmail": new}),),
        error=(f"rename and update failed, at least in part: Google answered {words}",),
    )  # fmt: skip


def taken(last: str, holder: str, *befalls: Act) -> Situation:
    return renamed(last, f"409 duplicate: kim.{last.lower()}@d118.org is taken {holder}", *befalls)


def leaver(last: str, group: str, *befalls: Act, is_left: bool, **more: Any) -> Situation:
    """Somebody who has to leave one group; whether that works or the group refuses for good, the account is closed."""
    role = more.pop("role", "MEMBER")
    leaving: Change = ("leave group", {"group": f"{group}@d118.org", "role": role}, {})
    told = ["suspend    {who}", f"move to suspended {{who}}: {OU_OF[HIGH]} -> {SUSPENDED_OU}"]
    told += [f"leave group {{who}}: {group}@d118.org ({role.lower()})"] if is_left else []
    error = f"{{email}} stays in the group {group}@d118.org: Google answered"
    return Situation(
        last, left=True, groups={group: role}, befalls=several(*befalls), told=tuple(told),
        sent=({"suspended": True}, "", {"orgUnitPath": SUSPENDED_OU}),
        kept=(SUSPENSION, CLOSING_MOVE, *((leaving,) if is_left else ())), failed=() if is_left else (leaving,),
        error=() if is_left else (error,),
        **more,
    )  # fmt: skip


def refusing_group(group: str, status: int, method: str = "members.delete", **more: Any) -> Act:
    """Nobody can be taken out of this group, or whatever the method asks of it."""

    def befalls(bed: Bed, _identity: str) -> None:
        def matches(request: Request) -> bool:
            return bool(bed.google.groups.get(request.params["groupKey"], {}).get("email") == f"{group}@d118.org")

        bed.google.fail(method, status, REASONS.get(status, "invalid"), "No", times=None, match=matches, **more)

    return befalls


def taking_out(bed: Bed, identity: str) -> None:
    """An admin takes somebody out of all groups."""
    for group in bed.google.groups.values():
        group["members"].pop(identity, None)


def hiding_after_a_write(bed: Bed, identity: str) -> None:
    """Once a write was tried, Google does not show the account."""

    def is_tried(_request: Request) -> bool:
        tried = [one for one in list(bed.google.requests) if one.method == "users.update"]
        return any(one.params["userKey"] == identity for one in tried)

    refusing("users.get", 403, match=is_tried)(bed, identity)


def paging(bed: Bed, identity: str) -> None:
    """The first page of the person's groups is empty; the second one begins with a group without an id."""
    mine = [group for group in bed.google.groups.values() if identity in group["members"]]
    groups = [{"id": group["id"], "email": group["email"]} for group in mine]

    def is_page(number: int, request: Request) -> bool:
        return request.params["userKey"] == identity and len(request.params.get("pageToken", "")) == number

    for number, page in enumerate(({"nextPageToken": "2"}, {"groups": [{"email": "odd@d118.org"}, *groups]})):
        bed.google.fail(
            "groups.list", 200, body=json.dumps(page).encode(), times=None, match=partial(is_page, number)
        )  # fmt: skip


OUT_BEFORE = just_before("members.delete", taking_out)
NEW_ADDRESS = body_has("primaryEmail")
UNNAMED = "by somebody Google does not name at the moment"
MOVE_TOLD = f"move       {{who}}: {OU_OF[GRADE]} -> {OU_OF[HIGH]}"
TYPE_AND_GROUP = ("update", {STAFF_TYPE: "2", STAFF_GROUP: "4"}, {STAFF_TYPE: "1", STAFF_GROUP: "9"})
IS_TAKEN = partial(refusing, "users.update", 409, match=NEW_ADDRESS)
REFUSED = {
    # An address that is taken is told with its holder.
    201: taken("Primary", "by kim.primary@d118.org:", taking("kim.primary@d118.org")),
    202: taken("Alias", "by front.desk@d118.org as an alias",
               taking("kim.alias@d118.org", email="front.desk@d118.org")),
    203: taken("Group", "by a group",
               just_before("users.update", lambda bed, _: bed.google.add_group("kim.group@d118.org"))),
    204: replace(taken("Deleted", "by something Google does not show (a deleted account?)", IS_TAKEN()),
                 state="unknown"),
    205: replace(taken("Unnamed", UNNAMED, IS_TAKEN(), hiding("users.get", 403, "kim.unnamed@d118.org")),
                 state="unknown"),
    206: replace(taken("Silent", UNNAMED, IS_TAKEN(), hiding("groups.get", 503, "kim.silent@d118.org")),
                 state="unknown"),
    207: newcomer("Newalias", 207, state="failed", befalls=taking("kim.newalias@d118.org", "users.insert",
                                                                  email="back.desk@d118.org"),
                  error=("create failed, at least in part: Google answered 409 duplicate: kim.newalias@d118.org "
                         "is taken by back.desk@d118.org as an alias: put right what Google says",)),
    # Anything else is told in Google's words.
    208: renamed("Invalid", "400 invalid: Its words", refusing("users.update", 400, "Its words", match=NEW_ADDRESS)),
    209: Situation("Conflict", fields={"Staff_Group": 4}, state="unknown",
                   befalls=refusing("users.update", 409, "Its words"),
                   sent=(GROUP_9,), failed=(GROUP_4_TO_9,),
                   error=("update failed, at least in part: Google answered 409 duplicate: Its words",)),
    210: newcomer("Newrefused", 210, state="failed", befalls=refusing("users.insert", 403, "Its words"),
                  error=("create failed, at least in part: Google answered 403 forbidden: Its words",)),
    # All is tried, and the first refusal is told.
    211: replace(renamed("Both", "400 invalid: first", refusing("users.update", 400, "second", match=NEW_ADDRESS),
                         refusing("users.update", 400, "first", match=body_has("customSchemas"))),
                 kept=(), told=(), failed=(GROUP_4_TO_9, (
                     "rename", {"primaryEmail": "old.both@d118.org", "aliases": ""},
                     {"primaryEmail": "kim.both@d118.org"}))),
    # A lost answer: what is there when Google is asked was done, all of it or nothing, and else the run does not know.
    221: newcomer("Newlost", 221, befalls=refusing("users.insert", 503, when="after")),
    222: newcomer("Newtwice", 222, befalls=refusing("users.insert", 409, when="after")),
    223: Situation("Whole", fields={"Staff_Group": 4, "Staff_Type": 2}, sent=(synced(Staff_Type=1, Staff_Group=9),),
                   befalls=several(just_before("users.update", setting(Staff_Group=9, Staff_Type=1)),
                                   refusing("users.update", 503)),
                   kept=(TYPE_AND_GROUP,), told=("update     {who}: Synchronization_Data.Staff_Type 2 -> 1; "
                                                 "Synchronization_Data.Staff_Group 4 -> 9",)),
    224: Situation("Part", fields={"Staff_Group": 4, "Staff_Type": 2}, state="unknown",
                   sent=(synced(Staff_Type=1, Staff_Group=9),),
                   befalls=several(just_before("users.update", setting(Staff_Group=9)), refusing("users.update", 503)),
                   failed=(TYPE_AND_GROUP,), error=("update failed", "503 backendError", "the next run tries again")),
    225: Situation("Cased", {"ou": OU_OF[GRADE]}, sent=({"orgUnitPath": OU_OF[HIGH]},), kept=(HIGH_MOVE,),
                   befalls=several(just_before("users.update", changing(orgUnitPath=OU_OF[HIGH].upper())),
                                   refusing("users.update", 503)), told=(MOVE_TOLD,)),
    226: Situation("Hidden", {"ou": OU_OF[GRADE]}, sent=({"orgUnitPath": OU_OF[HIGH]},), failed=(HIGH_MOVE,),
                   befalls=several(hiding_after_a_write, refusing("users.update", 503)), state="unknown",
                   error=("move failed, at least in part: Google answered 503",)),
    227: Situation("Plain", {"ou": OU_OF[GRADE]}, sent=({"orgUnitPath": OU_OF[HIGH]},), failed=(HIGH_MOVE,),
                   befalls=refusing("users.update", 403), error=("move failed", "403 forbidden: No")),
    # Groups of somebody who left.
    231: leaver("Notfound", "art", OUT_BEFORE, refusing_group("art", 404), is_left=True),
    232: leaver("Changed", "band", OUT_BEFORE, refusing_group("band", 412), is_left=True),
    233: leaver("Stays", "choir", refusing_group("choir", 412), is_left=False),
    234: leaver("Forbidden", "drama", refusing_group("drama", 403), is_left=False),
    # In one's own domain a group of which nothing may be read is not one outside.
    239: leaver("Secret", "kite", refusing_group("kite", 403), refusing_group("kite", 403, "groups.get"),
                is_left=False),
    235: leaver("Method", "elite", refusing_group("elite", 405), is_left=False),
    236: replace(leaver("Paged", "folk", paging, is_left=True),
                 error=("failed: ", "{email} may be in a group of which Google's answer cannot be read",
                        "odd@d118.org")),
    237: leaver("Owner", "golf", refusing_group("golf", 403, "members.list"), is_left=True, role="OWNER",
                warned=("group without owner: {who}: the group golf@d118.org has lost an owner, and may have none now: "
                        "give it another one",)),
    # What may heal holds the move; each group is tried all the same.
    238: Situation("Heals", left=True, state="unknown", groups={"hike": "MEMBER", "ink": "MEMBER", "jazz": "MEMBER"},
                   befalls=several(refusing_group("hike", 503), refusing_group("ink", 0, close=True)),
                   sent=({"suspended": True}, "", "", ""), told=("suspend    {who}",
                                                                 "leave group {who}: jazz@d118.org (member)"),
                   kept=(SUSPENSION, ("leave group", {"group": "jazz@d118.org", "role": "MEMBER"}, {})),
                   failed=tuple(("leave group", {"group": f"{group}@d118.org", "role": "MEMBER"}, {})
                                for group in ("hike", "ink")),
                   error=("503 backendError: {email} could not leave all its groups: Google answered 503 "
                          "backendError: No: the next run tries again",)),
}  # fmt: skip


@pytest.mark.measured
def test_what_google_refuses_or_does_not_answer_is_kept_and_told_for_each_person(bed: Bed) -> None:
    bed.settings["RETRY_SECONDS"] = 0.05
    ids = add_all(bed, REFUSED)
    for dcid, one in REFUSED.items():
        if one.befalls:
            one.befalls(bed, ids[dcid])
    outcome = bed.run("--allow", "suspend=50")
    assert outcome.exit_code == 1, outcome.output
    assert_each_as_expected(outcome, REFUSED, ids)
    # Whether an owner is left is asked of the groups alone that lose one.
    assert sum(request.method == "members.list" for request in outcome.requests) == 1
    # A refusal that leaves no doubt is not looked up.
    looked_up = [request.params["userKey"] for request in outcome.requests if request.method == "users.get"]
    assert looked_up.count(ids[227]) == 1
    assert looked_up.count(ids[224]) == 2
    assert_counted(outcome, "Done: ")
    # Of a new account the id is known once it is found.
    made = {line["dcid"]: line["account"] for line in outcome.journal if line["state"] == "done"}
    assert {dcid: made[dcid] for dcid in (221, 222)} == {
        dcid: bed.google.user(ids[dcid])["id"] for dcid in (221, 222)
    }  # fmt: skip
    # The journal says why; the screen says it when it happens, and once more at the end.
    for line in outcome.journal:
        assert bool(line["error"]) == (line["state"] in {"failed", "unknown"})
    plain = next(line for line in outcome.journal if line["dcid"] == 227 and line["state"] == "failed")
    assert plain["error"] == "Google answered 403 forbidden: No"
    assert [line for line in outcome.lines("WARN") if line.startswith("Not done: ") and "(DCID 227)" in line]


def test_a_row_of_failures_is_broken_by_a_success_and_by_another_answer(bed: Bed) -> None:
    people = {201 + place: Situation(f"Row{LETTERS[place]}", fields={"Staff_Group": 4}) for place in range(24)}
    ids = add_all(bed, people)
    for place, dcid in enumerate(people):
        if place in {*range(9), *range(10, 14)}:
            refusing("users.update", 403)(bed, ids[dcid])
        if place in range(14, 19):
            refusing("users.update", 400)(bed, ids[dcid])
    outcome = bed.run()
    assert outcome.exit_code == 1, outcome.output
    assert [len(said(outcome, "ERROR", dcid)) for dcid in people] == [1] * 9 + [0] + [1] * 9 + [0] * 5
    assert len(outcome.writes) == 6
    looked_up = [request for request in outcome.requests if request.method == "users.get"]
    assert len(looked_up) == 24, "once before each write, and not for what nobody planned"


@pytest.mark.measured
def test_who_was_refused_the_night_before_with_the_same_answer_does_not_count(bed: Bed) -> None:
    people = {201 + place: Situation(f"Night{LETTERS[place]}") for place in range(21)}
    ids = add_all(bed, people)
    refused, unclear, lucky = list(people)[:10], list(people)[10:20], 221

    def night(status: int, *outdated: int) -> list[int]:
        """Those tried in a night on which these are outdated and Google refuses all but the lucky one.

        Of a 409 it is not known whether the change was made.
        """
        bed.google.behave()
        for dcid in outdated:
            setting(Staff_Group=4)(bed, ids[dcid])
            if dcid != lucky:
                refusing("users.update", status if dcid in refused else 409)(bed, ids[dcid])
        outcome = bed.run()
        newest_journal(bed).rename(bed.runs / f"20260101T00000{len(list(bed.runs.glob('*.jsonl')))}Z.jsonl")
        return sorted({line["dcid"] for line in outcome.journal})

    assert night(400, *refused[:3], *unclear[:3], lucky) == [*refused[:3], *unclear[:3], lucky]
    assert night(400, *people) == list(people)
    assert night(403, *people) == refused
    assert night(400, *people) == refused, "two nights ago is long ago"


@pytest.mark.measured
def test_a_write_at_which_every_request_is_refused_is_unknown_and_not_counted(bed: Bed) -> None:
    both = {
        201: Situation("First", fields={"Staff_Group": 4}),
        202: Situation("Second", {"ou": OU_OF[GRADE]}, {"Staff_Group": 4}),
    }
    ids = add_all(bed, both)
    bed.google.fail("users.update", 403, "accessNotConfigured", "Not enabled", times=None,
                    match=lambda request: request.params["userKey"] == ids[202])  # fmt: skip
    outcome = bed.run()
    assert outcome.exit_code == 2, outcome.output
    lines = [line for line in outcome.journal if line["dcid"] == 202]
    assert_kept(lines, (), (HIGH_MOVE, GROUP_4_TO_9), "unknown")
    assert len({line["change"] for line in lines}) == 1
    last = outcome.output.splitlines()[-1]
    assert {line["error"] for line in lines if line["state"] == "unknown"} == {"cut off"}
    assert "1 change was written before that" in last or "1 changes were written before that" in last
    assert_counted(outcome, "Done before it stopped: ")
    assert len([line for line in outcome.journal if line["state"] == "done"]) == len(outcome.writes) == 1


@pytest.mark.measured
def test_a_run_out_of_time_begins_nobody_new_and_says_how_many_are_left(bed: Bed) -> None:
    people = {201 + place: Situation(f"Late{LETTERS[place]}", fields={"Staff_Group": 4}) for place in range(24)}
    ids = add_all(bed, people)
    # Nobody waits: for the process the clock jumps past RUN_MINUTES once the first write comes in.
    over = bed.folder / "over"
    seconds = 60 * bed.setting("RUN_MINUTES") + 1
    bed.prelude = (
        "import os, time\n"
        "monotonic = time.monotonic\n"
        f"time.monotonic = lambda: monotonic() + {seconds} * os.path.exists({str(over)!r})\n"
    )
    bed.google.hook = lambda request, _when: over.touch() if request.method == "users.update" else None
    outcome = bed.run()
    assert outcome.exit_code == 2, outcome.output
    begun = [dcid for dcid in people if attempts(outcome, ids[dcid], "")]
    assert begun
    assert len(outcome.writes) == len(begun)
    last = outcome.output.splitlines()[-1]
    assert f"RUN_MINUTES is over, with {len(people) - len(begun)} people left for the next run" in last
