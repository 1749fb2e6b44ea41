//! The project's world without the imports that the plugin does not use.
//!
//! Some tools import the complete world that they are given. `behaviour check` lists the
//! imports of a component, so they must be those that the plugin uses.

use std::path::PathBuf;

use wit_parser::{WorldItem, WorldKey};

use super::glue::{invalid_wit, parse_world};
use super::{BuildContext, BuildError, files};

/// The name of the reduced world and of its file.
const NAME: &str = "behaviour-used";

/// Writes the reduced world into a copy of the project's WIT, and returns the folder and the
/// name of the world. `is_used` receives the name of each imported interface of the world's own
/// package. Imports from other packages are kept.
///
/// Returns the project's own folder and world if the world contains functions, types or inline
/// interfaces.
pub(super) fn write(
    context: &BuildContext<'_>,
    is_used: impl Fn(&str) -> bool,
) -> Result<(PathBuf, String), BuildError> {
    let (resolve, world) =
        parse_world(&context.wit, &context.project.world).map_err(invalid_wit(&context.wit))?;
    let world = &resolve.worlds[world];
    let mut text = format!("world {NAME} {{\n");
    for (direction, items) in [("import", &world.imports), ("export", &world.exports)] {
        for (key, item) in items {
            let (WorldKey::Interface(_), WorldItem::Interface { id, .. }) = (key, item) else {
                // The reduced world cannot refer to a function or type of another world.
                return Ok((context.wit.clone(), context.project.world.clone()));
            };
            let interface = &resolve.interfaces[*id];
            let name = resolve.name_world_key(key);
            let is_own = interface.package == world.package;
            // An omitted interface whose types another one uses is imported with that one.
            let is_unused =
                direction == "import" && is_own && !interface.name.as_deref().is_some_and(&is_used);
            if is_unused {
                continue;
            }
            let reference = interface.name.clone().filter(|_| is_own).unwrap_or(name);
            text += &format!("  {direction} {reference};\n");
        }
    }
    text += "}\n";
    let folder = context.work.join("used-wit");
    files::remove_folder(&folder)?;
    files::copy_folder(&context.wit, &folder, &[])?;
    let package = world.package.map(|package| &resolve.packages[package].name);
    let package = package.map(|name| format!("package {name};\n\n")).unwrap_or_default();
    let file = folder.join(format!("{NAME}.wit"));
    std::fs::write(&file, package + &text).map_err(BuildError::io(&file))?;
    Ok((folder, NAME.to_owned()))
}
