"""The factor from stored PET values to SUV, with a record of every input."""
