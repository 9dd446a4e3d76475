"""Google's directory as a model in memory: what an account holds and which changes it refuses.

`Directory` speaks the Directory API's own terms: `call("users.update", params, body)` gives a status and a
resource or raises `RefusalError`. `google_server` puts it on the wire. Custom whole numbers are kept as text,
the form Google hands them back in; a user is replaced, never changed in place, so a resource once given out
stays as it was.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import json
import re
import threading
import zlib
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
Params = dict[str, str]

LARGE = 5000  # accounts
CUSTOMER_ID = "C03stand1n"
NEVER = "1970-01-01T00:00:00.000Z"
CREATED = "2020-08-01T12:00:00.000Z"
CREATED_BY_API = "2026-11-23T12:00:00.000Z"
SUSPENDED = "2024-06-15T12:00:00.000Z"
DELETED_ARE_KEPT = datetime.timedelta(days=20)

KINDS = ("users", "deleted_users", "groups", "org_units", "schemas", "domain_aliases")
MOST_ALIASES = 30
RESERVED_LOCAL_PARTS = {"abuse", "postmaster"}
LOCAL_PART = re.compile(r"[a-z0-9_'-]+(\.[a-z0-9_'-]+)*")
HASHES = {"MD5": r"[0-9a-fA-F]{32}", "SHA-1": r"[0-9a-fA-F]{40}", "crypt": r"(\$[156]\$.+|[./0-9A-Za-z]{13})"}
EXTERNAL_ID_TYPES = {"account", "custom", "customer", "login_id", "network", "organization"}
# Lists are values, replaced whole; the number is the most bytes one may have.
LIST_SIZES = {
    "addresses": 10_240, "emails": 10_240, "externalIds": 2_048, "ims": 2_048, "keywords": 1_024,
    "languages": 1_024, "locations": 10_240, "organizations": 10_240, "phones": 1_024,
    "posixAccounts": 10_240, "relations": 2_048, "sshPublicKeys": 10_240, "websites": 2_048,
}  # fmt: skip
PLAIN_PROPERTIES = {
    "changePasswordAtNextLogin", "gender", "includeInGlobalAddressList", "ipWhitelisted", "notes",
    "recoveryEmail", "recoveryPhone",
}  # fmt: skip
FIELD_TYPES = {"STRING", "INT64", "BOOL", "DOUBLE", "EMAIL", "PHONE", "DATE"}
NUMBER_TYPES = {"INT64", "DOUBLE"}
MOST_CHARACTERS = 500
SCHEMA_NAME = re.compile(r"[A-Za-z0-9_-]+")
ROLES = {"OWNER", "MANAGER", "MEMBER"}
DELIVERIES = {"ALL_MAIL", "DAILY", "DIGEST", "DISABLED", "NONE"}
SET_BY_GOOGLE = {"etag", "kind", "fieldId"}

CLAUSE = re.compile(r"\s*([\w-]+(?:\.[\w-]+)?)(<=|>=|[=:<>])('(?:[^'\\]|\\')*'|[^\s'\\]+)(?=\s|$)", re.ASCII)
QUERY_FLAGS = {
    "isAdmin": "isAdmin", "isDelegatedAdmin": "isDelegatedAdmin",
    "isArchived": "archived", "isSuspended": "suspended",
}  # fmt: skip
OTHER_QUERY_FIELDS = {"name", "givenName", "familyName", "externalId", "phone", "isGuest", "isEnrolledIn2Sv"}


class RefusalError(Exception):
    """Google says no: `status`, and the `reason` and `message` of its error body."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status, self.reason, self.message = status, reason, message


class NotModelledError(Exception):
    """The request may be fine, but this model has no such behaviour: a test must not rely on it."""


@dataclass
class World:
    """How Google behaves where its documents leave that open, and where it is less kind than on a good day.

    own_alias_can_be_primary            False: a rename to an alias of the account itself is a 409
    requests_until_alias_is_free        so many requests after users.aliases.delete nobody can have the address,
                                        not even its old owner; None: until `free_addresses`
    group_is_bad_user_key               a group's address as a userKey is a 400, not a 404
    too_many_aliases_is_limit_exceeded  one alias too many is a 412 limitExceeded, not a 400
    schema_updates_are_strict           schemas.update needs schemaName; etag, kind and fieldId are a violation
    tells_suspension_time               suspended accounts carry suspensionTime
    endless_listing                     "users", "groups" or "members": its page token repeats for ever
    queries_a_minute                    more are a 403 userRateLimitExceeded; Google allows 2,400
    creations_a_second                  more are a 503; Google allows 10
    """

    own_alias_can_be_primary: bool = True
    requests_until_alias_is_free: int | None = 0
    group_is_bad_user_key: bool = True
    too_many_aliases_is_limit_exceeded: bool = True
    schema_updates_are_strict: bool = True
    tells_suspension_time: bool = False
    endless_listing: str = ""
    queries_a_minute: int | None = None
    creations_a_second: int | None = None


def invalid(message: str) -> RefusalError:
    return RefusalError(400, "invalid", message)


def not_found(key: str) -> RefusalError:
    return RefusalError(404, "notFound", f"Resource Not Found: {key}")


def forbidden() -> RefusalError:
    return RefusalError(403, "forbidden", "Not Authorized to access this resource/api")


def duplicate(what: str = "Entity") -> RefusalError:
    return RefusalError(409, "duplicate", f"{what} already exists.")


def json_copy(value: Any) -> Any:
    return json.loads(json.dumps(value))


def utc_now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)


def rfc3339(moment: datetime.datetime) -> str:
    """In UTC and always of the same length, so that two of them compare as text."""
    return moment.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def domain_of(address: str) -> str:
    return address.rpartition("@")[2]


def is_at_or_below(path: str, top: str) -> bool:
    path, top = path.lower(), top.lower()
    return path == top or path.startswith(top.rstrip("/") + "/")


def with_etag(resource: Json) -> Json:
    return {**resource, "etag": f'"{zlib.crc32(repr(resource).encode()):08x}"'}


