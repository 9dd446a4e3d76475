"""Runs that spare the start of Python: a process that has loaded the packages and the script forks each.

That start takes some 0.4 seconds of processor time, all that a small run does afterwards less than a tenth of a second.
What is forked is a process of its own like any other, with its own arguments, environment, folder and screen; it
begins with the script's `main`, ends as Python ends and can be killed. Only what looks at the start of Python itself
needs the ordinary way, and gets it, by itself or by its mark `ordinary_runs`.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pickle
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httplib2

SCRIPT = Path(__file__).resolve().parents[1] / "sync.py"
# What Python and the packages read of the environment once, when they start.
READ_AT_START = ("PYTHON", "LANG", "LC_", "TZ", "HTTPLIB2_", "TNS_")
NUMBER = struct.Struct("=i")
LONGEST_LESSON = 1 << 16  # what a pipe takes at once


# In the process of the tests.


class Forker:
    """The process that forks, as its user sees it; one run at a time."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.newest: ForkedRun | None = None
        self.channel, other = socket.socketpair()
        arguments = [sys.executable, __file__, str(other.fileno())]
        # Nothing comes through the pipe, but what Python thinks of its screen depends on what that is at its start.
        with other:
            self.process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, pass_fds=[other.fileno()], env=environment
            )

    def launch(
        self, arguments: list[str], environment: Mapping[str, str], folder: Path, prelude: str, at_terminal: bool
    ) -> ForkedRun:
        output, screen = os.openpty() if at_terminal else os.pipe()
        wanted = {"arguments": arguments, "environment": dict(environment), "folder": str(folder)}
        wanted["prelude"] = prelude
        socket.send_fds(self.channel, [json.dumps(wanted).encode()], [screen])
        os.close(screen)
        self.newest = ForkedRun(self, output)
        return self.newest

    @property
    def is_busy(self) -> bool:
        return self.newest is not None and self.newest.returncode is None

    def number(self) -> int:
        (number,) = NUMBER.unpack(self.channel.recv(NUMBER.size))
        return int(number)

    def stop(self) -> None:
        self.channel.close()
        self.process.communicate(timeout=60)


class ForkedRun:
    """As much of `subprocess.Popen` as the bed and its tests use."""

    def __init__(self, forker: Forker, output: int) -> None:
        self.forker, self.pid = forker, forker.number()
        self.stdout = os.fdopen(output, "rb")
        self.returncode: int | None = None
        self.waiting = threading.Lock()

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, _timeout: float | None = None) -> int:
        with self.waiting:
            if self.returncode is None:
                self.returncode = self.forker.number()
            return self.returncode


# In the process that forks.


def serve(channel: socket.socket) -> tuple[dict[str, Any], int | None]:
    """Forks for each request and answers with the process's id and exit code; returns in the forked ones only.

    What the first of them has loaded and compiled meanwhile, which it tells at its end, none after it needs to.
    """
    heard, told = os.pipe()
    os.set_blocking(heard, False)
    is_known = False
    while True:
        message, screens, _flags, _address = socket.recv_fds(channel, 1_000_000, 1)
        if not message:
            raise SystemExit
        pid = os.fork()
        if not pid:
            channel.close()
            for stream in (1, 2):
                os.dup2(screens[0], stream)
            os.close(screens[0])
            return dict(json.loads(message)), None if is_known else told
        os.close(screens[0])
        channel.sendall(NUMBER.pack(pid))
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        channel.sendall(NUMBER.pack(code))
        with contextlib.suppress(BlockingIOError):  # one that was killed has told nothing
            learn(pickle.loads(os.read(heard, LONGEST_LESSON)))  # noqa: S301 - our own
            is_known = True


def learn(lesson: tuple[list[str], list[list[Any]]]) -> None:
    modules, patterns = lesson
    for name in modules:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    for pattern, flags in patterns:
        re.compile(pattern, flags)
    gc.freeze()


def main() -> None:
    sys.path[0] = str(SCRIPT.parent)
    script = importlib.import_module(SCRIPT.stem)
    gc.freeze()
    wanted, told = serve(socket.socket(fileno=int(sys.argv[1])))

    modules, patterns = {*sys.modules}, {*re._cache}  # type: ignore[attr-defined]
    os.environ.clear()
    os.environ.update(wanted["environment"])
    os.chdir(wanted["folder"])
    httplib2.CA_CERTS = os.environ["HTTPLIB2_CA_CERTS"]  # read once, when imported
    sys.argv = [str(SCRIPT), *wanted["arguments"]]
    sys.modules["__main__"] = script
    exec(wanted["prelude"], {})  # noqa: S102
    try:
        code = script.main()
    except SystemExit as stop:
        code = stop.code
    # As Python ends, but for taking apart all that was loaded: that would take half as long as a small run.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.flush()
    if told is not None:
        compiled = [rest for _, *rest in re._cache.keys() - patterns]  # type: ignore[attr-defined]
        lesson = pickle.dumps(([*sys.modules.keys() - modules], compiled))
        os.write(told, lesson if len(lesson) <= LONGEST_LESSON else pickle.dumps(([], [])))
    os._exit(code)


if __name__ == "__main__":
    main()
