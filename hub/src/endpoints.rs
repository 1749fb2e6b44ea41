//! The host names of a hub, some of which serve only devices or only services.
//!
//! Azure offers a hub `name.azure-devices.net` also as `name.device.azure-devices.net`, to
//! devices, and as `name.service.azure-devices.net`, to services. Clients name the host in the
//! TLS handshake (SNI). A client that names none, or another host, is served like at the first
//! name.

use std::net::IpAddr;

use protocol::host_name::HostName;

/// The clients that a host name serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clients {
    All,
    Devices,
    Services,
}

/// The host names of a hub.
#[derive(Debug, Clone, Default)]
pub(crate) struct Endpoints {
    all: Vec<String>,
    devices: Vec<String>,
    services: Vec<String>,
}

impl Endpoints {
    /// Returns the names of a hub with this address and these names.
    pub(crate) fn of_hub(address: IpAddr, host_names: Vec<String>) -> Endpoints {
        let mut all = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        all.extend(Some(address.to_string()).filter(|own| !all.contains(own)));
        all.extend(host_names);
        Endpoints::new(all)
    }

    /// Returns the names of a hub in addition to these, which serve all clients.
    fn new(all: Vec<String>) -> Endpoints {
        let with = |label: &str| {
            let names = all.iter().filter_map(|name| {
                // Neither addresses nor `localhost` have names below them.
                let (hub, domain) = name.split_once('.')?;
                let is_name = domain.contains(|c: char| c.is_ascii_alphabetic());
                is_name.then(|| format!("{hub}.{label}.{domain}"))
            });
            names.filter(|name| !all.contains(name)).collect::<Vec<String>>()
        };
        let (devices, services) = (with("device"), with("service"));
        Endpoints { all, devices, services }
    }

    /// Returns all names.
    pub(crate) fn names(&self) -> Vec<String> {
        [&self.all[..], &self.devices, &self.services].concat()
    }

    /// Returns the clients that the name in a TLS handshake serves.
    pub(crate) fn clients(&self, server_name: Option<&str>) -> Clients {
        let is_in = |names: &[String]| {
            server_name.is_some_and(|name| names.iter().any(|own| own.eq_ignore_ascii_case(name)))
        };
        match (is_in(&self.devices), is_in(&self.services)) {
            (true, _) => Clients::Devices,
            (_, true) => Clients::Services,
            _ => Clients::All,
        }
    }
}

/// Returns the name of a port on this machine.
pub(crate) fn local(port: u16) -> HostName {
    HostName::new("localhost", Some(port)).expect("`localhost` is a host name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_a_domain_has_one_name_for_devices_and_one_for_services() {
        let names = ["localhost", "127.0.0.1", "::1", "hub.azure-devices.net"];
        let endpoints = Endpoints::new(names.map(str::to_owned).into());
        let more = ["hub.device.azure-devices.net", "hub.service.azure-devices.net"];
        assert_eq!(endpoints.names(), [&names[..], &more].concat());
        for (name, clients) in [
            (None, Clients::All),
            (Some("localhost"), Clients::All),
            (Some("hub.azure-devices.net"), Clients::All),
            (Some("HUB.device.azure-devices.net"), Clients::Devices),
            (Some("hub.service.azure-devices.net"), Clients::Services),
            (Some("global.azure-devices-provisioning.net"), Clients::All),
        ] {
            assert_eq!(endpoints.clients(name), clients, "{name:?}");
        }
    }

    #[test]
    fn a_name_that_is_configured_serves_all_clients() {
        let names = ["hub.local", "hub.device.local"].map(str::to_owned);
        let endpoints = Endpoints::new(names.into());
        assert_eq!(endpoints.clients(Some("hub.device.local")), Clients::All);
        assert_eq!(endpoints.clients(Some("hub.service.local")), Clients::Services);
    }
}
