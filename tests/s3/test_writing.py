"""Writing through the S3 door where it answers as S3 does and the recorded server did not, or where no client looks."""
import concurrent.futures
import xml.etree.ElementTree as ET

import pytest

from doors import Door

ETAG = '"5eb63bbbe01eeed093cb22bb8f5acdc3"'  # of "hello world"
PART = 5 << 20


def tree(content):
    """A document without its namespace."""
    root = ET.fromstring(content)
    for element in root.iter():
        element.tag = element.tag.rsplit("}", 1)[-1]
    return root


def code(answer):
    status, content, _ = answer
    return status, tree(content).findtext("Code") if content else None


def read(door, at):
    status, content, _ = door.s3("GET", at)
    return content if status == 200 else status


def address(server, repo, path):
    return server.rest("GET", f"/repositories/{repo}/refs/main/objects/stat", path=path)[1]["physical_address"]


def branch(server, repo, name):
    assert server.rest("POST", f"/repositories/{repo}/branches", {"name": name, "source": "main"})[0] == 201


# Putting


def test_one_of_many_conditional_puts_wins(server, repo):
    def put(n):
        door = Door(server.port)
        try:
            return door.s3("PUT", f"{repo}/main/once", b"%d" % n, headers={"If-None-Match": "*"})[0]
        finally:
            door.close()

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        assert sorted(pool.map(put, range(20))) == [200] + [412] * 19


@pytest.mark.parametrize(
    "conditions, there, absent",
    [
        ({"If-Match": ETAG}, 200, 404),
        ({"If-Match": "*"}, 200, 404),
        ({"If-Match": f'"x", {ETAG}'}, 200, 404),
        ({"If-Match": '"x"'}, 412, 404),
        ({"If-None-Match": ETAG}, 412, 200),
        ({"If-None-Match": '"x"'}, 200, 200),
        ({"If-Match": ETAG, "If-None-Match": '"x"'}, 200, 404),
        ({"If-Match": ETAG, "If-None-Match": "*"}, 412, 404),
    ],
)
def test_conditions_of_puts(repo, door, conditions, there, absent):
    door.s3("PUT", f"{repo}/main/o", b"hello world")
    assert door.s3("PUT", f"{repo}/main/o", b"new", headers=conditions)[0] == there
    assert door.s3("PUT", f"{repo}/main/none", b"new", headers=conditions)[0] == absent
    assert read(door, f"{repo}/main/o") == (b"new" if there == 200 else b"hello world")


def test_keys_that_name_only_a_ref(repo, door):
    assert door.s3("PUT", f"{repo}/main/")[0] == 200
    for at, body in (("main/", b"x"), ("main", b""), ("main", b"x")):
        assert code(door.s3("PUT", f"{repo}/{at}", body)) == (400, "InvalidRequest")
    assert code(door.s3("PUT", f"{repo}/nobranch/")) == (404, "NoSuchBucket")
    assert door.s3("DELETE", f"{repo}/main/")[0] == 204
    body = b"<Delete><Object><Key>main/dir/</Key></Object><Object><Key>main/</Key></Object></Delete>"
    deleted = tree(door.s3("POST", repo, body, query={"delete": ""})[1])
    assert [key.text for key in deleted.findall("Deleted/Key")] == ["main/dir/", "main/"]
    assert door.s3("GET", repo, query={"list-type": "2", "prefix": "main/"})[0] == 200


def test_only_branches_are_written(server, repo, door):
    door.s3("PUT", f"{repo}/main/o", b"hello world")
    commit = server.rest("POST", f"/repositories/{repo}/branches/main/commits", {"message": "m"})[1]["id"]
    server.rest("POST", f"/repositories/{repo}/tags", {"id": "v1", "ref": "main"})
    for ref in ("v1", commit, "main~1", "main@"):
        assert code(door.s3("PUT", f"{repo}/{ref}/o", b"x")) == (403, "AccessDenied"), ref
        assert code(door.s3("DELETE", f"{repo}/{ref}/o")) == (403, "AccessDenied"), ref
    assert code(door.s3("PUT", f"{repo}/nobranch/o", b"x")) == (404, "NoSuchBucket")
    assert door.s3("DELETE", f"{repo}/nobranch/o")[0] == 204
    assert read(door, f"{repo}/v1/o") == b"hello world"


