"""Measuring: task metrics, rate-distortion comparison, and the experiments whose results are committed."""
