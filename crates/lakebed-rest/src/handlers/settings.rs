//! Branch protection and collection rules (`versioning-api` §4, §5.1), in their present and their deprecated forms.

use http::{HeaderValue, StatusCode, header};
use lakebed_api::{BranchProtectionRule, GarbageCollectionRule, GarbageCollectionRules};
use lakebed_catalog::ErrorKind;
use lakebed_core::RepositoryId;

use crate::call::Call;
use crate::error::RestError;
use crate::reply::{self, Reply};

/// How often a change of a single rule is tried again when others change rules meanwhile.
const TRIES: usize = 10;

pub(crate) async fn get_protection(call: Call, (): ()) -> Reply {
    let (patterns, etag) = call.catalog().branch_protection(&call.repository()?).await?;
    let rules: Vec<_> = patterns.into_iter().map(|pattern| BranchProtectionRule { pattern }).collect();
    let mut response = reply::json(StatusCode::OK, &rules)?;
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    Ok(response)
}

pub(crate) struct Protection {
    patterns: Vec<String>,
    if_match: Option<String>,
}

pub(crate) fn protection_input(
    call: &Call,
    rules: Vec<BranchProtectionRule>,
) -> Result<Protection, RestError> {
    let if_match = match call.header(&header::IF_MATCH) {
        Some(value) if value.is_empty() => {
            return Err(RestError::bad_parameter(
                "If-Match",
                "parameter 'If-Match' is empty, can't bind its value",
            ));
        }
        value => value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
    };
    let mut patterns: Vec<String> = Vec::with_capacity(rules.len());
    for BranchProtectionRule { pattern } in rules {
        check_pattern(&pattern)?;
        if !patterns.contains(&pattern) {
            patterns.push(pattern);
        }
    }
    Ok(Protection { patterns, if_match })
}

fn check_pattern(pattern: &str) -> Result<(), RestError> {
    if pattern.is_empty() {
        return Err(RestError::bad_request("request body has an error: pattern must not be empty"));
    }
    Ok(())
}

pub(crate) async fn set_protection(call: Call, input: Protection) -> Reply {
    let if_match = input.if_match.as_deref();
    call.catalog().set_branch_protection(&call.repository()?, &input.patterns, if_match).await?;
    reply::no_content()
}

pub(crate) fn rule(_: &Call, rule: BranchProtectionRule) -> Result<String, RestError> {
    check_pattern(&rule.pattern)?;
    Ok(rule.pattern)
}

pub(crate) async fn add_protection(call: Call, pattern: String) -> Reply {
    change_protection(&call, |patterns| {
        if !patterns.contains(&pattern) {
            patterns.push(pattern.clone());
        }
        true
    })
    .await?;
    reply::no_content()
}

pub(crate) async fn remove_protection(call: Call, pattern: String) -> Reply {
    let removed = change_protection(&call, |patterns| {
        let before = patterns.len();
        patterns.retain(|known| *known != pattern);
        patterns.len() < before
    })
    .await?;
    if removed { reply::no_content() } else { Err(RestError::bare(StatusCode::NOT_FOUND)) }
}

/// Changes the rules against whatever others do to them; answers what the last call of `change` did: false leaves
/// the rules alone.
async fn change_protection(
    call: &Call,
    change: impl Fn(&mut Vec<String>) -> bool,
) -> Result<bool, RestError> {
    let repository = call.repository()?;
    for _ in 0..TRIES {
        let (mut patterns, etag) = call.catalog().branch_protection(&repository).await?;
        if !change(&mut patterns) {
            return Ok(false);
        }
        match call.catalog().set_branch_protection(&repository, &patterns, Some(&etag)).await {
            Ok(()) => return Ok(true),
            Err(error) if error.kind() == ErrorKind::PreconditionFailed => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(RestError::new(StatusCode::TOO_MANY_REQUESTS, "too many changes of the rules at once, try again"))
}

/// The caller passed the permission: that is all that was asked.
pub(crate) async fn preflight(_: Call, (): ()) -> Reply {
    reply::no_content()
}

/// The stored rules, or 404.
pub(crate) async fn rules_of(call: &Call, repository: &RepositoryId) -> Result<String, RestError> {
    call.catalog()
        .gc_rules(repository)
        .await?
        .ok_or_else(|| RestError::not_found("garbage collection rules not found"))
}

pub(crate) async fn get_gc_rules(call: Call, (): ()) -> Reply {
    let rules = rules_of(&call, &call.repository()?).await?;
    Ok(reply::raw_json(StatusCode::OK, rules.into_bytes()))
}

/// Of two rules for one branch the last counts.
pub(crate) fn gc_rules_input(_: &Call, rules: GarbageCollectionRules) -> Result<String, RestError> {
    let mut branches: Vec<GarbageCollectionRule> = Vec::with_capacity(rules.branches.len());
    for rule in rules.branches {
        match branches.iter_mut().find(|known| known.branch_id == rule.branch_id) {
            Some(known) => *known = rule,
            None => branches.push(rule),
        }
    }
    let rules = GarbageCollectionRules { branches, ..rules };
    serde_json::to_string(&rules).map_err(|error| RestError::internal("writing rules", &error))
}

pub(crate) async fn set_gc_rules(call: Call, rules: String) -> Reply {
    call.catalog().set_gc_rules(&call.repository()?, Some(&rules)).await?;
    reply::no_content()
}

pub(crate) async fn delete_gc_rules(call: Call, (): ()) -> Reply {
    call.catalog().set_gc_rules(&call.repository()?, None).await?;
    reply::no_content()
}
