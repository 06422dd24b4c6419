//! What the operations on multipart uploads have in common: which upload is meant, and what was agreed on its checksum
//! when it was begun (`s3-gateway` §4, §8.8).

use std::collections::BTreeMap;

use http::HeaderMap;
use lakebed_catalog::{Upload, UploadTarget};

use crate::call::Call;
use crate::error::{Code, S3Error};
use crate::payload::checksum::{Algorithm, CHECKSUM_TYPE};

/// Options an upload is remembered with.
const ALGORITHM: &str = "checksum-algorithm";
const KIND: &str = "checksum-type";
const INITIATOR: &str = "initiator";
const INITIATOR_NAME: &str = "initiator-name";

/// The upload that key and `uploadId` name.
pub(crate) async fn named(call: &Call) -> Result<UploadTarget, S3Error> {
    let (repository, branch, path) = call.target().await?;
    let id = call.query.get("uploadId").unwrap_or_default().to_owned();
    Ok(UploadTarget { repository, branch, path, id })
}

/// What a checksum of the whole covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The checksums of the parts.
    Composite,
    /// The bytes.
    FullObject,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Composite => "COMPOSITE",
            Self::FullObject => "FULL_OBJECT",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Composite, Self::FullObject].into_iter().find(|kind| kind.name().eq_ignore_ascii_case(name))
    }

    /// What is usual for an algorithm.
    fn usual(algorithm: Algorithm) -> Self {
        if algorithm == Algorithm::Crc64Nvme { Self::FullObject } else { Self::Composite }
    }

    fn suits(self, algorithm: Algorithm) -> bool {
        match self {
            Self::Composite => algorithm != Algorithm::Crc64Nvme,
            Self::FullObject => algorithm.crc().is_some(),
        }
    }
}

/// What is agreed on an upload's checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Agreed {
    pub algorithm: Algorithm,
    pub kind: Kind,
}

impl Agreed {
    /// What the headers of the upload's beginning say.
    pub(crate) fn parse(headers: &HeaderMap) -> Result<Option<Self>, S3Error> {
        let refused = |message: String| S3Error::new(Code::InvalidRequest, message);
        let kind = match headers.get(&CHECKSUM_TYPE).map(|value| value.to_str().unwrap_or_default()) {
            None => None,
            Some(name) => Some(
                Kind::named(name)
                    .ok_or_else(|| refused("Value for x-amz-checksum-type header is invalid.".to_owned()))?,
            ),
        };
        let Some(algorithm) = Algorithm::asked(headers)? else {
            return match kind {
                None => Ok(None),
                Some(_) => Err(refused(
                    "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header."
                        .to_owned(),
                )),
            };
        };
        let kind = kind.unwrap_or(Kind::usual(algorithm));
        if !kind.suits(algorithm) {
            return Err(refused(format!(
                "The {} checksum type cannot be used with the {} checksum algorithm.",
                kind.name(),
                algorithm.name().to_ascii_lowercase()
            )));
        }
        Ok(Some(Self { algorithm, kind }))
    }

    /// What an upload was begun with.
    pub(crate) fn of(upload: &Upload) -> Option<Self> {
        let algorithm = Algorithm::named(upload.options.get(ALGORITHM)?)?;
        let kind = upload.options.get(KIND).and_then(|name| Kind::named(name));
        Some(Self { algorithm, kind: kind.unwrap_or(Kind::usual(algorithm)) })
    }
}

/// What an upload is remembered with.
pub(crate) fn options(call: &Call, agreed: Option<Agreed>) -> BTreeMap<String, String> {
    let principal = &call.principal;
    let name = principal.friendly_name.as_ref().unwrap_or(&principal.user_id);
    let mut options = BTreeMap::from([
        (INITIATOR.to_owned(), principal.user_id.clone()),
        (INITIATOR_NAME.to_owned(), name.clone()),
    ]);
    if let Some(Agreed { algorithm, kind }) = agreed {
        options.insert(ALGORITHM.to_owned(), algorithm.name().to_owned());
        options.insert(KIND.to_owned(), kind.name().to_owned());
    }
    options
}

/// Id and name of whoever began an upload.
pub(crate) fn initiator(upload: &Upload) -> (&str, &str) {
    let of = |name: &str| upload.options.get(name).map_or("", String::as_str);
    (of(INITIATOR), of(INITIATOR_NAME))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::checksum::CHECKSUM_ALGORITHM;

    fn agreed(algorithm: Option<&'static str>, kind: Option<&'static str>) -> Result<Option<Agreed>, Code> {
        let mut headers = HeaderMap::new();
        for (name, value) in [(CHECKSUM_ALGORITHM, algorithm), (CHECKSUM_TYPE, kind)] {
            if let Some(value) = value {
                headers.insert(name, http::HeaderValue::from_static(value));
            }
        }
        Agreed::parse(&headers).map_err(|error| error.code())
    }

    #[test]
    fn algorithm_and_kind_must_suit() {
        let of = |algorithm, kind| Ok(Some(Agreed { algorithm, kind }));
        assert_eq!(agreed(None, None), Ok(None));
        assert_eq!(agreed(Some("CRC32"), None), of(Algorithm::Crc32, Kind::Composite));
        assert_eq!(agreed(Some("crc32c"), Some("FULL_OBJECT")), of(Algorithm::Crc32c, Kind::FullObject));
        assert_eq!(agreed(Some("CRC64NVME"), None), of(Algorithm::Crc64Nvme, Kind::FullObject));
        assert_eq!(agreed(Some("SHA256"), None), of(Algorithm::Sha256, Kind::Composite));
        for (algorithm, kind) in [
            (Some("CRC64NVME"), Some("COMPOSITE")),
            (Some("SHA1"), Some("FULL_OBJECT")),
            (Some("CRC7"), None),
            (Some("CRC32"), Some("HALF")),
            (None, Some("COMPOSITE")),
        ] {
            assert_eq!(agreed(algorithm, kind), Err(Code::InvalidRequest), "{algorithm:?} {kind:?}");
        }
    }
}
