//! D types, and the conversion of values between D and the host.

use wit_parser::abi::WasmType;
use wit_parser::{Function, Type};

use crate::build::glue::contract::{Contract, Shape, camel};

/// Returns the D type for a WIT type.
pub(super) fn type_name(contract: &Contract<'_>, ty: &Type) -> String {
    match contract.shape(ty) {
        Shape::Bool => "bool".into(),
        Shape::Char => "uint".into(),
        Shape::Integer { bits, signed } => {
            let name = match bits {
                8 => return if signed { "byte".into() } else { "ubyte".into() },
                16 => "short",
                32 => "int",
                _ => "long",
            };
            format!("{}{name}", if signed { "" } else { "u" })
        }
        Shape::Float { bits: 32 } => "float".into(),
        Shape::Float { .. } => "double".into(),
        Shape::Text | Shape::Bytes => "string".into(),
        Shape::Json => "Json".into(),
        Shape::List(inner) => format!("{}[]", type_name(contract, inner)),
        Shape::Option(inner) => format!("Option!({})", type_name(contract, inner)),
        Shape::Tuple(types) => {
            let names: Vec<String> = types.iter().map(|ty| type_name(contract, ty)).collect();
            match names.windows(2).all(|pair| pair[0] == pair[1]) && !names.is_empty() {
                true => format!("{}[{}]", names[0], names.len()),
                false => format!("Tuple!({})", names.join(", ")),
            }
        }
        Shape::Record(_) | Shape::Variant(_) | Shape::Enum(_) => {
            let name = contract.class_name(ty);
            match contract.name(ty).0 {
                Some(interface) => format!("{}.{name}", identifier(&camel(interface))),
                None => name,
            }
        }
        Shape::Result(..) => unreachable!("`Contract::new` refuses nested results"),
    }
}

/// Returns the D type of a function's result.
pub(super) fn result_type(contract: &Contract<'_>, function: &Function) -> String {
    let name = |ty: Option<&Type>, none: &str| {
        ty.map_or_else(|| none.to_owned(), |ty| type_name(contract, ty))
    };
    match &function.result {
        None => "void".into(),
        Some(ty) => match contract.shape(ty) {
            Shape::Result(ok, err) => {
                format!("Result!({}, {})", name(ok, "void"), name(err, "NoReason"))
            }
            _ => type_name(contract, ty),
        },
    }
}

/// Returns the core values of a parameter or result.
pub(super) fn lowered(contract: &Contract<'_>, value: &str, ty: &Type) -> Vec<String> {
    match contract.shape(ty) {
        Shape::Text | Shape::Json | Shape::Bytes | Shape::List(_) => {
            vec![format!("abi.lowered({value})"), format!("{value}.length")]
        }
        Shape::Option(inner) => {
            let mut values = vec![format!("{value}.present")];
            values.extend(lowered(contract, &format!("{value}.value"), inner));
            values
        }
        Shape::Tuple(types) => {
            let items = if type_name(contract, ty).ends_with(']') { "" } else { ".items" };
            let members = types.iter().enumerate();
            let members = members.map(|(i, ty)| (format!("{value}{items}[{i}]"), ty));
            members.flat_map(|(value, ty)| lowered(contract, &value, ty)).collect()
        }
        Shape::Record(record) => {
            let fields = record.fields.iter();
            let fields = fields
                .map(|field| (format!("{value}.{}", identifier(&camel(&field.name))), &field.ty));
            fields.flat_map(|(value, ty)| lowered(contract, &value, ty)).collect()
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
        values.collect::<Vec<_>>().join(", ")
    };
    match contract.shape(ty) {
        Shape::Text | Shape::Json | Shape::Bytes => {
            format!("cast(string) abi.list!char(p{first}, p{})", first + 1)
        }
        Shape::List(inner) => {
            format!("abi.list!({})(p{first}, p{})", type_name(contract, inner), first + 1)
        }
        Shape::Option(inner) => {
            let (name, value) = (type_name(contract, inner), lifted(contract, first + 1, inner));
            format!("(p{first} ? some!({name})({value}) : none!({name}))")
        }
        Shape::Tuple(types) => {
            let values = members(&mut types.iter());
            let name = type_name(contract, ty);
            match name.ends_with(']') {
                true => format!("cast({name}) [{values}]"),
                false => format!("{name}({values})"),
            }
        }
        Shape::Record(record) => {
            let values = members(&mut record.fields.iter().map(|field| &field.ty));
            format!("{}({values})", type_name(contract, ty))
        }
        _ => from_core(contract, &format!("p{first}"), ty),
    }
}

/// Returns the expression that converts a core value to a scalar.
pub(super) fn from_core(contract: &Contract<'_>, value: &str, ty: &Type) -> String {
    format!("cast({}) {value}", type_name(contract, ty))
}

/// Returns the D type of a core value.
pub(super) fn core(ty: &WasmType) -> &'static str {
    match ty {
        WasmType::I64 | WasmType::PointerOrI64 => "ulong",
        WasmType::F32 => "float",
        WasmType::F64 => "double",
        WasmType::I32 => "uint",
        WasmType::Pointer | WasmType::Length => "size_t",
    }
}

/// Returns the name as an identifier, with a trailing underscore if it is a keyword.
pub(super) fn identifier(name: &str) -> String {
    const KEYWORDS: &str = " abstract alias align asm assert auto bool break byte case cast catch char class const continue dchar debug default delegate delete deprecated do double else enum export extern false final finally float for foreach function goto if immutable import in inout int interface invariant is lazy long macro mixin module new nothrow null out override package pragma private protected public pure real ref return scope shared short static struct super switch synchronized template this throw true try typeid typeof ubyte uint ulong union unittest ushort version void wchar while with ";
    match KEYWORDS.contains(&format!(" {name} ")) {
        true => format!("{name}_"),
        false => name.to_owned(),
    }
}
