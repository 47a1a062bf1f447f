//! Policies from TOML files and JSON bodies; both have the same members.

use std::io::{self, Read};

use scrip_token::json::{self, JsonError};
use toml::de::DeTable;

use super::{Policy, Terms, rules};
use crate::strict::Object;

/// Largest policy that is read, in bytes.
pub const MAX_POLICY_BYTES: usize = 64 * 1024;

/// A file is read without knowing for which issuer: only what no issuer's token could carry is
/// refused.
const SHORTEST_ISSUER: &str = "https://a";

/// Why a policy was refused.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The source could not be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// Longer than [`MAX_POLICY_BYTES`].
    #[error("longer than {MAX_POLICY_BYTES} bytes")]
    TooLong,
    /// What is wrong, and where in the file.
    #[error("line {line}, column {column}: {reason}")]
    At {
        /// Counted from 1.
        line: usize,
        /// In bytes, counted from 1.
        column: usize,
        /// What is wrong there.
        reason: String,
    },
    /// Not JSON, ambiguous, a member unknown, missing or of the wrong type.
    #[error("{0}")]
    Json(#[from] JsonError),
    /// A member breaks a rule.
    #[error("`{member}` {rule}")]
    Rule {
        /// The member of the policy.
        member: &'static str,
        /// The rule that it breaks.
        rule: &'static str,
    },
}

impl Policy {
    /// Reads a policy file (TOML 1.0).
    ///
    /// # Errors
    /// [`PolicyError`]; no more than [`MAX_POLICY_BYTES`] are ever read. Errors name the line.
    pub fn from_toml(source: impl Read) -> Result<Self, PolicyError> {
        let mut bytes = Vec::new();
        source.take(MAX_POLICY_BYTES as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > MAX_POLICY_BYTES {
            return Err(PolicyError::TooLong);
        }
        let at = |offset: usize, reason: String| {
            let before = &bytes[..offset.min(bytes.len())];
            let start = before.iter().rposition(|&b| b == b'\n').map_or(0, |newline| newline + 1);
            PolicyError::At {
                line: before.iter().filter(|&&b| b == b'\n').count() + 1,
                column: before.len() - start + 1,
                reason,
            }
        };
        let text = str::from_utf8(&bytes).map_err(|e| at(e.valid_up_to(), "not UTF-8".into()))?;
        let terms: Terms = toml::from_str(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            at(offset, error.message().replace('\n', ", "))
        })?;
        let checked = rules::check(&terms).and_then(|()| Self(terms).whole(SHORTEST_ISSUER));
        let error = match checked {
            Ok(policy) => return Ok(policy),
            Err(error) => error,
        };
        let PolicyError::Rule { member, .. } = error else { return Err(error) };
        let table = DeTable::parse(text).map(toml::Spanned::into_inner).unwrap_or_default();
        match table.get(member.split('.').next().unwrap_or(member)) {
            Some(value) => Err(at(value.span().start, error.to_string())),
            None => Err(error),
        }
    }

