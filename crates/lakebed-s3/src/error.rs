//! Errors, and the one place where the catalog's and auth's refusals become S3's codes (`s3-gateway` §5).

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use lakebed_auth::AuthError;
use lakebed_blocks::{BlockError, BodyError};
use lakebed_catalog::{CatalogError, ErrorKind};
use lakebed_http::Silence;

use crate::xml::Writer;

macro_rules! codes {
    ($($name:ident $status:literal $message:literal,)*) => {
        /// S3's error codes, and those of lakeFS that clients know.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Code { $($name),* }

        impl Code {
            /// As `<Code>` has it.
            pub(crate) fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),* }
            }

            fn status_number(self) -> u16 {
                match self { $(Self::$name => $status),* }
            }

            fn message(self) -> &'static str {
                match self { $(Self::$name => $message),* }
            }
        }
    };
}

codes! {
    AccessDenied 403 "Access Denied.",
    AuthorizationHeaderMalformed 400 "The authorization header is malformed.",
    AuthorizationQueryParametersError 400 "The query parameters of the signature are incomplete or malformed.",
    BadRequest 400 "The request is malformed.",
    BadDigest 400 "The Content-MD5 you specified did not match what we received.",
    AccessForbidden 403 "CORSResponse: This CORS request is not allowed. This is usually because the evaluation of Origin, request method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec.",
    BucketAlreadyOwnedByYou 409 "The bucket exists already, and you own it.",
    BucketNotEmpty 409 "The bucket you tried to delete is not empty.",
    ConditionalRequestConflict 409 "A conflicting conditional operation is currently in progress against this resource. Try again.",
    ERRLakeFSNotSupported 405 "This operation is not supported.",
    EntityTooLarge 400 "Your proposed upload exceeds the maximum allowed object size.",
    EntityTooSmall 400 "Your proposed upload is smaller than the minimum allowed size",
    ErrNoSuchBucketPossibleAPIEndpoint 404 "Repository \"api\" not found; this can happen if your endpoint URL mistakenly ends in \"/api/v1\".",
    ErrReadOnlyRepository 403 "The repository is read-only.",
    ErrWriteToProtectedBranch 403 "The branch is protected: write to another branch and merge it.",
    IncompleteBody 400 "You did not provide the number of bytes specified by the Content-Length HTTP header",
    InternalError 500 "We encountered an internal error. Please try again.",
    InvalidAccessKeyId 403 "The AWS Access Key Id you provided does not exist in our records.",
    InvalidArgument 400 "Invalid argument.",
    InvalidBucketName 400 "The specified bucket is not valid.",
    InvalidDigest 400 "The Content-MD5 you specified is not valid.",
    InvalidLocationConstraint 400 "The specified location-constraint is not valid.",
    InvalidPart 400 "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.",
    InvalidPartNumber 416 "The requested partnumber is not satisfiable.",
    InvalidPartOrder 400 "The list of parts was not in ascending order. Parts must be ordered by part number.",
    InvalidPolicyDocument 400 "The content of the form does not meet the conditions specified in the policy document.",
    InvalidRange 416 "The requested range is not satisfiable",
    InvalidRedirectLocation 400 "The website redirect location is not valid.",
    InvalidRequest 400 "Invalid request.",
    InvalidStorageClass 400 "The storage class you specified is not valid.",
    InvalidTag 400 "The tag provided was not a valid tag.",
    InvalidURI 400 "Couldn't parse the specified URI.",
    KeyTooLongError 400 "Your key is too long.",
    MalformedPOSTRequest 400 "The body of your POST request is not well-formed multipart/form-data.",
    MalformedTrailerError 400 "The request contained trailing data that was not well-formed or did not conform to our published schema.",
    MalformedXML 400 "The XML you provided was not well-formed or did not validate against our published schema.",
    MaxPostPreDataLengthExceeded 400 "Your POST request fields preceding the upload file were too large.",
    MetadataTooLarge 400 "Your metadata headers exceed the maximum allowed metadata size",
    MissingContentLength 411 "You must provide the Content-Length HTTP header.",
    MissingRequestBodyError 400 "Request Body is empty.",
    NoSuchBucket 404 "The specified bucket does not exist.",
    NoSuchBucketPolicy 404 "The bucket policy does not exist.",
    NoSuchCORSConfiguration 404 "The CORS configuration does not exist.",
    NoSuchKey 404 "The specified key does not exist.",
    NoSuchLifecycleConfiguration 404 "The lifecycle configuration does not exist.",
    NoSuchPublicAccessBlockConfiguration 404 "The public access block configuration was not found.",
    NoSuchTagSet 404 "There is no tag set associated with the bucket.",
    NoSuchUpload 404 "The specified multipart upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.",
    NoSuchVersion 404 "The specified version does not exist.",
    NoSuchWebsiteConfiguration 404 "The specified bucket does not have a website configuration.",
    NotImplemented 501 "A header you provided implies functionality that is not implemented.",
    NotModified 304 "Not Modified.",
    ObjectLockConfigurationNotFoundError 404 "Object Lock configuration does not exist for this bucket.",
    PreconditionFailed 412 "At least one of the pre-conditions you specified did not hold.",
    ReplicationConfigurationNotFoundError 404 "The replication configuration was not found.",
    RequestHeaderSectionTooLarge 400 "Your request header and query-string parameters exceed the maximum allowed size.",
    RequestTimeout 400 "Your socket connection to the server was not read from or written to within the timeout period.",
    RequestTimeTooSkewed 403 "The difference between the request time and the server's time is too large.",
    ServerSideEncryptionConfigurationNotFoundError 404 "The server side encryption configuration was not found.",
    SignatureDoesNotMatch 403 "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
    SlowDown 503 "Please reduce your request rate.",
    XAmzContentSHA256Mismatch 400 "The provided 'x-amz-content-sha256' header does not match what was computed.",
}

