"""The stand-in for PowerSchool's database, proved with the real driver."""

from __future__ import annotations

import datetime
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import oracledb
import pytest
from oracle_server import Faults, OracleServer

PASSWORD = "Grüße, 42!"
TABLES = """
CREATE TABLE schools (dcid NUMBER(10,0) NOT NULL, school_number NUMBER(10,0), name VARCHAR2(100));
CREATE TABLE users (dcid NUMBER(10,0) NOT NULL, first_name VARCHAR2(100), title VARCHAR2(4000),
    canchangeschool CLOB, born DATE, whenmodified TIMESTAMP, gender CHAR(3), rate NUMBER(5,2), plain NUMBER);
CREATE TABLE schoolstaff (users_dcid NUMBER(10,0), schoolid NUMBER(10,0), status NUMBER(10,0),
    note VARCHAR2(20));
CREATE TABLE u_humanresources (usersdcid NUMBER(10,0), cellphone VARCHAR2(20));
INSERT INTO schools VALUES (1, 131, 'High School'), (2, 0, 'District Office'), (3, NULL, '');
INSERT INTO schoolstaff VALUES (1, 131, 1, 'it''s'), (2, 131, 2, NULL), (1, 0, 1, '');
INSERT INTO u_humanresources VALUES (1, '555-1'), (1, '555-2'), (2, '');
"""
USERS = [
    (1, "Zoë 😀", "x" * 4000, "131;0;" * 12_000, "2001-02-03", "2001-02-03 04:05:06.500000", "F", 1.5, 7),
    (2, "", None, None, None, None, None, None, None),
    (3, " Ann ", "y", "", "1999-12-31 23:59:59", "1999-12-31", "M", -0.25, -12345678901234),
]
EXTENDED = """SELECT u.dcid, u.first_name, e1.found_rows, e1.value_1 FROM users u LEFT JOIN (SELECT usersdcid,
    COUNT(*) AS found_rows, MAX(cellphone) AS value_1 FROM u_humanresources GROUP BY usersdcid) e1
    ON e1.usersdcid = u.dcid ORDER BY u.dcid"""

Connect = Callable[..., oracledb.Connection]


@pytest.fixture(autouse=True)
def inline_lobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oracledb.defaults, "fetch_lobs", False)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "power school.sqlite"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(TABLES)
        connection.executemany("INSERT INTO users VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", USERS)
    return path


@pytest.fixture
def server(database: Path) -> Iterator[OracleServer]:
    with OracleServer(database, password=PASSWORD) as server:
        yield server


@pytest.fixture
def connect(server: OracleServer) -> Iterator[Connect]:
    opened: list[oracledb.Connection] = []

    def open_connection(**changes: Any) -> oracledb.Connection:
        arguments = {"user": "PSNavigator", "password": PASSWORD, "dsn": server.dsn, **changes}
        opened.append(oracledb.connect(**arguments))
        return opened[-1]

    yield open_connection
    for connection in opened:
        if connection.is_healthy():
            connection.close()


def rows(connection: oracledb.Connection, sql: str, **binds: object) -> list[Any]:
    # Closed here: one that is left to the garbage collector may be closed amid a call, and the driver waits for itself.
    with connection.cursor() as cursor:
        return list(cursor.execute(sql, binds).fetchall())


