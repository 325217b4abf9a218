"""Files within bytes against one quality for all: the best common quality is found, and neither takes a byte more."""

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from atdc import cli
from atdc.choice.budget import STEPS
from atdc.errors import ArgumentError
from atdc.pipeline import Codec
from atdc_bench.experiments import budget
from atdc_bench.report import wanted as pages


def test_the_highest_quality_whose_file_fits_is_that_of_trying_all(tiny_codec: Codec) -> None:
    features = torch.rand((1, 6, 4, 4, 4), generator=torch.Generator().manual_seed(0))
    own = tiny_codec.feature_codec
    files = [own.encode_batch(features, step / 8, sizes=[(64, 64)]).data[0] for step in range(STEPS)]
    lengths = [len(file) for file in files]
    assert lengths[0] < lengths[-1]
    for limit in (lengths[0], lengths[-1]):
        file = budget.highest_quality_within(tiny_codec, features, (64, 64), limit)
        assert file in files and len(file) <= limit
        above = files.index(file) + 1
        assert above == STEPS or lengths[above] > limit
    with pytest.raises(ArgumentError, match=f"at least {lengths[0]}"):
        budget.highest_quality_within(tiny_codec, features, (64, 64), lengths[0] - 1)


def test_neither_takes_more_than_it_may_and_the_encoder_never_counts_a_loss(
    tiny_codec: Codec, photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "load", lambda model: tiny_codec)
    monkeypatch.setattr(budget, "labelled", lambda name, data, split: photos)
    result = budget.run_budget(out=tmp_path / "b.json", count=3, sizes=(150, 10_000), quiet=True)
    few, room = result["rows"]
    for row in (few, room):
        assert all(arm["most_bytes"] <= row["max_bytes"] and 0 < arm["used_share"] <= 1 for arm in row["arms"].values())
    assert few["told_gain"] >= 0 <= few["told_better_share"]
    assert room["gain"][0] == room["told_gain"] == 0, "with room for all, both are quality 7"
    assert len(list(pages.budget(result))) == 2 + 2


def test_what_is_no_number_of_bytes_is_refused() -> None:
    for sizes in ("500,many", "0"):
        done = CliRunner().invoke(cli.app, ["bench", "budget", "--sizes", sizes])
        assert done.exit_code == 2 and "number of bytes" in " ".join(done.stderr.split())
