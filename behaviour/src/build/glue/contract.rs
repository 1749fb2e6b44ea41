//! The part of a world for which glue is generated: the interfaces of
//! `device:behaviour`, their functions, and the memory layout of their types.
//!
//! Interfaces of WASI need no glue, because the languages' own libraries call them. No host
//! lends or calls anything else, so a world with interfaces of other packages, inline
//! interfaces or functions of its own is refused. Resources, streams and flags are not
//! supported yet. An error names the interface and, for a function, the function.

mod check;

use anyhow::{Context as _, bail};
use wit_parser::abi::{AbiVariant, WasmSignature};
use wit_parser::{
    Docs, Enum, Function, PackageName, Record, Resolve, SizeAlign, Type, TypeDef, TypeDefKind,
    TypeOwner, Variant, WorldId, WorldItem, WorldKey,
};

/// The namespace and name of the package whose interfaces need glue.
const PACKAGE: (&str, &str) = ("device", "behaviour");

/// The reason why a world has nothing but interfaces of this package and of WASI.
pub(super) const ONLY: &str =
    "hosts lend and call only interfaces of `device:behaviour`, and lend WASI";

/// The interface whose types are named without a prefix.
const SHARED_TYPES: &str = "types";

/// The interfaces of a world that need glue.
pub(super) struct Contract<'a> {
    pub(super) resolve: &'a Resolve,
    pub(super) imports: Vec<Interface<'a>>,
    pub(super) exports: Vec<Interface<'a>>,
    sizes: SizeAlign,
}

/// An interface that a world imports or exports.
pub(super) struct Interface<'a> {
    /// The name without the package, in kebab case: `log`.
    pub(super) name: &'a str,
    /// The name with the package and its version: `device:behaviour/log@0.1.2`.
    pub(super) full_name: String,
    /// The parsed definition.
    pub(super) wit: &'a wit_parser::Interface,
}

