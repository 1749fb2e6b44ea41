//! The fault matrix, which combines each fault of the hub with each step of the protocol
//! while methods are called and properties are reported.
//!
//! With any fault, every reported property arrives with its last value and no method runs twice.
//! Every method is answered, unless the fault itself loses the method or its answer. The tables in
//! docs/reliability.md, one for each wire, contain the results. The test fails if a row is missing
//! there; `WRITE_DOCS=1 cargo test -p tests matrix` writes the tables.

pub(in crate::journeys) mod cells;
mod load;
pub(in crate::journeys) mod table;

use protocol::mqtt5::ConnectionProfile;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use cells::Cell;
use table::Row;

/// The permits of cells that run concurrently, which both tests share. Each cell has a separate
/// hub, host and load, and is mostly idle. The hosts of more cells exceed the kernel's limit of
/// mappings for a process.
static PERMITS: Semaphore = Semaphore::const_new(32);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_fault_loses_a_report_or_runs_a_method_twice() {
    run(ConnectionProfile::Classic).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_fault_of_mqtt5_loses_a_report_or_runs_a_method_twice() {
    run(ConnectionProfile::MqttV5).await;
}

async fn run(profile: ConnectionProfile) {
    let mut running = JoinSet::new();
    let mut cells: Vec<(usize, Cell)> = Cell::all(profile).into_iter().enumerate().collect();
    // The cells with the longest waits start first to shorten the total time.
    cells.sort_by_key(|(_, cell)| std::cmp::Reverse(cell.waits()));
    for (number, cell) in cells {
        running.spawn(async move {
            let _permit = PERMITS.acquire().await.unwrap();
            (number, load::run(profile, cell).await)
        });
    }
    let mut rows: Vec<(usize, Row)> = Vec::new();
    while let Some(row) = running.join_next().await {
        rows.push(row.unwrap());
    }
    rows.sort_by_key(|(number, _)| *number);
    let rows: Vec<Row> = rows.into_iter().map(|(_, row)| row).collect();

    for row in &rows {
        row.assert();
    }
    table::write_or_compare(profile, &rows);
}