def edit(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(sql)


def code_of(action: Callable[..., object], *arguments: Any, **named: Any) -> str:
    with pytest.raises(oracledb.Error) as caught:
        action(*arguments, **named)
    error = caught.value
    if error.args[0].full_code == "DPY-6005" and isinstance(error.__cause__, oracledb.Error):
        error = error.__cause__  # "cannot connect": the reason is the error behind it
    return str(error.args[0].full_code)


def test_login_and_logoff(server: OracleServer, connect: Connect) -> None:
    connection = connect()
    assert connection.version == "19.3.0.0.0"
    connection.ping()
    connection.close()
    assert (server.connections, server.logins, server.failed_logins) == (1, 1, 0)
    server.reset_records()
    assert (server.connections, server.logins, server.round_trips) == (0, 0, 0)


@pytest.mark.parametrize("wrong", [{"password": "secret"}, {"password": PASSWORD[:-1]}, {"user": "SOMEBODY"}])
def test_wrong_login(server: OracleServer, connect: Connect, wrong: dict[str, str]) -> None:
    assert code_of(connect, **wrong) == "ORA-01017"
    assert (server.logins, server.failed_logins) == (0, 1)


@pytest.mark.parametrize("data", ["SERVICE_NAME=OTHER", "SID=PSPRODDB"])
def test_unknown_service_and_sid(server: OracleServer, connect: Connect, data: str) -> None:
    dsn = f"(DESCRIPTION=(ADDRESS=(PROTOCOL=tcp)(HOST=127.0.0.1)(PORT={server.port}))(CONNECT_DATA=({data})))"
    assert code_of(connect, dsn=dsn) == ("DPY-6001" if "SERVICE" in data else "DPY-6003")
    assert server.logins == 0


def test_long_connect_descriptor_and_session_attributes(server: OracleServer, connect: Connect) -> None:
    connection = connect(dsn=server.dsn.lower(), program="p" * 300)
    connection.module, connection.action, connection.client_identifier = "sync", "read", "tests"
    assert rows(connection, "SELECT 1 FROM dual") == [(1,)]


def test_read_only_transaction_is_a_snapshot(server: OracleServer, database: Path, connect: Connect) -> None:
    connection = connect()
    count = "SELECT COUNT(*) FROM schools"
    connection.cursor().execute("SET TRANSACTION READ ONLY")
    assert connection.transaction_in_progress
    edit(database, "DELETE FROM schools WHERE school_number IS NULL")
    assert rows(connection, count) == [(3,)]
    for change in ("UPDATE ps.schools SET name = 'x'", "SELECT name FROM schools FOR UPDATE"):
        assert code_of(rows, connection, change) == "ORA-01456"
    assert code_of(rows, connection, "SET TRANSACTION READ ONLY") == "ORA-01453"
    connection.rollback()
    assert not connection.transaction_in_progress
    assert rows(connection, count) == [(2,)]
    many = connection.cursor().executemany
    assert code_of(many, "INSERT INTO schools (dcid) VALUES (:1)", [(1,), (2,)]) == "ORA-01031"
    assert server.statements[0] == "SET TRANSACTION READ ONLY"


def test_snapshot_of_a_database_in_wal_mode(database: Path, connect: Connect) -> None:
    edit(database, "PRAGMA journal_mode = WAL")
    connection = connect()
    connection.cursor().execute("SET TRANSACTION READ ONLY")
    edit(database, "DELETE FROM schools")
    assert rows(connection, "SELECT COUNT(*) FROM schools") == [(3,)]


def test_typed_values(connect: Connect) -> None:
    cursor = connect().cursor()
    cursor.execute("SELECT * FROM users ORDER BY dcid")
    assert cursor.description
    described = {column[0]: (column[1], column[4], column[5]) for column in cursor.description}
    first, second, third = cursor.fetchall()
    moment = datetime.datetime(2001, 2, 3, 4, 5, 6, 500_000)
    assert first == (
        1, "Zoë 😀", "x" * 4000, "131;0;" * 12_000, datetime.datetime(2001, 2, 3), moment, "F  ", 1.5, 7,
    )  # fmt: skip
    assert second == (2, *[None] * 8)
    assert third[3:6] == (None, datetime.datetime(1999, 12, 31, 23, 59, 59), datetime.datetime(1999, 12, 31))
    assert third[6:] == ("M  ", -0.25, -12345678901234)
    assert [type(value) for value in third[7:]] == [float, int]
    assert described["DCID"] == (oracledb.DB_TYPE_NUMBER, 10, 0)
    assert described["RATE"] == (oracledb.DB_TYPE_NUMBER, 5, 2)
    kinds = [described[name][0] for name in ("TITLE", "CANCHANGESCHOOL", "BORN", "WHENMODIFIED", "GENDER")]
    assert kinds == [
        oracledb.DB_TYPE_VARCHAR, oracledb.DB_TYPE_LONG, oracledb.DB_TYPE_DATE, oracledb.DB_TYPE_TIMESTAMP,
        oracledb.DB_TYPE_CHAR,
    ]  # fmt: skip


def test_clobs_arrive_as_text_each_time_a_statement_runs(connect: Connect) -> None:
    connection = connect()
    sql = "SELECT canchangeschool FROM users WHERE dcid = :dcid"
    assert rows(connection, sql, dcid=1) == [("131;0;" * 12_000,)]
    assert rows(connection, sql, dcid=2) == [(None,)]


@pytest.mark.parametrize(("people", "fetch_trips"), [(9, 2), (10, 3)])
def test_rows_over_several_round_trips(
    server: OracleServer, database: Path, connect: Connect, people: int, fetch_trips: int
) -> None:
    numbers = " UNION ALL ".join(f"SELECT {dcid}, {dcid}, 's{dcid}'" for dcid in range(100, 100 + people - 3))
    edit(database, f"INSERT INTO schools {numbers}")
    cursor = connect().cursor()
    cursor.prefetchrows, cursor.arraysize = 2, 4
    server.reset_records()
    cursor.execute("SELECT dcid FROM schools ORDER BY dcid")
    assert [dcid for (dcid,) in cursor] == [1, 2, 3, *range(100, 100 + people - 3)]
    assert (server.fetch_trips, server.round_trips) == (fetch_trips, fetch_trips + 1)


def test_binds(connect: Connect) -> None:
    connection = connect()
    staff = "SELECT users_dcid, schoolid FROM schoolstaff WHERE status = :active ORDER BY schoolid"
    assert rows(connection, staff, active=1) == [(1, 0), (1, 131)]
    assert rows(connection, staff, active=2) == [(2, 131)]
    twice = "SELECT COUNT(*) FROM schoolstaff WHERE note = :n OR (schoolid = :s AND note = :n) OR ':n' = :n"
    assert rows(connection, twice, n="it's", s=131) == [(1,)]
    assert rows(connection, "SELECT :t AS t FROM dual", t="😀" * 1000 + "'") == [("😀" * 1000 + "'",)]
    values = {"i": -12345, "d": 0.5, "n": None, "e": "", "w": datetime.datetime(2026, 1, 2, 3, 4, 5)}
    assert rows(connection, "SELECT :i, :d, :n, :e, :w FROM dual", **values) == [
        (-12345, 0.5, None, None, "2026-01-02 03:04:05")
    ]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT school_number, name FROM schools ORDER BY school_number",
            [(0, "District Office"), (131, "High School"), (None, None)]),
        ("select name from PS . schools order by school_number desc, name", [(None,), ("High School",),
            ("District Office",)]),
        (EXTENDED, [(1, "Zoë 😀", 2, "555-2"), (2, None, 1, None), (3, " Ann ", None, None)]),
        ("SELECT dcid FROM users ORDER BY dcid FETCH FIRST 2 ROWS ONLY", [(1,), (2,)]),
        ("SELECT dcid FROM users WHERE dcid > 1 AND ROWNUM <= 1", [(2,)]),
        ("SELECT UPPER(first_name), LOWER('ÄB'), TRIM(first_name) FROM users WHERE dcid = 3",
            [(" ANN ", "äb", "Ann")]),
        ("SELECT NVL(first_name, 'none'), TRIM(' ') FROM ps.users -- ;\nWHERE dcid = 2", [("none", None)]),
        ("SELECT COUNT(*) FROM users WHERE first_name IS NULL", [(1,)]),
        ("SELECT sys_context('USERENV', 'CURRENT_SCHEMA') FROM dual", [("PSNAVIGATOR",)]),
    ],
)  # fmt: skip
def test_queries(connect: Connect, sql: str, expected: list[tuple[object, ...]]) -> None:
    assert rows(connect(), sql) == expected


