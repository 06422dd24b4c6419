"""Spark on s3a:// paths: partitioned writes through each kind of committer, overwrites, renames, reads of commits.

Run by the environments that `make test-spark` makes: Spark 3.5 with Hadoop 3.3 (AWS SDK 1), Spark 4.0 with Hadoop 3.4 (SDK 2).
"""
import pathlib
import sys

import pytest
from pyspark.sql import SparkSession, functions

from doors import Door
from lakebed_server import KEY, SECRET

JARS = pathlib.Path(sys.prefix) / "jars"
ROWS = 20_000

BY_S3A = {
    "spark.hadoop.mapreduce.outputcommitter.factory.scheme.s3a": "org.apache.hadoop.fs.s3a.commit.S3ACommitterFactory",
    "spark.sql.sources.commitProtocolClass": "org.apache.spark.internal.io.cloud.PathOutputCommitProtocol",
    "spark.sql.parquet.output.committer.class": "org.apache.spark.internal.io.cloud.BindingParquetOutputCommitter",
}
COMMITTERS = {
    "magic": BY_S3A | {"spark.hadoop.fs.s3a.committer.name": "magic", "spark.hadoop.fs.s3a.committer.magic.enabled": "true"},
    "directory": BY_S3A | {"spark.hadoop.fs.s3a.committer.name": "directory"},
    "renames, version 2": {"spark.hadoop.mapreduce.fileoutputcommitter.algorithm.version": "2"},
    "renames, version 1": {"spark.hadoop.mapreduce.fileoutputcommitter.algorithm.version": "1"},
}


@pytest.fixture(params=COMMITTERS)
def spark(request, server, tmp_path):
    builder = SparkSession.builder.master("local[2]").appName(request.param)
    settings = {
        "spark.jars": ",".join(str(jar) for jar in JARS.glob("*.jar")),
        "spark.ui.enabled": "false",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": "1g",
        "spark.local.dir": str(tmp_path / "local"),
        "spark.sql.warehouse.dir": str(tmp_path / "warehouse"),
        "spark.sql.shuffle.partitions": "4",
        "spark.sql.sources.partitionOverwriteMode": "static",
        "spark.hadoop.fs.s3a.endpoint": server.endpoint,
        "spark.hadoop.fs.s3a.endpoint.region": "us-east-1",
        "spark.hadoop.fs.s3a.access.key": KEY,
        "spark.hadoop.fs.s3a.secret.key": SECRET,
        "spark.hadoop.fs.s3a.path.style.access": "true",
        "spark.hadoop.fs.s3a.connection.ssl.enabled": "false",
        "spark.hadoop.fs.s3a.buffer.dir": str(tmp_path / "buffer"),
        "spark.hadoop.fs.s3a.committer.staging.tmp.path": str(tmp_path / "staging"),
    }
    for name, value in (settings | COMMITTERS[request.param]).items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    yield session
    session.stop()


@pytest.fixture
def commit(server, repo):
    def commit():
        status, made = server.rest("POST", f"/repositories/{repo}/branches/main/commits", {"message": "by Spark"})
        assert status == 201, made
        return made["id"]

    return commit


def paths(server, repo, prefix, ref="main"):
    status, listed = server.rest("GET", f"/repositories/{repo}/refs/{ref}/objects/ls", prefix=prefix, amount=1000)
    assert status == 200, listed
    return [entry["path"] for entry in listed["results"]]


def test_tables_are_written_read_overwritten_and_renamed(spark, server, repo, commit):
    at = f"s3a://{repo}/main/tables"
    frame = spark.range(ROWS).withColumn("day", functions.col("id") % 5).withColumn("place", functions.when(functions.col("id") % 2 == 0, "Zürich").otherwise("a b+c"))
    frame.repartition(3).write.partitionBy("day", "place").parquet(f"{at}/events")
    first = commit()
    written = paths(server, repo, "tables/events/")
    files = [path for path in written if path.endswith(".parquet")]
    assert "tables/events/_SUCCESS" in written and len(files) >= 10
    assert not [path for path in paths(server, repo, "") if "_temporary" in path or "__magic" in path], "what the committer needed is gone"
    read = spark.read.parquet(f"{at}/events")
    assert (read.count(), read.agg(functions.sum("id")).first()[0]) == (ROWS, ROWS * (ROWS - 1) // 2)
    assert read.where("day = 3 AND place = 'a b+c'").count() == ROWS // 10

    # Appended to, and written anew: a reader of the commit sees neither.
    spark.range(100).withColumn("day", functions.lit(9)).withColumn("place", functions.lit("x")).write.mode("append").partitionBy("day", "place").parquet(f"{at}/events")
    assert spark.read.parquet(f"{at}/events").count() == ROWS + 100
    spark.range(7).withColumn("day", functions.lit(1)).withColumn("place", functions.lit("y")).write.mode("overwrite").partitionBy("day", "place").parquet(f"{at}/events")
    assert spark.read.parquet(f"{at}/events").count() == 7
    assert spark.read.parquet(f"s3a://{repo}/{first}/tables/events").count() == ROWS

    # CSV and JSON go through Hadoop's own file output.
    frame.limit(500).write.option("header", True).csv(f"{at}/csv")
    frame.limit(500).write.json(f"{at}/json")
    assert spark.read.option("header", True).csv(f"{at}/csv").count() == spark.read.json(f"{at}/json").count() == 500

    # The file system itself: directories, renames, deletions.
    hadoop = spark._jvm.org.apache.hadoop.fs
    root = hadoop.Path(at)
    fs = root.getFileSystem(spark._jsc.hadoopConfiguration())
    assert fs.mkdirs(hadoop.Path(f"{at}/new/directory")) and fs.getFileStatus(hadoop.Path(f"{at}/new/directory")).isDirectory()
    assert fs.rename(hadoop.Path(f"{at}/events"), hadoop.Path(f"{at}/new/directory/renamed"))
    assert not fs.exists(hadoop.Path(f"{at}/events"))
    assert spark.read.parquet(f"{at}/new/directory/renamed").count() == 7
    assert sorted(status.getPath().getName() for status in fs.listStatus(root)) == ["csv", "json", "new"]
    assert fs.delete(root, True) and not fs.exists(root)
    assert [path for path in paths(server, repo, "") if not path.endswith("/")] == []
    status, content, _ = Door(server.port).s3("GET", repo, query={"uploads": ""})
    assert status == 200 and b"<UploadId>" not in content, "no upload was left open"
