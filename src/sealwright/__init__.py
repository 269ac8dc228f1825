"""Sealwright: the internal two-tier PKI for code signing. The map of the rooms is README.md beside this file."""

__version__ = "0.1.0"
