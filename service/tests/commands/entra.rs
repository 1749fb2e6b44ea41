//! Sign-in by Microsoft Entra ID at the hub's own directory.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::{Rig, check};

/// Runs the program with `--auth` and the variables of the directory, and with `changes` in
/// place of them. An empty value removes a variable.
fn run(rig: &Rig, auth: &str, changes: &[(&str, &str)], arguments: &[&str]) -> Output {
    let directory = rig.hub.directory();
    let host = rig.identity.host.to_string();
    let authority = format!("https://{host}");
    let own = [
        ("IOTHUB_HOST", host.as_str()),
        ("PROVISIONING_SERVICE_HOST", &host),
        ("AZURE_AUTHORITY_HOST", &authority),
        ("AZURE_TENANT_ID", directory.tenant_id()),
        ("AZURE_CLIENT_ID", directory.client_id()),
        ("AZURE_CLIENT_SECRET", directory.client_secret()),
    ];
    let mut program = Command::new(env!("CARGO_BIN_EXE_behaviour-service"));
    program.args(["--auth", auth, "--retries", "0"]).args(arguments);
    program.env_remove("IOTHUB_CONNECTION_STRING").env_remove("IOTHUB_CONNECTION_STRING_FILE");
    program.env_remove("AZURE_FEDERATED_TOKEN_FILE");
    program.env("IOTHUB_CA_FILE", rig.folder.path().join("ca.pem"));
    for (name, value) in own.iter().chain(changes) {
        match value.is_empty() {
            true => program.env_remove(name),
            false => program.env(name, value),
        };
    }
    program.output().unwrap()
}

