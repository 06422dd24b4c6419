//! What an operation is: its shape, its permissions, what it does - in this order, and none can be left out.

use lakebed_auth::Permission;
use lakebed_http::Served;

use crate::call::Call;
use crate::error::S3Error;
use crate::reply::Reply;

/// What a request's sender must be allowed (`s3-gateway` §3.6).
pub(crate) enum Needs {
    /// All of these.
    All(Vec<Permission>),
    /// The operation asks for each key of its body by itself.
    EachKey,
}

impl Needs {
    /// One permission.
    pub(crate) fn one(permission: Permission) -> Self {
        Self::All(vec![permission])
    }
}

/// One of S3's operations.
pub(crate) trait Operation: Sized + Send {
    /// Whether the bucket must be there: all but the operation that makes it.
    const OF_BUCKET: bool = true;

    /// Reads what is in query and headers. The body is left for [`Operation::run`].
    fn parse(call: &Call) -> Result<Self, S3Error>;

    /// What the sender must be allowed.
    fn needs(&self, call: &Call) -> Result<Needs, S3Error>;

    /// Does it.
    fn run(self, call: Call) -> impl Future<Output = Reply> + Send;
}

/// Runs an operation the only way there is.
pub(crate) async fn perform<O: Operation>(call: Call) -> Reply {
    // Types are named as S3 names its operations.
    let name = std::any::type_name::<O>().rsplit("::").next();
    Served::note(|served| {
        served.operation = name;
        if served.in_detail {
            served.user = Some(call.principal.user_id.clone());
            served.repository = call.place.bucket().map(|_| call.place.repository().to_owned());
            served.reference = call.place.key().map(|key| key.reference().to_owned());
        }
    });
    let operation = match O::parse(&call) {
        Err(error) if O::OF_BUCKET => return Err(of_bucket(&call).await.err().unwrap_or(error)),
        parsed => parsed?,
    };
    match operation.needs(&call)? {
        Needs::All(permissions) => call.authorize(&permissions)?,
        Needs::EachKey => {}
    }
    operation.run(call).await
}

/// What is wrong with the bucket itself: that is said before what is wrong with a request on it, to those who may know.
async fn of_bucket(call: &Call) -> Result<(), S3Error> {
    if call.place.bucket().is_none() {
        return Ok(());
    }
    let readable = Permission::repository("fs:ReadRepository", call.place.repository());
    if call.authorize(&[readable]).is_ok() {
        call.existing().await?;
    }
    Ok(())
}