/// Why a request is not served, as the client will read it.
#[derive(Debug, thiserror::Error)]
#[error("{}: {message}", code.as_str())]
pub(crate) struct S3Error {
    code: Code,
    message: Cow<'static, str>,
    /// Overrides the code's own status.
    status: Option<StatusCode>,
    /// Further elements, in order.
    elements: Vec<(&'static str, String)>,
    /// On the answer; few errors have any.
    headers: Option<Box<HeaderMap>>,
}

/// Where an error happened: elements every error shows.
pub(crate) struct Scene<'a> {
    pub bucket: Option<&'a str>,
    pub key: Option<&'a str>,
    pub resource: &'a str,
    pub region: &'a str,
    pub request_id: &'a str,
}

impl S3Error {
    /// The code with its usual message.
    pub(crate) fn of(code: Code) -> Self {
        Self::new(code, code.message())
    }

    /// The code with a message that says more.
    pub(crate) fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), status: None, elements: Vec::new(), headers: None }
    }

    /// 400 `InvalidArgument` that names the argument.
    pub(crate) fn argument(name: &'static str, value: &str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::InvalidArgument, message).with("ArgumentName", name).with("ArgumentValue", value)
    }

    /// A fault of ours. The client learns that there was one, the log learns which.
    pub(crate) fn internal(what: &str, error: &dyn std::error::Error) -> Self {
        let mut chain = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            chain = format!("{chain}: {error}");
            source = error.source();
        }
        tracing::error!(what, error = %chain, "request failed");
        Self::of(Code::InternalError)
    }

    /// The key-value engine does not answer for now. The client learns to come again, the log learns why.
    fn unavailable(error: &dyn std::error::Error) -> Self {
        tracing::error!(%error, "the key-value engine does not answer");
        Self::of(Code::SlowDown).with_header(header::RETRY_AFTER, HeaderValue::from_static("1"))
    }

    pub(crate) fn code(&self) -> Code {
        self.code
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn status(&self) -> StatusCode {
        let own =
            StatusCode::from_u16(self.code.status_number()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        self.status.unwrap_or(own)
    }

    /// With another status than the code's own.
    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = Some(status);
        self
    }

    /// With a further element.
    pub(crate) fn with(mut self, element: &'static str, value: impl Into<String>) -> Self {
        self.elements.push((element, value.into()));
        self
    }

    /// With a header on the answer.
    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.get_or_insert_default().append(name, value);
        self
    }

    /// With headers on the answer.
    pub(crate) fn with_headers(mut self, headers: HeaderMap) -> Self {
        self.headers.get_or_insert_default().extend(headers);
        self
    }

    pub(crate) fn into_headers(self) -> HeaderMap {
        self.headers.map(|headers| *headers).unwrap_or_default()
    }

    /// The document clients read.
    pub(crate) fn document(&self, scene: &Scene<'_>) -> String {
        let mut xml = Writer::bare();
        xml.open("Error").text("Code", self.code.as_str()).prose("Message", &self.message);
        for (name, value) in &self.elements {
            xml.text(name, &shown(value));
        }
        let said = |name: &str| self.elements.iter().any(|(known, _)| *known == name);
        if let Some(key) = scene.key.filter(|_| !said("Key")) {
            xml.text("Key", &shown(key));
        }
        if let Some(bucket) = scene.bucket.filter(|_| !said("BucketName")) {
            xml.text("BucketName", bucket);
        }
        xml.text("Resource", scene.resource).text("Region", scene.region);
        xml.text("RequestId", scene.request_id).text("HostId", &host_id(scene.request_id));
        xml.finish("Error")
    }
}

/// A text of the client's in an error, which every parser must be able to read: characters that XML has no place for
/// are replaced.
fn shown(text: &str) -> String {
    let foreign = |c: char| {
        (c.is_control() && !matches!(c, '\t' | '\n' | '\r')) || matches!(c, '\u{fffe}' | '\u{ffff}')
    };
    text.replace(foreign, "\u{fffd}")
}

