"""The Google stand-in, asked through the real client libraries."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httplib2
import pytest
import requests
from google.auth.exceptions import RefreshError
from google.auth.transport.requests import Request as RequestsTransport
from google.oauth2.credentials import Credentials
from google.oauth2.service_account import Credentials as ServiceCredentials
from google_auth_httplib2 import AuthorizedHttp
from google_auth_oauthlib.flow import InstalledAppFlow
from google_server import ODD_ANSWERS, SCOPE_PREFIX, SCOPES, GoogleServer, Request
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError

PROXY_TYPE_HTTP = 3
SYNC = "Synchronization_Data"
OUTSIDE = "9" * 21
TAKEN = (409, "duplicate", "Entity already exists.")
FORBIDDEN = (403, "forbidden", "Not Authorized to access this resource/api")


def bad_input(what: str) -> tuple[int, str, str]:
    return (400, "invalid", f"Invalid Input: {what}")


@pytest.fixture(scope="module")
def server() -> Iterator[GoogleServer]:
    with GoogleServer() as google:
        quiet = {"fieldType": "INT64", "indexed": False}
        google.add_schema(SYNC, {"DCID": "INT64", "Access": "STRING", "Quiet": quiet})
        google.add_schema("CrisisGO", {"Building": "STRING"})
        google.add_org_unit("/D118 Staff/High School Staff")
        google.add_org_unit("/Suspended Accounts")
        google.add_user("admin@d118.org", "Ada", "Admin", admin=True)
        google.add_user(
            "ann@d118.org", "Ann", "Lee", ou="/D118 Staff/High School Staff", employee_id="E1",
            fields={SYNC: {"DCID": 131, "Access": "5;10"}, "CrisisGO": {"Building": "High"}},
            aliases=["ann.old@d118.org"],
        )  # fmt: skip
        google.add_user("bob@d118.org", "Bob", "Ray", suspended=True, reason="ABUSE", fields={SYNC: {"DCID": 0}})
        google.add_user("o'neil@d118.org", "Cy", "O'Neil", suspended=True, ou="/Suspended Accounts")
        google.add_group("inner@d118.org", members={"ann@d118.org": "MEMBER"})
        google.add_group("staff@d118.org", members={"ann@d118.org": "OWNER", "bob@d118.org": "MEMBER"})
        google.add_group("outer@d118.org", member_groups=["inner@d118.org"])
        google.add_group("list@elsewhere.org", members={"ann@d118.org": "MEMBER"}, foreign=True)
        google.add_group("locked@d118.org", members={"ann@d118.org": "MEMBER"}, editable=False)
        google.add_group("everyone@d118.org", members={"ann@d118.org": "MEMBER"}, dynamic=True)
        yield google


@pytest.fixture(scope="module")
def start(server: GoogleServer) -> Any:
    return server.snapshot()


@pytest.fixture
def google(server: GoogleServer, start: Any) -> Iterator[GoogleServer]:
    server.restore(start)
    server.behave()
    server.reset_records()
    yield server
    assert server.violations == []


def http_of(google: GoogleServer, timeout: float = 20) -> Any:
    proxy = httplib2.ProxyInfo(PROXY_TYPE_HTTP, "127.0.0.1", google.port)
    return httplib2.Http(proxy_info=proxy, ca_certs=str(google.ca_file), timeout=timeout)


def service_of(google: GoogleServer, credentials: Any = None, timeout: float = 20) -> Any:
    credentials = credentials or Credentials(google.access_token())
    return build("admin", "directory_v1", http=AuthorizedHttp(credentials, http=http_of(google, timeout)))


@pytest.fixture
def api(google: GoogleServer) -> Any:
    return service_of(google)


def session_of(google: GoogleServer) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.proxies = {"https": google.environment()["HTTPS_PROXY"]}
    session.verify = str(google.ca_file)
    return session


def refused(request: Any) -> tuple[int, str, str]:
    with pytest.raises(HttpError) as caught:
        request.execute()
    error = json.loads(caught.value.content)["error"]
    assert error["code"] == caught.value.status_code
    return error["code"], error["errors"][0]["reason"], error["message"]


def new_user(email: str = "new@d118.org", **more: Any) -> dict[str, Any]:
    name = {"givenName": "New", "familyName": "User"}
    return {"primaryEmail": email, "name": name, "password": "long enough", **more}


def emails(answer: dict[str, Any]) -> list[str]:
    return [user["primaryEmail"] for user in answer.get("users", [])]


# Reading users.


CHILD = """
from google.oauth2.credentials import Credentials
from googleapiclient.discovery import build
credentials = Credentials.from_authorized_user_file("token.json")
users = build("admin", "directory_v1", credentials=credentials).users()
"""


def child_of(google: GoogleServer, folder: Path, line: str) -> subprocess.Popen[str]:
    """A program that knows nothing of the stand-in but its environment."""
    google.write_credentials(folder)
    environment = {**os.environ, **google.environment(), "PYTHONWARNINGS": "ignore"}
    arguments = [sys.executable, "-c", CHILD + line]
    return subprocess.Popen(arguments, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)


def test_an_unmodified_child_process_reaches_it(google: GoogleServer, tmp_path: Path) -> None:
    child = child_of(google, tmp_path, "print(users.get(userKey='ann@d118.org').execute()['id'])")
    assert child.communicate(timeout=20)[0].strip() == google.user("ann@d118.org")["id"]
    told = [(request.method, request.status) for request in google.requests]
    assert told == [("token", 200), ("users.get", 200)]


def test_pages_and_mask(google: GoogleServer, api: Any) -> None:
    for number in range(8):
        google.add_user(f"u{number}@d118.org", "U", "Ser")
    asked = {"customer": "my_customer", "maxResults": 5}
    request, pages = api.users().list(**asked, fields="nextPageToken,users(primaryEmail,name/familyName)"), []
    while request:
        pages.append(request.execute())
        request = api.users().list_next(request, pages[-1])
    assert [len(page["users"]) for page in pages] == [5, 5, 2]
    assert pages[0]["users"][0] == {"primaryEmail": "admin@d118.org", "name": {"familyName": "Admin"}}
    listed = [email for page in pages for email in emails(page)]
    assert listed == sorted(user["primaryEmail"] for user in google.users.values())
    assert api.users().list(**asked, fields="users/id").execute().keys() == {"users"}
    assert api.users().list(**asked, fields="*").execute().keys() > {"nextPageToken", "users", "etag"}
    overlong = f"users({','.join(['primaryEmail'] * 200)})"
    assert len(api.users().list(**asked, fields=overlong).execute()["users"][0]) == 1
    fields = f"users/customSchemas/{SYNC}/DCID"
    ann = api.users().list(**asked, projection="full", fields=fields).execute()["users"][1]
    assert ann == {"customSchemas": {SYNC: {"DCID": "131"}}}
    for mask, bad in (("users(nickname)", "nickname"), ("users(id", "users(id"), ("nextPage", "nextPage")):
        answer = refused(api.users().list(**asked, fields=mask))
        assert answer == (400, "invalidParameter", f"Invalid field selection {bad}")
    assert refused(api.users().list(**asked, pageToken="rubbish"))[0] == 400
    other = api.users().list(customer="my_customer", projection="full", pageToken=pages[0]["nextPageToken"])
    assert refused(other)[2] == "Invalid Input: pageToken"
    google.drop_last_pages = 1
    assert "nextPageToken" not in api.users().list(**asked).execute()
    google.empty_listing = True
    assert "users" not in api.users().list(**asked).execute()


def test_projections(api: Any) -> None:
    get = api.users().get
    assert "customSchemas" not in get(userKey="ann@d118.org").execute()
    full = get(userKey="ANN.old@d118.org", projection="full").execute()
    assert full["customSchemas"][SYNC] == {"DCID": "131", "Access": "5;10"}
    assert full["customSchemas"]["CrisisGO"] == {"Building": "High"}
    assert full["aliases"] == ["ann.old@d118.org"]
    assert full["externalIds"] == [{"value": "E1", "type": "organization"}]
    assert full["emails"][0] == {"address": "ann@d118.org", "primary": True}
    assert "suspensionReason" not in full
    custom = get(userKey=full["id"], projection="custom", customFieldMask="CrisisGO").execute()
    assert custom["customSchemas"] == {"CrisisGO": {"Building": "High"}}
    assert "customSchemas" not in get(userKey="admin@d118.org", projection="full").execute()
    assert get(userKey="bob@d118.org", fields="suspensionReason").execute() == {"suspensionReason": "ABUSE"}
    assert refused(get(userKey=full["id"], projection="custom", customFieldMask="Nope"))[0] == 400


def test_who_is_not_there(google: GoogleServer, api: Any) -> None:
    nobody = (404, "notFound", "Resource Not Found: userKey")
    assert refused(api.users().get(userKey="nobody@d118.org")) == nobody
    assert refused(api.users().get(userKey=OUTSIDE)) == nobody
    assert refused(api.users().get(userKey="staff@d118.org")) == (400, "badRequest", "Type not supported: userKey")
    assert refused(api.users().get(userKey="x@elsewhere.org"))[:2] == (403, "forbidden")
    assert refused(api.users().list()) == (400, "badRequest", "Bad Request")
    assert refused(api.users().list(domain="elsewhere.org"))[0] == 404


def test_queries(google: GoogleServer, api: Any) -> None:
    def found(query: str) -> list[str]:
        return emails(api.users().list(customer="my_customer", query=query, projection="full").execute())

    assert found(f"{SYNC}.DCID=131") == ["ann@d118.org"]
    assert found(f"{SYNC}.DCID=0") == ["bob@d118.org"]
    assert found("email=ann.old@d118.org") == ["ann@d118.org"]
    assert found(r"email='o\'neil@d118.org'") == ["o'neil@d118.org"]
    assert found("orgUnitPath='/d118 staff'") == ["ann@d118.org"]
    assert found("isSuspended=true orgUnitPath=/") == ["bob@d118.org", "o'neil@d118.org"]
    for query in ("email='o'neil@d118.org'", f"{SYNC}.Quiet=1", f"{SYNC}.Nope=1", "DCID = 1", "", "nope=1"):
        refusal = refused(api.users().list(customer="my_customer", query=query))
        assert refusal == bad_input("query"), query
    refusal = refused(api.users().list(customer="my_customer", query="orgUnitPath='/Nope'"))
    assert refusal == bad_input("INVALID_OU_ID")
    by_dcid = api.users().list(customer="my_customer", query=f"{SYNC}.DCID=131", projection="full")
    assert "DCID" not in by_dcid.execute()["users"][0]["customSchemas"][SYNC]
    google.omit_queried_fields = False
    assert by_dcid.execute()["users"][0]["customSchemas"][SYNC]["DCID"] == "131"


def test_lag(google: GoogleServer, api: Any) -> None:
    google.lag()
    ann = google.user("ann@d118.org")["id"]
    api.users().insert(body=new_user()).execute()
    api.members().delete(groupKey="inner@d118.org", memberKey=ann).execute()
    listing, groups = api.users().list(customer="my_customer"), api.groups().list(userKey=ann)
    assert "new@d118.org" not in emails(listing.execute())
    assert len(groups.execute()["groups"]) == 5
    assert api.users().get(userKey="new@d118.org").execute()["name"]["fullName"] == "New User"
    google.catch_up()
    assert "new@d118.org" in emails(listing.execute())
    assert len(groups.execute()["groups"]) == 4


# Writing users.


def test_insert(google: GoogleServer, api: Any) -> None:
    more = {"customSchemas": {SYNC: {"DCID": 7}}, "isAdmin": True}
    body = new_user("New.Er@D118.org", orgUnitPath="/suspended accounts", **more)
    made = api.users().insert(body=body).execute()
    assert made["id"].isdigit()
    user = google.user("new.er@d118.org")
    assert user["orgUnitPath"] == "/Suspended Accounts"
    assert user["customSchemas"] == {SYNC: {"DCID": "7"}}
    assert not user["isAdmin"]
    assert "password" not in user
    assert [write.body for write in google.writes] == [body]


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"password": "short"}, (400, "invalid", "Invalid Password")),
        ({"password": "pässword pässword"}, (400, "invalid", "Invalid Password")),
        ({"password": "x" * 101}, (400, "invalid", "Invalid Password")),
        ({"name": {"givenName": "", "familyName": "X"}}, (400, "invalid", "Invalid Given/Family Name")),
        ({"name": {"givenName": "A<b", "familyName": "X"}}, (400, "invalid", "Invalid Given/Family Name")),
        ({"name": {"givenName": "A" * 61, "familyName": "X"}}, (400, "invalid", "Invalid Given/Family Name")),
        ({"primaryEmail": "a..b@d118.org"}, bad_input("primary_user_email")),
        ({"primaryEmail": "a b@d118.org"}, bad_input("primary_user_email")),
        ({"primaryEmail": "abuse@d118.org"}, bad_input("primary_user_email")),
        ({"primaryEmail": f"{'a' * 65}@d118.org"}, bad_input("primary_user_email")),
        ({"primaryEmail": "a@elsewhere.org"}, FORBIDDEN),
        ({"primaryEmail": "Ann@d118.org"}, TAKEN),
        ({"primaryEmail": "ann.OLD@d118.org"}, TAKEN),
        ({"primaryEmail": "staff@d118.org"}, TAKEN),
        ({"orgUnitPath": "/Nope"}, bad_input("INVALID_OU_ID")),
        ({"customSchemas": {"Nope": {}}}, bad_input("custom_schema")),
        ({"customSchemas": {SYNC: {"Nope": 1}}}, bad_input("custom_schema")),
        ({"customSchemas": {SYNC: {"DCID": "x"}}}, bad_input("custom_schema")),
        ({"customSchemas": {SYNC: {"Access": 5}}}, bad_input("custom_schema")),
        ({"customSchemas": {SYNC: {"Access": "x" * 501}}}, bad_input("custom_schema")),
        ({"externalIds": [{"type": "employee", "value": "1"}]}, bad_input("externalIds")),
        ({"externalIds": [{"type": "custom", "value": "1"}]}, bad_input("externalIds")),
    ],
)
def test_refused_inserts(
    google: GoogleServer, api: Any, start: Any, change: dict[str, Any], refusal: tuple[int, str, str]
) -> None:
    assert refused(api.users().insert(body={**new_user(), **change})) == refusal
    assert google.snapshot() == start
    assert google.writes == []
    assert len(google.attempted_writes) == 1


def test_insert_without_licence_and_in_an_unknown_domain(google: GoogleServer, api: Any) -> None:
    google.licences = 4
    refusal = (412, "limitExceeded", "Domain user limit reached.")
    assert refused(api.users().insert(body=new_user())) == refusal
    google.foreign_domain_status = 404
    answer = refused(api.users().insert(body=new_user("a@elsewhere.org")))
    assert answer == (404, "notFound", "Domain not found")


def test_update_changes_only_what_is_sent(google: GoogleServer, api: Any) -> None:
    had = google.user("ann@d118.org")
    fields = {SYNC: {"DCID": 132, "Access": None}, "CrisisGO": {"Building": None}}
    body = {"customSchemas": fields, "name": {"givenName": "Anna"}, "id": "7", "isAdmin": True}
    body |= {"externalIds": [{"type": "custom", "customType": "badge", "value": "9"}]}
    api.users().update(userKey=had["id"], body=body).execute()
    now = google.user(had["id"])
    assert now["customSchemas"] == {SYNC: {"DCID": "132"}}
    assert now["name"] == {"givenName": "Anna", "familyName": "Lee", "fullName": "Anna Lee"}
    assert now["externalIds"] == body["externalIds"]
    changed = {key for key in had if had[key] != now.get(key)}
    assert changed == {"customSchemas", "name", "externalIds", "etag"}
    api.users().update(userKey=had["id"], body={"customSchemas": {SYNC: None}, "externalIds": None}).execute()
    assert not google.user(had["id"]).keys() & {"customSchemas", "externalIds"}


def test_suspending(google: GoogleServer, api: Any) -> None:
    def update(key: str, **body: Any) -> Any:
        return api.users().update(userKey=key, body=body)

    update("ann@d118.org", suspended=True).execute()
    assert google.user("ann@d118.org")["suspensionReason"] == "ADMIN"
    update("ann@d118.org", suspended=False).execute()
    assert "suspensionReason" not in google.user("ann@d118.org")
    update("bob@d118.org", suspended=True).execute()
    refusal = (412, "adminCannotUnsuspend", "Cannot restore a user suspended for abuse.")
    assert refused(update("bob@d118.org", suspended=False)) == refusal
    assert google.user("bob@d118.org")["suspensionReason"] == "ABUSE"
    google.caller_is_super_admin = False
    assert refused(update("admin@d118.org", suspended=True))[:2] == (403, "forbidden")
    assert refused(update("ann@d118.org", archived=True))[0] == 412
    assert refused(update("ann@d118.org", name=None))[0] == 400
    assert refused(update("ann@d118.org", password="short"))[0] == 400


def test_renaming(google: GoogleServer, api: Any) -> None:
    ann = google.user("ann@d118.org")["id"]

    def rename(email: str) -> Any:
        return api.users().update(userKey=ann, body={"primaryEmail": email})

    rename("Ann.New@d118.org").execute()
    assert google.user(ann)["primaryEmail"] == "ann.new@d118.org"
    assert google.user(ann)["aliases"] == ["ann.old@d118.org", "ann@d118.org"]
    rename("ann.old@d118.org").execute()
    assert google.user(ann)["aliases"] == ["ann@d118.org", "ann.new@d118.org"]
    for taken in ("bob@d118.org", "staff@d118.org"):
        assert refused(rename(taken)) == TAKEN
    assert refused(rename("ann@elsewhere.org"))[0] == 403
    aliases = api.users().aliases()
    listed = aliases.list(userKey=ann).execute()["aliases"]
    assert [alias["alias"] for alias in listed] == ["ann@d118.org", "ann.new@d118.org"]
    aliases.delete(userKey=ann, alias="ann@d118.org").execute()
    assert refused(aliases.delete(userKey=ann, alias="ann@d118.org"))[0] == 404
    api.users().insert(body=new_user("ann@d118.org")).execute()
    for number in range(29):
        rename(f"a{number}@d118.org").execute()
    assert len(google.user(ann)["aliases"]) == 30
    assert refused(rename("one-too-many@d118.org"))[0] == 412


def test_an_own_alias_may_be_refused_and_a_removed_one_held_for_a_while(google: GoogleServer, api: Any) -> None:
    users, ann = api.users(), google.user("ann@d118.org")["id"]
    google.world.own_alias_can_be_primary = False
    rename = users.update(userKey=ann, body={"primaryEmail": "ann.old@d118.org"})
    assert refused(rename) == TAKEN
    remove = users.aliases().delete(userKey=ann, alias="ann.old@d118.org")
    remove.execute()
    rename.execute()
    assert google.user(ann)["aliases"] == ["ann@d118.org"]

    google.world.requests_until_alias_is_free = 2
    users.aliases().delete(userKey=ann, alias="ann@d118.org").execute()
    insert = users.insert(body=new_user("ann@d118.org"))
    assert refused(insert) == TAKEN
    assert refused(users.get(userKey="ann@d118.org"))[0] == 404
    insert.execute()
    google.world.requests_until_alias_is_free = None
    back = users.update(userKey=ann, body={"primaryEmail": "anna@d118.org"})
    back.execute()
    remove.execute()
    for _ in range(5):
        assert refused(rename) == TAKEN
    google.free_addresses()
    rename.execute()


def test_too_many_aliases_may_be_a_limit(google: GoogleServer, api: Any) -> None:
    google.add_user("many@d118.org", "M", "Any", aliases=[f"m{number}@d118.org" for number in range(30)])
    google.world.too_many_aliases_is_limit_exceeded = True
    rename = api.users().update(userKey="many@d118.org", body={"primaryEmail": "m@d118.org"})
    assert refused(rename)[:2] == (412, "limitExceeded")


def test_domain_aliases(google: GoogleServer, api: Any) -> None:
    google.add_domain_alias("d118.net")
    get, there = api.users().get, "ann@d118.net"
    ann = get(userKey="Ann@D118.net").execute()
    assert ann["nonEditableAliases"] == [there, "ann.old@d118.net"]
    assert ann["aliases"] == ["ann.old@d118.org"]
    assert {"address": there} in ann["emails"]
    found = api.users().list(customer="my_customer", query=f"email={there}")
    assert emails(found.execute()) == ["ann@d118.org"]
    assert refused(get(userKey="nobody@d118.net"))[0] == 404
    for email in ("new@d118.net", there):
        assert refused(api.users().insert(body=new_user(email))) == FORBIDDEN
        assert refused(api.users().update(userKey=ann["id"], body={"primaryEmail": email})) == FORBIDDEN
    assert refused(api.users().aliases().delete(userKey=ann["id"], alias=there)) == bad_input("alias")
    member = api.members().get(groupKey="staff@d118.net", memberKey=there)
    assert member.execute()["email"] == "ann@d118.org"


def test_deleted_users_are_listed_for_twenty_days_and_nowhere_else(google: GoogleServer, api: Any) -> None:
    now = datetime.datetime.now(datetime.timezone.utc)

    def delete(email: str, dcid: int, days: int) -> str:
        deleted = now - datetime.timedelta(days=days)
        return google.add_deleted_user(email, "Gone", "Away", deleted=deleted, fields={SYNC: {"DCID": dcid}})

    first, second = delete("gone@d118.org", 501, 1), delete("Gone@d118.org", 502, 19)
    delete("gone@d118.org", 503, 21)
    taken = delete("ann@d118.org", 131, 3)

    def listed(**more: str) -> list[dict[str, Any]]:
        asked = api.users().list(customer="my_customer", showDeleted="true", projection="full", **more)
        users: list[dict[str, Any]] = asked.execute().get("users", [])
        return users

    assert {user["id"] for user in listed()} == {first, second, taken}
    one = next(user for user in listed() if user["id"] == first)
    assert (one["primaryEmail"], one["customSchemas"]) == ("gone@d118.org", {SYNC: {"DCID": "501"}})
    assert one["deletionTime"] == (now - datetime.timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    assert [user["id"] for user in listed(query=f"{SYNC}.DCID=131")] == [taken]
    assert "gone@d118.org" not in emails(api.users().list(customer="my_customer").execute())
    assert api.users().get(userKey="ann@d118.org").execute()["id"] != taken
    for key in (first, "gone@d118.org"):
        assert refused(api.users().get(userKey=key))[0] == 404
    assert api.users().insert(body=new_user("gone@d118.org")).execute()["id"] != first


def test_times(google: GoogleServer, api: Any) -> None:
    login = "2026-09-01T08:00:00.000Z"
    eve = google.add_user("eve@d118.org", "Eve", "Ray", suspended=True, last_login=login)

    def times(key: str) -> dict[str, str]:
        return {name: value for name, value in google.user(key).items() if name.endswith("Time")}

    assert times(eve) == {"creationTime": "2020-08-01T12:00:00.000Z", "lastLoginTime": login}
    google.world.tells_suspension_time = True
    assert times(eve)["suspensionTime"] == "2024-06-15T12:00:00.000Z"
    google.now = lambda: datetime.datetime(2026, 11, 23, 6, 0, 1, 500_000, datetime.timezone.utc)
    had = google.snapshot()
    for state in (True, True, False):
        api.users().update(userKey="ann@d118.org", body={"suspended": state}).execute()
        assert times("ann@d118.org").get("suspensionTime") == ("2026-11-23T06:00:01.000Z" if state else None)
    assert google.snapshot() == had


def test_accounts_and_groups_shown_in_odd_shapes(google: GoogleServer, api: Any) -> None:
    ann, bob = google.user("ann@d118.org")["id"], google.user("bob@d118.org")["id"]
    inner = api.groups().get(groupKey="inner@d118.org").execute()["id"]
    odd = {"name": ["Ann"], "customSchemas": [], "externalIds": {"value": "E1"}, "aliases": "ann.old@d118.org"}
    google.shown[ann] = lambda own: {**own, **odd}
    google.shown[bob] = lambda _own: ["no account"]
    google.shown[inner] = lambda own: {name: value for name, value in own.items() if name != "id"}
    mask = "users(id,primaryEmail,name(givenName),customSchemas,externalIds,aliases)"
    listed = api.users().list(customer="my_customer", fields=mask).execute()["users"]
    assert listed[1] == {"id": ann, "primaryEmail": "ann@d118.org", **odd}
    assert listed[2] == ["no account"]
    assert api.users().get(userKey=ann).execute()["name"] == ["Ann"]
    groups = api.groups().list(userKey=ann).execute()["groups"]
    assert [group["email"] for group in groups if "id" not in group] == ["inner@d118.org"]


# Groups, org units, schemas.


def test_groups_of_a_user(google: GoogleServer, api: Any) -> None:
    ann = google.user("ann@d118.org")["id"]
    names = [group["email"] for group in api.groups().list(userKey=ann).execute()["groups"]]
    own = ["everyone@d118.org", "inner@d118.org", "list@elsewhere.org", "locked@d118.org", "staff@d118.org"]
    assert names == own
    assert "groups" not in api.groups().list(userKey="admin@d118.org").execute()
    request, pages = api.groups().list(userKey=ann, maxResults=2, fields="nextPageToken,groups(email)"), []
    while request:
        pages.append(request.execute())
        request = api.groups().list_next(request, pages[-1])
    assert [len(page["groups"]) for page in pages] == [2, 2, 1]
    assert refused(api.groups().list(userKey="o'neil@d118.org")) == (400, "invalid", "Invalid Member")
    assert refused(api.groups().list(userKey=OUTSIDE))[2] == "Resource Not Found: userKey"
    assert refused(api.groups().list())[1] == "badRequest"
    assert api.groups().get(groupKey="STAFF@d118.org").execute()["directMembersCount"] == "2"
    assert refused(api.groups().get(groupKey="ann@d118.org"))[2] == "Resource Not Found: groupKey"
    assert refused(api.groups().get(groupKey="list@elsewhere.org"))[0] == 403


def test_members(google: GoogleServer, api: Any) -> None:
    members, ann = api.members(), google.user("ann@d118.org")["id"]
    where = {"groupKey": "staff@d118.org", "memberKey": ann}
    assert members.get(**where).execute()["role"] == "OWNER"
    indirect = members.get(groupKey="outer@d118.org", memberKey=ann)
    assert refused(indirect) == (404, "notFound", "Resource Not Found: memberKey")
    owners = members.list(groupKey="staff@d118.org", roles="OWNER,MANAGER").execute()["members"]
    assert [member["email"] for member in owners] == ["ann@d118.org"]
    assert "nextPageToken" in members.list(groupKey="staff@d118.org", maxResults=1).execute()
    assert members.delete(**where).execute() == ""
    assert google.members("staff@d118.org") == {"bob@d118.org": "MEMBER"}
    assert refused(members.delete(**where)) == (404, "notFound", "Resource Not Found: memberKey")
    back = members.insert(groupKey="staff@d118.org", body={"id": ann, "role": "MANAGER"})
    assert back.execute()["email"] == "ann@d118.org"
    assert refused(back) == (409, "duplicate", "Member already exists.")
    for group in ("list@elsewhere.org", "locked@d118.org"):
        for request in (
            members.get(groupKey=group, memberKey=ann),
            members.delete(groupKey=group, memberKey=ann),
            members.insert(groupKey=group, body={"email": "bob@d118.org"}),
        ):
            assert refused(request) == FORBIDDEN
    dynamic = members.delete(groupKey="everyone@d118.org", memberKey=ann)
    assert refused(dynamic)[:2] == (412, "conditionNotMet")
    assert refused(members.insert(groupKey="staff@d118.org", body={"email": "no@d118.org"}))[0] == 404


def test_a_group_as_a_user(google: GoogleServer, api: Any) -> None:
    google.world.group_is_bad_user_key = True
    bad_key = (400, "badRequest", "Type not supported: userKey")
    assert refused(api.users().get(userKey="staff@d118.org")) == bad_key
    assert [one["email"] for one in api.groups().list(userKey="inner@d118.org").execute()["groups"]] == [
        "outer@d118.org"
    ]


def test_delivery_settings_go_with_a_membership(google: GoogleServer, api: Any) -> None:
    google.add_group("club@d118.org", members={"ann@d118.org": "OWNER"}, delivery={"ann@d118.org": "DIGEST"})
    members, ann = api.members(), {"groupKey": "club@d118.org", "memberKey": "ann@d118.org"}
    assert members.get(**ann).execute()["delivery_settings"] == "DIGEST"
    listed = members.list(groupKey="club@d118.org").execute()["members"]
    assert "delivery_settings" not in listed[0]
    members.delete(**ann).execute()
    assert google.delivery("club@d118.org") == {}
    join = {"email": "ann@d118.org", "role": "OWNER"}
    members.insert(groupKey="club@d118.org", body=join).execute()
    assert members.get(**ann).execute()["delivery_settings"] == "ALL_MAIL"
    members.delete(**ann).execute()
    wrong = members.insert(groupKey="club@d118.org", body={**join, "delivery_settings": "SOME"})
    assert refused(wrong) == bad_input("resource")
    members.insert(groupKey="club@d118.org", body={**join, "delivery_settings": "NONE"}).execute()
    assert google.delivery("club@d118.org") == {"ann@d118.org": "NONE"}


def test_org_units(google: GoogleServer, api: Any) -> None:
    units = api.orgunits()
    listed = units.list(customerId="my_customer", type="all").execute()["organizationUnits"]
    paths = ["/D118 Staff", "/D118 Staff/High School Staff", "/Suspended Accounts"]
    assert [unit["orgUnitPath"] for unit in listed] == paths
    children = units.list(customerId="my_customer").execute()["organizationUnits"]
    assert [unit["orgUnitPath"] for unit in children] == ["/D118 Staff", "/Suspended Accounts"]
    below = units.list(customerId="my_customer", type="all", orgUnitPath="/Suspended Accounts").execute()
    assert "organizationUnits" not in below
    one = units.get(customerId="my_customer", orgUnitPath="D118 Staff/High School Staff").execute()
    assert one["parentOrgUnitPath"] == "/D118 Staff"
    missing = units.get(customerId="my_customer", orgUnitPath="Nope")
    assert refused(missing) == (404, "notFound", "Org unit not found")

    def insert(name: str, parent: str) -> Any:
        return units.insert(customerId="my_customer", body={"name": name, "parentOrgUnitPath": parent})

    assert insert("Middle Staff", "/d118 staff").execute()["orgUnitPath"] == "/D118 Staff/Middle Staff"
    assert refused(insert("middle staff", "/D118 Staff")) == (400, "invalid", "Invalid Ou Id")
    assert refused(insert("X", "/Nope")) == (400, "invalid", "Invalid Parent Orgunit Id")
    assert google.add_user("in@d118.org", "In", "It", ou="/D118 Staff/Middle Staff")


def test_schemas(google: GoogleServer, api: Any) -> None:
    schemas, mine = api.schemas(), {"customerId": "my_customer"}
    had = schemas.get(**mine, schemaKey=SYNC).execute()
    assert [field["fieldName"] for field in had["fields"]] == ["DCID", "Access", "Quiet"]
    assert len(schemas.list(**mine).execute()["schemas"]) == 2
    assert refused(schemas.get(**mine, schemaKey="Nope"))[0] == 404
    field = {"fieldName": "Room", "displayName": "Room", "fieldType": "STRING"}
    body = {"schemaName": "Place", "displayName": "Place", "fields": [field]}
    assert schemas.insert(**mine, body=body).execute()["fields"][0]["readAccessType"] == "ALL_DOMAIN_USERS"
    assert refused(schemas.insert(**mine, body=body))[:2] == (409, "duplicate")
    assert refused(schemas.insert(**mine, body={**body, "schemaName": "A place"}))[0] == 400
    google.world.schema_updates_are_strict = False
    kept = [one for one in had["fields"] if one["fieldName"] != "Access"]
    retyped = [{**kept[0], "fieldType": "STRING"}]
    assert refused(schemas.update(**mine, schemaKey=SYNC, body={"fields": retyped}))[0] == 400
    schemas.update(**mine, schemaKey=SYNC, body={"fields": [*kept, field]}).execute()
    assert google.user("ann@d118.org")["customSchemas"][SYNC] == {"DCID": "131"}
    api.users().update(userKey="ann@d118.org", body={"customSchemas": {SYNC: {"Room": "5"}}}).execute()


def test_a_strict_update_of_a_schema(google: GoogleServer, api: Any) -> None:
    google.world.schema_updates_are_strict = True
    had = api.schemas().get(customerId="my_customer", schemaKey=SYNC).execute()
    bare = [
        {key: value for key, value in one.items() if key not in {"etag", "kind", "fieldId"}} for one in had["fields"]
    ]

    def update(**body: Any) -> Any:
        return api.schemas().update(customerId="my_customer", schemaKey=had["schemaId"], body=body)

    assert refused(update(fields=bare)) == bad_input("schemaName")
    assert refused(update(schemaName=SYNC, fields=[])) == bad_input("fields")
    for name, value in (("fieldId", "1"), ("etag", '"1"'), ("kind", "admin#directory#schema#fieldspec")):
        assert refused(update(schemaName=SYNC, fields=[{**bare[0], name: value}]))[0] == 400
    assert refused(update(schemaName=SYNC, fields=bare, etag='"1"'))[0] == 400
    assert google.violations == ["schemas.update is sent an etag, kind or fieldId"] * 4
    google.reset_records()
    update(schemaName=SYNC, fields=bare).execute()
    assert google.user("ann@d118.org")["customSchemas"][SYNC] == {"DCID": "131", "Access": "5;10"}
    update(schemaName=SYNC, fields=bare[1:]).execute()
    assert google.user("ann@d118.org")["customSchemas"][SYNC] == {"Access": "5;10"}


# What must not be asked.


@pytest.mark.parametrize(
    ("verb", "path", "body", "violation"),
    [
        ("DELETE", "users/bob@d118.org", None, "users.delete is not modelled"),
        ("PUT", "users/", {}, "no such method: PUT"),
        ("DELETE", "groups/staff@d118.org/members/", None, "no such method: DELETE"),
        ("GET", "users?customer=my_customer&colour=red", None, "has no parameter colour"),
        ("GET", "users?customer=my_customer&maxResults=501", None, "maxResults='501' is not a value"),
        ("GET", "users?customer=my_customer&projection=FULL", None, "projection='FULL' is not a value"),
        ("PUT", "users/ann@d118.org", {"nickname": "A"}, "body has no field nickname"),
        ("PUT", "users/ann@d118.org", {"suspended": "true"}, "body.suspended is not of type boolean"),
        ("PUT", "users/ann@d118.org", "text", "needs a JSON object"),
        ("POST", "users", {"primaryEmail": "x@d118.org", "password": "12345678"}, "body.name is missing"),
        ("GET", "users?customer=my_customer&query=name:Ann", None, "a query with name: is not modelled"),
    ],
)
def test_violations(google: GoogleServer, start: Any, verb: str, path: str, body: Any, violation: str) -> None:
    url = f"https://admin.googleapis.com/admin/directory/v1/{path}"
    headers = {"Authorization": f"Bearer {google.access_token()}"}
    answer = session_of(google).request(verb, url, json=body, headers=headers)
    assert answer.status_code in {400, 404}
    assert violation in google.violations[0]
    assert google.snapshot() == start
    google.reset_records()


def test_other_hosts_are_refused(google: GoogleServer) -> None:
    with pytest.raises(requests.exceptions.ProxyError):
        session_of(google).get("https://example.org/")
    assert google.violations == ["CONNECT example.org:443 goes to none of Google's hosts"]
    google.reset_records()


def test_tokens_and_scopes(google: GoogleServer) -> None:
    few = service_of(google, Credentials(google.access_token([SCOPE_PREFIX + "user.readonly"])))
    few.users().get(userKey="ann@d118.org").execute()
    message = "Request had insufficient authentication scopes."
    refusal = (403, "insufficientPermissions", message)
    assert refused(few.users().update(userKey="ann@d118.org", body={"suspended": True})) == refusal
    url = "https://admin.googleapis.com/admin/directory/v1/users/ann@d118.org"
    for headers in ({}, {"Authorization": "Bearer stolen"}):
        answer = session_of(google).get(url, headers=headers)
        assert (answer.status_code, answer.json()["error"]["errors"][0]["reason"]) == (401, "authError")


# Tokens.


def user_credentials(google: GoogleServer, folder: Path, scopes: Any = None) -> Any:
    google.write_credentials(folder, scopes=scopes)
    return Credentials.from_authorized_user_file(str(folder / "token.json"), scopes)


def test_an_expired_token_is_refreshed_unseen(google: GoogleServer, tmp_path: Path) -> None:
    api = service_of(google, user_credentials(google, tmp_path))
    api.users().get(userKey="ann@d118.org").execute()
    google.expire_tokens()
    api.users().get(userKey="ann@d118.org").execute()
    told = [(request.method, request.status) for request in google.requests]
    once = [("token", 200), ("users.get", 200)]
    assert told == [*once, ("users.get", 401), *once]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("invalid_grant", "Token has been expired or revoked."),
        ("invalid_rapt", "Reauthentication is needed"),
        ("unauthorized_client", "Client is unauthorized to retrieve access tokens"),
        ("invalid_scope", "invalid_scope"),
        ("invalid_client", "The OAuth client was not found."),
    ],
)
def test_refused_refresh(google: GoogleServer, tmp_path: Path, fault: str, words: str) -> None:
    credentials = user_credentials(google, tmp_path, SCOPES)
    google.token_fault = fault
    with pytest.raises(RefreshError, match=words):
        credentials.refresh(RequestsTransport(session_of(google)))


def test_fewer_scopes_and_wrong_client(google: GoogleServer, tmp_path: Path) -> None:
    transport = RequestsTransport(session_of(google))
    credentials = user_credentials(google, tmp_path, SCOPES)
    google.token_fault = "fewer_scopes"
    credentials.refresh(transport)
    assert set(credentials.granted_scopes) < set(SCOPES)
    google.token_fault = None
    credentials._client_secret = "wrong"
    with pytest.raises(RefreshError, match="invalid_client"):
        credentials.refresh(transport)
    google.write_credentials(tmp_path, scopes=SCOPES[:1])
    wider = Credentials.from_authorized_user_file(str(tmp_path / "token.json"), SCOPES)
    with pytest.raises(RefreshError, match="invalid_scope"):
        wider.refresh(transport)


def test_an_unavailable_token_endpoint_is_tried_again(google: GoogleServer, tmp_path: Path) -> None:
    credentials = user_credentials(google, tmp_path)
    google.fail("token", 503, body=b"")
    credentials.refresh(RequestsTransport(session_of(google)))
    assert [request.status for request in google.requests] == [503, 200]


def test_sign_in_with_a_code(google: GoogleServer, tmp_path: Path) -> None:
    google.write_credentials(tmp_path)
    flow = InstalledAppFlow.from_client_secrets_file(str(tmp_path / "credentials.json"), SCOPES)
    flow.redirect_uri = "http://localhost:1/"
    flow.oauth2session.trust_env = False
    flow.oauth2session.proxies = session_of(google).proxies
    flow.oauth2session.verify = str(google.ca_file)
    code = google.issue_code(SCOPES)
    flow.fetch_token(code=code)
    service_of(google, flow.credentials).users().get(userKey="ann@d118.org").execute()
    flow.credentials.refresh(RequestsTransport(session_of(google)))
    with pytest.raises(Exception, match="expired or revoked"):
        flow.fetch_token(code=code)


def test_service_account(google: GoogleServer, tmp_path: Path) -> None:
    google.write_service_account(tmp_path)
    file = str(tmp_path / "credentials.json")

    def get_as(subject: str | None, scopes: Any = SCOPES) -> Any:
        credentials = ServiceCredentials.from_service_account_file(file, scopes=scopes, subject=subject)
        return service_of(google, credentials).users().get(userKey="ann@d118.org")

    assert get_as("admin@d118.org").execute()["primaryEmail"] == "ann@d118.org"
    assert refused(get_as("ann@d118.org"))[0] == 403
    assert refused(get_as(None))[0] == 403
    with pytest.raises(RefreshError, match="Invalid email or User ID"):
        get_as("nobody@d118.org").execute()
    with pytest.raises(RefreshError, match="unauthorized_client"):
        get_as("admin@d118.org", [*SCOPES, SCOPE_PREFIX + "user.security"]).execute()


# Faults.


def test_fail_before_and_after(google: GoogleServer, api: Any) -> None:
    update = api.users().update(userKey="ann@d118.org", body={"suspended": True})
    google.fail("users.update", times=2)
    for _ in range(2):
        assert refused(update) == (503, "backendError", "Service unavailable. Please try again")
    assert not google.user("ann@d118.org")["suspended"]
    google.fail("users.update", 409, "conflict", "Conflicting requests. Please try again", when="after")
    assert refused(update)[:2] == (409, "conflict")
    assert google.user("ann@d118.org")["suspended"]
    told = [(write.status, write.applied) for write in google.attempted_writes]
    assert told == [(503, False), (503, False), (409, True)]
    update.execute()
    assert len(google.writes) == 1


def test_fail_only_what_matches_and_for_ever(google: GoogleServer, api: Any) -> None:
    ann = google.user("ann@d118.org")["id"]
    fault = (403, "quotaExceeded", "Slow down")
    google.fail("users.get", *fault, times=None, match=lambda asked: asked.params["userKey"] == ann)
    for _ in range(3):
        assert refused(api.users().get(userKey=ann)) == fault
    api.users().get(userKey="bob@d118.org").execute()
    google.behave()
    api.users().get(userKey=ann).execute()
    google.fail("*", 502, body=b"<html>Bad Gateway</html>")
    with pytest.raises(HttpError) as caught:
        api.groups().get(groupKey="staff@d118.org").execute()
    assert (caught.value.status_code, caught.value.content) == (502, b"<html>Bad Gateway</html>")


@pytest.mark.parametrize("name", [name for name in ODD_ANSWERS if not name.startswith("token")])
def test_odd_answers_of_the_api_heal(google: GoogleServer, name: str) -> None:
    odd = ODD_ANSWERS[name]
    headers = {"Authorization": f"Bearer {google.access_token()}"}
    url = "https://admin.googleapis.com/admin/directory/v1/users/ann@d118.org"
    google.fail("users.get", **odd)
    answer = session_of(google).get(url, headers=headers)
    assert answer.status_code == odd["status"]
    assert answer.content == odd.get("body") or answer.json()["error"]["message"] == odd["message"]
    assert session_of(google).get(url, headers=headers).json()["primaryEmail"] == "ann@d118.org"


@pytest.mark.parametrize("name", [name for name in ODD_ANSWERS if name.startswith("token")])
def test_odd_answers_of_the_token_service_heal(google: GoogleServer, tmp_path: Path, name: str) -> None:
    odd = ODD_ANSWERS[name]
    google.fail("token", **odd)
    google.write_credentials(tmp_path)
    token = json.loads((tmp_path / "token.json").read_text("utf-8"))
    form = {name: token[name] for name in ("refresh_token", "client_id", "client_secret")}
    form["grant_type"] = "refresh_token"
    answers = [session_of(google).post(token["token_uri"], form) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [odd["status"], 200]
    assert answers[0].content == odd["body"]
    assert answers[1].json()["token_type"] == "Bearer"


def test_a_proxy_that_lets_nobody_through(google: GoogleServer) -> None:
    google.fail("tunnel", 407, body=b"", match=lambda asked: asked.params["host"] == "oauth2.googleapis.com")
    url = "https://oauth2.googleapis.com/token"
    with pytest.raises(requests.exceptions.ProxyError, match="407"):
        session_of(google).post(url, {})
    assert session_of(google).post(url, {}).status_code == 401


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_deletion_answered_oddly(google: GoogleServer, api: Any, when: str) -> None:
    """The client gives what it makes of the body; on the wire a deletion that is done is a 204 without one."""
    for method in ("members.delete", "users.aliases.delete"):
        google.fail(method, 200, body=b'"done"', when=when)
    api.members().delete(groupKey="staff@d118.org", memberKey="ann@d118.org").execute()
    api.users().aliases().delete(userKey="ann@d118.org", alias="ann.old@d118.org").execute()
    assert ("ann@d118.org" in google.members("staff@d118.org")) is (when == "before")
    assert ("ann.old@d118.org" in google.addresses) is (when == "before")
    assert [request.status for request in google.requests] == [200, 200]
    api.members().delete(groupKey="inner@d118.org", memberKey="ann@d118.org").execute()
    assert google.requests[-1].status == 204


@pytest.mark.parametrize("listing", ["users", "groups"])
def test_a_page_token_that_repeats(google: GoogleServer, api: Any, listing: str) -> None:
    google.world.endless_listing = listing
    resource, tokens = getattr(api, listing)(), []
    request = resource.list(customer="my_customer", maxResults=2)
    for _ in range(9):
        answer = request.execute()
        tokens.append(answer["nextPageToken"])
        request = resource.list_next(request, answer)
    assert len(set(tokens)) == 1


def drip(google: GoogleServer, method: str, pool: ThreadPoolExecutor, ask: Any) -> Any:
    """What the request will be worth, once its answer drips."""
    google.fail(method, drip=True)
    waiting = pool.submit(ask)
    assert google.dripping.wait(20)
    return waiting


def test_an_answer_that_drips(google: GoogleServer, tmp_path: Path) -> None:
    """No pause between two bytes is as long as the client's patience."""
    api = service_of(google, timeout=5)
    suspend = api.users().update(userKey="ann@d118.org", body={"suspended": True})
    credentials = user_credentials(google, tmp_path)
    with ThreadPoolExecutor() as pool:
        waiting = drip(google, "users.update", pool, suspend.execute)
        assert google.user("ann@d118.org")["suspended"]
        assert not waiting.done()
        google.end_drips()
        assert waiting.result(20)["primaryEmail"] == "ann@d118.org"
        google.reset_records()
        transport = RequestsTransport(session_of(google))
        waiting = drip(google, "token", pool, lambda: credentials.refresh(transport))
        assert not credentials.valid
        google.behave()
        waiting.result(20)
        assert credentials.valid


