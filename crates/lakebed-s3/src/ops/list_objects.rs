//! Listing objects, in both versions (`s3-gateway` §8.3).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::listing::{Keys, Shape, find, may_list, of_bucket, write_lines};
use crate::call::Call;
use crate::error::S3Error;
use crate::operation::{Needs, Operation};
use crate::reply::Reply;
use crate::xml::Writer;

/// The first byte of a continuation token: its format.
const TOKEN_VERSION: u8 = 1;

/// `GET /bucket`
pub(crate) struct ListObjects {
    shape: Shape,
    marker: String,
}

impl Operation for ListObjects {
    fn parse(call: &Call) -> Result<Self, S3Error> {
        let marker = call.query.get("marker").unwrap_or_default().to_owned();
        Ok(Self { shape: Shape::parse(call)?, marker })
    }

    fn needs(&self, call: &Call) -> Result<Needs, S3Error> {
        Ok(may_list(call, &self.shape.prefix))
    }

    async fn run(self, call: Call) -> Reply {
        let Self { shape, marker } = &self;
        let found = find(&call, shape, &shape.meant(marker)).await?;
        let mut xml = Writer::result("ListBucketResult");
        xml.text("Name", call.place.bucket().unwrap_or_default());
        xml.text("Prefix", &shape.show(&shape.prefix)).text("Marker", &shape.encode(marker));
        if !shape.delimiter.is_empty()
            && let Some(next) = found.next()
        {
            xml.text("NextMarker", &shape.show(next));
        }
        xml.value("KeyCount", if found.at_ref_level { 0 } else { found.lines.len() });
        shape.write_tail(found.more, &mut xml);
        write_lines(&mut xml, &call, shape, &found.lines, Keys::Objects { with_owner: true })?;
        let mut response = of_bucket(&call, xml.finish("ListBucketResult"))?;
        call.name_commit(found.commit.as_ref(), response.headers_mut());
        Ok(response)
    }
}

/// `GET /bucket?list-type=2`
pub(crate) struct ListObjectsV2 {
    shape: Shape,
    token: Option<String>,
    start_after: Option<String>,
    fetch_owner: bool,
}

impl Operation for ListObjectsV2 {
    fn parse(call: &Call) -> Result<Self, S3Error> {
        let query = &call.query;
        Ok(Self {
            shape: Shape::parse(call)?,
            token: query.get("continuation-token").map(str::to_owned),
            start_after: query.get("start-after").map(str::to_owned),
            fetch_owner: query.get("fetch-owner").is_some_and(|value| value.eq_ignore_ascii_case("true")),
        })
    }

    fn needs(&self, call: &Call) -> Result<Needs, S3Error> {
        Ok(may_list(call, &self.shape.prefix))
    }

    async fn run(self, call: Call) -> Reply {
        let Self { shape, token, start_after, fetch_owner } = &self;
        let after = match token.as_deref() {
            None | Some("") => start_after.clone().unwrap_or_default(),
            Some(token) => read_token(token)?,
        };
        let found = find(&call, shape, &shape.meant(&after)).await?;
        let mut xml = Writer::result("ListBucketResult");
        xml.text("Name", call.place.bucket().unwrap_or_default());
        xml.text("Prefix", &shape.show(&shape.prefix));
        if let Some(start_after) = start_after {
            xml.text("StartAfter", &shape.encode(start_after));
        }
        if let Some(token) = token {
            xml.text("ContinuationToken", token);
        }
        if let Some(next) = found.next() {
            xml.text("NextContinuationToken", &write_token(shape.known(next)));
        }
        xml.value("KeyCount", found.lines.len());
        shape.write_tail(found.more, &mut xml);
        write_lines(&mut xml, &call, shape, &found.lines, Keys::Objects { with_owner: *fetch_owner })?;
        let mut response = of_bucket(&call, xml.finish("ListBucketResult"))?;
        call.name_commit(found.commit.as_ref(), response.headers_mut());
        Ok(response)
    }
}

/// A token holds the last key or prefix shown: it is good on every server and after restarts.
fn write_token(last: &str) -> String {
    let mut bytes = vec![TOKEN_VERSION];
    bytes.extend_from_slice(last.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn read_token(token: &str) -> Result<String, S3Error> {
    let wrong =
        || S3Error::argument("continuation-token", token, "The continuation token provided is incorrect");
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| wrong())?;
    match bytes.split_first() {
        Some((&TOKEN_VERSION, last)) => String::from_utf8(last.to_vec()).map_err(|_| wrong()),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_round_trip_and_garbage_is_refused() {
        for key in ["main/a b", "ü", ""] {
            assert_eq!(read_token(&write_token(key)).ok().as_deref(), Some(key));
        }
        for bad in ["no token", "x", "AAAA", "____"] {
            assert!(read_token(bad).is_err(), "{bad}");
        }
    }
}
