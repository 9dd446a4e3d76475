"""Every advice is obeyed: the admin does what the line says, in each of its ways out, and the next run is silent.

`SITUATIONS` has a row for each rule that asks for a person: who and what is there, and the ways out in the words of
the line. Many situations share one district, each with names and numbers of its own (`Case`): bed N builds those
that have an Nth way out, a run tells them all, all are obeyed, and of everything in Google only what a way out names
may differ after the next run.
"""

from __future__ import annotations

import datetime
import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from bed import SIGNED_IN_SCOPES, Bed, matching_account
from google_server import SCOPE_PREFIX
from stories import HIGH_OU, MAYA, colleagues, leaver, newest_journal, outdated, person
from test_spreadsheet import answers, carry_out, type_in

from sync import ERROR, Rule

SCHEMA, SUSPENDED_OU, FOREVER = "Synchronization_Data", "/Suspended Accounts", "2099-12-31"
MIDDLE_OU = "/D118 Staff/Wauconda Middle School Staff"
COLLEAGUES = 40
SETUP_SCOPES = [*SIGNED_IN_SCOPES, f"{SCOPE_PREFIX}orgunit", f"{SCOPE_PREFIX}userschema"]


def letters_of(number: int) -> str:
    """A number as two letters, as names are compared by their letters alone."""
    return string.ascii_lowercase[number // 26] + string.ascii_lowercase[number % 26]


class Case:
    """One situation: its people are Ada, Bea and so on (numbers 0 and up), the accounts go by the local part.

    Every name, address and number ends in letters that no other situation has.
    """

    def __init__(self, bed: Bed, number: int) -> None:
        self.bed, self.base, self.code = bed, 1000 + 10 * number, letters_of(number)
        self.decisions: dict[tuple[int | str, str], str] = {}

    def name(self, first: str) -> str:
        return f"{first}{self.code}"

    def address(self, local: str) -> str:
        return f"{local}-{self.code}@d118.org"

    def dcid(self, person: int) -> int:
        return self.base + person

    def words(self, text: str) -> str:
        """A line's words with this situation's addresses and DCIDs: `<ada>` is an address, `<0>` a DCID."""
        for local in ("ada", "bea", "old", "new", "desk", "third"):
            text = text.replace(f"<{local}>", self.address(local))
        for number in range(4):
            text = text.replace(f"<{number}>", str(self.dcid(number)))
        return text

    def person(self, number: int, first: str, local: str | None, **otherwise: Any) -> None:
        """Adds a person whose family name is Stone, active at the high school unless told otherwise."""
        family = otherwise.pop("family", "Stone")
        usual = {"schools": {5: 1}, "teacher_number": f"T{self.dcid(number)}"} | otherwise
        email = self.address(local) if local and "@" not in local else local
        name = self.name(first) if first else None
        self.bed.powerschool.add_person(self.dcid(number), name, self.name(family), email, **usual)

    def leaver(self, number: int, first: str, local: str | None, **otherwise: Any) -> None:
        self.person(number, first, local, **{"schools": None, "inactive_schools": {5: 1}, **otherwise})

    def account(self, local: str, first: str, family: str = "Stone", **otherwise: Any) -> None:
        """Adds an account; `dcid` is the number of the person whose DCID it carries."""
        carried = otherwise.pop("dcid", None)
        fields = {} if carried is None else {SCHEMA: {"DCID": str(self.dcid(carried))}}
        aliases = [self.address(alias) for alias in otherwise.pop("aliases", ())]
        self.bed.google.add_user(
            self.address(local), self.name(first), self.name(family),
            **{"ou": HIGH_OU, "fields": fields, "aliases": aliases, **otherwise},
        )  # fmt: skip

    def in_step(self, number: int, **otherwise: Any) -> None:
        """Adds the account that is as the rules want it for this person, but for this."""
        matching_account(self.bed, self.dcid(number), **otherwise)

    # What the admin does, in the Admin console, in PowerSchool and in config.py.

    def console(self, local: str, **changes: Any) -> None:
        """Changes an account; `dcid` is a person's number, or None to empty the field."""
        if "dcid" in changes:
            carried = changes.pop("dcid")
            changes["customSchemas"] = {SCHEMA: {"DCID": None if carried is None else str(self.dcid(carried))}}
        self.bed.google.call("users.update", {"userKey": self.address(local)}, changes)

    def console_state(self, local: str, **changes: Any) -> None:
        """Changes what users.update cannot, but the Admin console can: admin roles, and what Google has locked."""
        user = self.bed.google.users[self.bed.google.user(self.address(local))["id"]]
        self.bed.google.users[user["id"]] = {**user, **changes}

    def rename_in_console(self, local: str, new: str) -> None:
        self.console(local, primaryEmail=self.address(new))

    def remove_alias(self, local: str, alias: str) -> None:
        self.bed.google.call("users.aliases.delete", {"userKey": self.address(local), "alias": self.address(alias)}, {})

    def powerschool(self, number: int, **columns: Any) -> None:
        if columns.get("email_addr"):
            columns["email_addr"] = self.address(columns["email_addr"])
        self.bed.powerschool.person(self.dcid(number)).update(columns)

    def hands_off(self, local: str, until: str = FOREVER) -> None:
        entries = self.bed.settings.setdefault("HANDS_OFF", {})
        assert isinstance(entries, dict)
        entries[self.address(local)] = ("asked by HR", until)

    def decide(self, local: str, word: str) -> None:
        """Types a decision about Ada and this account into the spreadsheet that is carried out once all have obeyed."""
        self.decisions[self.dcid(0), self.address(local)] = word

    def no_hands_off(self, local: str) -> None:
        self.bed.setting("HANDS_OFF").pop(self.address(local))


Step = Callable[[Case], object]


@dataclass(frozen=True)
class Way:
    """One way out: the line's words for it ("$" is its end), what the admin does, and how the accounts are then.


    `right` says of an account by its local part whose DCID it carries (a person's number, None for nobody's) and its
    state; `written` are those of them that the next run may change.
    """

    words: str
    obey: Step
    right: Mapping[str, tuple[int | None, str]]
    written: tuple[str, ...] = ()


@dataclass(frozen=True)
class Situation:
    rule: Rule
    build: Step
    ways: tuple[Way, ...]
    also: tuple[Rule, ...] = field(default=())  # what else the same fact makes a run tell


def steps(*several: Step) -> Step:
    def all_of_them(case: Case) -> None:
        for step in several:
            step(case)

    return all_of_them


def ada(**otherwise: Any) -> Step:
    return lambda case: case.person(0, "Ada", "ada", **otherwise)


def ada_left(**otherwise: Any) -> Step:
    return lambda case: case.leaver(0, "Ada", "ada", **otherwise)


def bea(**otherwise: Any) -> Step:
    return lambda case: case.person(1, "Bea", "bea", **{"family": "Hill", **otherwise})


def account(local: str, first: str, family: str = "Stone", **otherwise: Any) -> Step:
    return lambda case: case.account(local, first, family, **otherwise)


def in_step(number: int = 0, **otherwise: Any) -> Step:
    return lambda case: case.in_step(number, **otherwise)


def console(local: str, **changes: Any) -> Step:
    return lambda case: case.console(local, **changes)


def in_step_with_alias(case: Case) -> None:
    """Bea's account, which has what is Ada's address now as an alias."""
    case.in_step(1, aliases=[case.address("ada")])


def becomes_hers(local: str) -> Step:
    """The account gets Ada's DCID and her names."""
    return lambda case: case.console(
        local, dcid=0, name={"givenName": case.name("Ada"), "familyName": case.name("Stone")}
    )


def powerschool(number: int, **columns: Any) -> Step:
    return lambda case: case.powerschool(number, **columns)


def hands_off(local: str, until: str = FOREVER) -> Step:
    return lambda case: case.hands_off(local, until)


def has_dcid(local: str, number: int | None) -> Step:
    return console(local, dcid=number)


def decided(local: str, word: str) -> Step:
    return lambda case: case.decide(local, word)


def regrouped(case: Case, old: str, new: str) -> None:
    """A group's address is changed, and the alias that this leaves is removed."""
    google = case.bed.google
    group = next(one for one in google.groups.values() if one["email"] == case.address(old))
    del google.addresses[group["email"]]
    google._put_group({**group, "email": case.address(new)})


def deleted(case: Case, number: int | None) -> None:
    yesterday = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)
    fields = {} if number is None else {SCHEMA: {"DCID": str(case.dcid(number))}}
    case.bed.google.add_deleted_user(
        case.address("ada"), case.name("Ada"), case.name("Stone"), deleted=yesterday, fields=fields
    )


