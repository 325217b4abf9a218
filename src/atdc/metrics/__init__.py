"""Errors of answers against the ground truth."""
