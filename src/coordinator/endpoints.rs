//! By which URL nodes and operators reach this coordinator, seen from their own network.
//!
//! A table of the configuration, and where it has nothing to say, the name by which the caller knows us. Values only: nothing is
//! looked up, and no address is tried.

use http::Uri;
use serde::Deserialize;

use super::refusal::Refusal;
use crate::report;

/// `[access]`: what access info says, and how long it is good.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccessConfig {
    /// URL of the agents' listener as nodes see it; the host that the caller used, with the listener's port, unless set.
    pub agents_url: Option<String>,
    /// Days that a join certificate is good.
    pub join_days: u32,
    /// The image that the DaemonSet runs; `sheaf-agent:<version>` unless set.
    pub agent_image: Option<String>,
    /// URLs of the agents' listener by VPC endpoint and region. Once there is one, values that are not here are refused.
    pub endpoints: Vec<AccessEndpoint>,
}

impl Default for AccessConfig {
    fn default() -> Self {
        Self { agents_url: None, join_days: 30, agent_image: None, endpoints: Vec::new() }
    }
}

/// `[[access.endpoints]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessEndpoint {
    /// IP address of the VPC endpoint.
    #[serde(default)]
    pub vpcendpoint: Option<String>,
    /// Region.
    #[serde(default)]
    pub region: Option<String>,
    /// URL of the agents' listener as nodes there see it.
    pub url: String,
}

/// `[federation]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FederationConfig {
    /// Certificates of one user for one fleet that may be good at the same time.
    pub certificates: u32,
    /// URLs of the public listener by project, VPC and subnet. Once there is one, others are refused.
    pub endpoints: Vec<FleetEndpoint>,
}

impl Default for FederationConfig {
    fn default() -> Self {
        Self { certificates: 100, endpoints: Vec::new() }
    }
}

/// `[[federation.endpoints]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FleetEndpoint {
    /// Project's id.
    pub project: String,
    /// Id of a VPC of that project.
    pub vpc: String,
    /// Id of a subnet of that VPC.
    pub subnet: String,
    /// URL of the public listener as seen from there.
    pub server: String,
}

/// Where somebody stands who asks for a kubeconfig.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Project's id.
    pub project: String,
    /// VPC's id.
    pub vpc: String,
    /// Subnet's id.
    pub subnet: String,
}

/// The tables, and what stands where they say nothing.
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// Access info.
    pub access: AccessConfig,
    /// Kubeconfigs.
    pub federation: FederationConfig,
    /// The real port of the agents' listener.
    pub agents_port: u16,
}

impl Endpoints {
    /// URL of the agents' listener for a node there. `origin` is how the caller knows the public listener.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for values that the table does not have.
    pub fn agents(&self, origin: &str, vpcendpoint: Option<&str>, region: Option<&str>) -> Result<String, Refusal> {
        let asked =
            [("vpcendpoint", vpcendpoint), ("region", region)].map(|(name, v)| (name, v.filter(|v| !v.is_empty())));
        let table = &self.access.endpoints;
        if table.is_empty() || asked.iter().all(|(_, value)| value.is_none()) {
            return self.default_agents(origin);
        }
        let fits = |row: &&AccessEndpoint| {
            let has = [row.vpcendpoint.as_deref(), row.region.as_deref()];
            asked.iter().zip(has).all(|((_, asked), has)| asked.is_none() || *asked == has)
        };
        table.iter().find(fits).map(|row| trimmed(&row.url)).ok_or_else(|| {
            let given: Vec<_> = asked
                .iter()
                .filter_map(|(name, value)| Some(format!("{name} `{}`", report::brief((*value)?, 80))))
                .collect();
            Refusal::Invalid(format!("no endpoint is configured for {}", given.join(" and ")))
        })
    }

    fn default_agents(&self, origin: &str) -> Result<String, Refusal> {
        if let Some(url) = &self.access.agents_url {
            return Ok(trimmed(url));
        }
        let uri = origin.parse::<Uri>().ok();
        let host = uri.as_ref().and_then(Uri::host).ok_or_else(nameless)?;
        Ok(format!("https://{host}:{}", self.agents_port))
    }

