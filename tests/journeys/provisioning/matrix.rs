//! The matrix of registrations: each fault of the Device Provisioning Service at each of its
//! steps, once and each time.
//!
//! A fault that happens once ends with a connection. One that happens each time ends the single
//! attempt of `host::provision` with an assignment, or with one line and a way out. The second
//! table in docs/reliability.md contains the results, and the test fails if they differ;
//! `WRITE_DOCS=1 cargo test -p tests matrix` writes it.

use std::time::Duration;

use host::{Config, Fleet};
use hub::{Effect, Fault, Refused, Step};
use protocol::id::DeviceId;
use rig::within;
use tokio::task::JoinSet;

use super::issued::TABLE;
use super::site::{Site, key};
use crate::journeys::matrix::cells::{effect_name, step_name};
use crate::journeys::matrix::table::write_or_read;

const BEGIN: &str = "<!-- matrix of registrations: written by the test -->\n";
const END: &str = "<!-- end of the matrix of registrations -->\n";

/// The delay of a packet, and the duration of a half-open connection that the host need not
/// detect.
const SHORT: Duration = Duration::from_millis(100);

/// The duration of a half-open connection, which is longer than any time limit of the host.
const HALF_OPEN: Duration = Duration::from_secs(600);

/// The steps of a registration.
const STEPS: [Step; 4] = [Step::DpsConnect, Step::DpsSubscribe, Step::DpsRegister, Step::DpsStatus];

/// A fault that happens once, and the same fault that happens each time.
type RegistrationFault = (Step, Effect, Effect);

/// Returns the faults of a registration with a key.
fn cells() -> Vec<RegistrationFault> {
    use Effect::{
        Assigning, BrokenBody, Conflict, Delay, DropAfter, DropBefore, Duplicate, HalfOpen, Lose,
        Refuse, ServerError, Throttle,
    };
    let mut cells = Vec::new();
    for step in STEPS {
        let anywhere = [DropBefore, DropAfter, Delay(SHORT)];
        cells.extend(anywhere.map(|effect| (step, effect, effect)));
        cells.push((step, HalfOpen(SHORT), HalfOpen(HALF_OPEN)));
        let more: &[Effect] = match step {
            Step::DpsConnect => &[
                Refuse(Refused::Protocol),
                Refuse(Refused::ClientId),
                Refuse(Refused::Unavailable),
                Refuse(Refused::Password),
                Refuse(Refused::NotAuthorized),
            ],
            Step::DpsSubscribe => &[Lose, Duplicate],
            _ => &[Lose, Duplicate, Throttle, Conflict, ServerError, BrokenBody],
        };
        cells.extend(more.iter().map(|effect| (step, *effect, *effect)));
    }
    cells.push((Step::DpsStatus, Assigning, Assigning));
    cells
}

/// Returns the faults of a certificate that is issued with a registration.
fn cells_of_certificates() -> Vec<RegistrationFault> {
    [Effect::ExpiredChain, Effect::UntrustedChain]
        .map(|effect| (Step::DpsRegister, effect, effect))
        .into()
}

/// The number of polls that are answered with `assigning`, where each poll of a single attempt
/// cannot be: that attempt would last for five minutes.
const POLLS: u32 = 5;

/// The result of a cell.
struct FaultRow {
    cell: RegistrationFault,
    /// The end of a single attempt with the fault each time.
    single: String,
}

impl FaultRow {
    fn line(&self) -> String {
        let (step, effect, _) = self.cell;
        format!("| {} | {} | connected | {} |\n", step_name(step), effect_name(effect), self.single)
    }
}

/// Returns the ids of the devices of the cells.
fn devices(cells: &[RegistrationFault]) -> Vec<DeviceId> {
    (1..=cells.len()).map(|number| format!("pump-{number:04}").parse().unwrap()).collect()
}

/// Returns the number of times that a fault happens that ends.
fn times(effect: Effect) -> u32 {
    if effect == Effect::Assigning { POLLS } else { 1 }
}

/// Waits until every device of a fleet is connected although a fault has happened to it.
async fn once(cells: &[RegistrationFault]) {
    let site = Site::new().await;
    site.create_group();
    let devices = devices(cells);
    for ((step, effect, _), device) in cells.iter().zip(&devices) {
        let fault = Fault::new(*step, *effect).of(device).times(times(*effect));
        site.hub().faults().set(fault).unwrap();
    }
    let fleet = Fleet::of_group(&key(1).parse().unwrap(), "pump-", cells.len()).unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let stopped = async { drop(stopped.await) };
    let simulation = tokio::spawn(host::simulate(site.settings(""), fleet, 1000, stopped, |_| ()));
    for (cell, device) in cells.iter().zip(&devices) {
        within(format!("{device} connects after {cell:?}"), site.hub().connected(device)).await;
    }
    let expected: u64 = cells.iter().map(|(_, effect, _)| u64::from(times(*effect))).sum();
    assert_eq!(site.hub().faults().happened(), expected);
    stop.send(()).unwrap();
    within("the fleet drains", simulation).await.unwrap().unwrap();
}

