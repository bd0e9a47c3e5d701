"""Parts of a network that take no part in its masks: found by a dry run and left out.

An encoder of segmentation_models_pytorch cut short by ``encoder_depth`` keeps its last layers. They learn nothing, and
still they are averaged, stored, and waited for by DDP.
"""

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from segcgan.batch import Batch
from segcgan.noise import Noise
from segcgan.priors import Prior
from segcgan.segmenters.base import segmenter_loss


def unused_modules(segmenter: nn.Module, batch: Batch) -> list[str]:
    """Return the names of the largest submodules that no training step and no prediction needs.

    Such a module is never called, none of its parameters gets a gradient, and without it losses and masks are the same:
    some networks use the weights of a module that they never call (``nn.MultiheadAttention``), where a frozen part has
    no gradients either. A prior is trained in a stage of its own and stays whole. The network itself, its running
    statistics and torch's random numbers stay as they are.

    Args:
        segmenter: image (B, C, *S) → logits (B, K, *S).
        batch: one or two windows with a target.
    """
    network, called = copy.deepcopy(segmenter).requires_grad_(True), set[nn.Module]()
    for module in network.modules():
        module.register_forward_pre_hook(lambda module, _: called.add(module))
    _learn(network, batch)
    with torch.no_grad(), torch.random.fork_rng():
        network.eval()(batch.image)
    names = list(_unused(network, called, ""))
    if not names:
        return []
    wanted = _results(segmenter, batch, [])
    if _same(_results(segmenter, batch, names), wanted):
        return names
    return [name for name in names if _same(_results(segmenter, batch, [name]), wanted)]


def all_learn(segmenter: nn.Module, batch: Batch, unused: Sequence[str] = ()) -> bool:
    """Tell whether a training step reaches every parameter that is to learn; arguments as of :func:`unused_modules`.

    Args:
        segmenter: network.
        batch: one or two windows with a target.
        unused: modules that are left out.
    """
    network = copy.deepcopy(segmenter)
    remove_modules(network, unused)
    _learn(network, batch)
    return all(each.grad is not None for each in network.parameters() if each.requires_grad)


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


def _learn(network: nn.Module, batch: Batch) -> None:
    """Give the parameters of a network the gradients of one training step."""
    with torch.random.fork_rng():
        terms, _ = segmenter_loss(network.train(), batch, Noise(0, 0, batch))
        torch.stack([value.float() for value in terms.values()]).sum().backward()


def _results(segmenter: nn.Module, batch: Batch, left_out: Sequence[str]) -> list[Tensor] | None:
    """Return logits and losses of random images without some modules; None if the network cannot do without them."""
    network = copy.deepcopy(segmenter)
    remove_modules(network, left_out)
    chance = torch.Generator().manual_seed(0)
    batch = replace(batch, image=torch.randn(batch.image.shape, generator=chance))
    try:
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(0)
            logits = network.eval()(batch.image)
            terms, _ = segmenter_loss(network.train(), batch, Noise(0, 0, batch))
    except Exception:  # whatever a network does with what is no longer there
        if left_out:
            return None
        raise
    return [logits, *terms.values()]


def _same(found: list[Tensor] | None, wanted: list[Tensor] | None) -> bool:
    if found is None or wanted is None:
        return False
    return all(torch.allclose(a, b, equal_nan=True) for a, b in zip(found, wanted, strict=True))


def _unused(module: nn.Module, called: set[nn.Module], prefix: str) -> Iterator[str]:
    for name, child in module.named_children():
        parameters = list(child.parameters())
        if isinstance(child, Prior):
            continue
        if any(each in called for each in child.modules()) or any(p.grad is not None for p in parameters):
            yield from _unused(child, called, f"{prefix}{name}.")
        elif parameters:
            yield f"{prefix}{name}"
