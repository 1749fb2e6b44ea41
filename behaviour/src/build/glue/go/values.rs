//! Go types, and the conversion of values between Go and the host.

use wit_parser::Type;
use wit_parser::abi::WasmType;

use crate::build::glue::contract::{Contract, Shape, pascal};

/// Returns the Go name of a record, variant or enum.
pub(super) fn name_of(contract: &Contract<'_>, ty: &Type) -> String {
    let (interface, name) = contract.name(ty);
    interface.map(pascal).unwrap_or_default() + &pascal(name)
}

/// Returns the Go type for a WIT type.
pub(super) fn type_name(contract: &Contract<'_>, ty: &Type) -> String {
    match contract.shape(ty) {
        Shape::Bool => "bool".into(),
        Shape::Char => "rune".into(),
        Shape::Integer { bits, signed } => format!("{}int{bits}", if signed { "" } else { "u" }),
        Shape::Float { bits } => format!("float{bits}"),
        Shape::Text => "string".into(),
        Shape::Json => "json.RawMessage".into(),
        Shape::Bytes => "[]byte".into(),
        Shape::List(inner) => format!("[]{}", type_name(contract, inner)),
        Shape::Option(inner) if is_bytes(contract, inner) => type_name(contract, inner),
        Shape::Option(inner) => format!("*{}", type_name(contract, inner)),
        Shape::Tuple(types) => tuple(contract, types),
        Shape::Record(_) | Shape::Variant(_) | Shape::Enum(_) => name_of(contract, ty),
        Shape::Result(..) => unreachable!("`Contract::new` refuses nested results"),
    }
}

/// Returns the Go type of a tuple: an array if all members have the same type, otherwise
/// an anonymous struct.
pub(super) fn tuple(contract: &Contract<'_>, types: &[Type]) -> String {
    let names: Vec<String> = types.iter().map(|ty| type_name(contract, ty)).collect();
    if names.windows(2).all(|pair| pair[0] == pair[1]) && !names.is_empty() {
        return format!("[{}]{}", names.len(), names[0]);
    }
    let fields = names.iter().enumerate().map(|(i, name)| format!("F{i} {name}"));
    format!("struct{{ {} }}", fields.collect::<Vec<_>>().join("; "))
}

/// Returns the selector of a tuple's member.
pub(super) fn member(contract: &Contract<'_>, types: &[Type], index: usize) -> String {
    match tuple(contract, types).starts_with('[') {
        true => format!("[{index}]"),
        false => format!(".F{index}"),
    }
}

/// Returns `true` if an absent value of this type is a nil slice. Values of other optional
/// types are pointers.
pub(super) fn is_bytes(contract: &Contract<'_>, ty: &Type) -> bool {
    matches!(contract.shape(ty), Shape::Json | Shape::Bytes)
}

/// Returns the Go expression for an offset from the variable `place`.
pub(super) fn address(offset: usize) -> String {
    match offset {
        0 => "place".to_owned(),
        offset => format!("unsafe.Add(place, {offset})"),
    }
}

/// Returns the Go function that loads a value from memory.
pub(super) fn load_function(contract: &Contract<'_>, ty: &Type) -> String {
    match contract.shape(ty) {
        Shape::Text => "loadText".into(),
        Shape::Bytes => "loadBytes".into(),
        Shape::Record(_) | Shape::Variant(_) => format!("load{}", name_of(contract, ty)),
        _ => {
            let (name, value) = (type_name(contract, ty), load(contract, "place", ty));
            format!("func(place unsafe.Pointer) {name} {{ return {value} }}")
        }
    }
}

