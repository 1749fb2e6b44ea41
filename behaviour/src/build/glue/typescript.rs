//! Glue for TypeScript and JavaScript: type declarations in `gen/behaviour.d.ts`. At run time,
//! the modules of [`script`](super::script) convert the values.
//!
//! The official generator is not used: it declares 64-bit integers as `bigint`, which the
//! engine does not accept, and it needs a complete component tool chain.

use std::collections::BTreeSet;

use wit_parser::{Function, Type};

use super::contract::{Contract, Interface, Shape, block_comment, camel, indented, pascal};

const RUNTIME: &str = include_str!("typescript.d.ts");

/// Returns the generated files, each with its path and text.
pub(super) fn files(contract: &Contract<'_>) -> Vec<(String, String)> {
    let mut text = RUNTIME.to_owned();
    for interface in contract.imports.iter().chain(&contract.exports) {
        let is_import =
            contract.imports.iter().any(|import| import.full_name == interface.full_name);
        text += &module(contract, interface, is_import);
    }
    vec![("behaviour.d.ts".to_owned(), text)]
}

fn module(contract: &Contract<'_>, interface: &Interface<'_>, is_import: bool) -> String {
    let mut body: Vec<String> = Vec::new();
    let imports = type_imports(contract, interface);
    body.extend((!imports.is_empty()).then(|| imports.into_iter().collect()));
    if interface.name == "types" {
        body.push("/** UTF-8 JSON text: any JSON value. */\nexport type Json = string;\n".into());
    }
    body.extend(interface.types(contract.resolve).map(|ty| definition(contract, &ty)));
    let functions: Vec<&Function> = interface.functions().collect();
    match is_import {
        true => body.extend(functions.iter().map(|function| import(contract, function))),
        false => body.push(export_type(contract, interface, &functions)),
    }
    let docs = block_comment(&interface.wit.docs, "");
    let full_name = &interface.full_name;
    format!("\n{docs}declare module '{full_name}' {{\n{}}}\n", indented(&body.join("\n"), 2))
}

/// Returns the `import` statements for the types that other interfaces define.
fn type_imports(contract: &Contract<'_>, interface: &Interface<'_>) -> BTreeSet<String> {
    let mut imports = BTreeSet::new();
    for function in interface.functions() {
        let types = function.params.iter().map(|parameter| parameter.ty).chain(function.result);
        types.into_iter().for_each(|ty| collect_imports(contract, interface, &ty, &mut imports));
    }
    for ty in interface.types(contract.resolve) {
        if let Shape::Record(record) = contract.shape(&ty) {
            record
                .fields
                .iter()
                .for_each(|field| collect_imports(contract, interface, &field.ty, &mut imports));
        }
    }
    imports
}

/// Adds the `import` statements that a type of an interface needs.
fn collect_imports(
    contract: &Contract<'_>,
    interface: &Interface<'_>,
    ty: &Type,
    imports: &mut BTreeSet<String>,
) {
    let mut import = |owner: &str, name: &str| {
        let version = interface.full_name.split_once('@');
        let version = version.map_or(String::new(), |(_, version)| format!("@{version}"));
        if owner != interface.name {
            let module = format!("device:behaviour/{owner}{version}");
            imports.insert(format!("import type {{ {name} }} from '{module}';\n"));
        }
    };
    match contract.shape(ty) {
        Shape::Json => import("types", "Json"),
        Shape::Record(_) | Shape::Variant(_) | Shape::Enum(_) => {
            import(contract.name(ty).0.unwrap_or("types"), &contract.class_name(ty));
        }
        Shape::List(inner) | Shape::Option(inner) => {
            collect_imports(contract, interface, inner, imports);
        }
        Shape::Tuple(types) => {
            types.iter().for_each(|ty| collect_imports(contract, interface, ty, imports));
        }
        // Only the `@throws` comment names the error type, and a comment needs no import.
        Shape::Result(ok, _) => {
            ok.iter().for_each(|ty| collect_imports(contract, interface, ty, imports));
        }
        _ => {}
    }
}

