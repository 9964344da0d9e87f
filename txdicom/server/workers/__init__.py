"""A server of several processes: a parent that accepts, counts and supervises, and workers that do the DICOM."""