/// Returns the Go expression that loads a value from an address.
pub(super) fn load(contract: &Contract<'_>, address: &str, ty: &Type) -> String {
    match contract.shape(ty) {
        Shape::Bool => format!("*at[uint8]({address}, 0) != 0"),
        Shape::Char | Shape::Integer { .. } | Shape::Float { .. } | Shape::Enum(_) => {
            format!("*at[{}]({address}, 0)", type_name(contract, ty))
        }
        Shape::Json => format!("json.RawMessage(loadBytes({address}))"),
        Shape::List(inner) => {
            let (size, load) = (contract.size(inner), load_function(contract, inner));
            format!("loadList({address}, {size}, {load})")
        }
        Shape::Option(inner) => {
            let offset = contract.payload_offset([Some(inner)]);
            let value = load(contract, &format!("unsafe.Add({address}, {offset})"), inner);
            option(contract, &format!("*at[uint8]({address}, 0) != 0"), &value, inner)
        }
        Shape::Tuple(types) => {
            let members = contract.offsets(types).into_iter().map(|(offset, ty)| {
                load(contract, &format!("unsafe.Add({address}, {offset})"), ty)
            });
            let members: Vec<String> = members.collect();
            format!("{}{{{}}}", type_name(contract, ty), members.join(", "))
        }
        _ => format!("{}({address})", load_function(contract, ty)),
    }
}

/// Returns the Go expression for an optional value. `value` is evaluated only if `is_some`
/// is true.
pub(super) fn option(contract: &Contract<'_>, is_some: &str, value: &str, inner: &Type) -> String {
    match is_bytes(contract, inner) {
        true => format!("optionalBytes({is_some}, func() []byte {{ return {value} }})"),
        false => {
            let name = type_name(contract, inner);
            format!("optional({is_some}, func() {name} {{ return {value} }})")
        }
    }
}

/// Returns the Go function that stores a value in memory.
pub(super) fn store_function(contract: &Contract<'_>, ty: &Type) -> String {
    match contract.shape(ty) {
        Shape::Text => "storeText".into(),
        Shape::Record(_) | Shape::Variant(_) => format!("store{}", name_of(contract, ty)),
        _ => {
            let (name, body) = (type_name(contract, ty), store(contract, "place", "value", ty));
            format!("func(place unsafe.Pointer, value {name}) {{\n{body}}}")
        }
    }
}

/// Returns the Go statements that store a value at an address, one per line.
pub(super) fn store(contract: &Contract<'_>, address: &str, value: &str, ty: &Type) -> String {
    match contract.shape(ty) {
        Shape::Bool => format!("\t*at[uint8]({address}, 0) = uint8(bit({value}))\n"),
        Shape::Char | Shape::Integer { .. } | Shape::Float { .. } | Shape::Enum(_) => {
            format!("\t*at[{}]({address}, 0) = {value}\n", type_name(contract, ty))
        }
        Shape::Json => format!("\tstoreText({address}, text({value}))\n"),
        Shape::Bytes => format!("\tstoreBytes({address}, text({value}))\n"),
        Shape::List(inner) => {
            let (size, store) = (contract.size(inner), store_function(contract, inner));
            format!("\tstoreList({address}, {value}, {size}, {store})\n")
        }
        Shape::Option(inner) => {
            let offset = contract.payload_offset([Some(inner)]);
            let some =
                if is_bytes(contract, inner) { value.to_owned() } else { format!("*{value}") };
            let some = store(contract, &format!("unsafe.Add({address}, {offset})"), &some, inner);
            format!(
                "\tif *at[uint8]({address}, 0) = uint8(bit({value} != nil)); {value} != nil {{\n\t{some}\t}}\n"
            )
        }
        Shape::Tuple(types) => {
            let members = contract.offsets(types).into_iter().enumerate();
            let stores = members.map(|(index, (offset, ty))| {
                let value = format!("{value}{}", member(contract, types, index));
                store(contract, &format!("unsafe.Add({address}, {offset})"), &value, ty)
            });
            stores.collect()
        }
        _ => format!("\t{}({address}, {value})\n", store_function(contract, ty)),
    }
}

