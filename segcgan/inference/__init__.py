"""Prediction in strips: cases and rasters of any size, one engine for scans and scenes."""
