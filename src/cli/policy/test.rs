//! `scrip policy test`: requests and what a policy is to answer, in a file beside it. Judged here, by
//! the judgement that mints use; the service is not asked. A quota in money is judged by the prices
//! that the file names; what is left of it is not.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use scrip_token::json::present;
use scrip_token::{Budget, Cidr, ModelPattern, QualifiedName, Scopes};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};

use super::read;
use crate::caller::Caller;
use crate::cli::failure::Failure;
use crate::cli::print::{Printer, plain};
use crate::cli::{input, price};
use crate::mint::request::MintRequest;
use crate::policy::{Outcome, Policy, SELF_AUDIENCE, judge};
use crate::prices::PriceList;

/// What the name of a file of tests ends in.
pub(in crate::cli) const SUFFIX: &str = ".test.toml";
/// Largest file of tests, in bytes.
const MAX_BYTES: usize = 1 << 20;
/// For which issuer tokens are judged here; expectations call it `self`.
const ISSUER: &str = "https://sts.example";
/// With which credential.
const CRED: &str = "vault:1.1795000000";

pub(super) fn run(printer: Printer, files: &[PathBuf]) -> Result<(), Failure> {
    let tried = files.iter().map(|file| Tried::file(file)).collect::<Result<Vec<_>, _>>()?;
    let mut out = io::stdout().lock();
    if printer.json {
        writeln!(out, "{}", json!({"files": tried}))?;
    } else {
        for tried in &tried {
            tried.mismatches().try_for_each(|line| writeln!(out, "{line}"))?;
        }
    }
    let requests: usize = tried.iter().map(|tried| tried.requests).sum();
    let wrong: usize = tried.iter().map(|tried| tried.wrong()).sum();
    if wrong > 0 {
        return Err(Failure::Rejected(format!(
            "{wrong} of {requests} requests came out otherwise"
        )));
    }
    if !printer.json {
        writeln!(out, "{requests} requests came out as expected")?;
    }
    Ok(())
}

/// What came of one file.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Tried {
    file: PathBuf,
    requests: usize,
    mismatches: Vec<Mismatch>,
}

/// One thing that is not as it was expected.
#[derive(Debug, Serialize)]
struct Mismatch {
    /// Which request, counted from 1.
    request: usize,
    /// What it is called.
    name: Option<String>,
    /// A member of the token, `error`, or `outcome` where a token was refused or granted at all.
    member: String,
    expected: Value,
    got: Value,
}

impl Tried {
    /// Judges the requests of a file by the policy beside it.
    ///
    /// # Errors
    /// [`Failure::Usage`] for a file that cannot be read.
    pub(in crate::cli) fn file(path: &Path) -> Result<Self, Failure> {
        let refuse = |why: String| Failure::Usage(format!("{}: {why}", path.display()));
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(name) = name.and_then(|name| name.strip_suffix(SUFFIX)) else {
            return Err(refuse(format!("the name of a file of tests ends in `{SUFFIX}`")));
        };
        let policy = read(&path.with_file_name(format!("{name}.toml")))?;
        let text = input::read(path, MAX_BYTES)?;
        let trials = Trials::parse(&text).map_err(refuse)?;
        let prices = trials.prices.as_ref().map(|list| price::read(&path.with_file_name(list)));
        let prices = prices.transpose()?;
        if prices.is_none() && policy.quota().is_some_and(|quota| quota.money.is_some()) {
            let example = "`prices = \"../prices.toml\"`";
            return Err(refuse(format!(
                "the policy has a quota in money: name a list of prices, such as {example}"
            )));
        }
        let (requests, mismatches) = trials.judge(&policy, prices.as_ref()).map_err(refuse)?;
        Ok(Self { file: path.to_owned(), requests, mismatches })
    }

    /// A line for each thing that is not as expected.
    pub(in crate::cli) fn mismatches(&self) -> impl Iterator<Item = String> {
        self.mismatches.iter().map(|mismatch| {
            let Mismatch { request, name, member, expected, got } = mismatch;
            let name = name.as_ref().map(|name| format!(" ({})", plain(name))).unwrap_or_default();
            let file = self.file.display();
            format!("{file}: request {request}{name}: `{member}` is {got}, expected {expected}")
        })
    }

