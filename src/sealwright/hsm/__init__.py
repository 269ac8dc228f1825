"""PKCS#11: module, tokens, sessions, and keys that are pyca private keys. Nothing else imports pkcs11."""
