//! Tests of docs/languages, which has a page for each language. A page shows the files that
//! `behaviour new` writes and has no broken links.

#![allow(clippy::unwrap_used, reason = "a failed `unwrap` fails the test")]

use std::fs;
use std::path::{Path, PathBuf};

use behaviour::{Language, create};

/// The headings of each page, in order.
const SECTIONS: [&str; 8] = [
    "Tools",
    "Complete plugin",
    "Refusals and errors",
    "Host interfaces",
    "Optional exports",
    "Pitfalls",
    "Debugging",
    "Size and cost",
];

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

fn page(language: Language) -> String {
    let file = docs().join("languages").join(format!("{language}.md"));
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Returns the names and contents of the files in code blocks.
fn files(page: &str) -> Vec<(&str, &str)> {
    let blocks = page.split("\n```").collect::<Vec<_>>();
    let pairs = blocks.chunks_exact(2).filter_map(|pair| {
        let name = pair[0].trim_end().rsplit('\n').next()?.strip_prefix('`')?.strip_suffix("`:")?;
        let (_language, text) = pair[1].split_once('\n')?;
        (!name.contains('`')).then_some((name, text))
    });
    pairs.collect()
}

#[test]
fn every_language_has_a_page_that_the_guide_links_to() {
    let guide = fs::read_to_string(docs().join("plugins.md")).unwrap();
    for language in Language::ALL {
        assert!(guide.contains(&format!("](languages/{language}.md)")), "{language}");
        let page = page(language);
        let headings: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        assert_eq!(headings, SECTIONS, "{language}");
        assert!(page.contains(&format!("behaviour new door --lang {language}\n")), "{language}");
    }
    let pages = fs::read_dir(docs().join("languages")).unwrap().count();
    // One more page is about other languages.
    assert_eq!(pages, Language::ALL.len() + 1);
}

#[test]
fn a_page_shows_the_files_of_a_new_plugin() {
    let folder = tempfile::tempdir().unwrap();
    for language in Language::ALL {
        let new = folder.path().join(language.name()).join("door");
        fs::create_dir(new.parent().unwrap()).unwrap();
        create(&new, language).unwrap();
        let page = page(language);
        let shown = files(&page);
        assert!(!shown.is_empty(), "{language} shows no file");
        for (name, text) in shown {
            let written = fs::read_to_string(new.join(name))
                .unwrap_or_else(|error| panic!("{language}: {name}: {error}"));
            match language {
                // The page may show a part of the file only.
                Language::Wat => assert!(written.contains(text), "{language}: {name}"),
                _ => assert_eq!(text, written.trim_end(), "{language}: {name}"),
            }
        }
    }
}

#[test]
fn no_page_has_a_broken_link() {
    for language in Language::ALL {
        let page = page(language);
        let links = page.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        for (link, _) in links {
            let (file, fragment) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => docs().join("languages").join(format!("{language}.md")),
                file => docs().join("languages").join(file),
            };
            assert!(target.exists(), "{language}: {link}");
            if !fragment.is_empty() {
                let text = fs::read_to_string(&target).unwrap();
                let is_it = |line: &str| line.starts_with('#') && anchor(line) == fragment;
                assert!(text.lines().any(is_it), "{language}: {link}");
            }
        }
    }
}

/// Returns the fragment with which a link refers to a heading.
fn anchor(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    words
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
        .collect::<String>()
        .replace(' ', "-")
}
