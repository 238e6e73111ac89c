"""Masks as DICOM SEG and RTSTRUCT."""