/// A type with aliases resolved.
pub(super) enum Shape<'a> {
    Bool,
    Char,
    Integer {
        bits: u32,
        signed: bool,
    },
    Float {
        bits: u32,
    },
    Text,
    /// A `string` under the alias `json`.
    Json,
    /// `list<u8>`.
    Bytes,
    List(&'a Type),
    Option(&'a Type),
    Tuple(&'a [Type]),
    Record(&'a Record),
    Variant(&'a Variant),
    Enum(&'a Enum),
    Result(Option<&'a Type>, Option<&'a Type>),
}

impl<'a> Interface<'a> {
    pub(super) fn functions(&self) -> impl Iterator<Item = &'a Function> + use<'a> {
        self.wit.functions.values()
    }

    /// Returns the records, variants and enums that the interface defines.
    pub(super) fn types(&self, resolve: &'a Resolve) -> impl Iterator<Item = Type> + use<'a> {
        let defined = self.wit.types.values().copied();
        let defined = defined.filter(|id| {
            use TypeDefKind::{Enum, Record, Variant};
            matches!(resolve.types[*id].kind, Record(_) | Variant(_) | Enum(_))
        });
        defined.map(Type::Id)
    }
}

impl<'a> Contract<'a> {
    /// Collects the interfaces of a world and checks that all their types are supported.
    pub(super) fn new(resolve: &'a Resolve, world: WorldId) -> anyhow::Result<Contract<'a>> {
        let mut sizes = SizeAlign::default();
        sizes.fill(resolve);
        let world = &resolve.worlds[world];
        let imports = interfaces(resolve, world.imports.iter());
        let exports = interfaces(resolve, world.exports.iter());
        let contract = Contract { resolve, imports, exports, sizes };
        for interface in contract.imports.iter().chain(&contract.exports) {
            contract.check(interface).with_context(|| format!("interface `{}`", interface.name))?;
        }
        check_items(resolve, "import", world.imports.iter())?;
        check_items(resolve, "export", world.exports.iter())?;
        Ok(contract)
    }

    /// Returns the name, in kebab case, of the function that the author writes for an
    /// export. The interface is a prefix if several exported interfaces have a function
    /// of this name.
    pub(super) fn export_name(&self, interface: &Interface<'_>, function: &Function) -> String {
        let functions = self.exports.iter().flat_map(Interface::functions);
        match functions.filter(|other| other.name == function.name).count() {
            1 => function.name.clone(),
            _ => format!("{}-{}", interface.name, function.name),
        }
    }

    /// Returns the name of an export in the core module.
    pub(super) fn core_name(interface: &Interface<'_>, function: &Function) -> String {
        format!("{}#{}", interface.full_name, function.name)
    }

    /// Returns the core parameters and results. The pointer to a result in memory is a
    /// result of an export and a parameter of an import.
    pub(super) fn signature(&self, function: &Function, variant: AbiVariant) -> WasmSignature {
        self.resolve.wasm_signature(variant, function)
    }

    /// Returns the number of core values that represent a parameter of this type.
    pub(super) fn flat_count(&self, ty: &Type) -> usize {
        match self.shape(ty) {
            Shape::Text | Shape::Json | Shape::Bytes | Shape::List(_) => 2,
            Shape::Option(inner) => 1 + self.flat_count(inner),
            Shape::Tuple(types) => types.iter().map(|ty| self.flat_count(ty)).sum(),
            Shape::Record(record) => {
                record.fields.iter().map(|field| self.flat_count(&field.ty)).sum()
            }
            _ => 1,
        }
    }

    /// Returns the structure of a type that [`Contract::new`] has checked.
    pub(super) fn shape(&self, ty: &Type) -> Shape<'a> {
        let integer = |bits, signed| Shape::Integer { bits, signed };
        match *ty {
            Type::Bool => Shape::Bool,
            Type::Char => Shape::Char,
            Type::U8 => integer(8, false),
            Type::U16 => integer(16, false),
            Type::U32 => integer(32, false),
            Type::U64 => integer(64, false),
            Type::S8 => integer(8, true),
            Type::S16 => integer(16, true),
            Type::S32 => integer(32, true),
            Type::S64 => integer(64, true),
            Type::F32 => Shape::Float { bits: 32 },
            Type::F64 => Shape::Float { bits: 64 },
            Type::String => Shape::Text,
            Type::ErrorContext => unreachable!("`Contract::new` refuses such types"),
            Type::Id(id) => {
                let resolve: &'a Resolve = self.resolve;
                match &resolve.types[id].kind {
                    TypeDefKind::Type(inner)
                        if resolve.types[id].name.as_deref() == Some("json") =>
                    {
                        match self.shape(inner) {
                            Shape::Text => Shape::Json,
                            other => other,
                        }
                    }
                    TypeDefKind::Type(inner) => self.shape(inner),
                    TypeDefKind::List(Type::U8) => Shape::Bytes,
                    TypeDefKind::List(inner) => Shape::List(inner),
                    TypeDefKind::Option(inner) => Shape::Option(inner),
                    TypeDefKind::Tuple(tuple) => Shape::Tuple(&tuple.types),
                    TypeDefKind::Record(record) => Shape::Record(record),
                    TypeDefKind::Variant(variant) => Shape::Variant(variant),
                    TypeDefKind::Enum(kind) => Shape::Enum(kind),
                    TypeDefKind::Result(result) => {
                        Shape::Result(result.ok.as_ref(), result.err.as_ref())
                    }
                    _ => unreachable!("`Contract::new` refuses such types"),
                }
            }
        }
    }

    /// Returns the interface that defines a named type, `None` for the shared types, and
    /// the type's name.
    pub(super) fn name(&self, ty: &Type) -> (Option<&'a str>, &'a str) {
        let definition = self.definition(ty).expect("records, variants and enums have a name");
        let TypeOwner::Interface(owner) = definition.owner else { return (None, name(definition)) };
        let owner = self.resolve.interfaces[owner].name.as_deref();
        (owner.filter(|owner| *owner != SHARED_TYPES), name(definition))
    }

    /// Returns the type's name in Pascal case. `Error` becomes `HostError`, since it is a global
    /// class of AssemblyScript and TypeScript.
    pub(super) fn class_name(&self, ty: &Type) -> String {
        match pascal(self.name(ty).1).as_str() {
            "Error" => "HostError".into(),
            name => name.to_owned(),
        }
    }

    pub(super) fn docs(&self, ty: &Type) -> &'a Docs {
        &self.definition(ty).expect("records, variants and enums are defined").docs
    }

    fn definition(&self, ty: &Type) -> Option<&'a TypeDef> {
        let Type::Id(id) = ty else { return None };
        let definition = &self.resolve.types[*id];
        match &definition.kind {
            TypeDefKind::Type(inner) => self.definition(inner),
            _ => Some(definition),
        }
    }

    /// Returns the type's size in memory, in bytes.
    pub(super) fn size(&self, ty: &Type) -> usize {
        self.sizes.size(ty).size_wasm32()
    }

    /// Returns the type's alignment in memory, in bytes.
    pub(super) fn align(&self, ty: &Type) -> usize {
        self.sizes.align(ty).align_wasm32()
    }

    /// Returns each type with its offset in a record of these types, in bytes.
    pub(super) fn offsets<'t>(
        &self,
        types: impl IntoIterator<Item = &'t Type>,
    ) -> Vec<(usize, &'t Type)> {
        let mut end = 0;
        let offsets = types.into_iter().map(|ty| {
            let offset = usize::next_multiple_of(end, self.align(ty));
            end = offset + self.size(ty);
            (offset, ty)
        });
        offsets.collect()
    }

    /// Returns the offset of the payload after a tag of one byte, in bytes. It is the
    /// same for all cases.
    pub(super) fn payload_offset<'t>(
        &self,
        payloads: impl IntoIterator<Item = Option<&'t Type>>,
    ) -> usize {
        payloads.into_iter().flatten().map(|ty| self.align(ty)).max().unwrap_or(1)
    }

    /// Returns the offset of a variant's payload, in bytes.
    pub(super) fn variant_payload(&self, variant: &Variant) -> usize {
        self.payload_offset(variant.cases.iter().map(|case| case.ty.as_ref()))
    }

    /// Returns the case for an error that is not part of the contract: `failed` or, if there
    /// is no such case, `other`.
    pub(super) fn catch_all(&self, variant: &Variant) -> Option<&'static str> {
        let with_text = |name: &&str| {
            let mut cases = variant.cases.iter().filter(|case| case.name == *name);
            cases.any(|case| case.ty.is_some_and(|ty| matches!(self.shape(&ty), Shape::Text)))
        };
        ["failed", "other"].into_iter().find(with_text)
    }

    /// Returns the size of a buffer that can hold the result of any function of these
    /// interfaces, in bytes.
    pub(super) fn result_buffer_size(&self, interfaces: &[Interface<'_>]) -> usize {
        let functions = interfaces.iter().flat_map(Interface::functions);
        let results = functions.filter_map(|function| function.result.as_ref());
        results.map(|ty| self.size(ty)).max().unwrap_or(0).next_multiple_of(8).max(8)
    }
}

fn name(definition: &TypeDef) -> &str {
    definition.name.as_deref().expect("records, variants and enums have a name")
}

/// Returns the interfaces that need glue.
fn interfaces<'a>(
    resolve: &'a Resolve,
    items: impl Iterator<Item = (&'a WorldKey, &'a WorldItem)>,
) -> Vec<Interface<'a>> {
    let interfaces = items.filter_map(|(key, item)| {
        let WorldItem::Interface { id, .. } = item else { return None };
        let wit = &resolve.interfaces[*id];
        let is_ours = is_contract(&resolve.packages[wit.package?].name);
        let name = wit.name.as_deref().filter(|_| is_ours)?;
        Some(Interface { name, full_name: resolve.name_world_key(key), wit })
    });
    interfaces.collect()
}

