"""The test bed as a fixture: a PowerSchool and a Google in agreement, to break one fact at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from bed import Bed, standard_bed


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    with standard_bed(tmp_path) as running:
        yield running
