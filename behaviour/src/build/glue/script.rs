//! Glue for JavaScript and TypeScript: a module for each interface that the host
//! implements. The module checks the values that the plugin passes to the host, and
//! converts the values that the host returns. `script/values.js` implements the types.

use std::collections::BTreeSet;

use wit_parser::{Function, Type};

use super::contract::{Contract, Interface, Shape, camel, pascal};
use super::typescript::identifier;

/// A module that wraps the engine's module for an interface.
pub(crate) struct Lent {
    /// The full name of the interface, which the plugin imports.
    pub(crate) full_name: String,
    /// The name by which this module imports the engine's module.
    pub(crate) engine_name: String,
    /// The name of the module's file.
    pub(crate) file: String,
    /// The contents of the file.
    pub(crate) text: String,
}

/// Returns a module for each imported interface that has functions.
pub(super) fn modules(contract: &Contract<'_>) -> Vec<Lent> {
    let with_functions =
        contract.imports.iter().filter(|interface| interface.functions().next().is_some());
    with_functions.map(|interface| module(contract, interface)).collect()
}

/// Returns the name by which the module for an interface imports the engine's module.
pub(crate) fn engine_name(interface: &str) -> String {
    format!("engine:{interface}")
}

fn module(contract: &Contract<'_>, interface: &Interface<'_>) -> Lent {
    let engine_name = engine_name(interface.name);
    let (mut types, mut functions, mut exports) = (Types::default(), String::new(), Vec::new());
    for function in interface.functions() {
        let name = camel(&function.name);
        let local = identifier(&name);
        let call = lent(contract, function, &mut types);
        functions += &format!("const {local} = /* @__PURE__ */ {call};\n");
        exports.push(if local == name { name } else { format!("{local} as {name}") });
    }
    let members = exports.iter().map(|export| match export.split_once(" as ") {
        Some((local, name)) => format!("{name}: {local}"),
        None => export.clone(),
    });
    let text = format!(
        "import * as host from '{engine_name}';\nimport {{ {} }} from '../values.js';\n\n{}{functions}\nexport {{ {} }};\nexport default {{ {} }};\n",
        types.used.iter().copied().collect::<Vec<_>>().join(", "),
        types.named.iter().map(|(name, ty)| format!("const {name} = {ty};\n")).collect::<String>(),
        exports.join(", "),
        members.collect::<Vec<_>>().join(", "),
    );
    let file = format!("{}.js", interface.name);
    Lent { full_name: interface.full_name.clone(), engine_name, file, text }
}

/// The types that a module uses.
#[derive(Default)]
struct Types {
    /// The names and definitions of named types. Each type follows the types that it uses.
    named: Vec<(String, String)>,
    /// The names that the module imports from `values.js`.
    used: BTreeSet<&'static str>,
}

impl Types {
    fn take(&mut self, name: &'static str) -> &'static str {
        self.used.insert(name);
        name
    }

    fn constructor_call<'t>(
        &mut self,
        contract: &Contract<'_>,
        constructor: &'static str,
        types: impl IntoIterator<Item = &'t Type>,
    ) -> String {
        let types = types.into_iter().map(|ty| self.of(contract, ty)).collect::<Vec<_>>();
        format!("{}({})", self.take(constructor), types.join(", "))
    }

    /// Returns the expression for a type.
    fn of(&mut self, contract: &Contract<'_>, ty: &Type) -> String {
        let expression = match contract.shape(ty) {
            Shape::Bool => return self.take("bool").to_owned(),
            Shape::Char => return self.take("char").to_owned(),
            Shape::Integer { bits, signed } => {
                return self.take(integer(bits, signed)).to_owned();
            }
            Shape::Float { .. } => return self.take("float").to_owned(),
            Shape::Text | Shape::Json => return self.take("text").to_owned(),
            Shape::Bytes => return self.take("bytes").to_owned(),
            Shape::List(item) => return self.constructor_call(contract, "list", [item]),
            // The engine represents nested options as objects with a `tag`.
            Shape::Option(some) if matches!(contract.shape(some), Shape::Option(_)) => {
                return self.cases(contract, [("none", None), ("some", Some(some))]);
            }
            Shape::Option(some) => return self.constructor_call(contract, "option", [some]),
            Shape::Tuple(types) => return self.constructor_call(contract, "tuple", types),
            Shape::Result(ok, err) => return self.cases(contract, [("ok", ok), ("err", err)]),
            Shape::Record(record) => {
                let fields = record.fields.iter().map(|field| {
                    format!("{}: {}", camel(&field.name), self.of(contract, &field.ty))
                });
                let fields = fields.collect::<Vec<_>>().join(", ");
                format!("{}({{ {fields} }})", self.take("record"))
            }
            Shape::Variant(variant) => {
                let cases = variant.cases.iter();
                let cases = cases.map(|case| (case.name.as_str(), case.ty.as_ref()));
                self.cases(contract, cases)
            }
            Shape::Enum(kind) => {
                let names = kind.cases.iter().map(|case| format!("'{}'", case.name));
                let names = names.collect::<Vec<_>>().join(", ");
                format!("{}({names})", self.take("oneOf"))
            }
        };
        let (owner, name) = contract.name(ty);
        let name = pascal(owner.unwrap_or("types")) + &pascal(name);
        if !self.named.iter().any(|(known, _)| *known == name) {
            self.named.push((name.clone(), expression));
        }
        name
    }

    fn cases<'t>(
        &mut self,
        contract: &Contract<'_>,
        cases: impl IntoIterator<Item = (&'t str, Option<&'t Type>)>,
    ) -> String {
        let cases = cases.into_iter().map(|(name, ty)| {
            let ty = ty.map_or("null".into(), |ty| self.of(contract, ty));
            format!("'{name}': {ty}")
        });
        let cases = cases.collect::<Vec<_>>().join(", ");
        format!("{}({{ {cases} }})", self.take("variant"))
    }
}

fn integer(bits: u32, signed: bool) -> &'static str {
    match (bits, signed) {
        (8, false) => "u8",
        (16, false) => "u16",
        (32, false) => "u32",
        (_, false) => "u64",
        (8, true) => "s8",
        (16, true) => "s16",
        (32, true) => "s32",
        (_, true) => "s64",
    }
}

/// Returns the expression for the wrapper of one of the engine's functions.
fn lent(contract: &Contract<'_>, function: &Function, types: &mut Types) -> String {
    let name = camel(&function.name);
    let parameters = function.params.iter().map(|parameter| {
        format!("{}: {}", camel(&parameter.name), types.of(contract, &parameter.ty))
    });
    let parameters = parameters.collect::<Vec<_>>().join(", ");
    let or_null = |types: &mut Types, ty: Option<&Type>| {
        ty.map_or("null".into(), |ty| types.of(contract, ty))
    };
    let result = match function.result.as_ref().map(|ty| (ty, contract.shape(ty))) {
        None => format!("{}(null)", types.take("result")),
        Some((_, Shape::Result(ok, err))) => {
            let (ok, err) = (or_null(types, ok), or_null(types, err));
            format!("{}({ok}, {err})", types.take("result"))
        }
        Some((ty, _)) => format!("{}({})", types.take("result"), types.of(contract, ty)),
    };
    format!("{}('{name}', host.{name}, {{ {parameters} }}, {result})", types.take("lent"))
}
