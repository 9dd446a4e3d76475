"""PowerSchool's Oracle database at the wire, over a SQLite file.

The real python-oracledb driver (thin mode) logs in here, sends its SQL and fetches rows, so nothing in the
script under test is replaced.  The server looks like a 19.3 database to which the login has only read rights:

    with OracleServer("school.sqlite", password="secret") as server:
        oracledb.connect(user="PSNAVIGATOR", password="secret", dsn=server.dsn)

Every statement runs on a copy of the SQLite file as it is at that moment; SET TRANSACTION READ ONLY keeps
one copy until commit or rollback.  So no test waits for a lock, and the file may be edited or replaced at any
time.  During that transaction the server says that a transaction is open, and the driver therefore sends one
rollback before it closes the connection.

Set `oracledb.defaults.fetch_lobs = False`: CLOB values are sent inline only.  Dates are ISO text in SQLite.
"""

from __future__ import annotations

import datetime
import decimal
import functools
import hashlib
import re
import secrets
import select
import socket
import sqlite3
import struct
import threading
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

Value = str | int | float | bytes | None
Row = tuple[Value, ...]

PACKET_CONNECT, PACKET_ACCEPT, PACKET_REFUSE, PACKET_DATA, PACKET_MARKER = 1, 2, 4, 6, 12
MARKER_BREAK, MARKER_RESET = 1, 2
DATA_FLAG_EOF = 0x0040

MESSAGE_PROTOCOL, MESSAGE_DATA_TYPES, MESSAGE_FUNCTION, MESSAGE_ERROR = 1, 2, 3, 4
MESSAGE_ROW_HEADER, MESSAGE_ROW, MESSAGE_PARAMETERS, MESSAGE_STATUS = 6, 7, 8, 9
MESSAGE_DESCRIBE, MESSAGE_PIGGYBACK = 16, 17

FUNCTION_REEXECUTE, FUNCTION_FETCH, FUNCTION_LOGOFF, FUNCTION_COMMIT, FUNCTION_ROLLBACK = 4, 5, 9, 14, 15
FUNCTION_REEXECUTE_AND_FETCH, FUNCTION_EXECUTE, FUNCTION_CLOSE_CURSORS = 78, 94, 105
FUNCTION_AUTH_TWO, FUNCTION_AUTH_ONE, FUNCTION_END_TO_END = 115, 118, 135
FUNCTION_PING, FUNCTION_SET_SCHEMA = 147, 152

OPTION_EXECUTE, OPTION_FETCH = 0x20, 0x40

TYPE_VARCHAR, TYPE_NUMBER, TYPE_BINARY_INTEGER, TYPE_LONG, TYPE_DATE = 1, 2, 3, 8, 12
TYPE_CHAR, TYPE_CLOB, TYPE_TIMESTAMP = 96, 112, 180

# Version 318 and field version 12 ("19.1") are old enough that the driver uses none of the newer forms.
TNS_VERSION, TOO_OLD_TNS_VERSION, FIELD_VERSION = 318, 314, 12
ORACLE_VERSION = 19 << 24 | 3 << 16
CHARSET_UTF8, CHARSET_UTF16 = 873, 2000
MAX_STRING = 4000
DRIP_SECONDS = 0.1
ACCEPT_FLAGS, ACCEPT_ENCRYPTION_REQUIRED = 0x04, 0x10
VERIFIER_12C, VERIFIER_10G = 0x4815, 0x939
VERIFIER_ROUNDS, SESSION_ROUNDS = 4096, 3

ERROR_TEXT = {
    54: "resource busy and acquire with NOWAIT specified or timeout expired",
    900: "invalid SQL statement",
    904: "{}: invalid identifier",
    918: "column ambiguously defined",
    923: "FROM keyword not found where expected",
    932: "inconsistent datatypes: expected - got CLOB",
    933: "SQL command not properly ended",
    942: "table or view does not exist",
    1001: "invalid cursor",
    1008: "not all variables bound",
    1012: "not logged on",
    1013: "user requested cancel of current operation",
    1017: "invalid username/password; logon denied",
    1031: "insufficient privileges",
    1033: "ORACLE initialization or shutdown in progress",
    1034: "ORACLE not available",
    1045: "user PSNAVIGATOR lacks CREATE SESSION privilege; logon denied",
    1089: "immediate shutdown or close in progress - no operations are permitted",
    1403: "no data found",
    1453: "SET TRANSACTION must be first statement of transaction",
    1456: "may not perform insert/delete/update operation inside a READ ONLY transaction",
    1555: 'snapshot too old: rollback segment number 9 with name "_SYSSMU9$" too small',
    3001: "unimplemented feature",
    3113: "end-of-file on communication channel",
    3135: "connection lost contact",
    6502: "PL/SQL: numeric or value error: character string buffer too small",
    22835: "Buffer too small for CLOB to CHAR or BLOB to RAW conversion",
    28000: "The account is locked.",
    28001: "the password has expired",
}


class OracleError(Exception):
    """An error that the client is to see as ORA-nnnnn; `name` fills the gap some texts have."""

    def __init__(self, code: int, name: str = "") -> None:
        self.code = code
        text = ERROR_TEXT.get(code, "error asked for by the test").format(name)
        super().__init__(f"ORA-{code:05d}: {text}")


class DisconnectedError(Exception):
    """The session is over: the client left or a fault cut the line."""


class CallCancelledError(Exception):
    """The client gave the call up and has had its answer."""


@dataclass
class StatementError:
    """An ORA- error for statements that contain `text`, `times` times or for ever (None)."""

    text: str
    code: int
    times: int | None = None


@dataclass
class Faults:
    """What goes wrong from now on; texts match any part of a statement, without regard to case.

    `hang`, `hang_connect` and `drip`, which sends an answer a byte at a time, last until the client gives up or
    the attribute is cleared; `server.hanging` is set once a client waits.  `login_code` meets logins with the
    right password only.
    """

    refuse_connection: bool = False
    listener_code: int | None = None
    hang_connect: bool = False
    server_too_old: bool = False
    encryption_required: bool = False
    old_verifier: bool = False
    login_code: int | None = None
    drop_statement: str | None = None
    drop_after_rows: tuple[str, int] | None = None
    hang: str | None = None
    drip: str | None = None
    statement_errors: list[StatementError] = field(default_factory=list)

    def fail(self, text: str, code: int, times: int | None = None) -> None:
        self.statement_errors.append(StatementError(text, code, times))

    def take_statement_error(self, sql: str) -> int | None:
        """The code due for this statement, which uses up one of its times."""
        for error in self.statement_errors:
            if contains(sql, error.text) and error.times != 0:
                if error.times is not None:
                    error.times -= 1
                return error.code
        return None


