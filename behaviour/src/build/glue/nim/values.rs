//! Nim types, and the conversion of values between Nim and the host.

use std::fmt::Write as _;

use wit_parser::Type;
use wit_parser::abi::WasmType;

use crate::build::glue::contract::{Contract, Shape, camel, pascal};

/// Returns the Nim type for a WIT type.
pub(super) fn type_name(contract: &Contract<'_>, ty: &Type) -> String {
    match contract.shape(ty) {
        Shape::Bool => "bool".into(),
        Shape::Char => "uint32".into(),
        Shape::Integer { bits, signed } => format!("{}int{bits}", if signed { "" } else { "u" }),
        Shape::Float { bits } => format!("float{bits}"),
        Shape::Text | Shape::Bytes => "string".into(),
        Shape::Json => "Json".into(),
        Shape::List(inner) => format!("seq[{}]", type_name(contract, inner)),
        Shape::Option(inner) => format!("Option[{}]", type_name(contract, inner)),
        Shape::Tuple(types) => {
            let types: Vec<String> = types.iter().map(|ty| type_name(contract, ty)).collect();
            format!("({})", types.join(", "))
        }
        Shape::Record(_) | Shape::Variant(_) | Shape::Enum(_) => pascal(contract.name(ty).1),
        Shape::Result(..) => unreachable!("`Contract::new` refuses nested results"),
    }
}

/// Returns the core values of a parameter, and appends the statements that prepare them to
/// `before`.
pub(super) fn lowered(
    contract: &Contract<'_>,
    value: &str,
    ty: &Type,
    before: &mut String,
) -> Vec<String> {
    match contract.shape(ty) {
        Shape::Bool | Shape::Enum(_) => vec![format!("uint32(ord({value}))")],
        Shape::Integer { bits: 64, signed: true } => vec![format!("cast[uint64]({value})")],
        Shape::Integer { signed: true, .. } => vec![format!("cast[uint32](int32({value}))")],
        Shape::Integer { bits: 8 | 16, .. } => vec![format!("uint32({value})")],
        Shape::Text | Shape::Json | Shape::Bytes => {
            vec![format!("data({value})"), format!("uint({value}.len)")]
        }
        Shape::List(_) => vec![format!("lowered({value})"), format!("uint({value}.len)")],
        Shape::Option(inner) => {
            // The host reads the value during the call, which must therefore be a variable.
            let some: String = value.chars().filter(char::is_ascii_alphanumeric).collect();
            let some = format!("{some}Value");
            let default = format!("default({})", type_name(contract, inner));
            let _ = writeln!(before, "  let {some} = {value}.get({default})");
            let mut values = vec![format!("uint32(ord({value}.isSome))")];
            values.extend(lowered(contract, &some, inner, before));
            values
        }
        Shape::Tuple(types) => {
            let members = types.iter().enumerate();
            members
                .flat_map(|(i, ty)| lowered(contract, &format!("{value}[{i}]"), ty, before))
                .collect()
        }
        Shape::Record(record) => {
            let fields = record.fields.iter();
            let fields = fields.map(|field| (quoted(&camel(&field.name)), &field.ty));
            fields
                .flat_map(|(f, ty)| lowered(contract, &format!("{value}.{f}"), ty, before))
                .collect()
        }
        _ => vec![value.to_owned()],
    }
}

/// Returns the expression for a parameter whose first core value is `p{first}`.
pub(super) fn lifted(contract: &Contract<'_>, first: usize, ty: &Type) -> String {
    let members = |types: &mut dyn Iterator<Item = &Type>| {
        let mut next = first;
        let values = types.map(|ty| {
            let value = lifted(contract, next, ty);
            next += contract.flat_count(ty);
            value
        });
        values.collect::<Vec<_>>()
    };
    match contract.shape(ty) {
        Shape::Text | Shape::Json | Shape::Bytes => format!("taken(p{first}, p{})", first + 1),
        Shape::List(inner) => {
            format!("loadList[{}](p{first}, p{})", type_name(contract, inner), first + 1)
        }
        Shape::Option(inner) => {
            let (value, name) = (lifted(contract, first + 1, inner), type_name(contract, inner));
            format!("(if p{first} == 0: none({name}) else: some({value}))")
        }
        Shape::Tuple(types) => format!("({})", members(&mut types.iter()).join(", ")),
        Shape::Record(record) => {
            let values = members(&mut record.fields.iter().map(|field| &field.ty));
            let fields = record.fields.iter().zip(values);
            let fields = fields.map(|(it, value)| format!("{}: {value}", quoted(&camel(&it.name))));
            format!("{}({})", type_name(contract, ty), fields.collect::<Vec<_>>().join(", "))
        }
        _ => from_core(contract, &format!("p{first}"), ty),
    }
}

/// Returns the expression that converts a core value to a scalar.
pub(super) fn from_core(contract: &Contract<'_>, value: &str, ty: &Type) -> String {
    match contract.shape(ty) {
        Shape::Bool => format!("({value} != 0)"),
        Shape::Integer { signed: true, .. } => {
            format!("cast[{}]({value})", type_name(contract, ty))
        }
        Shape::Integer { bits: 32 | 64, .. } | Shape::Float { .. } | Shape::Char => {
            value.to_owned()
        }
        _ => format!("{}({value})", type_name(contract, ty)),
    }
}

pub(super) fn core_parameters(types: &[WasmType]) -> String {
    let listed = types.iter().enumerate().map(|(i, ty)| format!("p{i}: {}", core(ty)));
    listed.collect::<Vec<_>>().join(", ")
}

pub(super) fn core(ty: &WasmType) -> &'static str {
    match ty {
        WasmType::I64 | WasmType::PointerOrI64 => "uint64",
        WasmType::F32 => "float32",
        WasmType::F64 => "float64",
        WasmType::I32 => "uint32",
        WasmType::Pointer | WasmType::Length => "uint",
    }
}

/// Returns the name of a parameter, which must not hide a name that the glue uses.
pub(super) fn local(name: &str) -> String {
    const USED: [&str; 5] = ["result", "place", "start", "data", "lowered"];
    let name = camel(name);
    if USED.contains(&&*name) { format!("{name}Given") } else { quoted(&name) }
}

/// Returns the name as an identifier. Keywords are quoted with backticks.
pub(super) fn quoted(name: &str) -> String {
    const KEYWORDS: &str = " addr and as asm bind block break case cast concept const continue converter defer discard distinct div do elif else end enum except export finally for from func if import in include interface is isnot iterator let macro method mixin mod nil not notin object of or out proc ptr raise ref return shl shr static template try tuple type using var when while xor yield ";
    match KEYWORDS.contains(&format!(" {name} ")) {
        true => format!("`{name}`"),
        false => name.to_owned(),
    }
}