/// 16 digits, as clients' logs are used to: another face of the request's id.
fn host_id(request_id: &str) -> String {
    request_id
        .chars()
        .filter(char::is_ascii_hexdigit)
        .take(16)
        .map(|digit| digit.to_ascii_uppercase())
        .collect()
}

impl From<CatalogError> for S3Error {
    fn from(error: CatalogError) -> Self {
        if let CatalogError::Blocks(BlockError::Body(body)) = error {
            return body.into();
        }
        if let CatalogError::PartTooSmall { number, etag, size, least } = error {
            return Self::of(Code::EntityTooSmall)
                .with("ProposedSize", size.to_string())
                .with("MinSizeAllowed", least.to_string())
                .with("PartNumber", number.to_string())
                .with("ETag", etag);
        }
        let say = |code| Self::new(code, error.to_string());
        match error.kind() {
            ErrorKind::Invalid | ErrorKind::KeyReused => say(Code::InvalidArgument),
            ErrorKind::RepositoryNotFound => Self::of(Code::NoSuchBucket),
            // Clients that write to a branch that is not there are told what they would be told of a bucket.
            ErrorKind::BranchNotFound => {
                Self::new(Code::NoSuchBucket, format!("The specified bucket does not exist: {error}"))
            }
            // A 404 would make some clients try to create the bucket.
            ErrorKind::NotABranch | ErrorKind::Forbidden => say(Code::AccessDenied),
            ErrorKind::TagNotFound
            | ErrorKind::RefNotFound
            | ErrorKind::AmbiguousRef
            | ErrorKind::NotFound => say(Code::NoSuchKey),
            ErrorKind::ObjectNotFound => Self::of(Code::NoSuchKey),
            // The object is known, so this is no 404; a code that clients know keeps them from asking again.
            ErrorKind::ObjectGone => Self::new(Code::NoSuchVersion, "The data behind this object is gone.")
                .with_status(StatusCode::GONE),
            ErrorKind::UploadNotFound => Self::of(Code::NoSuchUpload),
            // The last two are of tasks, which no S3 request waits for.
            ErrorKind::AlreadyExists
            | ErrorKind::MergeConflict
            | ErrorKind::Conflict
            | ErrorKind::Expired
            | ErrorKind::Cancelled => say(Code::ConditionalRequestConflict),
            ErrorKind::NamespaceRefused | ErrorKind::NoChanges | ErrorKind::Dirty => {
                say(Code::InvalidRequest)
            }
            ErrorKind::Protected => Self::of(Code::ErrWriteToProtectedBranch),
            ErrorKind::ReadOnly => Self::of(Code::ErrReadOnlyRepository),
            ErrorKind::PreconditionFailed => Self::of(Code::PreconditionFailed),
            ErrorKind::InvalidPart => Self::of(Code::InvalidPart).with("Detail", error.to_string()),
            ErrorKind::InvalidPartOrder => Self::of(Code::InvalidPartOrder),
            ErrorKind::PartTooSmall => Self::of(Code::EntityTooSmall),
            ErrorKind::Unsupported => say(Code::NotImplemented),
            ErrorKind::Busy => {
                Self::of(Code::SlowDown).with_header(header::RETRY_AFTER, HeaderValue::from_static("1"))
            }
            ErrorKind::OutcomeUnknown => {
                say(Code::SlowDown).with_header(header::RETRY_AFTER, HeaderValue::from_static("1"))
            }
            ErrorKind::Body => Self::of(Code::IncompleteBody),
            ErrorKind::StoreUnavailable => {
                tracing::error!(%error, "the object store failed");
                say(Code::SlowDown).with_header(header::RETRY_AFTER, HeaderValue::from_static("1"))
            }
            ErrorKind::StoreFailed => {
                tracing::error!(%error, "the object store failed");
                say(Code::InternalError)
            }
            ErrorKind::EngineUnavailable => Self::unavailable(&error),
            ErrorKind::Internal => Self::internal("catalog", &error),
        }
    }
}

impl From<BodyError> for S3Error {
    /// A body's verifier puts its own refusal into the stream; anything else is a connection that broke.
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Client(source) => match source.downcast::<Self>() {
                Ok(refusal) => *refusal,
                Err(source) if Silence::is_in(&*source).is_some() => Self::of(Code::RequestTimeout),
                Err(_) => Self::of(Code::IncompleteBody),
            },
            BodyError::Store(error) => CatalogError::Blocks(*error).into(),
        }
    }
}

impl From<AuthError> for S3Error {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Unauthenticated => Self::of(Code::AccessDenied),
            AuthError::Denied { .. } => Self::new(Code::AccessDenied, format!("Access Denied: {error}.")),
            error if error.is_passing() => Self::unavailable(&error),
            error => Self::internal("auth", &error),
        }
    }
}
