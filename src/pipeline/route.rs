//! Where events of an exporter go: settings, plans and calls, compiled at start-up.

use std::borrow::Cow;
use std::sync::Arc;

use super::alerts::{Name, name};
use super::exporter::ExporterSpec;
use super::places::overridden;
use super::plans::{Levels, Plans, with};
use crate::deliver::{
    Age, Binding, CompiledCall, Credentials, Derived, Heads, Level, OptionValue, Options, Packing,
    Prefix, Purpose, Settings, Shape,
};
use crate::event::{Event, attempt};
use crate::transform::{Condition, Overrides, Plan, Schema, Template, TemplateError};

/// Where events go for which a condition holds.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteSpec {
    /// Which events.
    pub condition: Condition,
    /// What is different for them.
    pub options: Vec<(&'static str, OptionValue)>,
}

/// The settings, plans and calls of one route.
#[derive(Debug)]
pub(crate) struct Route {
    pub(super) condition: Option<Condition>,
    /// What it says otherwise than the base settings.
    overrides: Vec<(&'static str, OptionValue)>,
    pub(crate) packing: Arc<Packing>,
    pub(crate) prefix: Option<Plan>,
    /// Headers that follow from the events.
    pub(crate) heads: Option<Plan>,
    /// Whether they are the same for all events of an hour.
    pub(crate) heads_by_hour: bool,
    /// What documents are rendered through.
    pub(crate) template: Option<Template>,
    plans: Plans,
    /// The plans of events of these ages, which documents tell.
    aged: Vec<(Age, Plans)>,
    pub(crate) send: CompiledCall,
    /// What joins events to an incident, in the row `key`.
    pub(crate) alert: Option<Plan>,
    /// What joins events to a conversation, in the row `key`.
    pub(crate) conversation: Option<Plan>,
    /// How incidents are resolved.
    pub(crate) resolve: Option<CompiledCall>,
    /// How they are acknowledged.
    pub(crate) acknowledge: Option<CompiledCall>,
    /// Which other routes lead to the same incidents: those of the same name.
    pub(crate) place: Name,
}

impl Route {
    pub(crate) fn compile(spec: &ExporterSpec, route: Option<&RouteSpec>) -> Result<Self, String> {
        let settings = &spec.settings;
        let vendor = settings.vendor;
        let base = &settings.options;
        let options = route.map_or_else(|| base.clone(), |route| overridden(base, route));
        let derived = derive(settings, &options)?;
        let shape = vendor
            .shape(&options, settings.format)
            .ok_or_else(|| format!("format {} is not offered", settings.format.word()))?;
        let overrides = overrides(spec, &options, &derived);
        let prefix = match shape.framing.prefix {
            Prefix::Document(schema) => Some(beside(schema, &overrides)?),
            Prefix::None | Prefix::OctetCount => None,
        };
        let template = derived
            .template
            .as_ref()
            .map(|text| Template::compile(text).map_err(|problem| format!("template: {problem}")));
        // What the vendor's own options leave out of documents tells batches apart all the same.
        let (allow, deny) = (spec.overrides.allow.clone(), spec.overrides.deny.clone());
        let around = Overrides { allow, deny, ..overrides.clone() };
        let heads = shape.heads.map(|schema| beside(schema, &around)).transpose()?;
        let bytes_max = (vendor.narrow)(&options, vendor.limits).event_bytes;
        let levels = Levels { shape, document: spec.document, mark: vendor.resend_mark, bytes_max };
        let plans = |overrides: &Overrides| Plans::compile(&levels, overrides);
        let aged = vendor.ages.iter().map(|age| Ok((*age, plans(&with(&overrides, age.text))?)));
        let credentials: Credentials =
            (vendor.auth)(&options).map_err(|problem| problem.to_string())?;
        let call = vendor
            .call(Purpose::Send, &options, settings.format)
            .ok_or("the vendor has no call that sends")?;
        let binding = Binding {
            options: &options,
            derived: &derived,
            ..Binding::new(settings, &derived, &credentials)
        };
        let compile =
            |call| CompiledCall::compile(call, &binding).map_err(|problem| problem.to_string());
        let send = compile(call)?;
        let call = |purpose| vendor.call(purpose, &options, settings.format).map(compile);
        let resolve = call(Purpose::Resolve).transpose()?;
        let acknowledge = call(Purpose::Acknowledge).transpose()?;
        let alert = vendor.alert.map(|schema| beside(schema, &around)).transpose()?;
        let conversation = vendor.conversation.as_ref();
        let conversation = conversation.map(|it| beside(it.key, &around)).transpose()?;
        Ok(Self {
            condition: route.map(|route| route.condition.clone()),
            overrides: route.map_or_else(Vec::new, |route| route.options.clone()),
            packing: Arc::new(Packing {
                keeps_ids: send.asks_ids(),
                ..packing(settings, &options, shape, &derived)
            }),
            prefix,
            heads_by_hour: heads.as_ref().is_some_and(Plan::says_hour_alone),
            heads,
            template: template.transpose()?,
            aged: aged.collect::<Result<_, String>>()?,
            plans: plans(&overrides)?,
            send,
            alert,
            conversation,
            resolve,
            acknowledge,
            place: place(vendor.route_keys, &options),
        })
    }

