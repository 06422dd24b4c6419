"""Listings of a bucket, in both versions: delimiters, prefixes, markers, page sizes, encodings."""
import pytest

from plain_buckets import fill, refused

TREE = ["asdf", "boo/bar", "boo/baz/xyzzy", "cquux/thud", "cquux/bla"]


def keys(answer):
    return [entry["Key"] for entry in answer.get("Contents", [])]


def prefixes(answer):
    return [entry["Prefix"] for entry in answer.get("CommonPrefixes", [])]


def walk(client, version, **asked):
    """All pages: ([keys], [prefixes]) of each."""
    pages, more = [], {}
    while True:
        answer = getattr(client, {1: "list_objects", 2: "list_objects_v2"}[version])(**asked, **more)
        pages.append((keys(answer), prefixes(answer)))
        if not answer["IsTruncated"]:
            assert "NextMarker" not in answer and "NextContinuationToken" not in answer
            return pages
        if version == 2:
            more = {"ContinuationToken": answer["NextContinuationToken"]}
        else:
            # Without a delimiter there is no NextMarker: the last key is it.
            assert ("NextMarker" in answer) == ("Delimiter" in asked)
            more = {"Marker": answer.get("NextMarker") or keys(answer)[-1]}


@pytest.mark.parametrize("version", [1, 2])
def test_an_empty_bucket(client, bucket, version):
    assert walk(client, version, Bucket=bucket) == [([], [])]


@pytest.mark.parametrize("version", [1, 2])
def test_pages_with_delimiter_and_prefix(client, bucket, version):
    fill(client, bucket, *TREE)

    def pages(**asked):
        return walk(client, version, Bucket=bucket, Delimiter="/", **asked)

    assert pages(MaxKeys=1) == [(["asdf"], []), ([], ["boo/"]), ([], ["cquux/"])]
    assert pages(MaxKeys=2) == [(["asdf"], ["boo/"]), ([], ["cquux/"])]
    assert pages(MaxKeys=3) == [(["asdf"], ["boo/", "cquux/"])]
    assert pages(Prefix="boo/", MaxKeys=1) == [(["boo/bar"], []), ([], ["boo/baz/"])]
    assert pages(Prefix="boo/", MaxKeys=2) == [(["boo/bar"], ["boo/baz/"])]
    assert pages(Prefix="boo") == [([], ["boo/"])]
    assert pages(Prefix="nothing") == [([], [])]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    "names, delimiter, shown, folded",
    [
        (["bar", "baz", "cab", "foo"], "a", ["foo"], ["ba", "ca"]),
        (["b ar", "b az", "c ab", "foo"], " ", ["foo"], ["b ", "c "]),
        (["b.ar", "b.az", "c.ab", "foo"], ".", ["foo"], ["b.", "c."]),
        (["b%ar", "b%az", "c%ab", "foo"], "%", ["foo"], ["b%", "c%"]),
        (["b\nar", "b\naz", "c\nab", "foo"], "\n", ["foo"], ["b\n", "c\n"]),
        (["foo/bar", "foo/baz", "quux ab/thud", "asdf"], "/", ["asdf"], ["foo/", "quux ab/"]),
        (["a::b", "a::c", "a:d"], "::", ["a:d"], ["a::"]),
        (["bar", "cab"], "/", ["bar", "cab"], []),
        (["bar", "cab"], "", ["bar", "cab"], []),
    ],
)
def test_any_text_is_a_delimiter(client, bucket, version, names, delimiter, shown, folded):
    fill(client, bucket, *names)
    assert walk(client, version, Bucket=bucket, Delimiter=delimiter) == [(sorted(shown), folded)]


