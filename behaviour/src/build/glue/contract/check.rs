//! Checks of the types and functions for which glue is generated.

use anyhow::{Context as _, bail, ensure};
use wit_parser::abi::AbiVariant;
use wit_parser::{Function, Type, TypeDef, TypeDefKind, TypeOwner};

use super::{Contract, Interface, Shape, is_contract};

impl Contract<'_> {
    /// Returns an error if a type or function of the interface is not supported.
    pub(super) fn check(&self, interface: &Interface<'_>) -> anyhow::Result<()> {
        for id in interface.wit.types.values() {
            self.check_type(&Type::Id(*id))?;
        }
        for function in interface.functions() {
            self.check_function(function)
                .with_context(|| format!("function `{}`", function.name))?;
        }
        Ok(())
    }

    fn check_function(&self, function: &Function) -> anyhow::Result<()> {
        ensure!(!function.kind.is_async(), "async functions are not supported");
        for parameter in &function.params {
            self.check_type(&parameter.ty)?;
            self.check_parameter(&parameter.ty)
                .with_context(|| format!("parameter `{}`", parameter.name))?;
        }
        if let Some(ty) = &function.result {
            self.check_type(ty)?;
        }
        let signature = self.signature(function, AbiVariant::GuestImport);
        ensure!(
            !signature.indirect_params,
            "functions with more than 16 core parameters are not supported"
        );
        Ok(())
    }

    /// Refuses variants and results as parameters. Their cases share core values, which the
    /// generators do not support, since no function of the contract needs it.
    fn check_parameter(&self, ty: &Type) -> anyhow::Result<()> {
        match self.shape(ty) {
            Shape::Variant(_) => bail!("variants are not supported as parameters"),
            Shape::Result(..) => bail!("results are not supported as parameters"),
            Shape::Option(inner) => self.check_parameter(inner),
            Shape::Tuple(types) => types.iter().try_for_each(|ty| self.check_parameter(ty)),
            Shape::Record(record) => {
                record.fields.iter().try_for_each(|field| self.check_parameter(&field.ty))
            }
            _ => Ok(()),
        }
    }

    /// Refuses unsupported types, and types that contain one.
    fn check_type(&self, ty: &Type) -> anyhow::Result<()> {
        let Type::Id(id) = ty else {
            ensure!(*ty != Type::ErrorContext, "WIT type `error-context` is not supported");
            return Ok(());
        };
        let definition = &self.resolve.types[*id];
        self.check_owner(definition)?;
        match &definition.kind {
            TypeDefKind::Type(inner) => self.check_type(inner),
            TypeDefKind::List(inner) | TypeDefKind::Option(inner) => self.check_nested(inner),
            TypeDefKind::Tuple(tuple) => {
                tuple.types.iter().try_for_each(|ty| self.check_nested(ty))
            }
            TypeDefKind::Record(record) => {
                record.fields.iter().try_for_each(|field| self.check_nested(&field.ty))
            }
            TypeDefKind::Variant(variant) => {
                ensure!(
                    variant.cases.len() <= 256,
                    "variants with more than 256 cases are not supported"
                );
                let mut payloads = variant.cases.iter().filter_map(|case| case.ty.as_ref());
                payloads.try_for_each(|ty| self.check_nested(ty))
            }
            TypeDefKind::Enum(kind) => {
                ensure!(
                    kind.cases.len() <= 256,
                    "enums with more than 256 cases are not supported"
                );
                Ok(())
            }
            TypeDefKind::Result(result) => {
                result.ok.iter().chain(&result.err).try_for_each(|ty| self.check_nested(ty))
            }
            other => bail!("WIT type `{}` is not supported", other.as_str()),
        }
    }

    /// Refuses types of other packages, which are not generated.
    fn check_owner(&self, definition: &TypeDef) -> anyhow::Result<()> {
        let TypeOwner::Interface(owner) = definition.owner else { return Ok(()) };
        let Some(package) = self.resolve.interfaces[owner].package else { return Ok(()) };
        let package = &self.resolve.packages[package].name;
        ensure!(
            is_contract(package),
            "type `{}` is from package `{package}`: define it in an interface of `device:behaviour`",
            definition.name.as_deref().unwrap_or_default()
        );
        Ok(())
    }

    /// Refuses a result inside another type. Go and TypeScript represent a result by the
    /// outcome of a function, so they have no type for a nested result.
    fn check_nested(&self, ty: &Type) -> anyhow::Result<()> {
        self.check_type(ty)?;
        let is_result = matches!(self.shape(ty), Shape::Result(..));
        ensure!(!is_result, "results inside other types are not supported");
        Ok(())
    }
}
