"""DICOM images made for tests."""

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

PLAIN = {
    "Modality": "MR", "PatientID": "p7", "SeriesNumber": 4, "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15,
    "PixelRepresentation": 1, "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2",
    "PixelSpacing": [2.0, 1.5], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
}  # fmt: skip


def write_images(folder, images, **common):
    """Write one file for each dict of tags, named by its number in the list; None leaves a tag out.

    ``z`` is short for the position along an axial stack; ``pixels`` (h, w) are by default all of the number.
    """
    folder.mkdir(parents=True, exist_ok=True)
    uids = {name: generate_uid() for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")}
    for number, image in enumerate(images):
        tags = {**PLAIN, **uids, "SOPInstanceUID": generate_uid(), "InstanceNumber": number + 1, **common, **image}
        pixels = np.asarray(tags.pop("pixels", np.full((4, 5), number)))
        if "z" in tags:
            tags["ImagePositionPatient"] = [-20, 7, tags.pop("z")]
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID = CTImageStorage if tags["Modality"] == "CT" else MRImageStorage
        dataset.Rows, dataset.Columns = pixels.shape
        edit, name = tags.pop("edit", None), tags.pop("file", f"{number:03d}.dcm")
        for tag, value in tags.items():
            if value is not None:
                setattr(dataset, tag, value)
        if edit is not None:
            edit(dataset)
        dataset.PixelData = pixels.astype("<i2").tobytes()
        dataset.save_as(folder / name, enforce_file_format=True)
    return folder