    /// How many requests came out otherwise.
    fn wrong(&self) -> usize {
        let mut requests: Vec<_> = self.mismatches.iter().map(|one| one.request).collect();
        requests.dedup();
        requests.len()
    }
}

/// A file of tests.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Trials {
    /// Who asks, where a request does not say.
    client: Option<QualifiedName>,
    /// From where.
    address: Option<IpAddr>,
    /// A file as `scrip price set` takes it, seen from this one's folder.
    prices: Option<PathBuf>,
    #[serde(default, rename = "request")]
    requests: Vec<Trial>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Trial {
    name: Option<String>,
    client: Option<QualifiedName>,
    address: Option<IpAddr>,
    /// The parameters of `POST /oauth2/token`; `grant_type` is there already.
    #[serde(default)]
    ask: BTreeMap<String, Parameter>,
    granted: Option<Expected>,
    /// The `error`.
    refused: Option<String>,
    /// Stands in the `error_description`.
    because: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Parameter {
    Text(String),
    Number(u64),
}

/// What a token must say; of what is not named, nothing is expected.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<Scopes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    models: Option<Vec<ModelPattern>>,
    /// `{}` is none.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    budget: Option<Limits>,
    /// `"any"` is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    cidrs: Option<Networks>,
    #[serde(skip_serializing_if = "Option::is_none")]
    env: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Limits(Budget);

impl Serialize for Limits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Some(self.0).filter(|budget| !budget.is_unlimited()).serialize(serializer)
    }
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "neither a list of networks nor \"any\"")]
enum Networks {
    Only(Vec<Cidr>),
    Any(Any),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Any {
    Any,
}

impl Serialize for Networks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Only(networks) => networks.serialize(serializer),
            Self::Any(Any::Any) => serializer.serialize_none(),
        }
    }
}

impl Trials {
    fn parse(text: &str) -> Result<Self, String> {
        let trials: Self = toml::from_str(text).map_err(|error| input::at(text, &error))?;
        if trials.requests.is_empty() {
            return Err("there is no [[request]] in it".to_owned());
        }
        Ok(trials)
    }

    /// How many requests there are, and what did not come out as expected.
    fn judge(
        self,
        policy: &Policy,
        prices: Option<&PriceList>,
    ) -> Result<(usize, Vec<Mismatch>), String> {
        let Self { client, address, requests, .. } = self;
        let count = requests.len();
        let mut mismatches = Vec::new();
        for (place, trial) in requests.into_iter().enumerate() {
            let request = place + 1;
            let odd = |why: &str| format!("request {request}: {why}");
            let client = trial.client.clone().or_else(|| client.clone());
            let client = client.ok_or_else(|| odd("`client` is missing"))?;
            let address = trial.address.or(address).ok_or_else(|| odd("`address` is missing"))?;
            let address = address.to_canonical();
            let caller = Caller { client, cred: CRED.to_owned(), address };
            let outcome = trial.outcome(&caller, policy, prices);
            let differing = trial.compare(&outcome).map_err(odd)?;
            mismatches.extend(differing.into_iter().map(|(member, expected, got)| Mismatch {
                request,
                name: trial.name.clone(),
                member,
                expected,
                got,
            }));
        }
        Ok((count, mismatches))
    }
}

impl Trial {
    fn outcome(&self, caller: &Caller, policy: &Policy, prices: Option<&PriceList>) -> Outcome {
        let mut form = vec![(Cow::from("grant_type"), Cow::from("client_credentials"))];
        form.retain(|_| !self.ask.contains_key("grant_type"));
        form.extend(self.ask.iter().map(|(name, value)| {
            let value = match value {
                Parameter::Text(text) => Cow::from(text),
                Parameter::Number(number) => Cow::from(number.to_string()),
            };
            (Cow::from(name), value)
        }));
        match MintRequest::parse(form) {
            Ok(request) => {
                let approved = judge(caller, &request, policy, ISSUER);
                approved.and_then(|approved| approved.charge(prices).map(|_| approved)).into()
            }
            Err(error) => error.into(),
        }
    }