def contains(sql: str, text: str | None) -> bool:
    return text is not None and text.lower() in sql.lower()


# The wire: integers and byte strings as Oracle packs them, packets, and the stream inside DATA packets.


def packed_int(value: int) -> bytes:
    """Oracle's universal integer: a length byte, then big-endian bytes."""
    size = next(size for size in (0, 1, 2, 4, 8) if value < 1 << (8 * size))
    return bytes([size]) + value.to_bytes(size, "big")


def packed_bytes(data: bytes) -> bytes:
    """Length and bytes, or above 252 bytes a list of pieces."""
    if len(data) <= 252:
        return bytes([len(data)]) + data
    return b"\xfe" + packed_int(len(data)) + data + b"\x00"


class Reply(bytearray):
    """One response while it is being built."""

    def u8(self, *values: int) -> None:
        self.extend(values)

    def num(self, *values: int) -> None:
        for value in values:
            self.extend(packed_int(value))

    def bytes1(self, data: bytes) -> None:
        self.extend(packed_bytes(data))

    def bytes2(self, text: str) -> None:
        data = text.encode()
        self.num(len(data))
        if data:
            self.bytes1(data)


class Channel:
    """Packets over one socket, and a reader of the byte stream that DATA packets carry."""

    def __init__(self, sock: socket.socket, on_marker: Callable[[int], None]) -> None:
        self.sock = sock
        self.on_marker = on_marker
        self.received = b""
        self.long_lengths = False
        self.packet_limit = 8192
        self.data = b""
        self.position = 0

    def waits(self, seconds: float) -> bool:
        """Whether something has come, or comes within that time."""
        return bool(self.received or select.select([self.sock], [], [], seconds)[0])

    def read_packet(self) -> tuple[int, bytes]:
        self._receive(8)
        size = struct.unpack_from(">I" if self.long_lengths else ">H", self.received)[0]
        self._receive(size)
        packet, self.received = self.received[:size], self.received[size:]
        return packet[4], packet[8:]

    def _receive(self, size: int) -> None:
        while len(self.received) < size:
            try:
                more = self.sock.recv(65536)
            except OSError as error:
                raise DisconnectedError from error
            if not more:
                raise DisconnectedError
            self.received += more

    def packet(self, kind: int, body: bytes | bytearray) -> bytes:
        size = len(body) + 8
        head = struct.pack(">I", size) if self.long_lengths else struct.pack(">HH", size, 0)
        return head + bytes([kind, 0, 0, 0]) + body

    def write_packet(self, kind: int, body: bytes | bytearray) -> None:
        self.send(self.packet(kind, body))

    def send(self, packets: bytes) -> None:
        try:
            self.sock.sendall(packets)
        except OSError as error:
            raise DisconnectedError from error

    def write_data(self, reply: bytes | bytearray) -> None:
        step = self.packet_limit - 10
        for start in range(0, len(reply), step):
            self.write_packet(PACKET_DATA, b"\x00\x00" + reply[start : start + step])

    def write_marker(self, kind: int) -> None:
        self.write_packet(PACKET_MARKER, bytes([1, 0, kind]))

    def take(self, size: int) -> bytes:
        """The next bytes of the request, however many packets they are spread over."""
        while len(self.data) - self.position < size:
            self._read_more()
        start, self.position = self.position, self.position + size
        return self.data[start : self.position]

    def _read_more(self) -> None:
        kind, body = self.read_packet()
        if kind == PACKET_MARKER:
            self.on_marker(body[2])
        elif kind != PACKET_DATA or int.from_bytes(body[:2], "big") & DATA_FLAG_EOF:
            raise DisconnectedError
        else:
            self.data, self.position = self.data[self.position :] + body[2:], 0

    def discard(self) -> None:
        """Forget what a request that was not understood to its end has left."""
        self.data, self.position = b"", 0

    def u8(self) -> int:
        return self.take(1)[0]

    def num(self) -> int:
        return int.from_bytes(self.take(self.u8() & 0x7F), "big")

    def fields(self, layout: str) -> list[int]:
        """Integers by layout: b is one byte, n a universal integer; blanks are for the reader."""
        return [self.u8() if kind == "b" else self.num() for kind in layout if kind != " "]

    def bytes1(self) -> bytes | None:
        size = self.u8()
        if size in {0, 255}:
            return None
        if size != 254:
            return self.take(size)
        pieces = b""
        while piece := self.num():
            pieces += self.take(piece)
        return pieces

    def text2(self) -> str:
        return (self.bytes1() or b"").decode() if self.num() else ""


# Values as Oracle stores and sends them.


@functools.lru_cache(maxsize=100_000)
def encode_number(value: Value) -> bytes:
    """NUMBER: an exponent byte and base-100 digits, complemented if negative."""
    number = decimal.Decimal(str(value)).normalize()
    if not number:
        return b"\x80"
    digits, exponent = "".join(map(str, number.as_tuple().digits)), int(number.as_tuple().exponent)
    digits += "0" * (exponent % 2)
    digits = digits.zfill(len(digits) + len(digits) % 2)
    pairs = [int(digits[i : i + 2]) for i in range(0, len(digits), 2)]
    head = 193 + exponent // 2 + len(pairs) - 1
    if number < 0:
        return bytes([~head & 0xFF, *(101 - pair for pair in pairs), 102])
    return bytes([head, *(pair + 1 for pair in pairs)])


def decode_number(data: bytes) -> int | float:
    negative = not data[0] & 0x80
    power = (~data[0] & 0xFF if negative else data[0]) - 193
    pairs = [101 - byte if negative else byte - 1 for byte in data[1:] if not (negative and byte == 102)]
    if not pairs:
        return 0
    digits = "".join(f"{pair:02d}" for pair in pairs)
    value = decimal.Decimal(digits).scaleb(2 * (power - len(pairs) + 1)) * (-1 if negative else 1)
    return int(value) if value == int(value) else float(value)


