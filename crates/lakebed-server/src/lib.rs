//! One port: routes S3, REST and the page; limits, metrics, shutdown.
