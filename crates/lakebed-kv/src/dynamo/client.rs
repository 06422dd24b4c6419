//! Calls of DynamoDB: JSON over HTTP, signed; what an answer means, and what no answer does.
//!
//! Its protocol is small (one address, one method, JSON), and what matters here is exactly what a client library hides:
//! whether a request that failed may have happened. So the calls are our own; credentials, their sources and signatures are
//! the AWS SDK's.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_config::BehaviorVersion;
use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use lakebed_core::{Entropy, chain};
use serde_json::Value;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;

use super::config::DynamoConfig;
use super::{DynamoCall, DynamoWatch};
use crate::KvError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Of connections nothing is asked over; the service ends them later than that.
const IDLE: Duration = Duration::from_secs(20);
/// The most that is read of an answer; the service sends 16 MB at most, in base 64.
const ANSWER: usize = 32 << 20;
/// Before the first repetition at most; doubles with each.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// The same for those that wait for other transactions, which end soon.
const CONTENDED_PAUSE: Duration = Duration::from_millis(4);
const LONGEST_CONTENDED_PAUSE: Duration = Duration::from_millis(250);
/// How long a request is repeated at most, whatever the reason.
const DEADLINE: Duration = Duration::from_secs(30);
/// Credentials are asked for anew this long before they end.
const FRESH: Duration = Duration::from_mins(1);

/// What a refusal says.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) status: u16,
    /// The name of the exception.
    pub(super) kind: String,
    pub(super) message: String,
    /// Of a cancelled transaction: a code for each action.
    pub(super) reasons: Vec<String>,
}

/// Why an attempt brought nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// There is nothing to sign it with: nothing happened.
    NoCredentials(String),
    /// It never left: nothing happened.
    NotSent(String),
    /// It left, and what came of it is not known.
    Lost(String),
    /// It was refused: nothing happened.
    Said(Said),
}

/// What follows from a failure.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The condition of the action with this number does not hold.
    Refused(usize),
    /// Another transaction is at work on one of the items.
    Contended,
    /// The same may succeed later.
    Passing,
    /// The credentials ended: others are asked for.
    Expired,
    /// Asking again is of no use.
    Final,
}

impl Failure {
    pub(super) fn meaning(&self) -> Meaning {
        let Self::Said(said) = self else { return Meaning::Passing };
        match said.kind.as_str() {
            "ConditionalCheckFailedException" => Meaning::Refused(0),
            "TransactionConflictException" | "TransactionInProgressException" => Meaning::Contended,
            "ProvisionedThroughputExceededException"
            | "ThrottlingException"
            | "RequestLimitExceeded"
            | "LimitExceededException" => Meaning::Passing,
            "ExpiredTokenException" | "ExpiredToken" => Meaning::Expired,
            "TransactionCanceledException" => cancelled(&said.reasons),
            _ if said.status == 429 => Meaning::Passing,
            _ => Meaning::Final,
        }
    }

    /// What it says, and what to do about it.
    pub(super) fn error(&self, operation: &str) -> KvError {
        let text = match self {
            Self::NoCredentials(why) => format!(
                "no credentials for DynamoDB ({operation}): set database.dynamodb.aws_access_key_id and \
                 aws_secret_access_key, database.dynamodb.aws_profile, or one of the usual AWS sources: {why}"
            ),
            Self::NotSent(why) | Self::Lost(why) => {
                format!("DynamoDB cannot be reached ({operation}): {why}")
            }
            Self::Said(said) => {
                let advice = match said.kind.as_str() {
                    "AccessDeniedException" => {
                        ": allow its action on the table (the documentation lists what is needed)"
                    }
                    "UnrecognizedClientException"
                    | "InvalidSignatureException"
                    | "MissingAuthenticationTokenException"
                    | "IncompleteSignatureException" => {
                        ": check the credentials (database.dynamodb.aws_*, or the usual AWS sources) and the clock"
                    }
                    "ResourceNotFoundException" => {
                        ": was the table deleted? A server makes it when it starts, empty"
                    }
                    "ProvisionedThroughputExceededException"
                    | "ThrottlingException"
                    | "RequestLimitExceeded" => ": give the table more capacity, or on-demand billing",
                    _ => "",
                };
                let Said { kind, message, reasons, .. } = said;
                let mut codes: Vec<&str> =
                    reasons.iter().map(String::as_str).filter(|code| *code != "None").collect();
                codes.dedup();
                let codes = if codes.is_empty() { String::new() } else { format!(" [{}]", codes.join(", ")) };
                format!("DynamoDB refuses {operation}: {kind}{codes} {message}{advice}")
            }
        };
        match self.meaning() {
            Meaning::Passing | Meaning::Contended => KvError::Unavailable(text.into()),
            Meaning::Refused(_) | Meaning::Expired | Meaning::Final => KvError::Engine(text.into()),
        }
    }
}