# Checks: each gives the value in Google's form or refuses it.


def checked_address(address: object) -> str:
    local, at, _domain = str(address).lower().rpartition("@")
    if not at or len(local) > 64 or not LOCAL_PART.fullmatch(local) or local in RESERVED_LOCAL_PARTS:
        raise invalid("Invalid Input: primary_user_email")
    return str(address).lower()


def checked_name(had: Json, sent: Json | None) -> Json:
    name = {**had, **sent} if sent else {}
    for part in ("givenName", "familyName"):
        value = name.get(part)
        if not value or not value.strip() or len(value) > 60 or set(value) & set("<>"):
            raise invalid("Invalid Given/Family Name")
    return {**name, "fullName": f"{name['givenName']} {name['familyName']}"}


def check_password(password: object, hash_function: object) -> None:
    text = str(password) if password is not None else ""
    if hash_function is not None:
        if not re.fullmatch(HASHES.get(str(hash_function), "(?!)"), text):
            raise invalid("Invalid Password")
    elif not 8 <= len(text) <= 100 or not text.isascii():
        raise invalid("Invalid Password")


def checked_list(name: str, value: object) -> list[Json]:
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise invalid(f"Invalid Input: {name}")
    if len(json.dumps(value).encode()) > LIST_SIZES[name]:
        raise invalid(f"Invalid Input: {name}")
    if name == "externalIds":
        for entry in value:
            check_external_id(entry)
    return value


def check_external_id(entry: Json) -> None:
    good = (
        entry.keys() <= {"value", "type", "customType"}
        and isinstance(entry.get("value"), str)
        and entry.get("type") in EXTERNAL_ID_TYPES
        and (entry["type"] != "custom" or bool(entry.get("customType")))
    )
    if not good:
        raise invalid("Invalid Input: externalIds")


def checked_value(field_type: str, value: Any) -> Any:
    if field_type == "BOOL" and isinstance(value, bool):
        return value
    number = isinstance(value, int | float | str) and not isinstance(value, bool)
    if field_type == "INT64" and number and re.fullmatch(r"-?[0-9]{1,19}", str(value)):
        if -(2**63) <= int(value) < 2**63:
            return str(int(value))
    elif field_type == "DOUBLE" and number and re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", str(value)):
        return float(value)
    elif field_type in FIELD_TYPES - NUMBER_TYPES - {"BOOL"} and is_fitting_text(field_type, value):
        return value
    raise invalid("Invalid Input: custom_schema")


def is_fitting_text(field_type: str, value: object) -> bool:
    if not isinstance(value, str) or len(value) > MOST_CHARACTERS:
        return False
    if field_type == "DATE":
        try:
            return datetime.date.fromisoformat(value).isoformat() == value
        except ValueError:
            return False
    return field_type != "EMAIL" or "@" in value


def checked_field_value(field: Json, value: Any) -> Any:
    if not field["multiValued"]:
        return checked_value(field["fieldType"], value)
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise invalid("Invalid Input: custom_schema")
    return [{**entry, "value": checked_value(field["fieldType"], entry.get("value"))} for entry in value]


def parsed_query(text: str) -> list[tuple[str, str, str]]:
    """The clauses of a users.list query as (field, operator, value); all of them must hold."""
    clauses, at = [], 0
    while at < len(text.rstrip()):
        clause = CLAUSE.match(text, at)
        if not clause:
            raise invalid("Invalid Input: query")
        field, sign, value = clause.groups()
        if value.startswith("'"):
            value = value[1:-1].replace("\\'", "'")
        clauses.append((field, sign, value))
        at = clause.end()
    if not clauses:
        raise invalid("Invalid Input: query")
    return clauses


