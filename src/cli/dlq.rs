//! `shrike dlq`: see dead letters, send them again, remove them.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write as _};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use shrike::config::{Host, Places};
use shrike::control::Client;
use shrike::event::Offset;
use shrike::log::Log;
use shrike::pipeline::{Engine, Letter, LetterStore, Operation, Progress, Wanted, Work};

use super::args::{Dlq, Letters, Shared};
use super::serve::Running;
use super::table::Table;
use super::{Exit, Failure, configured, failed, hint, log, position, progress, say, settings};

/// Runs a command about dead letters.
///
/// Stores are read beside whatever process writes them; what changes them goes through the running
/// process, or takes the log's lock where none runs.
pub(crate) fn dlq(shared: &Shared, command: &Dlq) -> Result<Exit, Failure> {
    let places = settings::places(shared)?;
    match command {
        Dlq::List { letters, limit, json } => {
            list(&seen(&places, letters)?, limit.unwrap_or(u64::MAX), *json)
        }
        Dlq::Stats { name, exporter, json } => {
            let exporter = name.clone().or_else(|| exporter.clone());
            let letters = Letters { exporter, ..Letters::default() };
            stats(&seen(&places, &letters)?, *json)
        }
        Dlq::Show { id, exporter } => {
            let letters = Letters { exporter: exporter.clone(), ..Letters::default() };
            show(&seen(&places, &letters)?, id)
        }
        Dlq::Replay { letters, id, rate, really_alert, dry_run } => {
            let mut chosen = only(id.as_deref(), stores(&places, letters)?);
            for (_, wanted) in &mut chosen {
                wanted.really_alert = *really_alert;
            }
            match dry_run {
                true => list(&chosen, u64::MAX, false),
                false => replay((shared, &places), &chosen, *rate),
            }
        }
        Dlq::Purge { letters, id, all, dry_run } => {
            let chosen = only(id.as_deref(), stores(&places, letters)?);
            if *dry_run {
                return list(&chosen, u64::MAX, false);
            }
            if !all && chosen.iter().any(|(_, wanted)| *wanted == Wanted::default()) {
                return Err(Failure::Usage(
                    "this would remove every dead letter for ever; narrow it with --since, \
                     --class or --id, or say --all; --dry-run shows them"
                        .to_owned(),
                ));
            }
            purge((shared, &places), &chosen)
        }
    }
}

/// A store with its exporter's name, and what is wanted of it.
struct Chosen {
    name: String,
    dir: PathBuf,
}

/// The stores that the arguments choose, to look at: also that of an exporter that is switched off
/// or not configured any more, where it is named.
fn seen(places: &Places, letters: &Letters) -> Result<Vec<(Chosen, Wanted)>, Failure> {
    let stores = stores(places, letters);
    let Some(name) = letters.name.as_ref().or(letters.exporter.as_ref()) else { return stores };
    match (&stores, left(places, name)) {
        (Err(_), Some(dir)) => Ok(vec![(Chosen { name: name.clone(), dir }, wanted(letters)?)]),
        _ => stores,
    }
}

/// Refuses where there is neither a store nor a log to which one belongs.
fn kept(places: &Places, stores: &[(Chosen, Wanted)]) -> Result<(), Failure> {
    for (Chosen { dir, .. }, _) in stores {
        if dir.try_exists().map_err(Failure::io(dir.display().to_string()))? {
            return Ok(());
        }
    }
    log::open(&places.log_dir).map(drop)
}

/// The stores that the arguments choose.
fn stores(places: &Places, letters: &Letters) -> Result<Vec<(Chosen, Wanted)>, Failure> {
    let wanted = wanted(letters)?;
    let named = letters.name.as_ref().or(letters.exporter.as_ref());
    let all = places.letters.iter();
    let chosen: Vec<_> = all
        .filter(|it| named.is_none_or(|name| *name == it.exporter))
        .map(|it| (Chosen { name: it.exporter.clone(), dir: it.dir.clone() }, wanted.clone()))
        .collect();
    match (named, chosen.is_empty()) {
        (Some(name), true) => {
            let names: Vec<&str> = places.letters.iter().map(|it| it.exporter.as_str()).collect();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let told = |dir: PathBuf| {
                let dir = dir.display();
                format!(
                    "; what it gave up is kept in {dir}: configure it again, and switched on, to \
                     replay or purge that"
                )
            };
            let hint = left(places, name).map(told).unwrap_or_default();
            Err(Failure::Usage(format!("no exporter `{name}`; there are: {names}{hint}")))
        }
        _ => kept(places, &chosen).map(|()| chosen),
    }
}

