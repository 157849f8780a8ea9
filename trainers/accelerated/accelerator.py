"""All kernels of this room, as the parts of an `Accelerator`. Triton and torch's build for CUDA may be missing."""

from dataclasses import replace

import torch
from torch import Tensor

from trainers.accelerated import adamw, norm
from trainers.accelerated.cpreresnet import fuse
from trainers.acceleration import Accelerator, ClassificationKernels
from trainers.devices.cuda import has_triton


class _Norms:
    available = staticmethod(norm.available)
    suits = staticmethod(norm.suits)
    image_norm = staticmethod(norm.image_norm)
    batch_norm = staticmethod(norm.batch_norm)
    known_norm = staticmethod(norm.known_norm)


OF_NETWORKS = Accelerator(network=fuse, norms=_Norms())
_ON_CPU = replace(OF_NETWORKS, adamw=adamw.rows)


def for_device(device: torch.device) -> Accelerator:
    """What there is for training on a device: that of networks, which look at where their inputs are, on CPU that of
    AdamW's steps, and on CUDA that of batches, losses and SGD's."""
    if device.type == "cpu":
        return _ON_CPU
    if device.type != "cuda" or not has_triton():
        return OF_NETWORKS
    from trainers.accelerated.triton_sgd import Steps

    return replace(OF_NETWORKS, classification=classification(), sgd=Steps)


def classification() -> ClassificationKernels:
    """Triton's, which must be there."""
    from trainers.accelerated import triton_classification as kernels

    class Classification:
        most_classes = kernels.MOST_CLASSES
        cropped = staticmethod(kernels.cropped)

        def cross_entropy(self, logits: Tensor, labels: Tensor, replicas: int | None = None) -> Tensor:
            mean: Tensor = kernels.CrossEntropy.apply(logits, labels, replicas)
            return mean

    return Classification()
