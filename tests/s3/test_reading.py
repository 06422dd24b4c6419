"""Reading through the S3 door where it answers as S3 does and the recorded server did not, or where no client looks."""
import base64
import json
import re
import urllib.request
import xml.etree.ElementTree as ET
import zlib

import pytest

from doors import BASIC

ETAG = '"5eb63bbbe01eeed093cb22bb8f5acdc3"'  # of "hello world"
OLD, FUTURE = "Sat, 29 Oct 1994 19:43:31 GMT", "Fri, 29 Oct 2094 19:43:31 GMT"


def upload(server, repo, path, content=b"hello world", branch="main"):
    status, made = server.rest("POST", f"/repositories/{repo}/branches/{branch}/objects", content, path=path)
    assert status == 201, made


def commit(server, repo, branch="main", message="m"):
    status, made = server.rest("POST", f"/repositories/{repo}/branches/{branch}/commits", {"message": message})
    assert status == 201, made
    return made["id"]


def create_branch(server, repo, name, **more):
    status, made = server.rest("POST", f"/repositories/{repo}/branches", {"name": name, "source": "main", **more})
    assert status == 201, made


def tree(content):
    """A document without its namespace."""
    root = ET.fromstring(content)
    for element in root.iter():
        element.tag = element.tag.rsplit("}", 1)[-1]
    return root


def code(answer):
    status, content, _ = answer
    return status, tree(content).findtext("Code") if content else None


def listed(answer):
    """Keys, prefixes, and whether more follow."""
    status, content, _ = answer
    assert status == 200, content
    root = tree(content)
    return (
        [key.text for key in root.findall("Contents/Key")] + [key.text for key in root.findall("Version/Key")],
        [prefix.text for prefix in root.findall("CommonPrefixes/Prefix")],
        root.findtext("IsTruncated") == "true",
    )


# Objects


