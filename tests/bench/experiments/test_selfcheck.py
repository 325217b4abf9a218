"""The self-check: it passes on the codec as it is, fails on one that a float decides for, and says what it ran."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import torch

from any_tensors import reader_of
from atdc.errors import ArgumentError, AtdcError
from atdc.pipeline import load
from atdc.tensors import TensorSpec
from atdc_bench.experiments import selfcheck
from atdc_bench.experiments.selfcheck import (
    Configuration,
    ci_configurations,
    full_configurations,
    run_selfcheck,
    selfcheck_tables,
)
from atdc_bench.experiments.selfcheck_worker import Job, ListeningModel, Settings, float_networks, place, run_job

PLANTED = '''
"""The worker, of a model whose tables depend on the last bits of a convolution of floats."""
import numpy as np
import torch
from atdc.entropy.model import EntropyModel
from atdc_bench.experiments.selfcheck_worker import main
from atdc.entropy.model import EntropyModel

exact = EntropyModel.latent_prior

def planted(self, task, steps, sums, around=None, at=None):
    mean, table, hidden = exact(self, task, steps, sums, around, at)
    seen = torch.from_numpy(hidden.astype(np.float32) / 7).permute(0, 3, 1, 2).contiguous()
    random = torch.Generator().manual_seed(task)
    total = 0
    for side in (3, 5):  # torch has other code for small kernels than for large ones
        weight = torch.randn(mean.shape[-1], hidden.shape[-1], side, side, generator=random)
        total = total + torch.nn.functional.conv2d(seen, weight, padding=side // 2)
    odd = (total * 1e6).floor().remainder(2)
    shift = odd.permute(0, 2, 3, 1).long().numpy()
    return mean, np.minimum(table + shift, self.tables.size - 1), hidden

EntropyModel.latent_prior = planted
main()
'''


def test_the_model_that_listens_computes_as_the_codecs() -> None:
    reader = reader_of(TensorSpec("a", 2, (5, 5)), padding="zero", spatial_context="checkerboard")
    model = ListeningModel.of(reader.model)
    assert (model.padding, model.spatial_context, model.factorised) == ("zero", "checkerboard", "none")
    assert model.tasks is reader.model.tasks and model.tables is reader.model.tables and not model.calls


@pytest.mark.slow
def test_the_codec_as_it_is_passes(untrained_weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "selfcheck.json"
    result = run_selfcheck(
        untrained_weights, out, images=16, qualities=(7, 4.125), configurations="ci", runs=tmp_path / "runs", quiet=True
    )
    assert result == json.loads(out.read_text())
    assert result["passed"] and result["totals"]["mismatches"] == 0
    assert not list((tmp_path / "runs").iterdir()), "nothing is left of a check that ended"
    found = result["configurations"]
    assert list(found) == ["reference", *(one.name for one in ci_configurations())]
    run = {name: row for name, row in found.items() if "not_run" not in row}
    assert {"reference", "threads_2_batch_8", "mkldnn_off", "contiguous_autocast"} <= set(run)
    # 256×256: six tasks' latents of 8×8 positions and 8 channels, and hyper-latents of 4×4 and 4.
    symbols = 6 * (8 * 8 * 8 + 4 * 4 * 4)
    assert all(row["files_read"] == 16 and row["symbols_read"] == 16 * symbols for row in run.values())
    assert all(row["symbols_written"] == (0 if name == "reference" else 8 * symbols) for name, row in run.items())
    assert result["totals"]["symbols"] == symbols * (16 * len(run) + 8 * (len(run) - 1))
    # What took effect is what was observed, not what was asked for.
    effective = {name: row["effective"] for name, row in run.items()}
    assert effective["reference"]["threads"] == 1 and effective["reference"]["batch"] == 1
    assert effective["threads_2_batch_8"]["threads"] == 2 and effective["threads_2_batch_8"]["batch"] == 8
    assert effective["reference"]["mkldnn"] == torch.backends.mkldnn.is_available()
    assert not effective["mkldnn_off"]["mkldnn"]
    assert effective["contiguous_autocast"]["codec_dtype"] == "bfloat16"
    assert effective["contiguous_autocast"]["encoders_layout"] == "contiguous"
    assert effective["reference"]["encoders_layout"] == "channels_last"
    # Coarser arithmetic restores other features and writes other files; both ends agree about them all the same.
    assert run["reference"]["drift"] == 0 < run["contiguous_autocast"]["drift"] < 1
    assert run["contiguous_autocast"]["files_written_otherwise"] > 0
    assert selfcheck_tables(result)[0].row_count == len(run) + 1


@pytest.mark.slow
def test_a_float_that_decides_a_bit_is_found(untrained_weights: Path, tmp_path: Path) -> None:
    script = tmp_path / "planted.py"
    script.write_text(PLANTED)
    chosen = [one for one in ci_configurations() if one.name in ("threads_2_batch_8", "mkldnn_off")]
    result = run_selfcheck(
        untrained_weights, tmp_path / "out.json", images=8, qualities=(7,), configurations=chosen,
        worker=(sys.executable, str(script)), runs=tmp_path / "runs", quiet=True,
    )  # fmt: skip
    assert not result["passed"]
    rows = result["configurations"]
    assert rows["reference"]["mismatches"] == 0, "the process that wrote a file computes as it did"
    assert rows["mkldnn_off"]["mismatches"] > 0 and rows["threads_2_batch_8"]["mismatches"] > 0
    assert {"file", "way", "why"} == set(rows["mkldnn_off"]["mismatched"][0])


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of jobs, which this process does itself: starting another takes longer than a job."""
    done: list[str] = []
    run = selfcheck.subprocess.run

    def worked(command: list[str], **options: Any) -> Any:
        if command[:-1] != [sys.executable, "-m", "atdc_bench.experiments.selfcheck_worker"]:
            return run(command, **options)
        done.append(Path(command[-1]).stem)
        answer = run_job(Job.from_json(Path(command[-1]).read_text("utf-8")))
        return CompletedProcess(command, 0, json.dumps(answer), "")

    monkeypatch.setattr(selfcheck.subprocess, "run", worked)
    return done


