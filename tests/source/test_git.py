"""Real repositories, fetched by the real git from disk and over http."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from envbuild.errors import EnvbuildError, MachineError, RemoteError, RepoError, UsageError
from envbuild.source.git import Checkout, GitClient
from envbuild.source.git_address import git_address
from envbuild.store import Store
from tests.support.git import Upstream, serve_git
from tests.support.reporters import Messages
from tests.support.servers import free_port

pytestmark = pytest.mark.slow  # real git, again and again

Client = Callable[..., GitClient]
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {}\n"


def tree(checkout: Checkout) -> dict[str, str]:
    """Every file's text."""
    files = sorted(path for path in checkout.path.rglob("*") if path.is_file())
    return {str(path.relative_to(checkout.path)): path.read_text() for path in files}


def refusal(client: GitClient, url: str, ref: str | None = None) -> EnvbuildError:
    with pytest.raises(EnvbuildError) as caught:
        client.check_out(git_address(url), ref)
    return caught.value


@pytest.fixture
def versions(upstream: Upstream) -> dict[str, str]:
    """Commits by name: two tags, a branch, the default branch."""
    commits = {"v1": upstream.commit({"a.txt": "one"})}
    upstream.git("tag", "v1")
    commits["v2"] = upstream.commit({"a.txt": "two"})
    upstream.git("tag", "-a", "v2", "-m", "annotated")
    upstream.git("switch", "-qc", "feature/x")
    commits["feature/x"] = upstream.commit({"a.txt": "branch"})
    upstream.git("switch", "-q", "main")
    commits["main"] = upstream.commit({"a.txt": "main"})
    return commits


@pytest.mark.parametrize(
    ("ref", "name", "content"),
    [
        (None, "main", "main"),
        ("main", "main", "main"),
        ("v1", "v1", "one"),
        ("v2", "v2", "two"),
        ("refs/tags/v2", "v2", "two"),
        ("feature/x", "feature/x", "branch"),
    ],
)
def test_branches_and_tags(
    client: Client, upstream: Upstream, versions: dict[str, str], ref: str | None, name: str, content: str
) -> None:
    checkout = client().check_out(git_address(upstream.url), ref)

    assert {"a.txt": content, "notebook.ipynb": "{}\n"} == tree(checkout)
    assert (versions[name], upstream.url, ref) == (checkout.commit, checkout.url, checkout.ref)
    assert not (checkout.path / ".git").exists()


def test_commits(client: Client, upstream: Upstream, versions: dict[str, str]) -> None:
    """In full, in capitals, and abbreviated as long as that is unambiguous."""
    commit = versions["v1"]

    for ref in (commit, commit.upper(), commit[:7]):
        assert commit == client().check_out(git_address(upstream.url), ref).commit


def test_a_commit_that_is_known_needs_no_server(
    client: Client, upstream: Upstream, versions: dict[str, str]
) -> None:
    first = client().check_out(git_address(upstream.url), versions["v1"])
    shutil.rmtree(upstream.path)

    assert first == client().check_out(git_address(upstream.url), versions["v1"])


def test_refs_that_do_not_exist(client: Client, upstream: Upstream, versions: dict[str, str]) -> None:
    close = refusal(client(), upstream.url, "feature/y")
    assert ("no-such-ref", 2) == (close.code, close.exit_code)
    assert "did you mean feature/x?" == close.remedy
    assert "no-such-ref" == refusal(client(), upstream.url, "abcdef1").code
    assert "no-such-commit" == refusal(client(), upstream.url, "a" * 40).code
    assert "no-such-ref" == refusal(client(), upstream.url, "refs/heads/nothing").code


def test_a_branch_and_a_tag_of_one_name(client: Client, upstream: Upstream, versions: dict[str, str]) -> None:
    upstream.git("branch", "v1", versions["v2"])
    upstream.publish()

    error = refusal(client(), upstream.url, "v1")

    assert ("ambiguous-ref", "write refs/heads/v1 or refs/tags/v1") == (error.code, error.remedy)


