"""Builds as Kubernetes Jobs: unprivileged pods build a commit or an uploaded directory, and push."""