@pytest.mark.parametrize("version", [1, 2])
def test_a_prefix_that_is_the_delimiter_or_ends_in_it(client, bucket, version):
    fill(client, bucket, "0/", "0/1/", "0/1/2", "b/a/c", "b/a/g", "b/a/r", "g")
    one = {"Bucket": bucket, "Delimiter": "/"}
    assert walk(client, version, **one, Prefix="0/") == [(["0/"], ["0/1/"])]
    assert walk(client, version, **one, Prefix="/") == [([], [])]
    assert walk(client, version, Bucket=bucket, Delimiter="a", Prefix="b/") == [([], ["b/a"])]
    assert walk(client, version, Bucket=bucket, Prefix="") == [
        (["0/", "0/1/", "0/1/2", "b/a/c", "b/a/g", "b/a/r", "g"], [])
    ]
    assert walk(client, version, Bucket=bucket, Delimiter="d", Prefix="y") == [([], [])]
    assert walk(client, version, Bucket=bucket, Prefix="b/", MaxKeys=2) == [
        (["b/a/c", "b/a/g"], []),
        (["b/a/r"], []),
    ]


@pytest.mark.parametrize("version", [1, 2])
def test_names_that_are_hard_to_write(client, bucket, version):
    names = ["_.", "+-_.,~!", "asdf+b", "a b", "\x0a", "foo+1/bar", "ä/ö", "%25", "a&b<c>", "//", ".", "..", "a/../b"]
    fill(client, bucket, *names)
    assert walk(client, version, Bucket=bucket, MaxKeys=3) and sum(
        (page for page, _ in walk(client, version, Bucket=bucket, MaxKeys=3)), []
    ) == sorted(names, key=lambda name: name.encode())


def test_encoding_is_for_keys_and_prefixes(client, bucket, raw):
    fill(client, bucket, "asdf+b", "foo+1/bar", "foo/bar/xyzzy", "quux ab/thud", "a\x01b")
    for query in ({}, {"list-type": "2", "start-after": "a a"}):
        status, content, _ = raw.s3("GET", bucket, query=query | {"delimiter": "/", "encoding-type": "url", "prefix": ""})
        text = content.decode()
        assert status == 200 and "<EncodingType>url</EncodingType>" in text
        for part in ("<Key>asdf%2Bb</Key>", "<Prefix>foo%2B1/</Prefix>", "<Prefix>quux%20ab/</Prefix>", "<Key>a%01b</Key>"):
            assert ("a%01b" in part and query != {}) or part in text, part
    assert "<StartAfter>a%20a</StartAfter>" in text
    # Parsers of XML 1.0 cannot read it, so it must not be met when the bucket is emptied.
    assert raw.s3("DELETE", f"{bucket}/a\x01b")[0] == 204
    status, content, _ = raw.s3("GET", bucket, query={"encoding-type": "x"})
    assert status == 400 and b"<ArgumentName>encoding-type" in content


def test_page_sizes(client, bucket):
    fill(client, bucket, "bar", "baz", "foo", "quxx")
    assert walk(client, 1, Bucket=bucket, MaxKeys=1) == [([k], []) for k in ("bar", "baz", "foo", "quxx")]
    whole = client.list_objects(Bucket=bucket)
    assert (whole["MaxKeys"], whole["IsTruncated"], whole["Marker"]) == (1000, False, "")
    assert client.list_objects(Bucket=bucket, MaxKeys=2000)["MaxKeys"] == 1000
    none = client.list_objects(Bucket=bucket, MaxKeys=0)
    assert not none["IsTruncated"] and keys(none) == [] and none["MaxKeys"] == 0
    none = client.list_objects_v2(Bucket=bucket, MaxKeys=0)
    assert not none["IsTruncated"] and none["KeyCount"] == 0


@pytest.mark.parametrize("size", ["blah", "-1", "1.5", "2147483648"])
def test_a_page_size_that_is_none(client, bucket, raw, size):
    for query in ({}, {"list-type": "2"}):
        status, content, _ = raw.s3("GET", bucket, query=query | {"max-keys": size})
        assert status == 400 and b"<Code>InvalidArgument</Code>" in content


