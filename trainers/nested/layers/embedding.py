"""An embedding of which the first features are read."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from trainers.nested.layers.layer import Shape
from trainers.nested.layers.sizes import Size, active_size
from trainers.nested.prefix import LeafViews, copied_prefix, in_same_storage
from trainers.submodel import SubModel


class NestedEmbedding(nn.Module):
    """An embedding of which the first features are read. `ids: (...)` → `(..., outputs)`.

    Args:
        embedding: the plain one, whose parameter it takes over.
        size: how many features it has; None: all of them.

    Raises:
        ValueError: an embedding that changes its weights as it reads them (`max_norm`), or whose gradients are sparse
            or scaled.
    """

    axis = -1

    def __init__(self, embedding: nn.Embedding, size: Size | None) -> None:
        super().__init__()
        if embedding.max_norm is not None or embedding.scale_grad_by_freq or embedding.sparse:
            raise ValueError("an embedding with max_norm, scale_grad_by_freq or sparse gradients has no nested form")
        self.weight = in_same_storage(embedding.weight)
        self.padding_idx = embedding.padding_idx
        self.size = size
        self.dimension = None if size is None else size.dimension
        self.inputs, self.outputs = embedding.num_embeddings, embedding.embedding_dim
        self._weights = LeafViews()

    def activate(self, sub_model: SubModel) -> None:
        self.outputs = active_size(self.size, sub_model, self.weight.shape[1])

    def forward(self, ids: Tensor) -> Tensor:
        weight = self._weights.prefix(self.weight, (self.weight.shape[0], self.outputs))
        return F.embedding(ids, weight, self.padding_idx)

    def plain(self, channels: int) -> nn.Embedding:
        embedding = nn.Embedding(self.inputs, self.outputs, self.padding_idx, device="meta")
        embedding.weight = copied_prefix(self.weight, self.inputs, self.outputs)
        return embedding

    def output_shape(self, shape: Shape, prefix: Callable[[int], int]) -> Shape:
        full = self.weight.shape[1]
        return *shape, full if self.size is None else prefix(full)