def its_deleted(case: Case) -> str:
    deleted_users = case.bed.google.deleted_users.values()
    return str(next(user["id"] for user in deleted_users if user["primaryEmail"] == case.address("ada")))


def restored(case: Case) -> None:
    user = case.bed.google.deleted_users.pop(its_deleted(case))
    case.bed.google._put_user({name: value for name, value in user.items() if name != "deletionTime"})


def aged(case: Case) -> None:
    case.bed.google.deleted_users[its_deleted(case)]["deletionTime"] = "2020-01-01T00:00:00.000Z"


def unanswered(case: Case) -> None:
    mine = case.address("ada")
    case.bed.google.fail("users.get", times=None, match=lambda request: request.params.get("userKey") == mine)


def staff_status(case: Case, status: object) -> None:
    for row in case.bed.powerschool.affiliations(case.dcid(0)):
        row["staffstatus"] = status


def shown_oddly(case: Case, value: object) -> None:
    account_id = case.bed.google.user(case.address("ada"))["id"]
    if value is None:
        case.bed.google.shown.pop(account_id, None)
    else:
        case.bed.google.shown[account_id] = lambda own: {**own, "name": value}


def shown_with(letter: str) -> Step:
    """Google shows the address with this letter in it."""

    def show(case: Case) -> None:
        account_id = case.bed.google.user(case.address("ada"))["id"]
        case.bed.google.shown[account_id] = lambda own: {**own, "primaryEmail": letter.join(own["primaryEmail"])}

    return show


OPEN, CLOSED = "open", "suspended"
SET = f"set {SCHEMA}.DCID of <%s> to <0>"
IN_HANDS_OFF = 'name it in HANDS_OFF: "<%s>": ("why", "until which day")'
DECIDE = "or decide it with --csv and --decide (README, step 6)"
NEW_ADDRESS = "give the person another address in PowerSchool"

