"""An embedding of which the first features are read."""

import torch
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
        if self._meets_few_rows(ids):
            rows, places = ids.unique(return_inverse=True)
            padding = [] if self.padding_idx is None else (rows == self.padding_idx).nonzero().flatten().tolist()
            weight = self._weights.read(self.weight, (len(self.weight), self.outputs), rows, 0)
            return F.embedding(places, weight, *padding)
        weight = self._weights.prefix(self.weight, (len(self.weight), self.outputs))
        return F.embedding(ids, weight, self.padding_idx)

    def _meets_few_rows(self, ids: Tensor) -> bool:
        """Whether a gradient is wanted that is zero in most rows.

        A batch of 32 texts meets some 500 of a vocabulary of 30,522: a gradient of the whole table would be made,
        added and thrown away for them. The same bits come from these rows alone. On CUDA their number, which the ids
        decide, would have to be waited for.
        """
        wanted = torch.is_grad_enabled() and self.weight.requires_grad
        return wanted and self.weight.is_cpu and ids.numel() < len(self.weight)
