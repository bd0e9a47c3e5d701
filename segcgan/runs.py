"""The run folder: what a training leaves behind and prediction loads.

::

    runs/<config>/<time>/   config.yaml  run.json  splits.csv  metrics.csv  cases.csv  report.html
        chain.json  chain.safetensors   what prediction loads; chain.json says in which format (absent = 1)
        stages/<stage>.json             written when a stage is finished
        checkpoints/<stage>/            last.ckpt, best.ckpt
        bank/  previews/  logs/
    runs/<config>/latest -> <time>
"""

import hashlib
import json
import os
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from segcgan.atomic import replacing, write_text
from segcgan.chain import Chain
from segcgan.claim import Claim, claimed
from segcgan.classes import ClassSpec
from segcgan.data.normalisation import Normalisation
from segcgan.data.patches import Sampling
from segcgan.errors import SegcganError
from segcgan.parts import build
from segcgan.segmenters import remove_modules

FORMAT = 2  # of chain.json, and of what its networks compute; raised when older weights would give other masks
_PARTS = ("segmenter", "refiner", "gate")


@dataclass(frozen=True)
class Run:
    """A run folder."""

    folder: Path

    @classmethod
    def create(cls, base: Path) -> "Run":
        """Make ``base/<time>`` and point ``base/latest`` at it."""
        stamp = time.strftime("%Y-%m-%d_%H-%M-%S")
        for attempt in range(100):
            folder = base / (stamp if attempt == 0 else f"{stamp}_{attempt}")
            try:
                folder.mkdir(parents=True)
            except FileExistsError:
                continue
            break
        else:
            raise SegcganError(f"{base} already holds 100 runs of this second; wait a moment and start again")
        link = base / f".latest-{os.getpid()}"
        try:
            link.unlink(missing_ok=True)
            link.symlink_to(folder.name)  # relative: the tree can be moved
            link.replace(base / "latest")
        except OSError:  # file systems without links
            (base / "latest.txt").write_text(folder.name, encoding="utf-8")
        return cls(folder)

    @classmethod
    def find(cls, where: Path) -> "Run":
        """Return the run at ``where``: a run folder, a config's folder (its latest run), or a file inside.

        Raises:
            SegcganError: there is none.
        """
        note = where / "latest.txt"
        latest = note.read_text(encoding="utf-8").strip() if note.is_file() else "latest"
        for folder in (where, where / latest, where.parent):
            if (folder / "run.json").is_file():
                return cls(folder.resolve())
        raise SegcganError(f"{where} is no run: it holds no run.json; give a folder like runs/<config>/latest")

    @property
    def facts(self) -> dict[str, Any]:
        """The content of run.json."""
        path = self.folder / "run.json"
        return dict(json.loads(path.read_text())) if path.is_file() else {}

    def note(self, **facts: Any) -> None:
        """Add facts to run.json."""
        write_json(self.folder / "run.json", self.facts | facts)

    def claim(self) -> AbstractContextManager[Claim]:
        """Hold the run for training, by a file ``running`` in it; see :func:`segcgan.claim.claimed`."""
        return claimed(self.folder / "running", "trained")

    @property
    def unused(self) -> list[str]:
        """Names of the parts of the segmenter that were left out (see :mod:`segcgan.segmenters.unused`)."""
        return list(self.facts.get("unused", []))

    @property
    def all_learn(self) -> bool:
        """Whether a dry run gave every parameter of the segmenter a gradient; False where nobody looked."""
        return bool(self.facts.get("all_learn", False))

    def finished(self, stage: str) -> bool:
        """Tell whether a stage is finished."""
        return (self.folder / "stages" / f"{stage}.json").is_file()

    def finish(self, stage: str, **facts: Any) -> None:
        """Mark a stage as finished."""
        (self.folder / "stages").mkdir(exist_ok=True)
        write_json(self.folder / "stages" / f"{stage}.json", facts)

    def weights(self, stage: str) -> Path:
        """Where the weights of a stage are."""
        return self.folder / "weights" / f"{stage}.safetensors"


