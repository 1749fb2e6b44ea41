//! Glue for Lua: C code that binds the interfaces to the runtime in `build/lua`, and
//! annotated files in `gen`, from which an editor knows the functions of the host.

mod annotations;

use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{Function, Type};

use super::contract::{Contract, Interface, Shape, snake};
pub(super) use annotations::files;

/// The prefix of the modules with the host's functions.
const PREFIX: &str = "behaviour.";

const JSON: &str = include_str!("../lua/json.lua");

/// The name and text of the module that each plugin can use without the host.
pub(crate) const JSON_MODULE: (&str, &str) = ("behaviour.json", JSON);

/// Returns the C code that binds the runtime to the world. It imports only the interfaces
/// that `sources` name, and `log`, to which errors are written.
pub(super) fn bindings(contract: &Contract<'_>, sources: &[String]) -> String {
    let mut code = Code::default();
    let mut table = String::new();
    for interface in &contract.imports {
        let module = format!("{PREFIX}{}", snake(interface.name));
        if interface.name != "log" && !sources.iter().any(|text| text.contains(&module)) {
            continue;
        }
        for function in interface.functions() {
            let name = format!("import_{}_{}", snake(interface.name), snake(&function.name));
            import(&mut code, contract, interface, function, &name);
            table += &format!("    {{\"{module}\", \"{}\", {name}}},\n", snake(&function.name));
        }
    }
    for interface in &contract.exports {
        for function in interface.functions() {
            export(&mut code, contract, interface, function);
        }
    }
    format!(
        "/* Generated from the project's WIT. */\n\n#include <string.h>\n\n#include \"runtime.h\"\n\n{}\n{}\nconst Import behaviour_imports[] = {{\n{table}    {{NULL, NULL, NULL}},\n}};\n",
        code.types.concat(),
        code.functions
    )
}

#[derive(Default)]
struct Code {
    /// The definitions of the types, each of which follows those that it uses.
    types: Vec<String>,
    functions: String,
}

impl Code {
    /// Returns the address of a type's description.
    fn of(&mut self, contract: &Contract<'_>, ty: &Type) -> String {
        let member = |name: &str, ty: Option<String>, offset: usize| {
            format!("{{{name}, {}, {offset}}}", ty.unwrap_or_else(|| "NULL".into()))
        };
        let named = |name: &str| format!("\"{name}\"");
        let (kind, payload, members) = match contract.shape(ty) {
            Shape::Bool => ("BOOL", 0, Vec::new()),
            Shape::Char => ("CHAR", 0, Vec::new()),
            Shape::Integer { bits, signed } => (integer(bits, signed), 0, Vec::new()),
            Shape::Float { bits: 32 } => ("F32", 0, Vec::new()),
            Shape::Float { .. } => ("F64", 0, Vec::new()),
            Shape::Text | Shape::Json => ("TEXT", 0, Vec::new()),
            Shape::Bytes => ("BYTES", 0, Vec::new()),
            Shape::List(item) => {
                ("LIST", 0, vec![member("NULL", Some(self.of(contract, item)), 0)])
            }
            Shape::Option(some) => {
                let payload = contract.payload_offset([Some(some)]);
                ("OPTION", payload, vec![member("NULL", Some(self.of(contract, some)), 0)])
            }
            Shape::Tuple(types) => {
                let offsets = contract.offsets(types).into_iter();
                let members =
                    offsets.map(|(at, ty)| member("NULL", Some(self.of(contract, ty)), at));
                ("TUPLE", 0, members.collect())
            }
            Shape::Record(record) => {
                let offsets = contract.offsets(record.fields.iter().map(|field| &field.ty));
                let fields = record.fields.iter().zip(offsets).map(|(field, (at, ty))| {
                    member(&named(&snake(&field.name)), Some(self.of(contract, ty)), at)
                });
                ("RECORD", 0, fields.collect())
            }
            Shape::Variant(variant) => {
                let cases = variant.cases.iter().map(|case| {
                    member(&named(&case.name), case.ty.as_ref().map(|ty| self.of(contract, ty)), 0)
                });
                let cases = cases.collect();
                ("VARIANT", contract.variant_payload(variant), cases)
            }
            Shape::Result(ok, err) => {
                let cases = [("ok", ok), ("err", err)];
                let cases = cases
                    .map(|(name, ty)| member(&named(name), ty.map(|ty| self.of(contract, ty)), 0));
                ("VARIANT", contract.payload_offset([ok, err]), cases.to_vec())
            }
            Shape::Enum(kind) => {
                let names = kind.cases.iter().map(|case| member(&named(&case.name), None, 0));
                ("ENUM", 0, names.collect())
            }
        };
        self.define(kind, contract.size(ty), payload, &members)
    }