def test_what_cannot_run_says_so_and_the_rest_resumes(untrained_weights: Path, tmp_path: Path, jobs: list[str]) -> None:
    chosen = [
        Configuration("elsewhere", missing="no such machine"),
        Configuration("wide", flags=frozenset({"a_flag_of_no_processor"})),
        Configuration("broken", python=tmp_path / "no python", may_fail=True),
        Configuration("ignored", expects={"cpu_capability": "of another world"}),
    ]
    result = run_selfcheck(
        untrained_weights, tmp_path / "out.json", images=1, configurations=chosen, runs=tmp_path / "runs", quiet=True
    )
    why = {name: row.get("not_run", "") for name, row in result["configurations"].items()}
    assert why["reference"] == "" and why["elsewhere"] == "no such machine"
    assert why["wide"] == "the processor lacks a_flag_of_no_processor"
    assert "no python" in why["broken"]
    assert why["ignored"].startswith("asked for cpu_capability of another world, found ")
    assert result["totals"] | {"seconds": 0, "symbols": 0} == {
        "run": 1, "not_run": 4, "symbols": 0, "mismatches": 0, "drift": 0, "seconds": 0,
    }  # fmt: skip
    assert result["passed"] and jobs == ["reference", "ignored", "again"]


def test_a_stopped_check_resumes_until_it_has_compared_enough(
    untrained_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: list[str]
) -> None:
    work = selfcheck.subprocess.run

    def stopped(command: list[str], **options: Any) -> Any:
        if len(jobs) == 4 and command[-1].endswith(".job"):
            raise KeyboardInterrupt
        return work(command, **options)

    def check() -> dict[str, Any]:
        return run_selfcheck(
            untrained_weights, tmp_path / "out.json", images=1, qualities=(7,), symbols_target=12000,
            configurations=[Configuration("same")], runs=tmp_path / "runs", quiet=True,
        )  # fmt: skip

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(selfcheck.subprocess, "run", stopped)
        check()
    assert jobs == ["reference", "same", "again", "reference"]
    result = check()
    assert jobs[4:] == ["same", "again"]
    assert result["data"]["rounds"] == 2 and result["totals"]["symbols"] == 2 * 3 * 3456
    assert result["configurations"]["same"]["files_read"] == 2 and result["passed"]


def test_a_process_that_fails_is_an_error(untrained_weights: Path, tmp_path: Path) -> None:
    worker = (sys.executable, "-c", "raise SystemExit('it went wrong')")
    with pytest.raises(AtdcError, match="configuration reference: found it went wrong"):
        run_selfcheck(untrained_weights, tmp_path / "out.json", images=1, worker=worker, runs=tmp_path, quiet=True)


def test_senseless_arguments_are_refused(untrained_weights: Path, tmp_path: Path) -> None:
    for arguments in ({"images": 0}, {"configurations": "most"}, {"qualities": (9,)}, {"qualities": ()}):
        with pytest.raises(ArgumentError):
            run_selfcheck(untrained_weights, tmp_path / "out.json", **arguments)  # type: ignore[arg-type]


def test_every_configuration_asks_for_something_and_names_differ() -> None:
    for chosen in (ci_configurations(), full_configurations()):
        assert len({one.name for one in chosen}) == len(chosen)
        assert all(one.asked() or one.missing for one in chosen)
    other = {one.name: one for one in full_configurations(Path("python"))}["other_torch"]
    assert not other.missing and other.asked() == {"python": "python"}


def test_networks_placed_elsewhere_are_all_that_moves(untrained_weights: Path) -> None:
    codec, usual = load(untrained_weights), load(untrained_weights)
    images = torch.rand(2, 3, 64, 96)
    place(codec, torch.device("cpu"))
    assert len(float_networks(codec)) == 6 + 1 + 6 + 1 + 6 * 6
    assert torch.equal(codec.features_of(images), usual.features_of(images))
    data = codec.feature_codec.encode_batch(usual.features_of(images), 4).data
    assert data == usual.feature_codec.encode_batch(usual.features_of(images), 4).data
    assert Settings().device == "cpu"
