//! Where a request goes: the service, a bucket, or an object (`s3-gateway` §1, §2).

use http::header;
use http::request::Parts;
use lakebed_catalog::Catalog;
use percent_encoding::percent_decode_str;

use crate::S3Config;
use crate::bucket::{Bucket, Key};
use crate::error::{Code, S3Error};

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The list of buckets.
    Service,
    /// A bucket.
    Bucket(Bucket),
    /// An object of a bucket.
    Object { bucket: Bucket, key: Key },
}

impl Place {
    /// The bucket.
    fn of_bucket(&self) -> Option<&Bucket> {
        match self {
            Self::Service => None,
            Self::Bucket(bucket) | Self::Object { bucket, .. } => Some(bucket),
        }
    }

    /// The name of the bucket, as sent.
    pub(crate) fn bucket(&self) -> Option<&str> {
        self.of_bucket().map(Bucket::name)
    }

    /// The name of the repository that the bucket stands for; empty where there is no bucket.
    pub(crate) fn repository(&self) -> &str {
        self.of_bucket().map_or("", Bucket::repository)
    }

    /// The ref that the bucket's name says.
    pub(crate) fn named_ref(&self) -> Option<&str> {
        self.of_bucket()?.named_ref()
    }

    /// What stands before every key of the bucket and is never shown.
    pub(crate) fn hidden(&self) -> String {
        self.of_bucket().map(Bucket::hidden).unwrap_or_default()
    }

    /// The key of this bucket that a text of the client's means.
    pub(crate) fn key_of(&self, sent: &str) -> Result<Key, S3Error> {
        Ok(self.of_bucket().ok_or_else(|| S3Error::of(Code::InvalidURI))?.key(sent))
    }

    /// The same place once it is known which branch its keys are on ([`Bucket::settle`]).
    pub(crate) async fn settle(self, catalog: &Catalog) -> Result<Self, S3Error> {
        Ok(match self {
            Self::Service => Self::Service,
            Self::Bucket(bucket) => Self::Bucket(bucket.settle(catalog).await?),
            Self::Object { bucket, key } => {
                let bucket = bucket.settle(catalog).await?;
                Self::Object { key: bucket.key(key.as_str()), bucket }
            }
        })
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
            (false, true) => Self::Bucket(Bucket::new(bucket, config)),
            (false, false) => {
                let bucket = Bucket::new(bucket, config);
                Self::Object { key: bucket.key(key), bucket }
            }
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
        let bucket = Bucket::new(bucket, &S3Config::default());
        Place::Object { key: bucket.key(key), bucket }
    }

    fn repo() -> Place {
        Place::Bucket(Bucket::new("repo", &S3Config::default()))
    }

    #[test]
    fn path_style() {
        let host = "127.0.0.1:8000";
        assert_eq!(place("/", host), Ok(Place::Service));
        assert_eq!(place("/repo", host), Ok(repo()));
        assert_eq!(place("/repo/", host), Ok(repo()));
        assert_eq!(place("/repo/main//a%2Fb%2520+c", host), Ok(object("repo", "main//a/b%20+c")));
        assert_eq!(place("//x", host), Err(Code::InvalidBucketName));
        assert_eq!(place("/repo/%ff", host), Err(Code::InvalidURI));
    }

    #[test]
    fn virtual_hosts() {
        assert_eq!(place("/", "S3.lake.example:80"), Ok(Place::Service));
        assert_eq!(place("/", "repo.s3.lake.example."), Ok(repo()));
        assert_eq!(place("/main/a", "repo.s3.lake.example"), Ok(object("repo", "main/a")));
        assert_eq!(place("/repo/main/a", "unknown.example"), Ok(object("repo", "main/a")));
    }
}
