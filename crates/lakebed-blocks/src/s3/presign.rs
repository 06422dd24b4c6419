//! URLs that let a client read or write one object for a while, with no credentials of its own.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::presigning::PresigningConfig;

use super::S3Store;
use super::errors::{failed, unbuilt};
use super::location::Location;
use crate::{BlockAddress, BlockError, PresignedGet};

/// What S3 allows at most.
const LONGEST: Duration = Duration::from_hours(7 * 24);

fn life(life: Duration) -> Result<PresigningConfig, BlockError> {
    PresigningConfig::expires_in(life.clamp(Duration::from_secs(1), LONGEST))
        .map_err(|error| unbuilt("presign", &error))
}

impl S3Store {
    /// The client whose URLs clients can use.
    async fn presigner<'a>(&self, address: &'a BlockAddress) -> Result<(Client, Location<'a>), BlockError> {
        if self.config.disable_presign {
            return Err(BlockError::Unsupported("presigned URLs"));
        }
        let (client, at) = self.at(address).await?;
        let Some(endpoint) = &self.config.presign_endpoint else { return Ok((client, at)) };
        let config = client.config().to_builder().endpoint_url(endpoint).build();
        Ok((Client::from_conf(config), at))
    }

    pub(super) async fn sign_get(
        &self,
        address: &BlockAddress,
        wanted: &PresignedGet,
        expires: Duration,
    ) -> Result<String, BlockError> {
        let (client, at) = self.presigner(address).await?;
        let signed = client
            .get_object()
            .bucket(at.bucket)
            .key(at.key)
            .set_response_content_disposition(wanted.disposition.clone())
            .set_response_content_type(wanted.content_type.clone())
            .presigned(life(expires)?)
            .await
            .map_err(|error| failed("presign", address, &error))?;
        Ok(signed.uri().to_owned())
    }

    pub(super) async fn sign_put(
        &self,
        address: &BlockAddress,
        expires: Duration,
    ) -> Result<String, BlockError> {
        let (client, at) = self.presigner(address).await?;
        let signed = client
            .put_object()
            .bucket(at.bucket)
            .key(at.key)
            .presigned(life(expires)?)
            .await
            .map_err(|error| failed("presign", address, &error))?;
        Ok(signed.uri().to_owned())
    }

    pub(super) async fn sign_part(
        &self,
        address: &BlockAddress,
        upload: &str,
        number: u32,
        expires: Duration,
    ) -> Result<String, BlockError> {
        if self.config.disable_presign_parts {
            return Err(BlockError::Unsupported("presigned URLs of parts"));
        }
        let (client, at) = self.presigner(address).await?;
        let signed = client
            .upload_part()
            .bucket(at.bucket)
            .key(at.key)
            .upload_id(upload)
            .part_number(number as i32)
            .presigned(life(expires)?)
            .await
            .map_err(|error| failed("presign", address, &error))?;
        Ok(signed.uri().to_owned())
    }
}