def encode_date(value: Value) -> bytes:
    """DATE in seven bytes; a fraction of a second, which only TIMESTAMP has, adds four."""
    when = datetime.datetime.fromisoformat(str(value))
    century, year = divmod(when.year, 100)
    data = bytes([century + 100, year + 100, when.month, when.day])
    data += bytes([when.hour + 1, when.minute + 1, when.second + 1])
    return data + struct.pack(">I", when.microsecond * 1000) if when.microsecond else data


def decode_date(data: bytes) -> str:
    year, (hour, minute, second) = (data[0] - 100) * 100 + data[1] - 100, (byte - 1 for byte in data[4:7])
    return datetime.datetime(year, data[2], data[3], hour, minute, second).isoformat(sep=" ")


@dataclass(frozen=True)
class ColumnType:
    """What a client is told about the type of a column."""

    number: int
    size: int
    precision: int = 0
    scale: int = 0

    @property
    def is_text(self) -> bool:
        return self.number in {TYPE_VARCHAR, TYPE_CHAR, TYPE_CLOB}


PLAIN_NUMBER = ColumnType(TYPE_NUMBER, 22, 0, -127)
LONGEST_VARCHAR = ColumnType(TYPE_VARCHAR, MAX_STRING)
CLOB = ColumnType(TYPE_CLOB, MAX_STRING)
DECLARED_TYPE = re.compile(r"\s*(\w+)\s*(?:\(\s*(\d+)[^,)]*(?:,\s*(-?\d+)\s*)?\))?")


def declared_type(text: str) -> ColumnType | None:
    """The type a CREATE TABLE gives; None for SQLite's own, which expressions have."""
    match = DECLARED_TYPE.match(text)
    name, size, scale = match.groups() if match else ("", None, None)
    types = {
        "NUMBER": ColumnType(TYPE_NUMBER, 22, int(size or 0), int(scale or 0)) if size else PLAIN_NUMBER,
        "INTEGER": ColumnType(TYPE_NUMBER, 22, 38, 0),
        "VARCHAR2": ColumnType(TYPE_VARCHAR, int(size or MAX_STRING)),
        "CHAR": ColumnType(TYPE_CHAR, int(size or 1)),
        "CLOB": CLOB,
        "DATE": ColumnType(TYPE_DATE, 7),
        "TIMESTAMP": ColumnType(TYPE_TIMESTAMP, 11, 0, 6),
    }
    return types.get(name.upper())


def type_of(declared: ColumnType | None, values: Sequence[Value]) -> ColumnType:
    """The declared type; the values' for an expression, and where text stands in a column of numbers."""
    known = [value for value in values if value is not None]
    if declared and (declared.number != TYPE_NUMBER or not any(isinstance(value, str) for value in known)):
        return declared
    if known and all(isinstance(value, int | float) for value in known):
        return PLAIN_NUMBER
    return LONGEST_VARCHAR


def encode_value(value: Value, column: ColumnType) -> bytes:
    if column.number == TYPE_CLOB:
        data = b"" if value is None else str(value).encode()
        return packed_bytes(data) + b"\x00\x00"  # inline as a LONG: null indicator and return code follow
    if value is None or value == "":
        return b"\x00"
    if column.number == TYPE_NUMBER:
        return packed_bytes(encode_number(value))
    if column.number in {TYPE_DATE, TYPE_TIMESTAMP}:
        return packed_bytes(encode_date(value))
    text = str(value)
    return packed_bytes((text.ljust(column.size) if column.number == TYPE_CHAR else text).encode())


@dataclass(frozen=True)
class BindType:
    number: int
    size: int


def read_bind(channel: Channel, bind: BindType) -> Value:
    data = channel.bytes1()
    if data is None:
        return None
    if bind.number in {TYPE_VARCHAR, TYPE_CHAR, TYPE_LONG}:
        return data.decode()
    if bind.number in {TYPE_NUMBER, TYPE_BINARY_INTEGER}:
        return decode_number(data)
    if bind.number == TYPE_DATE:
        return decode_date(data)
    raise OracleError(3001)


# Oracle's SQL on SQLite.

LITERAL = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|--[^\n]*|/\*.*?\*/", re.DOTALL)
COLUMNS = "SELECT t.name, c.name FROM sqlite_master t, pragma_table_info(t.name) c WHERE t.type = 'table'"
MASKED = re.compile(r"\0(\d+)\0")
BIND = re.compile(r":\s*\w+")
NOT_ORACLE = (r";\s*$", r"\bLIMIT\b", r"\b(?:FROM|JOIN)\s+[\w.]+\s+AS\b", r"\)\s*AS\s+\w+\s+ON\b")
FETCH_FIRST = re.compile(r"\bFETCH\s+(?:FIRST|NEXT)\s+(\S+)\s+ROWS?\s+ONLY\b", re.IGNORECASE)
ROWNUM = re.compile(r"\bROWNUM\s*<=\s*([?\w]+)", re.IGNORECASE)
ORDER_KEY = r"[\w.]+(?:\s+(?:ASC|DESC)\b)?"
ORDER_BY = re.compile(rf"\bORDER\s+BY\s+({ORDER_KEY}(?:\s*,\s*{ORDER_KEY})*)", re.IGNORECASE)
DBMS_LOB_SUBSTR = re.compile(r"\bDBMS_LOB\s*\.\s*SUBSTR\b", re.IGNORECASE)
AGGREGATE = re.compile(r"\b(?:MAX|MIN)\s*\(\s*([\w.\[\]]+)\s*\)", re.IGNORECASE)
UNQUALIFIED = re.compile(r"(?:\bFROM|\bJOIN|,)\s*(\w+)\b(?!\s*\.)", re.IGNORECASE)
CHANGES = {"INSERT", "UPDATE", "DELETE", "MERGE"}
DEFINITIONS = {"CREATE", "ALTER", "DROP", "TRUNCATE", "GRANT", "REVOKE"}


def masked(sql: str) -> tuple[str, list[str]]:
    """The statement with literals and quoted names put aside, so that patterns see only its words."""
    literals: list[str] = []

    def put_aside(match: re.Match[str]) -> str:
        text = match.group()
        if text.startswith(("--", "/*")):
            return " "
        # SQLite takes an unknown "name" for a string, an unknown [name] for an error.
        literals.append(f"[{text[1:-1]}]" if text.startswith('"') else text)
        return f"\0{len(literals) - 1}\0"

    return LITERAL.sub(put_aside, sql).strip(), literals


def first_words(sql: str) -> str:
    """The statement as upper-case words with single blanks, to tell its kind by."""
    return " ".join(masked(sql)[0].upper().split())


