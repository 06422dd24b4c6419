//! Another server that speaks PostgreSQL's protocol: PGlite, one session that all connections share by turns.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::cluster::programs;

/// A server on loopback, in memory.
pub(crate) struct Pglite {
    process: Child,
    port: u16,
}

impl Pglite {
    pub(crate) fn start() -> Self {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
        let server = root.join(".tools/pglite/node_modules/.bin/pglite-server");
        assert!(server.exists(), "PGlite is needed: make test-engines installs it");
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new("node")
            .arg(server)
            .args(["--db=memory://", "--host=127.0.0.1", "--max-connections=20"])
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut pglite = Self { process, port };
        let deadline = Instant::now() + Duration::from_mins(2);
        while !pglite.psql("SELECT 1") {
            let ended = pglite.process.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "PGlite does not start: {ended:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
        pglite
    }

    fn psql(&self, statement: &str) -> bool {
        let out =
            Command::new(programs().join("psql")).args(["-Xq", &self.address(), "-c", statement]).output();
        out.unwrap().status.success()
    }

    pub(crate) fn address(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres?sslmode=disable", self.port)
    }

    /// Makes the database as if it were new. A search path would hold for everybody: there is one schema.
    pub(crate) fn empty(&self) {
        assert!(self.psql("DROP SCHEMA public CASCADE; CREATE SCHEMA public"));
    }
}

impl Drop for Pglite {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
