//! The table of operations: path, access, input, handler. Access is `auth.md` §9.3.

mod identities;

use crate::access::{
    self, branch, every_branch, global, object, repository, repository_all, repository_any, tag,
};
use crate::handlers::{
    background, branches, client_uploads, collection, commits, diffs, dumps, identity as caller, imports,
    merges, object_reads, object_writes, page, pulls, repositories, server, settings, staging, symlink, tags,
    trees, unserved, uploads,
};
use crate::operation::{Operation, Route, delete, get, head, patch, post, put};

const DUMP: &[&str] = &["fs:ListTags", "fs:ListBranches", "fs:ListCommits"];
const TREES: &[&str] = &["fs:ListObjects", "fs:ReadRepository"];
const BASE: &[&str] = &["fs:ListCommits", "fs:ReadCommit"];

macro_rules! repo {
    () => {
        "/repositories/{repository}"
    };
    ($rest:literal) => {
        concat!("/repositories/{repository}", $rest)
    };
}

macro_rules! of_branch {
    ($rest:literal) => {
        concat!("/repositories/{repository}/branches/{branch}", $rest)
    };
}

macro_rules! of_ref {
    ($rest:literal) => {
        concat!("/repositories/{repository}/refs/{ref}", $rest)
    };
}

macro_rules! merge_path {
    () => {
        "/repositories/{repository}/refs/{sourceRef}/merge/{destinationBranch}"
    };
    ($rest:literal) => {
        concat!("/repositories/{repository}/refs/{sourceRef}/merge/{destinationBranch}", $rest)
    };
}

/// Every operation served or answered on purpose.
pub(crate) fn table() -> Vec<Operation> {
    let mut all = Vec::with_capacity(150);
    all.extend(of_server());
    all.extend(of_callers());
    all.extend(identities::of_users());
    all.extend(identities::of_groups());
    all.extend(of_repositories());
    all.extend(of_settings());
    all.extend(of_refs());
    all.extend(of_history());
    all.extend(of_objects());
    all.extend(of_staging());
    all.extend(of_tasks());
    all.extend(of_others());
    all
}

fn of_server() -> Vec<Operation> {
    vec![
        get("healthCheck", "/healthcheck").public().bare().does(server::health),
        get("getConfig", "/config").requires(global("fs:ReadConfig")).bare().does(server::config),
        get("getLakeFSVersion", "/config/version").authenticated().bare().does(server::version),
        get("getStorageConfig", "/config/storage")
            .requires(global("fs:ReadConfig"))
            .bare()
            .does(server::storage),
        get("getGarbageCollectionConfig", "/config/garbage-collection")
            .authenticated()
            .bare()
            .does(server::garbage_collection),
        post("postStatsEvents", "/statistics").authenticated().json(server::events).does(server::statistics),
        get("getUsageReportSummary", "/usage-report/summary")
            .requires(global("fs:ReadConfig"))
            .bare()
            .does(server::usage),
        get("getApiDescription", "/openapi.json").public().bare().does(server::description),
        get("oauthCallback", "/oidc/callback").public().bare().does(unserved::oidc_callback),
    ]
}

fn of_callers() -> Vec<Operation> {
    vec![
        get("getSetupState", "/setup_lakefs").public().bare().does(caller::setup_state),
        post("setup", "/setup_lakefs").public().json(caller::setup_input).does(caller::setup),
        post("setupCommPrefs", "/setup_comm_prefs")
            .public()
            .json(|_, preferences| Ok(preferences))
            .does(caller::communication_preferences),
        get("getCurrentUser", "/user").anonymous_too().bare().does(caller::current_user),
        post("login", "/auth/login").public().optional_json(caller::login_input).does(caller::login),
        get("getAuthCapabilities", "/auth/capabilities").public().bare().does(caller::capabilities),
        post("externalPrincipalLogin", "/auth/external/principal/login")
            .public()
            .json(unserved::external_login_input)
            .does(unserved::external_login),
        post("stsLogin", "/sts/login")
            .public()
            .json(unserved::sts_login_input)
            .does(unserved::external_login),
        get("getExternalPrincipal", "/auth/external/principals")
            .public()
            .query(unserved::principal)
            .does(unserved::external_login),
    ]
}

