//! Glue for AssemblyScript, in four files: `gen/behaviour.ts` is the author's API,
//! `gen/abi.ts` converts values, `gen/entry.ts` is the compiler's entry file, and
//! `gen/system.ts` implements globals that a browser would provide.

mod values;

use std::collections::BTreeMap;

use wit_parser::abi::AbiVariant;
use wit_parser::{Function, Type, Variant};

use super::contract::{Contract, Interface, Shape, block_comment, camel, indented, pascal, snake};
use values::{
    address, arguments, core, empty, from_core, identifier, lifted, load, nullable, store,
    tuple_field, type_name,
};

const RUNTIME: &str = include_str!("assemblyscript.ts");

const HEADER: &str = include_str!("assemblyscript/header.ts");

const SYSTEM: &str = include_str!("assemblyscript/system.ts");

/// Returns the path and text of each file. `entry` is the module with the author's
/// functions.
pub(super) fn files(contract: &Contract<'_>, entry: &str) -> Vec<(String, String)> {
    let mut text = HEADER.to_owned();
    let mut tuples = BTreeMap::new();
    let mut body = String::new();
    for interface in contract.imports.iter().chain(&contract.exports) {
        let is_import =
            contract.imports.iter().any(|import| import.full_name == interface.full_name);
        body += &namespace(contract, interface, is_import, &mut tuples);
    }
    let is_imported = |name: &str| contract.imports.iter().any(|import| import.name == name);
    let has_system = ["clock", "context", "log"].into_iter().all(is_imported);
    let (mut wrappers, results) = entry_file(contract, entry, &imported(contract, &tuples));
    if has_system {
        // `--use` names globals of this file. The compiler finds them only if another file
        // imports it.
        wrappers += "\nimport \"./system\";\n";
    }
    text += &tuples.into_values().collect::<String>();
    text += &body;
    text += &results;
    let size = contract.result_buffer_size(&contract.imports);
    text += &format!(
        "\n// The buffer for results of the host's functions.\nconst area = memory.data({size}, 8);\n"
    );
    let mut files = vec![
        ("abi.ts".to_owned(), RUNTIME.to_owned()),
        ("behaviour.ts".to_owned(), text),
        ("entry.ts".to_owned(), wrappers),
    ];
    files.extend(has_system.then(|| ("system.ts".to_owned(), SYSTEM.to_owned())));
    files
}

/// Returns each export's name in the core module and the name that the host calls.
/// AssemblyScript can export identifiers only.
pub(super) fn renames(contract: &Contract<'_>) -> Vec<(String, String)> {
    let functions = contract.exports.iter().flat_map(|interface| {
        interface.functions().map(move |function| {
            (core_export(interface, function), Contract::core_name(interface, function))
        })
    });
    functions.collect()
}

fn core_export(interface: &Interface<'_>, function: &Function) -> String {
    format!("{}__{}", snake(interface.name), snake(&function.name))
}

fn namespace(
    contract: &Contract<'_>,
    interface: &Interface<'_>,
    is_import: bool,
    tuples: &mut BTreeMap<String, String>,
) -> String {
    let types: Vec<Type> = interface.types(contract.resolve).collect();
    let functions: Vec<&Function> = interface.functions().collect();
    let defined: Vec<String> = types.iter().map(|ty| definition(contract, ty)).collect();
    for function in &functions {
        let types = function.params.iter().map(|parameter| parameter.ty).chain(function.result);
        types.into_iter().for_each(|ty| collect_tuples(contract, &ty, tuples));
    }
    if types.iter().any(|ty| contract.name(ty).0.is_none()) {
        return defined.iter().map(|text| format!("\n{text}")).collect();
    }
    let mut body = defined;
    let mut hosts = String::new();
    if is_import {
        hosts =
            functions.iter().map(|function| declaration(contract, interface, function)).collect();
        body.extend(functions.iter().map(|function| import(contract, interface, function)));
    }
    if body.is_empty() {
        return String::new();
    }
    let docs = block_comment(&interface.wit.docs, "");
    let name = identifier(&camel(interface.name));
    format!("\n{hosts}\n{docs}export namespace {name} {{\n{}}}\n", indented(&body.join("\n"), 2))
}

