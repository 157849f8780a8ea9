"""Texts as token ids: all of a part in one row after the other, so that a batch is one indexing operation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainers.data.text.examples import Example
from trainers.errors import ConfigError


@dataclass(frozen=True)
class Tokens:
    """The token ids of many texts, without padding.

    Attributes:
        ids, kinds: `(all tokens,)` int64: what each token is, and whether it is of the first or second of a pair.
        starts: `(texts + 1,)` int64: where each text starts, and at last where the last one ends.
        targets: `(texts,)`: int64 indices of classes, or float32 scores.
    """

    ids: Tensor
    kinds: Tensor
    starts: Tensor
    targets: Tensor

    @property
    def lengths(self) -> Tensor:
        """`(texts,)` int64: tokens of each text."""
        return self.starts.diff()

    def to(self, device: torch.device) -> "Tokens":
        """The same on a device."""
        return Tokens(*(tensor.to(device) for tensor in (self.ids, self.kinds, self.starts, self.targets)))


def tokenize(tokenizer: Any, examples: Sequence[Example], longest: int, scores: bool) -> Tokens:
    """Texts as the ids of a `tokenizers.Tokenizer`, whose padding is turned off.

    Args:
        longest: tokens of a text or pair at most, the special ones included; what is longer is cut, of a pair the
            longer one first.
        scores: whether targets are scores rather than classes.

    Raises:
        ConfigError: a length that leaves no room for a token of the text.
    """
    special = tokenizer.num_special_tokens_to_add(any(example.second for example in examples))
    if longest <= special:
        raise ConfigError(f"a length of {longest} leaves no room beside {special} special tokens")
    tokenizer.no_padding()
    tokenizer.enable_truncation(longest)
    encoded = tokenizer.encode_batch(
        [(example.first, example.second) if example.second else example.first for example in examples]
    )
    lengths = np.array([len(each.ids) for each in encoded], np.int64)
    return Tokens(
        torch.tensor(np.concatenate([each.ids for each in encoded]).astype(np.int64)),
        torch.tensor(np.concatenate([each.type_ids for each in encoded]).astype(np.int64)),
        torch.tensor(np.concatenate([[0], lengths.cumsum()])),
        torch.tensor([each.target for each in examples], dtype=torch.float32 if scores else torch.int64),
    )
