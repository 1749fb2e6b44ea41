//! The contract between a host and a plugin, as this tool was built with it.

use std::io;
use std::path::Path;

/// The files of the package `device:behaviour`, by their names.
pub(crate) const FILES: &[(&str, &str)] = &[
    ("clock.wit", include_str!("../../wit/clock.wit")),
    ("config.wit", include_str!("../../wit/config.wit")),
    ("context.wit", include_str!("../../wit/context.wit")),
    ("deferred.wit", include_str!("../../wit/deferred.wit")),
    ("desired.wit", include_str!("../../wit/desired.wit")),
    ("jobs.wit", include_str!("../../wit/jobs.wit")),
    ("lifecycle.wit", include_str!("../../wit/lifecycle.wit")),
    ("log.wit", include_str!("../../wit/log.wit")),
    ("methods.wit", include_str!("../../wit/methods.wit")),
    ("power.wit", include_str!("../../wit/power.wit")),
    ("state.wit", include_str!("../../wit/state.wit")),
    ("telemetry.wit", include_str!("../../wit/telemetry.wit")),
    ("twin.wit", include_str!("../../wit/twin.wit")),
    ("types.wit", include_str!("../../wit/types.wit")),
    ("world.wit", include_str!("../../wit/world.wit")),
];

/// Writes them into a folder, which is made if it is not there.
pub(crate) fn write(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for (name, text) in FILES {
        std::fs::write(folder.join(name), text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_file_of_the_contract_is_missing() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
        let there: BTreeSet<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let here: BTreeSet<_> = FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(here, there);
    }
}
