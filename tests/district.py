"""A sample district: some sixty staff in six buildings with about every case a sync meets, and 200 students.

`build` fills a `standard_bed`; `EXPECTED` says how each person's account looks after one run, and stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bed import Bed, Outcome, matching_account, matching_fields
from stories import (
    COTTON_CREEK,
    CROWN,
    DISTRICT_OFFICE,
    FROZEN_OU,
    GRADE,
    HIGH,
    LUNCH,
    MATTHEWS,
    MIDDLE,
    OU_OF,
    STAFF,
    STUDENT_OU,
    SUBSTITUTE,
    SUBSTITUTE_OU,
    SUBSTITUTES,
    SUSPENDED_OU,
    TEACHER,
    TEMPORARY_OU,
    address,
    leaver,
    person,
)

NEW_BUILDING, UNKNOWN_BUILDING = 106, 777
ORPHAN_DCID = 9999

HANDS_OFF = {"olga.sorensen@d118.org": ("on leave, asked by HR", "2099-06-30")}

# DCID, first name, last name, home school, staff type: people about whom both sides agree.
SETTLED = (
    (101, "Helen", "Abbott", HIGH, TEACHER),
    (102, "Marcus", "Bell", HIGH, TEACHER),
    (103, "Sofia", "Castillo", HIGH, TEACHER),
    (104, "Dennis", "Doyle", HIGH, STAFF),
    (105, "Ruth", "Eriksen", MIDDLE, TEACHER),
    (106, "Kevin", "Frost", MIDDLE, TEACHER),
    (107, "Irene", "Galvan", MIDDLE, LUNCH),
    (108, "Peter", "Huang", MATTHEWS, TEACHER),
    (109, "Laura", "Ibarra", MATTHEWS, STAFF),
    (110, "Sean", "O'Brien", GRADE, TEACHER),
    (111, "Lucía", "Nuñez", GRADE, TEACHER),
    (112, "GAIL", "MCDONALD", COTTON_CREEK, TEACHER),
    (113, "Tom", "Smith-Jones", COTTON_CREEK, TEACHER),
    (114, "Wanda", "Kowalski", CROWN, TEACHER),
    (115, "Yusuf", "Lahiri", CROWN, STAFF),
    (116, "Nancy", "Marsh", DISTRICT_OFFICE, STAFF),
    (117, "Oliver", "Nash", SUBSTITUTES, SUBSTITUTE),
    (118, "Paula", "Ortega", GRADE, SUBSTITUTE),
)


def build(bed: Bed) -> None:
    """Fills a bed made by `standard_bed`, settings included."""
    bed.settings["HANDS_OFF"] = HANDS_OFF
    bed.powerschool.add_school(NEW_BUILDING, "Prairie Early Learning Center")
    for add in (add_settled, add_arrivals, add_changes, add_leavers, add_hands_off, add_left_as_they_are):
        add(bed)
    add_doubts(bed)
    add_groups(bed)
    add_students(bed)


def add_settled(bed: Bed) -> None:
    for dcid, first, last, school, kind in SETTLED:
        person(bed, dcid, first, last, school, kind)
    # Two people at several buildings: in the order of numbers, the home school not the lowest of them.
    bed.powerschool.add_school_staff(108, HIGH, TEACHER)
    bed.powerschool.add_school_staff(116, HIGH, STAFF)
    for dcid, *_ in SETTLED:
        matching_account(bed, dcid)


def add_arrivals(bed: Bed) -> None:
    google = bed.google
    person(bed, 201, "Maya", "Patel", HIGH)
    person(bed, 202, "LIAM", "O'DONNELL", MIDDLE)
    person(bed, 203, "Nora", "Fischer", SUBSTITUTES, SUBSTITUTE)
    person(bed, 204, "Grace", "Kim", COTTON_CREEK)
    google.add_user("grace.kim@d118.org", "Grace", "Kim", ou=OU_OF[COTTON_CREEK])
    person(bed, 205, "Robert", "Hayes", GRADE)
    google.add_user("robert.hayes@d118.org", "Bob", "Hayes", ou=OU_OF[GRADE], employee_id="4205")
    person(bed, 206, "Diane", "Lopez", CROWN)
    google.add_user("diane.lopez@d118.org", "Diane", "Lopez", ou=SUSPENDED_OU, suspended=True)
    person(bed, 207, "Carlos", "Ruiz", MATTHEWS)
    matching_account(bed, 207, ou=SUSPENDED_OU, suspended=True)
    # Two who came back as new records: of one the employee ID proves it, of the other nothing but the name.
    for new, old, first, last in ((208, 308, "Joan", "Whitfield"), (209, 309, "Ivan", "Petrov")):
        leaver(bed, old, first, last, HIGH, ou=SUSPENDED_OU, suspended=True, employee_id=None)
        person(bed, new, first, last, HIGH)
    give_employee_id(bed, "joan.whitfield@d118.org", "4208")


def give_employee_id(bed: Bed, email: str, employee_id: str) -> None:
    body = {"externalIds": [{"value": employee_id, "type": "organization"}]}
    bed.google.call("users.update", {"userKey": email}, body)


def add_changes(bed: Bed) -> None:
    people = bed.powerschool
    person(bed, 211, "Emily", "Novak", HIGH)
    matching_account(bed, 211, email="emily.carter@d118.org", family="Carter")
    person(bed, 212, "Anna", "Weber", MIDDLE)
    fields = matching_fields(bed, 212, Staff_Group=4)
    matching_account(bed, 212, email="anna.schmidt@d118.org", family="Schmidt", fields=fields)
    bed.google.add_user("anna.weber@d118.org", "Parent", "Council", ou="/")
    person(bed, 213, "Victor", "Stein", COTTON_CREEK)
    matching_account(bed, 213, ou=OU_OF[MATTHEWS])
    person(bed, 214, "Rosa", "Tanaka", GRADE, SUBSTITUTE)
    matching_account(bed, 214, ou=OU_OF[GRADE], fields=matching_fields(bed, 214, Staff_Type=TEACHER))
    person(bed, 215, "Glen", "Ubrich", CROWN)
    matching_account(bed, 215, ou=SUBSTITUTE_OU, fields=matching_fields(bed, 215, Staff_Type=SUBSTITUTE))
    person(bed, 216, "Katherine", "Vance", HIGH)
    matching_account(bed, 216, email="kate.vance@d118.org", aliases=["katherine.vance@d118.org"])
    person(bed, 217, "Hugh", "Walsh", MIDDLE, cell_phone=None)
    matching_account(bed, 217, fields=matching_fields(bed, 217, CellPhone="847-555-0000"))
    person(bed, 218, "Bianca", "Xavier", MATTHEWS)
    matching_account(bed, 218)
    people.add_extension(218, "224-555-0218")
    person(bed, 219, "Noel", "Yates", GRADE)
    badge = {"value": "B-77", "type": "custom", "customType": "badge"}
    matching_account(bed, 219, employee_id="0001", external_ids=[badge])
    person(bed, 220, "Priya", "Zimmer", DISTRICT_OFFICE, STAFF)
    matching_account(bed, 220, ou=FROZEN_OU, fields=matching_fields(bed, 220, Staff_Group=4))
    person(bed, 221, "William", "Ames", CROWN)
    matching_account(bed, 221, given="Bill")


def add_leavers(bed: Bed) -> None:
    leaver(bed, 301, "George", "Bauer", HIGH)
    leaver(bed, 302, "Tina", "Crane", MIDDLE)
    rows = bed.powerschool.school_staff
    rows[:] = [row for row in rows if row["users_dcid"] != 302]
    leaver(bed, 303, "Alan", "Drew", GRADE, suspended=True)
    leaver(bed, 304, "Monica", "Egan", CROWN, ou=TEMPORARY_OU)
    leaver(bed, 305, "Frank", "Fuller", HIGH, ou=f"{SUSPENDED_OU}/Locked", suspended=True)
    leaver(bed, 306, "Stella", "Gruber", DISTRICT_OFFICE, ou=FROZEN_OU)
    leaver(bed, 307, "Walter", "Holt", MATTHEWS, delegated=True)
    leaver(bed, 310, "June", "Irving", MIDDLE, ou=SUSPENDED_OU, suspended=True)
    leaver(bed, 311, "Ralph", "Jansen", MIDDLE, archived=True)


def add_hands_off(bed: Bed) -> None:
    leaver(bed, 401, "Olga", "Sorensen", COTTON_CREEK)
    person(bed, 402, "Ingrid", "Thorne", DISTRICT_OFFICE, STAFF)
    matching_account(bed, 402, ou="/", admin=True)
    leaver(bed, 403, "Dean", "Underhill", DISTRICT_OFFICE, ou="/", admin=True)
    person(bed, 405, "Zoe", "Baker", HIGH, STAFF, email="2027114@d118.org")
    bed.google.add_user("2027114@d118.org", "Zoe", "Baker", ou=STUDENT_OU)
    person(bed, 406, "Leo", "Cohen", HIGH, STAFF)
    matching_account(bed, 406, ou=STUDENT_OU)


def add_left_as_they_are(bed: Bed) -> None:
    """People who are skipped by rule, and states that are an admin's business."""
    person(bed, 411, "Training1", "Schoology", HIGH, email="training1@d118.org")
    person(bed, 413, "Carol", "Ashe", GRADE, email=None)
    person(bed, 414, "Ed", "Burke", CROWN, email="ed.burke@gmail.com")
    person(bed, 415, "Fay", "Coleman", MATTHEWS, email="fay.coleman@oldname.org")
    matching_account(bed, 415, email="fay.coleman@d118.org")
    person(bed, 511, "Ivy", "Dalton", HIGH)
    matching_account(bed, 511, suspended=True)
    person(bed, 512, "Jack", "Eaton", MIDDLE)
    matching_account(bed, 512, archived=True)
    person(bed, 513, "Kurt", "Farrow", GRADE)
    matching_account(bed, 513, ou=SUSPENDED_OU, suspended=True, reason="ABUSE")
    person(bed, 517, "Lena", "Goss", CROWN)
    bed.powerschool.leave(517)
    bed.google.add_user("lena.goss@d118.org", "Lena", "Goss", ou="/")
    bed.google.add_user(
        "former.vendor@d118.org", "Former", "Vendor", ou=OU_OF[HIGH],
        fields={"Synchronization_Data": {"DCID": ORPHAN_DCID}}, last_login="2026-03-02T15:00:00.000Z",
    )  # fmt: skip


