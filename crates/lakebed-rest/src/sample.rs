//! Sample data for new repositories (`operations.md` §1.3): synthetic, made by `scripts/make_sample_data.py`, CC0.

use bytes::Bytes;
use lakebed_catalog::{Catalog, CatalogError, Commit, CommitRequest};
use lakebed_core::{BranchId, PathError, RepositoryId};

/// Why the sample data could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// The catalog refused or failed.
    #[error("sample data: {0}")]
    Catalog(#[from] CatalogError),
    /// A path of ours is no path.
    #[error("sample data: {0}")]
    Path(#[from] PathError),
}

macro_rules! image {
    ($name:literal) => {
        (
            concat!("images/", $name),
            "image/png",
            include_bytes!(concat!("../assets/sample/images/", $name)).as_slice(),
        )
    };
}

/// Path, content type and content of what is stored as it is.
const OBJECTS: &[(&str, &str, &[u8])] = &[
    ("lakes.parquet", "application/vnd.apache.parquet", include_bytes!("../assets/sample/lakes.parquet")),
    ("data/lakes.source.md", "text/markdown", include_bytes!("../assets/sample/data/lakes.source.md")),
    image!("lake-bed-01.png"),
    image!("lake-bed-02.png"),
    image!("lake-bed-03.png"),
    image!("lake-bed-04.png"),
    image!("lake-bed-05.png"),
    image!("lake-bed-06.png"),
    image!("lake-bed-07.png"),
    image!("lake-bed-08.png"),
    image!("lake-bed-09.png"),
    image!("lake-bed-10.png"),
    image!("lake-bed-11.png"),
    image!("lake-bed-12.png"),
    image!("lake-bed-13.png"),
    image!("lake-bed-14.png"),
    image!("lake-bed-15.png"),
    image!("lake-bed-16.png"),
    image!("lake-bed-17.png"),
    image!("lake-bed-18.png"),
    image!("lake-bed-19.png"),
    image!("lake-bed-20.png"),
    image!("lake-bed-21.png"),
    image!("lake-bed-22.png"),
    image!("lake-bed-23.png"),
    image!("lake-bed-24.png"),
    image!("lake-bed-25.png"),
    image!("lake-bed-26.png"),
    image!("lake-bed-27.png"),
    image!("lake-bed-28.png"),
    image!("lake-bed-29.png"),
];

/// The guide; it names the repository and branch it lies in.
const GUIDE: &str = include_str!("../assets/sample/README.md");

/// Fills a branch with the sample data in one commit and protects it against direct writes.
pub async fn load_sample_data(
    catalog: &Catalog,
    repository: &RepositoryId,
    branch: &BranchId,
    committer: &str,
) -> Result<Commit, SampleError> {
    let guide = GUIDE.replace("{repository}", repository.as_str()).replace("{branch}", branch.as_str());
    let guide = Bytes::from(guide);
    catalog.put_bytes(repository, branch, &"README.md".parse()?, "text/markdown", guide).await?;
    for (path, kind, content) in OBJECTS {
        catalog.put_bytes(repository, branch, &path.parse()?, kind, Bytes::from_static(content)).await?;
    }
    let request = CommitRequest {
        message: "Add sample data".to_owned(),
        committer: committer.to_owned(),
        ..CommitRequest::default()
    };
    let commit = catalog.commit(repository, branch, request).await?;
    catalog.set_branch_protection(repository, &[branch.as_str().to_owned()], None).await?;
    Ok(commit)
}
