"""The chain that prediction runs: normalisation → segmenter → refiner → gate."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from segcgan.batch import Batch
from segcgan.classes import ClassSpec
from segcgan.data.normalisation import Normalisation
from segcgan.data.patches import Sampling
from segcgan.errors import SegcganError
from segcgan.gates import Gate
from segcgan.masks import MaskDistribution
from segcgan.noise import Noise
from segcgan.refiners import Refiner


@dataclass
class Chain:
    """Everything needed to go from a case to a mask.

    Args:
        normalisation: fitted on the training data.
        segmenter: image (B, C, H, W) → logits (B, K, H, W); None when coarse masks come from elsewhere.
        refiner: None = the coarse mask is the result.
        gate: None = the refined mask is always kept.
        classes: index 0 is the background.
        sampling: patch size, context and spacing the networks were trained with.
        bf16: run the networks in bfloat16.
        temperatures: of the segmenter's ("coarse") and of the refined probability, as they are written; 1 where
            nothing was fitted. Neither these nor thresholds touch coarse masks that somebody else made.
        thresholds: of the foreground classes in the coarse and the refined probability, as they are written (see
            :func:`segcgan.metrics.decision.decide`); the most likely class where nothing was fitted.
        tag: identifies weights and settings, so that an interrupted prediction is only resumed by the same chain.
    """

    normalisation: Normalisation
    segmenter: nn.Module | None
    refiner: Refiner | None
    gate: Gate | None
    classes: list[ClassSpec]
    sampling: Sampling
    bf16: bool = False
    temperatures: dict[str, float] = field(default_factory=dict)
    thresholds: dict[str, list[float]] = field(default_factory=dict)
    tag: str = ""

    def __post_init__(self) -> None:
        """Lay the weights out as in training: the same sums."""
        lay_out(self.segmenter, self.refiner)

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        for part in (self.segmenter, self.refiner):
            for parameter in part.parameters() if part is not None else ():
                return parameter.device
        return torch.device("cpu")

    @property
    def variants(self) -> list[str]:
        """Masks the chain draws: "coarse" and, with a refiner, "refined"."""
        return ["coarse"] if self.refiner is None else ["coarse", "refined"]

    @property
    def channels(self) -> int:
        """Channels of the files the chain was trained on."""
        return len(self.normalisation.mean)

    def to(self, device: torch.device) -> "Chain":
        """Move the networks; normalisation stays on the CPU, where windows are read."""
        for part in (self.segmenter, self.refiner):
            if part is not None:
                part.to(device)
        return self

    def segment(self, image: Tensor) -> Tensor:
        """Return coarse probabilities (B, K, H, W) float32 of network input (B, C, H, W), on the CPU.

        Raises:
            SegcganError: the network's number of classes is not that of the config.
        """
        if self.segmenter is None:
            raise SegcganError("this chain has no segmenter: give coarse masks")
        with torch.inference_mode(), self._precision():
            logits = self.segmenter.eval()(image.to(self.device))
        if logits.shape[1] != len(self.classes):
            listed = f"data.classes lists {len(self.classes)}"
            msg = f"the segmenter returns {logits.shape[1]} classes but {listed}; make them equal"
            raise SegcganError(msg)
        return logits.float().softmax(1).cpu()

    def refine(self, batch: Batch, seed: int, samples: int = 1, keep: bool = False) -> MaskDistribution:
        """Return the distribution of refined masks, on the CPU; a refiner without chance is asked once."""
        if self.refiner is None:
            raise SegcganError("this chain has no refiner")
        moved, masks = batch.to(self.device), MaskDistribution(keep)
        noises = [Noise(seed, sample, moved) for sample in range(samples if self.refiner.stochastic else 1)]
        with torch.inference_mode(), self._precision():
            for logits in self.refiner.eval().samples(moved, noises):
                masks.add(logits.float().cpu())
        return masks

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16 and has_bf16(self.device.type))


def lay_out(*networks: nn.Module | None) -> None:
    """Put the weights of networks into channels-last memory: up to a third faster, other sums in the last digits."""
    for network in networks:
        if network is not None:
            network.to(memory_format=torch.channels_last)


def has_bf16(device: str) -> bool:
    """Tell whether a kind of device computes in bfloat16; a CPU without it emulates it, many times slower."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return device == "cpu" and bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
