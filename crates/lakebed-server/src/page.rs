//! The page at `/`: what this is and where things are.

/// The page; `HOST` stands for the address the visitor used.
pub(crate) const PAGE: &str = include_str!("page.html");

/// What browsers may load and run on it: its own style, nothing else.
pub(crate) const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";