    /// Returns the address of the description of the parameters, as a record.
    fn parameters(&mut self, contract: &Contract<'_>, function: &Function) -> (String, usize) {
        let offsets = contract.offsets(function.params.iter().map(|parameter| &parameter.ty));
        let size = offsets.last().map_or(0, |(at, ty)| at + contract.size(ty));
        let members: Vec<String> = function
            .params
            .iter()
            .zip(offsets)
            .map(|(parameter, (at, ty))| {
                format!("{{\"{}\", {}, {at}}}", snake(&parameter.name), self.of(contract, ty))
            })
            .collect();
        (self.define("RECORD", size, 0, &members), size.next_multiple_of(8).max(8))
    }

    fn define(&mut self, kind: &str, size: usize, payload: usize, members: &[String]) -> String {
        let initial = match members {
            [] => format!("{{{kind}, {size}, {payload}, 0, NULL}}"),
            _ => format!(
                "{{{kind}, {size}, {payload}, {}, (const Member[]){{{}}}}}",
                members.len(),
                members.join(", ")
            ),
        };
        let known =
            self.types.iter().position(|known| known.ends_with(&format!(" = {initial};\n")));
        let index = known.unwrap_or_else(|| {
            self.types.push(format!("static const Type type{} = {initial};\n", self.types.len()));
            self.types.len() - 1
        });
        format!("&type{index}")
    }
}

fn integer(bits: u32, signed: bool) -> &'static str {
    match (bits, signed) {
        (8, false) => "U8",
        (16, false) => "U16",
        (32, false) => "U32",
        (_, false) => "U64",
        (8, true) => "S8",
        (16, true) => "S16",
        (32, true) => "S32",
        (_, true) => "S64",
    }
}

fn import(
    code: &mut Code,
    contract: &Contract<'_>,
    interface: &Interface<'_>,
    function: &Function,
    name: &str,
) {
    let signature = contract.signature(function, AbiVariant::GuestImport);
    let host = format!("host_{}", &name["import_".len()..]);
    let declared = signature.params.iter().map(core).collect::<Vec<_>>().join(", ");
    let declared = if declared.is_empty() { "void".into() } else { declared };
    let core_result = signature.results.first().map_or("void", core);
    let (parameters, size) = code.parameters(contract, function);
    let mut arguments: Vec<String> = flat_parameters(contract, function)
        .into_iter()
        .map(|(at, ty)| format!("*(const {ty} *)(in + {at})"))
        .collect();
    let own = snake(&function.name);
    let result = function.result.as_ref().map(|ty| (code.of(contract, ty), contract.size(ty)));
    let body = match &result {
        None => format!("  {host}({});\n  return 0;\n", arguments.join(", ")),
        Some((ty, size)) => {
            let call = if signature.retptr {
                arguments.push("(uint32_t)out".into());
                format!("{host}({})", arguments.join(", "))
            } else {
                format!("*({core_result} *)out = {host}({})", arguments.join(", "))
            };
            format!(
                "  _Alignas(8) char out[{}] = {{0}};\n  {call};\n  return behaviour_result(L, \"{own}\", {ty}, out);\n",
                size.next_multiple_of(8).max(8)
            )
        }
    };
    code.functions += &format!(
        "__attribute__((import_module(\"{}\"), import_name(\"{}\"))) {core_result} {host}({declared});\n\nstatic int {name}(lua_State *L) {{\n  _Alignas(8) char in[{size}] = {{0}};\n  behaviour_arguments(L, \"{own}\", {parameters}, in);\n{body}}}\n\n",
        interface.full_name, function.name,
    );
}

