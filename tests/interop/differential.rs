//! Our verifier beside seven libraries: they accept what it accepts, and what they alone accept breaks a rule of ours.

mod case;
mod claims;
mod exception;
mod forge;
mod golden;
mod header;
mod json;
mod library;
mod minted;
mod mutation;
mod signature;
mod spelling;

use case::Case;
use exception::{EXCEPTIONS, Exception};
use golden::Golden;
use library::{Answer, NAMES};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

#[tokio::test]
async fn what_we_accept_all_accept_and_what_they_alone_accept_breaks_a_rule_of_ours() {
    let golden: Vec<Case> = Golden::read().cases().collect();
    let valid = golden.iter().filter(|case| case.refused.is_none()).count();
    assert!(golden.len() >= 60 && valid >= 20, "{valid} of {} are valid", golden.len());
    let mutated = mutation::cases(10_000);
    let valid = mutated.iter().filter(|case| case.refused.is_none()).count();
    assert!((1_400..5_000).contains(&valid), "{valid} of {} are valid", mutated.len());

    let cases = [golden, mutated].concat();
    let comparison = Comparison { answers: library::judge(&cases).await, cases };
    comparison.they_accept_what_we_accept();
    comparison.they_refuse_most_of_what_we_refuse();
    comparison.what_they_alone_accept_breaks_a_rule();
}

#[tokio::test]
async fn what_the_service_mints_all_accept() {
    let cases = minted::cases().await;
    for (case, answers) in cases.iter().zip(library::judge(&cases).await) {
        assert_eq!(case.refused, None, "{}: we refuse {}", case.name, case.token);
        for (library, answer) in NAMES.iter().zip(answers) {
            assert_eq!(answer, Ok(()), "{}: {library} refuses {}", case.name, case.token);
        }
    }
}

/// Cases and what each library said to each.
struct Comparison {
    cases: Vec<Case>,
    answers: Vec<[Answer; 7]>,
}

impl Comparison {
    /// But for the exceptions, each of which must occur.
    fn they_accept_what_we_accept(&self) {
        let mut occurred = BTreeSet::new();
        for (case, answers) in self.each().filter(|(case, _)| case.refused.is_none()) {
            for (library, answer) in NAMES.iter().zip(answers) {
                let Err(why) = answer else { continue };
                let listed = (*library, case.name.as_str());
                assert!(
                    EXCEPTIONS.iter().any(|exception| exception.covers(listed)),
                    "{}: we accept what {library} refuses: {why}\n{}",
                    case.name,
                    case.question()
                );
                occurred.insert(listed);
            }
        }
        for listed in EXCEPTIONS.iter().flat_map(Exception::pairs) {
            assert!(occurred.contains(&listed), "{listed:?} is an exception no more");
        }
    }

    /// A library that accepts everything would agree with us on what is good.
    fn they_refuse_most_of_what_we_refuse(&self) {
        let refused = self.each().filter(|(case, _)| case.refused.is_some());
        let refused: Vec<_> = refused.map(|(_, answers)| answers).collect();
        for (column, library) in NAMES.iter().enumerate() {
            let too = refused.iter().filter(|answers| answers[column].is_err()).count();
            assert!(3 * too > refused.len(), "{library} refuses {too} of {}", refused.len());
        }
    }

    fn what_they_alone_accept_breaks_a_rule(&self) {
        let mut alone: BTreeMap<(&str, &str), [usize; 7]> = BTreeMap::new();
        for (case, answers) in self.each() {
            let Some(code) = &case.refused else { continue };
            for (column, _) in answers.iter().enumerate().filter(|(_, answer)| answer.is_ok()) {
                let rule = case.rule.as_ref().unwrap_or_else(|| {
                    panic!("{}: {} accepts it\n{}", case.name, NAMES[column], case.question())
                });
                alone.entry((code, rule)).or_default()[column] += 1;
            }
        }

        // Past libtest, which shows what is printed only when a test fails.
        let mut out = std::io::stdout().lock();
        let mut print = |counts: [String; 7], code: &str, rule: &str| {
            let counts: String = counts.iter().map(|count| format!("{count:>11}")).collect();
            writeln!(out, "{counts}  {code:<16}  {rule}").expect("standard output");
        };
        print(NAMES.map(str::to_owned), "we refuse it:", "the rule");
        for ((code, rule), counts) in alone {
            print(counts.map(|count| count.to_string()), code, rule);
        }
    }

    fn each(&self) -> impl Iterator<Item = (&Case, &[Answer; 7])> {
        self.cases.iter().zip(&self.answers)
    }
}
