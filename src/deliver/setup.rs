//! Preparing a destination: the steps of [`Vendor::setup`], run without IO.
//!
//! The machine says what to send next and takes the answers; whoever drives it owns the network.
//! Running it again is harmless: every step looks first.
//!
//! [`Vendor::setup`]: super::Vendor::setup

use super::{
    Answer, Applied, Binding, Call, Cause, Channel, CompiledCall, Fate, Need, Options, Problem,
    Request, Response, Step, TransportError, Verdict, Via, judge, judge_transport,
};

/// The steps of one exporter, and how far they are.
#[derive(Debug)]
pub struct Setup {
    steps: Vec<CompiledStep>,
    at: usize,
    phase: Phase,
    prepared: Prepared,
}

/// How preparing ended; export goes on in any case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prepared {
    /// What was created or replaced.
    pub changes: Vec<String>,
    /// What was left as it is although it differs from the configuration.
    pub notes: Vec<String>,
    /// What could not be prepared: the exporter is degraded.
    pub failures: Vec<String>,
    /// Whether trying later may help: the destination did not answer, or was busy.
    pub again: bool,
    /// Whether nobody could be connected to, so that events would not arrive either.
    pub unreached: bool,
}

/// A step with its calls filled in.
#[derive(Debug)]
struct CompiledStep {
    step: &'static Step,
    look: Option<CompiledCall>,
    act: CompiledCall,
    instead: Option<CompiledCall>,
}

/// What is asked for next within a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Look,
    Act,
    Instead,
}

impl Prepared {
    /// Whether something could not be prepared.
    #[must_use]
    pub fn is_degraded(&self) -> bool {
        !self.failures.is_empty()
    }
}

impl Setup {
    /// Fills in the steps that apply.
    ///
    /// # Errors
    /// When a call's path names a text that is not set.
    pub fn compile(binding: &Binding<'_>) -> Result<Self, Problem> {
        let applies = |step: &&Step| step.when.holds(binding.options, binding.format);
        let steps = binding.vendor.setup.iter().filter(applies);
        let steps = steps.map(|step| CompiledStep::compile(step, binding));
        let mut setup = Self {
            steps: steps.collect::<Result<_, _>>()?,
            at: 0,
            phase: Phase::Look,
            prepared: Prepared::default(),
        };
        setup.restart();
        Ok(setup)
    }

    /// What the steps put at the destination where nothing is there.
    pub fn puts(&self) -> impl Iterator<Item = (&'static Step, Request)> {
        let via = Via { endpoint: 0, group: 0, channel: Channel::from_random([0; 16]) };
        self.steps.iter().map(move |it| (it.step, it.act.plain(via)))
    }

    /// Begins again with the first step.
    pub fn restart(&mut self) {
        self.at = 0;
        self.prepared = Prepared::default();
        self.begin();
    }

    /// The next request; `None` once all steps are through.
    ///
    /// The same request is given until its answer is taken in.
    #[must_use]
    pub fn poll(&self, via: Via) -> Option<Request> {
        Some(self.call()?.plain(via))
    }

    /// Takes in the answer to the request that [`Setup::poll`] gave.
    pub fn on_answer(&mut self, answer: &Answer, options: &Options) {
        let (Some(call), Some(step)) = (self.call(), self.steps.get(self.at)) else { return };
        let response = Response::without_events(answer, options);
        let (call, step) = (call.call, step.step);
        let verdict = judge(call, &response);
        if is_passing(&verdict) {
            return self.postpone(&verdict);
        }
        match self.phase {
            Phase::Look => self.on_look(step, &verdict, &response),
            Phase::Act | Phase::Instead => self.on_act(&verdict),
        }
    }

    /// Takes in that no answer came.
    pub fn on_error(&mut self, error: &TransportError) {
        self.postpone(&judge_transport(error));
        self.prepared.unreached = error.applied == Applied::No;
    }

    /// How it ended, once [`Setup::poll`] gives nothing more.
    #[must_use]
    pub fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    fn call(&self) -> Option<&CompiledCall> {
        let step = self.steps.get(self.at)?;
        match self.phase {
            Phase::Look => step.look.as_ref(),
            Phase::Act => Some(&step.act),
            Phase::Instead => step.instead.as_ref(),
        }
    }

    /// Begins the step at hand, with a look where it has one.
    fn begin(&mut self) {
        let looks = self.steps.get(self.at).is_some_and(|step| step.look.is_some());
        self.phase = if looks { Phase::Look } else { Phase::Act };
    }

    fn end_step(&mut self) {
        self.at += 1;
        self.begin();
    }

    fn on_look(&mut self, step: &Step, verdict: &Verdict, response: &Response<'_>) {
        if is_refused(verdict) {
            self.fail(&verdict.reason.detail, response.status);
            return self.end_step();
        }
        match (step.need)(response) {
            Need::Act => return self.phase = Phase::Act,
            Need::Done => {}
            Need::Leave(why) => self.prepared.notes.push(format!("{}: {why}", step.name)),
            Need::Fail(why) => self.fail(&why, response.status),
        }
        self.end_step();
    }

    fn on_act(&mut self, verdict: &Verdict) {
        let step = &self.steps[self.at];
        if verdict.fate == Fate::Delivered {
            self.prepared.changes.push(step.step.name.to_owned());
            return self.end_step();
        }
        let has_another = self.phase == Phase::Act && step.instead.is_some();
        if has_another && !is_refused(verdict) {
            return self.phase = Phase::Instead;
        }
        self.fail(&verdict.reason.detail, verdict.reason.status);
        self.end_step();
    }

    fn fail(&mut self, why: &str, status: u16) {
        let name = self.steps[self.at].step.name;
        self.prepared.failures.push(format!("{name}: {why} (status {status})"));
    }

    /// The destination is away or busy: the other steps would fare no better.
    fn postpone(&mut self, verdict: &Verdict) {
        if self.at >= self.steps.len() {
            return;
        }
        self.fail(&verdict.reason.detail, verdict.reason.status);
        self.prepared.again = true;
        self.at = self.steps.len();
    }
}

impl CompiledStep {
    fn compile(step: &'static Step, binding: &Binding<'_>) -> Result<Self, Problem> {
        let compile = |call: &'static Call| CompiledCall::compile(call, binding);
        Ok(Self {
            step,
            look: step.look.as_ref().map(compile).transpose()?,
            act: compile(&step.act)?,
            instead: step.instead.as_ref().map(compile).transpose()?,
        })
    }
}

/// Whether time may heal it.
fn is_passing(verdict: &Verdict) -> bool {
    matches!(verdict.fate, Fate::Retry | Fate::Hold { cause: Cause::Outage, .. })
}

/// Whether credentials do not suffice.
fn is_refused(verdict: &Verdict) -> bool {
    matches!(verdict.fate, Fate::Hold { cause: Cause::Auth, .. })
}