@pytest.mark.parametrize(
    "headers, status",
    [
        ({"If-Match": ETAG}, 200),
        ({"If-Match": ETAG.strip('"')}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-Match": f'"x", {ETAG}'}, 200),
        ({"If-Match": '"x"'}, 412),
        ({"If-None-Match": ETAG}, 304),
        ({"If-None-Match": f"W/{ETAG}"}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"x"'}, 200),
        ({"If-Modified-Since": OLD}, 200),
        ({"If-Modified-Since": FUTURE}, 200),
        ({"If-Modified-Since": "garbage"}, 200),
        ({"If-Unmodified-Since": OLD}, 412),
        ({"If-Unmodified-Since": FUTURE}, 200),
        ({"If-Match": ETAG, "If-Unmodified-Since": OLD}, 200),
        ({"If-None-Match": '"x"', "If-Modified-Since": FUTURE}, 200),
        ({"If-None-Match": ETAG, "Range": "bytes=0-1"}, 304),
        ({"If-Range": ETAG, "Range": "bytes=0-1"}, 206),
        ({"If-Range": '"x"', "Range": "bytes=0-1"}, 200),
        ({"If-Range": FUTURE, "Range": "bytes=0-1"}, 206),
        ({"If-Range": OLD, "Range": "bytes=0-1"}, 200),
    ],
)
def test_conditions_of_a_read(server, repo, door, headers, status):
    upload(server, repo, "o")
    for method in ("GET", "HEAD"):
        got, content, answered = door.s3(method, f"{repo}/main/o", headers=headers)
        assert got == status
        if status == 412:
            assert method == "HEAD" or tree(content).findtext("Condition") in headers
        else:
            assert answered["ETag"] == ETAG and answered["Last-Modified"]
        assert status in (200, 206, 412) or content == b""


def test_a_304_is_told_when_the_object_is_as_old_as_said(server, repo, door):
    upload(server, repo, "o")
    modified = door.s3("HEAD", f"{repo}/main/o")[2]["Last-Modified"]
    assert door.s3("GET", f"{repo}/main/o", headers={"If-Modified-Since": modified})[0] == 304
    assert door.s3("GET", f"{repo}/main/o", headers={"If-Unmodified-Since": modified})[0] == 200


def test_a_range_beyond_the_object_names_its_size(server, repo, door):
    upload(server, repo, "o")
    upload(server, repo, "empty", b"")
    for key, size, ranges in (("o", 11, ["bytes=11-", "bytes=40-50", "bytes=-0"]), ("empty", 0, ["bytes=0-4", "bytes=-4", "bytes=0-"])):
        for asked in ranges:
            status, content, headers = door.s3("GET", f"{repo}/main/{key}", headers={"Range": asked})
            assert (status, headers["Content-Range"]) == (416, f"bytes */{size}")
            error = tree(content)
            assert error.findtext("Code") == "InvalidRange"
            assert (error.findtext("RangeRequested"), error.findtext("ActualObjectSize")) == (asked, str(size))
            status, content, headers = door.s3("HEAD", f"{repo}/main/{key}", headers={"Range": asked})
            assert (status, content, headers["Content-Range"]) == (416, b"", f"bytes */{size}")


def test_ranges_of_a_large_object_are_its_bytes(server, repo, door):
    content = bytes(n * 7 % 251 for n in range(3 << 20))
    upload(server, repo, "big", content)
    for first, last in ((0, 0), (1, 1 << 20), (1 << 20, (3 << 20) - 1), ((3 << 20) - 5, 1 << 40)):
        status, got, headers = door.s3("GET", f"{repo}/main/big", headers={"Range": f"bytes={first}-{last}"})
        assert (status, got) == (206, content[first : last + 1])
        assert headers["Content-Range"] == f"bytes {first}-{min(last, len(content) - 1)}/{len(content)}"
    assert door.s3("GET", f"{repo}/main/big")[1] == content


def test_headers_of_an_answer_can_be_overridden(server, repo, door):
    upload(server, repo, "o")
    query = {
        "response-content-type": "text/html",
        "response-content-disposition": "attachment; filename=a.txt",
        "response-cache-control": "no-cache",
        "response-content-encoding": "identity",
        "response-content-language": "de",
        "response-expires": OLD,
    }
    for method in ("GET", "HEAD"):
        status, _, headers = door.s3(method, f"{repo}/main/o", query=query)
        assert status == 200
        for name, value in query.items():
            assert headers.get_all(name.removeprefix("response-")) == [value]
    answer = door.s3("GET", f"{repo}/main/o", query={"response-content-type": "a\r\nx: y"})
    assert code(answer) == (400, "InvalidArgument") and "x" not in answer[2]


def test_part_numbers_of_an_object_that_has_no_parts(server, repo, door):
    upload(server, repo, "o")
    status, content, headers = door.s3("GET", f"{repo}/main/o", query={"partNumber": "1"})
    assert (status, content, headers["Content-Range"]) == (206, b"hello world", "bytes 0-10/11")
    assert "x-amz-mp-parts-count" not in headers
    assert code(door.s3("GET", f"{repo}/main/o", query={"partNumber": "2"})) == (416, "InvalidPartNumber")
    for bad in ("0", "-1", "x", "10001", ""):
        assert code(door.s3("GET", f"{repo}/main/o", query={"partNumber": bad})) == (400, "InvalidArgument")
    both = door.s3("GET", f"{repo}/main/o", query={"partNumber": "1"}, headers={"Range": "bytes=0-1"})
    assert code(both) == (400, "InvalidRequest")
    upload(server, repo, "empty", b"")
    status, content, headers = door.s3("GET", f"{repo}/main/empty", query={"partNumber": "1"})
    assert (status, content, "Content-Range" in headers) == (206, b"", False)


def test_commits_are_versions(server, repo, door):
    upload(server, repo, "o", b"first")
    first = commit(server, repo)
    upload(server, repo, "o", b"second")
    upload(server, repo, "new")
    assert door.s3("GET", f"{repo}/main/o", query={"versionId": "null"})[1] == b"second"
    status, content, headers = door.s3("GET", f"{repo}/main/o", query={"versionId": first})
    assert (status, content, headers["x-amz-version-id"]) == (200, b"first", first)
    assert door.s3("HEAD", f"{repo}/main/o", query={"versionId": first})[2]["Content-Length"] == "5"
    for key, version in (("new", first), ("o", "0" * 64), ("o", "abcd"), ("o", "main")):
        assert code(door.s3("GET", f"{repo}/main/{key}", query={"versionId": version})) == (404, "NoSuchVersion")
        assert door.s3("HEAD", f"{repo}/main/{key}", query={"versionId": version})[:2] == (404, b"")


def test_keys_that_name_only_a_ref_are_no_objects(server, repo, door):
    upload(server, repo, "o")
    for key in ("main", "main/", "nobranch", "nobranch/", "nobranch/o", "main/none", "main~9/o", "main^2/o", "/main/o"):
        assert code(door.s3("GET", f"{repo}/{key}")) == (404, "NoSuchKey"), key
        assert door.s3("HEAD", f"{repo}/{key}")[:2] == (404, b""), key
    assert code(door.s3("GET", f"{repo}/main/" + "x" * 1025)) == (400, "KeyTooLongError")
    assert code(door.s3("GET", f"{repo}/main/" + "x" * 1024)) == (404, "NoSuchKey")


def test_an_object_whose_bytes_are_gone_is_told_from_one_that_never_was(server, repo, door):
    upload(server, repo, "o")
    status, stat = server.rest("GET", f"/repositories/{repo}/refs/main/objects/stat", path="o")
    assert status == 200
    (server.directory / "data" / stat["physical_address"].removeprefix("local://")).unlink()
    status, content, _ = door.s3("GET", f"{repo}/main/o")
    assert (status, tree(content).findtext("Code"), content.count(b"<Error>")) == (410, "NoSuchVersion", 1)
    assert door.s3("HEAD", f"{repo}/main/o")[0] == 200


def test_metadata_of_the_rest_api_is_shown(server, repo, door):
    upload(server, repo, "o")
    body = {"set": {"plain": "a b", "Upper": "grün", "x-amz-meta-old": "1", "X-Amz-Meta-kept": "2", "no:token": "3"}}
    url = f"{server.endpoint}/api/v1/repositories/{repo}/branches/main/objects/stat/user_metadata?path=o"
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Authorization": BASIC, "Content-Type": "application/json"}, method="PUT")
    urllib.request.urlopen(request, timeout=60).close()
    headers = door.s3("HEAD", f"{repo}/main/o")[2]
    shown = {name.lower(): value for name, value in headers.items() if name.lower().startswith("x-amz-meta-")}
    assert shown == {
        "x-amz-meta-plain": "a b",
        "x-amz-meta-upper": "=?utf-8?q?gr=C3=BCn?=",
        "x-amz-meta-old": "1",
        "x-amz-meta-kept": "2",
    }
    assert headers["x-amz-missing-meta"] == "1"


def test_attributes(server, repo, door):
    upload(server, repo, "o")
    asked = {"x-amz-object-attributes": "ETag,Checksum,ObjectParts,StorageClass,ObjectSize"}
    status, content, headers = door.s3("GET", f"{repo}/main/o", query={"attributes": ""}, headers=asked)
    assert status == 200 and headers["Last-Modified"]
    root = tree(content)
    assert (root.findtext("ETag"), root.findtext("StorageClass"), root.findtext("ObjectSize")) == (ETAG.strip('"'), "STANDARD", "11")
    assert root.find("ObjectParts") is None
    for named, said in (("", "InvalidRequest"), ("etag", "InvalidArgument"), ("ETag,Nothing", "InvalidArgument")):
        assert code(door.s3("GET", f"{repo}/main/o", query={"attributes": ""}, headers={"x-amz-object-attributes": named})) == (400, said)
    assert code(door.s3("GET", f"{repo}/main/none", query={"attributes": ""}, headers=asked)) == (404, "NoSuchKey")


def test_sub_resources_of_objects(server, repo, door):
    upload(server, repo, "o")
    status, content, _ = door.s3("GET", f"{repo}/main/o", query={"acl": ""})
    acl = tree(content)
    assert status == 200 and acl.findtext("AccessControlList/Grant/Permission") == "FULL_CONTROL"
    assert acl.findtext("Owner/ID") == acl.findtext("AccessControlList/Grant/Grantee/ID") == "quickstart"
    status, content, _ = door.s3("GET", f"{repo}/main/o", query={"tagging": ""})
    assert status == 200 and len(tree(content).find("TagSet")) == 0
    assert code(door.s3("GET", f"{repo}/main/o", query={"torrent": ""})) == (404, "NoSuchKey")
    for name in ("legal-hold", "retention"):
        assert code(door.s3("GET", f"{repo}/main/o", query={name: ""})) == (400, "InvalidRequest")
    for name in ("acl", "tagging", "torrent", "legal-hold"):
        assert code(door.s3("GET", f"{repo}/main/none", query={name: ""})) == (404, "NoSuchKey")
    for method, name in (("PUT", "retention"), ("PUT", "legal-hold"), ("POST", "select"), ("POST", "restore"), ("GET", "annotation")):
        assert code(door.s3(method, f"{repo}/main/o", b"<x/>" if method != "GET" else b"", query={name: ""})) == (405, "ERRLakeFSNotSupported")
    assert door.s3("GET", f"{repo}/main/o")[1] == b"hello world"
    assert door.s3("GET", f"{repo}/main/o", query={"nonsense": ""})[1] == b"hello world"


def test_what_was_put_with_an_object_is_read_with_it(repo, door):
    kept = {
        "Cache-Control": "max-age=5",
        "Content-Disposition": "attachment; filename=a.txt",
        "Content-Encoding": "gzip",
        "Content-Language": "de",
        "Content-Type": "text/x-odd; a=b",
        "Expires": "whenever",
        "x-amz-website-redirect-location": "/elsewhere",
        "x-amz-storage-class": "STANDARD_IA",
        "x-amz-meta-colour": "blue",
        "x-amz-meta-word": "=?utf-8?q?=C3=A4?=",
    }
    assert door.s3("PUT", f"{repo}/main/o", b"x", headers={**kept, "x-amz-tagging": "a=b&c=d"})[0] == 200
    for method, status, headers in (("GET", 200, {}), ("HEAD", 200, {}), ("GET", 206, {"Range": "bytes=0-0"})):
        got, _, answered = door.s3(method, f"{repo}/main/o", headers=headers)
        assert got == status
        for name, value in kept.items():
            assert answered.get_all(name) == [value], name
        assert answered["x-amz-tagging-count"] == "2" and answered["Accept-Ranges"] == "bytes"
    got, content, answered = door.s3("GET", f"{repo}/main/o", headers={"If-None-Match": "*"})
    assert (got, content, answered["Cache-Control"], answered["Expires"]) == (304, b"", "max-age=5", "whenever")
    tags = tree(door.s3("GET", f"{repo}/main/o", query={"tagging": ""})[1]).findall("TagSet/Tag")
    assert [(tag.findtext("Key"), tag.findtext("Value")) for tag in tags] == [("a", "b"), ("c", "d")]
    listed = tree(door.s3("GET", repo, query={"prefix": "main/"})[1])
    assert listed.findtext("Contents/StorageClass") == "STANDARD_IA"
    status, content, _ = door.s3("GET", f"{repo}/main/o", query={"attributes": ""}, headers={"x-amz-object-attributes": "StorageClass"})
    assert tree(content).findtext("StorageClass") == "STANDARD_IA"
    assert door.s3("PUT", f"{repo}/main/plain", b"x", headers={"x-amz-storage-class": "STANDARD"})[0] == 200
    assert "x-amz-storage-class" not in door.s3("HEAD", f"{repo}/main/plain")[2]


def test_checksums_are_told_to_those_who_ask(repo, door):
    assert door.s3("PUT", f"{repo}/main/o", b"hello world", headers={"x-amz-checksum-crc32c": "yZRlqg=="})[0] == 200
    ask = {"x-amz-checksum-mode": "ENABLED"}
    for method in ("GET", "HEAD"):
        headers = door.s3(method, f"{repo}/main/o", headers=ask)[2]
        assert (headers["x-amz-checksum-crc32c"], headers["x-amz-checksum-type"]) == ("yZRlqg==", "FULL_OBJECT")
        assert door.s3(method, f"{repo}/main/o", headers={**ask, "Range": "bytes=0-3"})[2]["x-amz-checksum-crc32c"] is None
        assert door.s3(method, f"{repo}/main/o")[2]["x-amz-checksum-crc32c"] is None
    found = tree(door.s3("GET", repo, query={"list-type": "2", "prefix": "main/"})[1]).find("Contents")
    assert (found.findtext("ChecksumAlgorithm"), found.findtext("ChecksumType")) == ("CRC32C", "FULL_OBJECT")
    status, content, _ = door.s3("GET", f"{repo}/main/o", query={"attributes": ""}, headers={"x-amz-object-attributes": "Checksum"})
    checksum = tree(content).find("Checksum")
    assert (checksum.findtext("ChecksumCRC32C"), checksum.findtext("ChecksumType")) == ("yZRlqg==", "FULL_OBJECT")


def test_parts_of_an_object(repo, door):
    at, size = f"{repo}/main/o", 5 << 20
    parts = [b"a" * size, b"b" * size, b"c"]
    create = {"x-amz-checksum-algorithm": "CRC32", "x-amz-checksum-type": "COMPOSITE"}
    upload = tree(door.s3("POST", at, query={"uploads": ""}, headers=create)[1]).findtext("UploadId")
    complete, checksums = "", []
    for number, part in enumerate(parts, 1):
        checksums.append(base64.b64encode(zlib.crc32(part).to_bytes(4, "big")).decode())
        query = {"uploadId": upload, "partNumber": str(number)}
        status, _, headers = door.s3("PUT", at, part, query=query, headers={"x-amz-checksum-crc32": checksums[-1]})
        assert status == 200
        complete += f"<Part><PartNumber>{number}</PartNumber><ETag>{headers['ETag']}</ETag><ChecksumCRC32>{checksums[-1]}</ChecksumCRC32></Part>"
    document = f"<CompleteMultipartUpload>{complete}</CompleteMultipartUpload>".encode()
    assert door.s3("POST", at, document, query={"uploadId": upload})[0] == 200
    start = 0
    for number, part in enumerate(parts, 1):
        for method in ("GET", "HEAD"):
            status, content, headers = door.s3(method, at, query={"partNumber": str(number)}, headers={"x-amz-checksum-mode": "ENABLED"})
            assert (status, content) == (206, part if method == "GET" else b"")
            assert headers["Content-Range"] == f"bytes {start}-{start + len(part) - 1}/{2 * size + 1}"
            assert (headers["x-amz-mp-parts-count"], headers["x-amz-checksum-crc32"]) == ("3", checksums[number - 1])
        start += len(part)
    assert code(door.s3("GET", at, query={"partNumber": "4"})) == (416, "InvalidPartNumber")
    whole = door.s3("HEAD", at, headers={"x-amz-checksum-mode": "ENABLED"})[2]
    assert whole["x-amz-checksum-crc32"].endswith("-3") and whole["x-amz-checksum-type"] == "COMPOSITE"
    asked = {"x-amz-object-attributes": "ObjectParts,ETag", "x-amz-max-parts": "2"}
    pages = []
    for marker in ("0", "2"):
        # Without a marker from the first part on.
        behind = {} if marker == "0" else {"x-amz-part-number-marker": marker}
        content = door.s3("GET", at, query={"attributes": ""}, headers={**asked, **behind})[1]
        found = tree(content).find("ObjectParts")
        assert found.findtext("PartsCount") == "3" and found.findtext("PartNumberMarker") == marker
        pages.append([(part.findtext("PartNumber"), part.findtext("Size"), part.findtext("ChecksumCRC32")) for part in found.findall("Part")])
        assert found.findtext("IsTruncated") == ("true" if marker == "0" else "false")
    assert [len(page) for page in pages] == [2, 1]
    assert [part for page in pages for part in page] == [(str(n), str(len(part)), checksums[n - 1]) for n, part in enumerate(parts, 1)]


# Listings


def test_branches_are_listed_in_the_order_of_their_keys(server, repo, door):
    for name in ("a", "a-b", "a-b-c", "a_b", "ab", "b"):
        create_branch(server, repo, name)
    create_branch(server, repo, "a-hidden", hidden=True)
    expected = ["a-b-c/", "a-b/", "a/", "a_b/", "ab/", "b/", "main/"]
    assert listed(door.s3("GET", repo)) == ([], expected, False)
    for size in range(1, 9):
        query, seen, pages = {"list-type": "2", "max-keys": str(size)}, [], 0
        while True:
            status, content, _ = door.s3("GET", repo, query=query)
            root = tree(content)
            page = [prefix.text for prefix in root.findall("CommonPrefixes/Prefix")]
            assert status == 200 and len(page) == int(root.findtext("KeyCount")) <= size
            seen, pages = seen + page, pages + 1
            if root.findtext("IsTruncated") == "false":
                assert root.find("NextContinuationToken") is None
                break
            query["continuation-token"] = root.findtext("NextContinuationToken")
        assert seen == expected and pages == -(-len(expected) // size)
    assert listed(door.s3("GET", repo, query={"prefix": "a-"})) == ([], ["a-b-c/", "a-b/"], False)
    assert listed(door.s3("GET", repo, query={"marker": "a-b/"})) == ([], ["a/", "a_b/", "ab/", "b/", "main/"], False)
    assert listed(door.s3("GET", repo, query={"marker": "main"})) == ([], ["main/"], False)


def test_a_ref_typed_whole_is_a_level_of_its_own(server, repo, door):
    upload(server, repo, "o")
    head = commit(server, repo)
    assert server.rest("POST", f"/repositories/{repo}/tags", {"id": "v1", "ref": "main"})[0] == 201
    create_branch(server, repo, "hidden", hidden=True)
    for typed in ("v1", head, head[:12], "main~1", "main@"):
        assert listed(door.s3("GET", repo, query={"list-type": "2", "prefix": typed})) == ([], [f"{typed}/"], False), typed
        assert listed(door.s3("GET", repo, query={"prefix": typed, "max-keys": "0"})) == ([], [], False)
        assert listed(door.s3("GET", repo, query={"prefix": typed, "marker": f"{typed}/"})) == ([], [], False)
    for typed in ("hidden", "nobranch", "main~9", "0" * 64):
        assert listed(door.s3("GET", repo, query={"prefix": typed})) == ([], [], False), typed
    assert listed(door.s3("GET", repo, query={"prefix": "hidden/"})) == (["hidden/o"], [], False)


def test_a_missing_ref_has_no_keys_and_an_ambiguous_one_is_refused(server, repo, door):
    for version in ({}, {"list-type": "2"}, {"versions": ""}):
        for prefix in ("nobranch/", "main~9/", "main^3/", "/", "/main/"):
            assert listed(door.s3("GET", repo, query={"prefix": prefix, **version})) == ([], [], False)
    heads = [server.rest("GET", f"/repositories/{repo}/branches/main")[1]["commit_id"]]
    for n in range(16):
        upload(server, repo, "o", str(n).encode())
        heads.append(commit(server, repo))
    digits = [head[0] for head in heads]
    shared = next(digit for digit in digits if digits.count(digit) > 1)
    assert code(door.s3("GET", repo, query={"prefix": f"{shared}/"})) == (400, "InvalidRequest")
    assert code(door.s3("GET", f"{repo}/{shared}/o")) == (404, "NoSuchKey")


def test_every_page_size_gives_the_same_keys(server, repo, door):
    paths = ["a", "a/", "a/b", "a/c/d", "a-b", "a.b", "b c+d", "dir//x", "dir/y", "é/1", "z"]
    for path in paths:
        upload(server, repo, path, b"x")
    commit(server, repo)
    for path in ("a/b", "m"):
        upload(server, repo, path, b"y")
    keys = sorted((f"main/{path}" for path in [*paths, "m"]), key=str.encode)
    for prefix, delimiter in (("main/", ""), ("main/", "/"), ("main/a", "/"), ("main/a/", "/"), ("main/", "b"), ("main/dir/", "//"), ("main/dir", "//")):
        inside = [key for key in keys if key.startswith(prefix)]
        folded = []
        for key in inside:
            rest = key[len(prefix) :]
            if delimiter and delimiter in rest:
                key = prefix + rest[: rest.index(delimiter) + len(delimiter)]
            if key not in folded:
                folded.append(key)
        for kind in ("v1", "v2", "versions"):
            for size in (1, 2, 3, len(folded), 1000):
                query = {"prefix": prefix, "delimiter": delimiter, "max-keys": str(size), **{"v1": {}, "v2": {"list-type": "2"}, "versions": {"versions": ""}}[kind]}
                seen, pages = [], 0
                while True:
                    answer = door.s3("GET", repo, query=query)
                    found, prefixes, more = listed(answer)
                    page = sorted(found + prefixes, key=str.encode)
                    assert len(page) <= size
                    seen, pages, root = seen + page, pages + 1, tree(answer[1])
                    if not more:
                        break
                    if kind == "v2":
                        query["continuation-token"] = root.findtext("NextContinuationToken")
                    elif kind == "versions":
                        query["key-marker"], query["version-id-marker"] = root.findtext("NextKeyMarker"), root.findtext("NextVersionIdMarker")
                    else:
                        assert (root.findtext("NextMarker") or page[-1]) == page[-1] and bool(delimiter) == (root.find("NextMarker") is not None)
                        query["marker"] = page[-1]
                assert seen == folded, (prefix, delimiter, kind, size)
                assert pages == max(1, -(-len(folded) // size))


def test_what_a_listing_echoes(server, repo, door):
    upload(server, repo, "a+b c", b"x")
    root = tree(door.s3("GET", repo, query={"list-type": "2", "prefix": "main/a+", "start-after": "main/a", "continuation-token": "", "encoding-type": "url", "fetch-owner": "true", "max-keys": "5000", "delimiter": "+"})[1])
    assert [child.tag for child in root] == ["Name", "Prefix", "StartAfter", "ContinuationToken", "KeyCount", "MaxKeys", "Delimiter", "IsTruncated", "EncodingType", "Contents"]
    values = {child.tag: child.text for child in root}
    assert (values["Prefix"], values["MaxKeys"], values["Delimiter"], values["ContinuationToken"]) == ("main/a%2B", "1000", "%2B", None)
    assert root.findtext("Contents/Key") == "main/a%2Bb%20c"
    assert root.findtext("Contents/Owner/ID") == "quickstart"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z", root.findtext("Contents/LastModified"))
    root = tree(door.s3("GET", repo, query={"prefix": "main/", "encoding-type": "url"})[1])
    assert [child.tag for child in root] == ["Name", "Prefix", "Marker", "KeyCount", "MaxKeys", "IsTruncated", "EncodingType", "Contents"]
    assert root.findtext("Contents/Owner/ID") == "quickstart"
    assert tree(door.s3("GET", repo, query={"list-type": "2", "prefix": "main/"})[1]).find("Contents/Owner") is None
    version = tree(door.s3("GET", repo, query={"versions": "", "prefix": "main/"})[1]).find("Version")
    assert (version.findtext("VersionId"), version.findtext("IsLatest"), version.findtext("Size")) == ("null", "true", "1")


@pytest.mark.parametrize(
    "query",
    [
        {"max-keys": "-1"},
        {"max-keys": "x"},
        {"max-keys": "2147483648"},
        {"encoding-type": "base64"},
        {"list-type": "2", "continuation-token": "garbage!"},
        {"list-type": "2", "continuation-token": "AAAA"},
        {"versions": "", "version-id-marker": "null"},
    ],
)
def test_a_malformed_listing_is_refused(repo, door, query):
    for prefix in ("", "main/"):
        assert code(door.s3("GET", repo, query={**query, "prefix": prefix})) == (400, "InvalidArgument")


def test_listing_none_is_an_end(server, repo, door):
    upload(server, repo, "o")
    for prefix in ("", "main/"):
        for version in ({}, {"list-type": "2"}, {"versions": ""}):
            assert listed(door.s3("GET", repo, query={"prefix": prefix, "max-keys": "0", **version})) == ([], [], False)


def test_a_token_is_good_after_a_commit(server, repo, door):
    for n in range(4):
        upload(server, repo, f"k{n}")
    query = {"list-type": "2", "prefix": "main/", "max-keys": "2"}
    token = tree(door.s3("GET", repo, query=query)[1]).findtext("NextContinuationToken")
    commit(server, repo)
    assert listed(door.s3("GET", repo, query={**query, "continuation-token": token, "start-after": "main/z"})) == (["main/k2", "main/k3"], [], False)


# Buckets


def test_buckets_are_paged(server, repo, door):
    prefix, names = f"{repo}-p", []
    for n in range(5):
        names.append(f"{prefix}{n}")
        assert server.rest("POST", "/repositories", {"name": names[-1], "storage_namespace": f"local://{names[-1]}"})[0] == 201
    for size in (1, 2, 5, 100):
        query, seen, pages = {"prefix": prefix, "max-buckets": str(size)}, [], 0
        while True:
            root = tree(door.s3("GET", "", query=query)[1])
            page = [name.text for name in root.findall("Buckets/Bucket/Name")]
            assert len(page) <= size and root.findtext("Prefix") == prefix
            seen, pages = seen + page, pages + 1
            token = root.findtext("ContinuationToken")
            if token is None:
                break
            query["continuation-token"] = token
        assert seen == names and pages == -(-len(names) // size)
    for bad in ({"max-buckets": "0"}, {"max-buckets": "10001"}, {"max-buckets": "x"}, {"continuation-token": "!"}):
        assert code(door.s3("GET", "", query=bad)) == (400, "InvalidArgument")
    here = tree(door.s3("GET", "", query={"prefix": prefix, "bucket-region": "us-east-1"})[1])
    assert [region.text for region in here.findall("Buckets/Bucket/BucketRegion")] == ["us-east-1"] * 5
    elsewhere = tree(door.s3("GET", "", query={"prefix": prefix, "bucket-region": "eu-west-3"})[1])
    assert elsewhere.find("Buckets/Bucket") is None and elsewhere.findtext("Owner/ID") == "quickstart"


def test_a_bucket_names_its_region(repo, door):
    status, content, headers = door.s3("HEAD", repo)
    assert (status, content, headers["x-amz-bucket-region"]) == (200, b"", "us-east-1")
    for query in ({}, {"list-type": "2"}, {"versions": ""}, {"location": ""}):
        assert door.s3("GET", repo, query=query)[2]["x-amz-bucket-region"] == "us-east-1"
    assert not tree(door.s3("GET", repo, query={"location": ""})[1]).text
    missing = door.s3("GET", "no-such-repo", query={"list-type": "2"})
    assert (*code(missing), missing[2]["x-amz-bucket-region"]) == (404, "NoSuchBucket", "us-east-1")


@pytest.mark.parametrize(
    "name, status, expected",
    [
        ("policy", 404, "NoSuchBucketPolicy"),
        ("cors", 404, "NoSuchCORSConfiguration"),
        ("lifecycle", 404, "NoSuchLifecycleConfiguration"),
        ("tagging", 404, "NoSuchTagSet"),
        ("encryption", 404, "ServerSideEncryptionConfigurationNotFoundError"),
        ("website", 404, "NoSuchWebsiteConfiguration"),
        ("replication", 404, "ReplicationConfigurationNotFoundError"),
        ("object-lock", 404, "ObjectLockConfigurationNotFoundError"),
        ("publicAccessBlock", 404, "NoSuchPublicAccessBlockConfiguration"),
        ("policyStatus", 200, "PolicyStatus"),
        ("ownershipControls", 200, "OwnershipControls"),
        ("logging", 200, "BucketLoggingStatus"),
        ("notification", 200, "NotificationConfiguration"),
        ("accelerate", 200, "AccelerateConfiguration"),
        ("requestPayment", 200, "RequestPaymentConfiguration"),
        ("analytics", 200, "ListBucketAnalyticsConfigurationResult"),
        ("inventory", 200, "ListInventoryConfigurationsResult"),
        ("metrics", 200, "ListMetricsConfigurationsResult"),
        ("intelligent-tiering", 200, "ListBucketIntelligentTieringConfigurationsOutput"),
    ],
)
def test_sub_resources_of_buckets(server, repo, door, name, status, expected):
    got, content, _ = door.s3("GET", repo, query={name: ""})
    root = tree(content)
    assert (got, root.findtext("Code") if status == 404 else root.tag) == (status, expected)
    assert code(door.s3("PUT", repo, b"<x/>", query={name: ""})) == (405, "ERRLakeFSNotSupported")
    assert door.s3("DELETE", repo, query={name: ""})[:2] == (204, b"")
    assert code(door.s3("GET", "no-such-repo", query={name: ""})) == (404, "NoSuchBucket")
    assert server.rest("GET", f"/repositories/{repo}")[0] == 200


def test_acl_and_versioning_of_buckets(repo, door):
    assert door.s3("GET", repo, query={"acl": ""})[0] == 200
    assert door.s3("PUT", repo, query={"acl": ""}, headers={"x-amz-acl": "private"})[0] == 200
    assert code(door.s3("PUT", repo, query={"acl": ""}, headers={"x-amz-acl": "everybody"})) == (400, "InvalidArgument")
    assert code(door.s3("PUT", repo, b"<x/>", query={"acl": ""})) == (400, "MalformedXML")
    grants = b"<AccessControlPolicy><AccessControlList/></AccessControlPolicy>"
    assert code(door.s3("PUT", repo, grants, query={"acl": ""})) == (501, "NotImplemented")
    assert len(tree(door.s3("GET", repo, query={"versioning": ""})[1])) == 0
    for wanted, status in ((b"Suspended", 200), (b"Enabled", 501)):
        body = b"<VersioningConfiguration><Status>" + wanted + b"</Status></VersioningConfiguration>"
        assert door.s3("PUT", repo, body, query={"versioning": ""})[0] == status
    for name in ("acl", "versioning", "location"):
        assert code(door.s3("DELETE", repo, query={name: ""})) == (405, "ERRLakeFSNotSupported")


def test_metadata_of_a_repository_is_a_buckets_tags(server, repo, door):
    assert server.rest("POST", f"/repositories/{repo}/metadata", {"metadata": {"team": "a&b"}})[0] in (200, 201, 204)
    root = tree(door.s3("GET", repo, query={"tagging": ""})[1])
    assert [(tag.findtext("Key"), tag.findtext("Value")) for tag in root.findall("TagSet/Tag")] == [("team", "a&b")]


def test_buckets_are_neither_made_nor_deleted(repo, door):
    assert code(door.s3("PUT", repo)) == (409, "BucketAlreadyOwnedByYou")
    assert code(door.s3("PUT", "not-there-yet")) == (501, "NotImplemented")
    assert code(door.s3("PUT", "Bad_Name")) == (400, "InvalidBucketName")
    assert code(door.s3("DELETE", repo)) == (405, "ERRLakeFSNotSupported")
    assert code(door.s3("DELETE", "not-there-yet")) == (404, "NoSuchBucket")
    assert door.s3("GET", repo)[0] == 200


def test_the_rest_address_as_endpoint_is_pointed_out(server, door):
    for at in ("api/v1", "api/v1/x"):
        assert code(door.s3("GET", at)) == (404, "ErrNoSuchBucketPossibleAPIEndpoint")
    assert code(door.s3("GET", "api")) == (404, "NoSuchBucket")
    assert code(door.s3("GET", "api/v2/x")) == (404, "NoSuchBucket")


def test_an_error_names_the_request_it_answers(repo, door):
    _, content, headers = door.s3("GET", f"{repo}/main/none")
    root = tree(content)
    assert root.findtext("RequestId") == headers["x-amz-request-id"]
    assert (root.findtext("Key"), root.findtext("BucketName")) == ("main/none", repo)
    assert root.findtext("Resource") == f"/{repo}/main/none" and root.findtext("Region") == "us-east-1"
    assert door.s3("GET", f"{repo}/main/none")[2]["x-amz-request-id"] != headers["x-amz-request-id"]
