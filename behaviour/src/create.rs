//! Creation of starter plugins, which build and pass their own cases without changes.
//!
//! The templates are in `behaviour/templates`, which has a folder for each language and the
//! folder `all` with files for every language. `PLUGIN_NAME` and `PLUGIN_LANGUAGE` are
//! placeholders for the name and the language.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::language::Language;
use crate::{name, wit};

/// The reason why no plugin was created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// An invalid name.
    #[error("{0}")]
    Name(String),
    /// A path that already exists and was left unchanged.
    #[error("`{}` exists already", .0.display())]
    Exists(PathBuf),
    /// A file that cannot be written.
    #[error("`{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl CreateError {
    /// Returns a one-line hint for the user, if there is one.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            CreateError::Name(_) => Some("use lower-case words with hyphens, as in `front-door`"),
            CreateError::Exists(_) => Some("choose another name; nothing was changed"),
            CreateError::Io { .. } => None,
        }
    }
}

/// The kind of a starter plugin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Starter {
    /// A plugin with the default world.
    #[default]
    Plain,
    /// A plugin that sends HTTP requests.
    Http,
}

/// Creates the folder `dir` with a plain starter plugin, like [`create_from`].
///
/// # Errors
///
/// Same as [`create_from`].
pub fn create(dir: &Path, language: Language) -> Result<Vec<PathBuf>, CreateError> {
    create_from(dir, language, Starter::Plain)
}

/// Creates the folder `dir` with a starter plugin, and returns the paths of its files. The
/// plugin is named after the folder.
///
/// # Errors
///
/// Returns an error if the name is invalid, if the path exists already, or if a file cannot be
/// written, in which case the new folder is removed again.
pub fn create_from(
    dir: &Path,
    language: Language,
    starter: Starter,
) -> Result<Vec<PathBuf>, CreateError> {
    let files = files(language, starter);
    let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
    name::check(&name).map_err(CreateError::Name)?;
    let io_error = |path: &Path| {
        let path = path.to_owned();
        move |source| CreateError::Io { path, source }
    };
    match fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(CreateError::Exists(dir.to_owned()));
        }
        other => other.map_err(io_error(dir))?,
    }

    let mut written = Vec::new();
    for (file, text) in files {
        let path = dir.join(file);
        let text = text.replace("PLUGIN_NAME", &name).replace("PLUGIN_LANGUAGE", language.name());
        let text = text.replace("PLUGIN_SETUP", &setup_line(language));
        let folder = path.parent().expect("a file of a template is in a folder");
        let result = fs::create_dir_all(folder).and_then(|()| fs::write(&path, text));
        if let Err(error) = result {
            // The folder was created above, so it contains no other files.
            drop(fs::remove_dir_all(dir));
            return Err(io_error(&path)(error));
        }
        written.push(path);
    }
    Ok(written)
}

/// Returns the line about the tools of a language in a README, in the columns of the lines that
/// follow it. It is empty for a language without tools.
fn setup_line(language: Language) -> String {
    if language == Language::Wat {
        return String::new();
    }
    let command = format!("behaviour setup {language}");
    format!("    {command:<35}# once: fetches the tools for the language\n")
}

/// Returns the files of a new plugin: their paths and contents.
fn files(language: Language, starter: Starter) -> Vec<(String, &'static str)> {
    let wit = wit::FILES.iter().map(|(file, text)| (format!("wit/{file}"), *text));
    let parts = match starter {
        Starter::Plain => vec![ALL, own(language)],
        Starter::Http => vec![ALL_HTTP, described(language), own_http(language)],
    };
    let own = parts.concat();
    own.into_iter().map(|(file, text)| (file.to_owned(), text)).chain(wit).collect()
}

/// Expands to the names and contents of the template files in a folder.
macro_rules! templates {
    ($folder:literal: $($file:literal),+ $(,)?) => {
        &[$(($file, include_str!(concat!("../templates/", $folder, "/", $file)))),+]
    };
}

