//! Glue for Nim: a module for each interface in `gen`, and the module `exports`, which is
//! compiled and imports the author's entry module.

mod values;

use std::fmt::Write as _;

use wit_parser::abi::AbiVariant;
use wit_parser::{Function, Type, TypeDefKind, TypeOwner, Variant};

use super::contract::{Contract, Interface, Shape, camel, comment, pascal, snake};
use values::{core, core_parameters, from_core, lifted, local, lowered, quoted, type_name};

const ABI: &str = include_str!("nim/abi.nim");

const HEADER: &str = "\
## The functions that the host calls. `behaviour build` writes this file; changes to it are
## lost.
";

/// The functions that the host calls use these.
const EXPORTS: &str = include_str!("nim/exports.nim");

/// The name of the module that is compiled.
pub(crate) const ROOT: &str = "exports.nim";

/// Returns the path and text of each file. `entry` is the path of the author's module.
pub(super) fn files(contract: &Contract<'_>, entry: &str) -> Vec<(String, String)> {
    let mut files = vec![("abi.nim".to_owned(), ABI.to_owned())];
    for interface in contract.imports.iter().chain(&contract.exports) {
        let is_import =
            contract.imports.iter().any(|import| import.full_name == interface.full_name);
        let types: Vec<Type> = interface.types(contract.resolve).collect();
        let file = format!("{}.nim", snake(interface.name));
        if (is_import || !types.is_empty()) && !files.iter().any(|(name, _)| *name == file) {
            files.push((file, module(contract, interface, &types, is_import)));
        }
    }
    files.push((ROOT.to_owned(), exports(contract, entry)));
    files
}

/// Returns the module of an interface: its types and, for an import, its functions.
fn module(
    contract: &Contract<'_>,
    interface: &Interface<'_>,
    types: &[Type],
    is_import: bool,
) -> String {
    let mut text = comment(&interface.wit.docs, "## ");
    text += "\nimport std/options\nimport abi\n";
    let used = used_interfaces(contract, interface);
    for other in &used {
        text += &format!("import {other}\n");
    }
    text += "export options\nexport abi.Json, abi.Failure, abi.refuse\n";
    for ty in types {
        text += &definition(contract, ty);
    }
    for function in interface.functions().filter(|_| is_import) {
        text += &import(contract, interface, function);
    }
    text
}

/// Returns the other interfaces whose types an interface uses.
fn used_interfaces(contract: &Contract<'_>, interface: &Interface<'_>) -> Vec<String> {
    let mut used: Vec<String> = Vec::new();
    for id in interface.wit.types.values() {
        let TypeDefKind::Type(Type::Id(other)) = contract.resolve.types[*id].kind else { continue };
        let TypeOwner::Interface(owner) = contract.resolve.types[other].owner else { continue };
        let name = contract.resolve.interfaces[owner].name.as_deref().map(snake);
        if let Some(name) = name.filter(|name| *name != snake(interface.name))
            && !used.contains(&name)
        {
            used.push(name);
        }
    }
    used
}

fn definition(contract: &Contract<'_>, ty: &Type) -> String {
    let name = pascal(contract.name(ty).1);
    let docs = comment(contract.docs(ty), "    ## ");
    let mut text = String::new();
    match contract.shape(ty) {
        Shape::Record(record) => {
            let _ = write!(text, "\ntype\n  {name}* = object\n{docs}");
            let fields = || record.fields.iter().map(|field| (quoted(&camel(&field.name)), field));
            for (name, field) in fields() {
                let _ = writeln!(text, "    {name}*: {}", type_name(contract, &field.ty));
                text += &comment(&field.docs, "      ## ");
            }
            let offsets = contract.offsets(record.fields.iter().map(|field| &field.ty));
            let places: Vec<_> = fields().zip(&offsets).collect();
            let loads = places.iter().map(|((field, _), (offset, ty))| {
                format!("{field}: load(place + {offset}, {})", type_name(contract, ty))
            });
            let loads = loads.collect::<Vec<_>>().join(",\n    ");
            let stores = places.iter().map(|((field, _), (offset, _))| {
                format!("  store(place + {offset}, value.{field})\n")
            });
            let stores: String = stores.collect();
            text += &conversions(contract, ty, &format!("  {name}({loads})\n"), &stores);
        }
        Shape::Enum(kind) => {
            let _ = write!(text, "\ntype\n  {name}* {{.pure.}} = enum\n{docs}");
            for case in &kind.cases {
                let _ = writeln!(text, "    {} = {:?}", quoted(&camel(&case.name)), case.name);
                text += &comment(&case.docs, "      ## ");
            }
        }
        Shape::Variant(variant) => text += &variant_definition(contract, ty, &docs, variant),
        _ => unreachable!("the only named types are records, enums and variants"),
    }
    text
}