def add_doubts(bed: Bed) -> None:
    people, google = bed.powerschool, bed.google
    for dcid, last, school in ((501, "Adler", None), (502, "Bishop", UNKNOWN_BUILDING)):
        person(bed, dcid, "Mona", last, HIGH)
        matching_account(bed, dcid, fields=matching_fields(bed, dcid, Staff_Group=4))
        people.person(dcid)["homeschoolid"] = school
    person(bed, 503, "Nina", "Chavez", NEW_BUILDING)
    person(bed, 504, "Owen", "Dietrich", NEW_BUILDING)
    matching_account(bed, 504, ou=OU_OF[GRADE], fields=matching_fields(bed, 504, Homeschool_ID=GRADE))
    person(bed, 505, "Pam", "Ellis", HIGH)
    matching_account(bed, 505, ou=OU_OF[CROWN])
    matching_account(bed, 505, email="pellis@d118.org")
    person(bed, 506, "Chris", "Taylor", HIGH)
    matching_account(bed, 506, ou=OU_OF[CROWN])
    person(bed, 507, "Christine", "Taylor", MIDDLE, email="chris.taylor@d118.org")
    person(bed, 508, "Quinn", "Foster", MATTHEWS)
    matching_account(bed, 508, email="zelda.moreau@d118.org", given="Zelda", family="Moreau", employee_id="7777")
    person(bed, 509, "Office", "Manager", GRADE, STAFF, email="office@d118.org")
    google.add_group("office@d118.org", members={address("Helen", "Abbott"): "OWNER"})
    person(bed, 510, "Rita", "Gomez", CROWN)
    google.add_user("frontdesk@d118.org", "Front", "Desk", ou="/", aliases=["rita.gomez@d118.org"])
    person(bed, 515, "Sam", "Hale", HIGH)
    google.add_user("sam.hale@d118.org", "Samuel", "Hale", ou=OU_OF[HIGH])
    person(bed, 516, "Tara", "Ingram", MIDDLE)
    google.add_user("tingram@d118.org", "Tara", "Ingram", ou=OU_OF[MIDDLE])
    leaver(bed, 518, "Dummy", "Staff", HIGH)
    person(bed, 519, "", "Jarvis", GRADE, email="jarvis@d118.org")


