"""Makes the golden files of weights whose latents have no symbols in the padding. Run once::

    PYTHONPATH=tests python tests/golden/zero_padding/make_golden.py

They are never made again: some of those in ``any_tensors``, with integers that differ in that setting alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

from golden.any_tensors.make_golden import FILES, make_files, make_weights

HERE = Path(__file__).parent
NAMES = {"upwards", "downwards", "crosswise", "escapes", "extremes", "one_pixel", "nearly_equal", "whole"}

if __name__ == "__main__":
    if any(HERE.glob("*.atdc")):
        sys.exit("the golden files are there, and stay as they are; see the top of this file")
    make_weights(HERE, {"padding": "zero"})
    make_files(HERE, [golden for golden in FILES if golden.name in NAMES])
