"""An event-driven DICOM framework on Twisted: server (SCP), client framework (SCU) and add-ins."""

__version__ = "0.1.0"