def test_markers_need_not_exist(client, bucket):
    fill(client, bucket, "bar", "baz", "foo", "quxx")
    for marker, left in [
        ("", ["bar", "baz", "foo", "quxx"]),
        ("blah", ["foo", "quxx"]),
        ("zzz", []),
        ("\n", ["bar", "baz", "foo", "quxx"]),
        ("baz", ["foo", "quxx"]),
    ]:
        answer = client.list_objects(Bucket=bucket, Marker=marker)
        assert (answer["Marker"], keys(answer), answer["IsTruncated"]) == (marker, left, False)
        answer = client.list_objects_v2(Bucket=bucket, StartAfter=marker)
        assert keys(answer) == left and answer["KeyCount"] == len(left)
    fill(client, bucket, "a/1", "a/2", "b")
    answer = client.list_objects(Bucket=bucket, Delimiter="/", Marker="a/")
    assert (keys(answer)[:1], prefixes(answer)) == (["b"], [])


def test_a_token_wins_over_start_after(client, bucket, raw):
    fill(client, bucket, "bar", "baz", "foo", "quxx")
    first = client.list_objects_v2(Bucket=bucket, MaxKeys=1)
    token = first["NextContinuationToken"]
    answer = client.list_objects_v2(Bucket=bucket, ContinuationToken=token, StartAfter="foo")
    assert answer["ContinuationToken"] == token and answer["StartAfter"] == "foo"
    assert keys(answer) == ["baz", "foo", "quxx"]
    assert client.list_objects_v2(Bucket=bucket, ContinuationToken="")["ContinuationToken"] == ""
    assert refused(client.list_objects_v2, Bucket=bucket, ContinuationToken="no token") == (400, "InvalidArgument")


def test_owners(client, bucket):
    fill(client, bucket, "a")
    owner = client.list_objects(Bucket=bucket)["Contents"][0]["Owner"]
    assert owner["ID"] and owner["DisplayName"]
    assert client.list_objects_v2(Bucket=bucket, FetchOwner=True)["Contents"][0]["Owner"] == owner
    assert "Owner" not in client.list_objects_v2(Bucket=bucket)["Contents"][0]
    assert client.list_buckets()["Owner"] == owner


def test_entries_say_what_a_head_says(client, bucket):
    fill(client, bucket, "a", "b/c")
    for entry in client.list_objects(Bucket=bucket)["Contents"]:
        head = client.head_object(Bucket=bucket, Key=entry["Key"])
        assert (entry["ETag"], entry["Size"]) == (head["ETag"], head["ContentLength"])
        assert entry["LastModified"] == head["LastModified"] and entry["StorageClass"] == "STANDARD"


def test_versions_are_paged_by_key_and_version(client, bucket):
    fill(client, bucket, *(f"k{n}" for n in range(5)))
    seen, more = [], {"KeyMarker": "", "VersionIdMarker": ""}
    while True:
        answer = client.list_object_versions(Bucket=bucket, MaxKeys=2, **more)
        seen += [(v["Key"], v["VersionId"], v["IsLatest"]) for v in answer["Versions"]]
        assert "DeleteMarkers" not in answer
        if not answer["IsTruncated"]:
            break
        more = {"KeyMarker": answer["NextKeyMarker"], "VersionIdMarker": answer["NextVersionIdMarker"]}
    assert seen == [(f"k{n}", "null", True) for n in range(5)]


def test_a_missing_bucket_has_no_listing(client):
    for call in (client.list_objects, client.list_objects_v2, client.list_object_versions, client.list_multipart_uploads):
        assert refused(call, Bucket="there-is-none") == (404, "NoSuchBucket")


def test_a_listing_of_many_has_the_right_end(client, bucket, flat):
    # Written through REST: a thousand signatures would be the test's longest part.
    for n in range(1000):
        status, _ = flat.rest("POST", f"/repositories/{bucket}/branches/main/objects", b"", path=f"n{n:04}")
        assert status == 201
    answer = client.list_objects_v2(Bucket=bucket)
    assert (answer["KeyCount"], answer["IsTruncated"]) == (1000, False)
    fill(client, bucket, "n1000")
    answer = client.list_objects_v2(Bucket=bucket)
    assert (answer["KeyCount"], answer["IsTruncated"]) == (1000, True)
