"""Makes the golden files of weights whose roots have no hyper-latent. Run once::

    PYTHONPATH=tests python tests/golden/roots/make_golden.py

They are never made again. Their weights have a spatial context as well, symbols in the padding, and five units that all
differ; some files are of the profile `ordered`.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from golden.any_tensors.make_golden import FILES, POINTS, STRIDE_8, STRIDE_16, make_files, make_weights

HERE = Path(__file__).parent
NAMES = ("whole", "whole_apart", "downwards", "crosswise", "one_pixel", "escapes", "extremes")

if __name__ == "__main__":
    if any(HERE.glob("*.atdc")):
        sys.exit("the golden files are there, and stay as they are; see the top of this file")
    make_weights(HERE, {"factorised": "roots", "spatial_context": "checkerboard"}, (9, 7, 10, 6, 11))
    files = {golden.name: golden for golden in FILES}
    ordered = [
        replace(files["downwards"], name="ordered", profile="ordered", first=(STRIDE_8, POINTS)),
        replace(files["whole_apart"], name="ordered_whole", profile="ordered", first=(STRIDE_16, STRIDE_8)),
    ]
    make_files(HERE, [*(files[name] for name in NAMES), *ordered])