def test_metadata_has_2048_bytes(repo, door):
    assert door.s3("PUT", f"{repo}/main/o", b"x", headers={"x-amz-meta-a": "x" * 2047})[0] == 200
    assert code(door.s3("PUT", f"{repo}/main/o", b"x", headers={"x-amz-meta-a": "x" * 2048})) == (400, "MetadataTooLarge")


def test_sub_resources_never_touch_the_content(repo, door):
    door.s3("PUT", f"{repo}/main/o", b"hello world")
    for name in ("retention", "legal-hold", "torrent", "restore"):
        for method in ("PUT", "POST", "DELETE"):
            status = door.s3(method, f"{repo}/main/o", b"<x/>", query={name: ""})[0]
            assert status == 405, (method, name, status)
    assert read(door, f"{repo}/main/o") == b"hello world"


# Tags


def test_tags_come_and_go_and_the_content_stays(server, repo, door):
    at = f"{repo}/main/o"
    door.s3("PUT", at, b"hello world", headers={"x-amz-tagging": "b=2&a=1"})
    before = address(server, repo, "o")

    def tags():
        found = tree(door.s3("GET", at, query={"tagging": ""})[1]).findall("TagSet/Tag")
        return [(tag.findtext("Key"), tag.findtext("Value")) for tag in found]

    assert tags() == [("a", "1"), ("b", "2")]
    one = "<Tagging><TagSet><Tag><Key>z &#61;</Key><Value>ü</Value></Tag></TagSet></Tagging>".encode()
    assert door.s3("PUT", at, one, query={"tagging": ""})[0] == 200
    assert tags() == [("z =", "ü")]
    assert door.s3("HEAD", at)[2]["x-amz-tagging-count"] == "1"
    assert door.s3("DELETE", at, query={"tagging": ""})[0] == 204
    assert tags() == [] and address(server, repo, "o") == before
    eleven = "<Tagging><TagSet>" + "".join(f"<Tag><Key>{n}</Key><Value/></Tag>" for n in range(11)) + "</TagSet></Tagging>"
    assert code(door.s3("PUT", at, eleven.encode(), query={"tagging": ""})) == (400, "InvalidTag")
    assert code(door.s3("PUT", f"{repo}/main/none", one, query={"tagging": ""})) == (404, "NoSuchKey")


# Copying


def copied(door, at, source, **headers):
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return door.s3("PUT", at, headers={"x-amz-copy-source": source, **given})


def test_copies_share_the_bytes_of_their_source(server, repo, door):
    branch(server, repo, "dev")
    door.s3("PUT", f"{repo}/main/o", b"hello world", headers={"x-amz-meta-a": "1"})
    assert copied(door, f"{repo}/main/copy", f"{repo}/main/o")[0] == 200
    assert address(server, repo, "copy") == address(server, repo, "o")
    assert copied(door, f"{repo}/dev/copy", f"/{repo}/main/o")[0] == 200
    door.s3("DELETE", f"{repo}/main/o")
    assert read(door, f"{repo}/main/copy") == read(door, f"{repo}/dev/copy") == b"hello world"


def test_a_copy_of_another_repository_has_its_own_bytes(server, repo, door):
    other = f"{repo}-2"
    server.rest("POST", "/repositories", {"name": other, "storage_namespace": f"local://{other}"})
    door.s3("PUT", f"{other}/main/o", b"hello world", headers={"x-amz-meta-a": "1"})
    assert copied(door, f"{repo}/main/copy", f"{other}/main/o")[0] == 200
    assert address(server, repo, "copy").startswith(f"local://{repo}/")
    assert door.s3("HEAD", f"{repo}/main/copy")[2]["x-amz-meta-a"] == "1"
    assert code(copied(door, f"{repo}/main/copy", "no-such-repository/main/o")) == (404, "NoSuchBucket")


def test_a_commit_is_a_version_to_copy(server, repo, door):
    door.s3("PUT", f"{repo}/main/o", b"old")
    commit = server.rest("POST", f"/repositories/{repo}/branches/main/commits", {"message": "m"})[1]["id"]
    door.s3("PUT", f"{repo}/main/o", b"new")
    assert copied(door, f"{repo}/main/copy", f"{repo}/main/o?versionId={commit}")[0] == 200
    assert read(door, f"{repo}/main/copy") == b"old"
    assert code(copied(door, f"{repo}/main/copy", f"{repo}/main/o?versionId=x")) == (404, "NoSuchVersion")


