"""The predictor: what it says of a child without parents depends on the border alone."""

import pytest
import torch

from atdc.config import ModelConfig
from atdc.networks.predictor import Predictor

pytestmark = pytest.mark.portability

CONFIG = ModelConfig(feature_channels=4, predictor_width=8)


@pytest.mark.parametrize("shape", [(4, 4), (4, 12), (8, 5), (6, 7), (16, 20)])
def test_a_child_without_parents_is_predicted_as_from_a_whole_image_of_nothing(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    predictor = Predictor(CONFIG, CONFIG.tensors(range(3)))
    for parameter in predictor.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    mask = torch.zeros(2, 3)
    for child in range(3):
        whole = predictor(child, torch.zeros(2, 8, *shape), mask)
        for part, expected in zip(predictor.alone(child, mask, shape), whole, strict=True):
            torch.testing.assert_close(part, expected, rtol=1e-5, atol=1e-5)