# Somebody who left under an older record, with an account that carries its DCID.
OLD_RECORD = steps(
    lambda case: case.leaver(2, "Ada", "old"), account("old", "Ada", dcid=2, suspended=True, ou=SUSPENDED_OU)
)
WHOSE_ACCOUNT = (
    Situation(Rule.SKIPPED_OPEN, steps(
        lambda case: case.leaver(0, "Ada", "1234567@d118.org"), account("ada", "Ada", dcid=0)), (
        Way("if it is theirs, close it by hand", console("ada", suspended=True), {"ada": (0, CLOSED)}),
        Way("if not, correct its DCID", has_dcid("ada", None), {"ada": (None, OPEN)}),
    )),
    # The second account is nobody's, or a colleague's who is told as well.
    Situation(Rule.TWO_ACCOUNTS, steps(ada(), in_step(), account("old", "Ada", dcid=0)), (
        Way(f"empty {SCHEMA}.DCID of the wrong one", has_dcid("old", None), {"ada": (0, OPEN), "old": (None, OPEN)}),
    )),
    Situation(Rule.TWO_ACCOUNTS, steps(ada(), in_step(), bea(), account("bea", "Bea", "Hill", dcid=0)), (
        Way(f"empty {SCHEMA}.DCID of the wrong one", has_dcid("bea", None),
            {"ada": (0, OPEN), "bea": (1, OPEN)}, ("bea",)),
    ), also=(Rule.ADDRESS_TAKEN,)),
    # Two people, or two records of one; the account carries the DCID of the first, or none.
    Situation(Rule.TWO_PEOPLE, steps(ada(), in_step(), lambda case: case.person(1, "Adam", "ada")), (
        Way("give one of them another address", powerschool(1, email_addr="new"),
            {"ada": (0, OPEN), "new": (1, OPEN)}, ("new",)),
        Way("if both records are one person's, take it out of the one whose DCID its account does not carry",
            powerschool(1, email_addr=None), {"ada": (0, OPEN)}),
    )),
    Situation(Rule.TWO_PEOPLE, steps(
        ada(), account("ada", "Ada", employee_id="X"),
        lambda case: case.person(1, "Ada", "ada", teacher_number="X")), (
        Way("give one of them another address", powerschool(0, email_addr="new"),
            {"ada": (1, OPEN), "new": (0, OPEN)}, ("ada", "new")),
        Way("if both records are one person's, take it out of the one", powerschool(1, email_addr=None),
            {"ada": (0, OPEN)}, ("ada",)),
    )),
    # A DCID on the wrong account, and a record in PowerSchool that was typed over.
    Situation(Rule.SOMEBODY_ELSES, steps(ada(), account("bea", "Bea", "Hill", dcid=0)), (
        Way("correct the DCID there", has_dcid("bea", None), {"ada": (0, OPEN), "bea": (None, OPEN)}, ("ada",)),
    )),
    Situation(Rule.SOMEBODY_ELSES, steps(ada(), bea(), account("bea", "Bea", "Hill", dcid=0)), (
        Way("correct the DCID there", has_dcid("bea", 1), {"ada": (0, OPEN), "bea": (1, OPEN)}, ("ada", "bea")),
    ), also=(Rule.ADDRESS_TAKEN,)),
    Situation(Rule.SOMEBODY_ELSES, steps(
        lambda case: case.person(0, "Bea", "bea", family="Hill"), account("ada", "Ada", dcid=0)), (
        Way("or the person in PowerSchool", lambda case: case.powerschool(
            0, first_name=case.name("Ada"), last_name=case.name("Stone"), email_addr="ada"),
            {"ada": (0, OPEN)}, ("ada",)),
    )),
    # Found by the address; by the names alone, at another address.
    Situation(Rule.LEFT_OPEN, steps(ada_left(), account("ada", "Ada")), (
        Way("if it is theirs, suspend it", console("ada", suspended=True), {"ada": (None, CLOSED)}),
        Way(SET % "ada", has_dcid("ada", 0), {"ada": (0, CLOSED)}, ("ada",)),
        Way(f"if not, {IN_HANDS_OFF % 'ada'}", hands_off("ada"), {"ada": (None, OPEN)}),
        Way(DECIDE, decided("ada", "link"), {"ada": (0, CLOSED)}, ("ada",)),
        Way(DECIDE, decided("ada", "leave"), {"ada": (None, OPEN)}),
    )),
    Situation(Rule.LEFT_OPEN, steps(ada_left(), account("old", "Ada", ou="/")), (
        Way("if it is theirs, suspend it", console("old", suspended=True), {"old": (None, CLOSED)}),
        Way(SET % "old", has_dcid("old", 0), {"old": (0, CLOSED)}, ("old",)),
        Way(f"if not, {IN_HANDS_OFF % 'old'}", hands_off("old"), {"old": (None, OPEN)}),
    )),
)  # fmt: skip
ADDRESSES = (
    Situation(Rule.FAULTY_ADDRESS, lambda case: case.person(0, "Ada", "ada..stone@d118.org"), (
        Way("correct it in PowerSchool", powerschool(0, email_addr="ada"), {"ada": (0, OPEN)}, ("ada",)),
    )),
    Situation(Rule.FAULTY_ADDRESS, steps(
        ada(), in_step(), lambda case: case.bed.powerschool.person(case.dcid(0)).update(email_addr="a..b@d118.org")), (
        Way("correct PowerSchool", powerschool(0, email_addr="ada"), {"ada": (0, OPEN)}),
    )),
    # The account is hers by name, and carries a colleague's DCID; then hers is the colleague's indeed.
    Situation(Rule.ADDRESS_TAKEN, steps(ada(), bea(), account("ada", "Ada", dcid=1)), (
        Way(SET % "ada", has_dcid("ada", 0), {"ada": (0, OPEN), "bea": (1, OPEN)}, ("ada", "bea")),
    ), also=(Rule.SOMEBODY_ELSES,)),
    Situation(Rule.ADDRESS_TAKEN, steps(ada(), bea(), account("ada", "Ada", dcid=1), account("bea", "Bea",
        "Hill", dcid=1)), (
        Way(SET % "ada", has_dcid("ada", 0), {"ada": (0, OPEN), "bea": (1, OPEN)}, ("ada", "bea")),
    ), also=(Rule.TWO_ACCOUNTS,)),
    Situation(Rule.ADDRESS_TAKEN, steps(
        bea(), in_step(1), lambda case: case.powerschool(1, email_addr=None), lambda case: case.person(0,
            "Ada", "bea")), (
        Way(NEW_ADDRESS, powerschool(0, email_addr="ada"), {"ada": (0, OPEN), "bea": (1, OPEN)}, ("ada",)),
    )),
    # Bea had the address before she married, and keeps it as an alias.
    Situation(Rule.ADDRESS_TAKEN, steps(
        ada(), bea(), in_step_with_alias), (
        Way("remove the alias there", lambda case: case.remove_alias("bea", "ada"),
            {"ada": (0, OPEN), "bea": (1, OPEN)}, ("ada",)),
        Way(NEW_ADDRESS, powerschool(0, email_addr="new"), {"new": (0, OPEN), "bea": (1, OPEN)}, ("new",)),
    )),
    # A namesake's account is never advised into HANDS_OFF, as it is a colleague's.
    Situation(Rule.ADDRESS_TAKEN, steps(
        ada(), lambda case: case.person(1, "Ada", "bea"), in_step_with_alias), (
        Way(f"if not, {NEW_ADDRESS}$",
            powerschool(0, email_addr="new"), {"new": (0, OPEN), "bea": (1, OPEN)}, ("new",)),
    )),
    # The alias of an account without DCID.
    Situation(Rule.ADDRESS_TAKEN, steps(ada(), account("desk", "Front", "Desk", aliases=["ada"])), (
        Way(f"if it is theirs, {SET % 'desk'}",
            becomes_hers("desk"),
            {"ada": (0, OPEN)}, ("ada",)),
        Way("if not, remove the alias there", lambda case: case.remove_alias("desk", "ada"),
            {"ada": (0, OPEN), "desk": (None, OPEN)}, ("ada",)),
        Way(f"or {NEW_ADDRESS}", powerschool(0, email_addr="new"), {"new": (0, OPEN), "desk": (None, OPEN)}, ("new",)),
    )),
    Situation(Rule.ADDRESS_TAKEN, steps(ada(), lambda case: case.bed.google.add_group(case.address("ada"))), (
        Way("give the group or person another", powerschool(0, email_addr="new"), {"new": (0, OPEN)}, ("new",)),
        Way("give the group or person another", lambda case: regrouped(case, "ada", "desk"),
            {"ada": (0, OPEN)}, ("ada",)),
    )),
    # A rename to an address that another account holds, or has as an alias.
    Situation(Rule.ADDRESS_TAKEN, steps(
        ada(), in_step(), account("new", "Front", "Desk"), powerschool(0, email_addr="new")), (
        Way("give that account another address and remove the alias that this leaves",
            steps(lambda case: case.rename_in_console("new", "desk"), lambda case: case.remove_alias("desk", "new")),
            {"new": (0, OPEN), "desk": (None, OPEN)}, ("new",)),
        Way("or correct PowerSchool", powerschool(0, email_addr="ada"), {"ada": (0, OPEN), "new": (None, OPEN)}),
    )),
    Situation(Rule.ADDRESS_TAKEN, steps(
        ada(), in_step(), account("desk", "Front", "Desk", aliases=["new"]), powerschool(0, email_addr="new")), (
        Way("remove the alias there", lambda case: case.remove_alias("desk", "new"),
            {"new": (0, OPEN), "desk": (None, OPEN)}, ("new",)),
        Way("or correct PowerSchool", powerschool(0, email_addr="ada"), {"ada": (0, OPEN), "desk": (None, OPEN)}),
    )),
    # Two people exchanged their addresses; both lines say the same steps.
    Situation(Rule.ADDRESS_TAKEN, steps(
        ada(), bea(), in_step(0), in_step(1), powerschool(0, email_addr="bea"), powerschool(1, email_addr="ada")), (
        Way("in the Admin console give <ada> a third address and remove its alias <ada>, then give <bea> the address "
            "<ada> and remove its alias <bea>",
            steps(lambda case: case.rename_in_console("ada", "third"), lambda case: case.remove_alias("third", "ada"),
                  lambda case: case.rename_in_console("bea", "ada"), lambda case: case.remove_alias("ada", "bea")),
            {"bea": (0, OPEN), "ada": (1, OPEN)}, ("bea",)),
        Way("or correct PowerSchool", steps(powerschool(0, email_addr="ada"), powerschool(1, email_addr="bea")),
            {"ada": (0, OPEN), "bea": (1, OPEN)}),
    )),
    Situation(Rule.RECENTLY_DELETED, steps(ada(), lambda case: deleted(case, None)), (
        Way("restore it in the Admin console", restored, {"ada": (0, OPEN)}, ("ada",)),
        Way("if it is not theirs, give the person another address", powerschool(0, email_addr="new"),
            {"new": (0, OPEN)}, ("new",)),
        Way("or wait until 20 days are over", aged, {"ada": (0, OPEN)}, ("ada",)),
        Way(DECIDE, decided("ada", "create"), {"ada": (0, OPEN)}),
    )),
    Situation(Rule.RECENTLY_DELETED, steps(ada(), lambda case: deleted(case, 0)), (
        Way("restore it in the Admin console", restored, {"ada": (0, OPEN)}, ("ada",)),
        Way("or wait until 20 days are over", aged, {"ada": (0, OPEN)}, ("ada",)),
    )),
    Situation(Rule.NOT_LOOKED_UP, steps(ada(), unanswered), (
        Way("the next run tries again", lambda case: case.bed.google.behave(), {"ada": (0, OPEN)}, ("ada",)),
    )),
    # A group is no account, so no listing shows that it has the new address.
    Situation(Rule.FAILED, steps(
        ada(), in_step(), lambda case: case.bed.google.add_group(case.address("new")), powerschool(0,
            email_addr="new")), (
        Way("put right what Google says", powerschool(0, email_addr="ada"), {"ada": (0, OPEN)}),
        Way("put right what Google says", lambda case: regrouped(case, "new", "desk"), {"new": (0, OPEN)}, ("new",)),
    )),
)  # fmt: skip
TWINS = (
    Situation(Rule.POSSIBLE_ACCOUNT, steps(ada(), account("old", "Ada")), (
        Way(f"if it is theirs, {SET % 'old'}", has_dcid("old", 0), {"ada": (0, OPEN)}, ("ada",)),
        Way(f"if not, {IN_HANDS_OFF % 'old'}", hands_off("old"), {"ada": (0, OPEN), "old": (None, OPEN)}, ("ada",)),
        Way(DECIDE, decided("old", "link"), {"ada": (0, OPEN)}, ("ada",)),
        Way(DECIDE, decided("old", "create"), {"ada": (0, OPEN), "old": (None, OPEN)}),
        Way(DECIDE, decided("old", "leave"), {"old": (None, OPEN)}),
    )),
    # Two namesakes: every one of them is named at once.
    Situation(Rule.POSSIBLE_ACCOUNT, steps(ada(), account("old", "Ada"), account("desk", "Ada", ou="/")), (
        Way(SET % "old", has_dcid("old", 0), {"ada": (0, OPEN), "desk": (None, OPEN)}, ("ada",)),
        Way(SET % "desk", has_dcid("desk", 0), {"ada": (0, OPEN), "old": (None, OPEN)}, ("ada",)),
        Way(IN_HANDS_OFF % "desk", steps(hands_off("old"), hands_off("desk")),
            {"ada": (0, OPEN), "old": (None, OPEN), "desk": (None, OPEN)}, ("ada",)),
        Way(DECIDE, steps(decided("old", "create"), decided("desk", "create")),
            {"ada": (0, OPEN), "old": (None, OPEN), "desk": (None, OPEN)}),
    )),
    # Without an address, by the employee ID.
    Situation(Rule.POSSIBLE_ACCOUNT, steps(
        lambda case: case.person(0, "Ada", None, teacher_number=f"N{case.code}"),
        lambda case: case.account("old", "Zed", "Hill", employee_id=f"N{case.code}")), (
        Way(SET % "old", becomes_hers("old"),
            {"old": (0, OPEN)}, ("old",)),
        Way(f"if not, {IN_HANDS_OFF % 'old'}", hands_off("old"), {"old": (None, OPEN)}),
    )),
    # The address is an alias of what looks like her own account.
    Situation(Rule.POSSIBLE_ACCOUNT, steps(ada(), account("old", "Ada", aliases=["ada"])), (
        Way(f"if it is theirs, {SET % 'old'}", has_dcid("old", 0), {"ada": (0, OPEN)}, ("ada",)),
        Way(f"if not, {NEW_ADDRESS} and {IN_HANDS_OFF % 'old'}",
            steps(powerschool(0, email_addr="new"), hands_off("old")),
            {"new": (0, OPEN), "old": (None, OPEN)}, ("new",)),
        Way(DECIDE, decided("old", "link"), {"ada": (0, OPEN)}, ("ada",)),
    )),
    # Back under a new record: at the old address, whose holder is somebody else or has the same names; at a new one.
    Situation(Rule.PROBABLE_REHIRE, steps(
        ada(), lambda case: case.leaver(2, "Zed", "old", family="Hill"),
        account("ada", "Zed", "Hill", dcid=2, suspended=True, ou=SUSPENDED_OU)), (
        Way(f"if it is theirs, {SET % 'ada'}", becomes_hers("ada"),
            {"ada": (0, OPEN)}, ("ada",)),
        Way(f"if not, {NEW_ADDRESS}",
            powerschool(0, email_addr="new"), {"new": (0, OPEN), "ada": (2, CLOSED)}, ("new",)),
    )),
    Situation(Rule.PROBABLE_REHIRE, steps(
        lambda case: case.person(0, "Ada", "old"), OLD_RECORD), (
        Way(f"if it is theirs, {SET % 'old'}", has_dcid("old", 0), {"old": (0, OPEN)}, ("old",)),
        Way(f"if not, {NEW_ADDRESS} and {IN_HANDS_OFF % 'old'}",
            steps(powerschool(0, email_addr="new"), hands_off("old")),
            {"new": (0, OPEN), "old": (2, CLOSED)}, ("new",)),
        Way(DECIDE, decided("old", "link"), {"old": (0, OPEN)}, ("old",)),
        Way(DECIDE, decided("old", "leave"), {"old": (2, CLOSED)}),
    )),
    Situation(Rule.PROBABLE_REHIRE, steps(ada(), OLD_RECORD), (
        Way(f"if it is theirs, {SET % 'old'}", has_dcid("old", 0), {"ada": (0, OPEN)}, ("ada",)),
        Way(f"if not, {IN_HANDS_OFF % 'old'}", hands_off("old"), {"ada": (0, OPEN), "old": (2, CLOSED)}, ("ada",)),
        Way(DECIDE, decided("old", "link"), {"ada": (0, OPEN)}, ("ada",)),
        Way(DECIDE, decided("old", "create"), {"ada": (0, OPEN), "old": (2, CLOSED)}),
    )),
    Situation(Rule.PROBABLE_REHIRE, steps(
        ada(), lambda case: case.account("ada", "Ada", dcid=3, employee_id=f"T{case.dcid(0)}")), (
        Way(f"if it is theirs, {SET % 'ada'}", has_dcid("ada", 0), {"ada": (0, OPEN)}, ("ada",)),
    ), also=(Rule.OPEN_FOR_NOBODY,)),
    Situation(Rule.NOT_LINKED, steps(ada(), account("ada", "Zed", "Hill")), (
        Way(f"if it is theirs, {SET % 'ada'}", becomes_hers("ada"),
            {"ada": (0, OPEN)}, ("ada",)),
        Way(f"if not, {NEW_ADDRESS}",
            powerschool(0, email_addr="new"), {"new": (0, OPEN), "ada": (None, OPEN)}, ("new",)),
        Way(DECIDE, decided("ada", "leave"), {"ada": (None, OPEN)}),
    )),
    # Two namesakes, each with the address of the account that has the other one's employee ID.
    Situation(Rule.NOT_LINKED, steps(
        ada(), lambda case: case.person(1, "Ada", "bea"),
        lambda case: case.account("ada", "Ada", employee_id=f"T{case.dcid(1)}"),
        lambda case: case.account("bea", "Ada", employee_id=f"T{case.dcid(0)}")), (
        Way(f"if it is theirs, {SET % 'ada'}", has_dcid("ada", 0),
            {"ada": (0, OPEN), "bea": (1, OPEN)}, ("ada", "bea")),
        Way("if not, correct the addresses of both in PowerSchool",
            steps(powerschool(0, email_addr="bea"), powerschool(1, email_addr="ada")),
            {"ada": (1, OPEN), "bea": (0, OPEN)}, ("ada", "bea")),
        Way(DECIDE, decided("ada", "link"), {"ada": (0, OPEN), "bea": (1, OPEN)}, ("ada", "bea")),
    )),
    Situation(Rule.NOT_LINKED, steps(ada(), account("ada", "Ada", delegated=True)), (
        Way(SET % "ada", has_dcid("ada", 0), {"ada": (0, OPEN)}, ("ada",)),
        Way(f"if not, {NEW_ADDRESS} and {IN_HANDS_OFF % 'ada'}",
            steps(powerschool(0, email_addr="new"), hands_off("ada")),
            {"new": (0, OPEN), "ada": (None, OPEN)}, ("new",)),
    )),
)  # fmt: skip
LOCKED = f"{SUSPENDED_OU}/Locked"
STATES = (
    Situation(Rule.HANDS_OFF_OVER, steps(ada(), in_step(ou=MIDDLE_OU), hands_off("ada", "2020-01-31")), (
        Way("remove the entry", lambda case: case.no_hands_off("ada"), {"ada": (0, OPEN)}, ("ada",)),
        Way("or give it a new day", hands_off("ada"), {"ada": (0, OPEN)}),
    )),
    Situation(Rule.SUPER_ADMIN_LEFT, steps(ada_left(), in_step(suspended=False, ou=HIGH_OU, admin=True)), (
        Way("close it in the Admin console", console("ada", suspended=True), {"ada": (0, CLOSED)}),
    )),
    Situation(Rule.ARCHIVED, steps(ada(), in_step(archived=True)), (
        Way("unarchive it in the Admin console", console("ada", archived=False), {"ada": (0, OPEN)}),
        Way(f"if it is to stay so, {IN_HANDS_OFF % 'ada'}", hands_off("ada"), {"ada": (0, OPEN)}),
    )),
    *(
        Situation(Rule.LOCKED_OUT, steps(ada(), in_step(suspended=True, **how)), (
            Way("if they work here, open it in the Admin console",
                lambda case: case.console_state("ada", suspended=False, suspensionReason=""),
                {"ada": (0, OPEN)}, ("ada",) if how.get("ou") in {LOCKED, SUSPENDED_OU} else ()),
            Way(f"if it is to stay so, {IN_HANDS_OFF % 'ada'}", hands_off("ada"), {"ada": (0, CLOSED)}),
        ))
        for how in ({"ou": HIGH_OU}, {"ou": LOCKED}, {"reason": "ABUSE"}, {"ou": SUSPENDED_OU, "delegated": True})
    ),
    *(
        Situation(Rule.LINKED_LATER, steps(ada(), account("ada", "Ada", **how)), (
            Way(f"if they work here, {way} it in the Admin console",
                console("ada", archived=False, suspended=False), {"ada": (0, OPEN)}, ("ada",)),
            Way(f"if it is to stay so, {IN_HANDS_OFF % 'ada'}", hands_off("ada"), {"ada": (None, state)}),
        ))
        for how, way, state in (
            ({"suspended": True}, "open", CLOSED), ({"suspended": True, "ou": LOCKED}, "open", CLOSED),
            ({"archived": True}, "unarchive", OPEN),
        )
    ),
    Situation(Rule.NAME_DIFFERS, steps(
        ada(), in_step(), lambda case: case.powerschool(0, last_name=case.name("Married"))), (
        Way("if PowerSchool is right, change it in the Admin console",
            lambda case: case.console("ada", name={"familyName": case.name("Married")}), {"ada": (0, OPEN)}),
        Way("if not, correct PowerSchool", lambda case: case.powerschool(0, last_name=case.name("Stone")),
            {"ada": (0, OPEN)}),
    )),
    Situation(Rule.HOME_SCHOOL, steps(ada(), in_step(), powerschool(0, homeschoolid=None)), (
        Way("choose one there", powerschool(0, homeschoolid=5), {"ada": (0, OPEN)}),
    )),
    Situation(Rule.HOME_SCHOOL, ada(homeschool=777), (
        Way("correct it in PowerSchool", powerschool(0, homeschoolid=5), {"ada": (0, OPEN)}, ("ada",)),
        Way("or name its org unit in BUILDING_OUS", lambda case: case.bed.settings.update(BUILDING_OUS={777: HIGH_OU}),
            {"ada": (0, OPEN)}, ("ada",)),
    )),
    Situation(Rule.FAULTY_NAME, lambda case: case.person(0, "", "ada"), (
        Way("correct it in PowerSchool", lambda case: case.powerschool(0, first_name=case.name("Ada")),
            {"ada": (0, OPEN)}, ("ada",)),
    )),
    Situation(Rule.FAULTY_NAME, lambda case: case.person(0, "Ada" * 20, "ada"), (
        Way("correct it in PowerSchool", lambda case: case.powerschool(0, first_name=case.name("Ada")),
            {"ada": (0, OPEN)}, ("ada",)),
    )),
    Situation(Rule.FAULTY_NAME, lambda case: case.person(0, "<Ada>", "ada"), (
        Way("correct it in PowerSchool", lambda case: case.powerschool(0, first_name=case.name("Ada")),
            {"ada": (0, OPEN)}, ("ada",)),
    )),
    Situation(Rule.MISSING_ORG_UNIT, steps(
        lambda case: case.bed.powerschool.add_school(888, "New School"), ada(schools={888: 1})), (
        Way("name another one in BUILDING_OUS", lambda case: case.bed.settings.update(BUILDING_OUS={888: MIDDLE_OU}),
            {"ada": (0, OPEN)}, ("ada",)),
    )),
    Situation(Rule.MISSING_ORG_UNIT, steps(
        lambda case: case.bed.powerschool.add_school(889, "Other School"), ada(schools={889: 1})), (
        Way("create it with --setup",
            lambda case: case.bed.google.add_org_unit("/D118 Staff/Other School Staff"), {"ada": (0, OPEN)}, ("ada",)),
    )),
    Situation(Rule.MISSING_ORG_UNIT, steps(
        ada(), in_step(), lambda case: case.bed.powerschool.add_school(890, "Prairie Academy"),
        powerschool(0, homeschoolid=890)), (
        Way("rename the org unit of a school that was renamed", steps(
            lambda case: case.bed.google.add_org_unit("/D118 Staff/Prairie Academy Staff"),
            console("ada", orgUnitPath="/D118 Staff/Prairie Academy Staff")), {"ada": (0, OPEN)}),
    )),
    Situation(Rule.VALUE, steps(
        ada(cell_phone="1"), in_step(), lambda case: case.bed.powerschool.add_extension(case.dcid(0), "2")), (
        Way("delete all but one", lambda case: case.bed.powerschool.extension.remove(
            {"usersdcid": case.dcid(0), "cellphone": "2"}), {"ada": (0, OPEN)}),
    )),
    Situation(Rule.VALUE, steps(ada(group=7), in_step(), powerschool(0, groupvalue="blue")), (
        Way("does not fit Synchronization_Data.Staff_Group (INT64, 500 characters): correct it in PowerSchool",
            powerschool(0, groupvalue=7), {"ada": (0, OPEN)}),
    )),
    Situation(Rule.VALUE, steps(ada(), in_step(), lambda case: staff_status(case, "X")), (
        Way("correct it in PowerSchool", lambda case: staff_status(case, 1), {"ada": (0, OPEN)}),
    )),
    Situation(Rule.ADMIN_ROLE, steps(ada_left(), in_step(delegated=True)), (
        Way("take it away in the Admin console", lambda case: case.console_state("ada", isDelegatedAdmin=False),
            {"ada": (0, CLOSED)}),
    )),
    # The account of a vendor; and one with a mistyped DCID.
    Situation(Rule.OPEN_FOR_NOBODY, account("old", "Zed", dcid=3), (
        Way("or suspend it", console("old", suspended=True), {"old": (3, CLOSED)}),
        Way(f"if it is to stay open, {IN_HANDS_OFF % 'old'}", hands_off("old"), {"old": (3, OPEN)}),
        Way("correct its DCID", has_dcid("old", None), {"old": (None, OPEN)}),
    )),
    Situation(Rule.UNREADABLE, steps(ada(), in_step(), lambda case: shown_oddly(case, [5])), (
        Way("look at it in the Admin console", lambda case: shown_oddly(case, None), {"ada": (0, OPEN)}),
    ), also=(Rule.NOT_LOOKED_UP,)),
)  # fmt: skip
SITUATIONS = (*WHOSE_ACCOUNT, *ADDRESSES, *TWINS, *STATES)
# Where a district wants no account linked by its address, so that every link is made by hand.
BY_HAND = (
    Situation(Rule.NOT_LINKED, steps(ada(), account("ada", "Ada")), (
        Way(f"if it is theirs, {SET % 'ada'}", has_dcid("ada", 0), {"ada": (0, OPEN)}, ("ada",)),
        Way(f"if not, {NEW_ADDRESS} and {IN_HANDS_OFF % 'ada'}",
            steps(powerschool(0, email_addr="new"), hands_off("ada")),
            {"new": (0, OPEN), "ada": (None, OPEN)}, ("new",)),
    )),
    Situation(Rule.NOT_LINKED, steps(ada(), account("ada", "Ada", suspended=True, ou=SUSPENDED_OU)), (
        Way(f"if it is theirs, {SET % 'ada'}", has_dcid("ada", 0), {"ada": (0, OPEN)}, ("ada",)),
        Way(f"if not, {NEW_ADDRESS} and {IN_HANDS_OFF % 'ada'}",
            steps(powerschool(0, email_addr="new"), hands_off("ada")),
            {"new": (0, OPEN), "ada": (None, CLOSED)}, ("new",)),
    )),
)  # fmt: skip


