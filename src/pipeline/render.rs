//! What an exporter would send, without sending it: the dry run.

use std::sync::Arc;

use super::exporter::{DEFECT, TOO_LARGE};
use super::places::Places;
use super::route::Route;
use super::{EngineError, ExporterSpec};
use crate::deliver::{Framing, Level, OptionValue, Prefix, Secret};
use crate::event::{Event, Frame, Narrowed, Opened, Opening, OpeningOptions, Privacy, attempt};
use crate::transform::Filter;

/// The filter, routes and plans of one exporter, compiled as the engine compiles them.
#[derive(Debug)]
pub struct Render {
    filter: Filter,
    privacy: Option<Arc<Privacy>>,
    room: Narrowed,
    routes: Vec<Route>,
    /// Whether each event has a body of its own, with something around it.
    is_single: bool,
    /// What no eye may see, of the exporter and of its routes.
    secrets: Vec<Secret>,
    /// Events rendered so far.
    events: u64,
    document: Vec<u8>,
}

impl Render {
    /// Compiles an exporter.
    ///
    /// # Errors
    /// When an option, a schema override or a header contradicts the vendor's tables.
    pub fn new(spec: &ExporterSpec) -> Result<Self, EngineError> {
        let routes = std::iter::once(None).chain(spec.routes.iter().map(Some));
        let routes = routes.map(|route| {
            Route::compile(spec, route).map_err(|problem| EngineError::Exporter {
                name: spec.settings.name.clone(),
                problem,
            })
        });
        // A route may have endpoints of its own, which are looked at too.
        Places::find(spec).map_err(|problem| EngineError::Exporter {
            name: spec.settings.name.clone(),
            problem,
        })?;
        let routes = routes.collect::<Result<Vec<_>, _>>()?;
        let is_single = |route: &Route| {
            route.packing.limits.events == 1 && !route.packing.framing.tail.is_empty()
        };
        Ok(Self {
            filter: spec.filter.clone(),
            privacy: spec.privacy.clone(),
            room: Narrowed::default(),
            is_single: routes.iter().any(is_single),
            routes,
            secrets: secrets(spec),
            events: 0,
            document: Vec::new(),
        })
    }

    /// What the templates make wrong of a sample event, which has every field but the operator's
    /// own metadata.
    #[must_use]
    pub fn template_problem(&self) -> Option<String> {
        let opening = Opening::new(&OpeningOptions::default());
        let (mut arena, mut opened) = (Vec::new(), Opened::default());
        let (mut document, mut text) = (Vec::new(), Vec::new());
        let frame = Frame::default();
        opening.begin(&mut arena);
        opening.open(&frame, SAMPLE, &mut arena, &mut opened).expect("the sample is an event");
        let event = Event::new(&opened, frame, SAMPLE, &arena);
        self.routes.iter().find_map(|route| {
            let filled = route.fill_template(&event, 0, &mut document, &mut text);
            filled.err().map(|problem| problem.to_string())
        })
    }

    /// The bytes of an event that has the required fields alone, all left out that may be, where
    /// that is more than one event may have.
    #[must_use]
    pub fn lacks_room(&self) -> Option<usize> {
        let opening = Opening::new(&OpeningOptions::default());
        let (mut arena, mut opened) = (Vec::new(), Opened::default());
        let (mut room, mut document) = (Narrowed::default(), Vec::new());
        let frame = Frame::default();
        opening.begin(&mut arena);
        opening.open(&frame, LEAST, &mut arena, &mut opened).expect("the least is an event");
        let event = Event::new(&opened, frame, LEAST, &arena);
        let event = &match &self.privacy {
            Some(privacy) => privacy.narrowed(event, &mut room),
            None => event,
        };
        // Of what a template makes nothing is known before it is filled.
        let mut routes = self.routes.iter().filter(|route| route.template.is_none());
        routes.find_map(|route| {
            document.clear();
            route.plan(Some(Level::Shrink), event, 0).0.encode(event, &mut document);
            let bytes_max = route.packing.limits.event_bytes as usize;
            (document.len() > bytes_max).then_some(document.len())
        })
    }

