"""The image: config, manifest, and the forms in which it leaves the store (OCI layout, archive)."""
