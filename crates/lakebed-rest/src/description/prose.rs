//! What the document says to people.

/// What the API is.
pub(crate) const ABOUT: &str = "\
Git-like version control for data lakes. Clients made for lakeFS work unchanged; what is an addition of this server is \
marked `x-lakebed`.

**Refs.** Wherever a ref is taken it may be a branch, a tag, a commit id or the beginning of one, followed by any number \
of `~`, `~2`, `^`, `^2`. `main@` is the branch without its uncommitted changes.

**Errors** are `{\"message\": \"...\"}`, and the message says what to do. A single-valued parameter that is given twice, \
and an empty number, boolean or word, is refused with the same text as `text/plain`.

**Leniency.** Unknown parameters and fields are ignored. `null` for an optional field of a request counts as its absence. \
Booleans in queries may be written `true`, `True`, `TRUE`, `t`, `T`, `1` and their opposites.

**Pages.** A list has at most `amount` items; while `pagination.has_more` is true, pass `pagination.next_offset` as \
`after`. Lists are in byte order unless they say otherwise.

**Times** are Unix seconds, unless their format is `date-time`.

**Trying again.** 429 and 503 say that the same request may succeed later. A success is durable when it is answered.";

/// Groups of operations.
pub(crate) const TAGS: &[(&str, &str)] = &[
    ("repositories", "Repositories, their metadata and settings."),
    ("branches", "Branches, and what is uncommitted on them."),
    ("tags", "Names of commits that never move."),
    ("commits", "Commits."),
    ("refs", "History, merges and differences of refs."),
    ("objects", "Objects: reading, writing, listing."),
    ("staging", "Uploads that clients do themselves."),
    ("import", "Objects taken over without copying."),
    ("pulls", "Pull requests."),
    ("actions", "Runs of actions and their hooks."),
    ("auth", "Users, groups, policies, signing in."),
    ("external", "Identities of elsewhere."),
    ("config", "What the server says of itself."),
    ("healthCheck", "Whether the server is there."),
    ("metadata", "Trees as files."),
    ("license", "The licence."),
    ("remotes", "Remote catalogs of tables."),
    ("experimental", "May change without notice."),
    ("internal", "For this project's own tools and old clients."),
];

/// What a path parameter names.
pub(crate) fn path_parameter(name: &str) -> &'static str {
    match name {
        "repository" => "The repository's name: 3 to 63 characters `a-z`, `0-9` and `-`.",
        "branch" => "The branch's name.",
        "tag" => "The tag's name.",
        "ref" => "Any ref expression.",
        "leftRef" => "The left side: any ref expression.",
        "rightRef" => "The right side: any ref expression.",
        "sourceRef" => "What is merged: any ref expression.",
        "destinationBranch" => "The branch that is merged into; for the merge base any ref expression.",
        "commitId" => "The commit: any ref expression.",
        "pull_request" => "The pull request's id.",
        "userId" => "The user's id.",
        "groupId" => "The group's id.",
        "policyId" => "The policy's id.",
        "accessKeyId" => "The key's public part.",
        "uploadId" => "The upload's id.",
        "run_id" => "The run's id.",
        "hook_run_id" => "The id of the hook's part of the run.",
        "meta_range" | "range" | "object_id" => "The tree's id.",
        "mailbox" => "Where the token will be.",
        "catalog" => "The remote catalog.",
        "id" => "The task's id.",
        _ => "",
    }
}

/// What a refusal means.
pub(crate) fn refusal(status: u16) -> &'static str {
    match status {
        400 => {
            "The request is malformed, or makes no sense in the present state. The message says what to change."
        }
        401 => "No credentials, wrong ones, or a permission is missing, which the message names.",
        403 => {
            "The state forbids it: a protected branch, a read-only repository, the default branch. Or the request \
             has a session cookie and comes from another site."
        }
        404 => "There is no such thing.",
        409 => "The name is taken, or it conflicts with what was done meanwhile.",
        410 => "The object is known, its bytes are gone.",
        412 => "A condition of the request does not hold, or a hook refused.",
        413 => "The body is longer than 10 MiB.",
        416 => "The object does not have these bytes.",
        422 => "The idempotency key was used with another request: use a fresh key.",
        429 => "Too much at once: try again.",
        500 => "Something went wrong on the server's side; its log says more.",
        501 => "This server does not do that.",
        _ => "",
    }
}
