//! Ids, names, ref expressions, paths, time and randomness sources: the vocabulary every other crate speaks.
//!
//! Everything a client sends is a `String` only until it is parsed into one of these types
//! ([`RepositoryId`], [`BranchId`], [`TagId`], [`ObjectPath`], [`RefExpr`]); from then on the type is the proof
//! that the rules of `versioning-api` §2.1 hold. No I/O happens here.
//!
//! ```
//! use lakebed_core::{RefExpr, RefStep};
//! let expr: RefExpr = "main~2^2".parse().unwrap();
//! assert_eq!(expr.base(), "main");
//! assert_eq!(expr.steps(), [RefStep::Ancestor(2), RefStep::Parent(2)]);
//! ```

mod chain;
mod clock;
mod entropy;
mod ids;
mod names;
mod path;
mod ref_expr;
pub mod traces;

pub use chain::chain;
pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use entropy::{Entropy, SeededEntropy, SystemEntropy};
pub use ids::{CommitId, IdParseError, Incarnation, LayerId, NodeId, ObjectName};
pub use names::{BranchId, NameError, RepositoryId, TagId};
pub use path::{ObjectPath, PathError};
pub use ref_expr::{RefExpr, RefExprError, RefModifier, RefStep};
