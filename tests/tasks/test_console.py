"""What a log shows of an epoch."""

import logging

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from segcgan.tasks.console import EpochLines


class Line(pl.LightningModule):
    """One weight; its validation score is the number of the epoch."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch, _):
        loss = (self.weight * batch).mean()
        self.log("train/loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, _):
        self.log("val/score", float(self.current_epoch))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def test_a_score_stands_beside_the_epoch_it_was_measured_in_only(caplog):
    data = DataLoader(torch.ones(2, 1))
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    often = {"max_epochs": 5, "check_val_every_n_epoch": 2, "num_sanity_val_steps": 0}
    trainer = pl.Trainer(accelerator="cpu", callbacks=[EpochLines()], **often, **quiet)
    with caplog.at_level(logging.INFO, "segcgan"):
        trainer.fit(Line(), data, data)
    lines = [record.message for record in caplog.records if record.name == "segcgan"]
    assert [line.partition("val/score ")[2].partition(" ")[0] for line in lines] == ["", "1.0000", "", "3.0000", ""]