def test_directives_and_conditions_of_copies(repo, door):
    at = f"{repo}/main/o"
    door.s3("PUT", at, b"hello world", headers={"x-amz-meta-a": "1", "x-amz-tagging": "t=1", "Cache-Control": "old"})
    assert code(copied(door, at, at)) == (400, "InvalidRequest")
    assert copied(door, at, at, x_amz_storage_class="GLACIER_IR")[0] == 200
    assert copied(door, at, at, x_amz_metadata_directive="REPLACE", x_amz_meta_b="2")[0] == 200
    head = door.s3("HEAD", at)[2]
    assert (head["x-amz-meta-a"], head["x-amz-meta-b"], head["Cache-Control"]) == (None, "2", None)
    assert head["x-amz-tagging-count"] == "1" and head["x-amz-storage-class"] is None
    assert code(copied(door, at, at, x_amz_metadata_directive="NONSENSE")) == (400, "InvalidArgument")
    to = f"{repo}/main/c"
    for condition, status in [
        ({"x_amz_copy_source_if_match": ETAG}, 200),
        ({"x_amz_copy_source_if_match": '"x"'}, 412),
        ({"x_amz_copy_source_if_none_match": ETAG}, 412),
        ({"x_amz_copy_source_if_match": ETAG, "x_amz_copy_source_if_unmodified_since": "Sat, 29 Oct 1994 19:43:31 GMT"}, 200),
        ({"If_None_Match": "*"}, 412),
    ]:
        assert copied(door, to, at, **condition)[0] == status, condition


# Deleting


@pytest.mark.parametrize(
    "conditions, status",
    [
        ({"If-Match": ETAG}, 204),
        ({"If-Match": "*"}, 204),
        ({"If-Match": '"x"'}, 412),
        ({"x-amz-if-match-size": "11"}, 204),
        ({"x-amz-if-match-size": "12"}, 412),
        ({"x-amz-if-match-last-modified-time": "Sat, 29 Oct 1994 19:43:31 GMT"}, 412),
    ],
)
def test_conditions_of_deletes(repo, door, conditions, status):
    at = f"{repo}/main/o"
    door.s3("PUT", at, b"hello world")
    assert door.s3("DELETE", at, headers=conditions)[0] == status
    assert read(door, at) == (404 if status == 204 else b"hello world")
    assert door.s3("DELETE", f"{repo}/main/none", headers=conditions)[0] == 204


def test_keys_of_many_refs_are_deleted_at_once(server, repo, door):
    branch(server, repo, "dev")
    for key in ("main/a", "main/b", "dev/a"):
        door.s3("PUT", f"{repo}/{key}", b"hello world")
    server.rest("POST", f"/repositories/{repo}/tags", {"id": "v1", "ref": "main"})
    keys = ["main/a", "dev/a", "main/b", "v1/a", "nobranch/x", "main/" + "x" * 1025]
    objects = "".join(f"<Object><Key>{key}</Key>{'<ETag>x</ETag>' if key == 'main/b' else ''}</Object>" for key in keys)
    status, content, _ = door.s3("POST", repo, f"<Delete>{objects}</Delete>".encode(), query={"delete": ""})
    root = tree(content)
    assert status == 200 and [key.text for key in root.findall("Deleted/Key")] == ["main/a", "dev/a", "nobranch/x"]
    errors = [(error.findtext("Key")[:6], error.findtext("Code")) for error in root.findall("Error")]
    assert errors == [("main/b", "PreconditionFailed"), ("v1/a", "AccessDenied"), ("main/x", "KeyTooLongError")]
    assert (read(door, f"{repo}/main/a"), read(door, f"{repo}/main/b")) == (404, b"hello world")


# Multipart uploads


def begin(door, at, **headers):
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    status, content, _ = door.s3("POST", at, query={"uploads": ""}, headers=given)
    assert status == 200, content
    return tree(content).findtext("UploadId")


def put_part(door, at, upload, number, body, headers=None):
    return door.s3("PUT", at, body, query={"uploadId": upload, "partNumber": str(number)}, headers=headers)


