//! The door itself.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::Full;
use lakebed_auth::Auth;
use lakebed_blocks::{BodyError, collect};
use lakebed_catalog::Catalog;
use lakebed_core::Entropy;
use lakebed_http::{AnswerBody, BoxError, InBody, byte_stream};
use sha2::{Digest, Sha256};

use crate::auth::{self, KeyCache};
use crate::call::Call;
use crate::error::{Code, S3Error, Scene};
use crate::fallback::Fallback;
use crate::place::{self, Place};
use crate::query::Query;
use crate::reply::{self, Reply};
use crate::{S3Config, cors, dispatch, ops};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
const TRACE_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The S3 door. Cheap to clone; holds nothing but caches.
#[derive(Clone)]
pub struct S3(Arc<Inner>);

struct Inner {
    catalog: Catalog,
    auth: Auth,
    config: S3Config,
    entropy: Arc<dyn Entropy>,
    keys: KeyCache,
    fallback: Option<Fallback>,
}

impl S3 {
    /// A door to this catalog. `entropy` makes request ids.
    ///
    /// # Errors
    ///
    /// There are no roots of trust for the server that requests may be handed on to.
    pub fn new(
        catalog: Catalog,
        auth: Auth,
        config: S3Config,
        entropy: Arc<dyn Entropy>,
    ) -> std::io::Result<Self> {
        let fallback = config.fallback.clone().map(Fallback::new).transpose()?;
        Ok(Self(Arc::new(Inner { catalog, auth, config, entropy, keys: KeyCache::default(), fallback })))
    }

    /// The server that requests about other buckets are handed on to.
    pub(crate) fn fallback(&self) -> Option<&Fallback> {
        self.0.fallback.as_ref()
    }

    pub(crate) fn catalog(&self) -> &Catalog {
        &self.0.catalog
    }

    pub(crate) fn auth(&self) -> &Auth {
        &self.0.auth
    }

    pub(crate) fn config(&self) -> &S3Config {
        &self.0.config
    }

    pub(crate) fn keys(&self) -> &KeyCache {
        &self.0.keys
    }

    /// Whether a request is S3's: sent to a gateway host, or signed as S3 requests are (`s3-gateway` §2).
    pub fn wants(&self, parts: &Parts) -> bool {
        // Suites that know buckets only send unsigned requests, too, to see them refused.
        if self.0.config.flat_mode && (dispatch::may_be_bucket(parts) || auth::is_unknown_scheme(parts)) {
            return true;
        }
        place::is_gateway_host(parts, &self.0.config)
            || auth::is_signed(parts)
            || dispatch::is_form(parts)
            || (self.0.config.cors.is_some() && cors::is_preflight(parts) && dispatch::may_be_bucket(parts))
    }

