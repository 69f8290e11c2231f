//! From the resolved configuration to what log and engine are started with.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::{Config, Exporter, HookSettings, RouteSettings, RoutingRule};
use crate::deliver::Settings;
use crate::event::{OpeningOptions, Severity};
use crate::pipeline::{AlertSpec, EngineOptions, ExporterSpec, RouteSpec, ThreadSpec, Work};
use crate::schemas;
use crate::transform::{Choice, ChoiceRule, Filter, Format, Overrides};

/// Facts about this machine that documents carry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// A hash of its machine id, never the id itself; none where the system has none.
    pub machine_id: Option<String>,
}

impl Host {
    /// Asks the system.
    #[must_use]
    pub fn look() -> Self {
        let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let machine_id = std::fs::read_to_string(Path::new(MACHINE_ID)).ok();
        Self { name, machine_id: machine_id.map(|id| hashed(id.trim())) }
    }
}

impl Config {
    /// How records are opened.
    #[must_use]
    pub fn opening_options(&self) -> OpeningOptions {
        OpeningOptions {
            environment: self.global.environment.clone(),
            tenant_id: self.global.tenant_id.clone(),
            labels: self.global.labels.clone(),
            mitre: self.enrichment.mitre.clone(),
            privacy: self.privacy.clone(),
            ..OpeningOptions::default()
        }
    }

    /// How the engine is started on this machine.
    #[must_use]
    pub fn engine_options(&self, host: &Host) -> EngineOptions {
        let exporters = self.exporters.iter().map(|exporter| self.exporter_spec(exporter, host));
        EngineOptions {
            exporters: exporters.collect(),
            opening: self.opening_options(),
            workers: self.pipeline.workers.unwrap_or(0),
            in_flight_bytes: self.in_flight_bytes,
            log_bytes_max: self.log.bytes_max,
            // `from` is resolved already.
            from_the_start: false,
            work: Work::All,
            receipts: self.receipts.clone(),
        }
    }

    /// One exporter with the schemas that its format names.
    #[must_use]
    pub fn exporter_spec(&self, exporter: &Exporter, host: &Host) -> ExporterSpec {
        let Settings { format, .. } = exporter.settings;
        ExporterSpec {
            document: schemas::by_format(format),
            native: &schemas::NATIVE,
            overrides: self.overrides(&exporter.settings, host),
            filter: self.filter(exporter),
            privacy: exporter.privacy.clone(),
            routes: exporter.routes.iter().map(route_spec).collect(),
            hook: exporter.hook.as_ref().map(|hook| hook.spec.clone()),
            alerts: AlertSpec::of(&exporter.settings, &self.global.state_dir),
            threads: ThreadSpec::of(&exporter.settings, &self.global.state_dir),
            settings: exporter.settings.clone(),
        }
    }

    /// Which events it takes: those that pass the rules for all and its own, as far as the
    /// top-level rules choose it, or its own condition as a hook does.
    fn filter(&self, exporter: &Exporter) -> Filter {
        let filter = Filter::new(self.filtering.clone()).and(exporter.filter.clone());
        if let Some(HookSettings { when, .. }) = &exporter.hook {
            let rule = ChoiceRule { condition: when.clone(), takes: true, stops: true };
            return filter.chosen_by(Choice { rules: vec![rule], otherwise: false });
        }
        let name = &exporter.settings.name;
        let rule = |rule: &RoutingRule| ChoiceRule {
            condition: rule.condition.clone(),
            takes: rule.exporters.contains(name),
            stops: rule.stops,
        };
        let otherwise = self.routing_default.is_empty() || self.routing_default.contains(name);
        filter.chosen_by(Choice { rules: self.routing.iter().map(rule).collect(), otherwise })
    }

    /// What this configuration and this machine change about an exporter's schemas.
    fn overrides(&self, settings: &Settings, host: &Host) -> Overrides {
        let mut texts = vec![
            ("ecs_version".to_owned(), self.schema.ecs_version.clone()),
            ("ocsf_version".to_owned(), self.schema.ocsf_version.clone()),
            ("exporter".to_owned(), settings.name.clone()),
        ];
        if self.enrichment.host {
            texts.push(("host.name".to_owned(), host.name.clone()));
            let id = host.machine_id.iter();
            texts.extend(id.map(|id| ("host.machine_id".to_owned(), id.clone())));
        }
        if self.enrichment.product_version {
            texts.push(("product.name".to_owned(), env!("CARGO_PKG_NAME").to_owned()));
            texts.push(("product.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()));
        }
        let options = &settings.options;
        let has_raw = self.schema.include_raw || options.is_on("include_raw");
        let alert_min = options.text("alert_min_severity");
        Overrides {
            texts,
            mappings: match settings.format {
                // The canonical event has no other targets.
                Format::Native => Vec::new(),
                _ => self.schema.field_mappings.clone(),
            },
            indicators_all: self.schema.indicators_all,
            checked_every: self.schema.checked_every,
            alert_min: alert_min.and_then(|word| Severity::parse(word.as_bytes())),
            raw: has_raw.then_some(&schemas::NATIVE),
            ..Overrides::default()
        }
    }
}

fn route_spec(route: &RouteSettings) -> RouteSpec {
    RouteSpec { condition: route.condition.clone(), options: route.options.clone() }
}

/// The id as documents may carry it: enough to tell machines apart, too little to find one.
fn hashed(id: &str) -> String {
    let digest = Sha256::digest(format!("shrike:{id}").as_bytes());
    digest[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// machine-id(5).
const MACHINE_ID: &str = "/etc/machine-id";
