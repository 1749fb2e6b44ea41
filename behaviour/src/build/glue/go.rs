//! Glue for Go: the package `gen/behaviour`.
//!
//! The official generator is not used: no Go proxy serves its support module, and its
//! bindings do not report errors as Go's `error`.

mod values;

use std::collections::BTreeSet;

use wit_parser::abi::AbiVariant;
use wit_parser::{Function, Type, Variant};

use super::contract::{Contract, Interface, Shape, camel, comment, pascal};
use values::{address, arguments, core, from_core, lifted, load, name_of, store, type_name};

const RUNTIME: &str = include_str!("go.go");

/// Returns the path and text of each file.
pub(super) fn files(contract: &Contract<'_>) -> Vec<(String, String)> {
    let mut text = RUNTIME.to_owned();
    let errors = errors(contract);
    for interface in contract.imports.iter().chain(&contract.exports) {
        for ty in interface.types(contract.resolve) {
            text += &definition(contract, &ty, &errors);
        }
    }
    for interface in &contract.imports {
        for function in interface.functions() {
            text += &import(contract, interface, function);
        }
    }
    text += &exports(contract);
    vec![("behaviour/behaviour.go".to_owned(), text)]
}

/// Returns the names of the error types of functions, which implement Go's `error`.
fn errors(contract: &Contract<'_>) -> BTreeSet<String> {
    let interfaces = contract.imports.iter().chain(&contract.exports);
    let results = interfaces.flat_map(Interface::functions).filter_map(|function| function.result);
    let errors = results.filter_map(|ty| match contract.shape(&ty) {
        Shape::Result(_, Some(err)) => Some(type_name(contract, err)),
        _ => None,
    });
    errors.collect()
}

fn definition(contract: &Contract<'_>, ty: &Type, errors: &BTreeSet<String>) -> String {
    let name = name_of(contract, ty);
    let docs = docs(&name, &comment(contract.docs(ty), "// "));
    let mut text = String::from("\n");
    match contract.shape(ty) {
        Shape::Record(record) => {
            text += &format!("{docs}type {name} struct {{\n");
            for field in &record.fields {
                text += &comment(&field.docs, "\t// ");
                text += &format!("\t{} {}\n", pascal(&field.name), type_name(contract, &field.ty));
            }
            text += "}\n";
            let offsets = contract.offsets(record.fields.iter().map(|field| &field.ty));
            let fields = || record.fields.iter().map(|field| pascal(&field.name)).zip(&offsets);
            let loads = fields().map(|(field, (offset, ty))| {
                format!("\t\t{field}: {},\n", load(contract, &address(*offset), ty))
            });
            text +=
                &loader(&name, &format!("\treturn {name}{{\n{}\t}}\n", loads.collect::<String>()));
            let stores = fields().map(|(field, (offset, ty))| {
                store(contract, &address(*offset), &format!("value.{field}"), ty)
            });
            text += &storer(&name, &stores.collect::<String>());
        }
        Shape::Enum(kind) => {
            text += &format!("{docs}type {name} uint8\n\nconst (\n");
            for (index, case) in kind.cases.iter().enumerate() {
                text += &comment(&case.docs, "\t// ");
                let first = if index == 0 { format!(" {name} = iota") } else { String::new() };
                text += &format!("\t{name}{}{first}\n", pascal(&case.name));
            }
            text += ")\n";
            let words: Vec<_> = kind.cases.iter().map(|case| format!("{:?}", case.name)).collect();
            let method = if errors.contains(&name) { "Error" } else { "String" };
            text += &format!(
                "\nfunc (value {name}) {method}() string {{ return [...]string{{{}}}[value] }}\n",
                words.join(", ")
            );
        }
        Shape::Variant(variant) => text += &variant_definition(contract, &name, &docs, variant),
        _ => unreachable!("the only named types are records, enums and variants"),
    }
    text
}

/// Returns the definition of a variant: an interface, and a struct for each case.
fn variant_definition(
    contract: &Contract<'_>,
    name: &str,
    docs: &str,
    variant: &Variant,
) -> String {
    let mut text = format!("{docs}type {name} interface {{\n\terror\n\tis{name}()\n}}\n");
    let (mut loads, mut stores) = (String::new(), String::new());
    let offset = address(contract.variant_payload(variant));
    for (tag, case) in variant.cases.iter().enumerate() {
        let case_name = format!("{name}{}", pascal(&case.name));
        let words = case.name.replace('-', " ");
        let (field, mut message) = match &case.ty {
            Some(ty) => (format!("{{ Value {} }}", type_name(contract, ty)), format!("{words:?}")),
            None => ("{}".to_owned(), format!("{words:?}")),
        };
        let mut value = String::new();
        stores += &format!("\tcase {case_name}:\n\t\t*at[uint8](place, 0) = {tag}\n");
        if let Some(ty) = &case.ty {
            if let Shape::Text = contract.shape(ty) {
                message = format!("textAfter({message}, value.Value)");
            }
            value = load(contract, &offset, ty);
            stores += &format!("\t{}", store(contract, &offset, "value.Value", ty));
        }
        loads += &format!("\tcase {tag}:\n\t\treturn {case_name}{{{value}}}\n");
        text += &format!("\n{}", self::docs(&case_name, &comment(&case.docs, "// ")));
        text += &format!("type {case_name} struct{field}\n\nfunc ({case_name}) is{name}() {{}}\n");
        text += &format!("\nfunc (value {case_name}) Error() string {{ return {message} }}\n");
    }
    let last = "\tdefault:\n\t\tpanic(\"behaviour: the variant has an unknown tag\")\n\t}\n";
    text += &loader(name, &format!("\tswitch *at[uint8](place, 0) {{\n{loads}{last}"));
    let nothing = format!("\tdefault:\n\t\tpanic(\"behaviour: {name} is nil\")\n\t}}\n");
    text += &storer(name, &format!("\tswitch value := value.(type) {{\n{stores}{nothing}"));
    text
}

