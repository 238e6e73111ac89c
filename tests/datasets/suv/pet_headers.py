"""DICOM headers of a made PET scan whose SUV factor is known."""

from __future__ import annotations

from pydicom import Dataset


def pet(slices: int = 3, **tags: object) -> list[Dataset]:
    """Return headers of a scan one half-life of F-18 (1:49:46.2) after 350 MBq, 70 kg: 4e-4.

    70,000 g / (350e6 Bq x 1/2) = 4e-4. The slices belong to bed positions 3 minutes apart. Tags of
    the radiopharmaceutical go to its sequence; `None` removes a tag.
    """
    drug = {
        "RadiopharmaceuticalStartTime": "100000.00",
        "RadionuclideTotalDose": "350000000",
        "RadionuclideHalfLife": "6586.2",
        "RadiopharmaceuticalStartDateTime": None,
        "Radiopharmaceutical": None,
    }
    common: dict[str, object] = {
        "Units": "BQML",
        "CorrectedImage": ["DECY", "ATTN", "SCAT"],
        "DecayCorrection": "START",
        "SeriesDate": "20240515",
        "SeriesTime": "114946.20",
        "AcquisitionDate": "20240515",
        "PatientWeight": "70",
        "PatientSize": "1.75",
        "PatientSex": "M",
        "Manufacturer": "ACME",
    }
    drug |= {key: value for key, value in tags.items() if key in drug}
    common |= {key: value for key, value in tags.items() if key not in drug}
    headers = []
    for index in range(slices):
        header = _dataset(common)
        header.RadiopharmaceuticalInformationSequence = [_dataset(drug)]
        if "AcquisitionTime" not in common:
            header.AcquisitionTime = f"11{49 + 3 * index}46.20"
        headers.append(header)
    return headers


def _dataset(tags: dict[str, object]) -> Dataset:
    dataset = Dataset()
    for key, value in tags.items():
        if value is not None:
            setattr(dataset, key, value)
    return dataset