/// Collects a class for each tuple type, since AssemblyScript has no tuples.
fn collect_tuples(contract: &Contract<'_>, ty: &Type, tuples: &mut BTreeMap<String, String>) {
    match contract.shape(ty) {
        Shape::List(inner) | Shape::Option(inner) => collect_tuples(contract, inner, tuples),
        Shape::Record(record) => {
            record.fields.iter().for_each(|field| collect_tuples(contract, &field.ty, tuples));
        }
        Shape::Result(ok, err) => {
            ok.iter().chain(&err).for_each(|ty| collect_tuples(contract, ty, tuples));
        }
        Shape::Tuple(types) => {
            types.iter().for_each(|ty| collect_tuples(contract, ty, tuples));
            let name = type_name(contract, ty);
            let docs = if name == "Pair" { "/** A key and its value. */\n" } else { "" };
            let fields = types.iter().enumerate().map(|(i, ty)| (tuple_field(&name, i), *ty));
            let class = class(contract, &name, &fields.collect::<Vec<_>>());
            tuples.insert(name, format!("\n{docs}{class}"));
        }
        _ => {}
    }
}

/// Returns a class with public fields and the memory layout of a record.
fn class(contract: &Contract<'_>, name: &str, fields: &[(String, Type)]) -> String {
    let parameters = fields.iter().map(|(field, ty)| {
        let default = match contract.shape(ty) {
            Shape::Option(_) => " = null",
            _ => "",
        };
        format!("public {field}: {}{default}", type_name(contract, ty))
    });
    let parameters: Vec<String> = parameters.collect();
    let offsets = contract.offsets(fields.iter().map(|(_, ty)| ty));
    let loads = offsets.iter().map(|(offset, ty)| load(contract, &address(*offset), ty));
    let loads = loads.collect::<Vec<_>>().join(", ");
    let stores = fields.iter().zip(&offsets).map(|((field, _), (offset, ty))| {
        format!("    {};\n", store(contract, &address(*offset), &format!("this.{field}"), ty))
    });
    format!(
        "export class {name} {{\n  constructor({}) {{}}\n\n  static load(at: usize): {name} {{\n    return new {name}({loads});\n  }}\n\n  store(at: usize): void {{\n{}  }}\n}}\n",
        parameters.join(", "),
        stores.collect::<String>(),
    )
}

fn definition(contract: &Contract<'_>, ty: &Type) -> String {
    let name = contract.class_name(ty);
    let docs = block_comment(contract.docs(ty), "");
    match contract.shape(ty) {
        Shape::Record(record) => {
            let fields =
                record.fields.iter().map(|field| (identifier(&camel(&field.name)), field.ty));
            docs + &class(contract, &name, &fields.collect::<Vec<_>>())
        }
        Shape::Enum(kind) => {
            let cases = kind.cases.iter().map(|case| {
                format!("{}  {},\n", block_comment(&case.docs, "  "), pascal(&case.name))
            });
            format!("{docs}export enum {name} {{\n{}}}\n", cases.collect::<String>())
        }
        Shape::Variant(variant) => docs + &variant_class(contract, &name, variant),
        _ => unreachable!("the only named types are records, enums and variants"),
    }
}

/// Returns a class for a variant, with the case in `kind`. All cases whose payload is a
/// string share the field `text`. Any other payload has a field named after its case.
fn variant_class(contract: &Contract<'_>, name: &str, variant: &Variant) -> String {
    let offset = address(contract.variant_payload(variant));
    let (mut kinds, mut fields, mut makers) = (String::new(), String::new(), String::new());
    let (mut loads, mut stores) = (String::new(), String::new());
    let mut has_text = false;
    for (tag, case) in variant.cases.iter().enumerate() {
        let (kind, maker) = (pascal(&case.name), identifier(&camel(&case.name)));
        kinds += &format!("  {kind},\n");
        makers += &format!("\n{}", block_comment(&case.docs, "  "));
        let Some(ty) = &case.ty else {
            makers += &format!(
                "  static {maker}(): {name} {{\n    return new {name}({name}Kind.{kind});\n  }}\n"
            );
            continue;
        };
        let type_name = type_name(contract, ty);
        let is_text = matches!(contract.shape(ty), Shape::Text | Shape::Json);
        let field = if is_text { "text".to_owned() } else { format!("{}Value", camel(&case.name)) };
        let default = match contract.shape(ty) {
            Shape::Option(_) => " = null",
            _ => "",
        };
        if is_text {
            has_text = true;
        } else {
            let empty = empty(contract, ty);
            fields +=
                &format!("  /** The value of `{kind}`. */\n  {field}: {type_name} = {empty};\n");
        }
        makers += &format!(
            "  static {maker}({field}: {type_name}{default}): {name} {{\n    const made = new {name}({name}Kind.{kind});\n    made.{field} = {field};\n    return made;\n  }}\n"
        );
        let value = load(contract, &offset, ty);
        loads += &format!("      case {tag}: made.{field} = {value}; break;\n");
        let stored = store(contract, &offset, &format!("this.{field}"), ty);
        stores += &format!("      case {name}Kind.{kind}: {stored}; break;\n");
    }
    if has_text {
        fields =
            format!("  /** The text, if the case has one. */\n  text: string = \"\";\n{fields}");
    }
    let words = variant.cases.iter().map(|case| format!("{:?}", case.name.replace('-', " ")));
    let words = words.collect::<Vec<_>>().join(", ");
    let text = if has_text {
        "this.text.length > 0 ? words + \": \" + this.text : words"
    } else {
        "words"
    };
    format!(
        "export class {name} {{\n{fields}\n  constructor(public kind: {name}Kind) {{}}\n{makers}\n  toString(): string {{\n    const all: string[] = [{words}];\n    const words = all[this.kind];\n    return {text};\n  }}\n\n  static load(at: usize): {name} {{\n    const made = new {name}(<{name}Kind>load<u8>(at));\n    switch (<i32>made.kind) {{\n{loads}    }}\n    return made;\n  }}\n\n  store(at: usize): void {{\n    store<u8>(at, <u8>this.kind);\n    switch (this.kind) {{\n{stores}    }}\n  }}\n}}\n\n/** The cases of `{name}`. */\nexport enum {name}Kind {{\n{kinds}}}\n"
    )
}

