//! Claims whose caller went away before it saw them: they are put back untouched.

use std::sync::{Arc, Mutex, PoisonError};

use crate::DeliveryId;

/// Deliveries that were claimed for nobody, for the writer to release.
pub(crate) struct Returned {
    deliveries: Mutex<Vec<DeliveryId>>,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Returned {
    /// `wake` makes the writer look.
    pub(crate) fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            deliveries: Mutex::default(),
            wake: Box::new(wake),
        }
    }

    /// All that were given back so far.
    pub(crate) fn take(&self) -> Vec<DeliveryId> {
        std::mem::take(&mut self.lock())
    }

    /// Gives deliveries back.
    pub(crate) fn give(&self, deliveries: Vec<DeliveryId>) {
        self.lock().extend(deliveries);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<DeliveryId>> {
        self.deliveries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A claim on its way to its caller. Dropped on the way (the caller's future was cancelled), it
/// returns its deliveries, so that they need not wait for the end of their lease.
pub(crate) struct Leased<T> {
    claims: Option<T>,
    deliveries: Vec<DeliveryId>,
    returned: Arc<Returned>,
}

impl<T> Leased<T> {
    pub(crate) fn new(claims: T, deliveries: Vec<DeliveryId>, returned: Arc<Returned>) -> Self {
        Self {
            claims: Some(claims),
            deliveries,
            returned,
        }
    }

    /// The caller has it.
    pub(crate) fn arrived(mut self) -> Option<T> {
        self.deliveries.clear();
        self.claims.take()
    }
}

impl<T> Drop for Leased<T> {
    fn drop(&mut self) {
        if !self.deliveries.is_empty() {
            self.returned.give(std::mem::take(&mut self.deliveries));
            (self.returned.wake)();
        }
    }
}
