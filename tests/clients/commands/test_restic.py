"""restic keeps a backup repository on a branch: many small objects, locks, listings, deletions (minio-go)."""
import trees
from conftest import installed, run

from lakebed_server import KEY, SECRET


def test_a_backup_is_kept_and_comes_back(server, repo, tmp_path, commit):
    source = trees.make(tmp_path / "source", trees.ODD + trees.PATTERNS, many=200, large=[40 << 20])

    def restic(*words, ref="main"):
        environment = {
            "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "RESTIC_PASSWORD": "of the tests", "RESTIC_CACHE_DIR": str(tmp_path / "cache"),
            "RESTIC_REPOSITORY": f"s3:{server.endpoint}/{repo}/{ref}/backup",
        }  # fmt: skip
        return run(installed("restic", "restic"), *words, **environment)

    restic("init")
    restic("backup", source)
    before = trees.contents(source)
    first = commit()
    (source / "many/000/00007").write_bytes(b"changed")
    (source / "empty").unlink()
    restic("backup", source)
    assert restic("snapshots", "--compact").count(str(source)) or restic("snapshots", "--json").count('"short_id"') == 2
    assert "no errors were found" in restic("check", "--read-data")
    restic("restore", "latest", "--target", tmp_path / "restored")
    assert trees.contents(tmp_path / "restored" / str(source).lstrip("/")) == trees.contents(source)
    restic("forget", "--keep-last", "1", "--prune")
    assert "no errors were found" in restic("check")
    # The backup as it was committed, before the second snapshot and the pruning.
    restic("restore", "latest", "--target", tmp_path / "then", "--no-lock", ref=first)
    assert trees.contents(tmp_path / "then" / str(source).lstrip("/")) == before
