//! What the process holds in memory stays there: no core file, and no other process of this user looks in.

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};

/// Before anything secret is read. Best effort: where the system refuses, what it protects is as safe as everybody's.
pub(crate) fn raise() {
    let limit = getrlimit(Resource::Core);
    let _ = setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            ..limit
        },
    );
    // Also against core handlers that ignore the limit. It ends with exec: a ticket command is as it always was.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}
