//! Names of repositories, branches and tags, with the rules of `versioning-api` §2.1.

use std::{borrow::Borrow, fmt, str::FromStr};

/// Why a name is refused. The text follows the form old clients look for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("argument {argument}: '{text}' is not {rule}: invalid value: validation error")]
pub struct NameError {
    /// The argument that was wrong (`repository`, `branchID`, `tagID`).
    pub argument: &'static str,
    /// The name given, cut short.
    pub text: String,
    /// What the name must look like.
    pub rule: &'static str,
}

/// Names of branches and tags are parts of keys of the metadata engines, and those are bounded.
const LONGEST: usize = 4000;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $argument:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str { &self.0 }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                let check: fn(&str) -> bool = $check;
                if check(text) { Ok(Self(text.into())) } else { Err(NameError { argument: $argument, text: text.chars().take(80).collect(), rule: $rule }) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.0) }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "{}({:?})", stringify!($name), &self.0) }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str { &self.0 }
        }
    };
}

name!(
    /// The name of a repository: `^[a-z0-9][a-z0-9-]{2,62}$`.
    RepositoryId, "repository", "a name of 3 to 63 characters a-z, 0-9 and '-', not starting with '-'",
    |text| (3..=63).contains(&text.len())
        && !text.starts_with('-')
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
);

name!(
    /// The name of a branch: `^\w[-\w]*$`.
    BranchId, "branchID", "a name of at most 4000 letters, digits, '_' and '-', not starting with '-'",
    |text| (1..=LONGEST).contains(&text.len())
        && !text.starts_with('-')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
);

name!(
    /// The name of a tag: as git's check-ref-format, without `/`.
    TagId, "tagID", "a tag id of at most 4000 bytes",
    |text| (1..=LONGEST).contains(&text.len())
        && text != "@"
        && !text.contains("..")
        && !text.contains("@{")
        && !text.ends_with('.')
        && !text.as_bytes().ends_with(b".lock")
        && !text.chars().any(|c| c.is_control() || c == ' ' || "^:?*[\\/".contains(c))
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repository_names() {
        for good in ["a-c", "0ab", "abc-", &"a".repeat(63)] {
            assert!(good.parse::<RepositoryId>().is_ok(), "{good}");
        }
        for bad in ["", "ab", "Ab_c", "-abc", "a.b.c", "a_bc", &"a".repeat(64), "äbc"] {
            assert!(bad.parse::<RepositoryId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn branch_names() {
        for good in ["1", "_x", "a-b_c", "767", &"a".repeat(4000)] {
            assert!(good.parse::<BranchId>().is_ok(), "{good}");
        }
        for bad in ["", "x.y", "a/b", "-a", "a b", "a:b", "ä", &"a".repeat(4001)] {
            assert!(bad.parse::<BranchId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn tag_names() {
        for good in ["v1.0", "x.lock.y", ".x", "-x", "a~1", "ü", "a@b", "{}"] {
            assert!(good.parse::<TagId>().is_ok(), "{good}");
        }
        for bad in [
            "",
            &"a".repeat(4001),
            "rel/1",
            "a:b",
            "a b",
            "a^1",
            "a..b",
            "@",
            "a.",
            "x.lock",
            "a@{b",
            "a\\b",
            "a\tb",
        ] {
            assert!(bad.parse::<TagId>().is_err(), "{bad}");
        }
    }
}
