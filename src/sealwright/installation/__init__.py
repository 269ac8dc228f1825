"""From replayed ceremony records to an installed PKI: what pins what."""
