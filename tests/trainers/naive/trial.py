"""A trial from its first step to its last: losses, SGD, evaluations, counts."""

from collections import defaultdict
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.trainers.naive.network import CLASSES, Network
from tests.trainers.naive.recipe import WIDTHS, Images, Recipe, batch, rate, stream


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean over the batch, against labels `(N,)` or probabilities `(N, classes)`."""
    shares = F.one_hot(target, CLASSES) if target.ndim == 1 else target
    return -(shares * logits.log_softmax(1)).sum(1).mean()


class Trial:
    """A trial as it goes: the networks by width (one and the same for all, until they are apart) and what is counted.

    Attributes:
        networks: by target width.
        counted: `updates`, `passes`, `samples`, `macs` and `forwards` so far, and optimizer steps by target width.
    """

    def __init__(self, recipe: Recipe, images: Images) -> None:
        self.recipe, self.images = recipe, images
        channels, method = images.train.shape[1], recipe.method
        self.apart = method.apart_from == 0
        nested = Network(recipe.seed, recipe.norm, channels, method.line)
        self.networks = dict.fromkeys(WIDTHS, nested)
        if self.apart:
            norm = "batch" if recipe.norm == "batch-switchable" else recipe.norm
            self.networks = {width: Network(recipe.seed, norm, channels, share=width) for width in WIDTHS}
        self.velocity: dict[tuple[float, str], Tensor] = {}
        self.counted: dict[str | float, int] = defaultdict(int)
        self.budget = recipe.updates * self._of_all_targets(recipe.unit)

    @torch.no_grad()
    def _of_all_targets(self, unit: str) -> int:
        """How much of a unit a step takes that trains every target."""
        image = torch.zeros(1, *self.images.train.shape[1:], dtype=torch.float64)
        macs = sum(self.forward(image, width, training=False)[1] for width in WIDTHS)
        return {"updates": 1, "passes": len(WIDTHS), "macs": self.recipe.batch_size * macs}[unit]

    def run(self) -> Iterator[dict[str, float]]:
        """Trains to the end of the budget; gives what each evaluation measures."""
        recipe, unit = self.recipe, self.recipe.unit
        losses: list[float] = []
        while self.counted[unit] < self.budget:
            before = self.counted[unit]
            if not self.apart and before >= recipe.method.apart_from * self.budget:
                self.networks = {width: self.networks[width].cut(width) for width in WIDTHS}
                self.velocity, self.apart = {}, True
            trained: set[float] = set()
            for micro in range(recipe.accumulation):
                number = self.counted["updates"] * recipe.accumulation + micro
                for width, loss in self.losses(number):
                    (loss / recipe.accumulation).backward()
                    losses.append(loss.item())
                    trained.add(width)
            self.counted["updates"] += 1
            for width in trained:
                self.counted[width] += 1
            after = self.counted[unit]
            self.step(rate(recipe, (before + after) / 2 / self.budget))
            if after * recipe.evaluations // self.budget > before * recipe.evaluations // self.budget:
                yield {**self.evaluate(), "train_loss": sum(losses) / len(losses)}
                losses = []

    def losses(self, number: int) -> Iterator[tuple[float, Tensor]]:
        """Every width trained on micro-batch `number` with its loss."""
        method = self.recipe.method
        inputs, labels = batch(self.recipe, self.images, number)
        widths = [1.0, 0.75, 0.5, 0.25] if self.apart else method.draw(stream(self.recipe.seed, "sub-models", number))
        if method.below:
            widths = [width for width in (1.0, 0.75, 0.5, 0.25) if width <= widths[0]]
        teacher = None
        if method.distilled:
            widths = [width for width in widths if width == 1] + [width for width in widths if width < 1]
            if widths[0] < 1:
                logits, macs = self.forward(inputs, 1.0)
                teacher = logits.detach().softmax(1)
                self.counted["forwards"] += 1
                self.counted["macs"] += round(macs * len(inputs) / 3)
        for width in widths:
            logits, macs = self.forward(inputs, width)
            self.counted["passes"] += 1
            self.counted["samples"] += len(inputs)
            self.counted["macs"] += macs * len(inputs)
            yield width, cross_entropy(logits, labels if teacher is None else teacher)
            if method.distilled and width == 1:
                teacher = logits.detach().softmax(1)

    def forward(self, inputs: Tensor, width: float, training: bool = True, momentum: float = 0.1) -> tuple[Tensor, int]:
        """Logits, and multiply-accumulates per image."""
        network = self.networks[width if self.apart else 1.0]
        logits = network(inputs, 1.0 if self.apart else width, training, momentum)
        return logits, network.macs

    def step(self, rate: float) -> None:
        """v ← μ·v + g + λ·θ and θ ← θ − rate·v, for every parameter, whether it was in use or not."""
        recipe = self.recipe
        if recipe.method.line:
            gammas = {n: p for n, p in self.networks[1.0].parameters.items() if ".weight@end" in n}
            end = torch.cat(list(gammas.values()))
            start = torch.cat([self.networks[1.0].parameters[name.removesuffix("@end")] for name in gammas])
            (recipe.line_penalty * F.cosine_similarity(start, end, dim=0) ** 2).backward()
        networks = self.networks if self.apart else {1.0: self.networks[1.0]}
        for width, network in networks.items():
            for name, parameter in network.parameters.items():
                gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                velocity = self.velocity.get((width, name), torch.zeros_like(parameter))
                velocity = recipe.momentum * velocity + gradient + recipe.weight_decay * parameter.detach()
                self.velocity[width, name] = velocity
                parameter.data -= rate * velocity
                parameter.grad = None

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Accuracy in per cent and mean loss of every target over the test set, and the counts so far."""
        found: dict[str, float] = {}
        test = self.images.normalised(self.images.test)
        for width in WIDTHS:
            network = self.networks[width]
            before = {name: value.clone() for name, value in network.statistics.items()}
            if self.recipe.norm == "batch-recalibrated":
                self.recalibrate(width)
            (logits, _), label = self.forward(test, width, training=False), f"w{100 * width:03.0f}"
            network.statistics.update(before)
            found[f"test_acc/{label}"] = 100 * float((logits.argmax(1) == self.images.test_labels).double().mean())
            found[f"test_loss/{label}"] = float(cross_entropy(logits, self.images.test_labels))
            found[f"updates/{label}"] = self.counted[width]
        found["test_acc_average"] = sum(found[f"test_acc/w{100 * width:03.0f}"] for width in WIDTHS) / len(WIDTHS)
        for unit in ("updates", "passes", "samples", "macs", "forwards"):
            found[f"ledger/{unit}"] = self.counted[unit]
        return found

    def recalibrate(self, width: float) -> None:
        """Statistics become their average over batches of 250 plain images, in the order of the first epoch."""
        order = stream(self.recipe.seed, "order", 0).permutation(len(self.images.train))
        for number in range(self.recipe.recalibration_batches):
            chosen = order[number * 250 : (number + 1) * 250]
            if len(chosen):
                inputs = self.images.normalised(self.images.train[chosen])
                self.forward(inputs, width, momentum=1 / (number + 1))
