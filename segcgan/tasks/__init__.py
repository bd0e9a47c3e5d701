"""Training: the one LightningModule, the plan of stages, the console."""

from segcgan.tasks.segmentation import SegmentationTask

__all__ = ["SegmentationTask"]
