"""The command line with features of one's own: fit, encode, decode, inspect, verify, and one line for every misuse."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import load_file, save
from typer.testing import CliRunner

import atdc.training.fit
import atdc.training.loop
from atdc import cli
from atdc.codec import FeatureCodec
from atdc.data.dumped import write_shard
from atdc.networks.codec_networks import CodecNetworks
from atdc.tasks import TASK_NAMES
from tiny_recipe import STEPS_PER_EPOCH, TINY, yaml_of

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
Sample = dict[str, NDArray[np.float32]]


def sample(number: int, mask: bool = True) -> Sample:
    """Three tensors of different channels and grids, the second like the first; the third may be missing."""
    rng = np.random.default_rng(number)
    first = rng.normal(size=(4, 9, 7)).astype(np.float32).cumsum(1)
    second = first[:2, ::2, ::2] + 0.1 * rng.normal(size=(2, 5, 4)).astype(np.float32)
    whole = {"backbone/c4": first, "head of 2": second, "mask": rng.normal(size=(1, 3, 3)).astype(np.float32)}
    return whole if mask else {name: whole[name] for name in list(whole)[:2]}


def write_dumps(folder: Path, count: int = 12) -> None:
    """Samples in two folders; every fourth lacks a tensor."""
    (folder / "sub").mkdir(parents=True)
    for number in range(count):
        path = folder / ("sub" if number % 2 else "") / f"{number:02}.npz"
        np.savez(path, **sample(number, mask=number % 4 != 3))  # type: ignore[arg-type]


def run(*arguments: str, stdin: bytes | None = None) -> Any:
    return CliRunner().invoke(cli.app, list(arguments), input=stdin)


def words(text: str) -> str:
    """Without the frames and line breaks that a terminal's width brings."""
    return " ".join(text.replace("│", " ").split())


def below(path: str) -> list[str]:
    return sorted(str(file.relative_to(path)) for file in Path(path).rglob("*") if file.is_file())


@pytest.fixture(autouse=True, scope="module")
def _short_epochs() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(atdc.training.loop, "STEPS_PER_EPOCH", STEPS_PER_EPOCH)
        yield


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory, _short_epochs: None) -> tuple[Path, Any]:
    """A folder with features, a recipe and the weights that ``atdc fit`` has made, and what it has said."""
    folder = tmp_path_factory.mktemp("fitted")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_dumps(Path("dumps"))
        Path("tiny.yaml").write_text(yaml_of(TINY), "utf-8")
        result = run("fit", "dumps", "-o", "mine.safetensors", "--recipe", "tiny.yaml")
    assert result.exit_code == DONE, result.output
    return folder, result