def check_query(text: str) -> None:
    """Refuse what SQLite would take and Oracle does not."""
    if any(re.search(pattern, text, re.IGNORECASE) for pattern in NOT_ORACLE):
        raise OracleError(933)
    if not re.search(r"\bFROM\b", text, re.IGNORECASE):
        raise OracleError(923)


def nulls_last(match: re.Match[str]) -> str:
    keys = [key.strip() for key in match[1].split(",")]
    last = [f"{key} NULLS {'FIRST' if key.upper().endswith('DESC') else 'LAST'}" for key in keys]
    return f"ORDER BY {', '.join(last)}"


def translate(sql: str, schema: str) -> str:
    """A query for SQLite; the driver sends one value per occurrence of a bind, so these are numbered."""
    text, literals = masked(sql)
    check_query(text)
    count = iter(range(1, len(text)))
    text = BIND.sub(lambda _: f"?{next(count)}", text)
    text = re.sub(rf"\b{re.escape(schema)}\s*\.\s*", "", text, flags=re.IGNORECASE)
    text = DBMS_LOB_SUBSTR.sub("dbms_lob_substr", text)
    text = ORDER_BY.sub(nulls_last, text)
    text = FETCH_FIRST.sub(r"LIMIT \1", text)
    if limit := ROWNUM.search(text):
        text = ROWNUM.sub("1 = 1", text) + f" LIMIT {limit[1]}"
    return MASKED.sub(lambda match: literals[int(match[1])], text)


def oracle_error(error: sqlite3.Error) -> OracleError:
    """What Oracle says where SQLite says this."""
    text = str(error)
    name = '"' + text.rpartition(": ")[2].strip("[]").upper().replace(".", '"."') + '"'
    if "no such table" in text or "unknown database" in text:
        return OracleError(942)
    if "no such column" in text or "no such function" in text:
        return OracleError(904, name)
    if "ambiguous column" in text:
        return OracleError(918)
    if "bindings" in text:
        return OracleError(1008)
    return OracleError(933 if "syntax error" in text else 900)


@dataclass
class Result:
    names: list[str] = field(default_factory=list)
    types: list[ColumnType] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)


class Database:
    """The data as one session sees them."""

    def __init__(self, path: Path, user: str, schema: str, *, synonyms: bool) -> None:
        self.path = path
        self.user = self.current_schema = user
        self.schema = schema
        self.synonyms = synonyms
        self.snapshot: sqlite3.Connection | None = None
        self.failure: OracleError | None = None

    def close(self) -> None:
        """End the transaction, if there is one."""
        if self.snapshot:
            self.snapshot.close()
        self.snapshot = None

    def execute(self, sql: str, binds: Sequence[Value]) -> Result | None:
        """Run any statement; only queries have a result."""
        words = first_words(sql)
        if is_query(sql) and "FOR UPDATE" not in words:
            return self.query(sql, binds)
        if words == "SET TRANSACTION READ ONLY":
            self.begin()
        elif words in {"COMMIT", "ROLLBACK"}:
            self.close()
        elif words.startswith("ALTER SESSION SET CURRENT_SCHEMA"):
            self.current_schema = words.split()[-1].lstrip("=")
        elif not words.startswith("ALTER SESSION"):
            raise self.refusal(words)
        return None

    def begin(self) -> None:
        if self.snapshot:
            raise OracleError(1453)
        self.snapshot = self.copy()

    def refusal(self, words: str) -> OracleError:
        """Why a login with read rights only may not run this."""
        verb = words.partition(" ")[0]
        changes = verb in CHANGES or "FOR UPDATE" in words
        if changes and self.snapshot:
            return OracleError(1456)
        return OracleError(1031 if changes or verb in DEFINITIONS else 900)

    def copy(self) -> sqlite3.Connection:
        """The file as it is now, with Oracle's functions and without empty strings, which Oracle has not."""
        copy = sqlite3.connect(":memory:", isolation_level=None)
        with closing(sqlite3.connect(f"{self.path.resolve().as_uri()}?mode=rw", uri=True)) as source:
            source.backup(copy)
        for table, column in copy.execute(COLUMNS).fetchall():
            copy.execute(f"UPDATE OR IGNORE [{table}] SET [{column}] = NULL WHERE [{column}] = ''")
        copy.execute("CREATE TEMP TABLE dual (dummy VARCHAR2(1))")
        copy.execute("INSERT INTO dual VALUES ('X')")
        copy.execute("PRAGMA case_sensitive_like = ON")
        self.add_functions(copy)
        return copy

    def add_functions(self, copy: sqlite3.Connection) -> None:
        def on_text(change: Callable[[str], str]) -> Callable[[Value], Value]:
            return lambda value: None if value is None else change(str(value)) or None

        def substr(value: Value, amount: int = 32_767, offset: int = 1) -> Value:
            return self.short(value, 6502, lambda text: text[offset - 1 :][:amount])

        context = {"CURRENT_SCHEMA": self.current_schema, "SESSION_USER": self.user}
        copy.create_function("nvl", 2, lambda value, other: other if value is None else value)
        copy.create_function("upper", 1, on_text(str.upper))
        copy.create_function("lower", 1, on_text(str.lower))
        copy.create_function("trim", 1, on_text(lambda text: text.strip(" ")))
        copy.create_function("to_char", 1, lambda value: self.short(value, 22835, without_leading_zero))
        copy.create_function("dbms_lob_substr", -1, substr)
        copy.create_function("sys_context", 2, lambda _, key: context.get(str(key).upper()))

    def short(self, value: Value, code: int, change: Callable[[str], str]) -> Value:
        """The value as a VARCHAR2, which holds 4000 bytes; SQLite tells the error of a function to nobody."""
        text = "" if value is None else change(str(value))
        if len(text.encode()) > MAX_STRING:
            self.failure = OracleError(code)
            raise self.failure
        return text or None

    def query(self, sql: str, binds: Sequence[Value]) -> Result:
        text = translate(sql, self.schema)
        database = self.snapshot or self.copy()
        self.failure = None
        try:
            self.check_synonyms(database, sql)
            cursor = database.execute(text, [None if value == "" else value for value in binds])
            rows: list[Row] = cursor.fetchall()
            names = [column_name(entry[0], sql) for entry in cursor.description]
            return Result(names, column_types(database, text, rows), rows)
        except sqlite3.Error as error:
            raise self.failure or oracle_error(error) from error
        finally:
            if database is not self.snapshot:
                database.close()

    def check_synonyms(self, database: sqlite3.Connection, sql: str) -> None:
        """Without synonyms a name alone means a table of the login itself, which has none."""
        if self.synonyms or self.current_schema == self.schema:
            return
        tables = {name.upper() for (name,) in database.execute("SELECT name FROM sqlite_master")}
        if any(name.upper() in tables for name in UNQUALIFIED.findall(masked(sql)[0])):
            raise OracleError(942)