def test_a_server_that_stops_cuts_off_what_drips(capfd: pytest.CaptureFixture[str]) -> None:
    threads = set(threading.enumerate())
    with ThreadPoolExecutor() as pool:
        with GoogleServer() as google:
            get = service_of(google).users().list(customer="my_customer")
            waiting = drip(google, "users.list", pool, get.execute)
            assert not waiting.done()
        assert waiting.exception(20) or not waiting.result()
    assert set(threading.enumerate()) <= threads
    assert capfd.readouterr().err == ""


def test_quotas(google: GoogleServer, api: Any) -> None:
    now = [datetime.datetime(2026, 11, 23, tzinfo=datetime.timezone.utc)]
    google.now = lambda: now[0]
    google.world.queries_a_minute, google.world.creations_a_second = 6, 2
    inserts = [api.users().insert(body=new_user(f"n{number}@d118.org")) for number in range(4)]
    inserts[0].execute()
    inserts[1].execute()
    assert refused(inserts[2])[:2] == (503, "backendError")
    now[0] += datetime.timedelta(seconds=1)
    inserts[2].execute()
    get = api.users().get(userKey="ann@d118.org")
    get.execute()
    get.execute()
    assert refused(get)[:2] == (403, "userRateLimitExceeded")
    assert refused(inserts[3])[:2] == (403, "userRateLimitExceeded")
    now[0] += datetime.timedelta(seconds=59)
    get.execute()


