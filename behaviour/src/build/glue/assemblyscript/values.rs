//! AssemblyScript types, and the conversion of values between AssemblyScript and the host.

use wit_parser::Type;
use wit_parser::abi::WasmType;

use crate::build::glue::contract::{Contract, Shape, camel};

/// Returns the name of a field of a tuple's class.
pub(super) fn tuple_field(name: &str, index: usize) -> String {
    match (name, index) {
        ("Pair", 0) => "key".into(),
        ("Pair", _) => "value".into(),
        _ => format!("f{index}"),
    }
}

/// Returns the placeholder for an absent value.
pub(super) fn empty(contract: &Contract<'_>, ty: &Type) -> String {
    match contract.shape(ty) {
        Shape::Bool => "false".into(),
        Shape::Char | Shape::Integer { .. } | Shape::Float { .. } | Shape::Enum(_) => "0".into(),
        Shape::Text | Shape::Json => "\"\"".into(),
        Shape::Bytes => "new Uint8Array(0)".into(),
        Shape::List(_) => "[]".into(),
        Shape::Option(_) => "null".into(),
        _ => format!("changetype<{}>(0)", type_name(contract, ty)),
    }
}

/// Returns the AssemblyScript type for a WIT type.
pub(super) fn type_name(contract: &Contract<'_>, ty: &Type) -> String {
    match contract.shape(ty) {
        Shape::Bool => "bool".into(),
        Shape::Char => "u32".into(),
        Shape::Integer { bits, signed } => format!("{}{bits}", if signed { 'i' } else { 'u' }),
        Shape::Float { bits } => format!("f{bits}"),
        Shape::Text => "string".into(),
        Shape::Json => "Json".into(),
        Shape::Bytes => "Uint8Array".into(),
        Shape::List(inner) => format!("Array<{}>", type_name(contract, inner)),
        Shape::Option(inner) if is_scalar(contract, inner) => {
            format!("Some<{}> | null", type_name(contract, inner))
        }
        Shape::Option(inner) => format!("{} | null", type_name(contract, inner)),
        Shape::Tuple(types) => {
            let names: Vec<String> = types.iter().map(|ty| type_name(contract, ty)).collect();
            match names.as_slice() {
                [first, second] if first == "string" && second == "string" => "Pair".into(),
                names => {
                    let joined = names.join("_");
                    let legal = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
                    format!("Tuple_{}", joined.chars().map(legal).collect::<String>())
                }
            }
        }
        Shape::Record(_) | Shape::Variant(_) | Shape::Enum(_) => match contract.name(ty).0 {
            Some(interface) => {
                format!("{}.{}", identifier(&camel(interface)), contract.class_name(ty))
            }
            None => contract.class_name(ty),
        },
        Shape::Result(Some(ok), Some(err)) => {
            format!("Result<{}, {}>", nullable(contract, ok), type_name(contract, err))
        }
        Shape::Result(None, Some(err)) => format!("{} | null", type_name(contract, err)),
        Shape::Result(..) => "bool".into(),
    }
}

/// Returns `true` if values of this type are not objects and therefore cannot be null.
pub(super) fn is_scalar(contract: &Contract<'_>, ty: &Type) -> bool {
    use Shape::{Bool, Char, Enum, Float, Integer};
    matches!(contract.shape(ty), Bool | Char | Integer { .. } | Float { .. } | Enum(_))
}

/// Returns the type of a result's value, which is null if the result is an error and the
/// type allows null.
pub(super) fn nullable(contract: &Contract<'_>, ty: &Type) -> String {
    let name = type_name(contract, ty);
    match contract.shape(ty) {
        Shape::Record(_) | Shape::Variant(_) | Shape::Tuple(_) => format!("{name} | null"),
        _ => name,
    }
}