def add_groups(bed: Bed) -> None:
    google = bed.google
    staff, left = "all.staff@d118.org", "george.bauer@d118.org"
    google.add_group("hs.math@d118.org", members={left: "OWNER", "helen.abbott@d118.org": "MEMBER"})
    google.add_group(staff, members={"alan.drew@d118.org": "MEMBER"}, member_groups=["hs.math@d118.org"])
    google.add_group("math-league@example.org", members={left: "MEMBER"}, foreign=True)


def add_students(bed: Bed) -> None:
    for email in sorted(STUDENTS):
        number = email.partition("@")[0]
        bed.google.add_user(email, f"Student {number[-3:]}", f"Class of {number[:4]}", ou=STUDENT_OU)


Expectation = dict[str, Any]


def account(dcid: int | None, name: str, org_unit: str, told: str = "", *, suspended: bool = False) -> Expectation:
    """How an account looks after a run; `dcid` is what its DCID field holds, `told` why it is reported."""
    return {
        "email": f"{name}@d118.org", "org_unit": org_unit, "suspended": suspended, "dcid": dcid, "told": told
    }  # fmt: skip


def no_account(told: str) -> Expectation:
    """No account carries the person's DCID."""
    return {"email": None, "org_unit": None, "suspended": None, "dcid": None, "told": told}


