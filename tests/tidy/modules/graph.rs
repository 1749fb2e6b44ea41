//! The modules of a package and the dependencies between them, read from its sources.

use std::collections::{BTreeMap, BTreeSet};

use crate::tidy::source::{Source, sources};
use crate::tidy::tokens::{Lexeme, Token, tokens};

/// The path of a module from the crate's root. The path of the root is empty.
type Module = Vec<String>;

/// The dependencies between modules, each with the location of its first occurrence.
pub(super) struct Graph {
    package: String,
    modules: BTreeSet<Module>,
    names: BTreeMap<(Module, Module), String>,
}

impl Graph {
    /// Reads the product sources of a package.
    pub(super) fn read(package: &str) -> Graph {
        let folder = format!("{package}/src/");
        let sources: Vec<Source> = sources()
            .into_iter()
            .filter(|source| source.path.starts_with(&folder) && source.is_product())
            .collect();
        let module = |source: &Source| {
            let path = source.path[folder.len()..].trim_end_matches(".rs");
            let root = ["lib", "main"].contains(&path) || path.starts_with("bin/");
            let module: Module = path.split('/').map(str::to_owned).collect();
            if root { Module::new() } else { module }
        };
        let modules: BTreeSet<Module> = sources.iter().map(module).collect();
        let exports = exports(&sources, &folder);
        let mut names = BTreeMap::new();
        for source in &sources {
            let from = module(source);
            for Reference { line, inside, path } in references(&source.product_text()) {
                let inside = [&from[..], &inside].concat();
                let Some(path) = absolute(&inside, &path) else { continue };
                let path = match exports.get(path.first().map_or("", String::as_str)) {
                    Some(exported) if !modules.contains(&path[..1]) => exported.clone(),
                    _ => path,
                };
                let length = (0..=path.len()).rev().find(|end| modules.contains(&path[..*end]));
                let to = path[..length.unwrap_or_default()].to_vec();
                let location = format!("{}:{line}", source.path);
                names.entry((from.clone(), to)).or_insert(location);
            }
        }
        Graph { package: package.to_owned(), modules, names }
    }

    /// Returns the names of the modules below the root.
    pub(super) fn top_level(&self) -> BTreeSet<&str> {
        self.modules.iter().filter_map(|module| module.first()).map(String::as_str).collect()
    }

    /// Returns the dependencies between top-level modules, with their locations. Items of the
    /// root belong to `lib`.
    pub(super) fn arrows(&self) -> impl Iterator<Item = (String, String, &str)> {
        self.names.iter().filter_map(|((from, to), location)| {
            let from = from.first()?.clone();
            let to = to.first().cloned().unwrap_or_else(|| "lib".to_owned());
            (from != to).then_some((from, to, location.as_str()))
        })
    }

    /// Returns a line for each cycle among sibling modules.
    pub(super) fn cycles(&self) -> Vec<String> {
        // A dependency of a submodule counts as a dependency of the module.
        let mut below: BTreeMap<&[String], BTreeMap<&[String], &str>> = BTreeMap::new();
        for ((from, to), location) in &self.names {
            let common = from.iter().zip(to).take_while(|(left, right)| left == right).count();
            if from.len() > common && to.len() > common {
                let (from, to) = (&from[..=common], &to[..=common]);
                below.entry(from).or_default().entry(to).or_insert(location);
            }
        }
        let mut cycles = Vec::new();
        for start in below.keys() {
            for (next, location) in &below[start] {
                if let Some(path) = path_between(&below, next, start)
                    // Each cycle is reported once, from its first module.
                    && path.iter().all(|module| start <= module)
                {
                    let path: Vec<String> = path.iter().map(|module| module.join("::")).collect();
                    cycles.push(format!(
                        "{location}: a cycle in {}: {} → {}",
                        self.package,
                        start.join("::"),
                        path.join(" → ")
                    ));
                }
            }
        }
        cycles
    }
}

/// Returns the modules on a shortest path, including both ends.
fn path_between<'a>(
    below: &BTreeMap<&'a [String], BTreeMap<&'a [String], &str>>,
    from: &'a [String],
    to: &'a [String],
) -> Option<Vec<&'a [String]>> {
    let mut paths = vec![vec![from]];
    let mut seen = BTreeSet::from([from]);
    while !paths.is_empty() {
        let mut longer = Vec::new();
        for path in paths {
            let last = *path.last()?;
            if last == to {
                return Some(path);
            }
            for next in below.get(last).into_iter().flat_map(BTreeMap::keys) {
                if seen.insert(next) {
                    longer.push([&path[..], &[next]].concat());
                }
            }
        }
        paths = longer;
    }
    None
}

