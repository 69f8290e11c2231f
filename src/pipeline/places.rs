//! Where the requests of an exporter and of its routes go.

use http::Uri;

use super::EngineError;
use super::alerts::Name;
use super::exporter::ExporterSpec;
use super::route::{RouteSpec, place};
use crate::deliver::{Options, RoutePlaces, Settings};

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

/// Which routes of an exporter lead to one place, by what they may say otherwise.
pub(super) fn route_places(spec: &ExporterSpec) -> RoutePlaces {
    let Settings { vendor, options, .. } = &spec.settings;
    let own = spec.routes.iter().map(|route| place(vendor.route_keys, &overridden(options, route)));
    let base = std::iter::once(place(vendor.route_keys, options));
    let all: Vec<Name> = base.chain(own).collect();
    let first = |own: &Name| all.iter().position(|other| other == own).expect("it is one of them");
    let of = all.iter().map(|own| u32::try_from(first(own)).expect("counted in config lines"));
    RoutePlaces { of: of.collect(), rate: spec.settings.route_rate() }
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
