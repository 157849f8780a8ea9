"""Sampling distributions: which sub-models take part in one micro-batch (P_B of SortedNet's Eq. 1)."""
