"""How long a night takes in a district of a given size: `python tests/bench.py [staff] [accounts] [milliseconds]`.

Every answer of the stand-in for Google comes so many milliseconds late, as Google's do. Beside each figure stands its
ratio to a floor that no client can be under: the pages of the listing one after the other, and the writes as many at
once as WRITES_AT_ONCE says. The first lines show how fast the stand-in answers without that delay, so that it is not
what is measured. The quota of 2,400 queries a minute and 10 creations a second is kept by the stand-in. Processor time
is that of the run alone; memory is the most that any run until then has held.
With 0 milliseconds there is one dry run
and no more.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from bed import Bed, Outcome, matching_account, matching_fields, standard_bed
from stories import GRADE, HIGH, leaver, person

PAGE = 500
LETTERS = "abcdefghij"


@dataclass(frozen=True)
class Night:
    """What one run took."""

    outcome: Outcome
    seconds: float
    processor: float
    megabytes: int

    def line(self, name: str, floor: float) -> str:
        requests, writes = len(self.outcome.requests), len(self.outcome.writes)
        refused = sum(request.status in {403, 429, 503} for request in self.outcome.requests)
        words = f"{self.seconds:6.1f} s, {requests} requests ({refused} refused), {writes} writes"
        ratio = f"{self.seconds / floor:.2f} times the floor of {floor:.1f} s" if floor else "no floor"
        return f"{name:<16}{words}; {ratio}; processor {self.processor:.1f} s, memory {self.megabytes} MB"


def build(bed: Bed, staff: int, accounts: int) -> None:
    """Of twenty people one is new, one has left, one has moved, two are not linked, and of six one field differs."""
    for dcid in range(1, staff + 1):
        first, last = (f"{word}{''.join(LETTERS[int(digit)] for digit in str(dcid))}" for word in ("Kim", "Person"))
        kind = dcid % 20
        if kind == 1:
            leaver(bed, dcid, first, last)
            continue
        person(bed, dcid, first, last, HIGH)
        if kind in {2, 3}:
            matching_account(bed, dcid, fields={}, employee_id=None)
        elif kind == 4:
            matching_account(bed, dcid, ou="/D118 Staff/Wauconda Grade School Staff")
        elif kind in range(5, 11):
            matching_account(bed, dcid, fields=matching_fields(bed, dcid, Staff_Group=GRADE))
        elif kind:
            matching_account(bed, dcid)
    for number in range(accounts - len(bed.google.users)):
        bed.google.add_user(f"student{number}@d118.org", "Stu", "Dent", ou="/Students")


def timed(bed: Bed, *arguments: str) -> Night:
    bed.write()
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    outcome = bed.run(*arguments, timeout=3600)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Night(outcome, seconds, processor, after.ru_maxrss // 1024)


def measure(bed: Bed, staff: int, accounts: int, latency: float) -> None:
    build(bed, staff, accounts)
    bed.settings |= {"LIMITS": dict.fromkeys(bed.setting("LIMITS"), staff), "LIMIT_SHARE": 1.0, "TIMEOUT_SECONDS": 60}
    bed.settings |= {"RETRY_WAIT_SECONDS": 1, "RETRY_SECONDS": 120}
    at_once = int(bed.setting("WRITES_AT_ONCE"))
    pages = -(-accounts // PAGE)
    reading = (pages + 3) * latency  # the token, org units and schemas besides
    print(f"{staff} staff among {accounts} accounts, {latency * 1000:.0f} ms an answer, {at_once} at once")
    print(timed(bed, "--dry-run").line("without delay", 0))
    if not latency:
        return
    bed.google.behave()  # with a quota of which nothing is used
    bed.google.latency = latency
    bed.google.world.queries_a_minute, bed.google.world.creations_a_second = 2400, 10
    first = timed(bed)
    print(first.line("first night", reading + len(first.outcome.writes) * latency / at_once))
    print("  " + ", ".join(f"{n} {m}" for m, n in Counter(r.method for r in first.outcome.requests).most_common()))
    refused = Counter(r.method for r in first.outcome.requests if r.status in {403, 429, 503})
    print("  refused: " + (", ".join(f"{n} {m}" for m, n in refused.most_common()) or "none"))
    print(timed(bed).line("quiet night", reading))
    alone = 6 * latency
    print(timed(bed, "--explain", "dcid:15").line("--explain", alone))
    leaver(bed, staff + 1, "Kim", "Gone")
    print(timed(bed, "--only", f"dcid:{staff + 1}").line("--only a leaver", alone + 3 * latency))


def main() -> int:
    staff, accounts, milliseconds = map(int, (sys.argv[1:] + ["1000", "9900", "150"][len(sys.argv) - 1 :])[:3])
    with tempfile.TemporaryDirectory() as folder, standard_bed(Path(folder), WRITES_AT_ONCE=8) as bed:
        measure(bed, staff, accounts, milliseconds / 1000)
    return 0


if __name__ == "__main__":
    sys.exit(main())
