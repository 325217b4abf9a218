"""ATDC: the codec for what machines look at.

>>> import atdc
>>> codec = atdc.load("real")

Names are imported on first use, so that ``import atdc`` alone stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from atdc.errors import ArgumentError as ArgumentError
from atdc.errors import AtdcError as AtdcError
from atdc.errors import BitstreamError as BitstreamError
from atdc.errors import CorruptFileError as CorruptFileError
from atdc.errors import CutError as CutError
from atdc.errors import DataError as DataError
from atdc.errors import FeatureWarning as FeatureWarning
from atdc.errors import FitWarning as FitWarning
from atdc.errors import GraphError as GraphError
from atdc.errors import ImageError as ImageError
from atdc.errors import IncompleteFileError as IncompleteFileError
from atdc.errors import NetworkError as NetworkError
from atdc.errors import NotAnAtdcFileError as NotAnAtdcFileError
from atdc.errors import OutputError as OutputError
from atdc.errors import ProgramError as ProgramError
from atdc.errors import TruncatedFileError as TruncatedFileError
from atdc.errors import UnsupportedVersionError as UnsupportedVersionError
from atdc.errors import WeightsError as WeightsError
from atdc.errors import WrongModelError as WrongModelError
from atdc.graph.task_graph import TaskGraph as TaskGraph
from atdc.tensors import FeatureSet as FeatureSet
from atdc.tensors import TensorSpec as TensorSpec

if TYPE_CHECKING:
    from atdc.codec import EncodedBatch as EncodedBatch
    from atdc.codec import FeatureCodec as FeatureCodec
    from atdc.config import ModelConfig as ModelConfig
    from atdc.config import Recipe as Recipe
    from atdc.entropy.model import EntropyModel as EntropyModel
    from atdc.entropy.tables import FrequencyTables as FrequencyTables
    from atdc.graph.graph_tables import GraphTables as GraphTables
    from atdc.inspection import Inspection as Inspection
    from atdc.inspection import Verification as Verification
    from atdc.pipeline import Answers as Answers
    from atdc.pipeline import Codec as Codec
    from atdc.pipeline import load as load
    from atdc.reader import IntegerReader as IntegerReader
    from atdc.tasks import TASKS as TASKS
    from atdc.tasks import TaskSpec as TaskSpec

__version__ = "0.1.0"

_LATE = {
    "TASKS": "atdc.tasks",
    "Answers": "atdc.pipeline",
    "Codec": "atdc.pipeline",
    "EncodedBatch": "atdc.codec",
    "EntropyModel": "atdc.entropy.model",
    "FeatureCodec": "atdc.codec",
    "FrequencyTables": "atdc.entropy.tables",
    "GraphTables": "atdc.graph.graph_tables",
    "Inspection": "atdc.inspection",
    "IntegerReader": "atdc.reader",
    "ModelConfig": "atdc.config",
    "Recipe": "atdc.config",
    "TaskSpec": "atdc.tasks",
    "Verification": "atdc.inspection",
    "load": "atdc.pipeline",
}
__all__ = [
    "TASKS",
    "Answers",
    "ArgumentError",
    "AtdcError",
    "BitstreamError",
    "Codec",
    "CorruptFileError",
    "CutError",
    "DataError",
    "EncodedBatch",
    "EntropyModel",
    "FeatureCodec",
    "FeatureSet",
    "FeatureWarning",
    "FitWarning",
    "FrequencyTables",
    "GraphError",
    "GraphTables",
    "ImageError",
    "IncompleteFileError",
    "Inspection",
    "IntegerReader",
    "ModelConfig",
    "NetworkError",
    "NotAnAtdcFileError",
    "OutputError",
    "ProgramError",
    "Recipe",
    "TaskGraph",
    "TaskSpec",
    "TensorSpec",
    "TruncatedFileError",
    "UnsupportedVersionError",
    "Verification",
    "WeightsError",
    "WrongModelError",
    "__version__",
    "load",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(importlib.import_module(_LATE[name]), name)
    raise AttributeError(f"module 'atdc' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
