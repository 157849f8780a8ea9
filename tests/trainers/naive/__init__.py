"""The recipe of a trial written a second time, from its description: plain PyTorch and NumPy, in double precision.

Nothing of `trainers` is used, so a fault there cannot hide here. What a comparison has to share is stated anew: how
random numbers are addressed (`recipe`), which network is trained (`network`), what a step sums and how the rate, the
optimizer and the statistics go (`trial`). Weights are sliced by ordinary indexing and gradients are autograd's; speed
is no concern.
"""