def closed(dcid: int, name: str, told: str = "", *, org_unit: str = SUSPENDED_OU) -> Expectation:
    return account(dcid, name, org_unit, told, suspended=True)


def settled_account(dcid: int, first: str, last: str, school: int, kind: int) -> Expectation:
    ou = SUBSTITUTE_OU if kind == SUBSTITUTE else OU_OF[school]
    return account(dcid, address(first, last).partition("@")[0], ou)


EXPECTED: dict[int, Expectation] = {
    **{row[0]: settled_account(*row) for row in SETTLED},
    201: account(201, "maya.patel", OU_OF[HIGH]),
    202: account(202, "liam.odonnell", OU_OF[MIDDLE]),
    203: account(203, "nora.fischer", SUBSTITUTE_OU),
    204: account(204, "grace.kim", OU_OF[COTTON_CREEK]),
    205: account(205, "robert.hayes", OU_OF[GRADE]),
    206: account(206, "diane.lopez", OU_OF[CROWN]),
    207: account(207, "carlos.ruiz", OU_OF[MATTHEWS]),
    208: account(208, "joan.whitfield", OU_OF[HIGH]),
    209: no_account("ERROR probable rehire"),
    211: account(211, "emily.novak", OU_OF[HIGH]),
    212: account(212, "anna.schmidt", OU_OF[MIDDLE], "ERROR address taken"),
    213: account(213, "victor.stein", OU_OF[COTTON_CREEK]),
    214: account(214, "rosa.tanaka", SUBSTITUTE_OU),
    215: account(215, "glen.ubrich", OU_OF[CROWN]),
    216: account(216, "katherine.vance", OU_OF[HIGH]),
    217: account(217, "hugh.walsh", OU_OF[MIDDLE]),
    218: account(218, "bianca.xavier", OU_OF[MATTHEWS], "ERROR several extension rows"),
    219: account(219, "noel.yates", OU_OF[GRADE]),
    220: account(220, "priya.zimmer", FROZEN_OU, "INFO frozen"),
    221: account(221, "william.ames", OU_OF[CROWN]),
    301: closed(301, "george.bauer"),
    302: closed(302, "tina.crane"),
    303: closed(303, "alan.drew"),
    304: account(304, "monica.egan", TEMPORARY_OU, "INFO temporary reactivation"),
    305: closed(305, "frank.fuller", org_unit=f"{SUSPENDED_OU}/Locked"),
    306: closed(306, "stella.gruber"),
    307: closed(307, "walter.holt", "ERROR an admin role remains"),
    308: no_account("the account went to the new record 208"),
    309: closed(309, "ivan.petrov"),
    310: closed(310, "june.irving"),
    311: account(311, "ralph.jansen", OU_OF[MIDDLE], "archived is closed enough"),
    401: account(401, "olga.sorensen", OU_OF[COTTON_CREEK], "INFO hands off"),
    402: account(402, "ingrid.thorne", "/", "INFO super admin"),
    403: account(403, "dean.underhill", "/", "ERROR super admin who left"),
    405: no_account("INFO numeric address"),
    406: account(406, "leo.cohen", STUDENT_OU, "INFO protected"),
    411: no_account("INFO bad name"),
    413: no_account("INFO no address"),
    414: no_account("INFO foreign address"),
    415: account(415, "fay.coleman", OU_OF[MATTHEWS], "INFO foreign address"),
    501: account(501, "mona.adler", OU_OF[HIGH], "ERROR home school missing"),
    502: account(502, "mona.bishop", OU_OF[HIGH], "ERROR home school unknown"),
    503: no_account("ERROR org unit missing, one line with 504"),
    504: account(504, "owen.dietrich", OU_OF[GRADE], "ERROR org unit missing, one line with 503"),
    505: account(505, "pam.ellis", OU_OF[CROWN], "ERROR two accounts"),
    506: account(506, "chris.taylor", OU_OF[CROWN], "ERROR one address for two"),
    507: no_account("ERROR one address for two"),
    508: account(508, "zelda.moreau", OU_OF[MATTHEWS], "ERROR somebody else's account"),
    509: no_account("ERROR address is a group"),
    510: no_account("ERROR address is an alias"),
    511: closed(511, "ivy.dalton", "ERROR locked out", org_unit=OU_OF[HIGH]),
    512: account(512, "jack.eaton", OU_OF[MIDDLE], "ERROR archived"),
    513: closed(513, "kurt.farrow", "ERROR locked by Google"),
    515: no_account("ERROR the holder of the address may be another person"),
    516: no_account("ERROR an account with this name is there"),
    517: no_account("ERROR an open account holds the address of somebody who left"),
    518: account(518, "dummy.staff", OU_OF[HIGH], "ERROR skipped, left, account open"),
    519: no_account("ERROR faulty name"),
}

