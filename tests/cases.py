"""Every kind of series that has to be placed.

from cases import CASES
case = CASES["tilt"](tmp_path / "tilt")
"""

import cases_3d
import cases_4d
import cases_enhanced
from case_parts import CASES, Case, Volume

__all__ = ["CASES", "Case", "Volume", "cases_3d", "cases_4d", "cases_enhanced"]
