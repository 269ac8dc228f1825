"""Pre-signs OCSP answers and publishes them and the CRLs to the publication database."""
