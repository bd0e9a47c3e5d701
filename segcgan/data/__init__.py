"""From files to training windows: manifest, splits, normalisation, augmentation, the data module."""
