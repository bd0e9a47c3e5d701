"""DICOM SEG: masks written next to the series they belong to, and read back as labels."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.uid import CTImageStorage, MRImageStorage, SecondaryCaptureImageStorage, generate_uid

import segcgan
from segcgan.case import Array, Case, LabelReader, Window
from segcgan.classes import ClassSpec
from segcgan.colours import Rgb, class_colours
from segcgan.errors import SegcganError
from segcgan.formats.dicom_slices import DAMAGED, Plane, brief, load
from segcgan.formats.grid import grid_of

TISSUE = "85756007|Tissue"  # what a class without a SNOMED code is said to be
_TYPE_2 = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
           "AccessionNumber", "ReferringPhysicianName", "PositionReferenceIndicator")  # fmt: skip
_STORAGE = {"CT": CTImageStorage, "MR": MRImageStorage}


def write_segmentation(path: Path, case: Case, labels: Array, classes: list[ClassSpec]) -> None:
    """Write a BINARY DICOM SEG that refers to the source images, one segment per class but the background.

    Args:
        path: the file.
        case: a DICOM case; its source files are read again for patient, study and frame of reference. What they
            lack is filled in memory only.
        labels: class indices (slice, row, column) uint8 of the whole series as stored; may be empty of segments.
        classes: segment i is ``classes[i]``.

    Raises:
        SegcganError: the source headers do not allow a valid SEG.
    """
    import highdicom

    planes: list[Plane] = case.stored["planes"]
    step = float(np.linalg.norm(grid_of(case, str(case.path)).affine[:3, 0]))
    colours = class_colours(classes)
    try:
        sources = list(_sources(planes, step))
        if planes[0].frame is not None:  # frames of one file go in the file's order, ours are sorted by position
            labels = labels[np.argsort([plane.frame or 0 for plane in planes])]
        with warnings.catch_warnings():
            # highdicom's advice on the patient's name, which is the source's and is copied as it is
            warnings.filterwarnings("ignore", "The string .* is unlikely to represent", UserWarning)
            segmentation = highdicom.seg.Segmentation(
                source_images=sources,
                pixel_array=np.ascontiguousarray(labels),
                segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
                segment_descriptions=[_segment(i, classes[i], colours[i]) for i in range(1, len(classes))],
                series_instance_uid=generate_uid(),
                series_number=min(int(sources[0].get("SeriesNumber") or 0) + 1000, 2**31 - 1),
                sop_instance_uid=generate_uid(),
                instance_number=1,
                manufacturer="segcgan",
                manufacturer_model_name="segcgan",
                software_versions=segcgan.__version__,
                device_serial_number="0",
                series_description="segcgan",
                omit_empty_frames=bool(labels.any()),  # a SEG without frames is not valid
            )
        segmentation.save_as(path)
    except DAMAGED as error:
        msg = f"{case.path}: its headers do not allow a DICOM SEG ({brief(error)}); use the NIfTI mask instead"
        raise SegcganError(msg) from error


def _segment(number: int, spec: ClassSpec, colour: Rgb) -> Any:
    import highdicom

    code, _, meaning = (spec.snomed or TISSUE).partition("|")
    if not code.strip().isdigit() or not meaning.strip():
        msg = f"class {spec.name!r}: snomed {spec.snomed!r} is not 'code|meaning'; write it like '10200004|Liver'"
        raise SegcganError(msg)
    concept = highdicom.sr.CodedConcept
    kind = ("85756007", "SCT", "Tissue") if spec.snomed is None else ("123037004", "SCT", "Anatomical Structure")
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=spec.name[:64],
        segmented_property_category=concept(*kind),
        segmented_property_type=concept(code.strip(), "SCT", meaning.strip()[:64]),
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name="segcgan",
            family=concept("123110", "DCM", "Artificial Intelligence"),
            version=segcgan.__version__,
        ),
        display_color=highdicom.color.CIELabColor.from_rgb(*colour),
    )


def _sources(planes: list[Plane], step: float) -> Iterator[Dataset]:
    """Yield the headers of the source files in slice order, completed with what highdicom requires."""
    fallback = {name: generate_uid() for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")}
    study = ""
    for path in dict.fromkeys(plane.path for plane in planes):
        dataset = load(path, stop_before_pixels=True)
        dataset.decode()
        dataset.SpecificCharacterSet = "ISO_IR 192"  # highdicom refuses some character sets that scanners write
        for name in _TYPE_2:
            if name not in dataset:
                setattr(dataset, name, "")
        dataset.setdefault("Modality", "OT")
        if not dataset.get("SliceThickness"):
            dataset.SliceThickness = round(step, 6)
        if planes[0].position is None:
            fallback.pop("FrameOfReferenceUID", None)  # without positions there is no frame to refer to
        fallback["SOPInstanceUID"] = generate_uid()
        fallback["SOPClassUID"] = _STORAGE.get(dataset.get("Modality"), SecondaryCaptureImageStorage)
        for name, uid in fallback.items():
            if not dataset.get(name):
                setattr(dataset, name, uid)
        study = study or dataset.StudyInstanceUID
        dataset.StudyInstanceUID = study  # some anonymisers give every slice of a series a study of its own
        yield dataset


def open_segmentation(path: Path, case: Case) -> LabelReader:
    """Open a DICOM SEG as labels of a case; segments keep their numbers, voxels in no segment are 0.

    Args:
        path: a BINARY or LABELMAP SEG whose frames lie on the case's grid, or on a part of it.
        case: a DICOM or NIfTI case.

    Returns:
        a reader of label values (d, h, w) for absolute windows of the case's file.

    Raises:
        SegcganError: damaged, overlapping or fractional segments, no positions, or another grid.
    """
    import highdicom

    grid = grid_of(case, str(path))
    planes: list[Plane] = case.stored.get("planes", [])
    try:
        segmentation = highdicom.seg.segread(path)
        if planes and planes[0].position is None:  # a picture: the SEG names it instead of lying in its space
            uid = load(planes[0].path, stop_before_pixels=True).SOPInstanceUID
            affine = grid.affine
            array = segmentation.get_pixels_by_source_instance(
                [uid], combine_segments=True, ignore_spatial_locations=True, assert_missing_frames_are_empty=True
            )
        else:
            volume = segmentation.get_volume(combine_segments=True)
            affine, array = np.asarray(volume.affine, float), np.asarray(volume.array)
    except DAMAGED as error:
        msg = f"{path}: this DICOM file cannot be read as a label map ({brief(error)}); export the mask as NIfTI"
        raise SegcganError(msg) from error
    axes, start = grid.place(affine, (array.shape[0], array.shape[1], array.shape[2]), str(path))
    part = axes.apply(array)
    labels = np.zeros(grid.case_shape, array.dtype)
    labels[tuple(slice(first, first + size) for first, size in zip(start, part.shape, strict=True))] = part

    def read(window: Window) -> Array:
        return labels[window]

    return read
