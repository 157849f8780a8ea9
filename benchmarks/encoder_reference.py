"""The loop that encoders are compared with, as fine-tuning scripts have it: transformers' model in a plain torch loop.

A DataLoader that shuffles and pads in its collate function, the loss from the model's own forward, torch's AdamW, no
logging. Plain, AdamW is as `torch.optim.AdamW(parameters, lr)` makes it and dropout as the model has it. Otherwise
AdamW is the fused one, which transformers' Trainer takes by itself, and there is no dropout, which our loop has not.
Clipping and a schedule are left out. Texts are token ids beforehand, and are loaded in the same process: workers would
only take the cores from training.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler
from transformers.trainer_pt_utils import LengthGroupedSampler

from trainers.config.precision import Precision
from trainers.data.text.tokens import Tokens

Padding = Literal["to 128", "to longest", "by length"]
LONGEST = 128
"""Tokens of a text at most, and of every text where padding is `to 128`."""
_DROPPED = 0.1  # by every dropout of MiniLM's configuration
_Text = tuple[Tensor, Tensor, int]
_Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Work:
    """What one optimizer step has trained on.

    Attributes:
        texts: of the batch.
        length: tokens of each, padding included.
    """

    texts: int
    length: int


class SimilarLengths(Sampler[list[int]]):
    """Batches of texts of similar length, as transformers groups them, in random order."""

    def __init__(self, lengths: Sequence[int], batch: int) -> None:
        self._lengths, self._batch = lengths, batch

    def __len__(self) -> int:
        return len(self._lengths) // self._batch

    def __iter__(self) -> Iterator[list[int]]:
        grouped = LengthGroupedSampler(self._batch, lengths=self._lengths)
        batches = list(BatchSampler(grouped, self._batch, drop_last=True))
        return (batches[place] for place in torch.randperm(len(batches)).tolist())


class Texts(Dataset[_Text]):
    """The ids, the kinds and the target of each."""

    def __init__(self, texts: Tokens) -> None:
        self.texts, self.starts, self.targets = texts, texts.starts.tolist(), texts.targets.tolist()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> _Text:
        span = slice(self.starts[index], self.starts[index + 1])
        return self.texts.ids[span], self.texts.kinds[span], self.targets[index]


def loader(texts: Tokens, padding: Padding, batch: int, fill: int) -> DataLoader[_Text]:
    """Batches as the model is called with them, shuffled anew in every epoch; the last one is left out if not full.

    Args:
        fill: the id that pads.
    """
    dataset = Texts(texts)
    if padding == "by length":
        similar = SimilarLengths(texts.lengths.tolist(), batch)
        return DataLoader(dataset, batch_sampler=similar, collate_fn=partial(collate, fill=fill, least=0))
    least = LONGEST if padding == "to 128" else 0
    return DataLoader(dataset, batch, shuffle=True, drop_last=True, collate_fn=partial(collate, fill=fill, least=least))


def collate(texts: Sequence[_Text], fill: int, least: int) -> _Batch:
    """Pads texts to the longest of them, or to `least` tokens where that is more."""
    ids, kinds, targets = zip(*texts, strict=True)
    padded = _padded(ids, fill, least)
    lengths = torch.tensor([len(each) for each in ids])
    return {
        "input_ids": padded,
        "attention_mask": (torch.arange(padded.shape[1]) < lengths[:, None]).long(),
        "token_type_ids": _padded(kinds, 0, least),
        "labels": torch.tensor(targets),
    }


def _padded(rows: Sequence[Tensor], fill: int, least: int) -> Tensor:
    padded = pad_sequence(list(rows), batch_first=True, padding_value=fill)
    return nn.functional.pad(padded, (0, max(0, least - padded.shape[1])), value=fill)


def steps(
    model: nn.Module, batches: DataLoader[_Text], precision: Precision, rate: float, plain: bool
) -> Iterator[Work]:
    """Trains without end; gives what each optimizer step has trained on."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0, fused=None if plain else True)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = _DROPPED if plain else 0.0
    model.train()
    while True:
        for batch in batches:
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                loss = model(**batch).loss
            loss.backward()
            optimizer.step()
            yield Work(*batch["input_ids"].shape)
