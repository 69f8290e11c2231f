//! Opens a record into the borrowed view: one pass, the judgements, what is added, privacy.

use std::cell::RefCell;
use std::sync::Arc;

use super::enrich::{Constant, Constants, Technique, Techniques};
use super::insight::{self, Insight};
use super::judge::Judge;
use super::privacy::Gates;
use super::rewrite::{LABELS_MAX, Label};
use super::scan::Specials;
use super::walk::walk;
use super::{Class, Entry, Event, FieldId, Frame, Opened, Privacy, Severity, repair, rewrite};

/// How events are opened; the same for every exporter.
#[derive(Clone, Debug)]
pub struct OpeningOptions {
    /// `session.environment` of events that have none.
    pub environment: Option<String>,
    /// `session.tenant_id` of events that have none.
    pub tenant_id: Option<String>,
    /// Labels of every event, 64 at most; those of the event win.
    pub labels: Vec<(String, String)>,
    /// `session.id` of events where it is blank.
    pub session_id: String,
    /// `agent.id` of events where it is blank.
    pub agent_id: String,
    /// Rows of the ATT&CK table, before the built-in ones.
    pub mitre: Vec<Technique>,
    /// Whether `ingested_at` is set from the time of receipt where it is absent.
    pub ingested_at: bool,
    /// Seconds that an event may lie after its receipt without a flag.
    pub max_future_skew_secs: u32,
    /// Seconds that an event may lie before its receipt without a flag.
    pub max_past_age_secs: u32,
    /// Objects and arrays inside each other, at most; above 128 counts as 128.
    pub depth_max: usize,
    /// Who is asked what others know of an event's values; [`Opening::open_exact`] asks nobody.
    pub insight: Option<Arc<dyn Insight>>,
    /// What nobody downstream may see; none of it concerns [`Opening::open_exact`].
    pub privacy: Option<Arc<Privacy>>,
}

impl Default for OpeningOptions {
    fn default() -> Self {
        Self {
            environment: None,
            tenant_id: None,
            labels: Vec::new(),
            session_id: "unknown".to_owned(),
            agent_id: "unknown".to_owned(),
            mitre: Vec::new(),
            ingested_at: true,
            max_future_skew_secs: 86_400,
            max_past_age_secs: 31_536_000,
            depth_max: DEPTH_MAX,
            insight: None,
            privacy: None,
        }
    }
}

/// Levels of nesting that any reader of events takes (`inputs.md`, section 8).
pub(super) const DEPTH_MAX: usize = 128;

/// Bytes of a record that its places can express.
const RECORD_BYTES_MAX: usize = 1 << 30;

/// A record that is no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject {
    /// What is wrong.
    pub class: Class,
    /// The byte of the record where that showed.
    pub at: usize,
    /// The field that is concerned, where one is.
    pub field: Option<FieldId>,
}

/// Opens records; one per process, shared by all workers.
#[derive(Debug)]
pub struct Opening {
    pub(super) options: OpeningOptions,
    pub(super) constants: Constants,
    pub(super) environment: Option<Constant>,
    pub(super) tenant_id: Option<Constant>,
    /// The configured labels.
    pub(super) labels: Vec<Label>,
    /// The same as one object.
    pub(super) labels_object: Option<Constant>,
    pub(super) session_id: Constant,
    pub(super) agent_id: Constant,
    pub(super) unknown: Constant,
    pub(super) engine: Constant,
    pub(super) version: Constant,
    /// The words of the severities, ascending.
    pub(super) severities: [Constant; Severity::ALL.len()],
    pub(super) techniques: Techniques,
}

impl Opening {
    /// Prepares everything that is the same for each event.
    #[must_use]
    pub fn new(options: &OpeningOptions) -> Self {
        let mut constants = Constants::default();
        let quoted = |text: &str| {
            let mut json = Vec::new();
            rewrite::quote(text.as_bytes(), &mut json);
            json
        };
        let labels: Vec<Label> = options
            .labels
            .iter()
            .take(LABELS_MAX)
            .map(|(name, text)| {
                let key = quoted(name);
                Label {
                    name: name.as_bytes().to_vec(),
                    key: key[1..key.len() - 1].to_vec(),
                    value: quoted(text),
                }
            })
            .collect();
        let labels_object = (!labels.is_empty()).then(|| {
            let mut object = Vec::new();
            rewrite::labels(b"{}", &labels, &mut object);
            constants.json(&object)
        });
        let text = |text: &Option<String>, constants: &mut Constants| {
            text.as_ref().map(|text| constants.text(text))
        };
        Self {
            environment: text(&options.environment, &mut constants),
            tenant_id: text(&options.tenant_id, &mut constants),
            labels,
            labels_object,
            session_id: constants.text(&options.session_id),
            agent_id: constants.text(&options.agent_id),
            unknown: constants.text("unknown"),
            engine: constants.text("engine"),
            version: constants.text("1.0.0"),
            severities: [0, 1, 2, 3, 4].map(|i| constants.text(Severity::ALL[i].word())),
            techniques: Techniques::new(&options.mitre, &mut constants),
            options: OpeningOptions {
                depth_max: options.depth_max.min(DEPTH_MAX),
                ..options.clone()
            },
            constants,
        }
    }

    /// Whether events without a tenant get a configured one.
    #[must_use]
    pub fn has_tenant(&self) -> bool {
        self.tenant_id.is_some()
    }

    /// Begins a block's arena: the constant texts come first, so their places are the same in every
    /// block.
    pub fn begin(&self, arena: &mut Vec<u8>) {
        arena.clear();
        arena.extend_from_slice(&self.constants.bytes);
    }

