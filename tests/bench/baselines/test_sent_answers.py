"""Answers sent by standard codecs: back in their form, at their size, with every byte accounted for."""

import itertools

import numpy as np
import pytest

from atdc.errors import DataError
from atdc.tasks import TASKS, Task
from atdc_bench.baselines import sent_answers
from atdc_bench.baselines.sent_answers import (
    AVIF,
    CODECS,
    WEBP,
    Point,
    avif_payload,
    combined,
    decode_answer,
    encode_answer,
    points_of,
    webp_payload,
)

SIZE = (48, 64)


def smooth_answer(task: Task) -> np.ndarray:
    rows, columns = np.mgrid[0 : 1 : SIZE[0] * 1j, 0 : 1 : SIZE[1] * 1j].astype(np.float32)
    match task.presentation:
        case "classes":
            return (3 * (columns > 0.5) + (rows > 0.5)).astype(np.uint8)
        case "metres":
            return np.exp(rows + 2 * columns)
        case "unit_vectors":
            vectors = np.stack([rows, columns, np.ones_like(rows)], -1)
            return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
        case "image":
            return np.stack([rows, columns, 1 - rows], -1)
    return rows * columns


@pytest.mark.parametrize("codec", [WEBP, AVIF], ids=lambda codec: codec.name)
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_an_answer_comes_back_nearly_as_it_was_from_its_bytes_alone(task: Task, codec) -> None:
    answer = smooth_answer(task)
    best = Point(None, 1) if task.presentation == "classes" else Point(90, 1)
    sent = encode_answer(task, answer, codec, best)
    back = decode_answer(task, sent.data, codec, SIZE)
    assert back.shape == answer.shape and back.dtype == answer.dtype
    if task.presentation == "classes":
        np.testing.assert_array_equal(back, answer)
    elif task.presentation == "metres":
        assert np.abs(back / answer - 1).max() < 0.1
    else:
        assert np.abs(back - answer).mean() < 0.03
    assert 0 < sent.overhead_bytes < len(sent.data)


@pytest.mark.parametrize("codec", [WEBP, AVIF], ids=lambda codec: codec.name)
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_every_point_decodes_to_the_size_of_the_answer(task: Task, codec) -> None:
    answer = smooth_answer(task)
    sizes = {len(encode_answer(task, answer, codec, point).data) for point in points_of(task, codec)}
    assert len(sizes) > 1
    for point in points_of(task, codec):
        assert decode_answer(task, encode_answer(task, answer, codec, point).data, codec, SIZE).shape == answer.shape


def test_classes_at_a_smaller_size_are_classes_of_the_answer() -> None:
    task = next(task for task in TASKS if task.presentation == "classes")
    answer = smooth_answer(task)
    back = decode_answer(task, encode_answer(task, answer, WEBP, Point(None, 4)).data, WEBP, SIZE)
    assert set(np.unique(back)) <= set(np.unique(answer)) and (back == answer).mean() > 0.9


def test_the_container_of_webp_takes_20_bytes_and_that_of_avif_ten_times_that() -> None:
    image = np.zeros((32, 32), np.uint8)
    webp, avif = WEBP.encode(image, 50), AVIF.encode(image, 50)
    assert 20 <= len(webp) - webp_payload(webp) <= 21 and len(avif) - avif_payload(avif) > 200
    for payload, damaged in ((webp_payload, webp[:12]), (avif_payload, avif[:30])):
        with pytest.raises(DataError, match="without coded pixels"):
            payload(damaged)


def test_points_of_several_tasks_are_combined_as_the_best_of_all_combinations() -> None:
    random = np.random.default_rng(0)
    curves = [
        sorted(zip(random.uniform(1, 9, 5), random.uniform(0, 1, 5), strict=True), key=lambda point: point[0])
        for _ in range(3)
    ]
    chosen = combined(curves)
    every = [
        (sum(curve[place][0] for curve, place in zip(curves, row, strict=True)),
         sum(curve[place][1] for curve, place in zip(curves, row, strict=True)))
        for row in itertools.product(range(5), repeat=3)
    ]  # fmt: skip
    for row in chosen:
        size = sum(curve[place][0] for curve, place in zip(curves, row, strict=True))
        reached = sum(curve[place][1] for curve, place in zip(curves, row, strict=True))
        assert not [1 for other, utility in every if other < size - 1e-9 and utility > reached + 1e-9]
    assert len(chosen) > 3


def test_a_codec_that_is_not_here_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    missing = CODECS["answers-vvc"].missing()
    assert missing is not None and "vvencapp" in missing and sent_answers.VVC is CODECS["answers-vvc"]
