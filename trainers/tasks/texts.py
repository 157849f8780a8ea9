"""Texts as a task: a class or a score for a text or a pair, in batches of texts of similar length."""

from collections.abc import Callable, Hashable, Iterator, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from sklearn.metrics import f1_score, matthews_corrcoef
from torch import Tensor

from trainers.data.text.examples import Measured
from trainers.data.text.tokens import Tokens
from trainers.data.thinning import evenly_spread
from trainers.randomness import stream
from trainers.tasks.measures import Measure, measured, with_measures
from trainers.tasks.task import Batch, Inputs, Metric, Outputs, Shape, precise
from trainers.training.graphs import Graphs

METRICS: tuple[Metric, ...] = (
    Metric("score", "test score", "%", higher_is_better=True, primary=True, short="score"),
    Metric("loss", "test loss", "", higher_is_better=False, decimals=3),
    Metric("constant", "share of targets that predict the same for all", "", higher_is_better=False),
)
"""The score is what the data set is `measured` by, in per cent."""
_SORTED_TOGETHER = 50  # batches
_ROUNDED_TO = 8  # tokens: fewer shapes, and matrices that kernels like
_EVALUATION_BATCH = 64


class TextTask:
    """Cross-entropy over classes, or the squared error of a score. A batch has `ids`, `mask`, `kinds` and `targets`.

    An epoch's texts are permuted, every fifty batches of them sorted by length, cut into batches, and these permuted
    again: all texts once, and little padding. What does not fill a batch at an epoch's end is left out.

    A correlation that there is none of, since all predictions are the same, counts as 0, and `constant` says so: 1
    instead of 0.

    Args:
        train, test: moved to `device`.
        classes: number of classes; 0 where a score is predicted.
        batch_size: texts per micro-batch.
        seed: of the trial; decides the order.
        device: where batches are made.
        measured: what the score is.
        padding: the id that fills a batch.
        longest: tokens of a batch at most.
        pairs: whether the network is told which text of a pair a token is of.
        measures: what else is measured, of logits and targets.
        primary: the name of the primary metric; None: the score.

    Raises:
        ValueError: fewer texts than a batch has.
    """

    metrics: tuple[Metric, ...] = METRICS

    def __init__(
        self,
        train: Tokens,
        test: Tokens,
        classes: int,
        batch_size: int,
        seed: int,
        device: torch.device,
        measured: Measured,
        padding: int,
        longest: int,
        pairs: bool,
        measures: tuple[Measure, ...] = (),
        primary: str | None = None,
    ) -> None:
        self.metrics = with_measures(self.metrics, measures, primary)
        self._measures = measures
        if len(train.targets) < batch_size:
            raise ValueError(f"{len(train.targets)} texts are fewer than the {batch_size} of a batch")
        self._train, self._test = train.to(device), test.to(device)
        self._classes, self._batch_size, self._seed, self._device = classes, batch_size, seed, device
        self._measured, self._padding, self._longest, self._pairs = measured, padding, longest, pairs
        self._lengths, self._starts = train.lengths.numpy(), train.starts.numpy()
        self._epochs: dict[int, list[np.ndarray[tuple[int, ...], np.dtype[np.int64]]]] = {}
        self._usual = self._padded(int(np.median(self._lengths)))

    @property
    def shape(self) -> int:
        return self._usual

    def contents(self, index: int) -> Mapping[Shape, int]:
        return {self._padded(int(self._lengths[self._chosen(index)].max())): self._batch_size}

    def example(self, shape: Shape) -> Inputs:
        assert isinstance(shape, int)
        return self.inputs({name: torch.ones(1, shape, dtype=torch.int64) for name in ("ids", "mask", "kinds")})

    def selection(self, index: int) -> Tensor:
        """`(batch size, tokens + 1)` int64: where each token lies, -1 for none; at last the text's number."""
        chosen = self._chosen(index)
        return self._addresses(chosen, self._starts[chosen], self._lengths[chosen])

    def gather(self, selection: Tensor) -> Batch:
        return self._gathered(self._train, selection)

    def inputs(self, batch: Batch) -> Inputs:
        return (batch["ids"], batch["mask"], batch["kinds"]) if self._pairs else (batch["ids"], batch["mask"])

    def calibration(self, count: int) -> Iterator[Inputs]:
        for index in range(count):
            yield self.inputs(self.gather(self.selection(index)))

    def loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        return self._loss(_logits(outputs), batch["targets"])

    def imitation(self, outputs: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """Cross-entropy with the teacher's probabilities, or the squared distance from its scores."""
        ours, theirs = _logits(outputs), _logits(teacher)
        return F.cross_entropy(ours, theirs.softmax(1)) if self._classes else F.mse_loss(ours, theirs)

    def evaluate(
        self, forward: Callable[..., Outputs], graphs: Graphs, name: Hashable, examples: int | None = None
    ) -> dict[str, float]:
        lengths, starts = self._test.lengths.cpu().numpy(), self._test.starts.cpu().numpy()
        tested = np.arange(len(lengths)) if examples is None else evenly_spread(examples, len(lengths)).numpy()
        order = tested[np.argsort(lengths[tested], kind="stable")]
        found = []
        for rows in np.array_split(order, range(_EVALUATION_BATCH, len(order), _EVALUATION_BATCH)):
            batch = self._gathered(self._test, self._addresses(rows, starts[rows], lengths[rows]))
            found.append(_logits(forward(*self.inputs(batch))))
        logits, targets = torch.cat(found), self._test.targets[torch.from_numpy(order).to(self._device)]
        predicted = (logits.argmax(1) if self._classes else logits[:, 0]).cpu().numpy()
        constant = bool((predicted == predicted[0]).all())
        return {
            "score": 100 * _measure(self._measured, targets.cpu().numpy(), predicted, constant),
            "loss": self._loss(logits, targets).item(),
            "constant": float(constant),
            **measured(self._measures, logits, targets),
        }

    def _loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(logits, targets) if self._classes else F.mse_loss(logits[:, 0], targets.to(logits.dtype))

    def _gathered(self, tokens: Tokens, selection: Tensor) -> Batch:
        places, numbers = selection[:, :-1], selection[:, -1]
        mask, places = places.ge(0), places.clamp(min=0)
        return {
            "ids": torch.where(mask, tokens.ids[places], self._padding),
            "mask": mask.long(),
            "kinds": tokens.kinds[places],  # where there is no token that of the very first, which is 0
            "targets": tokens.targets[numbers],
        }

    def _addresses(
        self,
        numbers: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
        starts: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
        lengths: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
    ) -> Tensor:
        places = np.arange(self._padded(int(lengths.max())))
        inside = np.where(places < lengths[:, None], starts[:, None] + places, -1)
        return torch.from_numpy(np.concatenate([inside, numbers[:, None]], axis=1)).to(self._device)

    def _padded(self, tokens: int) -> int:
        """The length of a batch whose longest text has so many."""
        return min(-(-tokens // _ROUNDED_TO) * _ROUNDED_TO, max(tokens, self._longest))

    def _chosen(self, index: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
        """The texts of a micro-batch."""
        epoch, within = divmod(index, len(self._lengths) // self._batch_size)
        if epoch not in self._epochs:
            self._epochs = {known: batches for known, batches in self._epochs.items() if known == epoch - 1}
            self._epochs[epoch] = self._drawn(epoch)
        return self._epochs[epoch][within]

    def _drawn(self, epoch: int) -> list[np.ndarray[tuple[int, ...], np.dtype[np.int64]]]:
        rng, size = stream(self._seed, "order", epoch), self._batch_size
        order = rng.permutation(len(self._lengths))
        order = order[: len(order) // size * size]
        batches: list[np.ndarray[tuple[int, ...], np.dtype[np.int64]]] = []
        for together in np.array_split(order, range(_SORTED_TOGETHER * size, len(order), _SORTED_TOGETHER * size)):
            alike = together[np.argsort(self._lengths[together], kind="stable")]
            batches += np.array_split(alike, len(alike) // size)
        return [batches[place] for place in rng.permutation(len(batches))]


def _logits(outputs: Outputs) -> Tensor:
    """`(texts, classes)`, in fp32 at least."""
    return precise(outputs.logits if hasattr(outputs, "logits") else outputs)


def _measure(
    measured: Measured,
    targets: np.ndarray[tuple[int, ...], np.dtype[np.generic]],
    predicted: np.ndarray[tuple[int, ...], np.dtype[np.generic]],
    constant: bool,
) -> float:
    """As a share of one. A correlation with what is constant is 0."""
    match measured:
        case "accuracy":
            return float((predicted == targets).mean())
        case "f1":
            return float(f1_score(targets, predicted, zero_division=0.0))
        case "matthews":
            return 0.0 if constant else float(matthews_corrcoef(targets, predicted))
        case "spearman":
            alike = constant or bool((targets == targets[0]).all())
            return 0.0 if alike else float(spearmanr(targets, predicted).statistic)
