//! The pages of the server itself: what this is and where things are (`/`), and the API's documentation (`/api/docs`).

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use sha2::{Digest, Sha256};

/// The page at `/`; `HOST` stands for the address the visitor used.
pub(crate) const PAGE: &str = include_str!("page.html");

/// What browsers may load and run on it: its own style, nothing else.
pub(crate) const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'",
);

/// The documentation: draws `/openapi.json`.
pub(crate) const DOCS: &str = include_str!("docs.html");

/// What browsers may load and run on it: its own style, exactly its own script, and this server's answers.
pub(crate) static DOCS_POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let digest = STANDARD.encode(Sha256::digest(script(DOCS)));
    HeaderValue::from_str(&format!(
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ))
    .unwrap_or(POLICY)
});

/// What stands between the tags of a page's one script.
fn script(page: &str) -> &str {
    page.split_once("<script>")
        .and_then(|(_, rest)| rest.split_once("</script>"))
        .map_or("", |(script, _)| script)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_has_one_script_and_loads_nothing_from_elsewhere() {
        assert_eq!(DOCS.matches("<script").count(), 1);
        assert!(script(DOCS).contains("openapi.json"));
        for outside in ["http://", "https://", "src=", "@import", " url(", "innerHTML"] {
            assert!(!DOCS.contains(outside), "{outside}");
        }
        assert!(DOCS_POLICY.to_str().unwrap().contains("script-src 'sha256-"));
    }
}