def add_colleagues(bed: Bed, count: int = COLLEAGUES) -> None:
    """People in step, whom nobody may touch."""
    for dcid in range(1, count + 1):
        first, last = f"Colleague{letters_of(dcid)}", f"Settled{letters_of(dcid)}"
        bed.powerschool.add_person(dcid, first, last, f"colleague{dcid}@d118.org", schools={5: 1})
        # Every other one is known by another given name, which a change for everybody would overwrite.
        matching_account(bed, dcid, given=f"Call{letters_of(dcid)}" if dcid % 2 else first)


@pytest.mark.parametrize("number", range(max(len(situation.ways) for situation in SITUATIONS)))
def test_who_does_what_the_line_says_is_right_and_never_told_again_and_nobody_else_is_touched(
    bed: Bed, number: int
) -> None:
    obey_all(bed, SITUATIONS, number)


@pytest.mark.parametrize("number", range(2))
def test_who_links_by_hand_as_the_line_says_is_right_where_no_account_is_linked_by_its_address(
    bed: Bed, number: int
) -> None:
    bed.settings["LINK_BY_EMAIL"] = False
    obey_all(bed, BY_HAND, number)


def obey_all(bed: Bed, situations: tuple[Situation, ...], number: int) -> None:
    """In every situation that has so many ways out the admin takes this one."""
    bed.settings["LIMITS"] = dict.fromkeys(bed.setting("LIMITS"), 1000)
    bed.environment["NEW_USER_PASSWORD"] = "Welcome-to-school-2026"
    add_colleagues(bed)
    served = [one for one in situations if number < len(one.ways)]
    cases = [(Case(bed, place), one, one.ways[number]) for place, one in enumerate(served)]
    for case, situation, _way in cases:
        situation.build(case)

    told = bed.run()
    lines = told.lines("ERROR") + told.lines("WARN")
    assert told.exit_code == 1
    amiss = [words for case, situation, way in cases for words in not_offered(case, situation, way, lines)]
    assert not amiss, "\n".join(amiss)

    for case, _situation, way in cases:
        way.obey(case)
    decisions = {key: word for case, _, _ in cases for key, word in case.decisions.items()}
    if decisions:
        type_in(bed, decisions)
        answered = answers(carry_out(bed))
        assert [line for line in answered if not line.endswith(": done")] == []
        assert len(answered) == len(decisions)
    before = bed.google.snapshot()["users"]
    outcome = bed.run()

    after = bed.google.snapshot()["users"]
    assert outcome.lines("ERROR") + outcome.lines("WARN") == [], outcome.output
    assert outcome.exit_code == 0
    found = {case.address(local): state_of(bed, case.address(local)) for case, _, way in cases for local in way.right}
    assert found == {
        case.address(local): state_wanted(case, *wanted)
        for case, _, way in cases
        for local, wanted in way.right.items()
    }
    changed = {user["primaryEmail"] for user_id, user in after.items() if before.get(user_id) != user}
    assert changed == {case.address(local) for case, _, way in cases for local in way.written}
    assert bed.run().writes == []


