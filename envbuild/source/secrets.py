"""Files that look like credentials: by their name, or by how they begin."""

from __future__ import annotations

import json
import os
import re

from envbuild.errors import RepoError
from envbuild.source.repo import Repo, RepoFile

__all__ = ["credential_in"]

_MOST_BYTES = 64 << 10

# What a file of the name (or at the end of the path) is. Nobody keeps anything else in these.
_NAMES = {
    ".env": "a file of variables",
    ".netrc": "passwords",
    "_netrc": "passwords",
    ".pgpass": "passwords",
    ".git-credentials": "passwords",
    ".pypirc": "passwords",
    ".htpasswd": "passwords",
    "id_rsa": "a private key",
    "id_dsa": "a private key",
    "id_ecdsa": "a private key",
    "id_ed25519": "a private key",
    "kubeconfig": "access to a cluster",
    "application_default_credentials.json": "a cloud's credentials",
}
_PLACES = {
    ".aws/credentials": "a cloud's credentials",
    ".azure/accessTokens.json": "a cloud's credentials",
    ".config/gcloud/credentials.db": "a cloud's credentials",
    ".config/gcloud/access_tokens.db": "a cloud's credentials",
    ".docker/config.json": "access to registries",
    ".kube/config": "access to a cluster",
    ".config/gh/hosts.yml": "access to GitHub",
    ".huggingface/token": "a token",
    ".cache/huggingface/token": "a token",
    ".kaggle/kaggle.json": "a token",
}
_VARIABLES = re.compile(r"\.env\.(?!example$|sample$|template$|dist$).+|.+\.env")
_PRIVATE_KEY = re.compile(
    rb"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----|PuTTY-User-Key-File-\d"
)
_KEY_STORES = (".p12", ".pfx", ".jks", ".keystore", ".ppk", ".kdbx")
_NPM_TOKEN = re.compile(rb"(?m)^[^#;\n]*(?:_authToken|_auth|_password)\s*=\s*[^\s$]")
_R_SECRET = re.compile(
    rb"(?mi)^[ \t]{0,20}[A-Z0-9_.]{0,60}(?:TOKEN|SECRET|PASSWORD|PAT|API_?KEY|ACCESS_KEY)[A-Z0-9_]{0,60}"
    rb"[ \t]{0,20}=[ \t]{0,20}\S"
)
# Looked into: what may hold a key in one piece. Sources, notebooks and data are not.
_LOOKED_INTO = frozenset(
    {"", ".asc", ".cer", ".cfg", ".conf", ".crt", ".gpg", ".json", ".key", ".pem", ".txt", ".yaml", ".yml"}
)


def credential_in(repo: Repo, file: RepoFile) -> str | None:
    """What kind of credential ``file`` seems to be, None when it does not look like one."""
    path = os.fsdecode(file.path)
    name = path.rpartition("/")[2]
    if name in _NAMES:
        return _NAMES[name]
    for place, what in _PLACES.items():
        if path == place or path.endswith("/" + place):
            return what
    if _VARIABLES.fullmatch(name):
        return _NAMES[".env"]
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122
    if suffix in _KEY_STORES:
        return "a private key"
    looked_into = suffix in _LOOKED_INTO or name in (".npmrc", ".Renviron", ".yarnrc")
    if file.kind != "file" or not looked_into or not 20 <= file.size <= _MOST_BYTES:
        return None
    return _by_content(repo, file, name, suffix)


def _by_content(repo: Repo, file: RepoFile, name: str, suffix: str) -> str | None:
    try:
        data = b"".join(repo.open_content(file.path, size=file.size))
    except RepoError:  # whoever packs it will say so
        return None
    if _PRIVATE_KEY.search(data):
        return "a private key"
    if name == ".npmrc" and _NPM_TOKEN.search(data):
        return "a token"
    if name == ".Renviron" and _R_SECRET.search(data):
        return "a token"
    if suffix == ".json" and b'"private_key"' in data and _is_service_account(data):
        return "a cloud's credentials"
    if b"\ncurrent-context:" in data and b"\nusers:" in data:
        return "access to a cluster"
    return None


def _is_service_account(data: bytes) -> bool:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and value.get("type") == "service_account"
