"""Google at the wire: the directory behind TLS and a proxy, for the unmodified Google client libraries.

A child process that runs with `GoogleServer.environment()` sends its HTTPS through a proxy on the loopback
interface. The proxy ends the TLS itself, with certificates of its own making, for Google's hosts, and refuses
every other host. What is asked must agree with the discovery document that ships with the Google client:
whatever does not is answered 400 and noted in `violations`, as is anything the stand-in does not model.
`google_directory` holds the account and its rules.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import functools
import importlib.resources
import json
import re
import secrets
import select
import socket
import ssl
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import parse_qsl, unquote

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from google_directory import Directory, Json, NotModelledError, Params, RefusalError, forbidden

API_HOST = "admin.googleapis.com"
HOSTS = (API_HOST, "oauth2.googleapis.com", "www.googleapis.com", "accounts.google.com")
TOKEN_URI = "https://oauth2.googleapis.com/token"
TOKEN_PLACES = {
    ("oauth2.googleapis.com", "/token"), ("www.googleapis.com", "/oauth2/v4/token"),
    ("accounts.google.com", "/o/oauth2/token"),
}  # fmt: skip
SCOPE_PREFIX = "https://www.googleapis.com/auth/admin.directory."
SCOPES = [SCOPE_PREFIX + name for name in ("user", "group.readonly", "group.member", "orgunit", "userschema")]
CLIENT_ID = "420420420420-standin.apps.googleusercontent.com"
CLIENT_SECRET = "GOCSPX-standin"
SERVICE_ACCOUNT = "staff-sync@stand-in.iam.gserviceaccount.com"
COLLECTIONS = ("users", "groups", "members", "orgunits", "schemas")
WRITES = {
    "users.insert", "users.update", "users.aliases.delete", "users.aliases.insert", "members.insert", "members.delete",
    "orgunits.insert", "schemas.insert", "schemas.update",
}  # fmt: skip
UNAUTHORIZED_CLIENT = (
    "Client is unauthorized to retrieve access tokens using this method, "
    "or client not authorized for any of the scopes requested."
)


@dataclass
class Request:
    """What a client asked. `status` is what it was answered (0: nothing), `applied` if it took effect."""

    number: int
    method: str
    params: Params
    body: Json | None
    status: int = 0
    applied: bool = False


@dataclass
class Fault:
    method: str
    answer: Answer
    times: int | None
    when: str
    match: Callable[[Request], bool] | None


class Answer(NamedTuple):
    """An HTTP answer; its fate is to be sent, to drip, to be lost with the connection, or never to come."""

    status: int
    body: bytes
    fate: str = "send"


class Call(NamedTuple):
    """An HTTP request as it came in; header names are in lower case."""

    host: str
    verb: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


class Grant(NamedTuple):
    """What an access token allows; subject is None for an admin's own sign-in, "" for nobody."""

    scopes: frozenset[str]
    subject: str | None


# Answers that are odd and heal: `google.fail("users.update", **ODD_ANSWERS["system error"])`.
RATE_PAGE = b"<HTML><BODY><H1>Error 403 (Forbidden)</H1><P>Request rate higher than configured.</BODY></HTML>"
ODD_ANSWERS: dict[str, dict[str, Any]] = {
    "system error": {"status": 400, "reason": "invalid", "message": "A system error has occurred"},
    "rate as a page": {"status": 403, "body": RATE_PAGE},
    "rate": {"status": 403, "reason": "quotaExceeded", "message": "Request rate higher than configured."},
    "a page": {"status": 403, "body": b"<html><body>Forbidden</body></html>"},
    "login required": {"status": 401, "reason": "required", "message": "Login Required"},
    "another shape": {"status": 400, "body": b'{"error": ["Bad Request"]}'},
    "no object": {"status": 400, "body": b'["Bad Request"]'},
    "token page": {"status": 200, "body": b"<html><body>Sign in to the network</body></html>"},
    "token 500": {"status": 500, "body": b"<html><body>Internal Server Error</body></html>"},
    "token 403": {"status": 403, "body": b"<html><body>Blocked by your administrator</body></html>"},
    "token 407": {"status": 407, "body": b"<html><body>Proxy Authentication Required</body></html>"},
}
DRIP_SECONDS = 0.02


