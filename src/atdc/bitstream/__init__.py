"""Symbols to bytes and back: the range coder, the file's layout, and the three symbol coders.

``docs/bitstream.md`` is the specification; :mod:`atdc.bitstream.layout` holds its table. Nothing here imports torch.
"""
