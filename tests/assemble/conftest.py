"""Plans of small synthetic series, made by the stages that come before."""

import pytest

from sansfilm.convert import convert
from sansfilm.options import Options
from sansfilm.progress import Progress
from sansfilm.report import Ledger
from sansfilm.store.memory import MemoryTarget


@pytest.fixture
def plan_of():
    """Give a function that plans the one volume of a folder."""

    def plan(folder, options=None):
        ledger = Ledger("", Progress(), dry_run=True)
        (found,) = convert(
            [str(folder)], MemoryTarget(), options or Options(), ledger, {}, dry_run=True
        )
        return found

    return plan