fn loader(name: &str, body: &str) -> String {
    format!("\nfunc load{name}(place unsafe.Pointer) {name} {{\n{body}}}\n")
}

fn storer(name: &str, body: &str) -> String {
    format!("\nfunc store{name}(place unsafe.Pointer, value {name}) {{\n{body}}}\n")
}

/// Returns the types of a function's results in Go.
fn results(contract: &Contract<'_>, function: &Function) -> String {
    let Some(ty) = &function.result else { return String::new() };
    match contract.shape(ty) {
        Shape::Result(Some(ok), _) => format!(" ({}, error)", type_name(contract, ok)),
        Shape::Result(None, _) => " error".into(),
        _ => format!(" {}", type_name(contract, ty)),
    }
}

fn parameters(contract: &Contract<'_>, function: &Function) -> String {
    let parameters = function.params.iter();
    let parameters = parameters.map(|parameter| {
        format!("{} {}", local(&parameter.name), type_name(contract, &parameter.ty))
    });
    parameters.collect::<Vec<_>>().join(", ")
}

/// Returns the name of a parameter, with a trailing underscore if it is a keyword or a
/// name that the glue uses.
fn local(name: &str) -> String {
    const TAKEN: [&str; 16] = [
        "break",
        "case",
        "chan",
        "const",
        "default",
        "func",
        "go",
        "import",
        "interface",
        "map",
        "package",
        "range",
        "return",
        "select",
        "type",
        "var",
    ];
    const USED: [&str; 10] =
        ["place", "text", "bit", "at", "list", "area", "kept", "json", "taken", "optional"];
    let name = camel(name);
    if TAKEN.contains(&&*name) || USED.contains(&&*name) { name + "_" } else { name }
}

fn import(contract: &Contract<'_>, interface: &Interface<'_>, function: &Function) -> String {
    let name = pascal(interface.name) + &pascal(&function.name);
    let host = format!("host{name}");
    let core_arguments = function.params.iter();
    let core_arguments: Vec<_> = core_arguments
        .flat_map(|parameter| arguments(contract, &local(&parameter.name), &parameter.ty))
        .collect();
    let mut declared: Vec<String> =
        core_arguments.iter().enumerate().map(|(i, (_, name))| format!("p{i} {name}")).collect();
    let mut values: Vec<&str> = core_arguments.iter().map(|(value, _)| value.as_str()).collect();
    let signature = contract.signature(function, AbiVariant::GuestImport);
    let direct = signature.results.first().map(|ty| format!(" {}", core(ty))).unwrap_or_default();
    if signature.retptr {
        declared.push("to unsafe.Pointer".into());
        values.push("place");
    }
    let call = format!("{host}({})", values.join(", "));
    let body = match &function.result {
        None => format!("\t{call}\n\treleased()\n"),
        Some(ty) if signature.retptr => format!(
            "\tplace := area({})\n\t{call}\n\tdefer released()\n{}",
            contract.size(ty),
            returned(contract, ty),
        ),
        Some(ty) => {
            let value = from_core(contract, "value", ty);
            format!("\tvalue := {call}\n\treleased()\n\treturn {value}\n")
        }
    };
    let (module, wit) = (&interface.full_name, &function.name);
    let docs = docs(&name, &comment(&function.docs, "// "));
    let (declared, parameters) = (declared.join(", "), parameters(contract, function));
    let results = results(contract, function);
    format!(
        "\n//go:wasmimport {module} {wit}\nfunc {host}({declared}){direct}\n\n{docs}func {name}({parameters}){results} {{\n{body}}}\n"
    )
}

/// Returns the statements that load a function's result from memory and return it.
fn returned(contract: &Contract<'_>, ty: &Type) -> String {
    let Shape::Result(ok, err) = contract.shape(ty) else {
        return format!("\treturn {}\n", load(contract, "place", ty));
    };
    let offset = address(contract.payload_offset([ok, err]));
    let error = match err {
        Some(ty) if matches!(contract.shape(ty), Shape::Text) => {
            format!("errors.New(loadText({offset}))")
        }
        Some(ty) => load(contract, &offset, ty),
        None => "errors.New(\"the host returned an error without a value\")".into(),
    };
    match ok {
        None => {
            format!("\tif *at[uint8](place, 0) != 0 {{\n\t\treturn {error}\n\t}}\n\treturn nil\n")
        }
        Some(ok) => {
            let (name, value) = (type_name(contract, ok), load(contract, &offset, ok));
            format!(
                "\tif *at[uint8](place, 0) != 0 {{\n\t\tvar none {name}\n\t\treturn none, {error}\n\t}}\n\treturn {value}, nil\n"
            )
        }
    }
}