    /// What is not as expected: which member, what it should be, what it is.
    fn compare(&self, outcome: &Outcome) -> Result<Vec<(String, Value, Value)>, &'static str> {
        let other = |expected| Ok(vec![("outcome".to_owned(), expected, json!(outcome))]);
        match (&self.granted, &self.refused, outcome) {
            (Some(_), Some(_), _) | (None, None, _) => Err("is it `granted` or `refused`?"),
            (Some(_), None, _) if self.because.is_some() => Err("`because` goes with `refused`"),
            (Some(expected), None, Outcome::Granted(granted)) => {
                let mut got = json!(granted);
                if granted.aud == ISSUER {
                    got["aud"] = json!(SELF_AUDIENCE);
                }
                let expected = json!(expected);
                let members = expected.as_object().into_iter().flatten();
                let members = members.map(|(name, value)| (name, value, got[name].clone()));
                let differing = members.filter(|(_, expected, got)| *expected != got);
                Ok(differing.map(|(name, value, got)| (name.clone(), value.clone(), got)).collect())
            }
            (None, Some(error), Outcome::Refused(refused)) => {
                let description = &refused.error_description;
                let mut differing = Vec::new();
                if error != refused.error {
                    differing.push(("error".to_owned(), json!(error), json!(refused.error)));
                }
                if let Some(why) = self.because.as_ref().filter(|why| !description.contains(*why)) {
                    let member = "error_description".to_owned();
                    differing.push((member, json!(why), json!(description)));
                }
                Ok(differing)
            }
            (Some(_), None, Outcome::Refused(_)) => other(json!("granted")),
            (None, Some(error), Outcome::Granted(_)) => other(json!({"refused": error})),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_come_out_as_they_say() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
        let mut requests = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.to_str().is_some_and(|path| path.ends_with(SUFFIX)) {
                let tried = Tried::file(&path).unwrap();
                assert_eq!(tried.mismatches().collect::<Vec<_>>(), [""; 0]);
                requests += tried.requests;
            }
        }
        assert!(requests >= 10, "{requests} requests in the examples");
    }

    fn tried(tests: &str) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        let policy =
            "name = \"acme/x\"\naudiences = [\"gw\"]\nscopes = [\"llm:chat\"]\nenv = \"prod\"";
        std::fs::write(folder.path().join("x.toml"), policy).unwrap();
        let path = folder.path().join("x.test.toml");
        let who = "client = \"acme/x\"\naddress = \"10.0.0.1\"\n";
        std::fs::write(&path, format!("{who}{tests}")).unwrap();
        let place = format!("{}: ", path.display());
        let tried = Tried::file(&path).map_err(|failure| {
            assert_eq!(failure.exit_code(), 2);
            failure.to_string().replace(&place, "")
        });
        Ok(tried?.mismatches().map(|line| line.replace(&place, "")).collect())
    }

    #[test]
    fn each_mismatch_is_named() {
        let lines = tried(
            "[[request]]\nname = \"too much\"\n\
             granted = { scope = \"llm:embed\", cidrs = [\"10.0.0.0/8\"], budget = {}, ttl = 300 }\n\
             [[request]]\ngranted = { cidrs = \"any\", models = [], aud = \"gw\", env = \"prod\" }\n\
             [[request]]\nask = { scope = \"db:x\" }\ngranted = {}\n\
             [[request]]\nask = { ttl = 60 }\nrefused = \"invalid_scope\"\n\
             [[request]]\nask = { ttl = 0 }\nrefused = \"invalid_scope\"\nbecause = \"scope\"\n\
             [[request]]\nask = { ttl = \"\" }\nrefused = \"invalid_request\"\n\
             [[request]]\nclient = \"other/x\"\nrefused = \"unauthorized_client\"\n",
        );
        let said: Vec<String> = lines.unwrap();
        let beginnings = [
            "request 1 (too much): `cidrs` is null, expected [\"10.0.0.0/8\"]",
            "request 1 (too much): `scope` is \"llm:chat\", expected \"llm:embed\"",
            "request 3: `outcome` is {\"refused\":",
            "request 4: `outcome` is {\"granted\":",
            "request 5: `error` is \"invalid_authorization_details\", expected \"invalid_scope\"",
            "request 5: `error_description` is \"ttl 0 is",
        ];
        assert_eq!(said.len(), beginnings.len(), "{said:#?}");
        for (line, beginning) in said.iter().zip(beginnings) {
            assert!(line.starts_with(beginning), "{line}");
        }
    }

    #[test]
    fn a_quota_in_money_is_judged_by_the_prices_that_the_file_names() {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let path = folder.path().join("policies/x.test.toml");
        std::fs::create_dir(folder.path().join("policies")).unwrap();
        write(
            "policies/x.toml",
            "name = \"acme/x\"\naudiences = [\"gw\"]\nscopes = [\"llm:chat\"]\nenv = \"prod\"\n\
             models = [\"gpt-4o-mini\", \"gpt-5\"]\nbudget = { tokens = 1000000 }\n\
             quota = { money = \"0.10\", window = \"day\" }",
        );
        write(
            "prices.toml",
            "currency = \"USD\"\n[[models]]\nmodel = \"gpt-4o-mini\"\ninput = \"0.15\"\noutput = \"0.60\"",
        );
        let requests = "client = \"acme/x\"\naddress = \"10.0.0.1\"\n\
            [[request]]\nask = { models = \"gpt-4o-mini\", budget_tokens = 100000 }\ngranted = {}\n\
            [[request]]\nask = { models = \"gpt-4o-mini\" }\nrefused = \"invalid_authorization_details\"\n\
            because = \"would take 0.6 USD, above the 0.1\"\n\
            [[request]]\nask = { models = \"gpt-5\", budget_tokens = 1 }\ngranted = {}\n";
        write("policies/x.test.toml", &format!("prices = \"../prices.toml\"\n{requests}"));
        let lines: Vec<String> = Tried::file(&path).unwrap().mismatches().collect();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(lines[0].contains("request 3: `outcome` is {\"refused\""), "{lines:#?}");
        assert!(lines[0].contains("no price says what all of `gpt-5` cost"), "{lines:#?}");

        for (prices, why) in [
            ("", "x.test.toml: the policy has a quota in money: name a list of prices"),
            ("prices = \"../none.toml\"\n", "none.toml: No such file"),
            ("prices = \"x.toml\"\n", "unknown field `audiences`, expected `currency`"),
        ] {
            write("policies/x.test.toml", &format!("{prices}{requests}"));
            let failure = Tried::file(&path).unwrap_err();
            assert_eq!(failure.exit_code(), 2, "{prices}");
            assert!(failure.to_string().contains(why), "{prices}: {failure}");
        }
    }

    #[test]
    fn n61_what_is_misspelt_is_refused() {
        for (tests, why) in [
            ("", "there is no [[request]]"),
            ("[[requests]]\n", "line 3: unknown field `requests`"),
            ("[[request]]\ngranted = {}\nrefusd = 1\n", "line 5: unknown field `refusd`"),
            ("[[request]]\ngranted = { scopes = \"a\" }\n", "line 4: unknown field `scopes`"),
            ("[[request]]\ngranted = { models = [\"\"] }\n", "line 4: not a well-formed model"),
            ("[[request]]\ngranted = { cidrs = \"some\" }\n", "line 4: neither a list of networks"),
            ("[[request]]\n", "request 1: is it"),
            ("[[request]]\ngranted = {}\nrefused = \"a\"\n", "request 1: is it"),
            ("[[request]]\ngranted = {}\nbecause = \"a\"\n", "request 1: `because`"),
        ] {
            let error = tried(tests).expect_err(tests);
            assert!(error.starts_with(why), "{tests}: {error}");
        }
        let elsewhere = Tried::file(Path::new("policies/document-summaries.toml")).unwrap_err();
        assert!(elsewhere.to_string().contains(".test.toml"));
    }
}