def save_chain(run: Run, chain: Chain, specs: dict[str, Any], **facts: Any) -> None:
    """Write chain.json and chain.safetensors.

    Args:
        run: to write into.
        chain: fitted.
        specs: ``class_path`` and ``init_args`` of segmenter, refiner and gate; None where there is none.
        facts: more for chain.json (boundary width, orientation …).
    """
    tensors: dict[str, torch.Tensor] = {}
    for name in ("normalisation", *_PARTS):
        part = getattr(chain, name)
        if part is not None:
            # cloned, because safetensors refuses weights that two layers share
            tensors |= {f"{name}.{k}": v.detach().cpu().contiguous().clone() for k, v in part.state_dict().items()}
    with replacing(run.folder / "chain.safetensors") as draft:
        save_file(tensors, draft)
    described = {name: specs.get(name) if getattr(chain, name) is not None else None for name in _PARTS}
    plain = {
        "format": FORMAT,
        "channels": chain.channels,
        "classes": [asdict(spec) for spec in chain.classes],
        "sampling": asdict(chain.sampling),
        "bf16": chain.bf16,
        "temperatures": chain.temperatures,
        "thresholds": chain.thresholds,
        "unused": run.unused,
    }
    write_json(run.folder / "chain.json", described | plain | facts)


def load(where: Path | str, device: str = "cpu", trust: Iterable[str] = ()) -> Chain:
    """Load the chain of a run: plain configuration and tensors, no pickle.

    Args:
        where: see :meth:`Run.find`.
        device: for the networks.
        trust: further packages whose classes may be built.

    Raises:
        SegcganError: no run, an unfinished or damaged run, or a class outside the trusted packages.
    """
    run = Run.find(Path(where))
    path = run.folder / "chain.safetensors"
    if not path.is_file():
        raise SegcganError(
            f"{run.folder} holds no trained chain yet; finish its training with the same fit command"
        )
    try:
        chain = _assemble((run.folder / "chain.json").read_bytes(), path, trust)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        why = " ".join(str(error).split())[:300]
        cure = "it is damaged or of another version, so copy or train it again"
        msg = f"the chain in {run.folder} cannot be loaded ({why}); {cure}"
        raise SegcganError(msg) from error
    return chain.to(torch.device(device))


def _assemble(description: bytes, weights: Path, trust: Iterable[str]) -> Chain:
    described, tensors = json.loads(description), load_file(weights)
    version = int(described.get("format", 1))
    if version > FORMAT:
        cure = "update segcgan, or train again with this one"
        raise SegcganError(f"{weights.parent} has format {version}, newer than {FORMAT}, the last known here; {cure}")
    parts: dict[str, nn.Module | None] = {"normalisation": Normalisation(described["channels"])}
    for name in _PARTS:
        parts[name] = build(described[name], trust) if described[name] else None
    if parts["segmenter"] is not None:
        remove_modules(parts["segmenter"], described.get("unused", []))
    for name, part in parts.items():
        if part is not None:
            state = {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")}
            part.load_state_dict(state)
    if version < FORMAT and parts["refiner"] is not None:
        _compute_as_before(parts["refiner"])
    sampling: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in described["sampling"].items()
    }
    return Chain(
        **parts,  # type: ignore[arg-type]
        classes=[ClassSpec(**spec) for spec in described["classes"]],
        sampling=Sampling(**sampling),
        bf16=described["bf16"],
        temperatures=described.get("temperatures", {}),
        thresholds=described.get("thresholds", {}),
        tag=hashlib.sha256(weights.read_bytes() + description).hexdigest()[:16],
    )


def _compute_as_before(refiner: nn.Module) -> None:
    """Let a refiner of format 1 compute as it was trained: until then latents were normalised with the features."""
    for part in refiner.modules():
        if hasattr(part, "joint_norm"):
            part.joint_norm = True  # type: ignore[assignment]


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically."""
    write_text(path, json.dumps(content, indent=2, default=str))