fn export(
    code: &mut Code,
    contract: &Contract<'_>,
    interface: &Interface<'_>,
    function: &Function,
) {
    let signature = contract.signature(function, AbiVariant::GuestExport);
    let name = format!("export_{}_{}", snake(interface.name), snake(&function.name));
    let (parameters, size) = code.parameters(contract, function);
    let result = function.result.as_ref().map(|ty| code.of(contract, ty));
    let declared = signature.params.iter().enumerate();
    let declared: Vec<String> = declared.map(|(i, ty)| format!("{} p{i}", core(ty))).collect();
    let declared = if declared.is_empty() { "void".into() } else { declared.join(", ") };
    let stores = flat_parameters(contract, function).into_iter().enumerate();
    let stores = stores.map(|(i, (at, ty))| format!("  *({ty} *)(in + {at}) = p{i};\n"));
    let core_result = signature.results.first().map_or("void", core);
    let call = "behaviour_call(&function, in)";
    let body = match &function.result {
        None => format!("  {call};\n"),
        Some(_) if signature.retptr => format!("  return (uint32_t){call};\n"),
        Some(ty) => match flat(contract, ty, 0).first() {
            Some((_, ty)) => format!("  return *({ty} *){call};\n"),
            None => format!("  {call};\n"),
        },
    };
    code.functions += &format!(
        "__attribute__((export_name(\"{}\"))) {core_result} {name}({declared}) {{\n  static const Export function = {{\"{}\", \"{}\", {parameters}, {}}};\n  _Alignas(8) char in[{size}] = {{0}};\n{}{body}}}\n\n",
        Contract::core_name(interface, function),
        snake(interface.name),
        snake(&function.name),
        result.unwrap_or_else(|| "NULL".into()),
        stores.collect::<String>(),
    );
}

fn flat_parameters(contract: &Contract<'_>, function: &Function) -> Vec<(usize, &'static str)> {
    let offsets = contract.offsets(function.params.iter().map(|parameter| &parameter.ty));
    offsets.into_iter().flat_map(|(at, ty)| flat(contract, ty, at)).collect()
}

/// Returns the place and the C type of each core value of a parameter.
fn flat(contract: &Contract<'_>, ty: &Type, at: usize) -> Vec<(usize, &'static str)> {
    let all = |offsets: Vec<(usize, &Type)>| {
        offsets.into_iter().flat_map(|(inner, ty)| flat(contract, ty, at + inner)).collect()
    };
    match contract.shape(ty) {
        Shape::Bool | Shape::Enum(_) => vec![(at, "uint8_t")],
        Shape::Char => vec![(at, "uint32_t")],
        Shape::Integer { bits, signed } => vec![(
            at,
            match (bits, signed) {
                (8, false) => "uint8_t",
                (16, false) => "uint16_t",
                (32, false) => "uint32_t",
                (_, false) => "uint64_t",
                (8, true) => "int8_t",
                (16, true) => "int16_t",
                (32, true) => "int32_t",
                (_, true) => "int64_t",
            },
        )],
        Shape::Float { bits: 32 } => vec![(at, "float")],
        Shape::Float { .. } => vec![(at, "double")],
        Shape::Text | Shape::Json | Shape::Bytes | Shape::List(_) => {
            vec![(at, "uint32_t"), (at + 4, "uint32_t")]
        }
        Shape::Option(some) => {
            let payload = contract.payload_offset([Some(some)]);
            let mut values = vec![(at, "uint8_t")];
            values.extend(flat(contract, some, at + payload));
            values
        }
        Shape::Tuple(types) => all(contract.offsets(types)),
        Shape::Record(record) => all(contract.offsets(record.fields.iter().map(|field| &field.ty))),
        Shape::Variant(_) | Shape::Result(..) => vec![(at, "uint8_t")],
    }
}

fn core(ty: &WasmType) -> &'static str {
    match ty {
        WasmType::I64 | WasmType::PointerOrI64 => "uint64_t",
        WasmType::F32 => "float",
        WasmType::F64 => "double",
        WasmType::I32 | WasmType::Pointer | WasmType::Length => "uint32_t",
    }
}
