//! Buckets by name, and how their keys are read: as `<ref>/<path>` of a repository, or - where a client wants a whole
//! bucket - as paths of one ref (`s3-gateway` §1, §12.2, §15.1).

use lakebed_catalog::{Catalog, ErrorKind};
use lakebed_core::RepositoryId;

use crate::S3Config;
use crate::error::S3Error;

/// The branch of a repository that is not there: nothing is found on it.
const NO_BRANCH: &str = "main";

/// A bucket: the name as sent, not checked yet, and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    name: String,
    repository: String,
    naming: Naming,
}

/// How the keys of a bucket are read.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Naming {
    /// As `<ref>/<path>`.
    Refs,
    /// As paths of this ref: the bucket's name is `<ref>.<repository>`.
    Ref(String),
    /// As paths of the repository's default branch, once it is known which that is.
    Default(Option<String>),
}

impl Bucket {
    /// The bucket of this name. Repositories have no dots, so one with a dot names a ref as well.
    pub(crate) fn new(name: impl Into<String>, config: &S3Config) -> Self {
        let name = name.into();
        if config.flat_mode {
            return Self { repository: name.clone(), name, naming: Naming::Default(None) };
        }
        match name.rsplit_once('.') {
            Some((reference, repository)) if config.branch_buckets && !reference.is_empty() => {
                Self { repository: repository.to_owned(), naming: Naming::Ref(reference.to_owned()), name }
            }
            _ => Self { repository: name.clone(), name, naming: Naming::Refs },
        }
    }

    /// The name as the client wrote it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The name of the repository behind it, not checked yet.
    pub(crate) fn repository(&self) -> &str {
        &self.repository
    }

    /// The ref that the bucket's name says.
    pub(crate) fn named_ref(&self) -> Option<&str> {
        match &self.naming {
            Naming::Ref(reference) => Some(reference),
            _ => None,
        }
    }

    /// The ref whose paths all keys of the bucket are, once it is settled.
    fn only_ref(&self) -> Option<&str> {
        match &self.naming {
            Naming::Refs => None,
            Naming::Ref(reference) | Naming::Default(Some(reference)) => Some(reference),
            Naming::Default(None) => Some(NO_BRANCH),
        }
    }

    /// Finds out the default branch, if the keys are on it. Done behind the signature's check, which is over the names
    /// as sent.
    pub(crate) async fn settle(mut self, catalog: &Catalog) -> Result<Self, S3Error> {
        if self.naming == Naming::Default(None)
            && let Ok(id) = self.repository.parse::<RepositoryId>()
        {
            match catalog.repository(&id).await {
                Ok(repository) => self.naming = Naming::Default(Some(repository.default_branch.clone())),
                // The operation says so itself, to those who may know.
                Err(error) if error.kind() == ErrorKind::RepositoryNotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self)
    }

    /// What stands before every key of the bucket and is never shown: `<ref>/`, or nothing.
    pub(crate) fn hidden(&self) -> String {
        self.only_ref().map_or_else(String::new, |reference| format!("{reference}/"))
    }

    /// The key that the client means by this text.
    pub(crate) fn key(&self, sent: &str) -> Key {
        let hidden = self.hidden();
        Key { hidden: hidden.len(), text: hidden + sent }
    }

    /// The path that the client means by this text, whatever the ref.
    pub(crate) fn path_of<'a>(&self, sent: &'a str) -> &'a str {
        match self.naming {
            Naming::Refs => sent.split_once('/').map_or("", |(_, path)| path),
            Naming::Ref(_) | Naming::Default(_) => sent,
        }
    }
}

/// An object's key: `<ref>/<path>`, split at the first `/`, kept byte for byte. Of a bucket that is one ref, the client
/// sees the path alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    text: String,
    /// How many bytes at its beginning the client did not write.
    hidden: usize,
}

impl Key {
    /// The key as the client wrote it.
    pub(crate) fn as_str(&self) -> &str {
        self.text.get(self.hidden..).unwrap_or_default()
    }

    /// What stands before the first `/`: branch, tag, commit id or expression.
    pub(crate) fn reference(&self) -> &str {
        self.text.split_once('/').map_or(&self.text, |(reference, _)| reference)
    }

    /// What stands behind it; empty for keys that only name a ref (`main`, `main/`).
    pub(crate) fn path(&self) -> &str {
        self.text.split_once('/').map_or("", |(_, path)| path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(name: &str) -> Bucket {
        Bucket::new(name, &S3Config::default())
    }

    #[test]
    fn keys_split_at_the_first_slash() {
        for (text, reference, path) in [
            ("main/a/b", "main", "a/b"),
            ("main//a", "main", "/a"),
            ("main", "main", ""),
            ("main/", "main", ""),
        ] {
            let key = bucket("repo").key(text);
            assert_eq!((key.reference(), key.path(), key.as_str()), (reference, path, text));
            assert_eq!(bucket("repo").path_of(text), path);
        }
    }

    #[test]
    fn a_bucket_with_a_dot_is_one_ref() {
        let bucket = bucket("v1.0.repo");
        assert_eq!((bucket.name(), bucket.repository()), ("v1.0.repo", "repo"));
        assert_eq!(bucket.named_ref(), Some("v1.0"));
        let key = bucket.key("main/a");
        assert_eq!((key.reference(), key.path(), key.as_str()), ("v1.0", "main/a", "main/a"));
        assert_eq!(bucket.path_of("main/a"), "main/a");
        let off = S3Config { branch_buckets: false, ..S3Config::default() };
        assert_eq!(Bucket::new("v1.repo", &off).repository(), "v1.repo");
    }

    #[test]
    fn in_flat_mode_a_bucket_is_a_repositorys_default_branch() {
        let flat = S3Config { flat_mode: true, ..S3Config::default() };
        let mut bucket = Bucket::new("repo", &flat);
        bucket.naming = Naming::Default(Some("trunk".to_owned()));
        let key = bucket.key("a/b");
        assert_eq!((key.reference(), key.path(), key.as_str()), ("trunk", "a/b", "a/b"));
        assert_eq!(bucket.path_of("a"), "a");
        assert_eq!(Bucket::new("a.b", &flat).repository(), "a.b");
    }
}