    /// The options of its requests, over those of the exporter.
    pub(crate) fn options<'a>(&self, base: &'a Options) -> Cow<'a, Options> {
        let mut options = Cow::Borrowed(base);
        self.overrides.iter().for_each(|(key, value)| options.to_mut().set(key, value.clone()));
        options
    }

    /// Whether it is a rule and the event fits it.
    pub(crate) fn is_for(&self, event: &Event<'_>) -> bool {
        self.condition.as_ref().is_some_and(|condition| condition.holds(event))
    }

    /// The plan that renders an event at this level, and whether the event's age is told; `now` is
    /// in seconds since 1970.
    pub(crate) fn plan(&self, level: Option<Level>, event: &Event<'_>, now: i64) -> (&Plan, bool) {
        let time = event.opened.time.secs;
        let aged = self.aged.iter().find(|(age, _)| age.is_reached(time, now));
        let plans = aged.map_or(&self.plans, |(_, plans)| plans);
        (plans.at(level), aged.is_some())
    }

    /// Renders an event through the template, where there is one; `document` is room for its data.
    pub(crate) fn fill_template(
        &self,
        event: &Event<'_>,
        now: i64,
        document: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), TemplateError> {
        let Some(template) = &self.template else { return Ok(()) };
        document.clear();
        out.clear();
        let fill = || {
            self.plan(None, event, now).0.encode(event, document);
            template.render(document, out)
        };
        attempt(fill).unwrap_or(Err(TemplateError::Defect))
    }

    /// Whether what is sent depends on when that is: on the age of events, or its own time.
    pub(crate) fn tells_time(&self) -> bool {
        !self.aged.is_empty() || self.packing.framing.tells_time()
    }
}

/// The place that these options lead to, by what routes may say otherwise.
pub(super) fn place(route_keys: &[&str], options: &Options) -> Name {
    let text = |key: &&str| match options.secret(key) {
        Some(secret) => secret.expose().trim().to_owned(),
        None => options.text(key).unwrap_or_default(),
    };
    let texts: Vec<String> = route_keys.iter().map(text).collect();
    name(&texts.iter().map(String::as_bytes).collect::<Vec<_>>())
}

pub(super) fn derive(settings: &Settings, options: &Options) -> Result<Derived, String> {
    (settings.vendor.derive)(options).map_err(|problem| problem.to_string())
}

/// The plan of what stands beside documents: what operators change about documents is not for it,
/// but what they hide is hidden there too.
fn beside(schema: &'static Schema, overrides: &Overrides) -> Result<Plan, String> {
    let Overrides { texts, allow, deny, .. } = overrides.clone();
    let overrides = Overrides { texts, allow, deny, ..Overrides::default() };
    Plan::compile(&[schema], &overrides).map_err(|error| error.to_string())
}

/// The texts of the options join those that the host and the operator gave.
fn overrides(spec: &ExporterSpec, options: &Options, derived: &Derived) -> Overrides {
    let mut overrides = spec.overrides.clone();
    let texts = options.texts().chain(derived.texts.iter().cloned());
    overrides.texts.extend(texts.map(|(name, text)| (name.to_owned(), text)));
    overrides.omit.extend(derived.omit.iter().map(|&key| key.to_owned()));
    if overrides.allow.is_empty() {
        overrides.allow.extend(&derived.allow);
    } else if !derived.allow.is_empty() {
        // Both hide what they do not name.
        overrides.allow.retain(|field| derived.allow.contains(field));
    }
    overrides.deny.extend(&derived.deny);
    overrides.mappings.extend(derived.mappings.iter().cloned());
    overrides.around.clone_from(&derived.around);
    overrides.replaces_nul |= derived.replaces_nul;
    overrides
}

fn packing(
    settings: &Settings,
    options: &Options,
    shape: &'static Shape,
    derived: &Derived,
) -> Packing {
    let mut limits = (settings.vendor.narrow)(options, settings.vendor.limits);
    limits.events = limits.events.min(settings.batch.events_max);
    limits.events = shape.events.map_or(limits.events, |events| limits.events.min(events));
    Packing {
        framing: &shape.framing,
        limits,
        body_bytes: settings.batch.bytes_max,
        encoding: settings.encoding,
        level: settings.encoding_level,
        flush_on: settings.batch.flush_on,
        heads: Heads::default(),
        head: derived.head.as_deref().map(Box::from),
        keeps_ids: false,
    }
}