/// A condition that does not hold decides, whatever else was in the way.
fn cancelled(reasons: &[String]) -> Meaning {
    if let Some(at) = reasons.iter().position(|code| code == "ConditionalCheckFailed") {
        return Meaning::Refused(at);
    }
    let is = |codes: &[&str]| reasons.iter().any(|code| codes.contains(&code.as_str()));
    if is(&["ValidationError", "ItemCollectionSizeLimitExceeded", "AccessDenied"]) {
        Meaning::Final
    } else if is(&["ProvisionedThroughputExceeded", "ThrottlingError"]) {
        Meaning::Passing
    } else if is(&["TransactionConflict"]) {
        Meaning::Contended
    } else {
        Meaning::Final
    }
}

/// How a write ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decided {
    Done,
    /// The condition of the action with this number does not hold.
    Refused(usize),
    Unknown,
}

/// A table's service.
pub(super) struct Client {
    http: Http<HttpsConnector<HttpConnector>, Full<Bytes>>,
    endpoint: String,
    region: String,
    provider: SharedCredentialsProvider,
    credentials: Mutex<Option<Credentials>>,
    entropy: Arc<dyn Entropy>,
    watch: Arc<dyn DynamoWatch>,
    slots: Option<Semaphore>,
    attempts: u32,
    attempt_timeout: Duration,
}

/// The time signatures are made for and credentials end by. It decides nothing of the engine's own.
#[expect(clippy::disallowed_methods, reason = "signatures name the time of the machine")]
fn now() -> SystemTime {
    SystemTime::now()
}

impl Client {
    /// Finds region and sources of credentials; nothing is asked of the service yet.
    pub(super) async fn new(
        config: &DynamoConfig,
        entropy: Arc<dyn Entropy>,
        watch: Arc<dyn DynamoWatch>,
    ) -> Result<Self, KvError> {
        let sources = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build_https();
        let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(sources);
        let mut in_profile = ProfileFileRegionProvider::builder();
        if let Some(profile) = &config.profile {
            loader = loader.profile_name(profile);
            in_profile = in_profile.profile_name(profile);
        }
        let region = RegionProviderChain::first_try(config.region.clone().map(aws_config::Region::new))
            .or_else(EnvironmentVariableRegionProvider::new())
            .or_else(in_profile.build())
            .or_else(aws_config::Region::from_static("us-east-1"));
        loader = loader.region(region);
        if let Some((key, secret)) = &config.credentials {
            loader = loader.credentials_provider(Credentials::new(key, secret, None, None, "configuration"));
        }
        let shared = loader.load().await;
        let region = shared.region().map_or_else(|| "us-east-1".to_owned(), ToString::to_string);
        let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        let endpoint = match config.endpoint.as_deref().or(shared.endpoint_url()) {
            Some(given) => format!("{}/", given.trim_end_matches('/')),
            None => format!("https://dynamodb.{region}.{suffix}/"),
        };
        let valid = endpoint
            .parse::<http::Uri>()
            .is_ok_and(|uri| uri.authority().is_some() && matches!(uri.scheme_str(), Some("http" | "https")));
        if !valid {
            return Err(KvError::Invalid(format!(
                "database.dynamodb.endpoint: '{endpoint}' is no address like https://host:port"
            )));
        }
        let provider = shared.credentials_provider().ok_or_else(|| {
            KvError::Invalid(
                "DynamoDB needs credentials: set database.dynamodb.aws_access_key_id and aws_secret_access_key, or \
                 one of the usual AWS sources"
                    .to_owned(),
            )
        })?;
        let failed = |error: std::io::Error| KvError::Engine(format!("TLS: {error}").into());
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(rustls::crypto::ring::default_provider())
            .map_err(failed)?
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let http = Http::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Ok(Self {
            http,
            endpoint,
            region,
            provider,
            credentials: Mutex::new(None),
            entropy,
            watch,
            slots: (config.max_connections > 0).then(|| Semaphore::new(config.max_connections)),
            attempts: config.max_attempts.max(1),
            attempt_timeout: config.attempt_timeout,
        })
    }

    pub(super) fn entropy(&self) -> &dyn Entropy {
        &*self.entropy
    }

    async fn credentials(&self) -> Result<Credentials, Failure> {
        let mut kept = self.credentials.lock().await;
        if let Some(credentials) = &*kept {
            let ends = credentials.expiry();
            if ends.is_none_or(|ends| ends > now() + FRESH) {
                return Ok(credentials.clone());
            }
        }
        let fresh = self
            .provider
            .provide_credentials()
            .await
            .map_err(|error| Failure::NoCredentials(chain(&error)))?;
        *kept = Some(fresh.clone());
        Ok(fresh)
    }