fn declaration(contract: &Contract<'_>, interface: &Interface<'_>, function: &Function) -> String {
    let signature = contract.signature(function, AbiVariant::GuestImport);
    let parameters = signature.params.iter().enumerate();
    let parameters: Vec<_> = parameters.map(|(i, ty)| format!("p{i}: {}", core(ty))).collect();
    let result = signature.results.first().map_or("void", core);
    let (module, name) = (&interface.full_name, &function.name);
    let own = core_export(interface, function);
    format!(
        "@external(\"{module}\", \"{name}\") declare function {own}({}): {result};\n",
        parameters.join(", ")
    )
}

fn import(contract: &Contract<'_>, interface: &Interface<'_>, function: &Function) -> String {
    let (mut before, mut values) = (String::new(), Vec::new());
    for parameter in &function.params {
        let name = identifier(&camel(&parameter.name));
        arguments(contract, &name, &name, &parameter.ty, &mut before, &mut values);
    }
    let signature = contract.signature(function, AbiVariant::GuestImport);
    if signature.retptr {
        values.push("area".into());
    }
    let call = format!("{}({})", core_export(interface, function), values.join(", "));
    let body = match &function.result {
        None => format!("  {call};\n"),
        Some(ty) if signature.retptr => format!("  {call};\n{}", returned(contract, ty)),
        Some(ty) => format!("  return {};\n", from_core(contract, &call, ty)),
    };
    let (docs, name) = (block_comment(&function.docs, ""), identifier(&camel(&function.name)));
    let (parameters, result) = (parameters(contract, function), result_type(contract, function));
    format!("{docs}export function {name}({parameters}): {result} {{\n{before}{body}}}\n")
}

/// Returns the parameters of a function. The last parameter is optional if it is a list.
fn parameters(contract: &Contract<'_>, function: &Function) -> String {
    let parameters = function.params.iter().enumerate().map(|(i, parameter)| {
        let is_last = i + 1 == function.params.len();
        let default = match contract.shape(&parameter.ty) {
            Shape::List(_) if is_last => " = []",
            _ => "",
        };
        let name = identifier(&camel(&parameter.name));
        format!("{name}: {}{default}", type_name(contract, &parameter.ty))
    });
    parameters.collect::<Vec<_>>().join(", ")
}

fn result_type(contract: &Contract<'_>, function: &Function) -> String {
    function.result.as_ref().map_or("void".into(), |ty| type_name(contract, ty))
}

/// Returns the statements that load a function's result from the result buffer and return
/// it.
fn returned(contract: &Contract<'_>, ty: &Type) -> String {
    let Shape::Result(ok, err) = contract.shape(ty) else {
        return format!("  return {};\n", load(contract, "area", ty));
    };
    let at = format!("area + {}", contract.payload_offset([ok, err]));
    let Some(err) = err else { return "  return load<u8>(area) == 0;\n".into() };
    let error = format!("load<u8>(area) != 0 ? {} : null", load(contract, &at, err));
    let Some(ok) = ok else { return format!("  return {error};\n") };
    let (name, value) = (type_name(contract, ty), load(contract, &at, ok));
    let err = type_name(contract, err);
    let none =
        if nullable(contract, ok).ends_with("null") { "null".into() } else { empty(contract, ok) };
    format!(
        "  const error: {err} | null = {error};\n  if (error !== null) return new {name}(error, {none});\n  return new {name}(null, {value});\n"
    )
}

