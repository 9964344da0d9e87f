"""Makes `twistd dicomserver` known to Twisted."""

from twisted.application.service import ServiceMaker

dicomserver = ServiceMaker("txdicom DICOM server", "txdicom.server.tap", "A DICOM server with add-ins", "dicomserver")
