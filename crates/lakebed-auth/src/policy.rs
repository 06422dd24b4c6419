//! Policies and the decision (`auth.md` §7): deny by default, a deny beats every allow, whatever the order.

use serde::{Deserialize, Serialize};

/// What a statement does where it applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Lets in.
    Allow,
    /// Keeps out, whatever else allows.
    Deny,
}

/// One rule of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// What it does.
    pub effect: Effect,
    /// Action names with `*` and `?`: `fs:Read*`.
    pub action: Vec<String>,
    /// An ARN with `*`, `?` and `${user}`, `*`, or a JSON list of such in a string.
    pub resource: String,
}

/// A named list of statements.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Its name.
    pub id: String,
    /// Its statements.
    pub statement: Vec<Statement>,
}

fn allow(id: &str, actions: &[&str]) -> Policy {
    let action = actions.iter().map(|action| (*action).to_owned()).collect();
    let statement = Statement { effect: Effect::Allow, action, resource: "*".to_owned() };
    Policy { id: id.to_owned(), statement: vec![statement] }
}

/// The preconfigured policies that setup attaches to the administrator (`auth.md` §8).
pub(crate) fn administrator() -> Vec<Policy> {
    vec![
        allow("FSFullAccess", &["fs:*"]),
        allow("AuthFullAccess", &["auth:*"]),
        allow("RepoManagementFullAccess", &["ci:*", "retention:*", "branches:*", "pr:*"]),
    ]
}

/// Whether these policies let `user` do `action` on `resource`.
pub(crate) fn allows<'a>(
    policies: impl IntoIterator<Item = &'a Policy>,
    user: &str,
    action: &str,
    resource: &str,
) -> bool {
    let mut allowed = false;
    for statement in policies.into_iter().flat_map(|policy| &policy.statement) {
        let applies = statement.action.iter().any(|pattern| matches(pattern, "", action))
            && resources(&statement.resource).iter().any(|pattern| covers(pattern, user, resource));
        match statement.effect {
            Effect::Deny if applies => return false,
            Effect::Allow => allowed |= applies,
            Effect::Deny => {}
        }
    }
    allowed
}

/// The patterns of a statement's resource: one, or a JSON list in a string.
fn resources(resource: &str) -> Vec<String> {
    if resource.starts_with('[') {
        // A list that does not parse covers nothing.
        return serde_json::from_str(resource).unwrap_or_default();
    }
    vec![resource.to_owned()]
}

/// Parts of an ARN before the resource itself.
const ARN_PARTS: usize = 6;

fn covers(pattern: &str, user: &str, resource: &str) -> bool {
    if pattern == "*" {
        return true;
    }
    let pattern: Vec<&str> = pattern.splitn(ARN_PARTS, ':').collect();
    let resource: Vec<&str> = resource.splitn(ARN_PARTS, ':').collect();
    match (&pattern[..], &resource[..]) {
        ([p @ .., p_resource], [r @ .., r_resource])
            if pattern.len() == ARN_PARTS && resource.len() == ARN_PARTS =>
        {
            p == r && matches(p_resource, user, r_resource)
        }
        _ => false,
    }
}

/// A piece of a pattern.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Token {
    Any,
    One,
    Byte(u8),
}