    async fn signed(&self, operation: &str, body: &Bytes) -> Result<http::Request<Full<Bytes>>, Failure> {
        let unsigned =
            |error: &dyn std::error::Error| Failure::NotSent(format!("cannot sign: {}", chain(error)));
        let target = format!("DynamoDB_20120810.{operation}");
        let headers = [(CONTENT_TYPE.as_str(), "application/x-amz-json-1.0"), ("x-amz-target", &target)];
        let identity = self.credentials().await?.into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("dynamodb")
            .time(now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| unsigned(&error))?
            .into();
        let signable =
            SignableRequest::new("POST", &self.endpoint, headers.into_iter(), SignableBody::Bytes(body))
                .map_err(|error| unsigned(&error))?;
        let (signature, _) = sign(signable, &parameters).map_err(|error| unsigned(&error))?.into_parts();
        let mut request = http::Request::post(&self.endpoint);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let mut request = request.body(Full::new(body.clone())).map_err(|error| unsigned(&error))?;
        signature.apply_to_request_http1x(&mut request);
        Ok(request)
    }

    /// One attempt.
    async fn once(&self, operation: &'static str, body: &Bytes) -> Result<Value, Failure> {
        let _slot = match &self.slots {
            Some(slots) => slots.acquire().await.ok(),
            None => None,
        };
        let begun = Instant::now();
        let result = self.exchange(operation, body).await;
        let capacity = result.as_ref().map_or(0.0, capacity);
        let failed = result
            .as_ref()
            .err()
            .is_some_and(|failure| !matches!(failure.meaning(), Meaning::Refused(_) | Meaning::Contended));
        self.watch.called(DynamoCall { operation, took: begun.elapsed(), failed, capacity });
        result
    }

    async fn exchange(&self, operation: &'static str, body: &Bytes) -> Result<Value, Failure> {
        let request = self.signed(operation, body).await?;
        let answer = async {
            let response = self.http.request(request).await.map_err(|error| {
                let why = chain(&error);
                if error.is_connect() { Failure::NotSent(why) } else { Failure::Lost(why) }
            })?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER).collect().await;
            let body = body.map_err(|error| Failure::Lost(chain(&*error)))?.to_bytes();
            Ok((status, body))
        };
        let (status, body) = tokio::time::timeout(self.attempt_timeout, answer)
            .await
            .map_err(|_| Failure::Lost(format!("no answer within {:?}", self.attempt_timeout)))??;
        let parsed: Option<Value> = serde_json::from_slice(&body).ok();
        if status.is_success() {
            return parsed.ok_or_else(|| Failure::Lost("an answer that is no JSON".to_owned()));
        }
        let said = said(status.as_u16(), parsed.as_ref());
        // An inner error may have struck before or behind the write.
        if status.is_server_error() || said.kind.is_empty() {
            return Err(Failure::Lost(format!("{status} {} {}", said.kind, said.message)));
        }
        Err(Failure::Said(said))
    }

    /// A request that changes nothing, or the same however often it happens: repeated until it is answered.
    pub(super) async fn ask(&self, operation: &'static str, body: &Value) -> Result<Value, Failure> {
        let body = Bytes::from(body.to_string());
        let mut patience = Patience::new(self);
        loop {
            let failure = match self.once(operation, &body).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            if !patience.another(&failure).await {
                return Err(failure);
            }
        }
    }

    /// A write that must happen once. Sent again if it certainly did not happen; and if that is not known, only where the
    /// service itself takes care (`with_token`).
    pub(super) async fn write(
        &self,
        operation: &'static str,
        body: &Value,
        with_token: bool,
    ) -> Result<Decided, Failure> {
        let body = Bytes::from(body.to_string());
        let mut patience = Patience::new(self);
        // An attempt was lost. If it arrives late, while no other succeeded, it is a first one to the service: so whatever
        // later ones are told, except that they succeeded (by then or before), it may still happen.
        let mut unsure = false;
        loop {
            let Err(failure) = self.once(operation, &body).await else { return Ok(Decided::Done) };
            if let Failure::Lost(why) = &failure {
                tracing::debug!(operation, why, "no answer of DynamoDB to a write");
                unsure = true;
                if !with_token {
                    return Ok(Decided::Unknown);
                }
            }
            if let Meaning::Refused(at) = failure.meaning() {
                return Ok(if unsure { Decided::Unknown } else { Decided::Refused(at) });
            }
            if !patience.another(&failure).await {
                return if unsure { Ok(Decided::Unknown) } else { Err(failure) };
            }
        }
    }
}

/// How often and for how long a request is repeated.
struct Patience<'a> {
    client: &'a Client,
    begun: Instant,
    attempts: u32,
    contended: u32,
    renewed: bool,
}

