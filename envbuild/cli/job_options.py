"""Options of builds in a cluster, and of fleets."""

from __future__ import annotations

from pathlib import Path

import click

from envbuild.cli.options import chain, context_option

__all__ = ["fleet_options", "job_options"]

job_options = chain(
    click.option(
        "--on",
        type=click.Choice(("here", "kubernetes")),
        default="here",
        help="Where to build: on this machine, or by a Job of a cluster, which pushes to the names (-t).",
    ),
    context_option,
    click.option("--namespace", metavar="NAME", help="Where the Job is made. Default: the context's."),
    click.option("--builder-image", metavar="IMAGE", help="The image that builds in the cluster."),
    click.option(
        "--registry-secret",
        metavar="NAME",
        help="A Secret of type kubernetes.io/dockerconfigjson that the Job pushes with.",
    ),
    click.option(
        "--config-map",
        metavar="NAME",
        help="A ConfigMap whose keys are variables of the Job: proxies, indexes, mirrors.",
    ),
    click.option(
        "--ca-config-map",
        metavar="NAME",
        help="A ConfigMap whose key ca.crt has the certificate authorities that the Job trusts.",
    ),
    click.option(
        "--pod-template",
        metavar="FILE",
        help="A partial PodTemplateSpec for the Job's pod: node selectors, tolerations, resources.",
    ),
    click.option(
        "--job-timeout",
        type=click.IntRange(1, 1024),
        metavar="MINUTES",
        help="How long the Job may take. Default: 60.",
    ),
    click.option("--detach", is_flag=True, help="Submit the Job and say how to follow it."),
)

fleet_options = chain(
    click.option(
        "--fleet",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Build what has changed of the environments in this file, push it, and write fleet.lock.",
    ),
    click.option(
        "--check",
        is_flag=True,
        help="With --fleet: only say what would be built; exit code 1 when something would.",
    ),
)
