//! Ways to sign in by Microsoft Entra ID.

/// The way in which a service gets access tokens of Microsoft Entra ID. The variables are those
/// of Microsoft's SDKs; `AZURE_AUTHORITY_HOST` names another cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntraSignIn {
    /// The secret of an application, in `AZURE_TENANT_ID`, `AZURE_CLIENT_ID` and
    /// `AZURE_CLIENT_SECRET`.
    Environment,
    /// The federated token of a Kubernetes pod, in `AZURE_TENANT_ID`, `AZURE_CLIENT_ID` and
    /// `AZURE_FEDERATED_TOKEN_FILE`.
    WorkloadIdentity,
    /// The account of the Azure CLI, whose command `az` must be on `PATH`.
    AzureCli,
}
