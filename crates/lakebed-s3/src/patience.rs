//! Answers that take long: the client is told early that its request was taken, and kept from giving up with white
//! space in front of the document (`s3-gateway` §8.6, §8.8). An error behind that point is a document, too.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use lakebed_http::AnswerBody;

use crate::call::Call;
use crate::error::{S3Error, Scene};
use crate::reply::{self, Reply};
use crate::xml::DECLARATION;

/// How long a client is left without a word.
const FIRST_WORD: Duration = Duration::from_secs(1);

/// How often it hears that there is still work.
const STILL_WORKING: Duration = Duration::from_secs(10);

/// An [`S3Error`]'s scene, to be kept while the work goes on.
struct OwnScene {
    bucket: Option<String>,
    key: Option<String>,
    resource: String,
    region: String,
    request_id: String,
}

impl OwnScene {
    fn of(call: &Call) -> Self {
        Self {
            bucket: call.place.bucket().map(str::to_owned),
            key: call.place.key().map(|key| key.as_str().to_owned()),
            resource: call.parts.uri.path().to_owned(),
            region: call.s3.config().region.clone(),
            request_id: call.request_id.clone(),
        }
    }

    fn document(&self, error: &S3Error) -> String {
        error.document(&Scene {
            bucket: self.bucket.as_deref(),
            key: self.key.as_deref(),
            resource: &self.resource,
            region: &self.region,
            request_id: &self.request_id,
        })
    }
}

type Work = Pin<Box<dyn Future<Output = Result<String, S3Error>> + Send>>;

/// Answers with the document that `work` makes. If the client goes away, the work stops where it is.
pub(crate) async fn answer<F>(call: Call, work: impl FnOnce(Call) -> F) -> Reply
where
    F: Future<Output = Result<String, S3Error>> + Send + 'static,
{
    let scene = OwnScene::of(&call);
    let mut work: Work = Box::pin(work(call));
    if let Ok(document) = tokio::time::timeout(FIRST_WORD, &mut work).await {
        return Ok(reply::xml(StatusCode::OK, document?));
    }
    let mut response = reply::empty(StatusCode::OK);
    *response.body_mut() = AnswerBody::open(Box::pin(words(work, scene, STILL_WORKING)));
    Ok(response)
}

/// The declaration, white space while there is work, the rest of the document.
fn words(
    work: Work,
    scene: OwnScene,
    pause: Duration,
) -> impl futures::Stream<Item = Result<Bytes, lakebed_blocks::BodyError>> + Send {
    let begun = (Some(work), scene, false);
    futures::stream::unfold(begun, move |(work, scene, declared)| async move {
        let mut work = work?;
        if !declared {
            return Some((Ok(Bytes::from_static(DECLARATION.as_bytes())), (Some(work), scene, true)));
        }
        match tokio::time::timeout(pause, &mut work).await {
            Err(_) => Some((Ok(Bytes::from_static(b" ")), (Some(work), scene, true))),
            Ok(result) => {
                let document = result.unwrap_or_else(|error| scene.document(&error));
                let rest = document.strip_prefix(DECLARATION).unwrap_or(&document).to_owned();
                Some((Ok(rest.into()), (None, scene, true)))
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;
    use crate::error::Code;

    /// What is said while and after work that ends in `result` once two spaces were heard.
    async fn spoken(result: Result<String, S3Error>) -> String {
        let scene = OwnScene {
            bucket: Some("repo".to_owned()),
            key: None,
            resource: "/repo".to_owned(),
            region: String::new(),
            request_id: "id".to_owned(),
        };
        let (done, wait) = tokio::sync::oneshot::channel::<()>();
        let work = async move {
            wait.await.unwrap();
            result
        };
        let mut words = Box::pin(words(Box::pin(work), scene, Duration::ZERO));
        let mut heard = Vec::new();
        for _ in 0..3 {
            heard.push(words.next().await.unwrap().unwrap());
        }
        done.send(()).unwrap();
        while let Some(word) = words.next().await {
            heard.push(word.unwrap());
        }
        String::from_utf8(heard.concat()).unwrap()
    }

    #[tokio::test]
    async fn white_space_comes_between_declaration_and_document() {
        let document = format!("{DECLARATION}<A></A>");
        assert_eq!(spoken(Ok(document)).await, format!("{DECLARATION}  <A></A>"));
    }

    #[tokio::test]
    async fn a_late_error_is_a_document() {
        let text = spoken(Err(S3Error::of(Code::PreconditionFailed))).await;
        assert!(
            text.starts_with(&format!("{DECLARATION}  <Error><Code>PreconditionFailed</Code>")),
            "{text}"
        );
        assert!(text.contains("<RequestId>id</RequestId>"));
    }
}