STAFF_DCIDS = frozenset(EXPECTED)
STUDENTS = frozenset(f"{2027 + number // 50}{number:03d}@d118.org" for number in range(200))
PROTECTED = frozenset({"2027114@d118.org", "leo.cohen@d118.org"})
SETTLED_ADDRESSES = frozenset(str(EXPECTED[row[0]]["email"]) for row in SETTLED)
# No run may change anything about these, nor about the students and the protected.
LEFT_ALONE = SETTLED_ADDRESSES | {
    f"{name}@d118.org"
    for name in (
        "ivan.petrov", "anna.weber", "bianca.xavier", "william.ames", "monica.egan", "frank.fuller",
        "june.irving", "ralph.jansen", "olga.sorensen", "ingrid.thorne", "dean.underhill", "fay.coleman",
        "mona.adler", "mona.bishop", "pam.ellis", "pellis", "chris.taylor", "zelda.moreau", "frontdesk",
        "ivy.dalton", "jack.eaton", "kurt.farrow", "sam.hale", "tingram", "lena.goss", "dummy.staff",
        "former.vendor",
    )
}  # fmt: skip


# Group -> who is in it after a run. The foreign group keeps its member: nobody here may take him out.
EXPECTED_GROUPS = {
    "hs.math@d118.org": {"helen.abbott@d118.org": "MEMBER"},
    "all.staff@d118.org": {"hs.math@d118.org": "MEMBER"},
    "math-league@example.org": {"george.bauer@d118.org": "MEMBER"},
    "office@d118.org": {"helen.abbott@d118.org": "OWNER"},
}
# DCID -> what else a run has to get right about the account, in the words of `details_of`.
EXPECTED_DETAILS: dict[int, Expectation] = {
    201: {"Building": "Wauconda High School", "CellPhone": "847-555-0201", "employee_id": "4201"},
    202: {"name": "Liam O'Donnell"},
    203: {"Staff_Type": "4", "School_Access_List": "500"},
    204: {"Building": "Cotton Creek School", "employee_id": "4204"},
    205: {"name": "Bob Hayes", "Homeschool_ID": "103"},
    211: {"name": "Emily Novak"},
    212: {"name": "Anna Schmidt", "Staff_Group": "9"},
    217: {"CellPhone": None},
    219: {"employee_id": "4219", "badge": "B-77"},
    220: {"Staff_Group": "9"},
    301: {"Building": "Wauconda High School", "CellPhone": "847-555-0301"},
    504: {"Homeschool_ID": "106"},
}