def test_an_abbreviation_of_several_commits(client: Client, upstream: Upstream) -> None:
    """Commits have the same hash in every run: these two begin alike."""
    commits: dict[str, str] = {}
    for number in range(2000):
        commit = upstream.git("commit-tree", "HEAD^{tree}", "-m", str(number))
        other = commits.setdefault(commit[:4], commit)
        if other != commit:
            break
    upstream.git("branch", "one", commit)
    upstream.git("branch", "other", other)
    upstream.publish()

    assert "ambiguous-ref" == refusal(client(), upstream.url, commit[:4]).code


def test_an_empty_repository(client: Client, tmp_path: Path, upstream: Upstream) -> None:
    upstream.git("init", "-q", "--bare", str(tmp_path / "empty.git"))

    assert "no-such-ref" == refusal(client(), (tmp_path / "empty.git").as_uri()).code


def test_a_branch_moves_and_a_tag_must_not(
    client: Client, upstream: Upstream, versions: dict[str, str], messages: Messages
) -> None:
    address = git_address(upstream.url)
    client().check_out(address, "main")
    client().check_out(address, "v1")
    moved = upstream.commit({"a.txt": "later"})
    upstream.git("tag", "-f", "v1")
    upstream.publish()

    assert moved == client().check_out(address, "main").commit
    assert [f"{upstream.url}: main has moved from {versions['main'][:12]} to {moved[:12]}"] == messages.notes
    error = refusal(client(), upstream.url, "v1")
    assert ("moved-tag", 4) == (error.code, error.exit_code)
    assert moved in (error.remedy or "")
    assert moved == client().check_out(address, moved).commit


def test_offline(client: Client, upstream: Upstream, versions: dict[str, str]) -> None:
    """What was fetched before is there, by commit and by name; nothing else is."""
    address = git_address(upstream.url)
    assert "offline" == refusal(client(offline=True), upstream.url).code
    client().check_out(address)
    upstream.commit({"a.txt": "later"})

    assert versions["main"] == client(offline=True).check_out(address).commit
    assert versions["main"] == client(offline=True).check_out(address, versions["main"]).commit
    assert "offline" == refusal(client(offline=True), upstream.url, versions["v1"]).code


def test_history_when_it_is_wanted(client: Client, upstream: Upstream, versions: dict[str, str]) -> None:
    checkout = client().check_out(git_address(upstream.url), "v2", history=True)

    assert "v2" == upstream.git("-C", str(checkout.path), "describe", "--tags")
    assert "two" == (checkout.path / "a.txt").read_text()


def test_submodules(client: Client, upstream: Upstream, tmp_path: Path) -> None:
    """Nested, by relative and absolute address, each at its commit and not at its branch."""
    inner = Upstream.create(tmp_path / "upstream" / "inner.git", {"deep.txt": "deep"})
    maps = Upstream.create(tmp_path / "upstream" / "maps.git", {"map.txt": "old"})
    maps.git("submodule", "--quiet", "add", inner.url, "inner")
    maps.git("config", "--file", ".gitmodules", "submodule.inner.url", "../inner.git")
    maps.commit()
    upstream.git("submodule", "--quiet", "add", maps.url, "data/maps")
    upstream.commit()
    maps.commit({"map.txt": "new"})

    files = tree(client().check_out(git_address(upstream.url)))

    assert {"data/maps/map.txt": "old", "data/maps/inner/deep.txt": "deep"}.items() <= files.items()


def _add_gitlink(upstream: Upstream, path: str, gitmodules: str | None = None) -> None:
    if gitmodules is not None:
        (upstream.work / ".gitmodules").write_text(gitmodules)
        upstream.git("add", ".gitmodules")
    upstream.git("update-index", "--add", "--cacheinfo", f"160000,{upstream.git('rev-parse', 'HEAD')},{path}")
    upstream.git("commit", "-qm", "submodule")
    upstream.publish()


def test_a_submodule_that_nothing_says_where(client: Client, upstream: Upstream, messages: Messages) -> None:
    _add_gitlink(upstream, "lost", '[submodule "other"]\n\tpath = other\n\turl = ../other\n')

    checkout = client().check_out(git_address(upstream.url))

    assert [] == list((checkout.path / "lost").iterdir())
    assert ["lost: .gitmodules does not say what belongs here; it stays empty"] == messages.warnings