def without_leading_zero(number: str) -> str:
    return re.sub(r"^(-?)0(?=\.\d+$)", r"\1", number)


def is_query(sql: str) -> bool:
    return first_words(sql).lstrip("( ").startswith(("SELECT", "WITH"))


def column_name(name: str, sql: str) -> str:
    """Oracle's name: as quoted, else in capitals, an expression's without blanks."""
    return name if f'"{name}"' in sql else "".join(name.upper().split())


def column_types(database: sqlite3.Connection, text: str, rows: Sequence[Row]) -> list[ColumnType]:
    declared = declared_types(database, text)
    if declared_types(database, AGGREGATE.sub(r"\1", text)).count(CLOB) > declared.count(CLOB):
        raise OracleError(932)
    return [type_of(told, [row[position] for row in rows]) for position, told in enumerate(declared)]


def declared_types(database: sqlite3.Connection, text: str) -> list[ColumnType | None]:
    """sqlite3 does not tell them for a query, but for a view made of it."""
    database.execute("CREATE TEMP VIEW asked AS " + re.sub(r"\?\d+", "NULL", text))
    declared = [str(column[2]) for column in database.execute("PRAGMA temp.table_info(asked)")]
    database.execute("DROP VIEW temp.asked")
    return [declared_type(one) for one in declared]


# The 12c password check: both sides prove that they know the verifier, and the password travels encrypted.


def aes(key: bytes, data: bytes, *, encrypt: bool) -> bytes:
    cipher = Cipher(algorithms.AES(key), modes.CBC(bytes(16)))
    worker = cipher.encryptor() if encrypt else cipher.decryptor()
    return worker.update(data) + worker.finalize()


@functools.cache
def stored_verifier(password: bytes) -> tuple[bytes, bytes]:
    """What the database keeps of a password from when it was set: the salt and the verifier."""
    salt = secrets.token_bytes(16)
    key = hashlib.pbkdf2_hmac("sha512", password, salt + b"AUTH_PBKDF2_SPEEDY_KEY", VERIFIER_ROUNDS, 64)
    return salt, hashlib.sha512(key + salt).digest()[:32]


class Login:
    """One challenge and the check of its answer; for a password of None no answer is right."""

    def __init__(self, password: str | None) -> None:
        self.known = password is not None
        self.password = (password or secrets.token_hex()).encode()
        self.salt, self.verifier = stored_verifier(self.password)
        self.session_salt = secrets.token_bytes(16)
        self.server_half = secrets.token_bytes(32)
        self.session_key = b""

    def challenge(self, kind: int) -> list[tuple[str, str, int]]:
        return [
            ("AUTH_SESSKEY", aes(self.verifier, self.server_half, encrypt=True).hex().upper(), 1),
            ("AUTH_VFR_DATA", self.salt.hex().upper(), kind),
            ("AUTH_PBKDF2_CSK_SALT", self.session_salt.hex().upper(), 0),
            ("AUTH_PBKDF2_VGEN_COUNT", str(VERIFIER_ROUNDS), 0),
            ("AUTH_PBKDF2_SDER_COUNT", str(SESSION_ROUNDS), 0),
        ]

    def accepts(self, answer: dict[str, str]) -> bool:
        """A wrong password leads to a wrong session key and so to nonsense instead of a password."""
        client_half = aes(self.verifier, bytes.fromhex(answer["AUTH_SESSKEY"]), encrypt=False)[:32]
        halves = (client_half + self.server_half).hex().upper().encode()
        self.session_key = hashlib.pbkdf2_hmac("sha512", halves, self.session_salt, SESSION_ROUNDS, 32)
        plain = aes(self.session_key, bytes.fromhex(answer["AUTH_PASSWORD"]), encrypt=False)
        return self.known and secrets.compare_digest(plain[16 : -plain[-1] or None], self.password)

    def proof(self) -> str:
        text = secrets.token_bytes(16) + b"SERVER_TO_CLIENT"
        return aes(self.session_key, text, encrypt=True).hex().upper()


# One client.


@dataclass
class Cursor:
    """A statement the client may run again, and where it stands in the rows of the last run."""

    number: int
    sql: str
    binds: list[BindType] = field(default_factory=list)
    result: Result | None = None
    described: tuple[list[str], list[ColumnType]] | None = None
    lobs_defined: bool = False
    position: int = 0


@dataclass
class ExecuteRequest:
    options: int
    cursor: int
    fetch_rows: int
    sql: str
    defines: list[BindType]
    bind_types: list[BindType]
    bind_values: list[Value]


