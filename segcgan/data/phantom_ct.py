"""CT phantom: a piece of abdomen as a DICOM series with a NIfTI liver mask."""

import gzip
import io
from typing import Any

import numpy as np

from segcgan.case import Array

SLICE = (96, 96)
SPACING = (4.0, 2.0, 2.0)  # mm: slice, row, column
COMMON_TAGS: dict[str, Any] = {
    "SpecificCharacterSet": "ISO_IR 192",
    "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
    "StudyDate": "20200101",
    "StudyTime": "120000",
    "StudyID": "1",
    "AccessionNumber": "",
    "ReferringPhysicianName": "",
    "Manufacturer": "segcgan phantom",
    "Modality": "CT",
    "PatientBirthDate": "",
    "PatientSex": "O",
    "PatientPosition": "HFS",
    "PositionReferenceIndicator": "",
    "SeriesNumber": 1,
    "AcquisitionNumber": 1,
    "KVP": 120,
    "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
    "PixelSpacing": list(SPACING[1:]),
    "SliceThickness": SPACING[0],
    "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2",
    "Rows": SLICE[0],
    "Columns": SLICE[1],
    "BitsAllocated": 16,
    "BitsStored": 12,
    "HighBit": 11,
    "PixelRepresentation": 0,
    "RescaleIntercept": -1024,
    "RescaleSlope": 1,
    "RescaleType": "HU",
    "WindowCenter": 60,
    "WindowWidth": 400,
}


def ct_files(rng: np.random.Generator, index: int) -> dict[str, bytes]:
    """Make one patient: DICOM slices, and the mask as NIfTI in the same place.

    File names and instance numbers follow no order: only the positions tell where a slice belongs.

    Returns:
        Content by relative path: ``images/<patient>/NNNN.dcm``, ``masks/<patient>.nii.gz``.
    """
    patient = f"phantom_{index:02d}"
    volume, liver = _abdomen(rng)
    origin = np.round(rng.uniform(-30, 30, 3) - [96, 96, 300], 1)  # LPS mm of the first voxel: x, y, z
    names, numbers = rng.permutation(len(volume)) + 1, rng.permutation(len(volume)) + 1
    entropy = [patient, str(rng.integers(2**62))]
    files = {f"masks/{patient}.nii.gz": _nifti(liver, origin)}
    for place, pixels in enumerate(volume):
        position = origin + np.array([0, 0, place * SPACING[0]])
        content = _dicom_slice(pixels, patient, position, int(numbers[place]), entropy)
        files[f"images/{patient}/{names[place]:04d}.dcm"] = content
    return files


