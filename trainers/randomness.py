"""Randomness as a function of (seed, purpose, index), with no generator to carry along.

A stateful generator makes a draw depend on how many draws came before it: a resumed trial would have to restore it,
and an arm that samples more sub-models would see other images than its rival. Here every draw is addressed instead,
so resuming needs nothing and two arms with the same seed share init, data order and augmentation: paired by design.
"""

import hashlib

import numpy as np


def stream(seed: int, purpose: str, index: int = 0) -> np.random.Generator:
    """The random stream of one purpose at one index: Philox keyed by (seed, purpose), its counter starting at index.

    Streams never overlap: the index is the counter's highest word, which 2^192 draws would be needed to reach.
    """
    word = int.from_bytes(hashlib.blake2b(purpose.encode(), digest_size=8).digest(), "little")
    key = np.array([seed, word], dtype=np.uint64)
    counter = np.array([0, 0, 0, index], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))