def test_column_names(connect: Connect) -> None:
    cursor = connect().cursor()
    cursor.execute('SELECT u.dcid, count(*), MAX(born) AS last, 1 "One more" FROM users u GROUP BY u.dcid')
    assert cursor.description
    assert [column[0] for column in cursor.description] == ["DCID", "COUNT(*)", "LAST", "One more"]


def test_clobs_in_aggregates(database: Path, connect: Connect) -> None:
    edit(database, "CREATE TABLE u_phones (usersdcid NUMBER(10,0), phone CLOB, note CLOB)")
    edit(database, "INSERT INTO u_phones VALUES (1, '555-1', NULL), (1, '555-2', NULL), (2, NULL, NULL)")
    connection = connect()

    def read(value: str) -> list[Any]:
        table = EXTENDED.replace("u_humanresources", "u_phones")
        return rows(connection, table.replace("MAX(cellphone)", value))

    for refused in ("MAX(phone)", "min( ps.u_phones.phone )"):
        assert code_of(read, refused) == "ORA-00932"
    wanted = [(1, "Zo\u00eb \U0001f600", 2, "555-2"), (2, None, 1, None), (3, " Ann ", None, None)]
    for value in ("MAX(TO_CHAR(phone))", "MAX(DBMS_LOB.SUBSTR(phone, 4000, 1))", "MAX(dbms_lob.substr(phone))"):
        assert read(value) == wanted
    assert rows(connection, "SELECT DBMS_LOB.SUBSTR(phone, 3, 5) FROM u_phones WHERE phone = '555-1'") == [("1",)]
    assert rows(connection, "SELECT TO_CHAR(rate), TO_CHAR(dcid) FROM users ORDER BY dcid") == [
        ("1.5", "1"), (None, "2"), ("-.25", "3")
    ]  # fmt: skip
    assert code_of(rows, connection, "SELECT TO_CHAR(canchangeschool) FROM users") == "ORA-22835"
    longer = "SELECT DBMS_LOB.SUBSTR(canchangeschool, 4001, 1) FROM users"
    assert code_of(rows, connection, longer) == "ORA-06502"
    assert rows(connection, "SELECT MAX(canchangeschool.schoolid) FROM schoolstaff canchangeschool") == [(131,)]


