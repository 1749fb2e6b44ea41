//! Glue for Zig: the file `gen/behaviour.zig`, with a declaration for each type and
//! function. Zig computes the memory layout of the types at compile time.

use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{Function, Type};

use super::contract::{Contract, Interface, Shape, camel, comment, indented, pascal, snake};

const RUNTIME: &str = include_str!("zig.zig");

const PANIC: &str = include_str!("zig/panic.zig");

/// Names in `zig.zig` that a parameter must not shadow.
const TAKEN: [&str; 7] = ["std", "allocator", "plugin", "abi", "host", "describe", "panic"];

/// Returns the path and text of the file.
pub(super) fn files(contract: &Contract<'_>) -> Vec<(String, String)> {
    let mut text = RUNTIME.to_owned();
    for interface in contract.imports.iter().chain(&contract.exports) {
        // An export needs only types, since the author implements its functions.
        let is_import =
            contract.imports.iter().any(|import| import.full_name == interface.full_name);
        text += &namespace(contract, interface, is_import);
    }
    if contract.imports.iter().any(|import| import.name == "log") {
        text += PANIC;
    }
    if !contract.exports.is_empty() {
        text += &exports(contract);
    }
    vec![("behaviour.zig".to_owned(), text)]
}

/// Returns the declarations of an interface: its types and, for an import, its functions.
fn namespace(contract: &Contract<'_>, interface: &Interface<'_>, is_import: bool) -> String {
    let types: Vec<Type> = interface.types(contract.resolve).collect();
    let functions: Vec<&Function> = interface.functions().filter(|_| is_import).collect();
    let is_shared = types.iter().any(|ty| contract.name(ty).0.is_none());
    if is_shared {
        return types.iter().map(|ty| format!("\n{}", definition(contract, ty))).collect();
    }
    if types.is_empty() && functions.is_empty() {
        return String::new();
    }
    let mut body: Vec<String> = types.iter().map(|ty| definition(contract, ty)).collect();
    body.extend(functions.iter().map(|function| import(contract, interface, function)));
    if !functions.is_empty() {
        let declared = functions.iter().map(|function| declaration(contract, interface, function));
        body.push(format!(
            "const host = struct {{\n{}}};\n",
            indented(&declared.collect::<String>(), 4)
        ));
    }
    let docs = comment(&interface.wit.docs, "/// ");
    let name = quoted(&snake(interface.name));
    format!("\n{docs}pub const {name} = struct {{\n{}}};\n", indented(&body.join("\n"), 4))
}

fn definition(contract: &Contract<'_>, ty: &Type) -> String {
    let docs = comment(contract.docs(ty), "/// ");
    let (_, name) = contract.name(ty);
    let members: String = match contract.shape(ty) {
        Shape::Record(record) => {
            let fields = record.fields.iter().map(|field| {
                let (docs, name) = (comment(&field.docs, "    /// "), quoted(&snake(&field.name)));
                let default = match contract.shape(&field.ty) {
                    Shape::Option(_) => " = null",
                    _ => "",
                };
                format!("{docs}    {name}: {}{default},\n", type_name(contract, &field.ty))
            });
            format!("struct {{\n{}", fields.collect::<String>())
        }
        Shape::Variant(variant) => {
            let cases = variant.cases.iter().map(|case| {
                let (docs, name) = (comment(&case.docs, "    /// "), quoted(&snake(&case.name)));
                match &case.ty {
                    Some(ty) => format!("{docs}    {name}: {},\n", type_name(contract, ty)),
                    None => format!("{docs}    {name},\n"),
                }
            });
            format!("union(enum) {{\n{}", cases.collect::<String>())
        }
        Shape::Enum(kind) => {
            let cases = kind.cases.iter().map(|case| {
                format!("{}    {},\n", comment(&case.docs, "    /// "), quoted(&snake(&case.name)))
            });
            format!("enum(u8) {{\n{}", cases.collect::<String>())
        }
        _ => unreachable!("the only named types are records, enums and variants"),
    };
    format!("{docs}pub const {} = {members}}};\n", pascal(name))
}