/// The template files for every language.
const ALL: &[(&str, &str)] = &[
    (".gitignore", include_str!("../templates/all/gitignore")),
    ("README.md", include_str!("../templates/all/README.md")),
    ("behaviour.toml", include_str!("../templates/all/behaviour.toml")),
    ("cases/any-json.json", include_str!("../templates/all/cases/any-json.json")),
    ("cases/greets.json", include_str!("../templates/all/cases/greets.json")),
    ("cases/unknown-method.json", include_str!("../templates/all/cases/unknown-method.json")),
];

/// The template files for every language with HTTP.
const ALL_HTTP: &[(&str, &str)] = &[
    (".gitignore", include_str!("../templates/all/gitignore")),
    ("README.md", include_str!("../templates/http/README.md")),
    ("cases/fetches.json", include_str!("../templates/http/cases/fetches.json")),
    ("cases/unknown-method.json", include_str!("../templates/http/cases/unknown-method.json")),
    ("wit/plugin.wit", include_str!("../templates/http/plugin.wit")),
];

/// Returns the description of a plugin with HTTP, and the case that contains its message for a
/// request without a response.
fn described(language: Language) -> &'static [(&'static str, &'static str)] {
    /// The world is not the default one.
    const DESCRIPTION: (&str, &str) = (
        "behaviour.toml",
        "name = \"PLUGIN_NAME\"\nlang = \"PLUGIN_LANGUAGE\"\nworld = \"plugin\"\n",
    );
    const MESSAGE: (&str, &str) =
        ("cases/no-response.json", include_str!("../templates/http/cases/no-response.json"));
    /// The glue of these languages describes an error by its case and its message.
    const WITH_CASE: (&str, &str) =
        ("cases/no-response.json", include_str!("../templates/http/described/no-response.json"));
    match language {
        // The sources name the world.
        Language::Rust => {
            &[("behaviour.toml", include_str!("../templates/all/behaviour.toml")), MESSAGE]
        }
        Language::Go | Language::Zig | Language::AssemblyScript | Language::Nim | Language::D => {
            &[DESCRIPTION, WITH_CASE]
        }
        _ => &[DESCRIPTION, MESSAGE],
    }
}

/// Returns the sources for a language with HTTP.
fn own_http(language: Language) -> &'static [(&'static str, &'static str)] {
    /// Expands to the names and contents of files that are the same without HTTP.
    macro_rules! plain {
        ($folder:literal: $file:literal) => {
            ($file, include_str!(concat!("../templates/", $folder, "/", $file)))
        };
    }
    const RUST: &[(&str, &str)] = &[
        plain!("rust": "Cargo.toml"),
        ("src/lib.rs", include_str!("../templates/http/rust/src/lib.rs")),
    ];
    const JAVASCRIPT: &[(&str, &str)] = &[
        plain!("javascript": "jsconfig.json"),
        ("plugin.js", include_str!("../templates/http/javascript/plugin.js")),
    ];
    const TYPESCRIPT: &[(&str, &str)] = &[
        plain!("typescript": "tsconfig.json"),
        ("plugin.ts", include_str!("../templates/http/typescript/plugin.ts")),
    ];
    const GO: &[(&str, &str)] =
        &[plain!("go": "go.mod"), ("plugin.go", include_str!("../templates/http/go/plugin.go"))];
    match language {
        Language::Rust => RUST,
        Language::JavaScript => JAVASCRIPT,
        Language::TypeScript => TYPESCRIPT,
        Language::Go => GO,
        Language::Python => templates!("http/python": "plugin.py"),
        Language::C => templates!("http/c": "plugin.c"),
        Language::Cpp => templates!("http/cpp": "plugin.cpp"),
        Language::Zig => templates!("http/zig": "plugin.zig"),
        Language::AssemblyScript => templates!("http/assemblyscript": "assembly/index.ts"),
        Language::Lua => templates!("http/lua": "plugin.lua"),
        Language::Nim => templates!("http/nim": "plugin.nim"),
        Language::D => templates!("http/d": "plugin.d"),
        Language::Wat => templates!("http/wat": "plugin.wat"),
    }
}