@pytest.mark.parametrize("gitmodules", [None, "not a configuration [", '[submodule "x"]\n\tpath\n\turl\n'])
def test_a_gitmodules_that_says_nothing(
    client: Client, upstream: Upstream, messages: Messages, gitmodules: str | None
) -> None:
    _add_gitlink(upstream, "x", gitmodules)
    try:
        client().check_out(git_address(upstream.url))
    except RepoError as error:
        assert ("bad-gitmodules", ".gitmodules") == (error.code, error.file)
    else:
        assert 1 == len(messages.warnings)


@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c touch% CANARY",
        "-u./payload",
        "--upload-pack=touch CANARY",
        "git://127.0.0.1/a",
        "ssh://-oProxyCommand=touch%20CANARY/a",
    ],
)
def test_hostile_addresses_of_submodules(
    client: Client, upstream: Upstream, tmp_path: Path, url: str
) -> None:
    canary = tmp_path / "canary"
    _add_gitlink(
        upstream, "x", f'[submodule "x"]\n\tpath = x\n\turl = {url.replace("CANARY", str(canary))}\n'
    )

    error = refusal(client(), upstream.url)

    assert (".gitmodules", 1) == (error.file, error.exit_code)
    assert not canary.exists()


def test_nothing_of_a_repository_is_started(client: Client, upstream: Upstream, tmp_path: Path) -> None:
    """Hooks and configuration of a local repository, attributes that name the user's filters."""
    canary = tmp_path / "canary"
    command = f"touch {canary}"
    user = tmp_path / "gitconfig"
    user.write_text(
        f'[filter "danger"]\n\tsmudge = {command}; cat\n\tclean = {command}; cat\n\trequired = true\n'
        f"[core]\n\thooksPath = {tmp_path}\n\tfsmonitor = {command}\n"
    )
    upstream.commit({".gitattributes": "* filter=danger\n", "a.txt": "plain"})
    with (upstream.path / "config").open("a") as config:
        config.write(f"[core]\n\tfsmonitor = {command}\n\tsshCommand = {command}\n")
        config.write(f"[uploadpack]\n\tpackObjectsHook = {command}\n")
    for hook in ("post-checkout", "post-index-change", "reference-transaction", "post-merge"):
        for directory in (tmp_path, upstream.path / "hooks"):
            directory.mkdir(exist_ok=True)
            (directory / hook).write_text(f"#!/bin/sh\n{command}\n")
            (directory / hook).chmod(0o755)

    checkout = client({"GIT_CONFIG_GLOBAL": str(user)}).check_out(git_address(upstream.url))

    assert "plain" == tree(checkout)["a.txt"]
    assert not canary.exists()


def test_line_ends_are_those_of_the_repository(client: Client, upstream: Upstream, tmp_path: Path) -> None:
    """Whatever the user's git does elsewhere: the same commit gives the same bytes."""
    user = tmp_path / "gitconfig"
    user.write_text("[core]\n\tautocrlf = true\n\teol = crlf\n")
    upstream.commit({"a.txt": b"one\ntwo\n"})

    checkout = client({"GIT_CONFIG_GLOBAL": str(user)}).check_out(git_address(upstream.url))

    assert b"one\ntwo\n" == (checkout.path / "a.txt").read_bytes()


def test_names_that_no_file_system_takes(client: Client, upstream: Upstream) -> None:
    blob = upstream.git("hash-object", "-w", "notebook.ipynb")
    upstream.git("update-index", "--add", "--cacheinfo", f"100644,{blob},{'n' * 300}")
    upstream.git("commit", "-qm", "long")
    upstream.publish()

    error = refusal(client(), upstream.url)

    assert ("name-too-long", 1) == (error.code, error.exit_code)