def not_offered(case: Case, situation: Situation, way: Way, lines: list[str]) -> list[str]:
    """What is wrong with the lines about a situation: the way out is not among them, or other rules are."""
    mine = [line for line in lines if of_case(line, case) and not line.startswith("Not done: ")]
    wanted = {rule.label for rule in (situation.rule, *situation.also)}
    told = [f"{line}$" for line in mine if line.startswith(situation.rule.label)]
    is_offered = any(case.words(way.words) in line for line in told)
    is_all = {line.partition(": ")[0] for line in mine} == wanted
    return [] if is_offered and is_all else [f"{case.words(way.words)!r} of {sorted(wanted)} is not offered by {mine}"]


def of_case(line: str, case: Case) -> bool:
    """True for a line about this situation's people and accounts."""
    ids = [f"DCID {case.dcid(person)}" for person in range(4)]
    return f"-{case.code}@" in line or any(f"{one}{end}" in line for one in ids for end in "), :")


def state_wanted(case: Case, number: int | None, state: str) -> tuple[str | None, str]:
    return (None if number is None else str(case.dcid(number)), state)


def state_of(bed: Bed, email: str) -> tuple[str | None, str]:
    """The DCID on the account that has this as its primary address, and whether it is open."""
    users = bed.google.snapshot()["users"].values()
    user = next((one for one in users if one["primaryEmail"] == email), None)
    if user is None:
        return None, "missing"
    dcid = user.get("customSchemas", {}).get(SCHEMA, {}).get("DCID")
    return dcid, CLOSED if user["suspended"] else OPEN