/// Returns the arguments that pass a value to an import: Go expressions and their types.
pub(super) fn arguments(contract: &Contract<'_>, value: &str, ty: &Type) -> Vec<(String, String)> {
    let one = |value: String, name: &str| vec![(value, name.to_owned())];
    match contract.shape(ty) {
        Shape::Bool => one(format!("bit({value})"), "uint32"),
        Shape::Enum(_) | Shape::Char => one(format!("uint32({value})"), "uint32"),
        Shape::Integer { bits: 64, signed } => {
            one(value.to_owned(), if signed { "int64" } else { "uint64" })
        }
        Shape::Integer { signed: true, .. } => one(format!("int32({value})"), "int32"),
        Shape::Integer { .. } => one(format!("uint32({value})"), "uint32"),
        Shape::Float { bits } => one(value.to_owned(), &format!("float{bits}")),
        Shape::Text => one(format!("valid({value})"), "string"),
        Shape::Json => one(format!("valid(text({value}))"), "string"),
        Shape::Bytes => one(format!("text({value})"), "string"),
        Shape::List(inner) => {
            let (size, store) = (contract.size(inner), store_function(contract, inner));
            vec![
                (format!("lowered({value}, {size}, {store})"), "unsafe.Pointer".into()),
                (format!("uint32(len({value}))"), "uint32".into()),
            ]
        }
        Shape::Option(inner) => {
            let some = match is_bytes(contract, inner) {
                true => value.to_owned(),
                false => format!("valueOf({value})"),
            };
            let mut all = one(format!("bit({value} != nil)"), "uint32");
            all.extend(arguments(contract, &some, inner));
            all
        }
        Shape::Tuple(types) => {
            let members = types.iter().enumerate();
            let values =
                members.map(|(i, ty)| (format!("{value}{}", member(contract, types, i)), ty));
            values.flat_map(|(value, ty)| arguments(contract, &value, ty)).collect()
        }
        Shape::Record(record) => {
            let fields = record.fields.iter();
            let values =
                fields.map(|field| (format!("{value}.{}", pascal(&field.name)), &field.ty));
            values.flat_map(|(value, ty)| arguments(contract, &value, ty)).collect()
        }
        Shape::Variant(_) | Shape::Result(..) => {
            unreachable!("`Contract::new` refuses such parameters")
        }
    }
}

/// Returns the Go expression for a parameter whose first core value is `p{first}`.
pub(super) fn lifted(contract: &Contract<'_>, first: usize, ty: &Type) -> String {
    match contract.shape(ty) {
        Shape::Text => format!("string(taken(p{first}, p{}))", first + 1),
        Shape::Json | Shape::Bytes => format!("taken(p{first}, p{})", first + 1),
        Shape::List(inner) => {
            let (size, load) = (contract.size(inner), load_function(contract, inner));
            format!("list(p{first}, p{}, {size}, {load})", first + 1)
        }
        Shape::Option(inner) => {
            let value = lifted(contract, first + 1, inner);
            option(contract, &format!("p{first} != 0"), &value, inner)
        }
        Shape::Tuple(types) => members(contract, first, ty, types),
        Shape::Record(record) => {
            members(contract, first, ty, record.fields.iter().map(|field| &field.ty))
        }
        _ => from_core(contract, &format!("p{first}"), ty),
    }
}

/// Returns the Go expression for a struct or array whose first core value is `p{first}`.
pub(super) fn members<'t>(
    contract: &Contract<'_>,
    first: usize,
    whole: &Type,
    types: impl IntoIterator<Item = &'t Type>,
) -> String {
    let mut next = first;
    let values = types.into_iter().map(|ty| {
        let value = lifted(contract, next, ty);
        next += contract.flat_count(ty);
        value
    });
    format!("{}{{{}}}", type_name(contract, whole), values.collect::<Vec<_>>().join(", "))
}

/// Returns the Go expression that converts a core value to a scalar.
pub(super) fn from_core(contract: &Contract<'_>, value: &str, ty: &Type) -> String {
    match contract.shape(ty) {
        Shape::Bool => format!("{value} != 0"),
        _ => format!("{}({value})", type_name(contract, ty)),
    }
}

/// Returns the Go type of a core value.
pub(super) fn core(ty: &WasmType) -> &'static str {
    match ty {
        WasmType::I64 | WasmType::PointerOrI64 => "uint64",
        WasmType::F32 => "float32",
        WasmType::F64 => "float64",
        WasmType::I32 | WasmType::Pointer | WasmType::Length => "uint32",
    }
}
