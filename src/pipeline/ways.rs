//! The ways of an exporter to its destination, as many as it has lanes.

use std::sync::Arc;

use super::engine::EngineError;
use super::exporter::ExporterSpec;
use super::network::Way;
use super::places::Places;
use crate::deliver::{
    Cookies, Destination, Encoding, FileSettings, Files, LANES_MAX, Order, SocketDestination,
    TransportLimits, Wire,
};

/// Requests in flight over all lanes.
pub(super) fn concurrency(spec: &ExporterSpec, workers: usize) -> usize {
    match (spec.settings.order(), spec.settings.concurrency) {
        (Order::Strict | Order::Loose, _) => 1,
        (Order::Any, Some(concurrency)) => concurrency.max(1),
        (Order::Any, None) => {
            spec.settings.vendor.concurrency.unwrap_or(CONCURRENCY_PER_WORKER * workers)
        }
    }
}

/// The endpoints of an exporter; none for destinations without a network.
pub(super) fn endpoints(spec: &ExporterSpec) -> Result<Vec<http::Uri>, EngineError> {
    (spec.settings.vendor.endpoints)(&spec.settings.options).map_err(|problem| {
        EngineError::Exporter { name: spec.settings.name.clone(), problem: problem.to_string() }
    })
}

/// One way per lane: `min(workers, concurrency, connections)` of them where order does not
/// matter.
pub(super) fn ways(spec: &ExporterSpec, workers: usize) -> Result<Vec<Way>, EngineError> {
    let settings = &spec.settings;
    let connections = settings.connection.connections_max.max(1);
    let lanes = match settings.order() {
        Order::Strict | Order::Loose => 1,
        Order::Any => {
            let usual = workers.min(concurrency(spec, workers)).min(connections);
            let lanes = settings.lanes.map_or(usual, |lanes| lanes.clamp(1, workers));
            // One number is left for the lane beside the log.
            lanes.min(usize::from(LANES_MAX) - 1)
        }
    };
    Ok(vec![way(spec, (connections / lanes).max(1))?; lanes])
}

/// A way for questions that have nothing to do with events.
pub(super) fn way_beside(spec: &ExporterSpec) -> Result<Way, EngineError> {
    way(spec, 1)
}

/// A way with this many connections per endpoint, as the vendor's wire asks for.
fn way(spec: &ExporterSpec, connections: usize) -> Result<Way, EngineError> {
    let settings = &spec.settings;
    match settings.vendor.wire {
        Wire::Lines => Ok(Way::Lines),
        Wire::File => {
            let is_plain = settings.encoding == Encoding::Identity;
            Ok(Way::File(Files::new(FileSettings::of(&settings.options, is_plain))))
        }
        Wire::Http => {
            let (destination, cookies) = destination(spec)?;
            let usual = TransportLimits::new(connections);
            let own = settings.vendor.answer_bytes(&settings.options, settings.format);
            let answer_bytes = own.unwrap_or(usual.answer_bytes);
            let limits = TransportLimits { cookies, answer_bytes, ..usual };
            Ok(Way::Http(destination, limits))
        }
        Wire::Socket => {
            let refuse = |source| EngineError::Transport { name: settings.name.clone(), source };
            let endpoints = endpoints(spec)?;
            SocketDestination::new(&endpoints, &settings.tls, &settings.connection)
                .map(|destination| Way::Socket(Arc::new(destination)))
                .map_err(refuse)
        }
    }
}

fn destination(spec: &ExporterSpec) -> Result<(Arc<Destination>, Cookies), EngineError> {
    let settings = &spec.settings;
    let refuse = |source| EngineError::Transport { name: settings.name.clone(), source };
    let places = Places::find(spec)
        .map_err(|problem| EngineError::Exporter { name: settings.name.clone(), problem })?;
    let destination = Destination::new(&places.all, &settings.tls, &settings.connection);
    let cookies = if settings.vendor.cookies { Cookies::Keep } else { Cookies::Ignore };
    Ok((Arc::new(destination.map_err(refuse)?), cookies))
}

/// Requests in flight per worker, unless configured: one on its way, one being answered.
const CONCURRENCY_PER_WORKER: usize = 2;
