//! The S3 protocol to catalog calls.
