//! Ref expressions (`versioning-api` §3): `base modifier*`, as in git, plus `@` (committed) and `$` (staged).

use std::str::FromStr;

/// One step from a commit to an ancestor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefStep {
    /// `~N`: N times the first parent.
    Ancestor(u32),
    /// `^N`: the N-th parent; `^0` is the commit itself.
    Parent(u32),
}

/// Which state of a branch is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RefModifier {
    /// Nothing was said: what a bare branch name means depends on the operation.
    #[default]
    None,
    /// `@`: the committed head.
    Committed,
    /// `$`: the branch including uncommitted changes.
    Staged,
}

/// A parsed ref expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefExpr {
    text: Box<str>,
    base_len: usize,
    steps: Vec<RefStep>,
    modifier: RefModifier,
}

/// Why a text is not a ref expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ref '{text}': {why}: validation error")]
pub struct RefExprError {
    /// The text given.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// More steps than this are refused: no client writes them, a hostile one could.
const MAX_STEPS: usize = 1000;

impl RefExpr {
    /// The branch, tag, commit id or commit-id prefix the expression starts from.
    pub fn base(&self) -> &str {
        &self.text[..self.base_len]
    }

    /// The steps to take from the base's commit, in order.
    pub fn steps(&self) -> &[RefStep] {
        &self.steps
    }

    /// Which state of a branch was asked for.
    pub fn modifier(&self) -> RefModifier {
        self.modifier
    }

    /// The expression as the client wrote it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// True if the expression is a bare name: no step and no modifier.
    pub fn is_plain(&self) -> bool {
        self.steps.is_empty() && self.modifier == RefModifier::None
    }
}

impl std::fmt::Display for RefExpr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for RefExpr {
    type Err = RefExprError;

    fn from_str(text: &str) -> Result<Self, RefExprError> {
        let wrong = |why| RefExprError { text: text.chars().take(200).collect(), why };
        let base_len = text.find(['~', '^', '@', '$']).unwrap_or(text.len());
        let base = &text[..base_len];
        if base.is_empty() {
            return Err(wrong("a ref starts with a branch, tag or commit id"));
        }
        if base.chars().any(|c| c.is_control() || c == ' ' || ":?*[\\/".contains(c)) {
            return Err(wrong("a ref has no space, control character or any of : ? * [ \\ /"));
        }
        let mut steps = Vec::new();
        let mut modifier = RefModifier::None;
        let mut rest = &text[base_len..];
        while let Some(kind) = rest.chars().next() {
            rest = &rest[kind.len_utf8()..];
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let number = match &rest[..digits] {
                "" => None,
                number => Some(number.parse().map_err(|_| wrong("the number is too large"))?),
            };
            match kind {
                '~' => steps.push(RefStep::Ancestor(number.unwrap_or(1))),
                '^' => steps.push(RefStep::Parent(number.unwrap_or(1))),
                '@' | '$' => {
                    if number.is_some() || !rest.is_empty() || !steps.is_empty() {
                        return Err(wrong("'@' and '$' stand alone behind a branch name"));
                    }
                    modifier = if kind == '@' { RefModifier::Committed } else { RefModifier::Staged };
                }
                _ => return Err(wrong("a modifier is ~N, ^N, @ or $")),
            }
            rest = &rest[digits..];
            if steps.len() > MAX_STEPS {
                return Err(wrong("more than 1000 modifiers"));
            }
        }
        Ok(Self { text: text.into(), base_len, steps, modifier })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<RefExpr, RefExprError> {
        text.parse()
    }

    #[test]
    fn steps_chain_left_to_right() {
        let expr = parse("main~2^2~1").unwrap();
        assert_eq!(expr.steps(), [RefStep::Ancestor(2), RefStep::Parent(2), RefStep::Ancestor(1)]);
        assert_eq!(parse("v1.0^").unwrap().steps(), [RefStep::Parent(1)]);
        assert_eq!(parse("a^^").unwrap().steps(), [RefStep::Parent(1), RefStep::Parent(1)]);
        assert_eq!(parse("a~0").unwrap().steps(), [RefStep::Ancestor(0)]);
    }

    #[test]
    fn state_modifiers_stand_alone() {
        assert_eq!(parse("main@").unwrap().modifier(), RefModifier::Committed);
        assert_eq!(parse("main$").unwrap().modifier(), RefModifier::Staged);
        for bad in
            ["main@~1", "main~1@", "main$@", "main@1", "@", "~1", "", "a b", "a~-1", "a~x", "a~99999999999"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_keeps_the_text(text in "\\PC{0,40}") {
            if let Ok(expr) = parse(&text) {
                prop_assert_eq!(expr.as_str(), text.as_str());
                prop_assert!(!expr.base().is_empty());
            }
        }
    }
}
