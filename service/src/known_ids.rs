//! Ids of devices, enrollments, groups, configurations and jobs for the completion of command
//! lines.

use std::env;
use std::path::PathBuf;

use behaviour_service::rollout::Rollout;
use behaviour_service::{Client, ClientSettings, ProvisioningClient};
use protocol::provisioning::service::EnrollmentKind;

use crate::sign_in::{SignIn, Target};

/// Maximum number of ids. A shell cannot show more in a useful way.
const MAX_IDS: u32 = 200;

/// Returns the ids of the devices in the hub that the environment names. Returns none if the
/// hub cannot be asked.
pub(crate) fn of_devices() -> Vec<String> {
    wait_for(devices())
}

/// Returns the ids of the configurations, like [`of_devices`].
pub(crate) fn of_configurations() -> Vec<String> {
    wait_for(async {
        let all = hub()?.configurations().await.ok()?;
        Some(all.into_iter().map(|configuration| configuration.id.to_string()).collect())
    })
}

/// Returns the names of the plugins that have rollouts, like [`of_devices`].
pub(crate) fn of_rollouts() -> Vec<String> {
    wait_for(async {
        let all = Rollout::all(hub()?.configurations().await.ok()?);
        let mut plugins: Vec<String> = all.into_iter().map(|rollout| rollout.plugin).collect();
        plugins.dedup();
        Some(plugins)
    })
}

/// Returns the ids of the jobs, like [`of_devices`].
pub(crate) fn of_jobs() -> Vec<String> {
    wait_for(async {
        let all = hub()?.jobs().await.ok()?;
        Some(all.into_iter().map(|job| job.job_id.to_string()).collect())
    })
}

/// Returns the ids of the enrollments of the service that the environment names. Returns none
/// if the service cannot be asked.
pub(crate) fn of_enrollments() -> Vec<String> {
    wait_for(enrollments(EnrollmentKind::Individual))
}

/// Returns the ids of the groups, like [`of_enrollments`].
pub(crate) fn of_groups() -> Vec<String> {
    wait_for(enrollments(EnrollmentKind::Group))
}

fn wait_for(ids: impl Future<Output = Option<Vec<String>>>) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.ok().and_then(|runtime| runtime.block_on(ids)).unwrap_or_default()
}

async fn devices() -> Option<Vec<String>> {
    let client = hub()?;
    let mut query = client.query("SELECT deviceId FROM devices", Some(MAX_IDS));
    let page = query.next_page().await.ok()??;
    let ids = page.iter().filter_map(|item| item.get("deviceId")?.as_str());
    Some(ids.map(str::to_owned).collect())
}

fn hub() -> Option<Client> {
    client(Target::Hub)
}

async fn enrollments(kind: EnrollmentKind) -> Option<Vec<String>> {
    let client = ProvisioningClient::from(client(Target::Provisioning)?);
    client.first_ids(kind, MAX_IDS).await.ok()
}

/// Returns a client that makes a single attempt, with the credentials in the environment.
fn client(target: Target) -> Option<Client> {
    let ca_file = env::var_os("IOTHUB_CA_FILE").map(PathBuf::from);
    let settings = ClientSettings { ca_file, retries: 0, ..ClientSettings::default() };
    SignIn::of_environment(target)?.client(settings).ok()
}
