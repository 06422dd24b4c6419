"""MinIO's command line, mc: a repository is a bucket, a branch the first directory in it."""
import json
import os
import subprocess
import urllib.request

import pytest
import trees
from lakebed_server import KEY, ROOT, SECRET, Server

MC = ROOT / ".tools" / "mc"
# A file this large is sent in parts.
LARGE = 70 << 20


class Failed(AssertionError):
    """mc ended with something else than 0."""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Buckets can be made and deleted."""
    made = "create_repository: {enabled: true, storage_namespace_template: 'local://{name}'}"
    with Server(tmp_path_factory.mktemp("lake"), extra=f"gateways: {{s3: {{{made}, allow_delete_repository: true}}}}") as running:
        yield running


@pytest.fixture
def mc(server, tmp_path):
    """Runs mc and gives what it prints: text, bytes, or with `parsed` its lines of JSON."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MC_"))}

    def mc(*words, parsed=False, text=True, input=None):
        options = ["--config-dir", tmp_path / "mc", "--no-color", "--disable-pager", "--quiet"] + ["--json"] * parsed
        command = [str(word) for word in [MC, *options, *words]]
        done = subprocess.run(command, capture_output=True, text=text, input=input, env=own, timeout=300)
        if done.returncode != 0:
            raise Failed(f"{words} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return [json.loads(line) for line in done.stdout.splitlines()] if parsed else done.stdout

    mc("alias", "set", "lake", server.endpoint, KEY, SECRET)
    return mc


def names(mc, at, *options):
    return [entry["key"] for entry in mc("ls", *options, at, parsed=True)]


def test_files_go_up_round_and_down(mc, repo, tmp_path):
    source, lake = trees.make(tmp_path / "source", trees.ODD + trees.PATTERNS, many=120, large=[LARGE]), f"lake/{repo}/main"
    here = trees.contents(source)
    mc("cp", "--recursive", f"{source}/", f"{lake}/files/")
    listed = {entry["key"]: entry["size"] for entry in mc("ls", "--recursive", f"{lake}/files/", parsed=True)}
    assert listed == {name: size for name, (size, _) in here.items()}
    assert names(mc, f"lake/{repo}") == ["main/"] and names(mc, f"{lake}/files/") == ["empty", "large/", "many/", "odd/", "one/"]
    mc("cp", "--recursive", f"{lake}/files/", f"{lake}/copies/")
    mc("mv", "--recursive", f"{lake}/copies/", f"{lake}/moved/")
    assert names(mc, f"{lake}/") == ["files/", "moved/"]
    mc("cp", "--recursive", f"{lake}/moved/", f"{tmp_path / 'back'}/")
    assert trees.contents(tmp_path / "back") == here
    used = mc("du", f"{lake}/files/", parsed=True)[-1]
    assert (used["objects"], used["size"]) == (len(here), sum(size for size, _ in here.values()))
    mc("rm", "--recursive", "--force", f"{lake}/files/")
    mc("rm", "--recursive", "--force", f"{lake}/moved/")
    assert names(mc, f"{lake}/", "--recursive") == []


def test_a_mirror_sends_what_changed(mc, repo, tmp_path):
    source, lake = trees.make(tmp_path / "source", trees.ODD, many=60), f"lake/{repo}/main/files"
    mc("mirror", source, lake)
    assert mc("diff", source, lake, parsed=True) == []
    (source / "empty").unlink()
    (source / "many/000/00001").write_bytes(b"changed, and of another length" * 100)
    (source / "new").write_bytes(b"new")
    differing = {(entry.get("first") or entry.get("second")).rpartition("/")[2]: entry["diff"] for entry in mc("diff", source, lake, parsed=True)}
    assert set(differing) == {"empty", "00001", "new"} and len(set(differing.values())) == 3
    mc("mirror", "--overwrite", "--remove", source, lake)
    assert names(mc, lake + "/", "--recursive") == sorted(trees.contents(source), key=str.encode)
    mc("mirror", lake, tmp_path / "back")
    assert trees.contents(tmp_path / "back") == trees.contents(source)


def test_what_is_known_of_an_object(mc, repo, tmp_path):
    lake, large = f"lake/{repo}/main", tmp_path / "large"
    large.write_bytes(os.urandom(LARGE))
    mc("cp", "--attr", "key=value;Cache-Control=no-store", "--tags", "a=b", large, f"{lake}/large")
    [stat] = mc("stat", f"{lake}/large", parsed=True)
    assert stat["size"] == LARGE and stat["etag"].endswith("-5")
    assert (stat["metadata"]["X-Amz-Meta-Key"], stat["metadata"]["Cache-Control"]) == ("value", "no-store")
    mc("tag", "set", f"{lake}/large", "c=d&e=f g")
    assert mc("tag", "list", f"{lake}/large", parsed=True)[0]["tagset"] == {"c": "d", "e": "f g"}
    mc("tag", "remove", f"{lake}/large")
    with pytest.raises(Failed, match="does not exist"):
        mc("stat", f"{lake}/none")
    assert "Un-versioned" in mc("stat", f"lake/{repo}")
    for algorithm in ("SHA256", "CRC32C"):
        mc("cp", "--checksum", algorithm, large, f"{lake}/{algorithm}")
        assert algorithm in mc("stat", f"{lake}/{algorithm}", parsed=True)[0]["checksum"]
        assert mc("cat", f"{lake}/{algorithm}", text=False) == large.read_bytes()


def test_streams(mc, repo):
    lake, content = f"lake/{repo}/main", bytes(range(256)) * 300_000
    mc("pipe", f"{lake}/piped", text=False, input=content)
    assert mc("cat", f"{lake}/piped", text=False) == content
    assert mc("cat", "--offset", len(content) - 10, f"{lake}/piped", text=False) == content[-10:]
    mc("pipe", f"{lake}/lines", input="one\ntwo\nthree\n")
    assert mc("head", "--lines", 2, f"{lake}/lines") == "one\ntwo\n"


def test_find(mc, repo, tmp_path):
    source = trees.make(tmp_path / "source", many=60, large=[6 << 20])
    mc("mirror", source, f"lake/{repo}/main")
    # The first level of a bucket has no objects, so branches are named with their slash, or as buckets of their own.
    for lake in (f"lake/{repo}/main/", f"lake/main.{repo}"):
        at = lake.rstrip("/")
        assert mc("find", lake, "--name", "0001*").split() == [f"{at}/many/000/{n:05}" for n in range(10, 20)]
        assert mc("find", lake, "--larger", "5MiB").split() == [f"{at}/large/{6 << 20}.bin"]
        assert mc("find", lake, "--path", "*/four/*").split() == [f"{at}/one/two/three/four/five/deep"]


def test_buckets_come_and_go(mc, server, tmp_path):
    mc("mb", "lake/made")
    assert "made/" in names(mc, "lake") and names(mc, "lake/made") == ["main/"]
    assert mc("version", "info", "lake/made", parsed=True)[0]["versioning"]["status"] == ""
    mc("pipe", "lake/made/main/a", input="a")
    for refused in (["rb", "lake/made"], ["rb", "--force", "lake/made"], ["mb", "lake/made"], ["mb", "--with-lock", "lake/other"]):
        with pytest.raises(Failed):
            mc(*refused)
    assert mc("cat", "lake/made/main/a") == "a"
    mc("rm", "lake/made/main/a")
    mc("rb", "--force", "lake/made")
    assert "made/" not in names(mc, "lake") and "other/" not in names(mc, "lake")


def test_shared_links(mc, repo, tmp_path):
    mc("pipe", f"lake/{repo}/main/shared", input="shared")
    [shared] = mc("share", "download", f"lake/{repo}/main/shared", parsed=True)
    assert urllib.request.urlopen(shared["share"]).read() == b"shared"
