//! Refused files, and the same files once they are corrected.

use super::*;

fn pinned(digest: &str) -> String {
    section("p", &format!("sha256 = \"{digest}\""))
}

#[tokio::test]
async fn a_file_with_another_digest_than_the_configured_one_is_refused() {
    let (one, two) = (digest("version-one.wat"), digest("version-two.wat"));
    let rig = Rig::configured(&[("p", "version-one.wat")], &pinned(&one.to_uppercase()));
    assert_eq!(rig.call("p").await, says("one"));

    rig.replace("p", "version-two.wat");
    rig.until(|rig| rig.view("p").last_error.is_some()).await;
    let path = file(&rig.directory, "p");
    let reason =
        format!("the SHA-256 digest of {} is {two}, not {one} as in `sha256`", path.display());
    assert_eq!(rig.view("p").last_error, Some(reason));
    assert_eq!(rig.call("p").await, says("one"));

    rig.configure(&pinned(&two));
    rig.until_version("p", 2).await;
    assert_eq!((rig.call("p").await, rig.view("p").last_error), (says("two"), None));
}

#[tokio::test]
async fn a_digest_that_the_file_does_not_have_is_refused_with_the_configuration() {
    let rig = Rig::new(&[("p", "version-one.wat")]);
    let two = digest("version-two.wat");
    rig.configure(&pinned(&two));
    rig.until(|rig| rig.operator.configuration().refused.is_some()).await;
    let refused = rig.operator.configuration().refused.unwrap();
    assert!(refused.starts_with("plugin `p`: the SHA-256 digest of "), "{refused}");

    // The file that the configuration waits for.
    rig.replace("p", "version-two.wat");
    rig.until_version("p", 2).await;
    rig.until(|rig| rig.operator.configuration().refused.is_none()).await;
    assert_eq!(rig.call("p").await, says("two"));
}

#[tokio::test]
async fn a_refused_configuration_counts_as_refused_until_it_is_corrected() {
    let rig = Rig::new(&[("p", "version-one.wat")]);
    rig.configure("[plugins.p");
    rig.until(|rig| rig.operator.configuration().refused.is_some()).await;

    rig.configure(&section("p", ""));
    rig.until(|rig| rig.operator.configuration().refused.is_none()).await;
    assert_eq!((rig.call("p").await, rig.view("p").active.unwrap().number), (says("one"), 1));
}