class TokenRefusalError(Exception):
    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(error)
        self.status, self.body = status, {"error": error, "error_description": description}
        if "invalid_rapt" in description:
            self.body["error_subtype"] = "invalid_rapt"


TOKEN_FAULTS: dict[str, tuple[int, str, str]] = {
    "invalid_grant": (400, "invalid_grant", "Token has been expired or revoked."),
    "invalid_rapt": (400, "invalid_grant", "reauth related error (invalid_rapt)"),
    "unauthorized_client": (401, "unauthorized_client", UNAUTHORIZED_CLIENT),
    "invalid_scope": (400, "invalid_scope", "Some requested scopes were invalid."),
    "invalid_client": (401, "invalid_client", "The OAuth client was not found."),
    "deleted_client": (401, "deleted_client", "The OAuth client was deleted."),
    "admin_policy": (400, "admin_policy_enforced", "Access to your account data is restricted by policies."),
    "no_account": (400, "invalid_grant", "Invalid grant: account not found"),
    "clock": (400, "invalid_grant", "Invalid JWT: Token must be a short-lived token (60 minutes) and in a "
              "reasonable timeframe. Check your iat and exp values in the JWT claim."),
    "503": (503, "internal_failure", "Service unavailable."),
}  # fmt: skip


def json_answer(status: int, resource: Json | None) -> Answer:
    return Answer(status, b"" if resource is None else json.dumps(resource).encode())


def error_answer(status: int, reason: str, message: str) -> Answer:
    one = {"domain": "global", "reason": reason, "message": message}
    return json_answer(status, {"error": {"code": status, "message": message, "errors": [one]}})


# The contract: what the discovery document says of methods, parameters, bodies and replies.


class Method(NamedTuple):
    id: str
    verb: str
    path: re.Pattern[str]
    params: dict[str, Json]
    scopes: frozenset[str]
    takes: Json | None
    gives: Json | None


@functools.lru_cache(maxsize=1)
def discovery() -> Json:
    package = importlib.resources.files("googleapiclient")
    text = package.joinpath("discovery_cache/documents/admin.directory_v1.json").read_text("utf-8")
    document: Json = json.loads(text)
    return document


@functools.lru_cache(maxsize=1)
def methods() -> list[Method]:
    return [method for name in COLLECTIONS for method in methods_in(discovery()["resources"][name])]


def methods_in(resource: Json) -> Iterator[Method]:
    for found in resource.get("methods", {}).values():
        path = re.sub(r"\{\+(\w+)\}", r"(?P<\1>.+)", found["path"])
        path = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path)
        yield Method(
            found["id"].removeprefix("directory."), found["httpMethod"], re.compile("/" + path),
            params=discovery()["parameters"] | found.get("parameters", {}),
            scopes=frozenset(found["scopes"]), takes=found.get("request"), gives=found.get("response"),
        )  # fmt: skip
    for inner in resource.get("resources", {}).values():
        yield from methods_in(inner)


def method_of(call: Call) -> tuple[Method, Params] | None:
    """The method a request means, and its parameters in the path."""
    if call.host != API_HOST:
        return None
    for method in methods():
        if method.verb == call.verb and (found := method.path.fullmatch(call.path)):
            return method, {name: unquote(value) for name, value in found.groupdict().items()}
    return None


def parameter_faults(method: Method, pairs: Sequence[tuple[str, str]]) -> Iterator[str]:
    names = [name for name, _value in pairs]
    for name, value in pairs:
        spec = method.params.get(name)
        if spec is None:
            yield f"{method.id} has no parameter {name}"
        elif not is_parameter_value(spec, value):
            yield f"{method.id}: {name}={value!r} is not a value of this parameter"
        elif names.count(name) > 1 and not spec.get("repeated"):
            yield f"{method.id}: {name} is given more than once"
    for name, spec in method.params.items():
        if spec.get("required") and name not in names:
            yield f"{method.id} needs {name}"


def is_parameter_value(spec: Json, value: str) -> bool:
    if "enum" in spec:
        return value in spec["enum"]
    if spec["type"] == "boolean":
        return value in {"true", "false"}
    if spec["type"] != "integer":
        return True
    if not re.fullmatch(r"[0-9]{1,9}", value):
        return False
    return int(spec.get("minimum", 0)) <= int(value) <= int(spec.get("maximum", 10**9))


