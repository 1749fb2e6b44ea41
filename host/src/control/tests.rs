//! Tests of the control socket and its client.

use std::fs::Permissions;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::atomic::Ordering;

use plugin::{JobQueue as _, JobWhen, NewJob};

use super::*;
use crate::journal::Journal;
use crate::lent::clock::MachineClock;
use crate::plugins::slot::Changes;
use crate::plugins::{self, slot::Slot};
use crate::router::{Table, tests::lent};
use crate::supervision::Supervisor;
use crate::swap::Swap;

/// Creates a configuration with one plugin `p`, whose socket is in the directory.
fn config(directory: &Path) -> Config {
    let _file = fixtures::write("reply.wat", directory);
    let toml = "[host]\ncontrol_socket = \"control/host.sock\"\n[plugins.p]\nfile = \
                \"reply.wasm\"\nmethods = [\"*\"]\n";
    let file = directory.join("host.toml");
    std::fs::write(&file, toml).unwrap();
    Config::read(&file).unwrap()
}

/// Opens the control socket. The data directory is that of the configuration.
fn open(config: &Config) -> Result<Option<Control>, ControlError> {
    Control::open(config, config.file.as_ref().unwrap().parent().unwrap())
}

/// Opens the socket and answers requests, as a host does.
fn serve(config: &Config) -> tokio::task::JoinSet<()> {
    serve_with(config, jobs(config))
}

/// Returns the jobs of a device whose journal is next to the configuration.
fn jobs(config: &Config) -> Arc<Jobs> {
    let directory = config.file.as_ref().unwrap().with_file_name("journal");
    std::fs::create_dir_all(&directory).unwrap();
    let journal = Journal::open(&directory, "d1", config.host.commits).unwrap();
    Arc::new(Jobs::new(Arc::new(journal), Arc::new(MachineClock), None))
}

fn serve_with(config: &Config, jobs: Arc<Jobs>) -> tokio::task::JoinSet<()> {
    let loader = plugins::Loader::new(config).unwrap();
    let changes = Changes::new(());
    let loaded = plugins::load_all(&loader, config).unwrap().remove("p").unwrap();
    let slot = Arc::new(Slot::new("p", loaded, config.plugins["p"].patience, changes.clone()));
    let table = Table::new(&config.plugins, [("p".to_owned(), slot)].into());
    let router = Arc::new(Router::new(table, lent(), None));
    let (swap, operator) = Swap::new(
        loader,
        Arc::clone(&router),
        changes,
        config.clone().into(),
        Arc::default(),
        None,
        Supervisor::new(None).pulse("swap"),
    );
    let control = open(config).unwrap().unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(swap.run(crate::swap::Watch::new()));
    let status = Arc::new(|| HostStatus { device: "d1".to_owned(), ..HostStatus::default() });
    let (metrics, log) = (Arc::new(|| "# EOF\n".to_owned()), Arc::default());
    tasks.spawn(control.run(ControlHandles { router, operator, status, metrics, jobs, log }));
    tasks
}

async fn request(config: &Config, request: ControlRequest) -> Result<ControlAnswer, AskError> {
    let file = config.file.clone().unwrap();
    tokio::task::spawn_blocking(move || ask(&file, &request)).await.unwrap()
}

async fn state(config: &Config) -> String {
    let ControlAnswer::Plugins { plugins, .. } =
        request(config, ControlRequest::List {}).await.unwrap()
    else {
        panic!("a list")
    };
    assert_eq!((plugins.len(), plugins[0].name.as_str()), (1, "p"));
    plugins[0].state.clone()
}

#[tokio::test]
async fn an_operator_can_list_disable_and_enable_plugins() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path());
    let _host = serve(&config);
    let plugin = || "p".to_owned();

    let file = config.file.as_ref().unwrap();
    let wrong = std::fs::read_to_string(file).unwrap() + "mistake = 1\n";
    std::fs::write(file, wrong).unwrap();
    assert_eq!(state(&config).await, "active");
    let done = request(&config, ControlRequest::Disable { plugin: plugin() }).await.unwrap();
    assert_eq!(done, ControlAnswer::Done("disabled until it is enabled".to_owned()));
    assert_eq!(state(&config).await, "off");
    request(&config, ControlRequest::Enable { plugin: plugin() }).await.unwrap();
    assert_eq!(state(&config).await, "active");

    let none = request(&config, ControlRequest::Rollback { plugin: plugin() }).await.unwrap();
    assert_eq!(none, ControlAnswer::Error("there is no previous version".to_owned()));
    let unknown =
        request(&config, ControlRequest::Reload { plugin: "q".to_owned() }).await.unwrap();
    assert_eq!(unknown, ControlAnswer::UnknownPlugin("q".to_owned()));
}

#[tokio::test]
async fn an_operator_can_list_and_cancel_jobs_and_read_the_status() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path());
    let jobs = jobs(&config);
    let _host = serve_with(&config, Arc::clone(&jobs));
    let when = JobWhen::AfterDelay(Duration::from_secs(3600));
    let job = NewJob { name: "report".to_owned(), payload: "1".to_owned(), when };
    let id = jobs.add("p", "call-1", job, 3).await.unwrap();

    let ControlAnswer::Jobs(listed) = request(&config, ControlRequest::Jobs {}).await.unwrap()
    else {
        panic!("jobs")
    };
    let found = (listed[0].id.as_str(), listed[0].plugin.as_str(), listed[0].state.as_str());
    assert_eq!((listed.len(), found), (1, (id.as_str(), "p", "waiting-for-time")));
    assert!(listed[0].due.is_some());

    let cancel = || request(&config, ControlRequest::CancelJob { job: id.clone() });
    assert_eq!(cancel().await.unwrap(), ControlAnswer::Done("cancelled".to_owned()));
    assert_eq!(jobs.list(), []);
    assert_eq!(cancel().await.unwrap(), ControlAnswer::UnknownJob(id.clone()));

    let ControlAnswer::Status(status) = request(&config, ControlRequest::Status {}).await.unwrap()
    else {
        panic!("a status")
    };
    assert_eq!((status.device.as_str(), &status.plugins["active"]), ("d1", &1));
}