/// Waits until every device has a certificate with which it connects although a fault has
/// happened to the first one.
async fn once_with_certificates(cells: &[RegistrationFault]) {
    let site = Site::issuing(Duration::from_secs(3600)).await;
    for ((step, effect, _), device) in cells.iter().zip(devices(cells)) {
        site.hub().faults().set(Fault::new(*step, *effect).of(&device)).unwrap();
        let settings = own_data(&site, TABLE, &device);
        let host = site.start(&settings, site.with_group_key(device.as_str()));
        within(format!("{device} connects after {effect:?}"), site.hub().connected(&device)).await;
        host.stop().await.unwrap();
    }
    assert_eq!(site.hub().faults().happened(), cells.len() as u64);
}

/// Returns the settings of a device with these lines, and with a data directory of its own.
fn own_data(site: &Site, more: &str, device: &DeviceId) -> Config {
    let mut settings = site.settings(more);
    settings.host.data = Some(site.folder().join(device.as_str()));
    settings
}

/// Returns the end of a single attempt of each device, to which the fault happens each time.
async fn each_time(
    cells: Vec<RegistrationFault>,
    site: Site,
    has_certificates: bool,
) -> Vec<FaultRow> {
    let site = std::sync::Arc::new(site);
    let mut attempts = JoinSet::new();
    for (number, (cell, device)) in cells.iter().zip(devices(&cells)).enumerate() {
        let (step, _, effect) = *cell;
        let times = if effect == Effect::Assigning { POLLS } else { 1000 };
        site.hub().faults().set(Fault::new(step, effect).of(&device).times(times)).unwrap();
        let (site, cell) = (std::sync::Arc::clone(&site), *cell);
        attempts.spawn(async move {
            let settings = own_data(&site, if has_certificates { TABLE } else { "" }, &device);
            let registration = site.with_group_key(device.as_str());
            let attempt = host::provision(&settings, &registration);
            let outcome = within(format!("{cell:?} ends"), attempt).await;
            let single = match outcome {
                Ok(_) => "assigned".to_owned(),
                Err(error) => {
                    let hint = error.hint().unwrap_or_else(|| panic!("{cell:?}: {error}"));
                    let message = same_each_time(&error.to_string(), device.as_str());
                    assert!(!message.contains('\n') && !hint.contains('\n'), "{message} {hint}");
                    format!("`{}` → {hint}", message.replace('`', "'"))
                }
            };
            (number, FaultRow { cell, single })
        });
    }
    let mut rows = attempts.join_all().await;
    rows.sort_by_key(|(number, _)| *number);
    rows.into_iter().map(|(_, row)| row).collect()
}

/// Returns a message without its time and its id. The system decides whether the end of a
/// connection is a close or a reset.
fn same_each_time(message: &str, device: &str) -> String {
    let message = message.replace(device, "pump-7");
    let message =
        message.replace("the provisioning service closed the connection", "the connection was cut");
    match message.split_once("expired at ") {
        Some((before, after)) => {
            let after = after.split_once(',').map(|(_, after)| after).unwrap_or_default();
            format!("{before}expired at TIME,{after}")
        }
        None => message,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_fault_of_a_registration_hangs_or_lacks_a_way_out() {
    let (cells, certificates) = (cells(), cells_of_certificates());
    let with_key = Site::new().await;
    with_key.create_group();
    let issuing = Site::issuing(Duration::from_secs(3600)).await;
    let ((), (), mut rows, more) = tokio::join!(
        once(&cells),
        once_with_certificates(&certificates),
        each_time(cells.clone(), with_key, false),
        each_time(certificates.clone(), issuing, true),
    );
    rows.extend(more);

    let head = "| Step | Effect | Once | Each time: a single attempt |\n|---|---|---|---|\n";
    let table = head.to_owned() + &rows.iter().map(FaultRow::line).collect::<String>();
    if let Some(found) = write_or_read(BEGIN, END, &table) {
        assert_eq!(found, table, "`WRITE_DOCS=1 cargo test -p tests matrix` writes the table");
    }
}
