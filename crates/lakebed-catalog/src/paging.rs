//! Prefix, delimiter and `after` of a page: one rule for listings and diffs (`versioning-api` §10, `api-objects` §4).

use lakebed_kv::successor;

/// Where a page starts, and how its paths fold.
pub(crate) struct Folding<'a> {
    pub(crate) prefix: &'a str,
    pub(crate) delimiter: &'a str,
}

impl Folding<'_> {
    /// The folded prefix a path belongs to, delimiter included; `None` if it stands for itself.
    pub(crate) fn fold<'p>(&self, path: &'p str) -> Option<&'p str> {
        if self.delimiter.is_empty() {
            return None;
        }
        let rest = path.get(self.prefix.len()..)?;
        let at = rest.find(self.delimiter)?;
        path.get(..self.prefix.len() + at + self.delimiter.len())
    }

    /// The first key a page after `after` may show. `after` may be a path or a folded prefix, which is then skipped
    /// whole. `None`: nothing can follow.
    pub(crate) fn start(&self, after: &str) -> Option<Vec<u8>> {
        if after.is_empty() || after < self.prefix {
            return Some(self.prefix.as_bytes().to_vec());
        }
        if after.starts_with(self.prefix) && self.fold(after) == Some(after) {
            return successor(after.as_bytes());
        }
        let mut start = after.as_bytes().to_vec();
        start.push(0);
        Some(start)
    }

    /// As [`Folding::start`], but a path below a folded prefix skips the prefix, too: the rule of diffs.
    pub(crate) fn start_behind(&self, after: &str) -> Option<Vec<u8>> {
        match after.starts_with(self.prefix).then(|| self.fold(after)).flatten() {
            Some(folded) => successor(folded.as_bytes()),
            None => self.start(after),
        }
    }

    /// Whether a key is still in the page's range.
    pub(crate) fn covers(&self, key: &[u8]) -> bool {
        key.starts_with(self.prefix.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::Folding;

    #[test]
    fn folding_takes_up_to_the_first_delimiter_behind_the_prefix() {
        let flat = Folding { prefix: "", delimiter: "" };
        assert_eq!(flat.fold("a/b"), None);
        let root = Folding { prefix: "", delimiter: "/" };
        assert_eq!(root.fold("a/b/c"), Some("a/"));
        assert_eq!(root.fold("a"), None);
        let below = Folding { prefix: "a/", delimiter: "/" };
        assert_eq!(below.fold("a/"), None);
        assert_eq!(below.fold("a/b/"), Some("a/b/"));
    }

    #[test]
    fn a_page_after_a_folded_prefix_skips_it_whole() {
        let root = Folding { prefix: "", delimiter: "/" };
        assert_eq!(root.start("a/").unwrap(), b"a0");
        assert_eq!(root.start("a/1").unwrap(), b"a/1\0");
        assert_eq!(root.start_behind("a/1").unwrap(), b"a0");
        assert_eq!(root.start_behind("a").unwrap(), b"a\0");
        assert_eq!(root.start("").unwrap(), b"");
        let below = Folding { prefix: "a/", delimiter: "/" };
        assert_eq!(below.start("a/").unwrap(), b"a/\0");
        assert_eq!(below.start("Z").unwrap(), b"a/");
    }
}