/// Returns the definition of a variant: an object with a kind, a function for each case, and
/// the exception with which the host reports it.
fn variant_definition(contract: &Contract<'_>, ty: &Type, docs: &str, variant: &Variant) -> String {
    let name = pascal(contract.name(ty).1);
    let (mut kinds, mut fields) = (String::new(), String::new());
    let (mut makers, mut texts) = (String::new(), String::new());
    let (mut loads, mut stores) = (String::new(), String::new());
    let offset = contract.variant_payload(variant);
    for (tag, case) in variant.cases.iter().enumerate() {
        let (kind, field) = (quoted(&camel(&case.name)), format!("{}Value", camel(&case.name)));
        let _ = writeln!(kinds, "    {kind} = {:?}", case.name.replace('-', " "));
        let docs = comment(&case.docs, "  ## ");
        let of = format!("of {name}Kind.{kind}:");
        let value = case.ty.as_ref().map(|ty| (type_name(contract, ty), contract.shape(ty)));
        let Some((value, shape)) = value else {
            let _ = writeln!(fields, "    {of} discard");
            let _ = writeln!(texts, "  {of} discard");
            let _ = writeln!(loads, "  of {tag}: {name}(kind: {name}Kind.{kind})");
            let _ = writeln!(stores, "  {of} discard");
            let _ = write!(
                makers,
                "\nproc {kind}*(_: typedesc[{name}]): {name} =\n{docs}  {name}(kind: {name}Kind.{kind})\n"
            );
            continue;
        };
        let _ = writeln!(fields, "    {of} {field}*: {value}");
        let parameter = match shape {
            Shape::Option(inner) => format!("value = none({})", type_name(contract, inner)),
            _ => format!("value: {value}"),
        };
        let shown = match shape {
            Shape::Text => format!("(if value.{field} != \"\": result.add \": \" & value.{field})"),
            _ => "discard".to_owned(),
        };
        let _ = writeln!(texts, "  {of} {shown}");
        let _ = writeln!(
            loads,
            "  of {tag}: {name}(kind: {name}Kind.{kind}, {field}: load(place + {offset}, {value}))"
        );
        let _ = writeln!(stores, "  {of} store(place + {offset}, value.{field})");
        let _ = write!(
            makers,
            "\nproc {kind}*(_: typedesc[{name}], {parameter}): {name} =\n{docs}  {name}(kind: {name}Kind.{kind}, {field}: value)\n"
        );
    }
    let loads = format!("  case at[uint8](place)\n{loads}  else: trap()\n");
    let stores = format!("  put(place, uint8(ord(value.kind)))\n  case value.kind\n{stores}");
    let conversions = conversions(contract, ty, &loads, &stores);
    format!(
        "\ntype\n  {name}Kind* {{.pure.}} = enum\n{kinds}\n  {name}* = object\n{docs}    case kind*: {name}Kind\n{fields}\n  Host{name}* = Failure[{name}]\n    ## Raised if the host returns this error.\n{makers}\nproc `$`*(value: {name}): string =\n  ## Returns one line: the case and, if its value is a text, the text.\n  result = $value.kind\n  case value.kind\n{texts}{conversions}"
    )
}

/// Returns the functions that load and store a record or variant.
fn conversions(contract: &Contract<'_>, ty: &Type, load: &str, store: &str) -> String {
    let name = pascal(contract.name(ty).1);
    let (align, size) = (contract.align(ty), contract.size(ty));
    format!(
        "\n{{.push stackTrace: off.}}\n\nfunc layout*(_: typedesc[{name}]): tuple[align, size: int] = ({align}, {size})\n\nproc load*(place: uint, _: typedesc[{name}]): {name} =\n{load}\nproc store*(place: uint, value: {name}) =\n{store}\n{{.pop.}}\n"
    )
}