fn of_repositories() -> Vec<Operation> {
    vec![
        get("listRepositories", "/repositories")
            .requires(global("fs:ListRepositories"))
            .query(repositories::search)
            .does(repositories::list_all),
        post("createRepository", "/repositories")
            .requires(|_, new: &repositories::Creation| {
                access::create_repository(new.id.as_str(), &new.wanted.storage_namespace)
            })
            .json(repositories::creation)
            .does(repositories::create),
        get("getRepository", repo!())
            .requires(repository("fs:ReadRepository"))
            .bare()
            .does(repositories::get),
        delete("deleteRepository", repo!())
            .requires(repository("fs:DeleteRepository"))
            .query(repositories::deletion)
            .does(repositories::delete),
        get("getRepositoryMetadata", repo!("/metadata"))
            .requires(repository("fs:ReadRepository"))
            .bare()
            .does(repositories::metadata),
        post("setRepositoryMetadata", repo!("/metadata"))
            .requires(repository("fs:UpdateRepository"))
            .json(|_, set| Ok(set))
            .does(repositories::set_metadata),
        delete("deleteRepositoryMetadata", repo!("/metadata"))
            .requires(repository("fs:UpdateRepository"))
            .json(|_, keys| Ok(keys))
            .does(repositories::delete_metadata),
        get("getMetadataObject", repo!("/metadata/object/{type}/{object_id}"))
            .requires(repository_all(TREES))
            .query(trees::file_input)
            .does(trees::file),
        get("getMetaRange", repo!("/metadata/meta_range/{meta_range}"))
            .requires(repository_all(TREES))
            .bare()
            .does(trees::meta_range),
        get("getRange", repo!("/metadata/range/{range}"))
            .requires(repository_all(TREES))
            .bare()
            .does(trees::range),
    ]
}

fn of_settings() -> Vec<Operation> {
    const GET_GC: &str = "retention:GetGarbageCollectionRules";
    const SET_GC: &str = "retention:SetGarbageCollectionRules";
    const GET: &str = "branches:GetBranchProtectionRules";
    const SET: &str = "branches:SetBranchProtectionRules";
    vec![
        get("getGCRules", repo!("/settings/gc_rules"))
            .requires(repository(GET_GC))
            .bare()
            .does(settings::get_gc_rules),
        put("setGCRules", repo!("/settings/gc_rules"))
            .requires(repository(SET_GC))
            .json(settings::gc_rules_input)
            .does(settings::set_gc_rules),
        delete("deleteGCRules", repo!("/settings/gc_rules"))
            .requires(repository(SET_GC))
            .bare()
            .does(settings::delete_gc_rules),
        get("setGarbageCollectionRulesPreflight", repo!("/gc/rules/set_allowed"))
            .requires(repository(SET_GC))
            .bare()
            .does(settings::preflight),
        get("internalGetGarbageCollectionRules", repo!("/gc/rules"))
            .requires(repository(GET_GC))
            .bare()
            .does(settings::get_gc_rules),
        post("internalSetGarbageCollectionRules", repo!("/gc/rules"))
            .requires(repository(SET_GC))
            .json(settings::gc_rules_input)
            .does(settings::set_gc_rules),
        delete("internalDeleteGarbageCollectionRules", repo!("/gc/rules"))
            .requires(repository(SET_GC))
            .bare()
            .does(settings::delete_gc_rules),
        get("getBranchProtectionRules", repo!("/settings/branch_protection"))
            .requires(repository(GET))
            .bare()
            .does(settings::get_protection),
        put("setBranchProtectionRules", repo!("/settings/branch_protection"))
            .requires(repository(SET))
            .json(settings::protection_input)
            .does(settings::set_protection),
        get("createBranchProtectionRulePreflight", repo!("/branch_protection/set_allowed"))
            .requires(repository(SET))
            .bare()
            .does(settings::preflight),
        get("internalGetBranchProtectionRules", repo!("/branch_protection"))
            .requires(repository(GET))
            .bare()
            .does(settings::get_protection),
        post("internalCreateBranchProtectionRule", repo!("/branch_protection"))
            .requires(repository(SET))
            .json(settings::rule)
            .does(settings::add_protection),
        delete("internalDeleteBranchProtectionRule", repo!("/branch_protection"))
            .requires(repository(SET))
            .json(settings::rule)
            .does(settings::remove_protection),
    ]
}

