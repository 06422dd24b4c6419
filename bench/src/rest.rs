//! The calls of the REST API that the rows are made of.

use std::net::SocketAddr;

use base64::Engine;
use serde_json::{Value, json};

use crate::Failure;
use crate::http::Connection;
use crate::server::{KEY, SECRET};

/// Request headers, made once.
pub(crate) struct Rest {
    json: String,
    bytes: String,
    /// What addresses of the server's store begin with.
    scheme: &'static str,
}

impl Rest {
    pub(crate) fn new(address: SocketAddr, scheme: &'static str) -> Self {
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("{KEY}:{SECRET}"));
        let common = format!("host: {address}\r\nauthorization: Basic {basic}\r\ncontent-type: ");
        Self {
            json: format!("{common}application/json\r\n"),
            bytes: format!("{common}application/octet-stream\r\n"),
            scheme,
        }
    }

    fn call(&self, c: &mut Connection, method: &str, path: &str, body: &[u8]) -> Result<Vec<u8>, Failure> {
        c.send(method, &format!("/api/v1/repositories{path}"), &self.json, body)?
            .success()
            .map_err(|error| format!("{method} {path}: {error}").into())
    }

    fn post(&self, c: &mut Connection, path: &str, body: &Value) -> Result<Vec<u8>, Failure> {
        self.call(c, "POST", path, body.to_string().as_bytes())
    }

    pub(crate) fn create_repository(
        &self,
        c: &mut Connection,
        name: &str,
        namespace: &str,
    ) -> Result<(), Failure> {
        let body = json!({"name": name, "storage_namespace": namespace});
        self.post(c, "", &body).map(drop)
    }

    pub(crate) fn create_branch(&self, c: &mut Connection, repo: &str, name: &str) -> Result<(), Failure> {
        let body = json!({"name": name, "source": "main"});
        self.post(c, &format!("/{repo}/branches"), &body).map(drop)
    }

    /// Stages an object whose bytes lie elsewhere.
    pub(crate) fn link(&self, c: &mut Connection, place: &str, path: &str) -> Result<(), Failure> {
        let scheme = self.scheme;
        let body = format!(
            "{{\"staging\":{{\"physical_address\":\"{scheme}://elsewhere/{path}\"}},\
             \"checksum\":\"d41d8cd98f00b204e9800998ecf8427e\",\"size_bytes\":1024}}"
        );
        self.call(c, "PUT", &format!("/{place}/staging/backing?path={path}"), body.as_bytes()).map(drop)
    }

    pub(crate) fn upload(
        &self,
        c: &mut Connection,
        place: &str,
        path: &str,
        bytes: &[u8],
    ) -> Result<(), Failure> {
        let target = format!("/api/v1/repositories/{place}/objects?path={path}");
        c.send("POST", &target, &self.bytes, bytes)?.success().map(drop)
    }

    pub(crate) fn delete(&self, c: &mut Connection, place: &str, path: &str) -> Result<(), Failure> {
        self.call(c, "DELETE", &format!("/{place}/objects?path={path}"), b"").map(drop)
    }

    /// At most 1,000 paths.
    pub(crate) fn delete_many(
        &self,
        c: &mut Connection,
        place: &str,
        paths: &[String],
    ) -> Result<(), Failure> {
        self.post(c, &format!("/{place}/objects/delete"), &json!({ "paths": paths })).map(drop)
    }

    pub(crate) fn stat(&self, c: &mut Connection, repo: &str, path: &str) -> Result<(), Failure> {
        self.call(c, "GET", &format!("/{repo}/refs/main/objects/stat?path={path}"), b"").map(drop)
    }

    /// One page; answers where the next one begins, if there is one.
    pub(crate) fn page(
        &self,
        c: &mut Connection,
        repo: &str,
        after: &str,
        amount: usize,
    ) -> Result<Option<String>, Failure> {
        let path = format!("/{repo}/refs/main/objects/ls?after={after}&amount={amount}");
        let body = self.call(c, "GET", &path, b"")?;
        // The page's own part stands at the end; decoding it all would cost the machine more than the server needs.
        let tail = String::from_utf8_lossy(&body[body.len().saturating_sub(400)..]).into_owned();
        let next = tail.rsplit_once("\"next_offset\":\"").and_then(|(_, rest)| rest.split('"').next());
        Ok(next.filter(|next| !next.is_empty()).map(str::to_owned))
    }

    pub(crate) fn commit(&self, c: &mut Connection, place: &str) -> Result<(), Failure> {
        self.post(c, &format!("/{place}/commits"), &json!({"message": "bench"})).map(drop)
    }

    /// Commits, if another client's commit took what was staged too.
    pub(crate) fn commit_anyway(&self, c: &mut Connection, place: &str) -> Result<(), Failure> {
        let body = json!({"message": "bench", "allow_empty": true});
        self.post(c, &format!("/{place}/commits"), &body).map(drop)
    }

    pub(crate) fn diff(&self, c: &mut Connection, repo: &str, right: &str) -> Result<(), Failure> {
        let body = self.call(c, "GET", &format!("/{repo}/refs/main/diff/{right}"), b"")?;
        if String::from_utf8_lossy(&body).contains("\"type\":\"added\"") {
            return Ok(());
        }
        Err(format!("the diff of '{right}' shows no change").into())
    }

    /// A page of main's log, which must show so many commits.
    pub(crate) fn log(
        &self,
        c: &mut Connection,
        repo: &str,
        query: &str,
        commits: usize,
    ) -> Result<(), Failure> {
        let body = self.call(c, "GET", &format!("/{repo}/refs/main/commits?{query}"), b"")?;
        let shown = String::from_utf8_lossy(&body).matches("\"creation_date\":").count();
        if shown == commits {
            Ok(())
        } else {
            Err(format!("the log shows {shown} commits, not {commits}").into())
        }
    }

    /// Anything that is read and answers 200.
    pub(crate) fn read(&self, c: &mut Connection, path: &str) -> Result<(), Failure> {
        self.call(c, "GET", path, b"").map(drop)
    }

    /// The commit main stands at.
    pub(crate) fn head(&self, c: &mut Connection, repo: &str) -> Result<String, Failure> {
        let body = self.call(c, "GET", &format!("/{repo}/branches/main"), b"")?;
        let branch: Value = serde_json::from_slice(&body)?;
        Ok(branch["commit_id"].as_str().ok_or("a branch without a commit")?.to_owned())
    }

    pub(crate) fn merge(&self, c: &mut Connection, repo: &str, source: &str) -> Result<(), Failure> {
        self.post(c, &format!("/{repo}/refs/{source}/merge/main"), &json!({})).map(drop)
    }
}
