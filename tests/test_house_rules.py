"""What a contributor is asked to keep, checked on the text of the program itself."""

from __future__ import annotations

import ast
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
TEXT = (PROJECT / "sync.py").read_text(encoding="utf-8")
TREE = ast.parse(TEXT)
SECTIONS = (
    "Facts that no district would change, and the tables of attributes, kinds of change and rules",
    "What is read, decided and told", "The run", "Deciding whose account it is", "Deciding what the account should be",
    "Limits and sanity checks", "Reading PowerSchool", "Reading Google", "Writing to Google", "Undoing a run",
    "Checking, setting up, explaining", "Telling", "The spreadsheet", "Remembering", "Mail and page", "Settings",
    "Signing in to Google", "Files and the lock", "The command line",
)  # fmt: skip
PURE_SECTIONS = ("Deciding whose account it is", "Deciding what the account should be", "Limits and sanity checks")
LINES_OF_A_FUNCTION, LEVELS_OF_A_FUNCTION, LINES_OF_A_SECTION, LINES_OF_THE_STORY = 60, 3, 600, 60
PACKAGES = {"google", "googleapiclient", "google_auth_httplib2", "google_auth_oauthlib", "httplib2", "oracledb"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


@cache
def section_starts() -> dict[str, int]:
    """Heading -> line number. A heading is a comment that stands alone, with a blank line on either side."""
    lines = ["", *TEXT.splitlines(), ""]
    found = (
        (line[2:].split(":")[0].removesuffix("."), number)
        for number, line in enumerate(lines)
        if re.match(r"# [A-Z].*\.$", line) and not lines[number - 1] and not lines[number + 1]
    )
    return {name: number for name, number in found if name in SECTIONS or number > 1}


def functions() -> list[Function]:
    return [node for node in TREE.body if isinstance(node, Function)]


def section_of(function: Function) -> str:
    return [name for name, start in section_starts().items() if start < function.lineno][-1]


def named(node: ast.AST) -> Iterator[str]:
    """Every name that is used in here, and with every attribute what it is an attribute of."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name):
            yield inner.id
        elif isinstance(inner, ast.Attribute):
            yield ast.unparse(inner)
        elif isinstance(inner, ast.Import | ast.ImportFrom):
            yield from (alias.name for alias in inner.names)


def calls(node: ast.AST) -> Iterator[str]:
    """What is called in here, as written."""
    return (ast.unparse(inner.func) for inner in ast.walk(node) if isinstance(inner, ast.Call))


def levels(node: ast.AST) -> int:
    """How deep blocks are nested in here; `elif` is no deeper than its `if`."""
    deepest = 0
    for inner in ast.iter_child_nodes(node):
        is_elif = isinstance(node, ast.If) and isinstance(inner, ast.If) and node.orelse == [inner]
        is_block = isinstance(inner, ast.If | ast.For | ast.While | ast.With | ast.Try | ast.Match) and not is_elif
        deepest = max(deepest, levels(inner) + is_block)
    return deepest


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("ruff", "check", "--no-cache", "sync.py", "config.py", "tests"), id="ruff"),
        pytest.param(("ruff", "format", "--check", "--no-cache", "sync.py"), id="format"),
        pytest.param(
            ("mypy", "--strict", "--config-file", ".mypy.ini", "sync.py", "config.py", "tests"), id="mypy",
        ),
        pytest.param(
            ("mypy", "--strict", "--config-file", ".mypy.ini", "--platform", "win32", "sync.py"), id="mypy for Windows",
        ),
    ],
)  # fmt: skip
def test_the_linters_have_nothing_to_say(command: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=PROJECT, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_sections_stand_in_the_order_a_reader_needs_them() -> None:
    assert tuple(section_starts()) == SECTIONS


def test_what_is_passed_on_is_frozen_and_stands_before_the_story() -> None:
    story = section_starts()["The run"]
    classes = {node.name: node for node in TREE.body if isinstance(node, ast.ClassDef)}
    frozen = {"Settings", "Staff", "Account", "Change", "Remark", "Plan", "PowerSchool", "Google", "District", "Kind"}
    for name in frozen:
        assert [ast.unparse(entry) for entry in classes[name].decorator_list] == ["dataclass(frozen=True)"]
        assert classes[name].lineno < story


def test_no_room_is_too_large_and_the_story_fits_a_screen() -> None:
    starts = [*section_starts().values(), len(TEXT.splitlines())]
    sizes = {name: after - before for name, (before, after) in zip(SECTIONS, pairwise(starts), strict=True)}
    assert {name: lines for name, lines in sizes.items() if lines > LINES_OF_A_SECTION} == {}
    (story,) = [f for f in functions() if f.name == "sync"]
    assert (story.end_lineno or 0) - story.lineno < LINES_OF_THE_STORY


def test_functions_are_short() -> None:
    lengths = {f.name: (f.end_lineno or 0) - f.lineno + 1 for f in functions()}
    assert {name: lines for name, lines in lengths.items() if lines > LINES_OF_A_FUNCTION} == {}


def test_blocks_are_not_nested_deeply() -> None:
    assert {f.name: levels(f) for f in functions() if levels(f) > LEVELS_OF_A_FUNCTION} == {}


def test_dry_run_is_known_to_the_commands_alone() -> None:
    """What decides and what writes is the same in a dry run: it only never gets to the writing."""
    knowing = [
        f
        for f in functions()
        if "dry_run" in {name.rpartition(".")[2] for name in named(f)} | {arg.arg for arg in f.args.args}
    ]
    assert {f.name for f in knowing} <= {"sync", "undo", "set_up", "command", "options_of"}
    assert "sync" in {f.name for f in knowing}
    in_classes = {name for node in TREE.body if isinstance(node, ast.ClassDef) for name in named(node)}
    assert not [name for name in in_classes if name.endswith("dry_run")], "an option, and nothing else"


@pytest.mark.parametrize("function", [f for f in functions() if section_of(f) in PURE_SECTIONS], ids=lambda f: f.name)
def test_what_decides_does_no_io_and_knows_no_clock(function: Function) -> None:
    forbidden = {
        "os", "open", "oracledb", "time", "log", "logging", "sys", "input", "print", "Path", "tempfile", "subprocess",
        "secrets", "random", "httplib2", "build", "run", "Run", "call", "make", "journal", "globals",
        "datetime.now", "datetime.today", "date.today", "datetime.utcnow", "retrying", "getpass",
    }  # fmt: skip
    assert forbidden & set(named(function)) == set()
    assert not [inner for inner in ast.walk(function) if isinstance(inner, ast.Import | ast.ImportFrom | ast.Global)]


def test_the_check_of_what_decides_would_find_something() -> None:
    assert "log" in set(named(next(f for f in functions() if f.name == "read_rows")))
    assert {"datetime.now", "os"} <= set(named(next(f for f in functions() if f.name == "journal")))
    assert len([f for f in functions() if section_of(f) in PURE_SECTIONS]) > 40


def test_nothing_is_printed_past_the_log() -> None:
    assert "print" not in set(calls(TREE))


def test_exceptions_of_every_kind_are_caught_where_documented_only() -> None:
    """config.py and oauthlib may raise anything, and a bug ends the run with a last line; all else names classes."""
    catching = [
        function.name
        for function in functions()
        for inner in ast.walk(function)
        if isinstance(inner, ast.ExceptHandler)
        and (inner.type is None or {"Exception", "BaseException"} & set(named(inner.type)))
    ]
    named_so = ["plan_each", "in_background", "make_all_changes", "side_by_side", "attempt", "read_config"]
    assert catching == [*named_so, "browser_sign_in", "told_ending"]
    suppressed = [call for call in calls(TREE) if call.endswith("suppress")]
    assert len(suppressed) == len(re.findall(r"contextlib\.suppress\((?!Exception|BaseException)\w", TEXT))


def test_nothing_deletes_an_account_or_makes_an_admin() -> None:
    """Only a group membership, and in an undo an alias that the run had made, are ever taken away."""
    deleting = {call for call in calls(TREE) if call.endswith((".delete", ".makeAdmin", ".signOut", ".undelete"))}
    assert deleting <= {"members.delete", "aliases.delete"}
    assert deleting


def test_only_make_writes_to_an_account() -> None:
    """Every function that builds a writing request hands it to `make`, which journals it.

    What --setup creates belongs to nobody's account: it is asked for first, and there is nothing to undo.
    """
    writing = re.compile(
        r"(run\.api\.\w+(\.\w+\(\))*|members|aliases|schemas)\.(insert|update|patch|delete|undelete|move)"
    )
    writers = {f: {call for call in calls(f) if writing.fullmatch(call)} for f in functions()}
    structure = {"run.api.orgunits.insert", "schemas.insert", "schemas.update"}
    journalled = [f for f, built in writers.items() if built - structure]
    assert journalled
    assert [f.name for f in journalled if "make" not in set(calls(f))] == []
    assert {section_of(f) for f in journalled} <= {"Writing to Google"}
    assert {section_of(f) for f, built in writers.items() if built & structure} <= {"Checking, setting up, explaining"}
    assert [f.name for f in functions() if "request.execute" in set(calls(f))] == ["send"]


def test_only_reading_powerschool_speaks_sql() -> None:
    talking = {f.name for f in functions() if "cursor.execute" in set(calls(f))}
    assert {section_of(f) for f in functions() if f.name in talking} == {"Reading PowerSchool"}
    assert talking == {"read_rows", "connect_powerschool"}, "a run and --check ask the same"
    statements = " ".join(
        node.value for node in ast.walk(TREE) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    assert not re.search(r"\b(INSERT INTO|DELETE FROM|MERGE INTO|DROP TABLE|UPDATE \w+ SET)\b", statements)


def test_no_building_and_no_person_is_known_to_the_program() -> None:
    config = runpy.run_path(str(PROJECT / "config.py"))
    numbers = {node.value for node in ast.walk(TREE) if isinstance(node, ast.Constant) and type(node.value) is int}
    assert 131 not in numbers
    assert not numbers & ({*config["BUILDING_ALIASES"], *config["BUILDING_OUS"]} - {0})
    words = [node.value for node in ast.walk(TREE) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert not [word for word in words if "wauconda" in word.lower() or "crisisgo" in word.lower()]


def test_what_decides_compares_with_named_constants() -> None:
    """A staff type or a status is compared by its name, never by a bare 4."""
    for function in functions():
        for inner in ast.walk(function) if section_of(function) in PURE_SECTIONS else ():
            if isinstance(inner, ast.Compare):
                sides = [inner.left, *inner.comparators]
                bare = [s.value for s in sides if isinstance(s, ast.Constant) and type(s.value) is int and s.value > 1]
                lengths = any(isinstance(s, ast.Call) and ast.unparse(s.func) in {"len", "sum"} for s in sides)
                counting = function.name in {"rebuilt_powerschool", "shares_held"}
                assert not bare or lengths or counting, ast.unparse(inner)


def test_nothing_beyond_the_required_packages_is_imported() -> None:
    imported = {
        name.partition(".")[0]
        for node in ast.walk(TREE)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert imported - set(sys.stdlib_module_names) - {"__future__"} <= PACKAGES


def called(function: ast.expr) -> str:
    """As `ast.unparse`, which takes long, for names and attributes of names."""
    if isinstance(function, ast.Attribute):
        return f"{called(function.value)}.{function.attr}"
    return function.id if isinstance(function, ast.Name) else ""


def patches(tree: ast.AST) -> Iterator[str]:
    """What in here replaces a part of `sync`, or of what sync has imported."""
    replacing = re.compile(r"(.*\.)?(setattr|delattr|setitem|delitem|patch(\.\w+)?)")
    for node in ast.walk(tree):
        target: ast.AST | None = None
        if isinstance(node, ast.Call) and replacing.fullmatch(called(node.func)):
            target = (*node.args, *(keyword.value for keyword in node.keywords), None)[0]
        elif isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
            target = node.value
        written = target.value if isinstance(target, ast.Constant) else target and ast.unparse(target)
        if re.match(r"(vars\()?sync\b", str(written)):
            yield ast.unparse(node)


def test_no_class_is_given_a_type_that_python_3_10_cannot_give_it() -> None:
    """Type checkers know generic classes by the newest Python: logging.StreamHandler is one since 3.11 only."""
    given = {
        ast.unparse(base)
        for file in (PROJECT / "sync.py", *(PROJECT / "tests").glob("*.py"))
        for node in ast.walk(parsed(file))
        if isinstance(node, ast.ClassDef)
        for base in node.bases
        if isinstance(base, ast.Subscript)
    }
    assert given == set()


def test_no_test_replaces_a_part_of_the_program() -> None:
    """A test that does so tests another program. mutate.py alone tries changed functions, on purpose."""
    found = {
        path.name: list(patches(parsed(path))) for path in (PROJECT / "tests").glob("*.py") if path.name != "mutate.py"
    }
    assert "test_writing.py" in found
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "line",
    [
        'monkeypatch.setattr(sync, "call", x)', 'monkeypatch.setattr("sync.call", x)',
        'monkeypatch.setattr(sync.time, "sleep", x)', 'monkeypatch.delattr(target=sync, name="call")',
        'setattr(sync, "call", x)', 'with mock.patch("sync.call"): pass', '@patch("sync.call")\ndef f(): pass',
        'mock.patch.object(sync, "call")', 'mock.patch.dict(vars(sync), call=x)', "sync.call = x", "del sync.call",
    ],
)  # fmt: skip
def test_the_check_of_replaced_parts_would_find_something(line: str) -> None:
    assert len(list(patches(ast.parse(line)))) == 1


def test_its_own_text_is_ascii() -> None:
    """Consoles and log collectors of every code page can show it."""
    assert TEXT.isascii()
