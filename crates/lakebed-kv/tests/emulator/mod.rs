//! DynamoDB as tests have it, and a wire to it that can be cut.
#![allow(dead_code)] // each test file uses its part

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The emulator, on loopback, in memory.
pub(crate) struct Emulator {
    process: Child,
    pub(crate) port: u16,
    tables: AtomicU64,
}

impl Emulator {
    pub(crate) fn start() -> Self {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut process = Command::new(root.join(".venv/main/bin/python"))
            .arg(root.join("tests/engines/dynamo_emulator.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("moto is needed: make test-engines installs it");
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().rsplit(':').next().unwrap().parse().expect("the emulator does not start");
        Self { process, port, tables: AtomicU64::new(0) }
    }

    /// A table no engine has used yet.
    pub(crate) fn fresh(&self) -> String {
        format!("test_{}", self.tables.fetch_add(1, Ordering::SeqCst))
    }

    /// The next writes go wrong: `throttle`, `conflict`, `before`, `after`.
    pub(crate) fn fault(&self, fault: &str, count: u32) {
        let body = format!(r#"{{"fault": "{fault}", "count": {count}}}"#);
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let head = format!(
            "POST /faults HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains(" 200 "), "{answer}");
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a [`Wire`] does to the next write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Cut {
    Never = 0,
    /// The connection ends before the service gets it.
    Before = 1,
    /// When the service has it, whatever comes of it.
    Meanwhile = 2,
    /// When the service has decided it, before the client hears of it.
    After = 3,
    /// The service gets it, and nothing ever comes back.
    Silence = 4,
}

/// A wire from a port of its own to the service.
pub(crate) struct Wire {
    pub(crate) port: u16,
    next: Arc<AtomicU8>,
    pub(crate) cuts: Arc<AtomicU64>,
    /// Writes that came by.
    pub(crate) writes: Arc<AtomicU64>,
    carrier: tokio::task::JoinHandle<()>,
}

impl Wire {
    pub(crate) async fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (next, cuts): (Arc<AtomicU8>, Arc<AtomicU64>) = Default::default();
        let writes: Arc<AtomicU64> = Arc::default();
        let carrier = tokio::spawn({
            let (next, cuts, writes) = (next.clone(), cuts.clone(), writes.clone());
            async move {
                let mut carried = tokio::task::JoinSet::new();
                while let Ok((client, _)) = listener.accept().await {
                    if let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await {
                        carried.spawn(carry(client, server, next.clone(), cuts.clone(), writes.clone()));
                    }
                }
            }
        });
        Self { port, next, cuts, writes, carrier }
    }

    /// The next write over any connection is cut off so, once.
    pub(crate) fn cut(&self, how: Cut) {
        self.next.store(how as u8, Ordering::SeqCst);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.carrier.abort();
    }
}

/// Carries bytes both ways. A request begins with its head, which names the operation.
async fn carry(
    mut client: TcpStream,
    mut server: TcpStream,
    next: Arc<AtomicU8>,
    cuts: Arc<AtomicU64>,
    writes: Arc<AtomicU64>,
) {
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut up, mut down) = (vec![0; 1 << 20], vec![0; 1 << 16]);
    let mut cut = 0;
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(count @ 1..) = read else { return };
                let head = &up[..count.min(2000)];
                let head = String::from_utf8_lossy(head);
                let operations = [".TransactWriteItems", ".PutItem", ".DeleteItem"];
                let is_write = head.starts_with("POST ") && operations.iter().any(|name| head.contains(name));
                if is_write {
                    writes.fetch_add(1, Ordering::SeqCst);
                }
                if is_write && cut == 0 {
                    cut = next.swap(Cut::Never as u8, Ordering::SeqCst);
                    if cut != 0 {
                        cuts.fetch_add(1, Ordering::SeqCst);
                    }
                }
                if cut == Cut::Before as u8 {
                    return;
                }
                if server.write_all(&up[..count]).await.is_err() || cut == Cut::Meanwhile as u8 {
                    return;
                }
            }
            read = server.read(&mut down) => {
                let Ok(count @ 1..) = read else { return };
                if cut == Cut::After as u8 {
                    return;
                }
                if cut == 0 && client.write_all(&down[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}