/// Returns the variable `Exports`, which the author sets, and the functions that the host
/// calls.
fn exports(contract: &Contract<'_>) -> String {
    let (mut fields, mut functions) = (String::new(), String::new());
    for interface in &contract.exports {
        for function in interface.functions() {
            let own = pascal(&contract.export_name(interface, function));
            let (listed, results) = (parameters(contract, function), results(contract, function));
            fields += &comment(&function.docs, "\t// ");
            fields += &format!("\t{own} func({listed}){results}\n");
            functions += &export(contract, interface, function, &own);
        }
    }
    format!(
        "\n// Exports are the functions that the host calls. Set them in the init function of\n// the main package, since main never runs.\nvar Exports struct {{\n{fields}}}\n{functions}\nfunc textAfter(words, text string) string {{\n\tif text == \"\" {{\n\t\treturn words\n\t}}\n\treturn words + \": \" + text\n}}\n"
    )
}

fn export(
    contract: &Contract<'_>,
    interface: &Interface<'_>,
    function: &Function,
    own: &str,
) -> String {
    let signature = contract.signature(function, AbiVariant::GuestExport);
    let parameters = signature.params.iter().enumerate();
    let parameters: Vec<_> = parameters.map(|(i, ty)| format!("p{i} {}", core(ty))).collect();
    let mut next = 0;
    let values = function.params.iter().map(|parameter| {
        let value = lifted(contract, next, &parameter.ty);
        next += contract.flat_count(&parameter.ty);
        value
    });
    let call = format!("Exports.{own}({})", values.collect::<Vec<_>>().join(", "));
    let (result, body) = match &function.result {
        None => (String::new(), format!("\t{call}\n")),
        Some(ty) if signature.retptr => (" unsafe.Pointer".into(), answered(contract, &call, ty)),
        Some(ty) => {
            let result = signature.results.first().map(|ty| format!(" {}", core(ty)));
            let value = arguments(contract, &call, ty).remove(0).0;
            (result.unwrap_or_default(), format!("\treturn {value}\n"))
        }
    };
    let core_name = Contract::core_name(interface, function);
    let (name, parameters) = (interface.name, parameters.join(", "));
    format!(
        "\n//go:wasmexport {core_name}\nfunc export{own}({parameters}){result} {{\n\tif Exports.{own} == nil {{\n\t\tpanic(\"behaviour.Exports.{own} is not set, but the world exports {name}\")\n\t}}\n{body}}}\n"
    )
}

/// Returns the statements that call the author's function and store its result in memory
/// for the host.
fn answered(contract: &Contract<'_>, call: &str, ty: &Type) -> String {
    let size = contract.size(ty);
    let Shape::Result(ok, err) = contract.shape(ty) else {
        let stored = store(contract, "place", "value", ty);
        return format!("\tvalue := {call}\n\tplace := area({size})\n{stored}\treturn place\n");
    };
    let offset = address(contract.payload_offset([ok, err]));
    let stored = ok.map(|ty| store(contract, &offset, "value", ty)).unwrap_or_default();
    let failed = match err {
        None => String::new(),
        Some(ty) => match contract.shape(ty) {
            Shape::Text => format!("\t\tstoreText({offset}, err.Error())\n"),
            Shape::Variant(variant) => {
                let known = "\t\tvar known ".to_owned() + &name_of(contract, ty) + "\n";
                let other =
                    contract.catch_all(variant).map(pascal).map_or("panic(err)".into(), |case| {
                        format!("known = {}{case}{{err.Error()}}", name_of(contract, ty))
                    });
                let stored = store(contract, &offset, "known", ty);
                format!(
                    "{known}\t\tif !errors.As(err, &known) {{\n\t\t\t{other}\n\t\t}}\n\t{stored}"
                )
            }
            _ => {
                let known = format!("\t\tvar known {}\n", type_name(contract, ty));
                let stored = store(contract, &offset, "known", ty);
                format!(
                    "{known}\t\tif !errors.As(err, &known) {{\n\t\t\tpanic(err)\n\t\t}}\n\t{stored}"
                )
            }
        },
    };
    let value = if ok.is_some() { "value, err" } else { "err" };
    format!(
        "\t{value} := {call}\n\tplace := area({size})\n\tif err != nil {{\n\t\t*at[uint8](place, 0) = 1\n{failed}\t\treturn place\n\t}}\n{stored}\treturn place\n"
    )
}

/// Prefixes a doc comment with the name of the item, as is customary in Go.
fn docs(name: &str, comment: &str) -> String {
    match comment.strip_prefix("// ") {
        Some(text) => format!("// {name}: {text}"),
        None => String::new(),
    }
}
