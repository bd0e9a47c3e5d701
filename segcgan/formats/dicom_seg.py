"""DICOM SEG: masks written next to the series they belong to, and read back as labels."""

import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.uid import generate_uid

import segcgan
from segcgan.case import Array, Case, LabelReader, Window
from segcgan.classes import ClassSpec
from segcgan.colours import Rgb, class_colours
from segcgan.errors import SegcganError
from segcgan.formats.dicom_slices import DAMAGED, Plane, brief
from segcgan.formats.dicom_source import Sources, read_sources
from segcgan.formats.grid import Grid, grid_of

TISSUE = "85756007|Tissue"  # what a class without a SNOMED code is said to be
_NUMBERS = 2_000_000  # greatest series number that three digits can be added to, and the range of IS be kept


def write_segmentation(path: Path, case: Case, labels: Array, classes: list[ClassSpec]) -> None:
    """Write a BINARY DICOM SEG that refers to the source images, one segment per class but the background.

    A file whose stem ends with ``_coarse`` is described as the coarse mask: it gets a series number, descriptions and
    labels of its own. What is left out or filled in is added to ``case.notes``.

    Args:
        path: the file.
        case: a DICOM case; its source files are read again for patient, study and frame of reference. What they
            lack is filled in memory only.
        labels: class indices (slice, row, column) uint8 of the whole series as stored; may be empty of segments.
        classes: segment i is ``classes[i]``.

    Raises:
        SegcganError: the source headers or the classes do not allow a valid SEG.
        OSError: the file cannot be written.
    """
    import highdicom

    planes: list[Plane] = case.stored["planes"]
    step = float(np.linalg.norm(grid_of(case, str(case.path)).affine[:3, 0]))
    coarse = path.stem.endswith("_coarse")
    colours = class_colours(classes)
    try:
        sources = read_sources(planes, step)
        if planes[0].frame is not None:  # frames of one file go in the file's order, ours are sorted by position
            labels = labels[np.argsort([plane.frame or 0 for plane in planes])]
        with warnings.catch_warnings():
            # highdicom's advice on the patient's name, which is the source's and is copied as it is
            warnings.filterwarnings("ignore", "The string .* is unlikely to represent", UserWarning)
            segmentation = highdicom.seg.Segmentation(
                source_images=sources.headers,
                pixel_array=np.ascontiguousarray(labels),
                segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
                segment_descriptions=[_segment(i, classes[i], colours[i], coarse) for i in range(1, len(classes))],
                sop_instance_uid=generate_uid(),
                instance_number=1,
                omit_empty_frames=bool(labels.any()),  # a SEG without frames is not valid
                **_series(sources, case.name, coarse),
            )
        segmentation.ContentCreatorName = ""  # type 2, which highdicom leaves out
        _restore_classes(segmentation, sources.classes)
    except DAMAGED as error:
        raise SegcganError(f"{case.path}: its headers do not allow a DICOM SEG ({brief(error)})") from error
    segmentation.save_as(path)
    case.notes += [note for note in sources.notes if note not in case.notes]


def _series(sources: Sources, name: str, coarse: bool) -> dict[str, Any]:
    """Return what a PACS shows of the series: mask and coarse mask differ from each other and from the source.

    The series number is that of the source followed by three digits, which tell apart also the volumes that one
    series was split into.
    """
    first = zlib.crc32(sources.headers[0].SOPInstanceUID.encode())
    number = sources.number if 0 < sources.number < _NUMBERS else _NUMBERS + first % 100_000
    word = "coarse mask" if coarse else "mask"
    return {
        "series_instance_uid": generate_uid(),
        "series_number": number * 1000 + 2 * (first % 499) + 1 + coarse,
        "series_description": f"segcgan {word} of {sources.description or name}"[:64],
        "content_label": "COARSE_MASK" if coarse else "MASK",
        "content_description": f"{word} of {name}"[:64],
        "manufacturer": "segcgan",
        "manufacturer_model_name": "segcgan",
        "software_versions": segcgan.__version__,
        "device_serial_number": "0",
    }


def _restore_classes(item: Dataset, classes: dict[str, str]) -> None:
    """Let references name the true storage class of their images, at any depth."""
    uid = item.get("ReferencedSOPInstanceUID")
    if uid in classes:
        item.ReferencedSOPClassUID = classes[uid]
    for element in item:
        if element.VR == "SQ":
            for nested in element.value:
                _restore_classes(nested, classes)


def _segment(number: int, spec: ClassSpec, colour: Rgb, coarse: bool) -> Any:
    import highdicom

    code, _, meaning = (spec.snomed or TISSUE).partition("|")
    if not code.strip().isdigit() or not meaning.strip():
        msg = f"class {spec.name!r}: snomed {spec.snomed!r} is not 'code|meaning'; write it like '10200004|Liver'"
        raise SegcganError(msg)
    concept = highdicom.sr.CodedConcept
    kind = ("85756007", "SCT", "Tissue") if spec.snomed is None else ("123037004", "SCT", "Anatomical Structure")
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=f"{spec.name[:57]} coarse" if coarse else spec.name[:64],
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
            array, affine = _by_reference(segmentation, planes, ignore_spatial_locations=True), grid.affine
        else:
            array, affine = _in_space(segmentation, planes, grid)
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


def _in_space(segmentation: Any, planes: list[Plane], grid: Grid) -> tuple[Array, Array]:
    """Return the labels and their affine by the positions of the frames.

    Positions that are rounded in the source are rounded in the SEG: where they make no volume, or none on the grid,
    the SEG is laid on the images it names.
    """
    try:
        volume = segmentation.get_volume(combine_segments=True)
        affine, array = np.asarray(volume.affine, float), np.asarray(volume.array)
        grid.place(affine, (array.shape[0], array.shape[1], array.shape[2]), "")
    except (*DAMAGED, SegcganError) as error:
        try:
            return _by_reference(segmentation, planes), grid.affine
        except DAMAGED:  # it names other images, or more is wrong: the first reason is the true one
            if not isinstance(error, SegcganError):
                raise error from None
    return array, affine


def _by_reference(segmentation: Any, planes: list[Plane], **options: bool) -> Array:
    """Return the labels (slice, row, column) of the images that the SEG names; LookupError if it names others."""
    uids = [header.SOPInstanceUID for header in read_sources(planes, 1.0).headers]
    options |= {"combine_segments": True, "assert_missing_frames_are_empty": True}
    known = {uid for _, _, uid in segmentation.get_source_image_uids()}
    if not uids or not known.intersection(uids):
        raise LookupError("the SEG names other images")
    if planes[0].frame is None:
        return np.asarray(segmentation.get_pixels_by_source_instance(uids, **options))
    frames = [(plane.frame or 0) + 1 for plane in planes]
    return np.asarray(segmentation.get_pixels_by_source_frame(uids[0], frames, **options))
