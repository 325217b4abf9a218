"""The integer entropy model: it follows its float model, and refuses what it cannot compute exactly."""

import dataclasses

import numpy as np
import pytest
import torch

from atdc.config import ModelConfig
from atdc.entropy.float_model import FloatEntropyModel, dequantised_model, quantised_model
from atdc.entropy.model import MEAN_BITS, EntropyModel, first_half
from atdc.entropy.rounding import MEANS_PER_STEP, quantised_mean, scale_index
from atdc.errors import WeightsError
from atdc.networks.codec_networks import CodecNetworks

TASKS = 3
CONFIG = ModelConfig(
    feature_channels=4, predictor_width=8, latent_channels=6, codec_width=8, hyper_channels=3, hyper_width=8,
    state_channels=4, scorer_width=8,
)  # fmt: skip


@pytest.fixture(scope="module", params=["none", "checkerboard"])
def pair(request: pytest.FixtureRequest) -> tuple[FloatEntropyModel, CodecNetworks, EntropyModel]:
    torch.manual_seed(2)
    config = dataclasses.replace(CONFIG, spatial_context=request.param)
    networks = CodecNetworks(config, config.tensors(range(TASKS)))
    float_model = FloatEntropyModel(config, config.tensors(range(TASKS)))
    for parameter in (*float_model.parameters(), *(networks.task(t).log_gain.rows for t in range(TASKS))):
        torch.nn.init.normal_(parameter, std=0.3)
    return float_model, networks, quantised_model(float_model, networks)


def test_one_sixteenth_is_the_unit_on_both_sides():
    assert 1 << MEAN_BITS == MEANS_PER_STEP


@torch.no_grad()
@pytest.mark.parametrize("step", [0, 3, 20, 56])
def test_integers_follow_the_float_model(pair, step):
    """Means within 2/16 of a step and tables within one of 64, nearly all equal: rounding is all that differs, which
    means that neighbours move have twice."""
    float_model, networks, model = pair
    rng = np.random.default_rng(step)
    hyper = rng.integers(-60, 60, (2, 4, 3, 3))
    parents = np.array([[False, True, True], [False, False, True]])
    states = {task: rng.integers(0, 900, (2, 8, 6, 4)) for task in (1, 2)}
    steps = np.array([step, step])
    symbols = rng.integers(-4, 5, (2, 8, 6, 6)) * first_half(8, 6)[:, :, None]
    around = None if model.spatial_context == "none" else symbols
    sums = model.hidden_sums(0, steps, hyper, parents, states)
    mean, table, hidden = model.latent_prior(0, steps, sums, around)

    def as_tensor(values, unit):
        return torch.from_numpy(values / unit).permute(0, 3, 1, 2).float()

    quality = torch.full((2,), step / 8)
    log_gain = networks.task(0).log_gain(quality)
    given = [None, *(as_tensor(states[task], 256) for task in (1, 2))]
    mask = torch.from_numpy(parents).float()
    own = float_model.task(0)
    float_sums = own.hidden_sums(as_tensor(hyper, 16), quality, mask, given)
    float_mean, float_scale, float_hidden = own.latent_prior(
        float_sums, quality, log_gain, None if around is None else as_tensor(around, 1)
    )
    means = as_tensor(mean, 16) - quantised_mean(float_mean)
    assert float(means.abs().max()) <= 2 / 16 and float((means == 0).float().mean()) > (0.9 if around is None else 0.8)
    index = scale_index(float_scale, CONFIG.scale_min, CONFIG.scale_max, CONFIG.scale_count)
    tables = as_tensor(table, 1) - index
    assert float(tables.abs().max()) <= 1 and float((tables == 0).float().mean()) > 0.95
    assert torch.allclose(as_tensor(hidden, 256), float_hidden, atol=0.03)

    latent = rng.integers(-5000, 5000, (2, 8, 6, 6))
    state = model.state(0, steps, latent, hidden)
    float_state = float_model.task(0).state(as_tensor(latent, 16), float_hidden, quality)
    assert torch.allclose(as_tensor(state, 256), float_state, atol=0.1)


def test_arrays_bring_the_model_back(pair):
    model = pair[2]
    again = EntropyModel.from_arrays(model.to_arrays(), TASKS, spatial_context=model.spatial_context)
    for before, after in zip(model.tasks, again.tasks, strict=True):
        for field in dataclasses.fields(before):
            assert np.array_equal(getattr(before, field.name), getattr(after, field.name))


@pytest.mark.parametrize(
    "name", ["first", "gain_tables", "parents", "hyper_table", "fractions", "asinh", "around", "neighbours"]
)
def test_arrays_that_do_not_fit_are_refused_by_name(pair, name):
    arrays, context = pair[2].to_arrays(), pair[2].spatial_context
    if f"1.{name}" not in arrays:
        assert context == "none" and name in ("around", "neighbours")
        return
    for changed in (
        {**arrays, f"1.{name}": arrays[f"1.{name}"][..., :-1].copy()},
        {key: value for key, value in arrays.items() if key != f"1.{name}"},
        {**arrays, f"1.{name}": arrays[f"1.{name}"].astype(np.float64)},
    ):
        with pytest.raises(WeightsError, match=name):
            EntropyModel.from_arrays(changed, TASKS, spatial_context=context)


@pytest.mark.parametrize(
    ("name", "value"), [("hyper_table", 64), ("hyper_table", -1), ("fractions", 40), ("fractions", 3), ("asinh", 9999)]
)
def test_values_out_of_range_are_refused(pair, name, value):
    arrays = pair[2].to_arrays()
    with pytest.raises(WeightsError, match=name):
        EntropyModel.from_arrays({**arrays, f"1.{name}": np.full_like(arrays[f"1.{name}"], value)}, TASKS)


def test_means_beyond_whole_numbers_of_64_bits_are_refused(pair):
    arrays = pair[2].to_arrays()
    largest = {
        "1.gain": np.full_like(arrays["1.gain"], (1 << 31) - 1),
        "1.last_mean_bias": np.full_like(arrays["1.last_mean_bias"], (1 << 31) - 1),
        "1.last_mean": np.full_like(arrays["1.last_mean"], (1 << 15) - 1),
    }
    with pytest.raises(WeightsError, match=r"entropy\.1\.gain.*2\*\*62"):
        EntropyModel.from_arrays({**arrays, **largest}, TASKS, spatial_context=pair[2].spatial_context)


def test_table_indices_stay_within_the_tables_whatever_comes(pair):
    model = pair[2]
    hyper = np.full((1, 2, 2, 3), 2**40) * np.array([1, -1, 1])
    steps = np.array([56])
    sums = model.hidden_sums(1, steps, hyper, np.zeros((1, TASKS), np.bool_), {})
    mean, table, _ = model.latent_prior(1, steps, sums)
    assert table.min() >= 0 and table.max() < model.tables.size and np.abs(mean).max() <= 1 << 19


def test_a_float_model_made_from_integers_has_these_integers(pair):
    """Integer qualities come back exactly; between them, rounding before and after interpolation may differ by one."""
    _, networks, model = pair
    again = quantised_model(dequantised_model(model, networks.config, networks.tensors), networks)
    for before, after in zip(model.tasks, again.tasks, strict=True):
        for entry in dataclasses.fields(before):
            if getattr(before, entry.name) is None:
                assert getattr(after, entry.name) is None
                continue
            first, second = (np.asarray(getattr(side, entry.name), np.int64) for side in (before, after))
            np.testing.assert_array_equal(first[::8], second[::8], err_msg=entry.name)
            assert np.abs(first - second).max() <= (4 if entry.name == "hyper_table" else 1), entry.name