def test_connections_are_served_side_by_side(google: GoogleServer) -> None:
    """Each request waits until all are being served."""
    together = threading.Barrier(8, timeout=20)
    google.hook = lambda _request, when: when == "before" and together.wait() < 0

    def get(number: int) -> str:
        email = ("ann@d118.org", "bob@d118.org")[number % 2]
        return str(service_of(google).users().get(userKey=email).execute()["primaryEmail"])

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(get, range(8))) == ["ann@d118.org"] * 4 + ["bob@d118.org"] * 4


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_broken_connection_is_sent_again_unseen(google: GoogleServer, api: Any, when: str) -> None:
    google.fail("users.insert", close=True, when=when)
    insert = api.users().insert(body=new_user())
    if when == "before":
        insert.execute()
    else:
        assert refused(insert) == TAKEN
    told = [(request.status, request.applied) for request in google.requests]
    assert told == ([(0, False), (200, True)] if when == "before" else [(0, True), (409, False)])
    google.fail("users.get", close=True, times=2)
    with pytest.raises(ConnectionError):
        api.users().get(userKey="new@d118.org").execute()


def test_an_answer_that_never_comes(google: GoogleServer) -> None:
    api = service_of(google, timeout=0.2)
    google.fail("users.update", hang=True, when="after")
    with pytest.raises(TimeoutError):
        api.users().update(userKey="ann@d118.org", body={"suspended": True}).execute()
    assert google.user("ann@d118.org")["suspended"]
    api.users().get(userKey="ann@d118.org").execute()