fn of_refs() -> Vec<Operation> {
    vec![
        get("listTags", repo!("/tags")).requires(repository("fs:ListTags")).query(page).does(tags::list_all),
        post("createTag", repo!("/tags"))
            .requires(|call, new: &lakebed_api::TagCreation| access::create_tag(call, &new.id))
            .json(|_, new| Ok(new))
            .does(tags::create),
        get("getTag", repo!("/tags/{tag}")).requires(tag("fs:ReadTag")).bare().does(tags::get),
        delete("deleteTag", repo!("/tags/{tag}"))
            .requires(tag("fs:DeleteTag"))
            .query(repositories::force)
            .does(tags::delete),
        get("listBranches", repo!("/branches"))
            .requires(repository("fs:ListBranches"))
            .query(branches::listing)
            .does(branches::list_all),
        post("createBranch", repo!("/branches"))
            .requires(|call, new: &lakebed_api::BranchCreation| access::create_branch(call, &new.name))
            .json(|_, new| Ok(new))
            .does(branches::create),
        get("getBranch", of_branch!(""))
            .requires(branch("fs:ReadBranch", "branch"))
            .bare()
            .does(branches::get),
        delete("deleteBranch", of_branch!(""))
            .requires(branch("fs:DeleteBranch", "branch"))
            .query(repositories::force)
            .does(branches::delete),
        put("resetBranch", of_branch!(""))
            .requires(branch("fs:RevertBranch", "branch"))
            .json(|_, reset| Ok(reset))
            .does(branches::reset),
        put("hardResetBranch", of_branch!("/hard_reset"))
            .requires(branch("fs:RevertBranch", "branch"))
            .query(branches::hard_reset_input)
            .does(branches::hard_reset),
    ]
}

fn of_history() -> Vec<Operation> {
    vec![
        get("logCommits", of_ref!("/commits"))
            .requires(access::log("ref"))
            .query(commits::log_input)
            .does(commits::log),
        get("logBranchCommits", of_branch!("/commits"))
            .requires(access::log("branch"))
            .query(commits::log_input)
            .does(commits::branch_log),
        post("commit", of_branch!("/commits"))
            .requires(branch("fs:CreateCommit", "branch"))
            .json(commits::new_commit)
            .does(commits::commit),
        post("commitAsync", of_branch!("/commits/async"))
            .requires(branch("fs:CreateCommit", "branch"))
            .json(commits::new_commit)
            .does(background::commit),
        get("commitAsyncStatus", of_branch!("/commits/async/{id}/status"))
            .requires(branch("fs:CreateCommit", "branch"))
            .bare()
            .does(background::commit_status),
        post("CreateCommitRecord", repo!("/commits"))
            .requires(every_branch("fs:CreateCommit"))
            .json(commits::record_input)
            .does(commits::create_record),
        get("getCommit", repo!("/commits/{commitId}"))
            .requires(repository("fs:ReadCommit"))
            .bare()
            .does(commits::get),
        post("revertBranch", of_branch!("/revert"))
            .requires(branch("fs:RevertBranch", "branch"))
            .json(|_, revert| Ok(revert))
            .does(commits::revert),
        post("cherryPick", of_branch!("/cherry-pick"))
            .requires(access::pick(&()))
            .json(|_, pick| Ok(pick))
            .does(commits::cherry_pick),
        post("mergeIntoBranch", merge_path!())
            .requires(access::merge)
            .optional_json(merges::input)
            .does(merges::merge),
        post("mergeIntoBranchAsync", merge_path!("/async"))
            .requires(access::merge)
            .optional_json(merges::input)
            .does(background::merge),
        get("mergeIntoBranchAsyncStatus", merge_path!("/async/{id}/status"))
            .requires(branch("fs:CreateCommit", "destinationBranch"))
            .bare()
            .does(background::merge_status),
        get("listMergeConflicts", merge_path!("/conflicts"))
            .requires(repository("fs:ListObjects"))
            .query(merges::conflicts_input)
            .does(merges::conflicts),
        get("findMergeBase", merge_path!()).requires(repository_any(BASE)).bare().does(merges::base),
        get("diffBranch", of_branch!("/diff"))
            .requires(repository("fs:ListObjects"))
            .query(diffs::input)
            .does(diffs::branch),
        get("diffRefs", repo!("/refs/{leftRef}/diff/{rightRef}"))
            .requires(repository("fs:ListObjects"))
            .query(diffs::refs_input)
            .does(diffs::refs),
    ]
}