fn own(language: Language) -> &'static [(&'static str, &'static str)] {
    match language {
        Language::Rust => templates!("rust": "Cargo.toml", "src/lib.rs"),
        Language::JavaScript => templates!("javascript": "jsconfig.json", "plugin.js"),
        Language::TypeScript => templates!("typescript": "plugin.ts", "tsconfig.json"),
        Language::Python => templates!("python": "plugin.py"),
        Language::C => templates!("c": "plugin.c"),
        Language::Cpp => templates!("cpp": "plugin.cpp"),
        Language::Zig => templates!("zig": "plugin.zig"),
        Language::Go => templates!("go": "go.mod", "plugin.go"),
        Language::AssemblyScript => templates!("assemblyscript": "assembly/index.ts"),
        Language::Lua => templates!("lua": "plugin.lua"),
        Language::Nim => templates!("nim": "plugin.nim"),
        Language::D => templates!("d": "plugin.d"),
        Language::Wat => templates!("wat": "plugin.wat"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_existing_folder_is_left_unchanged() {
        let dir = tempfile::tempdir().unwrap();
        let existing = dir.path().join("door");
        fs::create_dir(&existing).unwrap();
        fs::write(existing.join("README.md"), "mine").unwrap();

        let error = create(&existing, Language::C).unwrap_err();

        assert_eq!(error.to_string(), format!("`{}` exists already", existing.display()));
        assert_eq!(fs::read_to_string(existing.join("README.md")).unwrap(), "mine");
        assert_eq!(fs::read_dir(&existing).unwrap().count(), 1);
    }

    #[test]
    fn a_new_plugin_contains_its_name_and_the_complete_contract() {
        for language in Language::ALL {
            let dir = tempfile::tempdir().unwrap();
            let door = dir.path().join("front-door");
            for path in create(&door, language).unwrap() {
                let text = fs::read_to_string(&path).unwrap();
                assert!(!text.contains("PLUGIN_"), "{}", path.display());
            }
            let described = fs::read_to_string(door.join("behaviour.toml")).unwrap();
            assert_eq!(described, format!("name = \"front-door\"\nlang = \"{language}\"\n"));
            assert!(door.join(language.entry()).is_file(), "{language}");
            assert_eq!(fs::read_dir(door.join("wit")).unwrap().count(), wit::FILES.len());
        }
    }

    #[test]
    fn the_comments_of_a_readme_are_in_one_column_and_name_only_tools_that_exist() {
        for (language, starter) in
            Language::ALL.into_iter().flat_map(|it| [(it, Starter::Plain), (it, Starter::Http)])
        {
            let dir = tempfile::tempdir().unwrap();
            create_from(&dir.path().join("door"), language, starter).unwrap();
            let text = fs::read_to_string(dir.path().join("door/README.md")).unwrap();
            let commands = text.lines().filter(|line| line.starts_with("    behaviour "));
            let columns: Vec<_> = commands.filter_map(|line| line.find('#')).collect();
            let lines = if language == Language::Wat { 2 } else { 3 };
            assert_eq!(columns, vec![columns[0]; lines], "{text}");
            assert_eq!(text.contains("behaviour setup"), language != Language::Wat, "{text}");
        }
    }

    #[test]
    fn an_invalid_name_creates_nothing() {
        let dir = tempfile::tempdir().unwrap();
        create(&dir.path().join("Door"), Language::C).unwrap_err();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_starter_with_http_has_the_import_in_its_world() {
        for language in Language::ALL {
            let dir = tempfile::tempdir().unwrap();
            let door = dir.path().join("front-door");
            for path in create_from(&door, language, Starter::Http).unwrap() {
                let text = fs::read_to_string(&path).unwrap();
                assert!(!text.contains("PLUGIN_"), "{}", path.display());
            }
            let mut resolve = wit_parser::Resolve::default();
            let (package, _) = resolve.push_dir(door.join("wit")).unwrap();
            let world = resolve.select_world(&[package], Some("plugin")).unwrap();
            let imports = resolve.worlds[world].imports.keys();
            let names: Vec<_> = imports.map(|key| resolve.name_world_key(key)).collect();
            assert!(names.contains(&"device:behaviour/http@0.1.2".to_owned()), "{names:?}");
        }
    }
}