@pytest.mark.parametrize("moment", ["before", "after"])
def test_the_hook_may_kill_the_client(
    google: GoogleServer, tmp_path: Path, capfd: pytest.CaptureFixture[str], moment: str
) -> None:
    suspend = "users.update(userKey='ann@d118.org', body={'suspended': True}).execute()"
    waiting = threading.Event()

    def kill(_request: Request, when: str) -> None:
        waiting.wait()
        if when == moment:
            child.kill()
            child.wait()

    google.hook = kill
    child = child_of(google, tmp_path, suspend)
    waiting.set()
    child.communicate(timeout=20)
    assert child.returncode != 0
    assert google.user("ann@d118.org")["suspended"] is (moment == "after")
    google.hook = None
    service_of(google).users().get(userKey="ann@d118.org").execute()
    assert capfd.readouterr().err == ""


def test_restore_puts_everything_back(google: GoogleServer, api: Any, start: Any) -> None:
    had = google.snapshot()
    assert had == start
    api.users().insert(body=new_user()).execute()
    api.users().update(userKey="ann@d118.org", body={"primaryEmail": "anna@d118.org"}).execute()
    api.members().delete(groupKey="staff@d118.org", memberKey="anna@d118.org").execute()
    assert google.snapshot() != had
    google.restore(had)
    assert google.snapshot() == had
    assert refused(api.users().get(userKey="anna@d118.org"))[0] == 404
    assert google.members("staff@d118.org")["ann@d118.org"] == "OWNER"
