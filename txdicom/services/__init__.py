"""The service classes (PS3.4) and DIMSE-N: the procedures of SCP and SCU side by side, and the dispatch to add-ins."""
