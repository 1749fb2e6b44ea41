//! Publication of results in `docs/performance.md`.
//!
//! Each section is written between two markers, so that it can be measured again without
//! the others. The text outside the markers is handwritten.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;

use crate::machine;
use crate::programs::workspace;

/// A Markdown table.
pub(crate) struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new<S: ToString>(head: impl IntoIterator<Item = S>) -> Table {
        Table { head: head.into_iter().map(|cell| cell.to_string()).collect(), rows: Vec::new() }
    }

    pub(crate) fn row<S: ToString>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(cells.into_iter().map(|cell| cell.to_string()).collect());
    }

    /// Adds a row from a line of the page, unchanged.
    fn keep(&mut self, line: &str) {
        let cells = line.trim_matches(['|', ' ']).split(" | ");
        self.rows.push(cells.map(str::to_owned).collect());
    }

    pub(crate) fn to_markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let mut text = line(&self.head);
        let _ = writeln!(text, "|---{}|", "|---:".repeat(self.head.len() - 1));
        self.rows.iter().for_each(|row| text += &line(row));
        text
    }
}

/// Returns the folder of the plots.
pub(crate) fn plots() -> PathBuf {
    workspace().join("docs/plots")
}

/// Prints a section and writes it into the page. A quick run only prints it.
pub(crate) fn publish(section: &str, text: &str, quick: bool) -> anyhow::Result<()> {
    write(section, &format!("{}\n\n{text}", machine::line()), quick)
}

fn write(section: &str, text: &str, quick: bool) -> anyhow::Result<()> {
    crate::say(&format!("\n{text}"));
    if quick {
        return Ok(());
    }
    let path = page();
    let page = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let page = replace_section(&page, section, text)
        .with_context(|| format!("{} has no markers for `{section}`", path.display()))?;
    Ok(fs::write(path, page)?)
}

/// Prints a table whose rows come from several sections, and writes it into the page.
///
/// The first cell identifies a row. A row that this run did not measure keeps its values in
/// the page. The table has no line about the machine, since the rows can come from several
/// runs. The sections contain this line.
pub(crate) fn publish_rows<'a, const N: usize>(
    section: &str,
    mut table: Table,
    rows: impl Iterator<Item = (&'a str, Option<[String; N]>)>,
    quick: bool,
) -> anyhow::Result<()> {
    let page = fs::read_to_string(page()).unwrap_or_default();
    for (name, row) in rows {
        match row {
            Some(row) => table.row(row),
            None if quick => {}
            None => {
                let prefix = format!("| {name} | ");
                page.lines()
                    .filter(|line| line.starts_with(&prefix))
                    .for_each(|line| table.keep(line));
            }
        }
    }
    write(section, &table.to_markdown(), quick)
}

fn page() -> PathBuf {
    workspace().join("docs/performance.md")
}

fn replace_section(page: &str, section: &str, text: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- bench: {section} -->"), format!("<!-- end: {section} -->"));
    let (before, rest) = page.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}\n{}\n{end}{after}", text.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_a_section_changes_only_the_text_between_its_markers() {
        let page = "a\n<!-- bench: x -->\nold\n<!-- end: x -->\nb\n";
        let new = "a\n<!-- bench: x -->\nnew\n<!-- end: x -->\nb\n";
        assert_eq!(replace_section(page, "x", "new\n").as_deref(), Some(new));
        assert_eq!(replace_section(page, "y", "new"), None);
    }

    #[test]
    fn a_table_is_formatted_as_markdown() {
        let mut table = Table::new(["name", "time"]);
        table.row(["a", "1"]);
        assert_eq!(table.to_markdown(), "| name | time |\n|---|---:|\n| a | 1 |\n");
    }
}