#[tokio::test]
async fn only_the_owner_can_access_the_socket() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path());
    let _host = serve(&config);
    let mode = |path: &str| {
        let metadata = std::fs::metadata(directory.path().join(path)).unwrap();
        metadata.permissions().mode() & 0o777
    };
    assert_eq!((mode("control"), mode("control/host.sock")), (0o700, 0o600));
}

#[tokio::test]
async fn a_second_host_is_refused_and_a_socket_without_a_host_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path());
    let first = open(&config).unwrap();
    let error = open(&config).err().unwrap();
    assert!(error.to_string().starts_with("another host is listening on"), "{error}");
    drop(first);

    let socket = directory.path().join("control/host.sock");
    std::fs::DirBuilder::new().mode(0o700).create(socket.parent().unwrap()).unwrap();
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert!(matches!(
        request(&config, ControlRequest::List {}).await,
        Err(AskError::NoHost { .. })
    ));
    let _host = serve(&config);
    assert_eq!(state(&config).await, "active");
}

#[tokio::test]
async fn a_client_refuses_a_socket_that_other_users_could_have_created() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path());
    let _host = serve(&config);
    let control = directory.path().join("control");
    std::fs::set_permissions(&control, Permissions::from_mode(0o755)).unwrap();
    let error = request(&config, ControlRequest::List {}).await.unwrap_err();
    let socket = control.join("host.sock");
    let expected = format!(
        "socket {} is not trusted: its directory is open to others (mode 755)",
        socket.display()
    );
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn the_error_of_a_client_names_the_paths_that_were_tried() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path());
    let error = request(&config, ControlRequest::List {}).await.unwrap_err().to_string();
    let start = "no host is running with this configuration; looked for ";
    assert!(error.starts_with(start), "{error}");
    let socket = directory.path().join("control/host.sock");
    assert!(error.contains(socket.to_str().unwrap()), "{error}");
    assert!(error.contains("XDG_RUNTIME_DIR"), "{error}");
}

#[test]
fn a_host_that_exits_normally_removes_its_files() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("own/host.sock");
    let entries = |of: &Path| std::fs::read_dir(of).unwrap().count();

    for configured in [false, true] {
        let socket_path = SocketPath::take(&path, configured).unwrap();
        drop(socket_path.bind().unwrap());
        assert_eq!(entries(path.parent().unwrap()), 2);
        drop(socket_path);
        assert_eq!(entries(directory.path()), 0);
    }

    std::fs::DirBuilder::new().mode(0o700).create(path.parent().unwrap()).unwrap();
    drop(SocketPath::take(&path, true).unwrap());
    assert_eq!((entries(directory.path()), entries(path.parent().unwrap())), (1, 0));
    // The next host removes the files of a killed host.
    drop(SocketPath::take(&path, false).unwrap());
    assert_eq!(entries(directory.path()), 0);
}

/// Covers a process that opened the lock file of an exiting host, and must not own the path.
#[test]
fn concurrent_hosts_never_own_the_same_path() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("own/host.sock");
    let owners = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                let mut takes = 0;
                while takes < 50 {
                    match SocketPath::take(&path, false) {
                        Ok(socket_path) => {
                            assert_eq!(owners.fetch_add(1, Ordering::SeqCst), 0);
                            drop(socket_path.bind().unwrap());
                            assert_eq!(owners.fetch_sub(1, Ordering::SeqCst), 1);
                            drop(socket_path);
                            takes += 1;
                        }
                        Err(ControlError::Taken { .. }) => std::thread::yield_now(),
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_directory_that_others_can_enter_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path());
    let control = directory.path().join("control");
    std::fs::create_dir(&control).unwrap();
    std::fs::set_permissions(&control, Permissions::from_mode(0o755)).unwrap();
    let error = open(&config).err().unwrap();
    assert!(error.to_string().ends_with("its directory is open to others (mode 755)"), "{error}");
}

#[tokio::test]
async fn an_invalid_or_too_long_request_gets_an_error() {
    use tokio::io::AsyncReadExt as _;
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path());
    let _host = serve(&config);
    let long = format!("{}\n", "x".repeat(2 * 4096));
    for line in ["{\"do\":\"dance\"}\n", "{\"do\":\"list\",\"a\":1}\n", "nonsense\n", &long] {
        let socket = config.host.control_socket.as_ref().unwrap();
        let mut stream = UnixStream::connect(socket).await.unwrap();
        stream.write_all(line.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // The kernel may report a reset if the host has not read the whole request, but only
        // after the answer.
        stream.read_to_end(&mut answer).await.ok();
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("{\"error\":\"not a request: "), "{line}: {answer}");
    }
}

#[test]
fn an_answer_is_read_back_unchanged() {
    let text =
        r#"{"plugins":[],"compiling":[],"configuration_refused":"reason","restart_needed":true}"#;
    let answer: ControlAnswer = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&answer).unwrap(), text);
    let text = r#"{"done":"so"}"#;
    let answer: ControlAnswer = serde_json::from_str(text).unwrap();
    assert_eq!(answer, ControlAnswer::Done("so".to_owned()));
}