    /// Reads a policy from JSON: the body of `PUT /v1/policies/{tenant}/{name}`, a stored version.
    ///
    /// # Errors
    /// [`PolicyError`]; duplicate members are refused at every depth.
    pub fn from_json(body: &[u8]) -> Result<Self, PolicyError> {
        if body.len() > MAX_POLICY_BYTES {
            return Err(PolicyError::TooLong);
        }
        let Object(terms): Object<Terms> = json::read(body)?;
        rules::check(&terms)?;
        Ok(Self(terms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "\
name = \"acme/billing\"
audiences = [\"llm-gateway\"]
scopes = [\"llm:chat\"]
env = \"prod\"
";

    fn refused(text: impl AsRef<[u8]>) -> String {
        Policy::from_toml(text.as_ref()).expect_err("refused").to_string()
    }

    #[test]
    fn n61_what_is_wrong_is_refused_with_its_line_and_a_reason() {
        let with = |line: &str| refused(format!("{POLICY}{line}\n"));
        for (line, reason) in [
            ("budgets = { tokens = 5 }", "line 5, column 1: unknown field `budgets`"),
            ("[defaults]\nscope = [\"llm:chat\"]", "line 6, column 1: unknown field `scope`"),
            ("ttl = { most = 300 }", "line 5, column 9: unknown field `most`"),
            ("env = \"staging\"", "line 5, column 1: duplicate key"),
            ("ttl = { max = 300, max = 900 }", "line 5, column 20: duplicate key"),
            ("ttl = { max = \"5m\" }", "line 5, column 15: invalid type: string"),
            ("ttl = { max = 300.0 }", "line 5, column 15: invalid type: floating point"),
            ("models = \"*\"", "line 5, column 10: invalid type: string"),
            ("models = [\"gpt-4\\t\"]", "line 5, column 11: not a well-formed model pattern"),
            ("cidrs = [\"10.0.0.1/8\"]", "line 5, column 10: not a well-formed canonical CIDR"),
            ("budget = { tokens = 0 }", "line 5, column 21: invalid value"),
            ("budget = { tokens = -1 }", "line 5, column 21: invalid value"),
            ("budget = {}", "line 5, column 10: a budget has at least one member"),
            ("quota = { tokens = 0, window = \"day\" }", "line 5, column 20: invalid value"),
            ("quota = { tokens = -1, window = \"day\" }", "line 5, column 20: invalid value"),
            (
                "quota = { tokens = 1.5, window = \"day\" }",
                "line 5, column 20: invalid type: floating",
            ),
            (
                "quota = { tokens = \"5\", window = \"day\" }",
                "line 5, column 20: invalid type: string",
            ),
            ("quota = { tokens = 5 }", "line 5, column 9: missing field `window`"),
            ("quota = { token = 5 }", "line 5, column 11: unknown field `token`"),
            (
                "quota = { money = 1.5, window = \"day\" }",
                "line 5, column 19: invalid type: floating",
            ),
            ("quota = { money = \"-1\", window = \"day\" }", "line 5, column 19: is negative"),
            ("quota = { money = \"1e9\", window = \"day\" }", "line 5, column 19: has an exponent"),
            ("budget = [5]", "line 5, column 10: invalid type: sequence"),
            ("ttl = [300, 300]", "line 5, column 7: invalid type: sequence"),
            ("rate = { mints = 0, per = \"hour\" }", "line 5, column 18: invalid value"),
            ("rate = { mints = -1, per = \"hour\" }", "line 5, column 18: invalid value"),
            ("rate = { mints = 1.5, per = \"hour\" }", "line 5, column 18: invalid type"),
            (
                "rate = { mints = 1000001, per = \"hour\" }",
                "line 5, column 8: `rate.mints` is at most",
            ),
            ("rate = { mints = 1, per = \"day\" }", "line 5, column 27: unknown variant `day`"),
            ("rate = { mints = 1 }", "line 5, column 8: missing field `per`"),
            ("rate = [1, \"hour\"]", "line 5, column 8: invalid type: sequence"),
            ("rotate = { refuse = true }", "line 5, column 10: missing field `after`"),
            ("rotate = { after = 60, forced = true }", "line 5, column 24: unknown field"),
            ("rotate = { after = -1 }", "line 5, column 20: invalid value"),
            ("rotate = { after = 10 }", "line 5, column 10: `rotate.after` is 30 to 90 days"),
            ("ttl = { max = 901 }", "line 5, column 7: `ttl.max` is 60 to 900 seconds"),
            ("[defaults]\nscopes = [\"db:x\"]", "line 5, column 1: `defaults.scopes` has"),
        ] {
            let error = with(line);
            assert!(error.starts_with(reason), "{line:?}: {error}");
        }
        assert!(refused("name = \"acme/x\ty\"").contains("line 1, column 8"));
        assert!(refused(b"name = 1\n\xff").starts_with("line 2, column 1: not UTF-8"));
        assert!(refused("").contains("missing field `name`"));
    }

    #[test]
    fn n61_a_gigabyte_is_not_read() {
        let mut endless = io::repeat(b'#').take(1 << 30);
        let error = Policy::from_toml(&mut endless).expect_err("refused");
        assert!(matches!(error, PolicyError::TooLong), "{error}");
        assert_eq!(endless.limit(), (1 << 30) - (MAX_POLICY_BYTES as u64 + 1));
        let body = vec![b' '; MAX_POLICY_BYTES + 1];
        assert!(matches!(Policy::from_json(&body), Err(PolicyError::TooLong)));
    }

    #[test]
    fn n61_json_is_read_as_strictly() {
        let good = r#"{"name":"acme/x","audiences":["gw"],"scopes":["llm:chat"],"env":"prod"}"#;
        Policy::from_json(good.as_bytes()).unwrap();
        for (member, reason) in [
            (r#""budgets":{}"#, "unknown field `budgets`"),
            (r#""admin_tenant":null"#, "invalid type: null"),
            (r#""env":"staging""#, "duplicate member `env`"),
            (r#""\u0065nv":"staging""#, "duplicate member `env`"),
            (r#""cidrs":null"#, "invalid type: null"),
            (r#""budget":{"tokens":null}"#, "invalid type: null"),
            (r#""defaults":{"budget":null}"#, "invalid type: null"),
            (r#""budget":{}"#, "a budget has at least one member"),
            (r#""budget":{"tokens":9007199254740992}"#, "each below 2^53"),
            (r#""budget":[5]"#, "invalid type: sequence"),
            (r#""ttl":[300,300]"#, "invalid type: sequence"),
            (r#""defaults":{"budget":[5]}"#, "invalid type: sequence"),
            (r#""defaults":{"budget":{}}"#, "a budget has at least one member"),
            (r#""ttl":{"max":30}"#, "`ttl.max` is 60 to 900 seconds"),
            (r#""rate":null"#, "invalid type: null"),
            (r#""rate":{"mints":1,"per":"hour","burst":9}"#, "unknown field `burst`"),
            (r#""quota":{}"#, "missing field `window`"),
            (r#""quota":{"window":"day"}"#, "`quota` limits `tokens`, `money` or both"),
            (r#""quota":{"money":null,"window":"day"}"#, "invalid type: null"),
            (r#""quota":{"money":5,"window":"day"}"#, "invalid type: integer"),
            (r#""quota":{"money":"1000000000","window":"day"}"#, "is not below 1000000000"),
            (r#""quota":{"money":"0.0000001","window":"day"}"#, "has more than 6 decimals"),
            (r#""quota":null"#, "invalid type: null"),
            (r#""quota":[5,"day"]"#, "invalid type: sequence"),
            (r#""quota":{"tokens":5,"window":"week"}"#, "unknown variant `week`"),
            (
                r#""quota":{"tokens":5,"window":"day","unreported":"kept"}"#,
                "unknown variant `kept`",
            ),
            (
                r#""quota":{"tokens":9007199254740992,"window":"day"}"#,
                "`quota.tokens` is below 2^53",
            ),
            (r#""rotate":null"#, "invalid type: null"),
            (r#""rotate":[60]"#, "invalid type: sequence"),
        ] {
            let body = good.replace('}', &format!(",{member}}}"));
            let error = Policy::from_json(body.as_bytes()).expect_err(member).to_string();
            assert!(error.contains(reason), "{member}: {error}");
        }
    }

    #[test]
    fn the_example_policies_are_policies_and_survive_json() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/policies");
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.to_str().is_some_and(|path| path.ends_with(".test.toml")) {
                continue;
            }
            let policy = Policy::from_toml(std::fs::File::open(&path).unwrap())
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert_eq!(path.file_stem().unwrap(), policy.name().name());
            let json = serde_json::to_vec(&policy).unwrap();
            assert_eq!(Policy::from_json(&json).unwrap(), policy);
            names.push(policy.name().name().to_owned());
        }
        names.sort();
        let expected = [
            "chat-assistant",
            "document-summaries",
            "embeddings",
            "gateway",
            "security-team",
            "tenant-operators",
        ];
        assert_eq!(names, expected);
    }
}