/// Refuses items of a world that no host lends or calls.
fn check_items<'a>(
    resolve: &Resolve,
    direction: &str,
    items: impl Iterator<Item = (&'a WorldKey, &'a WorldItem)>,
) -> anyhow::Result<()> {
    for (key, item) in items {
        let reason = match item {
            WorldItem::Function(_) => "is a function without an interface",
            // Only functions without an interface use such a type.
            WorldItem::Type { .. } => continue,
            WorldItem::Interface { id, .. } => {
                let wit = &resolve.interfaces[*id];
                let package = wit.package.map(|package| &resolve.packages[package].name);
                match package {
                    _ if wit.name.is_none() => "is an inline interface",
                    Some(package) if is_contract(package) || package.namespace == "wasi" => {
                        continue;
                    }
                    _ => "is not an interface of `device:behaviour`",
                }
            }
        };
        bail!("{direction} `{}` {reason}: remove it, as {ONLY}", resolve.name_world_key(key));
    }
    Ok(())
}

/// Returns `true` for the package whose interfaces need glue.
fn is_contract(package: &PackageName) -> bool {
    (package.namespace.as_str(), package.name.as_str()) == PACKAGE
}

/// Converts kebab case to camel case: `report-and-wait` to `reportAndWait`.
pub(super) fn camel(kebab: &str) -> String {
    let mut words = kebab.split('-');
    let first = words.next().unwrap_or_default().to_lowercase();
    words.fold(first, |name, word| name + &capitalise(word))
}

/// Converts kebab case to Pascal case: `report-and-wait` to `ReportAndWait`.
pub(super) fn pascal(kebab: &str) -> String {
    kebab.split('-').map(capitalise).collect()
}

/// Converts kebab case to snake case: `report-and-wait` to `report_and_wait`.
pub(super) fn snake(kebab: &str) -> String {
    kebab.replace('-', "_").to_lowercase()
}

fn capitalise(word: &str) -> String {
    let mut characters = word.chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(characters).collect()
}

/// Returns the lines of a doc comment, each prefixed with a marker such as `/// `.
pub(super) fn comment(docs: &Docs, marker: &str) -> String {
    let text = docs.contents.as_deref().unwrap_or_default().trim_end();
    text.lines().map(|line| format!("{}\n", format!("{marker}{line}").trim_end())).collect()
}

/// Returns a doc comment in the `/** ... */` syntax of JavaScript, or an empty string.
pub(super) fn block_comment(docs: &Docs, indent: &str) -> String {
    let text = docs.contents.as_deref().unwrap_or_default().trim().replace("*/", "* /");
    match text.lines().count() {
        0 => String::new(),
        1 => format!("{indent}/** {text} */\n"),
        _ => {
            let lines =
                text.lines().map(|line| format!("{}\n", format!("{indent} * {line}").trim_end()));
            format!("{indent}/**\n{}{indent} */\n", lines.collect::<String>())
        }
    }
}

/// Indents every non-empty line by `width` spaces.
pub(super) fn indented(text: &str, width: usize) -> String {
    let lines = text.lines().map(|line| match line {
        "" => "\n".to_owned(),
        line => format!("{:width$}{line}\n", ""),
    });
    lines.collect()
}