# What is told of a run, a group, a file or a setting, or of a night only: each in a district of its own.


@dataclass(frozen=True)
class Trouble:
    """What is there, the line's words for the way out, and what the admin does; `then` are the arguments that it takes.

    `ask` are the arguments of the run that tells it.
    """

    rule: Rule
    build: Callable[[Bed], object]
    words: str
    obey: Callable[[Bed], object] = lambda _bed: None
    ask: tuple[str, ...] = ()
    then: tuple[str, ...] = ()


def a_group_that_refuses(bed: Bed) -> None:
    leaver(bed, 201, "George", "Bauer")
    bed.google.add_group("secret@d118.org", members={"george.bauer@d118.org": "MEMBER"}, editable=False)


def a_group_without_owner(bed: Bed) -> None:
    leaver(bed, 201, "George", "Bauer")
    bed.google.add_group("math@d118.org", members={"george.bauer@d118.org": "OWNER"})


def has_members(bed: Bed, *emails: str) -> None:
    """The only group has these members, each an owner."""
    (group,) = bed.google.groups.values()
    group["members"] = {bed.google.user(email)["id"]: "OWNER" for email in emails}


def used_by_its_owner(bed: Bed) -> None:
    bed.google.users[bed.google.user(MAYA)["id"]]["lastLoginTime"] = "2026-11-27T06:00:00.000Z"


def a_damaged_journal(bed: Bed) -> None:
    outdated(bed, 201)
    bed.run()
    journal = newest_journal(bed)
    (bed.folder / "backup").write_bytes(journal.read_bytes())
    journal.write_bytes(b"\n" + journal.read_bytes())


def several_refused(bed: Bed) -> None:
    for dcid in range(201, 230):
        outdated(bed, dcid)
    bed.google.fail("users.update", 403, "forbidden", "Not Authorized", times=None)


def a_rebuilt_powerschool(bed: Bed) -> None:
    """The DCIDs of before are other people's now."""
    for number in range(6):
        row = bed.powerschool.person(9000 + number)
        row["first_name"], row["last_name"] = f"New{letters_of(number)}", f"Other{letters_of(number)}"
        row["teachernumber"], row["email_addr"] = f"N{number}", f"new{number}@d118.org"


def looked_at_and_put_right(bed: Bed) -> None:
    explained = bed.run("--explain", "dcid:9000").output
    assert "looks like somebody else's: settled.quillaa@d118.org" in explained
    bed.powerschool.users.clear()
    bed.powerschool.school_staff.clear()
    bed.powerschool.extension.clear()
    bed.google.users.clear()
    bed.google.addresses.clear()
    colleagues(bed)


def nothing_set_up(bed: Bed) -> None:
    bed.google.org_units.pop("/d118 staff/wauconda high school staff")
    bed.google.write_service_account(bed.folder, scopes=SETUP_SCOPES)
    bed.google.add_user("admin@d118.org", "Ad", "Min", admin=True)
    bed.environment["GOOGLE_ADMIN_EMAIL"] = "admin@d118.org"


def setting(name: str, value: object) -> Callable[[Bed], object]:
    return lambda bed: bed.settings.update({name: value})


TROUBLES = {
    "a group that does not let go": Trouble(
        Rule.GROUP_STAYS, a_group_that_refuses, "take it out by hand", has_members),
    "a group without owner": Trouble(
        Rule.NO_OWNER, a_group_without_owner, "give it another one",
        lambda bed: has_members(bed, "settled.quillaa@d118.org")),
    "a password that nobody knows": Trouble(
        Rule.PASSWORD, lambda bed: person(bed, 201, "Maya", "Patel"), "reset it in the Admin console",
        used_by_its_owner),
    "a damaged journal, put right": Trouble(
        Rule.DAMAGED, a_damaged_journal, "put it right from a backup",
        lambda bed: (bed.folder / "backup").replace(newest_journal(bed))),
    "a damaged journal, moved away": Trouble(
        Rule.DAMAGED, a_damaged_journal, "or move it away",
        lambda bed: newest_journal(bed).replace(bed.folder / "damaged.jsonl")),
    "the admin lacks a right": Trouble(
        Rule.ENDED, several_refused, "whether the signed-in admin has the right for this",
        lambda bed: bed.google.behave()),
    "more than the limit": Trouble(
        Rule.LIMIT, lambda bed: [leaver(bed, 201), bed.settings.update(LIMITS={"suspend": 0})],
        "--allow suspend=1", then=("--allow", "suspend=1")),
    "more than the share": Trouble(
        Rule.LIMIT, lambda bed: [leaver(bed, dcid) for dcid in range(201, 206)],
        "--allow suspend=5", then=("--allow", "suspend=5")),
    "a misspelt domain": Trouble(
        Rule.IMPLAUSIBLE, setting("GOOGLE_DOMAINS", ["d18.org"]), "outside GOOGLE_DOMAINS: correct it in config.py",
        setting("GOOGLE_DOMAINS", ["d118.org"])),
    "a rebuilt PowerSchool": Trouble(
        Rule.IMPLAUSIBLE, a_rebuilt_powerschool, "Look at some of them with --explain before anything else: dcid:9000",
        looked_at_and_put_right),
    "a missing org unit": Trouble(
        Rule.MISSING, nothing_set_up, "create it with --setup", lambda bed: bed.run("--setup", "--yes"),
        ask=("--check",), then=("--dry-run",)),
    "a misspelt protected org unit": Trouble(
        Rule.FAULT, setting("PROTECTED_OUS", ["/Student"]), "did you mean /Students? Correct PROTECTED_OUS",
        setting("PROTECTED_OUS", ["/Students"])),
    "an entry that fits nobody, corrected": Trouble(
        Rule.SETTING, setting("GOOGLE_DOMAINS", ["d118.org", "d18.org"]), "correct it or take it out",
        setting("GOOGLE_DOMAINS", ["d118.org"])),
    "a misspelt org unit": Trouble(
        Rule.SETTING, setting("FROZEN_OUS", ["/Administrator"]), "did you mean /Administrators? Correct it there",
        setting("FROZEN_OUS", ["/Administrators"])),
}  # fmt: skip
# These end a run with a sentence of their own (test_bad_input, test_signing_in, a full disk in test_hard_days), or ask
# for nothing but patience or a report.
SENTENCES_OF_THEIR_OWN = {Rule.REFUSED, Rule.FULL_DISK, Rule.BUSY, Rule.BUG}


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=list(TROUBLES))
def test_what_is_told_of_a_run_a_group_or_a_setting_is_over_once_it_is_put_right(bed: Bed, trouble: Trouble) -> None:
    colleagues(bed)
    trouble.build(bed)
    told = bed.run(*trouble.ask)
    wanted = [line for line in told.output.splitlines() if trouble.words in line and " Not done: " not in line]
    assert len(wanted) == 1, told.output
    assert re.search(" (ERROR|WARN|FAULT) ", wanted[0])

    trouble.obey(bed)
    outcome = bed.run(*trouble.then)

    assert [line for line in outcome.output.splitlines() if re.search(" (ERROR|WARN|FAULT) ", line)] == []
    assert outcome.exit_code == 0


def test_every_rule_that_asks_for_a_person_has_its_situations() -> None:
    asking = {rule for rule in Rule if rule.level == ERROR}
    asking |= {Rule.NAME_DIFFERS, Rule.NO_OWNER, Rule.PASSWORD, Rule.SETTING}
    obeyed = {situation.rule for situation in SITUATIONS} | {trouble.rule for trouble in TROUBLES.values()}
    assert obeyed == asking - SENTENCES_OF_THEIR_OWN


# A leaver cut off between suspension and move, whose record is corrected before the next run.


def an_hour_later(bed: Bed) -> None:
    bed.google.now = lambda: datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)


def suspended_anew(case: Case) -> None:
    case.console("ada", suspended=False)
    case.console("ada", suspended=True)


def refuse(case: Case, *of_body: str, is_lost: bool = False) -> None:
    """Google refuses to change this of the account; or the request never arrives, for as long as it is tried."""
    account_id = case.bed.google.user(case.address("ada"))["id"]
    case.bed.google.fail(
        "users.update", 403, "forbidden", "Not Authorized", close=is_lost, times=None if is_lost else 1,
        match=lambda request: request.params["userKey"] == account_id and {*of_body} <= {*(request.body or {})},
    )  # fmt: skip


def nothing(_case: Case) -> None:
    pass