/// Glob over bytes; `${user}` stands for the user's name, literally. Linear in pattern times text, without backtracking
/// further than the last `*`.
fn matches(pattern: &str, user: &str, text: &str) -> bool {
    let mut tokens = Vec::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some(first) = rest.bytes().next() {
        if let Some(behind) = rest.strip_prefix("${user}") {
            tokens.extend(user.bytes().map(Token::Byte));
            rest = behind;
            continue;
        }
        tokens.push(match first {
            b'*' => Token::Any,
            b'?' => Token::One,
            byte => Token::Byte(byte),
        });
        // Patterns are compared byte by byte, so the rest need not start at a character.
        rest = rest.get(1..).unwrap_or_else(|| {
            let length = rest.chars().next().map_or(1, char::len_utf8);
            tokens.extend(rest.as_bytes()[1..length].iter().copied().map(Token::Byte));
            &rest[length..]
        });
    }
    let text = text.as_bytes();
    let (mut t, mut p) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match tokens.get(p) {
            Some(Token::Any) => {
                retry = Some((p + 1, t));
                p += 1;
            }
            Some(token) if *token == Token::One || *token == Token::Byte(text[t]) => {
                p += 1;
                t += 1;
            }
            _ => match retry {
                Some((behind, from)) => {
                    retry = Some((behind, from + 1));
                    (p, t) = (behind, from + 1);
                }
                None => return false,
            },
        }
    }
    tokens[p..].iter().all(|token| *token == Token::Any)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(effect: Effect, action: &str, resource: &str) -> Policy {
        let statement = Statement { effect, action: vec![action.to_owned()], resource: resource.to_owned() };
        Policy { id: "p".to_owned(), statement: vec![statement] }
    }

    #[test]
    fn nothing_is_allowed_without_a_policy() {
        assert!(!allows([], "u", "fs:ReadObject", "arn:lakefs:fs:::repository/r"));
        assert!(allows(&administrator(), "u", "fs:ReadObject", "arn:lakefs:fs:::repository/r/object/a"));
        assert!(!allows(&administrator(), "u", "admin:Login", "*"));
    }

    #[test]
    fn a_deny_beats_every_allow() {
        let open = policy(Effect::Allow, "fs:*", "*");
        let closed = policy(Effect::Deny, "fs:Delete*", "arn:lakefs:fs:::repository/keep/*");
        for order in [[&open, &closed], [&closed, &open]] {
            let may = |action, resource| allows(order, "u", action, resource);
            assert!(!may("fs:DeleteObject", "arn:lakefs:fs:::repository/keep/object/a"));
            assert!(may("fs:DeleteObject", "arn:lakefs:fs:::repository/other/object/a"));
            assert!(may("fs:ReadObject", "arn:lakefs:fs:::repository/keep/object/a"));
        }
    }

    #[test]
    fn resources_match_by_segment_and_glob() {
        for (pattern, resource, covered) in [
            ("arn:lakefs:fs:::repository/x", "arn:lakefs:fs:::repository/x", true),
            ("arn:lakefs:fs:::repository/x", "arn:lakefs:fs:::repository/xy", false),
            ("arn:lakefs:fs:::repository/x/*", "arn:lakefs:fs:::repository/x", false),
            ("arn:lakefs:fs:::repository/*", "arn:lakefs:fs:::repository/x/object/a:b/c", true),
            ("arn:lakefs:auth:::*", "arn:lakefs:fs:::repository/x", false),
            ("arn:lakefs:fs:::namespace/s3://b/*", "arn:lakefs:fs:::namespace/s3://b/p", true),
            ("nonsense", "arn:lakefs:fs:::repository/x", false),
            (
                "[\"arn:lakefs:fs:::repository/a\",\"arn:lakefs:fs:::repository/b\"]",
                "arn:lakefs:fs:::repository/b",
                true,
            ),
            ("[broken", "arn:lakefs:fs:::repository/b", false),
        ] {
            let policies = [policy(Effect::Allow, "fs:*", pattern)];
            assert_eq!(allows(&policies, "u", "fs:X", resource), covered, "{pattern} {resource}");
        }
    }

    #[test]
    fn the_user_in_a_pattern_is_literal() {
        let own = [policy(Effect::Allow, "auth:*", "arn:lakefs:auth:::user/${user}")];
        assert!(allows(&own, "ann", "auth:ReadCredentials", "arn:lakefs:auth:::user/ann"));
        assert!(!allows(&own, "*", "auth:ReadCredentials", "arn:lakefs:auth:::user/ann"));
        assert!(allows(&own, "*", "auth:ReadCredentials", "arn:lakefs:auth:::user/*"));
    }

    #[test]
    fn many_stars_stay_fast() {
        let pattern = "*a".repeat(200);
        let text = "b".repeat(5000);
        assert!(!matches(&pattern, "", &text));
        assert!(matches("ü*ß?", "", "üxßy"));
    }
}
