"""Row kernels for CUDA devices, written in Triton; this package loads without triton, its kernels do not.

`programs/` holds what runs on the device: arithmetic on tiles, no torch. The modules here choose a launch, give
autograd and torch's tracers what they need, and say which calls they take (`supports`) and prefer (`prefers`).
Statistics and sums are float32 whatever the input type; offsets are 64 bits wide; nothing is added atomically, so that
a result is the same from run to run.
"""