class Session:
    """Serves one connection from its first packet to its last, in a thread of its own."""

    def __init__(self, server: OracleServer, sock: socket.socket, number: int) -> None:
        self.server = server
        self.number = number
        self.channel = Channel(sock, self.answer_break)
        self.database = Database(server.database, server.user, server.schema, synonyms=server.synonyms)
        self.user = ""
        self.login: Login | None = None
        self.logged_in = False
        self.cursors: dict[int, Cursor] = {}
        self.last_cursor = 0
        self.functions: dict[int, Callable[[], None]] = {
            FUNCTION_EXECUTE: self.execute,
            FUNCTION_REEXECUTE: functools.partial(self.reexecute, fetches=False),
            FUNCTION_REEXECUTE_AND_FETCH: functools.partial(self.reexecute, fetches=True),
            FUNCTION_FETCH: self.fetch,
            FUNCTION_COMMIT: self.end_transaction,
            FUNCTION_ROLLBACK: self.end_transaction,
            FUNCTION_PING: self.answer_status,
            FUNCTION_LOGOFF: self.answer_status,
        }

    def run(self) -> None:
        with closing(self.channel.sock), closing(self.database), suppress(DisconnectedError):
            if self.connect():
                while True:
                    self.serve_request()

    def connect(self) -> bool:
        """Accept or refuse what the connect descriptor asks for."""
        kind, body = self.channel.read_packet()
        if kind != PACKET_CONNECT:
            return False
        size, offset = struct.unpack_from(">HH", body, 16)
        descriptor = body[offset - 8 : offset - 8 + size]
        if len(descriptor) < size:  # a long one comes in a packet of its own
            descriptor = self.channel.read_packet()[1][2:]
        if self.server.faults.hang_connect:
            self.hang(lambda: self.server.faults.hang_connect)
        if code := self.refusal_code(descriptor.decode()):
            self.refuse(code)
            return False
        self.accept(struct.unpack_from(">H", body, 6)[0])
        return True

    def refusal_code(self, descriptor: str) -> int:
        service = re.search(r"\(\s*SERVICE_NAME\s*=\s*([^)\s]*)", descriptor, re.IGNORECASE)
        if self.server.faults.listener_code:
            return self.server.faults.listener_code
        if not service:
            return 12505
        return 0 if service[1].upper() == self.server.service.upper() else 12514

    def refuse(self, code: int) -> None:
        text = f"(DESCRIPTION=(TMP=)(VSNNUM={ORACLE_VERSION})(ERR={code}))".encode()
        self.channel.write_packet(PACKET_REFUSE, struct.pack(">BBH", 34, 0, len(text)) + text)

    def accept(self, size: int) -> None:
        faults = self.server.faults
        version = TOO_OLD_TNS_VERSION if faults.server_too_old else TNS_VERSION
        flags = ACCEPT_FLAGS | (ACCEPT_ENCRYPTION_REQUIRED if faults.encryption_required else 0)
        layout = ">HHHHHHHB9xIIBI"
        body = struct.pack(layout, version, 0, size, size, 0x0100, 0, 45, flags, size, size, 0, 0)
        self.channel.write_packet(PACKET_ACCEPT, body)
        self.channel.packet_limit = size
        self.channel.long_lengths = True

    def hang(self, still: Callable[[], bool]) -> None:
        """Leave the client waiting until it interrupts, goes away or the fault is lifted."""
        self.server.hanging.set()
        while still():
            if self.channel.waits(0.02):
                kind, body = self.channel.read_packet()
                if kind != PACKET_MARKER:
                    raise DisconnectedError
                self.answer_break(body[2])
                raise CallCancelledError

    def answer_break(self, kind: int) -> None:
        """Return the break, wait for the reset, return that, and say which error ended the call."""
        if kind != MARKER_RESET:
            self.channel.write_marker(MARKER_BREAK)
            while kind != MARKER_RESET:
                packet, body = self.channel.read_packet()
                kind = body[2] if packet == PACKET_MARKER else 0
        self.channel.write_marker(MARKER_RESET)
        self.answer_error(OracleError(1013))

    def serve_request(self) -> None:
        try:
            self.handle(self.channel.u8())
        except OracleError as error:
            self.answer_error(error)
        except CallCancelledError:
            pass
        self.channel.discard()

    def handle(self, message: int) -> None:
        while message == MESSAGE_PIGGYBACK:
            self.read_piggyback()
            message = self.channel.u8()
        if message == MESSAGE_PROTOCOL:
            self.agree_on_protocol()
        elif message == MESSAGE_DATA_TYPES:
            self.agree_on_data_types()
        elif message == MESSAGE_FUNCTION:
            self.call(*self.channel.fields("bb"))
        else:
            raise OracleError(3001)

    def call(self, function: int, _sequence: int) -> None:
        if function == FUNCTION_AUTH_ONE:
            self.challenge()
        elif function == FUNCTION_AUTH_TWO:
            self.check_answer()
        elif not self.logged_in:
            raise OracleError(1012)
        elif function in self.functions:
            self.functions[function]()
        else:
            raise OracleError(3001)

    def answer(self, reply: bytes | bytearray, sql: str = "") -> None:
        self.server.count(round_trips=1)
        if contains(sql, self.server.faults.drip):
            self.drip(reply, sql)
        else:
            self.channel.write_data(reply)

    def drip(self, reply: bytes | bytearray, sql: str) -> None:
        """A byte at a time, in as many packets as there are bytes; the last only when the fault is lifted."""
        self.server.hanging.set()
        wire = b"".join(self.channel.packet(PACKET_DATA, bytes([0, 0, byte])) for byte in reply)
        sent = 0
        while contains(sql, self.server.faults.drip):
            if self.channel.waits(DRIP_SECONDS):  # the client leaves, or this server stops
                raise DisconnectedError
            self.channel.send(wire[sent : sent + 1] if sent < len(wire) - 1 else b"")
            sent = min(sent + 1, len(wire) - 1)
        self.channel.send(wire[sent:])

    def answer_error(self, error: OracleError, cursor: int = 0) -> None:
        reply = Reply()
        self.put_end(reply, error, cursor)
        self.answer(reply)

    def answer_status(self) -> None:
        reply = Reply([MESSAGE_STATUS])
        reply.num(self.call_status(), 0)
        self.answer(reply)

    def end_transaction(self) -> None:
        self.database.close()
        self.answer_status()

    def call_status(self) -> int:
        return 2 if self.database.snapshot else 0

    def put_end(self, reply: Reply, error: OracleError | None = None, cursor: int = 0, rows: int = 0) -> None:
        """The message that ends a response, also a successful one."""
        code = error.code if error else 0
        reply.u8(MESSAGE_ERROR)
        reply.num(self.call_status(), 0, 0, code, 0, 0, cursor, 0)
        reply.u8(*bytes(6))  # SQL type, fatal, flags, cursor options, UPI, warnings
        reply.u8(*bytes(5))  # row id
        reply.u8(*bytes(6))  # operating system's error, statement and call numbers, iterations, row id
        reply.num(0, 0, 0, code, rows)  # after the errors of a batch
        if error:
            reply.bytes1(f"{error}\n".encode())

    def agree_on_protocol(self) -> None:
        for _versions_then_driver_name in range(2):
            while self.channel.u8():
                pass
        compile_time, run_time = bytearray(64), bytearray(16)
        compile_time[7], run_time[0] = FIELD_VERSION, 2
        table = bytes(9) + struct.pack(">H", CHARSET_UTF16)
        reply = Reply([MESSAGE_PROTOCOL, 6, 0])
        reply += b"x86_64/Linux 2.4.xx\0" + struct.pack("<HBH", CHARSET_UTF8, 1, 0)
        reply += struct.pack(">H", len(table)) + table
        reply.bytes1(bytes(compile_time))
        reply.bytes1(bytes(run_time))
        self.answer(reply)

    def agree_on_data_types(self) -> None:
        self.channel.take(5)
        self.channel.bytes1()
        self.channel.bytes1()
        while self.channel.take(2) != b"\0\0":
            self.channel.take(6)
        self.answer(bytes([MESSAGE_DATA_TYPES, 0, 0]))

    def read_authentication(self) -> tuple[str, dict[str, str]]:
        has_user, _, _, _, pairs, _, _ = self.channel.fields("bnnbnbb")
        user = (self.channel.bytes1() or b"").decode() if has_user else ""
        values = {}
        for _ in range(pairs):
            key = self.channel.text2()
            values[key] = self.channel.text2()
            self.channel.num()
        return user, values

    def challenge(self) -> None:
        name, _ = self.read_authentication()
        self.user = name[1:-1] if name.startswith('"') else name.upper()
        known = self.user == self.server.user.upper()
        self.login = Login(self.server.password if known else None)
        kind = VERIFIER_10G if self.server.faults.old_verifier else VERIFIER_12C
        self.answer_pairs(self.login.challenge(kind))

    def check_answer(self) -> None:
        _, values = self.read_authentication()
        right = self.login is not None and self.login.accepts(values)
        code = self.server.faults.login_code if right else 1017
        if self.login is None or code:
            self.server.count(failed_logins=1)
            raise OracleError(code or 1017)
        self.logged_in = True
        self.server.count(logins=1)
        self.answer_pairs(
            [
                ("AUTH_VERSION_NO", str(ORACLE_VERSION), 0),
                ("AUTH_SESSION_ID", str(self.number), 0),
                ("AUTH_SERIAL_NUM", str(self.number), 0),
                ("AUTH_INSTANCENAME", self.server.service.lower(), 0),
                ("AUTH_SC_SERVICE_NAME", self.server.service, 0),
                ("AUTH_SC_DBUNIQUE_NAME", self.server.service, 0),
                ("AUTH_MAX_OPEN_CURSORS", "300", 0),
                ("AUTH_MAX_IDEN_LENGTH", "128", 0),
                ("AUTH_SVR_RESPONSE", self.login.proof(), 0),
            ]
        )

    def answer_pairs(self, pairs: Sequence[tuple[str, str, int]]) -> None:
        reply = Reply([MESSAGE_PARAMETERS])
        reply.num(len(pairs))
        for key, value, flags in pairs:
            reply.bytes2(key)
            reply.bytes2(value)
            reply.num(flags)
        self.put_end(reply)
        self.answer(reply)

    def read_piggyback(self) -> None:
        """Read what the client says in passing, before the call itself."""
        function, _sequence = self.channel.fields("bb")
        if function == FUNCTION_CLOSE_CURSORS:
            for number in self.channel.fields("n" * self.channel.fields("bn")[1]):
                self.cursors.pop(number, None)
        elif function == FUNCTION_SET_SCHEMA:
            self.channel.u8()
            self.database.current_schema = self.channel.text2().upper()
        elif function == FUNCTION_END_TO_END:
            self.channel.fields("bbn")
            lengths = [self.channel.fields("bn") for _ in range(9)]
            for position in (0, 1, 2, 5, 8):  # the others are no longer in use
                if all(lengths[position]):
                    self.channel.bytes1()
        else:
            raise OracleError(3001)

    def read_bind_types(self, count: int) -> list[BindType]:
        types = []
        for _ in range(count):
            number, _, _, _, size, _, _ = self.channel.fields("bbbb nnn")
            self.channel.text2()
            self.channel.fields("nn b nn")
            types.append(BindType(number, size))
        return types

    def read_bind_values(self, types: Sequence[BindType]) -> list[Value]:
        """One row of values, in which those too long for a VARCHAR2 come last."""
        if not types:
            return []
        self.channel.u8()
        values: dict[int, Value] = {}
        for position in sorted(range(len(types)), key=lambda i: types[i].size > MAX_STRING):
            values[position] = read_bind(self.channel, types[position])
        return [values[position] for position in range(len(types))]

    def read_execute(self) -> ExecuteRequest:
        head = self.channel.fields("n nbnbn bbnnn bnbbbbb bnnbbbnbnn bnb bnbnb bn")
        options, cursor, sql_length, fetch_rows, binds, defines = (head[i] for i in (0, 1, 3, 9, 12, 19))
        sql = (self.channel.bytes1() or b"").decode() if sql_length else ""
        vector = self.channel.fields("n" * 13)
        define_types = self.read_bind_types(defines)
        bind_types = [] if define_types else self.read_bind_types(binds)
        values: list[Value] = []
        if bind_types and options & OPTION_EXECUTE:
            runs = 1 if vector[7] else vector[1]
            values = [self.read_bind_values(bind_types) for _ in range(runs)][-1]
        return ExecuteRequest(options, cursor, fetch_rows, sql, define_types, bind_types, values)

    def execute(self) -> None:
        request = self.read_execute()
        cursor = self.cursors.get(request.cursor) if request.cursor else self.new_cursor(request.sql)
        if cursor is None:
            raise OracleError(1001)
        if request.defines:
            if any(define.number == TYPE_CLOB for define in request.defines):
                raise OracleError(3001)  # a locator: fetch_lobs is on
            cursor.lobs_defined = True
        try:
            if request.options & OPTION_EXECUTE:
                cursor.binds = request.bind_types
                self.run_statement(cursor, request.bind_values)
            self.respond(cursor, request.fetch_rows if request.options & OPTION_FETCH else 0)
        except OracleError as error:
            if not request.cursor:
                del self.cursors[cursor.number]
            self.answer_error(error, request.cursor)

    def reexecute(self, *, fetches: bool) -> None:
        number, count, _, _ = self.channel.fields("nnnn")
        if number not in self.cursors:
            raise OracleError(1001)
        cursor = self.cursors[number]
        values = self.read_bind_values(cursor.binds)
        try:
            self.run_statement(cursor, values)
            self.respond(cursor, count if fetches else 0)
        except OracleError as error:
            self.answer_error(error, number)

    def new_cursor(self, sql: str) -> Cursor:
        self.last_cursor += 1
        cursor = self.cursors[self.last_cursor] = Cursor(self.last_cursor, sql)
        return cursor

    def run_statement(self, cursor: Cursor, values: Sequence[Value]) -> None:
        faults, sql = self.server.faults, cursor.sql
        self.server.statements.append(sql)
        if contains(sql, faults.drop_statement):
            raise DisconnectedError
        if contains(sql, faults.hang):
            self.hang(lambda: contains(sql, self.server.faults.hang))
        if code := faults.take_statement_error(sql):
            raise OracleError(code)
        cursor.result = self.database.execute(sql, values)
        cursor.position = 0

    def respond(self, cursor: Cursor, fetch_rows: int) -> None:
        """Describe the columns unless the client knows them, then send rows if it wants any now."""
        reply, result = Reply(), cursor.result
        if result and cursor.described != (result.names, result.types):
            put_description(reply, result)
            cursor.described = (result.names, result.types)
        # With a CLOB among the columns the client first says in what form it wants them.
        if result and fetch_rows and (cursor.lobs_defined or CLOB not in result.types):
            self.put_rows(reply, cursor, result, fetch_rows)
        else:
            self.put_end(reply, cursor=cursor.number)
        self.answer(reply, cursor.sql)

    def fetch(self) -> None:
        number, count = self.channel.fields("nn")
        cursor = self.cursors.get(number)
        if cursor is None or cursor.result is None:
            raise OracleError(1001)
        self.server.count(fetch_trips=1)
        reply = Reply()
        self.put_rows(reply, cursor, cursor.result, count)
        self.answer(reply, cursor.sql)

    def put_rows(self, reply: Reply, cursor: Cursor, result: Result, count: int) -> None:
        """Never more rows than asked for; fewer only at the end, which is said with "no data found"."""
        rows = result.rows[cursor.position : cursor.position + count]
        cut = self.rows_until_cut(cursor, len(rows))
        if rows:
            reply.u8(MESSAGE_ROW_HEADER, 0)
            reply.num(1, 0, count, 0, 0, 0)
        for row in rows[:cut]:
            reply.u8(MESSAGE_ROW)
            for value, column in zip(row, result.types, strict=True):
                reply += encode_value(value, column)
        if cut is not None:
            self.channel.write_data(reply)
            raise DisconnectedError
        cursor.position += len(rows)
        self.put_end(reply, OracleError(1403) if len(rows) < count else None, cursor.number, cursor.position)

    def rows_until_cut(self, cursor: Cursor, available: int) -> int | None:
        """How many of the next rows a fault lets through before the line is cut; None for no fault."""
        if self.server.faults.drop_after_rows is None:
            return None
        text, limit = self.server.faults.drop_after_rows
        left = max(limit - cursor.position, 0)
        return left if contains(cursor.sql, text) and left <= available else None