fn text(output: Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secret_of_an_application_opens_the_hub_and_the_provisioning_service() {
    let rig = Rig::start().await;
    let with_secret = |arguments: &[&str]| text(run(&rig, "environment", &[], arguments));
    with_secret(&["devices", "create", "door-1"]);
    assert!(with_secret(&["devices", "list"]).starts_with("door-1 "));
    let query = ["query", "SELECT deviceId FROM devices", "--page-size", "1"];
    assert_eq!(with_secret(&query), "{\"deviceId\":\"door-1\"}\n");
    with_secret(&["enrollments", "create", "sn-1"]);
    assert!(with_secret(&["enrollments", "list"]).starts_with("sn-1 "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_federated_token_takes_the_place_of_the_secret() {
    let rig = Rig::start().await;
    let file = rig.folder.path().join("token");
    fs::write(&file, rig.hub.directory().federated_token()).unwrap();
    let path = file.to_str().unwrap();
    let changes = [("AZURE_FEDERATED_TOKEN_FILE", path), ("AZURE_CLIENT_SECRET", "")];
    let list = ["devices", "list"];
    assert_eq!(text(run(&rig, "workload-identity", &changes, &list)), "");
    fs::write(&file, "no token").unwrap();
    check(
        &run(&rig, "workload-identity", &changes, &list),
        6,
        "error: sign-in by Microsoft Entra ID: AADSTS700027: Client assertion failed signature \
         validation.\n\
         hint: set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_FEDERATED_TOKEN_FILE; in \
         Kubernetes, the webhook of workload identity does so\n",
    );
    fs::remove_file(&file).unwrap();
    let missing = run(&rig, "workload-identity", &changes, &list);
    let error = String::from_utf8(missing.stderr).unwrap();
    assert!(error.contains(path) && error.lines().count() == 2, "{error}");
}

/// Requests an access token as the Azure CLI does.
async fn access_token(rig: &Rig) -> String {
    let mut trust = trust::Trust::empty();
    trust.add_pem(rig.hub.ca_pem()).unwrap();
    let tls = trust.into_client_config().unwrap();
    let client = reqwest::Client::builder().tls_backend_preconfigured(tls).build().unwrap();
    let directory = rig.hub.directory();
    let host = &rig.identity.host;
    let url = format!("https://{host}/{}/oauth2/v2.0/token", directory.tenant_id());
    let secret = directory.client_secret().replace('+', "%2B");
    let form = format!(
        "grant_type=client_credentials&client_id={}&client_secret={secret}\
         &scope=https%3A%2F%2Fiothubs.azure.net%2F.default",
        directory.client_id(),
    );
    let response = client.post(url).body(form).send().await.unwrap();
    let body: Value = response.json().await.unwrap();
    body["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_account_of_the_azure_cli_is_asked_once_for_all_pages() {
    let rig = Rig::start().await;
    for id in ["a", "b", "c"] {
        rig.text(&["devices", "create", id]);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let answer = json!({
        "accessToken": access_token(&rig).await, "expires_on": now + 3600, "tokenType": "Bearer",
    });
    let (folder, az) = (rig.folder.path(), rig.folder.path().join("az"));
    let calls = folder.join("calls");
    let script = format!("#!/bin/sh\necho \"$@\" >> {}\necho '{answer}'\n", calls.display());
    fs::write(&az, script).unwrap();
    fs::set_permissions(&az, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", folder.display());
    let changes = [("PATH", path.as_str())];
    let query = ["query", "SELECT deviceId FROM devices", "--page-size", "1"];
    assert_eq!(text(run(&rig, "azure-cli", &changes, &query)).lines().count(), 3);
    let calls = fs::read_to_string(calls).unwrap();
    assert_eq!(
        calls,
        "account get-access-token -o json --scope https://iothubs.azure.net/.default\n"
    );

    fs::write(&az, "#!/bin/sh\necho 'Please run az login to setup account.' >&2\nexit 1\n")
        .unwrap();
    check(
        &run(&rig, "azure-cli", &changes, &query),
        6,
        "error: sign-in by Microsoft Entra ID: Please run az login to setup account.\n\
         hint: install the Azure CLI, and run `az login`\n",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_sign_in_is_one_line_with_a_way_out() {
    let rig = Rig::start().await;
    let variables = "hint: set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET to those \
                     of an application\n";
    let network = "hint: check the network, and AZURE_AUTHORITY_HOST if it is set\n";
    for (changes, code, message, hint) in [
        (
            ("AZURE_CLIENT_SECRET", "Wrong-1"),
            6,
            "AADSTS7000215: Invalid client secret provided.",
            variables,
        ),
        (("AZURE_CLIENT_SECRET", ""), 6, "AZURE_CLIENT_SECRET is not set", variables),
        (
            ("AZURE_CLIENT_ID", "other"),
            6,
            "AADSTS700016: Application with identifier 'other' was not found in the directory.",
            variables,
        ),
        (
            ("AZURE_TENANT_ID", "other"),
            6,
            "AADSTS90002: Tenant 'other' not found. Check to make sure you have the correct tenant \
             ID.",
            variables,
        ),
        (
            ("AZURE_AUTHORITY_HOST", "http://localhost"),
            6,
            "authority host doesn't use HTTPS scheme: http://localhost",
            variables,
        ),
        // Nothing listens on this port.
        (
            ("AZURE_AUTHORITY_HOST", "https://localhost:1"),
            8,
            "localhost:PORT: Connection refused (os error 111)",
            network,
        ),
    ] {
        let done = run(&rig, "environment", &[changes], &["devices", "list"]);
        let expected = format!("error: sign-in by Microsoft Entra ID: {message}\n{hint}");
        check(&done, code, &expected);
        assert!(!String::from_utf8_lossy(&done.stderr).contains("Wrong-1"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_needs_a_key_or_a_host_says_so() {
    let rig = Rig::start().await;
    check(
        &run(&rig, "environment", &[("IOTHUB_HOST", "")], &["devices", "list"]),
        1,
        "error: host name of the hub is missing, which --auth needs\n\
         hint: set IOTHUB_HOST, or --host, to a name such as my-hub.azure-devices.net\n",
    );
    check(
        &run(&rig, "environment", &[("PROVISIONING_SERVICE_HOST", "")], &["groups", "list"]),
        1,
        "error: host name of the Device Provisioning Service is missing, which --auth needs\n\
         hint: set PROVISIONING_SERVICE_HOST, or --provisioning-host, to a name such as \
         my-service.azure-devices-provisioning.net\n",
    );
    check(
        &run(&rig, "environment", &[], &["sas"]),
        2,
        "error: only the key of a policy signs SAS tokens\n\
         hint: use --auth key; Microsoft Entra ID issues access tokens, such as those of `az \
         account get-access-token`\n",
    );
}