class Directory:
    """One account: users, groups with their members, org units, custom schemas.

    Tests set it up with the `add_...` methods and switch its moods by plain attributes (see `behave`): `world`
    (see `World`); `now`, its clock; `shown`, by the id of a user or group a function of the resource that a reply
    would show, which gives what it shows instead, of any shape: `google.shown[id] = lambda own: {**own, "name": 5}`.
    """

    def __init__(self, domains: Sequence[str] = ("d118.org",)) -> None:
        self.domains = [domain.lower() for domain in domains]
        self.lock = threading.RLock()
        self.users: dict[str, Json] = {}
        self.deleted_users: dict[str, Json] = {}
        self.groups: dict[str, Json] = {}
        self.org_units: dict[str, Json] = {}
        self.schemas: dict[str, Json] = {}
        self.domain_aliases: dict[str, str] = {}
        self.addresses: dict[str, tuple[str, str]] = {}
        self._suspended_at: dict[str, str] = {}
        self._in_order: list[Json] = []
        self._made = 0
        self._put_org_unit("/", "")
        self.behave()
        self._methods: dict[str, Callable[[Params, Json], Json | None]] = {
            "users.list": self._users_list, "users.get": self._users_get,
            "users.insert": self._users_insert, "users.update": self._users_update,
            "users.aliases.list": self._aliases_list, "users.aliases.delete": self._aliases_delete,
            "users.aliases.insert": self._aliases_insert,
            "groups.list": self._groups_list, "groups.get": self._groups_get,
            "members.list": self._members_list, "members.get": self._members_get,
            "members.insert": self._members_insert, "members.delete": self._members_delete,
            "orgunits.list": self._orgunits_list, "orgunits.get": self._orgunits_get,
            "orgunits.insert": self._orgunits_insert,
            "schemas.list": self._schemas_list, "schemas.get": self._schemas_get,
            "schemas.insert": self._schemas_insert, "schemas.update": self._schemas_update,
        }  # fmt: skip

    def behave(self) -> None:
        """All switches back to how Google is on a good day."""
        self.world = World()
        self.now: Callable[[], datetime.datetime] = utc_now
        self.shown: dict[str, Callable[[Json], Any]] = {}
        self._held: dict[str, int | None] = {}
        self._queries: deque[datetime.datetime] = deque()
        self._creations: deque[datetime.datetime] = deque()
        self.caller_is_super_admin = True
        self.licences: int | None = None
        self.foreign_domain_status = 403
        self.omit_queried_fields = True
        self.empty_listing = False
        self.drop_last_pages: int | None = None
        self.listed: Json | None = None

    def call(self, method: str, params: Params, body: Json | None) -> tuple[int, Json | None]:
        """The status and resource (None: no content) of an API method such as `users.update`."""
        if method not in self._methods:
            raise NotModelledError(f"{method} is not modelled")
        if params.get("customerId", CUSTOMER_ID) not in {"my_customer", CUSTOMER_ID}:
            raise RefusalError(400, "badRequest", "Bad Request")
        with self.lock:
            self._check_quota(method)
            self._held = {address: left and left - 1 for address, left in self._held.items() if left != 0}
            resource = self._methods[method](params, body or {})
        return (204 if resource is None else 200), resource

    def _check_quota(self, method: str) -> None:
        now = self.now()
        if is_too_fast(self._queries, self.world.queries_a_minute, now, seconds=60):
            raise RefusalError(403, "userRateLimitExceeded", "User-rate limit exceeded.  Please retry later.")
        if method == "users.insert" and is_too_fast(self._creations, self.world.creations_a_second, now, seconds=1):
            raise RefusalError(503, "backendError", "Service unavailable. Please try again")

    # Setting up and looking, for tests.

    def add_user(
        self,
        email: str,
        given: str,
        family: str,
        *,
        ou: str = "/",
        suspended: bool = False,
        reason: str = "ADMIN",
        archived: bool = False,
        admin: bool = False,
        delegated: bool = False,
        aliases: Iterable[str] = (),
        fields: Mapping[str, Mapping[str, object]] | None = None,
        employee_id: str | None = None,
        external_ids: Sequence[Mapping[str, str]] = (),
        last_login: str | None = None,
        suspension_time: str = SUSPENDED,
    ) -> str:
        """Adds an account by the rules of an insert (its org unit and schemas must exist); gives its id."""
        ids = [dict(entry) for entry in external_ids]
        if employee_id is not None:
            ids.append({"value": employee_id, "type": "organization"})
        body: Json = {
            "primaryEmail": email, "name": {"givenName": given, "familyName": family}, "orgUnitPath": ou,
            "suspended": suspended, "customSchemas": fields or {}, "externalIds": ids, "password": "x" * 8,
        }  # fmt: skip
        user = self._new_user(body)
        user |= {"archived": archived, "isAdmin": admin, "isDelegatedAdmin": delegated}
        user |= {"creationTime": CREATED, "lastLoginTime": last_login or NEVER}
        user["aliases"] = [self._free_address(alias) for alias in aliases]
        if suspended:
            user["suspensionReason"] = reason
            self._suspended_at[user["id"]] = suspension_time
        self._put_user(user)
        return str(user["id"])

    def add_deleted_user(
        self,
        email: str,
        given: str,
        family: str,
        *,
        deleted: datetime.datetime,
        fields: Mapping[str, Mapping[str, object]] | None = None,
    ) -> str:
        """Adds an account that was deleted then, whoever has its address now; gives its id."""
        user = self._new_user({"name": {"givenName": given, "familyName": family}, "customSchemas": fields or {}})
        user |= {"primaryEmail": email.lower(), "creationTime": CREATED, "deletionTime": rfc3339(deleted)}
        self.deleted_users[user["id"]] = user
        return str(user["id"])

    def add_domain_alias(self, alias: str, domain: str | None = None) -> None:
        """From now on each address at the domain (the first, if none is named) is there at the alias too."""
        self.domain_aliases[alias.lower()] = (domain or self.domains[0]).lower()

    def free_addresses(self) -> None:
        """Addresses that were removed as aliases can be had at last."""
        self._held.clear()

    def add_group(
        self,
        email: str,
        *,
        members: Mapping[str, str] | None = None,
        delivery: Mapping[str, str] | None = None,
        member_groups: Iterable[str] = (),
        aliases: Iterable[str] = (),
        foreign: bool = False,
        editable: bool = True,
        dynamic: bool = False,
    ) -> str:
        """Adds a group; `members` are users (address or id) with roles, `member_groups` are groups inside it.

        `delivery` says for some members which mail they get, if not all of it.
        A foreign group belongs to another account: it shows up among a user's groups and refuses the rest.
        """
        address = email.lower() if foreign else self._free_address(email)
        roles = {self._member_id(key): role for key, role in (members or {}).items()}
        roles |= {str(self._group(key)["id"]): "MEMBER" for key in member_groups}
        group: Json = {
            "id": self._next("0"), "email": address, "name": address.partition("@")[0],
            "aliases": [self._free_address(alias) for alias in aliases],
            "foreign": foreign, "editable": editable, "dynamic": dynamic, "members": roles,
            "delivery": {self._member_id(key): setting for key, setting in (delivery or {}).items()},
        }  # fmt: skip
        self._put_group(group)
        return str(group["id"])

    def add_org_unit(self, path: str) -> None:
        """Adds an org unit and those above it that are missing."""
        parent = ""
        for name in path.strip("/").split("/"):
            if f"{parent}/{name}".lower() not in self.org_units:
                self._put_org_unit(f"{parent}/{name}", parent or "/")
            parent = f"{parent}/{name}"

    def add_schema(self, name: str, fields: Mapping[str, str | Json], *, read_access: str = "ADMINS_AND_SELF") -> None:
        """Adds a schema; a field is its type (`"INT64"`) or a dict with what else should be said of it."""
        specs = []
        for field, told in fields.items():
            spec = {"fieldType": told} if isinstance(told, str) else told
            specs.append({"fieldName": field, "displayName": field, "readAccessType": read_access, **spec})
        self._schemas_insert({}, {"schemaName": name, "displayName": name, "fields": specs})

    def user(self, key: str) -> Json:
        """A copy of the account with this address, alias or id, with everything, as Google would give it."""
        resource: Json = json_copy(self._user_resource(self._user(key), None))
        return resource

    def members(self, group: str) -> dict[str, str]:
        """Address to role, of the direct members."""
        found = self._group(group)
        return {self._member_address(key): role for key, role in found["members"].items()}

    def empty_group(self, group: str) -> None:
        """As an owner of the group may, or its rule: it has no members any more."""
        self._group(group)["members"].clear()

    def delivery(self, group: str) -> dict[str, str]:
        """Address to delivery setting, of the direct members who do not get all mail."""
        return {self._member_address(key): setting for key, setting in self._group(group)["delivery"].items()}

    def snapshot(self) -> Json:
        """A copy of everything the account holds, fit for `==` and for `restore`."""
        with self.lock:
            state: Json = json_copy({kind: getattr(self, kind) for kind in KINDS})
        return state

    def restore(self, snapshot: Json) -> None:
        """Puts the account back; a lag ends. Ids are never given out twice, not even after this.

        When an account was suspended is no part of a snapshot; it is kept for whoever is suspended still.
        """
        state = json_copy(snapshot)
        with self.lock:
            for kind in KINDS:
                setattr(self, kind, state[kind])
            self.addresses, self.listed, self._held = {}, None, {}
            for user in self.users.values():
                self._put_user(user)
            for group in self.groups.values():
                self._put_group(group)

    def lag(self) -> None:
        """From now on users.list and groups.list show the account as it is at this moment."""
        self.listed = self.snapshot()

    def catch_up(self) -> None:
        self.listed = None

    # What the methods share.

    def _next(self, prefix: str) -> str:
        self._made += 1
        return f"{prefix}{self._made:020d}"

    def _listing(self, kind: str) -> dict[str, Json]:
        listing: dict[str, Json] = self.listed[kind] if self.listed else getattr(self, kind)
        return listing

    def _holder(self, key: str) -> tuple[str, str] | None:
        """The kind and id of who has this address, at a domain or its alias."""
        local, at, domain = key.lower().rpartition("@")
        return self.addresses.get(local + at + self.domain_aliases.get(domain, domain))

    def _is_foreign(self, address: str) -> bool:
        return "@" in address and domain_of(address).lower() not in {*self.domains, *self.domain_aliases}

    def _free_address(self, wanted: object, owner: str = "") -> str:
        """The address in lower case, which is valid, in one of the domains (no alias of one), and nobody else's."""
        address = checked_address(wanted)
        if domain_of(address) not in self.domains:
            if self.foreign_domain_status == 404:
                raise RefusalError(404, "notFound", "Domain not found")
            raise forbidden()
        if address in self._held or self.addresses.get(address, ("user", owner)) != ("user", owner):
            raise duplicate()
        return address

    def _user(self, key: str) -> Json:
        kind, found = self._holder(key) or ("user", key)
        if kind == "user" and found in self.users:
            return self.users[found]
        if kind == "group" and self.world.group_is_bad_user_key:
            raise RefusalError(400, "badRequest", "Type not supported: userKey")
        if self._is_foreign(key):
            raise forbidden()
        raise not_found("userKey")

    def _group(self, key: str) -> Json:
        kind, found = self._holder(key) or ("group", key)
        if kind == "group" and found in self.groups:
            return self.groups[found]
        if self._is_foreign(key):
            raise forbidden()
        raise not_found("groupKey")

    def _member_id(self, key: str) -> str:
        """The id of a user or group; the address itself for somebody outside the account."""
        found = (self._holder(key) or ("", key))[1]
        if found in self.users or found in self.groups:
            return found
        if self._is_foreign(key):
            return key.lower()
        raise not_found("memberKey")

    def _member_address(self, member_id: str) -> str:
        if member_id in self.users:
            return str(self.users[member_id]["primaryEmail"])
        return str(self.groups[member_id]["email"]) if member_id in self.groups else member_id

    def _org_unit(self, key: str, error: RefusalError | None = None) -> Json:
        """The org unit with this path (any case) or id."""
        if key.startswith("id:"):
            for unit in self.org_units.values():
                if unit["orgUnitId"] == key:
                    return unit
        elif key.lower() in self.org_units:
            return self.org_units[key.lower()]
        raise error or RefusalError(404, "notFound", "Org unit not found")

    def _put_org_unit(self, path: str, parent: str) -> Json:
        unit: Json = {"orgUnitPath": path, "orgUnitId": self._next("id:"), "name": path.rpartition("/")[2]}
        if parent:
            above = self.org_units[parent.lower()]
            unit |= {"parentOrgUnitPath": above["orgUnitPath"], "parentOrgUnitId": above["orgUnitId"]}
            unit["orgUnitPath"] = f"{above['orgUnitPath'].rstrip('/')}/{unit['name']}"
        self.org_units[path.lower()] = unit
        return unit

    def _put_group(self, group: Json) -> None:
        self.groups[group["id"]] = group
        for address in (group["email"], *group["aliases"]):
            self.addresses[address] = ("group", group["id"])

    def _put_user(self, user: Json) -> None:
        self.users[user["id"]] = user
        for address in (user["primaryEmail"], *user["aliases"]):
            self.addresses[address] = ("user", user["id"])
        if user["suspended"]:
            self._suspended_at.setdefault(user["id"], rfc3339(self.now()))
        else:
            self._suspended_at.pop(user["id"], None)

    def _page(self, name: str, items: list[Json], params: Params, sizes: tuple[int, int]) -> Json:
        """One page of a listing under `name`, which is absent when empty, with the token of the next."""
        default, most = sizes
        size = min(int(params.get("maxResults", default)), most)
        asked = sorted(one for one in params.items() if one[0] not in {"pageToken", "maxResults", "fields"})
        seal = f"{name}:{zlib.crc32(repr(asked).encode())}"
        token = params.get("pageToken")
        start = offset_in(token, seal) if token else 0
        answer: Json = {"kind": f"admin#directory#{name}"}
        if items[start : start + size]:
            answer[name] = items[start : start + size]
        most_pages = self.drop_last_pages if name == "users" else None
        goes_on = start + size < len(items) and (most_pages is None or start // size + 1 < most_pages)
        if token and name == self.world.endless_listing:
            answer["nextPageToken"] = token
        elif goes_on or name == self.world.endless_listing:
            answer["nextPageToken"] = base64.urlsafe_b64encode(f"{seal}:{start + size}".encode()).decode()
        return with_etag(answer)

    # Users.

    def _user_resource(self, user: Json, schemas: Collection[str] | None, hidden: Collection[str] = ()) -> Json:
        """What a reply shows of a user: the custom fields of these schemas (None: all), less the hidden."""
        own = [{"address": user["primaryEmail"], "primary": True}]
        own += [{"address": alias} for alias in self._addresses_of(user)[1:]]
        resource = {
            **user, "kind": "admin#directory#user", "customerId": CUSTOMER_ID,
            "nonEditableAliases": self._at_domain_aliases(user),
            "emails": own + user.get("emails", []),
            "customSchemas": {
                name: shown
                for name, fields in user["customSchemas"].items()
                if schemas is None or name in schemas
                if (shown := {key: value for key, value in fields.items() if f"{name}.{key}" not in hidden})
            },
        }  # fmt: skip
        for key in ("aliases", "nonEditableAliases", "customSchemas"):
            if not resource[key]:
                del resource[key]
        if user["suspended"] and self.world.tells_suspension_time:
            resource["suspensionTime"] = self._suspended_at.get(user["id"], SUSPENDED)
        return self._shown(with_etag(resource))

    def _shown(self, resource: Json) -> Json:
        change = self.shown.get(resource["id"])
        shown: Json = change(resource) if change else resource
        return shown

    def _at_domain_aliases(self, user: Json) -> list[str]:
        own = [address.rpartition("@") for address in (user["primaryEmail"], *user["aliases"])]
        aliases = self.domain_aliases.items()
        return [f"{local}@{alias}" for local, _, domain in own for alias, of in aliases if domain == of]

    def _addresses_of(self, user: Json) -> list[str]:
        return [user["primaryEmail"], *user["aliases"], *self._at_domain_aliases(user)]

    def _shown_schemas(self, params: Params) -> Collection[str] | None:
        projection = params.get("projection", "basic")
        if projection != "custom":
            return None if projection == "full" else ()
        names = params.get("customFieldMask", "").split(",")
        if not set(names) <= self.schemas.keys():
            raise invalid("Invalid Input: customFieldMask")
        return names

    def _users_get(self, params: Params, _body: Json) -> Json:
        return self._user_resource(self._user(params["userKey"]), self._shown_schemas(params))

    def _users_list(self, params: Params, _body: Json) -> Json:
        if "event" in params or params.get("viewType") == "domain_public":
            raise NotModelledError("users.list with event or domain_public is not modelled")
        self._check_account(params)
        schemas = self._shown_schemas(params)
        clauses = parsed_query(params["query"]) if "query" in params else []
        tests = [self._test_of(*clause) for clause in clauses]
        if "domain" in params:
            tests.append(lambda user: domain_of(user["primaryEmail"]) == params["domain"].lower())
        listing = self._recently_deleted() if params.get("showDeleted") == "true" else self._listing("users").values()
        # A large account is put in order once, for its first page: what it takes would be what a bench measures.
        if len(self._in_order) < LARGE or not params.get("pageToken"):
            users = [user for user in listing if all(test(user) for test in tests)]
            users.sort(key=lambda user: sort_key(user, params.get("orderBy", "email")))
            if params.get("sortOrder") == "DESCENDING":
                users.reverse()
            self._in_order = users
        users = self._in_order
        answer = self._page("users", [] if self.empty_listing else users, params, (100, 500))
        hidden = {field for field, _sign, _value in clauses} if self.omit_queried_fields else set()
        if "users" in answer:
            answer["users"] = [self._user_resource(user, schemas, hidden) for user in answer["users"]]
        return answer

    def _recently_deleted(self) -> list[Json]:
        since = rfc3339(self.now() - DELETED_ARE_KEPT)
        return [user for user in self.deleted_users.values() if user["deletionTime"] > since]

    def _check_account(self, params: Params) -> None:
        if not params.keys() & {"customer", "domain"}:
            raise RefusalError(400, "badRequest", "Bad Request")
        if params.get("customer", CUSTOMER_ID) not in {"my_customer", CUSTOMER_ID}:
            raise invalid("Invalid Input")
        if params.get("domain", self.domains[0]).lower() not in self.domains:
            raise RefusalError(404, "notFound", "Domain not found")

    def _test_of(self, field: str, sign: str, value: str) -> Callable[[Json], bool]:
        """One clause of a query as a test of a user."""
        if sign != "=":
            raise NotModelledError(f"a query with {field}{sign} is not modelled")
        if "." in field:
            return self._custom_test_of(field, value)
        if field == "email":
            return lambda user: value.lower() in self._addresses_of(user)
        if field == "orgUnitPath":
            self._org_unit(value, invalid("Invalid Input: INVALID_OU_ID"))
            return lambda user: is_at_or_below(user["orgUnitPath"], value)
        if field in QUERY_FLAGS and value in {"true", "false"}:
            return lambda user: bool(user[QUERY_FLAGS[field]]) == (value == "true")
        if field in OTHER_QUERY_FIELDS:
            raise NotModelledError(f"a query with {field} is not modelled")
        raise invalid("Invalid Input: query")

    def _custom_test_of(self, field: str, value: str) -> Callable[[Json], bool]:
        schema, _, name = field.partition(".")
        specs = {spec["fieldName"]: spec for spec in self.schemas.get(schema, {"fields": ()})["fields"]}
        if name not in specs or not specs[name]["indexed"]:
            raise invalid("Invalid Input: query")
        if specs[name]["fieldType"] not in NUMBER_TYPES:
            return lambda user: any(as_text(one) == value for one in values_of(user, schema, name))
        if not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value):
            raise invalid("Invalid Input: query")
        return lambda user: any(float(one) == float(value) for one in values_of(user, schema, name))

    def _new_user(self, body: Json) -> Json:
        user = {
            "id": self._next("1"), "primaryEmail": "", "name": {}, "orgUnitPath": "/", "suspended": False,
            "archived": False, "isAdmin": False, "isDelegatedAdmin": False, "aliases": [],
            "customSchemas": {}, "agreedToTerms": False,
            "changePasswordAtNextLogin": False, "creationTime": CREATED_BY_API, "lastLoginTime": NEVER,
        }  # fmt: skip
        return self._changed(user, body)

    def _users_insert(self, _params: Params, body: Json) -> Json:
        check_password(body.get("password"), body.get("hashFunction"))
        user = self._new_user(body)
        if self.licences is not None and len(self.users) >= self.licences:
            raise RefusalError(412, "limitExceeded", "Domain user limit reached.")
        self._put_user(user)
        return self._user_resource(user, None)

    def _users_update(self, params: Params, body: Json) -> Json:
        changed = self._changed(self._changeable_user(params), body)
        self._put_user(changed)
        return self._user_resource(changed, None)

    def _changeable_user(self, params: Params) -> Json:
        user = self._user(params["userKey"])
        if (user["isAdmin"] or user["isDelegatedAdmin"]) and not self.caller_is_super_admin:
            raise forbidden()
        return user

    def _changed(self, user: Json, body: Json) -> Json:
        """The user after a change; what the body leaves out stays, what is read-only is ignored."""
        changed = dict(user)
        if "password" in body:
            check_password(body["password"], body.get("hashFunction"))
        if "name" in body:
            changed["name"] = checked_name(user["name"], body["name"])
        if "primaryEmail" in body:
            changed |= self._renamed(user, body["primaryEmail"])
        if "orgUnitPath" in body:
            unit = self._org_unit(str(body["orgUnitPath"]), invalid("Invalid Input: INVALID_OU_ID"))
            changed["orgUnitPath"] = unit["orgUnitPath"]
        if "customSchemas" in body:
            changed["customSchemas"] = self._merged_fields(user["customSchemas"], body["customSchemas"])
        if bool(body.get("archived", user["archived"])) != user["archived"]:
            changed["archived"] = archiving(user)
        if "suspended" in body:
            set_suspended(changed, bool(body["suspended"]))
        for name in body.keys() & (LIST_SIZES.keys() | PLAIN_PROPERTIES):
            changed.pop(name, None)
            if name in LIST_SIZES and body[name]:
                changed[name] = checked_list(name, body[name])
            elif name in PLAIN_PROPERTIES and body[name] is not None:
                changed[name] = body[name]
        if "emails" in changed:
            own = self._addresses_of(changed)
            changed["emails"] = [entry for entry in changed["emails"] if entry.get("address") not in own]
        return changed

    def _renamed(self, user: Json, wanted: object) -> Json:
        """The old address stays as an alias; an alias of one's own may become the address, in some worlds."""
        had = user["primaryEmail"]
        if str(wanted).lower() == had:
            return {}
        address = self._free_address(wanted, user["id"])
        if address in user["aliases"] and not self.world.own_alias_can_be_primary:
            raise duplicate()
        aliases = [alias for alias in user["aliases"] if alias != address] + ([had] if had else [])
        if len(aliases) > MOST_ALIASES:
            if self.world.too_many_aliases_is_limit_exceeded:
                raise RefusalError(412, "limitExceeded", "Alias limit reached.")
            raise invalid("Invalid Input: aliases")
        return {"primaryEmail": address, "aliases": aliases}

    def _merged_fields(self, had: Json, sent: Json | None) -> Json:
        """Schemas and fields that were not sent stay; null takes a value away."""
        merged: Json = {name: dict(fields) for name, fields in had.items()} if sent is not None else {}
        for schema, fields in (sent or {}).items():
            if schema not in self.schemas:
                raise invalid("Invalid Input: custom_schema")
            specs = {spec["fieldName"]: spec for spec in self.schemas[schema]["fields"]}
            values = merged.setdefault(schema, {})
            if fields is None:
                values.clear()
            for name, value in (fields or {}).items():
                if name not in specs:
                    raise invalid("Invalid Input: custom_schema")
                values[name] = None if value is None else checked_field_value(specs[name], value)
        kept = {
            schema: {name: value for name, value in fields.items() if value is not None}
            for schema, fields in merged.items()
        }
        return {schema: fields for schema, fields in kept.items() if fields}

    def _aliases_list(self, params: Params, _body: Json) -> Json:
        user = self._user(params["userKey"])
        answer: Json = {"kind": "admin#directory#aliases"}
        if user["aliases"]:
            common = {"kind": "admin#directory#alias", "id": user["id"], "primaryEmail": user["primaryEmail"]}
            answer["aliases"] = [with_etag({**common, "alias": alias}) for alias in user["aliases"]]
        return with_etag(answer)

    def _aliases_insert(self, params: Params, body: Json) -> Json:
        user = self._changeable_user(params)
        alias = self._free_address(body.get("alias"), user["id"])
        if alias in self._addresses_of(user):
            raise duplicate()
        if len(user["aliases"]) >= MOST_ALIASES:
            if self.world.too_many_aliases_is_limit_exceeded:
                raise RefusalError(412, "limitExceeded", "Alias limit reached.")
            raise invalid("Invalid Input: aliases")
        self._put_user({**user, "aliases": [*user["aliases"], alias]})
        return with_etag({"kind": "admin#directory#alias", "id": user["id"], "alias": alias})

    def _aliases_delete(self, params: Params, _body: Json) -> None:
        user, alias = self._changeable_user(params), params["alias"].lower()
        if alias in self._at_domain_aliases(user):
            raise invalid("Invalid Input: alias")
        if alias not in user["aliases"]:
            raise not_found("alias")
        self._put_user({**user, "aliases": [one for one in user["aliases"] if one != alias]})
        del self.addresses[alias]
        if self.world.requests_until_alias_is_free != 0:
            self._held[alias] = self.world.requests_until_alias_is_free

    # Groups and members.

    def _group_resource(self, group: Json) -> Json:
        resource = {key: group[key] for key in ("id", "email", "name", "aliases") if group[key]}
        count = str(len(group["members"]))
        resource |= {"kind": "admin#directory#group", "directMembersCount": count, "adminCreated": True}
        return self._shown(with_etag(resource))

    def _groups_get(self, params: Params, _body: Json) -> Json:
        group = self._group(params["groupKey"])
        if group["foreign"]:
            raise forbidden()
        return self._group_resource(group)

    def _groups_list(self, params: Params, _body: Json) -> Json:
        if "query" in params:
            raise NotModelledError("groups.list with query is not modelled")
        groups = self._listing("groups").values()
        if "userKey" in params:
            if "customer" in params:
                raise RefusalError(400, "badRequest", "Bad Request")
            member = self._group_member(params["userKey"])
            found = [group for group in groups if member in group["members"]]
        else:
            self._check_account(params)
            domains = [params["domain"].lower()] if "domain" in params else self.domains
            own = [group for group in groups if not group["foreign"]]
            found = [group for group in own if domain_of(group["email"]) in domains]
        found.sort(key=lambda group: str(group["email"]), reverse=params.get("sortOrder") == "DESCENDING")
        return self._page("groups", [self._group_resource(group) for group in found], params, (200, 200))

    def _group_member(self, key: str) -> str:
        if re.search(r"(?<!\\)'", key):
            # An apostrophe in this key has to be escaped, as in a query.
            raise invalid("Invalid Member")
        key = key.replace("\\'", "'")
        kind, found = self._holder(key) or ("", key)
        return found if kind == "group" or found in self.groups else str(self._user(key)["id"])

    def _member_resource(self, member_id: str, role: str) -> Json:
        user = self.users.get(member_id)
        kind = "USER" if user else "GROUP" if member_id in self.groups else "EXTERNAL"
        resource = {
            "kind": "admin#directory#member", "email": self._member_address(member_id), "role": role,
            "type": kind, "status": "SUSPENDED" if user and user["suspended"] else "ACTIVE",
        }  # fmt: skip
        return with_etag(resource | ({} if kind == "EXTERNAL" else {"id": member_id}))

    def _editable_group(self, params: Params, *, changes: bool = False) -> Json:
        group = self._group(params["groupKey"])
        if group["foreign"] or not group["editable"]:
            raise forbidden()
        if changes and group["dynamic"]:
            raise RefusalError(412, "conditionNotMet", "Members of a dynamic group cannot be changed.")
        return group

    def _direct_member(self, group: Json, key: str) -> str:
        member = self._member_id(key)
        if member not in group["members"]:
            raise not_found("memberKey")
        return member

    def _members_list(self, params: Params, _body: Json) -> Json:
        if params.get("includeDerivedMembership") == "true":
            raise NotModelledError("members.list with includeDerivedMembership is not modelled")
        group = self._editable_group(params)
        roles = set(params["roles"].split(",")) if "roles" in params else ROLES
        if not roles <= ROLES:
            raise invalid("Invalid Input: roles")
        members = [self._member_resource(*one) for one in group["members"].items() if one[1] in roles]
        members.sort(key=lambda member: str(member["email"]))
        return self._page("members", members, params, (200, 200))

    def _members_get(self, params: Params, _body: Json) -> Json:
        group = self._editable_group(params)
        return self._full_member(group, self._direct_member(group, params["memberKey"]))

    def _full_member(self, group: Json, member: str) -> Json:
        """What a listing does not show is which mail the member gets."""
        resource = self._member_resource(member, group["members"][member])
        return with_etag({**resource, "delivery_settings": group["delivery"].get(member, "ALL_MAIL")})

    def _members_insert(self, params: Params, body: Json) -> Json:
        group = self._editable_group(params, changes=True)
        role, delivery = body.get("role", "MEMBER"), body.get("delivery_settings", "ALL_MAIL")
        if role not in ROLES or delivery not in DELIVERIES:
            raise invalid("Invalid Input: resource")
        member = self._member_id(body.get("id") or body.get("email") or "")
        if member in group["members"]:
            raise duplicate("Member")
        group["members"][member] = role
        if delivery != "ALL_MAIL":
            group["delivery"][member] = delivery
        return self._full_member(group, member)

    def _members_delete(self, params: Params, _body: Json) -> None:
        group = self._editable_group(params, changes=True)
        member = self._direct_member(group, params["memberKey"])
        del group["members"][member]
        group["delivery"].pop(member, None)

    # Org units.

    def _orgunits_list(self, params: Params, _body: Json) -> Json:
        told = params.get("orgUnitPath", "")
        key = told if told.startswith(("/", "id:")) else f"/{told}"
        top = self._org_unit(key)
        path, kind = top["orgUnitPath"], params.get("type", "children")
        if kind == "children":
            units = [unit for unit in self.org_units.values() if unit.get("parentOrgUnitPath") == path]
        else:
            units = [unit for unit in self.org_units.values() if is_at_or_below(unit["orgUnitPath"], path)]
            if kind == "all":
                units.remove(top)
        units.sort(key=lambda unit: str(unit["orgUnitPath"]).lower())
        answer: Json = {"kind": "admin#directory#orgUnits"}
        if units:
            answer["organizationUnits"] = [self._org_unit_resource(unit) for unit in units]
        return with_etag(answer)

    def _org_unit_resource(self, unit: Json) -> Json:
        return with_etag({"kind": "admin#directory#orgUnit", **unit})

    def _orgunits_get(self, params: Params, _body: Json) -> Json:
        key = params["orgUnitPath"]
        path = key if key.startswith("id:") else f"/{key}"
        return self._org_unit_resource(self._org_unit(path))

    def _orgunits_insert(self, _params: Params, body: Json) -> Json:
        name = body.get("name") or ""
        parent_key = body.get("parentOrgUnitId") or body.get("parentOrgUnitPath") or ""
        parent = self._org_unit(parent_key, invalid("Invalid Parent Orgunit Id"))
        if not name.strip() or "/" in name:
            raise invalid("Invalid Ou Name")
        path = f"{parent['orgUnitPath'].rstrip('/')}/{name}"
        if path.lower() in self.org_units:
            raise invalid("Invalid Ou Id")
        unit = self._put_org_unit(path, parent["orgUnitPath"])
        if body.get("description"):
            unit["description"] = body["description"]
        return self._org_unit_resource(unit)

    # Custom schemas.

    def _schema(self, key: str) -> Json:
        for name, schema in self.schemas.items():
            if key in {name, schema["schemaId"]}:
                return schema
        raise not_found("schemaKey")

    def _schema_resource(self, schema: Json) -> Json:
        fields = [with_etag({"kind": "admin#directory#schema#fieldspec", **one}) for one in schema["fields"]]
        return with_etag({"kind": "admin#directory#schema", **schema, "fields": fields})

    def _schemas_list(self, _params: Params, _body: Json) -> Json:
        answer: Json = {"kind": "admin#directory#schemas"}
        if self.schemas:
            answer["schemas"] = [self._schema_resource(schema) for schema in self.schemas.values()]
        return with_etag(answer)

    def _schemas_get(self, params: Params, _body: Json) -> Json:
        return self._schema_resource(self._schema(params["schemaKey"]))

    def _fields(self, had: Mapping[str, Json], sent: list[Json]) -> list[Json]:
        """The field list in full form; a field keeps its id, its type, and room for several values."""
        fields: dict[str, Json] = {}
        for spec in sent:
            name, kind = spec.get("fieldName", ""), spec.get("fieldType")
            if not SCHEMA_NAME.fullmatch(name) or name in fields or kind not in FIELD_TYPES:
                raise invalid("Invalid Input: fields")
            old = had.get(name, {})
            field = {"indexed": True, "multiValued": False, "readAccessType": "ALL_DOMAIN_USERS"}
            field |= {key: value for key, value in spec.items() if key not in {"kind", "etag", "fieldId"}}
            if old and (old["fieldType"] != kind or (old["multiValued"] and not field["multiValued"])):
                raise invalid("Invalid Input: fieldType")
            if "numericIndexingSpec" in field and kind not in NUMBER_TYPES:
                raise invalid("Invalid Input: numericIndexingSpec")
            fields[name] = {**field, "fieldId": old.get("fieldId") or self._next("f")}
        return list(fields.values())

    def _schemas_insert(self, _params: Params, body: Json) -> Json:
        name = body.get("schemaName", "")
        if not SCHEMA_NAME.fullmatch(name):
            raise invalid("Invalid Input: schemaName")
        if name in self.schemas:
            raise duplicate()
        shown = body.get("displayName") or name
        fields = self._fields({}, body.get("fields") or [])
        schema = {"schemaId": self._next("s"), "schemaName": name, "displayName": shown, "fields": fields}
        self.schemas[name] = schema
        return self._schema_resource(schema)

    def _schemas_update(self, params: Params, body: Json) -> Json:
        """Takes the full field list: a field left out is gone, and so is every user's value of it."""
        had = self._schema(params["schemaKey"])
        name, sent = had["schemaName"], body["fields"]
        strict = self.world.schema_updates_are_strict
        if strict and any(SET_BY_GOOGLE & told.keys() for told in (body, *sent)):
            raise NotModelledError("schemas.update is sent an etag, kind or fieldId")
        if body.get("schemaName", None if strict else name) != name:
            raise invalid("Invalid Input: schemaName")
        if not sent:
            raise invalid("Invalid Input: fields")
        fields = self._fields({field["fieldName"]: field for field in had["fields"]}, sent)
        shown = body.get("displayName") or had["displayName"]
        self.schemas[name] = {**had, "displayName": shown, "fields": fields}
        kept = {field["fieldName"] for field in fields}
        for user in list(self.users.values()):
            values = user["customSchemas"].get(name, {})
            if values.keys() - kept:
                others = {key: value for key, value in user["customSchemas"].items() if key != name}
                left = {key: value for key, value in values.items() if key in kept}
                self._put_user({**user, "customSchemas": {**others, name: left} if left else others})
        return self._schema_resource(self.schemas[name])