    /// Answers a request that [`S3::wants`] claimed.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<AnswerBody>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (parts, body) = request.into_parts();
        let request_id = self.request_id();
        let is_head = parts.method == Method::HEAD;
        let xml_type = reply::xml_type(&parts.headers);
        let trace = parts.headers.get(TRACE_ID).cloned();
        let resource = parts.uri.path().to_owned();
        let crossing = self.0.config.cors.is_some().then(|| (parts.headers.clone(), parts.method.clone()));
        let place = check_size(&parts).and_then(|()| Place::of(&parts, self.config()));
        let (bucket, key) = match &place {
            Ok(place) => (place.bucket().map(str::to_owned), place.key().map(|key| key.as_str().to_owned())),
            Err(_) => (None, None),
        };
        let answered = match place {
            Ok(place) => self.answer(parts, place, InBody::new(body), &request_id).await,
            Err(error) => Err(error),
        };
        let mut response = answered.unwrap_or_else(|error| {
            let rest_path = key.as_deref().is_some_and(|key| key == "v1" || key.starts_with("v1/"));
            // The REST API's address, given to an S3 client as its endpoint.
            let error = if error.code() == Code::NoSuchBucket && bucket.as_deref() == Some("api") && rest_path
            {
                S3Error::of(Code::ErrNoSuchBucketPossibleAPIEndpoint)
            } else {
                error
            };
            let scene = Scene {
                bucket: bucket.as_deref(),
                key: key.as_deref(),
                resource: &resource,
                region: &self.config().region,
                request_id: &request_id,
            };
            let status = error.status();
            let silent = is_head || status == StatusCode::NOT_MODIFIED;
            let mut response =
                if silent { reply::empty(status) } else { reply::xml(status, error.document(&scene)) };
            response.headers_mut().extend(error.into_headers());
            if key.is_none() && bucket.is_some() {
                reply::name_region(&mut response, &self.config().region);
            }
            response
        });
        let has_kind = is_head || !response.body().is_end_stream();
        let headers = response.headers_mut();
        if has_kind && !headers.contains_key(header::CONTENT_TYPE) {
            headers.insert(header::CONTENT_TYPE, xml_type);
        }
        if let Ok(id) = HeaderValue::from_str(&request_id) {
            headers.insert(REQUEST_ID, id);
        }
        if let Some(trace) = trace {
            headers.insert(TRACE_ID, trace);
        }
        if let (Some(rules), Some((request, method))) = (&self.0.config.cors, &crossing)
            && method != Method::OPTIONS
        {
            rules.expose(request, method, headers);
        }
        response
    }

    async fn answer(&self, parts: Parts, place: Place, body: InBody, request_id: &str) -> Reply {
        // Browsers sign no preflight; what is signed is an operation that there is not.
        if cors::is_preflight(&parts) {
            match &self.0.config.cors {
                Some(rules) => return rules.preflight(&parts),
                None if auth::is_signed(&parts) => {}
                None => {
                    let off = "CORSResponse: CORS is not enabled for this bucket.";
                    return Err(S3Error::new(Code::AccessForbidden, off));
                }
            }
        } else if parts.method == Method::OPTIONS && !auth::is_signed(&parts) {
            return Err(cors::not_asked(&parts.headers));
        }
        let query = Query::parse(parts.uri.query())?;
        if ops::form::is_form(&parts, &place, &query) {
            // Boxed: forms are rare, and other requests should not carry their size.
            return Box::pin(ops::form::upload(self, parts, place, body, request_id)).await;
        }
        if parts.method == Method::POST
            && matches!(place, Place::Bucket(_))
            && !query.has("delete")
            && !auth::is_signed(&parts)
        {
            return Err(S3Error::of(Code::PreconditionFailed)
                .with("Condition", "Bucket POST must be of the enclosure-type multipart/form-data"));
        }
        let (body, body_hash) = if auth::needs_body_hash(&parts) {
            auth::may_hold_body(self, &parts).await?;
            let (body, hash) = hashed(body).await?;
            (body, Some(hash))
        } else {
            (body, None)
        };
        let authenticated = auth::authenticate(self, &parts, &query, body_hash.as_deref()).await?;
        // Only now that the names as sent are known to be signed.
        let place = place.settle(&self.0.catalog).await?;
        let call = Call {
            s3: self.clone(),
            parts,
            place,
            query,
            principal: authenticated.principal,
            access_key: authenticated.access_key,
            payload: authenticated.payload,
            body: Some(body),
            request_id: request_id.to_owned(),
        };
        dispatch::dispatch(call).await
    }

    fn request_id(&self) -> String {
        let mut bytes = [0; 16];
        self.0.entropy.fill(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    }
}

/// Bytes of a request's headers, names and values, at most.
const MOST_HEADER_BYTES: usize = 16 << 10;

/// Bytes of a request's path and query at most: five times what the longest key takes, escaped.
const MOST_URI_BYTES: usize = 16 << 10;

/// Refuses requests whose head is longer than any client needs.
fn check_size(parts: &Parts) -> Result<(), S3Error> {
    let headers: usize =
        parts.headers.iter().map(|(name, value)| name.as_str().len() + value.as_bytes().len()).sum();
    if headers > MOST_HEADER_BYTES {
        return Err(S3Error::of(Code::RequestHeaderSectionTooLarge)
            .with("MaxSizeAllowed", MOST_HEADER_BYTES.to_string()));
    }
    if parts.uri.path().len() + parts.uri.query().map_or(0, str::len) > MOST_URI_BYTES {
        return Err(S3Error::new(Code::InvalidURI, "Couldn't parse the specified URI: it is too long."));
    }
    Ok(())
}

/// The longest body that is held to find out its hash, for clients that sign it without saying it.
const LONGEST_HASHED: usize = 1 << 20;

/// A small body and its hash.
async fn hashed(body: InBody) -> Result<(InBody, String), S3Error> {
    let unsaid = || {
        S3Error::new(Code::InvalidRequest, "Missing required header for this request: x-amz-content-sha256.")
    };
    if body.size_hint().lower() > LONGEST_HASHED as u64 {
        return Err(unsaid());
    }
    let bytes = collect(byte_stream(body), LONGEST_HASHED).await.map_err(|error| match error {
        BodyError::Client(_) => S3Error::from(error),
        BodyError::Store(_) => unsaid(),
    })?;
    let hash = hex::encode(Sha256::digest(&bytes));
    Ok((InBody::new(Full::new(bytes)), hash))
}
