//! Under which targets the spans of traces are made, so that who makes them need not know who takes them.
//!
//! With `tracing`'s macros: `#[tracing::instrument(target = SPAN, name = "commit", skip_all)]`. Nobody takes them unless
//! traces are exported; then a span costs a look at its call site, and its fields are not computed. No span says what is in
//! an object, nor its path: paths are data.

/// Spans within a request or a piece of background work. Outside of one that is traced they are not made.
pub const SPAN: &str = "lakebed::trace";

/// The span of a request. Whoever makes it has decided that this request is traced.
pub const REQUEST_SPAN: &str = "lakebed::trace::request";

/// The outermost span of background work; of these a share is made, as of requests that nobody traces already.
pub const WORK_SPAN: &str = "lakebed::trace::work";