/// Returns the expression that loads a value from an address.
pub(super) fn load(contract: &Contract<'_>, at: &str, ty: &Type) -> String {
    match contract.shape(ty) {
        Shape::Bool => format!("load<u8>({at}) != 0"),
        Shape::Enum(_) => format!("<{}>load<u8>({at})", type_name(contract, ty)),
        Shape::Text | Shape::Json => format!("abi.loadText({at})"),
        Shape::Bytes => format!("abi.loadBytes({at})"),
        Shape::List(inner) => {
            let (name, size) = (type_name(contract, inner), contract.size(inner));
            let element = load(contract, "at", inner);
            format!("abi.loadList<{name}>({at}, {size}, (at: usize): {name} => {element})")
        }
        Shape::Option(inner) => {
            let offset = contract.payload_offset([Some(inner)]);
            let mut value = load(contract, &format!("{at} + {offset}"), inner);
            if is_scalar(contract, inner) {
                value = format!("new Some<{}>({value})", type_name(contract, inner));
            }
            format!("load<u8>({at}) != 0 ? {value} : null")
        }
        Shape::Tuple(_) | Shape::Record(_) | Shape::Variant(_) => {
            format!("{}.load({at})", type_name(contract, ty))
        }
        _ => format!("load<{}>({at})", type_name(contract, ty)),
    }
}

/// Returns the statement that stores a value at an address.
pub(super) fn store(contract: &Contract<'_>, at: &str, value: &str, ty: &Type) -> String {
    match contract.shape(ty) {
        Shape::Bool | Shape::Enum(_) => format!("store<u8>({at}, <u8>{value})"),
        Shape::Text | Shape::Json => format!("abi.storeText({at}, {value})"),
        Shape::Bytes => format!("abi.storeBytes({at}, {value})"),
        Shape::List(inner) => {
            let (size, element) = (contract.size(inner), storer(contract, inner));
            format!(
                "abi.storeList<{}>({at}, {value}, {size}, {element})",
                type_name(contract, inner)
            )
        }
        Shape::Option(inner) => {
            let offset = contract.payload_offset([Some(inner)]);
            let some = if is_scalar(contract, inner) { "some.value" } else { "some" };
            let stored = store(contract, &format!("{at} + {offset}"), some, inner);
            format!(
                "{{ const some = {value}; store<u8>({at}, some !== null); if (some !== null) {stored}; }}"
            )
        }
        Shape::Tuple(_) | Shape::Record(_) | Shape::Variant(_) => format!("{value}.store({at})"),
        _ => format!("store<{}>({at}, {value})", type_name(contract, ty)),
    }
}

/// Returns a function that stores one element of a list. It refers to no local variable,
/// since AssemblyScript has no closures.
pub(super) fn storer(contract: &Contract<'_>, ty: &Type) -> String {
    let (name, stored) = (type_name(contract, ty), store(contract, "at", "value", ty));
    format!("(at: usize, value: {name}): void => {{ {stored}; }}")
}

/// Returns the expression for an offset from the variable `at`.
pub(super) fn address(offset: usize) -> String {
    if offset == 0 { "at".into() } else { format!("at + {offset}") }
}

/// Appends the core values of a parameter to `values`, and the statements that prepare them
/// to `before`.
pub(super) fn arguments(
    contract: &Contract<'_>,
    name: &str,
    value: &str,
    ty: &Type,
    before: &mut String,
    values: &mut Vec<String>,
) {
    match contract.shape(ty) {
        Shape::Text | Shape::Json => {
            *before += &format!("  const {name}Bytes = new abi.Bytes({value});\n");
            values.extend([format!("{name}Bytes.ptr"), format!("{name}Bytes.len")]);
        }
        Shape::Bytes => {
            values.extend([format!("abi.addressOf({value})"), format!("{value}.length")]);
        }
        Shape::List(inner) => {
            let (item, size, store) =
                (type_name(contract, inner), contract.size(inner), storer(contract, inner));
            values.push(format!("abi.lowered<{item}>({value}, {size}, {store})"));
            values.push(format!("{value}.length"));
        }
        Shape::Option(inner) => {
            let (some, item) = (format!("{name}Some"), type_name(contract, inner));
            // The compiler checks variables for null, but not fields of objects.
            let given = format!("{name}Given");
            let present =
                if is_scalar(contract, inner) { format!("{given}.value") } else { given.clone() };
            let empty = empty(contract, inner);
            *before += &format!(
                "  const {given} = {value};\n  const {some}: {item} = {given} !== null ? {present} : {empty};\n"
            );
            values.push(format!("<u32>({given} !== null)"));
            arguments(contract, &some, &some, inner, before, values);
        }
        Shape::Tuple(types) => {
            let class = type_name(contract, ty);
            for (index, ty) in types.iter().enumerate() {
                let field = tuple_field(&class, index);
                arguments(
                    contract,
                    &format!("{name}_{field}"),
                    &format!("{value}.{field}"),
                    ty,
                    before,
                    values,
                );
            }
        }
        Shape::Record(record) => {
            for field in &record.fields {
                let own = identifier(&camel(&field.name));
                arguments(
                    contract,
                    &format!("{name}_{own}"),
                    &format!("{value}.{own}"),
                    &field.ty,
                    before,
                    values,
                );
            }
        }
        _ => values.push(value.to_owned()),
    }
}

