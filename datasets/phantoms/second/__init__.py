"""The second edition of the phantoms: real shapes, a full atlas, five scanners, acquisitions."""
