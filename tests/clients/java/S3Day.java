import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.URI;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.core.ResponseBytes;
import software.amazon.awssdk.core.async.AsyncRequestBody;
import software.amazon.awssdk.core.async.AsyncResponseTransformer;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.s3.S3AsyncClient;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.S3Configuration;
import software.amazon.awssdk.services.s3.model.ChecksumAlgorithm;
import software.amazon.awssdk.services.s3.model.CommonPrefix;
import software.amazon.awssdk.services.s3.model.CompletedPart;
import software.amazon.awssdk.services.s3.model.GetObjectResponse;
import software.amazon.awssdk.services.s3.model.HeadObjectResponse;
import software.amazon.awssdk.services.s3.model.NoSuchBucketException;
import software.amazon.awssdk.services.s3.model.NoSuchKeyException;
import software.amazon.awssdk.services.s3.model.ObjectIdentifier;
import software.amazon.awssdk.services.s3.model.PutObjectResponse;
import software.amazon.awssdk.services.s3.model.S3Exception;
import software.amazon.awssdk.services.s3.model.S3Object;
import software.amazon.awssdk.services.s3.presigner.S3Presigner;

/** What a program does with the SDK in a day, with its default settings but for the address. */
public final class S3Day {
    private final S3Client s3;
    private final S3AsyncClient async;
    private final S3Presigner presigner;
    private final String repo;

    private S3Day(String endpoint, String key, String secret, String repo) {
        var keys = StaticCredentialsProvider.create(AwsBasicCredentials.create(key, secret));
        var at = URI.create(endpoint);
        this.repo = repo;
        s3 = S3Client.builder().endpointOverride(at).region(Region.US_EAST_1).credentialsProvider(keys)
                .forcePathStyle(true).build();
        async = S3AsyncClient.builder().endpointOverride(at).region(Region.US_EAST_1).credentialsProvider(keys)
                .forcePathStyle(true).multipartEnabled(true)
                .multipartConfiguration(parts -> parts.minimumPartSizeInBytes(5L << 20).thresholdInBytes(8L << 20)).build();
        presigner = S3Presigner.builder().endpointOverride(at).region(Region.US_EAST_1).credentialsProvider(keys)
                .serviceConfiguration(S3Configuration.builder().pathStyleAccessEnabled(true).build()).build();
    }

    public static void main(String[] args) throws Exception {
        var day = new S3Day(args[0], args[1], args[2], args[3]);
        day.objects();
        day.lists();
        day.conditions();
        day.parts();
        day.large();
        day.presigned();
        day.copiesAndDeletions();
        day.refusals();
        System.out.println("all well");
    }

    private static void check(boolean holds, Object seen) {
        if (!holds) {
            throw new AssertionError(String.valueOf(seen));
        }
    }

    private static byte[] bytes(int size, int seed) {
        byte[] content = new byte[size];
        new Random(seed).nextBytes(content);
        return content;
    }

    private byte[] content(String key) {
        return s3.getObjectAsBytes(get -> get.bucket(repo).key(key)).asByteArray();
    }

    private PutObjectResponse put(String key, byte[] content) {
        return s3.putObject(put -> put.bucket(repo).key(key), RequestBody.fromBytes(content));
    }

    private static S3Exception refused(Runnable what) {
        try {
            what.run();
        } catch (S3Exception error) {
            return error;
        }
        throw new AssertionError("it was not refused");
    }

