"""Coding: the traversal of the task graph, and the latent coders through which it counts, trains, writes or reads."""
