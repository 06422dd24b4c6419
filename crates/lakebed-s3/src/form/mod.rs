//! A browser's form that uploads a file (`s3-gateway` §8.11): the form as it arrives ([`Multipart`]), its fields
//! ([`Fields`]), and what whoever signed it allows ([`Policy`]). The upload itself is in `ops`.

mod fields;
mod multipart;
mod policy;

pub(crate) use fields::Fields;
pub(crate) use multipart::{Multipart, boundary};
pub(crate) use policy::Policy;
