//! A world with only those imports of the project's world that a plugin uses, for tools that
//! import everything. `behaviour check` shows the imports, so they should be those in use.

use std::path::PathBuf;

use wit_parser::{WorldItem, WorldKey};

use super::glue::{self, parsed};
use super::{BuildContext, BuildError, files};

/// The name of the world and of its file.
const NAME: &str = "behaviour-used";

/// Writes the world next to a copy of the project's WIT, and returns the folder and the
/// world's name. `is_used` receives the name of an interface of the contract. All other imports
/// are kept.
pub(super) fn write(
    context: &BuildContext<'_>,
    is_used: impl Fn(&str) -> bool,
) -> Result<(PathBuf, String), BuildError> {
    let all = || (context.wit.clone(), context.project.world.clone());
    let (resolve, world) =
        parsed(&context.wit, &context.project.world).map_err(glue::refused(&context.wit))?;
    let world = &resolve.worlds[world];
    let mut text = format!("world {NAME} {{\n");
    for (direction, items) in [("import", &world.imports), ("export", &world.exports)] {
        for (key, item) in items {
            let (WorldKey::Interface(_), WorldItem::Interface { id, .. }) = (key, item) else {
                // Functions and types of the world itself have no name to refer to.
                return Ok(all());
            };
            let interface = &resolve.interfaces[*id];
            let name = resolve.name_world_key(key);
            let is_ours = interface.package == world.package;
            // An interface without functions is imported if another one uses its types.
            let is_left_out = direction == "import"
                && is_ours
                && !interface.name.as_deref().is_some_and(&is_used);
            if is_left_out {
                continue;
            }
            let shown = interface.name.clone().filter(|_| is_ours).unwrap_or(name);
            text += &format!("  {direction} {shown};\n");
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
