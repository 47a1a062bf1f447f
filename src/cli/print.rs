//! What a command shows: a table for people, the API's own JSON for programs.

use std::io::{self, Write};
use std::num::NonZeroU16;

use clap::Args;
use comfy_table::{Table, presets};
use serde_json::Value;

use super::failure::Failure;
use super::http::Reply;

/// How results are shown.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Printer {
    /// Print JSON, for programs
    #[arg(long, global = true, display_order = 900)]
    pub(super) json: bool,
}

/// Which page of a list.
#[derive(Debug, Args)]
pub(super) struct Page {
    /// Most items to list
    #[arg(long, value_name = "N")]
    limit: Option<NonZeroU16>,
    /// Go on where the page before ended
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
}

impl Page {
    pub(super) fn query(self) -> Vec<(&'static str, String)> {
        let limit = self.limit.map(|limit| ("limit", limit.to_string()));
        limit.into_iter().chain(self.after.map(|after| ("after", after))).collect()
    }
}

/// A column's heading, and the JSON pointer (RFC 6901) of its value in each item.
pub(super) type Column = (&'static str, &'static str);

impl Printer {
    /// Shows a page of a list, and on standard error how to ask for the next.
    pub(super) fn list(self, page: &Reply, columns: &[Column]) -> Result<(), Failure> {
        if self.json {
            return raw(page);
        }
        self.page(&page.json()?, columns)
    }

    /// Shows a page of a list to people.
    pub(super) fn page(self, page: &Value, columns: &[Column]) -> Result<(), Failure> {
        self.table(&page["items"], columns)?;
        if let Some(next) = page["next"].as_str() {
            eprintln!("There are more: --after {}", plain(next));
        }
        Ok(())
    }

    /// Shows what was put together here.
    pub(super) fn items(self, items: &Value, columns: &[Column]) -> Result<(), Failure> {
        if self.json {
            return Ok(writeln!(io::stdout(), "{items}")?);
        }
        self.table(items, columns)
    }

    /// Shows `items` to people.
    pub(super) fn table(self, items: &Value, columns: &[Column]) -> Result<(), Failure> {
        Ok(writeln!(io::stdout(), "{}", table(items, columns))?)
    }

    /// Shows one object, a line for each of its values.
    pub(super) fn record(self, object: &Reply, rows: &[Column]) -> Result<(), Failure> {
        if self.json {
            return raw(object);
        }
        Ok(writeln!(io::stdout(), "{}", record(&object.json()?, rows))?)
    }
}

/// Says on standard error what is odd about a change that was made.
pub(super) fn warn(answer: &Reply) -> Result<(), Failure> {
    for warning in answer.json()?["warnings"].as_array().into_iter().flatten() {
        eprintln!("scrip: warning: {}", cell(Some(warning)));
    }
    Ok(())
}

/// Writes a reply as it came.
pub(super) fn raw(reply: &Reply) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(reply.body())?;
    Ok(writeln!(out)?)
}

/// One row for each of `items`.
fn table(items: &Value, columns: &[Column]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(columns.iter().map(|(heading, _)| *heading));
    for item in items.as_array().into_iter().flatten() {
        table.add_row(columns.iter().map(|(_, pointer)| cell(item.pointer(pointer))));
    }
    flush_left(table)
}

/// One row for each value of `object` that is there.
fn record(object: &Value, rows: &[Column]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for (heading, pointer) in rows {
        if let Some(value) = object.pointer(pointer) {
            table.add_row([(*heading).to_owned(), cell(Some(value))]);
        }
    }
    flush_left(table)
}

/// The table's text, from the first column of the terminal on.
pub(super) fn flush_left(mut table: Table) -> String {
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 2));
    });
    table.trim_fmt()
}

/// A value in one harmless line.
pub(super) fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::Bool(true)) => "yes".to_owned(),
        Some(Value::Bool(false)) => "no".to_owned(),
        Some(Value::String(text)) => plain(text),
        Some(Value::Array(items)) if items.iter().all(Value::is_string) => {
            let items: Vec<String> = items.iter().map(|item| cell(Some(item))).collect();
            items.join(" ")
        }
        Some(other) => plain(&other.to_string()),
    }
}

/// The text with everything escaped that could move a cursor or reorder a line: audit rows and
/// error texts carry what strangers sent.
pub(super) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\'' | '\\' => out.push(c),
            _ => out.extend(c.escape_debug()),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_table_has_a_heading_and_a_row_for_each_item() {
        let items = json!([
            {"id": "acme/billing", "enabled": true, "mints": 7, "last": null},
            {"id": "acme/b", "enabled": false, "mints": 0, "scopes": ["a", "b"]},
        ]);
        let columns = [
            ("CLIENT", "/id"),
            ("ENABLED", "/enabled"),
            ("MINTS", "/mints"),
            ("LAST", "/last"),
            ("SCOPES", "/scopes"),
        ];
        let lines: Vec<Vec<String>> = table(&items, &columns)
            .lines()
            .map(|line| line.split_whitespace().map(str::to_owned).collect())
            .collect();
        assert_eq!(
            lines,
            [
                vec!["CLIENT", "ENABLED", "MINTS", "LAST", "SCOPES"],
                vec!["acme/billing", "yes", "7", "-", "-"],
                vec!["acme/b", "no", "0", "-", "a", "b"],
            ]
        );
    }

    #[test]
    fn a_record_shows_what_is_there() {
        let key = json!({"kid": "k1", "retire_at": null, "use": {"a": 1}});
        let rows = [("key", "/kid"), ("state", "/state"), ("retires", "/retire_at"), ("u", "/use")];
        let lines: Vec<String> = record(&key, &rows).lines().map(str::to_owned).collect();
        assert_eq!(lines, ["key      k1", "retires  -", "u        {\"a\":1}"]);
    }

    #[test]
    fn n74_cells_are_one_harmless_line() {
        let items = json!([{"agent": "\u{1b}[31mred\r\n2026 forged row\u{202e}"}]);
        let shown = table(&items, &[("AGENT", "/agent")]);
        assert_eq!(shown.lines().count(), 2);
        assert!(shown.chars().all(|c| c == '\n' || !c.is_control()));
        assert!(!shown.contains('\u{202e}'));
        assert_eq!(plain(r#"it's "fine" \o/ caf\u{e9}"#), r#"it's "fine" \o/ caf\u{e9}"#);
        assert_eq!(plain("caf\u{e9}"), "caf\u{e9}");
    }
}
