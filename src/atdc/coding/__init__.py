"""Coding: the walk along the task graph, and the ports through which it counts, trains, writes or reads."""
