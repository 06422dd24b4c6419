//! Where a request goes: the service, a bucket, or an object (`s3-gateway` §1, §2).

use http::header;
use http::request::Parts;
use percent_encoding::percent_decode_str;

use crate::S3Config;
use crate::error::{Code, S3Error};

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The list of buckets.
    Service,
    /// A bucket: the name as sent, not checked yet.
    Bucket(String),
    /// An object of a bucket.
    Object { bucket: String, key: Key },
}

/// An object's key: `<ref>/<path>`, split at the first `/`, kept byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key(String);

impl Key {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The key as the client wrote it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the first `/`: branch, tag, commit id or expression.
    pub(crate) fn reference(&self) -> &str {
        self.0.split_once('/').map_or(&self.0, |(reference, _)| reference)
    }

    /// What stands behind it; empty for keys that only name a ref (`main`, `main/`).
    pub(crate) fn path(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, path)| path)
    }
}

impl Place {
    /// The bucket named.
    pub(crate) fn bucket(&self) -> Option<&str> {
        match self {
            Self::Service => None,
            Self::Bucket(bucket) | Self::Object { bucket, .. } => Some(bucket),
        }
    }

    /// The key named.
    pub(crate) fn key(&self) -> Option<&Key> {
        match self {
            Self::Object { key, .. } => Some(key),
            _ => None,
        }
    }

    /// Finds the place in host and path. The path is percent-decoded exactly once; `+` is a plus.
    pub(crate) fn of(parts: &Parts, config: &S3Config) -> Result<Self, S3Error> {
        let decoded = percent_decode_str(parts.uri.path()).decode_utf8().map_err(|_| {
            S3Error::new(Code::InvalidURI, "Couldn't parse the specified URI: the path is not UTF-8.")
        })?;
        let path = decoded.strip_prefix('/').unwrap_or(&decoded);
        let (bucket, key) = match virtual_bucket(parts, config) {
            Some(bucket) => (bucket, path),
            None => match path.split_once('/') {
                Some((bucket, key)) => (bucket.to_owned(), key),
                None => (path.to_owned(), ""),
            },
        };
        Ok(match (bucket.is_empty(), key.is_empty()) {
            (true, true) => Self::Service,
            (true, false) => return Err(S3Error::of(Code::InvalidBucketName)),
            (false, true) => Self::Bucket(bucket),
            (false, false) => Self::Object { bucket, key: Key::new(key) },
        })
    }
}

/// The host a request names, lower case, without port and trailing dot.
pub(crate) fn host(parts: &Parts) -> Option<String> {
    let host = if let Some(host) = parts.uri.host() {
        host
    } else {
        let host = parts.headers.get(header::HOST)?.to_str().ok()?;
        match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => host,
        }
    };
    Some(host.trim_end_matches('.').to_ascii_lowercase())
}

/// Whether the host is one of the gateway's, or a bucket's under it.
pub(crate) fn is_gateway_host(parts: &Parts, config: &S3Config) -> bool {
    host(parts).is_some_and(|host| {
        config.domains.iter().any(|domain| {
            host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
    })
}

/// The bucket a virtual host names.
pub(crate) fn virtual_bucket(parts: &Parts, config: &S3Config) -> Option<String> {
    let host = host(parts)?;
    config
        .domains
        .iter()
        .filter_map(|domain| host.strip_suffix(domain.as_str())?.strip_suffix('.'))
        .find(|bucket| !bucket.is_empty())
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(uri: &str, host: &str) -> Result<Place, Code> {
        let request = http::Request::builder().uri(uri).header("host", host).body(()).unwrap();
        let config = S3Config { domains: vec!["s3.lake.example".to_owned()], ..S3Config::default() };
        Place::of(&request.into_parts().0, &config).map_err(|error| error.code())
    }

    fn object(bucket: &str, key: &str) -> Place {
        Place::Object { bucket: bucket.to_owned(), key: Key::new(key) }
    }

    #[test]
    fn path_style() {
        let host = "127.0.0.1:8000";
        assert_eq!(place("/", host), Ok(Place::Service));
        assert_eq!(place("/repo", host), Ok(Place::Bucket("repo".to_owned())));
        assert_eq!(place("/repo/", host), Ok(Place::Bucket("repo".to_owned())));
        assert_eq!(place("/repo/main//a%2Fb%2520+c", host), Ok(object("repo", "main//a/b%20+c")));
        assert_eq!(place("//x", host), Err(Code::InvalidBucketName));
        assert_eq!(place("/repo/%ff", host), Err(Code::InvalidURI));
    }

    #[test]
    fn virtual_hosts() {
        assert_eq!(place("/", "S3.lake.example:80"), Ok(Place::Service));
        assert_eq!(place("/", "repo.s3.lake.example."), Ok(Place::Bucket("repo".to_owned())));
        assert_eq!(place("/main/a", "repo.s3.lake.example"), Ok(object("repo", "main/a")));
        assert_eq!(place("/repo/main/a", "unknown.example"), Ok(object("repo", "main/a")));
    }

    #[test]
    fn keys_split_at_the_first_slash() {
        for (key, reference, path) in [
            ("main/a/b", "main", "a/b"),
            ("main//a", "main", "/a"),
            ("main", "main", ""),
            ("main/", "main", ""),
        ] {
            let key = Key::new(key);
            assert_eq!((key.reference(), key.path()), (reference, path));
        }
    }
}