fn wanted(letters: &Letters) -> Result<Wanted, Failure> {
    let since = letters.since.as_deref().map(position::time).transpose()?;
    Ok(Wanted { since, class: letters.class.clone(), ..Wanted::default() })
}

/// The same where only the letter is wanted that somebody names.
fn only(id: Option<&str>, stores: Vec<(Chosen, Wanted)>) -> Vec<(Chosen, Wanted)> {
    let narrow = |wanted: Wanted| id.map_or(wanted.clone(), |id| wanted.of(id));
    stores.into_iter().map(|(store, wanted)| (store, narrow(wanted))).collect()
}

/// Where letters of an exporter lie that is not configured, unless `dlq.path` said otherwise.
fn left(places: &Places, name: &str) -> Option<PathBuf> {
    let is_name = name.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_".contains(&it));
    let dir = places.state_dir.join("dlq").join(name);
    (is_name && !name.is_empty() && dir.is_dir()).then_some(dir)
}

/// Visits the wanted letters of all stores; false where one cannot be read, which hides no other.
fn visit(
    stores: &[(Chosen, Wanted)],
    mut visit: impl FnMut(&str, Offset, &Letter) -> Result<ControlFlow<()>, Failure>,
) -> Result<bool, Failure> {
    let mut is_whole = true;
    for (Chosen { name, dir }, wanted) in stores {
        let mut ended = Ok(ControlFlow::Continue(()));
        let visited = LetterStore::look(dir).and_then(|store| {
            let Some(mut store) = store else { return Ok(()) };
            store.visit(wanted, |at, letter| {
                ended = visit(name, at, letter);
                match &ended {
                    Ok(ControlFlow::Continue(())) => ControlFlow::Continue(()),
                    _ => ControlFlow::Break(()),
                }
            })
        });
        if let Err(problem) = visited {
            hint(format_args!("{name}: {problem}"));
            is_whole = false;
        }
        if ended?.is_break() {
            break;
        }
    }
    Ok(is_whole)
}

/// How a command ends that has printed what it could read.
fn ended(is_whole: bool) -> Exit {
    if is_whole { Exit::Done } else { Exit::Failed }
}

