//! The part of a world that glue is written for: the interfaces of
//! `device:behaviour`, their functions, and the layout of their types in memory.
//!
//! Other packages are left to the author: nothing but WASI has a host behind it.
//! Resources, streams and flags have no glue yet, and a contract that uses one is
//! refused as a whole, with the place named.

use anyhow::{Context as _, bail, ensure};
use wit_parser::abi::{AbiVariant, WasmSignature};
use wit_parser::{
    Docs, Enum, Function, Record, Resolve, SizeAlign, Type, TypeDef, TypeDefKind, TypeOwner,
    Variant, WorldId, WorldItem, WorldKey,
};

/// The package whose interfaces are taken.
const PACKAGE: (&str, &str) = ("device", "behaviour");

/// The interface whose types need no prefix.
const SHARED_TYPES: &str = "types";

pub(super) struct Contract<'a> {
    pub(super) resolve: &'a Resolve,
    pub(super) imports: Vec<Interface<'a>>,
    pub(super) exports: Vec<Interface<'a>>,
    sizes: SizeAlign,
}

pub(super) struct Interface<'a> {
    /// The last part of its name, in kebab case: `log`.
    pub(super) name: &'a str,
    /// The name with package and version: `device:behaviour/log@0.1.0`.
    pub(super) full_name: String,
    /// The docs and definitions.
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
    /// Text under the alias `json`.
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

    /// The records, variants and enums that the interface defines itself.
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
    /// Collects the interfaces of a world and checks that glue can carry them.
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
        Ok(contract)
    }

    /// The name of the function that the author writes for an export: the
    /// function's own, unless two exported interfaces share it.
    pub(super) fn export_name(&self, interface: &Interface<'_>, function: &Function) -> String {
        let of_that_name = self.exports.iter().flat_map(Interface::functions);
        match of_that_name.filter(|other| other.name == function.name).count() {
            1 => function.name.clone(),
            _ => format!("{}-{}", interface.name, function.name),
        }
    }

    /// The core module's own name for an export.
    pub(super) fn core_name(interface: &Interface<'_>, function: &Function) -> String {
        format!("{}#{}", interface.full_name, function.name)
    }

    /// The core parameters and results. An export has a result pointer among its
    /// results, an import among its parameters.
    pub(super) fn signature(&self, function: &Function, variant: AbiVariant) -> WasmSignature {
        self.resolve.wasm_signature(variant, function)
    }

    /// Returns the number of core values of a parameter of this type.
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
            Type::ErrorContext => unreachable!("checked when the contract was read"),
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
                    _ => unreachable!("checked when the contract was read"),
                }
            }
        }
    }

    /// The interface that defines a named type, `None` for the shared types, and
    /// the type's name.
    pub(super) fn name(&self, ty: &Type) -> (Option<&'a str>, &'a str) {
        let definition = self.definition(ty).expect("records, variants and enums have a name");
        let TypeOwner::Interface(owner) = definition.owner else { return (None, name(definition)) };
        let owner = self.resolve.interfaces[owner].name.as_deref();
        (owner.filter(|owner| *owner != SHARED_TYPES), name(definition))
    }

    /// The type's name where the language has a class `Error`, which it would hide.
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

    /// The type's size in memory, in bytes.
    pub(super) fn size(&self, ty: &Type) -> usize {
        self.sizes.size(ty).size_wasm32()
    }

    fn align(&self, ty: &Type) -> usize {
        self.sizes.align(ty).align_wasm32()
    }

    /// The offset of each of these when they lie one behind the other.
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

    /// The offset of the payload behind a tag of one byte, which is the same for
    /// all cases.
    pub(super) fn payload_offset<'t>(
        &self,
        payloads: impl IntoIterator<Item = Option<&'t Type>>,
    ) -> usize {
        payloads.into_iter().flatten().map(|ty| self.align(ty)).max().unwrap_or(1)
    }

    /// The offset of the payload of a variant.
    pub(super) fn variant_payload(&self, variant: &Variant) -> usize {
        self.payload_offset(variant.cases.iter().map(|case| case.ty.as_ref()))
    }

    /// The size of the largest result that a function of these interfaces leaves
    /// in memory, in bytes.
    pub(super) fn largest_result(&self, interfaces: &[Interface<'_>]) -> usize {
        let functions = interfaces.iter().flat_map(Interface::functions);
        let results = functions.filter_map(|function| function.result.as_ref());
        results.map(|ty| self.size(ty)).max().unwrap_or(0).next_multiple_of(8).max(8)
    }

    fn check(&self, interface: &Interface<'_>) -> anyhow::Result<()> {
        for id in interface.wit.types.values() {
            self.check_type(&Type::Id(*id))?;
        }
        for function in interface.functions() {
            self.check_function(function)
                .with_context(|| format!("function `{}`", function.name))?;
        }
        Ok(())
    }

    fn check_function(&self, function: &Function) -> anyhow::Result<()> {
        ensure!(!function.kind.is_async(), "an async function has no glue");
        for parameter in &function.params {
            self.check_type(&parameter.ty)?;
            self.check_parameter(&parameter.ty)
                .with_context(|| format!("parameter `{}`", parameter.name))?;
        }
        if let Some(ty) = &function.result {
            self.check_type(ty)?;
        }
        let signature = self.signature(function, AbiVariant::GuestImport);
        ensure!(!signature.indirect_params, "more than 16 core parameters have no glue");
        Ok(())
    }

    /// Cases of one variant share core values as parameters, for which no glue
    /// is written: no function of the contract takes one.
    fn check_parameter(&self, ty: &Type) -> anyhow::Result<()> {
        match self.shape(ty) {
            Shape::Variant(_) => bail!("a variant as a parameter has no glue"),
            Shape::Result(..) => bail!("a result as a parameter has no glue"),
            Shape::Option(inner) => self.check_parameter(inner),
            Shape::Tuple(types) => types.iter().try_for_each(|ty| self.check_parameter(ty)),
            Shape::Record(record) => {
                record.fields.iter().try_for_each(|field| self.check_parameter(&field.ty))
            }
            _ => Ok(()),
        }
    }

    fn check_type(&self, ty: &Type) -> anyhow::Result<()> {
        let Type::Id(id) = ty else {
            ensure!(*ty != Type::ErrorContext, "an error-context has no glue");
            return Ok(());
        };
        let definition = &self.resolve.types[*id];
        match &definition.kind {
            TypeDefKind::Type(inner) | TypeDefKind::List(inner) | TypeDefKind::Option(inner) => {
                self.check_type(inner)
            }
            TypeDefKind::Tuple(tuple) => tuple.types.iter().try_for_each(|ty| self.check_type(ty)),
            TypeDefKind::Record(record) => {
                record.fields.iter().try_for_each(|field| self.check_type(&field.ty))
            }
            TypeDefKind::Variant(variant) => {
                ensure!(variant.cases.len() <= 256, "more than 256 cases have no glue");
                let payloads = variant.cases.iter().filter_map(|case| case.ty.as_ref());
                payloads.into_iter().try_for_each(|ty| self.check_type(ty))
            }
            TypeDefKind::Enum(kind) => {
                ensure!(kind.cases.len() <= 256, "more than 256 cases have no glue");
                Ok(())
            }
            TypeDefKind::Result(result) => {
                result.ok.iter().chain(&result.err).try_for_each(|ty| self.check_type(ty))
            }
            other => bail!("a {} has no glue", other.as_str()),
        }
    }
}

