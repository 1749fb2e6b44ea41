//! No secret of a device in any output: the log, the commands, the argument list, and the files
//! of the data directory that are not keys.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use hub::Hub;
use protocol::provisioning::enrollment::{Attestation, Enrollment};
use protocol::sas::Key;

use crate::rig::{Running, hub, program};
use crate::tokens::softhsm::{PIN, Token};
use crate::tokens::{pair, register};

const GROUP_KEY: &str = "YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODk=";
const X509: &str = "HostName=localhost;DeviceId=device-1;x509=true";

/// Files of the data directory that contain keys, which only the user of the host can read.
const KEY_FILES: [&str; 2] = ["device-certificate.pem", "device-certificate-previous.pem"];

/// A way in which a device signs in.
struct Way {
    name: &'static str,
    settings: String,
    variables: Vec<(&'static str, String)>,
    /// Texts that no output may contain.
    secrets: Vec<String>,
}

/// Returns the lines of a key in PEM that are part of no other text.
fn lines_of(pem: &str) -> impl Iterator<Item = String> {
    pem.lines().filter(|line| line.len() > 16 && !line.starts_with('-')).map(str::to_owned)
}

/// Returns the settings of a registration with a group key, and `more` lines.
fn provisioned(hub: &Hub, id: &str, more: &str) -> String {
    format!(
        "[provisioning]\nendpoint = \"localhost:{}\"\nid_scope = \"{}\"\n\
         registration_id = \"{id}\"\n{more}",
        hub.mqtt_port(),
        hub.provisioning().id_scope(),
    )
}

/// Returns the ways without a token. Certificates are in `folder`.
fn ways(hub: &Hub, folder: &Path, own: &(String, String)) -> Vec<Way> {
    let keys = Attestation::symmetric_key(Some(GROUP_KEY.to_owned()), None);
    let group = Enrollment {
        enrollment_group_id: Some("fleet".to_owned()),
        attestation: keys,
        credential_policy_name: Some("default".to_owned()),
        ..Enrollment::default()
    };
    hub.provisioning().create_group(group).unwrap();
    let identity = hub.create_device(&"d1".parse().unwrap()).unwrap().to_text_with_key();
    let (_, key) = identity.split_once("SharedAccessKey=").unwrap();
    let group_key: Key = GROUP_KEY.parse().unwrap();
    let derived = |id: &str| group_key.derive(&id.parse().unwrap()).to_base64();
    let (certificate, key_file) = (folder.join("device.pem"), folder.join("device-key.pem"));
    private(&certificate, &own.0);
    private(&key_file, &own.1);
    let registration = |id: &'static str, more: &str| Way {
        name: id,
        settings: provisioned(hub, id, more),
        variables: vec![("IOTHUB_PROVISIONING_GROUP_KEY", GROUP_KEY.to_owned())],
        secrets: vec![GROUP_KEY.to_owned(), derived(id)],
    };
    vec![
        Way {
            name: "connection string",
            settings: String::new(),
            variables: vec![("IOTHUB_DEVICE_CONNECTION_STRING", identity.clone())],
            secrets: vec![key.to_owned()],
        },
        Way {
            name: "certificate",
            settings: format!(
                "[hub.identity]\ncertificate_file = {certificate:?}\nkey_file = {key_file:?}\n"
            ),
            variables: vec![("IOTHUB_DEVICE_CONNECTION_STRING", X509.to_owned())],
            secrets: lines_of(&own.1).collect(),
        },
        registration("pump-7", ""),
        registration("pump-8", "[provisioning.issued_certificate]\n"),
    ]
}

/// Writes a file that others cannot read.
fn private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Returns everything that a device shows, by its place, after it has connected.
fn shown(way: &mut Way, toml: &str) -> BTreeMap<String, Vec<u8>> {
    let environment = |program: &mut Command| {
        program.env_remove("IOTHUB_DEVICE_CONNECTION_STRING");
        program.envs(way.variables.iter().map(|(name, value)| (name, value)));
    };
    let settings = way.settings.clone() + toml;
    let mut shown = BTreeMap::new();
    for (place, json) in [("log as JSON", true), ("log", false)] {
        let mut host = Running::start_with(&settings, "", |program| {
            environment(program);
            program.env("BEHAVIOUR_LOG", "trace");
            if json {
                program.arg("--json-logs");
            }
        });
        let lines = host.lines_until("connected");
        shown.insert(place.to_owned(), lines.join("\n").into_bytes());
        let arguments = format!("/proc/{}/cmdline", host.child.id());
        shown.insert("arguments".to_owned(), fs::read(arguments).unwrap());
        let folder = host.directory.path();
        for arguments in [
            "check",
            "check --json",
            "status",
            "status --json",
            "identity show",
            "identity show --json",
            "identity provision --json --log trace",
            "identity renew --json --log trace",
            "logs p",
        ] {
            let words: Vec<&str> = arguments.split(' ').collect();
            let mut command = program(folder, &words, None);
            environment(&mut command);
            // Some ways have no registration, and the error must not show a secret either.
            let output = command.output().unwrap();
            shown.insert(arguments.to_owned(), [output.stdout, output.stderr].concat());
        }
        add_files(&folder.join("data"), &mut shown, &mut way.secrets);
    }
    shown
}

/// Adds the files below a directory. Those with keys add to the secrets.
fn add_files(folder: &Path, shown: &mut BTreeMap<String, Vec<u8>>, secrets: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            add_files(&path, shown, secrets);
        } else if KEY_FILES.contains(&name) {
            let text = fs::read_to_string(&path).unwrap();
            let key = text.split_once("-----BEGIN PRIVATE KEY-----");
            secrets.extend(key.into_iter().flat_map(|(_, key)| lines_of(key)));
        } else {
            shown.insert(format!("file {name}"), fs::read(&path).unwrap());
        }
    }
}

fn contains(text: &[u8], secret: &str) -> bool {
    text.windows(secret.len()).any(|part| part == secret.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_output_and_no_other_file_has_a_secret_of_any_way_to_sign_in() {
    let (hub, _folder, toml) = hub().await;
    let own = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
    register(&hub, &own.0).await;
    let files = tempfile::tempdir().unwrap();
    let mut ways = ways(&hub, files.path(), &own);
    let token = Token::new();
    if let Some(token) = &token {
        token.import("key", &own.1);
        ways.push(Way {
            name: "token",
            settings: token.settings("key", &own.0),
            variables: vec![
                ("IOTHUB_DEVICE_CONNECTION_STRING", X509.to_owned()),
                ("SOFTHSM2_CONF", token.configuration().display().to_string()),
            ],
            secrets: lines_of(&own.1).chain([PIN.to_owned()]).collect(),
        });
    }
    for mut way in ways {
        let shown = shown(&mut way, &toml);
        assert!(!way.secrets.is_empty() && shown.len() > 11, "{}", way.name);
        for (place, text) in &shown {
            // A token is as good as its key until it expires.
            for secret in way.secrets.iter().map(String::as_str).chain(["&sig="]) {
                assert!(!contains(text, secret), "{}: {place} has the secret {secret}", way.name);
            }
        }
    }
}