    private void objects() {
        for (String name : List.of("a.txt", "a b+c=é.txt", "蒙AH 蓝+1.jpg", "x//y", "%2F")) {
            byte[] body = name.getBytes(StandardCharsets.UTF_8);
            String key = "main/objects/" + name;
            var put = s3.putObject(p -> p.bucket(repo).key(key).contentType("text/x").metadata(Map.of("who", "me")),
                    RequestBody.fromBytes(body));
            check(put.checksumCRC32() != null, put);
            ResponseBytes<GetObjectResponse> got = s3.getObjectAsBytes(g -> g.bucket(repo).key(key));
            check(Arrays.equals(got.asByteArray(), body), key);
            check(got.response().eTag().equals(put.eTag()), got.response());
            HeadObjectResponse head = s3.headObject(h -> h.bucket(repo).key(key));
            check(head.contentLength() == body.length && "text/x".equals(head.contentType()), head);
            check("me".equals(head.metadata().get("who")), head);
        }
        // A stream of known length, and every checksum the SDK can make by itself.
        for (ChecksumAlgorithm algorithm : List.of(ChecksumAlgorithm.CRC32, ChecksumAlgorithm.SHA1, ChecksumAlgorithm.SHA256)) {
            byte[] body = bytes(300_000, 1);
            String key = "main/objects/by-" + algorithm;
            InputStream stream = new ByteArrayInputStream(body);
            s3.putObject(p -> p.bucket(repo).key(key).checksumAlgorithm(algorithm), RequestBody.fromInputStream(stream, body.length));
            check(Arrays.equals(content(key), body), key);
        }
        var range = s3.getObjectAsBytes(g -> g.bucket(repo).key("main/objects/a.txt").range("bytes=2-4"));
        check(range.asUtf8String().equals("txt") && range.response().contentRange().equals("bytes 2-4/5"), range.response());
        put("main/objects/empty", new byte[0]);
        check(content("main/objects/empty").length == 0, "empty");
    }

    private void lists() {
        for (int n = 0; n < 25; n++) {
            put("main/lists/" + n / 10 + "/" + n, new byte[] {1});
        }
        Set<String> found = new HashSet<>();
        for (S3Object object : s3.listObjectsV2Paginator(l -> l.bucket(repo).prefix("main/lists/").maxKeys(7)).contents()) {
            check(found.add(object.key()), object);
        }
        check(found.size() == 25, found);
        List<String> folded = new ArrayList<>();
        for (CommonPrefix prefix : s3.listObjectsV2(l -> l.bucket(repo).prefix("main/lists/").delimiter("/")).commonPrefixes()) {
            folded.add(prefix.prefix());
        }
        check(folded.equals(List.of("main/lists/0/", "main/lists/1/", "main/lists/2/")), folded);
        check(s3.listBuckets().buckets().stream().anyMatch(bucket -> bucket.name().equals(repo)), "buckets");
        s3.headBucket(h -> h.bucket(repo));
        var root = s3.listObjectsV2(l -> l.bucket(repo)).commonPrefixes();
        check(root.size() == 1 && root.get(0).prefix().equals("main/"), root);
    }

    private void conditions() {
        String key = "main/conditions";
        var first = s3.putObject(p -> p.bucket(repo).key(key).ifNoneMatch("*"), RequestBody.fromString("one"));
        var again = refused(() -> s3.putObject(p -> p.bucket(repo).key(key).ifNoneMatch("*"), RequestBody.fromString("two")));
        check(again.statusCode() == 412 && again.awsErrorDetails().errorCode().equals("PreconditionFailed"), again);
        s3.putObject(p -> p.bucket(repo).key(key).ifMatch(first.eTag()), RequestBody.fromString("three"));
        var stale = refused(() -> s3.putObject(p -> p.bucket(repo).key(key).ifMatch(first.eTag()), RequestBody.fromString("four")));
        check(stale.statusCode() == 412, stale);
        check(new String(content(key), StandardCharsets.UTF_8).equals("three"), "content");
        String tag = s3.headObject(h -> h.bucket(repo).key(key)).eTag();
        var same = refused(() -> s3.getObjectAsBytes(g -> g.bucket(repo).key(key).ifNoneMatch(tag)));
        check(same.statusCode() == 304, same);
    }