fn of_objects() -> Vec<Operation> {
    vec![
        get("getObject", of_ref!("/objects"))
            .requires(object("fs:ReadObject", object_reads::Input::path))
            .query(object_reads::input)
            .does(object_reads::get),
        head("headObject", of_ref!("/objects"))
            .requires(object("fs:ReadObject", object_reads::Input::path))
            .query(object_reads::head_input)
            .does(object_reads::head),
        get("statObject", of_ref!("/objects/stat"))
            .requires(object("fs:ReadObject", object_reads::Stat::path))
            .query(object_reads::stat_input)
            .does(object_reads::stat),
        get("getUnderlyingProperties", of_ref!("/objects/underlyingProperties"))
            .requires(object("fs:ReadObject", String::as_str))
            .query(object_reads::path)
            .does(object_reads::underlying_properties),
        get("listObjects", of_ref!("/objects/ls"))
            .requires(repository("fs:ListObjects"))
            .query(object_reads::listing)
            .does(object_reads::list),
        post("uploadObject", of_branch!("/objects"))
            .requires(object("fs:WriteObject", uploads::Upload::path))
            .query(uploads::input)
            .does(uploads::upload),
        put("stageObject", of_branch!("/objects"))
            .requires(|call, stage: &object_writes::Stage| {
                access::stage_object(call, &stage.path, &stage.wanted.physical_address)
            })
            .json(object_writes::stage_input)
            .does(object_writes::stage),
        delete("deleteObject", of_branch!("/objects"))
            .requires(object("fs:DeleteObject", object_writes::Delete::path))
            .query(object_writes::delete_input)
            .does(object_writes::delete),
        get("uploadObjectPreflight", of_branch!("/objects/stage_allowed"))
            .requires(object("fs:WriteObject", String::as_str))
            .query(object_reads::path)
            .does(object_writes::stage_allowed),
        post("deleteObjects", of_branch!("/objects/delete"))
            .each_item()
            .json(object_writes::bulk_delete_input)
            .does(object_writes::bulk_delete),
        post("copyObject", of_branch!("/objects/copy"))
            .requires(|call, copy: &object_writes::Copy| {
                access::copy_object(call, &copy.wanted.src_path, &copy.destination)
            })
            .json(object_writes::copy_input)
            .does(object_writes::copy),
        put("updateObjectUserMetadata", of_branch!("/objects/stat/user_metadata"))
            .requires(object("fs:WriteObject", object_writes::MetadataUpdate::path))
            .json(object_writes::metadata_input)
            .does(object_writes::set_metadata),
        post("createSymlinkFile", repo!("/refs/{branch}/symlink"))
            .requires(|call, location: &String| access::symlink(call, location))
            .query(symlink::location)
            .does(symlink::create),
    ]
}

