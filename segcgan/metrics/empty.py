"""Masks that are rightly empty: one rule for every score, table, comparison and gate."""

from typing import Literal

RIGHTLY_EMPTY = 1.0  # NaN: such masks have no score, and means leave them out

Status = Literal["ok", "both_empty", "pred_empty", "ref_empty", "unscored"]


def overlap_where_empty(status: Status, empty: float = RIGHTLY_EMPTY) -> float:
    """Return what any overlap-like score is where a mask is empty: Dice, IoU, Boundary IoU, NSD, boundary F, clDice.

    Args:
        status: which masks are empty; "unscored" if no pixel is valid and known.
        empty: the score of a mask that is rightly empty; NaN = none.

    Returns:
        ``empty`` if both masks are empty, 0 if one is: a missed or an invented object; NaN if nothing was scored.
    """
    if status == "unscored":
        return float("nan")
    return empty if status == "both_empty" else 0.0


def said(empty: float) -> str:
    """Say the rule, for tables and conventions."""
    return f"rightly empty {empty:g}"
