"""Steps of the kernel beside the formula's in double."""

import torch

from trainers.accelerated import triton_sgd
from trainers.optimizers.sgd import Sgd


def steps_are_the_formulas() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 40, 3), torch.nn.BatchNorm2d(40), torch.nn.Conv2d(40, 7, 3))
    network.to(memory_format=torch.channels_last)
    optimizer = Sgd(network, momentum=0.9, weight_decay=0.01)
    truth = [parameter.detach().double() for parameter in network.parameters()]
    momenta = [torch.zeros_like(parameter) for parameter in truth]
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    lists = list(network.parameters()), gradients, optimizer.momenta
    steps, start = triton_sgd.Steps(*lists, momentum=0.9, weight_decay=0.01), [t.detach().clone() for t in lists[0]]
    for rate in (0.5, 0.25, 0.125):
        for gradient, parameter, momentum in zip(gradients, truth, momenta, strict=True):
            gradient.normal_()
            momentum.mul_(0.9).add_(gradient.double() + 0.01 * parameter)
            parameter.sub_(rate * momentum)
        steps.step(torch.tensor(rate))
        assert all(gradient.eq(0).all() for gradient in gradients)
    for parameter, exact, before in zip(lists[0], truth, start, strict=True):
        assert not torch.equal(parameter, before)
        torch.testing.assert_close(parameter.double(), exact, rtol=1e-5, atol=1e-6)
    for ours, exact in zip(optimizer.momenta, momenta, strict=True):
        torch.testing.assert_close(ours.double(), exact, rtol=1e-5, atol=1e-6)
    try:
        triton_sgd.Steps([torch.zeros(2, 3)], [torch.zeros(3, 2).T], [torch.zeros(2, 3)], 0.9, 0)
    except ValueError:
        return
    raise AssertionError("strides that differ")