/// Returns the names that the crate's root exports from its modules, with their paths.
fn exports(sources: &[Source], folder: &str) -> BTreeMap<String, Vec<String>> {
    let root = format!("{folder}lib.rs");
    let Some(root) = sources.iter().find(|source| source.path == root) else {
        return BTreeMap::new();
    };
    let tokens = tokens(&root.product_text());
    let mut exports = BTreeMap::new();
    for (index, token) in tokens.iter().enumerate() {
        if token.is_word("use") {
            let mut found = Vec::new();
            tree(&tokens, index + 1, &mut Vec::new(), &mut found);
            for (_, path) in found {
                let path: Vec<String> = path.into_iter().filter(|part| part != "self").collect();
                exports.extend(path.last().cloned().map(|name| (name, path)));
            }
        }
    }
    exports
}

/// Resolves `crate::`, `self::` and `super::`. Returns the path from the crate's root.
fn absolute(from: &[String], path: &[String]) -> Option<Vec<String>> {
    let (first, mut rest) = path.split_first()?;
    let mut module = match first.as_str() {
        "crate" => Vec::new(),
        "self" => from.to_vec(),
        _ => from.split_last()?.1.to_vec(),
    };
    while let Some(("super", deeper)) = rest.split_first().map(|(name, rest)| (name.as_str(), rest))
    {
        module.pop()?;
        rest = deeper;
    }
    module.extend_from_slice(rest);
    Some(module)
}

/// A path in a source that starts with `crate`, `self` or `super`.
struct Reference {
    line: usize,
    /// The inline modules, `mod name { … }`, that contain the path.
    inside: Module,
    path: Vec<String>,
}

/// Returns the references in a source. Groups in `use` declarations are expanded.
fn references(text: &str) -> Vec<Reference> {
    let tokens = tokens(text);
    let mut references = Vec::new();
    let mut depth = 0;
    let mut modules: Vec<(usize, String)> = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        if token.is_mark('{') {
            depth += 1;
            if let Some([keyword, name]) = index.checked_sub(2).map(|from| &tokens[from..index])
                && keyword.is_word("mod")
            {
                modules.extend(name.word().map(|name| (depth, name.to_owned())));
            }
        } else if token.is_mark('}') {
            modules.pop_if(|(opened, _)| *opened == depth);
            depth -= 1;
        }
        let starts = ["crate", "self", "super"].iter().any(|word| token.is_word(word));
        let before = index.checked_sub(1).map(|before| &tokens[before]);
        // A scope, as in `pub(in crate::module)`, is not a dependency.
        let continues =
            before.is_some_and(|before| before.is == Lexeme::Colons || before.is_word("in"));
        if starts && !continues && tokens.get(index + 1).is_some_and(|t| t.is == Lexeme::Colons) {
            let mut found = Vec::new();
            tree(&tokens, index, &mut Vec::new(), &mut found);
            let inside: Module = modules.iter().map(|(_, name)| name.clone()).collect();
            references.extend(found.into_iter().map(|(line, path)| {
                let inside = inside.clone();
                Reference { line, inside, path }
            }));
        }
    }
    references
}

/// Reads the path or group of paths that starts at a token. Returns the index of the next
/// token.
fn tree(
    tokens: &[Token],
    mut at: usize,
    before: &mut Vec<String>,
    found: &mut Vec<(usize, Vec<String>)>,
) -> usize {
    let depth = before.len();
    let mut line = 0;
    while let Some(token) = tokens.get(at) {
        if let Some(word) = token.word() {
            before.push(word.to_owned());
            line = token.line;
            at += 1;
            if tokens.get(at).is_some_and(|token| token.is == Lexeme::Colons) {
                at += 1;
                continue;
            }
        } else if token.is_mark('{') {
            at += 1;
            while tokens.get(at).is_some_and(|token| !token.is_mark('}')) {
                let next = tree(tokens, at, before, found);
                // Skip a comma, or a token that does not start a path.
                at = next.max(at + 1);
            }
            before.truncate(depth);
            return at + 1;
        }
        break;
    }
    if before.len() > depth {
        found.push((line, before.clone()));
    }
    before.truncate(depth);
    at
}

#[test]
fn paths_are_expanded_and_resolved_relative_to_their_module() {
    let text = "use crate::{a::{self, B}, c};\nuse super::d as e;\npub(in crate::f) fn g() {\n\
                    crate::h::I::<J>::k(self::l);\n}\nmod m {\n fn n() {}\n use super::o;\n}\n\
                    use super::p;\n";
    let found: Vec<String> = references(text)
        .into_iter()
        .map(|Reference { line, inside, path }| {
            format!("{line} {}: {}", inside.join("::"), path.join("::"))
        })
        .collect();
    assert_eq!(
        found,
        [
            "1 : crate::a::self",
            "1 : crate::a::B",
            "1 : crate::c",
            "2 : super::d",
            "4 : crate::h::I",
            "4 : self::l",
            "8 m: super::o",
            "10 : super::p"
        ]
    );
    let from = ["a".to_owned(), "b".to_owned()].to_vec();
    let path = ["super", "super", "c"].map(str::to_owned);
    assert_eq!(absolute(&from, &path), Some(vec!["c".to_owned()]));
}