/// Returns the expression for a parameter whose first core value is `p{first}`.
pub(super) fn lifted(contract: &Contract<'_>, first: usize, ty: &Type) -> String {
    let second = first + 1;
    match contract.shape(ty) {
        Shape::Text | Shape::Json => format!("abi.text(p{first}, p{second})"),
        Shape::Bytes => format!("abi.bytes(p{first}, p{second})"),
        Shape::List(inner) => {
            let (name, size) = (type_name(contract, inner), contract.size(inner));
            let element = load(contract, "at", inner);
            format!(
                "abi.list<{name}>(p{first}, p{second}, {size}, (at: usize): {name} => {element})"
            )
        }
        Shape::Option(inner) => {
            let mut value = lifted(contract, second, inner);
            if is_scalar(contract, inner) {
                value = format!("new Some<{}>({value})", type_name(contract, inner));
            }
            format!("p{first} != 0 ? {value} : null")
        }
        Shape::Tuple(types) => members(contract, first, ty, types),
        Shape::Record(record) => {
            members(contract, first, ty, record.fields.iter().map(|field| &field.ty))
        }
        _ => from_core(contract, &format!("p{first}"), ty),
    }
}

/// Returns the expression for an object whose first core value is `p{first}`.
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
    format!("new {}({})", type_name(contract, whole), values.collect::<Vec<_>>().join(", "))
}

/// Returns the expression that converts a core value to a scalar.
pub(super) fn from_core(contract: &Contract<'_>, value: &str, ty: &Type) -> String {
    match contract.shape(ty) {
        Shape::Bool => format!("{value} != 0"),
        _ => format!("<{}>{value}", type_name(contract, ty)),
    }
}

/// Returns the AssemblyScript type of a core value.
pub(super) fn core(ty: &WasmType) -> &'static str {
    match ty {
        WasmType::I64 | WasmType::PointerOrI64 => "u64",
        WasmType::F32 => "f32",
        WasmType::F64 => "f64",
        WasmType::I32 => "u32",
        WasmType::Pointer | WasmType::Length => "usize",
    }
}

/// Returns the name as an identifier, with a trailing underscore if it is a keyword or a
/// name that the glue uses.
pub(super) fn identifier(name: &str) -> String {
    const TAKEN: [&str; 42] = [
        "abi",
        "area",
        "as",
        "async",
        "await",
        "break",
        "case",
        "catch",
        "class",
        "const",
        "continue",
        "debugger",
        "default",
        "delete",
        "do",
        "else",
        "enum",
        "export",
        "extends",
        "false",
        "finally",
        "for",
        "function",
        "if",
        "implements",
        "import",
        "in",
        "instanceof",
        "interface",
        "let",
        "load",
        "namespace",
        "new",
        "null",
        "return",
        "static",
        "store",
        "super",
        "switch",
        "this",
        "throw",
        "try",
    ];
    if TAKEN.contains(&name) { format!("{name}_") } else { name.to_owned() }
}
