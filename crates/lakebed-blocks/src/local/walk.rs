//! Listing files in the byte order of their addresses, one directory's names in memory at a time per level.

use std::io;
use std::os::unix::fs::MetadataExt;

use super::tree::{Tree, is_absent, split};
use crate::address::RESERVED;
use crate::{BlockAddress, BlockInfo};

/// Names still to be visited in one directory, last first.
struct Level {
    directory: String,
    names: Vec<(String, bool)>,
}

fn level(tree: &Tree, directory: &str) -> io::Result<Level> {
    let mut names = match tree.entries(directory) {
        Err(error) if is_absent(&error) => Vec::new(),
        other => other?,
    };
    names.retain(|(name, _)| !name.starts_with(".lakebed-") && (!directory.is_empty() || name != RESERVED));
    // A directory's files sort by its name and a slash: `a-b` comes before `a/`, though `a` is shorter.
    let order = |(name, directory): &(String, bool)| {
        let mut key = name.clone();
        if *directory {
            key.push('/');
        }
        key
    };
    names.sort_by_key(|entry| std::cmp::Reverse(order(entry)));
    Ok(Level { directory: directory.to_owned(), names })
}

/// Up to `limit` files whose path starts with `prefix`, after `after`.
pub(crate) fn list(
    tree: &Tree,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> io::Result<Vec<BlockInfo>> {
    let mut found = Vec::new();
    let mut stack = vec![level(tree, split(prefix).0)?];
    while found.len() < limit
        && let Some(top) = stack.last_mut()
    {
        let Some((name, is_directory)) = top.names.pop() else {
            stack.pop();
            continue;
        };
        let mut path = if top.directory.is_empty() { name } else { format!("{}/{name}", top.directory) };
        if is_directory {
            path.push('/');
            let inside = path.starts_with(prefix) || prefix.starts_with(&path);
            let ahead = after.is_none_or(|after| path.as_str() > after || after.starts_with(&path));
            if inside && ahead {
                path.pop();
                let below = level(tree, &path)?;
                stack.push(below);
            }
            continue;
        }
        if !path.starts_with(prefix) || after.is_some_and(|after| path.as_str() <= after) {
            continue;
        }
        let metadata = match tree.read(&path).and_then(|file| file.metadata()) {
            // Deleted since its directory was read.
            Err(error) if is_absent(&error) => continue,
            other => other?,
        };
        found.push(BlockInfo {
            address: BlockAddress::new(format!("local://{path}")),
            size: metadata.size(),
            mtime_secs: metadata.mtime(),
            etag: None,
        });
    }
    Ok(found)
}
