"""The systems that ATDC is compared with, one file each, behind the interface of :mod:`atdc_bench.baselines.system`."""