def test_text_in_a_column_of_numbers(database: Path, connect: Connect) -> None:
    edit(database, "UPDATE schoolstaff SET status = 'X' WHERE users_dcid = 2")
    found = rows(connect(), "SELECT users_dcid, status FROM schoolstaff ORDER BY users_dcid, schoolid")
    assert found == [(1, "1"), (1, "1"), (2, "X")]


def test_no_school_0_and_no_right_to_a_table(server: OracleServer, database: Path, connect: Connect) -> None:
    edit(database, "DELETE FROM schools WHERE school_number = 0")
    connection = connect()
    home = "SELECT s.name FROM schoolstaff f LEFT JOIN schools s ON s.school_number = f.schoolid ORDER BY s.name"
    assert rows(connection, home) == [("High School",), ("High School",), (None,)]
    server.faults.fail("u_humanresources", 942)
    assert code_of(rows, connection, EXTENDED) == "ORA-00942"
    edit(database, "DROP TABLE u_humanresources")
    server.faults = Faults()
    assert code_of(rows, connection, EXTENDED) == "ORA-00942"


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT 1 FROM nobody", "ORA-00942: table or view does not exist"),
        ("SELECT 1 FROM other.users", "ORA-00942"),
        ("SELECT nickname FROM users", 'ORA-00904: "NICKNAME": invalid identifier'),
        ("SELECT u.nickname FROM users u", 'ORA-00904: "U"."NICKNAME": invalid identifier'),
        ('SELECT "nickname" FROM users', "ORA-00904"),
        ("SELECT no_such(1) FROM users", 'ORA-00904: "NO_SUCH": invalid identifier'),
        ("SELECT dcid FROM users, schools", "ORA-00918"),
        ("SELECT 1", "ORA-00923"),
        ("SELECT 1 FROM dual;", "ORA-00933: SQL command not properly ended"),
        ("SELECT 1 FROM users LIMIT 1", "ORA-00933"),
        ("SELECT 1 FROM users AS u", "ORA-00933"),
        ("DROP TABLE users", "ORA-01031"),
        ("SELEC 1 FROM dual", "ORA-00900"),
    ],
)
def test_refused_statements(connect: Connect, sql: str, message: str) -> None:
    connection = connect()
    with pytest.raises(oracledb.DatabaseError) as caught:
        rows(connection, sql)
    assert str(caught.value).startswith(message)
    assert rows(connection, "SELECT 1 FROM dual") == [(1,)]


def test_without_synonyms(server: OracleServer, connect: Connect) -> None:
    server.synonyms = False
    connection = connect()
    assert code_of(rows, connection, EXTENDED) == "ORA-00942"
    qualified = EXTENDED.replace("FROM u", "FROM ps.u")
    assert len(rows(connection, qualified)) == 3
    connection.current_schema = "ps"
    assert len(rows(connection, EXTENDED)) == 3


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Faults(refuse_connection=True), "DPY-4011"),
        (Faults(listener_code=12660), "DPY-6000"),
        (Faults(server_too_old=True), "DPY-3010"),
        (Faults(encryption_required=True), "DPY-3001"),
        (Faults(old_verifier=True), "DPY-3015"),
        (Faults(login_code=28000), "ORA-28000"),
        (Faults(login_code=28001), "ORA-28001"),
        (Faults(login_code=1045), "ORA-01045"),
    ],
)
def test_faults_of_the_connection(server: OracleServer, connect: Connect, fault: Faults, code: str) -> None:
    server.faults = fault
    assert code_of(connect) == code
    server.faults = Faults()
    assert rows(connect(), "SELECT 1 FROM dual") == [(1,)]


