"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images: $SEGCGAN_DATA, by default ../shared/data next to the checkout."""
    folder = Path(os.environ.get("SEGCGAN_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"needs the real images: {folder} is missing; set SEGCGAN_DATA")
    return folder
