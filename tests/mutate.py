"""Breaks the rules of sync.py on purpose, one at a time, and names the changes that no test notices.

    python tests/mutate.py Deciding tests/test_deciding.py tests/test_adoption_rows.py
    python tests/mutate.py Writing tests/test_writing.py tests/test_faults.py ...

The first word is where a section of sync.py begins, or several with commas. The tests are collected once; each
mutant is then tried in a forked process, on the tests that reach its line, the quickest first, with the runs of the
script in that process too. So it needs os.fork: Linux or macOS. Nothing is written to sync.py.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import io
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httplib2
import pytest
from _pytest.runner import runtestprotocol

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests")]

import bed  # noqa: E402
import google_server  # noqa: E402

import sync  # noqa: E402

SOURCE = (PROJECT / "sync.py").read_text(encoding="utf-8")
PROCESSES = 2 * (os.cpu_count() or 1)
# A test that takes longer than the first is left out; one that does not end under a mutant has noticed it; a mutant
# that lives longer than the last counts as not noticed.
TEST_SECONDS, HANGING_SECONDS, MUTANT_SECONDS = 15.0, 12, 12.0
OTHER_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
OTHER_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr, ast.Mod: ast.Mult,
}  # fmt: skip


class Script:
    """Stands for the process of a run: the script, called here."""

    def __init__(self, running: bed.Bed, arguments: tuple[str, ...], env: Mapping[str, str | None] | None) -> None:
        outside, folder, screen, keyboard = dict(os.environ), Path.cwd(), sys.stdout, sys.stdin
        raw = io.BytesIO()
        os.environ.clear()
        os.environ.update(running.process_environment(env))
        os.chdir(running.elsewhere)
        httplib2.CA_CERTS = os.environ.get("HTTPLIB2_CA_CERTS", httplib2.CA_CERTS)  # read once, when imported
        sys.stdout = io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", write_through=True)
        sys.stdin = io.StringIO()
        try:
            self.returncode = sync.main(["--config", str(running.config), *arguments])
        except SystemExit as stop:
            self.returncode = stop.code if isinstance(stop.code, int) else 1
        finally:
            for timer in threading.enumerate():  # one that ends a run after RUN_MINUTES would end this process
                if isinstance(timer, threading.Timer):
                    timer.cancel()
            sync.log.filters.clear()
            for handler in list(sync.log.handlers):
                sync.log.removeHandler(handler)
                handler.close()
            sys.stdout.flush()
            self.stdout = io.BytesIO(raw.getvalue())
            sys.stdout, sys.stdin = screen, keyboard
            os.chdir(folder)
            os.environ.clear()
            os.environ.update(outside)

    def wait(self) -> int:
        return self.returncode

    def kill(self) -> None:
        pass


def launch(running: bed.Bed, *arguments: str, env: Mapping[str, str | None] | None = None) -> Script:
    return Script(running, arguments, env)


def functions(sections: list[str]) -> list[ast.FunctionDef]:
    """The functions of these sections; a section begins with a comment between empty lines."""
    lines = SOURCE.splitlines()
    starts = [
        number
        for number, line in enumerate(lines, 1)
        if line.startswith("# ") and not any(lines[max(number - 3, 0) : number - 1]) and not lines[number]
    ]
    found = []
    for node in ast.parse(SOURCE).body:
        title = lines[max((start for start in starts if start < node.lineno), default=1) - 1]
        if isinstance(node, ast.FunctionDef) and any(title.startswith(f"# {word}") for word in sections):
            found.append(node)
    return found


def variants(node: ast.AST) -> Iterator[ast.AST | None]:
    """What may stand in the place of this node; None: nothing at all."""
    if isinstance(node, ast.Compare):
        for i, operator in enumerate(node.ops):
            for other in OTHER_COMPARISONS[type(operator)]:
                ops = [*node.ops[:i], other(), *node.ops[i + 1 :]]
                yield ast.Compare(node.left, ops, node.comparators)
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand
    elif isinstance(node, ast.BinOp) and type(node.op) in OTHER_OPERATORS:
        yield ast.BinOp(node.left, OTHER_OPERATORS[type(node.op)](), node.right)
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        yield ast.Constant(node.value + 1)
        yield ast.Constant(node.value - 1)
    elif isinstance(node, ast.IfExp):
        yield ast.IfExp(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
    elif isinstance(node, (ast.If, ast.While)):
        yield type(node)(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
    elif isinstance(node, ast.stmt):
        yield from statement_variants(node)


def statement_variants(node: ast.stmt) -> Iterator[ast.AST | None]:
    if isinstance(node, ast.Break):
        yield ast.Continue()
    elif isinstance(node, ast.Continue):
        yield ast.Break()
        yield ast.Pass()
    elif isinstance(node, ast.Return) and node.value is not None and ast.unparse(node.value) != "None":
        yield ast.Return(ast.Constant(None))
    elif isinstance(node, (ast.Expr, ast.Assign, ast.AugAssign, ast.Raise, ast.Return)):
        yield ast.Pass()


def mutants(function: ast.FunctionDef) -> Iterator[tuple[int, str, ast.FunctionDef]]:
    """Line, words and the changed function, for each change; annotations and texts stay."""
    spared = {id(part) for part in kept_parts(function)}
    seen = {ast.dump(function)}
    places = [i for i, node in enumerate(ast.walk(function)) if id(node) not in spared]
    for place in places[1:]:
        node = list(ast.walk(function))[place]
        for new in variants(node):
            changed = copy.deepcopy(function)
            target = list(ast.walk(changed))[place]
            put_in_place(changed, target, ast.copy_location(new or ast.Pass(), target))
            ast.fix_missing_locations(changed)
            if ast.dump(changed) in seen:
                continue
            seen.add(ast.dump(changed))
            was, now = (
                ast.unparse(part).split("\n")[0] for part in (node, ast.fix_missing_locations(new or ast.Pass()))
            )
            line = int(getattr(node, "lineno", function.lineno))
            yield line, f"{was}  ->  {now}", changed


def kept_parts(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """Annotations, decorators, docstrings and what is in them."""
    for node in ast.walk(function):
        parts: list[ast.AST | None] = []
        if isinstance(node, ast.FunctionDef):
            text = node.body[0]
            is_text = isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
            parts = [node.returns, *node.decorator_list, text if is_text else None]
        elif isinstance(node, (ast.arg, ast.AnnAssign)):
            parts = [node.annotation]
        for part in parts:
            if part is not None:
                yield from ast.walk(part)


def put_in_place(tree: ast.AST, target: ast.AST, new: ast.AST) -> None:
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is target:
                setattr(parent, name, new)
            elif isinstance(value, list) and any(entry is target for entry in value):
                setattr(parent, name, [new if entry is target else entry for entry in value])


def forked(act: Callable[[], int], seconds: int) -> int:
    """The exit code of this act in a process of its own; 9 if it had to be stopped."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        return forked_in(folder, act, seconds)