def offset_in(token: str, seal: str) -> int:
    """Where a page token points; it is good only for the listing it was given out with."""
    try:
        given, _, start = base64.urlsafe_b64decode(token).decode().rpartition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise invalid("Invalid Input: pageToken") from None
    if given != seal:
        raise invalid("Invalid Input: pageToken")
    return int(start)


def sort_key(user: Json, order: str) -> str:
    return str(user["primaryEmail"] if order == "email" else user["name"][order].casefold())


def is_too_fast(earlier: deque[datetime.datetime], most: int | None, now: datetime.datetime, *, seconds: int) -> bool:
    """Whether as many as are allowed came in these last seconds; if not, counts one more."""
    while earlier and earlier[0] <= now - datetime.timedelta(seconds=seconds):
        earlier.popleft()
    if most is not None and len(earlier) >= most:
        return True
    earlier.append(now)
    return False


def values_of(user: Json, schema: str, field: str) -> list[Any]:
    value = user["customSchemas"].get(schema, {}).get(field)
    if isinstance(value, list):
        return [entry["value"] for entry in value]
    return [] if value is None else [value]


def as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def archiving(user: Json) -> bool:
    """The other state of `archived`; archiving needs licences this account does not have."""
    if not user["archived"]:
        raise RefusalError(412, "conditionNotMet", "Insufficient archived user licenses")
    return False


def set_suspended(user: Json, suspended: bool) -> None:
    if suspended and not user["suspended"]:
        user["suspensionReason"] = "ADMIN"
    if not suspended and user.pop("suspensionReason", "") not in {"", "ADMIN"}:
        raise RefusalError(412, "adminCannotUnsuspend", "Cannot restore a user suspended for abuse.")
    user["suspended"] = suspended
