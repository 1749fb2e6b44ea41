//! Annotated Lua files, from which an editor knows the functions of the host.

use wit_parser::{Function, Type};

use super::{JSON, PREFIX};
use crate::build::glue::contract::{Contract, Shape, comment, pascal, snake};

/// Returns the paths and texts of the annotated files.
pub(in crate::build::glue) fn files(contract: &Contract<'_>) -> Vec<(String, String)> {
    let mut types = String::from("---@meta\n");
    let mut files = vec![("behaviour/json.lua".to_owned(), JSON.to_owned())];
    for interface in contract.imports.iter().chain(&contract.exports) {
        for ty in interface.types(contract.resolve) {
            let definition = definition(contract, &ty);
            if !types.contains(&definition) {
                types += &definition;
            }
        }
    }
    types += "\n---@class behaviour.Plugin\n";
    for interface in &contract.exports {
        let functions = interface.functions().map(|function| {
            let parameters = function.params.iter();
            let parameters = parameters.map(|it| parameter(contract, &it.name, &it.ty));
            let result = result_type(contract, function);
            let result = result.map(|ty| format!(": {ty}")).unwrap_or_default();
            let parameters = parameters.collect::<Vec<_>>().join(", ");
            format!("{}: fun({parameters}){result}", snake(&function.name))
        });
        let functions = functions.collect::<Vec<_>>().join(", ");
        types += &format!("---@field {} {{ {functions} }}\n", snake(interface.name));
    }
    files.push(("behaviour/types.lua".to_owned(), types));
    for interface in contract.imports.iter().filter(|it| it.functions().next().is_some()) {
        let name = snake(interface.name);
        let functions = interface.functions().map(|function| annotated(contract, &name, function));
        let docs = comment(&interface.wit.docs, "--- ");
        let text = format!(
            "---@meta {PREFIX}{name}\n\n{docs}local {name} = {{}}\n\n{}return {name}\n",
            functions.collect::<String>()
        );
        files.push((format!("behaviour/{name}.lua"), text));
    }
    files
}

fn definition(contract: &Contract<'_>, ty: &Type) -> String {
    let docs = comment(contract.docs(ty), "--- ");
    let name = type_name(contract, ty);
    match contract.shape(ty) {
        Shape::Record(record) => {
            let fields = record.fields.iter().map(|field| {
                let (name, ty) = (snake(&field.name), type_name(contract, &field.ty));
                format!("---@field {name} {ty}\n")
            });
            format!("\n{docs}---@class {name}\n{}", fields.collect::<String>())
        }
        Shape::Variant(variant) => {
            let tags = variant.cases.iter().map(|case| format!("\"{}\"", case.name));
            let tags = tags.collect::<Vec<_>>().join(" | ");
            format!("\n{docs}---@class {name}\n---@field tag {tags}\n---@field val? any\n")
        }
        Shape::Enum(kind) => {
            let names = kind.cases.iter().map(|case| format!("---| \"{}\"\n", case.name));
            format!("\n{docs}---@alias {name}\n{}", names.collect::<String>())
        }
        _ => unreachable!("the only named types are records, enums and variants"),
    }
}

fn annotated(contract: &Contract<'_>, module: &str, function: &Function) -> String {
    let mut text = comment(&function.docs, "--- ");
    let mut names = Vec::new();
    for parameter in &function.params {
        let (name, ty) = (identifier(&parameter.name), type_name(contract, &parameter.ty));
        text += &format!("---@param {name} {ty}\n");
        names.push(name);
    }
    if let Some(ty) = result_type(contract, function) {
        text += &format!("---@return {ty}\n");
    }
    text + &format!("function {module}.{}({}) end\n\n", snake(&function.name), names.join(", "))
}

fn parameter(contract: &Contract<'_>, name: &str, ty: &Type) -> String {
    format!("{}: {}", identifier(name), type_name(contract, ty))
}

/// Returns the type of a function's value. An error is raised and has no type.
fn result_type(contract: &Contract<'_>, function: &Function) -> Option<String> {
    let ty = function.result.as_ref()?;
    match contract.shape(ty) {
        Shape::Result(ok, _) => ok.map(|ty| type_name(contract, ty)),
        _ => Some(type_name(contract, ty)),
    }
}

fn type_name(contract: &Contract<'_>, ty: &Type) -> String {
    let name = |ty: &Type| type_name(contract, ty);
    match contract.shape(ty) {
        Shape::Bool => "boolean".into(),
        Shape::Integer { .. } => "integer".into(),
        Shape::Float { .. } => "number".into(),
        Shape::Char | Shape::Text | Shape::Json | Shape::Bytes => "string".into(),
        Shape::List(item) => format!("{}[]", name(item).replace('?', "")),
        Shape::Option(some) => format!("{}?", name(some)),
        Shape::Tuple(types) => {
            format!("[{}]", types.iter().map(name).collect::<Vec<_>>().join(", "))
        }
        Shape::Result(ok, err) => {
            let name = |ty: Option<&Type>| ty.map_or("nil".to_owned(), name);
            format!("{{ tag: \"ok\" | \"err\", val: {} | {} }}", name(ok), name(err))
        }
        Shape::Record(_) | Shape::Variant(_) | Shape::Enum(_) => {
            let (owner, name) = contract.name(ty);
            format!("{PREFIX}{}{}", owner.map(pascal).unwrap_or_default(), pascal(name))
        }
    }
}

fn identifier(name: &str) -> String {
    const KEYWORDS: [&str; 22] = [
        "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if",
        "in", "local", "nil", "not", "or", "repeat", "return", "then", "true", "until", "while",
    ];
    let name = snake(name);
    if KEYWORDS.contains(&name.as_str()) { format!("{name}_") } else { name }
}