fn name(definition: &TypeDef) -> &str {
    definition.name.as_deref().expect("records, variants and enums have a name")
}

fn interfaces<'a>(
    resolve: &'a Resolve,
    items: impl Iterator<Item = (&'a WorldKey, &'a WorldItem)>,
) -> Vec<Interface<'a>> {
    let interfaces = items.filter_map(|(key, item)| {
        let WorldItem::Interface { id, .. } = item else { return None };
        let wit = &resolve.interfaces[*id];
        let package = &resolve.packages[wit.package?].name;
        if (package.namespace.as_str(), package.name.as_str()) != PACKAGE {
            return None;
        }
        let name = wit.name.as_deref()?;
        Some(Interface { name, full_name: resolve.name_world_key(key), wit })
    });
    interfaces.collect()
}

/// `report-and-wait` as `reportAndWait`.
pub(super) fn camel(kebab: &str) -> String {
    let mut words = kebab.split('-');
    let first = words.next().unwrap_or_default().to_lowercase();
    words.fold(first, |name, word| name + &capital(word))
}

/// `report-and-wait` as `ReportAndWait`.
pub(super) fn pascal(kebab: &str) -> String {
    kebab.split('-').map(capital).collect()
}

/// `report-and-wait` as `report_and_wait`.
pub(super) fn snake(kebab: &str) -> String {
    kebab.replace('-', "_").to_lowercase()
}

fn capital(word: &str) -> String {
    let mut characters = word.chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(characters).collect()
}

/// The lines of a doc comment, each behind a mark such as `/// `.
pub(super) fn comment(docs: &Docs, mark: &str) -> String {
    let text = docs.contents.as_deref().unwrap_or_default().trim_end();
    text.lines().map(|line| format!("{}\n", format!("{mark}{line}").trim_end())).collect()
}

/// A doc comment of the kind that JavaScript's kin have.
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

/// Lines that stand two spaces further in.
pub(super) fn indented(text: &str) -> String {
    let lines = text.lines().map(|line| match line {
        "" => "\n".to_owned(),
        line => format!("  {line}\n"),
    });
    lines.collect()
}