def looks_like(google_user: Mapping[str, Any]) -> Expectation:
    """An account in the terms of `EXPECTED`, without what is told."""
    dcid = google_user.get("customSchemas", {}).get("Synchronization_Data", {}).get("DCID")
    return {
        "email": google_user["primaryEmail"], "org_unit": google_user["orgUnitPath"],
        "suspended": google_user["suspended"], "dcid": None if dcid is None else int(dcid),
    }  # fmt: skip


def details_of(google_user: Mapping[str, Any]) -> Expectation:
    """The full name, the custom fields and the external IDs of an account."""
    details = {"name": google_user["name"]["fullName"]}
    for fields in google_user.get("customSchemas", {}).values():
        details |= fields
    for entry in google_user.get("externalIds", ()):
        name = "employee_id" if entry["type"] == "organization" else entry.get("customType", entry["type"])
        details[name] = entry["value"]
    return details


def disagreements(bed: Bed) -> list[str]:
    """What is not as expected after a run, in one line per person or group."""
    holders: dict[int | None, list[Expectation]] = {}
    for user in bed.google.snapshot()["users"].values():
        found = looks_like(user)
        holders.setdefault(found["dcid"], []).append(found)
    lines = []
    for dcid, expected in EXPECTED.items():
        wanted = {name: value for name, value in expected.items() if name != "told"}
        found_here = holders.get(dcid, [])
        if wanted not in found_here and (wanted["email"] or found_here):
            lines.append(f"DCID {dcid} ({expected['told'] or 'no remark'}): {found_here}, expected {wanted}")
        elif dcid in EXPECTED_DETAILS:
            lines += wrong_details(dcid, details_of(bed.google.user(wanted["email"])))
    for group, members in EXPECTED_GROUPS.items():
        if bed.google.members(group) != members:
            lines.append(f"group {group}: {bed.google.members(group)}, expected {members}")
    return lines


def wrong_details(dcid: int, details: Expectation) -> list[str]:
    return [
        f"DCID {dcid}: {name} is {details.get(name)!r}, expected {value!r}"
        for name, value in EXPECTED_DETAILS[dcid].items()
        if details.get(name) != value
    ]


def untold(outcome: Outcome) -> list[int]:
    """The DCIDs of people for whom `EXPECTED` wants an ERROR line and the run had none."""
    lines = outcome.lines("ERROR")
    due = [dcid for dcid, expected in EXPECTED.items() if expected["told"].startswith("ERROR")]
    return [dcid for dcid in due if not any(f"DCID {dcid})" in line for line in lines)]
