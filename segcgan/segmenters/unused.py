"""Parts of a network that take no part in its masks: found by a dry run and left out.

An encoder of segmentation_models_pytorch cut short by ``encoder_depth`` keeps its last layers. They learn nothing, and
still they are averaged, stored, and waited for by DDP.
"""

import copy
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from segcgan.batch import Batch
from segcgan.noise import Noise
from segcgan.segmenters.base import segmenter_loss


def unused_modules(segmenter: nn.Module, batch: Batch) -> list[str]:
    """Return the names of the largest submodules that no training step and no prediction needs.

    Such a module is never called and none of its parameters gets a gradient. The network itself, its running
    statistics and torch's random numbers stay as they are.

    Args:
        segmenter: image (B, C, *S) → logits (B, K, *S).
        batch: one or two windows with a target.
    """
    network, called = copy.deepcopy(segmenter).requires_grad_(True), set[nn.Module]()
    for module in network.modules():
        module.register_forward_pre_hook(lambda module, _: called.add(module))
    with torch.random.fork_rng():
        terms, _ = segmenter_loss(network.train(), batch, Noise(0, 0, batch))
        torch.stack([value.float() for value in terms.values()]).sum().backward()
        with torch.no_grad():
            network.eval()(batch.image)
    return list(_unused(network, called, ""))


def remove_modules(network: nn.Module, names: Iterable[str]) -> int:
    """Replace submodules by empty ones and return how many parameters that saves."""
    saved = 0
    for name in names:
        parent, _, last = name.rpartition(".")
        saved += sum(parameter.numel() for parameter in network.get_submodule(name).parameters())
        setattr(network.get_submodule(parent), last, nn.Identity())
    return saved


def without(state: dict[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
    """Return weights without those of removed modules, which a run of an older version still holds."""
    gone = tuple(f"{name}." for name in names)
    return {key: value for key, value in state.items() if not key.startswith(gone)}


def _unused(module: nn.Module, called: set[nn.Module], prefix: str) -> Iterator[str]:
    for name, child in module.named_children():
        parameters = list(child.parameters())
        if any(each in called for each in child.modules()) or any(p.grad is not None for p in parameters):
            yield from _unused(child, called, f"{prefix}{name}.")
        elif parameters:
            yield f"{prefix}{name}"