# What Google refuses of the closing; what an admin does afterwards; whether the correction opens the account.
MOVE, SUSPEND, LOST, NOTHING = ("orgUnitPath",), ("suspended",), ("orgUnitPath", "lost"), ("nothing",)
CUT_OFF: dict[str, tuple[tuple[str, ...], Step, bool]] = {
    "nobody has touched it since": (MOVE, nothing, True),
    "whether it was moved was never known": (LOST, nothing, True),
    "an admin has suspended it since": (MOVE, suspended_anew, False),
    "the suspension was refused, and an admin made it": (SUSPEND, console("ada", suspended=True), False),
    "closed whole, and an admin has moved it back": (NOTHING, console("ada", orgUnitPath=HIGH_OU), False),
    "moved to another org unit": (MOVE, console("ada", orgUnitPath=MIDDLE_OU), False),
    "locked for good": (MOVE, console("ada", orgUnitPath=LOCKED), False),
    "with an admin role": (MOVE, lambda case: case.console_state("ada", isDelegatedAdmin=True), False),
    "locked by Google": (MOVE, lambda case: case.console_state("ada", suspensionReason="ABUSE"), False),
}


@pytest.mark.parametrize("tells_time", [True, False], ids=["with suspensionTime", "without"])
def test_a_closing_that_was_cut_off_is_opened_again_and_what_an_admin_closed_never(bed: Bed, tells_time: bool) -> None:
    bed.google.world.tells_suspension_time = tells_time
    bed.settings["LIMIT_SHARE"] = 1.0
    # Where Google does not say since when, a second suspension in place cannot be told from the first.
    rows = {name: row for name, row in CUT_OFF.items() if tells_time or row[1] is not suspended_anew}
    cases = {name: Case(bed, number) for number, name in enumerate(rows)}
    bed.powerschool.add_person(1, "Sam", "Stays", "sam.stays@d118.org", schools={5: 1})
    matching_account(bed, 1)
    for name, case in cases.items():
        case.leaver(0, "Ada", "ada")
        case.in_step(0, suspended=False, ou=HIGH_OU)
        bed.google.add_group(f"group-{case.code}@d118.org", members={case.address("ada"): "MEMBER"})
        refuse(case, rows[name][0][0], is_lost=rows[name][0] == LOST)
    closing = bed.run()
    assert closing.exit_code == 1
    assert {state_of(bed, case.address("ada"))[1] for case in cases.values()} == {OPEN, CLOSED}

    bed.google.behave()
    bed.google.world.tells_suspension_time = tells_time
    an_hour_later(bed)
    for name, case in cases.items():
        rows[name][1](case)
        for row in bed.powerschool.affiliations(case.dcid(0)):
            row["status"] = 1
    before = bed.google.snapshot()["users"]
    outcome = bed.run()

    opened = {name for name, case in cases.items() if state_of(bed, case.address("ada"))[1] == OPEN}
    assert opened == {name for name, row in rows.items() if row[2]}, outcome.output
    untouched = [cases[name].address("ada") for name in rows if name not in opened]
    after = bed.google.snapshot()["users"]
    changed = {user["primaryEmail"] for user_id, user in after.items() if before[user_id] != user}
    assert not changed & {*untouched}
    told = {line.split(", ")[1].split()[0] for line in outcome.lines("ERROR") if line.startswith("locked out")}
    assert told == {*untouched}
    reopened = cases["nobody has touched it since"]
    assert f"--undo {closing_run(bed)} --only dcid:{reopened.dcid(0)}" in outcome.output

    # Once it was opened again, the closing is no more: who suspends it then means it.
    reopened.console("ada", suspended=True)
    bed.run()
    assert state_of(bed, reopened.address("ada"))[1] == CLOSED


def closing_run(bed: Bed) -> str:
    return min(path.stem for path in bed.runs.glob("*.jsonl"))


def test_an_opening_that_google_refused_is_tried_again(bed: Bed) -> None:
    case = Case(bed, 0)
    bed.powerschool.add_person(1, "Sam", "Stays", "sam.stays@d118.org", schools={5: 1})
    matching_account(bed, 1)
    case.leaver(0, "Ada", "ada")
    case.in_step(0, suspended=False, ou=HIGH_OU)
    refuse(case, *MOVE)
    bed.run()
    bed.powerschool.affiliations(case.dcid(0))[0]["status"] = 1
    refuse(case, *SUSPEND)

    assert bed.run().exit_code == 1
    outcome = bed.run()

    assert (outcome.exit_code, state_of(bed, case.address("ada"))[1]) == (0, OPEN), outcome.output


def test_an_undo_of_a_creation_closes_the_account_in_one_request(bed: Bed) -> None:
    case = Case(bed, 0)
    bed.powerschool.add_person(1, "Sam", "Stays", "sam.stays@d118.org", schools={5: 1})
    matching_account(bed, 1)
    case.person(0, "Ada", "ada")
    assert bed.run().exit_code == 0

    outcome = bed.run("--undo", "last", "--yes")

    assert [request.method for request in outcome.writes] == ["users.update"]
    user = bed.google.user(case.address("ada"))
    assert (user["suspended"], user["orgUnitPath"]) == (True, SUSPENDED_OU)


# Whose account it is: nobody gets a second account, and a name alone hands over no mailbox.


def numbered(local: str, first: str, family: str, number: int, **otherwise: Any) -> Step:
    """An account with this person's employee ID."""
    return lambda case: case.account(local, first, family, employee_id=f"T{case.dcid(number)}", **otherwise)


def zoe(**otherwise: Any) -> Step:
    return lambda case: case.person(1, "Zoe", "new", **{"family": "Hill", **otherwise})


def old_record(case: Case) -> None:
    case.leaver(2, "Zed", None, family="Hill")


BUSES = "/Buses"
SOMEBODY_ELSES, POSSIBLE, REHIRE = {Rule.SOMEBODY_ELSES}, {Rule.POSSIBLE_ACCOUNT}, {Rule.PROBABLE_REHIRE}
TOLD: dict[str, tuple[Step, set[Rule]]] = {
    # The DCID typed on a colleague's account, which has the given or the family name in common with hers.
    "15 a given name, and the address is a colleague's": (
        steps(ada(), zoe(), account("new", "Ada", "Hill", dcid=0)), {*SOMEBODY_ELSES, Rule.ADDRESS_TAKEN}),
    "15 a given name, and the employee ID is a colleague's": (
        steps(ada(), zoe(), numbered("old", "Ada", "Hill", 1, dcid=0)), SOMEBODY_ELSES),
    "15 a given name, and the full name is a colleague's": (
        steps(ada(), lambda case: case.person(1, "Ada", "new", family="Hill"), account("old", "Ada", "Hill", dcid=0)),
        SOMEBODY_ELSES),
    "30 a family name, and the address is a colleague's": (
        steps(ada(), zoe(), account("new", "Zoe", "Stone", dcid=0)), {*SOMEBODY_ELSES, Rule.ADDRESS_TAKEN}),
    "30 a family name, and the employee ID is a colleague's": (
        steps(ada(), zoe(), numbered("old", "Zoe", "Stone", 1, dcid=0)), SOMEBODY_ELSES),
    "16 a namesake in an org unit of BUILDING_OUS": (steps(ada(), account("old", "Ada", ou=BUSES)), POSSIBLE),
    "16 a namesake below it": (steps(ada(), account("old", "Ada", ou=f"{BUSES}/Night")), POSSIBLE),
    "16 a namesake by the preferred name": (
        lambda case: steps(ada(preferred=case.name("Addie")), account("old", "Addie"))(case), POSSIBLE),
    "16 an account with the DCID of an inactive record": (steps(ada(), OLD_RECORD), REHIRE),
    "16 an account with the DCID of a missing record": (
        steps(ada(), account("old", "Ada", dcid=3, suspended=True)), REHIRE),
    "29 a rehire with a new address, by the employee ID alone": (
        steps(ada(), old_record, numbered("old", "Zed", "Hill", 0, dcid=2, suspended=True, ou=SUSPENDED_OU)), REHIRE),
    "31 a namesake directly in the root": (steps(ada(), account("old", "Ada", ou="/")), POSSIBLE),
    "17 an alias on the own account, by names": (steps(ada(), account("old", "Ada", aliases=["ada"])), POSSIBLE),
    "17 an alias on the own account, by number": (
        steps(ada(), numbered("old", "Zed", "Hill", 0, aliases=["ada"])), POSSIBLE),
    "32 a DCID emptied by hand, the address another": (
        steps(ada(), numbered("old", "Zed", "Hill", 0)), POSSIBLE),
    "32 a DCID emptied by hand of somebody who left": (
        steps(ada_left(), numbered("old", "Zed", "Hill", 0)), {Rule.LEFT_OPEN}),
    "33 locked out": (steps(ada(), in_step(suspended=True)), {Rule.LOCKED_OUT}),
    "33 archived": (steps(ada(), in_step(archived=True)), {Rule.ARCHIVED}),
    "33 open for nobody": (account("old", "Zed", dcid=3), {Rule.OPEN_FOR_NOBODY}),
    "34 a family name that came a day after the address": (
        steps(ada(), in_step(), lambda case: case.powerschool(0, last_name=case.name("Married"))),
        {Rule.NAME_DIFFERS}),
    # What a person typed or pasted without seeing it.
    "18 a zero-width space in the address": (steps(
        ada(), in_step(), lambda case: respelt(case, "email_addr", "\u200b")), set()),
    "18 a byte-order mark in the address": (steps(
        ada(), in_step(), lambda case: respelt(case, "email_addr", "\ufeff")), set()),
    "18 a soft hyphen in the number": (steps(
        ada(), in_step(), lambda case: respelt(case, "teachernumber", "\u00ad")), set()),
    "18 a no-break space after the number": (steps(
        ada(), in_step(), lambda case: respelt(case, "teachernumber", "\u00a0", at_the_end=True)), set()),
    "18 a zero-width space in the employee ID in Google": (steps(
        ada(), lambda case: case.in_step(0, employee_id=f"T{case.dcid(0)}\u200b")), set()),
    "18 the same without a DCID, so that only the number tells": (steps(
        ada(), lambda case: case.account("old", "Zed", "Hill", employee_id=f"T\ufeff{case.dcid(0)}")), POSSIBLE),
    "18 a zero-width space in the address in Google": (steps(ada(), in_step(), shown_with("\u200b")), set()),
    "18 a soft hyphen in an entry of HANDS_OFF": (steps(
        ada(), in_step(archived=True), lambda case: case.bed.settings.setdefault("HANDS_OFF", {}).update(  # type: ignore[attr-defined]
            {f"\u00ad{case.address('ada')}": ("asked by HR", FOREVER)})), set()),
}  # fmt: skip


