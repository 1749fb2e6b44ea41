//! Debian's `docker-registry` as an ordinary process. The package is unpacked below `target/`,
//! so nothing is installed.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use behaviour_oci::Reference;
use behaviour_oci::credentials::Store;
use behaviour_oci::registry::{Client, ClientSettings};

use crate::packages::unpacked;
use tempfile::TempDir;

/// Time limit of the start.
const START: Duration = Duration::from_secs(30);

/// The password `pw` of the user `user`, as `htpasswd -B` writes it.
const HTPASSWD: &str = "user:$2b$04$xtD1DBKtN1/ivyf7XOVDJ.pVN2h8GzW3gR5hz/OWI0ijeCFb7.OlC\n";

/// A registry on a free port, until it is dropped.
pub(crate) struct DebianRegistry {
    pub(crate) folder: TempDir,
    /// Host and port.
    pub(crate) name: String,
    process: Child,
}

impl Drop for DebianRegistry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl DebianRegistry {
    /// Starts a registry with TLS that demands a password. Returns `None` without the package,
    /// unless `CI` is set.
    pub(crate) fn with_tls() -> Option<DebianRegistry> {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (ca, server) =
            (rcgen::KeyPair::generate().unwrap(), rcgen::KeyPair::generate().unwrap());
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = rcgen::CertifiedIssuer::self_signed(parameters, ca).unwrap();
        let parameters = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = parameters.signed_by(&server, &authority).unwrap();
        fs::write(path("ca.pem"), authority.pem()).unwrap();
        fs::write(path("srv.pem"), certificate.pem()).unwrap();
        fs::write(path("srv.key"), server.serialize_pem()).unwrap();
        fs::write(path("htpasswd"), HTPASSWD).unwrap();
        let more = format!(
            ", tls: {{certificate: {}, key: {}}}}}\nauth: {{htpasswd: {{realm: test, path: {}}}}}\n",
            path("srv.pem"),
            path("srv.key"),
            path("htpasswd")
        );
        DebianRegistry::start(folder, &more)
    }

    /// Starts a registry without TLS and without a password.
    pub(crate) fn plain() -> Option<DebianRegistry> {
        DebianRegistry::start(tempfile::tempdir().unwrap(), "}\n")
    }

    fn start(folder: TempDir, more: &str) -> Option<DebianRegistry> {
        let program = program()?;
        let data = folder.path().join("data");
        let config = format!(
            "version: 0.1\nlog: {{level: info, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n\
             http: {{addr: \"127.0.0.1:0\", secret: x{more}",
            data.display()
        );
        let file = folder.path().join("config.yml");
        fs::write(&file, config).unwrap();
        let mut process = Command::new(program)
            .arg("serve")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, port) = sync_channel(1);
        let stderr = process.stderr.take().unwrap();
        // Reads to the end, since a full pipe would stop the registry.
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Some((_, rest)) = line.split_once("listening on 127.0.0.1:") {
                    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
                    let _ = sender.try_send(rest[..digits].to_owned());
                }
            }
        });
        let port = port.recv_timeout(START).expect("the registry starts");
        Some(DebianRegistry { folder, name: format!("localhost:{port}"), process })
    }

    pub(crate) fn image(&self, rest: &str) -> Reference {
        format!("{}/plugins/reboot{rest}", self.name).parse().unwrap()
    }

    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Returns settings with the authority and the password of [`DebianRegistry::with_tls`].
    pub(crate) fn settings(&self) -> ClientSettings {
        let file = self.folder.path().join("config.json");
        let auth = r#"{"username":"user","password":"pw"}"#;
        fs::write(&file, format!("{{\"auths\":{{\"{}\":{auth}}}}}", self.name)).unwrap();
        ClientSettings {
            ca_file: Some(self.ca_file()),
            credentials: Some(Store::of_file(&file)),
            retries: 1,
            ..ClientSettings::default()
        }
    }

    pub(crate) fn plain_client(&self) -> Client {
        let plain_http = vec![self.name.clone()];
        Client::new(ClientSettings { plain_http, ..ClientSettings::default() }).unwrap()
    }
}

#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn program() -> Option<&'static Path> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let installed = PathBuf::from("/usr/bin/docker-registry");
        if installed.exists() {
            return Some(installed);
        }
        let program = "usr/bin/docker-registry";
        Some(unpacked("docker-registry", &["docker-registry"], program)?.join(program))
    });
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "neither docker-registry nor apt-get found");
        println!("skipped: neither docker-registry nor apt-get found");
    }
    found.as_deref()
}
