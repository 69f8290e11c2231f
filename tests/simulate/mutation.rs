//! Ways to break the engine.

/// A way to break the engine, to see whether the auditor notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// Events settle when they are sent.
    SettleEarly,
    /// A batch that should be retried is forgotten.
    ForgetRetry,
    /// Checkpoints say one record too much.
    CheckpointTooFar,
    /// What settles is told twice.
    SettleTwice,
    /// Checkpoints do not wait for the log to be durable.
    IgnoreDurable,
    /// An unreachable destination counts as a refusal.
    BurnInOutage,
    /// The end of a request that hangs is never told.
    LoseTimeout,
    /// Polls confirm everything they asked for.
    BelieveAcks,
    /// A partial answer's retries are taken for delivered.
    IgnorePartial,
    /// Dead letters settle without being stored.
    DropDeadLetters,
    /// The bytes of a checkpoint are not synced before it gets its name.
    SkipDraftSync,
    /// The name of a checkpoint is not synced.
    SkipNameSync,
    /// A new process relies on a name that the one before it did not sync.
    SkipSyncOnOpen,
    /// Receipts are not synced.
    SkipReceiptSync,
    /// Receipts are synced behind the checkpoint that relies on them.
    CheckpointBeforeReceipts,
    /// The log lets go what a checkpoint has passed that is not saved.
    RetainEarly,
    /// What retention gives up is not settled.
    ForgetSkip,
    /// The record of a gap that was not delivered is let go.
    ForgetGap,
    /// A letter's removal that no checkpoint knows is not told again after a crash.
    ForgetRemoval,
    /// The rest of a stripe is given back from its beginning.
    GiveBackTooMuch,
    /// A stripe counts as read before its last record is.
    FinishEarly,
    /// Retention gives up one stripe more than it must.
    GiveUpTooMuch,
    /// Nothing is ever set aside.
    NeverSetAside,
    /// What was set aside never comes back.
    KeepAside,
    /// What comes back is forgotten.
    LoseAside,
    /// What holds one place holds all.
    HoldAllForOne,
    /// Later ones overtake where order matters.
    Overtake,
    /// Routes that lead to one place do not share its rate.
    SplitPlaces,
}

impl Mutation {
    pub(crate) const ALL: [Self; 28] = [
        Self::SettleEarly,
        Self::ForgetRetry,
        Self::CheckpointTooFar,
        Self::SettleTwice,
        Self::IgnoreDurable,
        Self::BurnInOutage,
        Self::LoseTimeout,
        Self::BelieveAcks,
        Self::IgnorePartial,
        Self::DropDeadLetters,
        Self::SkipDraftSync,
        Self::SkipNameSync,
        Self::SkipSyncOnOpen,
        Self::SkipReceiptSync,
        Self::CheckpointBeforeReceipts,
        Self::RetainEarly,
        Self::ForgetSkip,
        Self::ForgetGap,
        Self::ForgetRemoval,
        Self::GiveBackTooMuch,
        Self::FinishEarly,
        Self::GiveUpTooMuch,
        Self::NeverSetAside,
        Self::KeepAside,
        Self::LoseAside,
        Self::HoldAllForOne,
        Self::Overtake,
        Self::SplitPlaces,
    ];
}