PYTHON_TYPES: dict[str, Any] = {
    "string": str, "boolean": bool, "integer": int, "number": int | float, "array": list, "object": dict,
}  # fmt: skip


def body_faults(spec: Json, value: object, where: str, method: str) -> Iterator[str]:
    """Where a body does not agree with its schema. Null is a value of text, lists and objects: it clears."""
    spec = discovery()["schemas"][spec["$ref"]] if "$ref" in spec else spec
    kind = spec["type"]
    if kind == "any" or (value is None and kind in {"string", "array", "object"}):
        return
    if not isinstance(value, PYTHON_TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
        yield f"{method}: {where} is not of type {kind}"
    elif isinstance(value, list):
        for entry in value:
            yield from body_faults(spec["items"], entry, where, method)
    elif isinstance(value, dict):
        properties = spec.get("properties", {})
        for name, inner in value.items():
            known = properties.get(name, spec.get("additionalProperties"))
            if known is None:
                yield f"{method}: {where} has no field {name}"
            else:
                yield from body_faults(known, inner, f"{where}.{name}", method)
        for name, inner in properties.items():
            needed = f"directory.{method}" in inner.get("annotations", {}).get("required", ())
            if needed and value.get(name) is None:
                yield f"{method}: {where}.{name} is missing"


# Partial replies: a `fields` mask as a tree; an empty tree means everything below.

Tree = dict[str, Any]
MASK_TOKEN = re.compile(r"[\w*-]+|[(),/]")


@functools.lru_cache(maxsize=256)
def parsed_mask(text: str, gives: str) -> Tree:
    tokens = MASK_TOKEN.findall(text)
    if "".join(tokens) != text:
        raise bad_selection(text)
    tokens.append("")
    tree = mask_list(tokens, text)
    if tokens != [""]:
        raise bad_selection(text)
    check_mask(tree, {"$ref": gives})
    return tree


def bad_selection(what: str) -> RefusalError:
    return RefusalError(400, "invalidParameter", f"Invalid field selection {what}")


def mask_list(tokens: list[str], text: str) -> Tree:
    """The items up to a closing bracket or the end; takes them off the tokens."""
    tree: Tree = {}
    while True:
        names = [mask_name(tokens, text)]
        while tokens[0] == "/":
            tokens.pop(0)
            names.append(mask_name(tokens, text))
        below: Tree = {}
        if tokens[0] == "(":
            tokens.pop(0)
            below = mask_list(tokens, text)
            if tokens.pop(0) != ")":
                raise bad_selection(text)
        for name in reversed(names):
            below = {name: below}
        tree = merged_masks(tree, below) if tree else below
        if tokens[0] != ",":
            return tree
        tokens.pop(0)


def mask_name(tokens: list[str], text: str) -> str:
    if tokens[0] in {"", "(", ")", ",", "/"}:
        raise bad_selection(text)
    return tokens.pop(0)


def merged_masks(one: Tree, other: Tree) -> Tree:
    if not one or not other:
        return {}
    both = {name: merged_masks(one[name], other[name]) for name in one.keys() & other.keys()}
    return {**one, **other, **both}


def check_mask(tree: Tree, spec: Json) -> None:
    spec = discovery()["schemas"][spec["$ref"]] if "$ref" in spec else spec
    if spec["type"] == "array":
        check_mask(tree, spec["items"])
    elif tree and spec["type"] != "any":
        properties = spec.get("properties", {})
        for name, below in tree.items():
            known = properties.get(name, spec.get("additionalProperties"))
            if known is not None:
                check_mask(below, known)
            elif name != "*":
                raise bad_selection(name)


def masked(tree: Tree, value: Any) -> Any:
    if isinstance(value, list):
        return [masked(tree, entry) for entry in value]
    if not tree or not isinstance(value, dict):
        return value
    if "*" in tree:
        tree = {name: tree.get(name, tree["*"]) for name in value}
    return {name: masked(tree[name], inner) for name, inner in value.items() if name in tree}


# Certificates and the HTTP of one connection.


@functools.lru_cache
def certificates(hosts: tuple[str, ...] = HOSTS) -> tuple[bytes, bytes]:
    """A CA certificate, and a certificate it made for these hosts together with its key, both as PEM."""
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Stand-in CA")])
    host_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])])
    ca = (
        certificate_builder(ca_name, ca_name, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    own = (
        certificate_builder(host_name, ca_name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(authority, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    return ca.public_bytes(pem), own.public_bytes(pem) + private_pem(key)


def certificate_builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now, day = datetime.datetime.now(datetime.timezone.utc), datetime.timedelta(days=1)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - 2 * day).not_valid_after(now + 30 * day)


def key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates, key_cert_sign=signs_certificates, crl_sign=False,
        content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def private_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)


@functools.lru_cache(maxsize=1)
def service_account_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def acknowledge_at_once(connection: socket.socket) -> None:
    """The client waits, by Nagle's rule, for this acknowledgement before it sends the next piece.

    Only Linux can be asked for it.
    """
    if option := getattr(socket, "TCP_QUICKACK", None):
        connection.setsockopt(socket.IPPROTO_TCP, option, 1)


def break_off(connection: socket.socket) -> None:
    """Ends the connection under the TLS layer, with no word of farewell; a read that waits comes back."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def is_gone(connection: socket.socket) -> bool:
    """Whether the other side has ended the connection."""
    try:
        readable, _, _ = select.select([connection], [], [], 0)
        return bool(readable) and not socket.socket.recv(connection, 1, socket.MSG_PEEK)
    except OSError:
        return True


def read_call(host: str, connection: socket.socket, stream: IO[bytes]) -> Call | None:
    """The next request, or None when the client is done with this connection."""
    acknowledge_at_once(connection)
    start = stream.readline(65_536).decode("latin-1").split()
    if len(start) != 3:
        return None
    headers = {}
    while line := stream.readline(65_536).decode("latin-1").strip():
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    acknowledge_at_once(connection)
    length = int(headers.get("content-length", 0))
    body = stream.read(length) if length else b""
    if len(body) < length:
        return None
    path, _, query = start[1].partition("?")
    verb = headers.get("x-http-method-override", start[0])
    if verb != start[0]:
        # The client sends an over-long GET as a POST that carries its query as a form.
        query, body = body.decode("ascii"), b""
    return Call(host, verb, path, query, headers, body)


def on_the_wire(answer: Answer, seconds_off: float) -> bytes:
    lines = [f"HTTP/1.1 {answer.status} Stand-in", f"Date: {formatdate(time.time() + seconds_off, usegmt=True)}"]
    if answer.status != 204:
        kind = "text/html" if answer.body.startswith(b"<") else "application/json"
        lines += [f"Content-Type: {kind}; charset=UTF-8", f"Content-Length: {len(answer.body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + answer.body


# Tokens.


@dataclass
class TokenOffice:
    """Who may have an access token: the OAuth client's refresh tokens and codes, and service accounts."""

    access: dict[str, Grant] = field(default_factory=dict)
    refresh: dict[str, frozenset[str]] = field(default_factory=dict)
    codes: dict[str, frozenset[str]] = field(default_factory=dict)
    service_scopes: frozenset[str] = frozenset()

    def issue(self, scopes: Iterable[str], subject: str | None = None) -> str:
        token = f"ya29.{secrets.token_hex(16)}"
        self.access[token] = Grant(frozenset(scopes), subject)
        return token

    def grant(self, form: Params, basic: str, fault: str | None) -> tuple[frozenset[str], str | None, str]:
        """The scopes, the subject and, after a sign-in, the refresh token that a request is worth."""
        if fault in TOKEN_FAULTS:
            raise TokenRefusalError(*TOKEN_FAULTS[fault])
        kind = form.get("grant_type")
        if kind == "urn:ietf:params:oauth:grant-type:jwt-bearer":
            return (*self.delegated(form.get("assertion", "")), "")
        client = f"{form.get('client_id')}:{form.get('client_secret')}"
        if f"{CLIENT_ID}:{CLIENT_SECRET}" not in {client, basic}:
            raise TokenRefusalError(*TOKEN_FAULTS["invalid_client"])
        if kind == "refresh_token" and form.get("refresh_token") in self.refresh:
            held = self.refresh[form["refresh_token"]]
            wanted = frozenset(form.get("scope", "").split()) or held
            if not wanted <= held:
                raise TokenRefusalError(*TOKEN_FAULTS["invalid_scope"])
            return wanted, None, ""
        if kind == "authorization_code" and form.get("code") in self.codes:
            scopes, token = self.codes.pop(form["code"]), f"1//{secrets.token_hex(16)}"
            self.refresh[token] = scopes
            return scopes, None, token
        raise TokenRefusalError(*TOKEN_FAULTS["invalid_grant"])

    def delegated(self, assertion: str) -> tuple[frozenset[str], str]:
        """What a service account's signed claim is worth: its scopes and the admin it acts for."""
        signed, _, signature = assertion.rpartition(".")
        try:
            claims = json.loads(unpadded(signed.partition(".")[2]))
            key = service_account_key().public_key()
            key.verify(unpadded(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        except (ValueError, InvalidSignature):
            raise TokenRefusalError(400, "invalid_grant", "Invalid JWT Signature.") from None
        if claims.get("iss") != SERVICE_ACCOUNT:
            raise TokenRefusalError(400, "invalid_grant", "Invalid grant: account not found")
        is_in_time = claims.get("iat", 0) - 300 <= time.time() < claims.get("exp", 0)
        if claims.get("aud") != TOKEN_URI or not is_in_time or claims["exp"] - claims["iat"] > 3600:
            raise TokenRefusalError(400, "invalid_grant", "Invalid JWT: check your iat and exp values.")
        scopes = frozenset(claims.get("scope", "").split())
        if not scopes or not scopes <= self.service_scopes:
            raise TokenRefusalError(*TOKEN_FAULTS["unauthorized_client"])
        return scopes, claims.get("sub", "")


def unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class GoogleServer(Directory):
    """The directory of one account at the wire; start it with `with GoogleServer() as google:`.

    Besides the switches of `Directory` there are: `hook`, called with each API request and "before" or
    "after" (its effect), and free to kill the client (if before, there is no effect, and a hook that says True
    spares the server finding out by itself); `token_fault`, one of `TOKEN_FAULTS` or "fewer_scopes"; `latency`,
    seconds before each answer; `seconds_off`, by which the clock behind the Date of each answer is ahead.
    `behave` puts all of them back and drops what `fail` asked for. Each connection is served by a thread of its
    own. `dripping` is set once an answer drips.
    """

    def __init__(self, domains: Sequence[str] = ("d118.org",)) -> None:
        self.dripping, self._end_of_drips = threading.Event(), threading.Event()
        super().__init__(domains)
        self.reset_records()
        self._tokens = TokenOffice()
        self._stopping = threading.Event()
        self._connections: dict[threading.Thread, socket.socket] = {}

    def behave(self) -> None:
        super().behave()
        self.hook: Callable[[Request, str], object] | None = None
        self.token_fault: str | None = None
        self.latency = 0.0
        self.seconds_off = 0.0
        self._faults: list[Fault] = []
        self.end_drips()

    def __enter__(self) -> GoogleServer:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def start(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        ca, own = certificates()
        self.ca_file = Path(self._folder.name, "ca.pem")
        self.ca_file.write_bytes(ca)
        own_file = Path(self._folder.name, "own.pem")
        own_file.write_bytes(own)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(own_file)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=32)
        self.port: int = self._listener.getsockname()[1]
        self._door = threading.Thread(target=self._let_in, daemon=True)
        self._door.start()

    def stop(self) -> None:
        self._stopping.set()
        # Closing a socket does not everywhere wake the thread that accepts on it; a last connection does.
        socket.create_connection(("127.0.0.1", self.port)).close()
        self._door.join(5)
        self._listener.close()
        for thread, connection in list(self._connections.items()):
            break_off(connection)
            thread.join(5)
        self._folder.cleanup()

    def environment(self) -> dict[str, str]:
        """What a child process needs in its environment to find this server instead of Google."""
        proxy = f"http://127.0.0.1:{self.port}"
        ca = str(self.ca_file)
        return {
            "HTTPS_PROXY": proxy, "https_proxy": proxy, "NO_PROXY": "", "no_proxy": "",
            "HTTPLIB2_CA_CERTS": ca, "REQUESTS_CA_BUNDLE": ca,
        }  # fmt: skip

    # Credentials.

    def write_credentials(self, folder: Path, *, scopes: Sequence[str] | None = None) -> None:
        """Writes an OAuth client's credentials.json and a token.json whose access token has run out."""
        granted = list(SCOPES if scopes is None else scopes)
        client = {
            "client_id": CLIENT_ID, "project_id": "stand-in", "client_secret": CLIENT_SECRET,
            "auth_uri": "https://accounts.google.com/o/oauth2/auth", "token_uri": TOKEN_URI,
            "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
            "redirect_uris": ["http://localhost"],
        }  # fmt: skip
        refresh = f"1//{secrets.token_hex(16)}"
        self._tokens.refresh[refresh] = frozenset(granted)
        token = {
            "token": "ya29.run-out", "refresh_token": refresh, "token_uri": TOKEN_URI, "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET, "scopes": granted, "universe_domain": "googleapis.com",
            "account": "", "expiry": "2020-01-01T00:00:00Z",
        }  # fmt: skip
        write_secret(folder / "credentials.json", {"installed": client})
        write_secret(folder / "token.json", token)

    def write_service_account(self, folder: Path, *, scopes: Sequence[str] | None = None) -> None:
        """Writes a service account's credentials.json; `scopes` are those delegated to it in the account.

        It can do something only on behalf of a user of the directory who is an admin.
        """
        self._tokens.service_scopes = frozenset(SCOPES if scopes is None else scopes)
        key = {
            "type": "service_account", "project_id": "stand-in", "private_key_id": "1", "client_id": "1",
            "private_key": private_pem(service_account_key()).decode(), "client_email": SERVICE_ACCOUNT,
            "auth_uri": "https://accounts.google.com/o/oauth2/auth", "token_uri": TOKEN_URI,
            "universe_domain": "googleapis.com",
        }  # fmt: skip
        write_secret(folder / "credentials.json", key)

    def issue_code(self, scopes: Iterable[str] | None = None) -> str:
        """The code with which the browser comes back after a sign-in; good for one exchange."""
        code = f"4/{secrets.token_hex(16)}"
        self._tokens.codes[code] = frozenset(SCOPES if scopes is None else scopes)
        return code

    def access_token(self, scopes: Iterable[str] | None = None) -> str:
        return self._tokens.issue(SCOPES if scopes is None else scopes)

    def expire_tokens(self) -> None:
        """Every access token given out so far is answered 401 from now on."""
        self._tokens.access.clear()

    # Records and faults.

    @property
    def attempted_writes(self) -> list[Request]:
        return [request for request in self.requests if request.method in WRITES]

    def asked(self, method: str) -> list[Request]:
        return [request for request in self.requests if request.method == method]

    @property
    def pages(self) -> list[Request]:
        """The questions for a page of the whole account."""
        return [request for request in self.asked("users.list") if "query" not in request.params]

    @property
    def writes(self) -> list[Request]:
        """The writes the client was told are done; see `Request.applied` for those that are."""
        return [request for request in self.attempted_writes if 200 <= request.status < 300]

    def reset_records(self) -> None:
        self.requests: list[Request] = []
        self.violations: list[str] = []
        self.dripping.clear()

    def end_drips(self) -> None:
        """What drips now is sent to its end at once."""
        self._end_of_drips.set()
        self._end_of_drips = threading.Event()

    def fail(
        self,
        method: str,
        status: int = 503,
        reason: str = "backendError",
        message: str = "Service unavailable. Please try again",
        *,
        times: int | None = 1,
        when: str = "before",
        match: Callable[[Request], bool] | None = None,
        body: bytes | None = None,
        close: bool = False,
        hang: bool = False,
        drip: bool = False,
    ) -> None:
        """The next requests of a method that match go wrong.

        "*" is all of the API, "token" the token service, "tunnel" the proxy before it lets a client through.
        `times=None` is for ever; `when="after"` lets the request take effect first; `body` is the whole
        answer in place of an error in JSON; `close` breaks the connection instead of answering, upon which
        httplib2 sends the request again, unseen, once; `hang` never answers; `drip` takes effect and sends its
        own answer, but the head of it a byte at a time, without end until `end_drips` or `behave`.
        """
        answer = error_answer(status, reason, message) if body is None else Answer(status, body)
        if close or hang or drip:
            answer = Answer(0, b"", "close" if close else "hang" if hang else "drip")
            when = "after" if drip else when
        self._faults.append(Fault(method, answer, times, when, match))

    def _fault_for(self, request: Request) -> Fault | None:
        with self.lock:
            for fault in self._faults:
                if fault.method != request.method and (fault.method != "*" or "." not in request.method):
                    continue
                if fault.times == 0 or (fault.match and not fault.match(request)):
                    continue
                if fault.times is not None:
                    fault.times -= 1
                return fault
        return None

    # Connections: one thread each.

    def _let_in(self) -> None:
        while not self._stopping.is_set():
            connection, _address = self._listener.accept()
            thread = threading.Thread(target=self._attend, args=(connection,), daemon=True)
            self._connections[thread] = connection
            thread.start()

    def _attend(self, connection: socket.socket) -> None:
        # A client that dies or gives up is no fault of anybody's.
        with contextlib.suppress(OSError, ValueError), connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if host := self._tunnel_to(connection):
                self._serve(host, connection)
        self._connections.pop(threading.current_thread(), None)

    def _tunnel_to(self, connection: socket.socket) -> str:
        """The Google host a client wants to reach through this proxy; empty if it is none."""
        head = b""
        while b"\r\n\r\n" not in head:
            piece = connection.recv(4096)
            if not piece:
                return ""
            head += piece
        verb, target = head.decode("latin-1").split()[:2]
        host, _, port = target.partition(":")
        if verb != "CONNECT" or host not in HOSTS or port != "443":
            self.violations.append(f"{verb} {target} goes to none of Google's hosts")
            connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return ""
        if fault := self._fault_for(Request(0, "tunnel", {"host": host}, None)):
            if fault.answer.fate == "send":
                connection.sendall(on_the_wire(fault.answer, self.seconds_off))
            return ""
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        return host

    def _serve(self, host: str, connection: socket.socket) -> None:
        with self._context.wrap_socket(connection, True, do_handshake_on_connect=False) as secure:
            self._connections[threading.current_thread()] = secure
            secure.do_handshake()
            with secure.makefile("rb") as stream:
                while call := read_call(host, secure, stream):
                    answer = self._safe_answer(call)
                    if answer.fate == "hang":
                        stream.read(1)
                    if answer.fate in {"hang", "close"}:
                        break
                    whole = on_the_wire(answer, self.seconds_off)
                    secure.sendall(self._drip(secure, whole) if answer.fate == "drip" else whole)
            break_off(secure)

    def _drip(self, connection: socket.socket, answer: bytes) -> bytes:
        """Sends the first line and a header that grows until it is told to end; gives what is left to send."""
        end = self._end_of_drips
        start, new_line, rest = answer.partition(b"\r\n")
        connection.sendall(start + new_line + b"X-Drip: ")
        self.dripping.set()
        while not end.wait(DRIP_SECONDS):
            connection.sendall(b".")
        return new_line + rest

    # Requests.

    def _safe_answer(self, call: Call) -> Answer:
        try:
            self._stopping.wait(self.latency)
            if (call.host, call.path) in TOKEN_PLACES:
                return self._token_answer(call)
            if (call.verb, call.path) == ("HEAD", "/"):
                return Answer(404, b"")
            return self._api_answer(call)
        except Exception:  # noqa: BLE001 - a fault of the stand-in or of a hook has to reach the test
            self.violations.append(f"the stand-in failed:\n{traceback.format_exc()}")
            return error_answer(500, "internalError", "The stand-in failed")

    def _record(self, method: str, params: Params, body: Json | None) -> Request:
        with self.lock:
            request = Request(len(self.requests) + 1, method, params, body)
            self.requests.append(request)
        return request

    def _api_answer(self, call: Call) -> Answer:
        found = method_of(call)
        if found is None:
            self.violations.append(f"no such method: {call.verb} https://{call.host}{call.path}")
            return error_answer(404, "notFound", "Not Found")
        method, path_params = found
        pairs = [*path_params.items(), *parse_qsl(call.query, keep_blank_values=True)]
        params = {name: value for name, value in pairs if name != "alt"}
        request = self._record(method.id, params, json_object(call.body))
        told = self._tell(request, "before")
        if told or (self.hook and is_gone(self._connections[threading.current_thread()])):
            return Answer(0, b"", "close")

        def effect() -> Answer:
            answer = self._effect(method, request, pairs, call)
            request.status = answer.status
            self._tell(request, "after")
            return answer

        return self._with_faults(request, effect)

    def _with_faults(self, request: Request, effect: Callable[[], Answer]) -> Answer:
        fault = self._fault_for(request)
        if fault and fault.when == "before":
            answer = fault.answer
        else:
            answer = effect()
            if fault:
                answer = answer._replace(fate="drip") if fault.answer.fate == "drip" else fault.answer
        request.status = answer.status
        return answer

    def _tell(self, request: Request, when: str) -> object:
        return self.hook(request, when) if self.hook else None

    def _effect(self, method: Method, request: Request, pairs: Sequence[tuple[str, str]], call: Call) -> Answer:
        try:
            self._authorize(method, call.headers.get("authorization", ""))
            self._check_contract(method, request, pairs, call.body)
            tree: Tree = {}
            if request.params.get("fields") and method.gives:
                tree = parsed_mask(request.params["fields"].replace(" ", ""), method.gives["$ref"])
            status, resource = self.call(method.id, request.params, request.body)
            request.applied = True
            return json_answer(status, masked(tree, resource))
        except RefusalError as error:
            return error_answer(error.status, error.reason, error.message)
        except NotModelledError as error:
            self.violations.append(str(error))
            return error_answer(400, "badRequest", str(error))

    def _authorize(self, method: Method, header: str) -> None:
        grant = self._tokens.access.get(header.removeprefix("Bearer "))
        if grant is None:
            raise RefusalError(401, "authError", "Invalid Credentials")
        if not grant.scopes & method.scopes:
            message = "Request had insufficient authentication scopes."
            raise RefusalError(403, "insufficientPermissions", message)
        if grant.subject is not None:
            user = self.users.get((self._holder(grant.subject) or ("", ""))[1])
            if user is None or not (user["isAdmin"] or user["isDelegatedAdmin"]):
                raise forbidden()

    def _check_contract(self, method: Method, request: Request, pairs: Sequence[tuple[str, str]], body: bytes) -> None:
        faults = list(parameter_faults(method, pairs))
        if method.takes and request.body is None:
            faults.append(f"{method.id} needs a JSON object as its body")
        elif method.takes:
            faults += body_faults(method.takes, request.body, "body", method.id)
        elif body:
            faults.append(f"{method.id} takes no body")
        if faults:
            self.violations += faults
            raise RefusalError(400, "invalid", faults[0])

    def _token_answer(self, call: Call) -> Answer:
        form = dict(parse_qsl(call.body.decode("ascii"), keep_blank_values=True))
        request = self._record("token", {"grant_type": form.get("grant_type", "")}, None)
        return self._with_faults(request, lambda: self._tokens_for(call, form))

    def _tokens_for(self, call: Call, form: Params) -> Answer:
        basic = call.headers.get("authorization", "").removeprefix("Basic ")
        try:
            scopes, subject, refresh = self._tokens.grant(form, decoded(basic), self.token_fault)
            if subject and (self._holder(subject) or ("",))[0] != "user":
                raise TokenRefusalError(400, "invalid_grant", "Invalid email or User ID")
        except TokenRefusalError as error:
            return json_answer(error.status, error.body)
        if self.token_fault == "fewer_scopes":
            scopes = frozenset(sorted(scopes)[:-1])
        elif self.token_fault is not None:
            raise ValueError(f"token_fault {self.token_fault!r} is not known")
        answer: Json = {"access_token": self._tokens.issue(scopes, subject), "expires_in": 3599}
        answer |= {"scope": " ".join(sorted(scopes)), "token_type": "Bearer"}
        return json_answer(200, answer | ({"refresh_token": refresh} if refresh else {}))


def write_secret(path: Path, content: Json) -> None:
    path.write_text(json.dumps(content), "utf-8")
    path.chmod(0o600)


def json_object(body: bytes) -> Json | None:
    try:
        value = json.loads(body) if body else None
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def decoded(basic: str) -> str:
    try:
        return unquote(base64.b64decode(basic).decode())
    except ValueError:
        return ""
