"""An embedding of which the first features are read."""

import torch.nn.functional as F
from torch import Tensor, nn

from trainers.nested.layers.sizes import Size, active_size
from trainers.nested.prefix import LeafViews, in_same_storage
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

    def __init__(self, embedding: nn.Embedding, size: Size | None) -> None:
        super().__init__()
        if embedding.max_norm is not None or embedding.scale_grad_by_freq or embedding.sparse:
            raise ValueError("an embedding with max_norm, scale_grad_by_freq or sparse gradients has no nested form")
        self.weight = in_same_storage(embedding.weight)
        self.padding_idx = embedding.padding_idx
        self.size = size
        self.outputs = embedding.embedding_dim
        self._weights = LeafViews()

    def activate(self, sub_model: SubModel) -> None:
        self.outputs = active_size(self.size, sub_model, self.weight.shape[1])

    def forward(self, ids: Tensor) -> Tensor:
        weight = self._weights.prefix(self.weight, (self.weight.shape[0], self.outputs))
        return F.embedding(ids, weight, self.padding_idx)
