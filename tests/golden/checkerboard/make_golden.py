"""Makes the golden files of weights with a spatial context. Run once::

    PYTHONPATH=tests python tests/golden/checkerboard/make_golden.py

They are never made again: those of ``zero_padding``, with integers that also see what is known of the latent.
"""

from __future__ import annotations

import sys
from pathlib import Path

from golden.any_tensors.make_golden import FILES, make_files, make_weights
from golden.zero_padding.make_golden import NAMES

HERE = Path(__file__).parent

if __name__ == "__main__":
    if any(HERE.glob("*.atdc")):
        sys.exit("the golden files are there, and stay as they are; see the top of this file")
    make_weights(HERE, {"padding": "zero", "spatial_context": "checkerboard"})
    make_files(HERE, [golden for golden in FILES if golden.name in NAMES])