fn definition(contract: &Contract<'_>, ty: &Type) -> String {
    let (name, docs) = (contract.class_name(ty), block_comment(contract.docs(ty), ""));
    match contract.shape(ty) {
        Shape::Record(record) => {
            let fields = record.fields.iter().map(|field| {
                let marker = match contract.shape(&field.ty) {
                    Shape::Option(_) => "?",
                    _ => "",
                };
                let (docs, ty) = (block_comment(&field.docs, "  "), type_name(contract, &field.ty));
                format!("{docs}  {}{marker}: {ty};\n", camel(&field.name))
            });
            format!("{docs}export interface {name} {{\n{}}}\n", fields.collect::<String>())
        }
        Shape::Variant(variant) => {
            let cases = variant.cases.iter().map(|case| {
                let docs = block_comment(&case.docs, "  ");
                let value = match &case.ty {
                    Some(ty) => format!("; val: {}", type_name(contract, ty)),
                    None => String::new(),
                };
                format!("\n{docs}  | {{ tag: '{}'{value} }}", case.name)
            });
            format!("{docs}export type {name} ={};\n", cases.collect::<String>())
        }
        Shape::Enum(kind) => {
            let cases = kind
                .cases
                .iter()
                .map(|case| format!("\n{}  | '{}'", block_comment(&case.docs, "  "), case.name));
            format!("{docs}export type {name} ={};\n", cases.collect::<String>())
        }
        _ => unreachable!("the only named types are records, enums and variants"),
    }
}

fn type_name(contract: &Contract<'_>, ty: &Type) -> String {
    match contract.shape(ty) {
        Shape::Bool => "boolean".into(),
        Shape::Char | Shape::Text => "string".into(),
        Shape::Integer { .. } | Shape::Float { .. } => "number".into(),
        Shape::Json => "Json".into(),
        Shape::Bytes => "Uint8Array".into(),
        Shape::List(inner) => match type_name(contract, inner) {
            inner if inner.contains(' ') && !inner.starts_with('[') => format!("({inner})[]"),
            inner => format!("{inner}[]"),
        },
        Shape::Option(inner) => format!("{} | null", type_name(contract, inner)),
        Shape::Tuple(types) => {
            let types: Vec<String> = types.iter().map(|ty| type_name(contract, ty)).collect();
            format!("[{}]", types.join(", "))
        }
        Shape::Record(_) | Shape::Variant(_) | Shape::Enum(_) => contract.class_name(ty),
        Shape::Result(ok, _) => ok.map_or("void".into(), |ty| type_name(contract, ty)),
    }
}

/// Returns the parameters and result of a function: `(name: type): type`.
fn signature(contract: &Contract<'_>, function: &Function) -> String {
    let parameters = function.params.iter().map(|parameter| {
        format!("{}: {}", identifier(&camel(&parameter.name)), type_name(contract, &parameter.ty))
    });
    let result = function.result.as_ref().map_or("void".into(), |ty| type_name(contract, ty));
    format!("({}): {result}", parameters.collect::<Vec<_>>().join(", "))
}

/// Returns the doc comment of a function, with the type of the error that it throws.
fn docs(contract: &Contract<'_>, function: &Function) -> String {
    let mut docs = function.docs.clone();
    if let Some(ty) = &function.result
        && let Shape::Result(_, Some(err)) = contract.shape(ty)
    {
        let text = docs.contents.unwrap_or_default();
        let throws = format!("@throws {}", type_name(contract, err));
        docs.contents = Some([text.trim(), &throws].join("\n").trim().to_owned());
    }
    block_comment(&docs, "")
}

fn import(contract: &Contract<'_>, function: &Function) -> String {
    let (docs, signature) = (docs(contract, function), signature(contract, function));
    let name = camel(&function.name);
    let own = identifier(&name);
    match own == name {
        true => format!("{docs}export function {name}{signature};\n"),
        false => format!("{docs}function {own}{signature};\nexport {{ {own} as {name} }};\n"),
    }
}

/// Returns the type of the object that a plugin exports for an interface.
fn export_type(
    contract: &Contract<'_>,
    interface: &Interface<'_>,
    functions: &[&Function],
) -> String {
    let (name, constant) = (pascal(interface.name), camel(interface.name));
    let members = functions.iter().map(|function| {
        let name = camel(&function.name);
        indented(
            &format!("{}{name}{};\n", docs(contract, function), signature(contract, function)),
            2,
        )
    });
    format!(
        "/** The type of the plugin's `export const {constant}: {name}`. */\nexport interface {name} {{\n{}}}\n",
        members.collect::<String>()
    )
}

/// Returns the name as an identifier, with a trailing underscore if it is a keyword.
pub(super) fn identifier(name: &str) -> String {
    const KEYWORDS: [&str; 38] = [
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
        "import",
        "in",
        "instanceof",
        "interface",
        "new",
        "null",
        "return",
        "static",
        "super",
        "switch",
        "this",
        "throw",
        "true",
        "try",
        "typeof",
        "var",
        "void",
        "while",
    ];
    if KEYWORDS.contains(&name) { format!("{name}_") } else { name.to_owned() }
}
