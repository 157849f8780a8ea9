"""Channels of a trained network sorted by importance, so that prefixes hold what matters.

A sub-model has the first channels of every layer. In a network that was trained alone these are no better than the
others; sorted, they are the ones that pruning would keep. The network itself stays what it is: whatever reads a channel
finds it where it went.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from trainers.nested.beside import tensor_beside
from trainers.nested.decompose import compose, decompose
from trainers.nested.layers.attention import NestedSelfAttention
from trainers.nested.layers.batch_norm import NestedBatchNorm
from trainers.nested.layers.convolution import NestedConv2d
from trainers.nested.layers.layer_norm import NestedLayerNorm
from trainers.nested.layers.linear import NestedLinear
from trainers.nested.table import Exchanges, named
from trainers.nested.tracing.any_width import at_any_width
from trainers.nested.tracing.channels import MIXED, ChannelMap, Stream, map_channels

Importance = Literal["l1", "gamma"]
IMPORTANCES: tuple[Importance, ...] = get_args(Importance)


@dataclass(frozen=True)
class Reordering:
    """How the channels of a network can be moved about; a function of the network's structure and of no weights.

    Attributes:
        channels: where they come from and go to.
        forms: by path, the nested layers, which say what each layer is.
        beside: by full name of a tensor beside layers, along which axis its channels lie.
        exchanges: with which it was found.
    """

    channels: ChannelMap
    forms: dict[str, nn.Module]
    beside: dict[str, int]
    exchanges: Exchanges

    @classmethod
    def of(cls, network: nn.Module, input_shape: tuple[int, ...], exchanges: Exchanges | None = None) -> "Reordering":
        """Finds it by running the network with stand-ins for its layers. The network stays as it is.

        Args:
            network: plain.
            input_shape: of one example.
            exchanges: rows of the exchange table beside or in place of its own.

        Raises:
            ValueError: a layer without a nested form, or whose channels cannot be followed, with its path.
        """
        with at_any_width(network, input_shape, exchanges or {}) as walk:
            beside = {name: reach.axis for name, reach in walk.reaches.items() if reach.axis is not None}
            found = cls(map_channels(walk), walk.forms, beside, exchanges or {})
            found._refuse_unless_followed(network)
        return found

    def _refuse_unless_followed(self, network: nn.Module) -> None:
        for path, read in self.channels.read.items():
            with named(network, path):
                if bool((read[0] == MIXED).any()):
                    reason = "some are made of several before it, outside of layers"
                    raise ValueError(f"its channels can't be sorted: {reason}")
                if not isinstance(self.forms[path], _KNOWN):
                    kind = type(self.forms[path]).__name__
                    reason = f"it is not known which axes of {kind}'s parameters they are"
                    raise ValueError(f"its channels can't be sorted: {reason}")

    def sort(self, network: nn.Module, by: Importance) -> None:
        """Moves the channels of each stream that isn't a head's to the order of their importance, in place.

        - `l1`: the sum of absolute weights of the filters that give a channel (Li et al. 2017, section 3.1).
        - `gamma`: the sum of absolute γ of the norms that it goes through (Liu et al. 2017, section 3); of a stream
          without norms, as `l1`.

        A stream's filters and norms are those of all layers whose outputs are added. What convolutions take in groups
        moves as whole groups, by their sum. Heads of self-attention are sorted by the absolute weights of the
        projection that reads them. What is equally important stays in its order.

        Args:
            network: of the structure that this was found of.
        """
        layers = decompose(network, self.exchanges)
        try:
            orders = [self._order(network, number, stream, by) for number, stream in enumerate(self.channels.streams)]
            self._move_all(network, orders)
        finally:
            compose(network, layers)

    @torch.no_grad()
    def _move_all(self, network: nn.Module, orders: Sequence[Tensor]) -> None:
        for path, form in self.forms.items():
            if path in self.channels.read:
                self._move(network.get_submodule(path), form, path, orders)
        for name, axis in self.beside.items():
            tensor, order = tensor_beside(network, name), orders[self.channels.stream_of(name)]
            tensor.copy_(tensor.index_select(axis, order.to(tensor.device)))

    def _order(self, network: nn.Module, number: int, stream: Stream, by: Importance) -> Tensor:
        """`(channels,)` int64: which channel goes to each place."""
        channels = torch.arange(stream.channels)
        layers = [source.name for source in stream.sources if not source.beside]
        if self.channels.heads & {*layers}:
            return channels
        if len({source.channels for source in stream.sources}) > 1:
            with named(network, layers[0]):
                raise ValueError("its channels can't be sorted: they are added to more of them, or to fewer")
        scores = list(self._gammas(network, number, stream.channels)) if by == "gamma" else []
        if not scores:
            scores = [_weight(network, path).abs().flatten(1).sum(1) for path in layers]
        together = torch.stack([score.detach().double().cpu() for score in scores]).sum(0)
        blocks = together.view(-1, stream.block).sum(1).argsort(descending=True, stable=True)
        return channels.view(-1, stream.block)[blocks].flatten()

    def _gammas(self, network: nn.Module, number: int, channels: int) -> Iterator[Tensor]:
        """|γ| of the norms that a stream goes through, by its channels."""
        for path, (streams, index) in self.channels.read.items():
            if isinstance(self.forms[path], NestedBatchNorm | NestedLayerNorm) and bool((streams == number).any()):
                gamma = next(network.get_submodule(path).parameters()).detach().abs().double().cpu()
                mine = streams == number
                yield torch.zeros(channels, dtype=torch.double).index_add_(0, index[mine], gamma[mine])

    def _move(self, layer: nn.Module, form: nn.Module, path: str, orders: Sequence[Tensor]) -> None:
        """Gives a layer its parameters in the new order of what it reads and of what it gives."""
        inputs = _moved(self.channels.read[path], orders)
        if isinstance(form, NestedSelfAttention):
            form.move(layer, inputs)
        elif isinstance(form, NestedBatchNorm | NestedLayerNorm) or (isinstance(form, NestedConv2d) and form.grouped):
            for tensor in (*layer.parameters(), *layer.buffers()):
                if tensor.ndim:
                    tensor.copy_(tensor[inputs.to(tensor.device)])
        else:
            outputs = orders[self.channels.stream_of(path)]
            weight, bias = layer.get_parameter("weight"), getattr(layer, "bias", None)
            rows, columns = outputs.to(weight.device), inputs.to(weight.device)
            weight.copy_(weight[rows][:, columns])
            if bias is not None:
                bias.copy_(bias[rows])


_KNOWN = (NestedConv2d, NestedLinear, NestedBatchNorm, NestedLayerNorm, NestedSelfAttention)


def _moved(read: Tensor, orders: Sequence[Tensor]) -> Tensor:
    """`(inputs,)` int64: from which place of a layer's input each channel comes that is to be read there.

    The n-th place at which a channel is read is exchanged for the n-th one of another: behind a flattening each channel
    is read at as many as it has pixels.
    """
    places = torch.arange(read.shape[1])
    for number, order in enumerate(orders):
        mine = (read[0] == number).nonzero().flatten()
        if len(mine) == 0:
            continue
        index = read[1, mine]
        by_channel = index.argsort(stable=True)  # places of channel 0, of channel 1, …
        counts = index.bincount(minlength=len(order))
        starts = counts.cumsum(0) - counts
        nth = torch.empty_like(index)
        nth[by_channel] = torch.arange(len(index)) - starts.repeat_interleave(counts)
        comes_from = order[index]
        places[mine] = mine[by_channel[starts[comes_from] + nth]]
    return places


def _weight(network: nn.Module, path: str) -> Tensor:
    return network.get_submodule(path).get_parameter("weight")
