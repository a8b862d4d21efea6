"""Every constant that affects a byte of an image.

Changing anything here changes digests: raise :data:`VERSION` in the same commit, and the golden tests
(``tests/pack/test_tar.py``, ``test_codec.py``) with it. A lock records the version it was made for.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = 7

# One time for every file and directory, so that the same file is the same tar entry in every layer that
# carries it. Not zero: zip tools refuse times before 1980.
MTIME: Final = 315532801  # 1980-01-01T00:00:01Z

# Fixed places (DESIGN 5.4). Nothing that is needed lives below $HOME: hubs mount a volume over it.
ENV_PREFIX: Final = "srv/env"
SERVER_PREFIX: Final = "srv/jupyter"
REPO_DIR: Final = "srv/repo"
# What a Jupyter server consists of, by the commands an image has to have. An environment with all of these
# gets no second server beside it.
SERVER_PACKAGES: Final = frozenset(
    {"ipykernel", "jupyterhub", "jupyterlab", "nbclient", "nbconvert", "notebook"}
)
# The same packages by the names that conda knows them by.
CONDA_SERVER_NAMES: Final = {
    "jupyterhub-base": "jupyterhub",
    "jupyterhub-singleuser": "jupyterhub",
    "nbconvert-core": "nbconvert",
}
# What is added to an image of a registry to make it a base: its first process, and the bundle of authorities
# if it has none.
BASE_INIT: Final = "usr/local/bin/envbuild-init"
BASE_CERTIFICATES: Final = "etc/ssl/certs/ca-certificates.crt"
HOME: Final = "home/jovyan"
USER_NAME: Final = "jovyan"
UID: Final = 1000
GID: Final = 100

# The repository's list of files that the entry point reads ahead, how many of its lines, and where they may
# be.
TRACE_FILE: Final = "envbuild.trace"
TRACE_LINES: Final = 20_000
TRACE_PLACES: Final = ("usr", "opt", ENV_PREFIX, SERVER_PREFIX)

# What kernelspecs set, so that kernels take nothing from $HOME, over which hubs mount a volume: no startup
# files, no configuration, no library of R. R's names are relative: files of the repository count.
PYTHON_KERNEL_VARIABLES: Final = {
    "IPYTHONDIR": "/tmp/ipython",
    "PYTHONSTARTUP": "",
}
R_KERNEL_VARIABLES: Final = {
    "R_ENVIRON_USER": ".Renviron",
    "R_LIBS_USER": "/tmp/R",
    "R_PROFILE_USER": ".Rprofile",
}

# Wheels at least this large (compressed bytes, as published) get a layer of their own.
SOLO_WHEEL_BYTES: Final = 3_000_000
# The others share this many layers by a hash of their name.
ENV_BUCKETS: Final = 12
SERVER_BUCKETS: Final = 4
# Small wheels that the user asked for change most often; they share layers above the others.
DIRECT_BUCKETS: Final = 4
# Docker's classic store stops at 125 layers. With the operating system, the server's layers, the buckets
# above, glue and repository this keeps an image at 100 or fewer.
MAX_SOLO_LAYERS: Final = 70
# An image of a registry as a base may have this many layers, and as many as that before others give way.
MOST_BASE_LAYERS: Final = 60
BASE_LAYERS: Final = 20
# The same limits where conda packages share the image with the wheels of a `pip:` section; together no more.
CONDA_SOLO_LAYERS: Final = 50
CONDA_BUCKETS: Final = 12
CONDA_WHEEL_SOLO_LAYERS: Final = 8
CONDA_WHEEL_BUCKETS: Final = 4

# Encoders by the name users give to --compression. Output depends on library, version, level and threads,
# so all of them are pinned and part of a layer's action key (docs/adr/0004-compression.md).
ZSTD_LEVEL: Final = 3
GZIP_LEVEL: Final = 3
ENCODERS: Final = {
    "zstd": "zstandard-0.25.0:3:single",
    "gzip": "zlib-ng-1.1.0:3:single",
    "none": "none",
}
# Encoders are fed blocks of exactly this size: some are sensitive to how writes are cut.
ENCODER_BLOCK: Final = 1 << 20

# Directories whose sources get no bytecode: test suites that are shipped but hardly ever imported
# (docs/adr/0006-bytecode.md).
NO_BYTECODE_DIRECTORIES: Final = frozenset({"tests"})

# Modes are normalised to these. Files and directories a user works in are writable by everybody, because
# hubs run images under any UID, in group 0 (OpenShift) or 100 (Zero to JupyterHub).
DIR_MODE: Final = 0o755
FILE_MODE: Final = 0o644
EXEC_MODE: Final = 0o755
USER_DIR_MODE: Final = 0o777
USER_FILE_MODE: Final = 0o666
USER_EXEC_MODE: Final = 0o777

# Directories that differ from root:root 0755. Every layer that has to name one of them (as a parent of
# its own files) writes exactly this, so that no layer changes another's attributes.
# path -> (mode, uid, gid)
DIRECTORIES: Final[dict[str, tuple[int, int, int]]] = {
    "home/jovyan": (USER_DIR_MODE, UID, GID),
    "srv/repo": (USER_DIR_MODE, UID, GID),
    # Nobody may list it; BinderHub mounts a file below it for whoever the image runs as.
    "root": (0o711, 0, 0),
    "tmp": (0o1777, 0, 0),
    "var/tmp": (0o1777, 0, 0),
}
# Directories of the environment: `%pip install` in a session replaces files in them. The user of the image
# may, and so may any user in group 0, which is what OpenShift starts containers with.
ENV_DIRECTORY: Final = (0o775, UID, 0)

# What steps in the sandbox may write and no layer keeps, with everything below: what belongs to one run of a
# machine, caches, logs, and files that container engines make.
NOT_CAPTURED: Final = (
    ".dockerenv",
    "dev",
    "etc/hostname",
    "etc/hosts",
    "etc/mtab",
    "etc/resolv.conf",
    "home/jovyan/.bash_history",
    "home/jovyan/.cache",
    "home/jovyan/.npm/_logs",
    "home/jovyan/.python_history",
    "home/jovyan/.wget-hsts",
    "proc",
    "root/.cache",
    "run",
    "sys",
    "tmp",
    "var/cache/ldconfig",
    "var/log",
    "var/tmp",
)

# Beyond that, what no layer keeps of an installation of Debian packages (regular expressions for whole
# paths): earlier versions of files, dpkg's and apt's working files, identities and keys made on installation,
# caches that hold times.
APT_NOT_KEPT: Final = (
    r"etc/(?:passwd|group|shadow|gshadow|subuid|subgid)-",
    r"etc/\.pwd\.lock",
    r"etc/(?:machine-id|ssh/ssh_host_.*|ssl/private/ssl-cert-snakeoil\.key|ssl/certs/ssl-cert-snakeoil\.pem)",
    r"var/lib/dbus/machine-id",
    r"var/lib/dpkg/(?:.*-old|lock.*|triggers/Lock|updates/.*|parts/.*)",
    r"var/(?:lib|cache)/apt/.*",
    r"var/cache/(?:debconf|fontconfig|man|ldconfig)/.*",
    r"var/lib/systemd/(?:catalog/database|random-seed|deb-systemd-helper-.*)",
    r"var/lib/ucf/(?:.*\.\d+|cache/.*)",
    r"usr/share/icons/.*/icon-theme\.cache",
)
# Lines that say when a file was made, by the file.
APT_DATED_LINES: Final = {
    "usr/share/octave/octave_packages": r"# Created by Octave .*\n",
}