    /// URL of the public listener for somebody there. `origin` is how the caller knows it.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for a place that the table does not have.
    pub fn server(&self, origin: &str, place: Option<&Place>) -> Result<String, Refusal> {
        let table = &self.federation.endpoints;
        let Some(place) = place.filter(|_| !table.is_empty()) else {
            return if origin.is_empty() { Err(nameless()) } else { Ok(trimmed(origin)) };
        };
        let of_project: Vec<_> = table.iter().filter(|row| row.project == place.project).collect();
        let of_vpc: Vec<_> = of_project.iter().filter(|row| row.vpc == place.vpc).collect();
        let wrong = |what: &str| Err(Refusal::Invalid(format!("no endpoint is configured for this {what}")));
        match of_vpc.iter().find(|row| row.subnet == place.subnet) {
            Some(row) => Ok(trimmed(&row.server)),
            None if of_project.is_empty() => wrong("project"),
            None if of_vpc.is_empty() => wrong("VPC in its project"),
            None => wrong("subnet in its VPC"),
        }
    }

    /// All URLs of a configuration.
    pub fn urls<'a>(access: &'a AccessConfig, federation: &'a FederationConfig) -> impl Iterator<Item = &'a str> {
        let of_access = access.agents_url.iter().chain(access.endpoints.iter().map(|row| &row.url));
        of_access.chain(federation.endpoints.iter().map(|row| &row.server)).map(String::as_str)
    }
}

fn trimmed(url: &str) -> String {
    url.trim_end_matches('/').to_owned()
}

fn nameless() -> Refusal {
    Refusal::Invalid("the request names no host by which this coordinator is reached".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(text: &str) -> Endpoints {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Both {
            access: AccessConfig,
            federation: FederationConfig,
        }
        let Both { access, federation } = toml::from_str(text).expect("TOML");
        Endpoints { access, federation, agents_port: 25556 }
    }

    const ORIGIN: &str = "https://c.example:25555";

    #[test]
    fn without_a_table_every_value_gets_the_agents_listener() {
        let plain = endpoints("");
        for (vpc, region) in [(None, None), (Some("10.0.0.1"), None), (Some("x"), Some("y"))] {
            assert_eq!(plain.agents(ORIGIN, vpc, region).as_deref(), Ok("https://c.example:25556"));
        }
        assert_eq!(plain.agents("https://[fd00::1]:25555", None, None).as_deref(), Ok("https://[fd00::1]:25556"));
        let set = endpoints("[access]\nagents_url = 'https://a.example:1/'");
        assert_eq!(set.agents(ORIGIN, Some("x"), None).as_deref(), Ok("https://a.example:1"));
        assert!(plain.agents("", None, None).is_err());
    }

    #[test]
    fn once_there_is_a_table_others_are_refused() {
        let table = endpoints(
            "[[access.endpoints]]\nvpcendpoint = '10.0.0.1'\nregion = 'eu-1'\nurl = 'https://10.0.0.1:1'\n\
             [[access.endpoints]]\nregion = 'eu-2'\nurl = 'https://two.example:2'",
        );
        for (vpc, region, expected) in [
            (None, None, Some("https://c.example:25556")),
            (Some(""), Some(""), Some("https://c.example:25556")),
            (Some("10.0.0.1"), None, Some("https://10.0.0.1:1")),
            (Some("10.0.0.1"), Some("eu-1"), Some("https://10.0.0.1:1")),
            (None, Some("eu-2"), Some("https://two.example:2")),
            (Some("10.0.0.1"), Some("eu-2"), None),
            (Some("10.0.0.2"), None, None),
            (None, Some("eu-3"), None),
        ] {
            assert_eq!(table.agents(ORIGIN, vpc, region).ok().as_deref(), expected, "{vpc:?} {region:?}");
        }
    }

    #[test]
    fn a_place_has_its_server_and_no_other() {
        let place = |p: &str, v: &str, s: &str| Place { project: p.into(), vpc: v.into(), subnet: s.into() };
        let anywhere = place("p", "v", "s");
        assert_eq!(endpoints("").server(ORIGIN, Some(&anywhere)).as_deref(), Ok(ORIGIN));
        let table = endpoints(
            "[[federation.endpoints]]\nproject = 'p'\nvpc = 'v'\nsubnet = 's'\nserver = 'https://10.0.0.9:25555'\n\
             [[federation.endpoints]]\nproject = 'q'\nvpc = 'w'\nsubnet = 't'\nserver = 'https://q.example'",
        );
        assert_eq!(table.server(ORIGIN, Some(&anywhere)).as_deref(), Ok("https://10.0.0.9:25555"));
        assert_eq!(table.server(ORIGIN, None).as_deref(), Ok(ORIGIN));
        for (wrong, word) in
            [(place("x", "v", "s"), "project"), (place("p", "w", "t"), "VPC"), (place("p", "v", "t"), "subnet")]
        {
            let refusal = table.server(ORIGIN, Some(&wrong)).expect_err("refused");
            assert!(refusal.to_string().contains(word), "{refusal}");
        }
    }
}