def _abdomen(rng: np.random.Generator) -> tuple[Array, Array]:
    """A piece of abdomen: HU (D, 96, 96) float, liver (D, 96, 96) bool; axes towards head, back, left."""
    from scipy import ndimage  # slow to import

    shape = (int(rng.integers(12, 17)), *SLICE)
    # Millimetres from the centre of the body, bent so that no two patients have organs of one shape.
    z, y, x = (
        (np.arange(size) - (size - 1) / 2).reshape([-1 if axis == own else 1 for axis in range(3)]) * SPACING[own]
        + 4 * _smooth(rng, shape, (3, 9, 9))
        for own, size in enumerate(shape)
    )

    def blob(place: tuple[float, float, float], radii: tuple[float, float, float], jitter: float = 5) -> Array:
        """Depth in mm below the surface of an ellipsoid given as (x, y, z); negative outside."""
        centre = place + rng.normal(0, jitter, 3)
        size = np.asarray(radii) * rng.uniform(0.85, 1.15, 3)
        far = np.sqrt(
            ((x - centre[0]) / size[0]) ** 2 + ((y - centre[1]) / size[1]) ** 2 + ((z - centre[2]) / size[2]) ** 2
        )
        return (1 - far) * size.min()

    body = blob((0, 0, 0), (86, 66, 900), jitter=1)
    inside = body - 12  # fat and muscle
    hu = np.full(shape, -1000.0)

    def paint(depth: Array, value: float | Array) -> None:
        share = np.clip(depth / 2 + 0.5, 0, 1)  # partial volume over 2 mm
        hu[:] = hu * (1 - share) + value * share

    paint(body, -100 + 8 * _smooth(rng, shape, 3))
    paint(body - 6, 55 + 8 * _smooth(rng, shape, 1))
    paint(inside, -95 + 10 * _smooth(rng, shape, 2))
    level = rng.uniform(85, 125)  # HU of the liver: depends on the time after the contrast agent
    stomach = np.minimum(blob((30, -22, 8), (30, 20, 40)), inside - 2)
    liver = np.maximum(blob((-34, -6, 4), (38, 40, 44)), blob((-4, -24, 12), (36, 18, 22)))
    liver = np.minimum(liver + 3 * _smooth(rng, shape, (1, 3, 3)), inside - 2)
    kidney = blob((-36, 34, -22), (15, 15, 30))
    cava = np.minimum(blob((-10, 12, 0), (11, 10, 60)), inside - 2)
    liver = np.minimum(liver, -1 - np.maximum(kidney, cava))
    pieces, _ = ndimage.label(liver > 0)
    liver[(pieces > 0) & (pieces != np.bincount(pieces[pieces > 0]).argmax())] = -5  # an organ is in one piece
    for _ in range(6):  # bowel
        paint(np.minimum(blob((10, -10, -28), (14, 12, 12), jitter=24), inside - 2), rng.uniform(20, 80))
    paint(stomach, level - rng.uniform(5, 40))
    paint(np.minimum(blob((56, 20, 12), (19, 24, 28)), inside - 2), level + rng.uniform(-12, 15))  # spleen
    paint(kidney, level + rng.uniform(0, 40))
    paint(blob((36, 34, -16), (15, 15, 30)), level + rng.uniform(0, 40))
    paint(cava, level + rng.uniform(-20, 10))
    paint(liver, level + 4 * _smooth(rng, shape, 2))
    vessels = 2.2 - 8 * np.abs(_smooth(rng, shape, (2, 6, 6))) - 4 * np.abs(_smooth(rng, shape, (2, 6, 6)))
    paint(np.minimum(vessels, liver - 3), level + rng.uniform(20, 45))
    for _ in range(int(rng.integers(0, 4))):  # tumours, part of the organ
        paint(np.minimum(blob((-34, -6, 4), (9, 9, 9), jitter=16), liver), level - rng.uniform(25, 60))
    paint(blob((0, 22, 0), (8, 8, 900), jitter=2), level + rng.uniform(20, 60))  # aorta
    paint(blob((0, 44, 0), (15, 14, 900), jitter=2), 220 + 60 * _smooth(rng, shape, 1))  # spine
    paint(blob((0, 52, 0), (7, 6, 900), jitter=1), 30)
    hu = ndimage.gaussian_filter(hu, (0, 0.6, 0.6))
    noise = _smooth(rng, shape, (0, 0.6, 0.6)) * rng.uniform(14, 24)
    return hu + noise, liver > 0


def _dicom_slice(pixels: Array, patient: str, position: Array, number: int, entropy: list[str]) -> bytes:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    def uid(*parts: str) -> str:
        return generate_uid(entropy_srcs=[*entropy, *parts])

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = uid("instance", str(number))
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = Dataset()
    data.file_meta = meta
    own = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "StudyInstanceUID": uid("study"),
        "SeriesInstanceUID": uid("series"),
        "FrameOfReferenceUID": uid("frame"),
        "PatientName": patient,
        "PatientID": patient,
        "InstanceNumber": number,
        "ImagePositionPatient": [round(float(value), 3) for value in position],
        "PixelData": np.clip(np.round(pixels + 1024), 0, 4095).astype("<u2").tobytes(),
    }
    for keyword, value in (COMMON_TAGS | own).items():
        setattr(data, keyword, value)
    file = io.BytesIO()
    data.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _nifti(mask: Array, origin: Array) -> bytes:
    import nibabel  # slow to import

    lps = np.diag([SPACING[2], SPACING[1], SPACING[0], 1.0])
    lps[:3, 3] = origin
    image = nibabel.Nifti1Image(mask.transpose(2, 1, 0).astype(np.uint8), np.diag([-1, -1, 1, 1]) @ lps)
    image.header.set_xyzt_units("mm")
    return gzip.compress(image.to_bytes(), mtime=0)  # a time stamp would make equal phantoms differ


def _smooth(rng: np.random.Generator, shape: tuple[int, ...], sigma: float | tuple[float, ...]) -> Array:
    """Normal noise of variance 1, smooth over ``sigma`` voxels."""
    from scipy import ndimage  # slow to import

    noise = ndimage.gaussian_filter(rng.standard_normal(shape), sigma)
    return (noise - noise.mean()) / noise.std()
