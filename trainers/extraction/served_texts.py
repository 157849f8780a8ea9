"""A finished trial's network where models are served: texts in, scores out, the size chosen per call.

MLflow loads it by `_load_pyfunc`, whose name is MLflow's. Nothing of MLflow is needed here, and nothing is unpickled.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence

from trainers.data.fetching import one_line
from trainers.data.text.examples import Example
from trainers.data.text.tokens import tokenize
from trainers.errors import ConfigError, DataError
from trainers.extraction.anytime import Anytime, chosen_by
from trainers.extraction.encoders import trained
from trainers.extraction.text_network import TOKENIZER, TextNetwork
from trainers.extras import text_extra
from trainers.networks.encoders import padding
from trainers.tasks.task import Inputs
from trainers.training.state import WEIGHTS

_AT_ONCE = 64  # texts that pass the network together, padded to the longest of them


class ServedTexts:
    """Answers for texts, or pairs of them.

    Args:
        folder: with the trial's weights and what was written beside them.

    Raises:
        ConfigError: the extra `[text]` is not installed.
        DataError: no safetensors, the weights of another network, or no tokenizer.
    """

    def __init__(self, folder: Path) -> None:
        with text_extra():
            from tokenizers import Tokenizer

        self._is = TextNetwork.read(folder)
        try:
            self._tokenizer = Tokenizer.from_str((folder / TOKENIZER).read_text(encoding="utf-8"))
        except Exception as error:  # nothing narrower comes from there
            raise DataError(f"{TOKENIZER} is no tokenizer: {one_line(error)}") from error
        self._anytime = Anytime(trained(self._is, folder / WEIGHTS), self._is.macs_by_label)

    def predict(self, texts: Any, params: Mapping[str, Any] | None = None) -> NDArray[np.float32]:
        """Scores `(N, classes)` before any softmax, or `(N, 1)` where a score is predicted, in fp32.

        What is longer than it was in training is cut as there.

        Args:
            texts: a `pandas.DataFrame` of N rows with a column of strings; two where the trial was of pairs.
            params: `sub_model`, a target by its label, or `max_macs`, multiply-accumulates per text that the largest
                target within takes, for a text as long as may be; the largest of all without either.

        Raises:
            ConfigError: no such target, another parameter, or no such texts.
            ValueError: no target is so small, or both are given.
        """
        label = self._anytime.choose(**chosen_by(params))
        examples = self._examples(list(texts.itertuples(index=False, name=None)))
        parts = [examples[first : first + _AT_ONCE] for first in range(0, len(examples), _AT_ONCE)]
        scores = (self._anytime(self._inputs(part), label).float() for part in parts)
        return torch.cat([torch.zeros(0, self._is.outputs), *scores]).numpy()

    def _examples(self, rows: Sequence[tuple[Any, ...]]) -> list[Example]:
        wanted = 2 if self._is.pairs else 1
        for number, row in enumerate(rows):
            if len(row) != wanted or not all(isinstance(text, str) for text in row):
                raise ConfigError(f"row {number} is not {'two texts' if self._is.pairs else 'one text'}")
        return [Example(row[0], row[1] if self._is.pairs else "", 0.0) for row in rows]

    def _inputs(self, examples: Sequence[Example]) -> Inputs:
        tokens = tokenize(self._tokenizer, examples, self._is.length, scores=False)
        lengths = tokens.lengths.tolist()
        ids = pad_sequence(tokens.ids.split(lengths), batch_first=True, padding_value=padding(self._is.encoder))
        mask = (torch.arange(ids.shape[1]) < tokens.lengths[:, None]).long()
        kinds = pad_sequence(tokens.kinds.split(lengths), batch_first=True)
        return (ids, mask, kinds) if self._is.kinds else (ids, mask)


def _load_pyfunc(folder: str) -> ServedTexts:
    """What MLflow calls with the folder of the model's files."""
    return ServedTexts(Path(folder))
