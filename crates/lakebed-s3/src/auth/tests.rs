//! The published signatures, and what is refused. The clock stands at 2013-05-24.

use std::sync::Arc;

use lakebed_auth::{Auth, AuthConfig};
use lakebed_blocks::MemStore;
use lakebed_catalog::{Catalog, CatalogConfig};
use lakebed_core::{Clock, ManualClock, SeededEntropy, Timestamp};
use lakebed_kv::MemKv;
use proptest::prelude::*;

use super::*;
use crate::S3Config;

const KEY: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const HOST: &str = "examplebucket.s3.amazonaws.com";

async fn door_at(secs: i64) -> S3 {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(Timestamp::from_secs(secs)));
    let entropy = Arc::new(SeededEntropy::new(1));
    let kv = Arc::new(MemKv::new());
    let auth = Auth::new(AuthConfig {
        kv: kv.clone(),
        clock: clock.clone(),
        entropy: entropy.clone(),
        secret_key: b"secret".to_vec(),
        login_duration_secs: 60,
    });
    auth.setup("admin", Some((KEY.to_owned(), SECRET.to_owned()))).await.unwrap();
    let catalog = Catalog::new(CatalogConfig {
        kv,
        blocks: Arc::new(MemStore::new()),
        clock,
        entropy: entropy.clone(),
        node_cache_bytes: 1 << 20,
        signing_key: b"k".to_vec(),
    });
    S3::new(catalog, auth, S3Config::default(), entropy).unwrap()
}

async fn door() -> S3 {
    door_at(1_369_353_600).await
}

fn parts(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = http::Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

async fn check(s3: &S3, parts: &Parts) -> Result<Payload, Code> {
    let query = Query::parse(parts.uri.query()).map_err(|error| error.code())?;
    let hash = needs_body_hash(parts).then_some(EMPTY);
    let known = authenticate(s3, parts, &query, hash).await.map_err(|error| error.code())?;
    assert_eq!(known.principal.user_id, "admin");
    Ok(known.payload)
}

fn authorization(signed: &str, signature: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential={KEY}/20130524/us-east-1/s3/aws4_request,SignedHeaders={signed},\
         Signature={signature}"
    )
}

