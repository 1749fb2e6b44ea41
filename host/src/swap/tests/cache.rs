//! The compile cache over many versions.

use super::*;

/// Returns a version of its own for each number.
fn version(number: u8) -> Vec<u8> {
    let mut bytes = fixtures::guest("version-one.wat");
    let at = bytes.windows(4).position(|bytes| bytes == b"\x03one").unwrap();
    bytes[at + 1] = b'a' + number;
    bytes
}

fn compiled(rig: &Rig) -> usize {
    let files = fs::read_dir(rig.directory.path().join("cache")).unwrap();
    let files = files.filter_map(|file| file.unwrap().file_name().into_string().ok());
    files.filter(|name| name.ends_with(".compiled")).count()
}

#[tokio::test]
async fn versions_that_left_leave_the_compile_cache_but_for_one_of_each_plugin() {
    let cache = "[host]\ncompile_cache = \"cache\"\n";
    let toml = [cache, &section("p", ""), &section("q", "")].concat();
    let rig = Rig::configured(&[("p", "version-one.wat"), ("q", "version-two.wat")], &toml);
    for number in 2..12 {
        rig.write("p", version(number));
        rig.until_version("p", number.into()).await;
        assert_eq!(rig.call("p").await.0, 200);
    }
    // The running version of each plugin, the one of `p` to roll back to and perhaps one
    // that is about to end, and two others.
    while compiled(&rig) > 6 {
        tokio::task::yield_now().await;
    }
    assert!(compiled(&rig) >= 4);
    assert_eq!(rig.call("q").await, says("two"));
}
