"""Breaks the rules of sync.py on purpose, one at a time, and names the changes that no test notices.

    python tests/mutate.py Deciding tests/test_deciding.py tests/test_adoption_rows.py
    python tests/mutate.py Writing tests/test_writing.py tests/test_faults.py ...

The first word is where a section of sync.py begins, or a function's name, or several with commas. The tests are
collected once; each mutant is then tried in a forked process, on the tests that reach its line, the quickest first. The
runs of the script are forked as in any test, and changed before they begin: so it needs Linux. Nothing is written to
sync.py.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path

import coverage
import pytest
from _pytest.runner import runtestprotocol

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests")]

import bed  # noqa: E402
import forked  # noqa: E402
import google_server  # noqa: E402

import sync  # noqa: E402

SOURCE = (PROJECT / "sync.py").read_text(encoding="utf-8")
PROCESSES = os.cpu_count() or 1
# A test that takes longer than the first is left out; one that takes so much longer under a mutant has noticed it; a
# mutant that lives longer than the last counts as not noticed.
TEST_SECONDS, HANGING_SECONDS, MUTANT_SECONDS = 60, 40, 400
HANGS = 9  # the exit code of a mutant that had to be stopped
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
        if isinstance(node, ast.FunctionDef):
            is_meant = any(title.startswith(f"# {word}") or node.name == word for word in sections)
            found += [node] if is_meant else []
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


# How the run of a test begins, and the test itself: with its lines noted, or with a changed function.
MEASURE = """
import coverage
measured = coverage.Coverage({data!r}, data_suffix=True, auto_data=True, config_file=False, include=[{script!r}])
measured.start()
"""
# Where a table names the function, it is still the same one.
CHANGE = """
import sync
same = sync.__dict__[{name!r}]
exec(compile({changed!r}, {script!r}, "exec"), sync.__dict__)
if hasattr(same, "__code__"):
    same.__code__ = sync.__dict__[{name!r}].__code__
    sync.__dict__[{name!r}] = same
