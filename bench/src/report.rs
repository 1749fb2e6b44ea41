//! The results, written between the markers of `docs/performance.md`.
//!
//! Each section of a run has its own markers, so that one can be measured again without
//! the others. The text around the markers is written by hand.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;

use crate::machine;
use crate::programs::workspace;

/// A table of Markdown.
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
pub(crate) fn put(section: &str, text: &str, quick: bool) -> anyhow::Result<()> {
    write(section, &format!("{}\n\n{text}", machine::line()), quick)
}

fn write(section: &str, text: &str, quick: bool) -> anyhow::Result<()> {
    crate::say(&format!("\n{text}"));
    if quick {
        return Ok(());
    }
    let path = page();
    let page = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let page = replaced(&page, section, text)
        .with_context(|| format!("{} has no markers for `{section}`", path.display()))?;
    Ok(fs::write(path, page)?)
}

/// Prints and writes a table whose rows come from several sections.
///
/// A row is identified by its first cell. A row that this run did not measure keeps the
/// values of the page. There is no line about the machine, because the rows may be from
/// several runs; the sections have it.
pub(crate) fn put_rows<'a, const N: usize>(
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
                let begins = format!("| {name} | ");
                page.lines()
                    .filter(|line| line.starts_with(&begins))
                    .for_each(|line| table.keep(line));
            }
        }
    }
    write(section, &table.to_markdown(), quick)
}

fn page() -> PathBuf {
    workspace().join("docs/performance.md")
}

fn replaced(page: &str, section: &str, text: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- bench: {section} -->"), format!("<!-- end: {section} -->"));
    let (before, rest) = page.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}\n{}\n{end}{after}", text.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_written_between_its_markers_and_the_rest_is_unchanged() {
        let page = "a\n<!-- bench: x -->\nold\n<!-- end: x -->\nb\n";
        let new = "a\n<!-- bench: x -->\nnew\n<!-- end: x -->\nb\n";
        assert_eq!(replaced(page, "x", "new\n").as_deref(), Some(new));
        assert_eq!(replaced(page, "y", "new"), None);
    }

    #[test]
    fn a_table_is_displayed_as_markdown() {
        let mut table = Table::new(["name", "time"]);
        table.row(["a", "1"]);
        assert_eq!(table.to_markdown(), "| name | time |\n|---|---:|\n| a | 1 |\n");
    }
}
