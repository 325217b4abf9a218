"""Learned pixel codecs: files hold what was coded, cost what they should, and survive damage."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from atdc.bitstream.symbols import SymbolCounter
from atdc.errors import ArgumentError, BitstreamError, WeightsError
from atdc.images.pillow_codecs import RgbImage
from atdc_bench.baselines import elic, mlic
from atdc_bench.baselines.learned_blocks import anchors
from atdc_bench.baselines.learned_codec import POINTS, PixelCodec, RateCounter, SymbolCoder, complexity, gaussian_tables
from atdc_bench.baselines.learned_pixels import LearnedPixels, Trained

TINY = {
    "elic": elic.ElicConfig(
        widths=(4, 6, 8), bottlenecks=1, groups=(2, 2, 4), hyper=4, hyper_synthesis=(6, 6), channel_context=(6, 6),
        aggregation=(12, 8),
    ),
    "mlic": mlic.MlicConfig(
        widths=(4, 6, 8), slices=3, slice_channels=4, head_channels=4, hyper=4, hyper_synthesis=(6, 6),
        channel_context=(6, 6), parameters=(12, 8), residual_prediction=(6, 6),
    ),
}  # fmt: skip


def tiny(kind: str) -> PixelCodec:
    """Narrow networks, loud enough that symbols are not all zero and contexts matter."""
    torch.manual_seed(1)
    config = TINY[kind]
    networks = elic.Elic(config) if isinstance(config, elic.ElicConfig) else mlic.Mlic(config)
    networks.log_gain.rows.data += 3.0
    networks.hyper_log_gain.rows.data += 3.0
    for name, value in networks.named_parameters():
        if any(part in name for part in ("aggregation", "parameters", "hyper_synthesis")):
            value.data *= 2
    return networks


@pytest.fixture(scope="module", params=sorted(TINY))
def trained(request: pytest.FixtureRequest) -> Trained:
    return Trained.of(tiny(request.param), {"steps": 0})


def photo(rows: int, columns: int, seed: int = 0) -> RgbImage:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (-(-rows // 8), -(-columns // 8), 3)).repeat(8, 0).repeat(8, 1)[:rows, :columns]
    return np.clip(coarse + rng.normal(0, 10, coarse.shape), 0, 255).astype(np.uint8)


class Recorder:
    """A counting coder that remembers what passes."""

    def __init__(self, trained: Trained) -> None:
        self.symbols: list[np.ndarray] = []
        self._symbol_coder = SymbolCounter(trained.tables)

    def code(self, image: int, task: int, symbols: np.ndarray | None, table_index: np.ndarray) -> np.ndarray:
        passed = self._symbol_coder.code(image, task, symbols, table_index)
        self.symbols.append(passed)
        return passed


def recorded(trained: Trained, pixels: RgbImage, point: int) -> tuple[list[np.ndarray], Tensor]:
    recorder = Recorder(trained)
    given = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        latent = trained.networks.traverse(SymbolCoder(recorder), torch.tensor([point]), pixels.shape[:2], given)
        return recorder.symbols, trained.networks.restore(latent)


@pytest.mark.parametrize("point", [0, POINTS - 1])
def test_a_reader_decodes_the_symbols_that_were_written(trained: Trained, point: int) -> None:
    pixels = photo(64, 128)
    symbols, restored = recorded(trained, pixels, point)
    assert sum(int(np.abs(part).sum()) for part in symbols) > 100, "nothing is tested by zeros"
    data, _ = trained.encode(pixels, point)
    expected = restored[0].clamp(0, 1).mul(255).round().permute(1, 2, 0).byte().numpy()
    assert np.array_equal(trained.decode(data), expected)


def test_files_do_not_depend_on_the_number_of_threads(trained: Trained) -> None:
    threads: list[int] = []
    hook = trained.networks.hyper_synthesis.register_forward_hook(lambda *_: threads.append(torch.get_num_threads()))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        trained.decode(trained.encode(photo(64, 64), 2)[0])
        assert threads == [1, 1] and torch.get_num_threads() == 2
    finally:
        hook.remove()
        torch.set_num_threads(before)


@settings(max_examples=5)
@given(st.integers(1, 130), st.integers(1, 130), st.integers(0, POINTS - 1))
def test_real_bits_are_ideal_bits(trained: Trained, rows: int, columns: int, point: int) -> None:
    data, ideal_bits = trained.encode(photo(rows, columns), point)
    assert ideal_bits - 8 <= 8 * len(data) <= 1.02 * ideal_bits + 8 * 64
    assert trained.decode(data).shape == (rows, columns, 3)


@settings(max_examples=15)
@given(st.data())
def test_damaged_bytes_raise_a_typed_error_or_give_an_image(trained: Trained, data: st.DataObject) -> None:
    file = bytearray(trained.encode(photo(64, 64), 2)[0])
    for _ in range(data.draw(st.integers(1, 4))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(file)))
    for damaged in (bytes(file), bytes(file[:cut])):
        if len(damaged) > 2 and max(damaged[1:3]) >= 0x80:
            continue  # larger images are no different, and take time
        with suppress(BitstreamError):
            assert trained.decode(damaged).dtype == np.uint8


@pytest.mark.parametrize(
    "head", [b"", b"\x05\x40\x40", b"\x02\x00\x40", b"\x02\x01\xff\xff\xff\x7f", b"\x02\xff\xff\xff\xff\xff\xff\x40"]
)
def test_impossible_heads_are_refused(trained: Trained, head: bytes) -> None:
    with pytest.raises(BitstreamError):
        trained.decode(head)


def test_left_over_bytes_are_refused(trained: Trained) -> None:
    with pytest.raises(BitstreamError):
        trained.decode(trained.encode(photo(64, 64), 1)[0] + b"\x01")


def test_later_points_have_more_bits(trained: Trained) -> None:
    bits = [trained.encode(photo(64, 64), point)[1] for point in range(POINTS)]
    assert bits == sorted(bits) and bits[-1] > 1.5 * bits[0]


@pytest.mark.parametrize("kind", sorted(TINY))
def test_what_describes_a_symbol_was_decoded_before_it(kind: str) -> None:
    """A later part's or pass's values cannot change an earlier one's mean or scale."""
    networks = tiny(kind).eval()
    latent = torch.randn(1, networks.latent_channels, 8, 8)
    side = torch.randn(1, 2 * networks.latent_channels, 8, 8)
    first = anchors(latent)

    class Spy:
        def __init__(self) -> None:
            self.seen: list[Tensor] = []

        def channels(self, start: int, stop: int) -> "Spy":
            self.range = (start, stop)
            return self

        @property
        def step(self) -> Tensor:
            return torch.ones(1, 1, 1, 1)

        def code(self, value: Tensor | None, mean: Tensor, log_scale: Tensor, where: Tensor | None) -> Tensor:
            assert value is not None and where is not None
            self.seen.append(torch.cat([mean, log_scale], 1)[..., where])
            return value.round() * where

    def seen(values: Tensor) -> list[Tensor]:
        spy = Spy()
        with torch.no_grad():
            networks.code_latent(spy, side, values)  # type: ignore[arg-type]
        return spy.seen

    before = seen(latent)
    stop = networks.latent_channels
    later = latent.clone()
    later[:, stop - 1 :, ~first] += 5  # the last channel's second pass: nothing may depend on it
    assert all(torch.equal(a, b) for a, b in zip(before, seen(later), strict=True))
    anchor = latent.clone()
    anchor[:, stop - 1 :, first] += 5  # its first pass: the second pass alone may, and does
    after = seen(anchor)
    assert all(torch.equal(a, b) for a, b in zip(before[:-1], after[:-1], strict=True))
    assert not torch.equal(before[-1], after[-1])
    early = latent.clone()
    early[:, :1, ~first] += 5  # the first channel's second pass: both passes of all later parts do
    after = seen(early)
    assert all(torch.equal(a, b) for a, b in zip(before[:2], after[:2], strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(before[2:], after[2:], strict=True))


def test_training_rates_are_coded_rates_where_values_are_as_expected() -> None:
    torch.manual_seed(0)
    mean, log_scale = torch.randn(1, 6, 32, 32), torch.rand(1, 6, 32, 32) * 3 - 1
    value = mean + torch.randn_like(mean) * log_scale.exp()
    training, telling, counting = RateCounter(), RateCounter(noise=False), SymbolCounter(gaussian_tables())
    where = anchors(value)
    decoded = training.code(value, mean, log_scale, where)
    assert torch.allclose(SymbolCoder(counting).code(value, mean, log_scale, where), decoded, atol=1.05)
    telling.code(value, mean, log_scale, where)
    assert float(training.bits) == pytest.approx(counting.bits[0][0], rel=0.01)
    assert float(telling.bits) == pytest.approx(counting.bits[0][0], rel=0.005)


def test_weights_come_back_from_disk(trained: Trained, tmp_path: Path) -> None:
    kind = "elic" if isinstance(trained.networks, elic.Elic) else "mlic"
    path = tmp_path / "tiny.safetensors"
    trained.save(path, kind, "tiny")
    row = LearnedPixels(kind, kind.upper(), "tiny", lambda size: tiny(kind), path)
    assert row.missing() is None
    pixels = photo(70, 50)
    data = row.encode(pixels, 3.0)
    assert row.decode(data).shape == (70, 50, 3)
    assert len(data) == pytest.approx(len(trained.encode(pixels, 3)[0]), rel=0.05)  # weights were rounded to half
    assert row.describe()["training"] == {"steps": 0}
    for point in (5.0, 0.5, float("nan")):
        with pytest.raises(ArgumentError, match="point"):
            row.encode(pixels, point)
    other = LearnedPixels("elic" if kind == "mlic" else "mlic", "other", "tiny", lambda size: tiny(kind), path)
    with pytest.raises(WeightsError):
        other.encode(pixels, 3.0)


@pytest.mark.parametrize("make", [elic.system, mlic.system])
def test_untrained_rows_say_how_to_train_them(make: Callable[[str, Path], LearnedPixels], tmp_path: Path) -> None:
    row = make("small", tmp_path / "absent.safetensors")
    assert str(row.missing()).startswith("not trained: python -m atdc_bench.baselines.learned_training")
    with pytest.raises(WeightsError, match="not trained"):
        row.encode(photo(8, 8), 0)


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(b"not weights")
    with pytest.raises(WeightsError):
        elic.system("small", path).decode(b"")


@pytest.mark.parametrize(
    ("build", "parameters_millions", "kmac_per_px"),
    [(elic.build, (33, 37), 574), (mlic.build, (83, 117), 1283)],
)
def test_paper_sizes_are_those_of_the_papers(
    build: Callable[[str], PixelCodec], parameters_millions: tuple[float, float], kmac_per_px: float
) -> None:
    with torch.device("meta"):
        size = complexity(build("paper"))
    assert parameters_millions[0] <= size["parameters_millions"] <= parameters_millions[1]
    assert size["forward_kmac_per_px"] == pytest.approx(kmac_per_px, rel=0.1)


@pytest.mark.parametrize("build", [elic.build, mlic.build])
def test_a_small_encoder_costs_what_six_task_encoders_cost(build: Callable[[str], PixelCodec]) -> None:
    with torch.device("meta"):
        size = complexity(build("small"))
    assert size["encode_kmac_per_px"] <= 20