    /// The media type of its bodies.
    #[must_use]
    pub fn content_type(&self) -> &'static str {
        self.routes[0].packing.framing.content_type
    }

    /// Appends an event as it stands in a body, the body's head before the first; false where the
    /// exporter does not take the event.
    ///
    /// `now` is in seconds since 1970; documents may tell an event's age.
    pub fn event(&mut self, event: &Event<'_>, now: i64, out: &mut Vec<u8>) -> bool {
        if !self.filter.passes(event) {
            return false;
        }
        let event = &match &self.privacy {
            Some(privacy) => privacy.narrowed(*event, &mut self.room),
            None => *event,
        };
        let route = self.routes.iter().position(|route| route.is_for(event)).unwrap_or(0);
        let route = &self.routes[route];
        let framing: &Framing = route.packing.framing;
        let from = out.len();
        // Each has a body of its own.
        let is_single = self.is_single;
        let before = match self.events {
            0 => route.packing.head(),
            _ if is_single => route.packing.head(),
            _ => framing.between,
        };
        out.extend_from_slice(before.as_bytes());
        if let Some(prefix) = &route.prefix {
            prefix.encode(event, out);
            out.extend_from_slice(framing.after.as_bytes());
        }
        // What cannot be rendered is shown as the words that its dead letter would have.
        let mut text = Vec::new();
        if let Err(problem) = route.fill_template(event, now, &mut self.document, &mut text) {
            text = format!("{}: {problem}", problem.class()).into_bytes();
        }
        let bytes_max = route.packing.limits.event_bytes as usize;
        for level in [None, Some(Level::Shrink)] {
            self.document.clear();
            if route.template.is_some() {
                self.document.extend_from_slice(&text);
            } else if attempt(|| route.plan(level, event, now).0.encode(event, &mut self.document))
                .is_none()
            {
                self.document = format!("{}: {}", DEFECT.0, DEFECT.1).into_bytes();
            }
            if self.document.len() <= bytes_max {
                break;
            }
        }
        if self.document.len() > bytes_max {
            self.document = format!("{}: {}", TOO_LARGE.0, TOO_LARGE.1).into_bytes();
        }
        if let Prefix::OctetCount = framing.prefix {
            out.extend_from_slice(format!("{} ", self.document.len()).as_bytes());
        }
        out.extend_from_slice(&self.document);
        out.extend_from_slice(framing.after.as_bytes());
        if is_single {
            out.extend_from_slice(framing.tail(1, now).as_bytes());
            out.push(b'\n');
        }
        self.events += 1;
        for secret in &self.secrets {
            hide(secret.expose().as_bytes(), from, out);
        }
        true
    }

    /// Appends the body's tail, if anything was rendered; `now` is in seconds since 1970.
    pub fn end(&self, now: i64, out: &mut Vec<u8>) {
        if self.events > 0 && !self.is_single {
            let events = usize::try_from(self.events).unwrap_or(usize::MAX);
            out.extend_from_slice(self.routes[0].packing.framing.tail(events, now).as_bytes());
        }
    }
}

/// The secrets that bodies may hold.
fn secrets(spec: &ExporterSpec) -> Vec<Secret> {
    let of_routes = spec.routes.iter().flat_map(|route| &route.options);
    let of_routes = of_routes.filter_map(|(_, value)| match value {
        OptionValue::Secret(secret) => Some(secret),
        _ => None,
    });
    let all = spec.settings.options.secrets().chain(of_routes);
    // The shortest words are in every text.
    all.filter(|secret| secret.expose().len() >= SECRET_BYTES_MIN).cloned().collect()
}

/// Replaces a secret in what was written from here on.
fn hide(secret: &[u8], from: usize, out: &mut Vec<u8>) {
    let mut at = from;
    while let Some(found) = memchr::memmem::find(&out[at..], secret) {
        let start = at + found;
        out.splice(start..start + secret.len(), HIDDEN.iter().copied());
        at = start + HIDDEN.len();
    }
}

/// What stands for a secret.
const HIDDEN: &[u8] = b"***";
/// Bytes of a secret that is looked for.
const SECRET_BYTES_MIN: usize = 8;

/// An event with what every event has.
const LEAST: &[u8] = br#"{"schema_version":"1.0.0","event_id":"019c322d-fa80-7f99-8d84-b44109f58c77","event_type":"guard_block","event_category":"network","timestamp":"2026-02-06T09:00:00.000000000Z","outcome":"failure","action":"egress","agent":{"id":"a","name":"hushd","version":"0.1.0","type":"clawdstrike"},"session":{"id":"s"},"decision":{"allowed":false,"guard":"egress_allowlist","severity":"high","reason":""},"resource":{"type":"network","name":"h"},"threat":{},"metadata":{},"labels":{}}"#;

/// A denied connection with all that an event may say.
const SAMPLE: &[u8] = br#"{"schema_version":"1.0.0","event_id":"019c322d-fa80-7f99-8d84-b44109f58c77","event_type":"egress_blocked","event_category":"network","timestamp":"2026-02-06T09:00:00.000000000Z","outcome":"failure","action":"egress","agent":{"id":"coder-01","name":"hushd","version":"0.1.0","type":"clawdstrike"},"session":{"id":"c951e57c-8d8a-4850-88f8-f1f86b059b03","user_id":"dev","tenant_id":"acme","environment":"production"},"decision":{"allowed":false,"guard":"egress_allowlist","severity":"high","reason":"not on the list","policy_hash":"0x48","ruleset":"default"},"resource":{"type":"network","name":"exfil.example","path":"/","host":"exfil.example","port":443},"threat":{"indicator":{"type":"domain","value":"exfil.example"},"tactic":"TA0010","technique":"T1048"},"metadata":{"trace_id":"8abd18d08f36d7d51832b154b1c957ab"},"labels":{"team":"security"}}"#;