def forked_in(folder: str, act: Callable[[], int], seconds: int) -> int:
    number = os.fork()
    if not number:
        os.environ["PYTEST_DEBUG_TEMPROOT"] = folder
        with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(seconds)
        code = 1
        try:
            code = act()
        finally:
            os._exit(code)
    status = os.waitpid(number, 0)[1]
    return 9 if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def passes(item: pytest.Item) -> bool:
    reports = runtestprotocol(item, log=False, nextitem=None)
    return all(not report.failed for report in reports)


class Mutator:
    """Takes the place of pytest's loop over the tests."""

    def __init__(self, sections: list[str]) -> None:
        self.functions = functions(sections)
        self.code_names = {function.name for function in self.functions}

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = list(session.items)
        with ThreadPoolExecutor(PROCESSES) as pool, tempfile.TemporaryDirectory() as folder:
            rows = [Path(folder) / str(i) for i in range(len(items))]
            watches = [partial(self.watch, item, row) for item, row in zip(items, rows, strict=True)]
            list(pool.map(lambda watch: forked(watch, int(2 * TEST_SECONDS)), watches))
            reach = {
                item.nodeid: json.loads(row.read_text()) for item, row in zip(items, rows, strict=True) if row.exists()
            }
        by_name = {item.nodeid: item for item in items}
        print(f"{len(items)} tests, {len(reach)} of them usable here", flush=True)
        self.try_all(by_name, reach)
        return True

    def watch(self, item: pytest.Item, row: Path) -> int:
        """Writes down, if this test passes in time, its seconds and the lines of the functions that it reaches."""
        lines: set[int] = set()

        def trace(frame: Any, event: str, _value: object) -> Any:
            if event == "call" and frame.f_code.co_filename != sync.__file__:
                return None
            lines.add(frame.f_lineno)
            return trace

        begin = time.monotonic()
        sys.settrace(trace)
        threading.settrace(trace)
        good = passes(item)
        sys.settrace(None)
        seconds = time.monotonic() - begin
        if good and seconds < TEST_SECONDS:
            row.write_text(json.dumps((seconds, sorted(lines))))
        return 0

    def try_all(self, items: Mapping[str, pytest.Item], reach: Mapping[str, tuple[float, list[int]]]) -> None:
        lines = {name: set(row[1]) for name, row in reach.items()}
        quickest = sorted(reach, key=lambda name: reach[name][0])
        work = []
        for function in self.functions:
            for line, words, changed in mutants(function):
                end = max(
                    n.end_lineno or line
                    for n in ast.walk(function)
                    if isinstance(n, ast.expr | ast.stmt) and n.lineno == line
                )
                near = set(range(line, end + 1))
                tests = [items[name] for name in quickest if near & lines[name]]
                work.append((function.name, line, words, changed, tests))
        with ThreadPoolExecutor(PROCESSES) as pool:
            codes = list(pool.map(lambda row: self.attempt(*row), work))
        unnoticed = codes.count(0)
        print(f"{len(codes)} mutants, {len(codes) - unnoticed} noticed, {unnoticed} not noticed", end="")
        print(f" ({codes.count(9)} noticed by never ending)")

    def attempt(self, name: str, line: int, words: str, changed: ast.FunctionDef, tests: list[pytest.Item]) -> int:
        def act() -> int:
            header = ast.parse("from __future__ import annotations").body
            code = compile(ast.Module([*header, changed], []), sync.__file__, "exec")
            exec(code, sync.__dict__)  # noqa: S102
            end = time.monotonic() + MUTANT_SECONDS
            for test in tests:
                signal.alarm(HANGING_SECONDS)
                if not passes(test):
                    return 1
                if time.monotonic() > end:
                    break
            return 0

        code = forked(act, HANGING_SECONDS) if tests else 0
        if code in {0, 9}:
            mark = "" if code == 0 else "HANGS "
            print(f"{mark}sync.py:{line} {name} ({len(tests)} tests): {words}", flush=True)
        return code


def main(sections: str, *tests: str) -> int:
    bed.Bed.launch = launch  # type: ignore[method-assign, assignment]
    google_server.discovery()
    google_server.certificates()
    google_server.service_account_key()
    with contextlib.chdir(PROJECT) if hasattr(contextlib, "chdir") else contextlib.nullcontext():
        options = ["-s", "-o", "addopts=", "-p", "no:cacheprovider", "-p", "no:terminal", "-p", "no:xdist"]
        return int(pytest.main([*options, *tests], plugins=[Mutator(sections.split(","))]))


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
