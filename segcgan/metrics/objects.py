"""Objects found, missed and invented, and the parts of a scene: what lies between a pixel and a case."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from segcgan.case import Array
from segcgan.metrics.empty import RIGHTLY_EMPTY

HARM = 0.02  # a case or an object is harmed when its IoU falls by more than this
CONVENTION = (
    "connected components (8 neighbours in the plane, 26 in a volume); a predicted object belongs to a reference "
    "object when their IoU is above 0.5, which at most one can be (Kirillov 2019)"
)


@dataclass(frozen=True)
class Object:
    """A reference object and what a variant made of it, or a predicted object without one."""

    case: str
    group: str
    variant: str
    class_name: str
    kind: str  # "reference", or "invented": a predicted object that belongs to none
    number: int  # of the component within its case, class and kind
    area: int  # pixels
    iou: float  # of a reference object with the predicted one that overlaps it most; 0 for an invented one

    @property
    def key(self) -> tuple[str, str, str, str, int]:
        """What makes an object unique: one of a case scored twice (DDP pads its last batch) counts once."""
        return self.case, self.variant, self.class_name, self.kind, self.number


def find_objects(reference: Array, prediction: Array) -> tuple[Array, Array, Array, Array]:
    """Label two binary masks (D, H, W) and compare every pair of components that overlap.

    Returns:
        areas of the reference objects (N,) and of the predicted ones (M,); the largest IoU of each reference object
        (N,) and of each predicted one (M,), 0 where it overlaps none.
    """
    from scipy.ndimage import label

    around = np.ones((3, 3, 3))
    (first, n), (second, m) = label(reference, around), label(prediction, around)
    areas = [np.bincount(each.ravel(), minlength=count + 1)[1:] for each, count in ((first, n), (second, m))]
    shared = (first > 0) & (second > 0)
    pairs, both = np.unique(first[shared].astype(np.int64) * (m + 1) + second[shared], return_counts=True)
    i, j = pairs // (m + 1) - 1, pairs % (m + 1) - 1
    iou = both / (areas[0][i] + areas[1][j] - both)
    best = np.zeros(n), np.zeros(m)
    np.maximum.at(best[0], i, iou)
    np.maximum.at(best[1], j, iou)
    return areas[0], areas[1], best[0], best[1]


def score_objects(
    case: str, group: str, masks: dict[str, Array], names: Sequence[str], known: Array
) -> list[Object]:
    """Compare the objects of every variant with those of the reference.

    Args:
        case: its name.
        group: patient or scene.
        masks: class indices (D, H, W): "reference" and the variants.
        names: of all classes, the background first.
        known: (D, H, W) bool; where False there is neither reference nor prediction.
    """
    found = []
    for variant, mask in masks.items():
        for index, name in enumerate(names) if variant != "reference" else ():
            if index == 0:
                continue
            truth, guess = (masks["reference"] == index) & known, (mask == index) & known
            mine, other, best, rival = find_objects(truth, guess)
            made = [("reference", number, int(area), float(best[number])) for number, area in enumerate(mine)]
            made += [("invented", int(each), int(other[each]), 0.0) for each in np.flatnonzero(rival <= 0.5)]
            found += [Object(case, group or case, variant, name, *rest) for rest in made]
    return found


@dataclass(frozen=True)
class Detection:
    """Precision, recall and panoptic quality over any number of cases; 1 where there is rightly no object."""

    precision: float
    recall: float
    f1: float  # the recognition quality (RQ) of Kirillov 2019
    sq: float  # segmentation quality: mean IoU of what was found; NaN when nothing was
    pq: float  # sq × f1; 0 when there are objects and nothing was found


def detection(objects: Iterable[Object], empty: float = RIGHTLY_EMPTY) -> Detection:
    """Count objects of one variant; precision is NaN when nothing was predicted, recall when there is nothing.

    Args:
        objects: of any number of cases.
        empty: every score where there is no object and none was predicted.
    """
    found = list(objects)
    if not found:
        return Detection(*[empty] * 5)
    hits = [each.iou for each in found if each.kind == "reference" and each.iou > 0.5]
    missed = sum(each.kind == "reference" for each in found) - len(hits)
    invented = sum(each.kind == "invented" for each in found)

    def share(a: float, b: float) -> float:
        return a / b if b else float("nan")

    total = len(hits) + 0.5 * (missed + invented)
    return Detection(
        precision=share(len(hits), len(hits) + invented),
        recall=share(len(hits), len(hits) + missed),
        f1=share(len(hits), total),
        sq=share(sum(hits), len(hits)),
        pq=share(sum(hits), total),
    )