/// Returns the entry file with the functions that the host calls, and the classes that
/// the author's functions return.
fn entry_file(contract: &Contract<'_>, entry: &str, imported: &str) -> (String, String) {
    let (mut names, mut functions, mut results) = (Vec::new(), String::new(), String::new());
    for interface in &contract.exports {
        for function in interface.functions() {
            let own = identifier(&camel(&contract.export_name(interface, function)));
            functions += &export(contract, interface, function, &own);
            if let Some(ty) = &function.result
                && let Shape::Result(Some(ok), Some(err)) = contract.shape(ty)
            {
                let (name, docs) = (
                    format!("{}Result", pascal(&contract.export_name(interface, function))),
                    block_comment(&function.docs, ""),
                );
                let (ok, err) = (type_name(contract, ok), type_name(contract, err));
                results += &format!(
                    "\n{docs}export class {name} {{\n  private constructor(public value: {ok} | null, public error: {err} | null) {{}}\n\n  static ok(value: {ok}): {name} {{\n    return new {name}(value, null);\n  }}\n\n  static err(error: {err}): {name} {{\n    return new {name}(null, error);\n  }}\n}}\n"
                );
            }
            names.push(own);
        }
    }
    let size = contract.result_buffer_size(&contract.exports);
    let text = format!(
        "// The functions that the host calls. `behaviour build` writes this file; changes to it\n// are lost.\n\nimport * as abi from \"./abi\";\nimport {{ {imported} }} from \"./behaviour\";\nimport {{ {} }} from {entry:?};\n\nexport {{ cabi_realloc }} from \"./abi\";\n\nconst area = memory.data({size}, 8);\n{functions}",
        names.join(", ")
    );
    (text, results)
}

/// Returns the names that the entry file imports from `behaviour.ts`.
fn imported(contract: &Contract<'_>, tuples: &BTreeMap<String, String>) -> String {
    let mut names = vec!["Json".to_owned(), "Some".to_owned()];
    names.extend(tuples.keys().cloned());
    for interface in contract.imports.iter().chain(&contract.exports) {
        for ty in interface.types(contract.resolve) {
            let name = match contract.name(&ty).0 {
                Some(interface) => identifier(&camel(interface)),
                None => contract.class_name(&ty),
            };
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names.join(", ")
}

fn export(
    contract: &Contract<'_>,
    interface: &Interface<'_>,
    function: &Function,
    own: &str,
) -> String {
    let signature = contract.signature(function, AbiVariant::GuestExport);
    let parameters = signature.params.iter().enumerate();
    let parameters: Vec<_> = parameters.map(|(i, ty)| format!("p{i}: {}", core(ty))).collect();
    let mut next = 0;
    let values = function.params.iter().map(|parameter| {
        let value = lifted(contract, next, &parameter.ty);
        next += contract.flat_count(&parameter.ty);
        value
    });
    let call = format!("{own}({})", values.collect::<Vec<_>>().join(", "));
    let (result, body) = match &function.result {
        None => ("void", format!("  {call};\n")),
        Some(ty) if signature.retptr => (
            "usize",
            format!(
                "  const at = area;\n  memory.fill(at, 0, {});\n{}  return at;\n",
                contract.size(ty),
                answered(contract, &call, ty)
            ),
        ),
        Some(_) => (signature.results.first().map_or("void", core), format!("  return {call};\n")),
    };
    let name = core_export(interface, function);
    format!("\nexport function {name}({}): {result} {{\n{body}}}\n", parameters.join(", "))
}

/// Returns the statements that call the author's function and store its result in the
/// result buffer.
fn answered(contract: &Contract<'_>, call: &str, ty: &Type) -> String {
    let Shape::Result(ok, err) = contract.shape(ty) else {
        return format!("  const value = {call};\n  {};\n", store(contract, "at", "value", ty));
    };
    let at = address(contract.payload_offset([ok, err]));
    let Some(err) = err else { return format!("  store<u8>(at, !{call});\n") };
    let failed = format!("    store<u8>(at, 1);\n    {};\n", store(contract, &at, "error", err));
    let Some(ok) = ok else {
        return format!("  const error = {call};\n  if (error !== null) {{\n{failed}  }}\n");
    };
    let stored = store(contract, &at, "value", ok);
    format!(
        "  const result = {call};\n  const error = result.error, value = result.value;\n  if (error !== null) {{\n{failed}  }} else if (value !== null) {{\n    {stored};\n  }}\n"
    )
}
