//! Where the requests of an exporter and of its routes go.

use http::Uri;

use super::EngineError;
use super::exporter::{Exporter, ExporterSpec};
use super::route::{Route, RouteSpec};
use crate::deliver::{FLOOD_KEY, Options, RouteRate, Settings};

/// Where the requests of an exporter go.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// The endpoints, then the places beside them, then those of routes that have their own.
    pub(crate) all: Vec<Uri>,
    /// How far behind the endpoints those of each route lie; 0 where they are the same.
    pub(crate) routes: Vec<usize>,
}

impl Places {
    /// Asks the vendor, for the base settings and for each route.
    pub(crate) fn find(spec: &ExporterSpec) -> Result<Self, String> {
        let Settings { vendor, options, .. } = &spec.settings;
        let ask = |options: &Options| (vendor.endpoints)(options).map_err(|it| it.to_string());
        let base = ask(options)?;
        let mut places = Self { all: base.clone(), routes: Vec::new() };
        places.all.extend((vendor.aside)(options).map_err(|problem| problem.to_string())?);
        for route in &spec.routes {
            let own = ask(&overridden(options, route))?;
            if own == base {
                places.routes.push(0);
                continue;
            }
            if own.len() != base.len() {
                return Err("a route needs as many endpoints as the exporter".to_owned());
            }
            places.routes.push(places.all.len());
            places.all.extend(own);
        }
        Ok(places)
    }
}

impl Exporter {
    /// How many requests each route takes, where the vendor limits them by route.
    pub(super) fn route_rate(&self) -> Option<RouteRate> {
        let (per_minute, burst) = self.settings.route_rate()?;
        let options = |route: &Route| route.options(&self.settings.options).into_owned();
        let all: Vec<Options> = self.routes.iter().map(options).collect();
        let first = |own: &Options| all.iter().position(|other| other == own);
        let places = all.iter().filter_map(first).filter_map(|at| u32::try_from(at).ok());
        // People see what matters most before what waited longer.
        let lets_critical_pass = self.settings.options.number(FLOOD_KEY).is_some();
        Some(RouteRate { per_minute, burst, places: places.collect(), lets_critical_pass })
    }
}

/// Every place that requests of an exporter may go to, those of its routes included.
///
/// # Errors
/// When the vendor's tables contradict the options.
pub fn destinations(spec: &ExporterSpec) -> Result<Vec<Uri>, EngineError> {
    let refuse = |problem| EngineError::Exporter { name: spec.settings.name.clone(), problem };
    Ok(Places::find(spec).map_err(refuse)?.all)
}

/// The options of a route.
pub(super) fn overridden(options: &Options, route: &RouteSpec) -> Options {
    let mut options = options.clone();
    for (key, value) in &route.options {
        options.set(key, value.clone());
    }
    options
}