def respelt(case: Case, column: str, letter: str, *, at_the_end: bool = False) -> None:
    row = case.bed.powerschool.person(case.dcid(0))
    row[column] = f"{row[column]}{letter}" if at_the_end else f"{row[column][:2]}{letter}{row[column][2:]}"


def test_who_may_have_an_account_already_is_told_and_no_account_is_made_or_written(bed: Bed) -> None:
    bed.settings["BUILDING_OUS"] = {9: BUSES}
    bed.environment["NEW_USER_PASSWORD"] = "Welcome-to-school-2026"
    bed.google.add_org_unit(f"{BUSES}/Night")
    add_colleagues(bed)
    cases = {name: Case(bed, number) for number, name in enumerate(TOLD)}
    for name, (build, _rules) in TOLD.items():
        build(cases[name])

    outcome = bed.run()

    lines = [line for line in outcome.lines("ERROR") + outcome.lines("WARN") if "Not done: " not in line]
    told = {name: {line.partition(": ")[0] for line in lines if of_case(line, case)} for name, case in cases.items()}
    assert told == {name: {rule.label for rule in rules} for name, (_, rules) in TOLD.items()}
    # A colleague beside whom the DCID was mistyped has no account yet, and gets it.
    made = {f"{request.method} {(request.body or {}).get('primaryEmail')}" for request in outcome.writes}
    colleagues = [case for name, case in cases.items() if name.startswith(("15", "30"))]
    assert made <= {f"users.insert {case.address('new')}" for case in colleagues}, made
    # The line is true: only of an account that has no DCID it says so.
    without = {user["primaryEmail"] for user in bed.google.users.values() if not state_of(bed, user["primaryEmail"])[0]}
    said = {line.split(" has no DCID")[0].rpartition(" ")[2] for line in lines if " has no DCID" in line}
    assert said
    assert said <= without
    # An alias of her own account is never advised away.
    own = [line for line in lines if any(of_case(line, cases[name]) for name in TOLD if name.startswith("17"))]
    assert own
    assert not [line for line in own if "remove the alias" in line]

    differs = bed.run("--explain", f"dcid:{cases['34 a family name that came a day after the address'].dcid(0)}")
    assert "in step" not in differs.output
    assert "name differs" in differs.output


def test_two_accounts_with_one_dcid_are_not_told_by_the_run_that_heals_it(bed: Bed) -> None:
    """Somebody is back under a new record; of the two accounts of the old one, one is theirs beyond doubt."""
    add_colleagues(bed)
    case = Case(bed, 0)
    ada()(case)
    case.leaver(2, "Ada", None)
    numbered("ada", "Ada", "Stone", 0, dcid=2)(case)
    case.account("old", "Ada", dcid=2, suspended=True, ou=SUSPENDED_OU)

    outcome = bed.run()

    assert state_of(bed, case.address("ada")) == (str(case.dcid(0)), OPEN)
    assert [line for line in outcome.lines("ERROR") if line.startswith("two accounts")] == [], outcome.output
    assert outcome.exit_code == 0


# Small districts and lying feeds.


def leavers(bed: Bed, count: int) -> list[Case]:
    cases = [Case(bed, number) for number in range(count)]
    for case in cases:
        case.leaver(0, "Ada", "ada")
        case.in_step(0, suspended=False, ou=HIGH_OU)
    return cases


def nobodys(bed: Bed, count: int) -> None:
    for number in range(count):
        fields = {SCHEMA: {"DCID": str(90_000 + number)}}
        bed.google.add_user(
            f"nobody{number}@d118.org",
            f"Nobody{letters_of(number)}",
            f"Known{letters_of(number)}",
            ou=HIGH_OU,
            fields=fields,
        )


SHARES: dict[str, tuple[int, int, int, dict[str, object], bool]] = {
    # People in step, leavers, open accounts of nobody; settings; whether suspensions are held.
    "four of twenty are the share": (16, 4, 0, {}, False),
    "four of nineteen are more": (15, 4, 0, {}, True),
    "three are never too many": (2, 3, 0, {}, False),
    "more where the district says so": (15, 4, 0, {"LIMIT_SHARE": 0.5}, False),
    "five of nobody are none too many": (16, 1, 5, {}, False),
    "six of nobody are": (16, 1, 6, {}, True),
    "but not among 120": (113, 1, 6, {}, False),
    "more than the limit": (COLLEAGUES, 4, 0, {"LIMITS": {"suspend": 3}}, True),
}  # fmt: skip


@pytest.mark.parametrize(("staff", "left", "of_nobody", "settings", "is_held"), SHARES.values(), ids=list(SHARES))
def test_too_large_a_share_holds_suspensions_until_they_are_allowed(
    bed: Bed, staff: int, left: int, of_nobody: int, settings: dict[str, object], is_held: bool
) -> None:
    limits = {**bed.setting("LIMITS"), **settings.get("LIMITS", {})}  # type: ignore[dict-item]
    bed.settings |= {**settings, "LIMITS": limits}
    add_colleagues(bed, staff)
    cases = leavers(bed, left)
    nobodys(bed, of_nobody)

    outcome = bed.run("--dry-run")
    assert (outcome.exit_code == 3) is is_held, outcome.output
    if not is_held:
        return
    assert bed.run().writes == []
    one = bed.run("--only", f"dcid:{cases[0].dcid(0)}")
    assert state_of(bed, cases[0].address("ada")) == (str(cases[0].dcid(0)), CLOSED), one.output
    cases[0].console("ada", suspended=False)
    allowed = bed.run("--allow", f"suspend={left}")
    # Each open account of nobody still asks for a person.
    assert allowed.exit_code == (1 if of_nobody else 0), allowed.output
    assert {state_of(bed, case.address("ada"))[1] for case in cases} == {CLOSED}


def test_a_held_move_holds_what_says_the_same_in_the_fields(bed: Bed) -> None:
    bed.settings["LIMITS"] = {**bed.setting("LIMITS"), "move": 0}
    add_colleagues(bed)
    case = Case(bed, 0)
    ada(group=7)(case)
    case.in_step(0)
    case.powerschool(0, homeschoolid=101, groupvalue=8)

    outcome = bed.run()

    user = bed.google.user(case.address("ada"))
    assert outcome.exit_code == 3
    assert (user["orgUnitPath"], user["customSchemas"][SCHEMA]["Homeschool_ID"]) == (HIGH_OU, "5")
    assert user["customSchemas"]["CrisisGO"]["Building"] == "Wauconda High School"
    assert user["customSchemas"][SCHEMA]["Staff_Group"] == "8"
    assert "--allow move=1" in outcome.output
    assert bed.run("--allow", "move=1").exit_code == 0
    user = bed.google.user(case.address("ada"))
    assert (user["orgUnitPath"], user["customSchemas"][SCHEMA]["Homeschool_ID"]) == (MIDDLE_OU, "101")
