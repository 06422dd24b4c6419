//! The rows of the speed budget, in groups that share what they need.

use crate::http::Connection;
use std::fmt::Write;

use crate::load::{Cost, measure, spread};
use crate::report::{Report, Row};
use crate::rest::Rest;
use crate::server::Server;
use crate::sigv4::Signer;
use crate::{Failure, Options};

/// A group of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Group {
    /// Commit of 20,000 staged objects
    Bulk,
    /// Stat, list pages, link, upload, delete
    Objects,
    /// Create branch, commit of one change, merge of one change
    Branches,
    /// Commit of many staged objects; commit, diff, merge of one change there; list all
    Large,
    /// Who changed this path, over a long history
    Log,
    /// A page behind very many uncommitted deletes
    Deletes,
    /// Branches, log and merge base in a repository with few and with many branches and commits
    Many,
    /// Commits from all clients on one branch, and on a branch each
    Commits,
    /// Put and get of 1 KiB over S3
    S3,
    /// Put in parts and get of 1 GiB over S3
    S3Large,
}

/// What every row works with.
pub(crate) struct Bench<'a> {
    pub(crate) server: &'a Server,
    pub(crate) options: &'a Options,
    pub(crate) report: Report,
}

const fn row(name: &'static str, lakefs_ms: f64, budget_ms: f64) -> Row {
    Row { name, lakefs_ms, budget_ms }
}

/// Paths as a data lake has them: a few hundred directories, names of some length.
fn path(number: usize) -> String {
    format!("tables/events/day={:03}/part-{number:08}-c000.snappy.parquet", number % 300)
}

const SMALL: usize = 1 << 10;
const PART: usize = 16 << 20;

