"""What a certificate, CRL or OCSP answer is. Pure: no clock, no files, no network."""
