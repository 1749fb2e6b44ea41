//! Tests of Docker's file of credentials and of its helpers.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

const FILE: &str = r#"{
    "auths": {
        "reg.example:5000": {"auth": "dXNlcjpwOnc="},
        "https://index.docker.io/v1/": {"identitytoken": "secret-token"},
        "plain.example": {"username": "me", "password": "pw"},
        "https://token.example/v2/": {"auth": "PHRva2VuPjphYmM="},
        "empty.example": {}
    },
    "credHelpers": {"helper.example": "pass"},
    "HttpHeaders": {"User-Agent": "Docker-Client/27"}
}"#;

fn find(registry: &str) -> Lookup {
    DockerConfig::parse(FILE.as_bytes()).unwrap().find(registry).unwrap()
}

fn password(user: &str, password: &str) -> Lookup {
    let (user, password) = (user.to_owned(), password.to_owned());
    Lookup::Found(Credential::Password { user, password })
}

#[test]
fn credentials_are_found_by_host_and_port() {
    assert_eq!(find("reg.example:5000"), password("user", "p:w"));
    assert_eq!(find("reg.example"), Lookup::Nothing);
    assert_eq!(find("plain.example"), password("me", "pw"));
    let token = |token: &str| Lookup::Found(Credential::IdentityToken(token.to_owned()));
    for hub in ["docker.io", "registry-1.docker.io", "index.docker.io"] {
        assert_eq!(find(hub), token("secret-token"));
    }
    assert_eq!(find("token.example"), token("abc"));
    assert_eq!(find("empty.example"), Lookup::Nothing);
    assert_eq!(find("helper.example"), Lookup::Helper("pass".to_owned()));
}

#[test]
fn the_general_helper_comes_last() {
    let file = br#"{"auths":{"a.b":{"username":"u","password":"p"}},"credsStore":"safe"}"#;
    let config = DockerConfig::parse(file).unwrap();
    assert_eq!(config.find("a.b"), Ok(password("u", "p")));
    assert_eq!(config.find("c.d"), Ok(Lookup::Helper("safe".to_owned())));
}

#[test]
fn a_malformed_file_is_refused_without_quoting_it() {
    for text in ["", "[]", "{\"auths\":1}", "{\"auths\":{\"a.b\":{\"auth\":12345}}}"] {
        let error = DockerConfig::parse(text.as_bytes()).err().unwrap();
        assert_eq!(error, "is not JSON in the form of Docker's config.json");
    }
    for auth in ["?", "dXNlcg==", "//8="] {
        let file = format!("{{\"auths\":{{\"a.b\":{{\"auth\":\"{auth}\"}}}}}}");
        let error = DockerConfig::parse(file.as_bytes()).unwrap().find("a.b").unwrap_err();
        assert_eq!(error, "has a malformed `auth` for `a.b`");
    }
}

#[test]
fn the_debug_form_of_a_credential_has_no_secret() {
    let texts = [
        format!("{:?}", find("reg.example:5000")),
        format!("{:?}", find("docker.io")),
        format!("{:?}", Credential::IdentityToken("secret-token".to_owned())),
    ];
    for text in texts {
        assert!(!text.contains("p:w") && !text.contains("secret"), "{text}");
    }
}

#[tokio::test]
async fn a_store_reads_the_file_for_each_use() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.json");
    let store = Store::of_file(&file);
    assert!(matches!(store.find("a.b").await, Err(CredentialError::File { .. })));
    fs::write(&file, "{}").unwrap();
    assert_eq!(store.find("a.b").await.unwrap(), None);
    fs::write(&file, FILE).unwrap();
    assert!(store.find("plain.example").await.unwrap().is_some());
    assert_eq!(store.find("helper.example").await.unwrap(), None);
}

#[tokio::test]
async fn the_users_files_are_those_of_docker_and_podman() {
    let folder = tempfile::tempdir().unwrap();
    let docker = folder.path().join("docker");
    let podman = folder.path().join("run/containers");
    fs::create_dir_all(&docker).unwrap();
    fs::create_dir_all(&podman).unwrap();
    fs::write(podman.join("auth.json"), FILE).unwrap();
    let path = folder.path().to_owned();
    let store = Store::of_user(move |name| match name {
        "DOCKER_CONFIG" => Some(path.join("docker")),
        "XDG_RUNTIME_DIR" => Some(path.join("run")),
        _ => None,
    });
    assert!(store.find("plain.example").await.unwrap().is_some());
    fs::write(docker.join("config.json"), "{\"auths\":1}").unwrap();
    assert!(matches!(store.find("a.b").await, Err(CredentialError::Malformed { .. })));
}

#[tokio::test]
async fn a_helper_with_a_path_in_its_name_is_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("docker-credential-x");
    fs::write(&program, "#!/bin/sh\necho '{\"Username\":\"u\",\"Secret\":\"s\"}'\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["", "../x", "/x", "x y"] {
        let error = credential_helper::get(name, "a.b").await.unwrap_err().to_string();
        assert!(error.ends_with("has a malformed name"), "{error}");
    }
    let error = credential_helper::get("no-such-helper", "a.b").await.unwrap_err().to_string();
    assert!(error.contains("cannot be run"), "{error}");
}
