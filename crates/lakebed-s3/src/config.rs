//! Settings of the door (`s3-gateway` §2.1).

/// How the gateway behaves. Keys are `gateways.s3.*`.
#[derive(Clone, Debug)]
pub struct S3Config {
    /// `domain_name`: host names that are the gateway; `<bucket>.<domain>` is a bucket. Lower case, without port.
    pub domains: Vec<String>,
    /// `region`: the region we say to be in. Requests signed for any other are accepted.
    pub region: String,
    /// `verify_unsupported`: refuse sub-resources that are known but not served, instead of ignoring them.
    pub verify_unsupported: bool,
    /// `max_clock_skew`, in seconds: how far a request's date may be from ours.
    pub max_clock_skew_secs: i64,
    /// The least size of a part that is not the last, in bytes.
    pub min_part_bytes: u64,
}

impl Default for S3Config {
    fn default() -> Self {
        Self {
            domains: vec!["s3.local.lakefs.io".to_owned()],
            region: "us-east-1".to_owned(),
            verify_unsupported: true,
            max_clock_skew_secs: 900,
            min_part_bytes: 5 << 20,
        }
    }
}