fn type_name(contract: &Contract<'_>, ty: &Type) -> String {
    let name = |ty: &Type| type_name(contract, ty);
    match contract.shape(ty) {
        Shape::Bool => "bool".into(),
        Shape::Char => "u32".into(),
        Shape::Integer { bits, signed } => format!("{}{bits}", if signed { 'i' } else { 'u' }),
        Shape::Float { bits } => format!("f{bits}"),
        Shape::Text | Shape::Bytes => "[]const u8".into(),
        Shape::Json => "Json".into(),
        Shape::List(inner) => format!("[]const {}", name(inner)),
        Shape::Option(inner) => format!("?{}", name(inner)),
        Shape::Tuple(types) => {
            let types: Vec<String> = types.iter().map(name).collect();
            format!("struct {{ {} }}", types.join(", "))
        }
        Shape::Record(_) | Shape::Variant(_) | Shape::Enum(_) => match contract.name(ty) {
            (Some(interface), name) => format!("{}.{}", quoted(&snake(interface)), pascal(name)),
            (None, name) => pascal(name),
        },
        Shape::Result(ok, err) => {
            let name = |ty: Option<&Type>| ty.map_or("void".to_owned(), name);
            format!("Result({}, {})", name(ok), name(err))
        }
    }
}

fn result_type(contract: &Contract<'_>, function: &Function) -> String {
    function.result.as_ref().map_or("void".into(), |ty| type_name(contract, ty))
}

/// Returns the `extern` declaration of an import, whose parameters are core values.
fn declaration(contract: &Contract<'_>, interface: &Interface<'_>, function: &Function) -> String {
    let signature = contract.signature(function, AbiVariant::GuestImport);
    let parameters: Vec<&str> = signature.params.iter().map(core).collect();
    let result = signature.results.first().map_or("void", core);
    let (module, name) = (&interface.full_name, &function.name);
    format!("extern \"{module}\" fn @\"{name}\"({}) {result};\n", parameters.join(", "))
}

fn import(contract: &Contract<'_>, interface: &Interface<'_>, function: &Function) -> String {
    let parameters = function.params.iter().map(|parameter| {
        let name = parameter_name(contract, interface, &parameter.name);
        (name, type_name(contract, &parameter.ty), &parameter.ty)
    });
    let parameters: Vec<_> = parameters.collect();
    let listed: Vec<_> = parameters.iter().map(|(name, ty, _)| format!("{name}: {ty}")).collect();
    let mut arguments: Vec<String> =
        parameters.iter().flat_map(|(name, _, ty)| lowered(contract, name, ty)).collect();
    let result = result_type(contract, function);
    let signature = contract.signature(function, AbiVariant::GuestImport);
    let body = if signature.retptr {
        let ty = function.result.as_ref().expect("a function with a result pointer has a result");
        arguments.push("@intFromPtr(&place)".into());
        format!(
            "    var place: [{}]u8 align(8) = undefined;\n    host.@\"{}\"({});\n    return abi.load({result}, @intFromPtr(&place));\n",
            contract.size(ty),
            function.name,
            arguments.join(", "),
        )
    } else {
        let call = format!("host.@\"{}\"({})", function.name, arguments.join(", "));
        let value =
            function.result.as_ref().map_or(call.clone(), |ty| from_core(contract, &call, ty));
        format!("    return {value};\n")
    };
    let docs = comment(&function.docs, "/// ");
    let name = quoted(&camel(&function.name));
    format!("{docs}pub fn {name}({}) {result} {{\n{body}}}\n", listed.join(", "))
}