/// Returns the parameters of a function of the contract in Nim.
fn parameters(contract: &Contract<'_>, function: &Function) -> String {
    let parameters = function.params.iter().map(|parameter| {
        let ty = match contract.shape(&parameter.ty) {
            Shape::List(inner) => format!("openArray[{}] = []", type_name(contract, inner)),
            _ => type_name(contract, &parameter.ty),
        };
        format!("{}: {ty}", local(&parameter.name))
    });
    parameters.collect::<Vec<_>>().join(", ")
}

/// Returns the part of a Nim function's type after the parameters.
fn result(contract: &Contract<'_>, function: &Function) -> String {
    let Some(ty) = &function.result else { return String::new() };
    let ty = match contract.shape(ty) {
        Shape::Result(ok, _) => ok.map(|ok| type_name(contract, ok)),
        _ => Some(type_name(contract, ty)),
    };
    ty.map(|ty| format!(": {ty}")).unwrap_or_default()
}

fn import(contract: &Contract<'_>, interface: &Interface<'_>, function: &Function) -> String {
    let name = camel(&function.name);
    let host = format!("host{}", pascal(&function.name));
    let signature = contract.signature(function, AbiVariant::GuestImport);
    let declared = core_parameters(&signature.params);
    let direct = signature.results.first().map(|ty| format!(": {}", core(ty))).unwrap_or_default();
    let c_name = format!("behaviour_{}_{}", snake(interface.name), snake(&function.name));
    let attribute = format!(
        "__attribute__((import_module(\\\"{}\\\"), import_name(\\\"{}\\\"))) $# $#$#",
        interface.full_name, function.name
    );
    let mut text = format!(
        "\nproc {host}({declared}){direct} {{.importc: \"{c_name}\", cdecl, codegenDecl: \"{attribute}\".}}\n\nproc {}*({}){} =\n{}",
        quoted(&name),
        parameters(contract, function),
        result(contract, function),
        comment(&function.docs, "  ## "),
    );
    let mut arguments = Vec::new();
    for parameter in &function.params {
        let name = local(&parameter.name);
        arguments.extend(lowered(contract, &name, &parameter.ty, &mut text));
    }
    match &function.result {
        None => {
            let _ = writeln!(text, "  {host}({})", arguments.join(", "));
        }
        Some(ty) if signature.retptr => {
            let words = contract.size(ty).div_ceil(8);
            arguments.push("start".into());
            let _ = write!(
                text,
                "  var place {{.noinit.}}: array[{words}, uint64]\n  let start = cast[uint](addr place)\n  {host}({})\n{}",
                arguments.join(", "),
                returned(contract, &name, ty),
            );
        }
        Some(ty) => {
            let call = format!("{host}({})", arguments.join(", "));
            let _ = writeln!(text, "  {}", from_core(contract, &call, ty));
        }
    }
    text
}

/// Returns the statements that load a function's result from memory and return it.
fn returned(contract: &Contract<'_>, name: &str, ty: &Type) -> String {
    let Shape::Result(ok, err) = contract.shape(ty) else {
        return format!("  load(start, {})\n", type_name(contract, ty));
    };
    let offset = contract.payload_offset([ok, err]);
    let raised = match err {
        Some(ty) => {
            format!("failed(\"{name}\", load(start + {offset}, {}))", type_name(contract, ty))
        }
        None => format!("failed(\"{name}\", \"an error without a value\")"),
    };
    let value = ok.map(|ok| format!("  load(start + {offset}, {})\n", type_name(contract, ok)));
    format!("  if at[uint8](start) != 0: {raised}\n{}", value.unwrap_or_default())
}