def test_a_commit_with_files_in_dot_git(client: Client, upstream: Upstream) -> None:
    """git refuses to write them, and so says the error."""
    blob = upstream.git("hash-object", "-w", "notebook.ipynb")
    inner = upstream.git("mktree", text=f"100644 blob {blob}\tconfig\n")
    outer = upstream.git("mktree", text=f"040000 tree {inner}\t.git\n")
    commit = upstream.git("commit-tree", outer, "-m", "hostile")
    upstream.git("update-ref", "refs/heads/main", commit)
    upstream.publish()

    assert "invalid path '.git/config'" in refusal(client(), upstream.url).message


def test_pointers_are_named_without_git_lfs(
    client: Client, upstream: Upstream, messages: Messages, tmp_path: Path
) -> None:
    pointer = POINTER.format("a" * 64, 12345)
    only_git = tmp_path / "bin"
    only_git.mkdir()
    (only_git / "git").symlink_to(shutil.which("git") or "")
    upstream.commit({"data.bin": pointer, ".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n"})

    for _ in range(2):
        client({"PATH": str(only_git)}).check_out(git_address(upstream.url))

    assert (
        2 * ["git-lfs is not installed, so these files only say where their content is: data.bin"]
        == messages.warnings
    )


@pytest.mark.skipif(shutil.which("git-lfs") is None, reason="not installed: git-lfs")
def test_git_lfs_fetches_what_pointers_point_to(
    client: Client, upstream: Upstream, messages: Messages
) -> None:
    """From the repository's own server, whatever ``.lfsconfig`` says."""
    content = b"content " * 100
    name = hashlib.sha256(content).hexdigest()
    place = upstream.path / "lfs" / "objects" / name[:2] / name[2:4] / name
    place.parent.mkdir(parents=True)
    place.write_bytes(content)
    upstream.commit(
        {
            "data.bin": POINTER.format(name, len(content)),
            ".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n",
            ".lfsconfig": "[lfs]\n\turl = https://lure.invalid/\n\tfetchexclude = *\n",
        }
    )

    checkout = client().check_out(git_address(upstream.url))

    assert content == (checkout.path / "data.bin").read_bytes()
    assert [] == messages.warnings


def test_over_http(client: Client, upstream: Upstream, versions: dict[str, str]) -> None:
    with serve_git(upstream.path.parent) as server:
        address = git_address(f"http://127.0.0.1:{server.server_port}/rivers.git")

        for ref, commit in (
            (None, versions["main"]),
            ("v1", versions["v1"]),
            ("v2", versions["v2"]),
            (versions["feature/x"], versions["feature/x"]),
            (versions["v1"][:8], versions["v1"]),
        ):
            assert commit == client().check_out(address, ref).commit


def test_over_http_without_git_on_the_server(
    client: Client, upstream: Upstream, versions: dict[str, str]
) -> None:
    with serve_git(upstream.path.parent, dumb=True) as server:
        address = git_address(f"http://127.0.0.1:{server.server_port}/rivers.git")

        for ref in ("main", "v2", versions["v1"]):
            assert versions.get(ref, ref) == client().check_out(address, ref).commit


def test_credentials_in_the_address(client: Client, upstream: Upstream, store: Store) -> None:
    """They are used, and are neither kept nor shown."""
    with serve_git(upstream.path.parent, login="me:se cret/@") as server:
        place = f"127.0.0.1:{server.server_port}/rivers.git"
        error = refusal(client(), f"http://{place}")
        assert ("git-credentials", 4) == (error.code, error.exit_code)
        assert "credential helper" in (error.remedy or "")
        assert "git-credentials" == refusal(client(), f"http://me:wrong@{place}").code

        checkout = client().check_out(git_address(f"http://me:se%20cret%2F%40@{place}"), history=True)

    assert f"http://{place}" == checkout.url
    kept = [path.read_bytes() for path in store.root.rglob("*") if path.is_file()]
    assert [] == [data for data in kept if b"se cret" in data or b"se%20cret" in data]


def test_the_users_credential_helper_works(client: Client, upstream: Upstream, tmp_path: Path) -> None:
    user = tmp_path / "gitconfig"
    user.write_text('[credential]\n\thelper = "!f() { echo username=me; echo password=secret; }; f"\n')
    with serve_git(upstream.path.parent, login="me:secret") as server:
        address = git_address(f"http://127.0.0.1:{server.server_port}/rivers.git")
        checkout = client({"GIT_CONFIG_GLOBAL": str(user)}).check_out(address)

    assert {"notebook.ipynb": "{}\n"} == tree(checkout)