@pytest.fixture
def folder(fitted: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the same."""
    for name in ("dumps", "tiny.yaml", "mine.safetensors"):
        (tmp_path / name).symlink_to(fitted[0] / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def mine(fitted: tuple[Path, Any]) -> FeatureCodec:
    return FeatureCodec.load(fitted[0] / "mine.safetensors")


MODEL = ("--model", "mine.safetensors")


def same(decoded: Mapping[str, NDArray[Any]], codec: FeatureCodec, data: bytes) -> bool:
    """Whether these are what the codec decodes a file to; in the last digit, kernels may differ."""
    expected = codec.decode(data)
    return list(decoded) == list(expected) and all(
        np.allclose(decoded[name], value.numpy(), rtol=1e-4, atol=1e-4) for name, value in expected.items()
    )


# --- fit --------------------------------------------------------------------------------------------------------------


def test_fit_shows_the_report_then_what_was_written_and_what_to_type_next(
    fitted: tuple[Path, Any], mine: FeatureCodec
) -> None:
    place, result = fitted
    lines = result.stdout.splitlines()
    assert lines[0].split()[:4] == ["tensor", "samples", "channels", "grid"]
    assert lines[1].startswith("backbone/c4 ") and lines[1].split()[1:4] == ["12", "4", "9×7"]
    assert lines[3].startswith("mask ") and lines[3].split()[1] == "9"
    written = next(line for line in lines if line.startswith("written: "))
    size = (place / "mine.safetensors").stat().st_size
    assert written == f"written: mine.safetensors, fingerprint {mine.fingerprint.hex()}, {size:,} bytes"
    assert lines[-1] == "Next: atdc encode dumps --model mine.safetensors -o encoded"
    few = "atdc: There are 12 samples, fewer than 50: what is fitted will not hold for others."
    assert result.stderr.splitlines().count(few) == 1 and "FitWarning" not in result.stderr
    assert "codec epoch 2/2" in result.stderr and "epoch" not in result.stdout
    assert mine.card == {"recipe": "tiny", "samples": 11}
    assert (place / "runs" / "mine" / "codec.pt").exists()


def test_a_recipe_that_is_not_there_is_refused_before_features_are_read(tmp_path: Path) -> None:
    result = run("fit", str(tmp_path), "-o", "x.safetensors", "--recipe", "fit_smal")
    assert result.exit_code == USAGE and "fit_smal: found no such file" in words(result.stderr)


def test_fit_shows_the_bytes_of_a_sample_that_was_held_out(fitted: tuple[Path, Any], mine: FeatureCodec) -> None:
    stdout = fitted[1].stdout
    assert "dumps/00.npz, of the validation samples, 301 numbers:" in stdout
    rows = [line.split() for line in stdout.splitlines() if line.strip()[:1].isdigit()]
    sizes = [len(mine.encode(sample(0), quality)) for quality in range(8)]
    assert [row[:2] for row in rows] == [[str(quality), f"{size:,}"] for quality, size in enumerate(sizes)]
    whole = [tuple(value.shape[1:] for value in sample(n, n % 4 != 3).values()) for n in range(12)]
    kinds = [(*kind, None)[:3] for kind in whole]
    assert 0 in atdc.training.fit.held_out(kinds, 0.1)


@pytest.mark.slow
def test_fit_of_a_codec_for_programs_prints_json_alone_and_reports_on_the_features_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def again(*_: Any, **__: Any) -> None:
        raise AssertionError("features are reported on again")

    monkeypatch.setattr(atdc.training.fit, "report", again)
    result = run("fit", "dumps", "-o", "out/json.safetensors", "--recipe", "tiny.yaml", "--json", "--grid", "mask=32")
    assert result.exit_code == DONE, result.output
    values = json.loads(result.stdout)
    assert list(values) == ["weights", "balance", "fingerprint", "tensors", "report", "validation_sample", "bytes"]
    codec = FeatureCodec.load("out/json.safetensors")
    assert values["fingerprint"] == codec.fingerprint.hex() and values["tensors"] == codec.tensors.to_json()
    assert [spec.grid for spec in codec.tensors.tensors] == [(9, 7), (5, 4), 32]
    assert values["validation_sample"] == "dumps/00.npz" and len(values["bytes"]) == 8


def test_a_report_trains_nothing_and_writes_nothing(folder: Path) -> None:
    before = below(".")
    result = run("fit", "dumps", "--report")
    assert result.exit_code == DONE and result.stdout.startswith("tensor ") and "12 samples" in result.stderr
    result = run("fit", "dumps/00.npz", "dumps/02.npz", "--report", "--json")
    values = json.loads(result.stdout)
    assert values["samples"] == 2 and list(values["tensors"]) == ["backbone/c4", "head of 2", "mask"]
    assert below(".") == before


@pytest.mark.slow
def test_a_killed_fit_resumes_where_it_was(folder: Path) -> None:
    Path("longer.yaml").write_text(yaml_of(replace(TINY, steps=40)), "utf-8")
    command = ["fit", "dumps", "-o", "long.safetensors", "--recipe", "longer.yaml", "--run", "run"]
    program = (
        f"import sys, atdc.training.loop as loop; loop.STEPS_PER_EPOCH = {STEPS_PER_EPOCH}\n"
        f"sys.argv = {['atdc', *command]!r}\nfrom atdc.cli import main\nmain()"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while not Path("run/codec.pt").exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not Path("long.safetensors").exists()
    before = json.loads(Path("run/curves.json").read_text())
    assert "predictor" in before and len(before.get("codec", [])) < 20
    result = run(*command)
    assert result.exit_code == DONE, result.output
    assert f"codec epoch {torch.load('run/codec.pt')['epoch']}/20" in result.stderr
    assert "predictor epoch" not in result.stderr and "codec epoch 1/20" not in result.stderr
    after = json.loads(Path("run/curves.json").read_text())
    assert after["predictor"] == before["predictor"]
    assert after["codec"][: len(before.get("codec", []))] == before.get("codec", [])
    codec = FeatureCodec.load("long.safetensors")
    assert set(codec.decode(codec.encode(sample(0)))) == set(sample(0))


def test_an_interrupted_fit_says_how_to_resume(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(FeatureCodec, "fit", interrupted)
    result = run("fit", "dumps", "-o", "new.safetensors", "--recipe", "tiny.yaml")
    assert result.exit_code == INTERRUPTED and not Path("new.safetensors").exists()
    assert result.stderr.splitlines()[-1] == "atdc: interrupted. The same command resumes from there."


def test_a_run_resumes_with_its_own_features_alone(folder: Path, fitted: tuple[Path, Any]) -> None:
    folder_of_run = str(fitted[0] / "runs" / "mine")
    for more, changed in (
        (["dumps/00.npz", "dumps/02.npz"], "samples, tensors"),
        (["dumps", "--grid", "mask=8"], "grids"),
    ):
        result = run("fit", *more, "-o", "other.safetensors", "--recipe", "tiny.yaml", "--run", folder_of_run)
        assert result.exit_code == USAGE and not Path("other.safetensors").exists()
        last = result.stderr.splitlines()[-1]
        assert f"found a run with other {changed};" in last and "Pass another --run folder" in last


@pytest.mark.slow
def test_fitting_goes_on_from_weights(folder: Path, mine: FeatureCodec) -> None:
    rested = replace(TINY, predictor_steps=0, warmup_steps=0, steps=1, lr=1e-9, lr_end=1e-9)
    Path("rested.yaml").write_text(yaml_of(rested), "utf-8")
    further = ["--from", "mine.safetensors", "--recipe"]
    assert run("fit", "dumps", "-o", "same.safetensors", *further, "rested.yaml").exit_code == DONE
    assert run("fit", "dumps", "-o", "further.safetensors", *further, "tiny.yaml").exit_code == DONE
    same, trained = FeatureCodec.load("same.safetensors"), FeatureCodec.load("further.safetensors")
    assert same.tensors == mine.tensors == trained.tensors and same.config == mine.config
    before, after = mine.networks.state_dict(), {"same": same, "trained": trained}
    moved = {
        name: max(
            float((value - before[key]).abs().max())
            for key, value in codec.networks.state_dict().items()
            if key.startswith("transforms.")
        )
        for name, codec in after.items()
    }
    assert moved["same"] < 1e-3 < moved["trained"]  # weights are kept in half precision


@pytest.mark.slow
def test_the_entropy_model_alone_is_fitted_further(folder: Path, mine: FeatureCodec) -> None:
    """Networks stay, and so do answers but for rounding; a codec without a spatial context gets one."""
    alone = replace(TINY, predictor_steps=0, warmup_steps=0, steps=0, entropy_steps=20, lr=1e-2)
    Path("alone.yaml").write_text(yaml_of(alone), "utf-8")
    plain = replace(mine.config, spatial_context="none")
    rows = [replace(row, around=None, neighbours=None) for row in mine.entropy.tasks]
    entropy = replace(mine.entropy, tasks=tuple(rows), spatial_context="none")
    networks = CodecNetworks(plain, mine.tensors)
    networks.load_state_dict(mine.networks.state_dict())
    FeatureCodec(networks, entropy, mine.mean, mine.std, mine.graph_tables).save("plain.safetensors", {})
    command = ["fit", "dumps", "-o", "seeing.safetensors", "--from", "plain.safetensors", "--recipe", "alone.yaml"]
    assert run(*command).exit_code == DONE
    before, after = (FeatureCodec.load(f"{name}.safetensors") for name in ("plain", "seeing"))
    assert (before.config.spatial_context, after.config.spatial_context) == ("none", "checkerboard")
    for name, value in before.networks.state_dict().items():
        if name.startswith(("transforms.", "predictor.")):
            assert torch.equal(value, after.networks.state_dict()[name]), name
    assert any(np.any(row.neighbours) for row in after.entropy.tasks)
    for name, value in before.decode(before.encode(sample(1), 7, "independent")).items():
        other = after.decode(after.encode(sample(1), 7, "independent"))[name]
        assert float((value - other).square().mean()) < 0.5 * float(value.square().mean())


@pytest.mark.slow
def test_weights_to_begin_with_keep_their_settings_and_their_networks(folder: Path, mine: FeatureCodec) -> None:
    """Most parents, and kinds of rate estimator, of weights that other recipes and commands made."""
    once = replace(TINY, predictor_steps=0, warmup_steps=0, steps=2, max_parents=1)
    Path("once.yaml").write_text(yaml_of(once), "utf-8")
    config = replace(mine.config, rate_estimator="pairs")
    networks = CodecNetworks(config, mine.tensors)
    networks.predictor.load_state_dict(mine.networks.predictor.state_dict())
    networks.transforms.load_state_dict(mine.networks.transforms.state_dict())
    card = {"networks": {"backbone": "ab" * 32}}
    FeatureCodec(networks, mine.entropy, mine.mean, mine.std, mine.graph_tables).save("pairs.safetensors", card)
    command = ["fit", "dumps", "-o", "on.safetensors", "--from", "pairs.safetensors", "--recipe", "once.yaml"]
    assert run(*command).exit_code == DONE
    further = FeatureCodec.load("on.safetensors")
    assert further.config == replace(mine.config, max_parents=2) and further.card["networks"] == card["networks"]
    assert further.card["start"] == FeatureCodec.load("pairs.safetensors").fingerprint.hex()
    Path("dumps/networks.json").write_text(json.dumps({"networks": {"backbone": "cd" * 32}}), "utf-8")
    try:
        refused = run(*command[:3], "other.safetensors", *command[4:])
    finally:
        Path("dumps/networks.json").unlink()
    assert refused.exit_code == USAGE and "network backbone: found features of another one" in refused.stderr
    assert not Path("other.safetensors").exists()


@pytest.mark.slow
def test_an_added_tensor_leaves_old_files_and_tensors_as_they_were(folder: Path, mine: FeatureCodec) -> None:
    old = mine.encode(sample(0))
    expected = mine.decode(old)
    Path("more").mkdir()
    for number in range(8):
        further = np.random.default_rng(number).normal(size=(3, 4, 4)).astype(np.float32)
        np.savez(f"more/{number}.npz", **sample(number), depth=further)  # type: ignore[arg-type]
    result = run("fit", "more", "-o", "more.safetensors", "--recipe", "tiny.yaml", "--add", "mine.safetensors")
    assert result.exit_code == DONE, result.output
    larger, again = FeatureCodec.load("more.safetensors"), FeatureCodec.load("mine.safetensors")
    assert larger.task_names == (*mine.task_names, "depth") and larger.tensors.tensors[:3] == mine.tensors.tensors
    assert again.fingerprint == mine.fingerprint
    for name, value in again.decode(old).items():
        assert torch.equal(value, expected[name])
    assert run("encode", "more/0.npz", "-o", "new.atdc", "--model", "more.safetensors").exit_code == DONE
    assert larger.decode("new.atdc")["depth"].shape == (3, 4, 4)
    alone = {"backbone/c4": sample(0)["backbone/c4"]}
    with_old, with_new = (codec.decode(codec.encode(alone, 7))["backbone/c4"] for codec in (mine, larger))
    torch.testing.assert_close(with_old, with_new, rtol=1e-3, atol=1e-3)
    refused = run("decode", "new.atdc", "-o", "decoded", *MODEL)
    assert refused.exit_code == FAILED and mine.fingerprint.hex() in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "expected"),
    [
        ("dumps", USAGE, "-o is missing: name the weights' file, as in -o mine.safetensors, or ask for --report."),
        ("dumps -o new", USAGE, "new is no name of weights; end it with .safetensors."),
        ("dumps -o mine.safetensors", FAILED, "found a file that is there; expected a new file. Add --force"),
        ("dumps -o f.safetensors", FAILED, "f.safetensors: found a folder; expected a new file."),
        ("dumps -o tiny.yaml/n.safetensors", FAILED, "tiny.yaml: found a file; expected a folder to write to."),
        ("nowhere --report", FAILED, "nowhere: found no such file or folder; expected .npz or .safetensors files"),
        ("no.npz --report", FAILED, "no.npz: found no such file or folder; expected .npz or .safetensors files"),
        ("f.safetensors --report", FAILED, "f.safetensors: found a folder without any features; expected"),
        ("broken.npz --report", FAILED, "broken.npz: found a damaged file (File is not a zip file); expected"),
        ("nan.npz --report", FAILED, "nan.npz, tensor 'a', channel 1: found nan; expected finite values"),
        ("flat.npz --report", FAILED, "flat.npz, tensor 'a': found the shape (4,); expected channels, height and"),
        ("dumps -o n.safetensors --recipe fitt", USAGE, "fitt: found no such file or directory; expected the name"),
        ("dumps -o n.safetensors --recipe small", USAGE, "small: found no such file or directory; expected the name"),
        ("dumps -o n.safetensors --recipe fit_small --val no", FAILED, "no: found no such file or folder; expected"),
        ("dumps -o n.safetensors --recipe empty.yaml", USAGE, "empty.yaml: found no setting; expected settings, as in"),
        ("dumps -o n.safetensors --grid mask", USAGE, "'mask' should read NAME=16 (pixels per position) or"),
        ("dumps -o n.safetensors --grid mask=0", USAGE, "'mask=0' should read NAME=16"),
        ("dumps -o n.safetensors --grid mask=3x3x3", USAGE, "'mask=3x3x3' should read NAME=16"),
        ("dumps -o n.safetensors --grid mast=8", USAGE, "unknown tensor 'mast'. Did you mean mask? Known: backbone/c4"),
        ("dumps -o n.safetensors --grid mask=8 --grid mask=3x3", USAGE, "mask=3x3 contradicts another grid of mask."),
        ("dumps -o n.safetensors --grid mask=4x4", USAGE, "grid of mask: found 3 x 3; expected 4 x 4, that of every"),
        (
            "dumps -o n.safetensors --grid mask=8 --grid backbone/c4=8", USAGE,
            "grid of mask: found 3 x 3; expected 9 x 7, that of another tensor of 8 pixels per position.",
        ),
        ("dumps -o n.safetensors --add mine.safetensors", USAGE, "--add: found features of the tensors that mine.saf"),
        ("dumps -o n.safetensors --add a --from b", USAGE, "--add and --from exclude each other"),
        ("dumps -o n.safetensors --recipe fit_entropy", USAGE, "recipe: found fit_entropy, which trains no"),
        ("dumps -o n.safetensors --from mine.safetensors --grid mask=8", USAGE, "grids: found one for mask; expected"),
        ("one.npz -o n.safetensors --from mine.safetensors", USAGE, "--from: found features of a, which mine.saf"),
        ("one.npz -o n.safetensors --add mine.safetensors", FAILED, "features: found none of backbone/c4; expected"),
        ("dumps -o n.safetensors --device cuda:99", USAGE, "device: found 'cuda:99'; expected one that is here: cpu"),
        ("dumps -o n.safetensors --add no.safetensors", FAILED, "no.safetensors: found no such file or directory"),
        ("comma.npz -o n.safetensors", FAILED, "found a tensor of the name 'x,y'; expected names without commas"),
        ("one.npz -o n.safetensors", FAILED, "features: found 1 sample to fit to; expected two at least, besides"),
        ("dumps -o n.safetensors --val one.npz", FAILED, "val: found no sample that has all tensors; expected some"),
        ("dumps -o n.safetensors --val wide.npz", FAILED, "val, features of mask: found 2 channels; expected 1."),
    ],
)  # fmt: skip
def test_a_misuse_of_fit_is_one_line_before_any_training(
    folder: Path, arguments: str, status: int, expected: str
) -> None:
    Path("f.safetensors").mkdir()
    Path("broken.npz").write_bytes(b"no zip")
    np.savez("nan.npz", a=np.array([[[0.0]], [[np.nan]]], np.float32))
    np.savez("flat.npz", a=np.zeros(4, np.float32))
    Path("empty.yaml").write_text("# nothing yet\n", "utf-8")
    np.savez("comma.npz", **{"x,y": np.zeros((1, 2, 2), np.float32)})  # type: ignore[arg-type]
    np.savez("one.npz", a=np.zeros((1, 2, 2), np.float32))
    np.savez("wide.npz", **sample(0) | {"mask": np.zeros((2, 3, 3), np.float32)})  # type: ignore[arg-type]
    recipe = [] if "--recipe" in arguments or "--report" in arguments else ["--recipe", "tiny.yaml"]
    result = run("fit", *arguments.split(), *recipe)
    assert result.exit_code == status, result.output
    assert expected in words(result.stderr) and "Traceback" not in result.stderr
    assert not Path("n.safetensors").exists() and "epoch" not in result.stderr


# --- encode and decode ------------------------------------------------------------------------------------------------


def test_a_folder_of_features_goes_to_files_and_back_with_its_paths(folder: Path, mine: FeatureCodec) -> None:
    Image.new("RGB", (4, 4)).save("picture.png")
    result = run("encode", "dumps", "-o", "encoded", *MODEL)
    assert result.exit_code == DONE, result.output
    assert below("encoded") == [name.replace(".npz", ".atdc") for name in below("dumps")]
    assert "encoded 12 of 12 files in" in result.stdout and "bits per position" in result.stdout
    data = Path("encoded/sub/03.atdc").read_bytes()
    assert f"dumps/sub/03.npz → encoded/sub/03.atdc  {len(data)} bytes, " in result.stdout
    assert f"{8 * len(data) / (9 * 7 + 5 * 4):.3f} bits per position" in result.stdout
    result = run("decode", "encoded", "-o", "decoded", *MODEL)
    assert result.exit_code == DONE, result.output
    assert below("decoded") == below("dumps")
    for number in (0, 3):
        name = f"{'sub/' if number % 2 else ''}{number:02}"
        with np.load(f"decoded/{name}.npz") as arrays:
            decoded = dict(arrays)
        assert {key: value.shape for key, value in decoded.items()} == {
            key: value.shape for key, value in sample(number, number % 4 != 3).items()
        }
        assert all(value.dtype == np.float32 for value in decoded.values())
        assert same(decoded, mine, Path(f"encoded/{name}.atdc").read_bytes())


def test_the_same_call_again_writes_the_same_bytes_or_skips(folder: Path) -> None:
    call = ("dumps/00.npz", "dumps/02.npz", "-o")
    assert run("encode", *call, "encoded", *MODEL).exit_code == DONE
    assert run("encode", *call, "encoded", *MODEL).exit_code == DONE
    skipped = run("encode", *call, "encoded", *MODEL, "--skip-existing")
    assert "there before" in skipped.stdout and "2 there before" in skipped.stdout
    other = run("encode", *call, "encoded", "-q", "7", *MODEL)
    assert other.exit_code == FAILED and other.stderr.count("Add --force to replace it") == 2
    assert run("encode", *call, "encoded", "-q", "7", *MODEL, "--force").exit_code == DONE
    for more in ((), ("--skip-existing",), ()):
        assert run("decode", "encoded", "-o", "decoded", *MODEL, *more).exit_code == DONE
    assert "2 there before" in run("decode", "encoded", "-o", "decoded", *MODEL, "--skip-existing").stdout


@pytest.mark.slow
def test_processes_and_lists_give_the_same_files(folder: Path) -> None:
    Path("list").write_text("dumps/00.npz\ndumps/sub/03.npz\n")
    assert run("encode", "--from-file", "list", "-o", "two", "--jobs", "2", *MODEL).exit_code == DONE
    assert run("encode", "--from-file", "list", "-o", "one", *MODEL).exit_code == DONE
    assert below("one") == below("two") == ["dumps/00.atdc", "dumps/sub/03.atdc"]
    assert all(Path("one", name).read_bytes() == Path("two", name).read_bytes() for name in below("one"))


def test_of_a_shard_each_sample_gets_a_file(folder: Path, mine: FeatureCodec) -> None:
    write_shard("shard.safetensors", [sample(number) for number in range(3)])
    result = run("encode", "shard.safetensors", "-o", "encoded", *MODEL)
    assert result.exit_code == DONE and "encoded/shard.0000.atdc … shard.0002.atdc" in result.stdout
    assert below("encoded") == [f"shard.{row:04}.atdc" for row in range(3)]
    assert Path("encoded/shard.0002.atdc").read_bytes() == mine.encode(sample(2))
    assert run("decode", "encoded", "-o", "decoded", *MODEL).exit_code == DONE
    assert below("decoded") == [f"shard.{row:04}.npz" for row in range(3)]
    refused = run("encode", "shard.safetensors", "-o", "one.atdc", *MODEL)
    assert refused.exit_code == FAILED and not Path("one.atdc").exists()
    assert "shard.safetensors: found a shard of 3 samples; expected one sample for one output. Name a folder" in words(
        refused.stderr
    )


def test_a_sample_of_a_shard_shares_no_output_with_a_file(folder: Path) -> None:
    write_shard("dumps/shard.safetensors", [sample(number) for number in range(2)])
    write_shard("dumps/shard.0001.safetensors", [sample(2)])
    for more in ([], ["--force"], ["--skip-existing"]):
        result = run("encode", "dumps/shard.safetensors", "dumps/shard.0001.safetensors", "-o", "coded", *MODEL, *more)
        assert (result.exit_code == FAILED and not Path("coded").exists()) or not below("coded")
        assert words(result.stderr).count("would be written to, too") == 2


def test_a_quiet_fit_says_nothing_and_a_tensors_name_is_checked_before_its_values(folder: Path) -> None:
    result = run("fit", "dumps", "-o", "quiet.safetensors", "--recipe", "tiny.yaml", "--quiet")
    assert result.exit_code == DONE and Path("quiet.safetensors").is_file()
    assert not result.stdout and not [line for line in result.stderr.splitlines() if "atdc:" not in line], result.stderr
    write_shard("named.safetensors", [{"a,b": np.zeros((1, 2, 2), np.float32)}] * 2)
    result = run("fit", "named.safetensors", "--report")
    assert result.exit_code == FAILED and "names without commas" in words(result.stderr)


def test_one_file_goes_to_a_named_file_or_through_pipes(folder: Path, mine: FeatureCodec) -> None:
    assert run("encode", "dumps/00.npz", "-o", "x.atdc", *MODEL).exit_code == DONE
    data = Path("x.atdc").read_bytes()
    for content in (Path("dumps/00.npz").read_bytes(), save(sample(0))):
        assert run("encode", "-", "-o", "-", *MODEL, stdin=content).stdout_bytes == data
    assert run("decode", "x.atdc", "-o", "x.npz", *MODEL).exit_code == DONE
    assert run("decode", "x.atdc", "-o", "x.safetensors", *MODEL).exit_code == DONE
    with np.load("x.npz") as arrays:
        assert same(dict(arrays), mine, data)
    assert set(load_file("x.safetensors")) == set(sample(0))
    piped = run("decode", "-", "-o", "-", *MODEL, stdin=data)
    assert piped.stdout_bytes == Path("x.npz").read_bytes()
    wrong = run("decode", "x.atdc", "-o", "x.zip", *MODEL)
    assert wrong.exit_code == FAILED and "expected .npz or .safetensors for features" in words(wrong.stderr)


def test_single_tensors_have_qualities_and_are_decoded_alone(folder: Path, mine: FeatureCodec) -> None:
    call = ("--task-quality", "mask=7", "--task-quality", "head of 2=0.5", "--profile", "segments")
    assert run("encode", "dumps/00.npz", "-o", "x.atdc", "-q", "2", *call, *MODEL).exit_code == DONE
    assert Path("x.atdc").read_bytes() == mine.encode(sample(0), [2, 0.5, 7], profile="segments")
    assert run("decode", "x.atdc", "-o", "x.npz", "--tasks", "mask,backbone/c4", *MODEL).exit_code == DONE
    with np.load("x.npz") as arrays:
        assert sorted(arrays) == ["backbone/c4", "mask"]
    for command in (
        ["decode", "x.atdc", "-o", "y.npz", "--tasks", "masks"],
        ["encode", "dumps", "-o", "y", "--task-quality", "masks=1"],
    ):
        wrong = run(*command, *MODEL)
        assert wrong.exit_code == USAGE and "unknown tensor or task 'masks'. Did you mean mask?" in words(wrong.stderr)


def test_of_a_damaged_file_whole_tensors_are_decoded(folder: Path, mine: FeatureCodec) -> None:
    data = bytearray(mine.encode(sample(0), graph="independent", profile="segments"))
    data[-1] ^= 1  # of the last segment
    Path("x.atdc").write_bytes(data)
    result = run("decode", "x.atdc", "-o", "decoded", *MODEL)
    assert (
        result.exit_code == FAILED and result.stderr.count("\n") == 1 and "x.atdc: mask is not decoded" in result.stderr
    )
    with np.load("decoded/x.npz") as arrays:
        assert sorted(arrays) == ["backbone/c4", "head of 2"]


def test_weights_are_found_by_the_file_they_wrote(
    folder: Path, mine: FeatureCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("x.atdc").write_bytes(mine.encode(sample(3, mask=False)))
    Path("y.atdc").write_bytes(mine.encode(sample(0)))
    bare = run("inspect", "x.atdc")
    assert bare.exit_code == DONE and "for the features of 2 tensors" in bare.stdout and "c4" not in bare.stdout
    assert "checked: header and checks; for" in run("verify", "x.atdc").stdout
    unknown = run("decode", "x.atdc", "-o", "decoded")
    assert unknown.exit_code == FAILED and mine.fingerprint.hex() in unknown.stderr
    for variable, value in (("ATDC_MODEL", "mine.safetensors"), ("ATDC_WEIGHTS", ".")):
        with monkeypatch.context() as patch:
            patch.setenv(variable, value)
            named = run("inspect", "x.atdc")
            assert named.exit_code == DONE and "backbone/c4" in named.stdout and " 9×7 " in named.stdout
            assert "all integers" in run("verify", "x.atdc").stdout
            assert run("decode", "x.atdc", "-o", f"by/{variable}").exit_code == DONE
            typo = run("decode", "x.atdc", "-o", "typo", "--tasks", "backbone/c5")
            assert typo.exit_code == FAILED and "Did you mean 'backbone/c4'?" in words(typo.stderr)
    seen = json.loads(run("inspect", "y.atdc", "--json", *MODEL).stdout)
    assert seen["grids"] == {"backbone/c4": [9, 7], "head of 2": [5, 4], "mask": [3, 3]} and seen["kind"] == "features"
    assert seen["bpp"] == 8 * seen["bytes"] / (63 + 20 + 9)


def test_weights_of_features_alone_refuse_images(folder: Path) -> None:
    Image.new("RGB", (4, 4)).save("picture.png")
    result = run("encode", "picture.png", "dumps/00.npz", "-o", "encoded", *MODEL)
    assert result.exit_code == FAILED and below("encoded") == ["00.atdc"]
    assert "picture.png: found a file of another kind, by its name; expected features (.npz or .safetensors)" in words(
        result.stderr
    )
    balanced = run("encode", "dumps", "-o", "encoded", "--balanced", *MODEL)
    assert (
        balanced.exit_code == FAILED
        and "found no balance" in balanced.stderr
        and "atdc networks balance" in words(balanced.stderr)
    )


def test_features_that_do_not_fit_the_weights_are_one_line_each(folder: Path) -> None:
    np.savez("other.npz", other=np.zeros((1, 2, 2), np.float32))
    np.savez("grid.npz", mask=np.zeros((1, 4, 4), np.float32))
    np.savez("far.npz", mask=np.full((1, 3, 3), 1e4, np.float32))
    result = run("encode", "other.npz", "grid.npz", "far.npz", "dumps/00.npz", "-o", "encoded", *MODEL)
    assert result.exit_code == FAILED and below("encoded") == ["00.atdc", "far.atdc"]
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 3 and "other.npz: features: found 'other'; expected some of backbone/c4" in lines[0]
    assert "grid.npz: features of mask: found a grid of 4 x 4; expected a grid of 3 x 3" in lines[1]
    assert (
        lines[2].startswith("atdc: far.npz: features of mask, channel 0: found a value") and "Warning" not in lines[2]
    )


def test_features_of_weights_for_images_work_the_same_way(
    folder: Path, untrained_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    np.savez("f.npz", **{name: rng.normal(size=(8, 5, 3)).astype(np.float32) for name in TASK_NAMES})  # type: ignore[arg-type]
    Image.new("RGB", (40, 30)).save("p.png")
    monkeypatch.setenv("ATDC_MODEL", str(untrained_weights))
    result = run("encode", "f.npz", "p.png", "-o", "encoded")
    assert result.exit_code == DONE, result.output
    assert "bits per position" in result.stdout and " bpp" in result.stdout
    assert run("decode", "encoded", "-o", "decoded", "--tasks", "normal").exit_code == DONE
    assert below("decoded") == ["f.npz", "p/normal.npy", "p/normal.png"]
    with np.load("decoded/f.npz") as arrays:
        assert {name: arrays[name].shape for name in arrays} == {"normal": (8, 5, 3)}
    wrong = run("decode", "encoded/p.atdc", "-o", "p.npz")
    assert wrong.exit_code == FAILED and "any number in .zip" in words(wrong.stderr)
