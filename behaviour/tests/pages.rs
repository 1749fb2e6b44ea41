//! docs/languages: a page for each language, which shows what `behaviour new`
//! writes, and leads nowhere that is not there.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::fs;
use std::path::{Path, PathBuf};

use behaviour::{Language, create};

/// The headings of each page, in this order.
const SECTIONS: [&str; 8] = [
    "What `setup` brings",
    "A whole plugin",
    "Refusals and errors",
    "What it is lent",
    "Optional exports",
    "Mind",
    "Finding faults",
    "Size and cost",
];

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

fn page(language: Language) -> String {
    let file = docs().join("languages").join(format!("{language}.md"));
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The blocks of code that are said to be a file: its name, and the text.
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
fn every_language_has_its_page_and_the_guide_leads_to_it() {
    let guide = fs::read_to_string(docs().join("plugins.md")).unwrap();
    for language in Language::ALL {
        assert!(guide.contains(&format!("](languages/{language}.md)")), "{language}");
        let page = page(language);
        let headings: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        assert_eq!(headings, SECTIONS, "{language}");
        assert!(page.contains(&format!("behaviour new door --lang {language}\n")), "{language}");
    }
    let pages = fs::read_dir(docs().join("languages")).unwrap().count();
    assert_eq!(pages, Language::ALL.len());
}

#[test]
fn the_plugin_on_a_page_is_the_one_that_is_written() {
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
                // Of text by hand, a part is enough.
                Language::Wat => assert!(written.contains(text), "{language}: {name}"),
                _ => assert_eq!(text, written.trim_end(), "{language}: {name}"),
            }
        }
    }
}

#[test]
fn no_page_leads_to_what_is_not_there() {
    for language in Language::ALL {
        let page = page(language);
        let links = page.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        for (link, _) in links {
            let (file, place) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => docs().join("languages").join(format!("{language}.md")),
                file => docs().join("languages").join(file),
            };
            assert!(target.exists(), "{language}: {link}");
            if !place.is_empty() {
                let text = fs::read_to_string(&target).unwrap();
                let is_it = |line: &str| line.starts_with('#') && anchor(line) == place;
                assert!(text.lines().any(is_it), "{language}: {link}");
            }
        }
    }
}

/// Returns the anchor of a heading in a link.
fn anchor(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    words
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
        .collect::<String>()
        .replace(' ', "-")
}