fn of_staging() -> Vec<Operation> {
    vec![
        get("getPhysicalAddress", of_branch!("/staging/backing"))
            .requires(object("fs:WriteObject", staging::Address::path))
            .query(staging::address_input)
            .does(staging::get_address),
        put("linkPhysicalAddress", of_branch!("/staging/backing"))
            .requires(object("fs:WriteObject", staging::Link::path))
            .json(staging::link_input)
            .does(staging::link),
        post("createPresignMultipartUpload", of_branch!("/staging/pmpu"))
            .requires(object("fs:WriteObject", client_uploads::Creation::path))
            .query(client_uploads::create_input)
            .does(client_uploads::create),
        put("completePresignMultipartUpload", of_branch!("/staging/pmpu/{uploadId}"))
            .requires(object("fs:WriteObject", client_uploads::End::path))
            .optional_json(client_uploads::end_input)
            .does(client_uploads::complete),
        delete("abortPresignMultipartUpload", of_branch!("/staging/pmpu/{uploadId}"))
            .requires(object("fs:WriteObject", client_uploads::End::path))
            .optional_json(client_uploads::end_input)
            .does(client_uploads::abort),
        put("uploadPart", of_branch!("/staging/pmpu/{uploadId}/parts/{partNumber}"))
            .requires(object("fs:WriteObject", |part: &client_uploads::Part<lakebed_api::UploadPartFrom>| {
                &part.path
            }))
            .json(client_uploads::part_input)
            .does(client_uploads::upload_part),
        put("uploadPartCopy", of_branch!("/staging/pmpu/{uploadId}/parts/{partNumber}/copy"))
            .requires(|call, part: &client_uploads::Part<lakebed_api::UploadPartCopyFrom>| {
                let source = &part.from.copy_source;
                access::copy_part(call, &source.repository, &source.path, &part.path)
            })
            .json(client_uploads::part_copy_input)
            .does(client_uploads::copy_part),
    ]
}

fn of_tasks() -> Vec<Operation> {
    const PREPARE: &str = "retention:PrepareGarbageCollectionCommits";
    vec![
        put("dumpRefs", repo!("/refs/dump")).requires(repository_all(DUMP)).bare().does(dumps::dump),
        put("restoreRefs", repo!("/refs/restore"))
            .requires(access::restore)
            .json(dumps::restore_input)
            .does(dumps::restore),
        post("dumpSubmit", repo!("/dump")).requires(repository_all(DUMP)).bare().does(dumps::submit_dump),
        get("dumpStatus", repo!("/dump"))
            .requires(repository_all(DUMP))
            .query(dumps::task_id)
            .does(dumps::dump_status),
        post("restoreSubmit", repo!("/restore"))
            .requires(access::restore)
            .json(dumps::restore_input)
            .does(dumps::submit_restore),
        get("restoreStatus", repo!("/restore"))
            .requires(access::restore)
            .query(dumps::task_id)
            .does(dumps::restore_status),
        get("importStatus", of_branch!("/import"))
            .requires(branch("fs:ReadBranch", "branch"))
            .query(imports::task_id)
            .does(imports::status),
        post("importStart", of_branch!("/import"))
            .requires(access::import)
            .json(imports::input)
            .does(imports::start),
        delete("importCancel", of_branch!("/import"))
            .requires(branch("fs:ImportCancel", "branch"))
            .query(imports::task_id)
            .does(imports::cancel),
        post("prepareGarbageCollectionCommits", repo!("/gc/prepare_commits"))
            .requires(repository(PREPARE))
            .bare()
            .does(collection::prepare_commits),
        post("prepareGarbageCollectionCommitsAsync", repo!("/gc/prepare_commits/async"))
            .requires(repository(PREPARE))
            .bare()
            .does(collection::submit_prepare_commits),
        get("prepareGarbageCollectionCommitsStatus", repo!("/gc/prepare_commits/status"))
            .requires(repository(PREPARE))
            .query(collection::task_id)
            .does(collection::prepare_commits_status),
        post("prepareGarbageCollectionUncommitted", repo!("/gc/prepare_uncommited"))
            .requires(repository("retention:PrepareGarbageCollectionUncommitted"))
            .optional_json(collection::uncommitted_input)
            .does(collection::prepare_uncommitted),
        get("listRepositoryRuns", repo!("/actions/runs"))
            .requires(repository("ci:ReadAction"))
            .query(unserved::runs_input)
            .does(unserved::runs),
        get("getRun", repo!("/actions/runs/{run_id}"))
            .requires(repository("ci:ReadAction"))
            .bare()
            .does(unserved::unknown_run),
        get("listRunHooks", repo!("/actions/runs/{run_id}/hooks"))
            .requires(repository("ci:ReadAction"))
            .query(page)
            .does(unserved::unknown_run),
        get("getRunHookOutput", repo!("/actions/runs/{run_id}/hooks/{hook_run_id}/output"))
            .requires(repository("ci:ReadAction"))
            .bare()
            .does(unserved::unknown_run),
        get("listPullRequests", repo!("/pulls"))
            .requires(repository("pr:ListPullRequests"))
            .query(pulls::listing)
            .does(pulls::list_all),
        post("createPullRequest", repo!("/pulls"))
            .requires(repository("pr:WritePullRequest"))
            .json(pulls::creation)
            .does(pulls::create),
        get("getPullRequest", repo!("/pulls/{pull_request}"))
            .requires(repository("pr:ReadPullRequest"))
            .bare()
            .does(pulls::get),
        patch("updatePullRequest", repo!("/pulls/{pull_request}"))
            .requires(repository("pr:WritePullRequest"))
            .json(pulls::change)
            .does(pulls::update),
        put("mergePullRequest", repo!("/pulls/{pull_request}/merge"))
            .requires(access::merge_pull)
            .bare()
            .does(pulls::merge),
    ]
}