/// Returns the core values of a parameter.
fn lowered(contract: &Contract<'_>, value: &str, ty: &Type) -> Vec<String> {
    match contract.shape(ty) {
        Shape::Bool => vec![format!("@intFromBool({value})")],
        Shape::Enum(_) => vec![format!("@intFromEnum({value})")],
        Shape::Integer { signed: true, bits: 64 } => vec![format!("@bitCast({value})")],
        Shape::Integer { signed: true, .. } => vec![format!("@bitCast(@as(i32, {value}))")],
        Shape::Text | Shape::Json | Shape::Bytes => {
            vec![format!("abi.lowered(u8, {value})"), format!("{value}.len")]
        }
        Shape::List(inner) => {
            let inner = type_name(contract, inner);
            vec![format!("abi.lowered({inner}, {value})"), format!("{value}.len")]
        }
        Shape::Option(inner) => {
            let some = format!("({value} orelse std.mem.zeroes({}))", type_name(contract, inner));
            let mut values = vec![format!("@intFromBool({value} != null)")];
            values.extend(lowered(contract, &some, inner));
            values
        }
        Shape::Tuple(types) => {
            let members = types.iter().enumerate();
            members.flat_map(|(i, ty)| lowered(contract, &format!("{value}[{i}]"), ty)).collect()
        }
        Shape::Record(record) => {
            let fields = record
                .fields
                .iter()
                .map(|field| (format!("{value}.{}", quoted(&snake(&field.name))), &field.ty));
            fields.flat_map(|(value, ty)| lowered(contract, &value, ty)).collect()
        }
        _ => vec![value.to_owned()],
    }
}

/// Returns the functions that the host calls. Each calls a function of the author.
fn exports(contract: &Contract<'_>) -> String {
    let (mut functions, mut exported) = (String::new(), String::new());
    for interface in &contract.exports {
        for function in interface.functions() {
            let own = camel(&contract.export_name(interface, function));
            let name = format!("{}_{}", snake(interface.name), snake(&function.name));
            functions += &export(contract, function, &name, &own);
            let result = result_type(contract, function);
            let parameters = function.params.iter().map(|parameter| {
                format!("{}: {}", snake(&parameter.name), type_name(contract, &parameter.ty))
            });
            let parameters = parameters.collect::<Vec<_>>().join(", ");
            let core_name = Contract::core_name(interface, function);
            exported += &format!(
                "    if (!@hasDecl(plugin, \"{own}\")) @compileError(\"the world exports `{}`: write `pub fn {own}({parameters}) {result}`\");\n    @export(&{name}, .{{ .name = \"{core_name}\" }});\n",
                interface.name,
            );
        }
    }
    format!(
        "\nconst exported = struct {{\n{}}};\n\ncomptime {{\n{}}}\n",
        indented(&functions, 4),
        exported.replace("@export(&", "@export(&exported.")
    )
}

fn export(contract: &Contract<'_>, function: &Function, name: &str, own: &str) -> String {
    let signature = contract.signature(function, AbiVariant::GuestExport);
    let parameters = signature.params.iter().enumerate();
    let parameters = parameters.map(|(i, ty)| format!("p{i}: {}", core(ty))).collect::<Vec<_>>();
    let mut next = 0;
    let arguments = function.params.iter().map(|parameter| {
        let value = lifted(contract, next, &parameter.ty);
        next += contract.flat_count(&parameter.ty);
        value
    });
    let call = format!("plugin.{}({})", quoted(own), arguments.collect::<Vec<_>>().join(", "));
    let (result, body) = match &function.result {
        None => ("void", format!("    {call};\n")),
        Some(ty) if signature.retptr => {
            let ty = type_name(contract, ty);
            ("u32", format!("    return abi.returned({ty}, {call});\n"))
        }
        Some(ty) => {
            let result = signature.results.first().map_or("void", core);
            let value = lowered(contract, &call, ty).concat();
            (result, format!("    return {value};\n"))
        }
    };
    let parameters = parameters.join(", ");
    format!("fn {name}({parameters}) callconv(.c) {result} {{\n{body}}}\n")
}