/// Returns the module with the functions that the host calls.
fn exports(contract: &Contract<'_>, entry: &str) -> String {
    let mut imported: Vec<String> = Vec::new();
    for interface in &contract.exports {
        let own = interface.types(contract.resolve).next().map(|_| snake(interface.name));
        imported.extend(used_interfaces(contract, interface).into_iter().chain(own));
    }
    imported.sort();
    imported.dedup();
    let log = contract.imports.iter().any(|import| import.name == "log");
    let report = match log {
        true => {
            "import log\n\nproc report(message: string) = log.write(Level.error, message, [])\n"
        }
        false => "proc report(message: string) = stderr.write(message, \"\\n\")\n",
    };
    let imports: String = imported.iter().map(|name| format!("import {name}\n")).collect();
    let buffer = contract.result_buffer_size(&contract.exports) / 8;
    let mut text = format!(
        "{HEADER}\nimport abi\n{imports}import {entry:?} as plugin\n{report}{EXPORTS}\nvar area {{.noinit.}}: array[{buffer}, uint64]\n"
    );
    for interface in &contract.exports {
        for function in interface.functions() {
            text += &export(contract, interface, function);
        }
    }
    text
}

fn export(contract: &Contract<'_>, interface: &Interface<'_>, function: &Function) -> String {
    let own = quoted(&camel(&contract.export_name(interface, function)));
    let signature = contract.signature(function, AbiVariant::GuestExport);
    let parameters_in_core = core_parameters(&signature.params);
    let mut next = 0;
    let values = function.params.iter().map(|parameter| {
        let value = lifted(contract, next, &parameter.ty);
        next += contract.flat_count(&parameter.ty);
        value
    });
    let call = format!("plugin.{own}({})", values.collect::<Vec<_>>().join(", "));
    let (direct, body) = match &function.result {
        None => (String::new(), format!("  outermost:\n    {call}\n")),
        Some(ty) if signature.retptr => {
            let body = answered(contract, &call, ty);
            (": uint".to_owned(), format!("  result = cast[uint](addr area)\n{body}"))
        }
        Some(ty) => {
            let direct = signature.results.first().map(|ty| format!(": {}", core(ty)));
            // A result of one core value contains no option, which would need a statement.
            let value = lowered(contract, &call, ty, &mut String::new()).concat();
            (direct.unwrap_or_default(), format!("  outermost:\n    result = {value}\n"))
        }
    };
    let (core_name, name) = (Contract::core_name(interface, function), interface.name);
    let c_name = format!("behaviour_export_{}_{}", snake(name), snake(&function.name));
    let (listed, result) = (parameters(contract, function), result(contract, function));
    format!(
        "\nwhen not declared(plugin.{own}):\n  {{.error: \"the world exports `{name}`: write `proc {own}*({listed}){result}`\".}}\n\nproc export{}{}({parameters_in_core}){direct} {{.exportc: \"{c_name}\", cdecl,\n    codegenDecl: \"__attribute__((export_name(\\\"{core_name}\\\"))) $# $#$#\".}} =\n  start()\n{body}",
        pascal(name),
        pascal(&function.name),
    )
}

/// Returns the statements that call the author's function and store its result for the host.
fn answered(contract: &Contract<'_>, call: &str, ty: &Type) -> String {
    let Shape::Result(ok, err) = contract.shape(ty) else {
        return format!("  outermost:\n    store(result, {call})\n");
    };
    let offset = contract.payload_offset([ok, err]);
    let stored = match ok {
        Some(_) => format!("    store(result + {offset}, {call})\n"),
        None => format!("    {call}\n"),
    };
    let Some(err) = err else {
        return format!("  outermost:\n{stored}    put(result, 0'u8)\n");
    };
    let name = type_name(contract, err);
    let other = match contract.shape(err) {
        Shape::Text => Some("described(error)".to_owned()),
        Shape::Variant(variant) => contract
            .catch_all(variant)
            .map(|case| format!("{name}.{}(described(error))", quoted(&camel(case)))),
        _ => None,
    };
    let other = match other {
        Some(value) => format!(
            "    logged(error)\n    put(result, 1'u8)\n    store(result + {offset}, {value})\n"
        ),
        None => "    logged(error)\n    trap()\n".to_owned(),
    };
    format!(
        "  try:\n{stored}    put(result, 0'u8)\n  except Failure[{name}] as failure:\n    put(result, 1'u8)\n    store(result + {offset}, failure.error)\n  except Exception as error:\n{other}"
    )
}