def test_private_submodules_beside_a_private_repository(
    client: Client, upstream: Upstream, tmp_path: Path
) -> None:
    maps = Upstream.create(tmp_path / "upstream" / "maps.git", {"map.txt": "map"})
    upstream.git("submodule", "--quiet", "add", maps.url, "maps")
    upstream.git("config", "--file", ".gitmodules", "submodule.maps.url", "../maps.git")
    upstream.commit()
    with serve_git(upstream.path.parent, login="me:secret") as server:
        address = git_address(f"http://me:secret@127.0.0.1:{server.server_port}/rivers.git")
        checkout = client().check_out(address)

    assert "map" == tree(checkout)["maps/map.txt"]


def test_a_submodule_over_http_cannot_be_a_file(client: Client, upstream: Upstream, tmp_path: Path) -> None:
    secret = Upstream.create(tmp_path / "secret.git", {"secret.txt": "x"})
    upstream.git("submodule", "--quiet", "add", secret.url, "secret")
    upstream.commit()
    with serve_git(upstream.path.parent) as server:
        error = refusal(client(), f"http://127.0.0.1:{server.server_port}/rivers.git")

    assert isinstance(error, RepoError)
    assert "uses file, which a repository may not choose" in error.message


def test_servers_that_are_not_there(client: Client, tmp_path: Path) -> None:
    with serve_git(tmp_path) as server:
        missing = refusal(client(), f"http://127.0.0.1:{server.server_port}/nothing.git")
    gone = refusal(client(), f"http://127.0.0.1:{free_port()}/nothing.git")
    nowhere = refusal(client(), "https://repositories.invalid/a/b")

    assert ("no-such-repository", 4) == (missing.code, missing.exit_code)
    assert ("host-unreachable", 4) == (gone.code, gone.exit_code)
    assert "repositories.invalid cannot be reached: there is no such host, or no network" == str(nowhere)
    assert isinstance(nowhere, RemoteError)


def test_refs_are_checked_before_git_sees_them(client: Client, upstream: Upstream, tmp_path: Path) -> None:
    canary = tmp_path / "canary"

    error = refusal(client(), upstream.url, f"--upload-pack=touch {canary}")

    assert isinstance(error, UsageError)
    assert not canary.exists()


def test_without_git(client: Client, upstream: Upstream) -> None:
    error = refusal(client({"PATH": "/nonexistent"}), upstream.url)

    assert ("no-git", 3) == (error.code, error.exit_code)


def test_a_checkout_that_was_altered_is_made_anew(client: Client, upstream: Upstream, store: Store) -> None:
    """What is in it goes into images."""
    checkout = client().check_out(git_address(upstream.url))
    (checkout.path / "notebook.ipynb").write_text("altered")
    store.checked.clear()  # as in another process

    assert tree(client().check_out(git_address(upstream.url))) == {"notebook.ipynb": "{}\n"}


def test_an_altered_checkout_is_not_used_offline(client: Client, upstream: Upstream, store: Store) -> None:
    checkout = client().check_out(git_address(upstream.url))
    (checkout.path / "notebook.ipynb").unlink()
    store.checked.clear()

    with pytest.raises(RemoteError) as caught:
        client(offline=True).check_out(git_address(upstream.url))

    assert "offline" == caught.value.code


def test_names_that_differ_in_case_only_where_the_disk_does_not_tell(
    client: Client, upstream: Upstream, store: Store
) -> None:
    upstream.commit({"README": "1", "readme": "2"})
    client().check_out(git_address(upstream.url))  # this disk does
    (store.root / "TMP").mkdir()
    (place,) = store.checkouts.iterdir()
    shutil.rmtree(place)
    store.checked.clear()

    with pytest.raises(MachineError) as caught:
        client().check_out(git_address(upstream.url))

    assert "case-collision" == caught.value.code
