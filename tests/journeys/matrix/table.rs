//! The results of all cells, which form a table in docs/reliability.md.

use std::fs;

use parking_lot::Mutex;
use protocol::mqtt5::ConnectionProfile;

use super::cells::Cell;

/// Returns the comments around the table of a wire.
fn borders(profile: ConnectionProfile) -> (&'static str, &'static str) {
    match profile {
        ConnectionProfile::Classic => {
            ("<!-- fault matrix: written by the test -->\n", "<!-- end of the fault matrix -->\n")
        }
        ConnectionProfile::MqttV5 => (
            "<!-- fault matrix of MQTT 5: written by the test -->\n",
            "<!-- end of the fault matrix of MQTT 5 -->\n",
        ),
    }
}

/// The page that several tests of the same process change.
static PAGE: Mutex<()> = Mutex::new(());

/// The result of one cell.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) cell: Cell,
    pub(super) happened: u64,
    pub(super) calls: u64,
    pub(super) answered: u64,
    /// The number of calls without an answer.
    pub(super) lost: u64,
    /// The maximum number of runs of one method.
    pub(super) max_runs: usize,
    pub(super) max_job_runs: usize,
}

impl Row {
    pub(super) fn assert(&self) {
        assert_eq!(self.max_runs, 1, "a method ran twice: {self:?}");
        assert_eq!(self.max_job_runs, 1, "a job that succeeded ran again: {self:?}");
        assert_eq!(self.answered + self.lost, self.calls, "{self:?}");
        assert!(self.lost == 0 || self.cell.can_lose(), "a call was lost: {self:?}");
    }

    /// Returns the first cells of the row, which contain the promise. The numbers follow.
    fn promise(&self) -> String {
        let (step, effect) = self.cell.names();
        let promise = if self.cell.can_lose() { "at most once" } else { "once" };
        format!("| {step} | {effect} | {promise} | all |")
    }

    fn line(&self) -> String {
        let Row { calls, answered, lost, happened, .. } = self;
        format!("{} {happened} | {calls} | {answered} | {lost} |\n", self.promise())
    }
}

/// Writes the table if `WRITE_DOCS` is set. Otherwise, asserts that the table has the same
/// promises.
pub(super) fn write_or_compare(profile: ConnectionProfile, rows: &[Row]) {
    let (begin, end) = borders(profile);
    let head = "| Step | Effect | Methods are answered | Last reports arrive | Happened | Calls \
                | Answered | Lost |\n|---|---|---|---|---|---|---|---|\n";
    let lines: String = rows.iter().map(Row::line).collect();
    let Some(table) = write_or_read(begin, end, &(head.to_owned() + &lines)) else { return };
    let missing: Vec<String> =
        rows.iter().map(Row::promise).filter(|promise| !table.contains(promise.as_str())).collect();
    assert!(missing.is_empty(), "not in docs/reliability.md: {missing:#?}");
    assert_eq!(
        table.lines().count(),
        rows.len() + 2,
        "the table has rows for cells that do not exist"
    );
}

/// Writes a table between two marks of docs/reliability.md if `WRITE_DOCS` is set. Otherwise,
/// returns the table that is there.
pub(in crate::journeys) fn write_or_read(begin: &str, end: &str, table: &str) -> Option<String> {
    let _page = PAGE.lock();
    let path = rig::workspace().join("docs/reliability.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(begin).expect("the page has the start of the table");
    let (found, after) = rest.split_once(end).expect("the page has the end of the table");
    if std::env::var_os("WRITE_DOCS").is_none() {
        return Some(found.to_owned());
    }
    fs::write(&path, format!("{before}{begin}{table}{end}{after}")).unwrap();
    None
}
