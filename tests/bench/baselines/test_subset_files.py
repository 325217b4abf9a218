"""Files of subsets written from kept symbols are those that the codec writes."""

import pytest
import torch
from tests.bench.experiments.conftest import make_tiny_codec

from atdc.graph.subsets import without_missing
from atdc.graph.task_graph import TaskGraph
from atdc.pipeline import Codec
from atdc_bench.baselines.subset_files import Sent, SubsetFiles, ancestry

CHAIN = TaskGraph(((), (0,), (0, 1), (1,), (2, 3), (4,)))
STAR = TaskGraph(((5,), (5,), (5,), (5,), (5,), ()))
SETS = [(0, 1, 2, 3, 4, 5), (1,), (0, 4), (2, 3, 4)]


@pytest.fixture(scope="module")
def codec() -> Codec:
    return make_tiny_codec()


@pytest.fixture(scope="module")
def features() -> torch.Tensor:
    return torch.rand((2, 6, 4, 4, 4), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("present", SETS)
def test_a_file_is_byte_for_byte_that_of_the_codec(codec: Codec, features: torch.Tensor, present) -> None:
    own = codec.feature_codec
    sent = [Sent(*without_missing(CHAIN, present)), Sent(*without_missing(STAR, present))]
    files = SubsetFiles(own, features, 3, (64, 64), [sent])
    for image, one in enumerate(sent):
        parts = [part[image, None] if task in present else None for task, part in enumerate(features.unbind(1))]
        encoded = own.encode_batch(parts, 3, [one.graph], sizes=[(64, 64)])
        assert files.file(image, one) == encoded.data[0]
        assert files.file_bytes(image, one) == len(encoded.data[0])
        for task in present:
            back = files.decoded(ancestry(one.graph, task))[image]
            torch.testing.assert_close(back, encoded.reconstruction[task][0], rtol=0, atol=1e-5)


def test_a_graph_of_ancestors_that_sets_share_is_coded_once_and_of_no_other_images(
    codec: Codec, features: torch.Tensor
) -> None:
    sets = [
        [Sent(*without_missing(CHAIN, (0, 1))), Sent(*without_missing(CHAIN, (0,)))],
        [Sent(*without_missing(STAR, (0, 1, 2)))] * 2,
    ]
    items = SubsetFiles(codec.feature_codec, features, 3, (64, 64), sets).items()
    assert {key: rows for key, rows in items.items()} == {
        ((0, ()),): [0, 1], ((1, ()),): [0, 1], ((2, ()),): [0, 1], ((0, ()), (1, (0,))): [0],
    }  # fmt: skip