    private void parts() {
        String key = "main/parts";
        byte[] one = bytes(5 << 20, 2);
        byte[] two = bytes(1000, 3);
        String upload = s3.createMultipartUpload(c -> c.bucket(repo).key(key).checksumAlgorithm(ChecksumAlgorithm.CRC32)).uploadId();
        List<CompletedPart> done = new ArrayList<>();
        int number = 1;
        for (byte[] part : List.of(one, two)) {
            int n = number++;
            var made = s3.uploadPart(u -> u.bucket(repo).key(key).uploadId(upload).partNumber(n), RequestBody.fromBytes(part));
            done.add(CompletedPart.builder().partNumber(n).eTag(made.eTag()).checksumCRC32(made.checksumCRC32()).build());
        }
        check(s3.listParts(l -> l.bucket(repo).key(key).uploadId(upload)).parts().size() == 2, "parts");
        check(s3.listMultipartUploads(l -> l.bucket(repo).prefix(key)).uploads().size() == 1, "uploads");
        var made = s3.completeMultipartUpload(c -> c.bucket(repo).key(key).uploadId(upload).multipartUpload(m -> m.parts(done)));
        check(made.eTag().endsWith("-2\""), made);
        byte[] all = content(key);
        check(all.length == one.length + two.length, all.length);
        check(Arrays.equals(Arrays.copyOfRange(all, one.length, all.length), two), "the second part");
        String given = s3.createMultipartUpload(c -> c.bucket(repo).key("main/aborted")).uploadId();
        s3.abortMultipartUpload(a -> a.bucket(repo).key("main/aborted").uploadId(given));
        check(s3.listMultipartUploads(l -> l.bucket(repo)).uploads().isEmpty(), "uploads that are left");
    }

    /** The client that splits objects by itself. */
    private void large() {
        byte[] body = bytes(23 << 20, 4);
        async.putObject(p -> p.bucket(repo).key("main/large"), AsyncRequestBody.fromBytes(body)).join();
        var got = async.getObject(g -> g.bucket(repo).key("main/large"), AsyncResponseTransformer.toBytes()).join();
        check(Arrays.equals(got.asByteArray(), body), "large");
        async.copyObject(c -> c.sourceBucket(repo).sourceKey("main/large").destinationBucket(repo).destinationKey("main/larger")).join();
        check(s3.headObject(h -> h.bucket(repo).key("main/larger")).contentLength() == body.length, "copied");
    }

    private void presigned() throws Exception {
        byte[] body = "through a URL".getBytes(StandardCharsets.UTF_8);
        URL to = presigner.presignPutObject(p -> p.signatureDuration(Duration.ofMinutes(5)).putObjectRequest(r -> r.bucket(repo).key("main/presigned"))).url();
        var connection = (HttpURLConnection) to.openConnection();
        connection.setDoOutput(true);
        connection.setRequestMethod("PUT");
        connection.getOutputStream().write(body);
        check(connection.getResponseCode() == 200, connection.getResponseCode());
        URL from = presigner.presignGetObject(p -> p.signatureDuration(Duration.ofMinutes(5)).getObjectRequest(r -> r.bucket(repo).key("main/presigned"))).url();
        try (InputStream stream = from.openStream()) {
            check(Arrays.equals(stream.readAllBytes(), body), "presigned");
        }
    }

    private void copiesAndDeletions() {
        put("main/source", bytes(100, 5));
        s3.copyObject(c -> c.sourceBucket(repo).sourceKey("main/source").destinationBucket(repo).destinationKey("main/copy of it"));
        check(Arrays.equals(content("main/copy of it"), bytes(100, 5)), "copy");
        s3.putObjectTagging(t -> t.bucket(repo).key("main/source").tagging(g -> g.tagSet(tag -> tag.key("k").value("v"))));
        check(s3.getObjectTagging(t -> t.bucket(repo).key("main/source")).tagSet().size() == 1, "tags");
        List<ObjectIdentifier> all = new ArrayList<>();
        for (S3Object object : s3.listObjectsV2Paginator(l -> l.bucket(repo).prefix("main/lists/")).contents()) {
            all.add(ObjectIdentifier.builder().key(object.key()).build());
        }
        check(s3.deleteObjects(d -> d.bucket(repo).delete(k -> k.objects(all))).deleted().size() == 25, "deleted");
        s3.deleteObject(d -> d.bucket(repo).key("main/copy of it"));
        check(s3.listObjectsV2(l -> l.bucket(repo).prefix("main/lists/")).keyCount() == 0, "left");
    }

    private void refusals() {
        var key = refused(() -> s3.getObjectAsBytes(g -> g.bucket(repo).key("main/none")));
        check(key instanceof NoSuchKeyException, key);
        var bucket = refused(() -> s3.listObjectsV2(l -> l.bucket("no-such-repository")));
        check(bucket instanceof NoSuchBucketException, bucket);
        var tag = refused(() -> put("v9/x", new byte[] {1}));
        check(tag.statusCode() == 404 && tag.awsErrorDetails().errorCode().equals("NoSuchBucket"), tag);
    }
}
