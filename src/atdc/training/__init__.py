"""Training: stages from rendered rooms to shipped weights, each resumable after a kill."""

import os

# Images of a batch have different graphs, so the same convolutions run on many batch sizes. Each size is a kernel of
# its own, compiled at first use; the default cache of 1024 cannot hold them all. Read at the first convolution.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "8192")