impl Bench<'_> {
    pub(crate) fn run(&mut self, group: Group) -> Result<(), Failure> {
        match group {
            Group::Bulk => self.bulk(),
            Group::Objects => self.objects(),
            Group::Branches => self.branches(),
            Group::Large => self.large(),
            Group::Log => self.log(),
            Group::Deletes => self.deletes(),
            Group::Many => self.many(),
            Group::Commits => self.commits(),
            Group::S3 => self.s3(),
            Group::S3Large => self.s3_large(),
        }
    }

    /// A number of operations, scaled as asked for.
    fn count(&self, full: usize) -> usize {
        ((full as f64 * self.options.effort) as usize).max(self.options.clients)
    }

    fn measured<F>(&mut self, row: Row, clients: usize, count: usize, operation: F) -> Result<Cost, Failure>
    where
        F: Fn(&mut Connection, usize) -> Result<(), Failure> + Sync,
    {
        let cost = measure(self.server, clients, count, operation)
            .map_err(|error| format!("{}: {error}", row.name))?;
        self.report.add(row, &cost);
        Ok(cost)
    }

    fn repository(&self, rest: &Rest, name: &str) -> Result<(), Failure> {
        let namespace = self.server.namespace(name);
        rest.create_repository(&mut Connection::open(self.server.address)?, name, &namespace)
    }

    fn stage(&self, rest: &Rest, place: &str, count: usize) -> Result<(), Failure> {
        spread(self.server, self.options.clients, count, |c, n| rest.link(c, place, &path(n))).map(drop)
    }

    fn bulk(&mut self) -> Result<(), Failure> {
        let rest = self.server.rest();
        self.repository(&rest, "bulk")?;
        let place = |n: usize| format!("bulk/branches/bulk-{n}");
        let times = self.count(5).min(5);
        for n in 0..times {
            rest.create_branch(&mut Connection::open(self.server.address)?, "bulk", &format!("bulk-{n}"))?;
            self.stage(&rest, &place(n), self.options.objects.min(20_000))?;
        }
        let commit = row("commit of 20,000 staged objects", 110.0, 35.0);
        self.measured(commit, 1, times, |c, n| rest.commit(c, &place(n)))?;
        Ok(())
    }

    fn objects(&mut self) -> Result<(), Failure> {
        let (rest, clients) = (self.server.rest(), self.options.clients);
        self.repository(&rest, "objects")?;
        let main = "objects/branches/main";
        let staged = self.options.objects.min(20_000);
        self.stage(&rest, main, staged)?;
        rest.commit(&mut Connection::open(self.server.address)?, main)?;
        let stat = row("REST stat of a committed object", 0.25, 0.04);
        self.measured(stat, clients, self.count(40_000), |c, n| rest.stat(c, "objects", &path(n % staged)))?;
        let hundred = row("REST list page of 100", 1.08, 0.25);
        self.measured(hundred, clients, self.count(5_000), |c, n| {
            rest.page(c, "objects", &path(n * 7919 % staged), 100).map(drop)
        })?;
        let thousand = row("REST list page of 1,000", 1.08, 0.4);
        self.measured(thousand, clients, self.count(2_000), |c, n| {
            rest.page(c, "objects", &path(n * 7919 % staged), 1000).map(drop)
        })?;
        let link = row("REST link of an object", 0.31, 0.06);
        self.measured(link, clients, self.count(40_000), |c, n| {
            rest.link(c, main, &format!("link/{}", path(n)))
        })?;
        let bytes = vec![b'x'; SMALL];
        let upload = row("REST upload of 1 KiB", 0.45, 0.14);
        self.measured(upload, clients, self.count(20_000), |c, n| {
            rest.upload(c, main, &format!("upload/{}", path(n)), &bytes)
        })?;
        let delete = row("REST delete of an object", 0.36, 0.06);
        self.measured(delete, clients, self.count(40_000), |c, n| {
            rest.delete(c, main, &format!("link/{}", path(n)))
        })?;
        Ok(())
    }

    /// The first page of a branch with nothing staged, and when all but its last objects are deleted in front of it.
    fn log(&mut self) -> Result<(), Failure> {
        let rest = self.server.rest();
        self.repository(&rest, "log")?;
        let main = "log/branches/main";
        let mut connection = Connection::open(self.server.address)?;
        let commits = self.options.objects.min(10_000);
        rest.link(&mut connection, main, "first/object")?;
        rest.commit(&mut connection, main)?;
        spread(self.server, 1, commits, |c, n| {
            rest.link(c, main, &path(n))?;
            rest.commit(c, main)
        })?;
        let first = row("log of a path last changed 10,000 commits ago", f64::NAN, 200.0);
        self.measured(first, 1, 20, |c, _| {
            rest.log(c, "log", "objects=first/object&amount=1&limit=true", 1)
        })?;
        let none = row("log of a prefix nobody changed", f64::NAN, 200.0);
        self.measured(none, 1, 20, |c, _| rest.log(c, "log", "prefixes=none/&amount=1&limit=true", 0))?;
        let page = row("log page of 1,000", f64::NAN, 20.0);
        self.measured(page, 1, 20, |c, _| rest.log(c, "log", "amount=1000", 1000.min(commits)))?;
        Ok(())
    }

    fn deletes(&mut self) -> Result<(), Failure> {
        let (rest, clients) = (self.server.rest(), self.options.clients);
        self.repository(&rest, "deletes")?;
        let (place, deleted, kept) = ("deletes/branches/main", self.options.objects, 1_000);
        self.stage(&rest, place, deleted)?;
        spread(self.server, clients, kept, |c, n| rest.link(c, place, &format!("zz/{}", path(n))))
            .map(drop)?;
        let mut connection = Connection::open(self.server.address)?;
        rest.commit(&mut connection, place)?;
        let before = row("REST list page of 100, nothing staged", 1.08, 0.25);
        self.measured(before, clients, self.count(5_000), |c, _| rest.page(c, "deletes", "", 100).map(drop))?;
        spread(self.server, clients, deleted.div_ceil(1000), |c, n| {
            let paths: Vec<String> = (n * 1000..deleted.min(n * 1000 + 1000)).map(path).collect();
            rest.delete_many(c, place, &paths)
        })?;
        // The first page may still step over some of them: what it costs until the branch is folded is not the row.
        rest.page(&mut connection, "deletes", "", 100)?;
        let after = row("REST list page of 100 behind uncommitted deletes", 1.08, 0.25);
        self.measured(after, clients, self.count(5_000), |c, _| rest.page(c, "deletes", "", 100).map(drop))?;
        Ok(())
    }

    /// The same operations beside 1,000 branches and commits, and beside many.
    fn many(&mut self) -> Result<(), Failure> {
        let few = |name| row(name, f64::NAN, f64::NAN);
        let beside_few = BesideMany {
            create: few("create branch, 1,000 of them"),
            list: few("list page of 100 branches of 1,000"),
            commit: few("commit of one change, 1,000 of them"),
            log: few("log page of 100 of 1,000 commits"),
            late: few("log page of 100 in the middle of 1,000 commits"),
            near: few("merge base 1 commit back of 1,000"),
            far: few("merge base all of 1,000 commits back"),
        };
        self.beside("few", &beside_few, 1_000)?;
        let beside_many = BesideMany {
            create: few("create branch, 100,000 of them"),
            list: few("list page of 100 branches of 100,000"),
            commit: few("commit of one change, 100,000 of them"),
            log: few("log page of 100 of 100,000 commits"),
            late: few("log page of 100 in the middle of 100,000 commits"),
            near: few("merge base 1 commit back of 100,000"),
            far: few("merge base all of 100,000 commits back"),
        };
        self.beside("many", &beside_many, self.options.many)
    }

    fn beside(&mut self, repo: &str, rows: &BesideMany, many: usize) -> Result<(), Failure> {
        let (rest, clients) = (self.server.rest(), self.options.clients);
        self.repository(&rest, repo)?;
        let main = format!("{repo}/branches/main");
        self.measured(rows.create, clients, many, |c, n| rest.create_branch(c, repo, &format!("b-{n:06}")))?;
        self.measured(rows.list, clients, self.count(2_000), |c, n| {
            rest.read(c, &format!("/{repo}/branches?amount=100&after=b-{:06}", n * 7919 % many))
        })?;
        let mut middle = String::new();
        for half in 0..2 {
            let from = half * many / 2;
            let commits = |c: &mut Connection, n: usize| {
                rest.link(c, &main, &format!("changes/{:07}", from + n))?;
                rest.commit(c, &main)
            };
            if half == 0 {
                spread(self.server, 1, many / 2, commits)?;
                middle = rest.head(&mut Connection::open(self.server.address)?, repo)?;
            } else {
                self.measured(rows.commit, 1, many - many / 2, commits)?;
            }
        }
        // Another connection: the server closes one that nobody uses for so long.
        rest.create_branch(&mut Connection::open(self.server.address)?, repo, "late")?;
        self.measured(rows.log, clients, self.count(2_000), |c, _| rest.log(c, repo, "amount=100", 100))?;
        let late = format!("amount=100&after={middle}");
        self.measured(rows.late, 1, 20, |c, _| rest.log(c, repo, &late, 100))?;
        let base =
            |c: &mut Connection, source: &str| rest.read(c, &format!("/{repo}/refs/{source}/merge/main"));
        self.measured(rows.near, clients, self.count(2_000), |c, _| base(c, "late"))?;
        self.measured(rows.far, 1, 20, |c, _| base(c, "b-000000"))?;
        Ok(())
    }

    /// Branches with one change each: created, committed and, `row` by row, merged into main.
    fn one_change(&mut self, rest: &Rest, repo: &str, rows: &OneChange, count: usize) -> Result<(), Failure> {
        let clients = self.options.clients;
        let create = |c: &mut Connection, n: usize| rest.create_branch(c, repo, &format!("b-{n}"));
        match rows.create {
            Some(row) => drop(self.measured(row, clients, count, create)?),
            None => drop(spread(self.server, clients, count, create)?),
        }
        let place = |n: usize| format!("{repo}/branches/b-{n}");
        spread(self.server, clients, count, |c, n| rest.link(c, &place(n), &format!("changes/{n:06}")))?;
        self.measured(rows.commit, clients, count, |c, n| rest.commit(c, &place(n)))?;
        if let Some(row) = rows.diff {
            self.measured(row, clients, count, |c, n| rest.diff(c, repo, &format!("b-{n}")))?;
        }
        self.measured(rows.merge, clients, count, |c, n| rest.merge(c, repo, &format!("b-{n}")))?;
        Ok(())
    }

    fn branches(&mut self) -> Result<(), Failure> {
        let rest = self.server.rest();
        self.repository(&rest, "branches")?;
        self.stage(&rest, "branches/branches/main", 1_000)?;
        rest.commit(&mut Connection::open(self.server.address)?, "branches/branches/main")?;
        let rows = OneChange {
            create: Some(row("create branch", 0.26, 0.05)),
            commit: row("commit of one change", 5.4, 0.8),
            diff: None,
            merge: row("merge of one change, in parallel", 11.7, 1.5),
        };
        self.one_change(&rest, "branches", &rows, self.count(1_000))
    }

    /// An upload's staged write and a commit, by every client: how many a second, and whether every server gets its share.
    fn commits(&mut self) -> Result<(), Failure> {
        let (rest, clients) = (self.server.rest(), self.options.clients);
        self.repository(&rest, "commits")?;
        let mut connection = Connection::open(self.server.address)?;
        for n in 0..clients {
            rest.create_branch(&mut connection, "commits", &format!("b-{n}"))?;
        }
        let change = |c: &mut Connection, place: &str, n: usize| {
            rest.link(c, place, &path(n))?;
            rest.commit_anyway(c, place)
        };
        let count = self.count(4_000);
        let one = row("write and commit, all on one branch", f64::NAN, f64::NAN);
        self.measured(one, clients, count, |c, n| change(c, "commits/branches/main", n))?;
        let own = row("write and commit, over as many branches as clients", f64::NAN, f64::NAN);
        self.measured(own, clients, count, |c, n| {
            change(c, &format!("commits/branches/b-{}", n % clients), n)
        })?;
        Ok(())
    }

    fn large(&mut self) -> Result<(), Failure> {
        let rest = self.server.rest();
        self.repository(&rest, "large")?;
        let main = "large/branches/main";
        self.stage(&rest, main, self.options.objects)?;
        let commit = row("commit of 400,000 staged objects", 2_500.0, 500.0);
        self.measured(commit, 1, 1, |c, _| rest.commit(c, main))?;
        let all = row("list all of 400,000 objects", 14_200.0, 350.0);
        self.measured(all, 1, 1, |c, _| {
            let mut after = String::new();
            while let Some(next) = rest.page(c, "large", &after, 1000)? {
                after = next;
            }
            Ok(())
        })?;
        let rows = OneChange {
            create: None,
            commit: row("commit of one change in 400,000", 90.0, 2.0),
            diff: Some(row("diff of one change in 400,000", 60.0, 0.4)),
            merge: row("merge of one change in 400,000", 60.0, 2.0),
        };
        self.one_change(&rest, "large", &rows, self.count(500))?;
        let stat = |c: &mut Connection| rest.stat(c, "large", &path(0));
        for _ in 0..3 {
            let started = self.server.restart()?;
            let begun = std::time::Instant::now();
            stat(&mut Connection::open(self.server.address)?)?;
            let first = begun.elapsed();
            self.report
                .note(&format!("start: {started:.0?} until it listens, {first:.0?} for the first stat"));
        }
        Ok(())
    }

    fn s3(&mut self) -> Result<(), Failure> {
        let (rest, clients) = (self.server.rest(), self.options.clients);
        self.repository(&rest, "s3small")?;
        let signer = Signer::new(self.server.address)?;
        let bytes = vec![b'x'; SMALL];
        let key = |n: usize| format!("/s3small/main/put/{n:08}");
        let count = self.count(20_000);
        self.measured(row("S3 put 1 KiB", 0.46, 0.14), clients, count, |c, n| {
            let headers = signer.headers("PUT", &key(n), "", &bytes)?;
            c.send("PUT", &key(n), &headers, &bytes)?.success().map(drop)
        })?;
        self.measured(row("S3 get 1 KiB", 0.50, 0.06), clients, count, |c, n| {
            let headers = signer.headers("GET", &key(n), "", b"")?;
            let body = c.send("GET", &key(n), &headers, b"")?.success()?;
            if body.len() == SMALL { Ok(()) } else { Err("the object came back with another size".into()) }
        })?;
        Ok(())
    }

    fn s3_large(&mut self) -> Result<(), Failure> {
        let rest = self.server.rest();
        self.repository(&rest, "s3large")?;
        let signer = Signer::new(self.server.address)?;
        let parts = (self.options.large_bytes / PART).max(1);
        let bytes: Vec<u8> = (0..PART).map(|at| ((at * 31) >> 5) as u8).collect();
        let target = "/s3large/main/large";
        let call = |c: &mut Connection, method: &str, query: &str, body: &[u8]| {
            let headers = signer.headers(method, target, query, body)?;
            c.send(method, &format!("{target}?{query}"), &headers, body)
        };
        let begin = |c: &mut Connection| -> Result<String, Failure> {
            let answer = String::from_utf8(call(c, "POST", "uploads=", b"")?.success()?)?;
            let id = answer.split_once("<UploadId>").and_then(|(_, rest)| rest.split_once("</UploadId>"));
            Ok(id.ok_or("no UploadId in the answer")?.0.to_owned())
        };
        self.measured(row("S3 put 1 GiB in parts", 10_200.0, 4_000.0), 1, 1, |c, _| {
            let id = begin(c)?;
            let etags: Vec<std::sync::Mutex<String>> =
                (0..parts).map(|_| std::sync::Mutex::default()).collect();
            spread(self.server, 4, parts, |c, n| {
                let answer = call(c, "PUT", &format!("partNumber={}&uploadId={id}", n + 1), &bytes)?;
                let etag = answer.header("etag").unwrap_or_default().to_owned();
                answer.success()?;
                *etags[n].lock().map_err(|_| "a client panicked")? = etag;
                Ok(())
            })?;
            let mut body = "<CompleteMultipartUpload>".to_owned();
            for (n, etag) in etags.iter().enumerate() {
                let etag = etag.lock().map_err(|_| "a client panicked")?;
                write!(body, "<Part><PartNumber>{}</PartNumber><ETag>{etag}</ETag></Part>", n + 1)?;
            }
            body += "</CompleteMultipartUpload>";
            call(c, "POST", &format!("uploadId={id}"), body.as_bytes())?.success().map(drop)
        })?;
        self.measured(row("S3 get 1 GiB", 630.0, 400.0), 1, 1, |c, _| {
            let got = c.drain(target, &signer.headers("GET", target, "", b"")?)?;
            if got == (parts * PART) as u64 { Ok(()) } else { Err(format!("{got} bytes came back").into()) }
        })?;
        Ok(())
    }
}

/// The rows of a repository in which many branches carry one change each.
struct OneChange {
    create: Option<Row>,
    commit: Row,
    diff: Option<Row>,
    merge: Row,
}

/// The rows of a repository with so many branches and commits.
struct BesideMany {
    create: Row,
    list: Row,
    commit: Row,
    log: Row,
    late: Row,
    near: Row,
    far: Row,
}