impl<'a> Patience<'a> {
    fn new(client: &'a Client) -> Self {
        Self { client, begun: Instant::now(), attempts: 0, contended: 0, renewed: false }
    }

    /// Pauses before another attempt; false: there is none.
    async fn another(&mut self, failure: &Failure) -> bool {
        let (first, longest, times) = match failure.meaning() {
            Meaning::Refused(_) | Meaning::Final => return false,
            Meaning::Expired if self.renewed => return false,
            Meaning::Expired => {
                self.renewed = true;
                *self.client.credentials.lock().await = None;
                return true;
            }
            Meaning::Contended => {
                self.contended += 1;
                (CONTENDED_PAUSE, LONGEST_CONTENDED_PAUSE, self.contended)
            }
            Meaning::Passing => {
                self.attempts += 1;
                (PAUSE, LONGEST_PAUSE, self.attempts)
            }
        };
        if self.attempts >= self.client.attempts || self.begun.elapsed() >= DEADLINE {
            return false;
        }
        let most = first.saturating_mul(1 << (times - 1).min(16)).min(longest);
        // Between half of it and all.
        let share = (self.client.entropy.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        tokio::time::sleep(most.mul_f64(0.5 + share / 2.0)).await;
        true
    }
}

fn said(status: u16, body: Option<&Value>) -> Said {
    let text = |name: &str| body.and_then(|body| body.get(name)).and_then(Value::as_str);
    let kind = text("__type").unwrap_or_default();
    let message = text("message").or(text("Message")).unwrap_or_default();
    let reasons = body.and_then(|body| body.get("CancellationReasons")).and_then(Value::as_array);
    let code = |reason: &Value| reason.get("Code").and_then(Value::as_str).unwrap_or("None").to_owned();
    Said {
        status,
        kind: kind.rsplit('#').next().unwrap_or_default().to_owned(),
        message: message.to_owned(),
        reasons: reasons.into_iter().flatten().map(code).collect(),
    }
}

/// Units of capacity an answer says it took.
fn capacity(answer: &Value) -> f64 {
    let units = |one: &Value| one.get("CapacityUnits").and_then(Value::as_f64).unwrap_or_default();
    match answer.get("ConsumedCapacity") {
        Some(Value::Array(all)) => all.iter().map(units).sum(),
        Some(one) => units(one),
        None => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusal(body: &Value) -> Failure {
        Failure::Said(said(400, Some(body)))
    }

    fn cancelled_by(codes: &[&str]) -> Failure {
        let reasons: Vec<_> = codes.iter().map(|code| json!({"Code": code})).collect();
        refusal(
            &json!({"__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException", "CancellationReasons": reasons}),
        )
    }

    #[test]
    fn a_cancelled_transaction_says_why() {
        assert_eq!(cancelled_by(&["None", "ConditionalCheckFailed"]).meaning(), Meaning::Refused(1));
        assert_eq!(
            cancelled_by(&["TransactionConflict", "ConditionalCheckFailed"]).meaning(),
            Meaning::Refused(1)
        );
        assert_eq!(cancelled_by(&["TransactionConflict", "None"]).meaning(), Meaning::Contended);
        assert_eq!(cancelled_by(&["TransactionConflict", "ThrottlingError"]).meaning(), Meaning::Passing);
        assert_eq!(cancelled_by(&["ProvisionedThroughputExceeded"]).meaning(), Meaning::Passing);
        assert_eq!(cancelled_by(&["ValidationError", "TransactionConflict"]).meaning(), Meaning::Final);
        assert_eq!(cancelled_by(&[]).meaning(), Meaning::Final);
    }

    #[test]
    fn refusals_say_what_to_do() {
        for (kind, meaning, advice) in [
            ("x#ThrottlingException", Meaning::Passing, "capacity"),
            ("x#AccessDeniedException", Meaning::Final, "allow its action"),
            ("UnrecognizedClientException", Meaning::Final, "credentials"),
            ("x#ExpiredTokenException", Meaning::Expired, "Expired"),
            ("x#TransactionConflictException", Meaning::Contended, "Conflict"),
        ] {
            let failure = refusal(&json!({"__type": kind, "message": "so it is"}));
            assert_eq!(failure.meaning(), meaning, "{kind}");
            let text = failure.error("PutItem").to_string();
            assert!(text.contains(advice) && text.contains("so it is"), "{text}");
        }
    }

    #[test]
    fn capacity_is_summed() {
        assert!((capacity(&json!({"ConsumedCapacity": {"CapacityUnits": 1.5}})) - 1.5).abs() < 1e-9);
        let two = json!({"ConsumedCapacity": [{"CapacityUnits": 1.5}, {"CapacityUnits": 2.0}]});
        assert!((capacity(&two) - 3.5).abs() < 1e-9);
        assert!(capacity(&json!({})).abs() < 1e-9);
    }
}
