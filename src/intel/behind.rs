//! Who and what is behind an indicator.

use std::collections::HashMap;
use std::sync::Arc;

use super::cache::{Backing, Kept, Seen};
use super::snapshot::{About, Technique};
use super::stix::{Entity, EntityKind, PHASES_MAX, Tlp, Verb};

/// What a feed knows behind its indicators, by what links it.
pub(super) struct Behind<'a> {
    seen: &'a HashMap<String, Seen>,
    /// What may be named, by what leads there: by verb and id, at most [`LINKS_MAX`] of a verb.
    links: HashMap<&'a str, Vec<(Verb, &'a Entity)>>,
    export_tlp: &'a [Tlp],
}

impl<'a> Behind<'a> {
    pub(super) fn new(seen: &'a HashMap<String, Seen>, export_tlp: &'a [Tlp]) -> Self {
        let mut behind = Self { seen, links: HashMap::new(), export_tlp };
        for it in seen.values() {
            if let Backing::Link(link) = &it.object
                && !link.is_revoked
                && behind.may_export(behind.tlp(&link.markings))
                && let Some(target) = behind.entity(&link.target)
            {
                behind.links.entry(&link.source).or_default().push((link.verb, target));
            }
        }
        for targets in behind.links.values_mut() {
            // The order of a hash map is another one each time; answers are to stay the same.
            targets.sort_unstable_by(|(a, at), (b, bt)| (a, &at.id).cmp(&(b, &bt.id)));
            let (mut verb, mut count) = (None, 0);
            targets.retain(|(it, _)| {
                count = if verb == Some(*it) { count + 1 } else { 1 };
                verb = Some(*it);
                count <= LINKS_MAX
            });
        }
        behind
    }

    /// An object that may be named.
    fn entity(&self, id: &str) -> Option<&'a Entity> {
        match &self.seen.get(id)?.object {
            Backing::Entity(entity) => {
                let is_named = !entity.is_revoked && self.may_export(self.tlp(&entity.markings));
                is_named.then_some(entity)
            }
            _ => None,
        }
    }

    /// What an object is linked with, as far as it may be named.
    fn linked(&self, source: &str, verb: Verb) -> impl Iterator<Item = &'a Entity> {
        let targets = self.links.get(source).into_iter().flatten();
        targets.filter(move |(it, _)| *it == verb).map(|(_, entity)| *entity)
    }

    /// How far a text with these markings may travel; a marking that is not known may say nowhere.
    fn tlp(&self, markings: &[String]) -> Option<Tlp> {
        let tlp = |id: &String| match self.seen.get(id).map(|seen| &seen.object) {
            Some(Backing::Marking(tlp)) => *tlp,
            _ => Some(Tlp::well_known(id).unwrap_or(Tlp::Red)),
        };
        markings.iter().filter_map(tlp).max()
    }

    fn may_export(&self, tlp: Option<Tlp>) -> bool {
        tlp.is_none_or(|tlp| self.export_tlp.contains(&tlp))
    }
}

/// What an indicator says of itself, and what its feed links with it; the same as the last time
/// where nothing changed, so that snapshots share it.
pub(super) fn about(kept: &mut Kept, behind: &Behind<'_>) -> Arc<About> {
    let tlp = behind.tlp(&kept.markings);
    let may_export = behind.may_export(tlp);
    if (kept.own.tlp, kept.own.may_export) != (tlp, may_export) {
        let own = Arc::make_mut(&mut kept.own);
        (own.tlp, own.may_export) = (tlp, may_export);
    }
    if !behind.links.contains_key(&*kept.own.id) {
        kept.linked = None;
        return Arc::clone(&kept.own);
    }
    let linked = linked(&kept.own, behind);
    match &kept.linked {
        Some(known) if **known == linked => Arc::clone(known),
        _ => Arc::clone(kept.linked.insert(Arc::new(linked))),
    }
}

/// What it indicates is named, and the actor behind its malware or campaign. The techniques of an
/// actor are not: it may have used others here.
fn linked(own: &About, behind: &Behind<'_>) -> About {
    let mut about = own.clone();
    let direct: Vec<&Entity> = behind.linked(&own.id, Verb::Indicates).collect();
    let used = |of: EntityKind| {
        let users = direct.iter().filter(move |entity| entity.kind == of);
        users.flat_map(|entity| behind.linked(&entity.id, Verb::Uses))
    };
    let attributed = direct.iter().flat_map(|it| behind.linked(&it.id, Verb::AttributedTo));
    let mut actors: Vec<&Entity> = direct.clone();
    actors.extend(attributed);
    for entity in direct.iter().copied().chain(used(EntityKind::Campaign)) {
        name(&mut about.malware, entity, EntityKind::Malware);
    }
    for entity in &direct {
        name(&mut about.campaign, entity, EntityKind::Campaign);
    }
    for entity in &actors {
        name(&mut about.actor, entity, EntityKind::Actor);
    }
    let used = used(EntityKind::Malware).chain(used(EntityKind::Campaign));
    for entity in direct.iter().copied().chain(used) {
        add_technique(&mut about, entity);
    }
    about
}

/// Names an entity of a kind, unless one that is closer is named already.
fn name(named: &mut Option<String>, entity: &Entity, kind: EntityKind) {
    if entity.kind == kind && named.is_none() {
        *named = Some(entity.name.clone());
    }
}

fn add_technique(about: &mut About, entity: &Entity) {
    let Some(id) = &entity.technique else { return };
    let is_known = about.techniques.iter().any(|it| it.id == *id);
    if is_known || about.techniques.len() == PHASES_MAX {
        return;
    }
    about.techniques.push(Technique { id: id.clone(), name: entity.name.clone() });
    for phase in &entity.phases {
        if !about.phases.contains(phase) && about.phases.len() < PHASES_MAX {
            about.phases.push(phase.clone());
        }
    }
}

/// Objects that one is followed to by one verb: no technique is named beyond [`PHASES_MAX`], and a
/// feed may link each of its indicators with a malware that has tens of thousands.
const LINKS_MAX: usize = 64;

/// What an indicator says of itself, as it is written to the cache's file.
pub(super) mod shared {
    use std::sync::Arc;

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use super::About;

    pub(in super::super) fn serialize<S: Serializer>(
        about: &Arc<About>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        (**about).serialize(to)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Arc<About>, D::Error> {
        About::deserialize(from).map(Arc::new)
    }
}
