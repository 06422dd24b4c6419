//! Signatures of browsers' forms: their policy is what is signed, by version 4 or 2 (`s3-gateway` §8.11).

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lakebed_auth::Principal;
use subtle::ConstantTimeEq;

use super::v4::{ALGORITHM, Credential};
use super::{date_time, lookup, v2, v4};
use crate::S3;
use crate::error::{Code, S3Error};
use crate::form::Fields;

/// A user, and the key that signed.
type Signer = (Arc<Principal>, String);

/// Who signed the form's policy.
pub(crate) async fn authenticate(s3: &S3, fields: &Fields) -> Result<Signer, S3Error> {
    let any = |names: &[&str]| names.iter().any(|name| fields.get(name).is_some());
    let is_v4 = any(&["x-amz-algorithm", "x-amz-credential", "x-amz-signature"]);
    if !is_v4 && !any(&["policy", "signature"]) {
        return Err(S3Error::of(Code::AccessDenied).with("Detail", "The form has no policy."));
    }
    let policy = fields.required("policy")?;
    if is_v4 { version4(s3, fields, policy).await } else { version2(s3, fields, policy).await }
}

async fn version4(s3: &S3, fields: &Fields, policy: &str) -> Result<Signer, S3Error> {
    let signature = fields.required("x-amz-signature")?;
    let algorithm = fields.required("x-amz-algorithm")?;
    let (credential, date) = (fields.required("x-amz-credential")?, fields.required("x-amz-date")?);
    if algorithm != ALGORITHM {
        let why = "Only AWS4-HMAC-SHA256 is supported";
        return Err(S3Error::argument("X-Amz-Algorithm", algorithm, why));
    }
    let parsed = Credential::parse(credential)
        .map_err(|why| S3Error::argument("x-amz-credential", credential, why))?;
    if date_time::parse(date).is_none() || !date.starts_with(parsed.scope.date) {
        let why = "X-Amz-Date must be formated via ISO8601 Long format";
        return Err(S3Error::argument("X-Amz-Date", date, why)
            .with("Detail", "It must look like 20130524T000000Z, of the day in x-amz-credential."));
    }
    let key = lookup(s3, parsed.access_key).await?;
    let signing_key = s3.keys().get(&parsed, &key.secret);
    if !v4::is_signature(&signing_key, policy, signature) {
        return Err(v4::mismatch(parsed.access_key, signature, policy));
    }
    Ok((key.principal, parsed.access_key.to_owned()))
}

async fn version2(s3: &S3, fields: &Fields, policy: &str) -> Result<Signer, S3Error> {
    let signature = fields.required("signature")?;
    let access_key = fields.required("awsaccesskeyid")?;
    let key = lookup(s3, access_key).await?;
    let right = STANDARD.encode(v2::hmac_sha1(key.secret.as_bytes(), policy.as_bytes()));
    if !bool::from(right.as_bytes().ct_eq(signature.as_bytes())) {
        return Err(v4::mismatch(access_key, signature, policy));
    }
    Ok((key.principal, access_key.to_owned()))
}