def complete(door, at, upload, parts, headers=None):
    listed = "".join(f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>" for number, etag in parts)
    document = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
    return door.s3("POST", at, document, query={"uploadId": upload}, headers=headers)


def test_a_completion_says_what_is_wrong_and_changes_nothing(repo, door):
    at = f"{repo}/main/m"
    upload = begin(door, at)
    etags = [put_part(door, at, upload, number, b"small")[2]["ETag"] for number in (1, 2)]
    parts = list(enumerate(etags, 1))
    assert code(complete(door, at, upload, parts)) == (400, "EntityTooSmall")
    assert code(complete(door, at, upload, parts[::-1])) == (400, "InvalidPartOrder")
    assert code(complete(door, at, upload, [(1, '"00"')])) == (400, "InvalidPart")
    assert code(complete(door, at, upload, [(3, etags[0])])) == (400, "InvalidPart")
    assert code(complete(door, at, upload, [])) == (400, "MalformedXML")
    assert code(complete(door, f"{repo}/main/other", upload, parts[:1])) == (404, "NoSuchUpload")
    assert code(complete(door, at, upload, parts[:1], {"x-amz-mp-object-size": "6"})) == (400, "InvalidRequest")
    assert code(complete(door, at, upload, parts[:1], {"If-Match": "*"})) == (404, "NoSuchKey")
    assert read(door, at) == 404
    assert complete(door, at, upload, parts[:1], {"x-amz-mp-object-size": "5", "If-None-Match": "*"})[0] == 200
    # Repeated, it is the same completion, whatever the condition.
    assert complete(door, at, upload, parts[:1], {"If-None-Match": "*"})[0] == 200
    assert code(put_part(door, at, upload, 2, b"late")) == (404, "NoSuchUpload")
    assert read(door, at) == b"small"


def test_conditions_are_judged_before_parts(repo, door):
    at = f"{repo}/main/m"
    upload = begin(door, at)
    door.s3("PUT", at, b"hello world")
    assert code(complete(door, at, upload, [(1, '"00"')], {"If-None-Match": "*"})) == (412, "PreconditionFailed")


def test_an_agreed_checksum_binds_the_parts(repo, door):
    at = f"{repo}/main/m"
    upload = begin(door, at, x_amz_checksum_algorithm="CRC32")
    other = {"x-amz-checksum-crc64nvme": "jSnVw/bqjr4="}
    assert code(put_part(door, at, upload, 1, b"hello world", other)) == (400, "InvalidRequest")
    # Without any, it is computed.
    status, _, headers = put_part(door, at, upload, 1, b"hello world")
    assert (status, headers["x-amz-checksum-crc32"]) == (200, "DUoRhQ==")
    assert code(complete(door, at, upload, [(1, ETAG)], {"x-amz-checksum-crc32": "AAAAAA=="})) == (400, "BadDigest")
    root = tree(complete(door, at, upload, [(1, ETAG)])[1])
    assert root.findtext("ChecksumCRC32").endswith("-1") and root.findtext("ChecksumType") == "COMPOSITE"
    for given in ({"x-amz-checksum-algorithm": "SHA1", "x-amz-checksum-type": "FULL_OBJECT"}, {"x-amz-checksum-type": "COMPOSITE"}):
        assert code(door.s3("POST", at, query={"uploads": ""}, headers=given)) == (400, "InvalidRequest")


def test_parts_are_copied_with_ranges(server, repo, door):
    door.s3("PUT", f"{repo}/main/src", b"hello world")
    at = f"{repo}/main/m"
    upload = begin(door, at)

    def part(span, source=f"{repo}/main/src"):
        headers = {"x-amz-copy-source": source, **({"x-amz-copy-source-range": span} if span else {})}
        return put_part(door, at, upload, 1, b"", headers)

    for bad in ("0-2", "bytes=0", "bytes=hello-world", "bytes=0-2,3-5", "bytes=5-", "bytes=5-4"):
        assert code(part(bad)) == (400, "InvalidArgument"), bad
    assert code(part("bytes=5-11")) == (416, "InvalidRange")
    assert code(part(None, f"{repo}/main/none")) == (404, "NoSuchKey")
    status, content, _ = part("bytes=6-10")
    root = tree(content)
    assert (status, root.tag) == (200, "CopyPartResult")
    assert complete(door, at, upload, [(1, root.findtext("ETag"))])[0] == 200
    assert read(door, at) == b"world"


def test_uploads_and_parts_are_listed_page_by_page(server, repo, door):
    branch(server, repo, "dev")
    uploads = [(key, begin(door, f"{repo}/{key}")) for key in ("dev/z", "main/a", "main/a", "main/dir/x", "main/dir/y", "main/z")]

    def page(**query):
        root = tree(door.s3("GET", repo, query={"uploads": "", **{k.replace("_", "-"): v for k, v in query.items()}})[1])
        found = [(entry.findtext("Key"), entry.findtext("UploadId")) for entry in root.findall("Upload")]
        prefixes = [prefix.text for prefix in root.findall("CommonPrefixes/Prefix")]
        behind = (root.findtext("NextKeyMarker"), root.findtext("NextUploadIdMarker"))
        return found, prefixes, behind if root.findtext("IsTruncated") == "true" else None

    assert page() == (uploads, [], None)
    assert page(prefix="main/", delimiter="/") == ([uploads[1], uploads[2], uploads[5]], ["main/dir/"], None)
    seen, marker = [], {}
    while marker is not None:
        found, prefixes, behind = page(prefix="main/", delimiter="/", max_uploads="1", **marker)
        seen += found + prefixes
        marker = {"key_marker": behind[0], "upload_id_marker": behind[1]} if behind else None
    assert seen == [uploads[1], uploads[2], "main/dir/", uploads[5]]
    at, upload = f"{repo}/{uploads[0][0]}", uploads[0][1]
    for number in (1, 3, 7):
        put_part(door, at, upload, number, b"x" * number)
    numbers, marker = [], "0"
    while marker:
        query = {"uploadId": upload, "max-parts": "2", "part-number-marker": marker}
        root = tree(door.s3("GET", at, query=query)[1])
        numbers.append([(part.findtext("PartNumber"), part.findtext("Size")) for part in root.findall("Part")])
        marker = root.findtext("NextPartNumberMarker") if root.findtext("IsTruncated") == "true" else None
    assert numbers == [[("1", "1"), ("3", "3")], [("7", "7")]]
    assert door.s3("DELETE", at, query={"uploadId": upload})[0] == 204
    assert code(door.s3("GET", at, query={"uploadId": upload})) == (404, "NoSuchUpload")


def test_an_upload_ends_with_its_branch(server, repo, door):
    branch(server, repo, "dev")
    at = f"{repo}/dev/m"
    upload = begin(door, at)
    etag = put_part(door, at, upload, 1, b"x")[2]["ETag"]
    assert server.rest("DELETE", f"/repositories/{repo}/branches/dev")[0] == 204
    assert code(complete(door, at, upload, [(1, etag)])) == (404, "NoSuchBucket")
    branch(server, repo, "dev")
    # The name is taken again, by another branch.
    assert code(complete(door, at, upload, [(1, etag)])) == (404, "NoSuchBucket")
    assert read(door, at) == 404


def test_protected_and_read_only_refuse_before_the_body(server, repo, door):
    branch(server, repo, "dev")
    at = f"{repo}/dev/m"
    upload = begin(door, at)
    etag = put_part(door, at, upload, 1, b"x")[2]["ETag"]
    assert server.rest("PUT", f"/repositories/{repo}/settings/branch_protection", [{"pattern": "dev"}])[0] == 204
    refused = (403, "ErrWriteToProtectedBranch")
    assert code(door.s3("PUT", f"{repo}/dev/o", b"x")) == refused
    assert code(door.s3("POST", at, query={"uploads": ""})) == refused
    assert code(put_part(door, at, upload, 2, b"x")) == refused
    assert code(complete(door, at, upload, [(1, etag)])) == refused
    assert code(copied(door, f"{repo}/dev/c", f"{repo}/main/o")) == refused
    closed = f"{repo}-ro"
    server.rest("POST", "/repositories", {"name": closed, "storage_namespace": f"local://{closed}", "read_only": True})
    assert code(door.s3("PUT", f"{closed}/main/o", b"x")) == (403, "ErrReadOnlyRepository")
    assert code(door.s3("POST", f"{closed}/main/m", query={"uploads": ""})) == (403, "ErrReadOnlyRepository")


def test_who_waits_to_be_asked_for_the_body_is_told_when_nobody_will(server, repo, door):
    """An answer in place of `100 Continue` is the last one of its connection. botocore keeps its status line, and takes it
    for the next one's, when a request that is asked for its body follows: the AWS CLI syncing a directory with an empty file."""
    expect = {"Expect": "100-continue"}
    status, _, headers = door.s3("PUT", f"{repo}/main/empty", b"", headers=expect)
    assert (status, headers["Connection"]) == (200, "close")
    status, _, headers = door.s3("PUT", f"{repo}/nowhere/x", b"refused before it is read", headers=expect)
    assert (status, headers["Connection"]) == (404, "close")
    status, _, headers = door.s3("PUT", f"{repo}/main/x", b"read", headers=expect)
    assert (status, headers["Connection"]) == (200, None)
    status, _, headers = door.s3("PUT", f"{repo}/main/empty", b"")
    assert (status, headers["Connection"]) == (200, None)