"""


class Fork:
    """A copy of this process in which tests are tried; it gets a process that forks their runs, which begin so."""

    def __init__(self, prelude: str, forker: forked.Forker) -> None:
        self.prelude, self.spare, self.runs = prelude, [forker], list[forked.ForkedRun]()
        begin, launch = forked.Forker.__init__, forked.Forker.launch

        def adopt(forker: forked.Forker, environment: Mapping[str, str]) -> None:
            if self.spare:
                vars(forker).update(vars(self.spare.pop()))
            else:
                begin(forker, environment)

        def launch_changed(
            forker: forked.Forker,
            arguments: list[str],
            environment: Mapping[str, str],
            folder: Path,
            own: str,
            tty: bool,
        ) -> forked.ForkedRun:
            self.runs.append(launch(forker, arguments, environment, folder, self.prelude + own, tty))
            return self.runs[-1]

        forked.Forker.__init__ = adopt  # type: ignore[method-assign, assignment]
        forked.Forker.launch = launch_changed  # type: ignore[method-assign, assignment]
        signal.signal(signal.SIGALRM, self.end)

    def end(self, *_: object) -> None:
        for run in self.runs:
            run.kill()
        os._exit(HANGS)


def new_forker() -> forked.Forker:
    return forked.Forker({name: value for name, value in os.environ.items() if name in bed.COPIED_VARIABLES})


class Mutator:
    """Takes the place of pytest's loop over the tests."""

    def __init__(self, sections: list[str]) -> None:
        self.functions = functions(sections)
        self.items: list[pytest.Item] = []
        self.seconds: dict[pytest.Item, float] = {}
        self.lines: dict[pytest.Item, set[int]] = {}
        self.forkers = [new_forker() for _ in range(PROCESSES)]

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.items = list(session.items)
        with ThreadPoolExecutor(PROCESSES) as pool:
            list(pool.map(self.watch, self.items))
            print(f"{len(self.items)} tests, {len(self.lines)} of them usable here", flush=True)
            self.try_all(pool)
        for forker in self.forkers:
            forker.stop()
        return True

    def in_a_fork(self, prelude: str, act: Callable[[], int]) -> int:
        """The exit code of this act in a process of its own, whose runs begin so."""
        forker = self.forkers.pop()
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            number = os.fork()
            if not number:
                code = HANGS
                try:
                    os.environ["PYTEST_DEBUG_TEMPROOT"] = folder
                    with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123
                        os.dup2(nowhere.fileno(), 1)
                        os.dup2(nowhere.fileno(), 2)
                    Fork(prelude, forker)
                    code = act()
                finally:
                    os._exit(code)
            code = os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
        if code == HANGS:  # it may not have heard how its run ended
            forker.process.kill()
            forker.process.communicate()
            forker = new_forker()
        self.forkers.append(forker)
        return code

    def passes(self, item: pytest.Item, seconds: float) -> bool:
        """Whether this test passes; one that takes longer ends this process."""
        signal.alarm(int(seconds))
        # What comes next is another item of the session, whichever it is: so the process that forks stays.
        reports = runtestprotocol(item, log=False, nextitem=item.session)  # type: ignore[arg-type]
        return all(not report.failed for report in reports)

    def watch(self, item: pytest.Item) -> None:
        """Keeps, if this test passes in time, its seconds and the lines of sync.py that it reaches."""
        with tempfile.TemporaryDirectory() as folder:
            data, row = str(Path(folder) / "reached"), Path(folder) / "row"

            prelude = MEASURE.format(data=data, script=sync.__file__)

            def act() -> int:
                measuring: dict[str, coverage.Coverage] = {}
                exec(prelude, measuring)  # noqa: S102
                begin = time.monotonic()
                if self.passes(item, TEST_SECONDS):
                    measuring["measured"].stop()
                    measuring["measured"].save()
                    whole = coverage.Coverage(data, config_file=False)
                    whole.combine([folder])
                    lines = whole.get_data().lines(sync.__file__) or []
                    row.write_text(json.dumps((time.monotonic() - begin, lines)))
                return 0

            self.in_a_fork(prelude, act)
            if row.exists():
                self.seconds[item], lines = json.loads(row.read_text())
                self.lines[item] = set(lines)

    def try_all(self, pool: ThreadPoolExecutor) -> None:
        quickest = sorted(self.lines, key=self.seconds.__getitem__)
        work = []
        for function in self.functions:
            for line, words, changed in mutants(function):
                end = max(
                    n.end_lineno or line
                    for n in ast.walk(function)
                    if isinstance(n, ast.expr | ast.stmt) and n.lineno == line
                )
                near = set(range(line, end + 1))
                tests = [item for item in quickest if near & self.lines[item]]
                work.append((function.name, line, words, changed, tests))
        codes: list[int] = []
        results = pool.map(lambda row: self.attempt(*row), work)
        for name, rows in groupby(work, lambda row: row[0]):
            mine = [next(results) for _ in rows]
            print(f"{name}: {in_words(mine)}", flush=True)
            codes += mine
        print(in_words(codes))

    def attempt(self, name: str, line: int, words: str, changed: ast.FunctionDef, tests: Sequence[pytest.Item]) -> int:
        source = f"from __future__ import annotations\n{ast.unparse(changed)}"
        prelude = CHANGE.format(name=name, changed=source, script=sync.__file__)

        def act() -> int:
            exec(prelude, {})  # noqa: S102
            end = time.monotonic() + MUTANT_SECONDS
            for test in tests:
                most = HANGING_SECONDS + 3 * self.seconds[test]
                if not self.passes(test, most) and not self.passes(test, most):  # once may be chance
                    return 1
                if time.monotonic() > end:
                    break
            return 0

        code = self.in_a_fork(prelude, act) if tests else 0
        if code in {0, HANGS}:
            mark = "" if code == 0 else "HANGS "
            print(f"{mark}sync.py:{line} {name} ({len(tests)} tests): {words}", flush=True)
        return code


def in_words(codes: Sequence[int]) -> str:
    unnoticed, hanging = codes.count(0), codes.count(HANGS)
    noticed = f"{len(codes) - unnoticed} noticed ({hanging} of them by never ending)"
    return f"{len(codes)} mutants, {noticed}, {unnoticed} not noticed"


def main(sections: str, *tests: str) -> int:
    google_server.discovery()
    google_server.certificates()
    google_server.service_account_key()
    with contextlib.chdir(PROJECT) if hasattr(contextlib, "chdir") else contextlib.nullcontext():
        options = ["-s", "-o", "addopts=", "-p", "no:cacheprovider", "-p", "no:terminal", "-p", "no:xdist"]
        return int(pytest.main([*options, *tests], plugins=[Mutator(sections.split(","))]))


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
