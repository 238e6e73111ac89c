"""DICOM studies: series, volumes, RTSTRUCT and SEG."""
