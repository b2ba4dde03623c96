"""Benchmarks by asv: one file for each kernel family, over the shapes of `common`.

time_* measure calls whose kernels are compiled and whose memory is warm (each setup runs the call once); track_* give derived figures.
"""