    /// Takes back all that opening added to an arena since [`Opening::begin`].
    pub fn rewind(&self, arena: &mut Vec<u8>) {
        arena.truncate(self.constants.bytes.len());
    }

    /// Opens a record for those downstream: repairs what can be repaired, adds what others know of
    /// it, and conceals what they may not see. Places in `out` lie in `record`, or in `arena`,
    /// which this opening must have begun.
    ///
    /// # Errors
    /// When the record is no event; `out` then holds nothing of use.
    #[inline]
    pub fn open(
        &self,
        frame: &Frame,
        record: &[u8],
        arena: &mut Vec<u8>,
        out: &mut Opened,
    ) -> Result<(), Reject> {
        let start = arena.len();
        let exact = self.open_exact(frame, record, arena, out);
        if let Err(reject) = exact {
            self.open_repaired(frame, record, reject, arena, out)?;
        }
        if let Some(insight) = &self.options.insight
            && let Some(known) = insight.of(&Event::new(out, *frame, record, arena))
        {
            known.add(&self.severities, record, arena, out);
        }
        if let Some(privacy) = &self.options.privacy {
            let gates = match exact {
                Ok(()) if !out.intel => privacy.concern(&Event::new(out, *frame, record, arena)),
                // Not all values are from the record: no search in it says anything of them.
                _ => Some(Gates::ALL),
            };
            if let Some(gates) = gates {
                conceal(privacy, (frame, record, gates), start, arena, out);
            }
        }
        Ok(())
    }

    /// The same for a record that was opened before it was kept: it is not concealed again.
    ///
    /// # Errors
    /// When the record is no event; `out` then holds nothing of use.
    #[inline]
    pub fn open_prepared(
        &self,
        frame: &Frame,
        record: &[u8],
        arena: &mut Vec<u8>,
        out: &mut Opened,
    ) -> Result<(), Reject> {
        // Its remarks are ours: they were made when it was opened first.
        let frame = &Frame { mapped: true, ..*frame };
        match self.open_exact(frame, record, arena, out) {
            Ok(()) => {}
            Err(reject) => self.open_repaired(frame, record, reject, arena, out)?,
        }
        out.intel = insight::is_noted(out.places[FieldId::Shrike as usize], record, arena);
        Ok(())
    }

    /// Opens a record as it is, nothing concealed; one that needs a repair is refused with the
    /// class of the repair.
    ///
    /// # Errors
    /// When the record is no event or no clean text; `out` then holds nothing of use.
    #[inline]
    pub fn open_exact(
        &self,
        frame: &Frame,
        record: &[u8],
        arena: &mut Vec<u8>,
        out: &mut Opened,
    ) -> Result<(), Reject> {
        debug_assert!(arena.starts_with(&self.constants.bytes), "an arena begins with `begin`");
        out.concealed = false;
        let refused = |class, at| Reject { class, at, field: None };
        if record.len() > RECORD_BYTES_MAX {
            return Err(refused(Class::Oversize, RECORD_BYTES_MAX));
        }
        let specials = Specials::new(record);
        if !specials.ascii
            && let Err(error) = str::from_utf8(record)
        {
            return Err(refused(Class::InvalidUtf8, error.valid_up_to()));
        }
        let found = walk(&specials, self.options.depth_max, &mut out.places)
            .map_err(|(class, at)| refused(class, at))?;
        if found.lone {
            return Err(refused(Class::LoneSurrogate, 0));
        }
        out.may_preview = found.previews;
        Judge::new(self, frame, record, arena, out).judge(&found)
    }

    /// The members of a record that is clean and no event, as far as it is known by its members;
    /// `None` of any other.
    #[must_use]
    pub fn foreign<'r>(&self, record: &'r [u8]) -> Option<Vec<Entry<'r>>> {
        let entries = rewrite::clean_entries(record, self.options.depth_max)?;
        let is_event = entries.iter().any(|entry| entry.is(b"schema_version"));
        (!is_event).then_some(entries)
    }

    /// Opens what a repair makes of a record that was refused.
    #[cold]
    fn open_repaired(
        &self,
        frame: &Frame,
        record: &[u8],
        reject: Reject,
        arena: &mut Vec<u8>,
        out: &mut Opened,
    ) -> Result<(), Reject> {
        let Some(repaired) = repair::repair(record, reject.class) else { return Err(reject) };
        let mut frame = *frame;
        frame.repaired = frame.repaired.union(repaired.classes);
        let start = arena.len();
        arena.extend_from_slice(&repaired.text);
        self.open_exact(&frame, &repaired.text, arena, out)
            .map_err(|again| repaired.refused(again))?;
        for place in &mut out.places {
            *place = place.moved_to_arena(start as u32);
        }
        Ok(())
    }
}

/// Writes an event anew as the rules let it be seen; what opening added to the arena since `start`
/// goes, since originals may be in it.
#[cold]
fn conceal(
    privacy: &Privacy,
    (frame, record, gates): (&Frame, &[u8], Gates),
    start: usize,
    arena: &mut Vec<u8>,
    out: &mut Opened,
) {
    thread_local! {
        /// An event on its way into an arena that it is partly read from.
        static ROOM: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    ROOM.with_borrow_mut(|room| {
        room.clear();
        let event = Event::new(out, *frame, record, arena);
        let Some(opened) = privacy.changed(&event, gates, room) else { return };
        arena.truncate(start);
        arena.extend_from_slice(room);
        *out = opened.moved_to_arena(start as u32);
        room.shrink_to(ROOM_BYTES_MAX);
    });
}

/// Bytes of room that a thread keeps: most events are far smaller.
const ROOM_BYTES_MAX: usize = 256 << 10;
