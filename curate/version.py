"""The version of `curate`: what manifests record and what Ray workers compare."""

VERSION = "0.1.0"
