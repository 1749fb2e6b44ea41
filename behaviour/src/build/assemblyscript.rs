//! AssemblyScript, compiled without its garbage collector, since the host discards the
//! memory of an instance after its only call.

use super::glue::{self, FOLDER};
use super::{BuildContext, BuildError};

/// The language's globals that `gen/system.ts` implements.
const SYSTEM: [&str; 4] = ["abort", "console", "seed", "trace"];

/// The id of a module's export section.
const EXPORTS: u8 = 7;

/// Compiles the generated entry file, which imports the author's entry file.
pub(crate) fn module(context: &BuildContext<'_>) -> Result<Vec<u8>, BuildError> {
    let glue = glue::write(context)?;
    let core = context.work.join("core.wasm");
    let mut asc = context.tool("asc")?;
    // The compiler identifies a file by its path relative to the current directory, which is
    // the project's folder.
    asc.arg(format!("{FOLDER}/entry.ts")).arg("-o").arg(&core);
    asc.args(["-O3", "--shrinkLevel", "2", "--runtime", "stub"]);
    if glue.folder.join("system.ts").is_file() {
        for global in SYSTEM {
            asc.arg("--use").arg(format!("{global}={FOLDER}/system/{global}"));
        }
    } else {
        // Without the interfaces that `system.ts` needs, a failure is a trap without a message.
        asc.args(["--use", "abort="]);
    }
    context.compile(&mut asc)?;
    let module = context.read(&core)?;
    // If the module is invalid, the encoder reports the reason.
    Ok(renamed(&module, &glue.renames).unwrap_or(module))
}

/// Renames the exports of a module: AssemblyScript can only export identifiers.
fn renamed(module: &[u8], renames: &[(String, String)]) -> Option<Vec<u8>> {
    let (header, mut rest) = module.split_at_checked(8)?;
    let mut output = header.to_vec();
    while let Some((&id, after)) = rest.split_first() {
        let (section, behind) = counted(after)?;
        if id == EXPORTS {
            let section = renamed_exports(section, renames)?;
            output.push(id);
            push_counted(&mut output, &section);
        } else {
            output.extend_from_slice(&rest[..rest.len() - behind.len()]);
        }
        rest = behind;
    }
    Some(output)
}

fn renamed_exports(section: &[u8], renames: &[(String, String)]) -> Option<Vec<u8>> {
    let (count, mut rest) = number(section)?;
    let mut output = section[..section.len() - rest.len()].to_vec();
    for _ in 0..count {
        let (name, after) = counted(rest)?;
        let (_index, behind) = number(after.get(1..)?)?;
        let rename = renames.iter().find(|(from, _)| from.as_bytes() == name);
        push_counted(&mut output, rename.map_or(name, |(_, to)| to.as_bytes()));
        output.extend_from_slice(&after[..after.len() - behind.len()]);
        rest = behind;
    }
    Some(output)
}

/// Splits off a byte string that is prefixed with its length.
fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (count, rest) = number(bytes)?;
    rest.split_at_checked(count.try_into().ok()?)
}

/// Splits off an unsigned 32-bit number in LEB128.
fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let mut value = 0;
    for (at, byte) in bytes.iter().enumerate().take(5) {
        value |= u32::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[at + 1..]));
        }
    }
    None
}

fn push_counted(output: &mut Vec<u8>, bytes: &[u8]) {
    let mut count = bytes.len();
    while count >= 0x80 {
        output.push((count & 0x7f) as u8 | 0x80);
        count >>= 7;
    }
    output.push(count as u8);
    output.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renaming_changes_only_the_exports_of_the_contract() {
        let module = |name: &str| {
            let text = format!(
                "(module (memory (export \"memory\") 1)
                   (func (export \"cabi_realloc\")) (func (export \"my__own\"))
                   (func (export \"{name}\")) (data (i32.const 0) \"methods__invoke\"))"
            );
            ::wat::parse_str(text).unwrap()
        };
        let renames = [("methods__invoke".into(), "device:behaviour/methods@0.1.2#invoke".into())];
        let full = module("device:behaviour/methods@0.1.2#invoke");
        assert_eq!(renamed(&module("methods__invoke"), &renames), Some(full.clone()));
        assert_eq!(renamed(&full, &renames), Some(full));
    }

    #[test]
    fn a_truncated_module_is_not_renamed() {
        let module = ::wat::parse_str("(module (func (export \"methods__invoke\")))").unwrap();
        assert_eq!(renamed(&module[..module.len() - 1], &[]), None);
        assert_eq!(renamed(&module[..4], &[]), None);
    }
}
