//! The fault matrix: each fault of the hub at each step of the protocol, while
//! methods are called and properties reported.
//!
//! Whatever happens, every property that was reported arrives in its last value
//! and no method runs twice; where a fault does not lose the method or its
//! answer itself, every method is answered. The table in docs/reliability.md is
//! what this test has seen: `WRITE_DOCS=1 cargo test -p tests matrix` writes it
//! anew, and the test fails if a row is missing there.

mod cells;
mod load;
mod table;

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use cells::Cell;
use table::Row;

/// Cells at once: each has a hub, a host and a load of its own, and mostly waits.
const AT_ONCE: usize = 32;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_fault_loses_a_report_or_runs_a_method_twice() {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    let mut cells: Vec<(usize, Cell)> = Cell::all().into_iter().enumerate().collect();
    // Those that wait longest begin first, so that the others fill the gaps.
    cells.sort_by_key(|(_, cell)| std::cmp::Reverse(cell.waits()));
    for (number, cell) in cells {
        let places = Arc::clone(&places);
        running.spawn(async move {
            let _place = places.acquire_owned().await.unwrap();
            (number, load::run(cell).await)
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
    table::write_or_compare(&rows);
}
