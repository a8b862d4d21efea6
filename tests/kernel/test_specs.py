"""Kernelspecs of images."""

from __future__ import annotations

import json

from envbuild.kernel.languages import chosen_way
from envbuild.kernel.specs import kernel_json, kernel_names, other_kernel_json


def test_python_starts_without_a_shell_and_takes_nothing_from_home() -> None:
    spec = json.loads(kernel_json("Python (project)"))

    python = ["/srv/env/bin/python3", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    assert python == spec["argv"]
    assert {"IPYTHONDIR": "/tmp/ipython", "PYTHONSTARTUP": ""} == spec["env"]


def test_r_reads_files_of_the_notebooks_directory_only() -> None:
    way = chosen_way("r", {"apt": {"r-base"}})
    assert way is not None

    spec = json.loads(other_kernel_json(way))

    assert ("R", ".Rprofile", ".Renviron") == (
        spec["language"],
        spec["env"]["R_PROFILE_USER"],
        spec["env"]["R_ENVIRON_USER"],
    )


def test_a_kernel_on_python_is_like_python() -> None:
    way = chosen_way("bash", {})
    assert way is not None
    assert "/tmp/ipython" == json.loads(other_kernel_json(way))["env"]["IPYTHONDIR"]


def test_names_that_differ_in_case_are_one() -> None:
    assert ("Old", "project", "python3") == kernel_names("project", ("old", "Old", "Python3", "../x"))
