//! Languages in which a plugin can be written.

use std::fmt;
use std::str::FromStr;

/// A language of plugins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names describe the variants")]
pub enum Language {
    Rust,
    JavaScript,
    TypeScript,
    Python,
    C,
    Cpp,
    Zig,
    Go,
    AssemblyScript,
    Lua,
    Nim,
    D,
    Wat,
}

impl Language {
    /// All languages, in the order of the documentation.
    pub const ALL: [Language; 13] = [
        Language::Rust,
        Language::JavaScript,
        Language::TypeScript,
        Language::Python,
        Language::C,
        Language::Cpp,
        Language::Zig,
        Language::Go,
        Language::AssemblyScript,
        Language::Lua,
        Language::Nim,
        Language::D,
        Language::Wat,
    ];

    /// Returns the name in `--lang` and `behaviour.toml`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Language::Rust => "rust",
            Language::JavaScript => "javascript",
            Language::TypeScript => "typescript",
            Language::Python => "python",
            Language::C => "c",
            Language::Cpp => "cpp",
            Language::Zig => "zig",
            Language::Go => "go",
            Language::AssemblyScript => "assemblyscript",
            Language::Lua => "lua",
            Language::Nim => "nim",
            Language::D => "d",
            Language::Wat => "wat",
        }
    }

    /// Returns other accepted names.
    #[must_use]
    pub fn aliases(self) -> &'static [&'static str] {
        match self {
            Language::JavaScript => &["js"],
            Language::TypeScript => &["ts"],
            Language::Python => &["py"],
            Language::Cpp => &["c++", "cxx"],
            Language::AssemblyScript => &["as"],
            Language::Rust
            | Language::C
            | Language::Zig
            | Language::Go
            | Language::Lua
            | Language::Nim
            | Language::D
            | Language::Wat => &[],
        }
    }

    /// Returns the default entry file of a plugin.
    #[must_use]
    pub fn entry(self) -> &'static str {
        match self {
            Language::Rust => "Cargo.toml",
            Language::JavaScript => "plugin.js",
            Language::TypeScript => "plugin.ts",
            Language::Python => "plugin.py",
            Language::C => "plugin.c",
            Language::Cpp => "plugin.cpp",
            Language::Zig => "plugin.zig",
            Language::Go => "go.mod",
            Language::AssemblyScript => "assembly/index.ts",
            Language::Lua => "plugin.lua",
            Language::Nim => "plugin.nim",
            Language::D => "plugin.d",
            Language::Wat => "plugin.wat",
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An error for an unknown language name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown language `{0}`; known are {all}", all = names())]
pub struct UnknownLanguage(String);

fn names() -> String {
    Language::ALL.map(Language::name).join(", ")
}

impl FromStr for Language {
    type Err = UnknownLanguage;

    fn from_str(name: &str) -> Result<Language, UnknownLanguage> {
        let lower = name.to_ascii_lowercase();
        let is_name = |language: &Language| {
            language.name() == lower || language.aliases().contains(&lower.as_str())
        };
        let known = Language::ALL.into_iter().find(is_name);
        known.ok_or_else(|| UnknownLanguage(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_every_language_parses_back_to_it() {
        for language in Language::ALL {
            assert_eq!(language.to_string().parse(), Ok(language));
        }
        assert_eq!("C++".parse(), Ok(Language::Cpp));
    }

    #[test]
    fn an_unknown_language_is_reported_with_the_known_ones() {
        let error = "cobol".parse::<Language>().unwrap_err().to_string();
        assert!(error.starts_with("unknown language `cobol`; known are rust, "), "{error}");
    }
}