fn list(stores: &[(Chosen, Wanted)], limit: u64, as_json: bool) -> Result<Exit, Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let heads = ["event", "exporter", "failed", "attempts", "class", "status", "retry", "error"];
    let mut table = Table::new(&heads);
    let mut left = limit;
    let is_whole = visit(stores, |name, at, letter| {
        if left == 0 {
            return Ok(ControlFlow::Break(()));
        }
        left -= 1;
        if as_json {
            let line = serde_json::to_string(letter).map_err(failed)? + "\n";
            out.write_all(line.as_bytes()).map_err(Failure::io("standard output"))?;
        } else {
            table.row([
                letter.event_id.clone().unwrap_or_else(|| at.to_string()),
                name.to_owned(),
                letter.failed_at.clone(),
                letter.attempts.to_string(),
                letter.class.clone(),
                letter.http_status.to_string(),
                if letter.retryable { "may help" } else { "no" }.to_owned(),
                problem(letter).chars().take(ERROR_CHARS).collect(),
            ]);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let text = if as_json { String::new() } else { table.text() };
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(Failure::io("standard output"))?;
    Ok(ended(is_whole))
}

/// Why an event is a dead letter; one whose event is not in it cannot be sent again.
fn problem(letter: &Letter) -> String {
    let Letter { event, offset, error, .. } = letter;
    match event {
        Some(_) => error.clone(),
        None => format!("event not kept (offset {offset} of the log): {error}"),
    }
}

/// What one store holds.
#[derive(Default, Serialize)]
struct Stats {
    exporter: String,
    letters: u64,
    retryable: u64,
    oldest: Option<String>,
    newest: Option<String>,
    by_class: BTreeMap<String, u64>,
    last_error: String,
    /// The id of the newest letter's event.
    sample: Option<String>,
}

fn stats(stores: &[(Chosen, Wanted)], as_json: bool) -> Result<Exit, Failure> {
    let mut all: Vec<Stats> = stores
        .iter()
        .map(|(it, _)| Stats { exporter: it.name.to_owned(), ..Stats::default() })
        .collect();
    let is_whole = visit(stores, |name, at, letter| {
        let Some(stats) = all.iter_mut().find(|stats| stats.exporter == name) else {
            return Ok(ControlFlow::Break(()));
        };
        stats.letters += 1;
        stats.retryable += u64::from(letter.retryable);
        stats.oldest.get_or_insert_with(|| letter.failed_at.clone());
        stats.newest = Some(letter.failed_at.clone());
        *stats.by_class.entry(letter.class.clone()).or_default() += 1;
        stats.last_error.clone_from(&letter.error);
        stats.sample = letter.event_id.clone().or_else(|| Some(at.to_string()));
        Ok(ControlFlow::Continue(()))
    })?;
    let text = match as_json {
        true => serde_json::to_string(&all).map_err(failed)? + "\n",
        false => shown(&all),
    };
    io::stdout().write_all(text.as_bytes()).map_err(Failure::io("standard output"))?;
    Ok(ended(is_whole))
}

fn shown(all: &[Stats]) -> String {
    let mut table = Table::new(&["exporter", "letters", "may succeed", "oldest", "newest"]);
    let mut rest = String::new();
    for stats in all {
        let time = |time: &Option<String>| time.clone().unwrap_or_else(|| "-".to_owned());
        table.row([
            stats.exporter.clone(),
            stats.letters.to_string(),
            stats.retryable.to_string(),
            time(&stats.oldest),
            time(&stats.newest),
        ]);
        for (class, count) in &stats.by_class {
            rest += &format!("{}: {count} {class}\n", stats.exporter);
        }
        if stats.letters > 0 {
            let sample = stats.sample.as_deref().unwrap_or("-");
            rest += &format!("{}: last, {sample}: {}\n", stats.exporter, stats.last_error);
        }
    }
    table.text() + &rest
}

fn show(stores: &[(Chosen, Wanted)], id: &str) -> Result<Exit, Failure> {
    let (mut text, wanted) = (String::new(), Wanted::default().of(id));
    let is_whole = visit(stores, |_, at, letter| {
        if wanted.fits(at, letter) {
            text += &(serde_json::to_string_pretty(letter).map_err(failed)? + "\n");
        }
        Ok(ControlFlow::Continue(()))
    })?;
    if text.is_empty() {
        return Err(unknown(id));
    }
    io::stdout().write_all(text.as_bytes()).map_err(Failure::io("standard output"))?;
    Ok(ended(is_whole))
}

fn unknown(id: &str) -> Failure {
    Failure::Engine(format!("no dead letter of event {id}; `shrike dlq list` names them"))
}

/// Whoever names an event has it in mind: that there is no such letter is told as a mistake.
fn found(stores: &[(Chosen, Wanted)], letters: u64) -> Result<(), Failure> {
    let id = stores.iter().find_map(|(_, wanted)| wanted.named());
    id.filter(|_| letters == 0).map_or(Ok(()), |id| Err(unknown(&id)))
}

/// What the chain of receipts says of something that this command did by itself.
pub(crate) fn done(action: &'static str, exporter: &str, detail: String) -> Operation {
    let (user, process) = (rustix::process::getuid().as_raw(), std::process::id());
    let actor = format!("user {user}, process {process}");
    Operation { action, exporter: exporter.to_owned(), actor, detail }
}

/// Who changes stores: the running process, or an engine of our own.
enum Actor {
    Client(Client),
    Own(Running, Log),
}

impl Actor {
    fn find(
        (shared, places): (&Shared, &Places),
        stores: &[(Chosen, Wanted)],
    ) -> Result<Self, Failure> {
        if let Some(client) = Client::connect(&places.state_dir).map_err(failed)? {
            return Ok(Self::Client(client));
        }
        let config = settings::load(shared, Vec::new())?;
        let (log, _) = Log::open(config.log.clone()).map_err(failed)?;
        let mut options = config.engine_options(&Host::look());
        options.work = Work::Aside;
        options.exporters.retain(|spec| stores.iter().any(|(it, _)| it.name == spec.settings.name));
        let engine = Engine::start(log.clone(), options).map_err(configured)?;
        Ok(Self::Own(Running::new(engine), log))
    }

    fn replay(
        &mut self,
        name: &str,
        wanted: &Wanted,
        rate: Option<u32>,
    ) -> Result<Progress, Failure> {
        match self {
            Self::Client(client) => client.replay(name, wanted, rate).map_err(failed),
            Self::Own(engine, _) => {
                let begun = engine.ask(|engine| engine.replay(name, wanted, rate));
                let begun = begun.map_err(failed)?;
                let mut detail = format!("{} letters", begun.wanted);
                if wanted.really_alert {
                    detail += REALLY_ALERT;
                }
                engine.note(done("dlq_replay", name, detail));
                Ok(begun)
            }
        }
    }

    fn replayed(&mut self, name: &str) -> Result<Progress, Failure> {
        match self {
            Self::Client(client) => client.replayed(name).map_err(failed),
            Self::Own(engine, _) => engine.ask(|engine| engine.replayed(name)).map_err(failed),
        }
    }

    fn purge(&mut self, name: &str, wanted: &Wanted) -> Result<u64, Failure> {
        match self {
            Self::Client(client) => client.purge(name, wanted).map_err(failed),
            Self::Own(engine, _) => {
                let letters = engine.ask(|engine| engine.purge(name, wanted)).map_err(failed)?;
                engine.note(done("dlq_purge", name, format!("{letters} letters")));
                Ok(letters)
            }
        }
    }

    /// What to do where a replay does not get on.
    fn advice(&self) -> &'static str {
        match self {
            Self::Client(_) => {
                "`shrike status` says why. The replay goes on by itself once it can, also when \
                 this command is ended"
            }
            Self::Own(..) => {
                "it goes on once the destination takes events. When this command is ended, what \
                 did not arrive stays a dead letter"
            }
        }
    }

    /// Makes durable what was changed.
    fn end(self) -> Result<(), Failure> {
        match self {
            Self::Client(_) => Ok(()),
            Self::Own(engine, log) => {
                // What the stores have made durable reaches the checkpoints first.
                engine.flush(Instant::now() + FLUSH_WAIT);
                drop(engine.end());
                log.close().map_err(failed)
            }
        }
    }
}

/// Does something with each store, whatever became of those before; false where one refused.
fn each(
    mut actor: Actor,
    stores: &[(Chosen, Wanted)],
    mut act: impl FnMut(&mut Actor, &str, &Wanted) -> Result<(), Failure>,
) -> Result<bool, Failure> {
    let mut refused = None;
    for (Chosen { name, .. }, wanted) in stores {
        if let Err(problem) = act(&mut actor, name, wanted) {
            if stores.len() > 1 {
                hint(format_args!("{problem}"));
            }
            refused = Some(problem);
        }
    }
    actor.end()?;
    match refused {
        Some(problem) if stores.len() == 1 => Err(problem),
        refused => Ok(refused.is_none()),
    }
}

fn replay(
    of: (&Shared, &Places),
    stores: &[(Chosen, Wanted)],
    rate: Option<u32>,
) -> Result<Exit, Failure> {
    let (mut is_whole, mut letters) = (true, 0);
    let none_refused = each(Actor::find(of, stores)?, stores, |actor, name, wanted| {
        let begun = actor.replay(name, wanted, rate)?;
        letters += begun.wanted;
        is_whole &= follow(actor, name, begun)?;
        Ok(())
    })?;
    if none_refused {
        found(stores, letters)?;
    }
    Ok(if is_whole && none_refused { Exit::Done } else { Exit::Failed })
}

/// Waits for the end of a replay and tells of it; whether all of it was delivered.
fn follow(actor: &mut Actor, name: &str, begun: Progress) -> Result<bool, Failure> {
    let bar = progress::Progress::letters("replay", begun.wanted);
    let (mut last, mut moved) = (begun, Some(Instant::now()));
    while last.is_running {
        thread::sleep(LOOK_INTERVAL);
        let before = last.ended();
        last = actor.replayed(name)?;
        bar.at(last.ended());
        if last.ended() > before {
            moved = moved.map(|_| Instant::now());
        }
        if moved.take_if(|at| at.elapsed() >= PATIENCE).is_some() {
            hint(format_args!("{name}: nothing arrives at present; {}", actor.advice()));
        }
    }
    bar.end();
    let told = match last.digested {
        0 => String::new(),
        events => format!(", {events} too old and told of in a digest"),
    };
    say(format_args!(
        "{name}: {} of {} delivered{told}, {} stay",
        last.delivered, last.wanted, last.kept
    ));
    Ok(last.kept == 0 && last.delivered + last.digested >= begun.wanted)
}

fn purge(of: (&Shared, &Places), stores: &[(Chosen, Wanted)]) -> Result<Exit, Failure> {
    let mut all = 0;
    let none_refused = each(Actor::find(of, stores)?, stores, |actor, name, wanted| {
        let letters = actor.purge(name, wanted)?;
        all += letters;
        say(format_args!("{name}: {letters} removed"));
        Ok(())
    })?;
    if !none_refused {
        return Ok(Exit::Failed);
    }
    found(stores, all)?;
    Ok(Exit::Done)
}

/// What the audit says of a rewind or a replay that was asked to tell of each event.
pub(crate) const REALLY_ALERT: &str = "; --really-alert";
/// Characters of an error in a table; `dlq show` prints it whole.
const ERROR_CHARS: usize = 60;
/// How long a replay may stand still before that is told.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a replay is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// How long requests that are under way are waited for at the end.
const FLUSH_WAIT: Duration = Duration::from_secs(5);