/// Returns the expression for a parameter whose first core value is `p{first}`.
fn lifted(contract: &Contract<'_>, first: usize, ty: &Type) -> String {
    match contract.shape(ty) {
        Shape::Text | Shape::Json | Shape::Bytes => {
            format!("abi.list(u8, p{first}, p{})", first + 1)
        }
        Shape::List(inner) => {
            format!("abi.list({}, p{first}, p{})", type_name(contract, inner), first + 1)
        }
        Shape::Option(inner) => {
            format!("if (p{first} == 0) null else {}", lifted(contract, first + 1, inner))
        }
        Shape::Tuple(types) => {
            let mut next = first;
            let members = types.iter().map(|ty| {
                let value = lifted(contract, next, ty);
                next += contract.flat_count(ty);
                value
            });
            format!(".{{ {} }}", members.collect::<Vec<_>>().join(", "))
        }
        Shape::Record(record) => {
            let mut next = first;
            let fields = record.fields.iter().map(|field| {
                let value = lifted(contract, next, &field.ty);
                next += contract.flat_count(&field.ty);
                format!(".{} = {value}", quoted(&snake(&field.name)))
            });
            format!(".{{ {} }}", fields.collect::<Vec<_>>().join(", "))
        }
        _ => from_core(contract, &format!("p{first}"), ty),
    }
}

/// Returns the expression that converts a core value to a scalar.
fn from_core(contract: &Contract<'_>, value: &str, ty: &Type) -> String {
    match contract.shape(ty) {
        Shape::Bool => format!("{value} != 0"),
        Shape::Enum(_) => format!("@enumFromInt({value})"),
        Shape::Integer { bits: 64, signed: true } => format!("@bitCast({value})"),
        Shape::Integer { bits: 8 | 16, signed: false } => format!("@intCast({value})"),
        Shape::Integer { bits, signed: true } => {
            format!("@as(i{bits}, @truncate(@as(i32, @bitCast({value}))))")
        }
        _ => value.to_owned(),
    }
}

fn core(ty: &WasmType) -> &'static str {
    match ty {
        WasmType::I64 | WasmType::PointerOrI64 => "u64",
        WasmType::F32 => "f32",
        WasmType::F64 => "f64",
        WasmType::I32 | WasmType::Pointer | WasmType::Length => "u32",
    }
}

/// Returns the name of a parameter, with a trailing underscore if it would shadow a
/// declaration. Shadowing is an error in Zig.
fn parameter_name(contract: &Contract<'_>, interface: &Interface<'_>, name: &str) -> String {
    let name = snake(name);
    let interfaces = contract.imports.iter().chain(&contract.exports);
    let is_taken = interfaces.map(|interface| snake(interface.name)).any(|taken| taken == name)
        || interface.functions().any(|function| camel(&function.name) == name)
        || TAKEN.contains(&name.as_str());
    if is_taken { format!("{name}_") } else { quoted(&name) }
}

/// Returns the name as an identifier. Keywords are quoted as `@"name"`.
fn quoted(name: &str) -> String {
    const KEYWORDS: [&str; 49] = [
        "addrspace",
        "align",
        "allowzero",
        "and",
        "anyframe",
        "anytype",
        "asm",
        "async",
        "await",
        "break",
        "callconv",
        "catch",
        "comptime",
        "const",
        "continue",
        "defer",
        "else",
        "enum",
        "errdefer",
        "error",
        "export",
        "extern",
        "fn",
        "for",
        "if",
        "inline",
        "linksection",
        "noalias",
        "noinline",
        "nosuspend",
        "opaque",
        "or",
        "orelse",
        "packed",
        "pub",
        "resume",
        "return",
        "struct",
        "suspend",
        "switch",
        "test",
        "threadlocal",
        "try",
        "type",
        "undefined",
        "union",
        "unreachable",
        "var",
        "while",
    ];
    if KEYWORDS.contains(&name) { format!("@\"{name}\"") } else { name.to_owned() }
}