def put_description(reply: Reply, result: Result) -> None:
    reply.u8(MESSAGE_DESCRIBE)
    reply.bytes1(bytes(16))
    reply.num(sum(column.size for column in result.types), len(result.types))
    reply.u8(0)
    for position, (name, column) in enumerate(zip(result.names, result.types, strict=True), 1):
        reply.u8(column.number, 0x80, column.precision, column.scale & 0xFF)
        reply.num(column.size, 0, 0, 0, 0, CHARSET_UTF8 if column.is_text else 0)
        reply.u8(1 if column.is_text else 0)
        reply.num(column.size if column.is_text else 0, 0)
        reply.u8(1, min(len(name), 255))  # nulls allowed
        reply.bytes2(name)
        reply.num(0, 0, position, 0)
    reply.num(0, 0, 0, 0, 0, 0)


class OracleServer:
    """Listens on a free loopback port and serves each client in a thread.

    database   a SQLite file; its tables are reached as `users` and, with the schema, as `ps.users`
    synonyms   False: a name without the schema is ORA-00942

    Set any field of `faults`, or all by a new `Faults()`, at any time; `user` and `password` may change too.
    `statements` holds the SQL of each execution, failed ones included; `round_trips` counts the requests
    answered, those of the login included, and `fetch_trips` those that asked for further rows of a result.
    """

    def __init__(
        self,
        database: str | Path,
        *,
        user: str = "PSNAVIGATOR",
        password: str,
        service: str = "PSPRODDB",
        schema: str = "PS",
        synonyms: bool = True,
    ) -> None:
        self.database = Path(database)
        self.user, self.password = user, password
        self.service, self.schema, self.synonyms = service, schema, synonyms
        self.faults = Faults()
        self.hanging = threading.Event()
        self.port = 0
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._sessions: dict[threading.Thread, socket.socket] = {}
        self._listener: socket.socket | None = None
        self._acceptor: threading.Thread | None = None
        self.reset_records()

    def reset_records(self) -> None:
        self.statements: list[str] = []
        self.round_trips = self.fetch_trips = 0
        self.logins = self.failed_logins = self.connections = 0
        self.hanging.clear()

    def count(self, **amounts: int) -> None:
        with self._lock:
            for name, amount in amounts.items():
                setattr(self, name, getattr(self, name) + amount)

    @property
    def dsn(self) -> str:
        return f"127.0.0.1:{self.port}/{self.service}"

    def start(self) -> OracleServer:
        self._stopping.clear()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(None)
        self.port = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, args=(self._listener,), daemon=True)
        self._acceptor.start()
        return self

    def _accept(self, listener: socket.socket) -> None:
        number = 0
        while True:
            sock, _ = listener.accept()
            sock.settimeout(None)  # whatever default the program under test has set
            if self._stopping.is_set():
                sock.close()
                return
            number += 1
            self.count(connections=1)
            if self.faults.refuse_connection:
                sock.close()
                continue
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(target=self._serve, args=(Session(self, sock, number),), daemon=True)
            with self._lock:
                self._sessions[thread] = sock
                thread.start()

    def _serve(self, session: Session) -> None:
        try:
            session.run()
        finally:
            with self._lock:
                self._sessions.pop(threading.current_thread(), None)

    def stop(self) -> None:
        if self._listener is None or self._acceptor is None:
            return
        self._stopping.set()
        # Closing a socket does not everywhere wake the thread that accepts on it; a last connection does.
        socket.create_connection(("127.0.0.1", self.port)).close()
        self._acceptor.join()
        self._listener.close()
        self._listener = self._acceptor = None
        self.cut_connections()

    def cut_connections(self) -> None:
        """End every session, as a database host does that goes away."""
        with self._lock:
            sessions = dict(self._sessions)
        for thread, sock in sessions.items():
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            thread.join()

    def __enter__(self) -> OracleServer:
        return self.start()

    def __exit__(self, *_error: object) -> None:
        self.stop()
