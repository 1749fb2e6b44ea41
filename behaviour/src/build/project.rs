//! The description of a plugin in its folder: name, language, entry file and WIT.
//!
//! `behaviour.toml` contains the description. If that file is missing, the entry file in the
//! folder determines the language, and the other values have defaults.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use program::toml_text;
use serde::Deserialize;

use super::{BuildError, files};
use crate::language::Language;
use crate::wit;

/// The file that describes a project.
pub(crate) const FILE: &str = "behaviour.toml";

/// A plugin's sources.
#[derive(Debug, PartialEq)]
pub(crate) struct Project {
    /// The absolute path of the folder.
    pub(crate) dir: PathBuf,
    pub(crate) name: String,
    pub(crate) language: Language,
    /// The absolute path of the entry file.
    pub(crate) entry: PathBuf,
    /// The name of the world in the WIT.
    pub(crate) world: String,
    /// The folder of the project's WIT, if it has one.
    wit: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProjectFile {
    name: Option<String>,
    lang: Option<String>,
    entry: Option<PathBuf>,
    world: Option<String>,
    wit: Option<PathBuf>,
}

impl Project {
    /// Reads the description of the plugin in `dir`.
    pub(crate) fn find(dir: &Path) -> Result<Project, BuildError> {
        let found = fs::canonicalize(dir).map_err(|_| BuildError::NoProject(dir.to_owned()))?;
        let described = describe(&found.join(FILE))?;
        let language = match &described.lang {
            Some(name) => name.parse().map_err(|error: crate::language::UnknownLanguage| {
                BuildError::ProjectFile { file: found.join(FILE), reason: error.to_string() }
            })?,
            None => detect(&found).ok_or_else(|| BuildError::NoProject(dir.to_owned()))?,
        };
        let entry = found.join(described.entry.unwrap_or_else(|| language.entry().into()));
        if !entry.is_file() {
            return Err(BuildError::NoEntry { entry, language });
        }
        let name = match described.name {
            Some(name) => name,
            None => folder_name(&found, language)?,
        };
        let wit = described.wit.map(|wit| found.join(wit));
        let wit = wit.or_else(|| Some(found.join("wit")).filter(|wit| wit.is_dir()));
        Ok(Project {
            name,
            language,
            entry,
            world: described.world.unwrap_or_else(|| "behaviour".into()),
            wit,
            dir: found,
        })
    }

    /// Returns the folder of the project's WIT. Writes the default WIT into `work` if the
    /// project has none.
    pub(crate) fn wit(&self, work: &Path) -> Result<PathBuf, BuildError> {
        if let Some(own) = &self.wit {
            return Ok(own.clone());
        }
        let folder = work.join("wit");
        files::remove_folder(&folder)?;
        wit::write(&folder).map_err(BuildError::io(&folder))?;
        Ok(folder)
    }
}

/// Returns the name of a plugin that is named after its folder. The name need not be valid
/// for Rust, since Cargo.toml contains the plugin's name.
fn folder_name(folder: &Path, language: Language) -> Result<String, BuildError> {
    let name = files::file_name(folder);
    match crate::name::check(&name) {
        Err(reason) if language != Language::Rust => {
            Err(BuildError::FolderName { dir: folder.to_owned(), reason })
        }
        _ => Ok(name),
    }
}

fn describe(file: &Path) -> Result<ProjectFile, BuildError> {
    let invalid = |reason: String| BuildError::ProjectFile { file: file.to_owned(), reason };
    let text = match program::text::read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(ProjectFile::default()),
        Err(error) => return Err(BuildError::io(file)(error)),
    };
    let described = match toml_text::parse::<ProjectFile>(&text) {
        (Some(described), errors) if errors.is_empty() => described,
        (_, errors) => {
            let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
            return Err(invalid(errors.join("; ")));
        }
    };
    if let Some(name) = &described.name {
        crate::name::check(name).map_err(invalid)?;
    }
    Ok(described)
}

/// Returns the first language whose entry file is in the folder.
fn detect(dir: &Path) -> Option<Language> {
    Language::ALL.into_iter().find(|language| dir.join(language.entry()).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(files: &[(&str, &str)]) -> (tempfile::TempDir, Result<Project, BuildError>) {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("door");
        fs::create_dir(&folder).unwrap();
        for (name, text) in files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let project = Project::find(&folder);
        (dir, project)
    }

    #[test]
    fn a_project_is_described_by_its_file() {
        let text = "name = \"door\"\nlang = \"c++\"\nentry = \"main.cc\"\nworld = \"mine\"\n";
        let (_dir, project) = project(&[(FILE, text), ("main.cc", ""), ("wit/a.wit", "")]);
        let project = project.unwrap();
        assert_eq!((project.name.as_str(), project.language), ("door", Language::Cpp));
        assert_eq!(project.world, "mine");
        assert!(project.entry.ends_with("main.cc"));
        assert!(project.wit.unwrap().ends_with("wit"));
    }

    #[test]
    fn each_language_is_detected_by_its_entry_file() {
        for language in Language::ALL {
            let (_dir, project) = project(&[(language.entry(), "")]);
            let project = project.unwrap();
            assert_eq!((project.language, project.name.as_str()), (language, "door"));
        }
    }

    #[test]
    fn an_error_in_the_file_is_reported_with_its_line() {
        let (_dir, error) = project(&[(FILE, "name = \"door\"\nlanguage = \"c\"\n")]);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("behaviour.toml`: line 2: unknown key `language`"), "{error}");
        let (_dir, error) = project(&[(FILE, "name = 5\nlanguage = \"c\"\n")]);
        let error = error.unwrap_err().to_string();
        let both = "line 1: `name` is 5, not a string; line 2: unknown key `language`";
        assert!(error.contains(both), "{error}");

        let (_dir, error) = project(&[(FILE, "lang = \"cobol\"\n")]);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("unknown language `cobol`"), "{error}");
    }

    #[test]
    fn a_missing_entry_file_is_named() {
        let (_dir, error) = project(&[(FILE, "lang = \"go\"\n")]);
        let error = error.unwrap_err();
        let expected = "go.mod` not found; it is the entry file of a plugin in go";
        assert!(error.to_string().ends_with(expected), "{error}");
    }

    #[test]
    fn a_plugin_cannot_be_named_after_a_folder_with_an_invalid_name() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("Front Door");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("plugin.wat"), "").unwrap();

        let error = Project::find(&folder).unwrap_err();
        let shown = fs::canonicalize(&folder).unwrap();
        assert_eq!(
            error.to_string(),
            format!(
                "folder `{}` gives the plugin its name: name `Front Door` has characters \
                 other than a-z, 0-9 and `-`",
                shown.display()
            )
        );
        assert_eq!(error.hint().unwrap(), "set `name` in behaviour.toml, or rename the folder");

        fs::write(folder.join(FILE), "name = \"front-door\"\n").unwrap();
        assert_eq!(Project::find(&folder).unwrap().name, "front-door");
        fs::remove_file(folder.join(FILE)).unwrap();
        fs::write(folder.join("Cargo.toml"), "").unwrap();
        assert_eq!(Project::find(&folder).unwrap().language, Language::Rust);
    }
}