#[tokio::test]
async fn the_published_header_signatures_verify() {
    let s3 = door().await;
    let date = ("x-amz-date", "20130524T000000Z");
    let hash = ("x-amz-content-sha256", EMPTY);
    for (uri, extra, signature) in [
        ("/test.txt", true, "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
        ("/?lifecycle", false, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        ("/?max-keys=2&prefix=J", false, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ] {
        let names = if extra {
            "host;range;x-amz-content-sha256;x-amz-date"
        } else {
            "host;x-amz-content-sha256;x-amz-date"
        };
        let good = authorization(names, signature);
        let mut headers = vec![("host", HOST), date, hash, ("authorization", good.as_str())];
        if extra {
            headers.push(("range", "bytes=0-9"));
        }
        assert!(matches!(check(&s3, &parts("GET", uri, &headers)).await, Ok(Payload::Hash(_))), "{uri}");
        assert_eq!(check(&s3, &parts("HEAD", uri, &headers)).await.err(), Some(Code::SignatureDoesNotMatch));
        headers[0].1 = "other.example";
        assert_eq!(check(&s3, &parts("GET", uri, &headers)).await.err(), Some(Code::SignatureDoesNotMatch));
    }
}

#[tokio::test]
async fn a_path_signed_as_sent_verifies_too() {
    let s3 = door().await;
    let signed = "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class";
    let value = authorization(signed, "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
    let headers = [
        ("host", HOST),
        ("date", "Fri, 24 May 2013 00:00:00 GMT"),
        ("x-amz-date", "20130524T000000Z"),
        ("x-amz-content-sha256", "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"),
        ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ("authorization", value.as_str()),
    ];
    for uri in ["/test%24file.text", "/test$file.text"] {
        assert!(check(&s3, &parts("PUT", uri, &headers)).await.is_ok(), "{uri}");
    }
}

#[tokio::test]
async fn the_published_chunked_seed_verifies() {
    let s3 = door().await;
    let signed = "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;\
                  x-amz-decoded-content-length;x-amz-storage-class";
    let value = authorization(signed, "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9");
    let headers = [
        ("host", "s3.amazonaws.com"),
        ("x-amz-date", "20130524T000000Z"),
        ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ("content-encoding", "aws-chunked"),
        ("content-length", "66824"),
        ("x-amz-decoded-content-length", "66560"),
        ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
        ("authorization", value.as_str()),
    ];
    let payload = check(&s3, &parts("PUT", "/examplebucket/chunkObject.txt", &headers)).await;
    assert!(matches!(payload, Ok(Payload::Chunks { signer: Some(_), trailer: false })));
}

const PRESIGNED: &str = "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256\
    &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
    &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
    &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";

#[tokio::test]
async fn a_presigned_url_is_good_until_it_expires() {
    let at = |secs: i64| async move {
        let s3 = door_at(1_369_353_600 + secs).await;
        check(&s3, &parts("GET", PRESIGNED, &[("host", HOST)])).await.err()
    };
    assert_eq!(at(0).await, None);
    assert_eq!(at(86_400).await, None);
    assert_eq!(at(86_401).await, Some(Code::AccessDenied));
    assert_eq!(at(-900).await, None);
    assert_eq!(at(-901).await, Some(Code::AccessDenied));
}

#[tokio::test]
async fn presigned_urls_are_checked() {
    let s3 = door().await;
    let fails = |from: &'static str, to: &'static str| {
        let s3 = s3.clone();
        async move { check(&s3, &parts("GET", &PRESIGNED.replace(from, to), &[("host", HOST)])).await.err() }
    };
    let incomplete = Some(Code::AuthorizationQueryParametersError);
    assert_eq!(fails("Expires=86400", "Expires=0").await, incomplete);
    assert_eq!(fails("Expires=86400", "Expires=-1").await, incomplete);
    assert_eq!(fails("Expires=86400", "Expires=604801").await, incomplete);
    assert_eq!(fails("X-Amz-Date", "X-Date").await, incomplete);
    assert_eq!(fails("SHA256", "SHA1").await, incomplete);
    assert_eq!(fails("d404", "d405").await, Some(Code::SignatureDoesNotMatch));
    assert_eq!(fails("7EXAMPLE", "8EXAMPLE").await, Some(Code::InvalidAccessKeyId));
    for given in ["AWS a:b", "AWS4-HMAC-SHA256 x", "Basic YTpi", "Bearer x"] {
        let both = [("host", HOST), ("authorization", given)];
        assert_eq!(check(&s3, &parts("GET", PRESIGNED, &both)).await.err(), Some(Code::InvalidArgument));
    }
    assert_eq!(
        check(&s3, &parts("HEAD", PRESIGNED, &[("host", HOST)])).await.err(),
        Some(Code::SignatureDoesNotMatch)
    );
    let acl = [("host", HOST), ("x-amz-acl", "public-read")];
    assert_eq!(check(&s3, &parts("GET", PRESIGNED, &acl)).await.err(), Some(Code::AccessDenied));
}

#[tokio::test]
async fn old_dates_are_refused() {
    let s3 = door_at(1_369_353_600 + 901).await;
    let value = authorization("host;x-amz-date", "f0e8");
    let headers = [("host", HOST), ("x-amz-date", "20130524T000000Z"), ("authorization", value.as_str())];
    assert_eq!(check(&s3, &parts("GET", "/", &headers)).await.err(), Some(Code::RequestTimeTooSkewed));
    let headers = [("host", HOST), ("x-amz-date", "20130525T000000Z"), ("authorization", value.as_str())];
    assert_eq!(
        check(&s3, &parts("GET", "/", &headers)).await.err(),
        Some(Code::AuthorizationHeaderMalformed)
    );
}

#[test]
fn signed_requests_are_recognised() {
    for (uri, headers, signed) in [
        ("/", &[("authorization", "AWS4-HMAC-SHA256 x")][..], true),
        ("/", &[("authorization", "AWS a:b")], true),
        ("/", &[("authorization", "Basic a")], false),
        ("/?X-Amz-Signature=x", &[], true),
        ("/?a=b&X-Amz-Credential", &[], true),
        ("/?AWSAccessKeyId=x&Signature=y", &[], true),
        ("/?AWSAccessKeyId=x", &[], false),
        ("/?XX-Amz-Signature=x&Signature=", &[], false),
    ] {
        assert_eq!(is_signed(&parts("GET", uri, headers)), signed, "{uri}");
    }
}

proptest! {
    #[test]
    fn hostile_signatures_never_panic(text in "AWS(4-HMAC-SHA256)? [ -~]{0,80}", query in "[ -~&=/%]{0,60}") {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let s3 = door().await;
            let mut parts = parts("GET", "/", &[("host", HOST), ("x-amz-date", "20130524T000000Z")]);
            parts.headers.insert(header::AUTHORIZATION, text.parse().unwrap());
            let query = Query::parse(Some(&query)).unwrap_or_default();
            assert!(authenticate(&s3, &parts, &query, Some(EMPTY)).await.is_err());
        });
    }
}