def test_connect_that_is_not_answered(server: OracleServer, connect: Connect) -> None:
    """The driver waits for an answer for ever: `tcp_connect_timeout` ends where TCP is connected."""
    server.faults.hang_connect = True
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(connect, tcp_connect_timeout=0.01)
        assert server.hanging.wait(30)
        server.faults.hang_connect = False
        assert rows(waiting.result(30), "SELECT 1 FROM dual") == [(1,)]


def test_errors_for_some_statements(server: OracleServer, connect: Connect) -> None:
    connection = connect()
    server.faults.fail("from SCHOOLS", 1555, times=2)
    for _ in range(2):
        assert code_of(rows, connection, "SELECT name FROM schools") == "ORA-01555"
    assert len(rows(connection, "SELECT name FROM schools")) == 3
    server.faults.fail("", 1033)
    assert code_of(rows, connection, "SELECT 1 FROM dual") == "ORA-01033"
    assert code_of(rows, connection, "SET TRANSACTION READ ONLY") == "ORA-01033"


def test_line_cut_before_an_answer(server: OracleServer, connect: Connect) -> None:
    connection = connect()
    server.faults.drop_statement = "users"
    assert len(rows(connection, "SELECT dcid FROM schools")) == 3
    assert code_of(rows, connection, "SELECT dcid FROM users") == "DPY-4011"


@pytest.mark.parametrize("limit", [0, 1, 2])
def test_line_cut_among_the_rows(server: OracleServer, connect: Connect, limit: int) -> None:
    cursor = connect().cursor()
    cursor.prefetchrows = cursor.arraysize = 1
    server.faults.drop_after_rows = ("users", limit)
    seen: list[object] = []

    def read() -> None:
        seen.extend(row for row in cursor.execute("SELECT dcid FROM schools"))
        seen.clear()
        cursor.execute("SELECT dcid FROM users")
        while row := cursor.fetchone():
            seen.append(row)

    assert code_of(read) == "DPY-4011"
    assert len(seen) <= limit


def test_call_timeout_leaves_a_usable_session(server: OracleServer, connect: Connect) -> None:
    connection = connect()
    connection.call_timeout = 200
    server.faults.hang = "users"
    assert code_of(rows, connection, "SELECT dcid FROM users") == "DPY-4024"
    server.faults.hang = None
    assert len(rows(connection, "SELECT dcid FROM users")) == 3


def test_an_answer_that_drips(server: OracleServer, connect: Connect) -> None:
    """No pause between two bytes is as long as the time limit of a call."""
    connection = connect()
    connection.call_timeout = 5000
    server.faults.drip = "from users"
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(rows, connection, "SELECT dcid FROM users ORDER BY dcid")
        assert server.hanging.wait(30)
        assert not waiting.done()
        server.faults.drip = None
        assert waiting.result(30) == [(1,), (2,), (3,)]
        assert len(rows(connection, "SELECT dcid FROM schools")) == 3


CLIENT = """
import oracledb, sys
connection = oracledb.connect(user="psnavigator", password=sys.argv[1], dsn=sys.argv[2])
connection.cursor().execute("SELECT 1 FROM dual")
"""


@pytest.mark.parametrize("fault", [Faults(hang="dual"), Faults(drip="dual")], ids=["hang", "drip"])
def test_killed_client_and_stop_leave_no_trace(
    server: OracleServer, capfd: pytest.CaptureFixture[str], fault: Faults
) -> None:
    server.faults = fault
    for end in (subprocess.Popen.kill, lambda _client: server.stop()):
        server.hanging.clear()
        with subprocess.Popen([sys.executable, "-c", CLIENT, PASSWORD, server.dsn]) as client:
            assert server.hanging.wait(30)
            end(client)
            assert client.wait(30) != 0
    assert "oracle_server.py" not in capfd.readouterr().err


def test_connections_can_be_cut_and_the_server_started_again(server: OracleServer, connect: Connect) -> None:
    connection = connect()
    server.cut_connections()
    assert code_of(connection.ping) == "DPY-4011"
    server.stop()
    assert code_of(connect) == "DPY-6005"
    server.start()
    assert rows(connect(), "SELECT 1 FROM dual") == [(1,)]