/// In the API file, but not part of the free server our clients know: unknown endpoints there, and here.
fn of_others() -> Vec<Operation> {
    let unknown = |route: Route| route.public().bare().does(unserved::unknown);
    vec![
        unknown(get("getLicense", "/license")),
        unknown(get("getTokenRedirect", "/auth/get-token/start")),
        unknown(get("getTokenFromMailbox", "/auth/get-token/mailboxes/{mailbox}")),
        unknown(get("releaseTokenToMailbox", "/auth/get-token/release-token/{loginRequestToken}")),
        unknown(post("pushIcebergTable", "/iceberg/remotes/{catalog}/push")),
        unknown(post("pullIcebergTable", "/iceberg/remotes/{catalog}/pull")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::description::operation::Served;
    use crate::operation::AccessKind;
    use crate::router::Router;

    /// The operations of the API description: id, method, path, and `public` if it asks for no authentication.
    const DESCRIBED: &str = include_str!("operations.txt");

    #[test]
    fn every_described_operation_is_in_the_table_with_its_method_and_path() {
        let router = Router::new(table()).unwrap();
        for line in DESCRIBED.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let [id, method, path, ..] = words[..] else { panic!("{line}") };
            let found = router.operations().iter().find(|operation| operation.id == id);
            let operation = found.unwrap_or_else(|| panic!("{id} is missing"));
            assert_eq!(operation.method.as_str(), method, "{id}");
            assert_eq!(operation.path, path, "{id}");
        }
    }

    #[test]
    fn only_what_the_description_opens_is_open() {
        let open: Vec<&str> = DESCRIBED
            .lines()
            .filter(|line| line.ends_with(" public"))
            .filter_map(|line| line.split(' ').next())
            .collect();
        for operation in table() {
            // The lookup of external principals answers before it asks who calls, as it always did.
            let excepted = operation.id == "getExternalPrincipal"
                || operation.described.ours
                || operation.described.served == Served::No;
            if operation.access == AccessKind::Public && !excepted {
                assert!(open.contains(&operation.id), "{} must not be public", operation.id);
            }
        }
    }
}
