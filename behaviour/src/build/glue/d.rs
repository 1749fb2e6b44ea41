//! Glue for D: the module `behaviour` with a declaration for each type and function, and the
//! module `exports` with the functions that the host calls. D computes the memory layout of
//! most types at compile time.

mod values;

use std::fmt::Write as _;

use wit_parser::abi::AbiVariant;
use wit_parser::{Function, Type, Variant};

use super::contract::{Contract, Interface, Shape, camel, comment, indented, snake};
use values::{core, from_core, identifier, lifted, lowered, result_type, type_name};

const RUNTIME: &str = include_str!("d/runtime.d");

/// Writes the message of a failed assertion or of an index out of bounds to the log.
const ASSERT: &str = "
extern (C) noreturn __assert(const(char)* message, const(char)* file, int line)
{
    import core.stdc.string : strlen;

    auto place = text(file[0 .. strlen(file)], \":\", line);
    string[2][1] fields = [[\"at\", place]];
    log.write(log.Level.error, cast(string) message[0 .. strlen(message)], fields);
    abi.trap();
}
";

/// The name of the module that is compiled.
pub(crate) const ROOT: &str = "exports.d";

/// Returns the path and text of each file. `entry` is the path of the author's module.
pub(super) fn files(contract: &Contract<'_>, entry: &str) -> Vec<(String, String)> {
    let mut text = RUNTIME.to_owned();
    for interface in contract.imports.iter().chain(&contract.exports) {
        // An export needs only types, since the author implements its functions.
        let is_import =
            contract.imports.iter().any(|import| import.full_name == interface.full_name);
        text += &namespace(contract, interface, is_import);
    }
    if contract.imports.iter().any(|import| import.name == "log") {
        text += ASSERT;
    }
    let module = entry.rsplit('/').next().unwrap_or(entry);
    vec![("behaviour.d".to_owned(), text), (ROOT.to_owned(), exports(contract, module))]
}

/// Returns the declarations of an interface: its types and, for an import, its functions.
fn namespace(contract: &Contract<'_>, interface: &Interface<'_>, is_import: bool) -> String {
    let types: Vec<Type> = interface.types(contract.resolve).collect();
    let functions: Vec<&Function> = interface.functions().filter(|_| is_import).collect();
    if types.iter().any(|ty| contract.name(ty).0.is_none()) {
        return types.iter().map(|ty| format!("\n{}", definition(contract, ty))).collect();
    }
    if types.is_empty() && functions.is_empty() {
        return String::new();
    }
    let mut body: Vec<String> = types.iter().map(|ty| definition(contract, ty)).collect();
    body.extend(functions.iter().map(|function| import(contract, interface, function)));
    let docs = comment(&interface.wit.docs, "/// ");
    let name = identifier(&camel(interface.name));
    format!("\n{docs}struct {name}\n{{\nstatic:\n{}}}\n", indented(&body.join("\n"), 4))
}

fn definition(contract: &Contract<'_>, ty: &Type) -> String {
    let docs = comment(contract.docs(ty), "/// ");
    let name = contract.class_name(ty);
    match contract.shape(ty) {
        Shape::Record(record) => {
            let fields = record.fields.iter().map(|field| {
                let (docs, name) =
                    (comment(&field.docs, "    /// "), identifier(&camel(&field.name)));
                format!("{docs}    {} {name};\n", type_name(contract, &field.ty))
            });
            format!("{docs}struct {name}\n{{\n{}}}\n", fields.collect::<String>())
        }
        Shape::Enum(kind) => {
            let cases = kind.cases.iter().map(|case| {
                let name = identifier(&camel(&case.name));
                format!("{}    {name},\n", comment(&case.docs, "    /// "))
            });
            format!("{docs}enum {name} : ubyte\n{{\n{}}}\n", cases.collect::<String>())
        }
        Shape::Variant(variant) => variant_definition(contract, ty, &docs, variant),
        _ => unreachable!("the only named types are records, enums and variants"),
    }
}

/// Returns the definition of a variant: a struct with a kind, a union, and a function for each
/// case.
fn variant_definition(contract: &Contract<'_>, ty: &Type, docs: &str, variant: &Variant) -> String {
    let name = contract.class_name(ty);
    let (mut kinds, mut fields) = (String::new(), String::new());
    let (mut makers, mut texts) = (String::new(), String::new());
    let (mut loads, mut stores) = (String::new(), String::new());
    let offset = contract.variant_payload(variant);
    for case in &variant.cases {
        let kind = identifier(&camel(&case.name));
        let docs = comment(&case.docs, "/// ");
        let words = case.name.replace('-', " ");
        let _ = writeln!(kinds, "        {kind},");
        let of = format!("case Kind.{kind}:");
        let Some(ty) = &case.ty else {
            let _ = write!(
                makers,
                "\n{docs}static {name} {kind}()\n{{\n    {name} made = {{kind: Kind.{kind}}};\n    return made;\n}}\n"
            );
            let _ = writeln!(texts, "        {of}\n            return {words:?};");
            let _ = writeln!(loads, "        {of}\n            return {kind}();");
            let _ = writeln!(stores, "        {of}\n            break;");
            continue;
        };
        let (field, value) = (format!("{}Value", camel(&case.name)), type_name(contract, ty));
        let default = match contract.shape(ty) {
            Shape::Option(_) => format!(" = {value}.init"),
            _ => String::new(),
        };
        let shown = match contract.shape(ty) {
            Shape::Text => format!("{field}.length ? text(\"{words}: \", {field}) : {words:?}"),
            _ => format!("{words:?}"),
        };
        let _ = writeln!(fields, "        {value} {field};");
        let _ = write!(
            makers,
            "\n{docs}static {name} {kind}({value} value{default})\n{{\n    {name} made = {{kind: Kind.{kind}}};\n    made.{field} = value;\n    return made;\n}}\n"
        );
        let _ = writeln!(texts, "        {of}\n            return {shown};");
        let _ = writeln!(
            loads,
            "        {of}\n            return {kind}(abi.load!({value})(place + {offset}));"
        );
        let _ = writeln!(
            stores,
            "        {of}\n            abi.store!({value})(place + {offset}, {field});\n            break;"
        );
    }
    let (align, size) = (contract.align(ty), contract.size(ty));
    let union = match fields.as_str() {
        "" => String::new(),
        fields => format!("    union\n    {{\n{fields}    }}\n"),
    };
    let unknown = "        default:\n            abi.trap();\n        }\n";
    format!(
        "{docs}struct {name}\n{{\n    enum Kind : ubyte\n    {{\n{kinds}    }}\n\n    Kind kind;\n{union}{}\n    /// Returns one line: the case and, if its value is a text, the text.\n    string describe() const\n    {{\n        switch (kind)\n        {{\n{texts}{unknown}    }}\n\n    enum size_t abiAlignment = {align};\n    enum size_t abiSize = {size};\n\n    static {name} abiLoad(size_t place)\n    {{\n        switch (*cast(ubyte*) place)\n        {{\n{loads}{unknown}    }}\n\n    void abiStore(size_t place) const\n    {{\n        *cast(ubyte*) place = kind;\n        switch (kind)\n        {{\n{stores}{unknown}    }}\n}}\n",
        indented(&makers, 4),
    )
}

/// Returns the parameters of a function of the contract in D.
fn parameters(contract: &Contract<'_>, function: &Function) -> String {
    let parameters = function.params.iter().map(|parameter| {
        let ty = match contract.shape(&parameter.ty) {
            Shape::List(inner) => format!("scope const({})[]", type_name(contract, inner)),
            _ => type_name(contract, &parameter.ty),
        };
        format!("{ty} {}", local(&parameter.name))
    });
    parameters.collect::<Vec<_>>().join(", ")
}

fn import(contract: &Contract<'_>, interface: &Interface<'_>, function: &Function) -> String {
    let host = format!("host_{}_{}", snake(interface.name), snake(&function.name));
    let signature = contract.signature(function, AbiVariant::GuestImport);
    let declared: Vec<&str> = signature.params.iter().map(core).collect();
    let direct = signature.results.first().map_or("void", core);
    let mut text = format!(
        "private @llvmAttr(\"wasm-import-module\", \"{}\") @llvmAttr(\"wasm-import-name\", \"{}\")\nextern (C) {direct} {host}({});\n\n{}{} {}({}{})\n{{\n",
        interface.full_name,
        function.name,
        declared.join(", "),
        comment(&function.docs, "/// "),
        result_type(contract, function),
        identifier(&camel(&function.name)),
        parameters(contract, function),
        variadic(contract, function),
    );
    let mut arguments: Vec<String> = function
        .params
        .iter()
        .flat_map(|parameter| lowered(contract, &local(&parameter.name), &parameter.ty))
        .collect();
    match &function.result {
        Some(ty) if signature.retptr => {
            arguments.push("start".into());
            let _ = write!(
                text,
                "    ulong[{}] place = void;\n    const start = cast(size_t) place.ptr;\n    {host}({});\n{}",
                contract.size(ty).div_ceil(8),
                arguments.join(", "),
                returned(contract, ty),
            );
        }
        Some(ty) => {
            let call = format!("{host}({})", arguments.join(", "));
            let _ = writeln!(text, "    return {};", from_core(contract, &call, ty));
        }
        None => {
            let _ = writeln!(text, "    {host}({});", arguments.join(", "));
        }
    }
    text + "}\n"
}

/// Returns `...` if the last parameter is a list, whose elements can then be arguments.
fn variadic(contract: &Contract<'_>, function: &Function) -> &'static str {
    let is_list = |ty: &Type| matches!(contract.shape(ty), Shape::List(_));
    match function.params.last().is_some_and(|parameter| is_list(&parameter.ty)) {
        true => "...",
        false => "",
    }
}

/// Returns the statements that load a function's result from memory and return it.
fn returned(contract: &Contract<'_>, ty: &Type) -> String {
    let load = |ty: &Type, offset: usize| {
        format!("abi.load!({})(start + {offset})", type_name(contract, ty))
    };
    let Shape::Result(ok, err) = contract.shape(ty) else {
        return format!("    return {};\n", load(ty, 0));
    };
    let offset = contract.payload_offset([ok, err]);
    let error = err.map_or("NoReason()".to_owned(), |err| load(err, offset));
    let value = match ok {
        Some(ok) => format!("typeof(return)({})", load(ok, offset)),
        None => "typeof(return).init".to_owned(),
    };
    format!(
        "    if (*cast(ubyte*) start)\n        return typeof(return)({error});\n    return {value};\n"
    )
}

/// Returns the module with the functions that the host calls.
fn exports(contract: &Contract<'_>, module: &str) -> String {
    let buffer = contract.result_buffer_size(&contract.exports) / 8;
    let mut text = format!(
        "/// The functions that the host calls. `behaviour build` writes this file; changes to it\n/// are lost.\nmodule exports;\n\nimport behaviour;\nimport ldc.attributes : llvmAttr;\nstatic import {module};\n\nprivate __gshared ulong[{buffer}] area;\n"
    );
    for interface in &contract.exports {
        for function in interface.functions() {
            text += &export(contract, interface, function, module);
        }
    }
    text
}

fn export(
    contract: &Contract<'_>,
    interface: &Interface<'_>,
    function: &Function,
    module: &str,
) -> String {
    let own = identifier(&camel(&contract.export_name(interface, function)));
    let signature = contract.signature(function, AbiVariant::GuestExport);
    let listed = signature.params.iter().enumerate().map(|(i, ty)| format!("{} p{i}", core(ty)));
    let listed: Vec<String> = listed.collect();
    let mut next = 0;
    let values = function.params.iter().map(|parameter| {
        let value = lifted(contract, next, &parameter.ty);
        next += contract.flat_count(&parameter.ty);
        value
    });
    let call = format!("{module}.{own}({})", values.collect::<Vec<_>>().join(", "));
    let (result, body) = match &function.result {
        None => ("void", format!("    {call};\n")),
        Some(ty) if signature.retptr => ("size_t", answered(contract, &call, ty)),
        Some(ty) => {
            let value = lowered(contract, &call, ty).concat();
            (signature.results.first().map_or("void", core), format!("    return {value};\n"))
        }
    };
    let (name, core_name) = (interface.name, Contract::core_name(interface, function));
    let wanted =
        format!("{} {own}({})", result_type(contract, function), parameters(contract, function));
    format!(
        "\nstatic assert(__traits(hasMember, {module}, \"{own}\"), \"the world exports `{name}`: write `{wanted}`\");\n\n@llvmAttr(\"wasm-export-name\", \"{core_name}\")\nextern (C) {result} export_{}_{}({})\n{{\n{body}}}\n",
        snake(name),
        snake(&function.name),
        listed.join(", "),
    )
}

/// Returns the statements that call the author's function and store its result for the host.
fn answered(contract: &Contract<'_>, call: &str, ty: &Type) -> String {
    let place = "    const place = cast(size_t) area.ptr;\n";
    let Shape::Result(ok, err) = contract.shape(ty) else {
        let name = type_name(contract, ty);
        return format!("{place}    abi.store!({name})(place, {call});\n    return place;\n");
    };
    let offset = contract.payload_offset([ok, err]);
    let store = |ty: Option<&Type>, value: &str| match ty {
        Some(ty) => {
            let name = type_name(contract, ty);
            format!("    abi.store!({name})(place + {offset}, outcome.{value});\n")
        }
        None => String::new(),
    };
    format!(
        "    const outcome = {call};\n{place}    *cast(ubyte*) place = outcome.failed;\n    if (outcome.failed)\n    {{\n    {}    return place;\n    }}\n{}    return place;\n",
        store(err, "error"),
        store(ok, "value"),
    )
}

/// Returns the name of a parameter, which must not hide a name that the glue uses.
fn local(name: &str) -> String {
    let name = camel(name);
    match name.as_str() {
        "place" | "start" | "text" | "abi" => name + "_",
        _ => identifier(&name),
    }
}
